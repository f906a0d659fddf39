//! What the program behind the tray and its window say to each other. Plain data.

use std::{borrow::Cow, slice};

use ipnet::IpNet;
use jiff::civil::Date;
use netglance_dbus::text::printable;
use serde::{Deserialize, Serialize};

pub use crate::keep::budget::Spent;
use crate::{
    advise::verify::Report,
    base::settings::Settings,
    keep::{
        calendar::{Every, Period},
        histories::Histories,
        history::Point,
        state::Place,
        usage::{Group, Usage},
    },
    look::{
        programs::ByProgram,
        reading::{AppReading, Reading},
        remotes::{Figures, Remote, Whois},
        sampler::{
            Exact, Source,
            grants::{Grant, Grants},
        },
        whois::{Sources, queries::Queries},
    },
};

/// What a beat has to say to the window.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Update {
    /// A reading of each app that is watched, in the order in which they were chosen. A failed look is a reading whose rate is
    /// [`crate::look::rate::Gap::Failed`].
    pub readings: Vec<Reading>,
    /// All apps together, where none is watched and there was a look.
    pub overview: Option<Overview>,
    /// Every app of the user, busiest first.
    pub apps: Vec<AppReading>,
    /// The system services, busiest first; empty until [`Grants::system_services`] is granted. They are in no sum.
    pub services: Vec<AppReading>,
    /// What a person was asked a password for since the program has started, and what came of it.
    pub grants: Grants,
    /// This computer forwards traffic for containers or virtual machines.
    pub has_forwarding: bool,
    /// Whether exact counting is to be had.
    pub exact: Exact,
    /// What became of the latest wish that took a while, already worded for a person: one quiet line.
    pub notice: Option<String>,
    /// What an administrator has to agree to before this kernel counts exactly, worded for a person.
    pub confirm: Option<String>,
    /// What the helper warns of though it counts, worded for a person.
    pub warning: Option<String>,
    /// What the proof page shows; `None` while it is closed.
    pub proof: Option<ProofPage>,
    /// What the Connections page shows; `None` while it is closed.
    pub connections: Option<Connections>,
    /// Where the names of remotes come from.
    pub names: Sources,
    /// Why nothing can be watched at all, worded for a person.
    pub failure: Option<String>,
    /// The settings in force.
    pub settings: Settings,
    /// A problem with the settings file, already worded for a person; the last good settings are in force.
    pub settings_error: Option<String>,
    /// A person is being asked for a password now: the latest wish is neither granted nor refused.
    pub asking: bool,
    /// The desktop shows the tray icon. Without one, closing the window ends netglance.
    pub tray: bool,
    /// netglance is started, hidden, when the person logs in.
    pub start_at_login: bool,
    /// The desktop is light. Dark where nothing says so.
    pub light: bool,
    /// What is internal because the host says so: its addresses and on-link prefixes.
    pub host_prefixes: Vec<IpNet>,
    /// The chart's span in minutes as it was last chosen, for a window that opens; 0: never chosen.
    pub span_min: u32,
    /// Where the window was and how large, for a window that opens.
    pub place: Place,
    /// Nobody looks until somebody resumes: the readings are the last ones.
    pub paused: bool,
    /// The points, from before this update, of what has not been shown yet, or was missed by a window that was too slow. They
    /// take the place of all that the window has kept of it.
    pub backlog: Vec<Backlog>,
    /// What each reading that is shown has used today and this month, by [`Reading::id`]; empty while nothing is recorded.
    pub used: Vec<Used>,
    /// The answer to the latest [`Command::Past`]; `None`: nobody asked, or it is under way.
    pub past: Option<Past>,
    /// The answer to the latest [`Command::Usage`]; `None`: nobody asked, or it is under way.
    pub usage: Option<UsageTable>,
    /// How far each budget in [`Settings::budgets`] is used up, in their order.
    pub budgets: Vec<Spent>,
    /// What is wrong with the recorded history, worded for a person: it can't be written, or a damaged file was put aside.
    pub history_error: Option<String>,
    /// The apps that have more than one program: all of them in the overview, those that are watched elsewhere.
    pub programs: Vec<ByProgram>,
    /// What the applications menu starts so that it can be counted, by name.
    pub launchers: Vec<Launcher>,
}

/// A program that the applications menu starts so that it can be counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Launcher {
    /// Its desktop entry's id.
    pub id: String,
    /// What a person reads.
    pub name: String,
    /// The person had an entry of their own before, which comes back in the end.
    pub is_own: bool,
}

/// How much an app, or all together, has used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Used {
    /// [`Reading::id`]
    pub id: String,
    /// Since midnight.
    pub today: Usage,
    /// Since the month began.
    pub month: Usage,
}

/// A part of the recorded past that a chart shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PastQuery {
    /// Its apps' ids; empty: all apps together.
    pub apps: Vec<String>,
    /// From, in seconds since 1970.
    pub from: i64,
    /// To, which may lie in the future.
    pub to: i64,
    /// How it is divided.
    pub every: Every,
}

/// What was recorded of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Past {
    /// What was asked for.
    pub query: PastQuery,
    /// A group for each app that has moved anything, or one for all together; or why there is none, worded for a person.
    pub groups: Result<Vec<Group>, String>,
    /// When the recording began, in seconds since 1970. `None`: nothing is recorded yet.
    pub since: Option<i64>,
}

/// The table of a calendar period.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UsageTable {
    /// What was asked for.
    pub period: Period,
    /// The period, in seconds since 1970: from, and to, which may lie in the future.
    pub span: (i64, i64),
    /// Every app that has moved anything, with one slot; or why there are none, worded for a person.
    pub apps: Result<Vec<Group>, String>,
    /// The same by network, with one slot.
    pub networks: Vec<Group>,
    /// When the recording began, in seconds since 1970. `None`: nothing is recorded yet.
    pub since: Option<i64>,
}

/// How much of its past the overview shows of each app.
pub const SPARK_SECS: u64 = 60;

/// What is shown where nothing is watched. The rates of the single apps are in [`Update::apps`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Overview {
    /// All apps of the user together.
    pub all: Reading,
    /// What each app moved in the last [`SPARK_SECS`], where there is a backlog.
    pub sparks: Option<Histories>,
}

impl Update {
    /// The readings that are shown: of what is watched, or of all together.
    pub fn shown(&self) -> &[Reading] {
        match &self.overview {
            Some(overview) if self.readings.is_empty() => slice::from_ref(&overview.all),
            _ => &self.readings,
        }
    }

    /// With every name in it fit to be shown. The ids, which go back in commands, stay what they are.
    pub fn printable(mut self) -> Self {
        let readings = self.readings.iter_mut().flat_map(|reading| {
            let units = reading.units.iter_mut().flat_map(|unit| [&mut unit.unit, &mut unit.cgroup]);
            units.chain([&mut reading.app])
        });
        let apps = self
            .apps
            .iter_mut()
            .chain(&mut self.services)
            .flat_map(|app| app.cgroups.iter_mut().chain([&mut app.name]));
        let remotes = self.connections.iter_mut().flat_map(|page| &mut page.remotes).flat_map(|remote| {
            let Whois { name, service, country, network } = &mut remote.whois;
            let whois = name.iter_mut().map(|name| &mut name.name).chain(service).chain(country);
            let names = whois.chain(network.iter_mut().map(|(_, name)| name)).chain(&mut remote.proxy);
            names.chain([&mut remote.unit, &mut remote.cgroup])
        });
        let groups = self.usage.iter_mut().flat_map(|table| table.apps.iter_mut().flatten().chain(&mut table.networks));
        let past = self.past.iter_mut().flat_map(|past| past.groups.iter_mut().flatten());
        let groups = groups.chain(past).flat_map(|group| {
            let network = group.network.iter_mut().flat_map(|network| &mut network.name);
            network.chain(&mut group.unit).chain([&mut group.name])
        });
        let programs = self.programs.iter_mut().flat_map(|by| &mut by.programs).map(|program| &mut program.name);
        let launchers = self.launchers.iter_mut().map(|launcher| &mut launcher.name);
        let failed = match &mut self.names.queries {
            Queries::Failed(why) => Some(why),
            _ => None,
        };
        let files = self.names.files.iter_mut().flat_map(|file| file.problem.iter_mut().chain([&mut file.path]));
        let sources = files.chain(&mut self.names.places).chain(failed);
        let all = readings.chain(apps).chain(programs).chain(launchers).chain(groups).chain(remotes).chain(sources);
        for name in all {
            if let Cow::Owned(shown) = printable(name) {
                *name = shown;
            }
        }
        self
    }
}

/// The points of one watched app, or of all together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Backlog {
    /// [`Reading::id`]
    pub id: String,
    /// At most the last quarter of an hour, oldest first.
    pub points: Vec<Point>,
}

/// What the proof page shows.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ProofPage {
    /// The proof that was asked for last; `None`: none was.
    pub proof: Option<Proof>,
}

/// The remotes of what is shown, as far as they are others than in the update before: a thousand of them are too many to send at
/// each beat.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Connections {
    /// Where the figures come from.
    pub source: Source,
    /// `CLOCK_BOOTTIME` of the look.
    pub boottime_ns: u64,
    /// Everything is in here: what the window has kept is out of date.
    pub is_whole: bool,
    /// The remotes that are new, or of which something else is known now.
    pub remotes: Vec<Remote>,
    /// The figures of those that have moved bytes, opened or closed sockets, or came to rest.
    pub figures: Vec<Figures>,
    /// The numbers of those that are no longer listed.
    pub gone: Vec<u32>,
    /// `false`: there are more remotes than the helper tells apart.
    pub is_complete: bool,
    /// Bytes received and sent that were counted for what is shown but are in no row, since the page was opened. `None`: unknown.
    pub others: Option<[u64; 2]>,
    /// Why there are no rows, or why they are not of now, worded for a person.
    pub failure: Option<String>,
}

/// How far a proof has got.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub enum Proof {
    /// A person is asked for a password, or it is tried.
    Running,
    /// What came out.
    Done(Report),
    /// Why nothing came out, worded for a person.
    Failed(String),
}

/// What the window asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Command {
    /// Watch the apps with these ids from now on, in this order, and remember them. None: show all together.
    Watch(Vec<String>),
    /// Take over these settings and write them to the settings file.
    Set(Settings),
    /// Have the helper count, setting it up first where it is missing. A person is asked for a password.
    CountExactly,
    /// The same, although the kernel has a bug that costs memory.
    CountAnyway,
    /// Don't, and don't ask again for this reason, which was [`Update::confirm`].
    KeepEstimate(String),
    /// Stop exact counting and take all of it off the system.
    RemoveExact,
    /// Have the helper show what is not the user's own, until netglance ends. A person is asked for a password.
    Authorise(Grant),
    /// Start netglance, hidden, at login from now on, or don't.
    StartAtLogin(bool),
    /// The proof page was opened, or closed.
    ProofPage(bool),
    /// The Connections page was opened, or closed.
    Connections(bool),
    /// Follow the names that this computer asks systemd-resolved for, until netglance ends, or stop that. A person may be asked for a
    /// password.
    FollowQueries(bool),
    /// Prove on this computer that what is counted is right. A person is asked for a password.
    Verify,
    /// Remember the chart's span, in minutes.
    Span(u32),
    /// Remember where the window is.
    Place(Place),
    /// Stop looking, or look again.
    Pause(bool),
    /// Show a part of the recorded past, and what is added to it, until something else is asked for. `None`: nothing.
    Past(Option<PastQuery>),
    /// Save a chart as a picture.
    SaveChart {
        /// What its file may be called, without an ending.
        name: String,
        /// The picture, an SVG document.
        svg: String,
    },
    /// Show the usage of a period, and what is added to it. `None`: nothing.
    Usage(Option<Period>),
    /// Forget what was recorded.
    Forget(Forget),
    /// Show the programs of the app with this id, or don't.
    Programs(String, bool),
    /// Have the applications menu start the program with this desktop entry so that it can be counted, or as before.
    StartCounted(String, bool),
    /// End netglance, tray and window.
    Quit,
}

/// What is to be forgotten of the recorded past.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Forget {
    /// All of an app, by its id.
    App(String),
    /// These days, of all apps: the first and the last.
    Days(Date, Date),
    /// Everything.
    Everything,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keep::usage::Network,
        look::{
            rate::{Bytes, Gap},
            reading::{Kind, UnitReading},
            remotes::{Name, NamedBy},
            sampler::Source,
            whois::GeoFile,
        },
    };

    #[test]
    fn every_name_that_the_window_shows_is_printable() {
        let name = || "a\u{1b}\u{202e}\n".to_owned();
        let unit = UnitReading { unit: name(), cgroup: name(), rx_bytes: 0, tx_bytes: 0, rate: None };
        let reading = Reading {
            id: name(),
            time: jiff::Timestamp::UNIX_EPOCH,
            boottime_ns: 0,
            elapsed_secs: 0.0,
            app: name(),
            source: Source::Exact,
            bytes: Bytes::default(),
            rate: Err(Gap::CountingRestarted),
            unmeasured_udp_sockets: None,
            lacks_containers: false,
            units: vec![unit],
        };
        let app = AppReading {
            id: name(),
            name: name(),
            icon: None,
            in_menu: false,
            rate: None,
            bytes: Bytes::default(),
            cgroups: vec![name()],
            kind: Kind::App,
            colour: None,
            parts: Vec::new(),
        };
        let remote = Remote {
            id: 1,
            app: name(),
            unit: name(),
            cgroup: name(),
            address: None,
            port: 0,
            protocol: 6,
            scope: None,
            prefix: None,
            reason: String::new(),
            counters: None,
            proxy: Some(name()),
            whois: Whois {
                name: Some(Name { name: name(), by: NamedBy::ReverseDns }),
                service: Some(name()),
                country: Some(name()),
                network: Some((1, name())),
            },
        };
        let connections = Some(Connections {
            source: Source::Exact,
            boottime_ns: 0,
            is_whole: true,
            remotes: vec![remote],
            figures: Vec::new(),
            gone: Vec::new(),
            is_complete: true,
            others: None,
            failure: None,
        });
        let network = Some(Network { name: Some(name()), metered: None });
        let group =
            || Group { app: name(), name: name(), unit: Some(name()), network: network.clone(), ..Group::default() };
        let query = PastQuery { apps: Vec::new(), from: 0, to: 0, every: Every::Day };
        let past = Some(Past { query, groups: Ok(vec![group()]), since: None });
        let (period, networks) = (Period::Today, vec![group()]);
        let usage = Some(UsageTable { period, span: (0, 0), apps: Ok(vec![group()]), networks, since: None });
        let files = vec![GeoFile { path: name(), problem: Some(name()) }];
        let names = Sources { queries: Queries::Failed(name()), files, places: vec![name()] };
        let (readings, apps) = (vec![reading], vec![app]);
        let update = Update { readings, apps, past, usage, connections, names, ..Update::default() };
        let update = update.printable();
        let text = serde_json::to_string(&update).unwrap();
        let hostile = serde_json::to_string(&name()).unwrap();
        assert_eq!(text.matches(hostile.trim_matches('"')).count(), 6, "the ids alone: {text}");
        assert_eq!((&update.readings[0].id, &update.apps[0].id), (&name(), &name()));
        assert_eq!(text.matches("a\u{FFFD}\u{FFFD}\u{FFFD}").count(), 25, "{text}");
    }
}
