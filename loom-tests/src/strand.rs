use bufferevent_runtime::__loom::{Finished, Posted, Reasons, StrandWord};
use bufferevent_sync::{Queue, mutant};

use crate::{Exclusive, Tally, TryLock};

/// A strand with its lock, its body and the queue its token travels through: the smallest shell around a
/// [`StrandWord`].
#[derive(Debug, Default)]
pub struct Strand {
    /// The word under test.
    pub word: StrandWord,
    /// Where tokens go.
    pub queue: Queue<()>,
    /// The lock; root strands leave it alone.
    pub lock: TryLock,
    /// What runs and guards have to themselves.
    pub body: Exclusive,
    /// All reasons that runs got so far.
    pub delivered: Tally,
    /// How many runs there were.
    pub runs: Tally,
}

impl Strand {
    /// An idle strand.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Posts, and does what is owed.
    pub fn post(&self, reasons: Reasons) -> Posted {
        let posted = self.word.post(reasons);
        if posted == Posted::Enqueue {
            self.queue.push(());
        }
        posted
    }

    /// Runs the strand once if there is a token, without a lock, as a root strand is run. `callback` gets the reasons and
    /// says what is left.
    pub fn run(&self, callback: impl Fn(Reasons) -> Reasons) -> bool {
        let Some(()) = self.queue.pop() else { return false };
        if let Some(reasons) = self.word.begin() {
            self.call(reasons, &callback);
        }
        true
    }

    /// Runs the strand once if there is a token, under the lock if it is free; parks the token if not.
    pub fn run_locked(&self, callback: impl Fn(Reasons) -> Reasons) -> bool {
        let Some(()) = self.queue.pop() else { return false };
        let Some(mut reasons) = self.word.begin() else { return true };
        if !self.lock.try_lock() {
            self.word.contend(reasons);
            if mutant::is("handoff_tries_once") || !self.lock.try_lock() {
                return true;
            }
            let reclaimed = self.word.reclaim();
            match reclaimed.then(|| self.word.begin()).flatten() {
                Some(ours) => reasons = ours,
                None => {
                    self.unlock(Reasons::EMPTY, mutant::is("handoff_forgets_after_reclaim") && !reclaimed);
                    return true;
                }
            }
        }
        if mutant::is("handoff_finishes_before_unlock") {
            self.call(reasons, &callback);
            self.lock.unlock();
            return true;
        }
        self.body.write();
        let left = callback(reasons);
        self.note(reasons);
        self.lock.unlock();
        self.finish(left);
        true
    }

    /// What a guard does when it is dropped: unlocks, then releases.
    pub fn drop_guard(&self, reasons: Reasons) {
        self.body.write();
        self.unlock(reasons, false);
    }

    /// Runs the strand, with the lock or without, until no token is left.
    pub fn drain(&self, callback: impl Fn(Reasons) -> Reasons) {
        while self.run_locked(&callback) {}
    }

    /// Checks that nothing is left to do.
    ///
    /// # Panics
    /// If there is.
    pub fn assert_idle(&self) {
        let word = self.word.snapshot();
        assert!(self.queue.pop().is_none(), "a token is left over: {word:?}");
        assert!(!word.is_running() && !word.is_queued() && !word.is_contended(), "a run was lost: {word:?}");
        assert!(word.is_dead() || word.reasons().is_empty(), "a reason was lost: {word:?}");
    }

    fn call(&self, reasons: Reasons, callback: &impl Fn(Reasons) -> Reasons) {
        self.body.write();
        let left = callback(reasons);
        self.note(reasons);
        self.finish(left);
    }

    fn note(&self, reasons: Reasons) {
        self.delivered.set(reasons.bits());
        self.runs.add(1);
    }

    fn finish(&self, left: Reasons) {
        if self.word.finish(left) == Finished::Requeue {
            self.queue.push(());
        }
    }

    fn unlock(&self, reasons: Reasons, forgets: bool) {
        if mutant::is("handoff_releases_before_unlock") {
            if self.word.release(reasons) {
                self.queue.push(());
            }
            self.lock.unlock();
            return;
        }
        self.lock.unlock();
        if !forgets && self.word.release(reasons) {
            self.queue.push(());
        }
    }
}
