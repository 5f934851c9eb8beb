//! What the models run on: loom, behind the names and signatures of `real`.

pub use loom::cell::UnsafeCell;
pub use loom::sync::Arc;

pub use lock::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult};
pub use slots::Queue;
pub use word::{Word, Word64};

pub mod deque;
mod lock;
mod slots;
mod word;

/// Atomic integers.
pub mod atomic {
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

/// Threads.
pub mod thread {
    pub use loom::thread::{Builder, JoinHandle, Thread, ThreadId, current, park, spawn, yield_now};
}

/// Hints to the processor.
pub mod hint {
    pub use loom::hint::spin_loop;
}
