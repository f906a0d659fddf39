//! The traffic of the whole-system tests: a peer that gives and takes what it is asked for, and its clients.
//!
//! Every mode prints one line once it has done what its name says and then keeps its sockets open until stdin closes,
//! so that a test decides how many looks a connection lives for. It measures nothing: the truth is nft's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken test peer must end loudly")]

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Read, Write, stdin},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType};

const USAGE: &str = "traffic serve ADDR:PORT… | accept ADDR:PORT | sip RATE ADDR:PORT \
                     | leave UP ADDR:PORT | move DOWN UP RATE ADDR:PORT… | udp ADDR:PORT \
                     | datagrams BIND:PORT COUNT ADDR:PORT | hold COUNT ADDR:PORT | proxy LISTEN:PORT ADDR:PORT \
                     | share ADDR:PORT | packet";
const PIECE: usize = 16 * 1024;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", addresses @ ..] => {
            let listeners: Vec<_> = addresses.iter().map(TcpListener::bind).collect::<std::io::Result<_>>()?;
            // Datagrams are swallowed: an ICMP error would close the connected socket that a test wants to see.
            let _datagrams: Vec<_> = addresses.iter().map(UdpSocket::bind).collect::<std::io::Result<_>>()?;
            for listener in listeners {
                spawn(move || listener.incoming().for_each(|stream| spawn(move || serve(&stream.unwrap()))));
            }
            stay("ready")
        }
        ["accept", address] => {
            let listener = TcpListener::bind(address)?;
            rustix::net::listen(&listener, 4096)?; // std's queue of 128 overflows, and a lost SYN costs a second
            spawn(move || drop(listener.incoming().collect::<Vec<_>>()));
            stay("ready")
        }
        // Reads from each connection so slowly that most of what a client has sent waits at the client.
        ["sip", rate, address] => {
            let (listener, rate) = (TcpListener::bind(address)?, rate.parse()?);
            spawn(move || listener.incoming().for_each(|stream| spawn(move || sip(stream.unwrap(), rate))));
            stay("ready")
        }
        // Ends at once when it has written its bytes: the kernel has them then, and the other side has not.
        ["leave", up, address] => {
            let (mut stream, up) = (TcpStream::connect(address)?, up.parse()?);
            rustix::net::sockopt::set_socket_send_buffer_size_force(&stream, 2 * up)?;
            Ok(stream.write_all(&vec![b'x'; up])?)
        }
        ["move", down, up, rate, addresses @ ..] => {
            let (down, up, rate): (u64, u64, u64) = (down.parse()?, up.parse()?, rate.parse()?);
            let streams: Vec<_> = addresses.iter().map(TcpStream::connect).collect::<std::io::Result<_>>()?;
            thread::scope(|scope| {
                for mut stream in &streams {
                    scope.spawn(move || {
                        writeln!(stream, "{down} {up} {rate}").unwrap();
                        exchange(stream, stream, up, down + 1, rate).expect("the peer closed the connection");
                    });
                }
            });
            stay("done")
        }
        ["udp", address] => {
            let socket = UdpSocket::bind(if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" })?;
            socket.connect(address)?;
            socket.send(&[0; 100])?;
            stay("ready")
        }
        // From one socket that is never connected, as QUIC servers and games have them.
        ["datagrams", local, count, address] => {
            let (socket, count) = (UdpSocket::bind(local)?, count.parse::<u32>()?);
            for _ in 0..count {
                socket.send_to(&[0; 1200], address)?;
            }
            stay("ready")
        }
        ["hold", count, address] => {
            let count: usize = count.parse()?;
            let _streams: Vec<_> = (0..count).map(|_| TcpStream::connect(address)).collect::<std::io::Result<_>>()?;
            stay("ready")
        }
        ["share", address] => {
            let address: SocketAddr = address.parse()?;
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            rustix::net::sockopt::set_socket_reuseport(&socket, true)?;
            rustix::net::bind(&socket, &address)?;
            stay("ready")
        }
        ["packet"] => {
            let _socket = rustix::net::socket(AddressFamily::PACKET, SocketType::DGRAM, None)?;
            stay("ready")
        }
        ["proxy", listen, to] => {
            let (listener, to) = (listen_anywhere(listen.parse()?)?, (*to).to_owned());
            spawn(move || {
                for client in listener.incoming().flatten() {
                    let to = to.clone();
                    spawn(move || hand_on(&client, &to));
                }
            });
            stay("ready")
        }
        _ => Err(USAGE.into()),
    }
}

/// A listener that TPROXY may hand connections to any address.
#[allow(unsafe_code, reason = "no crate here knows IP_TRANSPARENT")]
fn listen_anywhere(address: SocketAddr) -> Result<TcpListener> {
    let (family, level, option) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, libc::SOL_IP, libc::IP_TRANSPARENT),
        SocketAddr::V6(_) => (AddressFamily::INET6, libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    let on = 1i32;
    // SAFETY: the descriptor is open, and the option is a number of that length.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), 4) };
    assert_eq!(done, 0, "IP_TRANSPARENT needs root");
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 4096)?;
    Ok(TcpListener::from(socket))
}

/// Both ways, until both have ended.
fn hand_on(client: &TcpStream, to: &str) {
    let server = TcpStream::connect(to).unwrap();
    let one_way = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| one_way(client, &server));
        one_way(&server, client);
    });
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name("traffic".into()).stack_size(128 * 1024).spawn(work).unwrap();
}

fn stay(word: &str) -> Result<()> {
    println!("{word}");
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn sip(mut stream: TcpStream, rate: u64) {
    const SIP: usize = 8 * 1024;
    while stream.read_exact(&mut [0; SIP]).is_ok() {
        thread::sleep(Duration::from_secs_f64(SIP as f64 / rate as f64));
    }
    // Open as long as it can be, so that the client's end stays one that is half closed.
    thread::park();
}

/// One connection's other end. A client that goes away in the middle is a test's business, not a failure.
fn serve(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let numbers: Vec<u64> = request.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [down, up, rate] = numbers[..] else { return };
    if exchange(reader.by_ref(), stream, down, up, rate).is_ok() {
        // One byte more says that all has arrived; then open until the client closes.
        drop({ stream }.write_all(b"."));
        drop(reader.read(&mut [0; 1]));
    }
}

/// Sends and receives at the same time; `rate` in bytes per second paces what is sent, 0 sends without a pause.
fn exchange(mut from: impl Read, mut to: &TcpStream, send: u64, receive: u64, rate: u64) -> std::io::Result<()> {
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let (start, piece, mut sent) = (Instant::now(), [b'x'; PIECE], 0);
            while sent < send {
                let next = (PIECE as u64).min(send - sent);
                to.write_all(&piece[..usize::try_from(next).unwrap_or(PIECE)])?;
                sent += next;
                let due = Duration::from_secs_f64(if rate == 0 { 0.0 } else { sent as f64 / rate as f64 });
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
            std::io::Result::Ok(())
        });
        let received = std::io::copy(&mut from.by_ref().take(receive), &mut std::io::sink())?;
        sender.join().unwrap()?;
        if received == receive { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    })
}
