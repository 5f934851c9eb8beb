//! A runtime that runs: on threads of its own, beside the thread that waits for it, or with the help of that one.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::{Runtime, runtime::Worker};
use bufferevent_sync::{Condvar, Mutex};

use crate::failure::Failure;

/// A runtime that runs. Dropping this stops it, and waits for nothing.
#[derive(Debug)]
pub(crate) struct Running {
    runtime: Runtime,
    ended: Arc<Ended>,
}

/// Which workers have ended, and how.
#[derive(Debug)]
struct Ended {
    left: Mutex<Left>,
    none: Condvar,
}

#[derive(Debug)]
struct Left {
    /// Workers that have not ended.
    workers: usize,
    /// What the first that failed said.
    failed: Option<Failure>,
}

impl Running {
    /// Runs each worker of `runtime` on a thread of its own, `NAME-NUMBER`; all of them run when this returns.
    pub(crate) fn start(runtime: Runtime, name: &str) -> Result<Self, Failure> {
        let (running, first) = Self::start_others(runtime, name)?;
        first.spawn(format!("{name}-0")).map_err(|why| Failure::of("cannot start a thread", why))?;
        Ok(running)
    }

    /// The same but for the first worker, which the caller owes a thread.
    pub(crate) fn start_others(runtime: Runtime, name: &str) -> Result<(Self, Mine), Failure> {
        let workers = runtime.worker_counters().count();
        let left = Mutex::new(Left { workers, failed: None });
        let running = Self { runtime, ended: Arc::new(Ended { left, none: Condvar::new() }) };
        let first = running.take_worker()?;
        for number in 1..workers {
            running.take_worker()?.spawn(format!("{name}-{number}")).map_err(|why| {
                Failure::of(format_args!("cannot start thread {number} of {}", workers - 1), why)
            })?;
        }
        Ok((running, first))
    }

    fn take_worker(&self) -> Result<Mine, Failure> {
        let worker = self.runtime.worker().map_err(Failure::runtime)?;
        Ok(Mine { worker, end: End { of: Arc::clone(&self.ended), failed: None } })
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits until the runtime has ended.
    pub(crate) fn wait(self) -> Result<(), Failure> {
        let mut left = self.ended.left.lock();
        while left.workers > 0 {
            self.ended.none.wait(&mut left);
        }
        left.failed.take().map_or(Ok(()), Err)
    }

    /// Shuts the runtime down and waits until it has ended.
    ///
    /// An error if it has not after `grace` and [`ENDING`] more, which bounds what a callback that runs may take, and the rest.
    pub(crate) fn finish(self, grace: Duration) -> Result<(), Failure> {
        if self.runtime.shutdown(grace).is_err() {
            self.runtime.stop();
        }
        let deadline = Instant::now() + grace + ENDING;
        let mut left = self.ended.left.lock();
        while left.workers > 0 {
            if self.ended.none.wait_until(&mut left, deadline).timed_out() {
                return Err(Failure::Failed("the runtime did not end in time".to_owned()));
            }
        }
        left.failed.take().map_or(Ok(()), Err)
    }
}

/// A worker that its owner is to run.
#[derive(Debug)]
pub(crate) struct Mine {
    worker: Worker,
    end: End,
}

impl Mine {
    /// Works on this thread until the runtime stops; what goes wrong is for [`Running::wait`] to tell.
    pub(crate) fn run(self) {
        // The end tells of a panic too.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.end.run(self.worker)));
    }

    fn spawn(self, name: String) -> io::Result<()> {
        thread::Builder::new().name(name).spawn(move || self.run()).map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.stop();
    }
}

/// How long a runtime may take to end after its grace: thousands of connections are freed then, on a machine that may be busy.
const ENDING: Duration = Duration::from_secs(5);

/// Tells the end of one worker, however its thread ends.
#[derive(Debug)]
struct End {
    of: Arc<Ended>,
    failed: Option<String>,
}

impl End {
    fn run(mut self, worker: Worker) {
        // What stands if this does not return; what happened is told where it does.
        self.failed = Some("a worker panicked".to_owned());
        self.failed = worker.run().err().map(|error| error.to_string());
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut left = self.of.left.lock();
        left.workers -= 1;
        if let Some(why) = self.failed.take() {
            left.failed.get_or_insert_with(|| Failure::of("the runtime failed", why));
        }
        self.of.none.notify_all();
    }
}
