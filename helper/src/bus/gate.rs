//! Decides for each message on the helper's connection whether it comes in: the one place where the bus's limits stand. Pure:
//! the time is passed in, nothing waits, and what has to be asked is put down as a [`Question`].
//!
//! Every limit is a user's, over all of the user's connections, and what is over a limit is dropped without an answer: an
//! answer would cost more than the call did. Everything that is remembered here has a limit as well.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    header::{FLAGS, Header, Kind, NO_REPLY},
    meter::Meter,
    unread::{Room, Unread},
};

/// A longer message is skipped while it is read. The longest that makes sense has 2,048 prefixes in it.
pub const MOST_MESSAGE: usize = 128 << 10;
/// The bus itself, as a sender.
pub const BUS: &str = "org.freedesktop.DBus";

/// 200 calls a second, of whatever kind, and 400 at once after a rest. `netglance run` makes 20 a second.
const CALL: Duration = Duration::from_millis(5);
const CALLS_AT_ONCE: Duration = Duration::from_secs(2);
/// 16 MiB of answers a second, and 64 MiB at once.
const ANSWERED_MIB: Duration = Duration::from_micros(62_500);
const ANSWERED_AT_ONCE: Duration = Duration::from_secs(4);
/// Root gets so many times the rates: who is root needs no bus to stop the helper.
const ROOT: u32 = 10;

/// Calls that one user may have under way, and all users together. A call is a task.
const UNDER_WAY: usize = 32;
const UNDER_WAY_ALL: usize = 256;
/// Bytes that the arguments of these calls may have, of one user and of all together.
const HELD: usize = 512 << 10;
const HELD_ALL: usize = 4 << 20;

/// Calls that may wait for what the bus says about their sender: of one sender, of all, and the bytes of all. Each connection
/// that fits on the bus has room for its first calls. Long ones have a room of their own, so that they keep out no short ones.
const WAITING: usize = 4;
const WAITING_ALL: usize = 8192;
const SHORT: usize = 1 << 10;
const WAITING_SHORT: usize = 4 << 20;
const WAITING_LONG: usize = 1 << 20;
/// Senders that are known: twice as many as connections fit on Debian's bus. They are forgotten when they leave the bus.
const CALLERS: usize = 4096;
/// Users that are known.
const USERS: usize = 1024;

/// The members that are carried out even though nobody waits for the answer.
const CHANGES: [&str; 4] = ["Install", "InstallAnyway", "Uninstall", "SetPrefixes"];

/// What is to happen to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes in.
    Pass,
    /// It is forgotten, or waits here.
    Drop,
}

/// What the bus is to be asked about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whose it is; [`Gate::is_of`] is owed.
    Whose(Box<str>),
    /// How many bytes it has not read yet; [`Gate::has_unread`] is owed.
    Unread(Box<str>),
}

#[derive(Debug, Default)]
struct Caller {
    uid: Option<u32>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    message: Vec<u8>,
    /// It was counted as a call already.
    counted: bool,
}

#[derive(Debug)]
struct User {
    calls: Meter,
    answers: Meter,
    under_way: usize,
    held: usize,
}

#[derive(Debug)]
struct Underway {
    serial: u32,
    uid: u32,
    bytes: usize,
    /// The caller wants no answer.
    silent: bool,
}

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    callers: HashMap<Box<str>, Caller>,
    users: HashMap<u32, User>,
    under_way: HashMap<Box<str>, Vec<Underway>>,
    under_way_all: usize,
    held_all: usize,
    waiting_all: usize,
    waiting_short: usize,
    waiting_long: usize,
    unread: Unread,
    whose: VecDeque<Box<str>>,
    released: VecDeque<Vec<u8>>,
}

impl Gate {
    /// A whole message has come in.
    pub fn arrived(&mut self, message: &[u8], now: Instant) -> Verdict {
        let Some(header) = Header::read(message) else { return Verdict::Drop };
        match header.kind {
            Kind::Call => self.called(message, &header, now),
            _ if header.sender == BUS => Verdict::Pass,
            _ => Verdict::Drop,
        }
    }

    /// An answer is about to go out. Whether it is to be written: not where the caller wants none.
    pub fn answered(&mut self, to: &str, serial: u32, bytes: usize, now: Instant) -> bool {
        let silent = self.ended(to, serial);
        let uid = self.uid(to);
        if let (false, Some(uid)) = (silent, uid) {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.unread.sent(to, uid, bytes);
            if let Some(user) = self.users.get_mut(&uid) {
                let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).saturating_add(1);
                user.answers.charge(ANSWERED_MIB / 1024 * kib / share(uid), now);
            }
        }
        !silent
    }

    /// The user who made a call that is under way, also if the caller has left meanwhile.
    pub fn called_by(&self, name: &str, serial: u32) -> Option<u32> {
        self.under_way.get(name)?.iter().find(|call| call.serial == serial).map(|call| call.uid)
    }

    /// Puts down what comes in. Calls are bounded by what may be under way.
    pub fn release(&mut self, message: Vec<u8>) {
        self.released.push_back(message);
    }

    /// What comes in next.
    pub fn released(&mut self) -> Option<Vec<u8>> {
        self.released.pop_front()
    }

    /// What the bus is to be asked next.
    pub fn question(&mut self) -> Option<Question> {
        // Who has left meanwhile is not asked about.
        let whose = std::iter::from_fn(|| self.whose.pop_front()).find(|name| self.callers.contains_key(name));
        whose.map(Question::Whose).or_else(|| self.unread.question().map(Question::Unread))
    }

    /// Whether [`Self::question`] has one.
    pub fn has_questions(&self) -> bool {
        !self.whose.is_empty() || self.unread.has_questions()
    }

    /// Whether [`Self::released`] has one.
    pub fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// The bus has said whose a connection is; `None` where it is nobody's any more.
    pub fn is_of(&mut self, name: &str, uid: Option<u32>, now: Instant) {
        match (uid, self.callers.get_mut(name)) {
            (None, _) => self.gone(name, now),
            (Some(_), None) => {} // it left meanwhile
            (Some(uid), Some(caller)) => {
                caller.uid = Some(uid);
                self.judge_waiting(name, now);
            }
        }
    }

    /// The bus has said how much a connection has not read; `None` where it has left.
    pub fn has_unread(&mut self, name: &str, bytes: Option<u64>, now: Instant) {
        let known = self.unread.told(name, bytes);
        self.judge_waiting_of(known, now);
    }

    /// The bus does not say what is unread.
    pub fn unread_is_untold(&mut self, now: Instant) {
        self.unread.untold();
        let uids: Vec<_> = self.users.keys().copied().collect();
        uids.into_iter().for_each(|uid| self.judge_waiting_of(Some(uid), now));
    }

    /// A connection has left the bus. What it has called goes on until it is answered.
    pub fn gone(&mut self, name: &str, now: Instant) {
        if let Some(caller) = self.callers.remove(name) {
            caller.waiting.iter().for_each(|waiting| self.not_waiting(waiting));
        }
        let known = self.unread.gone(name);
        self.judge_waiting_of(known, now);
    }

    /// Whose a connection is, if it is on the bus and something of it came in.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.callers.get(name).and_then(|caller| caller.uid)
    }

    fn called(&mut self, message: &[u8], header: &Header<'_>, now: Instant) -> Verdict {
        if header.sender.is_empty() || (header.no_reply && !CHANGES.contains(&header.member)) {
            return Verdict::Drop;
        }
        match self.callers.get(header.sender) {
            Some(Caller { uid: Some(uid), waiting }) if waiting.is_empty() => {
                let uid = *uid;
                if self.counts(uid, now) { self.judge(uid, message, header, now) } else { Verdict::Drop }
            }
            Some(caller) => {
                // What comes from a user over the rate does not wait either.
                let over = caller.uid.is_some_and(|uid| !self.counts(uid, now));
                let counted = self.uid(header.sender).is_some();
                if !over {
                    self.wait(message, header.sender, counted);
                }
                Verdict::Drop
            }
            None => {
                if self.callers.len() < CALLERS && self.whose.len() < CALLERS {
                    self.callers.insert(header.sender.into(), Caller::default());
                    self.whose.push_back(header.sender.into());
                    self.wait(message, header.sender, false);
                }
                Verdict::Drop
            }
        }
    }

    /// Counts a call of a user. Whether the user may make it.
    fn counts(&mut self, uid: u32, now: Instant) -> bool {
        if !self.users.contains_key(&uid) {
            if self.users.len() >= USERS {
                self.users
                    .retain(|_, user| user.under_way > 0 || !user.calls.is_fresh(now) || !user.answers.is_fresh(now));
            }
            if self.users.len() >= USERS {
                return false;
            }
        }
        let new = || User { calls: Meter::new(now), answers: Meter::new(now), under_way: 0, held: 0 };
        let user = self.users.entry(uid).or_insert_with(new);
        !user.answers.is_over(ANSWERED_AT_ONCE, now) && user.calls.take(CALL / share(uid), CALLS_AT_ONCE, now)
    }

    /// Decides about a call that has been counted.
    fn judge(&mut self, uid: u32, message: &[u8], header: &Header<'_>, now: Instant) -> Verdict {
        let bytes = message.len();
        let full = self.under_way_all >= UNDER_WAY_ALL || self.held_all.saturating_add(bytes) > HELD_ALL;
        let user_is_full = |user: &User| user.under_way >= UNDER_WAY || user.held.saturating_add(bytes) > HELD;
        if full || self.users.get(&uid).is_none_or(user_is_full) {
            return Verdict::Drop;
        }
        match self.unread.room(uid, now) {
            Room::None => return Verdict::Drop,
            Room::Unknown => {
                self.wait(message, header.sender, true);
                return Verdict::Drop;
            }
            Room::Enough => {}
        }
        if let Some(user) = self.users.get_mut(&uid) {
            user.under_way += 1;
            user.held += bytes;
        }
        self.under_way_all += 1;
        self.held_all += bytes;
        let call = Underway { serial: header.serial, uid, bytes, silent: header.no_reply };
        self.under_way.entry(header.sender.into()).or_default().push(call);
        Verdict::Pass
    }

    /// A call is answered. Whether nobody wants to hear it. A caller that gives two calls the same number mixes up its own.
    fn ended(&mut self, to: &str, serial: u32) -> bool {
        let Some(calls) = self.under_way.get_mut(to) else { return false };
        let Some(at) = calls.iter().position(|call| call.serial == serial) else { return false };
        let call = calls.swap_remove(at);
        if calls.is_empty() {
            self.under_way.remove(to);
        }
        if let Some(user) = self.users.get_mut(&call.uid) {
            user.under_way = user.under_way.saturating_sub(1);
            user.held = user.held.saturating_sub(call.bytes);
        }
        self.under_way_all = self.under_way_all.saturating_sub(1);
        self.held_all = self.held_all.saturating_sub(call.bytes);
        call.silent
    }

    fn wait(&mut self, message: &[u8], sender: &str, counted: bool) {
        let Some(caller) = self.callers.get_mut(sender) else { return };
        let (used, most) = if message.len() <= SHORT {
            (&mut self.waiting_short, WAITING_SHORT)
        } else {
            (&mut self.waiting_long, WAITING_LONG)
        };
        let bytes = used.saturating_add(message.len());
        if self.waiting_all < WAITING_ALL && bytes <= most && caller.waiting.len() < WAITING {
            caller.waiting.push_back(Waiting { message: message.to_vec(), counted });
            self.waiting_all += 1;
            *used = bytes;
        }
    }

    fn not_waiting(&mut self, waiting: &Waiting) {
        let bytes = waiting.message.len();
        let used = if bytes <= SHORT { &mut self.waiting_short } else { &mut self.waiting_long };
        *used = used.saturating_sub(bytes);
        self.waiting_all = self.waiting_all.saturating_sub(1);
    }

    /// Decides about what waited, in its order. What has to wait on goes on waiting.
    fn judge_waiting(&mut self, name: &str, now: Instant) {
        let Some(caller) = self.callers.get_mut(name) else { return };
        let Some(uid) = caller.uid else { return };
        for waiting in std::mem::take(&mut caller.waiting) {
            self.not_waiting(&waiting);
            let mut message = waiting.message;
            let Some(header) = Header::read(&message) else { continue };
            if (waiting.counted || self.counts(uid, now)) && self.judge(uid, &message, &header, now) == Verdict::Pass {
                expect_reply(&mut message);
                self.released.push_back(message);
            }
        }
    }

    fn judge_waiting_of(&mut self, uid: Option<u32>, now: Instant) {
        if uid.is_none() {
            return;
        }
        let waits = |caller: &Caller| caller.uid == uid && !caller.waiting.is_empty();
        let names: Vec<_> =
            self.callers.iter().filter(|(_, caller)| waits(caller)).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.judge_waiting(name, now));
    }
}

/// Has every call answered, so that it is known when it ends. Who wants no answer gets none: [`Gate::answered`] says so.
pub fn expect_reply(message: &mut [u8]) {
    if let Some(flags) = message.get_mut(FLAGS) {
        *flags &= !NO_REPLY;
    }
}

fn share(uid: u32) -> u32 {
    if uid == 0 { ROOT } else { 1 }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
