//! Which times are written below a chart: round ones by the local clock, also where it is set forward or back. Pure.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::keep::usage::Slot;

const DAY: i64 = 86_400;
/// From time to time, in seconds.
const STEPS_SECS: [i64; 16] =
    [5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600];
const STEPS_DAYS: [i64; 4] = [1, 2, 7, 14];
const STEPS_MONTHS: [i64; 7] = [1, 2, 3, 6, 12, 24, 60];
/// Slots from this length on are months.
const MONTH_FROM_SECS: i64 = 27 * DAY;

/// A place in seconds since 1970, and what is written there.
pub type Tick = (f64, String);

/// Not more than `most` times between the edges, which are in seconds since 1970.
pub fn ticks(from: f64, to: f64, zone: &TimeZone, most: u32) -> Vec<Tick> {
    let most = f64::from(most.max(2));
    let fits = |step: &i64| (to - from) / (*step as f64) <= most;
    if let Some(step) = STEPS_SECS.into_iter().find(fits) {
        return clock_times(from, to, zone, step);
    }
    let Some((first, last)) = date(from, zone).zip(date(to, zone)) else { return Vec::new() };
    let midnight =
        |date: Date| date.to_zoned_datetime(zone.clone()).ok().map(|time| time.timestamp().as_second() as f64);
    let days = STEPS_DAYS.into_iter().find(|days| fits(&(days * DAY)));
    let dates: Vec<Date> = first.series(jiff::Span::new().days(1)).take_while(|date| *date <= last).collect();
    let ticks = dates.into_iter().filter_map(|date| {
        let text = match days {
            Some(step) if is_round_day(date, step) => day_text(date),
            None if date.day() == 1 => {
                let months = STEPS_MONTHS.into_iter().find(|months| fits(&(months * 30 * DAY))).unwrap_or(120);
                (month_number(date) % months == 0).then(|| month_text(date))?
            }
            _ => return None,
        };
        Some((midnight(date)?, text))
    });
    ticks.filter(|(at, _)| (from..=to).contains(at)).collect()
}

/// The names of not more than `most` bars, in their middles.
pub fn names(slots: &[Slot], from: f64, to: f64, zone: &TimeZone, most: u32) -> Vec<Tick> {
    let shown = slots.iter().filter(|slot| slot.start as f64 >= from - 1.0 && (slot.end as f64) <= to + 1.0);
    let Some(length) = shown.clone().map(|slot| slot.end - slot.start).max() else { return Vec::new() };
    let most = f64::from(most.max(2));
    let step = |steps: &[i64], unit: i64| {
        steps.iter().copied().find(|step| (to - from) / ((step * unit) as f64) <= most).unwrap_or(120)
    };
    // A name of a month takes half the room of others.
    let (months, days) = (step(&STEPS_MONTHS, 60 * DAY), step(&STEPS_DAYS, DAY));
    let hours = step(&[1, 2, 3, 6, 12, 24], 3600);
    let name = |slot: &Slot| {
        let start = zone.to_datetime(Timestamp::from_second(slot.start).ok()?);
        let text = if length >= MONTH_FROM_SECS {
            (month_number(start.date()) % months == 0)
                .then(|| if start.day() == 1 { month_text(start.date()) } else { start.strftime("%-d %b").to_string() })
        } else if length > 12 * 3600 {
            is_round_day(start.date(), days).then(|| start.strftime("%-d %b").to_string())
        } else {
            (i64::from(start.hour()) % hours == 0 && start.minute() == 0).then(|| clock_text(start, 3600))
        };
        Some(((slot.start as f64 + slot.end as f64) / 2.0, text?))
    };
    shown.filter_map(name).collect()
}

/// Times at multiples of `step` seconds since the local midnight. Between two changes of the clock they are equally far apart.
fn clock_times(from: f64, to: f64, zone: &TimeZone, step: i64) -> Vec<Tick> {
    let mut ticks = Vec::new();
    let Some(mut start) = second(from.ceil()) else { return ticks };
    while (start.as_second() as f64) <= to {
        let change = zone.following(start).next().map(|change| change.timestamp());
        let offset = i64::from(zone.to_offset(start).seconds());
        let end = change.map_or(f64::INFINITY, |change| change.as_second() as f64);
        let first = (start.as_second() + offset).div_euclid(step) * step - offset;
        let times = (0..).map(|i| first + i * step).skip_while(|at| *at < start.as_second());
        for at in times.take_while(|at| (*at as f64) <= to && (*at as f64) < end) {
            let Ok(time) = Timestamp::from_second(at) else { continue };
            ticks.push((at as f64, clock_text(zone.to_datetime(time), step)));
        }
        let Some(change) = change else { break };
        start = change;
    }
    ticks
}

/// A midnight is where a day begins, so the day is written there.
fn clock_text(time: jiff::civil::DateTime, step: i64) -> String {
    let midnight = time.hour() == 0 && time.minute() == 0 && time.second() == 0;
    let format = match step {
        1800.. if midnight => "%-d %b",
        60.. => "%H:%M",
        _ => "%H:%M:%S",
    };
    time.strftime(format).to_string()
}

fn day_text(date: Date) -> String {
    date.strftime("%a %-d %b").to_string()
}

/// A January is where a year begins.
fn month_text(date: Date) -> String {
    date.strftime(if date.month() == 1 { "%Y" } else { "%b" }).to_string()
}

fn month_number(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

/// Every `step`th day; of weeks, Mondays.
fn is_round_day(date: Date, step: i64) -> bool {
    const MONDAY: Date = jiff::civil::date(1970, 1, 5);
    i64::from((date - MONDAY).get_days()) % step == 0
}

/// The day there.
pub fn date(secs: f64, zone: &TimeZone) -> Option<Date> {
    Some(zone.to_datetime(second(secs)?).date())
}

#[expect(clippy::cast_possible_truncation, reason = "a time, which Timestamp checks")]
fn second(secs: f64) -> Option<Timestamp> {
    Timestamp::from_second(secs as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(from: &str, hours: f64, zone: &str, most: u32) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let from = from.parse::<jiff::civil::DateTime>().unwrap().to_zoned_datetime(zone.clone()).unwrap();
        let from = from.timestamp().as_second() as f64;
        let ticks = ticks(from, from + hours * 3600.0, &zone, most);
        let texts: Vec<_> = ticks.iter().map(|(at, text)| format!("{:.1} {text}", (at - from) / 3600.0)).collect();
        texts.join(", ")
    }

    #[test]
    fn times_are_round_by_the_local_clock() {
        for (from, hours, zone, most, expected) in [
            ("2026-03-01 11:59:46", 0.006, "UTC", 4, "0.0 11:59:50, 0.0 12:00:00"),
            ("2026-11-27 13:05", 1.0, "Asia/Kolkata", 2, "0.4 13:30, 0.9 14:00"),
            ("2026-11-27 22:10", 6.0, "Europe/Berlin", 3, "1.8 28 Nov, 3.8 02:00, 5.8 04:00"),
            ("2026-11-27 09:30", 24.0, "Europe/Berlin", 4, "2.5 12:00, 8.5 18:00, 14.5 28 Nov, 20.5 06:00"),
            ("2026-11-20 09:30", 96.0, "Europe/Berlin", 2, "14.5 Sat 21 Nov, 62.5 Mon 23 Nov"),
            ("2025-11-20 09:30", 8760.0, "Europe/Berlin", 6, "998.5 2026, 3157.5 Apr, 5341.5 Jul, 7549.5 Oct"),
            // Clocks go back from 3 to 2, and forward from 2 to 3.
            ("2026-10-25 00:30", 4.0, "Europe/Berlin", 6, "0.5 01:00, 1.5 02:00, 2.5 02:00, 3.5 03:00"),
            ("2026-03-29 00:30", 3.0, "Europe/Berlin", 4, "0.5 01:00, 1.5 03:00, 2.5 04:00"),
            ("2026-03-28 12:00", 72.0, "Europe/Berlin", 3, "12.0 Sun 29 Mar, 35.0 Mon 30 Mar, 59.0 Tue 31 Mar"),
            // The day on which the clocks go forward has no midnight.
            ("2026-09-05 12:00", 30.0, "America/Santiago", 2, "12.0 Sun 6 Sep"),
        ] {
            assert_eq!(texts(from, hours, zone, most), expected, "{from} {zone}");
        }
    }

    #[test]
    fn bars_are_named_in_their_middles() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let second = |date: &str| {
            let midnight = date.parse::<Date>().unwrap().to_zoned_datetime(zone.clone()).unwrap();
            midnight.timestamp().as_second()
        };
        let names = |dates: &[&str], most| {
            let slot = |pair: &[&str]| Slot { start: second(pair[0]), end: second(pair[1]), ..Slot::default() };
            let slots: Vec<Slot> = dates.windows(2).map(slot).collect();
            let (from, to) = (slots[0].start as f64, slots.last().unwrap().end as f64);
            let names = names(&slots, from, to, &zone, most);
            let text = |(at, name): &Tick| format!("{:.1} {name}", (at - from) / 3600.0);
            names.iter().map(text).collect::<Vec<_>>().join(", ")
        };
        let days = ["2026-10-24", "2026-10-25", "2026-10-26", "2026-10-27"];
        assert_eq!(names(&days, 9), "12.0 24 Oct, 36.5 25 Oct, 61.0 26 Oct");
        assert_eq!(names(&["2026-12-01", "2027-01-01", "2027-02-01"], 9), "372.0 Dec, 1116.0 2027");
        assert_eq!(names(&["2026-11-15", "2026-12-15", "2027-01-15"], 9), "360.0 15 Nov, 1092.0 15 Dec");
    }
}
