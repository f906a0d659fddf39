//! The recorded history equals what the peer has seen, to the byte, whatever is closed, killed, rebooted or full meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/host.rs"]
mod host;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use host::{APPS, Host, USER};
use lab::{Application, LAN, OUTSIDE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use system::Daemon;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A computer whose user has a home.
struct Computer {
    host: Host,
    daemon: Daemon,
    home: tempfile::TempDir,
}

impl Computer {
    /// It counts exactly.
    async fn new() -> Self {
        let host = Host::new();
        let mut daemon = Daemon::new(&host.lab, &host.bus).await;
        daemon.boot("boot-1");
        daemon.start(&host.bus).await;
        host.bus.helper_of(0).await.install().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        chown(home.path(), Some(USER), None).unwrap();
        let config = home.path().join("netglance");
        fs::create_dir(&config).unwrap();
        chown(&config, Some(USER), None).unwrap();
        fs::write(config.join("config.toml"), "beat = 0.1\n").unwrap();
        Self { host, daemon, home }
    }

    fn app(&self, name: &str) -> Application {
        self.host.lab.application(&format!("{APPS}/{name}.service"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let home = self.home.path();
        let environment = [
            ("HOME", home),
            ("XDG_CONFIG_HOME", home),
            ("XDG_DATA_HOME", home),
            ("XDG_STATE_HOME", home),
            ("XDG_CACHE_HOME", home),
            // There is no such display, and nobody wants one.
            ("DISPLAY", Path::new(":63")),
            ("TZ", Path::new("UTC")),
        ];
        self.host.command(USER, &environment, arguments)
    }

    /// The program behind the tray, once it looks.
    fn netglance(&self) -> Running {
        let running = Running(self.command(&["--hidden"]).spawn().unwrap());
        let descriptors = PathBuf::from(format!("/proc/{}/fd", running.0.id()));
        eventually("it follows the cgroups", || {
            let links = fs::read_dir(&descriptors).map_err(|e| e.to_string())?.flatten();
            let links: Vec<_> = links.filter_map(|link| fs::read_link(link.path()).ok()).collect();
            if links.contains(&"anon_inode:inotify".into()) { Ok(()) } else { Err(format!("{links:?}")) }
        });
        running
    }

    /// What the history says that all have moved: external received and sent, internal received and sent, and how much of it is an
    /// estimate.
    fn recorded(&self) -> ([u64; 4], u64) {
        let output = self.command(&["history", "--json", "--since", "2d", "--by", "app"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {said}", output.status);
        let lines: Vec<Value> =
            output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let of = |field: &str| lines.iter().map(|line| line[field].as_u64().unwrap()).sum::<u64>();
        (["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes"].map(of), of("estimate_bytes"))
    }

    #[track_caller]
    fn agrees(&self, what: &str) {
        assert_eq!(self.recorded(), (self.host.lab.truth(), 0), "{what}");
    }
}

/// The program behind the tray.
struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap()).unwrap()
    }

    /// As a session ends it.
    fn quit(mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn tcp(address: &str) -> String {
    format!("tcp {address} 300000 1000000")
}

#[tokio::test]
async fn a_day_is_exact_whatever_is_closed_killed_or_rebooted() {
    let mut computer = Computer::new().await;
    let (mut a, mut b) = (computer.app("a"), computer.app("b"));
    let netglance = computer.netglance();
    let before = computer.host.lab.truth();
    assert_eq!(before, [0; 4]);
    for address in OUTSIDE.into_iter().chain(LAN) {
        a.run(&tcp(address));
        b.run(&format!("udp {address} 50 1000"));
    }
    netglance.quit();
    computer.agrees("it was told to end");

    a.run(&tcp(OUTSIDE[0]));
    let netglance = computer.netglance();
    b.run(&tcp(OUTSIDE[0]));
    computer.daemon.kill();
    a.run(&tcp(OUTSIDE[1]));
    computer.daemon.start(&computer.host.bus).await;
    a.run(&tcp(LAN[0]));
    netglance.quit();
    computer.netglance().quit();
    computer.agrees("it was closed, and the helper was killed");

    // Killed, and the app ends and starts again while nobody looks.
    let netglance = computer.netglance();
    a.run(&tcp(OUTSIDE[0]));
    kill_process(netglance.pid(), Signal::KILL).unwrap();
    drop(a);
    let mut a = computer.app("a");
    a.run(&tcp(OUTSIDE[0]));
    computer.netglance().quit();
    computer.agrees("it was killed");

    // A reboot with traffic until the shutdown, and before anybody looks again.
    let netglance = computer.netglance();
    a.run(&tcp(OUTSIDE[1]));
    netglance.quit();
    a.run(&tcp(OUTSIDE[0]));
    b.run(&tcp(LAN[1]));
    computer.daemon.signal(Signal::TERM);
    assert!(computer.daemon.ended().success(), "{}", computer.daemon.said());
    computer.daemon.boot("boot-2");
    eventually("the table goes with its last socket", || {
        let rules = computer.host.lab.host.nft("list ruleset").unwrap();
        if rules.is_empty() { Ok(()) } else { Err(rules) }
    });
    computer.daemon.start(&computer.host.bus).await;
    a.run(&tcp(OUTSIDE[0]));
    let netglance = computer.netglance();
    a.run(&tcp(OUTSIDE[1]));
    netglance.quit();
    computer.agrees("it was rebooted");
}
