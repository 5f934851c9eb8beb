//! An [`Engine`], or another [`Backend`], as a filter of bufferevents.

use std::{
    mem,
    ops::{Deref, DerefMut},
    os::fd::AsFd,
    time::Duration,
};

use bufferevent::{
    Bufferevent, Builder, Ending, Evbuffer, Filter, FilterCall, FilterError, FilterStatus, HANDSHAKE_TIMEOUT,
    Handshake, Interest,
};
use openssl::ssl::{SslRef, SslStream};

use crate::{Backend, Engine, Error, ErrorKind, Progress, Received};

/// TLS between a bufferevent and what is below it: a socket, a pair, or any other.
///
/// It connects when the handshake is over: [`Event::Connected`](bufferevent::Event::Connected) is told then, and
/// what was written before follows. Whatever goes wrong is an [`Event::Error`](bufferevent::Event::Error) with a
/// [`Cause::Filter`](bufferevent::Cause::Filter) that is an [`Error`]. The peer's notice is
/// [`Event::Eof`](bufferevent::Event::Eof); an end without it is [`ErrorKind::Truncated`], unless
/// [that is allowed](Self::allow_dirty_shutdown). A close sends what was written, then the notice, as
/// [`CloseMode`] says.
///
/// Rate limits count what the socket moves, records and handshake included: set on a TLS bufferevent they are set on what is below.
///
/// ```
/// use bufferevent::{BaseExt, Bufferevent, Callbacks, testing::ManualBase};
/// use bufferevent_ssl::{Acceptor, Connector, Identity};
///
/// let identity = Identity::self_signed(&["example.org"])?;
/// let connector = Connector::builder().roots_pem(&identity.certificate_pem()?)?.build()?;
/// let acceptor = Acceptor::builder().identity(identity).build()?;
///
/// let (one, other) = Bufferevent::pair();
/// let echo = Callbacks::new().on_read(|cx| {
///     let (input, output) = cx.buffers();
///     output.append(input).expect("there is room");
/// });
/// let mut base = ManualBase::new()?;
/// one.filter(acceptor.accept()).handler(echo).start(&mut base)?;
/// let client = other.filter(connector.connect("example.org")?).start(&mut base)?;
/// base.bufferevent(client)?.write(b"hello")?;
/// base.settle()?;
/// assert_eq!(*base.bufferevent(client)?.input(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// # Libevent
/// `bufferevent_openssl_socket_new`, `bufferevent_openssl_filter_new`: which of the two it is follows from what is below.
#[doc(alias = "bufferevent_openssl_socket_new")]
#[doc(alias = "bufferevent_openssl_filter_new")]
#[derive(Debug)]
pub struct Tls<B = Engine> {
    /// `None`: it was taken out.
    engine: Option<B>,
    dirty: bool,
    close: CloseMode,
    handshake_timeout: Option<Duration>,
}

/// What a close, or a shutdown of what is sent, tells the peer, and what it waits for. Sessions stay good in each mode.
///
/// [`abort`](bufferevent::Bufferevent::abort) is the fourth way: it tells nothing and waits for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CloseMode {
    /// As [`Notify`](Self::Notify), and a close waits for the peer's notice: what comes before it is read and dropped, within the
    /// [linger](bufferevent::Closing::linger) of the close and its bytes. [`Closed::clean`](bufferevent::Closed::clean) tells
    /// whether it came.
    Full,
    /// That nothing follows: TLS's own notice. What is waited for after it is the end of the connection, within the bounds of a
    /// close, not the peer's notice.
    #[default]
    Notify,
    /// Nothing: it sees the end of the connection alone, and must take it for a truncation.
    Quiet,
}

impl<B: Backend> Tls<B> {
    /// TLS by an engine, whose handshake may be over: then there is none, and no
    /// [`Event::Connected`](bufferevent::Event::Connected).
    ///
    /// # Libevent
    /// `BUFFEREVENT_SSL_OPEN`, if it is over.
    #[doc(alias = "BUFFEREVENT_SSL_OPEN")]
    #[must_use]
    pub fn new(engine: B) -> Self {
        Self {
            engine: Some(engine),
            dirty: false,
            close: CloseMode::default(),
            handshake_timeout: Some(HANDSHAKE_TIMEOUT),
        }
    }

    /// Takes an end of the connection without the peer's notice for an [`Event::Eof`](bufferevent::Event::Eof): what has arrived may
    /// not be all then, and whoever cut it may have wanted that.
    ///
    /// # Libevent
    /// `bufferevent_ssl_set_allow_dirty_shutdown`, `BUFFEREVENT_SSL_DIRTY_SHUTDOWN`.
    #[doc(alias = "bufferevent_ssl_set_allow_dirty_shutdown")]
    #[doc(alias = "bufferevent_openssl_set_allow_dirty_shutdown")]
    #[doc(alias = "BUFFEREVENT_SSL_DIRTY_SHUTDOWN")]
    pub fn allow_dirty_shutdown(mut self, allowed: bool) -> Self {
        self.set_dirty_shutdown(allowed);
        self
    }

    /// [`allow_dirty_shutdown`](Self::allow_dirty_shutdown), of one that is in use.
    pub fn set_dirty_shutdown(&mut self, allowed: bool) {
        self.dirty = allowed;
    }

    /// Whether an end without the peer's notice is an end like any other.
    ///
    /// # Libevent
    /// `bufferevent_ssl_get_allow_dirty_shutdown`.
    #[doc(alias = "bufferevent_ssl_get_allow_dirty_shutdown")]
    #[doc(alias = "bufferevent_openssl_get_allow_dirty_shutdown")]
    #[must_use]
    pub fn dirty_shutdown(&self) -> bool {
        self.dirty
    }

    /// Sets what a close tells the peer.
    pub fn close_mode(mut self, mode: CloseMode) -> Self {
        self.set_close_mode(mode);
        self
    }

    /// [`close_mode`](Self::close_mode), of one that is in use.
    pub fn set_close_mode(&mut self, mode: CloseMode) {
        self.close = mode;
    }

    /// Sets how long the handshake may take, `None` for ever. Default: [`HANDSHAKE_TIMEOUT`]. To be set before it is given to a
    /// builder.
    pub fn handshake_timeout(mut self, after: Option<Duration>) -> Self {
        self.handshake_timeout = after;
        self
    }

    /// The engine: its [`ssl`](Engine::ssl), what was negotiated. `None` once it was [taken](Self::take).
    pub fn engine(&mut self) -> Option<&mut B> {
        self.engine.as_mut()
    }

    /// Takes the engine out, to go on with it elsewhere by [`Tls::new`]: over the same connection, for that is in the middle of
    /// a conversation. From here on this bufferevent fails in whatever it is to send or receive.
    pub fn take(&mut self) -> Option<B> {
        self.engine.take()
    }

    fn parts(&mut self) -> Result<Busy<'_, B>, Error> {
        self.engine.as_mut().map(Busy).ok_or_else(|| Error::new(ErrorKind::Broken))
    }
}

impl Tls {
    /// Goes on with a connection that was established elsewhere, with its socket and its session: a bufferevent over that, with
    /// TLS in between, which is to be started. There is no handshake, and no [`Event::Connected`](bufferevent::Event::Connected).
    ///
    /// The socket is put into non-blocking mode.
    ///
    /// # Errors
    /// [`ErrorKind::NotOpen`] if its handshake is not over, [`ErrorKind::Io`] if there are no descriptors left. It is closed then.
    /// # Libevent
    /// `bufferevent_openssl_socket_new` with `BUFFEREVENT_SSL_OPEN`.
    pub fn established(stream: SslStream<impl AsFd>) -> Result<Builder, Error> {
        let socket = stream.get_ref().as_fd().try_clone_to_owned()?;
        let engine = Engine::open(stream)?;
        Ok(Bufferevent::socket(socket).filter(Self::new(engine)))
    }

    /// OpenSSL's own object; `None` before the handshake begins.
    ///
    /// # Libevent
    /// `bufferevent_openssl_get_ssl`, `bufferevent_get_ssl`.
    #[must_use]
    pub fn ssl(&self) -> Option<&SslRef> {
        self.engine.as_ref()?.ssl()
    }
}

/// An engine in a call, which rests after it.
struct Busy<'a, B: Backend>(&'a mut B);

impl<B: Backend> Deref for Busy<'_, B> {
    type Target = B;

    fn deref(&self) -> &B {
        self.0
    }
}

impl<B: Backend> DerefMut for Busy<'_, B> {
    fn deref_mut(&mut self) -> &mut B {
        self.0
    }
}

impl<B: Backend> Drop for Busy<'_, B> {
    fn drop(&mut self) {
        self.0.rest();
    }
}

impl<B: Backend> From<B> for Tls<B> {
    fn from(engine: B) -> Self {
        Self::new(engine)
    }
}

impl<B: Backend> Filter for Tls<B> {
    fn has_handshake(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| !engine.is_open())
    }

    fn waits_for_peer(&self) -> bool {
        self.engine.as_ref().is_some_and(B::waits_for_peer)
    }

    fn handshake_timeout(&self) -> Option<Duration> {
        self.handshake_timeout
    }

    fn counts_below(&self) -> bool {
        true
    }

    fn ending(&self) -> Ending {
        match self.close {
            CloseMode::Full => Ending::Exchanged,
            CloseMode::Notify => Ending::Told,
            CloseMode::Quiet => Ending::Below,
        }
    }

    fn restart(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.restart();
        }
    }

    fn holds(&self) -> Interest {
        self.engine.as_ref().map_or(Interest::NONE, B::holds)
    }

    fn handshake(&mut self, call: &mut FilterCall<'_>) -> Result<Handshake, FilterError> {
        let engine = &mut *self.parts()?;
        let shaken = with_arrived(engine, call.source, B::handshake);
        hand_on(engine, call.reply())?;
        if call.is_last() && matches!(shaken, Ok(Progress::Pending | Progress::Waiting)) {
            engine.end_of_arrivals()?;
        }
        Ok(match shaken? {
            Progress::Done => Handshake::Done,
            Progress::Pending => Handshake::Pending,
            Progress::Waiting => {
                engine.wake_when_answered(&call.waker());
                Handshake::Pending
            }
        })
    }

    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let (dirty, now, limit) = (self.dirty, call.now(), call.limit());
        let engine = &mut *self.parts()?;
        let (source, destination) = (&mut *call.source, &mut *call.destination);
        let mut received = with_arrived(engine, source, |engine| engine.receive(destination, limit, now));
        // What it had before it came here is in no source, which would have it called again.
        while matches!(received, Ok(Received { leftover: true, bytes: 1.., .. }))
            && source.is_empty()
            && engine.holds().contains(Interest::READ)
        {
            received = engine.receive(destination, limit.saturating_sub(destination.len()), now);
        }
        if !engine.buffers().1.is_empty() {
            hand_on(engine, call.reply())?;
        }
        let received = received?;
        if received.ended {
            return Ok(FilterStatus::End);
        }
        if call.is_last() && !received.leftover && !dirty {
            engine.end_of_arrivals()?;
        }
        Ok(FilterStatus::Ok)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        let (close, limit) = (self.close, call.limit());
        let engine = &mut *self.parts()?;
        let mut fits = hand_on(engine, call.destination)?;
        while fits && !call.source.is_empty() && call.destination.len() < limit {
            let most = limit - call.destination.len();
            let sent;
            (sent, fits) =
                into_destination(engine, call.destination, |engine| engine.send(call.source, most))?;
            if sent? == 0 {
                if call.is_last() {
                    return Err(Error::new(ErrorKind::NotOpen)
                        .detailed("another handshake is under way")
                        .into());
                }
                break;
            }
        }
        if call.is_last() && call.source.is_empty() && close != CloseMode::Quiet {
            into_destination(engine, call.destination, B::notify)?.0?;
        }
        Ok(FilterStatus::Ok)
    }
}

/// Has an engine take from what has arrived; what it leaves stays there. What an engine had before it came here is before that,
/// and all of it goes with the first call.
fn with_arrived<B: Backend, T>(engine: &mut B, source: &mut Evbuffer, step: impl FnOnce(&mut B) -> T) -> T {
    let (arrived, _) = engine.buffers();
    if !arrived.is_empty() {
        // Both buffers are ours: neither is frozen or full.
        let appended = arrived.append(source);
        debug_assert!(appended.is_ok(), "{appended:?}");
        return step(engine);
    }
    mem::swap(arrived, source);
    let result = step(engine);
    mem::swap(engine.buffers().0, source);
    result
}

/// Has an engine make what it sends, which goes to the destination: in the memory of that, if it is empty. Tells whether all of it
/// fits there.
fn into_destination<B: Backend, T>(
    engine: &mut B,
    destination: &mut Evbuffer,
    step: impl FnOnce(&mut B) -> T,
) -> Result<(T, bool), Error> {
    if !destination.is_empty() {
        let result = step(engine);
        return Ok((result, hand_on(engine, destination)?));
    }
    // An engine never refuses what it makes: what is too much is for the next call.
    let limit = destination.limit();
    destination.set_limit(None);
    mem::swap(engine.buffers().1, destination);
    let result = step(engine);
    let (_, to_send) = engine.buffers();
    mem::swap(to_send, destination);
    let fits = limit.is_none_or(|limit| destination.len() <= limit);
    if !fits {
        to_send.append(destination)?;
    }
    destination.set_limit(limit);
    Ok((result, fits || hand_on(engine, destination)?))
}

/// Moves what an engine has to send, as much as there is room for: tells whether that is all. The rest goes with the next call.
fn hand_on(engine: &mut impl Backend, target: &mut Evbuffer) -> Result<bool, Error> {
    let (_, to_send) = engine.buffers();
    if !to_send.is_empty() {
        to_send.move_to(target, target.room())?;
    }
    Ok(to_send.is_empty())
}
