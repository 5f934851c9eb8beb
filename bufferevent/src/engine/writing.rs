//! Writing: to a descriptor, into a pair, through a filter.

use bufferevent_evbuffer::transport::Transport;
use bufferevent_runtime::Ready;

use crate::{
    bufferevent::{Bufferevent, Phase, Socket},
    event::Event,
    interest::{Direction, Interest},
    pending::Due,
    stream::{Io, is_shortage},
};

impl Bufferevent {
    pub(super) fn may_write(&self) -> bool {
        self.would_write() && !self.is_throttled(Direction::Write)
    }

    /// Whether it would write if its rate limits let it.
    pub(crate) fn would_write(&self) -> bool {
        self.may_go(Ready::WRITABLE)
            && self.wants_to_write::<false>()
            && matches!(self.phase, Phase::Open | Phase::Draining)
    }

    #[inline]
    fn wants_to_write<const PLAIN: bool>(&self) -> bool {
        !self.output.is_empty() || !PLAIN && self.told.announce_writable
    }

    /// Writes, if there is anything to write. `PLAIN` as above.
    #[inline(always)]
    pub(crate) fn step_send<const PLAIN: bool>(&mut self) -> bool {
        self.may_go(Ready::WRITABLE)
            && self.wants_to_write::<PLAIN>()
            && self.run.writes > 0
            && self.write_once::<PLAIN>()
    }

    #[inline(never)]
    pub(crate) fn step_write(&mut self) -> bool {
        self.run.writes > 0 && self.would_write() && self.write_once::<false>()
    }

    #[inline(always)]
    fn write_once<const PLAIN: bool>(&mut self) -> bool {
        self.run.writes -= 1;
        if !PLAIN && self.output.is_empty() {
            self.told.announce_writable = false;
            self.pending.write(Due::Io);
            return true;
        }
        self.note_full();
        let all = self.output.len();
        let once = all.min(self.max_single(Direction::Write));
        let most = self.grant(Direction::Write, once, all, once);
        if most == 0 {
            return false;
        }
        if !PLAIN && !self.output.is_plain() && !self.is_layered() && !self.load_ahead(most) {
            self.settle(Direction::Write, most, 0);
            return true;
        }
        self.send::<PLAIN>(most, most)
    }

    /// Sends at most `most` bytes, of which `granted` have been granted.
    #[inline(always)]
    pub(crate) fn send<const PLAIN: bool>(&mut self, granted: usize, most: usize) -> bool {
        let Some(link) = self.link() else { return self.write_elsewhere::<PLAIN>(granted, most) };
        let front = self.output.front();
        let (sent, attempted) = if front.len() >= most {
            (link.transmit_one(&front[..most]), most)
        } else {
            link.transmit(self.output.chunks(), most)
        };
        match sent {
            Io::Done(n) => {
                self.charge(Direction::Write, granted, n);
                self.after_write::<PLAIN>(n, attempted);
            }
            nothing => self.sent_nothing(granted, nothing),
        }
        true
    }

    #[inline(never)]
    fn sent_nothing(&mut self, granted: usize, sent: Io) {
        self.settle(Direction::Write, granted, 0);
        match sent {
            Io::Done(_) | Io::WouldBlock => self.ready = self.ready - Ready::WRITABLE,
            Io::Failed(error) if is_shortage(&error) => self.retry_later(),
            Io::Failed(error) => self.fail(Direction::Write, error),
        }
    }

    /// Writes to what is no descriptor.
    #[inline(never)]
    fn write_elsewhere<const PLAIN: bool>(&mut self, granted: usize, most: usize) -> bool {
        match self.socket {
            Socket::Filter(_) if PLAIN => self.pass_down(granted),
            Socket::Filter(_) => self.filter_output(granted),
            _ => self.put_into_pair(granted, most),
        }
    }

    /// Reads what the next write takes of a file; false if that failed.
    #[cold]
    pub(crate) fn load_ahead(&mut self, most: usize) -> bool {
        let loaded = self.output.load_ahead(most);
        loaded.map_err(|error| self.fail(Direction::Write, error)).is_ok()
    }

    /// Remembers that the output is at its high mark, or that what is left in the input would take it past its cap: then
    /// [`Event::Drained`] is due when it has drained.
    #[inline]
    pub(super) fn note_full(&mut self) {
        // Each of the ways to be full takes as much.
        let bound = self.write.high.tighter(self.output.limit().into());
        if bound.is_reached(self.input.len().saturating_add(self.output.len())) {
            self.look_whether_full();
        }
    }

    fn look_whether_full(&mut self) {
        let (input, output) = (self.input.len(), self.output.len());
        let cap = self.output.limit().unwrap_or(usize::MAX);
        let held = output - self.output.unloaded();
        if self.write.high.is_reached(output) || held >= cap || input > 0 && held.saturating_add(input) > cap
        {
            self.told.output_full |= output > 0;
        }
    }

    #[inline(always)]
    fn after_write<const PLAIN: bool>(&mut self, n: usize, attempted: usize) {
        self.output.consume(n);
        if n < attempted {
            self.ready = self.ready - Ready::WRITABLE;
        }
        self.has_sent::<PLAIN>(n);
    }

    /// So many bytes have left the output.
    #[inline(always)]
    pub(crate) fn has_sent<const PLAIN: bool>(&mut self, n: usize) {
        self.run.progress = self.run.progress | Interest::WRITE;
        if !PLAIN && self.is_closing() || n == 0 || self.output.len() > self.write.low {
            return;
        }
        if !PLAIN {
            self.told.announce_writable = false;
        }
        self.output_is_low();
    }

    /// Makes due what is told when the output is down to its low mark.
    #[inline]
    pub(crate) fn output_is_low(&mut self) {
        if self.hears_write {
            self.pending.write(Due::Io);
        }
        if std::mem::take(&mut self.told.output_full) {
            self.tell_drained();
        }
    }

    /// Tells those who were told that there is no room that there is.
    #[cold]
    pub(crate) fn tell_drained(&mut self) {
        self.pending.event(Event::Drained);
        // Input that was left because the output had no room would wait for new input otherwise.
        if !self.input.is_empty() && (self.enabled.contains(Interest::READ) || self.told.owes_eof) {
            self.pending.read(Due::Io);
        }
    }
}
