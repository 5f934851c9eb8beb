//! One end of a pair, as the bufferevent over it has it.

use std::{fmt, sync::Arc};

use bufferevent_evbuffer::{Evbuffer, transport::Transport};
use bufferevent_runtime::{BaseHandle, Conduit, End, Ended, Key, Put, Reasons, Strand};

use crate::{context::Id, handle::Handle, interest::Direction, shared::Stack};

/// What is under one half of a pair. Dropped, it unlinks the other.
pub(crate) struct PairEnd {
    conduit: Arc<Conduit<Evbuffer, Line>>,
    end: End,
}

/// How a half is reached.
#[derive(Clone)]
pub(crate) enum Line {
    /// Where it is confined, and as what.
    Confined(BaseHandle, Key),
    Strand(Arc<Strand<Stack>>),
}

/// The other half of a pair.
///
/// ```
/// use bufferevent::{Base, Bufferevent, NoHandler, Partner, Pinned};
///
/// let mut base = Base::<Pinned>::new()?;
/// let (one, other) = Bufferevent::pair();
/// let one = one.handler(NoHandler).threadsafe().start(&mut base)?;
/// let other = other.handler(NoHandler).start(&mut base)?;
/// base.turn(Some(std::time::Duration::ZERO))?;
/// let Some(Partner::Confined(partner)) = one.lock()?.partner() else { panic!("it is confined") };
/// assert_eq!(partner, other);
/// # Ok::<(), bufferevent::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Partner {
    /// It is confined to a base.
    Confined(Id),
    /// It is THREADSAFE.
    Shared(Handle),
}

/// How far one move came.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) bytes: usize,
    pub(crate) then: Then,
    /// The other half, if it waited for that and is to be called by message.
    pub(crate) call: Option<Line>,
}

/// What comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// There is more, or may be.
    More,
    /// Nothing, until it is called.
    Waits,
    /// The other half has ended its side, and all before that has been taken.
    End,
    /// The same, and it may put more.
    Pause,
    /// All has been taken that the other half could send: it is gone, and had more.
    CutShort,
    /// The other half is gone, or takes nothing any more; or this one has ended its side.
    Unlinked,
}

impl PairEnd {
    /// The two ends.
    pub(crate) fn both() -> (Self, Self) {
        let queue = || {
            let mut queue = Evbuffer::new();
            queue.set_settled();
            queue
        };
        let conduit = Arc::new(Conduit::new(queue));
        let end = |conduit, end| Self { conduit, end };
        (end(Arc::clone(&conduit), End::First), end(conduit, End::Second))
    }

    pub(crate) fn attach(&self, line: &Line) {
        self.conduit.attach(self.end, line);
    }

    /// Takes up to `most` bytes of what the other half has put. If that waited for room, `note` is called, under a leaf, and says
    /// how it is to be called by message, if it is.
    #[inline(always)]
    pub(crate) fn receive(
        &self,
        input: &mut Evbuffer,
        most: usize,
        note: impl FnOnce(&Line) -> Option<Line>,
    ) -> Moved {
        let taken = self.conduit.take(self.end, note, |queue| {
            let bytes = pass(queue, input, most);
            (bytes, bytes > 0, queue.is_empty())
        });
        let then = match taken.ended {
            Ended::No if taken.taken == most => Then::More,
            Ended::No => Then::Waits,
            Ended::Once => Then::Pause,
            Ended::ForGood => Then::End,
            Ended::CutShort => Then::CutShort,
        };
        Moved { bytes: taken.taken, then, call: taken.call.flatten() }
    }

    /// Puts up to `most` bytes of the output, all of it in memory, where the other half takes them, as long as no more than
    /// `bound` bytes wait there. `note` as for [`receive`](PairEnd::receive).
    #[inline(always)]
    pub(crate) fn transmit(
        &self,
        output: &mut Evbuffer,
        most: usize,
        bound: usize,
        note: impl FnOnce(&Line) -> Option<Line>,
    ) -> Moved {
        let put = self.conduit.put(self.end, note, |queue| {
            let backlog = !queue.is_empty();
            let bytes = pass(output, queue, most.min(bound.saturating_sub(queue.len())));
            if backlog {
                // What has to wait holds no more memory than it needs.
                queue.settle(&mut drop);
            }
            (bytes, bytes > 0, bytes < most)
        });
        match put {
            Put::Done(bytes, call) => {
                let then = if bytes < most { Then::Waits } else { Then::More };
                Moved { bytes, then, call: call.flatten() }
            }
            Put::Refused => Moved { bytes: 0, then: Then::Unlinked, call: None },
        }
    }

    /// Ends a direction: what was put before is still taken, and what the other half puts is refused.
    pub(crate) fn shut_down(&self, direction: Direction) {
        match direction {
            Direction::Read => {
                let putter = self.conduit.refuse(self.end);
                putter.into_iter().for_each(|line| line.call(Reasons::WRITABLE));
            }
            Direction::Write => self.end(Ended::ForGood),
        }
    }

    /// Has the other half learn, behind what was put, that more was to come.
    pub(crate) fn cut_short(&self) {
        self.end(Ended::CutShort);
    }

    fn end(&self, how: Ended) {
        let taker = self.conduit.end(self.end, how);
        taker.into_iter().for_each(|line| line.call(Reasons::READABLE));
    }

    /// Has the other half take what was put, also past its high mark; and tells it an end, if there is to be one.
    pub(crate) fn push(&self, ends: bool) {
        if ends {
            // It is called in any case.
            let _ = self.conduit.end(self.end, Ended::Once);
        }
        if let Some(line) = self.conduit.mate(self.end) {
            line.call(Reasons::READABLE | PUSHED);
        }
    }

    /// Nobody can call this half, until it is attached again.
    pub(crate) fn detach(&self) {
        self.conduit.detach(self.end);
    }

    /// Whether the other half is gone.
    pub(crate) fn is_left(&self) -> bool {
        self.conduit.is_left(self.end)
    }

    /// Whether nothing can be put any more, since the other half takes nothing.
    pub(crate) fn is_unlinked(&self) -> bool {
        self.conduit.is_refused(self.end)
    }

    pub(crate) fn partner(&self) -> Option<Partner> {
        Some(match self.conduit.mate(self.end)? {
            Line::Confined(base, key) => Partner::Confined(Id { base: base.id(), key }),
            Line::Strand(strand) => Partner::Shared(Handle::new(strand)),
        })
    }
}

/// A half is called to take what was put, whatever its high mark says. Of a socket it says that the peer has ended its side.
const PUSHED: Reasons = Reasons::HANGUP;

fn pass(from: &mut Evbuffer, to: &mut Evbuffer, most: usize) -> usize {
    let passed = from.pass_on(to, most);
    debug_assert!(passed.is_ok(), "neither a queue nor an input has a limit of its own: {passed:?}");
    passed.unwrap_or(0)
}

impl Drop for PairEnd {
    fn drop(&mut self) {
        if let Some(line) = self.conduit.leave(self.end) {
            line.call(Reasons::WRITABLE);
        }
    }
}

impl Line {
    /// Has it run, whoever runs it.
    pub(crate) fn call(self, reasons: Reasons) {
        match self {
            Self::Confined(base, key) => base.wake_for(key, reasons),
            Self::Strand(strand) => strand.hand(reasons),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confined(_, key) => f.debug_tuple("Confined").field(key).finish(),
            Self::Strand(strand) => f.debug_tuple("Strand").field(&strand.key()).finish(),
        }
    }
}

impl fmt::Debug for PairEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PairEnd").field(&self.end).finish()
    }
}
