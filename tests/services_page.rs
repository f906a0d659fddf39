//! System services in the window: offered where they can be had, listed once they are, asked for with one click, and never part of
//! what is the user's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/screen.rs"]
mod screen;
mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use desk::{Desk, Switches};
use eframe::egui::{Key, Modifiers, accesskit::Role};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use netglance::{
    look::{
        rate::{Bytes, Rate},
        reading::{AppReading, Kind, Reading},
        sampler::{
            Exact, Source,
            grants::{Grant, Grants, Permission},
        },
    },
    show::update::{Command as Wish, Update},
};
use screen::{RATE, Screen, app, apps, overview, reading};
use support::eventually;

const SHOW: &str = "Show System Services…";
const COUNT: &str = "Count Containers…";

fn service(unit: &str, name: &str, rx: f64) -> AppReading {
    AppReading { name: name.into(), in_menu: false, kind: Kind::System, ..app(&format!("system:{unit}"), rx) }
}

fn services() -> Vec<AppReading> {
    vec![service("ssh.service", "OpenBSD Secure Shell server", 4000.0), service("cron.service", "cron.service", 0.0)]
}

/// The helper counts, and this came of the questions.
fn counting(update: Update, system_services: Permission, forwarded: Permission) -> Update {
    Update { exact: Exact::Counting, grants: Grants { system_services, forwarded }, ..update }
}

fn buttons(screen: &Screen, label: &str) -> usize {
    screen.harness.query_all_by_role_and_label(Role::Button, label).count()
}

#[test]
fn what_a_password_would_show_is_offered_once_the_helper_counts() {
    use Permission::{Asking, Granted, NotAsked, Refused};
    let mut screen = Screen::new();
    for list in [|| overview(apps()), || reading(Ok(RATE))] {
        screen.show(list());
        assert_eq!(buttons(&screen, SHOW), 0, "nothing counts");
        screen.show(counting(list(), NotAsked, NotAsked));
        assert_eq!((buttons(&screen, SHOW), buttons(&screen, COUNT)), (1, 0), "there are no containers");
        screen.says("System services");
        screen.says("Needs an administrator’s password, once until you quit netglance.");
        screen.is_accessible();
        screen.click(SHOW);
        assert_eq!(screen.wishes(), [Wish::Authorise(Grant::SystemServices)]);
        let forwards = |update| Update { has_forwarding: true, ..update };
        screen.show(forwards(counting(list(), NotAsked, NotAsked)));
        screen.says("Containers and virtual machines");
        screen.click(COUNT);
        assert_eq!(screen.wishes(), [Wish::Authorise(Grant::Forwarded)]);
        screen.show(forwards(counting(list(), Asking, NotAsked)));
        screen.says("Waiting for the password…");
        for label in [SHOW, COUNT] {
            screen.harness.get_by_label(label).click();
            screen.harness.run();
            assert_eq!(screen.wishes(), [], "one dialog at a time");
        }
        screen.show(forwards(counting(list(), Refused("no".into()), Granted)));
        assert_eq!((buttons(&screen, SHOW), buttons(&screen, COUNT)), (1, 0), "it can be asked for again");
        screen.show(counting(list(), Granted, NotAsked));
        assert_eq!((buttons(&screen, SHOW), buttons(&screen, COUNT)), (0, 0));
    }
}

#[test]
fn system_services_are_listed_below_all_applications_and_apart_from_them() {
    let mut screen = Screen::new();
    let list =
        || Update { services: services(), ..counting(overview(apps()), Permission::Granted, Permission::NotAsked) };
    screen.show(list());
    let row = "OpenBSD Secure Shell server, download 4.00 kB/s, upload 0 B/s, total 0 B";
    let top = |screen: &Screen, label: &str| screen.harness.get_by_label(label).rect().top();
    assert!(top(&screen, row) > top(&screen, "System services (2)"));
    assert!(top(&screen, "System services (2)") > top(&screen, "mail name, download 0 B/s, upload 0 B/s, total 0 B"));
    screen.click("System services (2)");
    assert!(screen.harness.query_by_label(row).is_none(), "hidden");
    screen.click("System services (2)");
    screen.click(row);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["system:ssh.service".into()])]);
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.type_into("Search the applications", "secure");
    screen.press(Key::Enter);
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["system:ssh.service".into()])]);

    let watched = |source| {
        let mut update = list();
        update.overview = None;
        let one = reading(Ok(RATE)).readings.remove(0);
        update.readings =
            vec![Reading { id: "system:ssh.service".into(), app: "OpenBSD Secure Shell server".into(), source, ..one }];
        update
    };
    screen.show(watched(Source::Exact));
    screen.says("A system service: not part of “All applications”, and not recorded.");
    screen.says("OpenBSD Secure Shell server, 4.00 kB/s");
    screen.click("Watch cron.service too");
    assert_eq!(screen.wishes(), [Wish::Watch(vec!["system:ssh.service".into(), "system:cron.service".into()])]);

    // Remembered from the last time, and not granted yet.
    let update = Update { services: Vec::new(), grants: Grants::default(), ..watched(Source::Estimate) };
    screen.show(update);
    screen.says("Estimate, TCP only.");
    let offers: Vec<_> = screen.harness.query_all_by_role_and_label(Role::Button, SHOW).collect();
    assert_eq!(offers.len(), 2, "in the list and beside the figure");
    assert!(offers.iter().all(|offer| !offer.accesskit_node().is_disabled()));
    offers.last().unwrap().click();
    screen.harness.run();
    assert_eq!(screen.wishes(), [Wish::Authorise(Grant::SystemServices)]);
}

/// netglance as an ordinary user of the desk starts it: root is asked for nothing.
fn as_a_user(desk: &mut Desk) -> PathBuf {
    let open = |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(desk.directory.path());
    open(desk.world.home());
    for socket in ["session", "system"] {
        open(&desk.directory.path().join(socket));
    }
    let copy = desk.directory.path().join("netglance");
    fs::copy(env!("CARGO_BIN_EXE_netglance"), &copy).unwrap();
    let script = desk.directory.path().join("start");
    let user = "setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all";
    fs::write(&script, format!("#!/bin/sh\nexec {user} {} \"$@\"\n", copy.display())).unwrap();
    for program in [copy, script.clone()] {
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    script
}

#[test]
fn a_click_asks_once_and_the_list_has_what_it_gives_while_ones_own_goes_on() {
    let mut desk = Desk::x11();
    let program = as_a_user(&mut desk);
    let switches = Arc::new(Mutex::new(Switches { counts: true, user: true, refuses: true, ..Switches::default() }));
    let _helper = desk.helper(&switches);
    let state = desk.world.home().join("state/netglance");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("state.json"), r#"{"watched": ["system:peer.service"]}"#).unwrap();
    for path in [desk.world.home().join("state"), state] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let panel = desk.panel();
    let mut program = desk.start_as(&program, &[]);
    let window = desk.window();
    panel.says("peer.service  down 0 B/s");
    let asked = |with_a_dialog: usize| {
        eventually(&format!("{with_a_dialog} dialogs"), || {
            (switches.lock().unwrap().all_asked == with_a_dialog).then_some(())
        });
    };
    asked(0);
    desk.picture(&window, "services-offered");
    click(&desk, &window, "67");
    asked(1);
    let beats = |count: usize| {
        let before = switches.lock().unwrap().reads;
        eventually("beats go by", || (switches.lock().unwrap().reads >= before + count).then_some(()));
    };
    beats(4);
    asked(1);
    assert_eq!(switches.lock().unwrap().all_reads, 0, "no is no");
    desk.picture(&window, "services-refused");
    switches.lock().unwrap().refuses = false;
    // Below the line that says what became of it.
    click(&desk, &window, "109");
    asked(2);
    eventually("all rows are read", || (switches.lock().unwrap().all_reads > 3).then_some(()));
    beats(4);
    asked(2);
    desk.picture(&window, "services-shown");
    assert!(program.status().is_none());
    assert_eq!(desk.state()["watched"], serde_json::json!(["system:peer.service"]));
}

/// The button beside the figure.
fn click(desk: &Desk, window: &str, y: &str) {
    desk.ask("xdotool", &["mousemove", "--window", window, "480", y, "click", "1"]);
}

#[test]
fn rates_of_services_are_in_no_sum() {
    let mut screen = Screen::new();
    let mut update = counting(overview(vec![app("mail", 10.0)]), Permission::Granted, Permission::NotAsked);
    update.services = vec![AppReading {
        rate: Some(Rate { rx: 9e9, tx: 0.0 }),
        bytes: Bytes { rx: 9_000_000_000, ..Bytes::default() },
        ..service("big.service", "big.service", 0.0)
    }];
    screen.show(update);
    screen.says("Download 1.23 MB/s");
    screen.says("12.0 MB down, 3.40 MB up");
}
