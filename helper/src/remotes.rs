//! Whose remotes somebody asks for, and what was counted by remote. Pure: the time is passed in, and nothing talks to the kernel.
//!
//! Whoever asks for a cgroup holds a lease on it for ten seconds. What is counted by remote is every cgroup at or below a leased
//! path. Each of them is booked in the sets of its own owner, so nobody fills anybody else's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use netglance_dbus::{
    cgroup::nodes::{Known, Nodes},
    remote::{self, Remote},
};
use serde::{Deserialize, Serialize};

use crate::nft::{
    key::Key,
    ruleset::{Owner, Set},
};

/// Counting by remote ends so long after the last call for a cgroup.
pub const LASTS: Duration = Duration::from_secs(10);
/// Paths on which there may be a lease, of cgroups of one owner.
pub const LEASES: usize = 512;
/// Owners whose cgroups are counted by remote at a time: each costs the packets of asked cgroups a look.
const OWNERS: usize = 8;
/// Levels of one owner's cgroups that are counted by remote, the shallowest: each takes some 10 kB of the one message that changes
/// the rules of all owners, which the kernel takes up to 4 MiB of.
const LEVELS: usize = 32;
/// The rules are changed at most so often, no more than a tenth of a core goes into it, and no more than half of the time, which the
/// kernel may let pass in it: anybody may make cgroups, and nobody is served meanwhile.
const REST: Duration = Duration::from_millis(20);
const REST_FACTOR: u32 = 9;
/// It never lasts longer than this, much less than a lease.
const MOST_REST: Duration = Duration::from_secs(2);
/// What the kernel has refused is tried again after so long.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// The rows of an answer take so many bytes at most: many times what an ordinary user's do, and little of what the helper may have.
const MOST_BYTES: usize = 4 << 20;

/// More paths than one user may ask for.
#[derive(Debug, thiserror::Error)]
#[error("this user asks for the remotes of more than {LEASES} control groups; name one that is above them")]
pub struct TooMany;

/// A remote of a cgroup, as the kernel books it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Booked {
    /// Whose it is.
    pub(crate) cgroup: Key,
    /// The other side's address.
    pub(crate) address: IpAddr,
    /// Its port, or 0.
    pub(crate) port: u16,
    /// `IPPROTO_*`.
    pub(crate) protocol: u8,
}

impl Booked {
    /// From an element's key as it stands in a message of this set.
    pub(crate) fn read(set: Set, key: &[u8]) -> Option<Self> {
        let (cgroup, rest) = key.split_first_chunk::<8>()?;
        let (address, rest) = if set.is_v4 {
            let (address, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*address), rest)
        } else {
            let (address, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*address), rest)
        };
        // Each part begins at a multiple of four.
        let (protocol, rest) = rest.split_first_chunk::<4>()?;
        let port = rest.first_chunk::<2>().map_or(0, |port| u16::from_be_bytes(*port));
        Some(Self { cgroup: Key::from_bytes(*cgroup), address, port, protocol: protocol[0] })
    }
}

/// What an element was last seen to have counted, received and sent, and what it had before somebody set it back.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    bytes: [u64; 2],
    before: [u64; 2],
}

/// A cgroup that is counted by remote, or was until it was removed.
#[derive(Clone, Debug)]
struct Cgroup {
    path: Arc<str>,
    level: u8,
}

/// The cgroups of one owner.
#[derive(Debug, Default)]
struct Group {
    epoch: u64,
    cgroups: HashMap<Key, Cgroup>,
    seen: HashMap<Booked, Seen>,
    /// What else may have elements in the sets: cgroups that are not counted any more.
    lapsed: HashSet<Key>,
    /// A set was at its limit when last read.
    is_full: bool,
    /// Some of the cgroups are too deep.
    is_deep: bool,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The leased paths.
    paths: Vec<String>,
    /// The owners whose remotes are counted, with their epochs.
    epochs: Vec<(Owner, u64)>,
}

/// The cgroups to be counted by remote, by owner, with their levels.
pub type Asked = BTreeMap<Owner, BTreeMap<Key, u8>>;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Nothing,
    /// Something, but not before then.
    Later(Instant),
    /// It was found out that the rules are as they should be. [`Remotes::rest`] is owed.
    Same,
    /// The table should count these. [`Remotes::planned`] or [`Remotes::refused`] is owed.
    Change(Asked),
}

/// All of it.
#[derive(Debug, Default)]
pub struct Remotes {
    /// Until when, and whose the path is.
    leases: BTreeMap<String, (Instant, Owner)>,
    groups: BTreeMap<Owner, Group>,
    /// What the table's rules count.
    standing: Asked,
    /// The table's rules may be others than they should be …
    is_stale: bool,
    /// … or are not known.
    is_unknown: bool,
    /// They are not changed again before.
    next: Option<Instant>,
    /// Owners for whom there was no room.
    left_out: BTreeSet<Owner>,
    last_epoch: u64,
}

impl Remotes {
    /// Goes on where an earlier process was: in sets of these owners.
    pub fn recall(saved: &Saved, standing: &BTreeSet<Owner>, owner: impl Fn(&str) -> Owner, now: Instant) -> Self {
        let leases = saved.paths.iter().map(|path| (path.clone(), (now + LASTS, owner(path)))).collect();
        let kept = saved.epochs.iter().filter(|(owner, _)| standing.contains(owner));
        let groups = kept.map(|(owner, epoch)| (*owner, Group { epoch: *epoch, ..Group::default() })).collect();
        Self { leases, groups, is_stale: true, is_unknown: true, ..Self::default() }
    }

    /// What is to be kept for the next process.
    pub fn saved(&self) -> Saved {
        Saved {
            paths: self.leases.keys().cloned().collect(),
            epochs: self.groups.iter().map(|(owner, group)| (*owner, group.epoch)).collect(),
        }
    }

    /// Somebody asks for what is at and below this path, which is `owner`'s. `exists`: there is such a cgroup; a lease begins only
    /// then, and goes on without.
    pub fn ask(&mut self, path: &str, owner: Owner, exists: bool, now: Instant) -> Result<(), TooMany> {
        if let Some(lease) = self.leases.get_mut(path) {
            *lease = (now + LASTS, owner);
        } else if exists {
            if self.leases.values().filter(|(_, whose)| *whose == owner).count() >= LEASES {
                return Err(TooMany);
            }
            self.leases.insert(path.to_owned(), (now + LASTS, owner));
            self.is_stale = true;
        }
        Ok(())
    }

    /// Cgroups were made, or are somebody else's.
    pub fn tree_changed(&mut self) {
        self.is_stale |= !self.leases.is_empty();
    }

    /// Rules of the table were written anew, without those that lead to ours.
    pub fn table_changed(&mut self) {
        self.is_unknown |= !self.standing.is_empty();
        self.is_stale |= self.is_unknown;
    }

    /// When there is something to do: [`Self::plan`].
    pub fn due(&self) -> Option<Instant> {
        let ends = self.leases.values().map(|(until, _)| *until).min();
        if self.is_stale { Some(self.next.unwrap_or_else(Instant::now)) } else { ends }
    }

    /// What should be done by now.
    pub fn plan(&mut self, nodes: &Nodes, levels: u8, epoch: u64, now: Instant) -> Plan {
        let before = self.leases.len();
        self.leases.retain(|_, (until, _)| *until > now);
        self.is_stale |= self.leases.len() != before;
        if !self.is_stale {
            return Plan::Nothing;
        }
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Plan::Later(next);
        }
        self.find(nodes, levels, epoch);
        let of = |group: &Group| group.cgroups.iter().map(|(key, cgroup)| (*key, cgroup.level)).collect();
        let asked: Asked = self.groups.iter().map(|(owner, group)| (*owner, of(group))).collect();
        if self.is_unknown || asked != self.standing {
            return Plan::Change(asked);
        }
        self.is_stale = false;
        Plan::Same
    }

    /// The table's rules are as planned.
    pub fn planned(&mut self, asked: Asked) {
        self.standing = asked;
        (self.is_stale, self.is_unknown) = (false, false);
    }

    /// The kernel has refused, by `now`: it is tried again after a rest.
    pub fn refused(&mut self, now: Instant) {
        self.is_unknown = true;
        self.next = Some(now + AFTER_REFUSAL);
    }

    /// It took so long, and of that so much of a core, until `now`.
    pub fn rest(&mut self, took: Duration, cpu: Duration, now: Instant) {
        self.next = Some(now + REST.max(took).max(cpu * REST_FACTOR).min(MOST_REST));
    }

    /// Finds the cgroups that are to be counted: those that exist, and those that have gone and have counted something.
    fn find(&mut self, nodes: &Nodes, levels: u8, epoch: u64) {
        let mut live = live_below(nodes, self.leases.keys());
        let mut known = Known::new();
        let mut found: BTreeMap<Owner, HashMap<Key, Cgroup>> = BTreeMap::new();
        live.retain(|id| nodes.level(*id).is_some_and(|level| level > 0 && level <= levels));
        for id in live {
            let (Some(path), Some(level)) = (nodes.path(id), nodes.level(id)) else { continue };
            let cgroup = Cgroup { path: path.into(), level };
            found.entry(nodes.owner(id, &mut known)).or_default().insert(Key::of(id), cgroup);
        }
        let live: HashSet<Key> = found.values().flat_map(|cgroups| cgroups.keys().copied()).collect();
        let leases = &self.leases;
        for (owner, group) in &mut self.groups {
            let counted: HashSet<Key> = group.seen.keys().map(|booked| booked.cgroup).collect();
            let of_owner = found.entry(*owner).or_default();
            for (key, cgroup) in group.cgroups.iter().filter(|(key, _)| !of_owner.contains_key(key)) {
                // It lives: it is somebody else's now.
                if live.contains(key) || !covers(&cgroup.path, |above| leases.contains_key(above)) {
                    group.lapsed.insert(*key);
                }
            }
            let gone = group.cgroups.iter().filter(|(key, _)| counted.contains(key) && !group.lapsed.contains(key));
            for (key, cgroup) in gone {
                of_owner.entry(*key).or_insert_with(|| cgroup.clone());
            }
            group.lapsed.retain(|key| !of_owner.contains_key(key));
        }
        // An app that is being restarted has no cgroup for a moment.
        let leased: BTreeSet<Owner> = self.leases.values().map(|(_, owner)| *owner).collect();
        self.groups.retain(|owner, _| leased.contains(owner) || found.get(owner).is_some_and(|of| !of.is_empty()));
        found.retain(|owner, cgroups| !cgroups.is_empty() || self.groups.contains_key(owner));
        self.left_out.clear();
        // Those who ask themselves come before those whom root asks about.
        let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(owner, _)| leased.contains(owner));
        for (owner, mut cgroups) in own.into_iter().chain(others) {
            let levels: BTreeSet<u8> = cgroups.values().map(|cgroup| cgroup.level).collect();
            let too_deep = levels.into_iter().nth(LEVELS);
            let mut left_out = HashSet::new();
            cgroups.retain(|key, cgroup| {
                let stays = too_deep.is_none_or(|too_deep| cgroup.level < too_deep);
                stays || !left_out.insert(*key)
            });
            if !self.groups.contains_key(&owner) {
                if self.groups.len() >= OWNERS {
                    let spare = self.groups.keys().find(|spare| !leased.contains(spare)).copied();
                    let Some(spare) = spare.filter(|_| leased.contains(&owner)) else {
                        self.left_out.insert(owner);
                        continue;
                    };
                    self.groups.remove(&spare);
                }
                self.last_epoch = epoch.max(self.last_epoch.saturating_add(1));
                self.groups.insert(owner, Group { epoch: self.last_epoch, ..Group::default() });
            }
            if let Some(group) = self.groups.get_mut(&owner) {
                group.lapsed.extend(left_out.into_iter().filter(|key| group.cgroups.contains_key(key)));
                group.cgroups = cgroups;
                group.is_deep = too_deep.is_some();
            }
        }
    }

    /// Whether all of these cgroups are counted.
    pub fn counts(&self, mut cgroups: impl Iterator<Item = Key>) -> bool {
        cgroups.all(|key| self.standing.values().any(|of| of.contains_key(&key)))
    }

    fn covers(&self, path: &str) -> bool {
        covers(path, |above| self.leases.contains_key(above))
    }

    /// Whose remotes are counted.
    pub fn owners(&self) -> Vec<Owner> {
        self.groups.keys().copied().collect()
    }

    /// Takes in an element of a set. The cgroup's key, if it is not known.
    pub fn take_in(&mut self, set: Set, key: &[u8], bytes: u64) -> Option<Key> {
        let booked = Booked::read(set, key)?;
        let group = self.groups.get_mut(&set.owner)?;
        let seen = group.seen.entry(booked).or_default();
        let direction = usize::from(set.is_sent);
        let last = std::mem::replace(&mut seen.bytes[direction], bytes);
        if bytes < last {
            // Whoever may read counters may set them back.
            seen.before[direction] = seen.before[direction].saturating_add(last);
        }
        (!group.cgroups.contains_key(&booked.cgroup)).then_some(booked.cgroup)
    }

    /// A set was read to its end and has so many elements.
    pub fn has_read(&mut self, set: Set, elements: usize) {
        if let Some(group) = self.groups.get_mut(&set.owner) {
            group.is_full |= elements >= usize::try_from(set.size()).unwrap_or(usize::MAX);
        }
    }

    /// A removed cgroup that an earlier process knew.
    pub fn remember(&mut self, owner: Owner, key: Key, path: String) {
        if self.covers(&path)
            && let Some(group) = self.groups.get_mut(&owner)
        {
            let level = u8::try_from(path.matches('/').count()).unwrap_or(u8::MAX);
            group.cgroups.insert(key, Cgroup { path: path.into(), level });
            self.is_stale = true; // it may have a socket yet
        }
    }

    /// The cgroups that have counted something by remote and are not asked for any more, of owners who ask for others.
    pub fn ended(&self) -> BTreeMap<Owner, HashSet<Key>> {
        let ended = |group: &Group| {
            let keys = group.seen.keys().map(|booked| booked.cgroup).chain(group.lapsed.iter().copied());
            keys.filter(|key| !group.cgroups.contains_key(key)).collect::<HashSet<_>>()
        };
        let ended = self.groups.iter().map(|(owner, group)| (*owner, ended(group)));
        ended.filter(|(_, keys)| !keys.is_empty()).collect()
    }

    /// Their elements were deleted.
    pub fn forget(&mut self, owner: Owner, cgroups: &HashSet<Key>) {
        if let Some(group) = self.groups.get_mut(&owner) {
            group.seen.retain(|booked, _| !cgroups.contains(&booked.cgroup));
            group.lapsed.retain(|key| !cgroups.contains(key));
            group.is_full = false;
        }
    }

    /// The rows of what is at or below `paths`, as of the latest look: of the cgroups of one user, or of all (`None`).
    pub fn rows(&self, user: Option<u32>, paths: &[&str], boottime_ns: u64) -> remote::Remotes {
        let asked: HashSet<&str> = paths.iter().copied().collect();
        let mut remotes = remote::Remotes { boottime_ns, is_complete: true, ..remote::Remotes::default() };
        let mut rows: HashMap<(&Arc<str>, IpAddr, u16, u8), [u64; 2]> = HashMap::new();
        let is_told = |owner: &Owner| user.is_none() || *owner == user;
        for group in self.groups.iter().filter(|(owner, _)| is_told(owner)).map(|(_, group)| group) {
            let is_asked = |cgroup: &&Cgroup| covers(&cgroup.path, |above| asked.contains(above));
            let cgroups: HashMap<_, _> =
                group.cgroups.iter().filter(|(_, cgroup)| is_asked(cgroup)).map(|(key, c)| (*key, &c.path)).collect();
            remotes.epoch = remotes.epoch.max(group.epoch);
            remotes.is_complete &= !group.is_full && !group.is_deep;
            for (booked, seen) in &group.seen {
                // One path may have had several cgroups, one after the other.
                let Some(path) = cgroups.get(&booked.cgroup) else { continue };
                let sum = rows.entry((path, booked.address, booked.port, booked.protocol)).or_default();
                for ((sum, bytes), before) in sum.iter_mut().zip(seen.bytes).zip(seen.before) {
                    *sum = sum.saturating_add(bytes).saturating_add(before);
                }
            }
        }
        remotes.is_complete &= !self.left_out.iter().any(is_told);
        let mut rows: Vec<_> = rows.into_iter().collect();
        remotes.is_complete &=
            !leave_out_smallest(&mut rows, |((path, ..), _)| row_bytes(path), |(_, [rx, tx])| rx.saturating_add(*tx));
        let row = |((path, address, port, protocol), [rx_bytes, tx_bytes]): ((&Arc<str>, _, _, _), [u64; 2])| Remote {
            cgroup: path.to_string(),
            address,
            port,
            protocol,
            rx_bytes,
            tx_bytes,
        };
        remotes.rows = rows.into_iter().map(row).collect();
        remotes
    }
}

/// What a row takes on the bus at most.
fn row_bytes(path: &str) -> usize {
    // It begins at a multiple of 8: path and address with their lengths, port, protocol, and two numbers.
    (4 + path.len() + 1).next_multiple_of(4) + 4 + 16 + 8 + 8 + 16
}

/// Keeps of rows that take too many bytes those that have moved the most. Whether any was left out.
fn leave_out_smallest<T>(rows: &mut Vec<T>, bytes: impl Fn(&T) -> usize, moved: impl Fn(&T) -> u64) -> bool {
    if rows.iter().map(&bytes).sum::<usize>() <= MOST_BYTES {
        return false;
    }
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(moved(row)));
    let mut left = MOST_BYTES;
    let fits = rows.iter().take_while(|row| {
        let fits = left.checked_sub(bytes(row));
        left = fits.unwrap_or_default();
        fits.is_some()
    });
    let fits = fits.count();
    rows.truncate(fits);
    true
}

/// Whether a path, or one above it, is one of them.
pub(crate) fn covers(path: &str, is_one: impl Fn(&str) -> bool) -> bool {
    let above = path.match_indices('/').skip(1).filter_map(|(at, _)| path.get(..at));
    is_one(path) || is_one("/") || above.into_iter().any(is_one)
}

/// The cgroups that exist at and below these paths.
fn live_below<'a>(nodes: &Nodes, paths: impl Iterator<Item = &'a String>) -> Vec<u64> {
    let tops: HashSet<u64> = paths.filter_map(|path| nodes.at(path)).collect();
    if tops.is_empty() {
        return Vec::new();
    }
    let mut known: HashMap<u64, bool> = tops.iter().map(|id| (*id, true)).collect();
    known.entry(nodes.root()).or_insert(false);
    let mut chain = Vec::new();
    for (id, ..) in nodes.all().filter(|(.., is_live)| *is_live) {
        let mut at = id;
        let below = loop {
            if let Some(below) = known.get(&at) {
                break *below;
            }
            chain.push(at);
            match nodes.named(at) {
                Some((parent, _)) if parent != at => at = parent,
                _ => break false,
            }
        };
        known.extend(chain.drain(..).map(|id| (id, below)));
    }
    let is_live = |id: &u64| nodes.is_live(*id);
    known.into_iter().filter(|(_, below)| *below).map(|(id, _)| id).filter(is_live).collect()
}

#[cfg(test)]
#[path = "remotes_tests.rs"]
mod tests;
