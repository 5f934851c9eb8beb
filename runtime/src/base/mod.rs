//! A base: one selector, one timer wheel, one inbox, and the root strand of what needs no lock.
//!
//! The fields of [`Base`] belong to whoever holds it, one thread at a time; what other threads need is in
//! [`shared::BaseShared`], which a [`BaseHandle`] names. A turn polls the selector, fires what is due, empties the inbox,
//! then runs what is ready.

mod alarm;
mod inspect;
mod leave;
mod moving;
mod priority;
mod queues;
pub(crate) mod shared;
mod turn;
mod watchers;

use std::{
    fmt,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use bufferevent_sync::deque;

use self::{
    alarm::Alarm,
    moving::Departure,
    queues::Queues,
    shared::{BaseShared, Message},
    watchers::Watchers,
};
pub use self::{
    inspect::Object,
    priority::PRIORITIES,
    queues::DEFERRED_PER_PASS,
    shared::{BaseHandle, HANDSHAKES},
    turn::{TIMERS_PER_PASS, Turned},
    watchers::{Check, Prepare},
};
use crate::{
    affinity::{Affinity, IntoSource, Movable, Pinned},
    callback::{Blocked, CallbackKind, InCallback, OnBlocked},
    clock::{Clock, Time},
    counters::BaseCounters,
    error::{Error, Result},
    lane::{self, Lane, PoolId},
    placement::Placement,
    protocol::{Park, Reasons},
    scratch::Scratch,
    selector::{AnySelector, Events, Selector as _},
    slots::{Confined, Homed, Key, Slot, Slots},
    strand::{AnyStrand, Body, Strand, send_home},
    task::{Task, isolate},
    timer::{TimerKey, Wheel},
    timers::{ExitTimer, TimerId},
};

/// Messages a base's inbox holds before a post is refused.
pub const INBOX: usize = 65_536;

/// Events taken from the selector at once.
pub const EVENTS: usize = 1_024;

/// An event base.
///
/// Callbacks get `&mut Base`; other threads reach it by [`Base::handle`]. A runtime makes its bases itself; one base
/// driven by hand is made with [`Base::new`] and run with [`Base::turn`] or [`Base::run`].
///
/// ```
/// use std::time::Duration;
/// use bufferevent_runtime::{Base, Pinned};
///
/// let mut base = Base::<Pinned>::new()?;
/// base.after(Duration::from_millis(1), |base| base.exit());
/// base.run()?;
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
/// # Libevent
/// `struct event_base`.
#[doc(alias = "event_base")]
pub struct Base<A: Affinity = Movable> {
    shared: Arc<BaseShared>,
    slots: Slots<A>,
    queues: Queues<Arc<dyn AnyStrand>>,
    watchers: Watchers,
    /// What looks again in the next turn.
    next_turn: Vec<Key>,
    /// Where the source that is running goes at the end of its run.
    departure: Option<Departure>,
    wheel: Wheel<Key>,
    events: Events,
    now: Time,
    /// The deque of a base driven by hand; `None` while it is turned, and always in a base of a runtime.
    lane: Option<deque::Worker<crate::task::Task>>,
    scratch: Scratch,
    /// Set by [`Base::close_all`]: nothing new is accepted.
    draining: bool,
    /// What asks the rest to close, a few at a time.
    leaving: Option<Key>,
    /// Only a base that is nested in another selector has one.
    alarm: Option<Alarm>,
    /// Nobody looks at the base but through its selector's descriptor.
    released: bool,
    /// The selector may hold events that it will not announce again from outside.
    batch_was_full: bool,
    affinity: PhantomData<A>,
}

impl Base<Pinned> {
    /// Makes a base that is driven by hand on this thread; its handlers may be `!Send`.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no selector to give.
    /// # Libevent
    /// `event_base_new`.
    #[doc(alias = "event_base_new")]
    pub fn new() -> Result<Self> {
        Self::with_clock(Clock::monotonic())
    }
}

impl<A: Affinity> Base<A> {
    /// Makes a base driven by hand that takes its time from `clock`.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no selector to give.
    pub fn with_clock(clock: Clock) -> Result<Self> {
        Self::with_selector(AnySelector::new()?, clock)
    }

    /// Makes a base driven by hand over `selector`.
    ///
    /// # Errors
    /// None today; room for selectors that must be prepared.
    pub fn with_selector(selector: AnySelector, clock: Clock) -> Result<Self> {
        let shared = BaseShared::new(0, PoolId::unique(), A::PINNED, selector, clock, INBOX);
        shared.drive_here();
        let mut base = Self::from_shared(Arc::new(shared));
        base.lane = Some(deque::Worker::new_fifo());
        Ok(base)
    }

    /// Has `hook` called for each callback that ran for `after` (at least 1 ms; a usual value is
    /// [`BLOCKED_AFTER`](crate::BLOCKED_AFTER)), once it has returned and with nothing held.
    ///
    /// For a base that is driven by hand, where nobody else looks meanwhile; of those of a runtime
    /// [`Builder::on_blocked`](crate::Builder::on_blocked) tells while they run.
    /// # Errors
    /// [`Error::Unsupported`] once the base has a handle, or something lives on it: this is a thing to begin with.
    pub fn on_blocked(
        &mut self,
        after: Duration,
        hook: impl Fn(&Blocked) + Send + Sync + 'static,
    ) -> Result<()> {
        let shared = Arc::get_mut(&mut self.shared);
        let shared = shared.ok_or(Error::Unsupported("a hook for a base that has handles already"))?;
        shared.on_blocked = Some(OnBlocked::new(after, hook));
        shared.times_callbacks = true;
        Ok(())
    }

    /// As [`BaseHandle::callback_begins`].
    #[inline]
    pub(crate) fn callback_begins(&self, key: Key, kind: CallbackKind) -> Option<InCallback> {
        self.shared.callback_begins(key, kind)
    }

    pub(crate) fn from_shared(shared: Arc<BaseShared>) -> Self {
        let now = shared.clock.now();
        Self {
            slots: Slots::new(),
            queues: Queues::new(shared.priorities()),
            watchers: Watchers::default(),
            next_turn: Vec::new(),
            departure: None,
            wheel: Wheel::new(now.tick()),
            events: Events::with_capacity(EVENTS),
            now,
            lane: None,
            scratch: Scratch::default(),
            draining: false,
            leaving: None,
            alarm: None,
            released: false,
            batch_was_full: false,
            shared,
            affinity: PhantomData,
        }
    }

    // ---- sources of the root strand ----

    /// Takes a source in; it runs when something is posted to it.
    pub fn insert(&mut self, source: impl IntoSource<A>) -> Key {
        self.insert_with(|_| source)
    }

    /// Takes in the source that `make` builds for its key.
    pub fn insert_with<S: IntoSource<A>>(&mut self, make: impl FnOnce(Key) -> S) -> Key {
        let key = self.shared.keys.reserve();
        self.insert_boxed(key, make(key).into_source());
        key
    }

    /// Reserves a key for [`Base::insert_boxed`].
    pub fn reserve(&mut self) -> Key {
        self.shared.keys.reserve()
    }

    /// Gives back a key that [`Base::reserve`] gave and nothing was inserted under.
    pub fn unreserve(&mut self, key: Key) {
        self.shared.keys.release(key);
    }

    /// Takes a boxed source in under a reserved key.
    pub fn insert_boxed(&mut self, key: Key, source: Box<A::Source>) {
        self.shared.object_added();
        self.take_in(key, source, self.shared.middle_priority());
    }

    /// The same for a source that counts already.
    fn take_in(&mut self, key: Key, source: Box<A::Source>, priority: u8) {
        let confined = Confined {
            source: Some(source),
            reasons: Reasons::EMPTY,
            queued: false,
            deferred: false,
            priority,
            timer: None,
        };
        self.slots.insert(key, Slot::Confined(confined));
        if self.draining {
            self.post_to(key, Reasons::CLOSE);
        }
    }

    /// Drops the source `key` at once, or at the end of its run if it is running. False if there is none.
    pub fn remove(&mut self, key: Key) -> bool {
        let Some(slot) = self.slots.take(key) else { return false };
        let timer = match &slot {
            Slot::Confined(confined) => confined.timer,
            Slot::Homed(homed) => homed.timer,
            Slot::Vacant => None,
        };
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
        self.vacate(key, slot.is_counted());
        self.discard(slot);
        true
    }

    /// What was under `key` has left the table.
    fn vacate(&mut self, key: Key, is_counted: bool) {
        self.shared.keys.release(key);
        if is_counted {
            self.shared.object_removed();
        }
    }

    /// Drops something of the user's; a panic in there is counted and goes no further.
    fn discard<T>(&self, garbage: T) {
        if !isolate(|| drop(garbage)) {
            self.shared.counters.panics.add(1);
        }
    }

    /// Whether something lives under `key`.
    pub(crate) fn holds(&mut self, key: Key) -> bool {
        matches!(self.slots.get_mut(key), Some(Slot::Confined(_) | Slot::Homed(_)))
    }

    /// Whether the source `key` is to be told of an activation.
    pub(crate) fn is_activated(&mut self, key: Key) -> bool {
        self.slots.confined_mut(key).is_some_and(|confined| confined.reasons.activation() != 0)
    }

    /// The source `key`, unless it is running or gone.
    pub fn source(&mut self, key: Key) -> Option<&mut A::Source> {
        self.slots.confined_mut(key)?.source.as_deref_mut()
    }

    /// Posts `reasons` to the source `key`: it runs at the tail of the ready queue. Nothing if it is gone.
    pub fn post_to(&mut self, key: Key, reasons: Reasons) {
        let Some(confined) = self.slots.confined_mut(key) else { return };
        confined.reasons |= reasons;
        if !std::mem::replace(&mut confined.queued, true) {
            self.queues.push_ready(confined.priority, key);
            self.announce_work();
        }
    }

    /// Posts `reasons` to the source `key` through the deferred queue.
    pub fn defer(&mut self, key: Key, reasons: Reasons) {
        let Some(confined) = self.slots.confined_mut(key) else { return };
        confined.reasons |= reasons | Reasons::DEFERRED;
        if !std::mem::replace(&mut confined.deferred, true) {
            self.queues.push_deferred(confined.priority, key);
            self.announce_work();
        }
    }

    /// Sets the timer of `key`: [`Reasons::TIMER`] is posted to it at `deadline`, never before. Each key has one timer;
    /// setting it again moves it.
    pub fn arm(&mut self, key: Key, deadline: Time) {
        let Self { slots, wheel, .. } = self;
        let Some(timer) = timer_of(slots, key) else { return };
        let tick = deadline.tick_ceil();
        match timer {
            Some(armed) if wheel.rearm(*armed, tick) => {}
            _ => *timer = Some(wheel.insert(tick, key)),
        }
        if self.released && self.set_alarm().is_err() {
            self.announce_work();
        }
    }

    /// Cancels the timer of `key`.
    pub fn disarm(&mut self, key: Key) {
        let Self { slots, wheel, .. } = self;
        if let Some(armed) = timer_of(slots, key).and_then(Option::take) {
            wheel.cancel(armed);
        }
    }

    // ---- strands ----

    /// Makes a strand homed on this base; it runs for the first time with [`Reasons::START`].
    pub fn strand<B: Body>(
        &mut self,
        placement: Placement,
        outer: B::Outer,
        body: impl FnOnce(Key) -> B,
    ) -> Arc<Strand<B>> {
        let key = self.shared.keys.reserve();
        let strand = Strand::new(key, Arc::clone(&self.shared), placement, outer, body(key));
        self.shared.strand_added(&*strand);
        self.adopt(key, Arc::clone(&strand) as Arc<dyn AnyStrand>);
        strand
    }

    /// Takes a new strand in. It comes with its first token, so that nobody could run it before it was in the table.
    fn adopt(&mut self, key: Key, strand: Arc<dyn AnyStrand>) {
        self.slots.insert(key, Slot::Homed(Homed { strand: Arc::clone(&strand), timer: None }));
        if self.draining && strand.lives_at(&self.shared, key) {
            let _queued_already = strand.post_reasons(Reasons::CLOSE);
        }
        self.enqueue(strand);
    }

    fn post_strand(&mut self, strand: &Arc<dyn AnyStrand>, reasons: Reasons) {
        if strand.post_reasons(reasons) {
            self.enqueue(Arc::clone(strand));
        }
    }

    /// Puts a token where it may run: the base's own queue or the worker's deque.
    fn enqueue(&mut self, strand: Arc<dyn AnyStrand>) {
        self.enqueue_on(lane::current(self.shared.pool).as_deref(), strand);
    }

    /// As [`Base::enqueue`], with the worker's lane at hand.
    #[inline(always)]
    fn enqueue_on(&mut self, lane: Option<&Lane>, strand: Arc<dyn AnyStrand>) {
        let queueing = strand.queueing();
        match (queueing.placement, lane) {
            (Placement::Base, _) if queueing.place == self.shared.place => {
                self.queues.push_bound(queueing.priority, strand);
                self.announce_work();
            }
            (Placement::Any, Some(lane)) if queueing.place.pool() == lane.pool => {
                lane.push(Task::Strand(strand), queueing.nanos);
            }
            _ => send_home(strand),
        }
    }

    // ---- what the owner may ask and do ----

    /// The base as other threads see it.
    pub fn handle(&self) -> BaseHandle<A> {
        BaseHandle::new(Arc::clone(&self.shared))
    }

    /// A number that no other base of this process has, or had.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Whether [`Base::break_now`] was called and not yet reported by [`Base::turn`] or [`Base::run`], nor, in a runtime,
    /// ended by [`BaseHandle::resume`]: no callback starts.
    pub fn is_broken(&self) -> bool {
        self.shared.gate.is_broken()
    }

    /// The number of the base in its runtime, from 0.
    pub fn index(&self) -> usize {
        self.shared.index
    }

    /// The time of this turn, read once; between the turns of a base driven by hand, the time now.
    #[doc(alias = "event_base_gettimeofday_cached")]
    #[doc(alias = "event_base_update_cache_time")]
    pub fn now(&self) -> Time {
        if self.lane.is_some() { self.shared.clock.now() } else { self.now }
    }

    /// The time that is `after` from [`Base::now`].
    pub fn deadline(&self, after: Duration) -> Time {
        self.now().saturating_add(after)
    }

    /// Blocks to read into, and the time of this turn.
    pub fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// The selector, to register with.
    pub fn selector(&self) -> &Arc<AnySelector> {
        &self.shared.selector
    }

    /// What the base has counted so far.
    pub fn counters(&self) -> &BaseCounters {
        &self.shared.counters
    }

    /// Objects that live here: bufferevents, listeners, timers.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing lives here.
    pub fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// Ends the loop after what is ready now has run, each once. If the loop does not run, the next one ends so.
    ///
    /// On a base of a runtime: the base rests then, until [`BaseHandle::resume`]; its worker helps the others, and events
    /// and posts wait. What ends the runtime is [`Runtime::stop`](crate::Runtime::stop).
    /// # Libevent
    /// `event_base_loopexit` with no delay.
    #[doc(alias = "event_base_loopexit")]
    pub fn exit(&self) {
        self.shared.exit();
    }

    /// As [`Base::exit`], once `delay` has passed. Several may be set; each counts as an object of the base until it
    /// comes, and can be cancelled.
    ///
    /// # Libevent
    /// `event_base_loopexit` with a delay.
    pub fn exit_after(&mut self, delay: Duration) -> TimerId {
        self.exit_at(self.deadline(delay))
    }

    fn exit_at(&mut self, deadline: Time) -> TimerId {
        let key = self.shared.keys.reserve();
        self.insert_boxed(key, A::boxed(ExitTimer));
        self.arm(key, deadline);
        TimerId::of(self, key)
    }

    /// Ends the loop after the callback that is running; what is ready stays so, and runs when the base runs again. If
    /// the loop does not run, the next one ends at once.
    ///
    /// On a base of a runtime: the base rests until [`BaseHandle::resume`].
    /// # Libevent
    /// `event_base_loopbreak`. Differs: one that comes between two loops is not forgotten.
    #[doc(alias = "event_base_loopbreak")]
    pub fn break_now(&self) {
        self.shared.break_now();
    }

    /// Polls the selector now, from inside a callback that runs for long: what has happened, and what is due, is queued
    /// behind what is ready.
    ///
    /// # Errors
    /// [`Error::Io`] if the selector fails.
    /// # Libevent
    /// `event_base_loopcontinue`. Differs: what is ready is not set aside; what it finds at a more urgent priority is next, the rest behind.
    #[doc(alias = "event_base_loopcontinue")]
    pub fn repoll(&mut self) -> Result<()> {
        self.poll(Some(Duration::ZERO))?;
        self.fire_timers();
        Ok(())
    }

    /// Whether [`Base::close_all`] was called: new connections should close at once.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// The earliest time a timer may be due; `None` without timers. For loops that nest this base.
    pub fn next_deadline(&self) -> Option<Time> {
        self.wheel.next_deadline().map(Time::from_tick)
    }

    /// Lets another loop wait for this base by its descriptor ([`AsFd`]): from now on, between two turns, it is readable
    /// whenever a turn would find something to do: events, posts, timers that are due, work that the last turn left.
    ///
    /// The other loop then calls [`Base::turn`] with a timeout of zero, whether it waits for levels or for edges.
    /// # Errors
    /// [`Error::Reentrant`] on a base of a runtime, or inside a callback; [`Error::Io`] if the system has no timer
    /// descriptor to give.
    ///
    /// ```
    /// use std::{os::fd::AsFd, time::Duration};
    /// use bufferevent_runtime::{Base, Pinned};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// base.nest()?;
    /// base.after(Duration::from_millis(1), |base| base.exit());
    /// let fd = base.as_fd(); // wait for this one to become readable, then:
    /// base.turn(Some(Duration::ZERO))?;
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    pub fn nest(&mut self) -> Result<()> {
        if self.lane.is_none() {
            return Err(Error::Reentrant);
        }
        if self.alarm.is_none() {
            self.make_nested()?;
        }
        self.announce()
    }

    /// Gives the selector a timer of its own, so that who waits for the selector's descriptor, and not in it, is woken
    /// when a timer of the base is due.
    pub(crate) fn make_nested(&mut self) -> Result<()> {
        self.alarm = Some(Alarm::new(&self.shared.selector)?);
        Ok(())
    }

    /// Between two turns of a nested base: makes the descriptor readable when there is something to do.
    fn announce(&mut self) -> Result<()> {
        self.unrelease();
        let idle = self.lane.as_ref().is_none_or(deque::Worker::is_empty) && !self.has_confined_work();
        if !(idle && self.prepare_release()?) {
            self.shared.selector.wake()?;
        }
        Ok(())
    }

    /// Something was queued; if nobody looks at this base but through its descriptor, makes that readable.
    fn announce_work(&self) {
        if self.released {
            let _ = self.shared.selector.wake();
        }
    }

    /// Announces that nobody looks at this base from now on but through its selector's descriptor. False if there is
    /// something to do still.
    pub(crate) fn prepare_release(&mut self) -> Result<bool> {
        debug_assert!(!self.released, "a base is released once");
        if self.batch_was_full {
            return Ok(false);
        }
        self.set_alarm()?;
        self.released = self.shared.park.park(|| self.shared.has_mail()) == Park::Sleep;
        Ok(self.released)
    }

    fn set_alarm(&mut self) -> Result<()> {
        let deadline = self.next_deadline();
        match &mut self.alarm {
            Some(alarm) => Ok(alarm.set(deadline, self.shared.clock.now())?),
            None => Ok(()),
        }
    }

    /// Takes the announcement of [`Base::prepare_release`] back, if it stands.
    pub(crate) fn unrelease(&mut self) {
        if std::mem::take(&mut self.released) {
            self.shared.park.woken();
        }
    }

    /// What is queued here, for dumps.
    pub(crate) fn describe(&mut self) -> String {
        let mut text = format!(
            "ready {} deferred {} objects {} next timer {:?}",
            self.queues.ready(),
            self.queues.deferred(),
            self.slots.len(),
            self.next_deadline(),
        );
        let (keys, now) = (self.slots.keys(), self.shared.clock.now());
        let strands = keys.into_iter().filter_map(|key| match self.slots.get_mut(key) {
            Some(Slot::Homed(homed)) => {
                Some(format!("strand {key:?} {}", homed.strand.describe_unless_idle(now)?))
            }
            _ => None,
        });
        for strand in strands.take(DESCRIBED) {
            text = text + "\n    " + &strand;
        }
        text
    }
}

/// Strands that a dump names for each base.
const DESCRIBED: usize = 64;

fn timer_of<A: Affinity>(slots: &mut Slots<A>, key: Key) -> Option<&mut Option<TimerKey>> {
    match slots.get_mut(key)? {
        Slot::Confined(confined) => Some(&mut confined.timer),
        Slot::Homed(homed) => Some(&mut homed.timer),
        Slot::Vacant => None,
    }
}

impl<A: Affinity> AsFd for Base<A> {
    /// The selector's descriptor, readable when the base has events: another loop can wait on it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.selector.as_fd()
    }
}

/// Ends a strand whose base is gone, unless it has moved away: whoever has its token finds out with the lock in hand.
fn orphan_if_here(strand: Arc<dyn AnyStrand>) {
    if strand.post_reasons(Reasons::USER) {
        strand.orphan();
    } else {
        isolate(|| drop(strand));
    }
}

impl<A: Affinity> Drop for Base<A> {
    fn drop(&mut self) {
        self.shared.inbox.close();
        for key in self.slots.keys() {
            let Some(slot) = self.slots.take(key) else { continue };
            let is_counted = slot.is_counted();
            match slot {
                Slot::Homed(homed) => orphan_if_here(homed.strand),
                slot => self.discard(slot),
            }
            if is_counted {
                self.shared.object_removed();
            }
        }
        while !self.shared.inbox.is_empty() {
            match self.shared.inbox.pop() {
                Some(Message::Run(strand)) => strand.orphan(),
                Some(Message::Adopt(_, strand)) => {
                    self.shared.strand_removed(&*strand);
                    strand.orphan();
                }
                Some(Message::Settle(_, strand)) => {
                    self.shared.strand_removed(&*strand);
                    orphan_if_here(strand);
                }
                Some(Message::Arrive(arrival)) => {
                    self.shared.object_removed();
                    self.discard(arrival);
                }
                Some(message) => self.discard(message),
                // A push that began before the inbox closed is under way.
                None => std::thread::yield_now(),
            }
        }
        self.queues.drain_bound().for_each(send_home);
        while let Some(task) = self.lane.as_ref().and_then(deque::Worker::pop) {
            task.orphan();
        }
    }
}

impl<A: Affinity> fmt::Debug for Base<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("index", &self.shared.index)
            .field("len", &self.slots.len())
            .finish_non_exhaustive()
    }
}
