//! The yardstick: an eventfd and an epoll set for each thread.
//!
//! Edge-triggered, and the eventfd is never read: one write and one wait a hop is the least there can be.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use bufferevent_sync::Arc;
use bufferevent_sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use crossbeam::channel::{Receiver, Sender, unbounded};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, write};

use super::{Party, Threads};

/// Two threads with an eventfd and an epoll set each.
pub struct ByHand {
    table: Arc<Table>,
    ends: Receiver<Instant>,
    _threads: Threads,
}

struct Table {
    sides: [Side; 2],
    /// Hops to make; [`STOP`] ends both threads.
    left: AtomicU64,
}

struct Side {
    epoll: OwnedFd,
    eventfd: OwnedFd,
}

impl ByHand {
    /// Starts both threads.
    ///
    /// # Errors
    /// The system has no descriptors or threads to give.
    pub fn new() -> io::Result<Self> {
        let table = Arc::new(Table { sides: [Side::new()?, Side::new()?], left: AtomicU64::new(0) });
        let (end, ends) = unbounded();
        let mut threads = Threads::default();
        for side in 0..2 {
            let (table, end) = (Arc::clone(&table), end.clone());
            threads.0.push(thread::Builder::new().spawn(move || table.serve(side, &end))?);
        }
        Ok(Self { table, ends, _threads: threads })
    }
}

impl Party for ByHand {
    fn hops(&mut self, count: u64) -> io::Result<Duration> {
        // ORDER: Release, pairs with the load of the side that is woken; the eventfd publishes it anyway.
        self.table.left.store(count, Release);
        let start = Instant::now();
        self.table.sides[0].wake()?;
        let end = self.ends.recv().map_err(io::Error::other)?;
        Ok(end.duration_since(start))
    }
}

impl Table {
    fn serve(&self, me: usize, end: &Sender<Instant>) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            if self.sides[me].wait(&mut events).is_err() {
                return;
            }
            // ORDER: Acquire and Release, pairs with the same on the other side: they take turns.
            let left = self.left.load(Acquire);
            if left == STOP {
                return;
            }
            self.left.store(left - 1, Release);
            let passed_on = if left > 1 {
                self.sides[1 - me].wake()
            } else {
                end.send(Instant::now()).map_err(io::Error::other)
            };
            if passed_on.is_err() {
                return;
            }
        }
    }
}

impl Side {
    fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &eventfd, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, eventfd })
    }

    fn wake(&self) -> io::Result<()> {
        write(&self.eventfd, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    fn wait(&self, events: &mut Vec<Event>) -> io::Result<()> {
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(events), None) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // ORDER: Release, pairs with the loads in `serve`.
        self.table.left.store(STOP, Release);
        for side in &self.table.sides {
            // It fails only when the counter is at its limit, and then the side is awake.
            let _ = side.wake();
        }
    }
}

impl fmt::Debug for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByHand").finish_non_exhaustive()
    }
}

const STOP: u64 = u64::MAX;
const EVENTS: usize = 1024;
