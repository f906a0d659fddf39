//! Tunnels that the kernel makes: what an application sends through one is booked once, as the peer counts it inside; the
//! outer packets are left out. What comes in outside is booked to whoever has made the tunnel, as it is for the kernel's socket
//! that belongs to them: here the test's own cgroup, or nobody where that is the root. Each kind that this kernel lacks is refused by it in so many words, and the test says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;

use std::collections::HashMap;

use lab::{Lab, eventually, tool};
use netglance_dbus::scope::Prefixes;
use netglance_helper::nft::{
    Nft,
    key::Key,
    ruleset::{Counter, Internal, SET_SIZE},
};

/// The ends of the tunnel, outside.
const OUTER: [&str; 2] = ["93.184.217.2", "93.184.217.1"];

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A lab whose two ends have addresses for a tunnel.
fn lab() -> Lab {
    let lab = Lab::default();
    lab.host.ip(&format!("addr add {}/24 dev up0", OUTER[0]));
    lab.peer.ip(&format!("addr add {}/24 dev up1", OUTER[1]));
    lab
}

/// Makes an interface `tun` at both ends. False if the kernel knows no such kind, which is all that it may refuse.
fn made(lab: &Lab, kind: &str, options: &str) -> bool {
    for (at, namespace) in [&lab.host, &lab.peer].into_iter().enumerate() {
        let options = options.replace("OWN", OUTER[at]).replace("OTHER", OUTER[1 - at]);
        let arguments = format!("-n {} link add tun type {kind} {options}", namespace.name);
        let arguments: Vec<_> = arguments.trim().split(' ').collect();
        if let Err(error) = tool("ip", &arguments, "") {
            assert!(
                error.contains("Unknown device type") || error.contains("Operation not supported"),
                "{kind}: {error}"
            );
            println!("THIS KERNEL HAS NO {kind} ({}): nothing to count", error.trim());
            return false;
        }
    }
    true
}

/// Sets up `tun` at both ends.
fn through(lab: &Lab) {
    for (namespace, v4, v6) in [(&lab.host, "10.99.0.2/24", "fd99::2/64"), (&lab.peer, "10.99.0.1/24", "fd99::1/64")] {
        up(namespace);
        let _ = namespace.try_ip(&format!("addr add {v4} dev tun"));
        namespace.ip(&format!("addr add {v6} dev tun nodad"));
    }
}

/// A packet at one end must be a packet at the other: no aggregates are sent or made, and none is too long for the tunnel.
fn up(namespace: &lab::Namespace) {
    namespace.ip("link set tun mtu 1280 gso_max_segs 1 gro_max_size 1");
    namespace.ip("link set tun up");
}

/// Leads the outside through `tun`, has an application talk to it and compares.
fn check(lab: &Lab, addresses: &[&str]) {
    for address in addresses {
        let outside = address.parse::<std::net::SocketAddr>().unwrap().ip();
        lab.host.ip(&if outside.is_ipv4() {
            format!("route add {outside}/32 dev tun src 10.99.0.2")
        } else {
            format!("-6 route add {outside}/128 dev tun src fd99::2")
        });
    }
    count(lab, addresses, |truth| truth);
}

/// Runs an application against `addresses` and waits until its row is what `expected` makes of the peer's figures.
fn count(lab: &Lab, addresses: &[&str], expected: impl Fn([u64; 4]) -> [u64; 4]) {
    let mut nft = lab.host.inside(Nft::open).unwrap();
    let prefixes = Prefixes::new(&[], &[], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    nft.create(lab.level("app"), SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
    let mut application = lab.application("app");
    for address in addresses {
        application.run(&format!("udp {address} 100 1000"));
        application.run(&format!("unconnected {address} 100 64"));
        application.run(&format!("tcp {address} 200000 200000"));
    }
    let own = application.key;
    let rows = eventually("the row is what the peer has counted inside", || {
        let mut rows: HashMap<Key, [u64; 4]> = HashMap::new();
        for (i, counter) in Counter::ALL.into_iter().enumerate() {
            let mut elements = Vec::new();
            nft.read(counter, &mut elements).unwrap();
            elements.iter().for_each(|element| rows.entry(element.key).or_default()[i] = element.bytes);
        }
        let (row, expected) = (rows.get(&own).copied().unwrap_or_default(), expected(lab.truth()));
        if row == expected {
            Ok(rows)
        } else {
            Err(format!("booked {row:?}, expected {expected:?}, all rows {rows:?}"))
        }
    });
    assert!(rows[&own][0] > 200_000 && rows[&own][1] > 200_000, "{rows:?}");
    let others: Vec<_> = rows.iter().filter(|(id, _)| **id != own).collect();
    println!("booked once: {:?}; to whoever has made the tunnel: {others:?}", rows[&own]);
    assert!(others.iter().all(|(_, row)| row[1] == 0), "outer packets were booked as sent: {others:?}");
}

const V4: &str = "93.184.216.34:8001";
const V6: &str = "[2606:2800:220:1::34]:8001";

#[test]
fn vxlan() {
    let lab = lab();
    if made(&lab, "vxlan", "id 7 local OWN remote OTHER dstport 4789") {
        through(&lab);
        neighbours(&lab);
        check(&lab, &[V4, V6]);
    }
}

#[test]
fn geneve() {
    let lab = lab();
    if made(&lab, "geneve", "id 7 remote OTHER") {
        through(&lab);
        neighbours(&lab);
        check(&lab, &[V4, V6]);
    }
}

/// The outside is a neighbour on `tun`.
fn neighbours(lab: &Lab) {
    let text = lab.peer.try_ip("-brief link show tun").unwrap();
    let address = text.split_whitespace().nth(2).unwrap();
    lab.host.ip(&format!("neigh replace 93.184.216.34 lladdr {address} dev tun"));
    lab.host.ip(&format!("-6 neigh replace 2606:2800:220:1::34 lladdr {address} dev tun"));
}

#[test]
fn gre() {
    let lab = lab();
    if made(&lab, "gre", "local OWN remote OTHER") {
        through(&lab);
        check(&lab, &[V4, V6]);
    }
}

#[test]
fn ipip() {
    let lab = lab();
    // Of mode any: with mode ipip it carries IPv4 alone.
    if made(&lab, "ipip", "local OWN remote OTHER") {
        for (namespace, own) in [(&lab.host, "10.99.0.2/24"), (&lab.peer, "10.99.0.1/24")] {
            up(namespace);
            namespace.ip(&format!("addr add {own} dev tun"));
        }
        check(&lab, &[V4]);
    }
}

#[test]
fn sit() {
    let lab = lab();
    if made(&lab, "sit", "local OWN remote OTHER") {
        through(&lab);
        check(&lab, &[V6]);
    }
}

#[test]
fn wireguard() {
    let lab = lab();
    if !made(&lab, "wireguard", "") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let keys = ["host", "peer"].map(|name| {
        let private = tool("wg", &["genkey"], "").expect("wg: install wireguard-tools");
        let public = tool("wg", &["pubkey"], &private).unwrap();
        let file = directory.path().join(name);
        std::fs::write(&file, private).unwrap();
        (file, public.trim().to_owned())
    });
    for (at, namespace) in [&lab.host, &lab.peer].into_iter().enumerate() {
        let ((file, _), (_, other)) = (&keys[at], &keys[1 - at]);
        let endpoint = format!("{}:51820", OUTER[1 - at]);
        let file = file.to_str().unwrap();
        #[rustfmt::skip]
        let arguments = ["set", "tun", "private-key", file, "listen-port", "51820", "peer", other,
            "endpoint", &endpoint, "allowed-ips", "0.0.0.0/0,::/0"];
        namespace.inside(|| tool("wg", &arguments, "")).unwrap();
    }
    through(&lab);
    check(&lab, &[V4, V6]);
}

/// IPsec has no interface: the packet is encrypted behind the hook and comes to it again.
#[test]
fn esp_in_transport_mode() {
    let lab = lab();
    let key = "0x0102030405060708090a0b0c0d0e0f1011121314";
    for (at, namespace) in [&lab.host, &lab.peer].into_iter().enumerate() {
        for (spi, from, to) in [(100, OUTER[0], OUTER[1]), (200, OUTER[1], OUTER[0])] {
            let state = format!(
                "xfrm state add src {from} dst {to} proto esp spi {spi} reqid 1 mode transport \
                 auth hmac(sha1) {key} enc cbc(aes) 0x0102030405060708090a0b0c0d0e0f10"
            );
            if let Err(error) = namespace.try_ip(&state) {
                let known = ["Requested type not found", "Protocol not supported", "Requested mode not found"];
                assert!(known.iter().any(|known| error.contains(known)), "{error}");
                println!("THIS KERNEL HAS NO ESP ({}): nothing to count", error.trim());
                return;
            }
        }
        let (own, other) = (OUTER[at], OUTER[1 - at]);
        let template = "proto esp reqid 1 mode transport";
        for (direction, from, to) in [("out", own, other), ("in", other, own)] {
            namespace.ip(&format!(
                "xfrm policy add src {from} dst {to} dir {direction} tmpl src {from} dst {to} {template}"
            ));
        }
    }
    // What the peer counts of its own end: packets before they are encrypted and after they are decrypted.
    let rules = "table inet inside {
        counter sent { }
        counter received { }
        chain input { type filter hook input priority 0; ip daddr 93.184.217.1 meta l4proto { tcp, udp } counter name sent; }
        chain output { type filter hook output priority 0; ip saddr 93.184.217.1 meta l4proto { tcp, udp } counter name received; }
    }";
    lab.peer.nft(rules).unwrap();
    lab.host.ip("link set up0 mtu 1400");
    lab.peer.ip("link set up1 mtu 1400");
    let address = format!("{}:8001", OUTER[1]);
    lab.peer.inside(|| lab::peer::answer_udp(&address));
    let inside = |name: &str| -> u64 {
        let text = lab.peer.inside(|| tool("nft", &["list", "counter", "inet", "inside", name], "")).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        let bytes = words.iter().position(|word| *word == "bytes").unwrap();
        words[bytes + 1].parse().unwrap()
    };
    count(&lab, &[&address], |_| [inside("received"), inside("sent"), 0, 0]);
}
