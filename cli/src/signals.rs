//! The signals that end the program.

use std::{io, os::unix::net::UnixStream, sync::Arc};

use bufferevent::{Bufferevent, Callbacks, Runtime};
use bufferevent_sync::SignalFlag;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag, low_level,
};

use crate::failure::Failure;

/// From now on the first SIGTERM or SIGINT calls `end` on a base of `runtime`, and a second one ends the process at
/// once, with 128 and its number as the exit code.
///
/// A signal writes to a socket that a bufferevent reads: no thread waits for it.
pub(crate) fn end_gracefully(runtime: &Runtime, end: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let ours = register().map_err(|why| Failure::of("cannot wait for signals", why))?;
    let handler = Callbacks::new().on_read(move |cx| {
        cx.abort();
        end();
    });
    let mut bases = runtime.bases();
    let started = Bufferevent::socket(ours).handler(handler).start(&mut bases[0]);
    started.map(drop).map_err(|why| Failure::of("cannot wait for signals", why))
}

/// Answers the socket that the first signal makes readable.
fn register() -> io::Result<UnixStream> {
    let (told, ours) = UnixStream::pair()?;
    let [term, int] = [(); 2].map(|()| Arc::new(SignalFlag::new(false)));
    for (signal, own, other) in [(SIGTERM, &term, &int), (SIGINT, &int, &term)] {
        // In this order: the first signal finds both flags unset. Of two that come at once, on two threads, each sets its
        // flag before it looks at the other's (all are SeqCst), so that one of them ends the process.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(own))?;
        flag::register(signal, Arc::clone(own))?;
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(other))?;
        low_level::pipe::register(signal, told.try_clone()?)?;
    }
    Ok(ours)
}
