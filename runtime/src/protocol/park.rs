//! Sleeping without missing work: protocol 2, the parked word of a worker.
//!
//! ```text
//!   pusher                                   sleeper
//!   P1  publish the work                     S1  park: RMW, sets PARKED
//!   P2  notify: RMW, sets NOTIFIED           S2  recheck: is there work?
//!       true: write the wake fd              S3  no: wait for the selector, which holds the wake fd
//!                                            S4  woken: RMW, clears both, then looks for work again
//! ```
//!
//! P2 and S1 are RMWs on one word. If P2 comes first, S1 reads from it or from a later RMW, so P1 happens before S2,
//! which sees the work. If S1 comes first, P2 sees PARKED and writes the fd, or sees NOTIFIED: an earlier pusher has
//! written it, S4 comes after P2, and what holds of S1 and S2 holds of S4 and its look. The fd is never read: an edge
//! that came too late stays ready and ends the next wait at once, which is harmless.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Relaxed};
use bufferevent_sync::{Word, mutant};

/// What [`ParkWord::park`] decided.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Park {
    /// Wait in the selector, then call [`ParkWord::woken`].
    Sleep,
    /// There is work; the word says awake again.
    Stay,
}

/// Whether a worker sleeps, and whether somebody is waking it.
///
/// | bits 31..3 | bit 2  | bit 1    | bit 0  |
/// |------------|--------|----------|--------|
/// | 0          | MARKED | NOTIFIED | PARKED |
///
/// * P1 Only the worker itself writes PARKED.
/// * P2 Whoever adds NOTIFIED to PARKED writes the wake fd, once per sleep.
/// * P3 NOTIFIED without PARKED means nothing; the next `park` or `woken` clears it.
/// * P4 MARKED is set by who looks whether all sleep (protocol 12), while the worker does, and gone when it has woken.
pub struct ParkWord {
    word: Word,
}

const PARKED: u32 = 1;
const NOTIFIED: u32 = 1 << 1;
const MARKED: u32 = 1 << 2;

/// Whether the worker sleeps, and nobody is waking it.
const fn sleeps(word: u32) -> bool {
    word & (PARKED | NOTIFIED) == PARKED
}

impl ParkWord {
    /// The word of a worker that is awake.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// Tells the worker of work, *after* publishing it. `true`: write the wake fd.
    #[must_use]
    pub fn notify(&self) -> bool {
        // ORDER: Release pairs with `park`: either that sees us, and then the work, or we see PARKED.
        // loom: park::wakeup_is_never_lost
        let old = self.word.set("park_notify", NOTIFIED, AcqRel);
        sleeps(old)
    }

    /// Asks the worker for help, *after* publishing what with, if it sleeps and nobody is waking it. `true`: write the
    /// wake fd. Unlike [`notify`](Self::notify) this leaves the word of a worker that is awake as it was.
    #[must_use]
    pub fn call(&self) -> bool {
        let step = |word: u32| if sleeps(word) { word | NOTIFIED } else { word };
        if mutant::is("park_call_only_looks") && !sleeps(self.word.load(Relaxed)) {
            return false;
        }
        // ORDER: Release, as in `notify`; a write even if nothing changes, for the worker about to park.
        // loom: park::call_for_help_is_never_lost
        let old = self.word.update("park_call", AcqRel, step);
        sleeps(old)
    }

    /// Announces that the worker is about to sleep, then asks `recheck` whether there is work after all.
    pub fn park(&self, recheck: impl FnOnce() -> bool) -> Park {
        // ORDER: Acquire pairs with `notify` and `call`: if that came first, `recheck` sees the work.
        // loom: park::wakeup_is_never_lost
        let old = self.word.swap("park_announce", PARKED, AcqRel);
        debug_assert!(old & PARKED == 0, "P1: parked twice");
        if mutant::is("park_skips_recheck") || !recheck() {
            return Park::Sleep;
        }
        self.woken();
        Park::Stay
    }

    /// Announces that the worker is awake, whatever ended the wait. Look for work *after* this.
    pub fn woken(&self) {
        // ORDER: RMW: a `notify` that saw NOTIFIED, and wrote no fd, stays in the word's history. Acquire shows its work
        // to the look that follows, at the latest to the next recheck. loom: park::wakeup_of_two_is_never_lost
        let old = self.word.swap("park_woken", 0, AcqRel);
        debug_assert!(old & PARKED != 0, "P1: woken without having parked");
    }

    /// Leaves a mark on a worker that sleeps, while nobody is waking it; false if it does not. For who looks whether there
    /// is nothing left to do (protocol 12).
    #[must_use]
    pub fn mark(&self) -> bool {
        let step = |word: u32| if sleeps(word) { word | MARKED } else { word };
        // ORDER: Acquire pairs with `park`: what the worker did before it slept is seen. RMW, against `woken`: a mark
        // comes off with the sleep. loom: drain::source_that_moves_is_not_missed
        let old = self.word.update("park_mark", AcqRel, step);
        sleeps(old)
    }

    /// Whether the worker has slept ever since it was [marked](Self::mark).
    #[must_use]
    pub fn is_marked(&self) -> bool {
        // ORDER: Relaxed: who saw what the worker did when it was awake has acquired that it was.
        // loom: drain::source_that_moves_is_not_missed
        self.word.load(Relaxed) & MARKED != 0
    }

    /// Whether the worker seemed to sleep, for dumps and for choosing whom to call.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        // ORDER: Relaxed: a hint. Who must not miss a sleeper calls `notify` or `call`.
        self.word.load(Relaxed) & PARKED != 0
    }
}

impl Default for ParkWord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ParkWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_parked() { "parked" } else { "awake" })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_notification_per_sleep_writes_the_fd() {
        let word = ParkWord::new();
        assert!(!word.notify(), "awake");
        assert_eq!(word.park(|| false), Park::Sleep);
        assert!(word.notify());
        assert!(!word.notify() && !word.call());
        word.woken();
        assert!(!word.notify());
    }

    #[test]
    fn work_found_by_the_recheck_keeps_the_worker_awake() {
        let word = ParkWord::new();
        assert_eq!(word.park(|| true), Park::Stay);
        assert!(!word.is_parked() && !word.notify());
    }

    #[test]
    fn a_mark_is_gone_with_the_sleep() {
        let word = ParkWord::new();
        assert!(!word.mark() && !word.is_marked(), "awake");
        assert_eq!(word.park(|| false), Park::Sleep);
        assert!(word.mark() && word.is_marked());
        assert!(word.notify() && word.is_marked() && !word.mark());
        word.woken();
        assert!(!word.is_marked());
        assert_eq!(word.park(|| false), Park::Sleep);
        assert!(!word.is_marked());
        assert!(word.mark() && word.call() && !word.call());
    }

    #[test]
    fn call_wakes_a_sleeper_once() {
        let word = ParkWord::new();
        assert!(!word.call());
        assert_eq!(word.park(|| false), Park::Sleep);
        assert!(word.call());
        assert!(!word.call() && !word.notify());
    }
}
