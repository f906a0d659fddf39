//! From two samples to bytes per second. Pure: reads no clock and does no I/O.

/// Where the counters of a sample come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The helper's nftables counters: every IP packet, headers included.
    Exact,
    /// The sockets' own books (inet_diag): TCP payload only.
    Estimate,
}

/// Bytes per second between two samples of one source and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Download, bytes per second.
    pub rx: f64,
    /// Upload, bytes per second.
    pub tx: f64,
}

/// Why there is no rate between two looks. The text is for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// Nothing matches the target now.
    #[error("waiting for {0}")]
    Waiting(String),
    /// The counters come from another source than before.
    #[error("the source changed to {0:?}")]
    SourceChanged(Source),
    /// The source had to start counting again.
    #[error("counting started again")]
    CountingRestarted,
    /// No look for far longer than the beat: the machine slept or the program was stopped.
    #[error("no look for {0} s")]
    Slept(u64),
    /// The look failed; the reason.
    #[error("{0}")]
    Failed(String),
}
