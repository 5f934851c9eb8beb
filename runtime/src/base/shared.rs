//! The part of a base that any thread may touch.

use std::{any::Any, fmt, marker::PhantomData, num::NonZeroUsize, sync::Arc, time::Duration};

use bufferevent_sync::{
    Leaf,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{Base, moving::Arrival};
use crate::{
    affinity::{Affinity, Movable, Pinned},
    callback::{CallbackKind, OnBlocked},
    clock::{Clock, Time},
    counters::BaseCounters,
    error::{Error, Result},
    lane::{self, PoolId},
    placement::{Place, Placement},
    protocol::{Gate, Inbox, ParkWord, Population, Reasons},
    selector::{AnySelector, Selector as _},
    semaphore::Semaphore,
    slots::{Key, Keys},
    strand::{AnyStrand, Body, Strand},
    task::isolate,
};

/// A closure for a base of whichever affinity; the argument is that `Base`.
pub(crate) type BaseCall = Box<dyn FnOnce(&mut dyn Any) + Send>;

/// What other threads send to a base. `Call` and `Spawn` are bounded; the others are a few per object at most.
pub(crate) enum Message {
    /// A strand's token.
    Run(Arc<dyn AnyStrand>),
    /// A strand made elsewhere, with its first token: put it into the table, then queue it.
    Adopt(Key, Arc<dyn AnyStrand>),
    /// A strand that moves here; its token is elsewhere.
    Settle(Key, Arc<dyn AnyStrand>),
    /// A source that comes from another base.
    Arrive(Box<Arrival>),
    /// A strand wants its timer set or cancelled.
    Arm(Key),
    /// A strand is dead: empty its slot.
    Forget(Key),
    /// Something that an object waits for has come: run it.
    Wake(Key, Reasons),
    /// A task for any worker.
    Spawn(Box<dyn FnOnce() + Send>),
    /// A user's closure, and as which kind of callback it counts; the argument is the `Base` of the right affinity.
    Call(CallbackKind, BaseCall),
}

/// What all threads share of one base.
pub(crate) struct BaseShared {
    pub(crate) id: u64,
    pub(crate) index: usize,
    pub(crate) pool: PoolId,
    /// The two in one.
    pub(crate) place: Place,
    pub(crate) pinned: bool,
    /// Whether strands note since when they wait.
    pub(crate) trace: bool,
    pub(crate) on_blocked: Option<OnBlocked>,
    /// For either of the two.
    pub(crate) times_callbacks: bool,
    pub(crate) selector: Arc<AnySelector>,
    pub(crate) clock: Clock,
    pub(crate) keys: Keys,
    pub(crate) inbox: Inbox<Message>,
    inbox_limit: usize,
    pub(crate) park: ParkWord,
    pub(crate) gate: Gate,
    pub(crate) counters: BaseCounters,
    /// The thread that drives the base by hand, see [`lane::thread`]; 0: none yet, or workers do.
    driver: AtomicUsize,
    /// Everything that lives here was asked to close, and so is who comes.
    draining: AtomicBool,
    /// Objects living here: what placement compares, and what keeps a drain from ending.
    pub(crate) objects: Population,
    /// The most there ever were at once.
    most_objects: AtomicUsize,
    /// How many priorities the base has.
    priorities: AtomicUsize,
    pub(crate) attachment: Arc<Attachment>,
    handshakes: Arc<Semaphore>,
    #[cfg(feature = "test-util")]
    _live: crate::census::Live,
}

/// Handshakes under way on a base at once.
pub const HANDSHAKES: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// What a crate above keeps with a runtime; all bases of it share one.
#[derive(Default)]
pub(crate) struct Attachment {
    value: Leaf<Option<Arc<dyn Any + Send + Sync>>>,
}

impl BaseShared {
    pub(crate) fn new(
        index: usize,
        pool: PoolId,
        pinned: bool,
        selector: AnySelector,
        clock: Clock,
        inbox: usize,
    ) -> Self {
        Self {
            id: PoolId::unique().0,
            index,
            pool,
            place: Place::new(pool, index),
            pinned,
            trace: false,
            on_blocked: None,
            times_callbacks: false,
            selector: Arc::new(selector),
            clock,
            keys: Keys::default(),
            inbox: Inbox::with_capacity(inbox),
            inbox_limit: inbox,
            park: ParkWord::new(),
            gate: Gate::new(),
            counters: BaseCounters::default(),
            driver: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            objects: Population::new(),
            most_objects: AtomicUsize::new(0),
            priorities: AtomicUsize::new(1),
            attachment: Arc::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            #[cfg(feature = "test-util")]
            _live: crate::census::Live::base(),
        }
    }

    /// The calling thread drives the base by hand from now on.
    pub(crate) fn drive_here(&self) {
        // ORDER: Relaxed; only the thread itself asks whether it is the one.
        self.driver.store(lane::thread(), Ordering::Relaxed);
    }

    /// Whether what the calling thread waits for on this base could never come: it is what runs the base.
    pub(crate) fn is_run_here(&self) -> bool {
        // ORDER: Relaxed; see `drive_here`.
        lane::current(self.pool).is_some() || self.driver.load(Ordering::Relaxed) == lane::thread()
    }

    /// Whether what lives here may move to `other`, as far as the bases go.
    pub(crate) fn may_move_to(&self, other: &Self) -> Result<()> {
        if other.inbox.is_closed() {
            return Err(Error::Closed);
        }
        if !self.clock.agrees_with(&other.clock) {
            return Err(Error::Unsupported("a move between bases whose clocks differ"));
        }
        Ok(())
    }

    /// Makes whoever waits for this base look at it.
    pub(crate) fn notify(&self) {
        if self.park.notify() {
            // The eventfd cannot fail but by overflow, which leaves it readable.
            let _ = self.selector.wake();
        }
    }

    /// Sends a message that exists once per object and so needs no bound. `Err` gives it back: the base is gone.
    pub(crate) fn send_internal(&self, message: Message) -> Result<(), Message> {
        self.inbox.push_unbounded(message)?;
        self.notify();
        Ok(())
    }

    /// Sends a bounded message.
    pub(crate) fn send(&self, message: Message) -> Result<()> {
        if self.inbox.push(message).is_err() {
            return Err(if self.inbox.is_closed() {
                Error::Closed
            } else {
                Error::InboxFull { limit: self.inbox_limit }
            });
        }
        self.notify();
        Ok(())
    }

    /// Whether nobody lives here and no message waits, for [`is_quiet`](crate::protocol::is_quiet).
    pub(crate) fn is_deserted(&self) -> bool {
        self.objects.is_empty() && self.inbox.is_empty()
    }

    /// Whether there are messages that may be taken out, or the base is to end its loop: what a sleeper asks once more
    /// before it sleeps.
    pub(crate) fn has_mail(&self) -> bool {
        (!self.inbox.is_empty() || self.gate.is_exiting()) && !self.gate.is_broken()
    }

    /// Runs `call` soon with nothing held: from a turn, or a worker, behind what is queued there. Never refused: for who sees
    /// to it that few are under way.
    pub(crate) fn spawn_here(&self, call: Box<dyn FnOnce() + Send>) {
        if let Some(lane) = lane::current(self.pool) {
            lane.push_call(call);
        } else if let Err(Message::Spawn(call)) = self.send_internal(Message::Spawn(call)) {
            isolate(call);
        }
    }

    pub(crate) fn exit(&self) {
        self.gate.exit();
        self.notify();
    }

    pub(crate) fn break_now(&self) {
        self.gate.break_now();
        self.notify();
    }

    pub(crate) fn drain(&self) {
        // ORDER: Relaxed; a strand that comes meanwhile is ordered by its seat's leaf: either it lives here when the base
        // looks, after this, or it came after that look, and sees this.
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        // ORDER: Relaxed; see `drain`.
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn forget(&self, key: Key) {
        // A base that is gone has no table left.
        let _ = self.send_internal(Message::Forget(key));
    }

    pub(crate) fn load(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn priorities(&self) -> usize {
        // ORDER: Relaxed; it changes only before anything lives on the base.
        self.priorities.load(Ordering::Relaxed)
    }

    pub(crate) fn set_priorities(&self, count: usize) {
        // ORDER: Relaxed; see `priorities`.
        self.priorities.store(count, Ordering::Relaxed);
    }

    /// What has no other priority has this one.
    pub(crate) fn middle_priority(&self) -> u8 {
        (self.priorities() / 2) as u8
    }

    pub(crate) fn check_priority(&self, priority: u8) -> Result<()> {
        match self.priorities() {
            count if usize::from(priority) < count => Ok(()),
            limit => Err(Error::InvalidPriority { priority: priority.into(), limit }),
        }
    }

    pub(crate) fn object_added(&self) {
        let count = self.objects.enter();
        // ORDER: Relaxed; a statistic. It is written only when there are more than ever.
        if count > self.most_objects.load(Ordering::Relaxed) {
            // ORDER: Relaxed; as above.
            self.most_objects.fetch_max(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn object_removed(&self) {
        self.objects.leave();
    }

    /// A strand is an object, unless it is [internal](crate::Body::INTERNAL).
    pub(crate) fn strand_added(&self, strand: &dyn AnyStrand) {
        if !strand.is_internal() {
            self.object_added();
        }
    }

    pub(crate) fn strand_removed(&self, strand: &dyn AnyStrand) {
        if !strand.is_internal() {
            self.object_removed();
        }
    }
}

/// A base as other threads see it: cheap to clone, usable from anywhere.
pub struct BaseHandle<A: Affinity = Movable> {
    pub(crate) shared: Arc<BaseShared>,
    affinity: PhantomData<fn(A)>,
}

impl<A: Affinity> BaseHandle<A> {
    pub(crate) fn new(shared: Arc<BaseShared>) -> Self {
        Self { shared, affinity: PhantomData }
    }

    /// A number that no other base of this process has, or had.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// How many priorities the base has.
    pub fn priorities(&self) -> usize {
        self.shared.priorities()
    }

    /// Reserves a key for something that is sent to the base.
    pub fn reserve(&self) -> Key {
        self.shared.keys.reserve()
    }

    /// Gives back a key that was reserved and not used.
    pub fn unreserve(&self, key: Key) {
        self.shared.keys.release(key);
    }

    /// The base as strands know it, whatever its affinity; posts to a pinned one are refused.
    pub fn as_movable(&self) -> BaseHandle {
        BaseHandle::new(Arc::clone(&self.shared))
    }

    /// The number of the base in its runtime, from 0.
    pub fn index(&self) -> usize {
        self.shared.index
    }

    /// Runs `f` on the base, soon, in the order of the posts of one thread.
    ///
    /// From any thread and any callback; never waits.
    /// # Errors
    /// [`Error::InboxFull`] if the base's inbox holds its limit of messages, [`Error::Closed`] if the base is gone,
    /// [`Error::WrongAffinity`] if the base is of the other affinity. `f` is dropped then.
    /// # Libevent
    /// `event_base_once` with no timeout.
    pub fn post(&self, f: impl FnOnce(&mut Base<A>) + Send + 'static) -> Result<()> {
        self.post_as(CallbackKind::Post, f)
    }

    /// As [`BaseHandle::post`], for a closure that calls a callback of another kind.
    pub(crate) fn post_as(
        &self,
        kind: CallbackKind,
        f: impl FnOnce(&mut Base<A>) + Send + 'static,
    ) -> Result<()> {
        if A::PINNED != self.shared.pinned {
            return Err(Error::WrongAffinity);
        }
        let call = move |base: &mut dyn Any| {
            if let Some(base) = base.downcast_mut::<Base<A>>() {
                f(base);
            }
        };
        self.shared.send(Message::Call(kind, Box::new(call)))
    }

    /// Makes a strand homed on this base; its body is run for the first time with [`Reasons::START`](crate::Reasons::START).
    ///
    /// From any thread. The key is valid at once.
    /// # Errors
    /// [`Error::Closed`] if the base is gone.
    pub fn strand<B: Body>(
        &self,
        placement: Placement,
        outer: B::Outer,
        body: impl FnOnce(Key) -> B,
    ) -> Result<Arc<Strand<B>>> {
        let key = self.shared.keys.reserve();
        let strand = Strand::new(key, Arc::clone(&self.shared), placement, outer, body(key));
        let any = Arc::clone(&strand) as Arc<dyn AnyStrand>;
        self.shared.strand_added(&*any);
        match self.shared.send_internal(Message::Adopt(key, any)) {
            Ok(()) => Ok(strand),
            Err(_) => {
                self.shared.strand_removed(&*strand);
                self.shared.keys.release(key);
                Err(Error::Closed)
            }
        }
    }

    /// Ends the base's loop after what is ready now has run, each once: see [`Base::exit`].
    ///
    /// # Libevent
    /// `event_base_loopexit` with no delay.
    pub fn exit(&self) {
        self.shared.exit();
    }

    /// As [`BaseHandle::exit`], once `delay` from now has passed.
    ///
    /// # Errors
    /// As [`BaseHandle::post`].
    /// # Libevent
    /// `event_base_loopexit` with a delay.
    pub fn exit_after(&self, delay: Duration) -> Result<()> {
        let deadline = self.deadline(delay);
        self.post(move |base| {
            base.exit_at(deadline);
        })
    }

    /// Ends the base's loop now: when this returns, no callback of the base starts any more; those running on other
    /// workers finish. What was ready stays so and runs when the base runs again: see [`Base::break_now`].
    ///
    /// # Libevent
    /// `event_base_loopbreak`.
    pub fn break_now(&self) {
        self.shared.break_now();
    }

    /// Lets a base run again that rests since [`exit`](BaseHandle::exit) or [`break_now`](BaseHandle::break_now): what was
    /// held runs now. For the bases of a runtime; one driven by hand runs again when it is turned.
    pub fn resume(&self) {
        if self.shared.gate.resume() {
            self.shared.notify();
        }
    }

    /// Whether the base is to end its loop, or rests, since [`exit`](BaseHandle::exit) or
    /// [`break_now`](BaseHandle::break_now).
    pub fn is_ending(&self) -> bool {
        self.shared.gate.is_broken() || self.shared.gate.is_exiting()
    }

    /// Whether the base was dropped, or is being dropped: nothing runs there any more.
    pub fn is_gone(&self) -> bool {
        self.shared.inbox.is_closed()
    }

    /// Runs the source or strand `key`, soon, with [`Reasons::USER`](crate::Reasons::USER), whatever the base's affinity.
    /// Nothing if it is gone.
    ///
    /// From any thread; never waits, and is never refused: for who sees to it that few are under way, such as the one
    /// answer to the one question of an object.
    pub fn wake(&self, key: Key) {
        self.wake_for(key, Reasons::USER);
    }

    /// As [`wake`](BaseHandle::wake), and says what for.
    pub fn wake_for(&self, key: Key, reasons: Reasons) {
        // A base that is gone runs nothing.
        let _ = self.shared.send_internal(Message::Wake(key, reasons));
    }

    /// Runs `call`, soon, with nothing held: on any worker, or where the base is driven by hand. If the base is gone it runs
    /// at once.
    ///
    /// From any thread; never waits, and is never refused: for who sees to it that few are under way. A panic is isolated.
    pub fn spawn(&self, call: impl FnOnce() + Send + 'static) {
        self.shared.spawn_here(Box::new(call));
    }

    /// Runs `f` on the base, whatever its affinity, not before `delay` has passed. Dropped with the base.
    ///
    /// # Errors
    /// As [`BaseHandle::post`]; `f` is dropped.
    pub fn later(&self, delay: Duration, f: impl FnOnce() + Send + 'static) -> Result<()> {
        self.shared.send(Message::Call(
            CallbackKind::Post,
            Box::new(move |base: &mut dyn Any| {
                if let Some(base) = base.downcast_mut::<Base<Movable>>() {
                    base.after(delay, |_| f());
                } else if let Some(base) = base.downcast_mut::<Base<Pinned>>() {
                    base.after(delay, |_| f());
                }
            }),
        ))
    }

    /// The handshakes of connections that live here: how many may be under way at once ([`HANDSHAKES`] unless
    /// [set](Semaphore::set_limit)), how many are, and how many wait.
    pub fn handshakes(&self) -> &Arc<Semaphore> {
        &self.shared.handshakes
    }

    /// What a crate above keeps with the runtime, or with a base that is driven by hand, if there is anything.
    pub fn attached(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.shared.attachment.value.lock().clone()
    }

    /// Keeps `value` with the runtime, or with a base that is driven by hand, in place of what was there: the last handle
    /// drops it.
    pub fn attach(&self, value: Arc<dyn Any + Send + Sync>) {
        let old = self.shared.attachment.value.lock().replace(value);
        drop(old);
    }

    /// What is kept already, else what `make` makes. Two threads may both make one; one of the two is kept.
    pub fn attached_or(
        &self,
        make: impl FnOnce() -> Arc<dyn Any + Send + Sync>,
    ) -> Arc<dyn Any + Send + Sync> {
        if let Some(value) = self.attached() {
            return value;
        }
        let made = make();
        let mut place = self.shared.attachment.value.lock();
        let kept = Arc::clone(place.get_or_insert_with(|| Arc::clone(&made)));
        drop(place);
        kept
    }

    /// The clock that the base goes by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The time now on the base's clock.
    pub fn now(&self) -> Time {
        self.shared.clock.now()
    }

    /// The time that is `after` from now on the base's clock.
    pub fn deadline(&self, after: Duration) -> Time {
        self.now().saturating_add(after)
    }

    /// What the base has counted so far.
    pub fn counters(&self) -> &BaseCounters {
        &self.shared.counters
    }

    /// Objects that live on the base: bufferevents, listeners, timers.
    pub fn objects(&self) -> usize {
        self.shared.load()
    }

    /// The most objects that ever lived on the base at once.
    ///
    /// # Libevent
    /// `event_base_get_max_events`.
    #[doc(alias = "event_base_get_max_events")]
    pub fn most_objects(&self) -> usize {
        // ORDER: Relaxed; a statistic.
        self.shared.most_objects.load(Ordering::Relaxed)
    }

    /// The selector that registers for this base; registering and removing are allowed from any thread.
    pub fn selector(&self) -> &Arc<AnySelector> {
        &self.shared.selector
    }
}

impl<A: Affinity> Clone for BaseHandle<A> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl<A: Affinity> fmt::Debug for BaseHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseHandle").field("index", &self.shared.index).finish_non_exhaustive()
    }
}
