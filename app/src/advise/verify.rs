//! Starts the root program behind `netglance verify` and reads its report. It proves nothing itself.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use netglance_dbus::place::VERIFY;
pub use netglance_dbus::verify::{Case, Figures, Outcome, Payload, Report, Stray};

use crate::base::format::grouped;

/// pkexec's own exit statuses: the dialog was closed, or the authorisation was refused or failed.
const NOT_AUTHORIZED: [i32; 2] = [126, 127];

/// Why there is no report. The text is for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No program.
    #[error(
        "the program for it is neither installed ({VERIFY}) nor beside netglance. Install netglance's package, or build it in \
         the source tree: cargo build --package netglance-helper"
    )]
    Absent,
    /// Nobody who could ask for a password.
    #[error(
        "it needs root for a few seconds, but pkexec, which asks for the password, is not installed. \
         Install it as root (Debian: apt-get install pkexec), or run: sudo netglance verify"
    )]
    NoPkexec,
    /// pkexec said no.
    #[error("it was not authorised, so nothing was tested{}. If you only have a terminal, run: sudo netglance verify", said(.0))]
    NotAuthorized(String),
    /// It ran and could not finish.
    #[error("it could not run: {0}")]
    Failed(String),
    /// It does not start.
    #[error("cannot start {}", program.display())]
    Start {
        /// What was started.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// Runs the proof, which takes a few seconds. Asks for an administrator's password through polkit, unless root runs it.
pub fn run() -> Result<Report, Error> {
    let program = program().ok_or(Error::Absent)?;
    let root = rustix::process::geteuid().is_root();
    let mut command = if root { Command::new(&program) } else { Command::new("pkexec") };
    if !root {
        // pkexec's own agent would ask in the terminal that netglance was started from, even for a button in the window.
        command.arg("--disable-internal-agent").arg(&program);
    }
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = match output {
        Err(error) if !root && error.kind() == io::ErrorKind::NotFound => return Err(Error::NoPkexec),
        other => other.map_err(|source| Error::Start { program, source })?,
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    report(root, output.status, &output.stdout, stderr.trim())
}

/// The one that was built with this program, else the installed one.
fn program() -> Option<PathBuf> {
    let beside = env::current_exe().ok().map(|own| own.with_file_name("netglance-verify"));
    beside.into_iter().chain([PathBuf::from(VERIFY)]).find(|path| Path::exists(path))
}

fn report(root: bool, status: ExitStatus, stdout: &[u8], stderr: &str) -> Result<Report, Error> {
    if let Ok(report) = serde_json::from_slice(stdout) {
        return Ok(report);
    }
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    match status.code() {
        Some(code) if !root && NOT_AUTHORIZED.contains(&code) => Err(Error::NotAuthorized(last.to_owned())),
        _ if last.is_empty() => Err(Error::Failed(format!("it ended early ({status})"))),
        _ => Err(Error::Failed(last.trim_start_matches("netglance-verify: ").to_owned())),
    }
}

/// What was booked, on which side: "external 60,000 / 15,000", "nothing".
pub fn with_scope(figures: &Figures) -> String {
    let external = [figures.rx_bytes, figures.tx_bytes];
    let internal = [figures.internal_rx_bytes, figures.internal_tx_bytes];
    match (external, internal) {
        ([0, 0], [0, 0]) => "nothing".to_owned(),
        (external, [0, 0]) => format!("external {}", pair(external)),
        ([0, 0], internal) => format!("internal {}", pair(internal)),
        (external, internal) => format!("external {}, internal {}", pair(external), pair(internal)),
    }
}

/// Bytes down and up: "60,000 / 15,000".
pub fn pair([rx, tx]: [u64; 2]) -> String {
    format!("{} / {}", grouped(rx), grouped(tx))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn what_goes_wrong_says_what_to_do() {
        let check = |root, code: i32, stdout: &str, stderr: &str, expected: &str| {
            let error = report(root, ExitStatus::from_raw(code << 8), stdout.as_bytes(), stderr).unwrap_err();
            assert!(error.to_string().contains(expected), "no {expected:?} in: {error}");
        };
        let dismissed = "Error executing command as another user: Request dismissed";
        check(false, 126, "", dismissed, "not authorised, so nothing was tested (Error executing command");
        check(false, 127, "", "", "nothing was tested. If you only have a terminal, run: sudo netglance verify");
        check(true, 2, "", "x\nnetglance-verify: no cgroup v2\n", "could not run: no cgroup v2");
        check(true, 1, "{}", "", "it ended early (exit status: 1)");
    }

    #[test]
    fn a_report_is_read_whatever_the_exit_status() {
        let text = r#"{"version":"0.1.0","kernel":"6.1","elapsed_s":0.5,"passed":false,"cases":[{"case":"a","actor":"b","sent":null,
            "expected":null,"counted":null,"strays":[],"verdict":"skipped","meaning":"c"}]}"#;
        let read = report(false, ExitStatus::from_raw(1 << 8), text.as_bytes(), "").unwrap();
        assert_eq!((read.passed, read.cases[0].verdict), (false, Outcome::Skipped));
    }
}
