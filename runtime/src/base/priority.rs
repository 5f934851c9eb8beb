//! Priorities: how many a base has, and which one an object has.

use super::{Base, Queues};
use crate::{
    affinity::Affinity,
    error::{Error, Result},
    event::EventId,
    slots::Key,
};

/// The most priorities a base can have.
pub const PRIORITIES: usize = 255;

impl<A: Affinity> Base<A> {
    /// Gives the base `count` priorities, 1 to [`PRIORITIES`]. Default: 1. A base of a runtime has what
    /// [`Builder::priorities`](crate::Builder::priorities) says.
    ///
    /// Lower numbers are more urgent, and what is not told otherwise has the middle one, `count / 2`. After each poll only
    /// the most urgent level that has work runs, and what is ready there keeps all below it waiting, for ever if need be.
    /// It holds for what runs on the base's turns: what is confined, bound to the base, or deferred there. Strands that
    /// any worker may run have no priority.
    /// # Errors
    /// [`Error::InvalidPriority`] for 0 or more than [`PRIORITIES`]; [`Error::NotEmpty`] if something lives here already.
    /// # Libevent
    /// `event_base_priority_init`.
    /// # Examples
    /// ```
    /// use bufferevent_runtime::{Base, Pinned, What};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// base.set_priorities(3)?;
    /// let event = base.user_event(What::NONE.once(), |_, _| println!("before all else"));
    /// base.set_priority(event, 0)?;
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    #[doc(alias = "event_base_priority_init")]
    pub fn set_priorities(&mut self, count: usize) -> Result<()> {
        if count == 0 || count > PRIORITIES {
            return Err(Error::InvalidPriority { priority: count, limit: PRIORITIES });
        }
        if !self.is_empty() || !self.queues.is_empty() {
            return Err(Error::NotEmpty);
        }
        self.queues = Queues::new(count);
        self.shared.set_priorities(count);
        Ok(())
    }

    /// How many priorities the base has.
    ///
    /// # Libevent
    /// `event_base_get_npriorities`.
    #[doc(alias = "event_base_get_npriorities")]
    pub fn priorities(&self) -> usize {
        self.shared.priorities()
    }

    /// Sets the priority of an event, a signal or a timer, from 0, the most urgent. Where it is queued already it keeps its
    /// place this once.
    ///
    /// # Errors
    /// [`Error::InvalidPriority`] if the base has no such priority, [`Error::Closed`] if the event is gone.
    /// # Libevent
    /// `event_priority_set`. Differs: allowed while the event is active.
    #[doc(alias = "event_priority_set")]
    pub fn set_priority(&mut self, event: impl Into<EventId>, priority: u8) -> Result<()> {
        let key = event.into().on(self).ok_or(Error::Closed)?;
        self.set_priority_of(key, priority)
    }

    /// As [`Base::set_priority`], for any source of the base; a strand has its own
    /// [`set_priority`](crate::Strand::set_priority).
    ///
    /// # Errors
    /// As [`Base::set_priority`].
    pub fn set_priority_of(&mut self, key: Key, priority: u8) -> Result<()> {
        self.shared.check_priority(priority)?;
        self.slots.confined_mut(key).ok_or(Error::Closed)?.priority = priority;
        Ok(())
    }

    /// The priority of a source of the base; `None` if it is gone.
    ///
    /// # Libevent
    /// `event_get_priority`.
    #[doc(alias = "event_get_priority")]
    pub fn priority_of(&mut self, key: Key) -> Option<u8> {
        Some(self.slots.confined_mut(key)?.priority)
    }
}
