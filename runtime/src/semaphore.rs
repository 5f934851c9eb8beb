//! How many may do something costly at once; who comes later waits, in order.

use std::{collections::BTreeMap, fmt, mem, num::NonZeroUsize, sync::Arc, task::Waker};

use bufferevent_sync::{Leaf, mutant};

/// Counts those who are in, and keeps the others in a queue. Nobody waits inside a call: who is let in later is woken.
///
/// ```
/// use std::{num::NonZeroUsize, sync::Arc, task::Waker};
/// use bufferevent_runtime::Semaphore;
///
/// let semaphore = Arc::new(Semaphore::new(NonZeroUsize::MIN));
/// let mut first = semaphore.acquire(Waker::noop());
/// let mut second = semaphore.acquire(Waker::noop());
/// assert!(first.is_granted() && !second.is_granted());
/// drop(first);
/// assert!(second.is_granted());
/// ```
/// # Locks
/// A leaf; who is woken is so after it.
pub struct Semaphore {
    queue: Leaf<Queue>,
}

/// Who is in, and who waits. Pure.
///
/// * Q1 `inside <= limit`, but after the limit was lowered.
/// * Q2 Nobody waits while there is room: who leaves lets the next one in, who is so counted at once.
#[derive(Debug)]
struct Queue {
    limit: NonZeroUsize,
    inside: usize,
    /// By number, the lowest of which came first.
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

impl Queue {
    fn enter_at_once(&mut self) -> bool {
        let enters = self.inside < self.limit.get();
        self.inside += usize::from(enters);
        enters
    }

    fn enter(&mut self, waker: &Waker) -> Option<u64> {
        if self.enter_at_once() {
            return None;
        }
        self.next += 1;
        self.waiting.insert(self.next, waker.clone());
        Some(self.next)
    }

    /// Lets in who there is room for: they are to be woken.
    #[must_use]
    fn admit(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while self.inside < self.limit.get() {
            let Some((_, waker)) = self.waiting.pop_first() else { break };
            self.inside += usize::from(!mutant::is("semaphore_lets_in_uncounted"));
            woken.push(waker);
        }
        woken
    }

    /// One who had the number `waiting`, or came in at once, goes.
    #[must_use]
    fn leave(&mut self, waiting: Option<u64>) -> (Option<Waker>, Vec<Waker>) {
        if let Some(waker) = waiting.and_then(|number| self.waiting.remove(&number)) {
            return (Some(waker), Vec::new());
        }
        self.inside -= 1;
        if waiting.is_some() && mutant::is("semaphore_loses_an_unseen_place")
            || mutant::is("semaphore_leaves_in_silence")
        {
            return (None, Vec::new());
        }
        (None, self.admit())
    }
}

impl Semaphore {
    /// One that lets `limit` in.
    #[must_use]
    pub fn new(limit: NonZeroUsize) -> Self {
        Self { queue: Leaf::new(Queue { limit, inside: 0, waiting: BTreeMap::new(), next: 0 }) }
    }

    /// Comes in, if there is room.
    pub fn try_acquire(self: &Arc<Self>) -> Option<SemaphorePermit> {
        let entered = self.queue.lock().enter_at_once();
        entered.then(|| SemaphorePermit { semaphore: Arc::clone(self), waiting: None })
    }

    /// Asks to be let in; `waker` is woken if that is later.
    pub fn acquire(self: &Arc<Self>, waker: &Waker) -> SemaphorePermit {
        let number = self.queue.lock().enter(waker);
        SemaphorePermit { semaphore: Arc::clone(self), waiting: number }
    }

    /// Sets how many it lets in. Those who are in stay; those who wait come in as far as there is room.
    pub fn set_limit(&self, limit: NonZeroUsize) {
        let mut queue = self.queue.lock();
        queue.limit = limit;
        let woken = queue.admit();
        drop(queue);
        woken.into_iter().for_each(Waker::wake);
    }

    /// How many it lets in.
    #[must_use]
    pub fn limit(&self) -> NonZeroUsize {
        self.queue.lock().limit
    }

    /// How many are in.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.queue.lock().inside
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("inside", &self.inside()).field("waiting", &self.waiting()).finish()
    }
}

/// A place in a [`Semaphore`], or in its queue. Dropped, it is given up.
#[derive(Debug)]
#[must_use = "dropped, it is given up"]
pub struct SemaphorePermit {
    semaphore: Arc<Semaphore>,
    /// `None`: it is known to be in.
    waiting: Option<u64>,
}

impl SemaphorePermit {
    /// Whether it is in.
    pub fn is_granted(&mut self) -> bool {
        self.waiting.take_if(|number| !self.semaphore.queue.lock().waiting.contains_key(number));
        self.waiting.is_none()
    }
}

impl Drop for SemaphorePermit {
    fn drop(&mut self) {
        let (unused, woken) = self.semaphore.queue.lock().leave(mem::take(&mut self.waiting));
        drop(unused);
        woken.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::task::Wake;

    use bufferevent_sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn semaphore(limit: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(NonZeroUsize::MIN.saturating_add(limit - 1)))
    }

    #[test]
    fn those_who_wait_come_in_in_order_and_are_woken_once() {
        let semaphore = semaphore(2);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut permits = Vec::from_iter((0..5).map(|_| semaphore.acquire(&waker)));
        let granted = |permits: &mut Vec<SemaphorePermit>| {
            Vec::from_iter(permits.iter_mut().map(SemaphorePermit::is_granted))
        };
        assert_eq!(granted(&mut permits), [true, true, false, false, false]);
        drop(permits.remove(0));
        assert_eq!((granted(&mut permits), count.0.load(Relaxed)), (vec![true, true, false, false], 1));
        semaphore.set_limit(NonZeroUsize::MIN.saturating_add(2));
        assert_eq!((granted(&mut permits), count.0.load(Relaxed)), (vec![true, true, true, false], 2));
        semaphore.set_limit(NonZeroUsize::MIN);
        drop(permits.drain(..2));
        assert_eq!((granted(&mut permits), semaphore.inside()), (vec![true, false], 1), "it was lowered");
        drop(permits);
        assert_eq!((semaphore.inside(), semaphore.waiting()), (0, 0));
    }

    #[test]
    fn who_gives_up_waiting_keeps_nobody_out_whether_it_knows_that_it_was_let_in_or_not() {
        let semaphore = semaphore(1);
        let first = semaphore.acquire(Waker::noop());
        let [second, third, mut fourth] = [(); 3].map(|()| semaphore.acquire(Waker::noop()));
        drop(second);
        drop(first);
        assert_eq!((semaphore.inside(), semaphore.waiting()), (1, 1));
        // It was let in, and has not looked.
        drop(third);
        assert!(fourth.is_granted());
    }
}
