//! The lock of a strand in the hands of a user.

use std::{
    cell::Cell,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use bufferevent_sync::{MutexGuard, check_no_leaf_held};

use super::{AnyStrand, Body, Seating, Strand, enqueue};
use crate::{
    error::{Error, Result},
    protocol::Reasons,
};

std::thread_local! {
    /// Strands this thread holds. The rule "one at a time" is what keeps two threads from waiting for each other.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Counts one held strand for as long as it lives.
pub(super) struct Holding(());

pub(super) fn enter_held() -> Holding {
    HELD.with(|held| held.set(held.get() + 1));
    Holding(())
}

impl Drop for Holding {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() - 1));
    }
}

/// Whether the calling thread holds a strand, so that locking one could deadlock.
pub fn holds_strand() -> bool {
    HELD.with(|held| held.get() > 0)
}

/// Exclusive access to a strand's body, from any thread. Dropping it unlocks, and enqueues what it held up.
pub struct StrandGuard<'a, B: Body> {
    strand: &'a Arc<Strand<B>>,
    /// `None` only while dropping.
    locked: Option<(MutexGuard<'a, B>, Holding)>,
    post: Reasons,
}

impl<B: Body> Strand<B> {
    /// Locks the strand, waiting for the callback that may be running in it.
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`] if this thread already holds a strand, this one included.
    pub fn lock(self: &Arc<Self>) -> Result<StrandGuard<'_, B>> {
        check_no_leaf_held();
        if holds_strand() {
            return Err(Error::WouldDeadlock);
        }
        Ok(StrandGuard::new(self, self.body.lock()))
    }

    /// Locks the strand unless somebody holds it. Never waits, so it is allowed anywhere.
    pub fn try_lock(self: &Arc<Self>) -> Option<StrandGuard<'_, B>> {
        Some(StrandGuard::new(self, self.body.try_lock()?))
    }
}

/// Locks two different strands, in the order of their addresses.
///
/// # Errors
/// [`Error::WouldDeadlock`] if this thread already holds a strand, or if `a` and `b` are the same.
pub fn lock_both<'a, B: Body>(
    a: &'a Arc<Strand<B>>,
    b: &'a Arc<Strand<B>>,
) -> Result<(StrandGuard<'a, B>, StrandGuard<'a, B>)> {
    check_no_leaf_held();
    if holds_strand() || Arc::ptr_eq(a, b) {
        return Err(Error::WouldDeadlock);
    }
    let swapped = Arc::as_ptr(a) > Arc::as_ptr(b);
    let (first, second) = if swapped { (b, a) } else { (a, b) };
    let first = StrandGuard::new(first, first.body.lock());
    let second = StrandGuard::new(second, second.body.lock());
    Ok(if swapped { (second, first) } else { (first, second) })
}

impl<'a, B: Body> StrandGuard<'a, B> {
    fn new(strand: &'a Arc<Strand<B>>, guard: MutexGuard<'a, B>) -> Self {
        Self { strand, locked: Some((guard, enter_held())), post: Reasons::EMPTY }
    }

    /// The strand itself.
    pub fn strand(&self) -> &'a Arc<Strand<B>> {
        self.strand
    }

    /// The body, and the right to move the strand.
    ///
    /// # Panics
    /// Never: the lock is held until the guard drops.
    pub fn seating(&mut self) -> (&mut B, Seating<'_, B>) {
        let strand = self.strand;
        (&mut **self, Seating::of(strand))
    }

    /// Posts `reasons` when the guard drops, so that the strand runs once the lock is free.
    pub fn post_on_drop(&mut self, reasons: Reasons) {
        self.post |= reasons;
    }
}

impl<B: Body> Deref for StrandGuard<'_, B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.locked.as_ref().expect("locked until dropped").0
    }
}

impl<B: Body> DerefMut for StrandGuard<'_, B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.locked.as_mut().expect("locked until dropped").0
    }
}

impl<B: Body> Drop for StrandGuard<'_, B> {
    fn drop(&mut self) {
        // Unlock first, then tell the word: a runner that fails to lock after that has set its mark before, and is seen.
        self.locked = None;
        if self.strand.word.release(self.post) {
            enqueue(Arc::clone(self.strand) as Arc<dyn AnyStrand>);
        }
    }
}

impl<B: Body> fmt::Debug for StrandGuard<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrandGuard").field("strand", self.strand).finish_non_exhaustive()
    }
}
