//! Where things run: which worker may run a strand, and which base gets a new connection.

use std::sync::Arc;

use crate::{base::shared::BaseShared, random::Random};

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
