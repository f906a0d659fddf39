//! What is forwarded: two scratch namespaces behind bridges of a scratch host, as container engines make them, beside an app of the
//! host's own. What should be booked comes from packet sockets in the containers.

use std::{
    any::Any,
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    thread,
    time::Instant,
};

use ipnet::{IpNet, Ipv6Net};
use netglance_dbus::{
    cgroup::Tree,
    error::chain,
    scope::Scope::{self, External, Internal},
    verify::{Case, Figures, Outcome, Payload, Stray},
};

use super::{
    Error, Stop,
    cases::{
        HOST_LAN4, HOST_LAN6, HOST_LINK6, OWN_PUBLIC, PEER_LAN4, PEER_LAN6, PEER_LINK6, PUBLIC4, PUBLIC6, figures_of,
        tcp, udp,
    },
    cgroups::{self, APP, BYSTANDER, Cgroups},
    fault::Fault,
    meaning,
    namespace::{Namespace, WIRE},
    peer::Peer,
    traffic::{Mover, PORT, Task},
    wire::Wire,
    world::{LOOK_EVERY, LOOPBACK, NO_IPV6, SETTLED, TRANSLATION, figures, make_table},
};
use crate::{
    counting,
    forwarded::Forwarded,
    nft::{
        Nft,
        key::Key,
        ruleset::{self, Counter, ForwardedSet, TABLE},
    },
};

/// The containers' addresses, and those of the bridges to them. The first has a public IPv6 address, and nobody translates it.
const FIRST4: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
const FIRST_BRIDGE4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));
const FIRST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x4860, 2, 0, 0, 0, 0, 2);
const FIRST_BRIDGE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 2, 0, 0, 0, 0, 1));
const SECOND4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 18, 0, 2));
const SECOND_BRIDGE4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 18, 0, 1));
/// Another public address of the peer, for the app alone.
const FOR_APP: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 36));
/// The bridges' indices in the host; the ports have the ones after them.
const BRIDGES: [u32; 2] = [11, 21];
/// The published port.
const PUBLISHED: u16 = 8002;

/// Whose bytes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Container,
    Other,
    App,
}

impl Who {
    /// In words.
    const fn name(self) -> &'static str {
        match self {
            Self::Container => "a container",
            Self::Other => "another container",
            Self::App => "the app",
        }
    }
}

/// Where a process moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Container,
    Host,
    Outside,
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    who: Who,
    remote: IpAddr,
    scope: Scope,
    sent: Payload,
    /// See [`Task::packets`].
    packets: Option<Payload>,
}

/// What is moved at once.
#[derive(Clone, Debug)]
struct Trial {
    moves: Vec<(Place, Task)>,
    rows: Vec<Row>,
    /// Addresses are translated.
    by_nat: bool,
}

fn all() -> Vec<Trial> {
    let row = |name, who, task: &Task, scope| Row {
        name,
        who,
        remote: task.remote(),
        scope,
        sent: task.sent(),
        packets: task.packets(),
    };
    // Who answers receives what the other one sends.
    let turned = |Payload { rx_bytes, tx_bytes }| Payload { rx_bytes: tx_bytes, tx_bytes: rx_bytes };
    let answering = |name, who, task: &Task, remote, scope| Row {
        remote,
        sent: turned(task.sent()),
        ..row(name, who, task, scope)
    };
    let one = |name, task, scope, by_nat| Trial {
        moves: vec![(Place::Container, task)],
        rows: vec![row(name, Who::Container, &task, scope)],
        by_nat,
    };
    let published = Task::Tcp { to: SocketAddr::new(OWN_PUBLIC, PUBLISHED), up: 60_000, down: 250_000 };
    let (to_other, out, own) = (tcp(SECOND4), tcp(PUBLIC4), tcp(FOR_APP));
    vec![
        one("IPv4 behind NAT, TCP", tcp(PUBLIC4), External, true),
        one("IPv4 behind NAT, UDP", udp(PUBLIC4), External, true),
        Trial {
            moves: vec![(Place::Outside, published)],
            rows: vec![answering("A published port from outside, TCP", Who::Container, &published, PUBLIC4, External)],
            by_nat: true,
        },
        one("Public IPv6, routed, UDP", udp(PUBLIC6), External, false),
        one("The LAN over IPv4, TCP", tcp(PEER_LAN4), Internal, true),
        Trial {
            moves: vec![(Place::Container, to_other)],
            rows: vec![
                row("A container behind another bridge, TCP", Who::Container, &to_other, Internal),
                answering("A container behind another bridge, TCP", Who::Other, &to_other, FIRST4.into(), Internal),
            ],
            by_nat: false,
        },
        Trial {
            moves: vec![(Place::Container, out), (Place::Host, own)],
            rows: vec![
                row("Public IPv4, TCP, beside the app", Who::Container, &out, External),
                row("Public IPv4, TCP, beside a container", Who::App, &own, External),
            ],
            by_nat: true,
        },
    ]
}

/// Whose a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Cgroup(Key),
    Address(IpAddr),
}

type Booked = BTreeMap<Whose, Figures>;

/// Has a table count what is forwarded. `false`: this kernel can't.
pub fn count(nft: &mut Nft, fault: Option<Fault>) -> Result<bool, Error> {
    let made = match fault {
        Some(fault) => {
            let mut batch = ruleset::count_forwarded(TABLE, false);
            fault.alter_forwarded(&mut batch);
            nft.commit(&batch).map(drop)
        }
        None => nft.count_forwarded(),
    };
    match made {
        Err(error) if error.is_unsupported() || error.is_absent() => Ok(false),
        made => Ok(made.map(|()| true)?),
    }
}

/// Rows of the report, by whose they are. `program`: see [`super::run`].
pub fn try_all(program: &Path, fault: Option<Fault>, stop: &Stop) -> Result<Vec<Case>, Error> {
    let has_ipv6 = fs::exists("/proc/net/if_inet6").unwrap_or_default();
    let mut world = World::new(program, fault, has_ipv6)?;
    let mut cases = Vec::new();
    for trial in all() {
        stop.check()?;
        let why = match &world {
            Err(why) => Some(*why),
            Ok(_) if !has_ipv6 && trial.rows.iter().any(|row| row.remote.is_ipv6()) => Some(NO_IPV6),
            Ok(world) if trial.by_nat && !world.has_nat => Some(NO_NAT),
            Ok(_) => None,
        };
        match (&mut world, why) {
            (Ok(world), None) => cases.extend(world.try_one(&trial, stop)?),
            (_, why) => {
                let skipped = |row: &Row| case(row, None, Outcome::Skipped, why.map(str::to_owned));
                cases.extend(trial.rows.iter().map(|row| (row.who, skipped(row))));
            }
        }
    }
    cases.sort_by_key(|(who, _)| *who);
    Ok(cases.into_iter().map(|(_, case)| case).collect())
}

const NO_NAT: &str = "This kernel can't translate addresses with nf_tables, so this could not be tested.";
const NO_BRIDGE: &str = "This kernel has no network bridges, so no container could be imitated to test it.";
const NO_FORWARDING: &str =
    "This computer does not let a scratch network forward packets, so this could not be tested.";
const NOT_COUNTED: &str =
    "This kernel can't count what is forwarded for containers and virtual machines, so there is nothing to test.";

/// Dropped, it is gone.
#[derive(Debug)]
struct World {
    nft: Nft,
    has_nat: bool,
    movers: BTreeMap<Place, Mover>,
    wires: BTreeMap<Who, Wire>,
    _served: Peer,
    app: Key,
    /// Those of this process: nothing in them is of a case's doing.
    own: Vec<Key>,
    cgroups: Cgroups,
}

impl World {
    /// Makes it; or says why there can be none here.
    fn new(program: &Path, fault: Option<Fault>, has_ipv6: bool) -> Result<Result<Self, &'static str>, Error> {
        let tree = Tree::open()?;
        let (host, peer) = (Namespace::new()?, Namespace::new()?);
        let containers = [Namespace::new()?, Namespace::new()?];
        host.wire(&peer)?;
        for (bridge, container) in BRIDGES.into_iter().zip(&containers) {
            if !host.bridge(bridge, container)? {
                return Ok(Err(NO_BRIDGE));
            }
        }
        if host.inside(|| forward(has_ipv6))?.is_err() {
            return Ok(Err(NO_FORWARDING));
        }
        address(&host, &peer, &containers, has_ipv6)?;
        let mut nft = make_table(&host, counting::levels(&tree), fault)?;
        if !count(&mut nft, fault)? {
            return Ok(Err(NOT_COUNTED));
        }
        let has_nat = match nft.commit(&ruleset::containers(TRANSLATION, WIRE, PUBLISHED, FIRST4)) {
            Err(error) if error.is_unsupported() || error.is_absent() => false,
            other => other.map(|_| true)?,
        };
        let [first, second] = &containers;
        let public6 = has_ipv6.then_some(PUBLIC6);
        let outside =
            [PEER_LAN4, PUBLIC4, FOR_APP].into_iter().chain(public6).map(|address| SocketAddr::new(address, PORT));
        let served = Peer::serve(&[
            (&peer, &outside.collect::<Vec<_>>()),
            (first, &[SocketAddr::new(FIRST4.into(), PUBLISHED)]),
            (second, &[SocketAddr::new(SECOND4, PORT)]),
        ])?;
        let mut wires = BTreeMap::new();
        for (who, namespace) in [(Who::Container, first), (Who::Other, second), (Who::App, &host)] {
            wires.insert(who, namespace.inside(Wire::open)?.map_err(Error::doing("listen on the wire"))?);
        }
        let cgroups = Cgroups::new(tree.mount())?;
        let places =
            [(Place::Container, first, BYSTANDER), (Place::Host, &host, APP), (Place::Outside, &peer, BYSTANDER)];
        let start = |(place, namespace, below)| Ok((place, Mover::start(program, namespace, &cgroups, below)?));
        // At once: the kernel takes its time to move a process to another cgroup.
        let movers = thread::scope(|scope| {
            let threads: Vec<_> = places.map(|place| scope.spawn(move || start(place))).into_iter().collect();
            threads.into_iter().map(|thread| thread.join().map_err(ended_early)?).collect::<Result<_, Error>>()
        })?;
        let app = Key::of(cgroups.id(APP)?);
        let own = cgroups::own(tree.mount()).into_iter().map(Key::of).collect();
        Ok(Ok(Self { nft, has_nat, movers, wires, _served: served, app, own, cgroups }))
    }

    fn try_one(&mut self, trial: &Trial, stop: &Stop) -> Result<Vec<(Who, Case)>, Error> {
        let (before, passed_before) = (self.booked()?, self.passed(trial)?);
        match self.move_bytes(trial, stop) {
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                let failed = |row: &Row| {
                    let why = "the bytes could not be moved, so nothing is proved.";
                    let why = format!("{}, {}: {why} {}", row.name, row.who.name(), chain(&error));
                    (row.who, case(row, None, Outcome::Fail, Some(why)))
                };
                return Ok(trial.rows.iter().map(failed).collect());
            }
            Ok(()) => {}
        }
        let mut still_since = (Instant::now(), Booked::new());
        loop {
            let (now, passed) = (self.booked()?, self.passed(trial)?);
            let moved: Booked = now
                .iter()
                .map(|(whose, figures)| (*whose, less(*figures, before.get(whose).copied().unwrap_or_default())))
                .filter(|(_, figures)| *figures != Figures::default())
                .collect();
            let strays = self.strays(trial, &moved);
            let judged: Vec<_> = trial
                .rows
                .iter()
                .zip(passed.iter().zip(&passed_before))
                .map(|(row, (passed, before))| {
                    let (rx, tx) = (passed.rx_bytes - before.rx_bytes, passed.tx_bytes - before.tx_bytes);
                    let counted = moved.get(&self.whose(row)).copied().unwrap_or_default();
                    (row, rx, tx, counted)
                })
                .collect();
            let done = judged.iter().all(|(row, rx, tx, counted)| figures_of(row.scope, *rx, *tx) == *counted);
            if now != still_since.1 {
                still_since = (Instant::now(), now);
            }
            if done && strays.is_empty() || still_since.0.elapsed() > SETTLED {
                let judge = |(row, rx, tx, counted): (&Row, _, _, _)| (row.who, judge(row, [rx, tx], counted, &strays));
                return Ok(judged.into_iter().map(judge).collect());
            }
            stop.check()?;
            thread::sleep(LOOK_EVERY);
        }
    }

    /// All of the trial's processes at once.
    fn move_bytes(&mut self, trial: &Trial, stop: &Stop) -> Result<(), Error> {
        let busy = self.movers.iter_mut().filter_map(|(place, mover)| {
            let (_, task) = trial.moves.iter().find(|(at, _)| at == place)?;
            Some((mover, task))
        });
        thread::scope(|scope| {
            let threads: Vec<_> = busy.map(|(mover, task)| scope.spawn(move || mover.run(task, stop))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(ended_early)?)
        })
    }

    /// What went over each row's wire to and from its remote, received and sent.
    fn passed(&mut self, trial: &Trial) -> Result<Vec<Payload>, Error> {
        let mut all = Vec::new();
        for row in &trial.rows {
            let passed = self.wires.get_mut(&row.who).map(|wire| wire.passed(row.remote)).transpose();
            let passed = passed.map_err(Error::doing("listen on the wire"))?.unwrap_or_default();
            all.push(Payload { rx_bytes: passed.from, tx_bytes: passed.to });
        }
        Ok(all)
    }

    fn booked(&mut self) -> Result<Booked, Error> {
        let (mut cgroups, mut elements) = (BTreeMap::<Key, [u64; 4]>::new(), Vec::new());
        for counter in Counter::ALL {
            self.nft.read(counter, &mut elements)?;
            for element in &elements {
                cgroups.entry(element.key).or_default()[counter as usize] = element.bytes;
            }
        }
        let mut forwarded = Forwarded::default();
        for set in ForwardedSet::all() {
            self.nft.read_forwarded(set, |address, bytes| forwarded.take_in(set, address, bytes))?;
        }
        let addresses = forwarded.rows().into_iter().map(|row| {
            let bytes = [row.rx_bytes, row.tx_bytes, row.internal_rx_bytes, row.internal_tx_bytes];
            (Whose::Address(row.address), figures(bytes))
        });
        let cgroups = cgroups.into_iter().filter(|(key, _)| !self.own.contains(key));
        Ok(cgroups.map(|(key, bytes)| (Whose::Cgroup(key), figures(bytes))).chain(addresses).collect())
    }

    fn whose(&self, row: &Row) -> Whose {
        match row.who {
            Who::Container if row.remote.is_ipv6() => Whose::Address(FIRST6.into()),
            Who::Container => Whose::Address(FIRST4.into()),
            Who::Other => Whose::Address(SECOND4),
            Who::App => Whose::Cgroup(self.app),
        }
    }

    fn strays(&self, trial: &Trial, moved: &Booked) -> Vec<Stray> {
        let is_row = |whose: &Whose| trial.rows.iter().any(|row| self.whose(row) == *whose);
        let name = |whose: &Whose| match whose {
            Whose::Cgroup(key) if *key == self.app => self.cgroups.directory(APP).display().to_string(),
            Whose::Cgroup(_) => "another cgroup of this host".to_owned(),
            Whose::Address(address) => format!("a container with the address {address}"),
        };
        // The wire is a pair of such interfaces itself, so that the peer in the LAN looks like a container too.
        let strays = moved.iter().filter(|(whose, _)| !is_row(whose) && **whose != Whose::Address(PEER_LAN4));
        strays.map(|(whose, counted)| Stray { cgroup: name(whose), counted: *counted }).collect()
    }
}

/// The row of the report. What should be booked: the wire's bytes, and where the payload says how many those must be, both have to
/// agree.
fn judge(row: &Row, [rx, tx]: [u64; 2], counted: Figures, strays: &[Stray]) -> Case {
    let expected = figures_of(row.scope, rx, tx);
    let plausible = match row.packets {
        Some(packets) => packets == Payload { rx_bytes: rx, tx_bytes: tx },
        None => rx > row.sent.rx_bytes && tx > row.sent.tx_bytes,
    };
    let why = if plausible {
        meaning::of_forwarded(row.scope, row.remote, [&expected, &counted], strays)
    } else {
        Some(format!(
            "the wire saw {rx} bytes received and {tx} sent, which does not match what was moved; the check itself failed and \
             nothing is proved. Packets may have been lost: try again when the computer is less busy."
        ))
    };
    let verdict = if why.is_none() { Outcome::Pass } else { Outcome::Fail };
    let why = why.map(|why| format!("{}, {}: {why}", row.name, row.who.name()));
    case(row, Some((expected, counted, strays.to_vec())), verdict, why)
}

fn case(row: &Row, bytes: Option<(Figures, Figures, Vec<Stray>)>, verdict: Outcome, meaning: Option<String>) -> Case {
    let mut case = Case::without_figures(row.name, row.who.name(), verdict, meaning);
    case.sent = Some(row.sent);
    if let Some((expected, counted, strays)) = bytes {
        (case.expected, case.counted, case.strays) = (Some(expected), Some(counted), strays);
    }
    case
}

fn less(now: Figures, before: Figures) -> Figures {
    Figures {
        rx_bytes: now.rx_bytes.saturating_sub(before.rx_bytes),
        tx_bytes: now.tx_bytes.saturating_sub(before.tx_bytes),
        internal_rx_bytes: now.internal_rx_bytes.saturating_sub(before.internal_rx_bytes),
        internal_tx_bytes: now.internal_tx_bytes.saturating_sub(before.internal_tx_bytes),
    }
}

/// Has the network of the calling thread forward packets.
fn forward(has_ipv6: bool) -> io::Result<()> {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    if has_ipv6 { fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1") } else { Ok(()) }
}

/// The addresses of all, and their routes.
fn address(host: &Namespace, peer: &Namespace, [first, second]: &[Namespace; 2], has_ipv6: bool) -> Result<(), Error> {
    let failed = |_| Error::doing("write a prefix")(io::ErrorKind::InvalidInput.into());
    // Neighbours are asked for from link-local addresses, and those that the kernel makes are of no use for a second or two.
    let addresses = [
        (host, WIRE, HOST_LAN4, 24),
        (peer, WIRE, PEER_LAN4, 24),
        (host, WIRE, HOST_LAN6, 64),
        (peer, WIRE, PEER_LAN6, 64),
        (host, WIRE, HOST_LINK6, 64),
        (peer, WIRE, PEER_LINK6, 64),
        (host, WIRE, OWN_PUBLIC, 32),
        (peer, LOOPBACK, PUBLIC4, 32),
        (peer, LOOPBACK, FOR_APP, 32),
        (peer, LOOPBACK, PUBLIC6, 128),
        (host, BRIDGES[0], FIRST_BRIDGE4, 16),
        (first, WIRE, FIRST4.into(), 16),
        (host, BRIDGES[0], FIRST_BRIDGE6, 64),
        (first, WIRE, FIRST6.into(), 64),
        (host, BRIDGES[0], HOST_LINK6, 64),
        (first, WIRE, PEER_LINK6, 64),
        (host, BRIDGES[1], SECOND_BRIDGE4, 16),
        (second, WIRE, SECOND4, 16),
    ];
    for (namespace, interface, address, length) in addresses {
        if has_ipv6 || address.is_ipv4() {
            namespace.address(interface, IpNet::new(address, length).map_err(failed)?)?;
        }
    }
    let everywhere = IpNet::V4(ipnet::Ipv4Net::default());
    host.route(everywhere, PEER_LAN4)?;
    first.route(everywhere, FIRST_BRIDGE4)?;
    second.route(everywhere, SECOND_BRIDGE4)?;
    // Whoever comes to the published port comes from outside.
    peer.route_as(IpNet::from(OWN_PUBLIC), HOST_LAN4, Some(PUBLIC4))?;
    if has_ipv6 {
        host.route(IpNet::from(PUBLIC6), PEER_LAN6)?;
        first.route(IpNet::V6(Ipv6Net::default()), FIRST_BRIDGE6)?;
        peer.route(IpNet::new(FIRST6.into(), 64).map_err(failed)?.trunc(), HOST_LAN6)?;
    }
    Ok(())
}

fn ended_early(_: Box<dyn Any + Send>) -> Error {
    Error::doing("finish a thread")(io::Error::other("it ended early"))
}
