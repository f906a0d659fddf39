//! A table that counts, and its books: begun or taken over, read, grown and pruned.
//!
//! It follows the cgroup tree that it is shown. It knows no route, no caller and nothing of what an administrator has decided:
//! `table.rs` does.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    os::fd::{AsFd as _, BorrowedFd},
};

use netglance_dbus::{
    cgroup::{
        Tree,
        nodes::{DEEPEST, Known},
    },
    sample::Row,
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    books::{Books, Doomed, Held},
    descriptors, error_chain, log,
    nft::{
        self, DELETED_AT_ONCE, Nft,
        message::Element,
        ruleset::{Counter, Internal},
    },
    store::{self, Store},
};

/// Removed cgroups whose counters are left in the table until they are folded into their paths' totals.
const PRUNED_FROM: usize = 256;
/// So many new cgroups, and the sets are looked at even though nobody reads: they may be full.
const LOOKED_AT_AFTER: usize = 1024;
/// Lines beyond twice the known cgroups, or beyond them in a long file, at which it is written anew.
const SPARE_LINES: usize = 1024;
/// Counters of unknown cgroups whose paths are kept as they were first thought to be.
const LOST_KEPT: usize = 1024;
/// Times that more of what happened to cgroups is taken in before a look goes on without the rest.
const ROUNDS: usize = 8;
/// Dumps of one set when they keep being disturbed.
const DUMPS: usize = 4;
/// A desktop's applications are seven levels deep: user.slice, user-UID.slice, user@UID.service, app.slice, a slice, a service
/// and at times one below it.
const LEAST_LEVELS: u8 = 8;
/// Below it each user has a slice of their own.
const USERS: &str = "/user.slice/";

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nf_tables.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// A file.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A table of our name is somebody else's.
    #[error(
        "a table inet netglance exists that this helper does not own: \
         another netglance-helper runs, or somebody made it by hand (nft delete table inet netglance)"
    )]
    Occupied,
}

impl Error {
    /// The table is gone.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Nft(error) if error.is_absent())
    }
}

/// What outlives the process as long as the table does.
#[derive(Clone, Debug)]
pub struct Files {
    /// [`Books`].
    pub books: Store,
    /// Every cgroup that was met: a line for each.
    pub paths: Store,
}

/// A cgroup in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// Its id, its parent's, its name.
    Node(u64, u64, String),
    /// Its id and its whole path, where that is all that is known, and as version 0.1 wrote it.
    Path(u64, String),
}

/// A table that counts.
#[derive(Debug)]
pub struct Counting {
    nft: Nft,
    levels: u8,
    /// The kernel takes no more levels: what is deeper is booked to its ancestor.
    is_deepest: bool,
    /// What a set holds at most.
    set_size: u32,
    /// What the table books as a whole.
    opaque: BTreeSet<(u8, u64)>,
    books: Books,
    held: Held,
    files: Files,
    /// Lines in the file of cgroups.
    lines: usize,
    /// Why the files are behind. They are written anew as soon as that is possible.
    unwritten: Option<String>,
    /// The tree's deaths at the latest pruning.
    deaths: u64,
    /// Cgroups that were made since the sets were last looked at.
    made: usize,
    /// Not all that has happened to cgroups was taken in: an id that is not known may be that of a new one.
    behind: bool,
    /// A set was at its limit when last looked at.
    full: bool,
    /// Where the bytes of a cgroup are booked that came and went unseen: decided once, so that no row goes backwards.
    lost: HashMap<u64, String>,
    /// Kept for its space.
    elements: Vec<Element>,
}

impl Counting {
    /// Goes on in the table that the socket `kept` owns if there is one, or makes a new table with sets of `set_size`.
    pub fn start(
        kept: Option<BorrowedFd<'_>>,
        files: &Files,
        tree: &mut Tree,
        internal: Internal,
        set_size: u32,
    ) -> Result<Self, Error> {
        let saved: Option<Books> = files.books.load().unwrap_or_else(|error| {
            log(format_args!("{}; counting starts again", error_chain(&error)));
            None
        });
        let last_epoch = saved.as_ref().map_or(0, |books| books.epoch);
        if let Some(kept) = kept {
            let kept = kept.try_clone_to_owned().map_err(|source| nft::Error::Socket { doing: "duplicate", source })?;
            let mut nft = Nft::adopt(kept)?;
            if let (Some(levels), Some(books)) = (nft.levels()?, saved) {
                let mut counting = Self::of(nft, levels, set_size, books, files);
                counting.go_on(tree, internal)?;
                return Ok(counting);
            }
            if let Err(error) = nft.delete_table()
                && !error.is_absent()
            {
                log(error_chain(&error));
            }
        }
        let mut nft = Nft::open()?;
        nft.probe()?;
        let levels = create(&mut nft, levels(tree), set_size, internal)?;
        let books = Books::new(realtime_ns().max(last_epoch.saturating_add(1)));
        let mut counting = Self { deaths: tree.nodes().deaths(), ..Self::of(nft, levels, set_size, books, files) };
        counting.remember(tree);
        counting.follow_levels(tree)?;
        counting.add_tops(tree, tree.nodes().all().filter(|(.., is_live)| *is_live).map(|(id, ..)| id))?;
        descriptors::keep(counting.nft.as_fd()); // a table that is of no use goes with its socket
        log(format_args!("counting begins, epoch {}; {levels} levels of cgroups", counting.books.epoch));
        Ok(counting)
    }

    fn of(nft: Nft, levels: u8, set_size: u32, books: Books, files: &Files) -> Self {
        Self {
            nft,
            levels,
            is_deepest: false,
            set_size,
            opaque: BTreeSet::new(),
            books,
            held: Held::default(),
            files: files.clone(),
            lines: 0,
            unwritten: None,
            deaths: 0,
            made: 0,
            behind: false,
            full: false,
            lost: HashMap::new(),
            elements: Vec::new(),
        }
    }

    /// Goes on in a table that an earlier process has made.
    fn go_on(&mut self, tree: &mut Tree, internal: Internal) -> Result<(), Error> {
        // Two dumps: one alone does not show what it has left out.
        self.dump()?;
        self.dump()?;
        self.recall(tree);
        self.set_opaque(tree)?;
        self.settle(tree);
        self.remember(tree);
        self.replace_internal(internal)?;
        self.follow_levels(tree)?;
        self.add_tops(tree, tree.nodes().all().filter(|(.., is_live)| *is_live).map(|(id, ..)| id))?;
        self.catch_up(tree)?;
        self.tend(tree)?;
        log(format_args!("counting goes on in the table that was kept, epoch {}", self.books.epoch));
        Ok(())
    }

    /// Another one whenever counting had to start again.
    pub fn epoch(&self) -> u64 {
        self.books.epoch
    }

    /// Puts other internal prefixes in place, all at once; counters stay.
    pub fn replace_internal(&mut self, internal: Internal) -> Result<(), Error> {
        Ok(self.nft.replace_internal(internal)?)
    }

    /// Deletes the table. Its files are the caller's to remove.
    pub fn end(mut self) -> Result<(), Error> {
        self.nft.delete_table()?;
        log(format_args!("counting ends, epoch {}", self.books.epoch));
        Ok(())
    }

    /// Takes in what the latest refresh of `tree` has brought: the table's levels follow the deepest cgroup, the files every
    /// new one.
    pub fn follow(&mut self, tree: &mut Tree) -> Result<(), Error> {
        self.take_in(tree)?;
        let dead = tree.nodes().deaths().saturating_sub(self.deaths);
        if self.made >= LOOKED_AT_AFTER || dead >= PRUNED_FROM as u64 {
            self.dump()?;
            self.catch_up(tree)?;
            self.tend(tree)?;
        }
        Ok(())
    }

    /// After a dump: takes in what has happened to cgroups meanwhile, so that each is known that has a counter in the dump. Somebody
    /// who makes more of them than can be taken in at once has to wait.
    pub fn catch_up(&mut self, tree: &mut Tree) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            if !tree.refresh() {
                break;
            }
            self.take_in(tree)?;
        }
        self.behind = tree.is_behind();
        Ok(())
    }

    fn take_in(&mut self, tree: &Tree) -> Result<(), Error> {
        self.follow_levels(tree)?;
        self.add_tops(tree, tree.made().iter().copied())?;
        self.made = self.made.saturating_add(tree.made().len());
        self.lines = self.lines.saturating_add(tree.made().len());
        if self.unwritten.is_none() {
            let lines = tree.made().iter().filter_map(|id| line(tree, *id));
            let appended = self.files.paths.append(lines);
            self.note(appended);
        }
        Ok(())
    }

    /// The table's levels follow the deepest cgroup, and its opaque ones the tree's.
    fn follow_levels(&mut self, tree: &Tree) -> Result<(), Error> {
        let wanted = levels(tree);
        let mut changed = self.opaque != *tree.nodes().opaque();
        if wanted > self.levels && !self.is_deepest {
            match self.nft.grow(self.levels, wanted) {
                Err(error) if error.is_unsupported() => self.is_deepest = true,
                other => {
                    other?;
                    self.levels = wanted;
                    changed |= !self.opaque.is_empty(); // the new rules stand in front of theirs
                }
            }
        }
        if changed { self.set_opaque(tree) } else { Ok(()) }
    }

    fn set_opaque(&mut self, tree: &Tree) -> Result<(), Error> {
        let opaque = tree.nodes().opaque();
        let taken: BTreeSet<_> = opaque.iter().filter(|(level, _)| *level <= self.levels).copied().collect();
        self.nft.set_opaque(self.levels, &taken)?;
        self.opaque.clone_from(opaque);
        Ok(())
    }

    /// Reads the sets. What a dump leaves out while packets make new elements, or while another program changes its ruleset,
    /// the next one shows.
    pub fn dump(&mut self) -> Result<(), Error> {
        for counter in Counter::ALL {
            for _ in 0..DUMPS {
                let steady = self.nft.read(counter, &mut self.elements)?;
                let whole = self.held.take_in(counter, &self.elements);
                if steady && whole {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The rows of the latest dump of a user's own cgroups; of all cgroups where there is none.
    pub fn rows(&self, tree: &Tree, user: Option<u32>) -> Vec<Row> {
        let nodes = tree.nodes();
        let mut known = Known::new();
        let is_told = |path: &str| user.is_none() || nodes.owner_of_path(path) == user;
        let path_of = |id| match nodes.level(id) {
            // The path of nobody else's cgroup is made.
            Some(_) if user.is_some() && nodes.owner(id, &mut known) != user => None,
            Some(_) => tree.path(id),
            None if self.behind && !self.lost.contains_key(&id) => None, // the next look knows it
            None => Some(path_of(tree, &self.lost, id)).filter(|path| is_told(path)),
        };
        self.books.rows(&self.held, path_of, is_told)
    }

    /// After a dump and a refresh: says whether a set is full, and prunes if it is or if there is enough to prune.
    pub fn tend(&mut self, tree: &mut Tree) -> Result<(), Error> {
        self.made = 0;
        let was_full = self.full;
        self.full = self.at_limit();
        if !self.behind {
            self.find_lost(tree);
        }
        let dead = self.held.of(|id| self.is_gone(tree, id)).len();
        let outcome = if dead >= PRUNED_FROM || (self.full && dead > 0) { self.prune(tree) } else { Ok(()) };
        self.full = self.at_limit();
        if self.full != was_full {
            let size = self.set_size;
            log(if self.full { full(size) } else { "the sets of counters have room again".to_owned() });
        }
        self.deaths = tree.nodes().deaths();
        let held = &self.held;
        tree.forget(|id| held.holds(id));
        let known = tree.nodes().count_all();
        let most = known.saturating_mul(if self.files.paths.is_long() { 1 } else { 2 }).saturating_add(SPARE_LINES);
        if self.lines > most {
            self.remember(tree);
        }
        outcome
    }

    /// Whether [`Self::retry`] has something to do.
    pub fn is_troubled(&self) -> bool {
        self.unwritten.is_some()
    }

    /// Decides where what is counted for unknown cgroups belongs, and writes it down.
    fn find_lost(&mut self, tree: &Tree) {
        let (held, lost) = (&self.held, &mut self.lost);
        lost.retain(|id, _| held.holds(*id) && tree.nodes().level(*id).is_none());
        let unknown = held.of(|id| tree.nodes().level(id).is_none() && !lost.contains_key(&id));
        let ids: BTreeSet<_> = unknown.into_iter().map(|doomed| doomed.cgroup_id).collect();
        let found: Vec<_> = ids.into_iter().take(LOST_KEPT.saturating_sub(lost.len())).collect();
        if found.is_empty() {
            return;
        }
        lost.extend(found.iter().map(|id| (*id, tree.nodes().nearest(*id))));
        self.lines = self.lines.saturating_add(found.len());
        if self.unwritten.is_none() {
            let lines = found.iter().filter_map(|id| Some(Line::Path(*id, lost.get(id)?.clone())));
            let appended = self.files.paths.append(lines);
            self.note(appended);
        }
    }

    /// Writes the files that could not be written before.
    pub fn retry(&mut self, tree: &Tree) {
        if self.unwritten.is_some() {
            self.remember(tree);
        }
    }

    /// What is wrong, for a person.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let deeper = self.is_deepest.then(|| {
            format!(
                "control groups deeper than {} levels are counted with the one above them at that level",
                self.levels
            )
        });
        let unwritten = self.unwritten.as_ref().map(|why| {
            format!("{why}; counting goes on, but a restart of the helper may not know whose the bytes of ended programs were")
        });
        self.full.then(|| full(self.set_size)).into_iter().chain(deeper).chain(unwritten)
    }

    /// Whether a cgroup is gone for sure.
    fn is_gone(&self, tree: &Tree, id: u64) -> bool {
        tree.nodes().is_dead(id) || (!self.behind && !tree.is_live(id))
    }

    fn at_limit(&self) -> bool {
        self.held.most() >= usize::try_from(self.set_size).unwrap_or(usize::MAX)
    }

    /// Elements for the cgroups right below the root and for each user's slice, so that the bytes of a cgroup for which a full
    /// set has no room are booked to somebody, and a user's to that user.
    fn add_tops(&mut self, tree: &Tree, cgroups: impl Iterator<Item = u64>) -> Result<(), Error> {
        let is_top = |id: &u64| match tree.nodes().level(*id) {
            Some(1) => true,
            Some(2) => tree.path(*id).is_some_and(|path| path.starts_with(USERS)),
            _ => false,
        };
        let ids: Vec<_> = cgroups.filter(is_top).collect();
        match self.nft.add(&ids) {
            Err(error) if error.is_full() => Ok(()), // it is as it would be without
            other => Ok(other?),
        }
    }

    /// What an earlier process knew of removed cgroups whose counters are still there.
    fn recall(&mut self, tree: &mut Tree) {
        let mut wanted: HashSet<_> = self.held.of(|id| !tree.is_live(id)).into_iter().map(|d| d.cgroup_id).collect();
        wanted.extend(self.books.doomed.iter().map(|doomed| doomed.cgroup_id).filter(|id| !tree.is_live(*id)));
        let mut found = Vec::new();
        let read = self.files.paths.latest_lines(|line| match line {
            Line::Node(id, parent, name) if wanted.remove(&id) => {
                if !tree.is_live(parent) {
                    wanted.insert(parent);
                }
                found.push((id, parent, name));
            }
            Line::Path(id, path) if wanted.remove(&id) => {
                // Its parents are those of a live one of that path: the nearest that there is, whose child then has a long name.
                let mut above = path.rmatch_indices('/').map(|(end, _)| path.split_at(end));
                if let Some((parent, name)) = above.find_map(|(above, name)| Some((tree.find(above)?, name))) {
                    found.push((id, parent, name.trim_start_matches('/').to_owned()));
                }
            }
            _ => {}
        });
        self.note(read);
        // A parent is met before what is below it: its line is older.
        for (id, parent, name) in found.into_iter().rev() {
            tree.recall(id, parent, name.as_bytes());
        }
    }

    /// Begins the files of a table anew, with every cgroup that is known.
    fn remember(&mut self, tree: &Tree) {
        let mut ids: Vec<_> = tree.nodes().all().map(|(id, ..)| id).collect();
        ids.sort_unstable(); // a parent before what is below it
        self.lines = ids.len().saturating_add(self.lost.len());
        let lost = self.lost.iter().map(|(id, path)| Line::Path(*id, path.clone()));
        let written = self.files.paths.rewrite(ids.into_iter().filter_map(|id| line(tree, id)).chain(lost));
        let saved = self.files.books.save(&self.books, false);
        self.unwritten = None;
        self.note(written);
        self.note(saved);
    }

    /// A file that can't be written is no reason not to count.
    fn note(&mut self, result: Result<(), store::Error>) {
        if let Err(error) = result {
            let text = error_chain(&error);
            if self.unwritten.is_none() {
                log(&text);
            }
            self.unwritten = Some(text);
        }
    }

    /// Finishes a deletion of which it is not known whether it happened. The latest dump came after it.
    fn settle(&mut self, tree: &Tree) {
        self.books.settle(&self.held, |id| path_of(tree, &self.lost, id));
        let saved = self.files.books.save(&self.books, false);
        self.note(saved);
    }

    /// Deletes the counters of removed cgroups and folds their last values into their paths' totals. What is about to be deleted
    /// is saved first: whoever is killed in the middle, nothing is lost. Where it can't be saved nothing is deleted.
    fn prune(&mut self, tree: &Tree) -> Result<(), Error> {
        let doomed = self.held.of(|id| self.is_gone(tree, id));
        for batch in doomed.chunks(DELETED_AT_ONCE) {
            self.books.doomed = batch.to_vec();
            if let Err(error) = self.files.books.save(&self.books, false) {
                self.books.doomed.clear();
                self.note(Err(error));
                return Ok(());
            }
            let keys: Vec<_> = batch.iter().map(|doomed| (doomed.counter, doomed.cgroup_id)).collect();
            let last = match self.nft.delete(&keys) {
                Ok(last) => last,
                Err(nft::Error::Lost { deleted, last }) => {
                    let lost = nft::Error::Lost { deleted, last: last.clone() };
                    log(format_args!("{}; what was last read is counted instead", error_chain(&lost)));
                    last
                }
                Err(error) => {
                    // What is held may be gone.
                    self.held = Held::default();
                    self.dump()?;
                    self.dump()?;
                    self.settle(tree);
                    return Err(error.into());
                }
            };
            let last: HashMap<_, _> = last.into_iter().map(|(counter, e)| ((counter, e.cgroup_id), e.bytes)).collect();
            for Doomed { counter, cgroup_id, bytes } in std::mem::take(&mut self.books.doomed) {
                let bytes = last.get(&(counter, cgroup_id)).copied().unwrap_or(bytes);
                self.books.fold(&path_of(tree, &self.lost, cgroup_id), counter, bytes);
                self.held.remove(counter, cgroup_id);
            }
        }
        let saved = self.files.books.save(&self.books, false);
        self.note(saved);
        Ok(())
    }
}

/// Makes the table with as many levels as the kernel takes, and says how many those are: it counts them from the real root,
/// also for those who can't see it, and has no more than 255.
fn create(nft: &mut Nft, wanted: u8, set_size: u32, internal: Internal) -> Result<u8, Error> {
    let mut levels = wanted;
    loop {
        match nft.create(levels, set_size, internal) {
            Ok(()) => return Ok(levels),
            Err(error) if error.is_occupied() => return Err(Error::Occupied),
            Err(error) if error.is_unsupported() && levels > LEAST_LEVELS => levels = (levels / 2).max(LEAST_LEVELS),
            Err(error) => return Err(error.into()),
        }
    }
}

fn path_of(tree: &Tree, lost: &HashMap<u64, String>, id: u64) -> String {
    tree.path(id).or_else(|| lost.get(&id).cloned()).unwrap_or_else(|| tree.nodes().nearest(id))
}

fn line(tree: &Tree, id: u64) -> Option<Line> {
    let (parent, name) = tree.nodes().named(id)?;
    Some(Line::Node(id, parent, String::from_utf8_lossy(name).into_owned()))
}

/// The levels that a table should have: one more than the deepest cgroup, so that the first packets of a deeper one are not
/// booked to its parent before the table has grown.
pub(crate) fn levels(tree: &Tree) -> u8 {
    tree.nodes().deepest().saturating_add(1).clamp(LEAST_LEVELS, DEEPEST)
}

fn full(set_size: u32) -> String {
    format!(
        "more than {set_size} control groups have traffic, so the kernel keeps no counter for further ones: \
         their bytes show up in the group above them until others have ended"
    )
}

fn realtime_ns() -> u64 {
    clock_ns(ClockId::Realtime)
}

/// A clock's time in nanoseconds.
pub fn clock_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}
