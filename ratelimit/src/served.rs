//! What members that waited were granted, until they collect it, or it is too late for that. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bufferevent_sync::Arc;

use crate::Nanos;
use crate::fair_queue::Tag;
use crate::path::Path;

/// What a member got.
#[must_use]
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) bytes: u64,
    /// When it got the last of them.
    pub(crate) at: Nanos,
    /// To enter with the next time.
    pub(crate) finish: Tag,
    /// From then on it is too late to collect it.
    pub(crate) until: Nanos,
    /// Whose bytes these are.
    pub(crate) path: Arc<Path>,
}

/// By the numbers of their places.
#[derive(Default)]
pub(crate) struct Uncollected {
    served: BTreeMap<u64, Served>,
    /// The same, by the time at which it is too late.
    lapsing: BTreeSet<(Nanos, u64)>,
}

impl Uncollected {
    /// Adds to what the member may have already; all of it is good for as long as the latest.
    pub(crate) fn add(&mut self, number: u64, mut served: Served) {
        served.bytes += self.collect(number).map_or(0, |before| before.bytes);
        self.lapsing.insert((served.until, number));
        self.served.insert(number, served);
    }

    /// Takes what a member has.
    pub(crate) fn collect(&mut self, number: u64) -> Option<Served> {
        let served = self.served.remove(&number)?;
        self.lapsing.remove(&(served.until, number));
        Some(served)
    }

    /// Takes what it is too late for, of one member.
    pub(crate) fn lapsed(&mut self, now: Nanos) -> Option<Served> {
        let (_, number) = self.lapsing.first().filter(|(until, _)| *until <= now)?;
        self.collect(*number)
    }

    #[cfg(test)]
    pub(crate) fn bytes_of(&self, number: u64) -> u64 {
        self.served.get(&number).map_or(0, |served| served.bytes)
    }
}
