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
        Top, Tree,
        nodes::{DEEPEST, Known},
    },
    error::chain,
    kernel::LEVELS,
    sample::Row,
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    books::{Books, Doomed, Held, Totals},
    descriptors,
    forwarded::Forwarded,
    log,
    nft::{
        self, DELETED_AT_ONCE, Nft,
        key::Key,
        message::Element,
        ruleset::{Counter, ForwardedSet, Internal, Redirected},
    },
    remotes::Remotes,
    store::{self, Store},
};

mod remotes;

/// Removed cgroups whose counters are left in the table until they are folded into their paths' totals.
const PRUNED_FROM: usize = 256;
/// So many new cgroups, and the sets are looked at even though nobody reads: they may be full.
const LOOKED_AT_AFTER: usize = 1024;
/// Lines beyond twice the known cgroups, or beyond them in a long file, at which it is written anew.
const SPARE_LINES: usize = 1024;
/// Counters of unknown cgroups whose paths are kept as they were first thought to be.
const LOST_KEPT: usize = 1024;
/// Ids that are tried for a cgroup that came and went unseen: so many up to the newest that is known …
const IDS_SEARCHED: u64 = 1 << 18;
/// … and beyond it. The files of a cgroup have ids of their own, some dozens.
const IDS_AHEAD: u64 = 1 << 14;
/// Times that more of what happened to cgroups is taken in before a look goes on without the rest.
const ROUNDS: usize = 8;
/// Dumps of one set when they keep being disturbed.
const DUMPS: usize = 4;
/// A desktop's applications are seven levels deep: user.slice, user-UID.slice, user@UID.service, app.slice, a slice, a service
/// and at times one below it.
const LEAST_LEVELS: u8 = 8;
/// The root: where bytes are booked of which nobody knows whose they are.
const NOBODYS: &str = "/";
const RESET: &str = "another program has reset counters of netglance's table (nft reset): what they had counted when they were \
                     last read is kept; what came between then and the reset is missing";
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
    /// The tree's levels aren't those of the kernel's rules.
    #[error(
        "the helper runs in a container, and this kernel may count levels of control groups from the computer's own root, which \
         can't be seen there: bytes would be counted for the wrong ones. Run the helper outside of the container, or mount the \
         container's own cgroup tree and use a newer kernel: it is fixed in Linux {} (commit {})",
        LEVELS.fixed_in(),
        LEVELS.commit
    )]
    OtherRoot,
    /// A table of our name is somebody else's.
    #[error("another netglance-helper is counting here: it owns the table inet netglance")]
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
    /// Its key in the table and the path that its bytes are booked to, where that is all that is known.
    Lost {
        /// The key.
        key: Key,
        /// The path.
        path: String,
    },
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
    /// The cgroups that the tree knows, by their keys in the table.
    ids: HashMap<Key, u64>,
    /// Where the bytes of a cgroup are booked that came and went unseen: decided once, so that no row goes backwards.
    lost: HashMap<Key, String>,
    /// Ids up to here were known, or looked for, when it was last decided.
    searched: u64,
    /// Somebody has set counters back since the helper began.
    were_reset: bool,
    /// What was forwarded, as it was last read: IPv4 and IPv6.
    forwarded: Forwarded,
    /// The table has the rules for that.
    forwards: bool,
    /// What is counted by remote …
    remotes: Remotes,
    /// … of packets that may be translated.
    translated: bool,
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
            log(format_args!("{}; counting starts again", chain(&error)));
            None
        });
        let last_epoch = saved.as_ref().map_or(0, |books| books.epoch);
        if let Some(kept) = kept {
            let kept = kept.try_clone_to_owned().map_err(|source| nft::Error::Socket { doing: "duplicate", source })?;
            let mut nft = Nft::adopt(kept)?;
            check_levels(&mut nft, tree)?;
            clear_leftover(&mut nft);
            if let (Some(levels), Some(books)) = (nft.levels()?, saved) {
                let mut counting = Self::of(nft, levels, set_size, books, files);
                counting.go_on(tree, internal)?;
                return Ok(counting);
            }
            if let Err(error) = nft.delete_table()
                && !error.is_absent()
            {
                log(chain(&error));
            }
        }
        let mut nft = Nft::open()?;
        clear_leftover(&mut nft);
        nft.probe()?;
        check_levels(&mut nft, tree)?;
        let levels = create(&mut nft, levels(tree), set_size, internal)?;
        let books = Books::new(realtime_ns().max(last_epoch.saturating_add(1)));
        let mut counting = Self { deaths: tree.nodes().deaths(), ..Self::of(nft, levels, set_size, books, files) };
        counting.learn(tree.nodes().all().map(|(id, ..)| id));
        counting.searched = newest(tree);
        counting.remember(tree);
        counting.follow_levels(tree)?;
        counting.add_tops(tree, tree.nodes().all().filter(|(.., is_live)| *is_live).map(|(id, ..)| id))?;
        counting.begin_forwarded();
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
            ids: HashMap::new(),
            lost: HashMap::new(),
            searched: 0,
            were_reset: false,
            forwarded: Forwarded::default(),
            forwards: false,
            remotes: Remotes::default(),
            translated: false,
            elements: Vec::new(),
        }
    }

    /// Goes on in a table that an earlier process has made.
    fn go_on(&mut self, tree: &mut Tree, internal: Internal) -> Result<(), Error> {
        // Two dumps: one alone does not show what it has left out.
        self.dump()?;
        self.dump()?;
        self.learn(tree.nodes().all().map(|(id, ..)| id));
        self.recall(tree);
        self.learn(tree.nodes().all().map(|(id, ..)| id));
        self.searched = newest(tree);
        self.set_opaque(tree)?;
        self.settle(tree);
        self.remember(tree);
        self.replace_internal(internal)?;
        self.begin_forwarded();
        self.follow_levels(tree)?;
        self.add_tops(tree, tree.nodes().all().filter(|(.., is_live)| *is_live).map(|(id, ..)| id))?;
        self.catch_up(tree)?;
        self.tend(tree)?;
        if let Err(error) = self.recall_remotes(tree) {
            log(chain(&error));
        }
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

    /// Puts other rules for what is redirected in place; counters stay.
    pub fn redirect(&mut self, redirected: &Redirected) -> Result<(), Error> {
        self.nft.redirect(redirected)?;
        if std::mem::replace(&mut self.translated, redirected.translated) != redirected.translated {
            self.remotes.table_changed();
        }
        Ok(())
    }

    /// Has the table count what is forwarded. Where it can't, all else is counted, and it is tried again when somebody asks.
    fn begin_forwarded(&mut self) {
        self.forwards = self.nft.count_forwarded().map_err(|error| log(chain(&error))).is_ok();
    }

    /// Reads what was forwarded.
    pub fn read_forwarded(&mut self) -> Result<(), Error> {
        if !self.forwards {
            self.nft.count_forwarded()?;
            self.forwards = true;
        }
        for set in ForwardedSet::all() {
            let mut elements = 0_usize;
            for _ in 0..DUMPS {
                elements = 0;
                let forwarded = &mut self.forwarded;
                let is_steady = self.nft.read_forwarded(set, |address, bytes| {
                    elements = elements.saturating_add(1);
                    forwarded.take_in(set, address, bytes);
                })?;
                if is_steady {
                    break;
                }
            }
            self.forwarded.has_read(elements);
        }
        Ok(())
    }

    /// What was forwarded by the time of the latest read.
    pub fn forwarded(&self) -> Vec<netglance_dbus::forwarded::Forwarded> {
        self.forwarded.rows()
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
        self.learn(tree.made().iter().copied());
        self.follow_levels(tree)?;
        self.add_tops(tree, tree.made().iter().copied())?;
        if !tree.made().is_empty() {
            self.remotes.tree_changed();
        }
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
                    self.remotes.tree_changed();
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
        self.remotes.table_changed();
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
        let path_of = |key| match self.known(tree, key) {
            // The path of nobody else's cgroup is made.
            Some(id) if user.is_some() && nodes.owner(id, &mut known) != user => None,
            Some(id) => tree.path(id),
            None if self.behind && !self.lost.contains_key(&key) => None, // the next look knows it
            None => Some(self.path_of(tree, key)).filter(|path| is_told(path)),
        };
        self.books.rows(&self.held, path_of, is_told)
    }

    /// The totals of the latest dump by whose they are (`None`: root's) and path.
    pub fn totals(&self, tree: &Tree) -> HashMap<(Option<u32>, String), Totals> {
        let nodes = tree.nodes();
        let mut known = Known::new();
        let of_path = |path: &str| Some((nodes.owner_of_path(path), path.to_owned()));
        let of_key = |key| match self.known(tree, key) {
            Some(id) => Some((nodes.owner(id, &mut known), tree.path(id)?)),
            None if self.behind && !self.lost.contains_key(&key) => None, // the next look knows it
            None => of_path(&self.path_of(tree, key)),
        };
        self.books.totals(&self.held, of_key, of_path)
    }

    /// After a dump and a refresh: says whether a set is full, and prunes if it is or if there is enough to prune.
    pub fn tend(&mut self, tree: &mut Tree) -> Result<(), Error> {
        self.made = 0;
        let was_full = self.full;
        self.full = self.at_limit();
        if !self.behind {
            self.find_lost(tree);
        }
        self.keep_reset(tree);
        let dead = self.held.of(|key| self.is_gone(tree, key)).len();
        let outcome = if dead >= PRUNED_FROM || (self.full && dead > 0) { self.prune(tree) } else { Ok(()) };
        self.full = self.at_limit();
        if self.full != was_full {
            let size = self.set_size;
            log(if self.full { full(size) } else { "the sets of counters have room again".to_owned() });
        }
        self.deaths = tree.nodes().deaths();
        let held = &self.held;
        tree.forget(|id| held.holds(Key::of(id)));
        let known = tree.nodes().count_all();
        if self.ids.len() > known.saturating_mul(2).saturating_add(SPARE_LINES) {
            self.ids.retain(|_, id| tree.nodes().level(*id).is_some());
        }
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
        let lost: HashMap<_, _> = std::mem::take(&mut self.lost);
        let still = |key: &Key| self.held.holds(*key) && self.known(tree, *key).is_none();
        self.lost = lost.into_iter().filter(|(key, _)| still(key)).collect();
        let unknown = self.held.of(|key| self.known(tree, key).is_none() && !self.lost.contains_key(&key));
        let keys: BTreeSet<_> = unknown.into_iter().map(|doomed| doomed.key).collect();
        let newest = newest(tree);
        let mut left: HashSet<_> = keys.into_iter().take(LOST_KEPT.saturating_sub(self.lost.len())).collect();
        if !left.is_empty() {
            let mut found = Vec::new();
            // Ids rise, so that of one that was not met lies between those that were. It tells whose the cgroup may have been.
            let last = newest.saturating_add(IDS_AHEAD);
            for id in self.searched.max(last.saturating_sub(IDS_SEARCHED))..=last {
                let key = Key::of(id);
                if left.remove(&key) {
                    found.push((key, tree.nodes().nearest(id)));
                    if left.is_empty() {
                        break;
                    }
                }
            }
            // A socket that has outlived its cgroup for long: it may have been anybody's.
            found.extend(left.into_iter().map(|key| (key, NOBODYS.to_owned())));
            self.lines = self.lines.saturating_add(found.len());
            if self.unwritten.is_none() {
                let lines = found.iter().map(|(key, path)| Line::Lost { key: *key, path: path.clone() });
                let appended = self.files.paths.append(lines);
                self.note(appended);
            }
            self.lost.extend(found);
        }
        self.searched = newest;
    }

    /// Adds what counters had counted that somebody has set back to their paths' totals.
    fn keep_reset(&mut self, tree: &Tree) {
        let reset = self.held.take_reset();
        if reset.is_empty() {
            return;
        }
        let bytes = reset.iter().fold(0_u64, |sum, reset| sum.saturating_add(reset.bytes));
        log(format_args!("{RESET}; {} counters, {bytes} bytes kept", reset.len()));
        self.were_reset = true;
        for Doomed { counter, key, bytes } in reset {
            let path = self.path_of(tree, key);
            self.books.fold(&path, counter, bytes);
        }
        let saved = self.files.books.save(&self.books, false);
        self.note(saved);
    }

    fn learn(&mut self, cgroups: impl Iterator<Item = u64>) {
        self.ids.extend(cgroups.map(|id| (Key::of(id), id)));
    }

    /// The id of a cgroup that the tree knows, or knew until a while ago.
    fn known(&self, tree: &Tree, key: Key) -> Option<u64> {
        self.ids.get(&key).copied().filter(|id| tree.nodes().level(*id).is_some())
    }

    fn path_of(&self, tree: &Tree, key: Key) -> String {
        let path = self.known(tree, key).and_then(|id| tree.path(id));
        path.or_else(|| self.lost.get(&key).cloned()).unwrap_or_else(|| NOBODYS.to_owned())
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
                "control groups deeper than {} levels are counted for the one above them at that level",
                self.levels
            )
        });
        let unwritten = self.unwritten.as_ref().map(|why| {
            format!("{why}; counting goes on, but after a restart the bytes of ended programs may no longer be shown as theirs")
        });
        let reset = self.were_reset.then(|| RESET.to_owned());
        let forwarded = self.forwarded.warning();
        self.full.then(|| full(self.set_size)).into_iter().chain(forwarded).chain(deeper).chain(unwritten).chain(reset)
    }

    /// Whether a cgroup is gone for sure.
    fn is_gone(&self, tree: &Tree, key: Key) -> bool {
        match self.known(tree, key) {
            Some(id) => tree.nodes().is_dead(id) || (!self.behind && !tree.is_live(id)),
            None => !self.behind,
        }
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
        let keys: Vec<_> = cgroups.filter(is_top).map(Key::of).collect();
        match self.nft.add(&keys) {
            Err(error) if error.is_full() => Ok(()), // it is as it would be without
            other => Ok(other?),
        }
    }

    /// What an earlier process knew of removed cgroups whose counters are still there.
    fn recall(&mut self, tree: &mut Tree) {
        let is_live = |key: &Key| self.ids.get(key).is_some_and(|id| tree.is_live(*id));
        let mut wanted: HashSet<_> = self.held.of(|key| !is_live(&key)).into_iter().map(|d| d.key).collect();
        wanted.extend(self.books.doomed.iter().map(|doomed| doomed.key).filter(|key| !is_live(key)));
        let (mut found, mut lost) = (Vec::new(), HashMap::new());
        let read = self.files.paths.latest_lines(|line| match line {
            Line::Node(id, parent, name) if wanted.remove(&Key::of(id)) => {
                if !tree.is_live(parent) {
                    wanted.insert(Key::of(parent));
                }
                found.push((id, parent, name));
            }
            Line::Lost { key, path } if wanted.remove(&key) => {
                lost.insert(key, path);
            }
            _ => {}
        });
        self.lost = lost;
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
        let lost = self.lost.iter().map(|(key, path)| Line::Lost { key: *key, path: path.clone() });
        let written = self.files.paths.rewrite(ids.into_iter().filter_map(|id| line(tree, id)).chain(lost));
        let saved = self.files.books.save(&self.books, false);
        self.unwritten = None;
        self.note(written);
        self.note(saved);
    }

    /// A file that can't be written is no reason not to count.
    fn note(&mut self, result: Result<(), store::Error>) {
        if let Err(error) = result {
            let text = chain(&error);
            if self.unwritten.is_none() {
                log(&text);
            }
            self.unwritten = Some(text);
        }
    }

    /// Finishes a deletion of which it is not known whether it happened. The latest dump came after it.
    fn settle(&mut self, tree: &Tree) {
        let mut books = std::mem::take(&mut self.books);
        books.settle(&self.held, |key| self.path_of(tree, key));
        self.books = books;
        let saved = self.files.books.save(&self.books, false);
        self.note(saved);
    }

    /// Deletes the counters of removed cgroups and folds their last values into their paths' totals. What is about to be deleted
    /// is saved first: whoever is killed in the middle, nothing is lost. Where it can't be saved nothing is deleted.
    fn prune(&mut self, tree: &Tree) -> Result<(), Error> {
        let doomed = self.held.of(|key| self.is_gone(tree, key));
        for batch in doomed.chunks(DELETED_AT_ONCE) {
            self.books.doomed = batch.to_vec();
            if let Err(error) = self.files.books.save(&self.books, false) {
                self.books.doomed.clear();
                self.note(Err(error));
                return Ok(());
            }
            let keys: Vec<_> = batch.iter().map(|doomed| (doomed.counter, doomed.key)).collect();
            let last = match self.nft.delete(&keys) {
                Ok(last) => last,
                Err(nft::Error::Lost { deleted, last }) => {
                    let lost = nft::Error::Lost { deleted, last: last.clone() };
                    log(format_args!("{}; the last values that were read are used instead", chain(&lost)));
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
            let last: HashMap<_, _> = last.into_iter().map(|(counter, e)| ((counter, e.key), e.bytes)).collect();
            for Doomed { counter, key, bytes } in std::mem::take(&mut self.books.doomed) {
                let bytes = match last.get(&(counter, key)) {
                    Some(last) if *last < bytes => bytes.saturating_add(*last), // somebody has set it back
                    Some(last) => *last,
                    None => bytes,
                };
                let path = self.path_of(tree, key);
                self.books.fold(&path, counter, bytes);
                self.held.remove(counter, key);
            }
        }
        let saved = self.files.books.save(&self.books, false);
        self.note(saved);
        Ok(())
    }
}

/// Whether a level means the same to the kernel's rules and to the tree. Asked, not assumed: it depends on the kernel, and on
/// where the helper runs.
fn check_levels(nft: &mut Nft, tree: &Tree) -> Result<(), Error> {
    let is_same = match tree.top() {
        Top::Real => true,
        Top::Own => nft.counts_from_below()?,
        Top::Outside => false,
    };
    if is_same { Ok(()) } else { Err(Error::OtherRoot) }
}

/// A saved ruleset that was loaded at boot may have brought back what nft showed of a table. It counts for nobody.
fn clear_leftover(nft: &mut Nft) {
    match nft.clear_leftover() {
        Ok(true) => log("removed a table inet netglance that came from a saved ruleset or an earlier version"),
        Ok(false) => {}
        Err(error) => log(chain(&error)),
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

/// The highest id of a cgroup that is known.
fn newest(tree: &Tree) -> u64 {
    tree.nodes().all().map(|(id, ..)| id).max().unwrap_or_default()
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
        "more than {set_size} control groups have traffic, so the kernel has no counter for further ones: \
         their bytes are counted for the group above them until others have ended"
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
