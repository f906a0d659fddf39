//! The table of a period: a row for each app, as much of them as is seen, and their sum. What is written in it is made once, when
//! it comes.

use std::{cmp::Ordering, collections::HashMap, fmt::Write as _, ops::Range};

use eframe::egui::{Align, Id, Label, Layout, RichText, ScrollArea, Sense, Ui, WidgetInfo, accesskit::Role, vec2};
use egui_extras::{Column as Width, TableBuilder};

use super::{
    BAR_WIDTH,
    row::{COLUMNS, Click, Column, Places, Row, row_id, title_of},
};
use crate::{
    base::settings::Settings,
    keep::usage::{Group, Network, Usage},
    show::{
        chart::Colours,
        update::Update,
        window::{
            rows::{self, ROW_HEIGHT},
            style,
        },
    },
};

const HEAD_HEIGHT: f32 = 24.0;
const NETWORK_ROW: f32 = 22.0;
const NETWORK_FIGURE: f32 = 64.0;

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

    /// How much room it wants; some where it is empty and a sentence stands in its place.
    #[expect(clippy::cast_precision_loss, reason = "some hundred rows")]
    pub fn height(&self) -> f32 {
        const ROWS_MIN: usize = 4;
        HEAD_HEIGHT + (self.rows.len().max(ROWS_MIN) as f32 + 1.0) * ROW_HEIGHT
    }

    /// The table as a spreadsheet takes it, with exact figures.
    pub fn text(&self) -> String {
        let mut text =
            "Application\tDownload (bytes)\tUpload (bytes)\tTotal (bytes)\tInternal (bytes)\tEstimate (bytes)\n"
                .to_owned();
        for Row { name, usage, .. } in &self.rows {
            let Usage { bytes, estimate_bytes } = usage;
            // A spreadsheet would run such a name as a formula.
            let quote = if name.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
            let (all, internal) = (usage.external(), usage.internal());
            _ = writeln!(text, "{quote}{name}\t{}\t{}\t{all}\t{internal}\t{estimate_bytes}", bytes.rx, bytes.tx);
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
                match row.draw(ui, at, update, &colours) {
                    Some(Click::Show) => outcome.app = Some(row.id.clone()),
                    Some(Click::Forget) => outcome.forget = Some((row.id.clone(), row.name.clone())),
                    None => {}
                }
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
        let [down, up, total, share, internal] = places.figures;
        for (at, (column, title)) in [places.name, down, up, total, share, internal].into_iter().zip(COLUMNS) {
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
        self.sum.draw_name(ui, places.name);
        self.sum.draw_figures(ui, &places, colours);
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
        (Some(_), None) => ", not known whether metered",
    };
    network.name.unwrap_or_else(|| "Unknown network".to_owned()) + metered
}
