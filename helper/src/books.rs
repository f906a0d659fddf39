//! What the table itself can't keep: the paths of cgroups, the totals of deleted counters, the epoch. Pure.
//!
//! It outlives the process (as a file that lasts as long as the kernel does), so that a helper that was killed goes on where
//! it was. It talks to no kernel and knows no caller.

use std::{borrow::Cow, collections::HashMap};

use netglance_dbus::sample::Row;
use serde::{Deserialize, Serialize};

use crate::nft::{message::Element, ruleset::Counter};

/// Paths of removed cgroups whose totals are kept; the longest unused are forgotten first.
const KEPT_PATHS: usize = 8192;

/// Bytes of one cgroup by [`Counter`], in the order of [`Counter::ALL`].
pub type Totals = [u64; 4];

/// What each set of the table held at one moment, in the order of [`Counter::ALL`].
pub type Dump = [Vec<Element>; 4];

/// A counter that is about to be deleted, and what it had counted when it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doomed {
    /// The set.
    pub counter: Counter,
    /// The element.
    pub cgroup_id: u64,
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

/// The books of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Another one whenever counting had to start again.
    pub epoch: u64,
    /// The paths of cgroups by id. In a file of their own, as there is a new one much more often.
    #[serde(skip)]
    pub paths: HashMap<u64, String>,
    /// What is being deleted. Not empty after a start: the process was killed while it did.
    pub doomed: Vec<Doomed>,
    folded: HashMap<String, Folded>,
    uses: u64,
}

impl Books {
    /// Books of a new table.
    pub fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Adds the last value of a deleted counter to its path's total.
    pub fn fold(&mut self, path: &str, counter: Counter, bytes: u64) {
        self.uses += 1;
        if !self.folded.contains_key(path) {
            if self.folded.len() >= KEPT_PATHS
                && let Some(oldest) = self.folded.iter().min_by_key(|(_, f)| f.last_used).map(|(path, _)| path.clone())
            {
                self.folded.remove(&oldest);
            }
            self.folded.insert(path.to_owned(), Folded::default());
        }
        if let Some(folded) = self.folded.get_mut(path) {
            let total = &mut folded.totals[counter as usize];
            *total = total.saturating_add(bytes);
            folded.last_used = self.uses;
        }
    }

    /// Settles what an earlier process was deleting when it was killed: what is gone from the table by now had been deleted,
    /// and is folded with the bytes that were last read.
    pub fn settle(&mut self, dump: &Dump, path_of: impl Fn(u64) -> String) {
        for doomed in std::mem::take(&mut self.doomed) {
            let elements = &dump[doomed.counter as usize];
            let left = elements.iter().find(|e| e.cgroup_id == doomed.cgroup_id).map_or(0, |e| e.bytes);
            if left < doomed.bytes {
                self.fold(&path_of(doomed.cgroup_id), doomed.counter, doomed.bytes);
            }
        }
    }

    /// The path of a cgroup by its id.
    pub fn path(&self, id: u64) -> Option<&str> {
        self.paths.get(&id).map(String::as_str)
    }

    /// The rows of the cgroups for which `wanted` holds: counters in the table and totals of deleted ones, by path.
    pub fn rows<'a>(
        &'a self,
        dump: &Dump,
        path_of: impl Fn(u64) -> Cow<'a, str>,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<Row> {
        let mut by_id: HashMap<u64, Totals> =
            HashMap::with_capacity(dump.iter().map(Vec::len).max().unwrap_or_default());
        for (index, elements) in dump.iter().enumerate() {
            for element in elements {
                by_id.entry(element.cgroup_id).or_default()[index] = element.bytes;
            }
        }
        let folded = self.folded.iter().filter(|(path, _)| wanted(path));
        let mut rows: HashMap<Cow<'a, str>, Totals> = folded.map(|(path, f)| (path.into(), f.totals)).collect();
        let paths = by_id.into_iter().map(|(id, totals)| (path_of(id), totals));
        for (path, totals) in paths.filter(|(path, _)| wanted(path)) {
            let row = rows.entry(path).or_default();
            *row = std::array::from_fn(|i| row[i].saturating_add(totals[i]));
        }
        rows.into_iter()
            .map(|(path, [rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes])| Row {
                cgroup: path.into_owned(),
                rx_bytes,
                tx_bytes,
                internal_rx_bytes,
                internal_tx_bytes,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(tx_external: &[(u64, u64)]) -> Dump {
        let element = |(cgroup_id, bytes): &(u64, u64)| Element { cgroup_id: *cgroup_id, packets: 1, bytes: *bytes };
        [vec![], tx_external.iter().map(element).collect(), vec![], vec![]]
    }

    fn tx(books: &Books, dump: &Dump, paths: &[(u64, &str)]) -> Vec<(String, u64)> {
        let path_of = |id| paths.iter().find(|(known, _)| *known == id).map_or("/lost", |(_, path)| *path).into();
        let mut rows: Vec<_> =
            books.rows(dump, path_of, |_| true).into_iter().map(|r| (r.cgroup, r.tx_bytes)).collect();
        rows.sort();
        rows
    }

    #[test]
    fn a_path_is_the_sum_of_all_ids_it_ever_had() {
        let mut books = Books::new(7);
        books.fold("/a", Counter::TxExternal, 100);
        books.fold("/a", Counter::TxExternal, 10);
        books.fold("/gone", Counter::TxExternal, u64::MAX);
        books.fold("/gone", Counter::TxExternal, 1);
        let rows = tx(&books, &dump(&[(5, 1), (6, 2), (9, 4)]), &[(5, "/a"), (6, "/a")]);
        let expected = [("/a", 113), ("/gone", u64::MAX), ("/lost", 4)];
        assert_eq!(rows, expected.map(|(path, bytes)| (path.to_owned(), bytes)));
        assert!(books.rows(&dump(&[(5, 1)]), |_| "/a".into(), |path| path == "/b").is_empty());
    }

    #[test]
    fn a_deletion_that_was_cut_short_counts_once_whether_it_happened_or_not() {
        let doomed = |bytes| Doomed { counter: Counter::TxExternal, cgroup_id: 5, bytes };
        for (left, expected) in [(Some(100), 100), (Some(130), 130), (None, 100), (Some(7), 107)] {
            let mut books = Books { doomed: vec![doomed(100)], ..Books::new(1) };
            let dump = dump(&left.map(|bytes| (5, bytes)).into_iter().collect::<Vec<_>>());
            books.settle(&dump, |_| "/a".to_owned());
            assert_eq!(tx(&books, &dump, &[(5, "/a")]), [("/a".to_owned(), expected)], "{left:?} left");
            assert!(books.doomed.is_empty());
        }
    }

    #[test]
    fn the_longest_unused_path_is_forgotten_first() {
        let mut books = Books::new(1);
        for i in 0..KEPT_PATHS {
            books.fold(&format!("/{i}"), Counter::RxInternal, 1);
        }
        books.fold("/0", Counter::RxInternal, 1);
        books.fold("/new", Counter::RxInternal, 1);
        assert_eq!(books.folded.len(), KEPT_PATHS);
        assert!(books.folded.contains_key("/0") && books.folded.contains_key("/new"));
        assert!(!books.folded.contains_key("/1"));
    }

    #[test]
    fn what_is_saved_is_what_is_read_again() {
        let mut books = Books::new(u64::MAX);
        books.fold(r"/app-a\x2db.service", Counter::RxExternal, u64::MAX);
        books.doomed.push(Doomed { counter: Counter::TxInternal, cgroup_id: u64::MAX, bytes: 1 });
        let text = serde_json::to_vec(&books).unwrap();
        assert_eq!(serde_json::from_slice::<Books>(&text).unwrap(), books);
    }
}
