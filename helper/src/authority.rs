//! Who calls, and whether they may: asked of the bus and of polkit, for every call. It touches nothing else.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use futures_lite::StreamExt as _;
use netglance_dbus::helper1::{Error, NO_AGENT};
use zbus::{
    Connection, fdo,
    message::{Flags, Header},
    names::BusName,
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

/// What polkit is asked about: the actions of `polkit/org.netglance.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To start and to stop counting.
    Install,
    /// To see everybody's rows.
    ReadAll,
    /// To change what is internal.
    Configure,
}

impl Action {
    const fn id(self) -> &'static str {
        match self {
            Self::Install => "org.netglance.install",
            Self::ReadAll => "org.netglance.read-all",
            Self::Configure => "org.netglance.configure",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Install => "Starting or stopping to count",
            Self::ReadAll => "Seeing the traffic of every user and service",
            Self::Configure => "Changing which addresses are internal",
        }
    }
}

/// Callers whose uid is remembered. A bus never gives a name to a second one.
const REMEMBERED_CALLERS: usize = 1024;

/// The bus and polkit as judges.
#[derive(Debug)]
pub struct Authority {
    connection: Connection,
    uids: Mutex<HashMap<String, u32>>,
    /// Numbers the questions, so that one can be taken back.
    questions: std::sync::atomic::AtomicU64,
}

impl Authority {
    /// Asks on this bus.
    pub fn new(connection: Connection) -> Self {
        Self { connection, uids: Mutex::default(), questions: 0.into() }
    }

    /// The caller's uid, as the bus vouches for it.
    pub async fn uid(&self, call: &Header<'_>) -> Result<u32, Error> {
        let sender = call.sender().ok_or_else(|| refused("a call without a sender can't be answered"))?;
        if let Some(uid) = self.uids.lock().unwrap_or_else(PoisonError::into_inner).get(sender.as_str()) {
            return Ok(*uid);
        }
        let bus = fdo::DBusProxy::new(&self.connection).await?;
        let uid = bus
            .get_connection_unix_user(BusName::from(sender.clone()))
            .await
            .map_err(|error| refused(&format!("the bus does not say who calls: {error}")))?;
        let mut uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        if uids.len() >= REMEMBERED_CALLERS {
            uids.clear();
        }
        uids.insert(sender.to_string(), uid);
        Ok(uid)
    }

    /// Whether the caller may. root may always; of others polkit decides, and may ask for a password if the call allows it.
    /// A caller that goes away meanwhile takes the question back.
    pub async fn check(&self, call: &Header<'_>, action: Action) -> Result<(), Error> {
        if self.uid(call).await? == 0 {
            return Ok(());
        }
        let sender = call.sender().ok_or_else(|| refused("a call without a sender can't be answered"))?;
        let subject = Subject::new_for_message_header(call).map_err(|error| refused(&error.to_string()))?;
        let may_ask = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let flags =
            if may_ask { CheckAuthorizationFlags::ALLOW_USER_INTERACTION } else { CheckAuthorizationFlags::empty() };
        let bus = fdo::DBusProxy::new(&self.connection).await?;
        let mut leaves = bus.receive_name_owner_changed_with_args(&[(0, sender.as_str()), (2, "")]).await?;
        // It may have left before we listened.
        if !bus.name_has_owner(BusName::from(sender.clone())).await.map_err(zbus::Error::from)? {
            return Err(refused("the caller has left"));
        }
        let polkit = AuthorityProxy::new(&self.connection).await?;
        let question = self.questions.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let details = HashMap::new();
        let answer = tokio::select! {
            answer = polkit.check_authorization(&subject, action.id(), &details, flags, &question) => answer,
            _ = leaves.next() => {
                if let Err(error) = polkit.cancel_check_authorization(&question).await {
                    eprintln!("cannot take a question to polkit back: {error}");
                }
                return Err(refused("the caller has left"));
            }
        };
        let answer = answer.map_err(|error| {
            refused(&format!(
                "{} needs polkit's word, and it could not be asked: {error}. Is polkitd running?",
                action.what()
            ))
        })?;
        let no_agent = format!("it needs an administrator's password, and {NO_AGENT} that could ask for it");
        let why = if answer.is_authorized {
            return Ok(());
        } else if answer.details.contains_key("polkit.dismissed") {
            "the password dialog was closed"
        } else if answer.is_challenge && may_ask {
            no_agent.as_str()
        } else if answer.is_challenge {
            "it needs an administrator's password, and this call does not allow asking for it"
        } else {
            "the password was not given, or this computer's polkit rules do not let this user do it"
        };
        Err(refused(&format!("{} was not authorized: {why}. Nothing was changed.", action.what())))
    }
}

fn refused(why: &str) -> Error {
    Error::NotAuthorized(why.to_owned())
}
