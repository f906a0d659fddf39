//! The program behind tray and window as a desktop meets it: a real session bus, real windows on X11 and Wayland, clicks over the
//! bus as a panel sends them. A watcher of the test's own stands in for the panel, so that it can come late and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
mod support;

use std::{
    fs,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use desk::{Desk, Helper, Switches, children, resident_kb};
use netglance_dbus::helper1::{Helper1, OBJECT_PATH};
use support::{OTHER, PUBLIC4, SHELL, eventually};

#[test]
fn a_click_shows_and_hides_the_window_and_nothing_is_left_of_it() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&[]);
    desk.window();
    let mut after_first = 0;
    for round in 0..20 {
        panel.click();
        desk.no_window(&program);
        if round == 0 {
            after_first = resident_kb(program.pid());
        }
        panel.click();
        desk.window();
    }
    panel.click();
    desk.no_window(&program);
    let after_last = resident_kb(program.pid());
    println!("resident after the first and after the last: {after_first} kB, {after_last} kB");
    assert!(after_last * 10 <= after_first * 11, "{after_first} kB, then {after_last} kB");
    panel.choose("Quit");
    assert!(program.ended().0.success());
}

#[test]
fn a_second_start_shows_the_first_ones_window() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let first = desk.start(&["--hidden"]);
    panel.item();
    assert!(desk.start(&["--hidden"]).ended().0.success());
    assert!(desk.windows().is_empty(), "hidden stays hidden");
    assert!(desk.start(&[]).ended().0.success());
    let window = desk.window();
    desk.ask("xdotool", &["windowminimize", &window]);
    eventually("it is minimised", || desk.windows().is_empty().then_some(()));
    assert!(desk.start(&[]).ended().0.success());
    assert_eq!(desk.window(), window, "the same one, in front again");
    assert_eq!(children(first.pid()).len(), 1);
}

#[test]
fn closing_hides_where_there_is_a_panel_and_ends_where_there_is_none() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&[]);
    desk.close(&desk.window());
    desk.no_window(&program);
    panel.click();
    desk.window();
    drop(program);
    eventually("the window goes with its program", || desk.windows().is_empty().then_some(()));
    desk.wait(panel.connection.close()).unwrap();
    let program = desk.start(&[]);
    desk.close(&desk.window());
    assert!(program.ended().0.success(), "without a panel it ends");
}

#[test]
fn without_a_session_bus_it_runs_alone() {
    let mut desk = Desk::x11();
    desk.environment.retain(|pair| !pair.starts_with("DBUS_SESSION"));
    let program = desk.start(&[]);
    desk.close(&desk.window());
    assert!(program.ended().0.success());
}

#[test]
fn a_panel_may_come_late_and_start_again() {
    let desk = Desk::x11();
    let mut program = desk.start(&["--hidden"]);
    for _ in 0..3 {
        let panel = desk.panel();
        panel.item();
        panel.click();
        desk.window();
        panel.click();
        desk.no_window(&program);
        desk.wait(panel.connection.close()).unwrap();
    }
    assert!(program.status().is_none());
}

#[test]
fn a_window_that_is_killed_is_only_a_closed_one() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&[]);
    desk.window();
    let [window] = children(program.pid())[..] else { panic!("not one window process") };
    let window = rustix::process::Pid::from_raw(window.try_into().unwrap()).unwrap();
    rustix::process::kill_process(window, rustix::process::Signal::KILL).unwrap();
    desk.no_window(&program);
    panel.click();
    desk.window();
}

#[test]
fn the_icon_moves_and_the_menu_watches_pauses_and_starts_at_login() {
    let desk = Desk::x11();
    desk.entry("electron-gpt", "Name=electron-gpt");
    let panel = desk.panel();
    let mut program = desk.start(&["--hidden"]);
    panel.says("StB  down 0 B/s  up 0 B/s");
    let idle = panel.icon();
    let traffic = desk.world.traffic(SHELL, &["move", "90000000", "90000000", "400000", &support::at(PUBLIC4)]);
    eventually("the icon shows traffic", || (panel.icon() != idle).then_some(()));
    eventually("the tooltip shows traffic", || panel.tooltip().contains("kB/s").then_some(()));
    panel.offers("Show | +StB | electron-gpt | Pause | Count Exactly… | Start at Login | Quit");
    panel.choose("electron-gpt");
    panel.offers("Show | +StB | +electron-gpt | Pause | Count Exactly… | Start at Login | Quit");
    panel.says("\nelectron-gpt  down ");
    panel.choose("StB");
    panel.offers("Show | StB | +electron-gpt | Pause | Count Exactly… | Start at Login | Quit");
    eventually("what is watched is kept", || {
        (desk.state()["watched"] == serde_json::json!(["electron-gpt"])).then_some(())
    });

    panel.choose("Pause");
    panel.says("Paused");
    panel.offers("Show | StB | +electron-gpt | +Pause | Count Exactly… | Start at Login | Quit");
    panel.choose("Pause");
    panel.says("electron-gpt  down ");

    panel.choose("Start at Login");
    let entry = desk.world.home().join("autostart/org.netglance.Netglance.desktop");
    let text = eventually("the autostart entry", || fs::read_to_string(&entry).ok());
    assert!(text.contains(&format!("Exec=\"{}\" --hidden\n", env!("CARGO_BIN_EXE_netglance"))), "{text}");
    panel.offers("Show | StB | +electron-gpt | Pause | Count Exactly… | +Start at Login | Quit");
    panel.choose("Start at Login");
    eventually("no autostart entry", || (!entry.exists()).then_some(()));

    desk.world.configure("unit = \"bits\"\n");
    panel.says("bit/s");
    desk.world.remove(OTHER);
    panel.says("electron-gpt  is not running");
    assert!(program.status().is_none());
    drop(traffic);
}

#[test]
fn what_is_watched_and_the_windows_place_are_remembered() {
    let desk = Desk::x11();
    desk.entry("electron-gpt", "Name=electron-gpt");
    let panel = desk.panel();
    let program = desk.start(&[]);
    let window = desk.window();
    eventually("StB is watched by itself", || (desk.state()["watched"] == serde_json::json!(["StB"])).then_some(()));
    desk.ask("xdotool", &["windowsize", "--sync", &window, "850", "560", "windowmove", "--sync", &window, "77", "55"]);
    let place = eventually("the place is kept", || {
        let place = desk.state()["place"].clone();
        (place["size"] == serde_json::json!([850, 560]) && place["corner"].is_array()).then_some(place)
    });
    let geometry = |window: &str| desk.ask("xdotool", &["getwindowgeometry", window]).replace(window, "");
    let before = geometry(&window);
    desk.press(&window, &["2"]);
    eventually("the span is kept", || (desk.state()["span_min"] == 5).then_some(()));
    panel.choose("electron-gpt");
    panel.choose("Quit");
    assert!(program.ended().0.success());
    panel.items.lock().unwrap().clear();

    let program = desk.start(&[]);
    panel.offers("Show | +StB | +electron-gpt | Pause | Count Exactly… | Start at Login | Quit");
    for _ in 0..3 {
        let window = desk.window();
        eventually("it stands where it stood", || (geometry(&window) == before).then_some(()));
        assert_eq!(desk.state()["place"], place, "it does not creep");
        panel.click();
        desk.no_window(&program);
        panel.click();
    }
}

#[test]
fn an_app_that_was_remembered_by_its_units_name_is_one_with_its_row() {
    let desk = Desk::x11();
    desk.world.unit("app.slice/kitty-1234-0.scope");
    let state = desk.world.home().join("state/netglance");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("state.json"), r#"{"watched": ["kitty-1234-0", "kitty-99-0"]}"#).unwrap();
    let panel = desk.panel();
    let _program = desk.start(&["--hidden"]);
    eventually("its id is the app's", || {
        (desk.state()["watched"] == serde_json::json!(["kitty", "kitty-99-0"])).then_some(())
    });
    panel.says("kitty  down 0 B/s  up 0 B/s");
    panel.offers("Show | StB | +kitty | +kitty-99-0 | Pause | Count Exactly… | Start at Login | Quit");
}

const ESTIMATE: &str = "Show | +StB | Pause | Count Exactly… | Start at Login | Quit";
const EXACT: &str = "Show | +StB | Pause | Start at Login | Quit";

/// Services of the desktop and login sessions are there and not in the menu.
#[test]
fn the_menu_has_apps_the_busiest_first_and_no_services() {
    let desk = Desk::x11();
    for unit in ["dbus.service", "dconf.service", "at-spi-dbus-bus.service", "app-mail@autostart.service"] {
        desk.world.unit(&format!("app.slice/{unit}"));
    }
    desk.entry("mail", "Name=A Mail");
    desk.entry("electron-gpt", "Name=Z Assistant");
    let panel = desk.panel();
    let _program = desk.start(&["--hidden"]);
    panel.offers("Show | +StB | A Mail | Z Assistant | Pause | Count Exactly… | Start at Login | Quit");
    let _traffic = desk.world.traffic(OTHER, &["move", "90000000", "90000000", "400000", &support::at(PUBLIC4)]);
    let _service = desk.world.moved("app.slice/sync.service", 1000, 1000, &[PUBLIC4]);
    panel.offers("Show | +StB | Z Assistant | sync | A Mail | Pause | Count Exactly… | Start at Login | Quit");
}

/// What an app has moved while there was no window, and nobody had chosen it, is in its chart at the first click: by then it
/// moves nothing any more.
#[test]
fn the_past_is_there_at_the_first_click() {
    let desk = Desk::x11();
    let panel = desk.panel();
    let program = desk.start(&["--hidden"]);
    panel.says("StB  down 0 B/s  up 0 B/s");
    let traffic = ["move", "4000000", "300000", "400000", &support::at(PUBLIC4)];
    assert!(desk.world.traffic(OTHER, &traffic).end().0.success());
    panel.click();
    let window = desk.window();
    desk.ask("xdotool", &["mousemove", "990", "690"]);
    let watched = |ids: serde_json::Value| {
        eventually(&format!("{ids} is watched"), || (desk.state()["watched"] == ids).then_some(()));
    };
    // The area below the download's line, in pixels.
    let filled = |name: &str| {
        desk.picture(&window, name);
        let picture = format!("{}/{name}.png", env!("CARGO_TARGET_TMPDIR"));
        let histogram = desk.ask("convert", &[&picture, "-format", "%c", "histogram:info:"]);
        let line = histogram.lines().find(|line| line.contains("#2B485B"));
        line.map_or(0, |line| line.split(':').next().unwrap().trim().parse::<u32>().unwrap())
    };
    assert_eq!(filled("past-stb"), 0, "StB has moved nothing");
    desk.press(&window, &["BackSpace"]);
    watched(serde_json::json!([]));
    panel.says("All applications  down 0 B/s  up 0 B/s");
    eventually("what all have moved", || (filled("past-all") > 1000).then_some(()));
    // Behind StB, as an own app comes first.
    desk.press(&window, &["Down", "Down", "Return"]);
    watched(serde_json::json!(["electron-gpt"]));
    panel.says("electron-gpt  down 0 B/s  up 0 B/s");
    eventually("what it has moved", || (filled("past-app") > 1000).then_some(()));
    desk.press(&window, &["alt+Left"]);
    watched(serde_json::json!([]));
    panel.choose("Quit");
    assert!(program.ended().0.success());
    panel.items.lock().unwrap().clear();
    let _program = desk.start(&["--hidden"]);
    panel.says("All applications  down 0 B/s  up 0 B/s");
    watched(serde_json::json!([]));
}

#[test]
fn count_exactly_asks_the_helper_once_and_a_refusal_changes_nothing() {
    let desk = Desk::x11();
    let switches = Arc::new(Mutex::new(Switches { refuses: true, ..Switches::default() }));
    let _helper = desk.helper(&switches);
    let panel = desk.panel();
    let mut program = desk.start(&["--hidden"]);
    panel.offers(ESTIMATE);
    panel.choose("Count Exactly…");
    eventually("the helper is asked", || (switches.lock().unwrap().asked == 1).then_some(()));
    panel.offers(ESTIMATE);
    panel.says("StB  down ");
    switches.lock().unwrap().refuses = false;
    panel.choose("Count Exactly…");
    eventually("the helper is read", || (switches.lock().unwrap().reads > 2).then_some(()));
    panel.offers(EXACT);
    assert_eq!(switches.lock().unwrap().asked, 2, "it does not ask by itself");
    assert!(switches.lock().unwrap().prefixes.is_empty());
    desk.world.configure("[prefixes]\ninternal = [\"203.0.114.0/24\"]\n");
    let handed = || switches.lock().unwrap().prefixes.clone();
    let expected = vec![(vec![(vec![203, 0, 114, 0], 24)], vec![])];
    eventually("the helper gets the prefixes", || (handed() == expected).then_some(()));
    assert_eq!(switches.lock().unwrap().asked, 3, "once");
    switches.lock().unwrap().refuses = true;
    desk.world.configure("[prefixes]\ninternal = [\"203.0.115.0/24\"]\n");
    eventually("the helper is asked again", || (switches.lock().unwrap().asked == 4).then_some(()));
    let reads = switches.lock().unwrap().reads;
    eventually("it goes on", || (switches.lock().unwrap().reads > reads + 2).then_some(()));
    panel.offers(EXACT);
    assert_eq!((handed(), switches.lock().unwrap().asked), (expected, 4), "no is no");
    assert!(program.status().is_none());
}

/// Nobody would see a question in a window that is hidden. The line over everything has its buttons at the window's top.
#[test]
fn a_bug_of_the_kernel_is_asked_about_in_the_window() {
    let desk = Desk::x11();
    let switches = Arc::new(Mutex::new(Switches { leaks: true, ..Switches::default() }));
    let _helper = desk.helper(&switches);
    let panel = desk.panel();
    let mut program = desk.start(&["--hidden"]);
    panel.offers(ESTIMATE);
    desk.no_window(&program);
    panel.choose("Count Exactly…");
    let window = desk.window();
    assert!(!switches.lock().unwrap().counts);
    eventually("the button is pressed", || {
        click_at(&desk, &window, COUNT_ANYWAY);
        switches.lock().unwrap().counts.then_some(())
    });
    panel.offers(EXACT);
    assert!(program.status().is_none());
}

/// The window's first and second button, where there is a question.
const COUNT_ANYWAY: [&str; 2] = ["66", "43"];
const KEEP_THE_ESTIMATE: [&str; 2] = ["190", "43"];

fn click_at(desk: &Desk, window: &str, [x, y]: [&str; 2]) {
    desk.ask("xdotool", &["mousemove", "--window", window, x, y, "click", "1"]);
}

#[test]
fn a_question_is_gone_once_an_administrator_has_answered_it_elsewhere() {
    let desk = Desk::x11();
    let switches = Arc::new(Mutex::new(Switches { leaks: true, ..Switches::default() }));
    let helper = desk.helper(&switches);
    let panel = desk.panel();
    let _program = desk.start(&["--hidden"]);
    panel.offers(ESTIMATE);
    panel.choose("Count Exactly…");
    let window = desk.window();
    let buttons = || desk.ask("import", &["-window", &window, "-crop", "240x24+20+31", "-format", "%#", "info:-"]);
    let mut question = buttons();
    eventually("the question stands there", || {
        thread::sleep(Duration::from_millis(500));
        let now = buttons();
        (std::mem::replace(&mut question, now.clone()) == now).then_some(())
    });
    desk.picture(&window, "question");
    switches.lock().unwrap().counts = true;
    desk.wait(async {
        let object = helper.object_server().interface::<_, Helper1<Helper>>(OBJECT_PATH).await.unwrap();
        object.get().await.installed_changed(object.signal_emitter()).await.unwrap();
    });
    panel.offers(EXACT);
    let beats = || {
        let before = switches.lock().unwrap().reads;
        eventually("beats go by", || (switches.lock().unwrap().reads > before + 2).then_some(()));
    };
    eventually("the question is gone", || (buttons() != question).then_some(()));
    desk.picture(&window, "question-gone");
    click_at(&desk, &window, COUNT_ANYWAY);
    beats();
    assert_eq!(switches.lock().unwrap().asked, 0, "nothing is left to agree to");
}

#[test]
fn a_no_is_remembered_and_count_exactly_asks_again() {
    let desk = Desk::x11();
    let switches = Arc::new(Mutex::new(Switches { leaks: true, unconfirmed: true, ..Switches::default() }));
    let _helper = desk.helper(&switches);
    let panel = desk.panel();
    let program = desk.start(&[]);
    let window = desk.window();
    eventually("the no is kept", || {
        click_at(&desk, &window, KEEP_THE_ESTIMATE);
        (desk.state()["refused"] == "this kernel has a bug").then_some(())
    });
    panel.choose("Quit");
    assert!(program.ended().0.success());
    panel.items.lock().unwrap().clear();
    let _program = desk.start(&[]);
    panel.item();
    let window = desk.window();
    click_at(&desk, &window, COUNT_ANYWAY);
    // What comes after the click is done after it.
    desk.press(&window, &["2"]);
    eventually("the span is kept", || (desk.state()["span_min"] == 5).then_some(()));
    assert_eq!(switches.lock().unwrap().asked, 0, "it is not asked again by itself");
    assert_eq!(desk.state()["refused"], "this kernel has a bug");
    panel.choose("Count Exactly…");
    eventually("the question is back", || {
        click_at(&desk, &window, COUNT_ANYWAY);
        switches.lock().unwrap().counts.then_some(())
    });
}

/// What a page asks for is done while it is open, and no longer.
#[test]
fn the_proof_page_proves_and_remotes_are_asked_for_while_theirs_is_open() {
    let mut desk = Desk::x11();
    let switches = Arc::new(Mutex::new(Switches { counts: true, ..Switches::default() }));
    let helper = desk.helper(&switches);
    let program = desk.unpacked();
    desk.prover(&program);
    let panel = desk.panel();
    let mut running = desk.start_as(&program, &[]);
    let window = desk.window();
    let seen = |what: fn(&Switches) -> usize| what(&switches.lock().unwrap());
    let reads = |more: usize| {
        let before = seen(|s| s.reads);
        eventually("beats go by", || (seen(|s| s.reads) >= before + more).then_some(()));
    };
    reads(2);
    assert_eq!(seen(|s| s.remotes_read), 0, "nobody asks for remotes");

    // To the button past Close. Several of these keys may come within one frame.
    desk.press(&window, &["ctrl+p", "Tab", "Tab", "Return"]);
    eventually("it is proven", || fs::read_to_string(desk.world.home().join("proven")).ok());
    switches.lock().unwrap().warning = "more than 9 control groups have traffic".to_owned();
    desk.wait(async {
        let object = helper.object_server().interface::<_, Helper1<Helper>>(OBJECT_PATH).await.unwrap();
        object.get().await.warning_changed(object.signal_emitter()).await.unwrap();
    });
    reads(2);
    desk.picture(&window, "proof");
    assert_eq!(seen(|s| s.remotes_read), 0, "the proof is not about them");
    desk.press(&window, &["Escape", "ctrl+n"]);
    eventually("the remotes are asked for at each beat", || (seen(|s| s.remotes_read) > 2).then_some(()));
    desk.press(&window, &["Escape"]);
    eventually("closed, it costs nothing", || {
        let after = seen(|s| s.remotes_read);
        reads(3);
        (seen(|s| s.remotes_read) == after).then_some(())
    });
    let after = seen(|s| s.remotes_read);
    desk.press(&window, &["ctrl+n"]);
    eventually("they are asked for again", || (seen(|s| s.remotes_read) > after).then_some(()));
    // Where none is chosen, those of all are asked for.
    desk.press(&window, &["Escape", "BackSpace"]);
    eventually("none is watched", || (desk.state()["watched"] == serde_json::json!([])).then_some(()));
    reads(2);
    let after = seen(|s| s.remotes_read);
    let _mail = desk.world.moved("app.slice/app-mail-1.scope", 1000, 1000, &[PUBLIC4]);
    desk.press(&window, &["ctrl+n"]);
    eventually("the remotes of all are asked for", || (seen(|s| s.remotes_read) > after + 2).then_some(()));
    desk.picture(&window, "connections-of-all");
    panel.click();
    desk.no_window(&running);
    let after = seen(|s| s.remotes_read);
    reads(3);
    assert_eq!(seen(|s| s.remotes_read), after, "hidden, it costs nothing");
    assert_eq!(fs::read_to_string(desk.world.home().join("proven")).unwrap(), "proven\n", "once");
    assert!(running.status().is_none());
}

#[test]
fn without_a_helper_on_the_system_pkexec_sets_it_up() {
    let mut desk = Desk::x11();
    let program = desk.unpacked();
    let home = desk.world.home().to_owned();
    let panel = desk.panel();
    let mut running = desk.start_as(&program, &["--hidden"]);
    panel.offers(ESTIMATE);
    let asked = || fs::read_to_string(home.join("pkexec.asked")).unwrap_or_default();
    let mut expected = String::new();
    for (exits, says) in [("126", ""), ("127", "Error executing command as another user: Not authorized"), ("1", "no")]
    {
        fs::write(home.join("pkexec.exits"), exits).unwrap();
        fs::write(home.join("pkexec.says"), says).unwrap();
        panel.choose("Count Exactly…");
        expected +=
            &format!("--disable-internal-agent {} set-up\n", program.with_file_name("netglance-helper").display());
        eventually("pkexec is asked", || (asked() == expected).then_some(()));
        panel.offers(ESTIMATE);
        panel.says("StB  down ");
    }
    assert!(running.status().is_none());
}

#[test]
fn on_wayland_it_shows_and_hides_as_well() {
    let desk = Desk::wayland();
    let panel = desk.panel();
    let program = desk.start(&[]);
    // What the client says to the compositor, which counts its windows and the pictures in them.
    let painted = |windows: usize| {
        eventually("a painted window", || {
            let said = program.stderr();
            let last = said.rfind("set_app_id(\"org.netglance.Netglance\")")?;
            let shown = said.matches("set_app_id(\"org.netglance.Netglance\")").count();
            let frames = said.get(last..)?.matches(".commit()").count();
            (shown == windows && frames > 2 && children(program.pid()).len() == 1).then_some(())
        });
    };
    let hidden = || eventually("no window", || children(program.pid()).is_empty().then_some(()));
    painted(1);
    let mut after_first = 0;
    for round in 0..20 {
        panel.click();
        hidden();
        if round == 0 {
            after_first = resident_kb(program.pid());
        }
        panel.click();
        painted(round + 2);
    }
    panel.click();
    hidden();
    let after_last = resident_kb(program.pid());
    println!("resident after the first and after the last: {after_first} kB, {after_last} kB");
    assert!(after_last * 10 <= after_first * 11, "{after_first} kB, then {after_last} kB");
}
