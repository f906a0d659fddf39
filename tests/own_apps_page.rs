//! Apps of one's own in the window: the page on which one is made, what leads to it, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Event, Key, Modifiers, PointerButton, Rect, accesskit::Role, pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use netglance::{
    base::settings::{OwnApp, Settings},
    look::{
        rate::{Bytes, Rate},
        reading::{AppReading, Kind},
    },
    show::update::{Command as Wish, Update},
};
use screen::{RATE, Screen, overview, reading};

const USER: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice";

fn app(id: &str, name: &str, kind: Kind, rx: f64, paths: &[&str]) -> AppReading {
    let path = |path: &&str| if path.starts_with('/') { (*path).to_owned() } else { format!("{USER}/{path}") };
    let icon = format!("{}/../icons/org.netglance.Netglance.svg", env!("CARGO_MANIFEST_DIR"));
    AppReading {
        id: id.to_owned(),
        name: name.to_owned(),
        icon: (id == "firefox").then(|| icon.into()),
        in_menu: kind == Kind::App && id != "sync",
        rate: Some(Rate { rx, tx: 0.0 }),
        bytes: Bytes::default(),
        cgroups: paths.iter().map(path).collect(),
        kind,
        colour: None,
        parts: Vec::new(),
    }
}

/// What runs.
fn running() -> Vec<AppReading> {
    vec![
        app("firefox", "Firefox", Kind::App, 9000.0, &["app-gnome-firefox-4711.scope"]),
        app("docker:db", "db", Kind::Forwarded, 5000.0, &["/forwarded/docker/shop/db/172.17.0.2"]),
        app("docker:web", "web", Kind::Forwarded, 0.0, &["/forwarded/docker/shop/web/172.17.0.3"]),
        app("StB", "StB", Kind::Own, 100.0, &["stb-next-server@split.service", "stb-next-shell@split.service"]),
        app("mail", "Mail", Kind::App, 0.0, &["app-mail@autostart.service"]),
        app("sync", "sync", Kind::App, 0.0, &["sync@home.service", "sync@work.service"]),
    ]
}

fn list(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn shown(settings: &Settings) -> Update {
    Update { settings: settings.clone(), ..overview(running()) }
}

/// The page of a new app.
fn page() -> Screen {
    let mut screen = Screen::new();
    screen.show(shown(&Settings::default()));
    screen.harness.set_size(vec2(920.0, 1400.0));
    screen.harness.run();
    screen.click("New App…");
    screen
}

fn tick(screen: &mut Screen, name: &str) {
    screen.harness.get_by_role_and_label(Role::CheckBox, name).click();
    screen.harness.run();
}

/// What was saved and then watched.
#[track_caller]
fn saved(screen: &Screen) -> (Vec<OwnApp>, Vec<String>) {
    match &screen.wishes()[..] {
        [Wish::Set(settings), Wish::Watch(ids)] => (settings.apps.clone(), ids.clone()),
        other => panic!("{other:?}"),
    }
}

fn is_on(screen: &Screen, name: &str) -> bool {
    let node = screen.harness.get_by_role_and_label(Role::CheckBox, name);
    node.accesskit_node().toggled() == Some(eframe::egui::accesskit::Toggled::True)
}

#[test]
fn an_app_is_made_by_ticking() {
    let mut screen = page();
    screen.is_accessible();
    screen.says("New App");
    screen.says("This app does not include anything yet.");
    for taken in ["stb-next-server (already in StB)", "stb-next-shell (already in StB)"] {
        let node = screen.harness.get_by_role_and_label(Role::CheckBox, taken);
        assert!(node.accesskit_node().is_disabled());
    }
    // The name has the focus.
    screen.harness.get_by_role_and_label(Role::TextInput, "Name").type_text("Work");
    screen.harness.run();
    tick(&mut screen, "Firefox");
    tick(&mut screen, "sync@work.service");
    tick(&mut screen, "db");
    screen.says("This app will include Firefox, sync and Project shop. 3 units of it run now.");
    tick(&mut screen, "sync");
    assert!(is_on(&screen, "sync@work.service (with sync)"));
    tick(&mut screen, "sync");
    tick(&mut screen, "sync@home.service");
    assert_eq!(screen.wishes(), [], "nothing is in force before it is saved");
    screen.click("Save");
    let work = OwnApp {
        name: "Work".into(),
        units: list(&["sync@home.service"]),
        apps: list(&["firefox"]),
        containers: list(&["db"]),
        ..OwnApp::default()
    };
    assert_eq!(saved(&screen), (vec![work], list(&["Work"])));
    screen.says_not("New App\n");
    screen.says("Search the applications");
}

#[test]
fn patterns_say_at_once_what_they_match() {
    let mut screen = page();
    screen.type_into("Name", "Work");
    screen.click("Add Unit Pattern");
    screen.harness.get_by_role_and_label(Role::TextInput, "Unit pattern 1").type_text("sync@*");
    screen.harness.run();
    screen.says("Matches 2 now: sync@home.service and sync@work.service");
    assert!(is_on(&screen, "sync (by a pattern)"));
    screen.click("Add Container Pattern");
    screen.harness.get_by_role_and_label(Role::TextInput, "Container pattern 1").type_text("later-*");
    screen.harness.run();
    screen.says("Matches nothing that runs now.");
    screen.click("Add Unit Pattern");
    screen.harness.get_by_role_and_label(Role::TextInput, "Unit pattern 2").type_text("x[");
    screen.harness.run();
    screen.says_not("is not a pattern");
    screen.click("Save");
    assert_eq!(screen.wishes(), []);
    let sentence = "\"x[\" is not a pattern: invalid range pattern.";
    assert_eq!(screen.harness.query_all_by_label(sentence).count(), 2, "at the field, and beside the button");
    screen.click("Remove unit pattern 2");
    screen.says_not(sentence);
    screen.click("Advanced");
    screen.click("Add Path");
    screen.harness.get_by_role_and_label(Role::TextInput, "Cgroup path 1").type_text(USER);
    screen.harness.run();
    screen.says("Matches 6 now: app-gnome-firefox-4711.scope, ");
    screen.is_accessible();
    screen.click("Save");
    let work = OwnApp {
        name: "Work".into(),
        units: list(&["sync@*"]),
        cgroups: list(&[USER]),
        containers: list(&["later-*"]),
        ..OwnApp::default()
    };
    assert_eq!(saved(&screen), (vec![work], list(&["Work"])));
}

#[test]
fn names_that_are_taken_are_refused_and_colours_are_checked() {
    let mut screen = page();
    screen.click("Save");
    assert_eq!(screen.harness.query_all_by_label("Enter a name for the app.").count(), 2);
    tick(&mut screen, "Mail");
    screen.type_into("Name", "stb");
    screen.click("Save");
    screen.says("You already have an app called “StB”. Choose another name.");
    screen.press_with(Modifiers::COMMAND, Key::A);
    screen.type_into("Name", "9");
    screen.harness.get_by_role_and_label(Role::RadioButton, "Teal").click();
    screen.harness.run();
    screen.click("Other");
    let colour = "Red, green and blue";
    screen.harness.get_by_role_and_label(Role::TextInput, colour).focus();
    screen.harness.run();
    for _ in 0..7 {
        screen.press(Key::Backspace);
    }
    screen.type_into(colour, "#12345");
    screen.click("Save");
    screen.says("\"#12345\" is not a colour: it should read like \"#3584e4\"");
    assert_eq!(screen.wishes(), []);
    screen.type_into(colour, "6");
    screen.click("From an Application");
    screen.harness.get_by_role_and_label(Role::Button, "Firefox").click();
    screen.harness.run();
    screen.click("Save");
    let (apps, _) = saved(&screen);
    assert_eq!(apps[0].colour, Some([0x12, 0x34, 0x56]));
    assert!(apps[0].icon.as_ref().unwrap().ends_with("/org.netglance.Netglance.svg"));
}

/// The row's menu, by the mouse.
fn open_menu(screen: &mut Screen, row: &str) {
    let at = screen.harness.query_all_by_label_contains(row).next().unwrap().rect().center();
    screen.harness.hover_at(at);
    for pressed in [true, false] {
        let (button, modifiers) = (PointerButton::Secondary, Modifiers::NONE);
        screen.harness.event(Event::PointerButton { pos: at, button, pressed, modifiers });
    }
    screen.harness.run();
}

#[test]
fn the_menu_of_an_app_groups_it_with_others() {
    let mine = OwnApp { name: "Mine".into(), apps: list(&["mail"]), ..OwnApp::default() };
    let settings = Settings { apps: vec![mine.clone()], ..Settings::default() };
    let mut apps = running();
    apps.retain(|app| app.id != "mail");
    apps.push(app("Mine", "Mine", Kind::Own, 0.0, &["app-mail@autostart.service"]));
    let update = || Update { apps: apps.clone(), ..shown(&settings) };
    let mut screen = Screen::with(settings.clone());
    screen.harness.set_size(vec2(920.0, 1400.0));
    screen.show(update());
    open_menu(&mut screen, "Firefox, download");
    screen.click("Group With…");
    screen.says("New App");
    assert!(is_on(&screen, "Firefox"));
    // What the menu has ticked is soon ticked again: it is not asked about.
    screen.press(Key::Escape);
    screen.says("Search the applications");
    open_menu(&mut screen, "db, download");
    screen.click("Add to Mine…");
    screen.says("Edit Mine");
    assert!(is_on(&screen, "mail") && is_on(&screen, "db"));
    screen.click("Save");
    let added = OwnApp { containers: list(&["db"]), ..mine };
    assert_eq!(saved(&screen), (vec![added], list(&["Mine"])));

    // The keyboard opens it as well, and the list of one app has the same.
    for (key, modifiers) in [(Key::Menu, Modifiers::NONE), (Key::F10, Modifiers::SHIFT)] {
        let mut screen = Screen::with(settings.clone());
        screen.show(update());
        screen.press(Key::ArrowDown);
        screen.press_with(modifiers, key);
        screen.says("Edit…");
        screen.press(Key::ArrowDown);
        screen.press(Key::ArrowUp);
        screen.press(Key::Enter);
        screen.says("Edit Mine");
        screen.says_not("Edit…");
        assert_eq!(screen.wishes(), [], "the keys are the menu's alone");
    }
    let mut screen = Screen::with(settings.clone());
    screen.show(Update { apps: apps.clone(), settings: settings.clone(), ..reading(Ok(RATE)) });
    open_menu(&mut screen, "web, 0 B/s");
    screen.says("Add to StB…");
    screen.press(Key::Escape);
    screen.click("Menu of StB");
    screen.click("Edit…");
    screen.says("Edit StB");
}

#[test]
fn an_app_is_changed_and_deleted() {
    let mine = OwnApp { name: "Mine".into(), apps: list(&["gone", "mail"]), ..OwnApp::default() };
    let settings = Settings { apps: vec![mine.clone()], ..Settings::default() };
    let mut screen = Screen::with(settings.clone());
    screen.harness.set_size(vec2(920.0, 1400.0));
    let mut apps = running();
    apps.retain(|app| app.id != "mail");
    apps.push(app("Mine", "Mine", Kind::Own, 0.0, &["app-mail@autostart.service"]));
    let update = || Update { apps: apps.clone(), ..shown(&settings) };
    let open = |screen: &mut Screen, what: &str| {
        screen.show(update());
        open_menu(screen, "Mine, download");
        screen.click(what);
    };
    open(&mut screen, "Edit…");
    tick(&mut screen, "gone (not running)");
    screen.type_into("Name", " 2");
    screen.click("Save");
    let changed = OwnApp { name: "Mine 2".into(), apps: list(&["mail"]), ..OwnApp::default() };
    assert_eq!(saved(&screen), (vec![changed], list(&["Mine 2"])));
    // The program refuses it.
    for _ in 0..4 {
        screen.show(update());
    }
    for (answer, expected) in [("Cancel", 0), ("Delete", 2)] {
        open(&mut screen, "Delete…");
        screen.says("Delete Mine?");
        screen.says("Nothing that was recorded is lost.");
        screen.click(answer);
        screen.says_not("Delete Mine?");
        let wishes = screen.wishes();
        assert_eq!(wishes.len(), expected, "{wishes:?}");
        if answer == "Delete" {
            assert_eq!(wishes, [Wish::Set(Settings::default()), Wish::Watch(Vec::new())]);
        }
    }
    // From its page, a built-in one.
    for _ in 0..4 {
        screen.show(update());
    }
    open_menu(&mut screen, "StB, download");
    screen.click("Edit…");
    screen.click("Delete…");
    screen.says("It comes with netglance");
    screen.press(Key::Escape);
    screen.says("Edit StB");
    screen.click("Delete…");
    screen.click("Delete");
    let nothing = OwnApp { name: "StB".into(), ..OwnApp::default() };
    let wished = Settings { apps: vec![mine, nothing], ..Settings::default() };
    assert_eq!(screen.wishes(), [Wish::Set(wished), Wish::Watch(Vec::new())]);
    screen.says_not("Edit StB");
}

#[test]
fn nothing_is_lost_without_a_word() {
    let mut screen = page();
    screen.press(Key::Escape);
    screen.says("Search the applications");
    screen.click("New App…");
    screen.type_into("Name", "Work");
    let away = [Key::U, Key::N, Key::P, Key::Comma, Key::G, Key::W];
    for key in away {
        screen.press_with(Modifiers::COMMAND, key);
        screen.says("Discard Changes?");
        // The button that keeps it has the focus.
        screen.press(Key::Enter);
        screen.says_not("Discard Changes?");
        screen.says("New App");
    }
    screen.press(Key::Escape);
    screen.click("Discard");
    screen.says("Search the applications");
    // While the file has a mistake, nothing is written over it.
    let error = "/home/cad/.config/netglance/config.toml, line 3: beat = 99 is not between 0.1 and 5 seconds";
    let broken = || Update { settings_error: Some(error.into()), ..shown(&Settings::default()) };
    screen.show(broken());
    screen.click("New App…");
    screen.type_into("Name", "Work");
    tick(&mut screen, "Mail");
    screen.says("Cannot save now: /home/cad/.config/netglance/config.toml, line 3");
    assert!(screen.harness.get_by_label("Save").accesskit_node().is_disabled());
    assert_eq!(screen.wishes(), []);
    // It was mended, and what was typed is still there.
    screen.show(shown(&Settings::default()));
    screen.click("Save");
    assert_eq!(saved(&screen).1, ["Work"]);
}

#[test]
fn an_app_is_made_with_the_keyboard_alone() {
    let mut screen = Screen::new();
    screen.show(shown(&Settings::default()));
    screen.press_with(Modifiers::COMMAND, Key::G);
    let focused = |screen: &Screen| {
        let node = screen.harness.root().children_recursive().find(|node| node.accesskit_node().is_focused());
        let node = node.expect("something has the focus");
        let (name, rect) = (node.accesskit_node().label().unwrap_or_default(), node.rect());
        assert!(rect.top() >= 0.0 && rect.bottom() <= 640.0, "{name} is out of view: {rect}");
        name
    };
    assert_eq!(focused(&screen), "Name");
    screen.harness.get_by_role_and_label(Role::TextInput, "Name").type_text("Work");
    screen.harness.run();
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != "Cancel") {
        screen.press(Key::Tab);
        screen.harness.run();
        names.push(focused(&screen));
        assert!(names.len() < 50, "{names:?}");
        if names.last().is_some_and(|name| name == "sync@home.service") {
            screen.press(Key::Space);
        }
    }
    let expected = [
        "Search what runs now",
        "Firefox",
        "Mail",
        "sync",
        "sync@home.service",
        "sync@work.service",
        "Project shop",
        "db",
        "web",
        "Add Unit Pattern",
        "Add Container Pattern",
        "Automatic",
        "Icon",
        "From an Application",
        "Advanced",
        "Save",
        "Cancel",
    ];
    assert_eq!(names, expected, "in the order in which they are read");
    screen.press_with(Modifiers::SHIFT, Key::Tab);
    screen.press(Key::Enter);
    let work = OwnApp { name: "Work".into(), units: list(&["sync@home.service"]), ..OwnApp::default() };
    assert_eq!(saved(&screen), (vec![work], list(&["Work"])));
}

/// One's own apps, apps, containers and virtual machines, services: here and beside a chart.
#[test]
fn the_lists_have_sections_in_this_order() {
    let order = |screen: &Screen, names: &[&str]| {
        let top = |name: &&str| {
            let mut nodes = screen.harness.query_all_by_label_contains(name);
            nodes.next().unwrap_or_else(|| panic!("{name} is not shown")).rect().top()
        };
        let tops: Vec<_> = names.iter().map(top).collect();
        assert!(tops.is_sorted(), "{names:?} are at {tops:?}");
    };
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 900.0));
    screen.show(shown(&Settings::default()));
    let rows = ["StB, download", "Firefox, d", "Mail, d", "Containers and virtual", "db, d", "web, d", "Services (1)"];
    order(&screen, &rows);
    screen.show(Update { apps: running(), ..reading(Ok(RATE)) });
    order(&screen, &["StB, ", "Firefox, ", "Mail, ", "Containers and virtual", "db, ", "web, ", "Services (1)"]);
}

#[test]
fn it_looks_as_it_was_reviewed() {
    let own =
        OwnApp { name: "Backup".into(), apps: list(&["gone"]), colour: Some([0xe0, 0x45, 0x40]), ..OwnApp::default() };
    let settings = Settings { apps: vec![own], ..Settings::default() };
    let mut screen = Screen::with(settings.clone());
    let mut apps = running();
    apps.push(app("Backup", "Backup", Kind::Own, 0.0, &[]));
    screen.show(Update { apps, settings, ..reading(Ok(RATE)) });
    screen.looks(Rect::from_min_max(pos2(8.0, 84.0), pos2(258.0, 330.0)), "own-apps/list");
    screen.click("New App…");
    screen.harness.get_by_role_and_label(Role::TextInput, "Name").type_text("Work");
    screen.harness.run();
    tick(&mut screen, "Firefox");
    screen.looks(Rect::from_min_max(pos2(8.0, 8.0), pos2(488.0, 370.0)), "own-apps/page");
}
