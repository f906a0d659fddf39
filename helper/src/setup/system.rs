//! The bus and systemd: have them read the files that came or went, start the helper, stop it.

use std::io;

use futures_lite::StreamExt as _;
use netglance_dbus::helper1::Helper1Proxy;
use zbus::{
    Connection, OwnedObjectPath,
    fdo::{self, DBusProxy},
    proxy::CacheProperties,
};

use super::{Error, UNIT};

/// systemd's own interface, as far as it is needed (org.freedesktop.systemd1(5)).
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<(String, String, String)>)>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<(String, String, String)>>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

/// The bus and systemd, told of files that came or went.
pub(super) struct System {
    bus: DBusProxy<'static>,
    manager: ManagerProxy<'static>,
    pub(super) helper: Helper1Proxy<'static>,
}

impl System {
    pub(super) async fn open() -> Result<Self, Error> {
        let open = async {
            let connection = Connection::system().await?;
            let manager = ManagerProxy::new(&connection).await?;
            manager.subscribe().await?;
            Ok(Self {
                bus: DBusProxy::new(&connection).await?,
                manager,
                helper: Helper1Proxy::builder(&connection).cache_properties(CacheProperties::No).build().await?,
            })
        };
        open.await.map_err(Error::bus("reach systemd on the system bus"))
    }

    /// Has the bus and systemd read their files again.
    pub(super) async fn reload(&self) -> Result<(), Error> {
        let reloaded = self.bus.reload_config().await.map_err(zbus::Error::from);
        reloaded.map_err(Error::bus("make the bus read its configuration"))?;
        self.manager.reload().await.map_err(Error::bus("make systemd read its units"))
    }

    /// Starts the helper that is in place now, at every boot too. One that runs hands its socket over through systemd.
    pub(super) async fn start(&self) -> Result<(), Error> {
        self.reload().await?;
        let enabled = self.manager.enable_unit_files(&[UNIT], false, true).await;
        enabled.map_err(Error::bus("make systemd start the helper at boot"))?;
        self.job("start", self.manager.restart_unit(UNIT, "replace")).await
    }

    /// Stops it and keeps it from starting. One that is not there is as good as stopped.
    pub(super) async fn stop(&self) -> Vec<Error> {
        let stopped = self.job("stop", self.manager.stop_unit(UNIT, "replace")).await;
        let disabled = self.manager.disable_unit_files(&[UNIT], false).await;
        let disabled = disabled.map(drop).map_err(Error::bus("keep the helper from starting at boot"));
        [stopped, disabled].into_iter().filter_map(Result::err).filter(|error| !is_absent(error)).collect()
    }

    /// Waits for the end of a job that `begin` makes.
    pub(super) async fn job(
        &self,
        doing: &'static str,
        begin: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    ) -> Result<(), Error> {
        let failed = Error::bus(if doing == "stop" { "stop the helper" } else { "start the helper" });
        let wait = async {
            // Listened for first: the job may be done before its name has come back.
            let mut ends = self.manager.receive_job_removed().await?;
            let job = begin.await?;
            while let Some(end) = ends.next().await {
                let end = end.args()?;
                if end.job == job {
                    return Ok(end.result);
                }
            }
            Err(zbus::Error::InputOutput(io::Error::from(io::ErrorKind::ConnectionAborted).into()))
        };
        let result = wait.await.map_err(failed)?;
        if result == "done" { Ok(()) } else { Err(Error::Job { doing, result }) }
    }
}

/// Whether systemd or the bus says that there is no such thing.
pub(super) fn is_absent(error: &Error) -> bool {
    let Error::Bus { source, .. } = error else { return false };
    match source {
        zbus::Error::FDO(error) => matches!(**error, fdo::Error::ServiceUnknown(_)),
        zbus::Error::MethodError(name, ..) => *name == "org.freedesktop.systemd1.NoSuchUnit",
        _ => false,
    }
}
