//! What a worker's deque holds.

use std::{
    any::Any,
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use crate::{
    clock::Clock,
    strand::{AnyStrand, Lent, send_home},
};

/// One unit of work that any worker of the pool may run.
pub(crate) enum Task {
    /// The token of a strand.
    Strand(Arc<dyn AnyStrand>),
    /// A closure given to `spawn`.
    Call(Box<dyn FnOnce() + Send>),
}

impl Task {
    /// Runs the task; `Some` goes back to the tail of a queue.
    pub(crate) fn run(self, lent: &mut Lent<'_>, clock: &Clock) -> Option<Arc<dyn AnyStrand>> {
        match self {
            Self::Strand(strand) => strand.run(lent),
            Self::Call(call) => {
                isolate(call);
                if lent.timed {
                    lent.now = clock.now();
                }
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

    /// Drops the task because nobody will run it here any more; a token goes home, where the strand lives on or ends.
    pub(crate) fn orphan(self) {
        match self {
            Self::Strand(strand) => send_home(strand),
            Self::Call(call) => {
                isolate(|| drop(call));
            }
        }
    }
}

/// What a spawned closure is taken to cost, since each is run once: about a strand's run.
const CALL_NANOS: u64 = 5_000;

/// Runs a closure of the user; a panic ends the closure, not the worker. True if it did not panic.
pub(crate) fn isolate(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_ok()
}

type Panic = Box<dyn Any + Send>;

std::thread_local! {
    /// The first panic that got out of a source or a strand in the turn of this thread.
    static ESCAPED: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Runs a source or a strand. `None` if it panicked: the caller puts its own house in order, and the panic goes on up
/// at the end of the turn, by [`resume_escaped`]. So no core, token or gate is lost on the way.
pub(crate) fn hold_panic<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Some(result),
        Err(panic) => {
            ESCAPED.with(|escaped| {
                escaped.borrow_mut().get_or_insert(panic);
            });
            None
        }
    }
}

/// Replaces the panic that waits to go on. For a turn inside a callback, whose panics are its own.
pub(crate) fn set_escaped(panic: Option<Panic>) -> Option<Panic> {
    ESCAPED.with(|escaped| escaped.replace(panic))
}

/// Whether a panic waits to go on.
pub(crate) fn has_escaped() -> bool {
    ESCAPED.with(|escaped| escaped.borrow().is_some())
}

/// Lets the panic that [`hold_panic`] held go on up, if there is one.
pub(crate) fn resume_escaped() {
    if let Some(panic) = set_escaped(None) {
        resume_unwind(panic);
    }
}
