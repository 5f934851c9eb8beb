use std::fmt;

use bufferevent_sync::{Arc, mutant};

use crate::Nanos;
use crate::path::Path;

/// How long a lease is good for: until its tick ends, or the limits change. Kept beside what is leased, it tells before each
/// operation whether that may be used still; the [member](crate::Member) need be told only later what was. The default is
/// over.
///
/// ```
/// # use std::num::NonZeroU32;
/// use bufferevent_ratelimit::{Bell, Direction, Grant, Group, Nanos, Terms, TokenBucketConfig, Waiter, Want};
/// # struct Alone;
/// # impl Waiter for Alone {
/// #     type Base = ();
/// #     fn base(&self) {}
/// #     fn wake(self) {}
/// #     fn alarm((): &(), _: &Bell<Self>, _: Nanos) {}
/// # }
///
/// let tick = Nanos(1_000_000_000);
/// let config = TokenBucketConfig::new(1 << 20, 1 << 20, 1 << 20, 1 << 20, None)?;
/// let group = Group::<Alone>::new(&config, Nanos(0));
/// let mut member = group.join(NonZeroU32::MIN);
/// let granted = member.take(Direction::Read, Want::once(64), Nanos(0), || Alone);
/// assert_eq!(granted, Grant::Granted(64));
/// member.settle(Direction::Read, 64, 64, Nanos(0));
///
/// let mut terms = Terms::default();
/// let lent = member.lend(Direction::Read, Nanos(0), &mut terms);
/// assert!(lent > 10_000 && terms.hold(Nanos(1)) && !terms.hold(tick));
/// // Whatever has moved meanwhile:
/// member.spend(Direction::Read, 10_000);
/// assert_eq!(member.leased(Direction::Read, Nanos(2)), lent - 10_000);
///
/// group.set_config(&config, Nanos(3));
/// assert!(!terms.hold(Nanos(4)));
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
pub struct Terms {
    // Always one, so that what is asked before each operation is one test less.
    path: Arc<Path>,
    until: Nanos,
}

impl Default for Terms {
    fn default() -> Self {
        Self { path: Arc::new(Path::new(Vec::new())), until: Nanos::default() }
    }
}

impl Terms {
    /// Whether what was leased may be used.
    #[inline]
    #[must_use]
    pub fn hold(&self, now: Nanos) -> bool {
        now < self.until && is_current(&self.path)
    }

    /// What is leased by `path` is good until then.
    pub(crate) fn set(&mut self, path: Option<&Arc<Path>>, until: Nanos) {
        self.until = if path.is_some() { until } else { Nanos::default() };
        if let Some(path) = path.filter(|path| !Arc::ptr_eq(path, &self.path)) {
            self.path = Arc::clone(path);
        }
    }
}

/// Whether what was leased by `path` is not forfeited.
#[inline]
pub(crate) fn is_current(path: &Arc<Path>) -> bool {
    path.is_current() || mutant::is("lease_outlives_its_path")
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("until", &self.until).finish_non_exhaustive()
    }
}
