//! Whom an app talks to: a row for each remote of each of its cgroups, and what it has moved with it. Plain data; the rows are
//! kept by [`Table`].

mod others;
mod table;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
pub use table::{Changes, Judge, Look, MOST_ROWS, Open, Place, Row, Table};

use super::{live::Side, rate::Rate};

/// A remote of a cgroup: what tells it from others, and what decides about it. It changes seldom; [`Figures`] change at each beat.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Remote {
    /// Its number, the same for as long as it is listed, and no other's after that.
    pub id: u32,
    /// [`super::reading::Reading::id`] of what it was looked for.
    pub app: String,
    /// The unit's name, as `watch` shows it.
    pub unit: String,
    /// The cgroup's path.
    pub cgroup: String,
    /// The other side's address, one of IPv4 in the form of IPv4. `None`: UDP sockets without a peer, under the estimate.
    pub address: Option<IpAddr>,
    /// The other side's port; 0: the protocol has none, or there is no other side.
    pub port: u16,
    /// The IP protocol's number: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// How its bytes are counted. `None`: each datagram by its own address.
    pub scope: Option<Side>,
    /// The prefix that decided; `None`: none matches.
    pub prefix: Option<String>,
    /// Why, with the RFC where it is one's.
    pub reason: String,
    /// On which side the helper's counters have it; `None`: exact counting does not run.
    pub counters: Option<Side>,
    /// The unit, or else the cgroup, that has the other end, where that is a proxy on this computer.
    pub proxy: Option<String>,
    /// What is known of the other side.
    pub whois: Whois,
}

/// What is known of an address and port. Each part is absent where nobody says it: nothing is guessed. The names are strangers'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Whois {
    /// Its name, and who says so.
    pub name: Option<Name>,
    /// What the system's services file calls the port: `https`.
    pub service: Option<String>,
    /// The country's ISO 3166 code: `US`.
    pub country: Option<String>,
    /// The autonomous system: its number and who runs it.
    pub network: Option<(u32, String)>,
}

/// A name of an address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Who says so.
    pub by: NamedBy,
}

/// Who says a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum NamedBy {
    /// The owner of the address (reverse DNS).
    ReverseDns,
    /// This computer has asked for that name and was told this address (systemd-resolved).
    Query,
}

/// What was moved with a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Figures {
    /// [`Remote::id`]
    pub id: u32,
    /// Bytes received and sent since the source began to count by remote, as the source counts them. `None`: not measured.
    pub bytes: Option<[u64; 2]>,
    /// Bytes per second since the look before; `None`: not measured, or a gap.
    pub rate: Option<Rate>,
    /// `CLOCK_BOOTTIME` of the look that last saw it move bytes, or have an open socket.
    pub seen_ns: u64,
    /// Its sockets that are open now.
    pub sockets: u32,
}
