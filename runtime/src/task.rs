//! What a worker's deque holds.

use std::sync::Arc;

use crate::strand::{AnyStrand, Lent};

/// One unit of work that any worker of the pool may run.
pub(crate) enum Task {
    /// The token of a strand.
    Strand(Arc<dyn AnyStrand>),
    /// A closure given to `spawn`.
    Call(Box<dyn FnOnce() + Send>),
}

impl Task {
    /// Runs the task; `Some` goes back to the tail of a queue.
    pub(crate) fn run(self, lent: &mut Lent<'_>) -> Option<Arc<dyn AnyStrand>> {
        match self {
            Self::Strand(strand) => strand.run(lent),
            Self::Call(call) => {
                isolate(call);
                None
            }
        }
    }

    /// How long the task is likely to run.
    pub(crate) fn estimated_nanos(&self) -> u64 {
        match self {
            Self::Strand(strand) => strand.cost().nanos(),
            Self::Call(_) => CALL_NANOS,
        }
    }

    /// Drops the task because nobody will run it any more.
    pub(crate) fn orphan(self) {
        if let Self::Strand(strand) = self {
            strand.orphan();
        }
    }
}

/// What a spawned closure is taken to cost, since each is run once: about a strand's run.
const CALL_NANOS: u64 = 5_000;

/// Runs a closure of the user; a panic ends the closure, not the worker. True if it did not panic.
pub(crate) fn isolate(call: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_ok()
}
