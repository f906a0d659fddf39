//! A table that counts, and its books: begun or taken over, read, grown and pruned.
//!
//! It follows the cgroup tree that it is shown. It knows no route, no caller and nothing of what an administrator has decided:
//! `table.rs` does.

use std::{
    borrow::Cow,
    os::fd::{AsFd as _, OwnedFd},
};

use netglance_dbus::{cgroup::Tree, sample::Row};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    books::{Books, Held},
    descriptors, error_chain,
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
/// Dumps of one set when they keep being disturbed.
const DUMPS: usize = 4;
/// A desktop's applications are seven levels deep: user.slice, user-UID.slice, user@UID.service, app.slice, a slice, a service
/// and at times one below it.
const LEAST_LEVELS: u8 = 8;

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
    /// Lines of id and path.
    pub paths: Store,
}

/// A table that counts.
#[derive(Debug)]
pub struct Counting {
    nft: Nft,
    levels: u8,
    /// What a set holds at most.
    set_size: u32,
    books: Books,
    held: Held,
    files: Files,
    /// [`Tree::deaths`] at the latest pruning.
    deaths: u64,
    /// Cgroups that were made since the sets were last looked at.
    made: usize,
    /// A set was at its limit when last looked at.
    full: bool,
    /// Kept for its space.
    elements: Vec<Element>,
}

impl Counting {
    /// Goes on in the table that the socket `kept` owns if there is one, or makes a new table with sets of `set_size`.
    pub fn start(
        kept: Option<OwnedFd>,
        files: &Files,
        tree: &Tree,
        internal: Internal,
        set_size: u32,
    ) -> Result<Self, Error> {
        let saved: Option<Books> = files.books.load().unwrap_or_else(|error| {
            eprintln!("{}; counting starts again", error_chain(&error));
            None
        });
        let last_epoch = saved.as_ref().map_or(0, |books| books.epoch);
        if let Some(kept) = kept {
            let mut nft = Nft::adopt(kept)?;
            if let (Some(levels), Some(mut books)) = (nft.levels()?, saved) {
                books.paths = files.paths.lines()?.into_iter().collect();
                let mut counting = Self::of(nft, levels, set_size, books, files);
                counting.remember(tree)?;
                counting.settle(tree)?;
                counting.replace_internal(internal)?;
                counting.add_tops(tree.live())?;
                counting.follow(tree)?;
                eprintln!("counting goes on in the table that was kept, epoch {}", counting.books.epoch);
                return Ok(counting);
            }
            if let Err(error) = nft.delete_table()
                && !error.is_absent()
            {
                eprintln!("{}", error_chain(&error));
            }
        }
        let mut nft = Nft::open()?;
        nft.probe()?;
        let levels = levels(tree);
        nft.create(levels, set_size, internal)
            .map_err(|error| if error.is_occupied() { Error::Occupied } else { error.into() })?;
        let books = Books::new(realtime_ns().max(last_epoch.saturating_add(1)));
        let mut counting = Self { deaths: tree.deaths(), ..Self::of(nft, levels, set_size, books, files) };
        descriptors::keep(counting.nft.as_fd());
        counting.remember(tree)?;
        counting.add_tops(tree.live())?;
        eprintln!("counting begins, epoch {}; {levels} levels of cgroups", counting.books.epoch);
        Ok(counting)
    }

    fn of(nft: Nft, levels: u8, set_size: u32, books: Books, files: &Files) -> Self {
        let (held, files) = (Held::default(), files.clone());
        Self { nft, levels, set_size, books, held, files, deaths: 0, made: 0, full: false, elements: Vec::new() }
    }

    /// Another one whenever counting had to start again.
    pub fn epoch(&self) -> u64 {
        self.books.epoch
    }

    /// Whether a set is at its limit, so that the kernel makes no counter for a further cgroup: its bytes go to the nearest
    /// cgroup above it that has one.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Puts other internal prefixes in place, all at once; counters stay.
    pub fn replace_internal(&mut self, internal: Internal) -> Result<(), Error> {
        Ok(self.nft.replace_internal(internal)?)
    }

    /// Deletes the table. Its files are the caller's to remove.
    pub fn end(mut self) -> Result<(), Error> {
        self.nft.delete_table()?;
        eprintln!("counting ends, epoch {}", self.books.epoch);
        Ok(())
    }

    /// Takes in what the latest refresh of `tree` has brought: the table's levels follow the deepest cgroup, the books every
    /// new one.
    pub fn follow(&mut self, tree: &Tree) -> Result<(), Error> {
        self.books.paths.extend(tree.made().map(|(id, path)| (id, path.to_owned())));
        self.files.paths.append(tree.made())?;
        let levels = levels(tree);
        if levels > self.levels {
            self.nft.grow(self.levels, levels)?;
            self.levels = levels;
        }
        self.add_tops(tree.made())?;
        self.made = self.made.saturating_add(tree.made().count());
        let dead = tree.deaths().saturating_sub(self.deaths);
        if self.made >= LOOKED_AT_AFTER || dead >= PRUNED_FROM as u64 {
            self.dump()?;
            self.tend(tree)?;
        }
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

    /// The rows of the latest dump for whose path `wanted` holds.
    pub fn rows(&self, tree: &Tree, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
        let path_of = |id| self.books.path(id).map_or_else(|| tree.nearest(id).into(), Cow::from);
        self.books.rows(&self.held, path_of, wanted)
    }

    /// After a dump: says whether a set is full, and prunes if it is or if there is enough to prune.
    pub fn tend(&mut self, tree: &Tree) -> Result<(), Error> {
        self.made = 0;
        let was_full = self.full;
        self.full = self.at_limit();
        let dead = self.held.of(|id| !tree.is_live(id)).len();
        if dead >= PRUNED_FROM || (self.full && dead > 0) {
            self.prune(tree)?;
            self.full = self.at_limit();
        }
        if self.full != was_full {
            let size = self.set_size;
            eprintln!("{}", if self.full { full(size) } else { "the sets of counters have room again".to_owned() });
        }
        Ok(())
    }

    /// What is wrong, for a person.
    pub fn warning(&self) -> Option<String> {
        self.full.then(|| full(self.set_size))
    }

    fn at_limit(&self) -> bool {
        self.held.most() >= usize::try_from(self.set_size).unwrap_or(usize::MAX)
    }

    /// Elements for the cgroups right below the root, so that the bytes of a cgroup for which a full set has no room are
    /// booked to somebody.
    fn add_tops<'a>(&mut self, cgroups: impl Iterator<Item = (u64, &'a str)>) -> Result<(), Error> {
        let tops: Vec<_> = cgroups.filter(|(_, path)| path.matches('/').count() == 1 && *path != "/").collect();
        let ids: Vec<_> = tops.iter().map(|(id, _)| *id).collect();
        match self.nft.add(&ids) {
            Err(error) if error.is_full() => Ok(()), // it is as it would be without
            other => Ok(other?),
        }
    }

    /// Begins the files of a table: the path of every cgroup that exists, beside those that were known.
    fn remember(&mut self, tree: &Tree) -> Result<(), Error> {
        self.books.paths.extend(tree.live().map(|(id, path)| (id, path.to_owned())));
        self.files.paths.rewrite(self.books.paths.iter())?;
        Ok(self.files.books.save(&self.books, false)?)
    }

    /// Finishes a deletion of which it is not known whether it happened.
    fn settle(&mut self, tree: &Tree) -> Result<(), Error> {
        // What is held may be gone. Two dumps: one alone does not show what it has left out.
        self.held = Held::default();
        self.dump()?;
        self.dump()?;
        let paths = std::mem::take(&mut self.books.paths);
        self.books.settle(&self.held, |id| paths.get(&id).cloned().unwrap_or_else(|| tree.nearest(id)));
        self.books.paths = paths;
        Ok(self.files.books.save(&self.books, false)?)
    }

    /// Deletes the counters of removed cgroups and folds their last values into their paths' totals. What is about to be deleted
    /// is saved first: whoever is killed in the middle, nothing is lost.
    fn prune(&mut self, tree: &Tree) -> Result<(), Error> {
        self.deaths = tree.deaths();
        let doomed = self.held.of(|id| !tree.is_live(id));
        for batch in doomed.chunks(DELETED_AT_ONCE) {
            self.books.doomed = batch.to_vec();
            self.files.books.save(&self.books, false)?;
            let keys: Vec<_> = batch.iter().map(|doomed| (doomed.counter, doomed.cgroup_id)).collect();
            let last = match self.nft.delete(&keys) {
                Ok(last) => last,
                Err(nft::Error::Lost { deleted, last }) => {
                    let lost = nft::Error::Lost { deleted, last: last.clone() };
                    eprintln!("{}; what was last read is counted instead", error_chain(&lost));
                    last
                }
                Err(error) => {
                    self.settle(tree)?;
                    return Err(error.into());
                }
            };
            for doomed in std::mem::take(&mut self.books.doomed) {
                let id = doomed.cgroup_id;
                let echoed = last.iter().find(|(counter, e)| (*counter, e.cgroup_id) == (doomed.counter, id));
                let bytes = echoed.map_or(doomed.bytes, |(_, element)| element.bytes);
                let path = self.books.path(id).map_or_else(|| tree.nearest(id), str::to_owned);
                self.books.fold(&path, doomed.counter, bytes);
                self.held.remove(doomed.counter, id);
            }
        }
        // An element that comes back after this has a path as long as the tree remembers it.
        self.books.paths.retain(|id, _| tree.path(*id).is_some());
        self.files.paths.rewrite(self.books.paths.iter())?;
        Ok(self.files.books.save(&self.books, false)?)
    }
}

/// The levels that a table should have: one more than the deepest cgroup, so that the first packets of a deeper one are not
/// booked to its parent before the table has grown.
pub(crate) fn levels(tree: &Tree) -> u8 {
    let deepest = tree.paths().map(|path| path.matches('/').count()).max().unwrap_or_default();
    u8::try_from(deepest.saturating_add(1)).unwrap_or(u8::MAX).max(LEAST_LEVELS)
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
