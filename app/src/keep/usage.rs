//! Usage: how much was moved in a span of calendar time. Plain data.

use serde::{Deserialize, Serialize};

pub use crate::look::network::Network;
use crate::look::rate::Bytes;

/// What was moved, and how well that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Usage {
    /// External and internal bytes.
    pub bytes: Bytes,
    /// How many of all of them are an estimate: from the sockets' books, or a part of a sum over an interval that only partly lies
    /// in the span.
    pub estimate_bytes: u64,
}

/// How well the time of a slot is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Seen {
    /// Nobody looked: a gap.
    #[default]
    Not,
    /// Nobody looked, but how much was moved in a longer interval is known from the counters: the slot's bytes are an average.
    Away,
    /// netglance looked, at least for a part of it.
    Looked,
}

/// A span of time in a chart or table, and what was moved in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Slot {
    /// Its beginning, in seconds since 1970.
    pub start: i64,
    /// Its end, which is not part of it.
    pub end: i64,
    /// What was moved.
    pub usage: Usage,
    /// Whether that was measured.
    pub seen: Seen,
}

/// What a table's rows or a chart's lines stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum By {
    /// Everything together, in one group.
    #[default]
    All,
    /// A group for each app.
    App,
    /// A group for each unit of each app.
    Unit,
    /// A group for each network.
    Network,
}

/// Whose bytes are asked for. Units and cgroups together are those of either, as with [`crate::look::target::Target`]; everything
/// else narrows it down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Which {
    /// The apps with these ids; empty: all.
    pub apps: Vec<String>,
    /// The units whose names match one of these patterns, and all below them.
    pub units: Vec<String>,
    /// The cgroups with these paths, and all below them. No unit and no cgroup: all.
    pub cgroups: Vec<String>,
    /// What was moved on networks that were metered (or not, or of which that is unknown: `Some(false)`). `None`: on all.
    pub metered: Option<bool>,
    /// Apps are what they were recorded as, whatever a person says that belongs together now.
    pub as_recorded: bool,
}

/// One group: what it stands for, and its slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Group {
    /// The app's id; empty where the group is not one app's.
    pub app: String,
    /// What a person reads: the app's name as it was last known; empty where the group is not one app's.
    pub name: String,
    /// The unit's name, with `*` for what is different at each start; only with [`By::Unit`].
    pub unit: Option<String>,
    /// Only with [`By::Network`].
    pub network: Option<Network>,
    /// One for each pair of edges that was asked for, in their order.
    pub slots: Vec<Slot>,
}

impl Usage {
    /// The sum; the largest number if it would overflow.
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.plus(other.bytes),
            estimate_bytes: self.estimate_bytes.saturating_add(other.estimate_bytes),
        }
    }

    /// External bytes, both ways.
    pub fn external(self) -> u64 {
        self.bytes.rx.saturating_add(self.bytes.tx)
    }

    /// Internal bytes, both ways: what was left out.
    pub fn internal(self) -> u64 {
        self.bytes.internal_rx.saturating_add(self.bytes.internal_tx)
    }
}

impl Slot {
    /// Nothing is known of it. What is unknown is no zero.
    pub fn is_gap(&self) -> bool {
        self.seen == Seen::Not && self.usage == Usage::default()
    }
}

impl Group {
    /// All its slots together.
    pub fn total(&self) -> Usage {
        self.slots.iter().fold(Usage::default(), |sum, slot| sum.plus(slot.usage))
    }
}
