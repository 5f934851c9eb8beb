//! Seeded bugs. A protocol module asks at each place that matters whether it should misbehave; the `loom-tests` crate
//! runs itself once per mutant, with the name in the environment variable `BEV_MUTANT`, and expects the model to die.
//! A name is that of a bug, or `site:kind` for the bugs every [`Word`](crate::Word) can have at every write. Without
//! `--cfg loom` the answers are constants and the questions compile to nothing.

use crate::atomic::Ordering;

/// Whether this process runs the mutant `name`.
#[cfg(not(loom))]
#[inline(always)]
#[must_use]
pub const fn is(_name: &str) -> bool {
    false
}

/// `correct`, or `Relaxed` if this process runs the mutant `name`.
#[cfg(not(loom))]
#[inline(always)]
#[must_use]
pub const fn ordering(_name: &str, correct: Ordering) -> Ordering {
    correct
}

/// Whether this process runs the mutant `name`.
#[cfg(loom)]
#[must_use]
pub fn is(name: &str) -> bool {
    chosen() == Some(name)
}

/// `correct`, or `Relaxed` if this process runs the mutant `name`.
#[cfg(loom)]
#[must_use]
pub fn ordering(name: &str, correct: Ordering) -> Ordering {
    if is(name) { Ordering::Relaxed } else { correct }
}

/// Whether this process runs the mutant `site:kind`.
#[cfg(loom)]
pub(crate) fn at(site: &str, kind: &str) -> bool {
    chosen().and_then(|name| name.split_once(':')) == Some((site, kind))
}

#[cfg(loom)]
fn chosen() -> Option<&'static str> {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("BEV_MUTANT").ok()).as_deref()
}
