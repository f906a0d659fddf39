//! The table of remotes on screen: the columns' names, as many rows as are seen, and what stands there instead where there are none.

use std::ops::Range;

use eframe::egui::{FontId, Id, ScrollArea, Sense, Ui, Vec2, WidgetInfo, accesskit::Role, vec2};

use super::{
    BAR_WIDTH,
    kept::Kept,
    row::{self, Around, Cell, Place, Wanted, row_id},
    view::{Column, Key, View},
};
use crate::{
    base::settings::Settings,
    keep::history::Point,
    show::{
        update::SPARK_SECS,
        window::{
            rows::{self, ROW_HEIGHT},
            scroll_by_keys, style,
            usage::row::title_of,
        },
    },
};

const HEAD_HEIGHT: f32 = 24.0;

/// What the table remembers between two frames.
#[derive(Debug, Default)]
pub struct Table {
    /// The pointer is over the rows: none slips away under it.
    pub hovered: bool,
    /// The pointer has moved since the page was opened. Until then it rests where the button was clicked, which may be over the rows.
    has_moved: bool,
    /// The part of the rows that was drawn, from the first one's top.
    seen: Range<f32>,
    /// The spark lines of the rows that are seen, and what they were made of.
    sparks: Vec<Vec<Point>>,
    sparks_of: (u64, Range<usize>),
    /// The row that has the focus.
    pub focused: Option<Key>,
}

impl Table {
    /// The rows are others.
    pub fn renew(&mut self) {
        self.sparks_of = (0, 0..0);
    }

    /// Draws the table in the room that there is. The row that was clicked.
    pub fn ui(
        &mut self,
        ui: &mut Ui,
        kept: &Kept,
        view: &mut View,
        chosen: Option<&Key>,
        settings: &Settings,
    ) -> Option<Key> {
        ui.spacing_mut().item_spacing.y = 0.0;
        let wanted =
            Wanted { owners: kept.owners, networks: kept.networks, part: view.part, by: view.by, sorted: view.column };
        let places = row::places(ui.available_width() - BAR_WIDTH, &wanted);
        if head(ui, &places, &wanted, view) && view.refresh(kept, false) {
            self.renew();
        }
        let lines = view.lines();
        let go_to = rows::step(ui, lines.len(), |at| lines.get(at).map(|line| row_id(&line.key)));
        let others = !kept.is_complete;
        let height = ui.available_height() - if others { ROW_HEIGHT } else { 0.0 };
        let mut area =
            ScrollArea::vertical().auto_shrink([false, others]).min_scrolled_height(ROW_HEIGHT).max_height(height);
        if let Some(offset) = go_to.and_then(|at| rows::offset_for(at, &self.seen)) {
            area = area.vertical_scroll_offset(offset);
        }
        let colours = style::colours(ui, settings);
        let around = Around { kept, places: &places, colours: &colours, unit: settings.unit, part: view.part };
        let sparks = places.iter().any(|place| place.cell == Cell::Spark);
        let mut clicked = None;
        self.focused = None;
        let scrolled = area.show_rows(ui, ROW_HEIGHT, lines.len(), |ui, shown| {
            if sparks {
                self.make_sparks(kept, view, &shown);
            }
            let made = self.sparks.iter().map(Vec::as_slice);
            for (at, spark) in shown.zip(made.chain(std::iter::repeat(&[][..]))) {
                let Some(line) = lines.get(at) else { continue };
                let is_chosen = chosen == Some(&line.key);
                if row::draw(ui, line, at, spark, is_chosen, &around) {
                    clicked = Some(line.key.clone());
                }
                if ui.memory(|m| m.has_focus(row_id(&line.key))) {
                    self.focused = Some(line.key.clone());
                }
            }
            scroll_by_keys(ui);
        });
        self.has_moved |= ui.input(|input| input.pointer.delta() != Vec2::ZERO);
        self.hovered = self.has_moved && ui.rect_contains_pointer(scrolled.inner_rect);
        let top = scrolled.state.clamped_offset().y;
        self.seen = top..top + scrolled.inner_rect.height();
        if others {
            row::draw_others(ui, kept.others, &around);
        }
        clicked
    }

    /// Makes the spark lines of these rows, once.
    fn make_sparks(&mut self, kept: &Kept, view: &View, shown: &Range<usize>) {
        if self.sparks_of == (kept.version, shown.clone()) {
            return;
        }
        let lines = view.lines().get(shown.clone()).unwrap_or_default();
        let wanted: Vec<_> = lines.iter().map(|line| line.past()).collect();
        self.sparks = kept.past.points(kept.now_ns.saturating_sub(SPARK_SECS * 1_000_000_000), &wanted);
        self.sparks_of = (kept.version, shown.clone());
    }
}

/// The columns' names, which sort. Whether the rows are to be sorted otherwise.
fn head(ui: &mut Ui, places: &[Place], wanted: &Wanted, view: &mut View) -> bool {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), HEAD_HEIGHT), Sense::hover());
    let mut changed = false;
    for place in places {
        let (here, title) = (place.in_row(rect), place.title(wanted));
        let Cell::Sorted(column) = place.cell else {
            let colour = ui.visuals().weak_text_color();
            let align = eframe::egui::Align2::LEFT_CENTER;
            ui.painter().text(here.left_center(), align, title, FontId::proportional(12.0), colour);
            continue;
        };
        let sorted = column == view.column;
        let response = ui.interact(here, Id::unique(("sort the connections", title)), Sense::click());
        response.widget_info(|| {
            let order = if sorted { order(column, view.reversed) } else { "" };
            WidgetInfo::selected(Role::Button, true, sorted, format!("Sort by {title}{order}"))
        });
        title_of(ui, here, title, &response, sorted.then_some(view.reversed), place.is_left());
        if response.clicked() {
            view.reversed = sorted && !view.reversed;
            view.column = column;
            changed = true;
        }
    }
    changed
}

/// In which order the rows stand.
fn order(column: Column, reversed: bool) -> &'static str {
    let [first, last] = match column {
        Column::Port => [", lowest first", ", highest first"],
        Column::Scope => [", external first", ", external last"],
        Column::Seen => [", latest first", ", latest last"],
        column if column.is_text() => [", A to Z", ", Z to A"],
        _ => [", largest first", ", smallest first"],
    };
    if reversed { last } else { first }
}
