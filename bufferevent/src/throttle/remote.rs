//! The limits of a THREADSAFE bufferevent, set from any thread while it may be busy.

use std::num::NonZeroU32;

use bufferevent_ratelimit::TokenBucketConfig;

use super::RateLimitGroup;
use crate::{
    error::{Error, Result},
    handle::Handle,
    mailbox::Op,
};

impl Handle {
    /// [`Bufferevent::set_rate_limit`](crate::Bufferevent::set_rate_limit), never waiting for a callback: `None` ends the limit
    /// of its own.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::MailboxFull`].
    ///
    /// ```
    /// use bufferevent::{Handle, TokenBucketConfig};
    ///
    /// fn throttle(connection: &Handle) -> Result<(), Box<dyn std::error::Error>> {
    ///     Ok(connection.set_rate_limit(Some(&TokenBucketConfig::symmetric("1MB/s".parse()?, None)?))?)
    /// }
    /// ```
    #[doc(alias = "bufferevent_set_rate_limit")]
    pub fn set_rate_limit(&self, config: Option<&TokenBucketConfig>) -> Result<()> {
        self.apply(Op::Limit(config.cloned()))
    }

    /// [`Bufferevent::join_rate_limit_group`](crate::Bufferevent::join_rate_limit_group), never waiting for a callback.
    ///
    /// # Errors
    /// [`Error::WrongClock`] if the group goes by another clock than the base, [`Error::Closed`] after a close;
    /// [`Error::MailboxFull`]. One that has moved to a base of another clock by then stays as it is.
    #[doc(alias = "bufferevent_add_to_rate_limit_group")]
    pub fn join_rate_limit_group(&self, group: &RateLimitGroup) -> Result<()> {
        self.join_rate_limit_group_weighted(group, NonZeroU32::MIN)
    }

    /// [`Bufferevent::join_rate_limit_group_weighted`](crate::Bufferevent::join_rate_limit_group_weighted), never waiting for a
    /// callback.
    ///
    /// # Errors
    /// As [`join_rate_limit_group`](Handle::join_rate_limit_group).
    pub fn join_rate_limit_group_weighted(&self, group: &RateLimitGroup, weight: NonZeroU32) -> Result<()> {
        if !group.fits(&self.base()) {
            return Err(Error::WrongClock);
        }
        self.apply(Op::Join(group.clone(), weight))
    }

    /// [`Bufferevent::leave_rate_limit_group`](crate::Bufferevent::leave_rate_limit_group), never waiting for a callback.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::MailboxFull`].
    #[doc(alias = "bufferevent_remove_from_rate_limit_group")]
    pub fn leave_rate_limit_group(&self) -> Result<()> {
        self.apply(Op::Leave)
    }
}
