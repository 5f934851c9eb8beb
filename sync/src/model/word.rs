use std::fmt;
use std::sync::atomic::{AtomicU32 as Hint, Ordering as HintOrdering};

use loom::sync::atomic::{AtomicU32, Ordering};

use crate::mutant;

/// `real::Word` on loom, with five mutants at every site:
///
/// * `site:torn`: a load and then a write, so that what others wrote between the two is lost. The write is a swap, since
///   loom does not order a plain store against the read-modify-writes of others and would report what cannot happen;
/// * `site:stored`: the same with a plain store, which also ends the release sequences that ran through the word;
/// * `site:relaxed`, `site:acquire`, `site:release`: the ordering reduced to that.
///
/// The hint mirrors the value where loom does not see it. It makes the first guess of every CAS right, so that each
/// write is one step of the model; a wrong guess would be discarded without effect and explores nothing.
pub struct Word {
    value: AtomicU32,
    hint: Hint,
}

#[allow(missing_docs, reason = "documented in `real`")]
impl Word {
    #[must_use]
    pub fn new(value: u32) -> Self {
        Self { value: AtomicU32::new(value), hint: Hint::new(value) }
    }

    #[must_use]
    pub fn load(&self, order: Ordering) -> u32 {
        self.value.load(order)
    }

    pub fn swap(&self, site: &'static str, value: u32, order: Ordering) -> u32 {
        self.update(site, order, |_| value)
    }

    pub fn set(&self, site: &'static str, bits: u32, order: Ordering) -> u32 {
        self.update(site, order, |old| old | bits)
    }

    pub fn clear(&self, site: &'static str, bits: u32, order: Ordering) -> u32 {
        self.update(site, order, |old| old & !bits)
    }

    pub fn add(&self, site: &'static str, count: u32, order: Ordering) -> u32 {
        self.update(site, order, |old| old.wrapping_add(count))
    }

    pub fn sub(&self, site: &'static str, count: u32, order: Ordering) -> u32 {
        self.update(site, order, |old| old.wrapping_sub(count))
    }

    pub fn update(&self, site: &'static str, order: Ordering, step: impl Fn(u32) -> u32) -> u32 {
        let stored = mutant::at(site, "stored");
        if stored || mutant::at(site, "torn") {
            let old = self.value.load(Ordering::Acquire);
            match stored {
                true => self.value.store(step(old), Ordering::Release),
                false => _ = self.value.swap(step(old), Ordering::Release),
            }
            self.hint.store(step(old), HintOrdering::Relaxed);
            return old;
        }
        let order = weakened(site, order);
        let mut old = self.hint.load(HintOrdering::Relaxed);
        loop {
            match self.value.compare_exchange(old, step(old), order, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        self.hint.store(step(old), HintOrdering::Relaxed);
        old
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.hint.load(HintOrdering::Relaxed))
    }
}

fn weakened(site: &str, order: Ordering) -> Ordering {
    let chosen =
        [("relaxed", Ordering::Relaxed), ("acquire", Ordering::Acquire), ("release", Ordering::Release)];
    chosen.into_iter().find(|(kind, _)| mutant::at(site, kind)).map_or(order, |(_, weaker)| weaker)
}
