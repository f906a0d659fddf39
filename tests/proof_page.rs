//! The proof in the window.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use netglance::{
    advise::verify::Outcome,
    show::update::{Command as Wish, Proof},
};
use screen::{RATE, Screen, reading, report, with_proof};

#[test]
fn the_proof_is_asked_for_and_says_what_came_out() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    screen.click("Proof");
    screen.show(with_proof(None));
    screen.says("No packet leaves this computer");
    screen.click("Run Self-Test…");
    assert_eq!(screen.wishes(), [Wish::ProofPage(true), Wish::Verify]);
    screen.show(with_proof(Some(Proof::Running)));
    screen.says("Waiting for the password");
    assert!(screen.harness.get_by_label("Run Self-Test…").accesskit_node().is_disabled());
    screen.show(with_proof(Some(Proof::Failed("it was not authorised, and nothing was tried".into()))));
    screen.says("The self-test failed to run: it was not authorised, and nothing was tried.");
    screen.show(with_proof(Some(report(Outcome::Pass))));
    screen.says("2 of 2 cases passed: external traffic is counted, internal traffic is not. 1 could not be run here.");
    screen.says("This kernel has no IPv6.");
    screen.says("internal 61,400 / 16,400");
    screen.says_not("FAILED");
    screen.show(with_proof(Some(report(Outcome::Fail))));
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
