//! What a limit pays at the boundaries of its ticks.
//!
//! ```text
//!              made       next      next + tick
//!   ─────┼──────┊───────────┼──────────────┼──────────────┼─────  boundaries
//!        │ earned           │ carry + rate │ rate         │ rate  paid
//! ```
//!
//! Between boundaries the rate *earns* in proportion to time. A change of the limit keeps that, in bytes: `carry` is what
//! makes whole ticks of the new limit, and the rest is a part of its running tick, which sets `next`. So what is paid is
//! the integral of the rate over time, whatever changes and how often, less a nanosecond's worth a change.

use crate::{Limit, Nanos};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accrual {
    /// The first boundary that pays. At most a tick after this was made.
    next: Nanos,
    /// Bytes that are paid there, besides those of the tick.
    carry: u64,
    limit: Limit,
}

impl Accrual {
    /// From now on, as of a tick that begins now.
    pub(crate) const fn new(limit: Limit, now: Nanos) -> Self {
        Self { next: now.plus(limit.tick), carry: 0, limit }
    }

    pub(crate) const fn limit(&self) -> Limit {
        self.limit
    }

    /// What was paid up to now, saturating.
    #[inline]
    pub(crate) fn paid(&self, now: Nanos) -> u64 {
        let Some(past) = now.0.checked_sub(self.next.0) else { return 0 };
        (past / self.limit.tick + 1).saturating_mul(self.limit.rate).saturating_add(self.carry)
    }

    /// The next boundary after now.
    pub(crate) fn next(&self, now: Nanos) -> Nanos {
        match now.0.checked_sub(self.next.0) {
            None => self.next,
            Some(past) => now.plus(self.limit.tick - past % self.limit.tick),
        }
    }

    /// The boundary at which so many bytes, at least one, will have been paid, or never.
    pub(crate) fn reaches(&self, bytes: u64) -> Nanos {
        let ticks = bytes.saturating_sub(self.carry).div_ceil(self.limit.rate);
        self.next.plus(ticks.saturating_sub(1).saturating_mul(self.limit.tick))
    }

    /// The same without what was paid up to now.
    pub(crate) fn after(&self, now: Nanos) -> Self {
        let carry = if now < self.next { self.carry } else { 0 };
        Self { next: self.next(now), carry, limit: self.limit }
    }

    /// What follows if the limit changes now. With the same limit nothing changes.
    pub(crate) fn changed(&self, limit: Limit, now: Nanos) -> Self {
        let Self { next, carry, limit: old } = self.after(now);
        // If its first tick is yet to begin, then that of the new limit begins as late.
        let now = now.max(Nanos(next.0.saturating_sub(old.tick)));
        let [rate, tick] = [limit.rate, limit.tick].map(u128::from);
        // Whole bytes, and so many parts of `old.tick` of another one.
        let earned = u128::from(old.rate) * u128::from(old.tick.saturating_sub(next.since(now)));
        let (bytes, part) =
            (earned / u128::from(old.tick) + u128::from(carry), earned % u128::from(old.tick));
        // Rounded down, so less than the new tick.
        let elapsed = (bytes % rate * tick + part * tick / u128::from(old.tick)) / rate;
        let saturated = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        Self { next: now.plus(saturated(tick - elapsed)), carry: saturated(bytes - bytes % rate), limit }
    }
}
