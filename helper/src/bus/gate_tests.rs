//! The gate's decisions, one limit after the other.
#![allow(clippy::unwrap_used, reason = "tests")]

use zbus::message::{Flags, Message};

use super::*;

fn call_with(sender: &str, member: &str, flags: Flags, body: usize) -> Vec<u8> {
    let builder = Message::method_call("/org/netglance/Helper1", member).interface("org.netglance.Helper1");
    let builder = builder.destination(":1.1").sender(sender).with_flags(flags);
    builder.build(&vec![0u8; body]).unwrap().data().to_vec()
}

fn call(sender: &str) -> Vec<u8> {
    call_with(sender, "Read", Flags::empty(), 0)
}

fn serial(message: &[u8]) -> u32 {
    Header::read(message).unwrap().serial
}

/// A gate that knows these connections' users.
fn gate(known: &[(&str, u32)], now: Instant) -> Gate {
    let mut gate = Gate::default();
    for (name, uid) in known {
        gate.callers.insert((*name).into(), Caller { uid: Some(*uid), waiting: VecDeque::new() });
        gate.counts(*uid, now - Duration::from_secs(60));
    }
    gate
}

/// Sends so many calls, each answered at once with so many bytes; how many came in.
fn come_in(gate: &mut Gate, sender: &str, calls: usize, answer: usize, now: Instant) -> usize {
    (0..calls)
        .filter(|_| {
            let message = call(sender);
            let passed = gate.arrived(&message, now) == Verdict::Pass;
            passed && gate.answered(sender, serial(&message), answer, now)
        })
        .count()
}

#[test]
fn a_stranger_waits_until_the_bus_has_said_who_it_is() {
    let (mut gate, now) = (Gate::default(), Instant::now());
    let messages = [call(":1.5"), call(":1.5")];
    for message in &messages {
        assert_eq!(gate.arrived(message, now), Verdict::Drop);
    }
    assert_eq!(gate.question(), Some(Question::Whose(":1.5".into())));
    assert_eq!(gate.question(), None, "asked once");
    gate.is_of(":1.5", Some(7), now);
    for message in &messages {
        assert_eq!(gate.released().as_ref(), Some(message), "in their order");
    }
    assert_eq!((gate.uid(":1.5"), gate.waiting_all, gate.waiting_short), (Some(7), 0, 0));
    assert_eq!(gate.arrived(&call(":1.5"), now), Verdict::Pass);
    gate.gone(":1.5", now);
    assert_eq!((gate.uid(":1.5"), gate.callers.len()), (None, 0));
}

#[test]
fn strangers_that_come_and_go_leave_nothing() {
    let (mut gate, now) = (Gate::default(), Instant::now());
    for at in 0..6_000 {
        let name = format!(":1.{at}");
        let message = call_with(&name, "SetPrefixes", Flags::empty(), 1000);
        for _ in 0..3 {
            gate.arrived(&message, now);
        }
        if at % 3 == 0 {
            gate.gone(&name, now);
        }
        assert!(gate.waiting_all <= WAITING_ALL && gate.waiting_long <= WAITING_LONG);
        assert!(gate.callers.len() <= CALLERS && gate.whose.len() <= CALLERS);
    }
    for at in 0..6_000 {
        gate.is_of(&format!(":1.{at}"), None, now);
    }
    assert_eq!(gate.question(), None);
    assert_eq!((gate.callers.len(), gate.whose.len(), gate.waiting_all), (0, 0, 0));
    assert_eq!((gate.waiting_short, gate.waiting_long), (0, 0));
}

#[test]
fn long_first_calls_of_some_keep_out_no_short_ones_of_others() {
    let (mut gate, now) = (Gate::default(), Instant::now());
    for at in 0..300 {
        gate.arrived(&call_with(&format!(":1.{at}"), "SetPrefixes", Flags::empty(), 100_000), now);
        for _ in 0..100 {
            gate.arrived(&call(&format!(":1.{at}")), now);
        }
    }
    gate.arrived(&call(":1.999"), now);
    gate.is_of(":1.999", Some(7), now);
    assert!(gate.released().is_some());
}

#[test]
fn the_rate_is_a_users_whatever_the_connection_and_the_member() {
    let now = Instant::now();
    let mut gate = gate(&[(":1.1", 7), (":1.2", 7), (":1.3", 8)], now);
    let first = come_in(&mut gate, ":1.1", 300, 100, now);
    let second = come_in(&mut gate, ":1.2", 300, 100, now);
    assert_eq!((first, second), (300, 100));
    let nothing = call_with(":1.1", "NoSuchMember", Flags::empty(), 0);
    assert_eq!(gate.arrived(&nothing, now), Verdict::Drop);
    assert_eq!(come_in(&mut gate, ":1.3", 10, 100, now), 10, "another user");
    assert_eq!(come_in(&mut gate, ":1.1", 300, 100, now + Duration::from_millis(500)), 100, "200 a second");
}

#[test]
fn calls_under_way_are_bounded_and_end_with_their_answer() {
    let now = Instant::now();
    let mut gate = gate(&[(":1.1", 7), (":1.2", 7), (":1.3", 8)], now);
    let calls: Vec<_> = (0..UNDER_WAY).map(|_| call(":1.1")).collect();
    for message in &calls {
        assert_eq!(gate.arrived(message, now), Verdict::Pass);
    }
    assert_eq!(gate.arrived(&call(":1.2"), now), Verdict::Drop);
    assert_eq!(gate.arrived(&call(":1.3"), now), Verdict::Pass);
    // Who leaves has them under way all the same.
    gate.gone(":1.1", now);
    assert_eq!(gate.arrived(&call(":1.2"), now), Verdict::Drop);
    assert_eq!(gate.called_by(":1.1", serial(&calls[3])), Some(7));
    for message in &calls {
        gate.answered(":1.1", serial(message), 100, now);
    }
    assert_eq!(gate.arrived(&call(":1.2"), now), Verdict::Pass);
    assert_eq!((gate.under_way_all, gate.users[&7].under_way), (2, 1));
}

#[test]
fn all_users_together_are_bounded() {
    let now = Instant::now();
    let names: Vec<_> = (0..20).map(|at| (format!(":1.{at}"), at)).collect();
    let known: Vec<_> = names.iter().map(|(name, uid)| (name.as_str(), *uid)).collect();
    let mut gate = gate(&known, now);
    let passed = (0..20 * UNDER_WAY).filter(|at| gate.arrived(&call(known[at % 20].0), now) == Verdict::Pass).count();
    assert_eq!(passed, UNDER_WAY_ALL);
}

#[test]
fn the_arguments_that_are_held_are_bounded() {
    let now = Instant::now();
    let mut gate = gate(&[(":1.1", 7)], now);
    let large = || call_with(":1.1", "SetPrefixes", Flags::empty(), 100_000);
    let passed = (0..UNDER_WAY).filter(|_| gate.arrived(&large(), now) == Verdict::Pass).count();
    assert_eq!(passed, HELD / large().len());
}

#[test]
fn without_an_answer_only_changes_are_made() {
    let now = Instant::now();
    let mut gate = gate(&[(":1.1", 7)], now);
    let silent = |member| call_with(":1.1", member, Flags::NO_REPLY_EXPECTED, 0);
    assert_eq!(gate.arrived(&silent("Read"), now), Verdict::Drop);
    assert_eq!(gate.arrived(&silent("GetAll"), now), Verdict::Drop);
    let mut install = silent("Install");
    assert_eq!(gate.arrived(&install, now), Verdict::Pass);
    assert!(!gate.answered(":1.1", serial(&install), 100, now), "nobody wants to hear it");
    assert_eq!(gate.under_way_all, 0);
    expect_reply(&mut install);
    assert!(!Header::read(&install).unwrap().no_reply);
}

#[test]
fn nothing_but_calls_and_what_the_bus_says_comes_in() {
    let (mut gate, now) = (Gate::default(), Instant::now());
    let signal = |sender: &str| {
        let builder = Message::signal("/", "org.freedesktop.DBus", "NameLost").sender(sender);
        builder.build(&"x").unwrap().data().to_vec()
    };
    assert_eq!(gate.arrived(&signal(":1.1"), now), Verdict::Drop);
    assert_eq!(gate.arrived(&[], now), Verdict::Drop);
    assert_eq!(gate.arrived(&[b'l'; 64], now), Verdict::Drop);
    assert_eq!(gate.callers.len(), 0);
}

#[test]
fn the_bytes_of_answers_are_bounded() {
    let now = Instant::now();
    let mut gate = gate(&[(":1.1", 7), (":1.2", 0)], now);
    gate.unread.untold();
    let (user, root) = (come_in(&mut gate, ":1.1", 300, 1 << 20, now), come_in(&mut gate, ":1.2", 300, 1 << 20, now));
    assert_eq!((user, root), (64, 300));
    let later = now + Duration::from_secs(1);
    assert_eq!(come_in(&mut gate, ":1.1", 300, 1 << 20, later), 16, "16 MiB a second");
}

#[test]
fn a_call_of_somebody_with_much_unread_waits_for_the_bus_to_say() {
    let now = Instant::now();
    let mut gate = gate(&[(":1.1", 7), (":1.2", 7), (":1.3", 8)], now);
    assert_eq!(come_in(&mut gate, ":1.1", 5, 1 << 20, now), 4);
    assert_eq!(gate.question(), Some(Question::Unread(":1.1".into())));
    assert_eq!(gate.arrived(&call(":1.2"), now), Verdict::Drop);
    assert_eq!((gate.question(), gate.waiting_all), (None, 2));
    gate.has_unread(":1.1", Some(0), now);
    assert!(gate.released().is_some() && gate.released().is_some());
    // It reads nothing this time.
    let now = now + Duration::from_secs(1);
    come_in(&mut gate, ":1.1", 6, 1 << 20, now);
    while let Some(question) = gate.question() {
        let Question::Unread(name) = question else { unreachable!() };
        gate.has_unread(&name, Some(5 << 20), now);
    }
    assert_eq!((gate.released(), gate.waiting_all), (None, 0), "dropped");
    assert_eq!(come_in(&mut gate, ":1.2", 10, 100, now), 0);
    assert_eq!(come_in(&mut gate, ":1.3", 10, 100, now), 10, "another user");
    gate.gone(":1.1", now);
    assert_eq!(come_in(&mut gate, ":1.2", 10, 100, now), 10);
    // A bus that doesn't say.
    assert_eq!(come_in(&mut gate, ":1.2", 6, 1 << 20, now), 4);
    gate.unread_is_untold(now);
    assert!(gate.released().is_some());
    assert_eq!(gate.waiting_all, 0);
}
