//! Reading: from a descriptor, out of a pair, through a filter.

use bufferevent_evbuffer::transport::Transport;
use bufferevent_ratelimit::LEASE_MIN;
use bufferevent_runtime::{BLOCK, Ready, Scratch, Selector as _};

use crate::{
    bound::Bound,
    bufferevent::{Bufferevent, Home, Phase, Socket},
    defaults::READS_PER_RUN,
    event::Event,
    interest::{Direction, Interest},
    pending::Due,
    stream::Io,
};

/// A shorter read is copied behind what the input holds already, so that small data does not hold large blocks.
const KEEP_BLOCK: usize = BLOCK / 4;

/// With so much of a lease a read is content: what there is to read is not known before.
const READ_LEAST: usize = LEASE_MIN as usize;

impl Bufferevent {
    /// Whether anything may be read now: not at the high mark and at the cap, and not while it waits for memory.
    #[inline]
    pub(crate) fn has_room_to_read(&self) -> bool {
        !self.input_bound().is_reached(self.input.len()) && !self.is_short_of_memory() && !self.told.withheld
    }

    /// Bytes that one read may take, whatever memory there is.
    #[inline]
    pub(crate) fn room_to_read(&self) -> usize {
        self.max_single(Direction::Read).min(self.input_bound().room(self.input.len()))
    }

    #[inline]
    fn input_bound(&self) -> Bound {
        self.read.high.tighter(self.input_cap)
    }

    pub(super) fn may_read(&self) -> bool {
        self.would_read() && !self.is_throttled(Direction::Read)
    }

    /// Whether it would read if its rate limits let it.
    pub(crate) fn would_read(&self) -> bool {
        self.may_go(Ready::READABLE) && self.phase == Phase::Open && self.has_room_to_read()
    }

    /// Reads, if there is anything to read, and room. `PLAIN`: the run [is plain](Bufferevent::is_plain).
    #[inline(always)]
    pub(crate) fn step_read<const PLAIN: bool>(&mut self, scratch: &mut Scratch) -> bool {
        if !self.may_go(Ready::READABLE) {
            return false;
        }
        // Also one that was held back before: it may have lost its place.
        let asks = self.memory.as_ref().is_some_and(|member| member.asks());
        let waits = asks && self.waits_for_memory();
        let budget = self.room_to_read();
        if waits || budget == 0 {
            return !waits && self.take_pushed() || self.tell_input_full();
        }
        self.told.input_full = false;
        if self.run.reads == 0 {
            return false;
        }
        self.run.reads -= 1;
        if self.run.reads < READS_PER_RUN - 1 {
            // What the callback has emptied is read into again, while it is warm.
            self.input.settle(&mut |block| scratch.give(block));
        }
        let granted = self.grant(Direction::Read, budget, usize::MAX, READ_LEAST);
        if granted == 0 {
            return false;
        }
        let Some(link) = self.link() else { return self.read_elsewhere::<PLAIN>(granted, scratch) };
        match link.receive(&mut scratch.block()[..granted]) {
            Io::Done(n @ 1..) => {
                self.charge(Direction::Read, granted, n);
                self.keep(scratch, n);
                self.after_read::<PLAIN>(n, granted);
            }
            nothing => self.read_nothing(granted, nothing),
        }
        true
    }

    #[inline(never)]
    fn read_nothing(&mut self, granted: usize, received: Io) {
        self.settle(Direction::Read, granted, 0);
        match received {
            Io::Done(_) => self.read_eof(),
            Io::WouldBlock => self.ready = self.ready - Ready::READABLE,
            Io::Failed(error) => self.fail(Direction::Read, error),
        }
    }

    /// Moves what was read from the worker's block to the input.
    ///
    /// Into an empty input the block itself goes; if little of it is used when the run ends, that is copied then.
    #[inline(always)]
    pub(crate) fn keep(&mut self, scratch: &mut Scratch, n: usize) {
        if n < KEEP_BLOCK && !self.input.is_empty() {
            let filled = self.input.fill(&scratch.block()[..n]);
            debug_assert!(filled.is_ok(), "the input has no limit of its own: its cap bounds each read");
        } else if let Err((error, block)) = self.input.append_block(scratch.take(), n) {
            debug_assert!(false, "the input has no limit of its own: {error}");
            scratch.give(block);
        }
    }

    #[inline(always)]
    pub(crate) fn after_read<const PLAIN: bool>(&mut self, n: usize, budget: usize) {
        self.run.progress = self.run.progress | Interest::READ;
        if n == budget {
            if budget < BLOCK && self.throttle.is_none() {
                self.run.reads = 0;
            }
        } else if self.is_drained_by_short_read::<PLAIN>() {
            self.ready = self.ready - Ready::READABLE;
        }
        self.input_has_grown();
    }

    #[inline]
    pub(crate) fn input_has_grown(&mut self) {
        if self.input.len() >= self.read_low() {
            self.pending.read(Due::Io);
        }
    }

    /// A short read drained the socket, unless the end or an error is behind it, which the selector may not tell.
    #[inline]
    fn is_drained_by_short_read<const PLAIN: bool>(&self) -> bool {
        let reports = |home: &Home| home.base.selector().reports_hangup();
        (PLAIN || self.home.as_ref().is_some_and(reports)) && !self.ready.contains(Ready::HANGUP)
    }

    /// Reads from what is no descriptor.
    #[inline(never)]
    fn read_elsewhere<const PLAIN: bool>(&mut self, granted: usize, scratch: &mut Scratch) -> bool {
        match self.socket {
            Socket::Filter(_) if PLAIN => self.pass_up(granted, scratch),
            Socket::Filter(_) => self.filter_input(granted),
            _ => self.take_from_pair(granted, granted),
        }
    }

    pub(crate) fn read_eof(&mut self) {
        self.enabled = self.enabled.difference(Interest::READ);
        self.told.eof = true;
        self.tell_pause();
    }

    /// The end was reached of what there is for now: more may come.
    pub(crate) fn tell_pause(&mut self) {
        self.told.owes_eof = true;
        self.unusual();
        self.tell_eof();
    }

    /// Tells the end, unless a read callback is still owed: input that the output had no room for is told again when that
    /// has drained, and the end after it.
    pub(super) fn tell_eof(&mut self) -> bool {
        self.note_full();
        let drains =
            !self.output.is_empty() && self.enabled.contains(Interest::WRITE) && !self.is_held_by_filter();
        if drains && self.told.output_full && !self.input.is_empty() {
            return false;
        }
        self.told.owes_eof = false;
        self.pending.event(Event::Eof);
        true
    }

    fn tell_input_full(&mut self) -> bool {
        let full = self.input_cap.is_reached(self.input.len());
        if !full || std::mem::replace(&mut self.told.input_full, true) {
            return false;
        }
        self.pending.event(Event::InputFull);
        true
    }
}
