//! Every key and click that the help promises, in a real window: pressed, and its effect seen from outside. The list is the help's
//! own, so one that is added there and not here does not compile, or fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
mod support;

use std::{fs, path::PathBuf};

use desk::{Desk, Panel};
use eframe::egui::{Key, Modifiers};
use netglance::show::window::keys::{Action, Press, SHORTCUTS};
use serde_json::{Value, json};
use support::{OTHER, PUBLIC4, Program, SHELL, at, eventually};

/// What always looks the same while no page is open: the buttons below the list.
const BUTTONS: &str = "230x40+8+592";
/// In the second row of the list.
const SECOND_ROW: [&str; 2] = ["60", "152"];
/// The figures, which change while there is traffic.
const FIGURES: &str = "400x44+270+120";
/// The lower half of the chart, and the times below it: an empty chart can look the same at two times, its grid included.
const CHART: &str = "600x160+290+290";

/// The program with its window, and what it has done.
struct Shown<'a> {
    desk: &'a Desk,
    panel: &'a Panel<'a>,
    path: PathBuf,
    program: Program,
    window: String,
    buttons: String,
}

impl<'a> Shown<'a> {
    fn new(desk: &'a Desk, panel: &'a Panel<'a>, path: PathBuf) -> Self {
        let program = desk.start_as(&path, &[]);
        let mut shown = Self { desk, panel, path, program, window: String::new(), buttons: String::new() };
        shown.found();
        shown
    }

    /// Takes the window that has just opened.
    fn found(&mut self) {
        self.window = self.desk.window();
        self.desk.ask("xdotool", &["windowfocus", "--sync", &self.window, "mousemove", "990", "690"]);
        eventually("the chart is there", || self.changes(CHART));
        self.buttons = self.part(BUTTONS);
    }

    fn keys(&self, keys: &[&str]) {
        self.desk.ask("xdotool", &["windowfocus", "--sync", &self.window]);
        // Slower than any frame.
        self.desk.ask("xdotool", &[&["key", "--delay", "200"], keys].concat());
    }

    fn text(&self, text: &str) {
        self.desk.ask("xdotool", &["type", "--delay", "100", text]);
    }

    /// What a part of the window looks like, as one number.
    fn part(&self, part: &str) -> String {
        self.desk.ask("import", &["-window", &self.window, "-crop", part, "-format", "%#", "info:-"])
    }

    fn changes(&self, part: &str) -> Option<()> {
        (self.part(part) != self.part(part)).then_some(())
    }

    /// What the chart looks like, once that stays the same.
    #[track_caller]
    fn stands_still(&self) -> String {
        eventually("the chart stands still", || {
            let before = self.part(CHART);
            let figures = self.part(FIGURES);
            eventually("the figures change", || (self.part(FIGURES) != figures).then_some(()));
            (self.part(CHART) == before).then_some(before)
        })
    }

    #[track_caller]
    fn a_page_is_open(&self, name: &str) {
        eventually(&format!("{name} is open"), || (self.part(BUTTONS) != self.buttons).then_some(()));
    }

    #[track_caller]
    fn no_page_is_open(&self) {
        eventually("no page is open", || (self.part(BUTTONS) == self.buttons).then_some(()));
    }

    #[track_caller]
    fn state(&self, field: &str, value: &Value) {
        eventually(&format!("{field} is {value}"), || (self.desk.state()[field] == *value).then_some(()));
    }

    #[track_caller]
    fn watches(&self, apps: &[&str]) {
        self.state("watched", &json!(apps));
    }

    /// Watches only this one.
    #[track_caller]
    fn watch(&self, app: &str) {
        self.keys(&["Escape", "ctrl+f"]);
        self.text(&app.to_lowercase());
        self.keys(&["Return"]);
        self.watches(&[app]);
        self.keys(&["Escape"]);
    }

    fn config(&self) -> String {
        fs::read_to_string(self.desk.world.home().join("netglance/config.toml")).unwrap_or_default()
    }

    /// Presses it in a state where it must have its effect, and waits for that. `nth`: which of the action's it is.
    #[track_caller]
    fn check(&mut self, action: Action, nth: usize, press: Press) {
        println!("{}: {action:?}", press.text());
        let name = xdotool(press);
        let key = name.as_str();
        match action {
            Action::Search => {
                self.watch("StB");
                self.keys(&[key]);
                self.text("electron");
                self.keys(&["Return"]);
                self.watches(&["electron-gpt"]);
            }
            Action::ShowFirst => {
                self.watch("StB");
                self.keys(&["ctrl+f"]);
                self.text("electron");
                self.keys(&[key]);
                self.watches(&["electron-gpt"]);
            }
            Action::AddFirst => {
                self.watch("StB");
                self.keys(&["ctrl+f"]);
                self.text("electron");
                self.keys(&[key]);
                self.watches(&["StB", "electron-gpt"]);
            }
            Action::Step => {
                let (from, to) = [("electron-gpt", "StB"), ("StB", "electron-gpt")][nth];
                self.watch(from);
                self.keys(&[key]);
                self.watches(&[to]);
            }
            Action::Back => {
                self.watch("StB");
                self.keys(&[key]);
                self.watches(&[]);
            }
            Action::Toggle => {
                self.watch("StB");
                // As a hand does it: the key is down before the button, and after.
                let click = || {
                    let held = ["keydown", "ctrl", "sleep", "0.2", key, "1", "sleep", "0.2", "keyup", "ctrl"];
                    self.desk.ask("xdotool", &held);
                };
                self.desk.ask("xdotool", &["mousemove", "--window", &self.window, SECOND_ROW[0], SECOND_ROW[1]]);
                click();
                self.watches(&["StB", "electron-gpt"]);
                click();
                self.watches(&["StB"]);
                self.desk.ask("xdotool", &["mousemove", "990", "690"]);
            }
            Action::MoveFocus => {
                self.watch("StB");
                // To the search field, from the button in front of it or from the first row behind it.
                let before = [&["Escape", "Tab"][..], &["ctrl+f", "Tab"]][nth];
                self.keys(&[before, &[key]].concat());
                self.text("electron");
                self.keys(&["Return"]);
                self.watches(&["electron-gpt"]);
            }
            Action::Press => {
                self.watch("electron-gpt");
                self.keys(&["ctrl+f", "Tab", key]);
                self.watches(&["StB"]);
            }
            Action::Span => {
                let minutes = [1, 5, 15, 60, 24 * 60, 7 * 24 * 60, 30 * 24 * 60, 365 * 24 * 60][nth];
                self.keys(&["Escape", if nth == 0 { "3" } else { "1" }, key]);
                self.state("span_min", &json!(minutes));
            }
            Action::Pause => {
                self.watch("StB");
                eventually("the chart moves", || self.changes(CHART));
                self.keys(&[key]);
                let held = eventually("the chart stands still, and the counting goes on", || {
                    let (chart, figures) = (self.part(CHART), self.part(FIGURES));
                    eventually("the figures change", || (self.part(FIGURES) != figures).then_some(()));
                    (self.part(CHART) == chart).then_some(chart)
                });
                self.keys(&[key]);
                eventually("the chart moves on", || (self.part(CHART) != held).then_some(()));
            }
            Action::Pan => {
                // Into the past; and back again from there.
                self.watch("StB");
                self.keys(&["1", "Home"]);
                eventually("the chart moves", || self.changes(CHART));
                if nth == 0 {
                    self.keys(&[key]);
                    self.stands_still();
                    self.keys(&["Home"]);
                    eventually("the chart moves on", || self.changes(CHART));
                } else {
                    self.keys(&["Left"]);
                    self.stands_still();
                    // As often as it takes, because now has moved on.
                    eventually("the chart moves on", || {
                        self.keys(&[key]);
                        self.changes(CHART)
                    });
                }
            }
            Action::Zoom => {
                self.watch("StB");
                // So far into the past that also twice the span ends there.
                self.keys(&["2", "Left", "Left", "Left", "Left"]);
                let before = self.stands_still();
                self.keys(&[key]);
                eventually("more or less is shown", || (self.stands_still() != before).then_some(()));
                self.keys(&["Home", "1"]);
            }
            Action::Now => {
                self.watch("StB");
                self.keys(&["1", "Left"]);
                self.stands_still();
                self.keys(&[key]);
                eventually("the chart moves on", || self.changes(CHART));
            }
            Action::Copy => {
                self.watch("StB");
                self.keys(&["1", key, "ctrl+f"]);
                // What was copied is no application's name, so the list is empty.
                let row = "230x30+8+128";
                let list = self.part(row);
                self.keys(&["ctrl+v"]);
                eventually("the figures were copied", || (self.part(row) != list).then_some(()));
                self.keys(&["Escape"]);
            }
            Action::Save => {
                self.watch("StB");
                let top = "200x20+10+4";
                let before = self.part(top);
                self.keys(&["1", key]);
                let saved = || {
                    let mut files = fs::read_dir(self.desk.world.home()).unwrap().map_while(Result::ok);
                    files.find(|file| file.path().extension().is_some_and(|ending| ending == "svg"))
                };
                let file = eventually("the chart is saved", saved);
                let svg = eventually("it is complete", || {
                    let svg = fs::read_to_string(file.path()).ok()?;
                    svg.trim_end().ends_with("</svg>").then_some(svg)
                });
                assert!(svg.contains("StB"), "{svg}");
                eventually("the window says where", || (self.part(top) != before).then_some(()));
                self.keys(&["Escape", "Tab", "Return"]);
                eventually("it says so no longer", || (self.part(top) == before).then_some(()));
            }
            Action::Choose => {
                let (first, unit) = [("Right", "bytes"), ("Left", "bits")][nth];
                // Past Close to the first group.
                self.keys(&["Escape", "ctrl+comma", "Tab", "Tab", first, key]);
                let expected = format!("unit = \"{unit}\"");
                eventually("the other unit is in the settings", || self.config().contains(&expected).then_some(()));
                self.keys(&["Escape"]);
            }
            Action::Usage => {
                self.watch("StB");
                self.keys(&["BackSpace"]);
                self.watches(&[]);
                // The first rows are there when the first figures are recorded.
                eventually("a row of the usage leads to its application", || {
                    self.keys(&["Escape", key]);
                    self.a_page_is_open("the usage");
                    self.keys(&["Down", "Return"]);
                    (self.desk.state()["watched"] != json!([])).then_some(())
                });
                self.no_page_is_open();
            }
            Action::Connections => {
                self.keys(&["Escape", key]);
                self.a_page_is_open("the connections");
                self.keys(&["Escape"]);
                self.no_page_is_open();
            }
            Action::NewApp => {
                self.keys(&["Escape", key]);
                self.a_page_is_open("a new app");
                // Its name has the focus; what was typed is asked about.
                self.text("Work");
                self.keys(&["Escape", "shift+Tab", "Return"]);
                self.no_page_is_open();
            }
            Action::Menu => {
                self.watch("StB");
                // The first row, and the first line of its menu.
                self.keys(&["ctrl+f", "Tab", key, "Return"]);
                self.a_page_is_open("the app");
                self.keys(&["Escape"]);
                self.no_page_is_open();
            }
            Action::Settings => {
                self.keys(&["Escape"]);
                self.no_page_is_open();
                fs::remove_file(self.desk.world.home().join("netglance/config.toml")).ok();
                self.keys(&[key]);
                self.a_page_is_open("the settings");
                self.keys(&["Tab", "Tab", "Right"]);
                eventually("a setting changes", || self.config().contains("unit = \"bits\"").then_some(()));
                self.keys(&["Left", "Escape"]);
                eventually("it changes back", || self.config().contains("unit = \"bytes\"").then_some(()));
                self.no_page_is_open();
            }
            Action::Proof => {
                self.keys(&["Escape", key]);
                self.a_page_is_open("the proof");
                // Past Close to the button.
                self.keys(&["Tab", "Tab", "Return"]);
                eventually("it is proven", || fs::read_to_string(self.desk.world.home().join("proven")).ok());
                self.keys(&["Escape"]);
                self.no_page_is_open();
            }
            Action::Help => {
                self.keys(&["Escape"]);
                self.no_page_is_open();
                self.keys(&[key]);
                self.a_page_is_open("the help");
                // Its button has the focus, as nothing has on a page.
                self.keys(&["Return"]);
                self.no_page_is_open();
            }
            Action::Close => {
                for page in ["F1", "ctrl+comma", "ctrl+p", "ctrl+u", "ctrl+n", "ctrl+g"] {
                    self.keys(&[page]);
                    self.a_page_is_open(page);
                    self.keys(&[key]);
                    self.no_page_is_open();
                }
            }
            Action::CloseWindow => {
                self.keys(&[key]);
                self.desk.no_window(&self.program);
                assert!(self.program.status().is_none(), "the program goes on");
                self.panel.click();
                self.found();
            }
            Action::Quit => {
                self.keys(&[key]);
                eventually("the program ends", || self.program.status().map(|status| assert!(status.success())));
                self.program = self.desk.start_as(&self.path, &[]);
                self.found();
            }
        }
    }
}

/// What xdotool calls it; of a click its command.
fn xdotool(press: Press) -> String {
    let (modifiers, key) = match press {
        Press::Key(modifiers, key) => (modifiers, key),
        Press::Click(modifiers) => {
            assert_eq!(modifiers, Modifiers::COMMAND, "how is this held?");
            return "click".to_owned();
        }
    };
    let key = match key {
        Key::Enter => "Return".to_owned(),
        Key::Backspace => "BackSpace".to_owned(),
        Key::Tab | Key::Escape | Key::F1 | Key::F10 | Key::Home | Key::Menu => key.name().to_owned(),
        Key::ArrowUp | Key::ArrowDown | Key::ArrowLeft | Key::ArrowRight => key.name().to_owned(),
        other => other.name().to_lowercase().replace("questionmark", "question"),
    };
    let held = [(modifiers.command, "ctrl+"), (modifiers.shift, "shift+"), (modifiers.alt, "alt+")];
    let held: String = held.into_iter().filter_map(|(held, name)| held.then_some(name)).collect();
    held + &key
}

#[test]
fn every_key_of_the_help_does_what_it_says() {
    let mut desk = Desk::x11();
    let program = desk.unpacked();
    desk.prover(&program);
    let panel = desk.panel();
    // An app that moves bytes stands in the list, others among the services.
    let moves = |unit| desk.world.traffic(unit, &["move", "900000000", "90000000", "300000", &at(PUBLIC4)]);
    let _traffic = [SHELL, OTHER].map(moves);
    let mut shown = Shown::new(&desk, &panel, program);
    for shortcut in SHORTCUTS {
        assert!(!shortcut.presses.is_empty(), "{shortcut:?}");
        for (nth, press) in shortcut.presses.iter().enumerate() {
            shown.check(shortcut.action, nth, *press);
        }
    }
}
