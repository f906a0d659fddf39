//! Completion of the command line in a shell: what it offers, and the scripts that make a shell ask. It knows no shell's
//! language; clap_complete does.
//!
//! A shell runs netglance at every press of Tab. So nothing here looks at traffic or asks the bus, and what fails offers nothing
//! and says nothing: whatever was printed would end up in the line that somebody is typing.

use std::{collections::BTreeSet, env, ffi::OsStr, io, process::ExitCode};

use clap::{Command, CommandFactory as _};
use clap_complete::{CompleteEnv, engine::CompletionCandidate, env::Shells};
use netglance_dbus::cgroup::Tree;

use super::{Cli, Error, watch::print_as_it_is};
use crate::{
    base::settings::SettingsFile,
    keep::store::{self, Store},
    look::{apps::Apps, monitor::is_own_cgroup, target::units as units_of},
};

/// What `netglance completions` takes.
pub const SHELLS: [&str; 3] = ["bash", "fish", "zsh"];

/// The environment variable in which a shell's script names the shell; clap's own `COMPLETE` may be another program's.
const VARIABLE: &str = "NETGLANCE_COMPLETE";

/// Answers and exits if it is a shell's script that runs netglance. To be called before anything is printed.
pub fn complete() {
    CompleteEnv::with_factory(offered).var(VARIABLE).complete();
}

/// The command line without what netglance runs itself with: clap_complete offers a hidden command that alone fits.
fn offered() -> Command {
    let whole = Cli::command();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("netglance").args(whole.get_arguments().cloned()).subcommands(commands)
}

/// `netglance completions`.
pub fn completions(shell: &str) -> Result<ExitCode, Error> {
    // A build that is not in PATH is called by its path.
    let called = env::args().next().filter(|called| called.contains('/'));
    let program = called.map(|called| std::path::absolute(called).map(|path| path.to_string_lossy().into_owned()));
    let script = program.transpose().and_then(|program| script(shell, program.as_deref().unwrap_or("netglance")));
    print_as_it_is(script.map_err(Error::io("make the script"))?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The script for a shell, which has `program` run for each completion.
pub fn script(shell: &str, program: &str) -> io::Result<String> {
    let shells = Shells::builtins();
    let completer = shells.completer(shell).ok_or_else(|| io::Error::other(format!("there is no shell {shell}")))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "netglance", "netglance", program, &mut script)?;
    let mut script = String::from_utf8_lossy(&script).trim_start().to_owned();
    if shell == "zsh" {
        // Loaded by name at the first press of Tab, the file is the function itself, and has to answer at once.
        script.push_str("if [[ $funcstack[1] == _netglance ]]; then _clap_dynamic_completer_netglance; fi\n");
    }
    Ok(script)
}

/// Ids of the caller's applications that run now, and of those that were recorded.
pub fn apps(current: &OsStr) -> Vec<CompletionCandidate> {
    let defined = Apps::new(&SettingsFile::open().settings);
    let mut store = store::path().and_then(|path| Store::read(&path).ok()?);
    let define = |store: &mut Store| store.define(&defined);
    store.iter_mut().for_each(define);
    let recorded = store.and_then(|store| store.apps().ok()).unwrap_or_default();
    let running =
        |tree: &Tree, path: &str| defined.id_of(path).filter(|_| is_own_cgroup(tree, path)).into_iter().collect();
    candidates(current, running, recorded.into_iter().map(|(id, _)| id))
}

/// Names of all units that have a cgroup now.
pub fn units(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |_, path| units_of(path).map(|unit| unit.unit.to_owned()).collect(), [])
}

/// Paths of all cgroups.
pub fn cgroups(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |_, path| vec![path.to_owned()], [])
}

/// Times for `--since` and `--until`.
pub fn times() -> Vec<CompletionCandidate> {
    let times = [
        ("today", "Since midnight"),
        ("yesterday", "The day before"),
        ("1h", "An hour ago"),
        ("24h", "24 hours ago"),
        ("7d", "7 days ago"),
        ("30d", "30 days ago"),
        ("1y", "A year ago"),
    ];
    times.map(|(time, help)| CompletionCandidate::new(time).help(Some(help.into()))).into()
}

/// What fits of the names that `names` finds in each cgroup's path, and of others.
fn candidates(
    current: &OsStr,
    names: impl Fn(&Tree, &str) -> Vec<String>,
    others: impl IntoIterator<Item = String>,
) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let tree = Tree::open().ok();
    let here = tree.iter().flat_map(|tree| tree.paths().flat_map(|path| names(tree, &path)));
    // fish and zsh quote what they insert. bash doesn't, and gives what is typed with its quotes.
    let typed: fn(String) -> String =
        if env::var_os("_CLAP_COMPLETE_COMP_TYPE").is_some() { |name| name.replace('\\', r"\\") } else { |name| name };
    let names: BTreeSet<_> = here.chain(others).filter(|name| is_plain(name)).collect();
    names.into_iter().map(typed).filter(|name| name.starts_with(current)).map(CompletionCandidate::new).collect()
}

/// Whether a name needs no quotes but for backslashes: anybody may name a cgroup, and the name would be inserted into a command.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || r"-_.:@/\+,".contains(c))
}
