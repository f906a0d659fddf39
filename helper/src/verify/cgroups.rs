//! Scratch cgroups, laid out and as deep as those of a user's applications. It moves processes and counts nothing.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::Error;
use crate::log;

/// The scratch cgroup, below the root; the rest of its name is the process and a number.
const NAME: &str = "netglance-verify-";
/// The kernel lets go of a cgroup a moment after its last process has ended.
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: usize = 4;

/// The app: six levels deep like `app-NAME.slice/NAME@INSTANCE.service`.
pub const APP: &str =
    r"user-1000.slice/user@1000.service/app.slice/app-scratch\x2dapp.slice/scratch-app@verify.service";
/// A process of the app that has a cgroup of its own.
pub const CHILD: &str =
    r"user-1000.slice/user@1000.service/app.slice/app-scratch\x2dapp.slice/scratch-app@verify.service/child";
/// Another app of the same user.
pub const BYSTANDER: &str = r"user-1000.slice/user@1000.service/app.slice/app-bystander@verify.service";

/// The scratch tree. Dropped, it is removed.
#[derive(Debug)]
pub struct Cgroups {
    directory: PathBuf,
    /// Held for as long as the tree is in use: whose lock is free was left behind by a program that was killed.
    _lock: File,
}

impl Cgroups {
    /// Makes it below the directory of the root, and removes what killed predecessors left there.
    pub fn new(mount: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Cgroup { path: mount.to_owned(), source };
        for entry in fs::read_dir(mount).map_err(failed)?.flatten() {
            let left = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME));
            if let Some(file) = left.then(|| File::open(entry.path()).ok()).flatten()
                && lock(&file).is_ok()
            {
                // Whoever made it is gone; if it can't be removed it does no harm. Locked until it is.
                drop(remove(&entry.path()));
            }
        }
        let mut made = Self::make(mount);
        // Another verify that starts may take what isn't locked yet for a left-over.
        for _ in 0..TRIES {
            if made.is_ok() {
                break;
            }
            made = Self::make(mount);
        }
        let cgroups = made?;
        for below in [CHILD, BYSTANDER] {
            let path = cgroups.directory(below);
            fs::create_dir_all(&path).map_err(|source| Error::Cgroup { path, source })?;
        }
        Ok(cgroups)
    }

    fn make(mount: &Path) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // A slice in the place of user.slice: as deep as the real ones, so that the same levels are used.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = mount.join(format!("{NAME}{}-{number}.slice", std::process::id()));
        let make = || {
            // A stranger who could open it could hold its lock.
            DirBuilder::new().mode(0o700).create(&directory)?;
            let file = File::open(&directory)?;
            lock(&file)?;
            let still = fs::metadata(&directory)?.ino() == file.metadata()?.ino();
            if still { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
        };
        match make() {
            Ok(lock) => Ok(Self { directory, _lock: lock }),
            Err(source) => Err(Error::Cgroup { path: directory, source }),
        }
    }

    /// The directory of a cgroup below the scratch tree's root.
    pub fn directory(&self, below: &str) -> PathBuf {
        self.directory.join(below)
    }

    /// Its id.
    pub fn id(&self, below: &str) -> Result<u64, Error> {
        let path = self.directory(below);
        fs::metadata(&path).map(|metadata| metadata.ino()).map_err(|source| Error::Cgroup { path, source })
    }

    /// Moves a process there.
    pub fn enter(&self, below: &str, process: u32) -> Result<(), Error> {
        let path = self.directory(below);
        fs::write(path.join("cgroup.procs"), process.to_string()).map_err(|source| Error::Cgroup { path, source })
    }

    /// Removes a cgroup and makes it again, as systemd does when a unit is restarted: the same path, another id.
    pub fn restart(&self, below: &str) -> Result<(), Error> {
        let path = self.directory(below);
        let again = remove(&path).and_then(|()| fs::create_dir_all(&path));
        again.map_err(|source| Error::Cgroup { path, source })
    }
}

/// The ids of the cgroup that this process is in, and of those above it. To them the kernel books what it sends itself in
/// the namespaces that this process has made (neighbour discovery, say); the process sends nothing.
pub fn own(mount: &Path) -> Vec<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let directories = Path::new(path).ancestors().map(|below| mount.join(below));
    directories.filter_map(|directory| Some(fs::metadata(directory).ok()?.ino())).collect()
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.directory) {
            log(format_args!("netglance-verify: cannot remove {}: {error}", self.directory.display()));
        }
    }
}

fn lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < end => {
                thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
}
