//! Whom the watched apps talk to, or all apps of the caller together. Nothing of this costs anything while nobody asks.

use std::{
    cmp::Ordering,
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netglance_dbus::{cgroup::Tree, owner, remote, scope::Prefixes};

use super::{Account, Error, Monitor, SLEPT_BEATS, SLEPT_SECS, Watch, is_own_cgroup};
use crate::look::{
    apps::Apps,
    live::{self, Judged, Proxies},
    rate::{self, Bytes},
    remotes::{Changes, Judge, Look, Open, Place, Row, Table, Whois},
    sampler::{self, OpenSocket, Source},
    target::units,
    whois::{Lookup, Sources},
};

/// Paths that the helper takes in a call.
const MOST_CGROUPS: usize = 512;
/// The helper's counters are asked so often what is internal to them.
const COUNTERS_EVERY: Duration = Duration::from_secs(5);

/// The rows, and what they are about.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    /// Its numbers go on for as long as the program runs, whatever it is about.
    table: Table,
    /// Somebody asks.
    is_wanted: bool,
    /// The ids of what is watched.
    of: Vec<String>,
    /// What is internal to the helper's counters; `None`: they don't run.
    counters: Option<Vec<IpNet>>,
    counters_at: Option<Instant>,
    /// How often `counters` have changed.
    counters_changed: u64,
}

impl Monitor {
    /// Looks at the remotes of what is watched, or of all apps of the caller where nothing is: the first time, and after something
    /// else is watched, counting by remote begins. To be called after [`Self::look`], with the same beat. It goes on until
    /// [`Self::forget_remotes`]; the helper stops by itself when it is not asked for ten seconds.
    pub async fn look_at_remotes(&mut self, beat: Duration) -> Result<(), Error> {
        let mut remotes = self.remotes.take().unwrap_or_default();
        remotes.is_wanted = true;
        if !remotes.of.iter().eq(self.watches.iter().map(|watch| &watch.id)) {
            remotes.of = self.watches.iter().map(|watch| watch.id.clone()).collect();
            remotes.table.clear();
        }
        let outcome = self.take_remotes(&mut remotes, beat).await;
        self.remotes = Some(remotes);
        outcome
    }

    /// The remotes as of the latest [`Self::look_at_remotes`]; `None`: there was none.
    pub fn remotes(&self) -> Option<&Table> {
        self.remotes.as_ref().filter(|remotes| remotes.is_wanted).map(|remotes| &remotes.table)
    }

    /// What is different from the call before; see [`Table::changes`].
    pub fn remote_changes(&mut self, whole: bool) -> Changes {
        self.remotes.as_mut().map(|remotes| remotes.table.changes(whole)).unwrap_or_default()
    }

    /// Nobody asks for remotes any more.
    pub fn forget_remotes(&mut self) {
        if let Some(remotes) = self.remotes.as_mut().filter(|remotes| remotes.is_wanted) {
            remotes.is_wanted = false;
            remotes.table.clear();
            self.sampler.forget_remotes();
            self.lookup.rest();
        }
    }

    /// Where the names of remotes come from.
    pub fn name_sources(&mut self) -> Sources {
        self.lookup.set(&self.settings.settings);
        self.lookup.sources()
    }

    /// Follows the names that this computer asks for, or stops; see [`Lookup::follow_queries`].
    pub fn follow_queries(&mut self, follows: bool) {
        self.lookup.follow_queries(follows);
    }

    /// Whether a person is being asked whether they may be followed.
    pub fn is_asking_for_queries(&self) -> bool {
        self.lookup.is_asking()
    }

    async fn take_remotes(&mut self, remotes: &mut Remotes, beat: Duration) -> Result<(), Error> {
        let open = sampler::open_sockets()?;
        self.refresh_cgroups();
        self.refresh_prefixes(false)?;
        self.find_own();
        let asked = self.asked();
        let exact = match &self.before {
            // The helper tells remotes of the caller's own cgroups only, whatever was granted.
            Some(before) if before.source == Source::Exact && !self.watches_others() => {
                self.read_remotes(&asked, &remotes.table).await?
            }
            _ => None,
        };
        remotes.refresh_counters(&self.sampler, exact.is_some()).await;
        let mut paths: HashMap<u64, Option<String>> = HashMap::new();
        for id in open.iter().filter_map(|socket| socket.cgroup_id) {
            paths.entry(id).or_insert_with(|| self.tree.path(id));
        }
        let is_exact = exact.is_some();
        self.lookup.set(&self.settings.settings);
        let knowledge = self.lookup.knowledge();
        let mut judging = Judging {
            tree: &self.tree,
            watches: &self.watches,
            moved: &self.moved,
            defined: &self.defined,
            prefixes: &self.prefixes,
            judgement: self.judgement + remotes.counters_changed,
            counters: remotes.counters.as_deref(),
            open: &open,
            asked: is_exact.then_some(asked.as_slice()),
            lookup: &self.lookup,
            knowledge,
        };
        let look = |source, epoch, boottime_ns, is_complete| Look {
            source,
            epoch,
            boottime_ns,
            is_complete,
            open: sockets(&open, &paths, &self.prefixes),
            counted: is_exact.then(|| judging.counted()),
            longest: Duration::from_secs_f64((beat.as_secs_f64() * SLEPT_BEATS).max(SLEPT_SECS)),
        };
        let is_new = remotes.table.is_new();
        match &exact {
            Some(exact) => {
                let look = look(Source::Exact, exact.epoch, exact.boottime_ns, exact.is_complete);
                remotes.table.take(look, exact.rows.iter().map(row), &mut judging);
            }
            None => {
                let estimate = self.sampler.estimated_remotes(&self.tree, &self.prefixes)?;
                let (boottime_ns, rows) = estimate.remotes();
                remotes.table.take(look(Source::Estimate, 0, boottime_ns, true), rows, &mut judging);
            }
        }
        if is_new && is_exact {
            self.begin_others(&mut remotes.table).await;
        }
        Ok(())
    }

    /// From the helper. `None`: it can't tell.
    async fn read_remotes(&mut self, asked: &[String], table: &Table) -> Result<Option<remote::Remotes>, Error> {
        if asked.is_empty() {
            let (epoch, boottime_ns) = (table.epoch(), sampler::boottime_ns());
            return Ok(Some(remote::Remotes { epoch, boottime_ns, is_complete: true, rows: Vec::new() }));
        }
        Ok(self.sampler.read_remotes(asked).await?)
    }

    /// The cgroups' counters were read before the first rows. What came between the two is in no row and no others' either.
    async fn begin_others(&mut self, table: &mut Table) {
        let Some(sample) = self.sampler.read_again().await else { return };
        let Some(before) = &self.before else { return };
        let again = sampler::Look { source: Source::Exact, sample, unmeasured_udp: None, forwarded: false };
        let between = rate::between(before, &again, f64::INFINITY).bytes;
        let is_wanted = |path: &str| is_wanted(&self.watches, &self.moved, &self.tree, &self.defined, path);
        let since = between.into_iter().filter(|(path, _)| is_wanted(path)).map(|(_, bytes)| bytes);
        let [rx, tx] = counted(&self.watches, &self.moved);
        let [more_rx, more_tx] = both_ways(since.fold(Bytes::default(), Bytes::plus));
        table.begin_others([rx.saturating_add(more_rx), tx.saturating_add(more_tx)]);
    }

    /// What the helper is asked for: the topmost cgroups of what is watched, or the slices of the apps' users.
    fn asked(&mut self) -> Vec<String> {
        if self.watches.is_empty() {
            self.find_running();
            let apps = self.running.iter().flat_map(|running| running.apps.values().flatten());
            return topmost(apps.map(|path| slice_of(path)).collect());
        }
        topmost(self.paths().filter(|path| self.is_watched(path)).collect())
    }
}

impl Remotes {
    async fn refresh_counters(&mut self, sampler: &sampler::Sampler, is_exact: bool) {
        if is_exact && self.counters_at.is_some_and(|at| at.elapsed() < COUNTERS_EVERY) {
            return;
        }
        let counters = if is_exact { sampler.internal_prefixes().await } else { None };
        self.counters_at = is_exact.then(Instant::now);
        if counters != self.counters {
            self.counters = counters;
            self.counters_changed += 1;
        }
    }
}

/// A row as the table takes it.
fn row(remote: &remote::Remote) -> Row<'_> {
    let remote::Remote { cgroup, address, port, protocol, rx_bytes, tx_bytes } = remote;
    Row { cgroup, address: *address, port: *port, protocol: *protocol, bytes: [*rx_bytes, *tx_bytes] }
}

/// The open sockets as the table takes them.
fn sockets<'a>(open: &'a [OpenSocket], paths: &'a HashMap<u64, Option<String>>, prefixes: &Prefixes) -> Vec<Open<'a>> {
    let proxies = Proxies::of(open, prefixes);
    let path = |id: u64| paths.get(&id)?.as_deref();
    let socket = |socket: &'a OpenSocket| {
        let remote = Some(socket.remote).filter(|remote| !remote.ip().is_unspecified());
        let end = proxies.other_end(socket);
        Some(Open {
            cgroup: path(socket.cgroup_id?)?,
            remote: remote.map(|remote| (remote.ip(), remote.port())),
            protocol: socket.protocol.number(),
            proxy: end.map(|end| live::proxy_name(end.cgroup_id.and_then(path).map(str::to_owned))),
        })
    };
    open.iter().filter_map(socket).collect()
}

/// What is known without the table.
struct Judging<'a> {
    tree: &'a Tree,
    watches: &'a [Watch],
    moved: &'a HashMap<String, Account>,
    defined: &'a Apps,
    prefixes: &'a Prefixes,
    judgement: u64,
    counters: Option<&'a [IpNet]>,
    open: &'a [OpenSocket],
    /// `None`: the source wasn't asked for anything in particular.
    asked: Option<&'a [String]>,
    lookup: &'a Lookup,
    /// [`Lookup::knowledge`]
    knowledge: u64,
}

impl Judging<'_> {
    fn counted(&self) -> [u64; 2] {
        counted(self.watches, self.moved)
    }
}

impl Judge for Judging<'_> {
    fn place(&mut self, cgroup: &str) -> Option<Place> {
        if self.watches.is_empty() {
            let unit = units(cgroup).last().map_or(cgroup, |unit| unit.unit);
            return is_wanted(self.watches, self.moved, self.tree, self.defined, cgroup)
                .then(|| Place { app: String::new(), unit: unit.to_owned() });
        }
        self.watches.iter().find_map(|watch| {
            let unit = watch.target.unit_of(cgroup)?.unit.to_owned();
            Some(Place { app: watch.id.clone(), unit })
        })
    }

    fn is_asked(&mut self, cgroup: &str) -> bool {
        self.asked.is_none_or(|asked| asked.iter().any(|path| is_below(cgroup, path)))
    }

    fn judgement(&self) -> u64 {
        self.judgement
    }

    fn judge(&mut self, address: Option<IpAddr>, at_proxy: bool) -> Judged {
        if at_proxy {
            return Judged::at_proxy(self.counters.is_some());
        }
        let is_own = |address| self.open.iter().any(|socket| socket.local.ip().to_canonical() == address);
        Judged::of(address, self.prefixes, self.counters, is_own)
    }

    fn knowledge(&self) -> u64 {
        self.knowledge
    }

    /// The one place where rows get their names.
    fn whois(&mut self, address: IpAddr, port: u16, protocol: u8) -> Whois {
        self.lookup.look(address, port, protocol)
    }
}

/// Whether a cgroup belongs to what is watched, or to any app of the caller where nothing is.
fn is_wanted(watches: &[Watch], moved: &HashMap<String, Account>, tree: &Tree, defined: &Apps, path: &str) -> bool {
    if watches.is_empty() {
        // An account knows whose the cgroup was when it was still there.
        let known = moved.get(path).map(|account| account.app.is_some());
        return known.unwrap_or_else(|| defined.id_of(path).is_some() && is_own_cgroup(tree, path));
    }
    watches.iter().any(|watch| watch.target.unit_of(path).is_some())
}

/// What the cgroups' counters say: bytes received and sent since the monitor began.
fn counted(watches: &[Watch], moved: &HashMap<String, Account>) -> [u64; 2] {
    let is_wanted = |path: &str, account: &Account| match watches {
        [] => account.app.is_some(),
        watches => watches.iter().any(|watch| watch.target.unit_of(path).is_some()),
    };
    let wanted = moved.iter().filter(|(path, account)| is_wanted(path, account));
    both_ways(wanted.map(|(_, account)| account.moved.total).fold(Bytes::default(), Bytes::plus))
}

/// Received and sent, external and internal ones alike.
fn both_ways(bytes: Bytes) -> [u64; 2] {
    [bytes.rx.saturating_add(bytes.internal_rx), bytes.tx.saturating_add(bytes.internal_tx)]
}

/// The slice of the user to whom a cgroup belongs by its name; else the cgroup itself.
fn slice_of(path: &str) -> &str {
    let slice = path.match_indices('/').nth(2).and_then(|(end, _)| path.get(..end));
    slice.filter(|_| owner::of_slice(path).is_some()).unwrap_or(path)
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || above == "/")
}

/// The paths that are below no other one; where the helper doesn't take so many, what is above the deepest ones instead.
fn topmost(mut paths: Vec<&str>) -> Vec<String> {
    let depth = |path: &str| path.matches('/').count();
    let order = |a: &&str, b: &&str| -> Ordering { a.split('/').cmp(b.split('/')) };
    loop {
        paths.sort_unstable_by(order);
        // What is below a path follows it.
        paths.dedup_by(|later, kept| is_below(later, kept));
        let deepest = paths.iter().map(|path| depth(path)).max().unwrap_or_default();
        if paths.len() <= MOST_CGROUPS || deepest <= 1 {
            paths.truncate(MOST_CGROUPS);
            return paths.into_iter().map(str::to_owned).collect();
        }
        for path in paths.iter_mut().filter(|path| depth(path) == deepest) {
            *path = path.rsplit_once('/').map_or(*path, |(above, _)| above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_cgroups_are_asked_for_and_not_too_many() {
        let check = |paths: &[&str], expected: &[&str]| assert_eq!(topmost(paths.to_vec()), expected);
        check(&[], &[]);
        check(&["/a/b", "/a", "/a-b", "/a-b/c", "/ab"], &["/a", "/a-b", "/ab"]);
        let many: Vec<String> =
            (0..600).map(|n| format!("/u/app.slice/{n}.scope/below")).chain(["/v/w".into()]).collect();
        check(&many.iter().map(String::as_str).collect::<Vec<_>>(), &["/u/app.slice", "/v/w"]);
        let slice = "/user.slice/user-1000.slice";
        for (path, expected) in [
            (format!("{slice}/user@1000.service/app.slice/a.service"), slice),
            (slice.to_owned(), slice),
            ("/machine.slice/c.scope/x/y".to_owned(), "/machine.slice/c.scope/x/y"),
        ] {
            assert_eq!(slice_of(&path), expected);
        }
    }
}
