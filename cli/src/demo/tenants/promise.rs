//! What was promised, and whether it was kept. Pure.

use std::time::Duration;

use super::site::TICK;
use crate::units;

/// Bytes per second that a group is promised while it wants all it can get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub(super) to: &'static str,
    /// It gets no less, whatever the others want.
    pub(super) least: u64,
    /// It gets no more: its limit.
    pub(super) most: u64,
}

/// What a group has got since it was made.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) promise: Promise,
    pub(super) elapsed: Duration,
    /// For how long all its connections have stood, and wanted all they could get.
    pub(super) wanted: Duration,
    /// All of it.
    pub(super) bytes: u64,
    /// What each of its connections got in that time; none of those are the site's own.
    pub(super) shares: Vec<u64>,
}

impl Reached {
    /// What was not kept.
    ///
    /// No more than the limit is exact: a group holds one tick's worth when it is made, and what is added is counted in
    /// ticks. No less is not, for this process has to run to move anything: from when all connections stand, a tenth is allowed for,
    /// and a quarter of a second for the beginning and the end. What a busy machine delays by less than the burst is not lost, but comes later.
    pub(super) fn broken(&self) -> Option<String> {
        let Self { promise: Promise { to, least, most }, elapsed, wanted, bytes, .. } = self;
        let got = format!("{to} got {} in {}", units::bytes(*bytes), units::time(*elapsed));
        if *bytes as f64 > *most as f64 * (*elapsed + TICK).as_secs_f64() {
            return Some(format!("{got}, and may have {}/s", units::bytes(*most)));
        }
        if (*bytes as f64) < 0.9 * *least as f64 * wanted.saturating_sub(ALLOWANCE).as_secs_f64() {
            return Some(format!("{got}, and should have {}/s", units::bytes(*least)));
        }
        let fairness = self.fairness().filter(|&fairness| fairness < FAIR)?;
        Some(format!("the connections of {to} shared it unfairly, with an index of {fairness:.3}"))
    }

    /// Bytes per second: over the time that the ticks have paid for, the first of which was there from the beginning.
    pub(super) fn rate(&self) -> f64 {
        self.bytes as f64 / (self.elapsed + TICK).as_secs_f64()
    }

    /// Jain's index of what its connections got: 1 if all got the same, 1/n if one of n got all.
    pub(super) fn fairness(&self) -> Option<f64> {
        let sum: f64 = self.shares.iter().map(|&share| share as f64).sum();
        let squares: f64 = self.shares.iter().map(|&share| (share as f64).powi(2)).sum();
        (squares > 0.0).then(|| sum * sum / (squares * self.shares.len() as f64))
    }
}

/// For the beginning, and for the end, which may find the machine busy.
const ALLOWANCE: Duration = Duration::from_millis(250);

/// Below this index sharing is unfair: as if less than half of the connections shared it all. It is usually 0.99 and more; but
/// a connection whose thread does not get to run wants nothing, and what it leaves goes to the others at once.
const FAIR: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(bytes: u64, shares: &[u64]) -> Reached {
        let promise = Promise { to: "gold", least: 1_000_000, most: 2_000_000 };
        let elapsed = Duration::from_secs(5);
        Reached { promise, elapsed, wanted: elapsed, bytes, shares: shares.to_vec() }
    }

    fn broken(bytes: u64, shares: &[u64]) -> String {
        reached(bytes, shares).broken().unwrap_or_default()
    }

    #[test]
    fn no_more_than_the_limit_is_exact() {
        let tick = 2_000_000 / 50;
        assert_eq!(broken(10_000_000 + tick, &[]), "");
        assert_eq!(broken(10_000_001 + tick, &[]), "gold got 10.0 MB in 5.00 s, and may have 2.00 MB/s");
    }

    #[test]
    fn no_less_than_promised_has_an_allowance() {
        assert_eq!(broken(4_275_000, &[]), "");
        assert_eq!(broken(4_274_999, &[]), "gold got 4.27 MB in 5.00 s, and should have 1.00 MB/s");
        assert_eq!(broken(0, &[0, 0]), "gold got 0 B in 5.00 s, and should have 1.00 MB/s");
    }

    #[test]
    fn what_connections_take_to_stand_does_not_count_for_the_least_but_for_the_most() {
        let late = |bytes| Reached { wanted: Duration::from_secs(3), ..reached(bytes, &[]) };
        assert_eq!(late(2_475_000).broken(), None);
        assert!(late(2_474_999).broken().is_some() && late(10_040_001).broken().is_some());
        assert_eq!(late(10_040_000).broken(), None);
    }

    #[test]
    fn connections_share_fairly_or_a_promise_is_broken() {
        assert_eq!(reached(5_000_000, &[7, 7, 7]).fairness(), Some(1.0));
        assert_eq!(reached(5_000_000, &[9, 0, 0]).fairness(), Some(1.0 / 3.0));
        assert_eq!(reached(0, &[0, 0]).fairness(), None);
        assert_eq!(broken(5_000_000, &[5, 5, 0, 0]), "");
        assert!(broken(5_000_000, &[6, 5, 0, 0]).ends_with("with an index of 0.496"));
    }
}
