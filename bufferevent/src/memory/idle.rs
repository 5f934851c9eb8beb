//! Who holds memory and moves nothing, and which of them are ended when there is none left.

use std::{cmp::Reverse, time::Duration};

use bufferevent_runtime::Time;
use bufferevent_sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What a member writes down at the end of a run, for others to look at.
#[derive(Debug, Default)]
pub(super) struct Holding {
    held: AtomicUsize,
    /// When a byte moved last, nanoseconds.
    moved_at: AtomicU64,
    is_condemned: AtomicBool,
}

impl Holding {
    pub(super) fn set_held(&self, held: usize) {
        // ORDER: Relaxed; a figure that may be a run old, no more is published.
        self.held.store(held, Ordering::Relaxed);
    }

    pub(super) fn has_moved(&self, now: Time) {
        // ORDER: Relaxed; as `set_held`.
        self.moved_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn look(&self, now: Time) -> Idle {
        // ORDER: Relaxed; see `set_held` and `has_moved`.
        let (held, moved_at) = (self.held.load(Ordering::Relaxed), self.moved_at.load(Ordering::Relaxed));
        Idle { held, since: now.since(Time::from_nanos(moved_at)) }
    }

    /// It is to end in its next run; false: it was to already.
    pub(super) fn condemn(&self) -> bool {
        // ORDER: AcqRel, pairs with the load below; the message that wakes the member comes after it.
        !self.is_condemned.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_condemned(&self) -> bool {
        // ORDER: Acquire, pairs with the swap in `condemn`.
        self.is_condemned.load(Ordering::Acquire)
    }
}

/// A member as it is seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) held: usize,
    /// How long it has moved nothing.
    pub(super) since: Duration,
}

/// Of those that have moved nothing for `least`, the ones to end so that `excess` bytes become free: who has been idle for
/// longest first, and no more than it takes. Pure.
pub(super) fn choose<T>(members: impl Iterator<Item = (T, Idle)>, excess: usize, least: Duration) -> Vec<T> {
    let mut idle: Vec<_> = members.filter(|(_, member)| member.held > 0 && member.since >= least).collect();
    idle.sort_by_key(|(_, member)| Reverse((member.since, member.held)));
    let mut freed = 0_usize;
    let needed = idle.into_iter().take_while(|(_, member)| {
        let needed = freed < excess;
        freed = freed.saturating_add(member.held);
        needed
    });
    needed.map(|(member, _)| member).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn idle(held: usize, seconds: u64) -> Idle {
        Idle { held, since: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_longest_idle_go_first_and_no_more_than_it_takes() {
        let members = [idle(100, 9), idle(50, 60), idle(0, 99), idle(70, 30), idle(80, 30), idle(1_000, 10)];
        let chosen = |excess| choose(members.into_iter().enumerate(), excess, Duration::from_secs(10));
        assert_eq!(chosen(0), [] as [usize; 0]);
        assert_eq!(chosen(50), [1]);
        assert_eq!(chosen(51), [1, 4]);
        assert_eq!(chosen(usize::MAX), [1, 4, 3, 5]);
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_idle_suffices_and_would_not_without_the_last(
            members in prop::collection::vec((0usize..100, 0u64..20), 0..30),
            excess in 0usize..1_000,
        ) {
            let members = Vec::from_iter(members.into_iter().map(|(held, seconds)| idle(held, seconds)));
            let chosen = choose(members.iter().map(|member| (*member, *member)), excess, Duration::from_secs(5));
            let held = |members: &[Idle]| members.iter().map(|member| member.held).sum::<usize>();
            prop_assert!(chosen.iter().all(|member| member.held > 0 && member.since.as_secs() >= 5));
            prop_assert!(chosen.is_sorted_by(|one, next| one.since >= next.since));
            if let Some((_, before)) = chosen.split_last() {
                prop_assert!(held(before) < excess);
            }
            let all = Vec::from_iter(members.iter().copied().filter(|member| member.since.as_secs() >= 5));
            prop_assert!(held(&chosen) >= excess.min(held(&all)));
        }
    }
}
