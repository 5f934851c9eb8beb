//! Plain runs of a filter over one bufferevent, where nothing is on that few have, above or below.
//!
//! In such a run a read step is one pass up, and a write step one pass down: what is below reads and the filter is called, the
//! filter is called and what is below sends. So what is *ready* is what is ready there, and nothing is asked between the two.
//!
//! * U3 A pass that leaves more than that to do, below or in the filter, says that the stack is [unusual](Bufferevent::unusual),
//!   and has the run go on as any other.

use bufferevent_evbuffer::{Evbuffer, transport::Transport};
use bufferevent_runtime::{Ready, Scratch};

use super::{Layer, handshake::Greeting};
use crate::bufferevent::{Bufferevent, LAYERED, LIMITED, LOWER, UNUSUAL};

impl Layer {
    /// Whether nothing is to be told or done but to pass on what comes.
    pub(crate) fn is_usual(&self) -> bool {
        let lower = &self.lower;
        self.greeting == Greeting::Over
            && self.goes_on_plain()
            && self.is_sound()
            && self.untold.is_none()
            && !(self.touched || self.put_off || self.pauses || self.sunk || lower.told.withheld)
            && lower.timeouts.is_none()
            && lower.is_unobserved()
    }

    /// Whether a pass has left nothing to do but more passes.
    fn goes_on_plain(&self) -> bool {
        let lower = &self.lower;
        lower.pending.is_empty()
            && lower.output.is_empty()
            && self.incoming.is_usual()
            && self.outgoing.is_usual()
            && !self.outgoing.gives_unasked()
    }
}

impl Bufferevent {
    /// Whether the stack is plain from here to the next callback. Limits that count above are asked for what has arrived, which is
    /// not known before a pass.
    pub(crate) fn is_plain_stack(&self) -> bool {
        let may_be = self.run.rare == LAYERED && self.throttle.is_none();
        may_be && self.layer().is_some_and(|layer| layer.lower.is_plain_lower())
    }

    fn is_plain_lower(&self) -> bool {
        debug_assert!(self.run.rare & UNUSUAL != 0 || self.is_usual(), "U1: {self:?}");
        self.run.rare & !LIMITED == LOWER
    }

    /// Begins a run of a stack, which has begun below, if it is a plain one.
    pub(super) fn begin_plain_stack(&mut self) -> bool {
        let begins = self.run.rare == LAYERED && self.is_plain();
        if begins {
            self.see_what_is_ready();
        }
        begins
    }

    fn see_what_is_ready(&mut self) {
        // Without room the read step tells that.
        let feeds = self.may_feed(self.room_to_read().max(1));
        if let Some(layer) = self.layer() {
            let below = layer.lower.ready;
            self.ready = if feeds { below | Ready::READABLE } else { below };
        }
    }

    /// Whether the filter is to be called for what has arrived, for which there is room.
    fn may_feed(&self, room: usize) -> bool {
        room > 0 && self.layer().is_some_and(|layer| layer.incoming.goes_on(layer.arrived(), room))
    }

    /// Reads below, unless there is something to be filtered first, and calls the filter, which may make `granted` bytes of it.
    pub(crate) fn pass_up(&mut self, granted: usize, scratch: &mut Scratch) -> bool {
        let passes = self.may_feed(self.room_to_read())
            || self.layer_mut().is_some_and(|layer| layer.lower.step_read::<true>(scratch));
        if passes && self.input.is_empty() {
            lend_block(&mut self.input, scratch.take());
        }
        if self.feed_input(granted) || passes {
            self.end_pass();
            return true;
        }
        self.ready = self.ready - Ready::READABLE;
        false
    }

    /// Calls the filter for what is to be sent, of which `granted` bytes may go, and sends below.
    pub(crate) fn pass_down(&mut self, granted: usize) -> bool {
        if let Some(layer) = self.layer_mut() {
            // What was read into has been taken: the answer is made in the same memory.
            let Bufferevent { input, output, .. } = &mut *layer.lower;
            input.reclaim().into_iter().for_each(|block| lend_block(output, block));
        }
        if !self.feed_output(granted) {
            self.ready = self.ready - Ready::WRITABLE;
            return false;
        }
        if let Some(layer) = self.layer_mut() {
            layer.lower.step_send::<true>();
        }
        self.end_pass();
        true
    }

    /// What is ready now; nothing, if it is for a run that is not plain.
    fn end_pass(&mut self) {
        let Some(layer) = self.layer_mut() else { return };
        // What is read below is consumed here.
        layer.lower.pending.take_read_alone();
        if layer.lower.run.rare & !LIMITED == LOWER && layer.goes_on_plain() {
            self.see_what_is_ready();
        } else {
            self.ready = Ready::NONE;
            self.unusual();
        }
    }

    /// Ends a plain run below, if it leaves nothing to do there.
    #[inline(never)]
    pub(crate) fn stack_ends_idle(&mut self, scratch: &mut Scratch) -> bool {
        // A callback may have made room for what has arrived.
        let plain = self.is_plain_stack() && !self.may_feed(self.room_to_read());
        let Some(layer) = self.layer_mut().filter(|_| plain) else { return false };
        layer.lower.run.errands.is_empty() && layer.lower.ends_idle(scratch)
    }
}

/// Has what comes into a buffer next go into a block of the worker's, which gets it back when the run ends.
fn lend_block(buffer: &mut Evbuffer, block: Box<[u8]>) {
    let lent = buffer.append_block(block, 0);
    debug_assert!(lent.is_ok(), "without data it fits under any limit");
}
