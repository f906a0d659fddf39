//! The Connections page, in place of all else: whom the apps that are shown talk to, and how much. It reads nothing itself: while it is open,
//! updates say which remotes there are and what has changed.

mod copy;
mod kept;
mod past;
mod row;
mod table;
pub mod view;
mod words;

use std::collections::BTreeMap;

use eframe::egui::{
    Align, CentralPanel, Color32, Frame, Label, Layout, Margin, RichText, TextEdit, TextStyle, Ui,
    text_selection::LabelSelectionState, vec2,
};
use kept::Kept;
use table::Table;
use view::{By, Key, Part, View};

use super::{
    Chart, Window,
    choice::{self, Choice},
    graph::{Data, Graph},
    keys::Action,
    span::SPANS,
};
use crate::{
    base::format::{self, Axis},
    keep::history::{History, KEPT_SECS, Point},
    look::{rate::Rate, reading::Reading, sampler::Source},
    show::{
        chart::seconds,
        update::{Command, Update},
    },
};

/// At the right of it all, for the scroll bar.
const BAR_WIDTH: f32 = 12.0;
/// What the chart has of the room, and what it needs.
const CHART_SHARE: f32 = 0.3;
const CHART_MIN_HEIGHT: f32 = 84.0;
const FIELD_WIDTH: f32 = 210.0;
/// For so long the button says that it was copied.
const COPIED_NS: u64 = 3_000_000_000;
const SHOW_ALL: &str = "Show All";
/// Of the button that shows a span, at its left and right.
const SPAN_PADDING: f32 = 5.0;
/// How many of the spans have live rates.
const LIVE_SPANS: usize = 3;

/// What the page remembers between two frames.
pub struct ConnectionsPage {
    kept: Kept,
    view: View,
    table: Table,
    /// The row that is shown alone, and what it is called.
    chosen: Option<(Key, String)>,
    /// What the chart shows where no app's own history does: the row, or several apps together.
    history: History,
    /// It has to be made anew.
    is_stale: bool,
    /// The axis that was shown last.
    axis: Option<Axis>,
    /// What the chart shows, in minutes.
    minutes: u32,
    /// The field is to have the focus.
    find: bool,
    /// When it was copied, in `CLOCK_BOOTTIME` of the latest look.
    copied_ns: Option<u64>,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The page is done with.
    pub close: bool,
}

impl ConnectionsPage {
    /// Opens with this part of the remotes, and a chart of so many minutes.
    fn new(part: Part, minutes: u32) -> Self {
        let live = SPANS.iter().take(LIVE_SPANS).any(|span| span.minutes == minutes);
        Self {
            kept: Kept::default(),
            view: View::new(part),
            table: Table::default(),
            chosen: None,
            history: History::default(),
            is_stale: true,
            axis: None,
            minutes: if live { minutes } else { 1 },
            find: false,
            copied_ns: None,
        }
    }

    /// Takes what a beat says. `charts`: what is known of the apps' past.
    pub(super) fn receive(&mut self, update: &Update, charts: &BTreeMap<String, Chart>) {
        self.kept.receive(update);
        if self.view.refresh(&self.kept, self.table.hovered) {
            self.table.renew();
        }
        // What is hidden by a search is still shown alone.
        if let Some((key, _)) = &self.chosen
            && !self.view.has(&self.kept, key)
        {
            self.choose(None);
        }
        self.make_history(update.shown(), charts);
        self.is_stale = false;
    }

    /// Clears what is searched for, or else shows all again. Whether there was any of it.
    pub(super) fn step_back(&mut self) -> bool {
        if !self.view.search.is_empty() {
            self.view.search.clear();
            return true;
        }
        let chosen = self.chosen.is_some();
        self.choose(None);
        chosen
    }

    fn choose(&mut self, chosen: Option<(Key, String)>) {
        self.chosen = chosen;
        self.axis = None;
        self.is_stale = true;
    }

    /// Makes the past that the chart shows, unless that is one app's own.
    fn make_history(&mut self, readings: &[Reading], charts: &BTreeMap<String, Chart>) {
        let points = match (&self.chosen, readings) {
            (Some((key, _)), _) => self.view.past(&self.kept, key),
            (None, [_] | []) => return,
            (None, readings) => sum(readings, charts),
        };
        self.history = History::default();
        // To the left of what is known is a gap.
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            let oldest_ns = last.boottime_ns.saturating_sub(KEPT_SECS * 1_000_000_000);
            if oldest_ns < first.boottime_ns {
                self.history.push(Point { boottime_ns: oldest_ns, rate: None });
            }
        }
        points.into_iter().for_each(|point| self.history.push(point));
    }

    /// Draws the page.
    fn ui(&mut self, ui: &mut Ui, update: &Update, window: &Window) -> Outcome {
        let mut outcome = Outcome::default();
        if Action::Search.asked(ui) {
            self.find = true;
        }
        self.head(ui, &mut outcome);
        ui.separator();
        self.choices(ui);
        let height = (ui.available_height() * CHART_SHARE).max(CHART_MIN_HEIGHT);
        self.chart(ui, update, window, height);
        self.status(ui, update);
        if self.view.refresh(&self.kept, false) {
            self.table.renew();
        }
        if self.view.lines().is_empty() {
            self.empty(ui, update);
        } else {
            let chosen = self.chosen.as_ref().map(|(key, _)| key);
            let clicked = self.table.ui(ui, &self.kept, &mut self.view, chosen, &window.settings);
            if let Some(key) = clicked {
                let name = self.view.line(&key).map(|line| line.name(&self.kept)).unwrap_or_default();
                let again = chosen == Some(&key);
                self.choose((!again).then_some((key, name)));
                ui.ctx().request_repaint();
            }
        }
        // What is selected in a text is copied by itself.
        let selected = ui.ctx().plugin_opt::<LabelSelectionState>().is_some_and(|state| state.lock().has_selection());
        if !selected && Action::Copy.asked(ui) {
            self.copy(ui, true);
        }
        outcome
    }

    /// The title, what is shown, and what can be done.
    fn head(&mut self, ui: &mut Ui, outcome: &mut Outcome) {
        ui.horizontal(|ui| {
            ui.heading("Connections");
            ui.add_space(4.0);
            let parts = [(Part::External, "External"), (Part::Internal, "Internal"), (Part::All, "All")];
            choice::radios(ui, "Counted as", &mut self.view.part, &parts.map(|(part, name)| Choice::new(part, name)));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                outcome.close = ui.button("Close").on_hover_text(Action::Close.text()).clicked();
                let hint = format!(
                    "Copy the rows for a spreadsheet, with unrounded byte counts. {} copies only the row that has the \
                     focus or is shown in the chart, if there is one",
                    Action::Copy.text()
                );
                let copied = self.copied_ns.is_some_and(|ns| self.kept.now_ns.saturating_sub(ns) < COPIED_NS);
                let copy = if copied { "Copied" } else { "Copy" };
                if !self.view.lines().is_empty() && ui.button(copy).on_hover_text(hint).clicked() {
                    self.copy(ui, false);
                }
            });
        });
    }

    /// What is searched for, and what is one row.
    fn choices(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            let field = TextEdit::singleline(&mut self.view.search)
                .hint_text(format!("Filter ({})", Action::Search.text()))
                .desired_width(FIELD_WIDTH);
            let field = ui.add(field);
            ui.ctx().accesskit_node_builder(field.id, |node| node.set_label("Filter the connections"));
            if std::mem::take(&mut self.find) {
                field.request_focus();
            }
            ui.add_space(4.0);
            ui.label("Group by");
            let by = [(By::None, "None"), (By::Address, "Address"), (By::Network, "Network"), (By::Port, "Port")];
            let before = self.view.by;
            choice::radios(ui, "Group by", &mut self.view.by, &by.map(|(by, name)| Choice::new(by, name)));
            if self.view.by != before {
                self.choose(None);
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.add(Label::new(RichText::new(self.count()).weak()).truncate());
            });
        });
    }

    /// How many there are, and how many of them are shown.
    fn count(&self) -> String {
        let all = self.kept.len();
        let number = |count: usize| format::grouped(u64::try_from(count).unwrap_or(u64::MAX));
        match (self.kept.source, self.view.shown()) {
            (None, _) => String::new(),
            (_, shown) if shown < all => format!("{} of {} remotes", number(shown), number(all)),
            (_, 1) => "1 remote".to_owned(),
            (_, shown) => format!("{} remotes", number(shown)),
        }
    }

    /// What is shown in total, or the row that was chosen.
    fn chart(&mut self, ui: &mut Ui, update: &Update, window: &Window, height: f32) {
        let readings = update.shown();
        let Some(reading) = readings.first() else { return };
        self.chart_head(ui, readings);
        if std::mem::take(&mut self.is_stale) {
            self.make_history(readings, &window.charts);
        }
        let line = self.chosen.as_ref().and_then(|(key, _)| self.view.line(key));
        let own = window.charts.get(&reading.id).filter(|_| self.chosen.is_none() && readings.len() == 1);
        let rate = match &self.chosen {
            Some(_) => line.and_then(|line| line.rate),
            None => total(readings),
        };
        let unmeasured = line.is_some_and(|line| line.bytes.is_none());
        let history = own.map_or(&self.history, |chart| &chart.history);
        let now = seconds(reading.time);
        let graph = Graph {
            name: None,
            data: if unmeasured {
                Data::Nothing("Not measured")
            } else {
                Data::Live { history, now_ns: reading.boottime_ns, rate }
            },
            span: (now - f64::from(self.minutes) * 60.0, now),
            at_now: true,
            now: reading.time,
            zone: &window.zone,
            settings: &window.settings,
            limit: window.limit(reading, None).filter(|_| own.is_some()),
        };
        let (axis, _) = graph.ui(ui, self.axis, height, None, false);
        self.axis = Some(axis);
    }

    /// What the chart is about, the way back, and its spans.
    fn chart_head(&mut self, ui: &mut Ui, readings: &[Reading]) {
        let mut minutes = self.minutes;
        let spans = SPANS.get(..LIVE_SPANS).unwrap_or_default();
        let spans: Vec<_> = spans
            .iter()
            .map(|span| Choice { name: Some(span.name.to_owned()), ..Choice::new(span.minutes, span.short) })
            .collect();
        let (name, what) = match &self.chosen {
            None => (title(readings), "External traffic in total".to_owned()),
            Some((key, name)) => {
                let why = self.view.line(key).and_then(|line| line.why(&self.kept));
                (name.clone(), why.unwrap_or_default())
            }
        };
        let mut all = false;
        ui.horizontal(|ui| {
            let font = TextStyle::Button.resolve(ui.style());
            let width =
                |text: &str| ui.painter().layout_no_wrap(text.to_owned(), font.clone(), Color32::PLACEHOLDER).size().x;
            let padding = 2.0 * ui.spacing().button_padding.x;
            let spacing = ui.spacing().item_spacing.x;
            let buttons: f32 = spans.iter().map(|span| width(&span.label) + 2.0 * SPAN_PADDING + 4.0).sum();
            let back = if self.chosen.is_some() { width(SHOW_ALL) + padding + spacing } else { 0.0 };
            let size = vec2(ui.available_width() - buttons - back - spacing, ui.spacing().interact_size.y);
            ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
                ui.set_min_size(size);
                ui.add(Label::new(RichText::new(name).size(16.0).strong()).truncate());
                ui.add(Label::new(RichText::new(what).weak()).truncate());
            });
            if self.chosen.is_some() {
                all = ui.button(SHOW_ALL).on_hover_text(Action::Close.text()).clicked();
            }
            ui.spacing_mut().button_padding.x = SPAN_PADDING;
            choice::radios(ui, "Time span", &mut minutes, &spans);
        });
        let pressed = Action::Span.pressed(ui);
        minutes = pressed.into_iter().filter_map(|at| spans.get(at)).next_back().map_or(minutes, |span| span.value);
        if minutes != self.minutes {
            self.minutes = minutes;
            self.axis = None;
        }
        if all {
            self.choose(None);
        }
    }

    /// What has to be said about the figures.
    fn status(&self, ui: &mut Ui, update: &Update) {
        let (error, warn) = (ui.visuals().error_fg_color, ui.visuals().warn_fg_color);
        if let Some(failure) = &self.kept.failure {
            ui.label(RichText::new(format::sentence(failure)).color(error));
        }
        if update.paused {
            ui.label(RichText::new("Paused in the tray: these figures are from the last update.").strong());
        }
        if self.kept.source == Some(Source::Estimate) {
            let text = "Estimate: only the payload of TCP is measured. UDP is listed, but not measured.";
            ui.label(RichText::new(text).weak());
        }
        if self.kept.source.is_some() && !self.kept.is_complete {
            ui.label("There are more remotes than can be told apart. What is missing is in the row “Other”.");
        }
        if self.kept.disagreeing > 0 {
            let text = "The exact counters treat the highlighted remotes differently, because they do not use the \
                        prefixes in your settings. To apply all of your prefixes, change one of them in the settings and \
                        enter the password.";
            ui.label(RichText::new(text).color(warn));
        }
    }

    /// Why there are no rows.
    fn empty(&mut self, ui: &mut Ui, update: &Update) {
        ui.vertical_centered(|ui| {
            ui.add_space((ui.available_height() * 0.25).min(60.0));
            if let Some(failure) = &update.failure {
                ui.heading("netglance cannot count here");
                ui.label(failure);
            } else if update.shown().is_empty() {
                ui.label("No application is shown.");
            } else if self.kept.source.is_none() {
                if self.kept.failure.is_none() {
                    ui.label("Listing the connections…");
                }
            } else if self.kept.len() == 0 {
                ui.heading("No connections yet");
                ui.label("Nothing was sent or received since this page was opened.");
            } else if !self.view.search.trim().is_empty() {
                ui.label(format!("No remote matches “{}”.", self.view.search.trim()));
                if ui.button("Clear Filter").clicked() {
                    self.view.search.clear();
                }
            } else {
                let (none, others) = match self.view.part {
                    Part::Internal => ("No internal connections", "All of them are external."),
                    _ => (
                        "No external connections",
                        "All of them are internal, so their traffic is not part of the figures.",
                    ),
                };
                ui.heading(none);
                ui.label(others);
                if ui.button("Show Them").clicked() {
                    self.view.part = Part::All;
                }
            }
        });
    }

    /// Puts the rows on the clipboard; `one`: the row that has the focus or is chosen, if there is one.
    fn copy(&mut self, ui: &Ui, one: bool) {
        let chosen = self.table.focused.as_ref().or(self.chosen.as_ref().map(|(key, _)| key));
        let line = chosen.filter(|_| one).and_then(|key| self.view.line(key));
        let text = match line {
            Some(line) => copy::text(&self.kept, std::iter::once(line)),
            None => copy::text(&self.kept, self.view.lines().iter()),
        };
        ui.ctx().copy_text(text);
        self.copied_ns = Some(self.kept.now_ns);
    }
}

impl Window {
    pub(super) fn connections_page(&mut self, ui: &mut Ui, update: &Update) {
        let Some(mut page) = self.connections_page.take() else { return };
        let inside = Frame::new().inner_margin(Margin { bottom: 8, ..Margin::same(16) });
        let shown = CentralPanel::default().frame(inside).show(ui, |ui| page.ui(ui, update, self));
        self.connections_page = Some(page);
        if shown.inner.close {
            self.close_pages();
        }
    }

    /// Opens the page with this part of the remotes.
    pub(super) fn open_connections(&mut self, part: Part) {
        self.close_pages();
        self.connections_page = Some(ConnectionsPage::new(part, self.time.chosen().0));
        self.send(Command::Connections(true));
    }
}

/// Whose remotes they are.
fn title(readings: &[Reading]) -> String {
    match readings {
        [] => String::new(),
        [one] => one.app.clone(),
        [first, second] => format!("{} and {}", first.app, second.app),
        [first, others @ ..] => format!("{} and {} more", first.app, others.len()),
    }
}

/// What they move together; `None`: not known of all.
fn total(readings: &[Reading]) -> Option<Rate> {
    readings.iter().try_fold(Rate::default(), |sum, reading| {
        let rate = reading.rate.as_ref().ok()?;
        Some(Rate { rx: sum.rx + rate.rx, tx: sum.tx + rate.tx })
    })
}

/// The past of several apps together: a gap where one has a gap.
fn sum(readings: &[Reading], charts: &BTreeMap<String, Chart>) -> Vec<Point> {
    let mut points: BTreeMap<u64, (usize, Option<Rate>)> = BTreeMap::new();
    for chart in readings.iter().filter_map(|reading| charts.get(&reading.id)) {
        for point in chart.history.since(0) {
            let (count, sum) = points.entry(point.boottime_ns).or_insert((0, Some(Rate::default())));
            *count += 1;
            *sum = sum.zip(point.rate).map(|(sum, rate)| Rate { rx: sum.rx + rate.rx, tx: sum.tx + rate.tx });
        }
    }
    let all = readings.len();
    let point = |(boottime_ns, (count, rate)): (u64, (usize, Option<Rate>))| {
        (count == all).then_some(Point { boottime_ns, rate })
    };
    points.into_iter().filter_map(point).collect()
}
