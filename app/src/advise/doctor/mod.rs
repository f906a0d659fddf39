//! How netglance works on this host: findings, the best method, what neither method counts here, and what to do.
//!
//! [`gather()`] looks at the host as an ordinary user, without starting anything. All else is pure: [`diagnose`] judges the
//! [`Facts`], [`report`] puts the result into words on a page. Nothing here changes the host.
//!
//! Only root can ask nf_tables, and the ruleset is the helper's. So if the helper counts already, its word shows what the kernel
//! can do. Otherwise the kernel's version, configuration and modules are judged; the finding says which of the two it was.
//! (A dry run in a user namespace would need the ruleset twice, and Debian lets an administrator forbid those namespaces.)

mod advice;
mod caveats;
mod containers;
pub mod facts;
mod findings;
pub mod gather;
mod kernel;
mod neighbours;
pub mod report;

use serde::Serialize;

pub use self::{facts::Facts, gather::gather};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Ok,
    /// Good to know. Nothing needs to be done.
    Note,
    /// Something is missing, or could be better.
    Warning,
    /// netglance, or a part that is set up, doesn't work here.
    Problem,
    /// It is not known.
    Unknown,
}

/// One thing about this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about. It never changes.
    pub id: &'static str,
    /// How much it matters.
    pub status: Status,
    /// The finding in a few words.
    pub title: String,
    /// What it means for counting here.
    pub detail: String,
}

impl Finding {
    fn new(id: &'static str, status: Status, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { id, status, title: title.into(), detail: detail.into() }
    }
}

/// A way of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Design {
    /// The helper's counters: every packet.
    Exact,
    /// What the kernel reports for each socket: TCP payload.
    Estimate,
}

/// Something of the app's traffic that neither method counts here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlindSpot {
    /// What it is. It never changes.
    pub id: &'static str,
    /// What is not seen, and why.
    pub text: String,
}

/// Who carries out a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Anybody, without root's password.
    User,
    /// Root; the command asks for the password itself.
    Root,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// By whom.
    pub who: Who,
    /// To be typed in a terminal exactly like this. `None`: `text` says it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What it does, or what to do.
    pub text: String,
    /// How to undo it: a command, or a few words.
    pub undo: String,
}

/// All that `netglance doctor` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which to read them.
    pub findings: Vec<Finding>,
    /// Which way of counting fits this host; `None`: none works.
    pub design: Option<Design>,
    /// Why that one.
    pub why: String,
    /// What neither method counts here.
    pub blind_spots: Vec<BlindSpot>,
    /// In the order in which to take them.
    pub steps: Vec<Step>,
}

/// Judges a host.
pub fn diagnose(facts: &Facts) -> Report {
    let (design, why) = advice::design(facts);
    Report {
        findings: findings::findings(facts),
        design,
        why,
        blind_spots: advice::blind_spots(facts),
        steps: advice::steps(facts, design),
    }
}

impl Report {
    /// Whether something doesn't work.
    pub fn has_problem(&self) -> bool {
        self.findings.iter().any(|finding| finding.status == Status::Problem)
    }
}

/// "1 unit", "2 units", "3 processes".
fn many(count: usize, noun: &str) -> String {
    let ending = match (count, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{count} {noun}{ending}")
}
