//! One direction of a tree of groups: its room under its lock.

use bufferevent_sync::{Arc, Leaf};

use crate::room::{Key, Owed, Room};
use crate::{Bell, Limit, Nanos, Plan, Waiter};

/// A handle. Leaf lock, taken by who waits, is served, or changes something; not by who takes what is there.
pub(crate) struct Half<W: Waiter> {
    room: Arc<Leaf<Room<W>>>,
}

impl<W: Waiter> Half<W> {
    pub(crate) fn new(limit: Limit, plan: Plan) -> (Self, Key) {
        let (room, root) = Room::new(limit, plan);
        (Self { room: Arc::new(Leaf::new(room)) }, root)
    }

    /// Does something in the room, at `now`, or at the latest time that is known there; serves all who can be, and does
    /// what is owed once the lock is released.
    pub(crate) fn enter<R>(&self, now: Option<Nanos>, act: impl FnOnce(&mut Room<W>) -> R) -> R {
        let mut room = self.room.lock();
        room.advance(now.unwrap_or_default());
        let result = act(&mut room);
        room.serve();
        let owed = room.owed();
        drop(room);
        self.pay(owed);
        result
    }

    /// See [`Bell::ring`].
    pub(crate) fn ring(&self, base: &W::Base, now: Nanos) -> Option<Nanos> {
        let mut room = self.room.lock();
        room.advance(now);
        room.rang(base);
        room.serve();
        let mut owed = room.owed();
        let next = room.armed(base);
        drop(room);
        owed.alarms.retain(|(other, _)| other != base);
        self.pay(owed);
        next
    }

    fn pay(&self, owed: Owed<W>) {
        owed.wakes.into_iter().for_each(Waiter::wake);
        if !owed.alarms.is_empty() {
            let bell = Bell { half: self.clone() };
            owed.alarms.iter().for_each(|(base, at)| W::alarm(base, &bell, *at));
        }
    }
}

impl<W: Waiter> Clone for Half<W> {
    fn clone(&self) -> Self {
        Self { room: Arc::clone(&self.room) }
    }
}

/// The same direction of the same tree.
impl<W: Waiter> PartialEq for Half<W> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.room, &other.room)
    }
}
