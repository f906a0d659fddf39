//! Whose the forwarded bytes of an address are. The helper counts by address; what runs containers and virtual machines says which of
//! them has it.

use std::{borrow::Cow, collections::HashMap, net::IpAddr, time::Duration};

use crate::look::{
    engines::{Engines, Places},
    forwarded,
    rate::Bytes,
    sampler::Look,
};

/// So long it may take until a new address has a name. Its bytes are nobody's until then, and not lost.
const NAMED_WITHIN: Duration = Duration::from_secs(3);

/// Who has which address by the latest look.
#[derive(Debug)]
pub(super) struct Containers {
    engines: Engines,
    /// By the names of counters.
    known: HashMap<String, Known>,
    /// Everything that runs, and every address that nothing names and that has moved external bytes: where each stands.
    paths: Vec<String>,
}

#[derive(Debug)]
struct Known {
    address: IpAddr,
    /// When it was first looked at, in `CLOCK_BOOTTIME`.
    since_ns: u64,
    has_external: bool,
    /// An engine names it.
    is_named: bool,
    /// Where it stands; `None`: it has no name yet.
    path: Option<String>,
    /// Where it stands from the next look on: what was moved until this one belongs to whoever had the address before.
    next: Option<String>,
    /// What it has moved since it was first looked at and while it had no name.
    waiting: Bytes,
}

impl Known {
    fn new(address: IpAddr, since_ns: u64, has_external: bool) -> Self {
        let (path, next, waiting) = (None, None, Bytes::default());
        Self { address, since_ns, has_external, is_named: false, path, next, waiting }
    }

    /// Takes in a look. `has_news`: who has which address may be different. Whether it stands somewhere else now.
    fn refresh(&mut self, engines: &Engines, boottime_ns: u64, has_news: bool) -> bool {
        if !has_news && self.path.is_some() && self.path == self.next {
            return false;
        }
        let before = self.path.take();
        let is_named = engines.holder_of(self.address).is_some();
        if self.is_named && !is_named {
            // It has gone; another one may have the address in a moment.
            self.since_ns = boottime_ns;
        }
        self.path = if before.is_some() { self.next.clone() } else { None };
        let age = Duration::from_nanos(boottime_ns.saturating_sub(self.since_ns));
        self.next = (is_named || age >= NAMED_WITHIN).then(|| engines.path_of(self.address));
        self.is_named = is_named;
        if self.path.is_none() {
            self.path.clone_from(&self.next);
        }
        before != self.path
    }
}

impl Containers {
    /// Begins to ask.
    pub fn new() -> Self {
        Self { engines: Engines::new(&Places::here()), known: HashMap::new(), paths: Vec::new() }
    }

    /// Takes in a look. Whether what runs, or where it stands, is different now.
    pub fn refresh(&mut self, look: &Look) -> bool {
        let boottime_ns = look.sample.boottime_ns;
        let mut changed = self.engines.refresh();
        let rows = look.sample.rows.iter().filter(|row| forwarded::is_in(&row.cgroup));
        for row in rows {
            let has_external = row.rx_bytes > 0 || row.tx_bytes > 0;
            if let Some(known) = self.known.get_mut(&row.cgroup) {
                changed |= known.has_external != has_external && known.path.is_some();
                known.has_external = has_external;
            } else if let Some(address) = forwarded::address(&row.cgroup) {
                self.known.insert(row.cgroup.clone(), Known::new(address, boottime_ns, has_external));
            }
        }
        self.engines.seen(self.known.values().map(|known| known.address));
        let has_news = changed;
        for known in self.known.values_mut() {
            changed |= known.refresh(&self.engines, boottime_ns, has_news);
        }
        if changed {
            self.list();
        }
        changed
    }

    fn list(&mut self) {
        let named = self.engines.holders().iter().flat_map(|holder| holder.addresses.iter());
        let named = named.map(|address| self.engines.path_of(*address));
        let is_unnamed = |known: &&Known| known.has_external && self.engines.holder_of(known.address).is_none();
        let unnamed = self.known.values().filter(is_unnamed).filter_map(|known| known.path.clone());
        self.paths = named.chain(unnamed).collect();
        self.paths.sort_unstable();
    }

    /// Where everything stands that is to be listed.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Where a counter's address stands; `None`: it has no name yet.
    pub fn path_of(&self, counter: &str) -> Option<&str> {
        self.known.get(counter)?.path.as_deref()
    }

    /// Keeps what an address has moved that has no name yet.
    pub fn wait(&mut self, counter: &str, bytes: Bytes) {
        if let Some(known) = self.known.get_mut(counter) {
            known.waiting = known.waiting.plus(bytes);
        }
    }

    /// What those have moved that have a name by now: their paths, and bytes.
    pub fn named(&mut self) -> Vec<(String, Bytes)> {
        let is_named = |known: &&mut Known| known.path.is_some() && known.waiting != Bytes::default();
        let named = self.known.values_mut().filter(is_named);
        named.filter_map(|known| Some((known.path.clone()?, std::mem::take(&mut known.waiting)))).collect()
    }

    /// For commands that look once: waits until everybody has answered, a moment at most.
    pub async fn settle(&mut self) {
        self.engines.settle().await;
    }
}

/// Where what a counter has counted is accounted: a cgroup's where it is. `None`: nowhere yet, and it is kept.
pub(super) fn place<'a>(containers: &mut Option<Containers>, counter: &'a str, bytes: Bytes) -> Option<Cow<'a, str>> {
    if !forwarded::is_in(counter) {
        return Some(Cow::Borrowed(counter));
    }
    let containers = containers.as_mut()?;
    if let Some(path) = containers.path_of(counter) {
        return Some(Cow::Owned(path.to_owned()));
    }
    containers.wait(counter, bytes);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was moved until a look belongs to whoever had the address before it.
    #[tokio::test]
    async fn what_a_container_moves_last_is_its_own() {
        let engines = Engines::new(&Places::default());
        let mut known = Known::new("172.17.0.2".parse().unwrap(), 0, true);
        known.refresh(&engines, 0, true);
        assert_eq!(known.path, None, "it has no name yet");
        // As if an engine had named it.
        let web = Some("/forwarded/docker/web/172.17.0.2".to_owned());
        (known.is_named, known.path, known.next) = (true, web.clone(), web.clone());
        let at = |secs: u64| secs * 1_000_000_000;
        assert!(!known.refresh(&engines, at(10), false), "nothing is new");
        known.refresh(&engines, at(11), true);
        assert_eq!(known.path, web, "its end has been told, and its last bytes come with the same look");
        known.refresh(&engines, at(12), false);
        assert_eq!(known.path, None, "another one may get the address");
        known.refresh(&engines, at(13), false);
        assert_eq!(known.path, None);
        known.refresh(&engines, at(14), false);
        assert_eq!(known.path.as_deref(), Some("/forwarded/bridge/unknown/172.17.0.2"), "nobody has named it");
    }
}
