//! Which desktop entry a program belongs to: all entries of the menu, found by what they start.

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::{exec, process::Runs};

/// New and removed files are looked for so often.
const LOOKED_EVERY: Duration = Duration::from_secs(10);
/// Of the files in one folder and those below it.
const MOST_FILES: usize = 4096;
/// An entry is no larger; one with many translations has some 30 kB.
const LARGEST: u64 = 1 << 20;
const DEEPEST: usize = 4;
/// What keeps the command line before netglance came into it; see `program/launchers.rs`.
pub const OWN_EXEC: &str = "X-Netglance-Exec";

/// A desktop entry, as far as programs are found by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The desktop file's name without its suffix, folders and all.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// A person starts it from the menu, and it isn't a page of the desktop's settings.
    pub is_app: bool,
    /// netglance can start it: it is no flatpak and no snap, which have a cgroup of their own anyway, and needs no terminal.
    pub is_startable: bool,
    /// netglance starts it already.
    pub is_started: bool,
    program: String,
    /// What its command line demands of it.
    options: Vec<String>,
    class: String,
}

/// All entries.
#[derive(Debug, Default)]
pub struct Entries {
    all: Vec<Entry>,
    by_file: HashMap<PathBuf, Vec<usize>>,
    by_name: HashMap<String, Vec<usize>>,
    by_folder: HashMap<PathBuf, Vec<usize>>,
    by_class: HashMap<String, Vec<usize>>,
    /// The folders and when each was changed.
    folders: Vec<(PathBuf, Option<SystemTime>)>,
    looked: Option<Instant>,
    /// How often they were read.
    pub generation: u64,
}

impl Entries {
    /// Reads them, if that was never done or if there are others than before.
    pub fn refresh(&mut self, now: Instant) {
        if self.looked.is_some_and(|at| now.duration_since(at) < LOOKED_EVERY) {
            return;
        }
        let is_first = self.looked.replace(now).is_none();
        if is_first || self.folders.iter().any(|(folder, at)| changed(folder) != *at) {
            self.read();
        }
    }

    /// Makes the next [`Self::refresh`] read them.
    pub fn forget(&mut self) {
        self.looked = None;
    }

    fn read(&mut self) {
        let generation = self.generation + 1;
        *self = Self { looked: self.looked, generation, ..Self::default() };
        let base = xdg::BaseDirectories::new();
        let mut ids = HashSet::new();
        // The person's own come first, and hide those of the system that have the same id.
        for folder in base.get_data_home().into_iter().chain(base.get_data_dirs()) {
            let folder = folder.join("applications");
            let mut files = Vec::new();
            self.files(&folder, "", 0, &mut files);
            for (id, path) in files {
                let text = fs::metadata(&path).is_ok_and(|file| file.len() <= LARGEST && file.is_file());
                let text = text.then(|| fs::read_to_string(&path).ok()).flatten().unwrap_or_default();
                if ids.insert(id.clone())
                    && let Some(entry) = parse(&text, &id, &path)
                {
                    self.add(entry, &text);
                }
            }
        }
    }

    fn files(&mut self, folder: &Path, prefix: &str, depth: usize, files: &mut Vec<(String, PathBuf)>) {
        self.folders.push((folder.to_owned(), changed(folder)));
        let mut below = Vec::new();
        for file in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = file.file_name();
            let (Some(name), true) = (name.to_str(), files.len() < MOST_FILES) else { continue };
            if let Some(stem) = name.strip_suffix(".desktop") {
                files.push((format!("{prefix}{stem}"), file.path()));
            } else if depth < DEEPEST && file.path().is_dir() {
                below.push((file.path(), format!("{prefix}{name}-")));
            }
        }
        for (folder, prefix) in below {
            self.files(&folder, &prefix, depth + 1, files);
        }
    }

    fn add(&mut self, entry: Entry, text: &str) {
        let at = self.all.len();
        for program in [Some(entry.program.as_str()), value(text, "TryExec")].into_iter().flatten() {
            let Some(file) = resolved(program) else { continue };
            if let Some(folder) = file.parent().filter(|folder| is_its_own(folder)) {
                push(&mut self.by_folder, folder.to_owned(), at);
            }
            if let Some(name) = file.file_name().and_then(|name| name.to_str()) {
                push(&mut self.by_name, name.to_owned(), at);
            }
            push(&mut self.by_file, file, at);
        }
        push(&mut self.by_name, base(&entry.program).to_owned(), at);
        if !entry.class.is_empty() {
            push(&mut self.by_class, entry.class.to_lowercase(), at);
        }
        self.all.push(entry);
    }

    /// The entry of what a process runs.
    pub fn find(&self, runs: &Runs) -> Option<&Entry> {
        let file = runs.file.as_deref();
        let same_file = || self.by_file.get(file?);
        let resolved = || self.by_file.get(&fs::canonicalize(file?).ok()?);
        let same_name = || self.by_name.get(&runs.name);
        let folder = || self.by_folder.get(file?.parent()?);
        let class = || self.by_class.get(&runs.name.to_lowercase());
        let best = |found: Option<&Vec<usize>>| self.best(found?, runs);
        best(same_file())
            .or_else(|| best(resolved()))
            .or_else(|| best(same_name()))
            .or_else(|| best(folder()))
            .or_else(|| best(class()))
    }

    /// Of several entries for one program: the one whose options it was given, or else the one that has none.
    fn best(&self, found: &[usize], runs: &Runs) -> Option<&Entry> {
        let entries = found.iter().filter_map(|at| self.all.get(*at));
        let is_given = |entry: &Entry| entry.options.iter().all(|option| runs.arguments.contains(option));
        let fits = |entry: &&Entry| is_given(entry) || entry.is_app;
        let rank = |entry: &&Entry| {
            let given = is_given(entry);
            let options = if given { entry.options.len() } else { 0 };
            (given, options, entry.is_app, std::cmp::Reverse((entry.options.len(), entry.id.len())))
        };
        entries.filter(fits).max_by_key(rank)
    }

    /// The entry with this id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.all.iter().find(|entry| entry.id == id)
    }
}

fn push<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<usize>>, key: K, at: usize) {
    let found = map.entry(key).or_default();
    if !found.contains(&at) {
        found.push(at);
    }
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn changed(folder: &Path) -> Option<SystemTime> {
    fs::metadata(folder).ok()?.modified().ok()
}

/// The file that a program's name stands for, as the kernel calls it.
fn resolved(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return fs::canonicalize(program).ok();
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find_map(|folder| fs::canonicalize(folder.join(program)).ok())
}

/// Whether a folder holds the files of one program alone.
fn is_its_own(folder: &Path) -> bool {
    const SHARED: [&str; 9] = ["", "bin", "games", "lib", "lib64", "libexec", "opt", "sbin", "tmp"];
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_home = env::var_os("HOME").is_some_and(|home| Path::new(&home) == folder);
    !(SHARED.contains(&name) || name.contains("-linux-") || is_home)
}

/// The value of a key in an entry's main group, as it stands there.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let is_group = |line: &&str| line.starts_with('[');
    let main = text.lines().skip_while(|line| line.trim_end() != "[Desktop Entry]").skip(1);
    main.take_while(|line| !is_group(line)).find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim_end() == key).then_some(value.trim())
    })
}

/// `None`: it starts nothing by which it could be found.
fn parse(text: &str, id: &str, path: &Path) -> Option<Entry> {
    let is = |key| value(text, key) == Some("true");
    if value(text, "Type").is_some_and(|kind| kind != "Application") || is("Hidden") {
        return None;
    }
    let command = exec::arguments(value(text, OWN_EXEC).or_else(|| value(text, "Exec"))?);
    let (program, rest) = program(&command)?;
    let is_elsewhere = ["X-Flatpak", "X-SnapInstanceName"].iter().any(|key| value(text, key).is_some())
        || base(program) == "flatpak"
        || program.contains("/snap/");
    if value(text, "X-Flatpak").is_some() || base(program) == "flatpak" {
        return None;
    }
    let categories = value(text, "Categories").unwrap_or_default();
    let is_settings = categories.split(';').any(|category| matches!(category, "Settings" | "DesktopSettings"));
    let option = |argument: &&String| argument.starts_with('-') && !argument.contains('%') && *argument != "--";
    let runs = super::process::runs(resolved(program), program, command_of(program, rest));
    let is_script = runs.file.as_deref().is_some_and(|file| base(program) != base(&file.to_string_lossy()))
        && rest.iter().any(|argument| Some(Path::new(argument)) == runs.file.as_deref());
    let script = runs.file.as_ref().filter(|_| is_script).map(|file| file.to_string_lossy().into_owned());
    Some(Entry {
        id: id.to_owned(),
        path: path.to_owned(),
        is_app: !is("NoDisplay") && !is_settings,
        is_startable: !is_elsewhere && !is("Terminal"),
        is_started: value(text, OWN_EXEC).is_some(),
        program: script.unwrap_or_else(|| program.to_owned()),
        options: rest.iter().filter(option).cloned().collect(),
        class: value(text, "StartupWMClass").unwrap_or_default().to_owned(),
    })
}

fn command_of(program: &str, rest: &[String]) -> Vec<String> {
    let rest = rest.iter().filter(|argument| !argument.starts_with('%')).cloned();
    [program.to_owned()].into_iter().chain(rest).collect()
}

/// The program that a command line comes to, and its arguments: behind `env` with its variables.
fn program(command: &[String]) -> Option<(&str, &[String])> {
    let mut rest = command;
    loop {
        let (first, more) = rest.split_first()?;
        let is_env = base(first) == "env";
        let is_variable = rest.len() < command.len() && first.contains('=') && !first.starts_with('/');
        if !is_env && !is_variable {
            return Some((first, more));
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(file: &str, arguments: &str) -> Runs {
        let line = std::iter::once(file).chain(arguments.split(' ')).map(str::to_owned).collect();
        super::super::process::runs(Some(file.into()), "", line)
    }

    /// Entries as packages have them, and what a process of theirs looks like.
    #[test]
    fn a_program_is_found_by_its_file_its_name_its_folder_and_its_window() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (path, link) in
            [("opt/google/chrome/google-chrome", Some("opt/chrome-link")), ("app/program/soffice", None)]
        {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
            if let Some(link) = link {
                std::os::unix::fs::symlink(root.join(path), root.join(link)).unwrap();
            }
        }
        let at = |path: &str| root.join(path).to_str().unwrap().to_owned();
        let mut entries = Entries::default();
        for (id, lines) in [
            ("firefox-esr", "Exec=/usr/lib/firefox-esr/firefox-esr %u".to_owned()),
            ("google-chrome", format!("Exec={} %U", at("opt/chrome-link"))),
            ("writer", format!("Exec={} --writer %U", at("app/program/soffice"))),
            ("start", format!("Exec={} %U", at("app/program/soffice"))),
            ("panel-preferences", "Exec=xfce4-panel --preferences\nCategories=X-XFCE;Settings;".to_owned()),
            ("thunar", "Exec=thunar %U".to_owned()),
            ("bulk", "Exec=thunar --bulk-rename %U\nNoDisplay=true".to_owned()),
            ("meld", "Exec=meld %F".to_owned()),
            ("tool", "Exec=env LANG=C python3 /usr/share/tool/tool.py --gui".to_owned()),
            ("code", "Exec=/usr/bin/code-wrapper %F\nStartupWMClass=Code".to_owned()),
            (
                "gimp-flatpak",
                "Exec=/usr/bin/flatpak run --command=gimp org.gimp.GIMP\nX-Flatpak=org.gimp.GIMP".to_owned(),
            ),
            ("ours", format!("Exec=sh -c x\n{OWN_EXEC}=mousepad %U")),
        ] {
            let text =
                format!("# comment\n[Desktop Entry]\nType=Application\n{lines}\n[Desktop Action new]\nExec=other\n");
            if let Some(entry) = parse(&text, id, Path::new("/x")) {
                entries.add(entry, &text);
            }
        }
        let check = |file: &str, arguments: &str, expected: Option<&str>| {
            let found = entries.find(&runs(file, arguments)).map(|entry| entry.id.as_str());
            assert_eq!(found, expected, "{file} {arguments}");
        };
        check("/usr/lib/firefox-esr/firefox-esr", "-contentproc", Some("firefox-esr"));
        check(&at("opt/google/chrome/chrome"), "--type=renderer", Some("google-chrome"));
        check(&at("app/program/soffice.bin"), "--writer a.odt", Some("writer"));
        check(&at("app/program/soffice.bin"), "a.odt", Some("start"));
        check("/usr/bin/xfce4-panel", "", None);
        check("/usr/bin/xfce4-panel", "--preferences", Some("panel-preferences"));
        check("/usr/bin/thunar", "--daemon", Some("thunar"));
        check("/usr/bin/thunar", "--bulk-rename", Some("bulk"));
        check("/usr/bin/python3.13", "/usr/bin/meld a", Some("meld"));
        check("/usr/bin/python3.13", "/usr/share/tool/tool.py --gui", Some("tool"));
        check("/usr/bin/python3.13", "/usr/share/other/other.py", None);
        check("/usr/share/x/code", "", Some("code"));
        check("/usr/bin/flatpak", "run x", None);
        check("/usr/bin/mousepad", "", Some("ours"));
        check("/usr/bin/sh", "", None);
        assert!(entries.get("ours").unwrap().is_started && !entries.get("meld").unwrap().is_started);
    }
}
