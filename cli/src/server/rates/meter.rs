//! What moved within a limit in one direction, and at what rate. Pure.

use std::time::{Duration, Instant};

use bufferevent::{Direction, TokenBucketConfig};

/// Counts what moves within one limit in one direction.
///
/// Nobody tells for how long somebody wanted to move something and might not. So moves no further apart than [`PAUSE`], or than
/// it takes to fill the burst, are taken as one stretch of such a time. What the limit had kept by its begin is counted as
/// burst, and the clock starts when that is used up: what moves from then on is what the ticks of that time pay, at most.
#[derive(Debug)]
pub(super) struct Meter {
    per_second: f64,
    burst: f64,
    per_tick: f64,
    pause: Duration,
    last: Instant,
    /// What the limit holds, as if it were paid without steps. So it is below 0 by up to a tick's worth.
    level: f64,
    /// What is left of what it had kept when the stretch began.
    kept: f64,
    /// What it held when that was used up, and the clock started.
    started: f64,
    moving: bool,
    moved: Moved,
}

/// What moved.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moved {
    /// Bytes that moved until what the limit had kept was used up.
    pub(super) burst: f64,
    /// The others.
    pub(super) steady: f64,
    /// In what time those did.
    pub(super) time: Duration,
}

/// Moves further apart than this are of two stretches.
const PAUSE: Duration = Duration::from_secs(1);

impl Meter {
    /// Begins with one tick's worth, as a limit does. Both directions of `config` are the same.
    pub(super) fn new(config: &TokenBucketConfig, now: Instant) -> Self {
        let limit = config.limit(Direction::Read);
        let (per_tick, burst) = (limit.rate() as f64, limit.burst() as f64);
        let per_second = per_tick / config.tick().as_secs_f64();
        let full = Duration::try_from_secs_f64(burst / per_second).unwrap_or(Duration::MAX);
        let (pause, moved) = (PAUSE.max(full), Moved::default());
        Self {
            per_second,
            burst,
            per_tick,
            pause,
            last: now,
            level: per_tick,
            kept: 0.0,
            started: 0.0,
            moving: false,
            moved,
        }
    }

    /// Counts `bytes` that moved at `now`.
    pub(super) fn count(&mut self, bytes: usize, now: Instant) {
        let (bytes, gap) = (bytes as f64, now.saturating_duration_since(self.last));
        let level = (self.level + self.per_second * gap.as_secs_f64()).min(self.burst);
        if !self.moving || gap > self.pause {
            self.moved = self.moved();
            // The move that begins it, at least.
            self.kept = level.max(1.0);
        }
        self.level = level - bytes;
        if self.kept > 0.0 {
            self.kept = (self.kept - bytes).max(0.0);
            self.started = self.level;
            self.moved.burst += bytes;
        } else {
            self.moved.steady += bytes;
            self.moved.time += gap;
        }
        (self.last, self.moving) = (now, true);
    }

    /// All that moved. What the limit held when the clock started is of the burst too, as far as it is used up; so is what the
    /// first tick paid for its time before that.
    pub(super) fn moved(&self) -> Moved {
        let Moved { burst, steady, time } = self.moved;
        let early = (self.started - self.level.max(-self.per_tick)).clamp(0.0, steady);
        Moved { burst: burst + early, steady: steady - early, time }
    }
}

impl Moved {
    /// Adds what moved elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.burst += other.burst;
        self.steady += other.steady;
        self.time = self.time.saturating_add(other.time);
    }

    /// Bytes per second, the burst apart; `None` if there was no more than that.
    pub(super) fn rate(&self) -> Option<f64> {
        (!self.time.is_zero() && self.steady >= 1.0).then(|| self.steady / self.time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bufferevent::Rate;

    use super::*;

    const TICK: Duration = Duration::from_millis(50);
    const ALL: usize = 5_000;

    /// Of 100 kB/s, with a burst of four ticks.
    fn meter(begin: Instant) -> Meter {
        Meter::new(&TokenBucketConfig::per_second(Rate::new(100_000).ok(), None, Some(TICK)).unwrap(), begin)
    }

    /// Moves `bytes` each `gap` after another, `times`.
    fn every(meter: &mut Meter, gap: Duration, bytes: usize, times: usize) {
        for _ in 0..times {
            meter.count(bytes, meter.last + gap);
        }
    }

    fn assert_rate(meter: &Meter, rate: f64, burst: f64) {
        let moved = meter.moved();
        assert!((moved.rate().unwrap() / rate - 1.0).abs() < 1e-6, "{moved:?}");
        assert!((moved.burst - burst).abs() < 1e-3, "{moved:?}");
    }

    #[test]
    fn who_moves_what_each_tick_pays_has_the_rate_of_the_limit_whatever_the_phase() {
        for phase in [1, 20, 50] {
            for ticks in [0, 1, 40] {
                let begin = Instant::now();
                let mut meter = meter(begin);
                meter.count(ALL, begin);
                every(&mut meter, Duration::from_millis(phase), ALL, 1);
                every(&mut meter, TICK, ALL, ticks);
                assert_rate(&meter, 1e5, (ALL + ALL) as f64 - 100.0 * phase as f64);
            }
        }
    }

    #[test]
    fn what_was_kept_in_a_pause_is_a_burst_and_the_pause_does_not_count() {
        let mut meter = meter(Instant::now());
        every(&mut meter, Duration::from_secs(60), 4 * ALL, 1);
        assert_eq!(meter.moved().rate(), None);
        every(&mut meter, TICK, ALL, 20);
        every(&mut meter, Duration::from_secs(60), 4 * ALL, 1);
        every(&mut meter, TICK, ALL, 20);
        assert_rate(&meter, 1e5, 40_000.0);
        assert_eq!(meter.moved().time, 40 * TICK);
    }

    #[test]
    fn who_gets_less_or_more_than_the_limit_is_told_so() {
        let (mut slow, mut fast) = (meter(Instant::now()), meter(Instant::now()));
        every(&mut slow, TICK, ALL / 2, 400);
        assert!((slow.moved().rate().unwrap() / 5e4 - 1.0).abs() < 0.01, "{slow:?}");
        every(&mut fast, TICK, 3 * ALL, 400);
        assert!((fast.moved().rate().unwrap() / 3e5 - 1.0).abs() < 0.01, "{fast:?}");
    }

    #[test]
    fn who_wants_little_and_then_much_has_no_more_than_the_limit() {
        for calm in [1, 5, 12] {
            let mut meter = meter(Instant::now());
            every(&mut meter, Duration::from_secs(5), 1, 1);
            every(&mut meter, TICK, 100, calm);
            every(&mut meter, TICK, 4 * ALL, 1);
            every(&mut meter, TICK, ALL, 3);
            assert!(meter.moved().rate().is_none_or(|rate| rate <= 100_001.0), "{calm}: {meter:?}");
        }
    }

    #[test]
    fn a_burst_that_others_slow_down_is_one_all_the_same() {
        let mut meter = meter(Instant::now());
        // 133 kB/s until all that was kept for a second is used up.
        every(&mut meter, Duration::from_secs(1), 6_666, 1);
        every(&mut meter, TICK, 6_666, 8);
        every(&mut meter, TICK, ALL, 10);
        let moved = meter.moved();
        assert!((9.5e4..1.001e5).contains(&moved.rate().unwrap()), "{moved:?}");
    }

    #[test]
    fn nothing_is_lost_between_the_burst_and_the_rest() {
        let mut meter = meter(Instant::now());
        for (gap, bytes) in [(0, 700), (10, 9_000), (3_000, 1), (49, 20_000), (900, 6_000), (1_001, 55)] {
            every(&mut meter, Duration::from_millis(gap), bytes, 1);
        }
        let mut both = meter.moved();
        assert!((both.burst + both.steady - 35_756.0).abs() < 1e-6, "{both:?}");
        both.add(both);
        assert!((both.burst + both.steady - 71_512.0).abs() < 1e-6, "{both:?}");
    }
}
