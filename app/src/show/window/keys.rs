//! The keys: what they do, and the sheet that says so. Those of one control are its own.

use eframe::egui::{Frame, Grid, Id, Key, Modal, Modifiers, RichText, Ui, ViewportCommand};

use super::{SPANS_MIN, Window, proof::Tab};
use crate::show::update::Command;

const KEYS: [(&str, &str); 14] = [
    ("Ctrl+F", "Search the applications; Enter watches the first, Ctrl+Enter beside the others"),
    ("Up, Down", "Watch the application before or after"),
    ("Alt+Left, Backspace", "Back to all applications"),
    ("Ctrl+click", "Watch an application beside the others, or no longer"),
    ("Tab, Shift+Tab", "To the next control, to the one before"),
    ("Enter", "Press the control that has the focus"),
    ("1, 2, 3", "Show the last minute, 5 minutes, 15 minutes"),
    ("Space", "Hold the picture, or go on; the counting goes on meanwhile"),
    ("Ctrl+comma", "Settings"),
    ("Ctrl+P", "Proof: that internal traffic is left out, and why what is external is external"),
    ("F1 or ?", "This help"),
    ("Escape", "Close what is open"),
    ("Ctrl+W", "Close this window"),
    ("Ctrl+Q", "End netglance"),
];

/// Draws the sheet. Whether it stays.
pub fn sheet_stays(ui: &Ui) -> bool {
    let sheet = Modal::new(Id::unique("keys")).frame(Frame::popup(ui.style()).inner_margin(18)).show(ui.ctx(), |ui| {
        ui.set_max_width(560.0);
        ui.heading("Keys");
        ui.add_space(6.0);
        Grid::new("keys").num_columns(2).spacing([20.0, 6.0]).show(ui, |ui| {
            for (key, does) in KEYS {
                ui.label(RichText::new(key).strong());
                ui.label(does);
                ui.end_row();
            }
        });
        ui.add_space(8.0);
        let close = ui.button("Close");
        if ui.memory(|m| m.focused()).is_none() {
            close.request_focus();
        }
        close.clicked()
    });
    let escape = ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
    !(sheet.inner || escape || sheet.backdrop_response.clicked())
}

impl Window {
    /// Does what the keys say that were pressed.
    pub(super) fn shortcuts(&mut self, ui: &Ui) {
        let pressed = |modifiers, key| ui.input_mut(|i| i.consume_key(modifiers, key));
        if pressed(Modifiers::COMMAND, Key::Q) {
            self.send(Command::Quit);
            ui.ctx().send_viewport_cmd(ViewportCommand::Close);
        }
        if pressed(Modifiers::COMMAND, Key::W) {
            ui.ctx().send_viewport_cmd(ViewportCommand::Close);
        }
        if pressed(Modifiers::NONE, Key::F1) {
            self.help = true;
        }
        if pressed(Modifiers::COMMAND, Key::Comma) {
            self.open_settings();
        }
        if pressed(Modifiers::COMMAND, Key::P) {
            self.open_proof(Tab::Proof);
        }
        if !self.help && pressed(Modifiers::NONE, Key::Escape) {
            self.picker.clear();
            self.close_pages();
        }
        let page = self.help || self.settings_page.is_some() || self.proof_page.is_some();
        if !page && pressed(Modifiers::ALT, Key::ArrowLeft) {
            self.back();
        }
        if ui.memory(|m| m.focused()).is_some() || self.help {
            return; // Space, Backspace, digits and the question mark belong to what has the focus.
        }
        if ui.input(|i| i.key_pressed(Key::Questionmark)) {
            self.help = true;
        }
        if page {
            return;
        }
        if pressed(Modifiers::NONE, Key::Backspace) {
            self.back();
        }
        for (key, minutes) in [Key::Num1, Key::Num2, Key::Num3].into_iter().zip(SPANS_MIN) {
            if ui.input(|i| i.key_pressed(key)) {
                self.show_span(minutes);
            }
        }
        if ui.input(|i| i.key_pressed(Key::Space)) {
            self.toggle_pause(self.update.as_ref().is_some_and(|update| update.paused));
        }
    }
}
