//! What is put into the history, packed, and taken out of it again.

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, tz::TimeZone};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Batch, DAY_SECS, Error, HOUR_SECS, LONGEST_STEP_SECS, MINUTE, STEP, STEP_SECS, Store, bytes,
    counted::{add_since, rises, take_in},
    int,
    pack::{Parts, pack, unpack},
};
use crate::{
    keep::usage::Network,
    look::{rate::Bytes, target::Unit},
};

/// A time that follows another one within so many seconds goes on with it.
const JOINED_SECS: i64 = 2;
/// The wall clock's seconds of an hour that has begun aren't packed, nor those of a clock that was set back a little.
const RIPE_SECS: i64 = HOUR_SECS + 120;

/// Beyond so many steps, some 3 MB, hours are packed that aren't over yet.
const MOST_STEPS: i64 = 100_000;

/// Where the clock of a packed hour stands.
fn hour_of(time: i64, zone: &TimeZone) -> i64 {
    let offset = Timestamp::from_second(time).map_or(0, |at| i64::from(zone.to_offset(at).seconds()));
    (time + offset).div_euclid(HOUR_SECS) * HOUR_SECS - offset
}

impl Store {
    /// Records a batch as a whole, or nothing of it. What the helper's counters say beyond what was recorded since they were last
    /// taken in was moved while nobody recorded: it is recorded too, as a sum over that time.
    pub fn record(&mut self, batch: &Batch) -> Result<(), Error> {
        let failed = self.failed("write");
        let record = |db: &mut Connection| {
            let change = db.transaction()?;
            let rises = rises(&change, batch)?;
            let origin = origin(&change, batch.estimate && rises.is_none(), &batch.network)?;
            let mut sums: HashMap<&Unit, Bytes> = HashMap::new();
            for moved in &batch.moved {
                // Another program may have recorded a part of it.
                let most = rises.as_ref().and_then(|rises| rises.get(moved.cgroup.as_str()));
                let sum = sums.entry(&moved.unit).or_default();
                *sum = sum.plus(most.map_or(moved.bytes, |most| moved.bytes.at_most(*most)));
            }
            for (unit, bytes) in sums {
                add(&change, &Sum { unit, origin, start: batch.start, end: batch.end, bytes })?;
            }
            let away = batch.end - batch.start > LONGEST_STEP_SECS;
            match &batch.counters {
                Some(counters) => take_in(&change, batch, counters)?,
                None => add_since(&change, batch)?,
            }
            see(&change, batch.looked.min(batch.start), batch.end, away)?;
            for (id, name) in &batch.names {
                let insert = "INSERT INTO app VALUES (?1, ?2) ON CONFLICT DO UPDATE SET name = excluded.name";
                change.prepare_cached(insert)?.execute(params![id, name])?;
            }
            change.commit()
        };
        record(&mut self.db).map_err(failed)
    }

    /// Packs the oldest of the hours that are over at `now`. Whether there was one.
    pub fn pack_hours(&mut self, now: i64, zone: &TimeZone) -> Result<bool, Error> {
        let failed = self.failed("compact");
        let change = self.db.transaction().map_err(&failed)?;
        let oldest = change.query_row("SELECT min(start) FROM step", [], |row| row.get::<_, Option<i64>>(0));
        let oldest = oldest.map_err(&failed)?;
        let waiting: i64 = change.query_row("SELECT count(*) FROM step", [], |row| row.get(0)).map_err(&failed)?;
        let is_ripe = |start: &i64| *start < now - RIPE_SECS || waiting > MOST_STEPS;
        let Some(oldest) = oldest.filter(is_ripe) else { return Ok(false) };
        let hour = hour_of(oldest, zone);
        for ((series, origin), steps) in steps(&change, hour).map_err(&failed)? {
            pack_hour(&change, (series, hour, origin), &steps).map_err(|error| error.with(&self.path))?;
        }
        change.commit().map_err(&failed)?;
        Ok(true)
    }
}

/// Why an hour was not changed.
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Packed(postcard::Error),
}

impl Failure {
    pub fn with(self, path: &std::path::Path) -> Error {
        match self {
            Self::Sqlite(source) => Error::Sqlite { doing: "delete records from", path: path.to_owned(), source },
            Self::Packed(source) => damaged(path, source),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<postcard::Error> for Failure {
    fn from(error: postcard::Error) -> Self {
        Self::Packed(error)
    }
}

fn damaged(path: &std::path::Path, source: postcard::Error) -> Error {
    Error::Packed { path: path.to_owned(), source }
}

/// What a unit has moved in a time.
pub(super) struct Sum<'a> {
    pub unit: &'a Unit,
    pub origin: i64,
    pub start: i64,
    pub end: i64,
    pub bytes: Bytes,
}

/// Adds a step, or a sum over a longer time.
pub(super) fn add(db: &Transaction<'_>, sum: &Sum<'_>) -> rusqlite::Result<()> {
    let Bytes { rx, tx, internal_rx, internal_tx } = sum.bytes.map(|bytes| bytes.min(i64::MAX.unsigned_abs()));
    if sum.bytes == Bytes::default() {
        return Ok(());
    }
    let (rx, tx, internal_rx, internal_tx) = (int(rx), int(tx), int(internal_rx), int(internal_tx));
    let series = series(db, sum.unit)?;
    if sum.end - sum.start > LONGEST_STEP_SECS {
        let insert = "INSERT INTO away (series, start, end, origin, rx, tx, internal_rx, internal_tx) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = params![series, sum.start, sum.end, sum.origin, rx, tx, internal_rx, internal_tx];
        db.prepare_cached(insert)?.execute(values)?;
    } else {
        let insert = "INSERT INTO step VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET \
                      rx = rx + excluded.rx, tx = tx + excluded.tx, \
                      internal_rx = internal_rx + excluded.internal_rx, internal_tx = internal_tx + excluded.internal_tx";
        let start = sum.start.div_euclid(STEP_SECS) * STEP_SECS;
        let values = params![start, series, sum.origin, rx, tx, internal_rx, internal_tx];
        db.prepare_cached(insert)?.execute(values)?;
    }
    Ok(())
}

fn series(db: &Transaction<'_>, unit: &Unit) -> rusqlite::Result<i64> {
    let Unit { app, unit, cgroup } = unit;
    let find = db
        .prepare_cached("SELECT id FROM series WHERE app = ?1 AND cgroup = ?2")?
        .query_row(params![app, cgroup], |row| row.get(0))
        .optional()?;
    if let Some(id) = find {
        return Ok(id);
    }
    let insert = "INSERT INTO series (app, unit, cgroup) VALUES (?1, ?2, ?3)";
    db.prepare_cached(insert)?.execute(params![app, unit, cgroup])?;
    Ok(db.last_insert_rowid())
}

pub(super) fn origin(db: &Transaction<'_>, estimate: bool, network: &Network) -> rusqlite::Result<i64> {
    let name = network.name.as_deref().unwrap_or_default();
    let metered = network.metered.map_or(2, i64::from);
    let find = "SELECT id FROM origin WHERE estimate = ?1 AND network = ?2 AND metered = ?3";
    let find = db.prepare_cached(find)?.query_row(params![estimate, name, metered], |row| row.get(0)).optional()?;
    if let Some(id) = find {
        return Ok(id);
    }
    let insert = "INSERT INTO origin (estimate, network, metered) VALUES (?1, ?2, ?3)";
    db.execute(insert, params![estimate, name, metered])?;
    Ok(db.last_insert_rowid())
}

/// It is known what was moved from the one time to the other.
pub(super) fn see(db: &Transaction<'_>, start: i64, end: i64, away: bool) -> rusqlite::Result<()> {
    if end < start {
        return Ok(()); // the clock was set back
    }
    let end = end.max(start + 1);
    let last = "SELECT id, start, end, away FROM seen ORDER BY id DESC LIMIT 1";
    let last = db.prepare_cached(last)?.query_row([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, bool>(3)?))
    });
    match last.optional()? {
        Some((id, first, last, kind)) if kind == away && start >= first && start - last <= JOINED_SECS => {
            db.prepare_cached("UPDATE seen SET end = max(end, ?2) WHERE id = ?1")?.execute([id, end])?;
        }
        _ => {
            let insert = "INSERT INTO seen (start, end, away) VALUES (?1, ?2, ?3)";
            db.execute(insert, params![start, end, away])?;
        }
    }
    Ok(())
}

/// The places of steps in their hour, and bytes.
type Steps = Vec<(u32, Bytes)>;

/// Takes the steps of an hour out, by series and origin.
fn steps(db: &Transaction<'_>, hour: i64) -> rusqlite::Result<BTreeMap<(i64, i64), Steps>> {
    let of_hour = [hour, hour + HOUR_SECS];
    let mut found: BTreeMap<(i64, i64), Steps> = BTreeMap::new();
    let select = "SELECT series, origin, start, rx, tx, internal_rx, internal_tx FROM step \
                  WHERE start >= ?1 AND start < ?2";
    let mut select = db.prepare_cached(select)?;
    let mut rows = select.query(of_hour)?;
    while let Some(row) = rows.next()? {
        let at = u32::try_from(row.get::<_, i64>(2)? - hour).unwrap_or_default();
        found.entry((row.get(0)?, row.get(1)?)).or_default().push((at, bytes(row, 3)?));
    }
    db.execute("DELETE FROM step WHERE start >= ?1 AND start < ?2", of_hour)?;
    Ok(found)
}

/// Packs steps of an hour, with what was packed of it before.
fn pack_hour(db: &Transaction<'_>, key: (i64, i64, i64), steps: &Steps) -> Result<(), Failure> {
    let before = packed(db, key)?;
    let fine = packed_steps(db, key)?;
    // Where the steps of what was packed are gone, those that have come late would hide its minutes.
    let is_fine = before.is_none() || fine.is_some();
    let (mut minutes, mut fine) = (before.unwrap_or_default(), fine.unwrap_or_default());
    let mut sum = Bytes::default();
    for (at, bytes) in steps {
        sum = sum.plus(*bytes);
        for (parts, at) in [(&mut fine, *at), (&mut minutes, at / MINUTE * MINUTE)] {
            let part = parts.entry(at).or_default();
            *part = part.plus(*bytes);
        }
    }
    put_packed(db, key, &minutes, is_fine.then_some(&fine))?;
    add_to_day(db, key, sum)
}

/// The minutes of an hour.
pub(super) fn packed(db: &Transaction<'_>, (series, hour, origin): (i64, i64, i64)) -> Result<Option<Parts>, Failure> {
    let select = "SELECT minutes FROM packed WHERE start = ?1 AND series = ?2 AND origin = ?3";
    let found = db.prepare_cached(select)?.query_row([hour, series, origin], |row| row.get::<_, Vec<u8>>(0));
    Ok(found.optional()?.map(|minutes| unpack(&minutes, MINUTE)).transpose()?)
}

/// The steps of an hour that is packed; `None`: they are not known any more.
pub(super) fn packed_steps(
    db: &Transaction<'_>,
    (series, hour, origin): (i64, i64, i64),
) -> Result<Option<Parts>, Failure> {
    let select = "SELECT steps FROM fine WHERE start = ?1 AND series = ?2 AND origin = ?3";
    let found = db.prepare_cached(select)?.query_row([hour, series, origin], |row| row.get::<_, Vec<u8>>(0));
    Ok(found.optional()?.map(|steps| unpack(&steps, STEP)).transpose()?)
}

/// Puts what an hour consists of in the place of what was packed of it.
pub(super) fn put_packed(
    db: &Transaction<'_>,
    (series, hour, origin): (i64, i64, i64),
    minutes: &Parts,
    steps: Option<&Parts>,
) -> Result<(), Failure> {
    let put = "INSERT OR REPLACE INTO packed VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(put)?.execute(params![hour, series, origin, pack(minutes, MINUTE)?])?;
    if let Some(steps) = steps {
        let put = "INSERT OR REPLACE INTO fine VALUES (?1, ?2, ?3, ?4)";
        db.prepare_cached(put)?.execute(params![hour, series, origin, pack(steps, STEP)?])?;
    }
    Ok(())
}

/// Adds to an hour's sum.
pub(super) fn add_to_day(
    db: &Transaction<'_>,
    (series, hour, origin): (i64, i64, i64),
    sum: Bytes,
) -> Result<(), Failure> {
    change_day(db, series, hour.div_euclid(DAY_SECS) * DAY_SECS, origin, |day, hours| {
        let before = hours.entry(u32::try_from(hour - day).unwrap_or_default()).or_default();
        *before = before.plus(sum);
    })
}

/// Changes the hours of a day, given their places since the day began.
pub(super) fn change_day(
    db: &Transaction<'_>,
    series: i64,
    start: i64,
    origin: i64,
    change: impl FnOnce(i64, &mut Parts),
) -> Result<(), Failure> {
    let select = "SELECT hours FROM day WHERE series = ?1 AND start = ?2 AND origin = ?3";
    let day = db.prepare_cached(select)?.query_row([series, start, origin], |row| row.get::<_, Vec<u8>>(0));
    let mut hours = day.optional()?.map(|hours| unpack(&hours, MINUTE)).transpose()?.unwrap_or_default();
    change(start, &mut hours);
    hours.retain(|_, bytes| *bytes != Bytes::default());
    if hours.is_empty() {
        let delete = "DELETE FROM day WHERE series = ?1 AND start = ?2 AND origin = ?3";
        db.prepare_cached(delete)?.execute([series, start, origin])?;
    } else {
        let put = "INSERT OR REPLACE INTO day VALUES (?1, ?2, ?3, ?4)";
        db.prepare_cached(put)?.execute(params![series, start, origin, pack(&hours, MINUTE)?])?;
    }
    Ok(())
}
