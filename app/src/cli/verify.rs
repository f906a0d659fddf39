//! `netglance verify` and `netglance verify --live`.

use std::{io, process::ExitCode};

use netglance_dbus::text::printable;
use serde::Serialize;

use super::{
    Error, NOTHING_MATCHES, TargetArgs,
    agent::Agent,
    exists, target,
    watch::{print, print_json},
};
use crate::{
    advise::verify::{self, Case, Outcome, Report, pair, with_scope},
    look::{
        live::{Side, SocketVerdict},
        monitor::Monitor,
        sampler::Protocol,
    },
};

/// The proof: a table, or JSON. Exit status 1 where a case failed.
pub fn verify(json: bool) -> Result<ExitCode, Error> {
    let agent = Agent::start();
    let report = verify::run()?;
    drop(agent);
    if json {
        print_json(&to_json(&report)?)?;
    } else {
        print(&table(&report))?;
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The open sockets and what decided about each. Exit status 1 where the running counters decide otherwise, 3 where nothing
/// matches.
pub async fn live(args: &TargetArgs, json: bool) -> Result<ExitCode, Error> {
    let mut monitor = Monitor::open(None).await?;
    let target = target(args, &mut monitor)?;
    let exists = exists(&target, &monitor, "");
    let sockets = monitor.sockets(&target).await?;
    if json {
        print_json(&to_json(&sockets)?)?;
    } else {
        print(&list(&target.name, &sockets))?;
    }
    Ok(match sockets.iter().all(SocketVerdict::agrees) {
        true if exists => ExitCode::SUCCESS,
        true => ExitCode::from(NOTHING_MATCHES),
        false => ExitCode::FAILURE,
    })
}

fn to_json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(io::Error::from).map_err(Error::io("write JSON"))
}

/// The report in the order in which it was made, with a heading for whoever moved the bytes.
fn table(report: &Report) -> String {
    let mut lines = vec![
        format!("{:<7}{:<45}{:>17}{:>27}{:>18}", "", "bytes down / up", "sent", "expected", "counted"),
        format!("{:<7}{:<45}{:>17}{:>27}{:>18}", "", "", "(payload)", "(with headers)", "(with headers)"),
    ];
    let mut actor = "";
    for case in &report.cases {
        if case.actor != actor {
            actor = &case.actor;
            lines.extend([String::new(), actor.to_owned()]);
        }
        lines.push(row(case));
        lines.extend(case.meaning.iter().flat_map(|meaning| wrapped(meaning)));
    }
    let of = |outcome| report.cases.iter().filter(|case| case.verdict == outcome).count();
    let (passed, failed, skipped) = (of(Outcome::Pass), of(Outcome::Fail), of(Outcome::Skipped));
    lines.push(String::new());
    lines.push(match failed {
        0 => format!(
            "All {passed} cases passed, {skipped} skipped: internal traffic is left out, and external traffic is counted to the byte."
        ),
        _ => format!("{failed} of {} cases FAILED, {skipped} skipped: the sentences above explain what that means.", passed + failed),
    });
    let Report { version, kernel, elapsed_s, .. } = report;
    lines.push(format!("netglance {version}, Linux {kernel}, {elapsed_s:.1} s; no packet left this computer."));
    lines.join("\n")
}

fn row(case: &Case) -> String {
    let verdict = match case.verdict {
        Outcome::Pass => "pass",
        Outcome::Fail => "FAIL",
        Outcome::Skipped => "skip",
    };
    let sent = case.sent.map(|sent| pair([sent.rx_bytes, sent.tx_bytes])).unwrap_or_default();
    let expected = case.expected.map(|figures| with_scope(&figures)).unwrap_or_default();
    // Where the scope is the expected one, the word stands once.
    let counted = case.counted.map(|figures| with_scope(&figures)).unwrap_or_default();
    let scope = expected.split_once(' ').map(|(scope, _)| format!("{scope} "));
    let counted = scope.and_then(|scope| counted.strip_prefix(&scope)).unwrap_or(&counted);
    let row = format!("  {verdict:<5}{:<45}{sent:>17}{expected:>27}  {counted:>16}", case.case);
    row.trim_end().to_owned()
}

/// A sentence below its row.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 108;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + word.chars().count() < WIDTH) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("       {word}")),
        }
    }
    lines
}

fn list(app: &str, sockets: &[SocketVerdict]) -> String {
    let mut lines = Vec::new();
    let mut unit = "";
    for socket in sockets {
        if socket.unit != unit {
            unit = &socket.unit;
            lines.push(printable(unit).into_owned());
        }
        let scope = match socket.scope {
            Some(Side::External) => "external",
            Some(Side::Internal) => "internal",
            None => "varies",
        };
        let protocol = if socket.protocol == Protocol::Tcp { "TCP" } else { "UDP" };
        let remote = match (socket.remote, socket.port) {
            (Some(remote), Some(port)) => std::net::SocketAddr::new(remote, port).to_string(),
            _ => "-".to_owned(),
        };
        let prefix = socket.prefix.as_deref().map(|prefix| format!("{prefix}: ")).unwrap_or_default();
        let proxy = socket.proxy.as_deref().map(|name| format!(" ({})", printable(name))).unwrap_or_default();
        lines.push(format!("  {scope:<9}{protocol}  {remote:<48}{prefix}{}{proxy}", socket.reason));
        if !socket.agrees() {
            lines.push(
                "           The helper counts it the other way: it doesn't use the prefixes in your settings."
                    .to_owned(),
            );
        }
    }
    let of = |side| sockets.iter().filter(|socket| socket.scope == Some(side)).count();
    let (external, internal) = (of(Side::External), of(Side::Internal));
    let varies = sockets.len() - external - internal;
    lines.push(format!("{}: {external} external, {internal} internal, {varies} not connected.", printable(app)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_row_says_what_it_means() {
        let figures =
            verify::Figures { internal_rx_bytes: 61_400, internal_tx_bytes: 16_400, ..verify::Figures::default() };
        let wrong = verify::Figures { rx_bytes: 1_061_400, tx_bytes: 16_400, ..verify::Figures::default() };
        let case = |counted, verdict, meaning: Option<&str>| Case {
            case: "Private IPv4 (10.0.0.0/8)".to_owned(),
            actor: "the app".to_owned(),
            sent: Some(verify::Payload { rx_bytes: 60_000, tx_bytes: 15_000 }),
            expected: Some(figures),
            counted: Some(counted),
            strays: Vec::new(),
            verdict,
            meaning: meaning.map(str::to_owned),
        };
        let report = Report {
            version: "0.1.0".to_owned(),
            kernel: "6.1.0".to_owned(),
            elapsed_s: 0.31,
            passed: false,
            cases: vec![case(figures, Outcome::Pass, None), case(wrong, Outcome::Fail, Some("It is too high."))],
        };
        let text = table(&report);
        for line in [
            "the app",
            "  pass Private IPv4 (10.0.0.0/8)                      60,000 / 15,000   internal 61,400 / 16,400   61,400 / 16,400",
            "  FAIL Private IPv4 (10.0.0.0/8)                      60,000 / 15,000   internal 61,400 / 16,400  external 1,061,400 / 16,400",
            "       It is too high.",
            "1 of 2 cases FAILED, 0 skipped: the sentences above explain what that means.",
            "netglance 0.1.0, Linux 6.1.0, 0.3 s; no packet left this computer.",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in:\n{text}");
        }
        assert_eq!(wrapped(&"word ".repeat(40)).len(), 2);
    }
}
