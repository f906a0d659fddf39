//! The command line: what can be asked, and in which words it is answered.

mod agent;
mod apps;
mod budget;
mod chart;
mod completions;
mod connections;
mod doctor;
mod history;
mod install;
mod metrics;
mod others;
mod recorded;
mod report;
mod run;
mod start;
mod terminal;
mod verify;
mod watch;
mod when;

use std::{process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint, error::ErrorKind};
use clap_complete::engine::ArgValueCompleter;
pub use completions::{complete, script};
use netglance_dbus::{error::chain, text::printable};

#[cfg(feature = "desktop")]
use crate::program;
use crate::{
    base::{say::say, settings::BEAT_SECS},
    look::{monitor::Monitor, sampler::Source, target::Target},
};

/// See how much an application is talking to the outside world right now
///
/// netglance shows the external download and upload of one application, including all of its services and subprocesses.
/// Traffic on loopback, private networks, the local network and the tailnet is left out. Without a command, it opens the
/// window, or shows the same figures in the terminal if there is no display. The package netglance-headless has no window.
#[derive(Debug, Parser)]
#[command(name = "netglance", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Start with the window hidden; click the tray icon to show it
    #[arg(long)]
    hidden: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show an application's external traffic in the terminal
    ///
    /// Without --app, --unit or --cgroup, it shows all of your applications together (StB alone if it is running). If nothing
    /// matches, it waits; with --count, it then exits with status 3.
    Watch(WatchArgs),
    /// Show which addresses an application talks to, and how much it exchanges with each
    ///
    /// External and internal addresses are listed, and each line says which it is. With exact counting, every IP packet is counted.
    /// Without it, TCP payload is estimated; UDP sockets are listed, but not measured.
    ///
    /// Traffic is counted by address only while somebody looks, so totals begin when this command starts, or earlier if the window's
    /// Connections page is open. Without --app, --unit or --cgroup, it shows all of your applications (StB alone if it is running). If
    /// nothing matches, it waits; with --count, it then exits with status 3.
    Connections(connections::ConnectionsArgs),
    /// List the applications that can be watched, busiest first
    ///
    /// Below a login session in which the desktop has started programs, each of them is listed with an estimate: its TCP traffic,
    /// told apart by process.
    Apps {
        /// List the programs of every application that has more than one
        #[arg(long)]
        by_program: bool,
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show how much was used today, this month or in any other period
    ///
    /// netglance records while it is running, and adds what the helper counted at other times. Without --app, --unit or --cgroup,
    /// this is about all of your applications together, and without --since about this month, day by day. If nothing is recorded
    /// of what you ask for, the exit status is 3.
    History(history::HistoryArgs),
    /// Show how much of each budget is used up
    ///
    /// A budget limits the external traffic of an application, or of all applications together, in a day, week or month. Add
    /// budgets in the settings of the window or in the settings file, see netglance-config(5).
    ///
    /// Rate budgets are listed but not checked here; netglance checks them only while it is running. If nothing is recorded yet,
    /// the exit status is 3.
    Budget {
        /// Exit with status 4 if a budget is used up
        #[arg(long)]
        check: bool,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Draw a chart of past traffic as an SVG or PNG file
    ///
    /// The chart looks as in the window: a curve of rates for up to ten days, daily bars for up to 100 days, and monthly bars
    /// beyond that. Without --app, --unit or --cgroup, it is about all of your applications together, and without --since about
    /// this month. If nothing is recorded of what you ask for, the exit status is 3. The package netglance-headless draws SVG only.
    Chart(chart::ChartArgs),
    /// Give the figures to Prometheus
    ///
    /// Prints them once, in the format that Prometheus and node_exporter read. With --listen, it serves them for Prometheus to scrape;
    /// with --textfile, it writes them to a file that the textfile collector of node_exporter reads.
    ///
    /// It is about your own applications; as root, or with --all, about those of every user and about the services of the system.
    Metrics(metrics::MetricsArgs),
    /// Run a command and count its external traffic
    ///
    /// The command runs in a cgroup of its own, so that everything it starts is counted too. Signals are passed on to it.
    ///
    /// When the command has exited, netglance waits up to 30 seconds for the kernel to send what is left in the command's
    /// sockets. Press Ctrl+C to stop waiting. Processes that move to a new cgroup, as flatpak and snap do, are counted too.
    ///
    /// Anything that could not be counted is reported on standard error, and with --json in the field "end" of the last line:
    /// bytes that were not sent, processes that keep running in the background, and cgroups that may belong to the command.
    /// Work that the command hands to a program that was already running, such as an open browser, is not counted.
    Run {
        /// Print one JSON object per line; the command's own output then goes to standard error
        #[arg(long)]
        json: bool,
        /// The command and its arguments
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "CMD",
            value_hint = ValueHint::AnyPath
        )]
        command: Vec<std::ffi::OsString>,
    },
    /// Start a program so that it is counted as an application of its own
    ///
    /// This is for desktops that start all programs in one cgroup, such as XFCE. The program gets a cgroup of its own and is listed
    /// under the name of its desktop entry. Nothing is printed, and no process of netglance remains: the exit status is the
    /// program's. If systemd cannot create the cgroup, the program is started all the same.
    ///
    /// The window can have the applications menu start a program in this way from now on.
    Start {
        /// The name of the program's desktop entry, without .desktop
        #[arg(long, value_name = "ID")]
        app: String,
        /// The command and its arguments
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "CMD",
            value_hint = ValueHint::AnyPath
        )]
        command: Vec<std::ffi::OsString>,
    },
    /// Prove that netglance counts correctly on this computer
    ///
    /// Creates temporary networks and a test application, sends known numbers of bytes through them, and compares these with
    /// what the helper's rules count. It takes a second or two, needs an administrator's password, and sends nothing outside
    /// this computer.
    Verify {
        /// List the application's open sockets instead, and why each is internal or external; needs no password
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        target: TargetArgs,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Check this computer and list the steps to exact counting
    ///
    /// Reports what netglance finds here, which way of counting suits this computer, and what to do next.
    ///
    /// Without an app's name, it is about StB where that is installed or running, otherwise about all your applications. The
    /// exit status is 1 if something does not work.
    Doctor(doctor::DoctorArgs),
    /// Start exact counting, now and after every boot
    ///
    /// Needs an administrator's password once, in a dialog or in this terminal.
    Install {
        /// Count even though this kernel has a bug that costs memory while netglance counts
        #[arg(long)]
        accept_kernel_bug: bool,
    },
    /// Stop exact counting and delete all counters
    ///
    /// Needs an administrator's password.
    Uninstall,
    /// Print the completion script for a shell
    ///
    /// The packages install these scripts. Without a package, add this to ~/.bashrc: source <(netglance completions bash)
    Completions {
        /// The shell
        #[arg(value_parser = completions::SHELLS)]
        shell: String,
    },
    /// Stop until continued, then become the command: the second half of `run`
    #[command(name = run::BECOME, hide = true)]
    Become {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// The window's process, which the program starts for each show
    #[cfg(feature = "desktop")]
    #[command(name = program::link::COMMAND, hide = true)]
    Window,
}

#[derive(Debug, Default, Args)]
struct TargetArgs {
    /// The application's name or id, as listed by `netglance apps`
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["unit", "cgroup"],
        add = ArgValueCompleter::new(completions::apps)
    )]
    app: Option<String>,
    /// Names of systemd units, including everything below them; may contain the wildcards * ? […]
    #[arg(long, value_name = "PATTERN", num_args = 1.., add = ArgValueCompleter::new(completions::units))]
    unit: Vec<String>,
    /// Paths of cgroups as in /proc/PID/cgroup, including everything below them
    #[arg(long, value_name = "PATH", num_args = 1.., add = ArgValueCompleter::new(completions::cgroups))]
    cgroup: Vec<String>,
}

#[derive(Debug, Default, Args)]
struct WatchArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Update interval in seconds, from 0.1 to 5 [default: the setting `beat`, or 0.5]
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    interval: Option<Duration>,
    /// Exit after N updates
    #[arg(long, short = 'n', value_name = "N", value_parser = count)]
    count: Option<u64>,
    /// Use this source only, instead of the best one available
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// Print one JSON object per line
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

fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "not a whole number from 1 on".to_owned())
}

/// Exit status where nothing matches what was asked for, so that a script can tell that from "nothing moved".
const NOTHING_MATCHES: u8 = 3;
/// Exit status where a budget is used up.
const USED_UP: u8 = 4;

/// Why a command ended early. The text is for the person who gave it.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Monitor(#[from] crate::look::monitor::Error),
    #[error(transparent)]
    Store(#[from] crate::keep::store::Error),
    #[error(transparent)]
    Png(#[from] crate::show::chart::PngError),
    #[error("cannot write {}", path.display())]
    Write { path: std::path::PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
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

impl Cli {
    /// Carries out the command.
    pub fn execute(self) -> ExitCode {
        let result = match self.command {
            #[cfg(feature = "desktop")]
            None if has_display() => return program::run(self.hidden),
            None if self.hidden => {
                say(format_args!("{NO_WINDOW}, so there is no tray icon."));
                return ExitCode::FAILURE;
            }
            None => {
                say(format_args!("{NO_WINDOW}, so the figures are shown here, as with `netglance watch`."));
                block_on(watch::watch(&WatchArgs::default()))
            }
            Some(Command::Watch(args)) => block_on(watch::watch(&args)),
            Some(Command::Connections(args)) => block_on(connections::connections(&args)),
            Some(Command::History(args)) => history::history(&args),
            Some(Command::Chart(args)) => chart::chart(&args),
            Some(Command::Apps { by_program, json }) => block_on(apps::apps(by_program, json)),
            Some(Command::Budget { check, json }) => budget::budget(check, json),
            Some(Command::Metrics(args)) => block_on(metrics::metrics(&args)),
            Some(Command::Run { json, command }) => block_on(run::run(json, &command)),
            Some(Command::Start { app, command }) => return start::start(&app, &command),
            #[cfg(feature = "desktop")]
            Some(Command::Window) => return program::link::show_window(),
            Some(Command::Verify { live: true, target, json }) => block_on(verify::live(&target, json)),
            Some(Command::Verify { live: false, target, json }) if target.is_empty() => verify::verify(json),
            Some(Command::Verify { .. }) => Cli::command()
                .error(
                    ErrorKind::MissingRequiredArgument,
                    "--app, --unit and --cgroup need --live: without it, netglance tests an application of its own",
                )
                .exit(),
            Some(Command::Doctor(args)) => block_on(doctor::doctor(&args)),
            Some(Command::Install { accept_kernel_bug }) => block_on(install::install(accept_kernel_bug)),
            Some(Command::Uninstall) => block_on(install::uninstall()),
            Some(Command::Completions { shell }) => completions::completions(&shell),
            Some(Command::Become { command }) => return run::become_command(&command),
        };
        result.unwrap_or_else(|error| {
            say(chain(&error));
            ExitCode::FAILURE
        })
    }
}

/// Why there is neither a window nor a tray icon.
#[cfg(feature = "desktop")]
const NO_WINDOW: &str = "there is no display (neither WAYLAND_DISPLAY nor DISPLAY is set)";
#[cfg(not(feature = "desktop"))]
const NO_WINDOW: &str = "this build of netglance has no window (the package netglance has one)";

#[cfg(feature = "desktop")]
fn has_display() -> bool {
    ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start the event loop"))?.block_on(future)
}

/// The target that the arguments name; without any, the built-in app where it runs and all that is the
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
            return Ok(monitor.defined().target(&app.id, &app.name));
        }
        let own = monitor.defined().own().iter().find(|own| own.app.name.eq_ignore_ascii_case(wanted));
        return Ok(own.map_or_else(|| Target::app(wanted, wanted), |own| own.target.clone()));
    }
    let own = format!("/user.slice/user-{}.slice", rustix::process::getuid().as_raw());
    let has_own = !rustix::process::getuid().is_root() && monitor.tree().paths().any(|path| path == own);
    let preset = monitor.defined().preset(|target| monitor.exists(target));
    Ok(match preset {
        Some(own) => own.target.clone(),
        None => Target::everything(if has_own { &own } else { "/" }),
    })
}

/// Whether anything matches the target now. If not, it says so on standard error, with similar names, and `then`.
fn exists(target: &Target, monitor: &Monitor, then: &str) -> bool {
    let exists = monitor.exists(target);
    if !exists {
        let near: Vec<_> = target.near(monitor.paths()).into_iter().map(printable).collect();
        let (near, hint) = match near.as_slice() {
            [] => (String::new(), " `netglance apps` lists what can be watched."),
            near => (format!(" Similar names: {}.", near.join(", ")), ""),
        };
        say(format_args!("nothing matches {} now.{near}{then}{hint}", target.describe()));
    }
    exists
}
