//! `netglance watch`.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use netglance_dbus::text;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};

use super::{
    Error, NOTHING_MATCHES, WatchArgs, exists, others,
    report::{self, Json},
    target,
    terminal::Terminal,
};
use crate::{
    base::{format, say::say, settings::Settings},
    look::{monitor::Monitor, reading::Reading},
};

/// Where the readings go.
enum Output {
    Json,
    Lines,
    Terminal(Box<Terminal>),
}

/// Looks every beat until the count is reached or a signal comes. Exit status 3 where nothing had matched by then.
pub async fn watch(args: &WatchArgs) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("listen for signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for signals"))?;
    let mut monitor = Monitor::open(args.source).await?;
    let target = target(&args.target, &mut monitor).await?;
    let mut settings_error = say_settings_error(&monitor, None);
    let mut warning = say_warning(&monitor, None);
    let mut matched = exists(&target, &monitor, " Waiting for it.");
    monitor.watch(target);
    if !others::ask(args, &mut monitor, &mut interrupt).await {
        return Ok(ExitCode::SUCCESS);
    }
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
        matched |= !reading.units.is_empty();
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
    // Without a count it waits until somebody ends it, and that somebody knows.
    Ok(if matched || args.count.is_none() { ExitCode::SUCCESS } else { ExitCode::from(NOTHING_MATCHES) })
}

impl Output {
    /// Whether somebody still reads.
    fn show(&mut self, reading: &Reading, monitor: &Monitor) -> Result<bool, Error> {
        let unit = monitor.settings().settings.unit;
        match self {
            Self::Json => json(reading),
            Self::Lines => print(&report::line(reading, unit)),
            Self::Terminal(terminal) => terminal.show(reading, &monitor.settings().settings).map(|()| true),
        }
    }
}

/// Prints a reading as one line of JSON. `false`: nobody reads any more.
pub fn json(reading: &Reading) -> Result<bool, Error> {
    let line = serde_json::to_string(&Json::from(reading)).map_err(io::Error::from);
    print_json(&line.map_err(Error::io("write JSON"))?)
}

/// Prints JSON: names in it stay what they are, and what a terminal should not get stands in it as `\uNNNN`.
pub fn print_json(json: &str) -> Result<bool, Error> {
    print_as_it_is(&escaped(json))
}

/// serde escapes no more than the characters below U+0020. In JSON that serde has written, the others stand in strings only.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || text::is_shown(c) {
            text.push(c);
        } else {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Prints a text of one line or more at once. `false`: nobody reads any more, which is no error.
pub fn print(lines: &str) -> Result<bool, Error> {
    print_as_it_is(&text::printable_lines(lines))
}

/// The same for a text whose colours are for the terminal.
pub fn print_as_it_is(line: &str) -> Result<bool, Error> {
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
        let used = match monitor.settings().settings == Settings::default() {
            true => "The default settings are used.",
            false => "The previous settings are used until this is corrected.",
        };
        say(format_args!("{text}. {used}"));
    }
    error
}

/// Says each new warning of the helper's once.
pub fn say_warning(monitor: &Monitor, said: Option<String>) -> Option<String> {
    let warning = monitor.warning().map(str::to_owned);
    if let Some(text) = warning.as_ref().filter(|_| warning != said) {
        say(format::sentence(text));
    }
    warning
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_what_a_name_is_and_shows_a_terminal_none_of_it() {
        let names = ["a\u{1b}]0;x\u{7}", "\u{9b}31m\u{7f}", "\u{202e}abc", "tag\u{e0041}", "plain — ü\n\"\\"];
        for pretty in [serde_json::to_string(&names).unwrap(), serde_json::to_string_pretty(&names).unwrap()] {
            let text = escaped(&pretty);
            assert!(text.chars().all(|c| c == '\n' || text::is_shown(c)), "{text:?}");
            assert_eq!(serde_json::from_str::<[String; 5]>(&text).unwrap(), names);
        }
    }
}
