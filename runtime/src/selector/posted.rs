//! Events that a test posts in place of the kernel: the next wait reports them behind its own.

use std::collections::HashMap;

use bufferevent_sync::Leaf;

use super::{AnySelector, Event, Events, Selector as _, Token};

/// What was posted and no wait has taken yet: one event for each token, as the kernel joins what is ready too. Leaf lock:
/// nothing is called under it.
#[derive(Debug, Default)]
pub(super) struct Posted {
    synced: Leaf<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    events: Vec<Event>,
    /// Where the event of a token is.
    places: HashMap<Token, usize>,
}

impl Posted {
    pub(super) fn is_empty(&self) -> bool {
        self.synced.lock().events.is_empty()
    }

    /// Moves what was posted behind the events of a wait, as far as there is room.
    pub(super) fn drain_into(&self, events: &mut Events) {
        let Queue { events: posted, places } = &mut *self.synced.lock();
        if posted.is_empty() {
            return;
        }
        let taken = posted.len().min(events.capacity().saturating_sub(events.len()));
        let full = events.is_full() || taken < posted.len();
        events.fill(full, posted.drain(..taken));
        places.clear();
        places.extend(posted.iter().enumerate().map(|(place, event)| (event.token, place)));
    }

    fn push(&self, event: Event) {
        let Queue { events, places } = &mut *self.synced.lock();
        let place = *places.entry(event.token).or_insert(events.len());
        match events.get_mut(place) {
            Some(queued) => queued.ready |= event.ready,
            None => events.push(event),
        }
    }
}

impl AnySelector {
    /// Has the next [`wait`](super::Selector::wait) report `event` behind what the system reports, and wakes who waits
    /// now. The token may be any: of something that is registered, that never was, or that is gone.
    ///
    /// From any thread. Events of one token that no wait has reported yet become one.
    pub fn post(&self, event: Event) {
        self.posted.push(event);
        // The eventfd cannot fail but by overflow, which leaves it readable.
        let _ = self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::selector::Ready;

    #[test]
    fn a_wait_reports_what_was_posted_in_order_and_says_when_there_is_more() {
        let selector = AnySelector::new().unwrap();
        let event = |index, ready| Event { token: Token::new(index, 0), ready };
        selector.post(event(3, Ready::READABLE));
        selector.post(event(1, Ready::WRITABLE));
        selector.post(event(3, Ready::HANGUP));
        selector.post(event(2, Ready::READABLE));
        let mut events = Events::with_capacity(2);
        // It does not sleep: something was posted.
        selector.wait(&mut events, None).unwrap();
        let both = [event(3, Ready::READABLE | Ready::HANGUP), event(1, Ready::WRITABLE)];
        assert_eq!((events.iter().collect::<Vec<_>>(), events.is_full()), (both.to_vec(), true));
        selector.wait(&mut events, None).unwrap();
        assert_eq!(events.iter().collect::<Vec<_>>(), [event(2, Ready::READABLE)]);
        assert!(!events.is_full());
        selector.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
