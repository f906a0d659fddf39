//! Set-up without a package: puts the helper and what belongs to it on the system, and takes it away again.
//!
//! For a build or an unpacked archive in somebody's home: the app runs `pkexec …/netglance-helper set-up` there, once. What is
//! put in place is the program that runs and the texts within it; no path, text or setting of a caller's is read. Files that a
//! package owns are never touched. It counts nothing: that is asked of the helper on the bus, as everybody does.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use futures_lite::StreamExt as _;
use netglance_dbus::{
    helper1::{self, Helper1Proxy},
    place,
};
use rustix::{
    fs::Mode,
    process::{self, Resource, Rlimit, Signal},
};
use tokio::signal::unix::{SignalKind, signal};
use zbus::{Connection, DBusError as _, OwnedObjectPath, fdo::DBusProxy, proxy::CacheProperties};

use crate::error_chain;

/// What the program can be told to do instead of serving the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Put everything in place and count.
    SetUp {
        /// Although this kernel has a bug that costs memory.
        anyway: bool,
    },
    /// Stop counting and remove everything.
    TakeOut,
}

impl Command {
    /// The command that these arguments are; `None` if there is none, an error for all else.
    pub fn parse(arguments: &[OsString]) -> Result<Option<Self>, Error> {
        match arguments {
            [] => Ok(None),
            [word] if word == "set-up" => Ok(Some(Self::SetUp { anyway: false })),
            [word, flag] if word == "set-up" && flag == ACCEPT => Ok(Some(Self::SetUp { anyway: true })),
            [word] if word == "take-out" => Ok(Some(Self::TakeOut)),
            _ => Err(Error::Usage),
        }
    }

    /// Does it. Whatever fails leaves the system as it was, or says what it has left.
    pub async fn execute(self) -> Result<(), Error> {
        if !process::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        lift_limits();
        // Caught, a limit that could not be lifted makes a write fail instead of ending the program.
        let _caught = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
        // A person's umask must not hide the bus's files from the bus.
        process::umask(Mode::from_raw_mode(0o022));
        let files = Files { root: "/".into() };
        Error::several(files.remove_left_overs())?;
        match self {
            Self::SetUp { anyway } => set_up(&files, anyway).await,
            Self::TakeOut => take_out(&files).await,
        }
    }
}

/// pkexec hands on the limits of whoever calls it, and one of them could end a set-up halfway. Root may lift all of them, except
/// in some containers; what fails there is said.
fn lift_limits() {
    const FILES: u64 = 1024;
    const STACK_BYTES: u64 = 8 << 20;
    for (resource, needed) in [
        (Resource::Fsize, None),
        (Resource::Nofile, Some(FILES)),
        (Resource::As, None),
        (Resource::Data, None),
        (Resource::Stack, Some(STACK_BYTES)),
        (Resource::Cpu, None),
        (Resource::Nproc, None),
    ] {
        let enough = |limit: Option<u64>| limit.is_none_or(|limit| needed.is_some_and(|needed| limit >= needed));
        let now = process::getrlimit(resource);
        if enough(now.current) {
            continue;
        }
        let maximum = if enough(now.maximum) { now.maximum } else { needed };
        if process::setrlimit(resource, Rlimit { current: needed, maximum }).is_err() {
            _ = process::setrlimit(resource, Rlimit { current: now.maximum, maximum: now.maximum });
        }
    }
}

/// Why it was not done. The text is for the person who wanted it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither of the two words.
    #[error(
        "usage: netglance-helper [set-up [{ACCEPT}] | take-out]. Without an argument it serves the system bus; systemd starts it for that"
    )]
    Usage,
    /// Not root.
    #[error("only root can do this: choose \"Count exactly…\" in netglance, which asks for the password")]
    NotRoot,
    /// `set-up` where the package is.
    #[error(
        "the package netglance-helper is installed here, so there is nothing to set up: choose \"Count exactly…\" in netglance"
    )]
    Packaged,
    /// `take-out` where only the package is.
    #[error(
        "the package netglance-helper is installed here. Remove it with the package manager: apt remove netglance-helper"
    )]
    PackageOwns,
    /// Somebody else could change the program that root will run.
    #[error("others than root can write to {}, so nothing may be installed below it", .0.display())]
    Unsafe(PathBuf),
    /// A file.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// A verb.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bus, or systemd behind it.
    #[error("cannot {doing}")]
    Bus {
        /// What was wanted.
        doing: &'static str,
        /// Why not.
        source: zbus::Error,
    },
    /// A job of systemd's that failed.
    #[error("systemd could not {doing} {UNIT} ({result}): journalctl -u {UNIT} says why")]
    Job {
        /// start, stop.
        doing: &'static str,
        /// systemd's word for how it ended.
        result: String,
    },
    /// The helper itself; its own sentence.
    #[error("{0}")]
    Helper(String),
    /// More than one thing.
    #[error("{}", .0.join("; "))]
    Several(Vec<String>),
}

impl Error {
    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { doing, path: path.into(), source }
    }

    fn bus(doing: &'static str) -> impl FnOnce(zbus::Error) -> Self {
        move |source| Self::Bus { doing, source }
    }

    fn several(failures: Vec<Self>) -> Result<(), Self> {
        if failures.is_empty() { Ok(()) } else { Err(Self::Several(failures.iter().map(|e| error_chain(e)).collect())) }
    }
}

/// Behind `set-up`: agrees to a bug of this kernel that costs memory, as `InstallAnyway` does.
const ACCEPT: &str = "--accept-kernel-leak";
const UNIT: &str = "netglance-helper.service";
/// What systemd makes for the unit.
const DIRECTORIES: [&str; 2] = ["var/lib/netglance", "run/netglance"];

enum Content {
    /// The program that runs.
    Program,
    Text(&'static str),
}

/// A file of the helper's: where the package has it and where `set-up` puts it, below the root.
struct Item {
    packaged: &'static str,
    own: &'static str,
    mode: u32,
    content: Content,
}

const PROGRAM: Item = Item {
    packaged: below_root(place::HELPER),
    own: below_root(place::OWN_HELPER),
    mode: 0o755,
    content: Content::Program,
};

/// All of them; a test compares them with the package's list. The last one lets the bus start the helper.
const ITEMS: [Item; 5] = [
    PROGRAM,
    Item {
        packaged: "usr/lib/systemd/system/netglance-helper.service",
        own: "etc/systemd/system/netglance-helper.service",
        mode: 0o644,
        content: Content::Text(include_str!("../netglance-helper.service")),
    },
    Item {
        packaged: "usr/share/dbus-1/system.d/org.netglance.Helper1.conf",
        own: "etc/dbus-1/system.d/org.netglance.Helper1.conf",
        mode: 0o644,
        content: Content::Text(include_str!("../../dbus/org.netglance.Helper1.conf")),
    },
    // polkitd reads this directory alone (up to version 123).
    Item {
        packaged: "usr/share/polkit-1/actions/org.netglance.policy",
        own: "usr/share/polkit-1/actions/org.netglance.policy",
        mode: 0o644,
        content: Content::Text(include_str!("../../polkit/org.netglance.policy")),
    },
    Item {
        packaged: "usr/share/dbus-1/system-services/org.netglance.Helper1.service",
        own: "usr/local/share/dbus-1/system-services/org.netglance.Helper1.service",
        mode: 0o644,
        content: Content::Text(include_str!("../../dbus/org.netglance.Helper1.service")),
    },
];

/// An absolute path as one below the root, which is another directory in tests.
const fn below_root(path: &'static str) -> &'static str {
    path.split_at(1).1
}

/// Directories that a fresh system lacks; the deeper first.
const MAYBE_MADE: [&str; 3] = ["usr/local/share/dbus-1/system-services", "usr/local/share/dbus-1", "usr/local/libexec"];

impl Item {
    /// Whether the package has its file in the same place.
    fn is_shared(&self) -> bool {
        self.own == self.packaged
    }

    /// What is to be in the file, with the program where `set-up` puts it.
    fn bytes(&self, program: &[u8]) -> Vec<u8> {
        match self.content {
            Content::Program => program.to_owned(),
            Content::Text(text) => text.replace(place::HELPER, place::OWN_HELPER).into_bytes(),
        }
    }
}

/// What stood in a file's place before it was put there.
#[derive(Debug)]
struct Before {
    path: PathBuf,
    mode: u32,
    bytes: Option<Vec<u8>>,
}

/// The file system, `/` but for tests.
#[derive(Debug)]
struct Files {
    root: PathBuf,
}

impl Files {
    /// Whether there is a file. A link is none: `apt remove` leaves one to /dev/null in the unit's place.
    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok_and(|about| about.is_file())
    }

    fn packaged(&self) -> bool {
        ITEMS.iter().any(|item| !item.is_shared() && self.exists(item.packaged))
    }

    fn set_up(&self) -> bool {
        ITEMS.iter().any(|item| !item.is_shared() && self.exists(item.own))
    }

    /// Puts all in place, or leaves what was there.
    fn put(&self, program: &[u8]) -> Result<Vec<Before>, Error> {
        let mut before = Vec::new();
        for item in &ITEMS {
            let path = self.root.join(item.own);
            let put = self.look(&path, item.mode).and_then(|was| {
                write(&path, &item.bytes(program), item.mode)?;
                Ok(was)
            });
            match put {
                Ok(was) => before.push(was),
                Err(error) => {
                    let mut failures = vec![error];
                    failures.extend(self.put_back(before));
                    return Error::several(failures).map(|()| Vec::new());
                }
            }
        }
        Ok(before)
    }

    /// Makes the directory, if need be, and looks at what is there now.
    fn look(&self, path: &Path, mode: u32) -> Result<Before, Error> {
        let directory = path.parent().unwrap_or(&self.root);
        self.check(directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&self.root))?;
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(Error::file("make", directory))?;
        let is_file = fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
        let bytes = if is_file { Some(fs::read(path).map_err(Error::file("read", path))?) } else { None };
        Ok(Before { path: path.into(), mode, bytes })
    }

    /// That nobody but root can put something else there. (A group may: Debian's `staff` is trusted with /usr/local.)
    fn check(&self, directory: &Path) -> Result<(), Error> {
        let real = |path: &Path| fs::canonicalize(path).map_err(Error::file("find", path));
        let (directory, root) = (real(directory)?, real(&self.root)?);
        for ancestor in directory.ancestors().take_while(|ancestor| ancestor.starts_with(&root)) {
            let about = fs::metadata(ancestor).map_err(Error::file("look at", ancestor))?;
            if about.uid() != process::geteuid().as_raw() || about.mode() & 0o002 != 0 {
                return Err(Error::Unsafe(ancestor.into()));
            }
        }
        Ok(())
    }

    fn put_back(&self, before: Vec<Before>) -> Vec<Error> {
        let back = before.into_iter().rev().filter_map(|was| {
            let done = match &was.bytes {
                Some(bytes) => write(&was.path, bytes, was.mode),
                None => remove(&was.path),
            };
            done.err()
        });
        let failures = back.collect();
        self.tidy();
        failures
    }

    /// Removes what `set-up` put there; of what a package has in the same place only what no package owns.
    fn remove(&self) -> Vec<Error> {
        let packaged = self.packaged();
        let own = ITEMS.iter().rev().filter(|item| !(packaged && item.is_shared()));
        let failures = own.filter_map(|item| remove(&self.root.join(item.own)).err()).collect();
        self.tidy();
        failures
    }

    /// Removes what a set-up that was killed has left of a file that wasn't whole yet.
    fn remove_left_overs(&self) -> Vec<Error> {
        let left_overs = ITEMS.iter().map(|item| unfinished(&self.root.join(item.own)));
        let failures = left_overs.filter_map(|path| remove(&path).err()).collect();
        self.tidy();
        failures
    }

    /// Removes directories that nobody needs.
    fn tidy(&self) {
        for directory in MAYBE_MADE {
            // One that somebody uses is not empty and stays.
            _ = fs::remove_dir(self.root.join(directory));
        }
    }

    fn forget(&self) -> Vec<Error> {
        let forget = |directory| {
            let path = self.root.join(directory);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Some(Error::file("remove", &path)(error)),
                _ => None,
            }
        };
        DIRECTORIES.into_iter().filter_map(forget).collect()
    }
}

/// Puts a file there as a whole: whoever looks sees the old one or the new one. A link in its place is replaced, not followed.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let new = unfinished(path);
    remove(&new)?;
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        // Opened first: what fails behind the rename leaves the file there.
        let directory = path.parent().map(File::open).transpose()?;
        fs::rename(&new, path)?;
        directory.map_or(Ok(()), |directory| directory.sync_all())
    };
    write().map_err(|error| {
        // What went wrong is said; this can only go wrong for the same reason.
        _ = fs::remove_file(&new);
        Error::file("write", path)(error)
    })
}

/// Where a file stands until it is whole: a name that bus, systemd and polkit don't read.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// systemd's own interface, as far as it is needed (org.freedesktop.systemd1(5)).
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<(String, String, String)>)>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<(String, String, String)>>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

/// The bus and systemd, told of files that came or went.
struct System {
    bus: DBusProxy<'static>,
    manager: ManagerProxy<'static>,
    helper: Helper1Proxy<'static>,
}

impl System {
    async fn open() -> Result<Self, Error> {
        let open = async {
            let connection = Connection::system().await?;
            let manager = ManagerProxy::new(&connection).await?;
            manager.subscribe().await?;
            Ok(Self {
                bus: DBusProxy::new(&connection).await?,
                manager,
                helper: Helper1Proxy::builder(&connection).cache_properties(CacheProperties::No).build().await?,
            })
        };
        open.await.map_err(Error::bus("reach systemd on the system bus"))
    }

    /// Has the bus and systemd read their files again.
    async fn reload(&self) -> Result<(), Error> {
        let reloaded = self.bus.reload_config().await.map_err(zbus::Error::from);
        reloaded.map_err(Error::bus("make the bus read its configuration"))?;
        self.manager.reload().await.map_err(Error::bus("make systemd read its units"))
    }

    /// Starts the helper that is in place now, at every boot too. One that runs hands its socket over through systemd.
    async fn start(&self) -> Result<(), Error> {
        self.reload().await?;
        let enabled = self.manager.enable_unit_files(&[UNIT], false, true).await;
        enabled.map_err(Error::bus("make systemd start the helper at boot"))?;
        self.job("start", self.manager.restart_unit(UNIT, "replace")).await
    }

    /// Stops it and keeps it from starting. One that is not there is as good as stopped.
    async fn stop(&self) -> Vec<Error> {
        let stopped = self.job("stop", self.manager.stop_unit(UNIT, "replace")).await;
        let disabled = self.manager.disable_unit_files(&[UNIT], false).await;
        let disabled = disabled.map(drop).map_err(Error::bus("keep the helper from starting at boot"));
        [stopped, disabled].into_iter().filter_map(Result::err).filter(|error| !is_absent(error)).collect()
    }

    /// Waits for the end of a job that `begin` makes.
    async fn job(
        &self,
        doing: &'static str,
        begin: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    ) -> Result<(), Error> {
        let failed = Error::bus(if doing == "stop" { "stop the helper" } else { "start the helper" });
        let wait = async {
            // Listened for first: the job may be done before its name has come back.
            let mut ends = self.manager.receive_job_removed().await?;
            let job = begin.await?;
            while let Some(end) = ends.next().await {
                let end = end.args()?;
                if end.job == job {
                    return Ok(end.result);
                }
            }
            Err(zbus::Error::InputOutput(io::Error::from(io::ErrorKind::ConnectionAborted).into()))
        };
        let result = wait.await.map_err(failed)?;
        if result == "done" { Ok(()) } else { Err(Error::Job { doing, result }) }
    }
}

/// Whether systemd or the bus says that there is no such thing.
fn is_absent(error: &Error) -> bool {
    let Error::Bus { source: zbus::Error::MethodError(name, ..), .. } = error else { return false };
    ["org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.DBus.Error.ServiceUnknown"].contains(&name.as_str())
}

async fn set_up(files: &Files, anyway: bool) -> Result<(), Error> {
    if files.packaged() {
        return Err(Error::Packaged);
    }
    let system = System::open().await?;
    let remembers = files.root.join(DIRECTORIES[0]).exists();
    // Not by its path: this is what was authorised, whatever stands there by now.
    let this = Path::new("/proc/self/exe");
    let before = files.put(&fs::read(this).map_err(Error::file("read", this))?)?;
    let begin = async {
        system.start().await?;
        let installed = if anyway { system.helper.install_anyway().await } else { system.helper.install().await };
        installed.map_err(helper_says)
    };
    let Err(error) = begin.await else { return Ok(()) };
    let mut failures = vec![error];
    if before.iter().all(|was| was.bytes.is_none()) {
        failures.extend(system.stop().await);
        failures.extend(files.put_back(before));
        if !remembers {
            failures.extend(files.forget());
        }
        failures.extend(system.reload().await.err());
    } else {
        failures.extend(files.put_back(before));
        failures.extend(system.start().await.err());
    }
    Error::several(failures)
}

async fn take_out(files: &Files) -> Result<(), Error> {
    if files.packaged() && !files.set_up() {
        return Err(Error::PackageOwns);
    }
    let system = System::open().await?;
    if files.packaged() {
        // Installed since. The package's helper goes on with the counts.
        let mut failures = files.remove();
        failures.extend(system.start().await.err());
        return Error::several(failures);
    }
    let mut failures = Vec::new();
    if files.set_up() {
        // The table goes with the helper in any case; this removes its memory too.
        failures.extend(system.helper.uninstall().await.map_err(helper_says).err());
    }
    failures.extend(system.stop().await);
    failures.extend(files.remove());
    failures.extend(files.forget());
    failures.extend(system.reload().await.err());
    Error::several(failures)
}

fn helper_says(error: helper1::Error) -> Error {
    match error {
        helper1::Error::Bus(source) => Error::Bus { doing: "talk to the helper", source },
        other => Error::Helper(other.description().unwrap_or_default().to_owned()),
    }
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
