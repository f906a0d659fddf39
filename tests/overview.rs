//! All applications in the window, where none is chosen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Key, Modifiers, accesskit::Role, pos2};
use egui_kittest::kittest::{NodeT, Queryable};
use netglance::{
    look::{
        rate::{Bytes, Gap, Rate},
        reading::AppReading,
    },
    show::update::{Backlog, Command as Wish, Update},
};
use screen::{RATE, Screen, app, apps, moved, overview, reading, remote, several, whole};

#[test]
fn without_a_choice_all_applications_are_shown() {
    let mut screen = Screen::new();
    screen.harness.run();
    screen.says("Looking for applications");
    screen.show(Update::default());
    screen.says("Looking for applications");
    screen.show(overview(Vec::new()));
    screen.says("No applications yet");
    screen.says("netglance run -- CMD");
    let mail = AppReading { bytes: Bytes { rx: 3_000_000, tx: 1000, ..Bytes::default() }, ..app("mail", 0.0) };
    let unknown = AppReading { rate: None, ..app("new", 0.0) };
    let service = |id: &str| AppReading { in_menu: false, ..app(id, 0.0) };
    let apps = vec![app("firefox", 2000.0), mail, unknown, service("dbus"), service("dconf")];
    screen.show(overview(apps));
    for text in [
        "All applications",
        "Download 1.23 MB/s",
        "Chart of the last minute: download 1.23 MB/s, upload 80.0 kB/s",
        "12.0 MB down, 3.40 MB up",
        "Estimate, TCP only",
        "Needs an administrator's password once",
    ] {
        screen.says(text);
    }
    let expected = [
        "firefox name, download 2.00 kB/s, upload 0 B/s, total 0 B",
        "mail name, download 0 B/s, upload 0 B/s, total 3.00 MB",
        "new name, download unknown, upload unknown, total 0 B",
    ];
    assert_eq!(rows(&screen), expected);
    screen.is_accessible();
    screen.click("Services (2)");
    assert_eq!(rows(&screen).len(), 5);
    screen.click("firefox name, download 2.00 kB/s, upload 0 B/s, total 0 B");
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["firefox".into()])]);
}

/// The rows of the overview from top to bottom.
fn rows(screen: &Screen) -> Vec<String> {
    let rows = screen.harness.query_all_by_label_contains(", total ");
    let mut rows: Vec<_> = rows.map(|node| (node.rect().top(), node.accesskit_node().label().unwrap())).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, label)| label).collect()
}

#[test]
fn the_busiest_stand_first_and_none_slips_away_under_the_pointer() {
    let mut screen = Screen::new();
    let order = |screen: &Screen| {
        let first = |row: String| row.split(' ').next().unwrap().to_owned();
        rows(screen).into_iter().map(first).collect::<Vec<_>>().join(" ")
    };
    let beats = |screen: &mut Screen, count: usize, rates: [f64; 3]| {
        for _ in 0..count {
            let apps = ["a", "b", "c"].into_iter().zip(rates).map(|(id, rx)| app(id, rx)).collect();
            screen.show(overview(apps));
        }
    };
    beats(&mut screen, 3, [0.0, 10.0, 90.0]);
    beats(&mut screen, 10, [0.0, 10.0, 90.0]);
    assert_eq!(order(&screen), "c b a");
    // A short burst of one that is quiet is less than what another has moved for longer.
    beats(&mut screen, 1, [500.0, 10.0, 90.0]);
    beats(&mut screen, 5, [0.0, 10.0, 90.0]);
    assert_eq!(order(&screen), "c a b");
    let row = screen.harness.query_all_by_label_contains("c name, ").next().unwrap().rect();
    screen.harness.hover_at(row.center());
    beats(&mut screen, 30, [0.0, 9000.0, 0.0]);
    assert_eq!(order(&screen), "c a b");
    screen.harness.hover_at(pos2(5.0, 5.0));
    beats(&mut screen, 5, [0.0, 9000.0, 0.0]);
    assert_eq!(order(&screen), "b a c");
}

#[test]
fn the_overview_is_used_with_the_keyboard_alone() {
    let mut screen = Screen::new();
    let many = || (0..60).map(|i| app(&format!("app{i:02}"), f64::from(100 - i))).collect::<Vec<_>>();
    screen.show(overview(many()));
    assert!(rows(&screen).len() < 20, "rows that are not seen are not drawn: {}", rows(&screen).len());
    for _ in 0..40 {
        screen.press(Key::ArrowDown);
    }
    screen.press(Key::ArrowUp);
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["app38".into()])]);
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.harness.get_by_role_and_label(Role::TextInput, "Search the applications").type_text("APP4");
    screen.harness.run();
    assert!(rows(&screen).iter().all(|row| row.starts_with("app4")), "{:?}", rows(&screen));
    screen.press(Key::ArrowDown);
    screen.press(Key::ArrowDown);
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["app41".into()])]);
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.harness.get_by_role(Role::TextInput).type_text("app5");
    screen.harness.run();
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["app50".into()])]);
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.harness.get_by_role(Role::TextInput).type_text("nobody");
    screen.harness.run();
    screen.says("No application matches “nobody”.");
    screen.click("Clear Search");
    assert!(rows(&screen).len() > 5);
    screen.press(Key::Num2);
    screen.press(Key::Space);
    screen.says("Paused");
    assert_eq!(screen.wishes(), [Wish::Span(5)]);
}

#[test]
fn a_button_and_two_keys_lead_back_to_all_applications() {
    let back = [Wish::Watch(Vec::new())];
    let mut screen = Screen::new();
    for update in [reading(Ok(RATE)), several(&["StB", "mail"])] {
        screen.show(update);
        screen.click("All applications");
        assert_eq!(screen.wishes(), back);
        screen.press_with(Modifiers::ALT, Key::ArrowLeft);
        assert_eq!(screen.wishes(), back);
        // The keys of what has the focus are its own.
        screen.press_with(Modifiers::COMMAND, Key::F);
        screen.harness.get_by_role(Role::TextInput).type_text("x");
        screen.press(Key::Backspace);
        assert_eq!(screen.wishes(), []);
        screen.press(Key::Escape);
        screen.press(Key::Backspace);
        assert_eq!(screen.wishes(), back);
    }
    screen.show(overview(apps()));
    assert_eq!(screen.harness.query_all_by_role_and_label(Role::Button, "All applications").count(), 0);
    screen.press(Key::Backspace);
    screen.press_with(Modifiers::ALT, Key::ArrowLeft);
    assert_eq!(screen.wishes(), [], "it is there already");
}

#[test]
fn the_badge_and_the_totals_lead_to_the_connections_of_all() {
    let mut screen = Screen::new();
    let page = |connections| Update { connections: Some(connections), ..overview(apps()) };
    let remotes = || {
        let mut remotes =
            vec![remote(1, "93.184.216.34", 443, None), remote(2, "192.168.2.1", 22, Some("192.168.0.0/16"))];
        remotes[0].cgroup = "/firefox/sub".into();
        whole(remotes, vec![moved(1, [5_000_000, 1000], [2000.0, 0.0]), moved(2, [0, 0], [0.0, 0.0])])
    };
    for in_badge in [true, false] {
        screen.show(overview(apps()));
        if in_badge {
            screen.click("Estimate, TCP only");
            screen.click("Show Connections");
        } else {
            screen.harness.get_by_role_and_label(Role::Link, "Internal (not counted): 20.0 MB").click();
            screen.harness.run();
        }
        assert_eq!(screen.wishes(), [Wish::Connections(true)]);
        // Until they have been listed.
        screen.says("Listing the connections…");
        screen.show(page(remotes()));
        screen.says_not("Listing the connections…");
        screen.says("1 of 2 remotes");
        if in_badge {
            screen.says("93.184.216.34, port 443 https, TCP, firefox name, external, download 2.00 kB/s");
        } else {
            screen.says("192.168.2.1, port 22, TCP, stb-next-shell@split.service, internal");
        }
        screen.press(Key::Escape);
        assert_eq!(screen.wishes(), [Wish::Connections(false)]);
    }
}

/// What the program kept of each app is shown from the first look on, and goes on with what comes.
#[test]
fn the_overview_pauses_and_has_its_past() {
    use netglance::keep::{histories::Histories, history::Point};
    let mut screen = Screen::new();
    screen.beats = 1000;
    let mut sparks = Histories::of_last(60);
    for secs in 490..500 {
        let busy = Rate { rx: 5000.0, tx: 0.0 };
        sparks.push(secs * 1_000_000_000, Some([("mail", busy), ("firefox", Rate::default())]));
    }
    let quiet = || overview(vec![app("firefox", 0.0), app("mail", 0.0)]);
    let mut update = quiet();
    update.overview.as_mut().unwrap().sparks = Some(sparks);
    update.backlog =
        vec![Backlog { id: String::new(), points: vec![Point { boottime_ns: 480_000_000_000, rate: None }] }];
    screen.show(update);
    let first = |screen: &Screen| rows(screen)[0].clone();
    assert_eq!(first(&screen), "mail name, download 0 B/s, upload 0 B/s, total 0 B", "by what it moved before");
    screen.press(Key::Space);
    let mut later = quiet();
    later.overview.as_mut().unwrap().all.rate = Ok(Rate { rx: 9_000_000.0, tx: 0.0 });
    screen.show(later);
    screen.says("Chart of the last minute: download 1.23 MB/s");
    screen.click("Resume");
    screen.says("Chart of the last minute: download 9.00 MB/s");
    let mut gap = quiet();
    gap.overview.as_mut().unwrap().all.rate = Err(Gap::Slept(3600));
    screen.show(gap);
    screen.says("No measurement for 3600 s");
    screen.says("Download unknown");
}
