//! The programs of a login session, told apart with real processes and real connections in a real cgroup.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/looker.rs"]
mod looker;
mod support;

use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use netglance::look::programs::{ByProgram, Chosen, Program as Told};
use serde_json::Value;
use support::{LAN4, OTHER4, PUBLIC4, PUBLIC6, Program, World, at, traffic};

type Looker = looker::Looker<ByProgram>;

/// As a desktop that starts everything in its session has it.
const SESSION: &str = "../session-2.scope";
const TERMINAL: &str = "app.slice/app-terminal-7.scope";

/// Looks at each line: `look`, `open ID`, `close ID`, `page ID`, or `forget`; and says what it has seen.
#[test]
fn looker() {
    let mut chosen = Chosen::default();
    looker::serve(async |monitor, line| {
        match line.split_once(' ') {
            Some(("open", id)) => _ = chosen.opened.insert(id.to_owned(), true),
            Some(("close", id)) => _ = chosen.opened.insert(id.to_owned(), false),
            Some(("page", id)) => chosen.apps = vec![id.to_owned()],
            _ => {}
        }
        monitor.look(Duration::from_secs(1)).await;
        match line {
            "forget" => monitor.forget_programs(),
            _ => monitor.look_at_programs(&chosen).unwrap(),
        }
        monitor.by_program()
    });
}

impl Looker {
    /// The programs of an app after this line.
    #[track_caller]
    fn sees_in(&mut self, app: &str, line: &str) -> ByProgram {
        let all = self.sees(line);
        all.iter().find(|by| by.app == app).unwrap_or_else(|| panic!("{app} is not in {all:?}")).clone()
    }
}

/// What was asked for, and the few bytes in which that was asked.
fn are_nearly(bytes: [u64; 2], asked: [u64; 2]) -> bool {
    (0..2).all(|at| (asked[at]..asked[at] + 64).contains(&bytes[at]))
}

#[track_caller]
fn program<'a>(by: &'a ByProgram, name: &str) -> &'a Told {
    by.programs.iter().find(|program| program.name == name).unwrap_or_else(|| panic!("no {name} in {by:#?}"))
}

/// A program of this name, in the menu if it has an entry.
fn install(world: &World, name: &str, entry: Option<&str>) -> String {
    let folder = world.home().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    match entry {
        // A wrapper, as browsers have it: what it starts is part of it.
        Some(_) => {
            fs::write(&file, "#!/bin/sh\nexec 3<&0\n\"$@\" <&3 &\nwait\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        None => _ = fs::copy(traffic(), &file).unwrap(),
    }
    if let Some(shown) = entry {
        let applications = world.home().join(".local/share/applications");
        fs::create_dir_all(&applications).unwrap();
        let text = format!("[Desktop Entry]\nType=Application\nName={shown}\nExec=\"{}\" %u\n", file.display());
        fs::write(applications.join(format!("{name}.desktop")), text).unwrap();
    }
    file.to_str().unwrap().to_owned()
}

/// Runs a program in a cgroup below the user manager, in the host's network.
fn run(world: &World, unit: &str, command: &[&str]) -> Program {
    world.start("host", &world.unit(unit), command[0], &command[1..])
}

#[test]
fn a_sessions_programs_are_told_apart_and_their_sum_is_the_sessions() {
    let world = World::new();
    let browser = install(&world, "test-browser", Some("Test Browser"));
    let (content, daemon, child) =
        (install(&world, "content", None), install(&world, "a-daemon", None), install(&world, "short", None));
    let (public, other, six, lan) = (at(PUBLIC4), at(OTHER4), at(PUBLIC6), at(LAN4));
    let mut looker = Looker::new(&world);
    // Held open from before the first look: what they have moved by then counts for nobody.
    let _old = run(&world, SESSION, &[&daemon, "move", "5000", "5000", "0", &public]).says("done");
    assert_eq!(looker.sees("look").iter().filter(|by| by.is_open).count(), 0, "one program alone");
    let browsing = run(&world, SESSION, &[&browser, &content, "move", "300000", "20000", "0", &public, &six, &lan]);
    let browsing = browsing.says("done");
    let opened = support::eventually("the session is opened", || {
        looker.sees("look").into_iter().find(|by| by.app == "session-2")
    });
    assert!(opened.is_open, "it holds a program of the menu: {opened:?}");
    assert_eq!((opened.bytes, opened.rest.bytes), ([0; 2], [0; 2]), "{opened:?}");
    let names: Vec<_> = opened.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["a-daemon", "Test Browser"]);
    let told = program(&opened, "Test Browser");
    assert_eq!((told.processes, told.desktop_id.as_deref(), told.in_menu), (2, Some("test-browser"), true));
    // From here on, everything counts: IPv4 and IPv6, and nothing that stays inside.
    let second = run(&world, SESSION, &[&daemon, "move", "70000", "9000", "0", &other]).says("done");
    let third = run(&world, SESSION, &[&browser, &content, "move", "100000", "3000", "0", &six, &public, &lan]);
    let third = third.says("done");
    let by = looker.sees_in("session-2", "look");
    assert!(are_nearly(program(&by, "a-daemon").bytes, [70_000, 9000]), "{by:#?}");
    assert!(are_nearly(program(&by, "Test Browser").bytes, [200_000, 6000]), "{by:#?}");
    assert!(program(&by, "Test Browser").rate.is_some_and(|rate| rate.rx > 0.0));
    assert!(are_nearly(by.bytes, [270_000, 15_000]) && by.rest.bytes == [0; 2], "{by:#?}");
    // Its last words are still its own, and so are its figures when it has ended.
    drop(second);
    drop(third);
    drop(browsing);
    let by = support::eventually("the browser has ended", || {
        let by = looker.sees_in("session-2", "look");
        (program(&by, "Test Browser").processes == 0).then_some(by)
    });
    assert!(are_nearly(program(&by, "Test Browser").bytes, [200_000, 6000]), "{by:#?}");
    // What was too short for a look is explained by nobody; nor is it in the estimate of the session.
    _ = run(&world, SESSION, &[&child, "move", "4000", "4000", "0", &public]).says("done").end();
    let by = looker.sees_in("session-2", "look");
    assert!(by.programs.iter().all(|program| program.name != "short"), "{by:#?}");
    let sum = by.programs.iter().fold(by.rest.bytes, |sum, p| [sum[0] + p.bytes[0], sum[1] + p.bytes[1]]);
    assert_eq!(sum, by.bytes, "{by:#?}");
    // Nobody looks, and somebody looks again: it begins anew.
    assert_eq!(looker.sees("forget"), []);
    let _again = run(&world, SESSION, &[&browser, &content, "move", "7000", "7000", "0", &public]).says("done");
    let by = looker.sees_in("session-2", "look");
    assert_eq!(by.bytes, [0; 2]);
    assert!(by.programs.iter().all(|program| program.bytes == [0; 2]), "{by:#?}");
    assert!(!looker.sees_in("session-2", "close session-2").is_open);
}

#[test]
fn any_cgroup_with_several_programs_is_told_apart_where_somebody_asks() {
    let world = World::new();
    let (one, two) = (install(&world, "program-one", None), install(&world, "program-two", None));
    let public = at(PUBLIC4);
    let mut looker = Looker::new(&world);
    let _one = run(&world, TERMINAL, &[&one, "move", "10", "10", "0", &public]).says("done");
    assert!(looker.sees("look").iter().all(|by| by.app != "terminal"), "one program is no choice");
    let _two = run(&world, &format!("{TERMINAL}/below"), &[&two, "move", "10", "10", "0", &public]).says("done");
    let by = support::eventually("both are seen", || looker.sees("look").into_iter().find(|by| by.app == "terminal"));
    assert_eq!((by.is_open, by.count, by.programs.len()), (false, 2, 0), "nobody looks at them");
    assert!(looker.sees_in("terminal", "open terminal").is_open);
    let _more = run(&world, TERMINAL, &[&two, "move", "8000", "100", "0", &public]).says("done");
    let by = looker.sees_in("terminal", "look");
    assert!(are_nearly(program(&by, "program-two").bytes, [8000, 100]), "{by:#?}");
    assert_eq!(program(&by, "program-one").bytes, [0; 2], "{by:#?}");
    assert!(!looker.sees_in("terminal", "close terminal").is_open);
    // On its own page it is open, and it is the only app there.
    let all = looker.sees("page terminal");
    assert_eq!(all.iter().map(|by| (by.app.as_str(), by.is_open)).collect::<Vec<_>>(), [("terminal", true)]);
}

#[test]
fn the_terminal_lists_the_programs_of_a_session() {
    let world = World::new();
    let browser = install(&world, "test-browser", Some("Test Browser"));
    let (content, daemon) = (install(&world, "content", None), install(&world, "a-daemon", None));
    let public = at(PUBLIC4);
    let _browser = run(&world, SESSION, &[&browser, &content, "move", "10", "10", "0", &public]).says("done");
    let _daemon = run(&world, SESSION, &[&daemon, "move", "10", "10", "0", &public]).says("done");
    let _one = run(&world, TERMINAL, &[&daemon, "move", "10", "10", "0", &public]).says("done");
    let _two = run(&world, TERMINAL, &[&content, "move", "10", "10", "0", &public]).says("done");
    let lines = |arguments: &[&str]| {
        let (status, stdout, stderr) = world.netglance(arguments).ended();
        assert!(status.success(), "{stderr}");
        stdout
    };
    let stdout = lines(&["apps"]);
    let at = stdout.iter().position(|line| line.starts_with("session-2 ")).unwrap();
    assert_eq!(stdout[at + 1], "  estimate, by program (TCP only):", "{stdout:#?}");
    let names: Vec<_> = stdout[at + 2..at + 5].iter().map(|line| line.split("  ").nth(2).unwrap()).collect();
    assert_eq!(names, ["a-daemon", "Test Browser", "not explained by a program"], "{stdout:#?}");
    assert!(stdout[at + 3].ends_with("  test-browser"), "{stdout:#?}");
    assert_eq!(stdout.iter().filter(|line| line.contains("by program (")).count(), 1, "{stdout:#?}");
    let stdout = lines(&["apps", "--by-program"]);
    assert!(stdout.iter().filter(|line| line.contains("by program (")).count() >= 2, "{stdout:#?}");
    let json: Value = serde_json::from_str(&lines(&["apps", "--json"]).concat()).unwrap();
    let apps: HashMap<_, _> = json.as_array().unwrap().iter().map(|app| (app["id"].as_str().unwrap(), app)).collect();
    let programs = apps["session-2"]["programs"].as_array().unwrap();
    let named: Vec<_> = programs.iter().map(|program| (&program["name"], &program["desktop_id"])).collect();
    assert_eq!(named, [(&"a-daemon".into(), &Value::Null), (&"Test Browser".into(), &"test-browser".into())]);
    assert!(apps["session-2"]["not_by_program"]["rx_rate"].is_number(), "{json:#}");
    assert!(apps["terminal"].get("programs").is_none(), "{json:#}");
}

/// A person's own netglance, without any privilege, looks into their processes only.
#[test]
fn somebody_elses_processes_are_not_looked_into() {
    let world = World::new();
    let file: PathBuf = install(&world, "a-daemon", None).into();
    assert!(file.exists());
    let public = at(PUBLIC4);
    let _root = run(&world, SESSION, &[file.to_str().unwrap(), "move", "10", "10", "0", &public]).says("done");
    let (_, stdout, stderr) = world.netglance_as_user(&["apps", "--by-program"]).ended();
    assert!(stdout.iter().any(|line| line.starts_with("session-2")), "{stdout:?} {stderr}");
}
