//! Atomics, locks, queues and threads of the bufferevent crates, with [loom] behind the same API.
//!
//! This is the only crate of the workspace that names `std::sync`, parking_lot, crossbeam or loom. What the others
//! build from it can therefore be model-checked as it is shipped: with `--cfg loom` every name below is loom's, or a
//! model that promises exactly what the real thing documents, and not more.
//!
//! | here                              | normally                     | with `--cfg loom`                              |
//! |-----------------------------------|------------------------------|------------------------------------------------|
//! | [`atomic`]                        | std, in a newtype            | loom                                           |
//! | [`Mutex`], [`Condvar`], [`RwLock`] | parking_lot                 | loom, without poisoning                        |
//! | [`Arc`], [`thread`], [`hint`]     | std                          | loom                                           |
//! | [`Queue`]                         | `crossbeam::queue::SegQueue` | bounded; a push happens before its pop         |
//! | [`deque`]                         | crossbeam-deque              | bounded FIFO; a push happens before its steal  |
//! | [`Word`], [`Word64`]              | atomics without stores       | the same, with mutants                         |
//! | [`CachePadded`], [`Counter`]      | crossbeam, ours              | the same                                       |
//! | [`Leaf`]                          | order checked in debug builds | not checked                                   |
//! | [`mutant`]                        | constants, compiled away     | chosen by the environment variable `BEV_MUTANT` |
//!
//! The switch is `cfg(loom)` alone: `cfg(test)` is off when the `loom-tests` crate compiles the crates under test.
//!
//! Three traps: loom's `Arc` does not coerce to an unsized type (use `Arc::from_std`); constructors are `const`
//! only without loom; a lock that loom cannot see must not be held across an operation that it can.
//!
//! [loom]: https://docs.rs/loom

#![allow(clippy::disallowed_types, reason = "this is the crate that wraps them")]

mod counter;
mod leaf;
pub mod mutant;

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod real;

#[cfg(loom)]
pub use model::{
    Arc, Condvar, Mutex, MutexGuard, Queue, RwLock, RwLockReadGuard, RwLockWriteGuard, UnsafeCell,
    WaitTimeoutResult, Word, Word64, atomic, deque, hint, thread,
};
#[cfg(not(loom))]
pub use real::{
    Arc, Condvar, Mutex, MutexGuard, Queue, RwLock, RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult,
    Weak, Word, Word64, atomic, deque, hint, thread,
};

pub use counter::{Counter, SharedCounter};
pub use crossbeam::utils::CachePadded;
pub use leaf::{Leaf, LeafGuard, check_no_leaf_held};
