//! Names that strangers chose: none of them drives the terminal of whoever looks at it, and none leads to another file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::{
    fs, io,
    process::{Command, Stdio},
};

use netglance_dbus::text::is_shown;
use serde_json::Value;
use support::{PUBLIC4, Program, World};

/// A window's title, a clipboard's content, a colour by a C1 character, a line that runs backwards, and nothing at all.
const RAW: &str = "app.slice/app-\u{1b}]0;PWNED\u{7}\u{9b}31m\u{202e}\u{200b}.service";
/// The same and a line end, as systemd writes such a name.
const ESCAPED: &str = r"app.slice/app-\x1b]0\x3bPWNED\x07\xc2\x9b31m\xe2\x80\xae\x0aline\x0d@autostart.service";
const ESCAPED_ID: &str = "\u{1b}]0;PWNED\u{7}\u{9b}31m\u{202e}\nline\r";

#[track_caller]
fn shown(what: &str, program: Program) -> Vec<String> {
    let (status, stdout, stderr) = program.ended();
    for text in stdout.iter().chain([&stderr]) {
        // Its lines come one by one, and only it can have begun them.
        let bad: Vec<_> = text.chars().filter(|c| *c != '\n' && !is_shown(*c)).collect();
        assert!(bad.is_empty(), "{what} ({status}) shows {bad:?} in {text:?}");
    }
    stdout
}

#[test]
fn names_drive_no_terminal() {
    let world = World::new();
    let _raw = world.moved(RAW, 1000, 1000, &[PUBLIC4]);
    let _escaped = world.moved(ESCAPED, 1000, 1000, &[PUBLIC4]);
    let units = ["--unit", "app-*PWNED*.service"];
    let with = |arguments: &[&'static str]| [arguments, &units].concat();
    for arguments in [
        vec!["apps"],
        vec!["apps", "--json"],
        vec!["verify", "--live", "--app", ESCAPED_ID],
        with(&["verify", "--live"]),
        with(&["verify", "--live", "--json"]),
        with(&["watch", "--count", "2", "--interval", "0.2"]),
        with(&["watch", "--json", "--count", "1", "--interval", "0.2"]),
        vec!["watch", "--count", "1", "--interval", "0.2", "--app", ESCAPED_ID],
        vec!["watch", "--count", "1", "--interval", "0.2", "--app", &ESCAPED_ID[1..]],
        vec!["watch", "--count", "1", "--interval", "0.2", "--unit", "\u{1b}]0;PWNED\u{7}*?"],
        with(&["doctor"]),
        with(&["doctor", "--markdown"]),
        with(&["doctor", "--json"]),
    ] {
        for (who, program) in [("root", world.netglance(&arguments)), ("a user", world.netglance_as_user(&arguments))] {
            let stdout = shown(&format!("{arguments:?} for {who}"), program);
            assert!(stdout.concat().contains("PWNED"), "{arguments:?} for {who} doesn't show it: {stdout:?}");
        }
    }
    // JSON has the name itself.
    let apps: Value = serde_json::from_str(&shown("apps", world.netglance(&["apps", "--json"])).concat()).unwrap();
    assert!(apps.as_array().unwrap().iter().any(|app| app["id"] == ESCAPED_ID), "{apps:#}");
}

#[test]
fn an_id_leads_to_no_file_outside_the_folders_of_desktop_entries() {
    let world = World::new();
    fs::create_dir_all(world.home().join(".local/share/applications")).unwrap();
    fs::write(world.home().join("evil.desktop"), "[Desktop Entry]\nType=Application\nName=ELSEWHERE\n").unwrap();
    world.unit(r"app.slice/app-..\x2f..\x2f..\x2fevil@autostart.service");
    let stdout = shown("apps", world.netglance(&["apps"])).join("\n");
    assert!(stdout.contains("../../../evil") && !stdout.contains("ELSEWHERE"), "{stdout}");
}

#[test]
fn whoever_hangs_up_makes_nothing_panic() {
    let world = World::new();
    let hung_up = || {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for (arguments, expected) in [
        (&["watch", "--count", "1", "--interval", "0.1", "--unit", "no-such.service"][..], 3),
        (&["apps"], 0),
        (&["verify", "--live", "--unit", "no-such.service"], 3),
        (&["watch", "--unit", "["], 1),
        (&["run", "--", "true"], 0),
        (&["window"], 1),
        (&["--help"], 0),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglance"));
        command.args(arguments).stdin(Stdio::null()).stdout(hung_up()).stderr(hung_up());
        for variable in ["DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(variable);
        }
        command.env("HOME", world.home()).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
        assert_eq!(command.status().unwrap().code(), Some(expected), "{arguments:?}");
    }
}
