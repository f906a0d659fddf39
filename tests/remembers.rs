//! What is remembered of StB on the owner's desktop, over everything that a day has: netglance is closed, StB restarted, the helper
//! killed, the computer rebooted. Then a budget is used up. Each step leaves a picture in target/desktop/.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desktop.rs"]
mod desktop;
mod support;

use std::time::Instant;

use desktop::{Desktop, Found, SERVICES, Truth, dropped};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use netglance::base::format;
use serde_json::Value;
use support::{Program, eventually};

const NAMES: [&str; 3] = ["host-agent", "server", "shell"];
const OUTSIDE: [&str; 3] = ["93.184.216.34:8001", "[2606:2800:220:1::1]:8002", "93.184.216.34:8003"];
/// What README lists as not booked: packets of the end of a connection that the other side closes after the service has ended,
/// of so many bytes.
const END: [u64; 3] = [52, 72, 52];
const LIVE: &str = "nsenter --net=/run/netns/peer nft -j list table inet truth";

/// Has StB's services make one connection after the other instead of keeping one for ever. Told to end, each finishes the one that it
/// has, so that everything on its way arrives, and makes a last one.
fn connection_after_connection(desktop: &Desktop) {
    let units = "/home/cad/.config/systemd/user";
    let mut script = "set -e\n".to_owned();
    for (name, address) in NAMES.iter().zip(OUTSIDE) {
        let port = &address[address.len() - 4..];
        let here = format!("192.168.2.1:{port} 127.0.0.1:{port}");
        script += &format!(
            "mkdir -p {units}/stb-next-{name}@.service.d\n\
             cat > {units}/stb-next-{name}@.service.d/steps.conf <<'END'\n\
             [Service]\n\
             KillMode=mixed\n\
             ExecStart=\n\
             ExecStart=/bin/sh -c 'move() {{ /usr/local/bin/traffic move 300000 30000 200000 {address} {here}; }}; \
             trap \"move; exit 0\" TERM; while :; do move || sleep 0.1; done'\n\
             END\n"
        );
    }
    desktop.root(&format!("{script}chown -R cad: /home/cad/.config")).ok();
}

/// Makes it noon there: no day ends while the test runs.
fn noon(desktop: &Desktop) {
    let hour = ZonedDateTime::new(Timestamp::now(), TimeZone::UTC).hour();
    let west = i32::from(hour) - 12; // zones of this kind are named by how far west they are
    let zone = format!("/usr/share/zoneinfo/Etc/GMT{west:+}");
    desktop.root(&format!("test -e {zone} && ln -sf {zone} /etc/localtime")).ok();
}

fn stb(desktop: &Desktop, what: &str) {
    desktop
        .cad(&format!("systemctl --user {what} {}", NAMES.map(|name| format!("stb-next-{name}@split")).join(" ")))
        .ok();
}

/// The outside's figures of StB's services, when nothing is on its way any more.
fn rest(desktop: &Desktop) -> Vec<Truth> {
    let mut before = desktop.truths(&NAMES, LIVE);
    let mut same = 0;
    eventually("nothing is on its way any more", || {
        let now = desktop.truths(&NAMES, LIVE);
        same = if now == before { same + 1 } else { 0 };
        before.clone_from(&now);
        (same == 3).then_some(now)
    })
}

/// Waits until each service has got so much more, and has ended a connection.
fn more(desktop: &Desktop) {
    let before = desktop.truths(&NAMES, LIVE);
    eventually("each service has got more", || {
        let now = desktop.truths(&NAMES, LIVE);
        let moved = |(now, before): (&Truth, &Truth)| now.rx > before.rx + 300_000 && now.ends > before.ends;
        now.iter().zip(&before).all(moved).then_some(())
    });
}

/// Starts netglance and waits until its first look is in the history.
fn start(desktop: &Desktop) -> Program {
    let program = desktop.launch();
    desktop.shows("push button", "Exact");
    eventually("its first look is in the history", || {
        desktop.cad("test -s .local/share/netglance/history.db-wal").status.success().then_some(())
    });
    program
}

fn gone(desktop: &Desktop) {
    eventually("netglance has ended", || (!desktop.cad("pgrep -u cad -x netglance").status.success()).then_some(()));
    desktop.stop("menu");
}

fn lines(desktop: &Desktop, arguments: &str) -> Vec<Value> {
    let output = desktop.cad(&format!("netglance history --json --app StB --since today {arguments}")).ok();
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the history has of each service: received, sent, and what of it is an estimate.
fn recorded(desktop: &Desktop) -> Vec<[u64; 3]> {
    let lines = lines(desktop, "--by unit");
    let of = |(name, _): &(&str, &str)| {
        let unit = format!("stb-next-{name}@split.service");
        let line =
            lines.iter().find(|line| line["unit"] == unit.as_str()).unwrap_or_else(|| panic!("{unit}: {lines:?}"));
        ["rx_bytes", "tx_bytes", "estimate_bytes"].map(|field| line[field].as_u64().unwrap())
    };
    SERVICES.iter().map(of).collect()
}

/// The history has what the outside has counted, to the byte, but for ends of connections. `lost`: what the kernel may have dropped
/// between the two, which is beside the question.
fn agrees(desktop: &Desktop, truth: &[Truth], lost: u64) -> Result<Vec<[u64; 3]>, String> {
    let recorded = recorded(desktop);
    for (((name, truth), [rx, tx, estimate]), end) in NAMES.iter().zip(truth).zip(&recorded).zip(END) {
        for (what, truth_bytes, bytes) in [("received", truth.rx, rx), ("sent", truth.tx, tx)] {
            let missing = truth_bytes.checked_sub(*bytes);
            let is_ends =
                missing.is_some_and(|missing| missing % end == 0 && missing / end <= truth.ends || missing <= lost);
            if !is_ends || *estimate > 0 {
                return Err(format!(
                    "{name} {what}: {bytes}, the outside has {truth_bytes} and {} ends; an estimate: {estimate}",
                    truth.ends
                ));
            }
        }
    }
    Ok(recorded)
}

fn step(began: Instant, what: &str) {
    println!("{:5.1} s: {what}", began.elapsed().as_secs_f64());
}

#[test]
fn a_day_is_remembered_to_the_byte_and_a_budget_is_told() {
    let began = Instant::now();
    let desktop = Desktop::boot();
    step(began, "booted");
    noon(&desktop);
    desktop.install();
    connection_after_connection(&desktop);
    desktop.replica();
    step(began, "installed");
    stb(&desktop, "stop");
    desktop.root("busctl call org.netglance.Helper1 /org/netglance/Helper1 org.netglance.Helper1 Install").ok();
    let (first, dropped_before) = (rest(&desktop), dropped());
    let menu = start(&desktop);
    step(began, "netglance looks");

    stb(&desktop, "start");
    more(&desktop);
    desktop.screenshot("remembers-1-first");
    desktop.press("ctrl+q");
    gone(&desktop);
    drop(menu);
    more(&desktop);
    let menu = start(&desktop);
    step(began, "netglance was closed");
    stb(&desktop, "restart");
    more(&desktop);
    step(began, "StB was restarted");
    // In the middle of an answer: it is stopped for longer than from one look to the next.
    desktop.root("systemctl kill --signal STOP netglance-helper && sleep 0.8 && systemctl kill --signal KILL netglance-helper").ok();
    more(&desktop);
    desktop.shows("push button", "Exact");
    step(began, "the helper was killed");

    // netglance ends with its session, and StB a little later.
    desktop.reboot();
    drop(menu);
    step(began, "rebooted");
    more(&desktop);
    let before = desktop.truths(&NAMES, "cat /var/lib/truth");
    let sum = |all: &[Truth]| all.iter().map(|truth| truth.rx).sum::<u64>();
    let seen: u64 = recorded(&desktop).iter().map(|of| of[0]).sum();
    let unseen = sum(&before) - sum(&first) - seen;
    println!("{unseen} bytes were received between the last look and the shutdown");
    assert!(unseen > 0);
    let _menu = start(&desktop);
    more(&desktop);
    stb(&desktop, "stop");
    let last = rest(&desktop);
    step(began, "netglance looks again");

    let truth: Vec<_> = (0..3)
        .map(|i| Truth {
            rx: before[i].rx - first[i].rx + last[i].rx,
            tx: before[i].tx - first[i].tx + last[i].tx,
            ends: before[i].ends - first[i].ends + last[i].ends,
        })
        .collect();
    let lost = (dropped() - dropped_before) * 65_536;
    let mut why = String::new();
    let recorded = eventually("the history agrees with the outside", || match agrees(&desktop, &truth, lost) {
        Ok(recorded) => Some(recorded),
        Err(differs) => {
            if differs != why {
                println!("{differs}");
            }
            why = differs;
            None
        }
    });
    step(began, "the history agrees");
    for (i, name) in NAMES.iter().enumerate() {
        println!("{name}: {:?} of {:?}", recorded[i], truth[i]);
    }
    let [rx, tx] = [0, 1].map(|at| recorded.iter().map(|of| of[at]).sum::<u64>());
    window_and_picture_agree(&desktop, rx, tx);
    step(began, "window and picture agree");
    a_budget_is_told(&desktop);
    step(began, "the budget was told");
}

/// What the other ways say of the same bytes, each as exactly as it can.
fn window_and_picture_agree(desktop: &Desktop, rx: u64, tx: u64) {
    let by_app = lines(desktop, "--by app");
    assert_eq!(by_app.len(), 1, "{by_app:?}");
    assert_eq!((&by_app[0]["rx_bytes"], &by_app[0]["tx_bytes"]), (&rx.into(), &tx.into()));
    let [down, up] = [rx, tx].map(format::bytes);
    desktop.shows("", &format!("Today: {down} down, {up} up"));
    desktop.shows("", &format!("This month: {down} down, {up} up"));
    desktop.screenshot("remembers-2-today");
    desktop.click("push button", "Usage");
    let all = format::bytes(rx + tx);
    desktop.shows("push button", &format!("StB, download {down}, upload {up}, total {all}, "));
    desktop.screenshot("remembers-3-usage");

    desktop.cad("netglance chart --app StB --since today --size 5000x2000 -o today.svg").ok();
    let drawn = drawn_bytes(&desktop.cad("cat today.svg").ok());
    println!("the picture has {drawn:.0} of {rx}");
    assert!((drawn / rx as f64 - 1.0).abs() < 0.01, "the picture has {drawn}, the history {rx}");
    desktop.cad("netglance chart --app StB --since today -o today.png").ok();
    desktop.keep("/home/cad/today.png", "remembers-4-chart.png");
}

/// The area below the download in a chart.
fn drawn_bytes(svg: &str) -> f64 {
    let value = |line: &str, name: &str| -> String {
        let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("no {name} in {line}"));
        rest.split('"').next().unwrap().to_owned()
    };
    let number = |line: &str, name: &str| -> f64 { value(line, name).parse().unwrap() };
    let lines: Vec<_> = svg.lines().collect();
    // The time that it shows is written above.
    let span = lines.iter().find(|line| line.starts_with("20") && line.contains(" to ")).unwrap();
    let times: Vec<_> = span.split(" to ").map(|text| text.split(" (").next().unwrap()).collect();
    let [from, to] = [0, 1].map(|at| times[at].parse::<jiff::civil::DateTime>().unwrap());
    let secs = to.duration_since(from).as_secs_f64();
    // Rates stand at their lines, at the left end of which each is written.
    let ticks: Vec<(f64, f64)> = lines
        .windows(2)
        .filter(|pair| pair[0].contains("text-anchor=\"end\""))
        .map(|pair| (number(pair[0], "y"), rate(pair[1])))
        .collect();
    let (bottom, top) = (ticks[0], *ticks.last().unwrap());
    let grid = lines.iter().find(|line| line.starts_with("<polyline")).unwrap();
    let points = value(grid, "points");
    let x = |point: &str| point.split(',').next().unwrap().parse::<f64>().unwrap();
    let ends: Vec<_> = points.split_whitespace().map(x).collect();
    let area: f64 = lines
        .iter()
        .filter(|line| line.starts_with("<rect") && ["0.28", "0.1"].contains(&value(line, "opacity").as_str()))
        .filter(|line| (number(line, "y") + number(line, "height") - bottom.0).abs() < 1.5)
        .map(|line| number(line, "width") * (bottom.0 - number(line, "y")))
        .sum();
    area * secs / (ends[1] - ends[0]) * top.1 / (bottom.0 - top.0)
}

/// "500 kB/s"
fn rate(text: &str) -> f64 {
    let Some((number, unit)) = text.split_once(' ') else { return text.parse().unwrap() };
    let factor = match unit {
        "B/s" => 1.0,
        "kB/s" => 1e3,
        "MB/s" => 1e6,
        other => panic!("unit {other}"),
    };
    number.parse::<f64>().unwrap() * factor
}

/// A notification that the desktop's own server shows.
fn notification(desktop: &Desktop, role: &str, text: &str) -> Found {
    eventually(&format!("a notification has a {role} {text:?}"), || {
        desktop.find(role, text).into_iter().find(|found| found.application == "xfce4-notifyd")
    })
}

fn a_budget_is_told(desktop: &Desktop) {
    desktop.close("netglance");
    let budget = "[[budget]]\napp = \"StB\"\nlimit = \"2 MB\"\nper = \"day\"\n";
    desktop.cad(&format!("mkdir -p .config/netglance && printf '{budget}' >> .config/netglance/config.toml")).ok();
    let title = notification(desktop, "label", "StB has used up its 2 MB today");
    println!("{}", title.text);
    desktop.screenshot("remembers-5-budget");
    assert!(desktop.window("netglance").is_none());
    let button = notification(desktop, "push button", "Show Window");
    assert_eq!(desktop.find("push button", "Show Window").len(), 1);
    desktop.click_at(button.x + button.width / 2, button.y + button.height / 2, 1);
    eventually("the window opens", || desktop.window("netglance").map(drop));
    desktop.shows("", "Today: ");
    desktop.screenshot("remembers-6-shown");
    let status = desktop.cad("netglance budget --check");
    assert!(!status.status.success() && status.stdout.contains("StB: "), "{status:?}");
}
