//! Network namespaces without a name, and what is in them: interfaces, addresses, routes, made over rtnetlink.
//!
//! A namespace is gone when the last descriptor, thread and process of it is, however the program ends. Nothing here touches
//! the host's own network.
#![expect(unsafe_code, reason = "rustix makes unshare a promise: of descriptors, which are not unshared here")]

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
};

use ipnet::IpNet;
use netglance_dbus::netlink::{self, Socket};
use netlink_packet_core::Emitable;
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType},
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::Error;

/// The loopback interface's index in every namespace.
const LOOPBACK: u32 = 1;
/// The index that [`Namespace::wire`] gives the interface at both ends.
pub const WIRE: u32 = 2;
/// The index of a tunnel's interface.
pub const TUNNEL: u32 = 3;
/// VXLAN's port (RFC 7348, section 5).
const VXLAN_PORT: u16 = 4789;
// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
/// `NLM_F_CREATE | NLM_F_EXCL` of linux/netlink.h.
const CREATE: u16 = 0x600;
/// rustix writes protocol 0 as `None`.
const NETLINK_ROUTE: Option<rustix::net::Protocol> = None;

/// A namespace, held open.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, with its loopback interface up.
    pub fn new() -> Result<Self, Error> {
        let make = || {
            // SAFETY: descriptors stay shared; only what this short-lived thread opens from now on is in another network.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            File::open("/proc/thread-self/ns/net")
        };
        let made = thread::scope(|scope| on_thread(scope, make))?;
        let namespace = Self(made.map_err(Error::doing("make a network namespace"))?);
        namespace.inside(|| up(LOOPBACK))?.map_err(Error::network("set up loopback"))?;
        Ok(namespace)
    }

    /// Does something on a thread that is inside.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let entered = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(act())
        };
        thread::scope(|scope| on_thread(scope, entered))?.map_err(Error::doing("enter a network namespace"))
    }

    /// Joins two namespaces by a pair of interfaces, both of index [`WIRE`].
    ///
    /// Each packet goes over it by itself: an aggregate of several would have one header here and several there, and whoever
    /// counts on the wire would see other bytes than the table does.
    pub fn wire(&self, other: &Self) -> Result<(), Error> {
        self.pair((WIRE, "wire0".to_owned(), None), other, "wire1")
    }

    /// Makes a bridge and attaches another namespace to it, as container engines do: there it is the interface [`WIRE`]. `bridge`
    /// and the index after it are those of the bridge and its port. `false`: this kernel has no bridges.
    pub fn bridge(&self, bridge: u32, other: &Self) -> Result<bool, Error> {
        let mut message = LinkMessage::default();
        message.header.index = bridge;
        message.attributes.extend([
            LinkAttribute::IfName(format!("bridge{bridge}")),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ]);
        match self.inside(|| change(RTM_NEWLINK, CREATE, &message).and_then(|()| up(bridge)))? {
            Err(netlink::Error::Refused(error)) if error.raw_os_error() == Some(EOPNOTSUPP) => return Ok(false),
            made => made.map_err(Error::network("make a bridge"))?,
        }
        let port = bridge.saturating_add(1);
        self.pair((port, format!("port{port}"), Some(bridge)), other, "wire1")?;
        Ok(true)
    }

    /// A pair of interfaces: here with this index and name, maybe as a bridge's port; in the other namespace [`WIRE`].
    fn pair(&self, here: (u32, String, Option<u32>), other: &Self, there: &str) -> Result<(), Error> {
        let end = |index, name| {
            let mut message = LinkMessage::default();
            message.header.index = index;
            message.attributes.extend([LinkAttribute::IfName(name), LinkAttribute::GsoMaxSegs(1)]);
            message
        };
        let (index, name, bridge) = here;
        let (mut here, mut there) = (end(index, name), end(WIRE, there.to_owned()));
        there.attributes.push(LinkAttribute::NetNsFd(other.0.as_raw_fd()));
        let data = InfoData::Veth(InfoVeth::Peer(there));
        here.attributes.extend(bridge.map(LinkAttribute::Controller));
        let pair = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]);
        here.attributes.push(pair);
        let doing = "make a pair of interfaces";
        self.inside(|| change(RTM_NEWLINK, CREATE, &here))?.map_err(Error::network(doing))?;
        for (namespace, index) in [(self, index), (other, WIRE)] {
            namespace.inside(|| up(index))?.map_err(Error::network(doing))?;
        }
        Ok(())
    }

    /// Gives an interface an address and what is reachable with it.
    pub fn address(&self, interface: u32, net: IpNet) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.family = family(net.addr());
        message.header.prefix_len = net.prefix_len();
        message.header.index = interface;
        // Nobody else can have it: it may be used at once.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.extend([AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())]);
        self.inside(|| change(RTM_NEWADDR, CREATE, &message))?.map_err(Error::network("add an address"))
    }

    /// Routes a prefix through a router.
    pub fn route(&self, net: IpNet, via: IpAddr) -> Result<(), Error> {
        self.route_as(net, via, None)
    }

    /// As [`Self::route`]. `own`: the address that connections through it have here, if it is not the interface's.
    pub fn route_as(&self, net: IpNet, via: IpAddr, own: Option<IpAddr>) -> Result<(), Error> {
        let address = |address| match address {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        };
        let mut message = RouteMessage::default();
        message.header.address_family = family(via);
        message.header.destination_prefix_length = net.prefix_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Gateway(address(via)));
        message.attributes.extend(own.map(|own| RouteAttribute::PrefSource(address(own))));
        if net.prefix_len() > 0 {
            message.attributes.push(RouteAttribute::Destination(address(net.network())));
        }
        self.inside(|| change(RTM_NEWROUTE, CREATE, &message))?.map_err(Error::network("add a route"))
    }

    /// Makes one end of a VXLAN tunnel, an interface of index [`TUNNEL`]. `false`: this kernel has none.
    pub fn tunnel(&self, own: std::net::Ipv4Addr, other: std::net::Ipv4Addr) -> Result<bool, Error> {
        let data = InfoData::Vxlan(vec![
            InfoVxlan::Id(7),
            InfoVxlan::Local(own),
            InfoVxlan::Group(other),
            InfoVxlan::Port(VXLAN_PORT),
        ]);
        let mut message = LinkMessage::default();
        message.header.index = TUNNEL;
        message.attributes.extend([
            LinkAttribute::IfName("tunnel0".to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(data)]),
        ]);
        let made = self.inside(|| change(RTM_NEWLINK, CREATE, &message).and_then(|()| up(TUNNEL)))?;
        match made {
            Err(netlink::Error::Refused(error)) if error.raw_os_error() == Some(EOPNOTSUPP) => Ok(false),
            other => other.map(|()| true).map_err(Error::network("make a tunnel")),
        }
    }
}

const EOPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

fn on_thread<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    act: impl FnOnce() -> io::Result<T> + Send + 'scope,
) -> Result<io::Result<T>, Error> {
    let thread = thread::Builder::new().name("namespace".into()).spawn_scoped(scope, act);
    let joined = thread.map_err(Error::doing("start a thread"))?.join();
    joined.map_err(|_| Error::doing("finish a thread")(io::Error::other("it ended early")))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn up(interface: u32) -> Result<(), netlink::Error> {
    let mut message = LinkMessage::default();
    message.header.index = interface;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    change(RTM_NEWLINK, 0, &message)
}

fn change(kind: u16, flags: u16, message: &impl Emitable) -> Result<(), netlink::Error> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    Socket::open(NETLINK_ROUTE, 0)?.change(kind, flags, &bytes)
}
