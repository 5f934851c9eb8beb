//! The signals that end the program, and the one that has it read its files again.

use std::{
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};

use crate::failure::Failure;

/// Within this time a second signal is the same wish to end: who starts a program may send it to the program and to its group.
const ONE_WISH: Duration = Duration::from_secs(1);

/// From now on the first SIGTERM or SIGINT calls `end`, on a thread of its own, and one that comes later ends the process at
/// once, whatever else it does, with 128 and its number as the exit code.
pub(crate) fn end_gracefully(end: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    wait("bev-signals", &[SIGTERM, SIGINT], move |mut signals| {
        let mut signals = signals.forever();
        if signals.next().is_none() {
            return;
        }
        let first = Instant::now();
        end();
        if let Some(signal) = signals.find(|_| first.elapsed() >= ONE_WISH) {
            low_level::exit(128 + signal);
        }
    })
}

/// From now on SIGHUP calls `reload`, on a thread of its own: a file system that keeps it waiting does not keep the end waiting.
pub(crate) fn reload_on_hangup(reload: impl Fn() + Send + 'static) -> Result<(), Failure> {
    wait("bev-reload", &[SIGHUP], move |mut signals| signals.forever().for_each(|_| reload()))
}

/// Has `handle` wait for these signals, on a thread of this name.
fn wait(name: &str, signals: &[i32], handle: impl FnOnce(Signals) + Send + 'static) -> Result<(), Failure> {
    let signals = Signals::new(signals).map_err(|why| Failure::of("cannot wait for signals", why))?;
    let waiting = thread::Builder::new().name(name.to_owned()).spawn(move || handle(signals));
    waiting.map(drop).map_err(|why| Failure::of(format_args!("cannot start thread {name}"), why))
}
