//! Budgets: how far each is used up, and when a person hears of that. Pure: reads no clock.

mod rates;
mod words;

use std::ops::Range;

use jiff::{Timestamp, ZonedDateTime, civil::Date, tz::TimeZone};
pub use rates::Rates;
use serde::{Deserialize, Serialize};
pub use words::{Notice, menu_line, terminal_line};

use super::{
    calendar::{Calendar, Period},
    usage::{Group, Usage, Which},
};
use crate::{
    base::settings::{Budget, Limit, Per},
    look::apps::Apps,
};

/// A person hears of a budget when so many percent of it are used. The last one is when it is used up.
const MARKS: [u32; 2] = [80, 100];

/// How far a budget is used up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Spent {
    /// External bytes in the current period. `None`: a budget of a rate.
    pub bytes: Option<u64>,
    /// Whole percent of the limit, more than 100 where it is over.
    pub percent: u32,
    /// Where the current period ends, in seconds since 1970. `None`: a budget of a rate.
    pub until: Option<i64>,
}

/// The current period of each budget, in seconds since 1970. `None`: a budget of a rate.
pub fn periods(budgets: &[Budget], calendar: &Calendar, now: Timestamp) -> Vec<Option<Range<i64>>> {
    let period = |budget: &Budget| {
        Some(match budget.limit.per()? {
            Per::Day => Period::Today,
            Per::Week => Period::ThisWeek,
            Per::Month => Period::ThisMonth,
        })
    };
    budgets.iter().map(|budget| period(budget).map(|period| calendar.span(period, now))).collect()
}

/// What the history is asked for to know what a budget has used: its groups are those of apps. A budget for an app that is a part of
/// another one now goes on being for that app.
pub fn which(budget: &Budget, defined: &Apps) -> Which {
    let is_own = |app: &String| defined.own().iter().any(|own| own.app.name.eq_ignore_ascii_case(app));
    let as_recorded = budget.app.as_ref().is_some_and(|app| !is_own(app));
    Which { metered: budget.metered.then_some(true), as_recorded, ..Which::default() }
}

/// Which of these apps, given by id and name, a budget is for: the one with that id, or all with that name; all where it names none.
pub fn apps<'a>(budget: &Budget, apps: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let Some(wanted) = &budget.app else { return apps.to_vec() };
    let by_id: Vec<_> = apps.iter().copied().filter(|(id, _)| id == wanted).collect();
    let is_called = |(id, name): &(&str, &str)| [id, name].iter().any(|text| text.eq_ignore_ascii_case(wanted));
    if by_id.is_empty() { apps.iter().copied().filter(is_called).collect() } else { by_id }
}

/// What a budget has used in its period, and what its app is called. `groups`: all apps that have moved anything in the period, as the
/// history has them.
pub fn used<'a>(budget: &Budget, groups: &'a [Group]) -> (Usage, Option<&'a str>) {
    let known: Vec<_> = groups.iter().map(|group| (group.app.as_str(), group.name.as_str())).collect();
    let apps = apps(budget, &known);
    let is_its = |group: &&Group| apps.iter().any(|(id, _)| *id == group.app);
    let usage = groups.iter().filter(is_its).fold(Usage::default(), |sum, group| sum.plus(group.total()));
    let name = budget.app.as_ref().and_then(|_| apps.first()).map(|(_, name)| *name).filter(|name| !name.is_empty());
    (usage, name)
}

impl Spent {
    /// Of a budget that has used so many external bytes in its period, as [`periods`] has it. Both are ignored for a rate.
    pub fn of(budget: &Budget, bytes: u64, period: Option<&Range<i64>>) -> Self {
        match budget.limit {
            Limit::Usage { bytes: limit_bytes, .. } => {
                let percent = u128::from(bytes) * 100 / u128::from(limit_bytes.max(1));
                let percent = u32::try_from(percent).unwrap_or(u32::MAX);
                Self { bytes: Some(bytes), percent, until: period.map(|period| period.end) }
            }
            Limit::Rate { .. } => Self { bytes: None, percent: 0, until: None },
        }
    }
}

/// What a person has heard of budgets of usage, and in which periods. Kept from one start to the next.
///
/// What it is about is the budget itself: one with another limit is another budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Told(Vec<Said>);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Said {
    budget: Budget,
    /// The day on which the period ends. A day, and no instant: in another time zone it is the same.
    until: Date,
    /// Up to which of the [`MARKS`].
    percent: u32,
}

impl Told {
    /// The places of the budgets of which a person should hear now. From now on they count as told. `spent` has one for each
    /// budget, in their order.
    pub fn due(&mut self, budgets: &[Budget], spent: &[Spent], zone: &TimeZone) -> Vec<usize> {
        let due: Vec<usize> = budgets
            .iter()
            .zip(spent)
            .enumerate()
            .filter_map(|(place, (budget, spent))| self.is_due(budget, spent, zone).then_some(place))
            .collect();
        if !due.is_empty() {
            self.0.retain(|said| budgets.contains(&said.budget));
        }
        due
    }

    fn is_due(&mut self, budget: &Budget, spent: &Spent, zone: &TimeZone) -> bool {
        let until = spent.until.and_then(|until| day(until, zone));
        let mark = MARKS.into_iter().rfind(|mark| spent.percent >= *mark);
        let (Some(until), Some(percent)) = (until, mark) else { return false };
        match self.0.iter_mut().find(|said| said.budget == *budget) {
            Some(said) if said.until == until && said.percent >= percent => return false,
            Some(said) => (said.until, said.percent) = (until, percent),
            None => self.0.push(Said { budget: budget.clone(), until, percent }),
        }
        true
    }
}

fn day(secs: i64, zone: &TimeZone) -> Option<Date> {
    Timestamp::from_second(secs).ok().map(|time| ZonedDateTime::new(time, zone.clone()).date())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keep::usage::Slot, look::rate::Bytes};

    const GB: u64 = 1_000_000_000;
    /// 1 December 2026, 0:00 in UTC, and a day before.
    const DECEMBER: i64 = 1_796_083_200;
    const DAY_SECS: i64 = 86_400;

    fn usage(app: Option<&str>, bytes: u64, per: Per) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Usage { bytes, per }, metered: false }
    }

    fn rate(app: Option<&str>, bytes: u64, secs: u32) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Rate { bytes, secs }, metered: false }
    }

    fn group(id: &str, name: &str, rx: u64, tx: u64) -> Group {
        let usage = Usage { bytes: Bytes { rx, tx, internal_rx: 7 * GB, ..Bytes::default() }, ..Usage::default() };
        let slots = vec![Slot { usage, ..Slot::default() }];
        Group { app: id.to_owned(), name: name.to_owned(), slots, ..Group::default() }
    }

    #[test]
    fn a_period_is_the_day_week_or_month_that_it_is() {
        let calendar = Calendar { zone: TimeZone::UTC, first_weekday: jiff::civil::Weekday::Monday, billing_day: 15 };
        let budgets = [Per::Day, Per::Week, Per::Month].map(|per| usage(None, GB, per));
        let budgets = [&budgets[..], &[rate(None, 1, 1)]].concat();
        // A Tuesday.
        let now = Timestamp::from_second(DECEMBER + 3600).unwrap();
        let expected = [
            Some(DECEMBER..DECEMBER + DAY_SECS),
            Some(DECEMBER - DAY_SECS..DECEMBER + 6 * DAY_SECS),
            Some(DECEMBER - 16 * DAY_SECS..DECEMBER + 14 * DAY_SECS),
            None,
        ];
        assert_eq!(periods(&budgets, &calendar, now), expected);
    }

    #[test]
    fn a_budget_counts_the_external_bytes_of_its_app_by_id_or_name() {
        let groups = [
            group("StB", "StB", 3 * GB, GB),
            group("firefox", "Firefox Web Browser", GB, 1),
            group("org.mozilla.firefox", "firefox", 5, 0),
            group("session-1", "", 1, 2),
        ];
        let check = |app: Option<&str>, bytes: u64, name: Option<&str>| {
            let (used, found) = used(&usage(app, GB, Per::Month), &groups);
            assert_eq!((used.external(), found), (bytes, name), "{app:?}");
        };
        check(None, 5 * GB + 9, None);
        check(Some("StB"), 4 * GB, Some("StB"));
        check(Some("stb"), 4 * GB, Some("StB"));
        check(Some("firefox"), GB + 1, Some("Firefox Web Browser"));
        check(Some("Firefox"), GB + 6, Some("Firefox Web Browser"));
        check(Some("firefox web browser"), GB + 1, Some("Firefox Web Browser"));
        check(Some("session-1"), 3, None);
        check(Some("gone"), 0, None);
        let metered = Budget { metered: true, ..usage(None, GB, Per::Day) };
        assert_eq!(
            (which(&metered, &Apps::default()).metered, which(&usage(None, GB, Per::Day), &Apps::default()).metered),
            (Some(true), None)
        );
    }

    #[test]
    fn percent_are_whole_ones_and_reached_when_they_are_full() {
        let period = 0..DECEMBER;
        let check = |bytes: u64, limit: u64, percent: u32| {
            let spent = Spent::of(&usage(None, limit, Per::Month), bytes, Some(&period));
            assert_eq!(spent, Spent { bytes: Some(bytes), percent, until: Some(DECEMBER) });
        };
        check(0, 5 * GB, 0);
        check(4 * GB - 1, 5 * GB, 79);
        check(4 * GB, 5 * GB, 80);
        check(5 * GB - 1, 5 * GB, 99);
        check(5 * GB, 5 * GB, 100);
        check(11 * GB, 5 * GB, 220);
        check(u64::MAX, 1, u32::MAX);
        assert_eq!(Spent::of(&rate(None, 1, 1), 5, None), Spent { bytes: None, percent: 0, until: None });
    }

    /// What is due of one budget, step by step: percent and end of the period.
    #[track_caller]
    fn steps(steps: &[(u32, i64, bool)]) {
        let mut told = Told::default();
        for (step, &(percent, until, due)) in steps.iter().enumerate() {
            // Each step may be a new start.
            told = serde_json::from_str(&serde_json::to_string(&told).unwrap()).unwrap();
            let spent = Spent { bytes: Some(0), percent, until: Some(until) };
            let found = told.due(&[usage(None, GB, Per::Month)], &[spent], &TimeZone::UTC);
            assert_eq!(found, if due { vec![0] } else { vec![] }, "step {step}");
        }
    }

    #[test]
    fn a_person_hears_of_each_mark_once_in_a_period() {
        let (now, next) = (DECEMBER, DECEMBER + 31 * DAY_SECS);
        steps(&[(0, now, false), (79, now, false), (80, now, true), (81, now, false), (99, now, false)]);
        steps(&[(80, now, true), (100, now, true), (100, now, false), (400, now, false)]);
        // Straight to the end, and back below because somebody has had history forgotten.
        steps(&[(120, now, true), (120, now, false), (85, now, false), (0, now, false), (101, now, false)]);
        steps(&[(85, now, true), (10, now, false), (85, now, false), (100, now, true)]);
        steps(&[(100, now, true), (3, next, false), (80, next, true), (100, next, true), (100, next, false)]);
    }

    #[test]
    fn another_time_zone_is_the_same_period_and_another_limit_is_not() {
        let spent = |until| Spent { bytes: Some(0), percent: 90, until: Some(until) };
        let budgets = [usage(None, GB, Per::Month), usage(Some("StB"), GB, Per::Month), rate(None, 1, 1)];
        let none = Spent { bytes: None, percent: 0, until: None };
        let mut told = Told::default();
        let all = [spent(DECEMBER), spent(DECEMBER), none];
        assert_eq!(told.due(&budgets, &all, &TimeZone::UTC), [0, 1]);
        let tokyo = TimeZone::fixed(jiff::tz::offset(9));
        let there = spent(DECEMBER - 9 * 3600);
        assert_eq!(told.due(&budgets, &[there.clone(), there], &tokyo), [0_usize; 0]);
        let changed = [usage(None, 2 * GB, Per::Month), budgets[1].clone()];
        assert_eq!(told.due(&changed, &all, &TimeZone::UTC), [0]);
        assert_eq!(told.0.len(), 2, "what is no budget any more is forgotten");
        // A list that is empty for a moment, as while an editor saves the file, changes nothing.
        assert_eq!(told.due(&[], &[], &TimeZone::UTC), [0_usize; 0]);
        assert_eq!(told.due(&changed, &all, &TimeZone::UTC), [0_usize; 0]);
    }
}
