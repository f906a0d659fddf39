//! The proof page, in place of all else: a proof on this very computer that internal traffic is left out and external traffic is
//! in, and why each of the app's own connections is the one or the other. It proves and looks at nothing itself.

use eframe::egui::{Align, Button, Key, Label, Layout, RichText, ScrollArea, Ui, vec2};
use egui_extras::{Column, TableBuilder};

use super::figures::WHY;
use crate::{
    advise::verify::{Case, Outcome as Verdict, Report, pair, with_scope},
    look::{
        live::{Side, SocketVerdict},
        sampler::Protocol,
    },
    show::update::{self, AppSockets, Proof, Update},
};

/// What the button is called.
const PROVE: &str = "Prove it on this computer…";
const ROW_HEIGHT: f32 = 24.0;
/// At the right of it all, for the scroll bar.
const BAR_WIDTH: f32 = 12.0;

/// The page's two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// The table of what was tried.
    Proof,
    /// The open sockets.
    Sockets,
}

/// What the page remembers between two frames.
#[derive(Debug)]
pub struct ProofPage {
    tab: Tab,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The proof is asked for.
    pub prove: bool,
    /// The page is done with.
    pub close: bool,
}

impl ProofPage {
    /// Opens at this side.
    pub fn new(tab: Tab) -> Self {
        Self { tab }
    }

    /// Draws the page.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update) -> Outcome {
        let mut outcome = Outcome::default();
        ui.horizontal(|ui| {
            ui.heading("Proof");
            ui.add_space(12.0);
            ui.selectable_value(&mut self.tab, Tab::Proof, "Is it right?");
            ui.selectable_value(&mut self.tab, Tab::Sockets, WHY);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                outcome.close = ui.button("Close").on_hover_text("Escape").clicked();
            });
        });
        ui.separator();
        let shown = update.proof.clone().unwrap_or_default();
        match self.tab {
            Tab::Proof => outcome.prove = proof(ui, shown.proof.as_ref()),
            Tab::Sockets => sockets(ui, update, &shown),
        }
        outcome
    }
}

/// The button and what came of it. Whether it was pressed.
fn proof(ui: &mut Ui, proof: Option<&Proof>) -> bool {
    ui.label(
        "netglance builds two small networks inside this computer, plays addresses inside and outside, moves known bytes \
         as an app does, and compares them with what is counted. No packet leaves this computer and nothing is changed; \
         it takes a password and some seconds.",
    );
    ui.add_space(4.0);
    let running = proof == Some(&Proof::Running);
    let pressed = ui
        .horizontal(|ui| {
            let pressed = ui.add_enabled(!running, Button::new(PROVE)).clicked();
            if running {
                ui.label("Waiting for the password; then it takes some seconds…");
            }
            pressed
        })
        .inner;
    ui.add_space(4.0);
    match proof {
        None | Some(Proof::Running) => {}
        Some(Proof::Failed(why)) => {
            ui.label(RichText::new(format!("No proof: {why}.")).color(ui.visuals().error_fg_color));
        }
        Some(Proof::Done(report)) => done(ui, report),
    }
    pressed
}

fn done(ui: &mut Ui, report: &Report) {
    let of = |verdict| report.cases.iter().filter(|case| case.verdict == verdict).count();
    let (right, wrong, skipped) = (of(Verdict::Pass), of(Verdict::Fail), of(Verdict::Skipped));
    let tried = right + wrong;
    let skipped = if skipped == 0 { String::new() } else { format!(" {skipped} could not be tried here.") };
    let summary = if wrong == 0 {
        RichText::new(format!("{right} of {tried} cases right: internal traffic is left out, external is in.{skipped}"))
    } else {
        RichText::new(format!("{wrong} of {tried} cases WRONG: don't trust the figures until they are right.{skipped}"))
            .color(ui.visuals().error_fg_color)
    };
    ui.label(summary.strong());
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.set_max_width(ui.available_width() - BAR_WIDTH);
        let error = ui.visuals().error_fg_color;
        sentences(ui, report, Verdict::Fail, |text| text.color(error));
        cases(ui, &report.cases);
        ui.add_space(8.0);
        sentences(ui, report, Verdict::Skipped, RichText::weak);
        let Report { version, kernel, elapsed_s, .. } = report;
        let made = format!("Bytes down / up. netglance {version}, Linux {kernel}, {elapsed_s:.1} s.");
        ui.label(RichText::new(made).small().weak());
        keys(ui);
    });
}

/// What the cases that ended so mean.
fn sentences(ui: &mut Ui, report: &Report, verdict: Verdict, style: impl Fn(RichText) -> RichText) {
    for case in report.cases.iter().filter(|case| case.verdict == verdict) {
        let Some(meaning) = &case.meaning else { continue };
        ui.label(style(RichText::new(format!("{} ({}): {meaning}", case.case, case.actor))));
    }
}

fn cases(ui: &mut Ui, cases: &[Case]) {
    let error = ui.visuals().error_fg_color;
    TableBuilder::new(ui)
        .striped(true)
        .vscroll(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(62.0))
        .column(Column::remainder().at_least(140.0).clip(true))
        .column(Column::exact(104.0).clip(true))
        .column(Column::exact(104.0).clip(true))
        .columns(Column::exact(160.0).clip(true), 2)
        .header(ROW_HEIGHT - 2.0, |mut header| {
            for title in ["Verdict", "Case", "Who", "Sent (payload)", "Expected (packets)", "Counted"] {
                header.col(|ui| _ = ui.label(RichText::new(title).small().weak()));
            }
        })
        .body(|body| {
            body.rows(ROW_HEIGHT, cases.len(), |mut row| {
                let Some(case) = cases.get(row.index()) else { return };
                let (verdict, colour) = match case.verdict {
                    Verdict::Pass => ("Right", None),
                    Verdict::Fail => ("WRONG", Some(error)),
                    Verdict::Skipped => ("Not tried", None),
                };
                let sent = case.sent.map(|sent| pair([sent.rx_bytes, sent.tx_bytes])).unwrap_or_default();
                let booked = |figures: Option<_>| figures.map(|figures| with_scope(&figures)).unwrap_or_default();
                let (expected, counted) = (booked(case.expected), booked(case.counted));
                for text in [verdict, &case.case, &case.actor, &sent, &expected, &counted] {
                    row.col(|ui| {
                        let text = RichText::new(text).size(13.0);
                        let text = colour.map_or(text.clone(), |colour| text.color(colour));
                        ui.add(Label::new(text).truncate());
                    });
                }
            });
        });
}

fn sockets(ui: &mut Ui, update: &Update, page: &update::ProofPage) {
    ui.label(
        "The open connections of what you watch, and what decided about each: the longest prefix that matches the address at \
         the other end. What no prefix matches is external. You can change the prefixes in the settings.",
    );
    if update.readings.is_empty() {
        ui.label(RichText::new("Nothing is watched yet: choose an application first.").strong());
        return;
    }
    if update.paused {
        ui.label(RichText::new("Paused in the tray: this is how it was when the page was opened.").strong());
    }
    ui.add_space(4.0);
    let mut all = Vec::new();
    for AppSockets { app, sockets } in &page.apps {
        match sockets {
            Ok(sockets) => {
                ui.label(RichText::new(count(app, sockets)).strong());
                all.extend(sockets);
            }
            Err(why) => {
                let text = format!("The connections of {app} can't be listed: {why}.");
                ui.label(RichText::new(text).color(ui.visuals().error_fg_color));
            }
        }
    }
    if all.iter().any(|socket| !socket.agrees()) {
        let text = "The helper's counters have the marked ones on the other side: the prefixes in your settings are not in the \
                    helper's. Change one in the settings, and the password hands all of them over.";
        ui.label(RichText::new(text).color(ui.visuals().warn_fg_color));
    }
    if !all.is_empty() {
        table(ui, &all);
    }
}

fn count(app: &str, sockets: &[SocketVerdict]) -> String {
    let of = |side| sockets.iter().filter(|socket| socket.scope == Some(side)).count();
    let (external, internal) = (of(Side::External), of(Side::Internal));
    let varies = sockets.len() - external - internal;
    format!("{app}: {external} external, {internal} internal, {varies} not connected")
}

fn table(ui: &mut Ui, sockets: &[&SocketVerdict]) {
    let warn = ui.visuals().warn_fg_color;
    let width = ui.available_width();
    TableBuilder::new(ui)
        .striped(true)
        .max_scroll_height(f32::INFINITY)
        .auto_shrink([false, true])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(width * 0.21).clip(true))
        .column(Column::exact(40.0))
        .column(Column::exact(width * 0.22).clip(true))
        .column(Column::exact(72.0))
        .column(Column::remainder().at_least(180.0).clip(true))
        .header(ROW_HEIGHT - 2.0, |mut header| {
            for title in ["Service", "", "Other end", "Counts as", "Why"] {
                header.col(|ui| _ = ui.label(RichText::new(title).small().weak()));
            }
        })
        .body(|mut body| {
            keys(body.ui_mut());
            body.rows(ROW_HEIGHT, sockets.len(), |mut row| {
                let Some(socket) = sockets.get(row.index()) else { return };
                for text in texts(socket) {
                    row.col(|ui| {
                        let text = RichText::new(text).size(13.0);
                        let text = if socket.agrees() { text } else { text.color(warn) };
                        ui.add(Label::new(text).truncate());
                    });
                }
            });
        });
}

fn texts(socket: &SocketVerdict) -> [String; 5] {
    let protocol = if socket.protocol == Protocol::Tcp { "TCP" } else { "UDP" };
    let remote = match (socket.remote, socket.port) {
        (Some(remote), Some(port)) => std::net::SocketAddr::new(remote, port).to_string(),
        _ => "–".to_owned(),
    };
    let scope = match socket.scope {
        Some(Side::External) => "External",
        Some(Side::Internal) => "Internal",
        None => "Varies",
    };
    let prefix = socket.prefix.as_deref().map(|prefix| format!("{prefix}: ")).unwrap_or_default();
    let proxy = socket.proxy.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    [socket.unit.clone(), protocol.to_owned(), remote, scope.to_owned(), format!("{prefix}{}{proxy}", socket.reason)]
}

/// Nothing in a table takes the focus, so the keys that scroll are its own.
fn keys(ui: &Ui) {
    let page = ui.clip_rect().height() - ROW_HEIGHT;
    let pressed = |key| ui.input(|i| i.num_presses(key));
    #[expect(clippy::cast_precision_loss, reason = "a few presses")]
    let times = |up, down| pressed(up) as f32 - pressed(down) as f32;
    let delta = times(Key::ArrowUp, Key::ArrowDown) * ROW_HEIGHT
        + times(Key::PageUp, Key::PageDown) * page
        + times(Key::Home, Key::End) * 1e6;
    if delta != 0.0 {
        ui.scroll_with_delta(vec2(0.0, delta));
    }
}
