//! The contract of every bufferevent: one body for each rule, run over every kind, option set, shape of runtime and
//! selector.
//!
//! Row ids (C-, K-, B-, L-) are libevent's features as the project's inventory numbers them; D and a number without a
//! dash is a rule of our own. `docs/deviations.md` says where the two differ.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod harness;
mod kinds;

mod backpressure;
mod buffers;
mod connecting;
mod cutting;
mod descriptor;
mod draining;
mod ending;
mod explaining;
mod files;
mod groups;
mod handlers;
mod hosts;
mod leases;
mod limits;
mod listening;
mod mailbox;
mod misuse;
mod moving;
mod observers;
mod order;
mod panics;
mod piping;
mod shutting;
mod socket;
mod switches;
mod timeouts;
mod watermarks;
