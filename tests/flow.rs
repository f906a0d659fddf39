//! The estimate from end to end: netglance as a person starts it, against the bytes that the peer's nft counters saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{
    AGENT, GUEST, HOST4, HOST6, LAN4, LAN6, OTHER, OTHER4, PUBLIC4, PUBLIC6, SERVER, SHELL, TAILNET, World, at,
    eventually,
};

const STB: [&str; 2] = ["--unit", "stb-next-*.service"];
const MB: u64 = 1_000_000;

fn bytes(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn unit<'a>(line: &'a Value, cgroup: &str) -> &'a Value {
    let units = line["units"].as_array().expect("units");
    let found = units.iter().find(|unit| unit["cgroup"].as_str().is_some_and(|path| path.ends_with(cgroup)));
    found.unwrap_or_else(|| panic!("no unit {cgroup} in {line}"))
}

#[test]
fn the_estimate_agrees_with_the_peer() {
    let world = World::new();
    let mut watch = world.watch(&STB);
    let _v4 = world.moved(AGENT, 5 * MB, 2 * MB, &[PUBLIC4, "::ffff:93.184.216.34"]);
    let _v6 = world.moved(SERVER, 2 * MB, 5 * MB, &[PUBLIC6]);
    let line = watch.look();
    let (v4, v6) = (world.truth(PUBLIC4), world.truth(PUBLIC6));
    assert!(v4.rx > 9 * MB && v6.tx > 4 * MB, "the peer has moved nothing: {v4:?} {v6:?}");
    v4.plus(v6).agrees(&line);
    v4.agrees(unit(&line, AGENT));
    v6.agrees(unit(&line, SERVER));
    assert_eq!(unit(&line, SHELL)["rx_bytes"], 0);
    assert_eq!(unit(&line, SHELL)["unit"], "stb-next-shell@split.service");
    assert_eq!(line["source"], "estimate");
    assert_eq!(line["units"].as_array().unwrap().len(), 3, "{line}");
    let idle = watch.measured();
    assert_eq!(idle["rx_rate"].as_f64(), Some(0.0), "{idle}");
}

#[test]
fn what_is_not_outside_or_not_the_app_is_left_out() {
    let world = World::new();
    let own = ["127.0.0.1", "::1", HOST4, HOST6];
    let listen = own.map(at);
    let _server = world.traffic(SERVER, &[&["serve"], &listen.each_ref().map(String::as_str)[..]].concat());
    let mut watch = world.watch(&STB);
    let mut other = world.watch(&["--app", "electron-gpt"]);
    let _own = world.moved(SHELL, 2 * MB, MB, &own);
    let _around = world.moved(SHELL, 2 * MB, MB, &[LAN4, LAN6, TAILNET, GUEST, "::ffff:192.168.2.1"]);
    let _other = world.moved(OTHER, 20 * MB, 10 * MB, &[OTHER4, PUBLIC6]);

    watch.look();
    for line in watch.lines() {
        for part in line["units"].as_array().unwrap().iter().chain([&line]) {
            assert_eq!((&part["rx_bytes"], &part["tx_bytes"]), (&0.into(), &0.into()), "{line}");
            assert!(part["rx_rate"].as_f64().is_none_or(|rate| rate == 0.0), "{line}");
        }
    }
    // The shell's nine connections, and the server's end of the four that it accepted.
    let line = watch.look();
    let internal = |field: &str, sent: u64| assert!(bytes(&line, field).abs_diff(sent) * 100 <= sent, "{line}");
    internal("internal_rx_bytes", 9 * 2 * MB + 4 * MB);
    internal("internal_tx_bytes", 9 * MB + 4 * 2 * MB);

    let (v4, v6) = (world.truth(OTHER4), world.truth(PUBLIC6));
    v4.plus(v6).agrees(&other.look());
}

#[test]
fn a_service_restarts_under_traffic_and_the_total_goes_on() {
    let world = World::new();
    let mut watch = world.watch(&["--unit", "stb-next-shell@*.service"]);
    let traffic = |total: u64| {
        let total = total.to_string();
        world.traffic(SHELL, &["move", &total, &total, "4000000", &at(PUBLIC4)])
    };
    let first = traffic(1000 * MB);
    let seen = watch.line("traffic", |line| bytes(line, "rx_bytes") > 4 * MB && bytes(line, "tx_bytes") > 4 * MB);
    // Halfway to the next look: the rest is in the kernel's last words on the socket.
    eventually("more traffic", || (world.truth(PUBLIC4).rx > bytes(&seen, "rx_bytes") + MB * 4 / 10).then_some(()));
    // What is on the wire when the program is killed (a piece of 16 kB or two) is sent and never received.
    drop(first);
    world.remove(SHELL);
    watch.line("a gap", |line| line["gap"].as_str().is_some_and(|gap| gap.contains("waiting for")));
    let before = watch.look();
    assert!(before["rx_rate"].is_null(), "a rate in a gap: {before}");
    world.truth(PUBLIC4).agrees(&before);
    let _second = traffic(2 * MB).says("done");
    world.truth(PUBLIC4).agrees(&watch.look());
    assert!(bytes(&watch.look(), "rx_bytes") >= bytes(&before, "rx_bytes") + 2 * MB);
    for field in ["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes", "boottime_ns"] {
        let lines = watch.lines();
        assert!(lines.is_sorted_by_key(|line| bytes(line, field)), "{field} went backwards: {lines:#?}");
    }
}

#[test]
fn what_is_left_of_a_closed_connection_disturbs_nobody() {
    let mut world = World::new();
    world.peer(&["accept", "93.184.216.34:8002"]);
    drop(world.traffic(SERVER, &["hold", "1", "93.184.216.34:8002"]).says("ready"));
    // For a minute the kernel keeps the rest of it, in FIN_WAIT2 and with no cgroup: the peer doesn't close its end.
    let mut watch = world.watch(&STB);
    let _moved = world.moved(SHELL, MB, MB, &[PUBLIC4]);
    let line = watch.measured();
    assert!(bytes(&line, "rx_bytes") > 0, "{line}");
}

#[test]
fn ten_thousand_sockets() {
    let mut world = World::alone();
    world.peer(&["accept", "93.184.216.34:8002"]);
    let mut watch = world.watch(&STB);
    let _held = world.traffic(SERVER, &["hold", "10000", "93.184.216.34:8002"]).says("ready");
    let before = world.truth(PUBLIC4);
    let _moved = world.moved(SHELL, 5 * MB, 2 * MB, &[PUBLIC4]);
    let line = watch.look();
    let after = world.truth(PUBLIC4);
    after.since(before).agrees(unit(&line, SHELL));
    let (cpu_ms, looks) = (watch.cpu_ms(), watch.lines().len());
    watch.look();
    let (cpu_ms, looks) = (watch.cpu_ms() - cpu_ms, watch.lines().len() - looks);
    println!("10,000 sockets, debug build: {cpu_ms} ms of CPU for {looks} look(s)");
}

#[test]
fn udp_that_goes_unmeasured_is_said() {
    let world = World::new();
    let mut watch = world.watch(&STB);
    assert_eq!(watch.look()["unmeasured_udp_sockets"], 0);
    let [_v4, _v6, _lan, _loopback] =
        [PUBLIC4, PUBLIC6, LAN4, "127.0.0.1"].map(|address| world.traffic(SHELL, &["udp", &at(address)]).says("ready"));
    let _other = world.traffic(OTHER, &["udp", &at(PUBLIC4)]).says("ready");
    assert_eq!(watch.look()["unmeasured_udp_sockets"], 2);
}

#[test]
fn a_udp_socket_without_a_peer_that_can_reach_outside_goes_unmeasured_too() {
    let world = World::new();
    let mut watch = world.watch(&STB);
    let datagrams = |local: &str, to: &str| world.traffic(SHELL, &["datagrams", local, "1000", &at(to)]).says("ready");
    let _inside = [datagrams("127.0.0.1:0", "127.0.0.1"), datagrams("[::1]:0", "::1")];
    let line = watch.look();
    assert_eq!((&line["unmeasured_udp_sockets"], &line["tx_bytes"]), (&0.into(), &0.into()), "{line}");
    // 1.2 MB each, of which the estimate sees nothing.
    let _outside =
        [datagrams("0.0.0.0:0", PUBLIC4), datagrams("[::]:0", PUBLIC6), datagrams(&format!("{HOST4}:0"), PUBLIC4)];
    let line = watch.look();
    assert_eq!((&line["unmeasured_udp_sockets"], &line["tx_bytes"]), (&3.into(), &0.into()), "{line}");
}

#[test]
fn the_preset_is_found_by_itself_and_by_name() {
    let world = World::new();
    for arguments in [&[][..], &["--app", "StB"], &["--app", "stb"]] {
        let mut watch = world.watch(arguments);
        let line = watch.look();
        assert_eq!(
            (&line["app"], line["units"].as_array().unwrap().len()),
            (&"StB".into(), 3),
            "{arguments:?}: {line}"
        );
    }
    let mut bare = world.netglance(&[]);
    bare.wait("a line of watch", |program| program.stdout().iter().any(|line| line.contains("StB")).then_some(()));
    assert!(bare.stderr().contains("no display"), "{}", bare.stderr());
}

#[test]
fn any_user_sees_the_estimate() {
    let world = World::new();
    let mut watch = world.netglance_as_user(&["watch", "--json", "--interval", "0.2"]);
    watch.look();
    let _open = world.moved(SHELL, 3 * MB, MB, &[PUBLIC4]);
    // Closed by the time of the next look: what the kernel says of it at its end counts.
    let (status, ..) = world.traffic(SHELL, &["move", "3000000", "1000000", "4000000", &at(PUBLIC4)]).end();
    assert!(status.success());
    world.truth(PUBLIC4).agrees(&watch.look());
    let (status, _, stderr) = world.netglance_as_user(&["run", "--", "true"]).end();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("cannot give the command a cgroup of its own"), "{stderr}");
}

#[test]
fn apps_are_told_apart() {
    let world = World::new();
    let (status, stdout, stderr) = world.netglance(&["apps", "--json"]).end();
    assert!(status.success(), "{stderr}");
    let apps: Value = serde_json::from_str(&stdout.join("\n")).expect("JSON");
    let check = |id: &str, units: &[&str]| {
        let app = apps.as_array().unwrap().iter().find(|app| app["id"] == id);
        let cgroups = app.unwrap_or_else(|| panic!("no {id} in {apps:#}"))["cgroups"].as_array().unwrap();
        assert_eq!(cgroups.len(), units.len(), "{cgroups:?}");
        for unit in units {
            assert!(cgroups.iter().any(|path| path.as_str().unwrap().ends_with(unit)), "{unit} in {cgroups:?}");
        }
    };
    check("StB", &[AGENT, SERVER, SHELL]);
    check("electron-gpt", &[OTHER]);
}

#[test]
fn run_counts_the_command_and_passes_on_how_it_ended() {
    let world = World::new();
    let traffic = support::traffic();
    let address = at(PUBLIC4);
    let command =
        ["run", "--json", "--", traffic.to_str().unwrap(), "move", "5300000", "2000000", "10000000", &address];
    // It ends as soon as it has moved its bytes: nothing may be missed of a connection that lived over several looks.
    let (status, stdout, stderr) = world.netglance(&command).end();
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("done"), "the command's stdout goes to stderr: {stderr}");
    let last: Value = serde_json::from_str(stdout.last().expect("a last line")).expect("JSON");
    world.truth(PUBLIC4).agrees(&last);

    let check = |script: &str, code: i32| {
        let (status, _, stderr) = world.netglance(&["run", "--json", "--", "sh", "-c", script]).end();
        assert_eq!(status.code(), Some(code), "{script}: {stderr}");
    };
    check("exit 7", 7);
    check("exec /nonexistent/command", 127);
    check("kill -KILL $$", 128 + 9);
    for (signal, code) in [(Signal::TERM, 128 + 15), (Signal::INT, 128 + 2)] {
        let udp = ["run", "--", traffic.to_str().unwrap(), "udp", &address];
        let mut program = world.netglance(&udp);
        program.wait("ready", |program| program.stdout().contains(&"ready".to_owned()).then_some(()));
        program.signal(signal);
        assert_eq!(program.ended().0.code(), Some(code));
    }
}

/// The last line of `run --json`, and its exit code.
fn last_of_run(world: &World, command: &[&str]) -> (Value, Option<i32>, String) {
    let (status, stdout, stderr) = world.netglance(&[&["run", "--json", "--"], command].concat()).end();
    let lines: Vec<Value> = stdout.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (last, others) = lines.split_last().unwrap_or_else(|| panic!("no line: {stderr}"));
    assert!(others.iter().all(|line| line["end"].is_null()), "{others:#?}");
    assert!(last["end"].is_object(), "{last:#}");
    (last.clone(), status.code(), stderr)
}

#[test]
fn run_waits_for_what_the_kernel_still_has_to_send() {
    let mut world = World::new();
    world.peer(&["sip", "500000", "93.184.216.34:8003"]);
    let traffic = support::traffic();
    let command = [traffic.to_str().unwrap(), "leave", "2000000", "93.184.216.34:8003"];
    let (last, code, stderr) = last_of_run(&world, &command);
    assert_eq!((code, &last["tx_bytes"]), (Some(0), &2_000_000.into()), "{stderr}: {last:#}");
    assert_eq!((&last["end"]["unsent_bytes"], &last["end"]["status"]), (&0.into(), &0.into()), "{last:#}");
    assert!(stderr.contains("the command has exited, but the kernel is still sending"), "{stderr}");
    let truth = world.truth(PUBLIC4);
    assert!(truth.tx >= 2_000_000 && truth.tx <= 2_000_000 + truth.tx_again + 10_000, "{truth:?}");
}

#[test]
fn run_says_what_it_no_longer_waits_for() {
    let mut world = World::new();
    // Accepted, and never read from: what doesn't fit the other side's buffer stays.
    world.peer(&["accept", "93.184.216.34:8003"]);
    let traffic = support::traffic();
    let command = ["run", "--json", "--", traffic.to_str().unwrap(), "leave", "2500000", "93.184.216.34:8003"];
    let mut run = world.netglance(&command);
    run.wait("the wait", |run| run.stderr().contains("Ctrl+C").then_some(()));
    run.signal(Signal::INT);
    let (status, stdout, stderr) = run.ended();
    let last: Value = serde_json::from_str(stdout.last().unwrap()).unwrap();
    let unsent = bytes(&last["end"], "unsent_bytes");
    assert_eq!((status.code(), &last["end"]["unsent_sockets"]), (Some(0), &1.into()), "{stderr}");
    assert!(unsent > 0 && bytes(&last, "tx_bytes") + unsent == 2_500_000, "{last:#}");
    assert!(stderr.contains("had not been sent and are missing from these figures"), "{stderr}");
    assert!(last["end"]["notes"].as_array().unwrap().iter().any(|note| stderr.contains(note.as_str().unwrap())));
}

#[test]
fn run_follows_what_moves_to_a_cgroup_of_its_own() {
    let world = World::new();
    let traffic = support::traffic();
    let scope = world.inner("user.slice/user-1000.slice/user@1000.service/app.slice/app-flatpak-org.x.Y-1.scope");
    // As flatpak does it: the process itself, before it becomes the app; and once more in a process that nobody waits for.
    let script = format!(
        "mkdir '{scope}' && {{ echo $$ > '{scope}/cgroup.procs'; (setsid sh -c 'sleep 0.3' &); exec \"$@\"; }} </dev/null"
    );
    let address = at(PUBLIC4);
    let command =
        ["sh", "-c", &script, "sh", traffic.to_str().unwrap(), "move", "5300000", "2000000", "10000000", &address];
    let (last, code, stderr) = last_of_run(&world, &command);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(world.truth(PUBLIC4).rx >= 5 * MB, "nothing moved: {stderr}");
    world.truth(PUBLIC4).agrees(&last);
    assert_eq!(unit(&last, "app-flatpak-org.x.Y-1.scope")["unit"], "app-flatpak-org.x.Y-1.scope");
    assert_eq!(last["end"]["counted"].as_array().map(Vec::len), Some(1), "{last:#}");
    assert!(stderr.contains("app-flatpak-org.x.Y-1.scope, which is counted too"), "{stderr}");
}

#[test]
fn run_names_what_moves_to_where_others_may_be() {
    let world = World::new();
    let traffic = support::traffic();
    let (script, other) = (r#"echo $$ > "$0/cgroup.procs"; exec "$@" </dev/null"#, at(OTHER4));
    let inner = world.inner(&format!("user.slice/user-1000.slice/user@1000.service/{OTHER}"));
    let command =
        ["sh", "-c", script, &inner, traffic.to_str().unwrap(), "move", "5300000", "2000000", "10000000", &other];
    let (last, code, stderr) = last_of_run(&world, &command);
    assert_eq!((code, &last["rx_bytes"]), (Some(0), &0.into()), "{stderr}");
    let uncounted = &last["end"]["uncounted"][0];
    assert!(uncounted["cgroup"].as_str().unwrap().ends_with(OTHER), "{last:#}");
    world.truth(OTHER4).agrees(uncounted);
    for said in ["which is not counted: it was there before the command started", "netglance watch --cgroup"] {
        assert!(stderr.contains(said), "no {said:?} in: {stderr}");
    }
}

#[test]
fn run_names_what_goes_on_in_the_background_and_what_appeared() {
    let world = World::new();
    let (last, code, stderr) = last_of_run(&world, &["sh", "-c", "sleep 5 </dev/null >/dev/null 2>&1 & exit 3"]);
    assert_eq!((code, &last["end"]["background"][0]["processes"]), (Some(3), &1.into()), "{stderr}: {last:#}");
    for said in
        ["one of its processes is still running in the background", "netglance watch --cgroup", "/netglance-run-"]
    {
        assert!(stderr.contains(said), "no {said:?} in: {stderr}");
    }

    // Another program starts something, perhaps because the command has asked it to.
    let mut run = world.netglance(&["run", "--json", "--", "sh", "-c", "read -r line"]);
    run.line("a line", |_| true);
    let _activated = world.moved("app.slice/dbus-x.service", 2 * MB, MB, &[PUBLIC6]);
    run.look();
    let (_, stdout, stderr) = run.end();
    let last: Value = serde_json::from_str(stdout.last().unwrap()).unwrap();
    world.truth(PUBLIC6).agrees(&last["end"]["uncounted"][0]);
    assert!(stderr.contains("dbus-x.service (down 2") && stderr.contains("They are not counted"), "{stderr}");
}

#[test]
fn an_unknown_unit_is_waited_for() {
    let world = World::new();
    let mut watch = world.watch(&["--unit", "stb-next-shel.service"]);
    let stderr = watch.stderr();
    assert!(stderr.contains("stb-next-shel.service") && stderr.contains("stb-next-shell@split.service"), "{stderr}");
    let line = watch.look();
    assert!(line["gap"].as_str().is_some_and(|gap| gap.contains("waiting for stb-next-shel.service")), "{line}");
    let _moved = world.moved("app.slice/stb-next-shel.service", 2 * MB, MB, &[PUBLIC4]);
    world.truth(PUBLIC4).agrees(&watch.look());
    watch.measured();
}

#[test]
fn wrong_arguments_are_answered_with_help() {
    let world = World::new();
    let check = |arguments: &[&str], code: i32, said: &[&str]| {
        let (status, stdout, stderr) = world.netglance(arguments).end();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stdout.is_empty(), "{arguments:?}: {stdout:?}");
        said.iter().for_each(|word| assert!(stderr.contains(word), "{arguments:?}: no {word:?} in: {stderr}"));
    };
    check(&["wach"], 2, &["wach", "'watch'"]);
    check(&["watch", "--unti", "x.service"], 2, &["--unti", "--unit"]);
    check(&["watch", "--interval", "0"], 2, &["0.1", "5 seconds"]);
    check(&["watch", "--count", "0"], 2, &["--count"]);
    check(&["watch", "--app", "StB", "--unit", "x.service"], 2, &["cannot be used with"]);
    check(&["watch", "--unit", "["], 1, &["\"[\" is not a unit pattern"]);
    check(&["watch", "--source", "exact"], 1, &["helper"]);
    check(&["run"], 2, &["<CMD>..."]);
}

#[test]
fn nothing_there_is_told_from_nothing_moved() {
    let world = World::new();
    let watch = |arguments: &[&str]| {
        let (status, stdout, stderr) = world.netglance(&[&["watch", "--interval", "0.1"], arguments].concat()).end();
        (status.code(), stdout.len(), stderr.contains("nothing matches"))
    };
    assert_eq!(watch(&["--json", "--count", "2", "--app", "nosuchapp"]), (Some(3), 2, true));
    assert_eq!(watch(&["--json", "--count", "2", "--app", "StB"]), (Some(0), 2, false));
    let (status, _, stderr) = world.netglance(&["verify", "--live", "--app", "nosuchapp"]).end();
    assert_eq!(status.code(), Some(3), "{stderr}");
    assert!(!stderr.contains("Waiting"), "{stderr}");
}

#[test]
fn a_bad_configuration_is_named_and_the_last_good_one_stays() {
    let world = World::new();
    let path = world.configure("[prefixes]\ninternal = [\"10.0.0.0/99\"]\n");
    let (status, stdout, stderr) = world.netglance(&["watch", "--json", "--count", "2"]).end();
    assert!(status.success(), "{stderr}");
    assert_eq!(stdout.len(), 2, "--count 2");
    for said in [path.to_str().unwrap(), "line 2", "10.0.0.0/99"] {
        assert!(stderr.contains(said), "no {said:?} in: {stderr}");
    }

    world.configure("[prefixes]\ninternal = [\"93.184.216.0/24\"]\nexternal = [\"192.168.2.1/32\"]\n");
    let mut watch = world.watch(&STB);
    assert_eq!(watch.stderr(), "");
    world.configure("[prefixes]\nexternal = 3\n# and longer than it was, so that nobody takes it for the same file\n");
    watch.wait("the complaint", |program| program.stderr().contains("line 2").then_some(()));
    let _moved = world.moved(SHELL, 2 * MB, MB, &[PUBLIC4, LAN4]);
    let line = watch.look();
    world.truth(LAN4).agrees(&line);
    assert!(bytes(&line, "internal_rx_bytes").abs_diff(2 * MB) < MB / 50, "{line}");
}

#[test]
fn an_interrupt_prints_the_totals() {
    let world = World::new();
    let mut watch = world.netglance(&["watch", "--interval", "0.2"]);
    watch.wait("the first line", |program| (!program.stdout().is_empty()).then_some(()));
    let _moved = world.moved(SHELL, 5 * MB, 2 * MB, &[PUBLIC4, LAN4]);
    watch.signal(Signal::INT);
    let (status, stdout, stderr) = watch.end();
    assert!(status.success(), "{stderr}");
    let last = stdout.last().unwrap();
    for said in ["StB: down 5", "up 2", "MB", "estimate, TCP only", "internal traffic (not counted): 7"] {
        assert!(last.contains(said), "no {said:?} in: {last}");
    }
}
