//! Charts as a picture on their own: with their names, the time that they show, and what their textures mean.

use std::io;

use jiff::{Timestamp, ZonedDateTime};
use plotters::{
    coord::Shift,
    prelude::{
        Color, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, IntoFont, PathElement, Rectangle, SVGBackend, Text,
    },
    style::{
        RGBAColor, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{Chart, What, draw, draw_dashes};
use crate::keep::usage::Seen;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// Of one chart's name, in multiples of its labels' size.
const HEAD_TEXTS: f64 = 2.4;
/// Of the line below the names that says the time, and of the legend below it all.
const LINE_TEXTS: f64 = 1.8;

/// A whole SVG document: one chart, or several of one span, one below the other. `charts`: each with its name; `width` and `height`
/// are those of the whole picture.
pub fn svg(charts: &[(&str, Chart<'_>)], width: u32, height: u32) -> Result<String, DrawingAreaErrorKind<io::Error>> {
    let mut text = String::new();
    {
        let all = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        if let Some((_, first)) = charts.first() {
            all.fill(&first.colours.background)?;
            let line = super::pixel(first.text_pixels * LINE_TEXTS);
            let margin = super::pixel(first.text_pixels);
            let all = all.margin(margin / 2, margin / 2, margin, margin / 2);
            let (above, legend) = all.split_vertically(super::pixel(f64::from(all.dim_in_pixel().1)) - line);
            let (head, rest) = above.split_vertically(line);
            write(&head, &span(first), (0, line / 2), first.text_pixels, first.colours.text)?;
            for ((name, chart), area) in charts.iter().zip(rest.split_evenly((charts.len(), 1))) {
                let (head, below) = area.split_vertically(super::pixel(chart.text_pixels * HEAD_TEXTS));
                let middle = super::pixel(chart.text_pixels * HEAD_TEXTS / 2.0);
                write(&head, name, (0, middle), chart.text_pixels * 1.4, chart.colours.strong())?;
                draw(&below, chart)?;
            }
            explain(&legend, charts, line / 2)?;
        }
        all.present()?;
    }
    Ok(text)
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), pixels: f64, colour: RGBColor) -> Drawn {
    let style = TextStyle::from(("sans-serif", pixels).into_font()).color(&colour);
    area.draw(&Text::new(text.to_owned(), at, style.pos(Pos::new(HPos::Left, VPos::Center))))
}

/// "2026-11-26 14:05 to 2026-11-27 14:05 (Europe/Berlin)".
fn span(chart: &Chart<'_>) -> String {
    let (from, to) = chart.span;
    #[expect(clippy::cast_possible_truncation, reason = "a time, which Timestamp checks")]
    let at = |secs: f64| Timestamp::from_second(secs.round() as i64).unwrap_or(chart.now);
    let format = if to - from < 600.0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    let [from, to] = [at(from), at(to).min(chart.now)].map(|at| ZonedDateTime::new(at, chart.zone.clone()));
    let zone = to.time_zone().iana_name().map_or(String::new(), |name| format!(" ({name})"));
    format!("{} to {}{zone}", from.strftime(format), to.strftime(format))
}

/// What each texture means, of those that are there.
fn explain(area: &Area<'_>, charts: &[(&str, Chart<'_>)], middle: i32) -> Drawn {
    let Some((_, chart)) = charts.first() else { return Ok(()) };
    let (colours, text_pixels) = (chart.colours, chart.text_pixels);
    let bars = matches!(chart.what, What::Bars(_));
    let (sample, pad) = (super::pixel(text_pixels * 1.8), super::pixel(text_pixels * 0.5));
    let mut left = 0;
    let has = |seen| charts.iter().any(|(_, chart)| chart.has(seen));
    for (name, shown, colour) in [
        ("Download", true, colours.download),
        ("Upload", true, colours.upload),
        ("Average (netglance was closed or paused)", has(Seen::Away), colours.download),
        ("Not recorded", has(Seen::Not), colours.grid),
    ] {
        if !shown {
            continue;
        }
        let half = super::pixel(text_pixels * 0.4);
        let corners = [(left, middle - half), (left + sample, middle + half)];
        let line = [(left, middle), (left + sample, middle)];
        let dotted = [0.15, 0.3].map(|texts| texts * text_pixels);
        match name {
            "Upload" if bars => {
                area.draw(&Rectangle::new(corners, colour.mix(0.12).filled()))?;
                area.draw(&Rectangle::new(corners, colour))?;
                hatch(area, corners, colour.mix(1.0))?;
            }
            "Upload" => draw_dashes(area, &line, [0.6, 0.25].map(|texts| texts * text_pixels), colour)?,
            "Download" if bars => area.draw(&Rectangle::new(corners, colour.mix(0.85).filled()))?,
            "Download" => area.draw(&PathElement::new(line.to_vec(), colour.stroke_width(2)))?,
            "Not recorded" => {
                area.draw(&Rectangle::new(corners, colour.mix(0.6).filled()))?;
                if !bars {
                    hatch(area, corners, colours.text.mix(0.25))?;
                }
            }
            _ => {
                area.draw(&Rectangle::new(corners, colour.mix(0.1).filled()))?;
                let [(left, top), (right, bottom)] = corners;
                draw_dashes(area, &[(left, bottom), (left, top), (right, top), (right, bottom)], dotted, colour)?;
            }
        }
        let at = (left + sample + pad, middle);
        write(area, name, at, text_pixels, colours.text)?;
        left = at.0 + super::pixel(text_pixels * 0.45 * name.chars().count() as f64) + 3 * pad;
    }
    Ok(())
}

fn hatch(area: &Area<'_>, [(left, top), (right, bottom)]: [(i32, i32); 2], colour: RGBAColor) -> Drawn {
    for at in (left..=right - (bottom - top)).step_by(5) {
        area.draw(&PathElement::new(vec![(at, bottom), (at + bottom - top, top)], colour))?;
    }
    Ok(())
}
