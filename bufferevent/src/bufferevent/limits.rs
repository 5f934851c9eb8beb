//! Rate limits: its own, and the group it is in.

use std::num::NonZeroU32;

use bufferevent_ratelimit::{TokenBucketConfig, Want};
use bufferevent_runtime::{BaseHandle, Clock, Time};

use super::{Bufferevent, LIMITED};
use crate::{
    clocks::Limit,
    error::{Error, Result},
    interest::Direction,
    throttle::{RateLimitGroup, Throttle},
};

impl Bufferevent {
    /// Limits how fast the bufferevent reads and writes; `None` ends that, its group's limit stays.
    ///
    /// What counts is what moves through the socket, ranges of files included. A first limit starts with what one tick
    /// adds; another one keeps what is there, up to its burst. At a level of 0 and below the direction is suspended
    /// ([`Suspend::BANDWIDTH`](crate::Suspend::BANDWIDTH)) and its timeout stands still.
    ///
    /// A sender notices that it is read slowly only once the buffers of both systems are full, which may be megabytes later.
    /// # Libevent
    /// `bufferevent_set_rate_limit`.
    #[doc(alias = "bufferevent_set_rate_limit")]
    pub fn set_rate_limit(&mut self, config: Option<&TokenBucketConfig>) {
        if let Some(lower) = self.counted_below_mut() {
            return lower.set_rate_limit(config);
        }
        let now = self.time();
        let mut throttle = self.take_limits().unwrap_or_default();
        throttle.set_own(config, now);
        self.put_limits(throttle, now);
    }

    /// The limit of its own.
    ///
    /// # Libevent
    /// `bufferevent_get_token_bucket_cfg`.
    #[doc(alias = "bufferevent_get_token_bucket_cfg")]
    pub fn rate_limit(&self) -> Option<&TokenBucketConfig> {
        self.counted().throttle.as_ref().and_then(|throttle| throttle.own()).map(|own| own.config())
    }

    /// Bytes that its own limit lets move in a direction now, negative where more has moved than that; `None` without one.
    /// The group's is not considered.
    ///
    /// # Libevent
    /// `bufferevent_get_read_limit`, `bufferevent_get_write_limit`. Differs: `None` instead of the greatest number.
    #[doc(alias = "bufferevent_get_read_limit")]
    #[doc(alias = "bufferevent_get_write_limit")]
    pub fn rate_limit_level(&self, direction: Direction) -> Option<i64> {
        let own = self.counted().throttle.as_ref()?.own()?;
        Some(own.level(direction, self.time()))
    }

    /// Bytes that the next system call would move at most: the least of what a single one may
    /// ([`set_max_single_read`](Bufferevent::set_max_single_read), [`set_max_single_write`](Bufferevent::set_max_single_write)),
    /// and what its own limit, its group and the groups above let move now.
    ///
    /// # Libevent
    /// `bufferevent_get_max_to_read`, `bufferevent_get_max_to_write`. Differs: the most of a system call holds under limits
    /// too, and nothing is suspended by asking.
    #[doc(alias = "bufferevent_get_max_to_read")]
    #[doc(alias = "bufferevent_get_max_to_write")]
    pub fn max_to_move(&self, direction: Direction) -> usize {
        let single = self.max_single(direction);
        let counted = self.counted();
        let limits = counted
            .throttle
            .as_ref()
            .map_or(u64::MAX, |throttle| throttle.most(direction, &counted.allowance, self.time()));
        single.min(usize::try_from(limits).unwrap_or(usize::MAX))
    }

    /// Takes `bytes` out of its own limit for a direction, as if they had moved, or puts them in if negative: up to the
    /// burst, or above it where the configuration is
    /// [unclipped](bufferevent_ratelimit::TokenBucketConfig::unclipped). The group's is not touched.
    ///
    /// # Errors
    /// [`Error::NoRateLimit`] if it has none.
    /// # Libevent
    /// `bufferevent_decrement_read_limit`, `bufferevent_decrement_write_limit`. Differs: an error value without a limit, and
    /// what is put in does not pass the burst.
    #[doc(alias = "bufferevent_decrement_read_limit")]
    #[doc(alias = "bufferevent_decrement_write_limit")]
    pub fn decrement_rate_limit(&mut self, direction: Direction, bytes: i64) -> Result<()> {
        if let Some(lower) = self.counted_below_mut() {
            return lower.decrement_rate_limit(direction, bytes);
        }
        let now = self.time();
        let own = self.throttle.as_mut().and_then(|throttle| throttle.own_mut()).ok_or(Error::NoRateLimit)?;
        own.decrement(direction, bytes, now);
        Ok(())
    }

    /// Puts the bufferevent under the limits of a group, with the weight 1, and out of the one it is in.
    ///
    /// # Errors
    /// [`Error::WrongClock`] if the group goes by another clock than the base, [`Error::Closed`] if it has ended; nothing is
    /// changed then. A THREADSAFE one that has not come to its base yet is told that clock by
    /// [`Event::Error`](crate::Event::Error), when it comes, and is in no group.
    /// # Libevent
    /// `bufferevent_add_to_rate_limit_group`.
    #[doc(alias = "bufferevent_add_to_rate_limit_group")]
    pub fn join_rate_limit_group(&mut self, group: &RateLimitGroup) -> Result<()> {
        self.join_rate_limit_group_weighted(group, NonZeroU32::MIN)
    }

    /// As [`Bufferevent::join_rate_limit_group`]: while members wait, this one gets `weight` times what one of weight 1 gets.
    ///
    /// # Errors
    /// As that.
    pub fn join_rate_limit_group_weighted(
        &mut self,
        group: &RateLimitGroup,
        weight: NonZeroU32,
    ) -> Result<()> {
        if self.has_ended() {
            return Err(Error::Closed);
        }
        if let Some(lower) = self.counted_below_mut() {
            return lower.join_rate_limit_group_weighted(group, weight);
        }
        let now = self.time();
        let mut throttle = self.take_limits().unwrap_or_default();
        let base = self.home.as_ref().map(|home| &home.base);
        let joined = throttle.join(group, weight, base, now);
        self.put_limits(throttle, now);
        if joined { Ok(()) } else { Err(Error::WrongClock) }
    }

    /// The group it is in, and its weight there: the one it joined, or if that has been dropped the first above it that has not.
    ///
    /// What is answered is a handle like any other, and keeps the group.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use bufferevent::{Bufferevent, RateLimitGroup, TokenBucketConfig};
    ///
    /// let group = RateLimitGroup::new(&TokenBucketConfig::symmetric("1MB/s".parse()?, None)?);
    /// let weight = NonZeroU32::new(3).ok_or("not zero")?;
    /// let builder = Bufferevent::detached().rate_limit_group_weighted(&group, weight).configure(|bufferevent| {
    ///     let (of, weight) = bufferevent.rate_limit_group().expect("it was put into one");
    ///     assert_eq!((of.config(), weight.get()), (group.config(), 3));
    /// });
    /// # drop(builder);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rate_limit_group(&self) -> Option<(RateLimitGroup, NonZeroU32)> {
        self.counted().throttle.as_ref().and_then(|throttle| throttle.group())
    }

    /// Takes the bufferevent out of its group, if it is in one. Its own limit stays.
    ///
    /// # Libevent
    /// `bufferevent_remove_from_rate_limit_group`.
    #[doc(alias = "bufferevent_remove_from_rate_limit_group")]
    pub fn leave_rate_limit_group(&mut self) {
        if let Some(lower) = self.counted_below_mut() {
            return lower.leave_rate_limit_group();
        }
        let now = self.time();
        if let Some(mut throttle) = self.take_limits() {
            throttle.leave(now);
            self.put_limits(throttle, now);
        }
    }

    /// What is below, if limits count there: see [`Filter::counts_below`](crate::Filter::counts_below).
    fn counted_below_mut(&mut self) -> Option<&mut Bufferevent> {
        self.layer_mut().filter(|layer| layer.counts_below).map(|layer| &mut *layer.lower)
    }

    /// The one of a stack that limits set on this one count.
    fn counted(&self) -> &Bufferevent {
        match self.layer().filter(|layer| layer.counts_below) {
            Some(layer) => layer.lower.counted(),
            None => self,
        }
    }

    /// Whether its group goes by the clock of `base`.
    pub(crate) fn check_clock(&self, base: &impl Fn() -> BaseHandle) -> Result<()> {
        match &self.throttle {
            Some(throttle) if !throttle.fits(&base()) => Err(Error::WrongClock),
            _ => self.layer().map_or(Ok(()), |layer| layer.lower.check_clock(base)),
        }
    }

    /// Takes its limits out: they have been told what has moved, and nothing is limited until they are
    /// [put back](Bufferevent::put_limits).
    pub(crate) fn take_limits(&mut self) -> Option<Box<Throttle>> {
        let mut throttle = self.throttle.take()?;
        for direction in Direction::ALL {
            throttle.take_back(direction, &mut self.allowance);
        }
        Some(throttle)
    }

    /// Goes on under these limits, if there are any.
    pub(crate) fn put_limits(&mut self, mut throttle: Box<Throttle>, now: Time) {
        for direction in Direction::ALL {
            throttle.lend(direction, &mut self.allowance, now);
        }
        self.throttle = Some(throttle);
        self.look_at_limits();
    }

    /// Something has been done with its limits.
    fn look_at_limits(&mut self) {
        let Some(throttle) = &self.throttle else { return };
        let limited = if throttle.rests() { 0 } else { LIMITED };
        self.run.rare = self.run.rare & !LIMITED | limited;
        if throttle.is_idle() {
            self.take_limits();
        }
    }

    /// Bytes that have moved since the start.
    #[inline]
    pub(crate) fn moved(&self, direction: Direction) -> u64 {
        Throttle::moved(self.throttle.as_deref(), direction, &self.allowance)
    }

    /// The time on the clock of its base; that of the system before it is started.
    pub(crate) fn time(&self) -> Time {
        self.home.as_ref().map_or_else(|| Clock::monotonic().now(), |home| home.base.now())
    }

    /// How many of `want` bytes may move now; 0: the direction is suspended. `in_all` could move if there were no limit; with
    /// less than `least` of a lease it asks for more.
    #[inline(always)]
    pub(crate) fn grant(&mut self, direction: Direction, want: usize, in_all: usize, least: usize) -> usize {
        let left = self.allowance.left(direction);
        let lends = || self.throttle.as_ref().is_none_or(|throttle| throttle.lends(direction, self.run.now));
        if left >= least as u64 && lends() {
            return left.min(want as u64) as usize;
        }
        self.grant_by_limits(direction, want, in_all)
    }

    /// What of a grant was used: counts it. The rest goes back.
    #[inline(always)]
    pub(crate) fn charge(&mut self, direction: Direction, granted: usize, used: usize) {
        let within = (1..=granted).contains(&used) && self.allowance.spend(direction, used as u64);
        if !within {
            self.settle(direction, granted, used);
        }
    }

    pub(crate) fn is_throttled(&self, direction: Direction) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| !throttle.suspended(direction).is_empty())
    }

    /// How many of `want` bytes its limits let move now.
    #[cold]
    pub(crate) fn grant_by_limits(&mut self, direction: Direction, want: usize, in_all: usize) -> usize {
        let Self { throttle: Some(throttle), home: Some(home), allowance, run, .. } = self else {
            return want;
        };
        throttle.take_back(direction, allowance);
        let want = Want { once: want as u64, in_all: in_all as u64 };
        let granted = throttle.grant(direction, want, run.now, home);
        throttle.lend(direction, allowance, run.now);
        self.look_at_limits();
        // No more than is wanted once, which is a `usize`.
        granted as usize
    }

    /// Of the `granted` bytes `used` have moved, which is more than was lent, or nothing, or more than was granted.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&mut self, direction: Direction, granted: usize, used: usize) {
        // A flush may come long after the last run.
        let now = if used > granted { self.time().max(self.run.now) } else { self.run.now };
        let Self { throttle, allowance, .. } = self;
        if let Some(throttle) = throttle {
            throttle.take_back(direction, allowance);
        }
        // No more than anybody can move.
        let _counted = allowance.spend(direction, used as u64);
        if let Some(throttle) = throttle {
            throttle.settle(direction, granted as u64, used as u64, now);
            throttle.lend(direction, allowance, now);
            self.look_at_limits();
        }
    }

    /// At the end of a run: what is not willing to move anything holds up nobody under its limits, and for what its own
    /// limit suspends a countdown runs until that lets it go on.
    #[cold]
    pub(crate) fn settle_limits(&mut self) {
        let now = self.run.now;
        let read = (Direction::Read, self.would_read(), Limit::ReadRefill);
        let write = (Direction::Write, self.would_write(), Limit::WriteRefill);
        let Some(mut throttle) = self.take_limits() else { return };
        for (direction, willing, limit) in [read, write] {
            if !willing {
                throttle.withdraw(direction, now);
            }
            if let Some(at) = throttle.refill_at(direction) {
                self.clocks().set_end(limit, Some(at), now);
            }
        }
        self.put_limits(throttle, now);
    }
}
