//! Looks at the counters of sockets and helper, and works out what each app has moved.

pub mod apps;
pub mod desktop_entry;
pub mod engines;
pub mod forwarded;
pub mod live;
pub mod monitor;
pub mod names;
pub mod network;
pub mod programs;
pub mod rate;
pub mod reading;
pub mod remotes;
pub mod sampler;
pub mod services;
pub mod target;
pub mod whois;
