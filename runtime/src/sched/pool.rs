//! What the workers of one runtime share.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use bufferevent_sync::{
    CachePadded, Leaf,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    deque::{self, Steal, Stealer},
};

use super::top::Top;
use crate::{
    affinity::Movable,
    base::{Base, BaseHandle, shared::BaseShared},
    callback::OnBlocked,
    clock::{Clock, Time},
    counters::WorkerCounters,
    error::{Error, Result},
    lane::PoolId,
    placement::Place,
    protocol::{BaseWord, CallbackMark, ParkWord, is_quiet},
    random::Random,
    selector::{AnySelector, Selector as _},
    task::{Panic, Task, message_of},
};

/// A callback that runs longer makes its base unattended: an idle worker polls it in its stead.
pub(crate) const UNATTENDED: Duration = Duration::from_millis(1);

/// So long at least somebody keeps watch when a worker wishes for it, and longer while others are awake. So workers that
/// wake and sleep in quick turns do not call for it each time; and those that do so now and then do, for that is one wake,
/// where the watch is one for each [`UNATTENDED`].
const WATCH_BRIEFLY: Duration = Duration::from_millis(2);

/// So many queued tasks are a backlog, however short each seems to be.
const MANY: usize = 64;

/// Idle workers that keep watch at the same time.
const WATCHERS: usize = 2;

/// How long a runtime goes on at most, to end gracefully, when a panic got out of what a worker ran.
pub const GRACE_AFTER_PANIC: Duration = Duration::from_secs(5);

/// How often an idle worker looks whether a shutdown is over.
const SHUTDOWN_LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Pool {
    pub(crate) id: PoolId,
    pub(crate) clock: Clock,
    pub(crate) bases: Vec<BaseSlot>,
    pub(crate) workers: Vec<CachePadded<WorkerShared>>,
    /// Where workers wait when there are more bases than workers.
    pub(crate) top: Option<Top>,
    /// The deques of the workers that nobody has taken.
    free: Leaf<Vec<(usize, deque::Worker<Task>)>>,
    /// Help was called for, and nobody has looked since: a worker about to sleep looks once more.
    help_wanted: AtomicBool,
    /// Whether idle workers take work from others at all.
    pub(crate) stealing: bool,
    pub(crate) on_blocked: Option<OnBlocked>,
    stopping: AtomicBool,
    /// What `run` answers when a panic got out of what a worker ran: the first.
    panic: Leaf<Option<(usize, String)>>,
    /// Workers that threads run.
    active: AtomicUsize,
    /// When a shutdown ends at the latest, in nanoseconds of the clock; 0: none was begun.
    shutdown_at: AtomicU64,
    /// Until when somebody keeps watch, in nanoseconds of the clock.
    watch_until: AtomicU64,
    watchers: AtomicUsize,
}

/// A base and the place its core waits in while no worker holds it.
pub(crate) struct BaseSlot {
    pub(crate) shared: Arc<BaseShared>,
    pub(crate) word: BaseWord,
    core: Leaf<Option<Box<Base<Movable>>>>,
    /// The worker that holds the base, or held it last.
    holder: AtomicUsize,
}

impl BaseSlot {
    pub(crate) fn new(core: Base<Movable>, shared: Arc<BaseShared>) -> Self {
        // At home the numbers are the same.
        let holder = AtomicUsize::new(shared.index);
        Self { shared, word: BaseWord::new(), core: Leaf::new(Some(Box::new(core))), holder }
    }

    pub(crate) fn set_holder(&self, worker: usize) {
        // ORDER: Relaxed; tells a watcher which slots to look into, the slot's lock does the rest.
        self.holder.store(worker, Ordering::Relaxed);
    }

    pub(crate) fn holder(&self) -> usize {
        // ORDER: Relaxed; see `set_holder`.
        self.holder.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Option<Box<Base<Movable>>> {
        self.core.lock().take()
    }

    pub(crate) fn put(&self, core: Box<Base<Movable>>) {
        let old = self.core.lock().replace(core);
        debug_assert!(old.is_none(), "a base has one core");
    }

    /// What the base holds, for a dump; only while no worker holds it.
    fn describe(&self) -> String {
        match self.core.try_lock().as_deref_mut() {
            Some(Some(core)) => core.describe(),
            _ => "held by a worker".to_owned(),
        }
    }
}

/// What others may do to a worker.
pub(crate) struct WorkerShared {
    pub(crate) stealer: Stealer<Task>,
    pub(crate) seat: Seat,
    pub(crate) counters: WorkerCounters,
    /// Which callback it is in.
    pub(crate) mark: Arc<CallbackMark>,
    /// When the strand that is running began, in nanoseconds of the clock; 0: none is running.
    since: AtomicU64,
    /// Whether more is queued than the worker runs in a batch.
    backlog: AtomicBool,
    /// Whether a thread runs the worker.
    active: AtomicBool,
    /// It is awake only to look whether others are stuck: before it runs anything it wishes for a watch.
    only_looks: AtomicBool,
}

/// Where a worker sleeps: in the selector of its home base, in one of its own, or in the top epoll.
pub(crate) enum Seat {
    Home(Arc<BaseShared>),
    Own { park: ParkWord, selector: AnySelector },
    Top,
}

impl WorkerShared {
    pub(crate) fn new(stealer: Stealer<Task>, seat: Seat) -> Self {
        Self {
            stealer,
            seat,
            counters: WorkerCounters::default(),
            mark: Arc::default(),
            since: AtomicU64::new(0),
            backlog: AtomicBool::new(false),
            active: AtomicBool::new(false),
            only_looks: AtomicBool::new(false),
        }
    }

    /// Whether a thread runs the worker.
    fn is_active(&self) -> bool {
        // ORDER: Acquire, pairs with the swaps in `enter` and `leave`.
        self.active.load(Ordering::Acquire)
    }

    /// Where the worker says that it sleeps; `None` for one that waits in the top epoll, where such are counted.
    fn park(&self) -> Option<&ParkWord> {
        match &self.seat {
            Seat::Home(base) => Some(&base.park),
            Seat::Own { park, .. } => Some(park),
            Seat::Top => None,
        }
    }

    /// Whether the worker sleeps, or nobody runs it.
    fn is_idle(&self) -> bool {
        !self.is_active() || self.park().is_some_and(ParkWord::is_parked)
    }

    /// By the worker itself, when it wakes from a watch, and before it wishes for one or sleeps.
    pub(crate) fn set_only_looks(&self, only_looks: bool) {
        // ORDER: Relaxed; published by the RMW on `watchers` that follows: see `Pool::others_sleep`.
        self.only_looks.store(only_looks, Ordering::Relaxed);
    }

    /// Whether there is nothing that it could be stuck in.
    fn needs_no_watch(&self) -> bool {
        // ORDER: Relaxed; see `set_only_looks`.
        self.is_idle() || self.only_looks.load(Ordering::Relaxed)
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
        self.running_for(now).is_some_and(|time| time > UNATTENDED)
    }

    /// How long the worker has been inside the strand that it runs.
    pub(crate) fn running_for(&self, now: Time) -> Option<Duration> {
        // ORDER: Relaxed; see `begin_strand`.
        match self.since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(now.since(Time::from_nanos(since))),
        }
    }

    /// By the worker itself: says whether others should take from its deque.
    pub(crate) fn set_backlog(&self, backlog: bool) {
        // ORDER: Relaxed; a hint for thieves, the deque does the rest.
        self.backlog.store(backlog, Ordering::Relaxed);
    }

    /// Whether it pays to take from the deque: what is short is done sooner, and cheaper, where it is.
    fn needs_help(&self, now: Time) -> bool {
        // ORDER: Relaxed; see `set_backlog`.
        self.backlog.load(Ordering::Relaxed)
            || self.stealer.len() >= MANY
            || self.is_stuck(now)
            || !self.is_active()
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
        deques: Vec<deque::Worker<Task>>,
        top: Option<Top>,
        stealing: bool,
    ) -> Self {
        Self {
            free: Leaf::new(deques.into_iter().enumerate().rev().collect()),
            help_wanted: AtomicBool::new(false),
            id,
            clock,
            bases,
            workers: workers.into_iter().map(CachePadded::new).collect(),
            top,
            stealing,
            on_blocked: None,
            stopping: AtomicBool::new(false),
            panic: Leaf::new(None),
            active: AtomicUsize::new(0),
            shutdown_at: AtomicU64::new(0),
            watch_until: AtomicU64::new(0),
            watchers: AtomicUsize::new(0),
        }
    }

    /// The base at `place`, if it is one of these.
    #[inline]
    pub(crate) fn base_at(&self, place: Place) -> Option<&BaseShared> {
        if place.pool() != self.id {
            return None;
        }
        self.bases.get(place.index()).map(|slot| &*slot.shared)
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
        // ORDER: RMW, against the one in `enter`: either it counts the worker that begins, which drops the bases when it
        // leaves, or that one sees the stop and touches no base.
        if self.active.fetch_add(0, Ordering::AcqRel) == 0 {
            self.drop_bases();
        }
    }

    /// Drops the bases that are there: what lives on them may own a handle of the runtime, and would keep itself alive.
    fn drop_bases(&self) {
        self.bases.iter().for_each(|base| drop(base.take()));
    }

    /// The thread of worker `index` begins.
    pub(crate) fn enter(&self, index: usize) {
        // ORDER: AcqRel, both; see `stop`, `leave` and `is_active`.
        self.active.fetch_add(1, Ordering::AcqRel);
        self.workers[index].active.swap(true, Ordering::AcqRel);
    }

    /// The thread of worker `index` ends, after a stop. The last one drops the bases.
    pub(crate) fn leave(&self, index: usize) {
        // ORDER: AcqRel, both; the last to leave sees what the others did to the bases.
        self.workers[index].active.swap(false, Ordering::AcqRel);
        if self.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drop_bases();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        // ORDER: Acquire, pairs with the swap in `stop`.
        self.stopping.load(Ordering::Acquire)
    }

    /// Has everything on all bases close, connections one after the other over `spread`; the pool stops as soon as there is
    /// nothing left, at the latest after `grace`.
    pub(crate) fn shut_down(&self, spread: Duration, grace: Duration) -> Result<()> {
        self.begin_shutdown(grace);
        let mut result = Ok(());
        for slot in &self.bases {
            let base = BaseHandle::new(Arc::clone(&slot.shared));
            // One that rests could not close what it has.
            base.resume();
            result = result.and(base.post(move |base: &mut Base| base.close_all_over(spread)));
        }
        // It may be over already: the bases that were told owned all there was.
        if self.is_stopping() { Ok(()) } else { result }
    }

    /// A panic got out of what `worker` ran: the runtime ends, gracefully if it does not already.
    pub(crate) fn panicked(&self, worker: usize, panic: Panic) {
        let message = message_of(panic);
        self.panic.lock().get_or_insert((worker, message));
        if self.shutdown_left(self.clock.now()).is_none() {
            // A base that cannot be told ends with the grace.
            let _ = self.shut_down(Duration::ZERO, GRACE_AFTER_PANIC);
        }
    }

    /// The first panic that got out of what a worker ran, as `run` answers it.
    pub(crate) fn panic_of_a_worker(&self) -> Option<Error> {
        let panic = self.panic.lock().clone();
        panic.map(|(worker, message)| Error::WorkerPanicked { worker, message })
    }

    fn begin_shutdown(&self, grace: Duration) {
        let at = self.clock.now().saturating_add(grace).as_nanos().max(1);
        // ORDER: AcqRel, pairs with `shutdown_left`; the posts to the bases that follow wake the workers.
        self.shutdown_at.swap(at, Ordering::AcqRel);
    }

    fn shutdown_left(&self, now: Time) -> Option<Duration> {
        // ORDER: Acquire, pairs with the swap in `begin_shutdown`.
        match self.shutdown_at.load(Ordering::Acquire) {
            0 => None,
            at => Some(Time::from_nanos(at).since(now)),
        }
    }

    /// Stops the pool if a shutdown has used up its grace. For every worker in every round, however busy.
    pub(crate) fn end_grace(&self, now: Time) {
        if self.shutdown_left(now).is_some_and(|left| left.is_zero()) {
            self.stop();
        }
    }

    /// For the worker `me`, which has nothing to do: stops the pool if a shutdown is over; answers how long the worker may
    /// sleep at most during one.
    pub(crate) fn look_for_end(&self, me: usize) -> Option<Duration> {
        let left = self.shutdown_left(self.clock.now())?;
        if self.is_quiet(me) {
            self.stop();
        }
        Some(left.min(SHUTDOWN_LOOK))
    }

    /// Whether there is nothing to do for any worker, and nothing on any base; `me` is idle.
    fn is_quiet(&self, me: usize) -> bool {
        let others = || {
            let others = self.workers.iter().enumerate().filter(move |(index, _)| *index != me);
            others.map(|(_, other)| other).filter(|other| other.is_active())
        };
        is_quiet(
            || match &self.top {
                Some(top) => top.mark(others().count()),
                None => others().all(|other| other.park().is_some_and(ParkWord::mark)),
            },
            || self.bases.iter().all(|base| base.shared.is_deserted()),
            || match &self.top {
                Some(top) => top.is_marked(others().count()),
                None => others().all(|other| other.park().is_some_and(ParkWord::is_marked)),
            },
        )
    }

    /// Whether all workers but `me` sleep, or are not run, or only look. Else two that keep watch, and wake at the same moments,
    /// would do so for each other, for ever.
    fn others_sleep(&self, me: usize, announced: bool) -> bool {
        let mut awake =
            self.workers.iter().enumerate().filter(|(index, other)| *index != me && !other.needs_no_watch());
        match &self.top {
            Some(top) => awake.count() + usize::from(announced) <= top.sleepers(),
            None => awake.next().is_none(),
        }
    }

    /// Whether a worker other than `me` seems to sleep, so that new events found here could wake it to help.
    pub(crate) fn has_sleeper(&self, me: usize) -> bool {
        self.is_shared()
            && match &self.top {
                Some(top) => top.sleepers() > 0,
                None => self.workers.iter().enumerate().any(|(index, other)| index != me && other.is_idle()),
            }
    }

    /// Wakes one sleeping worker to take tasks; true if there was one. One that is about to sleep learns of it too.
    pub(crate) fn call_for_help(&self, caller: usize) -> bool {
        // ORDER: AcqRel; published by the RMWs of the calls that follow. loom: park::call_for_help_is_never_lost
        self.help_wanted.swap(true, Ordering::AcqRel);
        // Who wakes hears it too, before it looks for tasks; the caller cannot take it back, since it may be another's.
        self.call_sleeper(caller)
    }

    fn call_sleeper(&self, caller: usize) -> bool {
        let count = self.workers.len();
        match &self.top {
            Some(top) => top.call(),
            None => (1..count).any(|step| self.workers[(caller + step) % count].call()),
        }
    }

    /// For a worker that is about to look for tasks, and again when it has announced its sleep: whether help was called
    /// for since it asked last.
    pub(crate) fn hears_call(&self) -> bool {
        // ORDER: Relaxed: the announcement is an RMW that reads from the call's. AcqRel for the one who takes it.
        self.help_wanted.load(Ordering::Relaxed) && self.help_wanted.swap(false, Ordering::AcqRel)
    }

    /// The deque of a worker that nobody has taken.
    pub(crate) fn take_free(&self) -> Option<(usize, deque::Worker<Task>)> {
        self.free.lock().pop()
    }

    /// A worker was taken and not run.
    pub(crate) fn give_back(&self, index: usize, deque: deque::Worker<Task>) {
        self.free.lock().push((index, deque));
    }

    /// Takes one task from another worker that needs help, beginning with a random one.
    pub(crate) fn steal(&self, thief: usize, now: Time, random: &mut Random) -> Option<Task> {
        let count = self.workers.len();
        if !self.stealing || count < 2 {
            return None;
        }
        let start = random.below(count);
        for step in 0..count {
            let victim = (start + step) % count;
            if victim == thief || !self.workers[victim].needs_help(now) {
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

    // ---- the watch ----
    //
    // While one worker is awake and others are idle, one of those keeps watch: it sleeps for at most UNATTENDED and looks
    // whether the awake ones are stuck. A second one does too, so that the first may wake for work of its own and nobody
    // need be called. Who wakes and finds strands wishes for a watch once; if nobody keeps one it calls a sleeper, which
    // passes the call on if it has other things to do. Two
    // cases, as in `protocol::park`: the wish's RMW on `watchers` comes before the last watcher's `end_watch`, which then
    // sees the caller awake when it looks whether to go on; or it comes after, finds nobody, and calls. A worker about to
    // sleep looks once more after its RMW on the park word, which the call's RMW meets. Where nobody ever ran a strand,
    // nobody watches.

    /// By the worker `caller`, which woke and is to run something: wishes for a watch.
    pub(crate) fn wish_watch(&self, caller: usize, now: Time) {
        if !self.is_shared() {
            return;
        }
        let until = |after| now.saturating_add(after).as_nanos();
        // ORDER: Relaxed; published by the two RMWs that follow.
        if self.watch_until.load(Ordering::Relaxed) < until(WATCH_BRIEFLY / 2) {
            self.watch_until.fetch_max(until(WATCH_BRIEFLY), Ordering::Relaxed);
        }
        self.find_watcher(caller);
    }

    /// By the worker `caller`, which woke and has work that no watch is needed for: it may have been called to keep one.
    pub(crate) fn pass_watch_on(&self, caller: usize, now: Time) {
        // ORDER: Relaxed; who called made an RMW after its wish, which the caller's RMW at its waking read from.
        if now.as_nanos() < self.watch_until.load(Ordering::Relaxed) {
            self.find_watcher(caller);
        }
    }

    fn find_watcher(&self, caller: usize) {
        // ORDER: AcqRel, pairs with the one in `end_watch`.
        if self.watchers.fetch_add(0, Ordering::AcqRel) == 0 {
            // loom: park::call_for_help_is_never_lost
            self.call_sleeper(caller);
        }
    }

    /// For the idle worker `me`: whether a watch is wished for, or was and others are awake, and too few keep it.
    ///
    /// * `announced`: whether `me` counts as a sleeper already.
    pub(crate) fn wants_watch(&self, me: usize, now: Time, announced: bool) -> bool {
        // ORDER: Relaxed, both; the caller has made an RMW on its park word, or on `watchers`, that pairs with
        // `wish_watch`.
        let until = self.watch_until.load(Ordering::Relaxed);
        until != 0
            && self.watchers.load(Ordering::Relaxed) < WATCHERS
            && (now.as_nanos() < until || !self.others_sleep(me, announced))
    }

    /// Becomes one of the idle workers that sleep only briefly; true until [`Pool::end_watch`].
    pub(crate) fn begin_watch(&self, me: usize, now: Time) -> bool {
        let one_more = |watchers| (watchers < WATCHERS).then_some(watchers + 1);
        self.is_shared()
            && self.wants_watch(me, now, false)
            // ORDER: AcqRel; see `wish_watch`.
            && self.watchers.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).is_ok()
    }

    /// By a watcher: tells of callbacks that last too long.
    pub(crate) fn tell_blocked(&self, now: Time) {
        let Some(on_blocked) = &self.on_blocked else { return };
        let count = |base: usize| {
            let shared = &self.bases[base].shared;
            shared.counters.blocked.add(1);
            shared.id
        };
        for worker in &self.workers {
            if let Some(blocked) = on_blocked.look(&worker.mark, now, count) {
                on_blocked.tell(&blocked);
            }
        }
    }

    pub(crate) fn end_watch(&self) {
        // ORDER: AcqRel; see `wish_watch`.
        self.watchers.fetch_sub(1, Ordering::AcqRel);
    }

    /// All words of all workers and bases, for who wonders why nothing happens.
    pub(crate) fn dump(&self) -> String {
        let now = self.clock.now();
        let mut text = format!(
            "stopping {} shutdown in {:?} watchers {:?}\n",
            self.is_stopping(),
            self.shutdown_left(now),
            self.watchers,
        );
        for (index, worker) in self.workers.iter().enumerate() {
            let idle = worker.is_idle();
            let (queued, stuck) = (worker.stealer.len(), worker.is_stuck(now));
            let _ = writeln!(text, "worker {index}: idle {idle} queued {queued} stuck {stuck}");
            let _ = writeln!(text, "  {:?}", worker.counters);
        }
        if let Some(top) = &self.top {
            let _ = writeln!(text, "top: sleepers {}", top.sleepers());
        }
        for slot in &self.bases {
            let shared = &slot.shared;
            let _ = writeln!(
                text,
                "base {} of worker {}: {:?} {:?} {:?} {:?} load {}",
                shared.index,
                slot.holder(),
                slot.word,
                shared.park,
                shared.gate,
                shared.inbox,
                shared.load(),
            );
            let _ = writeln!(text, "  {:?}\n  {}", shared.counters, slot.describe());
        }
        text
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Census, Runtime};

    #[test]
    fn nobody_keeps_watch_for_one_that_does_so_itself() {
        let _census = Census::begin();
        let runtime = Runtime::builder().workers(2).bases(2).build().expect("two bases");
        let pool = runtime.pool();
        (0..2).for_each(|worker| pool.enter(worker));
        let now = pool.clock.now();
        pool.wish_watch(0, now);
        assert!(pool.wants_watch(1, now, false));
        let later = now.saturating_add(Duration::from_secs(1));
        assert!(pool.wants_watch(1, later, false), "worker 0 is awake");
        pool.workers[0].set_only_looks(true);
        assert!(pool.wants_watch(1, now, false) && !pool.wants_watch(1, later, false));
        (0..2).for_each(|worker| pool.leave(worker));
    }
}
