//! What a container moves: in a scratch network behind a bridge of the scratch host, with masquerading and routed. What should be
//! booked comes from a packet socket at the container's own interface.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netglance_dbus::{
    cgroup::Tree,
    verify::{Case, Figures, Outcome, Payload, Stray},
};

use super::{
    Error, Stop,
    cases::{HOST_LAN4, HOST_LAN6, PEER_LAN4, PEER_LAN6, PUBLIC4, PUBLIC6, tcp, udp},
    cgroups::{APP, Cgroups},
    namespace::{Namespace, WIRE},
    peer::Peer,
    traffic::{Mover, PORT, Task},
    wire::{Passed, Wire},
    world::make_table,
};
use crate::{
    counting,
    forwarded::Forwarded,
    nft::{
        Nft,
        key::Key,
        ruleset::{self, Counter, ForwardedSet},
    },
};

/// Indices of interfaces of the scratch host.
const BRIDGE: u32 = 10;
const PORTS: [u32; 2] = [11, 12];
const LOOPBACK: u32 = 1;
/// The table that masquerades.
const MASQUERADE: &str = "netglance-verify";
const SETTLED: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The bridge's own addresses, and those of two containers.
const BRIDGE4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));
const BRIDGE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 2, 0, 0, 0, 0, 1));
const FIRST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2)),
    // Routed: a public address, which is internal because it is on a link of the host's.
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 2, 0, 0, 0, 0, 2)),
];
const SECOND: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(172, 17, 0, 3)), IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 2, 0, 0, 0, 0, 3))];

/// What is tried: who, in which container, to where, and whether that is outside.
fn cases() -> [(&'static str, usize, Task, bool); 7] {
    [
        ("Public IPv4 behind NAT, TCP", 0, tcp(PUBLIC4), true),
        ("Public IPv4 behind NAT, UDP", 0, udp(PUBLIC4), true),
        ("Public IPv6, routed, TCP", 0, tcp(PUBLIC6), true),
        ("Public IPv6, routed, UDP", 0, udp(PUBLIC6), true),
        ("The LAN over IPv4, TCP", 0, tcp(PEER_LAN4), false),
        ("Public IPv4 behind NAT, TCP", 1, tcp(PUBLIC4), true),
        ("The LAN in its global IPv6 prefix, UDP", 1, udp(PEER_LAN6), false),
    ]
}

fn actor(container: usize) -> &'static str {
    if container == 0 { "a container" } else { "another container" }
}

/// The scratch world. Dropped, it is gone.
struct World {
    containers: [Container; 2],
    nft: Nft,
    forwarded: Forwarded,
    has_ipv6: bool,
    _host: Namespace,
    _peer: Peer,
    cgroups: Cgroups,
}

struct Container {
    addresses: [IpAddr; 2],
    mover: Mover,
    wire: Wire,
    _network: Namespace,
}

/// Tries one case after the other. What this kernel lacks is said in each.
pub fn try_all(program: &Path, stop: &Stop) -> Result<Vec<Case>, Error> {
    let skipped = |why: &str| {
        let skip = |(name, container, ..): (&str, usize, Task, bool)| {
            Case::without_figures(name, actor(container), Outcome::Skipped, Some(why.to_owned()))
        };
        Ok(cases().into_iter().map(skip).collect())
    };
    let mut world = match World::new(program)? {
        Ok(world) => world,
        Err(why) => return skipped(why),
    };
    let mut rows = Vec::new();
    for (name, container, task, is_external) in cases() {
        stop.check()?;
        rows.push(world.try_one(name, container, &task, is_external, stop)?);
    }
    Ok(rows)
}

fn net(address: IpAddr, length: u8) -> Result<IpNet, Error> {
    IpNet::new(address, length).map_err(io::Error::other).map_err(Error::doing("write a prefix"))
}

impl World {
    /// `Err`: why this kernel can't have it, as a sentence.
    fn new(program: &Path) -> Result<Result<Self, &'static str>, Error> {
        let has_ipv6 = fs::exists("/proc/net/if_inet6").unwrap_or_default();
        let (host, router) = (Namespace::new()?, Namespace::new()?);
        host.wire(&router)?;
        let families = |address: &IpAddr| has_ipv6 || address.is_ipv4();
        for (namespace, address, length) in
            [(&host, HOST_LAN4, 24), (&router, PEER_LAN4, 24), (&host, HOST_LAN6, 64), (&router, PEER_LAN6, 64)]
        {
            if families(&address) {
                namespace.address(WIRE, net(address, length)?)?;
            }
        }
        let served: Vec<_> = [PEER_LAN4, PUBLIC4, PEER_LAN6, PUBLIC6].into_iter().filter(families).collect();
        for address in [PUBLIC4, PUBLIC6].into_iter().filter(families) {
            router.address(LOOPBACK, IpNet::from(address))?;
            host.route(IpNet::from(address), if address.is_ipv4() { PEER_LAN4 } else { PEER_LAN6 })?;
        }
        if !host.bridge(BRIDGE)? {
            return Ok(Err("This kernel has no bridges, so containers could not be tested."));
        }
        host.address(BRIDGE, net(BRIDGE4, 16)?)?;
        if has_ipv6 {
            host.address(BRIDGE, net(BRIDGE6, 64)?)?;
            router.route(net(BRIDGE6, 64)?, HOST_LAN6)?;
        }
        if host.inside(|| forward(has_ipv6))?.is_err() {
            return Ok(Err("Packets can't be forwarded here, so containers could not be tested."));
        }
        let mut networks = Vec::new();
        for (port, addresses) in PORTS.into_iter().zip([FIRST, SECOND]) {
            let network = Namespace::new()?;
            host.plug(&network, port, BRIDGE)?;
            for (address, length, gateway) in [(addresses[0], 16, BRIDGE4), (addresses[1], 64, BRIDGE6)] {
                if families(&address) {
                    network.address(WIRE, net(address, length)?)?;
                    let all = if address.is_ipv4() { Ipv4Net::default().into() } else { Ipv6Net::default().into() };
                    network.route(all, gateway)?;
                }
            }
            networks.push((network, addresses));
        }
        let mut nft = make_table(&host, counting::levels(&Tree::open()?), None)?;
        if nft.count_forwarded().is_err() {
            return Ok(Err("This kernel can't count what is forwarded, so containers could not be tested."));
        }
        match nft.commit(&ruleset::masquerade(MASQUERADE, WIRE)) {
            Err(error) if error.is_unsupported() || error.is_absent() => {
                return Ok(Err(
                    "This kernel can't translate addresses with nf_tables, so containers could not be tested.",
                ));
            }
            other => other.map(drop)?,
        }
        let cgroups = Cgroups::new(Tree::open()?.mount())?;
        let mut containers = Vec::new();
        for (network, addresses) in networks {
            let wire = network.inside(Wire::open)?.map_err(Error::doing("listen on the wire"))?;
            let mover = Mover::start(program, &network, &cgroups, APP)?;
            containers.push(Container { addresses, mover, wire, _network: network });
        }
        let Ok(containers) = <[Container; 2]>::try_from(containers) else {
            return Ok(Err("The scratch containers could not be made."));
        };
        let served: Vec<_> = served.into_iter().map(|address| SocketAddr::new(address, PORT)).collect();
        let peer = Peer::serve(&router, &served)?;
        let forwarded = Forwarded::default();
        Ok(Ok(Self { containers, nft, forwarded, has_ipv6, _host: host, _peer: peer, cgroups }))
    }

    fn try_one(
        &mut self,
        name: &str,
        container: usize,
        task: &Task,
        is_external: bool,
        stop: &Stop,
    ) -> Result<Case, Error> {
        let (Task::Tcp { to, .. } | Task::Udp { to, .. }) = *task else {
            return Ok(Case::without_figures(name, actor(container), Outcome::Skipped, None));
        };
        let sent = match *task {
            Task::Tcp { up, down, .. } => Payload { rx_bytes: down, tx_bytes: up },
            Task::Udp { count, up, down, .. } | Task::Own { count, up, down, .. } => {
                Payload { rx_bytes: count * down, tx_bytes: count * up }
            }
        };
        if to.is_ipv6() && !self.has_ipv6 {
            let why = "This host has no IPv6, so there is nothing to leave out or to count.".to_owned();
            return Ok(Case::without_figures(name, actor(container), Outcome::Skipped, Some(why)));
        }
        let before = [self.counted(0)?, self.counted(1)?];
        let cgroups_before = self.cgroups_counted()?;
        let passed_before = self.passed(container, to.ip())?;
        let row = |expected, counted, strays, verdict, meaning| Case {
            case: name.to_owned(),
            actor: actor(container).to_owned(),
            sent: Some(sent),
            expected,
            counted,
            strays,
            verdict,
            meaning,
        };
        let moved = self.containers.get_mut(container).map_or(Ok(()), |container| container.mover.run(task, stop));
        match moved {
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                let error = netglance_dbus::error::chain(&error);
                let why = format!("{name}: the bytes could not be moved, so nothing is proved. {error}");
                return Ok(row(None, None, Vec::new(), Outcome::Fail, Some(why)));
            }
            Ok(()) => {}
        }
        let mut still_since = (Instant::now(), Figures::default());
        loop {
            let passed = self.passed(container, to.ip())?;
            let (rx, tx) = (passed.from - passed_before.from, passed.to - passed_before.to);
            let expected = if is_external {
                Figures { rx_bytes: rx, tx_bytes: tx, ..Figures::default() }
            } else {
                Figures { internal_rx_bytes: rx, internal_tx_bytes: tx, ..Figures::default() }
            };
            let now = [since(self.counted(0)?, before[0]), since(self.counted(1)?, before[1])];
            let counted = now.get(container).copied().unwrap_or_default();
            let other = now.get(1 - container).copied().unwrap_or_default();
            let in_cgroups = since(self.cgroups_counted()?, cgroups_before);
            let nothing = Figures::default();
            let strays: Vec<_> = [(actor(1 - container), other), ("a control group of the host", in_cgroups)]
                .into_iter()
                .filter(|(_, counted)| *counted != nothing)
                .map(|(who, counted)| Stray { cgroup: who.to_owned(), counted })
                .collect();
            let is_right = counted == expected && strays.is_empty() && rx > sent.rx_bytes && tx > sent.tx_bytes;
            if is_right {
                return Ok(row(Some(expected), Some(counted), strays, Outcome::Pass, None));
            }
            if counted != still_since.1 {
                still_since = (Instant::now(), counted);
            }
            if still_since.0.elapsed() > SETTLED {
                let why = format!(
                    "{name}, {}: what the container's own interface saw and what the helper's rules count differ, so the figures \
                     of containers and virtual machines can't be relied on here. Please report this with the output of \
                     netglance verify --json.",
                    actor(container)
                );
                return Ok(row(Some(expected), Some(counted), strays, Outcome::Fail, Some(why)));
            }
            stop.check()?;
            thread::sleep(LOOK_EVERY);
        }
    }

    /// What a container has moved with an address, by its own interface.
    fn passed(&mut self, container: usize, address: IpAddr) -> Result<Passed, Error> {
        let container = self.containers.get_mut(container);
        let passed = container.map_or(Ok(Passed::default()), |container| container.wire.passed(address));
        passed.map_err(Error::doing("listen on the wire"))
    }

    /// What the table says of a container's addresses.
    fn counted(&mut self, container: usize) -> Result<Figures, Error> {
        for set in ForwardedSet::all() {
            let forwarded = &mut self.forwarded;
            self.nft.read_forwarded(set, |address, bytes| forwarded.take_in(set, address, bytes))?;
        }
        let addresses = self.containers.get(container).map(|container| container.addresses).unwrap_or(FIRST);
        let rows = self.forwarded.rows().into_iter().filter(|row| addresses.contains(&row.address));
        Ok(rows.fold(Figures::default(), |sum, row| Figures {
            rx_bytes: sum.rx_bytes + row.rx_bytes,
            tx_bytes: sum.tx_bytes + row.tx_bytes,
            internal_rx_bytes: sum.internal_rx_bytes + row.internal_rx_bytes,
            internal_tx_bytes: sum.internal_tx_bytes + row.internal_tx_bytes,
        }))
    }

    /// What the table has booked to the cgroup of the containers' processes, and outside to any: nothing of a container's. The kernel's
    /// own packets to its neighbours are internal.
    fn cgroups_counted(&mut self) -> Result<Figures, Error> {
        let (mut sums, mut elements) = ([0; 4], Vec::new());
        let app = Key::of(self.cgroups.id(APP)?);
        for (counter, sum) in Counter::ALL.into_iter().zip(&mut sums) {
            self.nft.read(counter, &mut elements)?;
            let is_external = matches!(counter, Counter::RxExternal | Counter::TxExternal);
            let theirs = elements.iter().filter(|element| is_external || element.key == app);
            *sum = theirs.map(|element| element.bytes).sum();
        }
        let [rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes] = sums;
        Ok(Figures { rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes })
    }
}

fn since(now: Figures, before: Figures) -> Figures {
    Figures {
        rx_bytes: now.rx_bytes.saturating_sub(before.rx_bytes),
        tx_bytes: now.tx_bytes.saturating_sub(before.tx_bytes),
        internal_rx_bytes: now.internal_rx_bytes.saturating_sub(before.internal_rx_bytes),
        internal_tx_bytes: now.internal_tx_bytes.saturating_sub(before.internal_tx_bytes),
    }
}

/// Has the network namespace of this thread forward packets.
fn forward(has_ipv6: bool) -> io::Result<()> {
    // Where bridges are filtered, what stays within one would come through the same hook.
    for family in ["iptables", "ip6tables"] {
        _ = fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}"), "0");
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    if has_ipv6 { fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1") } else { Ok(()) }
}
