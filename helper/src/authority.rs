//! Who calls, and whether they may: asked of the bus and of polkit, for every call. It touches nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_lite::StreamExt as _;
use netglance_dbus::helper1::{Error, NO_AGENT};
use zbus::{
    Connection, fdo,
    message::{Flags, Header},
    names::{BusName, UniqueName},
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::bus::Callers;

/// What polkit is asked about: the actions of `polkit/org.netglance.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To start and to stop counting.
    Install,
    /// To see everybody's rows.
    ReadAll,
    /// To see what containers and virtual machines move.
    ReadForwarded,
    /// To change what is internal.
    Configure,
}

impl Action {
    const fn id(self) -> &'static str {
        match self {
            Self::Install => "org.netglance.install",
            Self::ReadAll => "org.netglance.read-all",
            Self::ReadForwarded => "org.netglance.read-forwarded",
            Self::Configure => "org.netglance.configure",
        }
    }

    /// Whether who was once authorised stays so for as long as they are connected, where polkit would ask for a password again: it
    /// forgets after five minutes, and who looks at counters looks again and again.
    const fn lasts(self) -> bool {
        matches!(self, Self::ReadAll | Self::ReadForwarded)
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Install => "Starting or stopping exact counting",
            Self::ReadAll => "Seeing the traffic of every user and service",
            Self::ReadForwarded => "Seeing the traffic of containers and virtual machines",
            Self::Configure => "Changing which addresses are internal",
        }
    }
}

/// Questions that polkit may be asked for one user at a time, and for all together. Each may be a dialog on a person's screen.
const OPEN: usize = 2;
const OPEN_ALL: usize = 32;
/// The same for questions with which nobody is bothered: several programs may look at counters at each beat.
const SILENT: usize = 8;
const SILENT_ALL: usize = 64;
/// Authorisations that are remembered, of one user's connections and of all.
const GRANTED: usize = 32;
const GRANTED_ALL: usize = 256;

/// The bus and polkit as judges.
#[derive(Debug)]
pub struct Authority {
    /// Nobody's calls come in here: what is asked on it is answered, however many call.
    connection: Connection,
    callers: Arc<Callers>,
    /// Open questions of each user: those that may be dialogs, and the others.
    open: Mutex<HashMap<(u32, bool), usize>>,
    granted: Mutex<Grants>,
    /// Numbers the questions, so that one can be taken back.
    questions: std::sync::atomic::AtomicU64,
}

/// Counts a question for as long as it is open.
struct Open<'a> {
    authority: &'a Authority,
    of: (u32, bool),
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut open = self.authority.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.of) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

impl Authority {
    /// Asks on this connection about those who call.
    pub fn new(connection: Connection, callers: Arc<Callers>) -> Self {
        Self { connection, callers, open: Mutex::default(), granted: Mutex::default(), questions: 0.into() }
    }

    /// The caller's uid, as the bus vouches for it.
    pub fn uid(&self, call: &Header<'_>) -> Result<u32, Error> {
        let sender = call.sender().ok_or_else(|| refused("a call without a sender can't be answered"))?;
        self.callers.uid(sender).ok_or_else(|| refused("the caller has disconnected"))
    }

    fn open(&self, uid: u32, may_ask: bool) -> Result<Open<'_>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (uid, may_ask);
        let (own, all) = if may_ask { (OPEN, OPEN_ALL) } else { (SILENT, SILENT_ALL) };
        let what = if may_ask { "password prompts" } else { "questions to polkit" };
        if open.get(&of).is_some_and(|count| *count >= own) {
            let text = format!("{own} {what} for this user are already open; answer one or wait for it to close");
            return Err(Error::LimitsExceeded(text));
        }
        let total: usize = open.iter().filter(|((_, asks), _)| *asks == may_ask).map(|(_, count)| count).sum();
        if total >= all {
            let text = format!("{all} {what} for other users are open; try again when one has closed");
            return Err(Error::LimitsExceeded(text));
        }
        *open.entry(of).or_default() += 1;
        Ok(Open { authority: self, of })
    }

    /// Whether the caller may. root may always; of others polkit decides, and may ask for a password if the call allows it.
    /// A caller that goes away meanwhile takes the question back.
    pub async fn check(&self, call: &Header<'_>, action: Action) -> Result<(), Error> {
        let uid = self.uid(call)?;
        if uid == 0 {
            return Ok(());
        }
        let sender = call.sender().ok_or_else(|| refused("a call without a sender can't be answered"))?;
        let subject = Subject::new_for_message_header(call).map_err(|error| refused(&error.to_string()))?;
        let may_ask = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let grant = (sender.to_string(), action);
        let was_granted = self.granted().has(&grant);
        // Who was authorised is not asked for a password again.
        let may_ask = may_ask && !was_granted;
        let _open = self.open(uid, may_ask)?;
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
            if action.lasts() {
                self.granted().add(grant, uid, |name| {
                    UniqueName::try_from(name).is_ok_and(|name| self.callers.uid(&name).is_some())
                });
            }
            return Ok(());
        } else if answer.is_challenge && was_granted {
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
        self.granted().remove(&grant);
        Err(refused(&format!("{} was not authorised: {why}. Nothing was changed.", action.what())))
    }

    fn granted(&self) -> MutexGuard<'_, Grants> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who was authorised for what [lasts](Action::lasts), with their uids: by the bus's own name of the connection, which nobody gets
/// again.
#[derive(Debug, Default)]
struct Grants(HashMap<(String, Action), u32>);

impl Grants {
    fn has(&self, grant: &(String, Action)) -> bool {
        self.0.contains_key(grant)
    }

    fn remove(&mut self, grant: &(String, Action)) {
        self.0.remove(grant);
    }

    fn is_full_for(&self, uid: u32) -> bool {
        self.0.len() >= GRANTED_ALL || self.0.values().filter(|of| **of == uid).count() >= GRANTED
    }

    /// Remembers who was authorised. Those who have left are forgotten once there are many; if there are too many all the same, the
    /// new one will be asked again.
    fn add(&mut self, grant: (String, Action), uid: u32, is_there: impl Fn(&str) -> bool) {
        if self.is_full_for(uid) {
            self.0.retain(|(name, _), _| is_there(name));
        }
        if !self.is_full_for(uid) {
            self.0.insert(grant, uid);
        }
    }
}

fn refused(why: &str) -> Error {
    Error::NotAuthorized(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_users_many_connections_leave_room_for_others() {
        let grant = |at: usize| (format!(":1.{at}"), Action::ReadForwarded);
        let mut grants = Grants::default();
        for at in 0..1000 {
            grants.add(grant(at), 1, |_| true);
        }
        assert_eq!(grants.0.len(), GRANTED);
        grants.add(grant(2000), 2, |_| true);
        assert!(grants.has(&grant(2000)) && !grants.has(&grant(999)));
        // Those who have left make room.
        grants.add(grant(1001), 1, |name| name == ":1.2000");
        assert!(grants.has(&grant(1001)) && grants.has(&grant(2000)) && grants.0.len() == 2);
        for at in 3000..4000 {
            grants.add(grant(at), u32::try_from(at).unwrap(), |_| true);
        }
        assert_eq!(grants.0.len(), GRANTED_ALL);
        grants.remove(&grant(2000));
        assert!(!grants.has(&grant(2000)));
    }
}
