//! Asks, before a command watches what is not the caller's own, whether its figures may be exact.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::Signal;

use super::{WatchArgs, agent::Agent};
use crate::{
    base::{format, say::say},
    look::{
        monitor::Monitor,
        sampler::{
            Exact, Source,
            grants::{Grant, Permission},
        },
        services,
    },
};

/// Whoever sits at a terminal and has named what is not their own is asked for a password once, in the desktop's dialog or here. For
/// a script only polkit's rules decide. A no, and its reason, is said once; the estimate goes on. `false`: it was interrupted.
pub async fn ask(args: &WatchArgs, monitor: &mut Monitor, interrupt: &mut Signal) -> bool {
    let is_needed =
        args.source != Some(Source::Estimate) && *monitor.exact() == Exact::Counting && monitor.watches_others();
    if !is_needed || monitor.grants().system_services == Permission::Granted {
        return true;
    }
    are_allowed(monitor).await;
    let answered = ask_a_person(args, monitor, interrupt).await;
    // The figures begin now, however long the question has taken.
    monitor.look(monitor.settings().settings.beat).await;
    answered
}

/// Whether polkit's rules alone allow exact figures of what is not the caller's own. Nobody is asked for a password.
pub async fn are_allowed(monitor: &mut Monitor) -> bool {
    let is_known = *monitor.exact() != Exact::Counting || monitor.grants().system_services == Permission::Granted;
    if !is_known {
        monitor.ask(Grant::SystemServices, false);
        monitor.settle_question().await;
    }
    *monitor.exact() == Exact::Counting && monitor.grants().system_services == Permission::Granted
}

async fn ask_a_person(args: &WatchArgs, monitor: &mut Monitor, interrupt: &mut Signal) -> bool {
    let target = &args.target;
    let is_service = target.app.as_deref().is_some_and(|app| services::unit_of_id(app).is_some());
    let is_named = is_service || !target.unit.is_empty() || !target.cgroup.is_empty();
    let may_ask = is_named && io::stdin().is_terminal() && io::stderr().is_terminal();
    if monitor.grants().system_services == Permission::Granted || !may_ask {
        return true;
    }
    say("this is a system service or another user's, so an administrator's password is needed for exact figures. \
         Without it, they are an estimate.");
    let agent = Agent::start();
    monitor.ask(Grant::SystemServices, true);
    let answered = tokio::select! {
        () = monitor.settle_question() => true,
        _ = interrupt.recv() => false,
    };
    drop(agent);
    if let Permission::Refused(why) = monitor.grants().system_services {
        say(format_args!("{} The figures are an estimate.", format::sentence(&why)));
    }
    answered
}
