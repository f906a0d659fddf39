//! netglance as an ordinary user starts it, with a real helper on a real bus: exact where the helper counts, the estimate
//! where it doesn't, and never a false spike when it changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/host.rs"]
mod host;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/system.rs"]
mod system;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use host::{APPS, Host, USER};
use lab::{LAN, OUTSIDE, OUTSIDE_SINK};
use serde_json::Value;
use system::Daemon;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// Longer than anything here takes on a slow machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

impl Host {
    /// Starts netglance on the host as a user, in a session scope of theirs.
    fn netglance(&self, uid: u32, arguments: &[&str]) -> Netglance {
        Netglance::spawn(self.command(uid, &[], arguments))
    }

    /// `watch --json` of a unit with a short beat, after its first line.
    fn watch(&self, uid: u32, unit: &str) -> Netglance {
        let mut watch = self.netglance(uid, &["watch", "--json", "--interval", "0.2", "--unit", unit]);
        watch.line("the first line", |_| true);
        watch
    }
}

/// A running netglance and what it has printed.
struct Netglance {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    gathers: Option<thread::JoinHandle<()>>,
    seen: usize,
}

impl Netglance {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, lines) = (child.stdout.take().unwrap(), Arc::<Mutex<Vec<Value>>>::default());
        let gathered = Arc::clone(&lines);
        let gather = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                gathered.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        };
        let gathers = thread::Builder::new().name("stdout".into()).spawn(gather).unwrap();
        Self { child, lines, gathers: Some(gathers), seen: 0 }
    }

    /// Waits for a line behind those that were seen.
    #[track_caller]
    fn line(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines.lock().unwrap();
            if let Some(at) = lines.iter().skip(self.seen).position(&is_it) {
                self.seen += at + 1;
                return lines[self.seen - 1].clone();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(Instant::now() < end && ended.is_none(), "never came: {what}; {ended:?}, last {:#?}", lines.last());
            drop(lines);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Every line so far.
    fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for its end: exit code and what it said on stderr.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        self.gathers.take().unwrap().join().unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

impl Drop for Netglance {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn bytes(line: &Value) -> [u64; 4] {
    ["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes"].map(|field| line[field].as_u64().unwrap())
}

/// In no line is more moved than all that the peer has sent and received, whatever the source.
fn no_spike(netglance: &Netglance, truth: [u64; 4]) {
    let lines = netglance.lines();
    for line in &lines {
        assert_eq!(line["rx_rate"].is_null(), !line["gap"].is_null(), "{line}");
    }
    for pair in lines.windows(2) {
        let moved = |field: &str| pair[1][field].as_f64().unwrap_or_default() * secs_between(pair);
        assert!(moved("rx_rate") <= truth[0] as f64 + 1.0 && moved("tx_rate") <= truth[1] as f64 + 1.0, "{pair:#?}");
    }
}

/// Between two lines' looks.
fn secs_between(pair: &[Value]) -> f64 {
    let [before, now] = [&pair[0], &pair[1]].map(|line| line["boottime_ns"].as_u64().unwrap());
    (now - before) as f64 / 1e9
}

#[tokio::test]
async fn an_ordinary_user_sees_every_byte_of_their_app() {
    let host = Host::new();
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let mut application = host.lab.application(&format!("{APPS}/a.service"));
    let mut watch = host.watch(USER, "a.service");
    for address in OUTSIDE.into_iter().chain(LAN) {
        application.run(&format!("tcp {address} 300000 1000000"));
        application.run(&format!("udp {address} 50 1000"));
    }
    let truth = host.lab.truth();
    let line = watch.line("all bytes", |line| bytes(line) == truth && line["gap"].is_null());
    assert_eq!((&line["source"], &line["unmeasured_udp_sockets"]), (&"exact".into(), &Value::Null));
    assert_eq!(line["units"].as_array().unwrap().len(), 1, "{line}");
    assert!(truth.iter().all(|bytes| *bytes > 500_000), "{truth:?}");
    no_spike(&watch, truth);
    // The rates, each with the time between its two looks, add up to what was moved. Of a gap, on a machine that stood still for
    // seconds, only the bytes are known.
    let lines = watch.lines();
    let moved: f64 = lines
        .windows(2)
        .map(|pair| match pair[1]["rx_rate"].as_f64() {
            Some(rate) => rate * secs_between(pair),
            None => (bytes(&pair[1])[0] - bytes(&pair[0])[0]) as f64,
        })
        .sum();
    let first = lines[0]["rx_bytes"].as_u64().unwrap();
    assert!((moved - (truth[0] - first) as f64).abs() < 1.0, "{moved} and {truth:?} less {first}");
}

#[tokio::test]
async fn connections_agree_with_the_peer_to_the_byte_and_end_with_the_command() {
    let host = Host::new();
    peers::count(&host.lab);
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let [mut application, mut other] = ["a", "b"].map(|name| host.lab.application(&format!("{APPS}/{name}.service")));
    let begin = |uid, arguments: &[&str]| {
        host.netglance(uid, &[&["connections", "--json", "--interval", "0.2"], arguments].concat())
    };
    let is_asked = || host.lab.host.ours().contains("remotes_");
    let mut connections = [begin(USER, &["--unit", "a.service"]), begin(USER, &[]), begin(0, &["--unit", "a.service"])];
    lab::eventually("it is counted by remote", || is_asked().then_some(()).ok_or_else(|| host.lab.host.ours()));
    // All three have begun when each has shown a row.
    application.run(&format!("udp {} 1 100", OUTSIDE[0]));
    connections.iter_mut().for_each(|connections| _ = connections.line("the first row", |_| true));
    for (address, times) in OUTSIDE.into_iter().chain(LAN).chain([peers::MORE[0]]).zip(1..) {
        application.run(&format!("tcp {address} {} {}", times * 10_000, times * 70_000));
        application.run(&format!("udp {address} {times} 700"));
        application.run(&format!("unconnected {address} {times} 300"));
    }
    let truth = peers::truth(&host.lab);
    assert_eq!(truth.len(), 10, "{truth:?}");
    other.run(&format!("tcp {} 1000 1000", peers::MORE[1]));
    connections[1].seen = 0;
    connections[1].line("the other's row", |line| line["unit"] == "b.service");
    for connections in &mut connections {
        let line = |key: &(std::net::IpAddr, u8, u16), [rx, tx]: [u64; 2]| {
            let (address, protocol, port) = (key.0.to_string(), if key.1 == 6 { "tcp" } else { "udp" }, key.2);
            move |line: &Value| {
                line["address"] == address.as_str()
                    && (&line["protocol"], &line["port"]) == (&protocol.into(), &port.into())
                    && (&line["rx_bytes"], &line["tx_bytes"]) == (&rx.into(), &tx.into())
            }
        };
        for (key, bytes) in &truth {
            connections.seen = 0;
            let found = connections.line(&format!("{key:?} {bytes:?}"), line(key, *bytes));
            let (scope, exact) = (&found["scope"], (&found["source"], &found["complete"], &found["counters"]));
            assert_eq!(exact, (&"exact".into(), &true.into(), scope), "{found}");
            let is_lan = LAN.iter().any(|lan| lan.contains(&key.0.to_string()));
            assert_eq!(*scope, if is_lan { "internal" } else { "external" }, "{found}");
        }
    }
    let [one, all, root] = &connections;
    for (connections, sees_other) in [(one, false), (all, true), (root, false)] {
        let is_other = |line: &Value| line["unit"] == "b.service";
        assert_eq!(connections.lines().iter().any(is_other), sees_other);
        assert!(connections.lines().iter().all(|line| line["others"].is_null()), "{:#?}", connections.lines());
    }
    // Nobody asks any more.
    drop(connections);
    lab::eventually("it is not counted by remote", || if is_asked() { Err(host.lab.host.ours()) } else { Ok(()) });
}

/// What shares a cgroup is an estimate by program, also where the cgroup's figures are exact: UDP is in these, and explained by
/// no program.
#[tokio::test]
async fn programs_are_estimated_beside_a_helper_and_the_rest_is_said() {
    const SESSION: &str = "user.slice/user-1.slice/session-9.scope";
    let host = Host::new();
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let mut application = host.lab.application(SESSION);
    let other = format!(r#"echo $$ > "{}/cgroup.procs" && exec sleep 600"#, host.lab.cgroup.join(SESSION).display());
    let mut command = Command::new("sh");
    command.args(["-c", &other]);
    let _other = Netglance::spawn(command); // is killed when it is dropped, before the lab's cgroups go
    lab::eventually("both are in the session", || {
        let inside = fs::read_to_string(host.lab.cgroup.join(SESSION).join("cgroup.procs")).unwrap();
        if inside.lines().count() == 2 { Ok(()) } else { Err(inside) }
    });
    let config = tempfile::tempdir().unwrap();
    fs::create_dir(config.path().join("netglance")).unwrap();
    fs::write(config.path().join("netglance/config.toml"), "beat = 0.1\n").unwrap();
    let look = || {
        let environment = [("XDG_CONFIG_HOME", config.path())];
        let output = host.command(0, &environment, &["apps", "--by-program", "--json"]).output().unwrap();
        let apps: Value = serde_json::from_slice(&output.stdout).unwrap();
        let session = apps.as_array().unwrap().iter().find(|app| app["id"] == "session-9").unwrap().clone();
        // None in a gap, on a machine that stood still for seconds: then it is tried again.
        let rate = |value: &Value| ["rx_rate", "tx_rate"].map(|field| value[field].as_f64().unwrap_or_default());
        let programs = session["programs"].as_array().unwrap().clone();
        assert_eq!(programs.len(), 2, "{session:#}");
        let sum = programs.iter().map(rate).fold([0.0; 2], |sum, rate| [sum[0] + rate[0], sum[1] + rate[1]]);
        (rate(&session), sum, rate(&session["not_by_program"]), format!("{session:#}"))
    };
    let is_sum = |[whole, sum, rest]: [f64; 3]| whole <= sum + rest + 1.0 && (rest == 0.0 || whole + 1.0 >= sum + rest);
    let flood = format!("flood {OUTSIDE_SINK} 120000 100");
    lab::eventually("UDP in the session's figures", || {
        application.begin(&flood);
        let (session, programs, rest, text) = look();
        application.finish(&flood);
        assert_eq!(programs, [0.0; 2], "{text}");
        assert!((session[1] - rest[1]).abs() < 1.0, "{text}");
        if session[1] > 0.0 { Ok(()) } else { Err(text) }
    });
    // One after the other, for as long as it takes to look twice.
    let transfer = format!("tcp {} 1000 60000000", OUTSIDE[0]);
    lab::eventually("TCP by program, and headers by none", || {
        (0..8).for_each(|_| application.begin(&transfer));
        let (session, programs, rest, text) = look();
        (0..8).for_each(|_| application.finish(&transfer));
        assert!(is_sum([session[0], programs[0], rest[0]]), "{text}");
        if programs[0] > 0.0 && session[0] > 0.0 { Ok(()) } else { Err(text) }
    });
}

#[tokio::test]
async fn what_can_not_be_told_apart_is_the_others() {
    let host = Host::new();
    peers::count(&host.lab);
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let mut application = host.lab.application(&format!("{APPS}/a.service"));
    application.run(&format!("hold {} 0 0", OUTSIDE[0]));
    let mut connections = host.netglance(USER, &["connections", "--json", "--interval", "2", "--unit", "a.service"]);
    // What is moved while it begins may be missing from the others. The open connection has a row before it has moved anything.
    connections.line("the first row", |line| line["source"] == "exact");
    application.run("spread 93.184.216.36:10000 10000 100");
    let expected = (10_000 - u64::from(netglance_helper::nft::ruleset::MOST_REMOTES)) * 128;
    let line = connections.line("the others", |line| line["others"] == true && line["tx_bytes"] == expected);
    assert_eq!((&line["address"], &line["cgroup"], &line["complete"]), (&Value::Null, &Value::Null, &false.into()));
}

#[tokio::test]
async fn it_moves_over_when_the_helper_comes_and_back_when_it_goes() {
    let host = Host::new();
    let mut application = host.lab.application(&format!("{APPS}/a.service"));
    let mut watch = host.watch(USER, "a.service");
    let is = |source: &'static str| move |line: &Value| line["source"] == source && line["gap"].is_null();
    watch.line("the estimate", is("estimate"));
    application.run(&format!("udp {} 50 1000", OUTSIDE[0]));

    // It comes, and does not count yet.
    let mut daemon = Daemon::new(&host.lab, &host.bus).await;
    watch.line("the estimate", is("estimate"));
    let root = host.bus.helper_of(0).await;
    root.install().await.unwrap();
    let gap = watch.line("a gap", |line| line["source"] == "exact");
    assert_eq!((gap["gap"].as_str(), gap["rx_rate"].is_null()), (Some("from here on the figures are exact"), true));
    let before = bytes(&watch.line("exact", is("exact")));
    let truth = host.lab.truth();
    application.run(&format!("udp {} 50 1000", OUTSIDE[0]));
    let moved: [u64; 4] = std::array::from_fn(|i| host.lab.truth()[i] - truth[i] + before[i]);
    watch.line("what was moved since", |line| bytes(line) == moved);

    // Killed and started again with its socket: nothing is lost, and nobody need notice.
    daemon.kill();
    application.run(&format!("udp {} 50 1000", OUTSIDE[0]));
    daemon.start(&host.bus).await;
    let moved: [u64; 4] = std::array::from_fn(|i| host.lab.truth()[i] - truth[i] + before[i]);
    watch.line("what was moved since", |line| line["source"] == "exact" && bytes(line) == moved);

    // Gone for good.
    daemon.kill();
    let gap = watch.line("a gap", |line| line["source"] == "estimate");
    assert_eq!(gap["gap"].as_str(), Some("from here on the figures are an estimate"));
    watch.line("the estimate", is("estimate"));
    application.run(&format!("udp {} 50 1000", OUTSIDE[0]));
    application.run(&format!("tcp {} 1000 300000", OUTSIDE[0]));
    daemon.start(&host.bus).await;
    // The table has counted on: what the estimate did not see is in the total again, and in no rate.
    let moved: [u64; 4] = std::array::from_fn(|i| host.lab.truth()[i] - truth[i] + before[i]);
    let line = watch.line("exact again, nothing missing", |line| is("exact")(line) && bytes(line) == moved);
    assert!(line["rx_rate"].as_f64().unwrap() < 1.0, "{line}");

    // Taken out by somebody else.
    host.bus.helper_of(0).await.uninstall().await.unwrap();
    watch.line("the estimate", is("estimate"));
    no_spike(&watch, host.lab.truth());
}

#[tokio::test]
async fn another_epoch_is_a_gap() {
    let host = Host::new();
    let mut daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let mut application = host.lab.application(&format!("{APPS}/a.service"));
    let mut watch = host.watch(USER, "a.service");
    application.run(&format!("udp {} 50 1000", OUTSIDE[0]));
    let before = watch.line("what was moved", |line| line["tx_bytes"].as_u64() == Some(50 * 1028));
    daemon.kill();
    daemon.drop_kept();
    fs::remove_dir_all(daemon.runtime()).unwrap();
    daemon.start(&host.bus).await;
    application.run(&format!("udp {} 50 1000", OUTSIDE[0]));
    watch.line("a gap", |line| !line["gap"].is_null());
    let line = watch.line("exact again", |line| line["source"] == "exact" && line["gap"].is_null());
    assert!(bytes(&line)[1] >= bytes(&before)[1], "totals went backwards: {line}");
    no_spike(&watch, host.lab.truth());
}

#[tokio::test]
async fn a_source_can_be_insisted_on() {
    let host = Host::new();
    let check = |uid, arguments: &[&str], words: &str| {
        let (code, stderr) = host.netglance(uid, &[&["watch", "--json", "--count", "1"], arguments].concat()).ended();
        assert_eq!((code, stderr.contains(words)), (Some(1), true), "{arguments:?}: {stderr}");
    };
    check(USER, &["--source", "exact"], "needs netglance-helper, which is not on this computer");
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    check(USER, &["--source", "exact"], "Count Exactly");
    host.bus.helper_of(0).await.install().await.unwrap();
    let one = |uid, arguments: &[&str]| {
        host.netglance(uid, &[&["watch", "--json"], arguments].concat()).line("a line", |_| true)
    };
    assert_eq!(one(USER, &["--source", "estimate"])["source"], "estimate");
    assert_eq!(one(USER, &["--source", "exact"])["source"], "exact");

    // Others' rows are root's to see: for anybody else the estimate has to do.
    host.lab.application("system.slice/b.service").run(&format!("flood {OUTSIDE_SINK} 10 100"));
    assert_eq!(one(USER, &["--unit", "b.service"])["source"], "estimate");
    assert_eq!(one(0, &["--unit", "b.service"])["source"], "exact");
    let line = one(USER, &["--unit", "b.service", "--source", "exact"]);
    assert!(line["gap"].as_str().unwrap().contains("only to root"), "{line}");
}

/// A container that shares the host's network has slices of its own, which systemd names as it names the host's.
#[tokio::test]
async fn whose_a_cgroup_is_its_owner_tells_and_not_its_name() {
    let host = Host::new();
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let nested = "machine.slice/c.scope/payload/user.slice/user-1.slice";
    let mut session = host.lab.application(&format!("{nested}/session-7.scope"));
    let mut given = host.lab.application(&format!("{nested}/user@1.service/app.slice/n.service"));
    let mut named_so = host.lab.application("system.slice/user-1.slice/x.service");
    let manager = host.lab.cgroup.join(nested).join("user@1.service");
    std::os::unix::fs::chown(&manager, Some(USER), None).unwrap();

    let send = format!("tcp {} 120000 1000000", OUTSIDE[0]);
    let mut watch = host.watch(USER, "n.service");
    given.run(&send);
    let truth = host.lab.truth();
    let line = watch.line("all bytes", |line| bytes(line) == truth);
    assert_eq!(line["source"], "exact", "{line}");
    // Root's, whoever runs in them: there is no figure that says "exact", and 0.
    for (unit, application) in [("session-7.scope", &mut session), ("x.service", &mut named_so)] {
        let mut watch = host.watch(USER, unit);
        application.run(&send);
        watch.line("two more", |line| line["gap"].is_null());
        watch.line("two more", |line| line["gap"].is_null());
        assert!(watch.lines().iter().all(|line| line["source"] == "estimate"), "{:#?}", watch.lines());
    }

    let told = async |uid: u32| {
        let (_, _, rows) = host.bus.helper_of(uid).await.read().await.unwrap();
        let mut paths: Vec<_> = rows.into_iter().map(|row| row.cgroup).collect();
        paths.retain(|path| path.contains("machine.slice") || path.contains("system.slice"));
        paths
    };
    let path = format!("/{nested}/user@1.service/app.slice/n.service");
    assert_eq!((told(USER).await, told(2).await), (vec![path.clone()], Vec::new()));
    // Its rows stay theirs when it has ended, and go with what is given to another.
    drop(given);
    let ended = host.lab.cgroup.join(path.trim_start_matches('/'));
    lab::eventually("it is removed", || fs::remove_dir(&ended).map_err(|e| e.to_string()));
    assert_eq!((told(USER).await, told(2).await), (vec![path.clone()], Vec::new()));
    std::os::unix::fs::chown(&manager, Some(2), None).unwrap();
    let mut last = (Vec::new(), Vec::new());
    for _ in 0..100 {
        last = (told(USER).await, told(2).await);
        if last.0.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(last, (Vec::new(), vec![path]));
}

#[tokio::test]
async fn a_command_is_counted_exactly_however_short() {
    let host = Host::new();
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let outside = OUTSIDE_SINK.replace(':', "/");
    let script = format!("for i in 1 2 3; do echo hello > /dev/udp/{outside}; done; exit 7");
    let run = host.netglance(0, &["run", "--json", "--", "bash", "-c", &script]);
    let lines = Arc::clone(&run.lines);
    let (code, stderr) = run.ended();
    let last = lines.lock().unwrap().last().cloned().unwrap_or_default();
    assert_eq!((code, &last["source"]), (Some(7), &"exact".into()), "{stderr}");
    assert_eq!(bytes(&last), [0, 3 * 34, 0, 0], "{last}");
}

/// The last line of `run --json` as root, its exit code, and what was said.
fn last_of_run(host: &Host, script: &str, arguments: &[&str]) -> (Value, Option<i32>, String) {
    let command = ["run", "--json", "--", "bash", "-c", script];
    let run = host.netglance(0, &[&command, arguments].concat());
    let lines = Arc::clone(&run.lines);
    let (code, stderr) = run.ended();
    (lines.lock().unwrap().last().cloned().unwrap_or_default(), code, stderr)
}

#[tokio::test]
async fn what_a_command_leaves_in_its_socket_is_counted_too() {
    let host = Host::new();
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    // Reads no faster than 400 kB/s, and never ends the connection.
    host.lab.peer.inside(|| {
        let listener = std::net::TcpListener::bind("93.184.216.34:8009").unwrap();
        let sip = move || {
            let mut streams: Vec<_> = listener.incoming().take(1).flatten().collect();
            while streams[0].read_exact(&mut [0; 8192]).is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
            thread::park();
        };
        thread::Builder::new().name("peer".into()).spawn(sip).unwrap();
    });
    let script = "exec 3<>/dev/tcp/93.184.216.34/8009; head -c 1500000 /dev/zero >&3; exit 4";
    let (last, code, stderr) = last_of_run(&host, script, &[]);
    let truth = host.lab.truth();
    assert_eq!((code, &last["source"], &last["tx_bytes"]), (Some(4), &"exact".into(), &truth[1].into()), "{stderr}");
    assert!(truth[1] > 1_500_000, "{truth:?}");
    assert_eq!((&last["end"]["unsent_bytes"], &last["end"]["status"]), (&0.into(), &4.into()), "{last:#}");
}

/// As flatpak and snap do it; however short it lives, and whoever its parent is.
#[tokio::test]
async fn what_a_command_starts_in_another_cgroup_is_counted_too() {
    let host = Host::new();
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    host.bus.helper_of(0).await.install().await.unwrap();
    let mount = netglance_dbus::cgroup::Tree::open().unwrap().mount().to_owned();
    let slice = "user.slice/user-0.slice/user@0.service/app.slice";
    fs::create_dir_all(host.lab.cgroup.join(slice)).unwrap();
    let scope = host.lab.cgroup.join(slice).join("app-flatpak-org.x.Y-1.scope");
    let slice = mount.join(slice).to_str().unwrap().to_owned();
    let outside = OUTSIDE_SINK.replace(':', "/");
    let send = format!("for i in {{1..200}}; do head -c 1200 /dev/zero > /dev/udp/{outside}; done");
    let enter = r#"mkdir -p "$0/$1" && echo $BASHPID > "$0/$1/cgroup.procs""#;
    let check = |script: &str| {
        let before = host.lab.truth();
        let (last, code, stderr) = last_of_run(&host, script, &[&slice, "app-flatpak-org.x.Y-1.scope"]);
        let sent = host.lab.truth()[1] - before[1];
        assert_eq!((code, sent, bytes(&last)), (Some(0), 200 * 1228, [0, 200 * 1228, 0, 0]), "{script}: {stderr}");
        assert_eq!(last["end"]["counted"].as_array().map(Vec::len), Some(1), "{last:#}");
        assert!(stderr.contains("app-flatpak-org.x.Y-1.scope, which is counted too"), "{stderr}");
        lab::eventually("the scope is removed", || fs::remove_dir(&scope).map_err(|e| e.to_string()));
    };
    check(&format!("{enter}; {send}"));
    // A process whose parent has ended, and which has ended itself before the command.
    let directory = tempfile::tempdir().unwrap();
    let over = directory.path().join("over").display().to_string();
    let wait = format!("until [ -e {over} ]; do sleep 0.1; done; sleep 0.5");
    check(&format!("( ( {enter}; sleep 0.3; {send}; : > {over} ) & ); {wait}"));
}

/// What `verify --live` calls external is what the helper books as external, and it says so where it is not.
#[tokio::test]
async fn verify_live_agrees_with_the_counters_or_says_that_it_does_not() {
    let host = Host::new();
    let _daemon = Daemon::new(&host.lab, &host.bus).await;
    let helper = host.bus.helper_of(0).await;
    helper.install().await.unwrap();
    let cgroup = host.lab.cgroup.join(format!("{APPS}/a.service"));
    fs::create_dir_all(&cgroup).unwrap();
    let [outside, lan] = [OUTSIDE[0], LAN[0]].map(|address| address.replace(':', "/"));
    let script = format!(
        r#"echo $$ > "$0/cgroup.procs" && exec 3<>/dev/tcp/{outside} 4<>/dev/tcp/{lan} 5<>/dev/udp/{outside} && echo 5 >&5 &&
        for to in 3 4; do printf '\144\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0' >&$to; head -c 100 /dev/zero >&$to;
        head -c 64 <&$to >/dev/null; done && echo done && read -r"#
    );
    let mut client = host.lab.host.inside(|| {
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).arg(cgroup).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    });
    client.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let live = |code: i32| {
        let run = host.netglance(USER, &["verify", "--live", "--json", "--unit", "a.service"]);
        let lines = Arc::clone(&run.lines);
        let (status, stderr) = run.ended();
        assert_eq!(status, Some(code), "{stderr}");
        let sockets = lines.lock().unwrap().last().cloned().unwrap_or_default();
        let mut sockets = sockets.as_array().unwrap().clone();
        sockets.sort_by_key(|socket| socket["remote"].to_string() + &socket["protocol"].to_string());
        sockets
    };
    let word = |socket: &Value, field: &str| socket[field].as_str().unwrap_or("none").to_owned();
    let scopes = |sockets: &[Value]| -> Vec<_> {
        sockets
            .iter()
            .map(|s| format!("{} {} {}", word(s, "protocol"), word(s, "scope"), word(s, "counters")))
            .collect()
    };
    assert_eq!(scopes(&live(0)), ["tcp internal internal", "tcp external external", "udp external external"]);
    // The same connections, in the same cgroup, by the helper's own counters: TCP over IPv4 has 52 bytes of headers and more.
    let booked = async || {
        let sample = netglance_dbus::sample::Sample::from(helper.read_all().await.unwrap());
        sample.rows.into_iter().find(|row| row.cgroup.ends_with("a.service")).unwrap()
    };
    let before = booked().await;
    let [external, internal] = [before.tx_bytes, before.internal_tx_bytes];
    assert!(external > 116 + 52 && internal > 116 + 52, "{before:?}");

    // An administrator's own prefix, of which these settings know nothing.
    helper.set_prefixes(vec![(vec![93, 184, 216, 0], 24)], Vec::new()).await.unwrap();
    assert_eq!(scopes(&live(1)), ["tcp internal internal", "tcp external internal", "udp external internal"]);
    client.stdin.take().unwrap();
    client.wait().unwrap();
}
