//! A laboratory for the table: a host, a peer that is the outside and the LAN at once, cgroups with applications in them,
//! and the truth, which is what the peer's own nft counted.
//!
//! Everything is made by real tools (ip, nft) in network namespaces of its own and is gone when the `Lab` is dropped.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use netglance_dbus::cgroup::Tree;
use netglance_helper::nft::key::Key;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

#[path = "application.rs"]
pub mod application;
#[path = "peer.rs"]
pub mod peer;
#[path = "raw.rs"]
pub mod raw;
#[path = "uring.rs"]
mod uring;

/// Addresses of the peer: outside and LAN.
pub const OUTSIDE: [&str; 2] = ["93.184.216.34:8001", "[2606:2800:220:1::34]:8001"];
/// The peer's swallowing ports.
pub const OUTSIDE_SINK: &str = "93.184.216.34:9";
/// See [`OUTSIDE_SINK`].
pub const LAN_SINK: &str = "192.168.77.1:9";
/// See [`OUTSIDE`].
pub const LAN: [&str; 2] = ["192.168.77.1:8001", "[fd77::1]:8001"];
/// Longer than anything here takes on a slow machine; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Set for the process that is an application and no test.
const APPLICATION: &str = "NETGLANCE_LAB_APPLICATION";

/// What the peer counted of what applications say and hear: [external, internal] bytes.
const TRUTH: &str = "table inet truth {
    counter rx_external { }
    counter tx_external { }
    counter rx_internal { }
    counter tx_internal { }
    chain input {
        type filter hook input priority 0
        meta l4proto { tcp, udp, udplite, sctp } jump sent
        icmp type { echo-request, echo-reply } jump sent
        icmpv6 type { echo-request, echo-reply } jump sent
    }
    chain output {
        type filter hook output priority 0
        meta l4proto { tcp, udp, udplite, sctp } jump received
        icmp type { echo-request, echo-reply } jump received
        icmpv6 type { echo-request, echo-reply } jump received
    }
    chain sent {
        ip daddr 93.184.216.34 counter name tx_external
        ip6 daddr 2606:2800:220:1::34 counter name tx_external
        ip daddr { 192.168.77.1, 10.99.0.1 } counter name tx_internal
        ip6 daddr fd77::1 counter name tx_internal
    }
    chain received {
        ip saddr 93.184.216.34 counter name rx_external
        ip6 saddr 2606:2800:220:1::34 counter name rx_external
        ip saddr { 192.168.77.1, 10.99.0.1 } counter name rx_internal
        ip6 saddr fd77::1 counter name rx_internal
    }
}";

/// Waits until `look` gives a value.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(value) => return value,
            Err(why) if Instant::now() > end => panic!("never came true: {what}: {why}"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Runs a tool and returns what it printed.
pub fn tool(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{program}: {e}; install iproute2 and nftables"))?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A network namespace with a name.
pub struct Namespace {
    /// As `ip netns` knows it.
    pub name: String,
}

impl Namespace {
    /// Makes one.
    pub fn new(name: String) -> Self {
        tool("ip", &["netns", "add", &name], "")
            .expect("make a network namespace (root is needed: sudo -E cargo test)");
        let this = Self { name };
        this.ip("link set lo up");
        this
    }

    /// Does something on a thread that is inside.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }

    /// Runs `ip` inside.
    pub fn ip(&self, arguments: &str) {
        self.try_ip(arguments).unwrap_or_else(|e| panic!("ip {arguments}: {e}"));
    }

    /// As [`Self::ip`], where the kernel may refuse.
    pub fn try_ip(&self, arguments: &str) -> Result<String, String> {
        let arguments: Vec<_> = ["-n", &self.name].into_iter().chain(arguments.split(' ')).collect();
        tool("ip", &arguments, "")
    }

    /// Writes a setting of this namespace: `net/…` below /proc/sys.
    pub fn set(&self, name: &str, value: &str) {
        self.inside(|| std::fs::write(format!("/proc/sys/{name}"), value)).unwrap();
    }

    /// Our table as `nft list ruleset` shows it; empty where there is none. nft can't be asked for it by its name.
    pub fn ours(&self) -> String {
        let ruleset = self.nft("list ruleset").unwrap();
        let table = ruleset.find("table inet netglance  {").map(|start| &ruleset[start..]);
        table.map(|text| text[..text.find("\n}").unwrap()].to_owned()).unwrap_or_default()
    }

    /// A set or chain of our table: "set internal4".
    pub fn part_of_ours(&self, what: &str) -> String {
        let table = self.ours();
        let start = table.find(&format!("\t{what} {{")).unwrap_or_else(|| panic!("no {what} in:\n{table}"));
        table[start..].split("\n\t}").next().unwrap().to_owned()
    }

    /// Runs `nft` inside, on a script.
    pub fn nft(&self, script: &str) -> Result<String, String> {
        self.inside(|| tool("nft", &["-f", "-"], script))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = tool("ip", &["netns", "del", &self.name], "");
    }
}

/// Host, peer and a cgroup for the applications.
pub struct Lab {
    /// Where the table under test is.
    pub host: Namespace,
    /// The other side.
    pub peer: Namespace,
    /// Its directory.
    pub cgroup: PathBuf,
}

impl Default for Lab {
    fn default() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let host = Namespace::new(format!("ng-host-{id}"));
        let peer = Namespace::new(format!("ng-peer-{id}"));
        tool(
            "ip",
            &["link", "add", "up0", "netns", &host.name, "type", "veth", "peer", "up1", "netns", &peer.name],
            "",
        )
        .expect("make a pair of interfaces");
        for (namespace, interface, number) in [(&host, "up0", 2), (&peer, "up1", 1)] {
            namespace.ip(&format!("addr add 192.168.77.{number}/24 dev {interface}"));
            namespace.ip(&format!("addr add fd77::{number}/64 dev {interface} nodad"));
            namespace.ip(&format!("link set {interface} up"));
        }
        for (namespace, interface) in [(&host, "up0"), (&peer, "up1")] {
            // Both sides must see the same packets: one aggregate here would be several there, with a header each.
            namespace.ip(&format!("link set {interface} gso_max_segs 1"));
        }
        peer.ip("addr add 93.184.216.34/32 dev lo");
        peer.ip("addr add 2606:2800:220:1::34/128 dev lo nodad");
        host.ip("route add default via 192.168.77.1");
        host.ip("-6 route add default via fd77::1");
        peer.nft(TRUTH).unwrap();
        peer.inside(|| {
            peer::serve(TcpListener::bind("[::]:8001").unwrap());
            OUTSIDE.into_iter().chain(LAN).for_each(peer::answer_udp);
            peer::swallow_udp("[::]:9");
        });
        let cgroup = Tree::open().expect("a cgroup v2 mount").mount().join(format!("netglance-test-{id}"));
        fs::create_dir(&cgroup).expect("make a cgroup (root is needed: sudo -E cargo test)");
        Self { host, peer, cgroup }
    }
}

impl Lab {
    /// Starts an application in a cgroup below the lab's: "" or "a/b".
    pub fn application(&self, below: &str) -> Application {
        self.application_in(&self.host, below)
    }

    /// As [`Self::application`], in another network namespace.
    pub fn application_in(&self, namespace: &Namespace, below: &str) -> Application {
        let cgroup = self.cgroup.join(below);
        fs::create_dir_all(&cgroup).unwrap();
        let key = Key::of(fs::metadata(&cgroup).unwrap().ino());
        let mut child = namespace.inside(|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "application", "--nocapture", "--test-threads=1"]).env(APPLICATION, "1");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
        });
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Application { child, stdin: Some(stdin), stdout, key }
    }

    /// The hardware address of the peer's end.
    pub fn peer_hardware_address(&self) -> String {
        let text = tool("ip", &["-n", &self.peer.name, "-brief", "link", "show", "up1"], "").unwrap();
        text.split_whitespace().nth(2).unwrap().to_owned()
    }

    /// The depth of a cgroup below the lab's, counted from the root.
    pub fn level(&self, below: &str) -> u8 {
        let mount = Tree::open().unwrap().mount().to_owned();
        self.cgroup.join(below).strip_prefix(mount).unwrap().components().count().try_into().unwrap()
    }

    /// The keys of the lab's cgroups. The namespaces' own sockets (for neighbour discovery and the like) belong to the test's.
    pub fn keys(&self) -> HashSet<Key> {
        fn below(directory: &Path, keys: &mut HashSet<Key>) {
            keys.extend(fs::metadata(directory).map(|metadata| Key::of(metadata.ino())));
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    below(&entry.path(), keys);
                }
            }
        }
        let mut keys = HashSet::new();
        below(&self.cgroup, &mut keys);
        keys
    }

    /// The key of a cgroup below the lab's.
    pub fn key(&self, below: &str) -> Key {
        Key::of(fs::metadata(self.cgroup.join(below)).unwrap().ino())
    }

    /// What the peer counted: rx external, tx external, rx internal, tx internal, as the host would say it. What is on its way, such
    /// as a connection's last packet, is waited for; what goes on all the time isn't.
    pub fn truth(&self) -> [u64; 4] {
        settled(|| self.truth_so_far())
    }

    /// The same, without waiting for what is on its way.
    pub fn truth_so_far(&self) -> [u64; 4] {
        let text = self.peer.inside(|| tool("nft", &["list", "counters", "table", "inet", "truth"], "")).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        ["rx_external", "tx_external", "rx_internal", "tx_internal"].map(|name| {
            let at = words.windows(2).position(|w| w == ["counter", name]).unwrap();
            let bytes = words[at..].iter().position(|w| *w == "bytes").unwrap();
            words[at + bytes + 1].parse().unwrap()
        })
    }
}

/// What is read once it stays the same for a moment, or after some looks.
pub fn settled<T: PartialEq>(read: impl Fn() -> T) -> T {
    let mut now = read();
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(10));
        let before = std::mem::replace(&mut now, read());
        if now == before {
            break;
        }
    }
    now
}

impl Drop for Lab {
    fn drop(&mut self) {
        fn remove(directory: &PathBuf) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    remove(&entry.path());
                }
            }
            let end = Instant::now() + PATIENCE;
            while fs::remove_dir(directory).is_err() && Instant::now() < end {
                thread::sleep(Duration::from_millis(5)); // the last process is still leaving it
            }
        }
        remove(&self.cgroup);
    }
}

/// A process of its own in a cgroup of its own, which moves bytes when it is told to.
pub struct Application {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Its cgroup's id.
    pub key: Key,
}

impl Application {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Moves its process to another cgroup below the lab's; sockets made from now on belong there.
    pub fn enter(&self, lab: &Lab, below: &str) {
        let cgroup = lab.cgroup.join(below);
        fs::create_dir_all(&cgroup).unwrap();
        self.enter_at(&cgroup);
    }

    /// As [`Self::enter`], by directory.
    pub fn enter_at(&self, cgroup: &Path) {
        fs::write(cgroup.join("cgroup.procs"), self.child.id().to_string()).unwrap();
    }

    /// Has it do something, and waits until it is done. See [`application::run`] for what it can do.
    pub fn run(&mut self, task: &str) {
        self.begin(task);
        self.finish(task);
    }

    /// Has it begin.
    pub fn begin(&mut self, task: &str) {
        writeln!(self.stdin.as_ref().unwrap(), "{task}").unwrap();
    }

    /// Waits until it is done.
    pub fn finish(&mut self, task: &str) {
        let mut line = String::new();
        while !line.ends_with("done\n") {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the application ended at: {task}");
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
