//! Faults that tests put into the table, to see that verify finds each of them. The program never makes one.

use ipnet::IpNet;
use netglance_dbus::verify::{Figures, Payload};

use super::cases::Case;
use crate::nft::message::{Batch, Request};

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The internal addresses lack this prefix.
    NoPrefix(IpNet),
    /// A rule of the chain of this name is missing.
    NoRule(&'static str, Rule),
    /// No chain has a rule for this level.
    NoLevel(u8),
    /// Nothing that is forwarded comes to the chain of this name.
    NotForwarded(&'static str),
    /// Received and sent are taken for each other.
    Swapped,
    /// A tunnel's outer packets are booked like any other.
    TunnelTwice,
    /// The table doesn't know that anything is redirected.
    NotRedirected,
    /// The figures are those of an estimate: TCP payload, and nothing of UDP.
    Estimate,
    /// The kernel keeps a closed socket.
    Leak,
    /// No rule counts by remote.
    NoRemotes,
    /// The rules that count by remote stay.
    RemotesStay,
}

impl Fault {
    /// Whether the table is right for what is counted by remote, without which that can't be.
    pub(super) fn has_cases_by_remote(self) -> bool {
        matches!(self, Self::NoRemotes | Self::RemotesStay)
    }
}

/// A rule that tells internal from external.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The first one: of the loopback interface.
    Loopback,
    /// The one that looks into a set of prefixes, by the set's name.
    Asks(&'static str),
    /// The last one: all the rest is external.
    Rest,
}

impl Fault {
    /// Takes rules out of the transaction that makes the table. `make` makes one with another number of levels.
    pub(super) fn alter(self, batch: &mut Batch, make: impl Fn(u8) -> Batch) {
        match self {
            Self::NoRule(chain, rule) => {
                let is_one = |request: &Request| {
                    request.what() == "a rule that tells internal from external" && mentions(request, chain)
                };
                let at = match rule {
                    Rule::Loopback => batch.requests.iter().position(is_one),
                    Rule::Asks(set) => batch.requests.iter().position(|r| is_one(r) && mentions(r, set)),
                    Rule::Rest => batch.requests.iter().rposition(is_one),
                };
                if let Some(at) = at {
                    batch.requests.remove(at);
                }
            }
            Self::NoLevel(level) => {
                let (with, without) = (make(level).requests, make(level.saturating_sub(1)).requests);
                batch.requests.retain(|request| !with.contains(request) || without.contains(request));
            }
            Self::TunnelTwice => batch.requests.retain(|request| request.what() != "a look at the link-layer header"),
            Self::NoPrefix(_) | Self::Swapped | Self::NotRedirected | Self::Estimate | Self::Leak => {}
            Self::NotForwarded(_) | Self::NoRemotes | Self::RemotesStay => {}
        }
    }

    /// Takes rules out of the transaction that makes the table count what is forwarded.
    pub(super) fn alter_forwarded(self, batch: &mut Batch) {
        if let Self::NotForwarded(chain) = self {
            batch.requests.retain(|r| r.what() != "a look at the kind of an interface" || !mentions(r, chain));
        }
    }

    /// Falsifies what was read from the table.
    pub(super) fn falsify(self, case: &Case, sent: Payload, counted: &mut Figures) {
        let Figures { rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes } = *counted;
        match self {
            Self::Swapped => {
                *counted = Figures {
                    rx_bytes: tx_bytes,
                    tx_bytes: rx_bytes,
                    internal_rx_bytes: internal_tx_bytes,
                    internal_tx_bytes: internal_rx_bytes,
                };
            }
            Self::Estimate => {
                let sent = if case.is_tcp() { sent } else { Payload::default() };
                *counted = case.figures(sent.rx_bytes, sent.tx_bytes);
            }
            _ => {}
        }
    }
}

/// Whether a request has a string attribute with this text.
fn mentions(request: &Request, text: &str) -> bool {
    let wanted = [text.as_bytes(), &[0]].concat();
    request.encode(0).is_some_and(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
}
