//! What stands below the user's own apps in the lists: system services, and what can be had for a password. They are in no sum.

use eframe::egui::{Button, CollapsingHeader, RichText, Ui, WidgetInfo, accesskit::Role};

use super::bars::WAITING;
use crate::{
    look::sampler::{
        Exact,
        grants::{Grant, Permission},
    },
    show::update::Update,
};

/// Something that an administrator has not allowed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// What is asked for.
    pub grant: Grant,
    is_asking: bool,
    /// A question is open, this one or another: a person has one password dialog in front of them.
    is_busy: bool,
}

/// What a person gives and gets for it.
const WHAT_IT_TAKES: &str = "Needs an administrator’s password, once until you quit netglance.";
/// What the section of system services is called.
const SYSTEM_SERVICES: &str = "System services";

impl Offer {
    /// Of one of them; `None`: it is granted, or not to be had here.
    pub(super) fn of(update: &Update, grant: Grant) -> Option<Self> {
        let is_there = update.exact == Exact::Counting && (grant != Grant::Forwarded || update.has_forwarding);
        let permission = update.grants.of(grant);
        (is_there && *permission != Permission::Granted).then(|| Self {
            grant,
            is_asking: *permission == Permission::Asking,
            is_busy: update.asking || update.grants.is_asking(),
        })
    }

    /// All that there are, in the order in which they stand.
    pub(super) fn all(update: &Update) -> Vec<Self> {
        [Grant::Forwarded, Grant::SystemServices].into_iter().filter_map(|grant| Self::of(update, grant)).collect()
    }

    fn section(self) -> &'static str {
        match self.grant {
            Grant::SystemServices => SYSTEM_SERVICES,
            Grant::Forwarded => "Containers and virtual machines",
        }
    }

    fn button(self) -> &'static str {
        match self.grant {
            Grant::SystemServices => "Show System Services…",
            Grant::Forwarded => "Count Containers…",
        }
    }

    fn hint(self) -> &'static str {
        match self.grant {
            Grant::SystemServices => {
                "Shows exactly what each system service moves, such as the SSH server or a web server. They are not yours, so \
                 they are not part of “All applications”, and nothing of them is recorded."
            }
            Grant::Forwarded => "Counts what this computer forwards for containers and virtual machines.",
        }
    }

    /// Its button. Whether it was pressed.
    pub(super) fn press(self, ui: &mut Ui) -> bool {
        ui.add_enabled(!self.is_busy, Button::new(self.button())).on_hover_text(self.hint()).clicked()
    }

    /// What a person gives for it, or that they are being asked.
    pub(super) fn takes(self) -> &'static str {
        if self.is_asking { WAITING } else { WHAT_IT_TAKES }
    }

    /// The section, below one another. Whether its button was pressed.
    pub(super) fn ui(self, ui: &mut Ui) -> bool {
        ui.add_space(6.0);
        ui.label(RichText::new(self.section()).small().weak());
        let pressed = self.press(ui);
        ui.label(RichText::new(self.takes()).small().weak());
        pressed
    }

    /// The section in one line. Whether its button was pressed.
    pub(super) fn line(self, ui: &mut Ui) -> bool {
        ui.spacing_mut().item_spacing.x = 10.0;
        ui.label(RichText::new(self.section()).small().weak());
        let pressed = self.press(ui);
        ui.label(RichText::new(self.takes()).small().weak());
        pressed
    }
}

/// The line above the system services, which shows and hides them. Whether it was pressed.
pub(super) fn services_title(ui: &mut Ui, count: usize, open: bool) -> bool {
    ui.add_space(4.0);
    let title = format!("{SYSTEM_SERVICES} ({count})");
    let hint = "They are not part of “All applications”, and nothing of them is recorded";
    let header =
        CollapsingHeader::new(RichText::new(&title).small().weak()).id_salt("system services").open(Some(open));
    let response = header.show_unindented(ui, |_| {}).header_response.on_hover_text(hint);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, open, &title));
    response.clicked()
}
