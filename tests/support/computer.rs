//! A computer whose user has a home and netglance's history in it, and a helper that counts.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    host::{APPS, Host, USER},
    lab::{Application, eventually},
    system::Daemon,
};

/// The first boot, and the one after it.
pub const BOOTS: [&str; 2] = ["6f1d3c8e-0001-4b7a-9c55-3a1f0e2d4c6b", "6f1d3c8e-0002-4b7a-9c55-3a1f0e2d4c6b"];

/// A computer whose user has a home.
pub struct Computer {
    pub daemon: Daemon,
    pub home: tempfile::TempDir,
    /// What netglance finds in its environment as well.
    pub environment: Vec<(&'static str, PathBuf)>,
    pub host: Host,
}

impl Computer {
    /// It counts exactly.
    pub async fn new() -> Self {
        let host = Host::new();
        let mut daemon = Daemon::new(&host.lab, &host.bus).await;
        daemon.boot(BOOTS[0]);
        daemon.start(&host.bus).await;
        host.bus.helper_of(0).await.install().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        chown(home.path(), Some(USER), None).unwrap();
        let config = home.path().join("netglance");
        fs::create_dir(&config).unwrap();
        chown(&config, Some(USER), None).unwrap();
        fs::write(config.join("config.toml"), "beat = 0.1\n").unwrap();
        let computer = Self { daemon, home, environment: Vec::new(), host };
        fs::write(computer.boot_id(), BOOTS[0]).unwrap();
        computer
    }

    pub fn app(&self, name: &str) -> Application {
        self.host.lab.application(&format!("{APPS}/{name}.service"))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let (home, boot_id) = (self.home.path(), self.boot_id());
        let environment = [
            ("BOOT_ID", boot_id.as_path()),
            ("HOME", home),
            ("XDG_CONFIG_HOME", home),
            ("XDG_DATA_HOME", home),
            ("XDG_STATE_HOME", home),
            ("XDG_CACHE_HOME", home),
            // There is no such display, and nobody wants one.
            ("DISPLAY", Path::new(":63")),
            ("TZ", Path::new("UTC")),
        ];
        let more = self.environment.iter().map(|(name, value)| (*name, value.as_path()));
        let environment: Vec<_> = environment.into_iter().chain(more).collect();
        self.host.command(USER, &environment, arguments)
    }

    /// The program behind the tray, once it looks.
    pub fn netglance(&self) -> Running {
        let before = self.written();
        let running = self.begun();
        eventually("its first look is in the history", || {
            if self.written() == before { Err(fs::read_to_string(self.errors()).unwrap()) } else { Ok(()) }
        });
        running
    }

    /// What the kernel says which boot it is, for netglance.
    pub fn boot_id(&self) -> PathBuf {
        self.home.path().join("boot_id")
    }

    /// The program, though it may not be able to write.
    pub fn begun(&self) -> Running {
        let errors = File::create(self.errors()).unwrap();
        let running = Running(self.command(&["--hidden"]).stderr(errors).spawn().unwrap());
        // Bit 14 of what is caught: SIGTERM (proc_pid_status(5)).
        eventually("it hears when the session ends", || {
            let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).map_err(|e| e.to_string())?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
            let caught = caught.and_then(|caught| u64::from_str_radix(caught, 16).ok());
            if caught.is_some_and(|caught| caught & 1 << 14 != 0) { Ok(()) } else { Err(status) }
        });
        running
    }

    /// Is another when something was written. There is no such file while nobody writes.
    pub fn written(&self) -> Option<(u64, i64, i64)> {
        let file = fs::metadata(self.directory().join("history.db-wal")).ok().filter(|file| file.len() > 0)?;
        Some((file.len(), file.mtime(), file.mtime_nsec()))
    }

    pub fn errors(&self) -> PathBuf {
        self.home.path().join("errors")
    }

    /// Waits until the program has said something on standard error.
    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually("it says what is wrong", || {
            let said = fs::read_to_string(self.errors()).unwrap();
            if said.contains(text) { Ok(()) } else { Err(said) }
        });
    }

    pub fn directory(&self) -> PathBuf {
        self.home.path().join("netglance")
    }

    /// What the history says that all have moved: external received and sent, internal received and sent, and how much of it is an
    /// estimate.
    pub fn recorded(&self) -> ([u64; 4], u64) {
        self.recorded_of(&[])
    }

    fn recorded_of(&self, arguments: &[&str]) -> ([u64; 4], u64) {
        let history = ["history", "--json", "--since", "2d", "--by", "app"];
        let output = self.command(&[&history[..], arguments].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {said}", output.status);
        let lines: Vec<Value> =
            output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let of = |field: &str| lines.iter().map(|line| line[field].as_u64().unwrap()).sum::<u64>();
        (["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes"].map(of), of("estimate_bytes"))
    }

    #[track_caller]
    pub fn agrees(&self, what: &str) {
        assert_eq!(self.recorded(), (self.host.lab.truth(), 0), "{what}");
    }

    /// As [`Self::agrees`], for one of several apps.
    #[track_caller]
    pub fn agrees_for(&self, app: &str, what: &str) {
        assert_eq!(self.recorded_of(&["--app", app]), (self.host.lab.truth(), 0), "{what}");
    }
}

/// The program behind the tray.
pub struct Running(pub Child);

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap()).unwrap()
    }

    /// As a session ends it.
    pub fn quit(mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}
