//! `netglance-verify` on this very machine: it passes, it finds each seeded fault, and real tools say what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    mem::MaybeUninit,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use lab::{Lab, eventually, tool};
use netglance_dbus::{
    cgroup::Tree,
    onlink::Onlink,
    scope::Prefixes,
    verify::{Case, Outcome, Payload, Report},
};
use netglance_helper::{
    nft::{
        Nft,
        key::Key,
        ruleset::{Internal, Marked, Redirected, SET_SIZE},
    },
    verify::{
        Stop, World,
        cases::{self, Actor},
        fault::{Fault, Rule},
        forwarded, freed, running,
    },
};
use rustix::{
    fs::{FlockOperation, flock, inotify},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use system::{Bus, RealPolkit};

const PROGRAM: &str = env!("CARGO_BIN_EXE_netglance-verify");
const NOBODY: u32 = 65_534;
/// Rows of what is forwarded.
const FORWARDED: usize = 9;

fn start(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The scratch cgroups of a process.
fn left_behind(process: u32) -> Vec<PathBuf> {
    let mount = Tree::open().unwrap().mount().to_owned();
    let name = format!("netglance-verify-{process}-");
    let entries = fs::read_dir(mount).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&name))).collect()
}

fn try_all(fault: Option<Fault>) -> Vec<Case> {
    let mut world = World::new(Path::new(PROGRAM), fault).expect("the scratch world (root is needed: tests/all)");
    world.try_all(&Stop::default()).unwrap()
}

fn describe(cases: &[Case]) -> String {
    cases.iter().map(|case| format!("{:?} {}: {:?}\n", case.verdict, case.case, case.meaning)).collect()
}

#[test]
fn it_passes_here_and_leaves_nothing_behind() {
    // From a cgroup of its own, as in a session: to it the kernel books what it sends itself in the scratch networks.
    let cgroup = Tree::open().unwrap().directory(&format!("/verify-test-{}", std::process::id()));
    fs::create_dir(&cgroup).unwrap();
    let mut command = start("sh");
    command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$1\""]).arg(&cgroup).arg(PROGRAM);
    let child = command.spawn().unwrap();
    let process = child.id();
    let output = child.wait_with_output().unwrap();
    eventually("its cgroup is empty", || fs::remove_dir(&cgroup).map_err(|error| error.to_string()));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), ""), "{}", describe(&report.cases));
    assert!(report.passed);
    let (running, tried) = report.cases.split_last().unwrap();
    let (freed, tried) = tried.split_last().unwrap();
    assert_eq!((freed.case.as_str(), freed.verdict), ("A closed UDP socket is freed", Outcome::Pass), "{freed:?}");
    let forwarded = tried.iter().filter(|case| case.actor.ends_with("container") || case.case.ends_with("a container"));
    assert_eq!((tried.len(), forwarded.count()), (cases::all().len() + FORWARDED, FORWARDED));
    for case in tried {
        if is_beyond_the_kernel(case) {
            continue;
        }
        assert_eq!((case.verdict, &case.expected), (Outcome::Pass, &case.counted), "{case:?}");
        assert!(case.expected.is_some() && case.strays.is_empty() && case.meaning.is_none(), "{case:?}");
    }
    assert_ne!(running.verdict, Outcome::Fail, "{running:?}");
    assert_eq!(left_behind(process), Vec::<PathBuf>::new());
}

/// A stranger sees the scratch cgroup come, opens it as fast as one can, and would hold its lock.
#[test]
fn a_stranger_cannot_hold_it_up() {
    let mount = Tree::open().unwrap().mount().to_owned();
    let (ended, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (ends, opens) = (Arc::clone(&ended), Arc::clone(&opened));
    let (ready, is_ready) = mpsc::channel();
    let stranger = move || {
        // This thread's alone; the kernel takes root's capabilities with the id.
        let user = rustix::process::Uid::from_raw(1);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        let events = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&events, &mount, inotify::WatchFlags::CREATE).unwrap();
        ready.send(()).unwrap();
        let mut held = Vec::new();
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut tried = 0;
        while !ends.load(Ordering::Relaxed) {
            let mut reader = inotify::Reader::new(&events, &mut space);
            while let Ok(event) = reader.next() {
                let Some(name) = event.file_name().filter(|name| name.to_bytes().starts_with(b"netglance-verify-"))
                else {
                    continue;
                };
                tried += 1;
                if let Ok(file) = fs::File::open(mount.join(name.to_str().unwrap())) {
                    opens.fetch_add(1, Ordering::Relaxed);
                    _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                    held.push(file);
                }
            }
            thread::yield_now();
        }
        tried
    };
    let stranger = thread::spawn(stranger);
    is_ready.recv().unwrap();
    let mut runs = Vec::new();
    for _ in 0..5 {
        let child = start(PROGRAM).spawn().unwrap();
        let process = child.id();
        let output = child.wait_with_output().unwrap();
        runs.push((output.status.code(), text(&output), left_behind(process)));
    }
    ended.store(true, Ordering::Relaxed);
    let tried = stranger.join().unwrap();
    assert_eq!(runs, vec![(Some(0), String::new(), Vec::new()); 5]);
    assert!(tried >= 5 && opened.load(Ordering::Relaxed) == 0, "{opened:?} of {tried} opened");
}

#[test]
fn whoever_hangs_up_makes_nothing_panic() {
    let hung_up = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for argument in [None, Some("--help")] {
        let mut command = Command::new(PROGRAM);
        command.args(argument).stdin(Stdio::null()).stdout(hung_up()).stderr(hung_up());
        let mut child = command.spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(2), "{argument:?}");
        assert_eq!(left_behind(child.id()), Vec::<PathBuf>::new());
    }
}

/// A kernel that has no bridges or can't translate skips them; this one has all.
#[test]
fn what_is_wrong_with_what_is_forwarded_is_found() {
    let faults = [
        (
            Some(Fault::NotForwarded("forwarded_rx")),
            8,
            "none of what was received was counted, so what containers and virtual",
        ),
        (
            Some(Fault::NotForwarded("forwarded_tx")),
            8,
            "The rule of the chain forward that leads to forwarded_tx is missing",
        ),
        (
            // The network of the one that is routed.
            Some(Fault::NoPrefix("2001:4860:2::/64".parse().unwrap())),
            1,
            "none of it was counted",
        ),
        (None, 0, ""),
    ];
    for (fault, failing, said) in faults {
        let cases = forwarded::try_all(Path::new(PROGRAM), fault, &Stop::default()).unwrap();
        let failed: Vec<_> = cases.iter().filter(|case| case.verdict == Outcome::Fail).collect();
        assert_eq!((cases.len(), failed.len()), (FORWARDED, failing), "{fault:?}\n{}", describe(&cases));
        for case in failed {
            let meaning = case.meaning.as_deref().unwrap();
            assert!(case.actor != "the app" && meaning.contains(said), "{fault:?}: no {said:?} in: {meaning}");
        }
    }
}

/// Before Linux 6.5, nothing can set counters back.
fn is_beyond_the_kernel(case: &Case) -> bool {
    let is_skipped = case.verdict == Outcome::Skipped && case.case.ends_with("after an nft reset");
    is_skipped && case.meaning.as_ref().is_some_and(|why| why.contains("kernel (before 6.5)"))
}

/// Each fault makes some cases fail and the others not, and what is said of every one that fails points at it.
#[track_caller]
fn check(fault: Fault, failing: &[&str], said: &[&str]) {
    let cases = try_all(Some(fault));
    let failed: Vec<_> = cases.iter().filter(|case| case.verdict == Outcome::Fail).collect();
    for case in &failed {
        let meaning = case.meaning.as_deref().unwrap();
        assert!(failing.iter().any(|name| case.case.starts_with(name)), "{fault:?} fails {meaning}");
        assert!(said.iter().any(|words| meaning.contains(words)), "{fault:?}: none of {said:?} in: {meaning}");
    }
    for name in failing {
        let is_it = |case: &&Case| case.case.starts_with(name);
        let left_out = cases.iter().filter(is_it).all(is_beyond_the_kernel) && cases.iter().any(|case| is_it(&case));
        assert!(left_out || failed.iter().copied().any(|case| is_it(&case)), "{fault:?}: {name}\n{}", describe(&cases));
    }
    for words in said {
        let any = failed.iter().any(|case| case.meaning.as_deref().unwrap().contains(words));
        assert!(any, "{fault:?}: nobody says {words:?}\n{}", describe(&cases));
    }
    println!("{fault:?}: {}", failed[0].meaning.as_deref().unwrap());
}

#[test]
fn a_missing_prefix_is_found() {
    for (prefix, failing, address) in [
        ("10.0.0.0/8", "Private IPv4 (10.0.0.0/8)", "10.1.2.3"),
        ("172.16.0.0/12", "Private IPv4 (172.16.0.0/12)", "172.16.1.1"),
        ("100.64.0.0/10", "The tailnet over IPv4", "100.100.1.1"),
        ("224.0.0.0/4", "IPv4 multicast", "239.255.77.77"),
        ("ff00::/8", "IPv6 multicast", "ff02::77:77"),
        ("2001:4860:1::/64", "The LAN in its global IPv6 prefix", "2001:4860:1::1"),
    ] {
        let set = if prefix.contains(':') { "internal6" } else { "internal4" };
        let whole = format!(
            "it was counted as external, so the figures are too high by all traffic of this kind, which never leaves \
             your own networks. No prefix in the set {set} covers {address}"
        );
        // Multicast is only sent.
        let sent = "what was sent was counted as external, so the figures are too high".to_owned();
        let said = if failing.contains("multicast") { sent } else { whole };
        // What is redirected to the LAN is in it.
        let redirected = Some("Public IPv6 redirected").filter(|_| failing.starts_with("The LAN"));
        let failing: Vec<_> = [failing].into_iter().chain(redirected).collect();
        check(Fault::NoPrefix(prefix.parse().unwrap()), &failing, &[&said]);
    }
}

#[test]
fn a_missing_rule_is_found() {
    let v4 = &["Private IPv4", "The LAN over IPv4", "The tailnet over IPv4", "Link-local IPv4", "IPv4 multicast"];
    let v6 = &["Unique-local IPv6", "The LAN in its", "The tailnet over IPv6", "Link-local IPv6", "IPv6 multicast"];
    let asks4 = "was counted as external, so the figures are too high";
    let loopback = "The rule that leaves out the loopback interface";
    check(Fault::NoRule("output", Rule::Loopback), &["An address that the host has just got"], &[loopback]);
    check(
        Fault::NoRule("output", Rule::Asks("internal4")),
        v4,
        &[
            "what was sent was counted as external",
            "The IPv4 rule that looks up @internal4 is missing for one direction",
        ],
    );
    check(
        Fault::NoRule("output", Rule::Asks("internal6")),
        v6,
        &[
            "what was sent was counted as external",
            "The IPv6 rule that looks up @internal6 is missing for one direction",
        ],
    );
    check(
        Fault::NoRule("output", Rule::Rest),
        &["Public"],
        &["none of what was sent was counted, so the upload is too low"],
    );
    check(Fault::NoRule("input", Rule::Loopback), &["An address that the host has just got"], &[loopback]);
    check(
        Fault::NoRule("input", Rule::Asks("internal4")),
        &v4[..4],
        &["what was received was counted as external", asks4],
    );
    check(Fault::NoRule("input", Rule::Asks("internal6")), &v6[..4], &["what was received was counted as external"]);
    check(
        Fault::NoRule("input", Rule::Rest),
        &["Public"],
        &["none of what was received was counted, so the download is too low"],
    );
}

/// A table that is wrong in another way isn't asked for remotes.
fn names_of_counters() -> Vec<&'static str> {
    cases::all().iter().filter(|case| !case.by_remote).map(|case| case.name).collect()
}

#[test]
fn remotes_that_are_not_counted_and_rules_that_stay_are_found() {
    let by_remote = |not: Option<Actor>| -> Vec<_> {
        let cases = cases::all().into_iter().filter(|case| case.by_remote && Some(case.actor) != not);
        cases.map(|case| case.name).collect()
    };
    check(
        Fault::NoRemotes,
        &by_remote(Some(Actor::Bystander)),
        &["the app, by remote: the counter is right, but none of it was booked to a remote", "its child process"],
    );
    check(Fault::RemotesStay, &by_remote(None), &["has other rules now than before somebody asked for remotes"]);
}

#[test]
fn a_missing_level_is_found() {
    let all = ["IPv4 loopback", "Public IPv4, TCP", "Private IPv4", "The LAN over IPv4"];
    let mut names = names_of_counters();
    names.retain(|name| !all.contains(name));
    names.extend(all);
    check(Fault::NoLevel(6), &names, &["it was counted for the cgroup above", "The rules for level 6"]);
    let few = ["Public IPv4, TCP", "Public IPv6, UDP"];
    check(
        Fault::NoLevel(5),
        &few,
        &["another app of the same user: it was counted for the cgroup above", "rules for level 5"],
    );
    let few = ["Public IPv4, TCP", "Public IPv6, UDP", "The LAN over IPv4, TCP"];
    check(
        Fault::NoLevel(7),
        &few,
        &["its child process in a cgroup below: it was counted for the app's own cgroup above", "rules for level 7"],
    );
}

#[test]
fn swapped_directions_a_tunnel_counted_twice_and_an_estimate_are_found() {
    let peer = [
        "Private IPv4",
        "The LAN",
        "The tailnet",
        "Unique-local",
        "Link-local",
        "Private IPv6",
        "Public",
        "IPv4 multicast",
        "IPv6 multicast",
    ];
    check(Fault::Swapped, &peer, &["download and upload are swapped"]);
    check(
        Fault::TunnelTwice,
        &["Public IPv4 through a tunnel"],
        &["the tunnel's own packets were counted as well as those that they carry"],
    );
    let mut names = names_of_counters();
    names.dedup();
    check(Fault::Estimate, &names, &["That is what the estimate has", "none of these datagrams were counted"]);
}

#[test]
fn redirected_connections_on_two_sides_are_found() {
    let names = ["Public IPv4", "Public IPv6", "Private IPv4", "Private IPv6"].map(|kind| format!("{kind} redirected"));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    check(Fault::NotRedirected, &names, &["on one side and what was received on the other"]);
}

#[test]
fn a_kernel_that_keeps_a_closed_socket_is_found() {
    let of = |fault| freed::try_one(fault, &Stop::default()).unwrap();
    assert_eq!(of(None).verdict, Outcome::Pass, "{:?}", of(None));
    let found = of(Some(Fault::Leak));
    assert_eq!(found.verdict, Outcome::Fail, "{found:?}");
    let meaning = found.meaning.unwrap();
    for words in ["The kernel kept a UDP socket", "6.1.111", "commit 8b26ff7af8c3, CVE-2024-46855"] {
        assert!(meaning.contains(words), "{meaning}");
    }
}

#[test]
fn real_tools_agree() {
    let mut world = World::new(Path::new(PROGRAM), None).unwrap();
    let cases = world.try_all(&Stop::default()).unwrap();
    let passes = |case: &Case| case.verdict == Outcome::Pass || is_beyond_the_kernel(case);
    assert!(cases.iter().all(passes), "{}", describe(&cases));

    // nft's own list of the sets.
    for actor in [Actor::Bystander, Actor::App] {
        let key = Key::of(fs::metadata(world.cgroup(actor)).unwrap().ino()).bytes();
        let key = [&key[..4], &key[4..]].map(|half| u32::from_ne_bytes(half.try_into().unwrap()));
        let booked = world.booked_to(actor).unwrap();
        for (set, bytes) in [("rx_external", booked.rx_bytes), ("tx_external", booked.tx_bytes)] {
            // Not as JSON: Debian's nft ends in the middle of it at a table with an owner.
            let list = world.inside(|| tool("nft", &["list", "ruleset"], "")).unwrap().unwrap();
            let start = list.find(&format!("\tset {set} {{")).unwrap_or_else(|| panic!("no set {set} in {list}"));
            let text = list[start..].split("\n\t}").next().unwrap();
            let elements = text.split_once("elements = {").unwrap_or_else(|| panic!("nothing in {text}")).1;
            let number = |word: &str| match word.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
                None => word.parse().unwrap(),
            };
            let element = |element: &str| {
                let words: Vec<_> = element.split_whitespace().take(8).map(str::to_owned).collect();
                let [first, _, second, _, _, _, _, bytes] = words.as_slice() else { panic!("{element}") };
                ([number(first), number(second)], bytes.parse::<u64>().unwrap())
            };
            let found = elements.trim_end_matches([' ', '}']).split(',').map(element).find(|(of, _)| *of == key);
            assert_eq!(found, Some((key, bytes)), "{actor:?} {set}: {text}");
            assert!(bytes > 60_000);
        }
    }

    // The interface counts 14 bytes of Ethernet a packet, and the neighbours' protocols too.
    let addresses = cases::peer_addresses().into_iter().map(|a| a.ip()).filter(|ip| *ip != cases::BEHIND_TUNNEL);
    let multicast = ["239.255.77.77", "ff02::77:77"].map(|group| group.parse().unwrap());
    let mut wire = Payload::default();
    for address in addresses.chain([cases::TUNNEL_ENDS[1].into()]).chain(multicast) {
        let passed = world.passed(address).unwrap();
        wire = Payload { rx_bytes: wire.rx_bytes + passed.rx_bytes, tx_bytes: wire.tx_bytes + passed.tx_bytes };
    }
    let link = world.inside(|| tool("ip", &["-j", "-s", "link", "show", "dev", "wire0"], "")).unwrap().unwrap();
    let link: Value = serde_json::from_str(&link).unwrap();
    for (way, passed) in [("rx", wire.rx_bytes), ("tx", wire.tx_bytes)] {
        let stats = &link[0]["stats64"][way];
        let seen = stats["bytes"].as_u64().unwrap() - 14 * stats["packets"].as_u64().unwrap();
        let more =
            seen.checked_sub(passed).unwrap_or_else(|| panic!("{way}: {seen} over the interface, {passed} seen"));
        assert!(more * 200 < passed, "{way}: {seen} over the interface, {passed} seen");
    }
}

#[test]
fn ss_agrees_on_a_connection_that_stands() {
    let mut world = World::new(Path::new(PROGRAM), None).unwrap();
    let script = r#"echo $$ > "$0/cgroup.procs" && exec 3<>/dev/tcp/93.184.216.34/8001 &&
        printf '\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0' >&3 && head -c 65520 /dev/zero >&3 &&
        head -c 131072 <&3 >/dev/null && echo done && read -r"#;
    let cgroup = world.cgroup(Actor::Bystander);
    let mut client = world
        .inside(|| {
            let mut bash = Command::new("bash");
            bash.args(["-c", script]).arg(cgroup).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        })
        .unwrap()
        .expect("bash");
    let mut said = [0; 5];
    client.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    eventually("the table says what ss says", || {
        let list = world.inside(|| tool("ss", &["-tieHn", "dst", "93.184.216.34"], "")).unwrap()?;
        let number = |name: &str| -> u64 {
            let field = list.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
            field.unwrap_or_else(|| panic!("no {name} in: {list}")).parse().unwrap()
        };
        // On a slow machine the peer may have closed by now, and its FIN is a byte to ss; or a segment was sent once more, and
        // the peer's answer to it has 12 bytes more of options; or the peer has sent some once more, which ss knows as segments, and was answered with
        // such options.
        assert!((131_072..=131_073).contains(&number("bytes_received")), "{list}");
        let again = if list.contains("dsack_dups:") { 12 * number("dsack_dups") } else { 0 };
        // 52 bytes of headers a segment with time stamps, and 8 more of options with the first one.
        let rx = 131_072 + 52 * number("segs_in") + 8;
        let tx = number("bytes_sent") + 52 * number("segs_out") + 8;
        let booked = world.booked_to(Actor::Bystander).unwrap();
        let same = booked.rx_bytes.checked_sub(rx).is_some_and(|more| {
            let (segments, rest) = (more / number("rcvmss"), more % number("rcvmss"));
            rest <= again && (tx..=tx + 12 * segments).contains(&booked.tx_bytes)
        });
        if same { Ok(()) } else { Err(format!("{rx} and {tx} by ss, {booked:?} by the table:\n{list}")) }
    });
    client.stdin.take().unwrap().write_all(b"\n").unwrap();
    client.wait().unwrap();
}

#[test]
fn the_running_table_is_compared_with_what_it_should_be() {
    let lab = Lab::default();
    let directory = tempfile::tempdir().unwrap();
    let setup = directory.path().join("setup.json");
    let check = |verdict: Outcome, said: &str| {
        let row = lab.host.inside(|| running::compare(&setup)).unwrap();
        assert_eq!(row.verdict, verdict, "{row:?}");
        assert!(row.meaning.as_deref().unwrap_or_default().contains(said), "no {said:?} in {row:?}");
    };
    check(Outcome::Skipped, "Exact counting is off on this host");

    let internal = "198.41.0.0/16".parse().unwrap();
    let onlink = lab.host.inside(|| Onlink::open().unwrap().changed().unwrap().unwrap());
    let prefixes = Prefixes::new(&onlink, &[internal], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let mut nft = lab.host.inside(Nft::open).unwrap();
    nft.create(11, SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
    check(Outcome::Fail, "The chain forward of the running table has other rules");
    nft.count_forwarded().unwrap();
    check(Outcome::Fail, "The set internal4 of the running table has other prefixes");
    fs::write(&setup, r#"{"installed":true,"internal":["198.41.0.0/16"],"external":[]}"#).unwrap();
    // That somebody looks at remotes, of cgroups at any level, is no difference.
    let keys = |levels: &[u8]| levels.iter().map(|level| (Key::of(u64::from(*level)), *level)).collect();
    let asked = [(None, keys(&[2, 11])), (Some(1000), keys(&[1, 6, 8, 9]))].into_iter().collect();
    for translated in [false, true] {
        nft.count_by_remote(&asked, translated).unwrap();
        check(Outcome::Pass, "");
    }
    // What is redirected on the host has rules of its own.
    let redirect = |nft: &mut Nft, marks: Vec<Marked>, translated| {
        nft.redirect(&Redirected { translated, marked: marks }).unwrap();
    };
    let marks = vec![Marked { mark: 1, mask: u32::MAX, to: "0.0.0.0/0".parse().unwrap() }];
    redirect(&mut nft, marks.clone(), true);
    check(Outcome::Fail, "of the running table has other rules than netglance's");
    lab.host
        .nft("table ip nat { chain o { type nat hook output priority -100; ip daddr 1.2.3.4 dnat to 10.0.0.1; }\n}")
        .unwrap();
    lab.host.ip("rule add fwmark 1 lookup 100");
    lab.host.ip("route add local 0.0.0.0/0 dev lo table 100");
    check(Outcome::Pass, "");
    redirect(&mut nft, marks, false);
    check(Outcome::Fail, "of the running table has other rules than netglance's");
    lab.host.nft("delete table ip nat").unwrap();
    check(Outcome::Pass, "");
    lab.host.ip("rule del fwmark 1 lookup 100");
    redirect(&mut nft, Vec::new(), false);
    check(Outcome::Pass, "");
    lab.host.ip("addr add 2001:4860:9::1/64 dev up0 nodad");
    check(Outcome::Fail, "The set internal6 of the running table has other prefixes");
    lab.host.ip("addr del 2001:4860:9::1/64 dev up0");
    nft.count_by_remote(&BTreeMap::new(), false).unwrap();
    check(Outcome::Pass, "");
    nft.delete_table().unwrap();

    // One of a kernel that can't ask for routes, whose rules are fewer.
    let mut nft = lab.host.inside(Nft::open).unwrap();
    nft.create(11, SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
    nft.count_forwarded_as(false).unwrap();
    check(Outcome::Pass, "");
    nft.delete_table().unwrap();

    // One that books what three levels have to those above.
    let mut nft = lab.host.inside(Nft::open).unwrap();
    nft.create(11, SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
    nft.count_forwarded().unwrap();
    nft.set_opaque(5, &BTreeSet::new()).unwrap();
    check(Outcome::Fail, "of the running table has other rules than netglance's");
}

fn signalled(signal: Signal) -> (u32, Output) {
    let mut child = start(PROGRAM).spawn().unwrap();
    let process = child.id();
    eventually("it has begun", || {
        let begun = !left_behind(process).is_empty() || child.try_wait().unwrap().is_some();
        if begun { Ok(()) } else { Err("no cgroup yet".to_owned()) }
    });
    kill_process(Pid::from_child(&child), signal).unwrap();
    (process, child.wait_with_output().unwrap())
}

#[test]
fn a_signal_ends_it_and_nothing_stays_even_of_one_that_was_killed() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (process, output) = signalled(signal);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &[][..]), "{signal:?}");
        assert!(text(&output).contains("stopped before everything was tested"), "{signal:?}: {}", text(&output));
        assert_eq!(left_behind(process), Vec::<PathBuf>::new(), "{signal:?}");
    }
    let (process, output) = signalled(Signal::KILL);
    assert_eq!(output.status.code(), None);
    eventually("the next run removes what it left", || {
        let next = start(PROGRAM).output().unwrap();
        assert_eq!(next.status.code(), Some(0), "{}", text(&next));
        let left = left_behind(process);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn without_root_it_says_so_and_takes_no_other_word() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("netglance-verify");
    fs::copy(PROGRAM, &copy).unwrap();
    let output = start(copy.to_str().unwrap()).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(text(&output).contains("it needs root for a few seconds"), "{}", text(&output));
    for arguments in [&["--fault"][..], &["move-bytes", "x"], &["/etc/passwd"]] {
        let output = start(PROGRAM).args(arguments).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(text(&output).contains("It takes no argument"), "{}", text(&output));
    }
}

#[test]
fn the_process_that_moves_bytes_has_no_privilege() {
    let mut child: Child = start(PROGRAM).arg("move-bytes").stdin(Stdio::piped()).spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    eventually("root is given up", || {
        let status = fs::read_to_string(&path).unwrap();
        let line = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace().collect::<Vec<_>>()
        };
        let nobody = vec!["65534"; 4];
        let given_up = line("Uid:") == nobody
            && line("Gid:") == nobody
            && line("Groups:").is_empty()
            && line("CapEff:") == ["0000000000000000"]
            && line("CapPrm:") == ["0000000000000000"]
            && line("NoNewPrivs:") == ["1"];
        if given_up { Ok(()) } else { Err(status) }
    });
    child.stdin.take().unwrap().write_all(b"{\"Rm\":\"/\"}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("unknown variant"), "{}", text(&output));
}

/// As an ordinary user starts it on a system where it is installed: real pkexec, real polkitd, our action. The test's polkit
/// knows no other action, so that pkexec can only have found ours by the program's path.
#[tokio::test]
async fn pkexec_starts_it_under_an_action_of_its_own() {
    const GAMES: u32 = 5;
    assert!(Path::new("/usr/bin/pkexec").exists(), "pkexec is not installed: apt-get install pkexec");
    let bus = Bus::new();
    let _polkit = RealPolkit::new(&bus).await;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let libexec = directory.path().join("libexec");
    fs::create_dir(&libexec).unwrap();
    fs::set_permissions(&libexec, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(PROGRAM, libexec.join("netglance-verify")).unwrap();
    let built = Path::new(PROGRAM).with_file_name("netglance");
    assert!(built.exists(), "{} is not built: cargo build --package netglance", built.display());
    fs::copy(built, directory.path().join("netglance")).unwrap();
    // Its own places for the bus's socket and for the program, as far as it can see.
    let script = r#"mkdir -p /run/dbus && mount -t tmpfs none /run/dbus && touch /run/dbus/system_bus_socket &&
        mount --bind "$0" /run/dbus/system_bus_socket && mount --bind "$1" /usr/libexec && shift &&
        exec setpriv --reuid="$1" --regid=65534 --clear-groups "$2" verify --json"#;
    let verify = |uid: u32| {
        let mut command = start("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(bus.address.strip_prefix("unix:path=").unwrap());
        command.arg(&libexec).arg(uid.to_string()).arg(directory.path().join("netglance")).output().unwrap()
    };
    let output = verify(GAMES);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.passed && report.cases.len() > 30, "{report:?}");
    let output = verify(NOBODY);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let said = text(&output);
    assert!(
        said.contains("was not authorised, so nothing was tested") && said.contains("sudo netglance verify"),
        "{said}"
    );
}
