//! The cgroup in which `netglance run` and `netglance start` start a command.

use std::{fs, io, path::PathBuf};

use futures_lite::StreamExt;
use rustix::process::Pid;
use zbus::{OwnedObjectPath, Variant};

use crate::{cli::Error, look::monitor::Monitor};

/// The beginning of the names of cgroups for commands.
pub const PREFIX: &str = "netglance-run-";

/// The cgroup made for the command.
pub struct OwnCgroup {
    /// As in /proc/PID/cgroup.
    pub path: String,
    /// To be removed at the end; systemd removes its scopes itself.
    pub directory: Option<PathBuf>,
}

/// A transient scope of the user's systemd, or a child cgroup if there is no such systemd.
pub async fn own_cgroup(pid: Pid, monitor: &Monitor) -> Result<OwnCgroup, Error> {
    let scope = Scope { name: format!("{PREFIX}{pid}.scope"), description: "netglance run", slice: None };
    let systemd = match scope.take_in(pid).await {
        Ok(()) => return Ok(OwnCgroup { path: cgroup_of(&pid.to_string())?, directory: None }),
        Err(error) => format!("the user's systemd cannot create a scope ({error})"),
    };
    let name = format!("{PREFIX}{pid}");
    let own = cgroup_of("self")?;
    let directory = monitor.tree().directory(&own).join(&name);
    let made = fs::create_dir(&directory).and_then(|()| fs::write(directory.join("cgroup.procs"), pid.to_string()));
    if let Err(error) = made {
        _ = fs::remove_dir(&directory);
        let cgroupfs = format!("{} cannot be created or used ({error})", directory.display());
        return Err(Error::NoCgroup { systemd, cgroupfs });
    }
    Ok(OwnCgroup { path: cgroup_of(&pid.to_string())?, directory: Some(directory) })
}

/// The cgroup v2 path of a process.
fn cgroup_of(process: &str) -> Result<String, Error> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).map_err(Error::io("read the command's cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned).ok_or_else(|| Error::io("find the command's cgroup v2")(io::ErrorKind::NotFound.into()))
}

/// org.freedesktop.systemd1(5)
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;

    fn subscribe(&self) -> zbus::Result<()>;

    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        aux: &[(&str, &[(&str, Variant<'_>)])],
    ) -> zbus::Result<OwnedObjectPath>;
}

/// A transient scope of the user's systemd.
pub struct Scope<'a> {
    /// The unit's name.
    pub name: String,
    /// What systemd says of it.
    pub description: &'a str,
    /// The slice's name; `None`: that of systemd's choice.
    pub slice: Option<&'a str>,
}

impl Scope<'_> {
    /// Makes it, puts a process into it and waits until that is there.
    pub async fn take_in(&self, pid: Pid) -> Result<(), zbus::Error> {
        let connection = zbus::Connection::session().await?;
        let manager = ManagerProxy::new(&connection).await?;
        manager.subscribe().await?;
        let mut removed = manager.receive_job_removed().await?;
        let pids = [u32::try_from(pid.as_raw_pid()).unwrap_or_default()];
        let mut properties = vec![
            ("PIDs", Variant::from(&pids[..])),
            ("Description", Variant::from(self.description)),
            ("CollectMode", Variant::from("inactive-or-failed")),
        ];
        properties.extend(self.slice.map(|slice| ("Slice", Variant::from(slice))));
        let job = manager.start_transient_unit(&self.name, "fail", &properties, &[]).await?;
        while let Some(signal) = removed.next().await {
            let args = signal.args()?;
            if args.job == job {
                return if args.result == "done" {
                    Ok(())
                } else {
                    Err(zbus::Error::Failure(format!("the job ended as {}", args.result)))
                };
            }
        }
        Err(zbus::Error::Failure("the bus closed the connection".to_owned()))
    }
}
