//! The programs of an app in the window: below its row among all applications, on its own page, and in the settings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Key, Rect, accesskit::Role, pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use jiff::{Timestamp, tz::TimeZone};
use netglance::{
    look::{
        programs::{ByProgram, Launch, Program, Rest},
        rate::{Bytes, Rate},
        reading::{AppReading, UnitReading},
    },
    show::update::{Command as Wish, Launcher, Update},
};
use screen::{RATE, Screen, app, overview, reading};

fn program(name: &str, rx: u64, launch: Launch) -> Program {
    #[expect(clippy::cast_precision_loss, reason = "a small rate")]
    let rate = Some(Rate { rx: rx as f64 / 10.0, tx: 0.0 });
    let desktop_id = (launch != Launch::Impossible).then(|| name.to_lowercase());
    let in_menu = desktop_id.is_some();
    Program { name: name.into(), icon: None, desktop_id, in_menu, processes: 2, rate, bytes: [rx, 0], launch }
}

fn session(is_open: bool) -> ByProgram {
    let programs = vec![
        program("Firefox", 3_000_000, Launch::Possible),
        program("Thunderbird", 20_000, Launch::Chosen),
        program("curl", 1000, Launch::Impossible),
        program("Mousepad", 0, Launch::Possible),
        program("xfce4-session", 0, Launch::Impossible),
        program("ssh-agent", 0, Launch::Impossible),
    ];
    let rest = Rest { rate: Some(Rate { rx: 100.0, tx: 20.0 }), bytes: [40_000, 5000] };
    ByProgram {
        app: "session-2".into(),
        count: 6,
        is_open,
        since: "2026-03-01T11:30:00Z".parse::<Timestamp>().unwrap(),
        bytes: [3_061_000, 5000],
        programs: if is_open { programs } else { Vec::new() },
        rest: if is_open { rest } else { Rest::default() },
    }
}

fn all(is_open: bool) -> Update {
    let login = AppReading {
        name: "Login session 2".into(),
        in_menu: false,
        bytes: Bytes { rx: 50_000_000, tx: 700_000, ..Bytes::default() },
        ..app("session-2", 302_000.0)
    };
    let quiet = AppReading { in_menu: false, ..app("dconf", 0.0) };
    Update { programs: vec![session(is_open)], ..overview(vec![login, app("mail", 10.0), quiet]) }
}

/// The rows of programs from top to bottom.
fn rows(screen: &Screen) -> Vec<String> {
    let rows = screen.harness.query_all_by_label_contains(", estimate by program, ");
    let mut rows: Vec<_> = rows.map(|node| (node.rect().top(), node.accesskit_node().label().unwrap())).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, label)| label).collect()
}

/// A window in which all rows have room.
fn tall() -> Screen {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 860.0));
    screen.harness.run();
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    screen.harness.state_mut().as_mut().unwrap().set_zone(zone);
    screen
}

#[test]
fn a_sessions_row_unfolds_into_its_programs() {
    let mut screen = tall();
    screen.show(all(false));
    assert_eq!(rows(&screen), [""; 0]);
    screen.click("Show Login session 2 by program");
    assert_eq!(screen.wishes(), [Wish::Programs("session-2".into(), true)]);
    screen.show(all(true));
    let first = [
        "Firefox, estimate by program, download 300 kB/s, upload 0 B/s, total 3.00 MB",
        "Thunderbird, estimate by program, download 2.00 kB/s, upload 0 B/s, total 20.0 kB",
        "curl, estimate by program, download 100 B/s, upload 0 B/s, total 1.00 kB",
        "Mousepad, estimate by program, download 0 B/s, upload 0 B/s, total 0 B",
    ];
    let rest = "Not explained by a program, estimate by program, download 100 B/s, upload 20 B/s, total 45.0 kB";
    assert_eq!(rows(&screen), [&first[..], &[rest]].concat());
    screen.says("Login session 2: Estimate, by program (TCP only), since 12:30, 3.07 MB since then");
    screen.is_accessible();
    screen.looks(Rect::from_min_max(pos2(16.0, 490.0), pos2(904.0, 780.0)), "programs");
    screen.click("Show 2 other programs without traffic in Login session 2");
    assert_eq!(rows(&screen).len(), 7);
    screen.says("ssh-agent, estimate by program");
    screen.click("Hide 2 other programs without traffic in Login session 2");
    assert_eq!(rows(&screen).len(), 5);
    screen.click("Hide Login session 2 by program");
    assert_eq!(screen.wishes(), [Wish::Programs("session-2".into(), false)]);
    // The row itself still leads to the session's page.
    screen.click("Login session 2, download 302 kB/s, upload 0 B/s, total 50.7 MB");
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["session-2".into()])]);
}

#[test]
fn a_program_is_started_so_that_it_can_be_counted() {
    let mut screen = tall();
    screen.show(all(true));
    let row = |name: &str| rows_of(name);
    screen.click(row("Firefox"));
    screen.says("2 processes. Estimate: 3.00 MB down, 0 B up.");
    screen.click("Always Start So That It Can Be Counted");
    assert_eq!(screen.wishes(), [Wish::StartCounted("firefox".into(), true)]);
    screen.says_not("2 processes.");
    screen.click(row("Thunderbird"));
    screen.says("It will be counted as an application of its own from its next start.");
    screen.click("Start as Before");
    assert_eq!(screen.wishes(), [Wish::StartCounted("thunderbird".into(), false)]);
    screen.click(row("curl"));
    screen.says("netglance run -- CMD");
    screen.says_not("Always Start");
    screen.press(Key::Escape);
    screen.click(row("Not explained"));
    screen.says("the headers of all packets");
    screen.press(Key::Escape);
    assert_eq!(screen.wishes(), []);
}

fn rows_of(name: &str) -> &'static str {
    match name {
        "Firefox" => "Firefox, estimate by program, download 300 kB/s, upload 0 B/s, total 3.00 MB",
        "Thunderbird" => "Thunderbird, estimate by program, download 2.00 kB/s, upload 0 B/s, total 20.0 kB",
        "curl" => "curl, estimate by program, download 100 B/s, upload 0 B/s, total 1.00 kB",
        _ => "Not explained by a program, estimate by program, download 100 B/s, upload 20 B/s, total 45.0 kB",
    }
}

#[test]
fn a_session_is_found_by_its_programs_and_is_no_service() {
    let mut screen = tall();
    let quiet = || {
        let mut update = all(true);
        update.apps[0].bytes = Bytes::default();
        update.apps[0].rate = Some(Rate::default());
        update
    };
    screen.show(quiet());
    screen.says("Services (1)");
    assert_eq!(rows(&screen).len(), 5);
    screen.type_into("Search the applications", "thunderb");
    screen.says("Login session 2, download");
    screen.says_not("mail name");
    // Down and up go from app to app.
    screen.press(Key::ArrowDown);
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["session-2".into()])]);
}

#[test]
fn an_apps_page_shows_its_programs_in_place_of_its_only_service_or_beside_several() {
    let mut screen = tall();
    let page = |units: usize| {
        let mut update = reading(Ok(RATE));
        update.readings[0].id = "session-2".into();
        update.readings[0].app = "Login session 2".into();
        let unit = update.readings[0].units[0].clone();
        let unit = |at| UnitReading { unit: format!("unit-{at}.service"), ..unit.clone() };
        update.readings[0].units = (0..units).map(unit).collect();
        Update { programs: vec![session(true)], ..update }
    };
    screen.show(page(1));
    assert_eq!(rows(&screen).len(), 5);
    screen.says_not("unit-0.service");
    assert_eq!(screen.harness.query_all_by_role(Role::RadioButton).count(), 1 + spans(&screen));
    screen.is_accessible();
    screen.show(page(2));
    assert_eq!(rows(&screen).len(), 0);
    screen.says("unit-1.service");
    screen.click("By Program");
    assert_eq!(rows(&screen).len(), 5);
    screen.looks(Rect::from_min_max(pos2(262.0, 510.0), pos2(904.0, 820.0)), "programs-page");
    screen.click("By Service");
    screen.says("unit-1.service");
    // Without any that is looked at, all is as ever.
    screen.show(Update { programs: vec![session(false)], ..page(1) });
    screen.says("unit-0.service");
}

/// The other radio buttons on the page, but for one.
fn spans(screen: &Screen) -> usize {
    let buttons = screen.harness.query_all_by_role(Role::RadioButton);
    buttons.filter(|node| !node.accesskit_node().label().unwrap_or_default().starts_with("By ")).count() - 1
}

#[test]
fn the_settings_list_what_is_started_so_that_it_can_be_counted() {
    let mut screen = tall();
    screen.show(all(true));
    screen.click("Settings");
    screen.says("Started So That They Can Be Counted");
    screen.says("None yet.");
    let launcher = |id: &str, is_own| Launcher { id: id.into(), name: format!("{id} name"), is_own };
    screen.show(Update { launchers: vec![launcher("firefox", false), launcher("mail", true)], ..all(true) });
    screen.says_not("None yet.");
    // It is far down: the focus brings it into view.
    screen.harness.get_by_label("Start mail name as before").focus();
    screen.harness.run();
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::StartCounted("mail".into(), false)]);
}
