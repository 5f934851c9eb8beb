//! The code in `README.md` and `docs/migrating-from-libevent.md`, as doctests. Empty otherwise.

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/migrating-from-libevent.md")]
mod migrating_from_libevent {}
