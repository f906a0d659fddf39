//! What the helper has answered and the bus has not taken yet: one queue for each user, and each user's turn in turn. Pure.
//!
//! A dbus-daemon that others keep busy takes a few kilobytes of the helper each time around. In one queue the answers of a user
//! who floods would stand in front of everybody's.

use std::collections::VecDeque;

/// The queues. Whoever's is empty has none.
#[derive(Debug)]
pub struct Outbox<M> {
    lanes: VecDeque<(Option<u32>, VecDeque<M>)>,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Self { lanes: VecDeque::new() }
    }
}

impl<M> Outbox<M> {
    /// Puts a message to its user's others; what answers nobody (signals, the helper's own calls) counts as one more user.
    pub fn put(&mut self, uid: Option<u32>, message: M) {
        match self.lanes.iter_mut().find(|(of, _)| *of == uid) {
            Some((_, lane)) => lane.push_back(message),
            None => self.lanes.push_back((uid, VecDeque::from([message]))),
        }
    }

    /// The next message: the oldest of the user whose turn it is.
    pub fn take(&mut self) -> Option<M> {
        let (uid, mut lane) = self.lanes.pop_front()?;
        let message = lane.pop_front();
        if !lane.is_empty() {
            self.lanes.push_back((uid, lane));
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_turn() {
        let mut outbox = Outbox::default();
        for at in 0..100 {
            outbox.put(Some(7), format!("7 {at}"));
        }
        outbox.put(Some(8), "8 0".into());
        outbox.put(None, "signal".into());
        outbox.put(Some(8), "8 1".into());
        let first: Vec<_> = (0..7).filter_map(|_| outbox.take()).collect();
        assert_eq!(first, ["7 0", "8 0", "signal", "7 1", "8 1", "7 2", "7 3"]);
        assert_eq!(std::iter::from_fn(|| outbox.take()).count(), 96);
        assert!(outbox.lanes.is_empty());
    }
}
