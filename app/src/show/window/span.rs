//! Which time the charts show: the last minutes, which the window keeps itself, or a part of the recorded past, which it asks the
//! program for. Pure: knows no clock and draws nothing.

use jiff::Timestamp;

use crate::{
    keep::{
        calendar::{Calendar, Every, Period},
        history::KEPT_SECS,
        usage::{Group, Slot},
    },
    show::{
        chart,
        update::{Past, PastQuery},
    },
};

/// A span that can be chosen.
pub struct Span {
    /// From edge to edge.
    pub minutes: u32,
    /// On its button.
    pub short: &'static str,
    /// As one says it.
    pub name: &'static str,
}

const fn span(minutes: u32, short: &'static str, name: &'static str) -> Span {
    Span { minutes, short, name }
}

/// All there are, the shortest first.
pub const SPANS: [Span; 8] = [
    span(1, "1 min", "1 minute"),
    span(5, "5 min", "5 minutes"),
    span(15, "15 min", "15 minutes"),
    span(60, "1 h", "1 hour"),
    span(24 * 60, "24 h", "24 hours"),
    span(7 * 24 * 60, "7 d", "7 days"),
    span(30 * 24 * 60, "30 d", "30 days"),
    span(365 * 24 * 60, "1 y", "1 year"),
];

const DAY_SECS: f64 = 86_400.0;
/// What zooming leads to at most.
const SPAN_SECS: std::ops::RangeInclusive<f64> = 60.0..=5.0 * 365.0 * DAY_SECS;
/// So much of the span is asked for beyond either edge, so that there is something to pan to.
const MARGIN: f64 = 0.5;
/// An answer that has not come with so many updates was lost.
const ANSWER_WITHIN: u32 = 20;

/// A part of time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    /// From edge to edge.
    secs: f64,
    /// The right edge, in seconds since 1970. `None`: now, and on with it.
    to: Option<f64>,
}

/// What a chart has to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source<'a> {
    /// What the window keeps itself.
    Live,
    /// What was recorded. Empty: the app moved nothing.
    Slots(&'a [Slot], Every),
    /// Nothing yet.
    Loading,
    /// Nothing, and why.
    Nothing(&'a str),
    /// Nothing, because nothing has been recorded yet.
    Unrecorded,
}

/// What was asked for, and what has come.
pub struct TimeView {
    /// The ids of the apps that are shown.
    apps: Vec<String>,
    chosen_min: u32,
    /// What is wished for.
    view: View,
    /// What is shown until that can be.
    shown: Option<View>,
    /// What the program answers until it is asked for something else.
    query: Option<PastQuery>,
    /// So many updates have come since it was asked. `None`: it has answered.
    waiting: Option<u32>,
    past: Option<Past>,
}

impl Default for TimeView {
    fn default() -> Self {
        let view = View { secs: 60.0, to: None };
        Self { apps: Vec::new(), chosen_min: 1, view, shown: None, query: None, waiting: None, past: None }
    }
}

impl TimeView {
    /// The chosen span, and whether it is still the one that is shown.
    pub fn chosen(&self) -> (u32, bool) {
        (self.chosen_min, self.view.secs == f64::from(self.chosen_min) * 60.0)
    }

    /// Shows the last minutes, as many as these. Whether others were chosen before.
    pub fn choose(&mut self, minutes: u32) -> bool {
        self.view = View { secs: f64::from(minutes) * 60.0, to: None };
        std::mem::replace(&mut self.chosen_min, minutes) != minutes
    }

    /// Whether the right edge is now.
    pub fn is_at_now(&self) -> bool {
        self.view.to.is_none()
    }

    /// Back to now, and from there to the chosen span.
    pub fn home(&mut self) {
        match self.view.to {
            Some(_) => self.view.to = None,
            None => self.view.secs = f64::from(self.chosen_min) * 60.0,
        }
    }

    /// Moves by so many seconds; less than 0: into the past.
    pub fn pan(&mut self, secs: f64, now: Timestamp, calendar: &Calendar) {
        let (_, to) = self.edges_of(self.view, now, calendar);
        self.go_to(to + secs, now, calendar);
    }

    /// Makes the span so many times shorter. `at` stays where it is; `None`: the middle, or now.
    pub fn zoom(&mut self, factor: f64, at: Option<f64>, now: Timestamp, calendar: &Calendar) {
        let (from, to) = self.edges_of(self.view, now, calendar);
        let at = at.unwrap_or(if self.is_at_now() { to } else { f64::midpoint(from, to) });
        let secs = (self.view.secs / factor).clamp(*SPAN_SECS.start(), *SPAN_SECS.end());
        let share = (to - at) / (to - from);
        self.view.secs = secs;
        self.go_to(at + share * secs, now, calendar);
    }

    /// Puts the right edge there, but not beyond now, nor the left one further before the beginning of the recording than the span.
    fn go_to(&mut self, to: f64, now: Timestamp, calendar: &Calendar) {
        let latest = latest(self.view.secs, now, calendar);
        // What the window keeps itself may be older than the recording.
        let kept = chart::seconds(now) - KEPT_SECS as f64 + self.view.secs;
        let since = self.past.as_ref().map(|past| past.since.map_or(kept, |since| (since as f64).min(kept)));
        let to = since.map_or(to, |since| to.max(since));
        self.view.to = Some(to).filter(|to| *to < latest - self.view.secs * 1e-4);
    }

    /// Whether what is shown goes on with time.
    pub fn follows(&self) -> bool {
        self.shown.unwrap_or(self.view).to.is_none()
    }

    /// The edges of what is shown now, in seconds since 1970.
    pub fn edges(&self, now: Timestamp, calendar: &Calendar) -> (f64, f64) {
        self.edges_of(self.shown.unwrap_or(self.view), now, calendar)
    }

    fn edges_of(&self, view: View, now: Timestamp, calendar: &Calendar) -> (f64, f64) {
        let Some(to) = view.to else {
            let to = latest(view.secs, now, calendar);
            return (whole(to - view.secs, view.secs, calendar), to);
        };
        (to - view.secs, to)
    }

    /// Takes the program's answer. `held`: the picture stands still, so that only the first answer counts.
    pub fn receive(&mut self, past: Option<&Past>, held: bool) {
        if held && self.waiting.is_none() {
            return;
        }
        self.waiting = self.waiting.map(|updates| updates + 1);
        if let Some(past) = past.filter(|past| Some(&past.query) == self.query.as_ref()) {
            self.waiting = None;
            if self.past.as_ref() != Some(past) {
                self.past = Some(past.clone());
            }
        } else if self.waiting > Some(ANSWER_WITHIN) {
            self.query = None;
            self.waiting = None;
        }
    }

    /// What the program has to be asked for now, so that these apps can be shown. `Some(None)`: nothing any more.
    #[expect(clippy::option_option, reason = "whether to ask, and what for")]
    pub fn ask(&mut self, apps: &[String], now: Timestamp, calendar: &Calendar) -> Option<Option<PastQuery>> {
        if self.apps != apps {
            self.apps = apps.to_vec();
        }
        let (from, to) = self.edges_of(self.view, now, calendar);
        if is_live(from, now) {
            self.shown = Some(self.view);
            self.waiting = None;
            return self.query.take().map(|_| None);
        }
        let every = every(from, to, now);
        let same = |query: &PastQuery| query.apps == apps && query.every == every;
        let answered = self.past.as_ref().is_some_and(|past| same(&past.query));
        let has_nothing = |shown| self.source_of(shown, now, calendar) == Source::Loading;
        if answered || self.shown.is_none_or(has_nothing) {
            self.shown = Some(self.view);
        }
        let covers = |query: &PastQuery| {
            let (edge, slot) = (if self.is_at_now() { chart::seconds(now) } else { to }, slot_secs(every));
            query.from as f64 + slot <= from && edge <= query.to as f64 - slot
        };
        let query = self.query.as_ref();
        // While it answers the same question about another time, the picture waits.
        if query.is_some_and(|query| same(query) && (covers(query) || self.waiting.is_some())) {
            return None;
        }
        let margin = ((to - from) * MARGIN).max(2.0 * slot_secs(every));
        #[expect(clippy::cast_possible_truncation, reason = "some thousand years at most")]
        let (from, to) = ((from - margin).floor() as i64, (to + margin).ceil() as i64);
        self.query = Some(PastQuery { apps: apps.to_vec(), from, to, every });
        self.waiting = Some(0);
        Some(self.query.clone())
    }

    /// What the chart of an app has to draw.
    pub fn source(&self, app: &str, now: Timestamp, calendar: &Calendar) -> Source<'_> {
        match self.source_of(self.shown.unwrap_or(self.view), now, calendar) {
            Source::Slots(_, every) => {
                let groups =
                    self.past.as_ref().and_then(|past| past.groups.as_ref().ok()).map_or(&[][..], Vec::as_slice);
                Source::Slots(slots(groups, app), every)
            }
            other => other,
        }
    }

    fn source_of(&self, view: View, now: Timestamp, calendar: &Calendar) -> Source<'_> {
        let (from, to) = self.edges_of(view, now, calendar);
        if is_live(from, now) {
            return Source::Live;
        }
        let wanted = every(from, to, now);
        match self.past.as_ref().filter(|past| past.query.apps == self.apps && past.query.every == wanted) {
            None => Source::Loading,
            Some(Past { groups: Err(why), .. }) => Source::Nothing(why),
            Some(Past { since: None, .. }) => Source::Unrecorded,
            Some(_) => Source::Slots(&[], wanted),
        }
    }
}

/// The slots of an app. The first and the last of a query are only parts of slots.
fn slots<'a>(groups: &'a [Group], app: &str) -> &'a [Slot] {
    let group = groups.iter().find(|group| group.app == app);
    group.map_or(&[], |group| match group.slots.as_slice() {
        [_, whole @ .., _] => whole,
        _ => &[],
    })
}

/// Whether the window keeps all of it itself.
fn is_live(from: f64, now: Timestamp) -> bool {
    chart::seconds(now) - from <= KEPT_SECS as f64 - 5.0
}

#[expect(clippy::cast_possible_truncation, reason = "some thousand years at most")]
fn every(from: f64, to: f64, now: Timestamp) -> Every {
    chart::every((to - from).floor() as i64, (chart::seconds(now) - from).floor() as i64)
}

/// At most so long is a slot.
fn slot_secs(every: Every) -> f64 {
    match every {
        Every::Secs(secs) => f64::from(secs),
        Every::Hour => 2.0 * 3600.0,
        Every::Day => 26.0 * 3600.0,
        Every::Month => 32.0 * DAY_SECS,
    }
}

/// Where a span that goes on with time ends: now, or where the bar in progress does.
fn latest(secs: f64, now: Timestamp, calendar: &Calendar) -> f64 {
    let period = match bars(secs) {
        Some(Every::Month) => Period::ThisMonth,
        Some(_) => Period::Today,
        None => return chart::seconds(now),
    };
    calendar.span(period, now).end as f64
}

#[expect(clippy::cast_possible_truncation, reason = "some years")]
fn bars(secs: f64) -> Option<Every> {
    Some(chart::every(secs.floor() as i64, 0)).filter(|every| chart::are_bars(*every))
}

/// The beginning of the bar that is nearest, where there are bars.
#[expect(clippy::cast_possible_truncation, reason = "a time")]
fn whole(from: f64, secs: f64, calendar: &Calendar) -> f64 {
    let Some(every) = bars(secs) else { return from };
    let (earliest, last) = (from - slot_secs(every), from + slot_secs(every));
    let edges = calendar.edges(earliest.floor() as i64..last.ceil() as i64, every);
    let within = edges.get(1..edges.len().saturating_sub(1)).unwrap_or_default().iter().map(|edge| *edge as f64);
    within.min_by(|a, b| (a - from).abs().total_cmp(&(b - from).abs())).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use jiff::{civil::Weekday, tz::TimeZone};

    use super::*;

    fn calendar() -> Calendar {
        Calendar { zone: TimeZone::get("Europe/Berlin").unwrap(), first_weekday: Weekday::Monday, billing_day: 1 }
    }

    fn now() -> Timestamp {
        "2026-11-27T13:05:00Z".parse().unwrap()
    }

    fn local(secs: f64) -> String {
        #[expect(clippy::cast_possible_truncation, reason = "a time")]
        let time = Timestamp::from_second(secs.round() as i64).unwrap();
        jiff::ZonedDateTime::new(time, calendar().zone).strftime("%Y-%m-%d %H:%M").to_string()
    }

    fn shown(view: &TimeView) -> String {
        let (from, to) = view.edges_of(view.view, now(), &calendar());
        format!("{} to {}", local(from), local(to))
    }

    fn answer(view: &mut TimeView, since: Option<i64>) {
        let query = view.query.clone().unwrap();
        let edges = calendar().edges(query.from..query.to, query.every);
        let slots = edges.windows(2).map(|pair| Slot { start: pair[0], end: pair[1], ..Slot::default() }).collect();
        let groups = Ok(vec![Group { app: "a".into(), slots, ..Group::default() }]);
        view.receive(Some(&Past { query, groups, since }), false);
    }

    #[test]
    fn a_span_ends_now_or_with_the_bar_in_progress() {
        let mut view = TimeView::default();
        for (minutes, expected) in [
            (1, "2026-11-27 14:04 to 2026-11-27 14:05"),
            (24 * 60, "2026-11-26 14:05 to 2026-11-27 14:05"),
            // Over the day of 25 hours.
            (30 * 24 * 60, "2026-10-29 00:00 to 2026-11-28 00:00"),
            (365 * 24 * 60, "2025-12-01 00:00 to 2026-12-01 00:00"),
        ] {
            view.choose(minutes);
            assert_eq!(shown(&view), expected);
        }
    }

    #[test]
    fn panning_ends_at_now_and_before_the_recording() {
        let (mut view, apps) = (TimeView::default(), ["a".to_owned()]);
        view.choose(60);
        assert!(view.ask(&apps, now(), &calendar()).is_some());
        let since = "2026-11-27T09:00:00Z".parse::<Timestamp>().unwrap().as_second();
        answer(&mut view, Some(since));
        for (secs, expected) in [
            (-1800.0, "2026-11-27 12:35 to 2026-11-27 13:35"),
            (-1e9, "2026-11-27 09:00 to 2026-11-27 10:00"),
            (600.0, "2026-11-27 09:10 to 2026-11-27 10:10"),
            (1e9, "2026-11-27 13:05 to 2026-11-27 14:05"),
        ] {
            view.pan(secs, now(), &calendar());
            assert_eq!(shown(&view), expected);
        }
        assert!(view.is_at_now());
    }

    #[test]
    fn zooming_keeps_what_is_under_the_pointer() {
        let mut view = TimeView::default();
        view.choose(24 * 60);
        let at = "2026-11-27T07:05:00Z".parse().unwrap();
        view.zoom(2.0, Some(chart::seconds(at)), now(), &calendar());
        assert_eq!(shown(&view), "2026-11-26 23:05 to 2026-11-27 11:05");
        view.zoom(0.5, Some(chart::seconds(at)), now(), &calendar());
        assert_eq!(shown(&view), "2026-11-26 14:05 to 2026-11-27 14:05");
        assert!(view.is_at_now(), "and goes on with it");
        view.zoom(2.0, None, now(), &calendar());
        assert_eq!((shown(&view).as_str(), view.is_at_now()), ("2026-11-27 02:05 to 2026-11-27 14:05", true));
        view.home();
        assert_eq!((shown(&view).as_str(), view.chosen()), ("2026-11-26 14:05 to 2026-11-27 14:05", (24 * 60, true)));
    }

    #[test]
    fn one_question_is_asked_at_a_time() {
        let (mut view, apps, calendar) = (TimeView::default(), ["a".to_owned()], calendar());
        assert_eq!(view.ask(&apps, now(), &calendar), None, "the last minutes are here");
        view.choose(60);
        let first = view.ask(&apps, now(), &calendar).flatten().unwrap();
        assert_eq!(first.every, Every::Secs(10));
        assert_eq!(view.source("a", now(), &calendar), Source::Live, "until it is answered");
        for _ in 0..30 {
            view.pan(-600.0, now(), &calendar);
            assert_eq!(view.ask(&apps, now(), &calendar), None);
        }
        answer(&mut view, Some(0));
        let second = view.ask(&apps, now(), &calendar).flatten().unwrap();
        assert!(second.to < first.from);
        assert!(matches!(
            view.source("a", now(), &calendar),
            Source::Slots([], Every::Secs(10)) | Source::Slots([_, ..], _)
        ));
        answer(&mut view, Some(0));
        // A little further is covered.
        view.pan(-600.0, now(), &calendar);
        assert_eq!(view.ask(&apps, now(), &calendar), None);
        // Another division is another question, and the picture stays.
        let edges = view.edges(now(), &calendar);
        view.choose(365 * 24 * 60);
        assert_eq!(view.ask(&apps, now(), &calendar).flatten().unwrap().every, Every::Month);
        assert_eq!(view.edges(now(), &calendar), edges);
        answer(&mut view, Some(0));
        assert_eq!(view.ask(&apps, now(), &calendar), None);
        let Source::Slots(months, Every::Month) = view.source("a", now(), &calendar) else { panic!() };
        assert!(months.len() >= 12, "{}", months.len());
        // One that is lost is asked again.
        view.choose(60);
        assert!(view.ask(&apps, now(), &calendar).is_some());
        (0..=ANSWER_WITHIN).for_each(|_| view.receive(None, false));
        assert!(view.ask(&apps, now(), &calendar).is_some());
        view.choose(1);
        assert_eq!(view.ask(&apps, now(), &calendar), Some(None));
        assert_eq!(view.ask(&apps, now(), &calendar), None);
    }
}
