//! In which ticks a base was awake.

use std::ops::RangeInclusive;

use bufferevent::runtime::Time;
use bufferevent_sync::Arc;
use bufferevent_sync::atomic::{AtomicBool, Ordering};

use super::Ticks;

/// The ticks in which any of the bases has returned from its selector. With a burst of one tick, what the others pay is
/// nobody's.
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

    /// The part of `ticks` in which there was one.
    pub(super) fn among(&self, ticks: RangeInclusive<u64>) -> f64 {
        let (all, seen) = ticks.fold((0, 0), |(all, seen), number| {
            let was = self.seen.get(number as usize).is_some_and(|seen| seen.load(Ordering::Relaxed));
            (all + 1, seen + u32::from(was))
        });
        f64::from(seen) / f64::from(all)
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
        assert_eq!(wakes.among(0..=3), 0.75);
        assert_eq!(wakes.among(3..=3), 0.0);
        assert_eq!(wakes.among(8..=11), 0.0);
    }
}
