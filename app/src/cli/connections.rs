//! `netglance connections`.

mod json;
mod lines;
mod view;

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use netglance_dbus::error::chain;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};

use super::{
    Error, NOTHING_MATCHES, WatchArgs, exists, target,
    terminal::Screen,
    watch::{print, print_json, say_settings_error, say_warning},
};
use crate::{
    base::{say::say, settings::Settings},
    look::{
        monitor::Monitor,
        reading::Reading,
        remotes::{Figures, Remote, Table},
        sampler::Source,
    },
};

/// Lines of a beat where there is no terminal.
const LINES_PRINTED: usize = 20;

#[derive(Debug, Args)]
pub struct ConnectionsArgs {
    #[command(flatten)]
    watch: WatchArgs,
    /// What each line stands for
    #[arg(long, value_enum, default_value_t = By::Remote)]
    by: By,
}

/// What makes a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Each address, port and protocol
    Remote,
    /// Each network: its autonomous system (AS) if that is known, otherwise the /24 of an IPv4 address or the /48 of an IPv6 address
    Network,
    /// Each port and protocol
    Port,
}

/// A row and what its app is called.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    app: &'a str,
    remote: &'a Remote,
    figures: &'a Figures,
}

/// What a beat has to show.
#[derive(Clone, Debug)]
pub struct Beat<'a> {
    time: jiff::Timestamp,
    boottime_ns: u64,
    /// What was asked for.
    app: &'a str,
    source: Source,
    rows: Vec<Row<'a>>,
    is_complete: bool,
    /// Bytes that are in no row because there are too many remotes.
    others: Option<[u64; 2]>,
    /// Why the figures are not of now.
    failure: Option<&'a str>,
}

/// Where it goes.
enum Output {
    Json,
    Lines,
    Terminal(Box<Screen>),
}

/// Looks every beat until the count is reached or a signal comes. Exit status 3 where nothing had matched by then.
pub async fn connections(args: &ConnectionsArgs) -> Result<ExitCode, Error> {
    let ConnectionsArgs { watch: args, by } = args;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("listen for signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for signals"))?;
    let mut monitor = Monitor::open(args.source).await?;
    let target = target(&args.target, &mut monitor).await?;
    let is_everything = args.target.is_empty() && target.is_everything();
    let mut settings_error = say_settings_error(&monitor, None);
    let mut warning = say_warning(&monitor, None);
    let mut matched = exists(&target, &monitor, " Waiting for it.");
    monitor.watch(target);
    let beat = args.interval.unwrap_or(monitor.settings().settings.beat);
    // Counting by remote begins here.
    let mut said = monitor.look_at_remotes(beat).await.err().map(|error| chain(&error));
    said.iter().for_each(say);
    let mut output = match () {
        () if args.json => Output::Json,
        () if io::stdout().is_terminal() => Output::Terminal(Box::new(Screen::open(view::lines())?)),
        () => Output::Lines,
    };
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + beat, beat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        let ended = tokio::select! {
            _ = ticks.tick() => false,
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
        };
        let Some(reading) = monitor.look(beat).await.pop() else { break };
        let failure = monitor.look_at_remotes(beat).await.err().map(|error| chain(&error));
        settings_error = say_settings_error(&monitor, settings_error);
        warning = say_warning(&monitor, warning);
        matched |= !reading.units.is_empty();
        if failure != said && !matches!(output, Output::Terminal(_)) {
            failure.iter().for_each(say);
        }
        said.clone_from(&failure);
        let names = if is_everything { names(&mut monitor) } else { HashMap::new() };
        let shown_whole = match monitor.remotes().and_then(|table| Some((table, table.source()?))) {
            Some((table, source)) => {
                let name_of =
                    |path: &str| monitor.defined().id_of(path).and_then(|id| names.get(&id)).map(String::as_str);
                let beat = Beat::of(&reading, table, source, name_of, failure.as_deref());
                output.show(&beat, *by, &monitor.settings().settings)?
            }
            None => true,
        };
        if ended || !shown_whole {
            break;
        }
        shown += 1;
    }
    if let Output::Terminal(screen) = output {
        screen.close()?;
    }
    Ok(if matched || args.count.is_none() { ExitCode::SUCCESS } else { ExitCode::from(NOTHING_MATCHES) })
}

/// What each app is called, by its id.
fn names(monitor: &mut Monitor) -> HashMap<String, String> {
    monitor.apps().into_iter().map(|app| (app.id, app.name)).collect()
}

impl<'a> Beat<'a> {
    fn of(
        reading: &'a Reading,
        table: &'a Table,
        source: Source,
        name_of: impl Fn(&str) -> Option<&'a str>,
        failure: Option<&'a str>,
    ) -> Self {
        // With the ids an app is looked up once for each of its cgroups.
        let mut apps: HashMap<&str, &str> = HashMap::new();
        let is_shown = |figures: &Figures| figures.sockets > 0 || figures.bytes.is_some_and(|bytes| bytes != [0, 0]);
        let rows = table.rows().filter(|(_, figures)| is_shown(figures)).map(|(remote, figures)| {
            let app =
                *apps.entry(&remote.cgroup).or_insert_with(|| name_of(&remote.cgroup).unwrap_or(reading.app.as_str()));
            Row { app, remote, figures }
        });
        let others = table.others().filter(|bytes| !table.is_complete() && *bytes != [0, 0]);
        Self {
            time: reading.time,
            boottime_ns: table.boottime_ns(),
            app: &reading.app,
            source,
            rows: rows.collect(),
            is_complete: table.is_complete(),
            others,
            failure,
        }
    }
}

impl Output {
    /// Whether somebody still reads.
    fn show(&mut self, beat: &Beat<'_>, by: By, settings: &Settings) -> Result<bool, Error> {
        match self {
            Self::Json => {
                let text = json::lines(beat, by).map_err(io::Error::from).map_err(Error::io("write JSON"))?;
                if text.is_empty() { Ok(true) } else { print_json(&text) }
            }
            Self::Lines => print(&view::text(beat, by, settings.unit, LINES_PRINTED)),
            Self::Terminal(screen) => screen.draw(|frame| view::draw(frame, beat, by, settings)).map(|()| true),
        }
    }
}
