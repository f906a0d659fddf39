//! What the desktop calls an app: name and icon of its .desktop file.

use std::{collections::HashMap, path::PathBuf};

use freedesktop_entry_parser::Entry;

/// Pixels at which icons are asked for: twice what is shown, for HiDPI.
const ICON_PIXELS: u16 = 48;

/// What an app is called.
#[derive(Clone, Debug)]
pub struct Named {
    /// The .desktop file's name, else the id.
    pub name: String,
    /// The icon's file.
    pub icon: Option<PathBuf>,
    /// There is a .desktop file.
    pub in_menu: bool,
}

/// Looked up once for each app id.
#[derive(Debug, Default)]
pub struct DesktopEntries {
    found: HashMap<String, Named>,
}

impl DesktopEntries {
    /// Name and icon of the app with this id; the id itself and none where there is no .desktop file.
    pub fn find(&mut self, id: &str) -> &Named {
        let without = || Named { name: plain_name(id), icon: None, in_menu: false };
        self.found.entry(id.to_owned()).or_insert_with(|| read(id).unwrap_or_else(without))
    }
}

fn read(id: &str) -> Option<Named> {
    // An id comes out of a cgroup's name, where systemd's escapes can write a slash: `..` would lead to any file of anybody's.
    if id.contains(['/', '\0']) {
        return None;
    }
    let path = xdg::BaseDirectories::new().find_data_file(format!("applications/{id}.desktop"))?;
    let entry = Entry::parse_file(path).ok()?;
    let value = |key| entry.get("Desktop Entry", key).and_then(|values| values.first()).filter(|text| !text.is_empty());
    let name = value("Name")?.clone();
    let icon = value("Icon").and_then(|icon| {
        let path = PathBuf::from(icon);
        if path.is_absolute() { Some(path) } else { freedesktop_icons::lookup(icon).with_size(ICON_PIXELS).find() }
    });
    Some(Named { name, icon, in_menu: true })
}

/// Without a .desktop file the id has to do. A login session holds all that a desktop starts without systemd.
fn plain_name(id: &str) -> String {
    id.strip_prefix("session-").map_or_else(|| id.to_owned(), |number| format!("Login session {number}"))
}
