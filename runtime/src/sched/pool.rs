//! What the workers of one runtime share.

use std::{sync::Arc, time::Duration};

use bufferevent_sync::{
    CachePadded, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
    deque::{Steal, Stealer},
};

use super::top::Top;
use crate::{
    affinity::Movable,
    base::{Base, shared::BaseShared},
    clock::{Clock, Time},
    counters::WorkerCounters,
    lane::PoolId,
    placement::Random,
    protocol::{BaseWord, ParkWord},
    selector::{AnySelector, Selector as _},
    task::Task,
};

/// A callback that runs longer makes its base unattended: an idle worker polls it in its stead.
pub(crate) const UNATTENDED: Duration = Duration::from_millis(1);

/// So long after the last such callback somebody keeps watch.
const WATCH_FOR: Duration = Duration::from_secs(10);

pub(crate) struct Pool {
    pub(crate) id: PoolId,
    pub(crate) clock: Clock,
    pub(crate) bases: Vec<BaseSlot>,
    pub(crate) workers: Vec<CachePadded<WorkerShared>>,
    /// Where workers wait when there are more bases than workers.
    pub(crate) top: Option<Top>,
    /// Whether idle workers take work from others at all.
    pub(crate) stealing: bool,
    stopping: AtomicBool,
    /// When a shutdown ends at the latest, in nanoseconds of the clock; 0: none was begun.
    shutdown_at: AtomicU64,
    /// Until when somebody keeps watch, in nanoseconds of the clock.
    watch_until: AtomicU64,
    watched: AtomicBool,
}

/// A base and the place its core waits in while no worker holds it.
pub(crate) struct BaseSlot {
    pub(crate) shared: Arc<BaseShared>,
    pub(crate) word: BaseWord,
    core: Mutex<Option<Box<Base<Movable>>>>,
}

impl BaseSlot {
    pub(crate) fn new(core: Base<Movable>, shared: Arc<BaseShared>) -> Self {
        Self { shared, word: BaseWord::new(), core: Mutex::new(Some(Box::new(core))) }
    }

    pub(crate) fn take(&self) -> Option<Box<Base<Movable>>> {
        self.core.lock().take()
    }

    pub(crate) fn put(&self, core: Box<Base<Movable>>) {
        let old = self.core.lock().replace(core);
        debug_assert!(old.is_none(), "a base has one core");
    }
}

/// What others may do to a worker.
pub(crate) struct WorkerShared {
    pub(crate) stealer: Stealer<Task>,
    pub(crate) seat: Seat,
    pub(crate) counters: WorkerCounters,
    /// When the strand that is running began, in nanoseconds of the clock; 0: none is running.
    since: AtomicU64,
}

/// Where a worker sleeps: in the selector of its home base, in one of its own, or in the top epoll.
pub(crate) enum Seat {
    Home(Arc<BaseShared>),
    Own { park: ParkWord, selector: AnySelector },
    Top,
}

impl WorkerShared {
    pub(crate) fn new(stealer: Stealer<Task>, seat: Seat) -> Self {
        Self { stealer, seat, counters: WorkerCounters::default(), since: AtomicU64::new(0) }
    }

    pub(crate) fn begin_strand(&self, now: Time) {
        // ORDER: Relaxed; a time stamp for the watcher, which only decides whether to look at the base's slot.
        self.since.store(now.as_nanos().max(1), Ordering::Relaxed);
    }

    pub(crate) fn end_strand(&self) {
        // ORDER: Relaxed; see `begin_strand`.
        self.since.store(0, Ordering::Relaxed);
    }

    /// Whether the worker has been inside one strand for longer than [`UNATTENDED`].
    pub(crate) fn is_stuck(&self, now: Time) -> bool {
        // ORDER: Relaxed; see `begin_strand`.
        let since = self.since.load(Ordering::Relaxed);
        since != 0 && now.since(Time::from_nanos(since)) > UNATTENDED
    }

    /// Wakes the worker if it sleeps; true if it did.
    fn call(&self) -> bool {
        let (park, selector) = match &self.seat {
            Seat::Home(base) => (&base.park, &*base.selector),
            Seat::Own { park, selector } => (park, selector),
            Seat::Top => return false,
        };
        let called = park.call();
        if called {
            let _ = selector.wake();
        }
        called
    }

    fn notify(&self) {
        match &self.seat {
            Seat::Home(base) => base.notify(),
            Seat::Own { park, selector } if park.notify() => {
                let _ = selector.wake();
            }
            _ => {}
        }
    }
}

impl Pool {
    pub(crate) fn new(
        id: PoolId,
        clock: Clock,
        bases: Vec<BaseSlot>,
        workers: Vec<WorkerShared>,
        top: Option<Top>,
        stealing: bool,
    ) -> Self {
        Self {
            id,
            clock,
            bases,
            workers: workers.into_iter().map(CachePadded::new).collect(),
            top,
            stealing,
            stopping: AtomicBool::new(false),
            shutdown_at: AtomicU64::new(0),
            watch_until: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        }
    }

    /// Whether other workers may need a base while its worker runs a strand.
    pub(crate) fn is_shared(&self) -> bool {
        self.stealing && self.workers.len() > 1
    }

    pub(crate) fn stop(&self) {
        // ORDER: AcqRel, pairs with `is_stopping` in a parking worker: the swap comes before the notify's RMW on the park
        // word, which the sleeper's announcement reads from. loom: park::wakeup_is_never_lost
        self.stopping.swap(true, Ordering::AcqRel);
        for worker in &self.workers {
            worker.notify();
        }
        if let Some(top) = &self.top {
            top.wake();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        // ORDER: Acquire, pairs with the swap in `stop`.
        self.stopping.load(Ordering::Acquire)
    }

    /// From now on the pool stops as soon as no base owns anything, at the latest after `grace`.
    pub(crate) fn begin_shutdown(&self, grace: Duration) {
        let at = self.clock.now().saturating_add(grace).as_nanos().max(1);
        // ORDER: AcqRel, pairs with `shutdown_left`; the posts to the bases that follow wake the workers.
        self.shutdown_at.swap(at, Ordering::AcqRel);
    }

    /// During a shutdown: stops the pool if it is over, else answers how long it may still take.
    pub(crate) fn shutdown_left(&self, now: Time) -> Option<Duration> {
        // ORDER: Acquire, pairs with the swap in `begin_shutdown`.
        let at = self.shutdown_at.load(Ordering::Acquire);
        if at == 0 {
            return None;
        }
        let left = Time::from_nanos(at).since(now);
        if left.is_zero()
            || self.bases.iter().all(|base| base.shared.load() == 0 && base.shared.inbox.is_empty())
        {
            self.stop();
        }
        Some(left)
    }

    /// Wakes one sleeping worker to take tasks; true if there was one.
    pub(crate) fn call_for_help(&self, caller: usize) -> bool {
        let count = self.workers.len();
        if let Some(top) = &self.top {
            return top.call();
        }
        (1..count).any(|step| self.workers[(caller + step) % count].call())
    }

    /// Takes one task from another worker, beginning with a random one.
    pub(crate) fn steal(&self, thief: usize, random: &mut Random) -> Option<Task> {
        let count = self.workers.len();
        if !self.stealing || count < 2 {
            return None;
        }
        let start = random.below(count);
        for step in 0..count {
            let victim = (start + step) % count;
            if victim == thief {
                continue;
            }
            loop {
                match self.workers[victim].stealer.steal() {
                    Steal::Success(task) => return Some(task),
                    Steal::Empty => break,
                    Steal::Retry => {}
                }
            }
        }
        None
    }

    /// A strand ran for `nanos`; a long one makes somebody keep watch for a while.
    pub(crate) fn strand_took(&self, nanos: u64, now: Time) {
        if nanos > UNATTENDED.as_nanos() as u64 {
            // ORDER: Relaxed; a late reader starts its watch late, nothing is published through it.
            self.watch_until.store(now.saturating_add(WATCH_FOR).as_nanos(), Ordering::Relaxed);
        }
    }

    /// Becomes the one idle worker that sleeps only briefly; true until [`Pool::end_watch`].
    pub(crate) fn begin_watch(&self, now: Time) -> bool {
        // ORDER: Relaxed; see `strand_took`.
        self.is_shared()
            && now.as_nanos() < self.watch_until.load(Ordering::Relaxed)
            // ORDER: AcqRel; an election, the winner alone swaps it back. Nothing is published through it.
            && !self.watched.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_watch(&self) {
        // ORDER: AcqRel; see `begin_watch`.
        self.watched.swap(false, Ordering::AcqRel);
    }
}
