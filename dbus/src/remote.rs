//! How much each cgroup has moved with each remote. Pure: reads no clock and does no I/O.

use std::net::IpAddr;

/// What one cgroup has moved with one remote: IP packets with their headers, external and internal ones alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The cgroup's path as in `/proc/PID/cgroup`.
    pub cgroup: String,
    /// The other side's address as it stands in the IP header.
    pub address: IpAddr,
    /// The other side's port; 0 for a protocol without ports.
    pub port: u16,
    /// The IP protocol: 6 TCP, 17 UDP (<https://www.iana.org/assignments/protocol-numbers>).
    pub protocol: u8,
    /// Bytes received from it.
    pub rx_bytes: u64,
    /// Bytes sent to it.
    pub tx_bytes: u64,
}

/// What the cgroups that were asked for have moved with each remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remotes {
    /// Changes whenever counting by remote had to start again. Counting also starts again, in the same epoch, for a cgroup that
    /// nobody has asked for in ten seconds; its rows are smaller then than they were.
    pub epoch: u64,
    /// `CLOCK_BOOTTIME` of the look.
    pub boottime_ns: u64,
    /// `false`: there were more remotes than can be told apart, or cgroups that can't. What is in no row is still in the cgroup's own
    /// counter.
    pub is_complete: bool,
    /// One row for each cgroup and remote, in no order that means anything. Bytes since counting by remote began for the cgroup.
    pub rows: Vec<Remote>,
}

/// A remote on the bus: cgroup, address in network byte order (4 or 16 bytes), port, IP protocol, bytes received and sent.
pub type WireRemote = (String, Vec<u8>, u16, u8, u64, u64);

/// [`Remotes`] on the bus: epoch, `CLOCK_BOOTTIME` in nanoseconds, whether they are complete, rows.
pub type WireRemotes = (u64, u64, bool, Vec<WireRemote>);

/// An address in network byte order.
pub(crate) fn address_on_wire(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What was an address in network byte order; `None`: it is of neither family.
pub fn address_from_wire(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

impl From<Remote> for WireRemote {
    fn from(remote: Remote) -> Self {
        let address = address_on_wire(remote.address);
        (remote.cgroup, address, remote.port, remote.protocol, remote.rx_bytes, remote.tx_bytes)
    }
}

impl From<Remotes> for WireRemotes {
    fn from(remotes: Remotes) -> Self {
        let rows = remotes.rows.into_iter().map(WireRemote::from).collect();
        (remotes.epoch, remotes.boottime_ns, remotes.is_complete, rows)
    }
}

impl From<WireRemotes> for Remotes {
    /// A row whose address is of neither family is left out.
    fn from((epoch, boottime_ns, is_complete, rows): WireRemotes) -> Self {
        let row = |(cgroup, address, port, protocol, rx_bytes, tx_bytes): WireRemote| {
            let address = address_from_wire(&address)?;
            Some(Remote { cgroup, address, port, protocol, rx_bytes, tx_bytes })
        };
        let all = rows.len();
        let rows: Vec<_> = rows.into_iter().filter_map(row).collect();
        Self { epoch, boottime_ns, is_complete: is_complete && rows.len() == all, rows }
    }
}
