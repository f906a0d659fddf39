//! The metrics in Debian's own Prometheus and node_exporter: what those know is what the peer has counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]

#[path = "support/computer.rs"]
mod computer;
#[path = "support/host.rs"]
mod host;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use computer::{Computer, Running};
use host::{APPS, USER};
use lab::{Lab, OUTSIDE, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

const PORT: u16 = 10199;
const PROMETHEUS: u16 = 9090;
const NODE: u16 = 9100;
const FAMILIES: [&str; 4] = ["external_receive", "external_transmit", "internal_receive", "internal_transmit"];

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// Sends a request on the host's loopback, and returns the answer's head and body.
fn ask(lab: &Lab, port: u16, request: &str) -> Result<(String, Vec<u8>), String> {
    let answer = lab.host.inside(|| -> std::io::Result<_> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    });
    let answer = answer.map_err(|e| e.to_string())?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no answer")?;
    Ok((String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec()))
}

fn get(lab: &Lab, port: u16, path: &str) -> Result<String, String> {
    let (head, body) = ask(lab, port, &format!("GET {path} HTTP/1.0\r\n\r\n"))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if head.lines().next().is_some_and(|line| line.ends_with("200 OK")) { Ok(body) } else { Err(head + &body) }
}

/// The values of a series of each of the four families: what matches the labels, added up.
fn counters(text: &str, labels: &[&str]) -> [u64; 4] {
    FAMILIES.map(|family| {
        let start = format!("netglance_{family}_bytes_total{{");
        let lines = text.lines().filter(|line| line.starts_with(&start) && labels.iter().all(|l| line.contains(l)));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    })
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn serve(computer: &Computer) -> Running {
    let errors = File::create(computer.errors()).unwrap();
    let listen = format!("127.0.0.1:{PORT}");
    let running = Running(computer.command(&["metrics", "--listen", &listen]).stderr(errors).spawn().unwrap());
    computer.says("the figures are at http");
    running
}

/// Waits until the exporter says what the peer has counted.
#[track_caller]
fn agrees(lab: &Lab, labels: &[&str], before: [u64; 4]) -> String {
    eventually("the exporter says what the peer has counted", || {
        let text = get(lab, PORT, "/metrics")?;
        let truth = lab.truth();
        let expected: [u64; 4] = std::array::from_fn(|i| truth[i] - before[i]);
        let seen = counters(&text, labels);
        if seen == expected { Ok(text) } else { Err(format!("{seen:?}, not {expected:?}\n{text}")) }
    })
}

fn promtool_is_silent(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool: install prometheus");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// A program in the host's network; killed at the end.
fn daemon(lab: &Lab, program: &str, arguments: &[String], log: &Path) -> Running {
    let log = File::create(log).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Running(lab.host.inside(|| command.spawn().expect("install prometheus and prometheus-node-exporter")))
}

/// The configuration that the README gives, with these targets and seconds between two scrapes.
fn config(targets: &[String], secs: u32) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains("scrape_configs:")).unwrap();
    let target = format!("- 127.0.0.1:{PORT}");
    assert!(block.contains("scrape_interval: 15s") && block.contains(&target), "{block}");
    let targets: Vec<_> = targets.iter().map(|target| format!("- {target}")).collect();
    block.replace("_interval: 15s", &format!("_interval: {secs}s")).replace(&target, &targets.join("\n          "))
}

struct Prometheus<'a> {
    lab: &'a Lab,
    _running: Running,
    _directory: tempfile::TempDir,
}

impl<'a> Prometheus<'a> {
    fn new(lab: &'a Lab, targets: &[String]) -> Self {
        Self::every(1, lab, targets)
    }

    /// Scrapes once in so many seconds, and gives each exporter as long.
    fn every(secs: u32, lab: &'a Lab, targets: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config(targets, secs)).unwrap();
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", directory.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{PROMETHEUS}"),
        ];
        let running = daemon(lab, "prometheus", &arguments, &directory.path().join("log"));
        let this = Self { lab, _running: running, _directory: directory };
        eventually("Prometheus is ready", || get(lab, PROMETHEUS, "/-/ready"));
        this
    }

    /// The value of each series that a query finds, at a moment.
    fn query(&self, query: &str, time: Option<f64>) -> Result<Vec<f64>, String> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let time = time.map(|time| format!("&time={time:.3}")).unwrap_or_default();
        let answer = get(self.lab, PROMETHEUS, &format!("/api/v1/query?query={encoded}{time}"))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))?;
        let results = answer["data"]["result"].as_array().ok_or_else(|| answer.to_string())?;
        Ok(results.iter().map(|result| result["value"][1].as_str().unwrap().parse().unwrap()).collect())
    }

    /// Waits until a query finds one series with this value.
    #[track_caller]
    fn says(&self, query: &str, expected: f64) {
        eventually(query, || {
            let found = self.query(query, None)?;
            if found == [expected] { Ok(()) } else { Err(format!("{found:?}, not {expected}")) }
        });
    }
}

fn now_secs() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The peer's external received bytes at a moment between two of its counts.
fn at(counts: &[(f64, u64)], time: f64) -> f64 {
    let after = counts.iter().position(|(when, _)| *when >= time).unwrap();
    let ((t0, b0), (t1, b1)) = (counts[after - 1], counts[after]);
    b0 as f64 + (b1 - b0) as f64 * (time - t0) / (t1 - t0)
}

#[tokio::test]
async fn prometheus_sees_what_the_peer_has_counted_by_port_and_by_file() {
    let computer = Computer::new().await;
    let lab = &computer.host.lab;
    let mut app = computer.app("a");
    let _exporter = serve(&computer);

    // The file is its user's to write, and node_exporter's to read.
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(USER), None).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = folder.path().join("netglance.prom");
    let mut writes = computer.command(&["metrics", "--interval", "1", "--textfile", file.to_str().unwrap()]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(writes.get_program()).args(writes.get_args());
    shell.envs(writes.get_envs().filter_map(|(name, value)| Some((name, value?))));
    writes = shell;
    let writer = Running(writes.spawn().unwrap());
    let logs = tempfile::tempdir().unwrap();
    let arguments = [
        "--collector.disable-defaults".to_owned(),
        "--collector.textfile".to_owned(),
        format!("--collector.textfile.directory={}", folder.path().display()),
        format!("--web.listen-address=127.0.0.1:{NODE}"),
    ];
    let _node = daemon(lab, "prometheus-node-exporter", &arguments, &logs.path().join("node"));
    let prometheus = Prometheus::new(lab, &[format!("127.0.0.1:{PORT}"), format!("127.0.0.1:{NODE}")]);
    prometheus.says(r#"sum(up{job="netglance"})"#, 2.0);
    eventually("the file is there", || fs::metadata(&file).map_err(|e| e.to_string()));
    eventually("Prometheus knows the app by both", || {
        let found = prometheus.query(r#"netglance_external_receive_bytes_total{app="a"}"#, None)?;
        if found.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    });

    let mut counts = Vec::new();
    while counts.first().is_none_or(|(first, _)| now_secs() - first < 26.0) {
        app.run(&format!("udp {} 10 1000", OUTSIDE[0]));
        counts.push((now_secs(), lab.truth()[0]));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("netglance_build_info{") && text.ends_with('\n'), "a part of a file: {text}");
        thread::sleep(Duration::from_millis(30));
    }
    let end = counts.last().unwrap().0 - 2.0;
    let expected = (at(&counts, end) - at(&counts, end - 20.0)) / 20.0;
    let truth = lab.truth();
    for port in [PORT, NODE] {
        let labels = format!(r#"{{app="a",source="exact",instance="127.0.0.1:{port}"}}"#);
        for (family, bytes) in FAMILIES.iter().zip(truth) {
            prometheus.says(&format!("netglance_{family}_bytes_total{labels}"), bytes as f64);
        }
        let query = format!("rate(netglance_external_receive_bytes_total{labels}[20s])");
        let rate = prometheus.query(&query, Some(end)).unwrap();
        println!("{port}: rate() {rate:?}, the peer {expected}");
        // A look may come late, and the file can be a second old: 3 s, which are 1 % of five minutes. And what is sent is as
        // uneven as the machine.
        let allowed = 6.0 / 20.0;
        assert!(rate.len() == 1 && (rate[0] / expected - 1.0).abs() < allowed, "{port}: {rate:?}, not {expected}");
        let increase = query.replace("rate(", "increase(");
        let increase = prometheus.query(&increase, Some(end)).unwrap()[0];
        assert!((increase / rate[0] / 20.0 - 1.0).abs() < 1e-6, "{increase}");
    }
    prometheus.says("node_textfile_scrape_error", 0.0);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
    promtool_is_silent(&agrees(lab, &[r#"app="a""#], [0; 4]));
    promtool_is_silent(&fs::read_to_string(&file).unwrap());
    eventually("once to stdout, it is the same", || {
        let once = computer.command(&["metrics"]).output().unwrap();
        let once = String::from_utf8(once.stdout).unwrap();
        promtool_is_silent(&once);
        if counters(&once, &[r#"app="a""#]) == truth { Ok(()) } else { Err(once) }
    });
    writer.quit();
    // What is left is no figure, and no error for node_exporter.
    assert_eq!(fs::read(&file).unwrap(), b"");
    let labels = format!(r#"{{app="a",source="exact",instance="127.0.0.1:{NODE}"}}"#);
    eventually("the figures of the file have gone", || {
        let found = prometheus.query(&format!("netglance_external_receive_bytes_total{labels}"), None)?;
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
    prometheus.says("node_textfile_scrape_error", 0.0);

    for (name, why) in [("netglance.txt", ".prom"), ("missing/netglance.prom", "No such file")] {
        let path = folder.path().join(name);
        let output = computer.command(&["metrics", "--textfile", path.to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why) && said.contains(name), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[tokio::test]
async fn restarts_lose_nothing_and_count_nothing_twice() {
    let mut computer = Computer::new().await;
    let mut app = computer.app("a");
    let exporter = serve(&computer);
    let labels = [r#"app="a""#, r#"source="exact""#];
    let work = |app: &mut lab::Application| app.run(&format!("tcp {} 50000 200000", OUTSIDE[0]));
    let epoch = |text: &str| value(text, r#"netglance_epoch_start_time_seconds{source="exact"}"#).unwrap();
    work(&mut app);
    let first = epoch(&agrees(&computer.host.lab, &labels, [0; 4]));
    let prometheus = Prometheus::new(&computer.host.lab, &[format!("127.0.0.1:{PORT}")]);
    let received = r#"netglance_external_receive_bytes_total{app="a",source="exact"}"#;
    // What Prometheus has seen last, and how often it has fallen.
    let has_seen = |bytes: u64, resets: f64| {
        prometheus.says(received, bytes as f64);
        prometheus.says(&format!("resets({received}[1h])"), resets);
    };
    has_seen(computer.host.lab.truth()[0], 0.0);

    computer.daemon.kill();
    work(&mut app);
    computer.daemon.start(&computer.host.bus).await;
    work(&mut app);
    let text = agrees(&computer.host.lab, &labels, [0; 4]);
    assert_eq!(epoch(&text).to_bits(), first.to_bits(), "the helper counts on");

    exporter.quit();
    work(&mut app);
    let exporter = serve(&computer);
    assert_eq!(epoch(&agrees(&computer.host.lab, &labels, [0; 4])).to_bits(), first.to_bits());
    has_seen(computer.host.lab.truth()[0], 0.0);

    // Unit restarted: the same series.
    drop(app);
    let mut app = computer.app("a");
    work(&mut app);
    let text = agrees(&computer.host.lab, &labels, [0; 4]);
    assert_eq!(text.matches(r#"netglance_external_receive_bytes_total{app="a""#).count(), 1, "{text}");

    // Scopes, each with a name of its own, are one series.
    let before = computer.host.lab.truth();
    for number in 0..5 {
        let mut scope = computer.host.lab.application(&format!("{APPS}/app-gnome-b-{number}.scope"));
        scope.run(&format!("udp {} 3 500", OUTSIDE[0]));
    }
    let text = agrees(&computer.host.lab, &[r#"app="b""#, r#"unit="other""#], before);
    assert_eq!(text.matches(r#"netglance_external_receive_bytes_total{app="b""#).count(), 1, "{text}");

    // A new epoch begins at 0.
    let helper = computer.host.bus.helper_of(0).await;
    helper.uninstall().await.unwrap();
    eventually("the estimate takes over", || {
        let text = get(&computer.host.lab, PORT, "/metrics")?;
        let is = value(&text, r#"netglance_source{source="estimate"}"#) == Some(1.0)
            && value(&text, r#"netglance_source{source="exact"}"#) == Some(0.0);
        if is { Ok(()) } else { Err(text) }
    });
    let text = get(&computer.host.lab, PORT, "/metrics").unwrap();
    assert!(text.contains(r#"source="estimate"} "#), "{text}");
    helper.install().await.unwrap();
    eventually("it is exact again", || {
        let text = get(&computer.host.lab, PORT, "/metrics")?;
        if value(&text, r#"netglance_source{source="exact"}"#) == Some(1.0) { Ok(()) } else { Err(text) }
    });
    let before = computer.host.lab.truth();
    work(&mut app);
    let text = agrees(&computer.host.lab, &labels, before);
    assert!(epoch(&text) > first, "{text}");
    assert_ne!(value(&text, r#"netglance_gaps_total{reason="source_changed"}"#), Some(0.0), "{text}");
    has_seen(computer.host.lab.truth()[0] - before[0], 1.0);

    // The bus, with which the helper ends: systemd starts both again.
    computer.host.bus.restart();
    computer.daemon.ended();
    work(&mut app);
    computer.daemon.start(&computer.host.bus).await;
    agrees(&computer.host.lab, &labels, before);
    has_seen(computer.host.lab.truth()[0] - before[0], 1.0);
    exporter.quit();
}

fn resident_kb(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn hostile_clients_keep_nobody_from_the_figures() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let computer = Computer::new().await;
    let lab = &computer.host.lab;
    let mut app = computer.app("a");
    let exporter = serve(&computer);
    app.run(&format!("udp {} 10 1000", OUTSIDE[0]));
    agrees(lab, &[r#"app="a""#], [0; 4]);
    let before = resident_kb(&exporter);

    let connect = || lab.host.inside(|| TcpStream::connect(("127.0.0.1", PORT)).unwrap());
    // Held open without a word; without reading the answer; and one byte of a header at a time.
    let mut held: Vec<_> = (0..1000).map(|_| connect()).collect();
    agrees(lab, &[r#"app="a""#], [0; 4]);
    for stream in held.iter_mut().rev().take(60) {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let mut slow = connect();
    for byte in b"GET /metrics HTTP/1.1\r\nX: " {
        let _ = slow.write_all(&[*byte]);
        get(lab, PORT, "/metrics").unwrap();
    }
    // Much, and garbage.
    let long = "x".repeat(1 << 20);
    let answer = |request: &str| ask(lab, PORT, request).map_or_else(|e| e, |(head, _)| head);
    for request in [
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n{long}"),
        "\0\u{1}\u{2}garbage \r\n\r\n".to_owned(),
    ] {
        assert!(!answer(&request).contains(" 200 "), "{}", &request[..30.min(request.len())]);
        agrees(lab, &[r#"app="a""#], [0; 4]);
    }
    assert!(answer("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n").contains(" 404 "));
    assert!(answer("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").contains(" 405 "));
    assert!(answer("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n").contains(" 421 "));
    assert_eq!(get(lab, PORT, "/-/healthy").unwrap(), "netglance is running.\n");
    let (head, body) = ask(lab, PORT, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(head.contains(" 200 ") && body.is_empty(), "{head}");
    let with = |header: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
        let (head, body) = ask(lab, PORT, &request).unwrap();
        (head.to_ascii_lowercase(), body)
    };
    assert!(with("Accept: application/openmetrics-text").0.contains("application/openmetrics-text"));
    assert!(with("Accept: application/openmetrics-text;q=0").0.contains("text/plain"));
    assert!(with("Accept-Encoding: gzip").1.starts_with(&[0x1f, 0x8b]));
    assert!(!with("Accept-Encoding: gzip;q=0").0.contains("content-encoding"));

    let after = resident_kb(&exporter);
    println!("resident: {before} kB, then {after} kB");
    assert!(after < before + (16 << 10), "{before} kB became {after} kB");
    app.run(&format!("udp {} 10 1000", OUTSIDE[0]));
    agrees(lab, &[r#"app="a""#], [0; 4]);
    drop((held, slow));
    exporter.quit();
}

#[tokio::test]
async fn a_thousand_units_are_four_thousand_series_of_bounded_size() {
    let computer = Computer::new().await;
    let lab = &computer.host.lab;
    let mut app = computer.app("first");
    let name = |number: usize| format!("{APPS}/a-service-named-by-40-chars-{number:04}.service");
    let mut begin = 0;
    let exporter = serve(&computer);
    for (units, over) in [(999, 0), (2099, 100)] {
        for number in begin..units {
            let below = name(number);
            app.enter(lab, &below);
            app.run(&format!("udp {} 1 100", OUTSIDE[0]));
        }
        begin = units;
        // With "first", which has moved nothing itself.
        let text = eventually("each byte is in a series", || {
            let text = get(lab, PORT, "/metrics")?;
            let (seen, truth) = (counters(&text, &[r#"source="exact""#]), lab.truth());
            if seen[..2] == truth[..2] { Ok(text) } else { Err(format!("{seen:?}, not {truth:?}")) }
        });
        let lines = text.lines().filter(|line| line.contains("a-service-named-by-40-chars-")).count();
        let beyond = value(&text, "netglance_units_over_limit").unwrap();
        let request = "GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
        let gzip = ask(lab, PORT, request).unwrap().1.len();
        println!("{units} units: {lines} series, {} bytes, {gzip} compressed, {beyond} over", text.len());
        if over == 0 {
            assert_eq!((lines, beyond), (4 * units, 0.0));
            // The goal is 600 kB, and missed by 7 %: an app that is named after its unit has the name twice.
            assert!(text.len() < 650_000 && gzip < 40_000, "{} and {gzip} bytes", text.len());
        } else {
            assert!(beyond >= f64::from(over), "{beyond}");
            assert!(lines <= 4 * 2000, "{lines}");
        }
        promtool_is_silent(&text);
    }
    exporter.quit();
}

#[tokio::test]
async fn one_prometheus_scrapes_many_exporters() {
    const EXPORTERS: usize = 100;
    let computer = Computer::new().await;
    let lab = &computer.host.lab;
    let mut app = computer.app("a");
    let targets: Vec<_> = (1..=EXPORTERS).map(|number| format!("127.0.0.{number}:{PORT}")).collect();
    let exporters: Vec<_> = targets
        .iter()
        .map(|target| {
            Running(computer.command(&["metrics", "--listen", target]).stderr(Stdio::null()).spawn().unwrap())
        })
        .collect();
    let prometheus = Prometheus::every(5, lab, &targets);
    prometheus.says("sum(up)", EXPORTERS as f64);
    app.run(&format!("tcp {} 50000 200000", OUTSIDE[0]));
    for (family, bytes) in FAMILIES.iter().zip(lab.truth()) {
        let query = format!(r#"sum(netglance_{family}_bytes_total{{app="a",source="exact"}})"#);
        prometheus.says(&query, EXPORTERS as f64 * bytes as f64);
    }
    drop(exporters);
}

#[tokio::test]
async fn a_user_sees_only_their_own() {
    let computer = Computer::new().await;
    let _polkit = system::RealPolkit::new(&computer.host.bus).await;
    let lab = &computer.host.lab;
    let mut app = computer.app("a");
    app.run(&format!("udp {} 10 1000", OUTSIDE[0]));
    let tell = |uid: u32, arguments: &[&str]| {
        let output = computer.host.command(uid, &[], arguments).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (own, _) = tell(USER, &["metrics"]);
    assert_eq!(counters(&own, &[r#"app="a""#]), lab.truth());
    let (other, _) = tell(2, &["metrics"]);
    assert!(other.contains("netglance_build_info") && !other.contains(r#"app="a""#), "{other}");
    let (all, said) = tell(2, &["metrics", "--all"]);
    assert!(said.contains("was not authorised"), "{said}");
    assert!(!all.contains(r#"unit="a.service",user="daemon",source="exact""#), "{all}");
    assert_eq!(value(&all, r#"netglance_source{source="estimate"}"#), Some(1.0), "{all}");
    let (root, _) = tell(0, &["metrics"]);
    assert_eq!(counters(&root, &[r#"app="a""#, r#"source="exact""#]), lab.truth());
}
