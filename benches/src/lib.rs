//! Yardstick, load client and comparison for the figures in `README.md`.
//!
//! Programs that use no crate of ours, so that they measure from outside:
//!
//! * `yard`, the server everything is measured against ([`yard`]);
//! * `drive`, a closed-loop load client that checks what comes back ([`drive`]);
//! * `compare` and `goals`, which run servers against each other in interleaved rounds ([`compare`], [`goals`]).
//!
//! And what can only be measured from inside, in a process of its own: [`skew`], one hot base on two workers, [`limits`],
//! groups with a limit, [`simulation`], libevent's test of limits on both libraries, and [`wake`], two threads that wake each
//! other. What the system's libevent does beside ours is a C program, built on the spot ([`libevent`]; [`pair`]).

pub mod compare;
mod cpu_time;
pub mod drive;
pub mod goals;
pub mod json;
pub mod libevent;
pub mod limits;
mod mode;
pub mod pair;
pub mod simulation;
pub mod skew;
mod tls;
pub mod wake;
pub mod yard;

pub use mode::Mode;
