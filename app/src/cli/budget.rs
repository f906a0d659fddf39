//! `netglance budget`.

use std::{io, process::ExitCode};

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use serde::Serialize;

use super::{
    Error, USED_UP, recorded,
    watch::{print, print_json},
};
use crate::{
    base::{
        HAS_WINDOW,
        say::say,
        settings::{Budget, Limit, Per, SettingsFile},
    },
    keep::{
        budget::{self, Spent},
        calendar::Calendar,
        store::{self, Store},
        usage::Usage,
    },
    look::apps::Apps,
};

/// A budget as programs read it. What a budget of a rate doesn't have is null.
#[derive(Serialize)]
struct Json<'a> {
    app: Option<&'a str>,
    limit_bytes: u64,
    per: Option<Per>,
    seconds: Option<u32>,
    metered: bool,
    start: Option<String>,
    end: Option<String>,
    bytes: Option<u64>,
    estimate_bytes: Option<u64>,
    percent: Option<u32>,
    recorded_since: Option<String>,
}

/// Each budget and how far it is. `check`: the exit status says whether one is used up.
pub fn budget(check: bool, json: bool) -> Result<ExitCode, Error> {
    let file = SettingsFile::open();
    if let Some(error) = &file.error {
        // A budget may be what is wrong in it.
        say(error);
        return Ok(ExitCode::FAILURE);
    }
    let settings = file.settings;
    if settings.budgets.is_empty() {
        let window = if HAS_WINDOW { "the settings of the window or in " } else { "" };
        say(format_args!("no budgets are set. Add one in {window}the settings file: man netglance-config"));
        return Ok(ExitCode::SUCCESS);
    }
    let calendar = Calendar::system(settings.billing_day);
    let periods = budget::periods(&settings.budgets, &calendar, Timestamp::now());
    let defined = Apps::new(&settings);
    let mut store = if periods.iter().any(Option::is_some) { open()? } else { None };
    store.iter_mut().for_each(|store| store.define(&defined));
    let began = store.as_ref().map_or(Ok(None), Store::since)?;
    if periods.iter().any(Option::is_some) && began.is_none() {
        return Ok(recorded::nothing(&settings));
    }
    let mut is_used_up = false;
    for (budget, period) in settings.budgets.iter().zip(&periods) {
        let groups = match (&store, period) {
            (Some(store), Some(period)) => store.usage_for(budget, period, &defined)?,
            _ => Vec::new(),
        };
        let (usage, name) = budget::used(budget, &groups);
        let spent = Spent::of(budget, usage.external(), period.as_ref());
        is_used_up |= spent.percent >= 100;
        let began = began.filter(|began| period.as_ref().is_some_and(|period| *began > period.start));
        let goes_on = if json {
            let start = period.as_ref().map(|period| period.start);
            let row = Json::of(budget, &spent, usage, [start, spent.until, began], &calendar.zone);
            let line = serde_json::to_string(&row).map_err(io::Error::from).map_err(Error::io("write JSON"))?;
            print_json(&line)?
        } else {
            let since = began.and_then(|began| Timestamp::from_second(began).ok()).map(|began| {
                let began = ZonedDateTime::new(began, calendar.zone.clone());
                format!("; recorded since {}", began.strftime("%-d %B at %H:%M"))
            });
            let line = budget::terminal_line(budget, &spent, name, settings.unit, &calendar.zone);
            print(&(line + &since.unwrap_or_default()))?
        };
        if !goes_on && !check {
            break;
        }
    }
    Ok(if check && is_used_up { ExitCode::from(USED_UP) } else { ExitCode::SUCCESS })
}

fn open() -> Result<Option<Store>, Error> {
    let path = store::path().ok_or(store::Error::NoPlace)?;
    Ok(Store::read(&path)?)
}

impl<'a> Json<'a> {
    fn of(
        budget: &'a Budget,
        spent: &Spent,
        usage: Usage,
        [start, end, began]: [Option<i64>; 3],
        zone: &TimeZone,
    ) -> Self {
        let (Limit::Usage { bytes: limit_bytes, .. } | Limit::Rate { bytes: limit_bytes, .. }) = budget.limit;
        let time = |secs: Option<i64>| {
            let time = Timestamp::from_second(secs?).ok()?;
            Some(time.display_with_offset(zone.to_offset(time)).to_string())
        };
        Self {
            app: budget.app.as_deref(),
            limit_bytes,
            per: budget.limit.per(),
            seconds: budget.limit.secs(),
            metered: budget.metered,
            start: time(start),
            end: time(end),
            bytes: spent.bytes,
            estimate_bytes: spent.bytes.map(|_| usage.estimate_bytes),
            percent: spent.bytes.map(|_| spent.percent),
            recorded_since: time(began),
        }
    }
}
