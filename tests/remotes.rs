//! To whom an app talks, as the helper counts it: to the byte, only while somebody asks, only what they ask for and may know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/system.rs"]
mod system;

use std::{fs, time::Duration};

use lab::{LAN, Lab, OUTSIDE, eventually, tool};
use netglance_dbus::remote::Remotes;
use peers::{MORE, Table};
use system::{Bus, Daemon};

const ROOT: u32 = 0;
/// Users that every Debian has, as dbus-daemon turns strangers away: `daemon`, `uucp` and `nobody`.
const USER: u32 = 1;
const OTHER: u32 = 10;
const NOBODY: u32 = 65534;
const APPS: &str = "user.slice/user-1.slice/user@1.service/app.slice";
const APP: &str = "user.slice/user-1.slice/user@1.service/app.slice/a.service";
const CHILD: &str = "user.slice/user-1.slice/user@1.service/app.slice/a.service/child";
const BYSTANDER: &str = "user.slice/user-1.slice/user@1.service/app.slice/b.service";
const OTHERS: &str = "user.slice/user-10.slice/user@10.service/app.slice/a.service";
/// What a datagram takes that has 100 bytes in it.
const DATAGRAM: u64 = 128;
/// More than a lease lasts.
const LAPSE: Duration = Duration::from_secs(11);

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

struct Host {
    daemon: Daemon,
    bus: Bus,
    lab: Lab,
}

impl Host {
    async fn new() -> Self {
        let (lab, bus) = (Lab::default(), Bus::new());
        peers::count(&lab);
        let daemon = Daemon::new(&lab, &bus).await;
        bus.helper_of(ROOT).await.install().await.unwrap();
        Self { daemon, bus, lab }
    }

    /// What a user is told of these paths.
    async fn remotes(&self, user: u32, paths: &[&str]) -> Remotes {
        let paths = paths.iter().map(|path| format!("/{path}")).collect();
        self.bus.helper_of(user).await.read_remotes(paths).await.unwrap().into()
    }

    /// External and internal bytes of a cgroup's own counter, received and sent.
    async fn counter(&self, path: &str) -> [u64; 2] {
        let (_, _, rows) = self.bus.helper_of(ROOT).await.read_all().await.unwrap();
        let row = rows.into_iter().find(|row| row.cgroup == format!("/{path}")).unwrap_or_default();
        [row.rx_bytes + row.internal_rx_bytes, row.tx_bytes + row.internal_tx_bytes]
    }

    /// What the peer has counted.
    fn truth(&self) -> Table {
        peers::truth(&self.lab)
    }

    /// The table as nft shows it, handles and all, without what counters say.
    fn ruleset(&self) -> String {
        self.lab.host.inside(|| tool("nft", &["-a", "-s", "list", "ruleset"], "")).unwrap()
    }

    fn is_asked(&self) -> bool {
        self.ruleset().contains("remotes_")
    }
}

fn table<'a>(rows: impl IntoIterator<Item = &'a netglance_dbus::remote::Remote>) -> Table {
    let mut table = Table::new();
    for row in rows {
        let known = table.insert((row.address, row.protocol, row.port), [row.rx_bytes, row.tx_bytes]);
        assert_eq!(known, None, "twice: {row:?}");
    }
    table
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a netglance_dbus::remote::Remote>) -> [u64; 2] {
    rows.into_iter().fold([0; 2], |sum, row| [sum[0] + row.rx_bytes, sum[1] + row.tx_bytes])
}

/// Everything that an app does.
fn tasks() -> Vec<String> {
    let tcp = OUTSIDE.into_iter().chain(LAN).chain([MORE[0], MORE[2]]).zip(1_usize..);
    let tcp = tcp.map(|(to, times)| format!("tcp {to} {} {}", times * 10_000, times * 7_000));
    let udp = OUTSIDE.into_iter().chain(LAN).zip(1_usize..).map(|(to, times)| format!("udp {to} {times} 700"));
    let unconnected = MORE.into_iter().zip(3_usize..).map(|(to, times)| format!("unconnected {to} {times} 300"));
    tcp.chain(udp).chain(unconnected).collect()
}

#[tokio::test]
async fn per_remote_bytes_are_the_peers_to_the_byte() {
    let host = Host::new().await;
    let (mut app, mut bystander) = (host.lab.application(APP), host.lab.application(BYSTANDER));
    let first = host.remotes(USER, &[APP]).await;
    assert!(first.is_complete && first.rows.is_empty() && first.epoch > 0, "{first:?}");
    for task in tasks() {
        app.run(&task);
    }
    let truth = host.truth();
    assert_eq!(truth.len(), 13, "{truth:?}");
    let told = host.remotes(USER, &[APP]).await;
    assert!(told.is_complete);
    assert_eq!((table(&told.rows), told.epoch), (truth, first.epoch));
    assert_eq!(sum(&told.rows), host.counter(APP).await);
    // What nobody asks for is not booked: it is unknown afterwards as well.
    bystander.run(&format!("tcp {} 5000 5000", OUTSIDE[0]));
    let both = host.remotes(USER, &[APP, BYSTANDER]).await;
    assert_eq!(table(&both.rows), table(&told.rows));
    bystander.run(&format!("udp {} 1 100", OUTSIDE[0]));
    let rows = host.remotes(USER, &[BYSTANDER]).await.rows;
    assert_eq!(sum(&rows), [DATAGRAM; 2], "{rows:?}");
    // A protocol without ports.
    host.lab.host.set("net/ipv4/ping_group_range", "0 1");
    app.run("ping 93.184.216.36:0 3 56");
    let rows = host.remotes(USER, &[APP]).await.rows;
    let pings: Vec<_> = rows.iter().filter(|row| row.protocol == 1).collect();
    let [ping] = pings.as_slice() else { panic!("{rows:?}") };
    // The answers find no socket (README), in no counter.
    assert_eq!((ping.port, ping.rx_bytes, ping.tx_bytes), (0, 0, 3 * 84));
    assert_eq!(sum(&rows), host.counter(APP).await);
}

#[tokio::test]
async fn what_is_below_is_booked_to_its_own_cgroup_and_a_new_one_from_its_first_byte() {
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    host.remotes(USER, &[APPS]).await;
    app.run(&format!("tcp {} 1000 2000", OUTSIDE[0]));
    let mut child = host.lab.application(CHILD);
    eventually("the helper has seen the new cgroup", || {
        // No call: it follows by itself.
        let asked = host.ruleset();
        let set = asked.split("set asked_1 ").nth(1).and_then(|rest| rest.split("elements").nth(1)).unwrap_or_default();
        let keys = set.split('}').next().unwrap_or_default().matches(" . ").count();
        if keys == 3 { Ok(()) } else { Err(asked) }
    });
    child.run(&format!("tcp {} 3000 4000", OUTSIDE[1]));
    let rows = host.remotes(USER, &[APPS]).await.rows;
    for (path, remote) in [(APP, OUTSIDE[0]), (CHILD, OUTSIDE[1])] {
        let of: Vec<_> = rows.iter().filter(|row| row.cgroup == format!("/{path}")).collect();
        assert_eq!(sum(of.iter().copied()), host.counter(path).await, "{rows:?}");
        assert_eq!(
            of.iter().map(|row| row.address).collect::<Vec<_>>(),
            [remote.parse::<std::net::SocketAddr>().unwrap().ip()]
        );
    }
    // Only what is at or below the path that is named.
    let rows = host.remotes(USER, &[CHILD]).await.rows;
    assert!(!rows.is_empty() && rows.iter().all(|row| row.cgroup == format!("/{CHILD}")), "{rows:?}");
    let rows = host.remotes(USER, &["user.slice/user-1.slice/user@1.service/app.slice/a"]).await.rows;
    assert_eq!(rows, []);
}

#[tokio::test]
async fn a_restarted_app_goes_on_in_the_same_rows() {
    let host = Host::new().await;
    for life in 1..=3 {
        let mut app = host.lab.application(APP);
        host.remotes(USER, &[APP]).await;
        app.run(&format!("tcp {} 1000 2000", OUTSIDE[0]));
        app.run(&format!("unconnected {} {life} 100", MORE[1]));
        drop(app);
        let directory = host.lab.cgroup.join(APP);
        eventually("the cgroup is removed", || fs::remove_dir(&directory).map_err(|e| e.to_string()));
    }
    let told = host.remotes(USER, &[APP]).await;
    assert_eq!(table(&told.rows), host.truth());
    assert_eq!(sum(&told.rows), host.counter(APP).await);
}

#[tokio::test]
async fn only_the_owner_and_root_are_told() {
    let host = Host::new().await;
    let (mut app, mut other) = (host.lab.application(APP), host.lab.application(OTHERS));
    for user in [USER, OTHER, NOBODY] {
        host.remotes(user, &[APP, OTHERS, "", "user.slice", "user.slice/user-1.slice/../user-10.slice"]).await;
    }
    app.run(&format!("udp {} 1 100", OUTSIDE[0]));
    other.run(&format!("udp {} 2 100", OUTSIDE[0]));
    for (user, bytes) in [(USER, 1), (OTHER, 2), (NOBODY, 0)] {
        for paths in [&[APP, OTHERS][..], &["", "user.slice", APP, OTHERS]] {
            let told = host.remotes(user, paths).await;
            assert_eq!(sum(&told.rows), [bytes * DATAGRAM; 2], "{user}: {told:?}");
            assert!(told.is_complete && (told.epoch > 0) == (bytes > 0), "{told:?}");
        }
    }
    let told = host.remotes(ROOT, &[""]).await;
    assert_eq!(sum(&told.rows), [3 * DATAGRAM; 2], "{told:?}");
    assert_eq!(host.remotes(ROOT, &[OTHERS]).await.rows.len(), 1);
    // Who asks for too much is told so, and nothing is begun for them.
    let many = (0..600).map(|i| format!("/{APP}/{i}")).collect();
    let refused = host.bus.helper_of(USER).await.read_remotes(many).await.unwrap_err();
    assert!(matches!(refused, netglance_dbus::helper1::Error::LimitsExceeded(_)), "{refused}");
}

#[tokio::test]
async fn ten_seconds_after_the_last_call_the_table_is_what_it_was() {
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    let deep = format!("{APP}/1/2/3/4/5/6");
    let mut below = host.lab.application(&deep);
    app.run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    below.run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    host.counter(APP).await;
    let before = host.ruleset();
    let counted = host.counter(APP).await;
    for round in 1..=2 {
        host.remotes(USER, &[APP]).await;
        assert!(host.is_asked(), "{}", host.ruleset());
        for app in [&mut app, &mut below] {
            app.run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
        }
        let rows = host.remotes(USER, &[APP]).await.rows;
        let of = |path: &str| sum(rows.iter().filter(|row| row.cgroup == format!("/{path}")));
        let now = host.counter(APP).await;
        // What was counted by remote before is forgotten with the rules.
        assert_eq!([now[0] - counted[0], now[1] - counted[1]].map(|bytes| bytes / round), of(APP), "{rows:?}");
        assert_eq!(of(&deep), of(APP), "as deep as it is");
        tokio::time::sleep(LAPSE).await;
        assert_eq!(host.ruleset(), before);
        assert_eq!(host.counter(APP).await, now, "no counter was touched");
    }
    // Of two, the one that nobody asks for any more goes alone, and begins anew.
    host.remotes(USER, &[APP, BYSTANDER]).await;
    let mut bystander = host.lab.application(BYSTANDER);
    host.remotes(USER, &[APP, BYSTANDER]).await;
    app.run(&format!("udp {} 1 100", OUTSIDE[0]));
    bystander.run(&format!("udp {} 1 100", OUTSIDE[0]));
    for _ in 0..11 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(sum(&host.remotes(USER, &[APP]).await.rows), [DATAGRAM; 2]);
    }
    bystander.run(&format!("udp {} 1 100", OUTSIDE[0]));
    assert_eq!(host.remotes(USER, &[BYSTANDER]).await.rows, []);
    bystander.run(&format!("udp {} 5 100", OUTSIDE[0]));
    assert_eq!(sum(&host.remotes(USER, &[BYSTANDER, APP]).await.rows), [6 * DATAGRAM; 2]);
}

#[tokio::test]
async fn more_remotes_than_there_is_room_for_are_no_wrong_sum_and_nobody_elses_matter() {
    let host = Host::new().await;
    let (mut app, mut other) = (host.lab.application(APP), host.lab.application(OTHERS));
    host.remotes(USER, &[APP]).await;
    host.remotes(OTHER, &[OTHERS]).await;
    app.run("spread 93.184.216.36:10000 10000 100");
    other.run(&format!("udp {} 1 100", OUTSIDE[0]));
    let told = host.remotes(USER, &[APP]).await;
    assert!(!told.is_complete);
    let [_, sent] = sum(&told.rows);
    assert_eq!(sent, u64::from(netglance_helper::nft::ruleset::MOST_REMOTES) * DATAGRAM);
    // The others are what the peer says about ports that nobody listens at.
    let datagrams = |row: &&netglance_dbus::remote::Remote| row.protocol == 17;
    assert!(told.rows.iter().filter(datagrams).all(|row| row.tx_bytes == DATAGRAM), "none is booked to another");
    assert_eq!(host.counter(APP).await[1], 10_000 * DATAGRAM, "the counter has the rest");
    let told = host.remotes(OTHER, &[OTHERS]).await;
    assert!(told.is_complete);
    assert_eq!(sum(&told.rows), [DATAGRAM; 2]);
}

#[tokio::test]
async fn a_killed_helper_and_a_flushed_ruleset_lose_nothing() {
    let mut host = Host::new().await;
    let mut app = host.lab.application(APP);
    let before = host.remotes(USER, &[APP]).await;
    app.run(&format!("tcp {} 10000 20000", OUTSIDE[0]));
    host.remotes(USER, &[APP]).await;
    host.daemon.kill();
    app.run(&format!("tcp {} 30000 40000", OUTSIDE[0]));
    app.run(&format!("udp {} 7 100", MORE[2]));
    // A cgroup that has ended meanwhile keeps its rows.
    drop(app);
    let directory = host.lab.cgroup.join(APP);
    eventually("the cgroup is removed", || fs::remove_dir(&directory).map_err(|e| e.to_string()));
    host.daemon.start(&host.bus).await;
    let told = host.remotes(USER, &[APP]).await;
    assert_eq!((table(&told.rows), told.epoch), (host.truth(), before.epoch), "{}", host.daemon.said());
    let mut app = host.lab.application(APP);
    host.remotes(USER, &[APP]).await;
    host.lab.host.nft("flush ruleset").unwrap();
    app.run(&format!("udp {} 7 100", MORE[2]));
    let told = host.remotes(USER, &[APP]).await;
    assert_eq!((table(&told.rows), told.epoch), (host.truth(), before.epoch));
    // Killed while somebody asks, it clears away what nobody asks for when it comes back.
    host.daemon.kill();
    tokio::time::sleep(LAPSE).await;
    assert!(host.is_asked());
    host.daemon.start(&host.bus).await;
    host.counter(APP).await;
    tokio::time::sleep(LAPSE).await;
    assert!(!host.is_asked(), "{}", host.ruleset());
    let told = host.remotes(USER, &[APP]).await;
    assert!(told.epoch > before.epoch && told.rows.is_empty(), "{told:?}");
}
