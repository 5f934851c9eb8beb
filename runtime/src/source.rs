//! What a base runs in its root strand: a connection without a lock, a listener, a timer.

use std::any::Any;

use crate::{affinity::Affinity, base::Base, event::EventState, protocol::Reasons, slots::Key};

/// An object that lives in one base and runs only on it, without a lock.
///
/// The base takes the source out of its slot while it runs, so a running source may use the base freely, remove itself
/// or any other source, and insert new ones.
pub trait Source<A: Affinity>: Any {
    /// Handles `reasons`, everything that was posted since the last run. Runs on the base's turn only.
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After;

    /// What the source is, in a word, for dumps.
    fn kind(&self) -> &'static str {
        "source"
    }

    /// Whether this is a connection, which a graceful end may spread over a while.
    fn is_connection(&self) -> bool {
        false
    }

    /// The state of the plain event that this is, if it is one.
    #[doc(hidden)]
    fn event(&mut self) -> Option<&mut EventState> {
        None
    }
}

/// What a run leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum After {
    /// Nothing to do until something is posted.
    Idle,
    /// Run again at the tail of the ready queue, with these reasons: a budget ended the run, not the work.
    Again(Reasons),
    /// Run again with [`Reasons::USER`] in the next turn, when the selector was polled.
    NextTurn,
    /// Run again from the deferred queue, with these reasons.
    Defer(Reasons),
    /// The source is done; drop it and free its key.
    Remove,
}
