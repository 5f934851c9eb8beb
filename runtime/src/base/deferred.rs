//! The deferred queue: callbacks that wait for the next pass, a bounded number of them in each.

use std::collections::VecDeque;

use crate::slots::Key;

/// Deferred callbacks that run in one pass; later ones wait for the next, so that input and output go on between.
///
/// libevent's figure is 33: it tests for "more than 32" after counting.
pub const DEFERRED_PER_PASS: usize = 33;

/// Keys with deferred work, first come first served, and what is left of this pass's budget.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    queue: VecDeque<Key>,
    left: usize,
}

impl Deferred {
    pub(super) fn push(&mut self, key: Key) {
        self.queue.push_back(key);
    }

    /// Starts a pass: the budget is whole again.
    pub(super) fn begin_pass(&mut self) {
        self.left = DEFERRED_PER_PASS;
    }

    /// The next key, while the pass has budget.
    pub(super) fn pop(&mut self) -> Option<Key> {
        self.left = self.left.checked_sub(1)?;
        self.queue.pop_front()
    }

    /// How many may still run in this pass.
    pub(super) fn due(&self) -> usize {
        self.left.min(self.queue.len())
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Keys;

    #[test]
    fn thirty_three_run_in_one_pass_and_the_rest_in_the_next() {
        // C-21
        let (keys, mut deferred) = (Keys::default(), Deferred::default());
        for _ in 0..40 {
            deferred.push(keys.reserve());
        }
        deferred.begin_pass();
        assert_eq!(std::iter::from_fn(|| deferred.pop()).count(), 33);
        deferred.begin_pass();
        assert_eq!(std::iter::from_fn(|| deferred.pop()).count(), 7);
        assert_eq!(deferred.len(), 0);
    }
}
