//! What is not the caller's own: system services, and the units of other users. The helper tells a user only the rows of their own
//! cgroups, unless an administrator's password was given; until then these figures are an estimate, beside the exact ones.
//!
//! They have books of their own. So nothing of them is in any sum of the caller's apps, nor in the history, and the caller's own
//! rows are the same whether these are looked at or not.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use netglance_dbus::error::chain;

use super::{Beat, Monitor, Moved, is_own_cgroup};
use crate::look::{
    names::{Manager, Names, Unit},
    rate::{self, Bytes, Gap},
    reading::{AppReading, Kind},
    sampler::{
        self, Look, Source,
        grants::{Grant, Grants, Permission},
    },
    services,
    target::Target,
};

/// What others have moved.
#[derive(Debug)]
pub(super) struct Others {
    /// Somebody wants the list of system services.
    pub(super) are_listed: bool,
    before: Option<Look>,
    /// The last exact look before the estimate took over, and the totals at that time.
    last_exact: Option<(Look, HashMap<String, Bytes>)>,
    /// By cgroup path, since the first look.
    pub(super) moved: HashMap<String, Moved>,
    /// The latest look; `None`: there was none at the latest beat.
    pub(super) beat: Option<Beat>,
    pub(super) names: Names,
}

impl Default for Others {
    fn default() -> Self {
        Self {
            are_listed: false,
            before: None,
            last_exact: None,
            moved: HashMap::new(),
            beat: None,
            names: Names::of(Manager::System),
        }
    }
}

impl Others {
    /// Takes in a look. What is the caller's own is left out, as it has its own rows.
    fn take(&mut self, look: Look, time: jiff::Timestamp, longest_secs: f64, is_own: impl Fn(&str) -> bool) {
        let mut secs = Err(Gap::SourceChanged(look.source));
        if let Some(before) = &self.before {
            let between = rate::between(before, &look, longest_secs);
            for (path, bytes) in between.bytes.into_iter().filter(|(path, _)| !is_own(path)) {
                let moved = self.moved.entry(path.to_owned()).or_default();
                *moved = Moved { total: moved.total.plus(bytes), latest: bytes };
            }
            secs = between.secs;
            match (before.source, look.source) {
                (Source::Exact, Source::Estimate) => {
                    let totals = self.moved.iter().map(|(path, moved)| (path.clone(), moved.total)).collect();
                    self.last_exact = Some((before.clone(), totals));
                }
                (Source::Estimate, Source::Exact) => self.make_up(&look, is_own),
                _ => {}
            }
        }
        let (source, boottime_ns) = (look.source, look.sample.boottime_ns);
        let unmeasured_udp = look.unmeasured_udp.clone();
        self.before = Some(look);
        self.beat = Some(Beat { time, source, boottime_ns, secs, unmeasured_udp });
    }

    /// As [`Monitor::make_up`]: the helper has counted while it was not asked.
    fn make_up(&mut self, look: &Look, is_own: impl Fn(&str) -> bool) {
        let Some((exact, totals)) = self.last_exact.take() else { return };
        let between = rate::between(&exact, look, f64::INFINITY).bytes;
        for (path, bytes) in between.into_iter().filter(|(path, _)| !is_own(path)) {
            let total = totals.get(path).copied().unwrap_or_default().plus(bytes);
            let moved = self.moved.entry(path.to_owned()).or_default();
            moved.total = moved.total.at_least(total);
        }
    }
}

impl Monitor {
    /// Asks for figures that are not the caller's own, in a task beside the looks. `interactive`: a person may be asked for a password;
    /// otherwise only polkit's rules decide. [`Self::grants`] says what became of it.
    pub fn ask(&mut self, grant: Grant, interactive: bool) {
        self.sampler.ask(grant, interactive);
    }

    /// Waits until a question is answered, however long a person takes.
    pub async fn settle_question(&mut self) {
        self.sampler.settle().await;
    }

    /// What was asked for, and what became of it.
    pub fn grants(&mut self) -> Grants {
        if rustix::process::getuid().is_root() {
            return Grants { system_services: Permission::Granted, forwarded: Permission::Granted };
        }
        self.sampler.grants().clone()
    }

    /// Whether something is watched that is not the caller's own, so that its figures need a grant.
    pub fn watches_others(&self) -> bool {
        self.watches.iter().any(|watch| !watch.is_own)
    }

    /// Looks at all system services from now on, if that is granted, or no more than at those that are watched.
    pub fn list_services(&mut self, list: bool) {
        self.others.are_listed = list;
    }

    /// Finds out whose it is that is watched, at each look where a directory's owner decides: that can change without any news.
    pub(super) fn find_own(&mut self) {
        if self.owns_known {
            return;
        }
        let own: Vec<_> =
            self.watches.iter().map(|watch| watch.target.is_of_apps() || self.is_own(&watch.target)).collect();
        self.watches.iter_mut().zip(own).for_each(|(watch, own)| watch.is_own = own);
        self.owns_known = self.is_own_by_name();
    }

    /// Looks at what is not the caller's own, if anybody wants it and the helper doesn't tell it by itself.
    pub(super) async fn look_at_others(&mut self, main: &Beat, longest_secs: f64) {
        self.others.beat = None;
        self.others.moved.values_mut().for_each(|moved| moved.latest = Bytes::default());
        let lists = self.others.are_listed && self.grants().system_services == Permission::Granted;
        let is_whole = main.source == Source::Estimate || rustix::process::getuid().is_root();
        if is_whole || !(lists || self.watches_others()) {
            self.sampler.forget_others();
            return;
        }
        match self.sampler.look_at_others(&self.tree, &self.prefixes).await {
            Ok(look) => {
                let (tree, rows) = (&self.tree, self.before.iter().flat_map(|look| &look.sample.rows));
                let is_own = |path: &str| is_own_cgroup(tree, path) || rows.clone().any(|row| row.cgroup == path);
                self.others.take(look, main.time, longest_secs, is_own);
            }
            Err(error) => {
                let source = self.others.before.as_ref().map_or(Source::Exact, |before| before.source);
                let (boottime_ns, secs) = (sampler::boottime_ns(), Err(Gap::Failed(chain(&error))));
                self.others.beat = Some(Beat { time: main.time, source, boottime_ns, secs, unmeasured_udp: None });
            }
        }
    }

    /// Every system service as of the latest look, busiest first; none where they are not counted exactly or not listed. They are
    /// no apps: no sum has them.
    pub fn services(&mut self) -> Vec<AppReading> {
        let is_root = rustix::process::getuid().is_root();
        let beat = if is_root { self.beat.as_ref() } else { self.others.beat.as_ref() };
        let Some(beat) = beat.filter(|beat| self.others.are_listed && beat.source == Source::Exact) else {
            return Vec::new();
        };
        let mut services: BTreeMap<&str, (Moved, &str, Vec<String>)> = BTreeMap::new();
        for path in &self.paths {
            if let Some(service) = services::service_of(path) {
                let (.., cgroups) =
                    services.entry(service.unit).or_insert_with(|| (Moved::default(), service.cgroup, Vec::new()));
                cgroups.push(path.to_owned());
            }
        }
        let main = self.moved.iter().map(|(path, account)| (path, account.moved));
        for (path, moved) in main.chain(self.others.moved.iter().map(|(path, moved)| (path, *moved))) {
            let known = services::service_of(path).and_then(|service| services.get_mut(service.unit));
            known.into_iter().for_each(|(sum, ..)| *sum = sum.plus(moved));
        }
        let now = Instant::now();
        let names = &mut self.others.names;
        let cgroups: std::collections::HashSet<&str> = services.values().map(|(_, cgroup, _)| *cgroup).collect();
        names.refresh(|cgroup| cgroups.contains(cgroup));
        let unnamed = services.iter().filter(|(_, (_, cgroup, _))| !names.knows(cgroup, now));
        // Their programs are nobody's business: only systemd is asked.
        let unnamed = unnamed.map(|(unit, (_, cgroup, _))| Unit {
            id: String::new(),
            unit: (*unit).to_owned(),
            cgroup: (*cgroup).to_owned(),
            directories: Vec::new(),
        });
        names.ask(unnamed.collect());
        let mut services: Vec<_> = services
            .iter()
            .map(|(unit, (moved, cgroup, cgroups))| AppReading {
                id: services::id(unit),
                name: names.of_units([*cgroup].into_iter()).unwrap_or(unit).to_owned(),
                icon: None,
                colour: None,
                parts: Vec::new(),
                kind: Kind::System,
                in_menu: false,
                rate: beat.secs.as_ref().ok().map(|secs| moved.latest.rate(*secs)),
                bytes: moved.total,
                cgroups: cgroups.clone(),
            })
            .collect();
        for watch in &mut self.watches {
            if let Some(service) = services.iter().find(|service| service.id == watch.id) {
                watch.target.name.clone_from(&service.name);
            }
        }
        services.sort_by(super::busiest);
        services
    }

    /// What a system service is called, as far as that is known; otherwise its unit's name.
    pub(super) fn service_name(&self, id: &str) -> Option<String> {
        let unit = services::unit_of_id(id)?;
        let target = Target::app(id, "");
        let cgroup = self.paths().find_map(|path| Some(target.unit_of(path)?.cgroup));
        let known = cgroup.and_then(|cgroup| self.others.names.of_units([cgroup].into_iter()));
        Some(known.unwrap_or(unit).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use netglance_dbus::sample::{Row, Sample};

    use super::*;

    fn look(source: Source, secs: u64, rows: &[(&str, u64)]) -> Look {
        let row = |(path, rx): &(&str, u64)| Row { cgroup: (*path).into(), rx_bytes: *rx, ..Row::default() };
        let rows = rows.iter().map(row).collect();
        let sample = Sample { epoch: 1, boottime_ns: secs * 1_000_000_000, rows };
        Look { source, sample, unmeasured_udp: None, forwarded: false }
    }

    #[test]
    fn they_begin_with_the_first_look_and_what_was_counted_meanwhile_is_made_up() {
        let mut others = Others::default();
        let mut take = |look, rx: u64, secs: Result<f64, Gap>| {
            others.take(look, jiff::Timestamp::UNIX_EPOCH, 5.0, |path| path.starts_with("/own"));
            assert!(!others.moved.contains_key("/own"));
            let total = others.moved.get("/s").map_or(0, |moved| moved.total.rx);
            assert_eq!((total, others.beat.as_ref().map(|beat| beat.secs.clone())), (rx, Some(secs)));
        };
        use Source::{Estimate, Exact};
        take(look(Estimate, 10, &[("/s", 7), ("/own", 1)]), 0, Err(Gap::SourceChanged(Estimate)));
        take(look(Estimate, 11, &[("/s", 9), ("/own", 2)]), 2, Ok(1.0));
        // The first exact one is a beginning, whatever was counted before it.
        take(look(Exact, 12, &[("/s", 1000), ("/own", 3)]), 2, Err(Gap::SourceChanged(Exact)));
        take(look(Exact, 13, &[("/s", 1010), ("/own", 4)]), 12, Ok(1.0));
        take(look(Estimate, 14, &[("/s", 100)]), 12, Err(Gap::SourceChanged(Estimate)));
        take(look(Estimate, 15, &[("/s", 101)]), 13, Ok(1.0));
        take(look(Exact, 16, &[("/s", 1060), ("/own", 9)]), 62, Err(Gap::SourceChanged(Exact)));
        take(look(Exact, 17, &[("/s", 1061)]), 63, Ok(1.0));
    }
}
