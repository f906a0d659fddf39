//! The keys: one list of what can be pressed and what that does. The help, the handlers and the test that presses each of them in a
//! real window all read it, so that no promise can stand there alone.

use std::{collections::HashSet, mem};

use eframe::egui::{
    Event, Frame, Grid, Id, Key, Modal, ModifierNames, Modifiers, Popup, RichText, ScrollArea, Ui, ViewportCommand,
};

use super::{
    Window,
    connections::{ConnectionsPage, view::Part},
    own_apps::menu::Asked,
};
use crate::{keep::calendar::Period, show::update::Command};

/// What a key or a click does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The search field takes the focus.
    Search,
    /// In the search field: the first application found is shown, alone.
    ShowFirst,
    /// In the search field: the first application found is shown beside the others.
    AddFirst,
    /// The application before or after is shown.
    Step,
    /// All applications are shown together.
    Back,
    /// On an application: it is shown beside the others, or no longer.
    Toggle,
    /// The focus moves.
    MoveFocus,
    /// The control with the focus is pressed.
    Press,
    /// The option before or after is chosen.
    Choose,
    /// The chart's span.
    Span,
    /// The chart moves in time.
    Pan,
    /// The chart shows less time, or more.
    Zoom,
    /// The chart goes back to now.
    Now,
    /// The chart stands still.
    Pause,
    /// The chart's figures go to the clipboard.
    Copy,
    /// The chart is saved as a picture.
    Save,
    /// The usage opens.
    Usage,
    /// The connections open.
    Connections,
    /// A page opens on which an app of one's own is made.
    NewApp,
    /// On an application: its menu opens.
    Menu,
    /// The settings open.
    Settings,
    /// The proof opens.
    Proof,
    /// The list of keys opens.
    Help,
    /// What is open closes.
    Close,
    /// The window closes.
    CloseWindow,
    /// netglance ends.
    Quit,
}

/// One way to ask for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// A key.
    Key(Modifiers, Key),
    /// The mouse's first button.
    Click(Modifiers),
}

/// A line of the help.
#[derive(Clone, Copy, Debug)]
pub struct Shortcut {
    /// What it does, for the program.
    pub action: Action,
    /// Each way to ask for it.
    pub presses: &'static [Press],
    /// What it does, for a person.
    pub does: &'static str,
}

const fn key(key: Key) -> Press {
    Press::Key(Modifiers::NONE, key)
}

const fn ctrl(key: Key) -> Press {
    Press::Key(Modifiers::COMMAND, key)
}

/// All there are, in the order of the help.
#[rustfmt::skip]
pub const SHORTCUTS: &[Shortcut] = &[
    Shortcut { action: Action::Search, presses: &[ctrl(Key::F)], does: "Search for an application, or filter the connections" },
    Shortcut { action: Action::ShowFirst, presses: &[key(Key::Enter)], does: "In the search field: show the first match" },
    Shortcut { action: Action::AddFirst, presses: &[ctrl(Key::Enter)], does: "In the search field: add the first match to the charts" },
    Shortcut { action: Action::Step, presses: &[key(Key::ArrowUp), key(Key::ArrowDown)], does: "Show the previous or next application" },
    Shortcut { action: Action::Back, presses: &[Press::Key(Modifiers::ALT, Key::ArrowLeft), key(Key::Backspace)], does: "Back to all applications" },
    Shortcut { action: Action::Toggle, presses: &[Press::Click(Modifiers::COMMAND)], does: "Add an application to the charts, or remove it" },
    Shortcut { action: Action::Span, presses: &[key(Key::Num1), key(Key::Num2), key(Key::Num3), key(Key::Num4), key(Key::Num5), key(Key::Num6), key(Key::Num7), key(Key::Num8)], does: "Show the last minute (1) up to the last year (8)" },
    Shortcut { action: Action::Pan, presses: &[key(Key::ArrowLeft), key(Key::ArrowRight)], does: "Move the chart to an earlier or later time" },
    Shortcut { action: Action::Zoom, presses: &[key(Key::Minus), key(Key::Plus)], does: "Show more or less time in the chart" },
    Shortcut { action: Action::Now, presses: &[key(Key::Home)], does: "Move the chart back to now" },
    Shortcut { action: Action::Pause, presses: &[key(Key::Space)], does: "Pause or resume the chart (counting continues)" },
    Shortcut { action: Action::Copy, presses: &[ctrl(Key::C)], does: "Copy the figures of the chart, or the table of connections" },
    Shortcut { action: Action::Save, presses: &[ctrl(Key::S)], does: "Save the chart as a picture" },
    Shortcut { action: Action::MoveFocus, presses: &[key(Key::Tab), Press::Key(Modifiers::SHIFT, Key::Tab)], does: "Move to the next or previous control" },
    Shortcut { action: Action::Press, presses: &[key(Key::Enter), key(Key::Space)], does: "Press the control that has the focus" },
    Shortcut { action: Action::Choose, presses: &[key(Key::ArrowLeft), key(Key::ArrowRight)], does: "Choose the previous or next option of a group" },
    Shortcut { action: Action::Usage, presses: &[ctrl(Key::U)], does: "Open today's usage" },
    Shortcut { action: Action::Connections, presses: &[ctrl(Key::N)], does: "Open the connections: which addresses an application talks to" },
    Shortcut { action: Action::NewApp, presses: &[ctrl(Key::G)], does: "Make an app of your own out of several" },
    Shortcut { action: Action::Menu, presses: &[key(Key::Menu), Press::Key(Modifiers::SHIFT, Key::F10)], does: "Open the menu of the application that has the focus" },
    Shortcut { action: Action::Settings, presses: &[ctrl(Key::Comma)], does: "Open the settings" },
    Shortcut { action: Action::Proof, presses: &[ctrl(Key::P)], does: "Open the proof that the figures are right" },
    Shortcut { action: Action::Help, presses: &[key(Key::F1), key(Key::Questionmark)], does: "Show this help" },
    Shortcut { action: Action::Close, presses: &[key(Key::Escape)], does: "Close the open page" },
    Shortcut { action: Action::CloseWindow, presses: &[ctrl(Key::W)], does: "Close this window" },
    Shortcut { action: Action::Quit, presses: &[ctrl(Key::Q)], does: "Quit netglance" },
];

impl Press {
    /// As a keyboard is labelled: "Ctrl+F".
    pub fn text(self) -> String {
        let (modifiers, what) = match self {
            Self::Key(modifiers, Key::Questionmark) => (modifiers, "?"),
            Self::Key(modifiers, Key::Plus) => (modifiers, "+"),
            Self::Key(modifiers, Key::Minus) => (modifiers, "-"),
            Self::Key(modifiers, Key::Menu) => (modifiers, "Menu key"),
            Self::Key(modifiers, key) => (modifiers, key.name()),
            Self::Click(modifiers) => (modifiers, "click"),
        };
        let held = ModifierNames::NAMES.format(&modifiers, false);
        if held.is_empty() { what.to_owned() } else { format!("{held}+{what}") }
    }

    /// Whether this was pressed. As egui has it, Shift and Alt may be down besides: a question mark needs Shift.
    fn is(self, event: &Event) -> bool {
        match (self, event) {
            (Self::Key(wanted, key), Event::Key { key: pressed, pressed: true, modifiers, .. }) => {
                *pressed == key && modifiers.matches_logically(wanted)
            }
            // The clipboard's keys come by their meaning.
            (Self::Key(Modifiers::COMMAND, Key::C), Event::Copy) => true,
            _ => false,
        }
    }

    /// Whether a text field has a use for it.
    fn types(self) -> bool {
        match self {
            Self::Key(Modifiers::COMMAND, key) => key == Key::C,
            Self::Key(Modifiers::NONE, key) => {
                let digits = Key::Num0..=Key::Num9;
                let others = [Key::Backspace, Key::Space, Key::Questionmark, Key::Minus, Key::Plus, Key::Home];
                digits.contains(&key) || others.contains(&key)
            }
            _ => false,
        }
    }
}

impl Action {
    fn presses(self) -> &'static [Press] {
        SHORTCUTS.iter().find(|shortcut| shortcut.action == self).map_or(&[], |shortcut| shortcut.presses)
    }

    /// What to press for it: "F1, ?".
    pub fn text(self) -> String {
        self.presses().iter().map(|press| press.text()).collect::<Vec<_>>().join(", ")
    }

    /// Which of its keys were just pressed, each counted from 0, in the order in which they were; nobody else then gets them. A
    /// slow frame may have several.
    pub fn pressed(self, ui: &Ui) -> Vec<usize> {
        let typing = ui.ctx().text_edit_focused();
        let presses = self.presses();
        let mut pressed = Vec::new();
        ui.input_mut(|i| {
            i.events.retain(|event| {
                let at = presses.iter().position(|press| press.is(event) && !(typing && press.types()));
                pressed.extend(at);
                at.is_none()
            });
        });
        pressed
    }

    /// Whether any of its keys was just pressed.
    pub fn asked(self, ui: &Ui) -> bool {
        !self.pressed(ui).is_empty()
    }

    /// Whether the keys were down with which a click means this. They may be up again before the click is drawn.
    pub fn modified(self, ui: &Ui) -> bool {
        let held = ui.input(|i| {
            let released = i.events.iter().rev().find_map(|event| match event {
                Event::PointerButton { pressed: false, modifiers, .. } => Some(*modifiers),
                _ => None,
            });
            released.unwrap_or(i.modifiers)
        });
        self.presses().iter().any(|press| matches!(press, Press::Click(wanted) if held.matches_logically(*wanted)))
    }
}

/// Lets one key or click through that acts in each frame. egui moves the focus at most once a frame: of a Tab and a Return that come
/// within a slow one, the Return would press what had the focus before. And what a key means after a click, such as one that opens
/// a menu, is known once the click is drawn.
#[derive(Debug, Default)]
pub struct Pace {
    /// What is for the next frames, in its order.
    waiting: Vec<Event>,
    /// The keys that are down. One that is pressed again repeats.
    down: HashSet<Key>,
    /// So many events were let through and no frame was drawn since.
    not_drawn: usize,
}

impl Pace {
    /// Takes what has happened since the last frame, and leaves what this one is about. `typing`: a text field has the focus, and what
    /// is typed there need not wait. Whether more is to come.
    pub fn hold_back(&mut self, events: &mut Vec<Event>, typing: bool) -> bool {
        // What was not drawn is given once more.
        let at = self.not_drawn.min(events.len());
        events.splice(at..at, mem::take(&mut self.waiting));
        let unseen = events.iter().skip(at);
        let acts = unseen.map(|event| self.acts(event, typing)).position(|acts| acts);
        self.waiting = acts.map_or_else(Vec::new, |acts| events.split_off(at + acts + 1));
        self.not_drawn = events.len();
        !self.waiting.is_empty()
    }

    /// A frame was drawn.
    pub fn drawn(&mut self) {
        self.not_drawn = 0;
    }

    /// Whether what a later key means may depend on what this one does.
    fn acts(&mut self, event: &Event, typing: bool) -> bool {
        if let Event::PointerButton { pressed, .. } = event {
            return !pressed;
        }
        let Event::Key { key, pressed, modifiers, .. } = event else { return false };
        if !pressed {
            self.down.remove(key);
            return false;
        }
        let leaves_field = [Key::Tab, Key::Enter, Key::Escape, Key::ArrowUp, Key::ArrowDown, Key::F1].contains(key);
        self.down.insert(*key) && (!typing || modifiers.command || modifiers.ctrl || modifiers.alt || leaves_field)
    }
}

/// Of the help's window, around its list.
const AROUND: f32 = 124.0;

/// Draws the help. Whether it stays.
pub fn help_stays(ui: &Ui) -> bool {
    let help = Modal::new(Id::unique("keys")).frame(Frame::popup(ui.style()).inner_margin(14)).show(ui.ctx(), |ui| {
        ui.set_max_width(620.0);
        ui.heading("Keyboard Shortcuts");
        ui.add_space(6.0);
        ui.spacing_mut().interact_size.y = 0.0;
        // In the smallest window, some of it is scrolled to.
        let height = ui.ctx().content_rect().height() - AROUND;
        ScrollArea::vertical().max_height(height).min_scrolled_height(height).show(ui, |ui| {
            Grid::new("keys").num_columns(2).spacing([24.0, 3.0]).show(ui, |ui| {
                for shortcut in SHORTCUTS {
                    ui.label(RichText::new(shortcut.action.text()).strong());
                    ui.label(shortcut.does);
                    ui.end_row();
                }
            });
            super::scroll_by_keys(ui);
        });
        ui.add_space(8.0);
        ui.reset_style();
        let close = ui.button("Close");
        if ui.memory(|m| m.focused()).is_none() {
            close.request_focus();
        }
        close.clicked()
    });
    let closed = Action::Close.asked(ui);
    !(help.inner || closed || help.backdrop_response.clicked())
}

impl Window {
    /// Does what the keys say that were pressed. Those of one control are its own.
    pub(super) fn shortcuts(&mut self, ui: &Ui) {
        self.keep_what_is_typed(ui);
        if Action::Quit.asked(ui) {
            self.send(Command::Quit);
            ui.ctx().send_viewport_cmd(ViewportCommand::Close);
        }
        if Action::CloseWindow.asked(ui) {
            ui.ctx().send_viewport_cmd(ViewportCommand::Close);
        }
        if Action::NewApp.asked(ui) {
            self.open_own_app(&Asked::New);
        }
        if Action::Usage.asked(ui) {
            self.open_usage(Period::Today);
        }
        if Action::Settings.asked(ui) {
            self.open_settings();
        }
        if Action::Proof.asked(ui) {
            self.open_proof();
        }
        if Action::Connections.asked(ui) {
            self.open_connections(Part::External);
        }
        if !self.help && !self.asks() && !Popup::is_any_open(ui.ctx()) && Action::Close.asked(ui) {
            // What is searched for or shown alone there goes first.
            let stays = self.connections_page.as_mut().is_some_and(ConnectionsPage::step_back)
                || self.own_app_page.as_mut().is_some_and(|page| !page.may_close());
            if !stays {
                self.picker.clear();
                self.close_pages();
            }
        }
        if Action::Help.asked(ui) {
            self.help = true;
        }
        let pages = [
            self.settings_page.is_some(),
            self.proof_page.is_some(),
            self.usage_page.is_some(),
            self.connections_page.is_some(),
            self.own_app_page.is_some(),
        ];
        if self.help || pages.contains(&true) {
            return;
        }
        if Action::Back.asked(ui) {
            self.back();
        }
        self.chart_keys(ui);
    }
}

#[cfg(test)]
mod tests {
    use eframe::egui::{PointerButton, Pos2};

    use super::*;

    /// Keys as a person presses them, "ctrl+p Tab x", each with its release; "Down..." is held down.
    fn events(keys: &str) -> Vec<Event> {
        let press = |text: &str| {
            let (modifiers, name) = match text.split_once('+') {
                Some((_, name)) => (Modifiers::COMMAND | Modifiers::CTRL, name),
                None => (Modifiers::NONE, text),
            };
            let (name, held) = name.strip_suffix("...").map_or((name, false), |name| (name, true));
            let key = Key::from_name(name).unwrap();
            // That it repeats is said by egui, which has not seen it yet.
            let event = |pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers };
            let text = (name.len() == 1 && modifiers.is_none()).then(|| Event::Text(name.to_owned()));
            [event(true)].into_iter().chain(text).chain((!held).then(|| event(false)))
        };
        keys.split_whitespace().flat_map(press).collect()
    }

    /// Which keys each frame gets, if all have come before the first one.
    fn frames(keys: &str, typing: bool) -> String {
        let all = events(keys);
        let (mut pace, mut frames, mut shown) = (Pace::default(), Vec::new(), Vec::new());
        let mut new = all.clone();
        loop {
            let more = pace.hold_back(&mut new, typing);
            pace.drawn();
            let names = new.iter().filter_map(|event| match event {
                Event::Key { key, pressed: true, .. } => Some(key.name()),
                _ => None,
            });
            frames.push(names.collect::<Vec<_>>().join(" "));
            shown.append(&mut new);
            if !more {
                break;
            }
        }
        assert_eq!(shown, all, "nothing is lost, and nothing comes before another");
        frames.into_iter().filter(|frame| !frame.is_empty()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_frame_gets_one_key_that_acts() {
        for (keys, typing, expected) in [
            ("ctrl+P Tab Tab Tab Enter", false, "P | Tab | Tab | Tab | Enter"),
            ("Tab Space Down 2", false, "Tab | Space | Down | 2"),
            ("A Space B Left Backspace C", true, "A Space B Left Backspace C"),
            ("A B Enter C D Escape E", true, "A B Enter | C D Escape | E"),
            ("A Down Enter", true, "A Down | Enter"),
            ("A ctrl+F B", true, "A F | B"),
            ("Down... Down... Down... Down Enter", false, "Down | Down Down Down Enter"),
            ("", false, ""),
        ] {
            assert_eq!(frames(keys, typing), expected, "{keys}");
        }
    }

    #[test]
    fn a_click_is_drawn_before_what_comes_after_it() {
        let button = |pressed| Event::PointerButton {
            pos: Pos2::ZERO,
            button: PointerButton::Secondary,
            pressed,
            modifiers: Modifiers::NONE,
        };
        let mut pace = Pace::default();
        let after = events("Down");
        let mut given = [vec![button(true), button(false)], after.clone()].concat();
        assert!(pace.hold_back(&mut given, false));
        assert_eq!(given, [button(true), button(false)]);
        pace.drawn();
        let mut next = Vec::new();
        pace.hold_back(&mut next, false);
        assert_eq!(next.first(), after.first());
    }

    #[test]
    fn what_was_not_drawn_stays_in_front() {
        let mut pace = Pace::default();
        let [all, more] = ["Tab Enter", "Escape"].map(events);
        let mut given = all.clone();
        assert!(pace.hold_back(&mut given, false));
        // The window is minimised: eframe gives the same once more, with what is new.
        given.extend(more.clone());
        assert!(pace.hold_back(&mut given, false));
        pace.drawn();
        let mut next = Vec::new();
        while pace.hold_back(&mut next, false) {
            pace.drawn();
            given.append(&mut next);
        }
        given.append(&mut next);
        assert_eq!(given, [all, more].concat());
        let mut pointer = vec![Event::PointerGone, Event::Copy];
        assert!(!pace.hold_back(&mut pointer, false));
        assert_eq!(pointer.len(), 2);
    }
}
