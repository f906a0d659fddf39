//! Which apps the tray's menu offers. Pure.

use netglance_dbus::text::brief;

use super::face::NAME_CHARS;
use crate::{
    look::{reading::AppReading, target::Target},
    show::tray::Entry,
};

/// Apps in the menu.
const MENU_APPS: usize = 10;

/// StB first, then by name, so that none moves while the menu is open: what is watched, and the busiest.
pub fn apps(apps: &[AppReading], watched: &[String]) -> Vec<Entry> {
    let stb = Target::stb().name;
    let entry = |id: &str, name: &str| Entry {
        id: id.to_owned(),
        name: brief(name, NAME_CHARS).into_owned(),
        watched: watched.iter().any(|watched| watched == id),
    };
    let (mut kept, others): (Vec<_>, Vec<_>) =
        apps.iter().map(|app| entry(&app.id, &app.name)).partition(|entry| entry.watched || entry.id == stb);
    // One that doesn't run now can still be unticked.
    let gone = watched.iter().filter(|id| !apps.iter().any(|app| app.id == **id)).map(|id| entry(id, id));
    kept.extend(gone);
    let room = MENU_APPS.saturating_sub(kept.len());
    kept.extend(others.into_iter().take(room));
    kept.sort_by_key(|entry| (entry.id != stb, entry.name.to_lowercase()));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::rate::Bytes;

    #[test]
    fn the_menu_has_stb_first_all_that_is_watched_and_the_busiest() {
        let app = |id: &str| AppReading {
            id: id.into(),
            name: id.to_uppercase(),
            icon: None,
            in_menu: true,
            rate: None,
            bytes: Bytes::default(),
            cgroups: Vec::new(),
        };
        let check = |apps: &[AppReading], watched: &[&str], expected: &str| {
            let watched: Vec<_> = watched.iter().map(|id| (*id).to_owned()).collect();
            let shown = super::apps(apps, &watched);
            let shown: Vec<_> = shown.iter().map(|e| format!("{}{}", if e.watched { "+" } else { "" }, e.id)).collect();
            assert_eq!(shown.join(" "), expected);
        };
        let many: Vec<_> = "z y x w v u t s r q p b".split(' ').map(app).collect();
        check(&many, &[], "q r s t u v w x y z");
        check(&many, &["b", "gone"], "+b +gone s t u v w x y z");
        check(&[app("a"), app("StB")], &["StB"], "+StB a");
        check(&[], &[], "");
    }
}
