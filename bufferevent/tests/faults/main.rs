//! The project's catalogue of faults (F and a number), each with the test it asks for: on a manual base over scripted
//! transports where what must happen can be scripted, on real sockets where the kernel has to be asked.
//!
//! F1 to F4, F12 in the selector, F26 to F29, F32, F62 and F64 are tested with the runtime.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../contract/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves the contract suite too")]
mod harness;
#[path = "../contract/kinds.rs"]
mod kinds;
mod sim;

mod callbacks;
mod invariants;
mod lifetimes;
mod limits;
mod processes;
mod transport;
mod wires;
