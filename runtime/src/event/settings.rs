//! What an event waits for, for how long and how often; and when its timeout is due.

use std::time::Duration;

use super::What;
use crate::{
    clock::Time,
    error::{Error, Result},
};

/// What an event waits for, for how long, and how often it is told.
///
/// Unless changed an event is *persistent*, has no timeout and is *level-triggered*: its callback runs once in each turn
/// for as long as what it waits for holds.
/// # Libevent
/// The flags of `event_new` and the time of `event_add`. Differs: persistent unless [`once`](EventSettings::once).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct EventSettings {
    pub(super) wanted: What,
    pub(super) timeout: Option<Duration>,
    pub(super) once: bool,
    pub(super) edge: bool,
}

impl From<What> for EventSettings {
    fn from(wanted: What) -> Self {
        Self { wanted: wanted & What::IO, timeout: None, once: false, edge: false }
    }
}

impl EventSettings {
    /// Tells [`What::TIMEOUT`] when nothing else has happened for `timeout`, to the millisecond and never early; again
    /// after as long if the event is persistent. Default: none.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs the callback once and drops the event then, unless the callback [sets](super::Fired::set) it again. Default:
    /// persistent.
    ///
    /// # Libevent
    /// No `EV_PERSIST`; `event_base_once`.
    #[doc(alias = "event_base_once")]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Runs the callback when something comes, not for as long as it is there: one more system call less for each run,
    /// but who leaves data unread is not told of it again. Default: level-triggered.
    ///
    /// # Libevent
    /// `EV_ET`.
    #[doc(alias = "EV_ET")]
    pub fn edge_triggered(mut self) -> Self {
        self.edge = true;
        self
    }

    /// Without edges, what is not to be told while it holds cannot be waited for without asking again and again.
    pub(super) fn check(&self, has_edges: bool) -> Result<()> {
        match has_edges || !(self.edge || self.wanted.contains(What::CLOSED)) {
            true => Ok(()),
            false => Err(Error::Unsupported("an edge, or `What::CLOSED`, where the system knows no edges")),
        }
    }
}

/// When an event's timeout is due. Knows no clock.
#[derive(Debug, Default)]
pub(super) struct Timeout {
    deadline: Option<Time>,
}

impl Timeout {
    /// Begins anew at `now`, or not at all.
    pub(super) fn begin(&mut self, timeout: Option<Duration>, now: Time) -> Option<Time> {
        self.deadline = timeout.map(|timeout| now.saturating_add(timeout));
        self.deadline
    }

    /// Begins anew after a callback: from the schedule if the timeout itself was told and was late by less than its
    /// length, so that it does not drift; else from `now`.
    pub(super) fn again(&mut self, timeout: Option<Duration>, told: bool, now: Time) -> Option<Time> {
        let scheduled = self.deadline.filter(|_| told);
        let next = scheduled.zip(timeout).map(|(last, timeout)| last.saturating_add(timeout));
        match next.filter(|next| *next > now) {
            Some(next) => {
                self.deadline = Some(next);
                self.deadline
            }
            None => self.begin(timeout, now),
        }
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO.saturating_add(Duration::from_millis(millis))
    }

    #[test]
    fn a_repeated_timeout_keeps_its_schedule_unless_it_is_late_by_more_than_its_length() {
        let (ten, mut timeout) = (Some(Duration::from_millis(10)), Timeout::default());
        assert_eq!(timeout.begin(ten, at(0)), Some(at(10)));
        assert!(!timeout.is_due(at(9)) && timeout.is_due(at(10)));
        assert_eq!(timeout.again(ten, true, at(13)), Some(at(20)));
        assert_eq!(timeout.again(ten, true, at(35)), Some(at(45)));
        assert_eq!(timeout.again(ten, false, at(41)), Some(at(51)));
        assert_eq!(timeout.again(None, true, at(60)), None);
        assert!(!timeout.is_due(Time::MAX));
    }

    proptest! {
        #[test]
        fn no_duration_overflows_or_comes_early(secs in any::<u64>(), nanos in 0..1_000_000_000u32, now in any::<u64>()) {
            // F26
            let (length, now) = (Duration::new(secs, nanos), Time::from_nanos(now));
            let mut timeout = Timeout::default();
            for told in [false, true, false] {
                let next = timeout.again(Some(length), told, now).unwrap();
                prop_assert!(next >= now || next == Time::MAX);
                prop_assert!(next == Time::MAX || next.since(now) >= length || told);
            }
        }
    }
}
