//! Who is asked about an address, and who isn't: a real resolver, a real name server, and a network that has nobody else in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    env,
    net::{IpAddr, UdpSocket},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use netglance::{
    base::settings::Settings,
    look::{
        remotes::{Name, NamedBy},
        whois::Lookup,
    },
};

/// Set for the process in the namespaces.
const INSIDE: &str = "NETGLANCE_WHOIS_INSIDE";

/// Answers every question about an address with the same name, in the question's own case; about one, with a name that is none.
fn serve(server: &UdpSocket, questions: &AtomicU32) {
    let mut buffer = [0; 512];
    while let Ok((length, asker)) = server.recv_from(&mut buffer) {
        questions.fetch_add(1, Ordering::SeqCst);
        let question = buffer[12..length].to_vec();
        let end = question.iter().position(|label| *label == 0).unwrap() + 5; // name, type, class
        let hostile = question.starts_with(b"\x0266");
        let name: &[u8] = if hostile { b"\x09<b>\x1b[31m!\x07example\0" } else { b"\x04host\x07example\0" };
        let mut answer = buffer[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        answer.extend(&question[..end]);
        answer.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, u8::try_from(name.len()).unwrap()]);
        answer.extend(name);
        server.send_to(&answer, asker).unwrap();
    }
}

/// What happens in a network of its own, where the name server is this process.
#[test]
fn inside() {
    if env::var_os(INSIDE).is_none() {
        return; // for the test below
    }
    let server = UdpSocket::bind("127.0.0.1:53").unwrap();
    let questions = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&questions);
    thread::spawn(move || serve(&server, &count));
    let asked = || questions.load(Ordering::SeqCst);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let (outside, hostile) = (address("93.184.216.34"), address("93.184.216.66"));

    let mut lookup = Lookup::new();
    let off = Settings::default();
    lookup.set(&off);
    for last in 1..=50 {
        lookup.look(IpAddr::from([93, 184, 216, last]), 443, 6);
        lookup.look(IpAddr::from([192, 168, 1, last]), 53, 17);
    }
    let until = Instant::now() + Duration::from_secs(20);
    while lookup.look(outside, 443, 6).service.as_deref() != Some("https") {
        assert!(Instant::now() < until, "no service");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(lookup.look(outside, 443, 6).name, None);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(asked(), 0, "the setting is off");

    lookup.set(&Settings { reverse_dns: true, ..off.clone() });
    for local in ["127.0.0.1", "::1", "fe80::1", "169.254.7.7", "224.0.0.251", "ff02::fb"] {
        lookup.look(address(local), 443, 6);
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(asked(), 0, "these are nobody's outside");
    lookup.look(hostile, 443, 6);
    let until = Instant::now() + Duration::from_secs(20);
    let name = loop {
        match lookup.look(outside, 443, 6).name {
            Some(name) => break name,
            None => assert!(Instant::now() < until, "no name after {} questions", asked()),
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(name, Name { name: "host.example".to_owned(), by: NamedBy::ReverseDns });
    assert!(lookup.knowledge() > 0);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(lookup.look(hostile, 443, 6).name, None, "that is no host's name");
    let once = asked();
    for _ in 0..20 {
        lookup.look(outside, 80, 6);
        lookup.look(hostile, 80, 6);
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(asked(), once, "what is known is not asked again");

    // Ten a second: a page with many remotes asks for them one after the other, and for none once it is closed.
    let start = Instant::now();
    for last in 100..200 {
        lookup.look(IpAddr::from([93, 184, 216, last]), 443, 6);
    }
    let still_waits = || start.elapsed() < Duration::from_secs(60);
    let mut now = asked();
    while now < once + 3 && still_waits() {
        thread::sleep(Duration::from_millis(50));
        now = asked();
    }
    let most = once + u32::try_from(start.elapsed().as_millis() / 100).unwrap() + 2;
    assert!((once + 3..=most).contains(&now), "{once} to {now} in {:?}", start.elapsed());
    lookup.rest();
    // What was under way comes to its end.
    let mut rested = asked();
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = asked();
        if now == rested {
            break;
        }
        rested = now;
        assert!(still_waits(), "nobody looks");
    }

    lookup.look(outside, 443, 6);
    lookup.set(&off);
    lookup.look(address("93.184.216.250"), 443, 6);
    assert_eq!(lookup.look(outside, 443, 6).name, None);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(asked(), rested, "it is off again");
}

#[test]
fn no_name_server_is_asked_unless_a_person_wants_that() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // No mDNS, no systemd-resolved: glibc itself asks the name server.
    let switch = file("nsswitch.conf", "hosts: files dns\nservices: files\n");
    let resolver = file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:3\n");
    let hosts = file("hosts", "127.0.0.1 localhost\n");
    // What is mounted over a file is seen by nobody outside.
    let script = "ip link set lo up
        mount --bind \"$1\" /etc/nsswitch.conf
        mount --bind \"$2\" /etc/resolv.conf
        mount --bind \"$3\" /etc/hosts
        exec \"$0\" --exact inside --nocapture";
    let outcome = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "sh", "-ec", script])
        .arg(env::current_exe().unwrap())
        .args([switch, resolver, hosts])
        .env(INSIDE, "")
        .output()
        .expect("unshare is in the package util-linux");
    let said = [outcome.stdout, outcome.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(outcome.status.success() && said.contains("1 passed"), "{said}");
}
