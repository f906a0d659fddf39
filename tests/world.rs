//! The whole-system tests' own instruments: what was sent is what the peer's counters say, and nothing stays behind.

mod support;

use serde_json::json;
use support::{AGENT, GUEST, LAN4, LAN6, OTHER4, PUBLIC4, PUBLIC6, SHELL, TAILNET, World};

#[test]
fn the_truth_is_what_was_sent() {
    let world = World::new();
    let addresses = [PUBLIC4, PUBLIC6, OTHER4, LAN4, LAN6, TAILNET, GUEST];
    let _open = world.moved(SHELL, 3_000_000, 1_000_000, &addresses);
    for address in addresses {
        world.truth(address).agrees(&json!({ "rx_bytes": 3_000_000, "tx_bytes": 1_000_000 }));
    }
}

#[test]
fn a_world_leaves_nothing_behind() {
    let world = World::new();
    let cgroup = world.unit(AGENT);
    let program = world.traffic(AGENT, &["udp", &support::at(PUBLIC6)]).says("ready");
    assert!(cgroup.exists());
    drop(program);
    drop(world);
    assert!(!cgroup.exists());
}
