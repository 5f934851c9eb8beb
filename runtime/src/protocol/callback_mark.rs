//! Which callback a worker is in: noted by the worker with two stores, read by who keeps watch. A callback that lasts too
//! long is reported once, by whoever claims it first: a watcher while it runs, or the worker after it has returned.
//!
//! ```text
//!   worker                                        watcher
//!   begin: stores the key, then the callback      look: the callback that runs
//!     short: end, stores that none runs             lasts too long: claim it, RMW
//!     too long: claim it, RMW                         its key: report it
//!       claimed: report it                            None: it has returned, or is reported
//! ```

use std::fmt;

use bufferevent_sync::{
    atomic::{
        AtomicU64,
        Ordering::{self, AcqRel, Acquire, Relaxed, Release},
    },
    mutant,
};

/// The callback that one worker is in.
///
/// * M1 One thread begins and ends, in turn: callbacks of a worker do not nest.
/// * M2 Two callbacks of which the first could be claimed have different numbers: the number holds the time.
/// * M3 Who claims a number has its key: a key of a later callback is seen only with the end of this one.
#[derive(Default)]
pub struct CallbackMark {
    /// 0: none, or it was claimed.
    running: AtomicU64,
    key: AtomicU64,
}

impl CallbackMark {
    /// No callback.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The callback `number`, not 0, of `key` begins. For the worker.
    pub fn begin(&self, number: u64, key: u64) {
        debug_assert!(number != 0, "0 is none");
        // ORDER: Release, pairs with the load in `claim`: who sees this key sees that the last callback has ended (M3). No
        // model dies without it: loom's RMWs see the last write at any rate.
        self.key.store(key, Release);
        // ORDER: Release, pairs with `look`: who sees this number sees its key, or a later one.
        // loom: callback_mark::who_claims_a_callback_has_its_key
        self.running.store(number, ordering("callback_mark_begin:relaxed", Release));
    }

    /// The callback ends that nobody needs to be told of. For the worker.
    pub fn end(&self) {
        // ORDER: Relaxed: published with the next key.
        self.running.store(0, Relaxed);
    }

    /// The callback that runs; 0: none, or it was claimed. Stale at once.
    #[must_use]
    pub fn look(&self) -> u64 {
        // ORDER: Acquire, pairs with `begin`. loom: callback_mark::who_claims_a_callback_has_its_key
        self.running.load(ordering("callback_mark_look:relaxed", Acquire))
    }

    /// Claims the callback `number`, which `look` answered, or which the worker itself ends: its key for the one who is to
    /// report it, `None` for everybody else.
    #[must_use]
    pub fn claim(&self, number: u64) -> Option<u64> {
        // ORDER: Acquire, pairs with `begin`: after a later key the number is gone, and the RMW fails (M3); see there.
        let key = self.key.load(Acquire);
        if mutant::is("callback_mark_claim:torn") {
            // ORDER: a mutant's. loom: callback_mark::callback_is_reported_once
            let same = self.running.load(Acquire) == number;
            self.running.store(0, Relaxed);
            return same.then_some(key);
        }
        // ORDER: the RMW decides who is first. loom: callback_mark::callback_is_reported_once
        let claimed = self.running.compare_exchange(number, 0, AcqRel, Relaxed).is_ok();
        // ORDER: a mutant's. loom: callback_mark::who_claims_a_callback_has_its_key
        let key = if mutant::is("callback_mark_key:late") { self.key.load(Acquire) } else { key };
        claimed.then_some(key)
    }
}

fn ordering(name: &str, correct: Ordering) -> Ordering {
    mutant::ordering(name, correct)
}

impl fmt::Debug for CallbackMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ORDER: Relaxed: nothing follows from it.
        f.write_str(if self.running.load(Relaxed) == 0 { "outside" } else { "in a callback" })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_claimed_once_and_not_after_its_end() {
        let mark = CallbackMark::new();
        assert_eq!((mark.look(), mark.claim(1)), (0, None));
        mark.begin(1, 10);
        assert_eq!((mark.look(), mark.claim(2)), (1, None));
        assert_eq!((mark.claim(1), mark.claim(1)), (Some(10), None));
        mark.begin(2, 20);
        mark.end();
        assert_eq!(mark.claim(2), None);
    }
}
