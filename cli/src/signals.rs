//! The signals that end a server.

use std::{io, process, thread, time::Duration};

use bufferevent::Runtime;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// From now on the first SIGTERM or SIGINT shuts `runtime` down within `grace`, and a second one ends the process at
/// once, with 128 and its number as the exit code.
pub(crate) fn end_gracefully(runtime: Runtime, grace: Duration) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        let mut signals = signals.forever();
        if signals.next().is_some() && runtime.shutdown(grace).is_err() {
            runtime.stop();
        }
        if let Some(signal) = signals.next() {
            process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("bev-signals".to_owned()).spawn(wait)?;
    Ok(())
}
