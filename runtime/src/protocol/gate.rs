//! Stopping a base whose callbacks run on several workers: protocol 3, the gate.
//!
//! Every callback passes the gate. The running count and the BROKEN bit are one word, so entering and breaking are
//! ordered: an `enter` before the break is in the count that `break_now` returns, an `enter` after it is refused.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Acquire};
use bufferevent_sync::{Word, mutant};

/// The gate of one base.
///
/// | bit 31 | bit 30  | bits 29..0               |
/// |--------|---------|--------------------------|
/// | BROKEN | EXITING | callbacks running inside |
///
/// * G1 After `break_now` returned no callback starts until `resume`.
/// * G2 Every successful `enter` is followed by one `leave`.
/// * G3 Who reads that nothing runs inside sees what all the callbacks did.
pub struct Gate {
    word: Word,
}

const BROKEN: u32 = 1 << 31;
const EXITING: u32 = 1 << 30;
const COUNT: u32 = EXITING - 1;

impl Gate {
    /// An open gate with nobody inside.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// Asks to start a callback. `true`: start it, then [`leave`](Self::leave). `false`: the base is broken; keep the
    /// callback for the time after [`resume`](Self::resume).
    #[must_use]
    pub fn enter(&self) -> bool {
        let step = |word: u32| match word & BROKEN == 0 || mutant::is("gate_enter_ignores_break") {
            true => word + 1,
            false => word,
        };
        // ORDER: Acquire pairs with `resume` and `break_now`: the callback, or who was refused, sees what their caller
        // did. loom: gate::resumed_callback_sees_the_pause, gate::refused_callback_sees_the_reason
        let old = self.word.update("gate_enter", AcqRel, step);
        debug_assert!(old & COUNT != COUNT, "G2: more enters than leaves");
        old & BROKEN == 0 || mutant::is("gate_enter_ignores_break")
    }

    /// The callback returned.
    pub fn leave(&self) {
        // ORDER: Release pairs with `break_now` and `running` (G3). loom: gate::nothing_starts_after_break
        let old = self.word.sub("gate_leave", 1, AcqRel);
        debug_assert!(old & COUNT != 0, "G2: more leaves than enters");
    }

    /// Stops the base: no callback starts any more. Returns how many are still inside, the caller's own included.
    pub fn break_now(&self) -> u32 {
        // ORDER: AcqRel. Acquire pairs with `leave` (G3). loom: gate::nothing_starts_after_break. Release pairs with a
        // refused `enter` and with `is_broken`. loom: gate::refused_callback_sees_the_reason
        let old = self.word.set("gate_break", BROKEN, AcqRel);
        old & COUNT
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

    /// Opens the gate again: neither broken nor exiting.
    pub fn resume(&self) {
        // ORDER: RMW, against `leave`: the count survives. loom: gate::resume_disturbs_nobody_inside. Release pairs with
        // `enter`. loom: gate::resumed_callback_sees_the_pause
        let _ = self.word.clear("gate_resume", BROKEN | EXITING, AcqRel);
    }

    /// Whether the base is to stop at once. `enter` knows better.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        // ORDER: Acquire, pairs with `break_now`. loom: gate::exit_is_seen_with_its_reason
        self.word.load(mutant::ordering("gate_is_broken:relaxed", Acquire)) & BROKEN != 0
    }

    /// Whether the base is to stop after what is ready now.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        // ORDER: Acquire, pairs with `exit`. loom: gate::exit_is_seen_with_its_reason
        self.word.load(mutant::ordering("gate_is_exiting:relaxed", Acquire)) & EXITING != 0
    }

    /// How many callbacks are inside. After a break this only falls; at zero, everything they did is visible.
    #[must_use]
    pub fn running(&self) -> u32 {
        // ORDER: Acquire, pairs with `leave` (G3). loom: gate::empty_gate_shows_what_was_done
        self.word.load(mutant::ordering("gate_running:relaxed", Acquire)) & COUNT
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
            .field("running", &self.running())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn broken_gate_lets_out_but_not_in() {
        let gate = Gate::new();
        assert!(gate.enter() && gate.enter());
        assert_eq!(gate.break_now(), 2);
        assert!(!gate.enter() && gate.is_broken());
        gate.leave();
        assert_eq!(gate.running(), 1);
        gate.leave();
        assert_eq!(gate.break_now(), 0);
        gate.resume();
        assert!(gate.enter() && !gate.is_broken());
    }

    #[test]
    fn exiting_gate_still_lets_in() {
        let gate = Gate::new();
        gate.exit();
        assert!(gate.is_exiting() && gate.enter());
        gate.resume();
        assert!(!gate.is_exiting());
        assert_eq!(gate.running(), 1);
    }
}
