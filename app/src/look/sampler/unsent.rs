//! What the kernel still has to send for programs that have ended: their sockets live on until the other side has
//! acknowledged everything.

use netglance_dbus::netlink::{self, Socket};

use super::inet_diag::{AF_INET, AF_INET6, Error, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY, WITH_INFO, chunk, parse, request};

// net/tcp_states.h. A socket that was closed with bytes in it is in one of these until all of them, and its FIN, are
// acknowledged.
const FIN_WAIT1: u32 = 1 << 4;
const LAST_ACK: u32 = 1 << 9;
const CLOSING: u32 = 1 << 11;

/// A closed socket that the kernel has not finished with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The cgroup that it was made in.
    pub cgroup_id: u64,
    /// Bytes of payload that the other side has not acknowledged.
    pub unacknowledged_bytes: u64,
    /// Those of them that had not been sent yet.
    pub unsent_bytes: u64,
}

/// Every TCP socket of this network namespace that no process has open any more, but that still has bytes to deliver.
pub fn ending_sockets() -> Result<Vec<Ending>, Error> {
    let mut requests = Socket::open(Some(rustix::net::netlink::SOCK_DIAG), 0)?;
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let request = request(family, IPPROTO_TCP, WITH_INFO, FIN_WAIT1 | LAST_ACK | CLOSING);
        requests.dump(SOCK_DIAG_BY_FAMILY, &request, |_, payload| {
            sockets.extend(ending(payload)?);
            Ok(())
        })?;
    }
    Ok(sockets)
}

/// `None`: a process has it open.
fn ending(payload: &[u8]) -> Result<Option<Ending>, netlink::Error> {
    let socket = parse(payload)?;
    // `idiag_wqueue` of linux/inet_diag.h: what was written less what is acknowledged. The FIN counts as a byte of it.
    let written = chunk(payload, 60).map(u32::from_ne_bytes).unwrap_or_default();
    let ending = |cgroup_id| Ending {
        cgroup_id,
        unacknowledged_bytes: u64::from(written.saturating_sub(1)),
        unsent_bytes: u64::from(socket.not_sent.saturating_sub(1)),
    };
    // An inode belongs to an open file.
    Ok(socket.cgroup_id.filter(|_| socket.inode == 0).map(ending))
}
