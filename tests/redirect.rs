//! One connection has one scope, whatever a firewall does to it: where the bytes really go decides, and what goes over the
//! wire is external once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;
#[path = "support/transparent.rs"]
mod transparent;

use std::{
    thread,
    time::{Duration, Instant},
};

use lab::{Lab, OUTSIDE, eventually};
use netglance_helper::{nft::ruleset::SET_SIZE, table::Table};
use system::{Bus, Daemon};

/// The helper saves its totals so often.
const SAVED_AFTER: Duration = Duration::from_secs(300);
/// Public addresses that are nobody's here, and private ones.
const VIRTUAL: [&str; 2] = ["203.0.114.9", "[2a0e:b107::9]"];
const PRIVATE: [&str; 2] = ["10.96.0.1", "[fd96::1]"];

/// Public to the LAN, private to the public peer; nothing of what is really there is translated.
const TRANSLATES: [&str; 2] = [
    "table ip nat { chain output { type nat hook output priority -100
        ip daddr 203.0.114.9 dnat to 192.168.77.1
        ip daddr 10.96.0.1 dnat to 93.184.216.34
    }
    }",
    "table ip6 nat { chain output { type nat hook output priority -100
        ip6 daddr 2a0e:b107::9 dnat to fd77::1
        ip6 daddr fd96::1 dnat to 2606:2800:220:1::34
    }
    }",
];

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A host that counts.
struct Scene {
    table: Table,
    _directory: tempfile::TempDir,
    lab: Lab,
}

impl Scene {
    fn new() -> Self {
        let (lab, directory) = (Lab::default(), tempfile::tempdir().unwrap());
        let open = || Table::open(directory.path(), directory.path(), "this", None, SET_SIZE).unwrap();
        let mut table = lab.host.inside(open);
        lab.host.inside(|| table.install(false)).unwrap();
        Self { table, _directory: directory, lab }
    }

    /// Has the host's firewall do this, and the table take it in.
    fn nft(&mut self, script: &str) {
        self.lab.host.nft(script).unwrap();
        self.settle();
    }

    fn ip(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| self.lab.host.ip(line));
        self.settle();
    }

    fn settle(&mut self) {
        let (table, host) = (&mut self.table, &self.lab.host);
        eventually("all is taken in", || {
            host.inside(|| table.follow()).unwrap();
            // A save of the totals, which is minutes away, takes nothing in.
            let due = table.due().map(|due| due.duration_since(Instant::now())).filter(|due| *due < SAVED_AFTER / 2);
            due.map_or(Ok(()), |due| Err(format!("due in {due:?}")))
        });
    }

    /// What is booked to a cgroup below the lab's: received and sent outside, received and sent inside.
    fn booked(&mut self, below: &str) -> [u64; 4] {
        let top = format!("/{}/{below}", self.lab.cgroup.file_name().unwrap().to_str().unwrap());
        let (table, host) = (&mut self.table, &self.lab.host);
        host.inside(|| table.look()).unwrap();
        let rows = table.rows(None).unwrap().rows;
        rows.iter()
            .find(|row| row.cgroup == top)
            .map_or([0; 4], |row| [row.rx_bytes, row.tx_bytes, row.internal_rx_bytes, row.internal_tx_bytes])
    }

    /// What "app" has moved is what the peer counted, where it counted it.
    #[track_caller]
    fn agrees(&mut self, what: &str) -> [u64; 4] {
        eventually(what, || {
            let (booked, truth) = (self.booked("app"), self.lab.truth());
            if booked == truth { Ok(truth) } else { Err(format!("booked {booked:?}, the peer counted {truth:?}")) }
        })
    }

    fn rules(&self) -> String {
        self.lab.host.ours()
    }

    /// Connections that the host's kernel tracks.
    fn tracked(&self) -> u32 {
        let count = || std::fs::read_to_string("/proc/thread-self/root/proc/sys/net/netfilter/nf_conntrack_count");
        self.lab.host.inside(count).unwrap().trim().parse().unwrap()
    }
}

#[test]
fn what_is_translated_counts_where_it_really_goes() {
    for families in [&[0][..], &[1], &[0, 1]] {
        let mut scene = Scene::new();
        for family in families {
            scene.nft(TRANSLATES[*family]);
        }
        assert_eq!(scene.table.warning(), "");
        let mut application = scene.lab.application("app");
        for family in families {
            for (address, inside) in [(VIRTUAL[*family], true), (PRIVATE[*family], false)] {
                let before = scene.lab.truth();
                application.run(&format!("tcp {address}:8001 500000 2000000"));
                // From another address than it was sent to the answer would not be taken: it is translated back.
                application.run(&format!("udp {address}:8001 20 1000"));
                let truth = scene.agrees(&format!("{address} is on one side"));
                let moved: Vec<_> = truth.iter().zip(before).map(|(now, before)| now - before).collect();
                let (rx, tx) = if inside { (2, 3) } else { (0, 1) };
                assert!(moved[rx] > 2_020_000 && moved[tx] > 520_000, "{address}: {moved:?}");
                assert_eq!(moved.iter().sum::<u64>(), moved[rx] + moved[tx], "{address}: {moved:?}");
            }
            // Beside them the plain ones.
            application.run(&format!("tcp {} 10000 10000", OUTSIDE[*family]));
            application.run(&format!("tcp {} 10000 10000", lab::LAN[*family]));
            scene.agrees("what is not translated is where it was");
        }
    }
}

#[test]
fn what_a_proxy_on_this_host_moves_is_external_once() {
    for (family, listen) in ["127.0.0.1:3128", "[::1]:3128"].into_iter().enumerate() {
        let mut scene = Scene::new();
        scene.nft(
            "table inet nat { chain output { type nat hook output priority -100
                ip daddr 203.0.114.9 tcp dport 80 redirect to 3128
                ip6 daddr 2a0e:b107::9 tcp dport 80 redirect to 3128
            }
            }",
        );
        assert!(!scene.rules().contains("ct "), "a redirect to this host needs none: {}", scene.rules());
        through_a_proxy(&mut scene, &format!("listen {listen} 0 0"), family);
    }
}

#[test]
fn what_a_transparent_proxy_moves_is_external_once() {
    for (family, listen) in ["127.0.0.1:3129", "[::1]:3129"].into_iter().enumerate() {
        let mut scene = Scene::new();
        let (flag, all) = [("", "0.0.0.0/0"), ("-6 ", "::/0")][family];
        scene.nft(&transparent::rules(80));
        assert!(!scene.rules().contains("meta mark"), "{}", scene.rules());
        let rule = format!("{flag}rule add fwmark 1 lookup 100");
        scene.ip(&[&format!("{flag}route add local {all} dev lo table 100"), &rule]);
        assert!(scene.rules().contains("meta mark 0x00000001"), "{}", scene.rules());
        assert!(!scene.rules().contains("ct "), "it needs no connection tracking: {}", scene.rules());
        through_a_proxy(&mut scene, &format!("listen-transparent {listen} 0 0"), family);
        assert_eq!(scene.tracked(), 0);
        scene.ip(&[&rule.replace("add", "del")]);
        assert!(!scene.rules().contains("meta mark"), "{}", scene.rules());
    }
}

fn through_a_proxy(scene: &mut Scene, listen: &str, family: usize) {
    let (mut application, mut proxy) = (scene.lab.application("app"), scene.lab.application("proxy"));
    proxy.run(listen);
    let relay = format!("relay {} 1 0", OUTSIDE[family]);
    proxy.begin(&relay);
    application.run(&format!("tcp {}:80 500000 2000000", VIRTUAL[family]));
    proxy.finish(&relay);
    let external = eventually("the proxy has what went over the wire", || {
        let (booked, truth) = (scene.booked("proxy"), scene.lab.truth());
        assert_eq!(&truth[2..], [0, 0]);
        let same = booked[..2] == truth[..2] && truth[0] > 2_000_000;
        if same { Ok(truth) } else { Err(format!("booked {booked:?}, the peer counted {truth:?}")) }
    });
    let (app, proxy) = (scene.booked("app"), scene.booked("proxy"));
    println!("{listen}: app {app:?}, proxy {proxy:?}, wire {external:?}");
    assert_eq!(&app[..2], [0, 0], "the application has nothing outside");
    assert!(app[2] > 2_000_000 && app[3] > 500_000, "{app:?}");
    assert!(proxy[2] > 500_000 && proxy[3] > 2_000_000, "{proxy:?}");
}

/// The kernel switches connection tracking on for whoever has a rule that asks it.
#[test]
fn connection_tracking_is_not_switched_on() {
    let mut scene = Scene::new();
    let mut application = scene.lab.application("app");
    let mut try_it = |scene: &mut Scene, what: &str| {
        for address in OUTSIDE {
            application.run(&format!("tcp {address} 1000 1000"));
        }
        scene.agrees(what);
        assert_eq!((scene.tracked(), scene.rules().contains("ct ")), (0, false), "{what}: {}", scene.rules());
    };
    try_it(&mut scene, "no firewall");
    // A chain alone switches nothing on.
    scene.nft("table ip nat { chain output { type nat hook output priority -100; }\n}");
    try_it(&mut scene, "an empty chain");
    scene.nft("table ip filter { chain output { type filter hook output priority 0; ip daddr 1.2.3.4 drop; }\n}");
    try_it(&mut scene, "a filter");
    scene.nft("add rule ip nat output ip daddr 203.0.114.9 dnat to 192.168.77.1");
    assert!(scene.rules().contains("ct status"), "{}", scene.rules());
    scene.nft("flush chain ip nat output");
    assert!(!scene.rules().contains("ct "), "{}", scene.rules());
    // The kernel takes away what belongs to deleted rules a moment later.
    let mut another = scene.lab.application("another");
    eventually("it is off again", || {
        let before = scene.tracked();
        OUTSIDE.iter().for_each(|address| another.run(&format!("udp {address} 1 1")));
        let after = scene.tracked();
        if after <= before { Ok(()) } else { Err(format!("{before} connections, then {after}")) }
    });
}

/// As Docker has it: for published ports at this host's own addresses. It changes no scope and costs nothing.
#[test]
fn a_rule_for_this_hosts_own_addresses_costs_nothing() {
    let mut scene = Scene::new();
    scene.nft(
        "table ip nat {
            chain docker { tcp dport 8080 dnat to 172.17.0.2:80; }
            chain output { type nat hook output priority -100; ip daddr != 127.0.0.0/8 fib daddr type local jump docker; }
        }",
    );
    assert!(!scene.rules().contains("ct "), "{}", scene.rules());
    // One that leads other packets there as well does.
    scene.nft("add rule ip nat output fib daddr type != local jump docker");
    assert!(scene.rules().contains("ct status"), "{}", scene.rules());
    scene.nft("delete table ip nat; add table ip nat");
    assert!(!scene.rules().contains("ct "), "{}", scene.rules());
}

/// What comes in is given another source before the application sees it.
#[test]
fn what_comes_in_counts_by_where_it_really_comes_from() {
    let mut scene = Scene::new();
    let chain = |rule: &str| format!("table ip nat {{ chain input {{ type nat hook input priority 100\n{rule}\n}}\n}}");
    scene.nft(&chain("ip saddr 192.168.77.1 snat to 203.0.114.7\nip saddr 93.184.216.34 snat to 10.7.7.7"));
    let mut application = scene.lab.application("app");
    let mut missing = [0; 4];
    application.run("listen 0.0.0.0:7001 0 0");
    for (from, side) in [("192.168.77.1:0", 2), ("93.184.216.34:0", 0)] {
        application.begin("accept 0.0.0.0:7001 20 50000");
        scene.lab.peer.inside(|| lab::peer::call(from, "192.168.77.2:7001", 20, 50_000));
        application.finish("accept");
        // Of each connection that is accepted the handshake belongs to nobody yet.
        missing[side] += 20 * 52;
        missing[side + 1] += 20 * 60;
        eventually(from, || {
            let (booked, truth) = (scene.booked("app"), scene.lab.truth());
            let expected: [u64; 4] = std::array::from_fn(|i| truth[i] - missing[i]);
            if booked == expected { Ok(()) } else { Err(format!("booked {booked:?}, not {expected:?}")) }
        });
    }
}

/// A connection that there was before stays as it was: the kernel does not translate it.
#[test]
fn translation_comes_and_goes_while_counting() {
    let mut scene = Scene::new();
    let mut application = scene.lab.application("app");
    let lan = format!("tcp {}:8001 100000 100000", VIRTUAL[0]);
    for round in 0..3 {
        application.run(&format!("tcp {} 100000 100000", OUTSIDE[0]));
        scene.agrees("plain");
        scene.nft(TRANSLATES[0]);
        let before = scene.lab.truth();
        application.run(&lan);
        let truth = scene.agrees(&format!("translated, round {round}"));
        assert_eq!(truth[..2], before[..2]);
        // Prefixes and levels change under it.
        scene.ip(&["addr add 192.168.78.2/24 dev up0"]);
        application.enter(&scene.lab, "app/a/b/c/d/e/f/g/h/i/j/k");
        application.enter(&scene.lab, "app");
        scene.settle();
        application.run(&lan);
        scene.agrees("translated, after a change of prefixes and levels");
        scene.ip(&["addr del 192.168.78.2/24 dev up0"]);
        scene.nft("delete table ip nat");
        assert!(!scene.rules().contains("ct "), "{}", scene.rules());
    }
}

/// Each mark has a rule that every packet passes, so there are no more than 16.
#[test]
fn marks_beyond_the_limit_are_said() {
    let mut scene = Scene::new();
    let rules: Vec<_> = (1..=20).map(|mark| format!("rule add fwmark {mark} lookup 100")).collect();
    scene.ip(&rules.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((scene.table.warning().as_str(), scene.rules().contains("meta mark")), ("", false));
    scene.ip(&["route add local 0.0.0.0/0 dev lo table 100"]);
    assert_eq!(scene.rules().matches("meta mark").count(), 16);
    assert!(scene.table.warning().contains("the other 4 may be counted as external"), "{}", scene.table.warning());
    scene.ip(&["route replace unreachable 0.0.0.0/0 table 100"]);
    assert_eq!((scene.table.warning().as_str(), scene.rules().contains("meta mark")), ("", false));
}

/// The helper as a process: nobody asks it anything, and it knows; started again, it goes on with the table and what is true
/// then.
#[tokio::test]
async fn the_helper_hears_of_it_by_itself_and_after_a_restart() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::new(&lab, &bus).await;
    let helper = bus.helper_of(0).await;
    helper.install().await.unwrap();
    let rules = |wanted: &str, is_there: bool| {
        eventually(&format!("{wanted} in the rules: {is_there}"), || {
            let text = lab.host.ours();
            if text.contains(wanted) == is_there { Ok(()) } else { Err(text) }
        });
    };
    rules("ct ", false);
    lab.host.nft(TRANSLATES[0]).unwrap();
    rules("ct status", true);
    lab.host.nft("delete table ip nat").unwrap();
    rules("ct ", false);
    lab.host.ip("rule add fwmark 0x7/0xff lookup 77");
    lab.host.ip("route add local 0.0.0.0/0 dev lo table 77");
    rules("meta mark & 0x000000ff == 0x00000007", true);
    lab.host.nft(TRANSLATES[1]).unwrap();
    rules("ct status", true);
    daemon.kill();
    lab.host.nft("delete table ip6 nat").unwrap();
    lab.host.ip("route del local 0.0.0.0/0 dev lo table 77");
    daemon.start(&bus).await;
    rules("ct ", false);
    rules("meta mark", false);
    assert_eq!(bus.helper_of(0).await.warning().await.unwrap(), "");
}

/// A firewall that changes all the time.
#[tokio::test]
async fn a_busy_firewall_does_not_keep_the_helper_busy() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(0).await.install().await.unwrap();
    let cpu_ms = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect();
        fields[11..13].iter().map(|field| field.parse::<u64>().unwrap() * 10).sum::<u64>()
    };
    let rules: String = (0..300).map(|i| format!("add rule ip busy c{} ip daddr 1.2.3.4 drop\n", i % 10)).collect();
    let chains: String = (0..10).map(|i| format!("add chain ip busy c{i}\n")).collect();
    lab.host.nft(&format!("add table ip busy\n{chains}{rules}")).unwrap();
    thread::sleep(Duration::from_millis(500));
    let (begun, before) = (Instant::now(), cpu_ms());
    let mut changes = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        lab.host.nft(&format!("flush chain ip busy c{0}\n{1}", changes % 10, &rules[..rules.len() / 10])).unwrap();
        changes += 1;
    }
    let (used, elapsed) = (cpu_ms() - before, begun.elapsed());
    println!("{changes} changes of 31 rules each in {elapsed:?}: {used} ms of CPU time");
    assert!(u128::from(used) * 8 < elapsed.as_millis(), "{used} ms of {elapsed:?}");
    lab.host.nft(TRANSLATES[0]).unwrap();
    eventually("it has heard of the one that matters", || {
        let text = lab.host.ours();
        if text.contains("ct status") { Ok(()) } else { Err(text) }
    });
}
