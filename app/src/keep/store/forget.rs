//! What is taken out of the history: what is too old, too much, or to be forgotten.

use std::ops::Range;

use rusqlite::{Connection, Transaction, params};

use super::{
    Error, HOUR_SECS, MINUTES_KEPT_SECS, STEPS_KEPT_SECS, Store, bytes, int, share,
    write::{Failure, add_to_day, change_day, packed, packed_steps, put_packed},
};
use crate::{keep::usage::Which, look::rate::Bytes};

/// Hours are dropped for the limit's sake only while they take more than this part of it: what else is in the file may be at fault.
const HOURS_SHARE: u64 = 2;

impl Store {
    /// Drops steps and minutes that are too old at `now`, and what is oldest beyond so many bytes. Whether the limit took anything.
    pub fn drop_old(&mut self, now: i64, most_bytes: u64) -> Result<bool, Error> {
        let failed = self.failed("delete records from");
        let mut cut = false;
        let db = &mut self.db;
        let mut drop_old = || {
            db.execute("DELETE FROM fine WHERE start < ?1", [now - STEPS_KEPT_SECS])?;
            db.execute("DELETE FROM packed WHERE start < ?1", [now - MINUTES_KEPT_SECS])?;
            while used_bytes(db)? > most_bytes {
                cut = true;
                if !drop_oldest(db, most_bytes)? {
                    break;
                }
            }
            drop_unused(db)?;
            give_back(db)
        };
        drop_old().map_err(failed)?;
        Ok(cut)
    }

    /// Forgets all of an app.
    pub fn forget_app(&mut self, id: &str) -> Result<(), Error> {
        let failed = self.failed("delete records from");
        let which = Which { apps: vec![id.to_owned()], ..Which::default() };
        let its: Vec<_> = self.series(&which).map_err(&failed)?.into_iter().map(|series| series.id).collect();
        let forget = |db: &mut Connection| {
            let change = db.transaction()?;
            for series in its {
                for table in ["step", "day", "packed", "fine", "away"] {
                    change.execute(&format!("DELETE FROM {table} WHERE series = ?1"), [series])?;
                }
                change.execute("DELETE FROM series WHERE id = ?1", [series])?;
            }
            change.execute("DELETE FROM app WHERE id NOT IN (SELECT app FROM series)", [])?;
            change.commit()?;
            shred(db)
        };
        forget(&mut self.db).map_err(failed)
    }

    /// Forgets what was moved in a time, of all apps.
    pub fn forget_time(&mut self, time: Range<i64>) -> Result<(), Error> {
        let failed = self.failed("delete records from");
        let Range { start, end } = time;
        let change = self.db.transaction().map_err(&failed)?;
        change.execute("DELETE FROM step WHERE start >= ?1 AND start < ?2", [start, end]).map_err(&failed)?;
        forget_hours(&change, start, end).map_err(|error| error.with(&self.path))?;
        forget_sums(&change, start, end).map_err(&failed)?;
        drop_unused(&change).map_err(&failed)?;
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
        forget(&mut self.db).map_err(self.failed("delete records from"))
    }
}

/// Bytes of the file that anything is in.
fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).unsigned_abs())
}

/// Drops the finest and oldest there is: all packed steps, then a tenth of the packed hours, then a tenth of the days. Whether
/// there was anything.
fn drop_oldest(db: &Connection, most_bytes: u64) -> rusqlite::Result<bool> {
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
    let hours_bytes = "SELECT coalesce(sum(length(hours) + 20), 0) FROM day";
    let hours_bytes: i64 = db.query_row(hours_bytes, [], |row| row.get(0))?;
    let Some(edge) = edge("day")?.filter(|_| hours_bytes.unsigned_abs() > most_bytes / HOURS_SHARE) else {
        return Ok(false);
    };
    db.execute("DELETE FROM day WHERE start < ?1", [edge])?;
    db.execute("DELETE FROM away WHERE end < ?1", [edge])?;
    db.execute("DELETE FROM seen WHERE end < ?1", [edge])?;
    Ok(true)
}

/// Drops the names of apps, units and networks of which nothing is known any more.
fn drop_unused(db: &Connection) -> rusqlite::Result<()> {
    let used = |column: &str| {
        let of = |table| format!("SELECT {column} FROM {table}");
        ["step", "packed", "day", "away"].map(of).join(" UNION ")
    };
    db.execute(&format!("DELETE FROM series WHERE id NOT IN ({})", used("series")), [])?;
    db.execute(&format!("DELETE FROM origin WHERE id NOT IN ({})", used("origin")), [])?;
    db.execute("DELETE FROM app WHERE id NOT IN (SELECT app FROM series)", []).map(drop)
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
            add_to_day(db, key, minutes.values().fold(Bytes::default(), |sum, bytes| sum.plus(*bytes)))?;
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
