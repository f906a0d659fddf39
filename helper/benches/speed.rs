//! What exact counting costs: `cargo bench -p netglance-helper` prints the tables; `-- packets`, `-- reads`, `-- remotes`,
//! `-- saves`, `-- cgroups` or `-- floods` a part of them. Needs root, nft, ip and dbus-daemon, as the
//! tests do.
//!
//! What is compared runs side by side: a round is one measurement of each, and a figure is the median of the rounds. CPU times
//! are of the sending thread or of the helper, not of the clock on the wall.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark stops at the first surprise")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "figures for people")]

#[path = "../../tests/support/flood.rs"]
mod flood;
#[path = "../../tests/support/lab.rs"]
mod lab;
#[path = "../../tests/support/system.rs"]
mod system;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use lab::{LAN, Lab, OUTSIDE, OUTSIDE_SINK};
use netglance_dbus::{helper1::OBJECT_PATH, scope::Prefixes};
use netglance_helper::{
    last::When,
    nft::{
        Nft,
        ruleset::{Internal, SET_SIZE},
    },
    table::Table,
};
use rustix::time::{ClockId, clock_gettime};
use system::{Bus, Daemon};

const ROUNDS: usize = 15;
const PACKETS: u32 = 60_000;
const STREAM_ROUNDS: usize = 40;
const STREAM_BYTES: usize = 300_000_000;
/// The depth of a desktop's application.
const APP: &str = "2/3/4/5/6";

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only == "--bench" || only == part;
    let tokio = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if wanted("packets") {
        packets();
        streams();
    }
    if wanted("cgroups") {
        tokio().block_on(cgroups());
    }
    if wanted("floods") {
        tokio().block_on(floods());
    }
    if wanted("saves") {
        saves();
    }
    if wanted("remotes") {
        by_remote();
        tokio().block_on(remotes());
    }
    if wanted("reads") {
        println!("\n| helper | CPU a call | bytes of the reply | resident |\n|---|---|---|---|");
        let tokio = tokio();
        tokio.block_on(reads("external traffic alone", &[OUTSIDE[0]], &[1000]));
        tokio.block_on(reads("external and internal", &[OUTSIDE[0], LAN[0]], &[10, 100, 1000, 10_000]));
        println!("goals: Read of 1,000 cgroups 2 ms; 0.2 % of a core at 2 Reads a second; 8 MB resident");
        let size = fs::metadata(env!("CARGO_BIN_EXE_netglance-helper")).unwrap().len() as f64 / 1e6;
        println!("\nThe binary has {size:.2} MB (goal: 4).");
    }
}

/// This process in another cgroup until it is dropped.
struct Moved<'a>(&'a Lab);

impl<'a> Moved<'a> {
    fn to(lab: &'a Lab, below: &str) -> Self {
        let directory = lab.cgroup.join(below);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        Self(lab)
    }
}

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        let root = self.0.cgroup.parent().unwrap().join("cgroup.procs");
        fs::write(root, std::process::id().to_string()).unwrap();
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A lab whose peer swallows datagrams at no cost, and a way to count in it with so many levels; 0: no table.
fn lab() -> Lab {
    let lab = Lab::default();
    let swallow = "add table ip swallow\n\
        add chain ip swallow udp9 { type filter hook prerouting priority -400\n}\n\
        add rule ip swallow udp9 udp dport 9 drop";
    lab.peer.nft(swallow).unwrap();
    // The peer's own counters cost too; here they have no use.
    lab.peer.nft("delete table inet truth").unwrap();
    for (namespace, interface) in [(&lab.host, "up0"), (&lab.peer, "up1")] {
        namespace.ip(&format!("link set {interface} gso_max_segs 65535"));
    }
    lab
}

fn with_table<T: Send>(lab: &Lab, levels: u8, opaque: u8, measure: impl FnOnce() -> T + Send) -> T {
    let prefixes = Prefixes::new(&[], &[], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let mut nft = lab.host.inside(Nft::open).unwrap();
    if levels > 0 {
        nft.create(levels, SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
    }
    if opaque > 0 {
        nft.set_opaque(levels, &(2..2 + opaque).map(|level| (level, level.into())).collect()).unwrap();
    }
    let measured = lab.host.inside(measure);
    if levels > 0 {
        nft.delete_table().unwrap();
    }
    measured
}

fn packets() {
    let lab = lab();
    // The last two: while somebody else's cgroups are booked as a whole, at one level and at five.
    let setups = [
        (0, "", 0),
        (1, "", 0),
        (4, "", 0),
        (8, "", 0),
        (16, "", 0),
        (8, APP, 0),
        (16, APP, 0),
        (8, APP, 1),
        (8, APP, 5),
    ];
    let mut figures = [const { [const { Vec::new() }; 3] }; 9];
    for round in 0..ROUNDS {
        for at in 0..setups.len() {
            let at = (at + round) % setups.len(); // nobody always comes first
            let (levels, below, opaque) = setups[at];
            let _moved = Moved::to(&lab, below);
            let receiver = lab.host.inside(|| UdpSocket::bind("0.0.0.0:5555")).unwrap();
            let (cpu, rate) = with_table(&lab, levels, opaque, || datagrams(OUTSIDE_SINK));
            // What the host does with a packet that arrives is done in the sender's time: between two ends of a cable made of
            // software nobody else is there.
            let received = with_table(&lab, levels, opaque, || lab.peer.inside(|| datagrams("192.168.77.2:5555").0));
            drop(receiver);
            for (figure, list) in [cpu, rate, received].into_iter().zip(&mut figures[at]) {
                list.push(figure);
            }
        }
    }
    println!(
        "| 64-byte UDP, medians of {ROUNDS} rounds | CPU a packet sent | packets a second | CPU a packet received |"
    );
    println!("|---|---|---|---|");
    let none = figures[0].clone().map(median);
    for ((levels, below, opaque), figures) in setups.into_iter().zip(figures) {
        let depth = 1 + below.split('/').filter(|name| !name.is_empty()).count();
        let what = if levels == 0 { "no table".into() } else { format!("{levels} levels, cgroup at level {depth}") };
        let what = if opaque == 0 { what } else { format!("{what}, others booked as a whole at {opaque} of them") };
        let [sent, rate, received] = figures.map(median);
        let share = rate / none[1] * 100.0;
        println!(
            "| {what} | {sent:.0} ns (+{:.0}) | {rate:.0} ({share:.1} %) | {received:.0} ns (+{:.0}) |",
            sent - none[0],
            received - none[2]
        );
    }
}

fn streams() {
    let lab = lab();
    let mut figures = [const { [const { Vec::new() }; 2] }; 2];
    for round in 0..STREAM_ROUNDS {
        for at in [round % 2, 1 - round % 2] {
            let _moved = Moved::to(&lab, APP);
            let (rate, cpu) = with_table(&lab, [0, 8][at], 0, stream);
            figures[at][0].push(rate);
            figures[at][1].push(cpu);
        }
    }
    let [[without, cpu_without], [with, cpu_with]] = figures.map(|figures| figures.map(median));
    println!("\n| TCP over veth, medians of {STREAM_ROUNDS} rounds | no table | table, 8 levels, cgroup at level 6 |");
    println!("|---|---|---|");
    println!("| throughput (goal: 99 %) | {without:.0} MB/s | {with:.0} MB/s ({:.1} %) |", with / without * 100.0);
    let share = cpu_with / cpu_without * 100.0;
    println!("| CPU of both ends, a GB | {cpu_without:.1} ms | {cpu_with:.1} ms ({share:.1} %) |");
}

/// What counting by remote costs the packets of a cgroup that is asked for, and of another one at the same level.
fn by_remote() {
    const LEVELS: u8 = 8;
    let lab = lab();
    fs::create_dir_all(lab.cgroup.join(APP)).unwrap();
    fs::create_dir_all(lab.cgroup.join("another/3/4/5/6")).unwrap();
    let asked = |below: &str| BTreeMap::from([(Some(1), BTreeMap::from([(lab.key(below), lab.level(below))]))]);
    let setups = [
        ("nobody asks", None),
        ("asked for", Some(asked(APP))),
        ("another is asked for", Some(asked("another/3/4/5/6"))),
    ];
    let prefixes = Prefixes::new(&[], &[], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let with = |asked: &Option<_>, measure: &(dyn Fn() -> [f64; 2] + Sync)| {
        let mut nft = lab.host.inside(Nft::open).unwrap();
        nft.create(LEVELS, SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
        asked.iter().for_each(|asked| nft.count_by_remote(asked, false).unwrap());
        let measured = lab.host.inside(measure);
        nft.delete_table().unwrap();
        measured
    };
    let mut figures = [const { [const { Vec::new() }; 4] }; 3];
    for round in 0..STREAM_ROUNDS {
        for at in 0..setups.len() {
            let at = (at + round) % setups.len();
            let _moved = Moved::to(&lab, APP);
            let receiver = lab.host.inside(|| UdpSocket::bind("0.0.0.0:5555")).unwrap();
            let [sent, received] = with(&setups[at].1, &|| {
                [datagrams(OUTSIDE_SINK).0, lab.peer.inside(|| datagrams("192.168.77.2:5555").0)]
            });
            drop(receiver);
            let [rate, cpu] = with(&setups[at].1, &|| stream().into());
            for (figure, list) in [sent, received, rate, cpu].into_iter().zip(&mut figures[at]) {
                list.push(figure);
            }
        }
    }
    println!(
        "\n| {LEVELS} levels, cgroup at level 6, medians of {STREAM_ROUNDS} rounds | CPU a packet sent | received | TCP |"
    );
    println!("|---|---|---|---|");
    let none = figures[0].clone().map(median);
    for ((what, _), figures) in setups.iter().zip(figures) {
        let [sent, received, rate, _] = figures.map(median);
        println!(
            "| {what} | {sent:.0} ns (+{:.0}) | {received:.0} ns (+{:.0}) | {rate:.0} MB/s ({:.1} %) |",
            sent - none[0],
            received - none[1],
            rate / none[2] * 100.0
        );
    }
    println!("goals: 400 ns more a packet; 97 % of the TCP throughput");
}

/// What a call for an app's remotes costs the helper.
async fn remotes() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(0).await.install().await.unwrap();
    let below = "user.slice/user-1.slice/user@1.service/app.slice/a.service";
    println!("\n| remotes | CPU of ReadRemotes | bytes of the reply | resident |\n|---|---|---|---|");
    let connection = bus.connect(1).await;
    let name = Some("org.netglance.Helper1");
    let paths = (vec![format!("/{below}")],);
    let mut port = 10_000;
    for goal in [10, 100, 1000, 4000] {
        let _moved = Moved::to(&lab, below);
        connection.call_method(name, OBJECT_PATH, name, "ReadRemotes", &paths).await.unwrap();
        lab.host.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            while port < 10_000 + goal {
                socket.send_to(&[0; 100], ("192.168.77.1", port)).unwrap();
                port += 1;
                if port % 64 == 0 {
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
        });
        let (mut figures, mut bytes) = (Vec::new(), 0);
        for _ in 0..ROUNDS {
            let before = cpu_ns(&daemon);
            let reply = connection.call_method(name, OBJECT_PATH, name, "ReadRemotes", &paths).await.unwrap();
            bytes = reply.data().len();
            figures.push((cpu_ns(&daemon) - before) / 1e6);
        }
        println!("| {goal} | {:.2} ms | {bytes} | {:.1} MB |", median(figures), resident_mb(&daemon));
    }
    println!("goal: 3 ms with 1,000");
}

/// CPU nanoseconds a packet, packets a second.
fn datagrams(to: &str) -> (f64, f64) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(to).unwrap();
    let (cpu_start, start) = (cpu(ClockId::ThreadCPUTime), Instant::now());
    for _ in 0..PACKETS {
        socket.send(&[0; 36]).unwrap(); // 64 bytes with the IP and UDP headers
    }
    let cpu = cpu(ClockId::ThreadCPUTime) - cpu_start;
    (cpu / f64::from(PACKETS), f64::from(PACKETS) / start.elapsed().as_secs_f64())
}

fn cpu(clock: ClockId) -> f64 {
    let t = clock_gettime(clock);
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// MB a second, CPU milliseconds a GB.
fn stream() -> (f64, f64) {
    let mut stream = TcpStream::connect(OUTSIDE[0]).unwrap();
    stream.write_all(&[STREAM_BYTES.to_ne_bytes(), 0usize.to_ne_bytes()].concat()).unwrap();
    let piece = vec![1; 1 << 17];
    let (cpu_start, start) = (cpu(ClockId::ProcessCPUTime), Instant::now());
    let mut left = STREAM_BYTES;
    while left > 0 {
        left -= stream.write(&piece[..left.min(piece.len())]).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let cpu = cpu(ClockId::ProcessCPUTime) - cpu_start;
    let bytes = STREAM_BYTES as f64;
    (bytes / start.elapsed().as_secs_f64() / 1e6, cpu / 1e6 / (bytes / 1e9))
}

/// What the helper takes for cgroups that come and go, and for those that stay.
async fn cgroups() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::new(&lab, &bus).await;
    let helper = bus.helper_of(0).await;
    helper.install().await.unwrap();
    let directory = lab.cgroup.join("user.slice/user-1.slice/app.slice");
    fs::create_dir_all(&directory).unwrap();
    helper.read().await.unwrap();
    let make = |count: usize| {
        (0..count).for_each(|i| fs::create_dir(directory.join(format!("app-number-{i}.service"))).unwrap());
    };
    let remove = |count: usize| {
        (0..count).for_each(|i| fs::remove_dir(directory.join(format!("app-number-{i}.service"))).unwrap());
    };
    println!("\n| helper | CPU | resident |\n|---|---|---|");
    let before = cpu_ns(&daemon);
    for _ in 0..20 {
        make(500);
        remove(500);
        helper.read().await.unwrap();
    }
    println!(
        "| a cgroup made and removed | {:.1} µs | {:.1} MB |",
        (cpu_ns(&daemon) - before) / 1e7,
        resident_mb(&daemon)
    );
    tokio::time::sleep(Duration::from_secs(21)).await; // 10,000 in one go are not all that one account may make
    make(16_000);
    helper.read().await.unwrap();
    println!("| 16,000 live without traffic | | {:.1} MB |", resident_mb(&daemon));
    for (what, more) in [("16,000", 0), ("50,000", 34_000)] {
        (0..more).for_each(|i| fs::create_dir(directory.join(format!("more-{i}"))).unwrap());
        daemon.kill();
        let start = Instant::now();
        daemon.start(&bus).await;
        let (ms, cpu) = (start.elapsed().as_secs_f64() * 1e3, cpu_ns(&daemon) / 1e6);
        println!(
            "| a start among {what} (first answer after {ms:.0} ms) | {cpu:.0} ms | {:.1} MB |",
            resident_mb(&daemon)
        );
    }
}

/// Of cgroups that have each exchanged datagrams with these addresses.
async fn reads(what: &str, addresses: &[&str], goals: &[usize]) {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    let connection = bus.connect(0).await;
    Bus::helper(&connection).await.install().await.unwrap();
    let mut cgroups = 0;
    for goal in goals {
        while cgroups < *goal {
            speak(&lab, cgroups, addresses);
            cgroups += 1;
        }
        let mut figures = Vec::new();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let before = cpu_ns(&daemon);
            let name = Some("org.netglance.Helper1");
            let reply = connection.call_method(name, OBJECT_PATH, name, "ReadAll", &()).await.unwrap();
            bytes = reply.data().len();
            figures.push((cpu_ns(&daemon) - before) / 1e6);
        }
        println!("| {goal} cgroups, {what} | {:.2} ms | {bytes} | {:.1} MB |", median(figures), resident_mb(&daemon));
        if *goal == 100 {
            let (before, start) = (cpu_ns(&daemon), Instant::now());
            let helper = bus.helper_of(1).await;
            for _ in 0..20 {
                helper.read().await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let share = (cpu_ns(&daemon) - before) / start.elapsed().as_nanos() as f64 * 100.0;
            println!("| {goal} cgroups, 2 Reads a second for 10 s | {share:.3} % of a core | | |");
        }
    }
}

/// A datagram of one of many services to each address, and its answer.
fn speak(lab: &Lab, service: usize, addresses: &[&str]) {
    let _moved = Moved::to(lab, &format!("user.slice/user-1.slice/app.slice/number-{service}.service"));
    lab.host.inside(|| {
        for address in addresses {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(address).unwrap();
            socket.send(&[0; 100]).unwrap();
            socket.recv(&mut [0; 100]).unwrap();
        }
    });
}

/// What a save of the totals costs, which is due every five minutes: the look, and all of it but for the wait for the disk.
fn saves() {
    println!("\n| a save of | CPU | of it the look | synced at once | file |\n|---|---|---|---|---|");
    let (lab, directory) = (Lab::default(), tempfile::tempdir().unwrap());
    let of = |name| directory.path().join(name);
    let mut table = lab.host.inside(|| {
        let mut table = Table::open(&of("state"), &of("run"), "this", None, SET_SIZE).unwrap();
        table.install(true).unwrap();
        table
    });
    let mut cgroups = 0;
    for goal in [100, 1000, 10_000] {
        while cgroups < goal {
            speak(&lab, cgroups, &[OUTSIDE[0], LAN[0]]);
            cgroups += 1;
            if cgroups % 500 == 0 {
                table.follow().unwrap(); // as it does whenever something happens
            }
        }
        table.follow().unwrap();
        let (mut looks, mut soon, mut now) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            looks.push(cpu_ms(|| table.look().unwrap()));
            speak(&lab, round, &[OUTSIDE[0]]);
            soon.push(cpu_ms(|| table.save(When::Soon)));
            speak(&lab, round, &[OUTSIDE[0]]);
            now.push(cpu_ms(|| table.save(When::Now)));
        }
        let size = fs::metadata(of("state").join("totals.json")).unwrap().len() as f64 / 1e3;
        let [soon, look, now] = [soon, looks, now].map(median);
        println!("| {goal} cgroups | {soon:.2} ms | {look:.2} ms | {now:.2} ms | {size:.0} kB |");
    }
    table.uninstall().unwrap();
}

/// CPU time of this thread.
fn cpu_ms(act: impl FnOnce()) -> f64 {
    let before = cpu(ClockId::ThreadCPUTime);
    act();
    (cpu(ClockId::ThreadCPUTime) - before) / 1e6
}

/// What one user sees of `Read`, and of a call that the bus answers itself, while another one floods the helper.
async fn floods() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(0).await.install().await.unwrap();
    println!(
        "\n| flood, 6 s | messages | Read p50, p99 | GetId of the bus p50, p99 | refused | CPU of the helper | its peak memory |"
    );
    println!("|---|---|---|---|---|---|---|");
    let arguments = (vec![(Vec::<u8>::new(), 0u8); 16_000], Vec::<(Vec<u8>, u8)>::new());
    let long = (vec![(Vec::<u8>::new(), 0u8); 2_000_000], Vec::<(Vec<u8>, u8)>::new());
    let bus_name = "org.netglance.Helper1";
    let kinds = [
        ("none", 0, flood::member("Read")),
        ("Read, 1 connection", 1, flood::member("Read")),
        ("Read, 64 connections", 64, flood::member("Read")),
        ("all properties, 64", 64, flood::get_all()),
        ("Introspect, 64", 64, flood::call("org.freedesktop.DBus.Introspectable", "Introspect", &())),
        ("no such member, 64", 64, flood::member("Nothing")),
        ("Read without an answer, 64", 64, flood::silent("Read")),
        ("SetPrefixes of 128 kB, 64", 64, flood::call(bus_name, "SetPrefixes", &arguments)),
        ("SetPrefixes of 16 MB, 64", 64, flood::call(bus_name, "SetPrefixes", &long)),
        ("signals, 64", 64, flood::signal(100)),
    ];
    for (what, connections, message) in kinds {
        let flood = flood::Flood::new(&bus, 2, connections, &[message], true);
        let before = cpu_ns(&daemon);
        let seen = flood::polite(&bus, 1, Duration::from_secs(6)).await;
        let cpu = (cpu_ns(&daemon) - before) / 6e9 * 100.0;
        let sent = flood.end();
        let of = |seen: &flood::Latencies| format!("{:.1}, {:.1} ms", seen.percentile(50), seen.percentile(99));
        let (read, floor, refused) = (of(&seen.read), of(&seen.bus), seen.refused.len());
        let peak = flood::memory_kb(daemon.pid(), "VmHWM");
        println!("| {what} | {sent} | {read} | {floor} | {refused} | {cpu:.0} % | {:.1} MB |", peak as f64 / 1e3);
    }
}

/// CPU time of all the helper's threads, by the scheduler's own books.
fn cpu_ns(daemon: &Daemon) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten();
    tasks
        .map(|task| fs::read_to_string(task.path().join("schedstat")).unwrap())
        .map(|text| text.split(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

fn resident_mb(daemon: &Daemon) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1e3
}
