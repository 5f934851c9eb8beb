//! What is told to `on_event`.

use std::{fmt, io, os::fd::OwnedFd};

use bufferevent_evbuffer::{Evbuffer, FileError};

use crate::{builder::Builder, filter::FilterError, interest::Direction, resolver::LookupError};

/// Something that happened to a bufferevent, other than data that came or went.
///
/// One kind and one direction each; events of one bufferevent come one by one in the order they happened, equal ones
/// as one.
/// # Libevent
/// The `what` of `bufferevent_event_cb`; [`Event::bits`] gives it.
#[doc(alias = "bufferevent_event_cb")]
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection that was asked for stands. Exactly one of this and an error comes for each connect.
    #[doc(alias = "BEV_EVENT_CONNECTED")]
    Connected,
    /// The peer ended its side. What is left in the input stays readable, also below the low mark; writing may go on.
    ///
    /// It is told after the last read callback: while the output has no room for what is in the input, both wait until the
    /// output has drained. So an echo that appends its input, and closes at the end, loses nothing.
    #[doc(alias = "BEV_EVENT_EOF")]
    Eof,
    /// The connection failed. The direction is `None` for a connect that failed.
    #[doc(alias = "BEV_EVENT_ERROR")]
    Error {
        /// What was being done.
        direction: Option<Direction>,
        /// Why it failed.
        cause: Cause,
    },
    /// A direction made no progress for its timeout, and is disabled.
    #[doc(alias = "BEV_EVENT_TIMEOUT")]
    Timeout(Direction),
    /// The output, which had reached its high mark, is down to its low mark again.
    Drained,
    /// The input has reached its cap; reading goes on when it is drained below.
    InputFull,
    /// The bufferevent is closed: the last event there is, and only if it was asked for.
    Closed(Box<Closed>),
    /// Bits given to `trigger_event`.
    User(u16),
}

/// Why a connection, or its close, failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The system said so.
    Io(io::Error),
    /// The name of the host has no address, or none was found: nothing was connected to.
    Lookup(LookupError),
    /// It took longer than it may.
    TimeLimit(TimeLimit),
    /// A file that was to be sent could not be read: it has become shorter, or the system failed.
    File(FileError),
    /// A filter could not go on.
    Filter(FilterError),
}

/// What took longer than it may, besides a direction that made no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeLimit {
    /// A connect; see [`Bufferevent::set_connect_timeout`](crate::Bufferevent::set_connect_timeout).
    Connect,
    /// The handshake of a filter, once what is below is connected; see [`Filter::handshake_timeout`](crate::Filter::handshake_timeout).
    Handshake,
    /// All of it; see [`Bufferevent::set_lifetime`](crate::Bufferevent::set_lifetime).
    Lifetime,
    /// The bytes that must move in a window; see [`Bufferevent::set_min_rate`](crate::Bufferevent::set_min_rate).
    MinRate,
    /// A close in which the peer took nothing of what was left; see [`Closing::drain`](crate::Closing::drain).
    Drain,
    /// A close in which the peer did not end its side; see [`Closing::linger`](crate::Closing::linger).
    Linger,
    /// All of a close; see [`Closing::deadline`](crate::Closing::deadline).
    Close,
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connect took too long",
            Self::Handshake => "the handshake took too long",
            Self::Lifetime => "the connection lived as long as it may",
            Self::MinRate => "the peer was slower than it may be",
            Self::Drain => "the peer took nothing of what was left when it was closed",
            Self::Linger => "the peer did not end its side after ours was ended",
            Self::Close => "the close took too long",
        })
    }
}

impl std::error::Error for TimeLimit {}

impl Cause {
    /// The kind of the error: `TimedOut` for a time limit, `UnexpectedEof` for a file that has become shorter; of a filter's
    /// that of the `io::Error` it is, else `Other`.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io(error) => error.kind(),
            Self::Lookup(error) => error.kind(),
            Self::TimeLimit(_) => io::ErrorKind::TimedOut,
            Self::File(error) => error.kind(),
            Self::Filter(error) => {
                error.downcast_ref::<io::Error>().map_or(io::ErrorKind::Other, io::Error::kind)
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Lookup(error) => write!(f, "{error}"),
            Self::TimeLimit(limit) => write!(f, "{limit}"),
            Self::File(error) => write!(f, "{error}"),
            Self::Filter(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Lookup(error) => Some(error),
            Self::TimeLimit(limit) => Some(limit),
            Self::File(error) => Some(error),
            Self::Filter(error) => Some(&**error),
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FileError> for Cause {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// What is left of a bufferevent that ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed {
    /// Whether all output was sent, and the peer has ended its side, within the bounds of the close and with no error of what
    /// arrived, before or in it.
    ///
    /// * For a descriptor that comes back, and for half of a pair, it need not have ended its side.
    /// * Of a filter none has failed, or has left bytes at the end, which may be half a message. What
    ///   [tells the end](crate::Ending) itself says when the peer has ended its side, whatever becomes of the connection below; its
    ///   own last message to a peer that is gone is not missed. (Below a filter that does not, over another, it may be: what that
    ///   one had kept would be lost with it.)
    pub clean: bool,
    /// Why it is not clean, if something failed in the close, or before it and no event has told of that yet: the first error
    /// of a filter, the connection or a file, or the bound of the close that was reached. `None` if it was aborted, and of what
    /// an event has told.
    pub cause: Option<Cause>,
    /// Bytes that were written and not sent: in the output, and, of what filters have taken, those of which they had made what is
    /// not sent of any layer that was closed. What became of one call and went in part is counted in proportion, by a few bytes too
    /// many or too few where a filter adds some of its own; what a filter keeps to itself counts as sent, as does what is in the
    /// queue of a pair, also if the other half never reads it.
    pub unsent: usize,
    /// Input that nobody has read.
    pub unread: Evbuffer,
    /// Bytes that have arrived and that no filter has taken, of all layers that were closed.
    pub unfiltered: usize,
    /// The descriptor, if the bufferevent was not to close it.
    pub fd: Option<OwnedFd>,
    /// Of a filter that was not to close it: the bufferevent below, with what is in its buffers, to be started again. Dropped, it
    /// is closed as one that was never started.
    pub underlying: Option<Box<Builder>>,
}

impl Event {
    /// Whether nothing more will come from the peer: end, error or close.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Eof | Self::Error { .. } | Self::Closed(_))
    }

    /// libevent's bits: `READING` 0x01, `WRITING` 0x02, `EOF` 0x10, `ERROR` 0x20, `TIMEOUT` 0x40, `CONNECTED` 0x80;
    /// 0 for the events that libevent does not have.
    #[must_use]
    #[doc(alias = "BEV_EVENT_READING")]
    #[doc(alias = "BEV_EVENT_WRITING")]
    pub fn bits(&self) -> u16 {
        let direction = |direction: &Direction| match direction {
            Direction::Read => 0x01,
            Direction::Write => 0x02,
        };
        match self {
            Self::Connected => 0x80,
            Self::Eof => 0x11,
            Self::Error { direction: of, .. } => 0x20 | of.as_ref().map_or(0, direction),
            Self::Timeout(of) => 0x40 | direction(of),
            Self::User(bits) => *bits,
            Self::Drained | Self::InputFull | Self::Closed(_) => 0,
        }
    }

    /// Whether this and `other` say the same, so that one of them is enough.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error { direction: one, .. }, Self::Error { direction: other, .. }) => one == other,
            (Self::Timeout(one), Self::Timeout(other)) => one == other,
            (Self::User(one), Self::User(other)) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// How a trigger treats watermarks.
///
/// # Libevent
/// `BEV_TRIG_IGNORE_WATERMARKS`, `BEV_TRIG_DEFER_CALLBACKS`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trigger {
    /// Run the callback whatever the watermarks say.
    pub ignore_watermarks: bool,
    /// Run it from the deferred queue even if the bufferevent does not defer its callbacks.
    pub defer: bool,
}

impl Trigger {
    /// Subject to watermarks, at once.
    pub const PLAIN: Self = Self { ignore_watermarks: false, defer: false };
    /// Whatever the watermarks say.
    #[doc(alias = "BEV_TRIG_IGNORE_WATERMARKS")]
    pub const IGNORE_WATERMARKS: Self = Self { ignore_watermarks: true, defer: false };
    /// From the deferred queue.
    #[doc(alias = "BEV_TRIG_DEFER_CALLBACKS")]
    pub const DEFER: Self = Self { ignore_watermarks: false, defer: true };

    /// These options, deferred.
    #[must_use]
    pub const fn deferred(self) -> Self {
        Self { defer: true, ..self }
    }
}
