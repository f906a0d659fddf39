//! What the bus calls: who calls is judged first, then the table does it. It knows nothing of nf_tables.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use netglance_dbus::{
    helper1::{Counters, Error, WirePrefix},
    sample::Sample,
};
use tokio::{sync::Notify, time::Instant};
use zbus::{DBusError as _, message::Header};

use crate::{
    authority::{Action, Authority},
    table::{self, Table},
};

/// Calls that one caller may have under way at a time: enough for any client, too few to keep others waiting.
const CALLS_AT_ONCE: usize = 16;

/// The object's state.
#[derive(Debug)]
pub struct Service {
    /// Or why there can be none on this host.
    table: Mutex<Result<Table, Error>>,
    authority: Authority,
    under_way: Mutex<HashMap<String, usize>>,
    last_call: Mutex<Instant>,
    /// A property may be another now.
    pub changed: Notify,
}

/// Counts a call for as long as it lasts.
struct Underway<'a> {
    service: &'a Service,
    caller: String,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.service.under_way);
        if let Some(count) = under_way.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&self.caller);
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
    /// Serves `table` to those whom `authority` lets.
    pub fn new(table: Result<Table, Error>, authority: Authority) -> Self {
        Self {
            table: Mutex::new(table),
            authority,
            under_way: Mutex::default(),
            last_call: Mutex::new(Instant::now()),
            changed: Notify::new(),
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

    /// Since when nobody has called and nothing is counted; `None` while one of them is not so.
    pub fn idle_since(&self) -> Option<Instant> {
        let busy = self.with(|table| Ok(table.installed())).unwrap_or(false) || !lock(&self.under_way).is_empty();
        (!busy).then(|| *lock(&self.last_call))
    }

    fn begin(&self, call: &Header<'_>) -> Result<Underway<'_>, Error> {
        let caller = call.sender().map(ToString::to_string).unwrap_or_default();
        let mut under_way = lock(&self.under_way);
        let count = under_way.entry(caller.clone()).or_default();
        if *count >= CALLS_AT_ONCE {
            let text = format!("{CALLS_AT_ONCE} calls of this client are under way; wait for one to end");
            return Err(Error::LimitsExceeded(text));
        }
        *count += 1;
        Ok(Underway { service: self, caller })
    }
}

impl Counters for Service {
    async fn install(&self, call: &Header<'_>) -> Result<(), Error> {
        let _underway = self.begin(call)?;
        self.authority.check(call, Action::Install).await?;
        self.with(Table::install)?;
        self.changed.notify_one();
        Ok(())
    }

    async fn uninstall(&self, call: &Header<'_>) -> Result<(), Error> {
        let _underway = self.begin(call)?;
        self.authority.check(call, Action::Install).await?;
        let result = self.with(Table::uninstall);
        self.changed.notify_one();
        result
    }

    async fn read(&self, call: &Header<'_>) -> Result<Sample, Error> {
        let _underway = self.begin(call)?;
        let uid = self.authority.uid(call).await?;
        let own = format!("/user.slice/user-{uid}.slice");
        self.with(|table| table.look().and_then(|()| table.rows(&own)))
    }

    async fn read_all(&self, call: &Header<'_>) -> Result<Sample, Error> {
        let _underway = self.begin(call)?;
        self.authority.check(call, Action::ReadAll).await?;
        self.with(|table| table.look().and_then(|()| table.rows("")))
    }

    async fn set_prefixes(
        &self,
        call: &Header<'_>,
        internal: &[WirePrefix],
        external: &[WirePrefix],
    ) -> Result<(), Error> {
        let _underway = self.begin(call)?;
        self.authority.check(call, Action::Configure).await?;
        self.with(|table| table.set_prefixes(internal, external))?;
        self.changed.notify_one();
        Ok(())
    }

    async fn installed(&self) -> bool {
        self.with(|table| Ok(table.installed())).unwrap_or(false)
    }

    async fn warning(&self) -> String {
        self.with(|table| Ok(table.warning()))
            .unwrap_or_else(|error| error.description().unwrap_or_default().to_owned())
    }

    async fn internal_prefixes(&self) -> Vec<WirePrefix> {
        self.with(|table| Ok(table.internal_prefixes())).unwrap_or_default()
    }
}
