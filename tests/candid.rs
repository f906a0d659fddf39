//! Where "exact" is not what came out or in, as README says in its list of what can't be seen: each case with its figure. What
//! one of these tests no longer finds must go from that list.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/scene.rs"]
mod scene;

use std::net::UdpSocket;

use lab::{
    OUTSIDE, OUTSIDE_SINK, eventually,
    raw::{Refused, refuse},
    tool,
};
use scene::Scene;

/// 300 datagrams of 1,000 bytes, with their headers.
const SENT: u64 = 300 * 1028;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// nft looks up sockets in the output hook and no later, so what the kernel refuses after it is booked as sent.
#[test]
fn what_is_refused_after_the_output_hook_is_booked_as_sent() {
    type Refusal = fn(&Scene);
    let refusals: [(&str, Refusal); 4] = [
        ("a cgroup's program (IPAddressDeny=)", |scene| refuse(&scene.lab.cgroup.join("app"), Refused::Sent)),
        ("a drop in postrouting", |scene| {
            let rules = "table inet firewall {
                chain out { type filter hook postrouting priority 0; udp dport 9 drop; }
            }";
            scene.lab.host.nft(rules).unwrap();
        }),
        ("a neighbour that doesn't answer", |scene| {
            scene.lab.host.ip("route add 93.184.216.34/32 via 192.168.77.99 dev up0");
        }),
        ("a full queue", |scene| {
            let queue = "qdisc add dev up0 root pfifo limit 0";
            let arguments = [&["-n", scene.lab.host.name.as_str()][..], &queue.split(' ').collect::<Vec<_>>()].concat();
            tool("tc", &arguments, "").unwrap();
        }),
    ];
    for (name, refusal) in refusals {
        let mut scene = Scene::new();
        refusal(&scene);
        scene.application.run(&format!("try {OUTSIDE_SINK} 300 1000"));
        assert_eq!(scene.booked(), [0, SENT, 0, 0], "{name}");
        assert_eq!(scene.lab.truth(), [0; 4], "{name}: nothing came out");
        println!("{name}: {SENT} bytes booked as sent, none came out");
    }
}

/// The same on the way in: after the input hook a cgroup's program, or a full buffer, may refuse what is booked as received.
#[test]
fn what_is_refused_after_the_input_hook_is_booked_as_received() {
    let mut scene = Scene::new();
    scene.application.run("share 0.0.0.0:7010 0 0");
    refuse(&scene.lab.cgroup.join("app"), Refused::Received);
    call(&scene, 300);
    eventually("all is booked", || {
        let booked = scene.booked();
        if booked == [SENT, 0, 0, 0] { Ok(()) } else { Err(format!("{booked:?}")) }
    });
    assert_eq!(scene.lab.truth(), [SENT, 0, 0, 0]);
    scene.application.run("take 0.0.0.0:0 0 1000");
    println!("a cgroup's program (IPAddressDeny=): {SENT} bytes booked as received, the application got none");
}

/// Datagrams of 1,000 bytes from outside, each from a port of its own.
fn call(scene: &Scene, count: usize) {
    scene.lab.peer.inside(|| {
        for _ in 0..count {
            UdpSocket::bind("93.184.216.34:0").unwrap().send_to(&[5; 1000], "192.168.77.2:7010").unwrap();
        }
    });
}

/// nft looks for a socket without the packet, so a group's program can't be asked, and the kernel takes the socket that the
/// addresses' hash gives. What is sent is booked to the one that sends.
#[test]
fn what_a_groups_program_gives_to_one_is_booked_to_others_too() {
    let mut scene = Scene::new();
    let mut second = scene.lab.application("second");
    scene.application.run("share 0.0.0.0:7010 0 0");
    second.run("share 0.0.0.0:7010 1 0");
    call(&scene, 300);
    let rows = eventually("all is booked", || {
        let rows = scene.rows();
        let sum: u64 = rows.values().map(|row| row[0]).sum();
        if sum == SENT { Ok(rows) } else { Err(format!("{rows:?}")) }
    });
    assert_eq!(scene.lab.truth(), [SENT, 0, 0, 0]);
    scene.application.run("take 0.0.0.0:0 300 1000");
    second.run("take 0.0.0.0:0 0 1000");
    let other = rows[&second.key][0];
    assert!(other > 0, "{rows:?}");
    println!(
        "SO_REUSEPORT: one application got {SENT} bytes, of which {other} are booked to the other, which got none"
    );
}

/// A packet socket is below netfilter, in both directions.
#[test]
fn what_goes_through_a_packet_socket_is_not_booked() {
    let mut scene = Scene::new();
    scene.application.run(&format!("packet {} 300 1000", OUTSIDE[0]));
    assert_eq!((scene.booked(), scene.lab.truth()), ([0; 4], [SENT, SENT, 0, 0]));
    println!("packet sockets: {SENT} bytes each way, none booked");
}
