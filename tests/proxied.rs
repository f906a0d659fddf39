//! The estimate where a firewall hands connections to a proxy on this host: internal for the application, external for the
//! proxy, and on the wire once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;
#[path = "support/transparent.rs"]
mod transparent;

use serde_json::Value;
use support::{AGENT, OTHER, PUBLIC4, PUBLIC6, Program, SHELL, World, at};

const STB: [&str; 2] = ["--unit", "stb-next-*.service"];
const PROXY: [&str; 2] = ["--app", "electron-gpt"];
const MB: u64 = 1_000_000;
/// Addresses that are nobody's; the proxy goes to the peer's.
const SOUGHT: [&str; 2] = ["203.0.114.9", "2a0e:b107::9"];

fn of(line: &Value) -> [u64; 4] {
    ["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes"].map(|field| line[field].as_u64().unwrap())
}

/// A look after which nothing has moved any more.
#[track_caller]
fn settled(watch: &mut Program) -> [u64; 4] {
    let mut last = of(&watch.look());
    loop {
        let now = of(&watch.look());
        if std::mem::replace(&mut last, now) == now {
            return now;
        }
    }
}

#[track_caller]
fn through_proxy(world: &World, family: usize, listen: &str) {
    let sought = SOUGHT[family];
    let to = at([PUBLIC4, PUBLIC6][family]);
    let mut proxy = world.watch(&PROXY);
    let mut app = world.watch(&STB);
    let _proxy = world.traffic(OTHER, &["proxy", listen, &to]).says("ready");
    // Connections that end between two looks, and one that stays.
    for _ in 0..3 {
        drop(world.moved(AGENT, MB, MB, &[sought]));
    }
    let stays = world.moved(AGENT, 5 * MB, 2 * MB, &[sought]);
    // Beside it what goes out directly.
    let _direct = world.moved(SHELL, MB, 3 * MB, &[PUBLIC4]);
    let (seen, at_proxy) = (settled(&mut app), settled(&mut proxy));
    println!("{listen}: app {seen:?}, proxy {at_proxy:?}");
    let near = |seen: u64, expected: u64| seen.abs_diff(expected) * 100 <= expected;
    assert!(near(seen[0], MB) && near(seen[1], 3 * MB), "the direct one alone is outside: {seen:?}");
    assert!(seen[2] > 5 * MB && seen[3] > 2 * MB, "{seen:?}");
    assert!(at_proxy[0] > 5 * MB && at_proxy[1] > 2 * MB, "{at_proxy:?}");

    let (status, stdout, stderr) =
        world.netglance_as_user(&["verify", "--live", "--json", "--unit", "stb-next-*.service"]).end();
    assert!(status.success(), "{stderr}");
    let sockets: Vec<Value> = serde_json::from_str(&stdout.join("\n")).unwrap();
    let found = sockets.iter().find(|socket| socket["remote"] == sought).unwrap_or_else(|| panic!("{sockets:#?}"));
    assert_eq!(found["scope"], "internal", "{found}");
    assert_eq!(found["proxy"], OTHER.rsplit('/').next().unwrap(), "{found}");
    let direct = sockets.iter().find(|socket| socket["remote"] == PUBLIC4).unwrap();
    assert_eq!((&direct["scope"], &direct["proxy"]), (&"external".into(), &Value::Null), "{direct}");
    let (_, stdout, _) = world.netglance_as_user(&["verify", "--live", "--unit", "stb-next-*.service"]).end();
    let line = "ends at a proxy on this computer (app-electron";
    assert!(stdout.iter().any(|text| text.contains(line)), "{stdout:#?}");
    drop(stays);
    assert_eq!(settled(&mut app)[..2], seen[..2], "the end of it is where the beginning was");
}

#[test]
fn a_redirect_to_a_proxy_here() {
    for (family, listen) in ["127.0.0.1:3128", "[::1]:3128"].into_iter().enumerate() {
        let world = World::new();
        world.firewall(
            "table inet nat { chain output { type nat hook output priority -100
                ip daddr 203.0.114.9 tcp dport 8001 redirect to 3128
                ip6 daddr 2a0e:b107::9 tcp dport 8001 redirect to 3128
            }\n}",
        );
        through_proxy(&world, family, listen);
    }
}

#[test]
fn a_transparent_proxy_here() {
    for (family, listen) in ["127.0.0.1:3129", "[::1]:3129"].into_iter().enumerate() {
        let world = World::new();
        world.firewall(&transparent::rules(8001));
        let (flag, all) = [("", "0.0.0.0/0"), ("-6 ", "::/0")][family];
        world.ip(&format!("{flag}route add local {all} dev lo table 100"));
        world.ip(&format!("{flag}rule add fwmark 1 lookup 100"));
        through_proxy(&world, family, listen);
    }
}
