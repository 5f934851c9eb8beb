//! What the yardstick does when a connection is ready.

use std::io;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::conn::Conn;

/// What a server does with a ready connection.
pub(super) trait Protocol: Send + 'static {
    /// What a new connection waits for.
    const INTEREST: EventFlags;

    /// What it keeps of each connection.
    type State: Send + 'static;

    /// Makes that of a new one.
    fn open(&self) -> io::Result<Self::State>;

    /// Serves `conn`, which `ready` was reported for, through the thread's `scratch`.
    fn serve(&mut self, conn: &mut Conn<Self::State>, ready: EventFlags, scratch: &mut [u8]) -> Next;
}

/// What the reactor owes a connection after serving it.
#[must_use]
pub(super) enum Next {
    /// Nothing: it waits for what it waited for.
    Same,
    /// To wait for this instead.
    Wait(EventFlags),
    /// To close it.
    Close,
}

/// Sends back what it receives.
pub(super) struct Echo;

/// Receives and drops.
pub(super) struct Sink;

/// Sends without end.
pub(super) struct Source;

impl Protocol for Echo {
    const INTEREST: EventFlags = EventFlags::IN;
    type State = ();

    fn open(&self) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    fn serve(&mut self, conn: &mut Conn<()>, _: EventFlags, scratch: &mut [u8]) -> Next {
        if conn.rest().is_some() {
            return flush(conn);
        }
        let count = match recv(conn.fd(), &mut *scratch, RecvFlags::empty()) {
            Ok((0, _)) => return Next::Close,
            Ok((count, _)) => count,
            Err(errno) => return transient(errno),
        };
        let sent = match send(conn.fd(), &scratch[..count], SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => return Next::Close,
        };
        if sent == count {
            return Next::Same;
        }
        conn.wait_to_send(&scratch[sent..count])
    }
}

impl Protocol for Sink {
    const INTEREST: EventFlags = EventFlags::IN;
    type State = ();

    fn open(&self) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    fn serve(&mut self, conn: &mut Conn<()>, _: EventFlags, scratch: &mut [u8]) -> Next {
        for _ in 0..BLOCKS_PER_TURN {
            match recv(conn.fd(), &mut *scratch, RecvFlags::empty()) {
                Ok((0, _)) => return Next::Close,
                // A short read has emptied the socket.
                Ok((count, _)) if count < scratch.len() => return Next::Same,
                Ok(_) => {}
                Err(errno) => return transient(errno),
            }
        }
        Next::Same
    }
}

impl Protocol for Source {
    const INTEREST: EventFlags = EventFlags::OUT.union(EventFlags::RDHUP);
    type State = ();

    fn open(&self) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    fn serve(&mut self, conn: &mut Conn<()>, ready: EventFlags, scratch: &mut [u8]) -> Next {
        if ready.intersects(EventFlags::RDHUP) {
            return Next::Close;
        }
        for _ in 0..BLOCKS_PER_TURN {
            match send(conn.fd(), scratch, SendFlags::NOSIGNAL) {
                // A short write has filled the socket.
                Ok(count) if count < scratch.len() => return Next::Same,
                Ok(_) => {}
                Err(errno) => return transient(errno),
            }
        }
        Next::Same
    }
}

/// Sends what a short write left, then waits for input again.
#[cold]
pub(super) fn flush<S>(conn: &mut Conn<S>) -> Next {
    let Some(rest) = conn.rest() else { return Next::Same };
    match send(conn.fd(), rest, SendFlags::NOSIGNAL) {
        Ok(count) if conn.advance(count) => Next::Wait(EventFlags::IN),
        Ok(_) => Next::Same,
        Err(errno) => transient(errno),
    }
}

#[cold]
pub(super) fn transient(errno: Errno) -> Next {
    if matches!(errno, Errno::AGAIN | Errno::INTR) { Next::Same } else { Next::Close }
}

/// How many blocks one bulk connection may move before the next has its turn.
const BLOCKS_PER_TURN: usize = 16;
