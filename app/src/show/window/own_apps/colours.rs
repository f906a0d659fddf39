//! The colours of one's own apps, which both themes can show. Pure but for the mark that is painted.

use eframe::egui::{Color32, Rect, Ui};

use crate::base::settings::Settings;

/// Those that are offered, with what they are called.
pub const PALETTE: [(&str, [u8; 3]); 7] = [
    ("Blue", [0x35, 0x84, 0xe4]),
    ("Green", [0x2b, 0x96, 0x5a]),
    ("Orange", [0xd0, 0x6a, 0x0c]),
    ("Purple", [0x9a, 0x63, 0xd4]),
    ("Red", [0xe0, 0x45, 0x40]),
    ("Teal", [0x16, 0x90, 0x9c]),
    ("Pink", [0xcf, 0x50, 0x98]),
];

/// How wide the mark of an app is.
pub const MARK_WIDTH: f32 = 4.0;

/// The colour of the app with this id; `None`: it is none of one's own. Where nobody has chosen any, it is the next that is free.
pub fn of(id: &str, settings: &Settings) -> Option<[u8; 3]> {
    let apps = settings.own_apps();
    let taken: Vec<_> = apps.iter().filter_map(|app| app.colour).collect();
    let free: Vec<_> = PALETTE.iter().map(|(_, colour)| *colour).filter(|colour| !taken.contains(colour)).collect();
    let app = apps.iter().find(|app| app.name == id)?;
    let place = || apps.iter().filter(|app| app.colour.is_none()).position(|app| app.name == id);
    app.colour.or_else(|| {
        let colours = if free.is_empty() { PALETTE.map(|(_, colour)| colour).to_vec() } else { free };
        colours.get(place()? % colours.len()).copied()
    })
}

/// A colour in egui's words.
pub fn egui([red, green, blue]: [u8; 3]) -> Color32 {
    Color32::from_rgb(red, green, blue)
}

/// Paints the mark of an app of one's own at the left end of its row.
pub fn mark(ui: &Ui, row: Rect, id: &str, settings: &Settings) {
    if let Some(colour) = of(id, settings) {
        let mark = row.with_max_x(row.left() + MARK_WIDTH).shrink2(eframe::egui::vec2(0.0, 4.0));
        ui.painter().rect_filled(mark, MARK_WIDTH / 2.0, egui(colour));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::settings::OwnApp,
        show::chart::{DARK, LIGHT},
    };

    /// As WCAG 2.2 has it (1.4.11): 3 for what is no text.
    #[test]
    fn both_themes_show_every_colour() {
        let light = |[r, g, b]: [u8; 3]| {
            let part = |part: u8| {
                let part = f64::from(part) / 255.0;
                if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b) + 0.05
        };
        for (name, colour) in PALETTE {
            for theme in [DARK, LIGHT] {
                let background = theme.background;
                let (a, b) = (light(colour), light([background.0, background.1, background.2]));
                let contrast = a.max(b) / a.min(b);
                assert!(contrast >= 3.0, "{name}: {contrast}");
            }
        }
    }

    #[test]
    fn the_next_colour_that_is_free_is_taken() {
        let app = |name: &str, colour| OwnApp {
            name: name.to_owned(),
            units: vec!["x".to_owned()],
            colour,
            ..OwnApp::default()
        };
        let [blue, green, ..] = PALETTE.map(|(_, colour)| colour);
        let other = Some([1, 2, 3]);
        let apps = vec![app("a", None), app("b", Some(blue)), app("c", other), app("d", None)];
        let settings = Settings { apps, ..Settings::default() };
        let of = |id: &str| of(id, &settings);
        assert_eq!([of("a"), of("b"), of("c")], [Some(green), Some(blue), other]);
        assert_eq!((of("d"), of("StB"), of("e")), (Some(PALETTE[2].1), Some(PALETTE[3].1), None));
    }
}
