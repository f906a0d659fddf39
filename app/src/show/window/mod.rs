//! The window: what is watched, how much it moves, and everything a person may ask about that. It reads no counter, and no
//! file but icons and fonts: the program sends it an [`Update`] each beat, and it draws then, or on input, and at no other time.

mod bars;
mod budgets;
mod charts;
mod choice;
mod connections;
mod export;
mod field;
mod figures;
mod fonts;
mod forget;
mod graph;
mod icon;
pub mod keys;
mod launchers;
mod names;
mod overview;
mod own_apps;
mod picker;
pub mod plot;
mod prefixes;
mod programs;
mod proof;
mod rows;
mod sections;
mod settings_page;
mod span;
mod stack;
mod style;
mod usage;

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, Sender},
};

use bars::Bars;
use charts::Part;
use choice::Choice;
use connections::{ConnectionsPage, view::Part as Counted};
use eframe::egui::{
    self, Button, CentralPanel, Color32, Context, Frame, Id, Key, Margin, Panel, RichText, TextStyle, Ui, UiBuilder,
    Vec2, ViewportBuilder, vec2,
};
use jiff::tz::TimeZone;
use keys::{Action, Pace};
use overview::Table;
use own_apps::{OwnAppPage, menu::Asked};
use picker::Picker;
use proof::ProofPage;
use settings_page::SettingsPage;
use span::{SPANS, TimeView};
use usage::UsagePage;

use crate::{
    base::{format::Axis, settings::Settings},
    keep::{
        calendar::{Every, Period},
        history::{History, Point},
        state::Place,
    },
    look::reading::Reading,
    show::update::{Command, Update},
};

/// For the title bar and the list of windows; Wayland takes it from the .desktop file.
const ICON: &[u8] = include_bytes!("../../../../icons/128.png");
/// Room over the buttons below the list.
const ABOVE_BUTTONS: f32 = 10.0;
/// Of the pages' buttons, where they are two lines.
const PAGES_IN_FIRST_LINE: usize = 2;
/// At the left and right of their names, and between them.
const PAGE_PADDING: f32 = 6.0;
const PAGE_SPACING: f32 = 4.0;
/// So many updates may pass until the program has answered a wish for other settings.
const ANSWER_WITHIN: u8 = 3;

/// The window's state: what was received, and what the person has set.
pub struct Window {
    updates: Receiver<Update>,
    commands: Sender<Command>,
    update: Option<Update>,
    /// By the app's id; that of all together has none.
    charts: BTreeMap<String, Chart>,
    /// The picture that is held while paused, by the app's id.
    held: Option<BTreeMap<String, (History, Reading)>>,
    picker: Picker,
    table: Table,
    /// On an app's page, its programs are shown (true) or its services (false); `None`: whichever are more than one.
    by_program: Option<bool>,
    bars: Bars,
    /// `None`: closed.
    settings_page: Option<SettingsPage>,
    /// `None`: closed.
    proof_page: Option<ProofPage>,
    /// `None`: closed.
    usage_page: Option<UsagePage>,
    /// `None`: closed.
    connections_page: Option<ConnectionsPage>,
    /// `None`: closed.
    own_app_page: Option<OwnAppPage>,
    /// The name of an app of one's own that may be deleted, which is asked.
    deleting: Option<String>,
    help: bool,
    pace: Pace,
    /// Of the line with the totals, when it was drawn last.
    totals_height: f32,
    /// Which time is shown.
    time: TimeView,
    /// Those in force, or those that were just chosen here.
    settings: Settings,
    /// The desktop is light.
    light: bool,
    /// Updates to come that may still say the settings from before the last wish.
    unanswered: u8,
    zone: TimeZone,
    /// What is remembered of where it is; `None`: it has no place.
    place: Option<Place>,
}

/// What is kept of an app for as long as it is watched.
#[derive(Default)]
struct Chart {
    history: History,
    /// The axis that was shown last, and what of.
    axis: Option<(Axis, Option<Every>)>,
}

/// Opens the window and returns when it is closed. `first` says how it begins; `start` begins the beat, and is given what wakes
/// the window.
pub fn run(
    first: &Update,
    start: impl FnOnce(Context) -> std::io::Result<(Receiver<Update>, Sender<Command>)> + 'static,
) -> eframe::Result {
    let Update { settings, span_min, place, light, .. } = first;
    let (settings, span_min, place, light) = (settings.clone(), *span_min, *place, *light);
    #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
    let viewport = ViewportBuilder::default()
        .with_app_id("org.netglance.Netglance")
        .with_title("netglance")
        .with_inner_size(place.size.unwrap_or([920, 640]).map(|points| points as f32))
        .with_min_inner_size([800.0, 500.0])
        .with_icon(eframe::icon_data::from_png_bytes(ICON).unwrap_or_default());
    #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
    let viewport = match place.corner {
        Some(corner) => viewport.with_position(corner.map(|points| points as f32)),
        None => viewport,
    };
    // The system's fonts are found in fonts.rs, when there is need of them.
    let options = eframe::NativeOptions { viewport, system_font_fallback: false, ..Default::default() };
    eframe::run_native(
        "netglance",
        options,
        Box::new(move |cc| {
            let (updates, commands) = start(cc.egui_ctx.clone())?;
            let mut window = Window::new(&cc.egui_ctx, updates, commands, &settings);
            window.follow_desktop(&cc.egui_ctx, light);
            if SPANS.iter().any(|span| span.minutes == span_min) {
                window.time.choose(span_min);
            }
            window.place = Some(place);
            Ok(Box::new(window))
        }),
    )
}

impl Window {
    /// A window that shows what comes through `updates`.
    pub fn new(ctx: &Context, updates: Receiver<Update>, commands: Sender<Command>, settings: &Settings) -> Self {
        egui_extras::install_image_loaders(ctx);
        fonts::install(ctx);
        style::apply(ctx, settings, false);
        Self {
            updates,
            commands,
            update: None,
            charts: BTreeMap::new(),
            held: None,
            picker: Picker::default(),
            table: Table::default(),
            by_program: None,
            bars: Bars::default(),
            settings_page: None,
            proof_page: None,
            usage_page: None,
            connections_page: None,
            own_app_page: None,
            deleting: None,
            help: false,
            pace: Pace::default(),
            totals_height: 0.0,
            time: TimeView::default(),
            settings: settings.clone(),
            light: false,
            unanswered: 0,
            zone: TimeZone::system(),
            place: None,
        }
    }

    /// Says the times as people do there, and not where the computer is.
    pub fn set_zone(&mut self, zone: TimeZone) {
        self.zone = zone;
    }

    fn receive(&mut self, ctx: &Context) {
        while let Ok(update) = self.updates.try_recv() {
            let shown = update.shown();
            let before = self.charts.len();
            self.charts.retain(|id, _| shown.iter().any(|reading| reading.id == *id));
            if self.charts.len() != before || shown.len() != before {
                self.held = None;
            }
            for reading in shown {
                let history = &mut self.charts.entry(reading.id.clone()).or_default().history;
                if let Some(backlog) = update.backlog.iter().find(|backlog| backlog.id == reading.id) {
                    *history = History::default();
                    backlog.points.iter().for_each(|point| history.push(*point));
                }
                history.push(Point { boottime_ns: reading.boottime_ns, rate: reading.rate.as_ref().ok().copied() });
            }
            self.time.receive(update.past.as_ref(), self.held.is_some());
            self.table.receive(&update);
            if let Some(page) = &mut self.usage_page {
                page.receive(&update, &self.zone);
            }
            if let Some(page) = &mut self.connections_page {
                page.receive(&update, &self.charts);
            }
            self.bars.receive(&update);
            self.follow_desktop(ctx, update.light);
            self.take_settings(ctx, &update);
            self.update = Some(update);
        }
    }

    fn follow_desktop(&mut self, ctx: &Context, light: bool) {
        if light != self.light {
            self.light = light;
            style::apply(ctx, &self.settings, light);
        }
    }

    /// The program has the last word on the settings: the file may have been edited, a password refused.
    fn take_settings(&mut self, ctx: &Context, update: &Update) {
        if update.settings == self.settings {
            self.unanswered = 0;
        } else if !update.asking {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        if self.unanswered == 0 && update.settings != self.settings {
            self.settings = update.settings.clone();
            style::apply(ctx, &self.settings, self.light);
        }
    }

    /// Puts settings in force that were chosen here.
    fn choose_settings(&mut self, ctx: &Context, settings: Settings) {
        if settings != self.settings {
            self.send(Command::Set(settings.clone()));
            self.settings = settings;
            self.unanswered = ANSWER_WITHIN;
            style::apply(ctx, &self.settings, self.light);
        }
    }

    /// Draws everything.
    pub fn contents(&mut self, ui: &mut Ui) {
        self.receive(ui.ctx());
        if self.help {
            self.help = keys::help_stays(ui);
        }
        self.shortcuts(ui);
        let Some(update) = self.update.take() else {
            return waiting(ui);
        };
        if let Some(wish) = self.bars.around(ui, &update) {
            self.send(wish);
        }
        if self.settings_page.is_some() {
            self.settings_page(ui, &update);
        } else if self.proof_page.is_some() {
            self.proof_page(ui, &update);
        } else if self.usage_page.is_some() {
            self.usage_page(ui, &update);
        } else if self.connections_page.is_some() {
            self.connections_page(ui, &update);
        } else if self.own_app_page.is_some() {
            self.own_app_page(ui, &update);
        } else {
            self.apps(ui, &update);
        }
        self.ask_to_delete(ui, &update);
        self.update = Some(update);
        if let Some(asked) = self.picker.asked.take() {
            self.open_own_app(&asked);
        }
    }

    fn apps(&mut self, ui: &mut Ui, update: &Update) {
        self.ask_for_the_past(update.shown());
        if let (None, Some(overview)) = (&update.failure, &update.overview) {
            return self.overview(ui, update, &overview.all);
        }
        let around = Frame::new().fill(ui.visuals().faint_bg_color).inner_margin(Margin::same(12));
        Panel::left("applications").frame(around).default_size(250.0).size_range(216.0..=360.0).show(ui, |ui| {
            // What Tab comes to first is drawn first.
            if update.failure.is_none() && overview::back(ui) {
                self.send(Command::Watch(Vec::new()));
            }
            let below = 3.0 * ui.spacing().interact_size.y + 2.0 * ui.spacing().item_spacing.y + ABOVE_BUTTONS;
            let list = vec2(ui.available_width(), ui.available_height() - below);
            ui.allocate_ui(list, |ui| {
                ui.set_min_size(list);
                let watched: Vec<&str> = update.readings.iter().map(|reading| reading.id.as_str()).collect();
                if let Some(wish) = self.picker.ui(ui, update, &watched, &self.settings) {
                    self.send(wish);
                }
            });
            ui.add_space(ABOVE_BUTTONS - ui.spacing().item_spacing.y);
            let whole = vec2(ui.available_width().floor(), 0.0);
            self.new_app(ui, whole);
            self.pages(ui, 2);
        });
        // Its background is what the window is cleared with: a software renderer feels each pixel that is filled twice.
        let inside = Frame::new().inner_margin(Margin::same(16));
        CentralPanel::default().frame(inside).show(ui, |ui| match (&update.failure, update.readings.as_slice()) {
            (Some(failure), _) => failed(ui, failure),
            (None, []) => waiting(ui),
            (None, [reading]) => self.one(ui, update, reading),
            (None, readings) => {
                self.banner(ui, update);
                self.controls(ui, update);
                ui.add_space(4.0);
                if self.stack(ui, readings) {
                    self.open_connections(Counted::External);
                }
            }
        });
    }

    /// What leads to the other pages: in one line, or in two, as wide as there is room.
    fn pages(&mut self, ui: &mut Ui, lines: usize) {
        let pages = [
            ("Usage", Action::Usage),
            ("Connections", Action::Connections),
            ("Proof", Action::Proof),
            ("Settings", Action::Settings),
            ("Shortcuts", Action::Help),
        ];
        let in_line = if lines == 1 { pages.len() } else { PAGES_IN_FIRST_LINE };
        let (first, second) = pages.split_at_checked(in_line).unwrap_or((&pages, &[]));
        for line in [first, second].into_iter().filter(|line| !line.is_empty()) {
            ui.horizontal(|ui| {
                // Beside the totals, or beneath a list that may be narrow.
                ui.spacing_mut().button_padding.x = PAGE_PADDING;
                ui.spacing_mut().item_spacing.x = PAGE_SPACING;
                let font = TextStyle::Button.resolve(ui.style());
                let width = |name: &str| {
                    let text = ui.painter().layout_no_wrap(name.to_owned(), font.clone(), Color32::PLACEHOLDER);
                    text.size().x + 2.0 * PAGE_PADDING
                };
                #[expect(clippy::cast_precision_loss, reason = "a handful of buttons")]
                let count = line.len() as f32;
                let widths: Vec<f32> = line.iter().map(|(name, _)| width(name)).collect();
                let needed = widths.iter().sum::<f32>() + PAGE_SPACING * (count - 1.0);
                let more = if lines == 1 { 0.0 } else { ((ui.available_width() - needed) / count).floor().max(0.0) };
                for (at, ((name, action), width)) in line.iter().zip(widths).enumerate() {
                    // Both lines end at the same place.
                    let is_last = lines > 1 && at + 1 == line.len();
                    let width = if is_last { ui.available_width().floor() } else { width + more };
                    let least = vec2(width, 0.0);
                    let clicked = ui.add(Button::new(*name).min_size(least)).on_hover_text(action.text()).clicked();
                    match action {
                        _ if !clicked => {}
                        Action::Usage => self.open_usage(Period::Today),
                        Action::Connections => self.open_connections(Counted::External),
                        Action::Proof => self.open_proof(),
                        Action::Settings => self.open_settings(),
                        _ => self.help = true,
                    }
                }
            });
        }
    }

    /// What leads to a new app of one's own.
    fn new_app(&self, ui: &mut Ui, size: Vec2) {
        let button = ui.horizontal(|ui| ui.add(Button::new("New App…").min_size(size))).inner;
        if button.on_hover_text(Action::NewApp.text()).clicked() {
            self.picker.asked.replace(Some(Asked::New));
        }
    }

    fn settings_page(&mut self, ui: &mut Ui, update: &Update) {
        let mut settings = self.settings.clone();
        let inside = Frame::new().inner_margin(Margin::same(16));
        let shown = CentralPanel::default()
            .frame(inside)
            .show(ui, |ui| self.settings_page.as_mut().map(|page| page.ui(ui, update, &mut settings)));
        let outcome = shown.inner.unwrap_or_default();
        self.choose_settings(ui.ctx(), settings);
        if let Some(wish) = outcome.wish {
            self.send(wish);
        }
        if outcome.close {
            self.close_pages();
        }
    }

    fn proof_page(&mut self, ui: &mut Ui, update: &Update) {
        let inside = Frame::new().inner_margin(Margin::same(16));
        let shown = CentralPanel::default().frame(inside).show(ui, |ui| ProofPage::ui(ui, update));
        let outcome = shown.inner;
        if outcome.prove {
            self.send(Command::Verify);
        }
        if outcome.close {
            self.close_pages();
        }
    }

    /// A dialog of the open page waits for an answer.
    fn asks(&self) -> bool {
        self.usage_page.as_ref().is_some_and(UsagePage::asks)
            || self.settings_page.as_ref().is_some_and(SettingsPage::asks)
            || self.own_app_page.as_ref().is_some_and(OwnAppPage::asks)
            || self.deleting.is_some()
    }

    fn open_settings(&mut self) {
        self.close_pages();
        self.settings_page = Some(SettingsPage::default());
    }

    fn open_proof(&mut self) {
        self.close_pages();
        self.proof_page = Some(ProofPage);
        self.send(Command::ProofPage(true));
    }

    fn close_pages(&mut self) {
        self.settings_page = None;
        self.own_app_page = None;
        if self.usage_page.take().is_some() {
            self.send(Command::Usage(None));
        }
        if self.connections_page.take().is_some() {
            self.send(Command::Connections(false));
        }
        if self.proof_page.take().is_some() {
            self.send(Command::ProofPage(false));
        }
    }

    fn one(&mut self, ui: &mut Ui, update: &Update, reading: &Reading) {
        // The totals stand at the bottom, drawn last, because Tab comes to them last. Their height is the last frame's.
        let (above, below) = ui.max_rect().split_top_bottom_at_y(ui.max_rect().bottom() - self.totals_height);
        let shown = ui.scope_builder(UiBuilder::new().max_rect(above), |ui| {
            let app = update.apps.iter().find(|app| app.id == reading.id);
            let mark = own_apps::colours::of(&reading.id, &self.settings);
            let why = figures::header(ui, reading, mark, |ui| {
                if let Some(asked) = app.and_then(|app| own_apps::menu::button(ui, app, &update.apps)) {
                    self.picker.asked.replace(Some(asked));
                }
            });
            self.banner(ui, update);
            figures::rates(ui, reading, &self.settings);
            let usage = figures::used(ui, update, reading);
            ui.add_space(6.0);
            self.controls(ui, update);
            self.parts(ui, update, reading);
            (why, usage)
        });
        let totals =
            ui.scope_builder(UiBuilder::new().max_rect(below), |ui| figures::totals(ui, reading, &self.zone, false));
        let height = totals.response.rect.height();
        if height != self.totals_height {
            self.totals_height = height;
            ui.ctx().request_repaint();
        }
        let (why, usage) = shown.inner;
        if why {
            self.open_connections(Counted::External);
        } else if totals.inner {
            self.open_connections(Counted::Internal);
        }
        if let Some(period) = usage {
            self.open_usage(period);
        }
    }

    /// The chart, and below it the parts of what is watched: its services or its programs.
    fn parts(&mut self, ui: &mut Ui, update: &Update, reading: &Reading) {
        let by = update.programs.iter().find(|by| by.app == reading.id && by.is_open);
        let is_choice = by.is_some() && reading.units.len() > 1;
        let mut by_program = by.is_some() && (!is_choice || self.by_program.unwrap_or(false));
        let room = ui.available_height();
        let lines = by.map_or(0, |by| self.table.unfolded.lines(by).len());
        let below = if by_program { programs::height(lines, room) } else { figures::units_height(reading, room) };
        let choice = if is_choice { ui.spacing().interact_size.y + 10.0 } else { 0.0 };
        self.graph(ui, reading, (room - below - choice).max(84.0), Part::One);
        if is_choice {
            ui.add_space(4.0);
            let choices = [Choice::new(false, "By Service"), Choice::new(true, "By Program")];
            let before = by_program;
            ui.horizontal(|ui| choice::radios(ui, "Parts", &mut by_program, &choices));
            if by_program != before {
                self.by_program = Some(by_program);
            }
        }
        match by.filter(|_| by_program) {
            Some(by) => {
                let unfolded = &mut self.table.unfolded;
                let look = programs::Look::alone(&self.settings, &self.zone, reading.time);
                let wish = programs::list(ui, by, &reading.app, &look, unfolded);
                if let Some(wish) = wish {
                    self.send(wish);
                }
            }
            None => figures::units(ui, reading, &self.settings),
        }
    }

    fn banner(&mut self, ui: &mut Ui, update: &Update) {
        if let Some(wish) = self.bars.banner(ui, update) {
            self.send(wish);
        }
    }

    /// Tells when it has been moved or resized. A window that fills the screen or is minimised has its place elsewhere.
    fn remember_place(&mut self, ctx: &Context) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place on a screen")]
        let now = ctx.input(|i| {
            let viewport = i.viewport();
            let away = [viewport.minimized, viewport.maximized, viewport.fullscreen].contains(&Some(true));
            let size = viewport.inner_rect.filter(|_| !away)?.size();
            let corner = viewport.outer_rect.map(|rect| [rect.min.x.round() as i32, rect.min.y.round() as i32]);
            Some(Place { corner, size: Some([size.x.round() as u32, size.y.round() as u32]) })
        });
        if let (Some(before), Some(now)) = (self.place, now)
            && before != now
        {
            self.place = Some(now);
            self.send(Command::Place(now));
        }
    }

    fn send(&self, command: Command) {
        // The program is gone only when all ends.
        _ = self.commands.send(command);
    }
}

/// Scrolls with the keys: nothing in a table takes the focus. What has it may need the arrows itself.
fn scroll_by_keys(ui: &Ui) {
    const LINE: f32 = 24.0;
    let page = ui.clip_rect().height() - LINE;
    let focused = ui.memory(|m| m.focused()).is_some();
    let pressed = |key| ui.input(|i| i.num_presses(key));
    #[expect(clippy::cast_precision_loss, reason = "a few presses")]
    let times = |up, down| pressed(up) as f32 - pressed(down) as f32;
    let mut delta = times(Key::PageUp, Key::PageDown) * page;
    if !ui.ctx().text_edit_focused() {
        delta += times(Key::Home, Key::End) * 1e6;
    }
    if !focused {
        delta += times(Key::ArrowUp, Key::ArrowDown) * LINE;
    }
    if delta != 0.0 {
        ui.scroll_with_delta(vec2(0.0, delta));
    }
}

/// Scrolls to what the keyboard has just gone to, unless that is `outside`.
fn keep_focus_in_view(ui: &Ui, outside: Option<Id>) {
    let focused = ui.memory(|m| m.focused()).filter(|id| Some(*id) != outside);
    if let Some(response) = focused.and_then(|id| ui.ctx().read_response(id))
        && response.gained_focus()
        && ui.min_rect().contains_rect(response.rect)
    {
        ui.scroll_to_rect(response.rect.expand(8.0), None);
    }
}

fn failed(ui: &mut Ui, failure: &str) {
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.3);
        ui.heading("netglance cannot count here");
        ui.add_space(4.0);
        ui.label(failure);
        ui.label(RichText::new("netglance keeps trying.").weak());
    });
}

fn waiting(ui: &mut Ui) {
    ui.centered_and_justified(|ui| ui.label("Looking for applications…"));
}

impl eframe::App for Window {
    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    fn raw_input_hook(&mut self, ctx: &Context, raw_input: &mut egui::RawInput) {
        if self.pace.hold_back(&mut raw_input.events, ctx.text_edit_focused()) {
            ctx.request_repaint();
        }
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.pace.drawn();
        if ui.input(|i| i.viewport().minimized == Some(true)) {
            self.receive(ui.ctx()); // the history goes on
            return;
        }
        self.contents(ui);
        self.remember_place(ui.ctx());
    }
}
