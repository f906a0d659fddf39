//! The tray icon's picture: the last rates as a sparkline, download above the line in the middle and upload below. Pure.
//!
//! A panel shows it in 16 to 48 pixels, dark or light. So it brings its own dark plate, and is drawn in blocks that are whole
//! pixels at half and at a third of its size. Heights are logarithmic, from 100 B/s to 100 MB/s: a glance tells kB/s from
//! MB/s, and idle noise looks idle.

use std::collections::VecDeque;

use plotters::style::RGBColor;

use super::chart::Colours;
use crate::{base::settings::Palette, look::rate::Rate};

/// Width and height in pixels.
pub const SIDE: u32 = 48;
/// Beats that it shows.
const COLUMNS: usize = 12;
const COLUMN_PIXELS: usize = 4;
/// A direction's tallest column, and the steps of its height.
const HIGHEST: usize = 20;
const STEP: usize = 2;
const LEAST: f64 = 100.0;
const MOST: f64 = 100_000_000.0;

const PLATE: [u8; 4] = [0x1B, 0x22, 0x2B, 0xFF];
const LINE: [u8; 4] = [0x8A, 0x97, 0xA5, 0xFF];
const BARS: [u8; 4] = [0xFF, 0xFF, 0xFF, 0xFF];

/// What the picture shows: two equal ones are the same picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Heights of download and upload, oldest first; `None`: a gap.
    columns: VecDeque<Option<[usize; 2]>>,
    /// Two bars over it: nobody looks.
    pub paused: bool,
    /// The colours of download and upload.
    pub palette: Palette,
}

impl Picture {
    /// Adds a beat at the right. `None`: a gap.
    pub fn push(&mut self, rate: Option<Rate>) {
        self.columns.push_back(rate.map(|rate| [height(rate.rx), height(rate.tx)]));
        while self.columns.len() > COLUMNS {
            self.columns.pop_front();
        }
    }

    /// Red, green, blue, alpha of each pixel, row by row.
    pub fn rgba(&self) -> Vec<u8> {
        let side = SIDE as usize;
        let colours = Colours::new(self.palette, true); // the plate is dark
        let [download, upload] = [colours.download, colours.upload].map(|RGBColor(r, g, b)| [r, g, b, 0xFF]);
        let mut pixels = vec![0; side * side * 4];
        let mut put = |x: usize, y: usize, colour: [u8; 4]| {
            if let Some(pixel) = pixels.get_mut((y * side + x) * 4..).and_then(|rest| rest.first_chunk_mut()) {
                *pixel = colour;
            }
        };
        let middle = side / 2;
        for y in 0..side {
            // The plate's corners are round: at each edge this much is missing.
            let from_edge = y.min(side - 1 - y);
            let missing = [6, 4, 3, 2, 1, 1].get(from_edge).copied().unwrap_or(0);
            for x in missing..side - missing {
                let column = self.columns.len().checked_sub(COLUMNS - x / COLUMN_PIXELS);
                let column = column.and_then(|at| self.columns.get(at)).copied();
                let above = middle.checked_sub(y + 1).map(|up| up.saturating_sub(1));
                let colour = match (column, above) {
                    _ if y + 1 == middle || y == middle => match column {
                        // A gap breaks the line.
                        Some(None) if x % COLUMN_PIXELS < COLUMN_PIXELS / 2 => PLATE,
                        _ => LINE,
                    },
                    (Some(Some([rx, _])), Some(above)) if above < rx => download,
                    (Some(Some([_, tx])), None) if y - middle - 1 < tx => upload,
                    _ => PLATE,
                };
                let bar = self.paused && (12..36).contains(&y) && ((14..20).contains(&x) || (28..34).contains(&x));
                let dimmed = if self.paused { colour.map(|part| part / 2) } else { colour };
                let dimmed = [dimmed[0], dimmed[1], dimmed[2], 0xFF];
                put(x, y, if bar { BARS } else { dimmed });
            }
        }
        pixels
    }
}

/// How tall a rate is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the number of steps")]
fn height(bytes_per_sec: f64) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "a few pixels")]
    let steps = (HIGHEST / STEP) as f64;
    let share = (bytes_per_sec.max(LEAST) / LEAST).log10() / (MOST / LEAST).log10();
    (share.min(1.0) * steps).ceil() as usize * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_tell_the_order_of_magnitude() {
        for (rate, expected) in [
            (0.0, 0),
            (100.0, 0),
            (101.0, 2),
            (1e3, 4),
            (1e4, 8),
            (1e5, 10),
            (1e6, 14),
            (1e7, 18),
            (1e8, 20),
            (1e12, 20),
        ] {
            assert_eq!(height(rate), expected, "{rate}");
        }
    }

    #[test]
    fn idle_is_one_picture_and_traffic_another() {
        let idle = Some(Rate { rx: 20.0, tx: 0.0 });
        let mut picture = Picture::default();
        (0..COLUMNS).for_each(|_| picture.push(idle));
        let before = picture.clone();
        picture.push(Some(Rate { rx: 40.0, tx: 3.0 }));
        assert_eq!(picture, before);
        picture.push(None);
        assert_ne!(picture.rgba(), before.rgba());
        picture.push(Some(Rate { rx: 1e6, tx: 2e4 }));
        for palette in Palette::ALL {
            picture.palette = palette;
            let pixels = picture.rgba();
            let colours = Colours::new(palette, true);
            let count = |RGBColor(r, g, b)| pixels.chunks_exact(4).filter(|pixel| *pixel == [r, g, b, 0xFF]).count();
            // Less what the round corner cuts off; the column beside the line is one pixel further away.
            let counted = (count(colours.download), count(colours.upload));
            assert_eq!(counted, (14 * COLUMN_PIXELS, 8 * COLUMN_PIXELS), "{palette:?}");
            assert_eq!(pixels.len(), (SIDE * SIDE * 4) as usize);
        }
    }
}
