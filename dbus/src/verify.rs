//! What `netglance verify` found: the report that the root program prints as JSON and the app shows. Pure.

use serde::{Deserialize, Serialize};

/// Bytes by direction and scope: of IP packets with their headers, as the table counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Figures {
    /// Received from external addresses.
    pub rx_bytes: u64,
    /// Sent to external addresses.
    pub tx_bytes: u64,
    /// Received from internal addresses.
    pub internal_rx_bytes: u64,
    /// Sent to internal addresses.
    pub internal_tx_bytes: u64,
}

/// What the programs of a case moved: payload alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Payload {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// What was counted is what was expected, and nothing was booked elsewhere.
    Pass,
    /// It isn't.
    Fail,
    /// It could not be tried here.
    Skipped,
}

/// Bytes that were booked where they do not belong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stray {
    /// The cgroup's path.
    pub cgroup: String,
    /// What it got.
    pub counted: Figures,
}

/// One row of the report.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Case {
    /// What was tried, in a few words.
    pub case: String,
    /// Who did it: the app, its child process, another app.
    pub actor: String,
    /// The payload that was moved; `None` if the case moves none.
    pub sent: Option<Payload>,
    /// What should be booked.
    pub expected: Option<Figures>,
    /// What the table booked.
    pub counted: Option<Figures>,
    /// What it booked to others at the same time.
    pub strays: Vec<Stray>,
    /// How it ended.
    pub verdict: Outcome,
    /// What a failure means for a person and what to look at, or why the case was skipped.
    pub meaning: Option<String>,
}

impl Case {
    /// A case that moved no bytes to be compared.
    pub fn without_figures(case: &str, actor: &str, verdict: Outcome, meaning: Option<String>) -> Self {
        Self {
            case: case.to_owned(),
            actor: actor.to_owned(),
            sent: None,
            expected: None,
            counted: None,
            strays: Vec::new(),
            verdict,
            meaning,
        }
    }
}

/// All that was tried.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Report {
    /// netglance's version.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// How long it took.
    pub elapsed_s: f64,
    /// No case failed.
    pub passed: bool,
    /// In the order in which they were tried.
    pub cases: Vec<Case>,
}
