//! The countdowns of one bufferevent: which run, when the next is over, which are over. Pure: time comes in as an
//! argument, and the base has one timer for all of them.
//!
//! A countdown that is put off by every read is not taken out of the base's timers each time: the timer stays where it
//! is, and when it fires too early it is set to what is next then. So a read costs one store.

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
}

const LIMITS: [Limit; 11] = [
    Limit::Read,
    Limit::Write,
    Limit::ReadRate,
    Limit::WriteRate,
    Limit::Connect,
    Limit::Lifetime,
    Limit::Drain,
    Limit::Linger,
    Limit::Close,
    Limit::Attempt,
    Limit::Retry,
];

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

/// How long something may take, and when it is over if it goes on.
#[derive(Debug, Clone, Copy, Default)]
struct Countdown {
    length: Option<Duration>,
    ends: Option<Time>,
}

/// All countdowns of one bufferevent.
#[derive(Debug)]
pub(crate) struct Clocks {
    countdowns: [Countdown; LIMITS.len()],
    /// When the base's timer is to fire, if it is set.
    armed: Option<Time>,
}

impl Default for Clocks {
    /// The default lengths; none runs.
    fn default() -> Self {
        let mut clocks = Self { countdowns: Default::default(), armed: None };
        clocks.set(Limit::Connect, Some(CONNECT_TIMEOUT));
        clocks.set(Limit::Drain, Some(DRAIN_IDLE));
        clocks.set(Limit::Linger, Some(LINGER));
        clocks.set(Limit::Retry, Some(SEND_RETRY));
        clocks
    }
}

impl Clocks {
    /// Sets how long `limit` may take, `None` for ever; it begins anew.
    pub(crate) fn set(&mut self, limit: Limit, length: Option<Duration>) {
        self.countdowns[limit as usize] = Countdown { length, ends: None };
    }

    /// Sets when `limit` is over, `None` never, if it runs from now on.
    pub(crate) fn set_end(&mut self, limit: Limit, end: Option<Time>, now: Time) {
        self.countdowns[limit as usize] = Countdown { length: end.map(|end| end.since(now)), ends: end };
    }

    pub(crate) fn length(&self, limit: Limit) -> Option<Duration> {
        self.countdowns[limit as usize].length
    }

    /// Those of `limits` begin anew when they next run.
    pub(crate) fn restart(&mut self, limits: Limits) {
        for limit in LIMITS.into_iter().filter(|&limit| limits.contains(limit)) {
            self.countdowns[limit as usize].ends = None;
        }
    }

    /// Lets `running` run, from `now` if they did not before, and stops all others. Answers when the base's timer must
    /// fire, if that is earlier than it will.
    #[must_use = "the base's timer is to be set"]
    pub(crate) fn run(&mut self, running: Limits, now: Time) -> Option<Time> {
        let mut next = None;
        for limit in LIMITS {
            let Countdown { length, ends } = &mut self.countdowns[limit as usize];
            match length.filter(|_| running.contains(limit)) {
                Some(length) => {
                    let at = *ends.get_or_insert(now.saturating_add(length));
                    next = Some(next.map_or(at, |next: Time| next.min(at)));
                }
                None => *ends = None,
            }
        }
        let at = next.filter(|&at| self.armed.is_none_or(|armed| at < armed))?;
        self.armed = Some(at);
        Some(at)
    }

    /// Whether one of `running` does not run yet.
    pub(crate) fn is_behind(&self, running: Limits) -> bool {
        LIMITS.into_iter().filter(|&limit| running.contains(limit)).any(|limit| {
            let Countdown { length, ends } = self.countdowns[limit as usize];
            length.is_some() && ends.is_none()
        })
    }

    /// The base's timer has fired, or is lost.
    pub(crate) fn disarmed(&mut self) {
        self.armed = None;
    }

    /// Those of `running` that are over at `now`; they stop.
    #[must_use = "what is over has to be told"]
    pub(crate) fn take_over(&mut self, running: Limits, now: Time) -> Limits {
        let mut over = Limits::NONE;
        for limit in LIMITS {
            let ends = &mut self.countdowns[limit as usize].ends;
            if running.contains(limit) && ends.is_some_and(|at| at <= now) {
                *ends = None;
                over |= limit;
            }
        }
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
        assert_eq!(clocks.run(reads, at(0)), Some(at(10)));
        for now in 1..=9 {
            clocks.restart(reads);
            assert_eq!(clocks.run(reads, at(now)), None);
        }
        clocks.disarmed();
        assert_eq!(clocks.take_over(reads, at(10)), Limits::NONE);
        assert_eq!(clocks.run(reads, at(10)), Some(at(19)));
        clocks.disarmed();
        assert_eq!(clocks.take_over(reads, at(19)), reads);
    }

    #[test]
    fn what_does_not_run_is_not_over_and_begins_anew() {
        let (mut clocks, writes) = (clocks(&[(Limit::Write, 5)]), Limits::from(Limit::Write));
        let _ = clocks.run(writes, at(0));
        assert_eq!(clocks.run(Limits::NONE, at(3)), None);
        assert_eq!(clocks.take_over(writes, at(100)), Limits::NONE);
        assert!(clocks.is_behind(writes));
        clocks.disarmed();
        assert_eq!(clocks.run(writes, at(100)), Some(at(105)));
    }

    #[test]
    fn the_timer_is_set_for_the_earliest() {
        let mut clocks = clocks(&[(Limit::Read, 5), (Limit::Lifetime, 3), (Limit::Close, 1)]);
        let running = Limits::from(Limit::Read) | Limit::Lifetime;
        assert_eq!(clocks.run(running, at(0)), Some(at(3)));
        clocks.disarmed();
        assert_eq!(clocks.take_over(running, at(4)), Limit::Lifetime.into());
    }

    #[test]
    fn an_end_that_is_given_is_kept() {
        let (mut clocks, attempt) = (Clocks::default(), Limits::from(Limit::Attempt));
        clocks.set_end(Limit::Attempt, Some(at(7)), at(2));
        assert_eq!(clocks.run(attempt, at(3)), Some(at(7)));
        clocks.disarmed();
        assert_eq!(clocks.take_over(attempt, at(6)), Limits::NONE);
        clocks.set_end(Limit::Attempt, None, at(6));
        assert_eq!(clocks.run(attempt, at(6)), None);
        assert_eq!(clocks.take_over(attempt, at(8)), Limits::NONE);
    }

    #[test]
    fn a_length_past_the_end_of_time_never_ends() {
        // F26
        let mut clocks = Clocks::default();
        clocks.set(Limit::Read, Some(Duration::MAX));
        assert_eq!(clocks.run(Limit::Read.into(), at(1)), Some(Time::MAX));
        assert_eq!(clocks.take_over(Limit::Read.into(), at(1_000_000)), Limits::NONE);
    }
}
