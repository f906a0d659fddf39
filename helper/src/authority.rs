//! Who calls, and whether they may: asked of the bus and of polkit, for every call. It touches nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_lite::StreamExt as _;
use netglance_dbus::helper1::{Error, NO_AGENT};
use zbus::{
    Connection, fdo,
    message::{Flags, Header},
    names::BusName,
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::bus::Callers;

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
            Self::Install => "Starting or stopping exact counting",
            Self::ReadAll => "Seeing the traffic of every user and service",
            Self::Configure => "Changing which addresses are internal",
        }
    }
}

/// Questions that polkit may be asked for one user at a time, and for all together. Each may be a dialog on a person's screen.
const OPEN: usize = 2;
const OPEN_ALL: usize = 32;

/// The bus and polkit as judges.
#[derive(Debug)]
pub struct Authority {
    /// Nobody's calls come in here: what is asked on it is answered, however many call.
    connection: Connection,
    callers: Arc<Callers>,
    /// Open questions of each user.
    open: Mutex<HashMap<u32, usize>>,
    /// Numbers the questions, so that one can be taken back.
    questions: std::sync::atomic::AtomicU64,
}

/// Counts a question for as long as it is open.
struct Open<'a> {
    authority: &'a Authority,
    uid: u32,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut open = self.authority.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

impl Authority {
    /// Asks on this connection about those who call.
    pub fn new(connection: Connection, callers: Arc<Callers>) -> Self {
        Self { connection, callers, open: Mutex::default(), questions: 0.into() }
    }

    /// The caller's uid, as the bus vouches for it.
    pub fn uid(&self, call: &Header<'_>) -> Result<u32, Error> {
        let sender = call.sender().ok_or_else(|| refused("a call without a sender can't be answered"))?;
        self.callers.uid(sender).ok_or_else(|| refused("the caller has disconnected"))
    }

    fn open(&self, uid: u32) -> Result<Open<'_>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(&uid).is_some_and(|count| *count >= OPEN) {
            let text =
                format!("{OPEN} password prompts for this user are already open; answer one or wait for it to close");
            return Err(Error::LimitsExceeded(text));
        }
        if open.values().sum::<usize>() >= OPEN_ALL {
            let text = format!("{OPEN_ALL} password prompts for other users are open; try again when one has closed");
            return Err(Error::LimitsExceeded(text));
        }
        *open.entry(uid).or_default() += 1;
        Ok(Open { authority: self, uid })
    }

    /// Whether the caller may. root may always; of others polkit decides, and may ask for a password if the call allows it.
    /// A caller that goes away meanwhile takes the question back.
    pub async fn check(&self, call: &Header<'_>, action: Action) -> Result<(), Error> {
        let uid = self.uid(call)?;
        if uid == 0 {
            return Ok(());
        }
        let _open = self.open(uid)?;
        let sender = call.sender().ok_or_else(|| refused("a call without a sender can't be answered"))?;
        let subject = Subject::new_for_message_header(call).map_err(|error| refused(&error.to_string()))?;
        let may_ask = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let flags =
            if may_ask { CheckAuthorizationFlags::ALLOW_USER_INTERACTION } else { CheckAuthorizationFlags::empty() };
        let bus = fdo::DBusProxy::new(&self.connection).await?;
        let mut leaves = bus.receive_name_owner_changed_with_args(&[(0, sender.as_str()), (2, "")]).await?;
        // It may have left before we listened.
        if !bus.name_has_owner(BusName::from(sender.clone())).await.map_err(zbus::Error::from)? {
            return Err(refused("the caller has disconnected"));
        }
        let polkit = AuthorityProxy::new(&self.connection).await?;
        let question = self.questions.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let details = HashMap::new();
        let answer = tokio::select! {
            answer = polkit.check_authorization(&subject, action.id(), &details, flags, &question) => answer,
            _ = leaves.next() => {
                // Without an answer, as that would be one more that the bus has to wait for. If the bus is gone, so is the dialog.
                let _ = polkit.inner().call_noreply("CancelCheckAuthorization", &question).await;
                return Err(refused("the caller has disconnected"));
            }
        };
        let answer = answer.map_err(|error| {
            refused(&format!(
                "{} needs polkit's permission, but polkit could not be asked: {error}. Is polkitd running?",
                action.what()
            ))
        })?;
        let no_agent = format!("an administrator's password is needed, but {NO_AGENT} to ask for it");
        let why = if answer.is_authorized {
            return Ok(());
        } else if answer.details.contains_key("polkit.dismissed") {
            "the password dialog was closed"
        } else if answer.is_challenge && may_ask {
            no_agent.as_str()
        } else if answer.is_challenge {
            "an administrator's password is needed, but this call does not allow asking for it"
        } else {
            "no password was given, or this computer's polkit rules do not allow this user to do that"
        };
        Err(refused(&format!("{} was not authorised: {why}. Nothing was changed.", action.what())))
    }
}

fn refused(why: &str) -> Error {
    Error::NotAuthorized(why.to_owned())
}
