//! Counting by remote: keeps the table's rules to what is asked for, and reads what they have counted.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use netglance_dbus::{cgroup::Tree, remote};
use rustix::time::ClockId;

use super::{Counting, DUMPS, Error, clock_ns, realtime_ns};
use crate::{
    nft::{
        key::Key,
        ruleset::{Owner, Set},
    },
    remotes::{Asked, Plan, Remotes, TooMany, covers},
};

/// Elements that are deleted in one transaction.
const DELETED_AT_ONCE: usize = 4096;

impl Counting {
    /// Goes on counting by remote where an earlier process was.
    pub(super) fn recall_remotes(&mut self, tree: &Tree) -> Result<(), Error> {
        let standing = self.nft.standing()?.owners();
        if standing.is_empty() && self.books.remotes == <_>::default() {
            return Ok(());
        }
        let owner = |path: &str| tree.nodes().owner_of_path(path);
        self.remotes = Remotes::recall(&self.books.remotes, &standing, owner, Instant::now());
        self.settle_remotes(tree).map(drop)
    }

    /// Somebody asks for these cgroups and what is below them; each has an owner.
    pub fn ask_remotes(&mut self, tree: &Tree, paths: &[(&str, Owner)]) -> Result<(), TooMany> {
        let now = Instant::now();
        for (path, owner) in paths {
            self.remotes.ask(path, *owner, tree.nodes().at(path).is_some(), now)?;
        }
        Ok(())
    }

    /// Whether all cgroups of these paths are counted by remote; what is below them may be on its way.
    pub fn counts_remotes(&self, tree: &Tree, paths: &[(&str, Owner)]) -> bool {
        let cgroups = paths.iter().filter_map(|(path, _)| tree.nodes().at(path));
        // The root has no counter.
        self.remotes.counts(cgroups.filter(|id| *id != tree.nodes().root()).map(Key::of))
    }

    /// Some cgroups are somebody else's now.
    pub fn owners_changed(&mut self) {
        self.remotes.tree_changed();
    }

    /// When to call [`Self::settle_remotes`].
    pub fn remotes_due(&self) -> Option<Instant> {
        self.remotes.due()
    }

    /// Has the table count what is asked for by now, and nothing else by remote. Returns when there is more to do, if that is
    /// not yet allowed.
    pub fn settle_remotes(&mut self, tree: &Tree) -> Result<Option<Instant>, Error> {
        let cpu = || Duration::from_nanos(clock_ns(ClockId::ThreadCPUTime));
        let (start, cpu_before) = (Instant::now(), cpu());
        let changed = match self.remotes.plan(tree.nodes(), self.levels, realtime_ns(), start) {
            Plan::Nothing => return Ok(None),
            Plan::Later(later) => return Ok(Some(later)),
            Plan::Same => Ok(()),
            Plan::Change(asked) => self.count_by_remote(asked),
        };
        self.remotes.rest(start.elapsed(), cpu().saturating_sub(cpu_before), Instant::now());
        if changed.is_err() {
            self.remotes.refused(Instant::now());
        }
        changed.map(|()| None)
    }

    fn count_by_remote(&mut self, asked: Asked) -> Result<(), Error> {
        self.nft.count_by_remote(&asked, self.translated)?;
        self.end_remotes()?;
        self.remotes.planned(asked);
        let remotes = self.remotes.saved();
        if remotes != self.books.remotes {
            self.books.remotes = remotes;
            let saved = self.files.books.save(&self.books, false);
            self.note(saved);
        }
        Ok(())
    }

    /// Deletes what was counted for cgroups that are not asked for any more.
    fn end_remotes(&mut self) -> Result<(), Error> {
        for (owner, ended) in self.remotes.ended() {
            for set in Set::all(owner) {
                let mut keys = Vec::new();
                self.nft.read_remotes(set, |key, _| {
                    if key.first_chunk().is_some_and(|cgroup| ended.contains(&Key::from_bytes(*cgroup))) {
                        keys.push(key.to_vec());
                    }
                })?;
                // Should a dump show an element twice.
                keys.sort_unstable();
                keys.dedup();
                for keys in keys.chunks(DELETED_AT_ONCE) {
                    self.nft.delete_remotes(set, keys)?;
                }
            }
            self.remotes.forget(owner, &ended);
        }
        Ok(())
    }

    /// Reads what was counted by remote: what [`Self::remotes`] then says is as of now.
    pub fn read_remotes(&mut self, tree: &Tree) -> Result<(), Error> {
        let mut strangers: BTreeMap<Owner, HashSet<Key>> = BTreeMap::new();
        for owner in self.remotes.owners() {
            for set in Set::all(owner) {
                for _ in 0..DUMPS {
                    let (remotes, strangers) = (&mut self.remotes, strangers.entry(owner).or_default());
                    let mut elements = 0;
                    let steady = self.nft.read_remotes(set, |key, bytes| {
                        elements += 1;
                        strangers.extend(remotes.take_in(set, key, bytes));
                    })?;
                    self.remotes.has_read(set, elements);
                    if steady {
                        break;
                    }
                }
            }
        }
        for (owner, keys) in strangers {
            for key in keys {
                let path = self.path_of(tree, key);
                self.remotes.remember(owner, key, path);
            }
        }
        Ok(())
    }

    /// The rows of the latest look at and below these paths: of a user's cgroups, or of all.
    pub fn remotes(&self, tree: &Tree, user: Option<u32>, paths: &[&str], boottime_ns: u64) -> remote::Remotes {
        let mut remotes = self.remotes.rows(user, paths, boottime_ns);
        // What is booked as a whole is not booked by remote.
        remotes.is_complete &= !self.opaque.iter().filter_map(|(_, id)| tree.path(*id)).any(|whole| {
            let is_at = |path: &str, above: &str| covers(path, |one| one == above);
            paths.iter().any(|path| is_at(path, &whole) || is_at(&whole, path))
        });
        remotes
    }
}
