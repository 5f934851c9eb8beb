//! What a run of a bufferevent does, step by step: one system call at a time, callbacks between them.
//!
//! The engine holds no handler and calls nobody. The shell ([`confined`](crate::confined), [`shared`](crate::shared))
//! begins a run with the reasons for it, then asks in turn for the next callback and the next step until there is
//! neither, and ends the run. So a callback runs directly after the step that raised it, and before the next system
//! call (D17).

mod reading;
mod writing;

use bufferevent_evbuffer::transport::Transport;
use bufferevent_runtime::{Ready, Reasons, Scratch, Selector as _, Time};

use crate::{
    bufferevent::{ALARM, Bufferevent, LAYERED, LIMITED, Phase, Socket},
    defaults::READS_PER_RUN,
    event::{Cause, Event},
    interest::{Direction, Interest},
    options::Options,
    pending::Callback,
};

/// Callbacks in one run. One that makes itself due again and again, by a trigger or by writes from an unlocked callback,
/// would hold the worker for ever.
const CALLBACKS_PER_RUN: u8 = 32;

/// What the end of a run leaves for the shell to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Ended {
    /// Nothing until something is posted.
    Idle,
    /// Budget ended the run: run again at the tail of the queue.
    Again,
    /// What is next costs much: run again once others had their turn, in the next pass.
    PutOff,
    /// Callbacks are due: run again from the deferred queue.
    Defer,
    /// The bufferevent is over.
    Over,
}

impl Bufferevent {
    /// Begins a run.
    #[inline]
    pub(crate) fn begin_run(&mut self, reasons: Reasons, now: Time) {
        self.run.now = now;
        self.ready |= Ready::from_bits(reasons.readiness());
        self.run.reads = READS_PER_RUN;
        self.run.writes = 1;
        self.run.callbacks = CALLBACKS_PER_RUN;
        self.run.deliver = !self.options.contains(Options::DEFER_CALLBACKS);
        let unusual = Reasons::DEFERRED | Reasons::CLOSE | Reasons::TIMER | Reasons::MOVED;
        if reasons.intersects(unusual) {
            self.begin_unusual_run(reasons);
        }
        if self.is_layered() {
            self.begin_layer(reasons);
        }
    }

    #[cold]
    fn begin_unusual_run(&mut self, reasons: Reasons) {
        if reasons.contains(Reasons::MOVED) {
            self.refresh();
        }
        if reasons.contains(Reasons::DEFERRED) {
            self.run.deliver = true;
            if let Some(later) = self.later.take() {
                self.pending.merge(*later);
            }
        }
        if reasons.contains(Reasons::CLOSE) {
            self.drain_begins();
        }
        if reasons.contains(Reasons::TIMER) {
            self.alarm_rings();
        }
    }

    /// Goes on, a system call at a time, until a callback is due, or observers are. False: the run is over.
    #[inline(always)]
    pub(crate) fn advance(&mut self, scratch: &mut Scratch) -> bool {
        while !self.has_callback() {
            if !self.step(scratch) {
                return false;
            }
        }
        true
    }

    #[inline]
    fn has_callback(&self) -> bool {
        self.run.deliver && !self.pending.is_empty() || self.has_news()
    }

    /// Takes the read callback if it alone is due, as it is nearly always, and the buffers justify it.
    #[inline]
    pub(crate) fn takes_read(&mut self) -> bool {
        let readable = !self.input.is_empty() && self.input.len() >= self.read_low();
        let takes = self.run.deliver && self.run.callbacks > 1 && readable && self.pending.take_read_alone();
        self.run.callbacks -= u8::from(takes);
        takes
    }

    /// The callback that is due, unless the buffers no longer justify it.
    #[inline(never)]
    pub(crate) fn next_callback(&mut self) -> Option<Callback> {
        if !self.run.deliver {
            return None;
        }
        if self.has_ended() {
            return self.last_callback();
        }
        let (input, output) = (self.input.len(), self.output.len());
        let (read_low, write_low) = (self.read_low(), self.write.low);
        let readable = |asked| input >= read_low && (asked || input > 0);
        self.run.callbacks -= 1;
        if self.run.callbacks == 0 {
            self.run.deliver = false;
            self.unusual();
            return self.pending.next_but_write(readable);
        }
        self.pending.next(readable, || output <= write_low)
    }

    /// [`Event::Closed`], if it was asked for.
    #[cold]
    fn last_callback(&mut self) -> Option<Callback> {
        let asked = !self.pending.is_empty();
        self.pending.clear();
        let closed = if asked { self.outcome() } else { None };
        closed.map(|closed| Callback::Event(Event::Closed(Box::new(closed))))
    }

    /// Does the next system call, if there is one to do. False: there is none.
    #[inline(always)]
    fn step(&mut self, scratch: &mut Scratch) -> bool {
        if self.phase != Phase::Open {
            return self.step_unusual(scratch);
        }
        self.step_read::<false>(scratch) || self.step_on(scratch)
    }

    /// The steps after that of reading.
    #[inline(always)]
    fn step_on(&mut self, scratch: &mut Scratch) -> bool {
        self.step_send::<false>()
            || self.told.owes_eof && self.tell_eof()
            || self.may_shut_down() && self.step_shutdown()
            || self.run.rare & (ALARM | LAYERED) != 0 && self.step_rare(scratch)
    }

    #[cold]
    fn step_rare(&mut self, scratch: &mut Scratch) -> bool {
        self.is_layered() && self.step_below(scratch) || self.run.rare & ALARM != 0 && self.step_clocks()
    }

    /// A step of what is under a filter, which may withhold reading.
    #[cold]
    pub(crate) fn step_as_lower(&mut self, scratch: &mut Scratch) -> bool {
        if self.phase != Phase::Open || !self.told.withheld {
            return self.step(scratch);
        }
        self.step_on(scratch)
    }

    /// Whether a direction is switched on and ready.
    #[inline]
    pub(crate) fn may_go(&self, direction: Ready) -> bool {
        self.ready.bits() & self.enabled.bits() & direction.bits() != 0
    }

    #[cold]
    pub(crate) fn step_unusual(&mut self, scratch: &mut Scratch) -> bool {
        let stepped = match self.phase {
            _ if self.is_layered() => self.step_unusual_layer(scratch),
            Phase::Connecting | Phase::Departing => self.step_connect(),
            Phase::Draining => self.step_drain(),
            Phase::Lingering => self.step_linger(scratch),
            Phase::Open | Phase::Detached | Phase::Ended => false,
        };
        stepped || self.run.rare & ALARM != 0 && self.step_clocks()
    }

    /// Ends the run: gives blocks back, and says what is left to do.
    #[inline(always)]
    pub(crate) fn end_run(&mut self, scratch: &mut Scratch) -> Ended {
        let below = if self.is_layered() { self.end_layer(scratch) } else { Ended::Idle };
        self.give_back(scratch);
        if self.has_memory_to_count() && self.count_memory() {
            return self.give_way();
        }
        if self.run.rare & LIMITED != 0 {
            self.settle_limits();
        }
        self.rearm();
        if !self.pending.is_empty() || self.later.is_some() {
            return Ended::Defer;
        }
        if self.owes_deferred() {
            return Ended::Again;
        }
        let goes_on = match self.phase {
            Phase::Open => self.may_read() || self.may_write(),
            Phase::Ended => return Ended::Over,
            _ => self.may_write() || self.may_linger(),
        };
        if goes_on { Ended::Again } else { below }
    }

    /// It held memory and moved nothing while others had none.
    #[cold]
    fn give_way(&mut self) -> Ended {
        self.abort();
        Ended::Again
    }

    /// Sends what can be sent, outside a run: at the end of a guard. Callbacks that this makes due stay pending.
    pub(crate) fn flush_output(&mut self) {
        self.run.writes = 1;
        // Under a rate limit a run does, which can wait for its turn.
        let sends = self.phase == Phase::Open && !self.output.is_empty() && self.throttle.is_none();
        // A filter is called in a run.
        if sends && !self.is_layered() {
            self.step_write();
        }
        self.run.writes = 0;
        if self.memory.is_some() {
            // Whoever is to end is told so in its next run.
            let _ = self.count_memory();
        }
    }

    /// Whether a run would find something to do.
    pub(crate) fn wants_run(&self) -> bool {
        !self.pending.is_empty()
            || self.later.is_some()
            || self.has_news()
            || self.owes_deferred()
            || self.is_closing()
            || self.told.owes_eof
            || self.owes_clocks()
            // Its limits, or what they let, may be others than when it ran.
            || self.throttle.is_some()
            || self.connector.as_ref().is_some_and(|connector| connector.is_fresh())
            || self.may_read()
            || self.may_write()
            || self.may_shut_down()
            || self.is_layered()
    }

    pub(crate) fn fail(&mut self, direction: Direction, cause: impl Into<Cause>) {
        if self.is_closing() {
            return self.close_failed(cause.into());
        }
        self.told.broken_off |= direction == Direction::Read;
        self.enabled = self.enabled.difference(direction.into());
        self.pending.event(Event::Error { direction: Some(direction), cause: cause.into() });
    }

    // ---- the end of a run ----

    /// Drained blocks go back to the worker; an empty buffer keeps no memory.
    #[inline(always)]
    pub(crate) fn give_back(&mut self, scratch: &mut Scratch) {
        let mut pool = |block| scratch.give(block);
        self.input.settle(&mut pool);
        self.output.settle(&mut pool);
        if !self.output.is_empty() {
            self.note_full();
        }
    }

    /// Where the system knows no edges, waits anew for what is not ready.
    #[inline]
    pub(crate) fn rearm(&mut self) {
        if self.home.as_ref().is_some_and(|home| home.base.selector().needs_rearm()) {
            self.wait_anew();
        }
    }

    fn wait_anew(&mut self) {
        if let (Some(connector), Some(home)) = (&self.connector, &self.home) {
            if let Err(error) = connector.rearm(home) {
                self.connect_failed(Cause::Io(error));
            }
            return;
        }
        let (Socket::Registered(registered), Some(home)) = (&self.socket, &self.home) else { return };
        let mut wanted = Ready::NONE;
        if self.enabled.contains(Interest::READ) || self.phase == Phase::Lingering && !self.told.eof {
            wanted |= Ready::READABLE;
        }
        let connects = matches!(self.phase, Phase::Connecting | Phase::Departing);
        if !self.output.is_empty() || self.told.announce_writable || connects {
            wanted |= Ready::WRITABLE;
        }
        let missing = wanted - self.ready;
        if missing != Ready::NONE {
            if let Err(error) = registered.rearm(home.key.token(), missing) {
                self.fail(Direction::Read, error);
            }
        }
    }
}
