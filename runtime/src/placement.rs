//! Where things run: which worker may run a strand, and which base gets a new connection.

use std::sync::Arc;

use crate::base::shared::BaseShared;

/// Which worker may run a strand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// Any worker: callbacks of different strands of one base may run at the same time.
    #[default]
    Any,
    /// Only on a turn of its base, one after the other with all else the base runs: libevent's rule.
    Base,
}

/// Chooses the less loaded of two bases drawn at random: within a constant of the best choice, and no base is a magnet.
pub(crate) fn choose<'a>(bases: &'a [Arc<BaseShared>], random: &mut Random) -> &'a Arc<BaseShared> {
    if bases.len() == 1 {
        return &bases[0];
    }
    let first = random.below(bases.len());
    let second = (first + 1 + random.below(bases.len() - 1)) % bases.len();
    if bases[second].load() < bases[first].load() { &bases[second] } else { &bases[first] }
}

/// A small xorshift generator: which of two bases, which victim first. Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`, which is above 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
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
