//! Every kind of traffic that an application can make, booked to the byte as the peer counted it; and where nft can't see a
//! packet, how many bytes that is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/scene.rs"]
mod scene;

use std::{collections::HashMap, thread};

use lab::{Lab, OUTSIDE, OUTSIDE_SINK, eventually};
use netglance_dbus::sample::Row;
use netglance_helper::{nft::ruleset::SET_SIZE, table::Table};
use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, SocketType, ipproto},
};
use scene::Scene;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// Whether the kernel has a protocol. If not, it says so in so many words, and this does too.
fn has(kind: SocketType, protocol: Protocol, name: &str) -> bool {
    match rustix::net::socket(AddressFamily::INET, kind, Some(protocol)) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, Errno::PROTONOSUPPORT, "{name}");
            println!("THIS KERNEL HAS NO {name} (EPROTONOSUPPORT): nothing to count");
            false
        }
    }
}

/// Aggregates of up to 64 KiB go through the hooks as one packet, with one header.
#[test]
fn tcp_up_and_down_with_segmentation_offload() {
    let lab = Lab::default();
    for (namespace, interface) in [(&lab.host, "up0"), (&lab.peer, "up1")] {
        namespace.ip(&format!("link set {interface} gso_max_segs 65535"));
    }
    let mut scene = Scene::with(lab);
    for (address, header) in OUTSIDE.into_iter().zip([20 + 32, 40 + 32]) {
        // So many bytes of headers the payload alone has in packets of 1,500 bytes. Acknowledgements come on top of it.
        let not_aggregated = 20_000_000 / (1500 - header) * header;
        let before = scene.lab.truth();
        let truth = scene.check(&[&format!("tcp {address} 20000000 0"), &format!("tcp {address} 0 20000000")]);
        for direction in 0..2 {
            let headers = truth[direction] - before[direction] - 20_000_000;
            println!("{address}: {headers} bytes of headers for 20,000,000 of payload");
            assert!(headers < not_aggregated, "{headers}: were these aggregates?");
        }
    }
}

#[test]
fn udp_connected_or_not_from_1_byte_to_8_kilobytes() {
    let mut scene = Scene::new();
    let mut expected = 0;
    for bytes in [1, 64, 512, 1472, 1473, 4096, 8000] {
        for kind in ["udp", "unconnected"] {
            scene.check(&[&format!("{kind} {} 10 {bytes}", OUTSIDE[0])]);
            expected += 10 * (bytes + 28);
        }
    }
    // Fragments of IPv4 count as the one packet that they are before they are cut and after they are joined.
    assert_eq!(scene.lab.truth(), [expected, expected, 0, 0]);
}

/// Received IPv6 fragments come to the hook one by one, and only the first names the port: 1,496 bytes of each datagram.
#[test]
fn udp_over_ipv6_and_what_is_missing_of_received_fragments() {
    let mut scene = Scene::new();
    for bytes in [1, 64, 512, 1452] {
        scene.check(&[&format!("udp {} 10 {bytes}", OUTSIDE[1]), &format!("unconnected {} 10 {bytes}", OUTSIDE[1])]);
    }
    let before = scene.booked();
    for task in ["udp", "unconnected"] {
        scene.application.run(&format!("{task} {} 10 8000", OUTSIDE[1]));
    }
    let after = scene.booked();
    let difference = [after[0] - before[0], after[1] - before[1]];
    assert_eq!(difference, [20 * 1496, 20 * (8000 + 48)]);
    println!("of 8,048 bytes received in IPv6 fragments 1,496 are booked; of 8,048 sent all");
}

/// What is sent is booked; nft finds no socket for an echo that comes back.
#[test]
fn icmp_by_ping_sockets_and_raw_ones() {
    let mut scene = Scene::new();
    scene.lab.host.set("net/ipv4/ping_group_range", "0 2147483647");
    let mut received = 0;
    for (address, header) in [("93.184.216.34:0", 28), ("[2606:2800:220:1::34]:0", 48)] {
        for kind in ["ping", "raw"] {
            for bytes in [56, 1000] {
                received += 10 * (bytes + header);
                let truth = scene.check_but(&[&format!("{kind} {address} 10 {bytes}")], [received, 0, 0, 0]);
                assert_eq!(truth[0], received);
            }
        }
    }
    println!("ICMP: {received} bytes sent, all booked; {received} bytes received, none booked");
}

/// As with ICMP: nft looks for the sockets of TCP and UDP alone.
#[test]
fn udp_lite() {
    let mut scene = Scene::new();
    if has(SocketType::DGRAM, ipproto::UDPLITE, "UDP-Lite") {
        let mut received = 0;
        for address in ["93.184.216.34:8002", "[2606:2800:220:1::34]:8002"] {
            scene.lab.peer.inside(|| lab::peer::answer_messages(address, SocketType::DGRAM, ipproto::UDPLITE));
            received += 10 * (1000 + if address.starts_with('[') { 48 } else { 28 });
            scene.check_but(&[&format!("udplite {address} 10 1000")], [received, 0, 0, 0]);
        }
        assert_eq!(scene.booked(), [0, received, 0, 0]);
        println!("UDP-Lite: {received} bytes sent, all booked; as many received, none booked");
    }
}

#[test]
fn sctp() {
    let mut scene = Scene::new();
    if has(SocketType::STREAM, ipproto::SCTP, "SCTP") {
        let address = "93.184.216.34:8003";
        scene.lab.peer.inside(|| lab::peer::answer_messages(address, SocketType::STREAM, ipproto::SCTP));
        scene.application.run(&format!("sctp {address} 100 1000"));
        let received = eventually("what is sent is booked, and nothing of what is received", || {
            let (booked, truth) = (scene.booked(), scene.lab.truth());
            let expected = [0, truth[1], 0, 0];
            if booked == expected {
                Ok(truth[0])
            } else {
                Err(format!("booked {booked:?}, the peer counted {truth:?}"))
            }
        });
        assert!(received > 100 * 1000, "{received}");
        println!("SCTP: {} bytes sent, all booked; {received} bytes received, none booked", scene.booked()[1]);
    }
}

#[test]
fn ways_past_the_ordinary_system_calls() {
    let mut scene = Scene::new();
    for address in OUTSIDE {
        for kind in ["sendfile", "splice", "uring", "uring-zerocopy", "zerocopy"] {
            let before = scene.lab.truth()[1];
            let truth = scene.check(&[&format!("{kind} {address} 2000000 0")]);
            assert!(truth[1] - before > 2_000_000, "{kind}: {truth:?}");
        }
        let before = scene.lab.truth()[0];
        let truth = scene.check(&[&format!("uring-receive {address} 2000000 0")]);
        assert!(truth[0] - before > 2_000_000, "{truth:?}");
    }
}

#[test]
fn a_thousand_short_connections() {
    let mut scene = Scene::new();
    let tasks: Vec<_> = (0..1000).map(|i| format!("tcp {} 100 {}", OUTSIDE[i % 2], i)).collect();
    let truth = scene.check(&tasks.iter().map(String::as_str).collect::<Vec<_>>());
    println!("1,000 connections: {truth:?} bytes, all booked");
}

/// Of a connection that an application accepts, the answer to the first packet (60 bytes with IPv4, 80 with IPv6) and what
/// acknowledges it (52, 72) belong to no full socket yet.
#[test]
fn of_accepted_connections_the_handshake_is_missing() {
    let mut scene = Scene::new();
    let mut missing = [0; 4];
    for (from, to, [received, sent]) in
        [("93.184.216.34:0", "192.168.77.2:7001", [52, 60]), ("[2606:2800:220:1::34]:0", "[fd77::2]:7002", [72, 80])]
    {
        let listen = to.replace("192.168.77.2", "0.0.0.0").replace("fd77::2", "::");
        let task = format!("accept {listen} 200 500");
        scene.application.run(&format!("listen {listen} 0 0"));
        scene.application.begin(&task);
        scene.lab.peer.inside(|| lab::peer::call(from, to, 200, 500));
        scene.application.finish(&task);
        missing[0] += 200 * received;
        missing[1] += 200 * sent;
        scene.check_but(&[], missing);
        println!("{to}: of each accepted connection {received} bytes received and {sent} sent are not booked");
    }
}

/// When an application is gone and the other side ends the connection later, no socket is left for that: 52 bytes received
/// and 52 sent to acknowledge it with IPv4, 72 with IPv6.
#[test]
fn of_a_connection_that_the_other_side_ends_late_the_end_is_missing() {
    let mut scene = Scene::new();
    let mut missing = [0; 4];
    for (address, bytes) in [("93.184.216.34:8005", 52), ("[2606:2800:220:1::34]:8005", 72)] {
        scene.lab.peer.inside(|| lab::peer::end_late(address));
        missing[0] += 100 * bytes;
        missing[1] += 100 * bytes;
        scene.check_but(&[&format!("hangup {address} 100 0")], missing);
        println!("{address}: of each connection that the other side ends late {bytes} bytes each way are not booked");
    }
}

#[test]
fn a_process_tree_whose_children_exit() {
    let mut scene = Scene::new();
    let truth = scene.check(&[&format!("children {} 20 100000", OUTSIDE[0])]);
    assert!(truth[0] > 2_000_000 && truth[1] > 2_000_000, "{truth:?}");
}

#[test]
fn what_the_hosts_own_firewall_drops_is_not_booked() {
    let mut scene = Scene::new();
    let answered = format!("udp {} 10 1000", OUTSIDE[0]);
    let truth = scene.check(&[&answered]);
    let rules = "table inet firewall {
        chain output { type filter hook output priority 0; udp dport 9 drop; }
        chain input { type filter hook input priority 0; udp sport 8001 drop; }
    }";
    scene.lab.host.nft(rules).unwrap();
    scene.check_but(&[&format!("try {OUTSIDE_SINK} 50 1000")], [0; 4]);
    assert_eq!(scene.lab.truth(), truth, "nothing came out");
    // The answers come to the host and no further: the peer has sent them, the application has not received them.
    let dropped = 50 * 1028;
    scene.check_but(&[&format!("try {} 50 1000", OUTSIDE[0])], [dropped, 0, 0, 0]);
    assert_eq!(scene.booked(), [truth[0], truth[1] + dropped, 0, 0]);
}

/// A socket of the root cgroup has no level.
#[test]
fn the_root_cgroup_is_not_booked() {
    let mut scene = Scene::new();
    scene.application.enter(&scene.lab, "..");
    scene.application.run(&format!("udp {} 10 100", OUTSIDE[0]));
    assert_eq!((scene.booked(), scene.lab.truth()), ([0; 4], [1280, 1280, 0, 0]));
}

/// Everything that stays on this host and its networks, beside another application that talks outside at ten times the rate.
#[test]
fn what_is_internal_is_shown_apart_and_external_is_exactly_0() {
    let lab = Lab::default();
    let (host, peer) = (&lab.host, &lab.peer);
    let link = |host_end: &str, peer_end: &str| {
        host.ip(&format!("link add {host_end} type veth peer {peer_end} netns {}", peer.name));
        host.ip(&format!("link set {host_end} up"));
        peer.ip(&format!("link set {peer_end} up"));
    };
    // A LAN with global addresses.
    host.ip("addr add 2a02:8109:1::2/64 dev up0 nodad");
    peer.ip("addr add 2a02:8109:1::1/64 dev up1 nodad");
    peer.ip("addr add fe80::77/64 dev up1 nodad");
    // The tailnet, as Tailscale sets it up.
    link("tailscale0", "ts1");
    for address in ["100.101.1.2/32", "fd7a:115c:a1e0::2/128"] {
        host.ip(&format!("addr add {address} dev tailscale0"));
    }
    host.ip("route add 100.64.0.0/10 dev tailscale0");
    host.ip("-6 route add fd7a:115c:a1e0::/48 dev tailscale0");
    peer.ip("addr add 100.101.1.1/10 dev ts1");
    peer.ip("addr add fd7a:115c:a1e0::1/48 dev ts1 nodad");
    // A bridge with a guest on it.
    host.ip("link add virbr0 type bridge");
    link("vnet0", "guest0");
    host.ip("link set vnet0 master virbr0");
    host.ip("addr add 192.168.122.1/24 dev virbr0");
    host.ip("link set virbr0 up");
    peer.ip("addr add 192.168.122.2/24 dev guest0");
    let up0 = lab.host.try_ip("-oneline link show up0").unwrap().split(':').next().unwrap().to_owned();
    let answering = ["[2a02:8109:1::1]:8004", "100.101.1.1:8004", "[fd7a:115c:a1e0::1]:8004", "192.168.122.2:8004"];
    peer.inside(|| answering.iter().for_each(|address| lab::peer::answer_udp(address)));
    host.inside(|| ["127.0.0.1:8004", "[::1]:8004"].iter().for_each(|address| lab::peer::answer_udp(address)));

    let directory = tempfile::tempdir().unwrap();
    let open = || Table::open(directory.path(), directory.path(), "this", None, SET_SIZE).unwrap();
    let mut table = host.inside(open);
    host.inside(|| table.install(false)).unwrap();
    let (mut own, mut other) = (lab.application("app"), lab.application("other"));
    let mut expected = [0u64; 2];
    let mut say = |task: String, bytes: u64, answered: bool| {
        other.begin(&format!("flood {OUTSIDE_SINK} 100 1000"));
        own.run(&task);
        other.finish("flood");
        expected[1] += bytes;
        expected[0] += if answered { bytes } else { 0 };
    };
    for address in answering.into_iter().chain(["127.0.0.1:8004", "[::1]:8004", "192.168.77.1:8001", "[fd77::1]:8001"])
    {
        let header = if address.starts_with('[') { 48 } else { 28 };
        say(format!("udp {address} 10 1000"), 10 * (1000 + header), true);
    }
    // Link-local and multicast: nobody answers.
    for address in [format!("[fe80::77%{up0}]:9"), format!("[ff02::fb%{up0}]:5353"), "239.255.255.250:1900".into()] {
        let header = if address.starts_with('[') { 48 } else { 28 };
        say(format!("flood {address} 10 1000"), 10 * (1000 + header), false);
    }
    let row = |table: &mut Table, name: &str| {
        let path = format!("/{}/{name}", lab.cgroup.file_name().unwrap().to_str().unwrap());
        rows(table, &path).pop().unwrap_or_default()
    };
    let app = row(&mut table, "app");
    assert_eq!((app.rx_bytes, app.tx_bytes), (0, 0), "external: {app:?}");
    assert_eq!([app.internal_rx_bytes, app.internal_tx_bytes], expected);
    let other = row(&mut table, "other");
    assert_eq!((other.rx_bytes, other.tx_bytes), (0, 11 * 100 * 1028), "{other:?}");
    println!("internal: {expected:?} bytes; external 0, beside {} of another application", other.tx_bytes);
}

/// What a cgroup and those below it have moved so far.
fn rows(table: &mut Table, top: &str) -> Vec<Row> {
    table.look().unwrap();
    let mut rows = table.rows(None).unwrap().rows;
    rows.retain(|row| row.cgroup.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    rows
}

/// With sets of 8: what has a counter goes on, a further cgroup's bytes go up to the cgroup that has one, and when others
/// have ended there is room again.
#[test]
fn a_full_set_says_so_and_loses_nothing() {
    let lab = Lab::default();
    let directory = tempfile::tempdir().unwrap();
    let tops = std::fs::read_dir(lab.cgroup.parent().unwrap()).unwrap().flatten().count(); // files among them: no matter
    let size = u32::try_from(tops).unwrap() + 40;
    let mut table = lab.host.inside(|| Table::open(directory.path(), directory.path(), "this", None, size)).unwrap();
    lab.host.inside(|| table.install(false)).unwrap();
    let mut application = lab.application("first");
    let mut sent = 0;
    let mut send = |below: &str| {
        application.enter(&lab, below);
        application.run(&format!("flood {OUTSIDE_SINK} 1 100"));
        sent += 128;
        sent
    };
    send("first");
    assert_eq!(table.warning(), "");
    let mut cgroups = 0;
    let top = format!("/{}", lab.cgroup.file_name().unwrap().to_str().unwrap());
    let rows = |table: &mut Table| rows(table, &top);
    while table.warning().is_empty() && cgroups <= size {
        send(&format!("c{cgroups}"));
        rows(&mut table);
        cgroups += 1;
    }
    assert!(
        table.warning().starts_with(&format!("more than {size} control groups have traffic")),
        "{}",
        table.warning()
    );
    for further in ["further", "further/still", "first"] {
        send(further);
    }
    let sent_so_far = send("first");
    let full = rows(&mut table);
    let of = |path: &str| full.iter().find(|row| row.cgroup == format!("{top}{path}")).map_or(0, |row| row.tx_bytes);
    assert_eq!((of(""), of("/further"), of("/first")), (2 * 128, 0, 3 * 128), "{full:?}");
    assert_eq!(full.iter().map(|row| row.tx_bytes).sum::<u64>(), sent_so_far);
    // All but the first end; the next read prunes, and nothing that they have sent is gone.
    for i in 0..cgroups {
        std::fs::remove_dir(lab.cgroup.join(format!("c{i}"))).unwrap();
    }
    rows(&mut table);
    assert_eq!(table.warning(), "");
    let sent_in_all = send("further");
    let after = rows(&mut table);
    assert_eq!(after.iter().map(|row| row.tx_bytes).sum::<u64>(), sent_in_all);
    let further = after.iter().find(|row| row.cgroup == format!("{top}/further")).unwrap();
    assert_eq!(further.tx_bytes, 128);
    println!("sets of {size}: {cgroups} cgroups filled them, {sent_in_all} bytes sent, all booked");
}

/// Dumps of a set of some thousand elements while packets make new ones all the time.
#[test]
fn no_counter_goes_back_or_is_missing_while_new_ones_are_made() {
    let lab = Lab::default();
    let directory = tempfile::tempdir().unwrap();
    let mut table =
        lab.host.inside(|| Table::open(directory.path(), directory.path(), "this", None, SET_SIZE)).unwrap();
    lab.host.inside(|| table.install(false)).unwrap();
    let top = format!("/{}", lab.cgroup.file_name().unwrap().to_str().unwrap());
    let count: usize = 3000;
    let maker = {
        let mut application = lab.application("maker");
        let cgroup = lab.cgroup.clone();
        let name = format!("c{count}");
        (
            thread::Builder::new().spawn(move || {
                for i in 0..=count {
                    std::fs::create_dir(cgroup.join(format!("c{i}"))).unwrap();
                    application.enter_at(&cgroup.join(format!("c{i}")));
                    application.run(&format!("flood {OUTSIDE_SINK} 1 100"));
                }
                application.enter_at(&cgroup);
            }),
            name,
        )
    };
    let (mut looks, mut known) = (0, HashMap::new());
    let maker = (maker.0.unwrap(), maker.1);
    loop {
        let over = maker.0.is_finished();
        let now: HashMap<String, u64> =
            rows(&mut table, &top).into_iter().map(|row| (row.cgroup, row.tx_bytes)).collect();
        for (path, bytes) in &known {
            assert!(now.get(path) >= Some(bytes), "look {looks}: {path} had {bytes}, has {:?}", now.get(path));
        }
        known = now;
        looks += 1;
        if over {
            break;
        }
    }
    maker.0.join().unwrap();
    assert_eq!(known.get(&format!("{top}/{}", maker.1)), Some(&128));
    assert_eq!(known.values().sum::<u64>(), (count as u64 + 1) * 128);
    println!("{looks} looks while {count} counters were made: none missing, none went back");
}
