//! A chart with what belongs to it on screen: its name for those who hear it, the figures under the pointer, and how it is dragged
//! and zoomed.

use eframe::egui::{
    Align2, CursorIcon, FontId, Pos2, Rect, Response, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, accesskit::Role,
    vec2,
};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use plotters::drawing::IntoDrawingArea;

use super::{plot::Plot, span::SPANS, style::colours};
use crate::{
    base::{
        format::{self, Axis},
        settings::{Settings, Unit},
    },
    keep::{
        calendar::Every,
        history::{History, Point},
        usage::{Seen, Slot, Usage},
    },
    look::rate::Rate,
    show::chart::{self, Chart, Colours, What},
};

const TEXT_POINTS: f32 = 12.0;
/// Room for the times that several charts share.
pub const TIMES_HEIGHT: f32 = 24.0;
/// So many points of scrolling zoom by a factor of e.
const ZOOM_POINTS: f32 = 250.0;

/// What a chart shows beside its axis.
pub struct Graph<'a> {
    /// Whose it is, where there are several.
    pub name: Option<&'a str>,
    /// What is drawn.
    pub data: Data<'a>,
    /// The edges, in seconds since 1970.
    pub span: (f64, f64),
    /// The right edge goes on with time.
    pub at_now: bool,
    /// The time of the latest look.
    pub now: Timestamp,
    /// For the time axis.
    pub zone: &'a TimeZone,
    /// Unit and colours.
    pub settings: &'a Settings,
    /// A budget that belongs to this axis, and its name.
    pub limit: Option<(f64, String)>,
}

/// What is drawn.
pub enum Data<'a> {
    /// The last minutes.
    Live {
        /// The rates.
        history: &'a History,
        /// What [`Graph::now`] is in `CLOCK_BOOTTIME`.
        now_ns: u64,
        /// The latest rate, for those who hear it.
        rate: Option<Rate>,
    },
    /// A part of the recorded past.
    Slots(&'a [Slot], Every),
    /// Nothing but a word about why.
    Nothing(&'a str),
}

/// What was done to a chart with the pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moved {
    /// Into the future by so many seconds.
    pub pan_secs: f64,
    /// Closer by this factor, and the time that stays where it is.
    pub zoom: Option<(f64, f64)>,
    /// Back to now.
    pub home: bool,
}

/// A span as people say it: "minute", "5 minutes", "24 hours".
pub fn span_name(secs: f64) -> String {
    let name = counted_span(secs);
    if SPANS.iter().any(|span| span.name == name) { name.strip_prefix("1 ").unwrap_or(&name).to_owned() } else { name }
}

/// The same with its number also where that is one: "1 minute".
pub fn counted_span(secs: f64) -> String {
    if let Some(span) = SPANS.iter().find(|span| f64::from(span.minutes) * 60.0 == secs) {
        return span.name.to_owned();
    }
    let (count, unit) = match secs {
        ..7200.0 => (secs / 60.0, "minutes"),
        ..172_800.0 => (secs / 3600.0, "hours"),
        _ => (secs / 86_400.0, "days"),
    };
    format!("{count:.0} {unit}")
}

impl Graph<'_> {
    /// Draws the chart over the whole width. The axis that fits it, to be given next time, and what was done to it. `pointer`: where
    /// figures are read off; `None`: where this chart itself is pointed at. `wheel`: the wheel zooms, also without a key.
    pub fn ui(
        &self,
        ui: &mut Ui,
        axis: Option<Axis>,
        height: f32,
        pointer: Option<Pos2>,
        wheel: bool,
    ) -> (Axis, Moved) {
        let size = vec2(ui.available_width(), height);
        let (response, painter) = ui.allocate_painter(size, Sense::CLICK | Sense::DRAG);
        response.widget_info(|| WidgetInfo::labeled(Role::GraphicsDocument, true, self.label()));
        let points = self.points();
        let pixels = f64::from(ui.ctx().pixels_per_point());
        let chart = self.chart(colours(ui, self.settings), f64::from(TEXT_POINTS) * pixels, &points, axis);
        let area = Plot::new(&painter, response.rect).into_drawing_area();
        if let Err(error) = chart::draw(&area, &chart) {
            let colour = ui.visuals().error_fg_color;
            painter.text(response.rect.center(), Align2::CENTER_CENTER, error, FontId::default(), colour);
        }
        let size = [response.rect.width(), response.rect.height()].map(|points| f64::from(points) * pixels);
        #[expect(clippy::cast_possible_truncation, reason = "a place in a window")]
        let [left, top, right, bottom] = chart.plot_area(size[0], size[1]).map(|x| (x / pixels) as f32);
        let plot =
            Rect::from_min_max(Pos2::new(left, top), Pos2::new(right, bottom)).translate(response.rect.min.to_vec2());
        if let Some(text) = self.says() {
            let colour = ui.visuals().weak_text_color();
            painter.text(plot.center(), Align2::CENTER_CENTER, text, FontId::proportional(14.0), colour);
        } else if let Some(pointer) = pointer
            .or_else(|| self.name.is_none().then(|| response.hover_pos()).flatten())
            .filter(|_| !response.dragged())
        {
            self.read_out(ui, &response, plot, pointer);
        }
        (chart.axis, self.moved(ui, &response, plot, wheel))
    }

    /// Writes the times of charts that have none of their own.
    pub fn times_ui(&self, ui: &mut Ui) {
        let (response, painter) = ui.allocate_painter(vec2(ui.available_width(), TIMES_HEIGHT), Sense::hover());
        let area = Plot::new(&painter, response.rect).into_drawing_area();
        let text_pixels = f64::from(TEXT_POINTS * ui.ctx().pixels_per_point());
        // It was drawn above with the same colours: what can fail has failed there.
        _ = chart::draw_times(&area, &self.chart(colours(ui, self.settings), text_pixels, &[], None));
    }

    /// What is written instead of a curve.
    fn says(&self) -> Option<&str> {
        match self.data {
            Data::Nothing(why) => Some(why),
            Data::Slots([], _) => Some("No traffic was recorded in this time."),
            _ => None,
        }
    }

    fn label(&self) -> String {
        let of = self.name.map_or(String::new(), |name| format!("{name}: "));
        let (from, to) = self.span;
        let what = if self.at_now {
            format!("Chart of the last {}", span_name((to - from).round()))
        } else {
            let [from, to] = [from, to].map(|at| self.local(at).strftime("%Y-%m-%d %H:%M").to_string());
            format!("Chart from {from} to {to}")
        };
        let said = match &self.data {
            Data::Live { rate, .. } if self.at_now => {
                let rate = |f: fn(&Rate) -> f64| {
                    rate.as_ref().map_or("unknown".into(), |rate| format::rate(f(rate), self.settings.unit))
                };
                format!("download {}, upload {}", rate(|r| r.rx), rate(|r| r.tx))
            }
            Data::Live { .. } => return format!("{of}{what}"),
            Data::Slots(slots, _) if !slots.is_empty() => {
                let shown = self.shown(slots).iter().map(|slot| slot.usage);
                let total = shown.fold(Usage::default(), Usage::plus).bytes;
                format!("download {}, upload {}", format::bytes(total.rx), format::bytes(total.tx))
            }
            _ => self.says().unwrap_or_default().to_owned(),
        };
        format!("{of}{what}: {said}")
    }

    /// The slots of which more than a half is between the edges.
    pub fn shown<'a>(&self, slots: &'a [Slot]) -> &'a [Slot] {
        let middle = |slot: &Slot| f64::midpoint(slot.start as f64, slot.end as f64);
        let first = slots.partition_point(|slot| middle(slot) < self.span.0);
        let end =
            slots.partition_point(|slot| middle(slot) < self.span.1 && (slot.start as f64) < chart::seconds(self.now));
        slots.get(first..end).unwrap_or_default()
    }

    /// The points between the edges, with the one before them.
    pub fn points(&self) -> Vec<Point> {
        let Data::Live { history, now_ns, .. } = self.data else { return Vec::new() };
        let before = std::time::Duration::try_from_secs_f64(chart::seconds(self.now) - self.span.0).unwrap_or_default();
        let before_ns = u64::try_from(before.as_nanos()).unwrap_or(u64::MAX);
        history.since(now_ns.saturating_sub(before_ns)).copied().collect()
    }

    /// What is drawn. `points` are those of [`Graph::points`]; `axis` is the one that was shown before.
    pub fn chart<'a>(
        &'a self,
        colours: Colours,
        text_pixels: f64,
        points: &'a [Point],
        axis: Option<Axis>,
    ) -> Chart<'a> {
        let what = match self.data {
            Data::Live { now_ns, .. } => What::Points { points, now_ns },
            Data::Slots(slots, every) if chart::are_bars(every) => What::Bars(slots),
            Data::Slots(slots, _) => What::Curve(slots),
            Data::Nothing(_) => What::Curve(&[]),
        };
        let unit = if matches!(what, What::Bars(_)) { Unit::Bytes } else { self.settings.unit };
        let chart = Chart {
            what,
            span: self.span,
            now: self.now,
            zone: self.zone,
            axis: axis.unwrap_or_else(|| Axis::for_most(0.0, unit)),
            unit: self.settings.unit,
            colours,
            text_pixels,
            times: self.name.is_none(),
            limit: self.limit.as_ref().map(|(limit, name)| (*limit, name.as_str())),
        };
        let most = chart.most();
        // Where a budget is far away, what was moved would be too low to be seen.
        let reach = if matches!(what, What::Bars(_)) { 10.0 } else { 3.0 };
        let limit = chart.limit.map(|(limit, _)| limit).filter(|limit| *limit <= most * reach);
        let most = limit.map_or(most, |limit| most.max(limit * 1.05));
        Chart { axis: chart.axis.next(most, unit), ..chart }
    }

    fn local(&self, secs: f64) -> ZonedDateTime {
        #[expect(clippy::cast_possible_truncation, reason = "a time, which Timestamp checks")]
        let time = Timestamp::from_millisecond((secs * 1000.0).round() as i64).unwrap_or(self.now);
        ZonedDateTime::new(time, self.zone.clone())
    }

    /// What the pointer does to it.
    fn moved(&self, ui: &Ui, response: &Response, plot: Rect, wheel: bool) -> Moved {
        let (from, to) = self.span;
        let secs = |points: f32| f64::from(points / plot.width()) * (to - from);
        let mut moved = Moved { home: response.double_clicked(), ..Moved::default() };
        if response.dragged() {
            moved.pan_secs = -secs(response.drag_delta().x);
            ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        }
        let Some(pointer) = response.hover_pos().filter(|at| plot.contains(*at)) else { return moved };
        let (mut factor, scrolled) = ui.input_mut(|i| {
            let scrolled = if wheel { std::mem::take(&mut i.smooth_scroll_delta) } else { Vec2::ZERO };
            (i.zoom_delta(), scrolled)
        });
        if scrolled.x.abs() > scrolled.y.abs() {
            moved.pan_secs -= secs(scrolled.x);
        } else {
            factor *= (scrolled.y / ZOOM_POINTS).exp();
        }
        if factor != 1.0 {
            moved.zoom = Some((f64::from(factor), from + secs(pointer.x - plot.left())));
        }
        moved
    }

    /// The time and the figures under the pointer.
    fn read_out(&self, ui: &Ui, response: &Response, plot: Rect, pointer: Pos2) {
        if !plot.x_range().contains(pointer.x) {
            return;
        }
        let (from, to) = self.span;
        let at = from + f64::from((pointer.x - plot.left()) / plot.width()) * (to - from);
        let Some(text) = self.figures(at) else { return };
        let visuals = ui.visuals();
        let painter = ui.painter();
        painter.vline(pointer.x, plot.y_range(), Stroke::new(1.0, visuals.text_color().gamma_multiply(0.5)));
        let galley = painter.layout_no_wrap(text, FontId::proportional(13.0), visuals.text_color());
        let size = galley.size() + Vec2::splat(14.0);
        let right = response.rect.right();
        let x = if pointer.x + size.x + 20.0 > right { pointer.x - size.x - 10.0 } else { pointer.x + 10.0 };
        let card = Rect::from_min_size(Pos2::new(x, plot.top() + 6.0), size);
        let border = visuals.widgets.noninteractive.bg_stroke;
        painter.rect(card, 6.0, visuals.faint_bg_color, border, StrokeKind::Inside);
        painter.galley(card.min + Vec2::splat(7.0), galley, visuals.text_color());
    }

    /// What is known of a time. `None`: it lies in the future.
    fn figures(&self, at: f64) -> Option<String> {
        let rates = |rx, tx| {
            let [rx, tx] = [rx, tx].map(|rate| format::rate(rate, self.settings.unit));
            format!("Download {rx}\nUpload {tx}")
        };
        match &self.data {
            Data::Live { history, now_ns, .. } => {
                let before = std::time::Duration::try_from_secs_f64(chart::seconds(self.now) - at).unwrap_or_default();
                let before_ns = u64::try_from(before.as_nanos()).unwrap_or(u64::MAX);
                let text = match history.at(now_ns.saturating_sub(before_ns)) {
                    Some(Point { rate: Some(found), .. }) => rates(found.rx, found.tx),
                    Some(Point { rate: None, .. }) => "Not running, or unknown".to_owned(),
                    None => "Before netglance started".to_owned(),
                };
                Some(format!("{}\n{text}", self.local(at).strftime("%H:%M:%S")))
            }
            Data::Slots(slots, every) => {
                let now = chart::seconds(self.now);
                let found = slots.partition_point(|slot| slot.end as f64 <= at);
                let slot = slots.get(found).filter(|slot| slot.start as f64 <= at && (slot.start as f64) < now)?;
                let bytes = slot.usage.bytes;
                let mut lines = vec![self.slot_name(slot)];
                if slot.seen == Seen::Not {
                    lines.push("Not recorded".to_owned());
                    return Some(lines.join("\n"));
                }
                if chart::are_bars(*every) {
                    let so_far = if slot.end as f64 > now { " so far" } else { "" };
                    let [rx, tx] = [bytes.rx, bytes.tx].map(format::bytes);
                    lines.push(format!("Download {rx}{so_far}\nUpload {tx}{so_far}"));
                } else {
                    let secs = ((slot.end as f64).min(now) - slot.start as f64).max(1.0);
                    lines.push(rates(bytes.rx as f64 / secs, bytes.tx as f64 / secs));
                }
                if slot.seen == Seen::Away {
                    lines.push("Average (netglance was closed or paused)".to_owned());
                } else if slot.usage.estimate_bytes > 0 {
                    lines.push("Includes an estimate".to_owned());
                }
                Some(lines.join("\n"))
            }
            Data::Nothing(_) => None,
        }
    }

    /// "Mon 23 Nov, 14:00–14:10"; the day, or the month, where it is one.
    fn slot_name(&self, slot: &Slot) -> String {
        let [start, end] = [slot.start, slot.end].map(|at| self.local(at as f64));
        let year = if start.year() == self.local(chart::seconds(self.now)).year() { "" } else { " %Y" };
        let day = format!("%a %-d %b{year}");
        match slot.end - slot.start {
            2_332_800.. if start.day() == 1 => start.strftime("%B %Y").to_string(),
            2_332_800.. => {
                let last = self.local(slot.end as f64 - 1.0);
                format!("{} – {}", start.strftime("%-d %b"), last.strftime("%-d %b %Y"))
            }
            43_201.. => start.strftime(&day).to_string(),
            600.. => {
                // Where the clock is set back, an hour comes twice.
                let time = if start.offset() == end.offset() { "%H:%M" } else { "%H:%M %Z" };
                format!("{}–{}", start.strftime(&format!("{day}, {time}")), end.strftime(time))
            }
            60.. => start.strftime(&format!("{day}, %H:%M")).to_string(),
            _ => start.strftime(&format!("{day}, %H:%M:%S")).to_string(),
        }
    }
}
