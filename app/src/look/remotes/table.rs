//! The rows, look after look: their numbers, rates and totals, and what is different from what was told before. Pure: reads no
//! clock and does no I/O; a [`Judge`] says what it can't know.
//!
//! It allocates for what is new and not for what is known: at each beat there may be thousands of rows.

use std::{
    collections::{HashMap, hash_map},
    net::IpAddr,
    time::Duration,
};

use super::{Figures, Remote, Whois, others::Others};
use crate::look::{live::Judged, rate::Bytes, sampler::Source};

/// Rows that are listed. When there are more, those go that have been idle for longest and that the source has no more.
const MOST_ROWS: usize = 20_000;
/// So many are left then, so that not every look has to make room.
const ROWS_LEFT: usize = 19_000;

/// What a source says of a cgroup and a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The cgroup's path.
    pub cgroup: &'a str,
    /// The other side's address.
    pub address: IpAddr,
    /// The other side's port; 0: the protocol has none.
    pub port: u16,
    /// The IP protocol's number.
    pub protocol: u8,
    /// Bytes received and sent since the source began to count by remote.
    pub bytes: [u64; 2],
}

/// An open socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The path of the cgroup that it was made in.
    pub cgroup: &'a str,
    /// The other side's address and port; `None`: it has none.
    pub remote: Option<(IpAddr, u16)>,
    /// The IP protocol's number.
    pub protocol: u8,
    /// What has its other end, if that is a proxy on this computer.
    pub proxy: Option<String>,
}

/// One look at the remotes.
#[derive(Debug)]
pub struct Look<'a> {
    /// Where the rows come from.
    pub source: Source,
    /// Another one: counting by remote had to start again.
    pub epoch: u64,
    /// `CLOCK_BOOTTIME` of the look.
    pub boottime_ns: u64,
    /// `false`: there are more remotes than the source tells apart.
    pub is_complete: bool,
    /// The open sockets.
    pub open: Vec<Open<'a>>,
    /// What the cgroups' own counters say: bytes received and sent, external and internal ones. `None`: unknown.
    pub counted: Option<[u64; 2]>,
    /// The longest time between two looks that makes a rate.
    pub longest: Duration,
}

/// What a cgroup is to those who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// [`Remote::app`]
    pub app: String,
    /// [`Remote::unit`]
    pub unit: String,
}

/// Says what the table can't know.
pub trait Judge {
    /// Whose a cgroup is; `None`: nobody's who is looked for. Asked once for each cgroup that has rows.
    fn place(&mut self, cgroup: &str) -> Option<Place>;
    /// Whether the source was asked for a cgroup in this look: then a row that it hasn't is one that starts again.
    fn is_asked(&mut self, cgroup: &str) -> bool;
    /// Changes when [`Self::judge`] would say something else of an address that it has judged.
    fn judgement(&self) -> u64;
    /// How the bytes to and from an address are counted; `None`: there is none. `at_proxy`: a proxy on this computer has the
    /// other end.
    fn judge(&mut self, address: Option<IpAddr>, at_proxy: bool) -> Judged;
    /// Changes when [`Self::whois`] would say something else of something that it was asked about.
    fn knowledge(&self) -> u64;
    /// What is known of the other side.
    fn whois(&mut self, address: IpAddr, port: u16, protocol: u8) -> Whois;
}

/// What is different from what was told before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Remotes that are new, or of which something else is known now.
    pub remotes: Vec<Remote>,
    /// Figures that are others than before. Of a remote that is as it was, the time is not told again.
    pub figures: Vec<Figures>,
    /// The numbers of those that are no longer listed.
    pub gone: Vec<u32>,
}

/// The other side, within a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct End {
    /// One of IPv4 in the form of IPv4.
    address: Option<IpAddr>,
    port: u16,
    protocol: u8,
}

#[derive(Debug, Default)]
struct Cgroup {
    place: Option<Place>,
    entries: HashMap<End, Entry>,
    /// The look that last had a row of it or an open socket.
    look: u64,
}

#[derive(Debug)]
struct Entry {
    remote: Remote,
    figures: Figures,
    /// From what the next growth is counted.
    counted: [u64; 2],
    /// The look that last had a row of it.
    row_look: u64,
    /// The look that last had an open socket of it.
    open_look: u64,
    /// What was told of it; `None`: nothing yet.
    told: Option<Figures>,
    /// The remote was told as it is.
    is_told: bool,
    /// With which [`Judge::judgement`] it was judged; `None`: it has to be.
    judged: Option<u64>,
    /// With which [`Judge::knowledge`] the judge was asked who it is; `None`: it has to be.
    known: Option<u64>,
}

/// What two looks have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Joint {
    /// There was none before, or of another source.
    First,
    /// Counting by remote has started again.
    Restarted,
    /// They are too far apart for a rate, or the clock says nothing.
    Apart,
    /// Seconds between them.
    Secs(f64),
}

/// All rows. See the module.
#[derive(Debug, Default)]
pub struct Table {
    cgroups: HashMap<String, Cgroup>,
    rows: usize,
    last_id: u32,
    look: u64,
    /// Source, epoch and `CLOCK_BOOTTIME` of the latest look.
    latest: Option<(Source, u64, u64)>,
    is_complete: bool,
    /// A row of the latest look had no room.
    is_full: bool,
    others: Others,
    gone: Vec<u32>,
}

impl Table {
    /// Takes in a look.
    pub fn take<'a>(&mut self, look: Look<'a>, rows: impl IntoIterator<Item = Row<'a>>, judge: &mut impl Judge) {
        if self.latest.is_some_and(|(source, ..)| source != look.source) {
            self.clear();
        }
        let joint = self.joint(&look);
        self.latest = Some((look.source, look.epoch, look.boottime_ns));
        self.is_full = false;
        self.look += 1;
        let mut growth = Bytes::default();
        for row in rows {
            growth = growth.plus(self.row(&row, joint, look.boottime_ns, judge));
        }
        for open in &look.open {
            self.socket(open, &look, judge);
        }
        self.settle(joint, judge);
        self.make_room();
        self.is_complete = look.is_complete && !self.is_full;
        let joins = matches!(joint, Joint::Secs(_));
        self.others.measure(look.counted, [growth.rx, growth.tx], joins, self.is_complete);
    }

    /// What the cgroups' own counters said right after the first look. They can't be lower then than at the look, so no byte that
    /// a row has is one of the others too.
    pub fn begin_others(&mut self, counted: [u64; 2]) {
        self.others.begin(counted);
    }

    /// Whether no look was taken in so far.
    pub fn is_new(&self) -> bool {
        self.latest.is_none()
    }

    /// Where the rows come from; `None`: there was no look.
    pub fn source(&self) -> Option<Source> {
        self.latest.map(|(source, ..)| source)
    }

    /// The epoch of the latest look; 0: there was none.
    pub fn epoch(&self) -> u64 {
        self.latest.map(|(_, epoch, _)| epoch).unwrap_or_default()
    }

    /// `CLOCK_BOOTTIME` of the latest look; 0: there was none.
    pub fn boottime_ns(&self) -> u64 {
        self.latest.map(|(.., boottime_ns)| boottime_ns).unwrap_or_default()
    }

    /// `false`: there are more remotes than are told apart.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Bytes received and sent that were counted for the cgroups but are in no row, since the first look. `None`: unknown.
    pub fn others(&self) -> Option<[u64; 2]> {
        self.others.bytes()
    }

    /// All rows, in no order that means anything.
    pub fn rows(&self) -> impl Iterator<Item = (&Remote, &Figures)> {
        self.cgroups.values().flat_map(|cgroup| cgroup.entries.values()).map(|entry| (&entry.remote, &entry.figures))
    }

    /// What is different from what was told before. `whole`: all, to somebody who knows nothing.
    pub fn changes(&mut self, whole: bool) -> Changes {
        let mut changes = Changes { gone: std::mem::take(&mut self.gone), ..Changes::default() };
        if whole {
            changes.gone.clear();
        }
        for entry in self.cgroups.values_mut().flat_map(|cgroup| cgroup.entries.values_mut()) {
            if whole || !entry.is_told {
                changes.remotes.push(entry.remote.clone());
                entry.is_told = true;
            }
            let is_same = |told: Figures| Figures { seen_ns: entry.figures.seen_ns, ..told } == entry.figures;
            if whole || !entry.told.is_some_and(is_same) {
                changes.figures.push(entry.figures);
                entry.told = Some(entry.figures);
            }
        }
        changes
    }

    /// Forgets all rows, but not which numbers they had: no other row will have one of them.
    pub fn clear(&mut self) {
        let mut gone = std::mem::take(&mut self.gone);
        let entries = self.cgroups.values().flat_map(|cgroup| cgroup.entries.values());
        gone.extend(entries.filter_map(|entry| entry.told).map(|told| told.id));
        *self = Self { last_id: self.last_id, look: self.look, gone, ..Self::default() };
    }

    fn joint(&self, look: &Look<'_>) -> Joint {
        let Some((_, epoch, before_ns)) = self.latest else { return Joint::First };
        if epoch != look.epoch {
            return Joint::Restarted;
        }
        let elapsed = Duration::from_nanos(look.boottime_ns.saturating_sub(before_ns));
        if elapsed.is_zero() || elapsed > look.longest { Joint::Apart } else { Joint::Secs(elapsed.as_secs_f64()) }
    }

    /// Takes in a row, and says by how much it has grown.
    fn row(&mut self, row: &Row<'_>, joint: Joint, boottime_ns: u64, judge: &mut impl Judge) -> Bytes {
        let nothing = Bytes::default();
        let end = End { address: Some(row.address.to_canonical()), port: row.port, protocol: row.protocol };
        let look = self.look;
        let Some(entry) = self.entry(row.cgroup, end, judge) else { return nothing };
        let again = std::mem::replace(&mut entry.row_look, look) == look;
        // Two of one remote, in different forms of its address.
        if again {
            return nothing;
        }
        let [before, now] = [entry.counted, row.bytes].map(|[rx, tx]| Bytes { rx, tx, ..nothing });
        entry.counted = row.bytes;
        entry.figures.bytes = Some(row.bytes);
        let is_smaller = before.at_most(now) != before;
        let grown = match joint {
            Joint::First => nothing,
            Joint::Restarted => now,
            Joint::Apart | Joint::Secs(_) if is_smaller => now,
            Joint::Apart | Joint::Secs(_) => now.since(before),
        };
        entry.figures.rate = match joint {
            Joint::Secs(secs) if !is_smaller => Some(grown.rate(secs)),
            _ => None,
        };
        if grown != nothing {
            entry.figures.seen_ns = boottime_ns;
        }
        grown
    }

    fn socket(&mut self, open: &Open<'_>, of: &Look<'_>, judge: &mut impl Judge) {
        let (address, port) = open.remote.map_or((None, 0), |(address, port)| (Some(address.to_canonical()), port));
        // Exactly counted, each datagram has a row of its own.
        if address.is_none() && of.source == Source::Exact {
            return;
        }
        let look = self.look;
        let end = End { address, port, protocol: open.protocol };
        let Some(entry) = self.entry(open.cgroup, end, judge) else { return };
        let is_first = std::mem::replace(&mut entry.open_look, look) != look;
        entry.figures.sockets = if is_first { 1 } else { entry.figures.sockets.saturating_add(1) };
        entry.figures.seen_ns = of.boottime_ns;
        let is_measured = of.source == Source::Exact || open.protocol == crate::look::sampler::Protocol::Tcp.number();
        if entry.figures.bytes.is_none() && is_measured {
            entry.figures.bytes = Some([0, 0]);
        }
        if is_first && entry.remote.proxy != open.proxy || entry.remote.proxy.is_none() && open.proxy.is_some() {
            entry.remote.proxy.clone_from(&open.proxy);
            (entry.judged, entry.is_told) = (None, false);
        }
    }

    /// The entry of a remote; `None`: nobody looks for its cgroup, or there is no room.
    fn entry(&mut self, cgroup: &str, end: End, judge: &mut impl Judge) -> Option<&mut Entry> {
        // A look-up by the key alone, so that no path is copied for a cgroup that is known.
        if !self.cgroups.contains_key(cgroup) {
            let place = judge.place(cgroup);
            self.cgroups.insert(cgroup.to_owned(), Cgroup { place, ..Cgroup::default() });
        }
        let known = self.cgroups.get_mut(cgroup)?;
        known.look = self.look;
        let Place { app, unit } = known.place.as_ref()?;
        match known.entries.entry(end) {
            hash_map::Entry::Occupied(entry) => Some(entry.into_mut()),
            hash_map::Entry::Vacant(_) if self.rows >= MOST_ROWS => {
                self.is_full = true;
                None
            }
            hash_map::Entry::Vacant(vacant) => {
                self.rows += 1;
                self.last_id = self.last_id.wrapping_add(1);
                let seen_ns = self.latest.map(|(.., boottime_ns)| boottime_ns).unwrap_or_default();
                Some(vacant.insert(Entry {
                    remote: Remote {
                        id: self.last_id,
                        app: app.clone(),
                        unit: unit.clone(),
                        cgroup: cgroup.to_owned(),
                        address: end.address,
                        port: end.port,
                        protocol: end.protocol,
                        scope: None,
                        prefix: None,
                        reason: String::new(),
                        counters: None,
                        proxy: None,
                        whois: Whois::default(),
                    },
                    figures: Figures { id: self.last_id, seen_ns, ..Figures::default() },
                    counted: [0, 0],
                    row_look: 0,
                    open_look: 0,
                    told: None,
                    is_told: false,
                    judged: None,
                    known: None,
                }))
            }
        }
    }

    /// What was in no row and has no socket is at rest; what is new, or judged otherwise by now, is judged.
    fn settle(&mut self, joint: Joint, judge: &mut impl Judge) {
        let look = self.look;
        let (judgement, knowledge) = (judge.judgement(), judge.knowledge());
        self.cgroups.retain(|_, known| known.look == look || !known.entries.is_empty());
        for (path, known) in &mut self.cgroups {
            let is_asked = judge.is_asked(path);
            for entry in known.entries.values_mut() {
                if entry.open_look != look {
                    entry.figures.sockets = 0;
                }
                if entry.row_look != look {
                    entry.rest(joint, is_asked);
                }
                if entry.judged != Some(judgement) {
                    entry.judged = Some(judgement);
                    entry.judge(judge);
                }
                if entry.known != Some(knowledge) {
                    entry.known = Some(knowledge);
                    entry.name(judge);
                }
            }
        }
    }

    /// Lets those go that have been idle for longest, where there are too many.
    fn make_room(&mut self) {
        if self.rows < MOST_ROWS {
            return;
        }
        let look = self.look;
        let is_idle = move |entry: &Entry| entry.row_look != look && entry.open_look != look;
        let entries = self.cgroups.values().flat_map(|cgroup| cgroup.entries.values());
        let mut idle: Vec<_> =
            entries.filter(|entry| is_idle(entry)).map(|entry| (entry.figures.seen_ns, entry.remote.id)).collect();
        idle.sort_unstable();
        idle.truncate(self.rows - ROWS_LEFT);
        let Some(last) = idle.last().copied() else { return };
        for cgroup in self.cgroups.values_mut() {
            let gone = cgroup
                .entries
                .extract_if(|_, entry| is_idle(entry) && (entry.figures.seen_ns, entry.remote.id) <= last);
            for (_, entry) in gone {
                self.rows -= 1;
                self.gone.extend(entry.told.map(|told| told.id));
            }
        }
    }
}

impl Entry {
    /// The source has no row of it in this look.
    fn rest(&mut self, joint: Joint, is_asked: bool) {
        if self.figures.bytes.is_none() {
            return;
        }
        self.figures.rate = match joint {
            Joint::Secs(_) => Some(crate::look::rate::Rate::default()),
            _ => None,
        };
        // A row that comes again begins with nothing.
        if is_asked {
            self.counted = [0, 0];
        }
    }

    fn judge(&mut self, judge: &mut impl Judge) {
        let Judged { scope, prefix, reason, counters } = judge.judge(self.remote.address, self.remote.proxy.is_some());
        let remote = &mut self.remote;
        let before = (remote.scope, &remote.prefix, &remote.reason, remote.counters);
        self.is_told &= before == (scope, &prefix, &reason, counters);
        (remote.scope, remote.prefix, remote.reason, remote.counters) = (scope, prefix, reason, counters);
    }

    fn name(&mut self, judge: &mut impl Judge) {
        let Some(address) = self.remote.address else { return };
        let whois = judge.whois(address, self.remote.port, self.remote.protocol);
        if whois != self.remote.whois {
            self.remote.whois = whois;
            self.is_told = false;
        }
    }
}
