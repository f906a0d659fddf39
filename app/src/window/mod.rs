//! The window: what is watched, how much it moves, and everything a person may ask about that. It reads no counter:
//! the monitor sends it an [`Update`] each beat, and it draws then, or on input, and at no other time.

mod figures;
mod look;
mod picker;
pub mod plot;

use std::sync::mpsc::{Receiver, Sender};

use eframe::egui::{
    self, CentralPanel, Context, Frame, Key, Margin, Panel, RichText, Ui, ViewportBuilder,
    containers::menu::{MenuButton, MenuConfig},
};
use jiff::{Timestamp, tz::TimeZone};
use picker::Picker;

use crate::{
    format::Axis,
    history::{History, Point},
    monitor::Reading,
    settings::{Settings, Theme, Unit},
    update::{Command, Place, Update},
};

/// The spans of the chart in minutes.
const SPANS_MIN: [u32; 3] = [1, 5, 15];

/// The window's state: what was received, and what the person has set.
pub struct Window {
    updates: Receiver<Update>,
    commands: Sender<Command>,
    update: Option<Update>,
    history: History,
    picker: Picker,
    span_min: u32,
    axis: Axis,
    /// The picture that is held while paused: history and right edge.
    paused: Option<(History, Reading)>,
    unit: Unit,
    theme: Theme,
    beat_ms: u64,
    /// The settings error that was put away.
    dismissed: Option<String>,
    zone: TimeZone,
    /// What is remembered of where it is; `None`: it has no place.
    place: Option<Place>,
}

/// Opens the window and returns when it is closed. `start` begins the beat; it is given what wakes the window.
pub fn run(
    settings: &Settings,
    span_min: u32,
    place: Place,
    start: impl FnOnce(Context) -> std::io::Result<(Receiver<Update>, Sender<Command>)> + 'static,
) -> eframe::Result {
    let viewport = ViewportBuilder::default()
        .with_app_id("org.netglance.Netglance")
        .with_title("netglance")
        .with_inner_size(place.size.unwrap_or([920, 640]).map(|points| points as f32))
        .with_min_inner_size([800.0, 500.0]);
    let viewport = match place.corner {
        Some(corner) => viewport.with_position(corner.map(|points| points as f32)),
        None => viewport,
    };
    let options = eframe::NativeOptions { viewport, ..Default::default() };
    let settings = settings.clone();
    eframe::run_native(
        "netglance",
        options,
        Box::new(move |cc| {
            let (updates, commands) = start(cc.egui_ctx.clone())?;
            let mut window = Window::new(&cc.egui_ctx, updates, commands, &settings);
            if span_min != 0 {
                window.span_min = span_min;
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
        look::apply(ctx);
        ctx.set_theme(look::theme(settings.theme));
        Self {
            updates,
            commands,
            update: None,
            history: History::default(),
            picker: Picker::default(),
            span_min: 1,
            axis: Axis::for_most(0.0, settings.unit),
            paused: None,
            unit: settings.unit,
            theme: settings.theme,
            beat_ms: u64::try_from(settings.beat.as_millis()).unwrap_or(500),
            dismissed: None,
            zone: TimeZone::system(),
            place: None,
        }
    }

    fn receive(&mut self) {
        while let Ok(update) = self.updates.try_recv() {
            let watched = |update: &Update| update.readings.iter().map(|r| r.id.clone()).collect::<Vec<_>>();
            if self.update.as_ref().map(watched) != Some(watched(&update)) {
                self.history = History::default();
                self.paused = None;
                self.axis = Axis::for_most(0.0, self.unit);
            }
            if let Some(reading) = update.readings.first() {
                if let Some(backlog) = update.backlog.iter().find(|backlog| backlog.id == reading.id) {
                    self.history = History::default();
                    backlog.points.iter().for_each(|point| self.history.push(*point));
                }
                self.history
                    .push(Point { boottime_ns: reading.boottime_ns, rate: reading.rate.as_ref().ok().copied() });
            }
            self.update = Some(update);
        }
    }

    /// Draws everything.
    pub fn contents(&mut self, ui: &mut Ui) {
        self.receive();
        self.shortcuts(ui);
        let Some(update) = self.update.take() else {
            ui.centered_and_justified(|ui| ui.label("Looking for applications…"));
            return;
        };
        self.settings_error(ui, update.settings_error.as_ref());
        let around = Frame::new().fill(ui.visuals().faint_bg_color).inner_margin(Margin::same(12));
        Panel::left("applications").frame(around).default_size(250.0).size_range(180.0..=360.0).show(ui, |ui| {
            let watched = update.readings.first().map(|reading| reading.id.as_str());
            if let Some(id) = self.picker.ui(ui, &update.apps, watched, self.unit) {
                self.send(Command::Watch(vec![id]));
            }
        });
        // Its background is what the window is cleared with: a software renderer feels each pixel that is filled twice.
        let inside = Frame::new().inner_margin(Margin::same(16));
        CentralPanel::default().frame(inside).show(ui, |ui| match (&update.failure, update.readings.first()) {
            (Some(failure), _) => failed(ui, failure),
            (None, Some(reading)) => self.watched(ui, reading),
            (None, None) => nothing_chosen(ui, update.apps.is_empty()),
        });
        self.update = Some(update);
    }

    fn watched(&mut self, ui: &mut Ui, reading: &Reading) {
        figures::header(ui, reading);
        figures::rates(ui, reading, self.unit);
        ui.add_space(6.0);
        self.controls(ui, reading);
        let below = figures::below_height(reading, ui.available_height());
        let height = (ui.available_height() - below).max(120.0);
        self.chart(ui, reading, height);
        figures::units(ui, reading, self.unit);
        figures::footer(ui, reading);
    }

    fn controls(&mut self, ui: &mut Ui, reading: &Reading) {
        ui.horizontal(|ui| {
            for minutes in SPANS_MIN {
                let label = if minutes == 1 { "1 minute".to_owned() } else { format!("{minutes} minutes") };
                ui.selectable_value(&mut self.span_min, minutes, label);
            }
            ui.separator();
            let label = if self.paused.is_some() { "Resume" } else { "Pause" };
            if ui.button(label).on_hover_text("Space. The counting goes on.").clicked() {
                self.toggle_pause(Some(reading));
            }
            if self.paused.is_some() {
                ui.label(RichText::new("Paused").strong());
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| self.settings_menu(ui));
        });
    }

    fn settings_menu(&mut self, ui: &mut Ui) {
        let stay = MenuConfig::new().close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
        MenuButton::new("Settings").config(stay).ui(ui, |ui| {
            ui.set_min_width(220.0);
            ui.label("Rates in");
            ui.horizontal(|ui| {
                ui.selectable_value(&mut self.unit, Unit::Bytes, "Bytes");
                ui.selectable_value(&mut self.unit, Unit::Bits, "Bits");
            });
            ui.label("Theme");
            ui.horizontal(|ui| {
                for (theme, label) in [(Theme::System, "System"), (Theme::Dark, "Dark"), (Theme::Light, "Light")] {
                    if ui.selectable_value(&mut self.theme, theme, label).changed() {
                        ui.ctx().set_theme(look::theme(theme));
                    }
                }
            });
            ui.label("Look every");
            ui.horizontal(|ui| {
                for (ms, label) in [(100, "0.1 s"), (500, "0.5 s"), (1000, "1 s"), (5000, "5 s")] {
                    if ui.selectable_value(&mut self.beat_ms, ms, label).changed() {
                        let beat = std::time::Duration::from_millis(ms);
                        self.send(Command::Set(Settings { beat, ..Settings::default() }));
                    }
                }
            });
            ui.label(RichText::new("For good: ~/.config/netglance/config.toml").small().weak());
        });
    }

    fn chart(&mut self, ui: &mut Ui, reading: &Reading, height: f32) {
        let (history, reading) = self.paused.as_ref().map_or((&self.history, reading), |(h, r)| (h, r));
        let frame = figures::ChartFrame {
            history,
            now_ns: reading.boottime_ns,
            now: Timestamp::from_nanosecond(reading.time.as_nanosecond()).unwrap_or(reading.time),
            zone: &self.zone,
            span_secs: self.span_min * 60,
            unit: self.unit,
            rate: reading.rate.as_ref().ok().copied(),
        };
        self.axis = frame.ui(ui, self.axis, height);
    }

    fn toggle_pause(&mut self, reading: Option<&Reading>) {
        self.paused = match self.paused {
            Some(_) => None,
            None => reading.map(|reading| (self.history.clone(), reading.clone())),
        };
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

    fn shortcuts(&mut self, ui: &Ui) {
        if ui.input_mut(|i| i.consume_key(egui::Modifiers::COMMAND, Key::Q)) {
            ui.ctx().send_viewport_cmd(egui::ViewportCommand::Close);
        }
        if ui.memory(|m| m.focused()).is_some() {
            return; // Space and digits belong to what has the focus.
        }
        for (key, minutes) in [Key::Num1, Key::Num2, Key::Num3].into_iter().zip(SPANS_MIN) {
            if ui.input(|i| i.key_pressed(key)) {
                self.span_min = minutes;
            }
        }
        if ui.input(|i| i.key_pressed(Key::Space)) {
            let reading = self.update.as_ref().and_then(|u| u.readings.first().cloned());
            self.toggle_pause(reading.as_ref());
        }
    }

    fn settings_error(&mut self, ui: &mut Ui, error: Option<&String>) {
        let Some(error) = error.filter(|error| self.dismissed.as_ref() != Some(error)) else { return };
        let warning = Frame::new().fill(ui.visuals().warn_fg_color.gamma_multiply(0.25)).inner_margin(Margin::same(10));
        Panel::top("settings error").frame(warning).show(ui, |ui| {
            ui.horizontal_wrapped(|ui| {
                ui.label(format!("{error}. The last good settings stay in force."));
                if ui.button("Dismiss").clicked() {
                    self.dismissed = Some(error.clone());
                }
            });
        });
    }

    fn send(&self, command: Command) {
        // The monitor is gone only when the program ends.
        _ = self.commands.send(command);
    }
}

fn failed(ui: &mut Ui, failure: &str) {
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.3);
        ui.heading("Nothing can be counted here");
        ui.add_space(4.0);
        ui.label(failure);
        ui.label(RichText::new("It is tried again each beat.").weak());
    });
}

fn nothing_chosen(ui: &mut Ui, no_apps: bool) {
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.3);
        ui.heading(if no_apps { "No applications yet" } else { "Choose an application" });
        ui.add_space(4.0);
        ui.label(if no_apps {
            "netglance lists what your desktop starts with systemd. Start one, and it appears at the left."
        } else {
            "Pick one at the left to see how much it talks to the outside world right now."
        });
    });
}

impl eframe::App for Window {
    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        if ui.input(|i| i.viewport().minimized == Some(true)) {
            self.receive(); // the history goes on
            return;
        }
        self.contents(ui);
        self.remember_place(ui.ctx());
    }
}
