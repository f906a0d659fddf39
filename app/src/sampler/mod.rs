//! One look at the counters of all cgroups, whatever the source. It knows no target and computes no rate.

mod inet_diag;

use std::collections::HashMap;

pub use inet_diag::{Error, InetDiag};
use netglance_dbus::sample::Sample;

use crate::rate::Source;

/// A sample and what its source has to say beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Where the counters come from.
    pub source: Source,
    /// The counters.
    pub sample: Sample,
    /// By cgroup path: UDP sockets connected to an external address, whose bytes this source can't see. `None`: it
    /// can't tell.
    pub unmeasured_udp: Option<HashMap<String, u32>>,
}

/// `CLOCK_BOOTTIME` now.
pub fn boottime_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}
