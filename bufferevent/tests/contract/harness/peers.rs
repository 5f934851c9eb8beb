//! The other end of a connection: a plain non-blocking socket of the standard library, or the other half of a pair.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    time::Duration,
};

use bufferevent::Builder;
use bufferevent_sync::atomic::{AtomicU64, Ordering};
use socket2::SockRef;

use super::{code::Code, half::Half};

/// The other end of a connection, without a buffer of its own and not blocking.
pub(crate) struct Peer {
    end: End,
    /// What the filters over our end undo, and what undoes them.
    sent: Code,
    received: Code,
}

enum End {
    Tcp(TcpStream),
    Unix(UnixStream),
    Half(Half),
}

impl Peer {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self::plain(End::Tcp(stream))
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self::plain(End::Unix(stream))
    }

    /// The other half of a pair.
    pub(crate) fn half(half: Builder) -> Self {
        Self::plain(End::Half(Half::start(half)))
    }

    fn plain(end: End) -> Self {
        Self { end, sent: Code::default(), received: Code::default() }
    }

    /// One that speaks to filters.
    pub(crate) fn in_code(self, code: &Code) -> Self {
        Self { sent: code.clone(), received: code.clone(), ..self }
    }

    pub(crate) fn shutdown_write(&self) {
        match &self.end {
            End::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            End::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            End::Half(half) => half.shutdown_write(),
        }
    }

    /// Ends the connection so that the other side reads an error. Over a Unix socket that takes unread data here, and over
    /// a pair there is none.
    pub(crate) fn reset(self) {
        match &self.end {
            End::Tcp(stream) => SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap(),
            End::Unix(_) => {}
            End::Half(half) => half.abort(),
        }
    }

    /// Whether there is something to read, the end included.
    pub(crate) fn is_readable(&self) -> bool {
        match &self.end {
            End::Tcp(stream) => peek(stream).is_ok(),
            End::Unix(stream) => peek(stream).is_ok(),
            End::Half(half) => half.is_readable(),
        }
    }

    /// Whether the other side has ended, or reset, the connection and nothing is left to read.
    pub(crate) fn is_ended(&self) -> bool {
        let seen = match &self.end {
            End::Tcp(stream) => peek(stream),
            End::Unix(stream) => peek(stream),
            End::Half(half) => return half.is_ended(),
        };
        match seen {
            Ok(n) => n == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Writes what the other side has room for.
    pub(crate) fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let coded = self.sent.applied(from);
        let sent = match &mut self.end {
            End::Tcp(stream) => stream.write(&coded),
            End::Unix(stream) => stream.write(&coded),
            End::Half(half) => half.write(&coded),
        }?;
        self.sent.skip(sent);
        Ok(sent)
    }

    /// Reads what there is, at most `max` bytes; answers whether the stream has ended.
    pub(crate) fn read_some(&mut self, max: usize, to: &mut Vec<u8>) -> io::Result<bool> {
        let (mut block, mut left) = ([0; 16 * 1024], max);
        while left > 0 {
            let most = block.len().min(left);
            match self.read(&mut block[..most]) {
                Ok(0) => return Ok(true),
                Ok(n) => {
                    self.received.apply(&mut block[..n]);
                    to.extend(&block[..n]);
                    left -= n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match &mut self.end {
            End::Tcp(stream) => stream.read(to),
            End::Unix(stream) => stream.read(to),
            End::Half(half) => half.read(to),
        }
    }
}

fn peek(stream: &impl AsFd) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [std::mem::MaybeUninit::uninit()])
}

/// A connected pair over a Unix socket.
pub(crate) fn unix_pair() -> (OwnedFd, Peer) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours.into(), Peer::unix(theirs))
}

/// A connected pair over a Unix socket that was listened on by a path.
pub(crate) fn unix_accepted() -> (OwnedFd, Peer) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // ORDER: Relaxed; only uniqueness matters.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("bufferevent-kind-{}-{number}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let theirs = UnixStream::connect(&path).unwrap();
    let (ours, _) = listener.accept().unwrap();
    std::fs::remove_file(&path).unwrap();
    (ours.into(), Peer::unix(theirs))
}

/// A connected pair over TCP.
pub(crate) fn tcp_pair() -> (OwnedFd, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    // So that a peer that does not read is soon felt.
    SockRef::from(&theirs).set_recv_buffer_size(256 * 1024).unwrap();
    SockRef::from(&ours).set_send_buffer_size(256 * 1024).unwrap();
    (ours.into(), Peer::tcp(theirs))
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    // A prime, so that no block size repeats with it.
    let first = len.min(65_521);
    let mut bytes: Vec<u8> = (0..first).map(|i| (i % 251) as u8 ^ (i / 251) as u8).collect();
    while bytes.len() < len {
        bytes.extend_from_within(..bytes.len().min(len - bytes.len()));
    }
    bytes
}
