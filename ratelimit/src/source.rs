use std::fmt;
use std::sync::Arc;

use crate::accrual::Accrual;
use crate::{Direction, Limit, Nanos, TokenBucketConfig};

/// Says how many bytes the root of a tree of groups has been given so far: the place where a limit that several hosts share
/// plugs in. [`LocalClock`] is the only one here.
///
/// What is given is the group's from then on; what its members do not use and its burst does not hold is forfeited.
/// # Locks
/// Every method is called from any thread, for each operation of a member, also under the group's leaf lock: it takes no
/// lock, waits for nothing and calls no group.
pub trait TokenSource: Send + Sync + 'static {
    /// Bytes given in a direction up to `now`, in all: never less for a later time, nor when asked again.
    fn given(&self, direction: Direction, now: Nanos) -> u64;

    /// The first moment after `now` at which there may be more. [`Nanos::NEVER`] if that is not known: then
    /// [`Group::supplied`](crate::Group::supplied) says so once there is.
    fn next(&self, direction: Direction, now: Nanos) -> Nanos;
}

/// So many bytes a tick, by the caller's clock: what a group goes by that was given no other source.
///
/// ```
/// use bufferevent_ratelimit::{Direction, LocalClock, Nanos, TokenBucketConfig, TokenSource};
///
/// let config = TokenBucketConfig::new(100, 400, 50, 50, None)?; // per second
/// let clock = LocalClock::new(&config, Nanos(0));
/// let second = Nanos(1_000_000_000);
/// assert_eq!(clock.next(Direction::Write, Nanos(5)), second);
/// assert_eq!((clock.given(Direction::Read, second), clock.given(Direction::Write, second)), (100, 50));
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LocalClock {
    accruals: [Accrual; 2],
}

impl LocalClock {
    /// Ticks count from now.
    #[must_use]
    pub fn new(config: &TokenBucketConfig, now: Nanos) -> Self {
        Self { accruals: Direction::ALL.map(|direction| Accrual::new(config.limit(direction), now)) }
    }
}

impl TokenSource for LocalClock {
    fn given(&self, direction: Direction, now: Nanos) -> u64 {
        self.accruals[direction.index()].paid(now)
    }

    fn next(&self, direction: Direction, now: Nanos) -> Nanos {
        self.accruals[direction.index()].next(now)
    }
}

/// One direction of a source, from a moment on.
#[derive(Clone)]
pub(crate) struct Supply {
    source: Arc<dyn TokenSource>,
    direction: Direction,
    /// Given before that.
    before: u64,
    /// Of its rate only its size counts: what one waits for at a time follows from it.
    pub(crate) limit: Limit,
}

impl Supply {
    pub(crate) fn new(source: Arc<dyn TokenSource>, direction: Direction, limit: Limit, now: Nanos) -> Self {
        let before = source.given(direction, now);
        Self { source, direction, before, limit }
    }

    pub(crate) fn paid(&self, now: Nanos) -> u64 {
        self.source.given(self.direction, now).saturating_sub(self.before)
    }

    pub(crate) fn next(&self, now: Nanos) -> Nanos {
        self.source.next(self.direction, now)
    }

    pub(crate) fn changed(&self, limit: Limit, now: Nanos) -> Self {
        Self::new(Arc::clone(&self.source), self.direction, limit, now)
    }
}

/// The same source.
impl PartialEq for Supply {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
            && (self.direction, self.before, self.limit) == (other.direction, other.before, other.limit)
    }
}

impl Eq for Supply {}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply")
            .field("before", &self.before)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
