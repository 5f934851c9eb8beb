//! What the callbacks write down.

use std::{io, sync::Arc};

use bufferevent::{Closed, Direction, Interest, LookupError, TimeLimit};
use bufferevent_sync::{Condvar, Mutex};

/// One callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Connected,
    Eof,
    Failed(Option<Direction>),
    Timeout(Direction),
    Drained,
    InputFull,
    Closed,
    Drain,
    User(u16),
}

/// A callback, and what the bufferevent looked like when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) call: Call,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) enabled: Interest,
    /// Which handler was called.
    pub(crate) actor: u32,
}

/// What the callbacks of one bufferevent wrote down.
#[derive(Clone)]
pub(crate) struct Log {
    pub(super) synced: Arc<Mutex<Written>>,
    pub(super) signal: Arc<Signal>,
}

#[derive(Default)]
pub(super) struct Written {
    pub(super) entries: Vec<Entry>,
    pub(super) data: Vec<u8>,
    pub(super) cause: Option<io::ErrorKind>,
    pub(super) time_limit: Option<TimeLimit>,
    pub(super) lookup: Option<LookupError>,
    pub(super) closed: Option<Closed>,
    pub(super) inside: bool,
    pub(super) overlapped: bool,
}

/// Wakes whoever waits for a condition.
#[derive(Default)]
pub(super) struct Signal {
    pub(super) lock: Mutex<()>,
    pub(super) changed: Condvar,
}

impl Log {
    pub(super) fn new(signal: &Arc<Signal>) -> Self {
        Self { synced: Arc::default(), signal: Arc::clone(signal) }
    }

    /// The callbacks so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.synced.lock().entries.iter().map(|entry| entry.call).collect()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.synced.lock().entries.clone()
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        self.synced.lock().entries.iter().filter(|entry| entry.call == call).count()
    }

    /// Whether a callback is running.
    pub(crate) fn is_inside(&self) -> bool {
        self.synced.lock().inside
    }

    pub(crate) fn has(&self, call: Call) -> bool {
        self.count(call) > 0
    }

    /// Bytes that scripts have put here by [`Cx::take`].
    pub(crate) fn data(&self) -> Vec<u8> {
        self.synced.lock().data.clone()
    }

    pub(crate) fn data_len(&self) -> usize {
        self.synced.lock().data.len()
    }

    pub(crate) fn clear(&self) {
        self.synced.lock().entries.clear();
    }

    /// Why the last error event came.
    pub(crate) fn cause(&self) -> Option<io::ErrorKind> {
        self.synced.lock().cause
    }

    /// The limit that the last error event told of, if it did.
    pub(crate) fn time_limit(&self) -> Option<TimeLimit> {
        self.synced.lock().time_limit
    }

    /// Why no address was found, of the last error event.
    pub(crate) fn lookup(&self) -> Option<LookupError> {
        self.synced.lock().lookup.clone()
    }

    /// What the `Closed` event brought, once.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.synced.lock().closed.take()
    }
}
