//! The program behind `netglance verify`: root for a few seconds, one JSON document on stdout. Exit status 0: all passed;
//! 1: a case failed; 2: it could not be tried.

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use netglance_dbus::error::chain;
use netglance_helper::{
    log,
    verify::{self, Stop, traffic},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

const COULD_NOT: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => {}
        [word] if word == traffic::WORD => {
            return traffic::serve().map_or_else(|error| could_not(&error), |()| ExitCode::SUCCESS);
        }
        _ => {
            log("usage: netglance-verify\nIt takes no argument; `netglance verify` shows its report as a table.");
            return ExitCode::from(COULD_NOT);
        }
    }
    match verify() {
        Ok(report) => {
            let text = serde_json::to_string(&report).map_err(io::Error::from);
            match text.and_then(|text| writeln!(io::stdout(), "{text}")) {
                Ok(()) if report.passed => ExitCode::SUCCESS,
                Ok(()) => ExitCode::FAILURE,
                Err(error) => could_not(&error),
            }
        }
        Err(error) => could_not(&error),
    }
}

fn could_not(error: &dyn std::error::Error) -> ExitCode {
    log(format_args!("netglance-verify: {}", chain(error)));
    ExitCode::from(COULD_NOT)
}

/// A signal ends it at its next step, and all is cleaned up.
#[tokio::main(flavor = "current_thread")]
async fn verify() -> Result<netglance_dbus::verify::Report, verify::Error> {
    let failed = |source| verify::Error::Io { doing: "listen for signals", source };
    let listen = |kind| signal(kind).map_err(failed);
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut interrupt, mut terminate, mut hangup]: [Signal; 3] =
        [listen(kinds[0])?, listen(kinds[1])?, listen(kinds[2])?];
    let stop = Stop::default();
    let stopped = stop.clone();
    let mut tried = tokio::task::spawn_blocking(move || verify::run(Path::new("/proc/self/exe"), &stopped));
    loop {
        tokio::select! {
            done = &mut tried => {
                return done.unwrap_or_else(|error| Err(verify::Error::Io { doing: "finish", source: error.into() }));
            }
            _ = interrupt.recv() => stop.now(),
            _ = terminate.recv() => stop.now(),
            _ = hangup.recv() => stop.now(),
        }
    }
}
