//! Which colours a chart is drawn in.

use plotters::style::RGBColor;

use crate::base::settings::Palette;

/// What is drawn in which colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colours {
    /// Behind everything.
    pub background: RGBColor,
    /// Axis labels.
    pub text: RGBColor,
    /// Grid lines and gaps.
    pub grid: RGBColor,
    /// Download.
    pub download: RGBColor,
    /// Upload; dashed besides.
    pub upload: RGBColor,
}

impl Colours {
    /// What suits a dark or light background. Download and upload are legible as text too.
    pub const fn new(palette: Palette, dark: bool) -> Self {
        let (download, upload) = match (palette, dark) {
            (Palette::BlueOrange, true) => (DARK.download, DARK.upload),
            (Palette::BlueOrange, false) => (LIGHT.download, LIGHT.upload),
            (Palette::GreenPurple, true) => (RGBColor(0, 190, 140), RGBColor(222, 146, 192)),
            (Palette::GreenPurple, false) => (RGBColor(0, 115, 85), RGBColor(158, 58, 118)),
            (Palette::GreenRed, true) => (RGBColor(100, 200, 100), RGBColor(255, 125, 110)),
            (Palette::GreenRed, false) => (RGBColor(30, 120, 40), RGBColor(195, 40, 40)),
        };
        let around = if dark { DARK } else { LIGHT };
        Self { download, upload, ..around }
    }

    /// For a title: more contrast than that of a label.
    pub fn strong(self) -> RGBColor {
        if self.background == DARK.background { RGBColor(228, 232, 238) } else { RGBColor(28, 33, 40) }
    }
}

/// On a light background.
pub const LIGHT: Colours = Colours {
    background: RGBColor(255, 255, 255),
    text: RGBColor(80, 88, 99),
    grid: RGBColor(226, 230, 235),
    download: RGBColor(0, 104, 170),
    upload: RGBColor(180, 76, 0),
};

/// On a dark background.
pub const DARK: Colours = Colours {
    background: RGBColor(26, 30, 36),
    text: RGBColor(160, 169, 181),
    grid: RGBColor(49, 55, 64),
    download: RGBColor(86, 180, 233),
    upload: RGBColor(240, 165, 40),
};
