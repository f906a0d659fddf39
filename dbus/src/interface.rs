//! Behind which network interface an address is, as the kernel would send to it now. One request for an address, whatever the size of the
//! routing table.

use std::net::IpAddr;

use netlink_packet_core::{NlaBuffer, NlasIterator};

use crate::netlink::{Error, Socket};

/// Of linux/rtnetlink.h.
const RTM_GETROUTE: u16 = 26;
/// rustix writes protocol 0 as `None`.
const NETLINK_ROUTE: Option<rustix::net::Protocol> = None;
/// `struct rtmsg`.
const ROUTE_HEADER_BYTES: usize = 12;
const INET: u8 = 2;
const INET6: u8 = 10;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;
const TYPE_AT: usize = 7;
/// `RTA_*`.
const DST: u16 = 1;
const OIF: u16 = 4;
const GATEWAY: u16 = 5;
const VIA: u16 = 18;

/// Asks the kernel.
#[derive(Debug)]
pub struct Interfaces {
    socket: Socket,
}

impl Interfaces {
    /// One that has asked nothing yet.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(NETLINK_ROUTE, 0)? })
    }

    /// The name of the interface behind which an address is. `None`: it is an address of this host, behind a router, or nowhere.
    pub fn towards(&mut self, address: IpAddr) -> Result<Option<String>, Error> {
        let index = match self.socket.get(RTM_GETROUTE, &request(address), |_, payload| onlink(payload)) {
            Ok(index) => index,
            // No route leads there.
            Err(Error::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        // An interface that has gone meanwhile has no name.
        Ok(index.and_then(|index| rustix::net::netdevice::index_to_name(&self.socket, index).ok()))
    }
}

fn request(address: IpAddr) -> Vec<u8> {
    let (family, bits, bytes) = match address {
        IpAddr::V4(v4) => (INET, 32, v4.octets().to_vec()),
        IpAddr::V6(v6) => (INET6, 128, v6.octets().to_vec()),
    };
    let mut request = vec![family, bits];
    request.resize(ROUTE_HEADER_BYTES, 0);
    request.extend(u16::try_from(4 + bytes.len()).unwrap_or(u16::MAX).to_ne_bytes());
    request.extend(DST.to_ne_bytes());
    request.extend(bytes);
    request
}

/// The interface's index in the kernel's answer, if no router is between.
fn onlink(payload: &[u8]) -> Result<Option<u32>, Error> {
    let malformed = || Error::malformed("route", payload);
    let (header, attributes) = payload.split_at_checked(ROUTE_HEADER_BYTES).ok_or_else(malformed)?;
    let mut index = None;
    for attribute in NlasIterator::new(attributes) {
        let attribute: NlaBuffer<&[u8]> = attribute.map_err(|_| malformed())?;
        match attribute.kind() {
            OIF => index = attribute.value().first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)),
            GATEWAY | VIA => return Ok(None),
            _ => {}
        }
    }
    Ok(index.filter(|_| header.get(TYPE_AT) == Some(&UNICAST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![INET, 32, 0, 0, 0, 0, 0, kind, 0, 0, 0, 0];
        for (kind, value) in attributes {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
        }
        bytes
    }

    #[test]
    fn an_address_behind_a_router_is_behind_no_interface() {
        let oif: (u16, &[u8]) = (OIF, &[7, 0, 0, 0]);
        for (bytes, expected) in [
            (answer(UNICAST, &[oif]), Some(7)),
            (answer(UNICAST, &[oif, (GATEWAY, &[10, 0, 0, 1])]), None),
            (answer(UNICAST, &[(VIA, &[10, 0, 0, 0, 0, 0, 0, 0]), oif]), None),
            (answer(2, &[oif]), None),
            (answer(UNICAST, &[]), None),
        ] {
            assert_eq!(onlink(&bytes).unwrap(), expected, "{bytes:?}");
        }
        let whole = answer(UNICAST, &[oif]);
        for cut in 0..whole.len() {
            assert!(onlink(&whole[..cut]).is_err() || cut == ROUTE_HEADER_BYTES, "{cut}");
        }
    }

    #[test]
    fn the_running_kernel_says_it_of_its_own_and_of_none() {
        let mut interfaces = Interfaces::open().unwrap();
        for address in ["127.0.0.1", "::1", "0.0.0.0"] {
            assert_eq!(interfaces.towards(address.parse().unwrap()).unwrap(), None, "{address}");
        }
    }
}
