//! When a base was awake, and what could pass by that.

use std::ops::RangeInclusive;

use bufferevent::runtime::Time;
use bufferevent_sync::Arc;
use bufferevent_sync::atomic::{AtomicBool, Ordering};

use super::Ticks;

/// The ticks in which any of the bases has returned from its selector. What a tick pays is nobody's if none does before the burst
/// holds no more.
#[derive(Clone)]
pub(super) struct Wakes {
    ticks: Ticks,
    seen: Arc<Vec<AtomicBool>>,
}

impl Wakes {
    /// For ticks up to number `last`.
    pub(super) fn new(ticks: Ticks, last: u64) -> Self {
        Self { ticks, seen: Arc::new((0..=last).map(|_| AtomicBool::new(false)).collect()) }
    }

    /// A base has come back at `now`.
    pub(super) fn record(&self, now: Time) {
        if let Some(seen) = self.seen.get(self.ticks.number(now) as usize) {
            // Read once all is over.
            seen.store(true, Ordering::Relaxed);
        }
    }

    /// The part of `ticks` whose bytes could be used: in which, or in one of those that follow as far as the `burst` of so many
    /// ticks holds, there was one.
    pub(super) fn among(&self, ticks: RangeInclusive<u64>, burst: u64) -> f64 {
        let (all, used) = ticks.fold((0, 0), |(all, used), number| {
            let is_used = (number..number + burst).any(|number| self.was_awake(number));
            (all + 1, used + u32::from(is_used))
        });
        f64::from(used) / f64::from(all)
    }

    fn was_awake(&self, number: u64) -> bool {
        self.seen.get(number as usize).is_some_and(|seen| seen.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tick_counts_once_however_often_a_base_wakes_in_it() {
        let ticks = Ticks { origin: Time::from_nanos(7), length: Duration::from_millis(1) };
        let wakes = Wakes::new(ticks, 10);
        for at in [7, 1_000_007, 1_900_000, 3_000_006, 9_500_000_000] {
            wakes.record(Time::from_nanos(at));
        }
        assert_eq!(wakes.among(0..=3, 1), 0.75);
        assert_eq!(wakes.among(3..=3, 1), 0.0);
        assert_eq!(wakes.among(8..=11, 1), 0.0);
    }

    #[test]
    fn what_a_tick_pays_can_be_used_as_long_as_the_burst_holds_it() {
        let ticks = Ticks { origin: Time::ZERO, length: Duration::from_millis(1) };
        let wakes = Wakes::new(ticks, 20);
        [0, 8, 9].into_iter().for_each(|at| wakes.record(Time::from_nanos(at * 1_000_000)));
        assert_eq!([1, 4, 9].map(|burst| wakes.among(0..=9, burst)), [0.3, 0.6, 1.0]);
    }
}
