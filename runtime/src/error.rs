//! What can go wrong, grouped by whose fault it was.

use std::{fmt, io};

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system refused: out of descriptors, address in use, permission, and so on.
    Io(io::Error),
    /// The base, or what the id or handle named, is gone.
    Closed,
    /// The base's inbox holds its limit of messages; the message was not taken.
    InboxFull {
        /// Messages it may hold.
        limit: usize,
    },
    /// The number of workers is 0 or above the limit.
    InvalidWorkers {
        /// What was asked for.
        workers: usize,
        /// The most a runtime may have.
        limit: usize,
    },
    /// The number of bases is 0 or above the limit.
    InvalidBases {
        /// What was asked for.
        bases: usize,
        /// The most a runtime may have.
        limit: usize,
    },
    /// A listener pauses: as many connections as it may have are open.
    ConnectionLimit {
        /// The bound.
        limit: usize,
    },
    /// The priority, or the number of priorities, is out of range.
    InvalidPriority {
        /// What was asked for.
        priority: usize,
        /// For a number of priorities the most there can be; for a priority the first there is not.
        limit: usize,
    },
    /// Something lives on the base already.
    NotEmpty,
    /// The signal cannot be caught, or must not be waited for.
    InvalidSignal {
        /// Its number.
        signal: i32,
    },
    /// All workers the runtime was built with have been handed out already.
    NoWorkerLeft {
        /// Workers it was built with.
        workers: usize,
    },
    /// A panic got out of a source or a strand that a worker ran, so the runtime has ended, gracefully. The first, if there
    /// were several.
    WorkerPanicked {
        /// The number of the worker, as [`Worker::index`](crate::Worker::index) tells.
        worker: usize,
        /// What the panic said.
        message: String,
    },
    /// The runtime is run already, or was: that is done once.
    AlreadyRun,
    /// The setting needs a selector that this system, or the chosen one, does not have.
    Unsupported(&'static str),
    /// The calling thread holds a strand, or is what runs the base: what it would wait for could never come.
    WouldDeadlock,
    /// The base is being run already: a callback tried to turn the base that runs it. Nothing was done.
    Reentrant,
    /// The base is of the other affinity: a [`Pinned`](crate::Pinned) base where a movable one was expected, or the reverse.
    WrongAffinity,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(source) => write!(f, "{source}"),
            Self::Closed => f.write_str("the base or the object is closed"),
            Self::InboxFull { limit } => {
                write!(f, "the inbox of the base holds its limit of {limit} messages")
            }
            Self::InvalidWorkers { workers, limit } => {
                write!(f, "{workers} workers asked for; a runtime has 1 to {limit}")
            }
            Self::InvalidBases { bases, limit } => {
                write!(f, "{bases} bases asked for; a runtime has 1 to {limit}")
            }
            Self::ConnectionLimit { limit } => write!(f, "{limit} connections are open, the limit"),
            Self::InvalidPriority { priority, limit } => {
                write!(f, "a priority of {priority} asked for; the limit is {limit}")
            }
            Self::NotEmpty => f.write_str("something lives on the base already"),
            Self::InvalidSignal { signal } => write!(f, "signal {signal} cannot be waited for"),
            Self::NoWorkerLeft { workers } => write!(f, "all {workers} workers of the runtime are taken"),
            Self::WorkerPanicked { worker, message } => {
                write!(f, "worker {worker} of the runtime panicked: {message}")
            }
            Self::AlreadyRun => f.write_str("the runtime is run already, or has ended; it is run once"),
            Self::Unsupported(what) => write!(f, "not supported here: {what}"),
            Self::WouldDeadlock => {
                f.write_str("waiting here could last for ever: this thread holds a strand, or runs the base")
            }
            Self::Reentrant => f.write_str("the base is being run already; a callback cannot turn it"),
            Self::WrongAffinity => f.write_str("the base is of the other affinity (pinned or movable)"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(source: rustix::io::Errno) -> Self {
        Self::Io(source.into())
    }
}
