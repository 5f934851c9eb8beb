use std::fmt;

use crate::Nanos;
use crate::half::Half;

/// Who waits for its turn in a group: how to run it, and how the base it lives on sets an alarm. This is all that a group
/// needs to know of threads and timers. See [`Group`](crate::Group) for an example.
pub trait Waiter: Sized + Send + 'static {
    /// Where a waiter lives: something with a timer. It may be the last handle of it that a group drops; no lock is held
    /// then.
    type Base: Clone + Eq + Send + 'static;

    /// Where this one lives.
    /// # Locks
    /// May be called under the group's leaf lock: it takes none.
    fn base(&self) -> Self::Base;

    /// It has been served, or the group was dissolved: has it run soon and [take](crate::Member::take) again. Never called
    /// under a lock of the group, and from any thread.
    fn wake(self);

    /// Has [`Bell::ring`] called on `base` at `at`, or as soon after it as can be. Of several alarms of the same base and
    /// bell the earliest counts, and the others need not ring. Never called under a lock of the group, and from any thread.
    fn alarm(base: &Self::Base, bell: &Bell<Self>, at: Nanos);
}

/// What an alarm rings: one direction of one tree of groups. It keeps no group from being dissolved; once it is, ringing
/// does nothing.
pub struct Bell<W: Waiter> {
    pub(crate) half: Half<W>,
}

impl<W: Waiter> Bell<W> {
    /// The time has come: serves all who can be, on whatever base they live. Gives the time of the base's next alarm,
    /// `None` while nobody waits on it; for this one alarm [`Waiter::alarm`] is not called.
    pub fn ring(&self, base: &W::Base, now: Nanos) -> Option<Nanos> {
        self.half.ring(base, now)
    }
}

impl<W: Waiter> Clone for Bell<W> {
    fn clone(&self) -> Self {
        Self { half: self.half.clone() }
    }
}

/// The same direction of the same tree.
impl<W: Waiter> PartialEq for Bell<W> {
    fn eq(&self, other: &Self) -> bool {
        self.half == other.half
    }
}

impl<W: Waiter> Eq for Bell<W> {}

impl<W: Waiter> fmt::Debug for Bell<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}
