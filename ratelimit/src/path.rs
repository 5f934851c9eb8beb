//! The clocks that a member's tokens come from, without a lock.

use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Arc, CachePadded, SharedCounter, mutant};

use crate::room::Key;
use crate::{ByteClock, Nanos, Plan, Taken, lease};

/// What all threads share of a group, in one direction.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) clock: ByteClock,
    /// Of this group and those below it.
    members: SharedCounter,
    /// Bytes that members of this very group have moved.
    pub(crate) moved: CachePadded<SharedCounter>,
}

/// From a group to the root: immutable, shared by all its members, replaced when it is outdated. The path of a member is not empty.
pub(crate) struct Path {
    /// The plan of one of these groups has changed, or the first is dissolved.
    outdated: AtomicBool,
    links: Vec<Link>,
}

pub(crate) struct Link {
    pub(crate) key: Key,
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Plan,
}

impl Shared {
    /// So many members have come, or so many have gone; under the lock.
    pub(crate) fn joined(&self, members: u64) {
        self.members.add(members);
    }

    pub(crate) fn left(&self, members: u64) {
        self.members.add(members.wrapping_neg());
    }
}

impl Path {
    pub(crate) fn new(links: Vec<Link>) -> Self {
        Self { outdated: AtomicBool::new(false), links }
    }

    /// Has all who go by it look up another; under the lock, under which that is to be had.
    pub(crate) fn outdate(&self) {
        if !mutant::is("group_outdates_nobody") {
            // ORDER: Relaxed: who sees it takes the lock, under which this is, and finds there what has changed.
            // loom: rate_group::change_reaches_all
            self.outdated.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        // ORDER: Relaxed: who misses a change did what it does before it.
        !self.outdated.load(Ordering::Relaxed)
    }

    /// Takes up to `want` bytes from every clock, or none. Gives how many; true: those who wait must be served, for
    /// something was given back.
    #[inline]
    pub(crate) fn take(&self, want: u64, now: Nanos) -> (u64, bool) {
        let (mut granted, mut owes) = (want, false);
        for (below, Link { shared, plan, .. }) in self.links.iter().enumerate() {
            let Taken::Granted(bytes) = shared.clock.take(plan, granted, now) else {
                return (0, owes | give(&self.links[..below], granted));
            };
            if bytes < granted {
                owes |= give(&self.links[..below], granted - bytes);
                granted = bytes;
            }
        }
        (granted, owes)
    }

    /// What a take would be granted.
    pub(crate) fn most(&self, now: Nanos) -> u64 {
        let most = |Link { shared, plan, .. }: &Link| {
            let passes = !shared.clock.is_waited_for();
            if passes { shared.clock.level(plan, now).max(0).unsigned_abs() } else { 0 }
        };
        self.links.iter().map(most).min().unwrap_or(u64::MAX)
    }

    /// What a member may keep beyond an operation that takes now. A moment's view: nobody counts on it.
    pub(crate) fn lease(&self, now: Nanos) -> u64 {
        let most = |Link { shared, plan, .. }: &Link| {
            lease::most(plan, shared.clock.level(plan, now), shared.members.get())
        };
        self.links.iter().map(most).min().unwrap_or(0)
    }

    /// Gives bytes back to every clock. True: those who wait must be served.
    #[must_use]
    pub(crate) fn give(&self, bytes: u64) -> bool {
        give(&self.links, bytes)
    }

    /// Gives back, at `now`, bytes that were taken at `then`: to the clocks whose tick is the same. True: those who wait must
    /// be served.
    #[must_use]
    pub(crate) fn give_in_tick(&self, bytes: u64, then: Nanos, now: Nanos) -> bool {
        let is_over =
            |link: &&Link| link.plan.next_boundary(then) <= now && !mutant::is("lease_goes_back_late");
        let give = |link: &Link| give(std::slice::from_ref(link), bytes);
        self.links.iter().filter(|link| !is_over(link)).fold(false, |owes, link| owes | give(link))
    }

    /// Charges every clock.
    pub(crate) fn debt(&self, bytes: u64, now: Nanos) {
        for Link { shared, plan, .. } in &self.links {
            shared.clock.debt(plan, bytes, now);
        }
    }

    /// Counts what a member has moved.
    #[inline]
    pub(crate) fn count(&self, bytes: u64) {
        if bytes > 0 {
            self.links[0].shared.moved.add(bytes);
        }
    }

    /// The group it begins with.
    pub(crate) fn group(&self) -> Key {
        self.links[0].key
    }

    /// From the group to the root.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.links.iter().map(|link| link.key)
    }

    /// The first tick boundary of any of them after `now`.
    pub(crate) fn next_boundary(&self, now: Nanos) -> Nanos {
        self.links.iter().map(|link| link.plan.next_boundary(now)).min().unwrap_or(Nanos::NEVER)
    }
}

fn give(links: &[Link], bytes: u64) -> bool {
    if bytes == 0 || mutant::is("group_keeps_what_is_refused") {
        return false;
    }
    // All of them, not only up to the first. loom: rate_group::what_a_parent_refuses_goes_back_below
    links.iter().fold(false, |owes, link| owes | link.shared.clock.give(bytes))
}
