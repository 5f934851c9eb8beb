//! Pairs: two bufferevents joined without a socket.

mod end;

use std::{fmt, io};

use bufferevent_evbuffer::transport::Transport;
use bufferevent_runtime::{Ready, Reasons};

pub use self::end::Partner;
pub(crate) use self::end::{Line, Moved, PairEnd, Then};
use crate::{
    bufferevent::{Bufferevent, Errands, Home, Socket},
    defaults::PAIR_QUEUE,
    interest::{Direction, Interest},
};

/// The other half has said that what was put is to be taken, whatever the high mark. Of a socket: the peer has ended its side.
const PUSHED: Ready = Ready::HANGUP;

/// As of a socket that was reset.
const CUT_SHORT: io::ErrorKind = io::ErrorKind::ConnectionReset;

impl Bufferevent {
    /// The other half of a pair, once that has come to its base and until it has ended; `None` of what is no pair. A filter over a
    /// half answers for that.
    ///
    /// # Libevent
    /// `bufferevent_pair_get_partner`.
    #[doc(alias = "bufferevent_pair_get_partner")]
    pub fn partner(&self) -> Option<Partner> {
        self.bottom().pair_end()?.partner()
    }

    pub(crate) fn pair_end(&self) -> Option<&PairEnd> {
        match &self.socket {
            Socket::Pair(end) => Some(end),
            _ => None,
        }
    }

    /// It can be called by the other half from now on, which may have done what it would have been called for.
    pub(crate) fn attach_pair(&mut self, line: &Line) {
        match &mut self.socket {
            Socket::Filter(layer) => layer.lower.attach_pair(line),
            Socket::Pair(end) => {
                end.attach(line);
                self.ready = Ready::BOTH;
            }
            _ => {}
        }
    }

    /// A confined half is called where it lives.
    pub(crate) fn attach_confined(&mut self) {
        let line = match (&self.socket, &self.home) {
            (Socket::Pair(_), Some(home)) if !home.in_strand => Line::Confined(home.base.clone(), home.key),
            _ => return,
        };
        self.attach_pair(&line);
    }

    /// Whether it is half of a pair, or over one, whose other half takes nothing any more.
    pub(crate) fn is_unlinked(&self) -> bool {
        self.bottom().pair_end().is_some_and(PairEnd::is_unlinked)
    }

    /// Whether nothing more will come, or go, since the other half is gone.
    pub(crate) fn is_stalled_by_mate(&self, direction: Direction) -> bool {
        let gone = match direction {
            Direction::Read => PairEnd::is_left,
            Direction::Write => PairEnd::is_unlinked,
        };
        self.bottom().pair_end().is_some_and(gone)
    }

    /// Takes nothing any more from the other half of a pair, if it goes with this: of two that close each would wait for the other
    /// to make room else.
    pub(crate) fn refuse_mate(&mut self) {
        if let Some(layer) = self.closing_layer_mut() {
            layer.lower.refuse_mate();
        } else if let Some(end) = self.pair_end().filter(|_| !self.shut.done.contains(Interest::READ)) {
            end.shut_down(Direction::Read);
            self.unusual();
            self.shut.asked = self.shut.asked | Interest::READ;
            self.shut.done = self.shut.done | Interest::READ;
            self.enabled = self.enabled.difference(Interest::READ);
        }
    }

    /// Tells the other half of a pair, if it goes with this, that not all could be sent.
    pub(crate) fn cut_mate_short(&mut self) {
        if let Some(layer) = self.closing_layer_mut() {
            layer.lower.cut_mate_short();
        } else if let Some(end) = self.pair_end() {
            end.cut_short();
        }
    }

    /// The read step of a half: takes at most `most` bytes, of which `granted` have been granted.
    #[inline(never)]
    pub(crate) fn take_from_pair(&mut self, granted: usize, most: usize) -> bool {
        let Self { socket: Socket::Pair(end), input, home, run, .. } = self else { return false };
        let note = |line: &Line| note_call(home.as_ref(), &mut run.errands, line, Reasons::WRITABLE);
        let Moved { bytes, then, call } = end.receive(input, most, note);
        self.charge(Direction::Read, granted, bytes);
        call_by_message(call, Reasons::WRITABLE);
        if bytes > 0 {
            self.run.progress = self.run.progress | Interest::READ;
            self.input_has_grown();
        }
        match then {
            Then::More => {}
            Then::Waits | Then::Unlinked => self.ready = self.ready - (Ready::READABLE | PUSHED),
            Then::End => self.read_eof(),
            Then::Pause => {
                self.ready = self.ready - (Ready::READABLE | PUSHED);
                self.tell_pause();
            }
            Then::CutShort => self.fail(Direction::Read, io::Error::new(CUT_SHORT, CutShort)),
        }
        true
    }

    /// Takes what the other half has pushed, past the high mark. False: nothing was pushed.
    #[cold]
    pub(crate) fn take_pushed(&mut self) -> bool {
        let most = self.input_cap.room(self.input.len());
        if most == 0 || self.pair_end().is_none() || !self.ready.contains(PUSHED) {
            return false;
        }
        self.ready = self.ready - PUSHED;
        // Under a rate limit it is a debt.
        self.take_from_pair(0, most)
    }

    /// The write step of a half.
    #[inline]
    pub(crate) fn put_into_pair(&mut self, granted: usize, most: usize) -> bool {
        // Bytes of a file leave when they are in memory.
        let most = if self.output.is_plain() { most } else { most.min(self.output.front().len()) };
        self.put(granted, most, PAIR_QUEUE)
    }

    /// Flushes the output, as much as the queue may hold of an output.
    pub(crate) fn push_into_pair(&mut self, ends: bool) {
        self.overfill_pair();
        if let Some(end) = self.pair_end() {
            end.push(ends);
        }
    }

    /// Puts all of the output that is in memory, past what the queue holds as a rule.
    pub(crate) fn overfill_pair(&mut self) {
        let most = self.output.loaded_len();
        if most > 0 {
            self.put(0, most, self.output.limit().unwrap_or(usize::MAX).max(PAIR_QUEUE));
        }
    }

    /// Puts at most `most` bytes of the output, of which `granted` have been granted, where `bound` bytes may wait.
    #[inline(never)]
    fn put(&mut self, granted: usize, most: usize, bound: usize) -> bool {
        let Self { socket: Socket::Pair(end), output, home, run, .. } = self else { return false };
        let note = |line: &Line| note_call(home.as_ref(), &mut run.errands, line, Reasons::READABLE);
        let Moved { bytes, then, call } = end.transmit(output, most, bound, note);
        self.charge(Direction::Write, granted, bytes);
        call_by_message(call, Reasons::READABLE);
        match then {
            // It may have waited, and is not called any more.
            Then::More => self.ready |= Ready::WRITABLE,
            Then::End | Then::Pause | Then::CutShort => {}
            Then::Waits => self.ready = self.ready - Ready::WRITABLE,
            Then::Unlinked => {
                self.ready = self.ready - Ready::WRITABLE;
                if self.is_closing() {
                    self.end();
                    return true;
                }
            }
        }
        if bytes > 0 {
            self.has_sent::<false>(bytes);
        }
        true
    }

    /// Has the other half run that the shell was to see to: no shell of its base runs this half any more.
    pub(crate) fn call_mate_by_message(&mut self) {
        if let (Some((mate, reasons)), Some(home)) = (self.run.errands.call.take(), &self.home) {
            home.base.wake_for(mate, reasons);
        }
    }
}

/// Notes for the shell that the other half is to run, if that is confined to the base that the shell has at hand. If not, it is
/// to be called by message.
#[inline]
fn note_call(home: Option<&Home>, errands: &mut Errands, line: &Line, reasons: Reasons) -> Option<Line> {
    match (line, home) {
        (Line::Confined(base, key), Some(home))
            if base.id() == home.base.id() && !home.in_strand && !errands.abroad =>
        {
            errands.call(*key, reasons);
            None
        }
        _ => Some(line.clone()),
    }
}

#[inline]
fn call_by_message(call: Option<Line>, reasons: Reasons) {
    if let Some(line) = call {
        line.call(reasons);
    }
}

/// The other half was closed, and could not send all.
#[derive(Debug)]
struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other half of the pair was closed before it had sent all")
    }
}

impl std::error::Error for CutShort {}
