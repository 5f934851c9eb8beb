//! A strand: lock domain, unit of ownership and unit of scheduling.
//!
//! A strand owns a body behind a lock and a [`StrandWord`]. Posting sets reasons in the word and, if nobody else has,
//! puts one token into a queue; whoever pops the token runs the strand. The runner never waits for the lock: a token
//! that meets a guard is parked with it, and the guard's drop puts it back into a queue.
//!
//! Lock order: a strand's lock is outermost; only leaf locks are taken under it. A thread holds one strand at a time,
//! but for [`lock_both`].

mod guard;
mod held;
mod moving;

use std::{any::Any, fmt, sync::Arc};

use bufferevent_sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use self::moving::Home;
pub use self::{
    guard::{StrandGuard, holds_strand, lock_both},
    held::Held,
    moving::Seating,
};
use crate::{
    base::{
        BaseHandle,
        shared::{BaseShared, Message},
    },
    clock::Time,
    lane,
    placement::{Place, Placement},
    protocol::{Finished, Posted, Reasons, Seat, StrandWord},
    sched::pool::Pool,
    scratch::Scratch,
    slots::Key,
    task::{Task, hold_panic, isolate},
};

/// What a strand's lock protects, and what is done with it in a run.
pub trait Body: Sized + Send + 'static {
    /// The part that any thread may reach without the lock.
    type Outer: Send + Sync + 'static;

    /// Whether it only serves what else lives on its base, as an alarm does that wakes it. Such a one is not counted among
    /// that: no loop and no drain waits for its end, and it is no connection. Default no.
    const INTERNAL: bool = false;

    /// Handles `reasons`. Called with the lock held; [`Held::unlocked`] drops it for the length of a call.
    ///
    /// The first run comes with [`Reasons::START`]. A run that panics is the last: the body is abandoned, and the panic
    /// goes on up through the base's turn, or ends the runtime.
    fn run(held: &mut Held<'_, Self>, reasons: Reasons, lent: &mut Lent<'_>) -> Left;

    /// Ends the body without any callback: its base is gone.
    fn abandon(&mut self, outer: &Self::Outer);
}

/// What the running worker lends to a run.
#[derive(Debug)]
pub struct Lent<'a> {
    /// Blocks to read into.
    pub scratch: &'a mut Scratch,
    /// The time of this turn.
    pub now: Time,
    /// Whether the run's time is taken: `now` is the time of its end then.
    pub(crate) timed: bool,
    /// Whose strands may run here.
    pub(crate) bases: Bases<'a>,
}

/// The bases whose strands the runner may run: a worker those of its pool, a base on its turn its own.
#[derive(Clone, Copy)]
pub(crate) enum Bases<'a> {
    Pool(&'a Pool),
    One(&'a BaseShared),
}

impl<'a> Bases<'a> {
    fn find(self, place: Place) -> Option<&'a BaseShared> {
        match self {
            Self::Pool(pool) => pool.base_at(place),
            Self::One(base) => (base.place == place).then_some(base),
        }
    }

    fn now(self) -> Time {
        match self {
            Self::Pool(pool) => pool.clock.now(),
            Self::One(base) => base.clock.now(),
        }
    }
}

impl fmt::Debug for Bases<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool(_) => "Pool",
            Self::One(_) => "One",
        })
    }
}

/// What a run of a strand leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Left {
    /// Nothing until something is posted.
    Idle,
    /// Run again at the tail of the queue, with these reasons.
    Again(Reasons),
    /// [`Held::unlocked`] could not take the lock back: a guard holds it. Run again, with these reasons, when it drops.
    Contended(Reasons),
    /// The strand is finished; nothing runs it again.
    Dead,
}

/// A strand with its body of type `B`.
pub struct Strand<B: Body> {
    word: StrandWord,
    seat: Seat<Home>,
    placement: Placement,
    /// Of effect only in the queue of the base, so for a strand that is bound to it.
    priority: AtomicU32,
    cost: Cost,
    /// Whether it notes since when it waits to run.
    trace: bool,
    /// Since when, in nanoseconds of the clock; 0: it does not, or nobody keeps the time.
    waiting: AtomicU64,
    outer: B::Outer,
    body: Mutex<B>,
}

impl<B: Body> Strand<B> {
    pub(crate) fn new(
        key: Key,
        base: Arc<BaseShared>,
        placement: Placement,
        outer: B::Outer,
        body: B,
    ) -> Arc<Self> {
        let word = StrandWord::new();
        let priority = AtomicU32::new(base.middle_priority().into());
        // Its token goes with the strand to the base, which queues it: whatever is posted meanwhile joins the first run.
        let _token = word.post(Reasons::START);
        Arc::new(Self {
            word,
            placement,
            priority,
            cost: Cost::default(),
            trace: base.trace,
            waiting: AtomicU64::new(0),
            seat: Seat::new(base.place.word(), Home::new(base, key)),
            outer,
            body: Mutex::new(body),
        })
    }

    /// The part that needs no lock.
    pub fn outer(&self) -> &B::Outer {
        &self.outer
    }

    /// The key of the strand in its base.
    pub fn key(&self) -> Key {
        self.seat.look(|home| home.key)
    }

    /// The base the strand lives on. Another holder of the strand may [move](Seating::move_to) it at any time.
    pub fn base(&self) -> BaseHandle {
        BaseHandle::new(self.home())
    }

    /// Sets how urgent the strand is in the queue of its base, if it is bound to that, from the next time it is queued. One
    /// that is less urgent than all the base has is the least urgent.
    pub fn set_priority(&self, priority: u8) {
        // ORDER: Relaxed; only a place in a queue depends on it, nothing is published through it.
        self.priority.store(priority.into(), Ordering::Relaxed);
    }

    /// How urgent the strand is.
    pub fn priority(&self) -> u8 {
        // ORDER: Relaxed; see `set_priority`.
        self.priority.load(Ordering::Relaxed) as u8
    }

    /// Sets the strand's timer, or cancels it: [`Reasons::TIMER`] is posted then, once.
    pub fn arm(&self, deadline: Option<Time>) {
        self.arm_as(|home| home.want(deadline));
    }

    /// Sets the strand's timer, unless it fires by then: of what several threads ask for at once the earliest counts.
    pub fn arm_by(&self, deadline: Time) {
        self.arm_as(|home| home.want_by(deadline));
    }

    fn arm_as(&self, want: impl FnOnce(&mut Home) -> Option<(Arc<BaseShared>, Key)>) {
        if let Some((base, key)) = self.seat.look(want) {
            // A base that is gone fires no timers.
            let _ = base.send_internal(Message::Arm(key));
        }
    }

    /// Since when the strand waits to run; `None` if it does not, or if the runtime was not told to
    /// [trace](crate::Builder::trace).
    pub fn waiting_since(&self) -> Option<Time> {
        // ORDER: Relaxed; a time for watchdogs, nothing is published through it.
        match self.waiting.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Time::from_nanos(nanos)),
        }
    }

    /// Whether the calling thread is what runs the strand: a worker of its runtime, or the thread that drives its base by
    /// hand, so that waiting for the strand there would last for ever.
    pub fn is_on_worker(&self) -> bool {
        self.seat.look(|home| home.base.is_run_here())
    }

    fn home(&self) -> Arc<BaseShared> {
        self.seat.look(|home| Arc::clone(&home.base))
    }

    fn place(&self) -> Place {
        Place::of_word(self.seat.place())
    }

    /// Posts `reasons`; the strand runs soon, on any worker its placement allows.
    pub fn post(self: &Arc<Self>, reasons: Reasons) {
        if self.word.post(reasons) == Posted::Enqueue {
            enqueue(Arc::clone(self) as Arc<dyn AnyStrand>);
        }
    }

    /// The same, and gives this handle away: to the queue, if the strand was idle.
    pub fn hand(self: Arc<Self>, reasons: Reasons) {
        if self.word.post(reasons) == Posted::Enqueue {
            enqueue(self);
        }
    }

    /// Takes those of `which` that were posted since the run began. Only for the runner.
    pub fn take(&self, which: Reasons) -> Reasons {
        self.word.take(which)
    }

    /// Runs the strand once; the caller has popped its token. Answers whether the token goes back into a queue.
    fn run_token(self: &Arc<Self>, lent: &mut Lent<'_>) -> bool {
        let Some(mut reasons) = self.word.begin() else { return false };
        self.unstamp();
        let mut guard = self.body.try_lock();
        loop {
            let Some(locked) = guard.take() else {
                // The lock is held elsewhere: park the token with its holder, then look once more, since the holder
                // may have gone before it could see that.
                self.stamp();
                self.word.contend(reasons);
                let Some(second) = self.body.try_lock() else { return false };
                let Some(again) = self.word.reclaim().then(|| self.word.begin()).flatten() else {
                    // Somebody else has a token. This one goes as every other holder of the lock does.
                    drop(second);
                    return self.word.release(Reasons::EMPTY);
                };
                self.unstamp();
                reasons = again;
                guard = Some(second);
                continue;
            };
            let Some(home) = lent.bases.find(self.place()).filter(|home| !home.gate.is_broken()) else {
                // It has moved away, or its base rests: the token waits in the base's inbox.
                drop(locked);
                if self.finish(reasons) {
                    send_home(Arc::clone(self) as Arc<dyn AnyStrand>);
                }
                return false;
            };
            if reasons.contains(Reasons::MOVED) && home.is_draining() {
                reasons |= Reasons::CLOSE;
            }
            let mut held = Held::new(self, home, locked);
            let left = hold_panic(|| B::run(&mut held, reasons, lent));
            let left = left.unwrap_or_else(|| self.panicked(&mut held));
            if left == Left::Dead {
                // With the lock, so that nobody moves it from here on.
                self.word.kill();
            }
            drop(held);
            return match left {
                Left::Idle => self.finish(Reasons::EMPTY),
                Left::Again(left) => self.finish(left),
                Left::Contended(left) => {
                    reasons = left;
                    continue;
                }
                Left::Dead => {
                    let _ = self.word.finish(Reasons::EMPTY);
                    let (base, key) = self.seat.look(|home| (Arc::clone(&home.base), home.key));
                    base.forget(key);
                    false
                }
            };
        }
    }

    /// Ends a body whose run panicked. If that was while the lock was dropped, and somebody took it, it is asked to close.
    fn panicked(&self, held: &mut Held<'_, B>) -> Left {
        held.home().counters.panics.add(1);
        match held.relock() {
            Some(body) => {
                isolate(|| body.abandon(&self.outer));
                Left::Dead
            }
            None => Left::Contended(Reasons::CLOSE),
        }
    }

    /// Notes the time at which the strand began to wait, if the runtime keeps it.
    #[inline]
    fn stamp(&self) {
        if self.trace {
            self.stamp_now();
        }
    }

    #[cold]
    fn stamp_now(&self) {
        let now = self.home().clock.now();
        // ORDER: Relaxed; see `waiting_since`.
        self.waiting.store(now.as_nanos().max(1), Ordering::Relaxed);
    }

    fn unstamp(&self) {
        if self.trace {
            // ORDER: Relaxed; see `waiting_since`.
            self.waiting.store(0, Ordering::Relaxed);
        }
    }

    fn finish(&self, left: Reasons) -> bool {
        self.word.finish(left) == Finished::Requeue
    }
}

impl<B: Body> fmt::Debug for Strand<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strand").field("seat", &self.seat).field("word", &self.word).finish_non_exhaustive()
    }
}

/// A strand whose body type is not known: what queues and slots hold.
pub(crate) trait AnyStrand: Send + Sync + Any {
    /// Runs the strand; the caller has popped its token. `Some`: the token goes back to the tail of a queue.
    fn run(self: Arc<Self>, lent: &mut Lent<'_>) -> Option<Arc<dyn AnyStrand>>;
    /// Posts; true: the caller enqueues the token.
    fn post_reasons(&self, reasons: Reasons) -> bool;
    /// When its timer is to fire, for the base that got the message of it; `None` if the strand does not live there under
    /// that key.
    fn wanted(&self, base: &BaseShared, key: Key) -> Option<Option<Time>>;
    /// Whether it lives there, under that key.
    fn lives_at(&self, base: &BaseShared, key: Key) -> bool;
    /// Takes the deadline if it is due: for the base whose timer fired.
    fn take_due(&self, base: &BaseShared, key: Key, now: Time) -> bool;
    /// Ends the strand without callbacks because its base is gone; the caller has popped its token.
    fn orphan(self: Arc<Self>);
    /// [`Body::INTERNAL`].
    fn is_internal(&self) -> bool;
    /// The base it lives on.
    fn home(&self) -> Arc<BaseShared>;
    /// The place of that base: a hint, unless the caller holds the strand.
    fn place(&self) -> Place;
    fn cost(&self) -> &Cost;
    /// Says where its token belongs, and notes that it waits from now on if anybody keeps the time.
    fn queueing(&self) -> Queueing;
    /// The strand for a dump, `None` if it has nothing to do.
    fn describe_unless_idle(&self, now: Time) -> Option<String>;
}

impl<B: Body> AnyStrand for Strand<B> {
    fn run(self: Arc<Self>, lent: &mut Lent<'_>) -> Option<Arc<dyn AnyStrand>> {
        let requeue = self.run_token(lent);
        if lent.timed {
            let ended = lent.bases.now();
            self.cost.record(ended.since(lent.now).as_nanos() as u64);
            lent.now = ended;
        }
        if requeue {
            return Some(self);
        }
        if self.word.is_dead() {
            // The last owner of a dead strand drops the body, the user's part included.
            isolate(|| drop(self));
        }
        None
    }

    fn post_reasons(&self, reasons: Reasons) -> bool {
        self.word.post(reasons) == Posted::Enqueue
    }

    fn is_internal(&self) -> bool {
        B::INTERNAL
    }

    fn wanted(&self, base: &BaseShared, key: Key) -> Option<Option<Time>> {
        self.seat.look(|home| home.wanted(base, key))
    }

    fn lives_at(&self, base: &BaseShared, key: Key) -> bool {
        self.seat.look(|home| home.is(base, key))
    }

    fn take_due(&self, base: &BaseShared, key: Key, now: Time) -> bool {
        self.seat.look(|home| home.take_due(base, key, now))
    }

    fn orphan(self: Arc<Self>) {
        let Some(reasons) = self.word.begin() else { return };
        let Some(mut body) = self.body.try_lock() else {
            // A guard holds the strand; its drop finds the base gone and comes here again.
            self.word.contend(reasons);
            let gone = self.body.try_lock().is_some();
            if gone && self.word.release(Reasons::EMPTY) {
                self.orphan();
            }
            return;
        };
        if !self.seat.look(|home| home.base.inbox.is_closed()) {
            // It has moved away.
            drop(body);
            if self.finish(reasons) {
                enqueue(self);
            }
            return;
        }
        let holding = guard::enter_held();
        isolate(|| body.abandon(&self.outer));
        self.word.kill();
        drop((body, holding));
        let _ = self.word.finish(Reasons::EMPTY);
        self.unstamp();
        isolate(|| drop(self));
    }

    fn home(&self) -> Arc<BaseShared> {
        self.home()
    }

    fn place(&self) -> Place {
        self.place()
    }

    fn cost(&self) -> &Cost {
        &self.cost
    }

    fn queueing(&self) -> Queueing {
        self.stamp();
        Queueing {
            priority: self.priority(),
            placement: self.placement,
            place: self.place(),
            nanos: self.cost.nanos(),
        }
    }

    fn describe_unless_idle(&self, now: Time) -> Option<String> {
        let word = self.word.snapshot();
        let waiting = self.waiting_since().map(|since| now.since(since));
        (word.is_queued() || word.is_running())
            .then(|| format!("{:?} {word:?} waiting {waiting:?}", self.placement))
    }
}

/// What a queue must know of a strand.
pub(crate) struct Queueing {
    pub(crate) priority: u8,
    pub(crate) placement: Placement,
    /// Where it lives, or lived a moment ago: whoever pops a token that is not his sends it home.
    pub(crate) place: Place,
    /// How long it is likely to run.
    pub(crate) nanos: u64,
}

/// Puts a strand's token into a queue: the calling worker's own, if it may run the strand, else its home base's inbox.
pub(crate) fn enqueue(strand: Arc<dyn AnyStrand>) {
    let queueing = strand.queueing();
    match (queueing.placement, lane::current(queueing.place.pool())) {
        (Placement::Any, Some(lane)) => lane.push(Task::Strand(strand), queueing.nanos),
        _ => send_home(strand),
    }
}

/// Sends a strand's token to its base.
pub(crate) fn send_home(strand: Arc<dyn AnyStrand>) {
    if let Err(Message::Run(strand)) = strand.home().send_internal(Message::Run(strand)) {
        strand.orphan();
    }
}

/// Moving average of a strand's run time, in nanoseconds. Written by the runner, read by the worker that decides
/// whether to call for help; a stale value costs one needless or one late call.
#[derive(Debug, Default)]
pub(crate) struct Cost(AtomicU32);

impl Cost {
    pub(crate) fn record(&self, nanos: u64) {
        // ORDER: Relaxed; a statistic with one writer at a time, nothing is published through it.
        let old = self.0.load(Ordering::Relaxed);
        let sample = nanos.min(u64::from(u32::MAX)) as u32;
        self.0.store(old - old / 8 + sample / 8, Ordering::Relaxed);
    }

    pub(crate) fn nanos(&self) -> u64 {
        // ORDER: Relaxed; see `record`.
        u64::from(self.0.load(Ordering::Relaxed))
    }
}
