//! Kernels that can't be trusted to count: the real helper on a real bus is told that it runs on one, in the files of a /proc of
//! its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use lab::{Lab, OUTSIDE_SINK, tool};
use netglance_dbus::helper1::{Error, Helper1Proxy};
use system::{Answer, Bus, Cgroups, Daemon, Polkit};
use zbus::DBusError as _;

const ROOT: u32 = 0;
/// A user that every Debian has.
const USER: u32 = 1;
const APP: &str = "user.slice/user-1.slice/user@1.service/app.slice/app.service";
/// A datagram of 100 bytes with its headers.
const DATAGRAM: u64 = 128;

const CRASHES: &str = "5.15.30";
const LEAKS: &str = "6.1.100";
const FIXED: &str = "6.1.128";

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, name: &str, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.name().as_str(), format!("org.netglance.Helper1.Error.{name}"), "{error}");
    let description = error.description().unwrap_or_default();
    assert!(words.iter().all(|words| description.contains(words)), "{description}");
}

/// What nft lists on the host.
fn tables(lab: &Lab) -> String {
    lab.host.inside(|| tool("nft", &["list", "tables"], "")).unwrap()
}

/// Ends the helper and its table as a restart of the computer does, and starts it on another kernel.
async fn reboot(daemon: &mut Daemon, bus: &Bus, kernel: &str) {
    daemon.kill();
    daemon.drop_kept();
    fs::remove_dir_all(daemon.runtime()).ok();
    daemon.set_kernel(Some(kernel));
    daemon.start(bus).await;
}

/// That traffic is counted.
async fn counts(lab: &Lab, helper: &Helper1Proxy<'_>) {
    let of = |sample: (u64, u64, Vec<netglance_dbus::sample::Row>)| {
        sample.2.iter().filter(|row| row.cgroup == format!("/{APP}")).map(|row| row.tx_bytes).sum::<u64>()
    };
    let before = of(helper.read_all().await.unwrap());
    lab.application(APP).run(&format!("flood {OUTSIDE_SINK} 10 100"));
    assert_eq!(of(helper.read_all().await.unwrap()) - before, 10 * DATAGRAM);
}

#[tokio::test]
async fn nothing_is_counted_where_the_kernel_can_crash() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let daemon = Daemon::on_kernel(&lab, &bus, CRASHES).await;
    let polkit = Polkit::new(&bus, Answer::Yes).await;
    let helper = bus.helper_of(USER).await;
    let words = ["Linux 5.15.30 has a bug", "the computer can crash", "Linux 5.15.38 or 5.18", "743b83f15d40"];
    refused(helper.install().await, "Unsupported", &words);
    refused(helper.install_anyway().await, "Unsupported", &words);
    refused(bus.helper_of(ROOT).await.install_anyway().await, "Unsupported", &words);
    // Nobody is asked for a password that would be of no use.
    assert!(polkit.asked.lock().unwrap().questions.is_empty());
    assert!(!helper.installed().await.unwrap() && tables(&lab).is_empty() && !daemon.is_kept());
    refused(helper.read().await, "NotInstalled", &[]);
}

#[tokio::test]
async fn where_memory_is_lost_an_administrator_decides_once() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::on_kernel(&lab, &bus, LEAKS).await;
    let polkit = Polkit::new(&bus, Answer::Yes).await;
    let helper = bus.helper_of(USER).await;
    let words = ["Linux 6.1.100 has a bug", "memory is lost", "Linux 6.1.111 or 6.11", "CVE-2024-46855"];
    refused(helper.install().await, "NeedsConfirmation", &[&words[..], &["`netglance install`"]].concat());
    assert!(polkit.asked.lock().unwrap().questions.is_empty());
    assert!(!helper.installed().await.unwrap() && tables(&lab).is_empty());
    assert_eq!(helper.warning().await.unwrap(), "");
    polkit.say(Answer::No);
    refused(helper.install_anyway().await, "NotAuthorized", &[]);
    assert!(!helper.installed().await.unwrap() && tables(&lab).is_empty());

    polkit.say(Answer::Yes);
    helper.install_anyway().await.unwrap();
    counts(&lab, &helper).await;
    let warns = |warning: String| assert!(words.iter().all(|words| warning.contains(words)), "{warning}");
    warns(helper.warning().await.unwrap());
    warns(daemon.said());
    helper.install().await.unwrap();

    // The helper is started again, and the computer.
    daemon.kill();
    daemon.start(&bus).await;
    let helper = bus.helper_of(USER).await;
    counts(&lab, &helper).await;
    reboot(&mut daemon, &bus, "6.1.90").await;
    let helper = bus.helper_of(USER).await;
    counts(&lab, &helper).await;
    assert!(helper.warning().await.unwrap().contains("Linux 6.1.90 has a bug"));

    // Another kernel: what was agreed to is no consent to a crash, and a fixed one has nothing to say.
    reboot(&mut daemon, &bus, CRASHES).await;
    let helper = bus.helper_of(USER).await;
    refused(helper.read().await, "Unsupported", &["the computer can crash"]);
    assert!(helper.warning().await.unwrap().contains("the computer can crash"));
    assert!(helper.installed().await.unwrap() && tables(&lab).is_empty());
    reboot(&mut daemon, &bus, FIXED).await;
    let helper = bus.helper_of(USER).await;
    counts(&lab, &helper).await;
    assert_eq!(helper.warning().await.unwrap(), "");
    reboot(&mut daemon, &bus, LEAKS).await;
    let helper = bus.helper_of(USER).await;
    counts(&lab, &helper).await;

    helper.uninstall().await.unwrap();
    refused(helper.install().await, "NeedsConfirmation", &words);
}

/// An earlier version has counted here, and asked nobody.
#[tokio::test]
async fn a_table_of_an_earlier_version_does_not_go_on_unasked() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::new(&lab, &bus).await;
    let helper = bus.helper_of(ROOT).await;
    helper.install().await.unwrap();
    counts(&lab, &helper).await;
    assert!(daemon.is_kept() && !tables(&lab).is_empty());
    let setup = daemon.state().join("setup.json");
    fs::write(&setup, r#"{"installed":true,"internal":["198.51.100.0/24"],"external":[]}"#).unwrap();

    daemon.kill();
    daemon.set_kernel(Some(LEAKS));
    daemon.start(&bus).await;
    let helper = bus.helper_of(ROOT).await;
    lab::eventually("the table is gone", || {
        let there = tables(&lab);
        if there.is_empty() && !daemon.is_kept() { Ok(()) } else { Err(there) }
    });
    let words = ["Linux 6.1.100 has a bug", "memory is lost", "Exact counting stays off until"];
    assert!(words.iter().all(|words| daemon.said().contains(words)), "{}", daemon.said());
    let warning = helper.warning().await.unwrap();
    assert!(words.iter().all(|words| warning.contains(words)), "{warning}");
    refused(helper.read().await, "NeedsConfirmation", &words);
    refused(helper.install().await, "NeedsConfirmation", &words);
    assert!(helper.installed().await.unwrap() && tables(&lab).is_empty());

    helper.install_anyway().await.unwrap();
    counts(&lab, &helper).await;
    let prefixes = helper.internal_prefixes().await.unwrap();
    assert!(prefixes.contains(&(vec![198, 51, 100, 0], 24)), "the administrator's own prefix is gone: {prefixes:?}");
    helper.set_prefixes(Vec::new(), Vec::new()).await.unwrap();
    daemon.kill();
    daemon.start(&bus).await;
    counts(&lab, &bus.helper_of(ROOT).await).await;
}

/// As root types it, in a terminal that says `answer`, or without one.
fn install(bus: &Bus, arguments: &str, answer: Option<&str>) -> Output {
    let netglance = Path::new(env!("CARGO_BIN_EXE_netglance-helper")).with_file_name("netglance");
    assert!(netglance.exists(), "{} is not built: cargo build --package netglance", netglance.display());
    let line = format!("{} install {arguments}", netglance.display());
    let script = match answer {
        Some(answer) => format!("echo {answer} | script --quiet --return --command '{line}' /dev/null"),
        None => line,
    };
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null()).env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
    command.output().unwrap()
}

#[tokio::test]
async fn netglance_install_asks_in_the_terminal() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::on_kernel(&lab, &bus, LEAKS).await;
    let helper = bus.helper_of(ROOT).await;
    let text = |output: &Output| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    for answer in [None, Some("n"), Some("")] {
        let output = install(&bus, "", answer);
        assert_eq!(output.status.code(), Some(1), "{answer:?}: {}", text(&output));
        assert!(text(&output).contains("Linux 6.1.100 has a bug"), "{}", text(&output));
        let words = ["Count anyway? [y/N]", "--accept-kernel-bug"].map(|words| text(&output).contains(words));
        assert_eq!(words, [answer.is_some(), answer.is_none()], "{}", text(&output));
        assert!(!helper.installed().await.unwrap());
    }
    let output = install(&bus, "", Some("y"));
    assert!(output.status.success() && text(&output).contains("Exact counting is on"), "{}", text(&output));
    counts(&lab, &helper).await;
    helper.uninstall().await.unwrap();
    let output = install(&bus, "--accept-kernel-bug", None);
    assert!(output.status.success() && text(&output).contains("Exact counting is on"), "{}", text(&output));
    counts(&lab, &helper).await;
}

/// A leak that can't be ruled out is said, a crash has to be agreed to.
#[tokio::test]
async fn what_cannot_be_known_is_said() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::on_kernel(&lab, &bus, "6.4.0-150600.23.22-default").await;
    let helper = bus.helper_of(ROOT).await;
    helper.install().await.unwrap();
    counts(&lab, &helper).await;
    let warning = helper.warning().await.unwrap();
    for words in ["6.4.0-150600.23.22-default does not tell", "memory is lost", "verify"] {
        assert!(warning.contains(words) && daemon.said().contains(words), "{words}: {warning}");
    }
    reboot(&mut daemon, &bus, "5.14.0-427.13.1.el9_4.x86_64").await;
    let helper = bus.helper_of(ROOT).await;
    let words = ["5.14.0-427.13.1.el9_4.x86_64 does not tell", "the computer can crash", "`netglance install`"];
    refused(helper.read().await, "NeedsConfirmation", &words);
    refused(helper.install().await, "NeedsConfirmation", &words);
    helper.install_anyway().await.unwrap();
    counts(&lab, &helper).await;
    reboot(&mut daemon, &bus, "5.14.0-503.11.1.el9_5.x86_64").await;
    counts(&lab, &bus.helper_of(ROOT).await).await;
}

/// The mount shows more than the helper's cgroup namespace, so that the kernel's levels and those of the paths differ.
#[tokio::test]
async fn nothing_is_counted_where_levels_count_from_another_root() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let _daemon = Daemon::with_cgroups(&lab, &bus, Cgroups::Outside).await;
    let helper = bus.helper_of(ROOT).await;
    refused(helper.install().await, "Unsupported", &["levels of control groups", "6.1.112", "7f3287db6543"]);
    assert!(!helper.installed().await.unwrap() && tables(&lab).is_empty());
}
