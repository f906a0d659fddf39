//! What the table itself can't keep: the totals of deleted counters, the epoch. Pure.
//!
//! It outlives the process (as a file that lasts as long as the kernel does), so that a helper that was killed goes on where
//! it was. It talks to no kernel and knows no caller.

use std::{borrow::Cow, collections::HashMap, hash::Hash};

use netglance_dbus::sample::Row;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    nft::{key::Key, message::Element, ruleset::Counter},
    remotes,
};

/// Paths of removed cgroups whose totals are kept apart, in all …
const KEPT_PATHS: usize = 8192;
/// … and of one account.
const PATHS_AN_ACCOUNT: usize = 2048;
/// Their bytes, of one account.
const PATH_BYTES_AN_ACCOUNT: usize = 256 << 10;

/// Bytes of one cgroup by [`Counter`], in the order of [`Counter::ALL`].
pub type Totals = [u64; 4];

/// What the table's sets hold, as far as dumps have shown it.
///
/// While packets make new elements the kernel may leave one out of a dump, or show one twice (it goes on by its position in a
/// hash table that grows). So what was seen stays until it is deleted.
///
/// Anybody with the right to may set a counter back to zero (`nft reset`), the table's owner or not. Then its former value is
/// kept, and what it says from then on is added to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    by_key: HashMap<Key, Seen>,
    /// Elements in each set.
    counts: [usize; 4],
    dumps: u32,
    /// What counters had counted that were set back.
    reset: Vec<Doomed>,
}

/// One cgroup's elements: what each says that it has counted, and in which dump it was last seen (0: there is none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    totals: Totals,
    dumps: [u32; 4],
}

impl Held {
    /// Takes in a dump of one set. Whether all that was known to be in it was there: if not, another dump is needed.
    pub fn take_in(&mut self, counter: Counter, elements: &[Element]) -> bool {
        self.dumps = self.dumps.checked_add(1).unwrap_or(1);
        let set = counter as usize;
        let mut shown = 0;
        for element in elements {
            let seen = self.by_key.entry(element.key).or_default();
            self.counts[set] += usize::from(seen.dumps[set] == 0);
            shown += usize::from(seen.dumps[set] != self.dumps);
            seen.dumps[set] = self.dumps;
            let before = std::mem::replace(&mut seen.totals[set], element.bytes);
            if element.bytes < before {
                self.reset.push(Doomed { counter, key: element.key, bytes: before });
            }
        }
        shown == self.counts[set]
    }

    /// An element was deleted.
    pub fn remove(&mut self, counter: Counter, key: Key) {
        let Some(seen) = self.by_key.get_mut(&key) else { return };
        if std::mem::take(&mut seen.dumps[counter as usize]) != 0 {
            self.counts[counter as usize] -= 1;
        }
        seen.totals[counter as usize] = 0;
        if seen.dumps == [0; 4] {
            self.by_key.remove(&key);
        }
    }

    /// Whether a cgroup has any element.
    pub fn holds(&self, key: Key) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Takes out what counters had counted that were set back since the last call.
    pub fn take_reset(&mut self) -> Vec<Doomed> {
        std::mem::take(&mut self.reset)
    }

    /// How many elements the fullest set has.
    pub fn most(&self) -> usize {
        self.counts.into_iter().max().unwrap_or_default()
    }

    /// The bytes of one element, as it says.
    pub fn bytes(&self, counter: Counter, key: Key) -> Option<u64> {
        let seen = self.by_key.get(&key)?;
        (seen.dumps[counter as usize] != 0).then_some(seen.totals[counter as usize])
    }

    /// The elements of the cgroups for whose key `chosen` holds.
    pub fn of(&self, chosen: impl Fn(Key) -> bool) -> Vec<Doomed> {
        let cgroups = self.by_key.iter().filter(|(key, _)| chosen(**key));
        let elements = cgroups.flat_map(|(key, seen)| {
            let sets = Counter::ALL.into_iter().filter(|counter| seen.dumps[*counter as usize] != 0);
            sets.map(|counter| Doomed { counter, key: *key, bytes: seen.totals[counter as usize] })
        });
        elements.collect()
    }
}

/// A counter that is about to be deleted or was set back, and what it had counted when it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doomed {
    /// The set.
    pub counter: Counter,
    /// The element.
    pub key: Key,
    /// At least so many bytes.
    pub bytes: u64,
}

/// The total of deleted counters of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Folded {
    totals: Totals,
    /// Grows with each use of any path.
    last_used: u64,
}

/// The paths of one account: see [`account_of`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Account {
    by_path: HashMap<String, Folded>,
    path_bytes: usize,
}

impl Account {
    /// Takes out the eighth that has not been used for the longest time, but for `spared`, and adds it up.
    fn take_oldest(&mut self, spared: &str) -> Option<Totals> {
        let others = self.by_path.iter().filter(|(path, _)| *path != spared);
        let mut by_age: Vec<_> = others.map(|(path, folded)| (folded.last_used, path.clone())).collect();
        by_age.sort_unstable();
        by_age.truncate(by_age.len().div_ceil(8));
        let mut sum = None;
        for (_, path) in by_age {
            self.path_bytes = self.path_bytes.saturating_sub(path.len());
            if let Some(folded) = self.by_path.remove(&path) {
                sum = Some(plus(sum.unwrap_or_default(), folded.totals));
            }
        }
        sum
    }
}

/// The books of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Another one whenever counting had to start again.
    pub epoch: u64,
    /// What is being deleted. Not empty after a start: the process was killed while it did.
    pub doomed: Vec<Doomed>,
    /// By account. In the file they stand in one list.
    #[serde(serialize_with = "flat", deserialize_with = "by_account")]
    folded: HashMap<String, Account>,
    uses: u64,
    /// What is counted by remote. Earlier versions did not.
    #[serde(default)]
    pub remotes: remotes::Saved,
}

impl Books {
    /// Books of a new table.
    pub fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Adds the last value of a deleted counter to its path's total.
    pub fn fold(&mut self, path: &str, counter: Counter, bytes: u64) {
        self.add(path, totals_of(counter, bytes));
        // Where there are too many paths, the longest unused are added to their account's own: the bytes stay its account's.
        let account = account_of(path);
        while let Some(paths) = self.folded.get_mut(account).filter(|paths| paths.is_crowded())
            && let Some(totals) = paths.take_oldest(account)
        {
            self.add(account, totals);
        }
        while self.folded.len() > KEPT_PATHS / PATHS_AN_ACCOUNT
            && self.folded.values().map(|account| account.by_path.len()).sum::<usize>() > KEPT_PATHS
            && self.shrink()
        {}
    }

    /// Makes room: the largest account adds up what it has; where all have a single path, the longest unused accounts are added
    /// to the cgroup above. Whether there was anything to add up.
    fn shrink(&mut self) -> bool {
        let largest = self.folded.iter_mut().max_by_key(|(_, account)| account.by_path.len());
        let Some((name, paths)) = largest else { return false };
        let name = name.clone();
        if paths.by_path.len() > 1
            && let Some(totals) = paths.take_oldest(&name)
        {
            self.add(&name, totals);
            return true;
        }
        let last_used = |account: &Account| account.by_path.values().map(|folded| folded.last_used).max();
        let accounts = self.folded.iter().filter(|(name, _)| name.matches('/').count() > 1);
        let mut by_age: Vec<_> = accounts.map(|(name, account)| (last_used(account), name.clone())).collect();
        by_age.sort_unstable();
        by_age.truncate(by_age.len().div_ceil(8));
        for (_, name) in &by_age {
            let above = name.rsplit_once('/').map_or("/", |(above, _)| above);
            for folded in self.folded.remove(name).unwrap_or_default().by_path.into_values() {
                self.add(above, folded.totals);
            }
        }
        !by_age.is_empty()
    }

    fn add(&mut self, path: &str, totals: Totals) {
        self.uses += 1;
        let account = self.folded.entry(account_of(path).to_owned()).or_default();
        if !account.by_path.contains_key(path) {
            account.path_bytes = account.path_bytes.saturating_add(path.len());
        }
        let folded = account.by_path.entry(path.to_owned()).or_default();
        folded.totals = plus(folded.totals, totals);
        folded.last_used = self.uses;
    }

    /// Settles a deletion of which it is not known whether it happened (the process that did it was killed, or the kernel's
    /// answer was lost): what is gone from the table had been deleted, and is folded with the bytes that were last read.
    pub fn settle(&mut self, held: &Held, path_of: impl Fn(Key) -> String) {
        for doomed in std::mem::take(&mut self.doomed) {
            if held.bytes(doomed.counter, doomed.key).unwrap_or_default() < doomed.bytes {
                self.fold(&path_of(doomed.key), doomed.counter, doomed.bytes);
            }
        }
    }

    /// Counters in the table and totals of deleted ones, by path. `path_of`: the path of a key, if it is to be among them;
    /// `is_told`: whether a path of deleted ones is.
    pub fn rows(
        &self,
        held: &Held,
        mut path_of: impl FnMut(Key) -> Option<String>,
        is_told: impl Fn(&str) -> bool,
    ) -> Vec<Row> {
        let name = |path| is_told(path).then_some(Cow::Borrowed(path));
        let totals = self.totals(held, |key| path_of(key).map(Cow::Owned), name);
        totals.into_iter().map(|(path, totals)| row(path.into_owned(), totals)).collect()
    }

    /// As [`Self::rows`], added up by whatever `of_key` and `of_path` say; what they say nothing of is left out, and so is what
    /// has counted nothing.
    pub fn totals<'a, K: Eq + Hash>(
        &'a self,
        held: &Held,
        mut of_key: impl FnMut(Key) -> Option<K>,
        of_path: impl Fn(&'a str) -> Option<K>,
    ) -> HashMap<K, Totals> {
        let folded = self.folded.values().flat_map(|account| &account.by_path);
        let folded = folded.filter_map(|(path, folded)| Some((of_path(path)?, folded.totals)));
        let counters = held.by_key.iter().map(|(key, seen)| (*key, seen.totals));
        let reset = held.reset.iter().map(|reset| (reset.key, totals_of(reset.counter, reset.bytes)));
        let counters = counters.chain(reset).filter_map(|(key, totals)| Some((of_key(key)?, totals)));
        let mut all = HashMap::new();
        for (name, totals) in folded.chain(counters).filter(|(_, totals)| *totals != [0; 4]) {
            let sum = all.entry(name).or_default();
            *sum = plus(*sum, totals);
        }
        all
    }
}

impl Account {
    fn is_crowded(&self) -> bool {
        self.by_path.len() > PATHS_AN_ACCOUNT || self.path_bytes > PATH_BYTES_AN_ACCOUNT
    }
}

/// The path of the cgroup at level 2 that a path is in: whose it is, as far as bounds go. See [`netglance_dbus::cgroup::nodes`].
pub fn account_of(path: &str) -> &str {
    path.match_indices('/').nth(2).and_then(|(end, _)| path.get(..end)).unwrap_or(path)
}

/// Whether a path is `top` or below it. Everything is below "".
pub fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| top.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// A row with these bytes.
pub fn row(cgroup: String, [rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes]: Totals) -> Row {
    Row { cgroup, rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes }
}

fn totals_of(counter: Counter, bytes: u64) -> Totals {
    let mut totals = Totals::default();
    totals[counter as usize] = bytes;
    totals
}

/// The bytes of both.
pub fn plus(a: Totals, b: Totals) -> Totals {
    std::array::from_fn(|i| a[i].saturating_add(b[i]))
}

fn flat<S: Serializer>(folded: &HashMap<String, Account>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(folded.values().flat_map(|account| &account.by_path))
}

fn by_account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashMap<String, Account>, D::Error> {
    let mut accounts: HashMap<String, Account> = HashMap::new();
    for (path, folded) in HashMap::<String, Folded>::deserialize(deserializer)? {
        let account = accounts.entry(account_of(&path).to_owned()).or_default();
        account.path_bytes = account.path_bytes.saturating_add(path.len());
        account.by_path.insert(path, folded);
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(&(cgroup_id, bytes): &(u64, u64)) -> Element {
        Element { key: Key::of(cgroup_id), packets: 1, bytes }
    }

    fn held(tx_external: &[(u64, u64)]) -> Held {
        let mut held = Held::default();
        held.take_in(Counter::TxExternal, &tx_external.iter().map(element).collect::<Vec<_>>());
        held
    }

    fn tx(books: &Books, held: &Held, paths: &[(u64, &str)]) -> Vec<(String, u64)> {
        let path_of = |key| {
            Some(paths.iter().find(|(known, _)| Key::of(*known) == key).map_or("/lost", |(_, path)| *path).into())
        };
        let mut rows: Vec<_> =
            books.rows(held, path_of, |_| true).into_iter().map(|r| (r.cgroup, r.tx_bytes)).collect();
        rows.sort();
        rows
    }

    #[test]
    fn a_dump_that_leaves_out_or_repeats_an_element_takes_nothing_back() {
        let mut held = Held::default();
        // Each dump, whether it showed all that was known, and what is known then.
        let dumps = [
            (vec![(1, 10), (2, 20)], true, [Some(10), Some(20), None]),
            (vec![(3, 30), (2, 21)], false, [Some(10), Some(21), Some(30)]),
            (vec![(3, 31), (1, 11), (3, 32)], false, [Some(11), Some(21), Some(32)]),
            (vec![(1, 11), (2, 22), (3, 32), (3, 33)], true, [Some(11), Some(22), Some(33)]),
            (vec![], false, [Some(11), Some(22), Some(33)]),
        ];
        for (elements, complete, expected) in dumps {
            let elements: Vec<_> = elements.iter().map(element).collect();
            assert_eq!(held.take_in(Counter::RxInternal, &elements), complete, "{elements:?}");
            assert_eq!([1, 2, 3].map(|id| held.bytes(Counter::RxInternal, Key::of(id))), expected);
        }
        assert!(held.take_in(Counter::TxInternal, &[element(&(1, 1))]));
        held.remove(Counter::RxInternal, Key::of(1));
        held.remove(Counter::RxInternal, Key::of(1));
        held.remove(Counter::RxInternal, Key::of(9));
        assert_eq!(
            (held.bytes(Counter::RxInternal, Key::of(1)), held.bytes(Counter::TxInternal, Key::of(1))),
            (None, Some(1))
        );
        assert!(held.take_in(Counter::RxInternal, &[(2, 22), (3, 33)].map(|e| element(&e))));
        assert_eq!((held.most(), held.of(|key| key != Key::of(3)).len()), (2, 2));
    }

    #[test]
    fn a_counter_that_was_set_back_keeps_what_it_had_counted() {
        let (mut held, mut books) = (Held::default(), Books::new(1));
        // What it says, what it is in all, and what of it was before it was set back. Meanwhile it is read in two ways.
        for (says, all, before) in [(100, 100, 0), (150, 150, 0), (7, 157, 150), (0, 157, 7), (0, 157, 0), (3, 160, 0)]
        {
            held.take_in(Counter::TxExternal, &[element(&(5, says))]);
            assert_eq!(tx(&books, &held, &[(5, "/a")]), [("/a".to_owned(), all)]);
            let reset = held.take_reset();
            assert_eq!(reset.iter().map(|reset| reset.bytes).sum::<u64>(), before, "{says}");
            for reset in reset {
                books.fold("/a", reset.counter, reset.bytes);
            }
            assert_eq!(tx(&books, &held, &[(5, "/a")]), [("/a".to_owned(), all)]);
        }
    }

    #[test]
    fn a_path_is_the_sum_of_all_ids_it_ever_had() {
        let mut books = Books::new(7);
        books.fold("/a", Counter::TxExternal, 100);
        books.fold("/a", Counter::TxExternal, 10);
        books.fold("/gone", Counter::TxExternal, u64::MAX);
        books.fold("/gone", Counter::TxExternal, 1);
        let rows = tx(&books, &held(&[(5, 1), (6, 2), (9, 4)]), &[(5, "/a"), (6, "/a")]);
        let expected = [("/a", 113), ("/gone", u64::MAX), ("/lost", 4)];
        assert_eq!(rows, expected.map(|(path, bytes)| (path.to_owned(), bytes)));
        assert!(books.rows(&held(&[(5, 1)]), |_| None, |_| false).is_empty());
    }

    #[test]
    fn a_deletion_that_was_cut_short_counts_once_whether_it_happened_or_not() {
        let doomed = |bytes| Doomed { counter: Counter::TxExternal, key: Key::of(5), bytes };
        for (left, expected) in [(Some(100), 100), (Some(130), 130), (None, 100), (Some(7), 107)] {
            let mut books = Books { doomed: vec![doomed(100)], ..Books::new(1) };
            let held = held(&left.map(|bytes| (5, bytes)).into_iter().collect::<Vec<_>>());
            books.settle(&held, |_| "/a".to_owned());
            assert_eq!(tx(&books, &held, &[(5, "/a")]), [("/a".to_owned(), expected)], "{left:?} left");
            assert!(books.doomed.is_empty());
        }
    }

    /// No byte of an account ever goes to another, and nobody's paths are added up for another's sake.
    #[test]
    fn an_account_with_too_many_paths_is_added_up_by_itself() {
        let mut books = Books::new(1);
        books.fold("/user.slice/user-2.slice/honest.service", Counter::TxExternal, 7);
        for i in 0..2 * KEPT_PATHS as u64 {
            books.fold(&format!("/user.slice/user-1.slice/{i}"), Counter::TxExternal, 1);
        }
        books.fold(
            &format!("/user.slice/user-3.slice/{}", "long".repeat(PATH_BYTES_AN_ACCOUNT)),
            Counter::TxExternal,
            3,
        );
        let rows = tx(&books, &Held::default(), &[]);
        let of = |top: &str| rows.iter().filter(|(path, _)| is_below(path, top)).map(|(_, bytes)| bytes).sum::<u64>();
        assert_eq!(of("/user.slice/user-1.slice"), 2 * KEPT_PATHS as u64);
        assert_eq!(of("/user.slice/user-2.slice/honest.service"), 7);
        assert_eq!(of("/user.slice/user-3.slice"), 3);
        assert!(rows.iter().filter(|(path, _)| is_below(path, "/user.slice/user-1.slice")).count() <= PATHS_AN_ACCOUNT);
        assert!(rows.iter().any(|(path, _)| *path == format!("/user.slice/user-1.slice/{}", 2 * KEPT_PATHS - 1)));
        assert!(rows.iter().all(|(path, _)| path.len() < PATH_BYTES_AN_ACCOUNT));
    }

    #[test]
    fn accounts_beyond_number_are_added_to_what_is_above_them() {
        let mut books = Books::new(1);
        for i in 0..2 * KEPT_PATHS as u64 {
            books.fold(&format!("/system.slice/run-{i}.service"), Counter::RxInternal, 1);
        }
        let rows = books.rows(&Held::default(), |_| None, |_| true);
        assert!(rows.len() <= KEPT_PATHS, "{}", rows.len());
        assert_eq!(rows.iter().map(|row| row.internal_rx_bytes).sum::<u64>(), 2 * KEPT_PATHS as u64);
        assert!(rows.iter().any(|row| row.cgroup == "/system.slice" && row.internal_rx_bytes > 8000));
    }

    #[test]
    fn what_is_saved_is_what_is_read_again() {
        let mut books = Books::new(u64::MAX);
        books.fold(r"/app-a\x2db.service", Counter::RxExternal, u64::MAX);
        books.doomed.push(Doomed { counter: Counter::TxInternal, key: Key::of(u64::MAX), bytes: 1 });
        let text = serde_json::to_vec(&books).unwrap();
        assert_eq!(serde_json::from_slice::<Books>(&text).unwrap(), books);
    }
}
