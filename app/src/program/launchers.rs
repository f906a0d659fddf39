//! Programs that the applications menu starts so that they can be counted: desktop entries of the person's own, which do that
//! through `netglance start`. The files are the setting.
//!
//! Such an entry is a copy of the system's, line by line, or the person's own one in which lines were replaced. What a line was
//! before is kept beside it, behind `X-Netglance-`, so that everything can be undone whatever else was changed meanwhile.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use netglance_dbus::error::chain;

use crate::{
    base::file,
    look::programs::{
        entries::{OWN_EXEC, value},
        exec,
    },
    show::update::Launcher,
};

/// Before a line that is not in force, and before the keys that say more.
const MARK: &str = "X-Netglance-";
/// The file that ours is a copy of; the person's own has none.
const ORIGINAL: &str = "X-Netglance-Original";
/// What that file said, as a number.
const HASH: &str = "X-Netglance-Hash";
const MAIN: &str = "[Desktop Entry]";
const ACTION: &str = "[Desktop Action ";

/// What became of an entry that was undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The file is gone: the system's entry is in force again.
    Removed,
    /// The person's own entry is as it was before.
    Restored,
    /// The person has changed the file meanwhile: it stays, without netglance's part.
    Kept,
}

/// Why nothing was done. The text is for a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such entry, or one that starts nothing.
    #[error("there is no desktop entry that starts it")]
    NoEntry,
    /// It is done already, or was never done.
    #[error("its desktop entry is not as expected")]
    Unexpected,
    /// No home directory.
    #[error("neither HOME nor XDG_DATA_HOME is set")]
    NoHome,
    /// A file can't be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::File { path: path.to_owned(), source }
}

/// Where the entries are: the person's own, and the system's.
#[derive(Clone, Debug)]
pub struct Folders {
    own: PathBuf,
    system: Vec<PathBuf>,
    /// The command that starts netglance.
    netglance: String,
}

impl Folders {
    /// Those of the person who runs this.
    pub fn of_user() -> Result<Self, Error> {
        let base = xdg::BaseDirectories::new();
        let below = |folder: PathBuf| folder.join("applications");
        let own = below(base.get_data_home().ok_or(Error::NoHome)?);
        Ok(Self { own, system: base.get_data_dirs().into_iter().map(below).collect(), netglance: netglance() })
    }

    /// These. `netglance`: the command that starts it.
    pub fn new(own: PathBuf, system: Vec<PathBuf>, netglance: &str) -> Self {
        Self { own, system, netglance: netglance.to_owned() }
    }

    /// What is started so that it can be counted, by name.
    pub fn list(&self) -> Vec<Launcher> {
        let mut found = Vec::new();
        for (id, path) in files(&self.own) {
            let text = fs::read_to_string(path).unwrap_or_default();
            if value(&text, OWN_EXEC).is_some() {
                let name = value(&text, "Name").unwrap_or(&id).to_owned();
                found.push(Launcher { id, name, is_own: value(&text, ORIGINAL).is_none() });
            }
        }
        found.sort_by(|a, b| a.name.to_lowercase().cmp(&b.name.to_lowercase()).then_with(|| a.id.cmp(&b.id)));
        found
    }

    /// Has the menu start this program so that it can be counted, from its next start on.
    pub fn set(&self, id: &str) -> Result<(), Error> {
        if let Some(path) = find(&self.own, id) {
            let text = fs::read_to_string(&path).map_err(at(&path))?;
            let changed = changed(&text, id, &self.netglance, None).ok_or(Error::NoEntry)?;
            return replace(&path, &changed);
        }
        let (folder, original) =
            self.system.iter().find_map(|folder| Some((folder, find(folder, id)?))).ok_or(Error::NoEntry)?;
        let text = fs::read_to_string(&original).map_err(at(&original))?;
        let copy = changed(&text, id, &self.netglance, Some(&original)).ok_or(Error::NoEntry)?;
        let path = self.own.join(original.strip_prefix(folder).unwrap_or(&original));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        replace(&path, &copy)
    }

    /// Undoes that.
    pub fn undo(&self, id: &str) -> Result<Undone, Error> {
        let path = find(&self.own, id).ok_or(Error::NoEntry)?;
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        let before = restored(&text).ok_or(Error::Unexpected)?;
        let original = value(&text, ORIGINAL);
        if original.is_none() {
            replace(&path, &before)?;
            return Ok(Undone::Restored);
        }
        if value(&text, HASH) != Some(hash(&before).as_str()) {
            replace(&path, &before)?;
            return Ok(Undone::Kept);
        }
        fs::remove_file(&path).map_err(at(&path))?;
        let mut folder = path.parent();
        // A folder that was made for it goes with it; one with something in it stays.
        while let Some(empty) = folder.filter(|folder| **folder != *self.own && folder.starts_with(&self.own)) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
        Ok(Undone::Removed)
    }

    /// Follows the system's entries: a copy is made anew where its original says something else now, and goes where that is
    /// gone. What the person has changed stays.
    pub fn refresh(&self) {
        for (id, path) in files(&self.own) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let (Some(original), Some(before)) = (value(&text, ORIGINAL), restored(&text)) else { continue };
            if value(&text, HASH) != Some(hash(&before).as_str()) {
                continue;
            }
            match fs::read_to_string(original) {
                Ok(now) => {
                    let copy = changed(&now, &id, &self.netglance, Some(Path::new(original)));
                    if let Some(copy) = copy.filter(|copy| *copy != text) {
                        _ = replace(&path, &copy);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => _ = self.undo(&id),
                Err(_) => {}
            }
        }
    }
}

/// What a person is told of what became of their wish. `outcome`: `None`: it is started so that it can be counted.
pub fn sentence(name: &str, outcome: &Result<Option<Undone>, Error>) -> String {
    match outcome {
        Ok(None) => format!(
            "{name} will be counted as an application of its own from its next start. Close it, and start it again from the \
             applications menu."
        ),
        Ok(Some(Undone::Removed | Undone::Restored)) => format!("{name} will start as before from its next start."),
        Ok(Some(Undone::Kept)) => format!(
            "{name} will start as before from its next start. You have edited its desktop entry, so the file stays, without \
             netglance's part."
        ),
        Err(error) => format!("Error: the way in which {name} starts was not changed: {}.", chain(error)),
    }
}

fn replace(path: &Path, text: &str) -> Result<(), Error> {
    file::replace(path, text).map_err(at(path))
}

/// The entries in a folder and below it, with their ids.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    fn below(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<(String, PathBuf)>) {
        for file in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            match name.strip_suffix(".desktop") {
                Some(stem) => found.push((format!("{prefix}{stem}"), file.path())),
                None if depth < 4 && file.path().is_dir() => {
                    below(&file.path(), &format!("{prefix}{name}-"), depth + 1, found);
                }
                None => {}
            }
        }
    }
    let mut found = Vec::new();
    below(folder, "", 0, &mut found);
    found
}

fn find(folder: &Path, id: &str) -> Option<PathBuf> {
    let plain = folder.join(format!("{id}.desktop"));
    if !id.contains('/') && plain.is_file() {
        return Some(plain);
    }
    files(folder).into_iter().find(|(other, _)| other == id).map(|(_, path)| path)
}

/// How netglance is called from an entry: by its name where that leads to this very program.
fn netglance() -> String {
    let name = "netglance";
    let Ok(this) = env::current_exe() else { return name.to_owned() };
    let in_path = env::var_os("PATH")
        .and_then(|path| env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file()));
    if in_path.and_then(|program| fs::canonicalize(program).ok()).as_ref() == Some(&this) {
        return name.to_owned();
    }
    let this = this.to_string_lossy();
    // So the kernel calls the file of a program that an upgrade has replaced.
    this.strip_suffix(" (deleted)").unwrap_or(&this).to_owned()
}

/// What stands before a command line so that the program is started through netglance where that is still there, and as ever
/// where it isn't: packages can't clean up in a home directory.
fn prefix(id: &str, netglance: &str) -> String {
    let script = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let command = if netglance == "netglance" { netglance.to_owned() } else { script(netglance) };
    let text = format!(r#"command -v {command} >/dev/null && exec {command} start --app "$0" -- "$@"; exec "$@""#);
    format!("sh -c {} {} ", exec::quoted(&text), exec::quoted(id))
}

/// The end of a line, which stays as it is.
fn line_end(line: &str) -> (&str, &str) {
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.split_at(end)
}

/// Key and value of a line, as they stand there.
fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim_start()))
}

/// An entry that starts its programs through netglance; `None`: it does already, or starts none. `original`: the file that it
/// becomes a copy of.
pub fn changed(text: &str, id: &str, netglance: &str, original: Option<&Path>) -> Option<String> {
    if value(text, OWN_EXEC).is_some() || value(text, "Exec").is_none() {
        return None;
    }
    let prefix = prefix(id, netglance);
    let mut changed = String::with_capacity(text.len() * 2);
    let mut starts = false;
    for line in text.split_inclusive('\n') {
        let (content, end) = line_end(line);
        let group = content.trim_end();
        if group.starts_with('[') {
            starts = group == MAIN || group.starts_with(ACTION);
        }
        let end = if end.is_empty() { "\n" } else { end };
        let kept = |now: &str| format!("{MARK}{line}{}{now}{end}", if line.ends_with('\n') { "" } else { "\n" });
        match key_value(content).filter(|_| starts) {
            Some(("Exec", command)) if !command.trim().is_empty() => {
                changed += &kept(&format!("Exec={prefix}{command}"));
            }
            Some(("DBusActivatable", value)) if value.trim() == "true" => changed += &kept("DBusActivatable=false"),
            _ => changed += line,
        }
        if let Some(original) = original.filter(|_| group == MAIN) {
            changed += &format!("{ORIGINAL}={}{end}{HASH}={}{end}", original.display(), hash(text));
        }
    }
    Some(changed)
}

/// The entry without netglance's part; `None`: there is none in it.
pub fn restored(text: &str) -> Option<String> {
    value(text, OWN_EXEC)?;
    let mut before = String::with_capacity(text.len());
    // The line before it, in which the person's own is kept.
    let mut kept: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let (content, _) = line_end(line);
        if let Some(own) = line.strip_prefix(MARK) {
            before += kept.take().unwrap_or_default();
            let key = key_value(content).map(|(key, _)| key);
            if key != Some(ORIGINAL) && key != Some(HASH) {
                kept = Some(own);
            }
            continue;
        }
        let Some(own) = kept.take() else {
            before += line;
            continue;
        };
        match (key_value(content), key_value(line_end(own).0)) {
            (Some(("Exec", command)), Some(("Exec", was))) => match edited(command) {
                // As netglance has written it.
                now if now == was && now.len() < command.len() => before += own,
                now => before += &format!("Exec={now}{}", line.get(content.len()..).unwrap_or("\n")),
            },
            (Some((key, "false")), Some((was, _))) if key == was => before += own,
            // The person has changed it, or put something else there.
            (Some((key, _)), Some((was, _))) if key == was => before += line,
            _ => {
                before += own;
                before += line;
            }
        }
    }
    before += kept.unwrap_or_default();
    Some(before)
}

/// A command line that the person has changed, without netglance's part where that is still at its beginning.
fn edited(command: &str) -> &str {
    let rest = || {
        let rest = command.strip_prefix("sh -c \"command -v ")?;
        let (_, rest) = rest.split_once(r#"exec \\"\\$@\\"" "#)?;
        // The id, which may be quoted.
        match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once("\" ").map(|(_, rest)| rest),
            None => rest.split_once(' ').map(|(_, rest)| rest),
        }
    };
    rest().unwrap_or(command)
}

/// FNV-1a: the same number from one version to the next.
fn hash(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "# A comment\n[Desktop Entry]\nName=Firefox ESR\nName[de]=Feuerfuchs\nExec = /usr/lib/firefox-esr/firefox-esr %u  \nTryExec=firefox-esr\nDBusActivatable=true\n\n[Desktop Action new]\nName=New\nExec=\"/opt/my dir/firefox\" --new \"%c\" %i\r\n[X-Other]\nExec=left alone";

    #[test]
    fn an_entry_is_changed_and_comes_back_as_it_was() {
        for original in [None, Some(Path::new("/usr/share/applications/firefox-esr.desktop"))] {
            let now = changed(FIREFOX, "firefox-esr", "netglance", original).unwrap();
            assert_eq!(restored(&now).as_deref(), Some(FIREFOX), "{now}");
            assert_eq!(changed(&now, "firefox-esr", "netglance", original), None, "twice");
            assert_eq!(value(&now, "DBusActivatable"), Some("false"));
            assert_eq!(value(&now, "Name[de]"), Some("Feuerfuchs"));
            assert_eq!(value(&now, ORIGINAL).is_some(), original.is_some());
            let script = r#"command -v netglance >/dev/null && exec netglance start --app "$0" -- "$@"; exec "$@""#;
            let expected = ["sh", "-c", script, "firefox-esr", "/usr/lib/firefox-esr/firefox-esr", "%u"];
            assert_eq!(exec::arguments(value(&now, "Exec").unwrap()), expected);
            let action =
                now.lines().skip_while(|line| !line.starts_with(ACTION)).find(|line| line.starts_with("Exec="));
            let command = exec::arguments(action.unwrap().strip_prefix("Exec=").unwrap());
            assert_eq!(command[3..], ["firefox-esr", "/opt/my dir/firefox", "--new", "%c", "%i"]);
            assert!(now.ends_with("[X-Other]\nExec=left alone"), "{now}");
        }
        for text in ["", "[Desktop Entry]\nName=x\n", "[Other]\nExec=x\n"] {
            assert_eq!((changed(text, "x", "netglance", None), restored(text)), (None, None), "{text}");
        }
    }

    /// What a person may make of such a file, and what is left of it when netglance goes.
    #[test]
    fn a_persons_changes_stay() {
        let before = "[Desktop Entry]\nName=X\nExec=x %U\nDBusActivatable=true\n";
        let now = changed(before, "my app", "/opt/it's/netglance", None).unwrap();
        let check = |from: &str, to: &str, expected: &str| {
            assert!(now.contains(from), "{from} in {now}");
            assert_eq!(restored(&now.replacen(from, to, 1)).as_deref(), Some(expected));
        };
        check("Name=X", "Name=Y", "[Desktop Entry]\nName=Y\nExec=x %U\nDBusActivatable=true\n");
        check(" x %U\nX-", " x --fast %U\nX-", "[Desktop Entry]\nName=X\nExec=x --fast %U\nDBusActivatable=true\n");
        check(
            "DBusActivatable=false",
            "DBusActivatable=no",
            "[Desktop Entry]\nName=X\nExec=x %U\nDBusActivatable=no\n",
        );
        let own = now.lines().find(|line| line.starts_with("Exec=")).unwrap();
        check(own, "Exec=other", "[Desktop Entry]\nName=X\nExec=other\nDBusActivatable=true\n");
        check(&format!("{own}\n"), "", "[Desktop Entry]\nName=X\nExec=x %U\nDBusActivatable=true\n");
        let command = exec::arguments(value(&now, "Exec").unwrap());
        assert!(command[2].starts_with(r"command -v '/opt/it'\''s/netglance' >"), "{command:?}");
        assert_eq!(command[3], "my app");
    }
}
