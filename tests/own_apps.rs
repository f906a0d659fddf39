//! An app of one's own is made by clicking, in the real program: it is in the settings file, and it is counted. Then it is deleted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
mod support;

use std::fs;

use desk::Desk;
use serde_json::json;
use support::{OTHER, PUBLIC4, at, eventually};

/// The button below the list of applications.
const NEW_APP: [&str; 2] = ["130", "551"];
/// The first box of what runs.
const FIRST_BOX: [&str; 2] = ["34", "224"];
const SAVE: [&str; 2] = ["40", "615"];
/// The first row of the list of applications.
const FIRST_ROW: [&str; 2] = ["60", "122"];
/// Where the buttons below the list are while no page is open.
const BUTTONS: &str = "230x40+8+592";

#[test]
fn an_app_is_made_and_deleted_by_clicking() {
    let desk = Desk::x11();
    desk.entry("electron-gpt", "Name=A Chat");
    let panel = desk.panel();
    let program = desk.start(&[]);
    let window = desk.window();
    panel.says("StB  down ");
    let part = |part: &str| desk.ask("import", &["-window", &window, "-crop", part, "-format", "%#", "info:-"]);
    let click = |[x, y]: [&str; 2], button: &str| {
        desk.ask("xdotool", &["windowfocus", "--sync", &window]);
        desk.ask("xdotool", &["mousemove", "--window", &window, x, y, "sleep", "0.2", "click", button]);
    };
    let watched = |ids: &[&str]| {
        eventually(&format!("{ids:?} is watched"), || (desk.state()["watched"] == json!(ids)).then_some(()));
    };
    let config = || fs::read_to_string(desk.world.home().join("netglance/config.toml")).unwrap_or_default();
    watched(&["StB"]);

    let buttons = part(BUTTONS);
    click(NEW_APP, "1");
    eventually("the page is open", || (part(BUTTONS) != buttons).then_some(()));
    desk.ask("xdotool", &["type", "--delay", "60", "Assistant"]);
    click(FIRST_BOX, "1");
    desk.picture(&window, "new-app");
    click(SAVE, "1");
    watched(&["Assistant"]);
    eventually("it is in the file", || {
        config().contains("[apps.Assistant]\napps = [\"electron-gpt\"]\n").then_some(())
    });
    eventually("the tray offers it", || panel.labels().contains(&"+Assistant".to_owned()).then_some(()));
    let traffic = desk.world.traffic(OTHER, &["move", "90000000", "9000000", "400000", &at(PUBLIC4)]);
    eventually("what it moves is counted", || {
        let tooltip = panel.tooltip();
        (tooltip.contains("Assistant  down ") && tooltip.contains("kB/s")).then_some(())
    });
    desk.picture(&window, "own-app");
    drop(traffic);

    // To the first line of the menu: what is ticked has the name and the icon of its desktop file.
    let buttons = part(BUTTONS);
    click(FIRST_ROW, "3");
    desk.press(&window, &["Down", "Return"]);
    eventually("it can be changed", || (part(BUTTONS) != buttons).then_some(()));
    desk.picture(&window, "change-own-app");
    let page = part(BUTTONS);
    desk.press(&window, &["Escape"]);
    eventually("the page is closed", || (part(BUTTONS) != page).then_some(()));

    // To the second line of the menu, and from Cancel to Delete.
    let buttons = part(BUTTONS);
    click(FIRST_ROW, "3");
    desk.press(&window, &["Down", "Down", "Return"]);
    eventually("it is asked", || (part(BUTTONS) != buttons).then_some(()));
    desk.picture(&window, "delete-own-app");
    desk.press(&window, &["shift+Tab", "Return"]);
    watched(&[]);
    eventually("it is not in the file", || (!config().contains("Assistant")).then_some(()));
    eventually("the tray offers what was in it", || panel.labels().contains(&"A Chat".to_owned()).then_some(()));
    drop(program);
}
