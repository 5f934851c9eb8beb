//! A worker: runs its home base, and helps others when it has nothing to do.
//!
//! Order of a round: own base (inbox, timers, confined sources and strands in turn), own deque, one task from another
//! worker, a base whose worker is stuck in a callback, sleep. While a strand runs, the base's core lies in its slot, so
//! that another worker can take the base when the strand turns out to be long.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

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
    protocol::{Park, Release},
    random::Random,
    scratch::Scratch,
    selector::{Events, Selector as _},
    strand::{Bases, Lent, enqueue},
    task::{self, Task},
};

/// Run time of a batch after which the base's selector is polled again, and of queued tasks above which a worker calls
/// for help.
const BATCH: Duration = Duration::from_micros(200);

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
/// own takes them with [`Runtime::worker`](crate::Runtime::worker) and calls [`Worker::run`] on its threads. The bases of a
/// worker that nobody runs lie still; one that is dropped goes back to its runtime.
pub struct Worker {
    pool: Arc<Pool>,
    index: usize,
    /// `None` only while it is given back, or run.
    deque: Option<deque::Worker<Task>>,
}

impl Worker {
    pub(crate) fn new(pool: Arc<Pool>, index: usize, deque: deque::Worker<Task>) -> Self {
        Self { pool, index, deque: Some(deque) }
    }

    /// The number of the worker in its runtime, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Works until the runtime stops.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a selector fails; the runtime is stopped then.
    /// [`Error::WorkerPanicked`](crate::Error::WorkerPanicked) if a source or a strand of the runtime let a panic out, on any
    /// of its workers: see [`Runtime::run`](crate::Runtime::run).
    pub fn run(mut self) -> Result<()> {
        let (pool, index) = (Arc::clone(&self.pool), self.index);
        let Some(deque) = self.deque.take() else { return Ok(()) };
        let lane = Lane::new(pool.id, deque, Some(Arc::clone(&pool.workers[index].mark)));
        let entered = lane::enter(&lane);
        pool.enter(index);
        let now = pool.clock.now();
        let mut running = Running {
            now,
            awake_since: now,
            wishes: Wishes::OnStrands,
            just_woke: true,
            me: index,
            random: Random::new(index as u64 + 1),
            scratch: Scratch::default(),
            events: Events::with_capacity(1),
            held: VecDeque::new(),
            lane: &lane,
            pool: &pool,
        };
        let result = catch_unwind(AssertUnwindSafe(|| running.work())).unwrap_or_else(|panic| {
            // A fault of ours. What it had in its hands is gone; the others go on.
            pool.panicked(index, panic);
            Ok(())
        });
        if result.is_err() {
            pool.stop();
        }
        orphan_all(&lane);
        // What is dropped here is still on a worker, and may queue more.
        pool.leave(index);
        orphan_all(&lane);
        drop(entered);
        result.and(pool.panic_of_a_worker().map_or(Ok(()), Err))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(deque) = self.deque.take() {
            self.pool.give_back(self.index, deque);
        }
    }
}

fn orphan_all(lane: &Lane) {
    while let Some(task) = lane.pop() {
        task.orphan();
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
    /// It has run nothing since.
    just_woke: bool,
    random: Random,
    scratch: Scratch,
    /// Room for one: an edge of the top epoll that is taken must be acted on.
    events: Events,
    /// Bases held that wait in the top epoll otherwise.
    held: VecDeque<usize>,
}

/// Who has a base after its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Mine,
    /// A watcher looks after it; it comes back.
    Away,
    Freed,
}

/// When the worker, now that it is awake, wishes for somebody to watch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wishes {
    /// It has, for this time.
    Done,
    /// Before it runs a strand, or anything if somebody wants to know of blocked callbacks: it may get stuck.
    OnStrands,
    /// Before it runs anything, since it has kept watch itself.
    OnWork,
}

impl Running<'_> {
    fn shared(&self) -> &WorkerShared {
        &self.pool.workers[self.me]
    }

    fn work(&mut self) -> Result<()> {
        while !self.pool.is_stopping() {
            self.pool.end_grace(self.now);
            self.scratch.begin_pass();
            match &self.shared().seat {
                Seat::Home(_) => self.round_at_home()?,
                Seat::Own { .. } => self.round_without_base()?,
                Seat::Top => self.round_at_top()?,
            }
            // The round ended with it. All that it had in its hands is in order, and the worker helps to end the rest.
            if let Some(panic) = task::set_escaped(None) {
                self.pool.panicked(self.me, panic);
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
        if let Some(task) = self.find_task() {
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
        let slept = base.park(base.wait_time(limit), |_| self.has_other_duty(watching));
        self.now = self.now.max(base.now());
        self.pool.bases[self.me].put(base);
        self.woke(watching)?;
        slept
    }

    /// Runs what `base` has, for about [`BATCH`], and all that was ready at the start unless another worker sleeps; then
    /// the caller polls it again. `None` if a watcher took the base over while a strand ran.
    fn turn(&mut self, mut base: Box<Base<Movable>>) -> Option<Box<Base<Movable>>> {
        self.now = self.now.max(base.now());
        let mail = base.mail();
        if mail > 0 && self.wishes == Wishes::OnWork {
            self.wish_watch();
        }
        // Posts run here too.
        self.shared().begin_strand(self.now);
        base.begin_turn(mail);
        self.shared().end_strand();
        let began = self.now;
        let may_block = self.pool.on_blocked.is_some() || !self.lane.is_empty();
        let wishes = self.wishes == Wishes::OnWork || self.wishes == Wishes::OnStrands && may_block;
        if base.has_confined_work() {
            let woke = std::mem::take(&mut self.just_woke);
            if wishes {
                self.wish_watch();
            } else if woke {
                self.pool.pass_watch_on(self.me, self.now);
            }
        }
        self.call_for_help();
        let mut first = base.queued() + self.lane.deque.len();
        while !self.pool.is_stopping() && !task::has_escaped() {
            // While it is in one of these nobody may enter the base, but others may take its strands.
            self.shared().begin_strand(self.now);
            let confined = (0..CHUNK).take_while(|_| !task::has_escaped() && base.run_confined()).count();
            self.shared().end_strand();
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
            first = first.saturating_sub(confined + CHUNK * usize::from(strands));
            if self.now.since(began) > BATCH && (first == 0 || self.pool.has_sleeper(self.me)) {
                break;
            }
        }
        self.count_busy();
        base.rest_if_exiting();
        Some(base)
    }

    /// Runs a chunk of the deque. If others may need the base it lies in its slot meanwhile, and is taken back.
    fn run_strands(&mut self, base: Box<Base<Movable>>) -> Option<Box<Base<Movable>>> {
        if !self.pool.is_shared() {
            for _ in 0..CHUNK {
                let Some(task) = self.lane.pop() else { break };
                self.run(task, false);
                if task::has_escaped() {
                    break;
                }
            }
            self.now = self.pool.clock.now();
            return Some(base);
        }
        let slot = &self.pool.bases[base.index()];
        slot.put(base);
        let began = self.now;
        for _ in 0..CHUNK {
            let Some(task) = self.lane.pop() else { break };
            self.run_timed(task);
            if self.now.since(began) > BATCH || task::has_escaped() {
                break;
            }
        }
        self.tell_backlog();
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
        ends || self.pool.is_shared()
            && (self.pool.hears_call() || !watching && self.pool.wants_watch(self.me, self.now, true))
    }

    fn falls_asleep(&mut self) {
        self.shared().set_only_looks(false);
        self.shared().counters.parks.add(1);
        self.count_busy();
    }

    fn count_busy(&mut self) {
        let busy = self.now.since(self.awake_since);
        self.shared().counters.busy_nanos.add(busy.as_nanos() as u64);
        self.awake_since = self.now;
    }

    fn woke(&mut self, watching: bool) -> Result<()> {
        self.awake_since = self.now;
        self.just_woke = true;
        self.wishes = if watching { Wishes::OnWork } else { Wishes::OnStrands };
        if watching {
            self.shared().set_only_looks(true);
            self.pool.end_watch();
            self.pool.tell_blocked(self.now);
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
            let kept = self.turn_held(index)?;
            busy = kept != Kept::Away;
            if kept != Kept::Freed {
                self.held.push_back(index);
            }
        }
        let began = self.now;
        while self.now.since(began) <= BATCH && self.run_own() {
            busy = true;
        }
        busy |= !busy && self.help();
        if !busy && !self.held.is_empty() {
            std::thread::sleep(RETRY);
        }
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

    /// One turn of a base this worker holds.
    ///
    /// The core is back in its slot only after the base word is free: so a core found in its slot while the word says
    /// "held" belongs to a worker that runs a strand, or has not come to this base yet.
    fn turn_held(&mut self, index: usize) -> Result<Kept> {
        let slot = &self.pool.bases[index];
        let Some(mut base) = slot.take() else { return Ok(Kept::Away) };
        base.unrelease();
        let polled = base.poll(Some(Duration::ZERO));
        let Some(mut base) = self.turn(base) else { return polled.and(Ok(Kept::Mine)) };
        let prepared = if base.has_confined_work() { Ok(false) } else { base.prepare_release() };
        let mut kept = Kept::Mine;
        if let Ok(true) = prepared {
            match slot.word.release() {
                Release::Freed => kept = Kept::Freed,
                Release::PollAgain => base.unrelease(),
            }
        }
        slot.put(base);
        polled.and(prepared).map(|_| kept)
    }

    // ---- tasks ----

    fn run_own(&mut self) -> bool {
        let Some(task) = self.lane.pop() else { return false };
        self.run_timed(task);
        true
    }

    fn help(&mut self) -> bool {
        let Some(task) = self.find_task() else { return false };
        self.run_stolen(task);
        true
    }

    /// A task of another worker. It answers every call for help that came before.
    fn find_task(&mut self) -> Option<Task> {
        let _answered = self.pool.hears_call();
        self.now = self.pool.clock.now();
        self.pool.steal(self.me, self.now, &mut self.random)
    }

    fn run_stolen(&mut self, task: Task) {
        self.shared().counters.steals.add(1);
        if let Task::Strand(strand) = &task {
            if let Some(base) = self.pool.base_at(strand.place()) {
                base.counters.helped.add(1);
            }
        }
        self.run_timed(task);
    }

    #[inline(always)]
    fn run(&mut self, task: Task, timed: bool) {
        self.shared().counters.runs.add(1);
        let mut lent =
            Lent { scratch: &mut self.scratch, now: self.now, timed, bases: Bases::Pool(self.pool) };
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
        self.shared().set_only_looks(false);
        self.pool.wish_watch(self.me, self.now);
    }

    /// Wakes a sleeping worker if more than one batch's worth of tasks is queued here.
    fn call_for_help(&mut self) {
        if self.tell_backlog() && self.pool.is_shared() && self.pool.call_for_help(self.me) {
            self.shared().counters.calls.add(1);
        }
    }

    fn tell_backlog(&self) -> bool {
        let backlog = self.lane.backlog_nanos() > BATCH.as_nanos() as u64;
        self.shared().set_backlog(backlog);
        backlog
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
            if self.pool.top.is_some() && slot.word.is_free() {
                // The worker got free, and freed the base: the top epoll tells of it.
                slot.put(base);
                continue;
            }
            self.shared().counters.rescues.add(1);
            base.unrelease();
            let polled = base.poll(Some(Duration::ZERO));
            // What runs here may take long too, and then this worker needs a watcher.
            self.wish_watch();
            self.shared().begin_strand(self.now);
            base.begin_turn(base.mail());
            for _ in 0..RUNS_PER_RESCUE {
                if !base.run_confined() {
                    break;
                }
            }
            self.shared().end_strand();
            base.rest_if_exiting();
            slot.put(base);
            polled?;
        }
        Ok(())
    }
}
