//! A ruleset that was saved while netglance counts, and loaded again: here, and at another boot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;

use std::{collections::BTreeSet, fs};

use lab::{Lab, Namespace, OUTSIDE, eventually, tool};
use netglance_dbus::scope::Prefixes;
use netglance_helper::nft::{
    Nft,
    ruleset::{Counter, Internal, LEFTOVER, SET_SIZE},
};

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application();
}

/// What a user has.
const USERS: &str = "table inet users {
	set allowed {
		type inet_service
		elements = { 22, 443 }
	}

	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport @allowed accept
	}
}";

/// A table that counts, with two cgroups' bytes in it, levels enough for two blocks, and a cgroup that is booked as a whole.
fn counting(lab: &Lab) -> Nft {
    lab.host.nft(USERS).unwrap();
    let prefixes = Prefixes::new(&[], &[], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let mut nft = lab.host.inside(Nft::open).unwrap();
    nft.create(9, SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
    for below in ["a", "whole/a"] {
        lab.application(below).run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    }
    let whole = fs::metadata(lab.cgroup.join("whole")).map(|m| std::os::unix::fs::MetadataExt::ino(&m)).unwrap();
    nft.set_opaque(9, &BTreeSet::from([(lab.level("whole"), whole)])).unwrap();
    lab.application("whole/b").run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    let mut elements = Vec::new();
    nft.read(Counter::TxExternal, &mut elements).unwrap();
    assert!(elements.iter().any(|element| element.key == lab.key("whole") && element.bytes > 1000), "{elements:?}");
    nft
}

fn load(there: &Namespace, file: &str) -> Result<String, String> {
    there.inside(|| tool("nft", &["-c", "-f", file], "")).and_then(|_| there.inside(|| tool("nft", &["-f", file], "")))
}

/// Where its cgroups are, and where there are none.
#[test]
fn what_nft_shows_loads_again_wherever_it_is() {
    let lab = Lab::default();
    let mut nft = counting(&lab);
    let file = std::env::temp_dir().join(lab.host.name.clone()).display().to_string();
    let mut saved = Vec::new();
    for options in [&[][..], &["-s"], &["-n"], &["-s", "-n"], &["-a"]] {
        let list = [options, &["list", "ruleset"]].concat();
        saved.push((options, lab.host.inside(|| tool("nft", &list, "")).unwrap()));
    }
    for below in ["a", "whole/a", "whole/b", "whole"] {
        eventually("the cgroup is gone", || fs::remove_dir(lab.cgroup.join(below)).map_err(|error| error.to_string()));
    }
    for (options, text) in saved {
        assert!(text.contains("tx_external") && text.contains("chain tx_external_9"), "{options:?}: {text}");
        fs::write(&file, format!("flush ruleset\n{text}")).unwrap();
        // Here, while the table counts: its own socket alone may write into it, and it goes on.
        let ours = lab.host.part_of_ours("set tx_external");
        load(&lab.host, &file).unwrap_or_else(|error| panic!("{options:?}: {error}\n{text}"));
        assert_eq!(lab.host.part_of_ours("set tx_external"), ours);
        let now = lab.host.nft("list ruleset").unwrap();
        assert!(now.contains(USERS), "{now}");
        assert_eq!(now.matches("table inet netglance").count(), 1, "{now}");
        // At another boot.
        let boot = Lab::default();
        load(&boot.host, &file).unwrap_or_else(|error| panic!("{options:?}: {error}\n{text}"));
        assert_eq!(boot.host.nft("list ruleset").unwrap().trim_end(), USERS, "{options:?}");
    }
    fs::remove_file(&file).unwrap();
    nft.delete_table().unwrap();
}

/// A file in which somebody has deleted `flags owner`, or an nft that does not know it.
#[test]
fn what_is_left_of_it_is_cleared_away_and_nobody_elses() {
    let lab = Lab::default();
    let nft = counting(&lab);
    let saved = lab.host.nft("list ruleset").unwrap();
    drop(nft);
    eventually("the table goes with its socket", || match lab.host.ours() {
        none if none.is_empty() => Ok(()),
        table => Err(table),
    });
    lab.host.nft(&format!("flush ruleset\n{}", saved.replace("flags owner", ""))).unwrap();
    assert!(lab.host.nft("list tables").unwrap().contains("table inet netglance\n"));
    let mut nft = lab.host.inside(Nft::open).unwrap();
    assert!(nft.clear_leftover().unwrap());
    assert_eq!(lab.host.nft("list ruleset").unwrap().trim_end(), USERS);
    assert!(!nft.clear_leftover().unwrap());
    // Of that name, but not of our making.
    lab.host.nft(&format!("add table inet {LEFTOVER} {{ comment \"somebody's\"; }}")).unwrap();
    assert!(!nft.clear_leftover().unwrap());
    nft.create(1, SET_SIZE, Internal::default()).unwrap();
    assert!(lab.host.nft("list ruleset").unwrap().contains("somebody's"));
}
