//! A line of the table of a period: its texts, made once, and how they are drawn.

use std::cmp::Ordering;

use eframe::egui::{
    Align2, Color32, FontId, Id, Pos2, Rect, Response, Sense, Shape, Stroke, StrokeKind, TextWrapMode, Ui, Vec2,
    WidgetInfo, WidgetText, accesskit::Role, pos2, vec2,
};

use super::{BAR_WIDTH, estimate};
use crate::{
    base::format,
    keep::usage::Usage,
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
const TEXT_SIZE: f32 = 14.0;
const HEAD_SIZE: f32 = 12.0;
/// Of download, upload, total, share, internal, and the button.
const WIDTHS: [f32; 6] = [78.0, 78.0, 86.0, 126.0, 78.0, 62.0];
/// Of the share's number, behind its bar.
const PERCENT_WIDTH: f32 = 40.0;

/// What the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The app.
    Name,
    /// External bytes received.
    Download,
    /// External bytes sent.
    Upload,
    /// Both.
    Total,
    /// The same as a part of the sum.
    Share,
    /// Internal bytes.
    Internal,
}

/// All, from left to right, with their titles.
pub const COLUMNS: [(Column, &str); 6] = [
    (Column::Name, "Application"),
    (Column::Download, "Download"),
    (Column::Upload, "Upload"),
    (Column::Total, "Total"),
    (Column::Share, "Share"),
    (Column::Internal, "Internal"),
];

/// A line of the table.
#[derive(Default)]
pub struct Row {
    /// Of the app; empty where it is none.
    pub id: String,
    /// What a person reads.
    pub name: String,
    /// What was moved.
    pub usage: Usage,
    /// Download, upload, total, internal.
    pub figures: [String; 4],
    /// Download's and upload's parts of the sum.
    shares: [f32; 2],
    percent: String,
    /// How much of it is an estimate.
    pub estimate: Option<String>,
    /// As one hears it.
    pub spoken: String,
}

/// What a click on a row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Click {
    /// Show the app.
    Show,
    /// Forget what was recorded of it.
    Forget,
}

impl Row {
    /// Makes all texts. `sum`: the external bytes of all rows.
    pub fn new(id: &str, name: &str, usage: Usage, sum: u64) -> Self {
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
        let [down, up, all, internal] = &figures;
        let spoken = format!("{name}, download {down}, upload {up}, total {all}, {percent}, internal {internal}");
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
    pub fn order(&self, other: &Self, column: Column) -> Ordering {
        let figure = |row: &Self| match column {
            Column::Name => 0,
            Column::Download => row.usage.bytes.rx,
            Column::Upload => row.usage.bytes.tx,
            Column::Total | Column::Share => row.usage.external(),
            Column::Internal => row.usage.internal(),
        };
        figure(other).cmp(&figure(self))
    }

    /// In the order of the alphabet.
    pub fn by_name(&self, other: &Self) -> Ordering {
        self.name.to_lowercase().cmp(&other.name.to_lowercase()).then_with(|| self.id.cmp(&other.id))
    }

    /// Draws an app's row. What was clicked.
    pub fn draw(&self, ui: &mut Ui, at: usize, update: &Update, colours: &Colours) -> Option<Click> {
        let size = vec2(ui.available_width() - BAR_WIDTH, ROW_HEIGHT);
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        let response = ui.interact(rect, row_id(self), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &self.spoken));
        rows::background(ui, &response, at);
        let mut places = Places::of(rect);
        let file = update.apps.iter().find(|app| app.id == self.id).and_then(|app| app.icon.as_deref());
        let place = Align2::LEFT_CENTER.anchor_size(places.name.left_center(), Vec2::splat(ICON));
        icon::app_icon(ui, file).paint_at(ui, place);
        places.name.min.x += ICON + 8.0;
        self.draw_name(ui, places.name);
        self.draw_figures(ui, &places, colours);
        self.draw_share(ui, places.figures[3], colours);
        let forget = forget_button(ui, self, places.button, &response).clicked();
        let estimate = self.estimate.as_ref().map(|estimate| format!("\n{estimate}")).unwrap_or_default();
        let [_, _, all, _] = &self.figures;
        let hint = format!("{}\n{all} in total{estimate}\nClick to show its chart", self.name);
        let show = response.on_hover_text(hint).clicked();
        forget.then_some(Click::Forget).or(show.then_some(Click::Show))
    }

    /// Writes its name.
    pub fn draw_name(&self, ui: &Ui, place: Rect) {
        let text = WidgetText::from(self.name.as_str());
        let font = FontId::proportional(TEXT_SIZE);
        let galley = text.into_galley(ui, Some(TextWrapMode::Truncate), place.width(), font);
        let top = place.center().y - galley.size().y / 2.0;
        ui.painter().galley(pos2(place.left(), top), galley, ui.visuals().text_color());
    }

    /// Writes its figures. What is nothing is quiet.
    pub fn draw_figures(&self, ui: &Ui, places: &Places, colours: &Colours) {
        let quiet = ui.visuals().weak_text_color();
        let [down, up, total, _, internal] = places.figures;
        let Usage { bytes, .. } = self.usage;
        let figures = [
            (down, bytes.rx, style::colour(colours.download)),
            (up, bytes.tx, style::colour(colours.upload)),
            (total, self.usage.external(), ui.visuals().text_color()),
            (internal, self.usage.internal(), quiet),
        ];
        for ((place, bytes, colour), text) in figures.into_iter().zip(&self.figures) {
            let colour = if bytes > 0 { colour } else { quiet };
            let font = FontId::proportional(TEXT_SIZE);
            ui.painter().text(place.right_center(), Align2::RIGHT_CENTER, text, font, colour);
        }
    }

    /// Draws its share of the sum: download, and upload behind it.
    fn draw_share(&self, ui: &Ui, place: Rect, colours: &Colours) {
        let (font, quiet) = (FontId::proportional(HEAD_SIZE), ui.visuals().weak_text_color());
        ui.painter().text(place.right_center(), Align2::RIGHT_CENTER, &self.percent, font, quiet);
        let bar = Rect::from_center_size(place.center(), vec2(place.width(), 8.0));
        let bar = bar.with_max_x(place.right() - PERCENT_WIDTH);
        ui.painter().rect_filled(bar, 2.0, ui.visuals().widgets.inactive.weak_bg_fill);
        let [rx, tx] = self.shares.map(|share| share * bar.width());
        for (from, to, colour) in [(0.0, rx, colours.download), (rx, rx + tx, colours.upload)] {
            let part = Rect::from_x_y_ranges(bar.left() + from..=bar.left() + to, bar.y_range());
            ui.painter().rect_filled(part, 2.0, style::colour(colour));
        }
    }
}

/// Where a row's parts are.
pub struct Places {
    /// With the icon.
    pub name: Rect,
    /// Download, upload, total, share, internal.
    pub figures: [Rect; 5],
    button: Rect,
}

impl Places {
    /// In a row that is here.
    pub fn of(row: Rect) -> Self {
        let inside = row.shrink2(vec2(8.0, 0.0));
        let mut right = inside.right();
        let mut next = |width: f32| {
            let rect = Rect::from_min_max(pos2(right - width, row.top()), pos2(right, row.bottom()));
            right = rect.left() - BETWEEN;
            rect
        };
        let [down, up, total, share, internal, button] = WIDTHS;
        let [button, internal, mut share, total, up, down] = [button, internal, share, total, up, down].map(&mut next);
        // It stands at the left, beside one that stands at the right.
        share.min.x += BETWEEN;
        let name = Rect::from_min_max(inside.min, pos2(right, row.bottom()));
        Self { name, figures: [down, up, total, share, internal], button }
    }
}

/// Keeps the focus when the order changes.
pub fn row_id(row: &Row) -> Id {
    Id::unique(("row of the usage", &row.id))
}

/// Writes a column's name, with an arrow where the rows are sorted by it; `left`: at the left of its place.
pub fn title_of(ui: &Ui, rect: Rect, title: &str, response: &Response, sorted: Option<bool>, left: bool) {
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
