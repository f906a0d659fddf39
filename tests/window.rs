//! The window as a person and a screen reader meet it: each state by role and label.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use std::fs;

use eframe::egui::{FontId, Key, Modifiers, accesskit::Role, pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use netglance::{
    base::settings::Settings,
    look::{
        rate::{Gap, Rate},
        reading::AppReading,
        sampler::{Exact, Source},
    },
    show::update::{Backlog, Command as Wish, Update},
};
use screen::{RATE, Screen, app, reading, several};

#[test]
fn the_estimate_is_called_one_and_says_what_it_leaves_out() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    for text in [
        "Download 1.23 MB/s",
        "Upload 80.0 kB/s",
        "Estimate, TCP only",
        "3 UDP sockets not measured",
        "stb-next-shell@split.service",
        "12.0 MB down, 3.40 MB up",
        "Internal (not counted): 20.0 MB",
        "Chart of the last minute: download 1.23 MB/s, upload 80.0 kB/s",
    ] {
        screen.says(text);
    }
    screen.harness.get_by_role_and_label(Role::Button, "Estimate, TCP only").click();
    screen.harness.run();
    screen.says("UDP and QUIC are not included");
    let mut exact = reading(Ok(RATE));
    if let Some(reading) = exact.readings.first_mut() {
        reading.source = Source::Exact;
        reading.unmeasured_udp_sockets = None;
    }
    screen.show(exact);
    screen.says("Exact");
    screen.says_not("not measured");
}

#[test]
fn waiting_gaps_and_failures_say_what_and_why() {
    let mut screen = Screen::new();
    screen.show(reading(Err(Gap::Waiting("stb-next-*.service".into()))));
    screen.says("Waiting for stb-next-*.service");
    screen.says("The chart starts as soon as it does");
    screen.says("Download unknown");
    screen.show(reading(Err(Gap::Slept(3600))));
    screen.says("No measurement for 3600 s");
    screen.show(reading(Err(Gap::CountingRestarted)));
    screen.says("Counting restarted");
    screen.show(reading(Err(Gap::Failed("permission denied".into()))));
    screen.says("Permission denied");
    screen.says("keeps trying");
    screen.show(Update { failure: Some("no cgroup v2 hierarchy is mounted here".into()), ..Update::default() });
    screen.says("netglance cannot count here");
    screen.says("no cgroup v2 hierarchy");
    screen.show(reading(Ok(RATE)));
    screen.says_not("netglance cannot count here");
}

#[test]
fn a_pause_holds_the_picture_and_not_the_counting() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.press(Key::Space);
    screen.says("Paused");
    screen.show(reading(Ok(Rate { rx: 9_000_000.0, tx: 0.0 })));
    screen.says("Download 9.00 MB/s");
    screen.says("Chart of the last minute: download 1.23 MB/s");
    screen.harness.get_by_role_and_label(Role::Button, "Resume").click();
    screen.harness.run();
    screen.says_not("Paused");
    screen.says("Chart of the last minute: download 9.00 MB/s");
}

#[test]
fn keys_set_the_span_search_and_choose() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.press(Key::Num2);
    screen.says("Chart of the last 5 minutes");
    screen.press(Key::Num3);
    screen.says("Chart of the last 15 minutes");
    screen.press(Key::ArrowDown);
    assert_eq!(screen.wishes(), [Wish::Span(5), Wish::Span(15), Wish::Watch(vec!["firefox".into()])]);
    screen.harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    screen.harness.run();
    screen.harness.get_by_role(Role::TextInput).type_text("mai1");
    screen.harness.run();
    screen.says("No application matches “mai1”.");
    screen.says("Chart of the last 15 minutes");
    screen.harness.get_by_label("Clear Search").click();
    screen.harness.run();
    screen.says("firefox name");
    screen.harness.get_by_role(Role::TextInput).focus();
    screen.harness.run();
    screen.harness.get_by_role(Role::TextInput).type_text("mai");
    screen.harness.run();
    screen.says_not("firefox name");
    screen.press(Key::Enter);
    assert_eq!(screen.commands.try_recv(), Ok(Wish::Watch(vec!["mail".into()])));
}

/// After the search the chosen row has the focus, and all the others are there again.
#[test]
fn enter_in_the_search_shows_or_adds_the_first_match() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    let search = |screen: &mut Screen, modifiers| {
        screen.press_with(Modifiers::COMMAND, Key::F);
        screen.harness.get_by_role(Role::TextInput).type_text("mai");
        screen.harness.run();
        screen.says_not("firefox name");
        screen.press_with(modifiers, Key::Enter);
        screen.says("firefox name");
        assert_eq!(focused(screen), "mail name, 0 B/s");
    };
    search(&mut screen, Modifiers::COMMAND);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["StB".into(), "mail".into()])]);
    search(&mut screen, Modifiers::NONE);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["mail".into()])]);
    // From there the arrows go on, and the focus with them; it stays with the app when the order changes.
    let mut update = reading(Ok(RATE));
    update.readings[0].id = "mail".into();
    screen.show(update.clone());
    screen.press(Key::ArrowUp);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["firefox".into()])]);
    assert_eq!(focused(&screen), "firefox name, 2.00 kB/s");
    update.apps.reverse();
    screen.show(update);
    assert_eq!(focused(&screen), "firefox name, 2.00 kB/s");
}

fn focused(screen: &Screen) -> String {
    let focused = screen.harness.root().children_recursive().find(|node| node.accesskit_node().is_focused());
    focused.and_then(|node| node.accesskit_node().label()).unwrap_or_default()
}

/// Tab goes through the window as one reads it.
#[test]
fn tab_goes_from_left_to_right_and_down() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    let mut names = Vec::new();
    for _ in 0..16 {
        screen.press(Key::Tab);
        names.push(focused(&screen));
    }
    let expected = "All applications|Applications|StB name, 1.50 MB/s|firefox name, 2.00 kB/s|Watch firefox name too|mail name, 0 B/s\
        |Watch mail name too|New App…|Usage|Connections|Proof|Settings|Shortcuts|Resize panel|Estimate, TCP only|Menu of StB name";
    assert_eq!(names.join("|"), expected);
    let mut names = Vec::new();
    for _ in 0..6 {
        screen.press(Key::Tab);
        names.push(focused(&screen));
    }
    assert_eq!(names, ["Count Exactly…", "Not Now", "1 minute", "Pause", "Export", "Internal (not counted): 20.0 MB"]);
    screen.show(several(&["StB", "mail"]));
    let places = ["Estimate, TCP only", "Stop watching StB name"];
    screen.harness.query_all_by_label(places[0]).next().unwrap().focus();
    screen.harness.run();
    screen.press(Key::Tab);
    assert_eq!(focused(&screen), places[1]);
}

#[test]
fn a_mistake_in_the_settings_is_shown_until_dismissed() {
    let mut screen = Screen::new();
    let wrong = || Update { settings_error: Some("config.toml, line 3: no".into()), ..reading(Ok(RATE)) };
    screen.show(wrong());
    screen.says("config.toml, line 3: no. The previous settings are used until this is corrected.");
    screen.harness.get_by_label("Dismiss").click();
    screen.harness.run();
    screen.show(wrong());
    screen.says_not("line 3");
}

#[test]
fn several_apps_have_a_chart_each() {
    let mut screen = Screen::new();
    screen.show(several(&["StB"]));
    screen.says("12.0 MB down");
    screen.click("Watch firefox name too");
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["StB".into(), "firefox".into()])]);
    screen.show(several(&["StB", "firefox", "mail"]));
    for text in [
        "StB name: Chart of the last minute: download 1.23 MB/s, upload 80.0 kB/s",
        "firefox name: Chart of the last minute",
        "mail name: Chart of the last minute",
    ] {
        screen.says(text);
    }
    assert_eq!(screen.harness.query_all_by_label("Estimate, TCP only").count(), 3, "a badge each");
    screen.says_not("12.0 MB down");
    screen.press(Key::Num2);
    screen.says("mail name: Chart of the last 5 minutes");
    assert_eq!(screen.wishes(), [Wish::Span(5)]);
    screen.press(Key::ArrowDown);
    assert_eq!(screen.wishes(), [], "a key pressed in passing does not throw three charts away");
    // Stopped at the chart, in the list, by Ctrl+click; the order stays.
    for press in [0, 1] {
        let label = "Stop watching firefox name";
        screen.harness.query_all_by_label(label).nth(press).unwrap().click();
        screen.harness.run();
        assert_eq!(screen.wishes(), [Wish::Watch(vec!["StB".into(), "mail".into()])]);
    }
    screen.harness.get_by_label("mail name, 0 B/s").click_modifiers(Modifiers::COMMAND);
    screen.harness.run();
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["StB".into(), "firefox".into()])]);
    screen.harness.get_by_label("mail name, 0 B/s").click();
    screen.harness.run();
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["mail".into()])], "a plain click replaces all");
    screen.is_accessible();
}

#[test]
fn one_of_several_has_its_gap_and_all_are_held_together() {
    let mut screen = Screen::new();
    let mut update = several(&["StB", "mail"]);
    update.readings[1].rate = Err(Gap::Waiting("mail.service".into()));
    screen.show(update);
    screen.says("Waiting for mail.service");
    screen.says("mail name: Chart of the last minute: download unknown, upload unknown");
    screen.press(Key::Space);
    let mut later = several(&["StB", "mail"]);
    later.readings[0].rate = Ok(Rate { rx: 9_000_000.0, tx: 0.0 });
    screen.show(later.clone());
    screen.says("StB name: Chart of the last minute: download 1.23 MB/s");
    screen.says("mail name: Chart of the last minute: download unknown");
    screen.click("Resume");
    screen.says("StB name: Chart of the last minute: download 9.00 MB/s");
}

/// The rest are reached by scrolling, also with the keyboard.
#[test]
fn what_does_not_fit_is_scrolled_to() {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(800.0, 500.0));
    let ids = ["a", "b", "c", "d", "e", "f"];
    screen.show(several(&ids));
    let last = || "Stop watching f name";
    let bottom = |screen: &Screen| screen.harness.get_by_label(last()).rect().bottom();
    assert!(bottom(&screen) > 500.0, "{}", bottom(&screen));
    screen.harness.get_by_label(last()).focus();
    screen.harness.run();
    screen.harness.run();
    assert!(bottom(&screen) < 500.0, "{}", bottom(&screen));
}

/// A window that opens later shows what was before it.
#[test]
fn what_the_program_kept_is_shown() {
    use netglance::keep::history::Point;
    let mut screen = Screen::new();
    screen.beats = 1000;
    let mut update = reading(Ok(RATE));
    update.backlog = vec![Backlog {
        id: "StB".into(),
        points: vec![
            Point { boottime_ns: 480_000_000_000, rate: None },
            Point { boottime_ns: 500_000_000_000, rate: Some(Rate { rx: 7_000_000.0, tx: 0.0 }) },
        ],
    }];
    screen.show(update);
    let chart = screen.harness.get_by_role(Role::GraphicsDocument).rect();
    screen.harness.hover_at(chart.center() + vec2(chart.width() * 0.3, 0.0));
    screen.harness.run();
    screen.says("Chart of the last minute: download 1.23 MB/s");
}

#[test]
fn a_bug_of_the_kernel_is_asked_about() {
    let mut screen = Screen::new();
    let why = "Linux 6.1.100 has a bug that exact counting triggers";
    for exact in [Exact::NotInstalled, Exact::Unconfirmed(why.into())] {
        let asks = || Update { exact: exact.clone(), confirm: Some(why.into()), ..reading(Ok(RATE)) };
        screen.show(asks());
        screen.says(&format!("{why}."));
        screen.click("Count Anyway");
        assert_eq!(screen.wishes(), [Wish::CountAnyway]);
        // Answered; while a password is asked for nothing else is, and a second question is another one.
        screen.show(asks());
        screen.says_not("Count Anyway");
        screen.show(Update { asking: true, ..asks() });
        screen.says_not("Count Anyway");
        screen.show(asks());
        screen.click("Keep the Estimate");
        assert_eq!(screen.wishes(), [Wish::KeepEstimate(why.into())]);
        screen.show(asks());
        screen.says_not("Count Anyway");
        screen.click("Count Exactly…");
        assert_eq!(screen.wishes(), [Wish::CountExactly]);
        screen.show(reading(Ok(RATE)));
    }
}

#[test]
fn exact_counting_is_offered_once_and_plainly() {
    let mut screen = Screen::new();
    for exact in [Exact::Absent, Exact::NotInstalled] {
        screen.show(Update { exact, ..reading(Ok(RATE)) });
        screen.says("Needs an administrator's password once");
        screen.says("never content");
        screen.click("Count Exactly…");
        assert_eq!(screen.wishes(), [Wish::CountExactly]);
    }
    screen.show(Update { asking: true, ..reading(Ok(RATE)) });
    screen.says("Waiting for the password…");
    assert!(screen.harness.get_by_label("Count Exactly…").accesskit_node().is_disabled());
    screen.says_not("Not Now");
    let refused = || Update { notice: Some("No password, so the estimate continues.".into()), ..reading(Ok(RATE)) };
    screen.show(refused());
    screen.says("No password, so the estimate continues.");
    screen.click("Dismiss");
    screen.show(refused());
    screen.says_not("No password");
    screen.click("Not Now");
    screen.show(refused());
    screen.says_not("Count Exactly…");
    // A second refusal is said again.
    screen.show(Update { asking: true, ..refused() });
    screen.says("Waiting for the password…");
    screen.show(refused());
    screen.says("No password");

    let mut exact = Update { exact: Exact::Counting, ..reading(Ok(RATE)) };
    exact.readings[0].source = Source::Exact;
    let mut screen = Screen::new();
    screen.show(exact);
    screen.says_not("Count Exactly…");
    screen.says_not("Estimate");
    screen.show(Update { exact: Exact::Failed("the kernel has no nf_tables".into()), ..reading(Ok(RATE)) });
    screen.says(
        "Exact counting is not working: the kernel has no nf_tables. Until it works again, the figures are an estimate",
    );
    screen.click("Dismiss");
    screen.says_not("is not working");
}

#[test]
fn without_a_tray_it_says_what_closing_does() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.says("closing this window quits netglance");
    screen.show(Update { tray: true, ..reading(Ok(RATE)) });
    screen.says_not("closing this window quits netglance");
}

#[test]
fn a_pause_in_the_tray_is_ended_here() {
    let mut screen = Screen::new();
    screen.show(Update { paused: true, ..reading(Ok(RATE)) });
    screen.says("Paused in the tray");
    screen.click("Resume");
    assert_eq!(screen.wishes(), [Wish::Pause(false)]);
}

#[test]
fn what_the_helper_warns_of_is_said_until_dismissed() {
    let mut screen = Screen::new();
    let warned = |text: &str| Update { warning: Some(text.into()), ..reading(Ok(RATE)) };
    screen.show(warned("A set is full."));
    screen.says("A set is full.");
    screen.click("Dismiss");
    screen.show(warned("A set is full."));
    screen.says_not("A set is full.");
    screen.show(warned("Another is full."));
    screen.says("Another is full.");
    screen.show(reading(Ok(RATE)));
    screen.show(warned("A set is full."));
    screen.says("A set is full.");
}

#[test]
fn services_stand_out_of_the_way_and_stb_first() {
    let mut screen = Screen::new();
    let service = |id: &str| AppReading { in_menu: false, ..app(id, 0.0) };
    let busy = AppReading { in_menu: false, ..app("daemon", 5000.0) };
    let all =
        || vec![app("firefox", 9e9), busy.clone(), service("dbus"), app("mail", 0.0), service("dconf"), service("StB")];
    let names = |screen: &Screen| {
        let mut places: Vec<_> = ["StB", "firefox", "daemon", "mail", "Services (", "dbus", "dconf"]
            .into_iter()
            .filter_map(|name| {
                let mut rows = screen.harness.query_all_by_label_contains(name);
                let row =
                    rows.find(|node| node.rect().left() < 30.0 && node.accesskit_node().role() == Role::Button)?;
                Some((row.rect().top(), name))
            })
            .collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        places.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ")
    };
    screen.show(Update { apps: all(), ..reading(Ok(RATE)) });
    assert_eq!(names(&screen), "StB firefox daemon mail Services (");
    screen.click("Services (2)");
    assert_eq!(names(&screen), "StB firefox daemon mail Services ( dbus dconf");
    screen.click("dconf name, 0 B/s");
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["dconf".into()])]);
    screen.click("Services (2)");
    assert_eq!(names(&screen), "StB firefox daemon mail Services (");
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.harness.get_by_role(Role::TextInput).type_text("dc");
    screen.harness.run();
    screen.says("dconf name");
    screen.says_not("dbus name");
    // What is watched is no clutter.
    let mut watched = reading(Ok(RATE));
    watched.readings[0].id = "dbus".into();
    screen.harness.hover_at(pos2(600.0, 300.0)); // else all stays where it is
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["dconf".into()])]);
    screen.press(Key::Escape);
    screen.show(Update { apps: all(), ..watched });
    assert_eq!(names(&screen), "StB firefox daemon dbus mail Services (");
    screen.says("Services (1)");
}

/// The harness panics at a character for which nothing has a glyph.
#[test]
fn names_in_every_script_are_drawn_and_fonts_are_loaded_for_them_alone() {
    let mut screen = Screen::new();
    let fonts = |screen: &Screen| screen.harness.ctx.fonts(|fonts| fonts.discovered_fonts().len());
    let named =
        |name: &str| Update { apps: vec![AppReading { name: name.into(), ..app("x", 0.0) }], ..Update::default() };
    for name in ["Firefox", "Übersicht", "Ελληνικά", "Проводник"] {
        screen.show(named(name));
        assert_eq!(fonts(&screen), 0, "{name}");
    }
    for name in ["计算器", "計算機", "ファイル", "파일", "ملفات", "קבצים", "फ़ाइलें"]
    {
        screen.show(named(name));
        let font = FontId::proportional(14.0);
        assert!(
            screen.harness.ctx.fonts_mut(|fonts| fonts.has_glyphs(&font, name)),
            "{name}: run tests/all, which installs fonts"
        );
    }
    assert!(fonts(&screen) > 0);
}

#[test]
fn rows_stand_in_one_line_and_end_where_the_search_ends() {
    let mut screen = Screen::new();
    let icon = |id: &str, icon: Option<&str>| AppReading { icon: icon.map(Into::into), ..app(id, 0.0) };
    let directory = tempfile::tempdir().unwrap();
    let drawing = directory.path().join("drawing.svg");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../icons/org.netglance.Netglance.svg"), &drawing).unwrap();
    let broken = directory.path().join("broken.svg");
    fs::write(&broken, "no drawing").unwrap();
    let apps =
        vec![icon("a", None), icon("b", drawing.to_str()), icon("c", broken.to_str()), icon("d", Some("/gone.png"))];
    for watched in [&["a"][..], &["a", "b"]] {
        screen.show(Update { apps: apps.clone(), readings: several(watched).readings, ..Update::default() });
        let search = screen.harness.get_by_role(Role::TextInput).rect();
        for id in ["a", "b", "c", "d"] {
            let row = screen.harness.get_by_role_and_label(Role::Button, &format!("{id} name, 0 B/s")).rect();
            assert_eq!((row.left(), row.right()), (search.left(), search.right()), "{id} with {watched:?}");
        }
    }
}

#[test]
fn keys_open_and_escape_closes() {
    let mut screen = Screen::new();
    screen.show(Update { tray: true, ..reading(Ok(RATE)) });
    screen.press(Key::F1);
    screen.says("Pause or resume the chart (counting continues)");
    screen.is_accessible();
    screen.press(Key::Escape);
    screen.says_not("Pause or resume the chart");
    screen.press(Key::Questionmark);
    screen.says("Pause or resume the chart");
    screen.press(Key::Space);
    screen.says_not("Pause or resume the chart"); // the button had the focus
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.says("All prefixes");
    screen.press(Key::F1);
    screen.says("Pause or resume the chart");
    screen.press(Key::Escape);
    screen.says_not("Pause or resume the chart");
    screen.says("All prefixes");
    screen.press(Key::Escape);
    screen.says_not("All prefixes");
    screen.press_with(Modifiers::COMMAND, Key::Q);
    assert_eq!(screen.wishes(), [Wish::Quit]);
}

/// Every button, field and chart has a name that a screen reader can say.
#[test]
fn every_control_has_a_name() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.is_accessible();
    screen.show(several(&["StB", "mail"]));
    screen.is_accessible();
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    let internal = vec!["203.0.114.0/24".parse().unwrap()];
    screen.show(Update {
        settings: Settings { internal, ..Settings::default() },
        settings_error: Some("line 3".into()),
        notice: Some("done".into()),
        ..reading(Ok(RATE))
    });
    screen.is_accessible();
}
