//! Which network the computer is on: a stand-in for NetworkManager on a real bus, and what netglance makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
mod support;

use std::time::Duration;

use netglance::look::network::{self, Network};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use zbus::{Connection, ObjectPath, connection::Builder};

const NAME: &str = "org.freedesktop.NetworkManager";
const PATH: &str = "/org/freedesktop/NetworkManager";
const HOME: &str = "/org/freedesktop/NetworkManager/ActiveConnection/1";
const PHONE: &str = "/org/freedesktop/NetworkManager/ActiveConnection/2";
/// Longer than a slow machine takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Manager {
    primary: &'static str,
    metered: u32,
    state: u32,
}

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl Manager {
    #[zbus(property)]
    fn primary_connection(&self) -> ObjectPath<'static> {
        ObjectPath::try_from(self.primary).unwrap()
    }

    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered
    }

    #[zbus(property)]
    fn state(&self) -> u32 {
        self.state
    }
}

struct Active(&'static str);

#[zbus::interface(name = "org.freedesktop.NetworkManager.Connection.Active")]
impl Active {
    #[zbus(property)]
    fn id(&self) -> &str {
        self.0
    }
}

/// A bus, what is told of it, and perhaps a NetworkManager.
struct Bus {
    address: String,
    told: UnboundedReceiver<Network>,
    _server: desk::Server,
    _directory: tempfile::TempDir,
}

impl Bus {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (server, address) = desk::bus(directory.path(), "system");
        let (tell, told) = unbounded_channel();
        let bus = Self { address, told, _server: server, _directory: directory };
        tokio::spawn(network::follow(Some(bus.connect().await), tell));
        bus
    }

    async fn connect(&self) -> Connection {
        Builder::address(self.address.as_str()).build().await.unwrap()
    }

    async fn manager(&self, primary: &'static str, metered: u32) -> Connection {
        let builder = Builder::address(self.address.as_str()).name(NAME);
        let builder = builder.serve_at(PATH, Manager { primary, metered, state: 0 });
        builder.serve_at(HOME, Active("Home")).serve_at(PHONE, Active("My phone")).build().await.unwrap()
    }

    async fn tells(&mut self, name: Option<&str>, metered: Option<bool>) {
        let told = tokio::time::timeout(PATIENCE, self.told.recv())
            .await
            .unwrap_or_else(|_| panic!("{name:?} {metered:?} is not told"));
        assert_eq!(told, Some(Network { name: name.map(str::to_owned), metered }));
    }
}

async fn change(connection: &Connection, primary: &'static str, metered: u32) {
    let manager = connection.object_server().interface::<_, Manager>(PATH).await.unwrap();
    let mut properties = manager.get_mut().await;
    (properties.primary, properties.metered) = (primary, metered);
    let emitter = manager.signal_emitter();
    properties.metered_changed(emitter).await.unwrap();
    properties.primary_connection_changed(emitter).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_told_when_it_changes() {
    let mut bus = Bus::new().await;
    bus.tells(None, None).await;
    let connection = bus.manager(HOME, 2).await;
    bus.tells(Some("Home"), Some(false)).await;
    for (metered, told) in [(1, Some(true)), (4, Some(false)), (3, Some(true)), (0, None), (2, Some(false)), (9, None)]
    {
        change(&connection, HOME, metered).await;
        bus.tells(Some("Home"), told).await;
    }
    change(&connection, PHONE, 3).await;
    bus.tells(Some("My phone"), Some(true)).await;
    change(&connection, "/", 0).await;
    bus.tells(None, None).await;
    change(&connection, HOME, 2).await;
    bus.tells(Some("Home"), Some(false)).await;
    // A connection that has gone already: what is known of it is said.
    change(&connection, "/org/freedesktop/NetworkManager/ActiveConnection/3", 1).await;
    bus.tells(None, Some(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_get_another_name() {
    let mut bus = Bus::new().await;
    bus.tells(None, None).await;
    let connection = bus.manager(HOME, 2).await;
    bus.tells(Some("Home"), Some(false)).await;
    let active = connection.object_server().interface::<_, Active>(HOME).await.unwrap();
    let mut properties = active.get_mut().await;
    properties.0 = "Office";
    properties.id_changed(active.signal_emitter()).await.unwrap();
    drop(properties);
    bus.tells(Some("Office"), Some(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_networkmanager_it_is_unknown() {
    let mut bus = Bus::new().await;
    bus.tells(None, None).await;
    let connection = bus.manager(PHONE, 1).await;
    bus.tells(Some("My phone"), Some(true)).await;
    connection.release_name(NAME).await.unwrap();
    bus.tells(None, None).await;
    connection.request_name(NAME).await.unwrap();
    bus.tells(Some("My phone"), Some(true)).await;
    drop(connection);
    bus.tells(None, None).await;

    let (tell, mut told) = unbounded_channel();
    network::follow(None, tell).await;
    assert_eq!((told.recv().await, told.recv().await), (Some(Network::default()), None), "without a bus");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_properties_are_no_news() {
    let mut bus = Bus::new().await;
    bus.tells(None, None).await;
    let connection = bus.manager(HOME, 2).await;
    bus.tells(Some("Home"), Some(false)).await;
    let manager = connection.object_server().interface::<_, Manager>(PATH).await.unwrap();
    for state in 0..100 {
        let mut properties = manager.get_mut().await;
        properties.state = state;
        properties.state_changed(manager.signal_emitter()).await.unwrap();
    }
    change(&connection, HOME, 1).await;
    bus.tells(Some("Home"), Some(true)).await;
    assert!(bus.told.try_recv().is_err());
}
