//! Patterns and paths that are typed, a row each.

use eframe::egui::{Id, Label, RichText, Ui, WidgetInfo, accesskit::Role};

use super::{
    super::field::{self, Field, Kind},
    draft::{Draft, Matches},
};

/// Patterns or paths that are typed, each with what it matches now, and a button that adds one. `words`: what one is called, and what
/// adds one.
pub fn rows(
    ui: &mut Ui,
    draft: &mut Draft,
    fields: impl Fn(&mut Draft) -> &mut Vec<Field>,
    words: (&str, &str),
    kind: &Kind<()>,
    matched: impl Fn(&Draft, &str) -> Matches,
) {
    let (name, add) = words;
    let mut removed = None;
    let ids = Id::unique(("rows of an own app", name));
    for at in 0..fields(draft).len() {
        let Some(mut field) = fields(draft).get(at).cloned() else { continue };
        let id = ids.with(at);
        let outcome = ui
            .horizontal(|ui| {
                let outcome = field.named(ui, id, &format!("{} {}", capital(name), at + 1), kind);
                let remove = ui.button("Remove");
                let label = format!("Remove {name} {}", at + 1);
                remove.widget_info(|| WidgetInfo::labeled(Role::Button, true, &label));
                if remove.clicked() {
                    removed = Some(at);
                }
                outcome
            })
            .inner;
        match field.wrong(&outcome) {
            Some(wrong) => field::say_wrong(ui, &wrong),
            None if outcome.value.is_ok() && !field.text().trim().is_empty() => {
                let text = matched(draft, field.text()).words();
                ui.add(Label::new(RichText::new(text).weak()).wrap());
            }
            None => {}
        }
        if let Some(place) = fields(draft).get_mut(at) {
            *place = field;
        }
    }
    if let Some(at) = removed {
        fields(draft).remove(at);
    }
    let button = ui.button(add);
    if button.clicked() {
        let list = fields(draft);
        let id = ids.with(list.len());
        list.push(Field::default());
        ui.memory_mut(|m| m.request_focus(id));
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
