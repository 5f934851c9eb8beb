//! The bound that members share.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::{BLOCK, BaseHandle, ConnectionLimit, Key, Paused, Time, drop_panic};
use bufferevent_sync::{
    Leaf, SharedCounter,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    idle::{self, Holding},
    stage::{Marks, MemoryStage},
    waiting::{Ticket, Waiting},
};
use crate::defaults::{MEMORY_IDLE, MEMORY_LOOK, READS_PER_RUN};

/// A bound on the bytes that all bufferevents [under it](crate::Builder::memory) hold in their buffers together. A clone is
/// the same bound.
///
/// It takes hold in [stages](MemoryStage): who holds more than a fair share is not read from, then nobody is accepted, then
/// who holds memory and moves nothing is ended. A fair share is 80 % of the limit divided by the members, so that there is
/// always somebody above it. Who was not read from goes on when enough has become free: the first ones at once, one more
/// whenever one has had its turn. Who is ended is ended as by [`abort`](crate::Bufferevent::abort): `Closed` tells of it, if
/// it was asked for, and [`MemoryLimit::ended`] counts it.
///
/// Writes are never refused for it, so it may be passed: by what callbacks write, and by one run of each member (256 KiB)
/// that was under way. Bytes of files that were not read yet, and what an application keeps elsewhere, are not counted; nor is the
/// queue of a pair, which is neither half's: it holds [`PAIR_QUEUE`](crate::PAIR_QUEUE) each way, or what a flush has put. Members
/// may live on any bases.
///
/// ```
/// use std::num::NonZeroUsize;
/// use bufferevent::{Bufferevent, ConnectionLimit, MemoryLimit, MemoryStage};
///
/// let connections = ConnectionLimit::of_descriptors(); // for the listeners
/// let limit = MemoryLimit::builder(NonZeroUsize::new(1 << 30).expect("not zero"))
///     .pause(&connections)
///     .on_stage(|stage| {
///         if stage == MemoryStage::Critical {
///             eprintln!("out of memory for buffers");
///         }
///     })
///     .build();
/// let builder = Bufferevent::detached().memory(&limit);
/// assert_eq!((limit.held(), limit.members(), limit.stage()), (0, 1, MemoryStage::Calm));
/// # drop(builder);
/// ```
/// # Libevent
/// None: its buffers grow without bound.
#[derive(Clone)]
pub struct MemoryLimit {
    shared: Arc<Shared>,
}

struct Shared {
    limit: NonZeroUsize,
    marks: Marks,
    held: AtomicUsize,
    members: AtomicUsize,
    /// What `synced` says, for who need not know it exactly.
    stage: AtomicUsize,
    connections: Option<ConnectionLimit>,
    /// Who holds memory for so long without a byte that moves may be ended.
    idle: Option<Duration>,
    ended: SharedCounter,
    on_stage: Option<Hook>,
    synced: Leaf<Synced>,
}

type Hook = Box<dyn Fn(MemoryStage) + Send + Sync>;

/// Leaf lock, taken when a mark is crossed, and by who is held back.
///
/// * L1 `stage` follows from where it was and what is held: whoever crosses a mark says so here *afterwards*.
/// * L2 nobody waits while `stage` is calm but those behind who was let out: it lets out the next.
#[derive(Default)]
struct Synced {
    stage: MemoryStage,
    waiting: Waiting<Waiter>,
    paused: Option<Paused>,
    /// What the hook was told last.
    told: MemoryStage,
    /// Somebody calls it, or will.
    telling: bool,
    /// Those that have ever held anything, if idle ones may be ended.
    holders: BTreeMap<Number, Holder>,
    next: Number,
    /// Somebody looks for idle ones, or will.
    watching: bool,
}

/// Names a holder.
pub(super) type Number = u64;

struct Holder {
    who: Waiter,
    holding: Arc<Holding>,
}

/// How a member is woken.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) base: BaseHandle,
    pub(super) key: Key,
}

/// On its way to call the hook. If it is dropped because its base ends, the next change of the stage sends another.
struct Teller(Option<MemoryLimit>);

impl Teller {
    fn tell(mut self) {
        self.0.take().into_iter().for_each(|limit| limit.tell());
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(limit) = &self.0 {
            limit.shared.synced.lock().telling = false;
        }
    }
}

/// On its way to look for idle members, again and again while memory is short. If it is dropped because its base ends, the
/// next change of the stage sends another.
struct Watch(Option<MemoryLimit>);

impl Watch {
    fn look(mut self, base: &BaseHandle) {
        let goes_on = self.0.as_ref().is_some_and(|limit| limit.end_idle(base.now()));
        if goes_on {
            let there = base.clone();
            // If it is refused, the watch is dropped.
            let _ = base.later(MEMORY_LOOK, move || self.look(&there));
        } else {
            // Whoever finds the stage critical from now on sends another.
            self.0 = None;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(limit) = &self.0 {
            limit.shared.synced.lock().watching = false;
        }
    }
}

/// What a member may read in one run.
const RUN: usize = READS_PER_RUN as usize * BLOCK;

/// Settings of a [`MemoryLimit`].
#[must_use = "it makes nothing before `build`"]
pub struct MemoryLimitBuilder {
    limit: NonZeroUsize,
    connections: Option<ConnectionLimit>,
    idle: Option<Duration>,
    on_stage: Option<Hook>,
}

impl MemoryLimitBuilder {
    /// Has the listeners under `connections` accept nobody from 90 % on. Default: none.
    pub fn pause(mut self, connections: &ConnectionLimit) -> Self {
        self.connections = Some(connections.clone());
        self
    }

    /// From 95 % on, ends members that hold memory and have moved no byte for `idle`, those first that have been idle for
    /// longest, until 90 % are held again; they are looked for every second. `None`: nobody is ended. Default:
    /// [`MEMORY_IDLE`].
    pub fn end_idle(mut self, idle: Option<Duration>) -> Self {
        self.idle = idle;
        self
    }

    /// Has `hook` called when the stage has changed, with the one it has come to; changes that follow each other faster
    /// than it returns are told as one. Default: nobody is told.
    /// # Locks
    /// On a worker, or where a base is driven by hand, with nothing held; never twice at the same time. A panic in it is
    /// isolated.
    pub fn on_stage(mut self, hook: impl Fn(MemoryStage) + Send + Sync + 'static) -> Self {
        self.on_stage = Some(Box::new(hook));
        self
    }

    /// Makes the limit.
    pub fn build(self) -> MemoryLimit {
        let Self { limit, connections, idle, on_stage } = self;
        let shared = Shared {
            limit,
            marks: Marks::of(limit.get()),
            held: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
            stage: AtomicUsize::new(0),
            connections,
            idle,
            ended: SharedCounter::default(),
            on_stage,
            synced: Leaf::default(),
        };
        MemoryLimit { shared: Arc::new(shared) }
    }
}

impl MemoryLimit {
    /// At most about `limit` bytes.
    pub fn new(limit: NonZeroUsize) -> Self {
        Self::builder(limit).build()
    }

    /// Settings of one of about `limit` bytes.
    pub fn builder(limit: NonZeroUsize) -> MemoryLimitBuilder {
        MemoryLimitBuilder { limit, connections: None, idle: Some(MEMORY_IDLE), on_stage: None }
    }

    /// The bound, bytes.
    pub fn limit(&self) -> usize {
        self.shared.limit.get()
    }

    /// Bytes that are held now, as each member counted them at the end of its last run.
    pub fn held(&self) -> usize {
        // ORDER: Relaxed; a figure, nothing follows from it.
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Bufferevents that are under the limit.
    pub fn members(&self) -> usize {
        // ORDER: Relaxed; a figure, nothing is published through it.
        self.shared.members.load(Ordering::Relaxed)
    }

    /// Members that are not read from.
    pub fn waiting(&self) -> usize {
        self.shared.synced.lock().waiting.len()
    }

    /// Members that were ended because they held memory and moved nothing while there was none.
    pub fn ended(&self) -> u64 {
        self.shared.ended.get()
    }

    /// What it does now.
    pub fn stage(&self) -> MemoryStage {
        self.shared.synced.lock().stage
    }

    pub(super) fn join(&self) {
        // ORDER: Relaxed; see `members`.
        self.shared.members.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        // ORDER: Relaxed; see `members`.
        self.shared.members.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nobody is held back.
    #[inline]
    pub(super) fn is_calm(&self) -> bool {
        // ORDER: Relaxed; who goes by an old stage reads once too often, or asks `wait`, which knows.
        self.shared.stage.load(Ordering::Relaxed) == 0
    }

    /// Whether a member that holds `held` bytes is to hold no more.
    pub(super) fn holds_back(&self, held: usize) -> bool {
        !self.is_calm() && held >= self.shared.marks.calm() / self.members().max(1)
    }

    /// Counts that a member holds `to` bytes now, which held `from`.
    pub(super) fn count(&self, from: usize, to: usize, base: &BaseHandle) {
        let change = to.wrapping_sub(from);
        // ORDER: AcqRel; who crosses a mark by this RMW takes the lock after it, so that the last to do so finds there what
        // all of them have counted (L1). No more is published.
        let old = self.shared.held.fetch_add(change, Ordering::AcqRel);
        if self.shared.marks.are_crossed(old, old.wrapping_add(change)) {
            self.turn(base);
        }
    }

    #[cold]
    fn turn(&self, base: &BaseHandle) {
        let shared = &self.shared;
        let mut synced = shared.synced.lock();
        // ORDER: Acquire, pairs with the RMWs in `count` (L1).
        let held = shared.held.load(Ordering::Acquire);
        let old = std::mem::replace(&mut synced.stage, MemoryStage::Calm);
        synced.stage = shared.marks.stage(old, held);
        // ORDER: Relaxed; see `holds_back`.
        shared.stage.store(synced.stage as usize, Ordering::Relaxed);
        let calmed = old != MemoryStage::Calm && synced.stage == MemoryStage::Calm;
        let room = (shared.marks.calm() - held.min(shared.marks.calm())) / RUN;
        let let_out = if calmed { synced.waiting.let_out(room.max(1)) } else { Vec::new() };
        let tells = shared.on_stage.is_some()
            && synced.stage != synced.told
            && !std::mem::replace(&mut synced.telling, true);
        let watches = shared.idle.is_some()
            && synced.stage == MemoryStage::Critical
            && !std::mem::replace(&mut synced.watching, true);
        drop(synced);
        wake(let_out);
        self.settle_accepting();
        if watches {
            let (watch, there) = (Watch(Some(self.clone())), base.clone());
            base.spawn(move || watch.look(&there));
        }
        if tells {
            let teller = Teller(Some(self.clone()));
            base.spawn(move || teller.tell());
        }
    }

    /// Pauses the connection limit, or lets it go on, as the stage asks for that now.
    fn settle_accepting(&self) {
        let Some(connections) = &self.shared.connections else { return };
        // It has a lock of its own.
        let pause = (self.stage() >= MemoryStage::Accepting).then(|| connections.pause());
        let mut synced = self.shared.synced.lock();
        let unneeded = match (synced.stage >= MemoryStage::Accepting, synced.paused.is_some()) {
            (true, false) => std::mem::replace(&mut synced.paused, pause),
            (false, true) => synced.paused.take(),
            // Whoever has changed the stage meanwhile does this after us.
            _ => pause,
        };
        drop(synced);
        drop(unneeded);
    }

    /// Calls the hook until it knows.
    fn tell(&self) {
        let Some(hook) = &self.shared.on_stage else { return };
        loop {
            let mut synced = self.shared.synced.lock();
            if synced.told == synced.stage {
                synced.telling = false;
                return;
            }
            synced.told = synced.stage;
            let stage = synced.stage;
            drop(synced);
            let _isolated = catch_unwind(AssertUnwindSafe(|| hook(stage))).map_err(drop_panic);
        }
    }

    /// Has a member wait until there is room; `None`: there is.
    pub(super) fn wait(&self, ticket: Option<Ticket>, who: Waiter) -> Option<Ticket> {
        let mut synced = self.shared.synced.lock();
        let calm = synced.stage == MemoryStage::Calm;
        if calm { None } else { Some(synced.waiting.wait(ticket, who)) }
    }

    /// A member holds something for the first time. `None`: nobody looks at it.
    pub(super) fn enroll(&self, who: impl FnOnce() -> Waiter) -> Option<(Number, Arc<Holding>)> {
        self.shared.idle?;
        let (who, holding) = (who(), Arc::<Holding>::default());
        let mut synced = self.shared.synced.lock();
        synced.next += 1;
        let number = synced.next;
        synced.holders.insert(number, Holder { who, holding: Arc::clone(&holding) });
        Some((number, holding))
    }

    pub(super) fn holder_moved(&self, number: Number, who: Waiter) {
        let mut synced = self.shared.synced.lock();
        let old = synced.holders.get_mut(&number).map(|holder| std::mem::replace(&mut holder.who, who));
        drop(synced);
        // It may be the last handle of its base: not under the lock.
        drop(old);
    }

    pub(super) fn withdraw(&self, number: Number) {
        let gone = self.shared.synced.lock().holders.remove(&number);
        drop(gone);
    }

    /// Ends idle members, if memory is so short; false: it is not, and nobody looks any more.
    fn end_idle(&self, now: Time) -> bool {
        let shared = &self.shared;
        let mut synced = shared.synced.lock();
        synced.watching = synced.stage == MemoryStage::Critical;
        let Some(idle) = shared.idle.filter(|_| synced.watching) else { return false };
        let excess = self.held().saturating_sub(shared.marks.bearable());
        let members = synced.holders.values().map(|holder| (holder, holder.holding.look(now)));
        let ended = idle::choose(members, excess, idle);
        let woken = ended.into_iter().filter(|holder| holder.holding.condemn());
        let woken: Vec<_> = woken.map(|holder| holder.who.clone()).collect();
        drop(synced);
        shared.ended.add(woken.len() as u64);
        wake(woken);
        true
    }

    /// A member that may be waiting is `who` from now on.
    pub(super) fn moved(&self, ticket: Ticket, who: Waiter) {
        let old = self.shared.synced.lock().waiting.rename(ticket, who);
        // It may be the last handle of its base: not under the lock.
        drop(old);
    }

    /// A member waits no more, or has had its turn (L2).
    pub(super) fn give_up(&self, ticket: Ticket) {
        let mut synced = self.shared.synced.lock();
        let was_let_out = synced.waiting.give_up(ticket);
        let next = was_let_out && synced.stage == MemoryStage::Calm;
        let let_out = if next { synced.waiting.let_out(1) } else { Vec::new() };
        drop(synced);
        wake(let_out);
    }
}

fn wake(members: Vec<Waiter>) {
    for waiter in members {
        waiter.base.wake(waiter.key);
    }
}

impl fmt::Debug for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimit")
            .field("limit", &self.limit())
            .field("held", &self.held())
            .field("members", &self.members())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryLimitBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimitBuilder").field("limit", &self.limit).finish_non_exhaustive()
    }
}
