//! What was counted for the cgroups, but is in no row. Pure.
//!
//! The counters and the rows are not read at the same moment. What comes between the two is a difference for a beat, and no
//! more than that: so the measurements are sums from the beginning, in which it cancels out.

use std::collections::VecDeque;

/// While the rows are complete, what is in the smallest of so many measurements is no matter of timing.
const MEASUREMENTS: usize = 4;

/// Bytes received and sent.
type Bytes = [u64; 2];

/// One measurement after another.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// The counters as of the look before.
    counted: Option<Bytes>,
    /// By how much the counters have grown more than the rows; less than nothing where the rows were read later.
    sum: [i128; 2],
    latest: VecDeque<Bytes>,
    is_complete: bool,
}

impl Others {
    /// Takes in a look: what the counters say, and by how much the rows have grown since the look before. `joins`: the two looks
    /// belong together; otherwise nobody can tell what came between them.
    pub(super) fn measure(&mut self, counted: Option<Bytes>, rows: Bytes, joins: bool, is_complete: bool) {
        self.is_complete = is_complete;
        let before = std::mem::replace(&mut self.counted, counted);
        let (Some(counted), Some(before), true) = (counted, before, joins) else { return };
        for (((sum, now), before), rows) in self.sum.iter_mut().zip(counted).zip(before).zip(rows) {
            *sum += i128::from(now) - i128::from(before) - i128::from(rows);
        }
        self.latest.push_back(self.sum.map(|sum| u64::try_from(sum.max(0)).unwrap_or(u64::MAX)));
        if self.latest.len() > MEASUREMENTS {
            self.latest.pop_front();
        }
    }

    /// The counters as they were with the first rows, where they have been read again since.
    pub(super) fn begin(&mut self, counted: Bytes) {
        self.counted = Some(counted);
    }

    /// Bytes that are in no row; `None`: the counters are not known.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        self.counted?;
        let of = |direction: fn(&Bytes) -> u64| {
            let mut all = self.latest.iter().map(direction);
            let bytes = if self.is_complete { all.min() } else { all.next_back() };
            bytes.unwrap_or_default()
        };
        Some([of(|[rx, _]| *rx), of(|[_, tx]| *tx)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_is_others() {
        let mut others = Others::default();
        assert_eq!(others.bytes(), None);
        let mut check = |counted: u64, rows: u64, joins, is_complete, expected: u64| {
            others.measure(Some([counted, 2 * counted]), [rows, 2 * rows], joins, is_complete);
            assert_eq!(others.bytes(), Some([expected, 2 * expected]), "{counted}");
        };
        check(1000, 500, false, true, 0); // the first look: what was before
        check(1100, 100, true, true, 0);
        check(1200, 150, true, true, 0); // the rows were read later
        check(1250, 0, true, true, 0);
        check(1400, 100, true, true, 0); // the counters were
        check(1400, 50, true, true, 0);
        check(1500, 100, true, false, 0);
        check(1530, 0, true, false, 30);
        check(1560, 0, true, false, 60);
        check(1560, 0, true, true, 0);
        check(1560, 0, true, true, 30);
        check(1560, 0, true, true, 60);
        check(1999, 0, false, true, 60); // nobody was asked for a while
        check(2009, 0, true, false, 70);
        others.measure(None, [0, 0], true, true);
        assert_eq!(others.bytes(), None);
    }
}
