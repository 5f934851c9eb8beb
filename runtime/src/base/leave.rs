//! Closing all that lives on a base: at once, or spread over a while.

use std::{sync::Arc, time::Duration};

use super::Base;
use crate::{
    affinity::Affinity,
    clock::Time,
    protocol::Reasons,
    slots::{Key, Slot},
    source::{After, Source},
};

/// How often some more are asked to close.
const STEP: Duration = Duration::from_millis(10);

impl<A: Affinity> Base<A> {
    /// Asks everything that lives here to close: it is posted [`Reasons::CLOSE`], and so is what comes later. A bufferevent whose
    /// handler has more to say goes on until that closes it.
    pub fn close_all(&mut self) {
        self.close_all_over(Duration::ZERO);
    }

    /// As [`Base::close_all`], but connections are asked one after the other, evenly over `spread`, so that not all peers
    /// come back at the same moment. Listeners and timers close at once. The last call says when: what an earlier one has
    /// put off is asked now, or over this `spread`.
    pub fn close_all_over(&mut self, spread: Duration) {
        self.draining = true;
        self.shared.drain();
        if let Some(earlier) = self.leaving.take() {
            self.remove(earlier);
        }
        let mut later = Vec::new();
        for key in self.slots.keys() {
            if spread > Duration::ZERO && self.is_connection(key) {
                later.push(key);
            } else {
                self.ask_to_close(key);
            }
        }
        if !later.is_empty() {
            let (began, all) = (self.now(), later.len());
            let key = self.reserve();
            self.insert_boxed(key, A::boxed(Leaving { later, all, began, spread }));
            self.arm(key, began.saturating_add(STEP));
            self.leaving = Some(key);
        }
    }

    fn is_connection(&mut self, key: Key) -> bool {
        match self.slots.get_mut(key) {
            Some(Slot::Confined(_)) => self.source(key).is_some_and(|source| source.is_connection()),
            Some(Slot::Homed(homed)) => !homed.strand.is_internal(),
            _ => false,
        }
    }

    fn ask_to_close(&mut self, key: Key) {
        match self.slots.get_mut(key) {
            Some(Slot::Confined(_)) => self.post_to(key, Reasons::CLOSE),
            Some(Slot::Homed(homed)) => {
                let strand = Arc::clone(&homed.strand);
                // One that is coming is told in its first run here; one that has gone lives on.
                if strand.lives_at(&self.shared, key) {
                    self.post_strand(&strand, Reasons::CLOSE);
                }
            }
            _ => {}
        }
    }
}

/// Asks those that are left to close, a few at every step.
pub(crate) struct Leaving {
    later: Vec<Key>,
    all: usize,
    began: Time,
    spread: Duration,
}

impl Leaving {
    /// How many are still to be asked after `now`.
    fn left_at(&self, now: Time) -> usize {
        let (spread, left) = (self.spread.as_nanos(), self.spread.saturating_sub(now.since(self.began)));
        (self.all as u128 * left.as_nanos()).div_ceil(spread) as usize
    }
}

impl<A: Affinity> Source<A> for Leaving {
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        if reasons.contains(Reasons::TIMER) {
            let left = self.left_at(base.now());
            while self.later.len() > left {
                if let Some(key) = self.later.pop() {
                    base.ask_to_close(key);
                }
            }
            if self.later.is_empty() {
                return After::Remove;
            }
            base.arm(key, base.deadline(STEP));
        }
        After::Idle
    }
}
