//! What the helper has counted while nobody recorded: its counters, compared with where they stood when they were last taken in.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Batch, Counters, Error, LONGEST_STEP_SECS, Last, Moved, Place, Store, Taken, bytes, int,
    write::{Sum, add, origin, see},
};
use crate::{
    keep::usage::Network,
    look::{forwarded, rate::Bytes},
};

/// Cgroups of which it is remembered what was recorded while the helper is away.
const MOST_SINCE: i64 = 20_000;
/// Earlier boots that are remembered.
const MOST_BOOTS: i64 = 100;

impl Store {
    /// Records what was moved in an earlier boot after the counters had last been taken in. Once: a boot after which another one was
    /// taken in is left alone.
    pub fn record_last(&mut self, last: &Last) -> Result<(), Error> {
        let failed = self.failed("write");
        let record = |db: &mut Connection| {
            let change = db.transaction()?;
            let before = taken(&change)?.filter(|before| before.place.machine == last.place.machine);
            let known = "SELECT count(*) FROM boot WHERE boot_id = ?1";
            let known: i64 = change.query_row(known, [&last.place.boot_id], |row| row.get(0))?;
            if known > 0 {
                return Ok(());
            }
            match before {
                Some(before) => take_in_last(&change, &before, last)?,
                // Nothing was recorded before, and later this isn't new any more.
                None => pass(&change, &last.place)?,
            }
            change.commit()
        };
        record(&mut self.db).map_err(failed)
    }

    /// When the helper's counters were last taken in.
    pub fn taken(&self) -> Result<Option<Taken>, Error> {
        taken(&self.db).map_err(self.failed("read"))
    }

    /// Forgets where the counters stood: what they count from now on is not made up.
    pub fn let_go(&mut self) -> Result<(), Error> {
        let failed = self.failed("write");
        let let_go = |db: &mut Connection| {
            let change = db.transaction()?;
            drop_stand(&change)?;
            change.commit()
        };
        let_go(&mut self.db).map_err(failed)
    }
}

fn taken(db: &Connection) -> rusqlite::Result<Option<Taken>> {
    let taken = |row: &rusqlite::Row<'_>| {
        let epoch: String = row.get(2)?;
        Ok(Taken {
            place: Place { machine: row.get(0)?, boot_id: row.get(1)? },
            epoch: epoch.parse().unwrap_or_default(),
            boottime_ns: u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
            time: row.get(4)?,
        })
    };
    db.query_row("SELECT machine, boot_id, epoch, boottime_ns, time FROM taken", [], taken).optional()
}

fn put_taken(db: &Transaction<'_>, Taken { place, epoch, boottime_ns, time }: &Taken) -> rusqlite::Result<()> {
    let put = "INSERT OR REPLACE INTO taken VALUES (1, ?1, ?2, ?3, ?4, ?5)";
    let stamp = params![place.machine, place.boot_id, epoch.to_string(), int(*boottime_ns), time];
    db.prepare_cached(put)?.execute(stamp).map(drop)
}

fn drop_stand(db: &Transaction<'_>) -> rusqlite::Result<()> {
    db.execute_batch("DELETE FROM counter; DELETE FROM since; DELETE FROM taken")
}

/// A boot's last totals are of no use from now on.
fn pass(db: &Transaction<'_>, place: &Place) -> rusqlite::Result<()> {
    db.execute("INSERT OR IGNORE INTO boot (boot_id) VALUES (?1)", [&place.boot_id])?;
    let old = "DELETE FROM boot WHERE number <= (SELECT max(number) FROM boot) - ?1";
    db.execute(old, [MOST_BOOTS]).map(drop)
}

/// Where a cgroup's counters stood when they were last taken in.
fn counter(db: &Transaction<'_>, cgroup: &str) -> rusqlite::Result<Bytes> {
    let select = "SELECT rx, tx, internal_rx, internal_tx FROM counter WHERE cgroup = ?1";
    let found = db.prepare_cached(select)?.query_row([cgroup], |row| bytes(row, 0));
    Ok(found.optional()?.unwrap_or_default())
}

fn put_counters(db: &Transaction<'_>, rows: &[Moved]) -> rusqlite::Result<()> {
    for Moved { cgroup, bytes: Bytes { rx, tx, internal_rx, internal_tx }, .. } in rows {
        let put = "INSERT OR REPLACE INTO counter VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![cgroup, int(*rx), int(*tx), int(*internal_rx), int(*internal_tx)];
        db.prepare_cached(put)?.execute(values)?;
    }
    Ok(())
}

/// What was recorded of a cgroup in a boot without the counters.
fn since(db: &Transaction<'_>, cgroup: &str, place: &Place) -> rusqlite::Result<Bytes> {
    let select = "SELECT rx, tx, internal_rx, internal_tx FROM since \
                  WHERE cgroup = ?1 AND machine = ?2 AND boot_id = ?3";
    let found = db.prepare_cached(select)?.query_row([cgroup, &place.machine, &place.boot_id], |row| bytes(row, 0));
    Ok(found.optional()?.unwrap_or_default())
}

/// Whether the counters of containers and virtual machines were taken in before. If not, what they say is nobody's business yet.
fn knows_forwarded(db: &Transaction<'_>) -> rusqlite::Result<bool> {
    let select = "SELECT count(*) FROM counter WHERE cgroup = ?1";
    db.prepare_cached(select)?.query_row([forwarded::TOP], |row| Ok(row.get::<_, i64>(0)? > 0))
}

/// By how much a counter has grown. One that is smaller than before has begun anew.
fn grown(before: Bytes, now: Bytes) -> Bytes {
    if now.at_least(before) == now { now.since(before) } else { now }
}

/// By how much each counter in a batch has risen since they were last taken in, less what was recorded without them: so much there is
/// to record, whatever is estimated. `None`: the counters have begun anew since, or there are none.
pub(super) fn rises<'a>(db: &Transaction<'_>, batch: &'a Batch) -> rusqlite::Result<Option<HashMap<&'a str, Bytes>>> {
    let (Some(counters), Some(before)) = (&batch.counters, taken(db)?) else { return Ok(None) };
    if before.place != batch.place || before.epoch != counters.epoch {
        return Ok(None);
    }
    let is_known = knows_forwarded(db)?;
    let rows = counters.rows.iter().filter(|row| is_known || !forwarded::is_in(&row.cgroup));
    let rise = |row: &'a Moved| {
        let rise = grown(counter(db, &row.cgroup)?, row.bytes).since(since(db, &row.cgroup, &batch.place)?);
        Ok((row.cgroup.as_str(), rise))
    };
    rows.map(rise).collect::<Result<_, _>>().map(Some)
}

/// Takes in the helper's counters: what they say beyond the batch was moved while nobody recorded.
pub(super) fn take_in(db: &Transaction<'_>, batch: &Batch, counters: &Counters) -> rusqlite::Result<()> {
    // Another computer's counters say nothing of this one's.
    let before = taken(db)?.filter(|before| before.place.machine == batch.place.machine);
    let goes_on = before.as_ref().is_some_and(|b| b.place == batch.place && b.epoch == counters.epoch);
    let looked = batch.looked.min(batch.start);
    // Before this program began to look, or while another one recorded.
    let away = before.as_ref().map(|before| before.time).filter(|time| counters.all && *time < looked);
    let (start, end) = away.map_or((batch.start, batch.end), |time| (time, looked));
    // Nobody knows which network it was then.
    let network = if away.is_some() { Network::default() } else { batch.network.clone() };
    let origin = origin(db, false, &network)?;
    let mut known: HashMap<&str, Bytes> = HashMap::new();
    for moved in batch.moved.iter().filter(|_| !counters.begun) {
        let sum = known.entry(&moved.cgroup).or_default();
        *sum = sum.plus(moved.bytes);
    }
    // Where nothing was ever taken in, what had been counted before is nobody's business.
    let is_known = knows_forwarded(db)?;
    let is_ours = |row: &&Moved| before.is_some() && (is_known || !forwarded::is_in(&row.cgroup));
    for row in counters.rows.iter().filter(is_ours) {
        let recorded = known.get(row.cgroup.as_str()).copied().unwrap_or_default();
        let base = if goes_on { counter(db, &row.cgroup)? } else { Bytes::default() };
        let since = since(db, &row.cgroup, &batch.place)?;
        let missing = grown(base, row.bytes).since(since).since(recorded);
        add(db, &Sum { unit: &row.unit, origin, start, end: end.max(start + 1), bytes: missing })?;
    }
    if away.is_some() && end - start > LONGEST_STEP_SECS {
        see(db, start, end, true)?;
    }
    if let Some(before) = before.filter(|before| before.place.boot_id != batch.place.boot_id) {
        pass(db, &before.place)?;
    }
    if counters.all || !goes_on {
        db.execute("DELETE FROM since", [])?;
        // Where containers can't be looked at for a while, their counters stay where they stood.
        let are_away = goes_on && !counters.rows.iter().any(|row| row.cgroup == forwarded::TOP);
        let delete = "DELETE FROM counter WHERE NOT (?1 AND (cgroup = ?2 OR cgroup LIKE ?2 || '/%'))";
        db.execute(delete, params![are_away, forwarded::TOP])?;
    }
    put_counters(db, &counters.rows)?;
    let Counters { epoch, boottime_ns, .. } = *counters;
    put_taken(db, &Taken { place: batch.place.clone(), epoch, boottime_ns, time: batch.end })
}

fn take_in_last(db: &Transaction<'_>, before: &Taken, last: &Last) -> rusqlite::Result<()> {
    let same = before.place == last.place;
    let passed_ns = if same { last.boottime_ns.saturating_sub(before.boottime_ns) } else { last.boottime_ns };
    let start = before.time;
    let end = start + i64::try_from(passed_ns / 1_000_000_000).unwrap_or_default();
    let origin = origin(db, false, &Network::default())?;
    for row in &last.rows {
        let base = if same { counter(db, &row.cgroup)? } else { Bytes::default() };
        let bytes = grown(base, row.bytes).since(since(db, &row.cgroup, &last.place)?);
        add(db, &Sum { unit: &row.unit, origin, start, end: end.max(start + 1), bytes })?;
    }
    if !same {
        pass(db, &before.place)?;
    }
    // Taken in once more, they would have nothing new.
    db.execute("DELETE FROM counter", [])?;
    put_counters(db, &last.rows)?;
    db.execute("DELETE FROM since WHERE boot_id = ?1", [&last.place.boot_id])?;
    put_taken(db, &Taken { place: last.place.clone(), epoch: 0, boottime_ns: last.boottime_ns, time: end })
}

/// Remembers what was recorded without the helper's counters, which may have counted it as well.
pub(super) fn add_since(db: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    if taken(db)?.is_none_or(|taken| taken.place.machine != batch.place.machine) {
        return Ok(());
    }
    let known: i64 = db.query_row("SELECT count(*) FROM since", [], |row| row.get(0))?;
    if known > MOST_SINCE {
        // The helper has been away for very long: where its counters stood is of no use any more.
        return drop_stand(db);
    }
    let Place { machine, boot_id } = &batch.place;
    for Moved { cgroup, bytes, .. } in &batch.moved {
        let sum = since(db, cgroup, &batch.place)?.plus(*bytes);
        let put = "INSERT OR REPLACE INTO since VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let Bytes { rx, tx, internal_rx, internal_tx } = sum;
        let values = params![cgroup, machine, boot_id, int(rx), int(tx), int(internal_rx), int(internal_tx)];
        db.prepare_cached(put)?.execute(values)?;
    }
    Ok(())
}
