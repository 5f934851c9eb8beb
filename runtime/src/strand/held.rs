//! The lock of a strand in the hands of its runner.

use std::sync::Arc;

use bufferevent_sync::MutexGuard;

use super::{
    Body, Seating, Strand,
    guard::{Holding, enter_held},
};
use crate::base::shared::BaseShared;

/// A strand's body, locked by its runner.
pub struct Held<'a, B: Body> {
    strand: &'a Arc<Strand<B>>,
    /// Where the run began.
    home: &'a BaseShared,
    locked: Option<(MutexGuard<'a, B>, Holding)>,
}

impl<'a, B: Body> Held<'a, B> {
    pub(super) fn new(strand: &'a Arc<Strand<B>>, home: &'a BaseShared, guard: MutexGuard<'a, B>) -> Self {
        Self { strand, home, locked: Some((guard, enter_held())) }
    }

    pub(super) fn home(&self) -> &'a BaseShared {
        self.home
    }

    /// The strand itself.
    pub fn strand(&self) -> &'a Arc<Strand<B>> {
        self.strand
    }

    /// The body. After [`Held::unlocked`] answered `None` there is none left to touch and the run must end.
    ///
    /// # Panics
    /// If the lock was lost and the run goes on all the same.
    pub fn body(&mut self) -> &mut B {
        &mut self.locked.as_mut().expect("the lock is held until `unlocked` says that it was lost").0
    }

    /// The body, and the right to move the strand.
    ///
    /// # Panics
    /// As [`Held::body`].
    pub fn seating(&mut self) -> (&mut B, Seating<'_, B>) {
        let strand = self.strand;
        (self.body(), Seating::of(strand))
    }

    /// Whether no further callback may start in this run: the base was [broken](crate::BaseHandle::break_now), or the
    /// strand has moved to another, where the run goes on.
    pub fn is_interrupted(&self) -> bool {
        self.home.gate.is_broken() || self.strand.place() != self.home.place
    }

    /// The body after a panic, which may have come while the lock was dropped; `None` if somebody has taken it.
    pub(super) fn relock(&mut self) -> Option<&mut B> {
        if self.locked.is_none() {
            self.locked = self.strand.body.try_lock().map(|guard| (guard, enter_held()));
        }
        self.locked.as_mut().map(|(body, _)| &mut **body)
    }

    /// Calls `f` with the lock dropped, then takes it back unless somebody holds it; `None` says that somebody does.
    /// The run must then end with [`Left::Contended`](super::Left::Contended).
    pub fn unlocked<R>(&mut self, f: impl FnOnce() -> R) -> (R, bool) {
        self.locked = None;
        let result = f();
        self.locked = self.strand.body.try_lock().map(|guard| (guard, enter_held()));
        (result, self.locked.is_some())
    }
}
