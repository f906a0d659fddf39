//! The bars of a chart: what each slot moved, upload on top of download. They differ by more than their colours: download is
//! filled, upload is hatched.

use plotters::{
    coord::Shift,
    prelude::{Color, DrawingArea, DrawingBackend, PathElement, RGBColor, Rectangle},
};

use super::{Chart, Drawn, Part, Place, draw_dashes};
use crate::keep::usage::Seen;

/// Of a bar's width, on either side of it.
pub(super) const MARGIN: f64 = 0.14;
/// From one line of the hatching to the next, in multiples of the labels' size.
const HATCH_TEXTS: f64 = 0.42;

type Corners = [(i32, i32); 2];

/// Draws all that are known.
pub(super) fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, chart: &Chart<'_>, place: &Place) -> Drawn<DB> {
    for part in chart.parts().into_iter().filter(|part| part.seen != Seen::Not) {
        let margin = (part.to - part.from) * MARGIN;
        // One that is cut off by an edge has no margin there.
        let (left, right) = (place.x(part.from + margin), place.x(part.to - margin));
        let right = right.max(left + 1);
        let middle = place.y(part.moved.rx);
        let mut top = place.y(part.moved.rx + part.moved.tx);
        if part.moved.tx > 0.0 && middle - top < 1 {
            top = middle - 1; // so little is still something
        }
        bar(area, chart, &part, [(left, middle), (right, place.y(0.0))], chart.colours.download, false)?;
        bar(area, chart, &part, [(left, top), (right, middle)], chart.colours.upload, true)?;
    }
    Ok(())
}

fn bar<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    chart: &Chart<'_>,
    part: &Part,
    corners: Corners,
    colour: RGBColor,
    hatched: bool,
) -> Drawn<DB> {
    let [(left, top), (right, bottom)] = corners;
    if bottom <= top {
        return Ok(());
    }
    let light = part.in_progress || part.seen == Seen::Away;
    let fill = match (hatched, light) {
        (false, false) => 0.85,
        (false, true) => 0.35,
        (true, _) => 0.12,
    };
    area.draw(&Rectangle::new(corners, colour.mix(fill).filled()))?;
    if hatched {
        let alpha = if light { 0.5 } else { 1.0 };
        for line in hatching(corners, super::pixel(chart.text_pixels * HATCH_TEXTS)) {
            area.draw(&PathElement::new(line.to_vec(), colour.mix(alpha)))?;
        }
    }
    let outline = [(left, bottom), (left, top), (right, top), (right, bottom)];
    if part.seen == Seen::Away {
        return draw_dashes(area, &outline, [0.15, 0.3].map(|texts| texts * chart.text_pixels), colour);
    }
    area.draw(&PathElement::new(outline.to_vec(), colour.mix(if light { 0.7 } else { 1.0 })))
}

/// Lines that rise to the right, cut at the edges.
fn hatching([(left, top), (right, bottom)]: Corners, distance: i32) -> impl Iterator<Item = Corners> {
    let distance = distance.max(3);
    let first = (left + top).div_euclid(distance) + 1;
    (first..).map(move |i| i * distance).take_while(move |sum| *sum < right + bottom).map(move |sum| {
        let (from, to) = (left.max(sum - bottom), right.min(sum - top));
        [(from, sum - from), (to, sum - to)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hatching_stays_within_its_bar() {
        let lines: Vec<Corners> = hatching([(10, 20), (14, 40)], 5).collect();
        assert_eq!(lines, [[(10, 25), (14, 21)], [(10, 30), (14, 26)], [(10, 35), (14, 31)], [(10, 40), (14, 36)]]);
    }
}
