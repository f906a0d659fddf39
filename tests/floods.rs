//! The helper while ordinary users flood it: it lives, stays small, and serves everybody else. Latencies are printed, never
//! asserted: they are the machine's. `cargo bench -p netglance-helper -- floods` prints the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/flood.rs"]
mod flood;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    time::Duration,
};

use flood::{Flood, Polite, cpu_ms, memory_kb, polite, polite_on};
use lab::Lab;
use netglance_dbus::helper1::{BUS_NAME, OBJECT_PATH, WirePrefix};
use system::{Answer, Bus, Daemon, Polkit};
use zbus::Fd;

const ROOT: u32 = 0;
/// `daemon` is polite, `bin` floods.
const POLITE: u32 = 1;
const HOSTILE: u32 = 2;
/// As many as 64 programs have.
const CONNECTIONS: usize = 64;
/// One flood.
const SPAN: Duration = Duration::from_secs(2);
/// The helper stays below, whatever anybody sends.
const MOST_KB: u64 = 32 << 10;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// Nobody was refused while it went on, and the helper is the same and small.
#[track_caller]
fn held(what: &str, daemon: &Daemon, seen: &Polite, sent: u64) {
    let (read, bus, pid) = (&seen.read, &seen.bus, daemon.pid());
    let hwm = memory_kb(pid, "VmHWM");
    println!(
        "{what}: {sent} messages; Read p50 {:.1} p99 {:.1} ms ({} of them), the bus itself p50 {:.1} p99 {:.1} ms; {hwm} kB",
        read.percentile(50),
        read.percentile(99),
        read.count(),
        bus.percentile(50),
        bus.percentile(99),
    );
    assert!(seen.refused.is_empty(), "{what}: {} refused: {:?}", seen.refused.len(), seen.refused.first());
    assert!(read.count() > 0 && sent > 0, "{what}");
    assert!(hwm < MOST_KB, "{what}: the helper took {hwm} kB; it said: {}", daemon.said());
}

/// Exceptions from the largest internal prefixes, which make an answer with all properties some 100 kB long.
fn scattered() -> Vec<WirePrefix> {
    let address = |at: u8| [&[0xfd, at][..], &[at; 14]].concat();
    (1..50).map(|at| (address(at), 128)).collect()
}

#[tokio::test]
async fn whatever_is_sent_at_full_speed_others_are_served_and_the_helper_stays_small() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _polkit = Polkit::new(&bus, Answer::Silence).await;
    let daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    let prefixes = |count: usize| (vec![(Vec::<u8>::new(), 0u8); count], Vec::<WirePrefix>::new());
    let floods = [
        ("Read", vec![flood::member("Read")]),
        ("all properties", vec![flood::get_all()]),
        (
            "answers that cost nothing",
            vec![
                flood::member("Nothing"),
                flood::call("org.freedesktop.DBus.Properties", "Get", &(BUS_NAME, "Nothing")),
                flood::call("org.freedesktop.DBus.Introspectable", "Introspect", &()),
            ],
        ),
        ("Read without an answer", vec![flood::silent("Read")]),
        ("questions", vec![flood::member("Install"), flood::member("ReadAll")]),
        ("the longest arguments", vec![flood::call(BUS_NAME, "SetPrefixes", &prefixes(16_000))]),
        // A megabyte each. What is longer stands in dbus-daemon's own queue for seconds, whatever the helper does.
        ("arguments that are too long", vec![flood::call(BUS_NAME, "SetPrefixes", &prefixes(130_000))]),
        ("signals", vec![flood::signal(100), flood::signal(1 << 20)]),
    ];
    for (what, messages) in floods {
        let connection = bus.connect(POLITE).await;
        let flood = Flood::new(&bus, HOSTILE, CONNECTIONS, &messages, true);
        let before = cpu_ms(daemon.pid());
        let seen = polite_on(&connection, SPAN).await;
        let cpu = cpu_ms(daemon.pid()) - before;
        held(&format!("{what} ({cpu} ms CPU)"), &daemon, &seen, flood.end());
    }
}

/// The file of the boot before is as full as it may be, and a thousand rows in it are the hostile user's.
#[tokio::test]
async fn asked_for_the_last_totals_at_full_speed_it_serves_others_and_stays_small() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    daemon.kill();
    let of = |(uid, count): (u32, u32)| {
        let top = format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/app-something");
        (0..count).map(move |at| format!(r#"[{uid},"{top}-{at}.scope",[{at},1,1,1]]"#))
    };
    let totals: Vec<_> =
        [(HOSTILE, 1000), (3, 11_000), (4, 11_000), (5, 11_000), (6, 11_000)].map(of).into_iter().flatten().collect();
    let text = format!(r#"{{"boot_id":"before","boottime_ns":1,"totals":[{}]}}"#, totals.join(","));
    std::fs::write(daemon.state().join("last.json"), text).unwrap();
    daemon.start(&bus).await;
    assert_eq!(bus.helper_of(HOSTILE).await.read_last().await.unwrap().2.len(), 1000, "{}", daemon.said());
    let connection = bus.connect(POLITE).await;
    for messages in [vec![flood::member("ReadLast")], vec![flood::silent("ReadLast"), flood::member("ReadLast")]] {
        let flood = Flood::new(&bus, HOSTILE, CONNECTIONS, &messages, true);
        let before = cpu_ms(daemon.pid());
        let seen = polite_on(&connection, SPAN).await;
        let cpu = cpu_ms(daemon.pid()) - before;
        held(&format!("ReadLast ({cpu} ms CPU)"), &daemon, &seen, flood.end());
    }
}

/// A member of docker, whom polkit's rules allow to ask as often as they like.
#[tokio::test]
async fn asked_for_what_is_forwarded_at_full_speed_it_serves_others_and_stays_small() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _polkit = Polkit::new(&bus, Answer::Yes).await;
    let daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    bus.helper_of(HOSTILE).await.read_forwarded().await.unwrap();
    let connection = bus.connect(POLITE).await;
    for messages in [vec![flood::member("ReadForwarded")], vec![flood::silent("ReadForwarded")]] {
        let flood = Flood::new(&bus, HOSTILE, CONNECTIONS, &messages, true);
        let before = cpu_ms(daemon.pid());
        let seen = polite_on(&connection, SPAN).await;
        let cpu = cpu_ms(daemon.pid()) - before;
        held(&format!("ReadForwarded ({cpu} ms CPU)"), &daemon, &seen, flood.end());
    }
}

/// Each with as many paths as there may be, with ever others, without reading an answer, and for what changes all the time.
#[tokio::test]
async fn asked_for_remotes_at_full_speed_it_serves_others_and_stays_small() {
    let app = |user: u32| format!("user.slice/user-{user}.slice/user@{user}.service/app.slice/a.service");
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    let (mut honest, mut hostile) = (lab.application(&app(POLITE)), lab.application(&app(HOSTILE)));
    let slice = format!("/user.slice/user-{HOSTILE}.slice");
    for cgroup in 0..1000 {
        std::fs::create_dir_all(lab.cgroup.join(format!("{}/c{cgroup}", app(HOSTILE)))).unwrap();
    }
    let helper = bus.helper_of(POLITE).await;
    let own = format!("/{}", app(POLITE));
    let look = async || helper.read_remotes(vec![own.clone()]).await.unwrap();
    let call = |paths: &[String]| flood::call(BUS_NAME, "ReadRemotes", &paths);
    bus.helper_of(HOSTILE).await.read_remotes(vec![slice.clone()]).await.unwrap();
    // All the remotes that there is room for.
    hostile.run("spread 93.184.216.34:10000 5000 100");
    hostile.run("spread [2606:2800:220:1::34]:10000 5000 100");
    let many = |from: usize| (from..from + 400).map(|at| format!("/{}/c{at}", app(HOSTILE))).collect::<Vec<_>>();
    let absent =
        |from: usize| (from..from + 400).map(|at| format!("{slice}/none{at}/{}", "x".repeat(100))).collect::<Vec<_>>();
    let changing = |paths: &dyn Fn(usize) -> Vec<String>| (0..60).map(|at| call(&paths(at * 10))).collect::<Vec<_>>();
    let floods = [
        ("the whole slice", vec![call(std::slice::from_ref(&slice))], true),
        ("many paths", vec![call(&many(0))], true),
        ("other paths each time", changing(&many), true),
        ("paths that are not there", changing(&absent), true),
        ("no answer read", vec![call(std::slice::from_ref(&slice))], false),
    ];
    let (mut sent, datagram) = (0, 128);
    let told = async || look().await.3.iter().map(|row| row.5).sum::<u64>();
    for (what, messages, reads) in floods {
        let connection = bus.connect(POLITE).await;
        let flood = Flood::new(&bus, HOSTILE, CONNECTIONS, &messages, reads);
        let before = cpu_ms(daemon.pid());
        let mut latencies = flood::Latencies::default();
        let seen = polite_on(&connection, SPAN).await;
        for _ in 0..5 {
            let before = told().await;
            honest.run("flood 93.184.216.34:9 10 100");
            sent += 10 * datagram;
            let start = std::time::Instant::now();
            let (_, _, is_complete, rows) = look().await;
            latencies.add(start.elapsed());
            let rows: Vec<_> = rows.iter().map(|row| (row.0.as_str(), row.5)).collect();
            assert_eq!((is_complete, rows), (true, vec![(own.as_str(), before + 10 * datagram)]), "{what}");
            assert_eq!(helper.read().await.unwrap().2.iter().map(|row| row.tx_bytes).sum::<u64>(), sent, "{what}");
        }
        let cpu = cpu_ms(daemon.pid()) - before;
        println!("{what}: ReadRemotes p50 {:.1} p99 {:.1} ms", latencies.percentile(50), latencies.percentile(99));
        held(&format!("ReadRemotes, {what} ({cpu} ms CPU)"), &daemon, &seen, flood.end());
    }
}

#[tokio::test]
async fn strangers_that_come_and_go_keep_nobody_out() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _polkit = Polkit::new(&bus, Answer::Silence).await;
    let daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    let floods = [HOSTILE, 3].map(|uid| Flood::of_strangers(&bus, uid, &flood::member("Install")));
    let mut seen = polite(&bus, POLITE, SPAN).await;
    // Each time somebody whom the helper does not know yet.
    for _ in 0..50 {
        let one = polite(&bus, POLITE, Duration::from_millis(1)).await;
        seen.refused.extend(one.refused);
    }
    let sent = floods.into_iter().map(Flood::end).sum();
    held("strangers", &daemon, &seen, sent);
    let said = daemon.said();
    assert!(said.lines().count() < 10, "they write no lines into the log: {said}");
}

/// dbus-daemon reads nothing more from a sender whose messages pile up, 127 MiB of them: the helper would be mute.
#[tokio::test]
async fn answers_that_nobody_reads_pile_up_for_nobody_else() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    let root = bus.helper_of(ROOT).await;
    root.install().await.unwrap();
    root.set_prefixes(vec![], scattered()).await.unwrap();
    let before = memory_kb(flood::bus_pid(&bus), "VmRSS");
    // No faster than the bus itself puts up with: what it answers to those who are faster, it keeps without any limit.
    let flood = Flood::paced(&bus, HOSTILE, 4, flood::get_all(), false, Duration::from_millis(20));
    let seen = polite(&bus, POLITE, 2 * SPAN).await;
    held("unread answers", &daemon, &seen, flood.end());
    let grown = memory_kb(flood::bus_pid(&bus), "VmHWM").saturating_sub(before);
    println!("the bus grew by {grown} kB");
    assert!(grown < 16 << 10, "the bus grew by {grown} kB");
    // The next one who reads is served, of the same user too, as nothing is unread any more.
    for uid in [HOSTILE, POLITE] {
        let seen = polite(&bus, uid, Duration::from_millis(200)).await;
        assert!(seen.refused.is_empty(), "{uid}: {:?}", seen.refused);
    }
}

#[tokio::test]
async fn who_reads_much_is_never_taken_for_one_who_does_not_read() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    let root = bus.helper_of(ROOT).await;
    root.install().await.unwrap();
    root.set_prefixes(vec![], scattered()).await.unwrap();
    // Many times what may be unread, to one connection.
    let user = bus.helper_of(POLITE).await;
    for _ in 0..200 {
        tokio::time::timeout(Duration::from_secs(20), user.internal_prefixes()).await.expect("an answer").unwrap();
    }
}

#[tokio::test]
async fn descriptors_and_signals_never_reach_it() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    let connection = bus.connect(HOSTILE).await;
    let null = File::open("/dev/null").unwrap();
    let fds = || (0..16).map(|_| Fd::from(null.as_fd())).collect::<Vec<_>>();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = open();
    for _ in 0..64 {
        let body = fds();
        let call = connection.call_method(Some(BUS_NAME), OBJECT_PATH, Some(BUS_NAME), "Read", &body);
        let error = call.await.unwrap_err().to_string();
        assert!(error.contains("AccessDenied"), "{error}");
        connection.emit_signal(Some(BUS_NAME), OBJECT_PATH, BUS_NAME, "Noise", &body).await.unwrap();
    }
    // The bus says so to whoever sends one without: nothing of it comes as far as the helper.
    let mut raw = flood::connect(&bus, HOSTILE);
    raw.write_all(&flood::signal(10)).unwrap();
    let (mut said, mut piece) = (String::new(), [0; 1024]);
    while !said.contains("AccessDenied") {
        let length = raw.read(&mut piece).expect("the bus refuses a signal to the helper");
        said += &String::from_utf8_lossy(&piece[..length]);
    }
    let user = Bus::helper(&connection).await;
    assert!(!user.version().await.unwrap().is_empty());
    assert_eq!(open(), before);
}
