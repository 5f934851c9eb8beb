//! The deque of the running worker, reachable from the code it runs.
//!
//! A worker enters its lane for as long as it runs a turn. Posts and spawns made by callbacks find it through the
//! thread and push there without a lock or a wake-up; everything else goes to an inbox.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use bufferevent_sync::{
    atomic::{AtomicU64, Ordering},
    deque,
};

use crate::{protocol::CallbackMark, task::Task};

/// Tells the lanes of one pool from those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolId(pub(crate) u64);

impl PoolId {
    /// An id that no pool had before.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // ORDER: Relaxed; only uniqueness matters.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A worker's own end of its deque.
pub(crate) struct Lane {
    pub(crate) pool: PoolId,
    pub(crate) deque: deque::Worker<Task>,
    /// Where others see which callback runs here. `None` for a base driven by hand: nobody looks.
    pub(crate) mark: Option<Arc<CallbackMark>>,
    /// Estimated run time of what was pushed here and not popped here, in nanoseconds; stolen tasks stay in until the
    /// deque is empty.
    queued_nanos: Cell<u64>,
}

impl Lane {
    pub(crate) fn new(pool: PoolId, deque: deque::Worker<Task>, mark: Option<Arc<CallbackMark>>) -> Rc<Self> {
        Rc::new(Self { pool, deque, mark, queued_nanos: Cell::new(0) })
    }

    /// Queues a task that is likely to run for `nanos`.
    pub(crate) fn push(&self, task: Task, nanos: u64) {
        self.queued_nanos.set(self.queued_nanos.get() + nanos);
        self.deque.push(task);
    }

    /// Queues a closure.
    pub(crate) fn push_call(&self, call: Box<dyn FnOnce() + Send>) {
        let task = Task::Call(call);
        let nanos = task.estimated_nanos();
        self.push(task, nanos);
    }

    /// The oldest task.
    pub(crate) fn pop(&self) -> Option<Task> {
        let task = self.deque.pop();
        let popped = task.as_ref().map_or(u64::MAX, Task::estimated_nanos);
        self.queued_nanos.set(self.queued_nanos.get().saturating_sub(popped));
        task
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deque.is_empty()
    }

    /// Estimated run time of at least two queued tasks, in nanoseconds; 0 for fewer.
    pub(crate) fn backlog_nanos(&self) -> u64 {
        if self.deque.len() < 2 { 0 } else { self.queued_nanos.get() }
    }
}

/// Tasks a lane may hold before `spawn` is refused. Tokens of strands are bounded by the number of strands.
pub(crate) const TASKS: usize = 1 << 20;

std::thread_local! {
    /// The lanes the thread is in, the innermost last: a callback may turn a base of its own.
    static ENTERED: RefCell<Vec<Rc<Lane>>> = const { RefCell::new(Vec::new()) };
}

/// A number for the calling thread that no other living thread has; not 0.
pub(crate) fn thread() -> usize {
    std::thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.try_with(|place| std::ptr::from_ref(place).addr()).unwrap_or(usize::MAX)
}

/// Makes `lane` the thread's current one until the guard drops.
pub(crate) fn enter(lane: &Rc<Lane>) -> Entered {
    ENTERED.with_borrow_mut(|entered| entered.push(Rc::clone(lane)));
    Entered(())
}

/// Leaves the lane that was entered last.
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        drop(ENTERED.with_borrow_mut(Vec::pop));
    }
}

/// The lane of this pool that the thread is in. `None` also while the thread ends and its locals are gone.
pub(crate) fn current(pool: PoolId) -> Option<Rc<Lane>> {
    let find = |entered: &RefCell<Vec<Rc<Lane>>>| {
        entered.borrow().iter().rev().find(|lane| lane.pool == pool).map(Rc::clone)
    };
    ENTERED.try_with(find).ok().flatten()
}
