//! Calling who may move: a bell that any thread rings, and that hangs where its owner lives.
//!
//! ```text
//!   ringer                                  owner
//!   makes the news                          moves: hangs it at the new place, then runs there for the first time
//!   ring: noted, and the place looked up      was_rung: looks at the news, wherever it was rung
//!   wakes who lives there
//! ```
//!
//! Whether it was rung and where it hangs are changed as one, under a leaf. A ring before the move wakes nobody who is there any more:
//! it is seen by the first run at the new place. One after the move finds that.

use std::mem;

use bufferevent_sync::{Leaf, mutant};

/// Hangs at a `P`, or nowhere.
///
/// * B1 No ring is lost: it is noted before it looks for the place, and who lives at another place has that noted before the
///   run that comes there looks for a ring.
/// * B2 Rings until the next look are one.
/// * B3 What was taken down keeps no place alive.
#[derive(Debug)]
pub struct Bell<P> {
    synced: Leaf<Synced<P>>,
}

#[derive(Debug)]
struct Synced<P> {
    rung: bool,
    place: Option<P>,
}

impl<P: Clone> Bell<P> {
    /// One that hangs nowhere.
    #[must_use]
    pub fn new() -> Self {
        Self { synced: Leaf::new(Synced { rung: false, place: None }) }
    }

    /// Rings it: who is to be woken where.
    #[must_use = "who lives there must be woken"]
    pub fn ring(&self) -> Option<P> {
        let early = if mutant::is("bell_looks_before_it_rings") { Some(self.place()) } else { None };
        let mut synced = self.synced.lock();
        let before = mem::replace(&mut synced.rung, true);
        if before && !mutant::is("bell_rings_each_time") {
            return None;
        }
        early.unwrap_or_else(|| synced.place.clone())
    }

    /// It hangs there from now on, or nowhere. What was rung before is seen by the next look.
    pub fn hang_at(&self, place: Option<P>) {
        let mut synced = self.synced.lock();
        if mutant::is("bell_forgets_in_a_move") {
            synced.rung = false;
        }
        let keeps = place.is_none() && mutant::is("bell_keeps_its_place");
        let before = if keeps { None } else { mem::replace(&mut synced.place, place) };
        drop(synced);
        // It may be the last of what it leads to.
        drop(before);
    }

    /// Whether it was rung since the last look.
    pub fn was_rung(&self) -> bool {
        mem::take(&mut self.synced.lock().rung)
    }

    fn place(&self) -> Option<P> {
        self.synced.lock().place.clone()
    }
}

impl<P: Clone> Default for Bell<P> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_noted_wherever_it_hangs_and_rings_until_the_look_are_one() {
        let bell = Bell::new();
        assert_eq!(bell.ring(), None);
        bell.hang_at(Some("here"));
        assert_eq!(bell.ring(), None, "it was rung, and nobody has looked");
        assert!(bell.was_rung() && !bell.was_rung());
        assert_eq!((bell.ring(), bell.ring()), (Some("here"), None));
        bell.hang_at(Some("there"));
        assert!(bell.was_rung(), "who has moved sees it");
        bell.hang_at(None);
        assert_eq!(bell.ring(), None);
    }
}
