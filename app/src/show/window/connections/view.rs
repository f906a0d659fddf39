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
        self.common(kept, |entry| (entry.remote.scope, &entry.remote.prefix, &entry.remote.reason, &entry.remote.proxy))?;
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
        let places: HashMap<Key, usize> =
            self.lines.drain(..).enumerate().map(|(at, line)| (line.key, at)).collect();
        self.lines = self.made(kept, &chosen);
        let due = kept.now_ns.saturating_sub(self.sorted_ns) >= SORTED_EVERY_NS || places.is_empty();
        if !same || (due && !held) {
            self.sort(kept);
            self.sorted_ns = kept.now_ns;
        } else {
            // What has appeared since comes last.
            self.lines.sort_by_cached_key(|line| (places.get(&line.key).copied().unwrap_or(usize::MAX), line.members.first().copied()));
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
            order.then_with(|| b.total.cmp(&a.total)).then_with(|| a.name.cmp(b.name)).then_with(|| line.members.cmp(&other.members))
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
            (Column::Network, Some(entry)) => (f64::from(u8::from(entry.network.is_empty())), [entry.network.as_str(), ""]),
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
