//! `netglance verify` as a person starts it: `--live` without any privilege, and the proof without the right to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use support::{AGENT, GUEST, HOST4, LAN4, LAN6, OTHER, PUBLIC4, PUBLIC6, SERVER, SHELL, TAILNET, World, at};

const STB: [&str; 2] = ["--unit", "stb-next-*.service"];
const MB: u64 = 1_000_000;
const NOBODY: u32 = 65_534;

/// The sockets that `verify --live` lists.
#[track_caller]
fn live(world: &World, arguments: &[&str]) -> Vec<Value> {
    let (status, stdout, stderr) =
        world.netglance_as_user(&[&["verify", "--live", "--json"], arguments].concat()).end();
    assert!(status.success(), "{stderr}");
    serde_json::from_str(&stdout.join("\n")).expect("JSON")
}

#[test]
fn live_says_of_each_socket_what_the_counters_do_with_it() {
    let world = World::new();
    let mut watch = world.watch(&STB);
    let (external, internal) = ([PUBLIC4, PUBLIC6, "::ffff:93.184.216.34"], [LAN4, LAN6, TAILNET, GUEST]);
    let _external = world.moved(AGENT, 2 * MB, MB, &external);
    let _internal = world.moved(SERVER, 3 * MB, MB, &internal);
    let _datagrams = world.traffic(SHELL, &["udp", &at(PUBLIC6)]).says("ready");
    let _other = world.moved(OTHER, MB, MB, &[PUBLIC4]);

    let sockets = live(&world, &STB);
    let check = |unit: &str, protocol: &str, remote: &str, scope: &str, prefix: Value, reason: &str| {
        let is_it = |socket: &&Value| {
            socket["cgroup"].as_str().unwrap().ends_with(unit)
                && socket["protocol"] == protocol
                && socket["remote"] == remote
        };
        let found = sockets.iter().find(is_it).unwrap_or_else(|| panic!("no {remote} in {sockets:#?}"));
        assert_eq!(
            (&found["scope"], &found["prefix"], &found["port"]),
            (&scope.into(), &prefix, &8001.into()),
            "{found}"
        );
        assert!(found["reason"].as_str().unwrap().contains(reason), "no {reason:?} in {found}");
        assert!(found["counters"].is_null(), "no helper runs here: {found}");
    };
    check(AGENT, "tcp", PUBLIC4, "external", Value::Null, "a public address");
    check(AGENT, "tcp", PUBLIC6, "external", Value::Null, "a public address");
    check(AGENT, "tcp", "::ffff:93.184.216.34", "external", Value::Null, "a public address");
    check(SERVER, "tcp", LAN4, "internal", "192.168.2.0/24".into(), "without a router");
    check(SERVER, "tcp", LAN6, "internal", "2001:4860:1::/64".into(), "without a router");
    check(SERVER, "tcp", TAILNET, "internal", "100.64.0.0/10".into(), "without a router");
    check(SERVER, "tcp", GUEST, "internal", "192.168.122.0/24".into(), "without a router");
    check(SHELL, "udp", PUBLIC6, "external", Value::Null, "a public address");
    assert_eq!(sockets.len(), external.len() + internal.len() + 1, "another app's, or none: {sockets:#?}");

    // What it calls external is what was counted as that, and the same of internal.
    let of = |scope: &str| sockets.iter().filter(|s| s["scope"] == scope && s["protocol"] == "tcp").count() as u64;
    let line = watch.look();
    let near = |field: &str, expected: u64| {
        let seen = line[field].as_u64().unwrap();
        assert!(seen.abs_diff(expected) * 100 <= expected, "{field}: {seen}, and {expected} by the sockets: {line}");
    };
    near("rx_bytes", of("external") * 2 * MB);
    near("internal_rx_bytes", of("internal") * 3 * MB);
    assert_eq!(line["unmeasured_udp_sockets"], 1);
}

#[test]
fn live_names_the_settings_where_they_decide() {
    let world = World::new();
    world.configure("[prefixes]\ninternal = [\"93.184.216.0/24\"]\n");
    let _connection = world.moved(SHELL, 1000, 1000, &[PUBLIC4]);
    let (status, stdout, stderr) = world.netglance(&["verify", "--live", "--json"]).end();
    assert!(status.success(), "{stderr}");
    let sockets: Value = serde_json::from_str(&stdout.join("\n")).expect("JSON");
    let expected = ("internal", "93.184.216.0/24", "from your settings");
    let found = |field: &str| sockets[0][field].as_str().unwrap_or_default().to_owned();
    assert_eq!((found("scope").as_str(), found("prefix").as_str(), found("reason").as_str()), expected, "{sockets:#}");
}

#[test]
fn live_reads_well_in_a_terminal_too() {
    let world = World::new();
    let _connection = world.moved(SHELL, 1000, 1000, &[PUBLIC4, HOST4.replace("159", "1").as_str()]);
    let (status, stdout, stderr) = world.netglance(&["verify", "--live", "--app", "stb"]).end();
    assert!(status.success(), "{stderr}");
    assert_eq!(
        stdout,
        [
            "stb-next-shell@split.service",
            "  external TCP  93.184.216.34:8001                              a public address that no internal prefix contains",
            "  internal TCP  192.168.2.1:8001                                192.168.2.0/24: on a network of this computer, \
             reached without a router",
            "StB: 1 external, 1 internal, 0 not connected.",
        ]
    );
}

/// netglance and the program beside it, where any user may run them.
struct Copies(tempfile::TempDir);

impl Copies {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_netglance"));
        fs::copy(built, directory.path().join("netglance")).unwrap();
        let verify = built.with_file_name("netglance-verify");
        assert!(verify.exists(), "{} is not built: cargo build --package netglance-helper", verify.display());
        fs::copy(verify, directory.path().join("netglance-verify")).unwrap();
        Self(directory)
    }

    /// As nobody, with programs found in the copies' own directory alone.
    fn verify_as_nobody(&self) -> (Option<i32>, String) {
        let mut command = Command::new(self.0.path().join("netglance"));
        command.arg("verify").env_clear().env("PATH", self.0.path()).uid(NOBODY).gid(NOBODY);
        let output = command.output().unwrap();
        assert_eq!(output.stdout, b"", "{output:?}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    fn pkexec(&self, script: &str) {
        let path = self.0.path().join("pkexec");
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn without_the_right_to_it_the_proof_says_what_to_do() {
    let copies = Copies::new();
    let check = |said: &[&str]| {
        let (code, stderr) = copies.verify_as_nobody();
        assert_eq!(code, Some(1), "{stderr}");
        said.iter().for_each(|words| assert!(stderr.contains(words), "no {words:?} in: {stderr}"));
    };
    check(&[
        "pkexec, which asks for the password, is not installed",
        "apt-get install pkexec",
        "sudo netglance verify",
    ]);
    copies.pkexec("#!/bin/sh\necho 'Error executing command as another user: Request dismissed' >&2\nexit 126\n");
    check(&["was not authorised, so nothing was tested", "Request dismissed", "sudo netglance verify"]);
    // One that starts it without becoming root.
    copies.pkexec("#!/bin/sh\n[ \"$1\" = --disable-internal-agent ] || exit 3\nshift\nexec \"$@\"\n");
    check(&["it could not run: it needs root for a few seconds"]);
    fs::remove_file(copies.0.path().join("netglance-verify")).unwrap();
    let expected =
        if Path::new("/usr/libexec/netglance-verify").exists() { "could not run" } else { "nor beside netglance" };
    check(&[expected]);
}

#[test]
fn as_root_it_proves_and_prints_a_table_or_json() {
    // A burst anywhere loses packets of other namespaces.
    let _alone = World::alone();
    let copies = Copies::new();
    let run = |arguments: &[&str]| -> Output {
        Command::new(copies.0.path().join("netglance")).args(arguments).output().unwrap()
    };
    let output = run(&["verify"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for words in [
        "the app\n",
        "  pass Public IPv4, TCP",
        "another app of the same user",
        "no packet left this computer",
        "All 55 cases passed",
    ] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 118), "too wide:\n{text}");
    let output = run(&["verify", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &report["passed"]), (Some(0), &true.into()), "{report:#}");
    assert_eq!(report["cases"][0]["verdict"], "pass");
    let output = run(&["verify", "--app", "StB"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("need --live"));
}
