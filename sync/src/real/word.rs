use std::fmt;

use super::atomic::{AtomicU32, AtomicU64, Ordering};

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $atomic:ident, $integer:ty) => {
        $(#[$doc])*
        #[derive(Default)]
        pub struct $name($atomic);

        impl $name {
            /// A word of value `value`.
            #[must_use]
            pub const fn new(value: $integer) -> Self {
                Self($atomic::new(value))
            }

            /// The value, without a write: stale at once, for diagnostics and for what the caller argues at the call.
            #[inline]
            #[must_use]
            pub fn load(&self, order: Ordering) -> $integer {
                self.0.load(order)
            }

            /// Replaces the value; gives the old one.
            #[inline(always)]
            pub fn swap(&self, _site: &'static str, value: $integer, order: Ordering) -> $integer {
                self.0.swap(value, order)
            }

            /// Sets the bits `bits`; gives the old value.
            #[inline(always)]
            pub fn set(&self, _site: &'static str, bits: $integer, order: Ordering) -> $integer {
                self.0.fetch_or(bits, order)
            }

            /// Clears the bits `bits`; gives the old value.
            #[inline(always)]
            pub fn clear(&self, _site: &'static str, bits: $integer, order: Ordering) -> $integer {
                self.0.fetch_and(!bits, order)
            }

            /// Adds `count`, wrapping; gives the old value.
            #[inline(always)]
            pub fn add(&self, _site: &'static str, count: $integer, order: Ordering) -> $integer {
                self.0.fetch_add(count, order)
            }

            /// Subtracts `count`, wrapping; gives the old value.
            #[inline(always)]
            pub fn sub(&self, _site: &'static str, count: $integer, order: Ordering) -> $integer {
                self.0.fetch_sub(count, order)
            }

            /// Replaces the value `v` by `step(v)`; gives the old one. Writes even where `step` changes nothing: an
            /// announcement is a write. `step` may be called more than once.
            #[inline(always)]
            pub fn update(
                &self,
                site: &'static str,
                order: Ordering,
                step: impl Fn($integer) -> $integer,
            ) -> $integer {
                let (Ok(old) | Err(old)) = self.try_update(site, order, |value| Some(step(value)));
                old
            }

            /// The same for a step that may refuse: then nothing is written, and what it refused, which may be an older
            /// value, is the error.
            #[inline(always)]
            pub fn try_update(
                &self,
                _site: &'static str,
                order: Ordering,
                step: impl Fn($integer) -> Option<$integer>,
            ) -> Result<$integer, $integer> {
                // ORDER: Relaxed where it fails: a wrong guess is discarded, and a refusal may be of an older value.
                let mut old = self.0.load(Ordering::Relaxed);
                while let Some(new) = step(old) {
                    match self.0.compare_exchange_weak(old, new, order, Ordering::Relaxed) {
                        Ok(_) => return Ok(old),
                        Err(now) => old = now,
                    }
                }
                Err(old)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.load(Ordering::Relaxed))
            }
        }
    };
}

word!(
    /// An `AtomicU32` that is written by read-modify-writes only, so that all writes stand in one order and each sees the
    /// one before it. Every write names its `site`: under loom the word can misbehave there on request, see
    /// [`mutant`](crate::mutant); here the name is not even passed.
    Word,
    AtomicU32,
    u32
);
word!(
    /// A [`Word`] of 64 bits.
    Word64,
    AtomicU64,
    u64
);
