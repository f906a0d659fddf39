//! Messages above and below everything: what is wrong with the settings or the counting, how to get exact figures, what became of a
//! request, and that there is no tray. Each can be dismissed, except the last.

use eframe::egui::{Align, Button, Color32, Frame, Label, Layout, Margin, Panel, RichText, Ui, WidgetText};

use super::sections::Offer;
use crate::{
    base::format,
    look::{
        reading::Reading,
        sampler::{Exact, Source, grants::Grant},
        services,
    },
    show::update::{Command, Update},
};

/// What a person has put away.
#[derive(Debug, Default)]
pub struct Bars {
    settings_error: Option<String>,
    history_error: Option<String>,
    warning: Option<String>,
    notice: Option<String>,
    confirm: Option<String>,
    /// "Not Now": the button stays in the settings.
    banner: bool,
}

/// What the button is called everywhere.
pub const COUNT_EXACTLY: &str = "Count Exactly…";
/// What agrees to the kernel's bug.
pub const COUNT_ANYWAY: &str = "Count Anyway";
/// What a person gives and gets for it.
pub const WHAT_IT_TAKES: &str = "Needs an administrator's password once. Only byte counts are recorded, never content.";
/// What stands there while a person is asked.
pub const WAITING: &str = "Waiting for the password…";

/// Why there are no exact figures. Some reasons are a sentence of the bus or of systemd, with a full stop of its own.
pub fn not_working(why: &str) -> String {
    format::sentence(&format!("Exact counting is not working: {why}"))
}

impl Bars {
    /// Lets a new answer be seen though an equal one was put away.
    pub fn receive(&mut self, update: &Update) {
        if update.asking || update.notice.is_none() {
            self.notice = None;
        }
        if update.asking || update.confirm.is_none() {
            self.confirm = None;
        }
        if update.warning.is_none() {
            self.warning = None;
        }
        if update.settings_error.is_none() {
            self.settings_error = None;
        }
        if update.history_error.is_none() {
            self.history_error = None;
        }
    }

    /// The lines over and under everything, one of which may ask something.
    pub fn around(&mut self, ui: &mut Ui, update: &Update) -> Option<Command> {
        let warn = ui.visuals().warn_fg_color.gamma_multiply(0.25);
        let error = update.settings_error.as_ref().filter(|error| self.settings_error.as_ref() != Some(error));
        if let Some(error) = error
            && line(
                ui,
                "settings error",
                warn,
                &format!("{error}. The previous settings are used until this is corrected."),
            )
        {
            self.settings_error = Some(error.clone());
        }
        let error = update.history_error.as_ref().filter(|error| self.history_error.as_ref() != Some(error));
        if let Some(error) = error
            && line(ui, "history error", warn, &format::sentence(error))
        {
            self.history_error = Some(error.clone());
        }
        let warning = update.warning.as_ref().filter(|warning| self.warning.as_ref() != Some(warning));
        if let Some(warning) = warning
            && line(ui, "warning", warn, warning)
        {
            self.warning = Some(warning.clone());
        }
        let notice = update.notice.as_ref().filter(|notice| self.notice.as_ref() != Some(notice));
        let quiet = ui.visuals().selection.bg_fill.gamma_multiply(0.5);
        if let Some(notice) = notice
            && line(ui, "notice", quiet, notice)
        {
            self.notice = Some(notice.clone());
        }
        let confirm = update.confirm.as_ref().filter(|why| !update.asking && self.confirm.as_ref() != Some(why));
        let wish = confirm.and_then(|why| {
            let answer = question(ui, warn, &format::sentence(why))?;
            self.confirm = Some(why.clone());
            Some(if answer { Command::CountAnyway } else { Command::KeepEstimate(why.clone()) })
        });
        if !update.tray {
            let fill = ui.visuals().widgets.inactive.weak_bg_fill;
            let frame = Frame::new().fill(fill).inner_margin(Margin::symmetric(12, 5));
            Panel::bottom("no tray").frame(frame).show_separator_line(false).show(ui, |ui| {
                ui.label(RichText::new("Your desktop has no tray, so closing this window quits netglance.").small());
            });
        }
        wish
    }

    /// How to have exact figures, or why there are none.
    pub fn banner(&mut self, ui: &mut Ui, update: &Update) -> Option<Command> {
        if let Some(wish) = offer(ui, update) {
            return wish;
        }
        let estimate = update.shown().iter().any(|reading| reading.source == Source::Estimate);
        if !estimate || self.banner && !update.asking || update.exact == Exact::Counting {
            return None;
        }
        let frame = Frame::new().fill(ui.visuals().faint_bg_color).corner_radius(6.0);
        let mut wish = None;
        frame.inner_margin(Margin::symmetric(10, 6)).show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            if let (Exact::Failed(why), false) = (&update.exact, update.asking) {
                let colour = ui.visuals().warn_fg_color;
                let why = format!("{} Until it works again, the figures are an estimate, TCP only.", not_working(why));
                self.banner = dismissible(ui, RichText::new(why).color(colour).into());
                return;
            }
            ui.horizontal_wrapped(|ui| {
                if update.asking {
                    ui.add_enabled(false, Button::new(COUNT_EXACTLY));
                    ui.label(WAITING);
                    return;
                }
                ui.label(RichText::new("Estimate, TCP only.").strong());
                if ui.button(COUNT_EXACTLY).clicked() {
                    wish = Some(Command::CountExactly);
                }
                self.banner = ui.button("Not Now").clicked();
            });
            ui.label(RichText::new(WHAT_IT_TAKES).small());
        });
        wish
    }
}

/// How to have exact figures of a system service that is watched. `None`: they are exact, or not to be had; otherwise what is
/// asked for, if anything.
fn offer(ui: &mut Ui, update: &Update) -> Option<Option<Command>> {
    let is_estimate =
        |reading: &Reading| reading.source == Source::Estimate && services::unit_of_id(&reading.id).is_some();
    let offer = Offer::of(update, Grant::SystemServices).filter(|_| update.readings.iter().any(is_estimate))?;
    let frame = Frame::new().fill(ui.visuals().faint_bg_color).corner_radius(6.0);
    let pressed = frame.inner_margin(Margin::symmetric(10, 6)).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        let pressed = ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new("Estimate, TCP only.").strong());
            offer.press(ui)
        });
        ui.label(RichText::new(offer.takes()).small());
        pressed.inner
    });
    Some(pressed.inner.then_some(Command::Authorise(offer.grant)))
}

/// Asks whether to count although the kernel has a bug. `None`: not answered yet.
fn question(ui: &mut Ui, fill: Color32, why: &str) -> Option<bool> {
    let frame = Frame::new().fill(fill).inner_margin(Margin::symmetric(12, 8));
    let panel = Panel::top("confirm").frame(frame).show_separator_line(false);
    let shown = panel.show(ui, |ui| {
        ui.add(Label::new(why).wrap());
        ui.horizontal(|ui| {
            let anyway = ui.button(COUNT_ANYWAY).clicked();
            let not_now = ui.button("Keep the Estimate").clicked();
            (anyway || not_now).then_some(anyway)
        })
        .inner
    });
    shown.inner
}

/// A line over everything. Whether it was put away.
fn line(ui: &mut Ui, id: &str, fill: Color32, text: &str) -> bool {
    let frame = Frame::new().fill(fill).inner_margin(Margin::symmetric(12, 8));
    let panel = Panel::top(id.to_owned()).frame(frame).show_separator_line(false);
    panel.show(ui, |ui| dismissible(ui, text.into())).inner
}

/// A text, and a button at its right that puts it away. Whether that was pressed.
fn dismissible(ui: &mut Ui, text: WidgetText) -> bool {
    let line = ui.horizontal(|ui| {
        let right_to_left = Layout::right_to_left(Align::Center);
        ui.with_layout(right_to_left, |ui| {
            let dismiss = ui.button("Dismiss");
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| ui.add(Label::new(text).wrap()));
            dismiss.clicked()
        })
        .inner
    });
    line.inner
}
