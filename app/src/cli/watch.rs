//! `netglance watch`.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};

use super::{
    Error, WatchArgs,
    report::{self, Json},
    say_waiting, target,
    terminal::Terminal,
};
use crate::{
    format,
    monitor::{Monitor, Reading},
};

/// Where the readings go.
enum Output {
    Json,
    Lines,
    Terminal(Box<Terminal>),
}

/// Looks every beat until the count is reached or a signal comes.
pub async fn watch(args: &WatchArgs) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("listen for signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for signals"))?;
    let mut monitor = Monitor::open(args.source).await?;
    let target = target(&args.target, &mut monitor)?;
    let mut settings_error = say_settings_error(&monitor, None);
    let mut warning = say_warning(&monitor, None);
    say_waiting(&target, &monitor);
    monitor.watch(target);
    let beat = args.interval.unwrap_or(monitor.settings().settings.beat);
    let mut output = match () {
        () if args.json => Output::Json,
        () if io::stdout().is_terminal() => Output::Terminal(Box::new(Terminal::open()?)),
        () => Output::Lines,
    };
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + beat, beat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = 0;
    let mut last = None;
    while args.count.is_none_or(|count| shown < count) {
        let ended = tokio::select! {
            _ = ticks.tick() => false,
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
        };
        let Some(reading) = monitor.look(beat).await.pop() else { break };
        settings_error = say_settings_error(&monitor, settings_error);
        warning = say_warning(&monitor, warning);
        let shown_whole = output.show(&reading, &monitor);
        last = Some(reading);
        if ended || !shown_whole? {
            break;
        }
        shown += 1;
    }
    match (output, last) {
        (Output::Json, _) | (_, None) => {}
        (Output::Lines, Some(reading)) => _ = print(&report::totals(&reading))?,
        (Output::Terminal(terminal), Some(reading)) => {
            terminal.close()?;
            _ = print(&report::totals(&reading))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Output {
    /// Whether somebody still reads.
    fn show(&mut self, reading: &Reading, monitor: &Monitor) -> Result<bool, Error> {
        let unit = monitor.settings().settings.unit;
        match self {
            Self::Json => json(reading),
            Self::Lines => print(&report::line(reading, unit)),
            Self::Terminal(terminal) => terminal.show(reading, unit).map(|()| true),
        }
    }
}

/// Prints a reading as one line of JSON. `false`: nobody reads any more.
pub fn json(reading: &Reading) -> Result<bool, Error> {
    let line = serde_json::to_string(&Json::from(reading)).map_err(io::Error::from);
    print(&line.map_err(Error::io("write JSON"))?)
}

/// Prints a line at once. `false`: nobody reads any more, which is no error.
pub fn print(line: &str) -> Result<bool, Error> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("write to stdout")(error)),
    }
}

/// Says each new problem with the settings file once.
pub fn say_settings_error(monitor: &Monitor, said: Option<String>) -> Option<String> {
    let error = monitor.settings().error.as_ref().map(ToString::to_string);
    if let Some(text) = error.as_ref().filter(|_| error != said) {
        eprintln!("netglance: {text}. The last good settings stay in force.");
    }
    error
}

/// Says each new warning of the helper's once.
pub fn say_warning(monitor: &Monitor, said: Option<String>) -> Option<String> {
    let warning = monitor.warning().map(str::to_owned);
    if let Some(text) = warning.as_ref().filter(|_| warning != said) {
        eprintln!("netglance: {}", format::sentence(text));
    }
    warning
}
