//! Stopping a base whose callbacks run on several workers: protocol 3, the gate.
//!
//! Whoever is about to start a callback looks at the gate. Nobody waits for the callbacks inside, so nobody counts them: a look
//! is a load, and only who stops or resumes the base writes.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Acquire};
use bufferevent_sync::{Word, mutant};

/// The gate of one base.
///
/// | bit 1  | bit 0   |
/// |--------|---------|
/// | BROKEN | EXITING |
///
/// * G1 After `break_now` returned no callback starts until `resume`; one whose runner had looked by then is running.
pub struct Gate {
    word: Word,
}

const BROKEN: u32 = 1 << 1;
const EXITING: u32 = 1 << 0;

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// Stops the base: no callback starts any more.
    pub fn break_now(&self) {
        // ORDER: Release pairs with `is_broken`: who is refused sees why. loom: gate::refused_callback_sees_the_reason
        let _ = self.word.set("gate_break", BROKEN, AcqRel);
    }

    /// Asks the base to stop after what is ready now. Callbacks still start; the loop looks with
    /// [`is_exiting`](Self::is_exiting).
    pub fn exit(&self) {
        // ORDER: Release pairs with `is_exiting`. loom: gate::exit_is_seen_with_its_reason
        let _ = self.word.set("gate_exit", EXITING, AcqRel);
    }

    /// Stops the base, if it was asked to exit and that was not taken back meanwhile: after what was ready has run.
    pub fn rest(&self) {
        let step = |word: u32| if word & EXITING != 0 { word | BROKEN } else { word };
        // ORDER: RMW, against `resume`: it finds the base at rest and wakes it, or leaves no exit to rest for.
        // loom: gate::resume_ends_every_rest
        let _ = self.word.update("gate_rest", AcqRel, step);
    }

    /// Opens the gate again: neither broken nor exiting. Answers whether it was one of them: then who held something back is
    /// to look again.
    pub fn resume(&self) -> bool {
        // ORDER: Release pairs with `is_broken`: what starts now sees the pause. loom: gate::resumed_callback_sees_the_pause.
        // RMW: of several that resume one has done it. loom: gate::one_of_two_resumes_opens_the_gate
        self.word.clear("gate_resume", BROKEN | EXITING, AcqRel) != 0
    }

    /// Whether no callback may start: keep it for the time after [`resume`](Self::resume).
    #[must_use]
    pub fn is_broken(&self) -> bool {
        // ORDER: Acquire, pairs with `break_now` and `resume`. loom: gate::refused_callback_sees_the_reason,
        // gate::resumed_callback_sees_the_pause
        let word = self.word.load(mutant::ordering("gate_is_broken:relaxed", Acquire));
        word & BROKEN != 0 && !mutant::is("gate_ignores_break")
    }

    /// Whether the base is to stop after what is ready now.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        // ORDER: Acquire, pairs with `exit`. loom: gate::exit_is_seen_with_its_reason
        self.word.load(mutant::ordering("gate_is_exiting:relaxed", Acquire)) & EXITING != 0
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("broken", &self.is_broken())
            .field("exiting", &self.is_exiting())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn broken_gate_is_shut_until_it_is_resumed() {
        let gate = Gate::new();
        assert!(!gate.is_broken());
        gate.break_now();
        assert!(gate.is_broken() && gate.resume());
        assert!(!gate.is_broken() && !gate.resume());
    }

    #[test]
    fn exiting_gate_is_open_until_the_base_rests() {
        let gate = Gate::new();
        gate.rest();
        gate.exit();
        assert!(gate.is_exiting() && !gate.is_broken());
        gate.rest();
        assert!(gate.is_broken() && gate.resume());
        assert!(!gate.is_exiting());
    }
}
