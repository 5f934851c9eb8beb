//! A runtime that runs beside the thread that watches it.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::Runtime;
use bufferevent_sync::{Condvar, Mutex};

use crate::failure::Failure;

/// A runtime on threads of its own. Dropping this stops it, and waits for nothing.
#[derive(Debug)]
pub(crate) struct Running {
    runtime: Runtime,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    result: Mutex<Option<bufferevent::runtime::Result<()>>>,
    told: Condvar,
}

impl Running {
    /// Runs `runtime` from now on.
    pub(crate) fn start(runtime: Runtime) -> io::Result<Self> {
        let ended = Arc::new(Ended::default());
        let (inner, end) = (runtime.clone(), Arc::clone(&ended));
        thread::Builder::new().name("bev-runtime".to_owned()).spawn(move || {
            let result = inner.run();
            *end.result.lock() = Some(result);
            end.told.notify_all();
        })?;
        Ok(Self { runtime, ended })
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Shuts the runtime down and waits until it has ended.
    ///
    /// An error if it has not after `grace` and a second more, which bounds what a callback that runs may take.
    pub(crate) fn finish(self, grace: Duration) -> Result<(), Failure> {
        if self.runtime.shutdown(grace).is_err() {
            self.runtime.stop();
        }
        let deadline = Instant::now() + grace + Duration::from_secs(1);
        let mut result = self.ended.result.lock();
        while result.is_none() {
            if self.ended.told.wait_until(&mut result, deadline).timed_out() {
                return Err(Failure::Failed("the runtime did not end in time".to_owned()));
            }
        }
        Ok(result.take().unwrap_or(Ok(()))?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.stop();
    }
}
