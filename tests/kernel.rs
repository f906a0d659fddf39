//! The table in a real kernel: real sockets, and every byte compared with what the peer's own nft counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;

use std::{collections::HashMap, os::fd::AsFd as _};

use lab::{LAN, LAN_SINK, Lab, OUTSIDE, OUTSIDE_SINK, eventually};
use netglance_dbus::scope::Prefixes;
use netglance_helper::nft::{
    DELETED_AT_ONCE, Error, Nft,
    key::Key,
    ruleset::{Counter, Internal, SET_SIZE},
};

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

fn with_builtin<T>(act: impl FnOnce(Internal) -> T) -> T {
    let prefixes = Prefixes::new(&[], &[], &[]);
    act(Internal { v4: &prefixes.internal_v4(), v6: &prefixes.internal_v6() })
}

fn table(lab: &Lab, levels: u8) -> Nft {
    let mut nft = lab.host.inside(Nft::open).unwrap();
    with_builtin(|internal| nft.create(levels, SET_SIZE, internal)).unwrap();
    nft
}

/// What is booked to each cgroup of the lab: rx external, tx external, rx internal, tx internal.
fn booked(nft: &mut Nft, lab: &Lab) -> HashMap<Key, [u64; 4]> {
    let mut rows: HashMap<Key, [u64; 4]> = HashMap::new();
    for (i, counter) in Counter::ALL.into_iter().enumerate() {
        let mut elements = Vec::new();
        nft.read(counter, &mut elements).unwrap();
        for element in elements {
            rows.entry(element.key).or_default()[i] = element.bytes;
        }
    }
    let labs = lab.keys();
    rows.retain(|id, _| labs.contains(id));
    rows
}

#[track_caller]
fn same(nft: &mut Nft, lab: &Lab, expected: impl Fn([u64; 4]) -> HashMap<Key, [u64; 4]>) {
    eventually("the table says what the peer says", || {
        let (booked, expected) = (booked(nft, lab), expected(lab.truth()));
        if booked == expected { Ok(()) } else { Err(format!("booked {booked:?}, the truth is {expected:?}")) }
    });
}

#[test]
fn every_byte_is_booked_once_and_to_its_own_cgroup() {
    let lab = Lab::default();
    let mut nft = table(&lab, lab.level("a/b/c"));
    let mut expected = HashMap::new();
    let mut before = [0; 4];
    for below in ["", "a", "a/b/c", "other"] {
        let mut application = lab.application(below);
        for address in OUTSIDE.into_iter().chain(LAN) {
            application.run(&format!("tcp {address} 300000 1000000"));
            for _ in 0..20 {
                application.run(&format!("tcp {address} 500 2000"));
            }
            // Fragments are for IPv4 only here: see the next test.
            for bytes in if address.starts_with('[') { [1, 64, 500, 1400] } else { [1, 64, 1400, 8000] } {
                application.run(&format!("udp {address} 20 {bytes}"));
                application.run(&format!("unconnected {address} 20 {bytes}"));
            }
        }
        let mut now = before;
        eventually("the table says what the peer says", || {
            now = lab.truth();
            expected.insert(application.key, std::array::from_fn(|i| now[i] - before[i]));
            let booked = booked(&mut nft, &lab);
            if booked == expected { Ok(()) } else { Err(format!("{below}: booked {booked:?}, truth {expected:?}")) }
        });
        assert!(expected[&application.key].iter().all(|bytes| *bytes > 1_000_000), "{expected:?}");
        before = now;
    }
}

/// IPv6 fragments are joined behind the input hook, and only the first names the socket's port: of a received datagram of
/// 8,000 bytes the first fragment's 1,496 are booked. What is sent is booked before it is cut.
#[test]
fn of_received_ipv6_fragments_the_first_is_booked() {
    let lab = Lab::default();
    let mut nft = table(&lab, lab.level(""));
    let mut application = lab.application("");
    application.run(&format!("udp {} 10 8000", OUTSIDE[1]));
    let booked = booked(&mut nft, &lab)[&application.key];
    assert_eq!(booked, [10 * 1496, 10 * 8048, 0, 0]);
}

#[test]
fn loopback_and_the_hosts_own_addresses_are_internal() {
    let lab = Lab::default();
    lab.host.ip("addr add 93.184.216.99/32 dev up0");
    let mut nft = table(&lab, lab.level(""));
    lab.host.inside(|| lab::peer::swallow_udp("[::]:9"));
    let mut application = lab.application("");
    for address in ["127.0.0.1:9", "[::1]:9", "93.184.216.99:9"] {
        application.run(&format!("flood {address} 10 100"));
    }
    // IPv4 header 20, IPv6 header 40, UDP header 8. The receiver is in another cgroup.
    let sent = 2 * 10 * 128 + 10 * 148;
    assert_eq!(booked(&mut nft, &lab).get(&application.key), Some(&[0, 0, 0, sent]));
}

#[test]
fn deeper_levels_are_added_while_it_counts() {
    let lab = Lab::default();
    let (top, deep) = (lab.level(""), lab.level("a/b/c"));
    let mut nft = table(&lab, top);
    let mut application = lab.application("a/b/c");
    application.run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    let ancestor = lab.key("");
    same(&mut nft, &lab, |truth| HashMap::from([(ancestor, truth)]));
    let before = lab.truth();
    assert_eq!(nft.levels().unwrap(), Some(top));
    nft.grow(top, deep).unwrap();
    nft.grow(deep, deep).unwrap();
    assert_eq!(nft.levels().unwrap(), Some(deep));
    application.run(&format!("tcp {} 1000 1000", OUTSIDE[1]));
    let own = application.key;
    same(&mut nft, &lab, |truth| {
        HashMap::from([(ancestor, before), (own, std::array::from_fn(|i| truth[i] - before[i]))])
    });
}

#[test]
fn a_tunnels_outer_packets_are_left_out_and_an_applications_own_are_not() {
    let lab = Lab::default();
    for (namespace, own, other, inner) in [
        (&lab.host, "93.184.217.2", "93.184.217.1", "10.99.0.2/24"),
        (&lab.peer, "93.184.217.1", "93.184.217.2", "10.99.0.1/24"),
    ] {
        let interface = if namespace.name == lab.host.name { "up0" } else { "up1" };
        namespace.ip(&format!("addr add {own}/24 dev {interface}"));
        namespace.ip(&format!("link add vx type vxlan id 7 local {own} remote {other} dstport 4789"));
        namespace.ip(&format!("addr add {inner} dev vx"));
        namespace.ip("link set vx gso_max_segs 1");
        namespace.ip("link set vx up");
    }
    lab.peer.inside(|| lab::peer::answer_udp("10.99.0.1:8001"));
    let mut nft = table(&lab, lab.level(""));
    let mut application = lab.application("");
    // Datagrams: of TCP the two ends of this tunnel see other aggregates, with other numbers of headers.
    application.run("unconnected 10.99.0.1:8001 200 64");
    application.run("udp 10.99.0.1:8001 100 1000");
    let id = application.key;
    same(&mut nft, &lab, |truth| HashMap::from([(id, truth)]));
    assert_eq!(lab.truth()[..2], [0, 0]);
    // To the tunnel's own port, from an application: counted like anything else.
    application.run("flood 93.184.216.34:4789 100 1000");
    same(&mut nft, &lab, |truth| HashMap::from([(id, truth)]));
    assert_eq!(lab.truth()[1], 100 * 1028);
}

#[test]
fn nobody_else_can_flush_or_change_the_table() {
    let lab = Lab::default();
    let mut nft = table(&lab, lab.level(""));
    let mut application = lab.application("");
    application.begin(&format!("flood {} 20000 200", OUTSIDE_SINK));
    for _ in 0..20 {
        lab.host.nft("flush ruleset").unwrap();
    }
    application.finish("flood");
    let id = application.key;
    same(&mut nft, &lab, |truth| HashMap::from([(id, truth)]));
    // nft can't even write its name: what it finds by one that is alike is no table.
    let refused = lab.host.nft("delete table inet netglance").unwrap_err();
    assert!(refused.contains("No such file or directory"), "{refused}");
    let error = lab.host.inside(Nft::open).unwrap().delete_table().unwrap_err();
    assert!(matches!(&error, Error::Refused { source, .. } if source.raw_os_error() == Some(1)), "{error}");
    let error = lab.host.inside(Nft::open).unwrap().replace_internal(Internal::default()).unwrap_err();
    assert!(matches!(&error, Error::Refused { source, .. } if source.raw_os_error() == Some(1)), "{error}");
    let error = with_builtin(|internal| lab.host.inside(Nft::open).unwrap().create(1, SET_SIZE, internal)).unwrap_err();
    assert_eq!(error.to_string(), "the kernel refused a table of its owner (flags owner)");
    assert_eq!(lab.host.inside(Nft::open).unwrap().levels().unwrap(), None);
}

#[test]
fn nft_shows_an_administrator_what_it_is() {
    let lab = Lab::default();
    let _nft = table(&lab, 9);
    let text = lab.host.ours();
    for expected in [
        "comment \"netglance-helper counts bytes per cgroup here, internal and external apart. It changes no packet.\"",
        "flags owner",
        "192.168.0.0/16",
        "comment \"sent to external addresses, by cgroup: two hashes of its id\"",
        "update @tx_external { jhash socket cgroupv2 level 8 mod 4294967295 seed 0x1 . \
         jhash socket cgroupv2 level 8 mod 4294967295 seed 0x2 } accept",
        "goto tx_external_9",
        "update @tx_external { jhash socket cgroupv2 level 9 ",
        "type filter hook output priority 200; policy accept;",
        "@ll,0,8 >= 0x0 accept comment \"a tunnel's outer packet: the one inside has been booked\"",
        "oiftype loopback goto tx_internal comment \"what comes over loopback stays on this host\"",
        "ip6 saddr @internal6 goto rx_internal comment \"internal prefixes\"",
        "@near4 goto tx_external comment \"no internal address begins so\"",
    ] {
        assert!(text.contains(expected), "no {expected:?} in:\n{text}");
    }
}

#[test]
fn the_table_lives_as_long_as_a_descriptor_of_its_socket() {
    let lab = Lab::default();
    let levels = lab.level("");
    let nft = table(&lab, levels);
    let mut application = lab.application("");
    let id = application.key;
    application.run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    let kept = nft.as_fd().try_clone_to_owned().unwrap();
    drop(nft);
    application.run(&format!("tcp {} 1000 1000", OUTSIDE[1]));
    let mut nft = Nft::adopt(kept).unwrap();
    assert_eq!(nft.levels().unwrap(), Some(levels));
    application.run(&format!("tcp {} 1000 1000", LAN[0]));
    same(&mut nft, &lab, |truth| HashMap::from([(id, truth)]));
    nft.grow(levels, levels + 1).unwrap();
    drop(nft);
    // A process that another test is starting has a copy of every descriptor until it is another program.
    eventually("the table goes with its socket", || match lab.host.nft("list tables").unwrap() {
        none if none.is_empty() => Ok(()),
        tables => Err(tables),
    });

    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(matches!(Nft::adopt(other.into()), Err(Error::NotOurs)));
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    assert!(matches!(Nft::adopt(stdin), Err(Error::NotOurs)));
}

#[test]
fn what_is_deleted_under_load_is_not_lost() {
    let lab = Lab::default();
    let mut nft = table(&lab, lab.level("a"));
    let mut application = lab.application("a");
    let id = application.key;
    application.begin(&format!("flood {} 400000 64", OUTSIDE_SINK));
    let (mut last, mut deleted) = (0, 0);
    while lab.truth_so_far()[1] < 300_000 * 92 {
        let mut elements = Vec::new();
        nft.read(Counter::TxExternal, &mut elements).unwrap();
        for element in elements {
            for (counter, element) in nft.delete(&[(Counter::TxExternal, element.key)]).unwrap() {
                assert_eq!((counter, element.key), (Counter::TxExternal, id));
                last += element.bytes;
                deleted += 1;
            }
        }
    }
    application.finish("flood");
    same(&mut nft, &lab, |truth| HashMap::from([(id, [0, truth[1] - last, 0, 0])]));
    assert!(deleted > 20, "{deleted}");
    println!("{deleted} deletions, {} bytes, none lost", lab.truth()[1]);
    let error = nft.delete(&[(Counter::TxExternal, Key::NOBODY)]).unwrap_err();
    assert_eq!(error.to_string(), "the kernel refused deleting counters");
}

#[test]
fn many_elements_are_read_and_deleted_each_once() {
    let lab = Lab::default();
    let mut nft = table(&lab, lab.level("c0"));
    let count = 600;
    for i in 0..count {
        lab.application(&format!("c{i}")).run(&format!("flood {} 2 {}", OUTSIDE_SINK, i + 1));
    }
    let rows = booked(&mut nft, &lab);
    assert_eq!(rows.len(), count);
    let mut doomed: Vec<_> = rows.keys().map(|id| (Counter::TxExternal, *id)).collect();
    while !doomed.is_empty() {
        for (_, element) in nft.delete(&doomed).unwrap() {
            assert_eq!(rows[&element.key][1], element.bytes);
        }
        doomed.drain(..DELETED_AT_ONCE.min(doomed.len()));
    }
    assert!(booked(&mut nft, &lab).is_empty());
}

#[test]
fn prefixes_change_without_a_packet_slipping_through() {
    let lab = Lab::default();
    let mut nft = table(&lab, lab.level(""));
    let mut application = lab.application("");
    let id = application.key;
    application.begin(&format!("flood {} 100000 64", LAN_SINK));
    let prefixes = Prefixes::new(&[], &[], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    for i in 0..200u32 {
        let more: Vec<_> = v4.iter().copied().chain([(0x0808_0000 + 2 * i, 0x0808_0000 + 2 * i)]).collect();
        nft.replace_internal(Internal { v4: if i % 2 == 0 { &more } else { &v4 }, v6: &v6 }).unwrap();
    }
    application.finish("flood");
    same(&mut nft, &lab, |truth| HashMap::from([(id, truth)]));
    assert_eq!(lab.truth()[1], 0);
    // All there is, and nothing at all.
    nft.replace_internal(Internal { v4: &[(0, u32::MAX)], v6: &[(0, u128::MAX)] }).unwrap();
    application.run(&format!("flood {} 10 100", OUTSIDE_SINK));
    nft.replace_internal(Internal::default()).unwrap();
    application.run(&format!("flood {} 10 100", LAN_SINK));
    let external = 10 * 128;
    let internal = 100_000 * 92 + 10 * 128;
    assert_eq!(booked(&mut nft, &lab), HashMap::from([(id, [0, external, 0, internal])]));
    let many: Vec<_> = (0..5000u32).map(|i| (i * 4, i * 4 + 1)).collect();
    nft.replace_internal(Internal { v4: &many, v6: &[] }).unwrap();
}

#[test]
fn a_probe_leaves_nothing_behind() {
    let lab = Lab::default();
    let mut nft = lab.host.inside(Nft::open).unwrap();
    nft.probe().unwrap();
    assert_eq!(lab.host.nft("list ruleset").unwrap(), "");
    assert_eq!(nft.levels().unwrap(), None);
    with_builtin(|internal| nft.create(1, SET_SIZE, internal)).unwrap();
    nft.probe().unwrap();
    nft.delete_table().unwrap();
    assert_eq!(lab.host.nft("list ruleset").unwrap(), "");
}

/// A receive buffer too small for the answer, which the kernel then drops: that is told, and the table goes on.
#[test]
fn an_answer_that_finds_no_room_is_an_error_and_no_more() {
    use rustix::net::sockopt;
    let lab = Lab::default();
    let mut nft = table(&lab, lab.level("c0"));
    let count = 60;
    for i in 0..count {
        lab.application(&format!("c{i}")).run(&format!("flood {OUTSIDE_SINK} 1 100"));
    }
    let doomed: Vec<_> = booked(&mut nft, &lab).keys().map(|id| (Counter::TxExternal, *id)).collect();
    assert_eq!(doomed.len(), count);
    let before = sockopt::socket_recv_buffer_size(&nft).unwrap();
    sockopt::set_socket_recv_buffer_size(&nft, 1).unwrap();
    let error = nft.delete(&doomed).unwrap_err();
    let full = matches!(&error, Error::Socket { source, .. } if source.raw_os_error() == Some(105));
    assert!(full, "{error:?}");
    sockopt::set_socket_recv_buffer_size_force(&nft, before / 2).unwrap();
    // It was done all the same: what is not in the table any more has been deleted.
    assert_eq!(booked(&mut nft, &lab), HashMap::new());
    lab.application("c0").run(&format!("flood {OUTSIDE_SINK} 1 100"));
    assert_eq!(booked(&mut nft, &lab), HashMap::from([(lab.key("c0"), [0, 128, 0, 0])]));
}

/// A set for three cgroups: what the fourth moves goes to the nearest cgroup above it that has a counter, or to none.
#[test]
fn a_full_set_goes_on_with_those_that_it_has() {
    for top in [true, false] {
        let lab = Lab::default();
        let mut nft = lab.host.inside(Nft::open).unwrap();
        with_builtin(|internal| nft.create(lab.level("a/b"), 3, internal)).unwrap();
        let mut application = lab.application("");
        let mut expected = HashMap::new();
        let known = if top { ["", "a", "b"] } else { ["a", "b", "c"] };
        for below in known.into_iter().chain(["d", "e/f"]).chain(known) {
            application.enter(&lab, below);
            application.run(&format!("flood {OUTSIDE_SINK} 10 100"));
            let booked_to = if known.contains(&below) { Some(below) } else { top.then_some("") };
            if let Some(below) = booked_to {
                expected.entry(lab.key(below)).or_insert([0; 4])[1] += 10 * 128;
            }
        }
        assert_eq!(booked(&mut nft, &lab), expected, "with an element at the top: {top}");
    }
}

#[test]
fn a_cgroup_of_any_depth_is_booked_once() {
    let lab = Lab::default();
    let (mut nft, mut levels) = (table(&lab, 1), 1);
    let mut application = lab.application("");
    let mut expected = HashMap::new();
    let mut below = String::new();
    for depth in lab.level("")..70 {
        if depth > levels {
            nft.grow(levels, depth).unwrap();
            levels = depth;
            assert_eq!(nft.levels().unwrap(), Some(levels));
        }
        application.enter(&lab, &below);
        application.run(&format!("flood {OUTSIDE_SINK} 1 100"));
        expected.insert(lab.key(&below), [0, 128, 0, 0]);
        below = format!("{below}d/");
    }
    nft.grow(levels, 255).unwrap();
    assert_eq!(nft.levels().unwrap(), Some(255));
    application.enter(&lab, "d/d");
    application.run(&format!("flood {OUTSIDE_SINK} 1 100"));
    expected.insert(lab.key("d/d"), [0, 256, 0, 0]);
    assert_eq!(booked(&mut nft, &lab), expected);
}
