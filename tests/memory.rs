//! The recorded history equals what the peer has seen, to the byte, whatever is closed, killed, rebooted or full meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/host.rs"]
mod host;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

use host::{APPS, Host, USER};
use lab::{Application, LAN, OUTSIDE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use system::Daemon;

const BOOTS: [&str; 2] = ["6f1d3c8e-0001-4b7a-9c55-3a1f0e2d4c6b", "6f1d3c8e-0002-4b7a-9c55-3a1f0e2d4c6b"];

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A computer whose user has a home.
struct Computer {
    daemon: Daemon,
    home: tempfile::TempDir,
    host: Host,
}

impl Computer {
    /// It counts exactly.
    async fn new() -> Self {
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
        let computer = Self { daemon, home, host };
        fs::write(computer.boot_id(), BOOTS[0]).unwrap();
        computer
    }

    fn app(&self, name: &str) -> Application {
        self.host.lab.application(&format!("{APPS}/{name}.service"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
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
        self.host.command(USER, &environment, arguments)
    }

    /// The program behind the tray, once it looks.
    fn netglance(&self) -> Running {
        let before = self.written();
        let running = self.begun();
        eventually("its first look is in the history", || {
            if self.written() == before { Err(fs::read_to_string(self.errors()).unwrap()) } else { Ok(()) }
        });
        running
    }

    /// What the kernel says which boot it is, for netglance.
    fn boot_id(&self) -> PathBuf {
        self.home.path().join("boot_id")
    }

    /// The program, though it may not be able to write.
    fn begun(&self) -> Running {
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
    fn written(&self) -> Option<(u64, i64, i64)> {
        let file = fs::metadata(self.directory().join("history.db-wal")).ok().filter(|file| file.len() > 0)?;
        Some((file.len(), file.mtime(), file.mtime_nsec()))
    }

    fn errors(&self) -> PathBuf {
        self.home.path().join("errors")
    }

    /// Waits until the program has said something on standard error.
    #[track_caller]
    fn says(&self, text: &str) {
        eventually("it says what is wrong", || {
            let said = fs::read_to_string(self.errors()).unwrap();
            if said.contains(text) { Ok(()) } else { Err(said) }
        });
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("netglance")
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
    computer.daemon.boot(BOOTS[1]);
    fs::write(computer.boot_id(), BOOTS[1]).unwrap();
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

#[tokio::test]
async fn killed_a_hundred_times_while_it_writes_it_loses_nothing() {
    let computer = Computer::new().await;
    let mut app = computer.app("a");
    computer.netglance().quit();
    for round in 0..100 {
        let netglance = computer.netglance();
        app.run(&format!("udp {} 5 1000", OUTSIDE[0]));
        // It writes what it has seen when it is told to end, and is killed at one moment or another meanwhile.
        kill_process(netglance.pid(), Signal::TERM).unwrap();
        thread::sleep(Duration::from_micros(500 * round));
        drop(netglance);
    }
    let left: Vec<_> = fs::read_dir(computer.directory()).unwrap().flatten().map(|file| file.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("damaged")), "{left:?}");
    computer.netglance().quit();
    computer.agrees("it was killed");
}

#[tokio::test]
async fn what_cannot_be_written_is_kept_until_it_can() {
    let computer = Computer::new().await;
    let mut app = computer.app("a");
    computer.netglance().quit();
    // A disk that is full.
    let directory = computer.directory();
    let small =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=700,uid=1", "none"]).arg(&directory).status();
    assert!(small.unwrap().success());
    let filled = directory.join("filled");
    assert!(fs::write(&filled, vec![0; 1 << 20]).is_err());
    let netglance = computer.begun();
    computer.says("netglance keeps trying and holds the new figures in memory until then.");
    app.run(&tcp(OUTSIDE[0]));
    fs::remove_file(&filled).unwrap();
    netglance.quit();
    let before = computer.recorded().0;
    computer.netglance().quit();
    let after = computer.recorded().0;
    assert_eq!((before, after), (computer.host.lab.truth(), computer.host.lab.truth()));
    assert!(Command::new("umount").arg(&directory).status().unwrap().success());
    computer.netglance().quit();
    computer.agrees("the first history is there again");

    // A damaged file is put aside, and a new one begins.
    fs::write(directory.join("history.db"), b"no database at all ".repeat(1000)).unwrap();
    let netglance = computer.netglance();
    computer.says("The recorded history was damaged, so a new one was started. The old file was kept as ");
    app.run(&tcp(OUTSIDE[0]));
    netglance.quit();
    assert!(fs::read(directory.join("history.db.damaged-1")).unwrap().starts_with(b"no database at all "));
    let (recorded, _) = computer.recorded();
    assert!(recorded[0] >= 1_000_000, "{recorded:?}");
}

#[tokio::test]
async fn a_second_program_counts_nothing_twice_and_takes_over() {
    let computer = Computer::new().await;
    let mut app = computer.app("a");
    let first = computer.netglance();
    app.run(&tcp(OUTSIDE[0]));
    let second = computer.begun();
    computer.says("Not recording here, because another netglance of yours is already recording.");
    app.run(&tcp(OUTSIDE[0]));
    first.quit();
    app.run(&tcp(OUTSIDE[1]));
    eventually("the second one takes over", || if computer.written().is_some() { Ok(()) } else { Err(String::new()) });
    app.run(&tcp(OUTSIDE[0]));
    second.quit();
    computer.agrees("each byte was recorded by one of them");
}

#[tokio::test]
async fn what_is_counted_while_recording_is_off_is_never_made_up() {
    let computer = Computer::new().await;
    let mut app = computer.app("a");
    let config = computer.directory().join("config.toml");
    let record = |on: bool| fs::write(&config, format!("beat = 0.1\n\n[history]\nrecord = {on}\n")).unwrap();
    app.run(&tcp(OUTSIDE[0]));
    let netglance = computer.netglance();
    app.run(&tcp(OUTSIDE[0]));
    netglance.quit();
    let recorded = computer.recorded();
    assert_ne!(recorded.0, [0; 4]);
    record(false);
    let netglance = computer.begun();
    app.run(&tcp(OUTSIDE[0]));
    netglance.quit();
    app.run(&tcp(OUTSIDE[0]));
    assert_eq!(computer.recorded(), recorded);
    record(true);
    computer.netglance().quit();
    assert_eq!(computer.recorded(), recorded, "what was moved meanwhile is nobody's business");

    // The same while it runs.
    let netglance = computer.netglance();
    app.run(&tcp(OUTSIDE[0]));
    record(false);
    eventually("it writes no more", || if computer.written().is_none() { Ok(()) } else { Err(String::new()) });
    let recorded = computer.recorded();
    app.run(&tcp(OUTSIDE[0]));
    record(true);
    eventually("it writes again", || if computer.written().is_some() { Ok(()) } else { Err(String::new()) });
    let before = computer.host.lab.truth();
    app.run(&tcp(OUTSIDE[1]));
    netglance.quit();
    let [moved, added] = [(before, computer.host.lab.truth()), (recorded.0, computer.recorded().0)]
        .map(|(before, after)| std::array::from_fn::<u64, 4, _>(|i| after[i] - before[i]));
    assert_eq!(moved, added);
}
