//! The signals that end a server.

use std::{os::unix::net::UnixStream, sync::Arc, time::Duration};

use bufferevent::{Bufferevent, Callbacks, Runtime};
use bufferevent_sync::SignalFlag;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag, low_level,
};

use crate::failure::Failure;

/// From now on the first SIGTERM or SIGINT shuts `runtime` down within `grace`, and a second one ends the process at
/// once, with 128 and its number as the exit code.
///
/// A signal writes to a socket that a bufferevent reads: no thread waits for it.
pub(crate) fn end_gracefully(runtime: &Runtime, grace: Duration) -> Result<(), Failure> {
    let (told, ours) = UnixStream::pair()?;
    let ending = Arc::new(SignalFlag::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&ending))?;
        flag::register(signal, Arc::clone(&ending))?;
        low_level::pipe::register(signal, told.try_clone()?)?;
    }
    let ended = runtime.clone();
    let handler = Callbacks::new().on_read(move |cx| {
        cx.abort();
        if ended.shutdown(grace).is_err() {
            ended.stop();
        }
    });
    let mut bases = runtime.bases();
    Bufferevent::socket(ours).handler(handler).start(&mut bases[0])?;
    Ok(())
}
