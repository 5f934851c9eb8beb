use std::fmt;

use crate::atomic::{AtomicU64, Ordering};

/// A statistic with one writer and any number of readers. Counting is a load and a store: no locked instruction, and
/// a reader costs the writer nothing but the cache line.
///
/// * K1 At most one thread writes at a time; ownership may move if the hand-over synchronizes (a base is held by one
///   worker after the other). Two concurrent writers lose counts, nothing worse.
/// * K2 Readers see some value the counter had; the values of two counters belong to no common moment.
///
/// Counters of one writer belong side by side, away from what other threads write
/// ([`CachePadded`](crate::CachePadded)).
#[derive(Default)]
pub struct Counter {
    value: AtomicU64,
}

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self { value: AtomicU64::new(0) }
    }

    /// Adds `count`, wrapping. For the one writer (K1).
    #[inline]
    pub fn add(&self, count: u64) {
        // ORDER: Relaxed: the value publishes nothing (K2), and nobody else writes (K1).
        let value = self.value.load(Ordering::Relaxed);
        self.value.store(value.wrapping_add(count), Ordering::Relaxed);
    }

    /// Adds one. For the one writer (K1).
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Replaces the value, for gauges such as a queue's depth. For the one writer (K1).
    #[inline]
    pub fn set(&self, value: u64) {
        // ORDER: Relaxed, as in `add`.
        self.value.store(value, Ordering::Relaxed);
    }

    /// A recent value, from any thread.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        // ORDER: Relaxed, as in `add`.
        self.value.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A statistic with any number of writers: counting is one locked instruction.
#[derive(Default)]
pub struct SharedCounter {
    value: AtomicU64,
}

impl SharedCounter {
    /// Adds `count`, wrapping. From any thread.
    #[inline]
    pub fn add(&self, count: u64) {
        // ORDER: Relaxed: the value publishes nothing.
        self.value.fetch_add(count, Ordering::Relaxed);
    }

    /// A recent value, from any thread.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        // ORDER: Relaxed, as in `add`.
        self.value.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for SharedCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn shared_counter_loses_no_count() {
        let counter = SharedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| counter.add(1)));
            }
        });
        assert_eq!(counter.get(), 4_000);
    }

    #[test]
    fn counter_counts_and_wraps() {
        let counter = Counter::new();
        counter.increment();
        counter.add(41);
        assert_eq!(counter.get(), 42);
        counter.set(u64::MAX);
        counter.increment();
        assert_eq!(counter.get(), 0);
    }
}
