//! The scratch world, the table in it, and one case after another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netglance_dbus::{
    cgroup::Tree,
    error::chain,
    kernel::{self, Judgement},
    onlink::Onlink,
    scope::Prefixes,
    verify::{self, Figures, Outcome, Payload, Report, Stray},
};

use super::{
    Error, Stop,
    cases::{self, Actor, Case},
    cgroups::{self, APP, CHILD, Cgroups},
    fault::Fault,
    forwarded, freed, meaning,
    namespace::{Namespace, TUNNEL, WIRE},
    peer::Peer,
    remotes::{self, Asked},
    running,
    traffic::Mover,
    wire::{Passed, Wire},
};
use crate::{
    books::{Doomed, Held},
    counting,
    nft::{
        Nft,
        key::Key,
        ruleset::{self, Counter, Internal, Redirected, SET_SIZE, TABLE},
    },
    redirects,
};

/// A figure that is wrong for so long, and doesn't move any more, stays wrong.
pub const SETTLED: Duration = Duration::from_millis(100);
/// How often it is looked.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The table that redirects.
pub const TRANSLATION: &str = "netglance-verify";
/// The loopback interface.
pub const LOOPBACK: u32 = 1;

/// Why a case over IPv6 was not tried.
pub const NO_IPV6: &str = "This host has no IPv6, so there is nothing to leave out or to count.";

/// Tries everything, the running table last. `program`: what is started to move bytes, with [`super::traffic::WORD`].
pub fn run(program: &Path, stop: &Stop) -> Result<Report, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let kernel = kernel::running();
    if let Judgement::Crashes(flaw) = kernel.judge() {
        return Err(Error::Dangerous(kernel.sentence(flaw)));
    }
    let begun = Instant::now();
    let mut cases = World::new(program, None)?.try_all(stop)?;
    cases.extend(forwarded::try_all(program, None, stop)?);
    cases.push(freed::try_one(None, stop)?);
    cases.push(running::compare(Path::new(running::SETUP))?);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        elapsed_s: begun.elapsed().as_secs_f64(),
        passed: cases.iter().all(|case| case.verdict != Outcome::Fail),
        cases,
    })
}

/// Bytes by cgroup, in the order of [`Counter::ALL`].
type Booked = HashMap<Key, [u64; 4]>;

/// The scratch world. Dropped, it is gone.
#[derive(Debug)]
pub struct World {
    program: PathBuf,
    fault: Option<Fault>,
    nft: Nft,
    held: Held,
    /// What counters had counted that were set back.
    reset: Booked,
    wire: Wire,
    _peer: Peer,
    host: Namespace,
    cgroups: Cgroups,
    /// Those of this process: nothing in them is of a case's doing.
    own: Vec<Key>,
    /// Where the cgroup tree is mounted: paths are told from it.
    mount: PathBuf,
    /// Paths of the scratch cgroups.
    names: HashMap<Key, String>,
    has_ipv6: bool,
    has_tunnel: bool,
    /// Packets may be translated, and the table knows it.
    translated: bool,
}

impl World {
    /// Makes it, and the table in it, with a fault if a test wants one.
    pub fn new(program: &Path, fault: Option<Fault>) -> Result<Self, Error> {
        let mount = Tree::open()?.mount().to_owned();
        let cgroups = Cgroups::new(&mount)?;
        let has_ipv6 = fs::exists("/proc/net/if_inet6").unwrap_or_default();
        let (host, peer) = (Namespace::new()?, Namespace::new()?);
        host.wire(&peer)?;
        address(&host, &peer, has_ipv6)?;
        let has_tunnel = tunnel(&host, &peer)?;
        let addresses: Vec<_> =
            cases::peer_addresses().into_iter().filter(|address| has_ipv6 || address.is_ipv4()).collect();
        let peer = Peer::serve(&[(&peer, &addresses)])?;
        let wire = host.inside(Wire::open)?.map_err(Error::doing("listen on the wire"))?;
        let levels = counting::levels(&Tree::open()?);
        let mut nft = make_table(&host, levels, fault)?;
        // As the helper's: what is forwarded is tried in a world of its own, which says so if it can't be.
        forwarded::count(&mut nft, fault)?;
        // Only the interface says of this one that it is the host's own: the table's prefixes are older.
        host.address(LOOPBACK, IpNet::from(cases::OWN_NEW))?;
        let mut world = Self {
            program: program.to_owned(),
            fault,
            nft,
            held: Held::default(),
            reset: Booked::new(),
            wire,
            _peer: peer,
            host,
            cgroups,
            own: cgroups::own(&mount).into_iter().map(Key::of).collect(),
            mount,
            names: HashMap::new(),
            has_ipv6,
            has_tunnel,
            translated: false,
        };
        world.learn_names()?;
        Ok(world)
    }

    /// Tries one case after the other. An error: it could not go on, or was stopped.
    pub fn try_all(&mut self, stop: &Stop) -> Result<Vec<verify::Case>, Error> {
        let mut movers: Vec<(Actor, Mover)> = Vec::new();
        let mut rows = Vec::new();
        let by_remote = self.fault.is_none_or(Fault::has_cases_by_remote);
        for case in cases::all().into_iter().filter(|case| by_remote || !case.by_remote) {
            stop.check()?;
            if let Some(why) = self.cannot_try(&case) {
                rows.push(row(&case, None, Outcome::Skipped, Some(why)));
                continue;
            }
            if !movers.iter().any(|(actor, _)| *actor == case.actor) {
                if case.actor == Actor::Restarted {
                    movers.clear();
                    self.cgroups.restart(APP)?;
                    self.learn_names()?;
                }
                let mover = Mover::start(&self.program, &self.host, &self.cgroups, case.actor.cgroup())?;
                movers.push((case.actor, mover));
            }
            if !self.begin_redirecting(&case)? {
                let why = "This kernel can't translate addresses with nf_tables, so redirecting could not be tested.";
                rows.push(row(&case, None, Outcome::Skipped, Some(why.to_owned())));
                continue;
            }
            if let Some((_, mover)) = movers.iter_mut().find(|(actor, _)| *actor == case.actor) {
                let tried = if case.by_remote {
                    self.try_by_remote(&case, mover, stop)
                } else {
                    self.try_one(&case, mover, stop)
                };
                rows.push(tried?);
            }
            self.end_redirecting(&case)?;
        }
        Ok(rows)
    }

    /// Does something inside the scratch host's network.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.host.inside(act)
    }

    /// The actor's cgroup.
    pub fn cgroup(&self, actor: Actor) -> PathBuf {
        self.cgroups.directory(actor.cgroup())
    }

    /// What the table booked to the actor's cgroup since it was made. It is asked anew.
    pub fn booked_to(&mut self, actor: Actor) -> Result<Figures, Error> {
        let key = self.key(actor.cgroup())?;
        Ok(figures(self.booked()?.get(&key).copied().unwrap_or_default()))
    }

    /// What went over the wire to and from an address, received and sent.
    pub fn passed(&mut self, address: IpAddr) -> Result<Payload, Error> {
        let Passed { from, to } = self.wire.passed(address).map_err(Error::doing("listen on the wire"))?;
        Ok(Payload { rx_bytes: from, tx_bytes: to })
    }

    /// Has a rule lead the case's packets elsewhere, and the table know of it as the helper's does. `false`: this kernel can't.
    fn begin_redirecting(&mut self, case: &Case) -> Result<bool, Error> {
        let Some(to) = case.redirected else { return Ok(true) };
        match self.nft.commit(&ruleset::translate(TRANSLATION, case.remote(), to)) {
            Err(error) if error.is_unsupported() || error.is_absent() => return Ok(false),
            other => other.map(drop)?,
        }
        if self.fault != Some(Fault::NotRedirected) {
            let found = self.host.inside(|| redirects::look(&BTreeSet::new()))?;
            let found = found.map_err(Error::network("find out what is redirected"))?;
            self.nft.redirect(&found)?;
            self.translated = found.translated;
        }
        Ok(true)
    }

    fn end_redirecting(&mut self, case: &Case) -> Result<(), Error> {
        if case.redirected.is_some() {
            self.nft.redirect(&Redirected::default())?;
            self.translated = false;
            self.nft.commit(&ruleset::delete_table(TRANSLATION))?;
        }
        Ok(())
    }

    fn cannot_try(&self, case: &Case) -> Option<String> {
        if case.remote().is_ipv6() && !self.has_ipv6 {
            return Some(NO_IPV6.to_owned());
        }
        (case.is_tunnelled() && !self.has_tunnel)
            .then(|| "This kernel has no VXLAN, so no tunnel could be made to test it.".to_owned())
    }

    /// Tries a case while somebody asks for the app's remotes.
    fn try_by_remote(&mut self, case: &Case, mover: &mut Mover, stop: &Stop) -> Result<verify::Case, Error> {
        let is_missing = self.fault == Some(Fault::NoRemotes);
        let mut cgroups = BTreeMap::new();
        for cgroup in [APP, CHILD].into_iter().filter(|_| !is_missing) {
            cgroups.insert(self.key(cgroup)?, self.level(cgroup));
        }
        let Some(asked) = Asked::begin(&mut self.nft, cgroups, self.translated)? else {
            let why = "This kernel can't count by remote, so that could not be tested.".to_owned();
            return Ok(row(case, None, Outcome::Skipped, Some(why)));
        };
        let mut tried = self.try_one(case, mover, stop)?;
        if let (Outcome::Pass, Some(counted)) = (tried.verdict, tried.counted) {
            let moved = [counted.rx_bytes + counted.internal_rx_bytes, counted.tx_bytes + counted.internal_tx_bytes];
            let key = self.key(case.actor.cgroup())?;
            tried.meaning = remotes::difference(&mut self.nft, case, key, moved)?;
        }
        let left = asked.end(&mut self.nft, self.fault == Some(Fault::RemotesStay))?;
        tried.meaning = tried.meaning.or(left.map(|text| format!("{}, {}: {text}", case.name, case.actor_name())));
        if tried.meaning.is_some() {
            tried.verdict = Outcome::Fail;
        }
        Ok(tried)
    }

    /// The depth of a cgroup, counted from the root.
    fn level(&self, cgroup: &str) -> u8 {
        let directory = self.cgroups.directory(cgroup);
        let below = directory.strip_prefix(&self.mount).unwrap_or(&directory);
        u8::try_from(below.components().count()).unwrap_or(u8::MAX)
    }

    fn try_one(&mut self, case: &Case, mover: &mut Mover, stop: &Stop) -> Result<verify::Case, Error> {
        let key = self.key(case.actor.cgroup())?;
        let (before, passed_before) = (self.booked()?, self.passed(case.on_wire())?);
        if case.is_reset && !self.host.inside(Nft::open)??.reset_counters()? {
            let why = "This kernel (before 6.5) can't reset such counters, so no program can do it.".to_owned();
            return Ok(row(case, None, Outcome::Skipped, Some(why)));
        }
        match mover.run(&case.task, stop) {
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                let why =
                    format!("{}: the bytes could not be moved, so nothing is proved. {}", case.name, chain(&error));
                return Ok(row(case, None, Outcome::Fail, Some(why)));
            }
            Ok(()) => {}
        }
        let mut still_since = (Instant::now(), Booked::new());
        loop {
            let now = self.booked()?;
            let expected = self.expected(case, passed_before)?;
            let (counted, strays) = self.since(case, &before, &now, key);
            let done = matches!(&expected, Ok(expected) if *expected == counted) && strays.is_empty();
            if now != still_since.1 {
                still_since = (Instant::now(), now);
            }
            if done || still_since.0.elapsed() > SETTLED {
                let cgroup = self.names.get(&key).map(String::as_str).unwrap_or_default();
                let (expected, meaning) = match expected {
                    Ok(expected) => (expected, meaning::of_failure(case, cgroup, &expected, &counted, &strays)),
                    Err((expected, why)) => (expected, Some(why)),
                };
                let verdict = if meaning.is_none() { Outcome::Pass } else { Outcome::Fail };
                return Ok(row(case, Some((expected, counted, strays)), verdict, meaning));
            }
            stop.check()?;
            thread::sleep(LOOK_EVERY);
        }
    }

    /// What should be booked: the wire's bytes, and where the payload says how many those must be, both have to agree.
    fn expected(&mut self, case: &Case, before: Payload) -> Result<Result<Figures, (Figures, String)>, Error> {
        if let (Some(own), true) = (case.packets(), case.is_own()) {
            return Ok(Ok(case.figures(own.rx_bytes, own.tx_bytes)));
        }
        let passed = self.passed(case.on_wire())?;
        let (rx, tx) = (passed.rx_bytes - before.rx_bytes, passed.tx_bytes - before.tx_bytes);
        let figures = case.figures(rx, tx);
        let sent = case.sent();
        let plausible = match case.packets() {
            Some(packets) => packets == Payload { rx_bytes: rx, tx_bytes: tx },
            None => rx > sent.rx_bytes && tx > sent.tx_bytes,
        };
        if plausible {
            return Ok(Ok(figures));
        }
        Ok(Err((
            figures,
            format!(
                "{}: the wire saw {rx} bytes received and {tx} sent, which does not match what was moved; the check itself \
                 failed and nothing is proved. Packets may have been lost: try again when the computer is less busy.",
                case.name
            ),
        )))
    }

    /// What was booked between two looks: to the actor's cgroup, and to others.
    fn since(&self, case: &Case, before: &Booked, now: &Booked, own: Key) -> (Figures, Vec<Stray>) {
        let mut counted = Figures::default();
        let mut strays = Vec::new();
        for (key, booked) in now {
            let earlier = before.get(key).copied().unwrap_or_default();
            let moved = figures(std::array::from_fn(|i| booked[i].saturating_sub(earlier[i])));
            if *key == own {
                counted = moved;
            } else if moved != Figures::default() && !self.own.contains(key) {
                let cgroup = self.names.get(key).cloned().unwrap_or_else(|| "another cgroup of this host".to_owned());
                strays.push(Stray { cgroup, counted: moved });
            }
        }
        if let Some(fault) = self.fault {
            fault.falsify(case, case.sent(), &mut counted);
        }
        (counted, strays)
    }

    fn key(&self, cgroup: &str) -> Result<Key, Error> {
        Ok(Key::of(self.cgroups.id(cgroup)?))
    }

    fn booked(&mut self) -> Result<Booked, Error> {
        let (mut booked, mut elements) = (Booked::new(), Vec::new());
        for counter in Counter::ALL {
            // Nobody else changes the ruleset of this namespace, so that no dump is disturbed.
            self.nft.read(counter, &mut elements)?;
            self.held.take_in(counter, &elements);
            for element in &elements {
                booked.entry(element.key).or_default()[counter as usize] = element.bytes;
            }
        }
        for Doomed { counter, key, bytes } in self.held.take_reset() {
            self.reset.entry(key).or_default()[counter as usize] += bytes;
        }
        for (key, before) in &self.reset {
            let row = booked.entry(*key).or_default();
            *row = std::array::from_fn(|i| row[i].saturating_add(before[i]));
        }
        Ok(booked)
    }

    fn learn_names(&mut self) -> Result<(), Error> {
        for actor in [Actor::App, Actor::Child, Actor::Bystander] {
            let mut below = Some(Path::new(actor.cgroup()));
            while let Some(path) = below.and_then(Path::to_str) {
                if fs::exists(self.cgroups.directory(path)).unwrap_or_default() {
                    let directory = self.cgroups.directory(path);
                    let name = directory.strip_prefix(&self.mount).unwrap_or(&directory);
                    self.names.insert(self.key(path)?, format!("/{}", name.display()).trim_end_matches('/').to_owned());
                }
                below = below.and_then(Path::parent);
            }
        }
        Ok(())
    }
}

/// Bytes in the order of [`Counter::ALL`].
pub fn figures([rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes]: [u64; 4]) -> Figures {
    Figures { rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes }
}

fn row(
    case: &Case,
    bytes: Option<(Figures, Figures, Vec<Stray>)>,
    verdict: Outcome,
    meaning: Option<String>,
) -> verify::Case {
    let (expected, counted, strays) =
        bytes.map_or((None, None, Vec::new()), |(expected, counted, strays)| (Some(expected), Some(counted), strays));
    verify::Case {
        case: case.name.to_owned(),
        actor: case.actor_name(),
        sent: Some(case.sent()),
        expected,
        counted,
        strays,
        verdict,
        meaning,
    }
}

/// The addresses of both sides, and the host's routes to what is beyond its links.
fn address(host: &Namespace, peer: &Namespace, has_ipv6: bool) -> Result<(), Error> {
    let linked = [
        (cases::HOST_LAN4, cases::PEER_LAN4, 24),
        (cases::HOST_LINK4, cases::PEER_LINK4, 16),
        (cases::HOST_LAN6, cases::PEER_LAN6, 64),
        (cases::HOST_LINK6, cases::PEER_LINK6, 64),
    ];
    let wanted = |address: &IpAddr| has_ipv6 || address.is_ipv4();
    for (here, there, length) in linked.into_iter().filter(|(here, ..)| wanted(here)) {
        for (namespace, address) in [(host, here), (peer, there)] {
            let net = IpNet::new(address, length).map_err(io::Error::other).map_err(Error::doing("write a prefix"))?;
            namespace.address(WIRE, net)?;
        }
    }
    host.address(WIRE, IpNet::from(cases::OWN_PUBLIC))?;
    for address in cases::ROUTED.into_iter().filter(wanted) {
        peer.address(LOOPBACK, IpNet::from(address))?;
        if address != cases::BEHIND_TUNNEL {
            host.route(IpNet::from(address), if address.is_ipv4() { cases::PEER_LAN4 } else { cases::PEER_LAN6 })?;
        }
    }
    if has_ipv6 {
        for address in [cases::CAPTURED6, cases::SERVICE6] {
            host.route(IpNet::from(address), cases::PEER_LAN6)?;
        }
    }
    // To groups that nobody has joined, from the interface that has a route to them.
    host.route(IpNet::V4(ipnet::Ipv4Net::default()), cases::PEER_LAN4)
}

/// A tunnel with a public address behind it. `false`: this kernel can't make one.
fn tunnel(host: &Namespace, peer: &Namespace) -> Result<bool, Error> {
    let [here, there] = cases::TUNNEL_ENDS;
    let sides = [(host, here, there, cases::TUNNEL_INSIDE[0]), (peer, there, here, cases::TUNNEL_INSIDE[1])];
    for (namespace, own, other, inside) in sides {
        let failed = |_| Error::doing("write a prefix")(io::ErrorKind::InvalidInput.into());
        namespace.address(WIRE, IpNet::new(own.into(), 24).map_err(failed)?)?;
        if !namespace.tunnel(own, other)? {
            return Ok(false);
        }
        namespace.address(TUNNEL, IpNet::new(inside, 24).map_err(failed)?)?;
    }
    host.route(IpNet::from(cases::BEHIND_TUNNEL), cases::TUNNEL_INSIDE[1])?;
    Ok(true)
}

/// The helper's own ruleset, from this namespace's own routing table.
pub fn make_table(host: &Namespace, levels: u8, fault: Option<Fault>) -> Result<Nft, Error> {
    let onlink = host.inside(|| Onlink::open()?.changed())?.map_err(Error::network("read the routing table"))?;
    let exceptions: Vec<_> = match fault {
        Some(Fault::NoPrefix(net)) => vec![net],
        _ => Vec::new(),
    };
    let prefixes = Prefixes::new(&onlink.unwrap_or_default(), &[], &exceptions);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let make = |levels| ruleset::create(TABLE, levels, SET_SIZE, Internal { v4: &v4, v6: &v6 });
    let mut batch = make(levels);
    if let Some(fault) = fault {
        fault.alter(&mut batch, make);
    }
    let mut nft = host.inside(Nft::open)??;
    nft.commit(&batch)?;
    Ok(nft)
}
