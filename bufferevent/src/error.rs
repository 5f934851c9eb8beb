//! What can go wrong, grouped by whose fault it was.

use std::{fmt, io};

use crate::host::HostError;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    // the system
    /// The system refused.
    Io(io::Error),
    /// The runtime refused.
    Runtime(bufferevent_runtime::Error),

    /// Something on a manual base makes itself run again and again.
    #[cfg(feature = "test-util")]
    Unsettled {
        /// Turns that were made.
        turns: usize,
    },

    // the caller
    /// The bufferevent is closed or closing, or the id names none of this base.
    Closed,
    /// Writing was shut down.
    ShutDown,
    /// This thread already holds a strand, or runs on a worker that the call would wait for.
    WouldDeadlock,
    /// The descriptor is not a stream socket, or is one that listens.
    NotStream,
    /// The bufferevent has a descriptor, or a connect under way, already.
    AlreadyConnected,
    /// The bufferevent has no descriptor.
    NotConnected,
    /// The bufferevent is half of a pair, which has no descriptor and takes none.
    NotSocket,
    /// The other half of the pair is gone, or takes nothing any more.
    Unlinked,
    /// What was to be connected to is no host, or no port.
    InvalidHost(HostError),
    /// `UNLOCK_CALLBACKS` without `DEFER_CALLBACKS`.
    UnlockWithoutDefer,
    /// An [`UnlockedHandler`](crate::UnlockedHandler) needs `UNLOCK_CALLBACKS`, any other handler must not have it.
    WrongHandler,
    /// The high mark is below the low mark.
    InvalidWatermark {
        /// The low mark, in bytes.
        low: usize,
        /// The high mark, in bytes.
        high: usize,
    },
    /// It has no rate limit of its own.
    NoRateLimit,
    /// The group goes by another clock than the base.
    WrongClock,
    /// The output, with what was to be added, would pass its cap; nothing was added.
    /// [`Event::Drained`](crate::Event::Drained) tells when to try again.
    OutputFull {
        /// Bytes that were to be added, without those of files.
        more: usize,
        /// Bytes in memory in the output or, where that is busy, in the mailbox.
        queued: usize,
        /// The cap, in bytes.
        cap: usize,
    },
    /// What was to be added is more than the output's cap by itself, so that no [`Event::Drained`](crate::Event::Drained)
    /// makes room for it: give it in pieces. Nothing was added.
    TooLarge {
        /// Bytes that were to be added, without those of files.
        more: usize,
        /// The cap, in bytes.
        cap: usize,
    },
    /// A [`Pipe`](crate::Pipe) joins the bufferevent to another of its base, so that it stays there.
    Joined,
    /// THREADSAFE of a filter is not as that of the bufferevent below: a stack has one strand. Give all
    /// `options(..)` of it the same.
    MixedLocking,
    /// There are as many filters above each other as there may be.
    TooDeep {
        /// Filters there may be.
        limit: usize,
    },
    /// The mailbox holds its limit of operations.
    MailboxFull {
        /// Operations it may hold.
        limit: usize,
    },
    /// The buffer refused: a frozen end, a full buffer, a position out of range.
    Buffer(bufferevent_evbuffer::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(source) => write!(f, "{source}"),
            Self::Runtime(source) => write!(f, "{source}"),
            Self::Buffer(source) => write!(f, "{source}"),
            Self::Closed => f.write_str("the bufferevent or its base is closed, or the id is not of this base or is running"),
            Self::ShutDown => f.write_str("writing was shut down"),
            Self::WouldDeadlock => {
                f.write_str(
                    "waiting here could last for ever: this thread holds a strand, or runs the base",
                )
            }
            #[cfg(feature = "test-util")]
            Self::Unsettled { turns } => write!(f, "there is something to do after {turns} turns still"),
            Self::NotStream => f.write_str("the descriptor is not a stream socket, or is one that listens"),
            Self::AlreadyConnected => f.write_str("the bufferevent has a descriptor already"),
            Self::InvalidHost(source) => write!(f, "{source}"),
            Self::NotConnected => f.write_str("the bufferevent has no descriptor"),
            Self::NotSocket => f.write_str("half of a pair has no descriptor, and takes none"),
            Self::Unlinked => f.write_str("the other half of the pair is gone, or takes nothing any more"),
            Self::UnlockWithoutDefer => f.write_str("UNLOCK_CALLBACKS needs DEFER_CALLBACKS"),
            Self::WrongHandler => f.write_str(
                "UNLOCK_CALLBACKS takes an UnlockedHandler, by `threadsafe().unlocked(handler)`, and no other handler",
            ),
            Self::InvalidWatermark { low, high } => {
                write!(f, "the high mark {high} is below the low mark {low}")
            }
            Self::NoRateLimit => f.write_str("the bufferevent has no rate limit of its own"),
            Self::WrongClock => f.write_str("the group goes by another clock than the base"),
            Self::OutputFull { more, queued, cap } => {
                write!(f, "{more} bytes do not fit: {queued} are queued and the cap is {cap}")
            }
            Self::TooLarge { more, cap } => {
                write!(f, "{more} bytes never fit, the cap is {cap}: they are to be given in pieces")
            }
            Self::Joined => f.write_str("the bufferevent is joined to another of its base, and stays there"),
            Self::MixedLocking => f.write_str(
                "a stack of filters is THREADSAFE as a whole or not at all: give all `options(..)` of it the same",
            ),
            Self::TooDeep { limit } => write!(f, "there are {limit} filters above each other already"),
            Self::MailboxFull { limit } => write!(f, "the mailbox holds its limit of {limit} operations"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Runtime(source) => Some(source),
            Self::Buffer(source) => Some(source),
            Self::InvalidHost(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

impl From<bufferevent_runtime::Error> for Error {
    fn from(source: bufferevent_runtime::Error) -> Self {
        match source {
            bufferevent_runtime::Error::Closed => Self::Closed,
            bufferevent_runtime::Error::WouldDeadlock => Self::WouldDeadlock,
            bufferevent_runtime::Error::Io(source) => Self::Io(source),
            other => Self::Runtime(other),
        }
    }
}

impl From<HostError> for Error {
    fn from(source: HostError) -> Self {
        Self::InvalidHost(source)
    }
}

impl From<bufferevent_evbuffer::Error> for Error {
    fn from(source: bufferevent_evbuffer::Error) -> Self {
        Self::Buffer(source)
    }
}
