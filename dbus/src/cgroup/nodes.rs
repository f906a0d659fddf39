//! What is known of each cgroup, and what the cgroups of one account may cost. Pure: it reads no file and no clock.
//!
//! An account is a cgroup at level 2 with everything below it, such as `/user.slice/user-1000.slice`. Root makes those; what
//! is below may belong to anybody. An account that exceeds a limit is *crowded*: what is below its top is no longer followed,
//! and all of its traffic is booked to its top. So whatever a user does with cgroups, that user pays for it alone.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use self::accounts::{Account, LIVE_IN_ALL, PATH_BYTES_IN_ALL, Why};
pub use self::{accounts::LIVE_AN_ACCOUNT, owners::Known};

mod accounts;
mod owners;

/// The deepest level that is followed. What is deeper is booked to its ancestor at this level.
pub const DEEPEST: u8 = 128;
/// The level of an account's top.
const ACCOUNT_LEVEL: u8 = 2;
/// So many removed cgroups of one account are remembered even without counters, because a last packet may come.
const REMEMBERED_DEAD: usize = 256;
/// So many accounts are remembered after their top was removed.
const REMEMBERED_ACCOUNTS: usize = 256;
/// So many cgroups of one account are remembered that were gone before their id could be read.
const REMEMBERED_NAMELESS: usize = 256;
/// A cgroup's name: bytes, as the kernel has it.
type Name = Arc<[u8]>;

/// One cgroup that exists or existed a while ago.
#[derive(Debug)]
struct Node {
    parent: u64,
    /// The id of its account's top; the root's for levels 0 and 1.
    account: u64,
    name: Name,
    /// What its path costs in a file or an answer.
    path_bytes: usize,
    /// Live ones.
    children: u32,
    /// The latest whole scan that saw it.
    scan: u32,
    level: u8,
    /// The owner of its directory, a uid, when that was last read.
    directory_owner: u32,
    /// How often that was read.
    owner_looks: u8,
    is_live: bool,
    /// Whether an event reported it, and not a listing.
    told: bool,
    /// Whether it can't be read, so that nobody knows what is below it.
    is_closed: bool,
}

/// A cgroup that was made and gone again before its id could be read.
#[derive(Debug)]
struct Nameless {
    parent: u64,
    name: Name,
    /// The id of a cgroup that was made later, once there is one. Ids always rise.
    before: Option<u64>,
}

/// How a cgroup was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// An event reported it.
    Told,
    /// It was listed below one that an event reported.
    Below,
    /// A scan of everything listed it, so it may have been there for long.
    Scanned,
}

/// What happened to a cgroup that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was not known.
    New,
    /// It was known.
    Known,
    /// It is not followed: its account is crowded, or it is too deep.
    Beyond,
}

/// All of them.
#[derive(Debug)]
pub struct Nodes {
    root: u64,
    /// The root's own path as `/proc/PID/cgroup` writes it; empty for "/".
    root_path: String,
    by_id: HashMap<u64, Node>,
    /// The live ones by parent and name.
    by_name: HashMap<(u64, Name), u64>,
    accounts: HashMap<u64, Account>,
    /// Those whose top is dead, oldest first.
    dead_accounts: VecDeque<u64>,
    /// Live cgroups at each level.
    levels: Vec<u32>,
    /// Accounts with a nameless cgroup after which no other was made yet.
    unnamed: BTreeSet<u64>,
    live: usize,
    path_bytes: usize,
    deaths: u64,
    scan: u32,
    /// Level and id of every cgroup below which nothing is followed.
    opaque: BTreeSet<(u8, u64)>,
    /// Paths of removed cgroups that root had given away, with their owners. The latest is the last.
    given: VecDeque<(String, u32)>,
    /// Accounts that became crowded or lost their top since this was last taken.
    pub ended: Vec<u64>,
}

impl Nodes {
    /// The root alone.
    pub fn new(root: u64, root_path: &str) -> Self {
        let level = u8::try_from(root_path.matches('/').count()).unwrap_or(DEEPEST);
        let node = Node {
            parent: root,
            account: root,
            name: Arc::default(),
            path_bytes: root_path.len(),
            children: 0,
            scan: 0,
            level,
            directory_owner: 0,
            owner_looks: 0,
            is_live: true,
            told: false,
            is_closed: false,
        };
        Self {
            root,
            root_path: root_path.to_owned(),
            by_id: HashMap::from([(root, node)]),
            by_name: HashMap::new(),
            accounts: HashMap::from([(root, Account::default())]),
            dead_accounts: VecDeque::new(),
            levels: vec![0; usize::from(DEEPEST) + 1],
            unnamed: BTreeSet::new(),
            live: 1,
            path_bytes: 0,
            deaths: 0,
            scan: 0,
            opaque: BTreeSet::new(),
            given: VecDeque::new(),
            ended: Vec::new(),
        }
    }

    /// The id of the root.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// A cgroup was found below `parent`.
    pub fn add(&mut self, parent: u64, name: &[u8], id: u64, met: Met, now: Instant) -> Found {
        let told = met == Met::Told;
        if !self.is_followed(parent) {
            return Found::Beyond;
        }
        let key = (parent, Name::from(name));
        match self.by_name.get(&key).copied() {
            Some(old) if old == id => {
                let Some(node) = self.by_id.get_mut(&id) else { return Found::Beyond };
                node.scan = self.scan;
                let told_twice = node.told && told;
                node.told |= told;
                if told_twice {
                    // The one that the first event was about was gone before.
                    self.miss(parent, name, Some(id), now);
                }
                return if self.is_live(id) { Found::Known } else { Found::Beyond };
            }
            Some(old) => self.remove(old),
            None => {}
        }
        if self.is_live(id) {
            self.remove(id); // it was renamed, which no cgroup can be
        }
        self.name_later_ones(id);
        let Some(node) = self.below(parent, id, Arc::clone(&key.1)) else { return Found::Beyond };
        let Node { level, account, path_bytes, .. } = node;
        if level > ACCOUNT_LEVEL && account != self.root && !self.has_room(account, path_bytes, met, now) {
            return Found::Beyond;
        }
        if let Some(above) = self.by_id.get_mut(&parent) {
            above.children = above.children.saturating_add(1);
        }
        self.by_name.insert(key, id);
        let node = Node { is_live: true, told, ..node };
        self.by_id.insert(id, node);
        self.live += 1;
        self.note_level(level, true);
        self.path_bytes = self.path_bytes.saturating_add(path_bytes);
        let account = self.accounts.entry(account).or_default();
        account.live += 1;
        account.path_bytes = account.path_bytes.saturating_add(path_bytes);
        while self.live > LIVE_IN_ALL || self.path_bytes > PATH_BYTES_IN_ALL {
            let (by_paths, why) = (self.path_bytes > PATH_BYTES_IN_ALL, [Why::Many, Why::Paths]);
            let size = |_, account: &Account| if by_paths { account.path_bytes } else { account.live };
            if !self.crowd_the_largest(size, why[usize::from(by_paths)], now) {
                break;
            }
        }
        if self.is_live(id) { Found::New } else { Found::Beyond }
    }

    /// It was removed.
    pub fn remove(&mut self, id: u64) {
        if self.by_id.get(&id).is_some_and(|node| node.is_live && node.children > 0) {
            // The events about what was below it have not come yet, or never will.
            let mut below: Vec<_> =
                self.by_id.iter().filter(|(_, n)| n.is_live).map(|(id, n)| (n.level, *id)).collect();
            below.retain(|(_, below)| *below != id && self.is_below(*below, id));
            below.sort_unstable_by(|a, b| b.cmp(a));
            for (_, id) in below {
                self.bury(id);
            }
        }
        self.bury(id);
    }

    fn note_level(&mut self, level: u8, more: bool) {
        if let Some(count) = self.levels.get_mut(usize::from(level)) {
            *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        }
    }

    fn is_below(&self, mut id: u64, ancestor: u64) -> bool {
        for _ in 0..=DEEPEST {
            match self.by_id.get(&id) {
                Some(node) if node.parent == ancestor => return true,
                Some(node) if node.parent != id => id = node.parent,
                _ => return false,
            }
        }
        false
    }

    fn bury(&mut self, id: u64) {
        self.remember_owner(id);
        let Some(node) = self.by_id.get(&id).filter(|node| node.is_live && id != self.root) else { return };
        let (parent, account_id, path_bytes, level) = (node.parent, node.account, node.path_bytes, node.level);
        self.by_name.remove(&(parent, Arc::clone(&node.name)));
        self.open(id);
        if let Some(node) = self.by_id.get_mut(&id) {
            (node.is_live, node.children) = (false, 0);
        }
        if let Some(parent) = self.by_id.get_mut(&parent) {
            parent.children = parent.children.saturating_sub(1);
        }
        self.deaths += 1;
        self.note_level(level, false);
        self.live = self.live.saturating_sub(1);
        self.path_bytes = self.path_bytes.saturating_sub(path_bytes);
        let account = self.accounts.entry(account_id).or_default();
        account.live = account.live.saturating_sub(1);
        account.path_bytes = account.path_bytes.saturating_sub(path_bytes);
        account.dead.push_back(id);
        if id == account_id {
            account.crowded = None;
            self.opaque.remove(&(ACCOUNT_LEVEL, id));
            self.dead_accounts.push_back(id);
            self.ended.push(id);
        }
    }

    /// Forgets removed cgroups, except those that `keep` holds for, the latest ones, and what their paths need.
    pub fn forget(&mut self, keep: impl Fn(u64) -> bool) {
        let mut needed = HashSet::new();
        let too_old = self.dead_accounts.len().saturating_sub(REMEMBERED_ACCOUNTS);
        let old: HashSet<_> = self.dead_accounts.iter().take(too_old).copied().collect();
        for (id, account) in &self.accounts {
            let latest =
                if old.contains(id) { account.dead.len() } else { account.dead.len().saturating_sub(REMEMBERED_DEAD) };
            for (at, dead) in account.dead.iter().enumerate() {
                let mut id = *dead;
                if at < latest && !keep(id) {
                    continue;
                }
                while let Some(node) = self.by_id.get(&id).filter(|node| !node.is_live) {
                    if !needed.insert(id) {
                        break;
                    }
                    id = node.parent;
                }
            }
        }
        for account in self.accounts.values_mut() {
            account.dead.retain(|id| needed.contains(id));
        }
        self.by_id.retain(|id, node| node.is_live || needed.contains(id));
        let (by_id, root) = (&self.by_id, self.root);
        self.accounts.retain(|id, account| *id == root || by_id.contains_key(id) || !account.dead.is_empty());
        self.dead_accounts.retain(|id| self.accounts.contains_key(id));
    }

    /// A cgroup below a known one, not live yet.
    fn below(&self, parent: u64, id: u64, name: Name) -> Option<Node> {
        let above = self.by_id.get(&parent)?;
        let level = above.level.saturating_add(1);
        let account = match level {
            0..ACCOUNT_LEVEL => self.root,
            ACCOUNT_LEVEL => id,
            _ => above.account,
        };
        Some(Node {
            parent,
            account,
            path_bytes: above.path_bytes.saturating_add(1).saturating_add(cost(&name)),
            name,
            children: 0,
            scan: self.scan,
            level,
            directory_owner: 0,
            owner_looks: 0,
            is_live: false,
            told: false,
            is_closed: false,
        })
    }

    /// A removed cgroup that an earlier process knew. Its parent must be known.
    pub fn recall(&mut self, id: u64, parent: u64, name: &[u8]) {
        if self.by_id.contains_key(&id) {
            return;
        }
        let Some(node) = self.below(parent, id, name.into()) else { return };
        let account = node.account;
        self.by_id.insert(id, node);
        self.accounts.entry(account).or_default().dead.push_front(id);
        if account == id {
            self.dead_accounts.push_back(id);
        }
    }

    /// Begins a scan of the whole tree or of one account. [`Self::end_scan`] buries what it has not found.
    pub fn begin_scan(&mut self) {
        self.scan = self.scan.wrapping_add(1);
    }

    /// Buries what the scan has not found; whether there was anything. `account`: the root's id stands for the whole tree.
    pub fn end_scan(&mut self, account: u64) -> bool {
        let missing = |(id, node): &(&u64, &Node)| {
            let scanned = account == self.root || (node.account == account && **id != account);
            scanned && node.is_live && node.scan != self.scan && **id != self.root
        };
        let mut gone: Vec<_> = self.by_id.iter().filter(missing).map(|(id, node)| (node.level, *id)).collect();
        gone.sort_unstable_by(|a, b| b.cmp(a));
        for (_, id) in &gone {
            self.bury(*id);
        }
        !gone.is_empty()
    }

    /// One was made and gone before its id could be read.
    pub fn miss(&mut self, parent: u64, name: &[u8], before: Option<u64>, now: Instant) {
        let Some(node) = self.by_id.get(&parent) else { return };
        let id = node.account;
        if !self.charge(id, 1, now) {
            return;
        }
        let top = self.by_id.get(&id).filter(|_| id != self.root).map(|top| (top.parent, Arc::clone(&top.name)));
        let account = self.accounts.entry(id).or_default();
        if account.crowded.is_some() {
            return;
        }
        if before.is_none() {
            self.unnamed.insert(id);
        }
        account.nameless.push_back(Nameless { parent, name: name.into(), before });
        if account.nameless.len() > REMEMBERED_NAMELESS {
            account.nameless.pop_front();
            // The oldest stands for the forgotten ones, whose bytes belong to their account and nobody else's.
            if let Some((oldest, (parent, name))) = account.nameless.front_mut().zip(top) {
                (oldest.parent, oldest.name) = (parent, name);
            }
        }
    }

    /// What could not be named so far was made before the cgroup `id`.
    fn name_later_ones(&mut self, id: u64) {
        for account in std::mem::take(&mut self.unnamed) {
            let Some(account) = self.accounts.get_mut(&account) else { continue };
            for nameless in account.nameless.iter_mut().filter(|nameless| nameless.before.is_none()) {
                nameless.before = Some(id);
            }
        }
    }

    /// Where an unknown id belongs. If one cgroup was gone before its id could be read, it is that one; if it may be one of
    /// several, what they have in common. If there were none, it is what the cgroups have in common below which nothing is
    /// followed; without such cgroups it is the root.
    pub fn nearest(&self, id: u64) -> String {
        let nameless = || self.accounts.values().flat_map(|account| &account.nameless);
        let candidates = || nameless().filter(|nameless| nameless.before.is_none_or(|before| id < before));
        let path = match candidates().map(|nameless| nameless.before.unwrap_or(u64::MAX)).min() {
            Some(first) => {
                let likely = candidates().filter(|nameless| nameless.before.unwrap_or(u64::MAX) == first);
                common(likely.map(|nameless| self.joined(nameless.parent, Some(&nameless.name))))
            }
            // A cgroup has a higher id than those above it.
            None => {
                common(self.opaque.iter().filter(|(_, above)| *above < id).map(|(_, above)| self.joined(*above, None)))
            }
        };
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// The path of a cgroup that exists or existed a while ago.
    pub fn path(&self, id: u64) -> Option<String> {
        self.by_id
            .contains_key(&id)
            .then(|| self.joined(id, None))
            .map(|path| if path.is_empty() { "/".into() } else { path })
    }

    /// The path; empty for the root.
    fn joined(&self, id: u64, name: Option<&[u8]>) -> String {
        let mut path = self.root_path.clone().into_bytes();
        for name in self.names(id).into_iter().chain(name) {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        String::from_utf8(path).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// The names from the root's child down to this cgroup.
    pub fn names(&self, id: u64) -> Vec<&[u8]> {
        self.chain(id).into_iter().filter_map(|id| self.named(id)).map(|(_, name)| name).collect()
    }

    /// The ids from the root down to this cgroup.
    fn chain(&self, mut id: u64) -> Vec<u64> {
        let mut chain = Vec::new();
        while let Some(node) = self.by_id.get(&id).filter(|_| chain.len() <= usize::from(DEEPEST)) {
            chain.push(id);
            if id == self.root {
                break;
            }
            id = node.parent;
        }
        chain.reverse();
        chain
    }

    /// The top of the account that a cgroup is in; the root for what is above all of them.
    pub fn account(&self, id: u64) -> Option<u64> {
        self.by_id.get(&id).map(|node| node.account)
    }

    /// The account whose events report what happens in a cgroup. For an account's top, that is the root's account.
    pub fn teller(&self, id: u64) -> u64 {
        self.by_id.get(&id).filter(|node| node.level > ACCOUNT_LEVEL).map_or(self.root, |node| node.account)
    }

    /// Whether what is made below a cgroup is followed.
    pub fn is_followed(&self, id: u64) -> bool {
        let crowded = |node: &Node| self.accounts.get(&node.account).is_some_and(|account| account.crowded.is_some());
        self.by_id.get(&id).is_some_and(|node| node.is_live && !crowded(node) && node.level < DEEPEST)
    }

    /// Whether it exists.
    pub fn is_live(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|node| node.is_live)
    }

    /// Whether it can't be read.
    pub fn is_closed(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|node| node.is_closed)
    }

    /// Whether it was seen to be removed.
    pub fn is_dead(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|node| !node.is_live)
    }

    /// The live child of that name.
    pub fn child(&self, parent: u64, name: &[u8]) -> Option<u64> {
        self.by_name.get(&(parent, Name::from(name))).copied()
    }

    /// Every known cgroup except the root, live or not: id, parent, name, whether it is live.
    pub fn all(&self) -> impl Iterator<Item = (u64, u64, &[u8], bool)> {
        let others = self.by_id.iter().filter(|(id, _)| **id != self.root);
        others.map(|(id, node)| (*id, node.parent, &*node.name, node.is_live))
    }

    /// Parent and name of a cgroup; `None` for the root.
    pub fn named(&self, id: u64) -> Option<(u64, &[u8])> {
        self.by_id.get(&id).filter(|_| id != self.root).map(|node| (node.parent, &*node.name))
    }

    /// How many cgroups are known, live or not.
    pub fn count_all(&self) -> usize {
        self.by_id.len()
    }

    /// The level of a cgroup: 1 for a child of the root of all.
    pub fn level(&self, id: u64) -> Option<u8> {
        self.by_id.get(&id).map(|node| node.level)
    }

    /// The deepest level that has a live cgroup.
    pub fn deepest(&self) -> u8 {
        self.levels.iter().rposition(|count| *count > 0).and_then(|level| u8::try_from(level).ok()).unwrap_or_default()
    }

    /// How many cgroups were removed.
    pub fn deaths(&self) -> u64 {
        self.deaths
    }
}

/// The path that all of these have in common.
fn common(mut paths: impl Iterator<Item = String>) -> String {
    let Some(mut shared) = paths.next() else { return String::new() };
    for path in paths {
        let names = shared.split('/').zip(path.split('/')).take_while(|(a, b)| a == b);
        let length = names.map(|(name, _)| name.len().saturating_add(1)).sum::<usize>().saturating_sub(1);
        shared.truncate(length);
    }
    shared
}

/// The length of a name as JSON: a control character takes six bytes, and invalid UTF-8 up to three for each byte.
fn cost(name: &[u8]) -> usize {
    String::from_utf8_lossy(name)
        .bytes()
        .map(|byte| if byte.is_ascii_control() { 6 } else { 1 + usize::from(matches!(byte, b'"' | b'\\')) })
        .sum()
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
