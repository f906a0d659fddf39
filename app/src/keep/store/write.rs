//! What is put into the history, packed, and taken out of it again.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use jiff::{Timestamp, tz::TimeZone};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Batch, Counters, DAY_SECS, Error, HOUR_SECS, LONGEST_STEP_SECS, Last, MINUTE, MINUTES_KEPT_SECS, Moved, STEP,
    STEP_SECS, STEPS_KEPT_SECS, Store, bytes, int,
    pack::{Parts, pack, unpack},
    share, taken,
};
use crate::{
    keep::usage::Network,
    look::{rate::Bytes, target::Unit},
};

/// Cgroups whose counters are remembered while the helper is away.
const MOST_COUNTERS: i64 = 20_000;
/// A time that follows another one within so many seconds goes on with it.
const JOINED_SECS: i64 = 2;
/// The wall clock's seconds of an hour that has begun aren't packed, nor those of a clock that was set back a little.
const RIPE_SECS: i64 = HOUR_SECS + 120;

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
            let origin = origin(&change, batch.estimate, &batch.network)?;
            let mut sums: HashMap<&Unit, Bytes> = HashMap::new();
            for moved in &batch.moved {
                let sum = sums.entry(&moved.unit).or_default();
                *sum = sum.plus(moved.bytes);
            }
            for (unit, bytes) in sums {
                add(&change, &Sum { unit, origin, start: batch.start, end: batch.end, bytes })?;
            }
            let away = batch.end - batch.start > LONGEST_STEP_SECS;
            match &batch.counters {
                Some(counters) => take_in(&change, batch, counters)?,
                None => add_since(&change, &batch.moved)?,
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

    /// Records what was moved in an earlier boot after the counters had last been taken in.
    pub fn record_last(&mut self, last: &Last) -> Result<(), Error> {
        let failed = self.failed("write");
        let record = |db: &mut Connection| {
            let change = db.transaction()?;
            let Some(before) = taken(&change)? else { return Ok(()) };
            let same = before.boot_id == last.boot_id;
            let passed_ns = if same { last.boottime_ns.saturating_sub(before.boottime_ns) } else { last.boottime_ns };
            let end = before.time + i64::try_from(passed_ns / 1_000_000_000).unwrap_or_default();
            let origin = origin(&change, false, &Network::default())?;
            for row in &last.rows {
                let (base, since) = if same { baseline(&change, &row.cgroup)? } else { Default::default() };
                let bytes = grown(base, row.bytes).since(since);
                add(
                    &change,
                    &Sum { unit: &row.unit, origin, start: before.time, end: end.max(before.time + 1), bytes },
                )?;
            }
            // They are taken in: what comes now begins anew, from this boot's first byte.
            change.execute("DELETE FROM counter", [])?;
            let stamp = params![last.boot_id, int(last.boottime_ns), end];
            change.execute("UPDATE taken SET boot_id = ?1, epoch = '0', boottime_ns = ?2, time = ?3", stamp)?;
            change.commit()
        };
        record(&mut self.db).map_err(failed)
    }

    /// When the helper's counters were last taken in.
    pub fn taken(&self) -> Result<Option<super::Taken>, Error> {
        taken(&self.db).map_err(self.failed("read"))
    }

    /// Forgets where the counters stood: what they count from now on is not made up.
    pub fn let_go(&mut self) -> Result<(), Error> {
        self.db.execute_batch("DELETE FROM counter; DELETE FROM taken").map_err(self.failed("write"))
    }

    /// Packs the oldest of the hours that are over at `now`. Whether there was one.
    pub fn pack_hours(&mut self, now: i64, zone: &TimeZone) -> Result<bool, Error> {
        let failed = self.failed("pack");
        let change = self.db.transaction().map_err(&failed)?;
        let oldest = change.query_row("SELECT min(start) FROM step", [], |row| row.get::<_, Option<i64>>(0));
        let oldest = oldest.map_err(&failed)?;
        let Some(oldest) = oldest.filter(|start| *start < now - RIPE_SECS) else { return Ok(false) };
        let hour = hour_of(oldest, zone);
        for ((series, origin), steps) in steps(&change, hour).map_err(&failed)? {
            pack_hour(&change, (series, hour, origin), &steps).map_err(|error| error.with(&self.path))?;
        }
        change.commit().map_err(&failed)?;
        Ok(true)
    }

    /// Drops steps and minutes that are too old at `now`, and what is oldest beyond so many bytes. Whether the limit took anything.
    pub fn drop_old(&mut self, now: i64, most_bytes: u64) -> Result<bool, Error> {
        let failed = self.failed("shorten");
        let mut cut = false;
        let db = &mut self.db;
        let mut drop_old = || {
            db.execute("DELETE FROM fine WHERE start < ?1", [now - STEPS_KEPT_SECS])?;
            db.execute("DELETE FROM packed WHERE start < ?1", [now - MINUTES_KEPT_SECS])?;
            while used_bytes(db)? > most_bytes {
                cut = true;
                if !drop_oldest(db)? {
                    break;
                }
            }
            give_back(db)
        };
        drop_old().map_err(failed)?;
        Ok(cut)
    }

    /// Forgets all of an app.
    pub fn forget_app(&mut self, id: &str) -> Result<(), Error> {
        let forget = |db: &mut Connection| {
            let change = db.transaction()?;
            for table in ["step", "day", "packed", "fine", "away"] {
                let delete = format!("DELETE FROM {table} WHERE series IN (SELECT id FROM series WHERE app = ?1)");
                change.execute(&delete, [id])?;
            }
            change.execute("DELETE FROM series WHERE app = ?1", [id])?;
            change.execute("DELETE FROM app WHERE id = ?1", [id])?;
            change.commit()?;
            shred(db)
        };
        forget(&mut self.db).map_err(self.failed("shorten"))
    }

    /// Forgets what was moved in a time, of all apps.
    pub fn forget_time(&mut self, time: Range<i64>) -> Result<(), Error> {
        let failed = self.failed("shorten");
        let Range { start, end } = time;
        let change = self.db.transaction().map_err(&failed)?;
        change.execute("DELETE FROM step WHERE start >= ?1 AND start < ?2", [start, end]).map_err(&failed)?;
        forget_hours(&change, start, end).map_err(|error| error.with(&self.path))?;
        forget_sums(&change, start, end).map_err(&failed)?;
        change.commit().map_err(&failed)?;
        shred(&self.db).map_err(&failed)
    }

    /// Forgets everything but where the counters stand, or it would all be taken in once more.
    pub fn forget_everything(&mut self) -> Result<(), Error> {
        let forget = |db: &mut Connection| {
            let change = db.transaction()?;
            for table in ["step", "day", "packed", "fine", "away", "seen", "series", "app", "origin"] {
                change.execute(&format!("DELETE FROM {table}"), [])?;
            }
            change.commit()?;
            shred(db)
        };
        forget(&mut self.db).map_err(self.failed("shorten"))
    }
}

/// Why an hour was not changed.
enum Failure {
    Sqlite(rusqlite::Error),
    Packed(postcard::Error),
}

impl Failure {
    fn with(self, path: &std::path::Path) -> Error {
        match self {
            Self::Sqlite(source) => Error::Sqlite { doing: "shorten", path: path.to_owned(), source },
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
struct Sum<'a> {
    unit: &'a Unit,
    origin: i64,
    start: i64,
    end: i64,
    bytes: Bytes,
}

/// Adds a step, or a sum over a longer time.
fn add(db: &Transaction<'_>, sum: &Sum<'_>) -> rusqlite::Result<()> {
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

fn origin(db: &Transaction<'_>, estimate: bool, network: &Network) -> rusqlite::Result<i64> {
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
fn see(db: &Transaction<'_>, start: i64, end: i64, away: bool) -> rusqlite::Result<()> {
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

/// Where a cgroup's counters stood when they were last taken in, and what was recorded since then without them.
fn baseline(db: &Transaction<'_>, cgroup: &str) -> rusqlite::Result<(Bytes, Bytes)> {
    let select = "SELECT rx, tx, internal_rx, internal_tx, since_rx, since_tx, since_internal_rx, since_internal_tx \
                  FROM counter WHERE cgroup = ?1";
    let found = db.prepare_cached(select)?.query_row([cgroup], |row| Ok((bytes(row, 0)?, bytes(row, 4)?)));
    Ok(found.optional()?.unwrap_or_default())
}

/// By how much a counter has grown. One that is smaller than before has begun anew.
fn grown(before: Bytes, now: Bytes) -> Bytes {
    if now.at_least(before) == now { now.since(before) } else { now }
}

/// Takes in the helper's counters: what they say beyond the batch was moved while nobody recorded.
fn take_in(db: &Transaction<'_>, batch: &Batch, counters: &Counters) -> rusqlite::Result<()> {
    let origin = origin(db, false, &batch.network)?;
    // Another computer's counters say nothing of this one's.
    let before = taken(db)?.filter(|before| before.machine == counters.machine);
    let goes_on = before.as_ref().is_some_and(|b| b.boot_id == counters.boot_id && b.epoch == counters.epoch);
    let looked = batch.looked.min(batch.start);
    let since = before.as_ref().map(|before| before.time).filter(|time| *time < looked);
    let (start, end) = since.map_or((batch.start, batch.end), |time| (time, looked));
    let mut known: HashMap<&str, Bytes> = HashMap::new();
    for moved in &batch.moved {
        let sum = known.entry(&moved.cgroup).or_default();
        *sum = sum.plus(moved.bytes);
    }
    for row in &counters.rows {
        let recorded = known.get(row.cgroup.as_str()).copied().unwrap_or_default();
        let (base, since) = baseline(db, &row.cgroup)?;
        let base = if goes_on { base } else { Bytes::default() };
        let missing = grown(base, row.bytes).since(since).since(recorded);
        // Where nothing was ever taken in, what had been counted before is nobody's business.
        if before.is_some() {
            add(db, &Sum { unit: &row.unit, origin, start, end: end.max(start + 1), bytes: missing })?;
        }
    }
    if since.is_some() && end - start > LONGEST_STEP_SECS {
        see(db, start, end, true)?;
    }
    if counters.all || !goes_on {
        db.execute("DELETE FROM counter", [])?;
    }
    for row in &counters.rows {
        let Bytes { rx, tx, internal_rx, internal_tx } = row.bytes;
        let put = "INSERT OR REPLACE INTO counter VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0)";
        let values = params![row.cgroup, int(rx), int(tx), int(internal_rx), int(internal_tx)];
        db.prepare_cached(put)?.execute(values)?;
    }
    let put = "INSERT OR REPLACE INTO taken VALUES (1, ?1, ?2, ?3, ?4, ?5)";
    let stamp =
        params![counters.machine, counters.boot_id, counters.epoch.to_string(), int(counters.boottime_ns), batch.end];
    db.prepare_cached(put)?.execute(stamp).map(drop)
}

/// Remembers what was recorded without the helper's counters, which may have counted it as well.
fn add_since(db: &Transaction<'_>, moved: &[Moved]) -> rusqlite::Result<()> {
    if taken(db)?.is_none() {
        return Ok(());
    }
    let known: i64 = db.query_row("SELECT count(*) FROM counter", [], |row| row.get(0))?;
    if known > MOST_COUNTERS {
        // The helper has been away for very long: where its counters stood is of no use any more.
        return db.execute_batch("DELETE FROM counter; DELETE FROM taken");
    }
    for Moved { cgroup, bytes: Bytes { rx, tx, internal_rx, internal_tx }, .. } in moved {
        let put = "INSERT INTO counter VALUES (?1, 0, 0, 0, 0, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET \
                   since_rx = since_rx + excluded.since_rx, since_tx = since_tx + excluded.since_tx, \
                   since_internal_rx = since_internal_rx + excluded.since_internal_rx, \
                   since_internal_tx = since_internal_tx + excluded.since_internal_tx";
        let values = params![cgroup, int(*rx), int(*tx), int(*internal_rx), int(*internal_tx)];
        db.prepare_cached(put)?.execute(values)?;
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
    let mut minutes = packed(db, key)?.unwrap_or_default();
    let mut fine = packed_steps(db, key)?.unwrap_or_default();
    for (at, bytes) in steps {
        for (parts, at) in [(&mut fine, *at), (&mut minutes, at / MINUTE * MINUTE)] {
            let part = parts.entry(at).or_default();
            *part = part.plus(*bytes);
        }
    }
    put_packed(db, key, &minutes, Some(&fine))
}

/// The minutes of an hour.
fn packed(db: &Transaction<'_>, (series, hour, origin): (i64, i64, i64)) -> Result<Option<Parts>, Failure> {
    let select = "SELECT minutes FROM packed WHERE start = ?1 AND series = ?2 AND origin = ?3";
    let found = db.prepare_cached(select)?.query_row([hour, series, origin], |row| row.get::<_, Vec<u8>>(0));
    Ok(found.optional()?.map(|minutes| unpack(&minutes, MINUTE)).transpose()?)
}

/// The steps of an hour that is packed; `None`: they are not known any more.
fn packed_steps(db: &Transaction<'_>, (series, hour, origin): (i64, i64, i64)) -> Result<Option<Parts>, Failure> {
    let select = "SELECT steps FROM fine WHERE start = ?1 AND series = ?2 AND origin = ?3";
    let found = db.prepare_cached(select)?.query_row([hour, series, origin], |row| row.get::<_, Vec<u8>>(0));
    Ok(found.optional()?.map(|steps| unpack(&steps, STEP)).transpose()?)
}

/// Puts an hour in the place of what was packed of it.
fn put_packed(
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
    let sum = minutes.values().fold(Bytes::default(), |sum, bytes| sum.plus(*bytes));
    change_day(db, series, hour.div_euclid(DAY_SECS) * DAY_SECS, origin, |at, hours| {
        hours.insert(u32::try_from(hour - at).unwrap_or_default(), sum);
    })
}

/// Changes the hours of a day, given their places since the day began.
fn change_day(
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

/// Bytes of the file that anything is in.
fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).unsigned_abs())
}

/// Drops the finest and oldest there is: all packed steps, then a tenth of the packed hours, then a tenth of the days. Whether
/// there was anything.
fn drop_oldest(db: &Connection) -> rusqlite::Result<bool> {
    if db.execute("DELETE FROM fine", [])? > 0 {
        return Ok(true);
    }
    let edge = |table: &str| {
        let span = format!("SELECT min(start), max(start) FROM {table}");
        let (first, last): (Option<i64>, Option<i64>) =
            db.query_row(&span, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok::<_, rusqlite::Error>(first.zip(last).map(|(first, last)| first + (last - first) / 10 + HOUR_SECS))
    };
    if let Some(edge) = edge("packed")? {
        db.execute("DELETE FROM packed WHERE start < ?1", [edge])?;
        return Ok(true);
    }
    let Some(edge) = edge("day")? else { return Ok(false) };
    db.execute("DELETE FROM day WHERE start < ?1", [edge])?;
    db.execute("DELETE FROM away WHERE end < ?1", [edge])?;
    db.execute("DELETE FROM seen WHERE end < ?1", [edge])?;
    Ok(true)
}

/// Gives the file's empty pages back to the file system: a step for each.
fn give_back(db: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = db.prepare("PRAGMA incremental_vacuum")?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}

/// Leaves nothing of what was deleted in the file and beside it.
fn shred(db: &Connection) -> rusqlite::Result<()> {
    give_back(db)?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Forgets hours, and the minutes in a time of those that are only partly in it. Where an hour's minutes are not known any more,
/// all of it goes.
fn forget_hours(db: &Transaction<'_>, start: i64, end: i64) -> Result<(), Failure> {
    let keys = |select: &str| {
        let mut select = db.prepare(select)?;
        let rows = select.query_map([start, end], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<(i64, i64, i64)>>>()
    };
    for (series, day, origin) in keys("SELECT series, start, origin FROM day WHERE start > ?1 - 86400 AND start < ?2")?
    {
        change_day(db, series, day, origin, |_, hours| {
            hours.retain(|at, _| {
                let hour = day + i64::from(*at);
                hour + HOUR_SECS <= start || hour >= end
            });
        })?;
    }
    for (series, hour, origin) in
        keys("SELECT series, start, origin FROM packed WHERE start > ?1 - 3600 AND start < ?2")?
    {
        let key = (series, hour, origin);
        let Some(mut minutes) = packed(db, key)? else { continue };
        let stays = |at: &u32| !(start..end).contains(&(hour + i64::from(*at)));
        minutes.retain(|at, _| stays(at));
        if minutes.is_empty() {
            for table in ["packed", "fine"] {
                let delete = format!("DELETE FROM {table} WHERE start = ?1 AND series = ?2 AND origin = ?3");
                db.prepare_cached(&delete)?.execute([hour, series, origin])?;
            }
        } else {
            let mut steps = packed_steps(db, key)?;
            if let Some(steps) = &mut steps {
                steps.retain(|at, _| stays(at));
            }
            put_packed(db, key, &minutes, steps.as_ref())?;
        }
    }
    Ok(())
}

/// Forgets the part of the sums that lies in a time.
fn forget_sums(db: &Transaction<'_>, start: i64, end: i64) -> rusqlite::Result<()> {
    let sums: Vec<(i64, i64, i64, i64, i64, Bytes)> = {
        let mut select = db.prepare(
            "SELECT id, series, origin, start, end, rx, tx, internal_rx, internal_tx FROM away WHERE end > ?1 AND start < ?2",
        )?;
        let rows = select.query_map([start, end], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, bytes(row, 5)?))
        })?;
        rows.collect::<Result<_, _>>()?
    };
    for (id, series, origin, first, last, sum) in sums {
        db.execute("DELETE FROM away WHERE id = ?1", [id])?;
        for (from, to) in [(first, start), (end, last)] {
            if from < to {
                let Bytes { rx, tx, internal_rx, internal_tx } = share(sum, (first, last), from, to);
                let insert = "INSERT INTO away (series, start, end, origin, rx, tx, internal_rx, internal_tx) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
                let values = params![series, from, to, origin, int(rx), int(tx), int(internal_rx), int(internal_tx)];
                db.execute(insert, values)?;
            }
        }
    }
    // It isn't known any more what was moved then.
    let rest = "INSERT INTO seen (start, end, away) SELECT ?2, end, away FROM seen WHERE start < ?1 AND end > ?2";
    db.execute(rest, [start, end])?;
    db.execute("UPDATE seen SET end = ?1 WHERE start < ?1 AND end > ?1", [start])?;
    db.execute("UPDATE seen SET start = ?2 WHERE start >= ?1 AND start < ?2 AND end > ?2", [start, end])?;
    db.execute("DELETE FROM seen WHERE start >= ?1 AND end <= ?2", [start, end]).map(drop)
}
