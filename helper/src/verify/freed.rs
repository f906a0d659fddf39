//! Whether the kernel frees a socket that a rule has looked up in vain ([`LEAK`]). One that it keeps would keep its network
//! namespace as well, and with it one end of a pair of interfaces; the other end shows whether it has gone.

use std::{
    fs, io,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netglance_dbus::{
    cgroup::Tree,
    kernel::LEAK,
    verify::{Case, Outcome},
};

use super::{
    Error, Stop,
    cases::{HOST_LAN4, PEER_LAN4},
    fault::Fault,
    namespace::{Namespace, WIRE},
    traffic::{PATIENCE, PORT},
    world::make_table,
};
use crate::counting;

/// The kernel takes namespaces away in the order in which they were left, and sockets a moment after they were closed.
const GRACE: Duration = Duration::from_secs(2);
/// A busy computer takes its time.
const LONGEST: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What [`Namespace::wire`] calls the other end.
const OTHER_END: &str = "wire1:";

/// A row of the report: two sockets receive and are closed, one of them under the table's rules.
pub fn try_one(fault: Option<Fault>, stop: &Stop) -> Result<Case, Error> {
    let (other_end, socket) = receive(true)?;
    // One that stays open is kept as one that leaks would be.
    let _open = (fault == Some(Fault::Leak)).then_some(socket);
    let (plain, socket) = receive(false)?;
    drop(socket);
    let begun = Instant::now();
    let mut plain_gone = None;
    let (verdict, meaning) = loop {
        if is_gone(&other_end)? {
            break (Outcome::Pass, None);
        }
        if plain_gone.is_none() && is_gone(&plain)? {
            plain_gone = Some(Instant::now());
        }
        if plain_gone.is_some_and(|gone| gone.elapsed() > GRACE) {
            break (Outcome::Fail, Some(meaning()));
        }
        if begun.elapsed() > LONGEST {
            let why = "The kernel did not remove a scratch network without rules either, so this could not be tested.";
            break (Outcome::Skipped, Some(why.to_owned()));
        }
        stop.check()?;
        thread::sleep(LOOK_EVERY);
    };
    Ok(Case::without_figures("A closed UDP socket is freed", "the kernel", verdict, meaning))
}

/// In a network of its own, with the table if wanted: an unconnected socket gets a datagram. The table has a level that the
/// socket's cgroup lacks. Left are the sender's network, and the socket.
fn receive(has_table: bool) -> Result<(Namespace, UdpSocket), Error> {
    let (here, there) = (Namespace::new()?, Namespace::new()?);
    here.wire(&there)?;
    for (namespace, address) in [(&here, HOST_LAN4), (&there, PEER_LAN4)] {
        let net = IpNet::new(address, 24).map_err(io::Error::other).map_err(Error::doing("write a prefix"))?;
        namespace.address(WIRE, net)?;
    }
    let table = has_table.then(|| make_table(&here, counting::levels(&Tree::open()?), None)).transpose()?;
    let failed = Error::doing("send a datagram to a scratch network");
    let receiver = here.inside(|| UdpSocket::bind((HOST_LAN4, PORT)))?.map_err(&failed)?;
    let sender = there.inside(|| UdpSocket::bind((PEER_LAN4, PORT)))?.map_err(&failed)?;
    receiver.set_read_timeout(Some(PATIENCE)).map_err(&failed)?;
    sender.send_to(&[7; 32], (HOST_LAN4, PORT)).map_err(&failed)?;
    receiver.recv(&mut [0; 64]).map_err(&failed)?;
    drop(table);
    Ok((there, receiver))
}

fn is_gone(there: &Namespace) -> Result<bool, Error> {
    let interfaces = there.inside(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
    Ok(!interfaces.map_err(Error::doing("list interfaces"))?.contains(OTHER_END))
}

fn meaning() -> String {
    format!(
        "The kernel kept a UDP socket and its whole scratch network after they were closed. While exact counting runs, {}. Linux {} \
         have the fix ({}): update the kernel, or turn exact counting off.",
        LEAK.what,
        LEAK.fixed_in(),
        LEAK.names()
    )
}
