//! `netglance run -- CMD`: a cgroup of its own for a command, made before its first instruction.
//!
//! netglance starts itself a second time; that process stops, is put into its cgroup, is continued and becomes the
//! command. So every socket of the command is made in that cgroup.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus},
    time::Duration,
};

use futures_lite::StreamExt;
use netglance_dbus::text::printable;
use rustix::process::{Pid, Signal, WaitOptions};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at},
};
use zbus::{OwnedObjectPath, Variant};

use super::{
    Error, report,
    watch::{json as print_json, say_settings_error},
};
use crate::{
    monitor::{Monitor, Reading},
    say::say,
    target::Target,
};

/// The hidden command that the second process is given.
pub const BECOME: &str = "run-become";

/// Between two looks that only keep the books: a connection shorter than this may be missed.
const LISTEN_EVERY: Duration = Duration::from_millis(50);
/// After the command's end the kernel needs a moment for its sockets' last words.
const LAST_WORDS: Duration = Duration::from_millis(50);
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Waits to be put into its cgroup, then becomes the command.
pub fn become_command(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    if let Err(error) = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP) {
        say(format_args!("cannot wait for the cgroup: {error}"));
        return ExitCode::FAILURE;
    }
    let error = Command::new(program).args(arguments).exec();
    say(format_args!("cannot run {}: {error}", printable(&program.to_string_lossy())));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Runs the command to its end and shows what it moves meanwhile.
pub async fn run(json: bool, command: &[OsString]) -> Result<ExitCode, Error> {
    let mut monitor = Monitor::open(None).await?;
    say_settings_error(&monitor, None);
    let mut signals = Signals::open()?;
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
    rustix::process::kill_process(pid, Signal::CONT).map_err(|e| Error::io("start the command")(e.into()))?;
    let result = accompany(json, &mut monitor, &mut child, &mut signals).await;
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

/// Shows readings and passes signals on until the command ends.
async fn accompany(
    json: bool,
    monitor: &mut Monitor,
    child: &mut Child,
    signals: &mut Signals,
) -> Result<ExitCode, Error> {
    let settings = monitor.settings().settings.clone();
    let live = io::stderr().is_terminal();
    let mut ticks = interval_at(Instant::now() + settings.beat, settings.beat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listen = tokio::time::interval(LISTEN_EVERY);
    listen.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let show = |reading: &Reading| -> Result<(), Error> {
        if json {
            return print_json(reading).map(drop);
        }
        let line = report::line(reading, settings.unit);
        show_line(&if live { format!("\r\x1b[K{line}") } else { format!("{line}\n") });
        Ok(())
    };
    let status: ExitStatus = loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Some(signal) => rustix::process::kill_process(Pid::from_child(child), signal)
                    .map_err(|e| Error::io("pass a signal on")(e.into()))?,
                None => if let Some(status) = child.try_wait().map_err(Error::io("wait for the command"))? {
                    break status;
                },
            },
            _ = ticks.tick() => for reading in monitor.look(settings.beat).await {
                show(&reading)?;
            },
            _ = listen.tick() => monitor.listen(),
        }
    };
    tokio::time::sleep(LAST_WORDS).await;
    for reading in monitor.look(settings.beat).await {
        show(&reading)?;
        if !json {
            show_line(&format!("{}{}\n", if live { "\r\x1b[K" } else { "" }, report::totals(&reading)));
        }
    }
    let signalled =
        status.signal().and_then(|signal| u8::try_from(signal).ok()).map(|signal| signal.saturating_add(128));
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.or(signalled).unwrap_or(u8::MAX)))
}

/// Where nobody reads any more, the command goes on all the same.
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

/// The cgroup made for the command.
struct OwnCgroup {
    /// As in /proc/PID/cgroup.
    path: String,
    /// To be removed at the end; systemd removes its scopes itself.
    directory: Option<PathBuf>,
}

/// A transient scope of the user's systemd, or a child cgroup where there is none.
async fn own_cgroup(pid: Pid, monitor: &Monitor) -> Result<OwnCgroup, Error> {
    let systemd = match scope(pid).await {
        Ok(()) => return Ok(OwnCgroup { path: cgroup_of(&pid.to_string())?, directory: None }),
        Err(error) => format!("the user's systemd gives no scope ({error})"),
    };
    let name = format!("netglance-run-{pid}");
    let own = cgroup_of("self")?;
    let directory = monitor.tree().directory(&own).join(&name);
    let made = fs::create_dir(&directory).and_then(|()| fs::write(directory.join("cgroup.procs"), pid.to_string()));
    if let Err(error) = made {
        _ = fs::remove_dir(&directory);
        let cgroupfs = format!("{} cannot be made and used ({error})", directory.display());
        return Err(Error::NoCgroup { systemd, cgroupfs });
    }
    Ok(OwnCgroup { path: cgroup_of(&pid.to_string())?, directory: Some(directory) })
}

/// The cgroup v2 path of a process.
fn cgroup_of(process: &str) -> Result<String, Error> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).map_err(Error::io("read the command's cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned).ok_or_else(|| Error::io("find the command's cgroup v2")(io::ErrorKind::NotFound.into()))
}

/// org.freedesktop.systemd1(5)
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;

    fn subscribe(&self) -> zbus::Result<()>;

    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        aux: &[(&str, &[(&str, Variant<'_>)])],
    ) -> zbus::Result<OwnedObjectPath>;
}

/// Puts the process into a transient scope of the user's systemd and waits until it is there.
async fn scope(pid: Pid) -> Result<(), zbus::Error> {
    let connection = zbus::Connection::session().await?;
    let manager = ManagerProxy::new(&connection).await?;
    manager.subscribe().await?;
    let mut removed = manager.receive_job_removed().await?;
    let name = format!("netglance-run-{pid}.scope");
    let pids = [u32::try_from(pid.as_raw_pid()).unwrap_or_default()];
    let properties = [
        ("PIDs", Variant::from(&pids[..])),
        ("Description", Variant::from("netglance run")),
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    let job = manager.start_transient_unit(&name, "fail", &properties, &[]).await?;
    while let Some(signal) = removed.next().await {
        let args = signal.args()?;
        if args.job == job {
            return if args.result == "done" {
                Ok(())
            } else {
                Err(zbus::Error::Failure(format!("the job ended as {}", args.result)))
            };
        }
    }
    Err(zbus::Error::Failure("the bus hung up".to_owned()))
}
