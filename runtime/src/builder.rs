//! How a runtime is made.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use bufferevent_sync::deque;

use crate::{
    base::{
        Base, INBOX, PRIORITIES,
        shared::{Attachment, BaseShared},
    },
    callback::{Blocked, OnBlocked},
    clock::Clock,
    error::{Error, Result},
    lane::PoolId,
    protocol::ParkWord,
    runtime::Runtime,
    sched::{
        pool::{BaseSlot, Pool, Seat, WorkerShared},
        top::Top,
    },
    selector::SelectorKind,
};

/// The most workers, and the most bases, of one runtime.
pub const MOST: usize = 1_024;

/// Settings of a [`Runtime`].
///
/// ```
/// use bufferevent_runtime::Runtime;
///
/// let runtime = Runtime::builder().workers(2).bases(4).build()?;
/// assert_eq!(runtime.bases().len(), 4);
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    workers: Option<usize>,
    bases: Option<usize>,
    stealing: bool,
    inbox: usize,
    priorities: usize,
    selector: SelectorKind,
    clock: Clock,
    thread_name: String,
    trace: bool,
    on_blocked: Option<OnBlocked>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            workers: None,
            bases: None,
            stealing: true,
            inbox: INBOX,
            priorities: 1,
            selector: SelectorKind::default(),
            clock: Clock::monotonic(),
            thread_name: "bufferevent".to_owned(),
            trace: false,
            on_blocked: None,
        }
    }
}

impl Builder {
    /// Threads that run the bases, 1 to [`MOST`]. Default: the cores this process may use.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Event bases, 1 to [`MOST`]. Default: as many as workers, so that each worker waits in a base of its own.
    #[must_use]
    pub fn bases(mut self, bases: usize) -> Self {
        self.bases = Some(bases);
        self
    }

    /// Keeps every base, and all that is homed on it, on its own worker: nothing is stolen, nobody helps. Default: off.
    #[must_use]
    pub fn pinned(mut self, pinned: bool) -> Self {
        self.stealing = !pinned;
        self
    }

    /// Messages a base's inbox holds before a post is refused, at least 1. Default: [`INBOX`].
    #[must_use]
    pub fn inbox(mut self, messages: usize) -> Self {
        self.inbox = messages.max(1);
        self
    }

    /// Priorities of each base, 1 to [`PRIORITIES`], see [`Base::set_priorities`]. Default: 1.
    ///
    /// # Libevent
    /// `event_base_priority_init`.
    #[must_use]
    pub fn priorities(mut self, count: usize) -> Self {
        self.priorities = count;
        self
    }

    /// Which selector the bases wait in. Default: the system's fastest.
    #[must_use]
    pub fn selector(mut self, kind: SelectorKind) -> Self {
        self.selector = kind;
        self
    }

    /// Where the time comes from. Default: the system's monotonic clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Name of the threads that [`Runtime::run`] makes; the worker's number follows it. Default: `bufferevent`.
    #[must_use]
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Has each strand note since when it waits to run, for [`Strand::waiting_since`](crate::Strand::waiting_since) and
    /// [`Runtime::dump`], and each callback how long it took, for
    /// [`BaseCounters::callback_times`](crate::BaseCounters::callback_times): two looks at the clock for each run and each
    /// callback. For tests and watchdogs. Default: off.
    #[must_use]
    pub fn trace(mut self, trace: bool) -> Self {
        self.trace = trace;
        self
    }

    /// Has `hook` called for each callback that runs for `after` (at least 1 ms; a usual value is
    /// [`BLOCKED_AFTER`](crate::BLOCKED_AFTER)), once for each; which callbacks there are is told by
    /// [`CallbackKind`](crate::CallbackKind). Default: nobody is told, and no time is taken.
    ///
    /// It is called while the callback runs still, if another worker is idle and may steal. Else it is called after the
    /// callback has returned, so always on a runtime of one worker and on a [pinned](Builder::pinned) one, and one that never
    /// returns is not told there. What was [spawned](crate::Runtime::spawn) is no callback of a base, and is not timed. Costs two looks at the clock for each
    /// callback, and a watch that an idle worker keeps for as long as others are awake.
    /// # Locks
    /// On a worker, with nothing held; a panic in it is isolated.
    /// # Examples
    /// ```
    /// use bufferevent_runtime::{BLOCKED_AFTER, Runtime};
    ///
    /// let tell = |blocked: &bufferevent_runtime::Blocked| eprintln!("blocked: {blocked:?}");
    /// let runtime = Runtime::builder().on_blocked(BLOCKED_AFTER, tell).build()?;
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    #[must_use]
    pub fn on_blocked(mut self, after: Duration, hook: impl Fn(&Blocked) + Send + Sync + 'static) -> Self {
        self.on_blocked = Some(OnBlocked::new(after, hook));
        self
    }

    /// Makes the runtime. Nothing runs before its workers do.
    ///
    /// # Errors
    /// [`Error::InvalidWorkers`] or [`Error::InvalidBases`] for 0 or more than [`MOST`], [`Error::InvalidPriority`] for 0 or
    /// more than [`PRIORITIES`]; [`Error::Unsupported`] for more bases than workers, or a pinned runtime with fewer workers than bases, where the selector cannot be nested, and for
    /// a thread name with a NUL character;
    /// [`Error::Io`] if the system has no selector to give.
    pub fn build(self) -> Result<Runtime> {
        let workers = self.workers.unwrap_or_else(cores);
        let bases = self.bases.unwrap_or(workers);
        if workers == 0 || workers > MOST {
            return Err(Error::InvalidWorkers { workers, limit: MOST });
        }
        if bases == 0 || bases > MOST {
            return Err(Error::InvalidBases { bases, limit: MOST });
        }
        if self.priorities == 0 || self.priorities > PRIORITIES {
            return Err(Error::InvalidPriority { priority: self.priorities, limit: PRIORITIES });
        }
        if bases > workers && !self.stealing {
            return Err(Error::Unsupported("a pinned runtime needs as many workers as bases"));
        }
        if self.thread_name.contains('\0') {
            return Err(Error::Unsupported("a thread name with a NUL character"));
        }
        let id = PoolId::unique();
        let mut top = if bases > workers { Some(Top::new()?) } else { None };
        let mut slots = Vec::with_capacity(bases);
        let attachment = Arc::default();
        for index in 0..bases {
            slots.push(self.base(index, id, top.as_mut(), &attachment)?);
        }
        let mut own = Vec::with_capacity(workers);
        let mut shared = Vec::with_capacity(workers);
        for index in 0..workers {
            let deque = deque::Worker::new_fifo();
            shared.push(WorkerShared::new(deque.stealer(), self.seat(index, &slots, top.is_some())?));
            own.push(deque);
        }
        let mut pool = Pool::new(id, self.clock, slots, shared, own, top, self.stealing);
        pool.on_blocked = self.on_blocked;
        Ok(Runtime::new(Arc::new(pool), self.thread_name))
    }

    fn base(
        &self,
        index: usize,
        id: PoolId,
        top: Option<&mut Top>,
        attachment: &Arc<Attachment>,
    ) -> Result<BaseSlot> {
        let selector = self.selector.make()?;
        let mut shared = BaseShared::new(index, id, false, selector, self.clock.clone(), self.inbox);
        shared.trace = self.trace;
        shared.on_blocked.clone_from(&self.on_blocked);
        shared.times_callbacks = self.trace || self.on_blocked.is_some();
        shared.attachment = Arc::clone(attachment);
        shared.set_priorities(self.priorities);
        let shared = Arc::new(shared);
        let mut core = Base::from_shared(Arc::clone(&shared));
        if let Some(top) = top {
            core.make_nested()?;
            let _free_from_the_start = core.prepare_release()?;
            top.add(index, &shared.selector)?;
        }
        Ok(BaseSlot::new(core, shared))
    }

    fn seat(&self, index: usize, bases: &[BaseSlot], nested: bool) -> Result<Seat> {
        if nested {
            return Ok(Seat::Top);
        }
        match bases.get(index) {
            Some(base) => Ok(Seat::Home(Arc::clone(&base.shared))),
            None => Ok(Seat::Own { park: ParkWord::new(), selector: self.selector.make()? }),
        }
    }
}

/// Cores this process may use: the standard library's figure heeds affinity and quotas, the other is for systems
/// where it has none.
fn cores() -> usize {
    available_parallelism().map_or_else(|_| num_cpus::get(), usize::from).clamp(1, MOST)
}
