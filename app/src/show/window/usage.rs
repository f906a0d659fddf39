//! The Usage page, in place of all else: how much each app moved in a period, and how far the budgets are used up. It asks the
//! program for the figures and reads nothing itself.

pub(super) mod row;
mod table;

use eframe::egui::{Align, CentralPanel, Frame, Layout, Margin, Rect, RichText, ScrollArea, Ui, UiBuilder, vec2};
use jiff::{Timestamp, ZonedDateTime, civil::Date, tz::TimeZone};
use table::Table;

use super::{
    Window, budgets,
    choice::{self, Choice},
    field::Dates,
    forget::{Answer, Forgetting},
    keys::Action,
};
use crate::{
    base::{format, settings::Settings},
    keep::{calendar::Period, usage::Usage},
    show::update::{Command, Update},
};

/// What budgets and networks may take of the page from a long table.
const BELOW_SHARE: f32 = 0.4;
const BELOW_TITLE: f32 = 26.0;
/// Of the networks beside the budgets.
const NETWORKS_SHARE: f32 = 0.46;
const BETWEEN: f32 = 20.0;
/// At the right of it all, for the scroll bar.
const BAR_WIDTH: f32 = 12.0;
const TURN_ON: &str = "Turn On Recording";

/// What the page remembers between two frames.
pub struct UsagePage {
    /// `None`: days of the person's own.
    choice: Option<Period>,
    /// `None`: none are typed.
    dates: Option<Dates>,
    /// What was asked for last.
    asked: Period,
    /// The answer to that; `None`: it is under way.
    answer: Option<Answered>,
    table: Table,
    forgetting: Option<Forgetting>,
    /// The table that is shown was copied.
    copied: bool,
}

/// An answer, ready to be drawn.
struct Answered {
    /// What is wrong, worded for a person.
    error: Option<String>,
    span: (i64, i64),
    since: Option<i64>,
    /// Says which days these are, and since when there are records where that is within them.
    days: String,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is asked for.
    pub wishes: Vec<Command>,
    /// Recording is to be turned on.
    pub record: bool,
    /// The app to show instead of this page, by its id.
    pub app: Option<String>,
    /// The page is done with.
    pub close: bool,
}

impl UsagePage {
    /// Opens with this period.
    pub fn new(period: Period) -> Self {
        Self {
            choice: Some(period),
            dates: None,
            asked: period,
            answer: None,
            table: Table::default(),
            forgetting: None,
            copied: false,
        }
    }

    /// A dialog is open.
    pub fn asks(&self) -> bool {
        self.forgetting.is_some()
    }

    /// Takes what a beat says of the period.
    pub fn receive(&mut self, update: &Update, zone: &TimeZone) {
        let Some(usage) = update.usage.as_ref().filter(|usage| usage.period == self.asked) else { return };
        let error = usage.apps.as_ref().err().cloned();
        let days = days(usage.span, usage.since, zone);
        let apps = usage.apps.as_deref().unwrap_or_default();
        self.copied &= !self.table.receive(apps, &usage.networks);
        self.answer = Some(Answered { error, span: usage.span, since: usage.since, days });
    }

    /// Draws the page.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &Settings, zone: &TimeZone) -> Outcome {
        let mut outcome = Outcome::default();
        self.head(ui, &mut outcome);
        ui.separator();
        if self.choice.is_some() {
            self.dates = None;
        }
        let wanted = self.choice.or_else(|| self.own_days(ui, update, zone));
        if let Some(period) = wanted.filter(|period| *period != self.asked) {
            self.ask(period, &mut outcome);
        }
        self.status(ui, settings, &mut outcome);
        // They have what the table leaves of the room, and this part of it where that would fill more.
        let left = ui.available_height() - self.table.height() - ui.spacing().item_spacing.y;
        let below = self.below_height(update).min(left.max(ui.available_height() * BELOW_SHARE));
        let size = vec2(ui.available_width(), ui.available_height() - below - ui.spacing().item_spacing.y);
        ui.allocate_ui(size, |ui| {
            ui.set_min_size(size);
            self.apps(ui, update, settings, &mut outcome);
        });
        if below > 0.0 {
            ScrollArea::vertical().id_salt("below").auto_shrink([false, false]).show(ui, |ui| {
                self.below(ui, update, settings, zone);
            });
        }
        if let Some(forgetting) = &mut self.forgetting
            && let Some(answer) = forgetting.ui(ui)
        {
            self.forgetting = None;
            if let Answer::Yes(forget) = answer {
                outcome.wishes.push(forget);
            }
        }
        outcome
    }

    /// The title, the periods, and what can be done.
    fn head(&mut self, ui: &mut Ui, outcome: &mut Outcome) {
        ui.horizontal(|ui| {
            ui.heading("Usage");
            ui.add_space(4.0);
            let periods = [
                (Some(Period::Today), "Today"),
                (Some(Period::Yesterday), "Yesterday"),
                (Some(Period::ThisWeek), "This Week"),
                (Some(Period::ThisMonth), "This Month"),
                (Some(Period::LastMonth), "Last Month"),
                (None, "Custom…"),
            ];
            let periods = periods.map(|(period, name)| Choice::new(period, name));
            choice::radios(ui, "Period", &mut self.choice, &periods);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                outcome.close = ui.button("Close").on_hover_text(Action::Close.text()).clicked();
                let hint = "Copy the table for a spreadsheet, with exact byte counts";
                let copy = if self.copied { "Copied" } else { "Copy" };
                if !self.table.is_empty() && ui.button(copy).on_hover_text(hint).clicked() {
                    ui.ctx().copy_text(self.table.text());
                    self.copied = true;
                }
            });
        });
    }

    /// The fields of the person's own days, which begin with what was shown before. The days, if they are right.
    fn own_days(&mut self, ui: &mut Ui, update: &Update, zone: &TimeZone) -> Option<Period> {
        let answer = self.answer.as_ref();
        let dates = self.dates.get_or_insert_with(|| {
            let Some((from, to)) = answer.map(|answer| answer.span) else { return Dates::default() };
            let [first, last] = [from, to - 1].map(|secs| at(secs, zone).date());
            Dates::new(first, last.min(today(update, zone).max(first)))
        });
        dates.ui(ui).map(|(first, last)| Period::Days(first, last))
    }

    fn ask(&mut self, period: Period, outcome: &mut Outcome) {
        self.asked = period;
        self.answer = None;
        self.copied = false;
        self.table.receive(&[], &[]);
        outcome.wishes.push(Command::Usage(Some(period)));
    }

    /// Which days these are, and whether more is recorded.
    fn status(&self, ui: &mut Ui, settings: &Settings, outcome: &mut Outcome) {
        ui.horizontal(|ui| {
            let days = self.answer.as_ref().map_or("", |answer| answer.days.as_str());
            ui.label(RichText::new(days).weak());
            if !settings.record && !self.table.is_empty() {
                ui.separator();
                ui.label(RichText::new("Recording is off.").strong());
                outcome.record = ui.button(TURN_ON).clicked();
            }
        });
    }

    /// The table of all apps, or why there is none.
    fn apps(&mut self, ui: &mut Ui, update: &Update, settings: &Settings, outcome: &mut Outcome) {
        let Some(answer) = &self.answer else {
            let reading = || "Reading the history…".to_owned();
            empty(ui, "", &update.history_error.as_deref().map_or_else(reading, format::sentence));
            return;
        };
        if let Some(error) = &answer.error {
            return empty(ui, "", &format::sentence(error));
        }
        if !self.table.is_empty() {
            let shown = self.table.ui(ui, update, settings);
            outcome.app = shown.app;
            if let Some((id, name)) = shown.forget {
                self.forgetting = Some(Forgetting::App { id, name });
            }
            return;
        }
        match (answer.since, settings.record) {
            (_, false) => {
                let text = "When it is on, netglance records how much each application downloads and uploads, and on which \
                            network. It never records content.";
                empty(ui, "Recording is off", text);
                ui.vertical_centered(|ui| outcome.record = ui.button(TURN_ON).clicked());
            }
            (None, true) => {
                empty(ui, "Nothing has been recorded yet", "The first figures appear here in a few seconds.");
            }
            (Some(since), true) if since >= answer.span.1 => {
                empty(ui, "Nothing was recorded in this period", "Recording began later.");
            }
            (Some(_), true) => {
                let text = "Either no application used the network, or netglance was not running.";
                empty(ui, "No traffic was recorded in this period", text);
            }
        }
    }

    /// How much room the budgets and the networks want.
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    fn below_height(&self, update: &Update) -> f32 {
        let budgets = update.settings.budgets.len().min(update.budgets.len()) as f32 * budgets::BAR_ROW;
        let networks = self.table.networks_height();
        let most = budgets.max(networks);
        if most > 0.0 { BELOW_TITLE + most } else { 0.0 }
    }

    /// The budgets, and beside them the networks.
    fn below(&self, ui: &mut Ui, update: &Update, settings: &Settings, zone: &TimeZone) {
        let mut left = ui.available_rect_before_wrap();
        left.max.x -= BAR_WIDTH;
        if self.table.networks_height() > 0.0 {
            let mut right = left;
            if !update.budgets.is_empty() {
                right.min.x = right.max.x - right.width() * NETWORKS_SHARE;
                left.max.x = right.min.x - BETWEEN;
            }
            part(ui, right, "Networks", |ui| self.table.networks(ui));
        }
        if !update.budgets.is_empty() {
            part(ui, left, "Budgets", |ui| budgets::bars(ui, update, settings, zone));
        }
    }
}

impl Window {
    pub(super) fn usage_page(&mut self, ui: &mut Ui, update: &Update) {
        let Some(mut page) = self.usage_page.take() else { return };
        let inside = Frame::new().inner_margin(Margin::same(16));
        let shown =
            CentralPanel::default().frame(inside).show(ui, |ui| page.ui(ui, update, &self.settings, &self.zone));
        self.usage_page = Some(page);
        let outcome = shown.inner;
        outcome.wishes.into_iter().for_each(|wish| self.send(wish));
        if outcome.record {
            self.choose_settings(ui.ctx(), Settings { record: true, ..self.settings.clone() });
        }
        if outcome.close || outcome.app.is_some() {
            self.close_pages();
        }
        if let Some(id) = outcome.app {
            self.send(Command::Watch(vec![id]));
        }
    }

    /// Opens the page with this period.
    pub(super) fn open_usage(&mut self, period: Period) {
        self.close_pages();
        self.usage_page = Some(UsagePage::new(period));
        self.send(Command::Usage(Some(period)));
    }
}

/// A title, and what belongs to it.
fn part(ui: &mut Ui, rect: Rect, title: &str, content: impl FnOnce(&mut Ui)) {
    ui.scope_builder(UiBuilder::new().max_rect(rect).id_salt(title), |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        ui.allocate_ui(vec2(ui.available_width(), BELOW_TITLE), |ui| {
            ui.set_min_height(BELOW_TITLE);
            ui.label(RichText::new(title).strong());
        });
        content(ui);
    });
}

/// What stands there in place of the table.
fn empty(ui: &mut Ui, title: &str, text: &str) {
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.3);
        if !title.is_empty() {
            ui.heading(title);
            ui.add_space(2.0);
        }
        ui.label(text);
    });
}

/// How much of it is not exact.
pub(super) fn estimate(usage: Usage) -> Option<String> {
    match (usage.estimate_bytes, usage.external().saturating_add(usage.internal())) {
        (0, _) => None,
        (part, all) if part >= all => Some("All of it is an estimate.".to_owned()),
        (part, _) => Some(format!("{} of this is an estimate.", format::bytes(part))),
    }
}

fn at(secs: i64, zone: &TimeZone) -> ZonedDateTime {
    ZonedDateTime::new(Timestamp::from_second(secs).unwrap_or_default(), zone.clone())
}

fn today(update: &Update, zone: &TimeZone) -> Date {
    let now = update.shown().first().map_or_else(Timestamp::now, |reading| reading.time);
    ZonedDateTime::new(now, zone.clone()).date()
}

/// The days of a span, and since when there are records where that is not all of it.
fn days((from, to): (i64, i64), since: Option<i64>, zone: &TimeZone) -> String {
    let day = |secs| at(secs, zone).strftime("%-d %b %Y").to_string();
    let (first, last) = (day(from), day(to - 1));
    let days = if first == last { first } else { format!("{first} – {last}") };
    match since {
        Some(since) if since > from => {
            format!("{days}. Recorded since {}.", at(since, zone).strftime("%-d %b %Y, %H:%M"))
        }
        _ => days,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::rate::Bytes;

    #[test]
    fn a_span_is_told_in_days() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let secs = |time: &str| time.parse::<Timestamp>().unwrap().as_second();
        let month = (secs("2026-10-31T23:00:00Z"), secs("2026-11-30T23:00:00Z"));
        let day = (month.0, secs("2026-11-01T23:00:00Z"));
        assert_eq!(days(month, Some(month.0), &zone), "1 Nov 2026 – 30 Nov 2026");
        assert_eq!(days(day, None, &zone), "1 Nov 2026");
        let since = Some(secs("2026-11-03T13:05:09Z"));
        assert_eq!(days(month, since, &zone), "1 Nov 2026 – 30 Nov 2026. Recorded since 3 Nov 2026, 14:05.");
    }

    #[test]
    fn what_is_estimated_is_said() {
        let usage = |estimate_bytes| Usage {
            bytes: Bytes { rx: 2_000_000_000, tx: 500_000_000, internal_rx: 500_000_000, internal_tx: 0 },
            estimate_bytes,
        };
        assert_eq!(estimate(usage(0)), None);
        assert_eq!(estimate(usage(1_200_000_000)).unwrap(), "1.20 GB of this is an estimate.");
        assert_eq!(estimate(usage(3_000_000_000)).unwrap(), "All of it is an estimate.");
    }
}
