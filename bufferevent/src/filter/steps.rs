//! Runs nest: the engine of a filtering bufferevent drives the one below, and consumes what is due there.
//!
//! The upper one is *readable* when calling [`Filter::input`](super::Filter::input) would bring something, and *writable* when
//! [`Filter::output`](super::Filter::output) would. So its engine, its limits and its clocks work as over a socket; a read or write
//! step is one call of the filter, and a step of what is below comes when there is none of these.

use bufferevent_runtime::{CallbackKind, Ready, Reasons, Scratch};

use super::{
    FilterError, FilterStatus, FlushMode,
    layer::{Bytes, Called, Calling, Layer, Panicked, to_send},
    side::Supply,
};
use crate::{
    bufferevent::{Bufferevent, LAYERED, LOWER, Phase, Socket},
    clocks::Limit,
    defaults::READS_PER_RUN,
    engine::Ended,
    event::{Cause, Event, TimeLimit},
    interest::{Direction, Interest},
    pending::{Callback, Due},
    trace,
};

impl Bufferevent {
    /// Whether it is a filter over another.
    #[inline]
    pub(crate) fn is_layered(&self) -> bool {
        self.run.rare & LAYERED != 0
    }

    /// Whether a filter is over it.
    pub(crate) fn is_lower(&self) -> bool {
        self.run.rare & LOWER != 0
    }

    pub(crate) fn layer(&self) -> Option<&Layer> {
        match &self.socket {
            Socket::Filter(layer) => Some(layer),
            _ => None,
        }
    }

    pub(crate) fn layer_mut(&mut self) -> Option<&mut Layer> {
        match &mut self.socket {
            Socket::Filter(layer) => Some(layer),
            _ => None,
        }
    }

    /// A run begins: what the selector reported is for what is below.
    pub(crate) fn begin_layer(&mut self, reasons: Reasons) {
        let now = self.run.now;
        self.run.writes = READS_PER_RUN;
        // A ring, or the first look at another place.
        let woken = reasons.intersects(Reasons::USER | Reasons::START | Reasons::MOVED);
        let Some(layer) = self.layer_mut() else { return };
        let below = if woken { Reasons::USER } else { Reasons::EMPTY };
        layer.lower.begin_run(Reasons::of_readiness(reasons.readiness()) | below, now);
        if !woken && self.begin_plain_stack() {
            return;
        }
        if let Some(layer) = self.layer_mut() {
            layer.put_off = false;
            if woken {
                layer.answer_bell();
            }
        }
        self.ready = Ready::NONE;
        self.follow();
        self.look_below();
    }

    /// A step below, or what has come of it. False: there is nothing to do.
    pub(crate) fn step_below(&mut self, scratch: &mut Scratch) -> bool {
        self.look_at_touched();
        if self.step_handshake(scratch) || self.gives_on() {
            return true;
        }
        let withheld = self.withholds();
        let Some(Layer { lower, on_panic, .. }) = self.layer_mut() else { return false };
        lower.told.withheld = withheld;
        if lower.has_news() {
            let told = on_panic.guard(|| lower.notify_at_once());
            return told || self.panicked_below();
        }
        let sent = lower.bottom().moved(Direction::Write);
        let stepped = lower.step_as_lower(scratch);
        // The peer takes something: that is what a close waits for.
        let progress = lower.bottom().moved(Direction::Write) != sent;
        if progress && self.is_closing() {
            self.run.progress = self.run.progress | Interest::WRITE;
        }
        stepped | self.hear_from_below()
    }

    /// Ends the run below, and says whether there is more to do.
    pub(crate) fn end_layer(&mut self, scratch: &mut Scratch) -> Ended {
        let now = self.run.now;
        let Some(Layer { lower, on_panic, put_off, .. }) = self.layer_mut() else { return Ended::Idle };
        let told = !lower.owes_deferred() || on_panic.guard(|| lower.notify_deferred());
        let ended = lower.end_run(scratch);
        lower.look_whether_usual();
        let put_off = *put_off || ended == Ended::PutOff;
        let again = !matches!(ended, Ended::Idle | Ended::PutOff);
        let (alarm, call) = (lower.next_alarm(), lower.run.errands.call.take());
        if let Some((mate, reasons)) = call {
            self.run.errands.call(mate, reasons);
        }
        if !told {
            self.panicked_below();
        }
        if alarm.is_some() {
            self.clocks().set_end(Limit::Below, alarm, now);
        }
        match self.hear_from_below() | (again && !self.has_ended()) | self.owes_call() | self.owes_drop() {
            true => Ended::Again,
            false if put_off => Ended::PutOff,
            false => Ended::Idle,
        }
    }

    /// A filter that was reached from above may have something to give of which no byte tells.
    fn look_at_touched(&mut self) {
        let Some(layer) = self.layer_mut().filter(|layer| layer.touched) else { return };
        layer.touched = false;
        let (on_panic, mut held) = (layer.on_panic, false);
        on_panic.guard(|| held = layer.hold_what_it_has());
        if held {
            self.look_below();
        } else {
            self.panicked_below();
        }
    }

    /// Whether the filter is to be called although there is nothing in the output, and was not for want of budget.
    fn owes_call(&self) -> bool {
        let gives = match self.phase {
            Phase::Open => self.enabled.contains(Interest::WRITE) || self.may_shut_down(),
            phase => phase == Phase::Draining,
        };
        gives && self.output.is_empty() && self.output_mode().is_some()
    }

    /// A filter that has filled its limit is called again though its source is empty.
    fn gives_on(&mut self) -> bool {
        let open = self.phase == Phase::Open && self.enabled.contains(Interest::WRITE);
        if !open || !self.output.is_empty() || self.run.writes == 0 || self.output_mode().is_none() {
            return false;
        }
        self.run.writes -= 1;
        self.filter_output(0)
    }

    /// Whether nothing is to be read below.
    fn withholds(&self) -> bool {
        match self.phase {
            Phase::Open => {
                !self.enabled.contains(Interest::READ)
                    || !self.has_room_to_read()
                    || self.is_throttled(Direction::Read)
                    || self.layer().is_some_and(|layer| layer.pauses)
            }
            _ if self.layer().is_some_and(Layer::waits_to_greet) => true,
            _ => self.is_closing() && !self.greets() && !self.awaits_end(),
        }
    }

    /// Takes over what is due below. True: there is something to do here.
    pub(super) fn hear_from_below(&mut self) -> bool {
        let mut heard = self.tell_untold();
        while let Some(callback) = self.next_below() {
            heard = true;
            match callback {
                Callback::Event(Event::Connected) if !self.greets() && !self.is_closing() => {
                    self.connection_stands();
                }
                Callback::Event(Event::Eof) => self.end_of_arrivals(),
                // Room below makes it writable. A drain is told above alone.
                Callback::Read
                | Callback::Write
                | Callback::Drain
                | Callback::Event(Event::Connected | Event::Drained | Event::Closed(_)) => {}
                Callback::Event(event) => self.forward(event),
            }
        }
        heard | self.follow() | self.look_below()
    }

    /// Nothing more comes from below, for now or unless that gets another connection.
    fn end_of_arrivals(&mut self) {
        let Some(layer) = self.layer_mut() else { return };
        let for_good = layer.lower.told.eof;
        if for_good {
            layer.stopped = layer.stopped | Interest::READ;
        } else if layer.greets() {
            return;
        }
        layer.pauses = !for_good;
        layer.incoming.end();
    }

    /// All has been filtered up to an end: of what is below, or by what the filter said.
    fn arrivals_ended(&mut self, said: FilterStatus) {
        if self.goes_on_after_pause(said) {
            return self.tell_pause();
        }
        self.read_eof();
    }

    /// Whether the end that was filtered is none for good. What comes behind it is a beginning then.
    pub(super) fn goes_on_after_pause(&mut self, said: FilterStatus) -> bool {
        let Some(layer) = self.layer_mut().filter(|layer| layer.incoming.is_done()) else { return false };
        let goes_on = std::mem::take(&mut layer.pauses) && said != FilterStatus::End;
        if goes_on {
            layer.incoming.begin_anew();
        }
        goes_on
    }

    fn next_below(&mut self) -> Option<Callback> {
        let lower = &mut self.layer_mut()?.lower;
        if let Some(later) = lower.later.take() {
            lower.pending.merge(*later);
        }
        if lower.pending.is_empty() {
            return None;
        }
        lower.pending.next(|_| true, || true)
    }

    /// An event from below is told here too, and stops the same direction.
    fn forward(&mut self, event: Event) {
        let stopped = match &event {
            Event::Error { direction: Some(direction), .. } | Event::Timeout(direction) => {
                (*direction).into()
            }
            Event::Error { direction: None, .. } => Interest::BOTH,
            _ => Interest::NONE,
        };
        let Some(layer) = self.layer_mut() else { return };
        let stopped = stopped.difference(layer.lower.enabled);
        layer.stopped = layer.stopped | stopped;
        if layer.is_greeting() {
            match event {
                Event::Error { cause, .. } => self.handshake_failed(cause),
                Event::Timeout(_) => self.handshake_failed(Cause::TimeLimit(TimeLimit::Handshake)),
                event => self.pending.event(event),
            }
            return;
        }
        if self.is_closing() {
            let awaits = self.awaits_end();
            match event {
                // What is left can go nowhere.
                Event::Error { cause, direction } if direction != Some(Direction::Read) => {
                    self.cannot_send(cause)
                }
                Event::Timeout(Direction::Write) => self.cannot_send(Cause::TimeLimit(TimeLimit::Drain)),
                Event::Error { cause, .. } if awaits => self.tell_when_filtered(cause),
                _ => {}
            }
            return;
        }
        match event {
            Event::Error { direction: Some(Direction::Read), cause } => self.tell_when_filtered(cause),
            event => {
                self.enabled = self.enabled.difference(stopped);
                self.pending.event(event);
            }
        }
    }

    /// An error of reading below: it is told behind all that came before.
    fn tell_when_filtered(&mut self, cause: Cause) {
        if let Some(layer) = self.layer_mut() {
            layer.untold = Some(Box::new(cause));
        }
        self.tell_untold();
    }

    /// Whether the filter is to be called for what has arrived, once there is room.
    fn owes_input_call(&self) -> bool {
        let room = self.room_to_read().max(1);
        self.layer().is_some_and(|layer| layer.incoming.due(layer.arrived(), room).is_some())
    }

    /// An error below is told when all that came before it has been filtered. True: now.
    fn tell_untold(&mut self) -> bool {
        if self.layer().is_none_or(|layer| layer.untold.is_none()) || self.owes_input_call() {
            return false;
        }
        let untold = self.layer_mut().and_then(|layer| layer.untold.take());
        untold.into_iter().for_each(|cause| self.fail(Direction::Read, *cause));
        true
    }

    /// Comes to where the connection below has come. True: that was another place.
    pub(crate) fn follow(&mut self) -> bool {
        let Some(layer) = self.layer_mut() else { return false };
        let below = layer.phase();
        let lower = &mut layer.lower;
        let (ended, closing) = (lower.has_ended() && !layer.sunk, lower.is_closing());
        let priority = lower.run.errands.priority.take();
        if priority.is_some() {
            (self.priority, self.run.errands.priority) = (priority, priority);
        }
        if ended && !self.has_ended() {
            // Somebody has ended it, or it panicked.
            self.abort();
            return true;
        }
        if self.is_closing() || self.phase == below {
            return false;
        }
        match closing {
            true => self.close_with(self.layer().map(Layer::bounds).unwrap_or_default()),
            false => self.enter(below),
        }
        true
    }

    /// Sees what the filter could be called for: that is what is ready in a run that is not plain. True: something that it could
    /// not be called for before.
    pub(crate) fn look_below(&mut self) -> bool {
        self.unusual();
        let (room, to_send) = (self.room_to_read(), self.to_send());
        let Some(layer) = self.layer() else { return false };
        let stands = !layer.greets();
        // Without room the read step tells that.
        let reads = stands && layer.incoming.due(layer.arrived(), room.max(1)).is_some();
        let below = if stands { layer.room_below() } else { 0 };
        let writes = below > 0 && (to_send.len == 0 || layer.outgoing.due(to_send, below).is_some());
        let ready = only_if(reads, Ready::READABLE) | only_if(writes, Ready::WRITABLE);
        let before = std::mem::replace(&mut self.ready, ready);
        ready - before != Ready::NONE
    }

    /// The read step.
    pub(crate) fn filter_input(&mut self, granted: usize) -> bool {
        let called = self.feed_input(granted);
        if called {
            self.look_below();
        } else {
            self.ready = self.ready - Ready::READABLE;
        }
        called
    }

    /// Calls the filter for what has arrived, which may make `granted` bytes of it, if that is due.
    pub(super) fn feed_input(&mut self, granted: usize) -> bool {
        let (usual, cap) = (self.room_to_read(), self.input_cap.room(self.input.len()));
        let mode = self.layer().and_then(|layer| layer.incoming.due(layer.arrived(), usual));
        let Some(mode) = mode else {
            self.settle(Direction::Read, granted, 0);
            return false;
        };
        let limit = if mode == FlushMode::Finished { cap } else { granted };
        let calling = Calling { mode, lend: usize::MAX, limit, usual, room: cap, now: self.run.now };
        let _called = self.call_input(&calling, granted);
        true
    }

    /// Of the `granted` bytes so many have moved. The rest is kept until the run ends: what is below may bring more at once.
    fn charge_call(&mut self, direction: Direction, granted: usize, moved: usize) {
        self.charge(direction, granted.min(moved), moved);
    }

    /// Calls the filter for what has arrived, which may make `granted` bytes of it. `None`: it has panicked.
    pub(super) fn call_input(&mut self, calling: &Calling, granted: usize) -> Option<Bytes> {
        let inside = self.callback_begins(CallbackKind::Filter);
        let Socket::Filter(layer) = &mut self.socket else { return None };
        let called = layer.call_input(calling, &mut self.input);
        let (done, ending) = (layer.incoming.is_done(), layer.incoming.is_ending());
        drop(inside);
        let Some(Called { bytes, said, .. }) = called else {
            self.filter_panicked();
            return None;
        };
        self.charge_call(Direction::Read, granted, bytes.produced);
        if bytes.produced > 0 {
            self.run.progress = self.run.progress | Interest::READ;
            if self.input.len() >= self.read_low() {
                self.pending.read(Due::Io);
            }
        }
        match said {
            Err(error) => self.filter_failed(Direction::Read, error),
            Ok(status) if done && ending && !self.told.eof => self.arrivals_ended(status),
            Ok(_) => {}
        }
        Some(bytes)
    }

    /// Whether what is in the output stays there until there is more, or is none of a handler's: then nothing waits for it.
    pub(crate) fn is_held_by_filter(&self) -> bool {
        let holds = |layer: &Layer| layer.room_below() > 0 && self.output_mode().is_none();
        self.is_lower() || self.layer().is_some_and(holds)
    }

    /// How the filter is to be called for what is to be sent, if it is.
    pub(super) fn output_mode(&self) -> Option<FlushMode> {
        let layer = self.layer()?;
        layer.outgoing.due(self.to_send(), layer.room_below())
    }

    pub(super) fn to_send(&self) -> Supply {
        to_send(&self.output, self.moved(Direction::Write))
    }

    /// The write step.
    pub(crate) fn filter_output(&mut self, granted: usize) -> bool {
        let called = self.feed_output(granted);
        if called {
            self.look_below();
        } else {
            self.ready = self.ready - Ready::WRITABLE;
        }
        called
    }

    /// Calls the filter for what is to be sent, of which `granted` bytes may go, if that is due.
    pub(super) fn feed_output(&mut self, granted: usize) -> bool {
        let to_send = self.to_send();
        let due = self.layer().and_then(|layer| {
            let usual = layer.room_below();
            let mode = layer.outgoing.due(to_send, usual)?;
            Some((mode, usual, layer.lower.output.room(), layer.outgoing.window(granted)))
        });
        let Some((mode, usual, cap, window)) = due else {
            self.settle(Direction::Write, granted, 0);
            return false;
        };
        let (lend, limit) =
            if mode == FlushMode::Normal { (window.min(to_send.len), usual) } else { (to_send.len, cap) };
        let Some((lend, mode)) = self.loaded(lend, mode) else {
            self.settle(Direction::Write, granted, 0);
            return true;
        };
        let calling = Calling { mode, lend, limit, usual, room: cap, now: self.run.now };
        let _called = self.call_output(&calling, granted);
        true
    }

    /// Calls the filter for what is to be sent, of which `granted` bytes may go. `None`: it has panicked.
    pub(super) fn call_output(&mut self, calling: &Calling, granted: usize) -> Option<Bytes> {
        let (inside, written) = (self.callback_begins(CallbackKind::Filter), self.moved(Direction::Write));
        let Socket::Filter(layer) = &mut self.socket else { return None };
        layer.note_given(written);
        let called = layer.call_output(calling, &mut self.output, written);
        drop(inside);
        let Some(Called { bytes, said, .. }) = called else {
            self.filter_panicked();
            return None;
        };
        self.charge_call(Direction::Write, granted, bytes.consumed);
        if bytes.consumed > 0 {
            self.has_sent::<false>(bytes.consumed);
        }
        if let Err(error) = said {
            self.filter_failed(Direction::Write, error);
        }
        Some(bytes)
    }

    /// Gets the first `n` bytes of the output into memory for a call in `mode`: how many of them are, and the mode. `None`: a
    /// file cannot be read, and with what is before that the filter can do nothing. It is not told then that nothing follows.
    pub(super) fn loaded(&mut self, n: usize, mode: FlushMode) -> Option<(usize, FlushMode)> {
        if self.output.unloaded() == 0 {
            return Some((n, mode));
        }
        let loaded = self.output.load(n);
        let lend = n.min(self.output.loaded_len());
        let Err(error) = loaded else { return Some((lend, mode)) };
        let (layer, supply) = (self.layer()?, Supply { len: lend, ..self.to_send() });
        if layer.outgoing.goes_on(supply, layer.room_below()) {
            return Some((lend, FlushMode::Normal));
        }
        self.fail(Direction::Write, error);
        None
    }

    fn filter_failed(&mut self, direction: Direction, error: FilterError) {
        self.fail(direction, Cause::Filter(error));
    }

    pub(super) fn filter_panicked(&mut self) {
        self.panicked_below();
        self.failure = Some(Box::new(Cause::Filter(Box::new(Panicked))));
    }

    /// As a panic in a callback does: it ends the bufferevent.
    pub(super) fn panicked_below(&mut self) -> bool {
        if let Some(home) = &self.home {
            home.base.counters().panics.add(1);
        }
        trace::panicked(self);
        self.abort();
        true
    }
}

fn only_if(condition: bool, ready: Ready) -> Ready {
    if condition { ready } else { Ready::NONE }
}
