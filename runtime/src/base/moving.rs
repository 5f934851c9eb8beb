//! Sources and strands that move from one base to another.

use std::{any::Any, sync::Arc};

use super::{
    Base, BaseHandle,
    shared::{BaseShared, Message},
};
use crate::{
    affinity::{Affinity, Movable},
    clock::Time,
    error::{Error, Result},
    protocol::Reasons,
    slots::{Homed, Key, Slot},
    strand::AnyStrand,
};

/// A source on its way to its new base.
pub(crate) struct Arrival {
    key: Key,
    source: Box<<Movable as Affinity>::Source>,
    reasons: Reasons,
    deferred: bool,
    priority: u8,
    deadline: Option<Time>,
}

/// Where a source goes: a base, and the key that was reserved there.
pub(super) struct Departure {
    from: Key,
    to: Arc<BaseShared>,
    key: Key,
}

impl Departure {
    pub(super) fn is_of(&self, key: Key) -> bool {
        self.from == key
    }

    /// It stays.
    pub(super) fn cancel(self) {
        self.to.keys.release(self.key);
    }
}

impl<A: Affinity> Base<A> {
    /// Moves the source `key` to another base: with its timer, its priority, and what is due, also from the deferred queue. It runs
    /// there first with [`Reasons::MOVED`]. One that is running leaves at the end of its run.
    ///
    /// * `to_key` was reserved there ([`BaseHandle::reserve`]), and names it from now on.
    ///
    /// If the other base is dropped before it arrives, or is gone already, it is dropped with it.
    /// # Errors
    /// [`Error::Closed`] if there is no such source; [`Error::WrongAffinity`] if either base is pinned. Nothing is changed then, and the key is still reserved.
    pub fn depart(&mut self, key: Key, to: &BaseHandle, to_key: Key) -> Result<()> {
        self.check_affinity(to)?;
        let confined = self.slots.confined_mut(key).ok_or(Error::Closed)?;
        let departure = Departure { from: key, to: Arc::clone(&to.shared), key: to_key };
        match confined.source.take() {
            Some(source) => self.leave(key, source, departure),
            None => {
                if let Some(earlier) = self.departure.replace(departure) {
                    earlier.cancel();
                }
            }
        }
        Ok(())
    }

    /// Whether sources of this base may move to `to`.
    ///
    /// # Errors
    /// [`Error::WrongAffinity`] if either base is pinned; [`Error::Closed`] if the other base is gone;
    /// [`Error::Unsupported`] if the clocks of the two differ.
    pub fn may_depart(&self, to: &BaseHandle) -> Result<()> {
        self.check_affinity(to)?;
        self.shared.may_move_to(&to.shared)
    }

    fn check_affinity(&self, to: &BaseHandle) -> Result<()> {
        if A::PINNED || to.shared.pinned {
            return Err(Error::WrongAffinity);
        }
        Ok(())
    }

    /// Takes [`Base::depart`] back, for the source that is running: it stays.
    pub fn stay(&mut self) {
        if let Some(departure) = self.departure.take() {
            departure.cancel();
        }
    }

    /// The source that is running and moves at the end of its run, and where to.
    pub fn departing(&self) -> Option<(Key, BaseHandle)> {
        let Departure { from, to, .. } = self.departure.as_ref()?;
        Some((*from, BaseHandle::new(Arc::clone(to))))
    }

    /// Whether the source that is running is to call nobody any more and to return: the base was broken, or it moves away.
    #[inline]
    pub fn interrupts_run(&self) -> bool {
        self.shared.gate.is_broken() || self.departure.is_some()
    }

    /// Sends a source off; it is out of its slot.
    pub(super) fn leave(&mut self, key: Key, source: Box<A::Source>, to: Departure) {
        let Some(Slot::Confined(confined)) = self.slots.take(key) else { return self.discard(source) };
        // A pinned base was refused before.
        let Ok(source) = A::movable(source) else { return };
        let deadline = confined.timer.and_then(|timer| {
            let deadline = self.wheel.deadline(timer);
            self.wheel.cancel(timer);
            deadline.map(Time::from_tick)
        });
        let Departure { to, key: new, .. } = to;
        to.object_added();
        self.vacate(key, true);
        let (reasons, deferred, priority) = (confined.reasons, confined.deferred, confined.priority);
        let arrival = Arrival { key: new, source, reasons, deferred, priority, deadline };
        if let Err(message) = to.send_internal(Message::Arrive(Box::new(arrival))) {
            // It has just been dropped, and so is what moved to it.
            to.object_removed();
            self.discard(message);
        }
    }

    pub(super) fn arrive(&mut self, arrival: Arrival) {
        // Who sent it has asked whether this base is movable.
        let Some(base) = (self as &mut dyn Any).downcast_mut::<Base<Movable>>() else { return };
        let Arrival { key, source, reasons, deferred, priority, deadline } = arrival;
        base.take_in(key, source, priority);
        base.post_to(key, reasons | Reasons::MOVED);
        if deferred {
            base.defer(key, Reasons::EMPTY);
        }
        if let Some(deadline) = deadline {
            base.arm(key, deadline);
        }
    }

    /// Takes in a strand that moves here. Its holder may still think better of it, and lets it be forgotten then.
    pub(super) fn settle(&mut self, key: Key, strand: Arc<dyn AnyStrand>) {
        self.slots.insert(key, Slot::Homed(Homed { strand: Arc::clone(&strand), timer: None }));
        self.post_strand(&strand, Reasons::MOVED);
    }
}
