//! Others' rules, marks, routes and devices beside netglance's table: every byte is booked all the same, and neither changes
//! anything of the other's. firewalld and ufw themselves run in `tests/desktop.rs`; what can't run in a namespace is here by
//! the rules that it makes. What this kernel lacks it refuses in so many words, and the test says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/rules.rs"]
mod rules;
#[path = "support/scene.rs"]
mod scene;

use std::{
    fs,
    net::UdpSocket,
    process::{Command, Stdio},
};

use lab::{LAN, Lab, Namespace, OUTSIDE, eventually, tool};
use rules::{NEIGHBOURS, Neighbour};
use scene::Scene;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A ruleset, the others' and netglance's table apart, and the host's routes. Counters are not in it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    theirs: String,
    ours: String,
    routes: String,
}

fn see(host: &Namespace) -> Seen {
    let list = |options: &str| host.inside(|| tool("nft", &[options, "list", "ruleset"], "")).unwrap();
    let (mut theirs, mut ours) = (String::new(), String::new());
    let mut within = false;
    for line in list("-s").lines() {
        within |= line.starts_with("table inet netglance ");
        if !within {
            theirs += &format!("{line}\n");
        }
        within &= line != "}";
    }
    // Without what is in the sets: counters come and go there.
    for line in list("-st").lines() {
        within |= line.starts_with("table inet netglance ");
        if within {
            ours += &format!("{line}\n");
        }
        within &= line != "}";
    }
    let routes = ["rule", "-6 rule", "route show table all", "-6 route show table all"];
    let routes = routes.map(|what| host.try_ip(what).unwrap()).concat();
    // The kernel's own come when it has made sure of its link-local addresses.
    let kept = routes.lines().filter(|line| !line.contains("fe80::") && !line.contains("ff00::/8"));
    Seen { theirs, ours, routes: kept.map(|line| format!("{line}\n")).collect() }
}

/// Talks in both families, outside and on the LAN, and waits until all of it is booked as the peer has counted it.
#[track_caller]
fn talk(scene: &mut Scene) -> [u64; 4] {
    let [v4, v6] = OUTSIDE;
    scene.check(&[
        &format!("udp {v4} 20 1000"),
        &format!("unconnected {v6} 20 1000"),
        &format!("tcp {v4} 200000 200000"),
        &format!("tcp {v6} 200000 200000"),
        &format!("udp {} 20 1000", LAN[0]),
        &format!("udp {} 20 1000", LAN[1]),
    ])
}

fn install(neighbour: &Neighbour, host: &Namespace) -> Result<(), String> {
    host.nft(neighbour.nft)?;
    for (program, rules) in [("iptables-nft-restore", neighbour.v4), ("ip6tables-nft-restore", neighbour.v6)] {
        if !rules.is_empty() {
            host.inside(|| tool(program, &[], rules))?;
        }
    }
    Ok(())
}

#[test]
fn nobodys_rules_change_ours_and_ours_change_nobodys() {
    for neighbour in NEIGHBOURS {
        let name = neighbour.name;
        let lab = Lab::default();
        neighbour.routes.iter().for_each(|route| lab.host.ip(route));
        if let Err(error) = install(neighbour, &lab.host) {
            let words = ["Operation not supported", "No such file or directory"];
            assert!(neighbour.optional && words.iter().any(|word| error.contains(word)), "{name}: {error}");
            println!(
                "THIS KERNEL HAS NO {name} ({}): nothing to be beside of",
                error.lines().next().unwrap_or_default()
            );
            continue;
        }
        let before = see(&lab.host);
        assert!(before.theirs.lines().count() > 3 && before.ours.is_empty(), "{name}: {before:?}");

        let mut scene = Scene::with(lab);
        talk(&mut scene);
        let beside = see(&scene.lab.host);
        assert!(beside.ours.contains("socket cgroupv2"), "{name}: {}", beside.ours);
        assert_eq!((&beside.theirs, &beside.routes), (&before.theirs, &before.routes), "{name}");

        // Its reload at its crudest: everything away, and its own again.
        scene.lab.host.nft("flush ruleset").unwrap();
        let flushed = see(&scene.lab.host);
        assert!(!flushed.theirs.contains("hook"), "{name}: {}", flushed.theirs);
        assert_eq!(flushed.ours, beside.ours, "{name}");
        install(neighbour, &scene.lab.host).unwrap();
        assert_eq!(see(&scene.lab.host), beside, "{name}");
        let truth = talk(&mut scene);

        let Scene { nft, lab, application } = scene;
        drop((nft, application));
        assert_eq!(see(&lab.host), before, "{name}: when the table is gone");
        println!("{name}: {truth:?} bytes, all booked; nothing changed");
    }
}

/// Only what somebody has marked finds its way out, by a table of its own: marks and routes are as they were.
#[test]
fn marks_and_policy_routing_are_left_alone() {
    let lab = Lab::default();
    let rules = "table inet marks {
        counter carried { }
        chain out { type route hook output priority mangle; meta l4proto { tcp, udp } meta mark set 0x77; }
        chain post { type filter hook postrouting priority 0; meta mark 0x77 counter name carried; }
    }";
    lab.host.nft(rules).unwrap();
    for (family, dead, router) in [("", "192.168.77.99", "192.168.77.1"), ("-6 ", "fd77::99", "fd77::1")] {
        lab.host.ip(&format!("{family}route replace default via {dead}"));
        lab.host.ip(&format!("{family}route add default via {router} dev up0 table 77"));
        lab.host.ip(&format!("{family}rule add fwmark 0x77 lookup 77"));
    }
    let mut scene = Scene::with(lab);
    let truth = talk(&mut scene);
    let counter = scene.lab.host.inside(|| tool("nft", &["list", "counter", "inet", "marks", "carried"], "")).unwrap();
    assert!(counter.contains(&format!("bytes {}\n", truth[1] + truth[3])), "{counter}, the peer counted {truth:?}");
}

/// Whoever listens to the changes of rules hears of the table, and of nothing while it counts.
#[test]
fn nft_monitor_goes_on_and_hears_of_no_packet() {
    let lab = Lab::default();
    let heard = tempfile::NamedTempFile::new().unwrap();
    let mut monitor = lab.host.inside(|| {
        let mut command = Command::new("nft");
        command.arg("monitor").stdin(Stdio::null()).stdout(heard.reopen().unwrap()).spawn().unwrap()
    });
    let mut marks = 0;
    let mut mark = |host: &Namespace, monitor: &mut std::process::Child| {
        marks += 1;
        let table = format!("table ip mark{marks}");
        // The first may come before it listens.
        eventually(&format!("the monitor says {table}"), || {
            let _ = host.nft(&format!("add {table}"));
            assert_eq!(monitor.try_wait().unwrap(), None, "it has ended");
            let text = fs::read_to_string(heard.path()).unwrap();
            if text.contains(&format!("add {table}")) {
                Ok(text)
            } else {
                host.nft(&format!("delete {table}")).unwrap();
                Err(text)
            }
        })
    };
    mark(&lab.host, &mut monitor);
    let mut scene = Scene::with(lab);
    let before = mark(&scene.lab.host, &mut monitor);
    talk(&mut scene);
    let after = mark(&scene.lab.host, &mut monitor);
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert!(before.contains(" table inet netglance"), "{before}");
    let new: Vec<_> =
        after[before.len()..].lines().filter(|line| !line.contains(" mark") && !line.starts_with('#')).collect();
    assert!(new.is_empty(), "{new:?}");
}

/// Leads the outside through these ends, which get addresses of their own.
fn through(lab: &Lab, ends: [&str; 2]) {
    for (namespace, end, number) in [(&lab.host, ends[0], 2), (&lab.peer, ends[1], 1)] {
        namespace.ip(&format!("addr add 10.99.0.{number}/24 dev {end}"));
        namespace.ip(&format!("addr add fd99::{number}/64 dev {end} nodad"));
        namespace.ip(&format!("link set {end} gso_max_segs 1 gro_max_size 1"));
        namespace.ip(&format!("link set {end} up"));
    }
    for (family, router) in [("", "10.99.0.1"), ("-6 ", "fd99::1")] {
        let outside = if family.is_empty() { "93.184.216.34/32" } else { "2606:2800:220:1::34/128" };
        lab.host.ip(&format!("{family}route add {outside} via {router} dev {}", ends[0]));
    }
}

/// A second pair of interfaces, whose host's end is put into `master`.
fn port(lab: &Lab, master: &str) {
    lab.host.ip(&format!("link add port0 type veth peer port1 netns {}", lab.peer.name));
    lab.host.ip("link set port0 gso_max_segs 1");
    lab.host.ip(&format!("link set port0 master {master}"));
    lab.host.ip("link set port0 up");
}

/// False if the kernel knows no such kind of interface, which is all that it may refuse.
fn has(namespace: &Namespace, name: &str, arguments: &str) -> bool {
    let Err(error) = namespace.try_ip(&format!("link add {arguments}")) else { return true };
    assert!(error.contains("Unknown device type") || error.contains("Operation not supported"), "{name}: {error}");
    println!("THIS KERNEL HAS NO {name} ({}): nothing to count", error.trim());
    false
}

#[test]
fn whatever_device_carries_it_each_packet_is_booked_once() {
    type Make = fn(&Lab) -> bool;
    let devices: [(&str, Make); 4] = [
        ("bridge with bridge netfilter", |lab| {
            lab.host.ip("link add over type bridge");
            // Where that is a module, it is not for a test to load: it would change the host's own bridges.
            if lab.host.inside(|| fs::exists("/proc/sys/net/bridge")).unwrap() {
                for name in ["iptables", "ip6tables"] {
                    lab.host.set(&format!("net/bridge/bridge-nf-call-{name}"), "1");
                }
            } else {
                println!("THIS KERNEL HAS NO bridge netfilter (no /proc/sys/net/bridge): the bridge alone");
            }
            port(lab, "over");
            through(lab, ["over", "port1"]);
            true
        }),
        ("VLAN", |lab| {
            let vlan =
                |namespace: &Namespace, link| has(namespace, "VLAN", &format!("link {link} name over type vlan id 7"));
            let made = vlan(&lab.host, "up0") && vlan(&lab.peer, "up1");
            made.then(|| through(lab, ["over", "over"])).is_some()
        }),
        ("bonding", |lab| {
            let made = has(&lab.host, "bonding", "over type bond mode active-backup");
            let join = || {
                port(lab, "over");
                through(lab, ["over", "port1"]);
            };
            made.then(join).is_some()
        }),
        ("VRF", |lab| {
            // Where there is one, what goes through it is not measured yet; ARCHITECTURE says so.
            if has(&lab.host, "VRF", "over type vrf table 10") {
                println!("THIS KERNEL HAS VRF, AND WHAT GOES THROUGH IT IS NOT MEASURED");
            }
            false
        }),
    ];
    for (name, make) in devices {
        let lab = Lab::default();
        if make(&lab) {
            let mut scene = Scene::with(lab);
            let truth = talk(&mut scene);
            println!("{name}: {truth:?} bytes, all booked");
        }
    }
}

/// What a namespace behind this host sends is forwarded: it goes through the table's host and is in no row.
#[test]
fn what_ip_netns_keeps_apart_stays_apart() {
    let lab = Lab::default();
    let guest = Namespace::new(format!("{}-guest", lab.host.name));
    lab.host.ip(&format!("link add to_guest type veth peer to_host netns {}", guest.name));
    for (namespace, end, number) in [(&lab.host, "to_guest", 1), (&guest, "to_host", 2)] {
        namespace.ip(&format!("addr add 172.17.0.{number}/16 dev {end}"));
        namespace.ip(&format!("link set {end} up"));
    }
    guest.ip("route add default via 172.17.0.1");
    lab.host.set("net/ipv4/ip_forward", "1");
    let rules = "table ip nat {
        chain post { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 masquerade; }
    }";
    lab.host.nft(rules).unwrap();
    let mut scene = Scene::with(lab);
    let ours = see(&scene.lab.host).ours;
    guest.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        for _ in 0..20 {
            socket.send_to(&[6; 1000], OUTSIDE[0]).unwrap();
            assert_eq!(socket.recv(&mut [0; 1500]).expect("the peer's answer"), 1000);
        }
        tool("nft", &["flush", "ruleset"], "").unwrap();
    });
    let forwarded = 20 * 1028;
    scene.check_but(&[&format!("udp {} 20 1000", OUTSIDE[0])], [forwarded, forwarded, 0, 0]);
    assert_eq!(see(&scene.lab.host).ours, ours);
}

/// One connection over two paths: what each of its sockets moves is booked to whoever has made the connection.
#[test]
fn both_paths_of_a_multipath_connection_are_booked() {
    let lab = Lab::default();
    if !lab::application::has_mptcp() {
        println!("THIS KERNEL HAS NO MPTCP (EPROTONOSUPPORT): nothing to count");
        return;
    }
    lab.host.ip("addr add 192.168.77.3/24 dev up0");
    lab.host.ip("mptcp limits set subflows 2");
    lab.host.ip("mptcp endpoint add 192.168.77.3 dev up0 subflow");
    lab.peer.ip("mptcp limits set subflows 2");
    lab.peer.inside(|| lab::peer::serve_mptcp("93.184.216.34:8006"));
    let mut scene = Scene::with(lab);
    // The kernel makes the second path when it gets round to it, which can be after the end of a short connection.
    let truth = eventually("the second path was taken", || {
        let truth = scene.check(&["mptcp 93.184.216.34:8006 2000000 2000000"]);
        let joined = scene.lab.peer.inside(|| tool("nstat", &["-asz", "MPTcpExtMPJoinAckRx"], "")).unwrap();
        let joined = joined.split_whitespace().skip_while(|word| *word != "MPTcpExtMPJoinAckRx").nth(1).unwrap();
        if joined.parse::<u32>().unwrap() > 0 { Ok(truth) } else { Err("only the first was".to_owned()) }
    });
    println!("MPTCP: {truth:?} bytes over two paths, all booked");
}
