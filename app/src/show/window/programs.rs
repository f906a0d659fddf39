//! The programs that share an app's cgroup: rows below its own in the overview, a list on its own page. All their figures are
//! estimates, and are called so.

use std::collections::{HashMap, HashSet};

use eframe::egui::{
    Align2, Color32, FontId, Galley, Id, Popup, Pos2, Rect, Response, RichText, ScrollArea, Sense, Shape, Stroke,
    TextWrapMode, Ui, Vec2, WidgetInfo, WidgetText, accesskit::Role, pos2, vec2,
};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

use super::{
    icon,
    overview::{Columns, rate_text},
    rows::{self, ROW_HEIGHT},
    style,
};
use crate::{
    base::{
        format,
        settings::{Settings, Unit},
    },
    look::{
        programs::{ByProgram, Launch, Program},
        rate::Rate,
    },
    show::update::{Command, Update},
};

const ICON: f32 = 18.0;
/// So much further right than the app's own row.
const INDENT: f32 = 26.0;
const ARROW: f32 = 7.0;
/// Of what opens and closes the rows, with its arrow.
const TOGGLE_PADDING: f32 = 6.0;
/// On an app's page.
const ROWS_SHOWN: usize = 7;
const MENU_WIDTH: f32 = 330.0;
const REST: &str = "Not explained by a program";

/// What the rows remember between two frames.
#[derive(Debug, Default)]
pub(super) struct Unfolded {
    /// Apps of which those programs are shown, too, that have moved nothing and are in no menu.
    quiet: HashSet<String>,
    /// By app: the programs in the order in which they stand.
    order: HashMap<String, Vec<String>>,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line<'a> {
    /// What the rows below it are.
    Caption(&'a ByProgram),
    Program(&'a ByProgram, &'a Program),
    /// So many programs are hidden, or shown from here on.
    Quiet(&'a ByProgram, usize, bool),
    Rest(&'a ByProgram),
}

/// What came of a row.
#[derive(Debug)]
pub(super) enum Outcome {
    Wish(Command),
    /// The programs without traffic of this app are shown from now on, or not.
    Quiet(String),
}

impl Unfolded {
    /// Puts the programs into the order of now: they come with those first that have moved most.
    pub(super) fn sort(&mut self, update: &Update) {
        let names = |by: &ByProgram| by.programs.iter().map(|program| program.name.clone()).collect();
        self.order = update.programs.iter().map(|by| (by.app.clone(), names(by))).collect();
    }

    pub(super) fn take(&mut self, outcome: Outcome) -> Option<Command> {
        match outcome {
            Outcome::Wish(wish) => Some(wish),
            Outcome::Quiet(app) => {
                if !self.quiet.remove(&app) {
                    self.quiet.insert(app);
                }
                None
            }
        }
    }

    /// The rows of an app's programs; none while nobody looks at them.
    pub(super) fn lines<'a>(&self, by: &'a ByProgram) -> Vec<Line<'a>> {
        if !by.is_open {
            return Vec::new();
        }
        let order = self.order.get(&by.app);
        let place = |program: &Program| order.and_then(|order| order.iter().position(|name| *name == program.name));
        let mut programs: Vec<&Program> = by.programs.iter().collect();
        programs.sort_by_key(|program| place(program).unwrap_or(usize::MAX));
        let is_quiet = |program: &&Program| !program.in_menu && program.bytes == [0; 2];
        let (quiet, shown): (Vec<_>, Vec<_>) = programs.into_iter().partition(is_quiet);
        let mut lines = vec![Line::Caption(by)];
        lines.extend(shown.iter().map(|program| Line::Program(by, program)));
        let all = self.quiet.contains(&by.app);
        if !quiet.is_empty() {
            lines.push(Line::Quiet(by, quiet.len(), all));
        }
        if all {
            lines.extend(quiet.iter().map(|program| Line::Program(by, program)));
        }
        lines.push(Line::Rest(by));
        lines
    }
}

fn toggle_text(ui: &Ui, by: &ByProgram) -> std::sync::Arc<Galley> {
    let font = FontId::proportional(12.0);
    ui.painter().layout_no_wrap(format!("{} programs", by.count), font, Color32::PLACEHOLDER)
}

/// How much room [`toggle`] takes.
pub(super) fn toggle_size(ui: &Ui, by: &ByProgram) -> Vec2 {
    vec2(toggle_text(ui, by).size().x + ARROW + 3.0 * TOGGLE_PADDING, ROW_HEIGHT - 6.0)
}

/// How an app's row opens and closes those of its programs: how many there are, with an arrow. Whether it was pressed.
pub(super) fn toggle(ui: &Ui, by: &ByProgram, name: &str, rect: Rect) -> bool {
    let text = toggle_text(ui, by);
    let response = ui.interact(rect, Id::unique(("programs of", &by.app)), Sense::click());
    let label = format!("{} {} by program", if by.is_open { "Hide" } else { "Show" }, name);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, by.is_open, &label));
    let visuals = *ui.style().interact(&response);
    if response.hovered() || response.has_focus() {
        let border = if response.has_focus() { ui.visuals().selection.stroke } else { Stroke::NONE };
        let inside = eframe::egui::StrokeKind::Inside;
        ui.painter().rect(rect, visuals.corner_radius, visuals.weak_bg_fill, border, inside);
    }
    let colour = if response.hovered() { ui.visuals().text_color() } else { ui.visuals().weak_text_color() };
    let left = pos2(rect.left() + TOGGLE_PADDING, rect.center().y - text.size().y / 2.0);
    ui.painter().galley(left, text, colour);
    arrow(ui, pos2(rect.right() - TOGGLE_PADDING - ARROW / 2.0, rect.center().y), by.is_open, colour);
    let hint = "Which programs in it move how much: an estimate, by program";
    response.on_hover_text(hint).clicked()
}

fn arrow(ui: &Ui, centre: Pos2, down: bool, colour: Color32) {
    let half = ARROW / 2.0;
    let corners = if down {
        [vec2(-half, -half * 0.6), vec2(half, -half * 0.6), vec2(0.0, half * 0.7)]
    } else {
        [vec2(-half * 0.6, -half), vec2(half * 0.7, 0.0), vec2(-half * 0.6, half)]
    };
    ui.painter().add(Shape::convex_polygon(corners.map(|by| centre + by).to_vec(), colour, Stroke::NONE));
}

/// Draws a row. `name`: of its app.
pub(super) fn row(ui: &mut Ui, line: Line<'_>, name: &str, look: &Look<'_>, size: Vec2, at: usize) -> Option<Outcome> {
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let mut columns = Columns::of(rect.with_min_x(rect.left() + look.indent));
    if look.is_alone {
        columns.give_room();
    }
    let unit = look.settings.unit;
    match line {
        Line::Caption(by) => {
            caption(ui, by, name, rect, &columns, look);
            None
        }
        Line::Quiet(by, count, is_open) => {
            let response = ui.interact(rect, Id::unique(("quiet programs of", &by.app)), Sense::click());
            let programs = if count == 1 { "program" } else { "programs" };
            let text = format!("{count} other {programs} without traffic");
            let label = format!("{} {text} in {name}", if is_open { "Hide" } else { "Show" });
            response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_open, &label));
            rows::background(ui, &response, at);
            let weak = ui.visuals().weak_text_color();
            arrow(ui, columns.name.left_center() + vec2(ICON / 2.0, 0.0), is_open, weak);
            let left = columns.name.left_center() + vec2(ICON + 8.0, 0.0);
            ui.painter().text(left, Align2::LEFT_CENTER, text, FontId::proportional(13.0), weak);
            response.clicked().then(|| Outcome::Quiet(by.app.clone()))
        }
        Line::Program(by, program) => {
            let key = program.desktop_id.as_deref().unwrap_or(&program.name);
            let response = ui.interact(rect, Id::unique(("program", &by.app, key)), Sense::click());
            let label = spoken(&program.name, program.rate, program.bytes, unit);
            response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &label));
            rows::background(ui, &response, at);
            let place = Align2::LEFT_CENTER.anchor_size(columns.name.left_center(), Vec2::splat(ICON));
            icon::app_icon(ui, program.icon.as_deref()).paint_at(ui, place);
            cells(ui, &columns, &program.name, program.rate, program.bytes, look.settings);
            menu(&response, program).map(Outcome::Wish)
        }
        Line::Rest(by) => {
            let response = ui.interact(rect, Id::unique(("rest of", &by.app)), Sense::click());
            let label = spoken(REST, by.rest.rate, by.rest.bytes, unit);
            response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &label));
            rows::background(ui, &response, at);
            cells(ui, &columns, REST, by.rest.rate, by.rest.bytes, look.settings);
            let why = format!(
                "What was counted for {name} and for none of its programs: connections that were too short to be seen, or \
                 whose program can't be looked into. Where {name} is counted exactly, it is also UDP and QUIC, and the headers \
                 of all packets."
            );
            Popup::menu(&response).width(MENU_WIDTH).show(|ui| ui.label(&why));
            response.on_hover_text(why);
            None
        }
    }
}

/// How rows are drawn.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    settings: &'a Settings,
    zone: &'a TimeZone,
    now: Timestamp,
    indent: f32,
    /// There is nothing of an app's own row above, and no chart in it.
    is_alone: bool,
}

impl<'a> Look<'a> {
    /// Below an app's own row. `now`: on the clock.
    pub(super) fn below(settings: &'a Settings, zone: &'a TimeZone, now: Timestamp) -> Self {
        Self { settings, zone, now, indent: INDENT, is_alone: false }
    }

    /// On an app's page.
    pub(super) fn alone(settings: &'a Settings, zone: &'a TimeZone, now: Timestamp) -> Self {
        Self { indent: 0.0, is_alone: true, ..Self::below(settings, zone, now) }
    }
}

fn caption(ui: &Ui, by: &ByProgram, name: &str, rect: Rect, columns: &Columns, look: &Look<'_>) {
    let [now, since] = [look.now, by.since].map(|time| ZonedDateTime::new(time, look.zone.clone()));
    let since = since.strftime(if since.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" });
    let text = format!("Estimate, by program (TCP only), since {since}");
    let all = format::bytes(by.bytes[0].saturating_add(by.bytes[1]));
    let response = ui.interact(rect, Id::unique(("caption of", &by.app)), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("{name}: {text}, {all} since then")));
    let (weak, font) = (ui.visuals().weak_text_color(), FontId::proportional(12.0));
    ui.painter().text(columns.name.left_center(), Align2::LEFT_CENTER, text, font.clone(), weak);
    if let Some(total) = columns.figures.last() {
        ui.painter().text(total.right_center(), Align2::RIGHT_CENTER, all, font, weak);
    }
    response.on_hover_text(format!(
        "{name} is one cgroup to the system, so only its sum can be counted. What each program moves is estimated from the TCP \
         connections of its processes while you look. UDP and QUIC are in none of these figures."
    ));
}

/// Name and figures of a row.
fn cells(ui: &Ui, columns: &Columns, name: &str, rate: Option<Rate>, bytes: [u64; 2], settings: &Settings) {
    let colours = style::colours(ui, settings);
    let mut place = columns.name;
    place.min.x += ICON + 8.0;
    let font = FontId::proportional(14.0);
    let galley = WidgetText::from(name).into_galley(ui, Some(TextWrapMode::Truncate), place.width(), font.clone());
    let quiet = ui.visuals().weak_text_color();
    let top = place.center().y - galley.size().y / 2.0;
    let colour = if name == REST { quiet } else { ui.visuals().text_color() };
    ui.painter().galley(pos2(place.left(), top), galley, colour);
    let figure = |rate: Option<f64>, moving: Color32| {
        (rate_text(rate, settings.unit), if rate.is_some_and(|rate| rate > 0.0) { moving } else { quiet })
    };
    let total = bytes[0].saturating_add(bytes[1]);
    let texts = [
        figure(rate.map(|rate| rate.rx), style::colour(colours.download)),
        figure(rate.map(|rate| rate.tx), style::colour(colours.upload)),
        (format::bytes(total), if total > 0 { ui.visuals().text_color() } else { quiet }),
    ];
    for (place, (text, colour)) in columns.figures.iter().zip(texts) {
        ui.painter().text(place.right_center(), Align2::RIGHT_CENTER, text, font.clone(), colour);
    }
}

/// A row as one hears it.
fn spoken(name: &str, rate: Option<Rate>, bytes: [u64; 2], unit: Unit) -> String {
    let text = |rate: Option<f64>| rate.map_or("unknown".to_owned(), |rate| format::rate(rate, unit));
    let (download, upload) = (text(rate.map(|rate| rate.rx)), text(rate.map(|rate| rate.tx)));
    let total = format::bytes(bytes[0].saturating_add(bytes[1]));
    format!("{name}, estimate by program, download {download}, upload {upload}, total {total}")
}

/// What a click on a program's row opens.
fn menu(response: &Response, program: &Program) -> Option<Command> {
    let shown = Popup::menu(response).width(MENU_WIDTH).show(|ui| {
        ui.set_max_width(MENU_WIDTH);
        ui.label(RichText::new(&program.name).strong());
        let processes = match program.processes {
            0 => "It has ended.".to_owned(),
            1 => "1 process".to_owned(),
            count => format!("{count} processes"),
        };
        let [down, up] = program.bytes.map(format::bytes);
        ui.label(format!("{processes}. Estimate: {down} down, {up} up.").replace("..", "."));
        ui.separator();
        let id = program.desktop_id.clone().unwrap_or_default();
        match program.launch {
            Launch::Possible => {
                let clicked = ui.button("Always Start So That It Can Be Counted").clicked();
                ui.label(
                    RichText::new(
                        "The applications menu then starts it in a cgroup of its own, and it is listed and counted as an \
                         application. Takes effect at its next start. You can undo it in the settings.",
                    )
                    .weak(),
                );
                clicked.then_some(Command::StartCounted(id, true))
            }
            Launch::Chosen => {
                ui.label("It will be counted as an application of its own from its next start.");
                ui.button("Start as Before").clicked().then_some(Command::StartCounted(id, false))
            }
            Launch::Impossible => {
                ui.label(
                    RichText::new("To count a program exactly, start it in a terminal with: netglance run -- CMD").weak(),
                );
                None
            }
        }
    });
    let wish = shown.and_then(|shown| shown.inner);
    if wish.is_some() {
        Popup::close_id(&response.ctx, Popup::default_response_id(response));
    }
    wish
}

/// How much room the list wants on an app's page.
#[expect(clippy::cast_precision_loss, reason = "a few rows")]
pub(super) fn height(lines: usize, available: f32) -> f32 {
    (46.0 + (lines.clamp(1, ROWS_SHOWN) as f32) * ROW_HEIGHT).min(available * 0.55)
}

/// The list on an app's own page.
pub(super) fn list(
    ui: &mut Ui,
    by: &ByProgram,
    name: &str,
    look: &Look<'_>,
    unfolded: &mut Unfolded,
) -> Option<Command> {
    const BAR_WIDTH: f32 = 12.0;
    let (head, _) = ui.allocate_exact_size(vec2(ui.available_width() - BAR_WIDTH, 20.0), Sense::hover());
    let columns = Columns::of(head);
    let (weak, font) = (ui.visuals().weak_text_color(), FontId::proportional(12.0));
    let title = |at: Pos2, align: Align2, text: &str| ui.painter().text(at, align, text, font.clone(), weak);
    title(columns.name.left_center(), Align2::LEFT_CENTER, "Program");
    for (figure, text) in columns.figures.iter().zip(["Download", "Upload", "Total"]) {
        title(figure.right_center(), Align2::RIGHT_CENTER, text);
    }
    let lines = unfolded.lines(by);
    ui.spacing_mut().item_spacing.y = 0.0;
    let mut outcome = None;
    ScrollArea::vertical().auto_shrink([false, false]).id_salt("by program").show_rows(
        ui,
        ROW_HEIGHT,
        lines.len(),
        |ui, shown| {
            for at in shown {
                let size = vec2(ui.available_width() - BAR_WIDTH, ROW_HEIGHT);
                let Some(line) = lines.get(at) else { continue };
                outcome = row(ui, *line, name, look, size, at).or(outcome.take());
            }
        },
    );
    outcome.and_then(|outcome| unfolded.take(outcome))
}
