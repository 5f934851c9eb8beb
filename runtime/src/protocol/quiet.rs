//! When a runtime that drains has nothing left to do: protocol 12.
//!
//! Nobody counts all there is to do in one word, which every post, run and sleep would have to touch. What there is to do
//! is one of three: an object that lives on a base, a message in a base's inbox, or what a worker that is awake has in its
//! hands. A worker that is idle looks for all three, while the others may wake, hand things from base to base and sleep
//! again behind its back:
//!
//! ```text
//!   looker                                        another worker
//!   L1  mark all others: they sleep               W1  wakes: RMW on its word, which wipes the mark off
//!   L2  look at each base: nobody lives there,    W2  takes a message out, ends or moves an object: RMW on the
//!       and there is no message                       word of the base that loses it, Release
//!   L3  are all the marks still there?            W3  posts it, or counts it where it goes; sleeps again
//! ```
//!
//! Say that L2 missed something: it looked where it went before that came, and where it came from after it had left. Then
//! L2 has read what W2 wrote, so W1 happens before L3, which finds no mark: W1 is the only way to lose one, and nothing
//! but another look puts one back. That would be the look of a worker that woke after L1, and of all that did, the last
//! to sleep has nobody left to mark it. What was there before L1 and stays is seen: L1 acquires what the sleepers did
//! before they slept. An object that other threads move is counted where it goes before it is sent there, and leaves by
//! a message, which a worker takes out.
//!
//! * N1 An object is counted on a base for as long as anything of it is left there, and on its new base before that.
//! * N2 What a worker has in its hands it took by an RMW on the word of the base it was taken from.
//! * N3 Who sleeps has nothing in its hands, and its word says so with what it did before.
//!
//! What other threads bring while the looker looks comes too late, as what they bring a moment later.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use bufferevent_sync::{Word, mutant};

/// How many objects live on a base.
pub struct Population {
    word: Word,
}

impl Population {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// One more; answers how many there are now.
    pub fn enter(&self) -> usize {
        // ORDER: RMW: the count is exact. loom: drain::count_is_exact
        let old = self.word.add("population_enter", 1, AcqRel);
        debug_assert!(old != u32::MAX, "more objects than keys");
        old as usize + 1
    }

    /// One has ended, or has gone to another base, which counts it by now (N1).
    pub fn leave(&self) {
        // ORDER: Release pairs with `is_empty`: who misses it here sees its worker awake (N2).
        // loom: drain::source_that_moves_is_not_missed
        let old = self.word.sub("population_leave", 1, AcqRel);
        debug_assert!(old != 0, "one that was not counted has left");
    }

    /// How many there seem to be: a load figure.
    #[must_use]
    pub fn len(&self) -> usize {
        // ORDER: Relaxed: nothing follows from it.
        self.word.load(Relaxed) as usize
    }

    /// Whether there is none, for [`is_quiet`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // ORDER: Acquire, pairs with `leave`, see there. loom: drain::source_that_moves_is_not_missed
        self.word.load(mutant::ordering("population_is_empty:relaxed", Acquire)) == 0
    }
}

impl Default for Population {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.len())
    }
}

/// Whether there was a moment at which there was nothing to do. For a worker that has nothing in its hands.
///
/// * `mark` marks the words of all other workers, if all sleep.
/// * `is_empty` looks at each base: at its [`Population`] and its [`Inbox`](super::Inbox).
/// * `is_marked` says whether all marks are still there.
#[must_use]
pub fn is_quiet(
    mark: impl FnOnce() -> bool,
    is_empty: impl FnOnce() -> bool,
    is_marked: impl FnOnce() -> bool,
) -> bool {
    mark() && is_empty() && (mutant::is("quiet_looks_once") || is_marked())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_is_quiet_if_all_slept_all_the_time_and_nothing_was_there() {
        for number in 0..8 {
            let [asleep, empty, still] = [1, 2, 4].map(|bit| number & bit != 0);
            assert_eq!(is_quiet(|| asleep, || empty, || still), number == 7);
        }
    }

    #[test]
    fn who_enters_counts_until_it_leaves() {
        let population = Population::new();
        assert_eq!((population.enter(), population.enter()), (1, 2));
        population.leave();
        assert!(!population.is_empty() && population.len() == 1);
        population.leave();
        assert!(population.is_empty());
    }
}
