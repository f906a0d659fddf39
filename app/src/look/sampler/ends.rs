//! Which connections end on this host although their address is external, because a local proxy has the other end. Pure.
//!
//! An application that is redirected to a proxy on this host (nft's `redirect`, TPROXY) still sees the external address. But
//! the proxy's socket is listed too, and its other side is the application's own address and port. With TPROXY the two
//! mirror each other; with a redirect the proxy's socket has an address of its own, and no socket mirrors it.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

/// Both sides of a connection as one of its sockets has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sides {
    /// Its own.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
}

impl Sides {
    /// An address of IPv4 is one, in whatever form a socket has it.
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let plain = |side: SocketAddr| SocketAddr::new(side.ip().to_canonical(), side.port());
        Self { local: plain(local), remote: plain(remote) }
    }

    fn mirrored(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }
}

/// A list of sockets, some of which may be a proxy's. Kept for its space.
#[derive(Debug, Default)]
pub struct Ends {
    /// Each with a number that the caller gave it, and whether it may be a proxy's.
    listed: Vec<(Sides, u64, bool)>,
    /// Those whose other side is an address of this host that has outside connections, sorted by that side.
    candidates: Vec<(SocketAddr, Sides, u64)>,
    mirrors: HashSet<Sides>,
}

impl Ends {
    /// Begins a list.
    pub fn clear(&mut self) {
        self.listed.clear();
        self.candidates.clear();
        self.mirrors.clear();
    }

    /// Adds a socket. If its other side has ended the connection, it is no proxy's any more (`answered`). But it still shows
    /// whose end its other side is, because anybody could shut down half of a connection with themselves.
    pub fn add(&mut self, sides: Sides, number: u64, answered: bool) {
        self.listed.push((sides, number, answered));
    }

    /// When all are added: `own` are the addresses that this host has in its outside connections.
    pub fn index(&mut self, own: impl Iterator<Item = IpAddr>) {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in own {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let is_own = |side: SocketAddr| addresses.contains(&side.ip());
        let found = self.listed.iter().filter(|(sides, _, answered)| *answered && is_own(sides.remote));
        self.candidates.extend(found.map(|(sides, number, _)| (sides.remote, *sides, *number)));
        if !self.candidates.is_empty() {
            self.candidates.sort_unstable();
            self.mirrors.extend(self.listed.iter().map(|(sides, ..)| *sides).filter(|sides| is_own(sides.local)));
        }
    }

    /// The number of the socket at the other end of an outside connection, if that is on this host and `possible` holds for
    /// the number.
    pub fn other_end(&self, outside: Sides, possible: impl Fn(u64) -> bool) -> Option<u64> {
        let first = self.candidates.partition_point(|(remote, ..)| *remote < outside.local);
        let same = self.candidates.iter().skip(first).take_while(|(remote, ..)| *remote == outside.local);
        // One that another internal connection from the same port mirrors is that one's end.
        let mut ends = same.filter(|(_, sides, number)| {
            let mirror = sides.mirrored();
            possible(*number) && (mirror == outside || !self.mirrors.contains(&mirror))
        });
        ends.next().map(|(.., number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(local: &str, remote: &str) -> Sides {
        Sides::new(local.parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn the_other_end_is_found_and_no_bystander() {
        let app = sides("192.168.2.2:40000", "93.184.216.34:443");
        let check = |inside: &[(&str, &str)], wanted: Option<u64>| {
            let mut ends = Ends::default();
            ends.add(sides("10.0.0.1:1", "10.0.0.2:2"), 77, true);
            ends.clear();
            for ((local, remote), number) in inside.iter().zip(0..) {
                ends.add(sides(local, remote), number, true);
            }
            ends.index([app.local.ip(), app.local.ip()].into_iter());
            assert_eq!(ends.other_end(app, |_| true), wanted, "{inside:?}");
        };
        check(&[], None);
        check(&[("127.0.0.1:3128", "192.168.2.2:40000")], Some(0));
        check(&[("[::ffff:127.0.0.1]:3128", "[::ffff:192.168.2.2]:40000")], Some(0));
        check(&[("93.184.216.34:443", "192.168.2.2:40000")], Some(0));
        check(&[("192.168.2.2:22", "192.168.2.9:40000"), ("127.0.0.1:3128", "192.168.2.2:40000")], Some(1));
        check(&[("127.0.0.1:3128", "192.168.2.2:40001")], None);
        check(&[("192.168.2.2:40000", "192.168.2.2:80")], None);
        // The same port has a connection to a server on this host as well: that server's socket is no proxy.
        let server = [("192.168.2.2:40000", "192.168.2.2:80"), ("192.168.2.2:80", "192.168.2.2:40000")];
        check(&server, None);
        check(&[&server[..], &[("127.0.0.1:3128", "192.168.2.2:40000")]].concat(), Some(2));
        let v6 = sides("[2a02::2]:5", "[2606::1]:443");
        let mut ends = Ends::default();
        ends.add(sides("[2606::1]:443", "[2a02::2]:5"), 9, true);
        ends.index([v6.local.ip()].into_iter());
        assert_eq!((ends.other_end(v6, |_| true), ends.other_end(app, |_| true)), (Some(9), None));
        assert_eq!(ends.other_end(v6, |number| number != 9), None);
        // Of a connection of somebody with themselves the end at the same port is shut down, as far as its other side goes.
        let mut ends = Ends::default();
        ends.add(sides("192.168.2.2:80", "192.168.2.2:40000"), 0, true);
        ends.add(sides("192.168.2.2:40000", "192.168.2.2:80"), 1, false);
        ends.index([app.local.ip()].into_iter());
        assert_eq!(ends.other_end(app, |_| true), None);
    }
}
