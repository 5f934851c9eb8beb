//! Who waits for memory, first come, first served. Pure.

use std::collections::BTreeMap;

/// A place in the queue, which nobody else had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Those who wait.
///
/// * W1 Who was let out has a ticket that is not in the queue, until it gives it up: then the next is let out.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    queue: BTreeMap<Ticket, T>,
    next: u64,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), next: 0 }
    }
}

impl<T> Waiting<T> {
    /// Waits, at the back, or where `ticket` stands.
    pub(super) fn wait(&mut self, ticket: Option<Ticket>, who: T) -> Ticket {
        let place = ticket.filter(|ticket| self.queue.contains_key(ticket)).unwrap_or_else(|| {
            self.next += 1;
            Ticket(self.next)
        });
        self.queue.insert(place, who);
        place
    }

    /// Is another from now on, if it waits; answers who it was.
    pub(super) fn rename(&mut self, ticket: Ticket, who: T) -> Option<T> {
        self.queue.get_mut(&ticket).map(|waiting| std::mem::replace(waiting, who))
    }

    /// Waits no more. True: it had been let out, so that the turn is the next one's.
    #[must_use]
    pub(super) fn give_up(&mut self, ticket: Ticket) -> bool {
        self.queue.remove(&ticket).is_none()
    }

    /// Lets the first `count` out.
    pub(super) fn let_out(&mut self, count: usize) -> Vec<T> {
        std::iter::from_fn(|| self.queue.pop_first()).take(count).map(|(_, who)| who).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_keeps_its_place_and_is_let_out_once() {
        let mut waiting = Waiting::default();
        let first = waiting.wait(None, 1);
        let second = waiting.wait(None, 2);
        assert_eq!((waiting.wait(Some(first), 7), waiting.len()), (first, 2));
        assert_eq!(waiting.rename(first, 1), Some(7));
        assert_eq!(waiting.let_out(1), [1]);
        assert_eq!(waiting.rename(first, 9), None);
        // It has had its turn: it waits at the back again.
        assert!(waiting.wait(Some(first), 3) > second);
        assert!(!waiting.give_up(second));
        assert_eq!(waiting.let_out(9), [3]);
    }

    #[test]
    fn each_that_was_let_out_hands_its_turn_on() {
        let mut waiting = Waiting::default();
        let tickets = Vec::from_iter((0..5).map(|who| waiting.wait(None, who)));
        assert_eq!(waiting.let_out(1), [0]);
        for (who, ticket) in tickets.into_iter().enumerate() {
            assert!(waiting.give_up(ticket), "{who} was let out");
            assert_eq!(waiting.let_out(1), Vec::from_iter((who < 4).then_some(who + 1)));
        }
    }
}
