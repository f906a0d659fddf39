//! The keys, on a sheet over the window.

use eframe::egui::{Frame, Grid, Id, Key, Modal, RichText, Ui};

const KEYS: [(&str, &str); 12] = [
    ("Ctrl+F", "Search the applications; Enter watches the first, Ctrl+Enter beside the others"),
    ("Up, Down", "Watch the application before or after"),
    ("Ctrl+click", "Watch an application beside the others, or no longer"),
    ("Tab, Shift+Tab", "To the next control, to the one before"),
    ("Enter", "Press the control that has the focus"),
    ("1, 2, 3", "Show the last minute, 5 minutes, 15 minutes"),
    ("Space", "Hold the picture, or go on; the counting goes on meanwhile"),
    ("Ctrl+comma", "Settings"),
    ("F1 or ?", "This help"),
    ("Escape", "Close what is open"),
    ("Ctrl+W", "Close this window"),
    ("Ctrl+Q", "End netglance"),
];

/// Draws it. Whether it stays.
pub fn stays(ui: &Ui) -> bool {
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
    let escape = ui.input_mut(|i| i.consume_key(eframe::egui::Modifiers::NONE, Key::Escape));
    !(sheet.inner || escape || sheet.backdrop_response.clicked())
}
