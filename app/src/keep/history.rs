//! The rates of the last quarter of an hour. Pure: reads no clock.

use std::collections::VecDeque;

use crate::look::rate::Rate;

/// How long a point is kept: the longest span there is to show, and a little more so that its edge is drawn.
pub const KEPT_SECS: u64 = 15 * 60 + 10;

/// The rate over the time from the point before to this one.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Point {
    /// When it was measured, in `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// `None`: a gap lies before this point.
    pub rate: Option<Rate>,
}

/// Points in the order of time.
#[derive(Clone, Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
}

impl History {
    /// Adds a point and forgets those that are too old. One that is not later than the last is left out.
    pub fn push(&mut self, point: Point) {
        if self.points.back().is_some_and(|last| last.boottime_ns >= point.boottime_ns) {
            return;
        }
        self.points.push_back(point);
        let oldest = point.boottime_ns.saturating_sub(KEPT_SECS * 1_000_000_000);
        while self.points.front().is_some_and(|first| first.boottime_ns < oldest) {
            self.points.pop_front();
        }
    }

    /// The points from `since_ns` on, with the one before them, from which the first one's time begins.
    pub fn since(&self, since_ns: u64) -> impl Iterator<Item = &Point> + Clone {
        let first = self.points.partition_point(|point| point.boottime_ns < since_ns).saturating_sub(1);
        self.points.range(first..)
    }

    /// The latest point.
    pub fn last(&self) -> Option<&Point> {
        self.points.back()
    }

    /// The point whose time holds `boottime_ns`.
    pub fn at(&self, boottime_ns: u64) -> Option<&Point> {
        let index = self.points.partition_point(|point| point.boottime_ns < boottime_ns);
        self.points.get(index).filter(|_| index > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_quarter_of_an_hour_in_order() {
        let at = |secs: u64| Point { boottime_ns: secs * 1_000_000_000, rate: None };
        let mut history = History::default();
        for secs in [100, 101, 101, 99, 102, 1200] {
            history.push(at(secs));
        }
        let secs = |ns: u64| history.since(ns).map(|p| p.boottime_ns / 1_000_000_000).collect::<Vec<_>>();
        assert_eq!(secs(0), [1200], "all others are too old");
        history.push(at(1201));
        history.push(at(1203));
        let secs = |ns: u64| history.since(ns).map(|p| p.boottime_ns / 1_000_000_000).collect::<Vec<_>>();
        assert_eq!(secs(1_202_000_000_000), [1201, 1203]);
        assert_eq!(history.at(1_202_000_000_000), Some(&at(1203)));
        assert_eq!(history.at(1_203_000_000_000), Some(&at(1203)));
        assert_eq!((history.at(1_204_000_000_000), history.at(1)), (None, None));
        assert_eq!(history.last(), Some(&at(1203)));
    }
}
