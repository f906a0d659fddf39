//! All applications: what they move together, and a row each, busiest first. A click on a row watches that one.

use std::{collections::HashSet, ops::Range};

use eframe::egui::{
    Align, Align2, Atom, Button, CentralPanel, Color32, FontId, Frame, Id, IdSalt, Layout, Margin, Mesh, Pos2, Rect,
    RichText, ScrollArea, Sense, Shape, Stroke, TextEdit, TextWrapMode, Ui, UiBuilder, Vec2, WidgetInfo, WidgetText,
    accesskit::Role, pos2, vec2,
};

use super::{
    Window, charts,
    connections::view::Part,
    figures, icon,
    keys::Action,
    own_apps::{colours, menu},
    picker, programs,
    rows::{self, ROW_HEIGHT},
    sections::Offer,
    style,
};
use crate::{
    base::{format, settings::Unit},
    keep::{histories::Histories, history::Point},
    look::{
        programs::ByProgram,
        rate::Rate,
        reading::{AppReading, Kind, Reading},
    },
    show::{
        chart::Colours,
        update::{Command, SPARK_SECS, Update},
    },
};

/// What all apps are called together.
const ALL: &str = "All applications";
const ICON: f32 = 18.0;
const BETWEEN: f32 = 10.0;
const FIGURE_WIDTH: f32 = 86.0;
const NEW_APP_WIDTH: f32 = 96.0;
const SPARK_WIDTH: f32 = 120.0;
/// At the right of it all, for the scroll bar.
const BAR_WIDTH: f32 = 12.0;
/// With what is around it.
const HEAD_HEIGHT: f32 = 50.0;
const CHART_MIN_HEIGHT: f32 = 84.0;
const CHART_SHARE: f32 = 0.42;
const FOOTER_HEIGHT: f32 = 38.0;
/// There is room for so many rows, also where there are fewer.
const ROWS_MIN: f32 = 3.0;
/// The rows stand in a new order so often at most, by what was moved over [`BUSY_SECS`]. So they can be read, and clicked.
const SORTED_EVERY_NS: u64 = 2_000_000_000;
const BUSY_SECS: u64 = 10;
/// A spark line that is as high as its row is no less than that, in bytes per second: idle noise looks idle.
const SPARK_LEAST: f64 = 1000.0;

/// What the table remembers between two frames.
pub(super) struct Table {
    sparks: Histories,
    /// The ids of the apps in the order in which they stand, and which are services.
    order: Vec<(String, bool)>,
    /// The ids of the system services in theirs.
    system: Vec<String>,
    sorted_ns: u64,
    /// The pointer is over the rows: none slips away under it.
    hovered: bool,
    /// The part of the rows that was drawn, from the first one's top.
    seen: Range<f32>,
    /// Those of programs.
    pub(super) unfolded: programs::Unfolded,
    /// The ids of the apps with programs of the menu in them: no services, whatever they have moved.
    holders: HashSet<String>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            sparks: Histories::of_last(SPARK_SECS),
            order: Vec::new(),
            system: Vec::new(),
            sorted_ns: 0,
            hovered: false,
            seen: 0.0..0.0,
            unfolded: programs::Unfolded::default(),
            holders: HashSet::new(),
        }
    }
}

impl Table {
    /// Takes what a beat says of every app.
    pub(super) fn receive(&mut self, update: &Update) {
        let Some(overview) = &update.overview else {
            let unfolded = std::mem::take(&mut self.unfolded);
            *self = Self { unfolded, ..Self::default() };
            return;
        };
        let holds = |by: &&ByProgram| by.programs.iter().any(|program| program.in_menu);
        self.holders.extend(update.programs.iter().filter(holds).map(|by| by.app.clone()));
        if let Some(sparks) = &overview.sparks {
            self.sparks = sparks.clone();
        }
        let now_ns = overview.all.boottime_ns;
        let shown = update.apps.iter().chain(&update.services);
        let rates = shown.map(|app| (app.id.as_str(), app.rate.unwrap_or_default()));
        self.sparks.push(now_ns, overview.all.rate.is_ok().then_some(rates));
        let due = self.order.is_empty() || now_ns.saturating_sub(self.sorted_ns) >= SORTED_EVERY_NS;
        if due && !self.hovered {
            self.unfolded.sort(update);
            self.sort(update, now_ns);
        }
    }

    /// Busiest first, then what has moved most, then by name.
    fn sort(&mut self, update: &Update, now_ns: u64) {
        let ids = |(id, _): (String, bool)| id;
        self.order = self.sorted(&update.apps, now_ns);
        picker::in_sections(&mut self.order, &update.apps);
        self.system = self.sorted(&update.services, now_ns).into_iter().map(ids).collect();
        self.sorted_ns = now_ns;
    }

    /// The ids in this order, and which of them are services.
    fn sorted(&self, apps: &[AppReading], now_ns: u64) -> Vec<(String, bool)> {
        let since_ns = now_ns.saturating_sub(BUSY_SECS * 1_000_000_000);
        let busy = |app: &AppReading| -> f64 {
            let points = self.sparks.points(&app.id);
            let parts = points.windows(2).filter(|pair| pair.last().is_some_and(|point| point.boottime_ns > since_ns));
            parts.map(|pair| moved(pair).map_or(0.0, |(rate, secs)| (rate.rx + rate.tx) * secs)).sum()
        };
        let mut sorted: Vec<_> = apps.iter().map(|app| (busy(app), app)).collect();
        sorted.sort_by(|(busy_a, a), (busy_b, b)| {
            let by_total = total(b).cmp(&total(a));
            busy_b.total_cmp(busy_a).then(by_total).then_with(|| a.name.to_lowercase().cmp(&b.name.to_lowercase()))
        });
        sorted.into_iter().map(|(_, app)| (app.id.clone(), self.is_service(app))).collect()
    }

    fn is_service(&self, app: &AppReading) -> bool {
        picker::is_service(app) && !self.holders.contains(&app.id)
    }

    /// How many rows there are while nothing is searched for.
    #[expect(clippy::cast_precision_loss, reason = "some hundred rows")]
    fn rows(&self, with_services: bool, below: usize) -> f32 {
        let apps = self.order.iter().filter(|(_, service)| with_services || !service).count();
        (apps + below) as f32 + 1.0
    }

    /// The apps in this order, the services apart. What has appeared since it was made comes last.
    fn in_order<'a>(&self, apps: impl Iterator<Item = &'a AppReading>) -> (Vec<&'a AppReading>, Vec<&'a AppReading>) {
        let places = picker::places(&self.order);
        let mut apps: Vec<_> = apps.collect();
        apps.sort_by_key(|app| places.get(app.id.as_str()).map_or(usize::MAX, |(at, _)| *at));
        let is_service = |app: &AppReading| places.get(app.id.as_str()).map(|(_, service)| *service);
        apps.into_iter().partition(|app| !is_service(app).unwrap_or_else(|| self.is_service(app)))
    }
}

/// The rate between two points, and the seconds between them.
fn moved(pair: &[Point]) -> Option<(Rate, f64)> {
    let [before, point] = pair else { return None };
    let time = std::time::Duration::from_nanos(point.boottime_ns.saturating_sub(before.boottime_ns));
    Some((point.rate?, time.as_secs_f64()))
}

fn total(app: &AppReading) -> u64 {
    app.bytes.rx.saturating_add(app.bytes.tx)
}

/// The way back here, with an arrow. Whether it was pressed.
pub(super) fn back(ui: &mut Ui) -> bool {
    let arrow = IdSalt::new("arrow");
    let button = Button::new((Atom::custom(arrow, Vec2::splat(12.0)), ALL)).atom_ui(ui);
    if let Some(rect) = button.rect(arrow) {
        let stroke = Stroke::new(1.5, ui.visuals().text_color());
        let at = |x: f32, y: f32| rect.center() + vec2(x, y);
        for to in [at(5.0, 0.0), at(-1.0, -4.0), at(-1.0, 4.0)] {
            ui.painter().line_segment([at(-5.0, 0.0), to], stroke);
        }
    }
    ui.add_space(4.0);
    button.response.on_hover_text(Action::Back.text()).clicked()
}

/// Where a row's parts are, from its left edge.
pub(super) struct Columns {
    pub(super) name: Rect,
    spark: Rect,
    /// Download, upload, total.
    pub(super) figures: [Rect; 3],
}

impl Columns {
    pub(super) fn of(row: Rect) -> Self {
        let inside = row.shrink2(vec2(8.0, 0.0));
        let figure = |from_right: f32| {
            let right = inside.right() - from_right * (FIGURE_WIDTH + BETWEEN);
            Rect::from_min_max(pos2(right - FIGURE_WIDTH, row.top()), pos2(right, row.bottom()))
        };
        let figures = [figure(2.0), figure(1.0), figure(0.0)];
        let right = figures[0].left() - BETWEEN;
        let spark = Rect::from_min_max(pos2(right - SPARK_WIDTH, row.top()), pos2(right, row.bottom()));
        let name = Rect::from_min_max(inside.min, pos2(spark.left() - BETWEEN, row.bottom()));
        Self { name, spark, figures }
    }
}

impl Columns {
    /// Gives the name the room of the spark.
    pub(super) fn give_room(&mut self) {
        self.name.max.x = self.spark.right();
    }
}

/// A row of the table.
#[derive(Clone, Copy)]
enum Line<'a> {
    App(&'a AppReading),
    /// Below its app's.
    Of(&'a AppReading, programs::Line<'a>),
    /// Containers and virtual machines follow.
    Containers,
    /// So many services follow, or are hidden.
    Services(usize),
    /// What a password would show.
    Offer(Offer),
    /// So many system services follow, or are hidden.
    System(usize),
}

impl Window {
    /// Goes back to all applications.
    pub(super) fn back(&mut self) {
        if self.update.as_ref().is_some_and(|update| update.overview.is_none()) {
            self.send(Command::Watch(Vec::new()));
        }
    }

    pub(super) fn overview(&mut self, ui: &mut Ui, update: &Update, all: &Reading) {
        let inside = Frame::new().inner_margin(Margin { bottom: 12, ..Margin::same(16) });
        CentralPanel::default().frame(inside).show(ui, |ui| {
            // No panel at the bottom: the keyboard goes through the controls in the order in which they are drawn.
            let above = vec2(ui.available_width(), ui.available_height() - FOOTER_HEIGHT - ui.spacing().item_spacing.y);
            ui.allocate_ui(above, |ui| {
                ui.set_min_size(above);
                self.all(ui, update, all);
            });
            let footer = vec2(ui.available_width(), FOOTER_HEIGHT);
            ui.allocate_ui_with_layout(footer, Layout::left_to_right(Align::Center), |ui| {
                self.pages(ui, 1);
                if figures::totals(ui, all, &self.zone, true) {
                    self.open_connections(Part::Internal);
                }
            });
        });
    }

    /// What all move together, and the table.
    fn all(&mut self, ui: &mut Ui, update: &Update, all: &Reading) {
        if figures::header(ui, all, None, |_| {}) {
            self.open_connections(Part::External);
        }
        self.banner(ui, update);
        figures::rates(ui, all, &self.settings);
        let usage = figures::used(ui, update, all);
        ui.add_space(6.0);
        self.controls(ui, update);
        // The chart has what the rows leave of the room, and this part of it where they would fill more.
        let system = if self.picker.hides_system { 0 } else { update.services.len() };
        let programs: usize = update.programs.iter().map(|by| self.table.unfolded.lines(by).len()).sum();
        let below = Offer::all(update).len() + usize::from(!update.services.is_empty()) + system + programs;
        let rows = self.table.rows(self.picker.services, below).max(ROWS_MIN) * ROW_HEIGHT + HEAD_HEIGHT;
        let height = ui.available_height();
        self.graph(ui, all, (height - rows).max(height * CHART_SHARE).max(CHART_MIN_HEIGHT), charts::Part::One);
        ui.add_space(4.0);
        if update.apps.is_empty() {
            no_apps(ui);
        } else if let Some(id) = self.table(ui, update, all) {
            self.picker.clear();
            self.send(Command::Watch(vec![id]));
        }
        if let Some(period) = usage {
            self.open_usage(period);
        }
    }

    /// The rows. The id of the app that was chosen.
    fn table(&mut self, ui: &mut Ui, update: &Update, all: &Reading) -> Option<String> {
        self.table.hovered = false;
        let searched = self.table_head(ui);
        let by = |app: &AppReading| update.programs.iter().find(|by| by.app == app.id);
        let holds =
            |app: &AppReading| by(app).is_some_and(|by| by.programs.iter().any(|p| self.picker.finds_name(&p.name)));
        let found = update.apps.iter().filter(|app| self.picker.finds(app) || holds(app));
        let (apps, services) = self.table.in_order(found);
        let open = self.picker.services || !self.picker.search.is_empty() || apps.is_empty();
        let unfolded = |app| {
            let programs = by(app).map(|by| self.table.unfolded.lines(by)).unwrap_or_default();
            std::iter::once(Line::App(app)).chain(programs.into_iter().map(move |line| Line::Of(app, line)))
        };
        let mut lines: Vec<Line<'_>> = apps.into_iter().flat_map(unfolded).collect();
        let is_container = |line: &Line<'_>| matches!(line, Line::App(app) if app.kind == Kind::Forwarded);
        if let Some(at) = lines.iter().position(is_container) {
            lines.insert(at, Line::Containers);
        }
        if !services.is_empty() {
            lines.push(Line::Services(services.len()));
        }
        if open {
            lines.extend(services.into_iter().flat_map(unfolded));
        }
        lines.extend(Offer::all(update).into_iter().map(Line::Offer));
        let found = update.services.iter().filter(|service| self.picker.finds(service));
        let system = picker::in_order(found, &self.table.system);
        let system_open = !self.picker.hides_system || !self.picker.search.is_empty();
        if !system.is_empty() {
            lines.push(Line::System(system.len()));
        }
        if system_open {
            lines.extend(system.into_iter().map(Line::App));
        }
        let first = lines.iter().find_map(|line| if let Line::App(app) = line { Some(app.id.clone()) } else { None });
        if let (None, false) = (&first, self.picker.search.is_empty()) {
            ui.label(format!("No application matches “{}”.", self.picker.search));
            if ui.button("Clear Search").clicked() {
                self.picker.clear();
            }
            return None;
        }
        let id = |at: usize| if let Some(Line::App(app)) = lines.get(at) { Some(row_id(&app.id)) } else { None };
        let go_to = rows::step(ui, lines.len(), id);
        let mut chosen = first.filter(|_| searched);
        let mut outcome = None;
        ui.spacing_mut().item_spacing.y = 0.0;
        let mut area = ScrollArea::vertical().auto_shrink([false, false]);
        if let Some(offset) = go_to.and_then(|at| rows::offset_for(at, &self.table.seen)) {
            area = area.vertical_scroll_offset(offset);
        }
        let scrolled = area.show_rows(ui, ROW_HEIGHT, lines.len(), |ui, shown: Range<usize>| {
            for at in shown {
                let size = vec2(ui.available_width() - BAR_WIDTH, ROW_HEIGHT);
                match lines.get(at) {
                    Some(Line::App(app)) => {
                        match self.row(ui, app, by(app), all, size, at) {
                            Some(Pressed::Row) => chosen = Some(app.id.clone()),
                            Some(Pressed::Programs(wish)) => outcome = Some(programs::Outcome::Wish(wish)),
                            None => {}
                        }
                        self.menu(ui, app, update);
                    }
                    Some(Line::Of(app, line)) => {
                        let look = programs::Look::below(&self.settings, &self.zone, all.time);
                        outcome = programs::row(ui, *line, &app.name, &look, size, at).or(outcome.take());
                    }
                    Some(Line::Containers) => {
                        ui.allocate_ui(size, |ui| {
                            ui.set_min_size(size);
                            picker::containers_title(ui);
                        });
                    }
                    Some(Line::Services(count)) => {
                        let line = Layout::left_to_right(Align::Center);
                        ui.allocate_ui_with_layout(size, line, |ui| {
                            ui.set_min_size(size);
                            self.picker.services_title(ui, *count, open);
                        });
                    }
                    Some(Line::System(count)) => {
                        let line = Layout::left_to_right(Align::Center);
                        ui.allocate_ui_with_layout(size, line, |ui| {
                            ui.set_min_size(size);
                            self.picker.system_title(ui, *count, system_open);
                        });
                    }
                    Some(Line::Offer(offer)) => {
                        let line = Layout::left_to_right(Align::Center);
                        ui.allocate_ui_with_layout(size, line, |ui| {
                            ui.set_min_size(size);
                            if offer.line(ui) {
                                self.send(Command::Authorise(offer.grant));
                            }
                        });
                    }
                    _ => {}
                }
            }
        });
        if let Some(wish) = outcome.and_then(|outcome| self.table.unfolded.take(outcome)) {
            self.send(wish);
        }
        self.table.hovered = ui.rect_contains_pointer(scrolled.inner_rect);
        let top = scrolled.state.clamped_offset().y;
        self.table.seen = top..top + scrolled.inner_rect.height();
        chosen
    }

    /// The search and the columns' names. Whether what is searched for was entered.
    fn table_head(&mut self, ui: &mut Ui) -> bool {
        let size = vec2(ui.available_width(), ui.spacing().interact_size.y);
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        let columns = Columns::of(rect.with_max_x(rect.right() - BAR_WIDTH));
        let right = (columns.name.right() - NEW_APP_WIDTH - BETWEEN).min(rect.left() + 240.0);
        let search = Rect::from_min_max(rect.min, pos2(right, rect.bottom()));
        let field = TextEdit::singleline(&mut self.picker.search)
            .hint_text(format!("Search ({})", Action::Search.text()))
            .return_key(None);
        let field = ui.put(search, field.desired_width(search.width()));
        ui.ctx().accesskit_node_builder(field.id, |node| node.set_label("Search the applications"));
        if Action::Search.asked(ui) {
            field.request_focus();
        }
        let beside = Rect::from_min_size(pos2(right + BETWEEN, rect.top()), vec2(NEW_APP_WIDTH, rect.height()));
        ui.scope_builder(UiBuilder::new().max_rect(beside), |ui| self.new_app(ui, beside.size()));
        let weak = ui.visuals().weak_text_color();
        let name = |at: Pos2, align: Align2, text: &str| {
            ui.painter().text(at, align, text, FontId::proportional(12.0), weak);
        };
        name(columns.spark.left_center(), Align2::LEFT_CENTER, "Last Minute");
        for (figure, text) in columns.figures.iter().zip(["Download", "Upload", "Total"]) {
            name(figure.right_center(), Align2::RIGHT_CENTER, text);
        }
        field.has_focus() && (Action::ShowFirst.asked(ui) | Action::AddFirst.asked(ui))
    }

    /// The menu of a row that was just drawn.
    fn menu(&self, ui: &Ui, app: &AppReading, update: &Update) {
        let row = ui.ctx().read_response(row_id(&app.id));
        if let Some(asked) = row.and_then(|row| menu::of_row(ui, &row, app, &update.apps)) {
            self.picker.asked.replace(Some(asked));
        }
    }

    /// Draws one app. `by`: its programs.
    fn row(
        &self,
        ui: &mut Ui,
        app: &AppReading,
        by: Option<&ByProgram>,
        all: &Reading,
        size: Vec2,
        at: usize,
    ) -> Option<Pressed> {
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        let response = ui.interact(rect, row_id(&app.id), Sense::click());
        let unit = self.settings.unit;
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, spoken(app, unit)));
        rows::background(ui, &response, at);
        colours::mark(ui, rect, &app.id, &self.settings);
        let Columns { mut name, spark, figures } = Columns::of(rect);
        let place = Align2::LEFT_CENTER.anchor_size(name.left_center(), Vec2::splat(ICON));
        icon::app_icon(ui, app.icon.as_deref()).paint_at(ui, place);
        name.min.x += ICON + 8.0;
        let toggle = by.map(|by| (by, programs::toggle_size(ui, by)));
        name.max.x -= toggle.map_or(0.0, |(_, size)| size.x + 4.0);
        let text = WidgetText::from(app.name.as_str());
        let galley = text.into_galley(ui, Some(TextWrapMode::Truncate), name.width(), FontId::proportional(14.0));
        let top = name.center().y - galley.size().y / 2.0;
        // Beside the name, and not in the middle of the row, where a click is for the row itself.
        let pressed = toggle.and_then(|(by, size)| {
            let left = pos2(name.left() + galley.size().x + 4.0, name.center().y);
            let clicked = programs::toggle(ui, by, &app.name, Align2::LEFT_CENTER.anchor_size(left, size));
            clicked.then(|| Pressed::Programs(Command::Programs(app.id.clone(), !by.is_open)))
        });
        ui.painter().galley(pos2(name.left(), top), galley, ui.visuals().text_color());
        let colours = style::colours(ui, &self.settings);
        let points = self.table.sparks.points(&app.id);
        ui.painter().add(spark_line(&points, all.boottime_ns, spark.shrink2(vec2(0.0, 4.0)), &colours));
        let quiet = ui.visuals().weak_text_color();
        let rate = |rate: Option<f64>, moving: Color32| {
            (rate_text(rate, unit), if rate.is_some_and(|rate| rate > 0.0) { moving } else { quiet })
        };
        let texts = [
            rate(app.rate.map(|rate| rate.rx), style::colour(colours.download)),
            rate(app.rate.map(|rate| rate.tx), style::colour(colours.upload)),
            (format::bytes(total(app)), if total(app) > 0 { ui.visuals().text_color() } else { quiet }),
        ];
        for (figure, (text, colour)) in figures.iter().zip(texts) {
            ui.painter().text(figure.right_center(), Align2::RIGHT_CENTER, text, FontId::proportional(14.0), colour);
        }
        pressed.or(response.on_hover_text(&app.name).clicked().then_some(Pressed::Row))
    }
}

/// What of an app's row was pressed.
enum Pressed {
    Row,
    /// What opens and closes the rows of its programs.
    Programs(Command),
}

fn row_id(id: &str) -> Id {
    Id::unique(("row of the overview", id))
}

pub(super) fn rate_text(rate: Option<f64>, unit: Unit) -> String {
    rate.map_or("–".to_owned(), |rate| format::rate(rate, unit))
}

/// A row as one hears it.
fn spoken(app: &AppReading, unit: Unit) -> String {
    let rate = |rate: Option<f64>| rate.map_or("unknown".to_owned(), |rate| format::rate(rate, unit));
    let (download, upload) = (rate(app.rate.map(|rate| rate.rx)), rate(app.rate.map(|rate| rate.tx)));
    format!("{}, download {download}, upload {upload}, total {}", app.name, format::bytes(total(app)))
}

/// What was moved in the last minute: download, and upload on top of it.
pub(super) fn spark_line(points: &[Point], now_ns: u64, rect: Rect, colours: &Colours) -> Shape {
    let rates = points.iter().filter_map(|point| point.rate);
    let most = rates.map(|rate| rate.rx + rate.tx).fold(SPARK_LEAST, f64::max);
    let span_ns = SPARK_SECS * 1_000_000_000;
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    let x = |ns: u64| rect.right() - rect.width() * (now_ns.saturating_sub(ns).min(span_ns) as f32 / span_ns as f32);
    #[expect(clippy::cast_possible_truncation, reason = "a place in a picture")]
    let y = |rate: f64| rect.bottom() - rect.height() * (rate / most) as f32;
    let mut mesh = Mesh::default();
    let grid = style::colour(colours.grid);
    mesh.add_colored_rect(Rect::from_min_max(pos2(rect.left(), rect.bottom() - 1.0), rect.max), grid);
    for pair in points.windows(2) {
        let ([before, point], Some((rate, _))) = (pair, moved(pair)) else { continue };
        let mut bar = |from: f64, to: f64, colour| {
            if to > from {
                let bar = Rect::from_min_max(pos2(x(before.boottime_ns), y(to)), pos2(x(point.boottime_ns), y(from)));
                mesh.add_colored_rect(bar, colour);
            }
        };
        bar(0.0, rate.rx, style::colour(colours.download));
        bar(rate.rx, rate.rx + rate.tx, style::colour(colours.upload));
    }
    Shape::mesh(mesh)
}

fn no_apps(ui: &mut Ui) {
    ui.vertical_centered(|ui| {
        ui.add_space(12.0);
        ui.heading("No applications yet");
        ui.label("netglance lists what your desktop starts with systemd. Start an application, and it appears here.");
        ui.label(RichText::new("To count a command, run it with: netglance run -- CMD").weak());
    });
}
