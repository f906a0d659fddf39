//! What stands in the table: the requests that make it, grow it, and change it. Pure; nothing here talks to the kernel.
//!
//! As `nft list table inet netglance` would show it, with nine levels (comments left out):
//!
//! ```text
//! table inet netglance {
//!     flags owner
//!     set internal4 { type ipv4_addr; flags interval; elements = { … } }     set internal6 { … }
//!     set near4 { typeof ip ttl; elements = { … } }                          set near6 { … }
//!     set opaque { type mark . mark; size …; flags dynamic; elements = { … } }
//!     set tx_external { type mark . mark; size 65535; flags dynamic; counter }                 # and three more
//!     chain tx_external {
//!         add @opaque { KEY 2 } update @tx_external { KEY 2 } accept                           # see `entry`
//!         jhash socket cgroupv2 level 9 mod 1 == 0 … goto tx_external_9
//!         update @tx_external { KEY 8 } accept
//!         …                                                                                  # down to level 1
//!     }
//!     chain tx_external_9 {
//!         update @tx_external { KEY 9 } accept
//!     }
//!     chain output {
//!         type filter hook output priority 200; policy accept;
//!         @ll,0,8 >= 0x0 accept                                                              # see `not_again`
//!         meta oiftype loopback goto tx_internal
//!         meta nfproto ipv4 @nh,128,8 != @near4 goto tx_external                             # see `direction`
//!         meta nfproto ipv6 @nh,192,8 != @near6 goto tx_external
//!         ip daddr @internal4 goto tx_internal
//!         ip6 daddr @internal6 goto tx_internal
//!         goto tx_external
//!     }
//!     chain input { … the same with saddr, iiftype and rx, without the first rule }
//! }
//! ```
//!
//! where KEY 8 is `jhash socket cgroupv2 level 8 mod 4294967295 seed 0x1 . jhash … seed 0x2` (see `key.rs`).
//! Everything in it is such that what nft shows can be loaded again, by any nft since 1.0.2 and wherever: people save their
//! rulesets with `nft list ruleset`, and one line that doesn't load costs them all of it.
//! What is forwarded for containers and virtual machines is counted by address: see `forwarded`.
//! What is redirected has further rules while there is any: see `redirected`. So has what somebody wants to see by remote: see
//! `remotes`.
//!
//! The kernel makes a cgroup's element at its first packet. A level deeper than the socket's cgroup ends the rule without
//! booking, so that the deepest level that exists books the packet, and `accept` keeps the others from doing it again.
//! A cgroup deeper than the deepest rule is booked to its ancestor at that level; a socket of the root cgroup is not booked.
//!
//! Every level that a packet's cgroup does not have costs it a look, and anybody may make a cgroup of any depth. So levels
//! stand in blocks that begin at 1, 9, 17, 33, 65 and 129: what others have below level 8 costs a packet one look more, not
//! one for each level. (A chain of blocks must be short: the kernel follows no more than 16 chains.)

use std::collections::BTreeSet;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL};

use super::{
    expression::{Expressions, Field, byte_order, comment, like_field},
    key::Key,
    message::{Attributes, Batch, Kind, Request, Rule},
};

mod forwarded;
mod redirected;
mod remotes;
mod scratch;

pub use forwarded::{FORWARD, ForwardedSet, MOST_FORWARDED, count_forwarded};
pub use redirected::{Marked, Redirected, redirect};
pub use remotes::{
    MOST_REMOTES, Owner, Set, Standing, count_by_remote, delete_remotes, dump_chains, dump_sets, is_by_remote,
    prepare_remotes,
};
pub use scratch::{containers, translate};

/// The name of our table, of family inet, with a space at its end.
///
/// The kernel lets nobody else write into a table that has an owner, and whoever loads a saved ruleset would: all of it would be
/// refused, the user's own rules too. nft shows the name as it is and reads it without the space, which is another table's.
pub const TABLE: &str = "netglance ";
/// What nft makes of our table when it loads a saved ruleset.
pub const LEFTOVER: &str = "netglance";
/// What one counter set holds at most; the kernel wants a limit for a dynamic set.
pub const SET_SIZE: u32 = 65_535;
/// Elements in one message: far below the 64 KiB of its attribute, for a 16-byte key too.
const ELEMENTS_A_MESSAGE: usize = 1000;
/// The first levels of the blocks behind the first one.
const BLOCKS: [u8; 5] = [9, 17, 33, 65, 129];
/// After the host's own filters (`NF_IP_PRI_FILTER` is 0): a packet that they drop is not booked.
const PRIORITY: u32 = 200;
/// The set of cgroups that are booked as a whole.
const OPAQUE: &str = "opaque";
/// By it a table is known to be of our making.
pub const TABLE_COMMENT: &str =
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
            Self::RxExternal => "received from external addresses, by cgroup: two hashes of its id",
            Self::TxExternal => "sent to external addresses, by cgroup: two hashes of its id",
            Self::RxInternal => "received from internal addresses, by cgroup: two hashes of its id",
            Self::TxInternal => "sent to internal addresses, by cgroup: two hashes of its id",
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
/// `levels` is the depth of the host's cgroup tree; 0 counts as 1. `set_size`: see [`SET_SIZE`].
pub fn create(table: &str, levels: u8, set_size: u32, internal: Internal) -> Batch {
    let mut b = Builder::new(table);
    b.table();
    b.prefix_set("internal4", 1, 7, 4, "internal prefixes, IPv4");
    b.prefix_set("internal6", 2, 8, 16, "internal prefixes, IPv6");
    b.near_set("near4", 3, Field::TimeToLive, "first bytes of IPv4 addresses some of which are internal");
    b.near_set("near6", 4, Field::HopLimit, "first bytes of IPv6 addresses some of which are internal");
    b.internal_elements(internal);
    b.opaque_set(0);
    for (counter, id) in Counter::ALL.into_iter().zip(6..) {
        b.counter_set(counter, id, set_size);
    }
    b.levels(0, levels.max(1));
    b.direction(&OUTPUT);
    b.direction(&INPUT);
    b.shrink();
    b.batch
}

/// What [`create`] makes, taken away again in the same transaction: the kernel says whether it could, and nothing stays.
pub fn probe(table: &str, levels: u8) -> Batch {
    let (v4, v6) = ([(u32::from_be_bytes([10, 0, 0, 0]), u32::MAX)], [(1, 1)]);
    let mut batch = create(table, levels, SET_SIZE, Internal { v4: &v4, v6: &v6 });
    batch.requests.extend(delete_table(table).requests);
    batch
}

/// A rule for this level, taken away again in the same transaction.
pub fn probe_level(table: &str, level: u8) -> Batch {
    let mut b = Builder::new(table);
    b.table();
    b.chain(OUTPUT.chain, "asks for a level", None);
    b.level_rule(OUTPUT.chain, |e| {
        e.cgroup(level).accept();
    });
    b.batch.requests.extend(delete_table(table).requests);
    b.batch
}

/// Adds rules for the levels above `from` up to `to`, in front of those that are there.
pub fn grow(table: &str, from: u8, to: u8) -> Batch {
    let mut b = Builder::new(table);
    b.levels(from, to);
    b.batch
}

/// Books what is below one of the `opaque` cgroups (level and id) to it as a whole, in front of the first block of levels, which
/// every packet enters first. Each of their levels costs every packet a look. Without any, the block is as [`create`] and [`grow`]
/// leave it. Of the `rules` that stand in the table no others are touched, those that count by remote either; only a block that is
/// not what it should be is written anew.
pub fn entry(table: &str, rules: &[Rule], levels: u8, opaque: &BTreeSet<(u8, u64)>) -> Batch {
    let mut b = Builder::new(table);
    let first = levels.max(1).min(BLOCKS[0] - 1);
    let deeper = (levels >= BLOCKS[0]).then_some(BLOCKS[0]);
    let block_levels: Vec<_> = deeper.into_iter().chain((1..=first).rev()).collect();
    let of = |counter: Counter| rules.iter().filter(move |rule| rule.chain == counter.name());
    let is_whole = |counter| of(counter).filter(|rule| !rule.is_noted).count() == block_levels.len();
    let is_whole = Counter::ALL.into_iter().all(is_whole);
    for counter in Counter::ALL {
        let what = "emptying a chain";
        if !is_whole {
            b.request(Kind::DelRule, 0, what, |a| {
                a.string(2, counter.name());
            });
            continue;
        }
        for rule in of(counter).filter(|rule| rule.is_noted && rule.mentions(OPAQUE)) {
            b.request(Kind::DelRule, 0, what, |a| {
                a.string(2, counter.name()).u64(3, rule.handle);
            });
        }
    }
    let what = "the cgroups that are booked as a whole";
    b.request(Kind::DelSet, 0, what, |a| {
        a.string(2, OPAQUE);
    });
    b.opaque_set(opaque.len());
    b.elements(Kind::NewSetElem, NLM_F_CREATE, OPAQUE, what, opaque.iter().map(|(_, id)| Key::of(*id)));
    let mut above: Vec<_> = opaque.iter().map(|(level, _)| *level).collect();
    above.dedup();
    for counter in Counter::ALL {
        let chain = counter.name();
        for level in block_levels.iter().copied().filter(|_| !is_whole) {
            let next = block(counter, level);
            b.plain_rule(chain, NLM_F_APPEND, |e| {
                if next == chain { e.cgroup(level).update(chain).accept() } else { e.leads(level, &next) }
            });
        }
        // Each in front of the others: the one above all comes first.
        for level in above.iter().rev() {
            let text = "what is below such a cgroup is not told apart; the set is full, so nothing is added";
            b.request(Kind::NewRule, NLM_F_CREATE, "socket cgroupv2 level, looked up in a set", |a| {
                a.string(2, chain).nest(4, |a| {
                    Expressions::new(a).cgroup(*level).in_full(OPAQUE).update(chain).accept();
                });
                a.bytes(7, &comment(0, text));
            });
        }
    }
    b.batch
}

/// Whether a rule books this counter at a level, or leads to a further block; not those of [`entry`] for opaque cgroups.
pub fn is_level_rule(counter: Counter, rule: &Rule) -> bool {
    is_level(counter, &rule.chain) && !rule.is_noted
}

/// Whether a rule in a chain of this name belongs to the levels of this counter: it books one, or leads to a further block.
pub fn is_level(counter: Counter, chain: &str) -> bool {
    let rest = chain.strip_prefix(counter.name());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// The levels of which `rules` that [`is_level`] finds are made.
pub fn levels_of(rules: usize) -> u8 {
    let count = |level: u8| usize::from(level) + BLOCKS.iter().filter(|first| **first <= level).count();
    (0..=u8::MAX).rev().find(|level| count(*level) <= rules).unwrap_or_default()
}

/// Puts other internal prefixes in the place of those that are there. Counters stay.
pub fn replace_internal(table: &str, internal: Internal) -> Batch {
    let mut b = Builder::new(table);
    for set in ["internal4", "internal6", "near4", "near6"] {
        // Without elements: all of them.
        b.request(Kind::DelSetElem, 0, "emptying the sets of internal prefixes", |a| {
            a.string(2, set);
        });
    }
    b.internal_elements(internal);
    b.batch
}

/// Adds elements to all four sets, where there are none.
pub fn add_elements(table: &str, keys: &[Key]) -> Batch {
    let mut b = Builder::new(table);
    for counter in Counter::ALL {
        b.elements(Kind::NewSetElem, NLM_F_CREATE, counter.name(), "adding counters", keys.iter().copied());
    }
    b.batch
}

/// Deletes elements that are there; the kernel answers with what each had counted.
pub fn delete_elements(table: &str, doomed: &[(Counter, Key)]) -> Batch {
    let mut b = Builder::new(table);
    for counter in Counter::ALL {
        let keys = doomed.iter().filter(|(c, _)| *c == counter).map(|(_, key)| *key);
        b.elements(Kind::DelSetElem, NLM_F_ECHO, counter.name(), "deleting counters", keys);
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

/// Asks for a set's elements and has their counters set back to zero.
pub fn reset_set(table: &str, set: &str) -> Request {
    Request::new(Kind::GetSetElemReset, NLM_F_DUMP, "setting counters back", |a| {
        a.string(1, table).string(2, set);
    })
}

/// Asks for all rules.
pub fn dump_rules(table: &str) -> Request {
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

/// An element's bytes, and whether it marks where an interval has ended.
#[derive(Debug, PartialEq, Eq)]
struct Item<const N: usize> {
    bytes: [u8; N],
    interval_end: bool,
}

impl<const N: usize> From<[u8; N]> for Item<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self { bytes, interval_end: false }
    }
}

impl From<Key> for Item<8> {
    fn from(key: Key) -> Self {
        Self::from(key.bytes())
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

    /// `key_type` is nft's own number of the type (7 ipv4_addr, 8 ipv6_addr), which the kernel only keeps.
    fn prefix_set(&mut self, name: &str, id: u32, key_type: u32, key_bytes: u32, text: &str) {
        const NFT_SET_INTERVAL: u32 = 4;
        self.request(Kind::NewSet, NLM_F_CREATE, "a set of address ranges", |a| {
            a.string(2, name).u32(3, NFT_SET_INTERVAL).u32(4, key_type).u32(5, key_bytes).u32(10, id);
            a.bytes(13, &[byte_order(2).as_slice(), &comment(7, text)].concat());
        });
    }

    fn near_set(&mut self, name: &str, id: u32, field: Field, text: &str) {
        const INTEGER: u32 = 4;
        self.request(Kind::NewSet, NLM_F_CREATE, "a set of numbers", |a| {
            a.string(2, name).u32(3, 0).u32(4, INTEGER).u32(5, 1).u32(10, id);
            a.bytes(13, &[like_field(field).as_slice(), &comment(7, text)].concat());
        });
    }

    /// A set of so many keys, which is full when they are in it. See [`Expressions::in_full`].
    fn opaque_set(&mut self, size: usize) {
        let size = u32::try_from(size).unwrap_or(u32::MAX).max(1);
        self.key_set(OPAQUE, 5, size, "cgroups that are booked as a whole: two hashes of their ids", |_| {});
    }

    fn counter_set(&mut self, counter: Counter, id: u32, size: u32) {
        self.key_set(counter.name(), id, size, counter.set_comment(), |a| {
            a.nest(17, |a| {
                a.string(1, "counter");
            });
        });
    }

    /// A dynamic set keyed by cgroup.
    fn key_set(&mut self, name: &str, id: u32, size: u32, text: &str, more: impl FnOnce(&mut Attributes)) {
        const NFT_SET_EVAL: u32 = 0x20;
        // nft's numbers of a concatenation's types: mark and mark. It shows and reads them as plain numbers.
        const MARK: u32 = 19;
        self.request(Kind::NewSet, NLM_F_CREATE, "a dynamic set with counters, keyed by cgroup", |a| {
            a.string(2, name).u32(3, NFT_SET_EVAL).u32(4, MARK << 6 | MARK).u32(5, 8);
            a.nest(9, |a| {
                a.u32(1, size);
            });
            a.u32(10, id).bytes(13, &[byte_order(1).as_slice(), &comment(7, text)].concat());
            more(a);
        });
    }

    fn internal_elements(&mut self, internal: Internal) {
        let what = "the internal prefixes";
        let v4 = internal
            .v4
            .iter()
            .flat_map(|&(first, last)| interval(first.to_be_bytes(), last.checked_add(1).map(u32::to_be_bytes)));
        let v6 = internal
            .v6
            .iter()
            .flat_map(|&(first, last)| interval(first.to_be_bytes(), last.checked_add(1).map(u128::to_be_bytes)));
        self.elements(Kind::NewSetElem, NLM_F_CREATE, "internal4", what, v4);
        self.elements(Kind::NewSetElem, NLM_F_CREATE, "internal6", what, v6);
        let first4 = near(internal.v4.iter().map(|(first, last)| (first >> 24, last >> 24)));
        let first6 = near(internal.v6.iter().map(|(first, last)| (first >> 120, last >> 120)));
        self.elements(Kind::NewSetElem, NLM_F_CREATE, "near4", what, first4);
        self.elements(Kind::NewSetElem, NLM_F_CREATE, "near6", what, first6);
    }

    fn elements<const N: usize>(
        &mut self,
        kind: Kind,
        flags: u16,
        set: &str,
        what: &'static str,
        keys: impl IntoIterator<Item = impl Into<Item<N>>>,
    ) {
        const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
        let mut keys = keys.into_iter().map(Into::<Item<N>>::into).peekable();
        while keys.peek().is_some() {
            self.request(kind, flags, what, |a| {
                a.string(2, set).nest(3, |a| {
                    for key in keys.by_ref().take(ELEMENTS_A_MESSAGE) {
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
        for counter in Counter::ALL {
            let what = "an element in a dynamic set";
            self.elements(Kind::NewSetElem, NLM_F_CREATE, counter.name(), what, [Key::NOBODY]);
            self.elements(Kind::DelSetElem, 0, counter.name(), what, [Key::NOBODY]);
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

    /// A rule at the end of its chain.
    fn rule(&mut self, chain: &str, what: &'static str, text: &str, write: impl FnOnce(&mut Expressions)) {
        self.request(Kind::NewRule, NLM_F_CREATE | NLM_F_APPEND, what, |a| {
            a.string(2, chain).nest(4, |a| write(&mut Expressions::new(a))).bytes(7, &comment(0, text));
        });
    }

    /// A rule in front of its chain.
    fn level_rule(&mut self, chain: &str, write: impl FnOnce(&mut Expressions)) {
        self.plain_rule(chain, 0, write);
    }

    /// A rule in front of its chain, or with `NLM_F_APPEND` at its end.
    fn plain_rule(&mut self, chain: &str, flags: u16, write: impl FnOnce(&mut Expressions)) {
        self.request(Kind::NewRule, NLM_F_CREATE | flags, "socket cgroupv2 level, with an update of a set", |a| {
            a.string(2, chain).nest(4, |a| write(&mut Expressions::new(a)));
        });
    }

    /// Rules for the levels above `from` up to `to`, each in front of what is there, so that the deepest comes first.
    fn levels(&mut self, from: u8, to: u8) {
        for counter in Counter::ALL {
            let mut chain = block(counter, from.max(1));
            for level in (from..to).map(|below| below.saturating_add(1)) {
                if level == 1 || BLOCKS.contains(&level) {
                    let shallower = std::mem::replace(&mut chain, block(counter, level));
                    self.chain(&chain, "books a packet once, to its own cgroup: the deepest level that there is", None);
                    if level > 1 {
                        self.level_rule(&shallower, |e| e.leads(level, &chain));
                    }
                }
                self.level_rule(&chain, |e| {
                    e.cgroup(level).update(counter.name()).accept();
                });
            }
        }
    }

    fn direction(&mut self, d: &Direction) {
        self.chain(d.chain, d.comment, Some(d.hook));
        self.judge(d, &Redirected::default());
    }

    /// The rules of a base chain.
    fn judge(&mut self, d: &Direction, redirected: &Redirected) {
        const ARPHRD_LOOPBACK: u16 = 772;
        let what = "a rule that tells internal from external";
        if d.chain == OUTPUT.chain {
            self.not_again(d.chain);
        }
        // The type of the interface, not its name or the address: whatever comes over loopback stays on this host.
        self.rule(d.chain, what, "what comes over loopback stays on this host", |e| {
            e.meta(d.interface_type).equal(&ARPHRD_LOOPBACK.to_ne_bytes()).goto(d.internal.name());
        });
        self.redirected(d, redirected);
        let [v4, v6] = d.remote;
        // A look for a byte in a bitmap costs a fifth of a look for a range, and spares most external packets the latter.
        for (nfproto, offset, set) in [(2, v4, "near4"), (10, v6, "near6")] {
            self.rule(d.chain, what, "no internal address begins so", |e| {
                e.nfproto().equal(&[nfproto]).network_header(offset, 1).absent(set);
                e.goto(d.external.name());
            });
        }
        for (nfproto, offset, length, set) in [(2, v4, 4, "internal4"), (10, v6, 16, "internal6")] {
            self.rule(d.chain, what, "internal prefixes", |e| {
                e.nfproto().equal(&[nfproto]).network_header(offset, length).lookup(set);
                e.goto(d.internal.name());
            });
        }
        self.rule(d.chain, what, "everything else is external", |e| {
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
        let text = "a tunnel's outer packet: the one inside has been booked";
        self.rule(chain, "a look at the link-layer header", text, |e| {
            e.link_header().at_least(&[0]).accept();
        });
    }
}

/// The chain with the rules of this level.
fn block(counter: Counter, level: u8) -> String {
    match BLOCKS.iter().rfind(|first| **first <= level) {
        None => counter.name().to_owned(),
        Some(first) => format!("{}_{first}", counter.name()),
    }
}

/// All bytes of these ranges.
fn near<N: TryInto<u8>>(ranges: impl Iterator<Item = (N, N)>) -> Vec<Item<1>> {
    let bytes: BTreeSet<u8> =
        ranges.filter_map(|(a, b)| Some(a.try_into().ok()?..=b.try_into().ok()?)).flatten().collect();
    bytes.into_iter().map(|byte| Item::from([byte])).collect()
}

fn interval<const N: usize>(first: [u8; N], end: Option<[u8; N]>) -> impl Iterator<Item = Item<N>> {
    // A range up to the last address of all has no end.
    let end = end.map(|bytes| Item { bytes, interval_end: true });
    std::iter::once(Item { bytes: first, interval_end: false }).chain(end)
}

#[cfg(test)]
#[path = "ruleset_tests.rs"]
mod tests;
