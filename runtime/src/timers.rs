//! Timers for users: a closure that runs on the base once, or again and again.

use std::time::Duration;

use crate::{
    affinity::{Affinity, IntoSource},
    base::Base,
    callback::CallbackKind,
    clock::Time,
    event::EventId,
    protocol::Reasons,
    slots::Key,
    source::{After, Source},
    task::isolate,
};

/// Names a timer of one base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId(EventId);

impl TimerId {
    pub(crate) fn of<A: Affinity>(base: &Base<A>, key: Key) -> Self {
        Self(EventId::of(base, key))
    }
}

impl From<TimerId> for EventId {
    fn from(timer: TimerId) -> Self {
        timer.0
    }
}

/// A timer that runs its closure once.
pub struct Once<F>(Option<F>);

/// A timer that runs its closure at every interval.
pub struct Every<F> {
    call: F,
    interval: Duration,
    next: Time,
}

/// Ends the loop of its base.
pub(crate) struct ExitTimer;

impl<A: Affinity> Base<A> {
    /// Runs `f` on this base once, not before `delay` has passed.
    ///
    /// # Libevent
    /// `evtimer_new` and `evtimer_add`.
    #[doc(alias = "evtimer_add")]
    #[doc(alias = "evtimer_new")]
    pub fn after<F>(&mut self, delay: Duration, f: F) -> TimerId
    where
        F: FnOnce(&mut Base<A>) + 'static,
        Once<F>: IntoSource<A>,
    {
        let key = self.insert(Once(Some(f)));
        self.arm(key, self.deadline(delay));
        TimerId::of(self, key)
    }

    /// Runs `f` on this base every `interval` (at least 1 ms), first after one interval.
    ///
    /// The times are counted from the schedule, not from the run; if the base is late by more than an interval, the
    /// missed runs are skipped. A run that panics is the last.
    /// # Libevent
    /// `event_new` with `EV_PERSIST` and no descriptor.
    pub fn every<F>(&mut self, interval: Duration, f: F) -> TimerId
    where
        F: FnMut(&mut Base<A>) + 'static,
        Every<F>: IntoSource<A>,
    {
        let interval = interval.max(Duration::from_millis(1));
        let next = self.deadline(interval);
        let key = self.insert(Every { call: f, interval, next });
        self.arm(key, next);
        TimerId::of(self, key)
    }
}

impl<A: Affinity, F: FnOnce(&mut Base<A>) + 'static> Source<A> for Once<F> {
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        if !reasons.intersects(Reasons::TIMER | Reasons::CLOSE) {
            return After::Idle;
        }
        if let Some(call) = self.0.take().filter(|_| reasons.contains(Reasons::TIMER)) {
            let _inside = base.callback_begins(key, CallbackKind::Timer);
            if !isolate(|| call(base)) {
                base.counters().panics.add(1);
            }
        }
        After::Remove
    }

    fn kind(&self) -> &'static str {
        "timer"
    }
}

impl<A: Affinity, F: FnMut(&mut Base<A>) + 'static> Source<A> for Every<F> {
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        if reasons.contains(Reasons::CLOSE) {
            return After::Remove;
        }
        if !reasons.contains(Reasons::TIMER) {
            return After::Idle;
        }
        let inside = base.callback_begins(key, CallbackKind::Timer);
        let returned = isolate(|| (self.call)(base));
        drop(inside);
        if !returned {
            base.counters().panics.add(1);
            return After::Remove;
        }
        let late = base.now().since(self.next).as_nanos() / self.interval.as_nanos();
        let skipped = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.next = self.next.saturating_add(self.interval.saturating_mul(skipped));
        base.arm(key, self.next);
        After::Idle
    }

    fn kind(&self) -> &'static str {
        "timer"
    }
}

impl<A: Affinity> Source<A> for ExitTimer {
    fn run(&mut self, base: &mut Base<A>, _key: Key, reasons: Reasons) -> After {
        if reasons.contains(Reasons::TIMER) {
            base.exit();
        }
        After::Remove
    }

    fn kind(&self) -> &'static str {
        "timer"
    }
}
