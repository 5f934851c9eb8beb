//! Leaf locks: under one of them no other lock is waited for. Debug builds panic where that is tried, whether or not that
//! run would have deadlocked; release builds store nothing and check nothing.

use std::ops::{Deref, DerefMut};

use crate::{Mutex, MutexGuard};

/// A [`Mutex`] that is the innermost: whoever holds it waits for no other.
///
/// ```should_panic
/// use bufferevent_sync::Leaf;
///
/// let (one, other) = (Leaf::new(1), Leaf::new(2));
/// let held = one.lock();
/// let _ = other.lock(); // in debug builds
/// # drop(held);
/// # if !cfg!(debug_assertions) { panic!("release builds do not check") }
/// ```
#[derive(Debug, Default)]
pub struct Leaf<T> {
    mutex: Mutex<T>,
}

impl<T> Leaf<T> {
    /// An unlocked leaf.
    pub fn new(value: T) -> Self {
        Self { mutex: Mutex::new(value) }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// In debug builds, if this thread holds a leaf.
    #[inline]
    pub fn lock(&self) -> LeafGuard<'_, T> {
        check_no_leaf_held();
        LeafGuard { guard: self.mutex.lock(), _held: Held::new() }
    }

    /// Takes the lock if it is free. Never panics: who does not wait cannot deadlock.
    #[must_use]
    pub fn try_lock(&self) -> Option<LeafGuard<'_, T>> {
        Some(LeafGuard { guard: self.mutex.try_lock()?, _held: Held::new() })
    }
}

/// Holds a [`Leaf`] until dropped.
#[must_use]
#[derive(Debug)]
pub struct LeafGuard<'a, T> {
    guard: MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for LeafGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for LeafGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// For who is about to wait for a lock of any kind.
///
/// # Panics
/// In debug builds, if this thread holds a leaf.
#[inline]
pub fn check_no_leaf_held() {
    debug_assert!(!held::any(), "lock order: a lock is waited for under a leaf");
}

/// One leaf that this thread holds.
#[derive(Debug)]
struct Held(());

impl Held {
    #[inline]
    fn new() -> Self {
        held::add(1);
        Self(())
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        held::add(-1);
    }
}

/// How many leaves this thread holds.
#[cfg(all(debug_assertions, not(loom)))]
mod held {
    use std::cell::Cell;

    std::thread_local! {
        static HELD: Cell<isize> = const { Cell::new(0) };
    }

    pub(super) fn add(count: isize) {
        HELD.with(|held| held.set(held.get() + count));
    }

    pub(super) fn any() -> bool {
        HELD.with(|held| held.get() > 0)
    }
}

/// Under loom all model threads share one real thread, and release builds do not check.
#[cfg(not(all(debug_assertions, not(loom))))]
mod held {
    #[inline]
    pub(super) fn add(_: isize) {}

    #[inline]
    pub(super) fn any() -> bool {
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn leaves_may_follow_each_other_and_be_tried() {
        let (one, other) = (Leaf::new(1), Leaf::new(2));
        *one.lock() += 1;
        let held = other.lock();
        assert_eq!(one.try_lock().as_deref(), Some(&2));
        assert!(other.try_lock().is_none());
        drop(held);
        assert_eq!(*one.lock(), 2);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn a_leaf_under_a_leaf_panics_in_debug_builds() {
        let (one, other) = (Leaf::new(1), Leaf::new(2));
        let _held = one.lock();
        let _never = other.lock();
    }
}
