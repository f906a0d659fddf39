//! Waits until something at certain paths changes: a file or socket is made, replaced, written or removed there, or its rights change.
//! What doesn't exist yet is waited for in the nearest directory that does.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// What is waited for.
#[derive(Debug)]
pub struct Watch {
    /// `None`: the kernel has no inotify instance left for this user.
    fd: Option<AsyncFd<OwnedFd>>,
    paths: Vec<PathBuf>,
    /// Which names matter in each watched directory. Empty: all do.
    names: HashMap<i32, BTreeSet<OsString>>,
}

impl Watch {
    /// Changes of these files, or of what is in these directories (`inside`).
    pub fn new(paths: Vec<PathBuf>, inside: bool) -> Self {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok().and_then(|fd| {
            // SAFETY: an `OwnedFd` owns its descriptor, and nothing replaces or closes it while the `AsyncFd` has it.
            #[allow(unsafe_code, reason = "see above")]
            unsafe {
                AsyncFd::register_with_interest(fd, Interest::READABLE).ok()
            }
        });
        // Whatever is in a directory has some name.
        let paths = paths.into_iter().map(|path| if inside { path.join("*") } else { path }).collect();
        Self { fd, paths, names: HashMap::new() }
    }

    /// Begins: only what changes from now on counts.
    pub fn begin(&mut self) {
        self.take();
        let Some(fd) = &self.fd else { return };
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        self.names.clear();
        for path in &self.paths {
            let mut below: &Path = path;
            while let (Some(dir), Some(name)) = (below.parent(), below.file_name()) {
                if let Ok(watch) = inotify::add_watch(fd, dir, flags) {
                    self.names.entry(watch).or_default().insert(name.to_owned());
                    break;
                }
                below = dir;
            }
        }
    }

    /// Waits for a change since [`Self::begin`].
    pub async fn changed(&mut self) {
        loop {
            let Some(fd) = &self.fd else { return std::future::pending().await };
            let Ok(mut ready) = fd.readable().await else { return std::future::pending().await };
            ready.clear_ready();
            drop(ready);
            if self.take() {
                return;
            }
        }
    }

    /// Takes what has been reported; whether it matters.
    fn take(&mut self) -> bool {
        let Some(fd) = &self.fd else { return false };
        let mut matters = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(fd, &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            matters |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                || self.names.get(&event.wd()).is_some_and(|names| {
                    name.is_some_and(|name| names.contains(name) || names.contains(OsStr::new("*")))
                });
            // The directory itself has gone, or its rights have changed.
            matters |= name.is_none() && self.names.contains_key(&event.wd());
        }
        matters
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    async fn check(watch: &mut Watch, expected: bool, what: &str) {
        let patience = Duration::from_millis(if expected { 10_000 } else { 50 });
        assert_eq!(tokio::time::timeout(patience, watch.changed()).await.is_ok(), expected, "{what}");
        watch.begin();
    }

    #[tokio::test]
    async fn what_changes_at_a_path_is_reported_even_before_its_directory_exists() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("podman/podman.sock");
        let mut watch = Watch::new(vec![path.clone()], false);
        watch.begin();
        fs::write(dir.path().join("other"), "").unwrap();
        check(&mut watch, false, "another file").await;
        fs::create_dir(dir.path().join("podman")).unwrap();
        check(&mut watch, true, "the directory").await;
        fs::write(&path, "").unwrap();
        check(&mut watch, true, "the file").await;
        fs::remove_file(&path).unwrap();
        check(&mut watch, true, "no file").await;
        fs::remove_dir(dir.path().join("podman")).unwrap();
        check(&mut watch, true, "no directory").await;
        fs::create_dir(dir.path().join("podman")).unwrap();
        check(&mut watch, true, "the directory again").await;
    }

    #[tokio::test]
    async fn whatever_changes_in_a_directory_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(vec![dir.path().to_owned()], true);
        watch.begin();
        check(&mut watch, false, "nothing").await;
        fs::write(dir.path().join("new"), "").unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("default.status")).unwrap();
        check(&mut watch, true, "a file").await;
    }
}
