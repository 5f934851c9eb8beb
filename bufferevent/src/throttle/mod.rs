//! The rate limits of one bufferevent: its own, and that of the group it is in.
//!
//! The one place where bytes are charged. Before a system call the engine asks how much may move, after it it says how
//! much has; what was granted and not used goes back at once, but for a lease. That is [lent](allowance): the engine uses it
//! without asking while it lasts, and what of it was used is told before anything else is done here.
//! A grant of nothing suspends the direction: its own limit until a time that is known, the group's until that wakes it.

mod alarm;
mod allowance;
mod group;
mod own;
mod remote;

use std::num::NonZeroU32;

use bufferevent_ratelimit::{Grant, TokenBucketConfig, Want};
use bufferevent_runtime::{BaseHandle, Time};

pub use self::group::RateLimitGroup;
pub(crate) use self::{allowance::Allowance, own::Own};
use self::{
    allowance::{Loan, moved_freely},
    group::{Membership, nanos},
};
use crate::{bufferevent::Home, interest::Direction, suspend::Suspend};

/// The limits; one that has none has no `Throttle`.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    own: Option<Own>,
    membership: Option<Membership>,
    loans: [Loan; 2],
    /// In these what was granted last is to be settled, and nothing is lent until that has been done.
    owes: [bool; 2],
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
    pub(crate) fn moves_to(&mut self, home: &Home) {
        if let Some(membership) = &mut self.membership {
            membership.moved(home);
        }
    }

    /// Whether what was lent may be used.
    #[inline(always)]
    pub(crate) fn lends(&self, direction: Direction, now: Time) -> bool {
        self.loans[direction.index()].holds(nanos(now))
    }

    /// Ends what is lent in a direction, before anything else is done there: nothing is limited until [`lend`](Throttle::lend).
    pub(crate) fn take_back(&mut self, direction: Direction, allowance: &mut Allowance) {
        let used = self.loans[direction.index()].take_back(direction, allowance);
        if let Some(Membership { member, .. }) = self.membership.as_mut().filter(|_| used > 0) {
            member.spend(direction, used);
        }
    }

    /// Lets move without asking what is leased, unless something is owed.
    pub(crate) fn lend(&mut self, direction: Direction, allowance: &mut Allowance, now: Time) {
        let asks = self.own.is_some() || self.owes[direction.index()];
        let membership = self.membership.as_ref().filter(|_| !asks);
        self.loans[direction.index()].make(direction, allowance, |terms| {
            membership.map_or(0, |membership| membership.member.lend(direction, nanos(now), terms))
        });
    }

    /// Bytes that have moved in a direction since the start.
    pub(crate) fn moved(throttle: Option<&Self>, direction: Direction, allowance: &Allowance) -> u64 {
        match throttle {
            Some(throttle) => throttle.loans[direction.index()].moved(direction, allowance),
            None => moved_freely(direction, allowance),
        }
    }

    /// How many bytes may move now, of those that are wanted; 0 suspends the direction.
    pub(crate) fn grant(&mut self, direction: Direction, want: Want, now: Time, home: &Home) -> u64 {
        self.owes[direction.index()] = true;
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
    pub(crate) fn settle(&mut self, direction: Direction, granted: u64, used: u64, now: Time) {
        self.owes[direction.index()] = false;
        if let Some(own) = &mut self.own {
            own.charge(direction, used, now);
        }
        if let Some(Membership { member, .. }) = &mut self.membership {
            member.settle(direction, granted, used, nanos(now));
        }
    }

    /// Whether there is nothing to be done at the end of a run: no direction is suspended or has something to withdraw.
    pub(crate) fn rests(&self) -> bool {
        let membership = self.membership.as_ref();
        self.own.is_none() && membership.is_none_or(|membership| membership.member.rests())
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
    pub(crate) fn most(&self, direction: Direction, allowance: &Allowance, now: Time) -> u64 {
        let own = self.own.as_ref().map_or(u64::MAX, |own| own.level(direction, now).max(0).unsigned_abs());
        let loan = &self.loans[direction.index()];
        let used = if loan.holds(nanos(now)) { loan.used(direction, allowance) } else { 0 };
        let most = |membership: &Membership| membership.most(direction).saturating_sub(used);
        self.membership.as_ref().map_or(u64::MAX, most).min(own)
    }
}
