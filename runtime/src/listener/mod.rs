//! Listeners: accept in batches, wait out a shortage of descriptors, hand each connection on.

mod accepting;
mod callbacks;
mod filter;
mod handle;
mod limit;
mod options;

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    num::NonZeroUsize,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use bufferevent_sync::atomic::AtomicBool;
use socket2::{SockAddr, SockRef, Socket, Type};

pub use self::{
    accepting::Accepting,
    filter::{AddressLimit, Verdict},
    handle::ListenerHandle,
    limit::{ConnectionLimit, Paused, Permit, SPARE_DESCRIPTORS},
    options::ListenOptions,
};
use self::{accepting::Admission, filter::Filter, limit::Waiting};
pub(crate) use self::{accepting::Counts, callbacks::Callbacks};
use crate::{
    affinity::{Affinity, IntoSource},
    base::{Base, BaseHandle},
    error::{Error, Result},
    protocol::Reasons,
    selector::Registered,
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
    /// Under a limit only.
    permit: Permit,
}

impl Accepted {
    /// The address of the peer.
    ///
    /// # Errors
    /// [`Error::Io`] if the peer is gone already.
    pub fn peer_addr(&self) -> Result<SockAddr> {
        Ok(SockRef::from(&self.fd).peer_addr()?)
    }

    /// The socket, and what counts it under the listener's [limits](ConnectionLimit) until it is dropped; `None` if there
    /// are none.
    pub fn into_parts(self) -> (OwnedFd, Permit) {
        (self.fd, self.permit)
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
pub struct Listener {
    socket: Socket,
    /// How an internet socket was made.
    made: Option<ListenOptions>,
    disabled: bool,
    /// Its own, and one that it may share.
    limits: [Option<ConnectionLimit>; 2],
    filter: Option<Filter>,
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
        Self::options().bind(addresses)
    }

    /// As [`Listener::bind`], with `SO_REUSEPORT`, so that several listeners share the address and the kernel spreads
    /// connections over them.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn bind_reuse_port(addresses: impl ToSocketAddrs) -> Result<Self> {
        Self::options().reuse_port(true).bind(addresses)
    }

    /// As [`Listener::options`] with [`bind_unix`](ListenOptions::bind_unix).
    ///
    /// # Errors
    /// As there.
    pub fn bind_unix(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().bind_unix(path)
    }

    fn over(socket: Socket, made: Option<ListenOptions>) -> Self {
        Self { socket, made, disabled: false, limits: [None, None], filter: None }
    }

    /// Another one on the same address, with all its settings and under the same limits.
    pub(crate) fn again(&self) -> Result<Self> {
        let shared = self.made.filter(|made| made.is_reuse_port());
        let made = shared.ok_or(Error::Unsupported("one socket for each base needs `reuse_port`"))?;
        let (limits, filter) = (self.limits.clone(), self.filter.clone());
        Ok(Self { disabled: self.disabled, limits, filter, ..made.bind(self.local_addr()?)? })
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
        Ok(Self::over(socket, None))
    }

    /// Starts disabled: nothing is accepted until [`ListenerHandle::enable`].
    ///
    /// # Libevent
    /// `LEV_OPT_DISABLED`.
    #[must_use]
    #[doc(alias = "LEV_OPT_DISABLED")]
    pub fn disabled(mut self) -> Self {
        self.disabled = true;
        self
    }

    /// Bounds the connections of this listener that are open at once. Default: no bound. See [`ConnectionLimit`].
    ///
    /// At the bound it pauses, tells `on_error` once ([`Error::ConnectionLimit`]), and goes on when one is over.
    #[must_use]
    pub fn max_connections(mut self, limit: NonZeroUsize) -> Self {
        self.limits[0] = Some(ConnectionLimit::new(limit));
        self
    }

    /// Bounds the connections that are open at once over all listeners that are given `limit`, beside those of
    /// [`Listener::max_connections`]. Default: no bound.
    #[must_use]
    pub fn limited_by(mut self, limit: &ConnectionLimit) -> Self {
        self.limits[1] = Some(limit.clone());
        self
    }

    /// Asks `filter` for each connection before anything else is done with it: before it is placed on a base, and before the
    /// accept callback. Default: all are admitted. See [`AddressLimit`].
    ///
    /// It runs on the listener's base; a panic in it is a refusal.
    /// # Examples
    /// ```
    /// use bufferevent_runtime::{Listener, Verdict};
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?.filter(|accepted| {
    ///     match accepted.peer_addr().ok().and_then(|peer| peer.as_socket()) {
    ///         Some(peer) if peer.ip().is_loopback() => Verdict::Admit,
    ///         _ => Verdict::Refuse,
    ///     }
    /// });
    /// # drop(listener);
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(&Accepted) -> Verdict + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(filter));
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
        Accepting<A, F, fn(BoxError, &mut Base<A>)>: IntoSource<A>,
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
        Accepting<A, F, E>: IntoSource<A>,
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
    ) -> Result<(Accepting<A, F, E>, ListenerHandle<A>)> {
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
        let waiting = Waiting { base: base.as_movable(), key };
        let gate = Admission {
            enabled: Arc::clone(&enabled),
            limits: self.limits,
            waiting,
            filter: self.filter,
            paused: false,
        };
        let callbacks = Arc::<Callbacks<A>>::default();
        let handle = ListenerHandle { key, enabled, address, base, callbacks: Arc::downgrade(&callbacks) };
        Ok((Accepting::new(socket, gate, callbacks, on_accept, on_error, counts), handle))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("socket", &self.socket)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

fn ignore<A: Affinity>(_: BoxError, _: &mut Base<A>) {}

fn local_addr(socket: &Socket) -> Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| Error::Io(io::ErrorKind::Unsupported.into()))
}
