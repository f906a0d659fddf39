//! The tests start the helper as its unit confines it, so that they see what it sees on a real host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::fs;

use lab::Lab;
use system::{Bus, Daemon, memory_max_bytes, unit};

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

#[tokio::test]
async fn the_helper_runs_as_its_unit_confines_it() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", daemon.pid())).unwrap();

    let status = of("status");
    let word = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().next().unwrap().to_owned()
    };
    // CAP_NET_ADMIN is number 12 (linux/capability.h).
    assert_eq!(unit("CapabilityBoundingSet"), "CAP_NET_ADMIN");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(word(set), "0000000000001000", "{set}");
    }
    assert_eq!((word("CapAmb").as_str(), word("Uid").as_str()), ("0000000000000000", "0"));
    assert_eq!((word("NoNewPrivs").as_str(), unit("NoNewPrivileges").as_str()), ("1", "yes"));
    assert_eq!(word("Umask"), unit("UMask"));

    let limits = of("limits");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    };
    let both = |value: String| (value.clone(), value);
    assert_eq!(limit("Max open files"), both(unit("LimitNOFILE")));
    assert_eq!(limit("Max core file size"), both(unit("LimitCORE")));
    assert_eq!(limit("Max data size"), both(memory_max_bytes().to_string()));

    let mounts = of("mountinfo");
    let mount = |kind: &str| {
        let line = mounts.lines().rfind(|line| line.contains(&format!(" - {kind} "))).unwrap();
        let (mount, superblock) = line.split_once(" - ").unwrap();
        (mount.split(' ').nth(5).unwrap().to_owned(), superblock.split(' ').nth(2).unwrap().to_owned())
    };
    assert!(mount("cgroup2").0.split(',').any(|option| option == "ro"), "{mounts}");
    let hidden = format!("hidepid={}", unit("ProtectProc"));
    assert!(mount("proc").1.split(',').any(|has| has == hidden), "no {hidden}: {mounts}");
}
