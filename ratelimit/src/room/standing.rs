//! Where each group stands: idle, ready or blocked (M1, M2).

use bufferevent_sync::mutant;

use super::{Entry, Node, Room, Standing};
use crate::Waiter;
use crate::fair_queue::Arrival;

impl<W: Waiter> Room<W> {
    /// Puts a group where it belongs now (M2), then its parent, if that one's queue has changed by it.
    pub(super) fn stand(&mut self, index: usize) {
        let mut next = Some(index);
        while let Some(index) = next {
            let lead = self.node(index).parent.map_or(0, |parent| self.lead(parent));
            next = self.take_stand(index, lead).then(|| self.node(index).parent).flatten();
        }
    }

    /// Puts a group where it belongs now. True: its parent's queue has changed.
    pub(super) fn take_stand(&mut self, index: usize, lead: u64) -> bool {
        let early = mutant::is("group_looks_before_it_waits").then(|| self.look(index));
        self.follow_queue(index);
        let (old, new) = (self.node(index).standing, early.unwrap_or_else(|| self.look(index)));
        let stays = matches!((old, new), (Standing::Ready(_), Standing::Ready(_))) || old == new;
        if stays {
            return false;
        }
        let Node { parent, weight, finish, .. } = *self.node(index);
        match old {
            Standing::Blocked(at) => {
                self.blocked.remove(&(at, index));
            }
            Standing::Ready(Some(place)) => {
                let parent = parent.expect("M2: only the root has no place");
                self.node_mut(parent).queue.leave(place);
            }
            Standing::Idle | Standing::Ready(None) => {}
        }
        let number = self.number();
        self.node_mut(index).standing = match (new, parent) {
            (Standing::Ready(_), Some(parent)) => {
                let arrival = Arrival { number, weight, finish, taken: 0, lead, wants: u64::MAX };
                Standing::Ready(Some(self.node_mut(parent).queue.enter(arrival, Entry::Group(index))))
            }
            _ => new,
        };
        if let Standing::Blocked(at) = new {
            self.blocked.insert((at, index));
        }
        matches!(old, Standing::Ready(_)) || matches!(new, Standing::Ready(_))
    }

    /// Where a group belongs now.
    fn look(&mut self, index: usize) -> Standing {
        let now = self.now;
        if self.node(index).queue.is_empty() {
            return Standing::Idle;
        }
        if self.node(index).plan.is_worn(now) {
            self.replan(index, self.node(index).plan.limit());
        }
        let node = self.node(index);
        let missing = node.needs() as i64 - node.level(now);
        if missing <= 0 {
            Standing::Ready(None)
        } else {
            Standing::Blocked(node.plan.accrues(missing.unsigned_abs(), now))
        }
    }

    /// M1.
    fn follow_queue(&mut self, index: usize) {
        let now = self.now;
        let node = self.node_mut(index);
        match (node.queue.is_empty(), node.waited_for_since) {
            (false, None) => {
                // The level is looked at after this, by who has the lock (W2).
                let _level = node.shared.clock.wait(&node.plan, now);
                node.waited_for_since = Some(now);
            }
            (true, Some(since)) => {
                node.shared.clock.wait_no_more();
                node.waited_for_since = None;
                node.throttled += now.since(since);
            }
            _ => {}
        }
    }

    /// How far ahead of those who wait at a group somebody may be who comes: what each gets in a second, if all want some.
    pub(super) fn lead(&self, index: usize) -> u64 {
        let per_second = self.upwards(index).map(|above| self.node(above).plan.per_second()).min();
        let node = self.node(index);
        node.quantum().max(per_second.unwrap_or(0) / (node.members + node.children).max(1) as u64)
    }
}
