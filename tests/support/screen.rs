//! The window without a window: what is drawn is asked by role and label, and what a person does is done to it.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(missing_docs, reason = "the names say it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]

#[path = "paint.rs"]
mod paint;

use std::sync::mpsc::{Receiver, Sender, channel};

use eframe::egui::{Key, Modifiers, Rect, accesskit::Role, vec2};
use egui_kittest::{
    Harness,
    kittest::{NodeT, Queryable},
};
use netglance::{
    advise::verify::{Case, Figures as Booked, Outcome, Payload, Report},
    base::settings::Settings,
    look::{
        live::Side,
        rate::{Bytes, Gap, Rate},
        reading::{AppReading, Kind, Reading, UnitReading},
        remotes::{Figures, Remote, Whois},
        sampler::Source,
    },
    show::{
        update::{Command as Wish, Connections, Overview, Proof, ProofPage, Update},
        window::Window,
    },
};
use paint::{Picture, Textures};

pub struct Screen {
    pub harness: Harness<'static, Option<Window>>,
    pub updates: Sender<Update>,
    pub commands: Receiver<Wish>,
    pub beats: u64,
    textures: Textures,
}

impl Screen {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let (updates, received) = channel();
        let (sent, commands) = channel();
        let mut ends = Some((received, sent));
        let textures = Textures::default();
        let harness = Harness::builder().with_size(vec2(920.0, 640.0)).renderer(textures.clone()).build_ui_state(
            move |ui, window: &mut Option<Window>| {
                if let Some((received, sent)) = ends.take() {
                    *window = Some(Window::new(ui.ctx(), received, sent, &settings));
                }
                if let Some(window) = window {
                    window.contents(ui);
                }
            },
            None,
        );
        Self { harness, updates, commands, beats: 0, textures }
    }

    /// This part of the screen looks as it was reviewed.
    #[track_caller]
    pub fn looks(&self, part: Rect, name: &str) {
        let shapes = self.harness.output().shapes.clone();
        let primitives = self.harness.ctx.tessellate(shapes, 1.0);
        Picture::of(&primitives, &self.textures, part).is_as_reviewed(name);
    }

    /// Writes what this part of the screen looks like.
    pub fn paints(&self, part: Rect, file: &std::path::Path) {
        let shapes = self.harness.output().shapes.clone();
        let primitives = self.harness.ctx.tessellate(shapes, 1.0);
        Picture::of(&primitives, &self.textures, part).write(file);
    }

    /// Sends an update and draws until nothing moves any more; `run` fails if something repaints for ever.
    pub fn show(&mut self, mut update: Update) {
        self.beats += 1;
        for reading in update.readings.iter_mut().chain(update.overview.as_mut().map(|overview| &mut overview.all)) {
            reading.boottime_ns = self.beats * 500_000_000;
        }
        if let Some(connections) = &mut update.connections {
            connections.boottime_ns = self.beats * 500_000_000;
        }
        self.updates.send(update).unwrap();
        self.harness.run();
    }

    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(self.harness.query_all_by_label_contains(text).next().is_some(), "not on screen: {text}");
    }

    #[track_caller]
    pub fn says_not(&self, text: &str) {
        assert!(self.harness.query_all_by_label_contains(text).next().is_none(), "still on screen: {text}");
    }

    pub fn press(&mut self, key: Key) {
        self.harness.key_press(key);
        self.harness.run();
    }

    pub fn press_with(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.run();
    }

    /// Presses the control of this name.
    #[track_caller]
    pub fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.harness.run();
    }

    #[track_caller]
    pub fn type_into(&mut self, label: &str, text: &str) {
        self.harness.get_by_role_and_label(Role::TextInput, label).focus();
        self.harness.run();
        self.harness.get_by_role_and_label(Role::TextInput, label).type_text(text);
        self.harness.run();
    }

    /// What was asked for since the last time.
    pub fn wishes(&self) -> Vec<Wish> {
        self.commands.try_iter().collect()
    }

    /// Every control has a name that a screen reader can say, and the keyboard reaches it.
    #[track_caller]
    pub fn is_accessible(&self) {
        use egui_kittest::kittest::By;
        let mut controls = 0;
        for node in self.harness.query_all(By::new().recursive(true)) {
            let node = node.accesskit_node();
            let control = matches!(
                node.role(),
                Role::Button
                    | Role::CheckBox
                    | Role::RadioButton
                    | Role::Tab
                    | Role::TextInput
                    | Role::GraphicsDocument
                    | Role::RadioGroup
                    | Role::TabList
            );
            if control {
                controls += 1;
                let name = node.label().or_else(|| node.value()).unwrap_or_default();
                assert!(!name.trim().is_empty(), "a {:?} without a name", node.role());
            }
        }
        assert!(controls > 1, "{controls} controls");
    }
}

pub fn app(id: &str, rx: f64) -> AppReading {
    AppReading {
        id: id.into(),
        name: format!("{id} name"),
        icon: None,
        in_menu: true,
        rate: Some(Rate { rx, tx: 0.0 }),
        bytes: Bytes::default(),
        cgroups: vec![format!("/{id}")],
        kind: if id == "StB" { Kind::Own } else { Kind::App },
        colour: None,
        parts: Vec::new(),
    }
}

pub fn apps() -> Vec<AppReading> {
    vec![app("StB", 1_500_000.0), app("firefox", 2000.0), app("mail", 0.0)]
}

pub fn reading(rate: Result<Rate, Gap>) -> Update {
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
        lacks_containers: false,
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

/// Nothing is watched, and these apps are there.
pub fn overview(apps: Vec<AppReading>) -> Update {
    let mut update = reading(Ok(RATE));
    let all =
        Reading { id: String::new(), app: "All applications".into(), units: Vec::new(), ..update.readings.remove(0) };
    Update { overview: Some(Overview { all, sparks: None }), apps, ..update }
}

pub const RATE: Rate = Rate { rx: 1_234_000.0, tx: 80_000.0 };

/// A remote of StB: external, or internal with this prefix.
pub fn remote(id: u32, address: &str, port: u16, prefix: Option<&str>) -> Remote {
    Remote {
        id,
        app: "StB".into(),
        unit: "stb-next-shell@split.service".into(),
        cgroup: "/x/stb-next-shell@split.service".into(),
        address: address.parse().ok(),
        port,
        protocol: 6,
        scope: Some(if prefix.is_some() { Side::Internal } else { Side::External }),
        prefix: prefix.map(Into::into),
        reason: match prefix {
            Some(_) => "Private-Use, RFC 1918".into(),
            None => "a public address that no internal prefix contains".into(),
        },
        counters: None,
        proxy: None,
        whois: Whois { service: (port == 443).then(|| "https".into()), ..Whois::default() },
    }
}

/// What was moved with it: bytes and bytes a second, received and sent; one socket is open.
pub fn moved(id: u32, bytes: [u64; 2], rate: [f64; 2]) -> Figures {
    let [rx, tx] = rate;
    Figures { id, bytes: Some(bytes), rate: Some(Rate { rx, tx }), seen_ns: 0, sockets: 1 }
}

/// All remotes there are.
pub fn whole(remotes: Vec<Remote>, figures: Vec<Figures>) -> Connections {
    Connections {
        source: Source::Exact,
        boottime_ns: 0,
        is_whole: true,
        remotes,
        figures,
        gone: Vec::new(),
        is_complete: true,
        others: None,
        failure: None,
    }
}

/// The same, of StB.
pub fn with_connections(connections: Connections) -> Update {
    Update { tray: true, connections: Some(connections), ..reading(Ok(RATE)) }
}

pub fn with_proof(proof: Option<Proof>) -> Update {
    Update { tray: true, proof: Some(ProofPage { proof }), ..reading(Ok(RATE)) }
}

pub fn report(verdict: Outcome) -> Proof {
    let figures = Booked { internal_rx_bytes: 61_400, internal_tx_bytes: 16_400, ..Booked::default() };
    let case = |verdict, meaning: Option<&str>| Case {
        case: "Private IPv4 (10.0.0.0/8)".into(),
        actor: "the app".into(),
        sent: Some(Payload { rx_bytes: 60_000, tx_bytes: 15_000 }),
        expected: Some(figures),
        counted: Some(Booked { rx_bytes: u64::from(verdict == Outcome::Fail), ..figures }),
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

pub fn several(ids: &[&str]) -> Update {
    let mut update = reading(Ok(RATE));
    let one = update.readings.remove(0);
    update.readings =
        ids.iter().map(|id| Reading { id: (*id).into(), app: format!("{id} name"), ..one.clone() }).collect();
    update
}
