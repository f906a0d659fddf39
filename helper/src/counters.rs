//! What the bus calls: who calls is judged first, then the table does it. It knows nothing of nf_tables.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use netglance_dbus::{
    forwarded::ForwardedSample,
    helper1::{Counters, Error, WirePrefix},
    remote::Remotes,
    sample::{Last, Row, Sample},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};
use zbus::{DBusError as _, message::Header};

use crate::{
    authority::{Action, Authority},
    bus::Callers,
    last::When,
    looks::Looks,
    remotes::LEASES,
    table::{self, Table},
};

/// A call that has its cgroups counted by remote waits so long for that. What comes after it is counted in any case.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
/// root's uid.
const ROOT: u32 = 0;
/// Calls that one user may have under way at a time: enough for any client, too few to keep others waiting. Who has more is
/// told so here; the bus's [gate](crate::bus::gate) has limits above this one, at which nobody is told anything.
const CALLS_AT_ONCE: usize = 16;
/// Answers with rows in them that are built and written at a time, of all users; of one user it is one.
const ANSWERS_AT_ONCE: usize = 2;
/// An answer may have so many bytes. The bus cuts off who sends more than 32 MiB.
const MOST_BYTES: usize = 16 << 20;

/// The object's state.
#[derive(Debug)]
pub struct Service {
    /// Or why there can be none on this host.
    table: Mutex<Result<Table, Error>>,
    authority: Authority,
    callers: Arc<Callers>,
    looks: Looks<Error>,
    remote_looks: Looks<Error>,
    forwarded_looks: Looks<Error>,
    answers: Arc<Semaphore>,
    /// Each user's own turn.
    turns: Mutex<HashMap<u32, Arc<Semaphore>>>,
    under_way: Mutex<HashMap<u32, usize>>,
    last_call: Mutex<Instant>,
    /// What is internal, made when somebody asks, forgotten when it may be another.
    internal_prefixes: Mutex<Option<Vec<WirePrefix>>>,
    /// A property may be another now.
    pub changed: Notify,
    /// When [`Table::due`] says that there is something to do may be earlier now.
    pub changed_due: Notify,
}

/// Counts a call for as long as it lasts.
struct Underway<'a> {
    service: &'a Service,
    uid: u32,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.service.under_way);
        if let Some(count) = under_way.get_mut(&self.uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&self.uid);
            }
        }
        *lock(&self.service.last_call) = Instant::now();
    }
}

/// Nothing here leaves a half-done value behind, so that a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// Serves `table` to those of `callers` whom `authority` lets.
    pub fn new(table: Result<Table, Error>, authority: Authority, callers: Arc<Callers>) -> Self {
        Self {
            table: Mutex::new(table),
            authority,
            callers,
            looks: Looks::new(),
            remote_looks: Looks::new(),
            forwarded_looks: Looks::new(),
            answers: Arc::new(Semaphore::new(ANSWERS_AT_ONCE)),
            turns: Mutex::default(),
            internal_prefixes: Mutex::default(),
            under_way: Mutex::default(),
            last_call: Mutex::new(Instant::now()),
            changed: Notify::new(),
            changed_due: Notify::new(),
        }
    }

    /// Does something with the table, if there can be one. It is never held while waiting for anything.
    pub fn with<T>(&self, act: impl FnOnce(&mut Table) -> Result<T, table::Error>) -> Result<T, Error> {
        match &mut *lock(&self.table) {
            Ok(table) => {
                let before = table.warning();
                let done = act(table);
                if table.warning() != before {
                    self.changed.notify_one();
                }
                Ok(done?)
            }
            Err(error) => Err(error.clone()),
        }
    }

    /// Takes in what happened to cgroups and routes.
    pub fn follow(&self) -> Result<(), Error> {
        let followed = self.with(Table::follow);
        if !matches!(followed, Ok(false)) {
            self.prefixes_changed();
        }
        followed.map(drop)
    }

    /// Saves what has been counted so far, before the helper ends.
    pub fn save(&self) {
        _ = self.with(|table| {
            table.save(When::Now);
            Ok(())
        });
    }

    fn prefixes_changed(&self) {
        *lock(&self.internal_prefixes) = None;
        self.changed.notify_one();
    }

    /// Since when nobody has called and nothing is counted; `None` while one of them is not so.
    pub fn idle_since(&self) -> Option<Instant> {
        let busy = self.with(|table| Ok(table.installed())).unwrap_or(false) || !lock(&self.under_way).is_empty();
        (!busy).then(|| *lock(&self.last_call))
    }

    fn begin(&self, call: &Header<'_>) -> Result<Underway<'_>, Error> {
        let uid = self.authority.uid(call)?;
        let mut under_way = lock(&self.under_way);
        let count = under_way.entry(uid).or_default();
        if *count >= CALLS_AT_ONCE {
            let text = format!("this user already has {CALLS_AT_ONCE} calls under way; wait for one to finish");
            return Err(Error::LimitsExceeded(text));
        }
        *count += 1;
        Ok(Underway { service: self, uid })
    }

    async fn install_with(&self, call: &Header<'_>, anyway: bool) -> Result<(), Error> {
        let _underway = self.begin(call)?;
        // Said before a password is asked for: everybody may know it.
        self.with(|table| table.may_count(anyway))?;
        self.authority.check(call, Action::Install).await?;
        self.with(|table| table.install(anyway))?;
        self.changed.notify_one();
        Ok(())
    }

    /// The caller's own rows, or all, of a look that begins from now on.
    async fn answer(&self, call: &Header<'_>, uid: u32, all: bool) -> Result<Sample, Error> {
        self.looks.later(|| self.with(Table::look)).await?;
        let turn = self.turn(uid).await?;
        let sample = self.with(|table| table.rows((!all).then_some(uid)))?;
        self.last_until_sent(call, turn);
        may_be_sent(&sample.rows)?;
        Ok(sample)
    }

    /// The turn lasts until the answer is written.
    fn last_until_sent(&self, call: &Header<'_>, turn: [OwnedSemaphorePermit; 2]) {
        if let Some(sender) = call.sender() {
            self.callers.until_sent(sender, call.primary().serial_num().get(), turn);
        }
    }

    /// Waits for the user's turn, and for one of the few answers that are built at a time. It lasts until the answer is written.
    async fn turn(&self, uid: u32) -> Result<[OwnedSemaphorePermit; 2], Error> {
        let own = {
            let mut turns = lock(&self.turns);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1); // somebody waits for it or has it
            Arc::clone(turns.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let closed = |_| Error::LimitsExceeded("the helper is about to exit".to_owned());
        let own = own.acquire_owned().await.map_err(closed)?;
        Ok([own, Arc::clone(&self.answers).acquire_owned().await.map_err(closed)?])
    }
}

fn may_be_sent(rows: &[Row]) -> Result<(), Error> {
    let bytes = bytes(rows);
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let (mib, rows) = (bytes >> 20, rows.len());
    Err(Error::LimitsExceeded(format!(
        "the answer would have {mib} MiB in {rows} rows, but at most {} MiB are allowed: there are too many control groups",
        MOST_BYTES >> 20
    )))
}

/// What rows take on the bus.
fn bytes(rows: &[Row]) -> usize {
    // A row begins at a multiple of 8: the path with its length and its end, and four numbers.
    rows.iter().map(|row| (4 + row.cgroup.len() + 1).next_multiple_of(8) + 32).sum()
}

impl Counters for Service {
    async fn install(&self, call: &Header<'_>) -> Result<(), Error> {
        self.install_with(call, false).await
    }

    async fn install_anyway(&self, call: &Header<'_>) -> Result<(), Error> {
        self.install_with(call, true).await
    }

    async fn uninstall(&self, call: &Header<'_>) -> Result<(), Error> {
        let _underway = self.begin(call)?;
        self.authority.check(call, Action::Install).await?;
        let result = self.with(Table::uninstall);
        self.prefixes_changed();
        result
    }

    async fn read(&self, call: &Header<'_>) -> Result<Sample, Error> {
        let underway = self.begin(call)?;
        self.answer(call, underway.uid, false).await
    }

    async fn read_all(&self, call: &Header<'_>) -> Result<Sample, Error> {
        let underway = self.begin(call)?;
        self.authority.check(call, Action::ReadAll).await?;
        self.answer(call, underway.uid, true).await
    }

    async fn read_last(&self, call: &Header<'_>) -> Result<Last, Error> {
        let underway = self.begin(call)?;
        let turn = self.turn(underway.uid).await?;
        let last = self.with(|table| table.last(underway.uid))?;
        self.last_until_sent(call, turn);
        may_be_sent(&last.rows)?;
        Ok(last)
    }

    async fn read_remotes(&self, call: &Header<'_>, cgroups: &[String]) -> Result<Remotes, Error> {
        let underway = self.begin(call)?;
        let uid = underway.uid;
        let user = (uid != ROOT).then_some(uid);
        if cgroups.len() > LEASES {
            let text = format!("at most {LEASES} control groups can be named at a time; name one that is above them");
            return Err(Error::LimitsExceeded(text));
        }
        let patience = Instant::now() + BEGINS_WITHIN;
        let mut later = self.with(|table| table.ask_remotes(user, cgroups))?;
        self.changed_due.notify_one();
        while let Some(due) = later.filter(|_| Instant::now() < patience) {
            sleep_until(due.into()).await;
            later = self.with(|table| table.ask_remotes(user, cgroups))?;
        }
        self.remote_looks.later(|| self.with(Table::look_at_remotes)).await?;
        let turn = self.turn(uid).await?;
        let remotes = self.with(|table| table.remotes(user, cgroups))?;
        self.last_until_sent(call, turn);
        Ok(remotes)
    }

    async fn read_forwarded(&self, call: &Header<'_>) -> Result<ForwardedSample, Error> {
        let underway = self.begin(call)?;
        self.authority.check(call, Action::ReadForwarded).await?;
        self.forwarded_looks.later(|| self.with(Table::look_at_forwarded)).await?;
        let turn = self.turn(underway.uid).await?;
        let sample = self.with(|table| table.forwarded())?;
        self.last_until_sent(call, turn);
        Ok(sample)
    }

    async fn set_prefixes(
        &self,
        call: &Header<'_>,
        internal: &[WirePrefix],
        external: &[WirePrefix],
    ) -> Result<(), Error> {
        let _underway = self.begin(call)?;
        self.authority.check(call, Action::Configure).await?;
        let result = self.with(|table| table.set_prefixes(internal, external));
        self.prefixes_changed(); // also after a failure: they may stand, and the kernel have refused them
        result
    }

    async fn installed(&self) -> bool {
        self.with(|table| Ok(table.installed())).unwrap_or(false)
    }

    async fn warning(&self) -> String {
        self.with(|table| Ok(table.warning()))
            .unwrap_or_else(|error| error.description().unwrap_or_default().to_owned())
    }

    async fn internal_prefixes(&self) -> Vec<WirePrefix> {
        let mut known = lock(&self.internal_prefixes);
        known.get_or_insert_with(|| self.with(|table| Ok(table.internal_prefixes())).unwrap_or_default()).clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use zbus::Message;

    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_is_taken_for() {
        for length in [0, 1, 2, 3, 4, 100, 4095] {
            let rows = vec![Row { cgroup: "x".repeat(length), ..Row::default() }; 9];
            let message = Message::signal("/", "org.x.Y", "Z").build(&(1u64, 2u64, &rows)).unwrap();
            // Before the rows stand two numbers and the length of all, which is aligned as a row is.
            assert_eq!(message.body().data().len(), 24 + bytes(&rows), "{length}");
        }
    }
}
