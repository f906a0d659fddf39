//! The exact source: the helper's counters, read over the system bus. The caller's own rows need no authorisation; those of system
//! services do ([`super::grants`]).
//!
//! If there is no helper, or it doesn't count, it is not asked again until the bus says that something has changed.

use std::time::{Duration, Instant};

use super::{
    super::forwarded,
    grants::{self, Asker, Grant, Grants, Permission},
};
use futures_lite::{Stream, StreamExt as _, future::poll_once};
use ipnet::IpNet;
pub use netglance_dbus::sample::Last;
use netglance_dbus::{
    forwarded::{Forwarded, ForwardedSample},
    helper1::{self, BUS_NAME, Helper1Proxy, OBJECT_PATH},
    remote::Remotes,
    sample::{Row, Sample},
};
use zbus::{
    Connection, DBusError as _,
    connection::Builder,
    fdo::{self, DBusProxy, NameOwnerChangedStream, PropertiesChangedStream, PropertiesProxy},
    proxy::CacheProperties,
};

/// A helper that takes longer to answer counts as gone. The bus reports when its name has a new owner.
const PATIENCE: Duration = Duration::from_secs(2);
/// The wait after a failure that no signal will end.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// While nothing is forwarded, that is read so often.
const IDLE_READ_EVERY: Duration = Duration::from_secs(2);

/// Whether the helper counts, as far as is known. The text is for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, thiserror::Error)]
pub enum Exact {
    /// None is installed, or there is no system bus.
    #[default]
    #[error("exact counting needs netglance-helper, which is not on this computer")]
    Absent,
    /// It is installed, but exact counting is not turned on.
    #[error("exact counting is not set up on this computer: choose \"Count Exactly…\" in netglance")]
    NotInstalled,
    /// It counts only after an administrator has agreed to what that does on this kernel: what that is.
    #[error("{0}")]
    Unconfirmed(String),
    /// It should count but can't: why.
    #[error("{0}")]
    Failed(String),
    /// It counts.
    #[error("every packet is counted")]
    Counting,
}

/// The helper as a client sees it.
#[derive(Debug)]
pub struct Helper {
    bus: Option<Bus>,
    /// The rows of all cgroups are read, not only the caller's own.
    all: bool,
    state: Exact,
    warning: Option<String>,
    again: Option<Instant>,
    asker: Asker,
    containers: Containers,
}

/// What containers and virtual machines have moved.
#[derive(Debug, Default)]
struct Containers {
    /// As last read; `None`: it can't be read.
    rows: Option<Vec<Row>>,
    /// In this epoch.
    epoch: u64,
    /// When that was tried.
    read: Option<Instant>,
    /// It is not tried again until it is granted, or there may be another helper.
    is_refused: bool,
    /// It failed, and is not tried again until then.
    again: Option<Instant>,
}

#[derive(Debug)]
struct Bus {
    helper: Helper1Proxy<'static>,
    owners: NameOwnerChangedStream,
    properties: PropertiesChangedStream,
}

impl Bus {
    async fn open() -> zbus::Result<Self> {
        let connection = Builder::system().method_timeout(PATIENCE).build().await?;
        let owners = DBusProxy::new(&connection).await?.receive_name_owner_changed_with_args(&[(0, BUS_NAME)]).await?;
        let object = PropertiesProxy::builder(&connection).destination(BUS_NAME).path(OBJECT_PATH);
        let properties = object.cache_properties(CacheProperties::No).build().await?;
        Ok(Self {
            helper: helper(&connection).await?,
            owners,
            properties: properties.receive_properties_changed().await?,
        })
    }

    /// Whether the helper has come to the bus or has said that something is different now. `None`: the bus has gone.
    async fn changed(&mut self) -> Option<bool> {
        let mut changed = false;
        for signal in waiting(&mut self.owners).await? {
            changed |= signal.args().is_ok_and(|args| args.new_owner().as_ref().is_some());
        }
        Some(changed | !waiting(&mut self.properties).await?.is_empty())
    }

    async fn rows(&self, all: bool) -> Result<helper1::WireSample, helper1::Error> {
        if all { self.helper.read_all().await } else { self.helper.read().await }
    }
}

/// A bus that takes longer to answer is not there.
async fn connect() -> Option<Bus> {
    tokio::time::timeout(PATIENCE, Bus::open()).await.ok()?.ok()
}

/// The helper's object.
pub async fn helper(connection: &Connection) -> zbus::Result<Helper1Proxy<'static>> {
    Helper1Proxy::builder(connection).cache_properties(CacheProperties::No).build().await
}

/// What has come, without waiting for more. `None`: nothing comes any more.
async fn waiting<S: Stream + Unpin>(stream: &mut S) -> Option<Vec<S::Item>> {
    let mut items = Vec::new();
    while let Some(next) = poll_once(stream.next()).await {
        items.push(next?);
    }
    Some(items)
}

impl Helper {
    /// Connects. Never fails: without a bus there is no helper, and it is tried again from time to time.
    pub async fn open() -> Self {
        Self::on(connect().await)
    }

    fn on(bus: Option<Bus>) -> Self {
        let wait = if bus.is_some() { Duration::ZERO } else { AGAIN_AFTER };
        Self {
            bus,
            all: rustix::process::getuid().is_root(),
            state: Exact::Absent,
            warning: None,
            again: Some(Instant::now() + wait),
            asker: Asker::default(),
            containers: Containers::default(),
        }
    }

    /// Reads the rows of all cgroups from now on, as root does. Who may not gets none: polkit decides, and nobody is asked.
    pub fn of_all(mut self) -> Self {
        self.all = true;
        self
    }

    /// Its state, as far as it is known.
    pub fn state(&self) -> &Exact {
        &self.state
    }

    /// Its warning, if it counts but something is wrong.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Makes the next read ask the helper, whatever it said before.
    pub fn look_again(&mut self) {
        self.again = Some(Instant::now());
    }

    /// The prefixes that its counters treat as internal. `None`: it doesn't count, or doesn't say.
    pub async fn internal_prefixes(&self) -> Option<Vec<IpNet>> {
        let bus = self.bus.as_ref().filter(|_| self.state == Exact::Counting)?;
        let prefixes = bus.helper.internal_prefixes().await.ok()?;
        prefixes.iter().map(helper1::from_wire).collect::<Result<_, _>>().ok()
    }

    /// The last totals of the boot before, as far as the helper has saved them: of all cgroups for root, for others of those that
    /// were theirs. `None`: nothing was saved, the helper is too old to know, or it is not known to be there: [`Self::read`] finds
    /// out. If a row is smaller than when that boot's counters were last read, counting had started again since.
    pub async fn read_last(&self) -> Result<Option<Last>, helper1::Error> {
        let is_there = !matches!(self.state, Exact::Absent | Exact::NotInstalled);
        let Some(bus) = self.bus.as_ref().filter(|_| is_there) else { return Ok(None) };
        match bus.helper.read_last().await {
            Ok(last) => Ok(Some(Last::from(last)).filter(|last| !last.boot_id.is_empty())),
            Err(helper1::Error::NotInstalled(_)) => Ok(None),
            Err(error) if is_older(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What these cgroups, as far as they are the caller's own, and those below them have moved with each remote. The helper
    /// counts by remote for as long as it is asked: it stops ten seconds after the last call. `None`: it doesn't count, or it is
    /// too old to know this.
    pub async fn read_remotes(&mut self, cgroups: &[String]) -> Result<Option<Remotes>, helper1::Error> {
        let Some(bus) = self.bus.as_ref().filter(|_| self.state == Exact::Counting) else { return Ok(None) };
        match bus.helper.read_remotes(cgroups.to_vec()).await {
            Ok(remotes) => Ok(Some(Remotes::from(remotes))),
            Err(helper1::Error::NotInstalled(_)) => Ok(None),
            Err(error) if is_older(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for something that is not the caller's own, unless it is granted or being asked for. `interactive`: a person may be asked
    /// for a password. [`Self::grants`] says what became of it.
    pub fn ask(&mut self, grant: Grant, interactive: bool) {
        if let Some(bus) = &self.bus {
            self.asker.ask(&bus.helper, grant, interactive);
        }
    }

    /// Waits until a question that was asked is answered, however long a person takes.
    pub async fn settle(&mut self) {
        if self.bus.is_some() {
            self.asker.settle().await;
        }
    }

    /// What was asked for, and what became of it.
    pub fn grants(&mut self) -> &Grants {
        self.asker.refresh();
        self.asker.grants()
    }

    /// The rows of every cgroup, if that is granted and the helper counts. Nobody is asked for anything.
    pub async fn read_all(&mut self) -> Option<Sample> {
        let granted = self.grants().system_services == Permission::Granted;
        let bus = self.bus.as_ref().filter(|_| granted && self.state == Exact::Counting)?;
        let rows = grants::call::<helper1::WireSample>(&bus.helper, "ReadAll", false).await;
        self.asker.read(Grant::SystemServices, &rows);
        rows.ok().map(Sample::from)
    }

    /// What containers and virtual machines have moved in this epoch, by the names of their counters. Nobody is asked for anything.
    /// `None`: this user may not see it, or the helper is too old to know. To be called after a [`Self::read`] that gave rows.
    pub async fn read_forwarded(&mut self, epoch: u64) -> Option<Vec<Row>> {
        let granted = self.grants().forwarded == Permission::Granted;
        let bus = self.bus.as_ref()?;
        let containers = &mut self.containers;
        if containers.is_refused && !granted {
            return None;
        }
        if containers.epoch != epoch {
            *containers = Containers { epoch, ..Containers::default() };
        }
        if containers.again.is_some_and(|again| Instant::now() < again) {
            return containers.rows.clone();
        }
        containers.again = None;
        // Where nothing is forwarded, nobody needs to ask at each beat.
        let is_idle = containers.rows.as_ref().is_some_and(Vec::is_empty);
        if is_idle && containers.read.is_some_and(|read| read.elapsed() < IDLE_READ_EVERY) {
            return containers.rows.clone();
        }
        containers.read = Some(Instant::now());
        let read = bus.helper.read_forwarded().await;
        self.asker.read(Grant::Forwarded, &read);
        match read.map(ForwardedSample::from) {
            Ok(sample) => {
                let rows = sample.rows.iter().map(row).collect();
                containers.rows = Some(rows).filter(|_| sample.epoch == epoch);
            }
            // Who may see it may see it again: polkit could not be asked.
            Err(helper1::Error::NotAuthorized(_)) if containers.rows.is_some() => {
                containers.again = Some(Instant::now() + AGAIN_AFTER);
                containers.rows = None;
            }
            Err(helper1::Error::NotAuthorized(_)) if granted => {
                containers.again = Some(Instant::now() + AGAIN_AFTER);
            }
            Err(helper1::Error::NotAuthorized(_)) => (containers.is_refused, containers.rows) = (true, None),
            Err(error) if is_older(&error) => (containers.is_refused, containers.rows) = (true, None),
            // What was read before is still true. A polkit that hangs holds up no further looks.
            Err(_) => containers.again = Some(Instant::now() + AGAIN_AFTER),
        }
        containers.rows.clone()
    }

    /// All rows that the caller may see: root those of every cgroup, others those of their own cgroups; see [`Self::of_all`]. `None`: it doesn't
    /// count, and [`Self::state`] says why.
    pub async fn read(&mut self) -> Option<Sample> {
        let due = self.again.is_some_and(|again| again <= Instant::now());
        if self.bus.is_none() && due {
            self.bus = connect().await;
            self.again = Some(Instant::now() + AGAIN_AFTER);
        }
        // Signals are taken in at each look, whether they are needed or not.
        let Some(changed) = self.bus.as_mut()?.changed().await else {
            // What was granted was granted to this connection.
            let state = Exact::Failed("the connection to the system bus has ended".to_owned());
            *self = Self { all: self.all, state, ..Self::on(None) };
            return None;
        };
        let bus = self.bus.as_mut()?;
        let news = changed | due;
        if !(news | (self.state == Exact::Counting)) {
            return None;
        }
        self.containers.is_refused &= !news; // it may be another helper
        let mut rows = bus.rows(self.all).await;
        if self.state == Exact::Counting && rows.as_ref().is_err_and(has_left) {
            rows = bus.rows(self.all).await; // of the next one, which the bus waits for
        }
        self.state = match &rows {
            Ok(_) => Exact::Counting,
            Err(helper1::Error::NotInstalled(_)) => Exact::NotInstalled,
            Err(helper1::Error::NeedsConfirmation(why)) => Exact::Unconfirmed(why.clone()),
            Err(helper1::Error::Bus(error)) if is_unknown(error) => Exact::Absent,
            Err(error) => Exact::Failed(sentence(error)),
        };
        let mut unsure = matches!(self.state, Exact::Failed(_));
        if self.state != Exact::Counting {
            self.warning = None;
        } else if news {
            match bus.helper.warning().await {
                Ok(warning) => self.warning = Some(warning).filter(|warning| !warning.is_empty()),
                Err(_) => unsure = true,
            }
        }
        if news | unsure {
            self.again = unsure.then(|| Instant::now() + AGAIN_AFTER);
        }
        rows.ok().map(Sample::from)
    }
}

fn row(forwarded: &Forwarded) -> Row {
    let Forwarded { address, rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes } = *forwarded;
    Row { cgroup: forwarded::counter(address), rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes }
}

/// No helper runs, and the bus knows of none that it could start.
pub fn is_unknown(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(error) if matches!(**error, fdo::Error::ServiceUnknown(_)))
}

/// The helper that was asked has left the bus before it answered, as one that is restarted does.
fn has_left(error: &helper1::Error) -> bool {
    matches!(error, helper1::Error::Bus(zbus::Error::FDO(error)) if matches!(**error, fdo::Error::NoReply(_)))
}

/// The helper that answers has no such method yet.
fn is_older(error: &helper1::Error) -> bool {
    matches!(error, helper1::Error::Bus(zbus::Error::FDO(error)) if matches!(**error, fdo::Error::UnknownMethod(_)))
}

/// What went wrong, for a person.
pub fn sentence(error: &helper1::Error) -> String {
    let text = match error {
        helper1::Error::Bus(zbus::Error::FDO(error)) => error.description(),
        helper1::Error::Bus(error) => error.description(),
        other => other.description(),
    };
    text.map_or_else(|| error.to_string(), str::to_owned)
}
