//! netglance: how much is this application talking to the outside world right now?
//!
//! A file uses its own floor and those above it in this list:
//! - [`base`] settings, formats, errors
//! - [`look`] one look after another: sampler -> target -> rate
//! - [`keep`] what was seen, and what is remembered
//! - [`advise`] what to make of this computer
//! - [`metrics`] the same for Prometheus
//! - [`show`] what a person sees
//! - [`program`] the program behind the tray
//! - [`cli`] the command line

pub mod advise;
pub mod base;
pub mod cli;
pub mod keep;
pub mod look;
pub mod metrics;
#[cfg(feature = "desktop")]
pub mod program;
pub mod show;
