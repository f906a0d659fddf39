//! `netglance install` and `netglance uninstall`: asks the helper, as the window's button does. It puts no file anywhere.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use netglance_dbus::helper1::{self, Helper1Proxy};

use super::{Error, agent::Agent, watch::print};
use crate::{
    base::format,
    look::sampler::helper::{Exact, helper, is_unknown, sentence},
};

/// Starts exact counting. Where it needs a word first because of a bug of this kernel, `accept` is that word; else whoever sits
/// at the terminal is asked for it.
pub async fn install(accept: bool) -> Result<ExitCode, Error> {
    let helper = reach().await?;
    let mut installed = {
        let _agent = Agent::start();
        helper.install().await
    };
    if let Err(helper1::Error::NeedsConfirmation(why)) = &installed
        && (accept || is_agreed(why)?)
    {
        let _agent = Agent::start();
        installed = helper.install_anyway().await;
    }
    installed.map_err(|error| match error {
        helper1::Error::NeedsConfirmation(why) if !io::stdin().is_terminal() => {
            Error::Helper(format!("{why}. Without a terminal, run: netglance install --accept-kernel-bug"))
        }
        error => in_words(error),
    })?;
    print("Exact counting is on, now and after every boot.")?;
    Ok(ExitCode::SUCCESS)
}

/// Stops exact counting.
pub async fn uninstall() -> Result<ExitCode, Error> {
    let helper = reach().await?;
    let agent = Agent::start();
    let uninstalled = helper.uninstall().await;
    drop(agent);
    uninstalled.map_err(in_words)?;
    print("Exact counting is off.")?;
    Ok(ExitCode::SUCCESS)
}

async fn reach() -> Result<Helper1Proxy<'static>, Error> {
    let unreachable = |error: zbus::Error| Error::Helper(format!("cannot reach the system bus: {error}"));
    let bus = zbus::Connection::system().await.map_err(unreachable)?;
    helper(&bus).await.map_err(unreachable)
}

/// Asks at the terminal; without one the answer is no.
fn is_agreed(why: &str) -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let ask = || {
        let mut stderr = io::stderr();
        write!(stderr, "{}\nCount anyway? [y/N] ", format::sentence(why))?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    };
    ask().map_err(Error::io("ask in this terminal"))
}

fn in_words(error: helper1::Error) -> Error {
    match &error {
        helper1::Error::Bus(bus) if is_unknown(bus) => {
            Error::Helper(format!("{}: netglance doctor says how to get it", Exact::Absent))
        }
        _ => Error::Helper(sentence(&error)),
    }
}
