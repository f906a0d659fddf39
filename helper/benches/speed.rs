//! What exact counting costs: `cargo bench -p netglance-helper` prints two tables. Needs root, nft, ip and dbus-daemon, as the
//! tests do.
//!
//! What is compared runs side by side: a round is one measurement of each, and a figure is the median of the rounds. CPU
//! times are of the sending thread or of the helper, not of the clock on the wall.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark stops at the first surprise")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "figures for people")]

#[path = "../../tests/support/lab.rs"]
mod lab;
#[path = "../../tests/support/system.rs"]
mod system;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use lab::{LAN, Lab, OUTSIDE, OUTSIDE_SINK};
use netglance_dbus::{helper1::OBJECT_PATH, scope::Prefixes};
use netglance_helper::nft::{Nft, ruleset::Internal};
use rustix::time::{ClockId, clock_gettime};
use system::{Bus, Daemon};

const ROUNDS: usize = 15;
const PACKETS: u32 = 100_000;
const STREAM_BYTES: usize = 400_000_000;

fn main() {
    println!(
        "| packets (medians of {ROUNDS} rounds) | no table | 1 level, sender at 1 | 8 levels, at 1 | 8 levels, at 8 |"
    );
    println!("|---|---|---|---|---|");
    packets();
    println!("\n| helper | ReadAll, CPU of the helper | bytes of the reply | resident |\n|---|---|---|---|");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(reads("external traffic alone", &[OUTSIDE[0]], &[1000]));
    tokio.block_on(reads("external and internal", &[OUTSIDE[0], LAN[0]], &[10, 100, 1000, 10_000]));
    let size = fs::metadata(env!("CARGO_BIN_EXE_netglance-helper")).unwrap().len() as f64 / 1e6;
    println!("\nThe binary has {size:.2} MB.");
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

fn packets() {
    let lab = Lab::default();
    // The peer costs as little as can be, and is the same for all.
    lab.peer
        .nft(
            "add table ip swallow\n\
             add chain ip swallow udp9 { type filter hook prerouting priority -400\n}\n\
             add rule ip swallow udp9 udp dport 9 drop",
        )
        .unwrap();
    lab.host.ip("link set up0 gso_max_segs 65535");
    let setups: [(u8, &str); 4] = [(0, ""), (1, ""), (8, ""), (8, "2/3/4/5/6/7/8")];
    let prefixes = Prefixes::new(&[], &[], &[]);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let (mut cpu, mut rate, mut stream) =
        ([const { Vec::new() }; 4], [const { Vec::new() }; 4], [const { Vec::new() }; 4]);
    for _ in 0..ROUNDS {
        for (at, (levels, below)) in setups.into_iter().enumerate() {
            let _moved = Moved::to(&lab, below);
            let mut nft = lab.host.inside(Nft::open).unwrap();
            if levels > 0 {
                nft.create(levels, netglance_helper::nft::ruleset::SET_SIZE, Internal { v4: &v4, v6: &v6 }).unwrap();
            }
            let (nanos, per_second) = lab.host.inside(datagrams);
            cpu[at].push(nanos);
            rate[at].push(per_second);
            stream[at].push(lab.host.inside(stream_rate));
            if levels > 0 {
                nft.delete_table().unwrap();
            }
        }
    }
    let row = |what: &str, unit: &str, figures: [Vec<f64>; 4]| {
        let medians = figures.map(median);
        let cells = medians.map(|figure| format!("{figure:.0} {unit} ({:.1} %)", figure / medians[0] * 100.0));
        println!("| {what} | {} |", cells.join(" | "));
    };
    row("64-byte UDP: sender's CPU a packet", "ns", cpu);
    row("64-byte UDP: packets a second", "/s", rate);
    row("TCP over veth", "MB/s", stream);
}

/// CPU nanoseconds a packet, packets a second.
fn datagrams() -> (f64, f64) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(OUTSIDE_SINK).unwrap();
    let cpu = || {
        let t = clock_gettime(ClockId::ThreadCPUTime);
        t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
    };
    let (cpu_start, start) = (cpu(), Instant::now());
    for _ in 0..PACKETS {
        socket.send(&[0; 36]).unwrap(); // 64 bytes with the IP and UDP headers
    }
    ((cpu() - cpu_start) / f64::from(PACKETS), f64::from(PACKETS) / start.elapsed().as_secs_f64())
}

fn stream_rate() -> f64 {
    let mut stream = TcpStream::connect(OUTSIDE[0]).unwrap();
    stream.write_all(&[STREAM_BYTES.to_ne_bytes(), 0usize.to_ne_bytes()].concat()).unwrap();
    let piece = vec![1; 1 << 17];
    let start = Instant::now();
    let mut left = STREAM_BYTES;
    while left > 0 {
        left -= stream.write(&piece[..left.min(piece.len())]).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    STREAM_BYTES as f64 / start.elapsed().as_secs_f64() / 1e6
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
            let _moved = Moved::to(&lab, &format!("user.slice/user-1.slice/app.slice/number-{cgroups}.service"));
            lab.host.inside(|| {
                for address in addresses {
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    socket.connect(address).unwrap();
                    socket.send(&[0; 100]).unwrap();
                    socket.recv(&mut [0; 100]).unwrap();
                }
            });
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
