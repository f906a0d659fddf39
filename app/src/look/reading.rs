//! The result of one look, as the window, the terminal and JSON show it. Plain data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    rate::{Bytes, Gap, Rate},
    sampler::Source,
};

/// The result of one look for the target: all that the window, the terminal and JSON show.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Reading {
    /// The app's id, see [`AppReading::id`]; empty if the target is not an app, and for all apps together.
    pub id: String,
    /// Wall clock of the look, for labels only; it may step.
    pub time: jiff::Timestamp,
    /// `CLOCK_BOOTTIME` of the look: what rates and the time axis are made of.
    pub boottime_ns: u64,
    /// Seconds since the totals began: for apps in the window where the program began, else where the watch did.
    pub elapsed_secs: f64,
    /// The target's name.
    pub app: String,
    /// Where the figures come from.
    pub source: Source,
    /// Totals over that time.
    pub bytes: Bytes,
    /// The target's external rate, or why there is none.
    pub rate: Result<Rate, Gap>,
    /// UDP sockets of the target that can reach the outside, whose bytes the estimate can't see: those with an external
    /// peer, and those with no peer that are not bound to loopback or link-local addresses. `None`: unknown, or the source
    /// is exact and nothing goes unmeasured.
    pub unmeasured_udp_sockets: Option<u32>,
    /// The target has containers or virtual machines, and they are not counted: the source can't, or the user may not see them.
    pub lacks_containers: bool,
    /// One entry for each unit of the target that exists or has moved bytes since the watch began, by name.
    pub units: Vec<UnitReading>,
}

/// One unit (or cgroup) of the target.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct AppReading {
    /// What `--app` takes, unique: the application id or unit name, or a preset's name.
    pub id: String,
    /// What a person reads: the desktop file's name where there is one, else the id.
    pub name: String,
    /// The icon's file, where the desktop file names one that exists.
    pub icon: Option<PathBuf>,
    /// It has a .desktop file: the desktop's menu knows it.
    pub in_menu: bool,
    /// External rate of the last beat; `None` in a gap, and of an app that a person has defined while it does not run.
    pub rate: Option<Rate>,
    /// External bytes since the monitor began, both ways.
    pub bytes: Bytes,
    /// The cgroup paths it consists of now, and those of containers and virtual machines; see [`super::forwarded`].
    pub cgroups: Vec<String>,
    /// What kind of thing it is: where it stands in a list.
    pub kind: Kind,
    /// Red, green and blue, where a person has chosen them.
    pub colour: Option<[u8; 3]>,
    /// Of an app of one's own: those of the apps in it that run and have a desktop file.
    pub parts: Vec<AppPart>,
}

/// An app that belongs to an app of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AppPart {
    /// Its own id.
    pub id: String,
    /// What a person reads: the desktop file's name.
    pub name: String,
    /// The icon's file, where the desktop file names one that exists.
    pub icon: Option<PathBuf>,
}

/// The kinds of things that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An app that a person has defined, or a built-in one.
    Own,
    /// An app of the user's.
    App,
    /// A container or virtual machine.
    Forwarded,
    /// A service of the system.
    System,
}

/// What one look says about every app of the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct AppRates<'a> {
    /// `CLOCK_BOOTTIME` of the look.
    pub boottime_ns: u64,
    /// By id, of all that are running or have moved bytes; `None`: a gap.
    pub rates: Option<Vec<(&'a str, Rate)>>,
}
