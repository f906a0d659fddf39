//! `netglance history`.

use std::{borrow::Cow, io, process::ExitCode};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use netglance_dbus::text::{brief, printable};
use serde::Serialize;

use super::{
    Error, NOTHING_MATCHES, TargetArgs,
    recorded::Recorded,
    watch::{print, print_json},
    when::SpanArgs,
};
use crate::{
    base::format,
    keep::{
        calendar::Every,
        usage::{By, Group, Network, Seen, Slot, Usage},
    },
};

#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    span: SpanArgs,
    /// What each row stands for
    #[arg(long, value_enum, default_value_t)]
    by: Rows,
    /// Print one JSON object per line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values with a header, for spreadsheets
    #[arg(long)]
    csv: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Rows {
    /// An hour
    Hour,
    /// A day
    #[default]
    Day,
    /// A month, from one billing day to the next
    Month,
    /// An application, over the whole period
    App,
    /// A unit of an application, over the whole period
    Unit,
    /// A network, over the whole period
    Network,
}

impl Rows {
    /// Rows that follow each other in time, and how long each is.
    const fn every(self) -> Option<Every> {
        match self {
            Self::Hour => Some(Every::Hour),
            Self::Day => Some(Every::Day),
            Self::Month => Some(Every::Month),
            Self::App | Self::Unit | Self::Network => None,
        }
    }

    const fn by(self) -> By {
        match self {
            Self::Hour | Self::Day | Self::Month => By::All,
            Self::App => By::App,
            Self::Unit => By::Unit,
            Self::Network => By::Network,
        }
    }
}

/// A row as programs read it. An absent figure is null, or an empty cell.
#[derive(Serialize)]
struct Row<'a> {
    start: String,
    end: String,
    app: Cow<'a, str>,
    app_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Option<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metered: Option<Option<bool>>,
    rx_bytes: u64,
    tx_bytes: u64,
    internal_rx_bytes: u64,
    internal_tx_bytes: u64,
    estimate_bytes: u64,
    seen: &'static str,
}

/// What was moved in the span, in rows. Exit status 3 where nothing is recorded of it.
pub fn history(args: &HistoryArgs) -> Result<ExitCode, Error> {
    let recorded = match Recorded::find(&args.target, &args.span)? {
        Ok(recorded) => recorded,
        Err(status) => return Ok(status),
    };
    let whole = [recorded.span.start, recorded.span.end];
    let edges = args.by.every().map_or_else(|| whole.to_vec(), |every| recorded.edges(every));
    let mut groups = recorded.store.usage(&edges, &recorded.which, args.by.by())?;
    let all = match args.by.every() {
        Some(_) => groups.first().cloned(),
        None => recorded.store.usage(&whole, &recorded.which, By::All)?.pop(),
    };
    let all = all.unwrap_or_default();
    if all.slots.iter().all(Slot::is_gap) {
        recorded.say_nothing();
        return Ok(ExitCode::from(NOTHING_MATCHES));
    }
    groups.sort_by_cached_key(|group| {
        let total = group.total();
        (std::cmp::Reverse((total.external(), total.internal())), group.name.clone(), group.unit.clone())
    });
    if args.json {
        json(&recorded, &groups)?;
    } else if args.csv {
        csv(&recorded, &groups)?;
    } else {
        print(&table(&recorded, args.by, &groups, all.total()))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Recorded {
    /// With the offset from UTC, as in RFC 3339.
    fn rfc3339(&self, secs: i64) -> String {
        let time = Timestamp::from_second(secs).unwrap_or(self.now);
        time.display_with_offset(self.calendar.zone.to_offset(time)).to_string()
    }

    fn row<'a>(&'a self, group: &'a Group, slot: &Slot) -> Row<'a> {
        let bytes = slot.usage.bytes;
        let is_app = !group.app.is_empty();
        let id = if is_app { Some(&group.app) } else { self.app.as_ref() };
        Row {
            start: self.rfc3339(slot.start),
            end: self.rfc3339(slot.end),
            app: Cow::Borrowed(if is_app { &group.name } else { &self.name }),
            app_id: id.map(|id| Cow::Borrowed(id.as_str())),
            unit: group.unit.as_deref().map(Cow::Borrowed),
            network: group.network.as_ref().map(|network| network.name.as_deref().map(Cow::Borrowed)),
            metered: group.network.as_ref().map(|network| network.metered),
            rx_bytes: bytes.rx,
            tx_bytes: bytes.tx,
            internal_rx_bytes: bytes.internal_rx,
            internal_tx_bytes: bytes.internal_tx,
            estimate_bytes: slot.usage.estimate_bytes,
            seen: match slot.seen {
                Seen::Looked => "looked",
                Seen::Away => "away",
                Seen::Not => "not",
            },
        }
    }

    /// What is known; what is not is no row for programs.
    fn rows<'a>(&'a self, groups: &'a [Group]) -> impl Iterator<Item = Row<'a>> {
        groups.iter().flat_map(move |group| {
            group.slots.iter().filter(|slot| !slot.is_gap()).map(move |slot| self.row(group, slot))
        })
    }
}

fn json(recorded: &Recorded, groups: &[Group]) -> Result<(), Error> {
    for row in recorded.rows(groups) {
        let line = serde_json::to_string(&row).map_err(io::Error::from).map_err(Error::io("write JSON"))?;
        if !print_json(&line)? {
            break;
        }
    }
    Ok(())
}

fn csv(recorded: &Recorded, groups: &[Group]) -> Result<(), Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = || {
        for mut row in recorded.rows(groups) {
            row.app = cell(row.app);
            row.app_id = row.app_id.map(cell);
            row.unit = row.unit.map(cell);
            row.network = row.network.map(|name| name.map(cell));
            writer.serialize(row)?;
        }
        writer.flush()
    };
    write().map_err(Error::io("write CSV"))?;
    let text = writer.into_inner().map_err(|error| Error::io("write CSV")(error.into_error()))?;
    print(String::from_utf8_lossy(&text).trim_end())?;
    Ok(())
}

/// A name in a cell. A spreadsheet would take it for a formula if it began like one, so it begins with an apostrophe then; and it
/// drives no terminal.
fn cell(name: Cow<'_, str>) -> Cow<'_, str> {
    let name = match name {
        Cow::Borrowed(name) => printable(name),
        Cow::Owned(name) => Cow::Owned(printable(&name).into_owned()),
    };
    if name.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
        Cow::Owned(format!("'{name}"))
    } else {
        name
    }
}

/// The longest name in the table.
const LONGEST_NAME: usize = 60;

/// A line of the table.
struct Line {
    /// The time; empty where the row stands for something else.
    label: String,
    /// `None`: unknown.
    usage: Option<Usage>,
    /// A name, or how well the figures are known.
    note: String,
}

fn table(recorded: &Recorded, rows: Rows, groups: &[Group], total: Usage) -> String {
    let from_to = [recorded.span.start, recorded.span.end].map(|at| recorded.time(at, "%Y-%m-%d %H:%M"));
    let mut lines = match rows.every() {
        Some(every) => times(recorded, every, groups.first().map_or(&[], |group| group.slots.as_slice())),
        None => groups.iter().map(named).collect(),
    };
    if lines.len() > 1 {
        lines.push(match rows.every() {
            Some(_) => {
                Line { label: "Total".to_owned(), usage: Some(total), note: estimate(total).unwrap_or_default() }
            }
            None => named_line("Total", total),
        });
    }
    let width =
        lines.iter().filter(|line| line.usage.is_some()).map(|line| line.label.chars().count()).max().unwrap_or(0);
    let line = |label: &str, figures: [&str; 4], note: &str| {
        let [down, up, both, internal] = figures;
        format!("{label:width$}{down:>12}{up:>12}{both:>12}{internal:>12}  {note}").trim_end().to_owned()
    };
    let title = match rows {
        Rows::Hour | Rows::Day | Rows::Month => "",
        Rows::App => "Application",
        Rows::Unit => "Unit",
        Rows::Network => "Network",
    };
    let mut text = vec![
        format!("{}, {}", brief(&recorded.name, LONGEST_NAME), from_to.join(" to ")),
        line("", ["Download", "Upload", "Total", "Internal"], title),
    ];
    text.extend(lines.iter().map(|Line { label, usage, note }| match usage {
        Some(usage) => {
            let figures = [usage.bytes.rx, usage.bytes.tx, usage.external(), usage.internal()].map(format::bytes);
            line(label, figures.each_ref().map(String::as_str), note)
        }
        None => format!("{label}  {note}"),
    }));
    if recorded.began > recorded.span.start {
        text.push(format!("Recording began on {}.", recorded.time(recorded.began, "%Y-%m-%d at %H:%M")));
    }
    text.join("\n")
}

/// A line for each slot, and one for neighbouring ones of which nothing is known.
fn times(recorded: &Recorded, every: Every, slots: &[Slot]) -> Vec<Line> {
    let format = match every {
        Every::Month if recorded.calendar.billing_day == 1 => "%Y-%m",
        Every::Month => "from %Y-%m-%d",
        Every::Day => "%Y-%m-%d %a",
        Every::Hour | Every::Secs(_) => "%Y-%m-%d %H:%M",
    };
    let labels: Vec<_> = slots.iter().map(|slot| recorded.time(slot.start, format)).collect();
    let label = |at: usize| {
        let Some(label) = labels.get(at) else { return String::new() };
        // The clock shows some hours twice.
        let twice = |other: Option<usize>| other.and_then(|at| labels.get(at)) == Some(label);
        let offset = twice(at.checked_sub(1)) || twice(at.checked_add(1));
        let start = slots.get(at).map_or(0, |slot| slot.start);
        if offset { format!("{label}{}", recorded.time(start, "%:z")) } else { label.clone() }
    };
    let mut lines = Vec::new();
    let mut at = 0;
    for run in slots.chunk_by(|a, b| a.is_gap() && b.is_gap()) {
        let (first, last) = (label(at), label(at + run.len() - 1));
        at += run.len();
        lines.push(match run {
            [slot] if !slot.is_gap() => Line { label: first, usage: Some(slot.usage), note: known(slot) },
            [_] => Line { label: first, usage: None, note: "not recorded".to_owned() },
            _ => Line { label: format!("{first} to {last}"), usage: None, note: "not recorded".to_owned() },
        });
    }
    lines
}

/// How well a slot's figures are known, where that isn't exactly.
fn known(slot: &Slot) -> String {
    let away = (slot.seen == Seen::Away).then(|| "netglance was closed or paused".to_owned());
    away.into_iter().chain(estimate(slot.usage)).collect::<Vec<_>>().join(", ")
}

fn estimate(usage: Usage) -> Option<String> {
    match usage.estimate_bytes {
        0 => None,
        bytes if bytes >= usage.external().saturating_add(usage.internal()) => Some("an estimate".to_owned()),
        bytes => Some(format!("{} of it estimated", format::bytes(bytes))),
    }
}

/// The line of an app, a unit or a network. Its name comes last: no name is too wide there.
fn named(group: &Group) -> Line {
    let name = match (&group.unit, &group.network) {
        (Some(unit), _) => brief(unit, LONGEST_NAME),
        (None, Some(network)) => Cow::Owned(described(network)),
        (None, None) => brief(&group.name, LONGEST_NAME),
    };
    named_line(&name, group.total())
}

fn named_line(name: &str, usage: Usage) -> Line {
    let estimate = estimate(usage).map(|estimate| format!(" ({estimate})")).unwrap_or_default();
    Line { label: String::new(), usage: Some(usage), note: format!("{name}{estimate}") }
}

fn described(network: &Network) -> String {
    let name = network.name.as_deref().map_or(Cow::Borrowed("unknown network"), |name| brief(name, LONGEST_NAME));
    match (&network.name, network.metered) {
        (_, Some(true)) => format!("{name}, metered"),
        (_, Some(false)) | (None, None) => name.into_owned(),
        (Some(_), None) => format!("{name}, not known whether metered"),
    }
}
