//! The settings in the window: each control, its check, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Key, Modifiers, accesskit::Role, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use netglance::{
    base::settings::{Palette, Settings, Theme, Unit},
    look::{
        sampler::Exact,
        whois::{GeoFile, Sources, queries::Queries},
    },
    show::update::{Command as Wish, Update},
};
use screen::{RATE, Screen, reading};

#[test]
fn settings_apply_at_once() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.click("Settings");
    screen.click("Bits");
    let bits = Settings { unit: Unit::Bits, ..Settings::default() };
    assert_eq!(screen.wishes(), [Wish::Set(bits.clone())]);
    screen.click("5 s");
    let slow = Settings { beat: std::time::Duration::from_secs(5), ..bits };
    screen.click("Green and purple");
    let purple = Settings { colours: Palette::GreenPurple, ..slow.clone() };
    screen.click("Light");
    let light = Settings { theme: Theme::Light, ..purple.clone() };
    assert_eq!(screen.wishes(), [slow, purple, light.clone()].map(Wish::Set));
    assert!(!screen.harness.ctx.global_style().visuals.dark_mode);
    screen.click("Start at login, in the tray");
    assert_eq!(screen.wishes(), [Wish::StartAtLogin(true)]);
    screen.click("Close");
    screen.says("Download 9.87 Mbit/s");
    // The answer may be late, but it is the last word: here the file was edited by hand.
    screen.show(reading(Ok(RATE)));
    screen.says("Download 9.87 Mbit/s");
    screen.show(Update { settings: light, ..reading(Ok(RATE)) });
    screen.says("Download 9.87 Mbit/s");
    let edited = Settings { theme: Theme::Dark, ..Settings::default() };
    screen.show(Update { settings: edited, ..reading(Ok(RATE)) });
    screen.says("Download 1.23 MB/s");
    assert!(screen.harness.ctx.global_style().visuals.dark_mode);
    assert_eq!(screen.wishes(), []);
}

#[test]
fn settings_that_are_refused_go_back() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.type_into("Also treat as internal", "203.0.114.0/24");
    screen.press(Key::Enter);
    let wished = Settings { internal: vec!["203.0.114.0/24".parse().unwrap()], ..Settings::default() };
    assert_eq!(screen.wishes(), [Wish::Set(wished)]);
    for _ in 0..5 {
        screen.show(Update { asking: true, ..reading(Ok(RATE)) });
        screen.says("Remove 203.0.114.0/24 from the internal addresses");
    }
    for _ in 0..3 {
        screen.show(reading(Ok(RATE)));
    }
    screen.says_not("Remove 203.0.114.0/24");
    assert_eq!(screen.wishes(), []);
}

#[test]
fn prefixes_are_checked_while_they_are_typed() {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 1400.0));
    let settings = Settings { external: vec!["10.0.0.7/32".parse().unwrap()], ..Settings::default() };
    let update = || Update {
        settings: settings.clone(),
        exact: Exact::Counting,
        host_prefixes: vec!["2003:e1:f700::/64".parse().unwrap()],
        ..reading(Ok(RATE))
    };
    screen.show(update());
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.says("a change needs an administrator's password");
    let list = "Also treat as internal";
    let mut check = |typed: &str, hopeless: bool, sentence: &str| {
        screen.type_into(list, typed);
        // What may become a prefix yet is not called wrong.
        if hopeless {
            screen.says(sentence);
        } else {
            screen.says_not(sentence);
        }
        screen.press(Key::Enter);
        assert_eq!(screen.wishes(), [], "{typed}");
        screen.show(update());
        screen.says(sentence);
        let field = screen.harness.get_by_role_and_label(Role::TextInput, list);
        assert_eq!(field.accesskit_node().value().as_deref(), Some(typed), "no update takes away what is being typed");
        field.focus();
        screen.harness.run();
        screen.press_with(Modifiers::COMMAND, Key::A);
        screen.press(Key::Backspace);
        screen.says_not(sentence);
    };
    check(
        "10.1.0.0/8",
        false,
        "\"10.1.0.0/8\" is not a prefix: it has bits set beyond its length; did you mean 10.0.0.0/8?",
    );
    check("lan", true, "\"lan\" is not a prefix: it should read like 10.0.0.0/8 or 2001:db8::/32.");
    check("10.0.0.7", false, "10.0.0.7/32 is in the other list. Remove it there first.");
    screen.type_into(list, "100.64.3.0/24");
    screen
        .says("100.64.3.0 is currently internal: 100.64.0.0/10, Shared Address Space (CGNAT, the tailnet), RFC 6598.");
    screen.click("Add to the internal addresses");
    let added = Settings { internal: vec!["100.64.3.0/24".parse().unwrap()], ..settings.clone() };
    assert_eq!(screen.wishes(), [Wish::Set(added.clone())]);
    screen.show(Update { settings: added.clone(), ..update() });
    screen.click("Remove 10.0.0.7/32 from the external addresses");
    assert_eq!(screen.wishes(), [Wish::Set(Settings { external: Vec::new(), ..added })]);
}

#[test]
fn the_whole_table_is_explained_and_searched() {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 1400.0));
    let host_prefixes = vec!["2003:e1:f700::/64".parse().unwrap()];
    let update = Update { host_prefixes, ..reading(Ok(RATE)) };
    screen.show(update);
    screen.click("Settings");
    screen.says("This computer or its network");
    screen.type_into("All prefixes", "RFC 6598");
    screen.says("Shared Address Space (CGNAT, the tailnet)");
    screen.says_not("Loopback");
    screen.press_with(Modifiers::COMMAND, Key::A);
    screen.type_into("All prefixes", "2003:e1:f700::9");
    screen.says("2003:e1:f700::9 is internal: 2003:e1:f700::/64, this computer or its network.");
    screen.says_not("Shared Address Space");
    screen.press_with(Modifiers::COMMAND, Key::A);
    screen.type_into("All prefixes", "93.184.216.34");
    screen.says("93.184.216.34 is external: no prefix contains it.");
}

#[test]
fn exact_counting_is_removed_after_a_second_word() {
    let mut screen = Screen::new();
    let exact = || Update { exact: Exact::Counting, ..reading(Ok(RATE)) };
    screen.show(exact());
    screen.click("Settings");
    screen.click("Remove Exact Counting…");
    screen.says("This stops exact counting for all users");
    screen.click("Cancel");
    screen.says_not("This stops exact counting");
    screen.click("Remove Exact Counting…");
    screen.click("Remove");
    assert_eq!(screen.wishes(), [Wish::RemoveExact]);
    screen.show(Update { asking: true, ..exact() });
    screen.says("Waiting for the password…");
    screen.show(reading(Ok(RATE)));
    screen.click("Count Exactly…");
    assert_eq!(screen.wishes(), [Wish::CountExactly]);
}

#[test]
fn what_keeps_from_counting_is_one_sentence_and_a_button() {
    let mut screen = Screen::new();
    let shown = |exact| Update { exact, ..reading(Ok(RATE)) };
    screen.show(shown(Exact::Unconfirmed("Linux 6.1.100 has a bug".into())));
    screen.click("Settings");
    screen.says("Linux 6.1.100 has a bug.");
    screen.click("Count Exactly…");
    assert_eq!(screen.wishes(), [Wish::CountExactly]);
    // As systemd says it, and as the helper does.
    for why in ["Unit netglance-helper.service is masked.", "Unit netglance-helper.service is masked"] {
        screen.show(shown(Exact::Failed(why.into())));
        assert!(
            screen
                .harness
                .query_by_label(&format!("Exact counting is not working: {}.", why.trim_end_matches('.')))
                .is_some()
        );
        screen.click("Remove Exact Counting…");
        screen.click("Remove");
        assert_eq!(screen.wishes(), [Wish::RemoveExact]);
        screen.press(Key::Escape);
        screen.says("service is masked. Until it works again");
        screen.press_with(Modifiers::COMMAND, Key::Comma);
    }
}

/// A screen reader hears what is chosen of what; the arrow keys choose.
#[test]
fn choices_are_groups_of_radio_buttons() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    let groups = |screen: &Screen| -> Vec<_> {
        let groups = screen.harness.query_all_by_role(Role::RadioGroup);
        groups.map(|group| (group.accesskit_node().label().unwrap_or_default(), group.children().count())).collect()
    };
    assert_eq!(groups(&screen), [("Time span".to_owned(), 8)]);
    screen.click("Settings");
    let expected = [("Units", 2), ("Update interval", 6), ("Theme", 3), ("Colours", 3)];
    assert_eq!(groups(&screen), expected.map(|(name, options)| (name.to_owned(), options)));
    screen.harness.get_by_role_and_label(Role::RadioButton, "0.5 s").focus();
    screen.harness.run();
    let beat = |ms| Wish::Set(Settings { beat: std::time::Duration::from_millis(ms), ..Settings::default() });
    for (key, ms) in [(Key::ArrowRight, 1000), (Key::ArrowDown, 2000), (Key::ArrowLeft, 1000), (Key::ArrowUp, 500)] {
        screen.press(key);
        assert_eq!(screen.wishes(), [beat(ms)], "{key:?}");
    }
    for _ in 0..3 {
        screen.press(Key::ArrowLeft);
    }
    assert_eq!(screen.wishes(), [beat(200), beat(100)], "the first has none before it");
    let chosen = screen.harness.get_by_role_and_label(Role::RadioButton, "0.1 s");
    assert!(chosen.accesskit_node().is_focused());
    assert_eq!(chosen.accesskit_node().toggled(), Some(eframe::egui::accesskit::Toggled::True));
    // The patch of colours belongs to its option.
    let patch = screen.harness.get_by_label("Green and red").rect().left_center() + vec2(14.0, 0.0);
    screen.harness.hover_at(patch);
    screen.harness.run();
    screen.harness.drag_at(patch);
    screen.harness.drop_at(patch);
    screen.harness.run();
    let Some(Wish::Set(wished)) = screen.wishes().pop() else { panic!("the patch takes no click") };
    assert_eq!(wished.colours, Palette::GreenRed);
}

/// Whatever the palette, what is wrong is not green.
#[test]
fn a_wrong_prefix_is_framed_in_the_colour_of_errors() {
    let mut screen = Screen::new();
    let settings = Settings { colours: Palette::GreenRed, ..Settings::default() };
    screen.show(Update { settings, ..reading(Ok(RATE)) });
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    let framed = |screen: &Screen| {
        let visuals = &screen.harness.ctx.global_style().visuals;
        let (error, chosen) = (visuals.error_fg_color, visuals.selection.stroke.color);
        let field = screen.harness.get_by_role_and_label(Role::TextInput, "Also treat as internal").rect();
        let shapes = screen.harness.output().shapes.iter();
        let strokes: Vec<_> = shapes
            .filter_map(|shape| match &shape.shape {
                eframe::egui::Shape::Rect(rect)
                    if rect.rect.expand(2.0).contains_rect(field) && rect.rect.height() < 40.0 =>
                {
                    Some(rect.stroke.color)
                }
                _ => None,
            })
            .collect();
        (strokes.contains(&error), strokes.contains(&chosen))
    };
    screen.type_into("Also treat as internal", "10.");
    assert_eq!(framed(&screen), (false, true));
    screen.type_into("Also treat as internal", "lan");
    assert_eq!(framed(&screen), (true, false));
}

/// Who learns of an address is said before anything is asked.
#[test]
fn names_of_remotes_are_asked_for_only_on_a_click() {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 1400.0));
    let shown = |queries| {
        let places = vec!["/usr/share/GeoIP".to_owned(), "/var/lib/GeoIP".to_owned()];
        Update { names: Sources { queries, files: Vec::new(), places }, ..reading(Ok(RATE)) }
    };
    screen.show(shown(Queries::Unavailable));
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.says("Sends the addresses shown under Connections to your DNS server.");
    screen.says("because no file in MaxMind's format (.mmdb) was found");
    screen.says("in /usr/share/GeoIP, /var/lib/GeoIP. It downloads nothing.");
    screen.says_not("Lookups");
    screen.is_accessible();
    screen.click("Look up host names (reverse DNS)");
    let on = Settings { reverse_dns: true, ..Settings::default() };
    assert_eq!(screen.wishes(), [Wish::Set(on.clone())]);
    let shown = |queries| Update { settings: on.clone(), ..shown(queries) };

    screen.show(shown(Queries::Available));
    screen.says("sees the lookups of all programs and users of this computer, not only of the apps that you watch");
    assert_eq!(screen.wishes(), []);
    screen.click("Follow Lookups…");
    assert_eq!(screen.wishes(), [Wish::FollowQueries(true)]);
    screen.show(shown(Queries::Asking));
    screen.says("Waiting for the password…");
    screen.says_not("Follow Lookups…");
    screen.click("Cancel");
    assert_eq!(screen.wishes(), [Wish::FollowQueries(false)]);
    screen.show(shown(Queries::Failed("systemd-resolved has ended the connection".to_owned())));
    screen.says("Cannot follow this computer's lookups: systemd-resolved has ended the connection.");
    screen.click("Follow Lookups…");
    screen.show(shown(Queries::Followed));
    screen.says("Addresses are shown with the names that this computer looks up, until netglance quits.");
    screen.click("Stop Following Lookups");
    assert_eq!(screen.wishes(), [true, false].map(Wish::FollowQueries));
    screen.is_accessible();
}

#[test]
fn the_files_that_tell_countries_are_named_and_what_is_wrong_with_them() {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 1400.0));
    let file =
        |path: &str, problem: Option<&str>| GeoFile { path: path.to_owned(), problem: problem.map(str::to_owned) };
    let files = vec![file("/a/country.mmdb", None), file("/b/<b>asn</b>.mmdb", Some("it does not exist"))];
    let names = Sources { files, ..Sources::default() };
    screen.show(Update { names, ..reading(Ok(RATE)) });
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    for text in ["/a/country.mmdb", "/b/<b>asn</b>.mmdb", "Not used: it does not exist."] {
        screen.says(text);
    }
    screen.says_not("downloads nothing");
    let settings = Settings { geoip: Some(Vec::new()), ..Settings::default() };
    screen.show(Update { settings, ..reading(Ok(RATE)) });
    screen.says("because the settings file says geoip = [].");
}

/// The keyboard alone gets through the settings, and what it is at is always in view.
#[test]
fn tab_walks_through_the_settings_in_view() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.click("Settings");
    screen.is_accessible();
    let mut names = Vec::new();
    for _ in 0..40 {
        screen.press(Key::Tab);
        screen.harness.run();
        let focused = screen.harness.root().children_recursive().find(|node| node.accesskit_node().is_focused());
        let Some(focused) = focused else { continue };
        let (rect, node) = (focused.rect(), focused.accesskit_node());
        let name = node.label().unwrap_or_default();
        assert!(rect.top() >= 0.0 && rect.bottom() <= 640.0, "{name} is out of view: {rect}");
        names.push(name);
    }
    for name in [
        "Close",
        "Bytes",
        "0.5 s",
        "System",
        "Blue and orange",
        "Start at login, in the tray",
        "Count Exactly…",
        "Look up host names (reverse DNS)",
        "Also treat as internal",
        "Always treat as external",
        "All prefixes",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} among {names:?}");
    }
}
