//! How much one who waits is given at a time. Pure.

use crate::Plan;

/// The least share unless it is set, bytes.
pub(crate) const MIN_SHARE: u64 = 64;
/// More than this is no least share that follows from the rate, bytes.
const SHARE_MAX: u64 = 4096;

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

/// What the next one gets of `left` bytes: its part by weight, but at least what it lags, and at least a quantum. What does
/// not make another quantum is divided among those that get one.
pub(crate) fn turn(left: u64, quantum: u64, lag: u64, weight: u32, weights: u64) -> u64 {
    let part = (u128::from(left) * u128::from(weight) / u128::from(weights.max(1))) as u64;
    let quanta = (left / quantum).max(1);
    let turn = part.max(lag).max(left / quanta);
    if left.saturating_sub(turn) < quantum { left } else { turn }
}
