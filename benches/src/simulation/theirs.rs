//! The other side: a C program on the system's libevent.

use std::io;

use super::{Case, Figure};
use crate::libevent::Libevent;

/// The source of that program.
pub const LIBEVENT: &str = include_str!("libevent.c");

/// Runs `case` on it, in a process of its own.
///
/// # Errors
/// That failed.
pub fn run_theirs(libevent: &Libevent, case: &Case) -> io::Result<Figure> {
    let numbers = [
        case.clients as u64,
        case.per_tick(case.connection),
        case.per_tick(case.group),
        case.drain,
        case.tick,
        case.warmup().as_millis() as u64,
        case.duration().as_millis() as u64,
    ];
    Figure::of(libevent.command().args(numbers.map(|number| number.to_string())))
}
