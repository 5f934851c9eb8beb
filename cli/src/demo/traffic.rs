//! What the clients did in one interval.

use std::time::Duration;

use crate::load::{Latencies, Totals};

/// The clients at one moment, and since the moment before.
#[derive(Debug)]
pub(super) struct Traffic {
    /// Since the traffic began.
    pub(super) at: Duration,
    pub(super) requests_per_second: f64,
    pub(super) bytes_per_second: f64,
    pub(super) latencies: Latencies,
}

impl Traffic {
    /// What came between `earlier` and `now`, which were counted at these times.
    pub(super) fn between((then, earlier): (Duration, &Totals), (at, now): (Duration, &Totals)) -> Self {
        let seconds = at.saturating_sub(then).as_secs_f64().max(1e-9);
        Self {
            at,
            requests_per_second: (now.requests - earlier.requests) as f64 / seconds,
            bytes_per_second: (now.bytes - earlier.bytes) as f64 / seconds,
            latencies: now.latencies.since(&earlier.latencies),
        }
    }
}
