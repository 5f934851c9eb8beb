//! How many connections may be open at once.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use bufferevent_sync::Leaf;

use crate::{base::BaseHandle, slots::Key};

/// A bound on the connections that are open at once, over all listeners it is given to. A clone is the same bound.
///
/// At the bound a listener pauses: it takes no more from the kernel's queue until a connection is over, which wakes it at
/// once. A connection counts from its accept until its [`Permit`] is dropped. A bufferevent keeps that until it gives up its
/// descriptor, by closing it or by handing it back; who takes the socket out of an [`Accepted`](super::Accepted) by
/// conversion is no longer counted, by [`Accepted::into_parts`](super::Accepted::into_parts) for as long as wanted.
///
/// ```
/// use std::num::NonZeroUsize;
/// use bufferevent_runtime::{ConnectionLimit, Listener};
///
/// let limit = ConnectionLimit::new(NonZeroUsize::MIN.saturating_add(9_999));
/// let first = Listener::bind("127.0.0.1:0")?.limited_by(&limit);
/// let second = Listener::bind("127.0.0.1:0")?.limited_by(&limit).max_connections(NonZeroUsize::MIN);
/// assert_eq!((limit.limit(), limit.open()), (10_000, 0));
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct ConnectionLimit {
    shared: Arc<Shared>,
}

struct Shared {
    limit: usize,
    synced: Leaf<Open>,
}

/// Leaf lock, taken once for an accept and once for an end: nothing is called under it.
#[derive(Default)]
struct Open {
    count: usize,
    /// Those that have it admit nobody.
    pauses: usize,
    /// Listeners that pause, each once.
    waiting: Vec<Waiting>,
}

/// A listener that pauses.
#[derive(Clone)]
pub(super) struct Waiting {
    /// Whatever the base's affinity: it is only woken.
    pub(super) base: BaseHandle,
    pub(super) key: Key,
}

/// Descriptors that [`ConnectionLimit::of_descriptors`] leaves to everything else.
pub const SPARE_DESCRIPTORS: usize = 64;

impl ConnectionLimit {
    /// At most `limit` connections.
    pub fn new(limit: NonZeroUsize) -> Self {
        Self { shared: Arc::new(Shared { limit: limit.get(), synced: Leaf::default() }) }
    }

    /// As many connections as the process may have descriptors now, but for [`SPARE_DESCRIPTORS`], or for half of them if
    /// they are few; at least one.
    pub fn of_descriptors() -> Self {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let descriptors = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let limit = descriptors.saturating_sub(SPARE_DESCRIPTORS).max(descriptors / 2);
        Self::new(NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN))
    }

    /// The bound.
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.shared.synced.lock().count
    }

    /// Counts one more, or notes that `waiting` pauses.
    fn admit(&self, waiting: &Waiting) -> bool {
        let mut open = self.shared.synced.lock();
        if open.count < self.limit() && open.pauses == 0 {
            open.count += 1;
            return true;
        }
        let same = |other: &Waiting| other.key == waiting.key && other.base.id() == waiting.base.id();
        if !open.waiting.iter().any(same) {
            open.waiting.push(waiting.clone());
        }
        false
    }

    /// Admits nobody until the answer is dropped; connections that are open stay so. From any thread and any callback.
    pub fn pause(&self) -> Paused {
        self.shared.synced.lock().pauses += 1;
        Paused { limit: self.clone() }
    }

    /// Changes what is open, and wakes who waits for that.
    fn change(&self, change: impl FnOnce(&mut Open)) {
        let mut open = self.shared.synced.lock();
        change(&mut open);
        let woken = std::mem::take(&mut open.waiting);
        drop(open);
        for waiting in woken {
            waiting.base.wake(waiting.key);
        }
    }

    fn release(&self) {
        self.change(|open| open.count -= 1);
    }
}

/// That a [`ConnectionLimit`] admits nobody. Dropped, listeners that pause for it go on, unless there is another.
#[must_use = "a pause that is dropped is over"]
#[derive(Debug)]
pub struct Paused {
    limit: ConnectionLimit,
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.limit.change(|open| open.pauses -= 1);
    }
}

/// That one connection is counted, under up to two limits. Dropped, it is over, and listeners that pause for it go on.
#[derive(Default)]
#[must_use = "a connection whose permit is dropped is not counted"]
pub struct Permit {
    limits: [Option<ConnectionLimit>; 2],
}

impl Permit {
    /// Admits one connection under both limits, or answers the bound that is reached.
    pub(super) fn take(limits: &[Option<ConnectionLimit>; 2], waiting: &Waiting) -> Result<Self, usize> {
        let mut permit = Self::default();
        for (limit, taken) in limits.iter().zip(&mut permit.limits) {
            let Some(limit) = limit else { continue };
            if !limit.admit(waiting) {
                return Err(limit.limit());
            }
            *taken = Some(limit.clone());
        }
        Ok(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.iter().flatten().for_each(ConnectionLimit::release);
    }
}

impl fmt::Debug for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimit").field("limit", &self.limit()).field("open", &self.open()).finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.limits.iter().flatten()).finish()
    }
}
