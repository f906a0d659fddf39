//! The Usage page, what leads to it, budgets, and what is forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Key, Modifiers, OutputCommand, accesskit::Role, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use jiff::{civil::Date, tz::TimeZone};
use netglance::{
    base::settings::{Budget, Limit, Per, Settings, Theme, Unit},
    keep::{
        budget::Spent,
        calendar::Period,
        usage::{Group, Network, Seen, Slot, Usage},
    },
    look::rate::Bytes,
    show::update::{Command as Wish, Forget, Update, UsageTable, Used},
};
use screen::{RATE, Screen, app, overview, reading};

/// This day at this hour where the test runs, in seconds since 1970.
fn at(date: &str, hour: i8) -> i64 {
    let time = date.parse::<Date>().unwrap().at(hour, 5 * i8::from(hour > 0), 0, 0);
    time.to_zoned_datetime(TimeZone::system()).unwrap().timestamp().as_second()
}

/// November 2026.
fn november() -> (i64, i64) {
    (at("2026-11-01", 0), at("2026-12-01", 0))
}

fn used(rx: u64, tx: u64, internal_rx: u64, estimate_bytes: u64) -> Usage {
    Usage { bytes: Bytes { rx, tx, internal_rx, internal_tx: 0 }, estimate_bytes }
}

fn group(id: &str, usage: Usage) -> Group {
    let slot = Slot { usage, seen: Seen::Looked, ..Slot::default() };
    Group { app: id.into(), name: format!("{id} name"), slots: vec![slot], ..Group::default() }
}

fn network(name: Option<&str>, metered: Option<bool>, rx: u64) -> Group {
    let network = Network { name: name.map(Into::into), metered };
    Group { network: Some(network), ..group("", used(rx, 0, 0, 0)) }
}

fn three() -> Vec<Group> {
    vec![
        group("mail", used(30_000_000, 4_000_000, 0, 0)),
        group("firefox", used(12_300_000_000, 800_000_000, 5_000_000_000, 0)),
        group("StB", used(3_300_000_000, 400_000_000, 9_000_000_000, 1_200_000_000)),
    ]
}

fn table(period: Period, apps: Vec<Group>) -> Update {
    let usage = UsageTable {
        period,
        span: november(),
        apps: Ok(apps),
        networks: Vec::new(),
        since: Some(at("2026-11-03", 14)),
    };
    Update { usage: Some(usage), tray: true, ..overview(vec![app("firefox", 0.0), app("mail", 0.0)]) }
}

/// The page with this in it.
fn opened(update: impl Fn() -> Update) -> Screen {
    let mut screen = Screen::new();
    screen.show(update());
    screen.click("Usage");
    assert_eq!(screen.wishes(), [Wish::Usage(Some(Period::Today))]);
    screen.show(update());
    screen
}

/// The rows from top to bottom, the sum last.
fn rows(screen: &Screen) -> Vec<String> {
    let rows = screen.harness.query_all_by_label_contains(", internal ");
    let mut rows: Vec<_> = rows.map(|node| (node.rect().top(), node.accesskit_node().label().unwrap())).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, label)| label).collect()
}

/// The first words of the rows, without the sum.
fn order(screen: &Screen) -> String {
    let mut rows = rows(screen);
    rows.pop();
    rows.iter().map(|row| row.split(' ').next().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn today_and_this_month_stand_under_the_figures() {
    let figures = |id: &str| Used {
        id: id.into(),
        today: used(1_234_000_000, 80_300_000, 0, 0),
        month: used(20_000_000_000, 1_200_000_000, 0, 1_000_000_000),
    };
    let (today, month) = ("Today: 1.23 GB down, 80.3 MB up", "This month: 20.0 GB down, 1.20 GB up");
    for update in [reading(Ok(RATE)), overview(vec![app("firefox", 0.0)])] {
        let mut screen = Screen::new();
        screen.show(update.clone());
        screen.says_not("Today:");
        let shown = Update { used: vec![figures("StB"), figures("")], ..update };
        screen.show(shown.clone());
        screen.says(month);
        screen.harness.get_by_label(month).hover();
        screen.harness.run();
        screen.says("21.2 GB in total\n1.00 GB of this is an estimate.");
        screen.click(today);
        assert_eq!(screen.wishes(), [Wish::Usage(Some(Period::Today))]);
        screen.press(Key::Escape);
        assert_eq!(screen.wishes(), [Wish::Usage(None)]);
        screen.click(month);
        assert_eq!(screen.wishes(), [Wish::Usage(Some(Period::ThisMonth))]);
        // It fits into the smallest window.
        screen.press(Key::Escape);
        screen.harness.set_size(vec2(800.0, 500.0));
        screen.show(shown);
        let line = screen.harness.get_by_label(month).rect();
        assert!(line.right() < 800.0 && line.height() < 30.0, "{line}");
    }
}

#[test]
fn every_application_has_a_row_and_the_busiest_stands_first() {
    let screen = opened(|| table(Period::Today, three()));
    let expected = [
        "firefox name, download 12.3 GB, upload 800 MB, total 13.1 GB, 78 %, internal 5.00 GB",
        "StB name, download 3.30 GB, upload 400 MB, total ≈ 3.70 GB, 22 %, internal 9.00 GB",
        "mail name, download 30.0 MB, upload 4.00 MB, total 34.0 MB, < 1 %, internal 0 B",
        "All applications, download 15.6 GB, upload 1.20 GB, total ≈ 16.8 GB, 100 %, internal 14.0 GB",
    ];
    assert_eq!(rows(&screen), expected);
    screen.says("1 Nov 2026 – 30 Nov 2026. Recorded since 3 Nov 2026, 14:05.");
    screen.says_not("Networks");
    screen.says_not("Budgets");
    screen.is_accessible();
}

#[test]
fn rows_are_sorted_by_any_column() {
    let mut screen = opened(|| table(Period::Today, three()));
    for (column, expected) in [
        ("Sort by Application", "firefox mail StB"),
        ("Sort by Application, A to Z", "StB mail firefox"),
        ("Sort by Internal", "StB firefox mail"),
        ("Sort by Internal, largest first", "mail firefox StB"),
        ("Sort by Upload", "firefox StB mail"),
        ("Sort by Download", "firefox StB mail"),
        ("Sort by Share", "firefox StB mail"),
        ("Sort by Total", "firefox StB mail"),
        ("Sort by Total, largest first", "mail StB firefox"),
    ] {
        screen.click(column);
        assert_eq!(order(&screen), expected, "{column}");
    }
    screen.says("Sort by Total, smallest first");
    // By the keyboard too.
    screen.harness.get_by_role_and_label(Role::Button, "Sort by Application").focus();
    screen.harness.run();
    screen.press(Key::Enter);
    assert_eq!(order(&screen), "firefox mail StB");
}

#[test]
fn none_slips_away_under_the_pointer() {
    let mut screen = opened(|| table(Period::Today, three()));
    screen.harness.hover_at(screen.harness.get_by_label_contains("StB name, download").rect().left_center());
    screen.harness.run();
    let mut busier = three();
    busier[0] = group("mail", used(90_000_000_000, 0, 0, 0));
    busier.push(group("new", used(50_000_000_000, 0, 0, 0)));
    screen.show(table(Period::Today, busier.clone()));
    screen.harness.run();
    assert_eq!(order(&screen), "firefox StB mail new");
    screen.harness.hover_at(eframe::egui::pos2(600.0, 10.0));
    screen.harness.run();
    busier.pop();
    screen.show(table(Period::Today, busier));
    assert_eq!(order(&screen), "mail firefox StB");
}

#[test]
fn a_row_leads_to_its_chart() {
    let row = "StB name, download 3.30 GB, upload 400 MB, total ≈ 3.70 GB, 22 %, internal 9.00 GB";
    let mut screen = opened(|| table(Period::Today, three()));
    screen.click(row);
    assert_eq!(screen.wishes(), [Wish::Usage(None), Wish::Watch(vec!["StB".into()])]);
    screen.says("Chart of the last minute");
    let mut screen = opened(|| table(Period::Today, three()));
    screen.press(Key::ArrowDown);
    screen.press(Key::ArrowDown);
    let focused = screen.harness.root().children_recursive().find(|node| node.accesskit_node().is_focused());
    assert_eq!(focused.unwrap().accesskit_node().label().unwrap(), row);
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::Usage(None), Wish::Watch(vec!["StB".into()])]);
}

#[test]
fn periods_are_asked_for() {
    let mut screen = opened(|| table(Period::Today, three()));
    screen.click("Last Month");
    assert_eq!(screen.wishes(), [Wish::Usage(Some(Period::LastMonth))]);
    screen.says("Reading the history…");
    screen.show(table(Period::Today, three()));
    screen.says("Reading the history…"); // this is the answer to what was asked before
    screen.show(table(Period::LastMonth, three()));
    assert_eq!(order(&screen), "firefox StB mail");
    screen.show(Update { usage: None, ..table(Period::LastMonth, Vec::new()) });
    assert_eq!(order(&screen), "firefox StB mail", "it stays until there is another");
    for (name, period) in [
        ("This Week", Period::ThisWeek),
        ("This Month", Period::ThisMonth),
        ("Yesterday", Period::Yesterday),
        ("Today", Period::Today),
    ] {
        screen.click(name);
        assert_eq!(screen.wishes(), [Wish::Usage(Some(period))]);
    }
    screen.click("Close");
    assert_eq!(screen.wishes(), [Wish::Usage(None)]);
    screen.press_with(Modifiers::COMMAND, Key::U);
    assert_eq!(screen.wishes(), [Wish::Usage(Some(Period::Today))]);
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    assert_eq!(screen.wishes(), [Wish::Usage(None)]);
}

#[test]
fn days_of_ones_own_are_checked() {
    let days = |first: &str, last: &str| Period::Days(first.parse::<Date>().unwrap(), last.parse::<Date>().unwrap());
    let mut screen = opened(|| table(Period::Today, three()));
    // Before there is an answer nothing is known to begin with.
    screen.click("This Week");
    screen.click("Custom…");
    screen.wishes();
    let replace = |screen: &mut Screen, name: &str, text: &str| {
        screen.harness.get_by_role_and_label(Role::TextInput, name).focus();
        screen.harness.run();
        screen.press_with(Modifiers::COMMAND, Key::A);
        screen.press(Key::Backspace);
        screen.type_into(name, text);
    };
    replace(&mut screen, "From", "2026-11-3");
    screen.says_not("is not a date");
    screen.press(Key::Enter);
    screen.says("“2026-11-3” is not a date. Write it like this: 2026-11-01.");
    screen.show(table(Period::Today, three()));
    let field = screen.harness.get_by_role_and_label(Role::TextInput, "From");
    assert_eq!(field.accesskit_node().value().as_deref(), Some("2026-11-3"), "nothing that was typed is lost");
    replace(&mut screen, "From", "2026-11-03");
    assert_eq!(screen.wishes(), []);
    replace(&mut screen, "To", "2026-11-02");
    screen.says("The second date is before the first.");
    assert_eq!(screen.wishes(), []);
    screen.press(Key::ArrowUp);
    screen.press(Key::ArrowUp);
    screen.says_not("The second date is before the first.");
    let [one, two] = ["2026-11-03", "2026-11-04"].map(|last| days("2026-11-03", last));
    assert_eq!(screen.wishes(), [Wish::Usage(Some(one)), Wish::Usage(Some(two))]);
    screen.show(table(two, three()));
    assert_eq!(order(&screen), "firefox StB mail");
    // The span that was shown is what the fields begin with, without the days to come.
    screen.click("This Month");
    screen.show(table(Period::ThisMonth, three()));
    screen.wishes();
    screen.click("Custom…");
    let Some(Wish::Usage(Some(Period::Days(first, _)))) = screen.wishes().pop() else { panic!("not asked for") };
    assert_eq!(first.to_string(), "2026-11-01");
}

#[test]
fn why_there_is_no_table_is_said() {
    let shown = |change: fn(&mut Update)| {
        let mut update = table(Period::Today, Vec::new());
        change(&mut update);
        opened(move || update.clone())
    };
    shown(|_| {}).says("No traffic was recorded in this period");
    shown(|update| update.usage.as_mut().unwrap().since = None).says("Nothing has been recorded yet");
    shown(|update| update.usage.as_mut().unwrap().since = Some(november().1))
        .says("Nothing was recorded in this period");
    let broken =
        shown(|update| update.usage.as_mut().unwrap().apps = Err("The history cannot be read: it is damaged.".into()));
    assert_eq!(broken.harness.query_all_by_label_contains("The history cannot be read: it is damaged.").count(), 1);
    shown(|update| update.usage = None).says("Reading the history…");
    let full = |update: &mut Update| {
        update.usage = None;
        update.history_error = Some("there is no place for it".into());
    };
    assert_eq!(shown(full).harness.query_all_by_label_contains("There is no place for it.").count(), 2);
    let mut off = shown(|update| update.settings.record = false);
    off.says("Recording is off");
    off.click("Turn On Recording");
    assert_eq!(off.wishes(), [Wish::Set(Settings::default())]);
    // What was recorded before is shown all the same.
    let mut off = opened(|| {
        let settings = Settings { record: false, ..Settings::default() };
        Update { settings, ..table(Period::Today, three()) }
    });
    assert_eq!(order(&off), "firefox StB mail");
    off.says("Recording is off.");
    off.click("Turn On Recording");
    assert_eq!(off.wishes(), [Wish::Set(Settings::default())]);
}

#[test]
fn what_is_wrong_with_the_history_is_said_until_dismissed() {
    let mut screen = Screen::new();
    let wrong =
        || Update { history_error: Some("the history cannot be written: disk full".into()), ..reading(Ok(RATE)) };
    screen.show(wrong());
    screen.says("The history cannot be written: disk full.");
    screen.click("Dismiss");
    screen.show(wrong());
    screen.says_not("disk full");
    screen.show(reading(Ok(RATE)));
    screen.show(wrong());
    screen.says("disk full");
}

#[test]
fn an_application_is_forgotten_after_a_second_word() {
    let mut screen = opened(|| table(Period::Today, three()));
    screen.click("Forget mail name…");
    screen.says("This deletes all records of mail name, from all days and networks.");
    screen.says("This cannot be undone.");
    screen.is_accessible();
    screen.press(Key::Escape);
    screen.says_not("This cannot be undone.");
    screen.says("mail name, download");
    screen.click("Forget mail name…");
    screen.press(Key::Enter);
    screen.says_not("This cannot be undone."); // "Cancel" has the focus
    assert_eq!(screen.wishes(), []);
    screen.click("Forget mail name…");
    screen.click("Forget");
    assert_eq!(screen.wishes(), [Wish::Forget(Forget::App("mail".into()))]);
    screen.says_not("This cannot be undone.");
}

#[test]
fn the_table_is_copied_as_shown_and_exact() {
    let formula = || {
        let mut groups = three();
        groups[2].name = "=2+2".into();
        groups
    };
    let mut screen = opened(|| table(Period::Today, formula()));
    screen.click("Sort by Application");
    screen.click("Sort by Application, A to Z");
    screen.harness.get_by_label("Copy").click();
    screen.harness.step();
    let copied = |screen: &Screen| {
        let mut commands = screen.harness.output().platform_output.commands.iter();
        commands.find_map(|c| if let OutputCommand::CopyText(text) = c { Some(text.clone()) } else { None })
    };
    let mut text = copied(&screen);
    for _ in 0..3 {
        if text.is_none() {
            screen.harness.step();
            text = copied(&screen);
        }
    }
    let expected = "Application\tDownload (bytes)\tUpload (bytes)\tTotal (bytes)\tInternal (bytes)\tEstimate (bytes)\n\
        mail name\t30000000\t4000000\t34000000\t0\t0\n\
        firefox name\t12300000000\t800000000\t13100000000\t5000000000\t0\n\
        '=2+2\t3300000000\t400000000\t3700000000\t9000000000\t1200000000\n";
    assert_eq!(text.as_deref(), Some(expected));
    screen.harness.run();
    screen.says("Copied");
    screen.click("Yesterday");
    screen.show(table(Period::Yesterday, three()));
    screen.says_not("Copied");
}

fn budgets() -> (Vec<Budget>, Vec<Spent>) {
    let budget = |app: Option<&str>, limit, metered| Budget { app: app.map(Into::into), limit, metered };
    let month = Limit::Usage { bytes: 5_000_000_000, per: Per::Month };
    let day = Limit::Usage { bytes: 500_000_000, per: Per::Day };
    let rate = Limit::Rate { bytes: 1_000_000, secs: 60 };
    let budgets = vec![budget(Some("firefox"), month, false), budget(None, day, true), budget(None, rate, false)];
    let spent = |bytes, percent, until| Spent { bytes, percent, until };
    let spent = vec![
        spent(Some(4_100_000_000), 82, Some(november().1)),
        spent(Some(640_000_000), 128, Some(november().1)),
        spent(None, 0, None),
    ];
    (budgets, spent)
}

#[test]
fn budgets_and_networks_stand_below() {
    let update = || {
        let (budgets, spent) = budgets();
        let mut update = table(Period::Today, three());
        update.settings.budgets = budgets;
        update.budgets = spent;
        update.usage.as_mut().unwrap().networks = vec![
            network(None, None, 1_000_000_000),
            network(Some("Phone"), Some(true), 2_000_000_000),
            network(Some("Home"), Some(false), 12_000_000_000),
            network(Some("Cable"), None, 3_000_000),
        ];
        update
    };
    for size in [vec2(920.0, 640.0), vec2(800.0, 500.0)] {
        let mut screen = opened(update);
        screen.harness.set_size(size);
        screen.harness.run();
        for text in [
            "firefox name: 4.1 of 5 GB this month (82 %), starts again on 1 December, nearly used up",
            "All applications: 640 of 500 MB today on metered networks (128 %), starts again at midnight, over the limit",
            "All applications: more than 1 MB/s for 60 s, checked while netglance is running",
            "Networks",
        ] {
            screen.says(text);
        }
        let names = ["Home", "Phone, metered", "Unknown network", "Cable, not known whether metered"];
        let tops = names.map(|name| screen.harness.get_by_label(name).rect().top());
        assert!(tops.is_sorted(), "the busiest first: {tops:?}");
        // There is room for some rows and their sum.
        let first = screen.harness.get_by_label_contains("firefox name, download").rect();
        let sum = screen.harness.get_by_label_contains("All applications, download").rect();
        let below = screen.harness.get_by_label("Budgets").rect();
        assert!(
            sum.top() - first.bottom() >= 2.0 * first.height() - 1.0 && below.top() >= sum.bottom(),
            "{first} {sum} {below}"
        );
    }
}

/// Only what is seen is drawn, and the keyboard gets to the last row.
#[test]
fn there_may_be_hundreds() {
    let hundreds = || (0..600).map(|i| group(&format!("app{i}"), used(1_000_000 * (600 - i), 0, 0, 0))).collect();
    let mut screen = opened(|| table(Period::Today, hundreds()));
    let drawn = rows(&screen);
    assert!(drawn.len() < 30, "{} rows", drawn.len());
    screen.says("All applications, download 180 GB, upload 0 B, total 180 GB, 100 %, internal 0 B");
    for _ in 0..40 {
        screen.press(Key::ArrowDown);
    }
    let focused = screen.harness.root().children_recursive().find(|node| node.accesskit_node().is_focused()).unwrap();
    assert!(focused.accesskit_node().label().unwrap().starts_with("app39 name"));
    let sum = screen.harness.get_by_label_contains("All applications, download").rect();
    assert!(focused.rect().bottom() <= sum.top() + 1.0, "{} {sum}", focused.rect());
}

#[test]
fn budgets_are_made_changed_and_removed() {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 1400.0));
    let (budgets, _) = budgets();
    let update = |budgets: &[Budget]| {
        let settings = Settings { budgets: budgets.to_vec(), ..Settings::default() };
        Update { settings, ..reading(Ok(RATE)) }
    };
    let set = |budgets: &[Budget]| Wish::Set(Settings { budgets: budgets.to_vec(), ..Settings::default() });
    screen.show(update(&[]));
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.click("New Budget…");
    screen.is_accessible();
    screen.click("Save");
    screen.says("Enter an amount, such as 5 or 1.5.");
    for (typed, wrong) in [
        ("x", "“x” is not an amount. Write it like this: 5 or 1.5."),
        ("1,5", "“1,5” is not an amount. Write it like this: 5 or 1.5."),
        ("0", "The amount must be more than 0."),
    ] {
        screen.type_into("Amount", typed);
        screen.says_not(wrong);
        screen.press(Key::Enter);
        screen.says(wrong);
        screen.show(update(&[]));
        screen.says(wrong);
        screen.harness.get_by_role_and_label(Role::TextInput, "Amount").focus();
        screen.harness.run();
        screen.press_with(Modifiers::COMMAND, Key::A);
        screen.press(Key::Backspace);
    }
    screen.type_into("Amount", "5");
    // The application by the keyboard; Escape gives up the list alone.
    screen.harness.get_by_role_and_label(Role::ComboBox, "Application").focus();
    screen.harness.run();
    screen.press(Key::Enter);
    screen.says("StB name");
    screen.press(Key::Escape);
    screen.says_not("StB name");
    screen.says("Only on metered networks");
    screen.harness.get_by_role_and_label(Role::ComboBox, "Application").focus();
    screen.harness.run();
    screen.press(Key::Enter);
    screen.harness.get_by_label("firefox name").focus();
    screen.harness.run();
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), []);
    screen.click("Save");
    assert_eq!(screen.wishes(), [set(&budgets[..1])]);
    screen.says("firefox name: 5 GB a month");

    // Made by hand in the file meanwhile, and so the program says often enough.
    (0..3).for_each(|_| screen.show(update(&budgets[..2])));
    screen.click("New Budget…");
    screen.click("Rate");
    screen.type_into("Rate", "1");
    screen.click("Save");
    assert_eq!(screen.wishes(), [set(&budgets)]);
    screen.show(update(&budgets));
    screen.says("All applications: more than 1 MB/s for 60 s");
    screen.click("Edit the budget All applications: 500 MB a day, on metered networks");
    screen.click("Only on metered networks");
    screen.click("Week");
    screen.click("TB");
    screen.click("Save");
    let changed = Limit::Usage { bytes: 500_000_000_000_000, per: Per::Week };
    let mut edited = budgets;
    edited[1] = Budget { limit: changed, metered: false, app: None };
    assert_eq!(screen.wishes(), [set(&edited)]);
    screen.show(update(&edited));
    screen.click("Remove the budget firefox name: 5 GB a month");
    assert_eq!(screen.wishes(), [set(&edited[1..])]);
    // Nothing comes of what is given up, and the page stays.
    screen.click("New Budget…");
    screen.press(Key::Escape);
    screen.says("New Budget…");
    assert_eq!(screen.wishes(), []);
}

#[test]
fn rates_are_in_the_unit_that_is_shown() {
    let mut screen = Screen::new();
    screen.harness.set_size(vec2(920.0, 1400.0));
    let budget = Budget { app: None, limit: Limit::Rate { bytes: 1_250_000, secs: 60 }, metered: false };
    let settings = Settings { unit: Unit::Bits, budgets: vec![budget], ..Settings::default() };
    screen.show(Update { settings: settings.clone(), ..reading(Ok(RATE)) });
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.click("Edit the budget All applications: more than 10 Mbit/s for 60 s");
    screen.harness.get_by_role_and_label(Role::TextInput, "Rate").focus();
    screen.harness.run();
    screen.press(Key::End);
    screen.harness.get_by_role_and_label(Role::TextInput, "Rate").type_text(".5");
    screen.harness.run();
    screen.harness.get_by_role_and_label(Role::TextInput, "For longer than").focus();
    screen.harness.run();
    screen.press(Key::ArrowUp);
    screen.click("Save");
    let budget = Budget { app: None, limit: Limit::Rate { bytes: 1_312_500, secs: 61 }, metered: false };
    assert_eq!(screen.wishes(), [Wish::Set(Settings { budgets: vec![budget], ..settings })]);
}

#[test]
fn what_is_recorded_is_a_setting() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.click("Record each application's traffic");
    let off = Settings { record: false, ..Settings::default() };
    assert_eq!(screen.wishes(), [Wish::Set(off.clone())]);
    screen.show(Update { settings: off.clone(), ..reading(Ok(RATE)) });
    let replace = |screen: &mut Screen, name: &str, text: &str| {
        screen.harness.get_by_role_and_label(Role::TextInput, name).focus();
        screen.harness.run();
        screen.press_with(Modifiers::COMMAND, Key::A);
        screen.type_into(name, text);
        assert_eq!(screen.wishes(), [], "half a number is none");
        screen.press(Key::Enter);
    };
    replace(&mut screen, "Size limit", "4");
    screen.says("“4” is not a whole number from 5 to 10000.");
    replace(&mut screen, "Size limit", "200");
    let larger = Settings { history_limit_mb: 200, ..off };
    assert_eq!(screen.wishes(), [Wish::Set(larger.clone())]);
    screen.show(Update { settings: larger.clone(), ..reading(Ok(RATE)) });
    replace(&mut screen, "Billing day", "32");
    screen.says("“32” is not a whole number from 1 to 31.");
    replace(&mut screen, "Billing day", "15");
    assert_eq!(screen.wishes(), [Wish::Set(Settings { billing_day: 15, ..larger })]);
    screen.click("Forget…");
    screen.click("Forget");
    assert_eq!(screen.wishes(), [], "which days?");
    screen.type_into("From", "2026-11-01");
    screen.type_into("To", "2026-11-02");
    screen.click("Forget");
    let days = Forget::Days(Date::constant(2026, 11, 1), Date::constant(2026, 11, 2));
    assert_eq!(screen.wishes(), [Wish::Forget(days)]);
    screen.click("Forget…");
    screen.click("Everything");
    screen.says("This deletes all records of all applications.");
    screen.click("Forget");
    assert_eq!(screen.wishes(), [Wish::Forget(Forget::Everything)]);
}

/// In both themes and with names of any length nothing leaves its place.
#[test]
fn long_names_stay_in_their_column() {
    let long = || {
        let mut groups = three();
        groups[0].name = "a name without an end ".repeat(20);
        groups[1].name = "ΑΩ".repeat(80);
        groups
    };
    for theme in [Theme::Dark, Theme::Light] {
        let update = || {
            let settings = Settings { theme, ..Settings::default() };
            Update { settings, light: theme == Theme::Light, ..table(Period::Today, long()) }
        };
        let mut screen = opened(update);
        screen.harness.set_size(vec2(800.0, 500.0));
        screen.harness.run();
        for row in screen.harness.query_all_by_label_contains(", internal ") {
            assert!(row.rect().right() <= 800.0 && row.rect().height() <= 30.0, "{}", row.rect());
        }
        let header = screen.harness.get_by_label("Sort by Download").rect().left();
        let shapes = screen.harness.output().shapes.iter();
        let names = shapes.filter_map(|shape| match &shape.shape {
            eframe::egui::Shape::Text(text) if text.galley.text().starts_with("a name") => {
                Some(text.visual_bounding_rect())
            }
            _ => None,
        });
        assert!(names.inspect(|rect| assert!(rect.right() <= header, "{rect} {header}")).count() > 0);
    }
}
