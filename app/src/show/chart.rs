//! The chart: rates over time as a curve, or bytes as bars, drawn with plotters on any backend. Pure: what it shows is all in
//! [`Chart`].
//!
//! Each rate is drawn flat over the time it was measured in, gaps as bands, averages over a time when nobody looked in a
//! lighter texture; nothing is smoothed.

mod bars;
mod colours;
#[cfg_attr(not(feature = "desktop"), path = "chart/no_png.rs")]
mod png;
mod svg;
mod times;

use jiff::{Timestamp, tz::TimeZone};
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend, PathElement, RGBColor, Rectangle, Text},
    style::{
        Color, IntoFont, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

pub use colours::{Colours, DARK, LIGHT};
pub use png::{Error as PngError, png};
pub use svg::svg;

use crate::{
    base::{format::Axis, settings::Unit},
    keep::{
        calendar::Every,
        history::Point,
        usage::{Seen, Slot},
    },
    look::rate::Rate,
};

/// What a chart is drawn of.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// The rates between points, as a curve.
    Points {
        /// In the order of time; the first may lie before the span.
        points: &'a [Point],
        /// What [`Chart::now`] is in `CLOCK_BOOTTIME`.
        now_ns: u64,
    },
    /// The average rate of each slot, as a curve.
    Curve(&'a [Slot]),
    /// The bytes of each slot, as a bar: upload on top of download.
    Bars(&'a [Slot]),
}

/// All that a picture needs.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What is drawn.
    pub what: What<'a>,
    /// The left and the right edge, in seconds since 1970.
    pub span: (f64, f64),
    /// The time of the latest look. A slot that ends later is in progress, one that begins later is left out.
    pub now: Timestamp,
    /// Where people say the times.
    pub zone: &'a TimeZone,
    /// The axis: of bytes a second, or of bytes for bars.
    pub axis: Axis,
    /// Bytes or bits, for rates.
    pub unit: Unit,
    /// The colours.
    pub colours: Colours,
    /// Size of the labels, in pixels of the backend.
    pub text_pixels: f64,
    /// The times are written below; otherwise [`draw_times`] writes them elsewhere.
    pub times: bool,
    /// A budget: the height of a line, in what the axis has, and its name.
    pub limit: Option<(f64, &'a str)>,
}

/// Room for the labels, in multiples of their size.
const LEFT_TEXTS: f64 = 5.8;
const BOTTOM_TEXTS: f64 = 2.0;
/// Of the budget's name, above what is drawn, which it would hide elsewhere.
const LIMIT_TEXTS: f64 = 1.4;
/// Of the budget's line, in dashes.
const LIMIT_DASHES: [f64; 2] = [1.2, 0.4];

const DAY_SECS: f64 = 86_400.0;
/// What is not recorded by then is a gap.
const RECORDED_WITHIN_SECS: f64 = 30.0;

/// How a span is best divided whose left edge is `age_secs` old: into some hundred slots for a curve, or into days or months for
/// bars. The past is known the less finely the older it is.
pub fn every(span_secs: i64, age_secs: i64) -> Every {
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    let fitting = [
        (90 * 60, Every::Secs(10)),
        (30 * HOUR, Every::Secs(60)),
        (10 * DAY, Every::Secs(600)),
        (100 * DAY, Every::Day),
    ];
    let fitting = fitting.into_iter().find(|(most, _)| span_secs <= *most).map_or(Every::Month, |(_, every)| every);
    match fitting {
        Every::Secs(_) if age_secs > 31 * DAY => Every::Hour,
        Every::Secs(10) if age_secs > DAY => Every::Secs(60),
        fitting => fitting,
    }
}

/// Whether slots like these are drawn as bars.
pub fn are_bars(every: Every) -> bool {
    matches!(every, Every::Day | Every::Month)
}

/// A span of time, and what happened in it.
#[derive(Clone, Copy, Debug)]
struct Part {
    from: f64,
    to: f64,
    /// Bytes a second; of a bar, bytes.
    moved: Rate,
    seen: Seen,
    /// It ends in the future.
    in_progress: bool,
}

/// Parts without a gap between them, of one kind, as corners of a staircase.
struct Run {
    seen: Seen,
    corners: Vec<(f64, Rate)>,
}

impl Chart<'_> {
    /// Where the rates are drawn within a picture of this size: left, top, right, bottom.
    pub fn plot_area(&self, width: f64, height: f64) -> [f64; 4] {
        let margin = self.text_pixels * 0.7;
        let below = if self.times { self.text_pixels * BOTTOM_TEXTS } else { margin };
        // Also while the budget is too far away for its line, or all would jump when it comes near.
        let above = if self.limit.is_some() { self.text_pixels * LIMIT_TEXTS } else { 0.0 };
        [self.text_pixels * LEFT_TEXTS, margin + above, width - margin, height - below]
    }

    /// The highest value in it, for [`Axis::for_most`]. The axis of bars is always of bytes.
    pub fn most(&self) -> f64 {
        let known = self.parts().into_iter().filter(|part| part.seen != Seen::Not);
        let heights = known.map(|part| match self.what {
            What::Bars(_) => part.moved.rx + part.moved.tx,
            _ => part.moved.rx.max(part.moved.tx),
        });
        heights.fold(0.0, f64::max)
    }

    /// Whether any of it is of this kind.
    fn has(&self, seen: Seen) -> bool {
        self.parts().iter().any(|part| part.seen == seen)
    }

    fn is_bars(&self) -> bool {
        matches!(self.what, What::Bars(_))
    }

    /// What lies in the span.
    fn parts(&self) -> Vec<Part> {
        let (left, right) = self.span;
        let now = seconds(self.now);
        let parts: Vec<Part> = match self.what {
            What::Points { points, now_ns } => {
                let at = |ns: u64| now - std::time::Duration::from_nanos(now_ns.saturating_sub(ns)).as_secs_f64();
                let pairs = points.windows(2).filter_map(|pair| if let [a, b] = pair { Some((a, b)) } else { None });
                let part = |(before, point): (&Point, &Point)| Part {
                    from: at(before.boottime_ns),
                    to: at(point.boottime_ns),
                    moved: point.rate.unwrap_or_default(),
                    seen: if point.rate.is_some() { Seen::Looked } else { Seen::Not },
                    in_progress: false,
                };
                pairs.map(part).collect()
            }
            What::Curve(slots) => slots.iter().filter_map(|slot| part(slot, now, true)).collect(),
            What::Bars(slots) => slots.iter().filter_map(|slot| part(slot, now, false)).collect(),
        };
        parts.into_iter().filter(|part| part.to > left && part.from < right).collect()
    }

    /// Runs of parts without a gap. Parts that share a column of the picture are drawn as one, with the highest of their rates.
    fn runs(&self, columns: u32) -> Vec<Run> {
        let (left, right) = self.span;
        let column_secs = (right - left) / f64::from(columns.max(1));
        let mut runs: Vec<Run> = Vec::new();
        let mut column = None;
        for part in self.parts() {
            if part.seen == Seen::Not {
                column = None;
                continue;
            }
            let here = Some((part.to / column_secs).floor());
            let (from, to, rate) = (part.from.max(left), part.to.min(right), part.moved);
            // What follows without a gap goes on.
            let last = runs.last_mut().filter(|run| run.seen == part.seen);
            let last = last.filter(|run| run.corners.last().is_some_and(|(end, _)| (end - from).abs() < 1e-6));
            match last.map(|run| &mut run.corners) {
                Some(corners) => match corners.as_mut_slice() {
                    [.., (_, first), (last_end, last)] if here == column => {
                        let peak = Rate { rx: last.rx.max(rate.rx), tx: last.tx.max(rate.tx) };
                        (*first, *last_end, *last) = (peak, to, peak);
                    }
                    _ => corners.extend([(from, rate), (to, rate)]),
                },
                None => runs.push(Run { seen: part.seen, corners: vec![(from, rate), (to, rate)] }),
            }
            column = here;
        }
        runs
    }

    /// The times between which nothing is known. Among bars they are no wider than these.
    fn gaps(&self) -> Vec<(f64, f64)> {
        let (left, right) = self.span;
        let margin = match self.what {
            What::Bars(slots) => slots.first().map_or(0.0, |slot| (slot.end - slot.start) as f64 * bars::MARGIN),
            _ => 0.0,
        };
        let mut gaps: Vec<(f64, f64)> = Vec::new();
        for part in self.parts().into_iter().filter(|part| part.seen == Seen::Not) {
            let (from, to) = (part.from, part.to);
            match gaps.last_mut() {
                // Points have each gap for itself; slots have long ones in pieces.
                Some((_, end)) if !matches!(self.what, What::Points { .. }) && *end >= from => *end = to,
                _ => gaps.push((from, to)),
            }
        }
        gaps.into_iter().map(|(from, to)| ((from + margin).max(left), (to - margin).min(right))).collect()
    }

    /// Round times in the span, and their texts.
    fn times(&self, most: u32) -> Vec<(f64, String)> {
        let (left, right) = self.span;
        match self.what {
            What::Bars(slots) => times::names(slots, left, right, self.zone, most),
            _ => {
                let mut times = times::ticks(left, right, self.zone, most);
                // An hour of another day says which one.
                let [end, today] = [right, seconds(self.now)].map(|at| times::date(at, self.zone));
                if let (true, false, Some((at, text))) = (right - left < DAY_SECS, end == today, times.first_mut())
                    && let Some(date) = times::date(*at, self.zone)
                    && text.contains(':')
                {
                    *text = format!("{}, {text}", date.strftime("%-d %b"));
                }
                times
            }
        }
    }

    fn label(&self, height: f64) -> String {
        if self.is_bars() { self.axis.label_bytes(height) } else { self.axis.label(height, self.unit) }
    }
}

/// `None`: it lies in the future, or is not recorded yet. Of a rate, only the time that has passed counts.
fn part(slot: &Slot, now: f64, rate: bool) -> Option<Part> {
    let (from, end) = (slot.start as f64, slot.end as f64);
    if slot.seen == Seen::Not && from > now - RECORDED_WITHIN_SECS {
        return None;
    }
    let to = if rate { end.min(now) } else { end };
    let secs = if rate { to - from } else { 1.0 };
    let moved = Rate { rx: slot.usage.bytes.rx as f64 / secs, tx: slot.usage.bytes.tx as f64 / secs };
    (from < now && secs > 0.0).then_some(Part { from, to, moved, seen: slot.seen, in_progress: end > now })
}

/// Since 1970.
pub fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// Where things are in a picture, in pixels.
#[derive(Clone, Copy)]
struct Place {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    span: (f64, f64),
    most: f64,
}

impl Place {
    fn of(chart: &Chart<'_>, (width, height): (u32, u32)) -> Self {
        let [left, top, right, bottom] = chart.plot_area(width.into(), height.into());
        Self { left, top, right, bottom, span: chart.span, most: chart.axis.top }
    }

    fn x(&self, secs: f64) -> i32 {
        let (from, to) = self.span;
        pixel(self.left + (self.right - self.left) * ((secs - from) / (to - from)).clamp(0.0, 1.0))
    }

    fn y(&self, height: f64) -> i32 {
        pixel(self.bottom - (self.bottom - self.top) * (height / self.most).clamp(0.0, 1.0))
    }
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Draws the chart on what is there: the background is its caller's.
pub fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, chart: &Chart<'_>) -> Drawn<DB> {
    let place = Place::of(chart, area.dim_in_pixel());
    draw_grid(area, chart, &place)?;
    if chart.times {
        draw_times_at(area, chart, place.bottom)?;
    }
    for (from, to) in chart.gaps() {
        let band = [(place.x(from), pixel(place.top)), (place.x(to).max(place.x(from) + 1), place.y(0.0))];
        area.draw(&Rectangle::new(band, chart.colours.grid.mix(0.6).filled()))?;
        // Among bars, what is hatched is upload.
        let hatched = if chart.is_bars() { 0..0 } else { band[0].0..band[1].0 };
        for at in hatched.step_by(6) {
            let run = (band[1].0 - at).min(10);
            let line = vec![(at, place.y(0.0)), (at + run, place.y(0.0) - run * 2)];
            area.draw(&PathElement::new(line, chart.colours.text.mix(0.25)))?;
        }
    }
    if chart.is_bars() {
        bars::draw(area, chart, &place)?;
    } else {
        for run in chart.runs(u32::try_from(pixel(place.right - place.left)).unwrap_or(1)) {
            draw_run(area, chart, &place, &run)?;
        }
    }
    draw_limit(area, chart, &place)
}

/// Heights and times, and the lines that belong to them.
fn draw_grid<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, chart: &Chart<'_>, place: &Place) -> Drawn<DB> {
    let colours = chart.colours;
    let text = text(chart);
    // A low chart has room for every other tick, or for the lowest and the highest.
    let room = (place.bottom - place.top) / (chart.text_pixels * 1.6);
    let every = [1.0, 2.0].into_iter().find(|every| 4.0 / every <= room).unwrap_or(4.0);
    let ticks = std::iter::successors(Some(0.0), |height| Some(height + chart.axis.step * every));
    for height in ticks.take_while(|height| *height <= chart.axis.top * 1.000_001) {
        let line = vec![(pixel(place.left), place.y(height)), (pixel(place.right), place.y(height))];
        area.draw(&PathElement::new(line, colours.grid))?;
        let style = text.pos(Pos::new(HPos::Right, VPos::Center));
        let at = (pixel(place.left - chart.text_pixels * 0.5), place.y(height));
        area.draw(&Text::new(chart.label(height), at, style))?;
    }
    // A bar is its own line.
    let times = if chart.is_bars() { Vec::new() } else { chart.times(labels_most(chart, place.right - place.left)) };
    for (secs, _) in times {
        let line = vec![(place.x(secs), place.y(0.0)), (place.x(secs), pixel(place.top))];
        area.draw(&PathElement::new(line, colours.grid))?;
    }
    Ok(())
}

/// An average is lighter than what was measured, and dotted.
fn draw_run<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    chart: &Chart<'_>,
    place: &Place,
    run: &Run,
) -> Drawn<DB> {
    let colours = chart.colours;
    let corners =
        |f: fn(&Rate) -> f64| run.corners.iter().map(|(at, rate)| (place.x(*at), place.y(f(rate)))).collect::<Vec<_>>();
    let download = corners(|rate| rate.rx);
    let average = run.seen == Seen::Away;
    for pair in download.chunks_exact(2) {
        // One rectangle a step: a staircase is no convex polygon.
        if let [(from, height), (to, _)] = pair {
            let fill = colours.download.mix(if average { 0.14 } else { 0.28 }).filled();
            area.draw(&Rectangle::new([(*from, *height), (*to, place.y(0.0))], fill))?;
        }
    }
    let upload = corners(|rate| rate.tx);
    if average {
        draw_dashes(area, &download, [0.15, 0.3].map(|texts| texts * chart.text_pixels), colours.download)?;
        draw_dashes(area, &upload, [0.5, 0.6].map(|texts| texts * chart.text_pixels), colours.upload)
    } else {
        area.draw(&PathElement::new(download, colours.download.stroke_width(2)))?;
        draw_dashes(area, &upload, [0.6, 0.25].map(|texts| texts * chart.text_pixels), colours.upload)
    }
}

/// A path in dashes, whose length and distance are given: the upload differs from the download by more than its colour.
fn draw_dashes<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    path: &[(i32, i32)],
    pattern: [f64; 2],
    colour: RGBColor,
) -> Drawn<DB> {
    for dash in dashes(path, pattern) {
        area.draw(&PathElement::new(dash, colour.stroke_width(2)))?;
    }
    Ok(())
}

/// The budget's line, and above all that is drawn what it stands for.
fn draw_limit<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, chart: &Chart<'_>, place: &Place) -> Drawn<DB> {
    let Some((limit, name)) = chart.limit.filter(|(limit, _)| *limit <= chart.axis.top) else { return Ok(()) };
    let colours = chart.colours;
    let y = place.y(limit);
    let line = [(pixel(place.left), y), (pixel(place.right), y)];
    let dashes = LIMIT_DASHES.map(|texts| texts * chart.text_pixels);
    draw_dashes(area, &line, dashes, colours.text)?;
    let style = text(chart).pos(Pos::new(HPos::Left, VPos::Center));
    let (left, middle) = (pixel(place.left), pixel(place.top - chart.text_pixels * LIMIT_TEXTS / 2.0));
    let [dash, pause] = dashes;
    let sample = left + pixel(2.0 * dash + pause);
    draw_dashes(area, &[(left, middle), (sample, middle)], dashes, colours.text)?;
    area.draw(&Text::new(name.to_owned(), (sample + pixel(chart.text_pixels * 0.5), middle), style))
}

/// Writes the times that belong to charts of this width, at the upper edge.
pub fn draw_times<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, chart: &Chart<'_>) -> Drawn<DB> {
    draw_times_at(area, chart, 0.0)
}

fn draw_times_at<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, chart: &Chart<'_>, top: f64) -> Drawn<DB> {
    let place = Place::of(chart, area.dim_in_pixel());
    for (secs, label) in chart.times(labels_most(chart, place.right - place.left)) {
        let half = chart.text_pixels * 0.275 * label.chars().count() as f64;
        let middle = f64::from(place.x(secs));
        let style = text(chart).pos(Pos::new(HPos::Center, VPos::Top));
        let at = (
            pixel(middle.clamp(place.left + half, (place.right - half).max(place.left + half))),
            pixel(top + chart.text_pixels * 0.5),
        );
        area.draw(&Text::new(label, at, style))?;
    }
    Ok(())
}

fn text<'a>(chart: &'a Chart<'_>) -> TextStyle<'a> {
    TextStyle::from(("sans-serif", chart.text_pixels).into_font()).color(&chart.colours.text)
}

/// How many times there is room for.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of labels")]
fn labels_most(chart: &Chart<'_>, width: f64) -> u32 {
    (width / (chart.text_pixels * 7.0)) as u32
}

/// Cuts a path into dashes of a length, so far apart.
fn dashes(path: &[(i32, i32)], [dash, pause]: [f64; 2]) -> Vec<Vec<(i32, i32)>> {
    let (dash_pixels, pause_pixels) = (pixel(dash).max(1), pixel(pause).max(1));
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
    use crate::{base::settings::Palette, keep::usage::Usage, look::rate::Bytes};

    const NOW: &str = "2026-03-01T12:00:07Z";

    fn chart<'a>(what: What<'a>, span_secs: f64, zone: &'a TimeZone, now: &str) -> Chart<'a> {
        let now: Timestamp = now.parse().unwrap();
        let bytes = 1_700_000.0;
        Chart {
            what,
            span: (seconds(now) - span_secs, seconds(now)),
            now,
            zone,
            axis: Axis::for_most(bytes, Unit::Bytes),
            unit: Unit::Bytes,
            colours: DARK,
            text_pixels: 12.0,
            times: true,
            limit: None,
        }
    }

    fn plain_svg(chart: &Chart<'_>) -> String {
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, (400, 200)).into_drawing_area();
            draw(&area, chart).unwrap();
            area.present().unwrap();
        }
        text
    }

    fn live(points: &[Point]) -> What<'_> {
        What::Points { points, now_ns: 1_000_000_000_000 }
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
        let zone = TimeZone::UTC;
        insta::assert_snapshot!("chart_dark", plain_svg(&chart(live(&points()), 60.0, &zone, NOW)));
        let empty = Chart { colours: LIGHT, ..chart(live(&[]), 60.0, &zone, NOW) };
        insta::assert_snapshot!("chart_empty_light", plain_svg(&empty));
    }

    /// A slot of so many minutes after midnight UTC of a day.
    fn slot(day: &str, minutes: [i64; 2], bytes: [u64; 2], seen: Seen) -> Slot {
        let midnight = format!("{day}T00:00:00Z").parse::<Timestamp>().unwrap().as_second();
        let usage = Usage { bytes: Bytes { rx: bytes[0], tx: bytes[1], ..Bytes::default() }, ..Usage::default() };
        Slot { start: midnight + minutes[0] * 60, end: midnight + minutes[1] * 60, usage, seen }
    }

    /// Every ten minutes of a week, with a night when the computer was off and an evening when netglance was.
    fn week() -> Vec<Slot> {
        let of = |i: i64| {
            let wave = u64::try_from((i * 7919) % 101).unwrap();
            let (bytes, seen) = match i {
                400..480 => ([0, 0], Seen::Not),
                600..660 => ([210_000_000, 90_000_000], Seen::Away),
                _ if i % 144 < 50 => ([3_000_000, 1_000_000], Seen::Looked),
                _ => ([wave * 8_000_000, wave * 3_000_000], Seen::Looked),
            };
            slot("2026-10-22", [i * 10, i * 10 + 10], bytes, seen)
        };
        (0..1008).map(of).collect()
    }

    /// Thirty days in Berlin; one of them has 25 hours, one was not recorded, one is an average, the last is in progress.
    fn days() -> Vec<Slot> {
        let hours = |day: i64| if day <= 17 { day * 24 } else { day * 24 + 1 };
        let of = |day: i64| {
            let wave = u64::try_from((day * 37) % 11).unwrap();
            let seen = match day {
                5 => Seen::Not,
                9 => Seen::Away,
                _ => Seen::Looked,
            };
            let bytes = [wave * 310_000_000, wave * 140_000_000];
            slot("2026-10-07", [hours(day) * 60 + 1320, hours(day + 1) * 60 + 1320], bytes, seen)
        };
        (0..30).map(of).collect()
    }

    fn fitting<'a>(chart: Chart<'a>) -> Chart<'a> {
        Chart { axis: Axis::for_most(chart.most(), Unit::Bytes), ..chart }
    }

    #[test]
    fn long_spans_are_as_reviewed() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let week = week();
        let shown = fitting(chart(What::Curve(&week), 7.0 * 86_400.0, &zone, "2026-10-29T00:00:00Z"));
        let shown = Chart { limit: Some((500_000.0, "Budget: 500 kB/s")), ..shown };
        insta::assert_snapshot!("chart_week", svg(&[("StB", shown.clone())], 920, 400).unwrap());
        let light = Chart { colours: LIGHT, ..shown };
        let both = [("StB", light.clone()), ("A <b> & its name", light)];
        insta::assert_snapshot!("chart_two_light", svg(&both, 640, 480).unwrap());
        let days = days();
        let now = "2026-11-06T12:00:00Z";
        let month = Chart { limit: Some((4e9, "Budget: 4 GB a day")), ..chart(What::Bars(&days), 0.0, &zone, now) };
        let month = Chart { span: (days[0].start as f64, days[29].end as f64), ..month };
        let month = Chart { axis: Axis::for_most(4e9, Unit::Bytes), ..month };
        insta::assert_snapshot!("chart_month", svg(&[("All applications", month)], 920, 400).unwrap());
    }

    #[test]
    fn a_rate_is_of_the_time_that_has_passed_and_the_future_is_left_out() {
        let zone = TimeZone::UTC;
        let day = |minutes, bytes| slot("2026-03-01", minutes, [bytes, 0], Seen::Looked);
        let slots = [day([700, 720], 1200), day([720, 740], 70), day([740, 760], 5)];
        let rates = |what| {
            let parts = chart(what, 3600.0, &zone, NOW).parts();
            parts.iter().map(|part| (part.moved.rx, part.in_progress)).collect::<Vec<_>>()
        };
        assert_eq!(rates(What::Curve(&slots)), [(1.0, false), (10.0, true)]);
        assert_eq!(rates(What::Bars(&slots)), [(1200.0, false), (70.0, true)]);
    }

    #[test]
    fn spans_are_divided_so_that_something_is_seen() {
        let day = 86_400;
        for (span, age, expected) in [
            (60, 60, Every::Secs(10)),
            (3600, 3600, Every::Secs(10)),
            (3600, 2 * day, Every::Secs(60)),
            (day, day, Every::Secs(60)),
            (7 * day, 7 * day, Every::Secs(600)),
            (day, 40 * day, Every::Hour),
            (30 * day, 30 * day, Every::Day),
            (365 * day, 400 * day, Every::Month),
        ] {
            assert_eq!(every(span, age), expected, "{span} {age}");
        }
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
        let chart = chart(live(&points), 60.0, &zone, NOW);
        let runs = chart.runs(300);
        assert_eq!(runs.len(), 1);
        assert!(runs[0].corners.len() <= 2 * 301, "{}", runs[0].corners.len());
        assert!(runs[0].corners.iter().any(|(_, rate)| rate.rx == 9.0), "the peak stays");
    }

    #[test]
    fn dashes_follow_the_path() {
        let length =
            |dash: &Vec<(i32, i32)>| dash.windows(2).map(|w| (w[1].0 - w[0].0).abs() + (w[1].1 - w[0].1).abs()).sum();
        let lengths: Vec<i32> = dashes(&[(0, 0), (10, 0), (10, 12), (33, 12)], [7.0, 3.0]).iter().map(length).collect();
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
