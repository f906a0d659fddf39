//! The helper on a real bus: who may do what, each refusal by its name, and that nothing a caller does hurts it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/flood.rs"]
mod flood;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::collections::HashSet;

use futures_lite::StreamExt as _;
use lab::{Lab, OUTSIDE, eventually};
use netglance_dbus::{
    helper1::{Error, Helper1Proxy, OBJECT_PATH, WirePrefix},
    sample::Row,
};
use netglance_helper::nft::{
    Nft,
    ruleset::{Internal, SET_SIZE},
};
use system::{Answer, Bus, Daemon, Polkit, RealPolkit};
use zbus::{
    DBusError as _,
    fdo::{IntrospectableProxy, PropertiesProxy},
};

const ROOT: u32 = 0;
/// Users that every Debian has, as dbus-daemon turns strangers away: `daemon` and `uucp`.
const USER: u32 = 1;
const OTHER: u32 = 10;
/// `games`, who may by the test's rule, and `nobody`, who may not.
const GAMES: u32 = 5;
const NOBODY: u32 = 65534;
/// `uucp`, whom polkitd here knows as the user of the service netglance-metrics.
const METRICS: u32 = 10;
/// `sys`, who floods.
const FLOODS: u32 = 3;

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, name: &str, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.name().as_str(), format!("org.netglance.Helper1.Error.{name}"), "{error}");
    assert!(error.description().unwrap_or_default().contains(words), "{error}");
}

async fn alive(bus: &Bus) {
    assert!(!bus.helper_of(NOBODY).await.version().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_interface_is_the_one_that_is_checked_in() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    let connection = bus.connect(NOBODY).await;
    let object = IntrospectableProxy::builder(&connection)
        .destination("org.netglance.Helper1")
        .path(OBJECT_PATH)
        .build()
        .await
        .unwrap();
    let xml = object.introspect().await.unwrap();
    let ours = xml.split("\n  <interface ").find(|part| part.starts_with("name=\"org.netglance.Helper1\"")).unwrap();
    let ours = ours.split("</interface>").next().unwrap();
    let ours = format!("<node>\n  <interface {ours}</interface>\n</node>\n");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../dbus/org.netglance.Helper1.xml");
    let checked_in = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(ours, checked_in, "{file} should be:\n{ours}");
    // The standard interfaces are as zbus has them everywhere.
    let above = IntrospectableProxy::builder(&connection).destination("org.netglance.Helper1").path("/org/netglance");
    let above = above.build().await.unwrap().introspect().await.unwrap();
    let standard = |xml: &str| {
        let parts = xml.split("\n  <interface ").filter(|part| part.starts_with("name=\"org.freedesktop.DBus."));
        parts.map(|part| part.split("</interface>").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(standard(&xml), standard(&above));
    assert_eq!(standard(&xml).len(), 3);
}

/// What a client gets that asks for properties one by one, all at once, or for some that aren't there.
#[tokio::test]
async fn properties_are_answered_as_everywhere() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    let connection = bus.connect(NOBODY).await;
    let proxy = PropertiesProxy::builder(&connection).destination("org.netglance.Helper1").path(OBJECT_PATH);
    let properties = proxy.build().await.unwrap();
    let helper = Bus::helper(&connection).await;
    let of = |name: &'static str| zbus::names::InterfaceName::try_from(name).unwrap();
    let all = properties.get_all(of("org.netglance.Helper1")).await.unwrap();
    let xml =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../dbus/org.netglance.Helper1.xml")).unwrap();
    let names = xml.split("<property name=\"").skip(1).map(|part| part.split('"').next().unwrap());
    assert_eq!(all.keys().map(String::as_str).collect::<HashSet<_>>(), names.collect());
    for (name, value) in &all {
        assert_eq!(properties.get(of("org.netglance.Helper1"), name).await.unwrap(), *value);
    }
    assert_eq!(bool::try_from(&all["Installed"]).unwrap(), helper.installed().await.unwrap());
    assert_eq!(<&str>::try_from(&all["Version"]).unwrap(), env!("CARGO_PKG_VERSION"));
    let prefixes: Vec<WirePrefix> = all["InternalPrefixes"].try_clone().unwrap().try_into().unwrap();
    assert_eq!(prefixes, helper.internal_prefixes().await.unwrap());
    assert!(properties.get_all(of("org.freedesktop.DBus.Peer")).await.unwrap().is_empty());
    let names = [("org.netglance.Helper1", "UnknownProperty"), ("org.freedesktop.DBus.Peer", "UnknownProperty")];
    for (interface, name) in names.into_iter().chain([("org.example.None", "UnknownInterface")]) {
        let error = properties.get(of(interface), "Nothing").await.unwrap_err();
        assert_eq!(error.name().as_str(), format!("org.freedesktop.DBus.Error.{name}"), "{error}");
        let error = properties.set(of(interface), "Installed", &true.into()).await.unwrap_err();
        assert_eq!(error.name().as_str(), format!("org.freedesktop.DBus.Error.{name}"), "{error}");
    }
    let error = properties.get_all(of("org.example.None")).await.unwrap_err();
    assert_eq!(error.name().as_str(), "org.freedesktop.DBus.Error.UnknownInterface");
}

/// The sandbox by systemd's own judgement: 10 is a unit without any, 0 one that can do nothing.
#[test]
fn the_unit_is_shut_in() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/netglance-helper.service");
    let arguments = ["security", "--offline=true", "--no-pager", unit];
    let text = lab::tool("systemd-analyze", &arguments, "").expect("systemd-analyze: install systemd");
    let overall = text.lines().find(|line| line.contains("Overall exposure level")).unwrap();
    let level: f32 = overall.rsplit(": ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(level <= 1.5, "{text}");
    println!("exposure level {level}");
}

#[tokio::test]
async fn root_alone_may_own_the_name() {
    let bus = Bus::new();
    let error = bus.connect(USER).await.request_name("org.netglance.Helper1").await.unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    bus.connect(ROOT).await.request_name("org.netglance.Helper1").await.unwrap();
}

/// Signals may be sent to anybody on the system bus, but not to where the helper hears polkit's answers.
#[tokio::test]
async fn nobody_can_send_to_the_connection_that_asks() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    let root = bus.connect(ROOT).await;
    let dbus = zbus::fdo::DBusProxy::new(&root).await.unwrap();
    let owner = dbus.get_name_owner("org.netglance.Helper1.Asking".try_into().unwrap()).await.unwrap();
    assert_ne!(owner, dbus.get_name_owner("org.netglance.Helper1".try_into().unwrap()).await.unwrap());
    let user = bus.connect(USER).await;
    let error = user.request_name("org.netglance.Helper1.Asking").await.unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    let noise = vec![7u8; 1 << 20];
    for _ in 0..20 {
        user.emit_signal(Some(owner.as_str()), "/", "org.x.Y", "Noise", &noise).await.unwrap();
    }
    let ping = user.call_method(Some(owner.as_str()), "/", Some("org.freedesktop.DBus.Peer"), "Ping", &());
    assert!(ping.await.unwrap_err().to_string().contains("AccessDenied"));
    // What was on its way to it at most, in the bus's own books.
    let bus_itself = Some("org.freedesktop.DBus");
    let stats = Some("org.freedesktop.DBus.Debug.Stats");
    let answer =
        root.call_method(bus_itself, "/org/freedesktop/DBus", stats, "GetConnectionStats", &owner.as_str()).await;
    let answer = answer.unwrap();
    let stats: std::collections::HashMap<String, zbus::OwnedVariant> = answer.body().deserialize().unwrap();
    let peak = stats.get("PeakOutgoingBytes").and_then(|bytes| u32::try_from(bytes).ok()).unwrap();
    assert!(peak < 1 << 20, "{peak} bytes");
    alive(&bus).await;
}

#[tokio::test]
async fn polkit_is_asked_for_each_call_by_the_callers_name() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let polkit = Polkit::new(&bus, Answer::No).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    everything_is_judged(&lab, &bus, &polkit, USER).await;
}

#[tokio::test]
async fn polkit_is_asked_while_a_flood_goes_on() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let polkit = Polkit::new(&bus, Answer::No).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    let floods = floods(&bus);
    everything_is_judged(&lab, &bus, &polkit, USER).await;
    assert!(floods.into_iter().map(flood::Flood::end).all(|sent| sent > 0));
}

/// What another user does meanwhile: calls that polkit is not asked about, as fast as they go, and strangers that come and go.
fn floods(bus: &Bus) -> [flood::Flood; 2] {
    let calls = [flood::member("Read"), flood::member("Nothing"), flood::get_all(), flood::silent("Read")];
    [flood::Flood::new(bus, FLOODS, 8, &calls, true), flood::Flood::of_strangers(bus, FLOODS, &flood::member("Read"))]
}

/// Who may do what, by what polkit says, in an empty table.
async fn everything_is_judged(lab: &Lab, bus: &Bus, polkit: &Polkit, uid: u32) {
    let connection = bus.connect(uid).await;
    let name = connection.unique_name().unwrap().to_string();
    let user = Bus::helper(&connection).await;
    let prefixes: Vec<WirePrefix> = vec![(vec![8, 8, 8, 0], 24)];

    for (answer, words) in [
        (Answer::No, "rules do not allow this user to do that"),
        (Answer::Challenge, "no polkit agent runs in this session"),
        (Answer::Dismissed, "dialog was closed"),
    ] {
        polkit.say(answer);
        refused(user.install().await, "NotAuthorized", words);
        refused(user.uninstall().await, "NotAuthorized", words);
        refused(user.read_all().await, "NotAuthorized", words);
        // The proxy asks without a dialog: it is called at each beat.
        refused(user.read_forwarded().await, "NotAuthorized", "was not authorised");
        refused(user.set_prefixes(prefixes.clone(), vec![]).await, "NotAuthorized", words);
    }
    let ask = |action: &str| (format!("org.netglance.{action}"), "system-bus-name".into(), name.clone(), 1);
    let asked: HashSet<_> = polkit.asked.lock().unwrap().questions.drain(..).collect();
    let silent = |action: &str| (format!("org.netglance.{action}"), "system-bus-name".into(), name.clone(), 0);
    assert_eq!(asked, HashSet::from([ask("install"), ask("read-all"), silent("read-forwarded"), ask("configure")]));
    assert!(!user.installed().await.unwrap());
    assert_eq!(lab.host.nft("list ruleset").unwrap(), "");

    // A call that does not allow a dialog is not asked with one.
    polkit.say(Answer::Challenge);
    let silent = connection.call_method(
        Some("org.netglance.Helper1"),
        OBJECT_PATH,
        Some("org.netglance.Helper1"),
        "Install",
        &(),
    );
    let error = silent.await.unwrap_err().to_string();
    assert!(error.contains("this call does not allow asking"), "{error}");
    assert_eq!(polkit.asked.lock().unwrap().questions[0].3, 0);

    // What it says is not remembered.
    polkit.say(Answer::Yes);
    user.install().await.unwrap();
    user.install().await.unwrap();
    assert!(user.installed().await.unwrap());
    polkit.say(Answer::No);
    refused(user.uninstall().await, "NotAuthorized", "");
    user.read().await.unwrap();
    refused(user.read_all().await, "NotAuthorized", "");
    refused(user.read_forwarded().await, "NotAuthorized", "");

    // root is not asked about.
    polkit.asked.lock().unwrap().questions.clear();
    let root = bus.helper_of(ROOT).await;
    root.read_all().await.unwrap();
    root.read_forwarded().await.unwrap();
    root.set_prefixes(prefixes, vec![]).await.unwrap();
    root.uninstall().await.unwrap();
    root.uninstall().await.unwrap();
    root.install().await.unwrap();
    root.read_last().await.unwrap();
    user.read_last().await.unwrap();
    root.read_remotes(vec!["/".into()]).await.unwrap();
    user.read_remotes(vec![format!("/user.slice/user-{uid}.slice")]).await.unwrap();
    assert!(polkit.asked.lock().unwrap().questions.is_empty());
}

#[tokio::test]
async fn the_real_polkitd_decides_by_its_rules_and_our_actions() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _polkit = RealPolkit::new(&bus).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    the_rules_decide(&bus).await;
}

#[tokio::test]
async fn the_real_polkitd_decides_while_a_flood_goes_on() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _polkit = RealPolkit::new(&bus).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    let floods = floods(&bus);
    the_rules_decide(&bus).await;
    assert!(floods.into_iter().map(flood::Flood::end).all(|sent| sent > 0));
}

async fn the_rules_decide(bus: &Bus) {
    let (games, nobody) = (bus.helper_of(GAMES).await, bus.helper_of(NOBODY).await);
    for refusal in [
        nobody.install().await,
        nobody.uninstall().await,
        nobody.set_prefixes(vec![], vec![]).await,
        nobody.read_all().await.map(drop),
    ] {
        refused(refusal, "NotAuthorized", "no polkit agent runs in this session");
    }
    refused(nobody.read_forwarded().await, "NotAuthorized", "does not allow asking");
    refused(nobody.read().await, "NotInstalled", "Count Exactly");
    refused(nobody.read_last().await, "NotInstalled", "Count Exactly");
    refused(nobody.read_remotes(vec!["/".into()]).await, "NotInstalled", "Count Exactly");
    games.install().await.unwrap();
    games.read_all().await.unwrap();
    games.set_prefixes(vec![(vec![8, 8, 8, 8], 32)], vec![]).await.unwrap();
    nobody.read().await.unwrap();
    // Nobody is asked about their own; there is nothing of anybody else's in it.
    for user in [&nobody, &games] {
        let (epoch, _, is_complete, rows) = user.read_remotes(vec!["/".into(), "/system.slice".into()]).await.unwrap();
        assert_eq!((epoch, is_complete, rows), (0, true, vec![]));
    }
    games.uninstall().await.unwrap();
}

/// A service with that user sees how much everybody transfers, and no more.
#[tokio::test]
async fn the_service_of_the_metrics_may_read_all_and_nothing_else() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _polkit = RealPolkit::new(&bus).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    let metrics = bus.helper_of(METRICS).await;
    metrics.read_all().await.unwrap();
    refused(metrics.read_forwarded().await, "NotAuthorized", "does not allow asking");
    for refusal in [
        metrics.install().await,
        metrics.install_anyway().await,
        metrics.uninstall().await,
        metrics.set_prefixes(vec![], vec![]).await,
        bus.helper_of(USER).await.read_all().await.map(drop),
        bus.helper_of(NOBODY).await.read_all().await.map(drop),
    ] {
        refused(refusal, "NotAuthorized", "no polkit agent runs in this session");
    }
}

#[tokio::test]
async fn without_polkit_nobody_but_root_may() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    let user = bus.helper_of(USER).await;
    refused(user.install().await, "NotAuthorized", "Is polkitd running?");
    bus.helper_of(ROOT).await.install().await.unwrap();
    refused(user.read_all().await, "NotAuthorized", "Is polkitd running?");
    user.read_remotes(vec!["/user.slice/user-1.slice".into()]).await.unwrap();
    bus.helper_of(ROOT).await.read_remotes(vec!["/".into()]).await.unwrap();
}

#[tokio::test]
async fn everybody_sees_their_own_rows_alone() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    let root = bus.helper_of(ROOT).await;
    root.install().await.unwrap();
    let paths = [
        "user.slice/user-1.slice/app.slice/a.service",
        "user.slice/user-10.slice/app.slice/b.service",
        "user.slice/user-1.slicex/c.service",
        "system.slice/d.service",
    ];
    for path in paths {
        lab.application(path).run(&format!("udp {} 1 100", OUTSIDE[0]));
    }
    let paths_of = |(_, _, rows): (u64, u64, Vec<Row>)| {
        let mut paths: Vec<_> = rows.into_iter().map(|row| row.cgroup).collect();
        paths.sort();
        paths
    };
    let slashed = |paths: &[&str]| paths.iter().map(|path| format!("/{path}")).collect::<Vec<_>>();
    assert_eq!(paths_of(bus.helper_of(USER).await.read().await.unwrap()), slashed(&paths[..1]));
    assert_eq!(paths_of(bus.helper_of(OTHER).await.read().await.unwrap()), slashed(&paths[1..2]));
    assert_eq!(paths_of(bus.helper_of(NOBODY).await.read().await.unwrap()), slashed(&[]));
    assert_eq!(paths_of(root.read().await.unwrap()), slashed(&[]));
    let mut all = slashed(&paths);
    all.sort();
    assert_eq!(paths_of(root.read_all().await.unwrap()), all);
}

/// Whose a cgroup was is told by what was written down when it existed: none of these does.
#[tokio::test]
async fn everybody_sees_the_last_totals_of_their_own_alone() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    assert_eq!(bus.helper_of(USER).await.read_last().await.unwrap(), (String::new(), 0, vec![]));
    daemon.kill();
    let text = r#"{"boot_id":"the-one-before","boottime_ns":77,"totals":[
        [1,"/user.slice/user-1.slice/a.service",[1,2,3,4]],
        [10,"/user.slice/user-10.slice/b.service",[5,0,0,0]],
        [10,"/machine.slice/given",[6,0,0,0]],
        [null,"/machine.slice/given",[7,0,0,0]],
        [null,"/system.slice/c.service",[8,0,0,0]]]}"#;
    std::fs::write(daemon.state().join("last.json"), text).unwrap();
    daemon.start(&bus).await;
    let row = |cgroup: &str, [rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes]: [u64; 4]| Row {
        cgroup: cgroup.to_owned(),
        rx_bytes,
        tx_bytes,
        internal_rx_bytes,
        internal_tx_bytes,
    };
    let a = row("/user.slice/user-1.slice/a.service", [1, 2, 3, 4]);
    let b = row("/user.slice/user-10.slice/b.service", [5, 0, 0, 0]);
    let c = row("/system.slice/c.service", [8, 0, 0, 0]);
    let given = |bytes| row("/machine.slice/given", [bytes, 0, 0, 0]);
    for (uid, expected) in [
        (USER, vec![a.clone()]),
        (OTHER, vec![given(6), b.clone()]),
        (NOBODY, vec![]),
        (ROOT, vec![given(13), c, a, b]),
    ] {
        let (boot_id, boottime_ns, mut rows) = bus.helper_of(uid).await.read_last().await.unwrap();
        rows.sort_by(|a, b| a.cgroup.cmp(&b.cgroup));
        assert_eq!((boot_id.as_str(), boottime_ns, rows), ("the-one-before", 77, expected), "{uid}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_question_back() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let polkit = Polkit::new(&bus, Answer::Silence).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    let connection = bus.connect(USER).await;
    let user = Bus::helper(&connection).await;
    let leaving = tokio::spawn(async move { user.install().await });
    while polkit.asked.lock().unwrap().questions.is_empty() {
        tokio::task::yield_now().await;
    }
    connection.close().await.unwrap();
    drop(leaving.await.unwrap().unwrap_err());
    while polkit.asked.lock().unwrap().cancelled == 0 {
        tokio::task::yield_now().await;
    }
    polkit.say(Answer::Yes);
    let other = bus.helper_of(USER).await;
    assert!(!other.installed().await.unwrap());
    other.install().await.unwrap();
}

#[tokio::test]
async fn forged_and_oversized_arguments_change_nothing() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    let root = bus.helper_of(ROOT).await;
    let before = root.internal_prefixes().await.unwrap();
    let check = async |internal: Vec<WirePrefix>, external: Vec<WirePrefix>, words: &str| {
        refused(root.set_prefixes(internal, external).await, "InvalidPrefix", words);
    };
    check(vec![(vec![], 0)], vec![], "0 bytes is neither").await;
    check(vec![(vec![1; 5], 8)], vec![], "5 bytes is neither").await;
    check(vec![(vec![1; 100_000], 8)], vec![], "100000 bytes").await;
    check(vec![], vec![(vec![10, 0, 0, 0], 33)], "can't have a prefix of 33 bits").await;
    check(vec![], vec![(vec![0; 16], 255)], "can't have a prefix of 255 bits").await;
    check(vec![(vec![10, 0, 0, 1], 8)], vec![], "did you mean 10.0.0.0/8?").await;
    check(vec![(vec![8, 0, 0, 0], 8)], vec![(vec![8, 0, 0, 0], 8)], "both internal and external").await;
    check(vec![(vec![8, 8, 8, 8], 32); 1025], vec![], "more than 1024 prefixes").await;
    assert_eq!(root.internal_prefixes().await.unwrap(), before);

    // Bodies of other types, members that are none, and a refusal before anything is parsed.
    let connection = bus.connect(USER).await;
    let call = async |member: &'static str, body: Vec<String>| {
        let call = connection.call_method(
            Some("org.netglance.Helper1"),
            OBJECT_PATH,
            Some("org.netglance.Helper1"),
            member,
            &body,
        );
        call.await.unwrap_err().to_string()
    };
    let error = call("SetPrefixes", vec!["; rm -rf /".into()]).await;
    assert!(error.contains("InvalidArgs"), "{error}");
    // Paths that are none, and of nobody.
    let paths = [
        "",
        "/",
        "//",
        "/..",
        "user.slice",
        "/user.slice/user-1.slice/../..",
        "/\u{fffd}",
        "/%s%n",
        "/user.slice/user-1.slice/",
    ];
    let user = Bus::helper(&connection).await;
    root.install().await.unwrap();
    let rules = lab.host.nft("list ruleset").unwrap();
    let answer = user.read_remotes(paths.map(str::to_owned).to_vec()).await.unwrap();
    assert_eq!((answer.0, answer.2, answer.3), (0, true, vec![]));
    refused(user.read_remotes(vec!["/a".into(); 513]).await, "LimitsExceeded", "at most 512 control groups");
    assert_eq!(lab.host.nft("list ruleset").unwrap(), rules, "nothing is begun");
    let error = call("Format", vec![]).await;
    assert!(error.contains("UnknownMethod"), "{error}");
    let user = Bus::helper(&connection).await;
    refused(user.set_prefixes(vec![(vec![1; 5], 8)], vec![]).await, "NotAuthorized", "");
    alive(&bus).await;
}

#[tokio::test]
async fn sixty_four_callers_are_served_and_one_that_floods_is_limited() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let polkit = Polkit::new(&bus, Answer::Silence).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    let mut callers = Vec::new();
    for i in 0..64 {
        callers.push(bus.helper_of(1 + i % 10).await);
    }
    let reads: Vec<_> = callers.iter().cloned().map(|c| tokio::spawn(async move { c.read().await })).collect();
    for read in reads {
        read.await.unwrap().unwrap();
    }
    // One caller's dialogs, never answered: two are open, further ones are refused, and all else goes on.
    let flood: Helper1Proxy<'static> = bus.helper_of(USER).await;
    let open: Vec<_> = (0..2)
        .map(|_| {
            let flood = flood.clone();
            tokio::spawn(async move { flood.read_all().await })
        })
        .collect();
    asked(&polkit, 2).await;
    for _ in 0..16 {
        refused(flood.read_all().await, "LimitsExceeded", "2 password prompts for this user are already open");
        refused(
            bus.helper_of(USER).await.install().await,
            "LimitsExceeded",
            "2 password prompts for this user are already open",
        );
    }
    assert_eq!(polkit.asked.lock().unwrap().questions.len(), 2);
    flood.read().await.unwrap();
    callers[0].read().await.unwrap();
    // Another user can be asked about.
    polkit.say(Answer::Yes);
    bus.helper_of(OTHER).await.read_all().await.unwrap();
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

/// 32 questions are open in all, then there is no room; whoever leaves makes some.
#[tokio::test]
async fn open_questions_of_all_users_together_are_bounded() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let polkit = Polkit::new(&bus, Answer::Silence).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    let mut connections = Vec::new();
    for uid in (1..=10).chain([13, 33, 34, 38, 39, 42]) {
        let connection = bus.connect(uid).await;
        for _ in 0..2 {
            let user = Bus::helper(&connection).await;
            drop(tokio::spawn(async move { user.install().await }));
        }
        connections.push(connection);
    }
    asked(&polkit, 32).await;
    let nobody = bus.helper_of(NOBODY).await;
    refused(nobody.install().await, "LimitsExceeded", "32 password prompts for other users are open");
    connections.pop().unwrap().close().await.unwrap();
    while polkit.asked.lock().unwrap().cancelled < 2 {
        tokio::task::yield_now().await;
    }
    polkit.say(Answer::Yes);
    nobody.install().await.unwrap();
}

/// Questions that are no dialogs have room of their own, and an end as well.
#[tokio::test]
async fn one_users_silent_questions_are_bounded_apart_from_dialogs() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let polkit = Polkit::new(&bus, Answer::Yes).await;
    let _daemon = Daemon::new(&lab, &bus).await;
    bus.helper_of(ROOT).await.install().await.unwrap();
    polkit.say(Answer::Silence);
    let user: Helper1Proxy<'static> = bus.helper_of(USER).await;
    user.read().await.unwrap(); // by now the helper knows whose calls these are
    let ask = |user: Helper1Proxy<'static>| tokio::spawn(async move { user.read_forwarded().await });
    let open: Vec<_> = (0..8).map(|_| ask(user.clone())).collect();
    asked(&polkit, 8).await;
    refused(user.read_forwarded().await, "LimitsExceeded", "8 questions to polkit for this user are already open");
    // A dialog, and another user's question.
    polkit.say(Answer::Yes);
    bus.helper_of(USER).await.read_all().await.unwrap();
    bus.helper_of(OTHER).await.read_forwarded().await.unwrap();
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Waits until polkit has been asked so many questions.
async fn asked(polkit: &Polkit, questions: usize) {
    while polkit.asked.lock().unwrap().questions.len() < questions {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn installing_is_remembered_and_uninstalling_leaves_nothing() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::new(&lab, &bus).await;
    let root = bus.helper_of(ROOT).await;
    refused(root.read_all().await, "NotInstalled", "not set up");
    refused(root.read_remotes(vec!["/".into()]).await, "NotInstalled", "not set up");
    let watching = Helper1Proxy::new(&bus.connect(USER).await).await.unwrap();
    let mut installed = watching.receive_installed_changed().await;
    assert!(!installed.next().await.unwrap().get().await.unwrap());
    root.install().await.unwrap();
    assert!(installed.next().await.unwrap().get().await.unwrap());
    let prefix = (vec![8, 8, 8, 0], 24);
    root.set_prefixes(vec![prefix.clone()], vec![(vec![10, 0, 0, 0], 8)]).await.unwrap();
    let now = root.internal_prefixes().await.unwrap();
    assert!(now.contains(&prefix) && !now.contains(&(vec![10, 0, 0, 0], 8)), "{now:?}");
    let text = lab.host.part_of_ours("set internal4");
    assert!(text.contains("8.8.8.0/24") && !text.contains("10.0.0.0/8"), "{text}");
    let (epoch, ..) = root.read_all().await.unwrap();

    // A boot: no socket is kept, the runtime directory is empty.
    daemon.kill();
    daemon.drop_kept();
    std::fs::remove_dir_all(daemon.runtime()).unwrap();
    eventually("the table goes with its last socket", || {
        let rules = lab.host.nft("list ruleset").unwrap();
        if rules.is_empty() { Ok(()) } else { Err(rules) }
    });
    daemon.start(&bus).await;
    assert!(root.installed().await.unwrap());
    assert!(root.internal_prefixes().await.unwrap().contains(&prefix));
    assert_ne!(root.read_all().await.unwrap().0, epoch);

    root.uninstall().await.unwrap();
    assert!(!root.installed().await.unwrap());
    assert_eq!(lab.host.nft("list ruleset").unwrap(), "");
    assert!(!daemon.is_kept());
    refused(root.read_last().await, "NotInstalled", "not set up");
    refused(root.read_remotes(vec!["/".into()]).await, "NotInstalled", "not set up");
    for directory in [daemon.state(), daemon.runtime()] {
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "{}", directory.display());
    }
    assert!(!root.internal_prefixes().await.unwrap().contains(&prefix));
}

#[tokio::test]
async fn a_table_of_our_name_that_is_somebody_elses_is_told() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::new(&lab, &bus).await;
    // nft can't write this name: only another helper makes such a table.
    let mut other = lab.host.inside(Nft::open).unwrap();
    other.create(1, SET_SIZE, Internal::default()).unwrap();
    let root = bus.helper_of(ROOT).await;
    refused(root.install().await, "Kernel", "another netglance-helper");
    assert!(!root.installed().await.unwrap());
    drop(other);
    root.install().await.unwrap();
}
