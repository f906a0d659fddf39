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
pub const MOST_ROWS: usize = 20_000;
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
        self.settle(joint, look.is_complete, judge);
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
            // Before, nothing was asked for that there was.
            return if epoch == 0 { Joint::First } else { Joint::Restarted };
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
        // Where counting has started again for others alone, this one may have moved nothing.
        if grown != nothing && now != before {
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
    fn settle(&mut self, joint: Joint, is_complete: bool, judge: &mut impl Judge) {
        let look = self.look;
        let (judgement, knowledge) = (judge.judgement(), judge.knowledge());
        self.cgroups.retain(|_, known| known.look == look || !known.entries.is_empty());
        for (path, known) in &mut self.cgroups {
            // A source that leaves rows out may have left out this one.
            let begins_anew = judge.is_asked(path) && (is_complete || joint == Joint::Restarted);
            for entry in known.entries.values_mut() {
                if entry.open_look != look {
                    entry.figures.sockets = 0;
                }
                if entry.row_look != look {
                    entry.rest(joint, begins_anew);
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
    /// The source has no row of it in this look. `begins_anew`: one that comes again begins with nothing.
    fn rest(&mut self, joint: Joint, begins_anew: bool) {
        if self.figures.bytes.is_none() {
            return;
        }
        self.figures.rate = match joint {
            Joint::Secs(_) => Some(crate::look::rate::Rate::default()),
            _ => None,
        };
        if begins_anew {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::live::Side;

    const SEC: u64 = 1_000_000_000;

    /// Knows everybody's cgroup but /nobody.
    #[derive(Default)]
    struct Fake {
        judgement: u64,
        knowledge: u64,
        /// How often it was asked for a verdict, and for a name.
        judged: usize,
        named: usize,
        is_asked: bool,
    }

    impl Judge for Fake {
        fn place(&mut self, cgroup: &str) -> Option<Place> {
            (cgroup != "/nobody").then(|| Place { app: "app".into(), unit: cgroup.into() })
        }
        fn is_asked(&mut self, _: &str) -> bool {
            self.is_asked
        }
        fn judgement(&self) -> u64 {
            self.judgement
        }
        fn judge(&mut self, address: Option<IpAddr>, at_proxy: bool) -> Judged {
            self.judged += 1;
            let scope = address.map(|_| if at_proxy { Side::Internal } else { Side::External });
            Judged { scope, prefix: None, reason: self.judgement.to_string(), counters: None }
        }
        fn knowledge(&self) -> u64 {
            self.knowledge
        }
        fn whois(&mut self, _: IpAddr, _: u16, _: u8) -> Whois {
            self.named += 1;
            Whois { service: Some(self.knowledge.to_string()), ..Whois::default() }
        }
    }

    fn look<'a>(source: Source, epoch: u64, secs: u64) -> Look<'a> {
        Look {
            source,
            epoch,
            boottime_ns: secs * SEC,
            is_complete: true,
            open: Vec::new(),
            counted: None,
            longest: Duration::from_secs(4),
        }
    }

    fn row(cgroup: &'static str, address: &str, rx: u64) -> Row<'static> {
        Row { cgroup, address: address.parse().unwrap(), port: 443, protocol: 6, bytes: [rx, 2 * rx] }
    }

    fn open(cgroup: &'static str, address: Option<&str>, protocol: u8, proxy: Option<&str>) -> Open<'static> {
        let remote = address.map(|address| (address.parse().unwrap(), 443));
        Open { cgroup, remote, protocol, proxy: proxy.map(str::to_owned) }
    }

    /// Number, address, bytes received, rate of them, sockets.
    type Shown = (u32, String, Option<u64>, Option<f64>, u32);

    /// All rows, sorted by number.
    fn shown(table: &Table) -> Vec<Shown> {
        let mut rows: Vec<_> = table
            .rows()
            .map(|(remote, figures)| {
                let address = remote.address.map(|address| address.to_string()).unwrap_or_default();
                let (bytes, rate) = (figures.bytes.map(|[rx, _]| rx), figures.rate.map(|rate| rate.rx));
                assert_eq!(figures.id, remote.id);
                (remote.id, address, bytes, rate, figures.sockets)
            })
            .collect();
        rows.sort_by_key(|row| row.0);
        rows
    }

    #[test]
    fn rates_are_between_two_looks_that_belong_together() {
        use Source::{Estimate, Exact};
        let mut table = Table::default();
        let mut fake = Fake { is_asked: true, ..Fake::default() };
        let mut check = |look: Look<'static>, rows: &[(&str, u64)], expected: &[(u32, Option<u64>, Option<f64>)]| {
            let secs = look.boottime_ns / SEC;
            table.take(look, rows.iter().map(|(address, rx)| row("/a", address, *rx)), &mut fake);
            let found: Vec<_> = shown(&table).into_iter().map(|(id, _, bytes, rate, _)| (id, bytes, rate)).collect();
            assert_eq!(found, expected, "at {secs} s");
        };
        let (a, b) = ("8.8.8.8", "2606::1");
        check(look(Exact, 1, 10), &[(a, 100)], &[(1, Some(100), None)]);
        check(look(Exact, 1, 12), &[(a, 150), (b, 8)], &[(1, Some(150), Some(25.0)), (2, Some(8), Some(4.0))]);
        check(look(Exact, 1, 13), &[(a, 150)], &[(1, Some(150), Some(0.0)), (2, Some(8), Some(0.0))]);
        check(look(Exact, 1, 14), &[(a, 149), (b, 3)], &[(1, Some(149), None), (2, Some(3), Some(3.0))]);
        check(look(Exact, 1, 15), &[(a, 150), (b, 3)], &[(1, Some(150), Some(1.0)), (2, Some(3), Some(0.0))]);
        check(look(Exact, 1, 99), &[(a, 151), (b, 3)], &[(1, Some(151), None), (2, Some(3), None)]);
        check(look(Exact, 2, 100), &[(a, 9)], &[(1, Some(9), None), (2, Some(3), None)]);
        check(look(Exact, 2, 101), &[(a, 10)], &[(1, Some(10), Some(1.0)), (2, Some(3), Some(0.0))]);
        // From another source nothing is known of what was before, and no number comes again.
        check(look(Estimate, 2, 102), &[(a, 10)], &[(3, Some(10), None)]);
    }

    #[test]
    fn a_row_that_was_not_asked_for_goes_on_where_it_was() {
        let mut table = Table::default();
        let mut fake = Fake::default();
        let mut rate = |secs, rows: &[u64]| {
            table.take(look(Source::Exact, 1, secs), rows.iter().map(|rx| row("/a", "8.8.8.8", *rx)), &mut fake);
            shown(&table)[0].3
        };
        assert_eq!([rate(1, &[100]), rate(2, &[]), rate(3, &[107])], [None, Some(0.0), Some(7.0)]);
    }

    #[test]
    fn a_row_that_was_left_out_goes_on_where_it_was() {
        let mut table = Table::default();
        let mut fake = Fake { is_asked: true, ..Fake::default() };
        let mut rate = |epoch, secs, is_complete, rows: &[u64]| {
            let look = Look { is_complete, ..look(Source::Exact, epoch, secs) };
            table.take(look, rows.iter().map(|rx| row("/a", "8.8.8.8", *rx)), &mut fake);
            shown(&table)[0].3
        };
        assert_eq!(
            [rate(1, 1, true, &[100]), rate(1, 2, false, &[]), rate(1, 3, true, &[107])],
            [None, Some(0.0), Some(7.0)]
        );
        assert_eq!([rate(1, 4, true, &[]), rate(1, 5, true, &[5])], [Some(0.0), Some(5.0)], "it began anew");
        assert_eq!([rate(2, 6, false, &[]), rate(2, 7, true, &[9])], [None, Some(9.0)], "and so did all");
    }

    #[test]
    fn a_row_that_is_as_it_was_was_not_seen() {
        let mut table = Table::default();
        let mut fake = Fake { is_asked: true, ..Fake::default() };
        let mut seen = |epoch, secs, rx| {
            table.take(look(Source::Exact, epoch, secs), [row("/a", "8.8.8.8", rx)], &mut fake);
            table.rows().next().unwrap().1.seen_ns / SEC
        };
        assert_eq!(
            [seen(1, 1, 100), seen(1, 2, 100), seen(1, 3, 101), seen(2, 4, 101), seen(3, 5, 7)],
            [1, 1, 3, 3, 5]
        );
    }

    #[test]
    fn open_sockets_are_rows_too() {
        let mut table = Table::default();
        let mut fake = Fake::default();
        let sockets = || {
            vec![
                open("/a", Some("8.8.8.8"), 6, None),
                open("/a", Some("::ffff:8.8.8.8"), 6, None),
                open("/a", Some("1.1.1.1"), 17, None),
                open("/a", None, 17, None),
                open("/nobody", Some("9.9.9.9"), 6, None),
            ]
        };
        let tcp = || [row("/a", "8.8.8.8", 5), row("/nobody", "9.9.9.9", 5)];
        table.take(Look { open: sockets(), ..look(Source::Estimate, 0, 1) }, tcp(), &mut fake);
        let expected = [
            (1, "8.8.8.8".to_owned(), Some(5), None, 2),
            (2, "1.1.1.1".to_owned(), None, None, 1),
            (3, String::new(), None, None, 1),
        ];
        assert_eq!(shown(&table), expected);
        table.take(look(Source::Estimate, 0, 2), tcp(), &mut fake);
        let rates: Vec<_> = shown(&table).into_iter().map(|(.., rate, sockets)| (rate, sockets)).collect();
        assert_eq!(rates, [(Some(0.0), 0), (None, 0), (None, 0)], "they stay listed");
        // Exactly counted, UDP has bytes, and what has no peer is in the rows.
        let mut table = Table::default();
        table.take(Look { open: sockets(), ..look(Source::Exact, 0, 1) }, tcp(), &mut fake);
        let found: Vec<_> = shown(&table).into_iter().map(|(_, address, bytes, ..)| (address, bytes)).collect();
        assert_eq!(found, [("8.8.8.8".to_owned(), Some(5)), ("1.1.1.1".to_owned(), Some(0))]);
    }

    #[test]
    fn only_what_is_different_is_told() {
        let mut table = Table::default();
        let mut fake = Fake::default();
        let mut take = |secs, judgement, knowledge, rows: &[(&str, u64)], open: Vec<Open<'static>>, whole| {
            (fake.judgement, fake.knowledge) = (judgement, knowledge);
            let look = Look { open, ..look(Source::Exact, 1, secs) };
            table.take(look, rows.iter().map(|(address, rx)| row("/a", address, *rx)), &mut fake);
            let changes = table.changes(whole);
            let ids = |ids: Vec<u32>| {
                let mut ids = ids;
                ids.sort_unstable();
                ids
            };
            let remotes = ids(changes.remotes.iter().map(|remote| remote.id).collect());
            (remotes, ids(changes.figures.iter().map(|figures| figures.id).collect()), (fake.judged, fake.named))
        };
        let (a, b) = ("8.8.8.8", "1.1.1.1");
        let socket = |proxy| vec![open("/a", Some(a), 6, proxy)];
        assert_eq!(take(1, 0, 0, &[(a, 5), (b, 5)], vec![], false), (vec![1, 2], vec![1, 2], (2, 2)));
        assert_eq!(take(2, 0, 0, &[(a, 9), (b, 5)], vec![], false), (vec![], vec![1, 2], (2, 2)), "rates begin");
        assert_eq!(take(3, 0, 0, &[(a, 9), (b, 5)], vec![], false), (vec![], vec![1], (2, 2)), "it came to rest");
        assert_eq!(take(4, 0, 0, &[(a, 9), (b, 5)], vec![], false), (vec![], vec![], (2, 2)));
        assert_eq!(take(5, 0, 0, &[(a, 9), (b, 5)], socket(None), false), (vec![], vec![1], (2, 2)));
        assert_eq!(take(6, 0, 0, &[(a, 9), (b, 5)], socket(None), false), (vec![], vec![], (2, 2)), "still open");
        assert_eq!(take(7, 0, 0, &[(a, 9), (b, 5)], socket(Some("p")), false), (vec![1], vec![], (3, 2)));
        assert_eq!(take(8, 0, 0, &[(a, 9), (b, 5)], vec![], false), (vec![], vec![1], (3, 2)), "a proxy's for good");
        assert_eq!(take(9, 1, 0, &[(a, 9), (b, 5)], vec![], false), (vec![1, 2], vec![], (5, 2)));
        assert_eq!(take(10, 1, 7, &[(a, 9), (b, 5)], vec![], false), (vec![1, 2], vec![], (5, 4)));
        assert_eq!(take(11, 1, 7, &[(a, 9), (b, 5)], vec![], true), (vec![1, 2], vec![1, 2], (5, 4)), "all of it");
        table.clear();
        assert_eq!(table.rows().count(), 0);
        let mut gone = table.changes(false).gone;
        gone.sort_unstable();
        assert_eq!(gone, [1, 2]);
    }

    #[test]
    fn what_has_been_idle_for_longest_makes_room() {
        let mut table = Table::default();
        let mut fake = Fake::default();
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        let mut take = |table: &mut Table, secs, from: usize, to: usize| {
            let rows = (from..to).map(|n| Row { address: address(n), ..row("/a", "::", 1) });
            table.take(look(Source::Exact, 1, secs), rows, &mut fake);
        };
        take(&mut table, 1, 0, 3000);
        table.changes(false);
        take(&mut table, 2, 3000, MOST_ROWS - 1);
        assert_eq!((table.rows().count(), table.is_complete()), (MOST_ROWS - 1, true));
        take(&mut table, 3, MOST_ROWS - 1, MOST_ROWS + 10);
        assert_eq!((table.rows().count(), table.is_complete()), (ROWS_LEFT, false), "some had no room");
        assert_eq!(table.changes(false).gone.len(), MOST_ROWS - ROWS_LEFT, "the oldest of the first look");
        take(&mut table, 4, MOST_ROWS - 1, MOST_ROWS + 10);
        assert_eq!((table.rows().count(), table.is_complete()), (ROWS_LEFT + 10, true));
        assert!(table.rows().all(|(remote, _)| remote.address.unwrap() >= address(1000)));
    }

    #[test]
    fn the_others_are_what_is_in_no_row() {
        let mut table = Table::default();
        let mut fake = Fake { is_asked: true, ..Fake::default() };
        let mut others = |secs, counted: u64, rx: &[u64], is_complete| {
            let look = Look { counted: Some([counted, 2 * counted]), is_complete, ..look(Source::Exact, 1, secs) };
            table.take(look, rx.iter().map(|rx| row("/a", "8.8.8.8", *rx)), &mut fake);
            if secs == 1 {
                table.begin_others([counted + 50, 2 * counted + 100]);
            }
            table.others()
        };
        assert_eq!(others(1, 1000, &[500], false), Some([0, 0]));
        assert_eq!(others(2, 1060, &[510], false), Some([0, 0]), "10 more since the counters were read again");
        assert_eq!(others(3, 1100, &[520], false), Some([30, 60]));
        assert_eq!(others(4, 1100, &[], true), Some([0, 0]), "no more than it was at its least");
    }
}
