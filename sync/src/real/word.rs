use std::fmt;

use super::atomic::{AtomicU32, Ordering};

/// An `AtomicU32` that is written by read-modify-writes only, so that all writes stand in one order and each sees the
/// one before it. Every write names its `site`: under loom the word can misbehave there on request, see
/// [`mutant`](crate::mutant); here the name is not even passed.
pub struct Word(AtomicU32);

impl Word {
    /// A word of value `value`.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    /// The value, without a write: stale at once, for diagnostics and for what the caller argues at the call.
    #[inline]
    #[must_use]
    pub fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    /// Replaces the value; gives the old one.
    #[inline(always)]
    pub fn swap(&self, _site: &'static str, value: u32, order: Ordering) -> u32 {
        self.0.swap(value, order)
    }

    /// Sets the bits `bits`; gives the old value.
    #[inline(always)]
    pub fn set(&self, _site: &'static str, bits: u32, order: Ordering) -> u32 {
        self.0.fetch_or(bits, order)
    }

    /// Clears the bits `bits`; gives the old value.
    #[inline(always)]
    pub fn clear(&self, _site: &'static str, bits: u32, order: Ordering) -> u32 {
        self.0.fetch_and(!bits, order)
    }

    /// Adds `count`, wrapping; gives the old value.
    #[inline(always)]
    pub fn add(&self, _site: &'static str, count: u32, order: Ordering) -> u32 {
        self.0.fetch_add(count, order)
    }

    /// Subtracts `count`, wrapping; gives the old value.
    #[inline(always)]
    pub fn sub(&self, _site: &'static str, count: u32, order: Ordering) -> u32 {
        self.0.fetch_sub(count, order)
    }

    /// Replaces the value `v` by `step(v)`; gives the old one. Writes even where `step` changes nothing: an
    /// announcement is a write. `step` may be called more than once.
    #[inline(always)]
    pub fn update(&self, _site: &'static str, order: Ordering, step: impl Fn(u32) -> u32) -> u32 {
        // ORDER: Relaxed where it fails: a wrong guess is discarded.
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            match self.0.compare_exchange_weak(old, step(old), order, Ordering::Relaxed) {
                Ok(_) => return old,
                Err(now) => old = now,
            }
        }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.load(Ordering::Relaxed))
    }
}
