use std::time::Duration;

/// A moment: nanoseconds since an origin that all who share a limit agree on, and that never steps back. The last one,
/// [`NEVER`](Self::NEVER), is 584 years after it.
///
/// ```
/// use std::time::Duration;
/// use bufferevent_ratelimit::Nanos;
///
/// let start = Nanos(1_000);
/// let later = start.after(Duration::from_millis(1));
/// assert_eq!(later, Nanos(1_001_000));
/// assert_eq!((later.since(start), start.since(later)), (1_000_000, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Later than anything.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment that is `duration` later, or [`NEVER`](Self::NEVER).
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        self.plus(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How many nanoseconds `earlier` is before this; 0 if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment that is so many nanoseconds later, or never.
    pub(crate) const fn plus(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}
