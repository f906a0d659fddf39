//! What containers and virtual machines move, as the helper counts it: each one's bytes to the byte, and nothing twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/system.rs"]
mod system;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lab::{Application, LAN, Lab, Namespace, OUTSIDE, application::Family as _, tool};
use netglance_dbus::{
    forwarded::{Forwarded, ForwardedSample},
    helper1::Error,
};
use peers::MORE;
use rustix::net::{AddressFamily, SocketType};
use system::{Answer, Bus, Daemon, Polkit};

const ROOT: u32 = 0;
const USER: u32 = 1;
const APP: &str = "user.slice/user-1.slice/user@1.service/app.slice/a.service";
/// Where containers' processes are: nothing is booked there.
const ENGINE: &str = "system.slice/engine.service";
/// Addresses of two containers behind one bridge, and of a virtual machine behind another.
const FIRST: [&str; 2] = ["172.17.0.2", "fd99::2"];
const SECOND: [&str; 2] = ["172.17.0.3", "fd99::3"];
/// The second one is routed: a public address.
const MACHINE: [&str; 2] = ["192.168.122.2", "2606:2800:220:2::2"];

/// Longer than anything here takes on a slow machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

struct Container {
    namespace: Namespace,
    application: Application,
}

struct Host {
    first: Container,
    second: Container,
    machine: Container,
    daemon: Daemon,
    bus: Bus,
    lab: Lab,
}

impl Host {
    async fn new() -> Self {
        let (lab, bus) = (Lab::default(), Bus::new());
        peers::count(&lab);
        for (name, value) in [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")] {
            lab.host.set(name, value);
        }
        // Where Docker has loaded br_netfilter, what stays within a bridge comes through the same hook, and would be counted as internal.
        for setting in ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"] {
            _ = lab.host.inside(|| std::fs::write(format!("/proc/sys/{setting}"), "0"));
        }
        lab.host.ip("link add docker0 type bridge");
        lab.host.ip("link add virbr0 type bridge");
        let addresses =
            [("docker0", ["172.17.0.1/16", "fd99::1/64"]), ("virbr0", ["192.168.122.1/24", "2606:2800:220:2::1/64"])];
        for (bridge, [v4, v6]) in addresses {
            lab.host.ip(&format!("link set {bridge} up"));
            lab.host.ip(&format!("addr add {v4} dev {bridge}"));
            lab.host.ip(&format!("addr add {v6} dev {bridge} nodad"));
        }
        lab.host.ip("-6 route replace default via fd77::1");
        lab.peer.ip("-6 route add 2606:2800:220:2::/64 via fd77::2");
        lab.host
            .nft(
                "table inet engine {
                    chain post {
                        type nat hook postrouting priority 100
                        ip saddr { 172.17.0.0/16, 192.168.122.0/24 } oifname up0 masquerade
                        ip6 saddr fd99::/64 oifname up0 masquerade
                    }
                    chain pre {
                        type nat hook prerouting priority -100
                        iifname up0 tcp dport 8080 dnat ip to 172.17.0.2:8001
                    }
                }",
            )
            .unwrap();
        let first = container(&lab, "c1", "docker0", ["172.17.0.2/16", "fd99::2/64"], ["172.17.0.1", "fd99::1"]);
        let second = container(&lab, "c2", "docker0", ["172.17.0.3/16", "fd99::3/64"], ["172.17.0.1", "fd99::1"]);
        let machine = container(
            &lab,
            "vm",
            "virbr0",
            ["192.168.122.2/24", "2606:2800:220:2::2/64"],
            ["192.168.122.1", "2606:2800:220:2::1"],
        );
        let daemon = Daemon::new(&lab, &bus).await;
        bus.helper_of(ROOT).await.install().await.unwrap();
        Self { first, second, machine, daemon, bus, lab }
    }

    async fn sample(&self) -> ForwardedSample {
        self.bus.helper_of(ROOT).await.read_forwarded().await.unwrap().into()
    }

    /// Of addresses together: external bytes received and sent, internal ones received and sent.
    async fn counted(&self, addresses: &[&str]) -> [u64; 4] {
        let rows = self.sample().await.rows;
        addresses.iter().fold([0; 4], |sum, address| {
            let address: IpAddr = address.parse().unwrap();
            let row = rows.iter().find(|row| row.address == address).map_or([0; 4], bytes);
            std::array::from_fn(|at| sum[at] + row[at])
        })
    }

    /// What the peer has sent and received at some of its addresses.
    fn truth(&self, addresses: &[&str]) -> [u64; 2] {
        let mut sums: BTreeMap<IpAddr, [u64; 2]> = BTreeMap::new();
        for ((address, ..), [rx, tx]) in peers::truth(&self.lab) {
            let sum = sums.entry(address).or_default();
            *sum = [sum[0] + rx, sum[1] + tx];
        }
        addresses.iter().fold([0; 2], |sum, address| {
            let address = address.parse::<SocketAddr>().unwrap().ip();
            let at = sums.get(&address).copied().unwrap_or_default();
            [sum[0] + at[0], sum[1] + at[1]]
        })
    }

    /// The counters of a cgroup of the host's.
    async fn counter(&self, path: &str) -> [u64; 4] {
        let (_, _, rows) = self.bus.helper_of(ROOT).await.read_all().await.unwrap();
        let row = rows.into_iter().find(|row| row.cgroup.ends_with(path)).unwrap_or_default();
        [row.rx_bytes, row.tx_bytes, row.internal_rx_bytes, row.internal_tx_bytes]
    }
}

fn bytes(row: &Forwarded) -> [u64; 4] {
    [row.rx_bytes, row.tx_bytes, row.internal_rx_bytes, row.internal_tx_bytes]
}

/// A namespace behind a bridge of the host's, and a process in it.
fn container(lab: &Lab, name: &str, bridge: &str, addresses: [&str; 2], gateways: [&str; 2]) -> Container {
    let namespace = Namespace::new(format!("{}-{name}", lab.host.name));
    let pair = ["link", "add", name, "netns", &lab.host.name, "type", "veth", "peer", "eth0", "netns", &namespace.name];
    tool("ip", &pair, "").unwrap();
    // One aggregate here would be several packets at the peer, with a header each.
    namespace.ip("link set eth0 gso_max_segs 1");
    lab.host.ip(&format!("link set {name} gso_max_segs 1 master {bridge} up"));
    let [v4, v6] = addresses;
    namespace.ip(&format!("addr add {v4} dev eth0"));
    namespace.ip(&format!("addr add {v6} dev eth0 nodad"));
    namespace.ip("link set eth0 up");
    namespace.ip(&format!("route add default via {}", gateways[0]));
    namespace.ip(&format!("-6 route add default via {}", gateways[1]));
    let application = lab.application_in(&namespace, ENGINE);
    Container { namespace, application }
}

/// A client of the outside comes to the published port, from one of the peer's addresses.
fn call(lab: &Lab, from: &str, to: &str, bytes: usize) {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    lab.peer.inside(|| {
        let socket = rustix::net::socket(AddressFamily::of(from), SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(from.ip(), 0)).unwrap();
        rustix::net::connect(&socket, &to).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(&vec![3; bytes]).unwrap();
        stream.read_exact(&mut vec![0; bytes]).unwrap();
    });
}

/// Two containers and a virtual machine at once, beside an app of the host's; each has addresses of the peer for itself.
#[tokio::test]
async fn each_ones_bytes_are_the_peers_to_the_byte_and_the_hosts_own_are_not_among_them() {
    let mut host = Host::new().await;
    let mut app = host.lab.application(APP);
    let tasks = |app: &str, addresses: &[&str]| {
        let each = addresses.iter().flat_map(|to| {
            [format!("tcp {to} 30000 70000"), format!("udp {to} 5 700"), format!("unconnected {to} 3 400")]
        });
        (app.to_owned(), each.collect::<Vec<_>>())
    };
    let work = [
        tasks("first", &[OUTSIDE[0], OUTSIDE[1]]),
        tasks("second", &[MORE[0]]),
        tasks("machine", &[MORE[2]]),
        tasks("host", &[MORE[1]]),
    ];
    let applications =
        [&mut host.first.application, &mut host.second.application, &mut host.machine.application, &mut app];
    std::thread::scope(|scope| {
        for (application, (_, tasks)) in applications.into_iter().zip(&work) {
            scope.spawn(|| tasks.iter().for_each(|task| application.run(task)));
        }
    });
    for (name, addresses, remotes) in
        [("first", FIRST, &OUTSIDE[..]), ("second", SECOND, &MORE[..1]), ("machine", MACHINE, &MORE[2..])]
    {
        let [rx, tx] = host.truth(remotes);
        assert!(rx > 70_000 && tx > 30_000, "{name}");
        assert_eq!(host.counted(&addresses).await, [rx, tx, 0, 0], "{name}");
    }
    let [rx, tx] = host.truth(&MORE[1..2]);
    assert_eq!(host.counter(APP).await, [rx, tx, 0, 0], "the host's own app");
    assert_eq!(host.counter(ENGINE).await, [0; 4], "what is forwarded has no socket here");

    // The LAN, and each other: internal. A published port from outside.
    let before = host.counted(&FIRST).await;
    host.first.application.run(&format!("tcp {} 5000 6000", LAN[0]));
    let lan = host.truth(&LAN[..1]);
    let after = host.counted(&FIRST).await;
    assert_eq!(after, [before[0], before[1], lan[0], lan[1]]);
    host.first.application.run("listen 0.0.0.0:8001 0 0");
    let before_truth = host.truth(&OUTSIDE[..1]);
    host.first.application.begin("accept 0.0.0.0:0 1 4000");
    call(&host.lab, OUTSIDE[0], "192.168.77.2:8080", 4000);
    host.first.application.finish("accept");
    // The last packets of the connection are on their way.
    comes_true("the published port's bytes are the peer's", async || {
        let truth = host.truth(&OUTSIDE[..1]);
        let expected = [truth[0] - before_truth[0], truth[1] - before_truth[1]];
        let now = host.counted(&FIRST).await;
        let moved = [now[0] - after[0], now[1] - after[1]];
        if moved == expected && moved[0] > 4000 { Ok(()) } else { Err(format!("{moved:?} {expected:?}")) }
    })
    .await;
    let (first, machine) = (host.counted(&FIRST).await, host.counted(&MACHINE).await);
    host.first.application.begin("accept 0.0.0.0:0 1 2000");
    host.machine.namespace.inside(|| {
        let mut stream = TcpStream::connect("172.17.0.2:8001").unwrap();
        stream.write_all(&[3; 2000]).unwrap();
        stream.read_exact(&mut [0; 2000]).unwrap();
    });
    host.first.application.finish("accept");
    comes_true("both have the same bytes", async || {
        let (now_first, now_machine) = (host.counted(&FIRST).await, host.counted(&MACHINE).await);
        let of_first = [now_first[2] - first[2], now_first[3] - first[3]];
        let of_machine = [now_machine[3] - machine[3], now_machine[2] - machine[2]];
        let is_external = now_first[..2] != first[..2] || now_machine[..2] != machine[..2];
        let is_it = of_first == of_machine && of_first[0] > 2000 && !is_external;
        if is_it { Ok(()) } else { Err(format!("{of_first:?} {of_machine:?}")) }
    })
    .await;
}

/// Waits until `look` says so.
async fn comes_true(what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + PATIENCE;
    while let Err(why) = look().await {
        assert!(Instant::now() < end, "never came true: {what}: {why}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a firewall drops is not counted; a helper that is killed and one that is restarted go on; nothing is left after Uninstall.
#[tokio::test]
async fn counting_goes_on_over_restarts_and_what_is_dropped_is_not_counted() {
    let mut host = Host::new().await;
    let task = format!("tcp {} 3000 4000", OUTSIDE[0]);
    host.first.application.run(&task);
    let epoch = host.sample().await.epoch;
    host.daemon.kill();
    host.first.application.run(&task);
    host.daemon.spawn();
    let [rx, tx] = host.truth(&OUTSIDE[..1]);
    comes_true("the helper is there again", async || {
        let read = host.bus.helper_of(ROOT).await.read_forwarded().await;
        read.map(drop).map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(host.counted(&FIRST).await, [rx, tx, 0, 0]);
    assert_eq!(host.sample().await.epoch, epoch);
    host.lab
        .host
        .nft("table inet wall { chain f { type filter hook forward priority 0; ip daddr 93.184.216.35 drop; }; }")
        .unwrap();
    host.first.application.run(&format!("try {} 1 100", MORE[0]));
    assert_eq!(host.counted(&FIRST).await, [rx, tx, 0, 0]);
    let ruleset = host.lab.host.ours();
    let look = "meta iifkind \"bridge\" fib saddr . iif oif missing return";
    assert!(ruleset.contains(look) && ruleset.contains("ip saddr @internal4"), "{ruleset}");
    // What people save of it, with elements in it, loads at another boot.
    let boot = Namespace::new(format!("{}-boot", host.lab.host.name));
    let saved = host.lab.host.nft("list ruleset").unwrap();
    assert!(saved.contains("elements = { 172.17.0.2 counter packets"), "{saved}");
    boot.inside(|| tool("nft", &["-f", "-"], &saved)).unwrap_or_else(|error| panic!("{error}\n{saved}"));
    host.bus.helper_of(ROOT).await.uninstall().await.unwrap();
    assert!(matches!(host.bus.helper_of(ROOT).await.read_forwarded().await, Err(Error::NotInstalled(_))));
    assert_eq!(host.lab.host.ours(), "");
}

/// Sends a datagram from each of these sources, which are nobody's.
fn forge(container: &Container, network: &str, sources: impl Iterator<Item = IpAddr> + Send) {
    container.namespace.ip(&format!("route add local {network} dev lo"));
    container.namespace.inside(|| {
        for source in sources {
            let socket = std::net::UdpSocket::bind((source, 0)).unwrap();
            socket.send_to(&[0; 100], lab::OUTSIDE_SINK).unwrap();
        }
    });
}

/// Forged sources of other networks are nobody's rows. Those of a container's own network fill what there is room for, which is said;
/// whoever has a row already stays exact, and so do the host's own apps.
#[tokio::test]
async fn forged_sources_are_bounded_and_change_nobody_elses_figures() {
    let mut host = Host::new().await;
    // The rules are to hold where nothing is dropped before.
    for interface in ["all", "docker0", "up0"] {
        host.lab.host.set(&format!("net/ipv4/conf/{interface}/rp_filter"), "0");
    }
    let mut app = host.lab.application(APP);
    let task = format!("tcp {} 3000 4000", MORE[0]);
    host.first.application.run(&task);
    let rows = host.sample().await.rows.len();
    let sources = |network: [u8; 2], count: u16| {
        (0..count).map(move |at| {
            let [high, low] = at.to_be_bytes();
            IpAddr::from([network[0], network[1], high + 64, low])
        })
    };
    forge(&host.second, "10.66.0.0/16", sources([10, 66], 500));
    assert_eq!(host.sample().await.rows.len(), rows, "another network's");
    assert_eq!(warning(&host).await, "");

    forge(&host.second, "172.17.64.0/18", sources([172, 17], 4500));
    let held = host.sample().await.rows.len();
    assert!((4000..=4200).contains(&held), "{held}");
    assert!(warning(&host).await.contains("4096 addresses"));
    host.first.application.run(&task);
    app.run(&format!("tcp {} 3000 4000", MORE[1]));
    let [rx, tx] = host.truth(&MORE[..1]);
    assert_eq!(host.counted(&FIRST).await, [rx, tx, 0, 0]);
    let [rx, tx] = host.truth(&MORE[1..2]);
    assert_eq!(host.counter(APP).await, [rx, tx, 0, 0]);
}

async fn warning(host: &Host) -> String {
    host.bus.helper_of(ROOT).await.warning().await.unwrap()
}

/// Whoever was authorised stays so while connected, also where polkit would ask for a password again; a plain no is a no.
#[tokio::test]
async fn who_was_authorised_is_not_asked_again() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let polkit = Polkit::new(&bus, Answer::No).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    let (user, other) = (bus.helper_of(USER).await, bus.helper_of(USER).await);
    let refused = |result: &Result<_, Error>| matches!(result, Err(Error::NotAuthorized(_)));
    polkit.say(Answer::Challenge);
    assert!(refused(&user.read_forwarded().await), "never authorised");
    polkit.say(Answer::Yes);
    user.read_forwarded().await.unwrap();
    polkit.say(Answer::Challenge);
    user.read_forwarded().await.unwrap();
    assert!(refused(&other.read_forwarded().await), "another connection");
    assert!(user.read_all().await.is_err(), "another action");
    polkit.say(Answer::No);
    assert!(refused(&user.read_forwarded().await));
    polkit.say(Answer::Challenge);
    assert!(refused(&user.read_forwarded().await), "the no ended it");
}
