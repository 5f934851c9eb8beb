//! What one client thread counts.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What one client thread counts.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) errors: u64,
    latency: Histogram<u64>,
}

impl Tally {
    /// Starts at zero.
    pub(super) fn new() -> io::Result<Self> {
        let latency = Histogram::new_with_max(LONGEST, DIGITS).map_err(io::Error::other)?;
        Ok(Self { requests: 0, bytes: 0, errors: 0, latency })
    }

    /// Counts a latency; beyond a minute it counts as a minute.
    #[inline]
    pub(super) fn record(&mut self, latency: Duration) {
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds another thread's counts.
    pub(super) fn add(&mut self, other: &Self) -> io::Result<()> {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.latency.add(&other.latency).map_err(io::Error::other)
    }

    /// Returns the latency, in nanoseconds, that `percent` of all stay within; 0 when there is none.
    pub(super) fn percentile(&self, percent: f64) -> u64 {
        self.latency.value_at_percentile(percent)
    }
}

const LONGEST: u64 = 60_000_000_000;
const DIGITS: u8 = 3;
