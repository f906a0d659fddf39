//! To whom an app talks, as the helper counts it: to the byte, only while somebody asks, only what they ask for and may know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/system.rs"]
mod system;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use lab::{Application, LAN, Lab, OUTSIDE, eventually, tool};
use netglance_dbus::{
    helper1::Error,
    remote::{Remote, Remotes},
    verify::Outcome,
};
use netglance_helper::{
    nft::{Nft, ruleset::Set},
    verify::running,
};
use peers::{MORE, Table};
use rustix::process::{Gid, Uid};
use system::{Bus, Daemon, memory_max_bytes};

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
/// More than a lease lasts, and what it takes until the rules are gone.
const LAPSE: Duration = Duration::from_secs(13);

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

    /// The rules are changed after a rest of up to two seconds.
    fn is_asked_no_more(&self) {
        eventually("nothing is counted by remote", || if self.is_asked() { Err(self.ruleset()) } else { Ok(()) });
    }

    fn is_asked(&self) -> bool {
        self.ruleset().contains("remotes_")
    }
}

fn table<'a>(rows: impl IntoIterator<Item = &'a Remote>) -> Table {
    let mut table = Table::new();
    for row in rows {
        let known = table.insert((row.address, row.protocol, row.port), [row.rx_bytes, row.tx_bytes]);
        assert_eq!(known, None, "twice: {row:?}");
    }
    table
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Remote>) -> [u64; 2] {
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
        let sets = asked.split("set ").filter(|set| set.starts_with("asked_1"));
        let keys = sets.filter(|set| asked.contains(&format!("add @{} ", set.split(' ').next().unwrap())));
        let keys = keys
            .filter_map(|set| set.split("elements").nth(1)?.split('}').next())
            .map(|all| all.matches(" . ").count());
        let keys: usize = keys.sum();
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
    assert!(matches!(refused, Error::LimitsExceeded(_)), "{refused}");
}

#[tokio::test]
async fn ten_seconds_after_the_last_call_the_table_is_what_it_was() {
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    let deep = format!("{APP}/1/2/3/4/5/6");
    let mut below = host.lab.application(&deep);
    // Datagrams: no two connections take the same number of packets for sure.
    app.run(&format!("udp {} 10 100", OUTSIDE[0]));
    below.run(&format!("udp {} 10 100", OUTSIDE[0]));
    host.counter(APP).await;
    let before = host.ruleset();
    let counted = host.counter(APP).await;
    for round in 1..=2 {
        host.remotes(USER, &[APP]).await;
        assert!(host.is_asked(), "{}", host.ruleset());
        for app in [&mut app, &mut below] {
            app.run(&format!("udp {} 10 100", OUTSIDE[0]));
        }
        let rows = host.remotes(USER, &[APP]).await.rows;
        let of = |path: &str| sum(rows.iter().filter(|row| row.cgroup == format!("/{path}")));
        let now = host.counter(APP).await;
        // What was counted by remote before is forgotten with the rules.
        assert_eq!([now[0] - counted[0], now[1] - counted[1]].map(|bytes| bytes / round), of(APP), "{rows:?}");
        assert_eq!(of(&deep), of(APP), "as deep as it is");
        tokio::time::sleep(LAPSE).await;
        eventually("the table is what it was", || {
            let ruleset = host.ruleset();
            if ruleset == before { Ok(()) } else { Err(ruleset) }
        });
        assert_eq!(host.counter(APP).await, now, "no counter was touched");
    }
    // Of two, the one that nobody asks for any more goes alone, and begins anew.
    host.remotes(USER, &[APP, BYSTANDER]).await;
    let mut bystander = host.lab.application(BYSTANDER);
    host.remotes(USER, &[APP, BYSTANDER]).await;
    app.run(&format!("udp {} 1 100", OUTSIDE[0]));
    bystander.run(&format!("udp {} 1 100", OUTSIDE[0]));
    for _ in 0..LAPSE.as_secs() {
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
    let datagrams = |row: &&Remote| row.protocol == 17;
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
    host.is_asked_no_more();
    let told = host.remotes(USER, &[APP]).await;
    assert!(told.epoch > before.epoch && told.rows.is_empty(), "{told:?}");
}

/// What the paths say of themselves and what is below them.
fn covers(top: &str, path: &str) -> bool {
    path.strip_prefix(&format!("/{top}")).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Host {
    /// Received and sent of all counters at and below a path.
    async fn counters(&self, top: &str) -> [u64; 2] {
        let (_, _, rows) = self.bus.helper_of(ROOT).await.read_all().await.unwrap();
        let rows = rows.iter().filter(|row| covers(top, &row.cgroup));
        rows.fold([0; 2], |[rx, tx], row| {
            [rx + row.rx_bytes + row.internal_rx_bytes, tx + row.tx_bytes + row.internal_tx_bytes]
        })
    }

    /// Moves a little until the rules for a new cgroup stand: on a slow machine, the pause before them is long.
    async fn begins(&self, app: &mut Application, path: &str, top: &str) {
        let end = std::time::Instant::now() + lab::PATIENCE;
        loop {
            app.run(&format!("unconnected {} 1 100", MORE[2]));
            let told = self.remotes(USER, &[top]).await;
            if told.rows.iter().any(|row| row.cgroup == format!("/{path}")) {
                return;
            }
            assert!(std::time::Instant::now() < end, "{path}: {told:?}\n{}", self.ruleset());
        }
    }

    /// Moves some, and finds exactly that in the app's rows.
    async fn grows(&self, app: &mut Application, path: &str, top: &str) {
        let of = |rows: &[Remote]| sum(rows.iter().filter(|row| row.cgroup == format!("/{path}")));
        let before = of(&self.remotes(USER, &[top]).await.rows);
        let counted = self.counter(path).await;
        app.run(&format!("tcp {} 3000 2000", OUTSIDE[0]));
        app.run(&format!("unconnected {} 2 100", MORE[2]));
        let (now, counter) = (of(&self.remotes(USER, &[top]).await.rows), self.counter(path).await);
        let grown = |now: [u64; 2], before: [u64; 2]| [now[0] - before[0], now[1] - before[1]];
        assert!(counter[0] > counted[0] + 2000, "{path}");
        assert_eq!(grown(now, before), grown(counter, counted), "{path}: {}", self.ruleset());
    }

    /// The table, without what is there for those who ask, is what netglance makes.
    fn is_its_own(&self) {
        let setup = self.daemon.state().join("setup.json");
        let row = self.lab.host.inside(|| running::compare(&setup)).unwrap();
        assert_eq!(row.verdict, Outcome::Pass, "{row:?}");
    }
}

/// Gives a cgroup to a user, as root does for a service.
fn give(directory: &Path, user: u32) {
    rustix::fs::chown(directory, Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).unwrap();
}

#[tokio::test]
async fn however_deep_a_new_cgroup_is_its_remotes_are_its_own() {
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    host.remotes(USER, &[APPS]).await;
    host.grows(&mut app, APP, APPS).await;
    let mut deeper = Vec::new();
    // Up to the end of the table's first block of levels, one into the next, and over several.
    for depth in [2, 3, 4, 5, 12, 13, 25] {
        let path = format!("{APP}{}", "/d".repeat(depth));
        let mut application = host.lab.application(&path);
        host.begins(&mut application, &path, APPS).await;
        deeper.push((path, application));
        host.is_its_own();
        for (path, application) in &mut deeper {
            host.grows(application, path, APPS).await;
        }
        host.grows(&mut app, APP, APPS).await;
    }
    // Deeper than anything is followed: in its ancestor's counter, which is too deep to be counted by remote.
    assert!(host.remotes(USER, &[APPS]).await.is_complete);
    let mut deepest = host.lab.application(&format!("{APP}{}", "/d".repeat(140)));
    let (before, counted) = (sum(&host.remotes(USER, &[APPS]).await.rows), host.counters(APPS).await);
    deepest.run(&format!("tcp {} 3000 2000", OUTSIDE[0]));
    let end = std::time::Instant::now() + LAPSE;
    let told = loop {
        let told = host.remotes(USER, &[APPS]).await;
        if !told.is_complete || std::time::Instant::now() > end {
            break told;
        }
    };
    assert!(!told.is_complete && sum(&told.rows) == before, "{told:?}");
    assert!(host.counters(APPS).await[1] > counted[1] + 3000);
    host.grows(&mut app, APP, APP).await;
    tokio::time::sleep(LAPSE).await;
    host.is_asked_no_more();
    host.is_its_own();
}

#[tokio::test]
async fn what_is_booked_as_a_whole_is_in_no_row_and_that_is_said() {
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    assert!(host.remotes(USER, &[APPS]).await.is_complete);
    let closed = format!("{APPS}/closed");
    let directory = host.lab.cgroup.join(&closed);
    fs::create_dir_all(directory.join("below")).unwrap();
    give(&directory, USER);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(directory.join("new")).unwrap();
    let mut hidden = host.lab.application(&format!("{closed}/below"));
    eventually("it is booked as a whole", || {
        let rules = host.ruleset();
        if rules.contains("elements = { 0x") && rules.contains("update @tx_external") && rules.contains("add @opaque") {
            Ok(())
        } else {
            Err(rules)
        }
    });
    assert!(!host.remotes(USER, &[APPS]).await.is_complete);
    hidden.run(&format!("tcp {} 3000 2000", OUTSIDE[0]));
    host.grows(&mut app, APP, APPS).await;
    host.is_its_own();
    for (path, is_complete) in [(APPS, false), (closed.as_str(), false), (APP, true)] {
        let told = host.remotes(USER, &[path]).await;
        assert_eq!(told.is_complete, is_complete, "{path}");
        assert!(told.rows.iter().all(|row| row.cgroup == format!("/{APP}")), "{:?}", told.rows);
    }
    assert!(host.remotes(OTHER, &[OTHERS]).await.is_complete, "nobody else's matter");
    assert!(host.counter(&closed).await[0] > 2000);
}

#[tokio::test]
async fn set_back_by_another_program_a_remote_keeps_what_was_seen() {
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    host.remotes(USER, &[APP]).await;
    app.run(&format!("tcp {} 3000 2000", OUTSIDE[0]));
    app.run(&format!("udp {} 3 100", OUTSIDE[1]));
    let before = table(&host.remotes(USER, &[APP]).await.rows);
    assert_eq!(before, host.truth());
    let mut other = host.lab.host.inside(Nft::open).unwrap();
    for set in Set::all(Some(USER)) {
        if !other.reset_set(&set.name()).unwrap() {
            return; // before Linux 6.5
        }
    }
    let ours = host.lab.host.part_of_ours("set tx4_1");
    assert!(ours.contains("counter packets 0 bytes 0"), "{ours}");
    app.run(&format!("tcp {} 1 1", OUTSIDE[0]));
    app.run(&format!("udp {} 1 100", OUTSIDE[1]));
    for _ in 0..2 {
        assert_eq!(table(&host.remotes(USER, &[APP]).await.rows), host.truth());
    }
}

#[tokio::test]
async fn turned_off_and_on_while_somebody_asks() {
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    let root = host.bus.helper_of(ROOT).await;
    let mut epochs = Vec::new();
    for _ in 0..3 {
        epochs.push(host.remotes(USER, &[APP]).await.epoch);
        host.grows(&mut app, APP, APP).await;
        root.uninstall().await.unwrap();
        assert!(!host.ruleset().contains("netglance"), "{}", host.ruleset());
        let refused = host.bus.helper_of(USER).await.read_remotes(vec![format!("/{APP}")]).await.unwrap_err();
        assert!(matches!(refused, Error::NotInstalled(_)), "{refused}");
        app.run(&format!("tcp {} 3000 2000", OUTSIDE[0]));
        root.install().await.unwrap();
        assert_eq!(host.remotes(USER, &[APP]).await.rows, []);
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}

#[tokio::test]
async fn whose_a_cgroup_is_now_decides() {
    const SERVICE: &str = "system.slice/g.service";
    let host = Host::new().await;
    let mut app = host.lab.application(SERVICE);
    let directory = host.lab.cgroup.join(SERVICE);
    for (owner, others) in [
        (None, [USER, OTHER]),
        (Some(USER), [OTHER, NOBODY]),
        (Some(OTHER), [USER, NOBODY]),
        (Some(USER), [OTHER, NOBODY]),
    ] {
        give(&directory, owner.unwrap_or(ROOT));
        // Whose it is, is looked at now and then.
        let who = owner.unwrap_or(ROOT);
        let mut tries = 0;
        loop {
            host.remotes(ROOT, &[""]).await;
            for user in others {
                host.remotes(user, &[SERVICE]).await;
            }
            host.remotes(who, &[SERVICE]).await;
            let before = sum(&host.remotes(who, &[SERVICE]).await.rows);
            app.run(&format!("udp {} 1 100", OUTSIDE[0]));
            let now = sum(&host.remotes(who, &[SERVICE]).await.rows);
            if now == before.map(|bytes| bytes + DATAGRAM) {
                break;
            }
            tries += 1;
            assert!(tries < 50, "{owner:?} {before:?} {now:?} {}", host.ruleset());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for user in others {
            assert_eq!(host.remotes(user, &[SERVICE]).await.rows, [], "{user}");
        }
        let of_service = async || {
            let rows = host.remotes(ROOT, &[""]).await.rows;
            sum(rows.iter().filter(|row| covers(SERVICE, &row.cgroup)))
        };
        let before = of_service().await;
        app.run(&format!("udp {} 1 100", OUTSIDE[0]));
        let now = of_service().await;
        assert_eq!(now, before.map(|bytes| bytes + DATAGRAM), "{owner:?}");
    }
}

#[tokio::test]
async fn what_nobody_had_seen_before_a_lease_ended_is_forgotten_too() {
    let host = Host::new().await;
    let (mut app, mut bystander) = (host.lab.application(APP), host.lab.application(BYSTANDER));
    host.remotes(USER, &[APP, BYSTANDER]).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        host.remotes(USER, &[APP]).await;
    }
    // Just before its ten seconds are over, and not looked at.
    bystander.run(&format!("udp {} 3 100", OUTSIDE[0]));
    tokio::time::sleep(Duration::from_secs(5)).await;
    app.run(&format!("udp {} 1 100", OUTSIDE[0]));
    assert_eq!(sum(&host.remotes(USER, &[APP]).await.rows), [DATAGRAM; 2]);
    assert_eq!(host.remotes(USER, &[BYSTANDER]).await.rows, []);
    bystander.run(&format!("udp {} 1 100", OUTSIDE[0]));
    assert_eq!(sum(&host.remotes(USER, &[BYSTANDER]).await.rows), [DATAGRAM; 2]);
}

/// As many rows as there can be, each with a path as long as it can be.
#[tokio::test]
async fn the_longest_answer_is_shortened_before_it_is_made() {
    let host = Host::new().await;
    let deep = (0..13).fold(APPS.to_owned(), |path, _| format!("{path}/{}", "n".repeat(250)));
    let mut app = host.lab.application(&deep);
    let mut other = host.lab.application(OTHERS);
    host.begins(&mut app, &deep, APPS).await;
    app.run(&format!("udp {} 100 1000", OUTSIDE[0]));
    app.run("spread 93.184.216.36:10000 5000 100");
    app.run("spread [2606:2800:220:1::35]:10000 5000 100");
    for _ in 0..5 {
        let told = host.remotes(USER, &[APPS]).await;
        assert!(!told.is_complete && told.rows.len() > 500, "{}", told.rows.len());
        assert!(told.rows.iter().any(|row| row.tx_bytes == 100 * 1028), "what has moved the most is told first");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", host.daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{peak} kB resident at most");
    assert!(peak << 10 < memory_max_bytes() / 2, "{peak} kB");
    host.remotes(OTHER, &[OTHERS]).await;
    other.run(&format!("udp {} 1 100", OUTSIDE[0]));
    assert_eq!(sum(&host.remotes(OTHER, &[OTHERS]).await.rows), [DATAGRAM; 2]);
}

/// A connection that the host's firewall leads elsewhere has one remote, both ways: the one with which the bytes are moved.
#[tokio::test]
async fn translated_connections_have_the_real_remote() {
    const NAT: &str = "table inet translates { chain output { type nat hook output priority -100
        ip daddr 203.0.114.9 tcp dport 80 dnat ip to 93.184.216.35:8001
        ip daddr 203.0.114.9 udp dport 53 dnat ip to 192.168.77.1:8001
        ip6 daddr 2a0e:b107::9 meta l4proto { tcp, udp } dnat ip6 to [2606:2800:220:1::35]:8001
    }
    }";
    let host = Host::new().await;
    let mut app = host.lab.application(APP);
    let is_known = |host: &Host| host.ruleset().contains("remotes_rx_5_1_translated");
    host.remotes(USER, &[APP]).await;
    app.run(&format!("tcp {} 3000 2000", OUTSIDE[0]));
    assert!(!is_known(&host), "connection tracking is nothing that we switch on");
    host.lab.host.nft(NAT).unwrap();
    eventually("the helper knows", || if is_known(&host) { Ok(()) } else { Err(host.ruleset()) });
    app.run("tcp 203.0.114.9:80 30000 20000");
    app.run("udp 203.0.114.9:53 7 100");
    app.run("tcp [2a0e:b107::9]:443 3000 2000");
    app.run("udp [2a0e:b107::9]:443 7 100");
    app.run(&format!("tcp {} 3000 2000", OUTSIDE[1]));
    let rows = host.remotes(USER, &[APP]).await.rows;
    assert_eq!((table(&rows), sum(&rows)), (host.truth(), host.counter(APP).await));
    host.is_its_own();
    // Somebody else connects, to an address that leads here: the remote is who connects.
    host.lab.host.nft("add chain inet translates input { type nat hook prerouting priority -100; }").unwrap();
    host.lab.host.nft("add rule inet translates input tcp dport 8080 redirect to :8002").unwrap();
    app.run("listen 0.0.0.0:8002 0 0");
    let (before, counted) = (sum(&rows), host.counter(APP).await);
    let connect = || {
        let mut stream = TcpStream::connect("192.168.77.2:8080").unwrap();
        stream.write_all(&[1; 2000]).unwrap();
        stream.read_exact(&mut [0; 2000]).unwrap();
        stream.local_addr().unwrap()
    };
    let asks = std::thread::scope(|scope| {
        let asks = scope.spawn(|| host.lab.peer.inside(connect));
        app.run("accept 0.0.0.0:0 1 2000");
        asks.join().unwrap()
    });
    let rows = host.remotes(USER, &[APP]).await.rows;
    let counter = host.counter(APP).await;
    let theirs: Vec<_> = rows.iter().filter(|row| row.address == asks.ip() && row.port == asks.port()).collect();
    let grown = [0, 1].map(|way| counter[way] - counted[way]);
    assert_eq!(sum(theirs), grown, "{rows:?}");
    assert_eq!([0, 1].map(|way| sum(&rows)[way] - before[way]), grown);
    host.lab.host.nft("delete table inet translates").unwrap();
    eventually("nothing is translated any more", || if is_known(&host) { Err(host.ruleset()) } else { Ok(()) });
    host.grows(&mut app, APP, APP).await;
}

#[tokio::test]
async fn killed_at_any_time_it_loses_nothing_and_leaves_nothing() {
    let mut host = Host::new().await;
    let (mut app, mut bystander) = (host.lab.application(APP), host.lab.application(BYSTANDER));
    app.run(&format!("udp {} 1 100", OUTSIDE[0]));
    // Without elements: what they are is in the figures.
    let table = |host: &Host| {
        let text = host.lab.host.inside(|| tool("nft", &["-s", "list", "ruleset"], "")).unwrap();
        let lines = text.lines().filter(|line| !line.contains(" . 0x") || line.contains("update @"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    // What a restart writes anew stands in another order.
    host.daemon.kill();
    host.daemon.start(&host.bus).await;
    let before = table(&host);
    // No random numbers, but no two are alike in what goes on when it ends.
    for round in 0..50_usize {
        let mut calls = Vec::new();
        for (at, user) in [USER, OTHER, ROOT].into_iter().enumerate() {
            let helper = host.bus.helper_of(user).await;
            let paths = match (round + at) % 4 {
                0 => vec![format!("/{APP}")],
                1 => vec![format!("/{BYSTANDER}"), format!("/{APP}")],
                2 => vec![format!("/{APPS}"), format!("/{OTHERS}")],
                _ => vec!["/".to_owned()],
            };
            calls.push(tokio::spawn(async move {
                loop {
                    if helper.read_remotes(paths.clone()).await.is_err() {
                        return;
                    }
                }
            }));
        }
        let new = format!("{APPS}/n{round}");
        fs::create_dir(host.lab.cgroup.join(&new)).unwrap();
        app.begin(&format!("tcp {} 30000 20000", OUTSIDE[0]));
        tokio::time::sleep(Duration::from_micros(u64::try_from(round * 7919 % 60_000).unwrap())).await;
        host.daemon.kill();
        app.finish("tcp");
        bystander.run(&format!("udp {} 1 100", OUTSIDE[round % 2]));
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        host.daemon.start(&host.bus).await;
        fs::remove_dir(host.lab.cgroup.join(&new)).unwrap();
    }
    let truth = host.truth().values().fold([0; 2], |sum: [u64; 2], of| [sum[0] + of[0], sum[1] + of[1]]);
    assert_eq!(host.counters(APPS).await, truth, "{}", host.daemon.said());
    // And what is counted by remote from now on is right.
    host.grows(&mut app, APP, APPS).await;
    host.grows(&mut bystander, BYSTANDER, APPS).await;
    tokio::time::sleep(LAPSE).await;
    assert_eq!(table(&host), before);
    host.is_its_own();
}
