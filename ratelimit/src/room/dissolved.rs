//! The end of a group. That of a root lets all its members go; those of another group *fall* to its parent.
//!
//! A member learns of it when it comes the next time, as of any change of its path. Up to then its node stays, without a
//! queue, a handle or a share in anything, for what such a member still counts is counted there, and it finds by it where it
//! is now. So there are no more of these than members that have not come.
//!
//! * M6 Above a group that has a handle, all have one. Of a dissolved one the queue is empty, and stays so; it has a member
//!   that has not come yet, or another dissolved one below it.

use bufferevent_sync::{Arc, mutant};

use super::{Entry, Key, ROOT, Room};
use crate::Waiter;
use crate::path::Path;

impl<W: Waiter> Room<W> {
    /// Ends a group below which no other has a handle. Whoever waits there is woken, to wait elsewhere or to go on.
    pub(crate) fn dissolve(&mut self, key: Key) {
        debug_assert!(self.find(key).is_some_and(|node| !node.dissolved), "it is dissolved once");
        while let Some(next) = self.node_mut(key.index).queue.next() {
            if let Entry::Member { who: Some(who), .. } = next.what {
                self.stays_no_more(&who);
                self.owed.wakes.extend((!mutant::is("group_dissolves_in_silence")).then_some(who));
            }
        }
        self.stand(key.index);
        let node = self.node_mut(key.index);
        (node.dissolved, node.waiting) = (true, 0);
        self.outdate(key.index);
        if key.index == ROOT {
            self.groups.fill_with(|| None);
        } else {
            self.bury(key.index);
        }
    }

    /// The clocks from the group that a member of `key` is in by now up to the root, and what they go by; `None` once all is
    /// dissolved.
    pub(crate) fn path(&mut self, key: Key) -> Option<Arc<Path>> {
        self.find(key)?;
        Some(self.path_of(self.home(key.index)))
    }

    /// The same for a member that is one of the group that the path begins with from now on.
    pub(crate) fn follow(&mut self, key: Key) -> Option<Arc<Path>> {
        let path = self.path(key)?;
        if path.group() != key {
            self.join(path.group());
            self.leave(key);
        }
        Some(path)
    }

    /// The first of a group and those above it that is not dissolved.
    pub(super) fn home(&self, index: usize) -> usize {
        self.upwards(index).find(|above| !self.node(*above).dissolved).expect("M6: the root is not")
    }

    /// Forgets a group, if it is dissolved and all have come; then the dissolved ones above that this was the last below.
    pub(super) fn bury(&mut self, index: usize) {
        let mut next = Some(index);
        while let Some(index) = next {
            let node = self.node(index);
            let rests = node.members + node.children > 0 && !mutant::is("group_forgets_who_falls");
            if !node.dissolved || rests {
                return;
            }
            let total = node.total();
            next = node.parent;
            if let Some(parent) = next {
                let parent = self.node_mut(parent);
                parent.total = parent.total.wrapping_add(total);
                parent.children -= 1;
            }
            self.groups[index] = None;
            self.free.push(index);
        }
    }
}
