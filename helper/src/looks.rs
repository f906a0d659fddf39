//! When the table is looked at: one look serves everybody who waited for it, and looks keep their distance while many ask.
//!
//! Whoever asks gets what was so after they asked, never an older look. The first to ask after a rest never waits.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Two looks are never closer to each other while somebody waits for the second.
const LEAST: Duration = Duration::from_millis(10);
/// So many times what a look takes passes before the next one begins: looks take a quarter of a core at most.
const REST: u32 = 3;

/// The looks at one table. `E` is why one failed, which everybody is told who waited for it.
#[derive(Debug)]
pub struct Looks<E> {
    state: Mutex<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    /// Looks so far.
    looks: u64,
    /// What the latest one came to.
    latest: Result<(), E>,
    /// The next one comes no sooner.
    next: Option<Instant>,
}

impl<E: Clone> Looks<E> {
    /// None yet.
    pub fn new() -> Self {
        Self { state: Mutex::new(State { looks: 0, latest: Ok(()), next: None }) }
    }

    /// Returns after a look that began later than this call: another caller's, or one of `look`.
    pub async fn later(&self, look: impl Fn() -> Result<(), E>) -> Result<(), E> {
        let mut seen = None;
        loop {
            let next = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let seen = *seen.get_or_insert(state.looks);
                if state.looks > seen {
                    return state.latest.clone();
                }
                let start = Instant::now();
                match state.next.filter(|next| *next > start) {
                    Some(next) => next,
                    None => {
                        state.latest = look();
                        state.looks += 1;
                        let end = Instant::now();
                        state.next = Some(end + distance(end - start));
                        return state.latest.clone();
                    }
                }
            };
            sleep_until(next).await;
        }
    }
}

impl<E: Clone> Default for Looks<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// From the end of a look that took so long to the next one's beginning.
fn distance(took: Duration) -> Duration {
    LEAST.max(took * REST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{
        cell::Cell,
        future::Future as _,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    #[test]
    fn a_quarter_of_a_core_at_most() {
        assert_eq!(distance(Duration::from_millis(1)), LEAST);
        assert_eq!(distance(Duration::from_millis(20)), Duration::from_millis(60));
    }

    /// The clock stands still: a busy machine is no rest.
    #[tokio::test(start_paused = true)]
    async fn the_first_never_waits_and_one_look_serves_all_who_do() {
        let (looks, count) = (Looks::<()>::new(), Cell::new(0));
        let look = || {
            count.set(count.get() + 1);
            Ok(())
        };
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(looks.later(look)).poll(&mut context).is_ready());
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(looks.later(look))).collect();
        assert!(waiting.iter_mut().all(|later| later.as_mut().poll(&mut context).is_pending()));
        assert_eq!(count.get(), 1);
        for later in waiting {
            later.await.unwrap();
        }
        assert_eq!(count.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_waited_and_to_nobody_later() {
        let (looks, good) = (Looks::<&str>::new(), Cell::new(true));
        let look = || if good.get() { Ok(()) } else { Err("broken") };
        looks.later(look).await.unwrap();
        good.set(false);
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(looks.later(look))).collect();
        assert!(waiting.iter_mut().all(|later| later.as_mut().poll(&mut context).is_pending()));
        for later in waiting {
            assert_eq!(later.await, Err("broken"));
        }
        good.set(true);
        looks.later(look).await.unwrap();
    }
}
