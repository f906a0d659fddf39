//! What runs now, to be ticked: apps with their units below them, containers and virtual machines.

use std::path::Path;

use eframe::egui::{Checkbox, Frame, Label, Margin, RichText, ScrollArea, TextEdit, TextWrapMode, Ui};
use netglance_dbus::text::printable;

use super::{
    super::{icon::app_icon, picker},
    draft::Draft,
    parts::{Part, PartUnit, Parts},
};
use crate::look::target::Target;

/// The list takes this part of the page, but no less and no more than these.
const SHARE: f32 = 0.45;
const HEIGHT: std::ops::RangeInclusive<f32> = 190.0..=460.0;
const ROW_HEIGHT: f32 = 25.0;
const INDENT: f32 = 28.0;

/// A box to tick.
struct Tick<'a> {
    on: bool,
    /// It is as it is for this reason.
    why: Option<String>,
    icon: Option<Option<&'a Path>>,
    name: &'a str,
    indent: f32,
}

/// Draws the list with what finds something in it, and takes what is ticked into the draft.
pub fn ui(ui: &mut Ui, draft: &mut Draft, search: &mut String, parts: &Parts<'_>) {
    let field = TextEdit::singleline(search).hint_text("Search what runs now").desired_width(280.0);
    let field = ui.add(field);
    ui.ctx().accesskit_node_builder(field.id, |node| node.set_label("Search what runs now"));
    let wanted = search.trim().to_lowercase();
    let finds = |text: &str| text.to_lowercase().contains(&wanted);
    let found =
        |part: &&Part<'_>| finds(&part.name) || finds(&part.key) || part.units.iter().any(|unit| finds(&unit.name));
    let typed = draft.typed();
    let is_service = |part: &Part<'_>| part.app.is_some_and(picker::is_service);
    let frame =
        Frame::new().fill(ui.visuals().faint_bg_color).corner_radius(6.0).inner_margin(Margin::symmetric(10, 6));
    let height = (ui.clip_rect().height() * SHARE).clamp(*HEIGHT.start(), *HEIGHT.end());
    frame.show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        ui.spacing_mut().interact_size.y = ROW_HEIGHT;
        ui.style_mut().wrap_mode = Some(TextWrapMode::Truncate);
        let area = ScrollArea::vertical().id_salt("what runs").max_height(height).min_scrolled_height(height);
        area.auto_shrink([false, true]).show(ui, |ui| {
            ended(ui, draft, parts);
            let (services, apps): (Vec<_>, Vec<_>) = parts.apps.iter().filter(found).partition(|part| is_service(part));
            let containers: Vec<_> = parts.containers.iter().filter(found).collect();
            if apps.is_empty() && services.is_empty() && containers.is_empty() {
                let nothing = if wanted.is_empty() {
                    "Nothing runs that netglance can see.".to_owned()
                } else {
                    format!("Nothing that runs now matches “{}”.", search.trim())
                };
                ui.add(Label::new(RichText::new(nothing).weak()));
            }
            for (title, list) in
                [("Applications", &apps), ("Services", &services), ("Containers and virtual machines", &containers)]
            {
                if !list.is_empty() {
                    ui.add_space(4.0);
                    ui.label(RichText::new(title).small().weak());
                }
                for part in list {
                    let of_containers = title.starts_with('C');
                    self::part(ui, draft, part, &typed, of_containers);
                }
            }
            super::super::keep_focus_in_view(ui, None);
        });
    });
}

/// The apps that belong to it and don't run now.
fn ended(ui: &mut Ui, draft: &mut Draft, parts: &Parts<'_>) {
    let runs = |id: &String| parts.apps.iter().any(|part| part.key == *id);
    let ended: Vec<_> = draft.apps.iter().filter(|id| !runs(id)).cloned().collect();
    for id in ended {
        let name = format!("{} (not running)", printable(&id));
        let tick = Tick { on: true, why: None, icon: Some(None), name: &name, indent: 0.0 };
        if tick.ui(ui) == Some(false) {
            draft.apps.retain(|other| *other != id);
        }
    }
}

fn part(ui: &mut Ui, draft: &mut Draft, part: &Part<'_>, typed: &Target, of_containers: bool) {
    let by_pattern = |unit: &PartUnit| unit.paths.iter().all(|path| typed.unit_of(path).is_some());
    let on = draft.ticks(part, of_containers);
    let why = match &part.taken {
        Some(own) if !on => Some(format!("already in {}", printable(own))),
        _ => (!on && part.units.iter().all(by_pattern)).then(|| "by a pattern".to_owned()),
    };
    let shown = on || why.as_deref() == Some("by a pattern");
    let tick = Tick { on: shown, why, icon: Some(part.icon), name: &part.name, indent: 0.0 };
    if let Some(on) = tick.ui(ui) {
        draft.tick(part, of_containers, on);
    }
    // One unit is the same as its app.
    if part.units.len() < 2 && !part.units.iter().any(|unit| draft.ticks_unit(unit, of_containers)) {
        return;
    }
    for unit in &part.units {
        let ticked = draft.ticks_unit(unit, of_containers);
        let why = match &unit.taken {
            _ if on => Some(format!("with {}", part.name)),
            Some(own) if !ticked => Some(format!("already in {}", printable(own))),
            _ => (!ticked && by_pattern(unit)).then(|| "by a pattern".to_owned()),
        };
        let shown = on || ticked || why.as_deref() == Some("by a pattern");
        let tick = Tick { on: shown, why, icon: None, name: &unit.name, indent: INDENT };
        if let Some(on) = tick.ui(ui) {
            draft.tick_unit(unit, of_containers, on);
        }
    }
}

impl Tick<'_> {
    /// Draws it. What it is now, if that was changed.
    fn ui(&self, ui: &mut Ui) -> Option<bool> {
        let mut on = self.on;
        let enabled = self.why.is_none();
        let response = ui.horizontal(|ui| {
            ui.add_space(self.indent);
            // An empty box is nothing but its border.
            ui.visuals_mut().widgets.inactive.bg_stroke.color = ui.visuals().weak_text_color();
            let shown = match &self.why {
                Some(why) => format!("{} ({why})", self.name),
                None => self.name.to_owned(),
            };
            let response = match self.icon {
                Some(icon) => {
                    let icon = app_icon(ui, icon);
                    ui.add_enabled(enabled, Checkbox::new(&mut on, (icon, shown.as_str())))
                }
                None => ui.add_enabled(enabled, Checkbox::new(&mut on, shown.as_str())),
            };
            response.on_hover_text(&shown)
        });
        response.inner.changed().then_some(on)
    }
}
