//! Sockets whose bytes are counted elsewhere or not at all: UDP ports that several cgroups share, and packet sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    advise::doctor::facts::SharedPort,
    look::sampler::inet_diag::{self, Listed},
};

/// Ports where names are looked up and services announced by multicast, which is internal. Many programs share them.
const MULTICAST: [u16; 4] = [1900, 3702, 5353, 5355];

/// A UDP socket that accepts datagrams from anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its own address; unspecified: any.
    pub address: IpAddr,
    /// Its own port.
    pub port: u16,
    /// The interface that it is bound to; 0: none.
    pub interface: u32,
    /// The cgroup that it was made in.
    pub cgroup_id: u64,
}

/// Those of this network namespace, as many as the kernel lists.
pub fn bound() -> Vec<Bound> {
    inet_diag::unconnected_udp().into_iter().filter_map(Bound::of).collect()
}

impl Bound {
    /// `None`: the kernel names no cgroup.
    fn of(Listed { local, interface, cgroup_id, .. }: Listed) -> Option<Self> {
        cgroup_id.map(|cgroup_id| Self { address: local.ip(), port: local.port(), interface, cgroup_id })
    }
}

/// The ports where datagrams from outside may reach either the app's cgroups or another's. `name` names a cgroup; `None`: it is
/// the app's own.
pub fn shared(sockets: &[Bound], name: impl Fn(u64) -> Option<String>) -> Vec<SharedPort> {
    let mut groups: BTreeMap<(IpAddr, u16, u32), BTreeSet<u64>> = BTreeMap::new();
    let open = |socket: &&Bound| !socket.address.is_loopback() && !MULTICAST.contains(&socket.port);
    for socket in sockets.iter().filter(open) {
        groups.entry((socket.address, socket.port, socket.interface)).or_default().insert(socket.cgroup_id);
    }
    let mut ports: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
    for ((_, port, _), ids) in groups.into_iter().filter(|(_, ids)| ids.len() > 1) {
        let others: BTreeSet<_> = ids.iter().filter_map(|id| name(*id)).collect();
        if !others.is_empty() && ids.iter().any(|id| name(*id).is_none()) {
            ports.entry(port).or_default().extend(others);
        }
    }
    ports.into_iter().map(|(port, with)| SharedPort { port, with: with.into_iter().collect() }).collect()
}

/// From /proc/net/packet: for each packet socket, the uid of who opened it, and its inode.
pub fn packet_sockets(table: &str) -> Vec<(u32, u32)> {
    let columns = |line: &str| {
        let mut columns = line.split_whitespace().skip(7);
        Some((columns.next()?.parse().ok()?, columns.next()?.parse().ok()?))
    };
    table.lines().skip(1).filter_map(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_shared_where_another_has_the_same_address_too() {
        let bound = |address: &str, port, interface, cgroup_id| Bound {
            address: address.parse().unwrap(),
            port,
            interface,
            cgroup_id,
        };
        let name = |id| (id > 2).then(|| format!("other{id}.service"));
        let check = |sockets: &[Bound], expected: &[(u16, &[&str])]| {
            let expected = expected
                .iter()
                .map(|(port, with)| SharedPort { port: *port, with: with.iter().map(ToString::to_string).collect() });
            assert_eq!(shared(sockets, name), expected.collect::<Vec<_>>(), "{sockets:?}");
        };
        check(&[], &[]);
        check(&[bound("0.0.0.0", 443, 0, 1), bound("0.0.0.0", 443, 0, 3)], &[(443, &["other3.service"])]);
        check(
            &[bound("::", 443, 0, 1), bound("::", 443, 0, 4), bound("::", 443, 0, 3)],
            &[(443, &["other3.service", "other4.service"])],
        );
        // The app's own two, others' two, another address, port or interface, what stays inside.
        check(&[bound("::", 443, 0, 1), bound("::", 443, 0, 2)], &[]);
        check(&[bound("::", 443, 0, 3), bound("::", 443, 0, 4)], &[]);
        check(&[bound("::", 443, 0, 1), bound("0.0.0.0", 443, 0, 3)], &[]);
        check(&[bound("::", 443, 0, 1), bound("::", 444, 0, 3)], &[]);
        check(&[bound("::", 443, 0, 1), bound("::", 443, 2, 3)], &[]);
        check(&[bound("::1", 443, 0, 1), bound("::1", 443, 0, 3)], &[]);
        check(&[bound("0.0.0.0", 5353, 0, 1), bound("0.0.0.0", 5353, 0, 3)], &[]);
    }

    #[test]
    fn the_kernels_list_of_packet_sockets_is_read() {
        let table = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                     0000000000000000 3      3    0003   2     1 0      1000   24893\n\
                     0000000000000000 3      2    0800   0     1 0      0      24894\nshort 1 2\n";
        assert_eq!(packet_sockets(table), [(1000, 24893), (0, 24894)]);
        assert_eq!(packet_sockets(""), []);
    }

    #[test]
    fn bad_messages_are_errors_not_panics() {
        const AF_INET: u8 = 2;
        let parse = |message: &[u8]| inet_diag::parse(message).map(Bound::of);
        let mut whole = vec![0; 72];
        whole[0] = AF_INET;
        whole[4..12].copy_from_slice(&[1, 187, 0, 0, 192, 0, 2, 1]);
        whole.extend([12, 0, 21, 0, 77, 0, 0, 0, 0, 0, 0, 0]);
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(parse(&whole).unwrap(), Some(Bound { address, port: 443, interface: 0, cgroup_id: 77 }));
        assert_eq!(parse(&whole[..72]).unwrap(), None);
        for cut in (0..whole.len()).filter(|cut| *cut != 72) {
            assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
