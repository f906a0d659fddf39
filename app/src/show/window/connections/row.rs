//! A row of the table of remotes: where its parts are, what stands in them, and how it is drawn. Only rows that are seen are worded.

use eframe::egui::{
    Align2, Color32, FontId, Id, Pos2, Rect, Response, RichText, Sense, StrokeKind, TextWrapMode, Ui, WidgetInfo,
    WidgetText, accesskit::Role, pos2, vec2,
};

use super::{
    copy,
    kept::{Entry, Kept, Owners},
    view::{By, Column, Key, Line, Part},
    words,
};
use crate::{
    base::{format, settings::Unit},
    keep::history::Point,
    show::{
        chart::Colours,
        window::{
            overview,
            rows::{self, ROW_HEIGHT},
            style,
        },
    },
};

const BETWEEN: f32 = 8.0;
const TEXT_SIZE: f32 = 13.0;
/// Of what marks the row that is shown alone, at its left.
const CHOSEN_WIDTH: f32 = 3.0;
/// Left of the last minute, which begins at the left beside a figure that ends at the right.
const BEFORE_SPARK: f32 = 8.0;
const UNKNOWN: &str = "–";
const NOT_MEASURED: &str = "Not measured";
/// Of the remote's name at least.
const NAME_WIDTH: f32 = 140.0;
/// Of what decides, where that is what one wants to see.
const WHY_WIDTH: f32 = 215.0;
/// Of what decides at least.
const SCOPE_WIDTH: f32 = 64.0;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A text or a figure, by which the rows are sorted.
    Sorted(Column),
    /// The last minute.
    Spark,
}

/// What the table is about, which decides which columns there are.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Whose the remotes are.
    pub owners: Option<Owners>,
    /// Of some remote a country or network is known.
    pub networks: bool,
    /// What is shown of what counts how.
    pub part: Part,
    /// What is one row.
    pub by: By,
    /// This column is there in any case.
    pub sorted: Column,
}

/// A column and where it is, from the left edge of a row.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What stands there.
    pub cell: Cell,
    left: f32,
    width: f32,
}

/// The columns that fit into a row of this width, from left to right. What matters least is left out first.
pub fn places(width: f32, wanted: &Wanted) -> Vec<Place> {
    let why = wanted.part == Part::Internal;
    let mut columns = vec![
        (Cell::Sorted(Column::Remote), NAME_WIDTH),
        (Cell::Sorted(Column::Owner), 88.0),
        (Cell::Sorted(Column::Port), 76.0),
        (Cell::Sorted(Column::Protocol), 50.0),
        (Cell::Sorted(Column::Network), 88.0),
        (Cell::Sorted(Column::Scope), if why { WHY_WIDTH } else { SCOPE_WIDTH }),
        (Cell::Sorted(Column::Download), 70.0),
        (Cell::Sorted(Column::Upload), 70.0),
        (Cell::Sorted(Column::Received), 62.0),
        (Cell::Sorted(Column::Sent), 58.0),
        (Cell::Sorted(Column::Seen), 68.0),
        (Cell::Spark, 60.0 + BEFORE_SPARK),
    ];
    columns.retain(|(cell, _)| match cell {
        Cell::Sorted(Column::Owner) => wanted.owners.is_some(),
        Cell::Sorted(Column::Network) => wanted.networks && wanted.by != By::Network,
        Cell::Sorted(Column::Port) => wanted.by != By::Port,
        _ => true,
    });
    let inside = width - 2.0 * BETWEEN;
    let needed = |columns: &[(Cell, f32)]| columns.iter().map(|(_, width)| width + BETWEEN).sum::<f32>() - BETWEEN;
    for least in [
        Cell::Sorted(Column::Seen),
        Cell::Spark,
        Cell::Sorted(Column::Network),
        Cell::Sorted(Column::Protocol),
        Cell::Sorted(Column::Owner),
    ] {
        if needed(&columns) <= inside {
            break;
        }
        columns.retain(|(cell, _)| *cell != least || *cell == Cell::Sorted(wanted.sorted));
    }
    let missing = (needed(&columns) - inside).max(0.0);
    if let Some((_, width)) = columns.iter_mut().find(|(cell, _)| *cell == Cell::Sorted(Column::Scope)) {
        *width = (*width - missing).max(SCOPE_WIDTH);
    }
    let left_over = (inside - needed(&columns)).max(0.0);
    let grows = |cell: &Cell| match cell {
        Cell::Sorted(Column::Remote) => 3.0,
        Cell::Sorted(Column::Owner | Column::Network) | Cell::Spark => 1.0,
        Cell::Sorted(Column::Scope) if wanted.part != Part::External => 3.0,
        _ => 0.0,
    };
    let shares: f32 = columns.iter().map(|(cell, _)| grows(cell)).sum();
    let mut left = BETWEEN;
    columns
        .into_iter()
        .map(|(cell, width)| {
            let width = width + left_over * grows(&cell) / shares;
            let place = Place { cell, left, width };
            left += width + BETWEEN;
            place
        })
        .collect()
}

impl Place {
    /// In a row that is here.
    pub fn in_row(&self, row: Rect) -> Rect {
        let rect = Rect::from_min_size(pos2(row.left() + self.left, row.top()), vec2(self.width, row.height()));
        if self.cell == Cell::Spark { rect.with_min_x(rect.left() + BEFORE_SPARK) } else { rect }
    }

    /// It is written from the left on; figures end at the right.
    pub fn is_left(&self) -> bool {
        match self.cell {
            Cell::Sorted(column) => column.is_text(),
            Cell::Spark => true,
        }
    }

    /// What stands above it.
    pub fn title(&self, wanted: &Wanted) -> &'static str {
        match self.cell {
            Cell::Spark => "Last Minute",
            Cell::Sorted(Column::Remote) => match wanted.by {
                By::None => "Remote",
                By::Address => "Address",
                By::Network => "Network",
                By::Port => "Port",
            },
            Cell::Sorted(Column::Owner) if wanted.owners == Some(Owners::Services) => "Service",
            Cell::Sorted(Column::Owner) => "Application",
            Cell::Sorted(Column::Port) => "Port",
            Cell::Sorted(Column::Protocol) => "Protocol",
            Cell::Sorted(Column::Network) => "Network",
            Cell::Sorted(Column::Scope) => "Counts As",
            Cell::Sorted(Column::Download) => "Download",
            Cell::Sorted(Column::Upload) => "Upload",
            Cell::Sorted(Column::Received) => "Received",
            Cell::Sorted(Column::Sent) => "Sent",
            Cell::Sorted(Column::Seen) => "Last Seen",
        }
    }
}

/// What a row needs to be drawn.
pub struct Around<'a> {
    /// What is known of the remotes.
    pub kept: &'a Kept,
    /// The columns.
    pub places: &'a [Place],
    /// The chart's colours.
    pub colours: &'a Colours,
    /// For rates.
    pub unit: Unit,
    /// What is shown of what counts how.
    pub part: Part,
}

/// Keeps the focus when the order changes.
pub fn row_id(key: &Key) -> Id {
    Id::unique(("row of the connections", key))
}

/// Draws a row. Whether it was clicked. `at`: which row it is; `chosen`: it is shown alone.
pub fn draw(ui: &mut Ui, line: &Line, at: usize, spark: &[Point], chosen: bool, around: &Around<'_>) -> bool {
    let size = vec2(ui.available_width() - super::BAR_WIDTH, ROW_HEIGHT);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let response = ui.interact(rect, row_id(&line.key), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, spoken(line, around)));
    rows::background(ui, &response, at);
    if chosen {
        let border = ui.visuals().selection.stroke;
        ui.painter().rect_filled(rect, 4.0, ui.visuals().widgets.inactive.weak_bg_fill);
        ui.painter().rect_filled(rect.with_max_x(rect.left() + CHOSEN_WIDTH), 2.0, border.color);
        if response.has_focus() {
            ui.painter().rect_stroke(rect, 4.0, border, StrokeKind::Inside);
        }
    }
    let agrees = line.members.iter().filter_map(|id| around.kept.get(*id)).all(Entry::agrees);
    let text = if agrees { ui.visuals().text_color() } else { ui.visuals().warn_fg_color };
    for place in around.places {
        let here = place.in_row(rect);
        let Cell::Sorted(column) = place.cell else {
            if line.bytes.is_none() {
                continue;
            }
            let here = here.shrink2(vec2(0.0, 4.0));
            ui.painter().add(overview::spark_line(spark, around.kept.now_ns, here, around.colours));
            continue;
        };
        let (words, colour) = worded(ui, line, column, text, around);
        write(ui, here, &words, colour, place.is_left());
    }
    menu(&response, line, around);
    // What is needed to word the hint is only there while it is shown.
    let response = response.on_hover_ui(|ui| {
        ui.set_max_width(460.0);
        ui.label(hint(line, chosen, around));
    });
    response.clicked()
}

/// What a right click offers.
fn menu(response: &Response, line: &Line, around: &Around<'_>) {
    response.context_menu(|ui| {
        let address = line.common(around.kept, |entry| entry.remote.address).flatten();
        if let Some(address) = address
            && ui.button("Copy Address").clicked()
        {
            ui.ctx().copy_text(address.to_string());
        }
        if ui.button("Copy Row").clicked() {
            ui.ctx().copy_text(copy::text(around.kept, std::iter::once(line)));
        }
    });
}

/// Writes what fits.
fn write(ui: &Ui, place: Rect, text: &str, colour: Color32, left: bool) {
    let font = FontId::proportional(TEXT_SIZE);
    if !left {
        ui.painter().text(place.right_center(), Align2::RIGHT_CENTER, text, font, colour);
        return;
    }
    let text = WidgetText::from(RichText::new(text).color(colour));
    let galley = text.into_galley(ui, Some(TextWrapMode::Truncate), place.width(), font);
    let top = place.center().y - galley.size().y / 2.0;
    ui.painter().galley(Pos2::new(place.left(), top), galley, colour);
}

/// What stands in a column, and its colour. What is nothing is quiet.
fn worded(ui: &Ui, line: &Line, column: Column, text: Color32, around: &Around<'_>) -> (String, Color32) {
    let quiet = ui.visuals().weak_text_color();
    let figure = |known: bool, moved: bool, words: String, colour: Color32| {
        (if known { words } else { UNKNOWN.to_owned() }, if known && moved { colour } else { quiet })
    };
    let Around { kept, colours, unit, .. } = around;
    let rate = |rate: Option<f64>, colour| match (rate, line.bytes) {
        // Once for both rates.
        (None, None) => (if column == Column::Upload { NOT_MEASURED } else { "" }.to_owned(), quiet),
        (rate, _) => figure(
            rate.is_some(),
            rate.is_some_and(|rate| rate > 0.0),
            format::rate(rate.unwrap_or_default(), *unit),
            style::colour(colour),
        ),
    };
    let bytes = |at: usize| {
        let bytes = line.bytes.and_then(|bytes| bytes.get(at).copied());
        figure(bytes.is_some(), bytes.is_some_and(|bytes| bytes > 0), format::bytes(bytes.unwrap_or_default()), text)
    };
    match column {
        Column::Remote => (titled(line, kept), text),
        Column::Owner => (several(line, kept, |entry| entry.owner.as_str(), "several"), text),
        Column::Port => (ports(line, kept), text),
        Column::Protocol => {
            let protocol = line.common(kept, |entry| entry.remote.protocol);
            (protocol.map_or_else(|| "several".to_owned(), words::protocol), quiet)
        }
        Column::Network => (several(line, kept, |entry| entry.network.as_str(), "several"), quiet),
        Column::Scope => (scoped(line, kept, around), text),
        Column::Download => rate(line.rate.map(|rate| rate.rx), colours.download),
        Column::Upload => rate(line.rate.map(|rate| rate.tx), colours.upload),
        Column::Received => bytes(0),
        Column::Sent => bytes(1),
        Column::Seen => (seen(line, kept), quiet),
    }
}

/// Its name, with how many remotes it is.
fn titled(line: &Line, kept: &Kept) -> String {
    let name = line.name(kept);
    match (&line.key, line.members.len()) {
        (Key::Remote(_), _) | (_, 1) => name,
        (_, count) => format!("{name} ({count})"),
    }
}

fn several<'a>(line: &Line, kept: &'a Kept, of: impl Fn(&'a Entry) -> &'a str, differ: &str) -> String {
    line.common(kept, of).unwrap_or(differ).to_owned()
}

fn ports(line: &Line, kept: &Kept) -> String {
    let port = line.common(kept, |entry| (entry.remote.port, entry.remote.whois.service.as_deref()));
    port.map_or_else(|| "several".to_owned(), |(port, service)| words::port(port, service))
}

fn scoped(line: &Line, kept: &Kept, around: &Around<'_>) -> String {
    let Some(scope) = line.common(kept, |entry| entry.remote.scope) else { return "Varies".to_owned() };
    let side = words::scope(scope);
    // There is room for the reason.
    let wide =
        around.places.iter().any(|place| place.cell == Cell::Sorted(Column::Scope) && place.width >= 2.0 * SCOPE_WIDTH);
    let why = line.common(kept, |entry| (&entry.remote.prefix, &entry.remote.reason, &entry.remote.proxy));
    match (why, line.first(kept)) {
        // What is internal stands among others like it.
        (Some(_), Some(first)) if wide && around.part == Part::Internal && scope.is_some() => words::why(&first.remote),
        (Some(_), Some(first)) if wide => format!("{side}: {}", words::why(&first.remote)),
        _ => side.to_owned(),
    }
}

fn seen(line: &Line, kept: &Kept) -> String {
    if line.sockets > 0 { "now".to_owned() } else { words::ago(kept.now_ns.saturating_sub(line.seen_ns)) }
}

/// Everything about it, below the pointer.
fn hint(line: &Line, chosen: bool, around: &Around<'_>) -> String {
    let kept = around.kept;
    let mut lines = Vec::new();
    match (line.members.as_slice(), line.first(kept)) {
        ([_], Some(first)) => lines.push(words::all(&first.remote, &first.owner)),
        (members, _) => {
            lines.push(line.name(kept));
            lines.push(format!("{} remotes", members.len()));
            let not_measured = members.len() - line.measured.len();
            if not_measured > 0 && !line.measured.is_empty() {
                lines.push(format!("{not_measured} of them not measured"));
            }
        }
    }
    match line.sockets {
        0 => lines.push(format!("Last seen {}", seen(line, kept))),
        1 => lines.push("1 open socket".to_owned()),
        sockets => lines.push(format!("{sockets} open sockets")),
    }
    lines
        .push(if chosen { "Click to show all in the chart" } else { "Click to show it alone in the chart" }.to_owned());
    lines.join("\n")
}

/// A row as one hears it.
fn spoken(line: &Line, around: &Around<'_>) -> String {
    let Around { kept, unit, .. } = around;
    let mut parts = vec![titled(line, kept)];
    if !matches!(line.key, Key::Port(..)) {
        let port = line.common(kept, |entry| (entry.remote.port, entry.remote.whois.service.as_deref()));
        match port {
            Some((0, _)) => {}
            Some((port, service)) => parts.push(format!("port {}", words::port(port, service))),
            None => parts.push("several ports".to_owned()),
        }
        parts.extend(line.common(kept, |entry| entry.remote.protocol).map(words::protocol));
    }
    if kept.owners.is_some() {
        parts.push(several(line, kept, |entry| entry.owner.as_str(), "several applications"));
    }
    parts.extend(line.common(kept, |entry| entry.network.clone()).filter(|network| !network.is_empty()));
    parts.push(line.common(kept, |entry| entry.remote.scope).map_or("varies", words::scope).to_lowercase());
    match line.bytes {
        None => parts.push("not measured".to_owned()),
        Some([rx, tx]) => {
            let rate = |rate: Option<f64>| rate.map_or("unknown".to_owned(), |rate| format::rate(rate, *unit));
            let (down, up) = (rate(line.rate.map(|rate| rate.rx)), rate(line.rate.map(|rate| rate.tx)));
            parts.push(format!("download {down}, upload {up}"));
            parts.push(format!("received {}, sent {}", format::bytes(rx), format::bytes(tx)));
        }
    }
    parts.push(format!("last seen {}", seen(line, kept)));
    parts.join(", ")
}

/// The last line: what is in no row.
pub fn draw_others(ui: &mut Ui, others: Option<[u64; 2]>, around: &Around<'_>) {
    let size = vec2(ui.available_width() - super::BAR_WIDTH, ROW_HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let stroke = ui.visuals().widgets.noninteractive.bg_stroke;
    ui.painter().hline(rect.x_range(), rect.top(), stroke);
    let figures = others.map(|others| others.map(format::bytes));
    let [received, sent] = figures.unwrap_or([UNKNOWN, UNKNOWN].map(str::to_owned));
    response.widget_info(|| {
        let figures = if others.is_some() { format!("received {received}, sent {sent}") } else { "unknown".to_owned() };
        WidgetInfo::labeled(Role::Group, true, format!("Other, {figures}"))
    });
    for place in around.places {
        let words = match place.cell {
            Cell::Sorted(Column::Remote) => "Other",
            Cell::Sorted(Column::Received) => &received,
            Cell::Sorted(Column::Sent) => &sent,
            _ => continue,
        };
        write(ui, place.in_row(rect), words, ui.visuals().text_color(), place.is_left());
    }
    response
        .on_hover_text("What was counted but is in no row, since this page was opened: external and internal together");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_and_the_least_important_go_first() {
        let columns = |width: f32, owners, networks, part, sorted| {
            let wanted = Wanted { owners, networks, part, by: By::None, sorted };
            let places = places(width, &wanted);
            let last = places.last().unwrap();
            assert!(last.left + last.width <= width - BETWEEN + 0.01, "{width}: {places:?}");
            assert!(places.iter().all(|place| place.width >= 50.0), "{width}: {places:?}");
            places
        };
        let has = |places: &[Place], cell| places.iter().any(|place| place.cell == cell);
        let seen = Cell::Sorted(Column::Seen);
        // The smallest window, the one that opens, and a large one.
        for (width, networks, expected) in [
            (740.0, false, [false, true]),
            (860.0, false, [true, true]),
            (860.0, true, [false, true]),
            (1300.0, true, [true, true]),
        ] {
            let places = columns(width, None, networks, Part::External, Column::Download);
            assert_eq!([seen, Cell::Spark].map(|cell| has(&places, cell)), expected, "{width} {networks}");
        }
        for width in [740.0, 860.0] {
            for part in [Part::External, Part::Internal, Part::All] {
                let places = columns(width, Some(Owners::Apps), true, part, Column::Seen);
                assert!(has(&places, seen), "what the rows are sorted by is seen");
                assert!(has(&places, Cell::Sorted(Column::Scope)));
            }
        }
    }
}
