//! What went over the host's end of the wire, by a packet socket: a second opinion that has nothing to do with nf_tables.
//!
//! It reads IP headers and judges nothing.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, sockopt},
};

/// `ETH_P_ALL` of linux/if_ether.h in network byte order, as packet(7) wants it.
const EVERYTHING: u32 = (3u16.to_be()) as u32;
/// What comes between two readings fits, a truesize of some 2 KiB a packet.
const BUFFER_BYTES: usize = 32 << 20;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Bytes of IP packets with an address at their other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// With this address as their source.
    pub from: u64,
    /// With this address as their destination.
    pub to: u64,
}

/// Listens on every interface of one namespace.
#[derive(Debug)]
pub struct Wire {
    fd: OwnedFd,
    passed: HashMap<IpAddr, Passed>,
}

impl Wire {
    /// Begins to listen in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let protocol = NonZeroU32::new(EVERYTHING).map(Protocol::from_raw);
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, protocol)?;
        sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER_BYTES)?;
        Ok(Self { fd, passed: HashMap::new() })
    }

    /// What TCP and UDP packets to and from `address` amounted to until now.
    pub fn passed(&mut self, address: IpAddr) -> io::Result<Passed> {
        let mut buffer = [0; 64];
        loop {
            match rustix::net::recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((bytes, _)) => {
                    let Some(packet) = buffer.get(..bytes).and_then(packet) else { continue };
                    self.passed.entry(packet.source).or_default().from += packet.length;
                    self.passed.entry(packet.destination).or_default().to += packet.length;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(self.passed.get(&address).copied().unwrap_or_default()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    length: u64,
}

/// From the header of IPv4 (RFC 791) or IPv6 (RFC 8200); `None` for all but TCP and UDP.
fn packet(header: &[u8]) -> Option<Packet> {
    let number = |at| Some(u64::from(u16::from_be_bytes(*header.get(at..)?.first_chunk()?)));
    let v4 = |at| Some(IpAddr::from(Ipv4Addr::from(*header.get(at..)?.first_chunk::<4>()?)));
    let v6 = |at| Some(IpAddr::from(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?)));
    let (protocol, source, destination, length) = match header.first()? >> 4 {
        4 => (*header.get(9)?, v4(12)?, v4(16)?, number(2)?),
        6 => (*header.get(6)?, v6(8)?, v6(24)?, number(4)? + 40),
        _ => return None,
    };
    [TCP, UDP].contains(&protocol).then_some(Packet { source, destination, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_what_is_none_is_left_out() {
        let mut v4 = [0; 20];
        v4[0] = 0x45;
        v4[2..4].copy_from_slice(&1028u16.to_be_bytes());
        v4[9] = UDP;
        v4[12..16].copy_from_slice(&[10, 0, 0, 1]);
        v4[16..20].copy_from_slice(&[93, 184, 216, 34]);
        let expected = |length, source: &str, destination: &str| {
            Some(Packet { source: source.parse().unwrap(), destination: destination.parse().unwrap(), length })
        };
        assert_eq!(packet(&v4), expected(1028, "10.0.0.1", "93.184.216.34"));
        let mut v6 = [0; 40];
        v6[0] = 0x60;
        v6[4..6].copy_from_slice(&8u16.to_be_bytes());
        v6[6] = TCP;
        v6[23] = 1;
        v6[39] = 2;
        assert_eq!(packet(&v6), expected(48, "::1", "::2"));
        for cut in 0..v4.len() {
            assert_eq!(packet(&v4[..cut]), None);
        }
        for cut in 0..v6.len() {
            assert_eq!(packet(&v6[..cut]), None);
        }
        v4[9] = 1;
        assert_eq!(packet(&v4), None, "ICMP");
        assert_eq!(packet(&[0, 1, 8, 0, 6, 4]), None, "ARP");
    }
}
