//! The page on which an app of one's own is made or changed.

use eframe::egui::{
    Align, Button, CollapsingHeader, Label, Layout, RichText, ScrollArea, Sense, Ui, WidgetInfo, accesskit::Role, vec2,
};
use netglance_dbus::text::printable;

use super::{
    super::{
        choice::{self, Choice},
        field::{self, Field, Kind},
        icon::app_icon,
        keep_focus_in_view,
        keys::Action,
        scroll_by_keys,
        settings_page::section,
    },
    Question, colours,
    draft::{self, Draft},
    list,
    parts::Parts,
    rows::rows,
};
use crate::{
    base::{
        format,
        settings::{self, OwnApp, Settings},
    },
    look::reading::{self, AppReading},
    show::update::Update,
};

/// What the page remembers between two frames.
#[derive(Debug)]
pub struct OwnAppPage {
    pub draft: Draft,
    /// As it was when the page was opened.
    pub at_first: OwnApp,
    search: String,
    colour: Colour,
    other_colour: Field,
    /// The paths of cgroups are shown.
    advanced: bool,
    /// Whether to throw away what was changed is asked.
    leaving: bool,
    /// Saving was tried while something was wrong.
    tried: bool,
    /// The page was not drawn yet.
    is_new: bool,
}

/// Which colour was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    /// The next that is free.
    Automatic,
    /// One of those that are offered.
    Of([u8; 3]),
    /// One that is typed.
    Other,
}

/// What came of a frame.
#[derive(Debug)]
pub enum Outcome {
    /// The app is as it should be.
    Save(OwnApp),
    /// It should go.
    Delete,
    /// The page is done with.
    Close,
}

const PAGE_WIDTH: f32 = 860.0;
/// What stands below the part that scrolls.
const FOOTER_HEIGHT: f32 = 66.0;
const NAME: Kind<()> = Kind { width: 280.0, hint: "Work", check: |_| Ok(()), step: |(), _| None };
const PATTERN_WIDTH: f32 = 350.0;
const UNIT: Kind<()> =
    Kind { width: PATTERN_WIDTH, hint: "backup-*.service", check: draft::pattern, step: |(), _| None };
const CONTAINER: Kind<()> = Kind { width: PATTERN_WIDTH, hint: "web-*", check: draft::pattern, step: |(), _| None };
const CGROUP: Kind<()> =
    Kind { width: PATTERN_WIDTH, hint: "/user.slice/user-1000.slice/…", check: draft::cgroup, step: |(), _| None };
const COLOUR: Kind<[u8; 3]> = Kind {
    width: 80.0,
    hint: "#3584e4",
    check: |text| match text {
        "" => Err("Enter a colour, such as #3584e4.".to_owned()),
        text => settings::colour(text).map_err(|reason| format::sentence(&reason)),
    },
    step: |_, _| None,
};
const ICON: Kind<()> =
    Kind { width: 280.0, hint: "Automatic, or a name or file", check: |_| Ok(()), step: |(), _| None };

impl OwnAppPage {
    /// A page for a new app, or for the one of this name in the settings.
    pub fn new(app: Option<&OwnApp>, parts: &Parts<'_>) -> Self {
        let draft = app.map_or_else(Draft::default, |app| Draft::of(app, parts));
        let colour = match draft.colour {
            None => Colour::Automatic,
            Some(colour) if colours::PALETTE.iter().any(|(_, offered)| *offered == colour) => Colour::Of(colour),
            Some(_) => Colour::Other,
        };
        Self {
            at_first: draft.app(),
            search: String::new(),
            colour,
            other_colour: Field::new(draft.colour.map(settings::colour_text).unwrap_or_default()),
            advanced: !draft.cgroups.is_empty(),
            leaving: false,
            tried: false,
            is_new: true,
            draft,
        }
    }

    /// Something was typed or ticked that is not in force.
    pub fn is_changed(&self) -> bool {
        self.draft.is_changed(&self.at_first)
    }

    /// A dialog is open.
    pub fn asks(&self) -> bool {
        self.leaving
    }

    /// Closes the page, or asks first where something would be lost. Whether it may close.
    pub fn may_close(&mut self) -> bool {
        self.leaving = self.is_changed();
        !self.leaving
    }

    /// Draws the page.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &Settings) -> Option<Outcome> {
        let before = self.draft.before.as_ref().map(|app| app.name.clone());
        let parts = Parts::of(&update.apps, before.as_deref());
        match &before {
            Some(name) => {
                _ = ui.add(Label::new(RichText::new(format!("Edit {}", printable(name))).heading()).truncate());
            }
            None => _ = ui.heading("New App"),
        }
        ui.separator();
        let above = vec2(ui.available_width(), ui.available_height() - FOOTER_HEIGHT);
        ui.allocate_ui(above, |ui| {
            ui.set_min_size(above);
            ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                ui.set_max_width(PAGE_WIDTH.min(ui.available_width() - 12.0));
                self.name(ui, update, settings);
                section(ui, "What Belongs to It");
                ui.label("Tick applications, single services, or containers. Their traffic is added up.");
                list::ui(ui, &mut self.draft, &mut self.search, &parts);
                self.patterns(ui, &update.apps);
                self.appearance(ui, &update.apps);
                self.cgroups(ui, &update.apps);
                ui.add_space(12.0);
                scroll_by_keys(ui);
                keep_focus_in_view(ui, None);
            });
        });
        ui.separator();
        let outcome = self.footer(ui, update, settings, &parts);
        self.is_new = false;
        match self.leave(ui) {
            Some(outcome) => Some(outcome),
            None => outcome,
        }
    }

    fn name(&mut self, ui: &mut Ui, update: &Update, settings: &Settings) {
        let wrong = self.draft.name_wrong(settings, &update.apps);
        let shown = ui.horizontal(|ui| {
            let title = ui.label(RichText::new("Name").strong());
            if self.is_new {
                ui.memory_mut(|m| m.request_focus(title.id.with("field")));
            }
            let kind = Kind { check: if wrong.is_some() { |_: &str| Err(String::new()) } else { NAME.check }, ..NAME };
            let outcome = self.draft.name.ui(ui, &title, &kind);
            self.draft.name.wrong(&outcome).is_some()
        });
        match (wrong, self.draft.name_note(&update.apps)) {
            (Some(wrong), _) if shown.inner => field::say_wrong(ui, &wrong),
            (None, Some(note)) => _ = ui.label(RichText::new(note).weak()),
            _ => {}
        }
    }

    fn patterns(&mut self, ui: &mut Ui, apps: &[AppReading]) {
        section(ui, "Patterns");
        ui.label(
            "A pattern also includes what starts later. In it, * stands for any text, ? for one character, and […] for one of \
             several characters.",
        );
        ui.add_space(4.0);
        ui.label(RichText::new("Names of services and other systemd units").strong());
        let matched = |draft: &Draft, text: &str| draft.units_matched(text, apps);
        rows(
            ui,
            &mut self.draft,
            |draft| &mut draft.unit_patterns,
            ("unit pattern", "Add Unit Pattern"),
            &UNIT,
            matched,
        );
        ui.add_space(6.0);
        ui.label(RichText::new("Names of containers, virtual machines and compose projects").strong());
        let matched = |draft: &Draft, text: &str| draft.containers_matched(text, apps);
        let words = ("container pattern", "Add Container Pattern");
        rows(ui, &mut self.draft, |draft| &mut draft.container_patterns, words, &CONTAINER, matched);
    }

    fn appearance(&mut self, ui: &mut Ui, apps: &[AppReading]) {
        section(ui, "Appearance");
        ui.label("Colour");
        let automatic = Choice::new(Colour::Automatic, "Automatic");
        let offered = colours::PALETTE.map(|(name, colour)| Choice {
            swatch: Some([colours::egui(colour); 2]),
            ..Choice::new(Colour::Of(colour), name)
        });
        let choices: Vec<_> =
            [automatic].into_iter().chain(offered).chain([Choice::new(Colour::Other, "Other")]).collect();
        ui.horizontal_wrapped(|ui| choice::radios(ui, "Colour", &mut self.colour, &choices));
        self.draft.colour = match self.colour {
            Colour::Automatic => None,
            Colour::Of(colour) => Some(colour),
            Colour::Other => {
                let outcome = ui
                    .horizontal(|ui| {
                        let title = ui.label("Red, green and blue");
                        let outcome = self.other_colour.ui(ui, &title, &COLOUR);
                        if let Ok(colour) = &outcome.value {
                            choice_patch(ui, *colour);
                        }
                        outcome
                    })
                    .inner;
                if let Some(wrong) = self.other_colour.wrong(&outcome) {
                    field::say_wrong(ui, &wrong);
                }
                outcome.value.ok().or(self.draft.colour)
            }
        };
        ui.add_space(4.0);
        ui.horizontal(|ui| {
            let title = ui.label("Icon");
            let path = self.draft.icon.text().trim().to_owned();
            let own = self.draft.before.as_ref().and_then(|app| apps.iter().find(|other| other.id == app.name));
            let file = if path.starts_with('/') {
                Some(path.as_str().as_ref())
            } else {
                own.and_then(|app| app.icon.as_deref())
            };
            ui.add(app_icon(ui, file));
            self.draft.icon.ui(ui, &title, &ICON);
            ui.menu_button("From an Application", |ui| {
                let mut with_icons: Vec<_> =
                    apps.iter().filter(|app| app.kind != reading::Kind::Own && app.icon.is_some()).collect();
                with_icons.sort_by_cached_key(|app| app.name.to_lowercase());
                ScrollArea::vertical().max_height(260.0).show(ui, |ui| {
                    for app in &with_icons {
                        let button = Button::new((app_icon(ui, app.icon.as_deref()), app.name.as_str()));
                        if ui.add(button).clicked()
                            && let Some(icon) = &app.icon
                        {
                            self.draft.icon = Field::new(icon.display().to_string());
                        }
                    }
                    if with_icons.is_empty() {
                        ui.label("No application that runs now has an icon.");
                    }
                });
            });
        });
    }

    fn cgroups(&mut self, ui: &mut Ui, apps: &[AppReading]) {
        ui.add_space(8.0);
        let header = CollapsingHeader::new("Advanced").id_salt("advanced").open(Some(self.advanced));
        let response = header.show_unindented(ui, |_| {}).header_response;
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, self.advanced, "Advanced"));
        if response.clicked() {
            self.advanced = !self.advanced;
        }
        if !self.advanced {
            return;
        }
        ui.label("Control groups: everything at and below a path, as in /proc/PID/cgroup.");
        let matched = |draft: &Draft, text: &str| draft.cgroup_matched(text, apps);
        rows(ui, &mut self.draft, |draft| &mut draft.cgroups, ("cgroup path", "Add Path"), &CGROUP, matched);
    }

    /// What the app will be, and what may become of the page.
    fn footer(&mut self, ui: &mut Ui, update: &Update, settings: &Settings, parts: &Parts<'_>) -> Option<Outcome> {
        let wrong = self.draft.wrong(settings, &update.apps).or_else(|| self.colour_wrong());
        let file = update.settings_error.as_ref().map(|error| format::sentence(&format!("Cannot save now: {error}")));
        let said = match (&file, &wrong) {
            (Some(file), _) => RichText::new(file).color(ui.visuals().error_fg_color),
            (None, Some(wrong)) if self.tried => RichText::new(wrong).color(ui.visuals().error_fg_color),
            _ => RichText::new(self.draft.summary(settings, &update.apps, parts)),
        };
        ui.add(Label::new(said.clone()).truncate()).on_hover_text(said.text());
        let mut outcome = None;
        ui.horizontal(|ui| {
            if ui.add_enabled(file.is_none(), Button::new("Save")).clicked() {
                match wrong {
                    None => outcome = Some(Outcome::Save(self.draft.app())),
                    Some(_) => {
                        self.tried = true;
                        self.draft.finish();
                        self.other_colour.finish();
                    }
                }
            }
            if ui.button("Cancel").on_hover_text(Action::Close.text()).clicked() {
                outcome = Some(Outcome::Close);
            }
            if self.draft.before.is_some() {
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    if ui.add_enabled(file.is_none(), Button::new("Delete…")).clicked() {
                        outcome = Some(Outcome::Delete);
                    }
                });
            }
        });
        outcome
    }

    fn colour_wrong(&self) -> Option<String> {
        let typed = (self.colour == Colour::Other).then(|| (COLOUR.check)(self.other_colour.text().trim()));
        typed.and_then(Result::err)
    }

    /// Asks whether to throw away what was changed.
    fn leave(&mut self, ui: &Ui) -> Option<Outcome> {
        if !self.leaving {
            return None;
        }
        let question = Question {
            id: "discard",
            title: "Discard Changes?".to_owned(),
            text: "What you changed on this page has not been saved.".to_owned(),
            yes: "Discard",
            no: "Keep Editing",
            allowed: true,
        };
        let answer = question.ui(ui)?;
        self.leaving = false;
        answer.then_some(Outcome::Close)
    }
}

/// A patch of a colour.
fn choice_patch(ui: &mut Ui, colour: [u8; 3]) {
    let (rect, _) = ui.allocate_exact_size(vec2(24.0, 14.0), Sense::hover());
    ui.painter().rect_filled(rect, 2.0, colours::egui(colour));
}
