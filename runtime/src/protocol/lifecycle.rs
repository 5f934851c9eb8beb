//! The end of a strand: protocol 6, close and finish.
//!
//! Anybody may ask for the end, any number of times; the runner brings it about once; any number of threads may wait
//! for it. Waiter and finisher each make an RMW and look at what it returns: whichever comes second knows of the other.
//!
//! ```text
//!   waiter                                  finisher
//!   wait_begin: RMW, sets WAITED            finish: RMW, sets FINISHED
//!     false: finished, do not wait            true: Waiter::wake
//!     true: Waiter::wait
//! ```

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Acquire};
use bufferevent_sync::{Word, mutant};

/// How far a strand is on its way out.
///
/// | bits 31..3 | bit 2  | bit 1    | bit 0   |
/// |------------|--------|----------|---------|
/// | 0          | WAITED | FINISHED | CLOSING |
///
/// * C1 One `request_close` is told that it was the first.
/// * C2 `finish` is called once.
/// * C3 A waiter that began before `finish` is woken; one that begins after does not wait. Both see what the finisher did.
pub struct Lifecycle {
    word: Word,
}

const CLOSING: u32 = 1;
const FINISHED: u32 = 1 << 1;
const WAITED: u32 = 1 << 2;

impl Lifecycle {
    /// In the middle of life.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// Asks for the end. `true` for the first to ask, who tells the runner.
    #[must_use]
    pub fn request_close(&self) -> bool {
        // ORDER: Release pairs with `is_closing`. RMW: one is the first, and a waiter stays noted. loom: lifecycle::one_close_is_the_first,
        // loom: lifecycle::close_forgets_no_waiter,
        // loom: lifecycle::close_is_seen_with_its_reason
        let old = self.word.set("life_close", CLOSING, AcqRel);
        old & CLOSING == 0
    }

    /// Whether somebody asked for the end.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        // ORDER: Acquire, pairs with `request_close`. loom: lifecycle::close_is_seen_with_its_reason
        self.word.load(mutant::ordering("life_is_closing:relaxed", Acquire)) & CLOSING != 0
    }

    /// The end has come; for the one runner that brings it about. `true`: somebody waits, wake them.
    #[must_use]
    pub fn finish(&self) -> bool {
        // ORDER: RMW, against `wait_begin`: one of the two sees the other. Release: a late waiter sees the outcome.
        // loom: lifecycle::waiter_sees_the_end
        let old = self.word.set("life_finish", FINISHED, AcqRel);
        debug_assert!(old & FINISHED == 0, "C2: finished twice");
        old & WAITED != 0
    }

    /// Registers a waiter. `true`: wait. `false`: it is finished, and the outcome is visible.
    #[must_use]
    pub fn wait_begin(&self) -> bool {
        // ORDER: Acquire pairs with `finish`, see there. loom: lifecycle::waiter_sees_the_end
        let old = self.word.set("life_wait", WAITED, AcqRel);
        old & FINISHED == 0
    }

    /// Whether the end has come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // ORDER: Acquire, pairs with `finish`. loom: lifecycle::end_is_seen_with_its_outcome
        self.word.load(mutant::ordering("life_is_finished:relaxed", Acquire)) & FINISHED != 0
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_finished(), self.is_closing()) {
            (true, _) => "finished",
            (false, true) => "closing",
            (false, false) => "alive",
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn first_close_is_told_so() {
        let life = Lifecycle::new();
        assert!(!life.is_closing());
        assert!(life.request_close());
        assert!(!life.request_close());
        assert!(life.is_closing() && !life.is_finished());
    }

    #[test]
    fn finish_knows_of_the_waiter() {
        let life = Lifecycle::new();
        assert!(life.wait_begin() && life.wait_begin());
        assert!(life.finish());
        assert!(!life.wait_begin() && life.is_finished());
    }

    #[test]
    fn nobody_waits_for_a_finish_that_was() {
        let life = Lifecycle::new();
        assert!(!life.finish());
        assert!(!life.wait_begin());
    }
}
