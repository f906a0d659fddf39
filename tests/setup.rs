//! `netglance-helper set-up` and `take-out` as pkexec starts them, with a real bus and helper, a stand-in for systemd, and a
//! root file system of their own: whatever limits the caller hands on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::process::{Command, Stdio};

use lab::Lab;
use system::{Bus, Daemon};
use zbus::{Connection, OwnedObjectPath, object_server::SignalEmitter};

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// systemd, as far as set-up asks it (org.freedesktop.systemd1(5)). It starts and stops nothing.
struct Manager;

type Links = Vec<(String, String, String)>;

impl Manager {
    async fn done(emitter: &SignalEmitter<'_>, unit: &str) -> OwnedObjectPath {
        let job = OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").unwrap();
        Self::job_removed(emitter, 1, job.clone(), unit, "done").await.unwrap();
        job
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    fn reload(&self) {}

    async fn restart_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        Self::done(&emitter, name).await
    }

    async fn stop_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        Self::done(&emitter, name).await
    }

    fn enable_unit_files(&self, _files: Vec<String>, _runtime: bool, _force: bool) -> (bool, Links) {
        (true, Links::new())
    }

    fn disable_unit_files(&self, _files: Vec<String>, _runtime: bool) -> Links {
        Links::new()
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// Runs a shell script where this system's files are, what is written is in memory, and all of it goes with the script. In it,
/// `helper LIMIT WORD` starts the helper's program as pkexec does, and `files` lists what stands there that didn't before.
fn on_a_system(bus: &Bus, script: &str) -> String {
    let system = r#"set -e
        mount -t tmpfs -o mode=755 tmpfs /mnt
        mkdir /mnt/upper /mnt/work /mnt/root
        mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
        mount --rbind /proc /mnt/root/proc
        mkdir -p "/mnt/root$2"
        mount --bind "$2" "/mnt/root$2"
        mount -t tmpfs tmpfs /mnt/root/run
        : > /mnt/root/run/netglance-helper
        mount --bind "$1" /mnt/root/run/netglance-helper
        helper() { prlimit "$1" chroot /mnt/root /run/netglance-helper "$2"; }
        files() { (cd /mnt/upper && find . ! -type d | sort); }
        eval "$0""#;
    let directory = bus.address.strip_prefix("unix:path=").unwrap().strip_suffix("/bus").unwrap();
    let mut command = Command::new("unshare");
    let program = env!("CARGO_BIN_EXE_netglance-helper");
    command.args(["--mount", "sh", "-c", system, script, program, directory]);
    let output = command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const FILES: &str = "\
./etc/dbus-1/system.d/org.netglance.Helper1.conf
./etc/systemd/system/netglance-helper.service
./usr/local/libexec/netglance-helper
./usr/local/share/dbus-1/system-services/org.netglance.Helper1.service
./usr/share/polkit-1/actions/org.netglance.policy
./usr/share/polkit-1/rules.d/org.netglance.rules
";

struct System {
    bus: Bus,
    _systemd: Connection,
    _daemon: Daemon,
    _lab: Lab,
}

impl System {
    async fn new() -> Self {
        let (lab, bus) = (Lab::default(), Bus::new());
        let systemd = bus.connect(0).await;
        systemd.object_server().at("/org/freedesktop/systemd1", Manager).await.unwrap();
        systemd.request_name("org.freedesktop.systemd1").await.unwrap();
        let daemon = Daemon::new(&lab, &bus).await;
        Self { bus, _systemd: systemd, _daemon: daemon, _lab: lab }
    }

    async fn run(self, script: &'static str) -> String {
        tokio::task::spawn_blocking(move || on_a_system(&self.bus, script)).await.unwrap()
    }
}

#[tokio::test]
async fn the_callers_limits_are_not_the_programs() {
    let script = "for limit in --fsize=1000: --nofile=12: --cpu=1: --stack=100000:; do
            echo $limit; helper $limit set-up; files; echo; helper $limit take-out; files
        done";
    let expected = ["--fsize=1000:", "--nofile=12:", "--cpu=1:", "--stack=100000:"];
    let expected: String = expected.iter().map(|limit| format!("{limit}\n{FILES}\n")).collect();
    assert_eq!(System::new().await.run(script).await, expected);
}

/// Root in a container without CAP_SYS_RESOURCE can't lift a hard limit: then nothing is put there.
#[tokio::test]
async fn a_hard_limit_leaves_all_or_nothing() {
    let script = "for limit in --fsize=1000 --fsize=100000 --nofile=12; do
            helper $limit set-up 2>&1 || echo; files; echo ---; helper --nofile=1024: take-out; files
        done";
    let text = System::new().await.run(script).await;
    let outcomes: Vec<&str> = text.split("---\n").collect();
    assert!(outcomes.len() == 4 && outcomes[3].is_empty(), "{text}");
    for outcome in &outcomes[..3] {
        let refused = outcome.contains("cannot write /usr/local/libexec") && !outcome.contains("./");
        assert!(*outcome == FILES || refused, "{text}");
    }
}

#[tokio::test]
async fn what_a_killed_set_up_has_left_goes_with_the_next() {
    // Where they are made, under each name that a file has until it is whole.
    let script = "
        left=$(for file in etc/dbus-1/system.d/org.netglance.Helper1 etc/systemd/system/netglance-helper \
            usr/local/libexec/netglance-helper usr/local/share/dbus-1/system-services/org.netglance.Helper1 \
            usr/share/polkit-1/actions/org.netglance; do echo /mnt/root/$file.new; done)
        leave() { for file in $left; do mkdir -p ${file%/*}; echo half > $file; done; }
        leave; helper --nofile=1024 take-out; files; echo; leave; helper --nofile=1024 set-up; files; leave
        helper --nofile=1024 take-out; files";
    assert_eq!(System::new().await.run(script).await, format!("\n{FILES}"));
}
