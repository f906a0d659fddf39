//! The settings, a page in place of all else. What is chosen is in force at once; it reads and writes no file itself.

use eframe::egui::{Align, Button, Frame, Label, Layout, RichText, ScrollArea, Sense, Ui, vec2};

use super::{
    bars::{COUNT_EXACTLY, WAITING, WHAT_IT_TAKES},
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
    /// "Remove exact counting…" was pressed and waits for a second word.
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
const PAGE_WIDTH: f32 = 720.0;
const BEATS_MS: [u64; 6] = [100, 200, 500, 1000, 2000, 5000];

impl SettingsPage {
    /// Draws the page and takes what is chosen into `settings`.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &mut Settings) -> Outcome {
        let mut outcome = Outcome::default();
        let close = ui
            .horizontal(|ui| {
                ui.heading("Settings");
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.button("Close").on_hover_text("Escape"))
                    .inner
            })
            .inner;
        outcome.close = close.clicked();
        ui.separator();
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            ui.set_max_width(PAGE_WIDTH.min(ui.available_width() - 12.0));
            self.display(ui, settings);
            start_at_login(ui, update, &mut outcome);
            section(ui, "Exact counting");
            self.exact(ui, update, &mut outcome);
            section(ui, "What stays inside");
            self.prefixes.ui(ui, update, settings);
            ui.add_space(16.0);
            ui.label(
                RichText::new(
                    "Kept in ~/.config/netglance/config.toml. What is changed there by hand is in force at once.",
                )
                .small()
                .weak(),
            );
            super::keep_focus_in_view(ui, Some(close.id));
        });
        outcome
    }

    fn display(&self, ui: &mut Ui, settings: &mut Settings) {
        row(ui, "Rates in", |ui| {
            ui.selectable_value(&mut settings.unit, Unit::Bytes, "Bytes");
            ui.selectable_value(&mut settings.unit, Unit::Bits, "Bits");
        });
        row(ui, "Look every", |ui| {
            let beat_ms = u64::try_from(settings.beat.as_millis()).unwrap_or(u64::MAX);
            // One that was written into the file by hand stands among the others.
            let mut beats = BEATS_MS.to_vec();
            if !beats.contains(&beat_ms) {
                beats.push(beat_ms);
                beats.sort_unstable();
            }
            for ms in beats {
                let beat = std::time::Duration::from_millis(ms);
                if ui.selectable_label(beat_ms == ms, format!("{} s", beat.as_secs_f64())).clicked() {
                    settings.beat = beat;
                }
            }
        });
        row(ui, "Theme", |ui| {
            for (theme, label) in [(Theme::System, "System"), (Theme::Dark, "Dark"), (Theme::Light, "Light")] {
                ui.selectable_value(&mut settings.theme, theme, label);
            }
        });
        row(ui, "Colours", |ui| {
            for palette in Palette::ALL {
                let colours = Colours::new(palette, ui.visuals().dark_mode);
                let (name, _) = palette_words(palette);
                let (rect, _) = ui.allocate_exact_size(vec2(24.0, 16.0), Sense::hover());
                let (left, right) = rect.split_left_right_at_fraction(0.5);
                ui.painter().rect_filled(left, 2.0, colour(colours.download));
                ui.painter().rect_filled(right, 2.0, colour(colours.upload));
                ui.selectable_value(&mut settings.colours, palette, name);
                ui.add_space(10.0);
            }
        });
        row(ui, "", |ui| _ = ui.label(RichText::new(palette_words(settings.colours).1).small().weak()));
    }

    fn exact(&mut self, ui: &mut Ui, update: &Update, outcome: &mut Outcome) {
        let sentence = match &update.exact {
            Exact::Counting => "Every packet is counted by the kernel: TCP, UDP and QUIC.".to_owned(),
            Exact::NotInstalled | Exact::Absent => {
                format!("The figures are an estimate: UDP and QUIC are not in them. {WHAT_IT_TAKES}")
            }
            Exact::Unconfirmed(why) => format::sentence(why),
            Exact::Failed(why) => format!("Exact counting does not work now: {why}."),
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
            if ui.add_enabled(here, Button::new("Remove exact counting…")).clicked() {
                self.removing = true;
            }
        } else {
            let frame = Frame::group(ui.style());
            frame.show(ui, |ui| {
                ui.label(
                    "The kernel stops counting for every user of this computer, and what was set up for it is taken away. \
                     netglance goes on with the estimate. A password is asked for; you can have it back at any time.",
                );
                ui.horizontal(|ui| {
                    if ui.add_enabled(here, Button::new("Remove")).clicked() {
                        outcome.wish = Some(Command::RemoveExact);
                        self.removing = false;
                    }
                    if ui.button("Keep").clicked() {
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
    const SAFE: &str = "The colour-blind tell these two apart. Upload is dashed besides.";
    match palette {
        Palette::BlueOrange => ("Blue and orange", SAFE),
        Palette::GreenPurple => ("Green and purple", SAFE),
        Palette::GreenRed => ("Green and red", "Not everybody tells these two apart. Upload is dashed besides."),
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
