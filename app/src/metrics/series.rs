//! Which series there are, and what each has counted. Pure: reads no clock and does no I/O.
//!
//! A series is one unit of one app. What has another name at each start, such as a scope, would be a new series each time; of each app,
//! all of that is one series. A user has a limited number of series, and what is beyond it is one series too. So whatever names
//! somebody gives to cgroups, they cost Prometheus little, and nobody else.
//!
//! Figures of the two sources are never added up. Those of the helper begin where its counters do, and begin again with them; an
//! estimate and a container's figures begin with the first look.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use netglance_dbus::sample::Sample;

use crate::look::{
    apps::Apps,
    forwarded::{self, Forwarded},
    rate::{Bytes, Gap},
    sampler::{Look, Source},
    services, target,
};

/// Units that a user may have with series of their own; the same for the system, and for all containers and virtual machines.
pub const UNITS: usize = 2000;
/// A unit with a longer name, app's included, has no series of its own.
const LONGEST_NAMES: usize = 300;
/// The app and the unit of what has no series of its own.
const OTHER: &str = "other";
/// Whose it is what belongs to no user.
const SYSTEM: &str = "system";
/// Places that are remembered without being in use, at least, before they are forgotten.
const MOST_UNUSED: usize = 1000;

/// What tells a series from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// The app's id; `other`: of no app.
    pub app: String,
    /// The unit's name; `other`: all units of the app that have another name at each start.
    pub unit: String,
    /// Whose it is; `system`: no user's.
    pub user: String,
}

impl Labels {
    /// Of what has no series of its own.
    fn others(user: String) -> Self {
        Self { app: OTHER.to_owned(), unit: OTHER.to_owned(), user }
    }

    fn is_others(&self) -> bool {
        self.app == OTHER && self.unit == OTHER
    }
}

/// Whose a cgroup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This user's, by name.
    User(String),
    /// The system's, or nobody's: a container's or virtual machine's.
    System,
    /// Somebody's whose figures are not wanted.
    LeftOut,
}

/// What one series has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Which.
    pub labels: Arc<Labels>,
    /// By the helper, since its epoch began; `None`: it has counted nothing yet.
    pub exact: Option<Bytes>,
    /// What was estimated since the first look.
    pub estimate: Option<Bytes>,
}

/// All series.
#[derive(Debug, Default)]
pub struct Series {
    /// Where a cgroup, a container or a virtual machine belongs; `None`: it is left out.
    places: HashMap<String, Option<Arc<Labels>>>,
    units: BTreeMap<Arc<Labels>, Totals>,
    /// How many of them have been given to each account, see [`account_of`].
    given: HashMap<String, usize>,
    /// Units that have no series of their own for the limit.
    over: HashSet<Labels>,
    exact: Seen,
    estimate: Seen,
    /// What containers and virtual machines had moved by the latest look.
    moved: HashMap<String, Bytes>,
    gaps: [u64; 4],
}

#[derive(Debug, Default)]
struct Totals {
    exact: Option<Bytes>,
    estimate: Option<Bytes>,
    /// Of containers and virtual machines, exactly.
    forwarded: Option<Bytes>,
}

/// The counters of the latest look at one source.
#[derive(Debug, Default)]
struct Seen {
    epoch: u64,
    counters: HashMap<String, Bytes>,
}

/// Why there was no rate between two looks, in the words that Prometheus is told.
pub const GAPS: [&str; 4] = ["source_changed", "counting_restarted", "slept", "failed"];

impl Series {
    /// Takes in a look. `live`: every cgroup and container that there is. `moved`: what containers and virtual machines have moved
    /// since the first look.
    pub fn take(
        &mut self,
        look: &Look,
        apps: &Apps,
        whose: impl Fn(&str) -> Whose,
        live: &[&str],
        moved: &[(&str, Bytes)],
    ) {
        self.tidy(look, live);
        let is_exact = look.source == Source::Exact;
        let mut more = self.more(look);
        for (path, bytes) in moved {
            let had = self.moved.get(*path).copied();
            if had != Some(*bytes) {
                self.moved.insert((*path).to_owned(), *bytes);
                more.insert((*path).to_owned(), bytes.since(had.unwrap_or_default()));
            }
        }
        // What has moved nothing yet has moved 0: so Prometheus sees the first bytes, too.
        for path in live.iter().filter(|path| is_exact || !forwarded::is_in(path)) {
            if !more.contains_key(*path) {
                more.insert((*path).to_owned(), Bytes::default());
            }
        }
        // In an order that is the same after each start, so that the limit leaves out the same ones.
        let mut new: Vec<&str> =
            more.keys().map(String::as_str).filter(|path| !self.places.contains_key(*path)).collect();
        new.sort_unstable();
        for path in new {
            let place = self.place(path, apps, whose(path));
            self.places.insert(path.to_owned(), place);
        }
        for (path, bytes) in &more {
            let Some(Some(labels)) = self.places.get(path) else { continue };
            let Some(totals) = self.units.get_mut(labels) else { continue };
            let total = if forwarded::is_in(path) { &mut totals.forwarded } else { totals.of(look.source) };
            *total = Some(total.unwrap_or_default().plus(*bytes));
        }
    }

    /// What the rows of a look say beyond those of the look before.
    fn more(&mut self, look: &Look) -> HashMap<String, Bytes> {
        let Sample { epoch, rows, .. } = &look.sample;
        let is_exact = look.source == Source::Exact;
        if is_exact {
            // An estimate that follows begins at 0.
            self.estimate.counters.clear();
        }
        let seen = if is_exact { &mut self.exact } else { &mut self.estimate };
        if seen.epoch != *epoch {
            *seen = Seen { epoch: *epoch, counters: HashMap::new() };
            if is_exact {
                // The helper's counters have begun again, and so do these: after a restart of this program they would be the same.
                self.units.values_mut().for_each(|totals| totals.exact = None);
            }
        }
        let mut before = std::mem::take(&mut seen.counters);
        let mut more = HashMap::new();
        let mut added_up = Vec::new();
        for row in rows.iter().filter(|row| !forwarded::is_in(&row.cgroup)) {
            let bytes = Bytes::of(row);
            let (path, had) = match before.remove_entry(&row.cgroup) {
                Some((path, had)) => (path, Some(had)),
                None => (row.cgroup.clone(), None),
            };
            if had != Some(bytes) {
                more.insert(path.clone(), bytes.since(had.unwrap_or_default()));
            }
            let less = had.unwrap_or_default().since(bytes);
            if less != Bytes::default() {
                added_up.push((path.clone(), less));
            }
            seen.counters.insert(path, bytes);
        }
        // Of cgroups that have ended the helper keeps only so many apart, and adds the others up in one above. Their series have
        // these bytes already.
        added_up.extend(before);
        for (path, bytes) in added_up {
            let mut above = path.rmatch_indices('/').map(|(end, _)| path.get(..end.max(1)).unwrap_or_default());
            if let Some(above) = above.find(|above| *above != path && more.contains_key(*above))
                && let Some(sum) = more.get_mut(above)
            {
                *sum = sum.since(bytes);
            }
        }
        more
    }

    /// The series of a cgroup, which is new. `None`: it has none.
    fn place(&mut self, path: &str, apps: &Apps, whose: Whose) -> Option<Arc<Labels>> {
        let user = match whose {
            Whose::User(name) => Some(name),
            Whose::System => None,
            Whose::LeftOut => return None,
        };
        let mut labels = labels_of(path, apps, user);
        if !labels.is_others() && !self.units.contains_key(&labels) {
            let given = self.given.entry(account_of(path, &labels).to_owned()).or_default();
            if *given < UNITS && labels.app.len() + labels.unit.len() <= LONGEST_NAMES {
                *given += 1;
            } else {
                let others = Labels::others(labels.user.clone());
                self.over.insert(std::mem::replace(&mut labels, others));
            }
        }
        let labels = self.units.get_key_value(&labels).map_or_else(|| Arc::new(labels), |(known, _)| known.clone());
        self.units.entry(labels.clone()).or_default();
        Some(labels)
    }

    /// Forgets what has gone, once there is much of it or others have no room for it.
    fn tidy(&mut self, look: &Look, live: &[&str]) {
        let rows = look.sample.rows.iter().map(|row| row.cgroup.as_str());
        let in_use: HashSet<&str> = rows.chain(live.iter().copied()).collect();
        let unused = self.places.len().saturating_sub(in_use.len());
        if unused <= MOST_UNUSED && (self.over.is_empty() || unused == 0) {
            return;
        }
        // What had no room may have some now.
        self.places.retain(|path, place| {
            in_use.contains(path.as_str()) && !place.as_ref().is_some_and(|labels| labels.is_others())
        });
        self.over.clear();
        self.given.clear();
        let named: BTreeMap<&Arc<Labels>, &str> =
            self.places.iter().filter_map(|(path, labels)| Some((labels.as_ref()?, path.as_str()))).collect();
        self.units.retain(|labels, _| labels.is_others() || named.contains_key(labels));
        for (labels, path) in named {
            *self.given.entry(account_of(path, labels).to_owned()).or_default() += 1;
        }
    }

    /// Other apps are defined: from the next look on, everything belongs to those, with what the helper has counted before. Estimates
    /// stay where they are.
    pub fn define(&mut self) {
        (self.exact, self.moved) = (Seen::default(), HashMap::new());
        self.places.clear();
        self.given.clear();
        self.over.clear();
        self.units.retain(|_, totals| {
            (totals.exact, totals.forwarded) = (None, None);
            totals.estimate.is_some()
        });
    }

    /// Counts a gap.
    pub fn gap(&mut self, gap: &Gap) {
        let which = match gap {
            Gap::SourceChanged(_) => 0,
            Gap::CountingRestarted => 1,
            Gap::Slept(_) => 2,
            Gap::Failed(_) => 3,
            Gap::Waiting(_) => return,
        };
        self.gaps[which] += 1;
    }

    /// Gaps since the first look, in the order of [`GAPS`].
    pub fn gaps(&self) -> [u64; 4] {
        self.gaps
    }

    /// Units without a series of their own.
    pub fn over(&self) -> usize {
        self.over.len()
    }

    /// Every series, by its labels.
    pub fn all(&self) -> Vec<Counters> {
        let all = self.units.iter().map(|(labels, totals)| Counters {
            labels: labels.clone(),
            exact: match (totals.exact, totals.forwarded) {
                (Some(exact), Some(forwarded)) => Some(exact.plus(forwarded)),
                (exact, forwarded) => exact.or(forwarded),
            },
            estimate: totals.estimate,
        });
        all.collect()
    }
}

impl Totals {
    fn of(&mut self, source: Source) -> &mut Option<Bytes> {
        match source {
            Source::Exact => &mut self.exact,
            Source::Estimate => &mut self.estimate,
        }
    }
}

/// What the series of a cgroup is called. `user`: whose it is; `None`: the system's.
fn labels_of(path: &str, apps: &Apps, user: Option<String>) -> Labels {
    let own = apps.own().iter().find_map(|own| Some((own.app.name.clone(), own.target.unit_of(path)?)));
    let is_forwarded = forwarded::is_in(path);
    let found = own.or_else(|| match user {
        None if !is_forwarded => services::service_of(path).map(|unit| (services::id(unit.unit), unit)),
        _ => target::app_of(path).map(|app| (app.id, app.unit)),
    });
    let (mut app, mut unit_name) = (OTHER.to_owned(), OTHER.to_owned());
    if let Some((id, unit)) = found {
        let lasting = target::lasting(&id, unit);
        let is_transient = match Forwarded::of(path) {
            // Of an address that nothing names, the address is all that is known. Many may have it one after the other.
            Some(container) => container.is_unnamed(),
            None => lasting.unit != unit.unit || unit.unit.ends_with(".scope"),
        };
        // The names of some apps are those of their units.
        let is_named_by_unit = is_transient && (is_forwarded || services::unit_of_id(&id) == Some(unit.unit));
        if !is_named_by_unit {
            app = lasting.app;
        }
        if !is_transient {
            unit_name = lasting.unit;
        }
    }
    Labels { app, unit: unit_name, user: user.unwrap_or_else(|| SYSTEM.to_owned()) }
}

/// Who shares one limit: a user, the system, or all containers and virtual machines.
fn account_of<'a>(path: &str, labels: &'a Labels) -> &'a str {
    if forwarded::is_in(path) { forwarded::TOP } else { &labels.user }
}

#[cfg(test)]
mod tests {
    use netglance_dbus::sample::Row;

    use super::*;
    use crate::base::settings::Settings;

    const HOME: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice";

    fn look(source: Source, epoch: u64, rows: &[(&str, u64)]) -> Look {
        let row = |(path, rx): &(&str, u64)| Row { cgroup: (*path).to_owned(), rx_bytes: *rx, ..Row::default() };
        let rows = rows.iter().map(row).collect();
        Look { source, sample: Sample { epoch, boottime_ns: 1, rows }, unmeasured_udp: None, forwarded: false }
    }

    fn whose(path: &str) -> Whose {
        match path {
            path if path.starts_with("/user.slice/user-1000.slice") => Whose::User("ann".to_owned()),
            path if path.starts_with("/user.slice/user-1001.slice") => Whose::LeftOut,
            _ => Whose::System,
        }
    }

    fn apps() -> Apps {
        Apps::new(&Settings::default())
    }

    fn take(series: &mut Series, look: &Look) {
        series.take(look, &apps(), whose, &[], &[]);
    }

    fn shown(series: &Series) -> Vec<(String, Option<u64>, Option<u64>)> {
        let rx = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.rx);
        let line = |counters: Counters| {
            let Labels { app, unit, user } = &*counters.labels;
            (format!("{app} {unit} {user}"), rx(counters.exact), rx(counters.estimate))
        };
        series.all().into_iter().map(line).collect()
    }

    #[test]
    fn a_series_is_a_unit_of_an_app_and_what_has_new_names_is_one() {
        let check = |path: &str, expected: &str| {
            let mut series = Series::default();
            take(&mut series, &look(Source::Exact, 1, &[(path, 1)]));
            let shown: Vec<_> = shown(&series).into_iter().map(|(labels, ..)| labels).collect();
            assert_eq!(shown.join(" and "), expected, "{path}");
        };
        check(&format!("{HOME}/a.service"), "a a.service ann");
        check(&format!("{HOME}/a.service/below"), "a a.service ann");
        check(
            &format!(r"{HOME}/app-stb\x2dnext\x2dserver.slice/stb-next-server@split.service"),
            "StB stb-next-server@split.service ann",
        );
        check(&format!("{HOME}/app-gnome-firefox-4242.scope"), "firefox other ann");
        check(&format!("{HOME}/run-u42.service"), "run other ann");
        check("/user.slice/user-1000.slice/session-7.scope", "session other ann");
        check("/user.slice/user-1000.slice/user@1000.service/init.scope", "other other ann");
        check("/user.slice/user-1000.slice", "other other ann");
        check("/user.slice/user-1001.slice/session-8.scope", "");
        check("/system.slice/ssh.service", "system:ssh.service ssh.service system");
        check("/system.slice/run-u42.service", "other other system");
        check("/machine.slice/libpod-1.scope/user.slice/user-1000.slice", "other other system");
        check("/system.slice", "other other system");
        check("/", "other other system");
    }

    #[test]
    fn exact_counters_begin_with_the_helper_s_and_again_with_them() {
        let mut series = Series::default();
        let (a, b) = (&format!("{HOME}/a.service")[..], &format!("{HOME}/b.service")[..]);
        take(&mut series, &look(Source::Exact, 7, &[(a, 100), (b, 5)]));
        let line = |labels: &str, exact, estimate| (labels.to_owned(), exact, estimate);
        let (a_line, b_line) = ("a a.service ann", "b b.service ann");
        assert_eq!(shown(&series), [line(a_line, Some(100), None), line(b_line, Some(5), None)]);
        take(&mut series, &look(Source::Exact, 7, &[(a, 130), (b, 5)]));
        take(&mut series, &look(Source::Estimate, 0, &[(a, 20)]));
        take(&mut series, &look(Source::Exact, 7, &[(a, 130), (b, 5)]));
        // Each estimate begins at 0, in an epoch that is always the same.
        take(&mut series, &look(Source::Estimate, 0, &[(a, 0)]));
        take(&mut series, &look(Source::Estimate, 0, &[(a, 3)]));
        assert_eq!(shown(&series), [line(a_line, Some(130), Some(23)), line(b_line, Some(5), None)]);
        take(&mut series, &look(Source::Exact, 7, &[(a, 150), (b, 5)]));
        assert_eq!(shown(&series)[0], line(a_line, Some(150), Some(23)), "nothing was missed, and nothing is twice");
        take(&mut series, &look(Source::Exact, 8, &[(a, 4)]));
        assert_eq!(shown(&series), [line(a_line, Some(4), Some(23)), line(b_line, None, None)]);
    }

    #[test]
    fn what_the_helper_adds_up_stays_where_it_is() {
        let mut series = Series::default();
        let (account, gone) = ("/user.slice/user-1000.slice", &format!("{HOME}/app-x-1.scope")[..]);
        take(&mut series, &look(Source::Exact, 1, &[(gone, 70), (account, 10)]));
        take(&mut series, &look(Source::Exact, 1, &[(account, 81)]));
        let line = |labels: &str, exact| (labels.to_owned(), Some(exact), None);
        assert_eq!(shown(&series), [line("other other ann", 11), line("x other ann", 70)]);
        // Of one that runs again, what it had moved before its restart is added up, and it goes on with what is left.
        let restarted = &format!("{HOME}/a.service")[..];
        take(&mut series, &look(Source::Exact, 1, &[(account, 81), (restarted, 305)]));
        take(&mut series, &look(Source::Exact, 1, &[(account, 382), (restarted, 5)]));
        take(&mut series, &look(Source::Exact, 1, &[(account, 382), (restarted, 7)]));
        let expected = [line("a a.service ann", 307), line("other other ann", 12), line("x other ann", 70)];
        assert_eq!(shown(&series), expected);
    }

    #[test]
    fn what_has_moved_nothing_has_moved_0_and_a_container_counts_from_the_first_look() {
        let mut series = Series::default();
        let (path, web) = (&format!("{HOME}/a.service")[..], "/forwarded/docker/web/172.17.0.2");
        let counter = "/forwarded/172.17.0.2";
        let bytes = Bytes { rx: 9, ..Bytes::default() };
        let rows = look(Source::Exact, 1, &[(counter, 1000)]);
        series.take(&rows, &apps(), whose, &[path, web], &[]);
        let line = |labels: &str, exact| (labels.to_owned(), Some(exact), None);
        assert_eq!(shown(&series), [line("a a.service ann", 0), line("docker:web web system", 0)]);
        for _ in 0..2 {
            series.take(&rows, &apps(), whose, &[path], &[(web, bytes)]);
            assert_eq!(shown(&series)[1], line("docker:web web system", 9));
        }
        series.take(&look(Source::Estimate, 1, &[]), &apps(), whose, &[path, web], &[(web, bytes)]);
        assert_eq!(shown(&series)[0], ("a a.service ann".to_owned(), Some(0), Some(0)));
        assert_eq!(shown(&series)[1], line("docker:web web system", 9));
    }

    #[test]
    fn names_cost_those_who_give_them_and_only_so_much() {
        let names: Vec<_> = (0..UNITS + 5).map(|i| format!("{HOME}/n{i:05}.service")).collect();
        let mut rows: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        rows.push(("/system.slice/ssh.service", 1));
        let mut series = Series::default();
        take(&mut series, &look(Source::Exact, 1, &rows));
        let lines = shown(&series);
        assert_eq!((lines.len(), series.over()), (UNITS + 2, 5));
        assert_eq!(lines.iter().filter_map(|(_, exact, _)| *exact).sum::<u64>(), 2006);
        assert!(lines.contains(&("other other ann".to_owned(), Some(5), None)));
        assert!(lines.contains(&("system:ssh.service ssh.service system".to_owned(), Some(1), None)));
        // No name is a way around it, however it is made.
        let mut tricky = Series::default();
        let rows: Vec<_> = (0..UNITS + 5).map(|i| format!("{HOME}/app-other@zz{i}.service")).collect();
        let rows: Vec<_> = rows.iter().map(|name| (name.as_str(), 1)).collect();
        let long = format!("{HOME}/{}.service", "n".repeat(200));
        take(&mut tricky, &look(Source::Exact, 1, &[&rows[..], &[(&long, 1)]].concat()));
        assert_eq!((tricky.all().len(), tricky.over()), (UNITS + 1, 6));
        // Other names have their room once these are gone.
        let news: Vec<_> = (0..100).map(|i| format!("{HOME}/m{i:05}.service")).collect();
        let rows: Vec<_> = news.iter().map(|name| (name.as_str(), 1)).collect();
        take(&mut series, &look(Source::Exact, 1, &rows));
        assert_eq!(series.over(), 0);
        assert!(shown(&series).contains(&("m00042 m00042.service ann".to_owned(), Some(1), None)));
    }
}
