//! One direction of a filter: whether calling it would bring anything, and in which mode. Pure.
//!
//! * S1 A call that brought nothing is not made again until the source, the room or the mode is another, or the other
//!   direction has got on: nothing spins.
//! * S2 After [`Side::end`] the filter is called with [`FlushMode::Finished`], and after [`Side::cut`] with
//!   [`FlushMode::Flush`], once nothing is left to do otherwise, and again only while it says that there is more: then the
//!   side is done, for good.
//! * S3 It is asked to finish at most [`FINISH_CALLS`] times.
//! * S4 After [`Side::hurry`] it gives at most [`FINISH_BYTES`] without taking any of what is there.

use std::{fmt, num::NonZeroU32};

use super::{FilterStatus, FlushMode};
use crate::{
    bound::saturated,
    defaults::{FINISH_BYTES, FINISH_CALLS},
};

/// What there is to be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Supply {
    /// Bytes in the source.
    pub(super) len: usize,
    /// Bytes that were ever put there: it tells more from the same.
    pub(super) offered: u64,
}

/// What a call came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Bytes that were lent.
    pub(super) lent: usize,
    pub(super) consumed: usize,
    pub(super) produced: usize,
    /// Bytes that it was to give at most.
    pub(super) limit: usize,
    /// Bytes there was room for, whatever the rate limits.
    pub(super) room: usize,
    pub(super) status: FilterStatus,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Side {
    rest: Rest,
    end: End,
    /// Calls to finish so far.
    finishing: u16,
    /// In a close: with how many bytes more it has given too many since it last took any of what is there.
    too_many: Option<NonZeroU32>,
    /// The filter has answered an error.
    failed: bool,
}

/// What the last call has left. Numbers of 4 GiB and more are all the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing is known to stand against another call, if there is something to take.
    #[default]
    Open,
    /// It has filled its limit, or says so: it may have more to give, also of what it has taken.
    Full,
    /// It needs more than these bytes, of which it was lent so many.
    NeedsMore { offered: u64, lent: u32 },
    /// It could do nothing with these bytes and this room.
    Stuck { offered: u64, room: u32 },
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Ahead,
    /// Nothing more will come. The filter is to be told so in this mode.
    Due(FlushMode),
    /// The filter has been told so, and has given the rest.
    Done,
}

/// The filter gives and gives.
#[derive(Debug)]
pub(super) struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the filter had more to give after {FINISH_CALLS} calls or {FINISH_BYTES} bytes")
    }
}

impl std::error::Error for Endless {}

impl Side {
    /// The filter has something to give though there may be nothing to take.
    pub(super) fn hold(&mut self) {
        self.rest = Rest::Full;
    }

    /// What it could not do before it may be able to now: the other direction has got on.
    pub(super) fn look_again(&mut self) {
        if let Rest::Stuck { .. } = self.rest {
            self.rest = Rest::Open;
        }
    }

    /// In which mode a call is due, if there is room for `room` bytes.
    #[inline(always)]
    pub(super) fn due(&self, supply: Supply, room: usize) -> Option<FlushMode> {
        match self.end {
            _ if room == 0 => None,
            End::Ahead => self.goes_on(supply, room).then_some(FlushMode::Normal),
            end => self.due_at_end(end, supply, room),
        }
    }

    #[cold]
    fn due_at_end(&self, end: End, supply: Supply, room: usize) -> Option<FlushMode> {
        let End::Due(mode) = end else { return None };
        // What it has when all was taken is the rest. Who has begun to finish does nothing else any more.
        let goes_on = self.finishing == 0 && supply.len > 0 && self.goes_on(supply, room);
        Some(if goes_on { FlushMode::Normal } else { mode })
    }

    /// Whether another call may bring something, of what is there.
    #[inline(always)]
    pub(super) fn goes_on(&self, supply: Supply, room: usize) -> bool {
        if let Rest::Open = self.rest { supply.len > 0 } else { self.goes_on_with_rest(supply, room) }
    }

    #[cold]
    fn goes_on_with_rest(&self, supply: Supply, room: usize) -> bool {
        let (offered, more) = match self.rest {
            Rest::Open => return supply.len > 0,
            Rest::Full => return true,
            Rest::NeedsMore { offered, lent } => (offered, saturated(supply.len) > lent),
            Rest::Stuck { offered, room: before } => (offered, saturated(room) > before),
        };
        supply.len > 0 && (supply.offered != offered || more)
    }

    /// Bytes to lend, if `usual` is what is moved at a time: more than were not enough.
    pub(super) fn window(&self, usual: usize) -> usize {
        match self.rest {
            Rest::NeedsMore { lent, .. } => usual.max(lent as usize * 2),
            _ => usual,
        }
    }

    /// The filter was called; `supply` is what is left.
    pub(super) fn called(
        &mut self,
        mode: FlushMode,
        outcome: Outcome,
        supply: Supply,
    ) -> Result<(), Endless> {
        let Outcome { lent, consumed, produced, limit, room, status } = outcome;
        let needs_more = status == FilterStatus::NeedMore;
        if status == FilterStatus::End {
            self.end = End::Done;
            return Ok(());
        }
        let idle = consumed == 0 && produced == 0;
        let full = !needs_more && produced >= limit;
        self.rest = if needs_more {
            Rest::NeedsMore { offered: supply.offered, lent: saturated(lent - consumed) }
        } else if full {
            Rest::Full
        } else if idle && supply.len > 0 {
            Rest::Stuck { offered: supply.offered, room: saturated(room) }
        } else {
            Rest::Open
        };
        if let Some(left) = self.too_many {
            let idles = consumed == 0 && lent > 0;
            let left = if idles { left.get().saturating_sub(saturated(produced)) } else { TOO_MANY };
            self.too_many = NonZeroU32::new(left);
            if self.too_many.is_none() {
                self.end = End::Done;
                return Err(Endless);
            }
        }
        if mode == FlushMode::Normal || self.end != End::Due(mode) {
            return Ok(());
        }
        self.finishing += 1;
        let goes_on = full || !needs_more && !idle && supply.len > 0;
        if !goes_on {
            self.end = End::Done;
        } else if u32::from(self.finishing) >= FINISH_CALLS {
            self.end = End::Done;
            return Err(Endless);
        }
        Ok(())
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.end_in(FlushMode::Finished);
    }

    /// Nothing more will come, though more was to: the filter gives what it keeps, and is not told that it is the end.
    pub(super) fn cut(&mut self) {
        self.end_in(FlushMode::Flush);
    }

    fn end_in(&mut self, mode: FlushMode) {
        if self.end == End::Ahead {
            self.end = End::Due(mode);
        }
    }

    /// What is there is all that is to be taken before the end.
    pub(super) fn hurry(&mut self) {
        self.too_many = self.too_many.or(NonZeroU32::new(TOO_MANY));
    }

    pub(super) fn is_ending(&self) -> bool {
        self.end != End::Ahead
    }

    /// Whether there is no end of it, of whatever kind.
    pub(super) fn is_usual(&self) -> bool {
        self.end == End::Ahead && !self.failed
    }

    /// Whether it may have something to give though there is nothing to take.
    pub(super) fn gives_unasked(&self) -> bool {
        self.rest == Rest::Full
    }

    pub(super) fn is_done(&self) -> bool {
        self.end == End::Done
    }

    /// The filter has answered an error.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// It is to be called again in spite of its error.
    pub(super) fn try_again(&mut self) {
        self.failed = false;
    }

    /// It is not called any more, whatever there is.
    pub(super) fn give_up(&mut self) {
        self.end = End::Done;
    }

    /// Whether nothing more comes of what is there.
    pub(super) fn has_ended(&self) -> bool {
        self.is_done() || self.failed
    }

    /// There is another connection: what comes of it is new.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }
}

/// The first number of bytes that is more than [`FINISH_BYTES`].
const TOO_MANY: u32 = FINISH_BYTES as u32 + 1;

#[cfg(test)]
mod tests {
    use FilterStatus::{NeedMore, Ok as Fine};
    use FlushMode::{Finished, Flush, Normal};

    use super::*;

    fn supply(len: usize, offered: u64) -> Supply {
        Supply { len, offered }
    }

    fn outcome(consumed: usize, produced: usize, status: FilterStatus) -> Outcome {
        Outcome { lent: 10, consumed, produced, limit: 100, room: 100, status }
    }

    #[test]
    fn what_brought_nothing_is_tried_again_with_more_or_with_more_room() {
        // F-02, F-03, F-04
        let mut side = Side::default();
        assert_eq!(side.due(supply(0, 0), 100), None);
        assert_eq!(side.due(supply(10, 10), 100), Some(Normal));
        assert_eq!(side.due(supply(10, 10), 0), None);
        side.called(Normal, outcome(0, 0, Fine), supply(10, 10)).unwrap();
        assert_eq!(side.due(supply(10, 10), 100), None);
        assert_eq!(side.due(supply(10, 10), 101), Some(Normal));
        assert_eq!(side.due(supply(11, 11), 100), Some(Normal));
        side.called(Normal, outcome(0, 0, NeedMore), supply(10, 10)).unwrap();
        assert_eq!(side.due(supply(10, 10), 1_000), None, "room is not what it needs");
        assert_eq!(side.due(supply(11, 11), 100), Some(Normal));
    }

    #[test]
    fn what_was_not_enough_is_lent_together_with_more() {
        let mut side = Side::default();
        side.called(Normal, outcome(0, 0, NeedMore), supply(30, 30)).unwrap();
        assert_eq!(side.due(supply(30, 30), 100), Some(Normal), "only ten of the thirty were lent");
        assert_eq!((side.window(10), side.window(64)), (20, 64));
    }

    #[test]
    fn who_has_filled_the_limit_is_asked_again_though_nothing_is_left() {
        let mut side = Side::default();
        side.called(Normal, outcome(10, 100, Fine), supply(0, 10)).unwrap();
        assert_eq!(side.due(supply(0, 10), 5), Some(Normal));
        side.called(Normal, outcome(0, 0, Fine), supply(0, 10)).unwrap();
        assert_eq!(side.due(supply(0, 10), 5), None);
    }

    #[test]
    fn the_end_comes_after_all_that_is_left_and_once() {
        // F-09, X-71
        let mut side = Side::default();
        side.end();
        assert_eq!(side.due(supply(10, 10), 100), Some(Normal));
        side.called(Normal, outcome(4, 4, NeedMore), supply(6, 10)).unwrap();
        assert_eq!(side.due(supply(6, 10), 100), Some(Finished));
        side.called(Finished, outcome(6, 9, Fine), supply(0, 10)).unwrap();
        assert!(side.is_done());
        side.end();
        assert_eq!(side.due(supply(5, 15), 100), None);
    }

    #[test]
    fn a_cut_has_it_give_what_it_keeps_once_and_is_no_end() {
        let mut side = Side::default();
        side.cut();
        assert_eq!(side.due(supply(10, 10), 100), Some(Normal));
        side.called(Normal, outcome(4, 4, NeedMore), supply(6, 10)).unwrap();
        assert_eq!(side.due(supply(6, 10), 100), Some(Flush));
        side.end();
        assert_eq!(side.due(supply(6, 10), 100), Some(Flush), "who was cut short does not end");
        side.called(Flush, outcome(6, 9, Fine), supply(0, 10)).unwrap();
        assert!(side.is_done());
    }

    #[test]
    fn who_takes_nothing_gives_no_more_than_so_much_in_a_close() {
        let (give, mut side) = (FINISH_BYTES / 4, Side::default());
        let given = |consumed| Outcome { limit: give, ..outcome(consumed, give, Fine) };
        for _ in 0..10 {
            side.called(Normal, given(0), supply(10, 10)).unwrap();
        }
        side.hurry();
        for consumed in [0, 0, 0, 1, 0, 0, 0, 0] {
            side.called(Normal, given(consumed), supply(9, 10)).unwrap();
        }
        assert!(side.called(Normal, given(0), supply(9, 10)).is_err() && side.is_done());
    }

    #[test]
    fn who_never_finishes_is_asked_so_often_and_no_more() {
        let mut side = Side::default();
        side.end();
        for _ in 1..FINISH_CALLS {
            assert_eq!(side.due(supply(0, 0), 100), Some(Finished));
            side.called(Finished, outcome(0, 100, Fine), supply(0, 0)).unwrap();
        }
        assert!(side.called(Finished, outcome(0, 100, Fine), supply(0, 0)).is_err());
        assert!(side.is_done());
    }
}
