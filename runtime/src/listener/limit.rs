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

impl Open {
    fn admit(&mut self, limit: usize) -> bool {
        let admits = self.count < limit && self.pauses == 0;
        self.count += usize::from(admits);
        admits
    }
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

    /// Counts one more, if it may.
    fn admit(&self) -> bool {
        self.shared.synced.lock().admit(self.limit())
    }

    /// Counts one more, or notes that `waiting` pauses.
    fn admit_or_wait(&self, waiting: &Waiting) -> bool {
        let mut open = self.shared.synced.lock();
        if open.admit(self.limit()) {
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

    /// Whether anybody else has a clone.
    pub(super) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    #[cfg(test)]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
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

/// That one connection is counted, under up to three limits. Dropped, it is over, and listeners that pause for it go on.
#[derive(Default)]
#[must_use = "a connection whose permit is dropped is not counted"]
pub struct Permit {
    /// Nothing where there is no limit.
    limits: Option<Box<[Option<ConnectionLimit>; 3]>>,
}

impl Permit {
    /// Admits one connection under both limits, or answers the bound that is reached.
    pub(super) fn take(limits: &[Option<ConnectionLimit>; 2], waiting: &Waiting) -> Result<Self, usize> {
        let mut permit = Self::default();
        for limit in limits.iter().flatten() {
            if !limit.admit_or_wait(waiting) {
                return Err(limit.limit());
            }
            permit.add(limit.clone());
        }
        Ok(permit)
    }

    /// Counts the connection under one more limit, unless that is reached.
    pub(super) fn admit_under(&mut self, limit: ConnectionLimit) -> bool {
        let admits = limit.admit();
        if admits {
            self.add(limit);
        }
        admits
    }

    fn add(&mut self, limit: ConnectionLimit) {
        let free = self.limits.get_or_insert_default().iter_mut().find(|place| place.is_none());
        debug_assert!(free.is_some(), "a listener has two limits, and its filter a third");
        if let Some(place) = free {
            *place = Some(limit);
        }
    }

    fn limits(&self) -> impl Iterator<Item = &ConnectionLimit> {
        self.limits.iter().flat_map(|limits| limits.iter()).flatten()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits().for_each(ConnectionLimit::release);
    }
}

impl fmt::Debug for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimit").field("limit", &self.limit()).field("open", &self.open()).finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.limits()).finish()
    }
}
