//! The recorded history equals what the peer has seen, to the byte, whatever is closed, killed, rebooted or full meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/computer.rs"]
mod computer;
#[path = "support/host.rs"]
mod host;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{fs, process::Command, thread, time::Duration};

use computer::{BOOTS, Computer};
use lab::{LAN, OUTSIDE, eventually};
use rustix::process::{Signal, kill_process};

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
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
    // While the helper was away, a slow machine's program has looked at the sockets: then some of it is an estimate, and stays one.
    let (recorded, estimated) = computer.recorded();
    assert_eq!(recorded, computer.host.lab.truth(), "it was closed, and the helper was killed");
    println!("{estimated} bytes of it by the estimate");
    let agrees = |computer: &Computer, what: &str| {
        assert_eq!(computer.recorded(), (computer.host.lab.truth(), estimated), "{what}");
    };

    // Killed, and the app ends and starts again while nobody looks.
    let netglance = computer.netglance();
    a.run(&tcp(OUTSIDE[0]));
    kill_process(netglance.pid(), Signal::KILL).unwrap();
    drop(a);
    let mut a = computer.app("a");
    a.run(&tcp(OUTSIDE[0]));
    computer.netglance().quit();
    agrees(&computer, "it was killed");

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
    agrees(&computer, "it was rebooted");
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
