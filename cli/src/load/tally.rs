//! What is counted.

use std::time::Duration;

use bufferevent_sync::{CachePadded, Counter, Mutex};
use hdrhistogram::Histogram;

/// What the clients of one base have done. The counters are written on the base's turns alone, by one thread at a time.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: CachePadded<Counter>,
    pub(super) sent: Counter,
    pub(super) received: Counter,
    latencies: Mutex<Latencies>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            requests: CachePadded::new(Counter::new()),
            sent: Counter::new(),
            received: Counter::new(),
            latencies: Mutex::new(Latencies::new()),
        }
    }

    /// Counts `n` requests that took `together`, one after the other.
    pub(super) fn requests(&self, n: u64, together: Duration) {
        self.requests.add(n);
        self.latencies.lock().record(n, together);
    }

    /// Adds what was counted so far to `totals`.
    pub(super) fn add_to(&self, totals: &mut Totals) {
        totals.requests += self.requests.get();
        totals.sent += self.sent.get();
        totals.received += self.received.get();
        totals.latencies.add(&self.latencies.lock());
    }
}

/// What all clients have done.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Requests that were answered, or taken.
    pub(crate) requests: u64,
    /// Bytes given to the connections to send.
    pub(crate) sent: u64,
    /// Bytes that came.
    pub(crate) received: u64,
    /// Bytes that count: those that came, or those that were sent if none are to come.
    pub(crate) bytes: u64,
    pub(crate) latencies: Latencies,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self { requests: 0, sent: 0, received: 0, bytes: 0, latencies: Latencies::new() }
    }
}

/// How long requests took.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    /// In nanoseconds.
    histogram: Histogram<u64>,
}

impl Latencies {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS);
        Self { histogram: histogram.expect("the bounds are constants that fit") }
    }

    fn record(&mut self, n: u64, together: Duration) {
        let nanos = u64::try_from(together.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record_n(nanos / n.max(1), n);
    }

    fn add(&mut self, other: &Self) {
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok(), "all have the same bounds");
    }

    /// What came since `earlier`, a former state of these.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        let taken = since.histogram.subtract(&earlier.histogram);
        debug_assert!(taken.is_ok(), "the former state is a part of this one");
        since
    }

    /// What `percent` of the requests took at most; nothing if there were none.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(percent / 100.0))
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }
}

/// A microsecond: below it there is no finer step.
const SHORTEST: u64 = 1_000;
/// A minute.
const LONGEST: u64 = 60_000_000_000;
/// Significant digits.
const DIGITS: u8 = 3;
