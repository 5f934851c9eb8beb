//! The other end of a connection: a plain non-blocking socket of the standard library, or the other half of a pair.

use std::{
    cell::RefCell,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    rc::{Rc, Weak},
    time::Duration,
};

use bufferevent::Builder;
use bufferevent_sync::atomic::{AtomicU64, Ordering};
use socket2::SockRef;

use super::half::Half;

/// The other end of a connection, not blocking.
pub(crate) struct Peer {
    end: Rc<AnyEnd>,
}

type AnyEnd = RefCell<Box<dyn End>>;

/// What a peer is, or a layer of it.
pub(crate) trait End {
    /// Writes what the other side has room for.
    fn write(&mut self, from: &[u8]) -> io::Result<usize>;

    /// Reads at most as much as `to` has room for; `Ok(0)` at the end.
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize>;

    /// Ends what is sent.
    fn shutdown_write(&mut self);

    /// Sees to it that the other side reads an error when this is dropped, which follows.
    fn reset(&mut self);

    /// The same, behind what was written: where there is no such error, an end.
    fn cut_short(&mut self) {
        self.reset();
    }

    /// Whether there is something to read, the end included.
    fn is_readable(&mut self) -> bool;

    /// Whether the other side has ended, or is gone, and nothing is left to read.
    fn is_ended(&mut self) -> bool;

    /// Does what it can do by now, where the kernel does not do it.
    fn turn(&mut self) {}
}

thread_local! {
    /// Those that this thread turns.
    static PEERS: RefCell<Vec<Weak<AnyEnd>>> = const { RefCell::new(Vec::new()) };
}

/// Lets the peers of this thread do what they can.
pub(crate) fn turn_peers() {
    PEERS.with_borrow_mut(|peers| {
        peers.retain(|peer| {
            peer.upgrade().is_some_and(|peer| {
                peer.borrow_mut().turn();
                true
            })
        });
    });
}

impl Peer {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self::of(stream)
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self::of(stream)
    }

    /// The other half of a pair.
    pub(crate) fn half(half: Builder) -> Self {
        Self::of(Half::start(half)).turned()
    }

    /// One that speaks to the filters that are over what its end speaks to.
    pub(crate) fn behind<E: End + 'static>(self, layer: impl FnOnce(Box<dyn End>) -> E) -> Self {
        let end = Rc::into_inner(self.end).unwrap().into_inner();
        Self::of(layer(end)).turned()
    }

    fn of(end: impl End + 'static) -> Self {
        Self { end: Rc::new(RefCell::new(Box::new(end))) }
    }

    fn turned(self) -> Self {
        PEERS.with_borrow_mut(|peers| peers.push(Rc::downgrade(&self.end)));
        self
    }

    pub(crate) fn shutdown_write(&self) {
        self.end.borrow_mut().shutdown_write();
    }

    /// Ends the connection so that the other side reads an error. Over a Unix socket that takes unread data here, and over
    /// a pair there is none.
    pub(crate) fn reset(self) {
        self.end.borrow_mut().reset();
    }

    /// Ends it behind what was written, so that the other side can tell that more was to come, if its kind
    /// [can](super::Kind::tells_cuts).
    pub(crate) fn cut_short(self) {
        self.end.borrow_mut().cut_short();
    }

    /// Whether there is something to read, the end included.
    pub(crate) fn is_readable(&self) -> bool {
        self.end.borrow_mut().is_readable()
    }

    /// Whether the other side has ended, or reset, the connection and nothing is left to read.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.borrow_mut().is_ended()
    }

    /// Writes what the other side has room for.
    pub(crate) fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.end.borrow_mut().write(from)
    }

    /// Reads what there is, at most `max` bytes; answers whether the stream has ended.
    pub(crate) fn read_some(&mut self, max: usize, to: &mut Vec<u8>) -> io::Result<bool> {
        let (mut block, mut left) = ([0; 16 * 1024], max);
        let mut end = self.end.borrow_mut();
        while left > 0 {
            let most = block.len().min(left);
            match end.read(&mut block[..most]) {
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

impl End for TcpStream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        io::Write::write(self, from)
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, to)
    }

    fn shutdown_write(&mut self) {
        // An error means that the other side is gone: reading tells.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn reset(&mut self) {
        SockRef::from(&*self).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn is_readable(&mut self) -> bool {
        peek(self).is_ok()
    }

    fn is_ended(&mut self) -> bool {
        ends(peek(self))
    }
}

impl End for UnixStream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        io::Write::write(self, from)
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, to)
    }

    fn shutdown_write(&mut self) {
        // An error means that the other side is gone: reading tells.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn reset(&mut self) {}

    fn is_readable(&mut self) -> bool {
        peek(self).is_ok()
    }

    fn is_ended(&mut self) -> bool {
        ends(peek(self))
    }
}

fn ends(seen: io::Result<usize>) -> bool {
    match seen {
        Ok(n) => n == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
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
