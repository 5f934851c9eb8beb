//! What a member keeps of what it took, to use it without asking for every operation. Pure.
//!
//! While there is plenty at every group of its path, a member takes more than it wants. What the operation leaves is its
//! lease: the operations that follow use it up without a look at what others share, until the first tick boundary of any group
//! of the path. Nobody who waits is passed by it, for nothing is leased while somebody waits.
//!
//! # Why it lets no more pass
//! Beside each clock think of a bucket that is charged when bytes move, not when they are taken. Within a tick of that clock
//! it holds what the clock says and all that is leased: what is taken, used and given back then is taken from one of them
//! and put into the other. At the boundary all leases are over, so it holds as much as the clock at least; both are paid the same and
//! clipped at the same burst, so it still does. So it is never overdrawn: in any window moves what the burst and the ticks
//! allow, and no more.
//!
//! What is left at the boundary must *not* go back to this clock then: it may have been clipped, and others have taken, as if it
//! had been used, and with it they would move more than the burst. It is forfeited. The clocks of the path whose ticks are
//! longer get it back. A lease is given only where the
//! next boundary fills the clock in any case, so that is what a full bucket would not have held, unless others took much
//! in the same tick. All leases of a group are about an eighth of its burst, which is all that members cost it that lease
//! and never run again: once.

use crate::{Nanos, Plan};

/// Bytes of a member, in one direction.
///
/// * L1 `left` is part of `lent`, and what was used of it is not counted in the totals yet.
/// * L2 `left` counts before `until` alone.
#[derive(Default)]
pub(crate) struct Lease {
    left: u64,
    until: Nanos,
    lent: u64,
    /// What it is good for beyond an operation.
    most: u64,
}

/// What was a lease.
#[must_use]
pub(crate) struct Ended {
    /// To be counted.
    pub(crate) used: u64,
    /// What is left of it: to be given back where the tick is still that of `at`.
    pub(crate) back: u64,
    pub(crate) at: Nanos,
}

impl Lease {
    /// What may be used now.
    #[inline]
    pub(crate) fn left(&self, now: Nanos) -> u64 {
        if now < self.until { self.left } else { 0 }
    }

    /// When it is over.
    #[inline]
    pub(crate) fn until(&self) -> Nanos {
        self.until
    }

    /// Gives what was not there: it has ended meanwhile.
    #[inline]
    pub(crate) fn spend(&mut self, bytes: u64) -> u64 {
        let within = bytes.min(self.left);
        self.left -= within;
        bytes - within
    }

    /// So many bytes were taken for it. Beyond the next operation it is good for `most`.
    pub(crate) fn extend(&mut self, bytes: u64, most: u64, until: Nanos) {
        self.left += bytes;
        self.lent += bytes;
        (self.most, self.until) = (most, until);
    }

    /// What an operation has left beyond what may be kept: to be given back.
    #[must_use]
    pub(crate) fn surplus(&mut self) -> u64 {
        let surplus = self.left.saturating_sub(self.most);
        self.left -= surplus;
        self.lent -= surplus;
        surplus
    }

    /// It is over.
    pub(crate) fn end(&mut self) -> Ended {
        let Self { left, lent, until, .. } = std::mem::take(self);
        // The last moment that it was good for, of which every group of the path has the same tick as when it was taken.
        Ended { used: lent - left, back: left, at: Nanos(until.0.saturating_sub(1)) }
    }
}

/// What a member of a group may keep, of `level` bytes that are there: 0 unless there is plenty.
pub(crate) fn most(plan: &Plan, level: i64, members: u64) -> u64 {
    let (rate, burst) = (plan.rate(), plan.burst());
    let most = (burst / LEASED_PART / members.max(1)).min(LEASE_MAX);
    let plenty = burst.saturating_sub(rate).max(burst / 2) + most;
    let may = most >= LEASE_MIN && level >= plenty as i64 && plan.is_paid_in_ticks();
    if may { most } else { 0 }
}

/// Bytes that a member takes beyond what it wants while there is plenty, at most.
pub const LEASE_MAX: u64 = 64 * 1024;
/// Less than this is not worth it: where the burst allows no more for each member, all is exact at every moment.
pub const LEASE_MIN: u64 = 4 * 1024;
/// What all members of a group take so together, of its burst.
const LEASED_PART: u64 = 8;
