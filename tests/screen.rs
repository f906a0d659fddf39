//! The window as a person and a screen reader meet it: each state by role and label, and a real window under Xvfb.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::{
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
};

use eframe::egui::{Key, Modifiers, accesskit::Role, vec2};
use egui_kittest::{
    Harness,
    kittest::{NodeT, Queryable},
};
use netglance::{
    monitor::{AppReading, Reading, UnitReading},
    rate::{Bytes, Gap, Rate, Source},
    settings::Settings,
    update::{Command as Wish, Update},
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
        if let Some(reading) = update.readings.first_mut() {
            reading.boottime_ns = self.beats * 500_000_000;
        }
        self.updates.send(update).unwrap();
        self.harness.run();
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.harness.query_by_label_contains(text).is_some(), "not on screen: {text}");
    }

    #[track_caller]
    fn says_not(&self, text: &str) {
        assert!(self.harness.query_all_by_label_contains(text).next().is_none(), "still on screen: {text}");
    }

    fn press(&mut self, key: Key) {
        self.harness.key_press(key);
        self.harness.run();
    }
}

fn app(id: &str, rx: f64) -> AppReading {
    AppReading {
        id: id.into(),
        name: format!("{id} name"),
        icon: None,
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
    screen.harness.get_by_label_contains("firefox name").click();
    screen.harness.run();
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
        "Chart of the last 1 minutes: download 1.23 MB/s, upload 80.0 kB/s",
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
    screen.says("Chart of the last 1 minutes: download 1.23 MB/s");
    screen.harness.get_by_role_and_label(Role::Button, "Resume").click();
    screen.harness.run();
    screen.says_not("Paused");
    screen.says("Chart of the last 1 minutes: download 9.00 MB/s");
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
    assert_eq!(screen.commands.try_recv(), Ok(Wish::Watch(vec!["firefox".into()])));
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

#[test]
fn settings_apply_at_once() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.harness.get_by_label("Settings").click();
    screen.harness.run();
    screen.harness.get_by_label("Bits").click();
    screen.harness.run();
    screen.says("Download 9.87 Mbit/s");
    screen.harness.get_by_label("5 s").click();
    screen.harness.run();
    let beat = std::time::Duration::from_secs(5);
    assert_eq!(screen.commands.try_recv(), Ok(Wish::Set(Settings { beat, ..Settings::default() })));
    screen.harness.get_by_label("Light").click();
    screen.harness.run();
    assert!(!screen.harness.ctx.global_style().visuals.dark_mode);
}

/// Every button, field and chart has a name that a screen reader can say.
#[test]
fn every_control_has_a_name() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    for role in [Role::Button, Role::TextInput, Role::GraphicsDocument] {
        let mut found = 0;
        for node in screen.harness.query_all_by_role(role) {
            found += 1;
            let node = node.accesskit_node();
            let name = node.label().or_else(|| node.value()).unwrap_or_default();
            assert!(!name.is_empty(), "a {role:?} without a name");
        }
        assert!(found > 0, "no {role:?} at all");
    }
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
