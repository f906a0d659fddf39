//! The command line: what can be asked, and in which words it is answered. It draws no window.

mod agent;
mod apps;
mod doctor;
mod install;
mod report;
mod run;
mod terminal;
mod verify;
mod watch;

use std::{process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use netglance_dbus::{error::chain, text::printable};

use crate::{
    base::{say::say, settings::BEAT_SECS},
    look::{monitor::Monitor, sampler::Source, target::Target},
};

/// How much is this application talking to the outside world right now?
///
/// Graphs the external throughput of one application, all its services and subprocesses included; loopback, private
/// networks and the tailnet are left out. Without a command: opens the window, or the terminal view where there is no
/// display.
#[derive(Debug, Parser)]
#[command(name = "netglance", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Start without a window: the tray icon shows it
    #[arg(long)]
    hidden: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show an app's external traffic in the terminal
    Watch(WatchArgs),
    /// List the apps that can be watched, busiest first
    Apps {
        /// One JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a cgroup of its own and count its external traffic
    ///
    /// Its exit status is passed on (128 + N if signal N ended it), and so are signals.
    ///
    /// When the command has ended, netglance waits up to 30 seconds until the kernel has delivered what the command left in
    /// its sockets; Ctrl+C ends the wait. Processes that move to a new cgroup of their own, as flatpak and snap do, are
    /// counted too. Whatever is not counted is said on stderr, and in the last line of --json in the field "end": bytes that
    /// were not sent, processes that go on in the background, and cgroups that may belong to the command. What the command
    /// has a running program do for it, such as a browser that is open already, can't be told apart.
    Run {
        /// One JSON object a line on stdout; what the command prints there goes to stderr then
        #[arg(long)]
        json: bool,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
        command: Vec<std::ffi::OsString>,
    },
    /// Prove on this computer that internal traffic is left out and an app's external traffic is counted
    ///
    /// Makes scratch networks and an app of its own, moves known bytes and compares. It takes a second or two, asks for an
    /// administrator's password, and reaches no outside address. The exit status is 1 if a case fails.
    Verify {
        /// Instead, and with no privilege: the app's open sockets, each with what decided that it is internal or external
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        target: TargetArgs,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Say what this host is like for netglance, which way of counting fits, and what to do
    ///
    /// About StB where no app is named. The exit status is 1 where something does not work.
    Doctor(doctor::DoctorArgs),
    /// Count exactly from now on, and after every boot: one password, in a dialog or in this terminal
    Install,
    /// Stop counting exactly and forget all counters
    Uninstall,
    /// Stop until continued, then become the command: the second half of `run`
    #[command(name = run::BECOME, hide = true)]
    Become {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// The window's process, which the program starts for each show
    #[command(name = crate::program::link::COMMAND, hide = true)]
    Window,
}

#[derive(Debug, Default, Args)]
struct TargetArgs {
    /// An app by its name or id, as `netglance apps` lists them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["unit", "cgroup"])]
    app: Option<String>,
    /// Unit names, with * ? […] as systemctl takes them; all below a unit counts
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    unit: Vec<String>,
    /// cgroup paths as in /proc/PID/cgroup; all below counts
    #[arg(long, value_name = "PATH", num_args = 1..)]
    cgroup: Vec<String>,
}

#[derive(Debug, Default, Args)]
struct WatchArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Seconds between two looks, 0.1 to 5 [default: the setting `beat`, or 0.5]
    #[arg(long, value_name = "S", value_parser = interval)]
    interval: Option<Duration>,
    /// End after N lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Insist on a source instead of taking the best there is
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl TargetArgs {
    fn is_empty(&self) -> bool {
        self.app.is_none() && self.unit.is_empty() && self.cgroup.is_empty()
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let secs: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if BEAT_SECS.contains(&secs) {
        Ok(Duration::from_secs_f64(secs))
    } else {
        Err(format!("not between {} and {} seconds", BEAT_SECS.start(), BEAT_SECS.end()))
    }
}

/// Why a command ended early. The text is for the person who gave it.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Monitor(#[from] crate::look::monitor::Error),
    #[error(transparent)]
    Verify(#[from] crate::advise::verify::Error),
    #[error("\"{pattern}\" is not a unit pattern")]
    Pattern { pattern: String, source: glob::PatternError },
    #[error("cannot {doing}")]
    Io { doing: &'static str, source: std::io::Error },
    #[error("{0}")]
    Helper(String),
    #[error("cannot give the command a cgroup of its own: {systemd}; and {cgroupfs}")]
    NoCgroup { systemd: String, cgroupfs: String },
}

impl Error {
    fn io(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// What `main` is to do.
#[derive(Debug)]
pub enum Start {
    /// The tray icon and, unless it is hidden, the window.
    Desktop {
        /// Without the window.
        hidden: bool,
    },
    /// Be the window's process.
    Window,
    /// It is done; this is the exit status.
    Done(ExitCode),
}

impl Cli {
    /// Carries out the command.
    pub fn execute(self) -> Start {
        let result = match self.command {
            None if has_display() => return Start::Desktop { hidden: self.hidden },
            None if self.hidden => {
                say("no display (neither WAYLAND_DISPLAY nor DISPLAY is set), so there is no tray.");
                return Start::Done(ExitCode::FAILURE);
            }
            None => {
                say("no display (neither WAYLAND_DISPLAY nor DISPLAY is set), so here is `netglance watch`.");
                block_on(watch::watch(&WatchArgs::default()))
            }
            Some(Command::Watch(args)) => block_on(watch::watch(&args)),
            Some(Command::Apps { json }) => block_on(apps::apps(json)),
            Some(Command::Run { json, command }) => block_on(run::run(json, &command)),
            Some(Command::Window) => return Start::Window,
            Some(Command::Verify { live: true, target, json }) => block_on(verify::live(&target, json)),
            Some(Command::Verify { live: false, target, json }) if target.is_empty() => verify::verify(json),
            Some(Command::Verify { .. }) => Cli::command()
                .error(
                    ErrorKind::MissingRequiredArgument,
                    "--app, --unit and --cgroup need --live: the proof makes an app of its own",
                )
                .exit(),
            Some(Command::Doctor(args)) => block_on(doctor::doctor(&args)),
            Some(Command::Install) => block_on(install::install(true)),
            Some(Command::Uninstall) => block_on(install::install(false)),
            Some(Command::Become { command }) => return Start::Done(run::become_command(&command)),
        };
        Start::Done(result.unwrap_or_else(|error| {
            say(chain(&error));
            ExitCode::FAILURE
        }))
    }
}

fn has_display() -> bool {
    ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start the event loop"))?.block_on(future)
}

/// The target that the arguments name; without any, StB where it runs and all that is the
/// caller's elsewhere.
async fn target(args: &TargetArgs, monitor: &mut Monitor) -> Result<Target, Error> {
    if !args.unit.is_empty() || !args.cgroup.is_empty() {
        let mount = monitor.tree().mount().to_string_lossy().into_owned();
        let bad = args.unit.iter().find_map(|p| Some((p.clone(), glob::Pattern::new(p).err()?)));
        let named = Target::selection(&args.unit, &args.cgroup, &mount);
        return named.map_err(|source| Error::Pattern { pattern: bad.map(|(p, _)| p).unwrap_or_default(), source });
    }
    if let Some(wanted) = &args.app {
        monitor.apps();
        monitor.know_names().await;
        let apps = monitor.apps();
        let exact = apps.iter().find(|app| app.id == *wanted);
        let named = || apps.iter().find(|app| [&app.id, &app.name].iter().any(|n| n.eq_ignore_ascii_case(wanted)));
        if let Some(app) = exact.or_else(named) {
            return Ok(Target::app(&app.id, &app.name));
        }
        let id = if wanted.eq_ignore_ascii_case("stb") { "StB" } else { wanted };
        return Ok(Target::app(id, wanted));
    }
    let stb = Target::stb();
    let own = format!("/user.slice/user-{}.slice", rustix::process::getuid().as_raw());
    let has_own = !rustix::process::getuid().is_root() && monitor.tree().paths().any(|path| path == own);
    Ok(if monitor.exists(&stb) { stb } else { Target::everything(if has_own { &own } else { "/" }) })
}

/// Says on stderr that nothing matches the target yet, and what is called nearly so.
fn say_waiting(target: &Target, monitor: &Monitor) {
    if monitor.exists(target) {
        return;
    }
    let near: Vec<_> = target.near(monitor.paths()).into_iter().map(printable).collect();
    let near = if near.is_empty() { String::new() } else { format!(" Near names: {}.", near.join(", ")) };
    say(format_args!("nothing matches {} now.{near} Waiting for it.", target.describe()));
}
