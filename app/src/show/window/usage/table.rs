//! The table of a period: a row for each app, as much of them as is seen, and their sum. What is written in it is made once, when
//! it comes.

use std::{cmp::Ordering, collections::HashMap, fmt::Write as _, ops::Range};

use eframe::egui::{
    Align, Align2, Color32, FontId, Id, Label, Layout, Pos2, Rect, Response, RichText, ScrollArea, Sense, Shape,
    Stroke, StrokeKind, TextWrapMode, Ui, Vec2, WidgetInfo, WidgetText, accesskit::Role, pos2, vec2,
};
use egui_extras::{Column as Width, TableBuilder};

use super::{BAR_WIDTH, estimate};
use crate::{
    base::{format, settings::Settings},
    keep::usage::{Group, Network, Usage},
    show::{
        chart::Colours,
        update::Update,
        window::{
            icon,
            rows::{self, ROW_HEIGHT},
            style,
        },
    },
};

const ICON: f32 = 18.0;
const BETWEEN: f32 = 8.0;
const HEAD_HEIGHT: f32 = 24.0;
const TEXT_SIZE: f32 = 14.0;
const HEAD_SIZE: f32 = 12.0;
/// Of download, upload, total, share, what was left out, and the button.
const WIDTHS: [f32; 6] = [78.0, 78.0, 86.0, 126.0, 78.0, 62.0];
/// Of the share's number, behind its bar.
const PERCENT_WIDTH: f32 = 40.0;
const NETWORK_ROW: f32 = 22.0;
const NETWORK_FIGURE: f32 = 64.0;

/// What the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Name,
    Download,
    Upload,
    Total,
    Share,
    LeftOut,
}

/// All, from left to right, with their titles.
const COLUMNS: [(Column, &str); 6] = [
    (Column::Name, "Application"),
    (Column::Download, "Download"),
    (Column::Upload, "Upload"),
    (Column::Total, "Total"),
    (Column::Share, "Share"),
    (Column::LeftOut, "Left Out"),
];

/// The table, and what it remembers between two frames.
pub struct Table {
    groups: (Vec<Group>, Vec<Group>),
    rows: Vec<Row>,
    sum: Row,
    networks: Vec<Row>,
    column: Column,
    /// Not as one first wants to see it: names from Z to A, figures from the smallest on.
    reversed: bool,
    /// The pointer is over the rows: none slips away under it.
    hovered: bool,
    /// The part of the rows that was drawn, from the first one's top.
    seen: Range<f32>,
}

/// A line of the table.
#[derive(Default)]
struct Row {
    id: String,
    name: String,
    usage: Usage,
    /// Download, upload, total, what was left out.
    figures: [String; 4],
    /// Download's and upload's parts of the sum.
    shares: [f32; 2],
    percent: String,
    estimate: Option<String>,
    /// As one hears it.
    spoken: String,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The app to show, by its id.
    pub app: Option<String>,
    /// The app to forget: its id and name.
    pub forget: Option<(String, String)>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            groups: (Vec::new(), Vec::new()),
            rows: Vec::new(),
            sum: Row::default(),
            networks: Vec::new(),
            column: Column::Total,
            reversed: false,
            hovered: false,
            seen: 0.0..0.0,
        }
    }
}

impl Row {
    fn new(id: &str, name: &str, usage: Usage, sum: u64) -> Self {
        let estimate = estimate(usage);
        let total = if estimate.is_some() { "≈ " } else { "" }.to_owned() + &format::bytes(usage.external());
        let figures =
            [format::bytes(usage.bytes.rx), format::bytes(usage.bytes.tx), total, format::bytes(usage.internal())];
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a place in a picture")]
        let share = |bytes: u64| if sum == 0 { 0.0 } else { (bytes as f64 / sum as f64) as f32 };
        let percent = match share(usage.external()) * 100.0 {
            0.0 => "0 %".to_owned(),
            percent if percent < 1.0 => "< 1 %".to_owned(),
            percent => format!("{percent:.0} %"),
        };
        let [down, up, all, left_out] = &figures;
        let spoken = format!("{name}, download {down}, upload {up}, total {all}, {percent}, left out {left_out}");
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            usage,
            shares: [usage.bytes.rx, usage.bytes.tx].map(share),
            percent,
            estimate,
            spoken,
            figures,
        }
    }

    /// Which of two stands first if nothing is reversed.
    fn order(&self, other: &Self, column: Column) -> Ordering {
        let figure = |row: &Self| match column {
            Column::Name => 0,
            Column::Download => row.usage.bytes.rx,
            Column::Upload => row.usage.bytes.tx,
            Column::Total | Column::Share => row.usage.external(),
            Column::LeftOut => row.usage.internal(),
        };
        figure(other).cmp(&figure(self))
    }

    fn by_name(&self, other: &Self) -> Ordering {
        self.name.to_lowercase().cmp(&other.name.to_lowercase()).then_with(|| self.id.cmp(&other.id))
    }
}

impl Table {
    /// Takes what is to be shown. Whether that is something else than before.
    pub fn receive(&mut self, apps: &[Group], networks: &[Group]) -> bool {
        if self.groups.0 == apps && self.groups.1 == networks {
            return false;
        }
        self.groups = (apps.to_vec(), networks.to_vec());
        let before: HashMap<String, usize> = self.rows.drain(..).enumerate().map(|(at, row)| (row.id, at)).collect();
        let sum = apps.iter().fold(Usage::default(), |sum, group| sum.plus(group.total()));
        let all = sum.external();
        self.sum = Row::new("", "All applications", sum, all);
        self.rows = apps.iter().map(|group| Row::new(&group.app, &group.name, group.total(), all)).collect();
        let network = |group: &Group| Row::new("", &network_name(group.network.as_ref()), group.total(), all);
        self.networks = networks.iter().map(network).collect();
        self.networks.sort_by(|a, b| a.order(b, Column::Total).then_with(|| a.by_name(b)));
        self.sort();
        if self.hovered {
            self.rows.sort_by_key(|row| before.get(&row.id).copied().unwrap_or(usize::MAX));
        }
        true
    }

    fn sort(&mut self) {
        let (column, reversed) = (self.column, self.reversed);
        let turned = |order: Ordering| if reversed { order.reverse() } else { order };
        self.rows.sort_by(|a, b| match column {
            Column::Name => turned(a.by_name(b)),
            _ => turned(a.order(b, column)).then_with(|| a.by_name(b)),
        });
    }

    /// Nothing was moved.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as a spreadsheet takes it, with exact figures.
    pub fn text(&self) -> String {
        let mut text =
            "Application\tDownload (bytes)\tUpload (bytes)\tTotal (bytes)\tLeft out (bytes)\tEstimate (bytes)\n"
                .to_owned();
        for Row { name, usage, .. } in &self.rows {
            let Usage { bytes, estimate_bytes } = usage;
            let (all, left_out) = (usage.external(), usage.internal());
            _ = writeln!(text, "{name}\t{}\t{}\t{all}\t{left_out}\t{estimate_bytes}", bytes.rx, bytes.tx);
        }
        text
    }

    /// Draws the table in the room that there is.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &Settings) -> Outcome {
        let mut outcome = Outcome::default();
        ui.spacing_mut().item_spacing.y = 0.0;
        self.head(ui);
        let go_to = rows::step(ui, self.rows.len(), |at| self.rows.get(at).map(row_id));
        let height = ui.available_height() - ROW_HEIGHT;
        let mut area =
            ScrollArea::vertical().auto_shrink([false, true]).min_scrolled_height(ROW_HEIGHT).max_height(height);
        if let Some(offset) = go_to.and_then(|at| rows::offset_for(at, &self.seen)) {
            area = area.vertical_scroll_offset(offset);
        }
        let colours = style::colours(ui, settings);
        let scrolled = area.show_rows(ui, ROW_HEIGHT, self.rows.len(), |ui, shown| {
            for at in shown {
                let Some(row) = self.rows.get(at) else { continue };
                draw_row(ui, row, at, update, &colours, &mut outcome);
            }
        });
        self.hovered = ui.rect_contains_pointer(scrolled.inner_rect);
        let top = scrolled.state.clamped_offset().y;
        self.seen = top..top + scrolled.inner_rect.height();
        self.draw_sum(ui, &colours);
        outcome
    }

    /// The columns' names, which sort.
    fn head(&mut self, ui: &mut Ui) {
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), HEAD_HEIGHT), Sense::hover());
        let places = Places::of(rect.with_max_x(rect.right() - BAR_WIDTH));
        let [down, up, total, share, left_out] = places.figures;
        for (at, (column, title)) in [places.name, down, up, total, share, left_out].into_iter().zip(COLUMNS) {
            let sorted = column == self.column;
            let response = ui.interact(at, Id::unique(("sort the usage", title)), Sense::click());
            response.widget_info(|| {
                let order = match (sorted, column, self.reversed) {
                    (false, ..) => "",
                    (_, Column::Name, false) => ", A to Z",
                    (_, Column::Name, true) => ", Z to A",
                    (_, _, false) => ", largest first",
                    (_, _, true) => ", smallest first",
                };
                WidgetInfo::selected(Role::Button, true, sorted, format!("Sort by {title}{order}"))
            });
            title_of(
                ui,
                at,
                title,
                &response,
                sorted.then_some(self.reversed),
                matches!(column, Column::Name | Column::Share),
            );
            if response.clicked() {
                self.reversed = sorted && !self.reversed;
                self.column = column;
                self.sort();
            }
        }
    }

    /// The last line, which stays in view.
    fn draw_sum(&self, ui: &mut Ui, colours: &Colours) {
        let size = vec2(ui.available_width() - BAR_WIDTH, ROW_HEIGHT);
        let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
        let stroke = ui.visuals().widgets.noninteractive.bg_stroke;
        ui.painter().hline(rect.x_range(), rect.top(), stroke);
        response.widget_info(|| WidgetInfo::labeled(Role::Group, true, &self.sum.spoken));
        let places = Places::of(rect);
        write_name(ui, &self.sum.name, places.name, true);
        figures(ui, &self.sum, &places, colours, true);
        if let Some(estimate) = &self.sum.estimate {
            response.on_hover_text(estimate);
        }
    }

    /// How much room the networks want; none where there is only one.
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    pub fn networks_height(&self) -> f32 {
        let rows = self.networks.len() as f32;
        if rows > 1.0 { (rows + 1.0) * NETWORK_ROW } else { 0.0 }
    }

    /// The same by network.
    pub fn networks(&self, ui: &mut Ui) {
        ui.spacing_mut().item_spacing.y = 0.0;
        let right = |ui: &mut Ui, text: RichText| {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text)).inner
        };
        TableBuilder::new(ui)
            .id_salt("networks")
            .striped(true)
            .vscroll(false)
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Width::remainder().clip(true))
            .columns(Width::exact(NETWORK_FIGURE), 3)
            .header(NETWORK_ROW, |mut header| {
                header.col(|ui| _ = ui.label(RichText::new("Network").small().weak()));
                for title in ["Download", "Upload", "Total"] {
                    header.col(|ui| _ = right(ui, RichText::new(title).small().weak()));
                }
            })
            .body(|body| {
                body.rows(NETWORK_ROW, self.networks.len(), |mut line| {
                    let Some(row) = self.networks.get(line.index()) else { return };
                    let text = |text: &str| RichText::new(text).size(13.0);
                    line.col(|ui| _ = ui.add(Label::new(text(&row.name)).truncate()));
                    let [down, up, total, _] = &row.figures;
                    for figure in [down, up, total] {
                        line.col(|ui| {
                            let shown = right(ui, text(figure));
                            if let (true, Some(estimate)) = (figure == total, &row.estimate) {
                                shown.on_hover_text(estimate);
                            }
                        });
                    }
                });
            });
    }
}

/// What a person calls it, and whether each byte costs there.
fn network_name(network: Option<&Network>) -> String {
    let network = network.cloned().unwrap_or_default();
    let metered = match (&network.name, network.metered) {
        (_, Some(true)) => ", metered",
        (_, Some(false)) | (None, None) => "",
        (Some(_), None) => ", metering unknown",
    };
    network.name.unwrap_or_else(|| "Unknown network".to_owned()) + metered
}

/// Where a row's parts are.
struct Places {
    name: Rect,
    /// Download, upload, total, share, what was left out.
    figures: [Rect; 5],
    button: Rect,
}

impl Places {
    fn of(row: Rect) -> Self {
        let inside = row.shrink2(vec2(8.0, 0.0));
        let mut right = inside.right();
        let mut next = |width: f32| {
            let rect = Rect::from_min_max(pos2(right - width, row.top()), pos2(right, row.bottom()));
            right = rect.left() - BETWEEN;
            rect
        };
        let [down, up, total, share, left_out, button] = WIDTHS;
        let [button, left_out, mut share, total, up, down] = [button, left_out, share, total, up, down].map(&mut next);
        // It stands at the left, beside one that stands at the right.
        share.min.x += BETWEEN;
        let name = Rect::from_min_max(inside.min, pos2(right, row.bottom()));
        Self { name, figures: [down, up, total, share, left_out], button }
    }
}

fn row_id(row: &Row) -> Id {
    Id::unique(("row of the usage", &row.id))
}

/// Writes a column's name, with an arrow where the rows are sorted by it.
fn title_of(ui: &Ui, rect: Rect, title: &str, response: &Response, sorted: Option<bool>, left: bool) {
    let colour =
        if sorted.is_some() || response.hovered() { ui.visuals().text_color() } else { ui.visuals().weak_text_color() };
    let (place, align) =
        if left { (rect.left_center(), Align2::LEFT_CENTER) } else { (rect.right_center(), Align2::RIGHT_CENTER) };
    let text = ui.painter().text(place, align, title, FontId::proportional(HEAD_SIZE), colour);
    if let Some(reversed) = sorted {
        let x = if left { text.right() + 9.0 } else { text.left() - 9.0 };
        arrow(ui, pos2(x, rect.center().y), reversed, colour);
    }
    if response.has_focus() {
        ui.painter().rect_stroke(rect.shrink2(vec2(-3.0, 2.0)), 4.0, ui.visuals().selection.stroke, StrokeKind::Inside);
    }
}

/// A small triangle that points down, or up.
fn arrow(ui: &Ui, at: Pos2, up: bool, colour: Color32) {
    let tip = if up { -1.0 } else { 1.0 };
    let corners = vec![at + vec2(-4.0, -2.5 * tip), at + vec2(4.0, -2.5 * tip), at + vec2(0.0, 2.5 * tip)];
    ui.painter().add(Shape::convex_polygon(corners, colour, Stroke::NONE));
}

fn draw_row(ui: &mut Ui, row: &Row, at: usize, update: &Update, colours: &Colours, outcome: &mut Outcome) {
    let size = vec2(ui.available_width() - BAR_WIDTH, ROW_HEIGHT);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let response = ui.interact(rect, row_id(row), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &row.spoken));
    rows::background(ui, &response, at);
    let mut places = Places::of(rect);
    let file = update.apps.iter().find(|app| app.id == row.id).and_then(|app| app.icon.as_deref());
    let place = Align2::LEFT_CENTER.anchor_size(places.name.left_center(), Vec2::splat(ICON));
    icon::app_icon(ui, file).paint_at(ui, place);
    places.name.min.x += ICON + 8.0;
    write_name(ui, &row.name, places.name, false);
    figures(ui, row, &places, colours, false);
    if forget_button(ui, row, places.button, &response).clicked() {
        outcome.forget = Some((row.id.clone(), row.name.clone()));
    }
    let estimate = row.estimate.as_ref().map(|estimate| format!("\n{estimate}")).unwrap_or_default();
    let hint = format!("{}\n{} in total{estimate}\nClick to show its chart", row.name, row.figures[2]);
    if response.on_hover_text(hint).clicked() {
        outcome.app = Some(row.id.clone());
    }
}

fn write_name(ui: &Ui, name: &str, place: Rect, strong: bool) {
    let colour = if strong { ui.visuals().strong_text_color() } else { ui.visuals().text_color() };
    let font = FontId::proportional(TEXT_SIZE);
    let galley = WidgetText::from(name).into_galley(ui, Some(TextWrapMode::Truncate), place.width(), font);
    let top = place.center().y - galley.size().y / 2.0;
    ui.painter().galley(pos2(place.left(), top), galley, colour);
}

/// A row's figures and its share. What is nothing is quiet.
fn figures(ui: &Ui, row: &Row, places: &Places, colours: &Colours, sum: bool) {
    let quiet = ui.visuals().weak_text_color();
    let strong = ui.visuals().text_color();
    let [down, up, total, share, left_out] = places.figures;
    let Usage { bytes, .. } = row.usage;
    let texts = [
        (down, bytes.rx, style::colour(colours.download)),
        (up, bytes.tx, style::colour(colours.upload)),
        (total, row.usage.external(), strong),
        (left_out, row.usage.internal(), quiet),
    ];
    for ((place, bytes, colour), text) in texts.into_iter().zip(&row.figures) {
        let colour = if bytes > 0 { colour } else { quiet };
        ui.painter().text(place.right_center(), Align2::RIGHT_CENTER, text, FontId::proportional(TEXT_SIZE), colour);
    }
    if sum {
        return;
    }
    let font = FontId::proportional(HEAD_SIZE);
    ui.painter().text(share.right_center(), Align2::RIGHT_CENTER, &row.percent, font, quiet);
    let bar =
        Rect::from_center_size(share.center(), vec2(share.width(), 8.0)).with_max_x(share.right() - PERCENT_WIDTH);
    ui.painter().rect_filled(bar, 2.0, ui.visuals().widgets.inactive.weak_bg_fill);
    let [rx, tx] = row.shares.map(|share| share * bar.width());
    let part = |from: f32, to: f32| {
        Rect::from_min_max(pos2(bar.left() + from, bar.top()), pos2(bar.left() + to, bar.bottom()))
    };
    ui.painter().rect_filled(part(0.0, rx), 2.0, style::colour(colours.download));
    ui.painter().rect_filled(part(rx, rx + tx), 2.0, style::colour(colours.upload));
}

/// At the end of its row; seen where it is of use, reached by the keyboard everywhere.
fn forget_button(ui: &Ui, row: &Row, rect: Rect, around: &Response) -> Response {
    let rect = rect.shrink2(vec2(0.0, 3.0));
    let response = ui.interact(rect, around.id.with("forget"), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Forget {}…", row.name)));
    let focused = response.has_focus();
    if focused || around.has_focus() || around.contains_pointer() || response.hovered() {
        let visuals = *ui.style().interact(&response);
        let stroke = if focused { ui.visuals().selection.stroke } else { visuals.bg_stroke };
        ui.painter().rect(rect, visuals.corner_radius, visuals.weak_bg_fill, stroke, StrokeKind::Inside);
        let font = FontId::proportional(HEAD_SIZE);
        ui.painter().text(rect.center(), Align2::CENTER_CENTER, "Forget…", font, ui.visuals().text_color());
    }
    response
}
