//! What observers write down, and files.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
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

/// A name for a file of this thread's, which is soon without.
pub(crate) fn path() -> PathBuf {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    std::env::temp_dir().join(format!("evbuffer-test-{process}-{thread:?}"))
}

/// A file without a name, to be read and written, that holds `data`.
pub(crate) fn file_of(data: &[u8]) -> File {
    let path = path();
    let mut file =
        File::options().read(true).write(true).create_new(true).open(&path).expect("a place for files");
    std::fs::remove_file(&path).expect("it was made just now");
    file.write_all(data).expect("room for it");
    file
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / 251) as u8).collect()
}
