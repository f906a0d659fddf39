//! The settings, a page in place of all else. What is chosen is in force at once; it reads and writes no file itself.

use std::time::Duration;

use eframe::egui::{Align, Button, Frame, Layout, Response, RichText, ScrollArea, Ui, vec2};

use super::{
    bars::{COUNT_EXACTLY, WAITING, WHAT_IT_TAKES, not_working},
    budgets::Budgets,
    choice::{self, Choice},
    field::{self, Field, Kind},
    forget::{Answer, Forgetting},
    keys::Action,
    launchers, names,
    prefixes::PrefixLists,
    style::colour,
};
use crate::{
    base::{
        format,
        settings::{HISTORY_MB, Palette, Settings, Theme, Unit},
    },
    look::sampler::Exact,
    show::{
        chart::Colours,
        update::{Command, Update},
    },
};

/// What the page remembers between two frames.
#[derive(Debug, Default)]
pub struct SettingsPage {
    prefixes: PrefixLists,
    /// "Remove Exact Counting…" was pressed and waits for a second word.
    removing: bool,
    budgets: Budgets,
    /// Numbers that are typed and not in force yet.
    limit: Option<Field>,
    billing_day: Option<Field>,
    forgetting: Option<Forgetting>,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A wish beside the settings.
    pub wish: Option<Command>,
    /// The page is done with.
    pub close: bool,
}

const NAME_WIDTH: f32 = 150.0;
const PAGE_WIDTH: f32 = 860.0;
const LIMIT: Kind<u32> = Kind {
    width: 60.0,
    hint: "50",
    check: |text| field::whole(text, HISTORY_MB),
    step: |limit, more| field::more(*limit, more, HISTORY_MB),
};
const BILLING_DAY: Kind<u32> = Kind {
    width: 60.0,
    hint: "1",
    check: |text| field::whole(text, 1..=31),
    step: |day, more| field::more(*day, more, 1..=31),
};
const BEATS_MS: [u64; 6] = [100, 200, 500, 1000, 2000, 5000];

impl SettingsPage {
    /// Draws the page and takes what is chosen into `settings`.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &mut Settings) -> Outcome {
        let mut outcome = Outcome::default();
        let close = ui
            .horizontal(|ui| {
                ui.heading("Settings");
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    ui.button("Close").on_hover_text(Action::Close.text())
                })
                .inner
            })
            .inner;
        outcome.close = close.clicked();
        ui.separator();
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            ui.set_max_width(PAGE_WIDTH.min(ui.available_width() - 12.0));
            self.display(ui, settings);
            start_at_login(ui, update, &mut outcome);
            section(ui, "Exact Counting");
            self.exact(ui, update, &mut outcome);
            section(ui, "History");
            self.history(ui, settings);
            section(ui, "Budgets");
            self.budgets.ui(ui, update, settings);
            section(ui, "Names of Remotes");
            if let Some(wish) = names::ui(ui, &update.names, settings) {
                outcome.wish = Some(wish);
            }
            section(ui, "Internal Addresses");
            self.prefixes.ui(ui, update, settings);
            section(ui, "Started So That They Can Be Counted");
            if let Some(wish) = launchers::ui(ui, update) {
                outcome.wish = Some(wish);
            }
            ui.add_space(16.0);
            ui.label(
                RichText::new("Stored in ~/.config/netglance/config.toml. Changes to the file apply at once.")
                    .small()
                    .weak(),
            );
            super::scroll_by_keys(ui);
            super::keep_focus_in_view(ui, Some(close.id));
        });
        if let Some(forgetting) = &mut self.forgetting
            && let Some(answer) = forgetting.ui(ui)
        {
            self.forgetting = None;
            if let Answer::Yes(forget) = answer {
                outcome.wish = Some(forget);
            }
        }
        outcome
    }

    /// A dialog is open.
    pub fn asks(&self) -> bool {
        self.budgets.asks() || self.forgetting.is_some()
    }

    /// What is kept of the past.
    fn history(&mut self, ui: &mut Ui, settings: &mut Settings) {
        row(ui, "", |ui| _ = checkbox(ui, &mut settings.record, "Record each application's traffic"));
        number(ui, "Size limit", &mut self.limit, &mut settings.history_limit_mb, &LIMIT, |ui| {
            ui.label("MB");
            let text = "When this is reached, the finest details are deleted first, then the oldest records.";
            ui.label(RichText::new(text).small().weak());
        });
        let mut day = settings.billing_day.into();
        number(ui, "Billing day", &mut self.billing_day, &mut day, &BILLING_DAY, |ui| {
            let text = "Months begin on this day, or on the last day of a shorter month.";
            ui.label(RichText::new(text).small().weak());
        });
        settings.billing_day = u8::try_from(day).unwrap_or(settings.billing_day);
        row(ui, "", |ui| {
            if ui.button("Forget…").on_hover_text("Delete the records of some days, or all of them").clicked() {
                self.forgetting = Some(Forgetting::default());
            }
        });
    }

    fn display(&self, ui: &mut Ui, settings: &mut Settings) {
        let Settings { unit, beat, theme, colours, .. } = settings;
        let units = [Choice::new(Unit::Bytes, "Bytes"), Choice::new(Unit::Bits, "Bits")];
        row(ui, "Units", |ui| choice::radios(ui, "Units", unit, &units));
        // One that was written into the file by hand stands among the others.
        let mut beats: Vec<_> = BEATS_MS.map(Duration::from_millis).to_vec();
        if !beats.contains(beat) {
            beats.push(*beat);
            beats.sort_unstable();
        }
        let beats: Vec<_> = beats.iter().map(|beat| Choice::new(*beat, format!("{} s", beat.as_secs_f64()))).collect();
        row(ui, "Update interval", |ui| choice::radios(ui, "Update interval", beat, &beats));
        let themes = [(Theme::System, "System"), (Theme::Dark, "Dark"), (Theme::Light, "Light")];
        let themes = themes.map(|(theme, name)| Choice::new(theme, name));
        row(ui, "Theme", |ui| choice::radios(ui, "Theme", theme, &themes));
        let dark = ui.visuals().dark_mode;
        let palettes = Palette::ALL.map(|palette| {
            let shown = Colours::new(palette, dark);
            let swatch = Some([shown.download, shown.upload].map(colour));
            Choice { swatch, ..Choice::new(palette, palette_words(palette).0) }
        });
        row(ui, "Colours", |ui| choice::radios(ui, "Colours", colours, &palettes));
        row(ui, "", |ui| _ = ui.label(RichText::new(palette_words(settings.colours).1).small().weak()));
    }

    fn exact(&mut self, ui: &mut Ui, update: &Update, outcome: &mut Outcome) {
        let sentence = match &update.exact {
            Exact::Counting => "The kernel counts every packet: TCP, UDP and QUIC.".to_owned(),
            Exact::NotInstalled | Exact::Absent => {
                format!("The figures are an estimate without UDP and QUIC. {WHAT_IT_TAKES}")
            }
            Exact::Unconfirmed(why) => format::sentence(why),
            Exact::Failed(why) => not_working(why),
        };
        ui.label(sentence);
        if update.asking {
            ui.label(WAITING);
        }
        let here = !update.asking;
        if matches!(update.exact, Exact::NotInstalled | Exact::Absent | Exact::Unconfirmed(_)) {
            self.removing = false;
            if ui.add_enabled(here, Button::new(COUNT_EXACTLY)).clicked() {
                outcome.wish = Some(Command::CountExactly);
            }
        } else if !self.removing {
            if ui.add_enabled(here, Button::new("Remove Exact Counting…")).clicked() {
                self.removing = true;
            }
        } else {
            let frame = Frame::group(ui.style());
            frame.show(ui, |ui| {
                ui.label(
                    "This stops exact counting for all users of this computer and removes what was set up for it. netglance \
                     goes back to the estimate. Needs an administrator's password. You can turn it on again at any time.",
                );
                ui.horizontal(|ui| {
                    if ui.add_enabled(here, Button::new("Remove")).clicked() {
                        outcome.wish = Some(Command::RemoveExact);
                        self.removing = false;
                    }
                    if ui.button("Cancel").clicked() {
                        self.removing = false;
                    }
                });
            });
        }
    }
}

fn start_at_login(ui: &mut Ui, update: &Update, outcome: &mut Outcome) {
    row(ui, "", |ui| {
        let mut on = update.start_at_login;
        if checkbox(ui, &mut on, "Start at login, in the tray") {
            outcome.wish = Some(Command::StartAtLogin(on));
        }
    });
}

/// A check box. Whether it was changed.
pub fn checkbox(ui: &mut Ui, on: &mut bool, name: &str) -> bool {
    // An empty box is nothing but its border.
    let text = ui.visuals().weak_text_color();
    ui.visuals_mut().widgets.inactive.bg_stroke.color = text;
    ui.checkbox(on, name).changed()
}

/// A number that is in force once it was typed as a whole. What is wrong with it is said, and stays.
fn number(
    ui: &mut Ui,
    name: &str,
    typed: &mut Option<Field>,
    value: &mut u32,
    kind: &Kind<u32>,
    after: impl FnOnce(&mut Ui),
) {
    let mut wrong = None;
    ui.horizontal(|ui| {
        let title = name_of(ui, name);
        let mut field = typed.take().unwrap_or_else(|| Field::new(value.to_string()));
        let outcome = field.ui(ui, &title, kind);
        wrong = field.wrong(&outcome);
        match outcome.value {
            Ok(number) if outcome.done => *value = number,
            Ok(_) if !outcome.focused => {} // it shows the value, which may change meanwhile
            _ => *typed = Some(field),
        }
        after(ui);
    });
    if let Some(wrong) = wrong {
        row(ui, "", |ui| field::say_wrong(ui, &wrong));
    }
}

fn palette_words(palette: Palette) -> (&'static str, &'static str) {
    const SAFE: &str = "Easy to tell apart for colour-blind people. Uploads are also drawn dashed.";
    match palette {
        Palette::BlueOrange => ("Blue and orange", SAFE),
        Palette::GreenPurple => ("Green and purple", SAFE),
        Palette::GreenRed => {
            ("Green and red", "Hard to tell apart for some colour-blind people. Uploads are also drawn dashed.")
        }
    }
}

/// A heading, and room over it.
pub fn section(ui: &mut Ui, title: &str) {
    ui.add_space(14.0);
    ui.label(RichText::new(title).size(17.0).strong());
    ui.add_space(2.0);
}

/// A setting: its name, and what there is to choose.
fn row(ui: &mut Ui, name: &str, choices: impl FnOnce(&mut Ui)) {
    ui.horizontal(|ui| {
        if name.is_empty() {
            ui.add_space(NAME_WIDTH);
        } else {
            name_of(ui, name);
        }
        choices(ui);
    });
}

fn name_of(ui: &mut Ui, name: &str) -> Response {
    let size = vec2(NAME_WIDTH - ui.spacing().item_spacing.x, ui.spacing().interact_size.y);
    let label = |ui: &mut Ui| {
        ui.set_min_width(size.x);
        ui.label(name)
    };
    ui.allocate_ui(size, label).inner
}
