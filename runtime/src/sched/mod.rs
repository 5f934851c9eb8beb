//! The scheduler: workers, what they share, and where they sleep.

pub(crate) mod pool;
pub(crate) mod top;
mod worker;

pub use self::{pool::GRACE_AFTER_PANIC, worker::Worker};
