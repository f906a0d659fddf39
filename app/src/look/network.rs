//! The network that the computer reaches the outside by, and whether that is metered. NetworkManager knows, and tells whenever that
//! changes. Where there is none it is unknown, and nothing is guessed.

use std::time::Duration;

use futures_lite::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;
use zbus::{
    Connection, MatchRule, Message, MessageStream, ObjectPath,
    connection::Builder,
    fdo::{self, DBusProxy, PropertiesProxy},
    message, proxy,
    proxy::CacheProperties,
};

/// The network that a computer reaches the outside by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct Network {
    /// What a person calls the connection ("Home", "Wired connection 1"). `None`: unknown, or there is none.
    pub name: Option<String>,
    /// Whether it is metered. `None`: unknown.
    pub metered: Option<bool>,
}

/// Its bus name, and its interface.
const NAME: &str = "org.freedesktop.NetworkManager";
const PATH: &str = "/org/freedesktop/NetworkManager";
const CONNECTION: &str = "org.freedesktop.NetworkManager.Connection.Active";
/// An answer that comes later than this doesn't come.
const PATIENCE: Duration = Duration::from_secs(5);

/// `NMMetered`, of which 0 is "unknown".
const METERED_YES: u32 = 1;
const METERED_NO: u32 = 2;
const METERED_GUESS_YES: u32 = 3;
const METERED_GUESS_NO: u32 = 4;

#[proxy(
    interface = "org.freedesktop.NetworkManager.Connection.Active",
    default_service = "org.freedesktop.NetworkManager"
)]
trait ActiveConnection {
    /// Its name.
    #[zbus(property)]
    fn id(&self) -> zbus::Result<String>;
}

/// The bus that NetworkManager is on; `None`: there is none here.
pub async fn system_bus() -> Option<Connection> {
    let builder = Builder::system().method_timeout(PATIENCE);
    tokio::time::timeout(PATIENCE, builder.build()).await.ok()?.ok()
}

/// Tells, now and whenever it changes, which network it is. `None`: there is no system bus to ask.
pub async fn follow(system: Option<Connection>, tell: UnboundedSender<Network>) {
    if let Some(system) = system {
        // An error is a bus that is gone, or never was one.
        _ = follow_manager(&system, &tell).await;
    }
    // From here on nobody knows. Whoever has ended wants to hear nothing.
    _ = tell.send(Network::default());
}

async fn follow_manager(system: &Connection, tell: &UnboundedSender<Network>) -> zbus::Result<()> {
    let bus = DBusProxy::new(system).await?;
    let mut owners = bus.receive_name_owner_changed_with_args(&[(0, NAME)]).await?;
    let mut manager = changes(system, NAME).await?;
    let mut connections = changes(system, CONNECTION).await?;
    let mut there = bus.name_has_owner(NAME.try_into()?).await?;
    let mut told = None;
    loop {
        // Asked while it is not there, the bus might start it.
        let now = if there { ask(system).await } else { Network::default() };
        if told.as_ref() != Some(&now) {
            if tell.send(now.clone()).is_err() {
                return Ok(());
            }
            told = Some(now);
        }

        let mut asks_again = false;
        while !asks_again {
            asks_again = tokio::select! {
                Some(signal) = owners.next() => {
                    there = signal.args().is_ok_and(|args| args.new_owner().is_some());
                    true
                }
                Some(signal) = manager.next() => matters(signal),
                Some(signal) = connections.next() => matters(signal),
                else => return Ok(()), // the system bus is gone
            };
        }
    }
}

/// What says that properties of an interface have changed, of whichever object.
async fn changes(system: &Connection, interface: &str) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .sender(NAME)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .arg(0, interface)
        .build()?;
    MessageStream::for_match_rule(rule, system, None).await
}

/// NetworkManager has many more properties, and some change often.
fn matters(signal: zbus::Result<Message>) -> bool {
    let Some(signal) = signal.ok().and_then(fdo::PropertiesChanged::from_message) else { return false };
    let is_ours = |name: &str| matches!(name, "PrimaryConnection" | "Metered" | "Id");
    signal.args().is_ok_and(|args| {
        args.changed_properties().keys().any(|name| is_ours(name))
            || args.invalidated_properties().iter().any(|name| is_ours(name))
    })
}

/// What doesn't answer is unknown.
async fn ask(system: &Connection) -> Network {
    let known = async {
        let manager = PropertiesProxy::builder(system).destination(NAME).path(PATH);
        let manager = manager.cache_properties(CacheProperties::No).build().await?;
        // All at once: between two questions the connection may become another one.
        let properties = manager.get_all(NAME.try_into()?).await?;
        let path = properties.get("PrimaryConnection").and_then(|path| path.downcast_ref::<ObjectPath<'_>>().ok());
        // "/": there is none.
        let Some(path) = path.filter(|path| path.as_str() != "/") else { return Ok(Network::default()) };
        let connection = ActiveConnectionProxy::builder(system).path(path).cache_properties(CacheProperties::No);
        let name = connection.build().await?.id().await.ok().filter(|name| !name.is_empty());
        let metered = match properties.get("Metered").and_then(|metered| metered.downcast_ref::<u32>().ok()) {
            Some(METERED_YES | METERED_GUESS_YES) => Some(true),
            Some(METERED_NO | METERED_GUESS_NO) => Some(false),
            _ => None,
        };
        Ok::<_, zbus::Error>(Network { name, metered })
    };
    known.await.unwrap_or_default()
}
