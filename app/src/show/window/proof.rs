//! The proof page, in place of everything else: a self-test that external traffic is counted and internal traffic is not. It runs
//! and reads nothing itself.

use eframe::egui::{Align, Button, Label, Layout, RichText, ScrollArea, Ui};
use egui_extras::{Column, TableBuilder};

use super::keys::Action;
use crate::{
    advise::verify::{Case, Outcome as Verdict, Report, pair, with_scope},
    show::update::{Proof, Update},
};

/// What the button is called.
const PROVE: &str = "Run Self-Test…";
const ROW_HEIGHT: f32 = 24.0;
const TEXT_SIZE: f32 = 13.0;
/// At the right of it all, for the scroll bar.
const BAR_WIDTH: f32 = 12.0;

/// The page. It remembers nothing between two frames.
#[derive(Debug)]
pub struct ProofPage;

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The proof is asked for.
    pub prove: bool,
    /// The page is done with.
    pub close: bool,
}

impl ProofPage {
    /// Draws the page.
    pub fn ui(ui: &mut Ui, update: &Update) -> Outcome {
        let mut outcome = Outcome::default();
        ui.horizontal(|ui| {
            ui.heading("Proof");
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                outcome.close = ui.button("Close").on_hover_text(Action::Close.text()).clicked();
            });
        });
        ui.separator();
        outcome.prove = proof(ui, update.proof.as_ref().and_then(|page| page.proof.as_ref()));
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
