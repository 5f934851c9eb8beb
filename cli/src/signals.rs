//! The signals that end the program.

use std::{
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};

use crate::failure::Failure;

/// Within this time a second signal is the same wish to end: who starts a program may send it to the program and to its group.
const ONE_WISH: Duration = Duration::from_secs(1);

/// From now on the first SIGTERM or SIGINT calls `end`, on a thread of its own, and one that comes later ends the process at
/// once, whatever else it does, with 128 and its number as the exit code.
pub(crate) fn end_gracefully(end: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT]).map_err(|why| Failure::of("cannot wait for signals", why))?;
    let wait = move || {
        let mut signals = signals.forever();
        if signals.next().is_none() {
            return;
        }
        let first = Instant::now();
        end();
        if let Some(signal) = signals.find(|_| first.elapsed() >= ONE_WISH) {
            low_level::exit(128 + signal);
        }
    };
    let waiting = thread::Builder::new().name("bev-signals".to_owned()).spawn(wait);
    waiting.map(drop).map_err(|why| Failure::of("cannot start thread bev-signals", why))
}
