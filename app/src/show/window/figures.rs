//! What stands around the chart: name, source, rates, units, totals.

use eframe::egui::{
    Align, Color32, Frame, Label, Layout, Margin, Pos2, RichText, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo,
    accesskit::Role, vec2,
};
use egui_extras::{Column, TableBuilder};

use super::style::{colour, colours};
use crate::{
    base::{format, settings::Settings},
    look::{
        rate::{Gap, Rate},
        reading::Reading,
        sampler::Source,
    },
};

const ROW_HEIGHT: f32 = 24.0;
/// What the page of the open sockets is called.
pub const WHY: &str = "Why is this external?";
const ROWS_SHOWN: usize = 6;
/// Room for the scroll bar, beside the spacing.
const BAR_WIDTH: f32 = 2.0;

/// Name and source badge. Whether somebody wants to know why the figures are what they are.
pub fn header(ui: &mut Ui, reading: &Reading) -> bool {
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let why = badge(ui, reading.source);
            unmeasured(ui, reading);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(Label::new(RichText::new(&reading.app).heading().strong()).truncate());
            });
            why
        })
        .inner
    })
    .inner
}

/// Where the figures come from, with a menu. Whether somebody wants to know why.
pub fn badge(ui: &mut Ui, source: Source) -> bool {
    let (text, why) = match source {
        Source::Exact => ("Exact", "Every packet, counted by the kernel: TCP, UDP and QUIC, headers included."),
        Source::Estimate => (
            "Estimate, TCP only",
            "Read from the sockets' own books, with no privilege: TCP payload. UDP and QUIC are not in the figures, \
             nor is a connection that opens and closes between two looks.",
        ),
    };
    // A button, so that the keyboard reaches it; a click keeps the sentence open.
    let menu = ui.menu_button(RichText::new(text).small(), |ui| {
        ui.set_max_width(320.0);
        ui.label(why);
        ui.separator();
        ui.button(WHY).clicked()
    });
    menu.response.on_hover_text(why);
    menu.inner.unwrap_or_default()
}

/// What is not in the figures.
fn unmeasured(ui: &mut Ui, reading: &Reading) {
    let udp = match (reading.source, reading.unmeasured_udp_sockets) {
        (Source::Exact, _) | (_, Some(0)) => return,
        (_, Some(1)) => "1 UDP socket not measured".to_owned(),
        (_, Some(sockets)) => format!("{sockets} UDP sockets not measured"),
        (_, None) => "UDP sockets unknown".to_owned(),
    };
    ui.label(RichText::new(udp).small().weak());
}

/// The large figures, or the reason why there are none.
pub fn rates(ui: &mut Ui, reading: &Reading, settings: &Settings) {
    let colours = colours(ui, settings);
    let rate = reading.rate.as_ref().ok();
    ui.horizontal_top(|ui| {
        for (down, name, rate, colour_of) in [
            (true, "Download", rate.map(|r| r.rx), colours.download),
            (false, "Upload", rate.map(|r| r.tx), colours.upload),
        ] {
            let text = rate.map_or("–".to_owned(), |rate| format::rate(rate, settings.unit));
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

/// Both rates on one line, or the reason why there are none.
pub fn rates_small(ui: &mut Ui, reading: &Reading, settings: &Settings) {
    let rate = match &reading.rate {
        Ok(rate) => rate,
        Err(gap) => {
            ui.add(Label::new(RichText::new(sentence(gap)).weak()).truncate());
            return;
        }
    };
    let colours = colours(ui, settings);
    for (down, name, rate, colour_of) in
        [(true, "Download", rate.rx, colours.download), (false, "Upload", rate.tx, colours.upload)]
    {
        let text = format::rate(rate, settings.unit);
        arrow(ui, down, colour(colour_of));
        // A width of its own, so that nothing moves when a figure grows.
        let group = ui.allocate_ui(vec2(100.0, ui.spacing().interact_size.y), |ui| {
            ui.set_min_width(100.0);
            ui.label(RichText::new(&text).size(16.0));
        });
        group.response.widget_info(|| WidgetInfo::labeled(Role::Group, true, format!("{name} {text}")));
    }
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

/// How much room the table wants below the chart.
#[expect(clippy::cast_precision_loss, reason = "a few rows")]
pub fn units_height(reading: &Reading, available: f32) -> f32 {
    let rows = reading.units.len().clamp(1, ROWS_SHOWN) as f32;
    (16.0 + (rows + 1.0) * (ROW_HEIGHT + 6.0)).min(available * 0.5)
}

/// The units, a row each.
pub fn units(ui: &mut Ui, reading: &Reading, settings: &Settings) {
    ui.add_space(6.0);
    let colours = colours(ui, settings);
    let right = |ui: &mut Ui, text: RichText| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text));
    };
    let spacing = ui.spacing().item_spacing.y;
    let height = (ui.available_height() - ROW_HEIGHT - 2.0 * spacing).max(ROW_HEIGHT);
    TableBuilder::new(ui)
        .striped(true)
        .min_scrolled_height(ROW_HEIGHT)
        .max_scroll_height(height)
        .auto_shrink([false, true])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::remainder().at_least(120.0).clip(true))
        .columns(Column::exact(84.0), 4)
        .column(Column::exact(BAR_WIDTH))
        .header(ROW_HEIGHT - 2.0, |mut header| {
            header.col(|ui| _ = ui.label(RichText::new("Service").small().weak()));
            for title in ["Download", "Upload", "Total down", "Total up"] {
                header.col(|ui| right(ui, RichText::new(title).small().weak()));
            }
            header.col(|_| {});
        })
        .body(|body| {
            body.rows(ROW_HEIGHT, reading.units.len(), |mut row| {
                let Some(entry) = reading.units.get(row.index()) else { return };
                row.col(|ui| _ = ui.add(Label::new(&entry.unit).truncate()).on_hover_text(&entry.cgroup));
                let rate = |f: fn(&Rate) -> f64| {
                    entry.rate.as_ref().map_or("–".into(), |r| format::rate(f(r), settings.unit))
                };
                for text in [
                    RichText::new(rate(|r| r.rx)).color(colour(colours.download)),
                    RichText::new(rate(|r| r.tx)).color(colour(colours.upload)),
                    RichText::new(format::bytes(entry.rx_bytes)),
                    RichText::new(format::bytes(entry.tx_bytes)),
                ] {
                    row.col(|ui| right(ui, text));
                }
                row.col(|_| {});
            });
        });
}

/// Totals, and what was left out. Whether somebody wants to know why that.
pub fn footer(ui: &mut Ui, reading: &Reading) -> bool {
    let bytes = reading.bytes;
    let left_out = bytes.internal_rx.saturating_add(bytes.internal_tx);
    Frame::new()
        .fill(ui.visuals().faint_bg_color)
        .corner_radius(6.0)
        .inner_margin(Margin::symmetric(10, 6))
        .show(ui, |ui| {
            ui.horizontal_wrapped(|ui| {
                ui.set_min_width(ui.available_width());
                ui.label(format!("Total {} down, {} up", format::bytes(bytes.rx), format::bytes(bytes.tx)));
                ui.separator();
                let text = format!("Left out: loopback and LAN {}", format::bytes(left_out));
                let hint =
                    "What stays inside: this host, its networks, private addresses, the tailnet. Click to see why.";
                ui.link(text).on_hover_text(hint).clicked()
            })
            .inner
        })
        .inner
}
