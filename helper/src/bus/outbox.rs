//! What the helper has answered and the bus has not taken yet: one queue for each user, and each user's turn in turn. Pure.
//!
//! A dbus-daemon that others keep busy takes a few kilobytes of the helper each time around. In one queue the answers of a user
//! who floods would stand in front of everybody's.

use std::collections::VecDeque;

/// Bytes of answers that wait for one user, beyond the first of them.
pub const MOST_BYTES: usize = 4 << 20;

/// The queues. Whoever's is empty has none.
#[derive(Debug)]
pub struct Outbox<M> {
    lanes: VecDeque<Lane<M>>,
}

/// One user's queue; what answers nobody (signals, the helper's own calls) counts as one more user.
#[derive(Debug)]
struct Lane<M> {
    uid: Option<u32>,
    messages: VecDeque<(M, usize)>,
    bytes: usize,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Self { lanes: VecDeque::new() }
    }
}

impl<M> Outbox<M> {
    /// Puts a message of so many bytes to its user's others; gives it back where too much waits already.
    pub fn put(&mut self, uid: Option<u32>, message: M, bytes: usize) -> Option<M> {
        let at = self.lanes.iter().position(|lane| lane.uid == uid).unwrap_or_else(|| {
            self.lanes.push_back(Lane { uid, messages: VecDeque::new(), bytes: 0 });
            self.lanes.len().saturating_sub(1)
        });
        let Some(lane) = self.lanes.get_mut(at) else { return Some(message) };
        if !lane.messages.is_empty() && lane.bytes.saturating_add(bytes) > MOST_BYTES {
            return Some(message);
        }
        lane.bytes = lane.bytes.saturating_add(bytes);
        lane.messages.push_back((message, bytes));
        None
    }

    /// The next message: the oldest of the user whose turn it is.
    pub fn take(&mut self) -> Option<M> {
        let mut lane = self.lanes.pop_front()?;
        let (message, bytes) = lane.messages.pop_front()?;
        lane.bytes = lane.bytes.saturating_sub(bytes);
        if !lane.messages.is_empty() {
            self.lanes.push_back(lane);
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_turn() {
        let mut outbox = Outbox::default();
        for at in 0..100 {
            assert_eq!(outbox.put(Some(7), format!("7 {at}"), 10), None);
        }
        outbox.put(Some(8), "8 0".into(), 10);
        outbox.put(None, "signal".into(), 10);
        outbox.put(Some(8), "8 1".into(), 10);
        let first: Vec<_> = (0..7).filter_map(|_| outbox.take()).collect();
        assert_eq!(first, ["7 0", "8 0", "signal", "7 1", "8 1", "7 2", "7 3"]);
        assert_eq!(std::iter::from_fn(|| outbox.take()).count(), 96);
        assert!(outbox.lanes.is_empty());
    }
    #[test]
    fn what_waits_for_one_user_is_bounded_and_one_message_always_fits() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.put(Some(7), "huge", 2 * MOST_BYTES), None);
        assert_eq!(outbox.put(Some(7), "more", 1), Some("more"));
        assert_eq!(outbox.put(Some(8), "other", 1), None);
        assert_eq!(outbox.take(), Some("huge"));
        assert_eq!(outbox.put(Some(7), "again", 1), None);
    }
}
