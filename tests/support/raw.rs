//! What programs do with sockets beside the ordinary: packet sockets, programs that choose a socket, programs that refuse.
#![allow(unsafe_code, reason = "the kernel is handed addresses, which are good until each call returns")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "tests: see above")]

use std::{
    fs::File,
    io::Error,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use rustix::net::{AddressFamily, SocketType};

const IPV4: u16 = 0x0800;
/// Where a packet socket's datagrams say that they come from; no UDP socket has this port.
const PORT: u16 = 4242;

/// Fails with the kernel's reason.
#[track_caller]
fn done(result: i64) -> i64 {
    assert!(result >= 0, "{}", Error::last_os_error());
    result
}

fn size_of<T>() -> libc::socklen_t {
    std::mem::size_of::<T>().try_into().unwrap()
}

/// A UDP socket that shares its port. `selects`: it brings a program that gives every datagram to the first socket.
pub fn share(address: SocketAddr, selects: bool) -> UdpSocket {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    rustix::net::sockopt::set_socket_reuseport(&socket, true).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 4 << 20).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    if selects {
        let mut program = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }]; // ret #0
        let program = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
        let (fd, option) = (socket.as_raw_fd(), libc::SO_ATTACH_REUSEPORT_CBPF);
        let size = size_of::<libc::sock_fprog>();
        done(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const program).cast(), size) }.into());
    }
    socket.into()
}

/// A packet socket for IPv4. It hears everything that the host receives on any interface.
pub fn packet_socket() -> OwnedFd {
    let fd = done(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM, IPV4.to_be().into()) }.into());
    unsafe { OwnedFd::from_raw_fd(fd.try_into().unwrap()) }
}

/// Datagrams through a packet socket, each of which is answered by as much.
pub fn packets(to: SocketAddr, count: usize, bytes: usize) {
    let SocketAddr::V4(to) = to else { panic!("IPv4 only") };
    let socket = packet_socket();
    let mut link: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    (link.sll_family, link.sll_protocol) = (libc::AF_PACKET.try_into().unwrap(), IPV4.to_be());
    link.sll_ifindex = unsafe { libc::if_nametoindex(c"up0".as_ptr()) }.try_into().unwrap();
    // To everybody there: the other side takes what is for its address.
    (link.sll_halen, link.sll_addr) = (6, [0xff; 8]);
    let packet = datagram(Ipv4Addr::new(192, 168, 77, 2), *to.ip(), to.port(), bytes);
    for _ in 0..count {
        let (at, size) = ((&raw const link).cast(), size_of::<libc::sockaddr_ll>());
        let sent = unsafe { libc::sendto(socket.as_raw_fd(), packet.as_ptr().cast(), packet.len(), 0, at, size) };
        done(sent.try_into().unwrap());
        let mut answer = vec![0; 1 << 16];
        let is_answer = |packet: &[u8]| packet[9] == 17 && packet[12..16] == to.ip().octets();
        loop {
            let flags = rustix::net::RecvFlags::empty();
            let length = rustix::net::recv(&socket, answer.as_mut_slice(), flags).unwrap().1;
            if is_answer(&answer[..length]) {
                assert_eq!(length, packet.len());
                break;
            }
        }
    }
}

/// IPv4 and UDP headers (the latter without a checksum) and so many bytes.
fn datagram(from: Ipv4Addr, to: Ipv4Addr, port: u16, bytes: usize) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let mut ip = [&[0x45, 0][..], &length(28 + bytes), &[0, 0, 0x40, 0, 64, 17, 0, 0]].concat();
    ip.extend([from.octets(), to.octets()].concat());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16));
    ip[10..12].copy_from_slice(&sum.to_be_bytes()[2..]);
    let udp = [PORT.to_be_bytes(), port.to_be_bytes(), length(8 + bytes), [0, 0]].concat();
    [ip, udp, vec![8; bytes]].concat()
}

/// Which of a cgroup's packets a program refuses.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// `BPF_CGROUP_INET_INGRESS`
    Received = 0,
    /// `BPF_CGROUP_INET_EGRESS`
    Sent = 1,
}

/// Has the kernel refuse a cgroup's packets, as systemd's `IPAddressDeny=any` does: by a program of `return 0`. It goes with
/// the cgroup.
pub fn refuse(cgroup: &Path, refused: Refused) {
    const LOAD: i64 = 5;
    const ATTACH: i64 = 8;
    const CGROUP_SKB: u32 = 8;
    let at = |pointer: *const u8| pointer.expose_provenance() as u64;
    let bpf = |command: i64, attributes: &[u64; 16]| {
        done(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), std::mem::size_of_val(attributes)) })
    };
    let pair =
        |low: u32, high: u32| u64::from_ne_bytes([low.to_ne_bytes(), high.to_ne_bytes()].concat().try_into().unwrap());
    // r0 = 0; exit
    let program: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let kind = refused as u32;
    let mut load = [0; 16];
    load[..3].copy_from_slice(&[pair(CGROUP_SKB, 2), at(program.as_ptr().cast()), at(c"GPL".as_ptr().cast())]);
    load[8] = pair(0, kind);
    let loaded = bpf(LOAD, &load);
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded.try_into().unwrap()) };
    let cgroup = File::open(cgroup).unwrap();
    let fd = |fd: i32| u32::try_from(fd).unwrap();
    let mut attach = [0; 16];
    attach[..2].copy_from_slice(&[pair(fd(cgroup.as_raw_fd()), fd(loaded.as_raw_fd())), pair(kind, 0)]);
    bpf(ATTACH, &attach);
}
