//! cgroup ids and their paths: the cgroup v2 tree, read once and then followed with inotify. It knows no unit name.
//!
//! A cgroup's id is the inode number of its directory and is never used again. Paths are written as in `/proc/PID/cgroup`. Any
//! user may make cgroups, so there are limits to what is followed: see [`nodes`].

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use self::{
    nodes::{Found, Met, Nodes},
    watches::{Event, Watched, Watches},
};

pub mod nodes;
mod watches;

/// While [`Tree::is_whole`] does not hold, call [`Tree::retry`] so long after that began, and after each try.
pub const RETRIED_AFTER: Duration = Duration::from_secs(60);
/// The time between two looks at the directories' owners …
const OWNERS_EVERY: Duration = Duration::from_secs(1);
/// … which take at most this part of the time.
const OWNERS_SHARE: u32 = 20;
/// After so many deaths an app's tree forgets the older ones. The helper says itself which it still needs.
const TIDIED_AFTER: u64 = 4096;
/// The longest path that is opened at once: below the kernel's limit of 4,096 bytes.
const PATH_BYTES: usize = 3000;

/// Why there is no cgroup tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of mounts can't be read.
    #[error("cannot read /proc/self/mountinfo; is /proc mounted?")]
    Mounts(#[source] io::Error),
    /// No cgroup v2 is mounted, not even beside v1.
    #[error(
        "no cgroup v2 hierarchy is mounted here, but netglance tells applications apart by their cgroup v2. \
         Boot with systemd.unified_cgroup_hierarchy=1 (the default since Debian 11), or mount one: \
         mount -t cgroup2 none /sys/fs/cgroup/unified"
    )]
    Absent,
    /// The mounted tree can't be read.
    #[error("cannot read the cgroup tree at {}", path.display())]
    Read {
        /// Where it is mounted.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What the top of a [`Tree`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    /// The root of all cgroups.
    Real,
    /// The root of this process's cgroup namespace, as in a container, or a cgroup below it.
    Own,
    /// A cgroup outside of this process's cgroup namespace.
    Outside,
}

/// The tree as it is now, and the ids it had.
#[derive(Debug)]
pub struct Tree {
    /// The directory of the root.
    mount: PathBuf,
    /// The same, open.
    top: OwnedFd,
    /// The root's own path as `/proc/PID/cgroup` writes it; empty for "/".
    root: String,
    /// `None`: the kernel gives us no (more) watches, so every refresh reads the whole tree.
    watches: Option<Watches>,
    nodes: Nodes,
    /// Added by the latest refresh.
    made: Vec<u64>,
    /// [`Nodes::deaths`] when old ones were last forgotten.
    tidied: u64,
    /// When to look at the owners again.
    owners_due: Instant,
}

impl Tree {
    /// Finds the cgroup v2 mount (alone or beside v1) and reads it.
    pub fn open() -> Result<Self, Error> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(Error::Mounts)?;
        let (mount, root) = find_mount(&mounts).ok_or(Error::Absent)?;
        Self::at(mount, root)
    }

    fn at(mount: PathBuf, root: String) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: mount.clone(), source };
        fs::read_dir(&mount).map_err(failed)?;
        let id = fs::metadata(&mount).map_err(failed)?.ino();
        let top = rustix::fs::open(&mount, LOOK, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let root = root.trim_end_matches('/').to_owned();
        let nodes = Nodes::new(id, &root);
        let watches = Watches::open(id).ok();
        let mut tree = Self { mount, top, root, watches, nodes, made: vec![id], tidied: 0, owners_due: Instant::now() };
        tree.look_below(id);
        tree.end_unfollowed();
        Ok(tree)
    }

    /// The directory at which the tree is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Which root the top is, as far as can be seen from here.
    pub fn top(&self) -> Top {
        // The real root alone lacks this file (cgroup-v2.rst).
        let has_type = || fs::exists(self.mount.join("cgroup.type")).unwrap_or(true);
        match self.root.as_str() {
            "" if !has_type() => Top::Real,
            path if path.split('/').any(|name| name == "..") => Top::Outside,
            _ => Top::Own,
        }
    }

    /// The directory of a cgroup with this path.
    pub fn directory(&self, path: &str) -> PathBuf {
        self.mount.join(path.strip_prefix(self.root.as_str()).unwrap_or(path).trim_start_matches('/'))
    }

    /// Becomes readable when [`Self::refresh`] has something to take in. `None`: the kernel gives no watches here.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.watches.as_ref().map(AsFd::as_fd)
    }

    /// Takes in what was made and removed since the last call, without waiting. Whether there was anything. It takes in only so
    /// much of one account at a time: see [`Self::is_behind`].
    pub fn refresh(&mut self) -> bool {
        self.made.clear();
        let mut changed = false;
        let mut ready = self.watches.as_ref().map(Watches::ready).unwrap_or_default();
        ready.sort_by_key(|account| *account == self.nodes.root()); // what was in an account comes before its end
        for account in ready {
            changed |= self.take_in(account);
        }
        if !self.is_watching() {
            changed |= self.scan(self.nodes.root());
        }
        changed
    }

    fn is_watching(&self) -> bool {
        self.watches.as_ref().is_some_and(Watches::are_given)
    }

    /// Whether there is more that [`Self::refresh`] would take in now.
    pub fn is_behind(&self) -> bool {
        self.watches.as_ref().is_some_and(|watches| !watches.ready().is_empty())
    }

    /// Tries again to follow what could not be followed: see [`RETRIED_AFTER`]. Whether anything has changed.
    pub fn retry(&mut self) -> bool {
        let mut changed = false;
        if !self.is_watching() {
            match &mut self.watches {
                Some(watches) => watches.begin_again(),
                None => self.watches = Watches::open(self.nodes.root()).ok(),
            }
            changed |= self.scan(self.nodes.root());
        }
        for id in self.nodes.closed() {
            let readable =
                self.directory_of(id).and_then(|directory| rustix::fs::openat(directory, c".", READ, Mode::empty()));
            if readable.is_ok() {
                self.nodes.open(id);
                self.look_below(id);
                changed = true;
            }
        }
        for account in self.nodes.crowded(Instant::now()) {
            if self.descendants(account).is_none_or(|count| count <= nodes::LIVE_AN_ACCOUNT / 2) {
                self.nodes.uncrowd(account);
                self.scan(account);
                changed = true;
            }
        }
        self.end_unfollowed();
        changed
    }

    /// Looks again whose the cgroups are that root can give away, because that happens after they are made, and without an
    /// event. It isn't urgent, and is done at most once a second. Whether any is another's now.
    pub fn refresh_owners(&mut self) -> bool {
        if self.owners_due > Instant::now() {
            return false;
        }
        let (began, mut changed) = (Instant::now(), false);
        for id in self.nodes.deciding() {
            let stat = self.directory_at(id).and_then(rustix::fs::fstat);
            if let Some(stat) = stat.ok().filter(|stat| stat.st_ino == id) {
                changed |= self.nodes.set_directory_owner(id, stat.st_uid);
            }
        }
        self.owners_due = Instant::now() + OWNERS_EVERY.max(began.elapsed() * OWNERS_SHARE);
        changed
    }

    /// Whether everything is followed.
    pub fn is_whole(&self) -> bool {
        self.is_watching() && self.nodes.opaque().is_empty()
    }

    /// What is known of each cgroup.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The path of a cgroup that exists or existed a while ago.
    pub fn path(&self, id: u64) -> Option<String> {
        self.nodes.path(id)
    }

    /// Whether a cgroup with this id exists.
    pub fn is_live(&self, id: u64) -> bool {
        self.nodes.is_live(id)
    }

    /// The ids of the cgroups that the latest [`Self::refresh`] (or opening) found for the first time.
    pub fn made(&self) -> &[u64] {
        &self.made
    }

    /// The path of every cgroup that exists, except the root.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        self.nodes.all().filter(|(.., is_live)| *is_live).filter_map(|(id, ..)| self.path(id))
    }

    /// Forgets removed cgroups, except the latest ones and those that `keep` holds for.
    pub fn forget(&mut self, keep: impl Fn(u64) -> bool) {
        self.tidied = self.nodes.deaths();
        self.nodes.forget(keep);
    }

    /// Forgets old ones now and then, for callers that need none of them.
    pub fn tidy(&mut self) {
        if self.nodes.deaths().saturating_sub(self.tidied) >= TIDIED_AFTER {
            self.forget(|_| false);
        }
    }

    /// A removed cgroup that an earlier process knew; its parent comes first.
    pub fn recall(&mut self, id: u64, parent: u64, name: &[u8]) {
        self.nodes.recall(id, parent, name);
    }

    /// The live cgroup of that path.
    pub fn find(&self, path: &str) -> Option<u64> {
        self.nodes.at(path)
    }

    /// Takes in as many events of an account as are read at once.
    fn take_in(&mut self, account: u64) -> bool {
        let Some(watches) = &mut self.watches else { return false };
        let (events, lost) = watches.read(account);
        let changed = !events.is_empty();
        for event in events {
            self.happened(&event);
        }
        if lost && account != self.nodes.root() {
            self.nodes.overrun(account, Instant::now());
        } else if lost {
            self.scan(account);
        }
        self.end_unfollowed();
        changed || lost
    }

    fn happened(&mut self, Event { parent, name, is_removed }: &Event) {
        let directory = self.directory_of(*parent);
        if matches!(directory, Err(Errno::ACCESS | Errno::PERM)) {
            self.close_above(*parent);
        }
        match (directory, self.nodes.child(*parent, name)) {
            (Ok(directory), _) if !is_removed => self.look(*parent, directory.as_fd(), name, Met::Told),
            (Ok(directory), Some(id)) => {
                // It may be back already under a new id; then the directory is there and stays.
                let now = rustix::fs::statat(&directory, &**name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_ino);
                if now != Ok(id) {
                    self.nodes.remove(id);
                }
            }
            (Err(_), Some(id)) if *is_removed => self.nodes.remove(id),
            (Err(Errno::NOENT), _) if !is_removed => self.nodes.miss(*parent, name, None, Instant::now()),
            _ => {}
        }
    }

    /// A cgroup can't be reached, because one above it can't be read.
    fn close_above(&mut self, mut id: u64) {
        let mut barred = self.nodes.closed_above(id);
        while barred.is_none()
            && let Some((above, _)) = self.nodes.named(id)
        {
            barred = match self.directory_of(above) {
                Err(Errno::ACCESS | Errno::PERM) => None,
                Ok(_) => Some(above),
                Err(_) => return,
            };
            id = above;
        }
        if let Some(barred) = barred {
            self.nodes.close(barred, Instant::now());
        }
    }

    /// Reads the whole tree or one account again. Whether anything has changed.
    fn scan(&mut self, account: u64) -> bool {
        let before = self.made.len();
        self.nodes.begin_scan();
        self.look_below(account);
        self.nodes.end_scan(account) || self.made.len() > before
    }

    /// Looks at everything below a cgroup.
    fn look_below(&mut self, id: u64) {
        let Ok(directory) = self.directory_of(id) else { return };
        self.watch_and_list(id, &directory, Met::Scanned);
    }

    /// Looks at a cgroup and at everything below it. One that is gone already is left out, as nobody can meet its id.
    fn look(&mut self, parent: u64, above: BorrowedFd<'_>, name: &[u8], met: Met) {
        if !self.nodes.is_followed(parent) {
            return;
        }
        let directory = match rustix::fs::openat(above, name, LOOK, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::ACCESS | Errno::PERM) => return self.nodes.close(parent, Instant::now()),
            Err(_) => return self.nodes.miss(parent, name, None, Instant::now()),
        };
        let Ok(stat) = rustix::fs::fstat(&directory) else { return };
        match self.nodes.add(parent, name, stat.st_ino, met, Instant::now()) {
            Found::New => {
                self.made.push(stat.st_ino);
                self.nodes.set_directory_owner(stat.st_ino, stat.st_uid);
            }
            Found::Known => {}
            Found::Beyond => return,
        }
        let below = if met == Met::Scanned { met } else { Met::Below };
        self.watch_and_list(stat.st_ino, &directory, below);
    }

    fn watch_and_list(&mut self, id: u64, directory: &OwnedFd, below: Met) {
        // Watch first, list then: what is made in between is seen twice, not missed.
        while let Some(watches) = self.watches.as_mut().filter(|watches| watches.are_given()) {
            match watches.add(self.nodes.teller(id), directory.as_fd(), id) {
                Watched::Yes | Watched::Gone => break,
                Watched::Unreadable => return self.nodes.close(id, Instant::now()),
                Watched::Refused if self.nodes.spare_watches(Instant::now()) => self.end_unfollowed(),
                // From now on the tree is read whole, which is slower and misses nothing that lasts.
                Watched::Refused => watches.give_up(),
            }
            if !self.nodes.is_live(id) {
                return;
            }
        }
        // A directory has a link from each below it, one from above and one from itself; most have none below.
        if rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_nlink == 2) {
            return;
        }
        let list = match rustix::fs::openat(directory, c".", READ, Mode::empty()) {
            Ok(list) => list,
            Err(Errno::ACCESS | Errno::PERM) => return self.nodes.close(id, Instant::now()),
            Err(_) => return,
        };
        let Ok(list) = Dir::new(list) else { return };
        for entry in list.flatten().filter(|entry| entry.file_type() == FileType::Directory) {
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.look(id, directory.as_fd(), name, below);
            }
            if !self.nodes.is_followed(id) || self.nodes.is_closed(id) {
                return;
            }
        }
    }

    /// Opens a cgroup's directory, unless another cgroup has its path by now.
    fn directory_of(&self, id: u64) -> Result<OwnedFd, Errno> {
        let directory = self.directory_at(id)?;
        if rustix::fs::fstat(&directory)?.st_ino == id { Ok(directory) } else { Err(Errno::NOENT) }
    }

    /// Opens the directory at a cgroup's path, in pieces if the path is too long for the kernel.
    fn directory_at(&self, id: u64) -> Result<OwnedFd, Errno> {
        let mut directory = None;
        let mut path = Vec::new();
        for name in self.nodes.names(id) {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if path.len() > PATH_BYTES {
                let from = directory.as_ref().unwrap_or(&self.top);
                directory = Some(rustix::fs::openat(from, path.as_slice(), LOOK, Mode::empty())?);
                path.clear();
            }
        }
        match directory {
            Some(directory) if path.is_empty() => Ok(directory),
            from => {
                // With a dot at the end it would need the right to search it.
                if path.is_empty() {
                    path.push(b'.');
                }
                rustix::fs::openat(from.as_ref().unwrap_or(&self.top), path.as_slice(), LOOK, Mode::empty())
            }
        }
    }

    /// Releases the watches of accounts that are not followed any more.
    fn end_unfollowed(&mut self) {
        for account in std::mem::take(&mut self.nodes.ended) {
            let (nodes, Some(watches)) = (&self.nodes, &mut self.watches) else { return };
            // Those of one that has gone have gone with it.
            if !watches.end(account) && nodes.is_live(account) {
                watches.end_common(|id| nodes.is_live(id));
            }
        }
    }

    /// How many cgroups are below one, according to the kernel.
    fn descendants(&self, id: u64) -> Option<usize> {
        let names = self.nodes.names(id);
        let mut path = self.mount.clone();
        path.extend(names.into_iter().map(std::ffi::OsStr::from_bytes));
        let text = fs::read_to_string(path.join("cgroup.stat")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("nr_descendants "))?.parse().ok()
    }
}

/// To open a directory and what is in it by name, without the right to read it.
const LOOK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// To list it.
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The mount point and root of the cgroup v2 mount that shows most of the tree. `mountinfo`: see proc_pid_mountinfo(5).
fn find_mount(mountinfo: &str) -> Option<(PathBuf, String)> {
    let cgroup2 = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, mount) = (unescape(fields.next()?), unescape(fields.next()?));
        kind.starts_with("cgroup2 ").then_some((PathBuf::from(mount), root))
    };
    mountinfo.lines().filter_map(cgroup2).min_by_key(|(_, root)| root.len())
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn unescape(field: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .iter()
        .fold(field.to_owned(), |field, (escape, plain)| field.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_alone_beside_v1_and_not_at_all() {
        let check = |mountinfo: &str, expected: Option<(&str, &str)>| {
            assert_eq!(find_mount(mountinfo), expected.map(|(m, r)| (m.into(), r.into())), "{mountinfo}");
        };
        let v1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        check(
            "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            Some(("/sys/fs/cgroup", "/")),
        );
        check(&format!("{v1}{unified}"), Some(("/sys/fs/cgroup/unified", "/")));
        check("9 1 0:30 /../a\\040b /mnt\\134x rw - cgroup2 none rw\n", Some(("/mnt\\x", "/../a b")));
        check(v1, None);
        check("rubbish\n - \n1 2 3 - cgroup2 x", None);
    }

    #[test]
    fn an_id_that_came_and_went_unseen_belongs_where_it_can_only_have_been() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| fs::create_dir_all(dir.path().join(path)).unwrap();
        let remove = |path: &str| fs::remove_dir(dir.path().join(path)).unwrap();
        make("a/b");
        let mut tree = Tree::at(dir.path().into(), "/".into()).unwrap();
        assert_eq!(tree.nodes().nearest(u64::MAX), "/");
        for (gone, expected) in [("a/b/x", "/a/b/x"), ("a/b/y", "/a/b"), ("a/z", "/a"), ("top", "/")] {
            make(gone);
            remove(gone);
            tree.refresh();
            assert_eq!(tree.nodes().nearest(u64::MAX), expected);
        }
        // What comes later was not any of those.
        make("a/later");
        tree.refresh();
        assert_eq!(tree.nodes().nearest(u64::MAX), "/");
        for _ in 0..3 {
            make("a/again");
            remove("a/again");
        }
        make("a/again");
        tree.refresh();
        let now = fs::metadata(dir.path().join("a/again")).unwrap().ino();
        assert_eq!(tree.nodes().nearest(now - 1), "/a/again");
    }

    /// On an ordinary file system ids are inodes just the same.
    #[test]
    fn follows_what_is_made_removed_and_made_again() {
        for watched in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("a/b")).unwrap();
            let mut tree = Tree::at(dir.path().into(), "/".into()).unwrap();
            if !watched {
                tree.watches = None;
            }
            let paths = |tree: &Tree| {
                let mut paths: Vec<_> = tree.paths().collect();
                paths.sort();
                paths.join(" ")
            };
            assert_eq!(paths(&tree), "/a /a/b");
            assert!(!tree.refresh());
            fs::create_dir_all(dir.path().join("c/d/e")).unwrap();
            fs::rename(dir.path().join("a/b"), dir.path().join("c/kept")).unwrap();
            fs::remove_dir(dir.path().join("c/kept")).unwrap();
            fs::create_dir(dir.path().join("a/new")).unwrap();
            assert!(tree.refresh());
            assert!(tree.made().iter().any(|id| tree.is_live(*id) && tree.path(*id).as_deref() == Some("/c/d")));
            assert!(paths(&tree).contains("/a/new /c /c/d /c/d/e"), "{}", paths(&tree));
            fs::remove_dir(dir.path().join("a/new")).unwrap();
            let _ = tree.refresh();
            assert!(!paths(&tree).contains("/a/new"));
            let kept = fs::metadata(dir.path().join("c/d")).unwrap().ino();
            assert_eq!(tree.path(kept).as_deref(), Some("/c/d"));
            assert_eq!(tree.path(u64::MAX), None);
            assert!(tree.is_live(kept));
            fs::remove_dir_all(dir.path().join("c/d")).unwrap();
            let before = tree.nodes().deaths();
            tree.refresh();
            assert_eq!(
                (tree.nodes().deaths(), tree.is_live(kept), tree.path(kept).as_deref()),
                (before + 2, false, Some("/c/d"))
            );
        }
    }
}
