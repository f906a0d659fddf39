//! Set-up without a package: puts the helper and what belongs to it on the system, and takes it away again.
//!
//! For a build or an unpacked archive in somebody's home: the app runs `pkexec …/netglance-helper set-up` there, once. What is
//! put in place is the program that runs and the texts within it; no path, text or setting of a caller's is read. Files that a
//! package owns are never touched. It counts nothing: that is asked of the helper on the bus, as everybody does.

mod files;
mod system;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use files::{DIRECTORIES, Files};
use netglance_dbus::{error::chain, helper1, kernel};
use rustix::{
    fs::Mode,
    process::{self, Resource, Rlimit, Signal},
};
use system::System;
use tokio::signal::unix::{SignalKind, signal};
use zbus::DBusError as _;

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
    #[error("only root can do this: choose \"Count Exactly…\" in netglance, which asks for the password")]
    NotRoot,
    /// `set-up` where the package is.
    #[error(
        "the package netglance-helper is installed here, so there is nothing to set up: choose \"Count Exactly…\" in netglance"
    )]
    Packaged,
    /// `take-out` where only the package is.
    #[error(
        "the package netglance-helper is installed here. Remove it with the package manager: apt remove netglance-helper"
    )]
    PackageOwns,
    /// Somebody else could change the program that root will run.
    #[error("users other than root can write to {}, so nothing is installed below it", .0.display())]
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
        if failures.is_empty() { Ok(()) } else { Err(Self::Several(failures.iter().map(|e| chain(e)).collect())) }
    }
}

/// Behind `set-up`: agrees to a bug of this kernel that costs memory, as `InstallAnyway` does.
const ACCEPT: &str = "--accept-kernel-bug";
const UNIT: &str = "netglance-helper.service";

async fn set_up(files: &Files, anyway: bool) -> Result<(), Error> {
    if files.packaged() {
        return Err(Error::Packaged);
    }
    let kernel = kernel::running();
    if let Some(refusal) = kernel.refusal() {
        return Err(Error::Helper(refusal));
    }
    // One that is set up may have been agreed to.
    if let (Some(_), Some(trouble), false) =
        (kernel.judge().to_be_accepted(), kernel.trouble(), anyway || files.set_up())
    {
        return Err(Error::Helper(format!("{trouble}. To agree to that: netglance-helper set-up {ACCEPT}")));
    }
    let system = System::open().await?;
    let remembers = files.root.join(DIRECTORIES[0]).exists();
    // Not by its path: this is what was authorised, whatever stands there by now.
    let this = Path::new("/proc/self/exe");
    let before = files.put(&fs::read(this).map_err(Error::file("read", this))?)?;
    let begin = async {
        system.start().await?;
        Ok(if anyway { system.helper.install_anyway().await } else { system.helper.install().await })
    };
    let error = match begin.await {
        Ok(Ok(())) => return Ok(()),
        // The helper before, which knows nothing of the kernel's bug, would count all the same.
        Ok(Err(error @ helper1::Error::NeedsConfirmation(_))) => return Err(helper_says(error)),
        Ok(Err(error)) => helper_says(error),
        Err(error) => error,
    };
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
