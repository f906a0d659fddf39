//! `netglance install` and `netglance uninstall`: asks the helper, as the window's button does. It puts no file anywhere.

use std::process::ExitCode;

use netglance_dbus::helper1;

use super::{Error, agent::Agent, watch::print};
use crate::look::sampler::helper::{Exact, helper, is_unknown, sentence};

/// Starts or stops exact counting.
pub async fn install(start: bool) -> Result<ExitCode, Error> {
    let unreachable = |error: zbus::Error| Error::Helper(format!("cannot reach the system bus: {error}"));
    let bus = zbus::Connection::system().await.map_err(unreachable)?;
    let helper = helper(&bus).await.map_err(unreachable)?;
    let agent = Agent::start();
    let asked = if start { helper.install().await } else { helper.uninstall().await };
    drop(agent);
    asked.map_err(|error| match &error {
        helper1::Error::Bus(bus) if is_unknown(bus) => {
            Error::Helper(format!("{}: netglance doctor says how to get it", Exact::Absent))
        }
        _ => Error::Helper(sentence(&error)),
    })?;
    print(if start { "netglance counts exactly, now and after every boot." } else { "netglance counts no more." })?;
    Ok(ExitCode::SUCCESS)
}
