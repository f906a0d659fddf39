//! What is recorded of the looks: every 10 s what each cgroup of an app has moved since. Pure: reads no clock and writes no file.
//!
//! System services are no apps: nothing of them is recorded, whoever was authorised to see them.
//!
//! A batch that was not written is not lost: what it had is part of the next one.

use std::collections::HashMap;

use super::{
    store::{Batch, Counters, Moved, Place, STEP_SECS},
    usage::Network,
};
use crate::look::{
    forwarded,
    rate::Bytes,
    sampler::{Look, Source},
    target::Unit,
};

/// Seconds after which it is written down that there were looks, though nothing was moved.
const QUIET_SECS: i64 = 300;
/// Seconds without a look after which that is written down.
const PAUSE_SECS: i64 = 30;
/// Counters of cgroups that are gone, at least, before they are forgotten.
const MOST_GONE: usize = 1000;

/// What is in the history, and what is on its way to it.
#[derive(Debug, Default)]
pub struct Recorder {
    place: Place,
    /// By cgroup path, since the program began to look.
    recorded: HashMap<String, Bytes>,
    /// The helper's counters as they were last taken in.
    counters: HashMap<String, Bytes>,
    /// The epoch of those; `None`: it has to be found out what is missing.
    epoch: Option<u64>,
    /// The last batch was not written: the next one is tried in its time.
    waits: bool,
    /// The latest look was an estimate.
    estimate: bool,
    /// Some of what isn't recorded yet is one.
    estimates: bool,
    /// The time of the last look of which all is recorded, in seconds since 1970.
    until: i64,
    /// Since when there were looks at each beat that is not written down yet.
    looked: i64,
    /// The latest look: its time, and in `CLOCK_BOOTTIME`.
    latest: Option<(i64, u64)>,
    /// On its way.
    pending: Option<Pending>,
    /// The network of what isn't recorded yet.
    network: Network,
}

/// What will be recorded once it is written.
#[derive(Debug)]
struct Pending {
    recorded: Vec<(String, Bytes)>,
    counters: Vec<(String, Bytes)>,
    epoch: Option<u64>,
    all: bool,
    end: i64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the history.
    Written,
    /// It is not.
    Failed,
    /// Another program records, so that this one has nothing to.
    Elsewhere,
}

impl Recorder {
    /// Nothing is recorded yet; the looks begin at this time, in seconds since 1970.
    pub fn begin(time: i64, place: Place, network: Network) -> Self {
        Self { until: time, looked: time, place, network, ..Self::default() }
    }

    /// Leaves out what was moved until now.
    pub fn skip<'a>(&mut self, moved: impl Iterator<Item = (&'a str, Bytes)>) {
        self.recorded.extend(moved.map(|(path, total)| (path.to_owned(), total)));
    }

    /// Whether [`Self::done`] is owed for a batch. Until then there is no other.
    pub fn is_writing(&self) -> bool {
        self.pending.is_some()
    }

    /// What is to be recorded at a look; `None`: nothing yet. `network`: the one in use. `moved`: what each cgroup has moved since the
    /// looks began. `last`: it is the last look, and nothing may wait.
    pub fn look<'a>(
        &mut self,
        time: i64,
        look: &Look,
        unit_of: impl Fn(&str) -> Option<Unit>,
        network: &Network,
        moved: impl Iterator<Item = (&'a str, Bytes)>,
        last: bool,
    ) -> Option<Batch> {
        let paused = self.pass(time, look.sample.boottime_ns);
        self.estimate = look.source == Source::Estimate;
        self.estimates |= self.estimate;
        // The first counters at once, so that whatever ends the program, what is counted from then on is made up.
        let first = look.source == Source::Exact && self.is_first(look);
        let moves = self.network != *network;
        let due = (first && !self.waits)
            || last
            || paused
            || moves
            || time.div_euclid(STEP_SECS) != self.until.div_euclid(STEP_SECS);
        if !due || self.pending.is_some() {
            return None;
        }
        let moved = moved.filter_map(|(path, total)| {
            let bytes = total.since(self.recorded.get(path).copied().unwrap_or_default());
            if bytes == Bytes::default() {
                return None;
            }
            let moved = Moved { cgroup: forwarded::counter_of(path), unit: unit_of(path)?, bytes };
            Some((moved, (path.to_owned(), total)))
        });
        let (moved, recorded): (Vec<_>, Vec<_>) = moved.unzip();
        if moved.is_empty() && !first && !paused && !last && time - self.looked < QUIET_SECS {
            self.until = time;
            self.network.clone_from(network);
            return None;
        }
        let counters = (look.source == Source::Exact).then(|| self.counters(look, unit_of));
        self.pending = Some(Pending {
            recorded,
            counters: counters.iter().flat_map(|c| &c.rows).map(|row| (row.cgroup.clone(), row.bytes)).collect(),
            epoch: counters.as_ref().map(|counters| counters.epoch),
            all: first,
            end: time,
        });
        Some(Batch {
            start: self.until,
            end: time,
            looked: self.looked,
            place: self.place.clone(),
            estimate: self.estimates,
            network: std::mem::replace(&mut self.network, network.clone()),
            moved,
            counters,
            names: Vec::new(),
        })
    }

    /// Takes in when a look was. Whether there was none for long before it. A clock that was set takes along what isn't recorded yet.
    fn pass(&mut self, time: i64, boottime_ns: u64) -> bool {
        let Some((before, before_ns)) = self.latest.replace((time, boottime_ns)) else { return false };
        let passed = i64::try_from(boottime_ns.saturating_sub(before_ns) / 1_000_000_000).unwrap_or_default();
        let set = time - before - passed;
        if set.abs() > PAUSE_SECS {
            self.until += set;
            self.looked = self.until;
        }
        passed > PAUSE_SECS
    }

    /// Whether all counters are needed: of another epoch, or to forget those of many cgroups that are gone.
    fn is_first(&self, look: &Look) -> bool {
        self.epoch != Some(look.sample.epoch) || self.counters.len() > 2 * look.sample.rows.len() + MOST_GONE
    }

    /// The counters that are new since the last batch that was written; all where another epoch has begun.
    fn counters(&self, look: &Look, unit_of: impl Fn(&str) -> Option<Unit>) -> Counters {
        let all = self.is_first(look);
        let rows = look.sample.rows.iter().filter_map(|row| {
            let bytes = Bytes::of(row);
            if !all && self.counters.get(&row.cgroup) == Some(&bytes) {
                return None;
            }
            Some(Moved { unit: unit_of(&row.cgroup)?, cgroup: row.cgroup.clone(), bytes })
        });
        // That they were looked at is remembered like a counter: see the store.
        let nothing = Moved { cgroup: forwarded::TOP.to_owned(), ..Moved::default() };
        let is_news = all || !self.counters.contains_key(forwarded::TOP);
        let rows = rows.chain(Some(nothing).filter(|_| look.forwarded && is_news)).collect();
        let (epoch, boottime_ns) = (look.sample.epoch, look.sample.boottime_ns);
        Counters { epoch, begun: self.epoch.is_some_and(|before| before != epoch), boottime_ns, rows, all }
    }

    /// What became of the batch that [`Self::look`] gave last.
    pub fn done(&mut self, fate: Fate) {
        let Some(pending) = self.pending.take() else { return };
        self.waits = fate != Fate::Written;
        if fate == Fate::Failed {
            // The file may be another one by the next time.
            self.epoch = None;
            return;
        }
        self.recorded.extend(pending.recorded);
        if pending.all {
            self.counters.clear();
        }
        self.counters.extend(pending.counters);
        // What another program records is made up from its own counters once it is gone.
        self.epoch = pending.epoch.filter(|_| fate == Fate::Written);
        self.estimates = self.estimate;
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
    use crate::look::apps::Apps;

    const APP: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service";
    const T: i64 = 1_000_000;

    fn bytes(rx: u64) -> Bytes {
        Bytes { rx, ..Bytes::default() }
    }

    fn look(time: i64, source: Source, rx: u64) -> Look {
        let row = Row { cgroup: APP.to_owned(), rx_bytes: rx, tx_bytes: 0, internal_rx_bytes: 0, internal_tx_bytes: 0 };
        Look {
            source,
            sample: Sample { epoch: 7, boottime_ns: (time - T + 99).unsigned_abs() * 1_000_000_000, rows: vec![row] },
            unmeasured_udp: None,
            forwarded: false,
        }
    }

    fn beat(recorder: &mut Recorder, time: i64, moved: u64, counted: u64) -> Option<Batch> {
        let look = look(time, Source::Exact, counted);
        recorder.look(
            time,
            &look,
            |path| Apps::default().lasting_unit(path),
            &Network::default(),
            [(APP, bytes(moved))].into_iter(),
            false,
        )
    }

    #[test]
    fn a_batch_is_due_every_ten_seconds_and_has_what_changed() {
        let mut recorder = Recorder::begin(T, Place::default(), Network::default());
        let batch = beat(&mut recorder, T + 1, 7, 107).unwrap();
        assert_eq!((batch.start, batch.end, batch.looked, batch.estimate), (T, T + 1, T, false));
        assert_eq!(batch.moved.iter().map(|moved| moved.bytes.rx).collect::<Vec<_>>(), [7]);
        let counters = batch.counters.unwrap();
        assert!(counters.all && counters.epoch == 7 && counters.rows[0].bytes == bytes(107));
        assert_eq!(beat(&mut recorder, T + 20, 9, 109), None, "one at a time");
        assert!(recorder.is_writing());
        recorder.done(Fate::Written);
        assert!(!recorder.is_writing());
        assert_eq!(beat(&mut recorder, T + 9, 9, 109), None);
        assert_eq!(recorder.unrecorded(APP, bytes(9)), bytes(2));
        let batch = beat(&mut recorder, T + 21, 9, 109).unwrap();
        assert_eq!((batch.start, batch.moved[0].bytes, batch.counters.unwrap().rows.len()), (T + 1, bytes(2), 1));
    }

    #[test]
    fn what_was_not_written_is_part_of_the_next_batch() {
        let mut recorder = Recorder::begin(T, Place::default(), Network::default());
        beat(&mut recorder, T + 10, 7, 107).unwrap();
        recorder.done(Fate::Failed);
        let batch = beat(&mut recorder, T + 25, 8, 108).unwrap();
        assert_eq!((batch.start, batch.looked, batch.moved[0].bytes), (T, T, bytes(8)));
        assert!(batch.counters.unwrap().all);
    }

    #[test]
    fn quiet_times_are_written_down_now_and_then_and_pauses_at_once() {
        let mut recorder = Recorder::begin(T, Place::default(), Network::default());
        beat(&mut recorder, T + 10, 7, 107).unwrap();
        recorder.done(Fate::Written);
        for time in (T + 11..T + 309).step_by(4) {
            assert_eq!(beat(&mut recorder, time, 7, 107), None);
        }
        let quiet = beat(&mut recorder, T + 310, 7, 107).unwrap();
        assert!(quiet.moved.is_empty() && quiet.counters.is_some_and(|counters| counters.rows.is_empty()));
        assert_eq!((quiet.looked, quiet.end), (T + 10, T + 310));
        recorder.done(Fate::Written);
        beat(&mut recorder, T + 330, 7, 107);
        let paused = beat(&mut recorder, T + 5000, 7, 107).unwrap();
        assert_eq!((paused.start, paused.end), (T + 330, T + 5000));
    }

    #[test]
    fn a_clock_that_is_set_takes_along_what_is_not_recorded_yet() {
        let mut recorder = Recorder::begin(T, Place::default(), Network::default());
        let mut beat = |time: i64, boottime_secs: u64, moved| {
            let mut look = look(T, Source::Exact, moved);
            look.sample.boottime_ns = boottime_secs * 1_000_000_000;
            let batch = recorder.look(
                time,
                &look,
                |path| Apps::default().lasting_unit(path),
                &Network::default(),
                [(APP, bytes(moved))].into_iter(),
                false,
            );
            recorder.done(Fate::Written);
            batch.map(|batch| (batch.start, batch.looked, batch.end, batch.moved.len()))
        };
        assert_eq!(beat(T + 10, 100, 1), Some((T, T, T + 10, 1)));
        let year = 365 * 86_400;
        assert_eq!(beat(T + year + 20, 110, 2), Some((T + year + 10, T + year + 10, T + year + 20, 1)));
        assert_eq!(beat(T + 31, 121, 3), Some((T + 20, T + 20, T + 31, 1)));
    }

    #[test]
    fn another_network_begins_another_batch() {
        let mut recorder = Recorder::begin(T, Place::default(), Network::default());
        let mut beat = |time, network: &str, moved| {
            let network = Network { name: Some(network.to_owned()), metered: None };
            let look = look(time, Source::Exact, moved);
            let batch = recorder.look(
                time,
                &look,
                |path| Apps::default().lasting_unit(path),
                &network,
                [(APP, bytes(moved))].into_iter(),
                false,
            );
            recorder.done(Fate::Written);
            batch.map(|batch| (batch.network.name, batch.moved[0].bytes.rx))
        };
        assert_eq!(beat(T + 1, "Home", 1), Some((None, 1)));
        assert_eq!(beat(T + 2, "Home", 5), None);
        assert_eq!(beat(T + 3, "Phone", 8), Some((Some("Home".to_owned()), 7)));
        assert_eq!(beat(T + 10, "Phone", 9), Some((Some("Phone".to_owned()), 1)));
    }

    #[test]
    fn while_another_program_records_nothing_is_kept_for_later() {
        let mut recorder = Recorder::begin(T, Place::default(), Network::default());
        beat(&mut recorder, T + 1, 100, 1100).unwrap();
        recorder.done(Fate::Elsewhere);
        assert_eq!(beat(&mut recorder, T + 2, 105, 1105), None, "it is not tried at each beat");
        let next = beat(&mut recorder, T + 10, 107, 1107).unwrap();
        assert_eq!((next.start, next.moved[0].bytes), (T + 1, bytes(7)));
        assert!(next.counters.is_some_and(|counters| counters.all && !counters.begun));
    }

    #[test]
    fn an_estimate_is_one_and_so_is_what_has_a_change_of_sources_in_it() {
        let mut recorder = Recorder::begin(T, Place::default(), Network::default());
        let mut beat = |time, source, rx| {
            let look = look(time, source, rx);
            let batch = recorder.look(
                time,
                &look,
                |path| Apps::default().lasting_unit(path),
                &Network::default(),
                [(APP, bytes(rx))].into_iter(),
                false,
            );
            recorder.done(Fate::Written);
            batch.map(|batch| (batch.estimate, batch.counters.is_some_and(|counters| counters.all)))
        };
        assert_eq!(beat(T + 10, Source::Estimate, 1), Some((true, false)));
        assert_eq!(beat(T + 20, Source::Exact, 2), Some((true, true)));
        assert_eq!(beat(T + 30, Source::Exact, 3), Some((false, false)));
        assert_eq!(beat(T + 40, Source::Estimate, 4), Some((true, false)));
        assert_eq!(beat(T + 50, Source::Exact, 5), Some((true, true)), "which counters are new is not known any more");
    }
}
