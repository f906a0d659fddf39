//! Looks when somebody asks, and tells what was counted so far.
//!
//! The helper's counters go on without being looked at, so between two questions there is little to do: once in a while a look sees
//! which cgroups are new and whether counting goes on. An estimate has to look often, or it misses connections.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use netglance_dbus::owner;

use super::{
    series::{Series, Whose},
    text::{self, Budget, Format, Page},
};
use crate::{
    base::settings::{self, Limit},
    keep::{
        budget,
        calendar::Calendar,
        store::{self, Store},
    },
    look::{
        apps::Apps,
        forwarded,
        monitor::{Error, Monitor},
        rate::Gap,
        sampler::Source,
        target,
    },
};

/// Whoever asks within this time after a look is told what that one saw.
const FRESH: Duration = Duration::from_millis(500);
/// The longest time between two looks while the helper counts …
const EXACT_EVERY: Duration = Duration::from_secs(10);
/// … and while the figures are an estimate.
const ESTIMATE_EVERY: Duration = Duration::from_secs(1);

/// How often the history is asked how much of the budgets is used.
const USED_EVERY: Duration = Duration::from_secs(60);

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// There are no figures: why.
    #[error("{0}")]
    Look(String),
    /// The figures can't be written down.
    #[error("cannot write the figures as text")]
    Encode(#[from] fmt::Error),
    /// The text can't be compressed.
    #[error("cannot compress the figures")]
    Compress(#[from] std::io::Error),
}

/// The looks, and what they have seen.
#[derive(Debug)]
pub struct Exporter {
    monitor: Monitor,
    apps: Apps,
    series: Series,
    users: Users,
    looked: Instant,
    /// What the latest look saw, or why it saw nothing.
    page: Result<Arc<Page>, String>,
    /// How much of each of these budgets is used, and until when …
    used: Vec<(settings::Budget, Used)>,
    /// … by what was looked up then.
    used_since: Option<Instant>,
    /// The same as it was asked for: by format, plain and compressed.
    written: HashMap<(Format, bool), Bytes>,
}

/// What is known of a budget's current period.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// When it ends, in seconds since 1970.
    end_secs: i64,
    /// External bytes of the budget that are used; `None`: nothing is recorded.
    bytes: Option<u64>,
}

/// Whose figures are told, and what the users are called.
#[derive(Debug)]
struct Users {
    /// Everybody's, and the system's.
    all: bool,
    names: RefCell<HashMap<u32, String>>,
}

impl Users {
    fn name(&self, uid: u32) -> String {
        let find = || {
            uzers::get_user_by_uid(uid)
                .map_or_else(|| uid.to_string(), |user| user.name().to_string_lossy().into_owned())
        };
        self.names.borrow_mut().entry(uid).or_insert_with(find).clone()
    }

    fn whose(&self, monitor: &Monitor, path: &str) -> Whose {
        if forwarded::is_in(path) {
            return Whose::System;
        }
        if self.all {
            return owner::of_slice(path).map_or(Whose::System, |uid| Whose::User(self.name(uid)));
        }
        match monitor.is_own_cgroup(path) {
            true => Whose::User(self.name(rustix::process::getuid().as_raw())),
            false => Whose::LeftOut,
        }
    }
}

impl Exporter {
    /// Takes the first look. `all`: the figures of every user and of the system's services are wanted, too.
    pub async fn open(all: bool) -> Result<Self, Error> {
        let uid = rustix::process::getuid();
        let all = all || uid.is_root();
        let monitor = if all { Monitor::open_all().await? } else { Monitor::open(None).await? };
        let mut exporter = Self {
            apps: monitor.defined().clone(),
            monitor,
            series: Series::default(),
            users: Users { all, names: RefCell::default() },
            looked: Instant::now(),
            page: Err(String::new()),
            used: Vec::new(),
            used_since: None,
            written: HashMap::new(),
        };
        exporter.monitor.know_names().await;
        exporter.take();
        Ok(exporter)
    }

    /// The monitor, for what a person should hear of.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// When it is time for the next look, though nobody asks.
    pub fn next_look(&self) -> Instant {
        let is_exact = self.page.as_ref().is_ok_and(|page| page.source == Source::Exact);
        self.looked + if is_exact { EXACT_EVERY } else { ESTIMATE_EVERY }
    }

    /// Looks.
    pub async fn look(&mut self) {
        self.monitor.look(EXACT_EVERY).await;
        self.looked = Instant::now();
        if let Some(gap) = self.monitor.gap().cloned() {
            self.series.gap(&gap);
            if let Gap::Failed(why) = gap {
                self.page = Err(why);
                self.written.clear();
                return;
            }
        }
        self.take();
    }

    /// The figures of this moment in a format, compressed with gzip or not.
    pub async fn tell(&mut self, format: Format, gzip: bool) -> Result<Bytes, Failed> {
        if self.looked.elapsed() >= FRESH {
            self.look().await;
        }
        if let Some(written) = self.written.get(&(format, gzip)) {
            return Ok(written.clone());
        }
        let page = self.page.as_ref().map_err(|why| Failed::Look(why.clone()))?;
        let text = page.encode(format)?;
        let written = if gzip { Bytes::from(text::compress(&text)?) } else { Bytes::from(text) };
        self.written.insert((format, gzip), written.clone());
        Ok(written)
    }

    /// Takes in the latest look.
    fn take(&mut self) {
        self.written.clear();
        let budgets = self.budgets();
        if self.apps != *self.monitor.defined() {
            self.apps = self.monitor.defined().clone();
            self.series.define();
        }
        let (monitor, users) = (&self.monitor, &self.users);
        let Some(look) = monitor.latest() else { return };
        let whose = |path: &str| users.whose(monitor, path);
        let live: Vec<&str> = monitor.all_paths().filter(|path| target::app_of(path).is_some() || users.all).collect();
        let moved: Vec<_> = monitor.moved().filter(|(path, _)| forwarded::is_in(path)).collect();
        self.series.take(look, &self.apps, whose, &live, &moved);
        let unmeasured = look.unmeasured_udp.as_ref().map(|sockets| {
            let own = sockets.iter().filter(|(path, _)| whose(path) != Whose::LeftOut);
            own.map(|(_, count)| u64::from(*count)).sum()
        });
        self.page = Ok(Arc::new(Page {
            series: self.series.all(),
            source: look.source,
            epoch_secs: (look.source == Source::Exact).then(|| Duration::from_nanos(look.sample.epoch).as_secs_f64()),
            gaps: self.series.gaps(),
            unmeasured_udp: unmeasured,
            warns: monitor.warning().is_some(),
            over: self.series.over(),
            budgets,
        }));
    }

    /// The budgets for an amount that count on every network.
    fn budgets(&mut self) -> Vec<Budget> {
        let settings = &self.monitor.settings().settings;
        let is_told = |budget: &&settings::Budget| matches!(budget.limit, Limit::Usage { .. }) && !budget.metered;
        let budgets: Vec<_> = settings.budgets.iter().filter(is_told).cloned().collect();
        if budgets.is_empty() {
            return Vec::new();
        }
        let is_known = self.used_since.is_some_and(|since| since.elapsed() < USED_EVERY)
            && self.used.iter().map(|(budget, _)| budget).eq(&budgets);
        if !is_known {
            let calendar = Calendar::system(settings.billing_day);
            let periods = budget::periods(&budgets, &calendar, jiff::Timestamp::now());
            // Without a history nothing is known; why there is none is not the matter here.
            let bytes = used(&budgets, &periods, self.monitor.defined()).unwrap_or_else(|_| vec![None; budgets.len()]);
            let ends = periods.into_iter().map(|period| period.map_or(0, |period| period.end));
            let used = ends.zip(bytes).map(|(end_secs, bytes)| Used { end_secs, bytes });
            self.used = budgets.into_iter().zip(used).collect();
            self.used_since = Some(Instant::now());
        }
        let apps = self.monitor.apps();
        let known: Vec<_> = apps.iter().map(|app| (app.id.as_str(), app.name.as_str())).collect();
        let user = self.users.name(rustix::process::getuid().as_raw());
        let budgets = self.used.iter().filter_map(|(budget, used)| {
            let Limit::Usage { bytes: limit_bytes, per } = budget.limit else { return None };
            let wanted = budget.app.as_deref();
            let id = wanted.and_then(|_| Some(budget::apps(budget, &known).first()?.0));
            let app = id.or(wanted).unwrap_or_default().to_owned();
            let Used { end_secs, bytes: used_bytes } = *used;
            Some(Budget { app, per: per.key(), user: user.clone(), limit_bytes, used_bytes, end_secs })
        });
        let mut budgets: Vec<_> = budgets.collect();
        // Of several for the same, the one that is used up first: a series can have one value.
        budgets.sort_by(|a, b| (&a.app, a.per, a.limit_bytes).cmp(&(&b.app, b.per, b.limit_bytes)));
        budgets.dedup_by(|a, b| (&a.app, a.per) == (&b.app, b.per));
        budgets
    }
}

/// How much of each budget is used in its period by the history; `None`: nothing is recorded.
fn used(
    budgets: &[settings::Budget],
    periods: &[Option<Range<i64>>],
    apps: &Apps,
) -> Result<Vec<Option<u64>>, store::Error> {
    let path = store::path().ok_or(store::Error::NoPlace)?;
    let Some(mut store) = Store::read(&path)? else { return Ok(vec![None; budgets.len()]) };
    store.define(apps);
    let used = budgets.iter().zip(periods).map(|(budget, period)| {
        let Some(period) = period else { return Ok(None) };
        Ok(Some(budget::used(budget, &store.usage_for(budget, period, apps)?).0.external()))
    });
    used.collect()
}
