//! A chart with what belongs to it on screen: its name for those who hear it, and the figures under the pointer.

use eframe::egui::{
    Align2, FontId, Pos2, Rect, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, accesskit::Role, vec2,
};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use plotters::drawing::IntoDrawingArea;

use super::{plot::Plot, style::colours};
use crate::{
    base::{
        format::{self, Axis},
        settings::Settings,
    },
    keep::history::{History, Point},
    look::rate::Rate,
    show::chart::{self, Chart, What},
};

const TEXT_POINTS: f32 = 12.0;
/// Room for the times that several charts share.
pub const TIMES_HEIGHT: f32 = 24.0;

/// What a chart shows beside its axis.
pub struct Graph<'a> {
    /// Whose it is, where there are several.
    pub name: Option<&'a str>,
    /// The rates.
    pub history: &'a History,
    /// The right edge in `CLOCK_BOOTTIME`.
    pub now_ns: u64,
    /// The right edge by the wall clock.
    pub now: Timestamp,
    /// For the time axis.
    pub zone: &'a TimeZone,
    /// From edge to edge.
    pub span_secs: u32,
    /// Unit and colours.
    pub settings: &'a Settings,
    /// The latest rate, for those who hear it.
    pub rate: Option<Rate>,
}

/// A span as people say it: "minute", "5 minutes".
pub fn minutes(span_min: u32) -> String {
    if span_min == 1 { "minute".to_owned() } else { format!("{span_min} minutes") }
}

impl Graph<'_> {
    /// Draws the chart over the whole width. The axis that fits it, to be given next time. `pointer`: where figures are read
    /// off; `None`: where this chart itself is pointed at.
    pub fn ui(&self, ui: &mut Ui, axis: Axis, height: f32, pointer: Option<Pos2>) -> Axis {
        let (response, painter) = ui.allocate_painter(vec2(ui.available_width(), height), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::GraphicsDocument, true, self.label()));
        let points = self.points();
        let most = points.iter().filter_map(|p| p.rate).map(|r| r.rx.max(r.tx)).fold(0.0, f64::max);
        let axis = axis.next(most, self.settings.unit);
        let chart = self.chart(ui, &points, axis);
        let area = Plot::new(&painter, response.rect).into_drawing_area();
        if let Err(error) = chart::draw(&area, &chart) {
            let colour = ui.visuals().error_fg_color;
            painter.text(response.rect.center(), Align2::CENTER_CENTER, error, FontId::default(), colour);
        }
        if let Some(pointer) = pointer.or_else(|| self.name.is_none().then(|| response.hover_pos()).flatten()) {
            self.read_out(ui, &chart, response.rect, pointer);
        }
        axis
    }

    /// Writes the times of charts that have none of their own.
    pub fn times_ui(&self, ui: &mut Ui, axis: Axis) {
        let (response, painter) = ui.allocate_painter(vec2(ui.available_width(), TIMES_HEIGHT), Sense::hover());
        let area = Plot::new(&painter, response.rect).into_drawing_area();
        // It was drawn above with the same colours: what can fail has failed there.
        _ = chart::draw_times(&area, &self.chart(ui, &[], axis));
    }

    fn label(&self) -> String {
        let rate = |f: fn(&Rate) -> f64| {
            self.rate.as_ref().map_or("unknown".into(), |rate| format::rate(f(rate), self.settings.unit))
        };
        let of = self.name.map_or(String::new(), |name| format!("{name}: "));
        let span = minutes(self.span_secs / 60);
        format!("{of}Chart of the last {span}: download {}, upload {}", rate(|r| r.rx), rate(|r| r.tx))
    }

    fn points(&self) -> Vec<Point> {
        let since_ns = self.now_ns.saturating_sub(u64::from(self.span_secs) * 1_000_000_000);
        self.history.since(since_ns).copied().collect()
    }

    fn chart<'a>(&'a self, ui: &Ui, points: &'a [Point], axis: Axis) -> Chart<'a> {
        Chart {
            what: What::Points { points, now_ns: self.now_ns },
            span: (chart::seconds(self.now) - f64::from(self.span_secs), chart::seconds(self.now)),
            now: self.now,
            zone: self.zone,
            axis,
            unit: self.settings.unit,
            colours: colours(ui, self.settings),
            text_pixels: f64::from(TEXT_POINTS * ui.ctx().pixels_per_point()),
            times: self.name.is_none(),
            limit: None,
        }
    }

    /// The time and rates under the pointer.
    fn read_out(&self, ui: &Ui, chart: &Chart<'_>, rect: Rect, pointer: Pos2) {
        let scale = f64::from(ui.ctx().pixels_per_point());
        let [left, top, right, bottom] =
            chart.plot_area(f64::from(rect.width()) * scale, f64::from(rect.height()) * scale).map(|x| x / scale);
        let share = (f64::from(pointer.x - rect.left()) - left) / (right - left);
        if !(0.0..=1.0).contains(&share) {
            return;
        }
        let before = std::time::Duration::from_secs_f64((1.0 - share) * f64::from(self.span_secs));
        let before_ns = u64::try_from(before.as_nanos()).unwrap_or(u64::MAX);
        let point = self.history.at(self.now_ns.saturating_sub(before_ns));
        let time = self.now.checked_sub(jiff::SignedDuration::try_from(before).unwrap_or_default()).unwrap_or(self.now);
        let time = ZonedDateTime::new(time, self.zone.clone()).strftime("%H:%M:%S");
        let rate = |rate| format::rate(rate, self.settings.unit);
        let rates = match point {
            Some(Point { rate: Some(found), .. }) => {
                format!("Download {}\nUpload {}", rate(found.rx), rate(found.tx))
            }
            Some(Point { rate: None, .. }) => "Not running, or unknown".to_owned(),
            None => "Before netglance started".to_owned(),
        };
        let visuals = ui.visuals();
        #[expect(clippy::cast_possible_truncation, reason = "a place in a window")]
        let (top, bottom) = (rect.top() + top as f32, rect.top() + bottom as f32);
        let painter = ui.painter();
        painter.vline(pointer.x, top..=bottom, Stroke::new(1.0, visuals.text_color().gamma_multiply(0.5)));
        let galley =
            painter.layout_no_wrap(format!("{time}\n{rates}"), FontId::proportional(13.0), visuals.text_color());
        let size = galley.size() + Vec2::splat(14.0);
        let x = if pointer.x + size.x + 20.0 > rect.right() { pointer.x - size.x - 10.0 } else { pointer.x + 10.0 };
        let card = Rect::from_min_size(Pos2::new(x, top + 6.0), size);
        let border = visuals.widgets.noninteractive.bg_stroke;
        painter.rect(card, 6.0, visuals.faint_bg_color, border, StrokeKind::Inside);
        painter.galley(card.min + Vec2::splat(7.0), galley, visuals.text_color());
    }
}
