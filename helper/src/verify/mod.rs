//! `netglance verify`: proves on this very host that internal traffic is left out and an app's external traffic is in.
//!
//! Two scratch network namespaces, a peer that plays public and private addresses, scratch cgroups, the same ruleset as the
//! helper's, and known bytes. What should be booked comes from a packet socket on the wire and from the sizes of datagrams;
//! never from nf_tables. No packet leaves the scratch namespaces, and the host's own table is read, not touched.
//!
//! A program of its own, and no method of the helper: it needs to make namespaces, move processes and start them, none of
//! which the helper's sandbox allows or should.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use netglance_dbus::{cgroup, netlink};

use crate::nft;

pub mod cases;
mod cgroups;
pub mod fault;
pub mod forwarded;
pub mod freed;
mod meaning;
mod namespace;
mod peer;
mod remotes;
pub mod running;
pub mod traffic;
mod wire;
mod world;

pub use world::{World, run};

/// Why nothing, or not all, could be tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not root.
    #[error("it needs root for a few seconds, to create temporary network namespaces and cgroups")]
    NotRoot,
    /// The rules could crash this kernel, in a scratch network too.
    #[error("{0}. Nothing was tested")]
    Dangerous(String),
    /// No cgroup tree.
    #[error(transparent)]
    Tree(#[from] cgroup::Error),
    /// A scratch cgroup.
    #[error("cannot use the scratch cgroup {}; in a container, run it on the host itself", path.display())]
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A scratch network.
    #[error("cannot {doing} in a scratch network namespace")]
    Network {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: netlink::Error,
    },
    /// The table.
    #[error("cannot count in a scratch network namespace")]
    Nft(#[from] nft::Error),
    /// Everything else.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A signal came.
    #[error("stopped before everything was tested")]
    Stopped,
}

impl Error {
    fn doing(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    fn network(doing: &'static str) -> impl Fn(netlink::Error) -> Self {
        move |source| Self::Network { doing, source }
    }
}

/// Says that it should end early, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends what goes on at its next step; all is cleaned up.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}
