//! What is internal follows the host's routes, whatever happens to them and however many there are: the internal prefixes are
//! always those that a fresh read of the routing table says, and nobody waits for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    fmt::Write as _,
    fs, thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use lab::{Lab, eventually, tool};
use netglance_dbus::{
    helper1::{Helper1Proxy, WirePrefix},
    onlink::Onlink,
};
use system::{Bus, Daemon};

/// A full table of the internet's routes, some years ago.
const FULL: u32 = 200_000;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// What a host does in one go.
fn batch(lab: &Lab, lines: &str) {
    tool("ip", &["-n", &lab.host.name, "-batch", "-"], lines).unwrap();
}

/// So many routes through a router.
fn routed(lab: &Lab, many: u32) {
    let mut lines = String::new();
    for i in 0..many {
        writeln!(lines, "route add 20.{}.{}.{}/32 via 192.168.77.1", i >> 16, i >> 8 & 255, i & 255).unwrap();
    }
    batch(lab, &lines);
}

/// So many neighbours, no two of them side by side: `ip` does this to each.
fn neighbours(lab: &Lab, action: &str, from: u32, to: u32) {
    let mut lines = String::new();
    for i in from..to {
        let host = std::net::Ipv4Addr::from(0x1e00_0001 + 2 * i);
        writeln!(lines, "route {action} {host}/32 dev up0").unwrap();
    }
    batch(lab, &lines);
}

fn fresh() -> Vec<IpNet> {
    Onlink::open().unwrap().changed().unwrap().unwrap()
}

/// Follows until there is nothing more to take in, and gives what was told last.
fn follow(onlink: &mut Onlink, told: &mut Vec<IpNet>) {
    if let Some(prefixes) = onlink.changed().unwrap() {
        *told = prefixes;
    }
}

#[track_caller]
fn follows(onlink: &mut Onlink, told: &mut Vec<IpNet>, what: &str) {
    eventually(what, || {
        follow(onlink, told);
        if onlink.due().is_some() {
            return Err("it has more to tell".to_owned());
        }
        let fresh = fresh();
        let only = |these: &[IpNet], others: &[IpNet]| {
            these.iter().filter(|net| !others.contains(net)).map(ToString::to_string).collect::<Vec<_>>()
        };
        if *told == fresh {
            return Ok(());
        }
        Err(format!("told but not there {:?}, there but not told {:?}", only(told, &fresh), only(&fresh, told)))
    });
}

/// What makes a host whole again.
const MENDING: [&str; 9] = [
    "link add v1 type veth peer name v2",
    "link set up0 up",
    "link set v1 up",
    "link set v2 up",
    "link set d0 up",
    "addr add 192.168.77.2/24 dev up0",
    "addr add fd77::2/64 dev up0 nodad",
    "nexthop replace id 1 dev v1",
    "-6 nexthop replace id 11 dev v1",
];

/// xorshift64*: numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Something that an administrator, a daemon or a cable does. Not all of it is possible at any time.
    fn deed(&mut self) -> String {
        let link = self.one(&["up0", "v1", "v2", "d0", "t0"]);
        let six = self.below(2) == 0;
        let (family, net, gateway, source) = if six {
            ("-6 ", self.one(&["2a00::/32", "2a00::9/128", "2a01::/48"]), "fd77::1", "fd77::2")
        } else {
            ("", self.one(&["8.8.0.0/16", "9.9.9.9/32", "9.9.9.0/24"]), "192.168.77.1", "192.168.77.2")
        };
        let action = self.one(&["add", "append", "prepend", "replace", "change", "del", "add", "replace", "del"]);
        let more = match self.below(8) {
            0 => " metric 7".to_owned(),
            1 => " table 7".to_owned(),
            2 => " tos 0x10".to_owned(),
            3 => " proto static".to_owned(),
            4 => " mtu 1400".to_owned(),
            5 => format!(" src {source}"),
            _ => String::new(),
        };
        let nexthop = self.below(3) + if six { 11 } else { 1 };
        match self.below(32) {
            0..=9 => format!("{family}route {action} {net} dev {link}{more}"),
            10..=12 => format!("{family}route {action} {net} via {gateway}{more}"),
            13 => format!("{family}route {action} {net} nexthop via {gateway} nexthop via {gateway}0{more}"),
            14 => format!("{family}route {action} blackhole {net}{more}"),
            15 => format!("{family}route {action} local {net} dev {link}{more}"),
            16 => format!("{family}route {action} {net} nhid {nexthop}{more}"),
            17 | 18 => format!("{family}nexthop replace id {nexthop} dev {link}"),
            19 => format!("{family}nexthop replace id {nexthop} via {gateway} dev up0"),
            20 => format!("nexthop del id {nexthop}"),
            21 | 22 => format!("link set {link} {}", self.one(&["down", "up", "up"])),
            23 => format!("link set {link} arp {}", self.one(&["off", "on"])),
            24 if self.below(3) == 0 => "link del v1".into(),
            24 | 25 => "link add v1 type veth peer name v2".into(),
            26 => format!("{family}route flush {net}"),
            27 if six => format!("addr {} fd77::2/64 dev up0 nodad", self.one(&["add", "add", "del"])),
            27 => format!("addr {} 192.168.77.2/24 dev up0", self.one(&["add", "add", "del"])),
            _ => format!("addr {} 198.18.{}.1/24 dev {link}", self.one(&["add", "del"]), self.below(3)),
        }
    }
}

#[test]
fn whatever_happens_to_the_routes_the_prefixes_are_what_a_fresh_read_says() {
    let lab = Lab::default();
    lab.host.ip("link add v1 type veth peer name v2");
    lab.host.ip("link add d0 type bridge");
    lab.host.ip("tuntap add dev t0 mode tun");
    lab.host.ip("link set t0 up");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut done, mut refused) = (Vec::new(), 0);
    let host = &lab.host;
    host.inside(|| {
        let mut onlink = Onlink::open().unwrap();
        let mut told = onlink.changed().unwrap().unwrap();
        let mut others = 0;
        for round in 0..150 {
            if round % 50 == 25 {
                // As network managers have it: IPv6 routes go in silence as well.
                let silent = "/proc/sys/net/ipv6/route/skip_notify_on_dev_down";
                fs::write(silent, if round < 50 { "1" } else { "0" }).unwrap();
            }
            if round % 4 == 0 {
                // Or soon nothing would be possible any more.
                for deed in MENDING {
                    _ = host.try_ip(deed);
                }
            }
            let before = told.clone();
            for _ in 0..=numbers.below(4) {
                let deed = numbers.deed();
                let outcome = host.try_ip(&deed);
                refused += usize::from(outcome.is_err());
                done.push(if outcome.is_ok() { deed } else { format!("({deed})") });
                if numbers.below(2) == 0 {
                    follow(&mut onlink, &mut told);
                }
            }
            let latest = done.len().saturating_sub(12);
            follows(&mut onlink, &mut told, &format!("after … {:#?}", &done[latest..]));
            others += usize::from(before != told);
        }
        println!("{others} rounds changed the prefixes");
        assert!(others > 20, "only {others} of the rounds changed the prefixes");
    });
    println!("{} deeds, {refused} of them refused", done.len());
    assert!(refused < done.len() / 4 * 3);
}

/// What the kernel does without a word, or with too few.
const RIDDLES: [&[&str]; 13] = [
    &[
        "route add 8.8.0.0/16 dev v1",
        "link set v1 down",
        "link set v1 up",
        "route add 8.8.0.0/16 dev v1",
        "link del v1",
    ],
    &["-6 route add 2a00::/32 dev v1", "link set v1 down"],
    &["route add 8.8.0.0/16 dev v1 src 192.168.77.2", "addr del 192.168.77.2/24 dev up0"],
    &["-6 route add 2a00::/32 dev v1 src fd77::2", "addr del fd77::2/64 dev up0", "-6 route del 2a00::/32 dev v1"],
    &["nexthop add id 1 dev v1", "route add 8.8.0.0/16 nhid 1", "nexthop del id 1"],
    &["nexthop add id 1 dev v1", "route add 8.8.0.0/16 nhid 1", "nexthop replace id 1 via 192.168.77.1 dev up0"],
    &["-6 nexthop add id 11 dev v1", "-6 route add 2a00::/32 nhid 11", "nexthop del id 11"],
    &[
        "route add 8.8.0.0/16 dev v1",
        "route append 8.8.0.0/16 via 192.168.77.1",
        "route replace 8.8.0.0/16 via 192.168.77.3",
    ],
    &[
        "route add 8.8.0.0/16 via 192.168.77.1",
        "route append 8.8.0.0/16 dev v1",
        "route append 8.8.0.0/16 dev v1 mtu 1400",
        "route replace 8.8.0.0/16 via 192.168.77.3",
        "route del 8.8.0.0/16 dev v1 mtu 1400",
        "route del 8.8.0.0/16 dev v1",
    ],
    &["route add 8.8.0.0/16 dev v1", "route replace 8.8.0.0/16 dev v2", "route change 8.8.0.0/16 via 192.168.77.1"],
    &[
        "-6 route add 2a00::/32 dev v1",
        "-6 route append 2a00::/32 dev v2",
        "-6 route replace 2a00::/32 via fd77::1",
        "-6 route replace 2a00::/32 via fd77::3",
    ],
    &["-6 route add 2a00::/32 dev v1", "-6 route replace 2a00::/32 nexthop via fd77::1 nexthop via fd77::3"],
    &["route add 8.8.0.0/16 dev v1", "link set v1 arp off", "route add 9.0.0.0/8 dev v1", "link set v1 arp on"],
];

#[test]
fn what_the_kernel_does_not_say_is_found_out() {
    for (silent, deeds) in ["0", "1"].into_iter().flat_map(|silent| RIDDLES.map(|deeds| (silent, deeds))) {
        let lab = Lab::default();
        let host = &lab.host;
        host.set("net/ipv6/route/skip_notify_on_dev_down", silent);
        host.ip("link add v1 type veth peer name v2");
        host.ip("link set v1 up");
        host.ip("link set v2 up");
        host.inside(|| {
            let mut onlink = Onlink::open().unwrap();
            let mut told = onlink.changed().unwrap().unwrap();
            for deed in deeds {
                host.ip(deed);
                follows(&mut onlink, &mut told, &format!("{deed}, of {deeds:#?}"));
            }
        });
    }
}

#[test]
fn what_was_lost_in_a_flood_is_read_again() {
    let lab = Lab::default();
    let host = &lab.host;
    host.inside(|| {
        let mut onlink = Onlink::open().unwrap();
        let mut told = onlink.changed().unwrap().unwrap();
        neighbours(&lab, "add", 0, 10_000);
        routed(&lab, 20_000);
        neighbours(&lab, "del", 2_000, 9_000);
        let sockets = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
        let dropped: u64 =
            sockets.lines().skip(1).map(|l| l.split_whitespace().nth(8).unwrap().parse::<u64>().unwrap()).sum();
        assert!(dropped > 0, "{sockets}");
        follows(&mut onlink, &mut told, "the flood is over");
        assert!(told.len() > 3000, "{}", told.len());
        // And it goes on as if nothing had been.
        host.ip("route add 8.8.8.8/32 dev up0");
        follows(&mut onlink, &mut told, "one more");
        assert!(told.contains(&"8.8.8.8/32".parse().unwrap()));
    });
}

#[test]
fn a_large_table_is_read_again_step_by_step() {
    let lab = Lab::default();
    routed(&lab, 100_000);
    let host = &lab.host;
    host.inside(|| {
        let mut onlink = Onlink::open().unwrap();
        let mut told = onlink.changed().unwrap().unwrap();
        assert_eq!(onlink.due(), None);
        host.ip("addr add 198.18.7.1/24 dev up0");
        host.ip("addr del 198.18.7.1/24 dev up0");
        // The read of some 200 datagrams is spread over calls, and what is heard meanwhile is not forgotten.
        let (mut calls, mut heard) = (0, false);
        follow(&mut onlink, &mut told);
        while let Some(due) = onlink.due() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            follow(&mut onlink, &mut told);
            calls += 1;
            if !heard && calls > 2 {
                host.ip("route add 8.8.8.8/32 dev up0");
                host.ip("route add 20.0.0.0/32 dev up0 metric 7");
                host.ip("route del 20.0.0.0/32 metric 7");
                heard = true;
            }
            assert!(calls < 10_000, "it never rests");
        }
        println!("read again in {calls} calls");
        assert!(calls > 4, "{calls}");
        assert!(told.contains(&"8.8.8.8/32".parse().unwrap()));
        assert_eq!(told, fresh());
    });
}

struct Counted {
    helper: Helper1Proxy<'static>,
    daemon: Daemon,
    bus: Bus,
    lab: Lab,
}

impl Counted {
    async fn new(lab: Lab) -> Self {
        let bus = Bus::new();
        let daemon = Daemon::new(&lab, &bus).await;
        let helper = bus.helper_of(0).await;
        helper.install().await.unwrap();
        Self { helper, daemon, bus, lab }
    }

    /// Waits until the helper says that so many hosts of 30.0.0.0/8 are internal.
    async fn has_neighbours(&self, many: usize) {
        let is_neighbour = |(bytes, length): &WirePrefix| bytes.len() == 4 && bytes[0] == 30 && *length == 32;
        let mut last = 0;
        for _ in 0..500 {
            last = self.helper.internal_prefixes().await.unwrap().iter().filter(|p| is_neighbour(p)).count();
            if last == many {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{last} neighbours instead of {many}; {}", self.daemon.said());
    }

    /// Waits until it warns of something, or of nothing.
    async fn warns(&self, of: &str) {
        let mut last = String::new();
        for _ in 0..2000 {
            last = self.helper.warning().await.unwrap();
            if last.contains(of) && last.is_empty() == of.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{of:?} is not in {last:?}; {}", self.daemon.said());
    }

    /// How many elements the kernel has for them.
    fn in_the_kernel(&self) -> usize {
        let set = self.lab.host.part_of_ours("set internal4");
        set.split_whitespace().filter(|word| word.starts_with("30.")).count()
    }
}

#[tokio::test]
async fn a_full_table_that_changes_keeps_nobody_waiting() {
    let lab = Lab::default();
    routed(&lab, FULL);
    let counted = Counted::new(lab).await;
    let other = counted.bus.helper_of(1).await;
    let name = counted.lab.host.name.clone();
    let changes = thread::spawn(move || {
        for i in 0..50 {
            let net = format!("20.0.{i}.1/32");
            for action in [["replace", "1500"], ["replace", "1400"]] {
                let [action, mtu] = action;
                let words = ["-n", &name, "route", action, &net, "via", "192.168.77.1", "mtu", mtu];
                tool("ip", &words, "").unwrap();
                thread::sleep(Duration::from_millis(40));
            }
        }
    });
    let (begun, before, mut reads) = (Instant::now(), hostile::cpu_ns(counted.daemon.pid()), 0);
    while !changes.is_finished() {
        other.read().await.unwrap();
        reads += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    changes.join().unwrap();
    let share = Duration::from_nanos(hostile::cpu_ns(counted.daemon.pid()) - before).as_secs_f64()
        / begun.elapsed().as_secs_f64();
    println!("{reads} calls answered, {:.2} % of a core", share * 100.0);
    assert!(reads > 10, "{reads}");
    assert!(share < 0.2, "{share} of a core");
}

#[tokio::test]
async fn twenty_thousand_neighbours_are_internal_and_more_are_said() {
    let counted = Counted::new(Lab::default()).await;
    neighbours(&counted.lab, "add", 0, 19_900);
    counted.has_neighbours(19_900).await;
    counted.warns("").await;
    assert_eq!(counted.in_the_kernel(), 19_900);
    let own = counted.lab.host.inside(fresh).len() - 19_900;
    neighbours(&counted.lab, "add", 19_900, 100_000);
    counted.has_neighbours(20_000 - own).await;
    counted.warns("more than 20000 on-link prefixes").await;
    counted.helper.read_all().await.unwrap();
    assert_eq!(counted.in_the_kernel(), 20_000 - own);
    neighbours(&counted.lab, "del", 1_000, 100_000);
    counted.has_neighbours(1_000).await;
    counted.warns("").await;
    assert_eq!(counted.in_the_kernel(), 1_000);
}
