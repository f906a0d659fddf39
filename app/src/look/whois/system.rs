//! What the C library says: the names of ports from the system's services file, and of addresses from the system's resolver
//! (reverse DNS). Each question may block.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use dns_lookup::{LookupErrorKind, getnameinfo};

use super::{
    host_name::host_name,
    learner::{Answer, Bounds},
};
use crate::look::remotes::MOST_ROWS;

const HOUR: Duration = Duration::from_secs(3600);

/// A service's name is not longer than so many bytes; RFC 6335 (section 5.1) allows 15, but files have older ones.
const SERVICE_MOST: usize = 32;

/// As many answers are kept as there are rows: with fewer, those that are all looked at would be asked about again and again.
const KEPT: NonZeroUsize = NonZeroUsize::new(MOST_ROWS).unwrap();

/// A port and an IP protocol.
pub type Port = (u16, u8);

/// A file is read quickly, unless the administrator has put a directory server in its place.
pub const SERVICES: Bounds = Bounds { name: "services", threads: 1, waiting: 4096, kept: KEPT, apart: Duration::ZERO };

/// Ten addresses a second, four of them at a time: a resolver may wait long for a server that doesn't answer.
pub const REVERSE: Bounds =
    Bounds { name: "reverse-dns", threads: 4, waiting: 1024, kept: KEPT, apart: Duration::from_millis(100) };

/// What the services file calls a port of TCP or UDP. The C library knows no other protocols here.
pub fn service((port, protocol): &Port) -> Answer<String> {
    let protocol = match i32::from(*protocol) {
        libc::IPPROTO_TCP => 0,
        libc::IPPROTO_UDP => libc::NI_DGRAM,
        _ => return Answer { answer: None, lasts: HOUR },
    };
    // NI_NUMERICHOST: no resolver is asked about the address, which is nobody's anyway.
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
    let name = getnameinfo(&nobody, libc::NI_NUMERICHOST | protocol).ok().map(|(_, service)| service);
    // A port without a name is said in figures.
    let is_name = |name: &String| {
        name.len() <= SERVICE_MOST
            && name.bytes().any(|c| c.is_ascii_alphabetic())
            && name.bytes().all(|c| c.is_ascii_graphic())
    };
    Answer { answer: name.filter(is_name), lasts: HOUR }
}

/// Whether the resolver may be asked about an address. The others have no name that would tell anything, or are many at once.
pub fn has_name(address: IpAddr) -> bool {
    let is_odd = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_odd || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

/// How the owner of an address calls it.
pub fn reverse(address: &IpAddr) -> Answer<String> {
    match getnameinfo(&SocketAddr::from((*address, 0)), libc::NI_NAMEREQD | libc::NI_NUMERICSERV) {
        Ok((name, _)) => Answer { answer: host_name(&name).map(str::to_owned), lasts: HOUR },
        Err(error) => {
            let is_certain = matches!(error.kind(), LookupErrorKind::NoName | LookupErrorKind::NoData);
            Answer { answer: None, lasts: if is_certain { HOUR } else { Duration::from_secs(60) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_called_what_the_services_file_calls_them() {
        let name = |port, protocol| service(&(port, protocol)).answer;
        assert_eq!((name(443, 6).as_deref(), name(53, 17).as_deref()), (Some("https"), Some("domain")));
        assert_eq!((name(50123, 6), name(443, 132), name(0, 1), name(0, 6)), (None, None, None, None));
    }

    #[test]
    fn nobody_is_asked_about_addresses_that_are_not_a_hosts() {
        for address in [
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "224.0.0.251",
            "ff02::fb",
            "0.0.0.0",
            "::",
            "255.255.255.255",
        ] {
            assert!(!has_name(address.parse().unwrap()), "{address}");
        }
        for address in ["93.184.216.34", "192.168.1.1", "fd00::1", "2606:2800:220:1::34"] {
            assert!(has_name(address.parse().unwrap()), "{address}");
        }
    }
}
