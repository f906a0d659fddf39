//! How fast something may go on: so much a second, and so much at once after a rest. Pure: the time is passed in.

use std::time::{Duration, Instant};

/// A bucket that is kept as the time until which what was taken has been paid for.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    paid: Instant,
}

impl Meter {
    /// Nothing was taken yet.
    pub fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Takes what costs `cost` of time, if no more than `burst` is owed by then. Whether it was taken.
    pub fn take(&mut self, cost: Duration, burst: Duration, now: Instant) -> bool {
        let room = !self.is_over(burst, now);
        if room {
            self.charge(cost, now);
        }
        room
    }

    /// Takes it in any case, for what is known only afterwards.
    pub fn charge(&mut self, cost: Duration, now: Instant) {
        self.paid = self.paid.max(now) + cost;
    }

    /// Whether `burst` or more is owed.
    pub fn is_over(&self, burst: Duration, now: Instant) -> bool {
        self.paid.saturating_duration_since(now) >= burst
    }

    /// Whether nothing is owed, so that a new one would say the same.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.paid <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let taken = |meter: &mut Meter, now| (0..100).filter(|_| meter.take(5 * MS, 50 * MS, now)).count();
        assert_eq!(taken(&mut meter, start), 10, "a burst");
        assert_eq!(taken(&mut meter, start), 0);
        assert_eq!(taken(&mut meter, start + 20 * MS), 4, "5 ms for each");
        assert_eq!(taken(&mut meter, start + 1000 * MS), 10, "a rest fills it, and no more than that");
        assert!(!meter.is_fresh(start + 1000 * MS) && meter.is_fresh(start + 1050 * MS));
    }

    #[test]
    fn what_is_known_afterwards_is_owed() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.charge(200 * MS, start);
        assert!(meter.is_over(50 * MS, start + 149 * MS) && !meter.is_over(50 * MS, start + 151 * MS));
    }
}
