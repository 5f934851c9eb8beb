//! Entering a group's queue, and leaving it.

use bufferevent_sync::mutant;

use super::{Entry, Key, Node, Room};
use crate::Waiter;
use crate::fair_queue::{Arrival, Place, REACH, Tag};
use crate::served::Served;

/// What a member comes with.
#[derive(Clone, Copy)]
pub(crate) struct Asks {
    pub(crate) want: u64,
    pub(crate) weight: u32,
    /// Of its last turn.
    pub(crate) finish: Tag,
    /// Bytes since then for which it did not wait.
    pub(crate) taken: u64,
}

impl<W: Waiter> Room<W> {
    /// A member enters its group's queue; `None` if that is dissolved: it [follows](Self::follow), and comes again. It is
    /// woken once it is said to [`stay`](Self::stay).
    pub(crate) fn enlist(&mut self, key: Key, asks: Asks) -> Option<Place> {
        let is_over = |node: &Node<W>| node.dissolved && !mutant::is("group_lets_in_after_its_end");
        self.find(key).filter(|node| !is_over(node))?;
        let (number, lead) = (self.number(), self.lead(key.index));
        let node = self.node_mut(key.index);
        node.waiting += 1;
        let Asks { want: wants, weight, finish, taken } = asks;
        // Nobody else wanted it: who had much alone must not make up for it when a thousand come.
        let taken = taken.min(node.quantum()).min(REACH);
        let arrival = Arrival { number, weight, finish, taken, lead, wants };
        let place = node.queue.enter(arrival, Entry::Member { want: wants, who: None });
        self.stand(key.index);
        Some(place)
    }

    /// A member that is still in the queue waits as `who`. Gives who it was before. One that was served is woken again.
    pub(crate) fn stay(&mut self, key: Key, place: Place, who: W) -> Option<W> {
        if !self.is_queued(key, place) {
            self.owed.wakes.push(who);
            return None;
        }
        self.alarms.enter(who.base());
        let before = match self.node_mut(key.index).queue.get_mut(place) {
            Some(Entry::Member { who: slot, .. }) => slot.replace(who),
            _ => unreachable!("it is in the queue"),
        };
        if let Some(before) = &before {
            self.stays_no_more(before);
        }
        before
    }

    /// What a member got, once; not if it comes too late for it.
    pub(crate) fn collect(&mut self, place: Place) -> Option<Served> {
        self.lapse();
        self.served.collect(place.number)
    }

    /// Whether a member is still in its group's queue. If it is not, and there is nothing for it to collect, it came too
    /// late, or the group is dissolved.
    pub(crate) fn is_queued(&self, key: Key, place: Place) -> bool {
        self.find(key).is_some_and(|node| node.queue.get(place).is_some())
    }

    /// A member that is still in the queue wants another amount.
    pub(crate) fn set_want(&mut self, key: Key, place: Place, bytes: u64) {
        if let Some(Entry::Member { want, .. }) =
            self.find_mut(key).and_then(|node| node.queue.get_mut(place))
        {
            *want = bytes;
            self.stand(key.index);
        }
    }

    /// A member that is still in the queue waits no more. Gives who waited.
    pub(crate) fn withdraw(&mut self, key: Key, place: Place) -> Option<W> {
        let node = self.find_mut(key)?;
        let Entry::Member { who, .. } = node.queue.leave(place)? else { return None };
        node.waiting -= 1;
        self.stand(key.index);
        if let Some(who) = &who {
            self.stays_no_more(who);
        }
        who
    }
}
