//! Plain runs: one word tells that nothing is on that few have.
//!
//! Such a run reads until that is short, has the callback, writes, and is done. Its steps are those of any other, without the
//! tests whose answers are known then: the [engine](crate::engine) leaves them out where `PLAIN` is true. Of a filter over one
//! other bufferevent it is plain if both are.
//!
//! * U1 Whatever makes a bufferevent unusual says so where it does, by [`unusual`](Bufferevent::unusual). Where it ends nothing is
//!   said: the run that ends then, which is not plain, [looks](Bufferevent::look_whether_usual).
//! * U2 Before a run, and after each callback, the word is asked again. What a step itself makes unusual is told by a callback, or
//!   at the end of the run.

use bufferevent_runtime::{Ready, Scratch, Time};

use crate::{
    bufferevent::{Bufferevent, LIMITED, LOWER, Phase, UNUSUAL},
    filter::Layer,
    options::Options,
};

/// What comes next in a plain run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// The read callback, which is taken.
    Read,
    /// A callback, if the buffers still justify it.
    Callback,
    /// The end of the run.
    End,
}

impl Bufferevent {
    /// Whether the run that is going on is plain from here to the next callback.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        debug_assert!(self.run.rare & UNUSUAL != 0 || self.is_usual(), "U1: {self:?}");
        (self.run.rare & !LIMITED == 0 || self.is_plain_stack()) && self.is_unobserved()
    }

    /// Goes on with a plain run, as [`advance`](Bufferevent::advance) with others.
    #[inline(always)]
    pub(crate) fn advance_plain(&mut self, scratch: &mut Scratch) -> Next {
        while self.pending.is_empty() {
            if self.step_read::<true>(scratch) {
                // What was just read justifies it.
                if self.run.callbacks > 1 && self.pending.take_read_alone() {
                    self.run.callbacks -= 1;
                    return Next::Read;
                }
            } else if !self.step_send::<true>() {
                return Next::End;
            }
        }
        Next::Callback
    }

    /// Ends a plain run, if it leaves nothing to do: gives blocks back.
    #[inline(always)]
    pub(crate) fn ends_idle(&mut self, scratch: &mut Scratch) -> bool {
        self.give_back(scratch);
        // A budget may have ended it, a limit, or a full socket.
        let reads = self.may_go(Ready::READABLE);
        let writes = self.may_go(Ready::WRITABLE) && !self.output.is_empty();
        // Who is below another is asked by that.
        let rare = self.run.rare & !LOWER;
        let goes_on =
            reads || writes || self.has_memory_to_count() || rare != 0 && !self.stack_ends_idle(scratch);
        !goes_on
    }

    /// As [`next_alarm`](Bufferevent::next_alarm), after a plain run.
    #[inline(always)]
    pub(crate) fn next_plain_alarm(&mut self) -> Option<Time> {
        if self.timeouts.is_some() { self.next_alarm() } else { None }
    }

    /// Something is on, or may be, that few have.
    #[inline]
    pub(crate) fn unusual(&mut self) {
        self.run.rare |= UNUSUAL;
    }

    /// At the end of a run that was not plain: whether the next may be.
    #[inline]
    pub(crate) fn look_whether_usual(&mut self) {
        let unusual = if self.is_usual() { 0 } else { UNUSUAL };
        self.run.rare = self.run.rare & !UNUSUAL | unusual;
    }

    /// Nothing that is to be told or deferred, no end of any side; and a base where that is all there is. Countdowns and limits
    /// are looked at in plain runs too.
    pub(crate) fn is_usual(&self) -> bool {
        self.later.is_none()
            && !self.options.contains(Options::DEFER_CALLBACKS)
            && !self.told.owes_eof
            && !self.told.announce_writable
            && self.phase == Phase::Open
            && self.shut.asked == self.shut.done
            && self.home.as_ref().is_some_and(|home| home.is_plain)
            && self.layer().is_none_or(Layer::is_usual)
    }
}
