//! Loom models of every protocol, and the mutants they must catch. See `README.md` for the table and the commands.
//!
//! Each model drives the module that ships, never a copy. Around it stand a queue, a lock, an eventfd that promise no
//! more than the real ones. What a model checks is either an assertion, or an `Exclusive` that two threads touched
//! without an order between them, or a thread that never wakes up.
//!
//! Without `--cfg loom` this crate is empty.

#![cfg(loom)]

#[cfg(not(debug_assertions))]
compile_error!("the models need debug assertions: the protocol modules check their invariants with them");

mod bounds;
mod kernel;
mod moving;
mod mutants;
mod probe;
mod strand;

pub use bounds::{Bounds, model};
pub use kernel::{Edge, EventFd, TryLock};
pub use moving::{Berth, Journey, Station, Told};
pub use mutants::assert_mutants_die;
pub use probe::{Exclusive, Tally};
pub use strand::Strand;
