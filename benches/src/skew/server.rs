//! The runtime under test, and what its connections do with a request.

use std::hint::spin_loop;
use std::io;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bufferevent::{Bufferevent, Context, Handler, Runtime};
use rustix::time::ClockId;

use super::Work;
use crate::cpu_time::cpu_time;

/// What is done before a request is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// Nothing.
    Echo,
    /// CPU time is used; elapsed time would let two callbacks share one core and not notice.
    Burn(Duration),
    /// The thread sleeps.
    Sleep(Duration),
}

/// A runtime of two workers and two bases.
pub(super) struct Server {
    runtime: Runtime,
    running: Option<JoinHandle<bufferevent::runtime::Result<()>>>,
}

impl Server {
    pub(super) fn start(pinned: bool) -> io::Result<Self> {
        let runtime =
            Runtime::builder().workers(2).bases(2).pinned(pinned).build().map_err(io::Error::other)?;
        let runs = runtime.clone();
        let running = thread::Builder::new().spawn(move || runs.run())?;
        Ok(Self { runtime, running: Some(running) })
    }

    /// Makes a connection that lives on base number `base`, and returns the client's end.
    pub(super) fn connect(&self, base: usize, job: Job) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut home = self.runtime.bases().swap_remove(base);
        let started = Bufferevent::socket(ours).threadsafe().handler(job).start(&mut home);
        started.map_err(io::Error::other)?;
        Ok(theirs)
    }

    /// What the workers have done so far.
    pub(super) fn work(&self) -> Work {
        let mut work = Work::default();
        for counters in self.runtime.worker_counters() {
            work.steals += counters.steals.get() as f64;
            work.calls += counters.calls.get() as f64;
            work.rescues += counters.rescues.get() as f64;
        }
        work
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.stop();
        if let Some(running) = self.running.take() {
            // A panic has been reported by then.
            let _ = running.join();
        }
    }
}

impl Handler for Job {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        match *self {
            Self::Echo => {}
            Self::Burn(time) => burn(time),
            Self::Sleep(time) => thread::sleep(time),
        }
        let (input, output) = cx.buffers();
        output.append(input).expect("one request at a time is far from the cap");
    }
}

fn burn(time: Duration) {
    let until = cpu_time(ClockId::ThreadCPUTime) + time;
    while cpu_time(ClockId::ThreadCPUTime) < until {
        (0..LOOPS).for_each(|_| spin_loop());
    }
}

/// Spins between two looks at the clock, which is a system call.
const LOOPS: usize = 50;
