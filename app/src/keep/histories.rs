//! The last minutes of every app. Pure: reads no clock.
//!
//! All apps share one list of looks, and an app has an entry only for a look since which it had moved bytes, so one that moves
//! nothing costs next to nothing.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::history::{KEPT_SECS, Point};
use crate::look::rate::Rate;

/// Looks within this time are kept as one with their average rates, so that a short beat takes no more memory than a long one.
const FINEST_NS: u64 = 550_000_000;
/// So many entries are kept in all: moves, and times that an app was running. More of them shorten the time that is kept.
const MOST_ENTRIES: usize = 200_000;
/// So many apps are kept apart. Whoever may start a unit invents as many ids as they like.
const MOST_APPS: usize = 2_000;
/// Apps above that number are dropped together once there are so many, so that not every new one costs a walk.
const SPARE_APPS: usize = MOST_APPS / 4;

/// The rates of every app.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Histories {
    kept_secs: u64,
    /// In the order of time. They are numbered.
    looks: VecDeque<Look>,
    /// The number of the oldest.
    first: u32,
    apps: BTreeMap<String, App>,
    /// What the apps that were dropped had moved, which is still part of the total.
    dropped: App,
    /// How many there are of all, those of `dropped` with them.
    entries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
struct Look {
    boottime_ns: u64,
    /// `false`: a gap, for all apps, lies before it.
    known: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct App {
    /// It was running from the one look to the other. It costs no more while it runs on.
    runs: VecDeque<(u32, u32)>,
    moves: VecDeque<Move>,
}

/// What an app moved before a look. A chart needs no more digits than these have; totals are not made of it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
struct Move {
    look: u32,
    rx: f32,
    tx: f32,
}

impl Default for Histories {
    fn default() -> Self {
        Self::of_last(KEPT_SECS)
    }
}

impl Histories {
    /// Nothing yet, and later no more than the last seconds.
    pub fn of_last(kept_secs: u64) -> Self {
        Self { kept_secs, looks: VecDeque::new(), first: 0, apps: BTreeMap::new(), dropped: App::default(), entries: 0 }
    }

    /// Adds a look, with the rate of every app that is running; `None`: a gap. One that is not later than the last is left out.
    pub fn push<'a>(&mut self, boottime_ns: u64, apps: Option<impl IntoIterator<Item = (&'a str, Rate)>>) {
        if self.looks.back().is_some_and(|last| last.boottime_ns >= boottime_ns) {
            return;
        }
        let share = self.widen_last(boottime_ns, apps.is_some()).unwrap_or_else(|| {
            self.looks.push_back(Look { boottime_ns, known: apps.is_some() });
            1.0
        });
        let number = self.number(self.looks.len().saturating_sub(1));
        for (id, rate) in apps.into_iter().flatten() {
            let app = match self.apps.get_mut(id) {
                Some(app) => app,
                None => {
                    if self.apps.len() >= MOST_APPS + SPARE_APPS {
                        self.drop_apps(number);
                    }
                    self.apps.entry(id.to_owned()).or_default()
                }
            };
            let before = app.entries();
            app.add(number, rate, share);
            self.entries += app.entries() - before;
        }
        self.forget(self.older_than(self.kept_secs));
        while self.entries > MOST_ENTRIES && self.looks.len() > 1 {
            self.forget((self.looks.len() / 64).max(1));
        }
    }

    /// One app has become a part of another one, or another one: what it moved, that one has moved.
    pub fn join(&mut self, id: &str, to: &str) {
        let Some(app) = self.apps.remove(id) else { return };
        let joint = self.apps.entry(to.to_owned()).or_default();
        self.entries -= app.entries() + joint.entries();
        joint.join(app);
        self.entries += joint.entries();
    }

    /// Keeps [`MOST_APPS`]: drops those first that don't run and never moved, then those that don't run and have not moved for the
    /// longest time, then the others in the same order.
    fn drop_apps(&mut self, number: u32) {
        // Those that run are told one by one, so one that ran at the look before may still be.
        let worth = |app: &App| {
            let runs = app.runs.back().is_some_and(|(_, end)| end.wrapping_add(1) >= number);
            (runs, app.moves.back().map(|moved| moved.look))
        };
        let mut worths: Vec<_> = self.apps.iter().map(|(id, app)| (worth(app), id.clone())).collect();
        worths.sort_unstable();
        self.entries -= self.dropped.entries();
        for (_, id) in worths.iter().take(self.apps.len().saturating_sub(MOST_APPS)) {
            if let Some(app) = self.apps.remove(id) {
                self.entries -= app.entries();
                self.dropped.moves.extend(app.moves);
            }
        }
        self.dropped.join_moves();
        self.entries += self.dropped.entries();
    }

    /// How many looks lie more than so many seconds before the last one.
    fn older_than(&self, secs: u64) -> usize {
        let last_ns = self.looks.back().map_or(0, |look| look.boottime_ns);
        let oldest_ns = last_ns.saturating_sub(secs.saturating_mul(1_000_000_000));
        self.looks.partition_point(|look| look.boottime_ns < oldest_ns)
    }

    /// Has the last look end later, if it is short enough for that. The share of the new part in it.
    fn widen_last(&mut self, boottime_ns: u64, known: bool) -> Option<f32> {
        let before_ns = self.looks.get(self.looks.len().checked_sub(2)?)?.boottime_ns;
        let number = self.number(self.looks.len() - 1);
        let last = self.looks.back_mut().filter(|last| last.known && known)?;
        let whole_ns = boottime_ns.checked_sub(before_ns).filter(|ns| *ns <= FINEST_NS)?;
        #[expect(clippy::cast_precision_loss, reason = "a part of a second")]
        let share = (boottime_ns - last.boottime_ns) as f32 / whole_ns as f32;
        last.boottime_ns = boottime_ns;
        for app in self.apps.values_mut().chain([&mut self.dropped]) {
            if let Some(last) = app.moves.back_mut().filter(|last| last.look == number) {
                last.rx *= 1.0 - share;
                last.tx *= 1.0 - share;
            }
        }
        Some(share)
    }

    /// Forgets the oldest looks, and apps of which nothing else is known.
    fn forget(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.looks.drain(..count);
        self.first = self.number(count);
        let first = self.first;
        self.dropped.forget_before(first);
        self.entries = self.dropped.entries();
        self.apps.retain(|_, app| {
            app.forget_before(first);
            self.entries += app.entries();
            !app.runs.is_empty()
        });
    }

    fn number(&self, at: usize) -> u32 {
        self.first.wrapping_add(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// One app's points, oldest first. It is a gap where it was not running, also before it ever was.
    pub fn points(&self, id: &str) -> Vec<Point> {
        let app = self.apps.get(id);
        let mut runs = app.into_iter().flat_map(|app| &app.runs).peekable();
        let mut moves = app.into_iter().flat_map(|app| &app.moves).peekable();
        let point = |(at, look): (usize, &Look)| {
            let number = self.number(at);
            while runs.next_if(|(_, end)| *end < number).is_some() {}
            let moved = moves.next_if(|moved| moved.look == number);
            let runs = look.known && runs.peek().is_some_and(|(start, _)| *start <= number);
            let rate = moved.map_or_else(Rate::default, |moved| Rate { rx: moved.rx.into(), tx: moved.tx.into() });
            Point { boottime_ns: look.boottime_ns, rate: runs.then_some(rate) }
        };
        self.looks.iter().enumerate().map(point).collect()
    }

    /// What all apps moved together, oldest first.
    pub fn total(&self) -> Vec<Point> {
        let point = |look: &Look| Point { boottime_ns: look.boottime_ns, rate: look.known.then(Rate::default) };
        let mut points: Vec<_> = self.looks.iter().map(point).collect();
        for moved in self.apps.values().chain([&self.dropped]).flat_map(|app| &app.moves) {
            let at = usize::try_from(moved.look.wrapping_sub(self.first)).ok();
            if let Some(rate) = at.and_then(|at| points.get_mut(at)).and_then(|point| point.rate.as_mut()) {
                rate.rx += f64::from(moved.rx);
                rate.tx += f64::from(moved.tx);
            }
        }
        points
    }

    /// A copy that keeps no more than the last seconds.
    pub fn last(&self, secs: u64) -> Self {
        let older = self.older_than(secs);
        let first = self.number(older);
        let part = |app: &App| {
            let older = app.moves.partition_point(|moved| moved.look < first);
            let runs = app.runs.iter().copied().filter(|(_, end)| *end >= first).collect();
            App { runs, moves: app.moves.range(older..).copied().collect() }
        };
        let apps = self.apps.iter().map(|(id, app)| (id, part(app))).filter(|(_, app)| !app.runs.is_empty());
        let apps: BTreeMap<_, _> = apps.map(|(id, app)| (id.clone(), app)).collect();
        let dropped = part(&self.dropped);
        let entries = apps.values().chain([&dropped]).map(App::entries).sum();
        Self { kept_secs: secs, looks: self.looks.range(older..).copied().collect(), first, apps, dropped, entries }
    }
}

impl App {
    fn entries(&self) -> usize {
        self.runs.len() + self.moves.len()
    }

    fn add(&mut self, look: u32, rate: Rate, share: f32) {
        match self.runs.back_mut() {
            Some((_, end)) if end.wrapping_add(1) >= look => *end = look,
            _ => self.runs.push_back((look, look)),
        }
        if rate == Rate::default() {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are kept")]
        let (rx, tx) = (rate.rx as f32 * share, rate.tx as f32 * share);
        match self.moves.back_mut().filter(|last| last.look == look) {
            Some(last) => *last = Move { look, rx: last.rx + rx, tx: last.tx + tx },
            None => self.moves.push_back(Move { look, rx, tx }),
        }
    }

    fn forget_before(&mut self, first: u32) {
        while self.moves.front().is_some_and(|moved| moved.look < first) {
            self.moves.pop_front();
        }
        while self.runs.front().is_some_and(|(_, end)| *end < first) {
            self.runs.pop_front();
        }
        // One that has been busy gives its memory back.
        if self.moves.len() * 4 < self.moves.capacity() {
            self.moves.shrink_to(self.moves.len() * 2);
        }
        if self.runs.len() * 4 < self.runs.capacity() {
            self.runs.shrink_to(self.runs.len() * 2);
        }
    }

    /// Takes in another app.
    fn join(&mut self, app: Self) {
        self.moves.extend(app.moves);
        self.join_moves();
        self.runs.extend(app.runs);
        self.runs.make_contiguous().sort_unstable();
        for (start, end) in std::mem::take(&mut self.runs) {
            match self.runs.back_mut() {
                Some((_, last)) if last.wrapping_add(1) >= start => *last = end.max(*last),
                _ => self.runs.push_back((start, end)),
            }
        }
    }

    /// Makes one of the moves before the same look.
    fn join_moves(&mut self) {
        let mut moves = Vec::from(std::mem::take(&mut self.moves));
        moves.sort_by_key(|moved| moved.look);
        moves.dedup_by(|moved, kept| {
            let same = moved.look == kept.look;
            if same {
                kept.rx += moved.rx;
                kept.tx += moved.tx;
            }
            same
        });
        moves.shrink_to_fit();
        self.moves = moves.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT_NS: u64 = 500_000_000;

    fn rate(rx: f64) -> Rate {
        Rate { rx, tx: rx / 2.0 }
    }

    /// When a look was, in tenths of a second, and what each app downloaded; `None`: a gap.
    type Pushed<'a> = (u64, Option<&'a [(&'a str, f64)]>);

    fn histories(looks: &[Pushed<'_>]) -> Histories {
        let mut histories = Histories::default();
        for (tenths, apps) in looks {
            let apps = apps.map(|apps| apps.iter().map(|(id, rx)| (*id, rate(*rx))));
            histories.push(tenths * 100_000_000, apps);
        }
        histories
    }

    /// The time of each point in tenths of a second, and its download.
    fn shown(points: &[Point]) -> Vec<(u64, Option<f64>)> {
        points.iter().map(|point| (point.boottime_ns / 100_000_000, point.rate.map(|rate| rate.rx))).collect()
    }

    #[test]
    fn every_app_has_its_zeros_and_all_have_the_same_gaps() {
        let kept = histories(&[
            (10, Some(&[("a", 0.0), ("b", 8.0)])),
            (20, Some(&[("a", 2.0), ("b", 0.0)])),
            (30, None),
            (30, Some(&[("a", 99.0)])), // no later than the last
            (40, Some(&[("a", 4.0)])),
            (50, Some(&[("a", 0.0), ("c", 1.0)])),
            (60, Some(&[("a", 0.0), ("b", 0.0)])),
        ]);
        let check = |id: &str, expected: [Option<f64>; 6]| {
            let times = [10, 20, 30, 40, 50, 60];
            assert_eq!(shown(&kept.points(id)), times.into_iter().zip(expected).collect::<Vec<_>>(), "{id}");
        };
        check("a", [Some(0.0), Some(2.0), None, Some(4.0), Some(0.0), Some(0.0)]);
        check("b", [Some(8.0), Some(0.0), None, None, None, Some(0.0)]);
        check("c", [None, None, None, None, Some(1.0), None]);
        check("never seen", [None; 6]);
        let total = [Some(8.0), Some(2.0), None, Some(4.0), Some(1.0), Some(0.0)];
        assert_eq!(kept.total().iter().map(|point| point.rate.map(|rate| rate.rx)).collect::<Vec<_>>(), total);
        assert_eq!(kept.total()[1].rate, Some(rate(2.0)));
        let last = kept.last(2);
        assert_eq!(shown(&last.points("a")), [(40, Some(4.0)), (50, Some(0.0)), (60, Some(0.0))]);
        assert_eq!(shown(&last.points("b")), [(40, None), (50, None), (60, Some(0.0))]);
        assert_eq!(Histories::default().points("a"), []);
    }

    #[test]
    fn what_becomes_a_part_of_an_app_brings_its_past_along() {
        let mut kept = histories(&[
            (10, Some(&[("a", 1.0), ("b", 8.0)])),
            (20, Some(&[("a", 2.0)])),
            (30, None),
            (40, Some(&[("b", 3.0), ("c", 5.0)])),
            (50, Some(&[("c", 0.0)])),
        ]);
        let (total, entries) = (kept.total(), kept.entries);
        kept.join("a", "own");
        kept.join("b", "own");
        kept.join("never seen", "own");
        let expected = [(10, Some(9.0)), (20, Some(2.0)), (30, None), (40, Some(3.0)), (50, None)];
        assert_eq!(shown(&kept.points("own")), expected);
        assert_eq!((kept.points("a"), kept.total()), (kept.points("never seen"), total));
        // Two moves before one look are one, and so are two times that it was running.
        assert_eq!((kept.entries, kept.apps.values().map(App::entries).sum()), (entries - 2, entries - 2));
        kept.join("own", "c");
        let expected = [(10, Some(9.0)), (20, Some(2.0)), (30, None), (40, Some(8.0)), (50, Some(0.0))];
        assert_eq!(shown(&kept.points("c")), expected);
    }

    #[test]
    fn an_app_that_runs_on_takes_no_more_room() {
        let one = |rx: f64| [("a", rx)];
        let (moving, still) = (one(1.0), one(0.0));
        let kept = histories(&[(10, Some(&moving)), (20, Some(&still)), (30, Some(&still))]);
        assert_eq!((kept.apps["a"].runs.len(), kept.entries), (1, 2));
    }

    #[test]
    fn looks_in_quick_succession_are_kept_as_one_with_their_average() {
        let apps = [10, 12, 13, 14, 15, 16, 17].map(|tenths| (tenths, [("a", tenths as f64)]));
        let looks: Vec<Pushed<'_>> = apps.iter().map(|(tenths, apps)| (*tenths, Some(apps.as_slice()))).collect();
        let points = histories(&looks).points("a");
        assert_eq!(points.iter().map(|p| p.boottime_ns / 100_000_000).collect::<Vec<_>>(), [10, 15, 17]);
        // What was moved stays the same: 12 for 0.2 s, then 13, 14 and 15 for 0.1 s each.
        let expected = (12.0 * 2.0 + 13.0 + 14.0 + 15.0) / 5.0;
        assert!((points[1].rate.unwrap().rx - expected).abs() < 1e-5, "{points:?}");
        // A burst is not stretched over the quiet before it, nor lost in the quiet after it.
        let quiet = histories(&[
            (10, Some(&[("a", 0.0)])),
            (11, Some(&[("a", 0.0)])),
            (12, Some(&[("a", 9.0)])),
            (13, Some(&[("a", 0.0)])),
        ]);
        assert!((quiet.points("a")[1].rate.unwrap().rx - 3.0).abs() < 1e-5);
        // Nothing is made one with a gap.
        let gap = histories(&[(10, Some(&[])), (11, Some(&[])), (12, None), (13, Some(&[])), (14, Some(&[]))]);
        assert_eq!(shown(&gap.total()), [(10, Some(0.0)), (11, Some(0.0)), (12, None), (14, Some(0.0))]);
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_apps_that_are_gone_with_it() {
        let mut kept = Histories::of_last(10);
        for tenths in (0..400).step_by(5) {
            let gone = (tenths < 100).then_some(("gone", rate(1.0)));
            kept.push(tenths * 100_000_000, Some([("a", rate(2.0))].into_iter().chain(gone)));
        }
        assert_eq!(kept.apps.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!((kept.looks.len(), kept.entries), (21, 22));
        assert_eq!(shown(&kept.points("a"))[0], (295, Some(2.0)));
        let quiet = std::iter::repeat_n(("a", Rate::default()), 1);
        for tenths in (400..600).step_by(5) {
            kept.push(tenths * 100_000_000, Some(quiet.clone()));
        }
        assert_eq!((kept.entries, kept.apps["a"].moves.capacity()), (1, 0), "its memory is given back");
    }

    /// All that is on the heap. A node of a B-tree holds up to 11 entries, and is at least half full.
    fn bytes(kept: &Histories) -> usize {
        let entries =
            |app: &App| app.moves.capacity() * size_of::<Move>() + app.runs.capacity() * size_of::<(u32, u32)>();
        let node = 2 * (size_of::<String>() + size_of::<App>());
        let app = |(id, app): (&String, &App)| id.capacity() + node + entries(app);
        let apps = kept.apps.iter().map(app).sum::<usize>();
        kept.looks.capacity() * size_of::<Look>() + apps + entries(&kept.dropped)
    }

    #[test]
    fn two_hundred_apps_stay_below_four_megabytes() {
        let names: Vec<String> = (0..200).map(|i| format!("org.example.Application{i}")).collect();
        let fill = |busy: usize, beat_ns: u64| {
            let mut kept = Histories::default();
            for beat in 0..(KEPT_SECS * 1_250_000_000 / beat_ns) {
                let rates =
                    names.iter().enumerate().map(|(i, id)| (id.as_str(), rate(if i < busy { 1e6 } else { 0.0 })));
                kept.push(beat * beat_ns, Some(rates));
            }
            (kept.entries, bytes(&kept))
        };
        for (busy, beat_ns, most) in [
            (0, BEAT_NS, 200_000),
            (50, BEAT_NS, 1_500_000),
            (50, BEAT_NS / 5, 1_500_000),
            (50, BEAT_NS * 3 / 5, 3_000_000),
            (200, BEAT_NS, 4_000_000),
        ] {
            let (entries, bytes) = fill(busy, beat_ns);
            println!("{busy} of 200 busy, a look each {} ms: {entries} entries, {bytes} bytes", beat_ns / 1_000_000);
            assert!(bytes < most, "{busy} busy, a look each {beat_ns} ns: {bytes} bytes");
            assert!(entries <= MOST_ENTRIES);
        }
    }

    #[test]
    fn ninety_thousand_short_lived_apps_stay_below_four_megabytes() {
        const LOOKS: u64 = 1_000;
        // How many new ids a look brings, what each moves, how many of them, and how many come and go all the time.
        for (ids, moved, moving, flapping) in
            [(90, 0.0, 0, 0), (90, 8.0, 90, 0), (90, 8.0, 10, 400), (1, 0.0, 0, 2_000)]
        {
            let case = format!("{ids} a look, {moving} move, {flapping} flap");
            let mut kept = Histories::default();
            let mut push = |look: u64, new: u64| {
                let name = |i: u64| format!("{look}-{i}-{}", "x".repeat(50));
                let mut names: Vec<_> =
                    (0..new).map(|i| (name(i), rate(if i < moving { moved } else { 0.0 }))).collect();
                let flaps = if look.is_multiple_of(2) { 0..flapping } else { 0..0 };
                names.extend(flaps.map(|i| (format!("flaps {i}"), Rate::default())));
                names.push(("runs on".to_owned(), Rate::default()));
                names.push(("busy".to_owned(), rate(2.0)));
                kept.push(look * 600_000_000, Some(names.iter().map(|(id, rate)| (id.as_str(), *rate))));
                assert!(kept.apps.len() <= MOST_APPS + SPARE_APPS, "{case}: {}", kept.apps.len());
                assert!(kept.entries <= MOST_ENTRIES, "{case}: {}", kept.entries);
            };
            (1..=LOOKS).for_each(|look| push(look, ids));
            let counted: usize = kept.apps.values().chain([&kept.dropped]).map(App::entries).sum();
            assert_eq!(kept.entries, counted, "{case}");
            println!("{case}: {} apps, {} entries, {} bytes", kept.apps.len(), kept.entries, bytes(&kept));
            assert!(bytes(&kept) < 4_000_000, "{case}: {} bytes", bytes(&kept));
            // Nothing of what runs or moves gets lost, and all together have moved what they have moved.
            let looks = kept.looks.len();
            for (id, rx) in [("runs on", 0.0), ("busy", 2.0)] {
                let points = kept.points(id);
                assert_eq!(points.len(), looks);
                assert!(points.iter().all(|point| point.rate.is_some_and(|rate| rate.rx == rx)), "{case}: {id}");
            }
            let expected = 2.0 + moved * moving as f64;
            let total = kept.total();
            assert!(total.iter().all(|point| point.rate.is_some_and(|rate| rate.rx == expected)), "{case}");
            assert!(kept.last(60).total().iter().all(|point| point.rate.is_some_and(|rate| rate.rx == expected)));
        }
    }

    #[test]
    fn all_at_once_are_too_many_as_well() {
        let names: Vec<String> = (0..90_000).map(|i| format!("app {i}")).collect();
        let mut kept = Histories::default();
        for look in 1..=3 {
            let busy = std::iter::once(("busy", rate(2.0)));
            let rates = busy.chain(names.iter().map(|id| (id.as_str(), Rate::default())));
            kept.push(look * 1_000_000_000, Some(rates));
        }
        assert!(kept.apps.len() <= MOST_APPS + SPARE_APPS);
        assert_eq!(shown(&kept.points("busy")), [(10, Some(2.0)), (20, Some(2.0)), (30, Some(2.0))]);
    }
}
