//! An app as its owner has it: three services and a container are one, exact in the terminal and in the history.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/computer.rs"]
mod computer;
#[path = "support/host.rs"]
mod host;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/podman.rs"]
mod podman;
#[path = "support/system.rs"]
mod system;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use computer::Computer;
use host::APPS;
use lab::{Application, Lab, Namespace, OUTSIDE, eventually, tool};
use peers::MORE;
use podman::Podman;
use serde_json::Value;
use system::RealPolkit;

const SERVICES: [&str; 3] = [
    r"app-stb\x2dnext\x2dhost\x2dagent.slice/stb-next-host-agent@split.service",
    r"app-stb\x2dnext\x2dserver.slice/stb-next-server@split.service",
    r"app-stb\x2dnext\x2dshell.slice/stb-next-shell@split.service",
];
const OTHER: &str = r"app-electron\x2dgpt@autostart.service";
const CONFIG: &str = "beat = 0.1
[apps.StB]
units = [\"stb-next-*.service\"]
containers = [\"stb-*\"]
";

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A process in a container's network.
struct Inside {
    application: Application,
    _network: Namespace,
}

impl Inside {
    fn of(podman: &Podman, lab: &Lab, container: &str) -> Self {
        let name = format!("{}-{container}-{}", lab.host.name, podman.pid(container));
        tool("ip", &["netns", "attach", &name, &podman.pid(container).to_string()], "").unwrap();
        let network = Namespace { name };
        // One aggregate here would be several packets at the peer, with a header each.
        network.ip("link set eth0 gso_max_segs 1");
        Self { application: lab.application_in(&network, "machine.slice/containers.service"), _network: network }
    }
}

/// `watch --json` and its latest line.
struct Watch {
    child: Child,
    latest: Arc<Mutex<Value>>,
}

impl Watch {
    fn new(computer: &Computer) -> Self {
        let mut command = computer.command(&["watch", "--json", "--app", "StB"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdout, latest) = (child.stdout.take().unwrap(), Arc::<Mutex<Value>>::default());
        let kept = Arc::clone(&latest);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                *kept.lock().unwrap() = serde_json::from_str(&line).unwrap();
            }
        });
        let watch = Self { child, latest };
        eventually("its first line", || if watch.line().is_null() { Err(String::new()) } else { Ok(()) });
        watch
    }

    fn line(&self) -> Value {
        self.latest.lock().unwrap().clone()
    }

    /// Waits until it says what the peer has counted.
    #[track_caller]
    fn agrees(&self, lab: &Lab, what: &str) {
        eventually(what, || {
            let (line, truth) = (self.line(), lab.truth());
            let seen = ["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes"]
                .map(|field| line[field].as_u64().unwrap());
            let is_whole = (&line["source"], &line["lacks_containers"]) == (&"exact".into(), &false.into());
            if seen == truth && is_whole { Ok(()) } else { Err(format!("{truth:?}, {line}")) }
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

#[tokio::test]
async fn three_services_and_a_container_are_one_app_to_the_byte() {
    let mut computer = Computer::new().await;
    // The user is a member of the group docker by what polkit knows.
    let _polkit = RealPolkit::new(&computer.host.bus).await;
    peers::count(&computer.host.lab);
    fs::write(computer.home.path().join("netglance/config.toml"), CONFIG).unwrap();
    let lab = &computer.host.lab;
    lab.host.set("net/ipv4/ip_forward", "1");
    let mut podman = Podman::new(&lab.host.name);
    podman.start("stb-db", &["--label", "com.docker.compose.project=shop"], &["sleep", "1000"]);
    podman.start("other", &[], &["sleep", "1000"]);
    podman.serve();
    // As a member of the group docker may ask its daemon.
    let socket = podman.socket();
    let mode = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(socket.parent().unwrap().to_owned(), 0o755);
    mode(socket.clone(), 0o666);
    computer.environment.push(("CONTAINER_HOST", PathBuf::from(format!("unix://{}", socket.display()))));

    let lab = &computer.host.lab;
    let mut services = SERVICES.map(|service| lab.application(&format!("{APPS}/{service}")));
    let mut other = lab.application(&format!("{APPS}/{OTHER}"));
    let mut db = Inside::of(&podman, lab, "stb-db");
    let mut bystander = Inside::of(&podman, lab, "other");
    let netglance = computer.netglance();
    let watch = Watch::new(&computer);
    let work = |services: &mut [Application; 3], db: &mut Inside| {
        for (service, times) in services.iter_mut().zip(1..) {
            service.run(&format!("tcp {} {} {}", OUTSIDE[0], times * 10_000, times * 20_000));
            service.run(&format!("udp {} {times} 500", OUTSIDE[1]));
        }
        db.application.run(&format!("tcp {} 30000 50000", OUTSIDE[0]));
        db.application.run(&format!("udp {} 4 600", OUTSIDE[0]));
    };
    work(&mut services, &mut db);
    other.run(&format!("tcp {} 9000 9000", MORE[0]));
    bystander.application.run(&format!("tcp {} 8000 8000", MORE[1]));
    watch.agrees(lab, "the sum of all four, and nothing else");
    let units: Vec<_> =
        watch.line()["units"].as_array().unwrap().iter().map(|u| u["unit"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        units,
        [
            "stb-db",
            "stb-next-host-agent@split.service",
            "stb-next-server@split.service",
            "stb-next-shell@split.service"
        ]
    );

    // It has another address after a restart.
    let before = podman.address("stb-db");
    drop(db);
    podman.run(&["restart", "--time", "0", "stb-db"]);
    assert_ne!(podman.address("stb-db"), before);
    let mut db = Inside::of(&podman, lab, "stb-db");
    work(&mut services, &mut db);
    watch.agrees(lab, "with its other address");
    let apps = computer.command(&["apps", "--json"]).output().unwrap();
    let apps: Value = serde_json::from_slice(&apps.stdout).unwrap();
    let listed: Vec<_> = apps
        .as_array()
        .unwrap()
        .iter()
        .map(|app| (app["id"].as_str().unwrap().to_owned(), app["kind"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(listed[0], ("StB".to_owned(), "own".to_owned()), "{listed:?}");
    assert!(listed.contains(&("podman:other".to_owned(), "forwarded".to_owned())), "{listed:?}");
    assert!(!listed.iter().any(|(id, _)| id == "podman:stb-db"), "a part of StB: {listed:?}");

    netglance.quit();
    computer.agrees_for("StB", "while it ran");
    // While nobody looks.
    work(&mut services, &mut db);
    computer.netglance().quit();
    computer.agrees_for("StB", "while it was closed");
}
