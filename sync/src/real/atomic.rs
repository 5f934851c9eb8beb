//! Atomic integers. Newtypes of std's, so that `clippy::disallowed_types` can tell ours from a direct use of std's.

use std::sync::atomic as std_atomic;

pub use std::sync::atomic::Ordering;

macro_rules! atomic_integer {
    ($(#[$doc:meta])* $name:ident, $integer:ty) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(std_atomic::$name);

        #[allow(missing_docs, reason = "std's methods under std's names")]
        impl $name {
            #[inline]
            #[must_use]
            pub const fn new(value: $integer) -> Self {
                Self(std_atomic::$name::new(value))
            }

            #[inline]
            pub fn load(&self, order: Ordering) -> $integer {
                self.0.load(order)
            }

            #[inline]
            pub fn store(&self, value: $integer, order: Ordering) {
                self.0.store(value, order);
            }

            #[inline]
            pub fn swap(&self, value: $integer, order: Ordering) -> $integer {
                self.0.swap(value, order)
            }

            #[inline]
            pub fn compare_exchange(
                &self,
                current: $integer,
                new: $integer,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$integer, $integer> {
                self.0.compare_exchange(current, new, success, failure)
            }

            #[inline]
            pub fn compare_exchange_weak(
                &self,
                current: $integer,
                new: $integer,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$integer, $integer> {
                self.0.compare_exchange_weak(current, new, success, failure)
            }

            #[inline]
            pub fn fetch_and(&self, value: $integer, order: Ordering) -> $integer {
                self.0.fetch_and(value, order)
            }

            #[inline]
            pub fn fetch_or(&self, value: $integer, order: Ordering) -> $integer {
                self.0.fetch_or(value, order)
            }

            #[inline]
            pub fn fetch_update<F>(&self, set: Ordering, fetch: Ordering, f: F) -> Result<$integer, $integer>
            where
                F: FnMut($integer) -> Option<$integer>,
            {
                self.0.fetch_update(set, fetch, f)
            }

            #[inline]
            pub fn into_inner(self) -> $integer {
                self.0.into_inner()
            }
        }
    };
}

macro_rules! atomic_arithmetic {
    ($name:ident, $integer:ty) => {
        #[allow(missing_docs, reason = "std's methods under std's names")]
        impl $name {
            #[inline]
            pub fn fetch_add(&self, value: $integer, order: Ordering) -> $integer {
                self.0.fetch_add(value, order)
            }

            #[inline]
            pub fn fetch_sub(&self, value: $integer, order: Ordering) -> $integer {
                self.0.fetch_sub(value, order)
            }

            #[inline]
            pub fn fetch_max(&self, value: $integer, order: Ordering) -> $integer {
                self.0.fetch_max(value, order)
            }

            #[inline]
            pub fn fetch_min(&self, value: $integer, order: Ordering) -> $integer {
                self.0.fetch_min(value, order)
            }
        }
    };
}

atomic_integer!(
    /// `std::sync::atomic::AtomicBool`.
    AtomicBool, bool
);
atomic_integer!(
    /// `std::sync::atomic::AtomicU32`.
    AtomicU32, u32
);
atomic_integer!(
    /// `std::sync::atomic::AtomicU64`.
    AtomicU64, u64
);
atomic_integer!(
    /// `std::sync::atomic::AtomicUsize`.
    AtomicUsize, usize
);
atomic_arithmetic!(AtomicU32, u32);
atomic_arithmetic!(AtomicU64, u64);
atomic_arithmetic!(AtomicUsize, usize);
