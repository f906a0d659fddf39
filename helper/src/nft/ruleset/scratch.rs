//! Tables that translate addresses: for the proof's scratch networks, and nowhere else. Pure.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::NLM_F_CREATE;

use super::{Batch, Builder, Kind, OUTPUT};

/// `NF_IP_PRI_NAT_DST`.
const DESTINATIONS: i32 = -100;
/// `NF_IP_PRI_NAT_SRC`.
const SOURCES: i32 = 100;

/// What is bound for the first address goes to the second one, of the same family.
pub fn translate(table: &str, from: IpAddr, to: IpAddr) -> Batch {
    const CHAIN: &str = "output";
    let mut b = Builder::new(table);
    b.table();
    b.translating(CHAIN, OUTPUT.hook, DESTINATIONS);
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

/// What container engines make. IPv4 that is forwarded out by the interface of index `outside` has the host's address there, and what
/// comes in by it for the TCP port `published` goes to a container.
pub fn containers(table: &str, outside: u32, published: u16, container: Ipv4Addr) -> Batch {
    const NFT_META_IIF: u32 = 4;
    const NFT_META_OIF: u32 = 5;
    const NFPROTO_IPV4: u8 = 2;
    const TCP: u8 = 6;
    /// `NF_INET_PRE_ROUTING`, `NF_INET_POST_ROUTING`.
    const HOOKS: [u32; 2] = [0, 4];
    let mut b = Builder::new(table);
    b.table();
    b.translating("prerouting", HOOKS[0], DESTINATIONS);
    b.translating("postrouting", HOOKS[1], SOURCES);
    let what = "a rule that translates addresses";
    b.rule("prerouting", what, "a published port", |e| {
        e.nfproto().equal(&[NFPROTO_IPV4]).meta(NFT_META_IIF).equal(&outside.to_ne_bytes());
        e.l4proto().equal(&[TCP]).destination_port().equal(&published.to_be_bytes());
        e.translate(NFPROTO_IPV4, &container.octets());
    });
    b.rule("postrouting", what, "for the proof", |e| {
        e.nfproto().equal(&[NFPROTO_IPV4]).meta(NFT_META_OIF).equal(&outside.to_ne_bytes()).masquerade();
    });
    b.batch
}

impl Builder<'_> {
    fn translating(&mut self, chain: &str, hook: u32, priority: i32) {
        self.request(Kind::NewChain, NLM_F_CREATE, "a chain that translates addresses", |a| {
            a.string(3, chain).nest(4, |a| {
                a.u32(1, hook).bytes(2, &priority.to_be_bytes());
            });
            a.string(7, "nat");
        });
    }
}
