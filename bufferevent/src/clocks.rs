//! The countdowns of one bufferevent: which run, when the next is over, which are over. Pure: time comes in as an
//! argument, and the base has one timer for all of them.
//!
//! A countdown that is put off by every read is not taken out of the base's timers each time: the timer stays where it
//! is, and when it fires too early it is set to what is next then. So a read costs one store, and when something is over
//! is reckoned only when it begins or the timer has fired.

use std::{
    ops::{BitOr, BitOrAssign},
    time::Duration,
};

use bufferevent_runtime::Time;

use crate::defaults::{CONNECT_TIMEOUT, DRAIN_IDLE, LINGER, SEND_RETRY};

/// What is limited in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Nothing was read although it was wanted.
    Read,
    /// Nothing was written although there was something to write.
    Write,
    /// Too little was read.
    ReadRate,
    /// Too little was written.
    WriteRate,
    /// From the start of a connect to its outcome.
    Connect,
    /// From the start to the end.
    Lifetime,
    /// A closing one wrote nothing although there was something to write.
    Drain,
    /// From the end of our side to the peer's.
    Linger,
    /// From `close` to the end.
    Close,
    /// One step of a connect by name, or to several addresses: the lookup, or the head start of an address.
    Attempt,
    /// From a write that the system had no memory for to the next.
    Retry,
    /// Its own rate limit lets nothing be read.
    ReadRefill,
    /// Its own rate limit lets nothing be written.
    WriteRefill,
    /// What is below a filter has a countdown of its own.
    Below,
}

/// How many there are.
const LIMITS: usize = Limit::Below as usize + 1;

/// A set of [`Limit`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits(u16);

impl Limits {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn contains(self, limit: Limit) -> bool {
        self.0 & (1 << limit as u16) != 0
    }

    /// This set, if `condition` holds.
    pub(crate) fn only_if(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Each as the place of its countdown.
    fn places(mut self) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            let place = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
            self.0 &= self.0 - 1;
            Some(place)
        })
    }
}

impl From<Limit> for Limits {
    fn from(limit: Limit) -> Self {
        Self(1 << limit as u16)
    }
}

impl<R: Into<Limits>> BitOr<R> for Limits {
    type Output = Self;

    fn bitor(self, other: R) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl<R: Into<Limits>> BitOrAssign<R> for Limits {
    fn bitor_assign(&mut self, other: R) {
        self.0 |= other.into().0;
    }
}

/// How long something may take, and since when it does.
#[derive(Debug, Clone, Copy, Default)]
struct Countdown {
    length: Duration,
    began: Time,
}

impl Countdown {
    fn ends(self) -> Time {
        self.began.saturating_add(self.length)
    }
}

/// All countdowns of one bufferevent.
#[derive(Debug)]
pub(crate) struct Clocks {
    countdowns: [Countdown; LIMITS],
    /// Those that have a length.
    bounded: Limits,
    /// Those that run; a part of `bounded`.
    running: Limits,
    /// When the base's timer is to fire, if it is set: no later than the first that runs is over.
    armed: Option<Time>,
}

impl Default for Clocks {
    /// The default lengths; none runs.
    fn default() -> Self {
        let mut clocks = Self {
            countdowns: Default::default(),
            bounded: Limits::NONE,
            running: Limits::NONE,
            armed: None,
        };
        clocks.set(Limit::Connect, Some(CONNECT_TIMEOUT));
        clocks.set(Limit::Drain, Some(DRAIN_IDLE));
        clocks.set(Limit::Linger, Some(LINGER));
        clocks.set(Limit::Retry, Some(SEND_RETRY));
        clocks
    }
}

impl Clocks {
    /// Sets how long `limit` may take, `None` for ever; it begins anew when it next runs.
    pub(crate) fn set(&mut self, limit: Limit, length: Option<Duration>) {
        self.restart(limit.into());
        self.bounded = self.bounded.difference(limit.into());
        if let Some(length) = length {
            self.bounded |= limit;
            self.countdowns[limit as usize].length = length;
        }
    }

    /// Sets when `limit` is over, `None` never; it runs from now on.
    pub(crate) fn set_end(&mut self, limit: Limit, end: Option<Time>, now: Time) {
        self.set(limit, end.map(|end| end.since(now)));
        self.countdowns[limit as usize].began = now;
        self.running |= Limits::from(limit).only_if(end.is_some());
        // Whether that is too late is seen when it is asked for.
        self.armed = None;
    }

    /// Whether all but `limit` are as they were made.
    pub(crate) fn are_new_but_for(&self, limit: Limit) -> bool {
        let new = Self::default();
        let same = |place: usize| self.countdowns[place].length == new.countdowns[place].length;
        self.bounded.difference(limit.into()) == new.bounded.difference(limit.into())
            && self.bounded.difference(limit.into()).places().all(same)
    }

    pub(crate) fn length(&self, limit: Limit) -> Option<Duration> {
        self.bounded.contains(limit).then(|| self.countdowns[limit as usize].length)
    }

    /// Those of `limits` begin anew when they next run.
    pub(crate) fn restart(&mut self, limits: Limits) {
        self.running = self.running.difference(limits);
    }

    /// Lets `wanted` run, from `now` if they did not before or are among those `put_off`, and stops all others. Answers
    /// when the base's timer must fire, if that is earlier than it will.
    #[must_use = "the base's timer is to be set"]
    pub(crate) fn run(&mut self, wanted: Limits, put_off: Limits, now: Time) -> Option<Time> {
        let begin = self.behind(wanted);
        self.running = wanted.intersection(self.bounded);
        for place in self.running.intersection(put_off | begin).places() {
            self.countdowns[place].began = now;
        }
        // What ran before is over no earlier than when the timer was set.
        let unarmed = if self.armed.is_none() { self.running } else { begin };
        if unarmed == Limits::NONE { None } else { self.arm(unarmed) }
    }

    #[inline(never)]
    fn arm(&mut self, unarmed: Limits) -> Option<Time> {
        let next = unarmed.places().map(|place| self.countdowns[place].ends()).min();
        let at = next.filter(|&at| self.armed.is_none_or(|armed| at < armed))?;
        self.armed = Some(at);
        Some(at)
    }

    /// The base's timer is lost: what ran begins anew.
    pub(crate) fn stop(&mut self) {
        (self.running, self.armed) = (Limits::NONE, None);
    }

    /// Those of `wanted` that are to run and do not yet.
    pub(crate) fn behind(&self, wanted: Limits) -> Limits {
        wanted.intersection(self.bounded).difference(self.running)
    }

    /// The base's timer has fired, or is lost.
    pub(crate) fn disarmed(&mut self) {
        self.armed = None;
    }

    /// Those of `wanted` that are over at `now`; they stop.
    #[must_use = "what is over has to be told"]
    pub(crate) fn take_over(&mut self, wanted: Limits, now: Time) -> Limits {
        let mut over = Limits::NONE;
        for place in self.running.intersection(wanted).places() {
            if self.countdowns[place].ends() <= now {
                over |= Limits(1 << place);
            }
        }
        self.restart(over);
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time::ZERO.saturating_add(SECOND * seconds as u32)
    }

    fn clocks(limits: &[(Limit, u32)]) -> Clocks {
        let mut clocks = Clocks::default();
        for (limit, seconds) in limits {
            clocks.set(*limit, Some(SECOND * *seconds));
        }
        clocks
    }

    #[test]
    fn a_countdown_that_is_put_off_sets_the_timer_once_and_again_when_it_fires_early() {
        let (mut clocks, reads) = (clocks(&[(Limit::Read, 10)]), Limits::from(Limit::Read));
        assert_eq!(clocks.run(reads, Limits::NONE, at(0)), Some(at(10)));
        for now in 1..=9 {
            assert_eq!(clocks.run(reads, reads, at(now)), None);
        }
        clocks.disarmed();
        assert_eq!(clocks.take_over(reads, at(10)), Limits::NONE);
        assert_eq!(clocks.run(reads, Limits::NONE, at(10)), Some(at(19)));
        clocks.disarmed();
        assert_eq!(clocks.take_over(reads, at(19)), reads);
    }

    #[test]
    fn what_does_not_run_is_not_over_and_begins_anew() {
        let (mut clocks, writes) = (clocks(&[(Limit::Write, 5)]), Limits::from(Limit::Write));
        let _ = clocks.run(writes, Limits::NONE, at(0));
        assert_eq!(clocks.run(Limits::NONE, Limits::NONE, at(3)), None);
        assert_eq!(clocks.take_over(writes, at(100)), Limits::NONE);
        assert_eq!(clocks.behind(writes), writes);
        clocks.disarmed();
        assert_eq!(clocks.run(writes, Limits::NONE, at(100)), Some(at(105)));
    }

    #[test]
    fn the_timer_is_set_for_the_earliest() {
        let mut clocks = clocks(&[(Limit::Read, 5), (Limit::Lifetime, 3), (Limit::Close, 1)]);
        let running = Limits::from(Limit::Read) | Limit::Lifetime;
        assert_eq!(clocks.run(running, Limits::NONE, at(0)), Some(at(3)));
        clocks.disarmed();
        assert_eq!(clocks.take_over(running, at(4)), Limit::Lifetime.into());
    }

    #[test]
    fn an_end_that_is_given_is_kept() {
        let (mut clocks, attempt) = (Clocks::default(), Limits::from(Limit::Attempt));
        clocks.set_end(Limit::Attempt, Some(at(7)), at(2));
        assert_eq!(clocks.run(attempt, Limits::NONE, at(3)), Some(at(7)));
        clocks.disarmed();
        assert_eq!(clocks.take_over(attempt, at(6)), Limits::NONE);
        clocks.set_end(Limit::Attempt, None, at(6));
        assert_eq!(clocks.run(attempt, Limits::NONE, at(6)), None);
        assert_eq!(clocks.take_over(attempt, at(8)), Limits::NONE);
    }

    #[test]
    fn what_is_put_off_is_over_a_whole_length_later_and_what_is_not_goes_on() {
        // C-31, D6
        let mut clocks = clocks(&[(Limit::Read, 5), (Limit::Write, 6)]);
        let (reads, both) = (Limits::from(Limit::Read), Limits::from(Limit::Read) | Limit::Write);
        assert_eq!(clocks.run(both, Limits::NONE, at(0)), Some(at(5)));
        assert_eq!(clocks.run(both, reads, at(4)), None);
        clocks.disarmed();
        assert_eq!(clocks.take_over(both, at(5)), Limits::NONE);
        assert_eq!(clocks.run(both, Limits::NONE, at(5)), Some(at(6)), "the earliest of those that go on");
        clocks.disarmed();
        assert_eq!(clocks.take_over(both, at(6)), Limit::Write.into());
        assert_eq!(clocks.run(reads, Limits::NONE, at(6)), Some(at(9)));
    }

    #[test]
    fn a_length_past_the_end_of_time_never_ends() {
        // F26
        let mut clocks = Clocks::default();
        clocks.set(Limit::Read, Some(Duration::MAX));
        assert_eq!(clocks.run(Limit::Read.into(), Limits::NONE, at(1)), Some(Time::MAX));
        assert_eq!(clocks.take_over(Limit::Read.into(), at(1_000_000)), Limits::NONE);
    }
}
