//! What stands in the table: the requests that make it, grow it, and change it. Pure; nothing here talks to the kernel.
//!
//! As `nft list table inet netglance` would show it, with eight levels:
//!
//! ```text
//! table inet netglance {
//!     flags owner
//!     set internal4 { type ipv4_addr; flags interval; elements = { … } }
//!     set internal6 { type ipv6_addr; flags interval; elements = { … } }
//!     set tx_external { type cgroupsv2; size 65535; flags dynamic; counter }         # and three more
//!     chain tx_external {
//!         update @tx_external { socket cgroupv2 level 8 } accept
//!         …                                                                          # down to level 1
//!     }
//!     chain output {
//!         type filter hook output priority 200; policy accept;
//!         @ll,0,8 >= 0x0 accept                                                      # see `not_again`
//!         meta oiftype loopback goto tx_internal
//!         ip daddr @internal4 goto tx_internal
//!         ip6 daddr @internal6 goto tx_internal
//!         goto tx_external
//!     }
//!     chain input { … the same with saddr, iiftype and rx, without the first rule }
//! }
//! ```
//!
//! The kernel makes a cgroup's element at its first packet. A level deeper than the socket's cgroup ends the rule without
//! booking, so that the deepest level that exists books the packet, and `accept` keeps the others from doing it again.
//! A cgroup deeper than the deepest rule is booked to its ancestor at that level; a socket of the root cgroup is not booked.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL};

use super::{
    expression::{Expressions, byte_order, comment},
    message::{Attributes, Batch, Kind, Request},
};

/// The name of our table, of family inet.
pub const TABLE: &str = "netglance";
/// What one set holds at most; the kernel wants a limit for a dynamic set.
pub const SET_SIZE: u32 = 65_535;
/// Elements in one message: far below the 64 KiB of its attribute, for a 16-byte key too.
const ELEMENTS_A_MESSAGE: usize = 1000;
/// After the host's own filters (`NF_IP_PRI_FILTER` is 0): a packet that they drop is not booked.
const PRIORITY: u32 = 200;
const TABLE_COMMENT: &str =
    "netglance-helper counts bytes per cgroup here, internal and external apart. It changes no packet.";

/// One direction and scope: the name of a set, and of the chain that books into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
pub enum Counter {
    /// Received from external addresses.
    RxExternal,
    /// Sent to external addresses.
    TxExternal,
    /// Received from internal addresses.
    RxInternal,
    /// Sent to internal addresses.
    TxInternal,
}

impl Counter {
    /// All four.
    pub const ALL: [Self; 4] = [Self::RxExternal, Self::TxExternal, Self::RxInternal, Self::TxInternal];

    /// The name of its set and chain.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RxExternal => "rx_external",
            Self::TxExternal => "tx_external",
            Self::RxInternal => "rx_internal",
            Self::TxInternal => "tx_internal",
        }
    }

    const fn set_comment(self) -> &'static str {
        match self {
            Self::RxExternal => "received from external addresses, by cgroup",
            Self::TxExternal => "sent to external addresses, by cgroup",
            Self::RxInternal => "received from internal addresses, by cgroup",
            Self::TxInternal => "sent to internal addresses, by cgroup",
        }
    }
}

/// The internal prefixes as ranges, first and last address; sorted and disjoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Internal<'a> {
    /// IPv4.
    pub v4: &'a [(u32, u32)],
    /// IPv6.
    pub v6: &'a [(u128, u128)],
}

/// Makes the whole table, or fails where one of its name exists.
///
/// `levels` is the depth of the host's cgroup tree; 0 counts as 1.
pub fn create(table: &str, levels: u8, internal: Internal) -> Batch {
    let mut b = Builder::new(table);
    b.table();
    b.interval_set("internal4", 1, 7, 4, "internal prefixes, IPv4");
    b.interval_set("internal6", 2, 8, 16, "internal prefixes, IPv6");
    b.internal_elements(internal);
    for (counter, id) in Counter::ALL.into_iter().zip(3..) {
        b.counter_set(counter, id);
        b.chain(counter.name(), "books a packet once, to its own cgroup: the deepest level that there is", None);
        for level in (1..=levels.max(1)).rev() {
            b.level(counter, level, NLM_F_APPEND);
        }
    }
    b.direction(&OUTPUT);
    b.direction(&INPUT);
    b.shrink();
    b.batch
}

/// What [`create`] makes, taken away again in the same transaction: the kernel says whether it could, and nothing stays.
pub fn probe(table: &str, levels: u8) -> Batch {
    let (v4, v6) = ([(u32::from_be_bytes([10, 0, 0, 0]), u32::MAX)], [(1, 1)]);
    let mut batch = create(table, levels, Internal { v4: &v4, v6: &v6 });
    batch.requests.extend(delete_table(table).requests);
    batch
}

/// Adds rules for the levels above `from` up to `to`, in front of those that are there.
pub fn grow(table: &str, from: u8, to: u8) -> Batch {
    let mut b = Builder::new(table);
    for counter in Counter::ALL {
        for level in (from..to).map(|below| below.saturating_add(1)) {
            b.level(counter, level, 0); // no NLM_F_APPEND: each goes to the front, the deepest last
        }
    }
    b.batch
}

/// Puts other internal prefixes in the place of those that are there. Counters stay.
pub fn replace_internal(table: &str, internal: Internal) -> Batch {
    let mut b = Builder::new(table);
    for set in ["internal4", "internal6"] {
        // Without elements: all of them.
        b.request(Kind::DelSetElem, 0, "emptying the sets of internal prefixes", |a| {
            a.string(2, set);
        });
    }
    b.internal_elements(internal);
    b.batch
}

/// Deletes elements that are there; the kernel answers with what each had counted.
pub fn delete_elements(table: &str, doomed: &[(Counter, u64)]) -> Batch {
    let mut b = Builder::new(table);
    for counter in Counter::ALL {
        let keys: Vec<_> =
            doomed.iter().filter(|(c, _)| *c == counter).map(|(_, id)| Key::from(id.to_ne_bytes())).collect();
        b.elements(Kind::DelSetElem, NLM_F_ECHO, counter.name(), "deleting counters", &keys);
    }
    b.batch
}

/// Deletes the table and all in it.
pub fn delete_table(table: &str) -> Batch {
    let mut b = Builder::new(table);
    b.request(Kind::DelTable, 0, "deleting the table", |_| {});
    b.batch
}

/// Asks for a set's elements.
pub fn dump_counters(table: &str, counter: Counter) -> Request {
    Request::new(Kind::GetSetElem, NLM_F_DUMP, "reading the counters", |a| {
        a.string(1, table).string(2, counter.name());
    })
}

/// Asks for the rules of a set's chain: one for each level.
pub fn dump_rules(table: &str, counter: Counter) -> Request {
    Request::new(Kind::GetRule, NLM_F_DUMP, "reading the rules", |a| {
        a.string(1, table).string(2, counter.name());
    })
}

/// Asks for the rules of all chains.
pub fn dump_all_rules(table: &str) -> Request {
    Request::new(Kind::GetRule, NLM_F_DUMP, "reading the rules", |a| {
        a.string(1, table);
    })
}

/// Asks for the elements of any set.
pub fn dump_set(table: &str, set: &str) -> Request {
    Request::new(Kind::GetSetElem, NLM_F_DUMP, "reading a set", |a| {
        a.string(1, table).string(2, set);
    })
}

/// Asks for the table.
pub fn get_table(table: &str) -> Request {
    Request::new(Kind::GetTable, 0, "looking for the table", |a| {
        a.string(1, table);
    })
}

/// An element's key, and whether it marks where an interval has ended.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    bytes: Vec<u8>,
    interval_end: bool,
}

impl<const N: usize> From<[u8; N]> for Key {
    fn from(bytes: [u8; N]) -> Self {
        Self { bytes: bytes.into(), interval_end: false }
    }
}

/// What differs between the two base chains.
struct Direction {
    chain: &'static str,
    comment: &'static str,
    /// `NF_INET_LOCAL_OUT`, `NF_INET_LOCAL_IN`.
    hook: u32,
    external: Counter,
    internal: Counter,
    /// `NFT_META_OIFTYPE`, `NFT_META_IIFTYPE`.
    interface_type: u32,
    /// Where the other side's address stands in the IPv4 header (RFC 791) and the IPv6 header (RFC 8200).
    remote: [u32; 2],
}

const OUTPUT: Direction = Direction {
    chain: "output",
    comment: "what is sent; after the host's own filters",
    hook: 3,
    external: Counter::TxExternal,
    internal: Counter::TxInternal,
    interface_type: 9,
    remote: [16, 24],
};

const INPUT: Direction = Direction {
    chain: "input",
    comment: "what is received; after the host's own filters",
    hook: 1,
    external: Counter::RxExternal,
    internal: Counter::RxInternal,
    interface_type: 8,
    remote: [12, 8],
};

/// Appends requests about one table. The numbers are attributes of linux/netfilter/nf_tables.h.
struct Builder<'a> {
    table: &'a str,
    batch: Batch,
}

impl<'a> Builder<'a> {
    fn new(table: &'a str) -> Self {
        Self { table, batch: Batch::default() }
    }

    /// Every kind of object says its table first, in attribute 1.
    fn request(&mut self, kind: Kind, flags: u16, what: &'static str, write: impl FnOnce(&mut Attributes)) {
        self.batch.requests.push(Request::new(kind, flags, what, |a| {
            a.string(1, self.table);
            write(a);
        }));
    }

    fn table(&mut self) {
        const NFT_TABLE_F_OWNER: u32 = 2;
        self.request(Kind::NewTable, NLM_F_CREATE | NLM_F_EXCL, "a table of its owner (flags owner)", |a| {
            a.u32(2, NFT_TABLE_F_OWNER).bytes(6, &comment(0, TABLE_COMMENT));
        });
    }

    /// `key_type` is nft's own number of the type (7 ipv4_addr, 8 ipv6_addr, 46 cgroupsv2), which the kernel only keeps.
    fn interval_set(&mut self, name: &str, id: u32, key_type: u32, key_bytes: u32, text: &str) {
        const NFT_SET_INTERVAL: u32 = 4;
        self.request(Kind::NewSet, NLM_F_CREATE, "a set of address ranges", |a| {
            a.string(2, name).u32(3, NFT_SET_INTERVAL).u32(4, key_type).u32(5, key_bytes).u32(10, id);
            a.bytes(13, &[byte_order(2).as_slice(), &comment(7, text)].concat());
        });
    }

    fn counter_set(&mut self, counter: Counter, id: u32) {
        const NFT_SET_EVAL: u32 = 0x20;
        self.request(Kind::NewSet, NLM_F_CREATE, "a dynamic set with counters, keyed by cgroup", |a| {
            a.string(2, counter.name()).u32(3, NFT_SET_EVAL).u32(4, 46).u32(5, 8);
            a.nest(9, |a| {
                a.u32(1, SET_SIZE);
            });
            a.u32(10, id).bytes(13, &[byte_order(1).as_slice(), &comment(7, counter.set_comment())].concat());
            a.nest(17, |a| {
                a.string(1, "counter");
            });
        });
    }

    fn internal_elements(&mut self, internal: Internal) {
        let what = "the internal prefixes";
        let v4 = internal.v4.iter().flat_map(|&(first, last)| {
            interval(first.to_be_bytes().into(), last.checked_add(1).map(|end| end.to_be_bytes().into()))
        });
        let v6 = internal.v6.iter().flat_map(|&(first, last)| {
            interval(first.to_be_bytes().into(), last.checked_add(1).map(|end| end.to_be_bytes().into()))
        });
        let (v4, v6): (Vec<_>, Vec<_>) = (v4.collect(), v6.collect());
        self.elements(Kind::NewSetElem, NLM_F_CREATE, "internal4", what, &v4);
        self.elements(Kind::NewSetElem, NLM_F_CREATE, "internal6", what, &v6);
    }

    fn elements(&mut self, kind: Kind, flags: u16, set: &str, what: &'static str, keys: &[Key]) {
        const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
        for part in keys.chunks(ELEMENTS_A_MESSAGE) {
            self.request(kind, flags, what, |a| {
                a.string(2, set).nest(3, |a| {
                    for key in part {
                        a.nest(1, |a| {
                            if key.interval_end {
                                a.u32(3, NFT_SET_ELEM_INTERVAL_END);
                            }
                            a.nest(1, |a| {
                                a.bytes(1, &key.bytes);
                            });
                        });
                    }
                });
            });
        }
    }

    /// The kernel makes a set's hash table as large as its limit, and each dump walks all of it: 0.2 ms a set. A removal makes
    /// it as small as what is in it, and it grows by itself; so one element that no cgroup has comes and goes.
    fn shrink(&mut self) {
        let nobody = [Key::from(0u64.to_ne_bytes())];
        for counter in Counter::ALL {
            let what = "an element in a dynamic set";
            self.elements(Kind::NewSetElem, NLM_F_CREATE, counter.name(), what, &nobody);
            self.elements(Kind::DelSetElem, 0, counter.name(), what, &nobody);
        }
    }

    fn chain(&mut self, name: &str, text: &str, hook: Option<u32>) {
        const NF_ACCEPT: u32 = 1;
        let what = if hook.is_some() { "a chain at a filter hook of family inet" } else { "a chain" };
        self.request(Kind::NewChain, NLM_F_CREATE, what, |a| {
            a.string(3, name);
            if let Some(hook) = hook {
                a.nest(4, |a| {
                    a.u32(1, hook).u32(2, PRIORITY);
                });
                a.u32(5, NF_ACCEPT).string(7, "filter");
            }
            a.bytes(12, &comment(0, text));
        });
    }

    fn rule(&mut self, chain: &str, what: &'static str, flags: u16, write: impl FnOnce(&mut Expressions)) {
        self.request(Kind::NewRule, NLM_F_CREATE | flags, what, |a| {
            a.string(2, chain).nest(4, |a| write(&mut Expressions::new(a)));
        });
    }

    fn level(&mut self, counter: Counter, level: u8, flags: u16) {
        self.rule(counter.name(), "socket cgroupv2 level, with an update of a set", flags, |e| {
            e.cgroup(level).update(counter.name()).accept();
        });
    }

    fn direction(&mut self, d: &Direction) {
        const ARPHRD_LOOPBACK: u16 = 772;
        const NFT_META_NFPROTO: u32 = 15;
        let (what, add) = ("a rule that tells internal from external", NLM_F_APPEND);
        self.chain(d.chain, d.comment, Some(d.hook));
        if d.chain == OUTPUT.chain {
            self.not_again(d.chain);
        }
        // The type of the interface, not its name or the address: whatever comes over loopback stays on this host.
        self.rule(d.chain, what, add, |e| {
            e.meta(d.interface_type).equal(&ARPHRD_LOOPBACK.to_ne_bytes()).goto(d.internal.name());
        });
        let [v4, v6] = d.remote;
        for (nfproto, offset, length, set) in [(2, v4, 4, "internal4"), (10, v6, 16, "internal6")] {
            self.rule(d.chain, what, add, |e| {
                e.meta(NFT_META_NFPROTO).equal(&[nfproto]).network_header(offset, length).lookup(set);
                e.goto(d.internal.name());
            });
        }
        self.rule(d.chain, what, add, |e| {
            e.goto(d.external.name());
        });
    }

    /// Leaves out the outer packet that a tunnel of the kernel (WireGuard, VXLAN, GRE, IPIP, ESP …) makes of one that has
    /// been booked already: it comes through the output hook again and may still carry the application's socket.
    ///
    /// A packet that a process sends has no link-layer header yet when it comes to this hook. One that has been through a
    /// tunnel's interface has (`__dev_queue_xmit` sets `skb->mac_header`, and so do the IPsec encapsulations), so loading a
    /// byte of it succeeds; the comparison, always true, is there for nft to have something to show. No port or protocol
    /// number is looked at: what an application itself sends to a VXLAN port is booked like anything else.
    fn not_again(&mut self, chain: &str) {
        self.rule(chain, "a look at the link-layer header", NLM_F_APPEND, |e| {
            e.link_header().at_least(&[0]).accept();
        });
    }
}

fn interval(first: Vec<u8>, end: Option<Vec<u8>>) -> impl Iterator<Item = Key> {
    // A range up to the last address of all has no end.
    let end = end.map(|bytes| Key { bytes, interval_end: true });
    std::iter::once(Key { bytes: first, interval_end: false }).chain(end)
}

#[cfg(test)]
#[path = "ruleset_tests.rs"]
mod tests;
