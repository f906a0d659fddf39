//! The charts and what belongs to all of them: which time they show, and what can be done with them.

use std::collections::BTreeMap;

use eframe::egui::{Button, Label, Pos2, RichText, Ui, text_selection::LabelSelectionState};
use jiff::{Timestamp, civil::Weekday};

use super::{
    Window,
    choice::{self, Choice},
    graph::{Data, Graph, Moved},
    keys::Action,
    span::{SPANS, Source},
};
use crate::{
    base::{
        format::{self, Axis},
        settings::{Limit, Per},
    },
    keep::{
        calendar::{Calendar, Every},
        history::History,
    },
    look::reading::Reading,
    show::update::{Command, Update},
};

/// The spans and the buttons beside each other.
const CONTROLS_WIDTH: f32 = 474.0;
/// Of the button that shows a span, at its left and right.
const SPAN_PADDING: f32 = 5.0;
/// A key pans by this part of the span.
const KEY_PAN: f64 = 0.25;
/// A key zooms by this.
const KEY_ZOOM: f64 = 2.0;

/// How a chart stands in the window.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// Alone.
    One,
    /// Low, with its name and without times.
    OfSeveral {
        /// Where the figures of all are read off.
        pointer: Option<Pos2>,
        /// The wheel zooms, also without a key.
        wheel: bool,
    },
}

impl Window {
    /// The spans, and what can be done with the chart.
    pub(super) fn controls(&mut self, ui: &mut Ui, update: &Update) {
        let word = if update.paused {
            130.0
        } else if self.held.is_some() {
            60.0
        } else {
            0.0
        };
        let narrow = ui.available_width() < CONTROLS_WIDTH + word;
        ui.horizontal(|ui| {
            self.spans(ui);
            if !narrow {
                ui.separator();
                self.buttons(ui, update);
            }
        });
        if narrow {
            ui.horizontal(|ui| self.buttons(ui, update));
        }
    }

    fn spans(&mut self, ui: &mut Ui) {
        let (chosen, shown) = self.time.chosen();
        // None of them is shown after zooming, until one is chosen.
        let mut minutes = if shown { chosen } else { 0 };
        let spans =
            SPANS.map(|span| Choice { name: Some(span.name.to_owned()), ..Choice::new(span.minutes, span.short) });
        ui.scope(|ui| {
            ui.spacing_mut().button_padding.x = SPAN_PADDING;
            choice::radios(ui, "Time span", &mut minutes, &spans);
        });
        if minutes > 0 && (minutes != chosen || !shown) {
            self.show_span(minutes);
        }
    }

    fn buttons(&mut self, ui: &mut Ui, update: &Update) {
        let paused = update.paused;
        if !self.time.is_at_now() {
            if ui.button("Now").on_hover_text(format!("Back to now ({})", Action::Now.text())).clicked() {
                self.time.home();
            }
        } else {
            let label = if paused || self.held.is_some() { "Resume" } else { "Pause" };
            let hint = format!("Pause or resume the chart ({}); counting continues", Action::Pause.text());
            if ui.button(label).on_hover_text(hint).clicked() {
                self.toggle_pause(paused, update.shown());
            }
        }
        let menu = ui.menu_button("Export", |ui| {
            let item =
                |ui: &mut Ui, name, action: Action| ui.add(Button::new(name).shortcut_text(action.text())).clicked();
            if item(ui, "Copy Figures", Action::Copy) {
                self.copy_figures(ui, update.shown());
            }
            if item(ui, "Save Chart…", Action::Save) {
                self.save_chart(ui, update.shown());
            }
        });
        menu.response.on_hover_text("Copy the figures, or save the chart as a picture");
        let word = match (paused, self.held.is_some()) {
            (true, _) => "Paused in the tray",
            (_, true) => "Paused",
            _ => return,
        };
        ui.add(Label::new(RichText::new(word).strong()).truncate());
    }

    /// The chart of one app.
    pub(super) fn graph(&mut self, ui: &mut Ui, reading: &Reading, height: f32, part: Part) {
        let (low, pointer, wheel) = match part {
            Part::One => (false, None, true),
            Part::OfSeveral { pointer, wheel } => (true, pointer, wheel),
        };
        let Some((graph, axis)) = self.graph_of(reading, low) else { return };
        let of = if let Data::Slots(_, every) = graph.data { Some(every) } else { None };
        let now = graph.now;
        let (axis, moved) = graph.ui(ui, axis, height, pointer, wheel);
        if let Some(chart) = self.charts.get_mut(&reading.id) {
            chart.axis = Some((axis, of));
        }
        self.take_moved(ui, moved, now);
    }

    fn take_moved(&mut self, ui: &Ui, moved: Moved, now: Timestamp) {
        if moved == Moved::default() {
            return;
        }
        let calendar = self.calendar();
        if moved.home {
            self.time.home();
        }
        if moved.pan_secs != 0.0 {
            self.time.pan(moved.pan_secs, now, &calendar);
        }
        if let Some((factor, at)) = moved.zoom {
            self.time.zoom(factor, Some(at), now, &calendar);
        }
        ui.ctx().request_repaint();
    }

    /// Does what the keys of the chart say that were pressed.
    pub(super) fn chart_keys(&mut self, ui: &Ui) {
        let Some(update) = self.update.take() else { return };
        for span in Action::Span.pressed(ui).into_iter().filter_map(|at| SPANS.get(at)) {
            self.show_span(span.minutes);
        }
        let steps = |action: Action| action.pressed(ui).into_iter().map(|at| if at == 0 { -1 } else { 1 }).sum();
        // These are keys of the control that has the focus, if one has.
        if ui.memory(|m| m.focused()).is_none() {
            self.move_by_keys(update.shown(), steps(Action::Pan), 0);
            if Action::Pause.asked(ui) {
                self.toggle_pause(update.paused, update.shown());
            }
        }
        self.move_by_keys(update.shown(), 0, steps(Action::Zoom));
        if Action::Now.asked(ui) {
            self.time.home();
        }
        // What is selected in a text is copied by itself.
        let selected = ui.ctx().plugin_opt::<LabelSelectionState>().is_some_and(|state| state.lock().has_selection());
        if !selected && Action::Copy.asked(ui) {
            self.copy_figures(ui, update.shown());
        }
        if Action::Save.asked(ui) {
            self.save_chart(ui, update.shown());
        }
        self.update = Some(update);
    }

    /// Moves by keys: steps into the future, and steps closer.
    fn move_by_keys(&mut self, readings: &[Reading], pan: isize, zoom: isize) {
        let Some(reading) = readings.first() else { return };
        let (now, calendar) = (self.now(reading), self.calendar());
        let (from, to) = self.time.edges(now, &calendar);
        #[expect(clippy::cast_precision_loss, reason = "a few presses")]
        let (pan, zoom) = (pan as f64, zoom as f64);
        if pan != 0.0 {
            self.time.pan((to - from) * KEY_PAN * pan, now, &calendar);
        }
        if zoom != 0.0 {
            self.time.zoom(KEY_ZOOM.powf(zoom), None, now, &calendar);
        }
    }

    /// The times of all charts.
    pub(super) fn times(&self, ui: &mut Ui, reading: &Reading) {
        if let Some((graph, _)) = self.graph_of(reading, true) {
            graph.times_ui(ui);
        }
    }

    /// A chart to draw, and the axis that it had.
    pub(super) fn graph_of<'a>(&'a self, reading: &'a Reading, low: bool) -> Option<(Graph<'a>, Option<Axis>)> {
        let chart = self.charts.get(&reading.id)?;
        let held = self.held.as_ref().and_then(|held| held.get(&reading.id));
        let (history, reading) = held.map_or((&chart.history, reading), |(history, reading)| (history, reading));
        let (now, calendar) = (reading.time, self.calendar());
        let (data, of) = match self.time.source(&reading.id, now, &calendar) {
            Source::Live => {
                let rate = reading.rate.as_ref().ok().copied();
                (Data::Live { history, now_ns: reading.boottime_ns, rate }, None)
            }
            Source::Slots(slots, every) => (Data::Slots(slots, every), Some(every)),
            Source::Loading => (Data::Nothing("Loading…"), None),
            Source::Nothing(why) => (Data::Nothing(why), None),
            Source::Unrecorded if self.settings.record => (Data::Nothing("Nothing has been recorded yet."), None),
            Source::Unrecorded => (Data::Nothing("Recording is off. Turn it on in the settings."), None),
        };
        let graph = Graph {
            name: low.then_some(reading.app.as_str()),
            limit: self.limit(reading, of),
            data,
            span: self.time.edges(now, &calendar),
            at_now: self.time.follows(),
            now,
            zone: &self.zone,
            settings: &self.settings,
        };
        Some((graph, chart.axis.filter(|(_, before)| *before == of).map(|(axis, _)| axis)))
    }

    /// The lowest budget that belongs to the axis of a chart of slots, or of rates. One for metered networks has no line, because what
    /// is drawn is not all counted for it.
    pub(super) fn limit(&self, reading: &Reading, every: Option<Every>) -> Option<(f64, String)> {
        let of_app = |app: &Option<String>| match app {
            None => reading.id.is_empty(),
            Some(app) => !reading.id.is_empty() && (*app == reading.id || *app == reading.app),
        };
        let budgets = self.settings.budgets.iter().filter(|budget| !budget.metered && of_app(&budget.app));
        let limits = budgets.filter_map(|budget| match (budget.limit, every) {
            (Limit::Usage { bytes, per: Per::Day }, Some(Every::Day)) => {
                Some((bytes as f64, format!("Budget: {} a day", format::trimmed(&format::bytes(bytes)))))
            }
            (Limit::Usage { bytes, per: Per::Month }, Some(Every::Month)) => {
                Some((bytes as f64, format!("Budget: {} a month", format::trimmed(&format::bytes(bytes)))))
            }
            (Limit::Rate { bytes, .. }, None | Some(Every::Secs(_) | Every::Hour)) => {
                let rate = format::rate(bytes as f64, self.settings.unit);
                Some((bytes as f64, format!("Budget: {} in total", format::trimmed(&rate))))
            }
            _ => None,
        });
        limits.min_by(|(a, _), (b, _)| a.total_cmp(b))
    }

    /// Asks the program for what is to be shown and isn't here, but for one thing at a time.
    pub(super) fn ask_for_the_past(&mut self, readings: &[Reading]) {
        let Some(reading) = readings.first() else { return };
        let (now, calendar) = (self.now(reading), self.calendar());
        let apps: Vec<String> = readings.iter().map(|reading| reading.id.clone()).filter(|id| !id.is_empty()).collect();
        if let Some(query) = self.time.ask(&apps, now, &calendar) {
            self.send(Command::Past(query));
        }
    }

    /// The right edge while nobody pans: of the picture that is held, or the latest look.
    fn now(&self, reading: &Reading) -> Timestamp {
        self.held.as_ref().and_then(|held| held.get(&reading.id)).map_or(reading.time, |(_, reading)| reading.time)
    }

    fn calendar(&self) -> Calendar {
        // No span of a chart is a week of the calendar.
        Calendar { zone: self.zone.clone(), first_weekday: Weekday::Monday, billing_day: self.settings.billing_day }
    }

    pub(super) fn show_span(&mut self, minutes: u32) {
        if self.time.choose(minutes) {
            self.send(Command::Span(minutes));
        }
    }

    pub(super) fn toggle_pause(&mut self, paused: bool, readings: &[Reading]) {
        if paused {
            return self.send(Command::Pause(false));
        }
        self.held = match self.held {
            Some(_) => None,
            None => Some(self.picture(readings)),
        };
    }

    fn picture(&self, readings: &[Reading]) -> BTreeMap<String, (History, Reading)> {
        let held = |reading: &Reading| {
            let chart = self.charts.get(&reading.id)?;
            Some((reading.id.clone(), (chart.history.clone(), reading.clone())))
        };
        readings.iter().filter_map(held).collect()
    }
}
