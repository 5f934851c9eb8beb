//! The bound that members share.

use std::{
    fmt,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bufferevent_runtime::{BLOCK, BaseHandle, ConnectionLimit, Key, Paused};
use bufferevent_sync::{
    Leaf,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    stage::{Marks, MemoryStage},
    waiting::{Ticket, Waiting},
};
use crate::defaults::READS_PER_RUN;

/// A bound on the bytes that all bufferevents [under it](crate::Builder::memory) hold in their buffers together. A clone is
/// the same bound.
///
/// It takes hold in [stages](MemoryStage): who holds more than a fair share is not read from, then nobody is accepted, then
/// a hook may close connections. A fair share is 80 % of the limit divided by the members, so that there is always somebody
/// above it. Who was not read from goes on when enough has become free: the first ones at once, one more whenever one has
/// had its turn.
///
/// Writes are never refused for it, so it may be passed: by what callbacks write, and by one run of each member (256 KiB)
/// that was under way. Bytes of files that were not read yet, and what an application keeps elsewhere, are not counted. Members
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
}

/// A member that is not read from.
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

/// What a member may read in one run.
const RUN: usize = READS_PER_RUN as usize * BLOCK;

/// Settings of a [`MemoryLimit`].
#[must_use = "it makes nothing before `build`"]
pub struct MemoryLimitBuilder {
    limit: NonZeroUsize,
    connections: Option<ConnectionLimit>,
    on_stage: Option<Hook>,
}

impl MemoryLimitBuilder {
    /// Has the listeners under `connections` accept nobody from 90 % on. Default: none.
    pub fn pause(mut self, connections: &ConnectionLimit) -> Self {
        self.connections = Some(connections.clone());
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
        let Self { limit, connections, on_stage } = self;
        let shared = Shared {
            limit,
            marks: Marks::of(limit.get()),
            held: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
            stage: AtomicUsize::new(0),
            connections,
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
        MemoryLimitBuilder { limit, connections: None, on_stage: None }
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

    /// Whether a member that holds `held` bytes is to hold no more.
    pub(super) fn holds_back(&self, held: usize) -> bool {
        // ORDER: Relaxed; who goes by an old stage reads once too often, or asks `wait`, which knows.
        self.shared.stage.load(Ordering::Relaxed) != 0
            && held >= self.shared.marks.calm() / self.members().max(1)
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
        drop(synced);
        wake(let_out);
        self.settle_accepting();
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
            let _isolated = catch_unwind(AssertUnwindSafe(|| hook(stage)));
        }
    }

    /// Has a member wait until there is room; `None`: there is.
    pub(super) fn wait(&self, ticket: Option<Ticket>, who: Waiter) -> Option<Ticket> {
        let mut synced = self.shared.synced.lock();
        let calm = synced.stage == MemoryStage::Calm;
        if calm { None } else { Some(synced.waiting.wait(ticket, who)) }
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

fn wake(let_out: Vec<Waiter>) {
    for waiter in let_out {
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
