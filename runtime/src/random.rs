//! Numbers at random that need not be secret.

/// A small xorshift generator: which of two bases, which victim first, what a test does next. Not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// All that it gives follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number, from 0 to below `bound`: evenly for a bound of up to 32 bits, 0 for 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as usize * bound) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_covers_its_range_evenly() {
        let mut random = Random::new(1);
        let mut seen = [0; 5];
        for _ in 0..5_000 {
            seen[random.below(5)] += 1;
        }
        assert!(seen.iter().all(|&n| (800..1_200).contains(&n)), "{seen:?}");
    }
}
