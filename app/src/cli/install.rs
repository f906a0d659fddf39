//! `netglance install` and `netglance uninstall`: asks the helper, as the window's button does. It puts no file anywhere.

use std::{
    io::{self, IsTerminal as _, Read as _},
    process::{Child, Command, ExitCode, Stdio},
};

use netglance_dbus::helper1;

use super::{Error, watch::print};
use crate::sampler::helper::{Exact, helper, is_unknown, sentence};

/// Starts or stops exact counting.
pub async fn install(start: bool) -> Result<ExitCode, Error> {
    let unreachable = |error: zbus::Error| Error::Helper(format!("cannot reach the system bus: {error}"));
    let bus = zbus::Connection::system().await.map_err(unreachable)?;
    let helper = helper(&bus).await.map_err(unreachable)?;
    let mut agent = agent();
    let asked = if start { helper.install().await } else { helper.uninstall().await };
    if let Some(agent) = &mut agent {
        // It puts the terminal back as it was when it is told to end.
        _ = rustix::process::kill_process(rustix::process::Pid::from_child(agent), rustix::process::Signal::TERM);
        _ = agent.wait();
    }
    asked.map_err(|error| match &error {
        helper1::Error::Bus(bus) if is_unknown(bus) => {
            Error::Helper(format!("{}: netglance doctor says how to get it", Exact::Absent))
        }
        _ => Error::Helper(sentence(&error)),
    })?;
    print(if start { "netglance counts exactly, now and after every boot." } else { "netglance counts no more." })?;
    Ok(ExitCode::SUCCESS)
}

/// polkit's own agent for a terminal, which asks only where no other one would (pkttyagent(1)); `None` where there is no
/// terminal, no need, or no such program: then polkit says no by itself.
fn agent() -> Option<Child> {
    if !io::stdin().is_terminal() || rustix::process::getuid().is_root() {
        return None;
    }
    let mut command = Command::new("pkttyagent");
    // Without --process it answers for its parent, this process.
    let mut agent = command.args(["--fallback", "--notify-fd=1"]).stdout(Stdio::piped()).spawn().ok()?;
    // It closes its end when it has registered.
    agent.stdout.take()?.read_to_end(&mut Vec::new()).ok()?;
    Some(agent)
}
