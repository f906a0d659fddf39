//! What is recorded of the looks: every 10 s what each cgroup of an app has moved since. Pure: reads no clock and writes no file.
//!
//! A batch that was not written is not lost: what it had is part of the next one.

use std::collections::HashMap;

use super::{
    store::{Batch, Counters, Moved, STEP_SECS},
    usage::Network,
};
use crate::look::{
    rate::Bytes,
    sampler::{Look, Source},
    target::lasting_unit,
};

/// Seconds after which it is written down that there were looks, though nothing was moved.
const QUIET_SECS: i64 = 300;
/// Seconds without a look after which that is written down.
const PAUSE_SECS: i64 = 30;

/// What is in the history, and what is on its way to it.
#[derive(Debug, Default)]
pub struct Recorder {
    /// By cgroup path, since the program began to look.
    recorded: HashMap<String, Bytes>,
    /// The helper's counters as they were last taken in.
    counters: HashMap<String, Bytes>,
    /// The epoch of those; `None`: none were.
    epoch: Option<u64>,
    /// The source of the last look.
    source: Option<Source>,
    /// The time of the last look of which all is recorded, in seconds since 1970.
    until: i64,
    /// Since when there were looks at each beat that is not written down yet.
    looked: i64,
    /// The time of the latest look.
    latest: i64,
    /// On its way: the totals and counters that will be recorded then, and the time.
    pending: Option<Pending>,
    /// The network that is in use.
    pub network: Network,
}

#[derive(Debug)]
struct Pending {
    recorded: Vec<(String, Bytes)>,
    counters: Vec<(String, Bytes)>,
    epoch: Option<u64>,
    all: bool,
    end: i64,
}

impl Recorder {
    /// Nothing is recorded yet; the looks begin at this time, in seconds since 1970.
    pub fn begin(time: i64, network: Network) -> Self {
        Self { until: time, looked: time, latest: time, network, ..Self::default() }
    }

    /// Leaves out what was moved until now.
    pub fn skip<'a>(&mut self, moved: impl Iterator<Item = (&'a str, Bytes)>) {
        self.recorded.extend(moved.map(|(path, total)| (path.to_owned(), total)));
    }

    /// What is to be recorded at a look; `None`: nothing yet. `moved`: what each cgroup has moved since the looks began. `last`: it
    /// is the last look, and nothing may wait.
    pub fn look<'a>(
        &mut self,
        time: i64,
        look: &Look,
        (machine, boot_id): (&str, &str),
        moved: impl Iterator<Item = (&'a str, Bytes)>,
        last: bool,
    ) -> Option<Batch> {
        let paused = (time - self.latest).abs() > PAUSE_SECS;
        self.latest = time;
        // The first counters at once, so that whatever ends the program, what is counted from then on is made up.
        let first = look.source == Source::Exact && self.epoch != Some(look.sample.epoch);
        let due = first || last || paused || time.div_euclid(STEP_SECS) != self.until.div_euclid(STEP_SECS);
        if !due || self.pending.is_some() {
            return None;
        }
        let changed = self.source.replace(look.source).is_some_and(|source| source != look.source);
        let moved = moved.filter_map(|(path, total)| {
            let bytes = total.since(self.recorded.get(path).copied().unwrap_or_default());
            if bytes == Bytes::default() {
                return None;
            }
            Some((Moved { cgroup: path.to_owned(), unit: lasting_unit(path)?, bytes }, total))
        });
        let (moved, totals): (Vec<_>, Vec<_>) = moved.unzip();
        let counters = (look.source == Source::Exact).then(|| self.counters(look, machine, boot_id));
        if moved.is_empty() && !first && !paused && !last && time - self.looked < QUIET_SECS {
            self.until = time;
            return None;
        }
        self.pending = Some(Pending {
            recorded: moved.iter().map(|moved| moved.cgroup.clone()).zip(totals).collect(),
            counters: counters.iter().flat_map(|c| &c.rows).map(|row| (row.cgroup.clone(), row.bytes)).collect(),
            epoch: counters.as_ref().map(|counters| counters.epoch),
            all: first,
            end: time,
        });
        Some(Batch {
            start: self.until,
            end: time,
            looked: self.looked,
            estimate: look.source == Source::Estimate || changed,
            network: self.network.clone(),
            moved,
            counters,
            names: Vec::new(),
        })
    }

    /// The counters that are new since the last batch that was written; all where another epoch has begun.
    fn counters(&self, look: &Look, machine: &str, boot_id: &str) -> Counters {
        let all = self.epoch != Some(look.sample.epoch);
        let rows = look.sample.rows.iter().filter_map(|row| {
            let bytes = Bytes::of(row);
            if !all && self.counters.get(&row.cgroup) == Some(&bytes) {
                return None;
            }
            Some(Moved { unit: lasting_unit(&row.cgroup)?, cgroup: row.cgroup.clone(), bytes })
        });
        let rows = rows.collect();
        let (machine, boot_id) = (machine.to_owned(), boot_id.to_owned());
        Counters { machine, boot_id, epoch: look.sample.epoch, boottime_ns: look.sample.boottime_ns, rows, all }
    }

    /// The batch that [`Self::look`] gave last was written, or not.
    pub fn done(&mut self, written: bool) {
        let Some(pending) = self.pending.take().filter(|_| written) else { return };
        self.recorded.extend(pending.recorded);
        if pending.all {
            self.counters.clear();
        }
        self.counters.extend(pending.counters);
        self.epoch = pending.epoch;
        (self.until, self.looked) = (pending.end, pending.end);
    }

    /// What a cgroup has moved that is not recorded yet. `total`: since the looks began.
    pub fn unrecorded(&self, path: &str, total: Bytes) -> Bytes {
        total.since(self.recorded.get(path).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use netglance_dbus::sample::{Row, Sample};

    use super::*;

    const APP: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service";
    const T: i64 = 1_000_000;

    fn bytes(rx: u64) -> Bytes {
        Bytes { rx, ..Bytes::default() }
    }

    fn look(source: Source, rx: u64) -> Look {
        let row = Row { cgroup: APP.to_owned(), rx_bytes: rx, tx_bytes: 0, internal_rx_bytes: 0, internal_tx_bytes: 0 };
        Look { source, sample: Sample { epoch: 7, boottime_ns: 1, rows: vec![row] }, unmeasured_udp: None }
    }

    fn beat(recorder: &mut Recorder, time: i64, moved: u64, counted: u64) -> Option<Batch> {
        let look = look(Source::Exact, counted);
        recorder.look(time, &look, ("machine", "boot"), [(APP, bytes(moved))].into_iter(), false)
    }

    #[test]
    fn a_batch_is_due_every_ten_seconds_and_has_what_changed() {
        let mut recorder = Recorder::begin(T, Network::default());
        let batch = beat(&mut recorder, T + 1, 7, 107).unwrap();
        assert_eq!((batch.start, batch.end, batch.looked, batch.estimate), (T, T + 1, T, false));
        assert_eq!(batch.moved.iter().map(|moved| moved.bytes.rx).collect::<Vec<_>>(), [7]);
        let counters = batch.counters.unwrap();
        assert!(counters.all && counters.epoch == 7 && counters.rows[0].bytes == bytes(107));
        assert_eq!(beat(&mut recorder, T + 20, 9, 109), None, "one at a time");
        recorder.done(true);
        assert_eq!(beat(&mut recorder, T + 9, 9, 109), None);
        assert_eq!(recorder.unrecorded(APP, bytes(9)), bytes(2));
        let batch = beat(&mut recorder, T + 21, 9, 109).unwrap();
        assert_eq!((batch.start, batch.moved[0].bytes, batch.counters.unwrap().rows.len()), (T + 1, bytes(2), 1));
    }

    #[test]
    fn what_was_not_written_is_part_of_the_next_batch() {
        let mut recorder = Recorder::begin(T, Network::default());
        beat(&mut recorder, T + 10, 7, 107).unwrap();
        recorder.done(false);
        let batch = beat(&mut recorder, T + 25, 8, 108).unwrap();
        assert_eq!((batch.start, batch.looked, batch.moved[0].bytes), (T, T, bytes(8)));
        assert!(batch.counters.unwrap().all);
    }

    #[test]
    fn quiet_times_are_written_down_now_and_then_and_pauses_at_once() {
        let mut recorder = Recorder::begin(T, Network::default());
        beat(&mut recorder, T + 10, 7, 107).unwrap();
        recorder.done(true);
        for time in (T + 11..T + 309).step_by(4) {
            assert_eq!(beat(&mut recorder, time, 7, 107), None);
        }
        let quiet = beat(&mut recorder, T + 310, 7, 107).unwrap();
        assert!(quiet.moved.is_empty() && quiet.counters.is_some_and(|counters| counters.rows.is_empty()));
        assert_eq!((quiet.looked, quiet.end), (T + 10, T + 310));
        recorder.done(true);
        beat(&mut recorder, T + 330, 7, 107);
        let paused = beat(&mut recorder, T + 5000, 7, 107).unwrap();
        assert_eq!((paused.start, paused.end), (T + 330, T + 5000));
        recorder.done(true);
        let back = beat(&mut recorder, T + 4000, 8, 108).unwrap();
        assert_eq!((back.start, back.end), (T + 5000, T + 4000), "the clock was set back");
    }

    #[test]
    fn an_estimate_is_one_and_so_is_what_has_a_change_of_sources_in_it() {
        let mut recorder = Recorder::begin(T, Network::default());
        let mut beat = |time, source, rx| {
            let batch =
                recorder.look(time, &look(source, rx), ("machine", "boot"), [(APP, bytes(rx))].into_iter(), false);
            recorder.done(true);
            batch.map(|batch| (batch.estimate, batch.counters.is_some_and(|counters| counters.all)))
        };
        assert_eq!(beat(T + 10, Source::Estimate, 1), Some((true, false)));
        assert_eq!(beat(T + 20, Source::Exact, 2), Some((true, true)));
        assert_eq!(beat(T + 30, Source::Exact, 3), Some((false, false)));
        assert_eq!(beat(T + 40, Source::Estimate, 4), Some((true, false)));
        assert_eq!(beat(T + 50, Source::Exact, 5), Some((true, true)), "which counters are new is not known any more");
    }
}
