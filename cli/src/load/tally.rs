//! What is counted.

use std::time::{Duration, Instant};

use bufferevent_sync::{CachePadded, Counter, Mutex};
use hdrhistogram::Histogram;

/// What the clients of one base have done. The counters are written on the base's turns alone, by one thread at a time.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: CachePadded<Counter>,
    /// Of each connection.
    pub(super) sent: Box<[Counter]>,
    /// Of each connection.
    pub(super) received: Box<[Counter]>,
    latencies: Mutex<Latencies>,
    /// What the times of `under_way` count from.
    epoch: Instant,
    /// For each connection: when the request that is under way began, in nanoseconds; 0 if there is none.
    under_way: Box<[Counter]>,
}

impl Tally {
    pub(super) fn new(connections: usize) -> Self {
        let each = || (0..connections).map(|_| Counter::new()).collect();
        Self {
            epoch: Instant::now(),
            under_way: each(),
            requests: CachePadded::new(Counter::new()),
            sent: each(),
            received: each(),
            latencies: Mutex::new(Latencies::new()),
        }
    }

    /// The request of a connection that is under way began then; `None`: there is none any more.
    pub(super) fn under_way(&self, connection: usize, began: Option<Instant>) {
        self.under_way[connection].set(began.map_or(0, |began| nanos(began - self.epoch).max(1)));
    }

    /// How long each request that has no answer at `now` has been under way.
    pub(super) fn ages(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let now = nanos(now - self.epoch);
        let began = self.under_way.iter().map(Counter::get).filter(|&began| began > 0);
        began.map(move |began| Duration::from_nanos(now.saturating_sub(began)))
    }

    /// How far each connection has come.
    pub(super) fn progress(&self) -> impl Iterator<Item = Progress> {
        let counters = self.sent.iter().zip(&self.received).zip(&self.under_way);
        counters.map(|((sent, received), began)| Progress {
            sent: sent.get(),
            received: received.get(),
            is_under_way: began.get() > 0,
        })
    }

    /// Counts `n` requests that took `together`, one after the other.
    pub(super) fn requests(&self, n: u64, together: Duration) {
        self.requests.add(n);
        self.latencies.lock().record(n, together);
    }

    /// Adds what was counted so far to `totals`.
    pub(super) fn add_to(&self, totals: &mut Totals) {
        totals.requests += self.requests.get();
        totals.sent += self.sent.iter().map(Counter::get).sum::<u64>();
        totals.received += self.received.iter().map(Counter::get).sum::<u64>();
        totals.latencies.add(&self.latencies.lock());
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// It has a request without an answer.
    pub(super) is_under_way: bool,
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

    /// Takes up `n` requests that took `together`, one after the other.
    pub(super) fn record(&mut self, n: u64, together: Duration) {
        self.histogram.saturating_record_n(nanos(together) / n.max(1), n);
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

    /// What `percent` of the requests took at most; `None` if there were none.
    pub(crate) fn percentile(&self, percent: f64) -> Option<Duration> {
        self.any(self.histogram.value_at_quantile(percent / 100.0))
    }

    pub(crate) fn max(&self) -> Option<Duration> {
        self.any(self.histogram.max())
    }

    fn any(&self, nanos: u64) -> Option<Duration> {
        (!self.histogram.is_empty()).then_some(Duration::from_nanos(nanos))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A microsecond: below it there is no finer step.
const SHORTEST: u64 = 1_000;
/// More than a day, the longest measurement.
const LONGEST: u64 = 90_000_000_000_000;
/// Significant digits.
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_under_way_have_an_age_until_they_are_done() {
        let tally = Tally::new(3);
        let began = tally.epoch + Duration::from_millis(5);
        let now = tally.epoch + Duration::from_millis(12);
        tally.under_way(0, Some(began));
        tally.under_way(2, Some(tally.epoch));
        assert_eq!(tally.ages(now).collect::<Vec<_>>(), [Duration::from_millis(7), now - tally.epoch - TICK]);
        tally.under_way(2, None);
        assert_eq!(tally.ages(now).collect::<Vec<_>>(), [Duration::from_millis(7)]);
    }

    /// What begins with the epoch is told from nothing by this.
    const TICK: Duration = Duration::from_nanos(1);

    #[test]
    fn there_is_no_latency_without_a_request() {
        let mut latencies = Latencies::new();
        assert_eq!((latencies.percentile(50.0), latencies.max()), (None, None));
        latencies.record(1, Duration::from_secs(86_400));
        assert!(latencies.max() >= Some(Duration::from_secs(86_400)));
    }
}
