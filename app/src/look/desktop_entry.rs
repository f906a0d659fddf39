//! What the desktop calls an app: name and icon of its .desktop file.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use freedesktop_entry_parser::Entry;

/// Pixels at which icons are asked for: twice what is shown, for HiDPI.
const ICON_PIXELS: u16 = 48;
/// A picture of more bytes is no icon.
const ICON_BYTES: u64 = 2 << 20;
/// The theme that every icon theme falls back to (Icon Theme Specification).
const COMMON_THEME: &str = "hicolor";

/// What a .desktop file says of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name, in the user's language where the file has it.
    pub name: String,
    /// The icon's file.
    pub icon: Option<PathBuf>,
    /// The desktop's menu shows it.
    pub in_menu: bool,
}

/// Looked up once for each app id.
#[derive(Debug)]
pub struct DesktopEntries {
    found: HashMap<String, Option<Named>>,
    /// The suffixes of the keys in the user's language, the best one first.
    languages: Vec<String>,
    icon_theme: Option<String>,
    /// By what a person has called them.
    icons: HashMap<String, Option<PathBuf>>,
}

impl Default for DesktopEntries {
    fn default() -> Self {
        // locale(7): the first of these that is set and not empty.
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().filter_map(|name| std::env::var(name).ok());
        let locale = locale.into_iter().find(|value| !value.is_empty());
        Self {
            found: HashMap::new(),
            languages: languages(&locale.unwrap_or_default()),
            icon_theme: None,
            icons: HashMap::new(),
        }
    }
}

impl DesktopEntries {
    /// What the .desktop file of the app with this id says; `None` where there is none.
    pub fn find(&mut self, id: &str) -> Option<&Named> {
        if !self.found.contains_key(id) {
            let named = self.read(id);
            self.found.insert(id.to_owned(), named);
        }
        self.found.get(id)?.as_ref()
    }

    /// The icon's file that a person means, by its name in the theme or its path; `None` where there is none.
    pub fn find_icon(&mut self, icon: &str) -> Option<PathBuf> {
        if !self.icons.contains_key(icon) {
            // A settings file that is edited again and again must not fill the memory.
            self.icons.retain(|_, file| file.is_some());
            self.icons.insert(icon.to_owned(), self.icon(icon));
        }
        self.icons.get(icon)?.clone()
    }

    /// What this .desktop file says, which is that of the app with this id.
    pub fn find_in(&mut self, id: &str, path: &Path) -> Option<&Named> {
        if !self.found.contains_key(id) {
            let entry = Entry::parse_file(path).ok();
            let named = entry.and_then(|entry| named(&entry, &self.languages, |icon| self.icon(icon)));
            self.found.insert(id.to_owned(), named);
        }
        self.found.get(id)?.as_ref()
    }

    /// Forgets apps that are not needed any more: there may be a new id for each short-lived unit.
    pub fn keep(&mut self, is_needed: impl Fn(&str) -> bool) {
        self.found.retain(|id, _| is_needed(id));
    }

    /// Forgets all: the files may say something else by now.
    pub fn forget(&mut self) {
        self.found.clear();
    }

    /// Takes icons from this theme from now on; `None`: from the one that all themes share.
    pub fn set_icon_theme(&mut self, theme: Option<String>) {
        if theme != self.icon_theme {
            self.icon_theme = theme;
            self.found.clear();
            self.icons.clear();
        }
    }

    fn read(&self, id: &str) -> Option<Named> {
        // An id comes out of a cgroup's name, where systemd's escapes can write a slash: `..` would lead to any file of anybody's.
        if id.contains(['/', '\0']) {
            return None;
        }
        let directories = xdg::BaseDirectories::new();
        let file = |name: String| directories.find_data_file(format!("applications/{name}.desktop"));
        // A snap's file has the snap's name and the app's.
        let path = file(id.to_owned()).or_else(|| file(format!("{id}_{id}")))?;
        named(&Entry::parse_file(path).ok()?, &self.languages, |icon| self.icon(icon))
    }

    fn icon(&self, icon: &str) -> Option<PathBuf> {
        let path = PathBuf::from(icon);
        let theme = self.icon_theme.as_deref().unwrap_or(COMMON_THEME);
        let in_theme = || freedesktop_icons::lookup(icon).with_size(ICON_PIXELS).with_theme(theme).find();
        let path = if path.is_absolute() { Some(path) } else { in_theme() };
        path.filter(|path| may_be_read(path))
    }
}

/// Whether a file has an end, and a near one: whoever opens a pipe or a device may wait for ever.
fn may_be_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= ICON_BYTES)
}

fn named(entry: &Entry, languages: &[String], icon: impl Fn(&str) -> Option<PathBuf>) -> Option<Named> {
    const GROUP: &str = "Desktop Entry";
    let first = |values: &[String]| values.first().filter(|text| !text.is_empty()).cloned();
    let value = |key: &str| entry.get(GROUP, key).and_then(first);
    let translated = |key: &str| {
        let in_language = |language| entry.get_with_param(GROUP, key, language).and_then(first);
        languages.iter().find_map(in_language).or_else(|| value(key))
    };
    let is = |key: &str| value(key).is_some_and(|value| value == "true");
    let name = translated("Name")?;
    let icon = translated("Icon").and_then(|name| icon(&name));
    Some(Named { name, icon, in_menu: !is("NoDisplay") && !is("Hidden") })
}

/// The suffixes that a key can have for a locale, the best one first (Desktop Entry Specification, "Localized values for
/// keys"): of `sr_YU.UTF-8@Latn` they are `sr_YU@Latn`, `sr_YU`, `sr@Latn` and `sr`.
fn languages(locale: &str) -> Vec<String> {
    let (rest, modifier) = locale.split_once('@').map_or((locale, None), |(rest, modifier)| (rest, Some(modifier)));
    let rest = rest.split('.').next().unwrap_or(rest);
    if matches!(rest, "" | "C" | "POSIX") {
        return Vec::new();
    }
    let language = rest.split('_').next().filter(|language| *language != rest);
    let mut languages = Vec::new();
    for base in [Some(rest), language].into_iter().flatten() {
        languages.extend(modifier.map(|modifier| format!("{base}@{modifier}")));
        languages.push(base.to_owned());
    }
    languages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_tried_from_the_nearest_language_on() {
        let check = |locale: &str, expected: &str| assert_eq!(languages(locale).join(" "), expected, "{locale}");
        check("sr_YU.UTF-8@Latn", "sr_YU@Latn sr_YU sr@Latn sr");
        check("de_AT.UTF-8", "de_AT de");
        check("de", "de");
        check("ca@valencia", "ca@valencia ca");
        check("C.UTF-8", "");
        check("POSIX", "");
        check("", "");
    }

    #[test]
    fn a_name_is_in_the_users_language() {
        let text = "[Desktop Entry]\nName=Files\nName[de]=Dateien\nName[de_AT]=Akten\nName[sr@Latn]=Datoteke\nIcon=files\nIcon[ar]=files-rtl\n";
        let check = |locale: &str, name: &str, icon: &str| {
            let entry = Entry::parse(text).unwrap();
            let named = named(&entry, &languages(locale), |icon| Some(icon.into())).unwrap();
            assert_eq!((named.name.as_str(), named.icon), (name, Some(icon.into())), "{locale}");
        };
        check("de_DE.UTF-8", "Dateien", "files");
        check("de_AT.UTF-8", "Akten", "files");
        check("sr_RS@Latn", "Datoteke", "files");
        check("ar_EG.UTF-8", "Files", "files-rtl");
        check("fr_FR.UTF-8", "Files", "files");
        check("", "Files", "files");
    }

    #[test]
    fn the_menu_does_not_show_what_is_hidden() {
        let check = |line: &str, expected: bool| {
            let entry = Entry::parse(format!("[Desktop Entry]\nName=x\n{line}\n")).unwrap();
            assert_eq!(named(&entry, &[], |_| None).unwrap().in_menu, expected, "{line}");
        };
        check("", true);
        check("NoDisplay=true", false);
        check("Hidden=true", false);
        check("NoDisplay=false", true);
    }

    #[test]
    fn an_icon_is_a_file_of_a_sensible_size() {
        let folder = tempfile::tempdir().unwrap();
        let sized = |name: &str, bytes: u64| {
            let path = folder.path().join(name);
            fs::File::create(&path).unwrap().set_len(bytes).unwrap();
            path
        };
        let link = |to: &Path| {
            let path = to.with_extension("link");
            std::os::unix::fs::symlink(to, &path).unwrap();
            path
        };
        let (icon, large) = (sized("icon.png", ICON_BYTES), sized("large.png", ICON_BYTES + 1));
        let sparse = sized("sparse.png", 1 << 40);
        let pipe = folder.path().join("pipe.png");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let entries = DesktopEntries::default();
        let check = |path: &Path, expected: bool| {
            let found = entries.icon(path.to_str().unwrap());
            assert_eq!(found.as_deref(), expected.then_some(path), "{path:?}");
        };
        check(&icon, true);
        check(&link(&icon), true);
        for path in [&large, &sparse, &pipe, &link(&pipe), &folder.path().join("none.png")] {
            check(path, false);
        }
        check(folder.path(), false);
        check(Path::new("/dev/zero"), false);
    }

    #[test]
    fn what_is_not_needed_any_more_is_forgotten() {
        let mut entries = DesktopEntries::default();
        for i in 0..1_000 {
            entries.find(&format!("org.example.ShortLived{i}"));
            entries.find("org.example.Watched");
            entries.keep(|id| id == "org.example.Watched");
        }
        assert_eq!(entries.found.keys().collect::<Vec<_>>(), ["org.example.Watched"]);
    }
}
