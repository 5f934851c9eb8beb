//! The signals that end the program.

use std::{io, sync::Arc};

use bufferevent::{Runtime, runtime};
use bufferevent_sync::SignalFlag;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::failure::Failure;

/// From now on the first SIGTERM or SIGINT calls `end` on a base of `runtime`, and a second one ends the process at
/// once, with 128 and its number as the exit code.
pub(crate) fn end_gracefully(
    runtime: &Runtime,
    end: impl Fn() + Send + Sync + 'static,
) -> Result<(), Failure> {
    end_at_second().map_err(|why| Failure::of("cannot wait for signals", why))?;
    let end = Arc::new(end);
    for signal in [SIGTERM, SIGINT] {
        let end = Arc::clone(&end);
        let waited: runtime::Result<_> = runtime.bases()[0].signal(signal, move |_, _| end());
        waited.map_err(|why| Failure::of("cannot wait for signals", why))?;
    }
    Ok(())
}

fn end_at_second() -> io::Result<()> {
    let [term, int] = [(); 2].map(|()| Arc::new(SignalFlag::new(false)));
    for (signal, own, other) in [(SIGTERM, &term, &int), (SIGINT, &int, &term)] {
        // In this order: the first signal finds both flags unset. Of two that come at once, on two threads, each sets its
        // flag before it looks at the other's (all are SeqCst), so that one of them ends the process.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(own))?;
        flag::register(signal, Arc::clone(own))?;
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(other))?;
    }
    Ok(())
}
