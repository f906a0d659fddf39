//! The proof page, in place of everything else: a self-test that external traffic is counted and internal traffic is not, and the
//! open connections with the reason why each is external or internal. It runs and reads nothing itself.

use eframe::egui::{Align, Button, Color32, FontId, Label, Layout, RichText, ScrollArea, Ui};
use egui_extras::{Column, TableBuilder};

use super::{
    choice::{self, Choice},
    keys::Action,
};
use crate::{
    advise::verify::{Case, Outcome as Verdict, Report, pair, with_scope},
    look::{
        live::{Side, SocketVerdict},
        sampler::Protocol,
    },
    show::update::{self, AppSockets, Proof, Update},
};

/// What the button is called.
const PROVE: &str = "Run Self-Test…";
const ROW_HEIGHT: f32 = 24.0;
const TEXT_SIZE: f32 = 13.0;
const PROTOCOL_WIDTH: f32 = 32.0;
const SCOPE_WIDTH: f32 = 66.0;
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
            let tabs = [Choice::new(Tab::Proof, "Self-Test"), Choice::new(Tab::Sockets, "Connections")];
            choice::tabs(ui, "Proof", &mut self.tab, &tabs);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                outcome.close = ui.button("Close").on_hover_text(Action::Close.text()).clicked();
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
        "Checks on this computer that external traffic is counted and internal traffic is not. netglance creates two \
         temporary networks, sends known amounts of data between internal and external addresses, and compares them with \
         what is counted. No packet leaves this computer, and nothing is changed. This needs an administrator's password \
         and takes a few seconds.",
    );
    ui.add_space(4.0);
    let running = proof == Some(&Proof::Running);
    let pressed = ui
        .horizontal(|ui| {
            let pressed = ui.add_enabled(!running, Button::new(PROVE)).clicked();
            if running {
                ui.label("Waiting for the password, then testing for a few seconds…");
            }
            pressed
        })
        .inner;
    ui.add_space(4.0);
    match proof {
        None | Some(Proof::Running) => {}
        Some(Proof::Failed(why)) => {
            ui.label(RichText::new(format!("The self-test failed to run: {why}.")).color(ui.visuals().error_fg_color));
        }
        Some(Proof::Done(report)) => done(ui, report),
    }
    pressed
}

fn done(ui: &mut Ui, report: &Report) {
    let of = |verdict| report.cases.iter().filter(|case| case.verdict == verdict).count();
    let (right, wrong, skipped) = (of(Verdict::Pass), of(Verdict::Fail), of(Verdict::Skipped));
    let tried = right + wrong;
    let skipped = if skipped == 0 { String::new() } else { format!(" {skipped} could not be run here.") };
    let summary = if wrong == 0 {
        RichText::new(format!(
            "{right} of {tried} cases passed: external traffic is counted, internal traffic is not.{skipped}"
        ))
    } else {
        RichText::new(format!("{wrong} of {tried} cases FAILED: do not rely on the figures.{skipped}"))
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
        super::scroll_by_keys(ui);
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
            for title in ["Result", "Case", "Application", "Sent (Payload)", "Expected (Packets)", "Counted"] {
                header.col(|ui| _ = ui.label(RichText::new(title).small().weak()));
            }
        })
        .body(|body| {
            body.rows(ROW_HEIGHT, cases.len(), |mut row| {
                let Some(case) = cases.get(row.index()) else { return };
                let (verdict, colour) = match case.verdict {
                    Verdict::Pass => ("Passed", None),
                    Verdict::Fail => ("FAILED", Some(error)),
                    Verdict::Skipped => ("Not run", None),
                };
                let sent = case.sent.map(|sent| pair([sent.rx_bytes, sent.tx_bytes])).unwrap_or_default();
                let booked = |figures: Option<_>| figures.map(|figures| with_scope(&figures)).unwrap_or_default();
                let (expected, counted) = (booked(case.expected), booked(case.counted));
                for text in [verdict, &case.case, &case.actor, &sent, &expected, &counted] {
                    row.col(|ui| {
                        let text = RichText::new(text).size(TEXT_SIZE);
                        let text = colour.map_or(text.clone(), |colour| text.color(colour));
                        ui.add(Label::new(text).truncate());
                    });
                }
            });
        });
}

fn sockets(ui: &mut Ui, update: &Update, page: &update::ProofPage) {
    ui.label(
        "The open connections of the applications shown, and why each counts as external or internal. The most specific \
         prefix that contains the remote address decides. An address that no prefix contains is external. You can add \
         prefixes in the settings.",
    );
    if update.shown().is_empty() {
        ui.label(RichText::new("No application is shown.").strong());
        return;
    }
    if update.paused {
        ui.label(RichText::new("Paused in the tray: this is the state when the page was opened.").strong());
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
                let text = format!("The connections of {app} cannot be listed: {why}.");
                ui.label(RichText::new(text).color(ui.visuals().error_fg_color));
            }
        }
    }
    if all.iter().any(|socket| !socket.agrees()) {
        let text = "The exact counters treat the highlighted connections differently, because they do not use the prefixes in \
                    your settings. To apply all of your prefixes, change one of them in the settings and enter the password.";
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
    let width = ui.available_width() - BAR_WIDTH;
    let (service, remote) = (width * 0.18, width * 0.21);
    let why = width - service - PROTOCOL_WIDTH - remote - SCOPE_WIDTH - 4.0 * ui.spacing().item_spacing.x;
    // The explanation is read in full: it takes as many lines as it needs.
    let font = FontId::proportional(TEXT_SIZE);
    let lines = |text: &str| ui.painter().layout(text.to_owned(), font.clone(), Color32::PLACEHOLDER, why).size().y;
    let heights: Vec<f32> = sockets.iter().map(|s| ROW_HEIGHT.max(lines(&explanation(s)) + 8.0)).collect();
    TableBuilder::new(ui)
        .striped(true)
        .max_scroll_height(f32::INFINITY)
        .auto_shrink([false, true])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(service).clip(true))
        .column(Column::exact(PROTOCOL_WIDTH))
        .column(Column::exact(remote).clip(true))
        .column(Column::exact(SCOPE_WIDTH))
        .column(Column::exact(why))
        .header(ROW_HEIGHT - 2.0, |mut header| {
            for title in ["Service", "", "Remote Address", "Counts As", "Why"] {
                header.col(|ui| _ = ui.label(RichText::new(title).small().weak()));
            }
        })
        .body(|mut body| {
            super::scroll_by_keys(body.ui_mut());
            body.heterogeneous_rows(heights.into_iter(), |mut row| {
                let Some(socket) = sockets.get(row.index()) else { return };
                let styled = |text: String| {
                    let text = RichText::new(text).size(TEXT_SIZE);
                    if socket.agrees() { text } else { text.color(warn) }
                };
                for text in texts(socket) {
                    row.col(|ui| _ = ui.add(Label::new(styled(text)).truncate()));
                }
                row.col(|ui| _ = ui.add(Label::new(styled(explanation(socket))).wrap()));
            });
        });
}

fn texts(socket: &SocketVerdict) -> [String; 4] {
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
    [socket.unit.clone(), protocol.to_owned(), remote, scope.to_owned()]
}

/// Why it counts as what it does.
fn explanation(socket: &SocketVerdict) -> String {
    let prefix = socket.prefix.as_deref().map(|prefix| format!("{prefix}: ")).unwrap_or_default();
    let proxy = socket.proxy.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{prefix}{}{proxy}", socket.reason)
}
