//! The other end of a connection: a plain non-blocking socket of the standard library.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    time::Duration,
};

use bufferevent_sync::atomic::{AtomicU64, Ordering};
use socket2::SockRef;

/// The other end of a connection.
pub(crate) struct Peer(Stream);

/// A non-blocking stream.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self(Stream::Tcp(stream))
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self(Stream::Unix(stream))
    }

    pub(crate) fn shutdown_write(&self) {
        match &self.0 {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// Ends the connection so that the other side reads an error. Over a Unix socket that takes unread data here.
    pub(crate) fn reset(self) {
        if let Stream::Tcp(stream) = &self.0 {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Whether there is something to read, the end included.
    pub(crate) fn is_readable(&self) -> bool {
        let mut one = [std::mem::MaybeUninit::uninit()];
        SockRef::from(&self.as_fd()).peek(&mut one).is_ok()
    }

    /// Whether the other side has ended, or reset, the connection and nothing is left to read.
    pub(crate) fn is_ended(&self) -> bool {
        let mut one = [std::mem::MaybeUninit::uninit()];
        match SockRef::from(&self.as_fd()).peek(&mut one) {
            Ok(n) => n == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Writes what the other side has room for.
    pub(crate) fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stream::Tcp(stream) => stream.write(from),
            Stream::Unix(stream) => stream.write(from),
        }
    }

    /// Reads what there is, at most `max` bytes; answers whether the stream has ended.
    pub(crate) fn read_some(&mut self, max: usize, to: &mut Vec<u8>) -> io::Result<bool> {
        let (mut block, mut left) = ([0; 16 * 1024], max);
        while left > 0 {
            let most = block.len().min(left);
            match self.0.read(&mut block[..most]) {
                Ok(0) => return Ok(true),
                Ok(n) => {
                    to.extend(&block[..n]);
                    left -= n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl io::Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(to),
            Self::Unix(stream) => stream.read(to),
        }
    }
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
