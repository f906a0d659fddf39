//! One look at the counters of all cgroups, from the best source there is. It knows no target and computes no rate.

pub mod ends;
pub mod grants;
pub mod helper;
pub(crate) mod inet_diag;
mod unsent;

use std::{collections::HashMap, net::SocketAddr};

use grants::{Grant, Grants};
pub use helper::{Exact, Helper, Last};
pub use inet_diag::{Error, InetDiag, OfSocket, open_sockets};
use ipnet::IpNet;
use netglance_dbus::{cgroup::Tree, helper1, remote::Remotes, sample::Sample, scope::Prefixes};
use serde::{Deserialize, Serialize};
pub use unsent::{Ending, ending_sockets};

/// Where the counters of a sample come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The helper's nftables counters: every IP packet, headers included.
    Exact,
    /// What the kernel reports for each socket (inet_diag): TCP payload only.
    Estimate,
}

/// A sample and what its source says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Where the counters come from.
    pub source: Source,
    /// The counters.
    pub sample: Sample,
    /// By cgroup path: UDP sockets that can reach the outside (connected to an external address, or not connected at all),
    /// whose bytes this source can't see. `None`: it can't tell.
    pub unmeasured_udp: Option<HashMap<String, u32>>,
    /// What containers and virtual machines move is among the rows, by address; see [`super::forwarded::counter`].
    pub forwarded: bool,
}

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP; listeners are not among the sockets, as they have no other side.
    Tcp,
    /// UDP, QUIC among it.
    Udp,
}

impl Protocol {
    /// Its number (<https://www.iana.org/assignments/protocol-numbers>).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => inet_diag::IPPROTO_TCP,
            Self::Udp => inet_diag::IPPROTO_UDP,
        }
    }
}

/// A socket as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSocket {
    /// What it speaks.
    pub protocol: Protocol,
    /// The number in /proc/PID/fd's `socket:[…]`.
    pub inode: u32,
    /// Its own side.
    pub local: SocketAddr,
    /// The other side has not ended the connection.
    pub answered: bool,
    /// The other side; the unspecified address if a UDP socket has no particular one.
    pub remote: SocketAddr,
    /// The cgroup that it was made in.
    pub cgroup_id: Option<u64>,
}

/// Both sources, of which one is read at a time.
#[derive(Debug)]
pub struct Sampler {
    helper: Helper,
    /// Open for as long as it is needed.
    estimate: Option<InetDiag>,
    /// The estimate beside the helper's counters, of what the helper doesn't tell apart, for as long as it is needed.
    beside: Option<InetDiag>,
    /// The estimate of what the helper doesn't tell this user, beside the exact rows of what is theirs, for as long as it is needed.
    others: Option<InetDiag>,
    /// Somebody asks it for remotes.
    beside_remotes: bool,
    /// Somebody asks it for sockets.
    beside_sockets: bool,
    only: Option<Source>,
}

impl Sampler {
    /// Looks for the helper. `only`: use this source and no other; otherwise the exact one is used if it is available.
    pub async fn open(only: Option<Source>) -> Self {
        Self {
            helper: Helper::open().await,
            estimate: None,
            beside: None,
            others: None,
            beside_remotes: false,
            beside_sockets: false,
            only,
        }
    }

    /// From the helper, it reads the rows of all cgroups; see [`Helper::of_all`].
    pub fn of_all(mut self) -> Self {
        self.helper = self.helper.of_all();
        self
    }

    /// Whether the helper counts.
    pub fn exact(&self) -> &Exact {
        self.helper.state()
    }

    /// What the helper warns of.
    pub fn warning(&self) -> Option<&str> {
        self.helper.warning()
    }

    /// Makes the next look ask the helper, whatever it said before.
    pub fn look_for_helper(&mut self) {
        self.helper.look_again();
    }

    /// The prefixes that the helper's counters treat as internal, if those counters are in use.
    pub async fn internal_prefixes(&self) -> Option<Vec<IpNet>> {
        self.helper.internal_prefixes().await
    }

    /// What the helper had counted in the boot before; see [`Helper::read_last`].
    pub async fn read_last(&self) -> Result<Option<Last>, helper1::Error> {
        self.helper.read_last().await
    }

    /// The rows of this moment: with the helper those of the caller's own cgroups (root's are all), and of containers and virtual
    /// machines as far as they may be seen; without it those of all cgroups.
    /// After another source, the estimate begins to count with its first look.
    pub async fn look(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<Look, Error> {
        if self.only != Some(Source::Estimate)
            && let Some(mut sample) = self.helper.read().await
        {
            self.estimate = None;
            let forwarded = self.helper.read_forwarded(sample.epoch).await;
            let is_told = forwarded.is_some();
            sample.rows.extend(forwarded.into_iter().flatten());
            return Ok(Look { source: Source::Exact, sample, unmeasured_udp: None, forwarded: is_told });
        }
        if self.only == Some(Source::Exact) {
            return Err(Error::NotExact(self.exact().to_string()));
        }
        self.others = None;
        self.estimate(tree, prefixes)
    }

    /// The rows of every cgroup, for what is not the caller's own: exactly if that was granted, otherwise estimated. To be called
    /// after a [`Self::look`] that was exact.
    pub async fn look_at_others(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<Look, Error> {
        if let Some(sample) = self.helper.read_all().await {
            self.others = None;
            return Ok(Look { source: Source::Exact, sample, unmeasured_udp: None, forwarded: false });
        }
        if self.only == Some(Source::Exact) {
            return Err(Error::NotOwn);
        }
        let others = match self.others.take() {
            Some(others) => others,
            None => InetDiag::open()?,
        };
        self.others.insert(others).look(tree, prefixes)
    }

    /// Nobody asks for what is not the caller's own any more.
    pub fn forget_others(&mut self) {
        self.others = None;
    }

    /// Asks for what is not the caller's own; see [`Helper::ask`].
    pub fn ask(&mut self, grant: Grant, interactive: bool) {
        self.helper.ask(grant, interactive);
    }

    /// Waits for an answer; see [`Helper::settle`].
    pub async fn settle(&mut self) {
        self.helper.settle().await;
    }

    /// What was asked for; see [`Helper::grants`].
    pub fn grants(&mut self) -> &Grants {
        self.helper.grants()
    }

    /// What these cgroups have moved with each remote, exactly; see [`Helper::read_remotes`].
    pub async fn read_remotes(&mut self, cgroups: &[String]) -> Result<Option<Remotes>, Error> {
        let remotes = self.helper.read_remotes(cgroups).await;
        let remotes = remotes.map_err(|error| Error::NotExact(helper::sentence(&error)))?;
        if remotes.is_none() && self.only == Some(Source::Exact) {
            return Err(Error::NotExact(match self.exact() {
                Exact::Counting => {
                    "the helper that is running is too old to tell remote addresses apart: upgrade netglance-helper, or \
                     leave out --source exact to see the estimate"
                        .to_owned()
                }
                other => other.to_string(),
            }));
        }
        Ok(remotes)
    }

    /// The counters of the caller's own cgroups once more, if the helper counts.
    pub async fn read_again(&mut self) -> Option<Sample> {
        self.helper.read().await
    }

    /// The estimate that tells remotes apart, as of the latest look; it begins with the first call.
    pub fn estimated_remotes(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<&InetDiag, Error> {
        self.beside_remotes = true;
        let estimate = self.books(tree, prefixes)?;
        estimate.tell_remotes_apart(true);
        Ok(estimate)
    }

    /// Nobody asks for remotes any more.
    pub fn forget_remotes(&mut self) {
        self.beside_remotes = false;
        for estimate in [&mut self.estimate, &mut self.others, &mut self.beside].into_iter().flatten() {
            estimate.tell_remotes_apart(false);
        }
        self.close_beside();
    }

    /// The sockets of TCP with what they have moved since the latest call, see [`InetDiag::take_sockets`]. It begins with the
    /// first call, beside the helper's counters too, and goes on until [`Self::forget_sockets`].
    pub fn estimated_sockets(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<Vec<OfSocket>, Error> {
        self.beside_sockets = true;
        let estimate = self.books(tree, prefixes)?;
        estimate.tell_sockets_apart(true);
        Ok(estimate.take_sockets())
    }

    /// Nobody asks for sockets any more.
    pub fn forget_sockets(&mut self) {
        self.beside_sockets = false;
        for estimate in [&mut self.estimate, &mut self.others, &mut self.beside].into_iter().flatten() {
            estimate.tell_sockets_apart(false);
        }
        self.close_beside();
    }

    /// The estimate if it is in use, as of its latest look; or one beside the helper's counters, looked at now.
    fn books(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<&mut InetDiag, Error> {
        if let Some(estimate) = self.estimate.as_mut().or(self.others.as_mut()) {
            self.beside = None;
            return Ok(estimate);
        }
        let mut beside = match self.beside.take() {
            Some(beside) => beside,
            None => InetDiag::open()?,
        };
        beside.tell_remotes_apart(self.beside_remotes);
        beside.tell_sockets_apart(self.beside_sockets);
        beside.look(tree, prefixes)?;
        Ok(self.beside.insert(beside))
    }

    fn close_beside(&mut self) {
        if !self.beside_remotes && !self.beside_sockets {
            self.beside = None;
        }
    }

    fn estimate(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<Look, Error> {
        let estimate = match self.estimate.take() {
            Some(estimate) => estimate,
            None => InetDiag::open()?,
        };
        self.estimate.insert(estimate).look(tree, prefixes)
    }

    /// Has the estimates that are in use follow the sockets between two beats.
    pub fn listen(&mut self, tree: &Tree, prefixes: &Prefixes) -> Result<(), Error> {
        for estimate in [&mut self.estimate, &mut self.others].into_iter().flatten() {
            estimate.look(tree, prefixes)?;
        }
        Ok(())
    }
}

/// `CLOCK_BOOTTIME` now.
pub fn boottime_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}
