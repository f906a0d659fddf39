//! What counts forwarded packets by the address of the container or virtual machine: a part of the table. Pure.
//!
//! ```text
//!     set forwarded_tx4_external { type ipv4_addr; size 4096; flags dynamic; counter }          # and seven more
//!     chain forward {
//!         type filter hook forward priority 200; policy accept;
//!         meta iifkind "bridge" fib saddr . iif oif missing return
//!         meta iifkind "veth" fib saddr . iif oif missing return
//!         meta iifkind "bridge" jump forwarded_tx
//!         meta iifkind "veth" jump forwarded_tx
//!         meta oifkind "bridge" jump forwarded_rx
//!         meta oifkind "veth" jump forwarded_rx
//!     }
//!     chain forwarded_tx {
//!         ip saddr @internal4 ip daddr @internal4 update @forwarded_tx4_internal { ip saddr } return
//!         ip saddr @internal4 ip daddr != @internal4 update @forwarded_tx4_external { ip saddr } return
//!         …                                                                                     # IPv6
//!     }
//!     chain forwarded_rx { … the same with source and destination exchanged }
//! ```
//!
//! In this hook, after destinations were translated and before sources are, a packet has the address of the container or virtual
//! machine both ways. A packet from one to another is booked to both. A packet that the host itself sends or receives does not come
//! here, so nothing is booked twice. A packet from behind such an interface counts only where the host's routes lead back to its source
//! through it: a container can't make up senders outside of its own network. No verdict is given but to go on.

use super::{
    super::message::{Batch, Kind},
    Builder, Item, byte_order, comment,
};
use netlink_packet_core::NLM_F_CREATE;

/// What one of the sets holds at most.
pub const MOST_FORWARDED: u32 = 4096;

/// The base chain.
pub const FORWARD: &str = "forward";

/// `NF_INET_FORWARD`
const HOOK: u32 = 2;
/// What container engines and hypervisors attach to: kinds of interfaces (`IFLA_INFO_KIND`).
const KINDS: [&str; 2] = ["bridge", "veth"];
const NFT_META_IIFKIND: u32 = 26;
const NFT_META_OIFKIND: u32 = 27;

/// One of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedSet {
    /// What the address has sent, or received.
    pub is_sent: bool,
    /// Whether the addresses are IPv4's.
    pub is_v4: bool,
    /// To or from internal addresses, or external ones.
    pub is_internal: bool,
}

impl ForwardedSet {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        let bits = |number: u8| [1, 2, 4].map(|bit| number & bit != 0);
        (0..8).map(bits).map(|[is_sent, is_v4, is_internal]| Self { is_sent, is_v4, is_internal })
    }

    /// Its name.
    pub fn name(self) -> String {
        let family = if self.is_v4 { 4 } else { 6 };
        let scope = if self.is_internal { "internal" } else { "external" };
        format!("{}{family}_{scope}", chain(self.is_sent))
    }

    const fn nfproto(self) -> u8 {
        if self.is_v4 { 2 } else { 10 }
    }

    const fn address_bytes(self) -> u32 {
        if self.is_v4 { 4 } else { 16 }
    }

    const fn internal(self) -> &'static str {
        if self.is_v4 { "internal4" } else { "internal6" }
    }

    /// Where source and destination stand in the header (RFC 791, RFC 8200).
    const fn offsets(self) -> [u32; 2] {
        if self.is_v4 { [12, 16] } else { [8, 24] }
    }
}

const fn chain(is_sent: bool) -> &'static str {
    if is_sent { "forwarded_tx" } else { "forwarded_rx" }
}

/// Counts what is forwarded in a table that doesn't yet. `asks_routes`: a source is counted only where the routes lead back to it; some
/// kernels are built without that (`CONFIG_NFT_FIB_INET`).
pub fn count_forwarded(table: &str, asks_routes: bool) -> Batch {
    let mut b = Builder::new(table);
    b.forwarded(asks_routes);
    b.batch
}

impl Builder<'_> {
    fn forwarded(&mut self, asks_routes: bool) {
        for (set, id) in ForwardedSet::all().zip(50..) {
            self.forwarded_set(set, id);
        }
        for is_sent in [true, false] {
            let text = "books a packet to the container or virtual machine that it is from, or to; it changes nothing";
            self.chain(chain(is_sent), text, None);
            for set in ForwardedSet::all().filter(|set| set.is_sent == is_sent) {
                self.forwarded_rule(set);
            }
        }
        self.chain(FORWARD, "what is forwarded; after the host's own filters", Some(HOOK));
        let names = KINDS.map(|kind| {
            let mut name = [0; 16];
            name.iter_mut().zip(kind.bytes()).for_each(|(to, from)| *to = from);
            name
        });
        for name in names.iter().filter(|_| asks_routes) {
            let text = "no address behind this interface: a source that is made up";
            self.rule(FORWARD, "a look at the routes (fib)", text, |e| {
                e.meta(NFT_META_IIFKIND).equal(name).source_is_elsewhere().leave();
            });
        }
        for (is_sent, key) in [(true, NFT_META_IIFKIND), (false, NFT_META_OIFKIND)] {
            for name in &names {
                let text = "containers and virtual machines are behind such interfaces";
                self.rule(FORWARD, "a look at the kind of an interface", text, |e| {
                    e.meta(key).equal(name).jump(chain(is_sent));
                });
            }
        }
    }

    fn forwarded_set(&mut self, set: ForwardedSet, id: u32) {
        const NFT_SET_EVAL: u32 = 0x20;
        // nft's numbers of the types: ipv4_addr, ipv6_addr.
        let key_type = if set.is_v4 { 7 } else { 8 };
        let name = set.name();
        let text = if set.is_sent {
            "sent by containers and virtual machines"
        } else {
            "received by containers and virtual machines"
        };
        self.request(Kind::NewSet, NLM_F_CREATE, "a dynamic set with counters, keyed by address", |a| {
            a.string(2, &name).u32(3, NFT_SET_EVAL).u32(4, key_type).u32(5, set.address_bytes());
            a.nest(9, |a| {
                a.u32(1, MOST_FORWARDED);
            });
            a.u32(10, id).bytes(13, &[byte_order(2).as_slice(), &comment(7, text)].concat());
            a.nest(17, |a| {
                a.string(1, "counter");
            });
        });
        // See `shrink`.
        let what = "an element in a dynamic set";
        for (kind, flags) in [(Kind::NewSetElem, NLM_F_CREATE), (Kind::DelSetElem, 0)] {
            if set.is_v4 {
                self.elements(kind, flags, &name, what, [Item::from([0; 4])]);
            } else {
                self.elements(kind, flags, &name, what, [Item::from([0; 16])]);
            }
        }
    }

    fn forwarded_rule(&mut self, set: ForwardedSet) {
        let [source, destination] = set.offsets();
        let (own, other) = if set.is_sent { (source, destination) } else { (destination, source) };
        let (bytes, internal) = (set.address_bytes(), set.internal());
        let text = if set.is_internal { "its other side is internal" } else { "its other side is external" };
        self.rule(chain(set.is_sent), "a rule that books what is forwarded", text, |e| {
            e.nfproto().equal(&[set.nfproto()]).network_header(other, bytes);
            if set.is_internal {
                e.lookup(internal);
            } else {
                e.absent(internal);
            }
            e.network_header(own, bytes).lookup(internal).update(&set.name()).leave();
        });
    }
}
