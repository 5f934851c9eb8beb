//! One turn of a base, in steps that a worker and a hand-driven base put together in their own way.

use std::{io, panic::resume_unwind, rc::Rc, sync::Arc, time::Duration};

use super::{
    Base, alarm,
    moving::Departure,
    queues::Next,
    shared::{BaseCall, BaseShared, Message},
};
use crate::{
    affinity::Affinity,
    callback::CallbackKind,
    error::{Error, Result},
    lane::{self, Lane},
    protocol::{Park, Reasons},
    selector::{Events, Selector as _},
    slots::{Key, Slot},
    source::{After, Source as _},
    strand::{AnyStrand, Bases, Lent},
    task::{self, isolate},
};

/// Runs until the time is looked at again.
const RUNS_PER_LOOK: u32 = 16;

/// Runs of a base driven by hand before the selector is polled again, also by a clock that stands still.
const RUNS_PER_TURN: u32 = 4_096;

/// Run time after which the selector is polled again, so that new events are not late.
pub(crate) const POLL_EVERY: Duration = Duration::from_micros(200);

/// Timers that fire in one pass; the rest are due in the next, when the selector was polled again.
pub const TIMERS_PER_PASS: usize = 1_024;

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
    #[doc(alias = "event_base_got_exit")]
    Exited,
    /// [`Base::break_now`] was called.
    #[doc(alias = "event_base_got_break")]
    Broken,
}

impl<A: Affinity> Base<A> {
    /// Waits at most `timeout` (`None`: until something happens), then runs what is ready, once.
    ///
    /// Only for a base driven by hand, on the thread that made it. [`Turned::Exited`] and [`Turned::Broken`] are each
    /// reported once; after that the base can be turned again.
    /// # Errors
    /// [`Error::Reentrant`] inside a callback of this base, and on a base of a runtime; [`Error::Io`] if the selector fails.
    /// # Panics
    /// With the panic that a source or a strand let out, at the end of the turn. That one is dropped; the base can be
    /// turned again.
    /// # Libevent
    /// `event_base_loop(EVLOOP_ONCE)`; with a timeout of zero, `EVLOOP_NONBLOCK`.
    #[doc(alias = "event_base_loop")]
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<Turned> {
        self.turn_while(timeout, false)
    }

    /// Turns until [`Base::exit`] or [`Base::break_now`] is called or nothing lives here any more.
    ///
    /// # Errors
    /// As [`Base::turn`].
    /// # Panics
    /// As [`Base::turn`].
    /// # Libevent
    /// `event_base_dispatch`.
    #[doc(alias = "event_base_dispatch")]
    pub fn run(&mut self) -> Result<Turned> {
        self.run_while(false)
    }

    /// Turns until [`Base::exit`] or [`Base::break_now`] is called, also while nothing lives here: another thread may
    /// post.
    ///
    /// # Errors
    /// As [`Base::turn`].
    /// # Panics
    /// As [`Base::turn`].
    /// # Libevent
    /// `event_base_loop(EVLOOP_NO_EXIT_ON_EMPTY)`.
    pub fn run_until_exit(&mut self) -> Result<Turned> {
        self.run_while(true)
    }

    fn run_while(&mut self, empty: bool) -> Result<Turned> {
        loop {
            match self.turn_while(None, empty)? {
                Turned::Ran | Turned::Idle => {}
                ended => return Ok(ended),
            }
        }
    }

    fn turn_while(&mut self, timeout: Option<Duration>, empty: bool) -> Result<Turned> {
        let lane = Lane::new(self.shared.pool, self.lane.take().ok_or(Error::Reentrant)?, None);
        self.unrelease();
        self.shared.drive_here();
        let entered = lane::enter(&lane);
        let outer = task::set_escaped(None);
        let turned = self.turn_in(&lane, timeout, empty);
        let escaped = task::set_escaped(outer);
        drop(entered);
        self.lane = Rc::into_inner(lane).map(|lane| lane.deque);
        let announced = if self.alarm.is_some() { self.announce() } else { Ok(()) };
        if let Some(panic) = escaped {
            resume_unwind(panic);
        }
        announced.and(turned)
    }

    fn turn_in(&mut self, lane: &Lane, timeout: Option<Duration>, empty: bool) -> Result<Turned> {
        if self.shared.gate.is_broken() {
            return Ok(self.report(Turned::Broken));
        }
        let hurry = self.has_work(lane) || self.shared.gate.is_exiting() || !empty && self.is_done();
        let wait = if hurry { Some(Duration::ZERO) } else { self.wait_time(timeout) };
        self.park(wait, |shared| shared.gate.is_exiting() || shared.gate.is_broken())?;
        let mut ran = self.begin_turn(self.mail()) > 0;
        let mut runs = 0;
        while !self.is_interrupted() && self.run_one(lane) {
            ran = true;
            runs += 1;
            if runs % RUNS_PER_LOOK == 0 && self.shared.clock.now().since(self.now) > POLL_EVERY
                || runs == RUNS_PER_TURN
            {
                break;
            }
        }
        if self.shared.gate.is_exiting() {
            // What is ready now, and not what that posts.
            let mut left = self.queues.len_in_pass() + lane.deque.len();
            while left > 0 && !self.is_interrupted() && self.run_one(lane) {
                left -= 1;
            }
            if !self.shared.gate.is_broken() {
                return Ok(self.report(Turned::Exited));
            }
        }
        Ok(match self.shared.gate.is_broken() {
            true => self.report(Turned::Broken),
            false if !empty && !self.has_work(lane) && self.is_done() => Turned::Empty,
            false if ran => Turned::Ran,
            false => Turned::Idle,
        })
    }

    /// Opens the gate again, now that the caller learns how the loop ended.
    fn report(&self, ended: Turned) -> Turned {
        self.shared.gate.resume();
        ended
    }

    fn is_interrupted(&self) -> bool {
        self.shared.gate.is_broken() || task::has_escaped()
    }

    fn is_done(&mut self) -> bool {
        (self.slots.len() == 0 || self.slots.len() == self.watching()) && self.shared.inbox.is_empty()
    }

    /// Runs one of each: a confined source and a strand, so that neither kind starves the other.
    fn run_one(&mut self, lane: &Lane) -> bool {
        let confined = self.run_confined();
        let task = lane.pop();
        let ran = confined || task.is_some();
        if let Some(task) = task {
            let mut lent = Lent {
                scratch: &mut self.scratch,
                now: self.now,
                timed: false,
                bases: Bases::One(&self.shared),
            };
            if let Some(token) = task.run(&mut lent, &self.shared.clock) {
                self.enqueue(token);
            }
        }
        ran
    }

    fn has_work(&self, lane: &Lane) -> bool {
        self.has_confined_work() || !lane.deque.is_empty()
    }

    /// Whether the root strand, or a strand bound to this base, is ready to run, and may.
    pub(crate) fn has_confined_work(&self) -> bool {
        let queued = !self.queues.is_empty() || !self.next_turn.is_empty();
        queued && !self.shared.gate.is_broken()
    }

    /// What is ready to run in the root strand and of the strands bound to this base, but for deferred work.
    pub(crate) fn queued(&self) -> usize {
        self.queues.ready()
    }

    /// On a base of a runtime, after a turn: one that was asked to exit rests from now on.
    pub(crate) fn rest_if_exiting(&self) {
        if self.shared.gate.is_exiting() {
            self.shared.gate.rest();
        }
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
    pub(crate) fn park(
        &mut self,
        wait: Option<Duration>,
        recheck: impl Fn(&BaseShared) -> bool,
    ) -> Result<()> {
        let wait = self.prepare(wait);
        self.look(|shared, events| {
            // Nothing of the user's runs from here until the word says that the base is awake.
            let sleeps = wait != Some(Duration::ZERO)
                && shared.park.park(|| shared.has_mail() || recheck(shared)) == Park::Sleep;
            let waited = shared.selector.wait(events, if sleeps { wait } else { Some(Duration::ZERO) });
            if sleeps {
                shared.park.woken();
            }
            waited
        })
    }

    /// Polls the selector once and posts what it reports.
    pub(crate) fn poll(&mut self, wait: Option<Duration>) -> Result<()> {
        let wait = self.prepare(wait);
        self.look(|shared, events| shared.selector.wait(events, wait))
    }

    /// Looks into the selector by `wait`, and posts what it reports.
    fn look(&mut self, wait: impl FnOnce(&BaseShared, &mut Events) -> io::Result<()>) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let waited = wait(&self.shared, &mut events);
        self.now = self.shared.clock.now();
        self.shared.counters.polls.add(1);
        self.look_again();
        self.deliver(&events);
        self.batch_was_full = events.is_full();
        self.events = events;
        self.check();
        Ok(waited?)
    }

    fn deliver(&mut self, events: &Events) {
        self.shared.counters.events.add(events.len() as u64);
        let lane = lane::current(self.shared.pool);
        for event in events.iter() {
            let (key, reasons) = (Key::from_token(event.token), Reasons::of_readiness(event.ready.bits()));
            let slot = self.slots.get_mut(key);
            // Told apart one after the other, which costs the first less.
            if let Some(Slot::Confined(confined)) = slot {
                confined.reasons |= reasons;
                if !std::mem::replace(&mut confined.queued, true) {
                    self.queues.push_ready(confined.priority, key);
                }
                continue;
            }
            match slot {
                Some(Slot::Homed(homed)) => {
                    if homed.strand.post_reasons(reasons) {
                        let strand = Arc::clone(&homed.strand);
                        self.enqueue_on(lane.as_deref(), strand);
                    }
                }
                _ if event.token == alarm::TOKEN => {}
                _ => self.shared.counters.stale.add(1),
            }
        }
    }

    /// Messages that wait in the inbox.
    pub(crate) fn mail(&self) -> usize {
        self.shared.inbox.len()
    }

    /// The first half of a turn, after the selector: the first `mail` messages of the inbox, and timers. Answers how many
    /// messages were taken.
    pub(crate) fn begin_turn(&mut self, mail: usize) -> usize {
        self.shared.counters.turns.add(1);
        self.shared.counters.deferred.set(self.queues.deferred() as u64);
        let messages = self.drain_inbox(mail);
        self.fire_timers();
        self.queues.begin_pass();
        self.scratch.begin_pass();
        messages
    }

    /// Posts to what asked for it in the last turn: before what is new, which might use up every turn of what they share.
    fn look_again(&mut self) {
        let mut keys = std::mem::take(&mut self.next_turn);
        for key in keys.drain(..) {
            self.post_to(key, Reasons::USER);
        }
        self.next_turn = keys;
    }

    /// Posts to what somebody else answered, if it is there still.
    fn wake(&mut self, key: Key, reasons: Reasons) {
        match self.slots.get_mut(key) {
            Some(Slot::Homed(homed)) => {
                let strand = Arc::clone(&homed.strand);
                self.post_strand(&strand, reasons);
            }
            _ => self.post_to(key, reasons),
        }
    }

    /// Posts to what has a timer that is due.
    pub(crate) fn fire_timers(&mut self) {
        self.wheel.advance(self.now.tick());
        // What is left is due at once: the next poll does not wait.
        for _ in 0..TIMERS_PER_PASS {
            let Some((_, key)) = self.wheel.pop_expired() else { return };
            match self.slots.get_mut(key) {
                Some(Slot::Confined(confined)) => {
                    confined.timer = None;
                    self.post_to(key, Reasons::TIMER);
                }
                Some(Slot::Homed(homed)) => {
                    homed.timer = None;
                    let strand = Arc::clone(&homed.strand);
                    if strand.take_due(&self.shared, key, self.now) {
                        self.post_strand(&strand, Reasons::TIMER);
                    } else {
                        self.arm_strand(key);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes that many messages, as far as they are there; later ones wait for the next turn.
    pub(crate) fn drain_inbox(&mut self, there: usize) -> usize {
        for done in 0..there {
            if self.shared.gate.is_broken() {
                return done;
            }
            let Some(message) = self.shared.inbox.pop() else { return done };
            match message {
                Message::Run(strand) => self.enqueue(strand),
                Message::Adopt(key, strand) => self.adopt(key, strand),
                Message::Settle(key, strand) => self.settle(key, strand),
                Message::Arrive(arrival) => self.arrive(*arrival),
                Message::Arm(key) => self.arm_strand(key),
                Message::Forget(key) => {
                    self.remove(key);
                }
                Message::Wake(key, reasons) => self.wake(key, reasons),
                Message::Spawn(call) => self.spawn(call),
                Message::Call(kind, call) => self.call(kind, call),
            }
        }
        there
    }

    fn arm_strand(&mut self, key: Key) {
        let Some(Slot::Homed(homed)) = self.slots.get_mut(key) else { return };
        match homed.strand.wanted(&self.shared, key) {
            Some(Some(deadline)) => self.arm(key, deadline),
            Some(None) => self.disarm(key),
            // It has moved, and has taken the deadline along.
            None => {}
        }
    }

    fn spawn(&mut self, call: Box<dyn FnOnce() + Send>) {
        match lane::current(self.shared.pool) {
            Some(lane) => lane.push_call(call),
            None => drop(isolate(call)),
        }
    }

    fn call(&mut self, kind: CallbackKind, call: BaseCall) {
        let _inside = self.shared.callback_begins(Key::NOTHING, kind);
        if !isolate(|| call(self)) {
            self.shared.counters.panics.add(1);
        }
    }

    /// Runs the next of the root strand. False if there is none in this pass, or the gate is shut.
    #[inline(always)]
    pub(crate) fn run_confined(&mut self) -> bool {
        let (key, deferred) = match self.queues.pop() {
            Some(Next::Ready(key)) => (key, false),
            Some(Next::Deferred(key)) => (key, true),
            Some(Next::Bound(strand)) => {
                self.run_bound(strand);
                return true;
            }
            None => return false,
        };
        self.run_source(key, deferred)
    }

    #[inline(never)]
    fn run_bound(&mut self, strand: Arc<dyn AnyStrand>) {
        let mut lent =
            Lent { scratch: &mut self.scratch, now: self.now, timed: false, bases: Bases::One(&self.shared) };
        if let Some(token) = strand.run(&mut lent) {
            self.enqueue(token);
        }
    }

    /// False if the gate is shut.
    #[inline(always)]
    pub(super) fn run_source(&mut self, key: Key, deferred: bool) -> bool {
        let Some(confined) = self.slots.confined_mut(key) else { return true };
        if deferred {
            confined.deferred = false;
        } else {
            confined.queued = false;
        }
        let Some(mut source) = confined.source.take() else { return true };
        let mut reasons = std::mem::replace(&mut confined.reasons, Reasons::EMPTY);
        if !deferred && confined.deferred {
            confined.reasons = reasons.intersection(Reasons::DEFERRED);
            reasons.remove(Reasons::DEFERRED);
        }
        if self.shared.gate.is_broken() {
            confined.source = Some(source);
            confined.reasons |= reasons;
            if !std::mem::replace(&mut confined.queued, true) {
                self.queues.put_back(confined.priority, key);
            }
            return false;
        }
        self.shared.counters.runs.add(1);
        let after = task::hold_panic(|| source.run(self, key, reasons));
        let after = after.unwrap_or_else(|| {
            self.shared.counters.panics.add(1);
            After::Remove
        });
        // A watcher may have run inside of another source, which leaves.
        if let Some(departure) = self.departure.take_if(|departure| departure.is_of(key)) {
            return self.leave_after(key, source, after, departure);
        }
        match self.slots.confined_mut(key) {
            Some(confined) if after != After::Remove => {
                // It was taken out for the run.
                if confined.source.is_none() {
                    confined.source = Some(source);
                }
                if after != After::Idle {
                    self.post_left(key, after);
                }
            }
            // It is done, or was removed meanwhile.
            _ => {
                self.remove(key);
                self.discard(source);
            }
        }
        true
    }

    #[inline(never)]
    fn post_left(&mut self, key: Key, after: After) {
        match after {
            After::Idle | After::Remove => {}
            After::Again(left) => self.post_to(key, left),
            After::NextTurn => self.next_turn.push(key),
            After::Defer(left) => self.defer(key, left),
        }
    }

    /// Ends the run of a source that moves to another base.
    fn leave_after(&mut self, key: Key, source: Box<A::Source>, after: After, to: Departure) -> bool {
        if after == After::Remove || self.slots.confined_mut(key).is_none() {
            to.cancel();
            self.remove(key);
            self.discard(source);
            return true;
        }
        // What is left of the run goes with it.
        self.post_left(key, after);
        self.leave(key, source, to);
        true
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
