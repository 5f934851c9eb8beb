//! The code in `README.md`, `docs/migrating-from-libevent.md` and `docs/recipes.md`, as doctests. Empty otherwise.

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/migrating-from-libevent.md")]
mod migrating_from_libevent {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/recipes.md")]
mod recipes {}
