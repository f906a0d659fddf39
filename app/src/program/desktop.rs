//! All that the program knows, and what a person wants of it at tray or window: one look a beat, the histories, the settings. It
//! draws nothing itself and waits for nothing but the next event.

use std::{
    collections::HashMap,
    fs, io,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;
use netglance_dbus::error::chain;
use tokio::{sync::mpsc::UnboundedSender, time::timeout_at};
use zbus::Connection;

use super::{
    Event, Events,
    appearance::Appearance,
    autostart, connections,
    exact::{self, Wish},
    face, grants,
    instance::Asked,
    launchers::{self, Folders},
    link::{Link, Said},
    memory::{Account, Answer, Ask, ENDS_WITHIN, Memory},
    menu,
    save::{self, Saved},
};
use crate::{
    advise::verify,
    base::{
        format,
        say::say,
        settings::{Budget, Settings},
    },
    keep::{
        budget::{self, Notice, Rates, Spent},
        calendar::Period,
        histories::Histories,
        state::State,
        usage::Usage,
    },
    look::{
        monitor,
        monitor::Monitor,
        programs::Chosen,
        reading::{AppRates, AppReading, Reading},
        sampler::{
            Exact, Source,
            grants::{Grant, Grants},
        },
        target::lasting_app,
        whois::Sources,
    },
    show::{
        picture::Picture,
        tray,
        tray::{Face, Tray},
        update::{
            Backlog, Command, Launcher, Overview, Past, PastQuery, Proof, ProofPage, SPARK_SECS, Update, UsageTable,
            Used,
        },
    },
};

/// The menu's apps are looked for and put in order so often. No panel tells that its menu is about to open (tray-icon keeps that
/// to itself), and nothing should move under the pointer, so not at each beat.
const MENU_EVERY: Duration = Duration::from_secs(10);
/// Budgets of which tray and menu say how far they are.
const TRAY_BUDGETS: usize = 3;
/// A window that moves is remembered when it has come to rest.
const REST: Duration = Duration::from_secs(2);

/// How a wish ended.
pub struct Granted {
    wish: Wish,
    settings: Option<Settings>,
    outcome: Result<(), exact::Error>,
}

/// All that the program knows.
pub struct Desktop {
    monitor: Result<Monitor, monitor::Error>,
    beat: Duration,
    readings: Vec<Reading>,
    /// All apps together, where none is watched.
    together: Option<Reading>,
    histories: Histories,
    /// The ids whose past the window has.
    told: Vec<String>,
    apps: Vec<AppReading>,
    /// The system services, while the window shows them.
    services: Vec<AppReading>,
    /// What was asked for, as far as the window was told.
    grants: Grants,
    /// As of when the window last opened.
    has_forwarding: bool,
    /// polkit's rules were asked whether a remembered system service may be exact without a password.
    rules_asked: bool,
    /// The tray's menu, and when it was made.
    menu: Vec<tray::Entry>,
    menu_at: Option<Instant>,
    state: State,
    /// Since when the file doesn't say what the state is.
    unsaved: Option<Instant>,
    start_at_login: bool,
    paused: bool,
    asking: bool,
    /// A wish was granted: what became of it is looked at before the beat is due.
    look_now: bool,
    notice: Option<String>,
    /// What a person has to agree to before exact counting.
    confirm: Option<String>,
    /// The window shows the proof page.
    proof_page: bool,
    proof: Option<Proof>,
    connections: connections::Page,
    /// Apps whose programs somebody has opened or closed.
    opened: HashMap<String, bool>,
    /// What the menu starts so that it can be counted.
    launchers: Vec<Launcher>,
    tray: Option<Tray>,
    panel: bool,
    picture: Picture,
    appearance: Appearance,
    window: Option<Link>,
    windows: u64,
    memory: Memory,
    recorded: Recorded,
    senders: Senders,
    /// Shows a person what they should hear; `None`: there is no session bus.
    notices: Option<UnboundedSender<Notice>>,
    /// Where the desktop's file chooser may be; `None`: there is no session bus.
    session: Option<Connection>,
    /// How it ends, once it does.
    ends: Option<ExitCode>,
}

/// Where events come in again that somebody else works on meanwhile.
pub struct Senders {
    /// What a window says.
    pub said: UnboundedSender<(u64, Said)>,
    /// How a wish ended.
    pub granted: UnboundedSender<Granted>,
    /// How a proof ended.
    pub proven: UnboundedSender<Proof>,
    /// How the saving of a chart ended.
    pub saved: UnboundedSender<Saved>,
}

/// What the window shows of the history, and what a person is told of it.
#[derive(Default)]
struct Recorded {
    past_query: Option<PastQuery>,
    /// Answered, and not sent to the window yet.
    past: Option<Past>,
    period: Option<Period>,
    /// Answered, and not sent to the window yet.
    table: Option<UsageTable>,
    used: Vec<Used>,
    /// The ids that were asked about last.
    used_of: Vec<String>,
    /// How far each budget is used up.
    accounts: Vec<Account>,
    rates: Rates,
    trouble: Option<String>,
}

impl Desktop {
    /// Opens what is looked at.
    pub async fn new(
        tray: Option<Tray>,
        panel: bool,
        senders: Senders,
        memory: Memory,
        notices: Option<UnboundedSender<Notice>>,
        session: Option<Connection>,
    ) -> Self {
        let monitor = Monitor::open(None).await;
        let beat = monitor.as_ref().map_or(Settings::default().beat, |monitor| monitor.settings().settings.beat);
        Self {
            monitor,
            beat,
            readings: Vec::new(),
            together: None,
            histories: Histories::default(),
            told: Vec::new(),
            apps: Vec::new(),
            services: Vec::new(),
            grants: Grants::default(),
            has_forwarding: false,
            rules_asked: false,
            menu: Vec::new(),
            menu_at: None,
            state: State::load(),
            unsaved: None,
            start_at_login: autostart::is_on(),
            paused: false,
            asking: false,
            look_now: false,
            notice: None,
            confirm: None,
            proof_page: false,
            proof: None,
            connections: connections::Page::default(),
            opened: HashMap::new(),
            launchers: Vec::new(),
            tray,
            panel,
            picture: Picture::default(),
            appearance: Appearance::default(),
            window: None,
            windows: 0,
            memory,
            recorded: Recorded::default(),
            senders,
            notices,
            session,
            ends: None,
        }
    }

    /// Runs until it is ended.
    pub async fn serve(&mut self, events: &mut Events) -> ExitCode {
        let mut next = Instant::now() + self.beat;
        self.watch_preset();
        self.rename_watched();
        self.tell();
        loop {
            let due = self.beat;
            // How a question for a password ended is seen at the beat.
            let is_asking = self.monitor.as_ref().is_ok_and(Monitor::is_asking_for_queries) || self.grants.is_asking();
            if self.paused && !is_asking {
                self.take(events.next().await);
            } else {
                match timeout_at(next.into(), events.next()).await {
                    Ok(event) => self.take(event),
                    Err(_) if self.paused => {
                        self.tell();
                        next = Instant::now() + due;
                    }
                    Err(_) => {
                        self.look().await;
                        next += due;
                        // A look that took long is not made up for: a rate over no time is noise.
                        if next <= Instant::now() {
                            next = Instant::now() + due;
                        }
                    }
                }
            }
            if std::mem::take(&mut self.look_now) && !self.paused {
                self.look().await;
            }
            if self.connections.is_due() {
                self.look_at_connections().await;
                self.tell();
            }
            if self.beat != due {
                next = Instant::now() + self.beat;
            }
            if self.unsaved.is_some_and(|since| since.elapsed() >= REST) {
                self.save();
            }
            if let Some(code) = self.ends {
                self.save();
                if !self.paused {
                    self.wait_for_history(events).await;
                    self.record_last().await;
                }
                self.memory.end();
                return code;
            }
        }
    }

    /// One beat.
    async fn look(&mut self) {
        if self.monitor.is_err() {
            self.monitor = Monitor::open(None).await;
            self.dress();
        }
        self.watch_preset();
        self.rename_watched();
        let Ok(monitor) = &mut self.monitor else {
            self.picture.push(None);
            self.tell();
            return;
        };
        let watched = self.state.watched.as_deref().unwrap_or_default();
        monitor.watch_apps(watched);
        monitor.list_services(self.window.is_some());
        let before = monitor.settings().settings.clone();
        self.readings = monitor.look(self.beat).await;
        // Somebody has agreed elsewhere.
        if *monitor.exact() == Exact::Counting {
            self.confirm = None;
            if !self.rules_asked && monitor.watches_others() {
                self.rules_asked = true;
                monitor.ask(Grant::SystemServices, false);
            }
        }
        for (id, now) in monitor.became() {
            self.histories.join(&id, &now);
            self.told.retain(|told| *told != now);
        }
        if let Some(AppRates { boottime_ns, rates }) = monitor.rates() {
            self.histories.push(boottime_ns, rates);
        }
        self.together = if self.readings.is_empty() { monitor.together() } else { None };
        let Settings { beat, internal, external, .. } = monitor.settings().settings.clone();
        self.beat = beat;
        // The file was edited by hand: the helper has to be told as well.
        if (&internal, &external) != (&before.internal, &before.external) && *monitor.exact() == Exact::Counting {
            self.wish(Wish::Prefixes(internal, external), None);
        }
        self.watch_rates();
        self.picture.push(face::sum(self.shown()));
        self.look_at_connections().await;
        self.look_at_programs();
        self.tell();
        // No figure waits for what is recorded.
        if let Ok(monitor) = &self.monitor {
            self.memory.look(monitor, &self.apps, false).await;
        }
    }

    /// What is being written comes before the last look, which has no room beside it. The program ends: nothing else matters now.
    async fn wait_for_history(&mut self, events: &mut Events) {
        let until = Instant::now() + ENDS_WITHIN;
        while self.memory.is_writing() {
            match timeout_at(until.into(), events.next()).await {
                Ok(Event::Answer(answer)) => self.answered(answer),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Takes the last look, and records all that is not recorded yet.
    async fn record_last(&mut self) {
        let Ok(monitor) = &mut self.monitor else { return };
        monitor.look(self.beat).await;
        self.memory.look(monitor, &self.apps, true).await;
    }

    /// Tells a person of the rates that have been over their limits for long.
    fn watch_rates(&mut self) {
        let settings = self.settings();
        if settings.budgets.is_empty() {
            return;
        }
        let Ok(monitor) = &mut self.monitor else { return };
        let metered = self.memory.network.metered == Some(true);
        let Some(AppRates { boottime_ns, rates }) = monitor.rates() else { return };
        let names: Vec<_> = self.apps.iter().map(|app| (app.id.as_str(), app.name.as_str())).collect();
        let rate = |budget: &Budget| {
            let rates = rates.as_ref()?;
            if budget.metered && !metered {
                return Some(0.0);
            }
            let its = budget::apps(budget, &names);
            let is_its = |id: &str| budget.app.is_none() || its.iter().any(|(app, _)| *app == id);
            Some(rates.iter().filter(|(id, _)| is_its(id)).map(|(_, rate)| rate.rx + rate.tx).sum())
        };
        let due = self.recorded.rates.look(&settings.budgets, boottime_ns, rate);
        let due: Vec<_> = due.iter().filter_map(|place| settings.budgets.get(*place)).collect();
        for budget in due {
            let name = budget::apps(budget, &names).first().map(|(_, name)| (*name).to_owned());
            let spent = Spent::of(budget, 0, None);
            self.notify(&Account { budget: budget.clone(), spent, name: name.filter(|_| budget.app.is_some()) });
        }
    }

    /// Tells a person of a budget.
    fn notify(&self, account: &Account) {
        let (Some(notices), unit) = (&self.notices, self.settings().unit) else { return };
        let Account { budget, spent, name } = account;
        _ = notices.send(Notice::of(budget, spent, name.as_deref(), unit, &TimeZone::system()));
    }

    /// Takes in what the history says.
    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Recorded(fate) => {
                self.memory.recorded(fate);
                self.ask_again();
            }
            Answer::Trouble(trouble) => self.recorded.trouble = trouble,
            Answer::Past(past) if Some(&past.query) == self.recorded.past_query.as_ref() => {
                self.recorded.past = Some(past);
            }
            Answer::Usage(table) if Some(table.period) == self.recorded.period => self.recorded.table = Some(table),
            Answer::Past(_) | Answer::Usage(_) => {} // something else was asked meanwhile
            Answer::Used(used) => self.recorded.used = used,
            Answer::Spent(accounts) => {
                let (budgets, spent): (Vec<_>, Vec<_>) =
                    accounts.iter().map(|account| (account.budget.clone(), account.spent.clone())).unzip();
                let due = self.state.told.due(&budgets, &spent, &TimeZone::system());
                due.iter().filter_map(|place| accounts.get(*place)).for_each(|account| self.notify(account));
                self.recorded.accounts = accounts;
                if !due.is_empty() {
                    self.save();
                }
            }
            Answer::Forgotten(failed) => {
                if failed.is_some() {
                    self.notice = failed;
                }
                self.memory.forgotten();
                self.ask_again();
            }
        }
    }

    /// Asks for what the window shows of the history.
    fn ask_again(&mut self) {
        if self.window.is_none() {
            return;
        }
        if let Some(query) = &self.recorded.past_query {
            self.memory.ask(Ask::Past(query.clone()));
        }
        if let Some(period) = self.recorded.period {
            self.memory.ask(Ask::Usage(period));
        }
        self.ask_used();
    }

    fn ask_used(&mut self) {
        self.recorded.used_of = self.shown().iter().map(|reading| reading.id.clone()).collect();
        self.memory.ask(Ask::Used(self.recorded.used_of.clone()));
    }

    /// How far each budget of the settings is; nothing until that is known of all of them.
    fn spent(&self) -> Vec<Spent> {
        let of = |budget: &Budget| {
            let account = self.recorded.accounts.iter().find(|account| account.budget == *budget)?;
            Some(account.spent.clone())
        };
        self.settings().budgets.iter().map(of).collect::<Option<_>>().unwrap_or_default()
    }

    /// Today and this month of what is shown, with what is not recorded yet.
    fn used(&self) -> Vec<Used> {
        let (Ok(monitor), true) = (&self.monitor, self.settings().record) else { return Vec::new() };
        let used = self.recorded.used.iter().filter_map(|used| {
            let reading = self.shown().iter().find(|reading| reading.id == used.id)?;
            let bytes = self.memory.unrecorded(monitor, &used.id);
            let estimate_bytes = if reading.source == Source::Estimate { bytes.sum() } else { 0 };
            let rest = Usage { bytes, estimate_bytes };
            Some(Used { id: used.id.clone(), today: used.today.plus(rest), month: used.month.plus(rest) })
        });
        used.collect()
    }

    /// The built-in app is shown where it runs and nobody has chosen yet.
    fn watch_preset(&mut self) {
        let Ok(monitor) = &self.monitor else { return };
        let preset = monitor.defined().preset(|target| monitor.exists(target));
        if let Some(preset) = preset.filter(|_| self.state.watched.is_none()) {
            self.state.watched = Some(vec![preset.app.name.clone()]);
            self.unsaved = Some(Instant::now());
        }
    }

    /// An app that was remembered by the id that an earlier version gave it is one with its past and its row from now on.
    fn rename_watched(&mut self) {
        let (Some(before), Ok(monitor)) = (&self.state.watched, &mut self.monitor) else { return };
        let now = monitor.ids_now(before);
        if now != *before {
            self.state.watched = Some(now);
            self.unsaved = Some(Instant::now());
        }
    }

    /// The readings of what is watched, or of all together.
    fn shown(&self) -> &[Reading] {
        if self.readings.is_empty() { self.together.as_slice() } else { &self.readings }
    }

    /// Looks at the remotes of what is watched, or of all together, if anybody looks at them.
    async fn look_at_connections(&mut self) {
        let monitor = self.monitor.as_mut().ok();
        self.connections.look(monitor, self.beat, self.window.is_some(), self.paused).await;
    }

    /// Looks at the programs of apps that have several, if there is a window to show them.
    fn look_at_programs(&mut self) {
        let Ok(monitor) = &mut self.monitor else { return };
        if self.window.is_none() {
            return monitor.forget_programs();
        }
        if self.paused {
            return;
        }
        let apps = self.readings.iter().map(|reading| reading.id.clone()).collect();
        let chosen = Chosen { apps, opened: self.opened.clone() };
        if monitor.look_at_programs(&chosen).is_err() {
            // Without a list of sockets there are no figures, and none are shown.
            monitor.forget_programs();
        }
    }

    /// Has the menu start a program so that it can be counted, or as before.
    fn start_counted(&mut self, id: &str, on: bool) {
        let name = self.launchers.iter().find(|launcher| launcher.id == id).map(|launcher| launcher.name.clone());
        let folders = Folders::of_user();
        let outcome = match (&folders, on) {
            (Ok(folders), true) => folders.set(id).map(|()| None),
            (Ok(folders), false) => folders.undo(id).map(Some),
            (Err(_), _) => Err(launchers::Error::NoHome),
        };
        self.launchers = folders.map(|folders| folders.list()).unwrap_or_default();
        let name = name.or_else(|| self.launchers.iter().find(|l| l.id == id).map(|launcher| launcher.name.clone()));
        self.notice = Some(launchers::sentence(name.as_deref().unwrap_or(id), &outcome));
        if let Ok(monitor) = &mut self.monitor {
            monitor.forget_entries();
            self.look_now = true;
        }
    }

    /// Takes the apps' icons from the desktop's theme.
    fn dress(&mut self) {
        if let Ok(monitor) = &mut self.monitor {
            monitor.set_icon_theme(self.appearance.icon_theme.clone());
        }
    }

    /// Does what has to be done about something that has happened.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Asked(Asked { token }) => return self.show(token),
            Event::Panel(there) => self.panel = there,
            Event::Tray(tray::Event::Toggle) => match self.window.take() {
                Some(_) => {
                    self.connections.open(false);
                    self.save();
                }
                None => self.show(None),
            },
            Event::Tray(tray::Event::Show) => return self.show(None),
            Event::Tray(tray::Event::Watch(id)) => {
                let mut watched = self.state.watched.clone().unwrap_or_default();
                match watched.iter().position(|watched| *watched == id) {
                    Some(at) => _ = watched.remove(at),
                    None => watched.push(id),
                }
                self.command(Command::Watch(watched));
            }
            Event::Tray(tray::Event::Pause) => self.command(Command::Pause(!self.paused)),
            Event::Tray(tray::Event::CountExactly) => self.command(Command::CountExactly),
            Event::Tray(tray::Event::StartAtLogin) => self.command(Command::StartAtLogin(!self.start_at_login)),
            Event::Tray(tray::Event::Quit) => self.command(Command::Quit),
            Event::Said(number, said) => {
                // One that was hidden may still be about to go.
                if self.window.as_ref().is_none_or(|window| window.number() != number) {
                    return;
                }
                match said {
                    Said::Command(command) => self.command(command),
                    Said::Closed(status) => self.closed(status),
                }
            }
            Event::Granted(granted) => self.granted(granted),
            Event::Proven(proof) => self.proof = Some(proof),
            Event::Saved(saved) => {
                self.notice = match saved {
                    Ok(Some(path)) => Some(format!("The chart was saved as {}.", path.display())),
                    Ok(None) => None,
                    Err(error) => Some(format!("Error: {error}.")),
                };
            }
            Event::Network(network) => self.memory.network = network,
            Event::Answer(answer @ Answer::Recorded(_)) => {
                // What was recorded is in the figures again with the answer to the next question.
                return self.answered(answer);
            }
            Event::Answer(answer) => self.answered(answer),
            Event::Ended => self.command(Command::Quit),
            Event::Appearance(appearance) => {
                self.appearance = appearance;
                self.dress();
            }
        }
        if self.look_now && !self.paused || self.connections.is_due() {
            return; // and is told then
        }
        self.tell();
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Watch(mut ids) => {
                // In the history, login sessions have one id together.
                for id in ids.iter_mut().filter(|id| !self.apps.iter().any(|app| app.id == **id)) {
                    if let Some(app) = self.apps.iter().find(|app| lasting_app(&app.id) == id) {
                        id.clone_from(&app.id);
                    }
                }
                self.state.watched = Some(ids);
                // What is known of them is shown at once, not with the next look.
                if let Ok(monitor) = &mut self.monitor {
                    monitor.watch_apps(self.state.watched.as_deref().unwrap_or_default());
                    self.readings = monitor.readings();
                    self.together = if self.readings.is_empty() { monitor.together() } else { None };
                }
                self.connections.choose(self.monitor.as_mut().ok());
                self.save();
            }
            Command::Set(settings) => self.set(settings),
            Command::CountExactly => self.count(false),
            Command::CountAnyway => self.count(true),
            Command::KeepEstimate(why) => {
                self.confirm = None;
                self.state.refused = Some(why);
                self.save();
            }
            Command::Authorise(grant) => {
                self.notice = None;
                if let Ok(monitor) = &mut self.monitor {
                    monitor.ask(grant, true);
                }
            }
            Command::RemoveExact => self.wish(Wish::Remove, None),
            Command::Pause(paused) => {
                self.paused = paused;
                self.picture.paused = paused;
            }
            Command::StartAtLogin(on) => {
                self.notice = autostart::set(on).err().map(|error| {
                    let failed = if on {
                        "netglance will not start at login, because its file in ~/.config/autostart cannot be written"
                    } else {
                        "netglance will still start at login, because its file in ~/.config/autostart cannot be removed"
                    };
                    format!("Error: {failed} ({error}).")
                });
                self.start_at_login = autostart::is_on();
            }
            Command::ProofPage(open) => self.proof_page = open,
            Command::Connections(open) => self.connections.open(open),
            Command::FollowQueries(follows) => {
                if let Ok(monitor) = &mut self.monitor {
                    monitor.follow_queries(follows);
                }
            }
            Command::Verify => self.verify(),
            Command::Span(minutes) => {
                self.state.span_min = minutes;
                self.unsaved = Some(Instant::now());
            }
            Command::Place(place) => {
                self.state.place = place;
                self.unsaved = Some(Instant::now());
            }
            Command::SaveChart { name, svg } => {
                self.notice = None;
                let (session, saved) = (self.session.clone(), self.senders.saved.clone());
                // A person may think about it for long.
                tokio::spawn(async move {
                    _ = saved.send(save::save(session.as_ref(), &name, &svg).await);
                });
            }
            Command::Past(query) => {
                self.recorded.past = None;
                if let Some(query) = &query {
                    self.memory.ask(Ask::Past(query.clone()));
                }
                self.recorded.past_query = query;
            }
            Command::Usage(period) => {
                self.recorded.table = None;
                if let Some(period) = period {
                    self.memory.ask(Ask::Usage(period));
                }
                self.recorded.period = period;
            }
            Command::Forget(forget) => {
                self.notice = None;
                self.memory.ask(Ask::Forget(forget));
            }
            Command::Programs(app, is_open) => {
                _ = self.opened.insert(app, is_open);
                self.look_at_programs();
            }
            Command::StartCounted(id, on) => self.start_counted(&id, on),
            Command::Quit => self.ends = Some(ExitCode::SUCCESS),
        }
    }

    fn count(&mut self, anyway: bool) {
        let Settings { internal, external, .. } = self.settings();
        self.wish(Wish::Count { internal, external, anyway }, None);
    }

    fn settings(&self) -> Settings {
        self.monitor.as_ref().map(|monitor| monitor.settings().settings.clone()).unwrap_or_default()
    }

    /// Prefixes that the helper shall judge by are its own first: a person who says no keeps those before.
    fn set(&mut self, settings: Settings) {
        let before = self.settings();
        let exact = self.monitor.as_ref().is_ok_and(|monitor| *monitor.exact() == Exact::Counting);
        if exact && (&settings.internal, &settings.external) != (&before.internal, &before.external) {
            let kept = Settings { internal: before.internal, external: before.external, ..settings.clone() };
            self.save_settings(&kept);
            self.wish(Wish::Prefixes(settings.internal.clone(), settings.external.clone()), Some(settings));
        } else {
            self.save_settings(&settings);
        }
    }

    fn save_settings(&mut self, settings: &Settings) {
        self.beat = settings.beat;
        if let Ok(monitor) = &mut self.monitor {
            monitor.set(settings);
        }
    }

    /// Has the helper asked for something. One wish at a time: a person has one password dialog in front of them.
    fn wish(&mut self, wish: Wish, settings: Option<Settings>) {
        if self.asking {
            return;
        }
        self.asking = true;
        self.notice = None;
        self.confirm = None;
        let granted = self.senders.granted.clone();
        tokio::spawn(async move {
            let outcome = exact::fulfil(&wish).await;
            _ = granted.send(Granted { wish, settings, outcome });
        });
    }

    /// A person waits for one proof at a time.
    fn verify(&mut self) {
        if self.proof == Some(Proof::Running) {
            return;
        }
        self.proof = Some(Proof::Running);
        let proven = self.senders.proven.clone();
        tokio::task::spawn_blocking(move || {
            let outcome = verify::run();
            _ = proven.send(outcome.map_or_else(|error| Proof::Failed(chain(&error)), Proof::Done));
        });
    }

    fn granted(&mut self, granted: Granted) {
        self.asking = false;
        (self.notice, self.confirm) = match &granted.outcome {
            Ok(()) => (None, None),
            Err(exact::Error::NeedsConfirmation(why)) => (None, Some(why.clone())),
            Err(error) => (Some(error.to_string()), None),
        };
        if granted.outcome.is_ok() {
            if granted.wish == Wish::Remove {
                self.notice = Some("Exact counting was removed from this computer.".to_owned());
            }
            if let Some(settings) = granted.settings {
                self.save_settings(&settings);
            }
        }
        if let Ok(monitor) = &mut self.monitor {
            monitor.look_for_helper();
            self.look_now = true;
        }
        // Asked for in the tray's menu, nobody would see the question.
        if self.confirm.is_some() && self.window.is_none() {
            self.show(None);
        }
    }

    /// Opens the window, or raises it.
    pub fn show(&mut self, token: Option<String>) {
        match &self.window {
            Some(window) => window.raise(),
            None => {
                self.windows += 1;
                self.proof_page = false;
                self.connections = connections::Page::default();
                self.recorded.past_query = None;
                self.recorded.period = None;
                self.recorded.used_of.clear();
                self.start_at_login = autostart::is_on();
                if let Ok(folders) = Folders::of_user() {
                    folders.refresh();
                    self.launchers = folders.list();
                }
                match Link::open(self.windows, token, self.senders.said.clone()) {
                    Ok(window) => self.window = Some(window),
                    Err(error) => say(format_args!("cannot start the window's process: {error}")),
                }
            }
        }
        self.tell();
    }

    /// Without a panel nobody could get it back, nor end it.
    fn closed(&mut self, status: Option<ExitStatus>) {
        self.window = None;
        self.connections.open(false);
        self.save();
        if !self.panel {
            let failed = status.is_none_or(|status| !status.success());
            self.ends = Some(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    }

    fn save(&mut self) {
        self.unsaved = None;
        if let Err(error) = self.state.save() {
            self.notice =
                Some(format!("Error: the chosen applications and the window position cannot be saved ({error})."));
        }
    }

    /// Tells window and tray how things are.
    fn tell(&mut self) {
        let menu_is_due = self.menu_at.is_none_or(|at| at.elapsed() >= MENU_EVERY);
        if let (true, Ok(monitor)) = (menu_is_due || self.window.is_some(), &mut self.monitor) {
            self.apps = monitor.apps();
            self.services = monitor.services();
        }
        self.hear_of_grants();
        let watched = self.state.watched.as_deref().unwrap_or_default();
        if menu_is_due {
            self.menu = menu::apps(&self.apps, watched);
            self.menu_at = Some(Instant::now());
        } else {
            menu::mark(&mut self.menu, &self.apps, watched);
        }
        let mut asks_again = false;
        if let Some(mut window) = self.window.take() {
            if window.is_behind() {
                self.told.clear();
                self.connections.miss();
                asks_again = true;
            }
            window.send(self.with_past().printable());
            self.window = Some(window);
        }
        if asks_again {
            self.ask_again(); // an answer may have been in what it missed
        } else if self.window.is_some() && !self.shown().iter().map(|reading| &reading.id).eq(&self.recorded.used_of) {
            self.ask_used();
        }
        let face = self.face();
        if let Some(tray) = &mut self.tray {
            tray.show(face);
        }
    }

    /// Takes in what came of a question for a password.
    fn hear_of_grants(&mut self) {
        let Ok(monitor) = &mut self.monitor else { return };
        let grants = monitor.grants();
        if let Some(news) = grants::news(&self.grants, &grants) {
            self.notice = Some(news);
        }
        self.grants = grants;
    }

    fn update(&self) -> Update {
        let (monitor, failure) = match &self.monitor {
            Ok(monitor) => (Some(monitor), None),
            Err(error) => (None, Some(chain(error))),
        };
        Update {
            readings: self.readings.clone(),
            overview: self.together.clone().map(|all| Overview { all, sparks: None }),
            apps: self.apps.clone(),
            services: self.services.clone(),
            grants: self.grants.clone(),
            has_forwarding: self.has_forwarding,
            confirm: self.confirm.clone().or_else(|| match monitor?.exact() {
                Exact::Unconfirmed(why) if self.state.refused.as_ref() != Some(why) => Some(why.clone()),
                _ => None,
            }),
            exact: monitor.map(|monitor| monitor.exact().clone()).unwrap_or_default(),
            notice: self.notice.clone(),
            warning: monitor.and_then(Monitor::warning).map(format::sentence),
            proof: self.proof_page.then(|| ProofPage { proof: self.proof.clone() }),
            connections: None,
            names: Sources::default(),
            failure,
            settings: self.settings(),
            settings_error: monitor.and_then(|monitor| monitor.settings().error.as_ref().map(ToString::to_string)),
            asking: self.asking,
            tray: self.panel,
            start_at_login: self.start_at_login,
            light: self.appearance.light,
            host_prefixes: monitor.map(|monitor| monitor.host_prefixes().to_vec()).unwrap_or_default(),
            span_min: self.state.span_min,
            place: self.state.place,
            paused: self.paused,
            backlog: Vec::new(),
            used: self.used(),
            past: None,
            usage: None,
            budgets: self.spent(),
            history_error: self.recorded.trouble.clone(),
            programs: Vec::new(),
            launchers: self.launchers.clone(),
        }
    }

    /// An update with the past of what the window shows for the first time.
    fn with_past(&mut self) -> Update {
        if self.told.is_empty() {
            self.has_forwarding = has_forwarding();
        }
        let mut update = self.update();
        if let Ok(monitor) = &mut self.monitor {
            update.names = monitor.name_sources();
            update.programs = monitor.by_program();
        }
        // Long, so they are sent once.
        update.connections = self.connections.tell(self.monitor.as_mut().ok(), self.paused);
        update.past = self.recorded.past.take();
        update.usage = self.recorded.table.take();
        let shown: Vec<String> = self.shown().iter().map(|reading| reading.id.clone()).collect();
        let new = shown.iter().filter(|id| !self.told.contains(id));
        let together = self.together.as_ref();
        let points = |id: &String| match together {
            Some(together) if together.id == *id => self.histories.total(),
            _ => self.histories.points(id),
        };
        update.backlog = new.map(|id| Backlog { id: id.clone(), points: points(id) }).collect();
        if let Some(overview) = update.overview.as_mut().filter(|_| !update.backlog.is_empty()) {
            overview.sparks = Some(self.histories.last(SPARK_SECS));
        }
        self.told = shown;
        update
    }

    /// What the tray says of the budgets: the fullest first.
    fn budget_lines(&self) -> Vec<String> {
        let mut accounts: Vec<_> = self.recorded.accounts.iter().collect();
        accounts.sort_by_key(|account| std::cmp::Reverse(account.spent.percent));
        let line = |account: &&Account| budget::menu_line(&account.budget, &account.spent, account.name.as_deref());
        accounts.iter().filter_map(line).take(TRAY_BUDGETS).collect()
    }

    fn face(&self) -> Face {
        let settings = self.monitor.as_ref().map(|monitor| &monitor.settings().settings);
        let failure = self.monitor.as_ref().err().map(|error| chain(error));
        let exact = self.monitor.as_ref().is_ok_and(|monitor| *monitor.exact() == Exact::Counting);
        let tooltip = if self.paused {
            "Paused".to_owned()
        } else {
            failure.unwrap_or_else(|| face::tooltip(self.shown(), settings.map(|s| s.unit).unwrap_or_default()))
        };
        let mut picture = self.picture.clone();
        picture.palette = settings.map(|settings| settings.colours).unwrap_or_default();
        Face {
            picture,
            tooltip,
            apps: self.menu.clone(),
            budgets: self.budget_lines(),
            paused: self.paused,
            offers_exact: !exact && !self.asking,
            start_at_login: self.start_at_login,
        }
    }
}

/// Whether this computer forwards packets and has a bridge, as for containers and virtual machines.
fn has_forwarding() -> bool {
    let is_on = |family: &str| fs::read(format!("/proc/sys/net/{family}")).is_ok_and(|text| text.starts_with(b"1"));
    let is_bridge = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.path().join("bridge").exists());
    ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].into_iter().any(is_on)
        && fs::read_dir("/sys/class/net").is_ok_and(|mut interfaces| interfaces.any(is_bridge))
}
