//! What runs in a sandbox, or in a container without root: its bytes leave by sockets of this host, in the user's own cgroup, and are
//! counted there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Instant,
};

use lab::{LAN, Lab, OUTSIDE};
use system::{Bus, Daemon};

const APP: &str = "user.slice/user-1.slice/user@1.service/app.slice/a.scope";

/// bubblewrap, as Flatpak uses it: other mounts and process numbers, the host's network.
const BUBBLEWRAP: &str = r#"exec bwrap --dev-bind / / --unshare-pid --unshare-ipc --proc /proc -- "$@""#;

/// slirp4netns, as rootless podman and docker use it: a network of its own, whose connections a process of the user's makes.
const SLIRP: &str = r#"exec 3<&0
    unshare --net sh -c 'tries=0
        until ip route show default 2>/dev/null | grep -q tap0; do
            tries=$((tries + 1)); [ $tries -lt 1200 ] || exit 1; sleep 0.05
        done; exec "$@"' sh "$@" <&3 &
    app=$!
    while [ "$(readlink /proc/$app/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
    slirp4netns --configure --mtu=1500 "$app" tap0 >/dev/null 2>&1 &
    network=$!
    wait "$app"
    kill "$network""#;

/// pasta, which newer podman uses for the same.
const PASTA: &str = r#"exec pasta --quiet --runas 0:0 --config-net --no-map-gw -- "$@""#;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// Has an application do this in a sandbox.
fn run_in(sandbox: &str, lab: &Lab, tasks: &[String]) {
    let cgroup = lab.cgroup.join(APP);
    std::fs::create_dir_all(&cgroup).unwrap();
    let script = format!("echo $$ > \"$0/cgroup.procs\"\n{sandbox}");
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", lab.host.name)).args(["sh", "-c", &script]).arg(cgroup);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "application", "--nocapture", "--test-threads=1"]).env("NETGLANCE_LAB_APPLICATION", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stdin = child.stdin.take().unwrap();
    for task in tasks {
        writeln!(stdin, "{task}").unwrap();
        assert!(said.any(|line| line.unwrap().ends_with("done")), "{sandbox}: it ended at: {task}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success() || sandbox == SLIRP, "{sandbox}");
}

async fn counts_to_the_byte(sandbox: &str) {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(0).await.install().await.unwrap();
    let tasks = [OUTSIDE[0], LAN[0]].map(|to| [format!("tcp {to} 30000 70000"), format!("udp {to} 5 700")]).concat();
    run_in(sandbox, &lab, &tasks);
    let end = Instant::now() + lab::PATIENCE;
    loop {
        let (_, _, rows) = bus.helper_of(0).await.read_all().await.unwrap();
        let row = rows.into_iter().find(|row| row.cgroup.ends_with(APP)).unwrap_or_default();
        let counted = [row.rx_bytes, row.tx_bytes, row.internal_rx_bytes, row.internal_tx_bytes];
        let truth = lab.truth();
        if counted == truth {
            assert!(counted[0] > 70_000 && counted[1] > 30_000, "{counted:?}");
            break;
        }
        assert!(Instant::now() < end, "{counted:?}, the peer {truth:?}");
    }
}

#[tokio::test]
async fn a_sandbox_like_flatpaks_is_counted_to_the_byte() {
    counts_to_the_byte(BUBBLEWRAP).await;
}

#[tokio::test]
async fn a_network_by_slirp4netns_is_counted_to_the_byte() {
    counts_to_the_byte(SLIRP).await;
}

#[tokio::test]
async fn a_network_by_pasta_is_counted_to_the_byte() {
    counts_to_the_byte(PASTA).await;
}
