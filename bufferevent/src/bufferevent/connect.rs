//! From no connection to one, or to one failure.

use bufferevent_runtime::Ready;
use socket2::SockAddr;

use super::{Bufferevent, Phase, Socket};
use crate::{
    error::{Error, Result},
    event::{Cause, Event},
    interest::Interest,
    options::Options,
    stream::{self, Stream},
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
        if self.is_closing() {
            return Err(Error::Closed);
        }
        if !matches!(self.socket, Socket::None) {
            return Err(Error::AlreadyConnected);
        }
        let connecting = stream::connect(&address.into())?;
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
        if !matches!(self.socket, Socket::None) {
            return Err(Error::AlreadyConnected);
        }
        let stream = stream.into().prepare().map_err(|(error, _)| error)?;
        self.exchange(stream, Phase::Connecting)?;
        Ok(())
    }

    pub(crate) fn connect_failed(&mut self, cause: Cause) {
        self.phase = Phase::Detached;
        if self.options.contains(Options::CLOSE_ON_FREE) {
            self.socket = Socket::None;
        }
        self.pending.event(Event::Error { direction: None, cause });
    }

    pub(crate) fn step_connect(&mut self) -> bool {
        if !self.ready.contains(Ready::WRITABLE) {
            return false;
        }
        let Some(link) = self.link() else { return false };
        match link.connected() {
            Some(Ok(())) if self.phase == Phase::Departing => self.begin_drain(),
            Some(Ok(())) => {
                self.phase = Phase::Open;
                self.restart_timeouts(Interest::BOTH);
                self.pending.connected();
            }
            Some(Err(_)) if self.phase == Phase::Departing => self.end(),
            Some(Err(error)) => self.connect_failed(Cause::Io(error)),
            None => self.ready = self.ready - Ready::WRITABLE,
        }
        true
    }
}
