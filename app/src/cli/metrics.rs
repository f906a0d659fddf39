//! `netglance metrics`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, ValueHint};

use super::Error;

/// Its arguments.
#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    /// Serve the figures over HTTP at this IP address and port, until interrupted
    ///
    /// Everybody who can reach it can read them: choose 127.0.0.1 for this computer alone.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Write the figures to a file for node_exporter's textfile collector; its name must end in .prom
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "listen")]
    textfile: Option<PathBuf>,
    /// Write the file again after so many seconds, from 1 to 3600, until interrupted
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "textfile")]
    interval: Option<Duration>,
    /// Include every user and the services of the system; needs authorization unless you are root
    #[arg(long)]
    all: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs: u64 = text.parse().map_err(|_| "not a whole number of seconds".to_owned())?;
    if (1..=3600).contains(&secs) {
        Ok(Duration::from_secs(secs))
    } else {
        Err("not between 1 and 3600 seconds".to_owned())
    }
}

/// Prints, writes or serves the figures.
pub(super) async fn metrics(_args: &MetricsArgs) -> Result<ExitCode, Error> {
    Ok(ExitCode::SUCCESS)
}
