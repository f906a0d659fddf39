//! The table and its books together: starts, follows, reads, prunes and stops counting.
//!
//! It knows no caller and no bus: `counters.rs` has asked who may. Nothing here waits.

use std::{
    borrow::Cow,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use netglance_dbus::{
    cgroup::{self, Tree},
    helper1::{self, WirePrefix, from_wire, to_wire},
    netlink,
    onlink::Onlink,
    sample::Sample,
    scope::Prefixes,
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    books::{Books, Doomed, Dump},
    descriptors,
    nft::{
        self, DELETED_AT_ONCE, Nft,
        ruleset::{Counter, Internal, SET_SIZE},
    },
    store::{self, Store},
};

/// Removed cgroups whose counters are left in the table until they are folded into their paths' totals.
const PRUNED_FROM: usize = 256;
/// A desktop's applications are seven levels deep: user.slice, user-UID.slice, user@UID.service, app.slice, a slice, a service
/// and at times one below it.
const LEAST_LEVELS: u8 = 8;
/// Additions or exceptions that one host may have.
const MOST_PREFIXES: usize = 1024;

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup tree.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// No routing table.
    #[error("cannot read the routing table")]
    Routes(#[from] netlink::Error),
    /// nf_tables.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// A file.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Nothing is counted.
    #[error("exact counting is not set up on this computer: choose \"Count exactly…\" in netglance")]
    NotInstalled,
    /// A table of our name is somebody else's.
    #[error(
        "a table inet netglance exists that this helper does not own: \
         another netglance-helper runs, or somebody made it by hand (nft delete table inet netglance)"
    )]
    Occupied,
    /// A prefix that can't be.
    #[error("{0}")]
    InvalidPrefix(String),
    /// More than one thing.
    #[error("{}", .0.join("; "))]
    Several(Vec<String>),
}

impl From<Error> for helper1::Error {
    fn from(error: Error) -> Self {
        let text = chain(&error);
        match error {
            Error::NotInstalled => Self::NotInstalled(text),
            Error::InvalidPrefix(_) => Self::InvalidPrefix(text),
            Error::Cgroup(cgroup::Error::Absent) | Error::Nft(nft::Error::Unsupported { .. }) => {
                Self::Unsupported(text)
            }
            _ => Self::Kernel(text),
        }
    }
}

/// An error and what caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What an administrator has decided; lasts over boots.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Setup {
    installed: bool,
    /// Internal as well.
    pub(crate) internal: Vec<IpNet>,
    /// External all the same.
    pub(crate) external: Vec<IpNet>,
}

/// A table that counts.
#[derive(Debug)]
struct Counting {
    nft: Nft,
    levels: u8,
    books: Books,
    /// [`Tree::deaths`] at the latest pruning.
    deaths: u64,
    /// A set was at its limit when last read.
    full: bool,
}

/// The table, if there is one, and all that it needs to know of the host.
#[derive(Debug)]
pub struct Table {
    tree: Tree,
    onlink: Onlink,
    host: Vec<IpNet>,
    prefixes: Prefixes,
    setup: Setup,
    setup_file: Store,
    books_file: Store,
    /// Lines of id and path.
    paths_file: Store,
    counting: Option<Counting>,
}

impl Table {
    /// Reads the host and what was decided, and starts to count if that was: in the table of the socket `kept` if it still has
    /// one. `state` lasts over boots, `runtime` until the next.
    pub fn open(state: &Path, runtime: &Path, kept: Option<OwnedFd>) -> Result<Self, Error> {
        let setup_file = Store::open(state, "setup.json")?;
        let setup = setup_file.load().unwrap_or_else(|error| {
            eprintln!("{}; going on as if nothing had been set up", chain(&error));
            None
        });
        let mut table = Self {
            tree: Tree::open()?,
            onlink: Onlink::open()?,
            host: Vec::new(),
            prefixes: Prefixes::default(),
            setup: setup.unwrap_or_default(),
            setup_file,
            books_file: Store::open(runtime, "books.json")?,
            paths_file: Store::open(runtime, "paths.lines")?,
            counting: None,
        };
        table.host = table.onlink.changed()?.unwrap_or_default();
        table.prefixes = table.judged();
        if table.setup.installed {
            if let Err(error) = table.start(kept) {
                eprintln!("{}; trying again when somebody asks", chain(&error));
            }
        } else if kept.is_some() {
            warn_unkept(descriptors::forget());
        }
        Ok(table)
    }

    /// Whether it counts, or would if it could.
    pub fn installed(&self) -> bool {
        self.setup.installed
    }

    /// What to wait for: whenever one of these is readable, [`Self::follow`] has something to take in.
    pub fn events(&self) -> std::io::Result<Vec<OwnedFd>> {
        let fds = self.tree.events().into_iter().chain([self.onlink.as_fd()]);
        fds.map(|fd| fd.try_clone_to_owned()).collect()
    }

    /// Starts to count, now and after every boot. Nothing happens where it counts already.
    pub fn install(&mut self) -> Result<(), Error> {
        if self.counting.is_none() {
            self.start(None)?;
        }
        let before = std::mem::replace(&mut self.setup.installed, true);
        self.setup_file.save(&self.setup, true).inspect_err(|_| self.setup.installed = before)?;
        Ok(())
    }

    /// Stops counting and forgets everything. Goes on after a failure, and says all of them.
    pub fn uninstall(&mut self) -> Result<(), Error> {
        let mut failures = Vec::new();
        if let Some(mut counting) = self.counting.take()
            && let Err(error) = counting.nft.delete_table()
        {
            failures.push(chain(&error));
        }
        warn_unkept(descriptors::forget());
        self.setup = Setup::default();
        self.prefixes = self.judged();
        for file in [&self.setup_file, &self.books_file, &self.paths_file] {
            if let Err(error) = file.remove() {
                failures.push(chain(&error));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Error::Several(failures)) }
    }

    /// Takes in what happened to cgroups and routes. Whether the internal prefixes are others now.
    pub fn follow(&mut self) -> Result<bool, Error> {
        let routes = self.onlink.changed()?;
        let changed = routes.is_some();
        if let Some(host) = routes {
            self.host = host;
            self.replace_prefixes()?;
        }
        self.follow_cgroups()?;
        Ok(changed)
    }

    /// Replaces the administrator's own prefixes.
    pub fn set_prefixes(&mut self, internal: &[WirePrefix], external: &[WirePrefix]) -> Result<(), Error> {
        let read = |wire: &[WirePrefix]| {
            if wire.len() > MOST_PREFIXES {
                let text = format!("{} prefixes are more than the {MOST_PREFIXES} that are allowed", wire.len());
                return Err(Error::InvalidPrefix(text));
            }
            wire.iter().map(from_wire).collect::<Result<Vec<_>, _>>().map_err(|error| {
                Error::InvalidPrefix(zbus::DBusError::description(&error).unwrap_or_default().to_owned())
            })
        };
        let (internal, external) = (read(internal)?, read(external)?);
        if let Some(both) = internal.iter().find(|prefix| external.contains(prefix)) {
            return Err(Error::InvalidPrefix(format!(
                "{both} can't be both internal and external; nothing was changed"
            )));
        }
        let new = Setup { installed: self.setup.installed, internal, external };
        self.setup_file.save(&new, true)?;
        self.setup = new;
        self.replace_prefixes()
    }

    /// What is internal now.
    pub fn internal_prefixes(&self) -> Vec<WirePrefix> {
        let v4 = self.prefixes.internal_v4().into_iter().flat_map(|(a, b)| Ipv4Subnets::new(a.into(), b.into(), 0));
        let v6 = self.prefixes.internal_v6().into_iter().flat_map(|(a, b)| Ipv6Subnets::new(a.into(), b.into(), 0));
        v4.map(IpNet::V4).chain(v6.map(IpNet::V6)).map(to_wire).collect()
    }

    /// The rows for whose path `wanted` holds.
    pub fn read(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Sample, Error> {
        if !self.setup.installed {
            return Err(Error::NotInstalled);
        }
        if self.counting.is_none() {
            self.start(None)?;
        }
        let boottime_ns = boottime_ns();
        let mut dump = self.dump();
        if matches!(&dump, Err(Error::Nft(nft)) if nft.is_absent()) {
            eprintln!("the table is gone; counting starts again");
            self.counting = None;
            self.start(None)?;
            dump = self.dump();
        }
        let dump = dump?;
        // After the dump: every cgroup in it is known to the tree by now.
        self.follow_cgroups()?;
        let counting = self.counting.as_ref().ok_or(Error::NotInstalled)?;
        let path_of = |id| counting.books.path(id).map_or_else(|| self.tree.nearest(id).into(), Cow::from);
        let sample =
            Sample { epoch: counting.books.epoch, boottime_ns, rows: counting.books.rows(&dump, path_of, wanted) };
        self.watch_size(&dump)?;
        Ok(sample)
    }

    fn judged(&self) -> Prefixes {
        Prefixes::new(&self.host, &self.setup.internal, &self.setup.external)
    }

    fn replace_prefixes(&mut self) -> Result<(), Error> {
        self.prefixes = self.judged();
        let (v4, v6) = (self.prefixes.internal_v4(), self.prefixes.internal_v6());
        if let Some(counting) = &mut self.counting {
            counting.nft.replace_internal(Internal { v4: &v4, v6: &v6 })?;
        }
        Ok(())
    }

    /// Makes a table, or goes on with the one that the socket `kept` owns.
    fn start(&mut self, kept: Option<OwnedFd>) -> Result<(), Error> {
        self.tree.refresh();
        let saved: Option<Books> = self.books_file.load().unwrap_or_else(|error| {
            eprintln!("{}; counting starts again", chain(&error));
            None
        });
        let last_epoch = saved.as_ref().map_or(0, |books| books.epoch);
        if let Some(kept) = kept {
            let mut nft = Nft::adopt(kept)?;
            if let (Some(levels), Some(mut books)) = (nft.levels()?, saved) {
                books.paths = self.paths_file.lines()?.into_iter().collect();
                self.counting = Some(Counting { nft, levels, books, deaths: 0, full: false });
                self.remember_all()?;
                self.settle()?;
                return self.replace_prefixes();
            }
            if let Err(error) = nft.delete_table().or_else(|e| if e.is_absent() { Ok(()) } else { Err(e) }) {
                eprintln!("{}", chain(&error));
            }
        }
        let mut nft = Nft::open()?;
        nft.probe()?;
        let (v4, v6) = (self.prefixes.internal_v4(), self.prefixes.internal_v6());
        let levels = levels(&self.tree);
        nft.create(levels, Internal { v4: &v4, v6: &v6 })
            .map_err(|error| if error.is_occupied() { Error::Occupied } else { error.into() })?;
        let books = Books::new(realtime_ns().max(last_epoch.saturating_add(1)));
        let deaths = self.tree.deaths();
        self.counting = Some(Counting { nft, levels, books, deaths, full: false });
        if let Some(counting) = &self.counting {
            warn_unkept(descriptors::store(counting.nft.as_fd()));
        }
        self.remember_all()
    }

    /// The table's levels follow the deepest cgroup, the books every new one.
    fn follow_cgroups(&mut self) -> Result<(), Error> {
        if !self.tree.refresh() {
            return Ok(());
        }
        let levels = levels(&self.tree);
        let Some(counting) = &mut self.counting else { return Ok(()) };
        let paths = &mut counting.books.paths;
        paths.extend(self.tree.made().map(|(id, path)| (id, path.to_owned())));
        self.paths_file.append(self.tree.made())?;
        if levels > counting.levels {
            counting.nft.grow(counting.levels, levels)?;
            counting.levels = levels;
        }
        let deaths = self.tree.deaths();
        let due = |counting: &Counting| deaths.saturating_sub(counting.deaths) >= PRUNED_FROM as u64;
        if self.counting.as_ref().is_some_and(due) {
            let dump = self.dump()?;
            self.prune(&dump)?;
        }
        Ok(())
    }

    /// Begins the files of a table: the path of every cgroup that exists, beside those that were known.
    fn remember_all(&mut self) -> Result<(), Error> {
        let Some(counting) = &mut self.counting else { return Ok(()) };
        counting.books.paths.extend(self.tree.live().map(|(id, path)| (id, path.to_owned())));
        self.paths_file.rewrite(counting.books.paths.iter())?;
        Ok(self.books_file.save(&counting.books, false)?)
    }

    fn dump(&mut self) -> Result<Dump, Error> {
        let counting = self.counting.as_mut().ok_or(Error::NotInstalled)?;
        let mut dump = Dump::default();
        for counter in Counter::ALL {
            dump[counter as usize] = counting.nft.read(counter)?;
        }
        Ok(dump)
    }

    /// Finishes a deletion in which an earlier process was killed.
    fn settle(&mut self) -> Result<(), Error> {
        let dump = self.dump()?;
        if let Some(counting) = &mut self.counting {
            let paths = counting.books.paths.clone();
            counting.books.settle(&dump, |id| paths.get(&id).cloned().unwrap_or_else(|| self.tree.nearest(id)));
            self.books_file.save(&counting.books, false)?;
        }
        Ok(())
    }

    /// At a set's limit the kernel makes no counter for a new cgroup, whose bytes go to its nearest counted ancestor.
    fn watch_size(&mut self, dump: &Dump) -> Result<(), Error> {
        let limit = usize::try_from(SET_SIZE).unwrap_or(usize::MAX);
        let full = dump.iter().any(|elements| elements.len() >= limit);
        let Some(counting) = &mut self.counting else { return Ok(()) };
        if full != std::mem::replace(&mut counting.full, full) {
            if full {
                eprintln!(
                    "a set has reached its {SET_SIZE} counters: the bytes of further cgroups go to their ancestors"
                );
            } else {
                eprintln!("the sets have room again");
            }
        }
        let dead = |id: &u64| !self.tree.is_live(*id);
        let dead = dump.iter().flatten().map(|element| element.cgroup_id).filter(dead).count();
        if dead >= PRUNED_FROM || full { self.prune(dump) } else { Ok(()) }
    }

    /// Deletes the counters of removed cgroups and folds their last values into their paths' totals. What is about to be deleted
    /// is saved first: whoever is killed in the middle, nothing is lost.
    fn prune(&mut self, dump: &Dump) -> Result<(), Error> {
        let Some(counting) = &mut self.counting else { return Ok(()) };
        counting.deaths = self.tree.deaths();
        let mut doomed: Vec<Doomed> = Vec::new();
        for (counter, elements) in Counter::ALL.into_iter().zip(dump) {
            let dead = elements.iter().filter(|element| !self.tree.is_live(element.cgroup_id));
            doomed.extend(dead.map(|e| Doomed { counter, cgroup_id: e.cgroup_id, bytes: e.bytes }));
        }
        for batch in doomed.chunks(DELETED_AT_ONCE) {
            counting.books.doomed = batch.to_vec();
            self.books_file.save(&counting.books, false)?;
            let keys: Vec<_> = batch.iter().map(|doomed| (doomed.counter, doomed.cgroup_id)).collect();
            let (last, lost) = match counting.nft.delete(&keys) {
                Err(nft::Error::Lost { deleted, last }) => (last.clone(), Some(nft::Error::Lost { deleted, last })),
                other => (other?, None),
            };
            for doomed in std::mem::take(&mut counting.books.doomed) {
                let echoed = last.iter().find(|(c, e)| (*c, e.cgroup_id) == (doomed.counter, doomed.cgroup_id));
                let bytes = echoed.map_or(doomed.bytes, |(_, element)| element.bytes);
                let id = doomed.cgroup_id;
                let path = counting.books.path(id).map_or_else(|| self.tree.nearest(id), str::to_owned);
                counting.books.fold(&path, doomed.counter, bytes);
            }
            if let Some(lost) = lost {
                eprintln!("{}; what was last read is counted instead", chain(&lost));
            }
        }
        // An element that comes back after this has a path as long as the tree remembers it.
        counting.books.paths.retain(|id, _| self.tree.path(*id).is_some());
        self.paths_file.rewrite(counting.books.paths.iter())?;
        Ok(self.books_file.save(&counting.books, false)?)
    }
}

/// The levels that the table should have: one more than the deepest cgroup, so that the first packets of a deeper one are not
/// booked to its parent before the table has grown.
pub fn levels(tree: &Tree) -> u8 {
    let deepest = tree.paths().map(|path| path.matches('/').count()).max().unwrap_or_default();
    u8::try_from(deepest.saturating_add(1)).unwrap_or(u8::MAX).max(LEAST_LEVELS)
}

/// Without systemd's store a restart begins a new epoch, which is worth a line and no more.
fn warn_unkept(result: std::io::Result<()>) {
    if let Err(error) = result {
        eprintln!("systemd does not keep the socket, so a restart will start counting again: {error}");
    }
}

fn clock_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}

fn boottime_ns() -> u64 {
    clock_ns(ClockId::Boottime)
}

fn realtime_ns() -> u64 {
    clock_ns(ClockId::Realtime)
}
