//! What a person does at the desktop, from the first start to the day on which netglance goes again: by what is on the
//! screen, with the built packages, on the owner's host. Each step leaves a picture in target/desktop/.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desktop.rs"]
mod desktop;
mod support;

use std::{collections::BTreeSet, time::Instant};

use desktop::{Desktop, PASSWORD, RATE, packages};
use serde_json::Value;
use support::{Program, eventually};

/// What StB takes from outside, all services together.
const STB: f64 = 3.0 * RATE as f64;
const REFUSED: &str = "Not authorised: the estimate continues.";

/// The download that the window shows large, in bytes a second.
fn shown_rate(desktop: &Desktop) -> Option<f64> {
    let groups = desktop.find("panel", "Download ");
    let text = groups.iter().find_map(|group| group.name.strip_prefix("Download "))?;
    let (number, unit) = text.split_once(' ')?;
    let factor = match unit {
        "B/s" => 1.0,
        "kB/s" => 1e3,
        "MB/s" => 1e6,
        other => panic!("unit {other}"),
    };
    Some(number.parse::<f64>().unwrap() * factor)
}

/// Waits until the window shows, within a tenth, what the outside sends.
#[track_caller]
fn shows_the_rate(desktop: &Desktop) {
    eventually("the window shows StB's rate", || {
        shown_rate(desktop).filter(|rate| (rate / STB - 1.0).abs() < 0.1).map(|_| ())
    });
}

/// Presses "Count Exactly…" once the window offers it.
#[track_caller]
fn ask(desktop: &Desktop) {
    desktop.click("push button", "Count Exactly…");
}

/// Waits until the source badge says so.
#[track_caller]
fn badge(desktop: &Desktop, source: &str) {
    eventually(&format!("the badge says {source}"), || {
        desktop.find("push button", source).into_iter().find(|badge| badge.name == source)
    });
}

/// Types the password into the open dialog, and waits for the exact figures. Since when they are there.
#[track_caller]
fn becomes_exact(desktop: &Desktop) -> Instant {
    desktop.types(PASSWORD);
    let began = Instant::now();
    desktop.press("Return");
    desktop.no_dialog();
    let gone = Instant::now();
    badge(desktop, "Exact");
    let secs = |since: Instant| since.elapsed().as_secs_f64();
    println!("exact {:.1} s after Return was pressed, {:.1} s after the dialog was gone", secs(began), secs(gone));
    Instant::now()
}

fn exact_line(desktop: &Desktop) -> Value {
    let line = desktop.cad("netglance watch --json --app StB --source exact --count 3").ok();
    serde_json::from_str(line.lines().last().unwrap()).unwrap()
}

/// Waits until the tray's picture is another one than before.
#[track_caller]
fn tray_changes(desktop: &Desktop, before: &[u8]) -> Vec<u8> {
    eventually("the picture in the tray changes", || {
        let now = desktop.tray_pixels();
        (now != before).then_some(now)
    })
}

#[test]
fn from_the_first_start_to_exact_figures_after_a_reboot() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();

    let began = Instant::now();
    let _menu = desktop.launch();
    eventually("the window shows a rate", || shown_rate(&desktop));
    println!("first start: a live graph after {:.1} s", began.elapsed().as_secs_f64());
    desktop.shows("document frame", "Chart of the last minute: download");
    desktop.shows("label", "stb-next-shell@split.service");
    badge(&desktop, "Estimate, TCP only");
    shows_the_rate(&desktop);
    desktop.screenshot("journey-1-first-start");

    desktop.click("push button", "Settings");
    desktop.click("check box", "Start at login");
    eventually("it is to start at login", || {
        desktop
            .find("check box", "Start at login")
            .iter()
            .any(|b| b.states.iter().any(|s| s == "checked"))
            .then_some(())
    });
    desktop.screenshot("journey-2-settings");
    desktop.click("push button", "Close");

    ask(&desktop);
    desktop.dialog();
    desktop.screenshot("journey-3-password");
    let began = becomes_exact(&desktop);
    shows_the_rate(&desktop);
    assert!(desktop.find("", "Estimate, TCP only").is_empty());
    // Of half a second: now and then some of it comes in the next one.
    eventually("the terminal has the rate, exactly", || {
        let line = exact_line(&desktop);
        assert_eq!(line["source"], "exact");
        println!("the terminal: {}", line["rx_rate"]);
        line["rx_rate"].as_f64().filter(|rate| (rate / STB - 1.0).abs() < 0.1)
    });
    eventually("the chart has a while of it", || (began.elapsed().as_secs() > 25).then_some(()));
    desktop.screenshot("journey-4-exact");

    desktop.close("netglance");
    let busy = desktop.tray_pixels();
    desktop.pause();
    tray_changes(&desktop, &busy);
    desktop.screenshot("journey-5-hidden");
    desktop.resume();
    desktop.click_tray(1);
    desktop.shows("document frame", "Chart of the last minute: download");
    badge(&desktop, "Exact");
    shows_the_rate(&desktop);
    desktop.screenshot("journey-6-shown-again");
    desktop.click_tray(3);
    eventually("the menu opens", || desktop.tray_menu().then_some(()));
    desktop.screenshot("journey-7-menu");
    desktop.press("Escape");

    desktop.reboot();
    let first = desktop.tray_pixels();
    // At a steady rate all its columns are the same.
    desktop.pause();
    tray_changes(&desktop, &first);
    desktop.resume();
    assert!(desktop.window("netglance").is_none(), "it starts hidden");
    assert!(desktop.find("password text", "").is_empty(), "nobody asks again");
    desktop.screenshot("journey-8-after-the-reboot");
    assert_eq!(exact_line(&desktop)["source"], "exact");
    desktop.click_tray(1);
    badge(&desktop, "Exact");
    shows_the_rate(&desktop);
    assert!(desktop.find("push button", "Count Exactly…").is_empty());
    desktop.screenshot("journey-9-exact-after-the-reboot");
}

#[test]
fn a_no_is_taken_quietly() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();
    let _menu = desktop.launch();

    ask(&desktop);
    desktop.dismiss();
    desktop.shows("label", REFUSED);
    desktop.no_dialog();
    shows_the_rate(&desktop);
    badge(&desktop, "Estimate, TCP only");
    desktop.screenshot("refused-1-cancelled");
    desktop.click("push button", "Dismiss");
    eventually("the line is gone", || desktop.find("label", REFUSED).is_empty().then_some(()));

    ask(&desktop);
    desktop.authorize("not the password");
    desktop.shows("label", "Authentication Failure");
    desktop.screenshot("refused-2-wrong-password");
    desktop.dismiss();
    desktop.shows("label", REFUSED);
    desktop.no_dialog();

    // guest has no rights, and no session in which anybody could be asked.
    let guest = desktop.guest("netglance install");
    assert!(!guest.status.success() && guest.stderr.contains("Nothing was changed"), "{guest:?}");
    desktop.transcript("refused-guest", &guest.stderr);

    desktop.root("pkill -KILL -u cad -f '[p]olkit-gnome-authentication'").ok();
    ask(&desktop);
    desktop.shows("label", "No polkit agent is running in this session");
    desktop.screenshot("refused-3-no-agent");
    let _agent = desktop.start("agent", "exec /usr/lib/policykit-1-gnome/polkit-gnome-authentication-agent-1");

    ask(&desktop);
    desktop.authorize(PASSWORD);
    badge(&desktop, "Exact");
    assert!(desktop.find("label", REFUSED).is_empty(), "a line that is true no more");
    assert!(desktop.find("label", "No polkit agent").is_empty(), "a line that is true no more");
    desktop.screenshot("refused-4-then-allowed");
}

#[test]
fn it_outlives_the_panel_and_the_helper_and_there_is_one_of_it() {
    let desktop = Desktop::boot();
    desktop.install();
    desktop.replica();
    desktop.root("busctl call org.netglance.Helper1 /org/netglance/Helper1 org.netglance.Helper1 Install").ok();
    let _menu = desktop.launch();
    badge(&desktop, "Exact");

    desktop.root("systemctl kill --signal KILL netglance-helper").ok();
    eventually("the helper is back", || exact_answer(&desktop));
    badge(&desktop, "Exact");
    shows_the_rate(&desktop);
    desktop.screenshot("outlives-1-helper");

    desktop.close("netglance");
    let second = desktop.cad("netglance");
    assert!(second.status.success(), "{second:?}");
    desktop.shows("document frame", "Chart of the last minute");
    let windows = desktop.find("frame", "").into_iter().filter(|frame| frame.application == "netglance").count();
    assert_eq!(windows, 1);

    let pid = |name: &str| desktop.root(&format!("pgrep -u cad -x {name} | head -1")).ok();
    let before = pid("xfce4-panel");
    desktop.root("pkill -KILL -u cad -x xfce4-panel").ok();
    let gone = eventually("there is no panel, or a new one", || {
        let now = pid("xfce4-panel");
        (now != before).then_some(now.is_empty())
    });
    let _panel = gone.then(|| desktop.start("panel", "exec xfce4-panel"));
    let first = desktop.tray_pixels();
    desktop.pause();
    tray_changes(&desktop, &first);
    desktop.resume();
    desktop.screenshot("outlives-2-panel");
    desktop.click_tray(1);
    eventually("the window is hidden", || desktop.window("netglance").is_none().then_some(()));
    desktop.click_tray(1);
    badge(&desktop, "Exact");
    desktop.screenshot("outlives-3-shown-again");
}

fn exact_answer(desktop: &Desktop) -> Option<()> {
    let line = desktop.cad("netglance watch --json --app StB --source exact --count 1");
    line.status.success().then_some(())
}

#[test]
fn packages_come_and_go_without_a_trace() {
    let desktop = Desktop::boot();
    let before = desktop.files();
    desktop.install();
    desktop.root("busctl call org.netglance.Helper1 /org/netglance/Helper1 org.netglance.Helper1 Install").ok();
    desktop.apt_install(&[packages::later_helper()]);
    assert!(desktop.root("nft list tables").ok().contains("netglance"));

    desktop.root("DEBIAN_FRONTEND=noninteractive apt-get -y remove netglance netglance-helper").ok();
    assert_eq!(desktop.root("nft list tables").ok(), "");
    let kept = without_downloads(&desktop, &before);
    // Besides, Debian's own helper keeps in mind that the unit was enabled, and masks it meanwhile.
    let debians = |file: &str| file.contains("deb-systemd-helper") || file.contains(" /etc/systemd/system/");
    assert!(kept.iter().all(|file| file.contains(" /var/lib/netglance") || debians(file)), "{kept:?}");
    assert!(
        kept.iter().any(|file| file.contains(" /var/lib/netglance")),
        "what was decided is remembered until the purge"
    );

    desktop.root("DEBIAN_FRONTEND=noninteractive apt-get -y purge netglance netglance-helper").ok();
    assert_eq!(without_downloads(&desktop, &before), BTreeSet::new());
    let gone: Vec<_> = before.difference(&desktop.files()).cloned().collect();
    assert!(gone.is_empty(), "{gone:?}");
}

/// What is there now and was not before, but for cad's own.
fn without_downloads(desktop: &Desktop, before: &BTreeSet<String>) -> BTreeSet<String> {
    desktop.files().difference(before).filter(|file| !file.contains(" /home/cad")).cloned().collect()
}

#[test]
fn from_an_archive_in_the_home_folder_with_one_password() {
    let desktop = Desktop::boot();
    desktop.replica();
    packages::packages();
    for name in ["netglance", "netglance-helper", "netglance-verify"] {
        desktop.copy(&packages::target().join("release").join(name), &format!("/home/cad/netglance-0.1.0/{name}"));
    }
    desktop.root("chown -R cad: /home/cad/netglance-0.1.0").ok();
    let before = desktop.files();
    let _app = desktop.start("archive", "exec $HOME/netglance-0.1.0/netglance");
    badge(&desktop, "Estimate, TCP only");

    ask(&desktop);
    desktop.dialog();
    desktop.screenshot("archive-1-password");
    becomes_exact(&desktop);
    shows_the_rate(&desktop);
    desktop.screenshot("archive-2-exact");
    let put = without_downloads(&desktop, &before);
    assert!(put.iter().any(|file| file.ends_with(" /usr/local/libexec/netglance-helper")), "{put:?}");

    desktop.click("push button", "Settings");
    desktop.click("push button", "Remove Exact Counting…");
    desktop.shows("push button", "Cancel");
    desktop.screenshot("archive-3-remove");
    eventually("the second button", || {
        desktop.find("push button", "Remove").into_iter().find(|button| button.name == "Remove")
    });
    desktop.click("push button", "Remove");
    desktop.authorize(PASSWORD);
    desktop.shows("label", "Exact counting was removed from this computer.");
    desktop.screenshot("archive-4-removed");
    desktop.click("push button", "Close");
    badge(&desktop, "Estimate, TCP only");
    assert_eq!(without_downloads(&desktop, &before), BTreeSet::new());
    assert_eq!(desktop.root("nft list tables").ok(), "");
}

/// Waits for a program's end, and gives the password whenever a dialog asks for it: status, output, dialogs.
#[track_caller]
fn with_password(desktop: &Desktop, mut program: Program) -> (bool, String, usize) {
    let mut dialogs = 0;
    loop {
        if let Some(status) = program.status() {
            let (_, stdout, stderr) = program.ended();
            return (status.success(), stdout.join("\n") + &stderr, dialogs);
        }
        if !desktop.find("password text", "").is_empty() {
            dialogs += 1;
            desktop.authorize(PASSWORD);
            desktop.no_dialog();
        }
    }
}

#[test]
fn doctors_steps_lead_to_a_proof() {
    let desktop = Desktop::boot();
    desktop.replica();
    let [app, helper, ..] = packages::packages();
    desktop.apt_install(&[app]);
    desktop.download(helper);

    let mut transcript = String::new();
    let doctor = || -> Value { serde_json::from_str(&desktop.cad("netglance doctor --json").stdout).unwrap() };
    let status = |report: &Value| -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        report["findings"].as_array().unwrap().iter().map(|f| (word(&f["id"]), word(&f["status"]))).collect()
    };
    let report = doctor();
    desktop.transcript("doctor-before", &desktop.cad("netglance doctor").stdout);
    let found = status(&report);
    // The owner's host, but in a container and with no resolver of its own; the helper's package is not there yet.
    let expected = [
        ("distribution", "note"),
        ("kernel", "ok"),
        ("cgroup", "ok"),
        ("nft", "ok"),
        ("inet-diag", "ok"),
        ("systemd", "ok"),
        ("app", "ok"),
        ("sockets", "ok"),
        ("other-apps", "note"),
        ("libvirt", "note"),
        ("tailscale", "note"),
        ("dns", "unknown"),
        ("polkit", "ok"),
        ("polkit-agent", "ok"),
        ("tray", "ok"),
        ("helper", "note"),
    ];
    assert_eq!(found, expected.map(|(id, status)| (id.to_owned(), status.to_owned())));
    assert_eq!(report["design"], "exact", "{report}");

    for step in report["steps"].as_array().unwrap() {
        let (who, command) = (step["who"].as_str().unwrap(), step["command"].as_str().unwrap());
        let program = desktop.start("step", &format!("cd $HOME/Downloads && {command}"));
        if command.contains(" watch") {
            let mut program = program;
            program.wait("it shows something", |program| (!program.stdout().is_empty()).then_some(()));
            desktop.stop("step");
            transcript += &format!("[{who}] $ {command}\n{}\n\n", program.stdout().join("\n"));
            continue;
        }
        let (good, said, dialogs) = with_password(&desktop, program);
        transcript += &format!("[{who}] $ {command}\n{said}\n\n");
        desktop.transcript("doctor-steps", &transcript);
        assert!(good, "{command}: {said}");
        assert_eq!(dialogs, 1, "{command}");
    }
    desktop.transcript("doctor-steps", &transcript);
    desktop.transcript("doctor-after", &desktop.cad("netglance doctor").stdout);
    let after = doctor();
    assert!(status(&after).contains(&("helper".to_owned(), "ok".to_owned())), "{after}");

    let proof = desktop.start("verify", "netglance verify --json");
    desktop.dialog();
    desktop.screenshot("verify-password");
    desktop.types(PASSWORD);
    desktop.press("Return");
    let (status, stdout, stderr) = proof.ended();
    let proof: Value = serde_json::from_str(&stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert!(status.success(), "{proof}");
    let cases = proof["cases"].as_array().unwrap();
    println!("verify: {} cases", cases.len());
    assert!(cases.len() >= 30 && cases.iter().all(|case| case["verdict"] == "pass"), "{proof}");

    let live = desktop.cad("netglance verify --live");
    desktop.transcript("verify-live", &live.stdout);
    assert!(live.status.success(), "{live:?}");
    // Each service takes from outside, from the LAN and over loopback.
    assert!(live.stdout.ends_with("StB: 3 external, 6 internal, 0 not connected.\n"), "{live:?}");
}
