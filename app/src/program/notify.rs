//! Desktop notifications about budgets (org.freedesktop.Notifications). A press on one shows the window.
//!
//! Where nobody shows notifications, one waits until somebody does, and no error is made of it: tray and window say the same.

use std::collections::HashMap;

use futures_lite::StreamExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zbus::{
    Connection, Message, Variant,
    fdo::DBusProxy,
    names::{BusName, OwnedUniqueName},
    proxy,
    proxy::CacheProperties,
};

use super::instance::{self, Asked};
use crate::{base::settings::Budget, keep::budget::Notice};

const NAME: &str = "org.freedesktop.Notifications";
/// A click on the notification. Some desktops only close it then, so there is a button too.
const DEFAULT: &str = "default";
const SHOW: &str = "show";
/// What is written on it.
const SHOW_WINDOW: &str = "Show Window";
/// The server that makes a button of the click's action too, and closes on a click.
const MAKES_BUTTONS_OF_ALL: &str = "Xfce Notify Daemon";

#[proxy(
    interface = "org.freedesktop.Notifications",
    default_service = "org.freedesktop.Notifications",
    default_path = "/org/freedesktop/Notifications"
)]
trait Notifications {
    fn get_capabilities(&self) -> zbus::Result<Vec<String>>;
    fn get_server_information(&self) -> zbus::Result<(String, String, String, String)>;
    #[expect(clippy::too_many_arguments, reason = "the specification's")]
    fn notify(
        &self,
        app_name: &str,
        replaces_id: u32,
        app_icon: &str,
        summary: &str,
        body: &str,
        actions: &[&str],
        hints: HashMap<&str, Variant<'_>>,
        expire_timeout: i32,
    ) -> zbus::Result<u32>;
    #[zbus(signal)]
    fn activation_token(&self, id: u32, activation_token: &str) -> zbus::Result<()>;
    #[zbus(signal)]
    fn action_invoked(&self, id: u32, action_key: &str) -> zbus::Result<()>;
    #[zbus(signal)]
    fn notification_closed(&self, id: u32, reason: u32) -> zbus::Result<()>;
}

/// Shows what is sent there, one notification for each budget, for as long as that lives. `asked` hears of a press.
pub fn start(session: Connection, asked: UnboundedSender<Asked>) -> UnboundedSender<Notice> {
    let (sender, notices) = unbounded_channel();
    tokio::spawn(async move {
        // An error is a bus that is gone, and netglance goes with its session.
        _ = serve(&session, notices, &asked).await;
    });
    sender
}

async fn serve(
    session: &Connection,
    mut notices: UnboundedReceiver<Notice>,
    asked: &UnboundedSender<Asked>,
) -> zbus::Result<()> {
    let server = NotificationsProxy::builder(session).cache_properties(CacheProperties::No).build().await?;
    let bus = DBusProxy::new(session).await?;
    let mut owners = bus.receive_name_owner_changed_with_args(&[(0, NAME)]).await?;
    // In one stream, for a token comes before what it is for.
    let mut signals = server.inner().receive_all_signals().await?;
    let mut shown = Shown::default();
    let mut waiting: Vec<Notice> = Vec::new();
    loop {
        tokio::select! {
            biased; // what is known of the server comes first
            Some(signal) = owners.next() => {
                let Ok(args) = signal.args() else { continue };
                if let Some(gone) = args.old_owner().as_ref() {
                    shown.0.retain(|_, one| one.server != *gone);
                }
                if args.new_owner().is_some() {
                    for notice in std::mem::take(&mut waiting) {
                        if shown.show(&server, &bus, &notice).await.is_err() {
                            waiting.push(notice);
                        }
                    }
                }
            }
            Some(signal) = signals.next() => {
                if let Some(press) = shown.take(&signal) && asked.send(press).is_err() {
                    return Ok(());
                }
            }
            notice = notices.recv() => {
                let Some(notice) = notice else { return Ok(()) };
                waiting.retain(|waiting| waiting.budget != notice.budget);
                if shown.show(&server, &bus, &notice).await.is_err() {
                    waiting.push(notice);
                }
            }
        }
    }
}

/// The notifications that are on screen.
#[derive(Debug, Default)]
struct Shown(HashMap<u32, One>);

#[derive(Debug)]
struct One {
    budget: Budget,
    /// Who has given the id. Another server's is another notification.
    server: OwnedUniqueName,
    /// Has come, and is for the action that comes next.
    token: Option<String>,
}

impl Shown {
    /// Shows a notice in place of the one about the same budget.
    async fn show(
        &mut self,
        server: &NotificationsProxy<'_>,
        bus: &DBusProxy<'_>,
        notice: &Notice,
    ) -> zbus::Result<()> {
        let capabilities = server.get_capabilities().await?;
        // Perhaps the bus has started it for that.
        let owner = bus.get_name_owner(BusName::from_static_str(NAME)?).await?;
        let text = match capabilities.iter().any(|capability| capability == "body-markup") {
            true => escaped(&notice.text),
            false => notice.text.clone(),
        };
        let is_same = |one: &One| one.budget == notice.budget && one.server == owner;
        let replaced = self.0.iter().find(|(_, one)| is_same(one)).map(|(id, _)| *id);
        let hints = [
            ("desktop-entry", Variant::from(instance::NAME)),
            // 1: normal; 2: stays until a person closes it.
            ("urgency", Variant::from(if notice.urgent { 2_u8 } else { 1 })),
        ];
        let name = server.get_server_information().await.map(|(name, ..)| name);
        let actions: &[&str] = match name.as_deref() {
            Ok(MAKES_BUTTONS_OF_ALL) => &[DEFAULT, SHOW_WINDOW],
            _ => &[DEFAULT, SHOW_WINDOW, SHOW, SHOW_WINDOW],
        };
        let id = server
            .notify(
                "netglance",
                replaced.unwrap_or_default(),
                instance::NAME,
                &notice.title,
                &text,
                actions,
                HashMap::from(hints),
                -1, // as long as the desktop likes
            )
            .await?;
        if let Some(replaced) = replaced {
            self.0.remove(&replaced);
        }
        self.0.insert(id, One { budget: notice.budget.clone(), server: owner, token: None });
        Ok(())
    }

    /// Takes in what the server says, and gives a press. Servers say it of everybody's notifications.
    fn take(&mut self, signal: &Message) -> Option<Asked> {
        if let Some(closed) = NotificationClosed::from_message(signal.clone()) {
            self.0.remove(&closed.args().ok()?.id);
        } else if let Some(token) = ActivationToken::from_message(signal.clone()) {
            let token = token.args().ok()?;
            self.0.get_mut(&token.id)?.token = Some(token.activation_token.to_owned());
        } else if let Some(action) = ActionInvoked::from_message(signal.clone()) {
            let action = action.args().ok()?;
            let one = self.0.get_mut(&action.id)?;
            return matches!(action.action_key, DEFAULT | SHOW).then(|| Asked { token: one.token.take() });
        }
        None
    }
}

/// Names in it come from strangers.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
