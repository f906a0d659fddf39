//! Which apps the tray's menu offers. Pure.

use netglance_dbus::text::brief;

use super::face::NAME_CHARS;
use crate::{
    look::{
        names,
        reading::{AppReading, Kind},
    },
    show::tray::Entry,
};

/// Apps in the menu.
const MENU_APPS: usize = 10;

/// The apps that a person has defined first, then the busiest: what is watched, what the desktop's menu has, what has moved bytes. Not the desktop's services, and
/// not a login session, which is many apps and no app.
pub fn apps(apps: &[AppReading], watched: &[String]) -> Vec<Entry> {
    let is_watched = |app: &AppReading| watched.contains(&app.id);
    let has_moved = |app: &AppReading| app.bytes.rx > 0 || app.bytes.tx > 0;
    let is_app = |app: &AppReading| (app.in_menu || has_moved(app)) && !app.id.starts_with("session-");
    let kept = apps.iter().filter(|app| app.kind == Kind::Own || is_watched(app)).count();
    let mut room = MENU_APPS.saturating_sub(kept);
    let mut is_shown = |app: &&AppReading| {
        let always = app.kind == Kind::Own || is_watched(app);
        let fits = !always && room > 0 && is_app(app);
        room -= usize::from(fits);
        always || fits
    };
    let mut shown: Vec<_> = apps.iter().filter(|app| is_shown(app)).collect();
    shown.sort_by_key(|app| app.kind != Kind::Own);
    let mut shown: Vec<_> = shown.into_iter().map(|app| entry(&app.id, &app.name, watched)).collect();
    add_gone(&mut shown, apps, watched);
    shown
}

/// Sets the marks of a menu to what is watched now. Nothing in it moves; what is watched besides comes at its end.
pub fn mark(menu: &mut Vec<Entry>, apps: &[AppReading], watched: &[String]) {
    for entry in &mut *menu {
        entry.watched = watched.contains(&entry.id);
    }
    add_gone(menu, apps, watched);
}

/// What is watched can be unticked, also where it doesn't run now.
fn add_gone(menu: &mut Vec<Entry>, apps: &[AppReading], watched: &[String]) {
    for id in watched {
        if !menu.iter().any(|entry| entry.id == *id) {
            let running = apps.iter().find(|app| app.id == *id);
            let name = running.map_or_else(|| names::plain(id), |app| app.name.clone());
            menu.push(entry(id, &name, watched));
        }
    }
}

fn entry(id: &str, name: &str, watched: &[String]) -> Entry {
    Entry {
        id: id.to_owned(),
        name: brief(name, NAME_CHARS).into_owned(),
        watched: watched.iter().any(|watched| watched == id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::rate::Bytes;

    fn app(id: &str, in_menu: bool, rx: u64) -> AppReading {
        AppReading {
            id: id.into(),
            name: id.to_uppercase(),
            icon: None,
            in_menu,
            rate: None,
            bytes: Bytes { rx, ..Bytes::default() },
            cgroups: Vec::new(),
            kind: if id == "StB" { Kind::Own } else { Kind::App },
            colour: None,
            parts: Vec::new(),
        }
    }

    fn shown(menu: &[Entry]) -> String {
        menu.iter().map(|e| format!("{}{}", if e.watched { "+" } else { "" }, e.id)).collect::<Vec<_>>().join(" ")
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn the_menu_has_own_apps_first_then_the_busiest() {
        let check = |apps: &[AppReading], watched: &[&str], expected: &str| {
            assert_eq!(shown(&super::apps(apps, &ids(watched))), expected);
        };
        let many: Vec<_> = "z y x w v u t s r q p b".split(' ').map(|id| app(id, true, 0)).collect();
        check(&many, &[], "z y x w v u t s r q");
        check(&many, &["b", "gone"], "z y x w v u t s r +b +gone");
        check(&[app("a", true, 0), app("StB", false, 0)], &["StB"], "+StB a");
        check(&[app("a", true, 0), app("StB", false, 0)], &[], "StB a");
        check(&[app("a", true, 0)], &["StB"], "a +StB");
        check(&[], &[], "");
    }

    #[test]
    fn services_and_sessions_are_no_apps_until_they_move_bytes_or_are_watched() {
        let apps = [
            app("syncthing", false, 5),
            app("session-2", false, 4),
            app("firefox", true, 0),
            app("dconf", false, 0),
            app("at-spi-dbus-bus", false, 0),
        ];
        assert_eq!(shown(&super::apps(&apps, &[])), "syncthing firefox");
        assert_eq!(shown(&super::apps(&apps, &ids(&["session-2", "dconf"]))), "syncthing +session-2 firefox +dconf");
    }

    #[test]
    fn a_mark_moves_nothing() {
        let apps = [app("b", true, 0), app("a", true, 0)];
        let mut menu = super::apps(&apps, &[]);
        mark(&mut menu, &apps, &ids(&["a", "tmux-spawn"]));
        assert_eq!(shown(&menu), "b +a +tmux-spawn");
        assert_eq!(menu[2].name, "tmux");
        mark(&mut menu, &apps, &[]);
        assert_eq!(shown(&menu), "b a tmux-spawn");
    }
}
