//! One turn of a base, in steps that a worker and a hand-driven base put together in their own way.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    Base,
    shared::{BaseCall, Message},
};
use crate::{
    affinity::Affinity,
    error::Result,
    lane::{self, Lane},
    protocol::{Park, Reasons},
    selector::{Events, Selector as _},
    slots::{Key, Slot},
    source::{After, Source as _},
    strand::{AnyStrand, Lent},
    task::{Task, isolate},
};

/// Runs until the time is looked at again.
const RUNS_PER_LOOK: u32 = 16;

/// Run time after which the selector is polled again, so that new events are not late.
pub(crate) const POLL_EVERY: Duration = Duration::from_micros(200);

/// How a turn, or a run of turns, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turned {
    /// Something ran.
    Ran,
    /// The timeout passed and nothing was to be done.
    Idle,
    /// Nothing lives on the base any more.
    Empty,
    /// [`Base::exit`] was called.
    Exited,
    /// [`Base::break_now`] was called.
    Broken,
}

impl<A: Affinity> Base<A> {
    /// Waits at most `timeout` (`None`: until something happens), then runs what is ready, once.
    ///
    /// Only for a base driven by hand, on the thread that made it.
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the selector fails.
    /// # Libevent
    /// `event_base_loop(EVLOOP_ONCE)`; with a timeout of zero, `EVLOOP_NONBLOCK`.
    #[doc(alias = "event_base_loop")]
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<Turned> {
        let lane = self.take_lane();
        let entered = lane::enter(&lane);
        let turned = self.turn_in(&lane, timeout);
        drop(entered);
        if let Ok(lane) = Rc::try_unwrap(lane) {
            self.lane = Some(lane.deque);
        }
        turned
    }

    /// Turns until [`Base::exit`] or [`Base::break_now`] is called or nothing lives here any more.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the selector fails.
    /// # Libevent
    /// `event_base_dispatch`.
    #[doc(alias = "event_base_dispatch")]
    pub fn run(&mut self) -> Result<Turned> {
        self.shared.gate.resume();
        loop {
            match self.turn(None)? {
                Turned::Ran | Turned::Idle => {}
                ended => return Ok(ended),
            }
        }
    }

    fn turn_in(&mut self, lane: &Lane, timeout: Option<Duration>) -> Result<Turned> {
        if let Some(ended) = self.ended(lane) {
            return Ok(ended);
        }
        let wait = if self.has_work(lane) { Some(Duration::ZERO) } else { self.wait_time(timeout) };
        let shared = Arc::clone(&self.shared);
        self.park(wait, || shared.gate.is_exiting() || shared.gate.is_broken())?;
        self.begin_turn();
        let mut runs = 0;
        while !self.shared.gate.is_broken() && self.run_one(lane) {
            runs += 1;
            if runs % RUNS_PER_LOOK == 0 && self.shared.clock.now().since(self.now) > POLL_EVERY {
                break;
            }
        }
        Ok(match self.ended(lane) {
            Some(ended) => ended,
            None if runs > 0 => Turned::Ran,
            None => Turned::Idle,
        })
    }

    /// Runs one of each: a confined source and a strand, so that neither kind starves the other.
    fn run_one(&mut self, lane: &Lane) -> bool {
        let confined = self.run_confined();
        let task = lane.pop();
        let ran = confined || task.is_some();
        if let Some(task) = task {
            let mut lent = Lent { scratch: &mut self.scratch, now: self.now };
            if let Some(token) = task.run(&mut lent) {
                self.enqueue(token);
            }
        }
        ran
    }

    fn ended(&self, lane: &Lane) -> Option<Turned> {
        if self.shared.gate.is_broken() {
            return Some(Turned::Broken);
        }
        if self.has_work(lane) {
            return None;
        }
        if self.shared.gate.is_exiting() {
            return Some(Turned::Exited);
        }
        (self.slots.len() == 0 && self.shared.inbox.is_empty()).then_some(Turned::Empty)
    }

    fn has_work(&self, lane: &Lane) -> bool {
        self.has_confined_work() || !lane.deque.is_empty()
    }

    /// Whether the root strand, or a strand bound to this base, is ready to run.
    pub(crate) fn has_confined_work(&self) -> bool {
        !self.ready.is_empty() || self.deferred.len() > 0 || !self.bound.is_empty()
    }

    /// How long the selector may wait: until the next timer, and not longer than `limit`.
    pub(crate) fn wait_time(&self, limit: Option<Duration>) -> Option<Duration> {
        let due = self.next_deadline().map(|at| at.since(self.shared.clock.now()));
        match (due, limit) {
            (Some(due), Some(limit)) => Some(due.min(limit)),
            (due, limit) => due.or(limit),
        }
    }

    /// Polls the selector; sleeps at most `wait` in it, and not at all if the inbox holds something or `recheck` says that
    /// there is something else to do.
    pub(crate) fn park(&mut self, wait: Option<Duration>, recheck: impl Fn() -> bool) -> Result<()> {
        if wait == Some(Duration::ZERO) {
            return self.poll(wait);
        }
        let shared = &self.shared;
        let parked = shared.park.park(|| !shared.inbox.is_empty() || recheck());
        let polled = self.poll(if parked == Park::Sleep { wait } else { Some(Duration::ZERO) });
        if parked == Park::Sleep {
            self.shared.park.woken();
        }
        polled
    }

    /// Polls the selector once and posts what it reports.
    pub(crate) fn poll(&mut self, wait: Option<Duration>) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let waited = self.shared.selector.wait(&mut events, wait);
        self.now = self.shared.clock.now();
        self.shared.counters.polls.add(1);
        self.deliver(&events);
        self.batch_was_full = events.is_full();
        self.events = events;
        Ok(waited?)
    }

    fn deliver(&mut self, events: &Events) {
        for event in events.iter() {
            self.shared.counters.events.add(1);
            let (key, reasons) = (Key::from_token(event.token), Reasons::of_readiness(event.ready.bits()));
            match self.slots.get_mut(key) {
                Some(Slot::Confined(confined)) => {
                    confined.reasons |= reasons;
                    if !std::mem::replace(&mut confined.queued, true) {
                        self.ready.push_back(key);
                    }
                }
                Some(Slot::Homed(homed)) => {
                    if homed.strand.post_reasons(reasons) {
                        let strand = Arc::clone(&homed.strand);
                        self.enqueue(strand);
                    }
                }
                _ => self.shared.counters.stale.add(1),
            }
        }
    }

    /// The first half of a turn, after the selector: inbox and timers.
    pub(crate) fn begin_turn(&mut self) {
        self.shared.counters.turns.add(1);
        self.shared.counters.deferred.set(self.deferred.len() as u64);
        self.drain_inbox();
        self.fire_timers();
        self.deferred.begin_pass();
    }

    /// Posts to what has a timer that is due.
    pub(crate) fn fire_timers(&mut self) {
        self.wheel.advance(self.now.tick());
        while let Some((_, key)) = self.wheel.pop_expired() {
            match self.slots.get_mut(key) {
                Some(Slot::Confined(confined)) => {
                    confined.timer = None;
                    self.post_to(key, Reasons::TIMER);
                }
                Some(Slot::Homed(homed)) => {
                    homed.timer = None;
                    let strand = Arc::clone(&homed.strand);
                    self.post_strand(&strand, Reasons::TIMER);
                }
                _ => {}
            }
        }
    }

    /// Takes the messages that were there when it began; later ones wait for the next turn.
    pub(crate) fn drain_inbox(&mut self) {
        for _ in 0..self.shared.inbox.len() {
            if self.shared.gate.is_broken() {
                return;
            }
            let Some(message) = self.shared.inbox.pop() else { return };
            match message {
                Message::Run(strand) => self.enqueue(strand),
                Message::Adopt(key, strand) => self.adopt(key, strand),
                Message::Arm(key, Some(deadline)) => self.arm(key, deadline),
                Message::Arm(key, None) => self.disarm(key),
                Message::Forget(key) => {
                    self.remove(key);
                }
                Message::Spawn(call) => self.spawn(call),
                Message::Call(call) => self.call(call),
            }
        }
    }

    fn spawn(&mut self, call: Box<dyn FnOnce() + Send>) {
        if let Err(Task::Call(call)) = lane::push(self.shared.pool, Task::Call(call)) {
            isolate(call);
        }
    }

    fn call(&mut self, call: BaseCall) {
        if !isolate(|| call(self)) {
            self.shared.counters.panics.add(1);
        }
    }

    /// Runs the next of the root strand: a ready source, else a strand bound to this base, else a deferred one.
    pub(crate) fn run_confined(&mut self) -> bool {
        if let Some(key) = self.ready.pop_front() {
            self.run_source(key, false);
            return true;
        }
        if let Some(strand) = self.bound.pop_front() {
            self.run_bound(strand);
            return true;
        }
        if let Some(key) = self.deferred.pop() {
            self.run_source(key, true);
            return true;
        }
        false
    }

    fn run_bound(&mut self, strand: Arc<dyn AnyStrand>) {
        let mut lent = Lent { scratch: &mut self.scratch, now: self.now };
        if let Some(token) = strand.run(&mut lent) {
            self.enqueue(token);
        }
    }

    fn run_source(&mut self, key: Key, deferred: bool) {
        let Some(confined) = self.slots.confined_mut(key) else { return };
        if deferred {
            confined.deferred = false;
        } else {
            confined.queued = false;
        }
        // A source that is running already (the base is turned from inside a callback) runs when it is back.
        let Some(mut source) = confined.source.take() else { return };
        let mut reasons = std::mem::replace(&mut confined.reasons, Reasons::EMPTY);
        if !deferred && confined.deferred {
            confined.reasons = reasons.intersection(Reasons::DEFERRED);
            reasons.remove(Reasons::DEFERRED);
        }
        if !self.shared.gate.enter() {
            confined.source = Some(source);
            return self.post_to(key, reasons);
        }
        self.shared.counters.runs.add(1);
        let after = source.run(self, key, reasons);
        self.shared.gate.leave();
        if after == After::Remove {
            self.remove(key);
            return;
        }
        // It is dropped here if it was removed meanwhile.
        let Some(confined) = self.slots.confined_mut(key) else { return };
        confined.source = Some(source);
        match after {
            After::Idle | After::Remove => {}
            After::Again(left) => self.post_to(key, left),
            After::Defer(left) => self.defer(key, left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Ready;

    #[test]
    fn readiness_and_reasons_share_their_bits() {
        for (ready, reason) in [
            (Ready::READABLE, Reasons::READABLE),
            (Ready::WRITABLE, Reasons::WRITABLE),
            (Ready::HANGUP, Reasons::HANGUP),
            (Ready::ERROR, Reasons::ERROR),
        ] {
            assert_eq!(Reasons::of_readiness(ready.bits()), reason);
            assert_eq!(Ready::from_bits(reason.readiness()), ready);
        }
    }
}
