//! Pushing on what waits, at once.

use bufferevent_evbuffer::transport::Transport;
use bufferevent_runtime::{Ready, Scratch};

use super::{Bufferevent, Phase};
use crate::{
    defaults::INPUT_CAP,
    error::{Error, Result},
    filter::FlushMode,
    interest::{Direction, Interest},
    stream::Io,
};

/// Whether a flush has moved anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// There was nothing, or nothing that could be moved.
    Nothing,
    /// Something moved.
    Produced,
}

impl Flushed {
    fn of(moved: bool) -> Self {
        if moved { Self::Produced } else { Self::Nothing }
    }
}

impl Bufferevent {
    /// Moves what can be moved now, in these directions, whatever the watermarks and rate limits say, but past no cap. To a
    /// rate limit that is a debt. A direction that is disabled stays as it is.
    ///
    /// * Of a socket: one write of the output, one read into the input. The mode makes no difference; what is written leaves
    ///   at the end of the run anyway, this is for callbacks that go on for long.
    /// * Of a filter, writing: gives the output to the filter in this mode, at least once unless that is
    ///   [`FlushMode::Normal`], then flushes what is below. Reading: flushes what is below, then gives the filter what has
    ///   arrived.
    ///
    /// * Of a pair, writing: puts the output where the other half takes it in its next run, past its high mark; with
    ///   [`FlushMode::Finished`] that is told [`Event::Eof`](crate::Event::Eof) then, behind all it has taken, and goes on; filters
    ///   above it are told that end, and begin anew. Reading: takes what the other half has put.
    ///
    /// What this makes due is told by the run, never inside the call; filters are called inside. It ends nothing, also with
    /// [`FlushMode::Finished`]: writes may follow, for which a filter begins anew. The end is
    /// [`shutdown`](Bufferevent::shutdown).
    /// # Errors
    /// [`Error::Closed`] if it is closing; [`Error::NotConnected`] if no connection stands; [`Error::Unlinked`] of half of a pair
    /// whose other half is gone.
    /// # Libevent
    /// `bufferevent_flush`. Differs: moves something on sockets too.
    ///
    /// # Examples
    /// ```
    /// use bufferevent::{Bufferevent, BaseExt, FlushMode, Flushed, Interest, testing::{ManualBase, Wire}};
    ///
    /// let (mut base, wire) = (ManualBase::new()?, Wire::new());
    /// let id = Bufferevent::scripted(&wire).start(&mut base)?;
    /// let connection = base.bufferevent(id)?;
    /// connection.write(b"now")?;
    /// assert_eq!(connection.flush(Interest::WRITE, FlushMode::Flush)?, Flushed::Produced);
    /// assert_eq!(wire.written(), b"now");
    /// # Ok::<(), bufferevent::Error>(())
    /// ```
    #[doc(alias = "bufferevent_flush")]
    pub fn flush(&mut self, directions: Interest, mode: FlushMode) -> Result<Flushed> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        if self.phase != Phase::Open {
            return Err(Error::NotConnected);
        }
        if self.is_unlinked() {
            return Err(Error::Unlinked);
        }
        Ok(Flushed::of(self.flush_open(directions, mode)))
    }

    /// [`flush`](Self::flush), of one below too; what half of a pair was sent is taken though the other is gone. True: something
    /// moved.
    pub(crate) fn flush_open(&mut self, directions: Interest, mode: FlushMode) -> bool {
        let flushes = |this: &Self, direction| {
            this.phase == Phase::Open && directions.contains(direction) && this.enabled.contains(direction)
        };
        let mut moved = false;
        if flushes(self, Interest::READ) {
            moved |= self.flush_input(mode);
        }
        if flushes(self, Interest::WRITE) && !self.is_unlinked() {
            moved |= self.flush_now(mode);
        }
        moved
    }

    /// Takes in what has come from the peer already, as much as the input may hold: of one that will read no more.
    pub(crate) fn take_in(&mut self) {
        if self.is_closing() || self.phase != Phase::Open {
            return;
        }
        self.enable(Interest::READ);
        let most = self.input.len().saturating_add(INPUT_CAP);
        while self.input.len() < most && self.flush_input(FlushMode::Normal) {}
    }

    fn flush_input(&mut self, mode: FlushMode) -> bool {
        if self.is_layered() {
            return self.flush_up(mode);
        }
        let room = self.input_cap.room(self.input.len());
        if self.pair_end().is_some() {
            let read = self.moved(Direction::Read);
            let _taken = room > 0 && !self.is_short_of_memory() && self.take_from_pair(0, room);
            return self.moved(Direction::Read) != read;
        }
        let (mut scratch, read) = (Scratch::default(), self.moved(Direction::Read));
        let most = room.min(scratch.block().len());
        let Some(link) = self.link().filter(|_| most > 0 && !self.is_short_of_memory()) else { return false };
        let received = link.receive(&mut scratch.block()[..most]);
        self.charge(Direction::Read, 0, received.bytes());
        match received {
            Io::Done(0) => self.read_eof(),
            Io::Done(n) => {
                self.keep(&mut scratch, n);
                self.after_read::<false>(n, most);
            }
            Io::WouldBlock => self.ready = self.ready - Ready::READABLE,
            Io::Failed(error) => self.fail(Direction::Read, error),
        }
        self.moved(Direction::Read) != read
    }

    fn flush_now(&mut self, mode: FlushMode) -> bool {
        if self.is_layered() {
            return self.flush_down(mode, mode);
        }
        let written = self.moved(Direction::Write);
        if self.pair_end().is_some() {
            let _loaded = self.output.is_plain() || self.load_ahead(usize::MAX);
            self.push_into_pair(mode == FlushMode::Finished);
        } else if !self.output.is_empty() && (self.output.is_plain() || self.load_ahead(usize::MAX)) {
            self.send::<false>(0, self.output.loaded_len());
        }
        self.moved(Direction::Write) != written
    }
}
