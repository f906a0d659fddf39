//! The root helper of netglance: exact counts of each cgroup's bytes, out of an nftables table that it owns.
//!
//! `bus` (what comes in) -> `counters` (the bus asks, `authority` judges, `looks` spaces out) -> `table` (what was decided) -> `counting` -> `nft` (the kernel), `books`
//! (what the table can't keep), `remotes` (whose remotes are counted), `last` (what is `saved` of a boot for the next), `store` (files), `descriptors` (systemd keeps the socket). `setup` puts it on a system that has no package of it,
//! `verify` proves on a host that it counts right. It knows no application and no unit name, starts no process and
//! reads no text that a user wrote.

pub mod authority;
pub mod books;
pub mod bus;
pub mod counters;
pub mod counting;
pub mod descriptors;
pub mod forwarded;
pub mod last;
pub mod looks;
pub mod nft;
pub mod redirects;
pub mod remotes;
pub mod saved;
pub mod setup;
pub mod store;
pub mod table;
pub mod verify;

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use netglance_dbus::text::printable_lines;

/// Says it on stderr, which systemd gives to the journal. Where nobody reads it, nothing happens; names that strangers chose
/// are made fit to be shown.
pub fn log(text: impl Display) {
    // One write, so that lines of two threads do not mix.
    _ = io::stderr().write_all(format!("{}\n", printable_lines(&text.to_string())).as_bytes());
}
