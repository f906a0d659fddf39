//! What a person reads about a budget. Pure: reads no clock.

use jiff::tz::TimeZone;
use netglance_dbus::text::brief;

use super::{Spent, day};
use crate::base::{
    format,
    settings::{Budget, Limit, Per, Unit},
};

/// Characters of an app's name in a message.
const NAME_CHARS: usize = 60;

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
                let again = spent.until.map(|until| again_text(per, until, zone));
                let again = again.map(|again| format!(" The budget starts again {again}."));
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

/// The same for the terminal: "StB: 4.1 of 5 GB this month (82 %), starts again on 1 December".
pub fn terminal_line(budget: &Budget, spent: &Spent, name: Option<&str>, unit: Unit, zone: &TimeZone) -> String {
    let who = who(budget, name);
    match budget.limit {
        Limit::Usage { per, .. } => {
            let progress = progress(budget, spent).unwrap_or_default();
            let again = spent.until.map(|until| format!(", starts again {}", again_text(per, until, zone)));
            format!("{who}: {progress} ({} %){}", spent.percent, again.unwrap_or_default())
        }
        Limit::Rate { secs, .. } => {
            let (limit, time, when) = (limit_text(budget, unit), time(secs), when(budget));
            format!("{who}: warns above {limit} for {time}{when} (only while netglance is running)")
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

/// "at midnight", "on Monday, 30 November", "on 1 December"
fn again_text(per: Per, until: i64, zone: &TimeZone) -> String {
    let format = match per {
        Per::Day => return "at midnight".to_owned(),
        Per::Week => "on %A, %-d %B",
        Per::Month => "on %-d %B",
    };
    day(until, zone).map(|day| day.strftime(format).to_string()).unwrap_or_default()
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

    const GB: u64 = 1_000_000_000;
    /// 1 December 2026, 0:00 in UTC.
    const DECEMBER: i64 = 1_796_083_200;

    fn usage(app: Option<&str>, bytes: u64, per: Per) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Usage { bytes, per }, metered: false }
    }

    fn rate(app: Option<&str>, bytes: u64, secs: u32) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Rate { bytes, secs }, metered: false }
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
                "StB: 4.1 of 5 GB this month (82 %), starts again on 1 December",
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
                "All applications: 5.02 of 5 GB this week (100 %), starts again on Tuesday, 1 December",
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
                "mail: 812 MB of 1 GB today on metered networks (81 %), starts again at midnight",
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
                "a\u{FFFD}b: warns above 1.5 MB/s for 60 seconds (only while netglance is running)",
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
                "All applications: warns above 1 MB/s for 1 hour on metered networks (only while netglance is running)",
            ],
        );
        assert_eq!([1, 90, 120, 300, 7200].map(time), ["1 second", "90 seconds", "2 minutes", "5 minutes", "2 hours"]);
    }
}
