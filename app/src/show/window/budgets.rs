//! Budgets: how far each is used up, their list in the settings, and the dialog that makes and changes one.

use eframe::egui::{
    Align, Align2, Color32, ComboBox, FontId, Frame, Id, Label, Layout, Modal, Rect, RichText, Sense, TextWrapMode, Ui,
    WidgetInfo, WidgetText, accesskit::Role, pos2, vec2,
};
use jiff::tz::TimeZone;
use netglance_dbus::text::printable;

use super::{
    choice::{self, Choice},
    field::{self, Field, Kind},
    keys::Action,
    picker,
    settings_page::checkbox,
    style,
};
use crate::{
    base::{
        format,
        settings::{Budget, Limit, Per, RATE_SECS, Settings, Unit},
    },
    keep::budget,
    show::update::Update,
};

/// What all apps are called together.
const ALL: &str = "All applications";
/// From so many percent on a budget is nearly used up.
const NEARLY: u32 = 80;
/// Of a budget's text and bar.
pub const BAR_ROW: f32 = 38.0;
const BAR_HEIGHT: f32 = 8.0;
const TEXT_SIZE: f32 = 13.0;
const SMALL_SIZE: f32 = 11.0;

/// How far each budget is used up, a text and a bar each.
pub fn bars(ui: &mut Ui, update: &Update, settings: &Settings, zone: &TimeZone) {
    for (budget, spent) in update.settings.budgets.iter().zip(&update.budgets) {
        let name = known_name(budget.app.as_deref(), update);
        let left = match budget.limit {
            Limit::Usage { .. } => budget::terminal_line(budget, spent, name, settings.unit, zone),
            Limit::Rate { .. } => words(budget, update, settings.unit),
        };
        let right = state(budget, spent.percent);
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), BAR_ROW), Sense::hover());
        let said = if right.is_empty() { left.clone() } else { format!("{left}, {right}") };
        let is_rate = matches!(budget.limit, Limit::Rate { .. });
        let role = if is_rate { Role::Label } else { Role::ProgressIndicator };
        response.widget_info(|| WidgetInfo::labeled(role, true, &said));
        let colour = colour_of(ui, spent.percent, settings);
        let line = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - BAR_HEIGHT - 8.0));
        let font = FontId::proportional(TEXT_SIZE);
        let text_colour = if spent.percent < NEARLY { ui.visuals().text_color() } else { colour };
        let width = if is_rate {
            // It has nothing to fill a bar with.
            let (at, small) = (line.left_bottom(), FontId::proportional(SMALL_SIZE));
            ui.painter().text(at, Align2::LEFT_TOP, right, small, ui.visuals().weak_text_color());
            line.width()
        } else {
            let state = ui.painter().text(line.right_center(), Align2::RIGHT_CENTER, right, font.clone(), text_colour);
            state.left() - 8.0 - line.left()
        };
        let galley = WidgetText::from(left).into_galley(ui, Some(TextWrapMode::Truncate), width, font);
        let top = line.center().y - galley.size().y / 2.0;
        ui.painter().galley(pos2(line.left(), top), galley, ui.visuals().text_color());
        if !is_rate {
            let bar = Rect::from_min_size(pos2(rect.left(), line.bottom()), vec2(rect.width(), BAR_HEIGHT));
            bar_of(ui, bar, spent.percent, colour);
        }
        response.on_hover_text(said);
    }
}

fn bar_of(ui: &Ui, bar: Rect, percent: u32, colour: Color32) {
    ui.painter().rect_filled(bar, 3.0, ui.visuals().widgets.inactive.weak_bg_fill);
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    let part = percent.min(100) as f32 / 100.0;
    ui.painter().rect_filled(bar.with_max_x(bar.left() + bar.width() * part), 3.0, colour);
}

fn colour_of(ui: &Ui, percent: u32, settings: &Settings) -> Color32 {
    match percent {
        100.. => ui.visuals().error_fg_color,
        NEARLY.. => ui.visuals().warn_fg_color,
        _ => style::colour(style::colours(ui, settings).download),
    }
}

/// In words where it matters; the colour says the same.
fn state(budget: &Budget, percent: u32) -> &'static str {
    match (budget.limit, percent) {
        (Limit::Rate { .. }, _) => "checked while netglance is running",
        (_, 101..) => "over the limit",
        (_, 100) => "used up",
        (_, NEARLY..) => "nearly used up",
        _ => "",
    }
}

fn on_metered(budget: &Budget) -> &'static str {
    if budget.metered { ", on metered networks" } else { "" }
}

/// "Firefox: 5 GB a month".
pub fn words(budget: &Budget, update: &Update, unit: Unit) -> String {
    format!("{}: {}{}", name(budget.app.as_deref(), update), limit(budget.limit, unit), on_metered(budget))
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn limit(limit: Limit, unit: Unit) -> String {
    match limit {
        Limit::Usage { bytes, per } => {
            let per = match per {
                Per::Day => "day",
                Per::Week => "week",
                Per::Month => "month",
            };
            format!("{} a {per}", format::trimmed(&format::bytes(bytes)))
        }
        Limit::Rate { bytes, secs } => {
            format!("more than {} for {secs} s", format::trimmed(&format::rate(bytes as f64, unit)))
        }
    }
}

/// What a person reads of a budget's app.
fn name(app: Option<&str>, update: &Update) -> String {
    let app = app.map(|app| known_name(Some(app), update).map_or_else(|| printable(app).into_owned(), str::to_owned));
    app.unwrap_or_else(|| ALL.to_owned())
}

/// What an app is called that is there now, or in the table of a period.
fn known_name<'a>(app: Option<&str>, update: &'a Update) -> Option<&'a str> {
    let mut recorded = update.usage.iter().flat_map(|table| table.apps.iter().flatten());
    let there = update.apps.iter().find(|known| Some(known.id.as_str()) == app).map(|known| known.name.as_str());
    there.or_else(|| recorded.find(|group| Some(group.app.as_str()) == app).map(|group| group.name.as_str()))
}

/// The list in the settings, and what is open of it.
#[derive(Debug, Default)]
pub struct Budgets {
    editor: Option<Editor>,
}

impl Budgets {
    /// A dialog is open.
    pub fn asks(&self) -> bool {
        self.editor.is_some()
    }

    /// Draws the list, and takes what is made, changed or removed into `settings`.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &mut Settings) {
        ui.label(
            "netglance notifies you when 80 % and 100 % of a budget are used. It blocks nothing. Only external traffic counts.",
        );
        if !settings.record && !settings.budgets.is_empty() {
            let text = "While recording is off, only rate budgets are checked.";
            ui.label(RichText::new(text).color(ui.visuals().warn_fg_color));
        }
        let mut removed = None;
        for (at, budget) in settings.budgets.iter().enumerate() {
            ui.horizontal(|ui| {
                let text = words(budget, update, settings.unit);
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    let button = |ui: &mut Ui, does: &str, label: String| {
                        let button = ui.button(does);
                        button.widget_info(|| WidgetInfo::labeled(Role::Button, true, &label));
                        button.clicked()
                    };
                    if button(ui, "Remove", format!("Remove the budget {text}")) {
                        removed = Some(at);
                    }
                    if button(ui, "Edit…", format!("Edit the budget {text}")) {
                        self.editor = Some(Editor::of(budget, settings.unit));
                    }
                    ui.with_layout(Layout::left_to_right(Align::Center), |ui| ui.add(Label::new(&text).truncate()));
                });
            });
        }
        if let Some(at) = removed {
            settings.budgets.remove(at);
        }
        if ui.button("New Budget…").clicked() {
            self.editor = Some(Editor::new());
        }
        if let Some(editor) = &mut self.editor
            && editor.closes(ui, update, settings)
        {
            self.editor = None;
        }
    }
}

/// What is typed of a budget and not in force yet.
#[derive(Debug)]
struct Editor {
    /// What is changed; `None`: it is a new one.
    before: Option<Budget>,
    app: Option<String>,
    rate: bool,
    amount: Field,
    /// Bytes.
    amount_unit: u64,
    per: Per,
    speed: Field,
    /// Bytes a second.
    speed_unit: u64,
    secs: Field,
    metered: bool,
}

const AMOUNT_UNITS: [(&str, u64); 3] = [("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];
const AMOUNT: Kind<f64> = Kind { width: 80.0, hint: "5", check: amount, step: |_, _| None };
const SECS: Kind<u32> = Kind {
    width: 60.0,
    hint: "60",
    check: |text| field::whole(text, RATE_SECS),
    step: |secs, more| field::more(*secs, more, RATE_SECS),
};

/// A positive number.
fn amount(text: &str) -> Result<f64, String> {
    if text.is_empty() {
        return Err("Enter an amount, such as 5 or 1.5.".to_owned());
    }
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number = text.parse::<f64>().ok().filter(|_| plain);
    let number = number.ok_or_else(|| format!("“{text}” is not an amount. Write it like this: 5 or 1.5."))?;
    match number {
        ..=0.0 => Err("The amount must be more than 0.".to_owned()),
        1e6.. => Err(format!("{text} is too much. Choose a larger unit.")),
        _ => Ok(number),
    }
}

/// The number that was typed, in bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "below 10^18")]
fn in_bytes(number: f64, unit: u64) -> u64 {
    ((number * unit as f64).round() as u64).max(1)
}

/// A number and the largest unit in which it is at least 1.
#[expect(clippy::cast_precision_loss, reason = "what a person has written has few digits")]
fn in_units(bytes: u64, units: &[(&str, u64)]) -> (String, u64) {
    let fitting = units.iter().rev().find(|(_, unit)| bytes >= *unit).or(units.first());
    let unit = fitting.map_or(1, |(_, unit)| *unit);
    ((bytes as f64 / unit as f64).to_string(), unit)
}

impl Editor {
    fn new() -> Self {
        Self {
            before: None,
            app: None,
            rate: false,
            amount: Field::default(),
            amount_unit: 1_000_000_000,
            per: Per::Month,
            speed: Field::default(),
            speed_unit: 0,
            secs: Field::new("60"),
            metered: false,
        }
    }

    fn of(budget: &Budget, unit: Unit) -> Self {
        let mut editor =
            Self { before: Some(budget.clone()), app: budget.app.clone(), metered: budget.metered, ..Self::new() };
        match budget.limit {
            Limit::Usage { bytes, per } => {
                let (amount, unit) = in_units(bytes, &AMOUNT_UNITS);
                (editor.amount, editor.amount_unit, editor.per) = (Field::new(amount), unit, per);
            }
            Limit::Rate { bytes, secs } => {
                let (speed, unit) = in_units(bytes, &format::rate_units(unit));
                (editor.rate, editor.speed, editor.speed_unit) = (true, Field::new(speed), unit);
                editor.secs = Field::new(secs.to_string());
            }
        }
        editor
    }

    /// Draws the dialog over everything. Whether it closes; what was saved is in `settings` then.
    fn closes(&mut self, ui: &Ui, update: &Update, settings: &mut Settings) -> bool {
        let popup_open = eframe::egui::Popup::is_any_open(ui.ctx());
        let frame = Frame::popup(ui.style()).inner_margin(18);
        let dialog = Modal::new(Id::unique("budget")).frame(frame).show(ui.ctx(), |ui| {
            ui.set_width(470.0);
            ui.heading(if self.before.is_some() { "Edit Budget" } else { "New Budget" });
            ui.add_space(4.0);
            self.app(ui, update);
            let kinds = [Choice::new(false, "Usage"), Choice::new(true, "Rate")];
            row(ui, "Limit", |ui, _| choice::radios(ui, "Limit", &mut self.rate, &kinds));
            let limit = if self.rate { self.rate(ui, settings.unit) } else { self.usage(ui) };
            row(ui, "", |ui, _| _ = checkbox(ui, &mut self.metered, "Only on metered networks"));
            if self.metered && !self.rate {
                note(ui, "What moved while netglance was closed has no network and does not count here.");
            }
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                let save = ui.button("Save").clicked();
                let cancelled = ui.button("Cancel").clicked();
                match limit {
                    Some(limit) if save => {
                        self.save(limit, settings);
                        true
                    }
                    _ => {
                        if save {
                            [&mut self.amount, &mut self.speed, &mut self.secs].into_iter().for_each(Field::finish);
                        }
                        cancelled
                    }
                }
            })
            .inner
        });
        // A click beside the dialog takes nothing away that was typed.
        dialog.inner || (!popup_open && Action::Close.asked(ui))
    }

    /// Which app.
    fn app(&mut self, ui: &mut Ui, update: &Update) {
        row(ui, "Application", |ui, title| {
            let mut apps: Vec<_> = update.apps.iter().filter(|app| !picker::is_service(app)).collect();
            apps.sort_by_cached_key(|app| app.name.to_lowercase());
            let chosen = name(self.app.as_deref(), update);
            let list = ComboBox::from_id_salt("budget's application").width(280.0).height(220.0).truncate();
            let list = list.selected_text(chosen.as_str()).show_ui(ui, |ui| {
                ui.selectable_value(&mut self.app, None, ALL);
                for app in &apps {
                    ui.selectable_value(&mut self.app, Some(app.id.clone()), &app.name);
                }
                if let Some(other) = self.app.clone()
                    && !apps.iter().any(|app| app.id == other)
                {
                    ui.selectable_value(&mut self.app, Some(other), chosen.as_str());
                }
            });
            _ = list.response.labelled_by(title.id);
        });
    }

    fn usage(&mut self, ui: &mut Ui) -> Option<Limit> {
        let mut outcome = None;
        row(ui, "Amount", |ui, title| {
            outcome = Some(self.amount.ui(ui, title, &AMOUNT));
            let units = AMOUNT_UNITS.map(|(name, unit)| Choice::new(unit, name));
            choice::radios(ui, "Unit", &mut self.amount_unit, &units);
        });
        let outcome = outcome?;
        if let Some(wrong) = self.amount.wrong(&outcome) {
            row(ui, "", |ui, _| field::say_wrong(ui, &wrong));
        }
        let pers = [(Per::Day, "Day"), (Per::Week, "Week"), (Per::Month, "Month")];
        row(ui, "Per", |ui, _| {
            choice::radios(ui, "Per", &mut self.per, &pers.map(|(per, name)| Choice::new(per, name)));
        });
        let bytes = in_bytes(outcome.value.ok()?, self.amount_unit);
        Some(Limit::Usage { bytes, per: self.per })
    }

    fn rate(&mut self, ui: &mut Ui, unit: Unit) -> Option<Limit> {
        let units = format::rate_units(unit);
        if let (false, Some((_, second))) = (units.iter().any(|(_, unit)| *unit == self.speed_unit), units.get(1)) {
            self.speed_unit = *second;
        }
        let mut outcomes = None;
        row(ui, "Rate", |ui, title| {
            let speed = self.speed.ui(ui, title, &AMOUNT);
            choice::radios(ui, "Unit", &mut self.speed_unit, &units.map(|(name, unit)| Choice::new(unit, name)));
            outcomes = Some(speed);
        });
        let speed = outcomes?;
        note(ui, "Download and upload together");
        let mut secs = None;
        row(ui, "For longer than", |ui, title| {
            secs = Some(self.secs.ui(ui, title, &SECS));
            ui.label("seconds");
        });
        let secs = secs?;
        if let Some(wrong) = self.speed.wrong(&speed).or_else(|| self.secs.wrong(&secs)) {
            row(ui, "", |ui, _| field::say_wrong(ui, &wrong));
        }
        let bytes = in_bytes(speed.value.ok()?, self.speed_unit);
        Some(Limit::Rate { bytes, secs: secs.value.ok()? })
    }

    /// In the place of what was changed, which may have gone meanwhile; nothing stands there twice.
    fn save(&self, limit: Limit, settings: &mut Settings) {
        let budget = Budget { app: self.app.clone(), limit, metered: self.metered };
        let at = settings.budgets.iter().position(|other| Some(other) == self.before.as_ref());
        if let Some(before) = at.and_then(|at| settings.budgets.get_mut(at)) {
            *before = budget;
        } else if !settings.budgets.contains(&budget) {
            settings.budgets.push(budget);
        }
    }
}

/// Says more about the line above.
fn note(ui: &mut Ui, text: &str) {
    row(ui, "", |ui, _| _ = ui.add(Label::new(RichText::new(text).small().weak()).wrap()));
}

/// A line of the dialog: its name, and what there is to choose.
fn row(ui: &mut Ui, name: &str, content: impl FnOnce(&mut Ui, &eframe::egui::Response)) {
    const NAME_WIDTH: f32 = 120.0;
    ui.horizontal(|ui| {
        let size = vec2(NAME_WIDTH, ui.spacing().interact_size.y);
        let title = ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_size(size);
            ui.label(name)
        });
        content(ui, &title.inner);
    });
}
