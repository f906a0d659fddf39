//! The proof and the open sockets in the window.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Key, Modifiers, accesskit::Role};
use egui_kittest::kittest::{NodeT, Queryable};
use netglance::{
    advise::verify::Outcome,
    look::live::Side,
    show::update::{Command as Wish, Proof},
};
use screen::{RATE, Screen, reading, report, sockets, with_page};

#[test]
fn each_open_socket_says_why_it_is_external() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.harness.get_by_role_and_label(Role::Link, "Internal (not counted): 20.0 MB").click();
    screen.harness.run();
    assert_eq!(screen.wishes(), [Wish::ProofPage(true)]);
    screen.show(with_page(Ok(sockets(3)), None));
    for text in [
        "StB: 1 external, 2 internal, 0 not connected",
        "93.184.216.34:443",
        "a public address that no internal prefix contains",
        "192.168.0.0/16: Private-Use, RFC 1918",
    ] {
        screen.says(text);
    }
    screen.says_not("treat the highlighted connections differently");
    let mut disagree = sockets(3);
    disagree[1].counters = Some(Side::External);
    screen.show(with_page(Ok(disagree), None));
    screen.says("treat the highlighted connections differently");
    screen.show(with_page(Err("netlink is not there".into()), None));
    screen.says("The connections of StB cannot be listed: netlink is not there.");
    screen.is_accessible();
    screen.press(Key::Escape);
    screen.says_not("cannot be listed");
    assert_eq!(screen.wishes(), [Wish::ProofPage(false)]);

    // A list that is too long is scrolled by the keys; the badge's menu leads to it as well.
    screen.click("Estimate, TCP only");
    screen.click("Show Connections");
    screen.show(with_page(Ok(sockets(200)), None));
    screen.says_not("192.168.2.1:642");
    screen.press(Key::End);
    screen.harness.run();
    screen.says("192.168.2.1:642");
    screen.press(Key::Home);
    screen.harness.run();
    screen.says("93.184.216.34:443");
}

#[test]
fn the_proof_is_asked_for_and_says_what_came_out() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.click("Proof");
    screen.show(with_page(Ok(Vec::new()), None));
    screen.says("No packet leaves this computer");
    screen.click("Run Self-Test…");
    assert_eq!(screen.wishes(), [Wish::ProofPage(true), Wish::Verify]);
    screen.show(with_page(Ok(Vec::new()), Some(Proof::Running)));
    screen.says("Waiting for the password");
    assert!(screen.harness.get_by_label("Run Self-Test…").accesskit_node().is_disabled());
    screen.show(with_page(Ok(Vec::new()), Some(Proof::Failed("it was not authorised, and nothing was tried".into()))));
    screen.says("The self-test failed to run: it was not authorised, and nothing was tried.");
    screen.show(with_page(Ok(Vec::new()), Some(report(Outcome::Pass))));
    screen.says("2 of 2 cases passed: external traffic is counted, internal traffic is not. 1 could not be run here.");
    screen.says("This kernel has no IPv6.");
    screen.says("internal 61,400 / 16,400");
    screen.says_not("FAILED");
    screen.show(with_page(Ok(Vec::new()), Some(report(Outcome::Fail))));
    screen.says("1 of 2 cases FAILED");
    screen.says("Private IPv4 (10.0.0.0/8) (the app): A prefix is missing.");
    screen.says("external 1 / 0, internal 61,400 / 16,400");
    screen.is_accessible();
    // Another page takes its place, and it is closed then.
    screen.press_with(Modifiers::COMMAND, Key::Comma);
    screen.says("All prefixes");
    screen.press_with(Modifiers::COMMAND, Key::P);
    screen.says_not("All prefixes");
    screen.click("Close");
    assert_eq!(screen.wishes(), [Wish::ProofPage(false), Wish::ProofPage(true), Wish::ProofPage(false)]);
    screen.says("Download 1.23 MB/s");
}
