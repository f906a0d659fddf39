//! The recorded past: a SQLite file of the user's own, `netglance/history.db` in `$XDG_DATA_HOME`. `schema.sql` says what is in
//! it, `write.rs` puts it there, `read.rs` adds it up. It looks at no counter and knows no clock.
//!
//! One program writes, any number read. A program that is killed leaves either all of a [`Batch`] or nothing of it.

mod counted;
mod forget;
mod pack;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::{
    keep::usage::Network,
    look::{apps::Apps, rate::Bytes, target::Unit},
};

/// Seconds of a step, the finest part of the past.
pub const STEP_SECS: i64 = 10;
/// The same, for what is packed.
const STEP: u32 = 10;
const MINUTE: u32 = 60;
const HOUR_SECS: i64 = 3600;
const DAY_SECS: i64 = 24 * HOUR_SECS;
/// What is recorded of a longer time at once is no step, but a sum over that time.
const LONGEST_STEP_SECS: i64 = 3 * STEP_SECS;
/// Steps are kept for a day and the hour that has begun …
const STEPS_KEPT_SECS: i64 = 25 * HOUR_SECS;
/// … minutes for 31 days, hours for good.
const MINUTES_KEPT_SECS: i64 = 31 * DAY_SECS;
/// What marks a SQLite file as one of ours ("ngla").
const APPLICATION_ID: i32 = 0x6e67_6c61;
/// What brings a file from each version of the schema to the next, the first from an empty file.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];
/// The version of the schema: how many of them have been applied.
const VERSION: usize = MIGRATIONS.len();
/// So much of the journal stays for the next changes.
const JOURNAL_BYTES: i64 = 4 << 20;
/// Another program that writes for a moment is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Kinds of network file systems (statfs(2), linux/magic.h): NFS, SMB in three versions, 9p, FUSE (sshfs), AFS twice, Ceph, Coda.
const REMOTE: [u64; 10] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x6573_5546,
    0x5346_414f,
    0x6b41_4653,
    0x00c3_6400,
    0x7375_7245,
];

/// Why something was not recorded, or can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite.
    #[error("cannot {doing} the history in {}", path.display())]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// The file or its directory.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A later version of netglance wrote it.
    #[error("the history in {} was written by a newer version of netglance; update netglance to use it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// Two programs would count everything twice.
    #[error("another netglance of this user is recording the history")]
    Locked,
    /// What is packed makes no sense.
    #[error("the history in {} is damaged", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: postcard::Error,
    },
    /// There is no place for it.
    #[error("there is no place for a history: set HOME or XDG_DATA_HOME")]
    NoPlace,
}

impl Error {
    /// The file's content is at fault.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Packed { .. } => true,
            Self::Sqlite { source, .. } => {
                matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            _ => false,
        }
    }
}

/// What a cgroup has moved in a batch's time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// What its counter is called, see [`crate::look::forwarded::counter_of`]: its path.
    pub cgroup: String,
    /// Its unit.
    pub unit: Unit,
    /// So much.
    pub bytes: Bytes,
}

/// A boot of a computer. A home may be on several computers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `/etc/machine-id`; empty where there is none.
    pub machine: String,
    /// `/proc/sys/kernel/random/boot_id`
    pub boot_id: String,
}

/// The helper's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The helper's epoch.
    pub epoch: u64,
    /// The epoch began within the batch: what the batch has moved was counted in another one.
    pub begun: bool,
    /// When they were taken, in `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// The counters that are new or different since the last batch that was recorded, each with its cgroup's path and unit; and
    /// [`crate::look::forwarded::TOP`], if containers are looked at.
    pub rows: Vec<Moved>,
    /// These are all that there are: the first of this program, or after a time without them.
    pub all: bool,
}

/// What is recorded at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Since when it was moved, in seconds since 1970: some 10 s before the end, or since the last look that was recorded.
    pub start: i64,
    /// Until when.
    pub end: i64,
    /// Since when there was a look at each beat; before `start` where nothing had to be recorded for a while.
    pub looked: i64,
    /// Where this is.
    pub place: Place,
    /// The figures are an estimate.
    pub estimate: bool,
    /// The network that they went by.
    pub network: Network,
    /// What has moved anything.
    pub moved: Vec<Moved>,
    /// What the helper had counted at the end; `None`: it doesn't count.
    pub counters: Option<Counters>,
    /// What apps are called: their ids and names.
    pub names: Vec<(String, String)>,
}

/// The last counters of the boot before, as the helper has saved them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// That boot.
    pub place: Place,
    /// When they were saved, in that boot's `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// The counters, each with its cgroup's path and unit.
    pub rows: Vec<Moved>,
}

/// When the helper's counters were last taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Where.
    pub place: Place,
    /// In this epoch.
    pub epoch: u64,
    /// In `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// In seconds since 1970.
    pub time: i64,
}

/// The file.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    path: PathBuf,
    /// What belongs to which app by now.
    defined: Apps,
    /// Held for as long as this program writes.
    _lock: Option<File>,
}

/// Where the history is. `None`: no directory is known for it.
pub fn path() -> Option<PathBuf> {
    xdg::BaseDirectories::with_prefix("netglance").get_data_file("history.db")
}

impl Store {
    /// Counts what was recorded as a part of these apps. Before that, each app is what it was recorded as.
    pub fn define(&mut self, defined: &Apps) {
        self.defined.clone_from(defined);
    }

    /// Opens the file to write in it, and makes it if there is none. Every part of it is checked first; if it is damaged, it is put
    /// aside, and a new one begins: the name that it has now.
    pub fn open(path: &Path) -> Result<(Self, Option<PathBuf>), Error> {
        Self::begin(path, false)
    }

    /// The same of a file that is known to be damaged, though that can't be seen from outside.
    pub fn replace(path: &Path) -> Result<(Self, Option<PathBuf>), Error> {
        Self::begin(path, true)
    }

    fn begin(path: &Path, is_damaged: bool) -> Result<(Self, Option<PathBuf>), Error> {
        let failed = |doing| {
            let path = path.to_owned();
            move |source| Error::File { doing, path, source }
        };
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(failed("create the directory of"))?;
        }
        let lock =
            File::options().write(true).create(true).truncate(false).mode(0o600).open(path.with_extension("lock"));
        let lock = lock.map_err(failed("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Locked,
            TryLockError::Error(source) => failed("lock")(source),
        })?;
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(failed("open"))?;
        // A copy from elsewhere, or one that an editor has made.
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed("set the permissions of"))?;
        drop(file);
        match Self::checked(path) {
            Ok(db) if !is_damaged => {
                Ok((Self { db, path: path.to_owned(), defined: Apps::default(), _lock: Some(lock) }, None))
            }
            Err(error) if !error.is_damage() => Err(error),
            _ => {
                let aside = put_aside(path).map_err(failed("rename the damaged file"))?;
                let file = File::options().write(true).create_new(true).mode(0o600).open(path);
                drop(file.map_err(failed("open"))?);
                Ok((
                    Self {
                        db: Self::checked(path)?,
                        path: path.to_owned(),
                        defined: Apps::default(),
                        _lock: Some(lock),
                    },
                    Some(aside),
                ))
            }
        }
    }

    /// Opens the file to read it. `None`: nothing has been recorded yet.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let failed = sqlite("read", path);
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let db = db.map_err(&failed)?;
        let version = prepare(&db).and_then(|()| version(&db)).map_err(&failed)?;
        if version > VERSION {
            return Err(Error::Newer { path: path.to_owned() });
        }
        // An older one is brought up to date by the program that writes.
        Ok((version == VERSION).then(|| Self { db, path: path.to_owned(), defined: Apps::default(), _lock: None }))
    }

    fn checked(path: &Path) -> Result<Connection, Error> {
        let failed = sqlite("open", path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(path, flags).map_err(&failed)?;
        prepare(&db).map_err(&failed)?;
        let version = version(&db).map_err(&failed)?;
        if version > VERSION {
            return Err(Error::Newer { path: path.to_owned() });
        }
        let set = |db: &Connection| {
            let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if found != "ok" {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
                return Err(rusqlite::Error::SqliteFailure(code, Some(found)));
            }
            db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            // A network file system doesn't have what WAL needs of shared memory and locks, whether it says so or not.
            let wanted = if is_remote(path) { "TRUNCATE" } else { "WAL" };
            let mode: String = db.query_row(&format!("PRAGMA journal_mode = {wanted}"), [], |row| row.get(0))?;
            if mode != wanted.to_lowercase() {
                db.query_row("PRAGMA journal_mode = TRUNCATE", [], |_| Ok(()))?;
            }
            db.pragma_update(None, "synchronous", "NORMAL")?;
            // What is beside the file once much was dropped goes as well.
            db.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
            // What is forgotten is gone.
            db.pragma_update(None, "secure_delete", true)
        };
        set(&db).map_err(&failed)?;
        migrate(&mut db, version).map_err(sqlite("upgrade", path))?;
        Ok(db)
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error + use<> {
        sqlite(doing, &self.path)
    }
}

fn sqlite(doing: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Sqlite { doing, path: path.clone(), source }
}

fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(64);
    // Nothing in the file is a program.
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cache_size", -1024)
}

fn version(db: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

fn migrate(db: &mut Connection, version: usize) -> rusqlite::Result<()> {
    if version == VERSION {
        return Ok(());
    }
    let change = db.transaction()?;
    for migration in MIGRATIONS.iter().skip(version) {
        change.execute_batch(migration)?;
    }
    change.pragma_update(None, "application_id", APPLICATION_ID)?;
    change.pragma_update(None, "user_version", i64::try_from(VERSION).unwrap_or_default())?;
    change.commit()
}

fn is_remote(path: &Path) -> bool {
    let kind = rustix::fs::statfs(path).map(|about| about.f_type.cast_unsigned() & 0xffff_ffff);
    kind.is_ok_and(|kind| REMOTE.contains(&kind))
}

/// Gives the file another name, and what SQLite keeps beside it: the changes in there are part of it.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let beside = |of: &Path, suffix: &str| {
        let mut name = of.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let names = (1..).map(|number| beside(path, &format!(".damaged-{number}")));
    let mut free = names.filter(|name| fs::symlink_metadata(name).is_err());
    let aside = free.next().unwrap_or_else(|| beside(path, ".damaged"));
    for suffix in ["-wal", "-journal"] {
        match fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    _ = fs::remove_file(beside(path, "-shm"));
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// As SQLite has numbers. No counter comes near its end.
fn int(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Four columns from `first` on.
fn bytes(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Bytes> {
    let number =
        |at: usize| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(first + at)?).unwrap_or_default());
    Ok(Bytes { rx: number(0)?, tx: number(1)?, internal_rx: number(2)?, internal_tx: number(3)? })
}

/// The part of a sum over a time that lies between two times in it. The parts of a divided time have the whole sum.
fn share(sum: Bytes, (start, end): (i64, i64), from: i64, to: i64) -> Bytes {
    let whole = u128::from((end - start).max(1).unsigned_abs());
    let until = |at: i64, bytes: u64| {
        let part = u128::from((at.clamp(start, end) - start).unsigned_abs());
        u64::try_from(u128::from(bytes) * part / whole).unwrap_or(bytes)
    };
    sum.map(|bytes| until(to, bytes) - until(from, bytes))
}
