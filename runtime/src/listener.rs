//! Listeners: accept in batches, wait out a shortage of descriptors, hand each connection on.

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::Duration,
};

use bufferevent_sync::atomic::{AtomicBool, Ordering};
use rustix::{
    io::Errno,
    net::{SocketFlags, accept_with},
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::{
    affinity::{Affinity, IntoSource, Movable},
    base::{Base, BaseHandle},
    error::{Error, Result},
    protocol::Reasons,
    selector::{Ready, Registered},
    slots::Key,
    source::{After, Source},
    task::isolate,
};

/// What an accept callback may answer when it could not use the connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connections accepted in one run; the rest wait their turn behind what else is ready.
pub const ACCEPTS_PER_RUN: usize = 64;

/// Length of the queue of connections the kernel has completed, unless set.
pub const BACKLOG: i32 = 1_024;

/// Pause after the process ran out of descriptors or memory.
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// A connection that was accepted: a non-blocking, close-on-exec stream socket.
#[derive(Debug)]
pub struct Accepted {
    fd: OwnedFd,
}

impl Accepted {
    /// The address of the peer.
    ///
    /// # Errors
    /// [`Error::Io`] if the peer is gone already.
    pub fn peer_addr(&self) -> Result<SockAddr> {
        Ok(SockRef::from(&self.fd).peer_addr()?)
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Accepted> for OwnedFd {
    fn from(accepted: Accepted) -> Self {
        accepted.fd
    }
}

impl From<Accepted> for TcpStream {
    fn from(accepted: Accepted) -> Self {
        accepted.fd.into()
    }
}

impl From<Accepted> for UnixStream {
    fn from(accepted: Accepted) -> Self {
        accepted.fd.into()
    }
}

/// A socket that listens, not yet on a base.
///
/// ```
/// use bufferevent_runtime::{Base, Listener, Pinned};
///
/// let mut base = Base::<Pinned>::new()?;
/// let listener = Listener::bind("127.0.0.1:0")?;
/// println!("listening on {}", listener.local_addr()?);
/// let listener = listener.start(&mut base, |connection, _base| {
///     drop(connection);
///     Ok(())
/// })?;
/// listener.close()?;
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
/// # Libevent
/// `evconnlistener`.
#[doc(alias = "evconnlistener")]
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    disabled: bool,
}

impl Listener {
    /// Listens on the first of `addresses` that can be had, with [`BACKLOG`], `SO_REUSEADDR` and keep-alive, as libevent
    /// does.
    ///
    /// # Errors
    /// [`Error::Io`] of the last address tried: in use, not available, not permitted; `InvalidInput` if there is none.
    /// # Libevent
    /// `evconnlistener_new_bind`.
    #[doc(alias = "evconnlistener_new_bind")]
    pub fn bind(addresses: impl ToSocketAddrs) -> Result<Self> {
        Self::bind_with(addresses, false)
    }

    /// As [`Listener::bind`], with `SO_REUSEPORT`, so that several listeners share the address and the kernel spreads
    /// connections over them.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn bind_reuse_port(addresses: impl ToSocketAddrs) -> Result<Self> {
        Self::bind_with(addresses, true)
    }

    fn bind_with(addresses: impl ToSocketAddrs, reuse_port: bool) -> Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for address in addresses.to_socket_addrs()? {
            match bind_one(address, reuse_port) {
                Ok(socket) => return Ok(Self { socket, disabled: false }),
                Err(error) => last = error,
            }
        }
        Err(Error::Io(last))
    }

    /// Takes a socket that listens already; it is made non-blocking.
    ///
    /// # Errors
    /// [`Error::Io`]: `InvalidInput` if the descriptor is not a listening stream socket.
    /// # Libevent
    /// `evconnlistener_new` with a backlog of 0.
    #[doc(alias = "evconnlistener_new")]
    pub fn from_fd(fd: impl Into<OwnedFd>) -> Result<Self> {
        let socket = Socket::from(fd.into());
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(Error::Io(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a listening stream socket",
            )));
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, disabled: false })
    }

    /// Starts disabled: nothing is accepted until [`ListenerHandle::enable`].
    ///
    /// # Libevent
    /// `LEV_OPT_DISABLED`.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.disabled = true;
        self
    }

    /// The address it listens on; the port is the real one if 0 was asked for.
    ///
    /// # Errors
    /// [`Error::Io`]: `Unsupported` if the socket is not an internet socket.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        local_addr(&self.socket)
    }

    /// Puts the listener on `base`: `on_accept` runs there for each connection, and an error it answers closes that
    /// connection.
    ///
    /// # Errors
    /// [`Error::Io`] if the selector does not take the socket.
    pub fn start<A: Affinity, F>(self, base: &mut Base<A>, on_accept: F) -> Result<ListenerHandle<A>>
    where
        F: FnMut(Accepted, &mut Base<A>) -> Result<(), BoxError> + 'static,
        Accepting<F, fn(BoxError, &mut Base<A>)>: IntoSource<A>,
    {
        self.start_with(base, on_accept, ignore as fn(BoxError, &mut Base<A>))
    }

    /// As [`Listener::start`]; `on_error` is told of accepts that failed and of errors that `on_accept` answered.
    ///
    /// After a failure, as a shortage of descriptors or memory, the listener pauses for [`ACCEPT_BACK_OFF`] by itself; one
    /// spare descriptor is kept to turn a waiting peer away meanwhile.
    /// # Errors
    /// [`Error::Io`] if the selector does not take the socket.
    /// # Libevent
    /// `evconnlistener_set_error_cb`.
    #[doc(alias = "evconnlistener_set_error_cb")]
    pub fn start_with<A: Affinity, F, E>(
        self,
        base: &mut Base<A>,
        on_accept: F,
        on_error: E,
    ) -> Result<ListenerHandle<A>>
    where
        F: FnMut(Accepted, &mut Base<A>) -> Result<(), BoxError> + 'static,
        E: FnMut(BoxError, &mut Base<A>) + 'static,
        Accepting<F, E>: IntoSource<A>,
    {
        let (accepting, handle) = self.register(base.handle(), on_accept, on_error, Counts::Accepts)?;
        base.insert_boxed(handle.key, accepting.into_source());
        Ok(handle)
    }

    /// Puts the listener on a base of another thread.
    pub(crate) fn start_from<F, E>(
        self,
        base: BaseHandle,
        on_accept: F,
        on_error: E,
        counts: Counts,
    ) -> Result<ListenerHandle>
    where
        F: FnMut(Accepted, &mut Base) -> Result<(), BoxError> + Send + 'static,
        E: FnMut(BoxError, &mut Base) + Send + 'static,
    {
        let (accepting, handle) = self.register(base, on_accept, on_error, counts)?;
        let key = handle.key;
        let posted = handle.base.post(move |base| {
            base.insert_boxed(key, accepting.into_source());
            // An edge may have come before the base knew the key.
            base.post_to(key, Reasons::READABLE);
        });
        match posted {
            Ok(()) => Ok(handle),
            Err(error) => {
                handle.base.unreserve(key);
                Err(error)
            }
        }
    }

    fn register<A: Affinity, F, E>(
        self,
        base: BaseHandle<A>,
        on_accept: F,
        on_error: E,
        counts: Counts,
    ) -> Result<(Accepting<F, E>, ListenerHandle<A>)> {
        let address = self.local_addr().ok();
        let enabled = Arc::new(AtomicBool::new(!self.disabled));
        let key = base.shared.keys.reserve();
        let socket = match Registered::new(base.selector(), OwnedFd::from(self.socket), key.token()) {
            Ok(socket) => socket,
            Err((_, error)) => {
                base.shared.keys.release(key);
                return Err(error.into());
            }
        };
        let accepting =
            Accepting { socket, enabled: Arc::clone(&enabled), on_accept, on_error, counts, spare: spare() };
        Ok((accepting, ListenerHandle { key, enabled, address, base }))
    }
}

fn ignore<A: Affinity>(_: BoxError, _: &mut Base<A>) {}

fn bind_one(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_keepalive(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn local_addr(socket: &Socket) -> Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| Error::Io(io::ErrorKind::Unsupported.into()))
}

/// A listener on its base, as any thread may use it. Dropping it changes nothing.
pub struct ListenerHandle<A: Affinity = Movable> {
    key: Key,
    enabled: Arc<AtomicBool>,
    address: Option<SocketAddr>,
    base: BaseHandle<A>,
}

impl<A: Affinity> ListenerHandle<A> {
    /// The address it listens on, `None` if it is not an internet socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The base it accepts on.
    pub fn base(&self) -> &BaseHandle<A> {
        &self.base
    }

    /// Accepts again, those that came meanwhile first.
    ///
    /// From any thread and any callback.
    /// # Errors
    /// [`Error::InboxFull`] or [`Error::Closed`] of the base.
    /// # Libevent
    /// `evconnlistener_enable`.
    #[doc(alias = "evconnlistener_enable")]
    pub fn enable(&self) -> Result<()> {
        // ORDER: AcqRel, pairs with the load in `Accepting::run`; the post below brings the run that sees it.
        self.enabled.swap(true, Ordering::AcqRel);
        let key = self.key;
        self.base.post(move |base| base.post_to(key, Reasons::READABLE))
    }

    /// Stops accepting; new connections wait in the kernel's queue. An accept callback that runs on another thread
    /// finishes, and nothing waits for it.
    ///
    /// # Libevent
    /// `evconnlistener_disable`.
    #[doc(alias = "evconnlistener_disable")]
    pub fn disable(&self) {
        // ORDER: AcqRel; see `enable`. It is looked at before each accept.
        self.enabled.swap(false, Ordering::AcqRel);
    }

    /// Closes the listening socket, at the end of the accept callback if one runs.
    ///
    /// # Errors
    /// [`Error::InboxFull`] or [`Error::Closed`] of the base.
    /// # Libevent
    /// `evconnlistener_free`.
    #[doc(alias = "evconnlistener_free")]
    pub fn close(&self) -> Result<()> {
        self.disable();
        let key = self.key;
        self.base.post(move |base| {
            base.remove(key);
        })
    }
}

impl<A: Affinity> Clone for ListenerHandle<A> {
    fn clone(&self) -> Self {
        Self {
            key: self.key,
            enabled: Arc::clone(&self.enabled),
            address: self.address,
            base: self.base.clone(),
        }
    }
}

impl<A: Affinity> fmt::Debug for ListenerHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerHandle").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Which base counts a connection: the one that accepts it, or the one it is handed to, which does that itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    Accepts,
    OnArrival,
}

/// A listener as its base owns it.
pub struct Accepting<F, E> {
    socket: Registered<OwnedFd>,
    enabled: Arc<AtomicBool>,
    on_accept: F,
    on_error: E,
    counts: Counts,
    /// Given up for a moment when there is no other descriptor left, to turn a peer away.
    spare: Option<OwnedFd>,
}

impl<F, E> fmt::Debug for Accepting<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepting").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl<A: Affinity, F, E> Source<A> for Accepting<F, E>
where
    F: FnMut(Accepted, &mut Base<A>) -> Result<(), BoxError> + 'static,
    E: FnMut(BoxError, &mut Base<A>) + 'static,
{
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        if reasons.contains(Reasons::CLOSE) {
            return After::Remove;
        }
        for _ in 0..ACCEPTS_PER_RUN {
            // ORDER: Acquire, pairs with the swaps of `enable` and `disable`.
            if !self.enabled.load(Ordering::Acquire) {
                return After::Idle;
            }
            match accept_with(self.socket.as_fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(fd) => self.hand_on(fd, base),
                Err(Errno::AGAIN) => {
                    return match self.socket.rearm(key.token(), Ready::READABLE) {
                        Ok(()) => After::Idle,
                        Err(error) => {
                            self.report(error.into(), base);
                            After::Remove
                        }
                    };
                }
                // The peer left the queue before it was accepted.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    self.report(io::Error::from(error).into(), base);
                    if is_shortage(error) {
                        self.turn_away();
                    }
                    // No edge need come for what waits in the queue already.
                    base.arm(key, base.deadline(ACCEPT_BACK_OFF));
                    return After::Idle;
                }
            }
        }
        After::Again(Reasons::READABLE)
    }
}

impl<F, E> Accepting<F, E> {
    fn hand_on<A: Affinity>(&mut self, fd: OwnedFd, base: &mut Base<A>)
    where
        F: FnMut(Accepted, &mut Base<A>) -> Result<(), BoxError>,
        E: FnMut(BoxError, &mut Base<A>),
    {
        if self.counts == Counts::Accepts {
            base.counters().accepted.add(1);
        }
        let mut answer = Ok(());
        if !isolate(|| answer = (self.on_accept)(Accepted { fd }, base)) {
            base.counters().panics.add(1);
        }
        if let Err(error) = answer {
            self.report(error, base);
        }
    }

    fn report<A: Affinity>(&mut self, error: BoxError, base: &mut Base<A>)
    where
        E: FnMut(BoxError, &mut Base<A>),
    {
        if !isolate(|| (self.on_error)(error, base)) {
            base.counters().panics.add(1);
        }
    }

    /// Accepts one peer with the spare descriptor and closes it at once: it learns that there is no room, and the queue
    /// does not stay full of peers that wait for nothing.
    fn turn_away(&mut self) {
        if self.spare.take().is_some() {
            drop(accept_with(self.socket.as_fd(), SocketFlags::CLOEXEC));
        }
        self.spare = spare();
    }
}

fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

fn spare() -> Option<OwnedFd> {
    std::fs::File::open("/dev/null").ok().map(OwnedFd::from)
}
