//! The descriptor: given, taken, told to the selector.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use bufferevent_evbuffer::End;
use bufferevent_runtime::{Permit, Ready, Registered};

use super::{Bufferevent, Phase, Socket};
use crate::{
    error::{Error, Result},
    interest::Interest,
    stream::{Link, Stream},
};

impl Bufferevent {
    /// The descriptor, if there is one; of a filter that of the lowest bufferevent.
    ///
    /// # Libevent
    /// `bufferevent_getfd`.
    #[doc(alias = "bufferevent_getfd")]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            Socket::None => None,
            Socket::Idle(stream) => Some(stream.as_fd()),
            Socket::Registered(registered) => Some(registered.as_fd()),
            Socket::Filter(layer) => layer.lower.fd(),
            Socket::Pair(_) => None,
            #[cfg(feature = "test-util")]
            Socket::Scripted(_) => None,
        }
    }

    /// What system calls are made on, if there is anything.
    #[inline(always)]
    pub(crate) fn link(&self) -> Option<Link<'_>> {
        #[cfg(feature = "test-util")]
        if let Socket::Scripted(plug) = &self.socket {
            return Some(Link::Wire(plug.wire()));
        }
        match &self.socket {
            Socket::Registered(registered) => Some(Link::Fd(registered.as_fd())),
            Socket::Idle(stream) => Some(Link::Fd(stream.as_fd())),
            _ => None,
        }
    }

    /// The number of the descriptor, if there is one.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.fd().map(|fd| fd.as_raw_fd())
    }

    /// Gives the bufferevent a connected stream socket, in place of the one it has, which comes back. Buffers stay, but what
    /// waits below a filter with a handshake: that is of the old connection.
    ///
    /// # Errors
    /// [`Error::Closed`] after `close`; [`Error::NotSocket`] of half of a pair; [`Error::NotStream`] if it is no stream socket; [`Error::Io`] if the selector does
    /// not take it. The bufferevent goes on with the socket it has then, and the one that is refused is closed; who
    /// wants to keep it gives a duplicate.
    /// # Libevent
    /// `bufferevent_setfd`.
    #[doc(alias = "bufferevent_setfd")]
    #[doc(alias = "bufferevent_replacefd")]
    pub fn set_fd(&mut self, stream: impl Into<Stream>) -> Result<Option<OwnedFd>> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        let stream = stream.into().prepare().map_err(|(error, _)| error)?;
        self.exchange(stream, Phase::Open)
    }

    /// Takes the descriptor away, or gives up a connect by name or to several addresses; the bufferevent stays, detached.
    /// Buffers stay; an end or an error of the descriptor that is not told yet is not told any more.
    ///
    /// One that is being closed ends at once: output that is left is unsent.
    /// # Libevent
    /// `bufferevent_setfd(-1)`.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        if self.bottom().pair_end().is_some() {
            return None;
        }
        if let Some(layer) = self.layer_mut() {
            let taken = layer.lower.take_fd();
            self.pending.forget_connection();
            self.begin_anew();
            if taken.is_some() && self.is_closing() {
                self.end();
            }
            return taken;
        }
        self.ready = Ready::NONE;
        if self.connector.take().is_some() {
            self.connection_is_gone();
        }
        (self.told.eof, self.told.owes_eof, self.told.broken_off) = (false, false, false);
        let fd = self.release_fd()?;
        if std::mem::take(&mut self.shut).asked.contains(Interest::WRITE) {
            self.output.unfreeze(End::Back);
        }
        self.pending.forget_connection();
        self.connection_is_gone();
        Some(fd)
    }

    fn connection_is_gone(&mut self) {
        if self.is_closing() {
            self.end();
        } else {
            self.enter(Phase::Detached);
        }
    }

    pub(super) fn exchange(&mut self, mut stream: Stream, phase: Phase) -> Result<Option<OwnedFd>> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        if let Some(layer) = self.layer_mut() {
            let old = layer.lower.exchange(stream, phase)?;
            self.restart_timeouts(Interest::BOTH);
            self.begin_anew();
            return Ok(old);
        }
        if matches!(self.socket, Socket::Pair(_)) {
            return Err(Error::NotSocket);
        }
        // The new one first: if the selector refuses it, nothing has changed.
        let permit = stream.take_permit();
        let new = self.registered(stream).map_err(|(error, _)| error)?;
        let old = self.take_fd();
        self.permit = permit;
        self.restart_timeouts(Interest::BOTH);
        self.socket = new;
        self.enter(phase);
        Ok(old)
    }

    /// Makes sure that the descriptor it was made with is a stream socket that does not block.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        if let Some(layer) = self.layer_mut() {
            return layer.lower.prepare();
        }
        self.turn_idle(|_, stream| stream.prepare().map(Socket::Idle))
    }

    /// Tells the selector of the descriptor it was made with.
    pub(crate) fn register(&mut self) -> io::Result<()> {
        if let Some(layer) = self.layer_mut() {
            return layer.lower.register();
        }
        #[cfg(feature = "test-util")]
        if let (Socket::Scripted(plug), Some(home)) = (&self.socket, &self.home) {
            plug.attach(home.base.selector(), home.key.token());
        }
        self.attach_confined();
        self.turn_idle(Self::registered)
    }

    /// Turns a descriptor that the selector does not know yet into what `make` makes of it; refused, it stays.
    fn turn_idle<E>(
        &mut self,
        make: impl FnOnce(&Self, Stream) -> Result<Socket, (E, Stream)>,
    ) -> Result<(), E> {
        let (socket, made) = match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::Idle(stream) => match make(self, stream) {
                Ok(socket) => (socket, Ok(())),
                Err((error, stream)) => (Socket::Idle(stream), Err(error)),
            },
            other => (other, Ok(())),
        };
        self.socket = socket;
        made
    }

    /// Tells the selector of a descriptor, once the bufferevent has a home.
    fn registered(&self, stream: Stream) -> Result<Socket, (io::Error, Stream)> {
        let Some(home) = &self.home else { return Ok(Socket::Idle(stream)) };
        let registered = Registered::new(home.base.selector(), stream.into(), home.key.token());
        registered.map(Socket::Registered).map_err(|(fd, error)| (error, fd.into()))
    }

    pub(crate) fn release_fd(&mut self) -> Option<OwnedFd> {
        self.permit = Permit::default();
        match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::None => None,
            Socket::Idle(stream) => Some(stream.into()),
            Socket::Registered(registered) => Some(registered.into_source()),
            // No effect on pairs (D19).
            Socket::Pair(_) => None,
            other => {
                self.socket = other;
                None
            }
        }
    }
}
