//! Days, weeks and months as people mean them. Pure but for [`Calendar::system`], and even that reads no clock.
//!
//! A day begins at its first instant, which is not midnight where the clock skips that, and it ends where the next day begins. So
//! every instant belongs to one day, also where the clock repeats an hour around midnight, and a day that a zone skipped is empty.

use std::{env, ops::Range};

use jiff::{
    Timestamp,
    civil::{Date, Time, Weekday},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use pure_rust_locales::{Locale, locale_match};
use serde::{Deserialize, Serialize};

/// A span is divided into no more slots than these: hours for eleven years. [`Calendar::edges`] says what happens to more.
pub const MOST_SLOTS: u32 = 100_000;

/// What turns a day into a span of time.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Where the days begin.
    pub zone: TimeZone,
    /// The day on which weeks begin.
    pub first_weekday: Weekday,
    /// The day of the month on which months begin, 1 to 31; in a shorter month it is the last one.
    pub billing_day: u8,
}

/// A span that has a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Period {
    /// Since midnight.
    #[default]
    Today,
    /// The day before.
    Yesterday,
    /// Since the last [`Calendar::first_weekday`].
    ThisWeek,
    /// Since the last [`Calendar::billing_day`].
    ThisMonth,
    /// The month before that.
    LastMonth,
    /// From the first of these days to the end of the second, whichever of them is earlier.
    Days(Date, Date),
}

/// How a span is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Every {
    /// Into so many seconds each, at multiples of them since 1970. 0 is taken for 1.
    Secs(u32),
    /// At the local clock's full hours, and where it jumps into another hour.
    Hour,
    /// At the beginning of each day.
    Day,
    /// At [`Calendar::billing_day`].
    Month,
}

impl Calendar {
    /// The computer's time zone, and the weekday of the person's locale.
    pub fn system(billing_day: u8) -> Self {
        let locale = ["LC_ALL", "LC_TIME", "LANG"].iter().filter_map(env::var_os).find(|value| !value.is_empty());
        let first_weekday = first_weekday(&locale.unwrap_or_default().to_string_lossy());
        Self { zone: TimeZone::system(), first_weekday, billing_day }
    }

    /// From the beginning of a period to its end, which may lie in the future, in seconds since 1970. It is empty only where a zone
    /// skipped all of its days.
    pub fn span(&self, period: Period, now: Timestamp) -> Range<i64> {
        let today = self.day_of(now.as_second());
        let (first, after) = match period {
            Period::Today => (today, day_after(today)),
            Period::Yesterday => (self.day_before(today), today),
            Period::ThisWeek => {
                let first = today.saturating_sub(days(today.weekday().since(self.first_weekday).into()));
                (first, first.saturating_add(days(7)))
            }
            Period::ThisMonth => (self.month_of(today), self.month_after(self.month_of(today))),
            Period::LastMonth => {
                let this = self.month_of(today);
                (self.month_of(this.saturating_sub(days(1))), this)
            }
            Period::Days(a, b) => (a.min(b), day_after(a.max(b))),
        };
        self.start(first)..self.start(after)
    }

    /// The span's beginning, the edges within it, and its end, each later than the one before. Nothing where the span is empty.
    ///
    /// A span that would be divided into more than [`MOST_SLOTS`] is divided less finely: into a multiple of the seconds, or into
    /// days instead of hours, months instead of days, and one slot instead of that many months.
    pub fn edges(&self, span: Range<i64>, every: Every) -> Vec<i64> {
        if span.is_empty() {
            return Vec::new();
        }
        let mut edges = vec![span.start];
        let within = timestamp(span.start).as_second()..timestamp(span.end).as_second();
        match bearable(within.end - within.start, every) {
            Some(Every::Secs(secs)) => {
                let secs = i64::from(secs);
                edges.extend(steps((within.start.div_euclid(secs) + 1) * secs..within.end, secs));
            }
            Some(Every::Hour) => self.add_hours(&within, &mut edges),
            Some(Every::Day) => self.add_dates(&within, &mut edges, self.day_of(within.start), day_after),
            Some(Every::Month) => {
                let first = self.month_of(self.day_of(within.start));
                self.add_dates(&within, &mut edges, first, |month| self.month_after(month));
            }
            None => {}
        }
        edges.push(span.end);
        edges
    }

    /// The local clock's hours begin where it shows a full hour, and where its hour changes because it jumps.
    fn add_hours(&self, span: &Range<i64>, edges: &mut Vec<i64>) {
        let hour = |at: i64, offset: Offset| (at + i64::from(offset.seconds())).div_euclid(3600);
        let mut offset = self.zone.to_offset(timestamp(span.start));
        let mut piece = span.start;
        let changes =
            self.zone.following(timestamp(span.start)).map(|change| (change.timestamp().as_second(), change.offset()));
        let changes = changes.take_while(|(at, _)| *at < span.end).map(|(at, offset)| (at, Some(offset)));
        for (end, next) in changes.chain([(span.end, None)]) {
            let first = (hour(piece, offset) + 1) * 3600 - i64::from(offset.seconds());
            edges.extend(steps(first..end, 3600));
            let Some(next) = next else { return };
            let is_full = (end + i64::from(next.seconds())).rem_euclid(3600) == 0;
            if is_full || hour(end - 1, offset) != hour(end, next) {
                edges.push(end);
            }
            (piece, offset) = (end, next);
        }
    }

    fn add_dates(&self, span: &Range<i64>, edges: &mut Vec<i64>, first: Date, next: impl Fn(Date) -> Date) {
        let mut date = first;
        loop {
            let at = self.start(date);
            if at >= span.end {
                return;
            }
            if edges.last().is_some_and(|last| at > *last) {
                edges.push(at);
            }
            let after = next(date);
            if after <= date {
                // The calendar's last day.
                return;
            }
            date = after;
        }
    }

    /// The first instant of a day, in seconds since 1970.
    fn start(&self, date: Date) -> i64 {
        let midnight = self.zone.to_ambiguous_timestamp(date.to_datetime(Time::midnight()));
        let offset = midnight.offset();
        let Ok(earlier) = midnight.earlier() else {
            // Within a day of the first or last instant that jiff knows.
            return if date.year() < 0 { Timestamp::MIN } else { Timestamp::MAX }.as_second();
        };
        match offset {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => earlier.as_second(),
            // The clock jumps over midnight, and not always from there.
            AmbiguousOffset::Gap { .. } => {
                let jump = self.zone.following(earlier).next();
                jump.map_or(earlier, |jump| jump.timestamp()).as_second()
            }
        }
    }

    /// The day to which an instant belongs: the one that the clock shows, or the one after where the clock goes back to a day that
    /// was over.
    fn day_of(&self, secs: i64) -> Date {
        let mut date = self.zone.to_datetime(timestamp(secs)).date();
        // Two are enough where a whole day comes again.
        for _ in 0..2 {
            if self.start(day_after(date)) <= secs {
                date = day_after(date);
            }
        }
        date
    }

    /// The last day before this one that a zone did not skip.
    fn day_before(&self, date: Date) -> Date {
        self.day_of(self.start(date).saturating_sub(1))
    }

    /// The first day of the billing month to which a day belongs.
    fn month_of(&self, date: Date) -> Date {
        let here = self.month_start(date);
        if here <= date { here } else { self.month_start(date.first_of_month().saturating_sub(days(1))) }
    }

    /// The first day of the next billing month.
    fn month_after(&self, first: Date) -> Date {
        self.month_start(first.last_of_month().saturating_add(days(1)))
    }

    /// The billing day in the calendar month of a day.
    fn month_start(&self, date: Date) -> Date {
        let day = i8::try_from(self.billing_day).unwrap_or(i8::MAX).clamp(1, date.days_in_month());
        date.with().day(day).build().unwrap_or_else(|_| date.first_of_month())
    }
}

/// The weekday on which weeks begin in a locale such as "de_CH.UTF-8": what the GNU C library says. Monday, as in ISO 8601, where it
/// doesn't know the locale or there is none.
fn first_weekday(locale: &str) -> Weekday {
    // language_TERRITORY.codeset@modifier
    let (name, modifier) = locale.split_once('@').unwrap_or((locale, ""));
    let name = name.split('.').next().unwrap_or_default();
    let known = [format!("{name}@{modifier}"), name.to_owned()].iter().find_map(|name| name.parse::<Locale>().ok());
    match known {
        None | Some(Locale::POSIX) => Weekday::Monday,
        // 1 or nothing is Sunday.
        Some(known) => {
            let number = locale_match!(known => LC_TIME::FIRST_WEEKDAY).unwrap_or(1);
            Weekday::Sunday.wrapping_add(number.saturating_sub(1))
        }
    }
}

/// This step or the next coarser one by which so many seconds make no more than [`MOST_SLOTS`]; `None`: there is none.
fn bearable(length_secs: i64, every: Every) -> Option<Every> {
    // A zone's changes make a few more, and so do the two ends.
    const MOST: i64 = MOST_SLOTS as i64 - 1000;
    let fits = |step_secs: i64| length_secs / step_secs <= MOST;
    match every {
        Every::Secs(secs) => {
            let secs = i64::from(secs.max(1));
            let multiple = (length_secs / secs / MOST + 1) * secs;
            Some(Every::Secs(u32::try_from(multiple).unwrap_or(u32::MAX)))
        }
        Every::Hour if fits(3600) => Some(every),
        Every::Hour | Every::Day if fits(86_400) => Some(Every::Day),
        Every::Hour | Every::Day | Every::Month => fits(28 * 86_400).then_some(Every::Month),
    }
}

fn days(count: i64) -> jiff::Span {
    jiff::Span::new().days(count)
}

fn day_after(date: Date) -> Date {
    date.saturating_add(days(1))
}

/// The instant, or the nearest that jiff knows.
fn timestamp(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).unwrap_or(if secs < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Every so many seconds from the beginning of a range, which may be empty.
fn steps(range: Range<i64>, secs: i64) -> impl Iterator<Item = i64> {
    std::iter::successors(Some(range.start), move |at| at.checked_add(secs)).take_while(move |at| *at < range.end)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn calendar(zone: &str) -> Calendar {
        let zone = TimeZone::get(zone).unwrap_or_else(|error| panic!("{zone}: {error}"));
        Calendar { zone, first_weekday: Weekday::Monday, billing_day: 1 }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The beginning as the zone's clock shows it, and the length in minutes.
    fn shown(calendar: &Calendar, span: &Range<i64>) -> (String, i64) {
        let start = jiff::ZonedDateTime::new(timestamp(span.start), calendar.zone.clone());
        (start.strftime("%Y-%m-%d %H:%M:%S").to_string(), (span.end - span.start) / 60)
    }

    #[test]
    fn a_day_begins_at_its_first_instant() {
        for (zone, day, start, minutes) in [
            ("UTC", date(2026, 2, 28), "2026-02-28 00:00:00", 1440),
            ("Europe/Berlin", date(2026, 3, 29), "2026-03-29 00:00:00", 23 * 60),
            ("Europe/Berlin", date(2026, 10, 25), "2026-10-25 00:00:00", 25 * 60),
            ("Asia/Kathmandu", date(2026, 11, 1), "2026-11-01 00:00:00", 1440),
            ("Pacific/Chatham", date(2026, 4, 5), "2026-04-05 00:00:00", 25 * 60),
            ("Australia/Lord_Howe", date(2025, 10, 5), "2025-10-05 00:00:00", 23 * 60 + 30),
            ("Australia/Lord_Howe", date(2025, 4, 6), "2025-04-06 00:00:00", 24 * 60 + 30),
            // Midnight is skipped.
            ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04 01:00:00", 23 * 60),
            ("America/Sao_Paulo", date(2018, 2, 17), "2018-02-17 00:00:00", 25 * 60),
            ("Asia/Beirut", date(2025, 3, 30), "2025-03-30 01:00:00", 23 * 60),
            ("Africa/Cairo", date(2024, 4, 26), "2024-04-26 01:00:00", 23 * 60),
            // From half past eleven to half past twelve.
            ("America/Toronto", date(1919, 3, 31), "1919-03-31 00:30:00", 23 * 60 + 30),
            ("America/Toronto", date(1919, 3, 30), "1919-03-30 00:00:00", 23 * 60 + 30),
            // Midnight comes twice, and so does the evening before it.
            ("America/Havana", date(2025, 11, 2), "2025-11-02 00:00:00", 25 * 60),
            ("America/St_Johns", date(2006, 10, 28), "2006-10-28 00:00:00", 1440),
            ("America/St_Johns", date(2006, 10, 29), "2006-10-29 00:00:00", 25 * 60),
            // The day was skipped.
            ("Pacific/Apia", date(2011, 12, 29), "2011-12-29 00:00:00", 1440),
            ("Pacific/Apia", date(2011, 12, 30), "2011-12-31 00:00:00", 0),
            ("Pacific/Apia", date(2011, 12, 31), "2011-12-31 00:00:00", 1440),
        ] {
            let calendar = calendar(zone);
            let span = calendar.span(Period::Days(day, day), Timestamp::UNIX_EPOCH);
            assert_eq!(shown(&calendar, &span), (start.to_owned(), minutes), "{zone} {day}");
        }
    }

    #[test]
    fn yesterday_is_a_day_that_was_there() {
        let apia = calendar("Pacific/Apia");
        let yesterday = apia.span(Period::Yesterday, at("2011-12-31T12:00+14"));
        assert_eq!(shown(&apia, &yesterday), ("2011-12-29 00:00:00".to_owned(), 1440));
        // The clock shows Saturday again, and Sunday has begun.
        let newfoundland = calendar("America/St_Johns");
        let again = at("2006-10-28T23:30-03:30");
        assert_eq!(shown(&newfoundland, &newfoundland.span(Period::Today, again)).0, "2006-10-29 00:00:00");
        assert_eq!(shown(&newfoundland, &newfoundland.span(Period::Yesterday, again)).0, "2006-10-28 00:00:00");
    }

    /// Each zone has something in its year that the others don't.
    const YEARS: [(&str, i16); 14] = [
        ("UTC", 2024),
        ("Europe/Berlin", 2026),
        ("America/New_York", 2026),
        ("America/Sao_Paulo", 2018),
        ("Asia/Beirut", 2025),
        ("Africa/Cairo", 2024),
        ("America/Havana", 2025),
        ("America/St_Johns", 2006),
        ("Australia/Lord_Howe", 2025),
        ("Asia/Kathmandu", 2026),
        ("Pacific/Chatham", 2026),
        ("Africa/Casablanca", 2026),
        ("Pacific/Apia", 2011),
        ("Europe/Volgograd", 2020),
    ];

    #[test]
    fn a_year_is_the_sum_of_its_days_and_each_instant_is_in_one() {
        for (zone, year) in YEARS {
            let calendar = calendar(zone);
            let whole = calendar.span(Period::Days(date(year, 12, 31), date(year, 1, 1)), Timestamp::UNIX_EPOCH);
            let mut end = whole.start;
            let mut edges = vec![end];
            for day in date(year, 1, 1).series(days(1)).take_while(|day| day.year() == year) {
                let span = calendar.span(Period::Days(day, day), Timestamp::UNIX_EPOCH);
                assert_eq!(span.start, end, "{zone} {day}");
                end = span.end;
                if !span.is_empty() {
                    edges.push(end);
                }
            }
            assert_eq!(end, whole.end, "{zone}");
            assert_eq!(calendar.edges(whole.clone(), Every::Day), edges, "{zone}");
            for now in steps(whole.clone(), 1009) {
                let today = calendar.span(Period::Today, timestamp(now));
                let index = edges.partition_point(|edge| *edge <= now);
                assert_eq!(today, edges[index - 1]..edges[index], "{zone} {now}");
            }
        }
    }

    #[test]
    fn hours_are_those_of_the_local_clock() {
        for (zone, year) in YEARS {
            let calendar = calendar(zone);
            let whole = calendar.span(Period::Days(date(year, 1, 1), date(year, 12, 31)), Timestamp::UNIX_EPOCH);
            let hours = calendar.edges(whole.clone(), Every::Hour);
            assert!(hours.is_sorted_by(|a, b| a < b), "{zone}");
            assert_eq!((hours[0], hours.last()), (whole.start, Some(&whole.end)), "{zone}");
            let days = calendar.edges(whole.clone(), Every::Day);
            assert!(days.iter().all(|day| hours.binary_search(day).is_ok()), "{zone}: a day begins within an hour");
            // Nothing is in a slot that began at another hour of the clock.
            let hour = |secs| calendar.zone.to_datetime(timestamp(secs)).hour();
            for pair in hours.windows(2) {
                assert!(pair[1] - pair[0] <= 5400, "{zone} {pair:?}");
                for secs in steps(pair[0]..pair[1], 1800).chain([pair[1] - 1]) {
                    assert_eq!(hour(secs), hour(pair[0]), "{zone} {secs}");
                }
            }
        }
    }

    #[test]
    fn hours_across_a_change_of_the_clock() {
        for (zone, from, to, starts) in [
            ("Europe/Berlin", "2026-03-29T00:30+01", "2026-03-29T04:10+02", "00:30 01:00 03:00 04:00"),
            ("Europe/Berlin", "2026-10-25T01:00+02", "2026-10-25T04:00+01", "01:00 02:00 02:00 03:00"),
            ("Asia/Kolkata", "2026-10-25T00:00Z", "2026-10-25T02:00Z", "05:30 06:00 07:00"),
            ("Asia/Kathmandu", "2026-10-25T00:00Z", "2026-10-25T02:00Z", "05:45 06:00 07:00"),
            ("Australia/Lord_Howe", "2025-10-05T01:00+10:30", "2025-10-05T04:00+11", "01:00 02:30 03:00"),
            ("Australia/Lord_Howe", "2025-04-06T01:00+11", "2025-04-06T03:00+10:30", "01:00 02:00"),
            ("America/St_Johns", "2006-10-28T23:00-02:30", "2006-10-29T01:00-03:30", "23:00 00:00 23:01 00:00"),
        ] {
            let calendar = calendar(zone);
            let edges = calendar.edges(at(from).as_second()..at(to).as_second(), Every::Hour);
            let starts_found: Vec<_> = edges[..edges.len() - 1]
                .iter()
                .map(|at| calendar.zone.to_datetime(timestamp(*at)).strftime("%H:%M").to_string())
                .collect();
            assert_eq!(starts_found.join(" "), starts, "{zone} {from}");
        }
    }

    #[test]
    fn months_begin_on_the_billing_day() {
        for (billing_day, now, this, last) in [
            (1, "2026-03-01", "2026-03-01 2026-04-01", "2026-02-01"),
            (1, "2026-03-31", "2026-03-01 2026-04-01", "2026-02-01"),
            (15, "2026-01-14", "2025-12-15 2026-01-15", "2025-11-15"),
            (15, "2026-01-15", "2026-01-15 2026-02-15", "2025-12-15"),
            (29, "2026-03-01", "2026-02-28 2026-03-29", "2026-01-29"),
            (30, "2024-02-28", "2024-01-30 2024-02-29", "2023-12-30"),
            (30, "2024-02-29", "2024-02-29 2024-03-30", "2024-01-30"),
            (31, "2026-02-27", "2026-01-31 2026-02-28", "2025-12-31"),
            (31, "2026-02-28", "2026-02-28 2026-03-31", "2026-01-31"),
            (31, "2026-04-30", "2026-04-30 2026-05-31", "2026-03-31"),
            (31, "2026-05-30", "2026-04-30 2026-05-31", "2026-03-31"),
            // What the settings don't allow.
            (0, "2026-03-05", "2026-03-01 2026-04-01", "2026-02-01"),
            (200, "2026-03-05", "2026-02-28 2026-03-31", "2026-01-31"),
        ] {
            let calendar = Calendar { billing_day, ..calendar("Europe/Berlin") };
            let now = now.parse::<Date>().unwrap().at(12, 0, 0, 0);
            let now = calendar.zone.to_timestamp(now).unwrap();
            let day = |secs| calendar.day_of(secs).to_string();
            let found = calendar.span(Period::ThisMonth, now);
            assert_eq!(format!("{} {}", day(found.start), day(found.end)), this, "{billing_day} {now}");
            let before = calendar.span(Period::LastMonth, now);
            assert_eq!((day(before.start).as_str(), before.end), (last, found.start), "{billing_day} {now}");
        }
    }

    #[test]
    fn every_billing_day_divides_years_into_months_without_a_rest() {
        for billing_day in 1..=31 {
            let calendar = Calendar { billing_day, ..calendar("America/Sao_Paulo") };
            let span = at("2016-01-31T12:00Z").as_second()..at("2020-03-01T12:00Z").as_second();
            let edges = calendar.edges(span.clone(), Every::Month);
            for pair in edges[1..].windows(2) {
                let length = (pair[1] - pair[0] + 12 * 3600) / 86_400;
                let inner = pair[1] != span.end;
                assert!(!inner || (28..=31).contains(&length), "{billing_day} {pair:?}");
                let month = calendar.span(Period::ThisMonth, timestamp(pair[1] - 1));
                assert_eq!(month.start, pair[0], "{billing_day}");
            }
        }
    }

    #[test]
    fn weeks_begin_on_the_first_weekday() {
        // A Friday.
        let now = at("2026-11-27T12:00Z");
        for (first_weekday, start) in [
            (Weekday::Monday, "2026-11-23"),
            (Weekday::Sunday, "2026-11-22"),
            (Weekday::Saturday, "2026-11-21"),
            (Weekday::Friday, "2026-11-27"),
        ] {
            let calendar = Calendar { first_weekday, ..calendar("UTC") };
            let week = calendar.span(Period::ThisWeek, now);
            assert_eq!(shown(&calendar, &week), (format!("{start} 00:00:00"), 7 * 1440));
        }
    }

    #[test]
    fn a_locale_says_when_its_weeks_begin() {
        for (locale, weekday) in [
            ("de_CH.UTF-8", Weekday::Monday),
            ("en_US.UTF-8", Weekday::Sunday),
            ("en_GB", Weekday::Monday),
            ("ar_EG.UTF-8", Weekday::Saturday),
            ("dv_MV", Weekday::Friday),
            ("sr_RS.UTF-8@latin", Weekday::Monday),
            ("en_US.UTF-8@unheard", Weekday::Sunday),
            ("C.UTF-8", Weekday::Monday),
            ("POSIX", Weekday::Monday),
            ("", Weekday::Monday),
            ("../../etc/passwd", Weekday::Monday),
        ] {
            assert_eq!(first_weekday(locale), weekday, "{locale}");
        }
    }

    #[test]
    fn edges_stay_within_their_span_and_their_number() {
        let calendar = calendar("Europe/Berlin");
        let year = 0..365 * 86_400;
        assert!(calendar.edges(5..5, Every::Day).is_empty());
        assert!(calendar.edges(Range { start: 6, end: 5 }, Every::Day).is_empty());
        assert_eq!(calendar.edges(5..27, Every::Secs(10)), [5, 10, 20, 27]);
        assert_eq!(calendar.edges(-15..10, Every::Secs(10)), [-15, -10, 0, 10]);
        assert_eq!(calendar.edges(5..7, Every::Secs(0)), [5, 6, 7]);
        assert_eq!(calendar.edges(5..7, Every::Secs(u32::MAX)), [5, 7]);
        assert_eq!(calendar.edges(year.clone(), Every::Secs(1))[1], 319, "less finely");
        let spans =
            [year, 0..i64::MAX, i64::MIN..0, i64::MIN..i64::MAX, i64::MAX - 9..i64::MAX, i64::MIN..i64::MIN + 9];
        for span in spans {
            for every in
                [Every::Secs(1), Every::Secs(86_400), Every::Secs(u32::MAX), Every::Hour, Every::Day, Every::Month]
            {
                let edges = calendar.edges(span.clone(), every);
                assert_eq!((edges.first(), edges.last()), (Some(&span.start), Some(&span.end)), "{span:?} {every:?}");
                assert!(edges.is_sorted_by(|a, b| a < b), "{span:?} {every:?}");
                assert!(edges.len() <= MOST_SLOTS as usize + 1, "{span:?} {every:?}: {}", edges.len());
            }
        }
    }
}
