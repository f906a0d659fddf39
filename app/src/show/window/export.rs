//! What leaves the window: the chart as a picture, and its figures as a table.

use eframe::egui::Ui;
use jiff::{Timestamp, ZonedDateTime};

use super::{
    Window,
    graph::{Data, counted_span},
    style::colours,
};
use crate::{
    keep::usage::Seen,
    look::reading::Reading,
    show::{chart, update::Command},
};

const PICTURE_WIDTH: u32 = 1200;
const ONE_HEIGHT: u32 = 560;
/// Of several, each.
const EACH_HEIGHT: u32 = 300;
const TEXT_PIXELS: f64 = 16.0;
const AVERAGE: &str = "average (netglance was closed or paused)";
const AVERAGE_ESTIMATE: &str = "average (netglance was closed or paused), includes an estimate";

impl Window {
    /// Has what is shown saved as a picture.
    pub(super) fn save_chart(&self, ui: &Ui, readings: &[Reading]) {
        let graphs: Vec<_> = readings.iter().filter_map(|reading| self.graph_of(reading, false)).collect();
        let points: Vec<_> = graphs.iter().map(|(graph, _)| graph.points()).collect();
        let charts = graphs.iter().zip(&points).zip(readings).map(|(((graph, axis), points), reading)| {
            (reading.app.as_str(), graph.chart(colours(ui, &self.settings), TEXT_PIXELS, points, *axis))
        });
        let charts: Vec<_> = charts.collect();
        let (Some((first, _)), Some(graph)) = (charts.first(), graphs.first().map(|(graph, _)| graph)) else { return };
        let count = u32::try_from(charts.len()).unwrap_or(1);
        let height = if count == 1 { ONE_HEIGHT } else { count.saturating_mul(EACH_HEIGHT) };
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let (from, to) = graph.span;
        let when = self.local(to.min(chart::seconds(graph.now))).strftime("%Y-%m-%d %H.%M").to_string();
        let name = format!("{first}{others}, {} until {when}", counted_span((to - from).round()));
        // Text alone is written, which can't fail.
        if let Ok(svg) = chart::svg(&charts, PICTURE_WIDTH, height) {
            self.send(Command::SaveChart { name, svg });
        }
    }

    /// Puts the figures of what is shown on the clipboard.
    pub(super) fn copy_figures(&self, ui: &Ui, readings: &[Reading]) {
        ui.ctx().copy_text(self.table_of(readings));
    }

    /// A line with the names of the columns, and a line for each time, with tabs between the columns.
    fn table_of(&self, readings: &[Reading]) -> String {
        let mut table = String::new();
        for reading in readings {
            let Some((graph, _)) = self.graph_of(reading, false) else { continue };
            if table.is_empty() {
                let per = if matches!(graph.data, Data::Live { .. }) { "bytes/s" } else { "bytes" };
                table = format!("Application\tStart\tEnd\tDownload ({per})\tUpload ({per})\tNote\n");
            }
            let app = cell(&reading.app);
            let mut line = |start: f64, end: f64, moved: Option<(u64, u64)>, note: &str| {
                let [start, end] =
                    [start, end].map(|at| self.local(at).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string());
                let (rx, tx) =
                    moved.map_or((String::new(), String::new()), |(rx, tx)| (rx.to_string(), tx.to_string()));
                table += &format!("{app}\t{start}\t{end}\t{rx}\t{tx}\t{note}\n");
            };
            match graph.data {
                Data::Live { now_ns, .. } => {
                    let now = chart::seconds(graph.now);
                    let at = |ns: u64| now - std::time::Duration::from_nanos(now_ns.saturating_sub(ns)).as_secs_f64();
                    for pair in graph.points().windows(2) {
                        let [before, point] = pair else { continue };
                        let (start, end) = (at(before.boottime_ns), at(point.boottime_ns));
                        if end <= graph.span.0 || start >= graph.span.1 {
                            continue;
                        }
                        #[expect(
                            clippy::cast_possible_truncation,
                            clippy::cast_sign_loss,
                            reason = "a rate is no less than 0"
                        )]
                        let moved = point.rate.map(|rate| (rate.rx.round() as u64, rate.tx.round() as u64));
                        line(start, end, moved, if moved.is_none() { "unknown" } else { "" });
                    }
                }
                Data::Slots(slots, _) => {
                    for slot in graph.shown(slots) {
                        let bytes = Some((slot.usage.bytes.rx, slot.usage.bytes.tx));
                        let (moved, note) = match (slot.seen, slot.usage.estimate_bytes > 0) {
                            (Seen::Not, _) => (None, "not recorded"),
                            (Seen::Away, false) => (bytes, AVERAGE),
                            (Seen::Away, true) => (bytes, AVERAGE_ESTIMATE),
                            (Seen::Looked, true) => (bytes, "includes an estimate"),
                            (Seen::Looked, false) => (bytes, ""),
                        };
                        line(slot.start as f64, slot.end as f64, moved, note);
                    }
                }
                Data::Nothing(_) => {}
            }
        }
        table
    }

    /// A time where the person is.
    fn local(&self, secs: f64) -> ZonedDateTime {
        #[expect(clippy::cast_possible_truncation, reason = "a time, which Timestamp checks")]
        let time = Timestamp::from_millisecond((secs * 1000.0).round() as i64).unwrap_or_default();
        ZonedDateTime::new(time, self.zone.clone())
    }
}

/// A name as a spreadsheet takes it: one line, and no formula.
pub(super) fn cell(name: &str) -> String {
    let text = name.replace(char::is_control, " ");
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}
