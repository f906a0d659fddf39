//! A host with its bus, and netglance on it as its users start it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use super::{lab::Lab, system::Bus};

/// A user that every Debian has, and where systemd puts what is theirs.
pub const USER: u32 = 1;
pub const APPS: &str = "user.slice/user-1.slice/user@1.service/app.slice";
/// The host, its bus, and netglance's program.
pub struct Host {
    pub lab: Lab,
    pub bus: Bus,
    pub program: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        let built = Path::new(env!("CARGO_BIN_EXE_netglance-helper")).with_file_name("netglance");
        assert!(built.exists(), "{} is not built: cargo build --package netglance", built.display());
        // Where any user may run it.
        let program = tempfile::tempdir().unwrap();
        fs::copy(built, program.path().join("netglance")).unwrap();
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { lab: Lab::default(), bus: Bus::new(), program }
    }

    /// What starts netglance on the host as a user, in a session scope of theirs, with this in its environment.
    pub fn command(&self, uid: u32, environment: &[(&str, &Path)], arguments: &[&str]) -> Command {
        let outer = r#"echo $$ > "$0/cgroup.procs" && exec unshare --mount --cgroup "$@""#;
        let inner = r#"umount -l "$0"; mount -t cgroup2 cgroup2 "$0" && mkdir -p "$0/$1" &&
            echo $$ > "$0/$1/cgroup.procs" && shift && exec "$@""#;
        let mount = netglance_dbus::cgroup::Tree::open().unwrap().mount().to_owned();
        let session = format!("user.slice/user-{uid}.slice/session-{uid}.scope");
        let mut command = Command::new("sh");
        command.args(["-c", outer]).arg(&self.lab.cgroup).args(["sh", "-c", inner]).arg(mount).arg(session);
        command.arg("nsenter").arg(format!("--net=/run/netns/{}", self.lab.host.name));
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
        command.arg("setpriv").args(ids).args(["--clear-groups", "--inh-caps=-all"]);
        command.arg(self.program.path().join("netglance")).args(arguments);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus.address).env("HOME", "/nonexistent");
        for variable in ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DISPLAY", "WAYLAND_DISPLAY"]
        {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        command
    }
}
