//! The estimate: what the kernel reports for each socket, without any privilege. TCP payload only.
//!
//! inet_diag lists this network namespace's TCP sockets with their cgroup and `tcp_info`; a second netlink socket gets
//! the last figures of each socket that is destroyed. It can't see the bytes of UDP, nor a connection that opens and closes
//! between two looks.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netglance_dbus::{
    cgroup::Tree,
    netlink::{self, Socket},
    sample::Sample,
    scope::{Prefixes, Scope},
};
use netlink_packet_core::NlasIterator;

use self::books::Books;
pub use self::books::OfSocket;
use super::Look;
use crate::look::{
    remotes::Row,
    sampler::{OpenSocket, Protocol, Source},
};

mod books;

// linux/sock_diag.h, linux/inet_diag.h, net/tcp_states.h
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// The extension that asks for `tcp_info`.
pub(super) const WITH_INFO: u8 = 1 << (INET_DIAG_INFO - 1);
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
pub(super) const IPPROTO_TCP: u8 = 6;
pub(super) const IPPROTO_UDP: u8 = 17;
/// ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING: the states with `tcp_info` and a
/// peer. The others are listeners, and TIME_WAIT and SYN_RECV, which are no full sockets.
const TCP_STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 11;
/// A UDP socket that is connected counts as established.
const UDP_STATES: u32 = 1 << 1;
/// CLOSE: a UDP socket that is not connected.
const UNCONNECTED: u32 = 1 << 7;
/// The index of the loopback interface in every network namespace (`LOOPBACK_IFINDEX` of net/flow.h).
const LOOPBACK: u32 = 1;
/// `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY` as bits.
const DESTROYED: u32 = 1 | 1 << 2;
/// ESTABLISHED, FIN_WAIT1, FIN_WAIT2 as bits: the other side has not ended the connection. What is left of one that it has
/// ended waits long at times, and by then that side's port may be another connection's.
const ANSWERED: u32 = 1 << 1 | 1 << 4 | 1 << 5;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only the exact source was wanted.
    #[error("{0}")]
    NotExact(String),
    /// Only the exact source was wanted, for what is not the caller's.
    #[error(
        "the helper shows the figures of others only to root and with an administrator's password: \
         leave out --source exact to see the estimate"
    )]
    NotOwn,
    /// The netlink sockets don't open or answer.
    #[error("cannot ask the kernel for the list of sockets (inet_diag)")]
    Netlink(#[from] netlink::Error),
    /// The kernel has no inet_diag for TCP.
    #[error(
        "the kernel cannot list TCP sockets: its module tcp_diag (CONFIG_INET_TCP_DIAG) is missing. \
         As root: modprobe tcp_diag"
    )]
    NoInetDiag,
    /// The kernel lists sockets without their cgroup.
    #[error(
        "the kernel lists sockets without their cgroup, so netglance cannot tell which application they belong to. \
         It needs Linux 5.7 or newer built with CONFIG_SOCK_CGROUP_DATA"
    )]
    NoCgroupId,
}

/// What one message says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    cookie: u64,
    pub(super) inode: u32,
    /// One of `TCP_*`, for TCP.
    state: u8,
    /// What it is bound to; the unspecified address for all addresses of the host.
    pub(crate) local: SocketAddr,
    remote: SocketAddr,
    /// The interface that it is bound to; 0 for none.
    pub(crate) interface: u32,
    pub(crate) cgroup_id: Option<u64>,
    /// Whether it is more than the remains of a closed one: the TIME_WAIT of a connection that waits in FIN_WAIT2 for the
    /// other side's end is listed as FIN_WAIT2, without any attribute (net/ipv4/inet_diag.c, `inet_twsk_diag_fill`).
    is_full: bool,
    bytes: Option<Transferred>,
    /// Bytes that wait to be sent for the first time, the FIN among them.
    pub(super) not_sent: u32,
}

impl Listed {
    /// Both sides are.
    fn is_loopback(&self) -> bool {
        let is_one = |side: SocketAddr| side.ip().to_canonical().is_loopback();
        is_one(self.local) && is_one(self.remote)
    }

    /// The other side has not ended the connection.
    fn is_answered(&self) -> bool {
        1u32.checked_shl(self.state.into()).unwrap_or_default() & ANSWERED != 0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Transferred {
    rx: u64,
    tx: u64,
}

/// Asks the kernel and keeps the books.
#[derive(Debug)]
pub struct InetDiag {
    requests: Socket,
    destroyed: Socket,
    books: Books,
    /// When the latest look was.
    looked_ns: u64,
}

impl InetDiag {
    /// Opens the sockets. Counting begins with the first look.
    pub fn open() -> Result<Self, Error> {
        let protocol = Some(rustix::net::netlink::SOCK_DIAG);
        Ok(Self {
            requests: Socket::open(protocol, 0)?,
            destroyed: Socket::open(protocol, DESTROYED)?,
            books: Books::default(),
            looked_ns: 0,
        })
    }

    /// Begins to tell remotes apart, unless it does already; or ends it and forgets them.
    pub fn tell_remotes_apart(&mut self, wanted: bool) {
        self.books.tell_remotes_apart(wanted);
    }

    /// What was moved over TCP with each remote since [`Self::tell_remotes_apart`], and the `CLOCK_BOOTTIME` of the latest look.
    pub fn remotes(&self) -> (u64, impl Iterator<Item = Row<'_>>) {
        (self.looked_ns, self.books.remotes())
    }

    /// Begins to tell sockets apart, unless it does already; or ends it.
    pub fn tell_sockets_apart(&mut self, wanted: bool) {
        self.books.tell_sockets_apart(wanted);
    }

    /// The TCP sockets as of the latest look: those that are open, and those that have moved bytes or gone since this was called
    /// last.
    pub fn take_sockets(&mut self) -> Vec<OfSocket> {
        self.books.take_sockets()
    }

    /// All rows of this moment.
    pub fn look(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<Look, Error> {
        let boottime_ns = super::boottime_ns();
        self.looked_ns = boottime_ns;
        self.books.begin();
        let mut nameless = false;
        for family in [AF_INET, AF_INET6] {
            let books = &mut self.books;
            let request = request(family, IPPROTO_TCP, WITH_INFO, TCP_STATES);
            let dumped = self.requests.dump(SOCK_DIAG_BY_FAMILY, &request, |_, payload| {
                let socket = parse(payload)?;
                nameless |= socket.is_full && socket.cgroup_id.is_none();
                books.listed(&socket, tree, prefixes);
                Ok(())
            });
            dumped.map_err(|e| if is_missing(&e) { Error::NoInetDiag } else { e.into() })?;
        }
        if nameless {
            return Err(Error::NoCgroupId);
        }
        let books = &mut self.books;
        books.judge_outside();
        // Notifications lost for want of buffer space only make the estimate a little lower.
        self.destroyed.drain(|_, payload| {
            books.destroyed(&parse(payload)?, prefixes);
            Ok(())
        })?;
        self.books.end();
        let unmeasured_udp = self.unmeasured_udp(tree, prefixes)?;
        let rows = self.books.rows.clone();
        Ok(Look {
            source: Source::Estimate,
            sample: Sample { epoch: 0, boottime_ns, rows },
            unmeasured_udp,
            forwarded: false,
        })
    }

    /// UDP sockets that can reach the outside, by cgroup path; `None` where the kernel can't list UDP sockets.
    fn unmeasured_udp(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<Option<HashMap<String, u32>>, Error> {
        let mut sockets: HashMap<u64, u32> = HashMap::new();
        for family in [AF_INET, AF_INET6] {
            let request = request(family, IPPROTO_UDP, 0, UDP_STATES | UNCONNECTED);
            let dumped = self.requests.dump(SOCK_DIAG_BY_FAMILY, &request, |_, payload| {
                let socket = parse(payload)?;
                if may_reach_outside(&socket, prefixes)
                    && let Some(id) = socket.cgroup_id
                {
                    *sockets.entry(id).or_default() += 1;
                }
                Ok(())
            });
            match dumped {
                Ok(_) => {}
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let mut by_path = HashMap::new();
        for (path, count) in sockets.into_iter().filter_map(|(id, count)| Some((tree.path(id)?, count))) {
            *by_path.entry(path).or_default() += count;
        }
        Ok(Some(by_path))
    }
}

/// Every socket of this network namespace that has, or may have, another side; without those of UDP where the kernel can't
/// list them.
pub fn open_sockets() -> Result<Vec<OpenSocket>, Error> {
    let mut requests = Socket::open(Some(rustix::net::netlink::SOCK_DIAG), 0)?;
    let mut sockets = Vec::new();
    for (number, states, protocol) in
        [(IPPROTO_TCP, TCP_STATES, Protocol::Tcp), (IPPROTO_UDP, UDP_STATES | UNCONNECTED, Protocol::Udp)]
    {
        for family in [AF_INET, AF_INET6] {
            let dumped = requests.dump(SOCK_DIAG_BY_FAMILY, &request(family, number, 0, states), |_, payload| {
                let listed = parse(payload)?;
                let answered = listed.is_answered();
                let Listed { inode, local, remote, cgroup_id, .. } = listed;
                sockets.push(OpenSocket { protocol, inode, local, answered, remote, cgroup_id });
                Ok(())
            });
            match dumped {
                Ok(_) => {}
                Err(error) if is_missing(&error) && protocol == Protocol::Udp => {}
                Err(error) if is_missing(&error) => return Err(Error::NoInetDiag),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(sockets)
}

/// Whether a UDP socket can have an external address at its other end. One that is not connected can have any, except from
/// the loopback interface and from link-local addresses, which no router forwards (RFC 4291, 2.5.6). An own private
/// address is no obstacle: a router translates it.
fn may_reach_outside(socket: &Listed, prefixes: &Prefixes) -> bool {
    if !socket.remote.ip().is_unspecified() {
        return prefixes.judge(socket.remote.ip()).scope == Scope::External;
    }
    let local = socket.local.ip().to_canonical();
    let stays = local.is_loopback() || matches!(local, IpAddr::V6(address) if address.is_unicast_link_local());
    !stays && socket.interface != LOOPBACK
}

/// The UDP sockets without a peer of this network namespace; as many as the kernel lists.
pub(crate) fn unconnected_udp() -> Vec<Listed> {
    let mut sockets = Vec::new();
    let Ok(mut requests) = Socket::open(Some(rustix::net::netlink::SOCK_DIAG), 0) else { return sockets };
    for family in [AF_INET, AF_INET6] {
        // Without udp_diag there are none to be seen.
        _ = requests.dump(SOCK_DIAG_BY_FAMILY, &request(family, IPPROTO_UDP, 0, UNCONNECTED), |_, payload| {
            sockets.push(parse(payload)?);
            Ok(())
        });
    }
    sockets
}

fn is_missing(error: &netlink::Error) -> bool {
    matches!(error, netlink::Error::Refused(e) if e.kind() == io::ErrorKind::NotFound)
}

/// `struct inet_diag_req_v2` of linux/inet_diag.h: 8 bytes, then a socket id of zeros, which matches all.
pub(super) fn request(family: u8, protocol: u8, extensions: u8, states: u32) -> [u8; 56] {
    let mut bytes = [0; 56];
    bytes[..4].copy_from_slice(&[family, protocol, extensions, 0]);
    bytes[4..8].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// Reads `struct inet_diag_msg` and the attributes behind it.
pub(crate) fn parse(payload: &[u8]) -> Result<Listed, netlink::Error> {
    let malformed = |what| netlink::Error::malformed(what, payload);
    let (header, attributes) = payload.split_first_chunk::<72>().ok_or_else(|| malformed("inet_diag_msg"))?;
    let address = |at| match header[0] {
        AF_INET => Ok(IpAddr::V4(Ipv4Addr::from(chunk(header, at).unwrap_or_default()))),
        AF_INET6 => Ok(IpAddr::V6(Ipv6Addr::from(chunk::<16>(header, at).unwrap_or_default()))),
        _ => Err(malformed("inet_diag family")),
    };
    let port = |at| chunk(header, at).map(u16::from_be_bytes).unwrap_or_default();
    let interface = chunk(header, 40).map(u32::from_ne_bytes).unwrap_or_default();
    let cookie = chunk(header, 44).map(u64::from_ne_bytes).unwrap_or_default();
    let inode = chunk(header, 68).map(u32::from_ne_bytes).unwrap_or_default();
    let mut listed = Listed {
        cookie,
        inode,
        state: header[1],
        local: SocketAddr::new(address(8)?, port(4)),
        remote: SocketAddr::new(address(24)?, port(6)),
        interface,
        cgroup_id: None,
        is_full: false,
        bytes: None,
        not_sent: 0,
    };
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| malformed("inet_diag attribute"))?;
        match attribute.kind() {
            INET_DIAG_CGROUP_ID => listed.cgroup_id = chunk(attribute.value(), 0).map(u64::from_ne_bytes),
            INET_DIAG_INFO => {
                listed.is_full = true;
                listed.bytes = transferred(attribute.value());
                listed.not_sent = chunk(attribute.value(), 144).map(u32::from_ne_bytes).unwrap_or_default();
            }
            _ => {}
        }
    }
    Ok(listed)
}

/// From `struct tcp_info` of linux/tcp.h. Sent are the bytes that left for the first time: `tcpi_bytes_sent` less
/// `tcpi_bytes_retrans`. (`tcpi_bytes_acked` would count SYN and FIN as a byte each.)
fn transferred(tcp_info: &[u8]) -> Option<Transferred> {
    let field = |offset| chunk(tcp_info, offset).map(u64::from_ne_bytes);
    Some(Transferred { rx: field(128)?, tx: field(200)?.saturating_sub(field(208)?) })
}

pub(super) fn chunk<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use netglance_dbus::sample::Row;

    use super::*;

    /// A message as the kernel sends it.
    fn message(remote: &str, cookie: u64, cgroup: Option<u64>, bytes: Option<(u64, u64)>) -> Vec<u8> {
        let mut m = vec![0; 72];
        match remote.parse().unwrap() {
            IpAddr::V4(a) => {
                m[0] = AF_INET;
                m[24..28].copy_from_slice(&a.octets());
            }
            IpAddr::V6(a) => {
                m[0] = AF_INET6;
                m[24..40].copy_from_slice(&a.octets());
            }
        }
        m[44..52].copy_from_slice(&cookie.to_ne_bytes());
        let mut attribute = |kind: u16, value: &[u8]| {
            m.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            m.extend(kind.to_ne_bytes());
            m.extend(value);
        };
        if let Some((rx, tx)) = bytes {
            let mut info = [0; 248];
            info[128..136].copy_from_slice(&rx.to_ne_bytes());
            info[200..208].copy_from_slice(&(tx + 7).to_ne_bytes());
            info[208..216].copy_from_slice(&7u64.to_ne_bytes());
            attribute(INET_DIAG_INFO, &info);
        }
        if let Some(id) = cgroup {
            attribute(INET_DIAG_CGROUP_ID, &id.to_ne_bytes());
        }
        m
    }

    #[test]
    fn messages_are_read_and_bad_ones_are_errors_not_panics() {
        let whole = message("93.184.216.34", 5, Some(77), Some((1000, 200)));
        let read = parse(&whole).unwrap();
        assert_eq!((read.cookie, read.cgroup_id, read.remote.to_string()), (5, Some(77), "93.184.216.34:0".into()));
        assert_eq!(read.bytes, Some(Transferred { rx: 1000, tx: 200 }));
        for cut in 0..whole.len() {
            let at_attribute_edge = [72, 72 + 252].contains(&cut);
            assert_eq!(parse(&whole[..cut]).is_ok(), at_attribute_edge, "cut at {cut}");
        }
        for i in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut mutated = whole.clone();
                mutated[i] = value;
                _ = parse(&mutated);
            }
        }
    }

    /// As an application and its proxy are listed, in either order, and what comes of it.
    #[test]
    fn what_ends_at_a_proxy_here_is_internal_from_first_to_last() {
        let tree = Tree::open().unwrap();
        let prefixes = Prefixes::new(&["192.168.2.2/32".parse().unwrap()], &[], &[]);
        let sides = |cookie: u64, local: &str, remote: &str, rx: u64| {
            let mut socket = parse(&message("0.0.0.0", cookie, Some(1), Some((rx, 0)))).unwrap();
            (socket.state, socket.local, socket.remote) = (1, local.parse().unwrap(), remote.parse().unwrap());
            socket
        };
        let (app, outside) = ("192.168.2.2:40000", "93.184.216.34:443");
        for proxy in ["127.0.0.1:3128", outside] {
            let mut books = Books::default();
            books.row_of_id = HashMap::from([(1, 0)]);
            books.rows = vec![Row { cgroup: "/a".into(), ..Row::default() }];
            let mut look = |listed: &[Listed], gone: &[Listed]| {
                books.begin();
                listed.iter().for_each(|socket| books.listed(socket, &tree, &prefixes));
                books.judge_outside();
                gone.iter().for_each(|socket| books.destroyed(socket, &prefixes));
                books.end();
                (books.rows[0].rx_bytes, books.rows[0].internal_rx_bytes)
            };
            let (client, server) = (|rx| sides(1, app, outside, rx), sides(2, proxy, app, 0));
            look(&[], &[]);
            assert_eq!(look(&[client(100), server], &[]), (0, 100), "{proxy}");
            assert_eq!(look(&[server, client(150)], &[]), (0, 150));
            assert_eq!(look(&[client(160)], &[]), (0, 160), "the proxy has gone");
            assert_eq!(look(&[], &[client(170)]), (0, 170), "last words");
            // The next connection comes while the list is made, and the proxy's end is not in it yet.
            let next = |rx| sides(3, "192.168.2.2:40001", outside, rx);
            assert_eq!(look(&[next(10)], &[]), (0, 170));
            assert_eq!(look(&[next(20), sides(4, proxy, "192.168.2.2:40001", 0)], &[]), (0, 190));
            // One that nobody here answers is where its address is, once that is sure.
            let other = |rx| sides(5, "192.168.2.2:40002", outside, rx);
            assert_eq!(look(&[other(5)], &[]), (0, 190));
            assert_eq!(look(&[other(6)], &[]), (6, 190));
            assert_eq!(look(&[other(7), sides(6, proxy, "192.168.2.2:40002", 0)], &[]), (7, 190), "and stays there");
            // What the other side has ended is no proxy's end any more.
            let mut left = sides(7, proxy, "192.168.2.2:40003", 0);
            left.state = 8;
            let late = |rx| sides(8, "192.168.2.2:40003", outside, rx);
            look(&[late(1), left], &[]);
            assert_eq!(look(&[late(2), left], &[]), (9, 190));
            // Nor is what was there before the connection.
            let old = sides(9, proxy, "192.168.2.2:40004", 0);
            let new = |rx| sides(10, "192.168.2.2:40004", outside, rx);
            look(&[old], &[]);
            look(&[old], &[]);
            look(&[new(1), old], &[]);
            assert_eq!(look(&[new(2), old], &[]), (11, 190));
        }
    }

    #[test]
    fn a_udp_socket_without_a_peer_may_reach_outside_unless_it_is_bound_to_what_stays_inside() {
        let check = |local: &str, remote: &str, interface: u32, expected: bool| {
            let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
            let socket = Listed {
                local: address(local),
                remote: address(remote),
                interface,
                ..parse(&message(remote, 1, None, None)).unwrap()
            };
            assert_eq!(may_reach_outside(&socket, &Prefixes::default()), expected, "{local} {remote} {interface}");
        };
        check("0.0.0.0", "0.0.0.0", 0, true);
        check("::", "::", 0, true);
        check("192.168.2.159", "0.0.0.0", 0, true);
        check("0.0.0.0", "0.0.0.0", 2, true);
        check("224.0.0.251", "0.0.0.0", 0, true);
        check("127.0.0.53", "0.0.0.0", 0, false);
        check("::1", "::", 0, false);
        check("::ffff:127.0.0.1", "::", 0, false);
        check("fe80::1", "::", 2, false);
        check("0.0.0.0", "0.0.0.0", LOOPBACK, false);
        check("192.168.2.159", "8.8.8.8", 0, true);
        check("0.0.0.0", "192.168.2.1", 0, false);
    }

    #[test]
    fn the_books_go_forward_only_and_count_a_socket_once() {
        let tree = Tree::open().unwrap();
        let prefixes = Prefixes::default();
        let mut books = Books::default();
        books.row_of_id = HashMap::from([(1, 0), (2, 1)]);
        books.rows = ["/a", "/b"].map(|c| Row { cgroup: c.into(), ..Row::default() }).into();
        let mut look = |listed: &[(&str, u64, u64, u64)], gone: &[(&str, u64, u64)]| {
            books.begin();
            for (remote, cookie, cgroup, rx) in listed {
                let m = message(remote, *cookie, Some(*cgroup), Some((*rx, 0)));
                books.listed(&parse(&m).unwrap(), &tree, &prefixes);
            }
            books.judge_outside();
            for (remote, cookie, rx) in gone {
                books.destroyed(&parse(&message(remote, *cookie, None, Some((*rx, 0)))).unwrap(), &prefixes);
            }
            books.end();
            [books.rows[0].rx_bytes, books.rows[0].internal_rx_bytes, books.rows[1].rx_bytes]
        };
        let (out, lan) = ("8.8.8.8", "192.168.2.1");
        assert_eq!(look(&[(out, 1, 1, 500), (lan, 2, 1, 9)], &[]), [0, 0, 0], "what was before the first look");
        assert_eq!(look(&[(out, 1, 1, 600), (lan, 2, 1, 10), (out, 3, 2, 50)], &[]), [100, 1, 50]);
        assert_eq!(look(&[(out, 1, 1, 600), (out, 1, 1, 600)], &[]), [100, 1, 50], "listed twice");
        assert_eq!(look(&[(out, 1, 1, 590)], &[]), [100, 1, 50], "backwards");
        assert_eq!(look(&[], &[(out, 1, 700), (lan, 2, 30), (out, 99, 1000)]), [200, 21, 50], "last words");
        assert_eq!(look(&[(out, 4, 1, 5)], &[(out, 4, 6)]), [206, 21, 50], "born and gone in one look");
        assert_eq!(look(&[], &[(out, 4, 6)]), [206, 21, 50], "heard of twice");
    }

    #[test]
    fn remotes_are_told_apart_while_somebody_asks_closed_ones_among_them() {
        let tree = Tree::open().unwrap();
        let prefixes = Prefixes::default();
        let mut books = Books::default();
        books.row_of_id = HashMap::from([(1, 0), (2, 1)]);
        books.rows = ["/a", "/b"].map(|c| Row { cgroup: c.into(), ..Row::default() }).into();
        let mut look = |wanted: bool, listed: &[(&str, u64, u64, u64)], gone: &[(&str, u64, u64)]| {
            books.tell_remotes_apart(wanted);
            books.begin();
            for (remote, cookie, cgroup, rx) in listed {
                let m = message(remote, *cookie, Some(*cgroup), Some((*rx, 1)));
                books.listed(&parse(&m).unwrap(), &tree, &prefixes);
            }
            books.judge_outside();
            for (remote, cookie, rx) in gone {
                books.destroyed(&parse(&message(remote, *cookie, None, Some((*rx, 1)))).unwrap(), &prefixes);
            }
            books.end();
            let mut found: Vec<_> =
                books.remotes().map(|row| (row.cgroup.to_owned(), row.address.to_string(), row.bytes)).collect();
            found.sort();
            found
        };
        let row = |cgroup: &str, address: &str, bytes| (cgroup.to_owned(), address.to_owned(), bytes);
        let (out, mapped, lan) = ("8.8.8.8", "::ffff:8.8.8.8", "192.168.2.1");
        assert_eq!(look(false, &[], &[]), []);
        assert_eq!(look(false, &[(out, 1, 1, 500)], &[]), []);
        assert_eq!(look(true, &[(out, 1, 1, 500)], &[]), [], "what was before");
        let open = [(out, 1, 1, 700), (mapped, 2, 1, 9), (lan, 3, 1, 4), (out, 4, 2, 5)];
        let expected = [row("/a", lan, [4, 1]), row("/a", out, [209, 1]), row("/b", out, [5, 1])];
        assert_eq!(look(true, &open, &[]), expected);
        let expected = [row("/a", lan, [4, 1]), row("/a", out, [310, 1]), row("/b", out, [5, 1])];
        assert_eq!(look(true, &[], &[(out, 1, 800), (mapped, 2, 10)]), expected, "last words");
        assert_eq!(look(false, &[], &[]), []);
        // There may be any number of them in time.
        for n in 0..40u64 {
            let addresses: Vec<_> = (0..1000u64).map(|m| format!("9.{n}.{}.{}", m / 250, m % 250)).collect();
            let listed: Vec<_> =
                addresses.iter().zip(0..).map(|(address, m)| (address.as_str(), 1000 * n + m + 10, 1, 1)).collect();
            let kept = look(true, &listed, &[]);
            assert!(kept.len() <= 16_384 && kept.iter().any(|row| row.1 == addresses[7]), "{n}: {}", kept.len());
        }
    }
}
