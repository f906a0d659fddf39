//! The host's own addresses and on-link prefixes, from the routing table, and when they change. It judges nothing:
//! `scope.rs` does.
//!
//! On-link = reachable without a router. A unicast route without a gateway names such a prefix, with three exceptions:
//! - a default route is not a prefix;
//! - a route through a point-to-point or ARP-less interface (WireGuard, OpenVPN, PPP, IPIP …) leads to a router at the
//!   other end, whatever its length: a VPN that takes 0.0.0.0/1 does not make half the world internal. What is behind
//!   it is judged by its address alone, so a tailnet or a private VPN network stays internal;
//! - a multipath route has routers.
//!
//! A /32 or /128 route on an ordinary link (a cloud host's gateway) is a neighbour, hence internal.

use std::{
    collections::HashSet,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use ipnet::IpNet;
use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::{
    AddressFamily,
    link::{LinkFlags, LinkHeader, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};

use crate::netlink::{Error, Heard, Socket};

/// rustix writes protocol 0 as `None`.
const NETLINK_ROUTE: Option<rustix::net::Protocol> = None;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_ROUTE` of linux/rtnetlink.h, as bits.
const GROUPS: u32 = 1 | 1 << 6 | 1 << 10;

/// Follows the routing table. No polling: the kernel's notifications say when to read it again.
#[derive(Debug)]
pub struct Onlink {
    requests: Socket,
    changes: Socket,
    /// Nothing read yet, or changed since.
    stale: bool,
}

impl AsFd for Onlink {
    /// Becomes readable when [`Onlink::changed`] has something to take in.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

impl Onlink {
    /// Starts listening; the first [`Self::changed`] reads the table.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            requests: Socket::open(NETLINK_ROUTE, 0)?,
            changes: Socket::open(NETLINK_ROUTE, GROUPS)?,
            stale: true,
        })
    }

    /// The prefixes anew if the table changed since the last call (or was never read), else `None`. Never waits.
    pub fn changed(&mut self) -> Result<Option<Vec<IpNet>>, Error> {
        let mut changed = self.stale;
        let heard = self.changes.drain(|_, _| {
            changed = true;
            Ok(())
        })?;
        self.stale = changed || heard == Heard::NotAll;
        if !self.stale {
            return Ok(None);
        }
        let prefixes = self.read()?;
        self.stale = false;
        Ok(Some(prefixes))
    }

    fn read(&mut self) -> Result<Vec<IpNet>, Error> {
        // A dump that was interrupted may lack an entry. A table that never rests is read as well as can be: its next
        // notification makes it stale again.
        for last in [false, false, false, true] {
            let mut linkless = HashSet::new();
            let mut prefixes = Vec::new();
            let links = self.requests.dump(RTM_GETLINK, &emit(&LinkMessage::default()), |kind, payload| {
                if kind == RTM_NEWLINK {
                    let link = LinkHeader::parse(payload).map_err(|_| Error::malformed("link", payload))?;
                    linkless.extend(without_neighbours(&link));
                }
                Ok(())
            })?;
            let mut heard = vec![links];
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                let mut request = RouteMessage::default();
                request.header.address_family = family;
                heard.push(self.requests.dump(RTM_GETROUTE, &emit(&request), |kind, payload| {
                    if kind == RTM_NEWROUTE {
                        let route = RouteMessage::parse(payload).map_err(|_| Error::malformed("route", payload))?;
                        prefixes.extend(prefix_of(&route, &linkless));
                    }
                    Ok(())
                })?);
            }
            if last || heard.iter().all(|h| *h == Heard::All) {
                prefixes.sort();
                prefixes.dedup();
                return Ok(prefixes);
            }
        }
        Ok(Vec::new())
    }
}

fn emit<T: Emitable>(message: &T) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// The index of a link that has no neighbours: what goes through it goes to a router.
fn without_neighbours(link: &LinkHeader) -> Option<u32> {
    link.flags.intersects(LinkFlags::Pointopoint | LinkFlags::Noarp).then_some(link.index)
}

/// The prefix that a route makes internal, if it does.
fn prefix_of(route: &RouteMessage, linkless: &HashSet<u32>) -> Option<IpNet> {
    let length = route.header.destination_prefix_length;
    let mut destination = None;
    let mut link = None;
    let mut routed = false;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(a)) => destination = Some(IpAddr::from(*a)),
            RouteAttribute::Destination(RouteAddress::Inet6(a)) => destination = Some(IpAddr::from(*a)),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::MultiPath(_)
            | RouteAttribute::Encap(_) => routed = true,
            _ => {}
        }
    }
    let internal = match route.header.kind {
        RouteType::Local | RouteType::Broadcast | RouteType::Anycast => true,
        RouteType::Unicast => length > 0 && !routed && link.is_some_and(|link| !linkless.contains(&link)),
        _ => false,
    };
    IpNet::new(destination?, length).ok().filter(|_| internal).map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route as `ip route` writes it: type, prefix, the rest.
    fn route(kind: RouteType, net: &str, attributes: Vec<RouteAttribute>) -> Option<String> {
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
        // Through bytes, as from the kernel.
        let parsed = RouteMessage::parse(&emit(&route)).unwrap();
        prefix_of(&parsed, &HashSet::from([9])).map(|n| n.to_string())
    }

    #[test]
    fn what_is_on_link_and_what_is_not() {
        use RouteAttribute::{Gateway, Oif};
        use RouteType::{Anycast, BlackHole, Broadcast, Local, Unicast};
        let gateway = || Gateway(RouteAddress::Inet([192, 168, 2, 1].into()));
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(route(Unicast, "192.168.2.0/24", vec![Oif(2)]), some("192.168.2.0/24"));
        assert_eq!(route(Unicast, "2001:4860:1::/64", vec![Oif(2)]), some("2001:4860:1::/64"));
        assert_eq!(route(Unicast, "172.31.1.1/32", vec![Oif(2)]), some("172.31.1.1/32"));
        assert_eq!(route(Local, "93.184.216.34/32", vec![Oif(1)]), some("93.184.216.34/32"));
        assert_eq!(route(Broadcast, "192.168.2.255/32", vec![Oif(2)]), some("192.168.2.255/32"));
        assert_eq!(route(Anycast, "2001:4860:1::/128", vec![Oif(2)]), some("2001:4860:1::/128"));
        for (kind, net, attributes) in [
            (Unicast, "0.0.0.0/0", vec![Oif(2)]),
            (Unicast, "::/0", vec![Oif(2)]),
            (Unicast, "8.0.0.0/8", vec![Oif(2), gateway()]),
            (Unicast, "0.0.0.0/1", vec![Oif(9)]),
            (Unicast, "100.100.1.1/32", vec![Oif(9)]),
            (Unicast, "8.0.0.0/8", vec![]),
            (BlackHole, "8.0.0.0/8", vec![Oif(2)]),
        ] {
            assert_eq!(route(kind, net, attributes), None, "{net}");
        }
    }

    #[test]
    fn the_running_kernel_has_loopback_and_rests_unchanged() {
        let mut onlink = Onlink::open().unwrap();
        let prefixes = onlink.changed().unwrap().unwrap();
        assert!(prefixes.contains(&"127.0.0.0/8".parse().unwrap()), "{prefixes:?}");
        assert!(prefixes.iter().all(|p| p.prefix_len() > 0));
    }
}
