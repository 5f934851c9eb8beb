//! How many connections have come how far, for a thread that waits for it.

use std::time::{Duration, Instant};

use bufferevent_sync::{Condvar, Mutex};

/// Written by clients when they connect, fail and end; seldom enough for a lock.
#[derive(Debug, Default)]
pub(super) struct Board {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Connections that stood.
    pub(super) connected: usize,
    /// Those of them that stood by TLS.
    pub(super) handshakes: Handshakes,
    /// Connections that stand.
    pub(super) standing: usize,
    /// Connections that are over, those that failed to connect too.
    pub(super) ended: usize,
    /// A signal asked for the end.
    pub(super) interrupted: bool,
    /// Connections that failed.
    pub(super) failed: u64,
    /// Bytes that differed from what they should be.
    pub(super) wrong_bytes: u64,
    /// Why the first of them failed.
    pub(super) first_error: Option<String>,
}

/// Handshakes of TLS.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Handshakes {
    pub(crate) all: usize,
    /// Those that went on with a session from before, which is half the work.
    pub(crate) resumed: usize,
}

impl Board {
    /// A connection stands; by TLS, whether its session was resumed.
    pub(super) fn connected(&self, resumed: Option<bool>) {
        self.change(|counts| {
            counts.connected += 1;
            counts.standing += 1;
            counts.handshakes.all += usize::from(resumed.is_some());
            counts.handshakes.resumed += usize::from(resumed == Some(true));
        });
    }

    /// A connection is over, which `stood` or never did.
    pub(super) fn ended(&self, stood: bool) {
        self.change(|counts| {
            counts.ended += 1;
            counts.standing -= usize::from(stood);
        });
    }

    pub(super) fn interrupt(&self) {
        self.change(|counts| counts.interrupted = true);
    }

    pub(super) fn failed(&self, why: impl FnOnce() -> String) {
        let mut counts = self.counts.lock();
        counts.failed += 1;
        counts.first_error.get_or_insert_with(why);
    }

    pub(super) fn wrong(&self, bytes: usize) {
        self.counts.lock().wrong_bytes += bytes as u64;
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// Waits until `done`, at most for `limit`.
    pub(super) fn wait(&self, limit: Duration, done: impl Fn(&Counts) -> bool) {
        let deadline = Instant::now() + limit;
        let mut counts = self.counts.lock();
        while !done(&counts) {
            if self.changed.wait_until(&mut counts, deadline).timed_out() {
                return;
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock());
        self.changed.notify_all();
    }
}
