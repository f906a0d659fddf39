//! The loop: one look a beat, and what each look says about the target.

use std::path::PathBuf;

use crate::rate::{Gap, Rate, Source};

/// Bytes since the watch began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From external addresses.
    pub rx: u64,
    /// To external addresses.
    pub tx: u64,
    /// From internal addresses: left out of every rate.
    pub internal_rx: u64,
    /// To internal addresses: left out of every rate.
    pub internal_tx: u64,
}

/// What one look says about the target: all that the screen, the terminal and the JSON show.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Wall clock of the look, for labels only; it may step.
    pub time: jiff::Timestamp,
    /// `CLOCK_BOOTTIME` of the look: what rates and the time axis are made of.
    pub boottime_ns: u64,
    /// Seconds since the watch began.
    pub elapsed_secs: f64,
    /// The target's name.
    pub app: String,
    /// Where the figures come from.
    pub source: Source,
    /// Totals since the watch began.
    pub bytes: Bytes,
    /// The target's external rate, or why there is none.
    pub rate: Result<Rate, Gap>,
    /// UDP sockets of the target with an external peer, whose bytes the estimate can't see. `None`: unknown, or the
    /// source is exact and nothing goes unmeasured.
    pub unmeasured_udp_sockets: Option<u32>,
    /// One entry a unit of the target that exists or has moved bytes since the watch began, by name.
    pub units: Vec<UnitReading>,
}

/// One unit (or cgroup) of the target.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitReading {
    /// The unit's name as systemd writes it, or the last part of the cgroup's path.
    pub unit: String,
    /// Its path as in `/proc/PID/cgroup`.
    pub cgroup: String,
    /// External bytes received since the watch began.
    pub rx_bytes: u64,
    /// External bytes sent since the watch began.
    pub tx_bytes: u64,
    /// `None` in a gap.
    pub rate: Option<Rate>,
}

/// An app that can be watched, as the picker and `netglance apps` show it.
#[derive(Clone, Debug, PartialEq)]
pub struct AppReading {
    /// What `--app` takes, unique: the application id or unit name, or a preset's name.
    pub id: String,
    /// What a person reads: the desktop file's name where there is one, else the id.
    pub name: String,
    /// The icon's file, where the desktop file names one that exists.
    pub icon: Option<PathBuf>,
    /// External rate of the last beat; `None` in a gap.
    pub rate: Option<Rate>,
    /// External bytes since the monitor began, both ways.
    pub bytes: Bytes,
    /// The cgroup paths it consists of now.
    pub cgroups: Vec<String>,
}

/// What the monitor sends the window each beat.
#[derive(Clone, Debug)]
pub struct Update {
    /// The watched target's reading; `None` while no app is chosen. A failed look is a reading whose rate is
    /// [`Gap::Failed`].
    pub reading: Option<Reading>,
    /// Every app of the user, busiest first.
    pub apps: Vec<AppReading>,
    /// A problem with the settings file, already worded for a person; the last good settings are in force.
    pub settings_error: Option<String>,
}

/// What the window asks of the monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Watch the app with this id from now on.
    Watch(String),
    /// Look this often, in milliseconds (100 to 5000).
    Beat(u64),
}
