-- Times are seconds since 1970, figures are bytes: external received and sent, internal received and sent.

-- What an app was called last.
CREATE TABLE app(id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
-- A unit of an app. What is different at each start of it (a process id) is a * in its names.
CREATE TABLE series(
    id INTEGER PRIMARY KEY, app TEXT NOT NULL, unit TEXT NOT NULL, cgroup TEXT NOT NULL, UNIQUE(app, cgroup)
);
-- Where figures come from. network: '' is unknown; metered: 0 no, 1 yes, 2 unknown.
CREATE TABLE origin(
    id INTEGER PRIMARY KEY, estimate INTEGER NOT NULL, network TEXT NOT NULL, metered INTEGER NOT NULL,
    UNIQUE(estimate, network, metered)
);
-- 10 seconds each, of the hours that are not packed yet. In the order of time, so that what is written at once lies together.
CREATE TABLE step(
    start INTEGER NOT NULL, series INTEGER NOT NULL, origin INTEGER NOT NULL,
    rx INTEGER NOT NULL, tx INTEGER NOT NULL, internal_rx INTEGER NOT NULL, internal_tx INTEGER NOT NULL,
    PRIMARY KEY(start, series, origin)
) WITHOUT ROWID;
-- A day of the world's clock: what each hour of the local clock that begins in it has moved (pack.rs).
CREATE TABLE day(
    series INTEGER NOT NULL, start INTEGER NOT NULL, origin INTEGER NOT NULL, hours BLOB NOT NULL,
    PRIMARY KEY(series, start, origin)
) WITHOUT ROWID;
-- What the minutes of an hour have moved (pack.rs), and its steps for as long as they are kept. In the order of time, as the
-- oldest go first.
CREATE TABLE packed(
    start INTEGER NOT NULL, series INTEGER NOT NULL, origin INTEGER NOT NULL, minutes BLOB NOT NULL,
    PRIMARY KEY(start, series, origin)
) WITHOUT ROWID;
CREATE TABLE fine(
    start INTEGER NOT NULL, series INTEGER NOT NULL, origin INTEGER NOT NULL, steps BLOB NOT NULL,
    PRIMARY KEY(start, series, origin)
) WITHOUT ROWID;
-- A sum over a time in which nothing was recorded.
CREATE TABLE away(
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, origin INTEGER NOT NULL,
    rx INTEGER NOT NULL, tx INTEGER NOT NULL, internal_rx INTEGER NOT NULL, internal_tx INTEGER NOT NULL
);
CREATE INDEX away_by_series ON away(series, end);
-- When it is known what was moved. away: 1 as sums over longer times only.
CREATE TABLE seen(id INTEGER PRIMARY KEY, start INTEGER NOT NULL, end INTEGER NOT NULL, away INTEGER NOT NULL);
CREATE INDEX seen_by_end ON seen(end);
-- The helper's counters as they were last taken in, and what was recorded since then without them.
CREATE TABLE counter(
    cgroup TEXT PRIMARY KEY,
    rx INTEGER NOT NULL, tx INTEGER NOT NULL, internal_rx INTEGER NOT NULL, internal_tx INTEGER NOT NULL,
    since_rx INTEGER NOT NULL, since_tx INTEGER NOT NULL,
    since_internal_rx INTEGER NOT NULL, since_internal_tx INTEGER NOT NULL
) WITHOUT ROWID;
-- One row: where and when that was. epoch: the helper's, as text, as it may be larger than an INTEGER.
CREATE TABLE taken(
    one INTEGER PRIMARY KEY CHECK (one = 1), machine TEXT NOT NULL, boot_id TEXT NOT NULL, epoch TEXT NOT NULL, boottime_ns INTEGER NOT NULL,
    time INTEGER NOT NULL
);
