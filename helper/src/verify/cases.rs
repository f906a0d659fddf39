//! What is tried: who moves what to which address, and what the table should book. Pure.
//!
//! The addresses are the scratch namespaces' own. Public ones are routed to the peer and to nobody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use netglance_dbus::{
    scope::Scope::{self, External, Internal},
    verify::{Figures, Payload},
};

use super::{
    cgroups::{APP, BYSTANDER, CHILD},
    namespace::WIRE,
    traffic::{PORT, Task},
};

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(s: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]))
}

/// The host and its router in the LAN.
pub const HOST_LAN4: IpAddr = v4(192, 168, 2, 2);
/// See [`HOST_LAN4`].
pub const PEER_LAN4: IpAddr = v4(192, 168, 2, 1);
/// The LAN's globally routable IPv6 prefix.
pub const HOST_LAN6: IpAddr = v6([0x2001, 0x4860, 1, 0, 0, 0, 0, 2]);
/// See [`HOST_LAN6`].
pub const PEER_LAN6: IpAddr = v6([0x2001, 0x4860, 1, 0, 0, 0, 0, 1]);
/// Link-local addresses.
pub const HOST_LINK4: IpAddr = v4(169, 254, 7, 2);
/// See [`HOST_LINK4`].
pub const PEER_LINK4: IpAddr = v4(169, 254, 7, 1);
/// See [`HOST_LINK4`].
pub const HOST_LINK6: IpAddr = v6([0xfe80, 0, 0, 0, 0, 0, 0, 2]);
/// See [`HOST_LINK4`].
pub const PEER_LINK6: IpAddr = v6([0xfe80, 0, 0, 0, 0, 0, 0, 1]);
/// A public address that is the host's own.
pub const OWN_PUBLIC: IpAddr = v4(93, 184, 216, 99);
/// Another, which it gets when the table is there already.
pub const OWN_NEW: IpAddr = v4(93, 184, 216, 98);
const PRIVATE_10: IpAddr = v4(10, 1, 2, 3);
const PRIVATE_172: IpAddr = v4(172, 16, 1, 1);
const PRIVATE_192: IpAddr = v4(192, 168, 99, 1);
const TAILNET4: IpAddr = v4(100, 100, 1, 1);
const TAILNET6: IpAddr = v6([0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 1]);
const UNIQUE_LOCAL: IpAddr = v6([0xfd12, 0x3456, 0, 0, 0, 0, 0, 1]);
const MULTICAST4: IpAddr = v4(239, 255, 77, 77);
const MULTICAST6: IpAddr = v6([0xff02, 0, 0, 0, 0, 0, 0x77, 0x77]);
/// A public address of the peer.
pub const PUBLIC4: IpAddr = v4(93, 184, 216, 34);
/// A public address of the peer.
pub const PUBLIC6: IpAddr = v6([0x2606, 0x2800, 0x220, 1, 0, 0, 0, 1]);
/// Addresses that a rule of the host's leads to others: a public one to the LAN, as a transparent cache does, and a private one
/// outside, as the address of a service.
const CAPTURED4: IpAddr = v4(93, 184, 216, 35);
/// The same, with IPv6.
pub const CAPTURED6: IpAddr = v6([0x2606, 0x2800, 0x220, 1, 0, 0, 0, 0x35]);
/// The address of such a service.
const SERVICE4: IpAddr = v4(10, 96, 0, 1);
/// The same, with IPv6.
pub const SERVICE6: IpAddr = v6([0xfd96, 0, 0, 0, 0, 0, 0, 1]);
/// A public address behind the tunnel.
pub const BEHIND_TUNNEL: IpAddr = v4(198, 41, 0, 4);
/// The tunnel's ends: outside, host and peer, and inside.
pub const TUNNEL_ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(93, 184, 217, 2), Ipv4Addr::new(93, 184, 217, 1)];
/// See [`TUNNEL_ENDS`].
pub const TUNNEL_INSIDE: [IpAddr; 2] = [v4(10, 99, 0, 2), v4(10, 99, 0, 1)];
/// Addresses of the peer beyond its links, to which the host has a route only.
pub const ROUTED: [IpAddr; 9] =
    [PRIVATE_10, PRIVATE_172, PRIVATE_192, TAILNET4, TAILNET6, UNIQUE_LOCAL, PUBLIC4, PUBLIC6, BEHIND_TUNNEL];

/// Who moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A process in the app's cgroup.
    App,
    /// A process of the app in a cgroup below it.
    Child,
    /// A process of the app after its cgroup was removed and made again.
    Restarted,
    /// Another app of the same user.
    Bystander,
}

impl Actor {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "the app",
            Self::Child => "its child process in a cgroup below",
            Self::Restarted => "the app after a restart",
            Self::Bystander => "another app of the same user",
        }
    }

    /// Its cgroup below the scratch tree's root.
    pub const fn cgroup(self) -> &'static str {
        match self {
            Self::App | Self::Restarted => APP,
            Self::Child => CHILD,
            Self::Bystander => BYSTANDER,
        }
    }
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What kind of traffic it is, as a sentence begins with it.
    pub name: &'static str,
    /// Who moves it.
    pub actor: Actor,
    /// What is moved.
    pub task: Task,
    /// What it is.
    pub scope: Scope,
    /// Whether another program sets the counters back just before.
    pub is_reset: bool,
    /// Where a rule of the host's (network address translation) leads it.
    pub redirected: Option<IpAddr>,
    /// Whether somebody asks for the remotes of the app and what is below it.
    pub by_remote: bool,
}

impl Case {
    /// The address with which its packets go over the wire.
    pub fn on_wire(&self) -> IpAddr {
        self.redirected.unwrap_or_else(|| self.remote())
    }

    /// The address at the other end, for the app.
    pub fn remote(&self) -> IpAddr {
        self.task.remote()
    }

    /// Who moves it, in words.
    pub fn actor_name(&self) -> String {
        if self.by_remote { format!("{}, by remote", self.actor.name()) } else { self.actor.name().to_owned() }
    }

    /// Whether it is a TCP connection; datagrams else.
    pub fn is_tcp(&self) -> bool {
        matches!(self.task, Task::Tcp { .. })
    }

    /// Whether it stays on the host.
    pub fn is_own(&self) -> bool {
        matches!(self.task, Task::Own { .. })
    }

    /// Whether it goes through a tunnel of the kernel.
    pub fn is_tunnelled(&self) -> bool {
        self.remote() == BEHIND_TUNNEL
    }

    /// The payload that the process receives and sends.
    pub fn sent(&self) -> Payload {
        self.task.sent()
    }

    /// See [`Task::packets`].
    pub fn packets(&self) -> Option<Payload> {
        self.task.packets()
    }

    /// Bytes as figures of the case's scope.
    pub fn figures(&self, rx: u64, tx: u64) -> Figures {
        figures_of(self.scope, rx, tx)
    }
}

/// Bytes as figures of a scope.
pub fn figures_of(scope: Scope, rx: u64, tx: u64) -> Figures {
    match scope {
        External => Figures { rx_bytes: rx, tx_bytes: tx, ..Figures::default() },
        Internal => Figures { internal_rx_bytes: rx, internal_tx_bytes: tx, ..Figures::default() },
    }
}

fn at(address: IpAddr) -> SocketAddr {
    match address {
        IpAddr::V6(a) if a.is_unicast_link_local() || a.is_multicast() => SocketAddrV6::new(a, PORT, 0, WIRE).into(),
        _ => SocketAddr::new(address, PORT),
    }
}

/// A connection to the peer at an address.
pub fn tcp(address: IpAddr) -> Task {
    Task::Tcp { to: at(address), up: 60_000, down: 250_000 }
}

/// Datagrams to the peer at an address, each answered.
pub fn udp(address: IpAddr) -> Task {
    Task::Udp { to: at(address), count: 50, up: 300, down: 1200 }
}

fn multicast(address: IpAddr) -> Task {
    Task::Udp { to: at(address), count: 50, up: 300, down: 0 }
}

fn own(address: IpAddr) -> Task {
    Task::Own { address, count: 50, up: 300, down: 1200 }
}

/// Every address at which the peer answers.
pub fn peer_addresses() -> Vec<SocketAddr> {
    let linked = [PEER_LAN4, PEER_LAN6, PEER_LINK4, PEER_LINK6];
    linked.into_iter().chain(ROUTED).map(at).collect()
}

/// All cases, in the order in which they are tried.
#[rustfmt::skip]
pub fn all() -> Vec<Case> {
    use Actor::{App, Bystander, Child, Restarted};
    let case = |name, actor, task, scope| Case { name, actor, task, scope, is_reset: false, redirected: None, by_remote: false };
    let redirected = |name, task, to, scope| Case { redirected: Some(to), ..case(name, App, task, scope) };
    let remote = |name, actor, task, scope| Case { by_remote: true, ..case(name, actor, task, scope) };
    let other_remote = |name, task, to, scope| Case { by_remote: true, ..redirected(name, task, to, scope) };
    vec![
        case("IPv4 loopback", App, own(v4(127, 0, 0, 1)), Internal),
        case("IPv6 loopback", App, own(v6([0, 0, 0, 0, 0, 0, 0, 1])), Internal),
        case("The host's own public IPv4 address", App, own(OWN_PUBLIC), Internal),
        case("The host's own IPv6 address", App, own(HOST_LAN6), Internal),
        case("An address that the host has just got", App, own(OWN_NEW), Internal),
        case("Private IPv4 (10.0.0.0/8)", App, udp(PRIVATE_10), Internal),
        case("Private IPv4 (172.16.0.0/12)", App, udp(PRIVATE_172), Internal),
        case("Private IPv4 (192.168.0.0/16)", App, udp(PRIVATE_192), Internal),
        case("The LAN over IPv4, TCP", App, tcp(PEER_LAN4), Internal),
        case("The LAN in its global IPv6 prefix, TCP", App, tcp(PEER_LAN6), Internal),
        case("The LAN in its global IPv6 prefix, UDP", App, udp(PEER_LAN6), Internal),
        case("Unique-local IPv6 (fc00::/7)", App, udp(UNIQUE_LOCAL), Internal),
        case("Link-local IPv4 (169.254.0.0/16)", App, udp(PEER_LINK4), Internal),
        case("Link-local IPv6 (fe80::/10)", App, udp(PEER_LINK6), Internal),
        case("The tailnet over IPv4 (100.64.0.0/10)", App, tcp(TAILNET4), Internal),
        case("The tailnet over IPv6 (fd7a:115c:a1e0::/48)", App, tcp(TAILNET6), Internal),
        case("IPv4 multicast", App, multicast(MULTICAST4), Internal),
        case("IPv6 multicast", App, multicast(MULTICAST6), Internal),
        case("Public IPv4, TCP", App, tcp(PUBLIC4), External),
        case("Public IPv4, UDP", App, udp(PUBLIC4), External),
        case("Public IPv6, TCP", App, tcp(PUBLIC6), External),
        case("Public IPv6, UDP", App, udp(PUBLIC6), External),
        case("Public IPv4 through a tunnel (VXLAN)", App, udp(BEHIND_TUNNEL), External),
        Case { is_reset: true, ..case("Public IPv4, TCP, after an nft reset", App, tcp(PUBLIC4), External) },
        redirected("Public IPv4 redirected to the LAN, TCP", tcp(CAPTURED4), PEER_LAN4, Internal),
        redirected("Public IPv6 redirected to the LAN, UDP", udp(CAPTURED6), PEER_LAN6, Internal),
        redirected("Private IPv4 redirected outside, UDP", udp(SERVICE4), PUBLIC4, External),
        redirected("Private IPv6 redirected outside, TCP", tcp(SERVICE6), PUBLIC6, External),
        case("Public IPv4, TCP", Child, tcp(PUBLIC4), External),
        case("Public IPv6, UDP", Child, udp(PUBLIC6), External),
        case("The LAN over IPv4, TCP", Child, tcp(PEER_LAN4), Internal),
        case("Public IPv4, TCP", Bystander, tcp(PUBLIC4), External),
        case("Public IPv6, UDP", Bystander, udp(PUBLIC6), External),
        remote("Public IPv4, TCP", App, tcp(PUBLIC4), External),
        remote("Public IPv4, UDP", App, udp(PUBLIC4), External),
        remote("Public IPv6, TCP", App, tcp(PUBLIC6), External),
        remote("Public IPv6, UDP", App, udp(PUBLIC6), External),
        remote("The LAN over IPv4, TCP", App, tcp(PEER_LAN4), Internal),
        remote("Public IPv4 through a tunnel (VXLAN)", App, udp(BEHIND_TUNNEL), External),
        other_remote("Public IPv4 redirected to the LAN, TCP", tcp(CAPTURED4), PEER_LAN4, Internal),
        other_remote("Private IPv6 redirected outside, TCP", tcp(SERVICE6), PUBLIC6, External),
        remote("Public IPv4, TCP", Child, tcp(PUBLIC4), External),
        remote("Public IPv6, UDP", Bystander, udp(PUBLIC6), External),
        case("Public IPv4, TCP", Restarted, tcp(PUBLIC4), External),
        case("Public IPv6, UDP", Restarted, udp(PUBLIC6), External),
    ]
}
