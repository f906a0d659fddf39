//! Containers and virtual machines: who names them, and how they reach the network.

use std::{fs, path::Path};

use super::{process::Process, text};
use crate::{
    advise::doctor::facts::Containers,
    look::engines::{Engines, Places},
};

/// Programs that carry the traffic of rootless containers, as they call themselves. (Some processors have a pasta of their own.)
const ROOTLESS: [&str; 4] = ["pasta", "pasta.avx2", "slirp4netns", "rootlesskit"];

/// Looks. Nothing is started by it: podman is asked only where a container of root's runs.
pub async fn gather(processes: &[Process]) -> Containers {
    let runs = |name: &str| processes.iter().any(|process| process.name == name);
    let mut places = Places::here();
    if !processes.iter().any(|process| process.name == "conmon" && process.uid == 0) {
        places.podman.clear();
    }
    let mut engines = Engines::new(&places);
    engines.settle().await;
    let mut rootless: Vec<_> =
        ROOTLESS.into_iter().filter(|name| runs(name)).map(|name| name.trim_end_matches(".avx2").to_owned()).collect();
    rootless.dedup();
    Containers {
        engines: engines.states(),
        rootless,
        sandboxed: runs("bwrap"),
        joined: joined(Path::new("/sys/class/net")),
    }
}

/// What joins machines to the network itself: a bridge with a network card and something else in it, a macvtap or macvlan device.
fn joined(devices: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for device in fs::read_dir(devices).into_iter().flatten().flatten() {
        let path = device.path();
        let ports: Vec<_> = fs::read_dir(path.join("brif")).into_iter().flatten().flatten().collect();
        let (cards, others): (Vec<_>, Vec<_>) =
            ports.iter().partition(|port| devices.join(port.file_name()).join("device").exists());
        let kind = text(path.join("uevent"));
        let is_beside = ["macvtap", "macvlan", "ipvlan"].iter().any(|name| kind.contains(&format!("DEVTYPE={name}\n")));
        if is_beside || !(cards.is_empty() || others.is_empty()) {
            found.push(device.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_joins_machines_to_the_network_if_a_card_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| fs::create_dir_all(dir.path().join(path)).unwrap();
        for path in
            ["eth0/device", "eth1/device", "vnet0", "vnet1", "docker0/brif/vnet0", "br0/brif/eth0", "br0/brif/vnet1"]
        {
            make(path);
        }
        make("br1/brif/eth1");
        make("macvtap0");
        fs::write(dir.path().join("macvtap0/uevent"), "DEVTYPE=macvtap\nINTERFACE=macvtap0\n").unwrap();
        assert_eq!(joined(dir.path()), ["br0", "macvtap0"]);
    }
}
