//! A laboratory for the table: a host, a peer that is the outside and the LAN at once, cgroups with applications in them,
//! and the truth, which is what the peer's own nft counted.
//!
//! Everything is made by real tools (ip, nft) in network namespaces of its own and is gone when the `Lab` is dropped.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use netglance_dbus::cgroup::Tree;
use netglance_helper::nft::key::Key;
use rustix::{
    net::{AddressFamily, Protocol, SocketType, ipproto},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

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
const PATIENCE: Duration = Duration::from_secs(20);
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
            serve(TcpListener::bind("[::]:8001").unwrap());
            OUTSIDE.into_iter().chain(LAN).for_each(answer_udp);
            swallow_udp("[::]:9");
        });
        let cgroup = Tree::open().expect("a cgroup v2 mount").mount().join(format!("netglance-test-{id}"));
        fs::create_dir(&cgroup).expect("make a cgroup (root is needed: sudo -E cargo test)");
        Self { host, peer, cgroup }
    }
}

impl Lab {
    /// Starts an application in a cgroup below the lab's: "" or "a/b".
    pub fn application(&self, below: &str) -> Application {
        let cgroup = self.cgroup.join(below);
        fs::create_dir_all(&cgroup).unwrap();
        let key = Key::of(fs::metadata(&cgroup).unwrap().ino());
        let mut child = self.host.inside(|| {
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

    /// What the peer counted: rx external, tx external, rx internal, tx internal, as the host would say it.
    pub fn truth(&self) -> [u64; 4] {
        let text = self.peer.inside(|| tool("nft", &["list", "counters", "table", "inet", "truth"], "")).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        ["rx_external", "tx_external", "rx_internal", "tx_internal"].map(|name| {
            let at = words.windows(2).position(|w| w == ["counter", name]).unwrap();
            let bytes = words[at..].iter().position(|w| *w == "bytes").unwrap();
            words[at + bytes + 1].parse().unwrap()
        })
    }
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

    /// Has it do something, and waits until it is done. See [`application`] for what it can do.
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

/// The application's side of [`Application`]; returns at once in a process that is none.
///
/// `tcp ADDR UP DOWN`, `udp ADDR COUNT BYTES` (each is answered by as much), `unconnected ADDR COUNT BYTES`,
/// `flood ADDR COUNT BYTES` (not answered). The others are in the match below; what takes one number ignores the second.
pub fn application() {
    if std::env::var_os(APPLICATION).is_none() {
        return;
    }
    let mut listener = None;
    let mut shared = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let [task, address, first, second] = words.as_slice() else { panic!("{line}") };
        let (address, first, second) = (address.parse().unwrap(), first.parse().unwrap(), second.parse().unwrap());
        match *task {
            "tcp" => tcp(TcpStream::connect::<SocketAddr>(address).unwrap(), first, second),
            "mptcp" => tcp(multipath(address), first, second),
            "hangup" => hangup(address, first),
            "sendfile" => upload(address, first, |socket, bytes| {
                let file = tempfile::tempfile().unwrap();
                file.set_len(bytes as u64).unwrap();
                let mut left = bytes;
                while left > 0 {
                    left -= rustix::fs::sendfile(&*socket, &file, None, left).unwrap();
                }
            }),
            "splice" => upload(address, first, splice),
            "uring" => upload(address, first, uring::send),
            "uring-zerocopy" => upload(address, first, uring::send_zerocopy),
            "zerocopy" => upload(address, first, uring::send_with_msg_zerocopy),
            "uring-receive" => uring_receive(address, first),
            "children" => children(address, first, second),
            "listen" => listener = Some(TcpListener::bind::<SocketAddr>(address).unwrap()),
            "listen-transparent" => listener = Some(listen_transparent(address)),
            "accept" => accept(listener.as_ref().unwrap(), first, second),
            "share" => shared = Some(raw::share(address, first == 1)),
            "take" => take(shared.as_ref().unwrap(), first, second),
            "packet" => raw::packets(address, first, second),
            "relay" => relay(listener.as_ref().unwrap(), address, first),
            "try" => attempt(address, first, second),
            "ping" => echo(address, first, second, SocketType::DGRAM),
            "raw" => echo(address, first, second, SocketType::RAW),
            "udplite" => connected(address, first, second, SocketType::DGRAM, ipproto::UDPLITE),
            "sctp" => connected(address, first, second, SocketType::STREAM, ipproto::SCTP),
            "udp" => udp(address, first, second, true),
            "unconnected" => udp(address, first, second, false),
            "flood" => flood(address, first, second),
            _ => panic!("{line}"),
        }
        println!("done");
    }
}

fn tcp(mut stream: TcpStream, up: usize, down: usize) {
    stream.write_all(&[up.to_ne_bytes(), down.to_ne_bytes()].concat()).unwrap();
    stream.write_all(&vec![1; up]).unwrap();
    stream.read_exact(&mut vec![0; down]).unwrap();
    // The other end closes first. Were it this one, what comes after the other's end would find no full socket any more.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// Linux's number for TCP over several paths.
fn mptcp() -> Option<Protocol> {
    std::num::NonZero::new(libc::IPPROTO_MPTCP.cast_unsigned()).map(Protocol::from_raw)
}

/// Whether the kernel has it.
pub fn has_mptcp() -> bool {
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, mptcp())
        .inspect_err(|error| assert_eq!(*error, rustix::io::Errno::PROTONOSUPPORT))
        .is_ok()
}

fn multipath(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::of(address), SocketType::STREAM, mptcp()).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    socket.into()
}

/// As the peer's TCP port, over several paths.
pub fn serve_mptcp(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let socket = rustix::net::socket(AddressFamily::of(address), SocketType::STREAM, mptcp()).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 16).unwrap();
    serve(socket.into());
}

fn udp(address: SocketAddr, count: usize, bytes: usize, connected: bool) {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    if connected {
        socket.connect(address).unwrap();
    }
    for _ in 0..count {
        let sent = if connected { socket.send(&vec![2; bytes]) } else { socket.send_to(&vec![2; bytes], address) };
        sent.unwrap();
        assert_eq!(socket.recv(&mut vec![0; bytes]).expect("the peer's answer"), bytes);
    }
}

/// A connection on which bytes go up in some way of the kernel's, and none down.
fn upload(address: SocketAddr, bytes: usize, send: impl FnOnce(&mut TcpStream, usize)) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[bytes.to_ne_bytes(), 0usize.to_ne_bytes()].concat()).unwrap();
    send(&mut stream, bytes);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

fn splice(socket: &mut TcpStream, bytes: usize) {
    let (out, into) = rustix::pipe::pipe().unwrap();
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(1 << 15);
        let mut written = rustix::io::write(&into, &vec![7; piece]).unwrap();
        while written > 0 {
            let flags = rustix::pipe::SpliceFlags::empty();
            let moved = rustix::pipe::splice(&out, None, &*socket, None, written, flags).unwrap();
            written -= moved;
            left -= moved;
        }
    }
}

fn uring_receive(address: SocketAddr, bytes: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[0usize.to_ne_bytes(), bytes.to_ne_bytes()].concat()).unwrap();
    uring::receive(&mut stream, bytes);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// Closes first and doesn't wait for the other side's end.
fn hangup(address: SocketAddr, count: usize) {
    for _ in 0..count {
        TcpStream::connect(address).unwrap().read_exact(&mut [0]).unwrap();
    }
}

/// Each child runs a child that does the work; both end before the next begins.
fn children(address: SocketAddr, count: usize, bytes: usize) {
    for _ in 0..count {
        let mut command = Command::new("sh");
        command.args(["-c", "\"$0\" --exact application --nocapture --test-threads=1; exit $?"]);
        command.arg(std::env::current_exe().unwrap()).env(APPLICATION, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "tcp {address} {bytes} {bytes}").unwrap();
        assert!(child.wait().unwrap().success());
    }
}

/// Accepts connections one after the other, of which each brings and takes so many bytes.
fn accept(listener: &TcpListener, count: usize, bytes: usize) {
    for _ in 0..count {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut vec![0; bytes]).unwrap();
        stream.write_all(&vec![5; bytes]).unwrap();
        // The other side closes first: nothing is left to the time after the socket.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

/// Takes so many datagrams of that size, after which there is none.
fn take(socket: &UdpSocket, count: usize, bytes: usize) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..count {
        assert_eq!(socket.recv(&mut vec![0; bytes + 1]).expect("a datagram"), bytes);
    }
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
}

/// A proxy: hands each of so many connections on to an address, one after the other.
fn relay(listener: &TcpListener, to: SocketAddr, count: usize) {
    for _ in 0..count {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(to).unwrap();
        let hand_on = |mut from: &TcpStream, mut to: &TcpStream| {
            std::io::copy(&mut from, &mut to).unwrap();
            let _ = to.shutdown(Shutdown::Write);
        };
        thread::scope(|scope| {
            scope.spawn(|| hand_on(&client, &server));
            hand_on(&server, &client);
        });
    }
}

/// A listener for connections to any address, which TPROXY hands it.
#[allow(unsafe_code, reason = "no crate here knows IP_TRANSPARENT")]
fn listen_transparent(address: SocketAddr) -> TcpListener {
    use std::os::fd::AsRawFd as _;
    let socket = rustix::net::socket(AddressFamily::of(address), SocketType::STREAM, None).unwrap();
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::SOL_IP, libc::IP_TRANSPARENT),
        SocketAddr::V6(_) => (libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
    };
    let on = 1i32;
    // SAFETY: the descriptor is open, and the option is a number of that length.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), 4) };
    assert_eq!(done, 0, "IP_TRANSPARENT");
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 16).unwrap();
    TcpListener::from(socket)
}

/// Sends, whether it is let or not.
fn attempt(address: SocketAddr, count: usize, bytes: usize) {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    for _ in 0..count {
        let _ = socket.send_to(&vec![6; bytes], address);
    }
}

/// ICMP echo, by a ping socket or a raw one.
fn echo(address: SocketAddr, count: usize, bytes: usize, kind: SocketType) {
    let (family, protocol, request) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8),
        SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128),
    };
    let socket = rustix::net::socket(family, kind, Some(protocol)).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    for sequence in 0..count {
        let mut packet = vec![0; 8 + bytes];
        packet[0] = request;
        packet[6..8].copy_from_slice(&u16::try_from(sequence).unwrap().to_be_bytes());
        if address.is_ipv4() {
            let sum: u32 =
                packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
            let sum = !((sum & 0xffff) + (sum >> 16));
            packet[2..4].copy_from_slice(&sum.to_be_bytes()[2..]);
        }
        rustix::net::send(&socket, &packet, rustix::net::SendFlags::empty()).unwrap();
        let mut answer = vec![0; 128 + bytes];
        rustix::net::recv(&socket, answer.as_mut_slice(), rustix::net::RecvFlags::empty()).unwrap();
    }
}

/// Sends messages on a connected socket, each of which is answered by as much.
fn connected(address: SocketAddr, count: usize, bytes: usize, kind: SocketType, protocol: Protocol) {
    let socket = rustix::net::socket(AddressFamily::of(address), kind, Some(protocol)).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    for _ in 0..count {
        rustix::net::send(&socket, &vec![8; bytes], rustix::net::SendFlags::empty()).unwrap();
        let mut answer = vec![0; bytes];
        let flags = rustix::net::RecvFlags::empty();
        assert_eq!(rustix::net::recv(&socket, answer.as_mut_slice(), flags).unwrap().1, bytes);
    }
}

/// Sends each message of such sockets back, as [`answer_udp`] does.
pub fn answer_messages(address: &str, kind: SocketType, protocol: Protocol) {
    let address: SocketAddr = address.parse().unwrap();
    let socket = rustix::net::socket(AddressFamily::of(address), kind, Some(protocol)).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    let one_to_one = kind == SocketType::STREAM;
    if one_to_one {
        rustix::net::listen(&socket, 16).unwrap();
    }
    let serve = move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let stream = if one_to_one { rustix::net::accept(&socket).ok() } else { None };
            let from = stream.as_ref().unwrap_or(&socket);
            while let Ok((_, length, sender)) =
                rustix::net::recvfrom(from, buffer.as_mut_slice(), rustix::net::RecvFlags::empty())
                && length > 0
            {
                let (bytes, flags) = (&buffer[..length], rustix::net::SendFlags::empty());
                let _ = match sender {
                    Some(sender) if !one_to_one => rustix::net::sendto(from, bytes, flags, &sender),
                    _ => rustix::net::send(from, bytes, flags),
                };
            }
        }
    };
    thread::Builder::new().name("peer".into()).spawn(serve).unwrap();
}

/// Opens connections from an address of this namespace to one who accepts them.
pub fn call(from: &str, to: &str, count: usize, bytes: usize) {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    for _ in 0..count {
        let socket = rustix::net::socket(AddressFamily::of(to), SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &from).unwrap();
        rustix::net::connect(&socket, &to).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(&vec![9; bytes]).unwrap();
        stream.read_exact(&mut vec![0; bytes]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

/// Gives each connection a byte, and ends it a while after the other side has: that is acknowledged by itself.
pub fn end_late(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    let serve = move || {
        for mut stream in listener.incoming().flatten() {
            let late = move || {
                let _ = stream.write_all(&[1]).and_then(|()| stream.read(&mut [0]));
                thread::sleep(Duration::from_millis(200));
            };
            thread::Builder::new().name("peer".into()).spawn(late).unwrap();
        }
    };
    thread::Builder::new().name("peer".into()).spawn(serve).unwrap();
}

/// The family of an address.
trait Family {
    /// Of a socket for it.
    fn of(address: SocketAddr) -> AddressFamily;
}

impl Family for AddressFamily {
    fn of(address: SocketAddr) -> AddressFamily {
        if address.is_ipv4() { Self::INET } else { Self::INET6 }
    }
}

/// As fast as it goes without an overrun of the queue between the two interfaces.
fn flood(address: SocketAddr, count: usize, bytes: usize) {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    for i in 0..count {
        socket.send_to(&vec![3; bytes], address).unwrap();
        if i % 64 == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Sends each datagram back from the address that it came to. Like all servers here it ends with the test's process.
pub fn answer_udp(address: &str) {
    let socket = UdpSocket::bind(address).unwrap();
    thread::Builder::new()
        .name("peer".into())
        .spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        })
        .unwrap();
}

/// Takes datagrams and says nothing, not even by ICMP.
pub fn swallow_udp(address: &str) {
    let socket = UdpSocket::bind(address).unwrap();
    thread::Builder::new().name("peer".into()).spawn(move || while socket.recv(&mut [0]).is_ok() {}).unwrap();
}

fn serve(listener: TcpListener) {
    thread::Builder::new()
        .name("peer".into())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::Builder::new().name("peer".into()).spawn(move || answer(stream)).unwrap();
            }
        })
        .unwrap();
}

fn answer(mut stream: TcpStream) {
    let mut number = || {
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes).map(|()| usize::from_ne_bytes(bytes))
    };
    let (Ok(up), Ok(down)) = (number(), number()) else { return };
    let (mut left, mut buffer) = (up, vec![0; 1 << 17]);
    while left > 0 {
        let most = left.min(buffer.len());
        match stream.read(&mut buffer[..most]) {
            Ok(read @ 1..) => left -= read,
            _ => return,
        }
    }
    if stream.write_all(&vec![4; down]).and_then(|()| stream.shutdown(Shutdown::Write)).is_ok() {
        let _ = stream.read(&mut [0]);
    }
}
