//! The history's own thread: it writes, adds up and forgets, one thing after the other, so that no beat waits for a disk.

mod keeper;

use std::{
    collections::HashMap,
    fs,
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use keeper::Keeper;
use netglance_dbus::sample;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    base::settings::{Budget, Settings},
    keep::{
        budget::Spent,
        calendar::Period,
        recorder::{Fate, Recorder},
        store::{Batch, Last, Moved, Place},
    },
    look::{
        apps::Apps,
        monitor::Monitor,
        network::Network,
        rate::Bytes,
        reading::AppReading,
        sampler::{self, Source},
        target::lasting_app,
    },
    show::update::{Forget, Past, PastQuery, UsageTable, Used},
};

/// So often the helper is asked for the boot before.
const ASKS: u8 = 5;
/// A program that ends waits so long for what is under way.
pub const ENDS_WITHIN: Duration = Duration::from_secs(3);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MACHINE_ID: &str = "/etc/machine-id";

/// What of the settings the history depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    record: bool,
    limit_mb: u32,
    billing_day: u8,
    budgets: Vec<Budget>,
    defined: Apps,
}

impl Rules {
    fn of(settings: &Settings) -> Self {
        Self {
            record: settings.record,
            limit_mb: settings.history_limit_mb,
            billing_day: settings.billing_day,
            budgets: settings.budgets.clone(),
            defined: Apps::new(settings),
        }
    }
}

/// What the history is asked for.
#[derive(Debug)]
pub enum Ask {
    /// Go by these rules from now on.
    Rules(Rules),
    /// Record what was counted in the boot before.
    Last(Last),
    /// Record this.
    Record(Batch),
    /// What a chart shows.
    Past(PastQuery),
    /// A table of a period.
    Usage(Period),
    /// Today and this month of the apps with these ids; an empty id is all together.
    Used(Vec<String>),
    /// Forget.
    Forget(Forget),
}

/// What the history answers.
#[derive(Debug)]
pub enum Answer {
    /// What became of the latest batch.
    Recorded(Fate),
    /// What is wrong with the history now, worded for a person; `None`: nothing.
    Trouble(Option<String>),
    /// To [`Ask::Past`].
    Past(Past),
    /// To [`Ask::Usage`].
    Usage(UsageTable),
    /// To [`Ask::Used`].
    Used(Vec<Used>),
    /// How far each budget is used up.
    Spent(Vec<Account>),
    /// Something was forgotten: what was answered before is out of date. Or why not, worded for a person.
    Forgotten(Option<String>),
}

/// A budget, how far it is used up, and what its app is called in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub budget: Budget,
    pub spent: Spent,
    pub name: Option<String>,
}

/// The history, seen from the program.
#[derive(Debug)]
pub struct Memory {
    ask: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
    /// `None`: nothing is recorded.
    recorder: Option<Recorder>,
    rules: Option<Rules>,
    place: Place,
    /// Nothing was recorded until now because the settings said so.
    was_off: bool,
    /// The network that is in use.
    pub network: Network,
    /// So often the helper may still be asked for the boot before, which may fail at a busy start.
    asks_left: u8,
    /// What the history was told that apps are called.
    names: HashMap<String, String>,
}

impl Memory {
    /// Starts the thread. Without one nothing is recorded.
    pub fn start(tell: UnboundedSender<Answer>) -> Self {
        let (ask, asked) = channel();
        let keeper = Keeper::new(tell);
        let thread = thread::Builder::new().name("history".to_owned()).spawn(move || keeper.serve(&asked)).ok();
        Self {
            ask: Some(ask).filter(|_| thread.is_some()),
            thread,
            recorder: None,
            rules: None,
            place: place(),
            network: Network::default(),
            was_off: false,
            asks_left: ASKS,
            names: HashMap::new(),
        }
    }

    /// Asks for something; the answer comes as an event.
    pub fn ask(&self, ask: Ask) {
        if let Some(sender) = &self.ask {
            _ = sender.send(ask);
        }
    }

    /// Takes in a look. `last`: the program ends.
    pub async fn look(&mut self, monitor: &Monitor, apps: &[AppReading], last: bool) {
        let rules = Rules::of(&monitor.settings().settings);
        if self.rules.as_ref() != Some(&rules) {
            self.rules = Some(rules.clone());
            self.ask(Ask::Rules(rules.clone()));
        }
        let Some(look) = monitor.latest() else { return };
        let now = Timestamp::now().as_second();
        if !rules.record {
            self.recorder = None;
            self.was_off = true;
            return;
        }
        if self.asks_left > 0 && look.source == Source::Exact {
            self.asks_left -= 1;
            match monitor.read_last().await {
                Ok(last) => {
                    self.asks_left = 0;
                    let last = last.filter(|last| last.boot_id != self.place.boot_id);
                    last.into_iter().for_each(|last| self.ask(Ask::Last(of_boot_before(&self.place, monitor, last))));
                }
                // Once counters of this boot are taken in, those of the boot before are of no use any more.
                Err(_) if self.asks_left > 0 && !last => return,
                Err(_) => {}
            }
        }
        let (network, totals) = (&self.network, || monitor.moved_by_apps().map(|(path, _, total)| (path, total)));
        let recorder = self.recorder.get_or_insert_with(|| {
            // What was moved while it was off is nobody's business, but what was before the program's first look is made up.
            let since = if self.was_off { now } else { began(monitor, now) };
            let mut recorder = Recorder::begin(since, self.place.clone(), network.clone());
            if self.was_off {
                recorder.skip(totals());
            }
            recorder
        });
        let Some(mut batch) = recorder.look(now, look, |path| monitor.lasting_unit(path), network, totals(), last)
        else {
            return;
        };
        for moved in &batch.moved {
            let id = &moved.unit.app;
            let app = apps.iter().find(|app| lasting_app(&app.id) == id);
            if let Some(app) = app.filter(|app| self.names.get(id) != Some(&app.name)) {
                self.names.insert(id.clone(), app.name.clone());
                batch.names.push((id.clone(), app.name.clone()));
            }
        }
        self.ask(Ask::Record(batch));
    }

    /// Whether something is being written.
    pub fn is_writing(&self) -> bool {
        self.recorder.as_ref().is_some_and(Recorder::is_writing)
    }

    /// What became of the latest batch.
    pub fn recorded(&mut self, fate: Fate) {
        if fate != Fate::Written {
            self.names.clear();
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.done(fate);
        }
    }

    /// Something was forgotten: names may be among it.
    pub fn forgotten(&mut self) {
        self.names.clear();
    }

    /// What an app has moved that is not in the history yet; of all together for an empty id.
    pub fn unrecorded(&self, monitor: &Monitor, id: &str) -> Bytes {
        let Some(recorder) = &self.recorder else { return Bytes::default() };
        let its = monitor.moved_by_apps().filter(|(_, app, _)| id.is_empty() || *app == id);
        let rest = its.map(|(path, _, total)| recorder.unrecorded(path, total));
        rest.fold(Bytes::default(), Bytes::plus)
    }

    /// Waits until everything is written, but not for a disk that hangs.
    pub fn end(&mut self) {
        self.ask = None;
        let until = Instant::now() + ENDS_WITHIN;
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// This computer, and this boot of it.
fn place() -> Place {
    let line = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Place { machine: line(MACHINE_ID), boot_id: line(BOOT_ID) }
}

/// When the program began to look.
fn began(monitor: &Monitor, now: i64) -> i64 {
    let passed = Duration::from_nanos(sampler::boottime_ns().saturating_sub(monitor.began_ns()));
    now - i64::try_from(passed.as_secs()).unwrap_or_default()
}

fn of_boot_before(here: &Place, monitor: &Monitor, last: sampler::Last) -> Last {
    let row = |row: &sample::Row| {
        Some(Moved { unit: monitor.lasting_unit(&row.cgroup)?, cgroup: row.cgroup.clone(), bytes: Bytes::of(row) })
    };
    let place = Place { machine: here.machine.clone(), boot_id: last.boot_id };
    Last { place, boottime_ns: last.boottime_ns, rows: last.rows.iter().filter_map(row).collect() }
}
