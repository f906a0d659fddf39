//! Which remotes are shown, in which order, and which of them are one row. Pure: reads no clock and draws nothing.

use std::{cmp::Ordering, collections::HashMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    kept::{Entry, Kept},
    past::Members,
    words,
};
use crate::{
    keep::history::Point,
    look::{live::Side, rate::Rate},
};

/// The rows stand in a new order so often at most. So they can be read, and clicked.
const SORTED_EVERY_NS: u64 = 2_000_000_000;
/// Of a network that has no number.
const NETWORK_LENGTHS: (u8, u8) = (24, 48);

/// What is shown of what counts how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What counts, and what may.
    External,
    /// What was left out, and what may be.
    Internal,
    /// Both.
    All,
}

/// What is one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Each remote.
    None,
    /// All with one address.
    Address,
    /// All in one network.
    Network,
    /// All at one port, by protocol.
    Port,
}

/// What the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Name or address.
    Remote,
    /// The app or the service.
    Owner,
    /// The port's number.
    Port,
    /// The protocol.
    Protocol,
    /// Network and country.
    Network,
    /// External first, and by what decided.
    Scope,
    /// The rate of what is received.
    Download,
    /// The rate of what is sent.
    Upload,
    /// Bytes.
    Received,
    /// Bytes.
    Sent,
    /// The time.
    Seen,
}

impl Column {
    /// It stands in the order of the alphabet, or of its numbers from the smallest on.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Remote | Self::Owner | Self::Port | Self::Protocol | Self::Network | Self::Scope)
    }
}

/// What a row is about. It stays the same while the row does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A remote's number.
    Remote(u32),
    /// An address; `None`: those without one.
    Address(Option<IpAddr>),
    /// The number of an autonomous system.
    System(u32),
    /// A network that is known by its addresses alone.
    Prefix(Option<IpNet>),
    /// Port and protocol.
    Port(u16, u8),
}

/// A row.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is about.
    pub key: Key,
    /// The numbers of its remotes.
    pub members: Vec<u32>,
    /// Those of them that are measured.
    pub measured: Vec<u32>,
    /// The first look that knows what it moved.
    pub since_ns: u64,
    /// Bytes received and sent; `None`: not measured.
    pub bytes: Option<[u64; 2]>,
    /// `None`: not measured, or a gap.
    pub rate: Option<Rate>,
    /// When it was last seen.
    pub seen_ns: u64,
    /// How many sockets are open.
    pub sockets: u32,
}

impl Line {
    fn new(key: Key) -> Self {
        Self {
            key,
            members: Vec::new(),
            measured: Vec::new(),
            since_ns: u64::MAX,
            bytes: None,
            rate: None,
            seen_ns: 0,
            sockets: 0,
        }
    }

    fn add(&mut self, id: u32, entry: &Entry) {
        let figures = entry.figures;
        self.members.push(id);
        if let Some([rx, tx]) = figures.bytes {
            self.measured.push(id);
            let [all_rx, all_tx] = self.bytes.unwrap_or_default();
            self.bytes = Some([all_rx.saturating_add(rx), all_tx.saturating_add(tx)]);
        }
        if let Some(rate) = figures.rate {
            let all = self.rate.unwrap_or_default();
            self.rate = Some(Rate { rx: all.rx + rate.rx, tx: all.tx + rate.tx });
        }
        self.since_ns = self.since_ns.min(entry.since_ns);
        self.seen_ns = self.seen_ns.max(figures.seen_ns);
        self.sockets = self.sockets.saturating_add(figures.sockets);
    }

    /// Whose past it has.
    pub fn past(&self) -> Members<'_> {
        Members { since_ns: self.since_ns, ids: &self.measured }
    }

    /// The first of its remotes.
    pub fn first<'a>(&self, kept: &'a Kept) -> Option<&'a Entry> {
        kept.get(*self.members.first()?)
    }

    /// What it is called.
    pub fn name(&self, kept: &Kept) -> String {
        let Some(first) = self.first(kept) else { return String::new() };
        let remote = &first.remote;
        match &self.key {
            Key::Remote(_) | Key::Address(_) => first.name.clone(),
            Key::System(number) => {
                let name = remote.whois.network.as_ref().map_or("", |(_, name)| name);
                words::operator(*number, name)
            }
            Key::Prefix(Some(net)) => net.to_string(),
            Key::Prefix(None) => words::NO_PEER.to_owned(),
            Key::Port(port, protocol) => {
                let port = words::port(*port, remote.whois.service.as_deref());
                let protocol = words::protocol(*protocol);
                if port == "–" { protocol } else { format!("{port}, {protocol}") }
            }
        }
    }

    /// How it counts and why, where that is the same for all of its remotes.
    pub fn why(&self, kept: &Kept) -> Option<String> {
        self.common(kept, |entry| {
            (entry.remote.scope, &entry.remote.prefix, &entry.remote.reason, &entry.remote.proxy)
        })?;
        self.first(kept).map(|first| words::counts(&first.remote).replace('\n', " "))
    }

    /// What all of its remotes have in common; `None`: they differ, and are of so many kinds. It is never worded twice.
    pub fn common<'a, T: PartialEq + 'a>(&self, kept: &'a Kept, of: impl Fn(&'a Entry) -> T) -> Option<T> {
        let mut values = self.members.iter().filter_map(|id| kept.get(*id)).map(of);
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }
}

/// What a person has chosen, and the rows that come of it.
#[derive(Debug)]
pub struct View {
    /// What is shown of what counts how.
    pub part: Part,
    /// What is one row.
    pub by: By,
    /// What is searched for.
    pub search: String,
    /// What the rows are sorted by.
    pub column: Column,
    /// Not as one first wants to see it: names from Z to A, figures from the smallest on.
    pub reversed: bool,
    /// The rows.
    lines: Vec<Line>,
    /// What they were made of.
    made_of: Option<(u64, Chosen)>,
    sorted_ns: u64,
    /// No rate was known when they were sorted.
    is_blind: bool,
    /// How many remotes they are.
    shown: usize,
}

/// What the rows depend on beside the remotes.
#[derive(Clone, Debug, PartialEq)]
struct Chosen {
    part: Part,
    by: By,
    search: String,
    column: Column,
    reversed: bool,
}

impl View {
    /// Begins with this part, the busiest first.
    pub fn new(part: Part) -> Self {
        Self {
            part,
            by: By::None,
            search: String::new(),
            column: Column::Download,
            reversed: false,
            lines: Vec::new(),
            made_of: None,
            sorted_ns: 0,
            is_blind: true,
            shown: 0,
        }
    }

    /// The rows from top to bottom.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// How many remotes they are.
    pub fn shown(&self) -> usize {
        self.shown
    }

    /// Makes the rows if anything is new. `held`: they keep their order. Whether they are others now.
    pub fn refresh(&mut self, kept: &Kept, held: bool) -> bool {
        let chosen = Chosen {
            part: self.part,
            by: self.by,
            search: self.search.trim().to_lowercase(),
            column: self.column,
            reversed: self.reversed,
        };
        let before = self.made_of.as_ref();
        let same = before.is_some_and(|(_, before)| *before == chosen);
        if same && before.is_some_and(|(version, _)| *version == kept.version) {
            return false;
        }
        let places: HashMap<Key, usize> = self.lines.drain(..).enumerate().map(|(at, line)| (line.key, at)).collect();
        self.lines = self.made(kept, &chosen);
        let unknown = self.lines.iter().filter(|line| !places.contains_key(&line.key)).count();
        let due = kept.now_ns.saturating_sub(self.sorted_ns) >= SORTED_EVERY_NS || 2 * unknown > self.lines.len();
        let knows_rates = self.lines.iter().any(|line| line.rate.is_some());
        // The page opens before there are rates, so the first order is not yet the one that was asked for.
        if !same || (self.is_blind && knows_rates) || (due && !held) {
            self.sort(kept);
            self.sorted_ns = kept.now_ns;
            self.is_blind = !knows_rates;
        } else {
            // What has appeared since comes last.
            self.lines.sort_by_cached_key(|line| {
                (places.get(&line.key).copied().unwrap_or(usize::MAX), line.members.first().copied())
            });
        }
        self.made_of = Some((kept.version, chosen));
        true
    }

    fn made(&mut self, kept: &Kept, chosen: &Chosen) -> Vec<Line> {
        let words: Vec<String> = chosen.search.split_whitespace().map(str::to_owned).collect();
        let wanted = |entry: &&Entry| match (chosen.part, entry.remote.scope) {
            (Part::All, _) | (_, None) => true,
            (Part::External, Some(side)) => side == Side::External,
            (Part::Internal, Some(side)) => side == Side::Internal,
        };
        let mut ids: Vec<u32> =
            kept.all().filter(wanted).filter(|entry| entry.matches(&words)).map(|entry| entry.remote.id).collect();
        ids.sort_unstable();
        self.shown = ids.len();
        let mut lines: Vec<Line> = Vec::new();
        let mut places: HashMap<Key, usize> = HashMap::new();
        for id in ids {
            let Some(entry) = kept.get(id) else { continue };
            let key = key(entry, chosen.by);
            if chosen.by == By::None {
                let mut line = Line::new(key);
                line.add(id, entry);
                lines.push(line);
                continue;
            }
            let at = *places.entry(key.clone()).or_insert(lines.len());
            if at == lines.len() {
                lines.push(Line::new(key));
            }
            if let Some(line) = lines.get_mut(at) {
                line.add(id, entry);
            }
        }
        lines
    }

    fn sort(&mut self, kept: &Kept) {
        let (column, reversed) = (self.column, self.reversed);
        let mut sorted: Vec<(Sort<'_>, Line)> =
            self.lines.drain(..).map(|line| (Sort::of(&line, kept, column), line)).collect();
        sorted.sort_by(|(a, line), (b, other)| {
            let order = if column.is_text() { a.text(b) } else { a.figure(b) };
            let order = if reversed { order.reverse() } else { order };
            order
                .then_with(|| b.total.cmp(&a.total))
                .then_with(|| a.name.cmp(b.name))
                .then_with(|| line.members.cmp(&other.members))
        });
        self.lines = sorted.into_iter().map(|(_, line)| line).collect();
    }

    /// Whether there is anything that this row is about, shown or not.
    pub fn has(&self, kept: &Kept, about: &Key) -> bool {
        match about {
            Key::Remote(id) => kept.get(*id).is_some(),
            about => kept.all().any(|entry| key(entry, self.by) == *about),
        }
    }

    /// What this row has moved in the last minutes, shown or not.
    pub fn past(&self, kept: &Kept, about: &Key) -> Vec<Point> {
        let found = |line: &Line| kept.past.points(0, &[line.past()]).pop().unwrap_or_default();
        if let Some(line) = self.line(about) {
            return found(line);
        }
        let mut line = Line::new(about.clone());
        for entry in kept.all().filter(|entry| key(entry, self.by) == *about) {
            line.add(entry.remote.id, entry);
        }
        found(&line)
    }

    /// The row about this, if it is shown.
    pub fn line(&self, key: &Key) -> Option<&Line> {
        self.lines.iter().find(|line| line.key == *key)
    }
}

/// What a row is sorted by.
struct Sort<'a> {
    figure: f64,
    words: [&'a str; 2],
    total: u64,
    name: &'a str,
}

impl<'a> Sort<'a> {
    #[expect(clippy::cast_precision_loss, reason = "an order")]
    fn of(line: &Line, kept: &'a Kept, column: Column) -> Self {
        let [rx, tx] = line.bytes.unwrap_or_default();
        let first = line.first(kept);
        let name = first.map_or("", |entry| entry.name_key.as_str());
        // What isn't known stands below nothing.
        let rate = |of: fn(Rate) -> f64| line.rate.map_or(-1.0, of);
        let bytes = |bytes: u64| if line.bytes.is_some() { bytes as f64 } else { -1.0 };
        let (figure, words) = match (column, first) {
            (Column::Download, _) => (rate(|rate| rate.rx), [""; 2]),
            (Column::Upload, _) => (rate(|rate| rate.tx), [""; 2]),
            (Column::Received, _) => (bytes(rx), [""; 2]),
            (Column::Sent, _) => (bytes(tx), [""; 2]),
            (Column::Seen, _) => (if line.sockets > 0 { f64::INFINITY } else { line.seen_ns as f64 }, [""; 2]),
            (_, None) => (0.0, [""; 2]),
            (Column::Remote, Some(_)) => (0.0, [name, ""]),
            (Column::Owner, Some(entry)) => (0.0, [entry.owner.as_str(), ""]),
            (Column::Port, Some(entry)) => (f64::from(entry.remote.port), [""; 2]),
            (Column::Protocol, Some(entry)) => (f64::from(entry.remote.protocol), [""; 2]),
            // Those of which nothing is known come last.
            (Column::Network, Some(entry)) => {
                (f64::from(u8::from(entry.network.is_empty())), [entry.network.as_str(), ""])
            }
            (Column::Scope, Some(Entry { remote, .. })) => {
                let side = match remote.scope {
                    Some(Side::External) => 0.0,
                    Some(Side::Internal) => 1.0,
                    None => 2.0,
                };
                (side, [remote.prefix.as_deref().unwrap_or_default(), remote.reason.as_str()])
            }
        };
        Self { figure, words, total: rx.saturating_add(tx), name }
    }

    /// From the smallest on.
    fn text(&self, other: &Self) -> Ordering {
        self.figure.total_cmp(&other.figure).then_with(|| self.words.cmp(&other.words))
    }

    /// From the largest on.
    fn figure(&self, other: &Self) -> Ordering {
        other.figure.total_cmp(&self.figure)
    }
}

/// The row that a remote belongs to.
fn key(entry: &Entry, by: By) -> Key {
    let remote = &entry.remote;
    match by {
        By::None => Key::Remote(remote.id),
        By::Address => Key::Address(remote.address),
        By::Port => Key::Port(remote.port, remote.protocol),
        By::Network => match (&remote.whois.network, remote.address) {
            (Some((number, _)), _) => Key::System(*number),
            (None, Some(address)) => {
                let (v4, v6) = NETWORK_LENGTHS;
                let length = if address.is_ipv4() { v4 } else { v6 };
                Key::Prefix(IpNet::new(address, length).ok().map(|net| net.trunc()))
            }
            (None, None) => Key::Prefix(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        look::{
            remotes::{Figures, Remote, Whois},
            sampler::Source,
        },
        show::update::{Connections, Update},
    };

    const SEC: u64 = 1_000_000_000;

    fn remote(id: u32, address: &str, port: u16, scope: Option<Side>) -> Remote {
        Remote {
            id,
            app: String::new(),
            unit: format!("{}.service", id % 2),
            cgroup: String::new(),
            address: address.parse().ok(),
            port,
            protocol: if id == 5 { 17 } else { 6 },
            scope,
            prefix: None,
            reason: "a reason".into(),
            counters: None,
            proxy: None,
            whois: Whois::default(),
        }
    }

    fn moved(id: u32, rx: u32) -> Figures {
        let rate = Some(Rate { rx: f64::from(rx), tx: 1.0 });
        Figures { id, bytes: Some([u64::from(rx) * 10, 1]), rate, seen_ns: 0, sockets: 0 }
    }

    fn update(secs: u64, is_whole: bool, remotes: Vec<Remote>, figures: Vec<Figures>) -> Update {
        let connections = Connections {
            source: Source::Exact,
            boottime_ns: secs * SEC,
            is_whole,
            remotes,
            figures,
            gone: Vec::new(),
            is_complete: true,
            others: None,
            failure: None,
        };
        Update { connections: Some(connections), ..Update::default() }
    }

    fn kept() -> Kept {
        let (external, internal) = (Some(Side::External), Some(Side::Internal));
        let mut remotes = vec![
            remote(1, "93.184.216.34", 443, external),
            remote(2, "93.184.216.34", 80, external),
            remote(3, "93.184.216.35", 443, external),
            remote(4, "10.0.0.1", 443, internal),
            remote(5, "", 0, None),
            remote(6, "2606:2800:220:1::1", 443, external),
            remote(7, "2606:2800:220:2::1", 443, external),
        ];
        for remote in &mut remotes[5..] {
            remote.whois.network = Some((15133, "Edgecast".into()));
        }
        let figures = [1, 2, 3, 4, 6, 7].map(|id| moved(id, id * 100));
        let mut kept = Kept::default();
        kept.receive(&update(10, true, remotes, figures.to_vec()));
        kept
    }

    fn ids(view: &View) -> Vec<u32> {
        view.lines().iter().map(|line| line.members[0]).collect()
    }

    #[test]
    fn what_is_chosen_is_shown_in_the_order_that_is_chosen() {
        let kept = kept();
        let mut view = View::new(Part::External);
        assert!(view.refresh(&kept, false));
        assert!(!view.refresh(&kept, false), "nothing is made twice");
        assert_eq!(ids(&view), [7, 6, 3, 2, 1, 5], "what isn't measured comes last");
        view.reversed = true;
        view.refresh(&kept, true);
        assert_eq!(ids(&view), [5, 1, 2, 3, 6, 7]);
        (view.part, view.reversed, view.column) = (Part::Internal, false, Column::Remote);
        view.refresh(&kept, false);
        assert_eq!(ids(&view), [4, 5]);
        view.part = Part::All;
        for (search, expected) in [
            ("  443   93.184 ", vec![1, 3]),
            ("edgecast", vec![6, 7]),
            ("[2606:2800:220:1::1]:443", vec![6]),
            ("1.service udp", vec![5]),
            ("INTERNAL", vec![4]),
            ("nobody", Vec::new()),
        ] {
            view.search = search.to_owned();
            view.refresh(&kept, false);
            assert_eq!(ids(&view), expected, "{search}");
        }
    }

    #[test]
    fn some_remotes_are_one_row() {
        let kept = kept();
        let mut view = View::new(Part::All);
        let mut groups = |by| {
            (view.by, view.column) = (by, Column::Download);
            view.refresh(&kept, false);
            let line = |line: &Line| (line.name(&kept), line.members.clone(), line.rate.map(|rate| rate.rx));
            view.lines().iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            groups(By::Network),
            [
                ("Edgecast".into(), vec![6, 7], Some(1300.0)),
                ("93.184.216.0/24".into(), vec![1, 2, 3], Some(600.0)),
                ("10.0.0.0/24".into(), vec![4], Some(400.0)),
                ("No fixed remote".to_owned(), vec![5], None),
            ]
        );
        assert_eq!(groups(By::Port)[0], ("443, TCP".to_owned(), vec![1, 3, 4, 6, 7], Some(2100.0)));
        assert_eq!(groups(By::Address)[3], ("93.184.216.34".to_owned(), vec![1, 2], Some(300.0)));
        let line = view.line(&Key::Address("93.184.216.34".parse().ok())).unwrap();
        assert_eq!((line.bytes, line.measured.len()), (Some([3000, 2]), 2));
        assert_eq!(line.common(&kept, |entry| entry.remote.port), None);
        assert_eq!(line.common(&kept, |entry| entry.remote.protocol), Some(6));
    }

    #[test]
    fn rows_keep_their_order_for_a_while_and_while_they_are_held() {
        let mut kept = kept();
        let mut view = View::new(Part::External);
        view.refresh(&kept, false);
        let new = || vec![remote(8, "1.1.1.1", 53, Some(Side::External))];
        kept.receive(&update(11, false, new(), vec![moved(1, 9000), moved(8, 8000)]));
        assert!(view.refresh(&kept, false));
        assert_eq!(ids(&view), [7, 6, 3, 2, 1, 5, 8], "it is too early");
        assert_eq!(view.line(&Key::Remote(1)).unwrap().rate.unwrap().rx, 9000.0, "the figures are new");
        kept.receive(&update(13, false, Vec::new(), Vec::new()));
        view.refresh(&kept, true);
        assert_eq!(ids(&view), [7, 6, 3, 2, 1, 5, 8], "the pointer is there");
        kept.receive(&update(14, false, Vec::new(), Vec::new()));
        view.refresh(&kept, false);
        assert_eq!(ids(&view), [1, 8, 7, 6, 3, 2, 5]);
    }

    #[test]
    fn the_past_of_a_row_begins_with_the_page() {
        let mut kept = kept();
        kept.receive(&update(11, false, vec![remote(8, "1.1.1.1", 53, None)], vec![moved(1, 5), moved(8, 6)]));
        kept.receive(&update(12, false, Vec::new(), Vec::new()));
        let mut view = View::new(Part::External);
        view.search = "nothing of it".into();
        view.refresh(&kept, false);
        let past = |about: &Key| -> Vec<Option<f64>> {
            view.past(&kept, about).iter().map(|point| point.rate.map(|rate| rate.rx)).collect()
        };
        // Also of what the search hides.
        assert_eq!(past(&Key::Remote(1)), [None, Some(5.0), Some(0.0)]);
        assert_eq!(past(&Key::Remote(8)), [None, Some(6.0), Some(0.0)]);
        assert_eq!(past(&Key::Remote(5)), [None, None, None], "it is not measured");
        // What a whole table brings anew has no past, what was there goes on.
        let remotes = vec![remote(1, "93.184.216.34", 443, None), remote(2, "8.8.8.8", 53, None)];
        kept.receive(&update(13, true, remotes, vec![moved(1, 7), moved(2, 8)]));
        kept.receive(&update(14, false, Vec::new(), vec![moved(1, 9), moved(2, 9)]));
        let past = |about: &Key| -> Vec<Option<f64>> {
            view.past(&kept, about).iter().map(|point| point.rate.map(|rate| rate.rx)).collect()
        };
        assert_eq!(past(&Key::Remote(1)), [None, Some(5.0), Some(0.0), Some(7.0), Some(9.0)]);
        assert_eq!(past(&Key::Remote(2)), [None, None, None, None, Some(9.0)]);
    }

    #[test]
    fn a_page_whose_first_look_fails_or_is_not_taken_has_rows_later() {
        let mut kept = Kept::default();
        let mut failed = update(1, true, Vec::new(), Vec::new());
        failed.connections.as_mut().unwrap().failure = Some("paused".into());
        kept.receive(&update(9, false, vec![remote(7, "1.1.1.1", 53, None)], Vec::new()));
        assert_eq!(kept.version, 0, "about another table");
        kept.receive(&failed);
        assert_eq!((kept.len(), kept.failure.as_deref(), kept.source), (0, Some("paused"), None));
        kept.receive(&update(10, false, vec![remote(1, "1.1.1.1", 53, None)], vec![moved(1, 5)]));
        assert_eq!((kept.len(), kept.failure.as_deref(), kept.source), (1, None, Some(Source::Exact)));
        kept.receive(&update(11, false, vec![remote(2, "1.1.1.2", 53, None)], vec![moved(2, 5)]));
        let mut view = View::new(Part::All);
        view.refresh(&kept, false);
        let past = |id| view.past(&kept, &Key::Remote(id)).iter().map(|p| p.rate.map(|r| r.rx)).collect::<Vec<_>>();
        // The first look that was taken begins it.
        assert_eq!((past(1), past(2)), (vec![None, None, Some(0.0)], vec![None, None, Some(5.0)]));
    }

    /// Prints what a beat costs with a thousand remotes, all of which move.
    #[test]
    fn a_thousand_remotes_are_little_work() {
        let remotes = (0..1000).map(|id| remote(id, &format!("93.184.{}.{}", id / 250, id % 250), 443, None)).collect();
        let figures = |beat: u32| (0..1000).map(|id| moved(id, (id * 7919 + beat) % 1000)).collect::<Vec<_>>();
        let mut kept = Kept::default();
        kept.receive(&update(1, true, remotes, figures(0)));
        let mut view = View::new(Part::External);
        let updates: Vec<_> =
            (2..102_u32).map(|beat| update(u64::from(beat) * 2, false, Vec::new(), figures(beat))).collect();
        let before = std::time::Instant::now();
        for update in &updates {
            kept.receive(update);
            view.refresh(&kept, false);
            let wanted: Vec<_> = view.lines()[..20].iter().map(Line::past).collect();
            assert_eq!(kept.past.points(kept.now_ns.saturating_sub(SEC * 60), &wanted).len(), 20);
        }
        println!("a beat of a thousand remotes: {:?}", before.elapsed() / 100);
        assert_eq!(view.lines().len(), 1000);
    }
}
