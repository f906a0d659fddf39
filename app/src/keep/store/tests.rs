use std::fs;

use jiff::tz::{Offset, TimeZone};

use super::*;
use crate::{
    base::settings::{OwnApp, Settings},
    keep::usage::{By, Group, Seen, Usage, Which},
};

/// A full hour in every zone whose hours are the world's.
const T: i64 = 1_764_201_600;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let (store, aside) = Store::open(&directory.path().join("new/history.db")).unwrap();
    assert_eq!(aside, None);
    (directory, store)
}

fn bytes(rx: u64, tx: u64, internal_rx: u64) -> Bytes {
    Bytes { rx, tx, internal_rx, internal_tx: 0 }
}

fn moved(name: &str, bytes: Bytes) -> Moved {
    let cgroup = format!("/user.slice/{name}.service");
    let unit = Unit { app: name.to_owned(), unit: format!("{name}.service"), cgroup: cgroup.clone() };
    Moved { cgroup, unit, bytes }
}

fn batch(start: i64, moved: Vec<Moved>) -> Batch {
    Batch { start, end: start + STEP_SECS, looked: start, moved, ..Batch::default() }
}

fn counters(epoch: u64, rows: &[(&str, Bytes)]) -> Option<Counters> {
    let rows = rows.iter().map(|(name, bytes)| moved(name, *bytes)).collect();
    Some(Counters { begun: false, epoch, boottime_ns: 5_000_000_000, rows, all: true })
}

fn all(store: &Store, from: i64, to: i64) -> Usage {
    store.usage(&[from, to], &Which::default(), By::All).unwrap()[0].slots[0].usage
}

fn of<'a>(groups: &'a [Group], app: &str) -> &'a Group {
    groups.iter().find(|group| group.app == app).unwrap()
}

/// Numbers that look like chance and are the same each time (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn any_sum_equals_that_of_a_plain_list() {
    for (round, offset) in [0, 60, 330, -210, 765].into_iter().enumerate() {
        let zone = TimeZone::fixed(Offset::from_seconds(offset * 60).unwrap());
        let (_directory, mut store) = store();
        let mut chance = Chance(88_172_645_463_325_252 + round as u64);
        let mut list: Vec<(i64, usize, Bytes)> = Vec::new();
        let mut now = T;
        for step in 0..3 * 8640 {
            now = T + step * STEP_SECS;
            let busy: Vec<usize> = (0..4).filter(|_| chance.below(40) == 0).collect();
            let figures =
                busy.iter().map(|app| (*app, bytes(chance.below(1 << 30), chance.below(999), chance.below(7))));
            let figures: Vec<_> = figures.collect();
            if !figures.is_empty() {
                list.extend(figures.iter().map(|(app, bytes)| (now, *app, *bytes)));
                let rows = figures.iter().map(|(app, bytes)| moved(&format!("app{app}"), *bytes)).collect();
                store.record(&Batch { estimate: chance.below(3) == 0, ..batch(now, rows) }).unwrap();
            }
            if step % 500 == 0 {
                while store.pack_hours(now, &zone).unwrap() {}
                store.drop_old(now, 1 << 30).unwrap();
            }
        }
        // As finely as the steps of a day are known, and minutes before.
        let fine = now - 24 * HOUR_SECS;
        for _ in 0..200 {
            let mut edge = || {
                let at = T + i64::try_from(chance.below(3 * 86_400)).unwrap();
                if at < fine { at.div_euclid(60) * 60 } else { at.div_euclid(10) * 10 }
            };
            let mut edges = vec![edge(), edge(), edge(), edge()];
            edges.sort_unstable();
            edges.dedup();
            let groups = store.usage(&edges, &Which::default(), By::App).unwrap();
            for app in 0..4 {
                let expected = edges.windows(2).map(|pair| {
                    let within = list.iter().filter(|(at, of, _)| *of == app && (pair[0]..pair[1]).contains(at));
                    within.fold(Bytes::default(), |sum, (_, _, bytes)| sum.plus(*bytes))
                });
                let expected: Vec<_> = expected.collect();
                let found = groups.iter().find(|group| group.app == format!("app{app}"));
                let found = found.map(|group| group.slots.iter().map(|slot| slot.usage.bytes).collect());
                assert_eq!(found.unwrap_or(vec![Bytes::default(); expected.len()]), expected, "{offset}: {edges:?}");
            }
        }
    }
}

#[test]
fn hours_are_packed_and_what_is_too_old_is_coarser() {
    let (_directory, mut store) = store();
    for minute in 0..600 {
        store.record(&batch(T + minute * 60 + 20, vec![moved("a", bytes(7, 1, 0))])).unwrap();
    }
    let whole = all(&store, T, T + 36_000);
    assert_eq!(whole.bytes, bytes(4200, 600, 0));
    let now = T + 36_000;
    while store.pack_hours(now, &TimeZone::UTC).unwrap() {}
    let steps: i64 = store.db.query_row("SELECT count(*) FROM step", [], |row| row.get(0)).unwrap();
    assert!((60..=120).contains(&steps), "{steps}: the last hour and the one that is just over");
    assert_eq!(all(&store, T, T + 36_000), whole);
    assert_eq!(all(&store, T + 20, T + 30).bytes, bytes(7, 1, 0));
    store.drop_old(now + STEPS_KEPT_SECS, 1 << 30).unwrap();
    assert_eq!(all(&store, T, T + 60).bytes, bytes(7, 1, 0), "minutes are kept");
    assert_eq!(all(&store, T, T + 20).bytes, bytes(7, 1, 0), "a minute is where it began");
    store.drop_old(now + MINUTES_KEPT_SECS, 1 << 30).unwrap();
    assert_eq!(all(&store, T, T + 36_000), whole, "hours stay");
    let cut = all(&store, T, T + 1800);
    assert_eq!(
        (cut.bytes, cut.estimate_bytes),
        (bytes(420, 60, 0), 480),
        "an hour is where it began, and that is said"
    );
}

#[test]
fn units_apps_networks_and_everything_are_told_apart() {
    let (_directory, mut store) = store();
    let home = Network { name: Some("Home".to_owned()), metered: Some(false) };
    let phone = Network { name: Some("Phone".to_owned()), metered: Some(true) };
    let mut second = moved("a", bytes(5, 0, 9));
    second.cgroup.push_str("/x");
    second.unit = Unit { unit: "b.service".to_owned(), cgroup: "/user.slice/b.service".to_owned(), ..second.unit };
    let rows = vec![moved("a", bytes(100, 10, 1)), second, moved("c", bytes(1, 0, 0))];
    let names = vec![("a".to_owned(), "An App".to_owned())];
    store.record(&Batch { network: home.clone(), names, ..batch(T, rows) }).unwrap();
    let again = Batch { network: phone.clone(), estimate: true, ..batch(T + 10, vec![moved("a", bytes(1000, 0, 0))]) };
    store.record(&again).unwrap();
    let usage = |which: &Which, by| store.usage(&[T, T + 60], which, by).unwrap();
    let apps = usage(&Which::default(), By::App);
    assert_eq!(apps.len(), 2);
    assert_eq!((of(&apps, "a").name.as_str(), of(&apps, "c").name.as_str()), ("An App", "c"));
    assert_eq!(of(&apps, "a").total(), Usage { bytes: bytes(1105, 10, 10), estimate_bytes: 1000 });
    let units = usage(&Which { apps: vec!["a".to_owned()], ..Which::default() }, By::Unit);
    let names: Vec<_> = units.iter().map(|group| group.unit.as_deref().unwrap()).collect();
    assert_eq!(names, ["a.service", "b.service"]);
    let networks = usage(&Which::default(), By::Network);
    assert_eq!(networks.iter().map(|group| group.network.clone().unwrap()).collect::<Vec<_>>(), [home, phone]);
    assert_eq!(usage(&Which { metered: Some(true), ..Which::default() }, By::All)[0].total().external(), 1000);
    assert_eq!(usage(&Which { metered: Some(false), ..Which::default() }, By::All)[0].total().external(), 116);
    assert_eq!(usage(&Which { units: vec!["b*".to_owned()], ..Which::default() }, By::All)[0].total().external(), 5);
    let below = |path: &str| Which { cgroups: vec![path.to_owned()], ..Which::default() };
    assert_eq!(usage(&below("/user.slice/b.service"), By::All)[0].total().external(), 5);
    assert_eq!(usage(&below("/user.slice/"), By::All)[0].total().external(), 1116);
    assert_eq!(usage(&below("/user.sli"), By::All)[0].total().external(), 0);
    assert_eq!(store.since().unwrap(), Some(T));
    assert_eq!(store.apps().unwrap(), [("a".to_owned(), "An App".to_owned()), ("c".to_owned(), "c".to_owned())]);
}

/// What was counted while nobody recorded: netglance was closed, the helper was restarted or away, the computer rebooted.
#[test]
fn what_was_counted_meanwhile_is_made_up() {
    let (_directory, mut store) = store();
    // The very first look says nothing of what was before it.
    let first =
        Batch { counters: counters(1, &[("a", bytes(900, 0, 0))]), ..batch(T, vec![moved("a", bytes(100, 0, 0))]) };
    store.record(&first).unwrap();
    assert_eq!(all(&store, 0, i64::MAX).bytes, bytes(100, 0, 0));
    // Closed for an hour, then 50 more in the first step.
    let later = T + 3600;
    let rows = [("a", bytes(1950, 70, 0)), ("new", bytes(8, 0, 0))];
    let closed = Batch { counters: counters(1, &rows), ..batch(later, vec![moved("a", bytes(50, 0, 0))]) };
    store.record(&closed).unwrap();
    assert_eq!(all(&store, 0, i64::MAX), Usage { bytes: bytes(1158, 70, 0), estimate_bytes: 0 });
    let edges = [T, T + 10, later, later + 10, later + 20];
    let groups = store.usage(&edges, &Which::default(), By::All).unwrap();
    let slots: Vec<_> = groups[0].slots.iter().map(|slot| (slot.usage.bytes.rx, slot.seen)).collect();
    assert_eq!(slots, [(100, Seen::Looked), (1008, Seen::Away), (50, Seen::Looked), (0, Seen::Not)]);
    // A part of the sum is an estimate, and the parts have the whole sum.
    let parts: Vec<_> = (0..6).map(|part| T + 10 + part * 600).chain([later]).collect();
    let parts = store.usage(&parts, &Which::default(), By::All).unwrap();
    assert!(parts[0].slots[2].usage.estimate_bytes > 0);
    assert_eq!(parts[0].slots.iter().map(|slot| slot.usage.bytes.rx).sum::<u64>(), 1008);
    // The helper is away for a step, which the estimate sees a part of; its epoch goes on.
    let away = Batch { estimate: true, ..batch(later + 10, vec![moved("a", bytes(30, 0, 0))]) };
    store.record(&away).unwrap();
    let back = Batch {
        counters: counters(1, &[("a", bytes(2000, 70, 0))]),
        ..batch(later + 20, vec![moved("a", bytes(5, 0, 0))])
    };
    store.record(&back).unwrap();
    assert_eq!(all(&store, 0, i64::MAX).bytes, bytes(1208, 70, 0), "15 were missing, and nothing is counted twice");
    // Its counters begin anew: all that they say is new.
    let anew = Batch {
        counters: counters(2, &[("a", bytes(40, 0, 0))]),
        ..batch(later + 30, vec![moved("a", bytes(0, 0, 0))])
    };
    store.record(&anew).unwrap();
    assert_eq!(all(&store, 0, i64::MAX).bytes, bytes(1248, 70, 0));
}

fn place(machine: &str, boot_id: &str) -> Place {
    Place { machine: machine.to_owned(), boot_id: boot_id.to_owned() }
}

#[test]
fn the_counters_of_another_computer_say_nothing() {
    let (_directory, mut store) = store();
    let there = |start, rx, moved| {
        let counters = counters(2, &[("a", bytes(rx, 0, 0))]);
        Batch { place: place("another", "boot"), counters, ..batch(start, moved) }
    };
    store.record(&Batch { counters: counters(1, &[("a", bytes(10, 0, 0))]), ..batch(T, vec![]) }).unwrap();
    store.record(&there(T + 100, 900, vec![moved("a", bytes(3, 0, 0))])).unwrap();
    assert_eq!(all(&store, 0, i64::MAX).bytes, bytes(3, 0, 0));
    store.record(&there(T + 200, 950, vec![])).unwrap();
    assert_eq!(all(&store, 0, i64::MAX).bytes, bytes(53, 0, 0), "its own go on");
    let last = Last { place: place("this", "x"), boottime_ns: 5, rows: vec![moved("a", bytes(70, 0, 0))] };
    store.record_last(&last).unwrap();
    assert_eq!(all(&store, 0, i64::MAX).bytes, bytes(53, 0, 0));
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let (_directory, mut store) = store();
    let times = (0..40).chain(-360..40).chain(100..140);
    let mut sum = 0;
    for (number, step) in times.enumerate() {
        store.record(&batch(T + step * 10, vec![moved("a", bytes(1 << (number % 20), 0, 0))])).unwrap();
        sum += 1 << (number % 20);
        if number % 50 == 0 {
            while store.pack_hours(T + step * 10 + 2 * HOUR_SECS, &TimeZone::UTC).unwrap() {}
        }
    }
    assert_eq!(all(&store, 0, i64::MAX).bytes, bytes(sum, 0, 0));
    assert_eq!(all(&store, T - 3600, T).bytes.rx + all(&store, T, T + 3600).bytes.rx, sum);
}

#[test]
fn the_end_of_the_boot_before_is_made_up() {
    let boot = |boot_id: &str, boottime_secs: u64, epoch, rx, start, moved| {
        let mut counters = counters(epoch, &[("a", bytes(rx, 0, 0))]).unwrap();
        counters.boottime_ns = boottime_secs * 1_000_000_000;
        Batch { place: place("m", boot_id), counters: Some(counters), ..batch(start, moved) }
    };
    let last = |boot_id: &str, boottime_secs: u64, rx| Last {
        place: place("m", boot_id),
        boottime_ns: boottime_secs * 1_000_000_000,
        rows: vec![moved("a", bytes(rx, 0, 0))],
    };
    let sum = |store: &Store| all(store, 0, i64::MAX).bytes.rx;
    let (_directory, mut store) = store();
    store.record_last(&last("zero", 5, 77)).unwrap();
    assert_eq!(sum(&store), 0, "nothing was recorded before it");
    store.record(&boot("one", 100, 1, 10, T, vec![])).unwrap();
    // It moved 5 more until 300 seconds after its start, and 7 in the next boot before anybody looked.
    store.record_last(&last("one", 300, 15)).unwrap();
    let taken = store.taken().unwrap().unwrap();
    assert_eq!((taken.place, taken.time), (place("m", "one"), T + 10 + 200));
    store.record_last(&last("one", 300, 15)).unwrap();
    assert_eq!(sum(&store), 5, "killed right after, it is taken in once more, and nothing is new");
    let moved_two = || vec![moved("a", bytes(2, 0, 0))];
    store.record(&boot("two", 50, 2, 9, T + 1000, moved_two())).unwrap();
    assert_eq!(sum(&store), 14);
    assert_eq!(all(&store, T + 10, T + 210), Usage { bytes: bytes(5, 0, 0), estimate_bytes: 0 });
    // A boot in which netglance never ran: all of it is new.
    store.record_last(&last("three", 60, 1000)).unwrap();
    assert_eq!(sum(&store), 1014);
    // The power fails in a boot before the helper has saved anything: it still offers the one before that.
    store.record(&boot("four", 50, 4, 1, T + 9000, vec![])).unwrap();
    store.record_last(&last("three", 60, 1000)).unwrap();
    store.record_last(&last("one", 300, 15)).unwrap();
    store.record(&boot("five", 50, 5, 2, T + 19_000, vec![])).unwrap();
    assert_eq!(sum(&store), 1017);
    // The estimate has seen a part of a boot before the helper offers the end of the last one.
    let eight =
        Batch { place: place("m", "six"), estimate: true, ..batch(T + 29_000, vec![moved("a", bytes(8, 0, 0))]) };
    store.record(&eight).unwrap();
    store.record_last(&last("five", 90, 3)).unwrap();
    store.record(&boot("six", 99, 6, 9, T + 29_010, vec![])).unwrap();
    assert_eq!(sum(&store), 1017 + 8 + 1 + 1);
}

/// Another program had recorded while this one waited; the first counters of an epoch; what is moved under another one.
#[test]
fn an_epoch_that_begins_under_a_batch_counts_whole() {
    let (_directory, mut store) = store();
    store.record(&Batch { counters: counters(1, &[("a", bytes(0, 0, 0))]), ..batch(T, vec![]) }).unwrap();
    let mut begun = counters(2, &[("a", bytes(30, 0, 0))]).unwrap();
    begun.begun = true;
    store.record(&Batch { counters: Some(begun), ..batch(T + 10, vec![moved("a", bytes(100, 0, 0))]) }).unwrap();
    assert_eq!(all(&store, 0, i64::MAX).bytes.rx, 130);
}

#[test]
fn a_pause_is_a_sum_and_a_quiet_time_is_none() {
    let (_directory, mut store) = store();
    store.record(&Batch { counters: counters(1, &[("a", bytes(0, 0, 0))]), ..batch(T, vec![]) }).unwrap();
    // Nothing moved for 200 seconds, then something did.
    let rows = vec![moved("a", bytes(3, 0, 0))];
    let quiet = Batch { looked: T + 10, counters: counters(1, &[("a", bytes(3, 0, 0))]), ..batch(T + 200, rows) };
    store.record(&quiet).unwrap();
    // No look for an hour.
    let rows = vec![moved("a", bytes(360, 0, 0))];
    let counters = counters(1, &[("a", bytes(363, 0, 0))]);
    let (start, end) = (T + 210, T + 3810);
    store.record(&Batch { start, end, looked: start, counters, ..batch(start, rows) }).unwrap();
    let edges = [T, T + 100, T + 210, T + 2010, T + 3810, T + 3820];
    let groups = store.usage(&edges, &Which::default(), By::All).unwrap();
    let slots: Vec<_> = groups[0].slots.iter().map(|slot| (slot.usage.bytes.rx, slot.seen)).collect();
    let (looked, away) = (Seen::Looked, Seen::Away);
    assert_eq!(slots, [(0, looked), (3, looked), (180, away), (180, away), (0, Seen::Not)]);
}

#[test]
fn what_is_forgotten_is_gone_and_nothing_else() {
    let (directory, mut store) = store();
    let name = "Very-Secret-App";
    for hour in 0..6 {
        for step in 0..12 {
            let at = T + hour * 3600 + step * 300;
            store.record(&batch(at, vec![moved(name, bytes(10, 0, 0)), moved("b", bytes(1, 0, 0))])).unwrap();
        }
    }
    while store.pack_hours(T + 5 * 3600, &TimeZone::UTC).unwrap() {}
    let away = Batch { end: T + 10 * 3600, ..batch(T + 9 * 3600, vec![moved("b", bytes(3600, 0, 0))]) };
    store.record(&away).unwrap();
    // From the middle of a packed hour to the middle of one that isn't.
    let (from, to) = (T + 1800, T + 5 * 3600 + 1800);
    let before = all(&store, 0, i64::MAX).bytes.rx;
    let within = all(&store, from, to).bytes.rx;
    store.forget_time(from..to).unwrap();
    assert_eq!(all(&store, from, to).bytes.rx, 0);
    assert_eq!(all(&store, 0, i64::MAX).bytes.rx, before - within);
    store.forget_time(T + 9 * 3600 + 600..T + 9 * 3600 + 1200).unwrap();
    let edges = [T + 9 * 3600, T + 9 * 3600 + 600, T + 9 * 3600 + 1200, T + 10 * 3600];
    let slots = &store.usage(&edges, &Which::default(), By::All).unwrap()[0].slots;
    let slots: Vec<_> = slots.iter().map(|slot| (slot.usage.bytes.rx, slot.seen)).collect();
    assert_eq!(slots, [(600, Seen::Away), (0, Seen::Not), (2400, Seen::Away)]);
    store.forget_app(name).unwrap();
    assert_eq!(store.apps().unwrap().len(), 1);
    let holds = |name: &str| {
        let files = fs::read_dir(directory.path().join("new")).unwrap().flatten();
        files
            .map(|file| fs::read(file.path()).unwrap())
            .any(|all| all.windows(name.len()).any(|w| w == name.as_bytes()))
    };
    assert!(!holds(name), "not a letter of it is left");
    store.forget_everything().unwrap();
    assert_eq!((all(&store, 0, i64::MAX), store.since().unwrap()), (Usage::default(), None));
    assert!(!holds("b.service"));
}

#[test]
fn a_damaged_file_is_put_aside_and_a_newer_one_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    for (number, damage) in [(1, b"not a database, but a text that is long enough".repeat(300)), (2, b"x".repeat(100))]
    {
        fs::write(&path, &damage).unwrap();
        let (store, aside) = Store::open(&path).unwrap();
        let aside = aside.unwrap();
        assert_eq!(aside, directory.path().join(format!("history.db.damaged-{number}")));
        assert_eq!(fs::read(aside).unwrap(), damage);
        assert_eq!(store.since().unwrap(), None);
    }
    // A page in the middle is overwritten.
    let (mut store, _) = Store::open(&path).unwrap();
    for step in 0..2000 {
        store.record(&batch(T + step * 10, vec![moved("a", bytes(1, 1, 1)), moved("b", bytes(1, 1, 1))])).unwrap();
    }
    drop(store);
    let mut all = fs::read(&path).unwrap();
    let middle = all.len() / 2 / 4096 * 4096;
    all[middle..middle + 4096].fill(0xa5);
    fs::write(&path, &all).unwrap();
    let (store, aside) = Store::open(&path).unwrap();
    assert_eq!(fs::read(aside.unwrap()).unwrap(), all);
    store.db.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    assert!(matches!(Store::open(&path), Err(Error::Newer { .. })));
    assert!(matches!(Store::read(&path), Err(Error::Newer { .. })));
}

#[test]
fn one_writes_and_others_read_and_the_file_is_its_owners_alone() {
    let (directory, mut store) = store();
    let path = directory.path().join("new/history.db");
    assert!(matches!(Store::open(&path), Err(Error::Locked)));
    let reader = Store::read(&path).unwrap().unwrap();
    store.record(&batch(T, vec![moved("a", bytes(1, 2, 3))])).unwrap();
    assert_eq!(all(&reader, T, T + 10).bytes, bytes(1, 2, 3));
    for file in fs::read_dir(directory.path().join("new")).unwrap().flatten() {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
    assert_eq!(fs::metadata(directory.path().join("new")).unwrap().permissions().mode() & 0o777, 0o700);
    let mode: String = store.db.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    drop(store);
    assert!(Store::open(&path).is_ok());
    assert!(Store::read(&directory.path().join("none.db")).unwrap().is_none());
}

#[test]
fn a_file_of_every_earlier_version_is_brought_up_to_date() {
    for version in 0..VERSION {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.db");
        let db = Connection::open(&path).unwrap();
        for migration in &MIGRATIONS[..version] {
            db.execute_batch(migration).unwrap();
        }
        db.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        drop(db);
        assert!(Store::read(&path).unwrap().is_none(), "there is nothing to read yet");
        let (mut store, aside) = Store::open(&path).unwrap();
        assert_eq!(aside, None);
        store.record(&batch(T, vec![moved("a", bytes(1, 2, 3))])).unwrap();
    }
}

#[test]
fn what_comes_late_is_added_to_what_was_packed() {
    let (_directory, mut store) = store();
    let pack = |store: &mut Store| while store.pack_hours(T + 40 * DAY_SECS, &TimeZone::UTC).unwrap() {};
    store.record(&batch(T, vec![moved("a", bytes(100, 0, 0))])).unwrap();
    pack(&mut store);
    // Its steps are gone, then its minutes as well.
    store.drop_old(T + STEPS_KEPT_SECS + 10, 1 << 30).unwrap();
    store.record(&batch(T + 60, vec![moved("a", bytes(20, 0, 0))])).unwrap();
    pack(&mut store);
    assert_eq!(all(&store, T, T + 60).bytes.rx, 100);
    store.drop_old(T + MINUTES_KEPT_SECS + 10, 1 << 30).unwrap();
    store.record(&batch(T + 70, vec![moved("a", bytes(3, 0, 0))])).unwrap();
    pack(&mut store);
    assert_eq!(all(&store, T, T + HOUR_SECS).bytes.rx, 123);
}

#[test]
fn names_go_with_the_last_that_is_known_of_them() {
    let (_directory, mut store) = store();
    let home = Network { name: Some("Home".to_owned()), metered: None };
    store.record(&Batch { network: home, ..batch(T, vec![moved("gone", bytes(1, 0, 0))]) }).unwrap();
    store.record(&batch(T + 100, vec![moved("stays", bytes(1, 0, 0))])).unwrap();
    store.forget_time(T..T + 50).unwrap();
    assert_eq!(store.apps().unwrap(), [("stays".to_owned(), "stays".to_owned())]);
    let origins: i64 = store.db.query_row("SELECT count(*) FROM origin", [], |row| row.get(0)).unwrap();
    assert_eq!(origins, 1);
}

#[test]
fn what_else_is_in_the_file_costs_no_hour() {
    let (_directory, mut store) = store();
    store.record(&batch(T, vec![moved("a", bytes(7, 0, 0))])).unwrap();
    while store.pack_hours(T + DAY_SECS, &TimeZone::UTC).unwrap() {}
    let rows: Vec<_> = (0..5000).map(|i| moved(&format!("app{i}"), bytes(1, 0, 0))).collect();
    store.record(&batch(T + DAY_SECS, rows)).unwrap();
    store.drop_old(T + DAY_SECS, 200_000).unwrap();
    assert_eq!(all(&store, T, T + HOUR_SECS).bytes.rx, 7);
}

#[test]
fn the_file_keeps_to_its_limit() {
    let (_directory, mut store) = store();
    for hour in 0..24 * 40 {
        let rows = (0..20).map(|app| moved(&format!("app{app}"), bytes(1 << 20, 1 << 10, 5))).collect::<Vec<_>>();
        for minute in 0..2 {
            let at = T + hour * 3600 + minute * 1800;
            store.record(&Batch { looked: at - 1790, ..batch(at, rows.clone()) }).unwrap();
        }
        while store.pack_hours(T + (hour + 2) * 3600, &TimeZone::UTC).unwrap() {}
    }
    let now = T + 24 * 40 * 3600;
    let size = |store: &Store| {
        let pages: i64 = store.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        u64::try_from(pages * 4096).unwrap()
    };
    assert!(!store.drop_old(now, 50 << 20).unwrap());
    let whole = size(&store);
    let sum = all(&store, 0, i64::MAX);
    assert!(store.drop_old(now, 400_000).unwrap());
    assert!(size(&store) <= 400_000, "{} of {whole}", size(&store));
    assert_eq!(all(&store, 0, i64::MAX).bytes, sum.bytes, "minutes go before hours");
    assert!(store.drop_old(now, 300_000).unwrap());
    assert!(size(&store) <= 300_000, "{} of {whole}", size(&store));
    let recent = all(&store, now - 86_400, now).bytes;
    assert_eq!(recent.rx, (20 * 24 * 2) << 20, "and the oldest hours before the others");
}

/// What containers had moved before anybody might look at them is not made up, but what they move while nobody records is.
#[test]
fn containers_are_made_up_from_when_they_were_first_looked_at() {
    let (_folder, mut store) = store();
    let row = |name: &str, address: &str, rx| {
        let cgroup = format!("/forwarded/docker/{name}");
        let unit = Unit { app: format!("docker:{name}"), unit: name.to_owned(), cgroup };
        Moved { cgroup: format!("/forwarded/{address}"), unit, bytes: bytes(rx, 0, 0) }
    };
    let looked = || Moved { cgroup: "/forwarded".to_owned(), ..Moved::default() };
    let record = |store: &mut Store, start: i64, moved: Vec<Moved>, mut rows: Vec<Moved>, all: bool| {
        rows.push(self::moved("app", bytes(7, 0, 0)));
        let counters = Some(Counters { epoch: 1, begun: false, boottime_ns: 1, rows, all });
        store.record(&Batch { counters, ..batch(start, moved) }).unwrap();
    };
    let so_far = |store: &Store, app: &str| {
        let groups = store.usage(&[0, 100_000], &Which::default(), By::App).unwrap();
        groups.iter().find(|group| group.app == app).map_or(0, |group| group.slots[0].usage.bytes.rx)
    };
    record(&mut store, 1000, vec![], vec![], true);
    // They may be looked at from now on.
    record(&mut store, 1010, vec![], vec![row("web", "10.0.0.2", 1000), looked()], false);
    assert_eq!(so_far(&store, "docker:web"), 0);
    record(
        &mut store,
        1020,
        vec![row("web", "10.0.0.2", 5)],
        vec![row("web", "10.0.0.2", 1005), row("db", "10.0.0.3", 3)],
        false,
    );
    assert_eq!((so_far(&store, "docker:web"), so_far(&store, "docker:db")), (5, 3), "a new one counts whole");
    // Nobody records for a while; then they can't be looked at at first.
    record(&mut store, 2000, vec![], vec![], true);
    record(&mut store, 2010, vec![], vec![row("web", "10.0.0.2", 1025), row("db", "10.0.0.3", 3), looked()], false);
    assert_eq!((so_far(&store, "docker:web"), so_far(&store, "docker:db")), (25, 3));
    // Another one has got the address of one that is gone, within one batch.
    let moved = vec![row("web", "10.0.0.2", 4), row("other", "10.0.0.2", 6)];
    record(&mut store, 2020, moved, vec![row("other", "10.0.0.2", 1035)], false);
    assert_eq!((so_far(&store, "docker:web"), so_far(&store, "docker:other")), (29, 6));
    // In the next epoch, everything is new.
    let counters = Some(Counters {
        epoch: 2,
        begun: true,
        boottime_ns: 2,
        rows: vec![row("web", "10.0.0.2", 2), looked()],
        all: true,
    });
    store.record(&Batch { counters, ..batch(2030, vec![]) }).unwrap();
    assert_eq!(so_far(&store, "docker:web"), 31);
}

/// What a person says is one app has its past from before that.
#[test]
fn an_app_has_the_past_of_what_belongs_to_it() {
    let (_folder, mut store) = store();
    store
        .record(&batch(
            1000,
            vec![moved("web", bytes(5, 0, 0)), moved("db", bytes(7, 0, 0)), moved("mail", bytes(9, 0, 0))],
        ))
        .unwrap();
    let shop =
        OwnApp { name: "Shop".to_owned(), units: vec!["web.service".into(), "d?.service".into()], ..OwnApp::default() };
    let defined = |apps: &[OwnApp]| Apps::new(&Settings { apps: apps.to_vec(), ..Settings::default() });
    let apps = |store: &Store| {
        let groups = store.usage(&[0, 10_000], &Which::default(), By::App).unwrap();
        groups
            .iter()
            .map(|group| format!("{} {}", group.name, group.slots[0].usage.bytes.rx))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(apps(&store), "db 7, mail 9, web 5");
    store.define(&defined(std::slice::from_ref(&shop)));
    assert_eq!(apps(&store), "Shop 12, mail 9");
    assert_eq!(store.apps().unwrap().len(), 2);
    store.define(&defined(&[]));
    assert_eq!(apps(&store), "db 7, mail 9, web 5", "nothing is lost with the definition");
    store.define(&defined(&[shop]));
    store.forget_app("Shop").unwrap();
    assert_eq!(apps(&store), "mail 9");
}
