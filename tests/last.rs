//! What was counted until the computer was shut down is there after the next start: to the byte where the helper was told to
//! end, as of the latest save where it was not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{fs, path::Path, time::Duration};

use lab::{LAN, Lab, OUTSIDE, OUTSIDE_SINK, eventually};
use netglance_dbus::sample::{Last, Row};
use rustix::process::Signal;
use system::{Bus, Daemon};

/// As systemd writes them …
const BOOTS: [&str; 3] =
    ["6f1d3c8e00014b7a9c553a1f0e2d4c6b", "6f1d3c8e00024b7a9c553a1f0e2d4c6b", "6f1d3c8e00034b7a9c553a1f0e2d4c6b"];
/// … and as the kernel does.
const IDS: [&str; 3] = [
    "6f1d3c8e-0001-4b7a-9c55-3a1f0e2d4c6b",
    "6f1d3c8e-0002-4b7a-9c55-3a1f0e2d4c6b",
    "6f1d3c8e-0003-4b7a-9c55-3a1f0e2d4c6b",
];
const ROOT: u32 = 0;
/// Users that every Debian has, as dbus-daemon turns strangers away: `daemon`, `uucp` and `nobody`.
const USER: u32 = 1;
const OTHER: u32 = 10;
const NOBODY: u32 = 65534;
const APP: &str = "user.slice/user-1.slice/user@1.service/app.slice/a.service";
/// What a datagram takes that has 100 bytes in it.
const DATAGRAM: u64 = 128;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A computer that can be started again.
struct Host {
    daemon: Daemon,
    bus: Bus,
    lab: Lab,
}

impl Host {
    /// In the first boot, and counting.
    async fn new() -> Self {
        let (lab, bus) = (Lab::default(), Bus::new());
        let mut daemon = Daemon::new(&lab, &bus).await;
        daemon.boot(BOOTS[0]);
        daemon.start(&bus).await;
        bus.helper_of(ROOT).await.install().await.unwrap();
        Self { daemon, bus, lab }
    }

    /// Tells the helper to end, as a shutdown does.
    fn end(&mut self) {
        self.daemon.signal(Signal::TERM);
        assert!(self.daemon.ended().success(), "{}", self.daemon.said());
    }

    /// The next start of the computer, whatever the helper did before.
    async fn boot(&mut self, id: &str) {
        self.daemon.boot(id);
        eventually("the table goes with its last socket", || {
            let rules = self.lab.host.nft("list ruleset").unwrap();
            if rules.is_empty() { Ok(()) } else { Err(rules) }
        });
        self.daemon.start(&self.bus).await;
    }

    async fn last(&self, user: u32) -> Last {
        self.bus.helper_of(user).await.read_last().await.unwrap().into()
    }

    /// What a user is offered of one path: external received and sent, internal received and sent.
    async fn bytes(&self, user: u32, path: &str) -> [u64; 4] {
        let rows = self.last(user).await.rows;
        let row = rows.into_iter().find(|row| row.cgroup == format!("/{path}")).unwrap_or_default();
        let Row { rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes, .. } = row;
        [rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes]
    }
}

fn boottime_ns() -> u64 {
    netglance_helper::counting::clock_ns(rustix::time::ClockId::Boottime)
}

#[tokio::test]
async fn after_a_start_of_the_computer_the_totals_of_the_boot_before_are_the_peers_to_the_byte() {
    let mut host = Host::new().await;
    assert_eq!(host.last(ROOT).await, Last::default());
    let start = boottime_ns();
    // One app, two lives, the second of which has ended as well when the helper is told to. Nobody has looked meanwhile.
    for life in 1..3 {
        let mut app = host.lab.application(APP);
        app.run(&format!("tcp {} 30000 50000", OUTSIDE[0]));
        app.run(&format!("udp {} {life} 700", LAN[1]));
        app.run(&format!("flood {OUTSIDE_SINK} 1000 100"));
        drop(app);
        let directory = host.lab.cgroup.join(APP);
        eventually("the cgroup is removed", || fs::remove_dir(&directory).map_err(|e| e.to_string()));
    }
    host.end();
    let truth = host.lab.truth();
    host.boot(BOOTS[1]).await;

    let last = host.last(USER).await;
    assert_eq!(last.boot_id, IDS[0]);
    assert!((start..boottime_ns()).contains(&last.boottime_ns), "{}", last.boottime_ns);
    assert_eq!(host.bytes(USER, APP).await, truth, "{last:?}");
    assert_eq!(host.bytes(ROOT, APP).await, truth);
    for stranger in [OTHER, NOBODY] {
        let last = host.last(stranger).await;
        assert_eq!((last.boot_id.as_str(), last.rows), (IDS[0], vec![]));
    }
    // They don't change while this boot counts its own, and the next boot finds those.
    host.lab.application(APP).run(&format!("flood {OUTSIDE_SINK} 10 100"));
    host.end();
    host.daemon.start(&host.bus).await;
    assert_eq!(host.bytes(USER, APP).await, truth);
    host.lab.application(APP).run(&format!("flood {OUTSIDE_SINK} 10 100"));
    host.end();
    host.boot(BOOTS[2]).await;
    assert_eq!(host.last(USER).await.boot_id, IDS[1]);
    assert_eq!(host.bytes(USER, APP).await, [0, 20 * DATAGRAM, 0, 0]);
}

/// Whose a cgroup was that root had given away is known when it has been gone for a whole boot.
#[tokio::test]
async fn what_was_given_away_stays_whose_it_was() {
    let mut host = Host::new().await;
    let (given, kept) = ("system.slice/given.service", "system.slice/kept.service");
    let mut apps = [given, kept].map(|path| host.lab.application(path));
    std::os::unix::fs::chown(host.lab.cgroup.join(given), Some(OTHER), Some(OTHER)).unwrap();
    for app in &mut apps {
        app.run(&format!("flood {OUTSIDE_SINK} 10 100"));
    }
    host.end();
    drop(apps);
    for path in [given, kept] {
        let directory = host.lab.cgroup.join(path);
        eventually("the cgroup is removed", || fs::remove_dir(&directory).map_err(|e| e.to_string()));
    }
    host.boot(BOOTS[1]).await;
    let counted = [0, 10 * DATAGRAM, 0, 0];
    for (user, expected) in [(OTHER, [counted, [0; 4]]), (USER, [[0; 4]; 2]), (ROOT, [counted; 2])] {
        assert_eq!([host.bytes(user, given).await, host.bytes(user, kept).await], expected, "{user}");
    }
}

/// The kills fall before, into and behind a save: the file is always one or the other.
#[tokio::test]
async fn killed_it_loses_no_more_than_came_after_the_latest_save() {
    let mut host = Host::new().await;
    let mut app = host.lab.application(APP);
    let (mut sent, mut saved) = (0, 0);
    for round in 0..20 {
        app.run(&format!("flood {OUTSIDE_SINK} 100 100"));
        sent += 100 * DATAGRAM;
        host.daemon.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(95 + round)).await;
        host.daemon.kill();
        saved = in_file(&host.daemon.state()).unwrap_or(saved);
        assert!(saved <= sent && saved.is_multiple_of(100 * DATAGRAM), "{saved} of {sent}");
        host.daemon.start(&host.bus).await;
    }
    host.end();
    host.daemon.start(&host.bus).await;
    app.run(&format!("flood {OUTSIDE_SINK} 1 100"));
    host.bus.helper_of(USER).await.read().await.unwrap();
    host.boot(BOOTS[1]).await;
    assert_eq!(host.bytes(USER, APP).await, [0, sent, 0, 0], "{}", host.daemon.said());
    assert!(!host.daemon.said().contains("aside"), "{}", host.daemon.said());
    println!(
        "killed 20 times while it saved: {sent} bytes counted, {sent} saved; the last {saved} before the final save"
    );
}

/// The bytes that were sent, as the file has them.
fn in_file(state: &Path) -> Option<u64> {
    let text = fs::read(state.join("totals.json")).ok()?;
    let file: serde_json::Value = serde_json::from_slice(&text).expect("a whole file");
    let totals = file["totals"].as_array().unwrap().iter();
    Some(totals.map(|total| total[2][1].as_u64().unwrap()).sum())
}

#[tokio::test]
async fn what_makes_no_sense_is_put_aside_and_said_and_counting_goes_on() {
    let mut host = Host::new().await;
    let many = format!(r#"{{"boot_id":"x","boottime_ns":1,"totals":[{}[null,"/",[1,0,0,0]]]}}"#, {
        r#"[null,"/",[1,0,0,0]],"#.repeat(500_000)
    });
    let things: [&dyn Fn(&Path); 5] = [
        &|path| fs::write(path, "[1, 2").unwrap(),
        &|path| fs::write(path, &many).unwrap(),
        &|path| fs::create_dir_all(path.join("full")).unwrap(),
        &|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap(),
        &|path| fs::File::create(path).unwrap().set_len(100 << 20).unwrap(),
    ];
    let mut boot = 1;
    for make in things {
        for name in ["totals.json", "last.json"] {
            host.daemon.kill();
            let path = host.daemon.state().join(name);
            let _ = fs::remove_file(&path);
            make(&path);
        }
        host.boot(BOOTS[boot]).await;
        boot = 3 - boot;
        assert_eq!(host.last(ROOT).await, Last::default());
        lab::eventually("it says so", || {
            let said = host.daemon.said();
            let is_said = |file: &str| said.contains(&format!("{file} was moved aside"));
            if is_said("totals.json") && is_said("last.json") { Ok(()) } else { Err(said) }
        });
        // It saves all the same.
        let mut app = host.lab.application(APP);
        app.run(&format!("flood {OUTSIDE_SINK} 10 100"));
        host.end();
        host.boot(BOOTS[boot]).await;
        boot = 3 - boot;
        assert_eq!(host.bytes(USER, APP).await, [0, 10 * DATAGRAM, 0, 0]);
        for entry in fs::read_dir(host.daemon.state()).unwrap().flatten() {
            if entry.file_name() != "setup.json" {
                fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path())).unwrap();
            }
        }
    }
}
