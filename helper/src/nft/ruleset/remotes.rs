//! The rules that count by remote, and stand only while somebody asks for that. Pure.
//!
//! With one user's cgroups at level 6 asked for, the table has besides (what is sent; what is received likewise):
//!
//! ```text
//! set with_ports { type inet_proto; elements = { tcp, udp, … } }
//! set asked_1000 { type mark . mark; size …; flags dynamic; elements = { … } }                   # see `in_full`
//! set tx4_1000 { type mark . mark . ipv4_addr . inet_proto . inet_service; size 4096; flags dynamic; counter }
//! set tx6_1000 { … ipv6_addr … }
//! set tx4_1000_portless { type mark . mark . ipv4_addr . inet_proto; … }          set tx6_1000_portless { … }
//! chain tx_external {
//!     …
//!     add @asked_1000 { KEY 6 } update @tx_external { KEY 6 } goto remotes_tx_6_1000    # in front of the rule that is there
//!     update @tx_external { KEY 6 } accept
//!     …
//! }
//! chain remotes_tx_6_1000 {
//!     meta nfproto ipv4 meta l4proto @with_ports
//!         update @tx4_1000 { KEY 6 . ip daddr . meta l4proto . th dport } accept
//!     …                                                                                # ip6, and both without ports
//! }
//! ```
//!
//! Where packets may be translated (see `redirected.rs`), the answers to what is sent go by the address and port that they really
//! come from, as what is sent goes by those where it is bound for:
//!
//! ```text
//! chain remotes_rx_6_1000 {
//!     meta l4proto tcp ct status snat,dnat ct direction reply goto remotes_rx_6_1000_translated               # and udp
//!     …
//! }
//! chain remotes_rx_6_1000_translated {
//!     meta nfproto ipv4 meta l4proto tcp update @rx4_1000 { KEY 6 . ct reply ip saddr . meta l4proto . ct reply proto-src } accept
//!     …
//! }
//! ```
//!
//! So what is booked by remote is what the counter of the same cgroup has just booked, and never more. What finds no room in a
//! set falls through to the policy, accept; what belongs to a cgroup that is not asked for goes on to the rule that is there. No
//! rule or chain that is there anyway is changed, so that the table is afterwards what it was. Each user has sets of their own,
//! which nobody else can fill.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP};

use super::{
    BLOCKS, Batch, Builder, Counter, Direction, Expressions, INPUT, Item, Key, Kind, OUTPUT, Request, Rule, block,
    is_level, redirected::IPS_NAT_MASK,
};
use crate::nft::{expression::byte_order, expression::comment};

/// What one of these sets holds at most …
pub const MOST_REMOTES: u32 = 4096;
/// … and one for protocols without ports.
pub const MOST_PORTLESS: u32 = 256;
/// The set of protocols that have ports, at the same place of their headers: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: &str = "with_ports";
const PROTOCOLS: [u8; 5] = [6, 17, 33, 132, 136];
/// How the chains' names begin.
const CHAINS: &str = "remotes_";
/// How the names of the sets of asked cgroups begin.
const ASKED: &str = "asked_";

/// How the name of the other set of an owner's asked cgroups ends. See [`prepare_remotes`].
const OTHER: &str = "_2";

/// Whose cgroups they are: `None` root's.
pub type Owner = Option<u32>;

/// One of a user's sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set {
    /// Whose remotes.
    pub owner: Owner,
    /// What is sent to them, or received from them.
    pub is_sent: bool,
    /// Whether the addresses are IPv4's.
    pub is_v4: bool,
    /// Whether the protocols have ports.
    pub has_ports: bool,
}

impl Set {
    /// All of a user's.
    pub fn all(owner: Owner) -> impl Iterator<Item = Self> {
        let all = [false, true].into_iter().flat_map(|is_sent| [true, false].map(|is_v4| (is_sent, is_v4)));
        let all = all.flat_map(|(is_sent, is_v4)| [true, false].map(|has_ports| (is_sent, is_v4, has_ports)));
        all.map(move |(is_sent, is_v4, has_ports)| Self { owner, is_sent, is_v4, has_ports })
    }

    /// Its name.
    pub fn name(self) -> String {
        let direction = if self.is_sent { "tx" } else { "rx" };
        let family = if self.is_v4 { 4 } else { 6 };
        let portless = if self.has_ports { "" } else { "_portless" };
        format!("{direction}{family}_{}{portless}", owner_name(self.owner))
    }

    /// What it holds at most.
    pub fn size(self) -> u32 {
        if self.has_ports { MOST_REMOTES } else { MOST_PORTLESS }
    }

    /// Whose set has this name.
    fn owner_of(name: &str) -> Option<Owner> {
        let rest = ["tx4_", "tx6_", "rx4_", "rx6_", ASKED].iter().find_map(|start| name.strip_prefix(start))?;
        match rest.strip_suffix("_portless").or(rest.strip_suffix(OTHER)).unwrap_or(rest) {
            "root" => Some(None),
            uid => uid.parse().ok().map(Some),
        }
    }

    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    const fn nfproto(self) -> u8 {
        if self.is_v4 { 2 } else { 10 }
    }

    const fn address_bytes(self) -> u32 {
        if self.is_v4 { 4 } else { 16 }
    }
}

fn owner_name(owner: Owner) -> String {
    owner.map_or_else(|| "root".to_owned(), |uid| uid.to_string())
}

/// Whether rules in a chain of this name count by remote.
pub fn is_by_remote(chain: &str) -> bool {
    chain.starts_with(CHAINS)
}

/// What stands in the table now: to be read before it is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// All rules.
    pub rules: Vec<Rule>,
    /// The names of all chains.
    pub chains: Vec<String>,
    /// The names of all sets.
    pub sets: Vec<String>,
}

impl Standing {
    /// Whose remotes are counted.
    pub fn owners(&self) -> BTreeSet<Owner> {
        self.sets.iter().filter_map(|name| Set::owner_of(name)).collect()
    }

    /// The set of asked cgroups that an owner's rules do not look into now: the next ones' are to.
    fn next_asked(&self, owner: Owner) -> String {
        let name = format!("{ASKED}{}", owner_name(owner));
        let is_in_use = self.rules.iter().any(|rule| rule.mentions(&format!("{name}\0")));
        if is_in_use { name + OTHER } else { name }
    }

    /// The rules that lead from the levels to the chains.
    fn leading(&self) -> impl Iterator<Item = &Rule> {
        let leads = |rule: &&Rule| {
            rule.is_noted
                && Counter::ALL.into_iter().any(|counter| is_level(counter, &rule.chain))
                && rule.mentions(CHAINS)
        };
        self.rules.iter().filter(leads)
    }

    /// The rule that books this counter at a level.
    fn level(&self, counter: Counter, level: u8) -> Option<&Rule> {
        let chain = block(counter, level);
        let base = BLOCKS.iter().rfind(|first| **first <= level).copied().unwrap_or(1);
        let rules: Vec<_> = self.rules.iter().filter(|rule| rule.chain == chain && !rule.is_noted).collect();
        // The deepest comes first.
        rules.into_iter().rev().nth(usize::from(level.checked_sub(base)?))
    }
}

/// Makes the sets that [`count_by_remote`] needs, in a transaction of their own before.
///
/// A rule adds a cgroup's key to the full set of those that are asked for, which succeeds only where it is in it. The kernel
/// looks for it among the elements of no transaction that is being carried out (`NFT_GENMASK_ANY` in `nft_rhash_update`), and new
/// rules apply a moment before the elements of the same transaction count as there. Packets of that moment would be booked by
/// the counter alone. So each owner has two such sets in turn.
pub fn prepare_remotes(table: &str, standing: &Standing, asked: &BTreeMap<Owner, BTreeMap<Key, u8>>) -> Batch {
    let mut b = Builder::new(table);
    let (owners, mut ids) = (standing.owners(), 100..);
    let stands = |name: &str| standing.sets.iter().any(|set| set == name);
    if !asked.is_empty() && !stands(WITH_PORTS) {
        b.protocols(ids.next().unwrap_or_default());
    }
    for (owner, cgroups) in asked {
        if !owners.contains(owner) {
            Set::all(*owner).for_each(|set| b.remote_set(set, ids.next().unwrap_or_default()));
        }
        let name = standing.next_asked(*owner);
        if stands(&name) {
            b.delete_set(&name);
        }
        b.asked_set(&name, cgroups.keys().copied(), ids.next().unwrap_or_default());
    }
    b.batch
}

/// Makes the table count these cgroups by remote, by owner and with their levels, and nothing else. What sets have counted
/// stays as long as their owner is named. `translated`: see [`super::Redirected::translated`]. Comes after [`prepare_remotes`];
/// `standing` is what stood before that.
pub fn count_by_remote(
    table: &str,
    standing: &Standing,
    asked: &BTreeMap<Owner, BTreeMap<Key, u8>>,
    translated: bool,
) -> Batch {
    let mut b = Builder::new(table);
    let what = "counting by remote";
    for rule in standing.leading() {
        b.request(Kind::DelRule, 0, what, |a| {
            a.string(2, &rule.chain).u64(3, rule.handle);
        });
    }
    let chains: Vec<_> = standing.chains.iter().filter(|name| is_by_remote(name)).collect();
    for chain in &chains {
        b.request(Kind::DelRule, 0, what, |a| {
            a.string(2, chain);
        });
    }
    for chain in chains {
        b.request(Kind::DelChain, 0, what, |a| {
            a.string(3, chain);
        });
    }
    let is_needless = |name: &str| match Set::owner_of(name) {
        Some(owner) if asked.contains_key(&owner) => name.starts_with(ASKED) && name != standing.next_asked(owner),
        Some(_) => true,
        None => name == WITH_PORTS && asked.is_empty(),
    };
    standing.sets.iter().filter(|name| is_needless(name)).for_each(|set| b.delete_set(set));
    for (direction, counters) in
        [(&OUTPUT, [Counter::TxExternal, Counter::TxInternal]), (&INPUT, [Counter::RxExternal, Counter::RxInternal])]
    {
        for (owner, cgroups) in asked {
            let levels: BTreeSet<u8> = cgroups.values().copied().collect();
            let asked_set = standing.next_asked(*owner);
            let sets: Vec<_> = Set::all(*owner).filter(|set| set.is_sent == direction.is_sent()).collect();
            for level in levels {
                let way = if direction.is_sent() { "tx" } else { "rx" };
                let chain = format!("{CHAINS}{way}_{level}_{}", owner_name(*owner));
                b.chain(&chain, "books a packet by its remote too, while somebody asks for that", None);
                if translated && !direction.is_sent() {
                    b.translated_remotes(&chain, level, &sets);
                }
                sets.iter().for_each(|set| b.remote_rule(&chain, direction, level, *set));
                for counter in counters {
                    b.leading_rule(standing, counter, level, &asked_set, &chain);
                }
            }
        }
    }
    b.batch
}

/// Deletes elements that are there: keys as they stand in messages.
pub fn delete_remotes(table: &str, set: Set, keys: &[Vec<u8>]) -> Batch {
    let mut b = Builder::new(table);
    let (kind, name, what) = (Kind::DelSetElem, set.name(), "deleting counters of remotes");
    fn items<const N: usize>(keys: &[Vec<u8>]) -> impl Iterator<Item = Item<N>> {
        keys.iter().filter_map(|key| Some(Item::from(<[u8; N]>::try_from(key.as_slice()).ok()?)))
    }
    match (set.is_v4, set.has_ports) {
        (true, true) => b.elements(kind, 0, &name, what, items::<20>(keys)),
        (true, false) => b.elements(kind, 0, &name, what, items::<16>(keys)),
        (false, true) => b.elements(kind, 0, &name, what, items::<32>(keys)),
        (false, false) => b.elements(kind, 0, &name, what, items::<28>(keys)),
    }
    b.batch
}

/// Asks for all chains of all tables of the family.
pub fn dump_chains() -> Request {
    Request::new(Kind::GetChain, NLM_F_DUMP, "reading the chains", |_| {})
}

/// Asks for all sets of the table.
pub fn dump_sets(table: &str) -> Request {
    Request::new(Kind::GetSet, NLM_F_DUMP, "reading the sets", |a| {
        a.string(1, table);
    })
}

impl Direction {
    fn is_sent(&self) -> bool {
        self.chain == OUTPUT.chain
    }
}

impl Builder<'_> {
    fn protocols(&mut self, id: u32) {
        const INET_PROTO: u32 = 12;
        self.request(Kind::NewSet, NLM_F_CREATE, "a set of protocols", |a| {
            a.string(2, WITH_PORTS).u32(3, 0).u32(4, INET_PROTO).u32(5, 1).u32(10, id);
            a.bytes(13, &[byte_order(2).as_slice(), &comment(7, "protocols that have ports")].concat());
        });
        let protocols = PROTOCOLS.map(|protocol| Item::from([protocol]));
        self.elements(Kind::NewSetElem, NLM_F_CREATE, WITH_PORTS, "a set of protocols", protocols);
    }

    fn remote_set(&mut self, set: Set, id: u32) {
        const NFT_SET_EVAL: u32 = 0x20;
        // nft's numbers of the types: mark, ipv4_addr, ipv6_addr, inet_proto, inet_service. A concatenation has six bits for each.
        let address = if set.is_v4 { 7 } else { 8 };
        let types = [19, 19, address, 12].into_iter().chain(set.has_ports.then_some(13));
        let key_type = types.fold(0, |all, kind| all << 6 | kind);
        let key_bytes = 8 + set.address_bytes() + 4 + if set.has_ports { 4 } else { 0 };
        let text = if set.is_sent { "sent, by cgroup and remote" } else { "received, by cgroup and remote" };
        self.request(Kind::NewSet, NLM_F_CREATE, "a dynamic set with counters, keyed by cgroup and remote", |a| {
            a.string(2, &set.name()).u32(3, NFT_SET_EVAL).u32(4, key_type).u32(5, key_bytes);
            a.nest(9, |a| {
                a.u32(1, set.size());
            });
            a.u32(10, id).bytes(13, &[byte_order(1).as_slice(), &comment(7, text)].concat());
            a.nest(17, |a| {
                a.string(1, "counter");
            });
        });
    }

    fn delete_set(&mut self, name: &str) {
        self.request(Kind::DelSet, 0, "deleting a set", |a| {
            a.string(2, name);
        });
    }

    fn asked_set(&mut self, name: &str, keys: impl ExactSizeIterator<Item = Key>, id: u32) {
        let size = u32::try_from(keys.len()).unwrap_or(u32::MAX).max(1);
        self.key_set(name, id, size, "cgroups that somebody asks for: two hashes of their ids", |_| {});
        // One that nobody has fills a set for which there is no cgroup now.
        let nobody = (keys.len() == 0).then_some(Key::NOBODY);
        self.elements(Kind::NewSetElem, NLM_F_CREATE, name, "the cgroups that are asked for", keys.chain(nobody));
    }

    /// The rules for what is received and translated, in a chain of their own. They are for the protocols by which a packet's socket
    /// is found when it is received, one by one: nft knows what a connection's port is only behind a look at the protocol.
    fn translated_remotes(&mut self, chain: &str, level: u8, sets: &[Set]) {
        const REPLY: u8 = 1;
        let own = format!("{chain}_translated");
        self.chain(&own, "what network address translation has given another source", None);
        for protocol in [6, 17] {
            let text = "translated: the header does not say where it comes from";
            self.rule(chain, "a rule for translated packets", text, |e| {
                e.l4proto().equal(&[protocol]).ct_status().any_bit(IPS_NAT_MASK);
                e.ct_direction().equal(&[REPLY]).goto(&own);
            });
            for set in sets.iter().filter(|set| set.has_ports) {
                self.plain_rule(&own, NLM_F_APPEND, |e| {
                    e.nfproto().equal(&[set.nfproto()]).l4proto().equal(&[protocol]);
                    e.cgroup(level).ct_remote(REPLY, set.is_v4).update(&set.name()).accept();
                });
            }
        }
    }

    fn remote_rule(&mut self, chain: &str, direction: &Direction, level: u8, set: Set) {
        let [v4, v6] = direction.remote;
        let address = if set.is_v4 { v4 } else { v6 };
        // The port of the other side: source and destination port are the first four bytes of these protocols' headers.
        let port = set.has_ports.then_some(if direction.is_sent() { 2 } else { 0 });
        let what = "socket cgroupv2 level, with an update of a set keyed by cgroup and remote";
        self.request(Kind::NewRule, NLM_F_CREATE | NLM_F_APPEND, what, |a| {
            a.string(2, chain).nest(4, |a| {
                let mut e = Expressions::new(a);
                e.nfproto().equal(&[set.nfproto()]).l4proto();
                if set.has_ports {
                    e.lookup(WITH_PORTS)
                } else {
                    e.absent(WITH_PORTS)
                };
                e.cgroup(level).remote(address, set.address_bytes(), port);
                e.update(&set.name()).accept();
            });
        });
    }

    /// A rule in front of the one that books this counter at the level: does the same for cgroups that are asked for, and goes on
    /// to the chain.
    fn leading_rule(&mut self, standing: &Standing, counter: Counter, level: u8, asked: &str, to: &str) {
        let Some(rule) = standing.level(counter, level) else { return };
        self.request(Kind::NewRule, NLM_F_CREATE, "a rule in front of a level's", |a| {
            a.string(2, &rule.chain).nest(4, |a| {
                Expressions::new(a).cgroup(level).in_full(asked).update(counter.name()).goto(to);
            });
            a.u64(6, rule.handle).bytes(7, &comment(0, "somebody asks for remotes"));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sets_name_says_whose_it_is() {
        for owner in [None, Some(0), Some(1000), Some(u32::MAX)] {
            let names: BTreeSet<_> = Set::all(owner).map(Set::name).collect();
            assert_eq!(names.len(), 8);
            let asked = format!("{ASKED}{}", owner_name(owner));
            for name in names.into_iter().chain([asked.clone(), asked + OTHER]) {
                assert_eq!(Set::owner_of(&name), Some(owner), "{name}");
            }
        }
        for other in ["tx_external", "opaque", "near4", "internal6", WITH_PORTS, "tx4_x", "tx4_"] {
            assert_eq!(Set::owner_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_rule_of_a_level_is_found_in_its_block() {
        let rule =
            |chain: &str, handle, is_noted| Rule { chain: chain.to_owned(), handle, is_noted, ..Rule::default() };
        // As the kernel lists them: a whole cgroup's, what leads to the next block, levels 8 to 1.
        let first = (2..=9).map(|handle| rule("tx_external", handle, false));
        let rules = [rule("tx_external", 100, true), rule("tx_external", 1, false)].into_iter().chain(first);
        let next = (20..=22).map(|handle| rule("tx_external_9", handle, false));
        let standing = Standing { rules: rules.chain(next).collect(), ..Standing::default() };
        for (level, handle) in [(1, 9), (8, 2), (9, 22), (11, 20)] {
            assert_eq!(standing.level(Counter::TxExternal, level).map(|rule| rule.handle), Some(handle), "{level}");
        }
        assert_eq!(standing.level(Counter::TxExternal, 12), None);
        assert_eq!(standing.level(Counter::RxExternal, 1), None);
    }
}
