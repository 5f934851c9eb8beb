//! The socket of a connection of the client, and TLS over it.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use openssl::ssl::{ErrorCode, Ssl, SslStream};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// The socket of a connection, and TLS over it.
#[derive(Debug)]
pub(super) enum Line {
    /// Bytes as they are.
    Plain(OwnedFd),
    /// TLS; the handshake goes on with whatever is sent or received.
    Tls(Box<SslStream<TcpStream>>),
}

/// What came of sending or receiving once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// None before there is more to read.
    WaitsForInput,
    /// None before there is room to write.
    WaitsForRoom,
    /// It is closed or broken.
    Broken,
}

impl Line {
    /// Wraps a socket; over TLS if `ssl` is there, whose handshake is still to come.
    pub(super) fn new(fd: OwnedFd, ssl: Option<Ssl>) -> io::Result<Self> {
        Ok(match ssl {
            Some(ssl) => Self::Tls(Box::new(SslStream::new(ssl, fd.into())?)),
            None => Self::Plain(fd),
        })
    }

    /// Waits until the handshake is over, if there is one and the socket waits.
    pub(super) fn shake(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.do_handshake().map_err(io::Error::other),
        }
    }

    /// Sends what goes without waiting.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Moved {
        match self {
            Self::Plain(fd) => moved(send(fd, bytes, SendFlags::NOSIGNAL), Moved::WaitsForRoom),
            Self::Tls(stream) => moved_by_tls(stream.ssl_write(bytes)),
        }
    }

    /// Receives what is there, in part where `into` is short.
    pub(super) fn recv(&mut self, into: &mut [u8]) -> Moved {
        match self {
            Self::Plain(fd) => {
                let count = recv(fd, into, RecvFlags::empty()).map(|(count, _)| count);
                moved(count, Moved::WaitsForInput)
            }
            Self::Tls(stream) => moved_by_tls(stream.ssl_read(into)),
        }
    }

    /// Whether it may hold received bytes that its socket says nothing of.
    pub(super) fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Closes it; over TLS it says so first.
    pub(super) fn close(self) {
        if let Self::Tls(mut stream) = self {
            // The peer may be gone already.
            let _ = stream.shutdown();
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(fd) => fd.as_fd(),
            Self::Tls(stream) => stream.get_ref().as_fd(),
        }
    }
}

fn moved(count: Result<usize, Errno>, later: Moved) -> Moved {
    match count {
        Ok(0) => Moved::Broken,
        Ok(count) => Moved::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR) => later,
        Err(_) => Moved::Broken,
    }
}

fn moved_by_tls(count: Result<usize, openssl::ssl::Error>) -> Moved {
    match count {
        Ok(count) => Moved::Bytes(count),
        Err(error) => match error.code() {
            ErrorCode::WANT_READ => Moved::WaitsForInput,
            ErrorCode::WANT_WRITE => Moved::WaitsForRoom,
            _ => Moved::Broken,
        },
    }
}
