use std::time::Duration;

use crate::accrual::Accrual;
use crate::source::Supply;
use crate::{Limit, Nanos};

/// The most that counts, of a rate per tick, a burst or a debt that many share: 2^59 bytes. More counts as that.
pub const BYTES_MAX: u64 = 1 << 59;

/// What all who take from a [`ByteClock`](crate::ByteClock) know: how much it has accrued at a moment, and how much of
/// that may be there at once. Immutable: a change is a new one ([`ByteClock::replan`](crate::ByteClock::replan)).
///
/// ```
/// use bufferevent_ratelimit::{Direction, Nanos, Plan, TokenBucketConfig};
///
/// let config = TokenBucketConfig::new(100, 400, 100, 400, None)?;
/// let plan = Plan::new(config.limit(Direction::Read), Nanos(0));
/// assert_eq!(plan.next_boundary(Nanos(5)), Nanos(1_000_000_000));
/// assert_eq!((plan.rate(), plan.burst()), (100, 400));
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Accrued when this was made, modulo 2^63.
    base: u64,
    pays: Pays,
}

/// What pays after that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pays {
    Ticks(Accrual),
    Source(Supply),
}

impl Plan {
    /// For a new [`ByteClock`](crate::ByteClock), which holds one tick's worth. A rate or a burst above [`BYTES_MAX`]
    /// counts as that.
    #[must_use]
    pub fn new(limit: Limit, now: Nanos) -> Self {
        let limit = clamped(limit);
        Self { base: limit.rate, pays: Pays::Ticks(Accrual::new(limit, now)) }
    }

    /// For a new clock that holds nothing, and whatever `supply` gives from now on.
    pub(crate) fn of(mut supply: Supply) -> Self {
        supply.limit = clamped(supply.limit);
        Self { base: 0, pays: Pays::Source(supply) }
    }

    /// The first tick boundary after `now`, or what its [source](crate::TokenSource) says instead.
    #[must_use]
    pub fn next_boundary(&self, now: Nanos) -> Nanos {
        match &self.pays {
            Pays::Ticks(accrual) => accrual.next(now),
            Pays::Source(supply) => supply.next(now).max(now.plus(1)),
        }
    }

    /// Bytes per tick.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.limit().rate
    }

    /// Bytes that may be there at once.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.limit().burst
    }

    /// How long a tick is.
    #[must_use]
    pub const fn tick(&self) -> Duration {
        self.limit().tick()
    }

    /// Bytes per second, rounded down.
    pub(crate) const fn per_second(&self) -> u64 {
        self.limit().per_second()
    }

    /// What it was made for, or last changed to.
    pub(crate) const fn limit(&self) -> Limit {
        match &self.pays {
            Pays::Ticks(accrual) => accrual.limit(),
            Pays::Source(supply) => supply.limit,
        }
    }

    /// Whether all that it pays is paid at boundaries that are known before.
    pub(crate) const fn is_paid_in_ticks(&self) -> bool {
        matches!(self.pays, Pays::Ticks(_))
    }

    /// Whether this must be replaced soon, by [`ByteClock::replan`](crate::ByteClock::replan) with the same limit: it
    /// has paid 2^60 bytes, and pays twice that at most. At 1 GB/s this takes 36 years.
    #[must_use]
    pub fn is_worn(&self, now: Nanos) -> bool {
        self.paid(now) >= PAID_MAX / 2
    }

    /// Bytes accrued since creation, modulo 2^63.
    #[inline]
    pub(crate) fn accrued(&self, now: Nanos) -> u64 {
        self.base.wrapping_add(self.paid(now).min(PAID_MAX))
    }

    #[inline]
    fn paid(&self, now: Nanos) -> u64 {
        match &self.pays {
            Pays::Ticks(accrual) => accrual.paid(now),
            Pays::Source(supply) => supply.paid(now),
        }
    }

    /// When what accrues from `now` on will be `bytes`, at least one, or never. Of a source: when there may be more.
    pub(crate) fn accrues(&self, bytes: u64, now: Nanos) -> Nanos {
        match &self.pays {
            Pays::Ticks(accrual) => accrual.after(now).reaches(bytes),
            Pays::Source(_) => self.next_boundary(now),
        }
    }

    /// What follows if the limit changes now.
    pub(crate) fn changed(&self, limit: Limit, now: Nanos) -> Self {
        let limit = clamped(limit);
        let pays = match &self.pays {
            Pays::Ticks(accrual) => Pays::Ticks(accrual.changed(limit, now)),
            Pays::Source(supply) => Pays::Source(supply.changed(limit, now)),
        };
        Self { base: self.accrued(now), pays }
    }
}

/// Bytes that one plan pays at most, so that a clock which nobody looked at for years is not ambiguous.
const PAID_MAX: u64 = 4 * BYTES_MAX;

fn clamped(limit: Limit) -> Limit {
    Limit { rate: limit.rate.min(BYTES_MAX), burst: limit.burst.min(BYTES_MAX), ..limit }
}
