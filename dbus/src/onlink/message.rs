//! Reads the kernel's messages about one route or one link. Pure, and without allocations, because a full routing table has
//! hundreds of thousands of routes.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    net::IpAddr,
};

use ipnet::IpNet;
use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_packet_route::{
    AddressFamily,
    link::{LinkFlags, LinkHeader},
};

use crate::netlink::Error;

/// `struct rtmsg` of linux/rtnetlink.h.
const ROUTE_HEADER_BYTES: usize = 12;
/// `AF_INET` and `AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 10;
/// `RTM_F_CLONED`: not a route, but what the kernel has learned about one of its destinations.
const CLONED: u32 = 0x200;
/// `RTN_*`.
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const BROADCAST: u8 = 3;
const ANYCAST: u8 = 4;
/// `RTA_*`.
const DST: u16 = 1;
const SRC: u16 = 2;
const OIF: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const MULTIPATH: u16 = 9;
const TABLE: u16 = 15;
const VIA: u16 = 18;
const ENCAP: u16 = 22;
const NH_ID: u16 = 30;
/// `NHA_ID` of linux/nexthop.h, behind a `struct nhmsg`.
const NHA_ID: u16 = 1;
const NEXTHOP_HEADER_BYTES: usize = 8;

/// The place of a destination's route in the kernel's tables. The kernel has one route there, unless others were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    table: u32,
    tos: u8,
    priority: u32,
}

/// A route that makes its destination internal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) place: Place,
    /// The interface; 0 where none is named.
    pub(super) link: u32,
    /// The nexthop object that it goes through; 0: none.
    pub(super) nexthop: u32,
    /// Whether it leads to an address of this host or a broadcast address.
    pub(super) own: bool,
    /// Distinguishes it from every other route to the same destination.
    identity: u64,
}

impl Route {
    pub(super) fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

/// What a message says about a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The destination; host bits are zero.
    pub(super) net: IpNet,
    pub(super) place: Place,
    /// `None`: it leads to a router, or nowhere. Otherwise it makes its destination internal, unless its link has no neighbours:
    /// see [`Said::internal`].
    pub(super) direct: Option<Route>,
}

impl Said {
    /// The route, if it makes its destination internal.
    pub(super) fn internal(&self, has_neighbours: impl Fn(u32) -> bool) -> Option<Route> {
        self.direct.filter(|route| route.own || has_neighbours(route.link))
    }
}

/// Reads `RTM_NEWROUTE` and `RTM_DELROUTE`. `None`: not an IPv4 or IPv6 route with a destination.
pub(super) fn route(payload: &[u8]) -> Result<Option<Said>, Error> {
    let malformed = |what| move || Error::malformed(what, payload);
    let header: &[u8; ROUTE_HEADER_BYTES] = payload.first_chunk().ok_or_else(malformed("route header"))?;
    let [family, length, _, tos, table, _, _, kind, flags @ ..] = *header;
    if (family != INET && family != INET6) || u32::from_ne_bytes(flags) & CLONED != 0 {
        return Ok(None);
    }
    let attributes = payload.get(ROUTE_HEADER_BYTES..).unwrap_or_default();
    let mut place = Place { table: table.into(), tos, priority: 0 };
    let (mut destination, mut link, mut nexthop, mut routed) = (None, None, 0, false);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| malformed("route attribute")())?;
        let number = || number(&attribute).ok_or_else(malformed("number of a route"));
        match attribute.kind() {
            DST => destination = Some(address(family, attribute.value()).ok_or_else(malformed("destination"))?),
            OIF => link = Some(number()?),
            TABLE => place.table = number()?,
            PRIORITY => place.priority = number()?,
            NH_ID => nexthop = number()?,
            GATEWAY | VIA | MULTIPATH | ENCAP => routed = true,
            _ => {}
        }
    }
    let Some(destination) = destination else { return Ok(None) };
    let net = IpNet::new(destination, length).map_err(|_| malformed("prefix length")())?.trunc();
    let own = matches!(kind, LOCAL | BROADCAST | ANYCAST);
    let direct = (own || (kind == UNICAST && length > 0 && !routed && link.is_some())).then(|| {
        let identity = identity(header, attributes);
        Route { place, link: link.unwrap_or_default(), nexthop, own, identity }
    });
    Ok(Some(Said { net, place, direct }))
}

/// A route that decides where a policy rule leads: a default route, or one that delivers to this host outside the kernel's own
/// table of local addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRoute {
    /// The routing table that it is in.
    pub table: u32,
    /// Its destination.
    pub net: IpNet,
    /// Of two routes to the same destination, the one with the lower number is used.
    pub priority: u32,
    /// Whether packets that take it are delivered to this host.
    pub local: bool,
}

/// Reads `RTM_NEWROUTE` and `RTM_DELROUTE`. `None`: not such a route. All but a few routes are skipped by their header.
pub(super) fn policy_route(payload: &[u8]) -> Result<Option<PolicyRoute>, Error> {
    /// `RT_TABLE_LOCAL`.
    const LOCAL_TABLE: u32 = 255;
    /// As if the table had no such route.
    const THROW: u8 = 9;
    let malformed = |what| move || Error::malformed(what, payload);
    let header: &[u8; ROUTE_HEADER_BYTES] = payload.first_chunk().ok_or_else(malformed("route header"))?;
    let [family, length, _, _, table, _, _, kind, flags @ ..] = *header;
    let deciding = (kind == LOCAL && u32::from(table) != LOCAL_TABLE) || (length == 0 && kind != THROW);
    if !deciding || (family != INET && family != INET6) || u32::from_ne_bytes(flags) & CLONED != 0 {
        return Ok(None);
    }
    let mut destination = if family == INET { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let (mut table, mut priority) = (u32::from(table), 0);
    for attribute in NlasIterator::new(payload.get(ROUTE_HEADER_BYTES..).unwrap_or_default()) {
        let attribute = attribute.map_err(|_| malformed("route attribute")())?;
        let number = || number(&attribute).ok_or_else(malformed("number of a route"));
        match attribute.kind() {
            DST => destination = address(family, attribute.value()).ok_or_else(malformed("destination"))?,
            TABLE => table = number()?,
            PRIORITY => priority = number()?,
            _ => {}
        }
    }
    let net = IpNet::new(destination, length).map_err(|_| malformed("prefix length")())?.trunc();
    Ok(Some(PolicyRoute { table, net, priority, local: kind == LOCAL }).filter(|route| route.table != LOCAL_TABLE))
}

/// A number that is the same in every message about a route. The kernel distinguishes IPv4 routes by everything they have, but
/// IPv6 routes by little; the rest may change without a message (fib6_remove_prefsrc in net/ipv6/route.c).
fn identity(header: &[u8; ROUTE_HEADER_BYTES], attributes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let [family, length, source_length, tos, table, protocol, scope, kind, ..] = *header;
    (family, length, source_length, tos, table).hash(&mut hasher);
    if family == INET {
        (protocol, scope, kind).hash(&mut hasher);
    }
    for attribute in NlasIterator::new(attributes).flatten() {
        if family == INET || matches!(attribute.kind(), DST | SRC | OIF | PRIORITY | TABLE) {
            (attribute.kind(), attribute.value()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// The properties of an interface that matter to routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Whether its routes are in force.
    pub(super) up: bool,
    /// Whether what goes through it without a gateway goes to a neighbour, and not to a router at the other end.
    pub(super) has_neighbours: bool,
}

/// Reads `RTM_NEWLINK` and `RTM_DELLINK`: the index and what it is. `None`: it is about a bridge's port, not an interface.
pub(super) fn link(payload: &[u8]) -> Result<Option<(u32, Link)>, Error> {
    let link = LinkHeader::parse(payload).map_err(|_| Error::malformed("link header", payload))?;
    if link.interface_family != AddressFamily::Unspec {
        return Ok(None);
    }
    let up = link.flags.contains(LinkFlags::Up);
    let has_neighbours = !link.flags.intersects(LinkFlags::Pointopoint | LinkFlags::Noarp);
    Ok(Some((link.index, Link { up, has_neighbours })))
}

/// Reads `RTM_DELADDR`: whether the address was one of IPv4.
pub(super) fn is_ipv4_address(payload: &[u8]) -> Result<bool, Error> {
    payload.first().map(|family| *family == INET).ok_or_else(|| Error::malformed("address header", payload))
}

/// Reads `RTM_DELNEXTHOP`: the object's id.
pub(super) fn nexthop(payload: &[u8]) -> Result<u32, Error> {
    let attributes = NlasIterator::new(payload.get(NEXTHOP_HEADER_BYTES..).unwrap_or_default());
    let id = attributes.flatten().find(|attribute| attribute.kind() == NHA_ID).and_then(|id| number(&id));
    id.ok_or_else(|| Error::malformed("nexthop", payload))
}

fn number(attribute: &NlaBuffer<&[u8]>) -> Option<u32> {
    attribute.value().try_into().ok().map(u32::from_ne_bytes)
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    if family == INET {
        <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from)
    } else {
        <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use netlink_packet_core::Emitable as _;
    use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType};

    use super::*;

    /// A route as `ip route` writes it: type, prefix, the rest. As bytes, which is how the kernel has it.
    pub(crate) fn bytes(kind: RouteType, net: &str, attributes: Vec<RouteAttribute>) -> Vec<u8> {
        let net: IpNet = net.parse().unwrap();
        let mut route = RouteMessage::default();
        route.header.address_family = if net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        route.header.kind = kind;
        route.header.destination_prefix_length = net.prefix_len();
        route.attributes = attributes;
        route.attributes.push(RouteAttribute::Destination(match net.addr() {
            IpAddr::V4(a) => RouteAddress::Inet(a),
            IpAddr::V6(a) => RouteAddress::Inet6(a),
        }));
        let mut bytes = vec![0; route.buffer_len()];
        route.emit(&mut bytes);
        bytes
    }

    pub(crate) fn gateway() -> RouteAttribute {
        RouteAttribute::Gateway(RouteAddress::Inet([192, 168, 2, 1].into()))
    }

    #[test]
    fn what_is_on_link_and_what_is_not() {
        use RouteAttribute::Oif;
        use RouteType::{Anycast, BlackHole, Broadcast, Local, Multicast, Unicast};
        let internal = |kind, net: &str, attributes| {
            let said = route(&bytes(kind, net, attributes)).unwrap().unwrap();
            said.internal(|link| link != 9).map(|_| said.net.to_string())
        };
        for (kind, net, link) in [
            (Unicast, "192.168.2.0/24", 2),
            (Unicast, "2001:4860:1::/64", 2),
            (Unicast, "172.31.1.1/32", 2),
            (Local, "93.184.216.34/32", 1),
            (Local, "93.184.216.34/32", 9),
            (Broadcast, "192.168.2.255/32", 2),
            (Anycast, "2001:4860:1::/128", 2),
        ] {
            assert_eq!(internal(kind, net, vec![Oif(link)]).as_deref(), Some(net));
        }
        for (kind, net, attributes) in [
            (Unicast, "0.0.0.0/0", vec![Oif(2)]),
            (Unicast, "::/0", vec![Oif(2)]),
            (Unicast, "8.0.0.0/8", vec![Oif(2), gateway()]),
            (Unicast, "8.0.0.0/8", vec![RouteAttribute::MultiPath(Vec::new())]),
            (Unicast, "0.0.0.0/1", vec![Oif(9)]),
            (Unicast, "100.100.1.1/32", vec![Oif(9)]),
            (Unicast, "8.0.0.0/8", vec![]),
            (BlackHole, "8.0.0.0/8", vec![Oif(2)]),
            (Multicast, "ff00::/8", vec![Oif(2)]),
        ] {
            assert_eq!(internal(kind, net, attributes), None, "{net}");
        }
    }

    #[test]
    fn what_decides_where_a_policy_rule_leads() {
        use RouteAttribute::Table;
        let read = |kind, net: &str, table: u32| {
            let mut message = bytes(kind, net, vec![Table(table), RouteAttribute::Priority(7)]);
            message[4] = u8::try_from(table).unwrap_or(252);
            policy_route(&message).unwrap().map(|route| (route.table, route.net.to_string(), route.local))
        };
        for (kind, net, table, local) in [
            (RouteType::Local, "0.0.0.0/0", 100, true),
            (RouteType::Local, "::/0", 1000, true),
            (RouteType::Local, "198.51.100.0/24", 100, true),
            (RouteType::Unicast, "0.0.0.0/0", 254, false),
            (RouteType::Unreachable, "::/0", 100, false),
        ] {
            assert_eq!(read(kind, net, table), Some((table, net.to_owned(), local)));
        }
        for (kind, net, table) in [
            (RouteType::Local, "93.184.216.34/32", 255),
            (RouteType::Unicast, "192.168.2.0/24", 254),
            (RouteType::Throw, "0.0.0.0/0", 100),
        ] {
            assert_eq!(read(kind, net, table), None, "{net}");
        }
    }

    #[test]
    fn what_the_kernel_has_learned_about_a_destination_is_no_route() {
        let mut message = bytes(RouteType::Unicast, "8.8.8.8/32", vec![RouteAttribute::Oif(2)]);
        assert!(route(&message).unwrap().is_some());
        message[8..12].copy_from_slice(&RouteFlags::Cloned.bits().to_ne_bytes());
        assert_eq!(route(&message).unwrap(), None);
    }

    #[test]
    fn a_message_cut_anywhere_is_an_error_with_its_bytes_or_a_shorter_message() {
        let attributes = vec![RouteAttribute::Oif(2), RouteAttribute::Priority(7), gateway()];
        let whole = bytes(RouteType::Unicast, "192.168.2.0/24", attributes);
        let mut boundaries = 0;
        for cut in 0..whole.len() {
            match route(&whole[..cut]) {
                Ok(said) => {
                    // The destination stands last here.
                    assert_eq!(said, None, "cut at {cut}");
                    boundaries += 1;
                }
                Err(Error::Malformed { bytes, .. }) => assert_eq!(bytes, whole[..cut], "cut at {cut}"),
                Err(error) => panic!("cut at {cut}: {error}"),
            }
        }
        assert_eq!(boundaries, 4, "behind the header and behind each attribute but the last");
        assert!(route(&whole).unwrap().is_some());
    }

    #[test]
    fn no_byte_can_make_it_panic() {
        for net in ["192.168.2.0/24", "2001:4860:1::/64"] {
            let whole = bytes(RouteType::Local, net, vec![RouteAttribute::Oif(2), RouteAttribute::Priority(7)]);
            for i in 0..whole.len() {
                for value in 0..=255 {
                    let mut mutated = whole.clone();
                    mutated[i] = value;
                    for end in [whole.len() - 3, whole.len()] {
                        let _ = route(&mutated[..end]);
                        let _ = policy_route(&mutated[..end]);
                        let _ = link(&mutated[..end]);
                        let _ = nexthop(&mutated[..end]);
                    }
                }
            }
        }
        for (kind, attribute) in [("an IPv6 destination in a route of IPv4", DST), ("a short number", OIF)] {
            let mut message = bytes(RouteType::Unicast, "192.168.2.0/24", Vec::new());
            message.extend([6, 0, u8::try_from(attribute).unwrap(), 0, 1, 2, 0, 0]);
            assert!(matches!(route(&message), Err(Error::Malformed { .. })), "{kind}");
        }
        let mut message = bytes(RouteType::Unicast, "192.168.2.0/24", Vec::new());
        message[1] = 33;
        assert!(matches!(route(&message), Err(Error::Malformed { .. })));
        assert!(is_ipv4_address(&[]).is_err());
        assert!(link(&[0; 15]).is_err());
        assert!(nexthop(&[0; 8]).is_err());
    }
}
