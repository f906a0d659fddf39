//! Asks the bus what the gate wants to know about callers, and hears who leaves. It waits for many answers at a time, so that
//! one that is late keeps nobody else waiting.

use std::{collections::HashMap, sync::Arc};

use futures_lite::StreamExt as _;
use tokio::task::JoinSet;
use zbus::{
    Connection, OwnedVariant,
    fdo::{self, DBusProxy},
    message::Message,
};

use super::{
    Callers,
    gate::{BUS, Question},
};

/// Questions that are under way at a time.
const AT_ONCE: usize = 256;
const PATH: &str = "/org/freedesktop/DBus";
/// dbus-daemon lets root ask this: `/usr/share/dbus-1/system.conf`. dbus-broker has the interface without this member.
const STATS: &str = "org.freedesktop.DBus.Debug.Stats";

/// Goes on until the bus is gone.
pub(super) async fn run(connection: &Connection, callers: &Arc<Callers>) -> zbus::Result<()> {
    let bus = DBusProxy::new(connection).await?;
    // Those without a new owner: they are gone, or a service of theirs.
    let mut leaves = bus.receive_name_owner_changed_with_args(&[(2, "")]).await?;
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < AT_ONCE {
            let Some(question) = callers.gate().question() else { break };
            let (connection, callers) = (connection.clone(), Arc::clone(callers));
            under_way.spawn(async move { ask(&connection, &callers, question).await });
        }
        tokio::select! {
            signal = leaves.next() => {
                let Some(signal) = signal else { return Ok(()) };
                if let Ok(args) = signal.args() {
                    callers.change(|gate, now| gate.gone(args.name(), now));
                }
            }
            _ = under_way.join_next(), if !under_way.is_empty() => {}
            () = callers.asked.notified() => {}
        }
    }
}

async fn ask(connection: &Connection, callers: &Callers, question: Question) {
    match question {
        Question::Whose(name) => {
            let answer = call(connection, BUS, "GetConnectionUnixUser", &name).await;
            // Whoever has no user, for whatever reason, is not served.
            let uid = answer.and_then(|answer| answer.body().deserialize::<u32>()).ok();
            callers.change(|gate, now| gate.is_of(&name, uid, now));
        }
        Question::Unread(name) => match unread(connection, &name).await {
            Ok(bytes) => callers.change(|gate, now| gate.has_unread(&name, bytes, now)),
            Err(Untold) => callers.change(|gate, now| gate.unread_is_untold(now)),
        },
    }
}

/// This bus has no such books, or keeps them to itself.
struct Untold;

async fn unread(connection: &Connection, name: &str) -> Result<Option<u64>, Untold> {
    match call(connection, STATS, "GetConnectionStats", name).await {
        Ok(answer) => {
            let stats: HashMap<String, OwnedVariant> = answer.body().deserialize().map_err(|_| Untold)?;
            let bytes = stats.get("OutgoingBytes").and_then(|bytes| u32::try_from(bytes).ok());
            bytes.map(|bytes| Some(bytes.into())).ok_or(Untold)
        }
        Err(error) if has_left(&error) => Ok(None),
        Err(_) => Err(Untold),
    }
}

/// Whether the bus says that a name has left. zbus makes the standard errors its own.
fn has_left(error: &zbus::Error) -> bool {
    let zbus::Error::FDO(error) = error else { return false };
    matches!(**error, fdo::Error::NameHasNoOwner(_) | fdo::Error::UnknownObject(_))
}

async fn call(connection: &Connection, interface: &str, member: &str, name: &str) -> zbus::Result<Message> {
    connection.call_method(Some(BUS), PATH, Some(interface), member, &name).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Were it taken for a bus that keeps no books, whoever leaves at the right moment would end the bookkeeping for everybody.
    #[test]
    fn a_caller_that_has_left_is_no_bus_without_books() {
        let reply = |name: &str| {
            let call = Message::method_call("/", "GetConnectionStats").build(&()).unwrap();
            let reply = Message::error(&call.header(), name).build(&"it is not there").unwrap();
            zbus::Error::from(reply)
        };
        for (name, expected) in
            [("NameHasNoOwner", true), ("UnknownObject", true), ("UnknownMethod", false), ("Failed", false)]
        {
            let error = reply(&format!("org.freedesktop.DBus.Error.{name}"));
            assert_eq!(has_left(&error), expected, "{error:?}");
        }
        assert!(!has_left(&reply("org.example.NameHasNoOwner")));
    }
}
