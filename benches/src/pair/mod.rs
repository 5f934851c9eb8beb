//! The other side of the bench `pair`: a pair of the system's libevent.

use std::io;
use std::time::Duration;

use crate::libevent::Libevent;

/// The source of the C program.
pub const LIBEVENT: &str = include_str!("libevent.c");

/// Runs it, in a process of its own: `count` times `what`, `round_trip` or `one_way`; `how`, `confined` or `threadsafe`.
///
/// # Errors
/// That failed.
pub fn run_theirs(libevent: &Libevent, what: &str, how: &str, count: u64) -> io::Result<Duration> {
    let output = libevent.command().args([what, how, &count.to_string()]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let nanos = said.trim().parse();
    nanos
        .map(Duration::from_nanos)
        .map_err(|_| io::Error::other(format!("a pair of libevent said {output:?}")))
}
