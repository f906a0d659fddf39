//! From two looks to bytes per second. Pure: reads no clock and does no I/O.

use std::collections::HashMap;

use netglance_dbus::sample::Row;

use super::{
    forwarded,
    sampler::{Look, Source},
};

/// Bytes per second between two samples of one source and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Rate {
    /// Download, bytes per second.
    pub rx: f64,
    /// Upload, bytes per second.
    pub tx: f64,
}

impl Rate {
    /// The sum.
    pub fn plus(self, other: Self) -> Self {
        Self { rx: self.rx + other.rx, tx: self.tx + other.tx }
    }
}

/// Why there is no rate between two looks. The text is for a person.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, thiserror::Error)]
pub enum Gap {
    /// Nothing matches the target now.
    #[error("waiting for {0}")]
    Waiting(String),
    /// The counters come from another source than before.
    #[error("from here on the figures are {}", if *.0 == Source::Exact { "exact" } else { "an estimate" })]
    SourceChanged(Source),
    /// The source had to start counting again.
    #[error("counting restarted")]
    CountingRestarted,
    /// There was no look for much longer than the beat: the computer slept or the program was stopped.
    #[error("no measurement for {0} s")]
    Slept(u64),
    /// The look failed: why.
    #[error("{0}")]
    Failed(String),
}

/// Bytes by direction and scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Bytes {
    /// From external addresses.
    pub rx: u64,
    /// To external addresses.
    pub tx: u64,
    /// From internal addresses: left out of every rate.
    pub internal_rx: u64,
    /// To internal addresses: left out of every rate.
    pub internal_tx: u64,
}

impl Bytes {
    /// The counters of a row.
    pub fn of(row: &Row) -> Self {
        Self {
            rx: row.rx_bytes,
            tx: row.tx_bytes,
            internal_rx: row.internal_rx_bytes,
            internal_tx: row.internal_tx_bytes,
        }
    }

    /// Each number changed in the same way.
    pub fn map(self, f: impl Fn(u64) -> u64) -> Self {
        self.zip(self, |number, _| f(number))
    }

    /// All four together.
    pub fn sum(self) -> u64 {
        [self.rx, self.tx, self.internal_rx, self.internal_tx].into_iter().fold(0, u64::saturating_add)
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            rx: f(self.rx, other.rx),
            tx: f(self.tx, other.tx),
            internal_rx: f(self.internal_rx, other.internal_rx),
            internal_tx: f(self.internal_tx, other.internal_tx),
        }
    }

    /// The sum; the largest number if it would overflow.
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// The larger of each.
    pub fn at_least(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    /// The smaller of each.
    pub fn at_most(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    /// By how much this is more than `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }

    /// The external rate, had these bytes moved within `secs` seconds.
    #[expect(clippy::cast_precision_loss, reason = "a rate of 2^53 bytes per second may be off by one")]
    pub fn rate(self, secs: f64) -> Rate {
        Rate { rx: self.rx as f64 / secs, tx: self.tx as f64 / secs }
    }
}

/// What moved between two looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved<'a> {
    /// Bytes by cgroup path; a path that is not here moved nothing.
    pub bytes: HashMap<&'a str, Bytes>,
    /// Seconds between the two, by their stamps, or why they make no rate.
    pub secs: Result<f64, Gap>,
}

/// Difference per row. A row that was not there before counts whole, unless its kind was not looked at; one that vanished moved nothing. Looks of two
/// sources or epochs have nothing to do with each other. Two looks that lie more than `longest_secs` apart say how much
/// moved, but not how fast.
pub fn between<'a>(earlier: &Look, later: &'a Look, longest_secs: f64) -> Moved<'a> {
    let nothing = |gap| Moved { bytes: HashMap::new(), secs: Err(gap) };
    if earlier.source != later.source {
        return nothing(Gap::SourceChanged(later.source));
    }
    let before: HashMap<&str, Bytes> =
        earlier.sample.rows.iter().map(|row| (row.cgroup.as_str(), Bytes::of(row))).collect();
    let mut bytes = HashMap::new();
    let mut backwards = earlier.sample.epoch != later.sample.epoch;
    // Where containers were not looked at before, what they had moved by then is nobody's business.
    let rows = later.sample.rows.iter().filter(|row| earlier.forwarded || !forwarded::is_in(&row.cgroup));
    for row in rows {
        let (now, before) = (Bytes::of(row), before.get(row.cgroup.as_str()).copied().unwrap_or_default());
        let moved = now.since(before);
        backwards |= before.plus(moved) != now;
        if moved != Bytes::default() {
            bytes.insert(row.cgroup.as_str(), moved);
        }
    }
    let elapsed_ns = later.sample.boottime_ns.checked_sub(earlier.sample.boottime_ns).filter(|ns| *ns > 0);
    let (false, Some(elapsed_ns)) = (backwards, elapsed_ns) else { return nothing(Gap::CountingRestarted) };
    let elapsed = std::time::Duration::from_nanos(elapsed_ns);
    let secs = elapsed.as_secs_f64();
    let secs = if secs > longest_secs { Err(Gap::Slept(elapsed.as_secs())) } else { Ok(secs) };
    Moved { bytes, secs }
}

#[cfg(test)]
mod tests {
    use netglance_dbus::sample::Sample;

    use super::*;

    fn look(source: Source, epoch: u64, secs: u64, rows: &[(&str, u64)]) -> Look {
        let row = |(path, rx): &(&str, u64)| Row { cgroup: (*path).into(), rx_bytes: *rx, ..Row::default() };
        let rows = rows.iter().map(row).collect();
        Look {
            source,
            sample: Sample { epoch, boottime_ns: secs * 1_000_000_000, rows },
            unmeasured_udp: None,
            forwarded: true,
        }
    }

    #[test]
    fn rates_exist_between_two_looks_of_one_source_and_epoch_only() {
        use Source::{Estimate, Exact};
        let first = look(Estimate, 1, 10, &[("/a", 100), ("/gone", 70)]);
        let check = |later: Look, moved: &[(&str, u64)], secs: Result<f64, Gap>| {
            let found = between(&first, &later, 5.0);
            let mut paths: Vec<_> = found.bytes.iter().map(|(path, b)| (*path, b.rx)).collect();
            paths.sort_unstable();
            assert_eq!((paths.as_slice(), found.secs), (moved, secs));
        };
        check(look(Estimate, 1, 12, &[("/a", 150), ("/new", 9)]), &[("/a", 50), ("/new", 9)], Ok(2.0));
        check(look(Estimate, 1, 12, &[]), &[], Ok(2.0));
        check(look(Estimate, 1, 12, &[("/forwarded/10.0.0.2", 9)]), &[("/forwarded/10.0.0.2", 9)], Ok(2.0));
        check(look(Exact, 1, 12, &[("/a", 150)]), &[], Err(Gap::SourceChanged(Exact)));
        check(look(Estimate, 2, 12, &[("/a", 150)]), &[], Err(Gap::CountingRestarted));
        check(look(Estimate, 1, 12, &[("/a", 99)]), &[], Err(Gap::CountingRestarted));
        check(look(Estimate, 1, 10, &[("/a", 150)]), &[], Err(Gap::CountingRestarted));
        check(look(Estimate, 1, 9, &[("/a", 150)]), &[], Err(Gap::CountingRestarted));
        check(look(Estimate, 1, 3610, &[("/a", 150)]), &[("/a", 50)], Err(Gap::Slept(3600)));
        assert_eq!(Bytes { rx: 50, tx: 10, ..Bytes::default() }.rate(2.0), Rate { rx: 25.0, tx: 5.0 });
    }
}
