//! Where things run: which worker may run a strand, and which base gets a new connection.

use std::sync::Arc;

use crate::{base::shared::BaseShared, builder::MOST, lane::PoolId, random::Random};

/// Which base among all: its pool and its number there, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u64);

const INDEX_BITS: u32 = MOST.trailing_zeros();
const _: () = assert!(MOST.is_power_of_two(), "the number of a base has bits of its own");

impl Place {
    pub(crate) fn new(pool: PoolId, index: usize) -> Self {
        Self(pool.0 << INDEX_BITS | index as u64)
    }

    pub(crate) fn of_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    pub(crate) fn pool(self) -> PoolId {
        PoolId(self.0 >> INDEX_BITS)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize % MOST
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_pool_and_number_apart() {
        let place = Place::new(PoolId(7), MOST - 1);
        assert_eq!((place.pool(), place.index()), (PoolId(7), MOST - 1));
        assert_eq!(Place::of_word(place.word()), place);
    }
}
