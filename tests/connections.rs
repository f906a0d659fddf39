//! `netglance connections` from end to end: whom an app talks to, against what was sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use serde_json::Value;
use support::{AGENT, LAN4, OTHER, OTHER4, PORT, PUBLIC4, PUBLIC6, Program, SERVER, SHELL, World, at};

const STB: [&str; 2] = ["--unit", "stb-next-*.service"];
const MB: u64 = 1_000_000;

/// Starts `connections --json` and waits for its first line: some row has to be there.
fn connections(world: &World, arguments: &[&str]) -> Program {
    let mut program = world.netglance(&[&["connections", "--json", "--interval", "0.2"], arguments].concat());
    program.look();
    program
}

/// All lines of a beat that began after this call.
#[track_caller]
fn beat(program: &mut Program) -> Vec<Value> {
    let stamp = program.look()["boottime_ns"].clone();
    program.look(); // then the lines of the beat before are all there
    program.lines().into_iter().filter(|line| line["boottime_ns"] == stamp).collect()
}

#[track_caller]
fn row<'a>(rows: &'a [Value], cgroup: &str, address: Option<&str>, protocol: &str) -> &'a Value {
    let is_it = |row: &&Value| {
        row["cgroup"].as_str().is_some_and(|path| path.ends_with(cgroup))
            && row["address"].as_str() == address
            && row["protocol"] == protocol
    };
    let mut found = rows.iter().filter(is_it);
    let row = found.next().unwrap_or_else(|| panic!("no {address:?} of {cgroup} in {rows:#?}"));
    assert!(found.next().is_none(), "twice: {address:?} of {cgroup} in {rows:#?}");
    row
}

/// What `move` puts on a connection besides what it is asked for: its request, and the byte that says that all has arrived.
fn moved(down: u64, up: u64, rate: u64) -> [u64; 2] {
    [down + 1, up + format!("{down} {up} {rate}\n").len() as u64]
}

#[track_caller]
fn check(row: &Value, bytes: [u64; 2], scope: &str, sockets: u64) {
    assert_eq!(["rx_bytes", "tx_bytes"].map(|field| row[field].as_u64()), bytes.map(Some), "{row}");
    assert_eq!((&row["scope"], &row["sockets"], &row["port"]), (&scope.into(), &sockets.into(), &PORT.into()), "{row}");
}

#[test]
fn the_estimate_tells_remotes_apart_to_the_byte() {
    let world = World::new();
    let _datagrams = [
        world.traffic(SHELL, &["udp", &at(PUBLIC6)]).says("ready"),
        world.traffic(SHELL, &["datagrams", "0.0.0.0:0", "3", &at(PUBLIC4)]).says("ready"),
    ];
    let mut program = connections(&world, &STB);
    let _v4 = world.moved(AGENT, 2 * MB, MB, &[PUBLIC4, "::ffff:93.184.216.34"]);
    let _v6 = world.moved(SERVER, MB, 3 * MB, &[PUBLIC6, LAN4]);
    let _other = world.moved(OTHER, MB, MB, &[OTHER4]);
    // Listed by a look while it moves bytes, and closed with the rest in the kernel's last words on it.
    let slow = world.traffic(SHELL, &["move", "2000000", "2000000", "2000000", &at(OTHER4)]);
    program.line("the slow one", |line| line["address"] == OTHER4 && line["rx_bytes"].as_u64() > Some(0));
    assert!(slow.end().0.success());
    let is_over = |line: &Value| line["address"] == OTHER4 && line["sockets"] == 0 && line["rx_rate"] == 0.0;
    program.line("it is at rest", is_over);

    let rows = beat(&mut program);
    let [rx, tx] = moved(2 * MB, MB, 0);
    check(row(&rows, AGENT, Some(PUBLIC4), "tcp"), [2 * rx, 2 * tx], "external", 2);
    check(row(&rows, SERVER, Some(PUBLIC6), "tcp"), moved(MB, 3 * MB, 0), "external", 1);
    check(row(&rows, SERVER, Some(LAN4), "tcp"), moved(MB, 3 * MB, 0), "internal", 1);
    // The kernel counts the other side's FIN as a byte, unless that comes after an acknowledgement of its own: then the socket is gone.
    let slow = row(&rows, SHELL, Some(OTHER4), "tcp");
    let [rx, tx] = moved(2 * MB, 2 * MB, 2 * MB);
    check(slow, [if slow["rx_bytes"] == rx { rx } else { rx + 1 }, tx], "external", 0);
    let lan = row(&rows, SERVER, Some(LAN4), "tcp");
    assert_eq!((&lan["prefix"], &lan["unit"]), (&"192.168.2.0/24".into(), &"stb-next-server@split.service".into()));
    assert!(lan["reason"].as_str().unwrap().contains("without a router"), "{lan}");
    for (address, port) in [(Some(PUBLIC6), Value::from(PORT)), (None, Value::Null)] {
        let udp = row(&rows, SHELL, address, "udp");
        assert_eq!((&udp["port"], &udp["sockets"]), (&port, &1.into()), "{udp}");
        assert!(["rx_bytes", "tx_bytes", "rx_rate", "tx_rate"].iter().all(|field| udp[field].is_null()), "{udp}");
    }
    assert_eq!(rows.len(), 6, "another app's: {rows:#?}");
    assert!(rows.iter().all(|row| row["source"] == "estimate" && row["complete"] == true), "{rows:#?}");
    // What is idle has a rate, which is nothing; while it moved bytes it had one.
    support::eventually("a beat without a gap", || {
        let rows = beat(&mut program);
        let mut rates = rows.iter().filter(|row| row["protocol"] == "tcp").map(|row| row["rx_rate"].as_f64());
        rates.all(|rate| rate == Some(0.0)).then_some(())
    });
    let lines = program.lines();
    let slow = lines.iter().filter(|line| line["address"] == OTHER4).filter_map(|line| line["rx_rate"].as_f64());
    assert!(slow.fold(0.0, f64::max) > 500_000.0, "{lines:#?}");
}

#[test]
fn rows_are_put_together_by_network_and_port() {
    let world = World::new();
    let _udp = world.traffic(SHELL, &["udp", &at(PUBLIC6)]).says("ready");
    let mut networks = connections(&world, &["--by", "network", "--unit", "stb-next-*.service"]);
    let mut ports = connections(&world, &["--by", "port", "--app", "StB"]);
    let _moved = [(AGENT, PUBLIC4), (SERVER, OTHER4), (SHELL, LAN4)].map(|(unit, to)| world.moved(unit, MB, MB, &[to]));
    let [rx, tx] = moved(MB, MB, 0);
    let rows = beat(&mut networks);
    let of = |network: &str| rows.iter().find(|row| row["network"] == network).unwrap_or_else(|| panic!("{rows:#?}"));
    for (network, scope) in
        [("93.184.216.0/24", "external"), ("198.41.0.0/24", "external"), ("192.168.2.0/24", "internal")]
    {
        let found = of(network);
        assert_eq!((&found["rx_bytes"], &found["tx_bytes"]), (&rx.into(), &tx.into()), "{found}");
        assert_eq!((&found["scope"], &found["remotes"], &found["asn"]), (&scope.into(), &1.into(), &Value::Null));
    }
    assert!(of("2606:2800:220::/48")["rx_bytes"].is_null());
    let rows = beat(&mut ports);
    let tcp = rows.iter().find(|row| row["protocol"] == "tcp").unwrap();
    assert_eq!((&tcp["port"], &tcp["rx_bytes"], &tcp["remotes"]), (&PORT.into(), &(3 * rx).into(), &3.into()), "{tcp}");
    assert_eq!((&tcp["scope"], &tcp["app"]), (&Value::Null, &"StB".into()), "both: {tcp}");
    assert_eq!(rows.len(), 2, "{rows:#?}");
}

#[test]
fn without_json_it_prints_lines_and_where_nothing_matches_it_says_so() {
    let world = World::new();
    let _moved = world.moved(SHELL, MB, MB, &[PUBLIC4]);
    let (status, stdout, stderr) = world.netglance(&["connections", "-n", "5", "--interval", "0.2"]).end();
    assert!(status.success(), "{stderr}");
    assert!(stdout[0].ends_with("StB  1 remote; estimate, TCP only"), "{stdout:#?}");
    let row = "  93.184.216.34:8001  tcp  external  down 0 B/s  up 0 B/s  (total 0 B down, 0 B up)";
    assert!(stdout.iter().any(|line| line == row), "{stdout:#?}");
    let (status, stdout, stderr) = world.netglance(&["connections", "--app", "nobody", "-n", "1", "--json"]).end();
    assert_eq!((status.code(), stdout.len()), (Some(3), 0), "{stderr}");
    assert!(stderr.contains("nothing matches nobody now. Waiting for it."), "{stderr}");
    let (status, _, stderr) = world.netglance(&["connections", "--source", "exact", "-n", "1"]).end();
    assert_eq!(status.code(), Some(1), "{stderr}");
}

#[test]
fn all_apps_of_the_user_are_told_apart() {
    let world = World::new();
    world.remove(SERVER);
    let mut program = {
        let _udp = world.traffic(OTHER, &["udp", &at(PUBLIC6)]).says("ready");
        let cgroup = ["--cgroup", "/user.slice/user-1000.slice"];
        let mut program = connections(&world, &cgroup);
        beat(&mut program);
        program
    };
    let _moved = [world.moved(OTHER, MB, MB, &[PUBLIC4]), world.moved(SHELL, MB, MB, &[PUBLIC4])];
    let rows = beat(&mut program);
    for unit in [OTHER, SHELL] {
        check(row(&rows, unit, Some(PUBLIC4), "tcp"), moved(MB, MB, 0), "external", 1);
    }
}
