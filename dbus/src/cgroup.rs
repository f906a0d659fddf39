//! cgroup ids and their paths: the cgroup v2 tree, read once and then followed with inotify. It knows no unit name.
//!
//! A cgroup's id is the inode number of its directory and is not given to another one later. Paths are written as in
//! `/proc/PID/cgroup`.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// Ids of removed cgroups that are remembered: their last sockets and counters may outlive them.
const REMEMBERED_DEAD: usize = 4096;
/// Cgroups whose id was never known that are remembered.
const REMEMBERED_NAMELESS: usize = 1024;

/// Why there is no cgroup tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of mounts can't be read.
    #[error("cannot read /proc/self/mountinfo; is /proc mounted?")]
    Mounts(#[source] io::Error),
    /// No cgroup v2 is mounted, not even beside v1.
    #[error(
        "no cgroup v2 hierarchy is mounted here, and netglance tells applications apart by their cgroup v2. \
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

/// The tree as it is now, and the ids it had.
#[derive(Debug)]
pub struct Tree {
    /// The directory of the root.
    mount: PathBuf,
    /// The root's own path as `/proc/PID/cgroup` writes it; empty for "/".
    root: String,
    /// `None`: the kernel gives us no (more) watches, so that every refresh reads the whole tree.
    inotify: Option<OwnedFd>,
    live: HashMap<u64, String>,
    /// By path: the id, and whether an event has told of it (else a listing has).
    ids: HashMap<String, (u64, bool)>,
    watches: HashMap<i32, String>,
    dead: HashMap<u64, String>,
    dead_order: VecDeque<u64>,
    deaths: u64,
    /// Added by the latest refresh.
    made: Vec<u64>,
    /// The latest cgroups that were gone before their id could be read.
    nameless: VecDeque<Nameless>,
}

/// A cgroup that was made and gone again before its id could be read.
#[derive(Debug)]
struct Nameless {
    path: String,
    /// The id of one that was made later, once one was: ids rise.
    before: Option<u64>,
}

impl Tree {
    /// Finds the cgroup v2 mount (alone or beside v1) and reads it.
    pub fn open() -> Result<Self, Error> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(Error::Mounts)?;
        let (mount, root) = find_mount(&mounts).ok_or(Error::Absent)?;
        Self::at(mount, root)
    }

    fn at(mount: PathBuf, root: String) -> Result<Self, Error> {
        fs::read_dir(&mount).map_err(|source| Error::Read { path: mount.clone(), source })?;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let mut tree = Self {
            mount,
            root: root.trim_end_matches('/').to_owned(),
            inotify,
            live: HashMap::new(),
            ids: HashMap::new(),
            watches: HashMap::new(),
            dead: HashMap::new(),
            dead_order: VecDeque::new(),
            deaths: 0,
            made: Vec::new(),
            nameless: VecDeque::new(),
        };
        tree.add_all();
        Ok(tree)
    }

    /// The directory at which the tree is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The directory of a cgroup with this path.
    pub fn directory(&self, path: &str) -> PathBuf {
        self.mount.join(path.strip_prefix(self.root.as_str()).unwrap_or(path).trim_start_matches('/'))
    }

    /// Becomes readable when [`Self::refresh`] has something to take in. `None`: the kernel gives no watches here.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Takes in what was made and removed since the last call; never waits. Whether anything was.
    pub fn refresh(&mut self) -> bool {
        self.made.clear();
        let Some(fd) = self.inotify.take() else { return self.rescan() };
        let mut changed = false;
        let mut overflow = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&fd, &mut buffer);
        while let Ok(event) = reader.next() {
            overflow |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            if event.events().contains(ReadFlags::IGNORED) {
                self.watches.remove(&event.wd());
            }
            let (Some(parent), Some(name)) = (self.watches.get(&event.wd()), event.file_name()) else { continue };
            if !event.events().contains(ReadFlags::ISDIR) {
                continue;
            }
            changed = true;
            let path = format!("{parent}/{}", name.to_string_lossy());
            if event.events().contains(ReadFlags::DELETE) {
                self.remove(&path);
            } else {
                self.add_below(&path, Some(&fd), true);
            }
        }
        if self.watches.len() < self.live.len() {
            // A watch was refused: from now on the tree is read whole, which is slower and misses nothing that lasts.
            return self.rescan();
        }
        self.inotify = Some(fd);
        if overflow { self.rescan() || changed } else { changed }
    }

    /// The path of a cgroup that exists or existed a while ago.
    pub fn path(&self, id: u64) -> Option<&str> {
        self.live.get(&id).or_else(|| self.dead.get(&id)).map(String::as_str)
    }

    /// Whether a cgroup with this id exists.
    pub fn is_live(&self, id: u64) -> bool {
        self.live.contains_key(&id)
    }

    /// Every cgroup that exists, with its id.
    pub fn live(&self) -> impl Iterator<Item = (u64, &str)> {
        self.live.iter().map(|(id, path)| (*id, path.as_str()))
    }

    /// The ids of the cgroups that the latest [`Self::refresh`] (or opening) met for the first time, and maybe of others.
    pub fn made(&self) -> impl Iterator<Item = (u64, &str)> {
        self.made.iter().filter_map(|id| Some((*id, self.path(*id)?)))
    }

    /// How many cgroups were removed since the tree was opened.
    pub fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Where an id belongs that [`Self::path`] does not know: the cgroup that was gone before its id could be read; where it may
    /// have been one of several, what they have in common; the root if there were none.
    pub fn nearest(&self, id: u64) -> String {
        let candidates = || self.nameless.iter().filter(|nameless| nameless.before.is_none_or(|before| id < before));
        let first_after = candidates().map(|nameless| nameless.before.unwrap_or(u64::MAX)).min();
        let likely = candidates().filter(|nameless| Some(nameless.before.unwrap_or(u64::MAX)) == first_after);
        let mut paths = likely.map(|nameless| nameless.path.split('/').collect::<Vec<_>>());
        let first = paths.next().unwrap_or_default();
        let common = paths.fold(first, |common, path| {
            common.into_iter().zip(path).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
        });
        let path = common.join("/");
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Every cgroup that exists, the root not among them.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.live.values().map(String::as_str).filter(|path| *path != "/")
    }

    fn rescan(&mut self) -> bool {
        let before = std::mem::take(&mut self.live);
        self.ids.clear();
        self.add_all();
        let gone: Vec<_> = before.iter().filter(|(id, _)| !self.live.contains_key(id)).collect();
        let changed = !gone.is_empty() || before.len() != self.live.len();
        for (id, path) in gone {
            self.bury(*id, path.clone());
        }
        changed
    }

    fn add_all(&mut self) {
        let fd = self.inotify.take();
        self.add_below("", fd.as_ref(), false);
        self.inotify = fd;
    }

    /// Adds a cgroup (its path relative to the root: "" or "/a/b") and all below it. One that is gone already, or can't
    /// be read, is left out: it has no id that anybody could meet.
    fn add_below(&mut self, path: &str, fd: Option<&OwnedFd>, told: bool) {
        let directory = self.mount.join(path.trim_start_matches('/'));
        // Watch first, list then: what is made in between is seen twice, not missed.
        if let Some(fd) = fd
            && let Ok(watch) =
                inotify::add_watch(fd, &directory, WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR)
        {
            self.watches.insert(watch, path.to_owned());
        }
        let full = format!("{}{path}", self.root);
        let full = if full.is_empty() { "/".to_owned() } else { full };
        let Ok(metadata) = fs::metadata(&directory) else {
            self.miss(full, None);
            return;
        };
        let id = metadata.ino();
        for nameless in self.nameless.iter_mut().filter(|nameless| nameless.before.is_none()) {
            nameless.before = Some(id);
        }
        match self.ids.insert(full.clone(), (id, told)) {
            // Told of twice: the one that the first event meant was gone before.
            Some((old, true)) if old == id && told => self.miss(full.clone(), Some(id)),
            Some((old, _)) if old != id => {
                if let Some(path) = self.live.remove(&old) {
                    self.bury(old, path);
                }
            }
            _ => {}
        }
        self.live.insert(id, full);
        self.made.push(id);
        let Ok(entries) = fs::read_dir(&directory) else { return };
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            self.add_below(&format!("{path}/{}", entry.file_name().to_string_lossy()), fd, false);
        }
    }

    fn remove(&mut self, path: &str) {
        let full = format!("{}{path}", self.root);
        // It may be back already under a new id; then the directory is there and stays.
        let now = fs::metadata(self.mount.join(path.trim_start_matches('/'))).map(|m| m.ino()).ok();
        if let Some((id, _)) = self.ids.get(&full).copied()
            && now != Some(id)
        {
            self.ids.remove(&full);
            self.live.remove(&id);
            self.bury(id, full);
        }
    }

    fn miss(&mut self, path: String, before: Option<u64>) {
        self.nameless.push_back(Nameless { path, before });
        if self.nameless.len() > REMEMBERED_NAMELESS {
            self.nameless.pop_front();
        }
    }

    fn bury(&mut self, id: u64, path: String) {
        self.deaths += 1;
        if self.dead.insert(id, path).is_none() {
            self.dead_order.push_back(id);
        }
        if self.dead_order.len() > REMEMBERED_DEAD
            && let Some(oldest) = self.dead_order.pop_front()
        {
            self.dead.remove(&oldest);
        }
    }
}

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
        assert_eq!(tree.nearest(u64::MAX), "/");
        for (gone, expected) in [("a/b/x", "/a/b/x"), ("a/b/y", "/a/b"), ("a/z", "/a"), ("top", "/")] {
            make(gone);
            remove(gone);
            tree.refresh();
            assert_eq!(tree.nearest(u64::MAX), expected);
        }
        // What comes later was not any of those.
        make("a/later");
        tree.refresh();
        assert_eq!(tree.nearest(u64::MAX), "/");
        for _ in 0..3 {
            make("a/again");
            remove("a/again");
        }
        make("a/again");
        tree.refresh();
        let now = fs::metadata(dir.path().join("a/again")).unwrap().ino();
        assert_eq!(tree.nearest(now - 1), "/a/again");
    }

    /// On an ordinary file system ids are inodes just the same.
    #[test]
    fn follows_what_is_made_removed_and_made_again() {
        for watched in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("a/b")).unwrap();
            let mut tree = Tree::at(dir.path().into(), "/".into()).unwrap();
            if !watched {
                tree.inotify = None;
            }
            let paths = |tree: &Tree| {
                let mut paths: Vec<_> = tree.paths().map(str::to_owned).collect();
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
            assert!(tree.made().any(|(id, path)| tree.is_live(id) && path == "/c/d"));
            assert!(paths(&tree).contains("/a/new /c /c/d /c/d/e"), "{}", paths(&tree));
            fs::remove_dir(dir.path().join("a/new")).unwrap();
            let _ = tree.refresh();
            assert!(!paths(&tree).contains("/a/new"));
            let kept = fs::metadata(dir.path().join("c/d")).unwrap().ino();
            assert_eq!(tree.path(kept), Some("/c/d"));
            assert_eq!(tree.path(u64::MAX), None);
            assert!(tree.is_live(kept));
            fs::remove_dir_all(dir.path().join("c/d")).unwrap();
            let before = tree.deaths();
            tree.refresh();
            assert_eq!((tree.deaths(), tree.is_live(kept), tree.path(kept)), (before + 2, false, Some("/c/d")));
        }
    }
}
