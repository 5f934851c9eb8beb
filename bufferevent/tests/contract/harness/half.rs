//! A peer that is the other half of a pair.

use std::{io, sync::Arc, time::Duration};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Builder, Closing, Context, Direction, Error, Event, Handler, Id,
    Interest, Movable, Stall, Turned,
    runtime::{Clock, SelectorKind},
};
use bufferevent_sync::atomic::{AtomicBool, Ordering};

use super::End;

/// The other half, on a base of its own that turns when its peer is called, or a world turns. So it does what a socket
/// does by itself: it sends what it has taken, and what is sent to it waits in the queue of the pair.
pub(super) struct Half {
    base: Base<Movable>,
    id: Id,
    ends: Ends,
    /// The other half was there.
    met: bool,
}

/// Of a larger write this much is taken, as a socket takes what it has room for.
const MOST: usize = 64 * 1024;

/// Takes down that the other side has ended, or was cut short.
#[derive(Clone, Default)]
struct Ends {
    ended: Arc<AtomicBool>,
    cut_short: Arc<AtomicBool>,
}

impl Handler for Ends {
    fn on_event(&mut self, _: &mut Context<'_>, event: Event) {
        // ORDER: Relaxed; one thread.
        match event {
            Event::Eof => self.ended.store(true, Ordering::Relaxed),
            Event::Error { direction: Some(Direction::Read), .. } => {
                self.cut_short.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Half {
    pub(super) fn start(half: Builder) -> Self {
        let mut base = Base::with_selector(SelectorKind::Best.make().unwrap(), Clock::monotonic()).unwrap();
        let ends = Ends::default();
        let id = half.enable(Interest::WRITE).handler(ends.clone()).start(&mut base).unwrap();
        let mut half = Self { base, id, ends, met: false };
        half.turn();
        half
    }

    /// What there is to read, up to that many bytes.
    fn look(&mut self, most: usize) -> Seen {
        // First: who is gone puts nothing after that.
        let is_unlinked = self.is_unlinked();
        if self.fill(most) > 0 {
            return Seen::Bytes;
        }
        // ORDER: Relaxed; one thread.
        match (self.ends.ended.load(Ordering::Relaxed), self.ends.cut_short.load(Ordering::Relaxed)) {
            (true, _) => Seen::End,
            (false, true) => Seen::Cut,
            (false, false) if is_unlinked => Seen::Unlinked,
            (false, false) => Seen::Nothing,
        }
    }

    fn with<R>(&mut self, f: impl FnOnce(&mut Bufferevent) -> R) -> R {
        let answer = f(self.base.bufferevent(self.id).unwrap());
        self.turn();
        answer
    }

    /// Reads until there is nothing more, or that many bytes; answers how many there are.
    fn fill(&mut self, most: usize) -> usize {
        if self.with(|half| half.input().len()) < most {
            self.with(|half| {
                half.set_read_watermark(0, Some(most)).unwrap();
                half.enable(Interest::READ);
            });
            self.with(|half| half.disable(Interest::READ));
        }
        self.with(|half| half.input().len())
    }

    /// Whether the other side is gone.
    fn is_unlinked(&mut self) -> bool {
        let met = self.met;
        self.with(|half| {
            // It is told only of a direction that is on.
            half.enable(Interest::READ);
            let left = half.explain().read.stall == Some(Stall::Unlinked);
            half.disable(Interest::READ);
            half.partner().is_none() && (met || left)
        })
    }
}

impl End for Half {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.turn();
        if self.with(|half| !half.output().is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let from = &from[..from.len().min(MOST)];
        match self.with(|half| half.write(from)) {
            Ok(_) => Ok(from.len()),
            Err(Error::Unlinked) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => panic!("the other half does not write: {error}"),
        }
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.look(to.len()) {
            Seen::Bytes => Ok(self.with(|half| half.read(to)).unwrap()),
            Seen::End => Ok(0),
            Seen::Cut => Err(io::ErrorKind::ConnectionReset.into()),
            Seen::Unlinked => Err(io::ErrorKind::NotConnected.into()),
            Seen::Nothing => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn shutdown_write(&mut self) {
        self.with(|half| half.shutdown(Direction::Write)).unwrap();
    }

    /// Unlinks the other.
    fn reset(&mut self) {
        self.with(Bufferevent::abort);
    }

    fn is_readable(&mut self) -> bool {
        matches!(self.look(1), Seen::Bytes | Seen::End | Seen::Cut)
    }

    fn is_ended(&mut self) -> bool {
        matches!(self.look(1), Seen::End | Seen::Cut | Seen::Unlinked)
    }

    fn cut_short(&mut self) {
        self.with(|half| half.close_with(Closing::CUT_SHORT));
    }

    /// Turns until there is nothing more to do.
    fn turn(&mut self) {
        while self.base.turn(Some(Duration::ZERO)).unwrap() == Turned::Ran {}
        self.met |= self.base.bufferevent(self.id).is_ok_and(|half| half.partner().is_some());
    }
}

/// What there is to read.
enum Seen {
    Bytes,
    End,
    /// That more was to come.
    Cut,
    /// Nothing, and there will be nothing, not even an end.
    Unlinked,
    Nothing,
}
