//! How much one who waits is given at a time. Pure.

use crate::Plan;

/// The least share unless it is set, bytes.
pub(crate) const MIN_SHARE: u64 = 64;
/// More than this is no least share that follows from the rate, bytes. With a quarter of it a limit cost two to four times as much
/// of the processor: what a call costs is hardly a matter of its bytes.
const SHARE_MAX: u64 = 16 * 1024;

/// What there must be before anybody is served, so that nobody runs for a sliver: what each of `waiting` gets in half a
/// second, from `MIN_SHARE` to `SHARE_MAX`. A `min_share` that was set counts instead, and 0 means no least share.
///
/// It can always be reached: it is at most a tick's worth, or what the burst holds while another tick's worth still fits.
pub(crate) fn quantum(plan: &Plan, min_share: Option<u64>, waiting: usize) -> u64 {
    let share = || SHARE_MAX.min(plan.per_second() / (2 * waiting.max(1) as u64));
    let quantum = match min_share {
        None => share().max(MIN_SHARE),
        Some(0) => share(),
        Some(bytes) => bytes,
    };
    quantum.clamp(1, plan.rate().max(plan.burst() - plan.rate()))
}

/// What there must be besides, of a [`quantum`]: from here on it is served whatever there is, for what is more would not fit
/// beside the next tick's worth, and be lost to all. Only where the burst is less than two of them is that before a quantum is
/// there: when who was served gives back what it has no use for. A hundredth of a tick's worth may be lost, so that nobody runs for
/// less.
pub(crate) fn spills(plan: &Plan) -> u64 {
    plan.burst() - plan.rate() + (plan.rate() / 100).max(1)
}

/// What the next one gets of `left` bytes: its part by weight, but at least what it lags, and at least a quantum. What does
/// not make another quantum is divided among those that get one.
pub(crate) fn turn(left: u64, quantum: u64, lag: u64, weight: u32, weights: u64) -> u64 {
    let part = (u128::from(left) * u128::from(weight) / u128::from(weights.max(1))) as u64;
    let quanta = (left / quantum).max(1);
    let turn = part.max(lag).max(left / quanta);
    if left.saturating_sub(turn) < quantum { left } else { turn }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Direction, Nanos, TokenBucketConfig};

    fn plan(rate: u64, burst: u64) -> Plan {
        let config = TokenBucketConfig::new(rate, burst, rate, burst, None).expect("valid");
        Plan::new(config.limit(Direction::Read), Nanos(0))
    }

    /// G-06, G-09, in bytes per second.
    #[test]
    fn quantum_follows_the_rate_unless_it_is_set() {
        let ten_thousand = plan(10_000, 40_000);
        let of = |waiting| quantum(&ten_thousand, None, waiting);
        assert_eq!([0, 1, 10, 100, 1_000].map(of), [5_000, 5_000, 500, 64, 64]);
        assert_eq!(quantum(&plan(1_000_000, 1_000_000), None, 10), SHARE_MAX);
        let set = |bytes| quantum(&ten_thousand, Some(bytes), 100);
        // Of the burst, so much that another tick's worth fits.
        assert_eq!([1_000, 5_000, 1 << 60].map(set), [1_000, 5_000, 30_000]);
        // None: what each gets in half a second, but a byte.
        assert_eq!([100, 100_000].map(|waiting| quantum(&ten_thousand, Some(0), waiting)), [50, 1]);
        assert_eq!(quantum(&plan(10, 10), None, 1), 10, "never more than there can be");
    }

    #[test]
    fn what_does_not_fit_beside_the_next_tick_is_handed_out() {
        // Bytes of a tick, of the burst, and what is left for the next tick at most.
        for (rate, burst, left) in [(3, 3, 1), (1_000, 1_000, 10), (1_000, 1_500, 510), (1_000, 4_000, 3_010)]
        {
            assert_eq!(spills(&plan(rate, burst)), left);
        }
    }

    proptest! {
        #[test]
        fn turns_hand_out_all_in_no_slivers(
            left in 1..100_000u64,
            quantum in 1..5_000u64,
            lag in 0..5_000u64,
            weight in 1..10u32,
            others in 0..100u64,
        ) {
            let turn = turn(left, quantum, lag, weight, u64::from(weight) + others);
            prop_assert!(turn >= left.min(quantum));
            // What is left makes another turn, if it is anything.
            prop_assert!(turn >= left || left - turn >= quantum);
        }
    }
}
