use std::fmt;
use std::sync::atomic::{AtomicU32 as Hint, AtomicU64 as Hint64, Ordering as HintOrdering};

use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::mutant;

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $atomic:ident, $hint:ident, $integer:ty) => {
        $(#[$doc])*
        pub struct $name {
            value: $atomic,
            hint: $hint,
        }

        #[allow(missing_docs, reason = "documented in `real`")]
        impl $name {
            #[must_use]
            pub fn new(value: $integer) -> Self {
                Self { value: $atomic::new(value), hint: $hint::new(value) }
            }

            #[must_use]
            pub fn load(&self, order: Ordering) -> $integer {
                self.value.load(order)
            }

            pub fn swap(&self, site: &'static str, value: $integer, order: Ordering) -> $integer {
                self.update(site, order, |_| value)
            }

            pub fn set(&self, site: &'static str, bits: $integer, order: Ordering) -> $integer {
                self.update(site, order, |old| old | bits)
            }

            pub fn clear(&self, site: &'static str, bits: $integer, order: Ordering) -> $integer {
                self.update(site, order, |old| old & !bits)
            }

            pub fn add(&self, site: &'static str, count: $integer, order: Ordering) -> $integer {
                self.update(site, order, |old| old.wrapping_add(count))
            }

            pub fn sub(&self, site: &'static str, count: $integer, order: Ordering) -> $integer {
                self.update(site, order, |old| old.wrapping_sub(count))
            }

            pub fn update(
                &self,
                site: &'static str,
                order: Ordering,
                step: impl Fn($integer) -> $integer,
            ) -> $integer {
                let guess = self.hint.load(HintOrdering::Relaxed);
                let (Ok(old) | Err(old)) = self.step(site, order, guess, |value| Some(step(value)));
                old
            }

            /// Begins with a load that loom sees: what is refused may be an older value.
            pub fn try_update(
                &self,
                site: &'static str,
                order: Ordering,
                step: impl Fn($integer) -> Option<$integer>,
            ) -> Result<$integer, $integer> {
                self.step(site, order, self.value.load(Ordering::Relaxed), step)
            }

            fn step(
                &self,
                site: &'static str,
                order: Ordering,
                guess: $integer,
                step: impl Fn($integer) -> Option<$integer>,
            ) -> Result<$integer, $integer> {
                let stored = mutant::at(site, "stored");
                if stored || mutant::at(site, "torn") {
                    let old = self.value.load(Ordering::Acquire);
                    let new = step(old).ok_or(old)?;
                    match stored {
                        true => self.value.store(new, Ordering::Release),
                        false => _ = self.value.swap(new, Ordering::Release),
                    }
                    self.hint.store(new, HintOrdering::Relaxed);
                    return Ok(old);
                }
                let order = weakened(site, order);
                let mut old = guess;
                while let Some(new) = step(old) {
                    match self.value.compare_exchange(old, new, order, Ordering::Relaxed) {
                        Ok(_) => {
                            self.hint.store(new, HintOrdering::Relaxed);
                            return Ok(old);
                        }
                        Err(now) => old = now,
                    }
                }
                Err(old)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.hint.load(HintOrdering::Relaxed))
            }
        }
    };
}

word!(
    /// `real::Word` on loom, with five mutants at every site:
    ///
    /// * `site:torn`: a load and then a write, so that what others wrote between the two is lost. The write is a swap, since
    ///   loom does not order a plain store against the read-modify-writes of others and would report what cannot happen;
    /// * `site:stored`: the same with a plain store, which also ends the release sequences that ran through the word;
    /// * `site:relaxed`, `site:acquire`, `site:release`: the ordering reduced to that.
    ///
    /// The hint mirrors the value where loom does not see it. It makes the first guess of every CAS right, so that each
    /// write is one step of the model; a wrong guess would be discarded without effect and explores nothing.
    Word,
    AtomicU32,
    Hint,
    u32
);
word!(
    /// `real::Word64` on loom, with the same mutants.
    Word64,
    AtomicU64,
    Hint64,
    u64
);

fn weakened(site: &str, order: Ordering) -> Ordering {
    let chosen =
        [("relaxed", Ordering::Relaxed), ("acquire", Ordering::Acquire), ("release", Ordering::Release)];
    chosen.into_iter().find(|(kind, _)| mutant::at(site, kind)).map_or(order, |(_, weaker)| weaker)
}
