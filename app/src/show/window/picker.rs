//! The list of apps at the left: search, live rates, busiest first, and the desktop's services out of the way; a click watches
//! one, its second button one more.

use std::{cell::RefCell, collections::HashMap};

use eframe::egui::{
    Atom, Button, CollapsingHeader, EventFilter, Id, IdSalt, Popup, Pos2, Response, RichText, ScrollArea, Sense,
    Stroke, TextEdit, Ui, UiBuilder, WidgetInfo, accesskit::Role, vec2,
};

use super::{
    icon::app_icon,
    keys::Action,
    own_apps::{
        colours,
        menu::{self, Asked},
    },
    sections::{self, Offer},
};
use crate::{
    base::{
        format,
        settings::{Settings, Unit},
    },
    look::reading::{AppReading, Kind},
    show::update::{Command, Update},
};

/// What the picker remembers between two frames.
#[derive(Debug, Default)]
pub struct Picker {
    pub(super) search: String,
    /// The order in which the apps stand, and which of them are services; kept while the pointer is over the list, so that none slips away under it.
    order: Vec<(String, bool)>,
    /// The services are shown.
    pub(super) services: bool,
    /// The system services are hidden, though they may be shown.
    pub(super) hides_system: bool,
    /// The order in which the system services stand.
    system: Vec<String>,
    hovered: bool,
    /// The app whose row takes the focus when it is drawn next; a service's, once that is watched.
    focus: Option<String>,
    /// A row had the focus when the rows were drawn last.
    row_focused: bool,
    /// What the menu of an app asked for.
    pub(super) asked: RefCell<Option<Asked>>,
}

const ROW_HEIGHT: f32 = 28.0;
/// The second button's width.
const TOGGLE_WIDTH: f32 = 26.0;

impl Picker {
    /// Draws the list. What is wanted, if anything was just chosen.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, watched: &[&str], settings: &Settings) -> Option<Command> {
        let (apps, mut chosen, mut asked) = (&update.apps, None, None);
        let title = ui.label(RichText::new("Applications").strong());
        let hint = format!("Search ({})", Action::Search.text());
        let field =
            TextEdit::singleline(&mut self.search).hint_text(hint).desired_width(f32::INFINITY).return_key(None);
        let search = ui.add(field).labelled_by(title.id);
        if Action::Search.asked(ui) {
            search.request_focus();
        }
        let (mut shown, mut services) = self.shown(apps, watched);
        let mut system = self.shown_system(&update.services);
        let first = shown.first().or(services.first()).or(system.first()).copied().filter(|_| search.has_focus());
        if let Some(app) = first {
            let add = Action::AddFirst.asked(ui);
            if add || Action::ShowFirst.asked(ui) {
                chosen = Some(choose(watched, &app.id, add));
                self.clear();
                self.focus = Some(app.id.clone());
                (shown, services) = self.shown(apps, watched);
                system = self.shown_system(&update.services);
            }
        }
        let open = self.services || !self.search.is_empty() || shown.is_empty();
        let first_service = shown.len();
        let first_container = shown.iter().position(|app| app.kind == Kind::Forwarded);
        if open {
            shown.extend(&services);
        }
        let first_system = shown.len();
        let system_open = !self.hides_system || !self.search.is_empty();
        let system_count = system.len();
        if system_open {
            shown.extend(system);
        }
        if chosen.is_none()
            && watched.len() <= 1
            && !Popup::is_any_open(ui.ctx())
            && (search.has_focus() || self.row_focused || ui.memory(|m| m.focused()).is_none())
            && let Some(next) = step(ui, &shown, watched)
        {
            chosen = Some(vec![next.to_owned()]);
            if self.row_focused {
                self.focus = chosen.as_ref().and_then(|ids| ids.first().cloned());
            }
        }
        ui.add_space(2.0);
        if apps.is_empty() {
            ui.label("No applications are running.");
            let hint =
                "Applications that your desktop starts appear here. To count a command, run: netglance run -- CMD";
            ui.label(RichText::new(hint).weak());
        } else if shown.is_empty() {
            ui.label(format!("No application matches “{}”.", self.search));
            if ui.button("Clear Search").clicked() {
                self.clear();
                return None;
            }
        }
        self.row_focused = false;
        let list = ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            for (at, app) in shown.iter().enumerate() {
                if at == first_service && first_service < first_system {
                    self.services_title(ui, services.len(), open);
                }
                if at == first_system {
                    self.below_the_apps(ui, update, (services.len(), open), (system_count, system_open), &mut asked);
                }
                if Some(at) == first_container {
                    containers_title(ui);
                }
                // An id of its own: the focus stays with the app when the order changes.
                let its_own = UiBuilder::new().scope_id(Id::unique(("app", &app.id)));
                let row = ui.scope_builder(its_own, |ui| row(ui, app, watched, settings.unit)).inner;
                colours::mark(ui, row.response.rect, &app.id, settings);
                if let Some(asked) = menu::of_row(ui, &row.response, app, apps) {
                    self.asked.replace(Some(asked));
                }
                if let Some(more) = row.chosen {
                    chosen = Some(choose(watched, &app.id, more));
                }
                if self.focus.as_ref() == Some(&app.id) {
                    self.focus = None;
                    row.response.request_focus();
                }
                self.row_focused |= row.response.has_focus();
            }
            if shown.len() == first_system {
                self.below_the_apps(ui, update, (services.len(), open), (system_count, system_open), &mut asked);
            }
            super::keep_focus_in_view(ui, None);
        });
        self.hovered = ui.rect_contains_pointer(list.inner_rect);
        chosen.map(Command::Watch).or(asked)
    }

    /// What stands between the apps and the system services: the line of hidden services, what a password would show, and the
    /// system services' own line. `services`, `system`: how many, and whether they are shown.
    fn below_the_apps(
        &mut self,
        ui: &mut Ui,
        update: &Update,
        services: (usize, bool),
        system: (usize, bool),
        asked: &mut Option<Command>,
    ) {
        if !services.1 && services.0 > 0 {
            self.services_title(ui, services.0, services.1);
        }
        for offer in Offer::all(update) {
            if offer.ui(ui) {
                *asked = Some(Command::Authorise(offer.grant));
            }
        }
        if system.0 > 0 {
            self.system_title(ui, system.0, system.1);
        }
    }

    /// The line above the system services.
    pub(super) fn system_title(&mut self, ui: &mut Ui, count: usize, open: bool) {
        if sections::services_title(ui, count, open) {
            self.hides_system = !self.hides_system;
        }
    }

    /// The system services that the search finds, in the order in which they stand.
    fn shown_system<'a>(&mut self, services: &'a [AppReading]) -> Vec<&'a AppReading> {
        if !self.hovered {
            self.system = services.iter().map(|service| service.id.clone()).collect();
        }
        in_order(services.iter().filter(|service| self.finds(service)), &self.system)
    }

    /// Whether the search finds an app.
    pub(super) fn finds(&self, app: &AppReading) -> bool {
        [&app.name, &app.id].iter().any(|text| self.finds_name(text))
    }

    /// Whether the search finds something with this name.
    pub(super) fn finds_name(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.search.trim().to_lowercase())
    }

    /// Shows all apps again.
    pub fn clear(&mut self) {
        self.search.clear();
    }

    /// What the desktop itself runs stands below a line of its own, which shows and hides it.
    pub(super) fn services_title(&mut self, ui: &mut Ui, count: usize, open: bool) {
        ui.add_space(4.0);
        let title = format!("Services ({count})");
        let hint = "Programs that are not in the applications menu and have had no traffic yet";
        let header = CollapsingHeader::new(RichText::new(&title).small().weak()).id_salt("services").open(Some(open));
        let response = header.show_unindented(ui, |_| {}).header_response.on_hover_text(hint);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, open, &title));
        if response.clicked() {
            self.services = !self.services;
        }
    }

    /// The apps that the search finds, in the order in which they stand: those that a person would look for, and the services.
    fn shown<'a>(&mut self, apps: &'a [AppReading], watched: &[&str]) -> (Vec<&'a AppReading>, Vec<&'a AppReading>) {
        let is_service = |app: &AppReading| is_service(app) && !watched.contains(&app.id.as_str());
        if !self.hovered {
            self.order = apps.iter().map(|app| (app.id.clone(), is_service(app))).collect();
            in_sections(&mut self.order, apps);
        }
        let mut shown: Vec<_> = apps.iter().filter(|app| self.finds(app)).collect();
        let places = places(&self.order);
        shown.sort_by_key(|app| places.get(app.id.as_str()).map_or(usize::MAX, |(at, _)| *at));
        let known = |app: &AppReading| places.get(app.id.as_str()).map(|(_, service)| *service);
        shown.into_iter().partition(|app| !known(app).unwrap_or_else(|| is_service(app)))
    }
}

/// These services in this order; what is not in it comes last.
pub(super) fn in_order<'a>(services: impl Iterator<Item = &'a AppReading>, order: &[String]) -> Vec<&'a AppReading> {
    let places: HashMap<&str, usize> = order.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let mut services: Vec<_> = services.collect();
    services.sort_by_key(|service| places.get(service.id.as_str()).copied().unwrap_or(usize::MAX));
    services
}

/// Puts one's own apps first, and containers and virtual machines last. Otherwise the order stays.
pub(super) fn in_sections(order: &mut [(String, bool)], apps: &[AppReading]) {
    let kinds: HashMap<&str, Kind> = apps.iter().map(|app| (app.id.as_str(), app.kind)).collect();
    order.sort_by_key(|(id, _)| kinds.get(id.as_str()).copied().unwrap_or(Kind::App));
}

/// The line above containers and virtual machines.
pub(super) fn containers_title(ui: &mut Ui) {
    ui.add_space(4.0);
    ui.label(RichText::new("Containers and virtual machines").small().weak());
}

/// Where each app stands in an order, and whether it is a service. Made once for all that is looked up in a frame.
pub(super) fn places(order: &[(String, bool)]) -> HashMap<&str, (usize, bool)> {
    order.iter().enumerate().map(|(at, (id, service))| (id.as_str(), (at, *service))).collect()
}

/// Whether an app is nothing that a person would look for: it has no entry in the desktop's menu and has moved nothing.
pub(super) fn is_service(app: &AppReading) -> bool {
    let moves = app.bytes.rx > 0 || app.bytes.tx > 0 || app.rate.is_some_and(|rate| rate.rx + rate.tx > 0.0);
    !(app.in_menu || moves || app.kind != Kind::App)
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

/// The app before or after the one that is watched, if that was asked for.
fn step<'a>(ui: &Ui, shown: &[&'a AppReading], watched: &[&str]) -> Option<&'a str> {
    let steps = Action::Step.pressed(ui);
    let mut at = shown.iter().position(|app| watched.first() == Some(&app.id.as_str()));
    let last = shown.len().checked_sub(1)?;
    for down in steps.iter().map(|step| *step == 1) {
        at = Some(match (down, at) {
            (true, None) => 0,
            (true, Some(at)) => (at + 1).min(last),
            (false, None) => last,
            (false, Some(at)) => at.saturating_sub(1),
        });
    }
    let next = shown.get(at?)?.id.as_str();
    (!steps.is_empty() && watched.first() != Some(&next)).then_some(next)
}

/// What came of a row.
struct Row {
    /// The name's button.
    response: Response,
    /// It was chosen: alone (false) or beside the others (true).
    chosen: Option<bool>,
}

/// An app.
fn row(ui: &mut Ui, app: &AppReading, watched: &[&str], unit: Unit) -> Row {
    let rate = app.rate.map(|rate| format::rate(rate.rx + rate.tx, unit));
    let selected = watched.contains(&app.id.as_str());
    let button = Button::new((app_icon(ui, app.icon.as_deref()), app.name.as_str()));
    let button = button.selected(selected).frame_when_inactive(selected).truncate();
    let figure = RichText::new(rate.as_deref().unwrap_or("–")).small();
    // Beside nothing there is no other: no second button, and no place for it.
    let button = if watched.is_empty() {
        button.right_text(figure)
    } else {
        let place = vec2(TOGGLE_WIDTH - ui.spacing().button_padding.x, 1.0);
        button.right_text((figure, Atom::custom(IdSalt::new("second button"), place)))
    };
    let response = ui.add_sized(vec2(ui.available_width(), ROW_HEIGHT), button);
    response.widget_info(|| {
        let label = format!("{}, {}", app.name, rate.as_deref().unwrap_or("rate unknown"));
        WidgetInfo::selected(Role::Button, true, selected, label)
    });
    let clicked = response.clicked().then(|| Action::Toggle.modified(ui));
    if watched.len() <= 1 {
        let arrows = EventFilter { vertical_arrows: true, ..EventFilter::default() };
        ui.memory_mut(|m| m.set_focus_lock_filter(response.id, arrows));
    }
    // A long name is cut in the row.
    let not_known = if rate.is_none() { "The rate is unknown.\n" } else { "" };
    let cgroups = app.cgroups.join("\n");
    let hint = format!("{}\n{not_known}{cgroups}\n{}: add it to the charts", app.name, Action::Toggle.text());
    let response = response.on_hover_text(hint);
    // The only one that is watched can't be left out.
    if watched.is_empty() || selected && watched.len() == 1 {
        return Row { response, chosen: clicked };
    }
    let toggled = toggle(ui, app, selected, &response).clicked().then_some(true);
    Row { chosen: clicked.or(toggled), response }
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
