//! The programs that share a cgroup: a login session as many a desktop has it, a terminal. By their desktop entries where they
//! have any, with the TCP bytes of their sockets: an estimate, also where the cgroup's own figures are exact. It costs something
//! only while somebody looks.

pub mod entries;
pub mod exec;
mod group;
pub mod process;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::PathBuf,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use self::{
    entries::Entries,
    group::{Key, Member, program_of},
    process::Process,
};
use super::{
    desktop_entry::DesktopEntries,
    rate::{Bytes, Rate},
    sampler::OfSocket,
};

/// Processes that are looked at; what further ones move is explained by no program.
const MOST_PROCESSES: usize = 4096;
/// Programs of an app with a row of their own.
const MOST_PROGRAMS: usize = 256;
/// Descriptors that are looked at in a look.
const MOST_DESCRIPTORS: usize = 60_000;
/// The owner of a socket is sought in so many looks.
const SOUGHT: u8 = 3;
/// A process may still become what it is to be in its first looks; later it is read again once in so many.
const YOUNG: u32 = 4;
const READ_EVERY: u32 = 16;
/// Apps whose programs nobody looks at are only counted, once in so many looks.
const COUNTED_EVERY: u32 = 4;

/// An app with more than one program.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ByProgram {
    /// The app's id.
    pub app: String,
    /// How many programs run in it.
    pub count: u32,
    /// Its programs are looked at: without that, there are none here.
    pub is_open: bool,
    /// Since when; all bytes here count from then.
    pub since: jiff::Timestamp,
    /// External bytes of all of it, received and sent, as the app's own figures have them.
    pub bytes: [u64; 2],
    /// Those that run and those that have moved bytes. They are estimates: TCP payload, by process.
    pub programs: Vec<Program>,
    /// What no program explains.
    pub rest: Rest,
}

/// A program of an app.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Program {
    /// What a person reads.
    pub name: String,
    /// The icon's file.
    pub icon: Option<PathBuf>,
    /// Its desktop entry; `None`: it has none.
    pub desktop_id: Option<String>,
    /// The menu has it.
    pub in_menu: bool,
    /// Its processes, those that it has started among them; 0: it has ended.
    pub processes: u32,
    /// External rate; `None` in a gap.
    pub rate: Option<Rate>,
    /// External bytes received and sent.
    pub bytes: [u64; 2],
    /// Whether it can be counted as an app of its own.
    pub launch: Launch,
}

/// Whether a program can be started in a cgroup of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Launch {
    /// No: it has no desktop entry that netglance could start, or no systemd that would make the cgroup.
    #[default]
    Impossible,
    /// Yes.
    Possible,
    /// It is, from its next start on.
    Chosen,
}

/// What is counted for the app, and for none of its programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Rest {
    /// External rate; `None` in a gap.
    pub rate: Option<Rate>,
    /// External bytes received and sent.
    pub bytes: [u64; 2],
}

/// Whose programs are looked at.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Of these apps alone, and all of their programs; empty: of every app.
    pub apps: Vec<String>,
    /// What somebody has opened or closed, by the app's id. Otherwise, a login session with programs of the menu in it is open.
    pub opened: HashMap<String, bool>,
}

/// An app, as it is when its programs are looked at.
#[derive(Debug)]
pub struct App<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its cgroups.
    pub cgroups: &'a [String],
    /// External bytes since the monitor began.
    pub total: [u64; 2],
    /// And those of the last look.
    pub latest: [u64; 2],
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub struct Programs {
    look: u32,
    apps: BTreeMap<String, Known>,
    processes: HashMap<u32, Seen>,
    entries: Entries,
    /// By the socket's cookie.
    owners: HashMap<u64, Owner>,
    /// Descriptors that the latest look has looked at.
    descriptors: usize,
}

#[derive(Debug, Default)]
struct Known {
    /// Its processes, and the program of each.
    members: HashMap<u32, Key>,
    /// A program of the menu is among them.
    has_app: bool,
    /// `None`: nobody looks at them.
    figures: Option<Figures>,
}

#[derive(Debug)]
struct Figures {
    /// This is their first look: what was moved before it doesn't count.
    is_new: bool,
    since: jiff::Timestamp,
    began: [u64; 2],
    total: [u64; 2],
    latest: [u64; 2],
    moved: BTreeMap<Key, Moved>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    total: [u64; 2],
    latest: [u64; 2],
}

#[derive(Debug)]
struct Seen {
    process: Process,
    /// Its entry, whether that is an app of the menu, and the entries by which it was found.
    entry: Option<String>,
    is_app: bool,
    generation: u64,
    looks: u32,
    is_there: bool,
}

#[derive(Debug)]
enum Owner {
    /// It was sought in so many looks, and has moved this much meanwhile.
    Sought(u8, [u64; 2]),
    Found(String, Key),
    /// Nobody that may be looked at has it.
    Nobody,
}

fn plus(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])]
}

fn since(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0].saturating_sub(b[0]), a[1].saturating_sub(b[1])]
}

fn rate(bytes: [u64; 2], secs: f64) -> Rate {
    Bytes { rx: bytes[0], tx: bytes[1], ..Bytes::default() }.rate(secs)
}

impl Programs {
    /// Looks at the processes of these apps. Whether the sockets are needed: [`Self::take`] is to be called then.
    /// `directory`: where a cgroup's files are.
    pub fn look(&mut self, apps: &[App<'_>], chosen: &Chosen, directory: impl Fn(&str) -> PathBuf) -> bool {
        self.look = self.look.wrapping_add(1);
        self.entries.refresh(Instant::now());
        self.processes.values_mut().for_each(|seen| seen.is_there = false);
        self.apps.retain(|id, _| apps.iter().any(|app| app.id == id));
        for app in apps {
            let known = self.apps.get(app.id);
            let is_due = known.is_none_or(|known| known.figures.is_some()) || self.look % COUNTED_EVERY == 1;
            let mut pids = Vec::new();
            match known {
                Some(known) if !is_due => pids.extend(known.members.keys()),
                _ => pids = self.pids(app.cgroups, &directory),
            }
            if is_due {
                self.members(app.id, &pids);
            }
            for pid in &pids {
                if let Some(seen) = self.processes.get_mut(pid) {
                    seen.is_there = true;
                }
            }
            self.open(app, chosen);
        }
        self.processes.retain(|_, seen| seen.is_there);
        let is_open = self.apps.values().any(|known| known.figures.is_some());
        if !is_open {
            self.owners.clear();
        }
        is_open
    }

    fn pids(&self, cgroups: &[String], directory: impl Fn(&str) -> PathBuf) -> Vec<u32> {
        let mut pids = Vec::new();
        let others = self.processes.values().filter(|seen| seen.is_there).count();
        for cgroup in cgroups {
            let text = fs::read_to_string(directory(cgroup).join("cgroup.procs")).unwrap_or_default();
            // 0: of a PID namespace beside this one.
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
            if pids.len() + others > MOST_PROCESSES {
                break;
            }
        }
        pids.truncate(MOST_PROCESSES.saturating_sub(others));
        pids
    }

    /// Finds out what the processes of an app are, and puts each to a program.
    fn members(&mut self, app: &str, pids: &[u32]) {
        for pid in pids {
            self.read(*pid);
        }
        let member = |pid: &u32| {
            let seen = self.processes.get(pid)?;
            let Process { parent, runs, .. } = &seen.process;
            let (name, is_shell) = (runs.name.clone(), runs.is_shell);
            Some((*pid, Member { parent: *parent, name, entry: seen.entry.clone(), is_app: seen.is_app, is_shell }))
        };
        let members: HashMap<u32, Member> = pids.iter().filter_map(member).collect();
        let known = self.apps.entry(app.to_owned()).or_default();
        known.has_app = members.values().any(|member| member.is_app);
        known.members = members.keys().filter_map(|pid| Some((*pid, program_of(*pid, &members)?))).collect();
    }

    fn read(&mut self, pid: u32) {
        let generation = self.entries.generation;
        if let Some(seen) = self.processes.get_mut(&pid) {
            seen.looks = seen.looks.saturating_add(1);
            let is_settled = seen.looks > YOUNG && seen.looks % READ_EVERY != 0;
            if is_settled && seen.generation == generation {
                return;
            }
        }
        let Some(process) = process::read(pid) else {
            self.processes.remove(&pid);
            return;
        };
        if let Some(seen) = self.processes.get(&pid)
            && seen.process == process
            && seen.generation == generation
        {
            return;
        }
        let looks = self.processes.get(&pid).filter(|seen| seen.process.started == process.started);
        let looks = looks.map_or(0, |seen| seen.looks);
        let entry = self.entries.find(&process.runs);
        let (entry, is_app) = (entry.map(|entry| entry.id.clone()), entry.is_some_and(|entry| entry.is_app));
        self.processes.insert(pid, Seen { process, entry, is_app, generation, looks, is_there: true });
    }

    /// Begins to look at an app's programs, goes on with that, or ends it.
    fn open(&mut self, app: &App<'_>, chosen: &Chosen) {
        let Some(known) = self.apps.get_mut(app.id) else { return };
        let programs: BTreeSet<&Key> = known.members.values().collect();
        let is_session = app.id.starts_with("session-");
        let is_wanted = match chosen.opened.get(app.id) {
            _ if chosen.apps.iter().any(|id| id == app.id) => true,
            Some(is_open) => *is_open,
            // Once open, it stays so: what its programs have moved doesn't go with the last of them.
            None => is_session && (known.has_app || known.figures.is_some()),
        };
        let is_wanted = is_wanted && (programs.len() > 1 || known.figures.is_some());
        if !is_wanted {
            known.figures = None;
            return;
        }
        let new = || Figures {
            is_new: true,
            since: jiff::Timestamp::now(),
            began: app.total,
            total: app.total,
            latest: [0; 2],
            moved: BTreeMap::new(),
        };
        let is_new = known.figures.is_none();
        let figures = known.figures.get_or_insert_with(new);
        (figures.is_new, figures.total) = (is_new, app.total);
        figures.latest = if is_new { [0; 2] } else { app.latest };
        for key in programs {
            if figures.moved.len() < MOST_PROGRAMS && !figures.moved.contains_key(key) {
                figures.moved.insert(key.clone(), Moved::default());
            }
        }
    }

    /// Takes what the sockets have moved since the look before; in the first one, nothing. `app_of`: the app of a cgroup.
    pub fn take(&mut self, sockets: &[OfSocket], app_of: impl Fn(&str) -> Option<String>) {
        let moved = self.apps.values_mut().filter_map(|known| known.figures.as_mut());
        moved.flat_map(|figures| figures.moved.values_mut()).for_each(|moved| moved.latest = [0; 2]);
        let mut apps: HashMap<&str, Option<String>> = HashMap::new();
        let mut wanted: HashMap<u32, u64> = HashMap::new();
        for socket in sockets.iter().filter(|socket| !socket.is_gone && socket.inode != 0) {
            let is_open = |id: &String| self.apps.get(id).is_some_and(|known| known.figures.is_some());
            let app = apps.entry(&socket.cgroup).or_insert_with(|| app_of(&socket.cgroup).filter(is_open));
            if app.is_some()
                && matches!(self.owners.entry(socket.cookie).or_insert(Owner::Sought(0, [0; 2])), Owner::Sought(..))
            {
                wanted.insert(socket.inode, socket.cookie);
            }
        }
        self.find_owners(&mut wanted);
        for socket in sockets {
            match self.owners.get_mut(&socket.cookie) {
                Some(Owner::Sought(_, waiting)) => *waiting = plus(*waiting, socket.bytes),
                Some(Owner::Found(app, key)) => {
                    let figures = self.apps.get_mut(app).and_then(|known| known.figures.as_mut());
                    let figures = figures.filter(|figures| !figures.is_new);
                    if let Some(moved) = figures.and_then(|figures| figures.moved.get_mut(key)) {
                        moved.total = plus(moved.total, socket.bytes);
                        moved.latest = plus(moved.latest, socket.bytes);
                    }
                }
                Some(Owner::Nobody) | None => {}
            }
            if socket.is_gone {
                self.owners.remove(&socket.cookie);
            }
        }
        let there: HashSet<u64> = sockets.iter().map(|socket| socket.cookie).collect();
        self.owners.retain(|cookie, _| there.contains(cookie));
    }

    /// Looks for these sockets in the processes of all apps that are looked at, those first that have had some before.
    fn find_owners(&mut self, wanted: &mut HashMap<u32, u64>) {
        self.descriptors = 0;
        if wanted.is_empty() {
            return;
        }
        let open = self.apps.iter().filter(|(_, known)| known.figures.is_some());
        let mut holders: Vec<(&String, &Key, u32)> =
            open.flat_map(|(id, known)| known.members.iter().map(move |(pid, key)| (id, key, *pid))).collect();
        let holder = |owner: &Owner| if let Owner::Found(_, key) = owner { Some(key.clone()) } else { None };
        let known: HashSet<Key> = self.owners.values().filter_map(holder).collect();
        let started = |pid: &u32| self.processes.get(pid).map_or(u64::MAX, |seen| seen.process.started);
        // A socket that a parent has left to its children is the parent's.
        holders.sort_by_key(|(_, key, pid)| (!known.contains(key), started(pid)));
        let mut found = Vec::new();
        for (app, key, pid) in holders {
            if wanted.is_empty() || self.descriptors >= MOST_DESCRIPTORS {
                break;
            }
            self.descriptors += process::sockets(pid, |inode| {
                if let Some(cookie) = wanted.remove(&inode) {
                    found.push((cookie, app.clone(), key.clone()));
                }
                wanted.is_empty()
            });
        }
        for (cookie, app, key) in found {
            if let Some(Owner::Sought(_, waited)) = self.owners.insert(cookie, Owner::Found(app.clone(), key.clone())) {
                let figures = self.apps.get_mut(&app).and_then(|known| known.figures.as_mut());
                if let Some(moved) = figures.and_then(|figures| figures.moved.get_mut(&key)) {
                    moved.total = plus(moved.total, waited);
                    moved.latest = plus(moved.latest, waited);
                }
            }
        }
        for cookie in wanted.values() {
            let Some(owner) = self.owners.get_mut(cookie) else { continue };
            *owner = match *owner {
                Owner::Sought(times, waiting) if times + 1 < SOUGHT => Owner::Sought(times + 1, waiting),
                _ => Owner::Nobody,
            };
        }
    }

    /// What is known now. `secs`: of the latest look; `None` in a gap. `can_launch`: systemd would make a cgroup.
    pub fn by_program(&self, desktop: &mut DesktopEntries, secs: Option<f64>, can_launch: bool) -> Vec<ByProgram> {
        let mut all = Vec::new();
        for (id, known) in &self.apps {
            let mut processes: BTreeMap<&Key, u32> = BTreeMap::new();
            known.members.values().for_each(|key| *processes.entry(key).or_default() += 1);
            let count = u32::try_from(processes.len()).unwrap_or(u32::MAX);
            let Some(figures) = &known.figures else {
                if count > 1 {
                    let (since, bytes, rest) = (jiff::Timestamp::default(), [0; 2], Rest::default());
                    all.push(ByProgram {
                        app: id.clone(),
                        count,
                        is_open: false,
                        since,
                        bytes,
                        programs: Vec::new(),
                        rest,
                    });
                }
                continue;
            };
            let in_session = id.starts_with("session-");
            let mut programs = Vec::new();
            let (mut sum, mut latest) = ([0; 2], [0; 2]);
            for (key, moved) in &figures.moved {
                let processes = processes.get(key).copied().unwrap_or_default();
                (sum, latest) = (plus(sum, moved.total), plus(latest, moved.latest));
                if processes > 0 || moved.total != [0; 2] {
                    let program = self.program(key, desktop, can_launch && in_session);
                    let rate = secs.map(|secs| rate(moved.latest, secs));
                    programs.push(Program { processes, rate, bytes: moved.total, ..program });
                }
            }
            programs.sort_by_cached_key(|program| {
                (std::cmp::Reverse(program.bytes[0].saturating_add(program.bytes[1])), program.name.to_lowercase())
            });
            let bytes = since(figures.total, figures.began);
            let rest =
                Rest { rate: secs.map(|secs| rate(since(figures.latest, latest), secs)), bytes: since(bytes, sum) };
            all.push(ByProgram { app: id.clone(), count, is_open: true, since: figures.since, bytes, programs, rest });
        }
        all
    }

    /// Name, icon and so on; no figures.
    fn program(&self, key: &Key, desktop: &mut DesktopEntries, can_launch: bool) -> Program {
        let none = |name: &str| Program {
            name: name.to_owned(),
            icon: None,
            desktop_id: None,
            in_menu: false,
            processes: 0,
            rate: None,
            bytes: [0; 2],
            launch: Launch::Impossible,
        };
        let id = match key {
            Key::Name(name) => return none(name),
            Key::Entry(id) => id,
        };
        let Some(entry) = self.entries.get(id) else { return none(id) };
        let launch = match () {
            () if entry.is_started => Launch::Chosen,
            () if can_launch && entry.is_startable && entry.is_app => Launch::Possible,
            () => Launch::Impossible,
        };
        match desktop.find_in(id, &entry.path) {
            Some(named) => Program {
                icon: named.icon.clone(),
                in_menu: entry.is_app,
                desktop_id: Some(id.clone()),
                launch,
                ..none(&named.name)
            },
            None => Program { desktop_id: Some(id.clone()), launch, in_menu: entry.is_app, ..none(id) },
        }
    }

    /// Whether the programs of an entry are looked at.
    pub fn needs_entry(&self, id: &str) -> bool {
        let is_it = |key: &Key| matches!(key, Key::Entry(entry) if entry == id);
        let figures = self.apps.values().filter_map(|known| known.figures.as_ref());
        figures.flat_map(|figures| figures.moved.keys()).any(is_it)
    }

    /// There are other desktop entries now.
    pub fn forget_entries(&mut self) {
        self.entries.forget();
    }

    /// Descriptors that the latest look has looked at, to find the owners of new sockets.
    pub fn descriptors(&self) -> usize {
        self.descriptors
    }
}
