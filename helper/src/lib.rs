//! The root helper of netglance: exact counts of each cgroup's bytes, out of an nftables table that it owns.
//!
//! `bus` (what comes in) -> `counters` (the bus asks, `authority` judges, `looks` spaces out) -> `table` (what was decided) -> `counting` -> `nft` (the kernel), `books`
//! (what the table can't keep), `store` (files), `descriptors` (systemd keeps the socket). `setup` puts it on a system that has no package of it,
//! `verify` proves on a host that it counts right. It knows no application and no unit name, starts no process and
//! reads no text that a user wrote.

pub mod authority;
pub mod books;
pub mod bus;
pub mod counters;
pub mod counting;
pub mod descriptors;
pub mod looks;
pub mod nft;
pub mod setup;
pub mod store;
pub mod table;
pub mod verify;

/// An error and what caused it, on one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Writes a line into the log, which is stderr. Nothing happens where that is closed. Control characters in it, which a name
/// of somebody else's may have, become U+FFFD, so that one line stays one line and no terminal takes it for a command.
pub fn log(line: impl std::fmt::Display) {
    let line: String = line.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    // One write, so that lines of two threads do not mix.
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), format!("{line}\n").as_bytes());
}
