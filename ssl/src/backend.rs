//! What [`Tls`](crate::Tls) asks of a TLS library.

use std::{error, task::Waker};

use bufferevent::{Evbuffer, Interest, runtime::Time};

use crate::{Engine, Error, Progress, Received};

/// One side of a TLS connection without any I/O, as [`Tls`](crate::Tls) drives it: ciphertext goes in and out at one end, data
/// at the other. An [`Engine`] is one, by OpenSSL; nothing in here is of OpenSSL, so that another library can take its place.
///
/// It owns [two buffers](Self::buffers), which whoever drives it fills and drains. After an error it does nothing more, but what it has said last, an alert, is still sent.
///
/// `ssl/tests/backend.rs` has a whole one.
pub trait Backend: Send + 'static {
    /// What can go wrong.
    type Error: error::Error + Send + Sync + 'static;

    /// Whether the handshake is over, and data may be sent.
    fn is_open(&self) -> bool;

    /// Whether there is nothing to do before the first byte of the peer: see
    /// [`Filter::waits_for_peer`](bufferevent::Filter::waits_for_peer). Default: no.
    fn waits_for_peer(&self) -> bool {
        false
    }

    /// Begins anew, over another connection.
    fn restart(&mut self);

    /// What it can do without another byte: receive, or have something sent.
    fn holds(&self) -> Interest;

    /// What has arrived and was not taken yet, and what is to be sent.
    fn buffers(&mut self) -> (&mut Evbuffer, &mut Evbuffer);

    /// Nothing is done with it for now: it may give memory back. Called after each of what follows.
    fn rest(&mut self) {}

    /// Goes on with the handshake, with what has arrived.
    ///
    /// # Errors
    /// It has failed.
    fn handshake(&mut self) -> Result<Progress, Self::Error>;

    /// Has `waker` woken when a handshake that is [waiting](Progress::Waiting) can go on. Default: at once.
    fn wake_when_answered(&self, waker: &Waker) {
        waker.wake_by_ref();
    }

    /// Appends at most `limit` bytes of data to `into`, of what has arrived.
    ///
    /// # Errors
    /// The peer or the network broke the protocol. What was appended before stands.
    fn receive(&mut self, into: &mut Evbuffer, limit: usize, now: Time) -> Result<Received, Self::Error>;

    /// Takes data from the front of `from`, for about `limit` bytes of ciphertext; gives how much. 0: not now.
    ///
    /// # Errors
    /// It cannot.
    fn send(&mut self, from: &mut Evbuffer, limit: usize) -> Result<usize, Self::Error>;

    /// Tells the peer that nothing follows. Once.
    ///
    /// # Errors
    /// It cannot.
    fn notify(&mut self) -> Result<(), Self::Error>;

    /// No more arrives.
    ///
    /// # Errors
    /// The peer had not said so.
    fn end_of_arrivals(&mut self) -> Result<(), Self::Error>;
}

impl Backend for Engine {
    type Error = Error;

    fn is_open(&self) -> bool {
        Engine::is_open(self)
    }

    fn waits_for_peer(&self) -> bool {
        Engine::waits_for_peer(self)
    }

    fn restart(&mut self) {
        Engine::restart(self);
    }

    fn holds(&self) -> Interest {
        Engine::holds(self)
    }

    #[inline]
    fn buffers(&mut self) -> (&mut Evbuffer, &mut Evbuffer) {
        Engine::buffers(self)
    }

    #[inline]
    fn rest(&mut self) {
        Engine::rest(self);
    }

    fn handshake(&mut self) -> Result<Progress, Error> {
        Engine::handshake(self)
    }

    fn wake_when_answered(&self, waker: &Waker) {
        Engine::wake_when_answered(self, waker);
    }

    fn receive(&mut self, into: &mut Evbuffer, limit: usize, now: Time) -> Result<Received, Error> {
        Engine::receive(self, into, limit, now)
    }

    fn send(&mut self, from: &mut Evbuffer, limit: usize) -> Result<usize, Error> {
        Engine::send(self, from, limit)
    }

    fn notify(&mut self) -> Result<(), Error> {
        Engine::notify(self)
    }

    fn end_of_arrivals(&mut self) -> Result<(), Error> {
        Engine::end_of_arrivals(self)
    }
}
