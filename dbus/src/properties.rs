//! `org.freedesktop.DBus.Properties` of the helper's object. It replaces zbus's own, with the same members, errors and values.
//!
//! zbus makes a tree of every value before it writes it, which takes 3 MB and milliseconds for a thousand prefixes. Here values
//! are written directly, so asking for all properties again and again costs next to nothing. It decides nothing.

use std::{borrow::Cow, collections::HashMap, marker::PhantomData};

use serde::{Serialize, Serializer};
use zbus::{
    ObjectServer, Signature, Type, Variant, as_variant,
    fdo::{self, Error},
    names::InterfaceName,
    object_server::SignalEmitter,
};

use crate::helper1::{BUS_NAME, Counters, Helper1, OBJECT_PATH, WirePrefix};

/// The names of the properties of [`Helper1`]; a test compares them with its definition.
pub const NAMES: [&str; 4] = ["Installed", "InternalPrefixes", "Version", "Warning"];

/// Up to so many prefixes, a change sends all of them to everybody who listens.
const MOST_TOLD: usize = 1024;
/// The other interfaces of an object, which have no properties.
const STANDARD: [&str; 3] =
    ["org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Peer", "org.freedesktop.DBus.Properties"];

/// The object's properties, as [`Helper1`] at the same path has them.
#[derive(Debug)]
pub struct Properties<C>(PhantomData<fn() -> C>);

impl<C: Counters> Properties<C> {
    /// Replaces zbus's own on an object that has [`Helper1`] already.
    pub async fn replace(server: &ObjectServer) -> zbus::Result<()> {
        server.remove::<fdo::Properties, _>(OBJECT_PATH).await?;
        server.at(OBJECT_PATH, Self(PhantomData)).await?;
        Ok(())
    }

    /// Tells everybody who listens that the properties may have changed, with their values. If there are very many prefixes, it
    /// leaves those out, and whoever wants them asks.
    pub async fn tell_changed(server: &ObjectServer, emitter: &SignalEmitter<'_>) -> zbus::Result<()> {
        let (mut changed, mut invalidated) = (HashMap::new(), Vec::new());
        for name in NAMES.into_iter().filter(|name| *name != "Version") {
            match value::<C>(server, name).await? {
                Some(Value::Prefixes(prefixes)) if prefixes.len() > MOST_TOLD => invalidated.push(name),
                value => changed.extend(value.map(|value| (name, value))),
            }
        }
        emitter.emit("org.freedesktop.DBus.Properties", "PropertiesChanged", &(BUS_NAME, changed, invalidated)).await
    }
}

/// A property's value, in a variant on the bus.
enum Value {
    Truth(bool),
    Text(String),
    Prefixes(Vec<WirePrefix>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Truth(value) => as_variant::serialize(value, serializer),
            Self::Text(value) => as_variant::serialize(value, serializer),
            Self::Prefixes(value) => as_variant::serialize(value, serializer),
        }
    }
}

impl Type for Value {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

/// A property of the object; `None` if it has none of that name.
async fn value<C: Counters>(server: &ObjectServer, name: &str) -> fdo::Result<Option<Value>> {
    let object = server.interface::<_, Helper1<C>>(OBJECT_PATH).await?;
    let helper = object.get().await;
    Ok(match name {
        "Installed" => Some(Value::Truth(helper.0.installed().await)),
        "InternalPrefixes" => Some(Value::Prefixes(helper.0.internal_prefixes().await)),
        "Version" => Some(Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
        "Warning" => Some(Value::Text(helper.0.warning().await)),
        _ => None,
    })
}

/// Whether the interface has properties at all.
fn has_some(interface: &InterfaceName<'_>) -> fdo::Result<bool> {
    match interface.as_str() {
        BUS_NAME => Ok(true), // the interface has the service's name
        standard if STANDARD.contains(&standard) => Ok(false),
        other => Err(Error::UnknownInterface(format!("Unknown interface '{other}'"))),
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownProperty(format!("Unknown property '{name}'"))
}

#[zbus::interface(name = "org.freedesktop.DBus.Properties", introspection_docs = false)]
impl<C: Counters> Properties<C> {
    async fn get(
        &self,
        interface_name: InterfaceName<'_>,
        property_name: &str,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<Value> {
        let value = if has_some(&interface_name)? { value::<C>(server, property_name).await? } else { None };
        value.ok_or_else(|| unknown(property_name))
    }

    async fn set(
        &self,
        interface_name: InterfaceName<'_>,
        property_name: &str,
        value: &Variant<'_>,
    ) -> fdo::Result<()> {
        let _ = value; // none can be set
        has_some(&interface_name)?;
        Err(unknown(property_name))
    }

    async fn get_all(
        &self,
        interface_name: InterfaceName<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<HashMap<&'static str, Value>> {
        let mut all = HashMap::new();
        if has_some(&interface_name)? {
            for name in NAMES {
                all.extend(value::<C>(server, name).await?.map(|value| (name, value)));
            }
        }
        Ok(all)
    }

    #[zbus(signal)]
    async fn properties_changed(
        emitter: &SignalEmitter<'_>,
        interface_name: InterfaceName<'_>,
        changed_properties: HashMap<&str, Variant<'_>>,
        invalidated_properties: Cow<'_, [&str]>,
    ) -> zbus::Result<()>;
}
