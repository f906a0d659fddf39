//! Everything at once: what hostile users can do over the bus and with control groups, while an honest one only wants to know.
//! It lasts 20 seconds, or `NETGLANCE_SIEGE_SECS`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/flood.rs"]
mod flood;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use flood::{Flood, Latencies};
use hostile::{as_user, give, make, remove, status};
use lab::{Application, Lab, OUTSIDE_SINK};
use netglance_dbus::{
    helper1::{BUS_NAME, Helper1Proxy, WirePrefix},
    sample::Row,
};
use netglance_helper::remotes::LASTS;
use system::{Answer, Bus, Daemon, Polkit};

/// `daemon`, `bin`, `sys` and `sync` attack, `uucp` only wants to know.
const HOSTILE: [u32; 4] = [1, 2, 3, 4];
const HONEST: u32 = 10;
const APP: &str = "user.slice/user-10.slice/user@10.service/app.slice/a.service";
/// Bytes on the wire of a datagram of 100.
const DATAGRAM: u64 = 128;
const MOST_RESIDENT: u64 = 48 << 20;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

fn manager(user: u32) -> String {
    format!("user.slice/user-{user}.slice/user@{user}.service")
}

/// What a user does with cgroups, over and over, until `over`.
fn torment(user: u32, manager: &Path, over: &AtomicBool, made: &AtomicU64) {
    let until = |mut round: Box<dyn FnMut() + '_>| {
        while !over.load(Ordering::Relaxed) {
            round();
        }
    };
    as_user(user, || match user {
        // As fast as it goes, 50,000 that stay among them.
        1 => {
            make(manager, "stays", 50_000);
            until(Box::new(|| {
                make(manager, "c", 250);
                remove(manager, "c", 250);
                made.fetch_add(250, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }));
        }
        // 10,000 a minute, which is let pass.
        2 => until(Box::new(|| {
            make(manager, "c", 50);
            thread::sleep(Duration::from_millis(300));
            remove(manager, "c", 50);
            made.fetch_add(50, Ordering::Relaxed);
        })),
        // Unreadable, and readable again.
        3 => until(Box::new(|| {
            let closed = manager.join("closed");
            fs::create_dir_all(closed.join("below")).unwrap();
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
            fs::create_dir(closed.join("new")).unwrap();
            thread::sleep(Duration::from_millis(50));
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
            for below in ["below", "new", ""] {
                fs::remove_dir(closed.join(below)).unwrap();
            }
            made.fetch_add(3, Ordering::Relaxed);
        })),
        // Deep, with names as long as they may be.
        _ => until(Box::new(|| {
            let deep: Vec<PathBuf> =
                (1..14).map(|depth| (0..depth).fold(manager.to_owned(), |d, _| d.join("n".repeat(250)))).collect();
            deep.iter().for_each(|directory| fs::create_dir(directory).unwrap());
            made.fetch_add(deep.len() as u64, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(100));
            deep.iter().rev().for_each(|directory| fs::remove_dir(directory).unwrap());
        })),
    });
}

/// Asks for the remotes of all that a user has.
fn remotes(user: u32) -> Vec<u8> {
    flood::call(BUS_NAME, "ReadRemotes", &[format!("/user.slice/user-{user}.slice")].as_slice())
}

/// What users send over the bus as fast as it goes.
fn floods(bus: &Bus) -> Vec<Flood> {
    let prefixes = (vec![(Vec::<u8>::new(), 0u8); 2_000_000], Vec::<WirePrefix>::new());
    let members = ["Read", "ReadAll", "Install", "Uninstall", "Nothing"].map(flood::member);
    vec![
        Flood::new(bus, 1, 16, &members, true),
        Flood::new(bus, 2, 16, &[flood::get_all(), flood::silent("Read")], true),
        Flood::new(bus, 2, 4, &[remotes(1), remotes(2)], true),
        Flood::new(bus, 3, 4, &[remotes(3)], false),
        Flood::new(bus, 3, 2, &[flood::call(BUS_NAME, "SetPrefixes", &prefixes)], true),
        Flood::new(bus, 3, 8, &[flood::signal(100), flood::signal(1 << 20)], true),
        Flood::new(bus, 4, 8, &[flood::get_all(), flood::member("Read")], false),
        Flood::of_strangers(bus, 4, &flood::member("Install")),
    ]
}

/// One who sends, and compares.
struct Honest {
    application: Application,
    helper: Helper1Proxy<'static>,
    sent: u64,
    latencies: Latencies,
}

impl Honest {
    /// What is told of remotes. `None`: the call took so long that what had begun with it has ended.
    async fn told(&self) -> Option<u64> {
        let asked = Instant::now();
        let (epoch, _, is_complete, rows) = self.helper.read_remotes(vec![format!("/{APP}")]).await.unwrap();
        let took = asked.elapsed();
        assert!(is_complete && (epoch > 0 || took >= LASTS), "{epoch} {is_complete} {took:?} {rows:?}");
        (epoch > 0).then(|| rows.iter().map(|row| row.5).sum())
    }

    async fn is_right(&mut self) {
        let asked = Instant::now();
        let remotes = self.told().await;
        self.application.run(&format!("flood {OUTSIDE_SINK} 10 100"));
        self.sent += 10 * DATAGRAM;
        let start = Instant::now();
        let (_, _, rows) = self.helper.read().await.unwrap();
        self.latencies.add(start.elapsed());
        assert_eq!(rows, [Row { cgroup: format!("/{APP}"), tx_bytes: self.sent, ..Row::default() }]);
        let told = self.told().await;
        // On a machine that is so slow a lease may have ended meanwhile, and counting have begun again.
        let grown = told.zip(remotes).map(|(told, remotes)| told.checked_sub(remotes));
        assert!(grown == Some(Some(10 * DATAGRAM)) || asked.elapsed() >= LASTS, "{told:?} after {remotes:?}");
    }
}

#[tokio::test]
async fn everything_at_once_ends_with_the_helper_alive_and_right() {
    let span = std::env::var("NETGLANCE_SIEGE_SECS").map_or(20, |secs| secs.parse().unwrap());
    let (lab, bus) = (Lab::default(), Bus::new());
    let _polkit = Polkit::new(&bus, Answer::Silence).await;
    for user in HOSTILE {
        fs::create_dir_all(lab.cgroup.join(manager(user))).unwrap();
        give(&lab.cgroup.join(manager(user)), user);
    }
    let mut daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(0).await.install().await.unwrap();
    let helper = bus.helper_of(HONEST).await;
    let mut honest = Honest { application: lab.application(APP), helper, sent: 0, latencies: Latencies::default() };
    honest.is_right().await;
    let epoch = honest.helper.read().await.unwrap().0;
    let descriptors = |daemon: &Daemon| fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors(&daemon);

    let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let torments = HOSTILE.map(|user| {
        let (directory, over, made) = (lab.cgroup.join(manager(user)), Arc::clone(&over), Arc::clone(&made));
        thread::spawn(move || torment(user, &directory, &over, &made))
    });
    let floods = floods(&bus);
    // A hostile user's own applications send as well: from a cgroup of its own each time.
    let mut moving = lab.application(&format!("{}/home", manager(2)));
    let (mut hostile_sent, mut peak, mut killed) = (0, 0, false);
    let end = Instant::now() + Duration::from_secs(span);
    while Instant::now() < end {
        honest.is_right().await;
        moving.enter(&lab, &format!("{}/app{}", manager(2), hostile_sent / DATAGRAM % 100));
        moving.run(&format!("flood {OUTSIDE_SINK} 1 100"));
        hostile_sent += DATAGRAM;
        peak = peak.max(status(daemon.pid(), "VmHWM:"));
        if !killed && Instant::now() + Duration::from_secs(span / 2) > end {
            daemon.kill();
            daemon.start(&bus).await;
            killed = true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    over.store(true, Ordering::Relaxed);
    let messages: u64 = floods.into_iter().map(Flood::end).sum();
    torments.into_iter().for_each(|torment| torment.join().unwrap());
    println!("{messages} messages sent");
    let (count, made) = (honest.latencies.count(), made.load(Ordering::Relaxed));
    let [p50, p99] = [50, 99].map(|percent| honest.latencies.percentile(percent));
    println!(
        "{made} cgroups made and removed beside 50,000; {count} Reads, p50 {p50:.1} p99 {p99:.1} ms; {peak} bytes resident"
    );
    assert!(peak < MOST_RESIDENT, "{peak}");

    // All totals are what the peer has counted, and nothing is left behind.
    honest.is_right().await;
    let (now, _, rows) = bus.helper_of(0).await.read_all().await.unwrap();
    assert_eq!(now, epoch);
    let of = |top: &str| rows.iter().filter(|row| row.cgroup.starts_with(top)).map(|row| row.tx_bytes).sum::<u64>();
    assert_eq!(of(&format!("/{}", manager(2))), hostile_sent, "{}", daemon.said());
    assert_eq!(rows.iter().map(|row| row.tx_bytes).sum::<u64>(), lab.truth()[1]);
    assert!(descriptors(&daemon) <= before + 8, "{} descriptors, {before} before", descriptors(&daemon));
    let lines = fs::metadata(daemon.runtime().join("paths.lines")).unwrap().len();
    assert!(lines < 4 << 20, "{lines}");
    assert!(!bus.helper_of(HONEST).await.version().await.unwrap().is_empty());
}
