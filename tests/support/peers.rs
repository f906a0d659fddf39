//! What the peer of a laboratory counts by its own address, protocol and port: the truth about remotes.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{collections::BTreeMap, net::IpAddr};

use crate::lab::{Lab, peer, settled, tool};

/// The peer's further public addresses, TCP and UDP.
pub const MORE: [&str; 3] = ["93.184.216.35:8001", "93.184.216.36:8001", "[2606:2800:220:1::35]:8001"];

/// What the peer counts by its own address, protocol and port: what it hears, and what it says.
const PEER: &str = "table inet remotes {
    set heard4 { type ipv4_addr . inet_proto . inet_service; size 65535; flags dynamic; counter; }
    set heard6 { type ipv6_addr . inet_proto . inet_service; size 65535; flags dynamic; counter; }
    set said4 { type ipv4_addr . inet_proto . inet_service; size 65535; flags dynamic; counter; }
    set said6 { type ipv6_addr . inet_proto . inet_service; size 65535; flags dynamic; counter; }
    chain input {
        type filter hook input priority 0
        meta l4proto { tcp, udp } update @heard4 { ip daddr . meta l4proto . th dport }
        meta l4proto { tcp, udp } update @heard6 { ip6 daddr . meta l4proto . th dport }
    }
    chain output {
        type filter hook output priority 0
        meta l4proto { tcp, udp } update @said4 { ip saddr . meta l4proto . th sport }
        meta l4proto { tcp, udp } update @said6 { ip6 saddr . meta l4proto . th sport }
    }
}";

/// By address, protocol and port: received and sent.
pub type Table = BTreeMap<(IpAddr, u8, u16), [u64; 2]>;

/// Gives the peer its further addresses, and has it count.
pub fn count(lab: &Lab) {
    lab.peer.nft(PEER).unwrap();
    for address in ["93.184.216.35/32", "93.184.216.36/32"] {
        lab.peer.ip(&format!("addr add {address} dev lo"));
    }
    lab.peer.ip("addr add 2606:2800:220:1::35/128 dev lo nodad");
    lab.peer.inside(|| MORE.into_iter().for_each(peer::answer_udp));
}

/// What the peer has counted. What is on its way, such as a connection's last packet, is waited for.
pub fn truth(lab: &Lab) -> Table {
    settled(|| counted(lab))
}

fn counted(lab: &Lab) -> Table {
    let text = lab.peer.inside(|| tool("nft", &["-n", "list", "table", "inet", "remotes"], "")).unwrap();
    let mut table = Table::new();
    let mut direction = 0;
    for line in text.lines() {
        if let Some(set) = line.trim().strip_prefix("set ") {
            direction = usize::from(set.starts_with("heard"));
        }
        let elements = line.trim().trim_start_matches("elements = { ").trim_end_matches(" }").split(',');
        for element in elements.map(str::trim).filter(|element| element.contains(" counter packets ")) {
            let words: Vec<_> = element.split(' ').collect();
            let [address, _, protocol, _, port, _, _, _, _, bytes] = words.as_slice() else { panic!("{element}") };
            let protocol = match *protocol {
                "tcp" | "6" => 6,
                "udp" | "17" => 17,
                other => panic!("{other}"),
            };
            let key = (address.parse().unwrap(), protocol, port.parse().unwrap());
            table.entry(key).or_default()[direction] += bytes.parse::<u64>().unwrap();
        }
    }
    table
}
