//! The rate limits of one bufferevent: its own, and that of the group it is in.
//!
//! The one place where bytes are charged. Before a system call the engine asks how much may move, after it it says how
//! much has; what was granted and not used goes back at once, but for a lease, which is used without asking while it lasts.
//! A grant of nothing suspends the direction: its own limit until a time that is known, the group's until that wakes it.

mod alarm;
mod group;
mod own;
mod remote;

use std::num::NonZeroU32;

use bufferevent_ratelimit::{Grant, TokenBucketConfig, Want};
use bufferevent_runtime::{BaseHandle, Time};

pub use self::group::RateLimitGroup;
use self::group::{Membership, nanos};
pub(crate) use self::own::Own;
use crate::{bufferevent::Home, interest::Direction, suspend::Suspend};

/// The limits; one that has none has no `Throttle`.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    own: Option<Own>,
    membership: Option<Membership>,
    /// What was granted last is of no lease: it is to be settled.
    owes: bool,
    /// No direction is suspended or has something to withdraw.
    rests: bool,
}

impl Throttle {
    pub(crate) fn set_own(&mut self, config: Option<&TokenBucketConfig>, now: Time) {
        match (&mut self.own, config) {
            (Some(own), Some(config)) => own.replace(config, now),
            (own, config) => *own = config.map(|config| Own::new(config, now)),
        }
    }

    pub(crate) fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    pub(crate) fn own_mut(&mut self) -> Option<&mut Own> {
        self.own.as_mut()
    }

    /// Joins a group, and leaves the one it is in if that is another. `base`: where it lives. False, and nothing is
    /// changed: the group goes by another clock.
    pub(crate) fn join(
        &mut self,
        group: &RateLimitGroup,
        weight: NonZeroU32,
        base: Option<&BaseHandle>,
        now: Time,
    ) -> bool {
        let fits = base.is_none_or(|base| group.fits(base));
        if fits && !self.membership.as_ref().is_some_and(|membership| group.has(membership, weight)) {
            self.leave(now);
            self.membership = Some(group.join(weight));
        }
        fits
    }

    /// To be called before it is dropped, for what is leased goes back.
    pub(crate) fn leave(&mut self, now: Time) {
        if let Some(Membership { mut member, .. }) = self.membership.take() {
            member.release(nanos(now));
        }
    }

    /// The group it is in by now, and its weight there.
    pub(crate) fn group(&self) -> Option<(RateLimitGroup, NonZeroU32)> {
        let membership = self.membership.as_ref()?;
        Some((membership.group()?, membership.member.weight()))
    }

    /// Whether there is no limit.
    pub(crate) fn is_idle(&self) -> bool {
        self.own.is_none() && self.membership.is_none()
    }

    /// Whether the group goes by the clock of a base.
    pub(crate) fn fits(&self, base: &BaseHandle) -> bool {
        self.membership.as_ref().is_none_or(|membership| membership.fits(base))
    }

    /// It is started, on a base whose time is `now`.
    pub(crate) fn begin(&mut self, now: Time) {
        if let Some(own) = &mut self.own {
            own.begin(now);
        }
    }

    /// It lives at `home` now.
    pub(crate) fn moved(&mut self, home: &Home) {
        if let Some(membership) = &mut self.membership {
            membership.moved(home);
        }
    }

    /// How many of the wanted bytes may move now by a lease; 0 if it has less than `least`.
    #[inline]
    pub(crate) fn leased(&self, direction: Direction, want: usize, least: usize, now: Time) -> usize {
        let Some(Membership { member, .. }) = self.membership.as_ref().filter(|_| self.own.is_none()) else {
            return 0;
        };
        let leased = member.leased(direction, nanos(now));
        // No more than is wanted, which is a `usize`.
        if leased >= least as u64 { leased.min(want as u64) as usize } else { 0 }
    }

    /// How many bytes may move now, of those that are wanted; 0 suspends the direction.
    pub(crate) fn grant(&mut self, direction: Direction, want: Want, now: Time, home: &Home) -> u64 {
        (self.owes, self.rests) = (true, false);
        let own = self.own.as_mut().map_or(u64::MAX, |own| own.available(direction, now));
        let want = Want { once: want.once.min(own), in_all: want.in_all.min(own) };
        let Some(membership) = &mut self.membership else { return want.once };
        if want.once == 0 {
            // What its own limit holds up holds up nobody in the group.
            membership.member.withdraw(direction, nanos(now));
            return 0;
        }
        match membership.take(direction, want, now, home) {
            Grant::Granted(bytes) => bytes,
            Grant::Wait => 0,
            Grant::Left => {
                self.membership = None;
                want.once
            }
        }
    }

    /// Of the `granted` bytes `used` have moved; or more than those, which are owed then.
    #[inline]
    pub(crate) fn charge(&mut self, direction: Direction, granted: u64, used: u64, now: Time) {
        match &mut self.membership {
            Some(Membership { member, .. }) if !self.owes && used <= granted => member.spend(direction, used),
            _ => self.settle(direction, granted, used, now),
        }
    }

    /// The same, of no lease.
    #[inline(never)]
    pub(crate) fn settle(&mut self, direction: Direction, granted: u64, used: u64, now: Time) {
        self.owes = false;
        if let Some(own) = &mut self.own {
            own.charge(direction, used, now);
        }
        if let Some(Membership { member, .. }) = &mut self.membership {
            member.settle(direction, granted, used, nanos(now));
        }
        self.look();
    }

    fn look(&mut self) {
        let membership = self.membership.as_ref();
        self.rests = self.own.is_none() && membership.is_none_or(|membership| membership.member.rests());
    }

    /// Whether there is nothing to be done at the end of a run.
    #[inline]
    pub(crate) fn rests(&self) -> bool {
        self.rests
    }

    /// Counts bytes in the totals of the group, and owes them to nobody: they are read to be dropped, and who is closed must
    /// not take from others what it has no use for.
    pub(crate) fn count(&mut self, direction: Direction, bytes: u64) {
        if let Some(Membership { member, .. }) = &mut self.membership {
            member.count(direction, bytes);
        }
    }

    /// The direction does not want to move anything now: it holds up nobody.
    pub(crate) fn withdraw(&mut self, direction: Direction, now: Time) {
        if let Some(own) = &mut self.own {
            own.withdraw(direction);
        }
        if let Some(Membership { member, .. }) = &mut self.membership {
            member.withdraw(direction, nanos(now));
        }
        self.look();
    }

    /// Why the direction is suspended.
    pub(crate) fn suspended(&self, direction: Direction) -> Suspend {
        let waits = |membership: &Membership| membership.member.is_waiting(direction);
        Suspend::BANDWIDTH.only_if(self.refill_at(direction).is_some())
            | Suspend::GROUP_BANDWIDTH.only_if(self.membership.as_ref().is_some_and(waits))
    }

    /// When its own limit lets the suspended direction go on.
    pub(crate) fn refill_at(&self, direction: Direction) -> Option<Time> {
        self.own.as_ref().and_then(|own| own.refill_at(direction))
    }

    /// What all limits together let move now: for who asks, nothing is taken.
    pub(crate) fn most(&self, direction: Direction, now: Time) -> u64 {
        let own = self.own.as_ref().map_or(u64::MAX, |own| own.level(direction, now).max(0).unsigned_abs());
        self.membership.as_ref().map_or(u64::MAX, |membership| membership.most(direction)).min(own)
    }
}
