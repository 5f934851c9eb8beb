//! The end: gracefully, at once, or without waiting.

use std::time::Duration;

use bufferevent_evbuffer::{End, Evbuffer, transport::Transport};
use bufferevent_runtime::{Permit, Ready, Scratch};

use super::{Bufferevent, Phase, Socket};
use crate::{
    bound::saturated,
    builder::Builder,
    clocks::Limit,
    defaults::{DRAIN_IDLE, LINGER, LINGER_BYTES},
    error::{Error, Result},
    event::{Cause, Closed, TimeLimit},
    interest::{Direction, Interest},
    options::Options,
    stream::{Io, Link},
    trace,
};

/// How a close goes, and what bounds it.
///
/// ```
/// use std::time::Duration;
/// use bufferevent::Closing;
///
/// let hasty = Closing { deadline: Some(Duration::from_secs(1)), ..Closing::default() };
/// assert_eq!(hasty.linger, Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// How long it waits for the peer to take any of the output that is left. Default 30 s. It does not run while a rate limit
    /// holds the output up, which goes out at that pace then: under a small one a deadline is the only end.
    pub drain: Duration,
    /// How long it waits for the peer to end its side after ours was ended; zero: not at all. Default 2 s. After the message by
    /// which a filter [tells that](crate::Ending::Exchanged), the end of what is below is awaited as long.
    pub linger: Duration,
    /// Bytes that it reads and drops meanwhile, less than 4 GiB. Default 256 KiB.
    pub linger_bytes: usize,
    /// How long all of it may take, `None`: only what the others bound. Default `None`.
    pub deadline: Option<Duration>,
    /// Whether more was to come, so that the peer must not take this for all: what was written is sent, the end is not told.
    /// Default false. Of no effect once our side was [shut down](Bufferevent::shutdown).
    ///
    /// * A TCP connection is reset, once the linger is over or the peer ends its side: what it has not taken from the system by
    ///   then is lost. One that had ended its side before has the whole linger. A Unix socket knows no reset: it is closed, which its peer takes for an end.
    /// * The other half of a pair is told an error behind all that was written.
    /// * Filters give what they keep, by [`FlushMode::Flush`](crate::FlushMode::Flush), and are not told that it is the end:
    ///   TLS sends no notice, its sessions stay good. Where that is [how they tell it](crate::Ending::Told), the peer learns of the
    ///   cut by what it misses: then what is below ends in order, and at once. A peer that takes such an end for one like any other
    ///   has the half for the whole.
    pub cut_short: bool,
}

impl Closing {
    /// All that was written is sent, but more was to come: see [`cut_short`](Closing::cut_short).
    pub const CUT_SHORT: Self = Self { cut_short: true, ..Self::DEFAULT };

    const DEFAULT: Self = Self {
        drain: DRAIN_IDLE,
        linger: LINGER,
        linger_bytes: LINGER_BYTES,
        deadline: None,
        cut_short: false,
    };
}

impl Default for Closing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Bufferevent {
    /// Closes gracefully: the output is written out, our side ended, and the peer's end awaited, each within bounds. No
    /// callback starts after this returns, but a last [`Event::Closed`](crate::Event::Closed) if it was asked for.
    ///
    /// Half of a pair takes nothing any more from now on: the other's writes are [`Error::Unlinked`]. That is told
    /// [`Event::Eof`](crate::Event::Eof) behind all that was written, or an error if not all could be sent.
    /// # Libevent
    /// `bufferevent_free`. Differs: output that is not yet sent is sent.
    #[doc(alias = "bufferevent_free")]
    pub fn close(&mut self) {
        self.close_with(Closing::default());
    }

    /// [`Bufferevent::close`] within other bounds. Nothing if it closes already.
    pub fn close_with(&mut self, bounds: Closing) {
        if self.is_closing() {
            return;
        }
        self.silence();
        let cut_short = bounds.cut_short && !self.shut.asked.contains(Interest::WRITE);
        let bounds = Closing { cut_short, ..bounds };
        self.told.cut_short = cut_short;
        if bounds != Closing::default() {
            let clocks = self.clocks();
            clocks.set(Limit::Drain, Some(bounds.drain));
            clocks.set(Limit::Linger, Some(bounds.linger));
            clocks.set(Limit::Close, bounds.deadline);
        }
        self.run.linger_bytes = saturated(bounds.linger_bytes);
        match self.phase {
            _ if self.is_layered() => self.begin_to_sink(bounds),
            Phase::Open => self.begin_drain(),
            Phase::Connecting if !self.output.is_empty() => self.depart(),
            _ => self.end(),
        }
    }

    /// Behind `last`, which may pass the cap of the output: nothing follows it. False: it has ended its side already, and takes nothing.
    pub(crate) fn close_after(&mut self, last: Evbuffer, bounds: Closing) -> bool {
        let closes = !self.is_closing();
        let takes = closes && !self.shut.asked.contains(Interest::WRITE);
        if closes {
            self.close_behind(last, bounds);
        }
        takes
    }

    /// The same, with bytes that were accepted before: if it closes already, and they cannot be sent any more, they are told as
    /// unsent.
    pub(crate) fn close_behind(&mut self, mut last: Evbuffer, bounds: Closing) {
        if !self.shut.asked.contains(Interest::WRITE) {
            let (cap, all) = (self.output.limit(), last.len());
            self.output.set_limit(None);
            let moved = last.pass_on(&mut self.output, all);
            debug_assert!(moved.is_ok(), "its limit is off");
            self.output.set_limit(cap);
        }
        self.close_with(bounds);
    }

    /// Ends it now: what is in the buffers is lost, and a TCP connection reset if anything is. No callback starts after this
    /// returns, but a last [`Event::Closed`](crate::Event::Closed) if it was asked for.
    ///
    /// # Libevent
    /// `bufferevent_free`.
    pub fn abort(&mut self) {
        self.told.cut_short |=
            self.has_more_to_come() && !self.is_closing() && !self.shut.asked.contains(Interest::WRITE);
        self.silence();
        self.end();
    }

    /// Whether what ends it unasked cuts it short: only its peers tell the end, or its handler goes on in a drain.
    fn has_more_to_come(&self) -> bool {
        self.relays || self.told.drain && !self.pending.owes_drain()
    }

    /// No callback of any kind is due any more. An error that was to be told is told with the end.
    pub(crate) fn silence(&mut self) {
        if !self.is_closing() {
            self.failure = self.pending.take_cause().map(Box::new);
        }
        if self.phase != Phase::Ended {
            self.pending.clear();
            self.later = None;
            self.told.owes_eof = false;
        }
    }

    /// Ends one direction for good; the other goes on.
    ///
    /// * `Write`: once the output is out, the peer is told that no more comes. Nothing can be written from now on.
    /// * `Read`: nothing is read any more, and the system is told so. What is in the input stays.
    ///
    /// While a connect is under way it takes effect when the connection stands. A second time it is nothing.
    /// # Errors
    /// [`Error::Closed`] after `close`; [`Error::NotConnected`] without a descriptor.
    pub fn shutdown(&mut self, direction: Direction) -> Result<()> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        let bottom = self.bottom();
        if bottom.connector.is_none() && matches!(bottom.socket, Socket::None) {
            return Err(Error::NotConnected);
        }
        let interest = Interest::from(direction);
        if self.shut.asked.contains(interest) {
            return Ok(());
        }
        self.shut.asked = self.shut.asked | interest;
        self.unusual();
        match direction {
            Direction::Write => self.output.freeze(End::Back),
            Direction::Read => {
                self.disable(Interest::READ);
                self.told.owes_eof = false;
            }
        }
        Ok(())
    }

    /// Whether the system was told, by a shutdown, that nothing follows what was written.
    pub(crate) fn has_told_end(&self) -> bool {
        self.bottom().shut.done.contains(Interest::WRITE)
    }

    /// Whether a direction was shut down and the system is to be told so now.
    #[inline]
    pub(crate) fn may_shut_down(&self) -> bool {
        self.shut.asked != self.shut.done && self.phase == Phase::Open && self.shut_next().is_some()
    }

    fn shut_next(&self) -> Option<Direction> {
        let due = self.shut.asked.difference(self.shut.done);
        if due.contains(Interest::READ) {
            Some(Direction::Read)
        } else if due.contains(Interest::WRITE) && (self.output.is_empty() || self.is_layered()) {
            Some(Direction::Write)
        } else {
            None
        }
    }

    #[cold]
    pub(crate) fn step_shutdown(&mut self) -> bool {
        let Some(direction) = self.shut_next() else { return false };
        if self.is_layered() {
            return self.shut_below(direction);
        }
        if let Some(end) = self.pair_end() {
            end.shut_down(direction);
            self.shut.done = self.shut.done | direction.into();
            return true;
        }
        let Some(link) = self.link() else { return false };
        // An error means that the peer is gone: reading and writing tell.
        let _ = link.shutdown(direction);
        self.shut.done = self.shut.done | direction.into();
        true
    }

    /// Ends it. The buffers stay, for [`Bufferevent::outcome`] to tell of them, and go with their owner: what they hold
    /// may be the user's, and panic when it is dropped.
    pub(crate) fn end(&mut self) {
        if self.has_ended() {
            return;
        }
        if self.is_closing() && !self.told.clean {
            self.cut_mate_short();
        }
        self.enter(Phase::Ended);
        self.enabled = Interest::NONE;
        let leaves_out = self.leaves_out();
        if let Some(connector) = self.connector.take().filter(|_| leaves_out) {
            connector.reset_on_close();
        }
        if let Some(mut throttle) = self.take_limits() {
            throttle.leave(self.time());
        }
        if self.is_layered() {
            self.end_below();
        } else if self.options.contains(Options::CLOSE_ON_FREE) {
            if leaves_out {
                self.reset();
            }
            self.socket = Socket::None;
            self.permit = Permit::default();
        } else if let Some(fd) = self.release_fd() {
            self.socket = Socket::Idle(fd.into());
        }
        if self.told.report_close {
            self.pending.closed();
        }
        if !self.is_lower() {
            trace::ended(self, self.is_clean());
        }
        // What is left in the mailbox of a THREADSAFE one is not sent either.
        if !self.options.contains(Options::THREADSAFE) {
            self.count_end();
        }
    }

    /// A closing one ends, since this went wrong.
    #[cold]
    pub(crate) fn end_by(&mut self, cause: Cause) {
        self.note_failure(cause);
        self.end();
    }

    /// Something went wrong while it closes: nothing more of the output is sent. What a filter has given is.
    #[cold]
    pub(crate) fn close_failed(&mut self, cause: Cause) {
        // What has come may be the peer's end, after which nothing that a filter says last is missed.
        let reads_on = self.is_lower()
            && self.phase == Phase::Draining
            && !self.told.cut_short
            && self.link().is_some()
            && matches!(cause, Cause::Io(_));
        self.note_failure(cause);
        if self.give_up_output() {
            return;
        }
        match reads_on {
            true if self.told.eof => self.end_clean(),
            true => self.enter(Phase::Lingering),
            false => self.end(),
        }
    }

    pub(crate) fn note_failure(&mut self, cause: Cause) {
        if !self.has_ended() {
            self.failure.get_or_insert_with(|| Box::new(cause));
        }
    }

    /// What went wrong first while it closed, or else below.
    fn take_failure(&mut self) -> Option<Cause> {
        let own = self.failure.take().map(|cause| *cause);
        let first = own.or_else(|| self.closing_layer_mut()?.lower.take_failure());
        // Of a cut the peer was given time, and told nothing.
        first.filter(|cause| !(self.told.cut_short && matches!(cause, Cause::TimeLimit(TimeLimit::Linger))))
    }

    /// For the report of a drain, once.
    pub(crate) fn count_end(&mut self) {
        let counted = std::mem::replace(&mut self.told.counted, true);
        let Some(home) = self.home.as_ref().filter(|_| !counted) else { return };
        let counters = home.base.counters();
        counters.ended.add(1);
        counters.ended_clean.add(self.is_clean().into());
        counters.unsent.add(self.unsent() as u64);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.has_ended_in_order() && self.unsent() == 0
    }

    /// Whether the peer's end was seen, and all that came before.
    pub(crate) fn has_ended_in_order(&self) -> bool {
        self.told.clean && !self.is_cut_short()
    }

    /// Ends it with all sent and the peer's end seen.
    fn end_clean(&mut self) {
        self.told.clean = !self.told.cut_short;
        self.end();
    }

    /// Whether more was to be sent than was.
    pub(crate) fn leaves_out(&self) -> bool {
        self.told.cut_short || !self.output.is_empty()
    }

    /// Has the peer read an error, where there is one to be read: not the end.
    fn reset(&self) {
        if let Some(link) = self.link() {
            link.reset_on_close();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What is left of one that has ended; `None` if that has been told.
    pub(crate) fn outcome(&mut self) -> Option<Closed> {
        if std::mem::replace(&mut self.told.outcome, true) {
            return None;
        }
        // Its observers stay, and go with their owner.
        let mut unread = Evbuffer::new();
        let all = self.input.len();
        let moved = self.input.pass_on(&mut unread, all);
        debug_assert!(moved.is_ok(), "a new buffer has no limit");
        let (clean, unsent, unfiltered) = (self.is_clean(), self.unsent(), self.unfiltered());
        let cause = self.take_failure().filter(|_| !clean);
        let underlying = self.release_lower().map(|lower| Box::new(Builder::of_lower(lower)));
        Some(Closed { clean, cause, unsent, unread, unfiltered, fd: self.release_fd(), underlying })
    }

    /// Whether `close` or `abort` was called.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Departing | Phase::Draining | Phase::Lingering | Phase::Ended)
    }

    /// Whether it connects or is connected.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Connecting)
    }

    /// Whether a connection stands.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Open
    }

    /// The options it was made with.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Closes a bufferevent whose connect is under way: nothing more is told, and what was written is still sent.
    fn depart(&mut self) {
        self.enter(Phase::Departing);
        self.enabled = Interest::WRITE;
    }

    pub(crate) fn begin_drain(&mut self) {
        self.enter(Phase::Draining);
        self.enabled = Interest::WRITE;
        if self.pair_end().is_some() {
            self.refuse_mate();
            // Nobody calls one whose other half is gone.
            self.ready |= Ready::WRITABLE;
        }
    }

    pub(crate) fn step_drain(&mut self) -> bool {
        if !self.output.is_empty() {
            return self.step_write();
        }
        self.half_close();
        true
    }

    /// The output is out: ends our side, and the whole if the peer's is ended too.
    fn half_close(&mut self) {
        if let Some(end) = self.pair_end() {
            // The other half takes what was put when it likes.
            if !self.told.cut_short {
                end.shut_down(Direction::Write);
            }
            return self.end_clean();
        }
        // A descriptor that stays open is handed back as it is, for others to go on with (C-03, D19).
        if !self.options.contains(Options::CLOSE_ON_FREE) {
            return self.end_clean();
        }
        if self.told.cut_short {
            // What a reset finds in the system is lost: the peer is given time to take it.
            match self.moved(Direction::Write) > 0 && self.link().is_some_and(Link::knows_resets) {
                true => self.enter(Phase::Lingering),
                false => self.end(),
            }
            return;
        }
        if self.told.eof {
            return self.end_clean();
        }
        match self.link().map(|link| link.shutdown(Direction::Write)) {
            Some(Ok(())) => self.enter(Phase::Lingering),
            Some(Err(error)) => self.end_by(error.into()),
            None => self.end(),
        }
    }

    pub(crate) fn may_linger(&self) -> bool {
        self.phase == Phase::Lingering && self.ready.contains(Ready::READABLE) && !self.told.eof
    }

    /// Reads and drops, so that unread input does not make the system reset the connection under what we sent.
    pub(crate) fn step_linger(&mut self, scratch: &mut Scratch) -> bool {
        if self.run.reads == 0 || !self.may_linger() {
            return false;
        }
        self.run.reads -= 1;
        let Some(link) = self.link() else { return false };
        let received = link.receive(scratch.block());
        if let (Io::Done(n), Some(throttle)) = (&received, &mut self.throttle) {
            throttle.count(Direction::Read, *n as u64);
        }
        match received {
            Io::Done(0) => self.end_clean(),
            Io::Failed(error) => self.end_by(error.into()),
            Io::Done(n) => match self.run.linger_bytes.checked_sub(saturated(n)) {
                Some(left) => self.run.linger_bytes = left,
                None => self.end(),
            },
            Io::WouldBlock => self.ready = self.ready - Ready::READABLE,
        }
        true
    }

    /// Closes what nobody will run any more, and so does now what can be done without waiting (D15): sends what the socket
    /// takes, ends our side, and reads and drops what is there, within the bounds of a close.
    pub(crate) fn close_without_waiting(&mut self) {
        self.close_at_once(self.has_more_to_come());
    }

    /// The same, which may be [cut short](Closing::cut_short).
    pub(crate) fn close_at_once(&mut self, cut_short: bool) {
        if self.is_layered() {
            return self.close_stack_at_once(cut_short);
        }
        // Of several sockets none is the connection yet.
        self.connector = None;
        // Its limits would have to be waited for: they are owed what goes in spite of them.
        let (throttle, before) = (self.take_limits(), self.moved(Direction::Write));
        let closes = self.options.contains(Options::CLOSE_ON_FREE) || self.pair_end().is_some();
        if closes && self.prepare().is_ok() {
            self.close_with(Closing { cut_short, ..Closing::default() });
            self.ready = Ready::READABLE | Ready::WRITABLE;
            let mut scratch = Scratch::default();
            loop {
                // Nobody would wait for room in the queue of a pair; to a socket this is nothing.
                self.overfill_pair();
                (self.run.reads, self.run.writes) = (1, 1);
                if !self.step_unusual(&mut scratch) {
                    break;
                }
            }
        }
        self.call_mate_by_message();
        if let (Some(mut throttle), Some(home)) = (throttle, &self.home) {
            let now = home.base.now();
            throttle.settle(Direction::Write, 0, self.moved(Direction::Write) - before, now);
            throttle.leave(now);
        }
        self.abort();
    }
}
