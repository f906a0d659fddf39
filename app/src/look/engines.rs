//! Who has which forwarded address: the containers of docker and podman, the virtual machines of libvirt, the machines of systemd-machined
//! (nspawn); and of an address that nobody names, the network interface behind which it is.
//!
//! Nobody is polled. What an engine says of changes is followed in the background, and an address that nobody names makes all of them be
//! asked again, a few times. Whoever looks takes what is known ([`Engines::refresh`]) and never waits.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use netglance_dbus::{interface::Interfaces, text::brief};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use super::forwarded;

mod api;
mod leases;
mod machined;
mod paths;

/// Who runs containers or virtual machines. Where two name one address, the first does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman, of root.
    Podman,
    /// libvirt.
    Libvirt,
    /// systemd-machined, with whom systemd-nspawn registers.
    Nspawn,
    /// Nobody that is known.
    Bridge,
}

impl Engine {
    /// What it is called in paths and ids.
    pub fn key(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Libvirt => "libvirt",
            Self::Nspawn => "nspawn",
            Self::Bridge => "bridge",
        }
    }
}

/// A container or virtual machine that runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// What runs it; never [`Engine::Bridge`].
    pub engine: Engine,
    /// Its name.
    pub name: String,
    /// The compose project that it belongs to.
    pub project: Option<String>,
    /// Its addresses, sorted.
    pub addresses: Vec<IpAddr>,
}

/// What came of asking an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has not answered yet.
    #[default]
    Unknown,
    /// It isn't there.
    Absent,
    /// It answers.
    Answered {
        /// How many containers or machines with an address run.
        running: usize,
        /// How many of them are not named, because there are too many.
        left_out: usize,
    },
    /// This user may not ask it.
    Denied,
    /// It belongs to a user, not to root: its containers' addresses are inside a network of their own.
    Rootless,
    /// It is there and doesn't answer, or not as it should: why, worded for a person.
    Failed(String),
}

/// An engine, and what came of asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which one.
    pub engine: Engine,
    /// Where it is asked: a socket, a directory, a bus name.
    pub place: String,
    /// What came of it.
    pub state: State,
}

/// Where engines are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Sockets with the API of docker.
    pub docker: Vec<PathBuf>,
    /// Sockets with the API of podman, which is like docker's.
    pub podman: Vec<PathBuf>,
    /// The directory in which libvirt keeps what its networks lease.
    pub libvirt: Option<PathBuf>,
    /// The bus on which systemd-machined is asked.
    pub machined: Option<String>,
    /// The process without which docker's sockets are not connected to, as systemd would start it then. `None`: they always are.
    pub daemon: Option<String>,
    /// Whose the sockets of engines are whose containers this host forwards for: root's.
    pub owner: u32,
}

/// Who has which address.
#[derive(Debug)]
pub struct Engines {
    shared: Arc<Shared>,
    /// How often everybody was to be asked.
    asks: watch::Sender<u64>,
    _tasks: JoinSet<()>,
    holders: Vec<Holder>,
    by_address: HashMap<IpAddr, usize>,
    unnamed: HashMap<IpAddr, Unnamed>,
    /// When everybody was asked again.
    poked: Option<Instant>,
    look: u64,
    interfaces: Option<Interfaces>,
}

/// An address that has been seen and that nobody names.
#[derive(Debug)]
struct Unnamed {
    interface: Option<String>,
    /// How often everybody was asked for it.
    asked: u32,
    next: Instant,
    /// The latest look at which it was there.
    look: u64,
}

/// For an address that nobody names, everybody is asked so often, each time after a wait that is so many times as long.
const MOST_ASKED: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const WAIT_GROWS: u32 = 4;
/// So many interfaces are looked up at a time; further ones next time.
const MOST_LOOKUPS: usize = 64;
/// So many containers of one engine are named. (A bridge has room for 1,023.)
const MOST_HOLDERS: usize = 4096;
/// So many addresses of one container are known.
const MOST_ADDRESSES: usize = 64;
/// A longer name is cut.
const MOST_CHARACTERS: usize = 128;
/// Where the environment doesn't say it (D-Bus specification).
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// Stands for a network interface that isn't known.
const UNKNOWN: &str = "unknown";
/// So long a one-shot command waits for answers.
const SETTLE: Duration = Duration::from_secs(2);

/// What the background tells.
#[derive(Debug, Default)]
struct Shared {
    slots: Mutex<Vec<Slot>>,
    told: Notify,
}

/// One that is asked.
#[derive(Debug)]
struct Slot {
    told: Told,
    holders: Vec<Holder>,
    news: bool,
    /// Which asking was the last to be answered.
    answered: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Those of this host, as this process's environment names them too.
    pub fn here() -> Self {
        let named = |variable: &str| {
            let value = std::env::var(variable).ok()?;
            value.strip_prefix("unix://").map(PathBuf::from).filter(|path| path.is_absolute())
        };
        Self {
            docker: [Some("/run/docker.sock".into()), named("DOCKER_HOST")].into_iter().flatten().collect(),
            podman: [Some("/run/podman/podman.sock".into()), named("CONTAINER_HOST")].into_iter().flatten().collect(),
            libvirt: Some("/var/lib/libvirt/dnsmasq".into()),
            machined: Some(std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|_| SYSTEM_BUS.to_owned())),
            daemon: Some("dockerd".to_owned()),
            owner: 0,
        }
    }
}

impl Engines {
    /// Starts to ask, in the background. Has to be called where tokio runs.
    pub fn new(places: &Places) -> Self {
        let shared = Arc::new(Shared::default());
        let (asks, asked) = watch::channel(1);
        let mut tasks = JoinSet::new();
        let teller = |engine: Engine, place: String| {
            let told = Told { engine, place, state: State::Unknown };
            let mut slots = shared.lock();
            slots.push(Slot { told, holders: Vec::new(), news: false, answered: 0 });
            Teller { shared: Arc::clone(&shared), slot: slots.len() - 1, asks: asked.clone(), asked: 0 }
        };
        let podman = places.podman.iter().map(|socket| (Engine::Podman, socket));
        let sockets: Vec<_> = podman.chain(places.docker.iter().map(|socket| (Engine::Docker, socket))).collect();
        for (at, (engine, socket)) in sockets.iter().enumerate() {
            // One may be a link to another one: the package podman-docker makes docker's lead to podman's.
            let before = sockets.iter().take(at).map(|(_, socket)| (*socket).clone()).collect();
            let daemon = places.daemon.clone().filter(|_| *engine == Engine::Docker);
            let socket = api::Socket { path: (*socket).clone(), engine: *engine, daemon, owner: places.owner, before };
            let teller = teller(*engine, socket.path.display().to_string());
            tasks.spawn(socket.follow(teller));
        }
        if let Some(dir) = &places.libvirt {
            tasks.spawn(leases::follow(dir.clone(), teller(Engine::Libvirt, dir.display().to_string())));
        }
        if let Some(bus) = &places.machined {
            tasks.spawn(machined::follow(bus.clone(), teller(Engine::Nspawn, machined::NAME.to_owned())));
        }
        Self {
            shared,
            asks,
            _tasks: tasks,
            holders: Vec::new(),
            by_address: HashMap::new(),
            unnamed: HashMap::new(),
            poked: None,
            look: 0,
            interfaces: None,
        }
    }

    /// Takes in what was told meanwhile; never waits. Returns whether the holders are others than before.
    pub fn refresh(&mut self) -> bool {
        let mut slots = self.shared.lock();
        let is_news = slots.iter().any(|slot| slot.news);
        slots.iter_mut().for_each(|slot| slot.news = false);
        if !is_news {
            return false;
        }
        // What an engine said that doesn't answer any more comes last: another one may have its addresses now.
        let (answer, silent): (Vec<_>, Vec<_>) =
            slots.iter().partition(|slot| matches!(slot.told.state, State::Answered { .. }));
        let mut ordered: Vec<Holder> = Vec::new();
        for mut of in
            [answer, silent].map(|slots| slots.iter().flat_map(|slot| slot.holders.clone()).collect::<Vec<_>>())
        {
            of.sort_unstable();
            ordered.append(&mut of);
        }
        drop(slots);
        let mut by_address = HashMap::new();
        let mut holders: Vec<Holder> = Vec::new();
        for mut holder in ordered {
            holder.addresses.retain(|address| !by_address.contains_key(address));
            if !holder.addresses.is_empty() {
                by_address.extend(holder.addresses.iter().map(|address| (*address, holders.len())));
                holders.push(holder);
            }
        }
        let changed = holders != self.holders;
        (self.holders, self.by_address) = (holders, by_address);
        changed
    }

    /// Everyone that runs and has an address of its own. Each address is named once.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// Who has an address.
    pub fn holder_of(&self, address: IpAddr) -> Option<&Holder> {
        self.by_address.get(&address).and_then(|at| self.holders.get(*at))
    }

    /// Says which forwarded addresses there are now. For those that nobody names, everybody is asked again, and their interfaces are
    /// looked up; never waits.
    pub fn seen(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        let now = Instant::now();
        self.look += 1;
        let mut lookups = MOST_LOOKUPS;
        for address in addresses {
            if self.by_address.contains_key(&address) {
                continue;
            }
            let unnamed = match self.unnamed.entry(address) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if lookups == 0 => continue,
                Entry::Vacant(new) => {
                    lookups -= 1;
                    if self.interfaces.is_none() {
                        self.interfaces = Interfaces::open().ok();
                    }
                    let interface = self.interfaces.as_mut().and_then(|all| all.towards(address).ok().flatten());
                    new.insert(Unnamed { interface, asked: 0, next: now, look: self.look })
                }
            };
            unnamed.look = self.look;
        }
        let look = self.look;
        self.unnamed.retain(|_, unnamed| unnamed.look == look);
        if self.poked.is_some_and(|poked| now < poked + FIRST_WAIT) {
            return;
        }
        let mut due = false;
        for unnamed in self.unnamed.values_mut().filter(|unnamed| unnamed.asked < MOST_ASKED && unnamed.next <= now) {
            unnamed.next = now + FIRST_WAIT * WAIT_GROWS.saturating_pow(unnamed.asked);
            unnamed.asked += 1;
            due = true;
        }
        if due {
            self.poked = Some(now);
            self.asks.send_modify(|asks| *asks += 1);
        }
    }

    /// Behind which network interface an address is that was seen and that nobody names. `None`: unknown.
    pub fn interface_of(&self, address: IpAddr) -> Option<&str> {
        self.unnamed.get(&address)?.interface.as_deref()
    }

    /// The path under which a forwarded address stands.
    pub fn path_of(&self, address: IpAddr) -> String {
        path(self.holder_of(address), address, self.interface_of(address))
    }

    /// For one-shot commands: waits until everybody has answered what was asked, at most two seconds; then [`Self::refresh`].
    pub async fn settle(&mut self) {
        let asks = *self.asks.borrow();
        let answered = async {
            loop {
                let told = self.shared.told.notified();
                if self.shared.lock().iter().all(|slot| slot.answered >= asks) {
                    return;
                }
                told.await;
            }
        };
        _ = tokio::time::timeout(SETTLE, answered).await;
        self.refresh();
    }

    /// What came of asking each of them.
    pub fn states(&self) -> Vec<Told> {
        self.shared.lock().iter().map(|slot| slot.told.clone()).collect()
    }
}

/// The path under which an address stands: its holder's; where there is none, the network interface's behind which it is.
pub fn path(holder: Option<&Holder>, address: IpAddr, interface: Option<&str>) -> String {
    match holder {
        Some(holder) => forwarded::path(holder.engine.key(), holder.project.as_deref(), &holder.name, address),
        None => forwarded::unnamed(interface.unwrap_or(UNKNOWN), address),
    }
}

/// A name from an engine as a part of a path. The names of two may become the same one only if they are made to.
fn part(name: &str) -> String {
    let part = brief(name, MOST_CHARACTERS).replace('/', "_");
    // A path's last part is an address.
    if part.is_empty() || part.parse::<IpAddr>().is_ok() { part + "_" } else { part }
}

impl Holder {
    /// `None`: it has no address of its own.
    fn new(
        engine: Engine,
        name: &str,
        project: Option<&str>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Option<Self> {
        let is_own = |address: &IpAddr| match address {
            IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_loopback()),
            // What is link-local is never forwarded.
            IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local()),
        };
        let addresses: BTreeSet<_> = addresses.into_iter().filter(is_own).take(MOST_ADDRESSES).collect();
        let project = project.filter(|project| !project.is_empty()).map(part);
        let addresses: Vec<_> = addresses.into_iter().collect();
        (!addresses.is_empty()).then(|| Self { engine, name: part(name), project, addresses })
    }
}

/// How one that is asked in the background says what came of it.
#[derive(Debug)]
struct Teller {
    shared: Arc<Shared>,
    slot: usize,
    asks: watch::Receiver<u64>,
    /// Which asking is being answered.
    asked: u64,
}

impl Teller {
    /// Whatever is told after this answers what has been asked until now.
    fn begin(&mut self) {
        self.asked = *self.asks.borrow_and_update();
    }

    /// Waits until everybody is asked again.
    async fn asked(&mut self) {
        if self.asks.changed().await.is_err() {
            // Nobody is left who would ask.
            std::future::pending::<()>().await;
        }
    }

    /// Without an answer: what was known stays.
    fn tell(&self, state: State) {
        self.set(|slot| {
            slot.news |= slot.told.state != state;
            slot.told.state = state;
        });
    }

    /// An answer: those that run.
    fn tell_holders(&self, engine: Engine, mut holders: Vec<Holder>) {
        holders.sort_unstable();
        let left_out = holders.len().saturating_sub(MOST_HOLDERS);
        holders.truncate(MOST_HOLDERS);
        self.set(|slot| {
            let state = State::Answered { running: holders.len() + left_out, left_out };
            slot.news |= slot.told.state != state || slot.holders != holders;
            (slot.told.engine, slot.told.state, slot.holders) = (engine, state, holders);
        });
    }

    fn set(&self, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.shared.lock().get_mut(self.slot) {
            change(slot);
            slot.answered = self.asked;
        }
        self.shared.told.notify_waiters();
    }
}
