//! Apps of one's own: what opens their page, and what happens to the settings then. It reads and writes no file itself.

pub mod colours;
mod draft;
mod list;
pub mod menu;
mod page;
mod parts;
mod rows;

use eframe::egui::{Button, CentralPanel, Frame, Id, Label, Margin, Modal, RichText, Ui};
use netglance_dbus::text::printable;

use super::{Window, keys::Action};
use crate::{
    base::{format, settings::OwnApp},
    show::update::{Command, Update},
};
use menu::Asked;
use page::Outcome;
pub use page::OwnAppPage;
use parts::Parts;

/// Something that is asked over everything.
struct Question {
    id: &'static str,
    title: String,
    text: String,
    yes: &'static str,
    no: &'static str,
    allowed: bool,
}

impl Question {
    /// `None`: no answer yet.
    fn ui(&self, ui: &Ui) -> Option<bool> {
        let frame = Frame::popup(ui.style()).inner_margin(18);
        let dialog = Modal::new(Id::unique(self.id)).frame(frame).show(ui.ctx(), |ui| {
            ui.set_width(430.0);
            ui.add(Label::new(RichText::new(&self.title).heading()).wrap());
            ui.add_space(4.0);
            ui.add(Label::new(&self.text).wrap());
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                let yes = ui.add_enabled(self.allowed, Button::new(self.yes)).clicked();
                let no = ui.button(self.no);
                if ui.memory(|m| m.focused()).is_none() {
                    no.request_focus();
                }
                yes.then_some(true).or(no.clicked().then_some(false))
            })
            .inner
        });
        let closed = Action::Close.asked(ui) || dialog.backdrop_response.clicked();
        dialog.inner.or(closed.then_some(false))
    }
}

impl Window {
    /// Does what an app's menu asks for.
    pub(super) fn open_own_app(&mut self, asked: &Asked) {
        let own = self.settings.own_apps();
        let find = |name: &str| own.iter().find(|app| app.name == name);
        let apps = self.update.as_ref().map(|update| update.apps.as_slice()).unwrap_or_default();
        let page = match asked {
            Asked::Delete(name) => {
                self.deleting = Some(name.clone());
                return;
            }
            Asked::Edit(name) => match find(name) {
                Some(app) => OwnAppPage::new(Some(app), &Parts::of(apps, Some(name))),
                None => return,
            },
            Asked::AddTo { own: name, id } => match find(name) {
                Some(app) => {
                    let parts = Parts::of(apps, Some(name));
                    let mut page = OwnAppPage::new(Some(app), &parts);
                    page.draft.tick_app(id, &parts);
                    page.at_first = page.draft.app();
                    page
                }
                None => return,
            },
            Asked::GroupWith(id) => {
                let parts = Parts::of(apps, None);
                let mut page = OwnAppPage::new(None, &parts);
                page.draft.tick_app(id, &parts);
                page.at_first = page.draft.app();
                page
            }
            Asked::New => OwnAppPage::new(None, &Parts::of(apps, None)),
        };
        self.close_pages();
        self.own_app_page = Some(page);
    }

    /// While something is typed that is not saved, a key that leads away asks first.
    pub(super) fn keep_what_is_typed(&mut self, ui: &Ui) {
        if self.deleting.is_some() {
            return;
        }
        let Some(page) = self.own_app_page.as_mut().filter(|page| page.is_changed()) else { return };
        let away =
            [Action::Usage, Action::Settings, Action::Proof, Action::Connections, Action::NewApp, Action::CloseWindow];
        if away.into_iter().fold(false, |asked, action| asked | action.asked(ui)) {
            page.may_close();
        }
    }

    pub(super) fn own_app_page(&mut self, ui: &mut Ui, update: &Update) {
        let inside = Frame::new().inner_margin(Margin { bottom: 12, ..Margin::same(16) });
        let settings = self.settings.clone();
        let Some(page) = &mut self.own_app_page else { return };
        let shown = CentralPanel::default().frame(inside).show(ui, |ui| page.ui(ui, update, &settings));
        let before = page.draft.before.clone();
        match shown.inner {
            Some(Outcome::Save(app)) => {
                let name = app.name.clone();
                self.choose_settings(ui.ctx(), draft::put(&settings, before.as_ref(), app));
                self.send(Command::Watch(vec![name]));
                self.picker.clear();
                self.close_pages();
            }
            Some(Outcome::Delete) => self.deleting = before.map(|app| app.name),
            Some(Outcome::Close) => self.close_pages(),
            None => {}
        }
    }

    /// Asks before an app goes.
    pub(super) fn ask_to_delete(&mut self, ui: &Ui, update: &Update) {
        let Some(name) = &self.deleting else { return };
        let back = OwnApp { name: name.clone(), ..OwnApp::default() }.is_built_in();
        let back =
            if back { " It comes with netglance, and an app that you give this name takes its place." } else { "" };
        let file = update.settings_error.as_ref().map(|error| format::sentence(&format!(" Cannot save now: {error}")));
        let question = Question {
            id: "delete an own app",
            title: format!("Delete {}?", printable(name)),
            text: format!(
                "Its parts are shown as single applications again. Nothing that was recorded is lost.{back}{}",
                file.as_deref().unwrap_or_default()
            ),
            yes: "Delete",
            no: "Cancel",
            allowed: file.is_none(),
        };
        let Some(answer) = question.ui(ui) else { return };
        if answer {
            let settings = draft::without(&self.settings, name);
            self.choose_settings(ui.ctx(), settings);
            self.send(Command::Watch(Vec::new()));
            self.close_pages();
        }
        self.deleting = None;
    }
}
