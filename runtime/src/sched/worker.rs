//! A worker: runs its home base, and helps others when it has nothing to do.
//!
//! Order of a round: own base (inbox, timers, confined sources and strands in turn), own deque, one task from another
//! worker, a base whose worker is stuck in a callback, sleep. While a strand runs, the base's core lies in its slot, so
//! that another worker can take the base when the strand turns out to be long.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bufferevent_sync::{CachePadded, deque};

use super::{
    pool::{Pool, Seat, UNATTENDED, WorkerShared},
    top::Top,
};
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
    task::{self, Task},
};

/// Run time of a batch after which the base's selector is polled again, and of queued tasks above which a worker calls
/// for help.
const BATCH: Duration = Duration::from_micros(200);

/// The same while no other worker sleeps. An early poll is for those who could help: what it finds queues at the tail,
/// so here it would only wait in another queue, at the price of a system call.
const LONG_BATCH: Duration = Duration::from_millis(1);

/// Confined sources that run before the strands have their turn, and the other way round. A base's core goes into its
/// slot and back once for a chunk of strands.
const CHUNK: usize = 16;

/// Confined runs that a watcher makes on a base it has taken over, before it puts it back.
const RUNS_PER_RESCUE: usize = 64;

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
    /// [`Error::Io`](crate::Error::Io) if a selector fails; the runtime is stopped then.
    /// # Panics
    /// With the panic that a source or a strand let out, after the turn it came in. The runtime is stopped then.
    pub fn run(self) -> Result<()> {
        let Self { pool, index, deque } = self;
        let lane = Lane::new(pool.id, deque);
        let entered = lane::enter(&lane);
        pool.enter(index);
        let now = pool.clock.now();
        let mut running = Running {
            now,
            awake_since: now,
            wishes: Wishes::OnStrands,
            me: index,
            random: Random::new(index as u64 + 1),
            scratch: Scratch::default(),
            events: Events::with_capacity(1),
            held: VecDeque::new(),
            lane: &lane,
            pool: &pool,
        };
        let result = running.work();
        if result.is_err() || task::has_escaped() {
            pool.stop();
        }
        drop(entered);
        while let Some(task) = lane.pop() {
            task.orphan();
        }
        pool.leave(index);
        task::resume_escaped();
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
    /// When it last woke.
    awake_since: Time,
    wishes: Wishes,
    random: Random,
    scratch: Scratch,
    /// Room for one: an edge of the top epoll that is taken must be acted on.
    events: Events,
    /// Bases held that wait in the top epoll otherwise.
    held: VecDeque<usize>,
}

/// When the worker, now that it is awake, wishes for somebody to watch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wishes {
    /// It has, for this time.
    Done,
    /// Before it runs a strand: it may get stuck.
    OnStrands,
    /// Before it runs anything, since it has kept watch itself.
    OnWork,
}

impl Running<'_> {
    fn shared(&self) -> &WorkerShared {
        &self.pool.workers[self.me]
    }

    fn work(&mut self) -> Result<()> {
        while !self.pool.is_stopping() && !task::has_escaped() {
            self.pool.end_grace(self.now);
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
        let Some(mut base) = self.turn(base) else { return Ok(()) };
        if base.has_confined_work() || !self.lane.is_empty() {
            let polled = base.poll(Some(Duration::ZERO));
            self.pool.bases[self.me].put(base);
            return polled;
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
        let watching = self.pool.begin_watch(self.me, self.now);
        let limit = self.sleep_limit(watching);
        self.falls_asleep();
        let slept = base.park(base.wait_time(limit), || self.has_other_duty(watching));
        self.now = self.now.max(base.now());
        self.pool.bases[self.me].put(base);
        self.woke(watching)?;
        slept
    }

    /// Runs what `base` has, for about [`BATCH`] while another worker sleeps, else for [`LONG_BATCH`]; then the caller polls it again. `None` if a watcher took the base over
    /// while a strand ran.
    fn turn(&mut self, mut base: Box<Base<Movable>>) -> Option<Box<Base<Movable>>> {
        base.begin_turn();
        self.now = self.now.max(base.now());
        let began = self.now;
        if self.wishes == Wishes::OnWork && base.has_confined_work() {
            self.wish_watch();
        }
        self.call_for_help();
        while !self.pool.is_stopping() {
            let confined = (0..CHUNK).take_while(|_| base.run_confined()).count();
            let strands = !self.lane.deque.is_empty();
            if confined == 0 && !strands {
                break;
            }
            if confined > 0 {
                self.now = self.pool.clock.now();
            }
            if strands {
                match self.run_strands(base) {
                    Some(back) => base = back,
                    None => return None,
                }
            }
            let ran = self.now.since(began);
            if ran > BATCH && (ran > LONG_BATCH || self.pool.has_sleeper(self.me)) {
                break;
            }
        }
        base.rest_if_exiting();
        Some(base)
    }

    /// Runs a chunk of the deque. If others may need the base it lies in its slot meanwhile, and is taken back.
    fn run_strands(&mut self, base: Box<Base<Movable>>) -> Option<Box<Base<Movable>>> {
        if !self.pool.is_shared() {
            (0..CHUNK).map_while(|_| self.lane.pop()).for_each(|task| self.run(task, false));
            self.now = self.pool.clock.now();
            return Some(base);
        }
        let slot = &self.pool.bases[base.index()];
        slot.put(base);
        let began = self.now;
        for _ in 0..CHUNK {
            let Some(task) = self.lane.pop() else { break };
            self.run_timed(task);
            if self.now.since(began) > BATCH {
                break;
            }
        }
        slot.take()
    }

    // ---- sleeping ----

    /// How long this worker may sleep at most, whatever the timers say.
    fn sleep_limit(&self, watching: bool) -> Option<Duration> {
        let watch = watching.then_some(UNATTENDED);
        match (watch, self.pool.look_for_end(self.me)) {
            (Some(watch), Some(left)) => Some(watch.min(left)),
            (watch, left) => watch.or(left),
        }
    }

    /// What a sleeper asks once more after it has announced itself.
    fn has_other_duty(&self, watching: bool) -> bool {
        let ends = self.pool.is_stopping() || task::has_escaped();
        ends || !watching && self.pool.is_shared() && self.pool.wants_watch(self.me, self.now, true)
    }

    fn falls_asleep(&self) {
        let counters = &self.shared().counters;
        counters.parks.add(1);
        counters.busy_nanos.add(self.now.since(self.awake_since).as_nanos() as u64);
    }

    fn woke(&mut self, watching: bool) -> Result<()> {
        self.awake_since = self.now;
        self.wishes = if watching { Wishes::OnWork } else { Wishes::OnStrands };
        if watching {
            self.pool.end_watch();
            self.rescue()?;
        }
        Ok(())
    }

    // ---- more workers than bases ----

    fn round_without_base(&mut self) -> Result<()> {
        if self.run_own() || self.help() {
            return Ok(());
        }
        self.now = self.pool.clock.now();
        let watching = self.pool.begin_watch(self.me, self.now);
        let limit = self.sleep_limit(watching);
        self.falls_asleep();
        let slept = self.sleep_alone(limit, watching);
        self.now = self.pool.clock.now();
        self.woke(watching)?;
        slept
    }

    fn sleep_alone(&mut self, limit: Option<Duration>, watching: bool) -> Result<()> {
        let pool = self.pool;
        let Seat::Own { park, selector } = &pool.workers[self.me].seat else { return Ok(()) };
        if park.park(|| self.has_other_duty(watching)) == Park::Stay {
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
        let began = self.now;
        while self.now.since(began) <= BATCH && self.run_own() {
            busy = true;
        }
        busy |= !busy && self.help();
        if busy || !self.held.is_empty() {
            // One look after each turn, so that no base waits behind a busy one.
            let ready = top.wait(&mut self.events, Some(Duration::ZERO), || false)?;
            self.hold(ready);
        } else {
            self.wait_at_top(top)?;
        }
        if self.pool.is_stopping() {
            // Each worker that leaves wakes the next.
            top.wake();
        }
        Ok(())
    }

    fn wait_at_top(&mut self, top: &Top) -> Result<()> {
        self.now = self.pool.clock.now();
        let watching = self.pool.begin_watch(self.me, self.now);
        let limit = self.sleep_limit(watching);
        self.falls_asleep();
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(1));
        let ready = top.wait(&mut events, limit, || self.has_other_duty(watching));
        self.events = events;
        self.now = self.pool.clock.now();
        self.hold(ready?);
        self.woke(watching)
    }

    fn hold(&mut self, ready: Option<usize>) {
        if let Some(index) = ready {
            if self.pool.bases.get(index).is_some_and(|slot| slot.word.try_hold()) {
                self.pool.bases[index].set_holder(self.me);
                self.held.push_back(index);
            }
        }
    }

    /// One turn of a base this worker holds; false when it was let go.
    fn turn_held(&mut self, index: usize) -> Result<bool> {
        let slot = &self.pool.bases[index];
        let Some(mut base) = slot.take() else { return Ok(true) };
        base.unrelease();
        let polled = base.poll(Some(Duration::ZERO));
        let Some(mut base) = self.turn(base) else { return polled.and(Ok(true)) };
        let released = if base.has_confined_work() { Ok(false) } else { base.prepare_release() };
        slot.put(base);
        polled?;
        let quiet = released?;
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
        if let Task::Strand(strand) = &task {
            strand.home().counters.helped.add(1);
        }
        self.run_timed(task);
    }

    fn run(&mut self, task: Task, timed: bool) {
        self.shared().counters.runs.add(1);
        let mut lent = Lent { scratch: &mut self.scratch, now: self.now, timed };
        let token = task.run(&mut lent, &self.pool.clock);
        self.now = lent.now;
        if let Some(token) = token {
            enqueue(token);
        }
    }

    /// Runs a task and takes its time: for the decision to call for help, and for the watcher.
    fn run_timed(&mut self, task: Task) {
        let began = self.now;
        if self.wishes != Wishes::Done {
            self.wish_watch();
        }
        self.shared().begin_strand(began);
        self.run(task, true);
        self.shared().end_strand();
    }

    fn wish_watch(&mut self) {
        self.wishes = Wishes::Done;
        self.pool.wish_watch(self.me, self.now);
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
        for slot in &self.pool.bases {
            let holder = slot.holder();
            let stuck = |worker: &CachePadded<WorkerShared>| worker.is_stuck(self.now);
            if holder == self.me || !self.pool.workers.get(holder).is_some_and(stuck) {
                continue;
            }
            let Some(mut base) = slot.take() else { continue };
            if base.is_released() {
                // The worker got free, and freed the base: the top epoll tells of it.
                slot.put(base);
                continue;
            }
            self.shared().counters.rescues.add(1);
            let polled = base.poll(Some(Duration::ZERO));
            base.begin_turn();
            for _ in 0..RUNS_PER_RESCUE {
                if !base.run_confined() {
                    break;
                }
            }
            slot.put(base);
            polled?;
        }
        Ok(())
    }
}
