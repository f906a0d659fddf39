//! The counters of all cgroups at one moment. Pure: reads no clock and does no I/O.

/// One cgroup's counters: bytes since counting began in this epoch, cumulative, never backwards within an epoch.
///
/// Which bytes depends on the source: IP packets with their headers (exact) or TCP payload (estimate).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, zbus::Type)]
pub struct Row {
    /// The path as in `/proc/PID/cgroup`: starts with `/`, relative to the cgroup v2 root.
    pub cgroup: String,
    /// Bytes received from external addresses.
    pub rx_bytes: u64,
    /// Bytes sent to external addresses.
    pub tx_bytes: u64,
    /// Bytes received from internal addresses.
    pub internal_rx_bytes: u64,
    /// Bytes sent to internal addresses.
    pub internal_tx_bytes: u64,
}

/// The last totals of a boot before this one, as far as they were saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Which boot: what `/proc/sys/kernel/random/boot_id` said then. Empty: nothing was saved.
    pub boot_id: String,
    /// That boot's `CLOCK_BOOTTIME` when they were read.
    pub boottime_ns: u64,
    /// One row a cgroup, since counting began in the last epoch of that boot. A cgroup without a row has moved nothing in it, or
    /// there was no room for its row.
    pub rows: Vec<Row>,
}

/// All rows of one look with one stamp. A cgroup without a row has moved nothing since counting began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Changes whenever counting had to start again; counters of two epochs have nothing to do with each other.
    pub epoch: u64,
    /// `CLOCK_BOOTTIME` of the look: goes on while the machine sleeps and is never set by anyone.
    pub boottime_ns: u64,
    /// One row a cgroup, in no order that means anything.
    pub rows: Vec<Row>,
}
