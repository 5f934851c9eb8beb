//! The end: gracefully, at once, or without waiting.

use bufferevent_evbuffer::{Evbuffer, transport::Transport};
use bufferevent_runtime::{Ready, Scratch};

use super::{Bufferevent, Phase, Socket, TimerRequest};
use crate::{
    defaults::{DRAIN_IDLE, LINGER, LINGER_BYTES},
    event::Closed,
    interest::Interest,
    options::Options,
    stream::Io,
};

impl Bufferevent {
    /// Closes gracefully: the output is written out, our side ended, and the peer's end awaited, each within bounds. No
    /// callback starts after this returns, but a last [`Event::Closed`](crate::Event::Closed) if it was asked for.
    ///
    /// # Libevent
    /// `bufferevent_free`. Differs: output that is not yet sent is sent.
    #[doc(alias = "bufferevent_free")]
    pub fn close(&mut self) {
        if self.is_closing() {
            return;
        }
        self.silence();
        match self.phase {
            Phase::Open => self.begin_drain(),
            Phase::Connecting if !self.output.is_empty() => self.depart(),
            _ => self.end(),
        }
    }

    /// Ends it now: what is in the buffers is lost. No callback starts after this returns, but a last [`Event::Closed`](crate::Event::Closed)
    /// if it was asked for.
    ///
    /// # Libevent
    /// `bufferevent_free`.
    pub fn abort(&mut self) {
        self.silence();
        self.end();
    }

    /// No callback of any kind is due any more.
    fn silence(&mut self) {
        if self.phase != Phase::Ended {
            self.pending.clear();
            self.later = None;
            self.told.owes_eof = false;
        }
    }

    /// Ends it. The buffers stay, for [`Bufferevent::outcome`] to tell of them, and go with their owner: what they hold
    /// may be the user's, and panic when it is dropped.
    pub(crate) fn end(&mut self) {
        if self.has_ended() {
            return;
        }
        self.phase = Phase::Ended;
        self.enabled = Interest::NONE;
        if self.options.contains(Options::CLOSE_ON_FREE) {
            self.socket = Socket::None;
        } else if let Some(fd) = self.release_fd() {
            self.socket = Socket::Idle(fd.into());
        }
        if self.told.report_close {
            self.pending.closed();
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
        Some(Closed { unsent: self.output.len(), unread, fd: self.release_fd() })
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
    pub(crate) fn depart(&mut self) {
        self.phase = Phase::Departing;
        self.enabled = Interest::WRITE;
        self.run.timer = TimerRequest::Set(DRAIN_IDLE);
    }

    pub(crate) fn begin_drain(&mut self) {
        self.phase = Phase::Draining;
        self.enabled = Interest::WRITE;
        self.run.progress = false;
        if !self.output.is_empty() {
            self.run.timer = TimerRequest::Set(DRAIN_IDLE);
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
        // A descriptor that stays open is handed back as it is, for others to go on with (C-03, D19).
        let ended = !self.options.contains(Options::CLOSE_ON_FREE)
            || self.told.eof
            || self.link().is_none_or(|link| link.shutdown_write().is_err());
        if ended {
            return self.end();
        }
        self.phase = Phase::Lingering;
        self.run.lingered = 0;
        self.run.timer = TimerRequest::Set(LINGER);
    }

    pub(crate) fn may_linger(&self) -> bool {
        self.phase == Phase::Lingering && self.ready.contains(Ready::READABLE)
    }

    /// Reads and drops, so that unread input does not make the system reset the connection under what we sent.
    pub(crate) fn step_linger(&mut self, scratch: &mut Scratch) -> bool {
        if self.run.reads == 0 || !self.may_linger() {
            return false;
        }
        self.run.reads -= 1;
        let Some(link) = self.link() else { return false };
        match link.receive(scratch.block()) {
            Io::Done(0) | Io::Failed(_) => self.end(),
            Io::Done(n) => {
                self.run.lingered += n;
                if self.run.lingered > LINGER_BYTES {
                    self.end();
                }
            }
            Io::WouldBlock => self.ready = self.ready - Ready::READABLE,
        }
        true
    }

    /// Closes what nobody will run any more, and so does now what can be done without waiting (D15): sends what the socket
    /// takes, ends our side, and reads and drops what is there, within the bounds of a close.
    pub(crate) fn close_without_waiting(&mut self) {
        if self.options.contains(Options::CLOSE_ON_FREE) && self.prepare().is_ok() {
            self.close();
            self.ready = Ready::READABLE | Ready::WRITABLE;
            let mut scratch = Scratch::default();
            loop {
                (self.run.reads, self.run.writes) = (1, 1);
                if !self.step_unusual(&mut scratch) {
                    break;
                }
            }
        }
        self.abort();
    }

    pub(crate) fn timer_fired(&mut self) {
        match self.phase {
            Phase::Draining if std::mem::take(&mut self.run.progress) => {
                self.run.timer = TimerRequest::Set(DRAIN_IDLE);
            }
            Phase::Departing | Phase::Draining | Phase::Lingering => self.end(),
            _ => {}
        }
    }
}
