//! What the goals say of a figure. Pure.

use super::{Case, Figure, Shares};
use crate::compare::stats::Spread;

/// The medians of a case's figures, beside the cost of the same traffic without a group.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Medians.
    pub figure: Figure,
    /// Milliseconds of CPU time for each MB without a group.
    pub free: f64,
    /// Milliseconds of CPU time for each MB that a bare thread takes to send the same pieces, where the cost is judged.
    pub by_hand: Option<f64>,
    case: Case,
}

impl Judged {
    /// Of one figure at least.
    pub fn new(case: &Case, figures: &[Figure], free: f64, by_hand: Option<f64>) -> Self {
        let median = |of: &dyn Fn(&Figure) -> f64| Spread::of(figures.iter().map(of)).median;
        let figure = Figure {
            achieved: median(&|figure| figure.achieved),
            awake: median(&|figure| figure.awake),
            shares: Shares {
                jain: median(&|figure| figure.shares.jain),
                least: median(&|figure| figure.shares.least),
                most: median(&|figure| figure.shares.most),
            },
            cpu: median(&|figure| figure.cpu),
        };
        Self { figure, free, by_hand, case: *case }
    }

    /// What the limit costs: milliseconds of CPU time for each MB.
    pub fn cost(&self) -> f64 {
        self.figure.cpu - self.free
    }

    /// Which goals are missed, in words.
    pub fn faults(&self) -> Vec<&'static str> {
        let Figure { achieved, awake, shares: Shares { jain, least, most }, .. } = self.figure;
        // Who sleeps through a tick of which nothing is kept cannot make up for it.
        let possible = if self.case.tick == 1 && self.case.burst == 1 { awake } else { 1.0 };
        let all = [
            (achieved / possible >= 0.99, "too little"),
            (achieved <= 1.01, "too much"),
            (jain >= 0.99, "Jain"),
            (least >= 0.9, "least share"),
            (most <= 1.1, "greatest share"),
            (!is_costly(&self.case) || self.cost() <= COST_MAX, "CPU"),
        ];
        all.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
    }
}

/// Whether the cost of a case is judged.
#[must_use]
pub fn is_costly(case: &Case) -> bool {
    case.rate >= COSTLY
}

/// From this rate on the cost is judged, bytes per second.
const COSTLY: u64 = 10_000_000;
/// Milliseconds for each MB.
const COST_MAX: f64 = 1.5;

#[cfg(test)]
mod tests {
    use super::super::matrix;
    use super::*;

    fn judged(change: impl Fn(&mut Case, &mut Figure)) -> Vec<&'static str> {
        let mut case = *matrix::whole().iter().find(|case| case.rate == COSTLY).expect("there is one");
        let shares = Shares { jain: 1.0, least: 1.0, most: 1.0 };
        let mut figure = Figure { achieved: 1.0, awake: 1.0, shares, cpu: 2.0 };
        change(&mut case, &mut figure);
        Judged::new(&case, &[figure], 0.6, None).faults()
    }

    #[test]
    fn each_goal_that_is_missed_is_named() {
        assert!(judged(|_, _| {}).is_empty());
        assert_eq!(judged(|_, figure| figure.achieved = 1.02), ["too much"]);
        assert_eq!(judged(|_, figure| figure.shares.least = 0.8), ["least share"]);
        assert_eq!(judged(|_, figure| figure.cpu = 2.2), ["CPU"]);
        assert!(judged(|case, figure| (case.rate, figure.cpu) = (1_000_000, 9.0)).is_empty());
        assert_eq!(judged(|_, figure| figure.shares.jain = f64::NAN), ["Jain"]);
    }

    #[test]
    fn ticks_that_were_slept_through_count_only_where_they_can_be_made_up_for() {
        let asleep =
            |case: &mut Case, figure: &mut Figure| (case.tick, figure.achieved, figure.awake) = (1, 0.9, 0.9);
        assert!(judged(|case, figure| (asleep(case, figure), case.burst = 1).1).is_empty());
        assert_eq!(judged(|case, figure| (asleep(case, figure), case.burst = 4).1), ["too little"]);
    }
}
