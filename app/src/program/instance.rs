//! One netglance for each session: the first owns a name on the session bus, and a second one has it show its window.

use std::{collections::HashMap, time::Duration};

use tokio::sync::mpsc::UnboundedSender;
use zbus::{
    Connection, OwnedVariant,
    connection::Builder,
    fdo::{self, RequestNameFlags},
};

/// Also the name of the desktop file and of the window's class.
pub const NAME: &str = "org.netglance.Netglance";
const OBJECT_PATH: &str = "/org/netglance/Netglance";
/// A first one that answers later than this hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which one this is.
#[derive(Debug)]
pub enum Instance {
    /// The first one, for as long as the connection lives.
    First(Connection),
    /// There is no session bus, so nobody knows.
    Alone,
    /// There is another, which shows its window now, if that was wanted.
    Second,
}

/// Why a second one could not have the window shown.
#[derive(Debug, thiserror::Error)]
#[error("netglance is already running but does not answer: {0}. End it with: pkill -x netglance")]
pub struct Error(#[from] zbus::Error);

/// What the first one is asked by others.
struct Application(UnboundedSender<Asked>);

/// To show the window, with the token by which a Wayland desktop lets it take the focus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// See the XDG activation protocol.
    pub token: Option<String>,
}

/// Of the Desktop Entry Specification ("D-Bus activation"), the part that a program without files and actions needs.
#[zbus::interface(name = "org.freedesktop.Application", proxy(default_path = "/org/netglance/Netglance"))]
impl Application {
    /// Shows the window.
    fn activate(&self, platform_data: HashMap<String, OwnedVariant>) {
        let token = ["activation-token", "desktop-startup-id"].iter().find_map(|key| platform_data.get(*key));
        let token = token.and_then(|token| token.downcast_ref::<&str>().ok()).map(str::to_owned);
        // The receiver is gone only when the program ends.
        _ = self.0.send(Asked { token });
    }

    /// The same: there is no file to open.
    fn open(&self, _uris: Vec<String>, platform_data: HashMap<String, OwnedVariant>) {
        self.activate(platform_data);
    }

    /// There is none.
    fn activate_action(
        &self,
        name: &str,
        _parameter: Vec<OwnedVariant>,
        _platform_data: HashMap<String, OwnedVariant>,
    ) -> fdo::Result<()> {
        Err(fdo::Error::InvalidArgs(format!("there is no action {name:?}")))
    }
}

/// Finds out. `show`: if there is another, have it show its window.
pub async fn claim(show: bool, asked: UnboundedSender<Asked>) -> Result<Instance, Error> {
    let builder = Builder::session().method_timeout(PATIENCE).serve_at(OBJECT_PATH, Application(asked));
    // A bus that does not answer is none.
    let Ok(Ok(connection)) = tokio::time::timeout(PATIENCE, builder.build()).await else { return Ok(Instance::Alone) };
    match connection.request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE).await {
        Ok(_) => return Ok(Instance::First(connection)),
        Err(zbus::Error::NameTaken) => {}
        Err(_) => return Ok(Instance::Alone),
    }
    if show {
        let token = std::env::var("XDG_ACTIVATION_TOKEN").ok().map(|token| zbus::Variant::from(token).try_into_owned());
        let data = token.and_then(Result::ok).map(|token| ("activation-token".to_owned(), token));
        let first = ApplicationProxy::builder(&connection).destination(NAME).build().await?;
        first.activate(data.into_iter().collect()).await?;
    }
    Ok(Instance::Second)
}
