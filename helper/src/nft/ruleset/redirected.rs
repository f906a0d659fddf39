//! The rules for packets that do not go where their header says, and stand only while this host has such packets. Pure.
//!
//! With both kinds of rules the base chains are (those of `ruleset.rs` in between left out):
//!
//! ```text
//! chain output {
//!     meta mark & 0x000000ff == 0x00000001 meta nfproto ipv4 goto tx_internal          # one for each `Marked`
//! }
//! chain input {
//!     ct status snat,dnat goto translated
//! }
//! chain translated {
//!     ct direction original ct original ip saddr @internal4 goto rx_internal           # and with ip6
//!     ct direction reply ct reply ip saddr @internal4 goto rx_internal
//!     goto rx_external
//! }
//! ```
//!
//! Network address translation: at the output hook the table sees a packet's destination after translation. Before the
//! input hook is over, the kernel has given an answer the source that the application expects. Where it really came from
//! only connection tracking knows: each of a connection's two directions has an address from which its packets come.
//!
//! A mark that leads back to this host (the usual recipe for a transparent proxy): the packet is routed again after the
//! output hook, and there its interface is still the one that it would have left by.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Batch, Builder, Counter, Direction, INPUT, Kind, OUTPUT};

/// The chain for packets of translated connections.
const TRANSLATED: &str = "translated";
/// `IPS_SRC_NAT | IPS_DST_NAT` of linux/netfilter/nf_conntrack_common.h: the connection's packets are translated.
pub(super) const IPS_NAT_MASK: u32 = 1 << 4 | 1 << 5;

/// Packets with this mark stay on this host: the routing policy leads them to the loopback interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The packet's mark, as far as `mask` goes.
    pub mark: u32,
    /// Which of its bits matter.
    pub mask: u32,
    /// Where they are bound for.
    pub to: IpNet,
}

/// What makes packets go elsewhere than their header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirected {
    /// Packets that this host sends may be translated. The rules use connection tracking, which the kernel switches on for
    /// whoever has such a rule: so this must be true only while it is on anyway.
    pub translated: bool,
    /// By the routing policy.
    pub marked: Vec<Marked>,
}

/// Writes both base chains anew, in one transaction, with the rules for what is redirected now, or without any.
pub fn redirect(table: &str, redirected: &Redirected) -> Batch {
    let mut b = Builder::new(table);
    b.chain(TRANSLATED, "what network address translation has given another source", None);
    for chain in [OUTPUT.chain, INPUT.chain, TRANSLATED] {
        b.request(Kind::DelRule, 0, "emptying a chain", |a| {
            a.string(2, chain);
        });
    }
    if redirected.translated {
        b.translated();
    } else {
        b.request(Kind::DelChain, 0, "deleting a chain", |a| {
            a.string(3, TRANSLATED);
        });
    }
    for direction in [&OUTPUT, &INPUT] {
        b.judge(direction, redirected);
    }
    b.batch
}

impl Builder<'_> {
    /// The rules of a base chain that come before those that look at the header's addresses.
    pub(super) fn redirected(&mut self, d: &Direction, redirected: &Redirected) {
        let what = "a rule for redirected packets";
        if d.chain == INPUT.chain && redirected.translated {
            self.rule(d.chain, what, "translated: the header does not say where it comes from", |e| {
                e.ct_status().any_bit(IPS_NAT_MASK).goto(TRANSLATED);
            });
        }
        if d.chain == OUTPUT.chain {
            for marked in &redirected.marked {
                self.rule(d.chain, what, "the routing policy leads this mark back to this host", |e| {
                    e.mark().masked(&marked.mask.to_ne_bytes()).equal(&(marked.mark & marked.mask).to_ne_bytes());
                    e.bound_for(marked.to).goto(d.internal.name());
                });
            }
        }
    }

    fn translated(&mut self) {
        let what = "a rule for translated packets";
        for (direction, set, is_v4) in
            [(0, "internal4", true), (0, "internal6", false), (1, "internal4", true), (1, "internal6", false)]
        {
            self.rule(TRANSLATED, what, "where it comes from, before translation", |e| {
                e.ct_direction().equal(&[direction]).ct_source(direction, is_v4).lookup(set);
                e.goto(Counter::RxInternal.name());
            });
        }
        self.rule(TRANSLATED, what, "everything else is external", |e| {
            e.goto(Counter::RxExternal.name());
        });
    }
}

impl super::Expressions<'_> {
    /// Goes on if the packet is bound for the prefix.
    fn bound_for(&mut self, to: IpNet) -> &mut Self {
        let (nfproto, offset) = match to {
            IpNet::V4(_) => (2, OUTPUT.remote[0]),
            IpNet::V6(_) => (10, OUTPUT.remote[1]),
        };
        self.nfproto().equal(&[nfproto]);
        if to.prefix_len() == 0 {
            return self;
        }
        let octets = |address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let (mask, network) = (octets(to.netmask()), octets(to.network()));
        self.network_header(offset, u32::try_from(mask.len()).unwrap_or_default()).masked(&mask).equal(&network)
    }
}
