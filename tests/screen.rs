//! The window as a person and a screen reader meet it: each state by role and label, and a real window under Xvfb.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::{
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
};

use eframe::egui::{Key, Modifiers, accesskit::Role, pos2, vec2};
use egui_kittest::{
    Harness,
    kittest::{NodeT, Queryable},
};
use netglance::{
    live::{Protocol, Side, SocketVerdict},
    monitor::{AppReading, Reading, UnitReading},
    rate::{Bytes, Gap, Rate, Source},
    sampler::Exact,
    settings::{Palette, Settings, Theme, Unit},
    update::{AppSockets, Backlog, Command as Wish, Proof, ProofPage, Update},
    verify::{Case, Figures, Outcome, Payload, Report},
    window::Window,
};
use support::{AGENT, LAN4, OTHER, PUBLIC4, SERVER, SHELL, World, at, eventually};

struct Screen {
    harness: Harness<'static, Option<Window>>,
    updates: Sender<Update>,
    commands: Receiver<Wish>,
    beats: u64,
}

impl Screen {
    fn new() -> Self {
        let (updates, received) = channel();
        let (sent, commands) = channel();
        let mut ends = Some((received, sent));
        let harness = Harness::builder().with_size(vec2(920.0, 640.0)).build_ui_state(
            move |ui, window: &mut Option<Window>| {
                if let Some((received, sent)) = ends.take() {
                    *window = Some(Window::new(ui.ctx(), received, sent, &Settings::default()));
                }
                if let Some(window) = window {
                    window.contents(ui);
                }
            },
            None,
        );
        Self { harness, updates, commands, beats: 0 }
    }

    /// Sends an update and draws until nothing moves any more; `run` fails if something repaints for ever.
    fn show(&mut self, mut update: Update) {
        self.beats += 1;
        for reading in &mut update.readings {
            reading.boottime_ns = self.beats * 500_000_000;
        }
        self.updates.send(update).unwrap();
        self.harness.run();
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.harness.query_all_by_label_contains(text).next().is_some(), "not on screen: {text}");
    }

    #[track_caller]
    fn says_not(&self, text: &str) {
        assert!(self.harness.query_all_by_label_contains(text).next().is_none(), "still on screen: {text}");
    }

    fn press(&mut self, key: Key) {
        self.harness.key_press(key);
        self.harness.run();
    }

    fn press_with(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.run();
    }

    /// Presses the control of this name.
    #[track_caller]
    fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.harness.run();
    }

    #[track_caller]
    fn type_into(&mut self, label: &str, text: &str) {
        self.harness.get_by_role_and_label(Role::TextInput, label).focus();
        self.harness.run();
        self.harness.get_by_role_and_label(Role::TextInput, label).type_text(text);
        self.harness.run();
    }

    /// What was asked for since the last time.
    fn wishes(&self) -> Vec<Wish> {
        self.commands.try_iter().collect()
    }

    /// Every control has a name that a screen reader can say, and the keyboard reaches it.
    #[track_caller]
    fn is_accessible(&self) {
        use egui_kittest::kittest::By;
        let mut controls = 0;
        for node in self.harness.query_all(By::new().recursive(true)) {
            let node = node.accesskit_node();
            let control =
                matches!(node.role(), Role::Button | Role::CheckBox | Role::TextInput | Role::GraphicsDocument);
            if control {
                controls += 1;
                let name = node.label().or_else(|| node.value()).unwrap_or_default();
                assert!(!name.trim().is_empty(), "a {:?} without a name", node.role());
            }
        }
        assert!(controls > 2, "{controls} controls");
    }
}

fn app(id: &str, rx: f64) -> AppReading {
    AppReading {
        id: id.into(),
        name: format!("{id} name"),
        icon: None,
        in_menu: true,
        rate: Some(Rate { rx, tx: 0.0 }),
        bytes: Bytes::default(),
        cgroups: vec![format!("/{id}")],
    }
}

fn apps() -> Vec<AppReading> {
    vec![app("StB", 1_500_000.0), app("firefox", 2000.0), app("mail", 0.0)]
}

fn reading(rate: Result<Rate, Gap>) -> Update {
    let unit_rate = rate.as_ref().ok().copied();
    let reading = Reading {
        id: "StB".into(),
        time: "2026-03-01T12:00:00Z".parse().unwrap(),
        boottime_ns: 0,
        elapsed_secs: 9.0,
        app: "StB".into(),
        source: Source::Estimate,
        bytes: Bytes { rx: 12_000_000, tx: 3_400_000, internal_rx: 15_000_000, internal_tx: 5_000_000 },
        rate,
        unmeasured_udp_sockets: Some(3),
        units: vec![UnitReading {
            unit: "stb-next-shell@split.service".into(),
            cgroup: "/x/stb-next-shell@split.service".into(),
            rx_bytes: 12_000_000,
            tx_bytes: 3_400_000,
            rate: unit_rate,
        }],
    };
    Update { readings: vec![reading], apps: apps(), ..Update::default() }
}

const RATE: Rate = Rate { rx: 1_234_000.0, tx: 80_000.0 };

#[test]
fn without_a_choice_it_helps_to_choose() {
    let mut screen = Screen::new();
    screen.harness.run();
    screen.says("Looking for applications");
    screen.show(Update::default());
    screen.says("No applications yet");
    screen.says("netglance run -- CMD");
    screen.show(Update { apps: apps(), ..Update::default() });
    screen.says("Choose an application");
    screen.says_not("Watch firefox name too");
    screen.click("firefox name, 2.00 kB/s");
    assert_eq!(screen.commands.try_recv(), Ok(Wish::Watch(vec!["firefox".into()])));
}

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
        "Total 12.0 MB down, 3.40 MB up",
        "Left out: loopback and LAN 20.0 MB",
        "Chart of the last minute: download 1.23 MB/s, upload 80.0 kB/s",
    ] {
        screen.says(text);
    }
    screen.harness.get_by_role_and_label(Role::Button, "Estimate, TCP only").click();
    screen.harness.run();
    screen.says("UDP and QUIC are not in the figures");
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
    screen.says("picked up as soon as it starts");
    screen.says("Download –");
    screen.show(reading(Err(Gap::Slept(3600))));
    screen.says("No look for 3600 s");
    screen.show(reading(Err(Gap::CountingRestarted)));
    screen.says("Counting started again");
    screen.show(reading(Err(Gap::Failed("permission denied".into()))));
    screen.says("Permission denied");
    screen.says("tried again each beat");
    screen.show(Update { failure: Some("no cgroup v2 hierarchy is mounted here".into()), ..Update::default() });
    screen.says("Nothing can be counted here");
    screen.says("no cgroup v2 hierarchy");
    screen.show(reading(Ok(RATE)));
    screen.says_not("Nothing can be counted here");
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
    screen.says("Nothing is called \"mai1\"");
    screen.says("Chart of the last 15 minutes");
    screen.harness.get_by_label("Clear the search").click();
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

#[test]
fn a_mistake_in_the_settings_is_shown_until_dismissed() {
    let mut screen = Screen::new();
    let wrong = || Update { settings_error: Some("config.toml, line 3: no".into()), ..reading(Ok(RATE)) };
    screen.show(wrong());
    screen.says("config.toml, line 3: no. The last good settings stay in force.");
    screen.harness.get_by_label("Dismiss").click();
    screen.harness.run();
    screen.show(wrong());
    screen.says_not("line 3");
}

fn several(ids: &[&str]) -> Update {
    let mut update = reading(Ok(RATE));
    let one = update.readings.remove(0);
    update.readings =
        ids.iter().map(|id| Reading { id: (*id).into(), app: format!("{id} name"), ..one.clone() }).collect();
    update
}

#[test]
fn several_apps_have_a_chart_each() {
    let mut screen = Screen::new();
    screen.show(several(&["StB"]));
    screen.says("Total 12.0 MB down");
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
    screen.says_not("Total 12.0 MB down");
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
    screen.harness.get_by_label("mail name, –").click_modifiers(Modifiers::COMMAND);
    screen.harness.run();
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["StB".into(), "firefox".into()])]);
    screen.harness.get_by_label("mail name, –").click();
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
    use netglance::history::Point;
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
fn exact_counting_is_offered_once_and_plainly() {
    let mut screen = Screen::new();
    for exact in [Exact::Absent, Exact::NotInstalled] {
        screen.show(Update { exact, ..reading(Ok(RATE)) });
        screen.says("It takes one password");
        screen.says("never what is in them");
        screen.click("Count exactly…");
        assert_eq!(screen.wishes(), [Wish::CountExactly]);
    }
    screen.show(Update { asking: true, ..reading(Ok(RATE)) });
    screen.says("Waiting for the password dialog…");
    assert!(screen.harness.get_by_label("Count exactly…").accesskit_node().is_disabled());
    screen.says_not("Not now");
    let refused = || Update { notice: Some("No password, so the estimate goes on.".into()), ..reading(Ok(RATE)) };
    screen.show(refused());
    screen.says("No password, so the estimate goes on.");
    screen.click("Dismiss");
    screen.show(refused());
    screen.says_not("No password");
    screen.click("Not now");
    screen.show(refused());
    screen.says_not("Count exactly…");
    // A second refusal is said again.
    screen.show(Update { asking: true, ..refused() });
    screen.says("Waiting for the password dialog…");
    screen.show(refused());
    screen.says("No password");

    let mut exact = Update { exact: Exact::Counting, ..reading(Ok(RATE)) };
    exact.readings[0].source = Source::Exact;
    let mut screen = Screen::new();
    screen.show(exact);
    screen.says_not("Count exactly…");
    screen.says_not("Estimate");
    screen.show(Update { exact: Exact::Failed("the kernel has no nf_tables".into()), ..reading(Ok(RATE)) });
    screen.says(
        "Exact counting does not work now: the kernel has no nf_tables. Until it does, the figures are an estimate",
    );
    screen.click("Dismiss");
    screen.says_not("does not work now");
}

#[test]
fn without_a_tray_it_says_what_closing_does() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.says("closing this window ends netglance");
    screen.show(Update { tray: true, ..reading(Ok(RATE)) });
    screen.says_not("closing this window ends netglance");
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
    screen.type_into("Left out besides", "203.0.114.0/24");
    screen.press(Key::Enter);
    let wished = Settings { internal: vec!["203.0.114.0/24".parse().unwrap()], ..Settings::default() };
    assert_eq!(screen.wishes(), [Wish::Set(wished)]);
    for _ in 0..5 {
        screen.show(Update { asking: true, ..reading(Ok(RATE)) });
        screen.says("Remove 203.0.114.0/24 from what is internal");
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
    screen.says("a change asks for a password");
    let list = "Left out besides";
    let mut check = |typed: &str, sentence: &str| {
        screen.type_into(list, typed);
        screen.says(sentence);
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
    check("10.1.0.0/8", "\"10.1.0.0/8\" is not a prefix: it has bits behind its length; did you mean 10.0.0.0/8?");
    check("lan", "\"lan\" is not a prefix: it should read like 10.0.0.0/8 or 2001:db8::/32.");
    check("10.0.0.7", "10.0.0.7/32 is in the other list; remove it there first.");
    screen.type_into(list, "100.64.3.0/24");
    screen.says("So far 100.64.3.0 is internal: 100.64.0.0/10 Shared Address Space (CGNAT, the tailnet), RFC 6598.");
    screen.click("Add to what is internal");
    let added = Settings { internal: vec!["100.64.3.0/24".parse().unwrap()], ..settings.clone() };
    assert_eq!(screen.wishes(), [Wish::Set(added.clone())]);
    screen.show(Update { settings: added.clone(), ..update() });
    screen.click("Remove 10.0.0.7/32 from what is external");
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
    screen.says("This computer, or its own networks");
    screen.type_into("The whole table", "RFC 6598");
    screen.says("Shared Address Space (CGNAT, the tailnet)");
    screen.says_not("Loopback");
    screen.press_with(Modifiers::COMMAND, Key::A);
    screen.type_into("The whole table", "2003:e1:f700::9");
    screen.says("2003:e1:f700::9 is internal: 2003:e1:f700::/64 of this host or on its links.");
    screen.says_not("Shared Address Space");
    screen.press_with(Modifiers::COMMAND, Key::A);
    screen.type_into("The whole table", "93.184.216.34");
    screen.says("93.184.216.34 is external: no prefix matches.");
}

#[test]
fn exact_counting_is_removed_after_a_second_word() {
    let mut screen = Screen::new();
    let exact = || Update { exact: Exact::Counting, ..reading(Ok(RATE)) };
    screen.show(exact());
    screen.click("Settings");
    screen.click("Remove exact counting…");
    screen.says("The kernel stops counting for every user");
    screen.click("Keep");
    screen.says_not("The kernel stops counting");
    screen.click("Remove exact counting…");
    screen.click("Remove");
    assert_eq!(screen.wishes(), [Wish::RemoveExact]);
    screen.show(Update { asking: true, ..exact() });
    screen.says("Waiting for the password dialog…");
    screen.show(reading(Ok(RATE)));
    screen.click("Count exactly…");
    assert_eq!(screen.wishes(), [Wish::CountExactly]);
}

fn sockets(count: u16) -> Vec<SocketVerdict> {
    let socket = |at: u16| SocketVerdict {
        unit: "stb-next-shell@split.service".into(),
        cgroup: "/x/stb-next-shell@split.service".into(),
        scope: Some(if at == 0 { Side::External } else { Side::Internal }),
        protocol: Protocol::Tcp,
        remote: Some(if at == 0 { [93, 184, 216, 34].into() } else { [192, 168, 2, 1].into() }),
        port: Some(443 + at),
        prefix: (at > 0).then(|| "192.168.0.0/16".into()),
        reason: if at == 0 {
            "no prefix of this host's matches: outside".into()
        } else {
            "Private-Use, RFC 1918".into()
        },
        counters: None,
        proxy: None,
    };
    (0..count).map(socket).collect()
}

fn with_page(sockets: Result<Vec<SocketVerdict>, String>, proof: Option<Proof>) -> Update {
    let apps = vec![AppSockets { app: "StB".into(), sockets }];
    Update { tray: true, proof: Some(ProofPage { apps, proof }), ..reading(Ok(RATE)) }
}

#[test]
fn each_open_socket_says_why_it_is_external() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.harness.get_by_role_and_label(Role::Link, "Left out: loopback and LAN 20.0 MB").click();
    screen.harness.run();
    assert_eq!(screen.wishes(), [Wish::ProofPage(true)]);
    screen.show(with_page(Ok(sockets(3)), None));
    for text in [
        "StB: 1 external, 2 internal, 0 not connected",
        "93.184.216.34:443",
        "no prefix of this host's matches: outside",
        "192.168.0.0/16: Private-Use, RFC 1918",
    ] {
        screen.says(text);
    }
    screen.says_not("counters have the marked ones");
    let mut disagree = sockets(3);
    disagree[1].counters = Some(Side::External);
    screen.show(with_page(Ok(disagree), None));
    screen.says("counters have the marked ones on the other side");
    screen.show(with_page(Err("netlink is not there".into()), None));
    screen.says("The connections of StB can't be listed: netlink is not there.");
    screen.is_accessible();
    screen.press(Key::Escape);
    screen.says_not("can't be listed");
    assert_eq!(screen.wishes(), [Wish::ProofPage(false)]);

    // A list that is too long is scrolled by the keys; the badge's menu leads to it as well.
    screen.click("Estimate, TCP only");
    screen.click("Why is this external?");
    screen.show(with_page(Ok(sockets(200)), None));
    screen.says_not("192.168.2.1:642");
    screen.press(Key::End);
    screen.harness.run();
    screen.says("192.168.2.1:642");
    screen.press(Key::Home);
    screen.harness.run();
    screen.says("93.184.216.34:443");
}

fn report(verdict: Outcome) -> Proof {
    let figures = Figures { internal_rx_bytes: 61_400, internal_tx_bytes: 16_400, ..Figures::default() };
    let case = |verdict, meaning: Option<&str>| Case {
        case: "Private IPv4 (10.0.0.0/8)".into(),
        actor: "the app".into(),
        sent: Some(Payload { rx_bytes: 60_000, tx_bytes: 15_000 }),
        expected: Some(figures),
        counted: Some(Figures { rx_bytes: u64::from(verdict == Outcome::Fail), ..figures }),
        strays: Vec::new(),
        verdict,
        meaning: meaning.map(str::to_owned),
    };
    let meaning = (verdict == Outcome::Fail).then_some("A prefix is missing.");
    Proof::Done(Report {
        version: "0.1.0".into(),
        kernel: "6.1.0".into(),
        elapsed_s: 1.25,
        passed: verdict == Outcome::Pass,
        cases: vec![
            case(Outcome::Pass, None),
            case(verdict, meaning),
            case(Outcome::Skipped, Some("This kernel has no IPv6.")),
        ],
    })
}

#[test]
fn the_proof_is_asked_for_and_says_what_came_out() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.click("Proof");
    screen.show(with_page(Ok(Vec::new()), None));
    screen.says("No packet leaves this computer");
    screen.click("Prove it on this computer…");
    assert_eq!(screen.wishes(), [Wish::ProofPage(true), Wish::Verify]);
    screen.show(with_page(Ok(Vec::new()), Some(Proof::Running)));
    screen.says("Waiting for the password");
    assert!(screen.harness.get_by_label("Prove it on this computer…").accesskit_node().is_disabled());
    screen.show(with_page(Ok(Vec::new()), Some(Proof::Failed("it was not authorised, and nothing was tried".into()))));
    screen.says("No proof: it was not authorised, and nothing was tried.");
    screen.show(with_page(Ok(Vec::new()), Some(report(Outcome::Pass))));
    screen.says("2 of 2 cases right: internal traffic is left out, external is in. 1 could not be tried here.");
    screen.says("This kernel has no IPv6.");
    screen.says("internal 61,400 / 16,400");
    screen.says_not("WRONG");
    screen.show(with_page(Ok(Vec::new()), Some(report(Outcome::Fail))));
    screen.says("1 of 2 cases WRONG");
    screen.says("Private IPv4 (10.0.0.0/8) (the app): A prefix is missing.");
    screen.says("external 1 / 0, internal 61,400 / 16,400");
    screen.is_accessible();
    // Another page takes its place, and it is closed then.
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.says("The whole table");
    screen.press_with(Modifiers::COMMAND, Key::P);
    screen.says_not("The whole table");
    screen.click("Close");
    assert_eq!(screen.wishes(), [Wish::ProofPage(false), Wish::ProofPage(true), Wish::ProofPage(false)]);
    screen.says("Download 1.23 MB/s");
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
    screen.show(Update { apps: all(), ..Update::default() });
    assert_eq!(names(&screen), "StB firefox daemon mail Services (");
    screen.click("Services (2)");
    assert_eq!(names(&screen), "StB firefox daemon mail Services ( dbus dconf");
    screen.click("dconf name, –");
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

#[test]
fn keys_open_and_escape_closes() {
    let mut screen = Screen::new();
    screen.show(Update { tray: true, ..reading(Ok(RATE)) });
    screen.press(Key::F1);
    screen.says("Hold the picture, or go on");
    screen.is_accessible();
    screen.press(Key::Escape);
    screen.says_not("Hold the picture");
    screen.press(Key::Questionmark);
    screen.says("Hold the picture");
    screen.press(Key::Space);
    screen.says_not("Hold the picture"); // the button had the focus
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.says("The whole table");
    screen.press(Key::F1);
    screen.says("Hold the picture");
    screen.press(Key::Escape);
    screen.says_not("Hold the picture");
    screen.says("The whole table");
    screen.press(Key::Escape);
    screen.says_not("The whole table");
    screen.press_with(Modifiers::COMMAND, Key::Q);
    assert_eq!(screen.wishes(), [Wish::Quit]);
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
        "Bits",
        "0.5 s",
        "Dark",
        "Start at login, in the tray",
        "Count exactly…",
        "Left out besides",
        "Counted all the same",
        "The whole table",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} among {names:?}");
    }
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

/// Ends the X server also when the test fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("end Xvfb");
        self.0.wait().expect("end Xvfb");
    }
}

/// The real program in a real window, watching StB's real traffic without having been told to. The picture is kept.
#[test]
fn a_real_window_shows_stb_by_itself() {
    let missing = |program: &str| format!("{program} does not start: run tests/all, which installs it");
    let display = format!(":{}", 200 + std::process::id() % 700);
    let server = Command::new("Xvfb").args([&display, "-screen", "0", "1000x700x24", "-nolisten", "tcp"]).spawn();
    let _server = Server(server.unwrap_or_else(|_| panic!("{}", missing("Xvfb"))));
    let ask = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).env("DISPLAY", &display).stderr(Stdio::null()).output();
        String::from_utf8_lossy(&out.unwrap_or_else(|_| panic!("{}", missing(program))).stdout).trim().to_owned()
    };
    eventually("the X server", || (!ask("xdpyinfo", &[]).is_empty()).then_some(()));

    let world = World::new();
    let stream = |unit: &str, down: &str, up: &str, rate: &str| {
        world.traffic(unit, &["move", down, up, rate, &at(PUBLIC4), &at(LAN4)])
    };
    let _traffic = [
        stream(AGENT, "90000000", "90000000", "60000"),
        stream(SERVER, "90000000", "1500000", "200000"),
        stream(SHELL, "90000000", "0", "500000"),
        stream(SHELL, "12000000", "600000", "1500000"),
        stream(OTHER, "900000000", "90000000", "9000000"),
    ];
    let _window = world.netglance_on(&display);
    let window = eventually("the window", || {
        ask("xdotool", &["search", "--onlyvisible", "--name", "^netglance$"]).lines().next().map(str::to_owned)
    });
    ask("xdotool", &["mousemove", "990", "690"]);
    let picture = format!("{}/window.png", env!("CARGO_TARGET_TMPDIR"));
    // The download's area fills a good part of the minute, and both lines are there.
    eventually("a chart of the traffic", || {
        ask("import", &["-window", &window, &picture]);
        let histogram = ask("convert", &[&picture, "-format", "%c", "histogram:info:"]);
        let pixels = |colour: &str| {
            let line = histogram.lines().find(|line| line.contains(colour))?;
            line.split(':').next()?.trim().parse::<u32>().ok()
        };
        (pixels("#2B485B")? > 10_000 && pixels("#56B4E9")? > 200 && pixels("#F0A528")? > 200).then_some(())
    });
    println!("the window's picture: {picture}");
}
