//! What can go wrong with TLS, with all that OpenSSL said of it.

use std::{error, fmt, io};

use bufferevent::{
    HostError,
    evbuffer::{self, FileError},
};
use openssl::{error::ErrorStack, ssl::SslAlert, x509::X509VerifyResult};

/// What went wrong: its [kind](Error::kind), and whatever else is known.
///
/// # Libevent
/// `bufferevent_get_openssl_error`, which gives one number at a time, three at most. Differs: the whole
/// [stack](Error::stack) comes with the event that tells of the failure.
#[doc(alias = "bufferevent_get_openssl_error")]
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    stack: Option<ErrorStack>,
    alert: Option<SslAlert>,
    certificate: X509VerifyResult,
    io: Option<io::Error>,
    detail: Option<String>,
    /// The detail says it better than the stack, which is the source alone.
    explained: bool,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    // the peer
    /// The handshake failed: the two have nothing in common, the peer does not speak TLS, or it left.
    Handshake,
    /// A certificate was not accepted by us: [`Error::certificate`] says why.
    Certificate,
    /// The peer gave up and said why: [`Error::alert`].
    Alert,
    /// The peer broke the protocol, or what it sent was damaged on its way.
    Protocol,
    /// The connection ended, and the peer had not said that it would: what has arrived may not be all.
    Truncated,
    /// The peer sends more of what carries no data than it may: KeyUpdates, attempts to renegotiate, or a handshake that does
    /// not end.
    Flood,

    // the caller
    /// The application, which was [asked](crate::AcceptorBuilder::lookup) for the certificate of the server, gave none: why is in
    /// the `Display`.
    NoIdentity,
    /// The certificate, the key or a setting is no good.
    Configuration,
    /// The name of the server is none that a certificate can be checked against.
    Name,
    /// A callback panicked: the message is in the `Display`.
    Panicked,
    /// The handshake is not over yet.
    NotOpen,
    /// The end of what is sent was told already: [`Engine::notify`](crate::Engine::notify).
    Closed,
    /// It has failed before, and told so.
    Broken,

    // the system
    /// A file could not be read, or there is no memory.
    Io,
    /// OpenSSL failed by itself.
    Library,
    /// OpenSSL wants what it cannot: a fault of this crate.
    Impossible,
}

impl Error {
    /// One that OpenSSL has nothing to do with: what stands in its queue is of others.
    pub(crate) fn new(kind: ErrorKind) -> Self {
        let certificate = X509VerifyResult::OK;
        let (stack, alert, io, detail) = (None, None, None, None);
        Self(Box::new(Inner { kind, stack, alert, certificate, io, detail, explained: false }))
    }

    /// The alert of the peer is taken from the stack.
    pub(crate) fn with_stack(kind: ErrorKind, stack: ErrorStack) -> Self {
        let mut error = Self::new(kind);
        error.0.alert = Self::alert_in(&stack);
        error.0.stack = Some(stack).filter(|stack| !stack.errors().is_empty());
        error
    }

    pub(crate) fn io(source: io::Error) -> Self {
        let mut error = Self::new(ErrorKind::Io);
        error.0.io = Some(source);
        error
    }

    pub(crate) fn panicked(message: String) -> Self {
        Self::new(ErrorKind::Panicked).detailed(message)
    }

    pub(crate) fn configuration(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration).detailed(detail)
    }

    /// What OpenSSL does not like about what it was given, in our words.
    pub(crate) fn explained(stack: ErrorStack, why: &str) -> Self {
        let mut error = Self::from(stack).detailed(why);
        error.0.explained = true;
        error
    }

    pub(crate) fn detailed(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The detail is about what is in `files`.
    pub(crate) fn of_file(mut self, files: &str) -> Self {
        let detail = self.0.detail.take().unwrap_or_default();
        self.detailed(format!("{files}: {detail}"))
    }

    pub(crate) fn about_certificate(mut self, verdict: X509VerifyResult) -> Self {
        self.0.certificate = verdict;
        self
    }

    /// The alert that the peer sent, if that is what `stack` ends with.
    pub(crate) fn alert_in(stack: &ErrorStack) -> Option<SslAlert> {
        // The newest: what somebody else left is before it, and may be one too.
        let newest = stack.errors().iter().rfind(|error| error.library_code() == ERR_LIB_SSL)?;
        SslAlert::from_reason_code(newest.reason_code())
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// All that OpenSSL said, the oldest first; may be empty. It is the [`source`](error::Error::source) too. What others have left in
    /// the queue of the thread may stand before it.
    ///
    /// # Libevent
    /// `bufferevent_get_openssl_error`, until it gives 0.
    #[must_use]
    pub fn stack(&self) -> &[openssl::error::Error] {
        self.0.stack.as_ref().map_or(&[], ErrorStack::errors)
    }

    /// The alert that the peer sent.
    #[must_use]
    pub fn alert(&self) -> Option<SslAlert> {
        self.0.alert
    }

    /// Why the peer's certificate was not accepted; `None` if that is not what went wrong.
    #[must_use]
    pub fn certificate(&self) -> Option<X509VerifyResult> {
        (self.0.kind == ErrorKind::Certificate).then_some(self.0.certificate)
    }

    /// The first error of the operating system, if there was one.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        self.0.io.as_ref()
    }
}

impl ErrorKind {
    fn says(self) -> &'static str {
        match self {
            Self::Handshake => "the handshake failed",
            Self::Certificate => "the certificate of the peer was not accepted",
            Self::Alert => "the peer gave up",
            Self::Protocol => "the peer broke the protocol",
            Self::Truncated => "the connection ended without the peer's notice: something may be missing",
            Self::Flood => "the peer sends more without data than it may",
            Self::NoIdentity => "there is no certificate for what the client asks for",
            Self::Configuration => "the configuration is no good",
            Self::Name => "the name of the server is no good",
            Self::Panicked => "a callback panicked",
            Self::NotOpen => "the handshake is not over yet",
            Self::Closed => "the end was told already",
            Self::Broken => "it has failed before",
            Self::Io => "the system refused",
            Self::Library => "OpenSSL failed",
            Self::Impossible => "OpenSSL wants what it cannot: this is a fault of the crate",
        }
    }
}

impl fmt::Display for Error {
    /// One line: the kind, then what is known of the reason, in the words of OpenSSL where there are no better ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.says())?;
        if let Some(verdict) = self.certificate() {
            return write!(f, ": {}", verdict.error_string());
        }
        if let Some(detail) = &self.0.detail {
            write!(f, ": {}", detail.escape_debug())?;
        }
        if let Some(source) = &self.0.io {
            write!(f, ": {source}")?;
        }
        if self.0.explained {
            return Ok(());
        }
        let mut before = ": ";
        for reason in self.stack().iter().filter_map(openssl::error::Error::reason) {
            write!(f, "{before}{reason}")?;
            before = ", ";
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("detail", &self.0.detail)
            .field("certificate", &self.0.certificate)
            .field("io", &self.0.io)
            .field("stack", &self.stack())
            .finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0.io {
            Some(source) => Some(source),
            None => Some(self.0.stack.as_ref()?),
        }
    }
}

impl From<ErrorStack> for Error {
    /// That of a setting: what a running connection meets is told apart before.
    fn from(stack: ErrorStack) -> Self {
        Self::with_stack(ErrorKind::Configuration, stack)
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::io(source)
    }
}

impl From<evbuffer::Error> for Error {
    fn from(source: evbuffer::Error) -> Self {
        Self::io(source.into())
    }
}

impl From<FileError> for Error {
    fn from(source: FileError) -> Self {
        Self::io(io::Error::new(source.kind(), source))
    }
}

impl From<HostError> for Error {
    fn from(source: HostError) -> Self {
        Self::new(ErrorKind::Name).detailed(source.to_string())
    }
}

/// Of openssl/err.h; the sys crate does not have it.
const ERR_LIB_SSL: std::ffi::c_int = 20;
