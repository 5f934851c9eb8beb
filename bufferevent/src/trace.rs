//! What is told to `tracing`, with the feature of that name; without it, nothing, at no cost.
//!
//! Levels: `WARN` a callback that panicked; `DEBUG` what happens to a connection a few times in its life: events, and its
//! end; `TRACE` read and write callbacks. Nothing that a peer has sent is ever in a message.

#[cfg(feature = "tracing")]
use crate::{bufferevent::Bufferevent, interest::Direction};

/// Tells that a callback is about to be called.
#[cfg(feature = "tracing")]
pub(crate) fn callback(bufferevent: &Bufferevent, callback: &crate::pending::Callback) {
    use crate::{event::Event, pending::Callback};

    let key = key(bufferevent);
    let (input, output) = (bufferevent.input.len(), bufferevent.output.len());
    match callback {
        Callback::Read => tracing::trace!(target: TARGET, ?key, input, output, "read"),
        Callback::Write => tracing::trace!(target: TARGET, ?key, input, output, "write"),
        Callback::Drain => tracing::debug!(target: TARGET, ?key, input, output, "drain"),
        Callback::Event(Event::Closed(_)) => tracing::debug!(target: TARGET, ?key, "closed"),
        Callback::Event(event) => tracing::debug!(target: TARGET, ?key, input, output, ?event, "event"),
    }
}

/// Tells that a bufferevent has ended.
#[cfg(feature = "tracing")]
pub(crate) fn ended(bufferevent: &Bufferevent, clean: bool) {
    let (key, unsent) = (key(bufferevent), bufferevent.output.len());
    let [read, written] = Direction::ALL.map(|direction| bufferevent.moved(direction));
    tracing::debug!(target: TARGET, ?key, clean, unsent, read, written, "ended");
}

/// Tells that a callback has panicked.
#[cfg(feature = "tracing")]
pub(crate) fn panicked(bufferevent: &Bufferevent) {
    tracing::warn!(target: TARGET, key = ?key(bufferevent), "a callback panicked");
}

/// Its name on its base; `None` before it is started.
#[cfg(feature = "tracing")]
fn key(bufferevent: &Bufferevent) -> Option<bufferevent_runtime::Key> {
    bufferevent.home.as_ref().map(|home| home.key)
}

#[cfg(feature = "tracing")]
const TARGET: &str = "bufferevent";

#[cfg(not(feature = "tracing"))]
pub(crate) use self::silent::{callback, ended, panicked};

#[cfg(not(feature = "tracing"))]
mod silent {
    use crate::{bufferevent::Bufferevent, pending::Callback};

    #[inline(always)]
    pub(crate) fn callback(_: &Bufferevent, _: &Callback) {}

    #[inline(always)]
    pub(crate) fn ended(_: &Bufferevent, _: bool) {}

    #[inline(always)]
    pub(crate) fn panicked(_: &Bufferevent) {}
}
