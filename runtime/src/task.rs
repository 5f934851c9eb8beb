//! What a worker's deque holds.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
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
    #[inline(always)]
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
    catch_unwind(AssertUnwindSafe(call)).map_err(drop_panic).is_ok()
}

/// Drops what a panic said, which is the user's and may panic too. What that one says is leaked: there may be no end to it.
///
/// ```
/// use std::panic::{catch_unwind, panic_any};
///
/// struct Again;
/// impl Drop for Again {
///     fn drop(&mut self) {
///         panic_any(Again);
///     }
/// }
/// let panic = catch_unwind(|| panic_any(Again)).unwrap_err();
/// bufferevent_runtime::drop_panic(panic);
/// ```
#[cold]
pub fn drop_panic(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(again);
    }
}

pub(crate) type Panic = Box<dyn Any + Send>;

/// What a panic said.
pub(crate) fn message_of(panic: Panic) -> String {
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    drop_panic(panic);
    text.unwrap_or_else(|| "with a payload that is no text".to_owned())
}

std::thread_local! {
    /// The first panic that got out of a source or a strand in the turn of this thread.
    static ESCAPED: RefCell<Option<Panic>> = const { RefCell::new(None) };
    /// Whether there is one: asked after each run, and so without the destructor that the panic itself needs.
    static HAS_ESCAPED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a source or a strand. `None` if it panicked: the caller puts its own house in order, and the panic goes on at the
/// end of the turn, by [`set_escaped`]. So no core, token or gate is lost on the way.
#[inline(always)]
pub(crate) fn hold_panic<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Some(result),
        Err(panic) => {
            escape(panic);
            None
        }
    }
}

#[cold]
fn escape(panic: Panic) {
    if HAS_ESCAPED.replace(true) {
        drop_panic(panic);
    } else {
        ESCAPED.set(Some(panic));
    }
}

/// Takes the panic that waits to go on, and puts another in its place: for a turn inside a callback, whose panics are its
/// own.
pub(crate) fn set_escaped(panic: Option<Panic>) -> Option<Panic> {
    HAS_ESCAPED.set(panic.is_some());
    ESCAPED.with(|escaped| escaped.replace(panic))
}

/// Whether a panic waits to go on.
pub(crate) fn has_escaped() -> bool {
    HAS_ESCAPED.get()
}
