//! The whole-system tests' own instruments: what was sent is what the peer's counters say, and nothing stays behind.

mod support;

use support::{AGENT, GUEST, LAN4, LAN6, OTHER4, PUBLIC4, PUBLIC6, SHELL, TAILNET, World};

#[test]
fn the_truth_is_what_was_sent() {
    let world = World::new();
    let addresses = [PUBLIC4, PUBLIC6, OTHER4, LAN4, LAN6, TAILNET, GUEST];
    let _open = world.moved(SHELL, 3_000_000, 1_000_000, &addresses);
    for address in addresses {
        let truth = world.truth(address);
        for (name, sent, seen) in [("down", 3_000_000, truth.rx), ("up", 1_000_000, truth.tx)] {
            assert!(seen.abs_diff(sent) < 1_000, "{address} {name}: sent {sent}, the counters say {seen}");
        }
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
