//! Faults that tests put into the table, to see that verify finds each of them. The program never makes one.

use ipnet::IpNet;
use netglance_dbus::verify::{Figures, Payload};

use super::cases::Case;
use crate::nft::message::Batch;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The internal addresses lack this prefix.
    NoPrefix(IpNet),
    /// The n-th of the rules that tell internal from external is missing: of the output chain the loopback interface, IPv4,
    /// IPv6, the rest, then of the input chain.
    NoRule(usize),
    /// No chain has a rule for this level.
    NoLevel(u8),
    /// Received and sent are taken for each other.
    Swapped,
    /// A tunnel's outer packets are booked like any other.
    TunnelTwice,
    /// The figures are those of an estimate: TCP payload, and nothing of UDP.
    Estimate,
}

impl Fault {
    /// Takes rules out of the transaction that makes the table with so many levels.
    pub(super) fn alter(self, batch: &mut Batch, levels: u8) {
        let (what, doomed): (_, Box<dyn Fn(usize) -> bool>) = match self {
            Self::NoRule(number) => ("a rule that tells internal from external", Box::new(move |at| at == number)),
            Self::NoLevel(level) => {
                // The deepest comes first, and each of the four chains has all.
                let at_level = usize::from(levels.saturating_sub(level));
                (
                    "socket cgroupv2 level, with an update of a set",
                    Box::new(move |at| at % usize::from(levels) == at_level),
                )
            }
            Self::TunnelTwice => ("a look at the link-layer header", Box::new(|_| true)),
            Self::NoPrefix(_) | Self::Swapped | Self::Estimate => return,
        };
        let mut at = 0;
        batch.requests.retain(|request| {
            let is_one = request.what() == what;
            at += usize::from(is_one);
            !(is_one && doomed(at - 1))
        });
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
