//! Learns answers that take long on a few threads of its own: the asker gets at once what is known, and more later. What is
//! kept, what waits and how often something is asked are all bounded. It knows nothing about what is asked.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    num::NonZeroUsize,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use lru::LruCache;

/// How much is asked at once, and how much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The name of its threads.
    pub name: &'static str,
    /// At most so many questions are asked at the same time, each on a thread that is started when it is first needed.
    pub threads: usize,
    /// At most so many questions wait. What comes in excess is not kept; whoever still wants it asks again.
    pub waiting: usize,
    /// At most so many answers are kept; those that nobody has asked for the longest go first.
    pub kept: NonZeroUsize,
    /// So long at least lies between the beginnings of two questions.
    pub apart: Duration,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub struct Answer<A> {
    /// The answer; `None`: there is none.
    pub answer: Option<A>,
    /// It is not asked again for so long.
    pub lasts: Duration,
}

/// Who is asked; may block.
type Ask<Q, A> = dyn Fn(&Q) -> Answer<A> + Send + Sync;

/// Questions, and the answers that are known.
#[derive(Debug)]
pub struct Learner<Q: Eq + Hash, A> {
    shared: Arc<Shared<Q, A>>,
}

struct Shared<Q: Eq + Hash, A> {
    bounds: Bounds,
    ask: Box<Ask<Q, A>>,
    state: Mutex<State<Q, A>>,
    changed: Condvar,
}

struct State<Q: Eq + Hash, A> {
    known: LruCache<Q, (Option<A>, Instant)>,
    waiting: VecDeque<Q>,
    /// What waits or is being asked.
    pending: HashSet<Q>,
    threads: usize,
    /// The next question is not asked before.
    next: Instant,
    /// Answers to questions of an earlier age are nobody's any more.
    age: u64,
    news: bool,
    ended: bool,
}

impl<Q: Eq + Hash, A> std::fmt::Debug for Shared<Q, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl<Q: Clone + Eq + Hash + Send + 'static, A: Clone + Send + 'static> Learner<Q, A> {
    /// One that asks nothing yet. `ask` may block.
    pub fn new(bounds: Bounds, ask: impl Fn(&Q) -> Answer<A> + Send + Sync + 'static) -> Self {
        let state = State {
            known: LruCache::new(bounds.kept),
            waiting: VecDeque::new(),
            pending: HashSet::new(),
            threads: 0,
            next: Instant::now(),
            age: 0,
            news: false,
            ended: false,
        };
        Self {
            shared: Arc::new(Shared { bounds, ask: Box::new(ask), state: Mutex::new(state), changed: Condvar::new() }),
        }
    }

    /// What is known now. What is not known, or was known too long ago, is asked in the background.
    pub fn get(&self, question: &Q) -> Option<A> {
        let mut state = self.shared.lock();
        let known = state.known.get(question).cloned();
        let is_fresh = known.as_ref().is_some_and(|(_, until)| Instant::now() < *until);
        if !is_fresh && !state.pending.contains(question) && state.waiting.len() < self.shared.bounds.waiting {
            state.waiting.push_back(question.clone());
            state.pending.insert(question.clone());
            // A thread less is no more than a name that comes later.
            if state.threads < self.shared.bounds.threads.min(state.pending.len()) && self.start().is_ok() {
                state.threads += 1;
            }
            self.shared.changed.notify_one();
        }
        known.and_then(|(answer, _)| answer)
    }

    fn start(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name(shared.bounds.name.to_owned()).spawn(move || shared.work()).map(drop)
    }

    /// Whether something was learnt since this was last called.
    pub fn take_news(&self) -> bool {
        std::mem::take(&mut self.shared.lock().news)
    }

    /// Whether nothing waits and nothing is being asked.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.shared.lock().pending.is_empty()
    }

    /// Asks nothing of what still waits. What is being asked is learnt yet.
    pub fn rest(&self) {
        let state = &mut *self.shared.lock();
        for question in state.waiting.drain(..) {
            state.pending.remove(&question);
        }
    }

    /// Forgets all that was learnt and all that was to be.
    pub fn forget(&self) {
        self.rest();
        let state = &mut *self.shared.lock();
        state.known.clear();
        state.pending.clear();
        state.age += 1;
        state.news = true;
    }
}

impl<Q: Eq + Hash, A> Drop for Learner<Q, A> {
    /// Nobody waits for a question that is being asked: it may take long.
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl<Q: Eq + Hash, A> Shared<Q, A> {
    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Clone + Eq + Hash, A> Shared<Q, A> {
    fn work(&self) {
        while let Some((question, age)) = self.next() {
            let Answer { answer, lasts } = (self.ask)(&question);
            let mut state = self.lock();
            if state.age == age {
                state.pending.remove(&question);
                let is_some = answer.is_some();
                let before = state.known.put(question, (answer, Instant::now() + lasts));
                // That there is none is no news, but its place in the queue is free for others.
                let was_some = before.is_some_and(|(answer, _)| answer.is_some());
                state.news |= is_some || was_some || state.waiting.len() + 1 >= self.bounds.waiting;
            }
        }
    }

    /// The next question, once it may be asked; `None`: nobody wants answers any more.
    fn next(&self) -> Option<(Q, u64)> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            let now = Instant::now();
            let wait = match state.waiting.is_empty() {
                true => Duration::MAX,
                false => state.next.saturating_duration_since(now),
            };
            if wait.is_zero()
                && let Some(question) = state.waiting.pop_front()
            {
                state.next = now + self.bounds.apart;
                return Some((question, state.age));
            }
            state = if wait == Duration::MAX {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { name: "learner", threads: 2, waiting: 4, kept: NonZeroUsize::new(8).unwrap(), apart: Duration::ZERO };

    fn eventually(mut done: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < until, "it never came");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn an_answer_comes_later_and_is_kept_for_its_time() {
        let (asked, questions) = channel();
        let learner = Learner::new(BOUNDS, move |question: &u32| {
            asked.send(*question).unwrap();
            Answer { answer: (*question != 7).then(|| question * 2), lasts: Duration::from_secs(3600) }
        });
        assert_eq!((learner.get(&1), learner.get(&7)), (None, None));
        eventually(|| learner.is_idle());
        assert!(learner.take_news() && !learner.take_news());
        assert_eq!((learner.get(&1), learner.get(&7)), (Some(2), None));
        assert!(learner.is_idle(), "that there is no answer is kept as well");
        assert_eq!(questions.try_iter().count(), 2);
        learner.forget();
        assert!(learner.take_news());
        assert_eq!(learner.get(&1), None);
        eventually(|| learner.get(&1) == Some(2));
    }

    #[test]
    fn what_has_expired_is_shown_until_it_is_known_anew() {
        let count = Mutex::new(0);
        let learner = Learner::new(BOUNDS, move |_: &u32| {
            let mut count = count.lock().unwrap();
            *count += 1;
            Answer { answer: Some(*count), lasts: Duration::ZERO }
        });
        learner.get(&1);
        eventually(|| learner.is_idle());
        assert_eq!(learner.get(&1), Some(1));
        eventually(|| learner.is_idle());
        assert_eq!(learner.get(&1), Some(2));
    }

    #[test]
    fn queue_threads_and_memory_are_bounded_and_rest_asks_nothing_more() {
        let (go, gate) = channel::<()>();
        let (asked, questions) = channel();
        let gate = Mutex::new(gate);
        let learner = Learner::new(BOUNDS, move |question: &u32| {
            asked.send(*question).unwrap();
            _ = gate.lock().unwrap().recv();
            Answer { answer: Some(*question), lasts: Duration::from_secs(3600) }
        });
        (0..2).for_each(|question| _ = learner.get(&question));
        let mut first: Vec<_> = questions.iter().take(2).collect();
        first.sort_unstable();
        assert_eq!(first, [0, 1], "two at the same time");
        (0..100).for_each(|question| _ = learner.get(&question));
        assert_eq!(learner.shared.lock().waiting, [2, 3, 4, 5]);
        assert_eq!(learner.shared.lock().threads, 2);
        learner.rest();
        (0..2).for_each(|_| go.send(()).unwrap());
        eventually(|| learner.is_idle());
        assert_eq!(questions.try_iter().count(), 0, "nobody wants the others any more");
        assert_eq!((learner.get(&0), learner.get(&1)), (Some(0), Some(1)));
        drop(go);
        for question in 0..100 {
            learner.get(&question);
            eventually(|| learner.is_idle());
        }
        assert_eq!(learner.shared.lock().known.len(), 8);
    }

    #[test]
    fn questions_are_asked_apart() {
        let bounds = Bounds { apart: Duration::from_millis(40), ..BOUNDS };
        let learner =
            Learner::new(bounds, |question: &u32| Answer { answer: Some(*question), lasts: Duration::MAX / 4 });
        let start = Instant::now();
        (0..4).for_each(|question| _ = learner.get(&question));
        eventually(|| learner.is_idle());
        assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
    }

    #[test]
    fn what_was_asked_before_it_was_forgotten_is_not_learnt() {
        let (go, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let learner = Learner::new(BOUNDS, move |question: &u32| {
            _ = gate.lock().unwrap().recv();
            Answer { answer: Some(*question), lasts: Duration::from_secs(3600) }
        });
        learner.get(&1);
        eventually(|| learner.shared.lock().waiting.is_empty());
        learner.forget();
        go.send(()).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(learner.shared.lock().known.len(), 0);
    }
}
