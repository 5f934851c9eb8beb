//! What observers write down.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;
#[allow(
    clippy::disallowed_types,
    reason = "one thread writes and reads; the buffer's crate has no lock of its own"
)]
use std::sync::Mutex;

use bufferevent_evbuffer::{Change, Evbuffer, ObserverId};

/// What one or more observers were told, under the names they were given.
#[derive(Clone, Default)]
#[allow(clippy::disallowed_types, reason = "as above")]
pub(crate) struct Log(Arc<Mutex<Vec<(u32, Change)>>>);

impl Log {
    pub(crate) fn note(&self, name: u32, change: Change) {
        self.0.lock().expect("no observer panics in here").push((name, change));
    }

    /// Adds an observer that only writes down.
    pub(crate) fn observe(&self, buffer: &mut Evbuffer, name: u32) -> ObserverId {
        let log = self.clone();
        buffer.observe(move |_, change| log.note(name, change))
    }

    /// The same, deferred.
    pub(crate) fn observe_deferred(&self, buffer: &mut Evbuffer, name: u32) -> ObserverId {
        let log = self.clone();
        buffer.observe_deferred(move |_, change| log.note(name, change))
    }

    /// Takes what was written down: who was told of which length before, how much added, how much removed.
    pub(crate) fn take(&self) -> Vec<(u32, usize, usize, usize)> {
        let told = std::mem::take(&mut *self.0.lock().expect("no observer panics in here"));
        told.into_iter().map(|(name, change)| (name, change.before, change.added, change.removed)).collect()
    }

    /// Takes what observer `name` was told, in the form of libevent's test.
    pub(crate) fn transcript(&self, name: u32) -> String {
        let told = self.0.lock().expect("no observer panics in here");
        let mine = told.iter().filter(|(who, _)| *who == name);
        mine.map(|(_, change)| format!("{}->{}; ", change.before, change.after())).collect()
    }
}
