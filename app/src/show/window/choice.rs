//! One of a few options, side by side: for a screen reader a group of radio buttons with a name. Tab goes to the chosen one and on to
//! the next control; the arrow keys choose within the group.

use eframe::egui::{
    Atom, Button, Color32, EventFilter, Id, IdSalt, Sense, Ui, UiBuilder, WidgetInfo, accesskit::Role, vec2,
};

use super::keys::Action;

/// One of the options.
pub struct Choice<T> {
    /// What is chosen with it.
    pub value: T,
    /// What stands on it.
    pub label: String,
    /// Its name, where that is longer.
    pub name: Option<String>,
    /// Colours that stand before the name, as one patch.
    pub swatch: Option<[Color32; 2]>,
}

impl<T> Choice<T> {
    /// An option that is nothing but its name.
    pub fn new(value: T, label: impl Into<String>) -> Self {
        Self { value, label: label.into(), name: None, swatch: None }
    }
}

/// Radio buttons of which one is chosen.
pub fn radios<T: PartialEq + Copy>(ui: &mut Ui, name: &str, chosen: &mut T, choices: &[Choice<T>]) {
    // An id of its own, so that the focus stays when something appears above.
    let id = Id::unique(("choice", name));
    let builder = UiBuilder::new().scope_id(id).accessibility_role(Role::RadioGroup).accessibility_label(name);
    ui.scope_builder(builder, |ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let at = choices.iter().position(|choice| choice.value == *chosen);
        let ids: Vec<_> = choices
            .iter()
            .enumerate()
            .map(|(this, choice)| {
                let (id, clicked) = option(ui, choice, at == Some(this), this == at.unwrap_or(0));
                if clicked {
                    *chosen = choice.value;
                }
                id
            })
            .collect();
        let Some(focused) = ids.iter().position(|id| ui.memory(|m| m.has_focus(*id))) else { return };
        let last = ids.len().saturating_sub(1);
        let next = step(ui).into_iter().fold(focused, |at, step| at.saturating_add_signed(step).min(last));
        if let (true, Some(choice), Some(id)) = (next != focused, choices.get(next), ids.get(next)) {
            *chosen = choice.value;
            ui.memory_mut(|m| m.request_focus(*id));
        }
    });
}

/// To the options before (-1) and after (1), one after the other.
fn step(ui: &Ui) -> Vec<isize> {
    let by = |at: usize| if at == 0 { -1 } else { 1 };
    [Action::Choose, Action::Step].into_iter().flat_map(|action| action.pressed(ui)).map(by).collect()
}

/// Draws an option. Its id, and whether it was clicked. `stop`: Tab stops here.
fn option<T>(ui: &mut Ui, choice: &Choice<T>, selected: bool, stop: bool) -> (Id, bool) {
    let patch_id = IdSalt::new("patch");
    let label = choice.label.as_str();
    let button = match choice.swatch {
        Some(_) => Button::selectable(selected, (Atom::custom(patch_id, vec2(24.0, 14.0)), label)),
        None => Button::selectable(selected, label),
    };
    let shown = button.sense(if stop { Sense::click() } else { Sense::CLICK }).atom_ui(ui);
    if let (Some(colours), Some(patch)) = (choice.swatch, shown.rect(patch_id)) {
        let (left, right) = patch.split_left_right_at_fraction(0.5);
        let halves = if colours[0] == colours[1] { [patch; 2] } else { [left, right] };
        for (half, colour) in halves.into_iter().zip(colours) {
            ui.painter().rect_filled(half, 2.0, colour);
        }
    }
    let response = shown.response;
    let name = choice.name.as_deref().unwrap_or(label);
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, ui.is_enabled(), selected, name));
    let arrows = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|m| m.set_focus_lock_filter(response.id, arrows));
    (response.id, response.clicked())
}
