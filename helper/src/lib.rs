//! The root helper of netglance: exact counts of each cgroup's bytes, out of an nftables table that it owns.
//!
//! So far it is the table alone: nothing starts it yet, and the app estimates without it. It knows no application and no
//! unit name, starts no process and reads no text that a user wrote.

pub mod nft;
