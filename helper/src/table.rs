//! The table as an administrator has decided it: counts or doesn't, with these prefixes, whatever happens to the host.
//!
//! It knows no caller and no bus: `counters.rs` has asked who may. Nothing here waits.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Instant,
};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use netglance_dbus::{
    cgroup::{self, RETRIED_AFTER, Tree},
    error::chain,
    forwarded::ForwardedSample,
    helper1::{self, MOST_PREFIXES, WirePrefix, from_wire, to_wire},
    kernel::{self, Judgement, Kernel},
    netlink,
    onlink::{self, Onlink},
    remote::Remotes,
    sample::{Last, Sample},
    scope::Prefixes,
};
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

use crate::{
    counting::{self, Counting, Files, clock_ns},
    descriptors,
    last::{Boots, When},
    log,
    nft::{
        self,
        ruleset::{Internal, Redirected},
    },
    redirects::Redirects,
    remotes,
    store::{self, Store},
};

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup tree.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// No routing table.
    #[error("cannot read the routing table")]
    Routes(#[from] netlink::Error),
    /// No rules of others.
    #[error("cannot find out what is redirected on this computer")]
    Redirects(#[source] netlink::Error),
    /// The table.
    #[error(transparent)]
    Counting(#[from] counting::Error),
    /// A file.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Counting can crash this kernel.
    #[error("{0}")]
    Dangerous(String),
    /// Counting does harm on this kernel, to which nobody has agreed.
    #[error("{0}")]
    Unconfirmed(String),
    /// Nothing is counted.
    #[error("exact counting is not set up on this computer: choose \"Count Exactly…\" in netglance")]
    NotInstalled,
    /// A prefix that can't be.
    #[error("{0}")]
    InvalidPrefix(String),
    /// More than one user may ask for.
    #[error(transparent)]
    TooMany(#[from] remotes::TooMany),
    /// More than one thing.
    #[error("{}", .0.join("; "))]
    Several(Vec<String>),
}

impl From<Error> for helper1::Error {
    fn from(error: Error) -> Self {
        let text = chain(&error);
        match error {
            Error::NotInstalled => Self::NotInstalled(text),
            Error::InvalidPrefix(_) => Self::InvalidPrefix(text),
            Error::TooMany(_) => Self::LimitsExceeded(text),
            Error::Unconfirmed(_) => Self::NeedsConfirmation(text),
            Error::Dangerous(_)
            | Error::Cgroup(cgroup::Error::Absent)
            | Error::Counting(counting::Error::OtherRoot)
            | Error::Counting(counting::Error::Nft(nft::Error::Unsupported { .. })) => Self::Unsupported(text),
            _ => Self::Kernel(text),
        }
    }
}

/// What an administrator has decided; lasts over boots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setup {
    installed: bool,
    /// Internal as well.
    pub(crate) internal: Vec<IpNet>,
    /// External all the same.
    pub(crate) external: Vec<IpNet>,
    /// The kernel's bugs, by the commits that fix them, with which it may count all the same. Earlier versions knew of none.
    #[serde(default)]
    accepted: Vec<String>,
}

/// The table, if there is one, and all that it needs to know of the host.
#[derive(Debug)]
pub struct Table {
    tree: Tree,
    onlink: Onlink,
    /// `None`: the kernel does not let it be followed.
    redirects: Option<Redirects>,
    /// What the table's rules know of; `None`: that is not known.
    redirected: Option<Redirected>,
    host: Vec<IpNet>,
    kernel: Kernel,
    judgement: Judgement,
    prefixes: Prefixes,
    /// The kernel has not taken the latest prefixes yet.
    outdated: bool,
    setup: Setup,
    /// When [`Self::retry`] was last called.
    tried: Instant,
    /// `CLOCK_BOOTTIME` of the latest look.
    looked_ns: u64,
    /// The same of what is counted by remote.
    looked_at_remotes_ns: u64,
    looked_at_forwarded_ns: u64,
    setup_file: Store,
    files: Files,
    boots: Boots,
    set_size: u32,
    counting: Option<Counting>,
    /// The socket that an earlier process has left, until counting goes on in its table.
    kept: Option<OwnedFd>,
    /// Why it does not count, though it should, or not by the latest prefixes.
    trouble: Option<String>,
    /// Why what is redirected is not judged as it should be.
    misled: Option<String>,
    /// Why what is asked for is not counted by remote.
    refused: Option<String>,
}

impl Table {
    /// Reads the host and what was decided, and starts to count if that was: in the table of the socket `kept` if it still has
    /// one. `state` lasts over boots, `runtime` until the next, which has another `boot_id`. A set holds `set_size` cgroups at most.
    pub fn open(
        state: &Path,
        runtime: &Path,
        boot_id: &str,
        kept: Option<OwnedFd>,
        set_size: u32,
    ) -> Result<Self, Error> {
        let setup_file = Store::at(state, "setup.json");
        let setup = setup_file.load().unwrap_or_else(|error| {
            log(format_args!("{}; continuing as if nothing had been set up", chain(&error)));
            None
        });
        let kernel = kernel::running();
        let mut table = Self {
            tree: Tree::open()?,
            onlink: Onlink::open()?,
            redirects: Redirects::open().map_err(|error| log(chain(&Error::Redirects(error)))).ok(),
            redirected: None,
            host: Vec::new(),
            judgement: kernel.judge(),
            kernel,
            prefixes: Prefixes::default(),
            outdated: false,
            tried: Instant::now(),
            looked_ns: 0,
            looked_at_remotes_ns: 0,
            looked_at_forwarded_ns: 0,
            setup: setup.unwrap_or_default(),
            setup_file,
            files: Files { books: Store::at(runtime, "books.json"), paths: Store::at(runtime, "paths.lines") },
            boots: Boots::open(state, boot_id),
            set_size,
            counting: None,
            kept,
            trouble: None,
            misled: None,
            refused: None,
        };
        table.host = table.onlink.changed()?.unwrap_or_default();
        table.prefixes = table.judged();
        if table.setup.installed {
            if let Err(error) = table.start() {
                let again = if table.may_count(false).is_ok() { "; trying again when somebody asks" } else { "" };
                log(format_args!("{}{again}", chain(&error)));
            }
        } else if table.kept.take().is_some() {
            descriptors::forget();
        }
        Ok(table)
    }

    /// Whether it counts, or would if it could.
    pub fn installed(&self) -> bool {
        self.setup.installed
    }

    /// What to wait for: whenever one of these is readable, [`Self::follow`] has something to take in.
    pub fn events(&self) -> std::io::Result<Vec<OwnedFd>> {
        let fds = self.tree.events().into_iter().chain([self.onlink.as_fd()]);
        fds.map(|fd| fd.try_clone_to_owned()).collect()
    }

    /// As [`Self::events`], of what may happen as often as others like: one who waits should rest for [`crate::redirects::REST`] after
    /// each time.
    pub fn frequent_events(&self) -> std::io::Result<Vec<OwnedFd>> {
        self.redirects.iter().flat_map(Redirects::events).map(|fd| fd.try_clone_to_owned()).collect()
    }

    /// Whether this kernel can be trusted to count, or somebody has agreed to what it does; or does so now.
    pub fn may_count(&self, anyway: bool) -> Result<(), Error> {
        if let Some(refusal) = self.kernel.refusal() {
            return Err(Error::Dangerous(refusal));
        }
        let trouble = self.kernel.trouble().unwrap_or_default();
        match self.judgement.to_be_accepted() {
            Some(flaw) if !anyway && !self.setup.accepted.iter().any(|commit| commit == flaw.commit) => {
                Err(Error::Unconfirmed(format!(
                    "{trouble}. Exact counting stays off until an administrator agrees to that, in netglance's window or with \
                     `netglance install`"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Starts to count, now and after every boot. Nothing happens where it counts already. `anyway`: also with a bug of this
    /// kernel that costs memory, from now on.
    pub fn install(&mut self, anyway: bool) -> Result<(), Error> {
        let before = self.setup.clone();
        if let (true, Some(flaw)) = (anyway, self.judgement.to_be_accepted())
            && self.may_count(false).is_err()
        {
            self.setup.accepted.push(flaw.commit.to_owned());
        }
        self.setup.installed = true;
        let started = if self.counting.is_none() { self.start() } else { Ok(()) };
        let done = started.and_then(|()| Ok(self.setup_file.save(&self.setup, true)?));
        if done.is_err() && self.setup != before {
            self.setup = before;
            self.trouble = done.as_ref().err().filter(|_| self.setup.installed).map(|error| chain(error));
            // It would not count after the next boot, so it does not now.
            if let Some(counting) = self.counting.take() {
                if let Err(error) = counting.end() {
                    log(chain(&error));
                }
                descriptors::forget();
            }
        }
        done
    }

    /// Stops counting and forgets everything. Goes on after a failure, and says all of them.
    pub fn uninstall(&mut self) -> Result<(), Error> {
        let mut failures = Vec::new();
        if let Some(Err(error)) = self.counting.take().map(Counting::end) {
            failures.push(chain(&error));
        }
        self.kept = None;
        descriptors::forget();
        self.setup = Setup::default();
        (self.trouble, self.misled) = (None, None);
        self.prefixes = self.judged();
        for file in [&self.setup_file, &self.files.books, &self.files.paths] {
            if let Err(error) = file.remove() {
                failures.push(chain(&error));
            }
        }
        failures.extend(self.boots.forget().map(|error| chain(&error)));
        if failures.is_empty() { Ok(()) } else { Err(Error::Several(failures)) }
    }

    /// What is wrong with the counting now, for a person; empty while all is well.
    pub fn warning(&self) -> String {
        let counting = self.counting.iter().flat_map(Counting::warnings);
        let redirects = self.redirects.iter().filter_map(Redirects::warning).filter(|_| self.counting.is_some());
        let kernel = self.kernel_warning().filter(|_| self.counting.is_some());
        let trouble = self.trouble.iter().chain(&self.misled).cloned().chain(kernel).chain(redirects);
        let warnings = trouble.chain(counting).chain(self.tree.nodes().warnings());
        let warnings = warnings.chain(self.boots.warning());
        let warnings = warnings.chain((self.onlink.left_out() > 0).then(too_many));
        warnings.collect::<Vec<_>>().join("; ")
    }

    /// When to call [`Self::follow`] even though nothing is readable, because there is more to take in; `None`: no need.
    pub fn due(&self) -> Option<Instant> {
        let redirects = self.redirects.as_ref().and_then(|redirects| redirects.due(self.counting.is_some()));
        let behind = self.tree.is_behind().then(Instant::now);
        let retry = self.is_troubled().then(|| self.tried + RETRIED_AFTER);
        let save = self.counting.is_some().then(|| self.boots.due());
        let remotes = self.counting.as_ref().and_then(Counting::remotes_due);
        [self.onlink.due(), redirects, behind, retry, save, remotes].into_iter().flatten().min()
    }

    /// Takes in what happened to cgroups and routes, in bounded steps: see [`Self::due`]. Whether the internal prefixes are
    /// others now.
    pub fn follow(&mut self) -> Result<bool, Error> {
        // Whatever is wrong with these says nothing about the routes.
        let retried = if self.is_troubled() && self.tried.elapsed() >= RETRIED_AFTER { self.retry() } else { Ok(()) };
        for error in [retried, self.follow_cgroups(), self.follow_redirects()].into_iter().filter_map(Result::err) {
            log(chain(&error));
        }
        // The kernel may refuse each time.
        let refused = self.settle_remotes().err().map(|error| chain(&error));
        if let Some(text) = refused.as_ref().filter(|_| refused != self.refused) {
            log(text);
        }
        self.refused = refused;
        if self.boots.go_on() {
            self.save(When::Soon);
        }
        let changed = self.onlink.changed()?;
        self.redirect();
        let Some(host) = changed else { return Ok(false) };
        self.host = host;
        let before = (self.prefixes.internal_v4(), self.prefixes.internal_v6());
        let after = self.judged();
        if !self.outdated && (after.internal_v4(), after.internal_v6()) == before {
            self.prefixes = after;
            return Ok(false);
        }
        self.replace_prefixes()?;
        Ok(true)
    }

    /// Replaces the administrator's own prefixes.
    pub fn set_prefixes(&mut self, internal: &[WirePrefix], external: &[WirePrefix]) -> Result<(), Error> {
        let read = |wire: &[WirePrefix]| {
            if wire.len() > MOST_PREFIXES {
                let text = format!("more than {MOST_PREFIXES} prefixes are not allowed; nothing was changed");
                return Err(Error::InvalidPrefix(text));
            }
            wire.iter().map(from_wire).collect::<Result<Vec<_>, _>>().map_err(|error| {
                Error::InvalidPrefix(zbus::DBusError::description(&error).unwrap_or_default().to_owned())
            })
        };
        let (internal, external) = (read(internal)?, read(external)?);
        if let Some(both) = internal.iter().find(|prefix| external.contains(prefix)) {
            return Err(Error::InvalidPrefix(format!(
                "{both} can't be both internal and external; nothing was changed"
            )));
        }
        let new = Setup { internal, external, ..self.setup.clone() };
        self.setup_file.save(&new, true)?;
        self.setup = new;
        self.replace_prefixes()
    }

    /// What is internal now.
    pub fn internal_prefixes(&self) -> Vec<WirePrefix> {
        let (v4, v6) = (self.prefixes.internal_v4(), self.prefixes.internal_v6());
        let v4 = v4.into_iter().flat_map(|(a, b)| Ipv4Subnets::new(a.into(), b.into(), 0));
        let v6 = v6.into_iter().flat_map(|(a, b)| Ipv6Subnets::new(a.into(), b.into(), 0));
        v4.map(IpNet::V4).chain(v6.map(IpNet::V6)).map(to_wire).collect()
    }

    /// Reads the counters: what [`Self::rows`] then says is as of now.
    pub fn look(&mut self) -> Result<(), Error> {
        if !self.setup.installed {
            return Err(Error::NotInstalled);
        }
        if self.counting.is_none() {
            self.start()?;
        }
        if self.outdated {
            // If it fails again, the warning goes on to say so.
            self.replace_prefixes().ok();
        }
        let boottime_ns = clock_ns(ClockId::Boottime);
        let mut dumped = self.dump();
        if matches!(&dumped, Err(Error::Counting(error)) if error.is_absent()) {
            log("the table is gone; counting starts again");
            self.counting = None;
            self.start()?;
            dumped = self.dump();
        }
        dumped?;
        self.looked_ns = boottime_ns;
        let counting = self.counting.as_mut().ok_or(Error::NotInstalled)?;
        counting.catch_up(&mut self.tree)?;
        if let Err(error) = counting.tend(&mut self.tree) {
            log(format_args!("{}; the counters of removed cgroups stay for now", chain(&error)));
        }
        Ok(())
    }

    /// The rows of a user's own cgroups as of the latest look; of all cgroups where there is none.
    pub fn rows(&mut self, user: Option<u32>) -> Result<Sample, Error> {
        if user.is_some() {
            self.refresh_owners();
        }
        let counting = self.counting.as_ref().ok_or(Error::NotInstalled)?;
        Ok(Sample { epoch: counting.epoch(), boottime_ns: self.looked_ns, rows: counting.rows(&self.tree, user) })
    }

    /// Has these cgroups, as far as they are a user's own, and those below them counted by remote from now on, for a while; all
    /// are root's (`None`). Returns when [`Self::settle_remotes`] may do it, if not at once.
    pub fn ask_remotes(&mut self, user: Option<u32>, cgroups: &[String]) -> Result<Option<Instant>, Error> {
        if !self.setup.installed {
            return Err(Error::NotInstalled);
        }
        if self.counting.is_none() {
            self.start()?;
        }
        self.follow_cgroups()?;
        let own = self.own(user, cgroups);
        let counting = self.counting.as_mut().ok_or(Error::NotInstalled)?;
        counting.ask_remotes(&self.tree, &own)?;
        let later = counting.settle_remotes(&self.tree)?;
        // Who has been asking for long doesn't wait for others' cgroups.
        Ok(later.filter(|_| !counting.counts_remotes(&self.tree, &own)))
    }

    fn refresh_owners(&mut self) {
        if self.tree.refresh_owners()
            && let Some(counting) = &mut self.counting
        {
            counting.owners_changed();
        }
    }

    /// Those of these paths that are a user's own, with their owners.
    fn own<'a>(&mut self, user: Option<u32>, cgroups: &'a [String]) -> Vec<(&'a str, Option<u32>)> {
        self.refresh_owners();
        let owned = cgroups.iter().map(|path| (path.as_str(), self.tree.nodes().owner_of_path(path)));
        owned.filter(|(path, owner)| path.starts_with('/') && (user.is_none() || *owner == user)).collect()
    }

    /// Has the table count what is asked for by now. Returns when there is more to do, if that is not yet allowed.
    pub fn settle_remotes(&mut self) -> Result<Option<Instant>, Error> {
        let Some(counting) = &mut self.counting else { return Ok(None) };
        Ok(counting.settle_remotes(&self.tree)?)
    }

    /// Reads what was counted by remote: what [`Self::remotes`] then says is as of now.
    pub fn look_at_remotes(&mut self) -> Result<(), Error> {
        let boottime_ns = clock_ns(ClockId::Boottime);
        let counting = self.counting.as_mut().ok_or(Error::NotInstalled)?;
        let read = counting.read_remotes(&self.tree);
        if read.as_ref().is_err_and(counting::Error::is_absent) {
            self.look()?; // which starts again
        }
        read?;
        self.looked_at_remotes_ns = boottime_ns;
        Ok(())
    }

    /// The rows of the latest look at these cgroups, as far as they are a user's own, and those below them. They are asked for
    /// until now: the caller may have waited for long.
    pub fn remotes(&mut self, user: Option<u32>, cgroups: &[String]) -> Result<Remotes, Error> {
        let own = self.own(user, cgroups);
        let counting = self.counting.as_mut().ok_or(Error::NotInstalled)?;
        counting.ask_remotes(&self.tree, &own)?;
        let own: Vec<_> = own.into_iter().map(|(path, _)| path).collect();
        Ok(counting.remotes(&self.tree, user, &own, self.looked_at_remotes_ns))
    }

    /// Reads what containers and virtual machines have moved.
    pub fn look_at_forwarded(&mut self) -> Result<(), Error> {
        if !self.setup.installed {
            return Err(Error::NotInstalled);
        }
        if self.counting.is_none() {
            self.start()?;
        }
        let boottime_ns = clock_ns(ClockId::Boottime);
        let counting = self.counting.as_mut().ok_or(Error::NotInstalled)?;
        let read = counting.read_forwarded();
        if read.as_ref().is_err_and(counting::Error::is_absent) {
            self.look()?; // which starts again
        }
        read?;
        self.looked_at_forwarded_ns = boottime_ns;
        Ok(())
    }

    /// The rows of the latest look at what is forwarded.
    pub fn forwarded(&self) -> Result<ForwardedSample, Error> {
        let counting = self.counting.as_ref().ok_or(Error::NotInstalled)?;
        let (epoch, boottime_ns) = (counting.epoch(), self.looked_at_forwarded_ns);
        Ok(ForwardedSample { epoch, boottime_ns, rows: counting.forwarded() })
    }

    /// The last totals of the boot before, as far as a user may see them.
    pub fn last(&self, user: u32) -> Result<Last, Error> {
        if self.setup.installed { Ok(self.boots.last(user)) } else { Err(Error::NotInstalled) }
    }

    /// Saves what has been counted so far for the next boot. Where that is not known, or can't be written, what was saved before
    /// stays.
    pub fn save(&mut self, when: When) {
        if self.counting.is_none() {
            return;
        }
        if let Err(error) = self.look() {
            return log(format_args!("{}; what was saved for the next boot stays", chain(&error)));
        }
        self.refresh_owners();
        if let Some(counting) = &self.counting {
            self.boots.save(counting.epoch(), self.looked_ns, counting.totals(&self.tree), when);
        }
    }

    /// Whether anything can't be followed, or written, or was not begun.
    fn is_troubled(&self) -> bool {
        let counts = self.counting.as_ref().is_some_and(|counting| !counting.is_troubled());
        self.setup.installed && self.may_count(false).is_ok() && (!counts || !self.tree.is_whole())
    }

    /// What is known to be wrong with the kernel, or is not known, while it counts.
    fn kernel_warning(&self) -> Option<String> {
        self.kernel.trouble()
    }

    /// Tries again what could not be done.
    fn retry(&mut self) -> Result<(), Error> {
        self.tried = Instant::now();
        if self.counting.is_none() {
            self.start()?;
        }
        let changed = self.tree.refresh() | self.tree.retry();
        if let Some(counting) = &mut self.counting {
            counting.retry(&self.tree);
            if changed {
                counting.follow(&mut self.tree)?;
            }
        }
        Ok(())
    }

    fn dump(&mut self) -> Result<(), Error> {
        Ok(self.counting.as_mut().ok_or(Error::NotInstalled)?.dump()?)
    }

    fn judged(&self) -> Prefixes {
        Prefixes::new(&self.host, &self.setup.internal, &self.setup.external)
    }

    fn replace_prefixes(&mut self) -> Result<(), Error> {
        self.prefixes = self.judged();
        let (v4, v6) = (self.prefixes.internal_v4(), self.prefixes.internal_v6());
        if let Some(counting) = &mut self.counting {
            let replaced = counting.replace_internal(Internal { v4: &v4, v6: &v6 });
            self.outdated = replaced.is_err();
            self.trouble = replaced.as_ref().err().map(|error| {
                format!(
                    "the earlier prefixes still decide what is internal, because the new ones were refused: {}",
                    chain(error)
                )
            });
            replaced?;
        }
        Ok(())
    }

    /// Makes a table, or goes on with the one that the kept socket owns. Where that fails the socket is kept on.
    fn start(&mut self) -> Result<(), Error> {
        if let Err(error) = self.may_count(false) {
            // A table that an earlier version has left would go on counting, and goes with its socket.
            if self.kept.take().is_some() {
                descriptors::forget();
            }
            self.trouble = Some(chain(&error));
            return Err(error);
        }
        self.tree.refresh();
        let (v4, v6) = (self.prefixes.internal_v4(), self.prefixes.internal_v6());
        let kept = self.kept.as_ref().map(AsFd::as_fd);
        let internal = Internal { v4: &v4, v6: &v6 };
        let started = Counting::start(kept, &self.files, &mut self.tree, internal, self.set_size);
        self.trouble = started.as_ref().err().map(|error| chain(error));
        self.outdated = false;
        self.counting = Some(started?);
        self.kept = None;
        if let Some(warning) = self.kernel_warning() {
            log(warning);
        }
        // In a table that was kept stands what an earlier process knew.
        self.redirected = None;
        if let Err(error) = self.follow_redirects() {
            log(chain(&error));
        }
        Ok(())
    }

    /// Takes in whether anything is redirected on this host.
    fn follow_redirects(&mut self) -> Result<(), Error> {
        let wanted = self.counting.is_some();
        let followed = self.redirects.as_mut().map_or(Ok(()), |redirects| redirects.follow(wanted));
        self.redirect();
        followed.map_err(Error::Redirects)
    }

    /// Has the table's rules know what is redirected now. Where the kernel refuses, counting goes on without.
    fn redirect(&mut self) {
        let Some((counting, redirects)) = self.counting.as_mut().zip(self.redirects.as_mut()) else { return };
        let now = redirects.now(self.onlink.policy_routes());
        if self.redirected.as_ref() == Some(now) {
            return;
        }
        // What is refused is tried again when there is something to follow.
        match counting.redirect(now) {
            Ok(()) => (self.misled, self.redirected) = (None, Some(now.clone())),
            Err(error) => {
                let text = format!("redirected traffic may be counted on the wrong side: {}", chain(&error));
                if self.misled.as_ref() != Some(&text) {
                    log(&text);
                }
                (self.misled, self.redirected) = (Some(text), None);
            }
        }
    }

    fn follow_cgroups(&mut self) -> Result<(), Error> {
        if self.tree.refresh()
            && let Some(counting) = &mut self.counting
        {
            counting.follow(&mut self.tree)?;
        }
        Ok(())
    }
}

fn too_many() -> String {
    format!(
        "this computer has more than {} on-link prefixes: those with the fewest addresses are left out, so \
         traffic to them may be counted as external",
        onlink::MOST_PREFIXES
    )
}
