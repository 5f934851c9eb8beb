//! Where a strand lives, and how it moves: protocol 10.
//!
//! A strand lives on a base, which polls for it, keeps its timer and takes the tokens that no worker's deque takes. Who
//! holds the strand's lock may move it, at any time, and nobody waits for that:
//!
//! ```text
//!   mover, holding the strand's lock          who sends something home        who waits for the end
//!   tells the new base: a message             look: the home                  asks for the end
//!   move_to: asks whether it may, new home    sends it there                  look: the home
//!   tells the old base: a message
//!   replaces the token, if there is one
//! ```
//!
//! What was sent to the old home meanwhile is no loss. A token is forwarded: whoever pops it takes the lock, reads
//! [`place`](Seat::place), and sends it on if that is not his. The old base may not pop it for long, if ever, so the mover
//! has the new base run the strand all the same ([`replace`](super::StrandWord::replace)). A message about the timer is dropped there, since the
//! mover brings the deadline along. A base that is dropped ends a strand only with its lock in hand, and only if its home
//! is a base that is gone.
//!
//! * M1 The seat changes under the strand's lock only: who holds that reads the place exactly, all others one that may be
//!   past.
//! * M2 The new home has been told before the seat changes, so what is sent to a home that was looked up arrives after.
//! * M3 Who asked for the end and then looked has seen the last home: the mover asks, under the leaf, whether it may.

use std::fmt;

use bufferevent_sync::atomic::{AtomicU64, Ordering::Relaxed};
use bufferevent_sync::{Leaf, mutant};

/// The place of a strand among all bases, and `H`, what its home is.
pub struct Seat<H> {
    place: AtomicU64,
    home: Leaf<H>,
}

impl<H> Seat<H> {
    /// At `home`, whose place is `place`.
    #[must_use]
    pub fn new(place: u64, home: H) -> Self {
        Self { place: AtomicU64::new(place), home: Leaf::new(home) }
    }

    /// The place: exact for who holds the strand's lock, a hint for all others (M1).
    #[must_use]
    #[inline]
    pub fn place(&self) -> u64 {
        // ORDER: Relaxed: the strand's lock orders it for its holder; nothing is published through it for others.
        // loom: moving::token_finds_its_strand
        self.place.load(Relaxed)
    }

    /// Looks at the home, or notes something there, under the leaf.
    pub fn look<R>(&self, look: impl FnOnce(&mut H) -> R) -> R {
        look(&mut self.home.lock())
    }

    /// Changes the home by `change`, if `may` allows it, and says what that answered. For the holder of the strand's lock,
    /// after the new home was told (M2).
    pub fn move_to<R>(
        &self,
        place: u64,
        may: impl Fn() -> bool,
        change: impl FnOnce(&mut H) -> R,
    ) -> Option<R> {
        let early = mutant::is("seat_asks_early") && may();
        let mut home = self.home.lock();
        // Under the leaf: who looked before was seen asking for the end, who looks later sees the new home (M3).
        // loom: moving::who_waits_for_the_end_knows_where
        if !(early || may()) {
            return None;
        }
        // ORDER: Relaxed; see `place`.
        self.place.store(place, Relaxed);
        Some(change(&mut home))
    }
}

impl<H> fmt::Debug for Seat<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("place", &self.place()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_move_that_may_not_be_changes_nothing() {
        let seat = Seat::new(1, "here");
        assert_eq!(seat.move_to(2, || false, |home| std::mem::replace(home, "there")), None);
        assert_eq!((seat.place(), seat.look(|home| *home)), (1, "here"));
        assert_eq!(seat.move_to(2, || true, |home| std::mem::replace(home, "there")), Some("here"));
        assert_eq!((seat.place(), seat.look(|home| *home)), (2, "there"));
    }
}
