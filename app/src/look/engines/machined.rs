//! The machines of systemd-machined, with which systemd-nspawn registers its containers (and libvirt its virtual machines, whose
//! addresses are not known here).
//!
//! machined is never started for this. It asks a container itself for its addresses, and a container has them some time after it
//! started. So it is asked a few times after each start, and whenever there is an address that nobody names.

use std::{net::IpAddr, time::Duration};

use futures_lite::{StreamExt as _, future::poll_once};
use tokio::time::{sleep, timeout};
use zbus::{
    Connection, MatchRule, MessageStream, OwnedObjectPath, Proxy, connection,
    fdo::DBusProxy,
    message,
    proxy::{Builder, CacheProperties},
};

use super::{Engine, Holder, State, Teller};

/// Its bus name.
pub const NAME: &str = "org.freedesktop.machine1";
const PATH: &str = "/org/freedesktop/machine1";
const MANAGER: &str = "org.freedesktop.machine1.Manager";
/// An answer about all machines that comes later than this doesn't come.
const PATIENCE: Duration = Duration::from_secs(5);
const TOGETHER: Duration = Duration::from_millis(200);
/// So many machines are asked for.
const MOST_MACHINES: usize = 256;
/// After a machine has started, all are asked again after this time, and so often, each time after four times as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const MOST_WAITS: u32 = 4;

/// Name, class, service, path.
type Machine = (String, String, String, OwnedObjectPath);

/// Follows the machines, and tells them.
pub async fn follow(bus: String, mut teller: Teller) {
    loop {
        teller.begin();
        let connecting = async { connection::Builder::address(bus.as_str()).build().await };
        if let Ok(Ok(system)) = timeout(PATIENCE, connecting).await {
            // An error is a bus that is gone.
            _ = follow_bus(&system, &mut teller).await;
        }
        teller.tell(State::Absent);
        teller.asked().await;
    }
}

async fn follow_bus(system: &Connection, teller: &mut Teller) -> zbus::Result<()> {
    let bus = DBusProxy::new(system).await?;
    let mut owners = bus.receive_name_owner_changed_with_args(&[(0, NAME)]).await?;
    let rule = MatchRule::builder().msg_type(message::Type::Signal).sender(NAME).interface(MANAGER).build()?;
    let mut signals = MessageStream::for_match_rule(rule, system, None).await?;
    let mut is_there = bus.name_has_owner(NAME.try_into()?).await?;
    let mut waits = 0;
    loop {
        teller.begin();
        // Asked while it is not there, the bus would start it.
        if !is_there {
            teller.tell(State::Absent);
        } else {
            match timeout(PATIENCE, ask(system)).await {
                Ok(Ok(holders)) => teller.tell_holders(Engine::Nspawn, holders),
                Ok(Err(zbus::Error::MethodError(name, ..))) if name.as_str().ends_with(".AccessDenied") => {
                    teller.tell(State::Denied);
                }
                Ok(Err(error)) => teller.tell(State::Failed(format!("it can't be asked ({error})"))),
                Err(_) => {
                    teller.tell(State::Failed(format!("it has not answered for {} seconds", PATIENCE.as_secs())));
                }
            }
        }
        let wait = FIRST_WAIT * 4_u32.saturating_pow(MOST_WAITS.saturating_sub(waits));
        tokio::select! {
            Some(signal) = owners.next() => {
                is_there = signal.args().is_ok_and(|args| args.new_owner().is_some());
                waits = MOST_WAITS;
            }
            Some(_) = signals.next() => waits = MOST_WAITS,
            () = sleep(wait), if is_there && waits > 0 => waits -= 1,
            () = teller.asked() => is_there = bus.name_has_owner(NAME.try_into()?).await?,
            else => return Ok(()),
        }
        // Machines that start together are asked together.
        sleep(TOGETHER).await;
        while poll_once(signals.next()).await.flatten().is_some() {}
    }
}

/// Those with addresses of their own.
async fn ask(system: &Connection) -> zbus::Result<Vec<Holder>> {
    let manager = Builder::<Proxy<'_>>::new(system).destination(NAME).path(PATH).interface(MANAGER);
    let manager = manager.cache_properties(CacheProperties::No).build().await?;
    let machines: Vec<Machine> = manager.call("ListMachines", &()).await?;
    let mut holders = Vec::new();
    // ".host" is this host.
    for (name, ..) in machines.into_iter().filter(|machine| !machine.0.starts_with('.')).take(MOST_MACHINES) {
        // One on the host's network, or in another's, has none; neither has a virtual machine that machined can't look into.
        let addresses: Vec<(i32, Vec<u8>)> =
            manager.call("GetMachineAddresses", &(name.as_str(),)).await.unwrap_or_default();
        holders.extend(Holder::new(
            Engine::Nspawn,
            &name,
            None,
            addresses.iter().filter_map(|(_, bytes)| address(bytes)),
        ));
    }
    Ok(holders)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
