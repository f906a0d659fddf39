//! The charts of the last minutes and of the recorded past: what is asked for, what is shown, and how a person moves in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made-up traffic")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{
    Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, OutputCommand, PointerButton, Rect, TouchPhase,
    accesskit::Role, vec2,
};
use egui_kittest::kittest::{NodeT, Queryable};
use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use netglance::{
    base::settings::{Budget, Limit, Per, Settings, Theme},
    keep::{
        calendar::{Calendar, Every},
        usage::{Group, Seen, Slot, Usage},
    },
    look::rate::Bytes,
    show::update::{Command as Wish, Past, PastQuery, Update},
};
use screen::{RATE, Screen, overview, reading, several};

/// A window on a computer in Berlin, where the clocks went back on 25 October 2026.
fn berlin(settings: Settings) -> Screen {
    let mut screen = Screen::with(settings);
    screen.harness.run();
    screen.harness.state_mut().as_mut().unwrap().set_zone(calendar().zone);
    screen.harness.set_size(vec2(800.0, 500.0));
    screen
}

fn now() -> Timestamp {
    "2026-11-03T13:05:07Z".parse().unwrap()
}

fn calendar() -> Calendar {
    Calendar { zone: TimeZone::get("Europe/Berlin").unwrap(), first_weekday: Weekday::Monday, billing_day: 1 }
}

/// The recorded past, as the program would answer: busy by day, off in a night, averaged over an evening.
fn past(query: &PastQuery) -> Past {
    let edges = calendar().edges(query.from..query.to, query.every);
    let now = now().as_second();
    let group = |app: &str, share: u64| {
        let slot = |pair: &[i64]| {
            let (start, end) = (pair[0], pair[1]);
            let secs = (end.min(now) - start).max(0) as u64;
            let before = now - start;
            let wave = 20 + (start.unsigned_abs() / 600 * 7919) % 101;
            let busy = if (start / 3600).rem_euclid(24) < 8 { 10 } else { wave * 100 };
            let seen = match before {
                _ if end - start > 40_000 && before / 86_400 == 12 => Seen::Not,
                _ if end - start > 40_000 && before / 86_400 == 17 => Seen::Away,
                _ if end - start > 40_000 => Seen::Looked,
                30_000..50_000 => Seen::Not,
                200_000..240_000 => Seen::Not,
                52_000..60_000 | 300_000..340_000 | 1500..1900 => Seen::Away,
                _ => Seen::Looked,
            };
            let rate = match seen {
                Seen::Not => 0,
                Seen::Away => 3000,
                Seen::Looked => busy,
            };
            let bytes = Bytes { rx: secs * rate * share, tx: secs * rate * share / 3, ..Bytes::default() };
            Slot { start, end, usage: Usage { bytes, ..Usage::default() }, seen }
        };
        let name = app.to_owned();
        Group { app: name.clone(), name, slots: edges.windows(2).map(slot).collect(), ..Group::default() }
    };
    let groups = match query.apps.as_slice() {
        [] => vec![group("", 30)],
        apps => apps.iter().enumerate().map(|(i, app)| group(app, 10 * (i as u64 + 1))).collect(),
    };
    Past { query: query.clone(), groups: Ok(groups), since: Some(now - 3 * 365 * 86_400) }
}

/// Shows an update, and answers what the window asks for, as the program does. What was asked for.
fn beat(screen: &mut Screen, update: impl Fn() -> Update) -> Vec<Wish> {
    let at_now = |past: Option<Past>| {
        let mut update = Update { past, tray: true, ..update() };
        for reading in update.readings.iter_mut().chain(update.overview.as_mut().map(|overview| &mut overview.all)) {
            reading.time = now();
            reading.source = netglance::look::sampler::Source::Exact;
            reading.unmeasured_udp_sockets = None;
        }
        update.exact = netglance::look::sampler::Exact::Counting;
        update
    };
    screen.show(at_now(None));
    let wishes = screen.wishes();
    let asked = wishes.iter().rev().find_map(|wish| if let Wish::Past(query) = wish { query.clone() } else { None });
    if let Some(query) = asked {
        screen.show(at_now(Some(past(&query))));
    }
    wishes
}

fn queries(wishes: &[Wish]) -> Vec<Every> {
    wishes.iter().filter_map(|wish| if let Wish::Past(Some(query)) = wish { Some(query.every) } else { None }).collect()
}

fn stb() -> Update {
    reading(Ok(RATE))
}

/// The charts and what stands right above and below them are as they were reviewed.
#[track_caller]
fn looks(screen: &Screen, name: &str) {
    let parts = [Role::RadioButton, Role::GraphicsDocument]
        .into_iter()
        .flat_map(|role| screen.harness.query_all_by_role(role).map(|part| part.rect()).collect::<Vec<_>>());
    let part = parts.fold(Rect::NOTHING, Rect::union).expand2(vec2(8.0, 24.0));
    // The harness leaves a margin around the window.
    screen.looks(part.intersect(screen.harness.ctx.content_rect().shrink(8.0)), name);
}

/// Where it is on the screen.
fn chart(screen: &Screen) -> Rect {
    screen.harness.get_by_role(Role::GraphicsDocument).rect()
}

#[test]
fn every_span_has_its_picture() {
    let mut screen = berlin(Settings::default());
    beat(&mut screen, stb);
    for (key, name, every) in [
        (Key::Num4, "hour", Every::Secs(10)),
        (Key::Num5, "24 hours", Every::Secs(60)),
        (Key::Num6, "7 days", Every::Secs(600)),
        (Key::Num7, "30 days", Every::Day),
        (Key::Num8, "year", Every::Month),
    ] {
        screen.press(key);
        assert_eq!(queries(&beat(&mut screen, stb)), [every], "{name}");
        screen.says(&format!("Chart of the last {name}: download "));
        looks(&screen, &format!("charts/{}", name.replace(' ', "-")));
    }
    screen.is_accessible();
}

#[test]
fn budgets_several_apps_and_all_together_have_long_spans_too() {
    let budget = |app: Option<&str>, limit| Budget { app: app.map(str::to_owned), limit, metered: false };
    let light = Settings {
        theme: Theme::Light,
        budgets: vec![
            budget(Some("StB"), Limit::Usage { bytes: 12_000_000_000, per: Per::Day }),
            budget(None, Limit::Usage { bytes: 1_300_000_000_000, per: Per::Month }),
            budget(Some("mail"), Limit::Rate { bytes: 150_000, secs: 60 }),
        ],
        ..Settings::default()
    };
    let update = |update: Update| Update { settings: light.clone(), ..update };
    let mut screen = berlin(light.clone());
    beat(&mut screen, || update(stb()));
    screen.press(Key::Num7);
    beat(&mut screen, || update(stb()));
    let at = chart(&screen);
    screen.harness.hover_at(at.left_center() + vec2(at.width() * 0.47, 0.0));
    screen.harness.run();
    looks(&screen, "charts/light-budget");
    screen.press(Key::Num8);
    let all = || update(overview(screen::apps()));
    beat(&mut screen, all);
    beat(&mut screen, all);
    looks(&screen, "charts/light-all");
    screen.press(Key::Num5);
    let two = || update(several(&["StB", "mail"]));
    beat(&mut screen, two);
    beat(&mut screen, two);
    screen.says("mail name: Chart of the last 24 hours: download ");
    let at = screen.harness.query_all_by_role(Role::GraphicsDocument).next().unwrap().rect();
    screen.harness.hover_at(at.left_center() + vec2(at.width() * 0.37, 0.0));
    screen.harness.run();
    looks(&screen, "charts/light-two");
}

#[test]
fn it_is_dragged_scrolled_and_brought_back() {
    let mut screen = berlin(Settings::default());
    beat(&mut screen, stb);
    screen.press(Key::Num5);
    beat(&mut screen, stb);
    screen.says("Chart of the last 24 hours");
    let drag = |screen: &mut Screen, points: f32| {
        let at = chart(screen).center();
        screen.harness.hover_at(at);
        screen.harness.drag_at(at);
        screen.harness.run();
        for step in [0.3, 0.6, 1.0] {
            screen.harness.hover_at(at + vec2(points * step, 0.0));
            screen.harness.run();
        }
        screen.harness.drop_at(at + vec2(points, 0.0));
        screen.harness.run();
    };
    drag(&mut screen, -300.0);
    screen.says("Chart of the last 24 hours");
    drag(&mut screen, 300.0);
    screen.says("Chart from 2026-11-01 ");
    screen.says_not("Pause");
    assert_eq!(queries(&beat(&mut screen, stb)), [Every::Secs(60)], "where the answer ends");
    screen.harness.remove_cursor();
    screen.harness.run();
    looks(&screen, "charts/dragged");
    screen.click("Now");
    screen.says("Chart of the last 24 hours");
    screen.says("Pause");
    // The wheel shows less time and more, around the pointer.
    let scroll = |screen: &mut Screen, lines: f32, modifiers| {
        let at = chart(screen);
        screen.harness.hover_at(at.center());
        screen.harness.event(Event::MouseWheel {
            unit: MouseWheelUnit::Point,
            source: MouseWheelSource::Wheel,
            delta: vec2(0.0, lines * 100.0),
            phase: TouchPhase::Move,
            modifiers,
        });
        // It goes on for some frames, as if it were rolling.
        screen.harness.run_steps(20);
    };
    for modifiers in [Modifiers::NONE, Modifiers::COMMAND] {
        scroll(&mut screen, 5.0, modifiers);
        screen.says("Chart from 2026-11-0");
        let at = chart(&screen).center();
        // Within one frame, because each frame of a test is a quarter of a second.
        let button = |pressed| {
            let (button, modifiers) = (PointerButton::Primary, Modifiers::NONE);
            Event::PointerButton { pos: at, button, pressed, modifiers }
        };
        screen.harness.input_mut().events.extend([true, false, true, false].map(button));
        screen.harness.run();
        screen.says("Chart of the last ");
        screen.press(Key::Home);
        screen.says("Chart of the last 24 hours");
    }
    scroll(&mut screen, -5.0, Modifiers::NONE);
    screen.says("Chart of the last 24 hours");
    let asked = queries(&beat(&mut screen, stb));
    assert!(asked.len() <= 2 && asked.last() == Some(&Every::Secs(600)), "{asked:?}");
    screen.says("Chart of the last 7 days");
}

#[test]
fn keys_move_it_while_nothing_has_the_focus() {
    let mut screen = berlin(Settings::default());
    beat(&mut screen, stb);
    screen.press(Key::ArrowLeft);
    screen.says("Chart from 2026-11-03 14:03 to 2026-11-03 14:04");
    assert_eq!(queries(&beat(&mut screen, stb)), [], "the last minutes are here");
    // While it stands still, counting continues.
    screen.says("Download 1.23 MB/s");
    screen.press(Key::ArrowRight);
    screen.says("Chart of the last minute: download 1.23 MB/s");
    screen.press(Key::Num3);
    for _ in 0..4 {
        screen.press(Key::ArrowLeft);
    }
    assert_eq!(queries(&beat(&mut screen, stb)), [Every::Secs(10)]);
    screen.says("Chart from 2026-11-03 13:35 to 2026-11-03 13:50");
    // The first answer was of a time on the way there.
    assert_eq!(queries(&beat(&mut screen, stb)), [Every::Secs(10)]);
    assert_eq!(queries(&beat(&mut screen, stb)), []);
    screen.press(Key::Home);
    assert_eq!(beat(&mut screen, stb), [Wish::Past(None)]);
    screen.press(Key::Num4);
    screen.press(Key::Minus);
    screen.says("Chart of the last hour");
    beat(&mut screen, stb);
    screen.says("Chart of the last 2 hours");
    screen.press(Key::Plus);
    screen.press(Key::Plus);
    beat(&mut screen, stb);
    screen.says("Chart of the last 30 minutes");
    screen.press(Key::Home);
    beat(&mut screen, stb);
    screen.says("Chart of the last hour");
    // The keys of what has the focus are its own.
    screen.harness.get_by_role_and_label(Role::RadioButton, "1 hour").focus();
    screen.harness.run();
    screen.press(Key::ArrowLeft);
    screen.says("Chart of the last 15 minutes");
    screen.press(Key::Escape);
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.harness.get_by_role(Role::TextInput).type_text("4-");
    screen.harness.run();
    screen.says("Chart of the last 15 minutes");
}

#[test]
fn without_an_answer_the_picture_stays_or_says_so() {
    let mut screen = berlin(Settings::default());
    screen.show(stb());
    screen.press(Key::Num5);
    screen.show(stb());
    screen.says("Chart of the last minute: download 1.23 MB/s");
    let query = screen.wishes().into_iter().find_map(|wish| if let Wish::Past(query) = wish { query } else { None });
    let answer = |groups, since| Update { past: Some(Past { query: query.clone().unwrap(), groups, since }), ..stb() };
    screen.show(answer(Err("The history cannot be read: the disk is on fire.".into()), None));
    screen.says("Chart of the last 24 hours: The history cannot be read: the disk is on fire.");
    screen.show(answer(Ok(Vec::new()), None));
    screen.says("Nothing has been recorded yet.");
    screen.show(answer(Ok(Vec::new()), Some(0)));
    screen.says("No traffic was recorded in this time.");
    // Of another app there is nothing to show at first.
    screen.show(several(&["mail"]));
    screen.says("Loading…");
    looks(&screen, "charts/loading");
}

#[test]
fn a_pause_holds_a_long_span_too() {
    let mut screen = berlin(Settings::default());
    beat(&mut screen, stb);
    screen.press(Key::Num4);
    beat(&mut screen, stb);
    screen.click("Pause");
    let label = |screen: &Screen| screen.harness.get_by_role(Role::GraphicsDocument).accesskit_node().label();
    let before = label(&screen);
    let query = PastQuery { apps: vec!["StB".into()], from: 0, to: 10, every: Every::Secs(10) };
    screen.show(Update { past: Some(past(&query)), ..stb() });
    assert_eq!(label(&screen), before);
    screen.says("Paused");
    screen.click("Resume");
    screen.says_not("Paused");
}

#[test]
fn figures_and_pictures_leave_the_window() {
    let mut screen = berlin(Settings::default());
    beat(&mut screen, stb);
    beat(&mut screen, stb);
    let copied = |screen: &mut Screen| {
        screen.harness.event(Event::Copy);
        screen.harness.step();
        let commands = screen.harness.output().platform_output.commands.clone();
        commands
            .into_iter()
            .find_map(|command| if let OutputCommand::CopyText(text) = command { Some(text) } else { None })
    };
    let live = copied(&mut screen).unwrap();
    let lines: Vec<&str> = live.lines().collect();
    assert_eq!(lines[0], "Application\tStart\tEnd\tDownload (bytes/s)\tUpload (bytes/s)\tNote");
    assert_eq!(lines.last().unwrap(), &"StB\t2026-11-03T14:05:06.5+01:00\t2026-11-03T14:05:07+01:00\t1234000\t80000\t");
    // A name that a stranger chose is no formula in a spreadsheet.
    let hostile = || {
        let mut update = stb();
        update.readings[0].app = "=1+1\t2".into();
        update
    };
    beat(&mut screen, hostile);
    assert!(copied(&mut screen).unwrap().lines().last().unwrap().starts_with("'=1+1 2\t2026-"));
    beat(&mut screen, stb);
    screen.press(Key::Num8);
    beat(&mut screen, stb);
    let year = copied(&mut screen).unwrap();
    let lines: Vec<&str> = year.lines().collect();
    assert_eq!(lines.len(), 13, "{year}");
    assert_eq!(lines[0], "Application\tStart\tEnd\tDownload (bytes)\tUpload (bytes)\tNote");
    assert!(lines[1].starts_with("StB\t2025-12-01T00:00:00+01:00\t2026-01-01T00:00:00+01:00\t"), "{year}");
    // In a text field the key is the field's.
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.harness.get_by_role(Role::TextInput).type_text("st");
    screen.harness.run();
    assert_eq!(copied(&mut screen), None);
    screen.press(Key::Escape);
    let saved = |screen: &Screen| match screen.wishes().as_slice() {
        [Wish::SaveChart { name, svg }] => (name.clone(), svg.clone()),
        other => panic!("{other:?}"),
    };
    screen.wishes();
    screen.press_with(Modifiers::COMMAND, Key::S);
    let (name, svg) = saved(&screen);
    assert_eq!(name, "StB, 1 year until 2026-11-03 14.05");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(svg.contains("2025-12-01 00:00 to 2026-11-03 14:05 (Europe/Berlin)"), "{svg}");
    screen.click("Export");
    screen.harness.get_by_label_contains("Save Chart…").click();
    screen.harness.run();
    assert_eq!(saved(&screen).1, svg);
}
