//! What a group looks like at a moment.

use super::{Key, Room};
use crate::Waiter;

/// What a group looks like at a moment.
pub(crate) struct View {
    pub(crate) level: i64,
    pub(crate) quantum: u64,
    pub(crate) members: Counted,
    pub(crate) waiting: Counted,
    pub(crate) throttled: u64,
    pub(crate) total: u64,
}

/// How many there are.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) here: usize,
    pub(crate) below: usize,
}

impl<W: Waiter> Room<W> {
    pub(crate) fn level(&self, key: Key) -> Option<i64> {
        self.find(key).map(|node| node.level(self.now))
    }

    pub(crate) fn view(&self, key: Key) -> Option<View> {
        let node = self.find(key)?;
        let (mut members, mut waiting, mut total) = (Counted::default(), Counted::default(), 0_u64);
        for (index, below) in self.groups.iter().enumerate() {
            let Some(below) = below.as_ref().filter(|_| self.upwards(index).any(|above| above == key.index))
            else {
                continue;
            };
            let is_here = self.home(index) == key.index;
            members.add(below.members, is_here);
            waiting.add(below.waiting, is_here);
            total = total.wrapping_add(below.total());
        }
        let waited = node.waited_for_since.map_or(0, |since| self.now.since(since));
        Some(View {
            level: node.level(self.now),
            quantum: node.quantum(),
            members,
            waiting,
            throttled: node.throttled + waited,
            total: total.wrapping_sub(node.counted),
        })
    }

    pub(crate) fn reset_total(&mut self, key: Key) {
        let Some(View { total, .. }) = self.view(key) else { return };
        let counted = &mut self.node_mut(key.index).counted;
        *counted = counted.wrapping_add(total);
    }
}

impl Counted {
    fn add(&mut self, number: usize, is_here: bool) {
        *if is_here { &mut self.here } else { &mut self.below } += number;
    }
}
