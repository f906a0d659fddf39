//! What was recorded, added up.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, params};

use super::{
    DAY_SECS, Error, HOUR_SECS, MINUTE, STEP, Store, bytes,
    pack::{Parts, unpack},
    share,
};
use crate::{
    keep::usage::{By, Group, Network, Seen, Slot, Usage, Which},
    look::{rate::Bytes, target::Target},
};

/// A unit in the file.
struct Series {
    id: i64,
    app: String,
    name: String,
    unit: String,
}

/// Where figures come from.
struct Origin {
    estimate: bool,
    network: Network,
}

/// The groups as they fill up.
struct Sums<'a> {
    edges: &'a [i64],
    by: By,
    origins: HashMap<i64, Origin>,
    metered: Option<bool>,
    groups: Vec<Group>,
    index: HashMap<(String, String, Network), usize>,
}

impl Store {
    /// What the chosen units have moved between each pair of neighbouring edges, in seconds since 1970. An hour of which no more is
    /// known than its sum is where it began. Groups that have moved nothing at all are left out, but the one of [`By::All`].
    pub fn usage(&self, edges: &[i64], which: &Which, by: By) -> Result<Vec<Group>, Error> {
        let failed = self.failed("read");
        let (Some(first), Some(last)) = (edges.first().copied(), edges.last().copied()) else { return Ok(Vec::new()) };
        let mut sums = Sums {
            edges,
            by,
            origins: self.origins().map_err(&failed)?,
            metered: which.metered,
            groups: Vec::new(),
            index: HashMap::new(),
        };
        if by == By::All {
            sums.group("", "", "", &Network::default());
        }
        for series in self.series(which).map_err(&failed)? {
            let mut places = HashMap::new();
            let mut place =
                |sums: &mut Sums<'_>, origin: i64| *places.entry(origin).or_insert_with(|| sums.of(&series, origin));
            self.hours(&series, first, last, |start, origin, sum, minutes| {
                let Some(group) = place(&mut sums, origin) else { return Ok(()) };
                sums.hour(group, origin, start, sum, minutes)
            })?;
            let select = "SELECT start, origin, rx, tx, internal_rx, internal_tx FROM step \
                          WHERE series = ?1 AND start >= ?2 AND start < ?3";
            let mut select = self.db.prepare_cached(select).map_err(&failed)?;
            let mut rows = select.query([series.id, first, last]).map_err(&failed)?;
            while let Some(row) = rows.next().map_err(&failed)? {
                let read = || Ok((row.get(0)?, row.get(1)?, bytes(row, 2)?));
                let (start, origin, sum) = read().map_err(&failed)?;
                if let Some(group) = place(&mut sums, origin) {
                    sums.add(group, origin, start, sum, false);
                }
            }
            let select = "SELECT start, end, origin, rx, tx, internal_rx, internal_tx FROM away \
                          WHERE series = ?1 AND end > ?2 AND start < ?3";
            let mut select = self.db.prepare_cached(select).map_err(&failed)?;
            let mut rows = select.query([series.id, first, last]).map_err(&failed)?;
            while let Some(row) = rows.next().map_err(&failed)? {
                let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?, bytes(row, 3)?));
                let (start, end, origin, sum) = read().map_err(&failed)?;
                if let Some(group) = place(&mut sums, origin) {
                    sums.spread(group, origin, (start, end), sum);
                }
            }
        }
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
        let apps = || -> rusqlite::Result<Vec<_>> {
            let select = "SELECT DISTINCT series.app, coalesce(app.name, series.app) FROM series \
                          LEFT JOIN app ON app.id = series.app ORDER BY 1";
            let mut select = self.db.prepare_cached(select)?;
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        apps().map_err(self.failed("read"))
    }

    fn series(&self, which: &Which) -> rusqlite::Result<Vec<Series>> {
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
            let series = Series { id: row.get(0)?, app: row.get(1)?, name: row.get(2)?, unit: row.get(3)? };
            let cgroup: String = row.get(4)?;
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

    /// Gives each packed hour of a unit that lies at least partly between two times to `each`: its start, origin and sum, and what
    /// it consists of, which is read only where it is asked for.
    fn hours(
        &self,
        series: &Series,
        first: i64,
        last: i64,
        mut each: impl FnMut(i64, i64, Bytes, &dyn Fn() -> Result<Option<Parts>, Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = self.failed("read");
        let select = "SELECT start, origin, hours FROM day WHERE series = ?1 AND start > ?2 AND start < ?3";
        let mut select = self.db.prepare_cached(select).map_err(&failed)?;
        let mut rows = select.query([series.id, first - HOUR_SECS - DAY_SECS, last]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let read = || Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get_ref(2)?.as_blob()?));
            let (day, origin, hours) = read().map_err(&failed)?;
            for (at, sum) in self.unpacked(hours, MINUTE)? {
                let start = day + i64::from(at);
                if start > first - HOUR_SECS && start < last {
                    each(start, origin, sum, &|| self.parts(series.id, start, origin))?;
                }
            }
        }
        Ok(())
    }

    fn unpacked(&self, packed: &[u8], secs: u32) -> Result<Parts, Error> {
        unpack(packed, secs).map_err(|source| Error::Packed { path: self.path.clone(), source })
    }

    /// What an hour consists of, as finely as it is known; `None`: it isn't any more.
    fn parts(&self, series: i64, start: i64, origin: i64) -> Result<Option<Parts>, Error> {
        let select = "SELECT minutes, steps FROM packed WHERE series = ?1 AND start = ?2 AND origin = ?3";
        let found = self.db.prepare_cached(select).and_then(|mut select| {
            let row = select.query_row(params![series, start, origin], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
            });
            row.optional()
        });
        match found.map_err(self.failed("read"))? {
            Some((_, Some(steps))) => self.unpacked(&steps, STEP).map(Some),
            Some((minutes, None)) => self.unpacked(&minutes, MINUTE).map(Some),
            None => Ok(None),
        }
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

    /// The group to which a unit's figures of an origin belong. `None`: they are not asked for.
    fn of(&mut self, series: &Series, origin: i64) -> Option<usize> {
        let network = self.origins.get(&origin)?.network.clone();
        if self.metered.is_some_and(|metered| metered != (network.metered == Some(true))) {
            return None;
        }
        let (app, name, nothing) = (&series.app, &series.name, Network::default());
        Some(match self.by {
            By::All => self.group("", "", "", &nothing),
            By::App => self.group(app, name, "", &nothing),
            By::Unit => self.group(app, name, &series.unit, &nothing),
            By::Network => self.group("", "", "", &network),
        })
    }

    /// Adds what was moved at a time. `unsure`: it may have been moved at another one as well.
    fn add(&mut self, group: usize, origin: i64, at: i64, bytes: Bytes, unsure: bool) {
        let Some(slot) = self.edges.partition_point(|edge| *edge <= at).checked_sub(1) else { return };
        let unsure = unsure || self.origins.get(&origin).is_some_and(|origin| origin.estimate);
        let estimate_bytes = if unsure { bytes.sum() } else { 0 };
        if let Some(slot) = self.groups.get_mut(group).and_then(|group| group.slots.get_mut(slot)) {
            slot.usage = slot.usage.plus(Usage { bytes, estimate_bytes });
        }
    }

    /// Adds an hour, its parts where an edge divides it.
    fn hour(
        &mut self,
        group: usize,
        origin: i64,
        start: i64,
        sum: Bytes,
        parts: &dyn Fn() -> Result<Option<Parts>, Error>,
    ) -> Result<(), Error> {
        let edge = self.edges.partition_point(|edge| *edge <= start);
        let divided = self.edges.get(edge).is_some_and(|edge| *edge < start + HOUR_SECS);
        if !divided && edge > 0 {
            self.add(group, origin, start, sum, false);
            return Ok(());
        }
        match parts()? {
            Some(parts) => {
                for (at, bytes) in parts {
                    self.add(group, origin, start + i64::from(at), bytes, false);
                }
            }
            None => self.add(group, origin, start, sum, true),
        }
        Ok(())
    }

    /// Adds a sum over a longer time, each slot its share of it.
    fn spread(&mut self, group: usize, origin: i64, (start, end): (i64, i64), sum: Bytes) {
        let first = self.edges.partition_point(|edge| *edge <= start).saturating_sub(1);
        for pair in self.edges.get(first..).unwrap_or_default().windows(2) {
            let [from, to] = *pair else { continue };
            if from >= end {
                break;
            }
            let whole = from <= start && end <= to;
            self.add(group, origin, from.max(start), share(sum, (start, end), from, to), !whole);
        }
    }
}
