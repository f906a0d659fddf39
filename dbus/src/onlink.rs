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
//!
//! A host with a full routing table (bird, FRR) has hundreds of thousands of routes, and some change every second. So the
//! table is read once. Afterwards each notification, which carries its whole route, is applied by itself (`routes.rs`), and
//! routes that lead to a router are not kept. The whole table is read again only where the kernel changes routes without
//! saying so (an interface goes down, an IPv4 address or a nexthop object is deleted), says too little (a route replaced one
//! of several) or had to drop notifications. Such a read proceeds in steps. Between them the caller does its other work, with
//! the last known prefixes.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netlink_packet_core::Emitable;
use netlink_packet_route::{AddressFamily, link::LinkMessage, route::RouteMessage};

use self::routes::{Fit, Routes};
pub use self::{message::PolicyRoute, routes::MOST_PREFIXES};
use crate::netlink::{Error, Heard, Message, Socket, Waiting};

mod message;
mod routes;

/// rustix writes protocol 0 as `None`.
const NETLINK_ROUTE: Option<rustix::net::Protocol> = None;
/// Of linux/rtnetlink.h.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_DELNEXTHOP: u16 = 105;
/// `NLM_F_REPLACE`.
const REPLACE: u16 = 0x100;
/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_ROUTE`, `RTNLGRP_NEXTHOP` of
/// linux/rtnetlink.h, as bits.
const GROUPS: u32 = 1 | 1 << 4 | 1 << 6 | 1 << 10 | 1 << 31;

/// A step lasts a twentieth of the time since the last one, within these bounds.
const STEP: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(20));
/// The shortest time between two steps of one read.
const PAUSE: Duration = Duration::from_millis(4);
/// After the whole table was read, there is a pause of so many times as long as that took: at most a twentieth of a core.
const READ_REST: u32 = 20;
/// The pause after the kernel would not let it be read.
const REFUSED_REST: Duration = Duration::from_secs(5);
/// So many reads in a row may be disturbed by the deletion of IPv6 routes. The kernel then sometimes leaves out others.
const DISTURBED_READS: u8 = 3;
/// Prefixes that change again and again are reported once in this time, plus this much for each of them, because what the
/// caller does with them takes time too.
const TOLD_REST: Duration = Duration::from_millis(200);
const TOLD_REST_EACH: Duration = Duration::from_micros(200);
/// What can't be understood is reported at most so often.
const ODD_REST: Duration = Duration::from_secs(60);

/// Follows the routing table. No polling: the kernel's notifications say what changes.
#[derive(Debug)]
pub struct Onlink {
    requests: Socket,
    changes: Socket,
    routes: Routes,
    /// The read of the whole table that is in progress.
    reading: Option<Reading>,
    /// Whether the whole table is to be read, though not before `rested`.
    stale: bool,
    rested: Instant,
    /// A read that has ended, while notifications from its time have not all been taken in.
    settling: Option<Settling>,
    disturbed_reads: u8,
    /// Whether notifications may be waiting for which the latest step had no time.
    backlog: bool,
    /// The end of the latest step.
    stepped: Instant,
    /// What was reported last, and when.
    told: Option<(Vec<IpNet>, Instant)>,
    left_out: usize,
    odd: Odd,
}

impl AsFd for Onlink {
    /// Becomes readable when there is a notification for [`Onlink::changed`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

impl Onlink {
    /// Starts listening; the first [`Self::changed`] reads the table.
    pub fn open() -> Result<Self, Error> {
        let now = Instant::now();
        Ok(Self {
            requests: Socket::open(NETLINK_ROUTE, 0)?,
            changes: Socket::open(NETLINK_ROUTE, GROUPS)?,
            routes: Routes::default(),
            reading: None,
            stale: true,
            rested: now,
            settling: None,
            disturbed_reads: 0,
            backlog: false,
            stepped: now,
            told: None,
            left_out: 0,
            odd: Odd::default(),
        })
    }

    /// Takes in what happened. Returns the prefixes, sorted, if they differ from those that were reported last, else `None`.
    ///
    /// The first call reads the whole table. No later one waits or takes longer than some 20 ms: see [`Self::due`] for what
    /// it leaves to the next one. If prefixes change often, only the first change is reported at once.
    ///
    /// A message that can't be understood is left out, and a later call fails with it once. The prefixes are followed
    /// nevertheless.
    pub fn changed(&mut self) -> Result<Option<Vec<IpNet>>, Error> {
        let now = Instant::now();
        let end = self.told.is_some().then(|| {
            let (least, most) = STEP;
            now + (now.saturating_duration_since(self.stepped) / 20).clamp(least, most)
        });
        if end.is_some()
            && let Some(odd) = self.odd.report(now)
        {
            return Err(odd);
        }
        let stepped = self.step(end);
        self.stepped = Instant::now();
        stepped.map(|()| self.tell())
    }

    /// When to call [`Self::changed`] even without a notification, because there is more to do or to report; `None`: no need.
    pub fn due(&self) -> Option<Instant> {
        let Some((told, at)) = &self.told else { return Some(self.rested) };
        let more = (self.reading.is_some() || self.backlog).then(|| self.stepped + PAUSE);
        let read = self.stale.then_some(self.rested);
        let tell = self.routes.changed.then(|| *at + rest_after_telling(told.len()));
        [more, read, tell, self.odd.due()].into_iter().flatten().min()
    }

    /// How many prefixes, at least, the latest ones lack because there are more than [`MOST_PREFIXES`]: those with the fewest
    /// addresses.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The routes that decide where policy rules lead, as of the latest [`Self::changed`].
    pub fn policy_routes(&self) -> &BTreeSet<PolicyRoute> {
        &self.routes.policy
    }

    /// Works until there is nothing to do or `end` is reached; without an end, until the whole table is read.
    fn step(&mut self, end: Option<Instant>) -> Result<(), Error> {
        loop {
            if self.reading.is_some() && !self.read_on(end)? {
                return Ok(());
            }
            // All of them before a read begins: once some were lost the kernel drops any further ones until then. And those of
            // the time of the read after it: whatever the read has seen, the last word about each route is theirs.
            self.backlog = false;
            self.backlog = !self.take_in(end)?;
            if self.backlog || !self.stale || (end.is_some() && Instant::now() < self.rested) {
                return Ok(());
            }
            self.stale = false;
            self.reading = Some(Reading::default());
        }
    }

    /// Reads more of the whole table; whether that was the rest.
    fn read_on(&mut self, end: Option<Instant>) -> Result<bool, Error> {
        let Some(reading) = &mut self.reading else { return Ok(true) };
        let begun = Instant::now();
        let whole = loop {
            match reading.go_on(&mut self.requests, &mut self.odd) {
                Ok(false) if end.is_some_and(|end| Instant::now() >= end) => break Ok(false),
                Ok(false) => {}
                other => break other,
            }
        };
        let now = Instant::now();
        reading.cost += now - begun;
        match whole {
            Ok(false) => {}
            Ok(true) => {
                self.rested = now + reading.cost * READ_REST;
                self.settling = Some(Settling { long: reading.ipv6_datagrams > 1, disturbed: reading.disturbed });
                self.routes = std::mem::take(&mut reading.routes);
                self.routes.changed = true;
                self.reading = None;
            }
            Err(_) => {
                self.rested = now + REFUSED_REST;
                self.stale = true;
                self.reading = None;
                // What is left of the dump goes with the socket.
                self.requests = Socket::open(NETLINK_ROUTE, 0)?;
            }
        }
        whole
    }

    /// Takes in notifications; whether that was all of them.
    fn take_in(&mut self, end: Option<Instant>) -> Result<bool, Error> {
        loop {
            let (routes, odd, stale) = (&mut self.routes, &mut self.odd, &mut self.stale);
            let settling = &mut self.settling;
            let taken = self.changes.take(|message| {
                let fit = take_in(&message, routes, settling.as_mut()).unwrap_or_else(|error| {
                    odd.note(error);
                    Fit::Unclear
                });
                *stale |= fit == Fit::Unclear;
                Ok(())
            });
            match taken {
                Ok(Waiting::Taken) => {}
                Ok(Waiting::Lost) => self.stale = true,
                Ok(Waiting::Nothing) => {
                    self.settle();
                    return Ok(true);
                }
                Err(error @ Error::Malformed { .. }) => {
                    self.odd.note(error);
                    self.stale = true;
                }
                Err(error) => return Err(error),
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(false);
            }
        }
    }

    /// A disturbed read may lack a route, so another read follows. A table that never stops changing is read as well as possible.
    fn settle(&mut self) {
        let Some(settling) = self.settling.take() else { return };
        if settling.disturbed && self.disturbed_reads < DISTURBED_READS {
            self.disturbed_reads += 1;
            self.stale = true;
        } else {
            self.disturbed_reads = 0;
        }
    }

    fn tell(&mut self) -> Option<Vec<IpNet>> {
        let now = Instant::now();
        if let Some((told, at)) = &self.told
            && (!self.routes.changed || now < *at + rest_after_telling(told.len()))
        {
            return None;
        }
        self.routes.changed = false;
        let (prefixes, left_out) = self.routes.prefixes();
        self.left_out = left_out;
        if self.told.as_ref().is_some_and(|(told, _)| *told == prefixes) {
            return None;
        }
        self.told = Some((prefixes.clone(), now));
        Some(prefixes)
    }
}

/// One notification.
fn take_in(message: &Message<'_>, routes: &mut Routes, settling: Option<&mut Settling>) -> Result<Fit, Error> {
    let payload = message.payload;
    Ok(match message.kind {
        RTM_NEWROUTE => {
            if let Some(route) = message::policy_route(payload)? {
                routes.policy_exists(route);
            }
            message::route(payload)?.map_or(Fit::Fits, |said| routes.exists(&said, message.flags & REPLACE != 0))
        }
        RTM_DELROUTE => {
            if let Some(route) = message::policy_route(payload)? {
                routes.policy.remove(&route);
            }
            message::route(payload)?.map_or(Fit::Fits, |said| {
                if let Some(settling) = settling {
                    settling.disturbed |= settling.long && matches!(said.net, IpNet::V6(_));
                }
                routes.is_gone(&said)
            })
        }
        RTM_NEWLINK => message::link(payload)?.map_or(Fit::Fits, |(index, link)| routes.link_is(index, link)),
        RTM_DELLINK => message::link(payload)?.map_or(Fit::Fits, |(index, _)| routes.link_is_gone(index)),
        // The IPv4 routes that prefer it as their source go, and nothing is said of them.
        RTM_DELADDR if message::is_ipv4_address(payload)? => Fit::Unclear,
        RTM_DELNEXTHOP => routes.nexthop_is_gone(message::nexthop(payload)?),
        _ => Fit::Fits,
    })
}

/// A read of the whole table, datagram by datagram.
#[derive(Debug, Default)]
struct Reading {
    part: Part,
    /// The request for this part is sent.
    asked: bool,
    routes: Routes,
    cost: Duration,
    /// The kernel has said that it is complete.
    disturbed: bool,
    ipv6_datagrams: u32,
}

/// The interfaces come first: routes are judged by them, and whatever takes an interface down is done with its routes before
/// it lets go of the lock (rtnl) that a list of the interfaces waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Links,
    Ipv4,
    Ipv6,
    Nothing,
}

impl Reading {
    /// Takes in one datagram; whether nothing is left.
    fn go_on(&mut self, requests: &mut Socket, odd: &mut Odd) -> Result<bool, Error> {
        let (routes_of, next) = match self.part {
            Part::Links => (None, Part::Ipv4),
            Part::Ipv4 => (Some(AddressFamily::Inet), Part::Ipv6),
            Part::Ipv6 => (Some(AddressFamily::Inet6), Part::Nothing),
            Part::Nothing => return Ok(true),
        };
        if !self.asked {
            match routes_of {
                None => requests.begin_dump(RTM_GETLINK, &emit(&LinkMessage::default()))?,
                Some(family) => {
                    let mut request = RouteMessage::default();
                    request.header.address_family = family;
                    requests.begin_dump(RTM_GETROUTE, &emit(&request))?;
                }
            }
            self.asked = true;
        }
        let routes = &mut self.routes;
        let heard = requests.go_on(|kind, payload| {
            let taken = match kind {
                RTM_NEWLINK => message::link(payload).map(|link| {
                    link.map(|(index, link)| routes.link_is(index, link));
                }),
                RTM_NEWROUTE => message::policy_route(payload).and_then(|route| {
                    if let Some(route) = route {
                        routes.policy_exists(route);
                    }
                    message::route(payload).map(|said| {
                        said.map(|said| routes.exists(&said, false));
                    })
                }),
                _ => Ok(()),
            };
            taken.unwrap_or_else(|error| odd.note(error));
            Ok(())
        })?;
        self.ipv6_datagrams += u32::from(self.part == Part::Ipv6);
        if let Some(heard) = heard {
            self.disturbed |= heard == Heard::NotAll;
            (self.part, self.asked) = (next, false);
        }
        Ok(self.part == Part::Nothing)
    }
}

/// A read that has ended.
#[derive(Debug)]
struct Settling {
    /// It took several datagrams, between which an IPv6 route may have been deleted. The kernel counts how far it has come
    /// (fib6_dump_table in net/ipv6/ip6_fib.c), so that it may leave out another one then. Of IPv4 it knows the place.
    long: bool,
    disturbed: bool,
}

/// A message that could not be understood, until it is reported. The first one of many.
#[derive(Debug, Default)]
struct Odd {
    waiting: Option<Error>,
    reported: Option<Instant>,
}

impl Odd {
    fn note(&mut self, error: Error) {
        self.waiting.get_or_insert(error);
    }

    fn report(&mut self, now: Instant) -> Option<Error> {
        let error = self.waiting.take_if(|_| self.reported.is_none_or(|at| now >= at + ODD_REST))?;
        self.reported = Some(now);
        Some(error)
    }

    fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().and(Some(self.reported.map_or_else(Instant::now, |at| at + ODD_REST)))
    }
}

fn rest_after_telling(prefixes: usize) -> Duration {
    TOLD_REST + TOLD_REST_EACH * u32::try_from(prefixes).unwrap_or(u32::MAX)
}

fn emit<T: Emitable>(message: &T) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_loopback_and_rests_unchanged() {
        let mut onlink = Onlink::open().unwrap();
        assert!(onlink.due().is_some());
        let prefixes = onlink.changed().unwrap().unwrap();
        assert!(prefixes.contains(&"127.0.0.0/8".parse().unwrap()), "{prefixes:?}");
        assert!(prefixes.iter().all(|p| p.prefix_len() > 0));
        assert!(prefixes.is_sorted());
    }

    #[test]
    fn what_is_odd_is_reported_once_in_a_while() {
        let mut odd = Odd::default();
        let now = Instant::now();
        let error = || Error::malformed("route", &[1]);
        assert!(odd.due().is_none() && odd.report(now).is_none());
        odd.note(error());
        odd.note(Error::malformed("link", &[2]));
        assert!(matches!(odd.report(now), Some(Error::Malformed { what: "route", .. })));
        assert!(odd.due().is_none() && odd.report(now).is_none());
        odd.note(error());
        assert_eq!(odd.due(), Some(now + ODD_REST));
        assert!(odd.report(now + ODD_REST / 2).is_none());
        assert!(odd.report(now + ODD_REST).is_some());
    }
}
