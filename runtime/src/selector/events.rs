//! The buffer that a selector fills.

use std::fmt;
use std::iter::Copied;
use std::num::NonZeroUsize;
use std::slice;

use super::interest::{Event, Token};

/// One batch of events, used again for every wait. Memory is allocated by the first.
pub struct Events {
    /// How many are taken at once.
    capacity: NonZeroUsize,
    list: Vec<Event>,
    full: bool,
    /// What the portable selector has its poller write to.
    polling: Option<::polling::Events>,
}

impl Events {
    /// Events of polling's own, its timer and its notifier, that take room in its buffer and are not counted by it.
    pub(super) const HIDDEN: usize = 2;

    /// Makes a buffer for `capacity` events at once: at least one, and epoll takes [1024](Events::default) at most.
    pub fn with_capacity(capacity: usize) -> Events {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Events { capacity, list: Vec::new(), full: false, polling: None }
    }

    /// Forgets the events of the last wait.
    pub fn clear(&mut self) {
        self.list.clear();
        self.full = false;
    }

    /// How many are taken at once.
    pub fn capacity(&self) -> usize {
        self.capacity.get()
    }

    /// The events of the last wait.
    pub fn iter(&self) -> Copied<slice::Iter<'_, Event>> {
        self.list.iter().copied()
    }

    /// How many events the last wait reported.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the last wait reported nothing (but perhaps was woken).
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the last wait may have left events behind for lack of room. They are not announced again to who waits
    /// for an edge of the selector itself: poll once more first.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Fills the cleared buffer.
    ///
    /// * `full`: whether the system may have had no room for more.
    #[inline]
    pub(super) fn fill(&mut self, full: bool, events: impl Iterator<Item = Event>) {
        self.full = full;
        if self.list.capacity() == 0 {
            self.list.reserve_exact(self.capacity.get());
        }
        self.list.extend(events.filter(|event| event.token != Token::WAKER));
    }

    /// The cleared buffer for a poller. To be given back.
    pub(super) fn take_polling(&mut self) -> ::polling::Events {
        let room = self.capacity.saturating_add(Events::HIDDEN);
        let mut buffer = self.polling.take().unwrap_or_else(|| ::polling::Events::with_capacity(room));
        buffer.clear();
        buffer
    }

    pub(super) fn give_back_polling(&mut self, buffer: ::polling::Events) {
        self.polling = Some(buffer);
    }
}

/// An empty buffer for 1024 events.
impl Default for Events {
    fn default() -> Events {
        Events::with_capacity(1024)
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = Copied<slice::Iter<'a, Event>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
