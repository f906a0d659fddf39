//! What stands around and in the chart: name, source, rates, units, totals.

use eframe::egui::{
    Align, Align2, Color32, FontId, Frame, Label, Layout, Margin, Pos2, Rect, RichText, Sense, Shape, Stroke, Ui, Vec2,
    WidgetInfo, accesskit::Role, vec2,
};
use egui_extras::{Column, TableBuilder};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use plotters::drawing::IntoDrawingArea;

use super::{
    look::{colour, colours},
    plot::Plot,
};
use crate::{
    chart::{self, Chart},
    format::{self, Axis},
    history::{History, Point},
    monitor::Reading,
    rate::{Gap, Rate, Source},
    settings::Unit,
};

const TEXT_POINTS: f32 = 12.0;
const ROW_HEIGHT: f32 = 24.0;
const ROWS_SHOWN: usize = 6;

/// Name and source badge.
pub fn header(ui: &mut Ui, reading: &Reading) {
    ui.horizontal(|ui| {
        ui.add(Label::new(RichText::new(&reading.app).heading().strong()).truncate());
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| badge(ui, reading));
    });
}

fn badge(ui: &mut Ui, reading: &Reading) {
    let (text, why) = match reading.source {
        Source::Exact => ("Exact", "Every packet, counted by the kernel: TCP, UDP and QUIC, headers included."),
        Source::Estimate => (
            "Estimate, TCP only",
            "Read from the sockets' own books, with no privilege: TCP payload. UDP and QUIC are not in the figures, \
             nor is a connection that opens and closes between two looks.",
        ),
    };
    // A button, so that the keyboard reaches it; a click keeps the sentence open.
    ui.menu_button(RichText::new(text).small(), |ui| {
        ui.set_max_width(320.0);
        ui.label(why);
    })
    .response
    .on_hover_text(why);
    let udp = match (reading.source, reading.unmeasured_udp_sockets) {
        (Source::Exact, _) | (_, Some(0)) => return,
        (_, Some(1)) => "1 UDP socket not measured".to_owned(),
        (_, Some(sockets)) => format!("{sockets} UDP sockets not measured"),
        (_, None) => "UDP sockets unknown".to_owned(),
    };
    ui.label(RichText::new(udp).small().weak());
}

/// The large figures, or the reason why there are none.
pub fn rates(ui: &mut Ui, reading: &Reading, unit: Unit) {
    let colours = colours(ui.visuals().dark_mode);
    let rate = reading.rate.as_ref().ok();
    ui.horizontal(|ui| {
        for (down, name, rate, colour_of) in [
            (true, "Download", rate.map(|r| r.rx), colours.download),
            (false, "Upload", rate.map(|r| r.tx), colours.upload),
        ] {
            let text = rate.map_or("–".to_owned(), |rate| format::rate(rate, unit));
            let group = ui.allocate_ui(vec2(210.0, 58.0), |ui| {
                ui.set_min_width(210.0);
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.y = 0.0;
                    ui.horizontal(|ui| {
                        ui.spacing_mut().item_spacing.x = 6.0;
                        arrow(ui, down, colour(colour_of));
                        ui.label(RichText::new(name).color(colour(colour_of)).strong());
                    });
                    ui.label(RichText::new(&text).size(32.0));
                });
            });
            group.response.widget_info(|| WidgetInfo::labeled(Role::Group, true, format!("{name} {text}")));
        }
        if let Err(gap) = &reading.rate {
            ui.vertical(|ui| explain(ui, gap));
        }
    });
}

/// A triangle that points down or up.
fn arrow(ui: &mut Ui, down: bool, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(11.0), Sense::hover());
    let (flat, tip) = if down { (rect.top(), rect.center_bottom()) } else { (rect.bottom(), rect.center_top()) };
    let corners = vec![Pos2::new(rect.left(), flat), Pos2::new(rect.right(), flat), tip];
    ui.painter().add(Shape::convex_polygon(corners, colour, Stroke::NONE));
}

fn explain(ui: &mut Ui, gap: &Gap) {
    ui.label(RichText::new(sentence(gap)).strong());
    let more = match gap {
        Gap::Waiting(_) => "It is picked up as soon as it starts; nothing needs to be done here.",
        Gap::Slept(_) => "What it moved meanwhile is in the totals.",
        Gap::SourceChanged(_) | Gap::CountingRestarted => "The next look shows a rate again.",
        Gap::Failed(_) => "The look is tried again each beat; the totals go on.",
    };
    ui.label(RichText::new(more).weak());
}

fn sentence(gap: &Gap) -> String {
    let text = gap.to_string();
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// What a chart shows beside its axis.
pub struct ChartFrame<'a> {
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
    /// Bytes or bits.
    pub unit: Unit,
    /// The latest rate, for those who hear it.
    pub rate: Option<Rate>,
}

impl ChartFrame<'_> {
    /// Draws the chart over the whole width. The axis that fits it, to be given next time.
    pub fn ui(&self, ui: &mut Ui, axis: Axis, height: f32) -> Axis {
        let (response, painter) = ui.allocate_painter(vec2(ui.available_width(), height), Sense::hover());
        response.widget_info(|| {
            let rate =
                |f: fn(&Rate) -> f64| self.rate.as_ref().map_or("unknown".into(), |r| format::rate(f(r), self.unit));
            let label = format!(
                "Chart of the last {} minutes: download {}, upload {}",
                self.span_secs / 60,
                rate(|r| r.rx),
                rate(|r| r.tx)
            );
            WidgetInfo::labeled(Role::GraphicsDocument, true, label)
        });
        let since_ns = self.now_ns.saturating_sub(u64::from(self.span_secs) * 1_000_000_000);
        let points: Vec<Point> = self.history.since(since_ns).copied().collect();
        let most = points.iter().filter_map(|p| p.rate).map(|r| r.rx.max(r.tx)).fold(0.0, f64::max);
        let axis = axis.next(most, self.unit);
        let pixels_per_point = painter.pixels_per_point();
        let chart = Chart {
            points: &points,
            now_ns: self.now_ns,
            now: self.now,
            zone: self.zone,
            span_secs: self.span_secs,
            axis,
            unit: self.unit,
            colours: colours(ui.visuals().dark_mode),
            text_pixels: f64::from(TEXT_POINTS * pixels_per_point),
        };
        let area = Plot::new(&painter, response.rect).into_drawing_area();
        if let Err(error) = chart::draw(&area, &chart) {
            painter.text(
                response.rect.center(),
                Align2::CENTER_CENTER,
                error,
                FontId::default(),
                ui.visuals().error_fg_color,
            );
        }
        if let Some(pointer) = response.hover_pos() {
            self.read_out(ui, &chart, response.rect, pointer);
        }
        axis
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
        let rates = match point {
            Some(Point { rate: Some(rate), .. }) => {
                format!("Download {}\nUpload {}", format::rate(rate.rx, self.unit), format::rate(rate.tx, self.unit))
            }
            Some(Point { rate: None, .. }) => "Gap: not known".to_owned(),
            None => "Not watched yet".to_owned(),
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
        painter.rect(
            card,
            6.0,
            visuals.faint_bg_color,
            visuals.widgets.noninteractive.bg_stroke,
            eframe::egui::StrokeKind::Inside,
        );
        painter.galley(card.min + Vec2::splat(7.0), galley, visuals.text_color());
    }
}

/// How much room the table and the footer want below the chart.
#[expect(clippy::cast_precision_loss, reason = "a few rows")]
pub fn below_height(reading: &Reading, available: f32) -> f32 {
    let rows = reading.units.len().clamp(1, ROWS_SHOWN) as f32;
    (70.0 + (rows + 1.0) * (ROW_HEIGHT + 2.0)).min(available * 0.55)
}

/// The units, a row each.
pub fn units(ui: &mut Ui, reading: &Reading, unit: Unit) {
    const FOOTER_HEIGHT: f32 = 48.0;
    ui.add_space(6.0);
    let colours = colours(ui.visuals().dark_mode);
    let right = |ui: &mut Ui, text: RichText| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text));
    };
    let height = (ui.available_height() - FOOTER_HEIGHT).max(ROW_HEIGHT * 2.0);
    TableBuilder::new(ui)
        .striped(true)
        .max_scroll_height(height - ROW_HEIGHT)
        .auto_shrink([false, true])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::remainder().at_least(120.0).clip(true))
        .columns(Column::exact(96.0), 4)
        .header(ROW_HEIGHT - 2.0, |mut header| {
            header.col(|ui| _ = ui.label(RichText::new("Service").small().weak()));
            for title in ["Download", "Upload", "Total down", "Total up"] {
                header.col(|ui| right(ui, RichText::new(title).small().weak()));
            }
        })
        .body(|body| {
            body.rows(ROW_HEIGHT, reading.units.len(), |mut row| {
                let Some(entry) = reading.units.get(row.index()) else { return };
                row.col(|ui| _ = ui.add(Label::new(&entry.unit).truncate()).on_hover_text(&entry.cgroup));
                let rate = |f: fn(&Rate) -> f64| entry.rate.as_ref().map_or("–".into(), |r| format::rate(f(r), unit));
                for text in [
                    RichText::new(rate(|r| r.rx)).color(colour(colours.download)),
                    RichText::new(rate(|r| r.tx)).color(colour(colours.upload)),
                    RichText::new(format::bytes(entry.rx_bytes)),
                    RichText::new(format::bytes(entry.tx_bytes)),
                ] {
                    row.col(|ui| right(ui, text));
                }
            });
        });
}

/// Totals, and what was left out.
pub fn footer(ui: &mut Ui, reading: &Reading) {
    ui.with_layout(Layout::bottom_up(Align::Min), |ui| {
        let bytes = reading.bytes;
        let left_out = bytes.internal_rx.saturating_add(bytes.internal_tx);
        Frame::new().fill(ui.visuals().faint_bg_color).corner_radius(6.0).inner_margin(Margin::symmetric(10, 6)).show(
            ui,
            |ui| {
                ui.horizontal_wrapped(|ui| {
                    ui.set_min_width(ui.available_width());
                    ui.label(format!("Total {} down, {} up", format::bytes(bytes.rx), format::bytes(bytes.tx)));
                    ui.separator();
                    ui.label(format!("Left out: loopback and LAN {}", format::bytes(left_out)))
                        .on_hover_text("What stays inside: this host, its networks, private addresses, the tailnet.");
                });
            },
        );
    });
}
