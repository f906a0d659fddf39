//! Tables that translate addresses: for the proof's scratch networks, and nowhere else. Pure.

use std::net::IpAddr;

use netlink_packet_core::NLM_F_CREATE;

use super::{Batch, Builder, Kind, OUTPUT};

/// What is bound for the first address goes to the second one, of the same family.
pub fn translate(table: &str, from: IpAddr, to: IpAddr) -> Batch {
    /// `NF_IP_PRI_NAT_DST`.
    const PRIORITY: i32 = -100;
    const CHAIN: &str = "output";
    let mut b = Builder::new(table);
    b.table();
    b.request(Kind::NewChain, NLM_F_CREATE, "a chain that translates addresses", |a| {
        a.string(3, CHAIN).nest(4, |a| {
            a.u32(1, OUTPUT.hook).bytes(2, &PRIORITY.to_be_bytes());
        });
        a.string(7, "nat");
    });
    let what = "a rule that translates addresses";
    b.rule(CHAIN, what, "for the proof", |e| {
        let (nfproto, offset, from, to) = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => (2, OUTPUT.remote[0], from.octets().to_vec(), to.octets().to_vec()),
            (from, to) => {
                let octets = |address| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                (10, OUTPUT.remote[1], octets(from), octets(to))
            }
        };
        let length = u32::try_from(from.len()).unwrap_or_default();
        e.nfproto().equal(&[nfproto]).network_header(offset, length).equal(&from).translate(nfproto, &to);
    });
    b.batch
}

/// What leaves by the interface with this index over IPv4 gets an address of that interface as its source.
pub fn masquerade(table: &str, interface: u32) -> Batch {
    /// `NF_INET_POST_ROUTING`
    const HOOK: u32 = 4;
    /// `NF_IP_PRI_NAT_SRC`
    const PRIORITY: u32 = 100;
    const NFT_META_OIF: u32 = 5;
    const CHAIN: &str = "postrouting";
    let mut b = Builder::new(table);
    b.table();
    b.request(Kind::NewChain, NLM_F_CREATE, "a chain that translates addresses", |a| {
        a.string(3, CHAIN).nest(4, |a| {
            a.u32(1, HOOK).u32(2, PRIORITY);
        });
        a.string(7, "nat");
    });
    b.rule(CHAIN, "a rule that masquerades", "for the proof", |e| {
        e.nfproto().equal(&[2]).meta(NFT_META_OIF).equal(&interface.to_ne_bytes()).masquerade();
    });
    b.batch
}
