//! What the app and the helper of netglance share.
//!
//! The interface on the bus, rows and samples, what counts as external, whose a cgroup is, which kernels can be trusted to count, the
//! routing table and cgroup tree as both sides read them, and where the helper is installed.
//! It knows no application, draws nothing and decides nothing about who may see what.

pub mod cgroup;
pub mod error;
pub mod forwarded;
pub mod helper1;
pub mod interface;
pub mod kernel;
pub mod netlink;
pub mod onlink;
pub mod owner;
pub mod place;
pub mod properties;
pub mod remote;
pub mod sample;
pub mod scope;
pub mod text;
pub mod verify;
