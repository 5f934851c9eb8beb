//! Callbacks that the user asks for.

use bufferevent_runtime::{CallbackKind, InCallback};

use super::Bufferevent;
use crate::{
    event::{Event, Trigger},
    interest::Interest,
    pending::{Due, Pending},
};

impl Bufferevent {
    /// Takes note of what its handler says of itself.
    pub(crate) fn heed(&mut self, hears_write: bool) {
        (self.hears_write, self.relays) = (hears_write, false);
        if self.told.drain {
            self.tell_drain();
        }
    }

    /// A drain is on: its handler is told, and so is each that it is given from now on.
    pub(crate) fn drain_begins(&mut self) {
        if !std::mem::replace(&mut self.told.drain, true) {
            self.tell_drain();
        }
    }

    fn tell_drain(&mut self) {
        if !self.is_closing() {
            self.pending.drain();
        }
    }

    /// Whether anybody wants to know how long callbacks take.
    #[inline]
    pub(crate) fn times_callbacks(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.base.times_callbacks())
    }

    /// A callback begins, for who wants to know how long it takes; it ends when the answer is dropped.
    #[inline]
    pub(crate) fn callback_begins(&self, kind: CallbackKind) -> Option<InCallback> {
        // A plain base wants to know nothing.
        let home = self.home.as_ref().filter(|home| !home.is_plain)?;
        home.base.callback_begins(home.key, kind)
    }

    /// Makes the read or write callback due, or both, as if data had come or gone. Works on disabled directions too.
    ///
    /// It runs after the callback that asks for it, in the same run, unless this bufferevent or `how` defers.
    /// # Libevent
    /// `bufferevent_trigger`.
    #[doc(alias = "bufferevent_trigger")]
    pub fn trigger(&mut self, directions: Interest, how: Trigger) {
        if self.is_closing() {
            return;
        }
        let due = if how.ignore_watermarks { Due::Forced } else { Due::Asked };
        let read = directions.contains(Interest::READ)
            && (due == Due::Forced || self.input.len() >= self.read_low());
        let write = directions.contains(Interest::WRITE)
            && (due == Due::Forced || self.output.len() <= self.write.low);
        let pending = self.pending_for(how);
        if read {
            pending.read(due);
        }
        if write {
            pending.write(due);
        }
    }

    /// Makes [`Event::User`] due with these bits.
    ///
    /// # Libevent
    /// `bufferevent_trigger_event`.
    #[doc(alias = "bufferevent_trigger_event")]
    pub fn trigger_event(&mut self, bits: u16, how: Trigger) {
        if !self.is_closing() {
            self.pending_for(how).event(Event::User(bits));
        }
    }

    /// Makes due anew what a handler that was replaced has been told: that the peer has ended its side.
    pub(crate) fn tell_end_again(&mut self) {
        if self.told.eof && !self.is_closing() {
            self.pending.event(Event::Eof);
        }
    }

    fn pending_for(&mut self, how: Trigger) -> &mut Pending {
        if how.defer {
            self.unusual();
        }
        if how.defer { self.later.get_or_insert_default() } else { &mut self.pending }
    }
}
