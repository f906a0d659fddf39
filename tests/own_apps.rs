//! An app of one's own is made by clicking, in the real program: it is in the settings file, and it is counted. Then it is deleted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/looker.rs"]
mod looker;
mod support;

use std::{fs, thread, time::Duration};

use desk::Desk;
use looker::Looker;
use netglance::keep::{histories::Histories, history::Point};
use serde_json::json;
use support::{OTHER, PUBLIC4, World, at, eventually};

/// The button below the list of applications.
const NEW_APP: [&str; 2] = ["130", "551"];
/// The first box of what runs.
const FIRST_BOX: [&str; 2] = ["34", "224"];
const SAVE: [&str; 2] = ["40", "615"];
/// The first row of the list of applications.
const FIRST_ROW: [&str; 2] = ["60", "122"];
/// Where the buttons below the list are while no page is open.
const BUTTONS: &str = "230x40+8+592";
/// What the page of a new app says below: what belongs to it.
const SAYS: &str = "600x24+8+576";

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
    let untouched = part(SAYS);
    click(FIRST_BOX, "1");
    eventually("it is ticked", || (part(SAYS) != untouched).then_some(()));
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

    // To the first line of the menu: what is ticked has the name of its desktop file. The pointer leaves the buttons first.
    desk.ask("xdotool", &["mousemove", "--window", &window, FIRST_ROW[0], FIRST_ROW[1]]);
    let still = || {
        let mut before = part(BUTTONS);
        eventually("nothing fades any more", || {
            thread::sleep(Duration::from_millis(300));
            let now = part(BUTTONS);
            (std::mem::replace(&mut before, now.clone()) == now).then_some(now)
        })
    };
    let buttons = still();
    click(FIRST_ROW, "3");
    desk.press(&window, &["Down", "Return"]);
    eventually("it can be changed", || (part(BUTTONS) != buttons).then_some(()));
    still();
    desk.picture(&window, "change-own-app");
    desk.press(&window, &["Escape"]);
    eventually("the page is closed", || (part(BUTTONS) == buttons).then_some(()));

    // To the second line of the menu, and from Cancel to Delete.
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

/// Looks at each line, keeps every app's last minutes as the program does, and says those of "Mine".
#[test]
fn looker() {
    let mut histories = Histories::default();
    looker::serve(async |monitor, _| {
        // However slow the machine is, no look is taken for one after a sleep.
        monitor.look(Duration::from_secs(60)).await;
        monitor.became().iter().for_each(|(id, now)| histories.join(id, now));
        let rates = monitor.rates().unwrap();
        histories.push(rates.boottime_ns, rates.rates);
        histories.points("Mine")
    });
}

#[test]
fn what_becomes_a_part_of_an_app_brings_its_past_along() {
    let world = World::new();
    let mut looker = Looker::<Point>::new(&world);
    let mut look = || looker.sees("look");
    let bytes = |points: &[Point]| {
        let rates =
            points.windows(2).filter_map(|pair| Some((pair[1].rate?.rx, pair[1].boottime_ns - pair[0].boottime_ns)));
        rates.map(|(rate, ns)| rate * Duration::from_nanos(ns).as_secs_f64()).sum::<f64>()
    };
    look();
    let traffic = world.moved(OTHER, 300_000, 1000, &[PUBLIC4]);
    assert_eq!(bytes(&look()), 0.0, "there is no such app yet");
    world.configure("[apps.Mine]\napps = [\"electron-gpt\"]\n");
    let points = eventually("the app has a past", || Some(look()).filter(|points| bytes(points) > 0.0));
    assert!((300_000.0..310_000.0).contains(&bytes(&points)), "{points:?}");
    // What it moves from then on is its own, and it goes on being all of it.
    let more = world.moved(OTHER, 200_000, 1000, &[PUBLIC4]);
    assert!((500_000.0..520_000.0).contains(&bytes(&look())));
    world.configure("");
    eventually("it is gone, and its past is the application's", || (bytes(&look()) == 0.0).then_some(()));
    drop((traffic, more));
}
