//! What the cgroups of one account may cost, and what happens to an account that exceeds that. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ACCOUNT_LEVEL, Met, Nameless, Nodes};

/// Cgroups that one account may have.
pub const LIVE_AN_ACCOUNT: usize = 16_384;
/// Cgroups in all. If there are more, the largest account is crowded.
pub(super) const LIVE_IN_ALL: usize = 24_576;
/// Bytes of all paths of one account, which limits the size of its rows.
pub(super) const PATH_BYTES_AN_ACCOUNT: usize = 2 << 20;
/// The same in all.
pub(super) const PATH_BYTES_IN_ALL: usize = 8 << 20;
/// Cgroups that one account may make at once …
pub(super) const MADE_AT_ONCE: u32 = 16_384;
/// … and how often it may make one in the long run. Following one costs some 25 µs, removal included.
pub(super) const MADE_EVERY: Duration = Duration::from_millis(2);
/// An unreadable cgroup costs as much as making so many, because the kernel's rules are written anew.
pub(super) const CLOSED_COSTS: u32 = 16;
/// If the kernel gives no more watches, an account with so many cgroups is crowded. If no account has, all can be read each time.
pub(super) const WATCHED_AN_ACCOUNT: usize = 1024;
/// Unreadable cgroups that one account may have.
pub(super) const CLOSED_AN_ACCOUNT: usize = 256;
/// Levels below its top at which one account may have unreadable cgroups, and all accounts together: each level costs every
/// packet a look-up.
pub(super) const CLOSED_LEVELS: [usize; 2] = [2, 4];
/// The shortest time for which an account stays crowded.
pub(super) const CROWDED_FOR: Duration = Duration::from_secs(60);

/// Why an account is crowded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Many,
    Paths,
    Churn,
    Closed,
    Watches,
}

#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) live: usize,
    pub(super) path_bytes: usize,
    pub(super) closed: usize,
    /// Each new cgroup moves this on by [`MADE_EVERY`], whether it could be looked at or was gone. It may be [`MADE_AT_ONCE`]
    /// times that ahead of now.
    pub(super) paid_until: Option<Instant>,
    pub(super) crowded: Option<(Why, Instant)>,
    /// Oldest first.
    pub(super) dead: VecDeque<u64>,
    pub(super) nameless: VecDeque<Nameless>,
}

impl Nodes {
    /// Whether one more fits; its account is crowded if not. (What root has made at the first levels always does.)
    pub(super) fn has_room(&mut self, account_id: u64, path_bytes: usize, met: Met, now: Instant) -> bool {
        if met != Met::Scanned && !self.charge(account_id, 1, now) {
            return false;
        }
        let account = self.accounts.entry(account_id).or_default();
        let why = if account.live >= LIVE_AN_ACCOUNT {
            Why::Many
        } else if account.path_bytes.saturating_add(path_bytes) > PATH_BYTES_AN_ACCOUNT {
            Why::Paths
        } else {
            return true;
        };
        self.crowd(account_id, why, now);
        false
    }

    /// Something happened in an account that takes as much time to follow as so many new cgroups. Whether that is still
    /// allowed; if not, the account is crowded.
    pub(super) fn charge(&mut self, account_id: u64, times: u32, now: Instant) -> bool {
        if account_id == self.root {
            return true;
        }
        let account = self.accounts.entry(account_id).or_default();
        account.paid_until = account.paid_until.max(Some(now)).and_then(|until| until.checked_add(MADE_EVERY * times));
        let ahead = account.paid_until.map(|until| until.saturating_duration_since(now)).unwrap_or_default();
        let may = ahead <= MADE_EVERY * MADE_AT_ONCE;
        if !may {
            self.crowd(account_id, Why::Churn, now);
        }
        may
    }

    /// The kernel gives no more watches, so the account with the most loses all of its watches. Whether any account had many.
    pub fn spare_watches(&mut self, now: Instant) -> bool {
        let many = |_, account: &Account| if account.live > WATCHED_AN_ACCOUNT { account.live } else { 0 };
        self.crowd_the_largest(many, Why::Watches, now)
    }

    /// More happened in an account than the kernel's queue can hold.
    pub fn overrun(&mut self, account: u64, now: Instant) {
        self.crowd(account, Why::Churn, now);
    }

    /// Stops following what is below an account's top, and forgets it.
    pub(super) fn crowd(&mut self, account_id: u64, why: Why, now: Instant) {
        let Some(account) = self.accounts.get_mut(&account_id).filter(|account| account.crowded.is_none()) else {
            return;
        };
        account.crowded = Some((why, now));
        account.nameless.clear();
        // What was made and gone until now, and has no name any more, is the account's.
        if let Some(top) = self.by_id.get(&account_id) {
            account.nameless.push_back(Nameless { parent: top.parent, name: Arc::clone(&top.name), before: None });
            self.unnamed.insert(account_id);
        }
        self.ended.push(account_id);
        let mut below: Vec<_> = self
            .by_id
            .iter()
            .filter(|(id, node)| node.is_live && node.account == account_id && **id != account_id)
            .collect();
        below.sort_by_key(|(_, node)| Reverse(node.level));
        for id in below.into_iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            self.bury(id);
        }
        self.opaque.insert((ACCOUNT_LEVEL, account_id));
    }

    /// Crowds the account with the most of something. Whether there was one. An account with nothing but its top doesn't count.
    pub(super) fn crowd_the_largest(&mut self, of: impl Fn(u64, &Account) -> usize, why: Why, now: Instant) -> bool {
        let can_be = |(id, account): &(&u64, &Account)| {
            **id != self.root && account.crowded.is_none() && account.live > 1 && of(**id, account) > 0
        };
        let largest =
            self.accounts.iter().filter(can_be).max_by_key(|(id, account)| of(**id, account)).map(|(id, _)| *id);
        if let Some(id) = largest {
            self.crowd(id, why, now);
        }
        largest.is_some()
    }

    /// The cgroup can't be read: what is below it is booked to it.
    pub fn close(&mut self, id: u64, now: Instant) {
        let Some(node) = self.by_id.get_mut(&id).filter(|node| node.is_live) else { return };
        let was_closed = std::mem::replace(&mut node.is_closed, true);
        let (level, account_id) = (node.level, node.account);
        if was_closed || level == 0 {
            self.charge(account_id, 1, now);
            return;
        }
        self.opaque.insert((level, id));
        if level <= ACCOUNT_LEVEL {
            return;
        }
        let Some(account) = self.accounts.get_mut(&account_id) else { return };
        account.closed += 1;
        let too_many = account.closed > CLOSED_AN_ACCOUNT;
        if !self.charge(account_id, CLOSED_COSTS, now) {
            return;
        }
        let levels = |nodes: &Self, of: Option<u64>| -> usize {
            let below = nodes.opaque.range((ACCOUNT_LEVEL.saturating_add(1), 0)..);
            let of_it = below.filter(|(_, id)| of.is_none() || nodes.by_id.get(id).map(|node| node.account) == of);
            of_it.map(|(level, _)| *level).collect::<BTreeSet<_>>().len()
        };
        if too_many || levels(self, Some(account_id)) > CLOSED_LEVELS[0] {
            self.crowd(account_id, Why::Closed, now);
        }
        while levels(self, None) > CLOSED_LEVELS[1] {
            // Who takes the most levels pays, not who has the most at one.
            let closed = self.accounts.iter().filter(|(_, account)| account.closed > 0);
            let taken: HashMap<_, _> = closed.map(|(id, _)| (*id, levels(self, Some(*id)))).collect();
            let of = |id, account: &Account| {
                taken.get(&id).map_or(0, |levels| levels.saturating_mul(CLOSED_AN_ACCOUNT * 2) + account.closed)
            };
            if !self.crowd_the_largest(of, Why::Closed, now) {
                break;
            }
        }
    }

    /// The lowest of a cgroup and those above it that can't be read.
    pub fn closed_above(&self, mut id: u64) -> Option<u64> {
        loop {
            let node = self.by_id.get(&id)?;
            if node.is_closed {
                return Some(id);
            }
            id = Some(node.parent).filter(|above| *above != id)?;
        }
    }

    /// A closed cgroup can be read.
    pub fn open(&mut self, id: u64) {
        let Some(node) = self.by_id.get_mut(&id).filter(|node| node.is_closed) else { return };
        node.is_closed = false;
        let (level, account) = (node.level, node.account);
        let is_crowded = self.accounts.get(&id).is_some_and(|account| account.crowded.is_some());
        if !is_crowded {
            self.opaque.remove(&(level, id));
        }
        if level > ACCOUNT_LEVEL
            && let Some(account) = self.accounts.get_mut(&account)
        {
            account.closed = account.closed.saturating_sub(1);
        }
    }

    /// The cgroups that can't be read.
    pub fn closed(&self) -> Vec<u64> {
        let closed = |id: &u64| self.by_id.get(id).is_some_and(|node| node.is_closed);
        self.opaque.iter().map(|(_, id)| *id).filter(closed).collect()
    }

    /// The accounts that have been crowded long enough for another look.
    pub fn crowded(&self, now: Instant) -> Vec<u64> {
        let long = |since: Instant| now.saturating_duration_since(since) >= CROWDED_FOR;
        let due = |account: &Account| account.crowded.is_some_and(|(_, since)| long(since));
        self.accounts.iter().filter(|(_, account)| due(account)).map(|(id, _)| *id).collect()
    }

    /// Follows a crowded account again.
    pub fn uncrowd(&mut self, account_id: u64) {
        if let Some(account) = self.accounts.get_mut(&account_id) {
            (account.crowded, account.paid_until) = (None, None);
        }
        let closed = self.by_id.get(&account_id).is_some_and(|node| node.is_closed);
        if !closed {
            self.opaque.remove(&(ACCOUNT_LEVEL, account_id));
        }
    }

    /// Level and id of every cgroup below which nothing is followed, so that all traffic there is booked to it.
    pub fn opaque(&self) -> &BTreeSet<(u8, u64)> {
        &self.opaque
    }

    /// What is not followed and why, as sentences for a person.
    pub fn warnings(&self) -> Vec<String> {
        let mut crowded: Vec<_> =
            self.accounts.iter().filter_map(|(id, account)| Some((self.path(*id)?, account.crowded?.0))).collect();
        crowded.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        crowded
            .into_iter()
            .map(|(path, why)| {
                let why = match why {
                    Why::Many => format!(
                        "has more than {LIVE_AN_ACCOUNT} control groups, or the most of more than {LIVE_IN_ALL} in all"
                    ),
                    Why::Paths => "has control groups with very long names".to_owned(),
                    Why::Churn => format!("makes more than {} control groups a second", 1000 / MADE_EVERY.as_millis()),
                    Why::Closed => "has too many control groups that cannot be read".to_owned(),
                    Why::Watches => "has more control groups than this kernel allows watches for \
                                     (fs.inotify.max_user_watches)"
                        .to_owned(),
                };
                format!("{path} {why}, so its traffic is counted as a whole")
            })
            .collect()
    }
}
