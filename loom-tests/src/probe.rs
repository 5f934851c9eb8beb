//! What a model observes with.

#![allow(clippy::disallowed_types, reason = "bookkeeping that loom must not see, or it would add edges")]

use std::sync::atomic::{AtomicU32, Ordering};

use bufferevent_sync::UnsafeCell;

/// A piece of data that the protocol under test must keep apart: loom reports two accesses, one of them a write, that
/// neither happens before the other.
#[derive(Debug)]
pub struct Exclusive(UnsafeCell<()>);

// SAFETY: the content is `()`, so there is nothing to race for; loom runs the threads of a model as coroutines of one
// thread and keeps the record of accesses, which is what this type is for, on its own side.
#[allow(unsafe_code, reason = "a race detector must be shared to detect a race")]
unsafe impl Sync for Exclusive {}

impl Exclusive {
    /// Untouched data.
    #[must_use]
    pub fn new() -> Self {
        Self(UnsafeCell::new(()))
    }

    /// Writes.
    #[track_caller]
    pub fn write(&self) {
        self.0.with_mut(|_| ());
    }

    /// Reads.
    #[track_caller]
    pub fn read(&self) {
        self.0.with(|_| ());
    }
}

impl Default for Exclusive {
    fn default() -> Self {
        Self::new()
    }
}

/// A count that loom does not see.
#[derive(Debug, Default)]
pub struct Tally(AtomicU32);

impl Tally {
    /// Zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Adds `count`; gives the new sum.
    pub fn add(&self, count: u32) -> u32 {
        self.0.fetch_add(count, Ordering::Relaxed) + count
    }

    /// Adds the bits `bits`.
    pub fn set(&self, bits: u32) {
        self.0.fetch_or(bits, Ordering::Relaxed);
    }

    /// The sum, or the bits.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
