//! Lock ranks: a thread takes locks in rising rank only, so no two threads can wait for each other. Debug builds panic
//! at the first lock taken out of order, whether or not that run would have deadlocked; release builds store nothing
//! and check nothing.
//!
//! ```
//! use bufferevent_sync::rank::{Rank, Ranked};
//!
//! const STRAND: Rank = Rank::new(10, "strand");
//! const SLOT: Rank = Rank::new(20, "base slot");
//!
//! let strand = Ranked::new(STRAND, 0);
//! let slot = Ranked::new(SLOT, 0);
//! let outer = strand.lock();
//! let inner = slot.lock();        // the other way round panics
//! # drop((outer, inner));
//! ```

use std::ops::{Deref, DerefMut};

use crate::{Condvar, Mutex, MutexGuard};

/// A lock's place in the order. The innermost locks, the leaves, have the highest numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    level: u8,
    name: &'static str,
}

impl Rank {
    /// Rank `level`; `name` is what a panic shows.
    #[must_use]
    pub const fn new(level: u8, name: &'static str) -> Self {
        Self { level, name }
    }
}

/// A [`Mutex`] with a [`Rank`].
#[derive(Debug)]
pub struct Ranked<T> {
    #[cfg(all(debug_assertions, not(loom)))]
    rank: Rank,
    mutex: Mutex<T>,
}

impl<T> Ranked<T> {
    /// An unlocked mutex of rank `rank`.
    pub fn new(rank: Rank, value: T) -> Self {
        #[cfg(not(all(debug_assertions, not(loom))))]
        let _ = rank;
        Self {
            #[cfg(all(debug_assertions, not(loom)))]
            rank,
            mutex: Mutex::new(value),
        }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// In debug builds, if this thread holds a lock of the same or a higher rank.
    pub fn lock(&self) -> RankedGuard<'_, T> {
        let held = held::Held::check(self);
        RankedGuard { guard: self.mutex.lock(), held }
    }

    /// Takes the lock if it is free. Never panics: who does not wait cannot deadlock.
    #[must_use]
    pub fn try_lock(&self) -> Option<RankedGuard<'_, T>> {
        let guard = self.mutex.try_lock()?;
        Some(RankedGuard { guard, held: held::Held::note(self) })
    }

    /// The value, without locking: the borrow shows that nobody else can.
    pub fn get_mut(&mut self) -> &mut T {
        self.mutex.get_mut()
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.mutex.into_inner()
    }
}

/// Holds a [`Ranked`] lock until dropped.
#[must_use]
#[derive(Debug)]
pub struct RankedGuard<'a, T> {
    guard: MutexGuard<'a, T>,
    #[expect(dead_code, reason = "kept for its drop")]
    held: held::Held,
}

impl<T> RankedGuard<'_, T> {
    /// Unlocks, waits for `condvar`, locks again. Wakes up spuriously.
    pub fn wait(&mut self, condvar: &Condvar) {
        condvar.wait(&mut self.guard);
    }
}

impl<T> Deref for RankedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for RankedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// What this thread holds. Under loom all model threads share one real thread, so nothing is checked there.
#[cfg(all(debug_assertions, not(loom)))]
mod held {
    use std::cell::RefCell;

    use super::{Rank, Ranked};

    thread_local! {
        static RANKS: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Debug)]
    pub(super) struct Held(Rank);

    impl Held {
        pub(super) fn check<T>(lock: &Ranked<T>) -> Self {
            let rank = lock.rank;
            let highest = RANKS.with_borrow(|ranks| ranks.iter().copied().max_by_key(|held| held.level));
            if let Some(held) = highest {
                assert!(held.level < rank.level, "lock order: {rank:?} asked for while {held:?} is held");
            }
            Self::note(lock)
        }

        pub(super) fn note<T>(lock: &Ranked<T>) -> Self {
            RANKS.with_borrow_mut(|ranks| ranks.push(lock.rank));
            Self(lock.rank)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            // A guard dropped while its thread-locals are torn down has nothing left to tell.
            let _ = RANKS.try_with(|ranks| {
                let mut ranks = ranks.borrow_mut();
                if let Some(at) = ranks.iter().rposition(|held| *held == self.0) {
                    ranks.remove(at);
                }
            });
        }
    }
}

#[cfg(not(all(debug_assertions, not(loom))))]
mod held {
    use super::Ranked;

    #[derive(Debug)]
    pub(super) struct Held;

    impl Held {
        pub(super) fn check<T>(_: &Ranked<T>) -> Self {
            Self
        }

        pub(super) fn note<T>(_: &Ranked<T>) -> Self {
            Self
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const OUTER: Rank = Rank::new(1, "outer");
    const LEAF: Rank = Rank::new(2, "leaf");

    #[test]
    fn rising_ranks_are_taken_and_dropped_in_any_order() {
        let (outer, leaf) = (Ranked::new(OUTER, 1), Ranked::new(LEAF, 2));
        for _ in 0..2 {
            let first = outer.lock();
            let second = leaf.lock();
            assert_eq!((*first, *second), (1, 2));
            drop(first);
            drop(second);
        }
    }

    #[test]
    fn trying_is_allowed_in_any_order() {
        let (outer, leaf) = (Ranked::new(OUTER, 1), Ranked::new(LEAF, 2));
        let second = leaf.lock();
        assert!(outer.try_lock().is_some());
        assert!(leaf.try_lock().is_none());
        drop(second);
        drop(outer.lock());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn falling_rank_panics_in_debug_builds() {
        let (outer, leaf) = (Ranked::new(OUTER, 1), Ranked::new(LEAF, 2));
        let _second = leaf.lock();
        let _first = outer.lock();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn equal_rank_panics_in_debug_builds() {
        let (one, two) = (Ranked::new(LEAF, 1), Ranked::new(LEAF, 2));
        let _first = one.lock();
        let _second = two.lock();
    }
}
