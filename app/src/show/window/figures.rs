//! What stands around the chart: name, source, rates, units, totals.

use eframe::egui::{
    Align, Color32, Frame, Label, Layout, Margin, Pos2, RichText, Sense, Shape, Stroke, TextStyle, Ui, UiBuilder, Vec2,
    WidgetInfo, accesskit::Role, vec2,
};
use egui_extras::{Column, TableBuilder};
use jiff::{SignedDuration, ZonedDateTime, tz::TimeZone};

use super::{
    own_apps::colours,
    style::{self, colour},
    usage::estimate,
};
use crate::{
    base::{format, settings::Settings},
    keep::calendar::Period,
    look::{
        rate::{Gap, Rate},
        reading::Reading,
        sampler::Source,
        services,
    },
    show::update::Update,
};

const ROW_HEIGHT: f32 = 24.0;
/// Leads to the page of the connections.
const WHY: &str = "Show Connections";
/// What the menu at the end of the header shows.
pub const MORE: &str = "…";
/// What a rate that is not known looks like.
const NOT_KNOWN: &str = "–";
const ROWS_SHOWN: usize = 6;
const ARROW: f32 = 11.0;
/// Of a rate beside its arrow.
const RATE_WIDTH: f32 = 96.0;
/// Room for the scroll bar, beside the spacing.
const BAR_WIDTH: f32 = 2.0;
/// Of a line between two texts, with what is around it.
const SEPARATOR_WIDTH: f32 = 6.0;

/// Name and source badge. `mark`: the app's own colour; `more` draws what stands at the end. Whether somebody wants to know why the
/// figures are what they are.
pub fn header(ui: &mut Ui, reading: &Reading, mark: Option<[u8; 3]>, more: impl FnOnce(&mut Ui)) -> bool {
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            // Room for what stands at the end, which is drawn after what stands before it: so the Tab key finds them in that order.
            let text = ui.painter().layout_no_wrap(MORE.to_owned(), TextStyle::Button.resolve(ui.style()), Color32::WHITE);
            let width = text.size().x + 2.0 * ui.spacing().button_padding.x;
            let (_, room) = ui.allocate_space(vec2(width, ui.spacing().interact_size.y));
            let why = badge(ui, reading.source, false);
            let at_end = UiBuilder::new().max_rect(room).layout(Layout::right_to_left(Align::Center));
            more(&mut ui.new_child(at_end));
            unmeasured(ui, reading);
            if reading.lacks_containers {
                ui.label(RichText::new("Containers not counted").small().weak()).on_hover_text(
                    "This application has containers or virtual machines. They are counted exactly, by the helper, once you choose \
                     “Count Containers…” in the list of applications.",
                );
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                own_mark(ui, mark);
                ui.add(Label::new(RichText::new(&reading.app).heading().strong()).truncate());
            });
            why
        })
        .inner
    })
    .inner
}

/// The mark of an app of one's own, before its name.
pub fn own_mark(ui: &mut Ui, mark: Option<[u8; 3]>) {
    if let Some(colour) = mark {
        let size = vec2(colours::MARK_WIDTH, ui.text_style_height(&TextStyle::Body));
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        ui.painter().rect_filled(rect, colours::MARK_WIDTH / 2.0, colours::egui(colour));
    }
}

/// Where the figures come from, with a menu. `short`: where there is little room. Whether somebody wants to know why.
pub fn badge(ui: &mut Ui, source: Source, short: bool) -> bool {
    let (text, why) = match source {
        Source::Exact => ("Exact", "The kernel counts every packet: TCP, UDP and QUIC, headers included."),
        Source::Estimate => (
            "Estimate, TCP only",
            "Read from the open TCP connections, without any privileges. UDP and QUIC are not included, nor are packet \
             headers and very short connections.",
        ),
    };
    // A button, so that the keyboard reaches it; a click keeps the sentence open.
    let shown = if short { text.split(',').next().unwrap_or(text) } else { text };
    let menu = ui.menu_button(shown, |ui| {
        ui.set_max_width(320.0);
        ui.label(why);
        ui.separator();
        ui.button(WHY).clicked()
    });
    menu.response.accessible_name(text).on_hover_text(why);
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
    let colours = style::colours(ui, settings);
    let rate = reading.rate.as_ref().ok();
    ui.horizontal_top(|ui| {
        for (down, name, rate, colour_of) in [
            (true, "Download", rate.map(|r| r.rx), colours.download),
            (false, "Upload", rate.map(|r| r.tx), colours.upload),
        ] {
            let text = rate.map_or(NOT_KNOWN.to_owned(), |rate| format::rate(rate, settings.unit));
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
            let said = if rate.is_some() { text.as_str() } else { "unknown" };
            group.response.widget_info(|| WidgetInfo::labeled(Role::Group, true, format!("{name} {said}")));
        }
        if let Err(gap) = &reading.rate {
            ui.vertical(|ui| explain(ui, gap));
        }
    });
}

/// What was used today and this month; nothing where nothing is recorded. The period that somebody wants to see.
pub fn used(ui: &mut Ui, update: &Update, reading: &Reading) -> Option<Period> {
    if services::unit_of_id(&reading.id).is_some() {
        let text = "A system service: not part of “All applications”, and not recorded.";
        ui.label(RichText::new(text).small().weak());
        return None;
    }
    let used = update.used.iter().find(|used| used.id == reading.id)?;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 18.0;
        let periods = [("Today", used.today, Period::Today), ("This month", used.month, Period::ThisMonth)];
        let clicked = periods.map(|(name, usage, period)| {
            let [down, up] = [usage.bytes.rx, usage.bytes.tx].map(format::bytes);
            let all = format::bytes(usage.external());
            let estimate = estimate(usage).map(|estimate| format!("\n{estimate}")).unwrap_or_default();
            let hint = format!("{all} in total{estimate}\nClick to see the usage of all applications");
            ui.link(format!("{name}: {down} down, {up} up")).on_hover_text(hint).clicked().then_some(period)
        });
        clicked.into_iter().flatten().next()
    })
    .inner
}

/// The width of both rates on one line.
pub const RATES_WIDTH: f32 = 2.0 * (ARROW + RATE_WIDTH + 16.0);

/// Both rates on one line, or the reason why there are none.
pub fn rates_small(ui: &mut Ui, reading: &Reading, settings: &Settings) {
    let rate = match &reading.rate {
        Ok(rate) => rate,
        Err(gap) => {
            ui.add(Label::new(RichText::new(sentence(gap)).weak()).truncate());
            return;
        }
    };
    let colours = style::colours(ui, settings);
    for (down, name, rate, colour_of) in
        [(true, "Download", rate.rx, colours.download), (false, "Upload", rate.tx, colours.upload)]
    {
        let text = format::rate(rate, settings.unit);
        arrow(ui, down, colour(colour_of));
        // A width of its own, so that nothing moves when a figure grows.
        let group = ui.allocate_ui(vec2(RATE_WIDTH, ui.spacing().interact_size.y), |ui| {
            ui.set_min_width(RATE_WIDTH);
            ui.label(RichText::new(&text).size(16.0));
        });
        group.response.widget_info(|| WidgetInfo::labeled(Role::Group, true, format!("{name} {text}")));
    }
}

/// A triangle that points down or up.
fn arrow(ui: &mut Ui, down: bool, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(ARROW), Sense::hover());
    let (flat, tip) = if down { (rect.top(), rect.center_bottom()) } else { (rect.bottom(), rect.center_top()) };
    let corners = vec![Pos2::new(rect.left(), flat), Pos2::new(rect.right(), flat), tip];
    ui.painter().add(Shape::convex_polygon(corners, colour, Stroke::NONE));
}

fn explain(ui: &mut Ui, gap: &Gap) {
    ui.label(RichText::new(sentence(gap)).strong());
    let more = match gap {
        Gap::Waiting(_) => "The chart starts as soon as it does.",
        Gap::Slept(_) => "The totals include the traffic of that time.",
        Gap::SourceChanged(_) | Gap::CountingRestarted => "The rate is back in a moment.",
        Gap::Failed(_) => "netglance keeps trying. The totals are kept.",
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
    let colours = style::colours(ui, settings);
    let right =
        |ui: &mut Ui, text: RichText| ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text)).inner;
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
            for title in ["Download", "Upload", "Total Down", "Total Up"] {
                header.col(|ui| _ = right(ui, RichText::new(title).small().weak()));
            }
            header.col(|_| {});
        })
        .body(|body| {
            body.rows(ROW_HEIGHT, reading.units.len(), |mut row| {
                let Some(entry) = reading.units.get(row.index()) else { return };
                row.col(|ui| _ = ui.add(Label::new(&entry.unit).truncate()).on_hover_text(&entry.cgroup));
                let rate = |f: fn(&Rate) -> f64| {
                    entry.rate.as_ref().map_or(NOT_KNOWN.into(), |r| format::rate(f(r), settings.unit))
                };
                for text in [
                    RichText::new(rate(|r| r.rx)).color(colour(colours.download)),
                    RichText::new(rate(|r| r.tx)).color(colour(colours.upload)),
                    RichText::new(format::bytes(entry.rx_bytes)),
                    RichText::new(format::bytes(entry.tx_bytes)),
                ] {
                    row.col(|ui| {
                        let not_known = text.text() == NOT_KNOWN;
                        let shown = right(ui, text);
                        if not_known {
                            shown.on_hover_text("Unknown");
                        }
                    });
                }
                row.col(|_| {});
            });
        });
}

/// Totals, and what was not counted. `one_line`: there is room for no more. Whether somebody wants to know why that.
pub fn totals(ui: &mut Ui, reading: &Reading, zone: &TimeZone, one_line: bool) -> bool {
    let bytes = reading.bytes;
    let internal = bytes.internal_rx.saturating_add(bytes.internal_tx);
    Frame::new()
        .fill(ui.visuals().faint_bg_color)
        .corner_radius(6.0)
        .inner_margin(Margin::symmetric(10, 6))
        .show(ui, |ui| {
            ui.horizontal_wrapped(|ui| {
                ui.set_min_width(ui.available_width());
                let [down, up] = [bytes.rx, bytes.tx].map(format::bytes);
                let moved = format!("{down} down, {up} up");
                let all = format!("Since {}: {moved}", since(reading, zone));
                let text = format!("Internal (not counted): {}", format::bytes(internal));
                // Since when it is, is said below the pointer where there is no room for it.
                if one_line && !fits(ui, &[&all, &text]) {
                    let label = ui.label(moved).on_hover_text(&all);
                    label.widget_info(|| WidgetInfo::labeled(Role::Label, true, &all));
                } else {
                    ui.label(all);
                }
                ui.separator();
                let hint = "Traffic that does not reach the outside world: within this computer (loopback), on the local \
                            network, to private networks and the tailnet, and multicast. Click to see the connections.";
                ui.link(text).on_hover_text(hint).clicked()
            })
            .inner
        })
        .inner
}

/// Whether both stand side by side, with a line between them.
fn fits(ui: &Ui, texts: &[&str; 2]) -> bool {
    let font = TextStyle::Body.resolve(ui.style());
    let width = |text: &str| ui.painter().layout_no_wrap(text.to_owned(), font.clone(), Color32::PLACEHOLDER).size().x;
    let between = 2.0 * ui.spacing().item_spacing.x + SEPARATOR_WIDTH;
    texts.map(width).into_iter().sum::<f32>() + between <= ui.available_width()
}

/// When the totals began: "14:05", with the date where that isn't today.
fn since(reading: &Reading, zone: &TimeZone) -> String {
    let elapsed = SignedDuration::try_from_secs_f64(reading.elapsed_secs).unwrap_or_default();
    let began = reading.time.checked_sub(elapsed).unwrap_or(reading.time);
    let [now, began] = [reading.time, began].map(|time| ZonedDateTime::new(time, zone.clone()));
    let format = if began.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    began.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::rate::Bytes;

    #[test]
    fn totals_say_since_when() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let mut reading = Reading {
            id: String::new(),
            time: "2026-03-01T12:00:30Z".parse().unwrap(),
            boottime_ns: 0,
            elapsed_secs: 60.0,
            app: String::new(),
            source: Source::Exact,
            bytes: Bytes::default(),
            rate: Err(Gap::CountingRestarted),
            unmeasured_udp_sockets: None,
            lacks_containers: false,
            units: Vec::new(),
        };
        for (elapsed_secs, expected) in
            [(60.0, "12:59"), (46_000.0, "00:13"), (47_000.0, "2026-02-28 23:57"), (f64::NAN, "13:00")]
        {
            reading.elapsed_secs = elapsed_secs;
            assert_eq!(since(&reading, &zone), expected);
        }
    }
}
