//! Posts to a base that is awake.

use std::hint::{black_box, spin_loop};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use bufferevent::runtime::Clock;
use bufferevent::{Base, BaseHandle, Bufferevent, Movable, NoHandler};
use bufferevent_sync::Arc;
use bufferevent_sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use crossbeam::channel::bounded;

use super::Threads;

/// A base on a thread of its own that is inside a callback while it is posted to.
#[derive(Debug)]
pub struct Busy {
    base: BaseHandle,
    phase: Arc<AtomicU64>,
    _thread: Threads,
}

impl Busy {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no selector or thread to give.
    pub fn new() -> io::Result<Self> {
        let (made, handles) = bounded(1);
        let thread = thread::Builder::new().spawn(move || {
            let mut base =
                Base::<Movable>::with_clock(Clock::monotonic()).expect("the system has a selector");
            Bufferevent::detached().handler(NoHandler).start(&mut base).expect("it needs nothing to start");
            if made.send(base.handle()).is_ok() {
                base.run().expect("the selector works");
            }
        })?;
        let base = handles.recv().map_err(io::Error::other)?;
        Ok(Self { base, phase: Arc::new(AtomicU64::new(IDLE)), _thread: Threads(vec![thread]) })
    }

    /// Posts `count` times, and answers how long the posts took, not what they post.
    ///
    /// # Errors
    /// The base is gone.
    pub fn posts(&mut self, count: u64) -> io::Result<Duration> {
        let mut spent = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            self.enter()?;
            spent += post(&self.base, batch)?;
            // ORDER: Release and Acquire, pairs with the callback in `enter`.
            self.phase.store(IDLE, Release);
        }
        Ok(spent)
    }

    /// Returns when the base is inside a callback, which stays until the phase is idle again.
    fn enter(&self) -> io::Result<()> {
        let phase = Arc::clone(&self.phase);
        let stay = move |_: &mut Base| {
            phase.store(INSIDE, Release);
            while phase.load(Acquire) == INSIDE {
                spin_loop();
            }
        };
        self.base.post(stay).map_err(io::Error::other)?;
        while self.phase.load(Acquire) != INSIDE {
            spin_loop();
        }
        Ok(())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // ORDER: Release, as in `posts`.
        self.phase.store(IDLE, Release);
        self.base.exit();
    }
}

/// Posts `count` times to a base from the thread that drives it, and answers how long the posts took.
///
/// # Errors
/// The system has no selector to give.
pub fn post_from_within(count: u64) -> io::Result<Duration> {
    let mut base = Base::<Movable>::with_clock(Clock::monotonic()).map_err(io::Error::other)?;
    let handle = base.handle();
    let mut spent = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        spent += post(&handle, batch)?;
        base.turn(Some(Duration::ZERO)).map_err(io::Error::other)?;
    }
    Ok(spent)
}

fn post(base: &BaseHandle, count: u64) -> io::Result<Duration> {
    let start = Instant::now();
    for number in 0..count {
        let call = move |_: &mut Base| {
            black_box(number);
        };
        base.post(call).map_err(io::Error::other)?;
    }
    Ok(start.elapsed())
}

const IDLE: u64 = 0;
const INSIDE: u64 = 1;
/// Far below what an inbox holds.
const BATCH: u64 = 1_024;
