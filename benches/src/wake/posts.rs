//! The same through bases: each hop is a post to the other.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use bufferevent::runtime::Clock;
use bufferevent::{Base, BaseHandle, Bufferevent, Movable, NoHandler, Runtime};
use crossbeam::channel::{Sender, bounded};

use super::{Party, Threads};

/// Two bases, each driven by hand on a thread of its own.
#[derive(Debug)]
pub struct Bases {
    bases: [BaseHandle; 2],
    _threads: Threads,
}

/// The two bases of a runtime with two workers.
#[derive(Debug)]
pub struct Workers {
    runtime: Runtime,
    bases: Vec<BaseHandle>,
    _threads: Threads,
}

impl Bases {
    /// Starts both threads.
    ///
    /// # Errors
    /// The system has no selectors or threads to give.
    pub fn new() -> io::Result<Self> {
        let mut threads = Threads::default();
        let bases = [drive(&mut threads)?, drive(&mut threads)?];
        Ok(Self { bases, _threads: threads })
    }
}

impl Workers {
    /// Starts the runtime.
    ///
    /// # Errors
    /// The system has no selectors or threads to give.
    pub fn new() -> io::Result<Self> {
        let runtime = Runtime::builder().workers(2).bases(2).build().map_err(io::Error::other)?;
        let (bases, running) = (runtime.bases(), runtime.clone());
        let thread = thread::Builder::new().spawn(move || running.run().expect("the selectors work"))?;
        Ok(Self { runtime, bases, _threads: Threads(vec![thread]) })
    }
}

impl Party for Bases {
    fn hops(&mut self, count: u64) -> io::Result<Duration> {
        hops(&self.bases[0], &self.bases[1], count)
    }
}

impl Party for Workers {
    fn hops(&mut self, count: u64) -> io::Result<Duration> {
        hops(&self.bases[0], &self.bases[1], count)
    }
}

impl Drop for Bases {
    fn drop(&mut self) {
        self.bases.iter().for_each(BaseHandle::exit);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.runtime.stop();
    }
}

/// Makes a base and drives it on a new thread until its handle's `exit` is called.
fn drive(threads: &mut Threads) -> io::Result<BaseHandle> {
    let (made, handles) = bounded(1);
    let thread = thread::Builder::new().spawn(move || {
        let mut base = Base::<Movable>::with_clock(Clock::monotonic()).expect("the system has a selector");
        // A base on which nothing lives does not wait.
        Bufferevent::detached().handler(NoHandler).start(&mut base).expect("it needs nothing to start");
        if made.send(base.handle()).is_ok() {
            base.run().expect("the selector works");
        }
    })?;
    threads.0.push(thread);
    handles.recv().map_err(io::Error::other)
}

fn hops(first: &BaseHandle, second: &BaseHandle, count: u64) -> io::Result<Duration> {
    let (end, ends) = bounded(1);
    let start = Instant::now();
    pass_on(count, first.clone(), second.clone(), end);
    let end = ends.recv().map_err(io::Error::other)?;
    Ok(end.duration_since(start))
}

/// Wakes `next`, where this goes on with `left` one less. Who cannot be reached drops `end`.
fn pass_on(left: u64, next: BaseHandle, after: BaseHandle, end: Sender<Instant>) {
    if left == 0 {
        let _ = end.send(Instant::now());
        return;
    }
    let there = next.clone();
    let _ = there.post(move |_| pass_on(left - 1, after, next, end));
}
