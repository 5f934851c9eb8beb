//! Closes and ends through a stack: what is above goes out first, then the filter is told that nothing follows, then what is
//! below closes.

use bufferevent_evbuffer::{End, Evbuffer, transport::Transport};
use bufferevent_runtime::{BLOCK, CallbackKind, Scratch};

use super::{
    Ending, FlushMode,
    given::Mark,
    handshake::Greeting,
    layer::{Called, Calling, Layer},
};
use crate::{
    bound::saturated,
    bufferevent::{Bufferevent, Closing, Owned, Phase},
    event::Cause,
    handler::{PanicPolicy, discard},
    interest::{Direction, Interest},
    options::Options,
};

impl Layer {
    /// Whether what is below is to be cut off, where more was to be sent: not if the peer learns of that by what it misses.
    fn cuts_below(&self, leaves_out: bool) -> bool {
        leaves_out && self.ending == Ending::Below
    }

    /// Whether the peer has told its end, as far as that is awaited.
    fn has_heard_enough(&self) -> bool {
        self.ending != Ending::Exchanged || self.has_heard_end()
    }

    /// Whether the peer has ended its side, and it is not known that anything was lost below of what was to be sent.
    fn is_in_order(&self) -> bool {
        let lower = &self.lower;
        match self.ending {
            Ending::Below => {
                lower.is_clean() || self.has_heard_end() && lower.unsent() == 0 && !lower.is_cut_short()
            }
            // What is lost of the last message is no data: above it is known what else was.
            Ending::Told => lower.has_ended_in_order() || self.has_heard_end(),
            Ending::Exchanged => self.has_heard_end(),
        }
    }
}

impl Bufferevent {
    /// A close begins.
    pub(crate) fn begin_to_sink(&mut self, bounds: Closing) {
        let nothing_waits = self.output.is_empty();
        if !self.ask_how_it_ends() {
            return;
        }
        let Some(layer) = self.layer_mut() else { return };
        layer.bounds = Some(Box::new(Closing { deadline: None, ..bounds }));
        if layer.lower.has_ended() || layer.lower.phase == Phase::Detached {
            return self.end();
        }
        if layer.has_failed_to_send() {
            // What it has given before is sent all the same.
            layer.outgoing.give_up();
        }
        if nothing_waits && layer.greets() {
            layer.give_up_handshake();
            // Nor will the peer say anything in a connection that never stood.
            layer.incoming.fail();
        }
        layer.outgoing.hurry();
        layer.lower.let_out();
        if layer.ending == Ending::Exchanged {
            layer.lower.let_in();
        }
        let untold = layer.untold.take();
        untold.into_iter().for_each(|cause| self.note_failure(*cause));
        self.begin_drain();
        self.look_below();
    }

    /// What is above closes: nothing but what it sends matters here.
    fn let_out(&mut self) {
        self.enabled = self.enabled | Interest::WRITE;
        if let Some(layer) = self.layer_mut() {
            layer.lower.let_out();
        }
    }

    /// Nor does what arrives, but that the end of the peer is behind it.
    fn let_in(&mut self) {
        if !self.told.eof {
            self.enabled = self.enabled | Interest::READ;
        }
        if let Some(layer) = self.layer_mut() {
            layer.lower.let_in();
        }
    }

    /// Asks the filter how it tells the end. False: it panicked.
    fn ask_how_it_ends(&mut self) -> bool {
        let Some(layer) = self.layer_mut() else { return true };
        let (on_panic, mut ending) = (layer.on_panic, None);
        on_panic.guard(|| ending = Some(layer.filter_mut().ending()));
        match ending {
            Some(ending) => layer.ending = ending,
            None => drop(self.panicked_below()),
        }
        ending.is_some()
    }

    /// A step of a bufferevent over another that is closing, or has no connection.
    pub(crate) fn step_unusual_layer(&mut self, scratch: &mut Scratch) -> bool {
        match self.phase {
            Phase::Ended => false,
            Phase::Draining => self.sink() || self.drop_arrivals() || self.step_below(scratch),
            Phase::Lingering => self.await_end() || self.step_below(scratch),
            _ => self.step_below(scratch),
        }
    }

    /// A step of a close, without what is below. False: there is nothing to do here.
    fn sink(&mut self) -> bool {
        let Some(layer) = self.layer() else { return false };
        if layer.lower.has_ended() {
            self.end_as_below();
            return true;
        }
        if layer.sunk || layer.greets() {
            return false;
        }
        let (done, awaits) = (layer.outgoing.is_done(), self.awaits_end());
        if self.is_unlinked() {
            match done && awaits {
                true => self.enter(Phase::Lingering),
                false => self.end_as_below(),
            }
            return true;
        }
        if done {
            return if awaits { self.end_side_below() } else { self.close_below() };
        }
        if !awaits {
            self.refuse_mate();
        }
        self.step_write() || self.finish_output()
    }

    /// Whether the end of the peer is to come yet, which a close waits for.
    pub(super) fn awaits_end(&self) -> bool {
        self.is_closing()
            && !self.told.cut_short
            && self.layer().is_some_and(|layer| {
                layer.ending == Ending::Exchanged
                    && layer.greeting == Greeting::Over
                    && !layer.sunk
                    && !layer.has_failed_to_send()
                    && !layer.incoming.has_ended()
            })
    }

    /// All is out, and the peer's end is to come: our side is ended, if what is below goes with this. False: what was given below is
    /// to be sent first.
    fn end_side_below(&mut self) -> bool {
        let closes = self.options.contains(Options::CLOSE_ON_FREE);
        let Some(layer) = self.layer_mut() else { return false };
        if closes && !layer.lower.shut.asked.contains(Interest::WRITE) {
            // It fails only on what has no connection to end.
            return layer.lower.shutdown(Direction::Write).is_ok();
        }
        let sent = layer.lower.unsent() == 0;
        if sent {
            self.enter(Phase::Lingering);
        }
        sent
    }

    /// A step of a close in which the end of the peer is to come, after our own.
    fn await_end(&mut self) -> bool {
        if self.layer().is_some_and(|layer| layer.lower.has_ended()) {
            self.end_as_below();
            return true;
        }
        if self.awaits_end() {
            return self.drop_arrivals();
        }
        if let Some(layer) = self.layer_mut() {
            layer.untold = None;
        }
        self.enter(Phase::Draining);
        self.close_below()
    }

    /// Whether something has arrived that the peer's end may be behind.
    pub(super) fn owes_drop(&self) -> bool {
        self.awaits_end()
            && self.layer().is_some_and(|layer| layer.incoming.due(layer.arrived(), BLOCK).is_some())
    }

    /// Calls the filter for what arrives in a close, and drops what becomes of it. False: there is nothing, or no budget.
    fn drop_arrivals(&mut self) -> bool {
        if self.run.reads == 0 || !self.owes_drop() {
            return false;
        }
        self.run.reads -= 1;
        let inside = self.callback_begins(CallbackKind::Filter);
        let (now, room) = (self.run.now, self.input_cap.room(0).max(BLOCK));
        let called = self.layer_mut().and_then(|layer| {
            let mode = layer.incoming.due(layer.arrived(), BLOCK)?;
            let how = Calling { mode, lend: usize::MAX, limit: BLOCK, usual: BLOCK, room, now };
            layer.call_input(&how, &mut Evbuffer::new())
        });
        drop(inside);
        let Some(Called { bytes, said, .. }) = called else {
            self.filter_panicked();
            return true;
        };
        match said {
            Err(error) => self.note_failure(Cause::Filter(error)),
            Ok(said) => drop(self.goes_on_after_pause(said)),
        }
        // While our own side is not out the peer may talk, but a filter not give and give of the same.
        let spent = match bytes.consumed {
            0 => bytes.produced,
            consumed if self.phase == Phase::Lingering => consumed.max(bytes.produced),
            _ => 0,
        };
        match self.run.linger_bytes.checked_sub(saturated(spent)) {
            Some(left) => self.run.linger_bytes = left,
            None => self.end(),
        }
        true
    }

    /// Nothing more can be sent below, of one that closes: what has come may be the peer's end all the same.
    pub(super) fn cannot_send(&mut self, cause: Cause) {
        self.note_failure(cause);
        match self.awaits_end() && self.layer().is_some_and(|layer| layer.outgoing.is_done()) {
            true => self.enter(Phase::Lingering),
            false => self.end_as_below(),
        }
    }

    /// What is below has ended, or will not get any further.
    fn end_as_below(&mut self) {
        self.told.clean = !self.told.cut_short && self.layer().is_some_and(Layer::is_in_order);
        self.end();
    }

    /// Nothing more is given to the filter, of one that closes: what it has given is sent. False: what is below closes already.
    pub(crate) fn give_up_output(&mut self) -> bool {
        let closes = self.phase == Phase::Draining;
        let Some(layer) = self.layer_mut().filter(|layer| closes && !layer.sunk) else { return false };
        layer.outgoing.give_up();
        true
    }

    /// Whether what arrived is known to be no whole, the filter has failed in what is sent, or it has left some of what arrived
    /// before the end.
    pub(crate) fn is_cut_short(&self) -> bool {
        let closes = self.options.contains(Options::CLOSE_ON_FREE);
        self.told.broken_off
            || self.layer().is_some_and(|layer| {
                layer.has_failed_to_send() || closes && layer.incoming.has_ended() && layer.arrived().len > 0
            })
    }

    /// Bytes that arrived and that no filter has taken, of all layers.
    pub(crate) fn unfiltered(&self) -> usize {
        let below = self.layer().filter(|_| self.options.contains(Options::CLOSE_ON_FREE));
        below.map_or(0, |layer| layer.lower.input.len() + layer.lower.unfiltered())
    }

    /// All is out, and the filter has given the rest.
    fn close_below(&mut self) -> bool {
        if !self.options.contains(Options::CLOSE_ON_FREE) {
            self.told.clean = !self.told.cut_short && self.layer().is_some_and(Layer::has_heard_enough);
            self.end();
            return true;
        }
        let cut_short = self.cuts_below();
        if let Some(layer) = self.layer_mut() {
            layer.sunk = true;
            let cut_short = layer.cuts_below(cut_short);
            // An end that the filter has told may be there below, and may not be known.
            layer.lower.told.eof |= cut_short && layer.incoming.is_done();
            let bounds = layer.bounds();
            layer.lower.close_with(Closing { cut_short, ..bounds });
        }
        true
    }

    /// Whether what is below ends with more to be said. Of a connection that never stood nobody has the half.
    fn cuts_below(&self) -> bool {
        let Some(layer) = self.layer().filter(|layer| layer.greeting != Greeting::Failed) else {
            return false;
        };
        self.leaves_out() || self.moved(Direction::Write) > 0 && layer.has_failed_to_send()
    }

    /// Tells the filter that nothing follows, once it can do no more with what is there. What is in the output then is
    /// given to it by the write step. False: there is nothing to do now.
    fn finish_output(&mut self) -> bool {
        let (empty, called) = (self.output.is_empty(), self.output_mode().is_some());
        let cut_short = self.told.cut_short;
        let Some(layer) = self.layer_mut() else { return false };
        // One that has filled its limit gives the rest then.
        if (empty || !called) && layer.room_below() > 0 && !layer.outgoing.is_ending() {
            if cut_short {
                layer.outgoing.cut()
            } else {
                layer.outgoing.end()
            }
            self.look_below();
            return true;
        }
        if !called || !empty || self.run.writes == 0 {
            return false;
        }
        self.run.writes -= 1;
        self.filter_output(0)
    }

    /// One that was cut short was asked to end its side before, and learns it now: it does, unless that is too late.
    pub(crate) fn end_though_closing(&mut self) {
        let ends_yet = self.layer().is_none_or(|layer| !layer.outgoing.is_ending());
        if ends_yet && matches!(self.phase, Phase::Departing | Phase::Draining) {
            self.told.cut_short = false;
        }
    }

    /// A direction was shut down: so it is below, behind all that the filter gives.
    pub(crate) fn shut_below(&mut self, direction: Direction) -> bool {
        if direction == Direction::Write && self.layer().is_some_and(|layer| !layer.outgoing.is_done()) {
            return self.finish_output();
        }
        if let Some(layer) = self.layer_mut() {
            // It fails only on what is closed, or has no connection to end.
            let _ = layer.lower.shutdown(direction);
        }
        self.shut.done = self.shut.done | direction.into();
        true
    }

    /// Whether a countdown runs while it closes: it has something to give, and what is below does not close yet.
    pub(crate) fn waits_to_sink(&self) -> bool {
        self.layer().is_some_and(|layer| !layer.sunk)
    }

    /// What is below, if it ends with this.
    pub(crate) fn closing_layer_mut(&mut self) -> Option<&mut Layer> {
        let closes = self.options.contains(Options::CLOSE_ON_FREE);
        self.layer_mut().filter(|_| closes)
    }

    /// It has ended: so has what is below, unless that is to be handed back.
    pub(crate) fn end_below(&mut self) {
        let cut_short = self.cuts_below();
        if let Some(layer) = self.closing_layer_mut() {
            // What closes already does so as it was told to.
            layer.lower.told.cut_short |= cut_short && !layer.sunk;
            layer.lower.abort();
        }
    }

    /// Bytes that were not sent: of what filters have taken, those of which they have made what is not sent below.
    pub(crate) fn unsent(&self) -> usize {
        let taken = self.moved(Direction::Write).saturating_sub(self.sent());
        self.output.len().saturating_add(usize::try_from(taken).unwrap_or(usize::MAX))
    }

    /// Bytes that have left the output, and of which all is sent.
    pub(super) fn sent(&self) -> u64 {
        let taken = self.moved(Direction::Write);
        match self.layer().filter(|_| self.options.contains(Options::CLOSE_ON_FREE)) {
            Some(Layer { lower, given, .. }) => {
                given.sent(Mark { taken, given: lower.offered() }, lower.sent())
            }
            None => taken,
        }
    }

    /// Bytes that were ever put into the output.
    pub(super) fn offered(&self) -> u64 {
        self.moved(Direction::Write) + self.output.len() as u64
    }

    /// Takes what is below out, of one that has ended and does not close it. The filter is dropped.
    pub(crate) fn release_lower(&mut self) -> Option<Owned> {
        if self.options.contains(Options::CLOSE_ON_FREE) {
            return None;
        }
        let Layer { mut lower, filter, .. } = self.take_layer()?;
        if let Some(home) = &self.home {
            discard(home.base.counters(), filter);
        }
        lower.unsettle();
        // Its end is its own again.
        lower.told.counted = false;
        Some(lower)
    }

    /// There is another connection, or none: what comes of it is new to the filter.
    pub(crate) fn begin_anew(&mut self) {
        if let Some(layer) = self.layer_mut() {
            layer.incoming.begin_anew();
            layer.outgoing.begin_anew();
            (layer.pauses, layer.untold) = (false, None);
            let (on_panic, mut begun) = (layer.on_panic, false);
            on_panic.guard(|| begun = layer.greet_anew());
            if !begun {
                self.panicked_below();
                return;
            }
            self.expect_handshake();
            let goes_on = !self.is_closing();
            if let Some(layer) = self.layer_mut().filter(|layer| goes_on && layer.greets()) {
                layer.lower.drop_data();
            }
            let taken = self.moved(Direction::Write);
            if let Some(layer) = self.layer_mut() {
                layer.given.begin(Mark { taken, given: layer.lower.offered() });
            }
            (self.told.eof, self.told.owes_eof, self.told.broken_off) = (false, false, false);
            if std::mem::take(&mut self.shut).asked.contains(Interest::WRITE) {
                self.output.unfreeze(End::Back);
            }
            self.follow();
        }
    }

    /// What waits to be taken or sent, here and below, is of another connection.
    fn drop_data(&mut self) {
        for buffer in [&mut self.input, &mut self.output] {
            buffer.consume(buffer.len());
        }
        if let Some(layer) = self.layer_mut() {
            layer.lower.drop_data();
        }
    }

    /// Closes what nobody will run any more, as far as that needs no waiting. What its limits would have to be waited for is
    /// owed to them.
    pub(crate) fn close_stack_at_once(&mut self, cut_short: bool) {
        self.set_panic_policy(PanicPolicy::Isolate);
        let closes = self.options.contains(Options::CLOSE_ON_FREE);
        if closes && !self.has_ended() && self.prepare().is_ok() && self.ask_how_it_ends() {
            if !self.is_closing() {
                self.told.cut_short = cut_short && !self.shut.asked.contains(Interest::WRITE);
            }
            self.silence();
            let cut_short = self.told.cut_short;
            self.let_out();
            self.flush_all(FlushMode::Normal);
            if let Some(layer) = self.layer_mut() {
                if cut_short { layer.outgoing.cut() } else { layer.outgoing.end() }
            }
            // Those below have their ends when they close.
            self.flush_all(if cut_short { FlushMode::Flush } else { FlushMode::Finished });
            let (all, cut_short) = (!self.leaves_out(), self.cuts_below());
            if let Some(layer) = self.layer_mut() {
                let done = layer.outgoing.is_done();
                let owes = !done && layer.greeting == Greeting::Over;
                let cut_short = layer.cuts_below(cut_short || owes);
                layer.lower.close_at_once(cut_short);
                self.told.clean = all && done && layer.is_in_order();
            }
        }
        self.abort();
    }
}
