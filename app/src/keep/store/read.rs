//! What was recorded, added up.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use rusqlite::OptionalExtension as _;

use super::{DAY_SECS, Error, HOUR_SECS, MINUTE, STEP, Store, bytes, pack::parts, share};
use crate::{
    base::settings::Budget,
    keep::{
        budget,
        usage::{By, Group, Network, Seen, Slot, Usage, Which},
    },
    look::{apps::Apps, rate::Bytes, target::Target},
};

/// A unit in the file.
pub(super) struct Series {
    pub id: i64,
    /// The app to which it belongs by now.
    pub app: String,
    name: String,
    unit: String,
}

/// Where figures come from.
struct Origin {
    estimate: bool,
    network: Network,
}

/// Where a unit's figures of an origin belong.
#[derive(Clone, Copy)]
struct Place {
    group: usize,
    estimate: bool,
}

/// The groups as they fill up.
struct Sums<'a> {
    edges: &'a [i64],
    by: By,
    origins: HashMap<i64, Origin>,
    metered: Option<bool>,
    groups: Vec<Group>,
    index: HashMap<(String, String, Network), usize>,
    /// By series and origin; `None`: not asked for.
    places: HashMap<(i64, i64), Option<Place>>,
}

impl Store {
    /// The apps that have moved anything in the period of a budget, as [`budget::used`] takes them.
    pub fn usage_for(&self, budget: &Budget, period: &Range<i64>, defined: &Apps) -> Result<Vec<Group>, Error> {
        self.usage(&[period.start, period.end], &budget::which(budget, defined), By::App)
    }

    /// What the chosen units have moved between each pair of neighbouring edges, in seconds since 1970. An hour of which no more is
    /// known than its sum is where it began. Groups that have moved nothing at all are left out, but the one of [`By::All`].
    pub fn usage(&self, edges: &[i64], which: &Which, by: By) -> Result<Vec<Group>, Error> {
        let failed = self.failed("read");
        let (Some(first), Some(last)) = (edges.first().copied(), edges.last().copied()) else { return Ok(Vec::new()) };
        // What is packed meanwhile would be in neither place.
        let _one_state = self.db.unchecked_transaction().map_err(&failed)?;
        let mut sums = Sums {
            edges,
            by,
            origins: self.origins().map_err(&failed)?,
            metered: which.metered,
            groups: Vec::new(),
            index: HashMap::new(),
            places: HashMap::new(),
        };
        if by == By::All {
            sums.group("", "", "", &Network::default());
        }
        let chosen = self.series(which).map_err(&failed)?;
        for series in &chosen {
            self.add_hours(&mut sums, series, first, last)?;
            self.add_away(&mut sums, series, first, last).map_err(&failed)?;
        }
        self.add_steps(&mut sums, &chosen, first, last).map_err(&failed)?;
        let mut groups = sums.groups;
        groups.retain(|group| by == By::All || group.slots.iter().any(|slot| slot.usage.bytes != Bytes::default()));
        groups.sort_by(|a, b| (&a.app, &a.unit, &a.network).cmp(&(&b.app, &b.unit, &b.network)));
        let seen = self.seen(edges).map_err(&failed)?;
        for (slot, seen) in groups.iter_mut().flat_map(|group| group.slots.iter_mut().zip(&seen)) {
            slot.seen = *seen;
        }
        Ok(groups)
    }

    /// When the recording began, in seconds since 1970. `None`: nothing is recorded.
    pub fn since(&self) -> Result<Option<i64>, Error> {
        let first = self.db.query_row("SELECT min(start) FROM seen", [], |row| row.get(0));
        first.map_err(self.failed("read"))
    }

    /// Every app that was recorded: its id, and its name as it was last known.
    pub fn apps(&self) -> Result<Vec<(String, String)>, Error> {
        self.apps_of(&Which::default())
    }

    /// As [`Self::apps`], of what these choose.
    pub fn apps_of(&self, which: &Which) -> Result<Vec<(String, String)>, Error> {
        let series = self.series(which).map_err(self.failed("read"))?;
        let apps: BTreeMap<_, _> = series.into_iter().map(|series| (series.app, series.name)).collect();
        Ok(apps.into_iter().collect())
    }

    pub(super) fn series(&self, which: &Which) -> rusqlite::Result<Vec<Series>> {
        let narrowed = !which.units.is_empty() || !which.cgroups.is_empty();
        // A pattern that is none matches nothing.
        let target = Target::selection(&which.units, &which.cgroups, "").ok();
        let is_in = |cgroup: &str| target.as_ref().is_some_and(|target| target.unit_of(cgroup).is_some());
        let select = "SELECT series.id, series.app, coalesce(app.name, series.app), unit, cgroup FROM series \
                      LEFT JOIN app ON app.id = series.app";
        let mut select = self.db.prepare_cached(select)?;
        let mut rows = select.query([])?;
        let mut chosen = Vec::new();
        while let Some(row) = rows.next()? {
            let mut series = Series { id: row.get(0)?, app: row.get(1)?, name: row.get(2)?, unit: row.get(3)? };
            let cgroup: String = row.get(4)?;
            if let Some(own) = self.defined.recorded(&cgroup).filter(|_| !which.as_recorded) {
                series.app.clone_from(own);
                series.name.clone_from(own);
            }
            let is_app = which.apps.is_empty() || which.apps.contains(&series.app);
            if is_app && (!narrowed || is_in(&cgroup)) {
                chosen.push(series);
            }
        }
        Ok(chosen)
    }

    fn origins(&self) -> rusqlite::Result<HashMap<i64, Origin>> {
        let mut select = self.db.prepare_cached("SELECT id, estimate, network, metered FROM origin")?;
        let rows = select.query_map([], |row| {
            let name = Some(row.get::<_, String>(2)?).filter(|name| !name.is_empty());
            let metered = match row.get(3)? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            };
            Ok((row.get(0)?, Origin { estimate: row.get(1)?, network: Network { name, metered } }))
        })?;
        rows.collect()
    }

    /// Adds the packed hours of a unit that lie at least partly between two times.
    fn add_hours(&self, sums: &mut Sums<'_>, series: &Series, first: i64, last: i64) -> Result<(), Error> {
        let failed = self.failed("read");
        let select = "SELECT start, origin, hours FROM day WHERE series = ?1 AND start > ?2 AND start < ?3";
        let mut select = self.db.prepare_cached(select).map_err(&failed)?;
        let mut rows = select.query([series.id, first - HOUR_SECS - DAY_SECS, last]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let read = || Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get_ref(2)?.as_blob()?));
            let (day, origin, hours) = read().map_err(&failed)?;
            let Some(place) = sums.place(series, origin) else { continue };
            for (at, sum) in parts(hours, MINUTE).map_err(|source| self.damaged(source))? {
                let start = day + i64::from(at);
                if start <= first - HOUR_SECS || start >= last {
                    continue;
                }
                match sums.whole(start) {
                    Some(slot) => sums.put(place, slot, sum, false),
                    None => self.add_parts(sums, place, (series.id, start, origin), sum)?,
                }
            }
        }
        Ok(())
    }

    /// Adds an hour that an edge divides, as finely as it is known.
    fn add_parts(
        &self,
        sums: &mut Sums<'_>,
        place: Place,
        (series, start, origin): (i64, i64, i64),
        sum: Bytes,
    ) -> Result<(), Error> {
        let key = "WHERE start = ?1 AND series = ?2 AND origin = ?3";
        for (what, table, secs) in [("steps", "fine", STEP), ("minutes", "packed", MINUTE)] {
            let select = self.db.prepare_cached(&format!("SELECT {what} FROM {table} {key}"));
            let found = select
                .and_then(|mut select| {
                    select.query_row([start, series, origin], |row| row.get::<_, Vec<u8>>(0)).optional()
                })
                .map_err(self.failed("read"))?;
            let Some(found) = found else { continue };
            for (at, bytes) in parts(&found, secs).map_err(|source| self.damaged(source))? {
                sums.add(place, start + i64::from(at), bytes, false);
            }
            return Ok(());
        }
        sums.add(place, start, sum, true);
        Ok(())
    }

    /// Adds the steps that are not packed yet.
    fn add_steps(&self, sums: &mut Sums<'_>, chosen: &[Series], first: i64, last: i64) -> rusqlite::Result<()> {
        let chosen: HashMap<i64, &Series> = chosen.iter().map(|series| (series.id, series)).collect();
        let select = "SELECT series, start, origin, rx, tx, internal_rx, internal_tx FROM step \
                      WHERE start >= ?1 AND start < ?2";
        let mut select = self.db.prepare_cached(select)?;
        let mut rows = select.query([first, last])?;
        while let Some(row) = rows.next()? {
            let Some(series) = chosen.get(&row.get(0)?) else { continue };
            if let Some(place) = sums.place(series, row.get(2)?) {
                sums.add(place, row.get(1)?, bytes(row, 3)?, false);
            }
        }
        Ok(())
    }

    /// Adds the sums over longer times of a unit.
    fn add_away(&self, sums: &mut Sums<'_>, series: &Series, first: i64, last: i64) -> rusqlite::Result<()> {
        let select = "SELECT start, end, origin, rx, tx, internal_rx, internal_tx FROM away \
                      WHERE series = ?1 AND end > ?2 AND start < ?3";
        let mut select = self.db.prepare_cached(select)?;
        let mut rows = select.query([series.id, first, last])?;
        while let Some(row) = rows.next()? {
            if let Some(place) = sums.place(series, row.get(2)?) {
                sums.spread(place, (row.get(0)?, row.get(1)?), bytes(row, 3)?);
            }
        }
        Ok(())
    }

    fn damaged(&self, source: postcard::Error) -> Error {
        Error::Packed { path: self.path.clone(), source }
    }

    /// How well the time between each pair of edges is known.
    fn seen(&self, edges: &[i64]) -> rusqlite::Result<Vec<Seen>> {
        let slots = edges.len().saturating_sub(1);
        let mut seen = vec![Seen::Not; slots];
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return Ok(seen) };
        let select = "SELECT start, end, away FROM seen WHERE end > ?1 AND start < ?2";
        let mut select = self.db.prepare_cached(select)?;
        let mut rows = select.query([first, last])?;
        while let Some(row) = rows.next()? {
            let (start, end): (i64, i64) = (row.get(0)?, row.get(1)?);
            let kind = if row.get(2)? { Seen::Away } else { Seen::Looked };
            let from = edges.partition_point(|edge| *edge <= start).saturating_sub(1);
            let to = edges.partition_point(|edge| *edge < end).min(slots);
            for slot in seen.get_mut(from..to).into_iter().flatten() {
                *slot = (*slot).max(kind);
            }
        }
        Ok(seen)
    }
}

impl Sums<'_> {
    fn group(&mut self, app: &str, name: &str, unit: &str, network: &Network) -> usize {
        let key = (app.to_owned(), unit.to_owned(), network.clone());
        *self.index.entry(key).or_insert_with(|| {
            let slot = |pair: &[i64]| Slot {
                start: pair.first().copied().unwrap_or_default(),
                end: pair.last().copied().unwrap_or_default(),
                ..Slot::default()
            };
            self.groups.push(Group {
                app: app.to_owned(),
                name: name.to_owned(),
                unit: (self.by == By::Unit).then(|| unit.to_owned()),
                network: (self.by == By::Network).then(|| network.clone()),
                slots: self.edges.windows(2).map(slot).collect(),
            });
            self.groups.len() - 1
        })
    }

    /// Where a unit's figures of an origin belong. `None`: they are not asked for.
    fn place(&mut self, series: &Series, origin: i64) -> Option<Place> {
        if let Some(known) = self.places.get(&(series.id, origin)) {
            return *known;
        }
        let place = self.find_place(series, origin);
        self.places.insert((series.id, origin), place);
        place
    }

    fn find_place(&mut self, series: &Series, origin: i64) -> Option<Place> {
        let Origin { estimate, network } = self.origins.get(&origin)?;
        let (estimate, network) = (*estimate, network.clone());
        if self.metered.is_some_and(|metered| metered != (network.metered == Some(true))) {
            return None;
        }
        let (app, name, nothing) = (&series.app, &series.name, Network::default());
        let group = match self.by {
            By::All => self.group("", "", "", &nothing),
            By::App => self.group(app, name, "", &nothing),
            By::Unit => self.group(app, name, &series.unit, &nothing),
            By::Network => self.group("", "", "", &network),
        };
        Some(Place { group, estimate })
    }

    /// The slot in which the whole of an hour lies; `None`: an edge divides it.
    fn whole(&self, start: i64) -> Option<usize> {
        let edge = self.edges.partition_point(|edge| *edge <= start);
        let divided = self.edges.get(edge).is_some_and(|edge| *edge < start + HOUR_SECS);
        edge.checked_sub(1).filter(|_| !divided)
    }

    /// Adds what was moved at a time. `unsure`: it may have been moved at another one as well.
    fn add(&mut self, place: Place, at: i64, bytes: Bytes, unsure: bool) {
        if let Some(slot) = self.edges.partition_point(|edge| *edge <= at).checked_sub(1) {
            self.put(place, slot, bytes, unsure);
        }
    }

    fn put(&mut self, place: Place, slot: usize, bytes: Bytes, unsure: bool) {
        let estimate_bytes = if unsure || place.estimate { bytes.sum() } else { 0 };
        if let Some(slot) = self.groups.get_mut(place.group).and_then(|group| group.slots.get_mut(slot)) {
            slot.usage = slot.usage.plus(Usage { bytes, estimate_bytes });
        }
    }

    /// Adds a sum over a longer time, each slot its share of it.
    fn spread(&mut self, place: Place, (start, end): (i64, i64), sum: Bytes) {
        let first = self.edges.partition_point(|edge| *edge <= start).saturating_sub(1);
        for pair in self.edges.get(first..).unwrap_or_default().windows(2) {
            let [from, to] = *pair else { continue };
            if from >= end {
                break;
            }
            let whole = from <= start && end <= to;
            self.add(place, from.max(start), share(sum, (start, end), from, to), !whole);
        }
    }
}
