//! How much of what the helper has answered waits in the bus, unread, for each user. Pure: the time is passed in.
//!
//! A caller that asks and never reads fills the memory of the bus, and a dbus-daemon that holds 127 MiB of one sender's
//! messages reads no further ones of it: the helper would be mute for everybody. Here every answer counts as unread until the
//! bus says otherwise: when a user's sum grows, the bus is asked what each of the user's connections has not read yet.
//! A bus that has no such books (dbus-broker, which keeps accounts of its own and cuts off who doesn't read) is not asked
//! again: the bytes that a user may be answered each second are what bounds it there.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// From so much on the bus is asked, and whoever has it is refused while [`ALL`] is reached.
pub const SOME: u64 = 1 << 20;
/// What one user's connections may leave unread together.
pub const MOST: u64 = 4 << 20;
/// What all users together may.
pub const ALL: u64 = 64 << 20;
/// A connection that was answered nothing since is asked about so often at most, and so is a user with too much unread.
const AGAIN: Duration = Duration::from_millis(100);

/// Whether a user's next call may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Enough,
    /// The bus is being asked.
    Unknown,
    /// Too much is unread.
    None,
}

#[derive(Debug)]
struct Connection {
    uid: u32,
    /// At most so much is unread.
    bytes: u64,
    /// Answered since the question about it that is under way, or since the last one.
    since: u64,
    asking: bool,
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
struct User {
    bytes: u64,
    /// Questions that have no answer yet.
    asking: usize,
    asked: Option<Instant>,
    /// The last answers left it so.
    over: bool,
}

/// The books.
#[derive(Debug, Default)]
pub struct Unread {
    connections: HashMap<Box<str>, Connection>,
    users: HashMap<u32, User>,
    all: u64,
    questions: VecDeque<Box<str>>,
    /// The bus doesn't say.
    untold: bool,
}

impl Unread {
    /// An answer of so many bytes goes to a connection of this user.
    pub fn sent(&mut self, name: &str, uid: u32, bytes: u64) {
        if self.untold {
            return;
        }
        if !self.connections.contains_key(name) {
            let connection = Connection { uid, bytes: 0, since: 0, asking: false, asked: None };
            self.connections.insert(name.into(), connection);
        }
        if let Some(connection) = self.connections.get_mut(name) {
            connection.since = connection.since.saturating_add(bytes);
            let now = connection.bytes.saturating_add(bytes);
            self.set(name, now);
        }
    }

    /// Whether the user's next call may be served. Asks about the user's connections where that has to be found out.
    pub fn room(&mut self, uid: u32, now: Instant) -> Room {
        let Some(user) = self.users.get(&uid) else { return Room::Enough };
        if user.bytes < SOME {
            return Room::Enough;
        }
        let over = self.is_over(uid);
        self.ask(uid, over, now);
        match self.users.get(&uid) {
            Some(user) if over && user.asking > 0 => Room::Unknown,
            _ if over => Room::None,
            _ => Room::Enough,
        }
    }

    /// A connection that the bus is to be asked about; [`Self::told`] is owed for it.
    pub fn question(&mut self) -> Option<Box<str>> {
        self.questions.pop_front()
    }

    /// Whether [`Self::question`] has one.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// The bus has said how much of a connection is unread; `None` where it does not know the connection. Returns the user for
    /// whom everything that was asked is now known.
    pub fn told(&mut self, name: &str, bytes: Option<u64>) -> Option<u32> {
        let connection = self.connections.get_mut(name)?;
        if !std::mem::take(&mut connection.asking) {
            return None;
        }
        let uid = connection.uid;
        match bytes {
            // What was answered after the question may or may not be in the figure.
            Some(bytes) => {
                let bytes = bytes.saturating_add(connection.since);
                self.set(name, bytes);
            }
            None => self.forget(name),
        }
        self.answered(uid)
    }

    /// A connection is gone, and with it what it had not read. Returns as [`Self::told`] does.
    pub fn gone(&mut self, name: &str) -> Option<u32> {
        let connection = self.connections.get(name)?;
        let (uid, asking) = (connection.uid, connection.asking);
        self.forget(name);
        self.questions.retain(|asked| &**asked != name);
        if asking { self.answered(uid) } else { None }
    }

    /// This bus doesn't say.
    pub fn untold(&mut self) {
        *self = Self { untold: true, ..Self::default() };
    }

    fn is_over(&self, uid: u32) -> bool {
        self.users.get(&uid).is_some_and(|user| user.bytes >= MOST || (self.all >= ALL && user.bytes >= SOME))
    }

    /// Puts the questions that a user's sum calls for. A user with too much unread is asked about at once if the last answers
    /// were good, so that one who reads is never refused.
    fn ask(&mut self, uid: u32, over: bool, now: Instant) {
        let recent = |asked: Option<Instant>| asked.is_some_and(|at| now.saturating_duration_since(at) < AGAIN);
        let Some(user) = self.users.get_mut(&uid) else { return };
        if user.asking > 0 || (recent(user.asked) && (!over || user.over)) {
            return;
        }
        user.asked = Some(now);
        for (name, connection) in self.connections.iter_mut().filter(|(_, connection)| connection.uid == uid) {
            if connection.bytes > 0 && (connection.since > 0 || !recent(connection.asked)) {
                (connection.since, connection.asking, connection.asked) = (0, true, Some(now));
                user.asking += 1;
                self.questions.push_back(name.clone());
            }
        }
    }

    fn answered(&mut self, uid: u32) -> Option<u32> {
        let over = self.is_over(uid);
        let user = self.users.get_mut(&uid)?;
        user.asking = user.asking.saturating_sub(1);
        let all = user.asking == 0;
        if all {
            user.over = over;
        }
        if user.bytes == 0 && all {
            self.users.remove(&uid);
        }
        all.then_some(uid)
    }

    fn forget(&mut self, name: &str) {
        self.set(name, 0);
        if let Some(connection) = self.connections.remove(name)
            && self.users.get(&connection.uid).is_some_and(|user| user.bytes == 0 && user.asking == 0)
        {
            self.users.remove(&connection.uid);
        }
    }

    fn set(&mut self, name: &str, bytes: u64) {
        let Some(connection) = self.connections.get_mut(name) else { return };
        let before = std::mem::replace(&mut connection.bytes, bytes);
        let user = self.users.entry(connection.uid).or_default();
        user.bytes = user.bytes.saturating_sub(before).saturating_add(bytes);
        self.all = self.all.saturating_sub(before).saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn one_who_reads_is_never_refused() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        for _ in 0..100 {
            unread.sent(":1.1", 7, 5 * MB);
            assert_eq!(unread.room(7, now), Room::Unknown);
            assert_eq!(unread.question().as_deref(), Some(":1.1"));
            assert_eq!(unread.told(":1.1", Some(0)), Some(7));
            assert_eq!(unread.room(7, now), Room::Enough);
        }
    }

    #[test]
    fn one_who_does_not_read_is_refused_and_asked_about_at_times() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        unread.sent(":1.1", 7, 3 * MB);
        unread.sent(":1.2", 7, 3 * MB);
        assert_eq!(unread.room(7, now), Room::Unknown);
        let asked = [unread.question(), unread.question()].map(Option::unwrap_or_default);
        assert_eq!(unread.told(&asked[0], Some(3 * MB)), None, "the other one is still asked about");
        assert_eq!(unread.room(7, now), Room::Unknown);
        assert_eq!(unread.told(&asked[1], Some(3 * MB)), Some(7));
        for _ in 0..1000 {
            assert_eq!(unread.room(7, now), Room::None);
        }
        assert_eq!(unread.question(), None);
        // Another user has nothing to do with it.
        unread.sent(":1.3", 8, 100);
        assert_eq!(unread.room(8, now), Room::Enough);
        // It reads, or leaves.
        assert_eq!(unread.room(7, now + AGAIN), Room::Unknown);
        assert_eq!(unread.told(":1.1", Some(0)), None);
        assert_eq!(unread.gone(":1.2"), Some(7));
        assert_eq!(unread.room(7, now + AGAIN), Room::Enough);
        assert_eq!(unread.all, 100);
    }

    #[test]
    fn an_idle_connection_that_has_read_everything_does_not_count_for_ever() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        for at in 0..4 {
            unread.sent(&format!(":1.{at}"), 7, MB);
        }
        assert_eq!(unread.room(7, now), Room::Unknown);
        while let Some(name) = unread.question() {
            unread.told(&name, Some(0));
        }
        assert_eq!(unread.room(7, now), Room::Enough);
        assert_eq!(unread.all, 0);
    }

    #[test]
    fn what_was_answered_meanwhile_counts_besides() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        unread.sent(":1.1", 7, 2 * MB);
        assert_eq!(unread.room(7, now), Room::Enough, "asked about, and served meanwhile");
        unread.sent(":1.1", 7, MB);
        assert_eq!(unread.told(":1.1", Some(2 * MB)), Some(7));
        assert_eq!(unread.all, 3 * MB);
    }

    #[test]
    fn many_users_together_are_bounded_and_the_small_ones_served() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        for uid in 0..22 {
            unread.sent(&format!(":1.{uid}"), uid, 3 * MB);
        }
        assert_eq!(unread.room(3, now), Room::Unknown);
        while let Some(name) = unread.question() {
            unread.told(&name, Some(3 * MB));
        }
        assert_eq!(unread.room(3, now), Room::None);
        assert_eq!(unread.room(99, now), Room::Enough);
    }

    #[test]
    fn a_bus_that_does_not_say_is_not_asked_again() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        unread.sent(":1.1", 7, 9 * MB);
        unread.room(7, now);
        unread.untold();
        unread.sent(":1.1", 7, 9 * MB);
        assert_eq!((unread.room(7, now), unread.question()), (Room::Enough, None));
    }
}
