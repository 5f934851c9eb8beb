//! One side of a TLS connection, without any I/O.
//!
//! | state | meaning | to |
//! |---|---|---|
//! | Idle | nothing was made yet: a server waits for the first byte | Handshaking |
//! | Handshaking | neither side may send data | Open, Broken |
//! | Open | data both ways | Closed, Broken |
//! | Closed | we have told our end; what the peer sends is still received | Broken |
//! | Broken | it failed; an alert for the peer may be left to be sent | |

mod receive;
mod send;

use std::{fmt, mem, task::Waker};

use bufferevent::{Evbuffer, Interest};
use openssl::{
    error::ErrorStack,
    ssl::{ShutdownState, SslRef, SslStream},
};

pub use self::receive::Received;
use crate::{
    Error, ErrorKind, HANDSHAKE_BYTES, RECORD,
    call::{Reply, call, prepare},
    ffi,
    flood::Flood,
    lookup::{self, Refusal},
    origin::Origin,
    wire::{self, Wire},
};

/// One side of a TLS connection, in memory: ciphertext goes in and out at one end, data at the other. Who has it moves the
/// bytes; it does no I/O, knows no clock and starts no thread.
///
/// Made by [`Acceptor::engine`](crate::Acceptor::engine) or [`Connector::engine`](crate::Connector::engine). What is to be done
/// after each step: send what is in [`to_send`](Self::to_send), after a failure too, for the peer is told why.
///
/// ```
/// use bufferevent_ssl::{Acceptor, Connector, Engine, Identity, Progress, runtime::Time};
/// use bufferevent_ssl::Evbuffer;
///
/// let identity = Identity::self_signed(&["example.org"])?;
/// let roots = identity.certificate_pem()?;
/// let mut server = Acceptor::builder().identity(identity).build()?.engine();
/// let mut client = Connector::builder().roots_pem(&roots)?.build()?.engine("example.org")?;
///
/// let carry = |from: &mut Engine, to: &mut Engine| to.arrived().append(from.to_send());
/// while client.handshake()? == Progress::Pending || server.handshake()? == Progress::Pending {
///     carry(&mut client, &mut server)?;
///     server.handshake()?;
///     carry(&mut server, &mut client)?;
/// }
///
/// client.send(&mut Evbuffer::from(b"hello"), usize::MAX)?;
/// client.notify()?;
/// carry(&mut client, &mut server)?;
/// let mut data = Evbuffer::new();
/// let received = server.receive(&mut data, usize::MAX, Time::ZERO)?;
/// assert_eq!(data, b"hello");
/// assert!(received.ended);
/// # Ok::<(), bufferevent_ssl::Error>(())
/// ```
/// # Locks
/// None: it has one owner, and is `Send`. Callbacks that were set on the acceptor or the connector run inside
/// [`handshake`](Self::handshake).
pub struct Engine {
    origin: Origin,
    /// `None` until there is something to be done.
    stream: Option<SslStream<Wire>>,
    wire: wire::Owned,
    state: State,
    /// Whether the peer has told its end.
    ended: bool,
    /// Bytes of ciphertext that OpenSSL may have of records whose data it has not given yet, at most: it has no more than a record.
    held: u16,
    /// Whether OpenSSL may hold records that nobody has asked it for.
    unproven: bool,
    /// Bytes to be sent that nobody but the peer asked for.
    replies: u32,
    flood: Flood,
    /// Errors that others had left in the queue of a thread, and that would have been taken for ours.
    stale: u16,
    record: u16,
    handshake_bytes: u32,
    /// How many of them may still be taken.
    allowance: u32,
    /// `None`: as the context has it.
    keeps_buffers: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Handshaking,
    Open,
    Closed,
    Broken,
}

/// How far a handshake has come.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More must arrive first.
    Pending,
    /// The application must say first who the server is, as it was [asked](crate::AcceptorBuilder::lookup):
    /// [`Engine::wake_when_answered`]. What arrives meanwhile waits.
    Waiting,
    /// It is over: data may be sent and received. With TLS 1.3 a server may still refuse the certificate of a client: that is
    /// told when something is received.
    Done,
}

impl Engine {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            stream: None,
            wire: wire::Owned::default(),
            state: State::Idle,
            ended: false,
            held: 0,
            unproven: false,
            replies: 0,
            flood: Flood::default(),
            stale: 0,
            record: RECORD as u16,
            handshake_bytes: HANDSHAKE_BYTES as u32,
            allowance: HANDSHAKE_BYTES as u32,
            keeps_buffers: None,
        }
    }

    /// Goes on with a connection that was established elsewhere. Its transport is dropped: whoever wants the socket clones its
    /// descriptor before. Data that it holds is received as any other.
    ///
    /// # Errors
    /// [`ErrorKind::NotOpen`] if its handshake is not over; it is dropped then.
    /// # Libevent
    /// `BUFFEREVENT_SSL_OPEN`.
    #[doc(alias = "BUFFEREVENT_SSL_OPEN")]
    pub fn open<S>(stream: SslStream<S>) -> Result<Self, Error> {
        if !stream.ssl().is_init_finished() {
            return Err(Error::new(ErrorKind::NotOpen));
        }
        let mut engine = Self::new(Origin::Given { server: stream.ssl().is_server() });
        engine.stream = Some(prepare(&mut engine.stale, || ffi::replace_transport(stream, Wire))?);
        engine.state = State::Open;
        // It may have read ahead.
        engine.held = RECORD as u16;
        engine.unproven = true;
        Ok(engine)
    }

    /// Goes on with the handshake, with what has arrived; the first call of a client makes its hello. A server takes no memory
    /// for the peer before its first byte.
    ///
    /// # Errors
    /// [`ErrorKind::Handshake`], [`Certificate`](ErrorKind::Certificate), [`Alert`](ErrorKind::Alert),
    /// [`Protocol`](ErrorKind::Protocol), [`NoIdentity`](ErrorKind::NoIdentity) or [`Panicked`](ErrorKind::Panicked) if it fails, [`Flood`](ErrorKind::Flood) if the
    /// peer sends more for it than it may, and [`Broken`](ErrorKind::Broken) if it had failed before.
    pub fn handshake(&mut self) -> Result<Progress, Error> {
        match self.state {
            State::Open | State::Closed => return Ok(Progress::Done),
            State::Broken => return Err(Error::new(ErrorKind::Broken)),
            State::Idle => {
                // A client says the first word.
                if self.origin.is_server() && self.wire.levels().arrived == 0 {
                    return Ok(Progress::Pending);
                }
                self.start().inspect_err(|_| self.state = State::Broken)?;
            }
            State::Handshaking => {}
        }
        loop {
            match self.call(SslStream::do_handshake)? {
                Reply::Done(()) => break,
                Reply::Starved => return Ok(Progress::Pending),
                Reply::Waits if self.is_refused() => return Err(self.refuse()),
                Reply::Waits if self.wire.levels().arrived <= self.allowance as usize => {
                    return Ok(Progress::Waiting);
                }
                Reply::Waits => return Err(self.broken(ErrorKind::Flood)),
                Reply::NoData if self.allowance > 0 => {}
                Reply::NoData => return Err(self.broken(ErrorKind::Flood)),
                Reply::Ended => return Err(self.broken(ErrorKind::Handshake)),
            }
        }
        self.state = State::Open;
        Ok(Progress::Done)
    }

    /// Has `waker` woken when the handshake can go on that is [waiting](Progress::Waiting) for an answer: at once, if it can or if
    /// it waits for none. One at a time: the last one counts.
    pub fn wake_when_answered(&self, waker: &Waker) {
        match self.ssl() {
            Some(ssl) => lookup::wake(ssl, waker),
            None => waker.wake_by_ref(),
        }
    }

    /// Tells the peer that nothing more is sent, after all that was; it may still send. Does nothing if that was told before, if
    /// the handshake is not over, or after a failure.
    ///
    /// # Errors
    /// [`ErrorKind::Library`] if OpenSSL cannot.
    pub fn notify(&mut self) -> Result<(), Error> {
        if self.state == State::Open {
            self.state = State::Closed;
            self.call(SslStream::shutdown)?;
        }
        Ok(())
    }

    /// Says that no more will arrive, and answers whether the peer had said so too. To be called when
    /// [`receive`](Self::receive) leaves nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] if the peer had not: somebody else may have cut the connection. What was received stands, and
    /// what is to be sent may still be. [`ErrorKind::Handshake`] if that was not over, and [`ErrorKind::Broken`] after a failure.
    pub fn end_of_arrivals(&mut self) -> Result<(), Error> {
        match self.state {
            _ if self.ended => Ok(()),
            State::Open | State::Closed => Err(Error::new(ErrorKind::Truncated)),
            State::Broken => Err(Error::new(ErrorKind::Broken)),
            State::Idle | State::Handshaking => {
                self.state = State::Broken;
                Err(Error::new(ErrorKind::Handshake).detailed("the peer left before it was over"))
            }
        }
    }

    /// Has other keys used for what is sent from here on, and asks the peer for the same if `ask`. TLS 1.3 alone has that.
    ///
    /// # Errors
    /// [`ErrorKind::NotOpen`], [`Closed`](ErrorKind::Closed) or [`Broken`](ErrorKind::Broken);
    /// [`ErrorKind::Library`] with TLS 1.2.
    pub fn update_key(&mut self, ask: bool) -> Result<(), Error> {
        self.shake_again(|stream| ffi::key_update(stream, ask))
    }

    /// Begins another handshake on the same connection, which data goes on beside. TLS 1.2 alone has that, and only with a
    /// context of the user's own without `NO_RENEGOTIATION`: it has cost many an application its safety.
    ///
    /// # Errors
    /// [`ErrorKind::NotOpen`], [`Closed`](ErrorKind::Closed) or [`Broken`](ErrorKind::Broken);
    /// [`ErrorKind::Library`] where there is none.
    /// # Libevent
    /// `bufferevent_ssl_renegotiate`. Differs: in TLS 1.3 it fails.
    #[doc(alias = "bufferevent_ssl_renegotiate")]
    pub fn renegotiate(&mut self) -> Result<(), Error> {
        self.shake_again(ffi::renegotiate)
    }

    /// Begins anew, over another connection to the same peer. One that was [given](Self::open) cannot: its next handshake fails.
    pub fn restart(&mut self) {
        let mut new = Self::new(self.origin.clone());
        (new.record, new.keeps_buffers) = (self.record, self.keeps_buffers);
        new.set_handshake_bytes(self.handshake_bytes as usize);
        *self = new;
    }

    /// Sets how many bytes may be taken from the peer before the handshake is over, 4 GiB at most. Default: [`HANDSHAKE_BYTES`].
    /// Takes effect if nothing has been taken yet.
    pub fn set_handshake_bytes(&mut self, most: usize) {
        self.handshake_bytes = saturated(most);
        if self.state == State::Idle {
            self.allowance = self.handshake_bytes;
        }
    }

    /// Sets how much data a record carries at most, in bytes, from 512 to [`RECORD`] (the default). Small ones are opened by the
    /// peer as they come, large ones cost less.
    pub fn set_record_size(&mut self, bytes: usize) {
        self.record = bytes.clamp(512, RECORD) as u16;
    }

    /// Sets whether OpenSSL keeps the memory of its buffers, about 33 KiB, while the connection is idle. Default: no, unless its
    /// context is the user's own and says so. To keep them saves a busy connection with records of 1 to 4 KiB a twentieth of its
    /// time.
    ///
    /// To be set before the handshake begins.
    pub fn set_keep_buffers(&mut self, kept: bool) {
        self.keeps_buffers = Some(kept);
    }

    /// What has arrived from the peer and was not taken yet: to be appended to, or to be swapped with what was, for the call.
    /// What was appended to keeps its last block when it is empty, until it is [shrunk](Evbuffer::shrink).
    pub fn arrived(&mut self) -> &mut Evbuffer {
        &mut self.wire.buffers().arrived
    }

    /// What is to be sent to the peer: to be drained, or moved from.
    pub fn to_send(&mut self) -> &mut Evbuffer {
        &mut self.wire.buffers().to_send
    }

    /// Both: [`arrived`](Self::arrived), then [`to_send`](Self::to_send).
    #[inline]
    pub fn buffers(&mut self) -> (&mut Evbuffer, &mut Evbuffer) {
        let buffers = self.wire.buffers();
        (&mut buffers.arrived, &mut buffers.to_send)
    }

    /// OpenSSL's own object: what was negotiated, and with whom. `None` before the handshake begins.
    ///
    /// # Libevent
    /// `bufferevent_openssl_get_ssl`. Differs: it can be looked at only.
    #[doc(alias = "bufferevent_openssl_get_ssl")]
    #[must_use]
    pub fn ssl(&self) -> Option<&SslRef> {
        self.stream.as_ref().map(SslStream::ssl)
    }

    /// Whether it is that of a server.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.origin.is_server()
    }

    /// Whether the handshake is over, and data may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the peer has said that it sends no more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many errors of others stood in OpenSSL's queue of a thread, would have been taken for ours, and were dropped; 65,535 if
    /// they were more. Anything but 0 is a fault of code that calls OpenSSL beside this crate.
    #[must_use]
    pub fn stale_errors(&self) -> u32 {
        self.stale.into()
    }

    /// Makes OpenSSL's object.
    fn start(&mut self) -> Result<(), Error> {
        let origin = &self.origin;
        let mut ssl = prepare(&mut self.stale, || origin.ssl())?;
        ffi::set_modes(&mut ssl);
        if let Some(kept) = self.keeps_buffers {
            ffi::release_buffers(&mut ssl, !kept);
        }
        self.stream = Some(prepare(&mut self.stale, || SslStream::new(ssl, Wire))?);
        self.state = State::Handshaking;
        Ok(())
    }

    /// Has a handshake of an open connection asked for, and what it begins with made.
    fn shake_again(
        &mut self,
        ask: impl FnOnce(&mut SslStream<Wire>) -> Result<(), ErrorStack>,
    ) -> Result<(), Error> {
        self.check_sendable()?;
        let stream = self.stream.as_mut().ok_or_else(|| Error::new(ErrorKind::NotOpen))?;
        // To be refused breaks nothing.
        prepare(&mut self.stale, || ask(stream))?;
        self.call(SslStream::do_handshake)?;
        Ok(())
    }

    fn call<T>(
        &mut self,
        operation: impl FnOnce(&mut SslStream<Wire>) -> Result<T, openssl::ssl::Error>,
    ) -> Result<Reply<T>, Error> {
        let stream = self.stream.as_mut().ok_or_else(|| Error::new(ErrorKind::NotOpen))?;
        // If it unwinds: a record that was begun would be sent twice.
        let state = mem::replace(&mut self.state, State::Broken);
        let shaking = state == State::Handshaking;
        let allowance = if shaking { self.allowance as usize } else { usize::MAX };
        let before = self.wire.levels().arrived;
        let reply = call(stream, &mut self.wire, allowance, &mut self.stale, operation);
        if shaking {
            self.allowance -= saturated(before - self.wire.levels().arrived);
        }
        reply.inspect(|_| self.state = state)
    }

    /// Whether the application gives it no certificate.
    fn is_refused(&self) -> bool {
        self.ssl().and_then(lookup::refusal).is_some()
    }

    /// Tells the peer so, in the clear: a server has said nothing by then that would have made keys.
    fn refuse(&mut self) -> Error {
        let error = self.broken(ErrorKind::NoIdentity);
        let Some(Refusal { why, alert }) = self.ssl().and_then(lookup::refusal).cloned() else {
            return error;
        };
        let [.., alert] = alert.to_be_bytes();
        match self.to_send().add(&[ALERT, 3, 3, 0, 2, FATAL, alert]) {
            Ok(_) => error.detailed(why),
            Err(full) => full.into(),
        }
    }

    fn broken(&mut self, kind: ErrorKind) -> Error {
        self.state = State::Broken;
        Error::new(kind)
    }

    /// Whether it is that of a server and has nothing to do before the first byte of the client.
    pub(crate) fn waits_for_peer(&self) -> bool {
        self.is_server() && self.state == State::Idle && self.wire.levels().arrived == 0
    }

    /// What it can do without another byte: receive, or have something sent.
    pub(crate) fn holds(&self) -> Interest {
        let levels = self.wire.levels();
        let receives = self.unproven || self.ended || levels.arrived > 0 || self.pending() > 0;
        let when = |holds, interest| if holds { interest } else { Interest::NONE };
        when(receives, Interest::READ) | when(levels.to_send > 0, Interest::WRITE)
    }

    /// Nothing is done with it for now.
    #[inline]
    pub(crate) fn rest(&mut self) {
        self.wire.rest();
    }

    /// Bytes of data of a record that was begun.
    fn pending(&self) -> usize {
        self.ssl().map_or(0, SslRef::pending)
    }

    fn check_sendable(&self) -> Result<(), Error> {
        match self.state {
            State::Open => Ok(()),
            State::Idle | State::Handshaking => Err(Error::new(ErrorKind::NotOpen)),
            State::Closed => Err(Error::new(ErrorKind::Closed)),
            State::Broken => Err(Error::new(ErrorKind::Broken)),
        }
    }
}

impl Drop for Engine {
    /// A session stays good for another connection only if OpenSSL believes that the end was told both ways.
    fn drop(&mut self) {
        if let (Some(stream), State::Open | State::Closed) = (&mut self.stream, self.state) {
            stream.set_shutdown(ShutdownState::SENT | ShutdownState::RECEIVED);
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("server", &self.is_server())
            .field("state", &self.state)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

fn saturated(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The type of a record that carries an alert.
const ALERT: u8 = 21;
/// An alert after which nothing comes.
const FATAL: u8 = 2;
