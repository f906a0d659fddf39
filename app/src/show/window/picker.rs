//! The list of apps at the left: search, live rates, busiest first, and the desktop's services out of the way; a click watches
//! one, its second button one more.

use eframe::egui::{
    Atom, Button, CollapsingHeader, Id, IdSalt, Key, Modifiers, Pos2, Response, RichText, ScrollArea, Sense, Stroke,
    TextEdit, Ui, WidgetInfo, accesskit::Role, vec2,
};

use super::icon::app_icon;
use crate::{
    base::{format, settings::Unit},
    look::{reading::AppReading, target::Target},
};

/// What the picker remembers between two frames.
#[derive(Debug, Default)]
pub struct Picker {
    pub(super) search: String,
    /// The order in which the apps stand, and which of them are services; kept while the pointer is over the list, so that none slips away under it.
    order: Vec<(String, bool)>,
    /// The services are shown.
    pub(super) services: bool,
    hovered: bool,
}

const ROW_HEIGHT: f32 = 28.0;
/// The second button's width.
const TOGGLE_WIDTH: f32 = 26.0;

impl Picker {
    /// Draws the list. The ids of the apps to watch from now on, if that was just changed.
    pub fn ui(&mut self, ui: &mut Ui, apps: &[AppReading], watched: &[&str], unit: Unit) -> Option<Vec<String>> {
        let mut chosen = None;
        let title = ui.label(RichText::new("Applications").strong());
        let search =
            ui.add(TextEdit::singleline(&mut self.search).hint_text("Search (Ctrl+F)").desired_width(f32::INFINITY));
        let search = search.labelled_by(title.id);
        if ui.input_mut(|i| i.consume_key(Modifiers::COMMAND, Key::F)) {
            search.request_focus();
        }
        let (mut shown, services) = self.shown(apps, watched);
        let open = self.services || !self.search.is_empty() || shown.is_empty();
        let first_service = shown.len();
        if open {
            shown.extend(&services);
        }
        if search.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter)) {
            let more = ui.input(|i| i.modifiers.command);
            chosen = shown.first().map(|app| choose(watched, &app.id, more));
        }
        chosen = chosen.or_else(|| step(ui, search.id, &shown, watched));
        ui.add_space(2.0);
        if apps.is_empty() {
            ui.label("No applications found.");
            ui.label(RichText::new("They appear here as soon as your desktop starts one with systemd. To count a command, run it with: netglance run -- CMD").weak());
        } else if shown.is_empty() {
            ui.label(format!("Nothing is called \"{}\".", self.search));
            if ui.button("Clear the search").clicked() {
                self.clear();
                return None;
            }
        }
        let list = ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            for (at, app) in shown.iter().enumerate() {
                if at == first_service {
                    self.services_title(ui, services.len(), open);
                }
                if let Some(more) = row(ui, app, watched, unit) {
                    chosen = Some(choose(watched, &app.id, more));
                }
            }
            if !open && !services.is_empty() {
                self.services_title(ui, services.len(), open);
            }
            super::keep_focus_in_view(ui, None);
        });
        self.hovered = ui.rect_contains_pointer(list.inner_rect);
        chosen
    }

    /// Whether the search finds an app.
    pub(super) fn finds(&self, app: &AppReading) -> bool {
        let wanted = self.search.trim().to_lowercase();
        [&app.name, &app.id].iter().any(|text| text.to_lowercase().contains(&wanted))
    }

    /// Shows all apps again.
    pub fn clear(&mut self) {
        self.search.clear();
    }

    /// What the desktop itself runs stands below a line of its own, which shows and hides it.
    pub(super) fn services_title(&mut self, ui: &mut Ui, count: usize, open: bool) {
        ui.add_space(4.0);
        let title = format!("Services ({count})");
        let hint = "What runs without an entry in the desktop's menu and has moved nothing yet";
        let header = CollapsingHeader::new(RichText::new(&title).small().weak()).id_salt("services").open(Some(open));
        let response = header.show_unindented(ui, |_| {}).header_response.on_hover_text(hint);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, open, &title));
        if response.clicked() {
            self.services = !self.services;
        }
    }

    /// The apps that the search finds, in the order in which they stand: those that a person would look for, and the services.
    fn shown<'a>(&mut self, apps: &'a [AppReading], watched: &[&str]) -> (Vec<&'a AppReading>, Vec<&'a AppReading>) {
        let stb = Target::stb().name;
        let is_service = |app: &AppReading| is_service(app) && !watched.contains(&app.id.as_str());
        if !self.hovered {
            self.order = apps.iter().map(|app| (app.id.clone(), is_service(app))).collect();
            self.order.sort_by_key(|(id, _)| *id != stb);
        }
        let mut shown: Vec<_> = apps.iter().filter(|app| self.finds(app)).collect();
        let place = |app: &AppReading| self.order.iter().position(|(id, _)| *id == app.id);
        shown.sort_by_key(|app| place(app).unwrap_or(usize::MAX));
        let known = |app: &AppReading| place(app).and_then(|at| self.order.get(at)).map(|(_, service)| *service);
        shown.into_iter().partition(|app| !known(app).unwrap_or_else(|| is_service(app)))
    }
}

/// Whether an app is nothing that a person would look for: it has no entry in the desktop's menu and has moved nothing.
pub(super) fn is_service(app: &AppReading) -> bool {
    let moves = app.bytes.rx > 0 || app.bytes.tx > 0 || app.rate.is_some_and(|rate| rate.rx + rate.tx > 0.0);
    !(app.in_menu || moves || app.id == Target::stb().name)
}

/// What is watched once `id` was chosen: nothing else, or, with `more`, that too or no longer.
fn choose(watched: &[&str], id: &str, more: bool) -> Vec<String> {
    let mut ids: Vec<String> = if more { watched.iter().map(|&id| id.to_owned()).collect() } else { Vec::new() };
    match ids.iter().position(|other| other == id) {
        Some(at) if ids.len() > 1 => _ = ids.remove(at),
        Some(_) => {}
        None => ids.push(id.to_owned()),
    }
    ids
}

/// Up and down, where nothing else has the keys and at most one app is watched.
fn step(ui: &Ui, search: Id, shown: &[&AppReading], watched: &[&str]) -> Option<Vec<String>> {
    if watched.len() > 1 || ui.memory(|m| m.focused()).is_some_and(|id| id != search) {
        return None;
    }
    let step = ui.input(|i| i32::from(i.key_pressed(Key::ArrowDown)) - i32::from(i.key_pressed(Key::ArrowUp)));
    let at = shown.iter().position(|app| watched.first() == Some(&app.id.as_str()));
    let next = match (step, at) {
        (0, _) => None,
        (1, None) => Some(0),
        (_, None) => shown.len().checked_sub(1),
        (1, Some(at)) => Some(at + 1),
        (_, Some(at)) => at.checked_sub(1),
    };
    next.and_then(|at| shown.get(at)).map(|app| vec![app.id.clone()])
}

/// An app. Whether it was chosen: alone (false) or beside the others (true).
fn row(ui: &mut Ui, app: &AppReading, watched: &[&str], unit: Unit) -> Option<bool> {
    let total = app.rate.map(|rate| rate.rx + rate.tx);
    let rate =
        total.map_or(String::new(), |total| if total < 0.5 { "–".to_owned() } else { format::rate(total, unit) });
    let selected = watched.contains(&app.id.as_str());
    let button = Button::new((app_icon(ui, app), app.name.as_str()));
    let button = button.selected(selected).frame_when_inactive(selected).truncate();
    let figure = RichText::new(rate.as_str()).small();
    // Beside nothing there is no other: no second button, and no place for it.
    let button = if watched.is_empty() {
        button.right_text(figure)
    } else {
        let place = vec2(TOGGLE_WIDTH - ui.spacing().button_padding.x, 1.0);
        button.right_text((figure, Atom::custom(IdSalt::new("second button"), place)))
    };
    let response = ui.add_sized(vec2(ui.available_width(), ROW_HEIGHT), button);
    response.widget_info(|| {
        let label = if rate.is_empty() { app.name.clone() } else { format!("{}, {rate}", app.name) };
        WidgetInfo::selected(Role::Button, true, selected, label)
    });
    let clicked = response.clicked().then(|| ui.input(|i| i.modifiers.command));
    // A long name is cut in the row.
    let hint = format!("{}\n{}\nCtrl+click: watch it too", app.name, app.cgroups.join("\n"));
    let row = response.on_hover_text(hint);
    // The only one that is watched can't be left out.
    if watched.is_empty() || selected && watched.len() == 1 {
        return clicked;
    }
    let toggled = toggle(ui, app, selected, &row).clicked().then_some(true);
    toggled.or(clicked)
}

/// A plus, or a check mark at what is watched beside others, at the end of its row. Seen where it is of use, reached by the keyboard everywhere.
fn toggle(ui: &Ui, app: &AppReading, selected: bool, row: &Response) -> Response {
    let rect = row.rect.with_min_x(row.rect.right() - TOGGLE_WIDTH);
    let response = ui.interact(rect, row.id.with("toggle"), Sense::click());
    let label = if selected { format!("Stop watching {}", app.name) } else { format!("Watch {} too", app.name) };
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, &label));
    if selected || row.contains_pointer() || response.hovered() || response.has_focus() {
        let visuals = *ui.style().interact(&response);
        if response.hovered() || response.has_focus() {
            ui.painter().rect(
                rect.shrink(2.0),
                visuals.corner_radius,
                visuals.weak_bg_fill,
                visuals.bg_stroke,
                eframe::egui::StrokeKind::Inside,
            );
        }
        let stroke = Stroke::new(1.5, ui.visuals().text_color());
        let at = |x: f32, y: f32| rect.center() + vec2(x, y);
        let lines: [[Pos2; 2]; 2] = if selected {
            [[at(-5.0, 0.0), at(-1.5, 4.0)], [at(-1.5, 4.0), at(5.0, -4.0)]]
        } else {
            [[at(-5.0, 0.0), at(5.0, 0.0)], [at(0.0, -5.0), at(0.0, 5.0)]]
        };
        for line in lines {
            ui.painter().line_segment(line, stroke);
        }
    }
    response.on_hover_text(label)
}
