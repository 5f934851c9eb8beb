//! A scripted transport as a test holds it, and as a bufferevent does.

use std::{
    fmt,
    io::{self, IoSlice},
    sync::Arc,
};

use bufferevent_runtime::{AnySelector, Event, Random, Ready, Token};
use bufferevent_sync::Leaf;

use super::script::{Connect, ReadStep, Script, WriteStep};
use crate::{
    error::{Error, Result},
    interest::Direction,
    stream::Io,
};

/// A transport that does what a test says, for one bufferevent, made by
/// [`Bufferevent::scripted`](crate::Bufferevent::scripted).
///
/// A cheap handle: clones name the same wire, and any thread may use them. Reads find what [`read_next`](Wire::read_next)
/// and its kin have put there, step by step, and nothing after that; writes meet what [`write_next`](Wire::write_next)
/// has put there, and are taken whole after that as far as there is [room](Wire::set_room). Readiness goes the way of a
/// socket's: to the base's selector, and from there in a batch to whatever has the token.
///
/// ```
/// use bufferevent::{Bufferevent, NoHandler, testing::{ManualBase, Wire}};
///
/// let (mut base, wire) = (ManualBase::new()?, Wire::new());
/// Bufferevent::scripted(&wire)
///     .handler(NoHandler)
///     .configure(|bufferevent| drop(bufferevent.write(b"hello")))
///     .start(&mut base)?;
/// wire.set_room(2);
/// base.settle()?;
/// assert_eq!(wire.take_written(), b"he");
/// wire.set_room(usize::MAX);
/// base.settle()?;
/// assert_eq!(wire.take_written(), b"llo");
/// # Ok::<(), bufferevent::Error>(())
/// ```
#[derive(Clone)]
pub struct Wire {
    shared: Arc<Leaf<Synced>>,
}

/// Under the wire's lock, a leaf: readiness is posted after it.
struct Synced {
    script: Script,
    /// Where readiness goes: also after the close, to be stale then.
    line: Option<Line>,
    usage: Usage,
    shut_down: bool,
    reset: bool,
    reads: u64,
    writes: u64,
}

#[derive(Clone)]
struct Line {
    selector: Arc<AnySelector>,
    token: Token,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Free,
    Plugged,
    Closed,
}

impl Wire {
    /// A wire that is connected.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Connect::Stands)
    }

    /// A wire whose connect is under way, until [`connect`](Wire::connect) or [`refuse`](Wire::refuse).
    #[must_use]
    pub fn connecting() -> Self {
        Self::of(Connect::Pending)
    }

    fn of(connect: Connect) -> Self {
        let synced = Synced {
            script: Script::new(connect),
            line: None,
            usage: Usage::Free,
            shut_down: false,
            reset: false,
            reads: 0,
            writes: 0,
        };
        Self { shared: Arc::new(Leaf::new(synced)) }
    }

    /// The connect that is under way succeeds.
    pub fn connect(&self) {
        self.finish_connect(Connect::Stands, Ready::WRITABLE);
    }

    /// The connect that is under way fails, as `SO_ERROR` tells.
    pub fn refuse(&self, error: io::Error) {
        self.finish_connect(Connect::Failed(error), Ready::BOTH | Ready::HANGUP | Ready::ERROR);
    }

    fn finish_connect(&self, connect: Connect, ready: Ready) {
        self.change(|synced| {
            synced.script.connect = connect;
            ((), ready)
        });
    }

    /// Appends what a later read finds.
    pub fn read_next(&self, step: ReadStep) {
        self.change(|synced| ((), synced.script.read_next(step)));
    }

    /// Bytes arrive, all at once.
    pub fn deliver(&self, bytes: &[u8]) {
        self.read_next(ReadStep::Bytes(bytes.to_vec()));
    }

    /// Bytes arrive in chunks of `size`, at least 1, each after the one before it was read.
    pub fn deliver_in(&self, bytes: &[u8], size: usize) {
        bytes.chunks(size.max(1)).for_each(|chunk| self.deliver(chunk));
    }

    /// The peer ends its side, behind what it has sent.
    pub fn end(&self) {
        self.read_next(ReadStep::End);
    }

    /// The connection is reset, behind what was sent: a read fails.
    pub fn reset(&self) {
        self.read_next(ReadStep::Failed(io::ErrorKind::ConnectionReset.into()));
    }

    /// Appends what a later write meets.
    pub fn write_next(&self, step: WriteStep) {
        self.change(|synced| {
            synced.script.write_next(step);
            ((), Ready::NONE)
        });
    }

    /// Sets how many bytes are taken from now on, before writes would block; `usize::MAX`, the default, is no limit. More
    /// room than there was is told as readiness.
    pub fn set_room(&self, bytes: usize) {
        self.change(|synced| ((), synced.script.set_room(bytes)));
    }

    /// Bytes that are still taken.
    #[must_use]
    pub fn room(&self) -> usize {
        self.shared.lock().script.room()
    }

    /// From now on reads and writes move as much as `random` says, or would block, where no step says otherwise, and
    /// readiness comes that is not true.
    pub fn disturb(&self, random: Random) {
        self.shared.lock().script.faults = Some(random);
    }

    /// Tells the bufferevent that the wire is ready, whether or not it is. Once the bufferevent is closed that is an event
    /// of a descriptor that is gone.
    pub fn ready(&self, ready: Ready) {
        let line = self.shared.lock().line.clone();
        post(line, ready);
    }

    /// A copy of what was written, but for what was taken.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.shared.lock().script.written.clone()
    }

    /// Takes what was written.
    #[must_use]
    pub fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.shared.lock().script.written)
    }

    /// Whether the bufferevent has ended its side.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shared.lock().shut_down
    }

    /// Whether the bufferevent has closed the wire so that the peer reads an error, not the end.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        let synced = self.shared.lock();
        synced.reset && synced.usage == Usage::Closed
    }

    /// Whether the bufferevent has closed the wire.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().usage == Usage::Closed
    }

    /// Reads that were tried.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.shared.lock().reads
    }

    /// Writes that were tried.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.shared.lock().writes
    }

    /// Whether its connect stands, before it is given to a bufferevent.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.shared.lock().script.connect, Connect::Stands)
    }

    /// The bufferevent's end of it, which there is once.
    pub(crate) fn plug(&self) -> Result<Plug> {
        match std::mem::replace(&mut self.shared.lock().usage, Usage::Plugged) {
            Usage::Free => Ok(Plug { wire: self.clone() }),
            Usage::Plugged | Usage::Closed => Err(Error::AlreadyConnected),
        }
    }

    pub(crate) fn receive(&self, block: &mut [u8]) -> Io {
        self.change(|synced| {
            synced.reads += 1;
            let (io, ready) = synced.script.receive(block);
            (io, ready | synced.script.spurious())
        })
    }

    pub(crate) fn transmit(&self, chunks: &[IoSlice<'_>]) -> Io {
        self.change(|synced| {
            synced.writes += 1;
            let (io, ready) = synced.script.transmit(chunks);
            (io, ready | synced.script.spurious())
        })
    }

    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        let mut synced = self.shared.lock();
        match std::mem::replace(&mut synced.script.connect, Connect::Stands) {
            Connect::Pending => {
                synced.script.connect = Connect::Pending;
                None
            }
            Connect::Stands => Some(Ok(())),
            Connect::Failed(error) => Some(Err(error)),
        }
    }

    /// Reading that was shut down needs no script: the bufferevent reads no more.
    pub(crate) fn shut_down(&self, direction: Direction) {
        self.shared.lock().shut_down |= direction == Direction::Write;
    }

    pub(crate) fn reset_on_close(&self) {
        self.shared.lock().reset = true;
    }

    /// Changes the script, then posts what is ready by that, if anybody is there.
    fn change<R>(&self, change: impl FnOnce(&mut Synced) -> (R, Ready)) -> R {
        let (answer, ready, line) = {
            let mut synced = self.shared.lock();
            let (answer, ready) = change(&mut synced);
            let line = if synced.usage == Usage::Plugged { synced.line.clone() } else { None };
            (answer, ready, line)
        };
        post(line, ready);
        answer
    }
}

fn post(line: Option<Line>, ready: Ready) {
    if let (Some(Line { selector, token }), false) = (line, ready.is_empty()) {
        selector.post(Event { token, ready });
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(&self.shared.lock().script).finish()
    }
}

/// The bufferevent's end of a wire: dropped, it closes it.
#[derive(Debug)]
pub(crate) struct Plug {
    wire: Wire,
}

impl Plug {
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// From now on readiness goes to `token`, beginning with what is ready already.
    pub(crate) fn attach(&self, selector: &Arc<AnySelector>, token: Token) {
        self.wire.change(|synced| {
            synced.line = Some(Line { selector: Arc::clone(selector), token });
            ((), synced.script.at_first())
        });
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.wire.shared.lock().usage = Usage::Closed;
    }
}
