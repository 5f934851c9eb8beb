//! What ships: std, parking_lot and crossbeam.

pub use std::sync::{Arc, Weak};

pub use crossbeam::queue::SegQueue as Queue;
pub use parking_lot::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult,
};

pub mod atomic;
mod word;

pub use word::{Word, Word64};

/// Work-stealing deques; use [`Worker::new_fifo`](deque::Worker::new_fifo) only: the model is FIFO.
pub mod deque {
    pub use crossbeam_deque::{Injector, Steal, Stealer, Worker};
}

/// Threads.
pub mod thread {
    pub use std::thread::{Builder, JoinHandle, Thread, ThreadId, current, park, spawn, yield_now};
}

/// Hints to the processor.
pub mod hint {
    pub use std::hint::spin_loop;
}
