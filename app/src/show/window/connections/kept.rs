//! The remotes as they are known now: what updates have said of them. Pure: reads no clock and draws nothing.

use std::collections::{BTreeSet, HashMap};

use super::{past::Past, words};
use crate::{
    look::{
        remotes::{Figures, Remote},
        sampler::Source,
    },
    show::update::{Connections, Update},
};

/// All that is known of the remotes of what is shown.
#[derive(Debug, Default)]
pub struct Kept {
    entries: HashMap<u32, Entry>,
    /// An update with everything has come.
    has_all: bool,
    /// What each has moved in the last minutes.
    pub past: Past,
    /// Where the figures come from; `None`: nothing has come yet.
    pub source: Option<Source>,
    /// `CLOCK_BOOTTIME` of the first look: what was before is not known of any.
    opened_ns: u64,
    /// `CLOCK_BOOTTIME` of the latest look.
    pub now_ns: u64,
    /// `false`: there are more than can be told apart.
    pub is_complete: bool,
    /// Bytes that are in no row.
    pub others: Option<[u64; 2]>,
    /// Why there are no rows, or why they are not of now.
    pub failure: Option<String>,
    /// How many are judged otherwise by the exact counters.
    pub disagreeing: usize,
    /// How many are not measured.
    pub unmeasured: usize,
    /// What tells who talks to them, where that is not the same for all.
    pub owners: Option<Owners>,
    /// Of some a country or network is known.
    pub networks: bool,
    /// Changes with whatever is shown.
    pub version: u64,
}

/// What the column of the owners is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Several apps.
    Apps,
    /// The services of one app.
    Services,
}

/// A remote, and what is made of it once.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub remote: Remote,
    /// What was moved with it.
    pub figures: Figures,
    /// The look at which it was found; what was before is not known.
    pub since_ns: u64,
    /// Its name, or else its address.
    pub name: String,
    /// Whose it is: the app's name, or the unit's.
    pub owner: String,
    /// Country and network; empty where neither is known.
    pub network: String,
    /// Its name, for the order of the alphabet.
    pub name_key: String,
    /// All that can be searched for, in small letters.
    text: String,
}

impl Entry {
    /// Whether each of these words, in small letters, is found in it.
    pub fn matches(&self, words: &[String]) -> bool {
        words.iter().all(|word| self.text.contains(word.as_str()))
    }

    /// Whether the exact counters judge it as it is judged here, as far as there are any.
    pub fn agrees(&self) -> bool {
        self.remote.counters.is_none() || self.remote.counters == self.remote.scope
    }

    /// The same cgroup, address, port and protocol.
    fn is(&self, remote: &Remote) -> bool {
        let Remote { cgroup, address, port, protocol, .. } = &self.remote;
        (cgroup, address, port, protocol) == (&remote.cgroup, &remote.address, &remote.port, &remote.protocol)
    }
}

impl Kept {
    /// Takes what an update says. Without anything about remotes, everything stays.
    pub fn receive(&mut self, update: &Update) {
        let Some(news) = &update.connections else { return };
        // What comes before everything has come is about another table.
        self.has_all |= news.is_whole;
        if !self.has_all && news.failure.is_none() {
            return;
        }
        self.version += 1;
        if self.source.is_none() {
            self.opened_ns = news.boottime_ns;
        }
        self.failure.clone_from(&news.failure);
        self.is_complete = news.is_complete;
        self.others = news.others;
        if news.is_whole {
            let listed: BTreeSet<u32> = news.remotes.iter().map(|remote| remote.id).collect();
            self.entries.retain(|id, _| listed.contains(id));
        }
        for id in &news.gone {
            self.entries.remove(id);
        }
        self.take_remotes(update, news);
        for figures in &news.figures {
            if let Some(entry) = self.entries.get_mut(&figures.id) {
                entry.figures = *figures;
            }
        }
        let known = news.failure.is_none();
        if known {
            self.source = Some(news.source);
        }
        self.now_ns = self.now_ns.max(news.boottime_ns);
        let rates = news.figures.iter().filter(|figures| figures.bytes.is_some());
        self.past.push(news.boottime_ns, known, rates.map(|figures| (figures.id, figures.rate)));
        self.disagreeing = self.entries.values().filter(|entry| !entry.agrees()).count();
        self.unmeasured = self.entries.values().filter(|entry| entry.figures.bytes.is_none()).count();
    }

    /// Takes those that are new, or of which something else is known.
    fn take_remotes(&mut self, update: &Update, news: &Connections) {
        if news.remotes.is_empty() && news.gone.is_empty() && !news.is_whole {
            return;
        }
        let owner_of = owners(update);
        // What was there before an update with everything may have moved bytes that nobody has seen.
        let since_ns = if news.is_whole { news.boottime_ns } else { self.opened_ns };
        for remote in &news.remotes {
            let before = self.entries.remove(&remote.id).filter(|before| before.is(remote));
            let (figures, since_ns) = before
                .map_or((Figures { id: remote.id, ..Figures::default() }, since_ns), |before| {
                    (before.figures, before.since_ns)
                });
            let owner = owner_of(remote);
            let name = words::name(remote);
            let network = words::network(&remote.whois);
            let text = words::searched(remote, &owner);
            let name_key = name.to_lowercase();
            let entry = Entry { remote: remote.clone(), figures, since_ns, name, owner, network, name_key, text };
            self.entries.insert(remote.id, entry);
        }
        self.networks = self.entries.values().any(|entry| !entry.network.is_empty());
        let several = update.shown().len() > 1 || update.shown().iter().any(|reading| reading.id.is_empty());
        let mut owners = self.entries.values().map(|entry| &entry.owner);
        let first = owners.next();
        let differ = owners.any(|owner| Some(owner) != first);
        self.owners = match (several, differ) {
            (true, _) => Some(Owners::Apps),
            (false, true) => Some(Owners::Services),
            (false, false) => None,
        };
    }

    /// One of them.
    pub fn get(&self, id: u32) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Who talks to a remote: of several apps the app, of one its unit.
fn owners(update: &Update) -> impl Fn(&Remote) -> String {
    let shown = update.shown();
    let together = shown.iter().any(|reading| reading.id.is_empty());
    let apps = update.apps.iter().filter(|_| together);
    let mut of_cgroup: Vec<(&str, &str)> =
        apps.flat_map(|app| app.cgroups.iter().map(|cgroup| (cgroup.as_str(), app.name.as_str()))).collect();
    // The longest path first: it is the nearest.
    of_cgroup.sort_by_key(|(cgroup, _)| std::cmp::Reverse(cgroup.len()));
    move |remote: &Remote| {
        let below = |cgroup: &str| {
            let rest = remote.cgroup.strip_prefix(cgroup);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let app = if together {
            of_cgroup.iter().find(|(cgroup, _)| below(cgroup)).map(|(_, name)| *name)
        } else if shown.len() > 1 {
            shown.iter().find(|reading| reading.id == remote.app).map(|reading| reading.app.as_str())
        } else {
            None
        };
        app.unwrap_or(&remote.unit).to_owned()
    }
}
