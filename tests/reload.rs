//! A ruleset that was saved while netglance counts, and loaded again: here, and at another boot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use lab::{Lab, Namespace, OUTSIDE, eventually, tool};
use netglance_dbus::scope::Prefixes;
use netglance_helper::nft::{
    Nft,
    message::Element,
    ruleset::{Counter, Internal, LEFTOVER, Marked, Redirected, SET_SIZE, Set},
};

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
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

/// A cgroup in the table's second block of levels.
const DEEP: &str = "1/2/3/4/5/6/7/8";

/// Has the remotes counted of a user's cgroup and of one of root's.
fn count_by_remote(lab: &Lab, nft: &mut Nft) {
    lab.host.set("net/ipv4/ping_group_range", "0 1");
    let cgroups = [(Some(1000), "a"), (None, DEEP)];
    let mut applications = cgroups.map(|(_, below)| lab.application(below));
    let asked = |(owner, below)| (owner, BTreeMap::from([(lab.key(below), lab.level(below))]));
    nft.count_by_remote(&cgroups.into_iter().map(asked).collect(), true).unwrap();
    for application in &mut applications {
        for (outside, address) in OUTSIDE.into_iter().zip(["93.184.216.34", "[2606:2800:220:1::34]"]) {
            application.run(&format!("tcp {outside} 1000 1000"));
            application.run(&format!("unconnected {outside} 3 100"));
            application.run(&format!("ping {address}:0 3 56"));
        }
    }
    for set in [Some(1000), None].into_iter().flat_map(Set::all) {
        let mut elements = 0;
        nft.read_remotes(set, |_, bytes| elements += usize::from(bytes > 100)).unwrap();
        // What is received without a port finds no socket.
        let expected = if set.has_ports { 2 } else { usize::from(set.is_sent) };
        assert_eq!(elements, expected, "{}", set.name());
    }
}

/// A table that counts, with cgroups' bytes in it, levels enough for two blocks, a cgroup that is booked as a whole, and the
/// remotes of two.
fn counting(lab: &Lab) -> Nft {
    lab.host.nft(USERS).unwrap();
    let prefixes = Prefixes::new(&[], &[], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let mut nft = lab.host.inside(Nft::open).unwrap();
    nft.create(9, SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
    nft.count_forwarded().unwrap();
    for below in ["a", "whole/a"] {
        lab.application(below).run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    }
    let whole = fs::metadata(lab.cgroup.join("whole")).map(|m| std::os::unix::fs::MetadataExt::ino(&m)).unwrap();
    nft.set_opaque(9, &BTreeSet::from([(lab.level("whole"), whole)])).unwrap();
    // All the rules that there may be for redirected packets.
    let marked = |to: &str| Marked { mark: 1, mask: 0xff, to: to.parse().unwrap() };
    let marked = ["0.0.0.0/0", "::/0", "93.184.216.0/24", "2606:2800:220::/48"].map(marked).to_vec();
    nft.redirect(&Redirected { translated: true, marked }).unwrap();
    lab.application("whole/b").run(&format!("tcp {} 1000 1000", OUTSIDE[0]));
    count_by_remote(lab, &mut nft);
    let mut elements = Vec::new();
    nft.read(Counter::TxExternal, &mut elements).unwrap();
    assert!(elements.iter().any(|element| element.key == lab.key("whole") && element.bytes > 1000), "{elements:?}");
    nft
}

/// This system's nft, Debian 13's, and whatever else is named (with colons between).
fn nfts() -> Vec<String> {
    let newer = tool(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/nft-1.1"), &[], "").unwrap();
    let more = env::var("NETGLANCE_NFTS").unwrap_or_default();
    let more = more.split(':').filter(|path| !path.is_empty());
    ["nft", newer.trim()].into_iter().chain(more).map(str::to_owned).collect()
}

fn load(nft: &str, there: &Namespace, file: &str) -> Result<String, String> {
    there.inside(|| tool(nft, &["-c", "-f", file], "")).and_then(|_| there.inside(|| tool(nft, &["-f", file], "")))
}

/// Where its cgroups are, and where there are none.
#[test]
fn what_nft_shows_loads_again_wherever_it_is() {
    let (lab, boot) = (Lab::default(), Lab::default());
    let mut nft = counting(&lab);
    let file = env::temp_dir().join(lab.host.name.clone()).display().to_string();
    let mut saved = Vec::new();
    for program in nfts() {
        for options in [&[][..], &["-s"], &["-n"], &["-s", "-n"], &["-a"]] {
            let list = [options, &["list", "ruleset"]].concat();
            let text =
                lab.host.inside(|| tool(&program, &list, "")).unwrap_or_else(|e| panic!("{program} {list:?}: {e}"));
            saved.push((format!("{program} {list:?}"), text));
        }
    }
    for below in ["a", "whole/a", "whole/b", "whole"] {
        eventually("the cgroup is gone", || fs::remove_dir(lab.cgroup.join(below)).map_err(|error| error.to_string()));
    }
    let mut before = Vec::new();
    nft.read(Counter::TxExternal, &mut before).unwrap();
    let sorted = |elements: &[Element]| elements.iter().map(|e| (e.key, e.bytes)).collect::<BTreeSet<_>>();
    for (shown, text) in saved {
        assert!(
            [
                "chain tx_external_9",
                "chain remotes_rx_9_root_translated",
                "ct reply proto-src",
                "set tx6_1000_portless",
                "fib saddr . iif oif"
            ]
            .iter()
            .all(|part| text.contains(part))
                && text.contains("counter packets") != shown.contains(r#""-s""#),
            "{text}"
        );
        fs::write(&file, format!("flush ruleset\n{text}")).unwrap();
        for program in nfts() {
            // What one nft has loaded an older one may not be able to list, whatever it is.
            let list = |there: &Namespace| there.inside(|| tool(&program, &["list", "ruleset"], "")).unwrap();
            // Here, while the table counts: its own socket alone may write into it, and it goes on.
            load(&program, &lab.host, &file).unwrap_or_else(|error| panic!("{program}, {shown}: {error}\n{text}"));
            let now = list(&lab.host);
            assert!(now.contains(USERS) && now.matches("table inet netglance").count() == 1, "{now}");
            let mut elements = Vec::new();
            nft.read(Counter::TxExternal, &mut elements).unwrap();
            assert_eq!(sorted(&elements), sorted(&before));
            // At another boot.
            load(&program, &boot.host, &file).unwrap_or_else(|error| panic!("{program}, {shown}: {error}\n{text}"));
            assert_eq!(list(&boot.host).trim_end(), USERS, "{program}, {shown}");
            for host in [&lab.host, &boot.host] {
                host.inside(|| tool(&program, &["flush", "ruleset"], "")).unwrap();
            }
        }
    }
    fs::remove_file(&file).unwrap();
    nft.delete_table().unwrap();
}

/// nft's JSON has no words for a cgroup's level, so it can't be loaded, whosever table it is in. It can be read.
#[test]
fn what_nft_shows_as_json_is_all_there() {
    let lab = Lab::default();
    let _nft = counting(&lab);
    for program in nfts() {
        let text = lab.host.inside(|| tool(&program, &["-j", "list", "ruleset"], "")).unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        let sets = list["nftables"].as_array().unwrap().iter().filter(|entry| entry["set"]["name"] == "tx_external");
        assert!(sets.into_iter().all(|entry| entry["set"]["elem"].as_array().unwrap().len() > 2), "{program}: {text}");
        // Somebody else's rule: nothing of ours.
        let rules = "add table inet one; add set inet one s { type cgroupsv2; flags dynamic; size 9; }; add chain inet one c; \
                     add rule inet one c add @s { socket cgroupv2 level 1 }";
        let other = Lab::default();
        other.host.nft(rules).unwrap();
        let text = other.host.inside(|| tool(&program, &["-j", "list", "ruleset"], "")).unwrap();
        other.host.nft("flush ruleset").unwrap();
        let refused = other.host.inside(|| tool(&program, &["-j", "-f", "-"], &text)).unwrap_err();
        assert!(!refused.is_empty(), "{program}");
    }
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
