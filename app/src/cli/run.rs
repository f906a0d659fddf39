//! `netglance run -- CMD`: gives a command a cgroup of its own, before its first instruction.
//!
//! netglance starts itself a second time; that process stops, is put into its cgroup, is continued and becomes the
//! command. So every socket of the command is made in that cgroup.

mod end;
mod family;
pub(super) mod scope;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode},
    time::Duration,
};

use futures_lite::future::poll_once;
use netglance_dbus::{error::chain, text::printable};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, Interval, MissedTickBehavior, interval, interval_at},
};

use self::{
    end::{End, JsonLine, Uncounted},
    family::{Family, Moved, reap},
    scope::own_cgroup,
};
use super::{
    Error, report,
    watch::{print_json, say_settings_error},
};
use crate::{
    base::{say::say, settings::Settings},
    look::{
        monitor::Monitor,
        rate::{Bytes, Gap},
        reading::Reading,
        sampler::Source,
        target::Target,
    },
};

/// The hidden command that the second process is given.
pub const BECOME: &str = "run-become";

/// The time between two looks that only update the books. A shorter connection may be missed.
const LISTEN_EVERY: Duration = Duration::from_millis(50);
/// So long after the command's end, netglance waits for its sockets to deliver what it has left in them.
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);
/// If the wait is longer than this, netglance says that it waits.
const SAID_AFTER: Duration = Duration::from_millis(500);
/// So long after the command's end, its other processes get time to end before they count as still running.
const LEAVING: Duration = Duration::from_millis(200);
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Waits to be put into its cgroup, then becomes the command.
pub fn become_command(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    if let Err(error) = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP) {
        say(format_args!("cannot wait for the cgroup: {error}"));
        return ExitCode::FAILURE;
    }
    become_program(program, arguments)
}

/// Becomes the program; the exit status if that fails.
pub(super) fn become_program(program: &OsString, arguments: &[OsString]) -> ExitCode {
    let error = Command::new(program).args(arguments).exec();
    say(format_args!("cannot run {}: {error}", printable(&program.to_string_lossy())));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Runs the command to its end and shows what it moves meanwhile.
pub async fn run(json: bool, command: &[OsString]) -> Result<ExitCode, Error> {
    let mut monitor = Monitor::open(None).await?;
    say_settings_error(&monitor, None);
    let mut signals = Signals::open()?;
    let family = Family::new(&monitor);
    let mut child = start(json, command)?;
    let pid = Pid::from_child(&child);
    let cgroup = match own_cgroup(pid, &monitor).await {
        Ok(cgroup) => cgroup,
        Err(error) => {
            let ended = child.kill().and_then(|()| child.wait());
            ended.map_err(Error::io("end the command that got no cgroup"))?;
            return Err(error);
        }
    };
    let name = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let mut target = Target::selection(&[], std::slice::from_ref(&cgroup.path), "")
        .map_err(|source| Error::Pattern { pattern: cgroup.path.clone(), source })?;
    target.name = name;
    target.comes_back = false;
    monitor.watch(target);
    monitor.listen();
    rustix::process::kill_process(pid, Signal::CONT).map_err(|e| Error::io("start the command")(e.into()))?;
    let result = Run::new(json, monitor, cgroup.path, family).accompany(pid, &mut signals).await;
    if let Some(directory) = cgroup.directory {
        // Something the command left behind may still live there; then so does the cgroup.
        _ = fs::remove_dir(directory);
    }
    result
}

/// Starts the second process and waits until it has stopped.
fn start(json: bool, command: &[OsString]) -> Result<Child, Error> {
    let mut second = Command::new("/proc/self/exe");
    second.arg0("netglance").arg(BECOME).arg("--").args(command);
    if json {
        second.stdout(io::stderr());
    }
    let child = second.spawn().map_err(Error::io("start a second process"))?;
    rustix::process::waitpid(Some(Pid::from_child(&child)), WaitOptions::UNTRACED)
        .map_err(|e| Error::io("wait for the second process")(e.into()))?;
    Ok(child)
}

/// A command that runs, and what is shown of it.
struct Run {
    json: bool,
    /// Whether the line on the terminal is overwritten each time.
    live: bool,
    monitor: Monitor,
    settings: Settings,
    /// The command's cgroup.
    cgroup: String,
    family: Family,
    end: End,
    /// Of all readings.
    sources: Vec<Source>,
    warning: Option<String>,
}

impl Run {
    fn new(json: bool, monitor: Monitor, cgroup: String, family: Family) -> Self {
        let settings = monitor.settings().settings.clone();
        let live = !json && io::stderr().is_terminal();
        let (end, sources) = (End::default(), Vec::new());
        Self { json, live, monitor, settings, cgroup, family, end, sources, warning: None }
    }

    /// Shows readings and passes signals on until the command has ended and all that it sent is delivered.
    async fn accompany(mut self, command: Pid, signals: &mut Signals) -> Result<ExitCode, Error> {
        if self.family.is_blind() {
            self.tell(end::BLIND.to_owned());
        }
        let mut ticks = interval_at(Instant::now() + self.settings.beat, self.settings.beat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listen = interval(LISTEN_EVERY);
        listen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let status = loop {
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Some(signal) => rustix::process::kill_process(command, signal)
                        .map_err(|e| Error::io("pass a signal on")(e.into()))?,
                    None => {
                        // The cgroup of a process that has ended can be read only until the process is waited for.
                        if self.family.is_due_at_end(command) {
                            self.follow(true);
                        }
                        if let Some(status) = reap(command).map_err(Error::io("wait for the command"))? {
                            break status;
                        }
                    }
                },
                _ = ticks.tick() => self.look().await?,
                _ = listen.tick() => self.follow(false),
            }
        };
        (self.end.status, self.end.signal) = (status.exit_status(), status.terminating_signal());
        self.deliver(command, &mut ticks, &mut listen, signals).await?;
        self.sum_up().await?;
        Ok(exit_code(status))
    }

    /// Takes a look and shows it.
    async fn look(&mut self) -> Result<(), Error> {
        for reading in self.read().await {
            self.show(&reading)?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Vec<Reading> {
        let readings = self.monitor.look(self.settings.beat).await;
        let warning = self.monitor.warning().map(str::to_owned);
        if let Some(text) = warning.as_ref().filter(|_| warning != self.warning) {
            self.tell(crate::base::format::sentence(text));
        }
        self.warning = warning;
        for reading in &readings {
            if !self.sources.contains(&reading.source) {
                self.sources.push(reading.source);
            }
            if reading.rate == Err(Gap::CountingRestarted) {
                self.tell(end::RESTARTED.to_owned());
            }
        }
        readings
    }

    fn show(&self, reading: &Reading) -> Result<(), Error> {
        if self.json {
            return self.print(reading, None);
        }
        let line = report::line(reading, self.settings.unit);
        show_line(&if self.live { format!("\r\x1b[K{line}") } else { format!("{line}\n") });
        Ok(())
    }

    fn print(&self, reading: &Reading, end: Option<&End>) -> Result<(), Error> {
        let line = serde_json::to_string(&JsonLine::new(reading, end)).map_err(io::Error::from);
        print_json(&line.map_err(Error::io("write JSON"))?).map(drop)
    }

    /// Says something about the figures, once.
    fn tell(&mut self, text: String) {
        if self.end.notes.contains(&text) {
            return;
        }
        if self.live {
            show_line("\r\x1b[K");
        }
        say(&text);
        self.end.notes.push(text);
    }

    /// Updates the books and follows the processes that the command has started.
    fn follow(&mut self, at_once: bool) {
        let began = Instant::now();
        self.monitor.listen();
        let news = match at_once {
            true => self.family.look(&mut self.monitor),
            false => self.family.glance(&mut self.monitor),
        };
        self.family.rest_after(began.elapsed());
        for (cgroup, moved) in news {
            self.tell(end::moved(&cgroup, moved));
        }
    }

    /// Waits until the kernel has delivered what the command has left in its sockets.
    async fn deliver(
        &mut self,
        command: Pid,
        ticks: &mut Interval,
        listen: &mut Interval,
        signals: &mut Signals,
    ) -> Result<(), Error> {
        let (began, mut is_said) = (Instant::now(), false);
        poll_once(signals.interrupted()).await; // the signal that ended the command does not end the wait
        listen.reset(); // the kernel needs a moment for the sockets' last figures
        loop {
            tokio::select! {
                biased;
                () = signals.interrupted() => {
                    self.end.unsent = self.monitor.unsent().unwrap_or_default();
                    return Ok(());
                }
                _ = ticks.tick() => self.look().await?,
                _ = listen.tick() => {
                    self.follow(false);
                    reap(command).map_err(Error::io("wait for the command's children"))?;
                    self.end.unsent = match self.monitor.unsent() {
                        Ok(unsent) => unsent,
                        Err(error) => {
                            self.tell(end::unknown(&chain(&error)));
                            return Ok(());
                        }
                    };
                    let waited = began.elapsed();
                    let is_leaving = waited < LEAVING && !self.family.remaining().is_empty();
                    if (self.end.unsent.is_empty() && !is_leaving) || waited >= DELIVERED_WITHIN {
                        return Ok(());
                    }
                    if waited >= SAID_AFTER && !is_said {
                        is_said = true;
                        self.tell(end::waiting(&self.end.unsent, DELIVERED_WITHIN.as_secs()));
                    }
                }
            }
        }
    }

    /// Shows the last reading, and says what it lacks.
    async fn sum_up(&mut self) -> Result<(), Error> {
        self.follow(true);
        let readings = self.read().await;
        self.end.remaining = self.remaining();
        self.end.counted = self
            .family
            .moved()
            .filter(|(_, moved)| !matches!(moved, Moved::Left(_)))
            .map(|(c, _)| c.to_owned())
            .collect();
        self.end.uncounted = self.uncounted();
        let end = &self.end;
        let said = [
            end::unsent(&end.unsent),
            end::background(&end.remaining),
            end::appeared(&end.uncounted),
            end::mixed(&self.sources),
        ];
        for text in said.into_iter().flatten() {
            self.tell(text);
        }
        for reading in readings {
            if self.json {
                self.print(&reading, Some(&self.end))?;
            } else {
                self.show(&reading)?;
                show_line(&format!("{}{}\n", if self.live { "\r\x1b[K" } else { "" }, report::totals(&reading)));
            }
        }
        Ok(())
    }

    /// The processes that are still running, by the cgroup that they are counted with or have moved to.
    fn remaining(&self) -> BTreeMap<String, usize> {
        let tops = || self.family.moved().map(|(cgroup, _)| cgroup).chain([self.cgroup.as_str()]);
        let mut remaining = BTreeMap::new();
        for (cgroup, processes) in self.family.remaining() {
            let top = tops().find(|top| end::is_within(&cgroup, top)).unwrap_or(&cgroup).to_owned();
            *remaining.entry(top).or_default() += processes;
        }
        remaining
    }

    /// Cgroups that hold, or may have held, something of the command's and are not counted with it.
    fn uncounted(&self) -> Vec<Uncounted> {
        let mut uncounted: Vec<_> = self
            .family
            .moved()
            .filter_map(|(cgroup, moved)| match moved {
                Moved::Left(why) => {
                    Some(Uncounted { cgroup: cgroup.to_owned(), bytes: Bytes::default(), why: Some(why) })
                }
                Moved::Counted | Moved::Joined => None,
            })
            .collect();
        for (path, bytes) in self.monitor.moved() {
            if self.monitor.is_watched(path) {
                continue;
            }
            let within = |other: &Uncounted| end::is_within(path, &other.cgroup);
            if let Some(found) = uncounted.iter_mut().find(|other| within(other)) {
                found.bytes = found.bytes.plus(bytes);
                continue;
            }
            let unit = end::unit(path);
            let is_new = !self.family.is_older(unit) && !self.family.is_older(path) && self.monitor.is_own_cgroup(path);
            if is_new && (bytes.rx > 0 || bytes.tx > 0) && !end::is_another_run(unit) {
                uncounted.push(Uncounted { cgroup: unit.to_owned(), bytes, why: None });
            }
        }
        uncounted
    }
}

fn exit_code(status: WaitStatus) -> ExitCode {
    let signalled = status.terminating_signal().and_then(|signal| u8::try_from(signal).ok());
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.or(signalled.map(|signal| signal.saturating_add(128))).unwrap_or(u8::MAX))
}

/// If nobody reads the output any more, the command goes on all the same.
fn show_line(text: &str) {
    _ = io::stderr().write_all(text.as_bytes());
}

/// The signals that are passed on, and the one that says a child has changed state.
struct Signals {
    child: tokio::signal::unix::Signal,
    others: Vec<(Signal, tokio::signal::unix::Signal)>,
}

impl Signals {
    fn open() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::io("listen for signals"));
        let others = [
            (Signal::HUP, SignalKind::hangup()),
            (Signal::INT, SignalKind::interrupt()),
            (Signal::QUIT, SignalKind::quit()),
            (Signal::TERM, SignalKind::terminate()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
        ];
        let others = others.into_iter().map(|(signal, kind)| Ok((signal, listen(kind)?)));
        Ok(Self { child: listen(SignalKind::child())?, others: others.collect::<Result<_, Error>>()? })
    }

    /// The first that asks to end.
    async fn interrupted(&mut self) {
        std::future::poll_fn(|context| {
            let mut is_asked = false;
            // All are polled, so that those which end nothing are taken in as well.
            for (signal, listener) in &mut self.others {
                let came = listener.poll_recv(context).is_ready();
                is_asked |= came && [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].contains(signal);
            }
            if is_asked { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    /// The next signal to pass on; `None`: a child changed state.
    async fn next(&mut self) -> Option<Signal> {
        loop {
            let others = &mut self.others;
            let other = std::future::poll_fn(|context| {
                for (signal, listener) in others.iter_mut() {
                    if listener.poll_recv(context).is_ready() {
                        return std::task::Poll::Ready(*signal);
                    }
                }
                std::task::Poll::Pending
            });
            tokio::select! {
                _ = self.child.recv() => return None,
                // The terminal sends its own signals to the command as well.
                signal = other => if !(from_terminal(signal)) { return Some(signal) },
            }
        }
    }
}

fn from_terminal(signal: Signal) -> bool {
    let foreground = || rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp());
    [Signal::INT, Signal::QUIT].contains(&signal) && foreground()
}
