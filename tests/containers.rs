//! Who has which forwarded address: real podman over its real API, stand-ins that behave badly, and a real bus with a stand-in for
//! systemd-machined.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/podman.rs"]
mod podman;
mod support;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use netglance::look::engines::{Engine, Engines, Places, State};
use podman::Podman;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

/// Longer than a slow machine takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network namespace, which goes with this.
struct Network(String);

impl Network {
    fn new(name: &str) -> Self {
        let network = Self(format!("ng-{name}-{}", std::process::id()));
        ip(&["netns", "add", &network.0]);
        ip(&["-n", &network.0, "link", "set", "lo", "up"]);
        network
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {}", arguments.join(" "));
}

fn docker(socket: &Path) -> Places {
    Places { docker: vec![socket.to_owned()], ..Places::default() }
}

/// Waits until `done`, as a program does that looks once in a while.
async fn eventually(engines: &mut Engines, what: &str, mut done: impl FnMut(&Engines) -> bool) {
    let waited = async {
        engines.refresh();
        while !done(engines) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            engines.refresh();
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waited).await.is_ok();
    assert!(in_time, "never came true: {what}; {:?} {:?}", engines.states(), engines.holders());
}

async fn named(engines: &mut Engines, name: &str, project: Option<&str>, address: &str) {
    let at: IpAddr = address.parse().unwrap();
    eventually(engines, &format!("{address} is {name}"), |engines| {
        engines.holder_of(at).is_some_and(|holder| holder.name == name && holder.project.as_deref() == project)
    })
    .await;
}

async fn fails(engines: &mut Engines, reason: &str) {
    eventually(
        engines,
        reason,
        |engines| matches!(&engines.states()[0].state, State::Failed(why) if why.contains(reason)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_real_podman_keep_their_names_whatever_happens_to_them() {
    let network = Network::new("podman");
    let mut podman = Podman::new(&network.0);
    // Before there is anything, and at what is said to be docker's socket.
    let mut engines = Engines::new(&docker(&podman.socket()));
    engines.settle().await;
    assert_eq!(engines.states()[0].state, State::Absent);
    podman.start("db", &["--label", "com.docker.compose.project=shop"], &["sleep", "1000"]);
    podman.start("web", &["--label", "io.podman.compose.project=shop", "--publish", "8080:80"], &["sleep", "1000"]);
    podman.serve();
    let (db, web) = (podman.address("db"), podman.address("web"));
    named(&mut engines, "db", Some("shop"), &db).await;
    named(&mut engines, "web", Some("shop"), &web).await;
    assert_eq!(engines.states()[0].engine, Engine::Podman, "it says itself what it is");
    assert_eq!(engines.states()[0].state, State::Answered { running: 2, left_out: 0 });
    assert_eq!(engines.path_of(db.parse().unwrap()), format!("/forwarded/podman/shop/db/{db}"));

    // A restart gives it another address; its old one is nobody's, until another container has it.
    podman.run(&["restart", "--time", "0", "db"]);
    let moved = podman.address("db");
    assert_ne!(db, moved);
    named(&mut engines, "db", Some("shop"), &moved).await;
    assert_eq!(engines.holder_of(db.parse().unwrap()), None);
    podman.start("fixed", &["--ip", &db], &["sleep", "1000"]);
    named(&mut engines, "fixed", None, &db).await;
    podman.run(&["rename", "fixed", "renamed"]);
    named(&mut engines, "renamed", None, &db).await;
    // The same address after a restart.
    podman.run(&["stop", "--time", "0", "renamed"]);
    let address = db.parse().unwrap();
    eventually(&mut engines, "it has stopped", |engines| engines.holder_of(address).is_none()).await;
    podman.run(&["start", "renamed"]);
    named(&mut engines, "renamed", None, &db).await;

    // The containers go on without the service, and so do their names. What happened meanwhile is known once it is back.
    podman.kill_service();
    eventually(&mut engines, "it has gone", |engines| !matches!(engines.states()[0].state, State::Answered { .. }))
        .await;
    named(&mut engines, "renamed", None, &db).await;
    podman.run(&["rename", "renamed", "meanwhile"]);
    podman.serve();
    named(&mut engines, "meanwhile", None, &db).await;
    podman.run(&["network", "create", "--ipv6", "--subnet", "10.90.0.0/24", "--subnet", "fd00:90::/64", "back"]);
    podman.run(&["network", "connect", "--ip", "10.90.0.9", "--ip6", "fd00:90::9", "back", "web"]);
    named(&mut engines, "web", Some("shop"), "10.90.0.9").await;
    named(&mut engines, "web", Some("shop"), "fd00:90::9").await;
    named(&mut engines, "web", Some("shop"), &web).await;
}

/// Answers that to whoever asks which containers run; of changes it tells nobody.
async fn stand_in(listener: UnixListener, answer: Vec<u8>, endless: bool) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked).await.unwrap_or_default();
            if asked[..length].starts_with(b"GET /containers/json ") {
                _ = stream.write_all(&answer).await;
                while endless && stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
            }
            // Until the other side ends it.
            _ = stream.read(&mut asked).await;
        });
    }
}

fn with_body(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nServer: Docker/27.0 (linux)\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_behaves_badly_is_said_to() {
    let directory = tempfile::tempdir().unwrap();
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n";
    for (name, answer, endless, reason) in [
        ("hangs", Vec::new(), false, "it has not answered for 5 seconds"),
        (
            "stops",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[".to_vec(),
            false,
            "it has not answered for 5 seconds",
        ),
        ("babbles", b"what?\n\n".to_vec(), false, "its answer can't be read"),
        ("heads", b"HTTP/1.1 200 OK\r\nx: ".to_vec(), true, "its answer can't be read"),
        ("bodies", chunk.into(), true, "its answer is longer than 32 MiB"),
        ("fails", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(), false, "it answers with error 500"),
        ("html", with_body("<html>"), false, "its answer was not understood"),
    ] {
        let socket = directory.path().join(name);
        let server = tokio::spawn(stand_in(UnixListener::bind(&socket).unwrap(), answer, endless));
        let mut engines = Engines::new(&docker(&socket));
        assert!(!engines.refresh(), "{name}");
        fails(&mut engines, reason).await;
        assert!(engines.holders().is_empty());
        server.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_containers_are_named_as_far_as_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let container = |n: u32| {
        let address = std::net::Ipv4Addr::from(0x0A00_0000 + n);
        format!(r#"{{"Names":["/c{n:05}"],"NetworkSettings":{{"Networks":{{"bridge":{{"IPAddress":"{address}"}}}}}}}}"#)
    };
    let all = (1..=10_000).map(container).collect::<Vec<_>>().join(",");
    let _server = tokio::spawn(stand_in(UnixListener::bind(&socket).unwrap(), with_body(&format!("[{all}]")), false));
    let mut engines = Engines::new(&docker(&socket));
    named(&mut engines, "c00001", None, "10.0.0.1").await;
    assert_eq!(engines.holders().len(), 4096);
    assert_eq!(engines.states()[0].state, State::Answered { running: 10_000, left_out: 10_000 - 4096 });
    // The same answer again is no news.
    engines.seen(["10.255.0.1".parse().unwrap()]);
    engines.settle().await;
    assert!(!engines.refresh());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_somebody_elses_or_another_ones_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("podman.sock");
    let link = directory.path().join("docker.sock");
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    let body = r#"[{"Names":["/a"],"NetworkSettings":{"Networks":{"p":{"IPAddress":"10.88.0.2"}}}}]"#;
    let _server = tokio::spawn(stand_in(UnixListener::bind(&socket).unwrap(), with_body(body), false));
    let mut engines = Engines::new(&Places { podman: vec![socket.clone()], ..docker(&link) });
    named(&mut engines, "a", None, "10.88.0.2").await;
    engines.settle().await;
    let states: Vec<_> = engines.states().into_iter().map(|told| told.state).collect();
    assert_eq!(states, [State::Answered { running: 1, left_out: 0 }, State::Absent]);

    let mut engines = Engines::new(&Places { owner: 12345, ..docker(&socket) });
    engines.settle().await;
    assert_eq!(engines.states()[0].state, State::Rootless);
    let file: PathBuf = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let mut engines = Engines::new(&docker(&file));
    fails(&mut engines, "it is not a socket").await;
}

/// As machined says addresses: the family, and the bytes.
type Addresses = Vec<(i32, Vec<u8>)>;

/// A stand-in for systemd-machined, with one machine whose addresses come after it, one on the host's network, and the host.
struct Machined {
    addresses: std::sync::Arc<std::sync::Mutex<Addresses>>,
}

#[zbus::interface(name = "org.freedesktop.machine1.Manager")]
impl Machined {
    fn list_machines(&self) -> Vec<(String, String, String, zbus::OwnedObjectPath)> {
        let machine = |name: &str, service: &str| {
            let path = zbus::ObjectPath::try_from("/org/freedesktop/machine1/machine/x").unwrap();
            (name.to_owned(), "container".to_owned(), service.to_owned(), path.into())
        };
        vec![machine(".host", ""), machine("debian", "systemd-nspawn"), machine("hosts", "systemd-nspawn")]
    }

    fn get_machine_addresses(&self, name: String) -> zbus::fdo::Result<Vec<(i32, Vec<u8>)>> {
        match name.as_str() {
            "debian" => Ok(self.addresses.lock().unwrap().clone()),
            _ => Err(zbus::fdo::Error::Failed("no private network".into())),
        }
    }

    #[zbus(signal)]
    async fn machine_new(
        emitter: &zbus::object_server::SignalEmitter<'_>,
        name: &str,
        path: zbus::ObjectPath<'_>,
    ) -> zbus::Result<()>;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_named_once_they_have_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, bus) = desk::bus(directory.path(), "system");
    let mut engines = Engines::new(&Places { machined: Some(bus.clone()), ..Places::default() });
    engines.settle().await;
    assert_eq!(engines.states()[0].state, State::Absent, "nobody has started it");
    let addresses = std::sync::Arc::default();
    let path = "/org/freedesktop/machine1";
    let builder = zbus::connection::Builder::address(bus.as_str()).name("org.freedesktop.machine1");
    let builder = builder.serve_at(path, Machined { addresses: std::sync::Arc::clone(&addresses) });
    let machined = builder.build().await.unwrap();
    eventually(&mut engines, "it answers", |engines| {
        engines.states()[0].state == State::Answered { running: 0, left_out: 0 }
    })
    .await;
    // Its address comes after the signal.
    let emitter = machined.object_server().interface::<_, Machined>(path).await.unwrap();
    let machine = zbus::ObjectPath::try_from("/org/freedesktop/machine1/machine/debian").unwrap();
    Machined::machine_new(emitter.signal_emitter(), "debian", machine).await.unwrap();
    let mut link_local = vec![0xfe, 0x80];
    link_local.resize(16, 1);
    *addresses.lock().unwrap() = vec![(2, vec![10, 0, 0, 7]), (10, link_local)];
    named(&mut engines, "debian", None, "10.0.0.7").await;
    assert_eq!(engines.holders()[0].addresses.len(), 1);
    // Another one, of which nothing is told, is asked for once it is seen.
    addresses.lock().unwrap().push((2, vec![10, 0, 0, 8]));
    engines.seen(["10.0.0.8".parse().unwrap()]);
    named(&mut engines, "debian", None, "10.0.0.8").await;
    assert_eq!(engines.path_of("10.0.0.8".parse().unwrap()), "/forwarded/nspawn/debian/10.0.0.8");
    assert_eq!(engines.path_of("10.9.9.9".parse().unwrap()), "/forwarded/bridge/unknown/10.9.9.9");
}
