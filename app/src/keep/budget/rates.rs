//! Budgets of rates: which has been exceeded for how long. Pure: reads no clock.

use crate::base::settings::{Budget, Limit};

/// Which rates have been exceeded for how long.
#[derive(Debug, Default)]
pub struct Rates {
    last_ns: Option<u64>,
    runs: Vec<Run>,
}

/// One budget of a rate.
#[derive(Debug)]
struct Run {
    budget: Budget,
    /// Whether the rate is over the limit, and since when without a pause. `None`: not known.
    over: Option<(bool, u64)>,
    /// A person has heard of it, and it has not been below the limit for long enough since.
    told: bool,
}

impl Rates {
    /// Takes in a look, and gives the places of the budgets of which a person should hear now: those whose rate has been over the
    /// limit for the whole time. After that it has to be below for as long before they hear of it again.
    ///
    /// `rate`: external bytes per second, both ways, since the look before; `None`: a gap, in which it is neither over nor below.
    /// What doesn't run moves nothing, which is a rate of 0.
    pub fn look(&mut self, budgets: &[Budget], boottime_ns: u64, rate: impl Fn(&Budget) -> Option<f64>) -> Vec<usize> {
        self.runs.retain(|run| budgets.contains(&run.budget));
        let before_ns = self.last_ns.replace(boottime_ns).unwrap_or(boottime_ns);
        let mut due = Vec::new();
        for (place, budget) in budgets.iter().enumerate() {
            let Limit::Rate { bytes, secs } = budget.limit else { continue };
            let known = self.runs.iter_mut().find(|run| run.budget == *budget);
            let is_due = match known {
                Some(run) => run.look(before_ns, boottime_ns, rate(budget), bytes, secs),
                None => {
                    // Its time begins now, whatever was moved before it was set.
                    let mut run = Run { budget: budget.clone(), over: None, told: false };
                    let is_due = run.look(boottime_ns, boottime_ns, rate(budget), bytes, secs);
                    self.runs.push(run);
                    is_due
                }
            };
            if is_due {
                due.push(place);
            }
        }
        due
    }
}

impl Run {
    /// Whether a person should hear of it.
    #[expect(clippy::cast_precision_loss, reason = "a rate is no more precise")]
    fn look(&mut self, before_ns: u64, now_ns: u64, rate: Option<f64>, bytes: u64, secs: u32) -> bool {
        let Some(rate) = rate else {
            self.over = None;
            return false;
        };
        let is_over = rate > bytes as f64;
        let since_ns = match self.over {
            Some((was_over, since_ns)) if was_over == is_over => since_ns,
            _ => before_ns,
        };
        self.over = Some((is_over, since_ns));
        if now_ns.saturating_sub(since_ns) < u64::from(secs) * 1_000_000_000 {
            return false;
        }
        let due = is_over && !self.told;
        self.told = is_over;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::settings::Per;

    fn usage(app: Option<&str>, bytes: u64, per: Per) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Usage { bytes, per }, metered: false }
    }

    fn rate(app: Option<&str>, bytes: u64, secs: u32) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Rate { bytes, secs }, metered: false }
    }

    /// When a person hears of 1 kB/s for 3 s, with a look each half second. `.`: below, `#`: over, ` `: a gap.
    fn heard(looks: &str) -> String {
        let budgets = [usage(None, 1, Per::Day), rate(None, 1000, 3)];
        let mut rates = Rates::default();
        let look = |(at, look): (usize, char)| {
            let rate = match look {
                '.' => Some(1000.0),
                '#' => Some(1000.1),
                _ => None,
            };
            let due = rates.look(&budgets, 7 + u64::try_from(at).unwrap() * 500_000_000, |_| rate);
            assert!(due.is_empty() || due == [1]);
            if due.is_empty() { '.' } else { '!' }
        };
        looks.chars().enumerate().map(look).collect()
    }

    #[test]
    fn a_rate_has_to_be_over_for_the_whole_time_and_below_for_as_long_before_it_is_said_again() {
        for (looks, expected) in [
            ("......", "......"),
            (".#####..", "........"),
            (".######..", "......!.."),
            ("#######", "......!"),
            ("#######################", "......!................"),
            // Below for too short a time, then for long enough.
            ("#######.....######", "......!..........."),
            ("#######......######", "......!...........!"),
            ("#######..#...#......######", "......!..................!"),
            // A gap is neither.
            (".#### ######", "...........!"),
            (".### ###", "........"),
            ("#######         ######", "......!..............."),
            ("#######...   ...######", "......!..............."),
            (" ######", "......!"),
        ] {
            assert_eq!(heard(looks), expected, "{looks:?}");
        }
    }

    #[test]
    fn each_rate_is_on_its_own_and_a_changed_one_begins_anew() {
        let budgets = [rate(Some("a"), 1000, 2), rate(Some("b"), 1000, 2)];
        let mut rates = Rates::default();
        let busy = |budget: &Budget| Some(if budget.app.as_deref() == Some("b") { 2000.0 } else { 0.0 });
        let secs = |secs: u64| secs * 1_000_000_000;
        assert_eq!(rates.look(&budgets, secs(10), busy), [0_usize; 0]);
        assert_eq!(rates.look(&budgets, secs(12), busy), [1]);
        let changed = [rate(Some("b"), 1500, 2), budgets[0].clone()];
        assert_eq!(rates.look(&changed, secs(13), busy), [0_usize; 0]);
        assert_eq!(rates.look(&changed, secs(14), busy), [0_usize; 0]);
        assert_eq!(rates.look(&changed, secs(15), busy), [0]);
        assert_eq!(rates.runs.len(), 2);
        // While there is no budget nobody has to call it.
        let _ = rates.look(&[], secs(16), busy);
        assert_eq!(rates.look(&changed, secs(1000), busy), [0_usize; 0]);
        assert_eq!(rates.look(&changed, secs(1002), busy), [0]);
    }
}
