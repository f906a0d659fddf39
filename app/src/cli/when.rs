//! Times as people type them: `--since` and `--until`. Pure.

use std::{ops::Range, str::FromStr};

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use jiff::{
    Span, Timestamp, ZonedDateTime,
    civil::{Date, DateTime},
};

use super::completions;
use crate::keep::calendar::{Calendar, Period};

#[derive(Debug, Default, Args)]
pub struct SpanArgs {
    /// Begin at this time: today, yesterday, a time ago (12h, 7d), a day (2026-11-01) or a date and time (2026-11-01T12:00)
    /// [default: the first day of this month]
    #[arg(long, value_name = "TIME", add = ArgValueCandidates::new(completions::times))]
    pub since: Option<When>,
    /// End at this time, in the same forms; a day is included as a whole [default: now]
    #[arg(long, value_name = "TIME", add = ArgValueCandidates::new(completions::times))]
    pub until: Option<When>,
}

/// What somebody typed.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// A day with a name.
    Named(Period),
    /// So long before now.
    Ago(Span),
    /// A time of the local clock.
    Local(DateTime),
    /// An instant, given with its offset.
    At(Timestamp),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "not a time; use today, yesterday, a time ago such as 12h or 7d, a day such as 2026-11-01, or a date and time such \
             as 2026-11-01T12:00"
                .to_owned()
        };
        let named = [("today", Period::Today), ("yesterday", Period::Yesterday)];
        if let Some((_, period)) = named.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
            return Ok(Self::Named(*period));
        }
        if let Ok(span) = text.parse::<Span>() {
            return if span.is_zero() { Err(wrong()) } else { Ok(Self::Ago(span.abs())) };
        }
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        // A date is read from the front of any time as well.
        if text.contains([':', 'T', 't', ' ']) {
            text.parse().map(Self::Local).map_err(|_| wrong())
        } else {
            text.parse().map(|day: Date| Self::Named(Period::Days(day, day))).map_err(|_| wrong())
        }
    }
}

impl When {
    fn span(self, calendar: &Calendar, now: Timestamp) -> Range<i64> {
        let at = |at: Timestamp| at.as_second()..at.as_second();
        match self {
            Self::Named(period) => calendar.span(period, now),
            Self::Ago(ago) => {
                let then = ZonedDateTime::new(now, calendar.zone.clone()).saturating_sub(ago);
                // Nothing older than a day is known to the second.
                let minute = then.timestamp().as_second().div_euclid(60) * 60;
                minute..minute
            }
            Self::Local(time) => at(calendar.zone.to_timestamp(time).unwrap_or(Timestamp::MAX)),
            Self::At(time) => at(time),
        }
    }
}

impl SpanArgs {
    /// From the first second to the last, which is no later than the end of this day. The error is a sentence for the person who
    /// typed it.
    pub fn span(&self, calendar: &Calendar, now: Timestamp) -> Result<Range<i64>, String> {
        let start =
            self.since.map_or_else(|| calendar.span(Period::ThisMonth, now), |since| since.span(calendar, now)).start;
        let until = self.until.unwrap_or(When::Named(Period::Today)).span(calendar, now).end;
        let end = until.min(calendar.span(Period::Today, now).end);
        if start < end {
            return Ok(start..end);
        }
        Err(match self.until {
            Some(_) if until <= start => "--since has to be earlier than --until".to_owned(),
            _ => "--since lies in the future".to_owned(),
        })
    }
}
