//! The history's thread: what the program asks for, one thing after the other.

use std::{
    iter::once,
    ops::Range,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use netglance_dbus::error::chain;
use tokio::sync::mpsc::UnboundedSender;

use super::{Account, Answer, Ask, Rules, place};
use crate::{
    base::{say::say, settings::Budget},
    keep::{
        budget::{self, Spent},
        calendar::{Calendar, Period},
        recorder::Fate,
        store::{self, Store},
        usage::{By, Group, Usage, Which},
    },
    look::target::lasting_app,
    show::update::{Forget, Past, PastQuery, UsageTable, Used},
};

/// Hours are packed so often, and budgets looked at.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// What is too old is dropped so often.
const DROP_EVERY: Duration = Duration::from_secs(3600);

/// What is written first, in its order; then the latest question of each kind, for nobody waits for the others any more.
fn in_turn(asked: impl Iterator<Item = Ask>) -> Vec<Ask> {
    let (mut turn, mut past, mut usage, mut used) = (Vec::new(), None, None, None);
    for ask in asked {
        match ask {
            Ask::Past(_) => past = Some(ask),
            Ask::Usage(_) => usage = Some(ask),
            Ask::Used(_) => used = Some(ask),
            ask => turn.push(ask),
        }
    }
    turn.extend(past.into_iter().chain(usage).chain(used));
    turn
}

/// The thread's state.
pub struct Keeper {
    tell: UnboundedSender<Answer>,
    rules: Option<Rules>,
    /// `None`: not open, or not to be written.
    store: Option<Store>,
    /// What the program was told is wrong.
    trouble: Option<String>,
    tidied: Option<Instant>,
    dropped: Option<Instant>,
    /// The file turned out to be damaged: it is put aside when it is opened again.
    is_damaged: bool,
    /// Where the counters stand has still to be forgotten.
    lets_go: bool,
}

impl Keeper {
    /// Answers there, once it serves.
    pub fn new(tell: UnboundedSender<Answer>) -> Self {
        Self {
            tell,
            rules: None,
            store: None,
            trouble: None,
            tidied: None,
            dropped: None,
            is_damaged: false,
            lets_go: false,
        }
    }

    /// Does what it is asked for, until nobody can ask any more.
    pub fn serve(mut self, asked: &Receiver<Ask>) {
        loop {
            match asked.recv_timeout(TIDY_EVERY) {
                Ok(first) => in_turn(once(first).chain(asked.try_iter())).into_iter().for_each(|ask| self.take(ask)),
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
            Ask::Last(last) => {
                self.write(|store| match store.taken()? {
                    // It was taken in when this boot began.
                    Some(taken) if taken.place == place() => Ok(()),
                    _ => store.record_last(&last),
                });
            }
            Ask::Record(batch) => {
                let written = self.write(|store| store.record(&batch));
                self.say(Answer::Recorded(written));
            }
            Ask::Past(query) => {
                let past = self.past(query);
                self.say(Answer::Past(past));
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
        if let Some(store) = &mut self.store {
            store.define(&rules.defined);
        }
        if rules.record {
            self.lets_go = false;
        } else if before.is_none_or(|before| before.record) {
            // What is counted while it is off must not be made up later.
            self.lets_go = true;
            self.trouble(None);
        }
        self.tidied = None;
        self.dropped = None;
    }

    /// Does something with the store, opened first if need be. What goes wrong is told.
    fn write(&mut self, act: impl FnOnce(&mut Store) -> Result<(), store::Error>) -> Fate {
        match self.attempt(act) {
            Ok(()) => Fate::Written,
            Err(error) => {
                self.trouble(Some(not_recorded(&error)));
                if matches!(error, store::Error::Locked) { Fate::Elsewhere } else { Fate::Failed }
            }
        }
    }

    /// The same, but what goes wrong is for the caller to tell.
    fn attempt(&mut self, act: impl FnOnce(&mut Store) -> Result<(), store::Error>) -> Result<(), store::Error> {
        let mut aside = None;
        let is_damaged = self.is_damaged;
        let defined = self.rules.as_ref().map(|rules| rules.defined.clone());
        let mut open = || -> Result<Store, store::Error> {
            let path = store::path().ok_or(store::Error::NoPlace)?;
            let (mut store, damaged) = if is_damaged { Store::replace(&path) } else { Store::open(&path) }?;
            aside = damaged;
            if let Some(defined) = &defined {
                store.define(defined);
            }
            Ok(store)
        };
        let opened = self.store.take().map_or_else(&mut open, Ok);
        let done = opened.and_then(|mut store| {
            self.is_damaged = false;
            act(&mut store)?;
            Ok(store)
        });
        match done {
            Ok(store) => {
                self.store = Some(store);
                match aside {
                    Some(aside) => self.trouble(Some(put_aside(&aside))),
                    // That a file was put aside stays told for as long as the program runs.
                    None if self.trouble.as_ref().is_some_and(|text| text.starts_with(PUT_ASIDE)) => {}
                    None => self.trouble(None),
                }
                Ok(())
            }
            Err(error) => {
                // It is opened, and looked through, again the next time.
                self.is_damaged = error.is_damage();
                Err(error)
            }
        }
    }

    /// Reads the store, whoever writes it. `None`: nothing is recorded.
    fn read<T>(&self, act: impl FnOnce(&Store) -> Result<T, store::Error>) -> Result<Option<T>, String> {
        let read = || match &self.store {
            Some(store) => act(store).map(Some),
            None => {
                let mut store = Store::read(&store::path().ok_or(store::Error::NoPlace)?)?;
                if let (Some(store), Some(rules)) = (&mut store, &self.rules) {
                    store.define(&rules.defined);
                }
                store.as_ref().map(act).transpose()
            }
        };
        read().map_err(|error| format!("The history cannot be read: {}.", chain(&error)))
    }

    fn calendar(&self) -> Calendar {
        Calendar::system(self.rules.as_ref().map_or(1, |rules| rules.billing_day))
    }

    fn past(&self, query: PastQuery) -> Past {
        let edges = self.calendar().edges(query.from..query.to, query.every);
        let apps = query.apps.iter().map(|id| lasting_app(id).to_owned()).collect();
        let which = Which { apps, ..Which::default() };
        let by = if query.apps.is_empty() { By::All } else { By::App };
        let (groups, since) = match self.read(|store| Ok((store.usage(&edges, &which, by)?, store.since()?))) {
            Ok(found) => {
                let (mut groups, since): (Vec<Group>, _) = found.unwrap_or_default();
                for group in &mut groups {
                    if let Some(id) = query.apps.iter().find(|id| lasting_app(id) == group.app) {
                        group.app.clone_from(id); // as it was asked for
                    }
                }
                (Ok(groups), since)
            }
            Err(why) => (Err(why), None),
        };
        Past { query, groups, since }
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
        let all = ids.iter().any(String::is_empty);
        let apps = if all { Vec::new() } else { ids.iter().map(|id| lasting_app(id).to_owned()).collect() };
        let which = Which { apps, ..Which::default() };
        let groups = self.read(|store| store.usage(&edges, &which, By::App))?.unwrap_or_default();
        let sum = |id: &str, span: &Range<i64>| {
            let its = groups.iter().filter(|group| id.is_empty() || group.app == lasting_app(id));
            let slots = its.flat_map(|group| &group.slots).filter(|slot| span.contains(&slot.start));
            slots.fold(Usage::default(), |sum, slot| sum.plus(slot.usage))
        };
        let used = |id: &String| Used { id: id.clone(), today: sum(id, &today), month: sum(id, &month) };
        Ok(ids.iter().map(used).collect())
    }

    fn forget(&mut self, forget: &Forget) {
        let calendar = self.calendar();
        let done = self.attempt(|store| match forget {
            Forget::App(id) => store.forget_app(id),
            Forget::Days(first, last) => {
                store.forget_time(calendar.span(Period::Days(*first, *last), Timestamp::now()))
            }
            Forget::Everything => store.forget_everything(),
        });
        if self.rules.as_ref().is_some_and(|rules| !rules.record) {
            self.store = None;
        }
        self.say(Answer::Forgotten(done.err().as_ref().map(not_forgotten)));
        self.tidied = None;
    }

    /// Packs what is over, drops what is too old or too much, and looks at the budgets.
    fn tidy(&mut self) {
        let Some(rules) = self.rules.clone() else { return };
        let now = Timestamp::now();
        if self.lets_go {
            self.let_go();
        }
        if self.store.is_some() {
            let zone = self.calendar().zone;
            let drops = self.dropped.is_none_or(|at| at.elapsed() >= DROP_EVERY);
            self.write(|store| {
                while store.pack_hours(now.as_second(), &zone)? {}
                Ok(())
            });
            if drops {
                let most_bytes = u64::from(rules.limit_mb) * 1_000_000;
                self.write(|store| store.drop_old(now.as_second(), most_bytes).map(drop));
                self.dropped = Some(Instant::now());
            }
        }
        // What is wrong is told where it is written, and nothing is said of a budget then.
        if let Ok(spent) = self.spent(&rules.budgets, now) {
            self.say(Answer::Spent(spent));
        }
    }

    /// Forgets where the counters stand, and writes no more.
    fn let_go(&mut self) {
        let is_there = store::path().is_some_and(|path| path.exists());
        // Where another program records, that is its business.
        if !is_there || self.write(Store::let_go) != Fate::Failed {
            self.lets_go = false;
            self.store = None;
        }
    }

    fn spent(&self, budgets: &[Budget], now: Timestamp) -> Result<Vec<Account>, String> {
        let periods = budget::periods(budgets, &self.calendar(), now);
        let defined = self.rules.as_ref().map(|rules| rules.defined.clone()).unwrap_or_default();
        let account = |(budget, period): (&Budget, &Option<Range<i64>>)| {
            let groups = match period {
                Some(period) => self.read(|store| store.usage_for(budget, period, &defined))?,
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

fn put_aside(aside: &Path) -> String {
    format!("{PUT_ASIDE}, so a new one was started. The old file was kept as {}.", aside.display())
}

fn not_recorded(error: &store::Error) -> String {
    match error {
        store::Error::Locked => {
            "Not recording here, because another netglance of yours is already recording. To record here, quit \
                                 the other one; it may run on another computer or in another session."
                .to_owned()
        }
        store::Error::Newer { .. } | store::Error::NoPlace => format!("Nothing is recorded: {}.", chain(error)),
        _ => format!(
            "The history cannot be written: {}. netglance keeps trying and holds the new figures in memory until then.",
            chain(error)
        ),
    }
}

fn not_forgotten(error: &store::Error) -> String {
    match error {
        store::Error::Locked => "Nothing was forgotten: another netglance is recording. Forget it there.".to_owned(),
        _ => format!("Nothing was forgotten: {}.", chain(error)),
    }
}
