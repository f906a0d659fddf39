//! The list of apps at the left: search, live rates, busiest first.

use eframe::egui::{Button, Image, Key, RichText, ScrollArea, TextEdit, Ui, Vec2};

use crate::{format, monitor::AppReading, settings::Unit};

/// What the picker remembers between two frames.
#[derive(Debug, Default)]
pub struct Picker {
    search: String,
    /// The order in which the apps stand; kept while the pointer is over the list, so that none slips away under it.
    order: Vec<String>,
    hovered: bool,
}

impl Picker {
    /// Draws the list. The id of the app that was just chosen, if one was.
    pub fn ui(&mut self, ui: &mut Ui, apps: &[AppReading], watched: Option<&str>, unit: Unit) -> Option<String> {
        let mut chosen = None;
        let title = ui.label(RichText::new("Applications").strong());
        let search =
            ui.add(TextEdit::singleline(&mut self.search).hint_text("Search (Ctrl+F)").desired_width(f32::INFINITY));
        let search = search.labelled_by(title.id);
        if ui.input_mut(|i| i.consume_key(eframe::egui::Modifiers::COMMAND, Key::F)) {
            search.request_focus();
        }
        let shown = self.shown(apps);
        if search.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter)) {
            chosen = shown.first().map(|app| app.id.clone());
        }
        let focus_elsewhere = ui.memory(|m| m.focused()).is_some_and(|id| id != search.id);
        if !focus_elsewhere {
            let step = ui.input(|i| i32::from(i.key_pressed(Key::ArrowDown)) - i32::from(i.key_pressed(Key::ArrowUp)));
            let at = shown.iter().position(|app| Some(app.id.as_str()) == watched);
            let next = match (step, at) {
                (0, _) => None,
                (1, None) => Some(0),
                (_, None) => shown.len().checked_sub(1),
                (1, Some(at)) => Some(at + 1),
                (_, Some(at)) => at.checked_sub(1),
            };
            chosen = chosen.or(next.and_then(|at| shown.get(at)).map(|app| app.id.clone()));
        }
        ui.add_space(2.0);
        if apps.is_empty() {
            ui.label("No applications found.");
            ui.label(RichText::new("They appear here as soon as your desktop starts one with systemd. To count a command, run it with: netglance run -- CMD").weak());
        } else if shown.is_empty() {
            ui.label(format!("Nothing is called \"{}\".", self.search));
            if ui.button("Clear the search").clicked() {
                chosen = None;
                self.search.clear();
                return chosen;
            }
        }
        let list = ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            for app in &shown {
                if row(ui, app, watched, unit) {
                    chosen = Some(app.id.clone());
                }
            }
        });
        self.hovered = ui.rect_contains_pointer(list.inner_rect);
        chosen
    }

    /// The apps that the search finds, in the order in which they stand.
    fn shown<'a>(&mut self, apps: &'a [AppReading]) -> Vec<&'a AppReading> {
        if !self.hovered {
            self.order = apps.iter().map(|app| app.id.clone()).collect();
        }
        let wanted = self.search.to_lowercase();
        let found = |app: &&AppReading| [&app.name, &app.id].iter().any(|text| text.to_lowercase().contains(&wanted));
        let mut shown: Vec<_> = apps.iter().filter(found).collect();
        shown.sort_by_key(|app| self.order.iter().position(|id| *id == app.id).unwrap_or(usize::MAX));
        shown
    }
}

fn row(ui: &mut Ui, app: &AppReading, watched: Option<&str>, unit: Unit) -> bool {
    let total = app.rate.map(|rate| rate.rx + rate.tx);
    let rate =
        total.map_or(String::new(), |total| if total < 0.5 { "–".to_owned() } else { format::rate(total, unit) });
    let selected = watched == Some(app.id.as_str());
    let button = match &app.icon {
        Some(icon) => {
            let image = Image::new(format!("file://{}", icon.display())).fit_to_exact_size(Vec2::splat(18.0));
            Button::new((image, app.name.as_str()))
        }
        None => Button::new(app.name.as_str()),
    };
    let button =
        button.right_text(RichText::new(rate.as_str()).small()).selected(selected).frame_when_inactive(selected);
    let response = ui.add_sized(Vec2::new(ui.available_width(), 28.0), button.truncate());
    response.widget_info(|| {
        let label = if rate.is_empty() { app.name.clone() } else { format!("{}, {rate}", app.name) };
        eframe::egui::WidgetInfo::selected(eframe::egui::accesskit::Role::Button, true, selected, label)
    });
    let clicked = response.clicked();
    response.on_hover_text(app.cgroups.join("\n"));
    clicked
}
