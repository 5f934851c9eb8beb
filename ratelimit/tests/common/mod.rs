//! What the suites share.

#![allow(dead_code, reason = "each suite uses a part")]

use std::time::Duration;

use bufferevent_ratelimit::{Direction, Limit, Nanos, TokenBucket, TokenBucketConfig};

pub(crate) const START: Nanos = Nanos(0);
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

pub(crate) fn config(rate: u64, burst: u64, tick_ms: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, burst, rate, burst, Some(Duration::from_millis(tick_ms))).expect("valid")
}

pub(crate) fn limit(rate: u64, burst: u64, tick_ms: u64) -> Limit {
    config(rate, burst, tick_ms).limit(Direction::Read)
}

pub(crate) fn bucket(rate: u64, burst: u64, tick_ms: u64) -> TokenBucket {
    TokenBucket::new(&config(rate, burst, tick_ms), Direction::Read, START)
}

pub(crate) fn ms(millis: u64) -> Nanos {
    Nanos(millis * MS)
}

/// A small generator, the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
