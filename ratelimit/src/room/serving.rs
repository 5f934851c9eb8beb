//! Handing out what there is, in turns, down from the root.

use std::time::Duration;

use super::{Entry, ROOT, Room, Standing};
use crate::fair_queue::Next;
use crate::served::Served;
use crate::{Waiter, share};

impl<W: Waiter> Room<W> {
    /// Serves all who can be (M3). Whoever has changed something does this last.
    pub(crate) fn serve(&mut self) {
        self.lapse();
        while let Some(&(_, index)) = self.blocked.first().filter(|(at, _)| *at <= self.now) {
            self.stand(index);
        }
        while matches!(self.root(), Some(Standing::Ready(_))) {
            self.hand_out(ROOT, u64::MAX);
            self.stand(ROOT);
        }
        for (index, place) in std::mem::take(&mut self.taking_part).into_values() {
            if let Some(Entry::Member { who, .. }) = self.node_mut(index).queue.leave(place) {
                self.wake(index, who);
            }
            self.stand(index);
        }
    }

    /// Takes back what nobody has collected in time. Those who have waited ever since get it; at a group where nobody did
    /// it is forfeited, for the clock may have been clipped since, and others have taken, as if it had been used.
    pub(super) fn lapse(&mut self) {
        while let Some(Served { bytes, at, path, .. }) = self.served.lapsed(self.now) {
            for key in path.keys() {
                let Some(node) = self.find(key) else { continue };
                if node.waited_for_since.is_some_and(|since| since <= at) {
                    // They are served below.
                    let _here = node.shared.clock.give(bytes);
                    self.stand(key.index);
                }
            }
        }
    }

    /// Gives those in a group's queue their turns of up to `budget` bytes. Gives what was used.
    fn hand_out(&mut self, index: usize, budget: u64) -> u64 {
        let now = self.now;
        let node = self.node_mut(index);
        let in_hand = node.shared.clock.take_served(&node.plan, budget, now);
        let quantum = node.quantum();
        let mut left = in_hand;
        while left > 0 {
            let node = self.node_mut(index);
            if in_hand < quantum.min(budget) && left < node.needs() {
                // Of less than a quantum only those are served that want no more.
                break;
            }
            let queue = &mut node.queue;
            let weights = queue.weights();
            let Some((next, what)) = queue.next().map(Next::split) else { break };
            let turn = share::turn(left, quantum, next.lag, next.weight, weights);
            left -= match what {
                Entry::Member { want, who } => self.serve_member(index, &next, want, turn, who),
                Entry::Group(child) => self.serve_group(&next, turn, child),
            };
        }
        // Whoever sees that somebody waits: we serve them.
        let _served_here = self.node(index).shared.clock.give(left);
        in_hand - left
    }

    fn serve_member(&mut self, index: usize, next: &Next<()>, want: u64, turn: u64, who: Option<W>) -> u64 {
        let (bytes, rest) = (want.min(turn), want.saturating_sub(turn));
        let finish = next.finish(bytes);
        if rest > 0 {
            let arrival = next.again(finish, rest);
            let place = self.node_mut(index).queue.enter(arrival, Entry::Member { want: rest, who });
            self.taking_part.insert(next.number, (index, place));
        } else {
            self.taking_part.remove(&next.number);
            self.wake(index, who);
        }
        let path = self.path_of(index);
        let (at, until) = (self.now, path.next_boundary(self.now.after(GRANT_GOOD_FOR)));
        self.served.add(next.number, Served { bytes, at, finish, until, path });
        bytes
    }

    fn serve_group(&mut self, next: &Next<()>, turn: u64, child: usize) -> u64 {
        self.node_mut(child).standing = Standing::Idle;
        let used = self.hand_out(child, turn);
        self.node_mut(child).finish = next.finish(used);
        self.take_stand(child, u64::MAX);
        used
    }

    fn wake(&mut self, index: usize, who: Option<W>) {
        self.node_mut(index).waiting -= 1;
        if let Some(who) = who {
            self.stays_no_more(&who);
            self.owed.wakes.push(who);
        }
    }
}

/// How long a base may take to run who was served, up to the end of the tick: what it was granted goes back after that.
pub const GRANT_GOOD_FOR: Duration = Duration::from_millis(20);
