//! How urgent the callbacks are.

use super::Bufferevent;
use crate::error::{Error, Result};

impl Bufferevent {
    /// Sets how urgent the bufferevent is among what runs on its base's turns: 0 is most urgent, and the default is the
    /// middle one of the base's priorities, of which there is one unless
    /// [the base](bufferevent_runtime::Base::set_priorities) or the [runtime](bufferevent_runtime::Builder::priorities) has
    /// more. It goes for input, output and deferred callbacks alike, takes effect when this run ends, and stays through
    /// [`Bufferevent::set_fd`].
    ///
    /// A THREADSAFE bufferevent that any worker may run ([`Placement::Any`](crate::Placement::Any)) waits in a worker's
    /// queue, where there are no priorities: it keeps the number, to no effect.
    /// # Errors
    /// [`InvalidPriority`](bufferevent_runtime::Error::InvalidPriority) if the base has no such priority; nothing is changed.
    /// # Libevent
    /// `bufferevent_priority_set`.
    #[doc(alias = "bufferevent_priority_set")]
    pub fn set_priority(&mut self, priority: u8) -> Result<()> {
        if let Some(home) = &self.home {
            check(priority, home.base.priorities())?;
        }
        self.priority = Some(priority);
        self.run.errands.priority = Some(priority);
        Ok(())
    }

    /// How urgent the bufferevent is; `None` if it has no base yet and was not told.
    ///
    /// # Libevent
    /// `bufferevent_get_priority`.
    #[doc(alias = "bufferevent_get_priority")]
    pub fn priority(&self) -> Option<u8> {
        self.priority.or_else(|| self.home.as_ref().map(|home| (home.base.priorities() / 2) as u8))
    }

    /// Whether a base of so many priorities has the one that was set.
    pub(crate) fn check_priority(&self, priorities: usize) -> Result<()> {
        self.priority.map_or(Ok(()), |priority| check(priority, priorities))
    }
}

fn check(priority: u8, limit: usize) -> Result<()> {
    match usize::from(priority) < limit {
        true => Ok(()),
        false => Err(Error::Runtime(bufferevent_runtime::Error::InvalidPriority {
            priority: priority.into(),
            limit,
        })),
    }
}
