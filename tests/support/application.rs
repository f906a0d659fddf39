//! What an application of the laboratory can be told to do: each way in which a program moves bytes.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, Protocol, SocketType, ipproto};

use super::{APPLICATION, PATIENCE, raw, uring};
/// The application's side of [`Application`]; returns at once in a process that is none.
///
/// `tcp ADDR UP DOWN`, `udp ADDR COUNT BYTES` (each is answered by as much), `unconnected ADDR COUNT BYTES`,
/// `flood ADDR COUNT BYTES` (not answered), `spread ADDR COUNT BYTES` (the same, each to another port from that one on). The others are in the match below; what takes one number ignores the second.
pub fn run() {
    if std::env::var_os(APPLICATION).is_none() {
        return;
    }
    let mut listener = None;
    let mut shared = None;
    let mut held = Vec::new();
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
            "hold" => held.push(TcpStream::connect::<SocketAddr>(address).unwrap()),
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
            "spread" => spread(address, first, second),
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
pub fn mptcp() -> Option<Protocol> {
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

/// The family of an address.
pub trait Family {
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

/// A datagram to each of so many ports.
fn spread(address: SocketAddr, count: usize, bytes: usize) {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    for i in 0..count {
        let port = address.port() + u16::try_from(i).unwrap();
        socket.send_to(&vec![4; bytes], SocketAddr::new(address.ip(), port)).unwrap();
        if i % 64 == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
}
