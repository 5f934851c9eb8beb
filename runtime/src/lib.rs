//! N event bases on M work-stealing threads.

mod protocol;

#[cfg(loom)]
#[doc(hidden)]
pub mod __loom {
    pub use crate::protocol::*;
}
