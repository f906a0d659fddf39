//! Budgets: how far each is used up, and when and in which words a person hears of that. Pure: reads no clock.

use std::ops::Range;

use jiff::{Timestamp, ZonedDateTime, civil::Date, tz::TimeZone};
use netglance_dbus::text::brief;
use serde::{Deserialize, Serialize};

use super::{
    calendar::{Calendar, Period},
    usage::{Group, Usage, Which},
};
use crate::base::{
    format,
    settings::{Budget, Limit, Per, Unit},
};

/// A person hears of a budget when so many percent of it are used. The last one is when it is used up.
const MARKS: [u32; 2] = [80, 100];
/// Characters of an app's name in a message.
const NAME_CHARS: usize = 60;

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

/// What the history is asked for to know what a budget has used: its groups are those of apps.
pub fn which(budget: &Budget) -> Which {
    Which { metered: budget.metered.then_some(true), ..Which::default() }
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

/// Which rates have been exceeded for how long.
#[derive(Debug, Default)]
pub struct Rates {
    last_ns: Option<u64>,
    runs: Vec<Run>,
}

/// One budget of a rate.
#[derive(Debug)]
struct Run {
    budget: Budget,
    /// Whether the rate is over the limit, and since when without a pause. `None`: not known.
    over: Option<(bool, u64)>,
    /// A person has heard of it, and it has not been below the limit for long enough since.
    told: bool,
}

impl Rates {
    /// Takes in a look, and gives the places of the budgets of which a person should hear now: those whose rate has been over the
    /// limit for the whole time. After that it has to be below for as long before they hear of it again.
    ///
    /// `rate`: external bytes per second, both ways, since the look before; `None`: a gap, in which it is neither over nor below.
    /// What doesn't run moves nothing, which is a rate of 0.
    pub fn look(&mut self, budgets: &[Budget], boottime_ns: u64, rate: impl Fn(&Budget) -> Option<f64>) -> Vec<usize> {
        self.runs.retain(|run| budgets.contains(&run.budget));
        let before_ns = self.last_ns.replace(boottime_ns).unwrap_or(boottime_ns);
        let mut due = Vec::new();
        for (place, budget) in budgets.iter().enumerate() {
            let Limit::Rate { bytes, secs } = budget.limit else { continue };
            let at = self.runs.iter().position(|run| run.budget == *budget);
            let at = at.unwrap_or_else(|| {
                self.runs.push(Run { budget: budget.clone(), over: None, told: false });
                self.runs.len() - 1
            });
            let Some(run) = self.runs.get_mut(at) else { continue };
            if run.look(before_ns, boottime_ns, rate(budget), bytes, secs) {
                due.push(place);
            }
        }
        due
    }
}

impl Run {
    /// Whether a person should hear of it.
    #[expect(clippy::cast_precision_loss, reason = "a rate is no more precise")]
    fn look(&mut self, before_ns: u64, now_ns: u64, rate: Option<f64>, bytes: u64, secs: u32) -> bool {
        let Some(rate) = rate else {
            self.over = None;
            return false;
        };
        let is_over = rate > bytes as f64;
        let since_ns = match self.over {
            Some((was_over, since_ns)) if was_over == is_over => since_ns,
            _ => before_ns,
        };
        self.over = Some((is_over, since_ns));
        if now_ns.saturating_sub(since_ns) < u64::from(secs) * 1_000_000_000 {
            return false;
        }
        let due = is_over && !self.told;
        self.told = is_over;
        due
    }
}

/// What a person is told of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which one.
    pub budget: Budget,
    /// One line.
    pub title: String,
    /// One or two sentences.
    pub text: String,
    /// It should stay until the person has seen it.
    pub urgent: bool,
}

impl Notice {
    /// Of a budget that is due. `name`: what its app is called, where that is known.
    pub fn of(budget: &Budget, spent: &Spent, name: Option<&str>, unit: Unit, zone: &TimeZone) -> Self {
        let who = who(budget, name);
        let (has, is, its) = if budget.app.is_none() { ("have", "are", "their") } else { ("has", "is", "its") };
        let (limit, when) = (limit_text(budget, unit), when(budget));
        let (title, text) = match budget.limit {
            Limit::Usage { bytes: limit_bytes, per } => {
                let used = match spent.percent {
                    ..100 => format!("used {} % of", spent.percent),
                    _ => "used up".to_owned(),
                };
                let preposition = if per == Per::Day { "at" } else { "on" };
                let again = spent.until.map(|until| until_text(per, until, zone));
                let again = again.map(|until| format!(" The budget starts again {preposition} {until}."));
                let figures = figures(spent.bytes.unwrap_or_default(), limit_bytes);
                (format!("{who} {has} {used} {its} {limit}{when}"), format!("{figures}.{}", again.unwrap_or_default()))
            }
            Limit::Rate { secs, .. } => (
                format!("{who} {is} using more than {limit}{when}"),
                format!("Download and upload together have been over this limit for {}.", time(secs)),
            ),
        };
        let urgent = matches!(budget.limit, Limit::Usage { .. }) && spent.percent >= 100;
        Self { budget: budget.clone(), title, text, urgent }
    }
}

/// How far a budget is, for the tray's tooltip and menu: "Budget for StB: 4.1 of 5 GB this month". `None`: a budget of a rate, which is
/// never used up.
pub fn menu_line(budget: &Budget, spent: &Spent, name: Option<&str>) -> Option<String> {
    let whose = budget.app.as_ref().map(|_| format!(" for {}", who(budget, name)));
    Some(format!("Budget{}: {}", whose.unwrap_or_default(), progress(budget, spent)?))
}

/// The same for the terminal: "StB: 4.1 of 5 GB this month (82 %), until 1 December".
pub fn terminal_line(budget: &Budget, spent: &Spent, name: Option<&str>, unit: Unit, zone: &TimeZone) -> String {
    let who = who(budget, name);
    match budget.limit {
        Limit::Usage { per, .. } => {
            let progress = progress(budget, spent).unwrap_or_default();
            let until = spent.until.map(|until| format!(", until {}", until_text(per, until, zone)));
            format!("{who}: {progress} ({} %){}", spent.percent, until.unwrap_or_default())
        }
        Limit::Rate { secs, .. } => {
            let (limit, time, when) = (limit_text(budget, unit), time(secs), when(budget));
            format!("{who}: not more than {limit} for {time}{when} (watched while netglance is running)")
        }
    }
}

/// "4.1 of 5 GB this month"
fn progress(budget: &Budget, spent: &Spent) -> Option<String> {
    let Limit::Usage { bytes: limit_bytes, .. } = budget.limit else { return None };
    Some(format!("{}{}", figures(spent.bytes?, limit_bytes), when(budget)))
}

/// "4.1 of 5 GB", "412 MB of 5 GB"
fn figures(bytes: u64, limit_bytes: u64) -> String {
    let [bytes, limit] = [bytes, limit_bytes].map(|bytes| format::trimmed(&format::bytes(bytes)));
    match (bytes.split_once(' '), limit.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {limit}"),
        _ => format!("{bytes} of {limit}"),
    }
}

/// "5 GB", "1 MB/s"
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn limit_text(budget: &Budget, unit: Unit) -> String {
    format::trimmed(&match budget.limit {
        Limit::Usage { bytes, .. } => format::bytes(bytes),
        Limit::Rate { bytes, .. } => format::rate(bytes as f64, unit),
    })
}

fn who(budget: &Budget, name: Option<&str>) -> String {
    match &budget.app {
        None => "All applications".to_owned(),
        Some(app) => brief(name.unwrap_or(app), NAME_CHARS).into_owned(),
    }
}

/// " this month on metered networks"; nothing for a rate on all networks
fn when(budget: &Budget) -> String {
    let period = match budget.limit.per() {
        Some(Per::Day) => " today",
        Some(Per::Week) => " this week",
        Some(Per::Month) => " this month",
        None => "",
    };
    format!("{period}{}", if budget.metered { " on metered networks" } else { "" })
}

/// "midnight", "Monday, 30 November", "1 December"
fn until_text(per: Per, until: i64, zone: &TimeZone) -> String {
    let format = match per {
        Per::Day => return "midnight".to_owned(),
        Per::Week => "%A, %-d %B",
        Per::Month => "%-d %B",
    };
    day(until, zone).map(|day| day.strftime(format).to_string()).unwrap_or_default()
}

fn day(secs: i64, zone: &TimeZone) -> Option<Date> {
    Timestamp::from_second(secs).ok().map(|time| ZonedDateTime::new(time, zone.clone()).date())
}

/// "1 second", "90 seconds", "5 minutes", "1 hour"
fn time(secs: u32) -> String {
    let (number, unit) = match secs {
        secs if secs >= 3600 && secs.is_multiple_of(3600) => (secs / 3600, "hour"),
        secs if secs >= 120 && secs.is_multiple_of(60) => (secs / 60, "minute"),
        secs => (secs, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
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
        assert_eq!((which(&metered).metered, which(&usage(None, GB, Per::Day)).metered), (Some(true), None));
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

    /// When a person hears of 1 kB/s for 3 s, with a look each half second. `.`: below, `#`: over, ` `: a gap.
    fn heard(looks: &str) -> String {
        let budgets = [usage(None, 1, Per::Day), rate(None, 1000, 3)];
        let mut rates = Rates::default();
        let look = |(at, look): (usize, char)| {
            let rate = match look {
                '.' => Some(1000.0),
                '#' => Some(1000.1),
                _ => None,
            };
            let due = rates.look(&budgets, 7 + u64::try_from(at).unwrap() * 500_000_000, |_| rate);
            assert!(due.is_empty() || due == [1]);
            if due.is_empty() { '.' } else { '!' }
        };
        looks.chars().enumerate().map(look).collect()
    }

    #[test]
    fn a_rate_has_to_be_over_for_the_whole_time_and_below_for_as_long_before_it_is_said_again() {
        for (looks, expected) in [
            ("......", "......"),
            (".#####..", "........"),
            (".######..", "......!.."),
            ("#######", "......!"),
            ("#######################", "......!................"),
            // Below for too short a time, then for long enough.
            ("#######.....######", "......!..........."),
            ("#######......######", "......!...........!"),
            ("#######..#...#......######", "......!..................!"),
            // A gap is neither.
            (".#### ######", "...........!"),
            (".### ###", "........"),
            ("#######         ######", "......!..............."),
            ("#######...   ...######", "......!..............."),
            (" ######", "......!"),
        ] {
            assert_eq!(heard(looks), expected, "{looks:?}");
        }
    }

    #[test]
    fn each_rate_is_on_its_own_and_a_changed_one_begins_anew() {
        let budgets = [rate(Some("a"), 1000, 2), rate(Some("b"), 1000, 2)];
        let mut rates = Rates::default();
        let busy = |budget: &Budget| Some(if budget.app.as_deref() == Some("b") { 2000.0 } else { 0.0 });
        let secs = |secs: u64| secs * 1_000_000_000;
        assert_eq!(rates.look(&budgets, secs(10), busy), [0_usize; 0]);
        assert_eq!(rates.look(&budgets, secs(12), busy), [1]);
        let changed = [rate(Some("b"), 1500, 2), budgets[0].clone()];
        assert_eq!(rates.look(&changed, secs(13), busy), [0_usize; 0]);
        assert_eq!(rates.look(&changed, secs(14), busy), [0]);
        assert_eq!(rates.runs.len(), 2);
    }

    #[test]
    fn the_words_are_those_of_a_person() {
        let check = |budget: &Budget, bytes: u64, name: Option<&str>, expected: [&str; 4]| {
            let spent = Spent::of(budget, bytes, Some(&(0..DECEMBER)));
            let notice = Notice::of(budget, &spent, name, Unit::Bytes, &TimeZone::UTC);
            let menu = menu_line(budget, &spent, name).unwrap_or_default();
            let terminal = terminal_line(budget, &spent, name, Unit::Bytes, &TimeZone::UTC);
            assert_eq!([&notice.title, &notice.text, &menu, &terminal].map(String::as_str), expected);
            assert_eq!(notice.urgent, spent.percent >= 100);
        };
        check(
            &usage(Some("StB"), 5 * GB, Per::Month),
            4_100_000_000,
            Some("StB"),
            [
                "StB has used 82 % of its 5 GB this month",
                "4.1 of 5 GB. The budget starts again on 1 December.",
                "Budget for StB: 4.1 of 5 GB this month",
                "StB: 4.1 of 5 GB this month (82 %), until 1 December",
            ],
        );
        check(
            &usage(None, 5 * GB, Per::Week),
            5_020_000_000,
            None,
            [
                "All applications have used up their 5 GB this week",
                "5.02 of 5 GB. The budget starts again on Tuesday, 1 December.",
                "Budget: 5.02 of 5 GB this week",
                "All applications: 5.02 of 5 GB this week (100 %), until Tuesday, 1 December",
            ],
        );
        check(
            &Budget { metered: true, ..usage(Some("mail"), GB, Per::Day) },
            812_000_000,
            None,
            [
                "mail has used 81 % of its 1 GB today on metered networks",
                "812 MB of 1 GB. The budget starts again at midnight.",
                "Budget for mail: 812 MB of 1 GB today on metered networks",
                "mail: 812 MB of 1 GB today on metered networks (81 %), until midnight",
            ],
        );
        check(
            &rate(Some("a\u{202e}b"), 1_500_000, 60),
            0,
            None,
            [
                "a\u{FFFD}b is using more than 1.5 MB/s",
                "Download and upload together have been over this limit for 60 seconds.",
                "",
                "a\u{FFFD}b: not more than 1.5 MB/s for 60 seconds (watched while netglance is running)",
            ],
        );
        check(
            &Budget { metered: true, ..rate(None, 1_000_000, 3600) },
            0,
            None,
            [
                "All applications are using more than 1 MB/s on metered networks",
                "Download and upload together have been over this limit for 1 hour.",
                "",
                "All applications: not more than 1 MB/s for 1 hour on metered networks (watched while netglance is running)",
            ],
        );
        assert_eq!([1, 90, 120, 300, 7200].map(time), ["1 second", "90 seconds", "2 minutes", "5 minutes", "2 hours"]);
    }
}
