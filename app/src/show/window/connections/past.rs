//! What each remote has moved in the last minutes. Pure: reads no clock. A remote that moves nothing takes no room; where very many
//! move, less time is kept.

use std::collections::VecDeque;

use crate::{
    keep::history::{KEPT_SECS, Point},
    look::rate::Rate,
};

/// So many moves are kept in all: 12 bytes each.
const MOST_MOVES: usize = 200_000;
/// So many looks are kept, however short the beat is.
const MOST_LOOKS: usize = 10_000;

/// The rates of every remote, look by look.
#[derive(Debug, Default)]
pub struct Past {
    /// In the order of time.
    looks: VecDeque<Look>,
    /// How many moves there are in all.
    moves: usize,
}

#[derive(Debug)]
struct Look {
    boottime_ns: u64,
    /// `false`: a gap, for all, lies before it.
    known: bool,
    /// In the order of the ids.
    moves: Vec<Move>,
}

/// What a remote moved before a look, in bytes per second; not a number where that is not known.
#[derive(Clone, Copy, Debug)]
struct Move {
    id: u32,
    rx: f32,
    tx: f32,
}

/// Some remotes whose past is wanted as one.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// The look at which the first of them was found; what was before is a gap.
    pub since_ns: u64,
    /// Their numbers, without those that are not measured.
    pub ids: &'a [u32],
}

impl Past {
    /// Adds a look, with the rates of those that have moved bytes; a remote without a rate is a gap for itself. One that is not
    /// later than the last is left out. `known`: `false` where the look has failed.
    pub fn push(&mut self, boottime_ns: u64, known: bool, rates: impl Iterator<Item = (u32, Option<Rate>)>) {
        if self.looks.back().is_some_and(|last| last.boottime_ns >= boottime_ns) {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a chart needs no more digits")]
        let moved = |(id, rate): (u32, Option<Rate>)| {
            let Rate { rx, tx } = rate.unwrap_or(Rate { rx: f64::NAN, tx: f64::NAN });
            (rx != 0.0 || tx != 0.0).then_some(Move { id, rx: rx as f32, tx: tx as f32 })
        };
        let mut moves: Vec<Move> = rates.filter_map(moved).collect();
        moves.sort_unstable_by_key(|moved| moved.id);
        moves.shrink_to_fit();
        self.moves += moves.len();
        self.looks.push_back(Look { boottime_ns, known, moves });
        let oldest_ns = boottime_ns.saturating_sub(KEPT_SECS * 1_000_000_000);
        while self.looks.len() > 1
            && (self.moves > MOST_MOVES
                || self.looks.len() > MOST_LOOKS
                || self.looks.front().is_some_and(|first| first.boottime_ns < oldest_ns))
        {
            self.moves -= self.looks.pop_front().map_or(0, |first| first.moves.len());
        }
    }

    /// What each of these has moved from `from_ns` on, oldest first, with the point before.
    pub fn points(&self, from_ns: u64, wanted: &[Members<'_>]) -> Vec<Vec<Point>> {
        let mut places: Vec<(u32, usize)> =
            wanted.iter().enumerate().flat_map(|(at, members)| members.ids.iter().map(move |id| (*id, at))).collect();
        places.sort_unstable();
        let mut all: Vec<Vec<Point>> = vec![Vec::new(); wanted.len()];
        let first = self.looks.partition_point(|look| look.boottime_ns < from_ns).saturating_sub(1);
        for look in self.looks.range(first..) {
            for (points, members) in all.iter_mut().zip(wanted) {
                let known = look.known && look.boottime_ns > members.since_ns && !members.ids.is_empty();
                points.push(Point { boottime_ns: look.boottime_ns, rate: known.then(Rate::default) });
            }
            let mut moves = look.moves.iter().peekable();
            for (id, at) in &places {
                while moves.next_if(|moved| moved.id < *id).is_some() {}
                let Some(moved) = moves.peek().filter(|moved| moved.id == *id) else { continue };
                let alone = wanted.get(*at).is_some_and(|members| members.ids.len() == 1);
                let Some(point) = all.get_mut(*at).and_then(|points| points.last_mut()) else { continue };
                match &mut point.rate {
                    // Of several, the others are known.
                    rate if moved.rx.is_nan() => *rate = rate.filter(|_| !alone),
                    Some(rate) => {
                        rate.rx += f64::from(moved.rx);
                        rate.tx += f64::from(moved.tx);
                    }
                    None => {}
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    fn rate(rx: f64) -> Option<Rate> {
        Some(Rate { rx, tx: 0.0 })
    }

    fn shown(points: &[Point]) -> Vec<(u64, Option<f64>)> {
        points.iter().map(|point| (point.boottime_ns / SEC, point.rate.map(|rate| rate.rx))).collect()
    }

    fn one(past: &Past, from: u64, since: u64, ids: &[u32]) -> Vec<(u64, Option<f64>)> {
        shown(&past.points(from * SEC, &[Members { since_ns: since * SEC, ids }])[0])
    }

    #[test]
    fn each_remote_has_its_own_past_and_some_have_one_together() {
        let mut past = Past::default();
        past.push(10 * SEC, true, [(1, None), (2, None)].into_iter());
        past.push(11 * SEC, true, [(2, rate(5.0)), (1, rate(3.0))].into_iter());
        past.push(11 * SEC, true, [(1, rate(9.0))].into_iter());
        past.push(12 * SEC, true, [(1, rate(0.0)), (3, None)].into_iter());
        past.push(13 * SEC, false, std::iter::empty());
        past.push(14 * SEC, true, [(3, rate(7.0))].into_iter());
        assert_eq!(
            one(&past, 0, 10, &[1]),
            [(10, None), (11, Some(3.0)), (12, Some(0.0)), (13, None), (14, Some(0.0))]
        );
        assert_eq!(
            one(&past, 0, 10, &[1, 2, 3]),
            [(10, None), (11, Some(8.0)), (12, Some(0.0)), (13, None), (14, Some(7.0))]
        );
        // It was found later: what it did before is not known.
        assert_eq!(one(&past, 13, 12, &[3]), [(12, None), (13, None), (14, Some(7.0))]);
        let both = [Members { since_ns: 10 * SEC, ids: &[2] }, Members { since_ns: 10 * SEC, ids: &[3] }];
        let both = past.points(14 * SEC, &both);
        assert_eq!(shown(&both[0]), [(13, None), (14, Some(0.0))]);
        assert_eq!(shown(&both[1]), [(13, None), (14, Some(7.0))]);
        assert_eq!(one(&past, 14, 10, &[]), [(13, None), (14, None)], "nothing is measured of it");
    }

    #[test]
    fn its_memory_is_bounded() {
        let fill = |looks: u64, remotes: u32, beat_ns: u64| {
            let mut past = Past::default();
            for look in 1..=looks {
                past.push(look * beat_ns, true, (0..remotes).map(|id| (id, rate(1.0))));
            }
            (past.looks.len(), past.moves)
        };
        assert_eq!(fill(300, 1000, SEC / 2), (200, 200_000), "still more than a minute");
        assert_eq!(fill(3, 300_000, SEC / 2).0, 1);
        assert_eq!(fill(3000, 1, SEC), (911, 911));
        assert_eq!(fill(20_000, 0, SEC / 1000), (MOST_LOOKS, 0));
    }
}
