//! What of the recorded past a command is about: the apps or units that its arguments name, and the time.

use std::{ops::Range, process::ExitCode};

use clap::{CommandFactory as _, error::ErrorKind};
use jiff::{Timestamp, ZonedDateTime};
use netglance_dbus::{cgroup::Tree, text::printable};

use super::{Cli, Error, NOTHING_MATCHES, TargetArgs, when::SpanArgs};
use crate::{
    base::{
        HAS_WINDOW,
        say::say,
        settings::{Settings, SettingsFile},
    },
    keep::{
        calendar::{Calendar, Every, Period},
        store::{self, Store},
        usage::{By, Which},
    },
    look::{
        apps::Apps,
        target::{Target, cgroup_path},
    },
};

/// Names that are offered instead of one that nothing is called by.
const MOST_NEAR: usize = 5;

/// What is asked for, and where it is.
pub struct Recorded {
    pub store: Store,
    pub settings: Settings,
    pub calendar: Calendar,
    pub which: Which,
    /// What a person reads.
    pub name: String,
    /// The app's id, where it is one app's.
    pub app: Option<String>,
    /// In seconds since 1970. Its end may lie in the future, but not after today.
    pub span: Range<i64>,
    /// When the recording began.
    pub began: i64,
    pub now: Timestamp,
}

/// Says that nothing is recorded, and why.
pub fn nothing(settings: &Settings) -> ExitCode {
    say(match settings.record {
        true if HAS_WINDOW => {
            "nothing has been recorded yet. netglance records only while it is running, as a tray icon or a window."
        }
        true => {
            "nothing has been recorded, and this build of netglance doesn't record. `netglance metrics` gives the figures to Prometheus, which does."
        }
        false => "nothing is recorded: recording is off. Turn it on in the settings.",
    });
    ExitCode::from(NOTHING_MATCHES)
}

impl Recorded {
    /// Finds it. An exit status: there is nothing, which has been said.
    pub fn find(target: &TargetArgs, span: &SpanArgs) -> Result<Result<Self, ExitCode>, Error> {
        let file = SettingsFile::open();
        if let Some(error) = &file.error {
            say(format_args!("{error}. The default settings are used."));
        }
        let settings = file.settings;
        let calendar = Calendar::system(settings.billing_day);
        let now = Timestamp::now();
        let span = match span.span(&calendar, now) {
            Ok(span) => span,
            Err(why) => Cli::command().error(ErrorKind::ValueValidation, why).exit(),
        };
        let mut store = match store::path() {
            Some(path) => Store::read(&path)?,
            None => return Err(store::Error::NoPlace.into()),
        };
        if let Some(store) = &mut store {
            store.define(&Apps::new(&settings));
        }
        let began = store.as_ref().map_or(Ok(None), Store::since)?;
        let (Some(store), Some(began)) = (store, began) else {
            return Ok(Err(nothing(&settings)));
        };
        let which = Which::default();
        let all =
            Self { store, settings, calendar, which, name: "all applications".to_owned(), app: None, span, began, now };
        all.narrowed(target)
    }

    /// Narrows it down to what the arguments name, as far as anything of that is recorded.
    fn narrowed(mut self, target: &TargetArgs) -> Result<Result<Self, ExitCode>, Error> {
        if target.is_empty() {
            return Ok(Ok(self));
        }
        let near = match &target.app {
            Some(wanted) => self.choose_app(wanted)?,
            None => self.choose_units(target)?,
        };
        let Some(near) = near else { return Ok(Ok(self)) };
        let wanted =
            target.app.iter().chain(&target.unit).chain(&target.cgroup).map(String::as_str).collect::<Vec<_>>();
        let near: Vec<_> = near.iter().take(MOST_NEAR).map(|name| printable(name)).collect();
        let near = if near.is_empty() { String::new() } else { format!(" Similar names: {}.", near.join(", ")) };
        say(format_args!("nothing is recorded for {}.{near}", printable(&wanted.join(" "))));
        Ok(Err(ExitCode::from(NOTHING_MATCHES)))
    }

    /// Chooses the app with this id, or every one with this name. If there is none, returns similar names.
    fn choose_app(&mut self, wanted: &str) -> Result<Option<Vec<String>>, Error> {
        let mut apps = self.store.apps()?;
        let is_called = |(id, name): &&(String, String)| [id, name].iter().any(|n| n.eq_ignore_ascii_case(wanted));
        if !apps.iter().any(|app| is_called(&app)) {
            // It may be a part of another one by now.
            let as_recorded = Which { as_recorded: true, ..Which::default() };
            let recorded = self.store.apps_of(&as_recorded)?;
            if recorded.iter().any(|app| is_called(&app)) {
                (apps, self.which.as_recorded) = (recorded, true);
            }
        }
        let chosen: Vec<_> = match apps.iter().find(|(id, _)| id == wanted) {
            Some(app) => vec![app],
            None => apps.iter().filter(is_called).collect(),
        };
        let Some((id, name)) = chosen.first() else {
            let mut near: Vec<_> = apps
                .iter()
                .flat_map(|(id, name)| [id, name])
                .map(|name| (strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase()), name))
                .filter(|(likeness, _)| *likeness > 0.8)
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
            near.dedup_by(|a, b| a.1 == b.1);
            return Ok(Some(near.into_iter().map(|(_, name)| name.clone()).collect()));
        };
        self.name.clone_from(name);
        self.app = (chosen.len() == 1).then(|| id.clone());
        self.which.apps = chosen.iter().map(|(id, _)| id.clone()).collect();
        Ok(None)
    }

    /// The same for units and cgroups.
    fn choose_units(&mut self, TargetArgs { unit, cgroup, .. }: &TargetArgs) -> Result<Option<Vec<String>>, Error> {
        let mount = match cgroup.is_empty() {
            true => String::new(),
            false => Tree::open().map(|tree| tree.mount().to_string_lossy().into_owned()).unwrap_or_default(),
        };
        let bad = unit.iter().find_map(|p| Some((p.clone(), glob::Pattern::new(p).err()?)));
        if let Some((pattern, source)) = bad {
            return Err(Error::Pattern { pattern, source });
        }
        self.name = [unit.as_slice(), cgroup].concat().join(" ");
        self.which.units.clone_from(unit);
        self.which.cgroups = cgroup.iter().map(|cgroup| cgroup_path(cgroup, &mount)).collect();
        let ever = [self.began, self.span.end.max(self.now.as_second()).saturating_add(1)];
        if !self.store.usage(&ever, &self.which, By::Unit)?.is_empty() {
            return Ok(None);
        }
        let units = self.store.usage(&ever, &Which::default(), By::Unit)?;
        let paths: Vec<_> = units.iter().filter_map(|group| Some(format!("/{}", group.unit.as_ref()?))).collect();
        let target = Target::selection(unit, cgroup, &mount).ok();
        let near = target.iter().flat_map(|target| target.near(paths.iter().map(String::as_str)));
        Ok(Some(near.map(str::to_owned).collect()))
    }

    /// Says that nothing is known of the span.
    pub fn say_nothing(&self) {
        let began = self.time(self.began, "%Y-%m-%d at %H:%M");
        say(format_args!("nothing was recorded in this period. Recording began on {began}."));
    }

    /// A time as the local clock shows it.
    pub fn time(&self, secs: i64, format: &str) -> String {
        let time = Timestamp::from_second(secs).unwrap_or(self.now);
        ZonedDateTime::new(time, self.calendar.zone.clone()).strftime(format).to_string()
    }

    /// The edges of the slots from the beginning of the recording, if that is later, to the one that has begun.
    pub fn edges(&self, every: Every) -> Vec<i64> {
        let now = self.now.as_second();
        let month = self.calendar.span(Period::ThisMonth, Timestamp::from_second(self.began).unwrap_or(self.now)).start;
        let mut edges = self.calendar.edges(self.span.start.max(month).min(self.span.end)..self.span.end, every);
        edges.truncate(edges.partition_point(|edge| *edge <= now).saturating_add(1).max(2));
        let began = edges.partition_point(|edge| *edge <= self.began).saturating_sub(1);
        edges.drain(..began.min(edges.len().saturating_sub(2)));
        edges
    }
}
