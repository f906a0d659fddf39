//! The files of the helper: put in place as a whole, put back, taken away. It never follows a link and never touches what a
//! package owns.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use netglance_dbus::place;
use rustix::process;

use super::Error;

/// What systemd makes for the unit.
pub(super) const DIRECTORIES: [&str; 2] = ["var/lib/netglance", "run/netglance"];

pub(super) enum Content {
    /// The program that runs.
    Program,
    Text(&'static str),
}

/// A file of the helper's: where the package has it and where `set-up` puts it, below the root.
pub(super) struct Item {
    pub(super) packaged: &'static str,
    pub(super) own: &'static str,
    pub(super) mode: u32,
    pub(super) content: Content,
}

pub(super) const PROGRAM: Item = Item {
    packaged: below_root(place::HELPER),
    own: below_root(place::OWN_HELPER),
    mode: 0o755,
    content: Content::Program,
};

/// All of them; a test compares them with the package's list. The last one lets the bus start the helper.
pub(super) const ITEMS: [Item; 6] = [
    PROGRAM,
    Item {
        packaged: "usr/lib/systemd/system/netglance-helper.service",
        own: "etc/systemd/system/netglance-helper.service",
        mode: 0o644,
        content: Content::Text(include_str!("../../netglance-helper.service")),
    },
    Item {
        packaged: "usr/share/dbus-1/system.d/org.netglance.Helper1.conf",
        own: "etc/dbus-1/system.d/org.netglance.Helper1.conf",
        mode: 0o644,
        content: Content::Text(include_str!("../../../dbus/org.netglance.Helper1.conf")),
    },
    // polkitd reads this directory alone (up to version 123).
    Item {
        packaged: "usr/share/polkit-1/actions/org.netglance.policy",
        own: "usr/share/polkit-1/actions/org.netglance.policy",
        mode: 0o644,
        content: Content::Text(include_str!("../../../polkit/org.netglance.policy")),
    },
    Item {
        packaged: "usr/share/polkit-1/rules.d/org.netglance.rules",
        own: "usr/share/polkit-1/rules.d/org.netglance.rules",
        mode: 0o644,
        content: Content::Text(include_str!("../../../polkit/org.netglance.rules")),
    },
    Item {
        packaged: "usr/share/dbus-1/system-services/org.netglance.Helper1.service",
        own: "usr/local/share/dbus-1/system-services/org.netglance.Helper1.service",
        mode: 0o644,
        content: Content::Text(include_str!("../../../dbus/org.netglance.Helper1.service")),
    },
];

/// An absolute path as one below the root, which is another directory in tests.
pub(super) const fn below_root(path: &'static str) -> &'static str {
    path.split_at(1).1
}

/// polkit's own directory of rules: the package of polkit gives it to polkitd, who decides what everybody may. Root has made it.
pub(super) const RULES: &str = "usr/share/polkit-1/rules.d";

/// Directories that a fresh system lacks; the deeper first.
pub(super) const MAYBE_MADE: [&str; 3] =
    ["usr/local/share/dbus-1/system-services", "usr/local/share/dbus-1", "usr/local/libexec"];

impl Item {
    /// Whether the package has its file in the same place.
    pub(super) fn is_shared(&self) -> bool {
        self.own == self.packaged
    }

    /// What is to be in the file, with the program where `set-up` puts it.
    pub(super) fn bytes(&self, program: &[u8]) -> Vec<u8> {
        match self.content {
            Content::Program => program.to_owned(),
            Content::Text(text) => text.replace(place::HELPER, place::OWN_HELPER).into_bytes(),
        }
    }
}

/// What stood in a file's place before it was put there.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) bytes: Option<Vec<u8>>,
}

/// The file system, `/` but for tests.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) root: PathBuf,
}

impl Files {
    /// Whether there is a file. A link is none: `apt remove` leaves one to /dev/null in the unit's place.
    pub(super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok_and(|about| about.is_file())
    }

    pub(super) fn packaged(&self) -> bool {
        ITEMS.iter().any(|item| !item.is_shared() && self.exists(item.packaged))
    }

    pub(super) fn set_up(&self) -> bool {
        ITEMS.iter().any(|item| !item.is_shared() && self.exists(item.own))
    }

    /// Puts all in place, or leaves what was there.
    pub(super) fn put(&self, program: &[u8]) -> Result<Vec<Before>, Error> {
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
    pub(super) fn look(&self, path: &Path, mode: u32) -> Result<Before, Error> {
        let directory = path.parent().unwrap_or(&self.root);
        let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&self.root);
        if there == self.root.join(RULES) {
            self.check(there.parent().unwrap_or(&self.root))?;
        } else {
            self.check(there)?;
        }
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(Error::file("make", directory))?;
        let is_file = fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
        let bytes = if is_file { Some(fs::read(path).map_err(Error::file("read", path))?) } else { None };
        Ok(Before { path: path.into(), mode, bytes })
    }

    /// That nobody but root can put something else there. (A group may: Debian's `staff` is trusted with /usr/local.)
    pub(super) fn check(&self, directory: &Path) -> Result<(), Error> {
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

    pub(super) fn put_back(&self, before: Vec<Before>) -> Vec<Error> {
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
    pub(super) fn remove(&self) -> Vec<Error> {
        let packaged = self.packaged();
        let own = ITEMS.iter().rev().filter(|item| !(packaged && item.is_shared()));
        let failures = own.filter_map(|item| remove(&self.root.join(item.own)).err()).collect();
        self.tidy();
        failures
    }

    /// Removes what a set-up that was killed has left of a file that wasn't whole yet.
    pub(super) fn remove_left_overs(&self) -> Vec<Error> {
        let left_overs = ITEMS.iter().map(|item| unfinished(&self.root.join(item.own)));
        let failures = left_overs.filter_map(|path| remove(&path).err()).collect();
        self.tidy();
        failures
    }

    /// Removes directories that nobody needs.
    pub(super) fn tidy(&self) {
        for directory in MAYBE_MADE {
            // One that somebody uses is not empty and stays.
            _ = fs::remove_dir(self.root.join(directory));
        }
    }

    pub(super) fn forget(&self) -> Vec<Error> {
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
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
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
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}
