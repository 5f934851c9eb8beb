//! How a socket is made to listen.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{BACKLOG, Listener};
use crate::error::{Error, Result};

/// How a listener's socket is made.
///
/// ```
/// use bufferevent_runtime::Listener;
///
/// let listener = Listener::options().backlog(16).reuse_port(true).bind("127.0.0.1:0")?;
/// # let _ = listener;
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct ListenOptions {
    backlog: i32,
    reuse_port: bool,
    only_v6: Option<bool>,
}

impl Listener {
    /// Settings for a socket that listens.
    pub fn options() -> ListenOptions {
        ListenOptions { backlog: BACKLOG, reuse_port: false, only_v6: None }
    }
}

impl ListenOptions {
    /// How many connections the kernel completes ahead of their accept, within the system's own bound. Default:
    /// [`BACKLOG`].
    pub fn backlog(mut self, connections: u16) -> Self {
        self.backlog = i32::from(connections);
        self
    }

    /// Lets several listeners share the address: the kernel spreads connections over them (`SO_REUSEPORT`). Default: off.
    ///
    /// # Libevent
    /// `LEV_OPT_REUSEABLE_PORT`.
    #[doc(alias = "LEV_OPT_REUSEABLE_PORT")]
    pub fn reuse_port(mut self, shared: bool) -> Self {
        self.reuse_port = shared;
        self
    }

    /// Whether an IPv6 socket takes IPv6 connections only, or those of IPv4 too. Default: what the system does.
    ///
    /// # Libevent
    /// `LEV_OPT_BIND_IPV6ONLY`, `LEV_OPT_BIND_IPV4_AND_IPV6`.
    #[doc(alias = "LEV_OPT_BIND_IPV6ONLY")]
    #[doc(alias = "LEV_OPT_BIND_IPV4_AND_IPV6")]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = Some(only);
        self
    }

    /// Listens on the first of `addresses` that can be had, with `SO_REUSEADDR` and keep-alive, as libevent does.
    ///
    /// # Errors
    /// [`Error::Io`] of the last address tried: in use, not available, not permitted; `InvalidInput` if there is none.
    /// # Libevent
    /// `evconnlistener_new_bind`.
    #[doc(alias = "evconnlistener_new_bind")]
    pub fn bind(self, addresses: impl ToSocketAddrs) -> Result<Listener> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for address in addresses.to_socket_addrs()? {
            match self.bind_one(address) {
                Ok(socket) => return Ok(Listener::over(socket, Some(self))),
                Err(error) => last = error,
            }
        }
        Err(Error::Io(last))
    }

    /// Listens on a Unix-domain stream socket at `path`. Of the settings only the backlog applies.
    ///
    /// A socket that lies there from an earlier process is removed if nobody listens on it. The file stays when the
    /// listener is closed.
    /// # Errors
    /// [`Error::Io`]: `AddrInUse` if somebody listens there, or something else lies there; not permitted, too long.
    /// # Libevent
    /// `evconnlistener_new_bind` with `AF_UNIX`. Differs: there a stale path is the caller's to remove.
    pub fn bind_unix(self, path: impl AsRef<Path>) -> Result<Listener> {
        let (path, address) = (path.as_ref(), SockAddr::unix(path.as_ref())?);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &address) => {
                std::fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        socket.listen(self.backlog)?;
        Ok(Listener::over(socket, None))
    }

    pub(super) fn is_reuse_port(self) -> bool {
        self.reuse_port
    }

    fn bind_one(self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let (Some(only), true) = (self.only_v6, address.is_ipv6()) {
            socket.set_only_v6(only)?;
        }
        socket.set_keepalive(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(self.backlog)?;
        Ok(socket)
    }
}

/// Whether a socket lies at `path` that nobody listens on: to connect to it is refused.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refuses = || {
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        probe.set_nonblocking(true)?;
        probe.connect(address)
    };
    is_socket && refuses().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
}
