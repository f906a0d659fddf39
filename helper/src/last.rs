//! The totals of this boot, saved for the next one, and those of the boot before, for whoever asks.
//!
//! `totals.json` has this boot's as they were at the latest save. The first save of a boot moves those of the boot before to
//! `last.json`. A crash at any point leaves one or the other whole. It reads no counter and knows no caller: `table.rs` says
//! when, and what.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use netglance_dbus::{error::chain, sample::Last};

use crate::{
    books::Totals,
    log,
    saved::Saved,
    store::{self, Store},
};

/// The time between two saves.
const EVERY: Duration = Duration::from_secs(300);
/// How soon it is looked whether a save is on the disk.
const SYNCED_AFTER: Duration = Duration::from_secs(1);
/// A new one at each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// When a save has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It may still be on its way to the disk afterwards: nobody waits for that.
    Soon,
    /// Before anything else.
    Now,
}

/// What is saved by now, told by its epoch and the sum of all its bytes, which only grows.
type Mark = (u64, u64);

/// Both files.
#[derive(Debug)]
pub struct Boots {
    /// Empty: unknown, and nothing is saved.
    boot_id: String,
    file: Store,
    last_file: Store,
    last: Option<Saved>,
    /// What is in the file is the boot's before, as nothing of this one has been saved.
    is_of_last: bool,
    /// What is in the file, if it is this boot's and this process has saved it.
    saved: Option<Mark>,
    /// On its way to the disk, beside the file.
    syncing: Option<(Mark, JoinHandle<io::Result<()>>)>,
    next: Instant,
    left_out: usize,
    trouble: Option<String>,
}

impl Boots {
    /// Reads what is in the directory.
    pub fn open(state: &Path) -> Self {
        let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_else(|error| {
            log(format_args!("cannot read {BOOT_ID}, so nothing is saved for the next boot: {error}"));
            String::new()
        });
        Self::of(boot_id.trim(), state)
    }

    fn of(boot_id: &str, state: &Path) -> Self {
        let (file, last_file) = (Store::at(state, "totals.json"), Store::at(state, "last.json"));
        let load = |store: &Store| {
            store.load::<Saved>().unwrap_or_else(|error| {
                log(format_args!("{}; these totals of an earlier time are not known", chain(&error)));
                None
            })
        };
        let latest = load(&file).filter(|saved| saved.boot_id != boot_id);
        let is_of_last = latest.is_some();
        let last = latest.or_else(|| load(&last_file));
        Self {
            boot_id: boot_id.to_owned(),
            file,
            last_file,
            last,
            is_of_last,
            saved: None,
            syncing: None,
            next: Instant::now() + EVERY,
            left_out: 0,
            trouble: None,
        }
    }

    /// The last totals of the boot before of which there are any, as far as a user may see them.
    pub fn last(&self, user: u32) -> Last {
        self.last.as_ref().map(|last| last.seen_by(user)).unwrap_or_default()
    }

    /// When to call [`Self::go_on`].
    pub fn due(&self) -> Instant {
        if self.syncing.is_some() { self.next.min(Instant::now() + SYNCED_AFTER) } else { self.next }
    }

    /// Finishes a save that is on the disk by now. Whether it is time for the next one.
    pub fn go_on(&mut self) -> bool {
        if let Some((mark, sync)) = self.syncing.take_if(|(_, sync)| sync.is_finished()) {
            let synced = sync.join().unwrap_or_else(|_| Err(io::Error::other("it was not written")));
            let done = synced.map_err(|error| self.file.unwritten(error)).and_then(|()| self.file.put_in_place());
            self.note(done.map(|()| mark));
        }
        let now = Instant::now();
        let is_due = self.next <= now;
        if is_due {
            self.next = now + EVERY;
        }
        is_due
    }

    /// Saves this boot's totals, by owner and path, if they are others than those that were saved last.
    pub fn save(&mut self, epoch: u64, boottime_ns: u64, totals: HashMap<(Option<u32>, String), Totals>, when: When) {
        let sum = totals.values().flatten().fold(0_u64, |sum, bytes| sum.wrapping_add(*bytes));
        let mark = (epoch, sum);
        // What is still on its way to the disk is the disk's trouble: another one would not get there sooner.
        let is_busy = when == When::Soon && self.syncing.is_some();
        if self.boot_id.is_empty() || sum == 0 || self.saved == Some(mark) || is_busy {
            return;
        }
        self.syncing = None;
        let (saved, left_out) = Saved::new(&self.boot_id, boottime_ns, totals);
        if left_out > 0 && self.left_out == 0 {
            log(format_args!(
                "{left_out} control groups are not saved for the next boot, as their accounts have too many"
            ));
        }
        self.left_out = left_out;
        let done = self.make_room().and_then(|()| match when {
            When::Now => self.file.save(&saved, true).map(|()| Some(mark)),
            When::Soon => self.begin(&saved, mark).map(|()| None),
        });
        match done {
            Ok(Some(mark)) => self.note(Ok(mark)),
            Ok(None) => {}
            Err(error) => self.note(Err(error)),
        }
    }

    /// Forgets everything, in the files as well.
    pub fn forget(&mut self) -> impl Iterator<Item = store::Error> {
        (self.last, self.is_of_last, self.saved, self.syncing, self.trouble) = (None, false, None, None, None);
        [self.file.remove(), self.last_file.remove()].into_iter().filter_map(Result::err)
    }

    /// What is wrong, for a person.
    pub fn warning(&self) -> Option<String> {
        let text = |why| format!("what is counted now can't be saved for the next start of the computer: {why}");
        self.trouble.as_ref().map(text)
    }

    /// What the boot before has left makes room only when there is something to take its place.
    fn make_room(&mut self) -> Result<(), store::Error> {
        if self.is_of_last {
            self.file.move_to(&self.last_file)?;
            self.is_of_last = false;
        }
        Ok(())
    }

    /// Writes beside the file, and has a thread of its own wait for the disk, which may take seconds: nobody's call waits for it.
    fn begin(&mut self, saved: &Saved, mark: Mark) -> Result<(), store::Error> {
        let new = self.file.write_beside(saved)?;
        let sync = thread::Builder::new().name("sync".into()).spawn(move || new.sync_all());
        self.syncing = Some((mark, sync.map_err(|error| self.file.unwritten(error))?));
        Ok(())
    }

    fn note(&mut self, done: Result<Mark, store::Error>) {
        match done {
            Ok(mark) => (self.saved, self.trouble) = (Some(mark), None),
            Err(error) => {
                let text = chain(&error);
                if self.trouble.is_none() {
                    log(&text);
                }
                self.trouble = Some(text);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const USER: u32 = 1000;

    fn totals(bytes: u64) -> HashMap<(Option<u32>, String), Totals> {
        HashMap::from([((Some(USER), "/a".to_owned()), [bytes, 0, 0, 0])])
    }

    fn last(boots: &Boots) -> (String, u64) {
        let last = boots.last(USER);
        (last.boot_id, last.rows.iter().map(|row| row.rx_bytes).sum())
    }

    fn is(boots: &Boots, boot: &str, bytes: u64) {
        assert_eq!(last(boots), (boot.to_owned(), bytes));
    }

    /// What is on its way to the disk arrives.
    fn arrive(boots: &mut Boots) {
        while boots.syncing.is_some() {
            boots.go_on();
            thread::yield_now();
        }
    }

    #[test]
    fn each_boot_finds_what_the_one_before_has_saved_last() {
        let directory = tempfile::tempdir().unwrap();
        let of = |boot| Boots::of(boot, directory.path());
        let mut boots = of("a");
        is(&boots, "", 0);
        boots.save(1, 10, totals(5), When::Now);
        boots.save(1, 11, totals(7), When::Soon);
        arrive(&mut boots);
        is(&boots, "", 0);
        // Started again in the same boot, also where it was killed while it saved.
        boots.save(1, 12, totals(100), When::Soon);
        drop(boots);
        is(&of("a"), "", 0);
        // Boots in which nothing is saved change nothing.
        is(&of("b"), "a", 7);
        is(&of("c"), "a", 7);
        let mut boots = of("d");
        boots.save(2, 1, totals(0), When::Now);
        is(&of("e"), "a", 7);
        boots.save(2, 1, totals(1), When::Now);
        is(&boots, "a", 7);
        is(&of("d"), "a", 7);
        is(&of("e"), "d", 1);
        // Killed between the two steps of the first save.
        fs::remove_file(directory.path().join("totals.json")).unwrap();
        is(&of("e"), "a", 7);
    }

    #[test]
    fn what_has_not_changed_is_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut boots = Boots::of("a", directory.path());
        let file = || fs::metadata(directory.path().join("totals.json")).unwrap().ino();
        boots.save(1, 1, totals(5), When::Soon);
        arrive(&mut boots);
        let first = fs::File::open(directory.path().join("totals.json")).unwrap(); // keeps its number from being used again
        for when in [When::Soon, When::Now] {
            boots.save(1, 2, totals(5), when);
            assert!(boots.syncing.is_none());
            assert_eq!(file(), first.metadata().unwrap().ino());
        }
        boots.save(2, 2, totals(5), When::Now);
        assert_ne!(file(), first.metadata().unwrap().ino());
    }

    #[test]
    fn a_save_is_due_every_five_minutes_and_looked_after_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let mut boots = Boots::of("a", directory.path());
        assert!(!boots.go_on() && boots.due() > Instant::now() + EVERY / 2);
        boots.next = Instant::now();
        assert!(boots.go_on() && !boots.go_on());
        boots.save(1, 2, totals(5), When::Soon);
        assert!(boots.due() <= Instant::now() + SYNCED_AFTER);
        arrive(&mut boots);
        assert!(boots.due() > Instant::now() + EVERY / 2);
    }

    #[test]
    fn what_is_forgotten_does_not_come_back() {
        let directory = tempfile::tempdir().unwrap();
        Boots::of("a", directory.path()).save(1, 1, totals(5), When::Now);
        let mut boots = Boots::of("b", directory.path());
        boots.save(2, 1, totals(5), When::Now);
        boots.save(2, 1, totals(6), When::Soon);
        assert_eq!(boots.forget().count(), 0);
        boots.go_on();
        is(&boots, "", 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        // Counting begins again in the same boot.
        boots.save(3, 1, totals(9), When::Now);
        is(&Boots::of("c", directory.path()), "b", 9);
    }

    #[test]
    fn damage_is_put_aside_and_a_full_disk_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        Boots::of("a", directory.path()).save(1, 1, totals(5), When::Now);
        Boots::of("b", directory.path()).save(1, 1, totals(6), When::Now);
        fs::write(path("totals.json"), "{").unwrap();
        is(&Boots::of("c", directory.path()), "a", 5);
        fs::write(path("last.json"), [0xff; 100]).unwrap();
        is(&Boots::of("c", directory.path()), "", 0);
        assert!(path("totals.json.aside1").exists() && path("last.json.aside1").exists());

        let state = path("state");
        fs::write(&state, "no directory").unwrap();
        let mut boots = Boots::of("a", &state);
        for when in [When::Now, When::Soon] {
            boots.save(1, 1, totals(5), when);
            let warning = boots.warning().unwrap();
            assert!(warning.contains("can't be saved") && warning.contains("cannot write"), "{warning}");
        }
        fs::remove_file(&state).unwrap();
        fs::create_dir(&state).unwrap();
        boots.save(1, 1, totals(5), When::Soon);
        arrive(&mut boots);
        assert_eq!(boots.warning(), None);
        is(&Boots::of("b", &state), "a", 5);
    }
}
