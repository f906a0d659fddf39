//! The estimate's books: cumulative bytes for each cgroup path, from what the kernel reports for each socket. Pure.
//!
//! A connection has one scope from its first byte to its last. It is that of its address, unless a proxy on this host is found
//! at its other end while the connection is new.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use netglance_dbus::{
    cgroup::Tree,
    sample::Row,
    scope::{Prefixes, Scope},
};

use super::{IPPROTO_TCP, Listed, Transferred};
use crate::look::{
    remotes::Row as RemoteRow,
    sampler::ends::{Ends, Sides},
};

/// After so many looks a socket is forgotten that is neither listed nor reported as destroyed.
const FORGET_AFTER: u64 = 8;
/// In so many looks a proxy on this host is sought at the other end of a new connection. It is there from the first look on,
/// but a list that was being made at that moment may lack it.
const PROXY_SOUGHT: u8 = 2;
/// Remotes that are told apart; then those go that have moved nothing for longest.
const MOST_REMOTES: usize = 16_384;

/// Of all sockets that a look has listed.
#[derive(Debug, Default)]
pub(super) struct Books {
    look: u64,
    sockets: HashMap<u64, Known>,
    pub(super) rows: Vec<Row>,
    row_of_path: HashMap<String, usize>,
    /// By cgroup id: a path is looked up once, and a removed cgroup keeps it.
    pub(super) row_of_id: HashMap<u64, usize>,
    /// This look's connections, one of which may be a proxy's.
    ends: Ends,
    /// This look's new connections to outside addresses, by cookie, with their bytes.
    outside: Vec<(u64, Sides, Transferred)>,
    /// Whether there was a connection to a proxy on this host.
    has_proxy: bool,
    /// What was moved with each remote; `None`: nobody asks.
    remotes: Option<HashMap<Remote, Moved>>,
    /// What was moved with external addresses by each socket since it was last taken; `None`: nobody asks.
    by_socket: Option<HashMap<u64, OfSocket>>,
}

/// A socket as it is told to who tells sockets apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfSocket {
    /// Its cookie, which no other socket of this boot has.
    pub cookie: u64,
    /// The number in /proc/PID/fd's `socket:[…]`; 0 where no process has it (any more).
    pub inode: u32,
    /// The path of its cgroup.
    pub cgroup: String,
    /// It is gone: these are its last figures.
    pub is_gone: bool,
    /// External bytes received and sent over TCP since the look before.
    pub bytes: [u64; 2],
}

/// A remote of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Remote {
    row: usize,
    /// One of IPv4 in the form of IPv4.
    address: IpAddr,
    port: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    bytes: Transferred,
    /// The last look that booked any.
    look: u64,
}

#[derive(Debug)]
struct Known {
    row: usize,
    inode: u32,
    bytes: Transferred,
    look: u64,
    /// The first look that has listed it.
    since: u64,
    /// `None`: that of its address, as no proxy was found at its other end so far.
    scope: Option<Scope>,
    /// In how many looks one was sought.
    sought: u8,
}

/// What a look makes of a socket.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// It was listed before in this look.
    Again,
    /// Its address is outside, and whether a proxy here is at its other end is not settled.
    Outside,
    /// How much it has moved, and its scope if something other than its address decides that.
    Moved(Transferred, Option<Scope>),
}

impl Known {
    fn listed(&mut self, look: u64, bytes: Transferred, is_outside: impl FnOnce() -> bool) -> Seen {
        if std::mem::replace(&mut self.look, look) == look {
            return Seen::Again;
        }
        if self.sought < PROXY_SOUGHT {
            if is_outside() {
                return Seen::Outside;
            }
            self.sought = PROXY_SOUGHT;
        }
        Seen::Moved(advance(&mut self.bytes, bytes), self.scope)
    }
}

impl Books {
    pub(super) fn begin(&mut self) {
        self.look += 1;
        self.ends.clear();
        self.outside.clear();
    }

    /// A living socket. What it moved before the first look is not counted. If it is new in a later look, all of it is.
    pub(super) fn listed(&mut self, socket: &Listed, tree: &Tree, prefixes: &Prefixes) {
        // Between loopback addresses there is no proxy's end for an outside connection: those are most of all, and cost nothing.
        let sides = (!socket.is_loopback()).then(|| Sides::new(socket.local, socket.remote));
        if let Some(sides) = sides {
            self.ends.add(sides, socket.cookie, socket.is_answered());
        }
        let (Some(id), Some(bytes)) = (socket.cgroup_id, socket.bytes) else { return };
        let (look, cookie) = (self.look, socket.cookie);
        let is_outside = || prefixes.judge(socket.remote.ip()).scope == Scope::External;
        let (seen, row) = match self.sockets.get_mut(&cookie) {
            Some(known) => {
                // One that waits to be accepted has none yet, and one that was closed none any more.
                if socket.inode != 0 {
                    known.inode = socket.inode;
                }
                (known.listed(look, bytes, is_outside), known.row)
            }
            None => {
                let Some(row) = self.row(id, tree) else { return };
                let before = if look > 1 { Transferred::default() } else { bytes };
                let mut known =
                    Known { row, inode: socket.inode, bytes: before, look: 0, since: look, scope: None, sought: 0 };
                let seen = known.listed(look, bytes, is_outside);
                self.sockets.insert(cookie, known);
                (seen, row)
            }
        };
        match seen {
            Seen::Again => {}
            Seen::Outside => {
                let sides = sides.unwrap_or_else(|| Sides::new(socket.local, socket.remote));
                self.outside.push((cookie, sides, bytes));
            }
            Seen::Moved(moved, scope) => {
                let scope = || scope.unwrap_or_else(|| prefixes.judge(socket.remote.ip()).scope);
                self.book(cookie, row, socket.remote, moved, scope);
            }
        }
    }

    /// To be called when all are listed: books the new connections to external addresses. Those that end at a proxy on this host
    /// are booked as internal.
    pub(super) fn judge_outside(&mut self) {
        let outside = std::mem::take(&mut self.outside);
        self.ends.index(outside.iter().map(|(_, sides, _)| sides.local.ip()));
        for (cookie, sides, bytes) in &outside {
            let Some(since) = self.sockets.get(cookie).map(|known| known.since) else { continue };
            // The connection itself makes its proxy's end. What is older (but for a list that was under way just then) is
            // nobody's, or somebody keeps it to hide what others move.
            let possible = |end| self.sockets.get(&end).is_none_or(|end: &Known| end.since.saturating_add(1) >= since);
            let end = self.ends.other_end(*sides, possible);
            let Some(known) = self.sockets.get_mut(cookie) else { continue };
            let first = known.sought == 0;
            known.sought += 1;
            let scope = match end {
                Some(_) => Scope::Internal,
                // The proxy's end may be missing by chance: the next look tells.
                None if first && self.has_proxy => continue,
                None => Scope::External,
            };
            if scope == Scope::Internal {
                (known.scope, known.sought, self.has_proxy) = (Some(scope), PROXY_SOUGHT, true);
            }
            let row = known.row;
            let moved = advance(&mut known.bytes, *bytes);
            self.book(*cookie, row, sides.remote, moved, || scope);
        }
        self.outside = outside;
    }

    /// A destroyed socket's last figures. If no look ever listed it, its cgroup is unknown and it stays uncounted.
    pub(super) fn destroyed(&mut self, socket: &Listed, prefixes: &Prefixes) {
        let Some(mut known) = self.sockets.remove(&socket.cookie) else { return };
        if let Some(bytes) = socket.bytes {
            let moved = advance(&mut known.bytes, bytes);
            let scope = || known.scope.unwrap_or_else(|| prefixes.judge(socket.remote.ip()).scope);
            self.book(socket.cookie, known.row, socket.remote, moved, scope);
        }
        if let Some(of_socket) = &mut self.by_socket {
            of_socket.entry(socket.cookie).or_default().is_gone = true;
        }
    }

    pub(super) fn end(&mut self) {
        let look = self.look;
        self.sockets.retain(|_, known| look - known.look < FORGET_AFTER);
        if let Some(remotes) = self.remotes.as_mut().filter(|remotes| remotes.len() > MOST_REMOTES) {
            let mut looks: Vec<_> = remotes.values().map(|moved| moved.look).collect();
            looks.sort_unstable();
            // A quarter of the room is made at once, so that not every look has to.
            let oldest = looks.get(remotes.len() - MOST_REMOTES / 4 * 3).copied().unwrap_or_default();
            remotes.retain(|_, moved| moved.look > oldest || moved.look == look);
        }
    }

    /// Begins to tell remotes apart, unless it does already; or ends it and forgets them.
    pub(super) fn tell_remotes_apart(&mut self, wanted: bool) {
        self.remotes = wanted.then(|| self.remotes.take().unwrap_or_default());
    }

    /// What was moved with each remote since [`Self::tell_remotes_apart`].
    pub(super) fn remotes(&self) -> impl Iterator<Item = RemoteRow<'_>> {
        self.remotes.iter().flatten().filter_map(|(remote, moved)| {
            let cgroup = self.rows.get(remote.row)?.cgroup.as_str();
            let Remote { address, port, .. } = *remote;
            Some(RemoteRow { cgroup, address, port, protocol: IPPROTO_TCP, bytes: [moved.bytes.rx, moved.bytes.tx] })
        })
    }

    /// Begins to tell sockets apart, unless it does already; or ends it.
    pub(super) fn tell_sockets_apart(&mut self, wanted: bool) {
        self.by_socket = wanted.then(|| self.by_socket.take().unwrap_or_default());
    }

    /// The sockets that are open, and those that have moved bytes or gone since this was called last.
    pub(super) fn take_sockets(&mut self) -> Vec<OfSocket> {
        let Some(moved) = &mut self.by_socket else { return Vec::new() };
        let mut moved = std::mem::take(moved);
        let rows = &self.rows;
        let path = |row: usize| rows.get(row).map(|row| row.cgroup.clone()).unwrap_or_default();
        let open = self.sockets.iter().map(|(cookie, known)| {
            let bytes = moved.remove(cookie).map(|of_socket| of_socket.bytes).unwrap_or_default();
            OfSocket { cookie: *cookie, inode: known.inode, cgroup: path(known.row), is_gone: false, bytes }
        });
        let mut sockets: Vec<_> = open.collect();
        sockets.extend(moved.into_iter().map(|(cookie, gone)| OfSocket { cookie, is_gone: true, ..gone }));
        sockets
    }

    fn book(&mut self, cookie: u64, row: usize, remote: SocketAddr, moved: Transferred, scope: impl FnOnce() -> Scope) {
        if moved == Transferred::default() {
            return;
        }
        if let Some(remotes) = &mut self.remotes {
            let key = Remote { row, address: remote.ip().to_canonical(), port: remote.port() };
            let known = remotes.entry(key).or_default();
            known.bytes.rx = known.bytes.rx.saturating_add(moved.rx);
            known.bytes.tx = known.bytes.tx.saturating_add(moved.tx);
            known.look = self.look;
        }
        let Some(row) = self.rows.get_mut(row) else { return };
        let scope = scope();
        if let Some(of_socket) = self.by_socket.as_mut().filter(|_| scope == Scope::External) {
            let known = of_socket.entry(cookie).or_default();
            if known.cgroup.is_empty() {
                known.cgroup.clone_from(&row.cgroup);
            }
            let [rx, tx] = &mut known.bytes;
            (*rx, *tx) = (rx.saturating_add(moved.rx), tx.saturating_add(moved.tx));
        }
        let (rx, tx) = match scope {
            Scope::External => (&mut row.rx_bytes, &mut row.tx_bytes),
            Scope::Internal => (&mut row.internal_rx_bytes, &mut row.internal_tx_bytes),
        };
        *rx = rx.saturating_add(moved.rx);
        *tx = tx.saturating_add(moved.tx);
    }

    /// The row of a cgroup id; `None` for one whose path nobody can know (it is outside what is mounted here).
    fn row(&mut self, id: u64, tree: &Tree) -> Option<usize> {
        if let Some(row) = self.row_of_id.get(&id) {
            return Some(*row);
        }
        let path = tree.path(id)?;
        let row = *self.row_of_path.entry(path).or_insert_with_key(|path| {
            self.rows.push(Row { cgroup: path.clone(), ..Row::default() });
            self.rows.len() - 1
        });
        self.row_of_id.insert(id, row);
        Some(row)
    }
}

/// Sets `known` to `now` and returns the difference, which is zero for a figure that went backwards.
fn advance(known: &mut Transferred, now: Transferred) -> Transferred {
    let moved = Transferred { rx: now.rx.saturating_sub(known.rx), tx: now.tx.saturating_sub(known.tx) };
    *known = Transferred { rx: now.rx.max(known.rx), tx: now.tx.max(known.tx) };
    moved
}
