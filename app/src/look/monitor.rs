//! The loop: one look each beat, and what it says about the target.

mod containers;
mod others;
mod programs;
mod remotes;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netglance_dbus::{
    cgroup::{self, RETRIED_AFTER, Tree},
    error::chain,
    helper1,
    onlink::Onlink,
    owner,
    scope::Prefixes,
};

use crate::{
    base::settings::{Settings, SettingsFile},
    look::{
        apps::Apps,
        desktop_entry::{DesktopEntries, Named},
        forwarded,
        live::{self, SocketVerdict},
        names::{self, Names, Unit},
        programs::Programs,
        rate::{self, Bytes, Gap},
        reading::{AppPart, AppRates, AppReading, Kind, Reading, UnitReading},
        sampler::{self, Ending, Exact, Look, Sampler, Source},
        target::{self, Target, UnitOf},
        whois::Lookup,
    },
};

/// Looks that lie further apart than this many beats, and at least [`SLEPT_SECS`], have a gap between them.
const SLEPT_BEATS: f64 = 4.0;
const SLEPT_SECS: f64 = 2.0;

/// Why nothing can be watched at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup tree.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// No socket list.
    #[error(transparent)]
    Sampler(#[from] sampler::Error),
    /// No routing table.
    #[error("cannot read the routing table")]
    Routes(#[from] netglance_dbus::netlink::Error),
}

/// One look after another, and what was seen so far.
#[derive(Debug)]
pub struct Monitor {
    tree: Tree,
    /// The paths of `tree`, made anew when it has changed.
    paths: Vec<String>,
    /// When what of `tree` could not be followed was last tried again.
    tried: Instant,
    onlink: Onlink,
    host_prefixes: Vec<IpNet>,
    prefixes: Prefixes,
    /// How often `prefixes` have changed.
    judgement: u64,
    settings: SettingsFile,
    /// Which apps there are by the settings.
    defined: Apps,
    /// See [`Self::became`].
    became: Vec<(String, String)>,
    sampler: Sampler,
    before: Option<Look>,
    /// The last exact look before the estimate took over, and the totals at that time.
    last_exact: Option<(Look, HashMap<String, Bytes>)>,
    /// When the first look was, from which the totals count.
    began_ns: u64,
    /// By cgroup path, since the monitor began.
    moved: HashMap<String, Account>,
    /// The caller's apps that are running; `None`: to be found out.
    running: Option<Running>,
    watches: Vec<Watch>,
    /// Whose it is that is watched is known.
    owns_known: bool,
    /// What is not the caller's own.
    others: others::Others,
    /// Containers and virtual machines; `None`: the helper doesn't tell of them.
    containers: Option<containers::Containers>,
    desktop: DesktopEntries,
    names: Names,
    /// The last look; `None`: there was only the first.
    beat: Option<Beat>,
    /// Whom the watched apps talk to; `None`: nobody asks.
    remotes: Option<Box<remotes::Remotes>>,
    /// What is known of them.
    lookup: Lookup,
    /// The programs of apps that have several; `None`: nobody asks.
    programs: Option<Box<Programs>>,
}

#[derive(Debug, Default)]
struct Running {
    /// By id, with their cgroups.
    apps: BTreeMap<String, Vec<String>>,
    /// A directory's owner was asked, who can change without any other news.
    asked: bool,
}

#[derive(Debug)]
struct Account {
    /// The app of the caller that it belongs to.
    app: Option<String>,
    moved: Moved,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moved {
    total: Bytes,
    /// Since the look before.
    latest: Bytes,
}

#[derive(Debug)]
struct Watch {
    id: String,
    target: Target,
    since_ns: u64,
    /// What had been moved before it began.
    start: HashMap<String, Bytes>,
    /// All of it is the caller's own, as far as is known: the helper tells about it by itself.
    is_own: bool,
}

/// A look's outcome, before it becomes a reading for one target.
#[derive(Clone, Debug)]
struct Beat {
    time: jiff::Timestamp,
    source: Source,
    boottime_ns: u64,
    secs: Result<f64, Gap>,
    unmeasured_udp: Option<HashMap<String, u32>>,
}

/// Whether the helper tells the caller the rows of a cgroup.
pub fn is_own_cgroup(tree: &Tree, path: &str) -> bool {
    let uid = rustix::process::getuid();
    if forwarded::is_in(path) {
        return true; // who is not allowed to see it has no row of it
    }
    let directory_owner = |above: &str| Some(fs::metadata(tree.directory(above)).ok()?.uid());
    uid.is_root() || owner::of(path, directory_owner) == Some(uid.as_raw())
}

impl Monitor {
    /// Opens everything that is needed and takes the first look, with which counting begins. `only`: use no other source.
    pub async fn open(only: Option<Source>) -> Result<Self, Error> {
        Self::with(Sampler::open(only).await).await
    }

    /// The same, with the rows of all cgroups, which only root and whoever polkit lets may see. Nobody is asked for a password.
    pub async fn open_all() -> Result<Self, Error> {
        Self::with(Sampler::open(None).await.of_all()).await
    }

    async fn with(sampler: Sampler) -> Result<Self, Error> {
        let mut monitor = Self {
            paths: Vec::new(),
            tried: Instant::now(),
            tree: Tree::open()?,
            onlink: Onlink::open()?,
            host_prefixes: Vec::new(),
            prefixes: Prefixes::default(),
            judgement: 0,
            settings: SettingsFile::open(),
            defined: Apps::default(),
            became: Vec::new(),
            sampler,
            before: None,
            last_exact: None,
            began_ns: 0,
            moved: HashMap::new(),
            running: None,
            watches: Vec::new(),
            owns_known: false,
            others: others::Others::default(),
            containers: None,
            desktop: DesktopEntries::default(),
            names: Names::default(),
            beat: None,
            remotes: None,
            lookup: Lookup::new(),
            programs: None,
        };
        monitor.paths = monitor.tree.paths().collect();
        monitor.refresh_prefixes(true)?;
        monitor.defined = Apps::new(&monitor.settings.settings);
        let first = monitor.sampler.look(&monitor.tree, &monitor.prefixes).await?;
        monitor.began_ns = first.sample.boottime_ns;
        monitor.look_at_containers(&first);
        if first.sample.rows.iter().any(|row| forwarded::is_in(&row.cgroup)) {
            // What is counted from here on has a name.
            monitor.know_containers(&first).await;
        }
        monitor.before = Some(first);
        Ok(monitor)
    }

    /// The settings in force and what is wrong with their file.
    pub fn settings(&self) -> &SettingsFile {
        &self.settings
    }

    /// Puts these settings in force and writes them down; see [`SettingsFile::save`].
    pub fn set(&mut self, settings: &Settings) {
        self.settings.save(settings);
        self.judge_anew();
        self.define();
    }

    /// The apps that a person has defined.
    pub fn defined(&self) -> &Apps {
        &self.defined
    }

    /// The unit of an app to which a cgroup, or a counter of forwarded bytes, belongs, as it is recorded; `None`: it is no app's.
    pub fn lasting_unit(&self, path: &str) -> Option<target::Unit> {
        match &self.containers {
            Some(containers) if forwarded::is_counter(path) => self.defined.lasting_unit(containers.path_of(path)?),
            _ => self.defined.lasting_unit(path),
        }
    }

    fn look_at_containers(&mut self, look: &Look) {
        if !look.forwarded {
            return;
        }
        let containers = self.containers.get_or_insert_with(containers::Containers::new);
        if containers.refresh(look) {
            self.running = None;
        }
    }

    async fn know_containers(&mut self, look: &Look) {
        if let Some(containers) = &mut self.containers {
            containers.settle().await;
        }
        self.look_at_containers(look);
    }

    /// Whether containers or virtual machines are counted, as far as the helper has any.
    pub fn counts_containers(&self) -> bool {
        self.before.as_ref().is_some_and(|look| look.forwarded)
    }

    /// Takes over which apps there are by the settings. What has been moved belongs to them from the beginning.
    fn define(&mut self) {
        let defined = Apps::new(&self.settings.settings);
        if self.defined == defined {
            return;
        }
        self.find_running();
        let mut ids: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
        for (id, cgroups) in self.running.iter().flat_map(|running| &running.apps) {
            ids.entry(id.clone()).or_default().extend(cgroups.iter().map(|path| defined.id_of(path)));
        }
        self.defined = defined;
        for (path, account) in &mut self.moved {
            let now = self.defined.id_of(path).filter(|_| is_own_cgroup(&self.tree, path));
            if let Some(before) = std::mem::replace(&mut account.app, now.clone()) {
                ids.entry(before).or_default().insert(now);
            }
        }
        for (before, mut now) in ids {
            if let (Some(Some(now)), true) = (now.pop_first(), now.is_empty())
                && now != before
            {
                self.became.push((before, now));
            }
        }
        for watch in self.watches.iter_mut().filter(|watch| !watch.id.is_empty()) {
            watch.target = self.defined.target(&watch.id, &watch.target.name);
        }
        if let Some(programs) = &mut self.programs {
            **programs = Programs::default();
        }
        (self.running, self.owns_known) = (None, false);
    }

    /// The host's own addresses and on-link prefixes.
    pub fn host_prefixes(&self) -> &[IpNet] {
        &self.host_prefixes
    }

    /// Makes the next look ask the helper, whatever it said before.
    pub fn look_for_helper(&mut self) {
        self.sampler.look_for_helper();
    }

    /// The cgroup tree as of the last look.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether the helper counts.
    pub fn exact(&self) -> &Exact {
        self.sampler.exact()
    }

    /// The helper's warning, as a sentence for a person, such as that a set is full.
    pub fn warning(&self) -> Option<&str> {
        self.sampler.warning()
    }

    /// Watches `target` as well from now on: its totals begin at the latest look.
    pub fn watch(&mut self, target: Target) {
        let start = self.moved.iter().map(|(path, account)| (path.clone(), account.moved.total)).collect();
        let since_ns = self.before.as_ref().map_or(self.began_ns, |look| look.sample.boottime_ns);
        self.watches.push(Watch { id: String::new(), target, since_ns, start, is_own: true });
        self.owns_known = false;
        self.find_own();
    }

    /// Watches the apps with these ids and nothing else. Their totals begin where the monitor began, whenever they were chosen.
    pub fn watch_apps(&mut self, ids: &[String]) {
        let mut before = std::mem::take(&mut self.watches);
        for id in ids {
            match before.iter().position(|watch| watch.id == *id) {
                Some(at) => self.watches.push(before.swap_remove(at)),
                None => {
                    let service = self.service_name(id);
                    let entry = || self.desktop.find(id).map_or_else(|| names::plain(id), |entry| entry.name.clone());
                    let name = service.unwrap_or_else(entry);
                    let (target, since_ns, start) = (self.defined.target(id, &name), self.began_ns, HashMap::new());
                    self.watches.push(Watch { id: id.clone(), target, since_ns, start, is_own: true });
                }
            }
        }
        self.owns_known = false;
        self.find_own();
    }

    /// What became a part of another app, or an app again, since the call before: the id that all of it had, and the one that it has.
    pub fn became(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.became)
    }

    /// The ids of these apps by now, see [`Apps::ids_now`].
    pub fn ids_now(&mut self, ids: &[String]) -> Vec<String> {
        self.find_running();
        self.running.as_ref().map_or_else(|| ids.to_vec(), |running| self.defined.ids_now(ids, &running.apps))
    }

    /// Counts a cgroup with what was watched last, from the cgroup's beginning if it is new.
    pub fn widen(&mut self, cgroup: &str) {
        if let Some(watch) = self.watches.last_mut() {
            watch.target.add_cgroup(cgroup);
        }
        self.owns_known = false;
    }

    /// What the kernel still has to send for the watched programs that have ended.
    pub fn unsent(&mut self) -> Result<Vec<Ending>, Error> {
        let mut sockets = sampler::ending_sockets()?;
        self.refresh_cgroups();
        sockets.retain(|socket| self.tree.path(socket.cgroup_id).is_some_and(|path| self.is_watched(&path)));
        Ok(sockets)
    }

    /// Whether a cgroup belongs to anything that is watched.
    pub fn is_watched(&self, path: &str) -> bool {
        self.watches.iter().any(|watch| watch.target.unit_of(path).is_some())
    }

    /// Bytes by cgroup path since the monitor began.
    pub fn moved(&self) -> impl Iterator<Item = (&str, Bytes)> {
        self.moved.iter().map(|(path, account)| (path.as_str(), account.moved.total))
    }

    /// Bytes of the caller's apps by cgroup path since the monitor began, with the app's id.
    pub fn moved_by_apps(&self) -> impl Iterator<Item = (&str, &str, Bytes)> {
        self.moved
            .iter()
            .filter_map(|(path, account)| Some((path.as_str(), account.app.as_deref()?, account.moved.total)))
    }

    /// What the helper had counted in the boot before; see [`sampler::Helper::read_last`].
    pub async fn read_last(&self) -> Result<Option<sampler::Last>, helper1::Error> {
        self.sampler.read_last().await
    }

    /// When the first look was, in `CLOCK_BOOTTIME`.
    pub fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// The latest look; `None`: it failed.
    pub fn latest(&self) -> Option<&Look> {
        let failed = self.beat.as_ref().is_some_and(|beat| matches!(beat.secs, Err(Gap::Failed(_))));
        self.before.as_ref().filter(|_| !failed)
    }

    /// Why there is no rate at the latest look; `None`: there is one, or there was only the first look.
    pub fn gap(&self) -> Option<&Gap> {
        self.beat.as_ref()?.secs.as_ref().err()
    }

    /// Whether any cgroup is `target`'s now.
    pub fn exists(&self, target: &Target) -> bool {
        self.all_paths().chain(["/"]).any(|path| target.unit_of(path).is_some())
    }

    /// Takes a look and returns a reading for each target, in the order in which they were named. A look that fails is a gap;
    /// the totals go on with the next one that succeeds. `beat` is the nominal time between two looks. If they are much further
    /// apart, the computer slept.
    pub async fn look(&mut self, beat: Duration) -> Vec<Reading> {
        let taken = self.take_look(beat).await;
        self.find_own();
        self.look_at_others(&taken, longest_secs(beat)).await;
        self.beat = Some(taken);
        self.running = self.running.take().filter(|running| !running.asked);
        self.readings()
    }

    /// What the latest look says of each target; nothing before there was one.
    pub fn readings(&self) -> Vec<Reading> {
        let readings = |beat| self.watches.iter().map(move |watch| self.reading(watch, beat));
        self.beat.iter().flat_map(readings).collect()
    }

    /// Follows the cgroups and updates the estimate's books between two beats, so that a short-lived cgroup or connection is not
    /// missed. A look that fails here fails again at the beat, which reports it.
    pub fn listen(&mut self) {
        self.refresh_cgroups();
        _ = self.sampler.listen(&self.tree, &self.prefixes);
    }

    /// The open sockets of `target`, and how each is judged.
    pub async fn sockets(&mut self, target: &Target) -> Result<Vec<SocketVerdict>, Error> {
        let open = sampler::open_sockets()?;
        self.refresh_cgroups();
        self.refresh_prefixes(false)?;
        let counters = self.sampler.internal_prefixes().await;
        Ok(live::sockets(&open, |id| self.tree.path(id), &self.prefixes, counters.as_deref(), target))
    }

    /// Whether a cgroup belongs to any app of the caller.
    fn is_app(&self, path: &str) -> bool {
        self.defined.id_of(path).is_some() && self.is_own_cgroup(path)
    }

    async fn take_look(&mut self, beat: Duration) -> Beat {
        for account in self.moved.values_mut() {
            account.moved.latest = Bytes::default();
        }
        let look = self.sample().await;
        let time = jiff::Timestamp::now();
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                let source = self.before.as_ref().map_or(Source::Estimate, |before| before.source);
                let gap = Gap::Failed(chain(&error));
                return Beat {
                    time,
                    source,
                    boottime_ns: sampler::boottime_ns(),
                    secs: Err(gap),
                    unmeasured_udp: None,
                };
            }
        };
        self.look_at_containers(&look);
        let longest_secs = longest_secs(beat);
        let mut secs = Err(Gap::CountingRestarted);
        for (path, bytes) in self.containers.iter_mut().flat_map(containers::Containers::named) {
            let account = account(&mut self.moved, &self.tree, &self.defined, &path);
            account.moved = account.moved.plus(Moved { total: bytes, latest: bytes });
        }
        if let Some(before) = &self.before {
            let between = rate::between(before, &look, longest_secs);
            for (path, bytes) in between.bytes {
                if let Some(path) = containers::place(&mut self.containers, path, bytes) {
                    let account = account(&mut self.moved, &self.tree, &self.defined, &path);
                    account.moved = account.moved.plus(Moved { total: bytes, latest: bytes });
                }
            }
            secs = between.secs;
            match (before.source, look.source) {
                (Source::Exact, Source::Estimate) => {
                    let totals = self.moved.iter().map(|(path, account)| (path.clone(), account.moved.total)).collect();
                    self.last_exact = Some((before.clone(), totals));
                }
                (Source::Estimate, Source::Exact) => self.make_up(&look),
                _ => {}
            }
        }
        let (source, boottime_ns) = (look.source, look.sample.boottime_ns);
        let unmeasured_udp = look.unmeasured_udp.clone();
        self.before = Some(look);
        Beat { time, source, boottime_ns, secs, unmeasured_udp }
    }

    /// The helper went on counting while it could not be asked. Its totals replace what the estimate saw meanwhile.
    fn make_up(&mut self, look: &Look) {
        let Some((exact, totals)) = self.last_exact.take() else { return };
        for (path, bytes) in rate::between(&exact, look, f64::INFINITY).bytes {
            let Some(path) = containers::place(&mut self.containers, path, bytes) else { continue };
            let total = totals.get(&*path).copied().unwrap_or_default().plus(bytes);
            let account = account(&mut self.moved, &self.tree, &self.defined, &path);
            account.moved.total = account.moved.total.at_least(total);
        }
    }

    async fn sample(&mut self) -> Result<Look, Error> {
        self.refresh_cgroups();
        let edited = self.settings.refresh();
        self.refresh_prefixes(edited)?;
        if edited {
            self.define();
        }
        Ok(self.sampler.look(&self.tree, &self.prefixes).await?)
    }

    /// Whether what is watched is known to be the caller's without asking who owns a directory. Owners can change without any
    /// notification.
    fn is_own_by_name(&self) -> bool {
        let uid = rustix::process::getuid();
        uid.is_root() || self.paths().all(|path| owner::of_slice(path) == Some(uid.as_raw()) || !self.is_watched(path))
    }

    /// Whether every cgroup of `target` that there is belongs to the caller.
    fn is_own(&self, target: &Target) -> bool {
        self.paths().all(|path| target.unit_of(path).is_none() || self.is_own_cgroup(path))
    }

    /// Whether the helper tells the caller the rows of a cgroup.
    pub fn is_own_cgroup(&self, path: &str) -> bool {
        is_own_cgroup(&self.tree, path)
    }

    /// Those of [`Self::paths`], and every container and virtual machine that runs and is counted.
    pub fn all_paths(&self) -> impl Iterator<Item = &str> {
        let containers = self.containers.iter().filter(|_| self.counts_containers());
        self.paths().chain(containers.flat_map(|containers| containers.paths()))
    }

    /// Every cgroup that exists, except the root.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    fn refresh_cgroups(&mut self) {
        let mut changed = self.tree.refresh();
        if !self.tree.is_whole() && self.tried.elapsed() >= RETRIED_AFTER {
            self.tried = Instant::now();
            changed |= self.tree.retry();
        }
        if changed {
            self.tree.tidy();
            self.paths = self.tree.paths().collect();
            self.owns_known = false;
            self.running = None;
        }
    }

    fn refresh_prefixes(&mut self, edited: bool) -> Result<(), netglance_dbus::netlink::Error> {
        let routes = self.onlink.changed()?;
        if edited || routes.is_some() {
            self.host_prefixes = routes.unwrap_or_else(|| std::mem::take(&mut self.host_prefixes));
            self.judge_anew();
        }
        Ok(())
    }

    fn judge_anew(&mut self) {
        let Settings { internal, external, .. } = &self.settings.settings;
        self.prefixes = Prefixes::new(&self.host_prefixes, internal, external);
        self.judgement += 1;
    }

    fn reading(&self, watch: &Watch, main: &Beat) -> Reading {
        // What is not the caller's own has a look of its own.
        let others = self.others.beat.as_ref().filter(|_| !watch.is_own);
        let beat = others.unwrap_or(main);
        let mut units: BTreeMap<UnitOf<'_>, [Moved; 2]> = BTreeMap::new();
        let mut all = [Moved::default(); 2];
        let mut alive = !watch.target.comes_back;
        for path in self.all_paths().chain(["/"]) {
            if let Some(unit) = watch.target.unit_of(path) {
                alive = true;
                units.entry(unit).or_default();
            }
        }
        let own = self.moved.iter().map(|(path, account)| (0, path, account.moved));
        let theirs = self.others.moved.iter().filter(|_| !watch.is_own).map(|(path, moved)| (1, path, *moved));
        for (whose, path, moved) in own.chain(theirs) {
            let total = moved.total.since(watch.start.get(path).copied().unwrap_or_default());
            let Some(unit) = watch.target.unit_of(path).filter(|_| total != Bytes::default()) else { continue };
            for sums in [units.entry(unit).or_default(), &mut all] {
                let sum = &mut sums[whose];
                *sum = sum.plus(Moved { total, latest: moved.latest });
            }
        }
        let their_secs = others.map_or(Ok(1.0), |others| others.secs.clone());
        let secs = main.secs.clone().and_then(|secs| Ok([secs, their_secs?]));
        let secs = if alive { secs } else { Err(Gap::Waiting(watch.target.describe())) };
        let rate = |[own, theirs]: [Moved; 2], [secs, their_secs]: [f64; 2]| {
            own.latest.rate(secs).plus(theirs.latest.rate(their_secs))
        };
        let total = |[own, theirs]: [Moved; 2]| own.total.plus(theirs.total);
        let sockets = |sockets: &HashMap<String, u32>| {
            let is_counted =
                |path: &str| watch.target.unit_of(path).is_some() && (others.is_none() || !self.is_own_cgroup(path));
            sockets.iter().filter(|(path, _)| is_counted(path)).map(|(_, count)| count).sum()
        };
        let units = units.into_iter().map(|(unit, moved)| UnitReading {
            unit: unit.unit.to_owned(),
            cgroup: unit.cgroup.to_owned(),
            rx_bytes: total(moved).rx,
            tx_bytes: total(moved).tx,
            rate: secs.as_ref().ok().map(|secs| rate(moved, *secs)),
        });
        Reading {
            id: watch.id.clone(),
            time: beat.time,
            boottime_ns: beat.boottime_ns,
            elapsed_secs: Duration::from_nanos(beat.boottime_ns.saturating_sub(watch.since_ns)).as_secs_f64(),
            app: watch.target.name.clone(),
            source: beat.source,
            bytes: total(all),
            units: units.collect(),
            unmeasured_udp_sockets: beat.unmeasured_udp.as_ref().map(sockets),
            lacks_containers: watch.target.names_containers() && !self.counts_containers(),
            rate: secs.map(|secs| rate(all, secs)),
        }
    }

    /// All apps of the caller together as of the latest look, those that have ended with them; nothing before there was one.
    pub fn together(&self) -> Option<Reading> {
        let beat = self.beat.as_ref()?;
        let own = self.moved.values().filter(|account| account.app.is_some()).map(|account| account.moved);
        let all = own.fold(Moved::default(), |sum, moved| sum.plus(moved));
        let sockets = |sockets: &HashMap<String, u32>| {
            sockets.iter().filter(|(path, _)| self.is_app(path)).map(|(_, count)| count).sum()
        };
        Some(Reading {
            id: String::new(),
            time: beat.time,
            boottime_ns: beat.boottime_ns,
            elapsed_secs: Duration::from_nanos(beat.boottime_ns.saturating_sub(self.began_ns)).as_secs_f64(),
            app: "All applications".to_owned(),
            source: beat.source,
            bytes: all.total,
            rate: beat.secs.clone().map(|secs| all.latest.rate(secs)),
            unmeasured_udp_sockets: beat.unmeasured_udp.as_ref().map(sockets),
            lacks_containers: false,
            units: Vec::new(),
        })
    }

    /// What the latest look says of every app; nothing before there was one.
    pub fn rates(&mut self) -> Option<AppRates<'_>> {
        self.find_running();
        let beat = self.beat.as_ref()?;
        let boottime_ns = beat.boottime_ns;
        let Ok(secs) = beat.secs else { return Some(AppRates { boottime_ns, rates: None }) };
        let mut moved: HashMap<&str, Bytes> = HashMap::new();
        for Account { app, moved: Moved { latest, .. } } in self.moved.values() {
            if let Some(id) = app.as_deref().filter(|_| *latest != Bytes::default()) {
                let sum = moved.entry(id).or_default();
                *sum = sum.plus(*latest);
            }
        }
        let running = self.running.iter().flat_map(|running| running.apps.keys()).map(String::as_str);
        let mut rates: Vec<_> = running.map(|id| (id, moved.remove(id).unwrap_or_default().rate(secs))).collect();
        rates.extend(moved.into_iter().map(|(id, bytes)| (id, bytes.rate(secs))));
        Some(AppRates { boottime_ns, rates: Some(rates) })
    }

    fn find_running(&mut self) {
        if self.running.is_some() {
            return;
        }
        let mut running = Running::default();
        for path in self.all_paths() {
            let Some(id) = self.defined.id_of(path) else { continue };
            running.asked |=
                !forwarded::is_in(path) && owner::of_slice(path).is_none() && !rustix::process::getuid().is_root();
            if self.is_own_cgroup(path) {
                running.apps.entry(id).or_default().push(path.to_owned());
            }
        }
        running.apps.values_mut().for_each(|cgroups| cgroups.sort_unstable());
        self.running = Some(running);
    }

    /// Every app of the caller as of the latest look (of every user for root), busiest first. What a new unit is called is known
    /// a moment later.
    pub fn apps(&mut self) -> Vec<AppReading> {
        self.find_running();
        let running = self.running.iter().flat_map(|running| &running.apps);
        let mut apps: BTreeMap<String, (Moved, Vec<String>)> =
            running.map(|(id, cgroups)| (id.clone(), (Moved::default(), cgroups.clone()))).collect();
        // What a person has defined is there to be changed, also while it does not run.
        for own in self.defined.own().iter().filter(|own| !own.app.is_built_in()) {
            apps.entry(own.app.name.clone()).or_default();
        }
        for Account { app, moved } in self.moved.values() {
            if let Some((sum, _)) = app.as_ref().and_then(|id| apps.get_mut(id)) {
                *sum = sum.plus(*moved);
            }
        }
        let exists: HashSet<&str> = self.paths.iter().map(String::as_str).collect();
        self.names.refresh(|cgroup| exists.contains(cgroup));
        let mut unnamed = Vec::new();
        let mut asked = HashSet::new();
        let secs = self.beat.as_ref().and_then(|beat| beat.secs.clone().ok());
        let mut apps: Vec<_> = apps
            .into_iter()
            .map(|(id, (moved, cgroups))| {
                let own = self.defined.find(&id).map(|own| own.app.clone());
                let Named { name, icon, in_menu } = match self.desktop.find(&id) {
                    Some(entry) if own.is_none() => entry.clone(),
                    _ => Named { name: self.name(&id, &cgroups, &mut unnamed), icon: None, in_menu: false },
                };
                let rate = secs.filter(|_| !cgroups.is_empty()).map(|secs| moved.latest.rate(secs));
                let parts = if own.is_some() { self.parts(&cgroups, &mut asked) } else { Vec::new() };
                let icon = match own.as_ref().map(|own| own.icon.as_ref()) {
                    Some(Some(icon)) => self.desktop.find_icon(icon),
                    Some(None) => parts.iter().find_map(|part| part.icon.clone()),
                    None => icon,
                };
                let kind = match &own {
                    Some(_) => Kind::Own,
                    None if cgroups.iter().any(|path| forwarded::is_in(path)) => Kind::Forwarded,
                    None => Kind::App,
                };
                let colour = own.and_then(|own| own.colour);
                AppReading { id, name, icon, in_menu, rate, bytes: moved.total, cgroups, kind, colour, parts }
            })
            .collect();
        self.names.ask(unnamed);
        let (running, watches, programs) = (&self.running, &self.watches, &self.programs);
        self.desktop.keep(|id| {
            running.as_ref().is_some_and(|running| running.apps.contains_key(id))
                || asked.contains(id)
                || programs.as_ref().is_some_and(|programs| programs.needs_entry(id))
                || watches.iter().any(|watch| watch.id == id)
        });
        for watch in &mut self.watches {
            if let Some(app) = apps.iter().find(|app| app.id == watch.id && app.name != watch.target.name) {
                watch.target.name.clone_from(&app.name);
            }
        }
        apps.sort_by(busiest);
        apps
    }

    /// Waits until the names of what [`Self::apps`] and [`Self::services`] have found are known.
    pub async fn know_names(&mut self) {
        self.names.settle().await;
        if let Some(look) = self.before.take() {
            self.know_containers(&look).await;
            self.before = Some(look);
        }
        self.others.names.settle().await;
    }

    /// Takes icons from this theme from now on; `None`: from the one that all themes share.
    pub fn set_icon_theme(&mut self, theme: Option<String>) {
        self.desktop.set_icon_theme(theme);
    }

    /// Those of the apps in an app that a person has defined that have desktop entries. The ids of all come to `asked`.
    fn parts(&mut self, cgroups: &[String], asked: &mut HashSet<String>) -> Vec<AppPart> {
        let ids: BTreeSet<_> = cgroups.iter().filter_map(|path| target::app_of(path)).map(|app| app.id).collect();
        let mut parts = Vec::new();
        for id in ids {
            if let Some(Named { name, icon, .. }) = self.desktop.find(&id).cloned() {
                parts.push(AppPart { id: id.clone(), name, icon });
            }
            asked.insert(id);
        }
        parts
    }

    /// What an app without a desktop entry is called. Those of its units that nobody has asked about come to `unnamed`.
    fn name(&self, id: &str, cgroups: &[String], unnamed: &mut Vec<Unit>) -> String {
        let plain = names::plain(id);
        // A preset, a login session and what has a name here need no other.
        if self.defined.find(id).is_some()
            || forwarded::name_in(id).is_some()
            || plain != id && !names::needs_program(id)
        {
            return plain;
        }
        let units = cgroups.iter().filter_map(|path| target::app_of(path)).map(|app| (app.unit.cgroup, app.unit.unit));
        let units: BTreeMap<_, _> = units.collect();
        let now = Instant::now();
        for (cgroup, unit) in units.iter().filter(|(cgroup, _)| !self.names.knows(cgroup, now)) {
            let below = cgroups.iter().filter(|path| path.starts_with(*cgroup));
            unnamed.push(Unit {
                id: id.to_owned(),
                unit: (*unit).to_owned(),
                cgroup: (*cgroup).to_owned(),
                directories: below.map(|path| self.tree.directory(path)).collect(),
            });
        }
        self.names.of_units(units.into_keys()).map_or(plain, str::to_owned)
    }
}

/// Busiest first, then what has moved most, then by name.
fn busiest(a: &AppReading, b: &AppReading) -> Ordering {
    let busy = |app: &AppReading| app.rate.map_or(0.0, |rate| rate.rx + rate.tx);
    let total = |app: &AppReading| app.bytes.rx.saturating_add(app.bytes.tx);
    busy(b).total_cmp(&busy(a)).then(total(b).cmp(&total(a))).then_with(|| a.name.cmp(&b.name))
}

/// From here on there is a gap between two looks, with this time nominally between them.
fn longest_secs(beat: Duration) -> f64 {
    (beat.as_secs_f64() * SLEPT_BEATS).max(SLEPT_SECS)
}

impl Moved {
    fn plus(self, other: Self) -> Self {
        Self { total: self.total.plus(other.total), latest: self.latest.plus(other.latest) }
    }
}

/// What is booked to a cgroup; nothing yet where it has never moved anything.
fn account<'a>(moved: &'a mut HashMap<String, Account>, tree: &Tree, defined: &Apps, path: &str) -> &'a mut Account {
    moved.entry(path.to_owned()).or_insert_with(|| Account {
        app: defined.id_of(path).filter(|_| is_own_cgroup(tree, path)),
        moved: Moved::default(),
    })
}
