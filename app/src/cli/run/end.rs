//! What is to be said when a command has ended: what its figures lack, as sentences and as JSON. Pure.

use std::collections::BTreeMap;

use netglance_dbus::text::printable;
use serde::Serialize;

use super::family::{Moved, Why};
use crate::{
    advise::doctor::gather::quoted,
    base::format,
    cli::report::Json,
    look::{
        rate::Bytes,
        reading::Reading,
        sampler::{Ending, Source},
        target,
    },
};

/// Cgroups of one kind that are named; of more the number.
const NAMED: usize = 3;

/// Said where the kernel doesn't tell a process's children.
pub const BLIND: &str = "this kernel does not tell which processes the command starts (CONFIG_PROC_CHILDREN is off), so the \
                         traffic of those that move to another control group is not counted.";
/// Said where the counters began anew.
pub const RESTARTED: &str = "counting restarted while the command ran, so these figures may be too low.";

/// How a command's figures came to their end.
#[derive(Debug, Default)]
pub struct End {
    /// Its exit status, unless a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What the kernel had not sent yet when netglance stopped waiting for it.
    pub unsent: Vec<Ending>,
    /// The cgroups that are counted with the command's own.
    pub counted: Vec<String>,
    /// Its processes that go on, by cgroup.
    pub remaining: BTreeMap<String, usize>,
    /// What isn't counted though it is, or may be, the command's.
    pub uncounted: Vec<Uncounted>,
    /// Everything that was said about the figures.
    pub notes: Vec<String>,
}

/// A cgroup that isn't counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// Its path.
    pub cgroup: String,
    /// Its external bytes since the command began.
    pub bytes: Bytes,
    /// Why processes of the command in it are not counted; `None`: it only appeared while the command ran.
    pub why: Option<Why>,
}

/// One line of `run --json`: that of `watch --json` and one field more, which is null until the last line.
#[derive(Serialize)]
pub struct JsonLine<'a> {
    #[serde(flatten)]
    reading: Json<'a>,
    end: Option<JsonEnd<'a>>,
}

#[derive(Serialize)]
struct JsonEnd<'a> {
    status: Option<i32>,
    signal: Option<i32>,
    unsent_sockets: usize,
    unsent_bytes: u64,
    counted: &'a [String],
    background: Vec<JsonBackground<'a>>,
    uncounted: Vec<JsonUncounted<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct JsonBackground<'a> {
    cgroup: &'a str,
    processes: usize,
}

#[derive(Serialize)]
struct JsonUncounted<'a> {
    cgroup: &'a str,
    rx_bytes: u64,
    tx_bytes: u64,
    reason: String,
}

impl<'a> JsonLine<'a> {
    /// `end`: with the last reading.
    pub fn new(reading: &'a Reading, end: Option<&'a End>) -> Self {
        Self { reading: Json::from(reading), end: end.map(JsonEnd::from) }
    }
}

impl<'a> From<&'a End> for JsonEnd<'a> {
    fn from(end: &'a End) -> Self {
        let uncounted = end.uncounted.iter().map(|Uncounted { cgroup, bytes, why }| JsonUncounted {
            cgroup,
            rx_bytes: bytes.rx,
            tx_bytes: bytes.tx,
            reason: why.map_or_else(|| APPEARED.to_owned(), |why| why.to_string()),
        });
        Self {
            status: end.status,
            signal: end.signal,
            unsent_sockets: end.unsent.len(),
            unsent_bytes: end.unsent.iter().map(|socket| socket.unsent_bytes).sum(),
            counted: &end.counted,
            background: end
                .remaining
                .iter()
                .map(|(cgroup, processes)| JsonBackground { cgroup, processes: *processes })
                .collect(),
            uncounted: uncounted.collect(),
            notes: &end.notes,
        }
    }
}

/// Why a cgroup is not counted that no process of the command was seen in.
const APPEARED: &str = "it is not known whether the command started them";

/// What became of a cgroup to which processes of the command have moved.
pub fn moved(cgroup: &str, moved: Moved) -> String {
    let name = printable(cgroup);
    match moved {
        Moved::Counted => format!("part of the command moved to {name}, which is counted too."),
        Moved::Joined => {
            format!("{name} now also contains processes that the command didn't start; they are counted too.")
        }
        Moved::Left(why) => {
            format!("part of the command moved to {name}, which is not counted: {why}. To watch it: {}", watch(cgroup))
        }
    }
}

/// That there is something to wait for.
pub fn waiting(unsent: &[Ending], at_most_secs: u64) -> String {
    let bytes = unsent.iter().map(|socket| socket.unacknowledged_bytes).sum();
    format!(
        "the command has exited, but the kernel is still sending {} for it ({}). Waiting up to {at_most_secs} s; press Ctrl+C \
         to stop waiting.",
        format::bytes(bytes),
        many(unsent.len(), "connection")
    )
}

/// That nobody knows what there is to wait for, and why.
pub fn unknown(why: &str) -> String {
    format!(
        "cannot tell whether everything the command sent has been delivered, so these figures may be too low: {why}."
    )
}

/// What is missing because the wait has ended. `None`: nothing.
pub fn unsent(unsent: &[Ending]) -> Option<String> {
    let of = |bytes: fn(&Ending) -> u64| format::bytes(unsent.iter().map(bytes).sum());
    (!unsent.is_empty()).then(|| {
        format!(
            "stopped waiting for {}: {} had not been sent and are missing from these figures, and {} had not been \
             acknowledged.",
            many(unsent.len(), "connection"),
            of(|socket| socket.unsent_bytes),
            of(|socket| socket.unacknowledged_bytes),
        )
    })
}

/// What goes on after the command's end. `None`: nothing.
pub fn background(remaining: &BTreeMap<String, usize>) -> Option<String> {
    let processes: usize = remaining.values().sum();
    let cgroups: Vec<_> = remaining.keys().map(String::as_str).collect();
    (processes > 0).then(|| {
        format!(
            "the command has exited, but {} of it {} still running in the background; {} further traffic is not in these \
             figures. To watch {}: {}",
            many(processes, "process"),
            if processes == 1 { "is" } else { "are" },
            if processes == 1 { "its" } else { "their" },
            if processes == 1 { "it" } else { "them" },
            watch_all(&cgroups),
        )
    })
}

/// The cgroups that appeared while the command ran, with what they moved. `None`: there are none.
pub fn appeared(uncounted: &[Uncounted]) -> Option<String> {
    let mut appeared: Vec<_> = uncounted.iter().filter(|uncounted| uncounted.why.is_none()).collect();
    appeared.sort_by_key(|uncounted| std::cmp::Reverse(uncounted.bytes.rx.saturating_add(uncounted.bytes.tx)));
    let named: Vec<_> = appeared
        .iter()
        .take(NAMED)
        .map(|Uncounted { cgroup, bytes, .. }| {
            let name = printable(cgroup.rsplit('/').next().unwrap_or(cgroup)).into_owned();
            format!("{name} (down {}, up {})", format::bytes(bytes.rx), format::bytes(bytes.tx))
        })
        .collect();
    let more = appeared.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let cgroups: Vec<_> = appeared.iter().take(NAMED).map(|uncounted| uncounted.cgroup.as_str()).collect();
    (!appeared.is_empty()).then(|| {
        format!(
            "while the command ran, {}{more} appeared and sent or received data. They are not counted, because {APPEARED}. \
             To watch: {}",
            named.join(", "),
            watch_all(&cgroups)
        )
    })
}

/// What is to be said of the sources of all readings.
pub fn mixed(sources: &[Source]) -> Option<String> {
    (sources.contains(&Source::Exact) && sources.contains(&Source::Estimate))
        .then(|| "for part of the time these figures were an estimate, which counts TCP payload only.".to_owned())
}

/// The cgroup of the unit that a cgroup belongs to, or itself.
pub fn unit(cgroup: &str) -> &str {
    target::units(cgroup).filter(|unit| !unit.unit.ends_with(".slice")).last().map_or(cgroup, |unit| unit.cgroup)
}

/// Whether a cgroup is another one or below it.
pub fn is_within(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether it is the cgroup of another `netglance run`.
pub fn is_another_run(cgroup: &str) -> bool {
    cgroup.rsplit('/').next().is_some_and(|name| name.starts_with(super::scope::PREFIX))
}

fn watch(cgroup: &str) -> String {
    watch_all(&[cgroup])
}

fn watch_all(cgroups: &[&str]) -> String {
    let paths: Vec<_> = cgroups.iter().map(|cgroup| quoted(&printable(cgroup))).collect();
    format!("netglance watch --cgroup {}", paths.join(" "))
}

fn many(count: usize, noun: &str) -> String {
    let plural = if noun.ends_with('s') { "es" } else { "s" };
    format!("{count} {noun}{}", if count == 1 { "" } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_a_sentence_and_nothing_otherwise() {
        let ending = |unacknowledged_bytes, unsent_bytes| Ending { cgroup_id: 1, unacknowledged_bytes, unsent_bytes };
        assert_eq!((unsent(&[]), background(&BTreeMap::new()), appeared(&[])), (None, None, None));
        assert_eq!(
            unsent(&[ending(2_000_000, 1_500_000), ending(500_000, 0)]).unwrap(),
            "stopped waiting for 2 connections: 1.50 MB had not been sent and are missing from these figures, and 2.50 MB \
             had not been acknowledged."
        );
        assert!(waiting(&[ending(2_000_000, 0)], 30).contains("2.00 MB for it (1 connection). Waiting up to 30 s;"));
        let remaining =
            |counts: &[(&str, usize)]| counts.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect();
        assert_eq!(
            background(&remaining(&[("/a b/netglance-run-1.scope", 1)])).unwrap(),
            "the command has exited, but 1 process of it is still running in the background; its further traffic is not in \
             these figures. To watch it: netglance watch --cgroup '/a b/netglance-run-1.scope'"
        );
        let two = background(&remaining(&[("/a", 2), ("/b", 3)])).unwrap();
        assert!(two.contains("5 processes of it are still running") && two.ends_with("--cgroup /a /b"), "{two}");
        let one = |cgroup: &str, rx| Uncounted {
            cgroup: cgroup.to_owned(),
            bytes: Bytes { rx, ..Bytes::default() },
            why: None,
        };
        let said = appeared(&[one("/s/a", 1), one("/s/b", 4), one("/s/c", 3), one("/s/d\u{1b}", 2)]).unwrap();
        assert!(
            said.contains("b (down 4 B, up 0 B), c (down 3 B, up 0 B), d\u{fffd} (down 2 B, up 0 B) and 1 more"),
            "{said}"
        );
        assert_eq!(appeared(&[Uncounted { why: Some(Why::Older), ..one("/s/a", 1) }]), None);
        assert!(moved("/x", Moved::Left(Why::Shared)).contains("/x, which is not counted: processes that"));
        assert!(mixed(&[Source::Exact]).is_none() && mixed(&[Source::Estimate, Source::Exact]).is_some());
    }

    #[test]
    fn a_cgroup_is_named_by_its_unit() {
        let check = |path: &str, expected: &str| assert_eq!(unit(path), expected);
        check("/user.slice/app.slice/a.service/b", "/user.slice/app.slice/a.service");
        check("/user.slice/x", "/user.slice/x");
        check("/user.slice", "/user.slice");
        assert!(is_another_run("/a/netglance-run-5.scope") && !is_another_run("/a/b.scope"));
        assert!(is_within("/a/b", "/a") && is_within("/a", "/a") && !is_within("/ab", "/a"));
    }
}
