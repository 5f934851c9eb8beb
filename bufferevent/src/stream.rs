//! The socket of a bufferevent: what it is made from, and the system calls on it.

use std::{
    io::{self, IoSlice},
    net::TcpStream,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use bufferevent_runtime::{Accepted, Permit};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg},
};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

#[cfg(feature = "test-util")]
use crate::testing::Wire;
use crate::{
    error::{Error, Result},
    interest::Direction,
};

/// Pieces of output that one system call takes at most.
const PIECES: usize = 64;

/// A socket given to a bufferevent.
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
    /// What is not known to hold is checked, or set, when the bufferevent starts.
    checks: Checks,
    /// Of a connection that was accepted under a limit.
    permit: Permit,
}

#[derive(Debug, Clone, Copy)]
struct Checks {
    is_stream: bool,
    is_nonblocking: bool,
}

const KNOWN: Checks = Checks { is_stream: true, is_nonblocking: true };

impl Stream {
    /// Makes sure that it is a stream socket that does not block.
    pub(crate) fn prepare(mut self) -> Result<Self, (Error, Self)> {
        if !self.checks.is_stream && !is_stream(&SockRef::from(&self.fd)) {
            return Err((Error::NotStream, self));
        }
        if !self.checks.is_nonblocking {
            if let Err(error) = SockRef::from(&self.fd).set_nonblocking(true) {
                return Err((error.into(), self));
            }
        }
        self.checks = KNOWN;
        Ok(self)
    }

    /// Takes what counts the connection out.
    pub(crate) fn take_permit(&mut self) -> Permit {
        std::mem::take(&mut self.permit)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_stream(socket: &Socket) -> bool {
    socket.r#type().is_ok_and(|kind| kind == Type::STREAM)
        && socket.is_listener().is_ok_and(|listens| !listens)
}

impl From<Accepted> for Stream {
    fn from(accepted: Accepted) -> Self {
        let (fd, permit) = accepted.into_parts();
        Self { fd, checks: KNOWN, permit }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self {
            fd: stream.into(),
            checks: Checks { is_stream: true, is_nonblocking: false },
            permit: Permit::default(),
        }
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self {
            fd: stream.into(),
            checks: Checks { is_stream: true, is_nonblocking: false },
            permit: Permit::default(),
        }
    }
}

impl From<OwnedFd> for Stream {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, checks: Checks { is_stream: false, is_nonblocking: false }, permit: Permit::default() }
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        OwnedFd::from(socket).into()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        stream.fd
    }
}

/// What the system calls of a bufferevent are made on.
#[derive(Clone, Copy)]
pub(crate) enum Link<'a> {
    Fd(BorrowedFd<'a>),
    #[cfg(feature = "test-util")]
    Wire(&'a Wire),
}

impl Link<'_> {
    /// Reads once into `block`.
    #[inline(always)]
    pub(crate) fn receive(self, block: &mut [u8]) -> Io {
        match self {
            Self::Fd(fd) => outcome(|| Ok(recv(fd, &mut *block, RecvFlags::empty())?.0)),
            #[cfg(feature = "test-util")]
            Self::Wire(wire) => wire.receive(block),
        }
    }

    /// Sends `chunk`, in one system call.
    #[inline(always)]
    pub(crate) fn transmit_one(self, chunk: &[u8]) -> Io {
        match self {
            Self::Fd(fd) => outcome(|| send(fd, chunk, SendFlags::NOSIGNAL)),
            #[cfg(feature = "test-util")]
            Self::Wire(wire) => wire.transmit(&[IoSlice::new(chunk)]),
        }
    }

    /// Sends at most `max` bytes of `chunks`, in one system call, and tells how many were offered to it: fewer if they
    /// are in too many pieces.
    #[inline(never)]
    pub(crate) fn transmit<'a>(self, chunks: impl Iterator<Item = &'a [u8]>, max: usize) -> (Io, usize) {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let (mut used, mut left) = (0, max);
        for chunk in chunks.take(PIECES) {
            if left == 0 {
                break;
            }
            let chunk = &chunk[..chunk.len().min(left)];
            left -= chunk.len();
            slices[used] = IoSlice::new(chunk);
            used += 1;
        }
        let slices = &slices[..used];
        let sent = match self {
            Self::Fd(fd) => {
                outcome(|| sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL))
            }
            #[cfg(feature = "test-util")]
            Self::Wire(wire) => wire.transmit(slices),
        };
        (sent, max - left)
    }

    /// How a connect that was under way ended, if it has.
    pub(crate) fn connected(self) -> Option<io::Result<()>> {
        match self {
            Self::Fd(fd) => connected(fd),
            #[cfg(feature = "test-util")]
            Self::Wire(wire) => wire.connected(),
        }
    }

    /// Whether a peer can be told that the connection was cut.
    pub(crate) fn knows_resets(self) -> bool {
        match self {
            Self::Fd(fd) => SockRef::from(&fd).local_addr().is_ok_and(|address| !address.is_unix()),
            #[cfg(feature = "test-util")]
            Self::Wire(_) => true,
        }
    }

    /// Once it is closed the peer reads an error in place of the end, where it [knows](Link::knows_resets) one. What the
    /// system has not sent by then is lost.
    pub(crate) fn reset_on_close(self) {
        match self {
            // It fails on what is closed.
            Self::Fd(fd) => drop(SockRef::from(&fd).set_linger(Some(Duration::ZERO))),
            #[cfg(feature = "test-util")]
            Self::Wire(wire) => wire.reset_on_close(),
        }
    }

    /// Ends a direction: the peer reads the end after what was sent, or what it sends is of no use. An error means that
    /// the peer is gone.
    pub(crate) fn shutdown(self, direction: Direction) -> io::Result<()> {
        match self {
            Self::Fd(fd) => {
                let how = match direction {
                    Direction::Read => Shutdown::Read,
                    Direction::Write => Shutdown::Write,
                };
                Ok(rustix::net::shutdown(fd, how)?)
            }
            #[cfg(feature = "test-util")]
            Self::Wire(wire) => {
                wire.shut_down(direction);
                Ok(())
            }
        }
    }
}

/// How far one system call came.
#[derive(Debug)]
pub(crate) enum Io {
    /// So many bytes; 0 from a read is the end of the stream.
    Done(usize),
    /// Nothing: wait for the next edge.
    WouldBlock,
    Failed(io::Error),
}

impl Io {
    /// Bytes that have moved.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> usize {
        if let Self::Done(n) = self { *n } else { 0 }
    }

    /// What a system call that failed so comes to.
    #[cold]
    pub(crate) fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::WouldBlock,
            _ => Self::Failed(error),
        }
    }
}

/// Whether the system had no memory to send with, which says nothing of the connection.
#[cold]
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::NOBUFS, Errno::NOMEM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| shortages.contains(&error))
}

/// Makes a system call, again while a signal interrupts it.
#[inline(always)]
fn outcome(mut call: impl FnMut() -> rustix::io::Result<usize>) -> Io {
    loop {
        return match call() {
            Ok(n) => Io::Done(n),
            Err(Errno::AGAIN) => Io::WouldBlock,
            Err(Errno::INTR) => continue,
            Err(error) => Io::of(error.into()),
        };
    }
}

/// A connect that was begun.
pub(crate) struct Connecting {
    pub(crate) stream: Stream,
    /// The connect failed at once; the bufferevent is told by an event like any other failure.
    pub(crate) failed: Option<io::Error>,
}

/// Makes a socket, bound to `from` if that is given, and begins to connect it.
pub(crate) fn connect(address: &SockAddr, from: Option<&SockAddr>) -> io::Result<Connecting> {
    let domain = Domain::from(i32::from(address.family()));
    let protocol = (!address.is_unix()).then_some(Protocol::TCP);
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    if let Some(from) = from {
        socket.bind(from)?;
    }
    let failed = match socket.connect(address) {
        Ok(()) => None,
        Err(error) if is_in_progress(&error) => None,
        Err(error) => Some(error),
    };
    Ok(Connecting { stream: Stream { fd: socket.into(), checks: KNOWN, permit: Permit::default() }, failed })
}

fn is_in_progress(error: &io::Error) -> bool {
    // Not EAGAIN: a Unix socket answers it when the peer's queue is full, and then nothing is under way.
    error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
        || error.raw_os_error() == Some(Errno::INTR.raw_os_error())
}

/// How a connect that was under way ended, if it has.
fn connected(fd: BorrowedFd<'_>) -> Option<io::Result<()>> {
    let socket = SockRef::from(&fd);
    match socket.take_error() {
        Ok(Some(error)) | Err(error) => return Some(Err(error)),
        Ok(None) => {}
    }
    match socket.peer_addr() {
        Ok(_) => Some(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
        Err(error) => Some(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_a_signal_interrupts_is_made_again() {
        // F12: every second call
        for answer in [Ok(7), Ok(0), Err(Errno::AGAIN), Err(Errno::CONNRESET)] {
            let mut calls = 0;
            let io = outcome(|| {
                calls += 1;
                if calls % 2 == 1 { Err(Errno::INTR) } else { answer }
            });
            assert_eq!(calls, 2);
            match io {
                Io::Done(n) => assert_eq!(Ok(n), answer),
                Io::WouldBlock => assert_eq!(answer, Err(Errno::AGAIN)),
                Io::Failed(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            }
        }
    }
}
