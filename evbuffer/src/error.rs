//! What a buffer refuses, and why.

use std::error;
use std::fmt;
use std::io;

use crate::End;

/// Why an operation was refused. A refused operation has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// That end of the buffer is frozen ([`Evbuffer::freeze`](crate::Evbuffer::freeze)).
    Frozen {
        /// The end that may not be changed.
        end: End,
    },
    /// The data would take the buffer past its limit ([`Evbuffer::set_limit`](crate::Evbuffer::set_limit)).
    Full {
        /// The most the buffer may hold, in bytes; `usize::MAX` where no limit is set.
        limit: usize,
        /// What it holds now, in bytes.
        len: usize,
        /// What was to be put in, in bytes.
        requested: usize,
    },
    /// A position or a length reaches past what there is.
    OutOfRange {
        /// The position or length that was given, in bytes.
        position: usize,
        /// The largest that would have been accepted, in bytes.
        len: usize,
    },
    /// A contiguous block of this size cannot be had.
    TooLarge {
        /// The size, in bytes; saturated at `usize::MAX`.
        requested: usize,
    },
    /// Bytes of a file that are not read yet stand in the way ([`Evbuffer::load`](crate::Evbuffer::load)).
    NotLoaded {
        /// How many bytes from the front on are in memory.
        loaded: usize,
        /// How many would have to be.
        requested: usize,
    },
    /// A `Display` implementation reported an error while it was being formatted into the buffer.
    Format,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Frozen { end } => write!(f, "the {end} of the buffer is frozen"),
            Error::Full { limit, len, requested } => {
                write!(f, "{requested} more bytes do not fit: {len} of at most {limit} are in use")
            }
            Error::OutOfRange { position, len } => write!(f, "position {position} is past {len}"),
            Error::TooLarge { requested } => write!(f, "no contiguous block of {requested} bytes can be had"),
            Error::NotLoaded { loaded, requested } => {
                write!(
                    f,
                    "the first {requested} bytes are needed, of which {loaded} are in memory: load them first"
                )
            }
            Error::Format => f.write_str("a value failed to format itself"),
        }
    }
}

impl error::Error for Error {}

impl From<Error> for io::Error {
    /// Keeps the error as the source; the kind is `ResourceBusy` for a frozen end, `StorageFull` for a full buffer,
    /// `InvalidInput`, `OutOfMemory` and `Other` for the rest.
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Frozen { .. } => io::ErrorKind::ResourceBusy,
            Error::Full { .. } => io::ErrorKind::StorageFull,
            Error::OutOfRange { .. } | Error::NotLoaded { .. } => io::ErrorKind::InvalidInput,
            Error::TooLarge { .. } => io::ErrorKind::OutOfMemory,
            Error::Format => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl From<Error> for fmt::Error {
    /// Loses the reason: `fmt::Error` carries none.
    fn from(_: Error) -> Self {
        fmt::Error
    }
}
