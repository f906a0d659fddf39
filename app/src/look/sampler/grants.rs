//! What of the helper's figures a person has to be asked for, and what became of the question. polkit says what is said here; the
//! words on the buttons are the window's.
//!
//! The helper keeps a yes for the connection that asked, so the question goes over the connection that reads afterwards, in a task
//! of its own: a person may take long over a password, and no look waits for it.

use netglance_dbus::{
    forwarded::WireForwardedSample,
    helper1::{self, Helper1Proxy},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zbus::{Type, proxy::MethodFlags};

use super::helper::sentence;

/// What an administrator can allow this user to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Grant {
    /// The rows of every cgroup, system services among them.
    SystemServices,
    /// What this computer forwards for containers and virtual machines.
    Forwarded,
}

/// Whether it is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Permission {
    /// Nobody was asked since netglance has started, or the yes was lost with the helper that gave it.
    #[default]
    NotAsked,
    /// A person is being asked now.
    Asking,
    /// Yes.
    Granted,
    /// No, in one sentence for a person. It is not asked again by itself.
    Refused(String),
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Grants {
    /// See [`Grant::SystemServices`].
    pub system_services: Permission,
    /// See [`Grant::Forwarded`].
    pub forwarded: Permission,
}

impl Grants {
    /// Of one of them.
    pub fn of(&self, grant: Grant) -> &Permission {
        match grant {
            Grant::SystemServices => &self.system_services,
            Grant::Forwarded => &self.forwarded,
        }
    }

    fn of_mut(&mut self, grant: Grant) -> &mut Permission {
        match grant {
            Grant::SystemServices => &mut self.system_services,
            Grant::Forwarded => &mut self.forwarded,
        }
    }

    /// Whether a person is being asked for anything.
    pub fn is_asking(&self) -> bool {
        [&self.system_services, &self.forwarded].contains(&&Permission::Asking)
    }
}

/// The questions that are open, and how the others ended.
#[derive(Debug)]
pub(super) struct Asker {
    grants: Grants,
    answers: UnboundedReceiver<Answer>,
    answer: UnboundedSender<Answer>,
}

#[derive(Debug)]
struct Answer {
    grant: Grant,
    interactive: bool,
    outcome: Result<(), helper1::Error>,
}

impl Default for Asker {
    fn default() -> Self {
        let (answer, answers) = unbounded_channel();
        Self { grants: Grants::default(), answers, answer }
    }
}

impl Asker {
    /// Asks the helper. `interactive`: a person may be asked for a password; otherwise only polkit's rules decide, and a no leaves
    /// all as it was.
    pub(super) fn ask(&mut self, helper: &Helper1Proxy<'static>, grant: Grant, interactive: bool) {
        self.refresh();
        if matches!(self.grants.of(grant), Permission::Asking | Permission::Granted) {
            return;
        }
        if interactive {
            *self.grants.of_mut(grant) = Permission::Asking;
        }
        let (helper, answer) = (helper.clone(), self.answer.clone());
        tokio::spawn(async move {
            let outcome = match grant {
                Grant::SystemServices => call::<helper1::WireSample>(&helper, "ReadAll", interactive).await.map(drop),
                Grant::Forwarded => call::<WireForwardedSample>(&helper, "ReadForwarded", interactive).await.map(drop),
            };
            _ = answer.send(Answer { grant, interactive, outcome });
        });
    }

    /// Waits for the next answer.
    pub(super) async fn settle(&mut self) {
        if let Some(answer) = self.answers.recv().await {
            self.take(answer);
        }
    }

    /// Takes in what was answered.
    pub(super) fn refresh(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer);
        }
    }

    fn take(&mut self, Answer { grant, interactive, outcome }: Answer) {
        let permission = self.grants.of_mut(grant);
        match outcome {
            Ok(()) => *permission = Permission::Granted,
            Err(error) if interactive => *permission = Permission::Refused(sentence(&error)),
            Err(_) => {}
        }
    }

    /// As of the latest [`Self::refresh`].
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Takes in how a call ended that asks nobody. A helper that has started again knows of no yes.
    pub(super) fn read<T>(&mut self, grant: Grant, outcome: &Result<T, helper1::Error>) {
        let permission = self.grants.of_mut(grant);
        match outcome {
            Ok(_) if *permission != Permission::Asking => *permission = Permission::Granted,
            Err(helper1::Error::NotAuthorized(_)) if *permission == Permission::Granted => {
                *permission = Permission::NotAsked;
            }
            _ => {}
        }
    }
}

/// Calls a method without arguments. `interactive`: a person may be asked for a password, for as long as that takes; otherwise the
/// connection's limit of time holds.
pub(super) async fn call<T>(
    helper: &Helper1Proxy<'_>,
    member: &'static str,
    interactive: bool,
) -> Result<T, helper1::Error>
where
    T: DeserializeOwned + Type,
{
    if !interactive {
        return Ok(helper.inner().call(member, &()).await?);
    }
    // A call with flags has no limit of time.
    let flags = MethodFlags::ALLOW_INTERACTIVE_AUTH;
    let reply = helper.inner().call_with_flags(member, flags, &()).await?;
    reply.ok_or_else(|| helper1::Error::Bus(zbus::Error::InvalidReply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_told_only_to_whoever_asked_and_a_lost_yes_can_be_asked_for_again() {
        use Permission::{Asking, Granted, NotAsked, Refused};
        let no = || helper1::Error::NotAuthorized("no password was given".into());
        let answer = |before: Permission, interactive, outcome: Result<(), helper1::Error>| {
            let mut asker = Asker::default();
            asker.grants.system_services = before;
            asker.take(Answer { grant: Grant::SystemServices, interactive, outcome });
            asker.grants.system_services
        };
        assert_eq!(answer(Asking, true, Ok(())), Granted);
        assert_eq!(answer(Asking, true, Err(no())), Refused("no password was given".into()));
        assert_eq!(answer(NotAsked, false, Ok(())), Granted);
        assert_eq!(answer(NotAsked, false, Err(no())), NotAsked);
        assert_eq!(answer(Asking, false, Err(no())), Asking, "the dialog is still open");
        let read = |before: Permission, outcome: Result<(), helper1::Error>| {
            let mut asker = Asker::default();
            asker.grants.system_services = before;
            asker.read(Grant::SystemServices, &outcome);
            asker.grants.system_services
        };
        assert_eq!(read(Granted, Err(no())), NotAsked);
        assert_eq!(read(Refused("no".into()), Err(no())), Refused("no".into()));
        assert_eq!(read(Granted, Err(helper1::Error::NotInstalled("x".into()))), Granted, "that is another matter");
        assert_eq!(read(NotAsked, Ok(())), Granted);
    }
}
