//! The laboratory's other side: servers that answer, swallow and call. Like all here they end with the test's process.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, Protocol, SocketType};

use super::application::{Family as _, mptcp};
/// As the peer's TCP port, over several paths.
pub fn serve_mptcp(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let socket = rustix::net::socket(AddressFamily::of(address), SocketType::STREAM, mptcp()).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 16).unwrap();
    serve(socket.into());
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

pub fn serve(listener: TcpListener) {
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
