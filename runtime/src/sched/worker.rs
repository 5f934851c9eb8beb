//! A worker: runs its home base, and helps others when it has nothing to do.
//!
//! Order of a round: own base (inbox, timers, confined sources and strands in turn), own deque, one task from another
//! worker, a base whose worker is stuck in a callback, sleep. While a strand runs, the base's core lies in its slot, so
//! that another worker can take the base when the strand turns out to be long.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bufferevent_sync::deque;

use super::pool::{Pool, Seat, UNATTENDED, WorkerShared};
use crate::{
    affinity::Movable,
    base::Base,
    clock::Time,
    error::Result,
    lane::{self, Lane},
    placement::Random,
    protocol::{Park, Release},
    scratch::Scratch,
    selector::{Events, Selector as _},
    strand::{Lent, enqueue},
    task::Task,
};

/// Run time of a batch after which the base's selector is polled again, and of queued tasks above which a worker calls
/// for help.
const BATCH: Duration = Duration::from_micros(200);

/// Confined runs between two looks at the clock.
const RUNS_PER_LOOK: u32 = 16;

/// Pause before a worker looks again for its base, which a watcher has.
const RETRY: Duration = Duration::from_micros(50);

/// One worker of a runtime: the right to drive its bases on one thread.
///
/// [`Runtime::run`](crate::Runtime::run) drives all of them on threads of its own; a program with a thread pool of its
/// own takes them with [`Runtime::worker`](crate::Runtime::worker) and calls [`Worker::run`] on its threads.
pub struct Worker {
    pool: Arc<Pool>,
    index: usize,
    deque: deque::Worker<Task>,
}

impl Worker {
    pub(crate) fn new(pool: Arc<Pool>, index: usize, deque: deque::Worker<Task>) -> Self {
        Self { pool, index, deque }
    }

    /// The number of the worker in its runtime, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Works until the runtime stops.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a selector fails.
    pub fn run(self) -> Result<()> {
        let Self { pool, index, deque } = self;
        let lane = Lane::new(pool.id, deque);
        let entered = lane::enter(&lane);
        let mut running = Running {
            now: pool.clock.now(),
            me: index,
            random: Random::new(index as u64 + 1),
            scratch: Scratch::default(),
            events: Events::with_capacity(1),
            held: VecDeque::new(),
            lane: &lane,
            pool: &pool,
        };
        let result = running.work();
        if result.is_err() {
            pool.stop();
        }
        drop(entered);
        while let Some(task) = lane.pop() {
            task.orphan();
        }
        result
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A worker at work; belongs to its thread.
struct Running<'a> {
    pool: &'a Pool,
    me: usize,
    lane: &'a Lane,
    now: Time,
    random: Random,
    scratch: Scratch,
    /// Room for one: an edge of the top epoll that is taken must be acted on.
    events: Events,
    /// Bases held that wait in the top epoll otherwise.
    held: VecDeque<usize>,
}

impl Running<'_> {
    fn shared(&self) -> &WorkerShared {
        &self.pool.workers[self.me]
    }

    fn work(&mut self) -> Result<()> {
        while !self.pool.is_stopping() {
            match &self.shared().seat {
                Seat::Home(_) => self.round_at_home()?,
                Seat::Own { .. } => self.round_without_base()?,
                Seat::Top => self.round_at_top()?,
            }
        }
        Ok(())
    }

    // ---- as many workers as bases, or more ----

    fn round_at_home(&mut self) -> Result<()> {
        let Some(base) = self.pool.bases[self.me].take() else {
            // A watcher has the base; its strands may be ours to run meanwhile.
            if !self.run_own() && !self.help() {
                std::thread::sleep(RETRY);
            }
            return Ok(());
        };
        let Some(mut base) = self.turn(base)? else { return Ok(()) };
        if base.has_confined_work() {
            base.poll(Some(Duration::ZERO))?;
            self.pool.bases[self.me].put(base);
            return Ok(());
        }
        if let Some(task) = self.pool.steal(self.me, &mut self.random) {
            self.pool.bases[self.me].put(base);
            self.run_stolen(task);
            if let Some(mut base) = self.pool.bases[self.me].take() {
                let polled = base.poll(Some(Duration::ZERO));
                self.pool.bases[self.me].put(base);
                polled?;
            }
            return Ok(());
        }
        let watching = self.pool.begin_watch(self.now);
        let limit = self.sleep_limit(watching);
        self.shared().counters.parks.add(1);
        let slept = base.park(base.wait_time(limit), || self.pool.is_stopping());
        self.now = base.now();
        self.pool.bases[self.me].put(base);
        if watching {
            self.pool.end_watch();
            self.rescue()?;
        }
        slept
    }

    /// Runs what `base` has; `None` if a watcher took the base over while a strand ran.
    fn turn(&mut self, mut base: Box<Base<Movable>>) -> Result<Option<Box<Base<Movable>>>> {
        base.begin_turn();
        self.now = base.now();
        let mut looked = self.now;
        let mut runs = 0;
        self.call_for_help();
        while !self.pool.is_stopping() {
            let confined = base.run_confined();
            let task = self.lane.pop();
            if !confined && task.is_none() {
                break;
            }
            if let Some(task) = task {
                match self.run_beside(base, task) {
                    Some(back) => base = back,
                    None => return Ok(None),
                }
            }
            runs += 1;
            if runs % RUNS_PER_LOOK == 0 {
                self.now = self.pool.clock.now();
            }
            if self.now.since(looked) > BATCH {
                base.poll(Some(Duration::ZERO))?;
                base.begin_turn();
                self.now = base.now();
                looked = self.now;
                self.call_for_help();
            }
        }
        Ok(Some(base))
    }

    /// Runs a task with the base in its slot, then takes the base back.
    fn run_beside(&mut self, base: Box<Base<Movable>>, task: Task) -> Option<Box<Base<Movable>>> {
        if !self.pool.is_shared() {
            self.run(task);
            return Some(base);
        }
        let slot = &self.pool.bases[base.index()];
        slot.put(base);
        self.run_timed(task);
        slot.take()
    }

    /// How long this worker may sleep at most, whatever the timers say.
    fn sleep_limit(&self, watching: bool) -> Option<Duration> {
        let watch = watching.then_some(UNATTENDED);
        match (watch, self.pool.shutdown_left(self.pool.clock.now())) {
            (Some(watch), Some(left)) => Some(watch.min(left)),
            (watch, left) => watch.or(left),
        }
    }

    // ---- more workers than bases ----

    fn round_without_base(&mut self) -> Result<()> {
        if self.run_own() || self.help() {
            return Ok(());
        }
        self.now = self.pool.clock.now();
        let watching = self.pool.begin_watch(self.now);
        let limit = self.sleep_limit(watching);
        self.shared().counters.parks.add(1);
        let slept = self.sleep_alone(limit);
        self.now = self.pool.clock.now();
        if watching {
            self.pool.end_watch();
            self.rescue()?;
        }
        slept
    }

    fn sleep_alone(&mut self, limit: Option<Duration>) -> Result<()> {
        let pool = self.pool;
        let Seat::Own { park, selector } = &pool.workers[self.me].seat else { return Ok(()) };
        if park.park(|| pool.is_stopping()) == Park::Stay {
            return Ok(());
        }
        let waited = selector.wait(&mut self.events, limit);
        park.woken();
        Ok(waited?)
    }

    // ---- more bases than workers ----

    fn round_at_top(&mut self) -> Result<()> {
        let Some(top) = &self.pool.top else { return Ok(()) };
        let mut busy = false;
        if let Some(index) = self.held.pop_front() {
            busy = true;
            if self.turn_held(index)? {
                self.held.push_back(index);
            }
        }
        busy |= self.run_own() || !busy && self.help();
        if !busy {
            self.shared().counters.parks.add(1);
        }
        // One look after each turn, so that no base waits behind a busy one.
        let timeout =
            if busy || !self.held.is_empty() { Some(Duration::ZERO) } else { self.sleep_limit(false) };
        if let Some(index) = top.wait(&mut self.events, timeout)? {
            if self.pool.bases.get(index).is_some_and(|slot| slot.word.try_hold()) {
                self.held.push_back(index);
            }
        }
        if self.pool.is_stopping() {
            // Each worker that leaves wakes the next.
            top.wake();
        }
        Ok(())
    }

    /// One turn of a base this worker holds; false when it was let go.
    fn turn_held(&mut self, index: usize) -> Result<bool> {
        let slot = &self.pool.bases[index];
        let Some(mut base) = slot.take() else { return Ok(true) };
        base.unrelease();
        base.poll(Some(Duration::ZERO))?;
        let Some(mut base) = self.turn(base)? else { return Ok(true) };
        let quiet = !base.has_confined_work() && base.prepare_release()?;
        slot.put(base);
        Ok(!quiet || slot.word.release() == Release::PollAgain)
    }

    // ---- tasks ----

    fn run_own(&mut self) -> bool {
        let Some(task) = self.lane.pop() else { return false };
        self.run_timed(task);
        true
    }

    fn help(&mut self) -> bool {
        let Some(task) = self.pool.steal(self.me, &mut self.random) else { return false };
        self.run_stolen(task);
        true
    }

    fn run_stolen(&mut self, task: Task) {
        self.shared().counters.steals.add(1);
        self.run_timed(task);
    }

    fn run(&mut self, task: Task) {
        self.shared().counters.runs.add(1);
        let mut lent = Lent { scratch: &mut self.scratch, now: self.now };
        if let Some(token) = task.run(&mut lent) {
            enqueue(token);
        }
    }

    /// Runs a task and takes its time: for the decision to call for help, and for the watcher.
    fn run_timed(&mut self, task: Task) {
        let began = self.now;
        let strand = match &task {
            Task::Strand(strand) => Some(Arc::clone(strand)),
            Task::Call(_) => None,
        };
        self.shared().begin_strand(began);
        self.run(task);
        self.shared().end_strand();
        self.now = self.pool.clock.now();
        let took = self.now.since(began).as_nanos() as u64;
        if let Some(strand) = strand {
            strand.cost().record(took);
        }
        self.pool.strand_took(took, self.now);
    }

    /// Wakes a sleeping worker if more than one batch's worth of tasks is queued here.
    fn call_for_help(&mut self) {
        let long = self.lane.backlog_nanos() > BATCH.as_nanos() as u64;
        if long && self.pool.is_shared() && self.pool.call_for_help(self.me) {
            self.shared().counters.calls.add(1);
        }
    }

    /// Polls the bases whose workers are stuck in a callback; their strands come to this worker's deque.
    fn rescue(&mut self) -> Result<()> {
        for (index, worker) in self.pool.workers.iter().enumerate() {
            let Seat::Home(shared) = &worker.seat else { continue };
            if index == self.me || !worker.is_stuck(self.now) {
                continue;
            }
            let Some(mut base) = self.pool.bases[shared.index].take() else { continue };
            self.shared().counters.rescues.add(1);
            let polled = base.poll(Some(Duration::ZERO));
            base.begin_turn();
            while base.run_confined() {}
            self.pool.bases[shared.index].put(base);
            polled?;
        }
        Ok(())
    }
}
