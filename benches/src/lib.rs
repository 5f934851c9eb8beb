//! Yardstick, load client and comparison for the figures in `README.md`.
//!
//! Three programs, none of which uses a crate of ours:
//!
//! * `yard`, the server everything is measured against ([`yard`]);
//! * `drive`, a closed-loop load client that checks what comes back ([`drive`]);
//! * `compare` and `goals`, which run servers against each other in interleaved rounds ([`compare`], [`goals`]).

pub mod compare;
pub mod drive;
pub mod goals;
pub mod json;
mod mode;
pub mod yard;

pub use mode::Mode;
