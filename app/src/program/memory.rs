//! The history's own thread: it writes, adds up and forgets, one thing after the other, so that no beat waits for a disk.

use std::{
    collections::HashMap,
    fs,
    ops::Range,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use netglance_dbus::{error::chain, sample};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    base::{
        say::say,
        settings::{Budget, Settings},
    },
    keep::{
        budget::{self, Spent},
        calendar::{Calendar, Period},
        recorder::Recorder,
        store::{self, Batch, Last, Moved, Store},
        usage::{By, Group, Usage, Which},
    },
    look::{
        monitor::Monitor,
        network::Network,
        rate::Bytes,
        reading::AppReading,
        sampler,
        target::{app_id, lasting_unit},
    },
    show::update::{Forget, Past, PastQuery, UsageTable, Used},
};

/// Hours are packed so often, and budgets looked at.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// What is too old is dropped so often.
const DROP_EVERY: Duration = Duration::from_secs(3600);
/// A program that ends waits so long for what is under way.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What of the settings the history depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    record: bool,
    limit_mb: u32,
    billing_day: u8,
    budgets: Vec<Budget>,
}

impl Rules {
    fn of(settings: &Settings) -> Self {
        Self {
            record: settings.record,
            limit_mb: settings.history_limit_mb,
            billing_day: settings.billing_day,
            budgets: settings.budgets.clone(),
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
    /// The latest batch was written, or not.
    Recorded(bool),
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
    /// Something was forgotten: what was answered before is out of date.
    Forgotten,
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
    boot_id: String,
    /// The network that is in use.
    pub network: Network,
    /// The helper was asked for the boot before.
    asked_last: bool,
    /// What the history was told that apps are called.
    names: HashMap<String, String>,
}

impl Memory {
    /// Starts the thread. Without one nothing is recorded.
    pub fn start(tell: UnboundedSender<Answer>) -> Self {
        let (ask, asked) = channel();
        let keeper = Keeper { tell, rules: None, store: None, trouble: None, tidied: None, dropped: None };
        let thread = thread::Builder::new().name("history".to_owned()).spawn(move || keeper.serve(&asked)).ok();
        Self {
            ask: Some(ask).filter(|_| thread.is_some()),
            thread,
            recorder: None,
            rules: None,
            boot_id: fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned(),
            network: Network::default(),
            asked_last: false,
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
            return;
        }
        let first = self.recorder.is_none();
        // What was moved before it was switched on is nobody's business, but what was before the program's first look is made up.
        let recorder = self.recorder.get_or_insert_with(|| Recorder::begin(began(monitor, now), self.network.clone()));
        if first && self.asked_last {
            recorder.skip(monitor.moved_by_apps());
        }
        if !self.asked_last && look.source == sampler::Source::Exact {
            self.asked_last = true;
            if let Some(last) = monitor.read_last().await.filter(|last| last.boot_id != self.boot_id) {
                self.ask(Ask::Last(of_boot_before(last)));
            }
        }
        let Some(recorder) = &mut self.recorder else { return };
        recorder.network.clone_from(&self.network);
        let Some(mut batch) = recorder.look(now, look, &self.boot_id, monitor.moved_by_apps(), last) else { return };
        for moved in &batch.moved {
            let app = apps.iter().find(|app| app.id == moved.unit.app);
            if let Some(app) = app.filter(|app| self.names.get(&app.id) != Some(&app.name)) {
                self.names.insert(app.id.clone(), app.name.clone());
                batch.names.push((app.id.clone(), app.name.clone()));
            }
        }
        self.ask(Ask::Record(batch));
    }

    /// The latest batch was written, or not.
    pub fn recorded(&mut self, written: bool) {
        if !written {
            self.names.clear();
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.done(written);
        }
    }

    /// What an app has moved that is not in the history yet; of all together for an empty id.
    pub fn unrecorded(&self, monitor: &Monitor, id: &str) -> Bytes {
        let Some(recorder) = &self.recorder else { return Bytes::default() };
        let its =
            monitor.moved_by_apps().filter(|(path, _)| id.is_empty() || app_id(path).is_some_and(|app| app == id));
        let rest = its.map(|(path, total)| recorder.unrecorded(path, total));
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

/// When the program began to look.
fn began(monitor: &Monitor, now: i64) -> i64 {
    let passed = Duration::from_nanos(sampler::boottime_ns().saturating_sub(monitor.began_ns()));
    now - i64::try_from(passed.as_secs()).unwrap_or_default()
}

fn of_boot_before(last: sampler::Last) -> Last {
    let row = |row: &sample::Row| {
        Some(Moved { unit: lasting_unit(&row.cgroup)?, cgroup: row.cgroup.clone(), bytes: Bytes::of(row) })
    };
    Last { boot_id: last.boot_id, boottime_ns: last.boottime_ns, rows: last.rows.iter().filter_map(row).collect() }
}

/// The thread's state.
struct Keeper {
    tell: UnboundedSender<Answer>,
    rules: Option<Rules>,
    /// `None`: not open, or not to be written.
    store: Option<Store>,
    /// What the program was told is wrong.
    trouble: Option<String>,
    tidied: Option<Instant>,
    dropped: Option<Instant>,
}

impl Keeper {
    fn serve(mut self, asked: &Receiver<Ask>) {
        loop {
            match asked.recv_timeout(TIDY_EVERY) {
                Ok(ask) => self.take(ask),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
                self.tidied = Some(Instant::now());
                self.tidy();
            }
        }
    }

    fn say(&self, answer: Answer) {
        _ = self.tell.send(answer);
    }

    /// Tells what is wrong, once.
    fn trouble(&mut self, trouble: Option<String>) {
        if self.trouble != trouble {
            self.trouble.clone_from(&trouble);
            if let Some(trouble) = &trouble {
                say(trouble);
            }
            self.say(Answer::Trouble(trouble));
        }
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Rules(rules) => self.follow(rules),
            Ask::Last(last) => self.write(|store, boot_id| match store.taken()? {
                Some(taken) if taken.boot_id != boot_id => store.record_last(&last),
                _ => Ok(()),
            }),
            Ask::Record(batch) => {
                let mut written = false;
                self.write(|store, _| store.record(&batch).map(|()| written = true));
                self.say(Answer::Recorded(written));
            }
            Ask::Past(query) => {
                let groups = self.past(&query);
                self.say(Answer::Past(Past { query, groups }));
            }
            Ask::Usage(period) => {
                let table = self.usage(period);
                self.say(Answer::Usage(table));
            }
            Ask::Used(ids) => {
                // What is wrong is told where it is written.
                if let Ok(used) = self.used(&ids) {
                    self.say(Answer::Used(used));
                }
            }
            Ask::Forget(forget) => self.forget(&forget),
        }
    }

    fn follow(&mut self, rules: Rules) {
        let before = self.rules.replace(rules.clone());
        if !rules.record && before.is_none_or(|before| before.record) {
            // What is counted while it is off must not be made up later.
            if store::path().is_some_and(|path| path.exists()) {
                self.write(|store, _| store.let_go());
            }
            self.store = None;
            self.trouble(None);
        }
        self.tidied = None;
        self.dropped = None;
    }

    /// Does something with the store, opened first if need be. What goes wrong is told.
    fn write(&mut self, act: impl FnOnce(&mut Store, &str) -> Result<(), store::Error>) {
        let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let mut aside = None;
        let mut open = || -> Result<Store, store::Error> {
            let (store, damaged) = Store::open(&store::path().ok_or(store::Error::NoPlace)?)?;
            aside = damaged;
            Ok(store)
        };
        let opened = self.store.take().map_or_else(&mut open, Ok);
        let done = opened.and_then(|mut store| {
            let done = act(&mut store, boot_id.trim());
            // One that turns out to be damaged is opened anew the next time, and put aside.
            if !done.as_ref().is_err_and(store::Error::is_damage) {
                self.store = Some(store);
            }
            done
        });
        match (done, aside) {
            (Err(error), _) => self.trouble(Some(not_recorded(&error))),
            (Ok(()), Some(aside)) => self.trouble(Some(put_aside(&aside))),
            // That a file was put aside stays told for as long as the program runs.
            (Ok(()), None) if self.trouble.as_ref().is_some_and(|text| text.starts_with(PUT_ASIDE)) => {}
            (Ok(()), None) => self.trouble(None),
        }
    }

    /// Reads the store, whoever writes it. `None`: nothing is recorded.
    fn read<T>(&self, act: impl FnOnce(&Store) -> Result<T, store::Error>) -> Result<Option<T>, String> {
        let read = || match &self.store {
            Some(store) => act(store).map(Some),
            None => Store::read(&store::path().ok_or(store::Error::NoPlace)?)?.as_ref().map(act).transpose(),
        };
        read().map_err(|error| format!("Error: {}.", chain(&error)))
    }

    fn calendar(&self) -> Calendar {
        Calendar::system(self.rules.as_ref().map_or(1, |rules| rules.billing_day))
    }

    fn past(&self, query: &PastQuery) -> Result<Vec<Group>, String> {
        let edges = self.calendar().edges(query.from..query.to, query.every);
        let which = Which { apps: query.apps.clone(), ..Which::default() };
        let by = if query.apps.is_empty() { By::All } else { By::App };
        Ok(self.read(|store| store.usage(&edges, &which, by))?.unwrap_or_default())
    }

    fn usage(&self, period: Period) -> UsageTable {
        let span = self.calendar().span(period, Timestamp::now());
        let edges = [span.start, span.end];
        let found = self.read(|store| {
            let apps = store.usage(&edges, &Which::default(), By::App)?;
            let networks = store.usage(&edges, &Which::default(), By::Network)?;
            Ok((apps, networks, store.since()?))
        });
        let (apps, networks, since) = match found {
            Ok(found) => {
                let (apps, networks, since) = found.unwrap_or_default();
                (Ok(apps), networks, since)
            }
            Err(why) => (Err(why), Vec::new(), None),
        };
        UsageTable { period, span: (span.start, span.end), apps, networks, since }
    }

    fn used(&self, ids: &[String]) -> Result<Vec<Used>, String> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let calendar = self.calendar();
        let now = Timestamp::now();
        let [today, month] = [Period::Today, Period::ThisMonth].map(|period| calendar.span(period, now));
        let mut edges = vec![month.start, today.start, today.end, month.end];
        edges.dedup();
        let apps = if ids.iter().any(String::is_empty) { Vec::new() } else { ids.to_vec() };
        let which = Which { apps, ..Which::default() };
        let groups = self.read(|store| store.usage(&edges, &which, By::App))?.unwrap_or_default();
        let sum = |id: &str, span: &Range<i64>| {
            let its = groups.iter().filter(|group| id.is_empty() || group.app == id).flat_map(|group| &group.slots);
            let its = its.filter(|slot| span.contains(&slot.start));
            its.fold(Usage::default(), |sum, slot| sum.plus(slot.usage))
        };
        let used = |id: &String| Used { id: id.clone(), today: sum(id, &today), month: sum(id, &month) };
        Ok(ids.iter().map(used).collect())
    }

    fn forget(&mut self, forget: &Forget) {
        let calendar = self.calendar();
        self.write(|store, _| match forget {
            Forget::App(id) => store.forget_app(id),
            Forget::Days(first, last) => {
                store.forget_time(calendar.span(Period::Days(*first, *last), Timestamp::now()))
            }
            Forget::Everything => store.forget_everything(),
        });
        if self.rules.as_ref().is_some_and(|rules| !rules.record) {
            self.store = None;
        }
        self.say(Answer::Forgotten);
        self.tidied = None;
    }

    /// Packs what is over, drops what is too old or too much, and looks at the budgets.
    fn tidy(&mut self) {
        let Some(rules) = self.rules.clone() else { return };
        let now = Timestamp::now();
        if self.store.is_some() {
            let calendar = self.calendar();
            let drops = self.dropped.is_none_or(|at| at.elapsed() >= DROP_EVERY);
            self.write(|store, _| {
                while store.pack_hours(now.as_second(), &calendar.zone)? {}
                if drops {
                    store.drop_old(now.as_second(), u64::from(rules.limit_mb) * 1_000_000)?;
                }
                Ok(())
            });
            if drops {
                self.dropped = Some(Instant::now());
            }
        }
        // What is wrong is told where it is written, and nothing is said of a budget then.
        if let Ok(spent) = self.spent(&rules.budgets, now) {
            self.say(Answer::Spent(spent));
        }
    }

    fn spent(&self, budgets: &[Budget], now: Timestamp) -> Result<Vec<Account>, String> {
        let periods = budget::periods(budgets, &self.calendar(), now);
        let account = |(budget, period): (&Budget, &Option<Range<i64>>)| {
            let groups = match period {
                Some(period) => {
                    self.read(|store| store.usage(&[period.start, period.end], &budget::which(budget), By::App))?
                }
                None => None,
            };
            let groups = groups.unwrap_or_default();
            let (usage, name) = budget::used(budget, &groups);
            let spent = Spent::of(budget, usage.external(), period.as_ref());
            Ok(Account { budget: budget.clone(), spent, name: name.map(str::to_owned) })
        };
        budgets.iter().zip(&periods).map(account).collect()
    }
}

const PUT_ASIDE: &str = "The recorded history was damaged";

fn put_aside(aside: &std::path::Path) -> String {
    format!("{PUT_ASIDE}, so a new one was started. The old file was kept as {}.", aside.display())
}

fn not_recorded(error: &store::Error) -> String {
    match error {
        store::Error::Locked => format!("Nothing is recorded by this netglance: {}.", chain(error)),
        store::Error::Newer { .. } | store::Error::NoPlace => format!("Nothing is recorded: {}.", chain(error)),
        _ => format!("The history cannot be written, so it is kept in memory until it can: {}.", chain(error)),
    }
}
