//! Who polls a base that sits edge-triggered in a top epoll: protocol 2, the base word.
//!
//! An edge is told once, to whichever worker waits in the top epoll. If that worker finds the base held, the edge must
//! not be forgotten: it may stand for an event that arrived after the holder's last poll. So the worker leaves AGAIN
//! behind, and the holder, which can release only from HELD, polls once more.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Relaxed};
use bufferevent_sync::{Word, mutant};

/// What the holder owes after [`BaseWord::release`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Nothing; the base is anyone's.
    Freed,
    /// Poll the base again, then release again: it is still held.
    PollAgain,
}

/// Whether a base is held.
///
/// | value | state | edge consumed by another | holder releases  |
/// |-------|-------|--------------------------|------------------|
/// | 0     | FREE  | HELD, by that one        |                  |
/// | 1     | HELD  | AGAIN                    | FREE             |
/// | 2     | AGAIN | AGAIN                    | HELD, polls again |
///
/// * B1 At most one holder: only FREE becomes the caller's.
/// * B2 An edge consumed while the base is held leads to a poll after it.
pub struct BaseWord {
    word: Word,
}

const FREE: u32 = 0;
const HELD: u32 = 1;
const AGAIN: u32 = 2;

impl BaseWord {
    /// A free base.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(FREE) }
    }

    /// A base held by its maker, who polls it before the first release.
    #[must_use]
    pub fn held() -> Self {
        Self { word: Word::new(HELD) }
    }

    /// Takes the base, for whoever consumed an edge of it or wants it for another reason. `true`: it is the caller's,
    /// poll it. `false`: its holder will poll it again.
    #[must_use]
    pub fn try_hold(&self) -> bool {
        let step = |word: u32| match word {
            FREE => HELD,
            _ if mutant::is("base_hold_leaves_no_trace") => word,
            _ => AGAIN,
        };
        // ORDER: AcqRel. Acquire pairs with `release`: the new holder sees what the last one did. Release pairs with it
        // too: the second poll sees the event behind the edge. loom: base_word::edge_is_never_lost
        self.word.update("base_hold", AcqRel, step) == FREE
    }

    /// Gives the base up, for its holder, who has polled it since it got it.
    pub fn release(&self) -> Release {
        let step = |word: u32| match word {
            AGAIN if !mutant::is("base_release_frees_again") => HELD,
            _ => FREE,
        };
        // ORDER: AcqRel, pairs with `try_hold` both ways, see there. loom: base_word::base_has_one_holder
        let old = self.word.update("base_release", AcqRel, step);
        debug_assert!(old != FREE, "B1: release of a free base");
        if old == HELD { Release::Freed } else { Release::PollAgain }
    }

    /// Whether the base seemed free, for dumps and for choosing where to look.
    #[must_use]
    pub fn is_free(&self) -> bool {
        // ORDER: Relaxed: a hint; `try_hold` decides.
        self.word.load(Relaxed) == FREE
    }
}

impl Default for BaseWord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BaseWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.word.load(Relaxed) {
            FREE => "FREE",
            HELD => "HELD",
            _ => "AGAIN",
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn edge_of_a_held_base_makes_its_holder_poll_again() {
        let base = BaseWord::new();
        assert!(base.try_hold());
        assert!(!base.try_hold() && !base.try_hold());
        assert_eq!(base.release(), Release::PollAgain);
        assert!(!base.is_free());
        assert_eq!(base.release(), Release::Freed);
        assert!(base.try_hold());
    }

    #[test]
    fn base_may_start_held() {
        let base = BaseWord::held();
        assert!(!base.try_hold());
        assert_eq!(format!("{base:?}"), "AGAIN");
    }
}
