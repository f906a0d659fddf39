//! The root helper of netglance: exact counts of each cgroup's bytes, out of an nftables table that it owns.
//!
//! `counters` (the bus asks, `authority` judges) -> `table` -> `nft` (the kernel), `books` (what the table can't keep),
//! `store` (files), `descriptors` (systemd keeps the socket).
//! Apart from them `setup` puts it on a system that has no package of it. It knows no application and no unit name, starts no process and
//! reads no text that a user wrote.

pub mod authority;
pub mod books;
pub mod counters;
pub mod descriptors;
pub mod nft;
pub mod setup;
pub mod store;
pub mod table;
