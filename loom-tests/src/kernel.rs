//! Stand-ins for what the shells use, with the guarantees of the real things and no more.

use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Condvar, Mutex};

/// An eventfd registered edge-triggered and never read: a write makes one wait return, now or later.
///
/// The mutex is the kernel's; it orders a write before the wait it ends, and writers among each other, as the kernel
/// does. It orders nothing for those who do not write.
#[derive(Debug, Default)]
pub struct EventFd {
    ready: Mutex<bool>,
    condvar: Condvar,
}

impl EventFd {
    /// An eventfd nobody wrote to.
    #[must_use]
    pub fn new() -> Self {
        Self { ready: Mutex::new(false), condvar: Condvar::new() }
    }

    /// `write`.
    pub fn write(&self) {
        *self.ready.lock() = true;
        self.condvar.notify_one();
    }

    /// `epoll_wait` without a timeout. Deadlocks, which loom reports, if nobody writes.
    pub fn wait(&self) {
        let mut ready = self.ready.lock();
        while !*ready {
            self.condvar.wait(&mut ready);
        }
        *ready = false;
    }

    /// `epoll_wait` with timeout 0, by one of several who wait in the same epoll: it takes the edge if it is there.
    pub fn look(&self) {
        *self.ready.lock() = false;
    }
}

/// One edge-triggered entry of a top epoll: several events before the next look are one edge.
#[derive(Debug, Default)]
pub struct Edge(AtomicBool);

impl Edge {
    /// Nothing to tell.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// An event happened.
    pub fn raise(&self) {
        // A swap, since loom does not order a plain store against the swap in `consume`.
        self.0.swap(true, Ordering::Release);
    }

    /// `epoll_wait` with timeout 0: `true` once per edge.
    #[must_use]
    pub fn consume(&self) -> bool {
        self.0.swap(false, Ordering::Acquire)
    }
}

/// The strand's mutex, as far as the executor uses it. As in parking_lot, a `try_lock` that fails is a relaxed load,
/// which may be out of date: loom's own mutex never is, and would hide what `contend` is for.
#[derive(Debug, Default)]
pub struct TryLock(AtomicBool);

impl TryLock {
    /// Unlocked.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Takes the lock if it is free.
    #[must_use]
    pub fn try_lock(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
            && self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives it back.
    pub fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}
