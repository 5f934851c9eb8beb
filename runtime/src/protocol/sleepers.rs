//! Waking one of several workers that sleep in one selector: protocol 2, the call through a top epoll.
//!
//! The wake fd is an edge-triggered entry of that selector, and workers that have other things to do look there too,
//! without waiting. Such a look may take the edge that was meant for a sleeper. So a call leaves a mark, which goes
//! when a sleeper returns; who looked and finds the mark writes the wake fd again.
//!
//! ```text
//!   caller                              sleeper                          looker
//!   C1  publish the work                S1  announce: RMW, counts        L1  look: may take the edge
//!   C2  call: RMW, marks if any sleep   S2  recheck: is there work?      L2  must_pass_on: write the wake fd
//!       true: write the wake fd         S3  no: wait in the selector
//!                                       S4  returned: RMW, unmarks, then looks for work
//! ```
//!
//! C2 and S1 are RMWs on one word: if C2 comes first, S2 sees the work; else C2 marks and writes. While there is a mark
//! and a sleeper, the edge waits in the selector, or is on its way there from C2 or L2. If the mark goes, its sleeper
//! looks for work after the RMW that took it, and sees what the call was for.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use bufferevent_sync::{Word, mutant};

/// How many workers sleep in a selector, and whether one of them was called.
///
/// | bit 31 | bit 30 | bits 29..0     |
/// |--------|--------|----------------|
/// | CALLED | MARKED | workers asleep |
///
/// * Z1 CALLED is set by who found a sleeper, and cleared by every sleeper that returns.
/// * Z2 A call that came before an announcement is visible to the recheck that follows it.
/// * Z3 MARKED is set by who looks whether all sleep (protocol 12), and gone as soon as one comes or goes.
pub struct Sleepers {
    word: Word,
}

const CALLED: u32 = 1 << 31;
const MARKED: u32 = 1 << 30;
const COUNT: u32 = MARKED - 1;

impl Sleepers {
    /// Nobody sleeps.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// A worker is about to sleep; it looks for work once more *after* this.
    pub fn announce(&self) {
        let step = |word: u32| match mutant::is("sleepers_announce_keeps_the_mark") {
            true => word + 1,
            false => (word & !MARKED) + 1,
        };
        // ORDER: Acquire pairs with `call` (Z2). loom: sleepers::call_reaches_a_sleeper
        let old = self.word.update("sleepers_announce", AcqRel, step);
        debug_assert!(old & COUNT != COUNT, "more sleepers than workers");
    }

    /// A worker that announced itself is awake; it looks for work *after* this.
    pub fn returned(&self) {
        let step = |word: u32| (word & COUNT) - 1;
        // ORDER: Acquire pairs with `call`: who takes the mark sees what it was for.
        // loom: sleepers::call_reaches_a_sleeper
        let old = self.word.update("sleepers_returned", AcqRel, step);
        debug_assert!(old & COUNT != 0, "awake without having slept");
    }

    /// Asks one sleeper for help, *after* publishing what with. `true`: write the wake fd.
    #[must_use]
    pub fn call(&self) -> bool {
        let step = |word: u32| if word & COUNT != 0 { word | CALLED } else { word };
        // ORDER: Release, as said above; a write even if nobody sleeps, for the worker about to.
        // loom: sleepers::call_reaches_a_sleeper
        let old = self.word.update("sleepers_call", AcqRel, step);
        old & COUNT != 0
    }

    /// For a worker that has looked into the selector without sleeping there. `true`: write the wake fd.
    #[must_use]
    pub fn must_pass_on(&self) -> bool {
        // ORDER: Relaxed: the call whose edge was taken made its RMW before it wrote, and the selector orders that before
        // the look. loom: sleepers::edge_taken_by_a_look_is_passed_on
        let word = self.word.load(Relaxed);
        word & CALLED != 0 && word & COUNT != 0 && !mutant::is("sleepers_look_keeps_the_edge")
    }

    /// Leaves a mark if at least `all` sleep and none of them was called; false if not. For who looks whether there is
    /// nothing left to do (protocol 12).
    #[must_use]
    pub fn mark(&self, all: usize) -> bool {
        let sleep = |word: u32| word & CALLED == 0 && (word & COUNT) as usize >= all;
        let step = |word: u32| if sleep(word) { word | MARKED } else { word };
        // ORDER: Acquire pairs with `announce`: what the sleepers did before is seen. RMW, against `announce` and
        // `returned`: the mark goes with who comes or goes. loom: drain::source_that_moves_between_sleepers_is_not_missed
        let old = self.word.update("sleepers_mark", AcqRel, step);
        sleep(old)
    }

    /// Whether `all` sleep, and nobody has come or gone since the [mark](Self::mark).
    #[must_use]
    pub fn is_marked(&self, all: usize) -> bool {
        // ORDER: Relaxed: who saw what a worker did when it was awake has acquired that it was.
        // loom: drain::source_that_moves_between_sleepers_is_not_missed
        let word = self.word.load(Relaxed);
        word & MARKED != 0 && (word & COUNT) as usize >= all
    }

    /// How many seemed to sleep.
    #[must_use]
    pub fn count(&self) -> usize {
        // ORDER: Acquire pairs with `announce`: what a sleeper did before is visible to who asks whether all is done.
        // loom: sleepers::who_counts_all_asleep_sees_what_they_did
        (self.word.load(mutant::ordering("sleepers_count:relaxed", Acquire)) & COUNT) as usize
    }
}

impl Default for Sleepers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sleepers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let called = self.word.load(Relaxed) & CALLED != 0;
        write!(f, "{} asleep{}", self.count(), if called { ", one called" } else { "" })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_mark_lasts_until_a_sleeper_returns() {
        let sleepers = Sleepers::new();
        assert!(!sleepers.call() && !sleepers.must_pass_on());
        sleepers.announce();
        sleepers.announce();
        assert!(!sleepers.must_pass_on());
        assert!(sleepers.call() && sleepers.must_pass_on() && sleepers.must_pass_on());
        sleepers.returned();
        assert!(!sleepers.must_pass_on());
        assert_eq!(sleepers.count(), 1);
    }

    #[test]
    fn who_looks_for_the_end_leaves_a_mark_that_goes_with_who_comes_or_goes() {
        let sleepers = Sleepers::new();
        assert!(!sleepers.mark(1) && !sleepers.is_marked(0));
        sleepers.announce();
        assert!(sleepers.mark(1) && sleepers.is_marked(1));
        assert!(!sleepers.is_marked(2) && !sleepers.mark(2), "another is awake");
        sleepers.announce();
        assert!(!sleepers.is_marked(1) && sleepers.mark(1));
        sleepers.returned();
        assert!(!sleepers.is_marked(1) && sleepers.call() && !sleepers.mark(1));
        assert_eq!(sleepers.count(), 1);
    }
}
