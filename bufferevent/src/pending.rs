//! Callbacks that are due and not yet delivered.

use std::collections::VecDeque;

use bufferevent_runtime::CallbackKind;

use crate::{
    event::{Cause, Event},
    interest::Direction,
};

/// One callback to deliver.
#[derive(Debug)]
pub(crate) enum Callback {
    Read,
    Write,
    /// A drain is on.
    Drain,
    Event(Event),
}

impl Callback {
    pub(crate) fn kind(&self) -> CallbackKind {
        match self {
            Self::Read => CallbackKind::Read,
            Self::Write => CallbackKind::Write,
            Self::Drain => CallbackKind::Drain,
            Self::Event(_) => CallbackKind::Event,
        }
    }
}

/// What is due, in the order of delivery: connected, a drain, read, write, then the events as they happened.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    bits: u32,
    /// None most of the time.
    #[allow(clippy::box_collection, reason = "every idle connection has one word here, in place of four")]
    events: Option<Box<VecDeque<Event>>>,
}

const CONNECTED: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
/// The user asked for the callback: it may find an empty input.
const READ_ASKED: u32 = 8;
/// Whatever the watermarks say at delivery.
const READ_FORCED: u32 = 16;
const WRITE_FORCED: u32 = 32;
/// `events` is not empty.
const EVENTS_QUEUED: u32 = 64;
/// It has ended, and that is to be told: nothing else is due then.
const CLOSED: u32 = 128;
/// A drain has begun since the handler was set, or before.
const DRAIN: u32 = 256;

/// Events that wait at most; more than the kinds there are, so only distinct user events can reach it.
const EVENTS: usize = 32;

/// How a read or write callback became due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// By input or output.
    Io,
    /// By a trigger, subject to watermarks.
    Asked,
    /// By a trigger that ignores them.
    Forced,
}

impl Pending {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Callbacks that are due.
    pub(crate) fn len(&self) -> usize {
        (self.bits & (CONNECTED | DRAIN | READ | WRITE | CLOSED)).count_ones() as usize
            + self.events.as_ref().map_or(0, |events| events.len())
    }

    pub(crate) fn read(&mut self, due: Due) {
        self.bits |= match due {
            Due::Io => READ,
            Due::Asked => READ | READ_ASKED,
            Due::Forced => READ | READ_FORCED,
        };
    }

    pub(crate) fn write(&mut self, due: Due) {
        self.bits |= if due == Due::Forced { WRITE | WRITE_FORCED } else { WRITE };
    }

    pub(crate) fn closed(&mut self) {
        self.bits = CLOSED;
    }

    pub(crate) fn connected(&mut self) {
        self.bits |= CONNECTED;
    }

    pub(crate) fn drain(&mut self) {
        self.bits |= DRAIN;
    }

    pub(crate) fn owes_drain(&self) -> bool {
        self.bits & DRAIN != 0
    }

    /// Queues an event unless an equal one waits already.
    pub(crate) fn event(&mut self, event: Event) {
        let events = self.events.get_or_insert_default();
        if events.iter().any(|queued| queued.equals(&event)) {
            return;
        }
        if let (true, Event::User(bits)) = (events.len() >= EVENTS, &event) {
            if let Some(Event::User(last)) =
                events.iter_mut().rev().find(|queued| matches!(queued, Event::User(_)))
            {
                *last |= bits;
                return;
            }
        }
        events.push_back(event);
        self.bits |= EVENTS_QUEUED;
    }

    /// Drops the read or write callback that is due (C-10, D3).
    pub(crate) fn cancel(&mut self, direction: Direction) {
        self.bits &= match direction {
            Direction::Read => !(READ | READ_ASKED | READ_FORCED),
            Direction::Write => !(WRITE | WRITE_FORCED),
        };
    }

    /// Drops what was to be told of a descriptor that is given away. How a connect failed stays.
    pub(crate) fn forget_connection(&mut self) {
        self.bits &= !CONNECTED;
        if let Some(events) = &mut self.events {
            events.retain(|event| !matches!(event, Event::Eof | Event::Error { direction: Some(_), .. }));
        }
        self.drop_queue_if_empty();
    }

    fn drop_queue_if_empty(&mut self) {
        if self.events.as_ref().is_none_or(|events| events.is_empty()) {
            self.events = None;
            self.bits &= !EVENTS_QUEUED;
        }
    }

    /// Takes the first error that is to be told.
    #[cold]
    pub(crate) fn take_cause(&mut self) -> Option<Cause> {
        let events = self.events.take()?;
        events.into_iter().find_map(|event| match event {
            Event::Error { cause, .. } => Some(cause),
            _ => None,
        })
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds what `later` holds.
    pub(crate) fn merge(&mut self, later: Self) {
        self.bits |= later.bits & !EVENTS_QUEUED;
        later.events.into_iter().flat_map(|events| *events).for_each(|event| self.event(event));
    }

    /// Takes the next callback that the buffers still justify (D2).
    ///
    /// * `readable(asked)` tells whether the input meets the low mark, where an empty one does only if `asked`;
    /// * `writable()` tells whether the output is down to the low mark.
    pub(crate) fn next(
        &mut self,
        readable: impl Fn(bool) -> bool,
        writable: impl Fn() -> bool,
    ) -> Option<Callback> {
        if self.bits & (CONNECTED | DRAIN) != 0 {
            return Some(self.next_once());
        }
        let read = self.take(READ | READ_ASKED | READ_FORCED);
        if read & READ_FORCED != 0 || read & READ != 0 && readable(read & READ_ASKED != 0) {
            return Some(Callback::Read);
        }
        let write = self.take(WRITE | WRITE_FORCED);
        if write & WRITE_FORCED != 0 || write & WRITE != 0 && writable() {
            return Some(Callback::Write);
        }
        if self.bits == 0 { None } else { self.next_event() }
    }

    /// Takes the read callback if nothing else is due, and input made it so.
    #[inline]
    pub(crate) fn take_read_alone(&mut self) -> bool {
        let alone = self.bits == READ;
        if alone {
            self.bits = 0;
        }
        alone
    }

    /// As [`Pending::next`], but the write callback stays due: one that writes and is due again would have the events wait
    /// for ever.
    #[cold]
    pub(crate) fn next_but_write(&mut self, readable: impl Fn(bool) -> bool) -> Option<Callback> {
        let write = self.take(WRITE | WRITE_FORCED);
        let next = self.next(readable, || false);
        self.bits |= write;
        next
    }

    /// Takes what is told ahead of everything else.
    #[cold]
    fn next_once(&mut self) -> Callback {
        if self.take(CONNECTED) != 0 {
            return Callback::Event(Event::Connected);
        }
        self.take(DRAIN);
        Callback::Drain
    }

    #[inline(never)]
    fn next_event(&mut self) -> Option<Callback> {
        let event = self.events.as_mut()?.pop_front();
        self.drop_queue_if_empty();
        event.map(Callback::Event)
    }

    fn take(&mut self, bits: u32) -> u32 {
        let taken = self.bits & bits;
        self.bits &= !bits;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(mut pending: Pending) -> Vec<String> {
        std::iter::from_fn(|| pending.next(|_| true, || true))
            .map(|callback| format!("{callback:?}"))
            .collect()
    }

    #[test]
    fn connected_drain_read_write_then_events_in_order_and_equal_ones_once() {
        // C-20, D1
        let mut pending = Pending::default();
        pending.event(Event::Eof);
        pending.write(Due::Io);
        pending.read(Due::Io);
        pending.event(Event::User(4));
        pending.event(Event::Eof);
        pending.drain();
        pending.connected();
        pending.read(Due::Io);
        pending.drain();
        assert_eq!(
            order(pending),
            ["Event(Connected)", "Drain", "Read", "Write", "Event(Eof)", "Event(User(4))"]
        );
    }

    #[test]
    fn a_callback_that_the_buffers_no_longer_justify_is_dropped() {
        // D2
        let mut pending = Pending::default();
        pending.read(Due::Io);
        pending.write(Due::Io);
        assert!(pending.next(|_| false, || false).is_none());
        assert!(pending.is_empty());
        pending.read(Due::Forced);
        assert!(matches!(pending.next(|_| false, || false), Some(Callback::Read)));
    }

    #[test]
    fn distinct_user_events_stay_bounded_and_keep_their_bits() {
        let mut pending = Pending::default();
        for bits in 1..=1_000 {
            pending.event(Event::User(bits));
        }
        assert_eq!(pending.len(), EVENTS);
        let all =
            pending.events.iter().flat_map(|events| events.iter()).fold(0, |all, event| all | event.bits());
        assert_eq!(all, 1023);
    }
}
