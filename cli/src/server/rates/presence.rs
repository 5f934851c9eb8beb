//! For how long connections were there.

use std::time::{Duration, Instant};

/// Who is there, and for how long somebody was.
#[derive(Debug, Default)]
pub(super) struct Presence {
    here: u32,
    /// When `times` was last brought up to date; `None` before the first.
    counted: Option<Instant>,
    times: Times,
}

/// For how long connections were there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// At least one.
    pub(super) any: Duration,
    /// Each of them, added up.
    pub(super) each: Duration,
}

impl Presence {
    pub(super) fn come(&mut self) {
        self.count(Instant::now());
        self.here += 1;
    }

    pub(super) fn go(&mut self) {
        self.count(Instant::now());
        self.here -= 1;
    }

    pub(super) fn times(&mut self) -> Times {
        self.count(Instant::now());
        self.times
    }

    /// Counts the time until `now` for those who are there.
    fn count(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted.unwrap_or(now));
        self.counted = Some(now);
        if self.here > 0 {
            self.times.any += passed;
            self.times.each = self.times.each.saturating_add(passed.saturating_mul(self.here));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_once_for_all_and_once_for_each() {
        let mut presence = Presence::default();
        let begin = Instant::now();
        for (second, here) in [(0, 1), (2, 2), (5, 0), (60, 1)] {
            presence.count(begin + Duration::from_secs(second));
            presence.here = here;
        }
        presence.count(begin + Duration::from_secs(61));
        let [any, each] = [6, 9].map(Duration::from_secs);
        assert_eq!(presence.times, Times { any, each });
    }
}
