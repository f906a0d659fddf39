//! The chart: rates over time, drawn with plotters on any backend. Pure: what it shows is all in [`Chart`].
//!
//! Each point is drawn flat over the time it was measured in, gaps as hatched bands, nothing smoothed.

use jiff::{Timestamp, tz::TimeZone};
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend, PathElement, RGBColor, Rectangle, Text},
    style::{
        Color, IntoFont, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{
    base::{
        format::Axis,
        settings::{Palette, Unit},
    },
    keep::history::Point,
    look::rate::Rate,
};

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

/// All that a picture needs.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// In the order of time; the first may lie before the span.
    pub points: &'a [Point],
    /// The right edge, in `CLOCK_BOOTTIME`.
    pub now_ns: u64,
    /// The right edge as people say it.
    pub now: Timestamp,
    /// Where they say so.
    pub zone: &'a TimeZone,
    /// From the left edge to the right.
    pub span_secs: u32,
    /// The rate axis.
    pub axis: Axis,
    /// Bytes or bits.
    pub unit: Unit,
    /// The colours.
    pub colours: Colours,
    /// Size of the labels, in pixels of the backend.
    pub text_pixels: f64,
    /// The times are written below; otherwise [`draw_times`] writes them elsewhere.
    pub times: bool,
}

/// Room for the labels, in multiples of their size.
const LEFT_TEXTS: f64 = 5.8;
const BOTTOM_TEXTS: f64 = 2.0;

impl Chart<'_> {
    /// Where the rates are drawn within a picture of this size: left, top, right, bottom.
    pub fn plot_area(&self, width: f64, height: f64) -> [f64; 4] {
        let margin = self.text_pixels * 0.7;
        let below = if self.times { self.text_pixels * BOTTOM_TEXTS } else { margin };
        [self.text_pixels * LEFT_TEXTS, margin, width - margin, height - below]
    }

    /// Seconds before the right edge, as a negative number.
    fn secs(&self, boottime_ns: u64) -> f64 {
        let before = std::time::Duration::from_nanos(self.now_ns.saturating_sub(boottime_ns));
        -before.as_secs_f64()
    }

    /// Runs of points without a gap, each as corners of a staircase: seconds before the right edge, and rate. Points
    /// that share a column of the picture are drawn as one, with the highest of their rates.
    fn runs(&self, columns: u32) -> Vec<Vec<(f64, Rate)>> {
        let column_ns = u64::from(self.span_secs) * 1_000_000_000 / u64::from(columns.max(1));
        let left = -f64::from(self.span_secs);
        let mut runs: Vec<Vec<(f64, Rate)>> = vec![Vec::new()];
        let mut column = None;
        for pair in self.points.windows(2) {
            let [before, point] = pair else { continue };
            let Some(rate) = point.rate else {
                runs.push(Vec::new());
                column = None;
                continue;
            };
            let Some(run) = runs.last_mut() else { continue };
            let here = point.boottime_ns.checked_div(column_ns);
            let end = self.secs(point.boottime_ns);
            match run.as_mut_slice() {
                [.., (_, first), (last_end, last)] if here == column => {
                    let peak = Rate { rx: last.rx.max(rate.rx), tx: last.tx.max(rate.tx) };
                    (*first, *last_end, *last) = (peak, end, peak);
                }
                _ => run.extend([(self.secs(before.boottime_ns).max(left), rate), (end, rate)]),
            }
            column = here;
        }
        runs.retain(|run| !run.is_empty());
        runs
    }

    /// The times between which nothing is known: before and after gaps.
    fn gaps(&self) -> impl Iterator<Item = (f64, f64)> {
        let left = -f64::from(self.span_secs);
        self.points.windows(2).filter_map(move |pair| match pair {
            [before, point] if point.rate.is_none() => {
                Some((self.secs(before.boottime_ns).max(left), self.secs(point.boottime_ns)))
            }
            _ => None,
        })
    }

    /// Round times of the day in the span: seconds before the right edge, and the text.
    fn times(&self, most: u32) -> Vec<(f64, String)> {
        let most = most.max(2);
        let step =
            [5, 10, 15, 30, 60, 120, 180, 300, 600].into_iter().find(|s| self.span_secs / s <= most).unwrap_or(900);
        let now = self.now.as_nanosecond();
        let offset = i128::from(self.zone.to_offset(self.now).seconds());
        let step_ns = i128::from(step) * 1_000_000_000;
        let last = (now + offset * 1_000_000_000).div_euclid(step_ns) * step_ns - offset * 1_000_000_000;
        let format = if step < 60 { "%H:%M:%S" } else { "%H:%M" };
        let tick = |i: i128| {
            let at = last - i * step_ns;
            let before = (now - at) as f64 / 1e9;
            let time = Timestamp::from_nanosecond(at).ok()?;
            let text = jiff::ZonedDateTime::new(time, self.zone.clone()).strftime(format).to_string();
            (before <= f64::from(self.span_secs)).then_some((-before, text))
        };
        (0..).map_while(tick).collect()
    }
}

/// Draws the chart on what is there: the background is its caller's.
pub fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    chart: &Chart<'_>,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let (width, height) = area.dim_in_pixel();
    let [left, top, right, bottom] = chart.plot_area(width.into(), height.into());
    let colours = chart.colours;
    let span = f64::from(chart.span_secs);
    let x = |secs: f64| pixel(left + (right - left) * (1.0 + secs / span));
    let y = |rate: f64| pixel(bottom - (bottom - top) * (rate / chart.axis.top).clamp(0.0, 1.0));
    let text = TextStyle::from(("sans-serif", chart.text_pixels).into_font()).color(&colours.text);

    // A low chart has room for every other tick, or for the lowest and the highest.
    let room = (bottom - top) / (chart.text_pixels * 1.6);
    let every = [1.0, 2.0].into_iter().find(|every| 4.0 / every <= room).unwrap_or(4.0);
    let ticks = std::iter::successors(Some(0.0), |rate| Some(rate + chart.axis.step * every));
    for rate in ticks.take_while(|rate| *rate <= chart.axis.top * 1.000_001) {
        area.draw(&PathElement::new(vec![(x(-span), y(rate)), (x(0.0), y(rate))], colours.grid))?;
        let style = text.pos(Pos::new(HPos::Right, VPos::Center));
        let label = chart.axis.label(rate, chart.unit);
        area.draw(&Text::new(label, (pixel(left - chart.text_pixels * 0.5), y(rate)), style))?;
    }
    for (secs, _) in chart.times(labels_most(chart, right - left)) {
        area.draw(&PathElement::new(vec![(x(secs), y(0.0)), (x(secs), pixel(top))], colours.grid))?;
    }
    if chart.times {
        draw_times_at(area, chart, bottom)?;
    }
    for (from, to) in chart.gaps() {
        let band = [(x(from), pixel(top)), (x(to).max(x(from) + 1), y(0.0))];
        area.draw(&Rectangle::new(band, colours.grid.mix(0.6).filled()))?;
        for at in (band[0].0..band[1].0).step_by(6) {
            let run = (band[1].0 - at).min(10);
            area.draw(&PathElement::new(vec![(at, y(0.0)), (at + run, y(0.0) - run * 2)], colours.text.mix(0.25)))?;
        }
    }
    for run in chart.runs(u32::try_from(pixel(right - left)).unwrap_or(1)) {
        let corners = |f: fn(&Rate) -> f64| run.iter().map(move |(at, rate)| (x(*at), y(f(rate)))).collect::<Vec<_>>();
        let download = corners(|rate| rate.rx);
        for pair in download.chunks_exact(2) {
            // One rectangle a step: a staircase is no convex polygon.
            if let [(from, height), (to, _)] = pair {
                area.draw(&Rectangle::new([(*from, *height), (*to, y(0.0))], colours.download.mix(0.28).filled()))?;
            }
        }
        area.draw(&PathElement::new(download, colours.download.stroke_width(2)))?;
        for dash in dashes(&corners(|rate| rate.tx), chart.text_pixels) {
            area.draw(&PathElement::new(dash, colours.upload.stroke_width(2)))?;
        }
    }
    Ok(())
}

/// Writes the times that belong to charts of this width, at the upper edge.
pub fn draw_times<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    chart: &Chart<'_>,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    draw_times_at(area, chart, 0.0)
}

fn draw_times_at<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    chart: &Chart<'_>,
    top: f64,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let (width, height) = area.dim_in_pixel();
    let [left, _, right, _] = chart.plot_area(width.into(), height.into());
    let text = TextStyle::from(("sans-serif", chart.text_pixels).into_font()).color(&chart.colours.text);
    for (secs, label) in chart.times(labels_most(chart, right - left)) {
        let half = chart.text_pixels * 2.2;
        let middle = left + (right - left) * (1.0 + secs / f64::from(chart.span_secs));
        let style = text.pos(Pos::new(HPos::Center, VPos::Top));
        let at = (pixel(middle.clamp(left + half, right - half)), pixel(top + chart.text_pixels * 0.5));
        area.draw(&Text::new(label, at, style))?;
    }
    Ok(())
}

/// How many times there is room for.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of labels")]
fn labels_most(chart: &Chart<'_>, width: f64) -> u32 {
    (width / (chart.text_pixels * 7.0)) as u32
}

/// Cuts a path into dashes: the upload differs from the download by more than its colour.
fn dashes(path: &[(i32, i32)], text_pixels: f64) -> Vec<Vec<(i32, i32)>> {
    let (dash_pixels, pause_pixels) = (pixel(text_pixels * 0.6), pixel(text_pixels * 0.25));
    let mut dashes: Vec<Vec<(i32, i32)>> = Vec::new();
    let mut walked = 0;
    for corners in path.windows(2) {
        let [from, to] = corners else { continue };
        let length = (to.0 - from.0).abs().max((to.1 - from.1).abs());
        let mut at = 0;
        while at < length {
            let phase = (walked + at) % (dash_pixels + pause_pixels);
            let on = phase < dash_pixels;
            let run = if on { dash_pixels - phase } else { dash_pixels + pause_pixels - phase }.min(length - at);
            if on {
                let point = |d: i32| (from.0 + (to.0 - from.0) * d / length, from.1 + (to.1 - from.1) * d / length);
                match dashes.last_mut() {
                    Some(dash) if dash.last() == Some(&point(at)) => dash.push(point(at + run)),
                    _ => dashes.push(vec![point(at), point(at + run)]),
                }
            }
            at += run;
        }
        walked += length;
    }
    dashes
}

#[expect(clippy::cast_possible_truncation, reason = "a place in a picture")]
fn pixel(at: f64) -> i32 {
    at.round() as i32
}

#[cfg(test)]
mod tests {
    use plotters::prelude::{IntoDrawingArea, SVGBackend};

    use super::*;

    fn svg(points: &[Point], colours: Colours) -> String {
        let chart = Chart {
            points,
            now_ns: 1_000_000_000_000,
            now: "2026-03-01T12:00:07Z".parse().unwrap(),
            zone: &TimeZone::UTC,
            span_secs: 60,
            axis: Axis::for_most(1_700_000.0, Unit::Bytes),
            unit: Unit::Bytes,
            colours,
            text_pixels: 12.0,
            times: true,
        };
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, (400, 200)).into_drawing_area();
            draw(&area, &chart).unwrap();
            area.present().unwrap();
        }
        text
    }

    fn points() -> Vec<Point> {
        let point = |secs: u64, rate: Option<(f64, f64)>| Point {
            boottime_ns: secs * 1_000_000_000,
            rate: rate.map(|(rx, tx)| Rate { rx, tx }),
        };
        vec![
            point(930, Some((1.0, 1.0))),
            point(950, Some((1_000_000.0, 200_000.0))),
            point(960, Some((500_000.0, 300_000.0))),
            point(980, None),
            point(990, Some((1_700_000.0, 0.0))),
            point(1000, Some((0.0, 900_000.0))),
        ]
    }

    #[test]
    fn the_picture_is_as_reviewed() {
        insta::assert_snapshot!("chart_dark", svg(&points(), DARK));
        insta::assert_snapshot!("chart_empty_light", svg(&[], LIGHT));
    }

    #[test]
    fn many_points_become_no_more_than_the_picture_has_columns() {
        let points: Vec<Point> = (0..6000)
            .map(|i| Point {
                boottime_ns: 940_000_000_000 + i * 10_000_000,
                rate: Some(Rate { rx: if i == 3001 { 9.0 } else { 1.0 }, tx: 2.0 }),
            })
            .collect();
        let zone = TimeZone::UTC;
        let chart = Chart {
            points: &points,
            now_ns: 1_000_000_000_000,
            now: Timestamp::UNIX_EPOCH,
            zone: &zone,
            span_secs: 60,
            axis: Axis::for_most(9.0, Unit::Bytes),
            unit: Unit::Bytes,
            colours: DARK,
            text_pixels: 12.0,
            times: true,
        };
        let runs = chart.runs(300);
        assert_eq!(runs.len(), 1);
        assert!(runs[0].len() <= 2 * 301, "{}", runs[0].len());
        assert!(runs[0].iter().any(|(_, rate)| rate.rx == 9.0), "the peak stays");
    }

    #[test]
    fn dashes_follow_the_path() {
        let length =
            |dash: &Vec<(i32, i32)>| dash.windows(2).map(|w| (w[1].0 - w[0].0).abs() + (w[1].1 - w[0].1).abs()).sum();
        let lengths: Vec<i32> = dashes(&[(0, 0), (10, 0), (10, 12), (33, 12)], 12.0).iter().map(length).collect();
        assert_eq!(lengths, [7, 7, 7, 7, 5]);
    }

    /// WCAG 2.2, 1.4.3: text needs a contrast of 4.5 to what is behind it.
    #[test]
    fn every_colour_is_legible_as_text() {
        let luminance = |RGBColor(r, g, b): RGBColor| {
            let linear = |part: u8| match f64::from(part) / 255.0 {
                low @ ..=0.04045 => low / 12.92,
                high => ((high + 0.055) / 1.055).powf(2.4),
            };
            0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
        };
        let contrast = |a, b| {
            let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
            f64::max(a / b, b / a)
        };
        for palette in Palette::ALL {
            for (dark, around) in [(true, RGBColor(19, 22, 27)), (false, RGBColor(243, 245, 248))] {
                let colours = Colours::new(palette, dark);
                for text in [colours.download, colours.upload, colours.text] {
                    for behind in [colours.background, around] {
                        let found = contrast(text, behind);
                        assert!(found >= 4.5, "{palette:?}, dark {dark}: {text:?} on {behind:?} has {found:.2}");
                    }
                }
            }
        }
    }
}
