//! From no connection to one, or to one failure.

use std::net::SocketAddr;

use bufferevent_runtime::Ready;
use socket2::{SockAddr, SockRef};

use super::{Bufferevent, Phase, Socket};
use crate::{
    clocks::Limit,
    connector::{Connector, Progress},
    error::{Error, Result},
    event::{Cause, Event},
    interest::Interest,
    options::Options,
    resolver::LookupError,
    stream::{self, Stream},
    target::Target,
};

impl Bufferevent {
    /// Begins to connect to `address`, with a socket made for it. [`Event::Connected`] or [`Event::Error`] tells how it
    /// ended, exactly one of them and never from inside this call.
    ///
    /// # Errors
    /// [`Error::AlreadyConnected`] if there is a descriptor; [`Error::Closed`] after `close`; [`Error::Io`] if no socket
    /// could be made. No event comes then.
    /// # Libevent
    /// `bufferevent_socket_connect`. Differs: a failure inside the call is told by the event too.
    #[doc(alias = "bufferevent_socket_connect")]
    pub fn connect_to(&mut self, address: impl Into<SockAddr>) -> Result<()> {
        self.check_detached()?;
        if let Some(layer) = self.layer_mut() {
            layer.lower.connect_to(address)?;
            self.follow();
            return Ok(());
        }
        self.restart_timeouts(Interest::WRITE);
        let connecting = stream::connect(&address.into(), None)?;
        match connecting.failed {
            Some(error) => self.connect_failed(Cause::Io(error)),
            None => drop(self.exchange(connecting.stream, Phase::Connecting)?),
        }
        Ok(())
    }

    /// Takes over a socket whose connect is under way. [`Event::Connected`] or [`Event::Error`] follows.
    ///
    /// # Errors
    /// As [`Bufferevent::set_fd`], and [`Error::AlreadyConnected`] if there is a descriptor.
    /// # Libevent
    /// `bufferevent_socket_connect` with no address.
    pub fn connect_pending_on(&mut self, stream: impl Into<Stream>) -> Result<()> {
        self.check_detached()?;
        let stream = stream.into().prepare().map_err(|(error, _)| error)?;
        self.exchange(stream, Phase::Connecting)?;
        Ok(())
    }

    /// Begins to connect to a host, by its name or as a literal address, at `port`: [`Target::host`] with defaults.
    ///
    /// While the name is looked up nothing is read or written, and `enable` and `disable` only set flags. A literal address
    /// needs no lookup. Then, as [`Bufferevent::connect_to`]: [`Event::Connected`] or [`Event::Error`] tells how it
    /// ended, exactly one of them and never from inside this call; its cause is [`Cause::Lookup`] if no address was
    /// found, see also [`Bufferevent::lookup_error`].
    ///
    /// [`Bufferevent::close`], [`Bufferevent::set_fd`] and [`Bufferevent::take_fd`] give it up; a close with output
    /// queued first sends that, if a connection comes to stand.
    /// # Errors
    /// [`Error::InvalidHost`] if it is no host, or the port is 0; [`Error::AlreadyConnected`] if there is a descriptor, or
    /// a connect under way; [`Error::Closed`] after `close`. No event comes then.
    /// # Libevent
    /// `bufferevent_socket_connect_hostname`. Differs: never blocks, and tries all addresses.
    ///
    /// # Examples
    /// ```
    /// use bufferevent::{Base, BaseExt, Bufferevent, Pinned};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// let id = Bufferevent::detached().start(&mut base)?;
    /// base.bufferevent(id)?.connect_to_host("localhost", 7000)?;
    /// # Ok::<(), bufferevent::Error>(())
    /// ```
    #[doc(alias = "bufferevent_socket_connect_hostname")]
    pub fn connect_to_host(&mut self, host: &str, port: u16) -> Result<()> {
        self.connect_to_target(Target::host(host, port)?)
    }

    /// Begins to connect to any of `addresses`: [`Target::any`] with defaults.
    ///
    /// # Errors
    /// As [`Bufferevent::connect_to_host`].
    pub fn connect_to_any(&mut self, addresses: &[SocketAddr]) -> Result<()> {
        self.connect_to_target(Target::any(addresses)?)
    }

    /// Begins to connect to `target`, as [`Bufferevent::connect_to_host`] does.
    ///
    /// # Errors
    /// [`Error::AlreadyConnected`] if there is a descriptor, or a connect under way; [`Error::Closed`] after `close`.
    /// # Libevent
    /// `bufferevent_socket_connect_hostname_hints`.
    #[doc(alias = "bufferevent_socket_connect_hostname_hints")]
    pub fn connect_to_target(&mut self, target: Target) -> Result<()> {
        self.check_detached()?;
        if let Some(layer) = self.layer_mut() {
            layer.lower.connect_to_target(target)?;
            self.follow();
            return Ok(());
        }
        self.restart_timeouts(Interest::WRITE);
        self.connector = Some(Box::new(Connector::new(target)));
        self.failure = None;
        self.enter(Phase::Connecting);
        Ok(())
    }

    /// Whether the name of a host is being looked up: reading and writing wait for that.
    ///
    /// # Libevent
    /// `BEV_SUSPEND_LOOKUP`.
    pub fn is_looking_up(&self) -> bool {
        self.bottom().connector.as_ref().is_some_and(|connector| connector.is_looking_up())
    }

    /// Why the last lookup of a name failed; `None` if it did not, after the next connect by name was begun, and once it
    /// closes.
    ///
    /// # Libevent
    /// `bufferevent_socket_get_dns_error`; [`LookupError::code`] gives the number.
    #[doc(alias = "bufferevent_socket_get_dns_error")]
    pub fn lookup_error(&self) -> Option<&LookupError> {
        match self.bottom().failure.as_deref() {
            Some(Cause::Lookup(error)) => Some(error),
            _ => None,
        }
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// [`Error::NotConnected`] without a descriptor, or while it connects; [`Error::Io`] if the peer is gone already.
    pub fn peer_addr(&self) -> Result<SockAddr> {
        match self.fd() {
            Some(fd) if self.phase != Phase::Connecting => Ok(SockRef::from(&fd).peer_addr()?),
            _ => Err(Error::NotConnected),
        }
    }

    /// Our own address.
    ///
    /// # Errors
    /// [`Error::NotConnected`] without a descriptor; [`Error::Io`] if the system does not tell.
    pub fn local_addr(&self) -> Result<SockAddr> {
        let fd = self.fd().ok_or(Error::NotConnected)?;
        Ok(SockRef::from(&fd).local_addr()?)
    }

    /// Whether a connect may begin.
    fn check_detached(&self) -> Result<()> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        let bottom = self.bottom();
        if bottom.pair_end().is_some() {
            return Err(Error::NotSocket);
        }
        if bottom.connector.is_some() || !matches!(bottom.socket, Socket::None) {
            return Err(Error::AlreadyConnected);
        }
        Ok(())
    }

    pub(crate) fn connect_failed(&mut self, cause: Cause) {
        if self.is_layered() {
            return self.handshake_failed(cause);
        }
        self.connector = None;
        if self.phase == Phase::Departing {
            return self.end_by(cause);
        }
        self.enter(Phase::Detached);
        if self.options.contains(Options::CLOSE_ON_FREE) {
            self.socket = Socket::None;
        }
        if let Cause::Lookup(error) = &cause {
            self.failure = Some(Box::new(Cause::Lookup(error.clone())));
        }
        self.pending.event(Event::Error { direction: None, cause });
    }

    pub(crate) fn connection_stands(&mut self) {
        if self.phase == Phase::Departing {
            return self.begin_drain();
        }
        self.enter(Phase::Open);
        self.restart_timeouts(Interest::BOTH);
        self.pending.connected();
    }

    pub(crate) fn step_connect(&mut self) -> bool {
        if self.connector.is_some() {
            return self.step_connector();
        }
        if !self.ready.contains(Ready::WRITABLE) {
            return false;
        }
        let Some(link) = self.link() else { return false };
        match link.connected() {
            Some(Ok(())) => self.connection_stands(),
            Some(Err(error)) => self.connect_failed(Cause::Io(error)),
            None => self.ready = self.ready - Ready::WRITABLE,
        }
        true
    }

    fn step_connector(&mut self) -> bool {
        let (Some(connector), Some(home)) = (&mut self.connector, &self.home) else { return false };
        let stirred = self.ready.contains(Ready::WRITABLE);
        self.ready = Ready::NONE;
        let now = self.run.now;
        match connector.advance(home, stirred, now) {
            Progress::Waits(until) => {
                self.clocks().set_end(Limit::Attempt, until, now);
                return false;
            }
            Progress::Connected(socket) => {
                self.connector = None;
                self.socket = Socket::Registered(socket);
                self.connection_stands();
            }
            Progress::Failed(cause) => self.connect_failed(cause),
        }
        true
    }
}
