//! The end of a server, from the first signal on.

use std::{sync::Arc, time::Instant};

use bufferevent::{ConnectionLimit, Drain, Drained, Draining, Runtime, RuntimeExt as _};
use bufferevent_sync::Mutex;

use crate::{args::Serve, failure::Failure, notices, signals, units};

/// The drain of a server, once a signal has begun it.
#[derive(Debug)]
pub(super) struct Ending {
    under_way: Arc<Mutex<Option<(Instant, Draining)>>>,
}

impl Ending {
    /// From now on a signal drains the runtime, and tells so.
    pub(super) fn at_signal(
        runtime: &Runtime,
        serve: &Serve,
        connections: &ConnectionLimit,
    ) -> Result<Self, Failure> {
        let how = Drain { spread: serve.spread.unwrap_or_default(), grace: serve.grace };
        let (runtime, connections) = (runtime.clone(), connections.clone());
        let ending = Self { under_way: Arc::default() };
        let under_way = Arc::clone(&ending.under_way);
        signals::end_gracefully(move || {
            let open = units::counted(connections.open() as u64, "connection");
            notices::tell(format_args!("draining {open}, for {} at most", units::time(how.grace)));
            // Held meanwhile: the runtime may have ended before this has noted how.
            let mut under_way = under_way.lock();
            let began = Instant::now();
            *under_way = runtime.drain(how).map_err(|_| runtime.stop()).ok().map(|drain| (began, drain));
        })?;
        Ok(ending)
    }

    /// How the connections ended once the runtime has; `None` if no signal came.
    pub(super) fn report(&self) -> Option<Drained> {
        let (began, draining) = self.under_way.lock().take()?;
        notices::tell(format_args!("ended after {}", units::time(began.elapsed())));
        Some(draining.report())
    }
}

/// How the connections ended, as text.
pub(crate) fn farewell(drained: &Drained) -> String {
    let Drained { ended, clean, unsent, .. } = *drained;
    if ended == 0 {
        return "no connection was open".to_owned();
    }
    let (ended, unsent) = (units::counted(ended, "connection"), units::bytes(unsent));
    format!("{ended} ended, {} of them clean; {unsent} not sent", units::count(clean))
}
