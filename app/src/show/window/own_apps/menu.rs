//! What an app's menu offers: to make an app of one's own of it, or to change one.

use eframe::egui::{Button, Popup, Response, SetOpenCommand, Ui, WidgetInfo, accesskit::Role};
use netglance_dbus::text::printable;

use super::super::{figures::MORE, keys::Action};
use crate::look::reading::{AppReading, Kind};

/// What a person wants to do with apps of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Make one.
    New,
    /// Make one with this app in it, by its id.
    GroupWith(String),
    /// Take an app into one.
    AddTo {
        /// The one that there is, by its name.
        own: String,
        /// The app, by its id.
        id: String,
    },
    /// Change the one of this name.
    Edit(String),
    /// Delete the one of this name.
    Delete(String),
}

/// So many of one's own apps are offered to take an app in.
const OFFERED: usize = 8;

/// The menu of a row: by the mouse's other button, or by the keyboard. `apps`: all there are.
pub fn of_row(ui: &Ui, row: &Response, app: &AppReading, apps: &[AppReading]) -> Option<Asked> {
    if app.kind == Kind::System {
        return None;
    }
    let by_keyboard = row.has_focus() && Action::Menu.asked(ui);
    // Where the pointer was, or below the row.
    let kept = row.id.with("menu by keyboard");
    if by_keyboard || row.secondary_clicked() {
        ui.data_mut(|data| data.insert_temp(kept, by_keyboard));
    }
    let mut popup = Popup::context_menu(row);
    if ui.data(|data| data.get_temp(kept)) == Some(true) {
        popup = popup.anchor(row);
    }
    if by_keyboard {
        popup = popup.open_memory(Some(SetOpenCommand::Bool(true)));
    }
    let mut asked = None;
    popup.accessible_name(format!("Menu of {}", app.name)).show(|ui| {
        asked = items(ui, app, apps, |ui, first| {
            // Whoever came by the keyboard goes on with it.
            if ui.memory(|m| m.has_focus(row.id)) {
                first.request_focus();
            }
        });
    });
    asked
}

/// The same as a button that is seen.
pub fn button(ui: &mut Ui, app: &AppReading, apps: &[AppReading]) -> Option<Asked> {
    if app.kind == Kind::System {
        return None;
    }
    let menu = ui.menu_button(MORE, |ui| items(ui, app, apps, |_, _| {}));
    let name = format!("Menu of {}", app.name);
    menu.response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
    menu.response.on_hover_text("Group with other applications");
    menu.inner.flatten()
}

/// The menu's lines.
fn items(ui: &mut Ui, app: &AppReading, apps: &[AppReading], opened: impl FnOnce(&Ui, &Response)) -> Option<Asked> {
    let asked = lines(ui, app, apps, opened);
    if asked.is_some() {
        // Also where it was the keyboard.
        ui.close();
    }
    asked
}

fn lines(ui: &mut Ui, app: &AppReading, apps: &[AppReading], opened: impl FnOnce(&Ui, &Response)) -> Option<Asked> {
    let mut asked = None;
    if app.kind == Kind::Own {
        let edit = ui.add(Button::new("Edit…"));
        opened(ui, &edit);
        if edit.clicked() {
            asked = Some(Asked::Edit(app.id.clone()));
        }
        if ui.button("Delete…").clicked() {
            asked = Some(Asked::Delete(app.id.clone()));
        }
        return asked;
    }
    let group = ui.button("Group With…");
    opened(ui, &group);
    if group.clicked() {
        asked = Some(Asked::GroupWith(app.id.clone()));
    }
    for own in apps.iter().filter(|own| own.kind == Kind::Own).take(OFFERED) {
        if ui.button(format!("Add to {}…", printable(&own.name))).clicked() {
            asked = Some(Asked::AddTo { own: own.id.clone(), id: app.id.clone() });
        }
    }
    asked
}
