//! The settings, a page in place of all else. What is chosen is in force at once; it reads and writes no file itself.

use std::time::Duration;

use eframe::egui::{Align, Button, Frame, Label, Layout, RichText, ScrollArea, Ui, vec2};

use super::{
    bars::{COUNT_EXACTLY, WAITING, WHAT_IT_TAKES, not_working},
    choice::{self, Choice},
    keys::Action,
    prefixes::PrefixLists,
    style::colour,
};
use crate::{
    base::{
        format,
        settings::{Palette, Settings, Theme, Unit},
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
            section(ui, "Internal Addresses");
            self.prefixes.ui(ui, update, settings);
            ui.add_space(16.0);
            ui.label(
                RichText::new("Stored in ~/.config/netglance/config.toml. Changes to the file apply at once.")
                    .small()
                    .weak(),
            );
            super::scroll_by_keys(ui);
            super::keep_focus_in_view(ui, Some(close.id));
        });
        outcome
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
        // An empty box is nothing but its border.
        let text = ui.visuals().weak_text_color();
        ui.visuals_mut().widgets.inactive.bg_stroke.color = text;
        let mut on = update.start_at_login;
        if ui.checkbox(&mut on, "Start at login, in the tray").changed() {
            outcome.wish = Some(Command::StartAtLogin(on));
        }
    });
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
        let width = if name.is_empty() { NAME_WIDTH } else { 0.0 };
        ui.add_space(width);
        if !name.is_empty() {
            ui.allocate_ui(vec2(NAME_WIDTH - ui.spacing().item_spacing.x, ui.spacing().interact_size.y), |ui| {
                ui.set_min_width(NAME_WIDTH - ui.spacing().item_spacing.x);
                ui.add(Label::new(name));
            });
        }
        choices(ui);
    });
}
