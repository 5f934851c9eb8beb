//! What a client is: whom it trusts, and who it is.

use std::{fmt, mem, path::Path};

use bufferevent_sync::{Arc, Leaf};
use openssl::{
    error::ErrorStack,
    ssl::{Ssl, SslConnector, SslContext, SslMethod, SslOptions, SslVerifyMode, SslVersion},
    x509::{X509, X509Ref, verify::X509CheckFlags},
};

use crate::{
    Engine, Error, Identity, Tls, VERIFY_DEPTH,
    alpn::Protocols,
    identity::read,
    name::ServerName,
    origin::Origin,
    pem::certificates,
    sessions::{Server, Sessions},
    verify::{self, Check, store},
};

/// Makes the client's side of TLS connections. Cheap to clone; the clones are one.
///
/// TLS 1.2 and 1.3. The server's certificate must be vouched for by one that is trusted, and be for the name that was asked
/// for; who cannot have that uses a [`DangerousConnector`]. Sessions of verified servers are kept in memory and resumed.
///
/// ```
/// use bufferevent_ssl::Connector;
///
/// let connector = Connector::builder().build()?; // trusts whom the system trusts
/// let engine = connector.engine("example.org")?;
/// assert!(connector.engine("no..name").is_err());
/// # Ok::<(), bufferevent_ssl::Error>(())
/// ```
/// # Libevent
/// The `SSL_CTX` of a client, and `BUFFEREVENT_SSL_CONNECTING`. Differs: names are checked.
#[doc(alias = "BUFFEREVENT_SSL_CONNECTING")]
#[derive(Clone)]
pub struct Connector {
    current: Arc<Leaf<Current>>,
    /// Told apart in the sessions.
    port: Option<u16>,
}

/// What new connections are made by. Sessions are of one context.
#[derive(Clone)]
struct Current {
    context: SslContext,
    /// `None`: the context is the user's own.
    sessions: Option<Arc<Sessions>>,
}

impl Connector {
    /// Begins a new one.
    pub fn builder() -> ConnectorBuilder {
        ConnectorBuilder {
            identity: None,
            roots: None,
            check: None,
            protocols: None,
            least: SslVersion::TLS1_2,
            most: None,
        }
    }

    /// Makes one of a context of the user's own, as it is, but that the certificate of the server is always verified, and its
    /// name checked, and that no session is resumed. Callbacks that were set on it must not panic: that would end the process.
    #[must_use]
    pub fn from_context(context: SslContext) -> Self {
        Self { current: Arc::new(Leaf::new(Current { context, sessions: None })), port: None }
    }

    /// Has connections that begin from here on use other settings. Sessions are not taken along.
    ///
    /// # Errors
    /// As [`ConnectorBuilder::build`]; then nothing has changed.
    pub fn reload(&self, builder: ConnectorBuilder) -> Result<(), Error> {
        let new = builder.current()?;
        let old = mem::replace(&mut *self.current.lock(), new);
        drop(old);
        Ok(())
    }

    /// The same, for connections to `port`: their sessions are resumed with the servers at that port alone, for those at another
    /// may be others, of the same name. Without it they are taken for one.
    pub fn to_port(&self, port: u16) -> Self {
        Self { port: Some(port), ..self.clone() }
    }

    /// The client's side of a new connection to the server `name`: a name or an address, which its certificate must be for.
    ///
    /// # Errors
    /// [`ErrorKind::Name`](crate::ErrorKind::Name) if it is neither.
    pub fn engine(&self, name: &str) -> Result<Engine, Error> {
        let peer = Peer { connector: self.clone(), name: Some(name.parse()?), verified: true };
        Ok(Engine::new(Origin::Client(Box::new(peer))))
    }

    /// TLS over a connection to the server `name`, for [`Builder::filter`](bufferevent::Builder::filter).
    ///
    /// # Errors
    /// As [`engine`](Self::engine).
    /// # Libevent
    /// `BUFFEREVENT_SSL_CONNECTING`.
    pub fn connect(&self, name: &str) -> Result<Tls, Error> {
        Ok(Tls::new(self.engine(name)?))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// A [`Connector`] that believes every server to be the one that was meant. So may anybody on the way be: what is sent is
/// hidden from those who only listen, and from nobody else.
///
/// ```
/// use bufferevent_ssl::{Connector, DangerousConnector};
///
/// let connector = DangerousConnector::new(Connector::builder().build()?);
/// let engine = connector.engine(None)?;
/// # Ok::<(), bufferevent_ssl::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DangerousConnector(Connector);

impl DangerousConnector {
    /// Switches off what makes `connector` safe.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self(connector)
    }

    /// The client's side of a new connection to whoever answers. `name` is told to the server, if it is no address; it is not
    /// checked.
    ///
    /// # Errors
    /// [`ErrorKind::Name`](crate::ErrorKind::Name) if it is neither a name nor an address.
    pub fn engine(&self, name: Option<&str>) -> Result<Engine, Error> {
        let name = name.map(str::parse).transpose()?;
        let peer = Peer { connector: self.0.clone(), name, verified: false };
        Ok(Engine::new(Origin::Client(Box::new(peer))))
    }

    /// TLS over a connection to whoever answers, as [`engine`](Self::engine).
    ///
    /// # Errors
    /// As [`engine`](Self::engine).
    pub fn connect(&self, name: Option<&str>) -> Result<Tls, Error> {
        Ok(Tls::new(self.engine(name)?))
    }
}

/// Whom a client connects to.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    connector: Connector,
    name: Option<ServerName>,
    verified: bool,
}

impl Peer {
    pub(crate) fn ssl(&self) -> Result<Ssl, ErrorStack> {
        let Current { context, sessions } = self.connector.current.lock().clone();
        let mut ssl = Ssl::new(&context)?;
        ssl.set_connect_state();
        if let Some(ServerName::Dns(name)) = &self.name {
            ssl.set_hostname(name)?;
        }
        if !self.verified {
            ssl.set_verify(SslVerifyMode::NONE);
            return Ok(ssl);
        }
        ssl.set_verify(SslVerifyMode::PEER);
        let wanted = ssl.param_mut();
        wanted.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        match &self.name {
            Some(ServerName::Dns(name)) => wanted.set_host(name)?,
            Some(ServerName::Address(address)) => wanted.set_ip(*address)?,
            None => {}
        }
        if let (Some(sessions), Some(name)) = (sessions, &self.name) {
            sessions.resume(&mut ssl, Server { name: name.clone(), port: self.connector.port })?;
        }
        Ok(ssl)
    }
}

/// The settings of a [`Connector`].
#[must_use = "`build` makes the connector"]
#[derive(Clone)]
pub struct ConnectorBuilder {
    identity: Option<Identity>,
    roots: Option<Vec<X509>>,
    check: Option<Check>,
    protocols: Option<Protocols>,
    least: SslVersion,
    most: Option<SslVersion>,
}

impl ConnectorBuilder {
    /// Sets who the client is, for servers that ask.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Trusts the certificates in this PEM, and no other. Default: those that the system trusts.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is none in it.
    pub fn roots_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.roots = Some(certificates(pem)?);
        Ok(self)
    }

    /// Trusts the certificates in this file of PEM, and no other.
    ///
    /// # Errors
    /// As [`roots_pem`](Self::roots_pem), and [`ErrorKind::Io`](crate::ErrorKind::Io) if it cannot be read.
    pub fn roots_file(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.roots_pem(&read(path.as_ref())?)
    }

    /// Has the server's certificate looked at after it was verified, which `check` can refuse: to allow certain keys alone, for
    /// one. A session that is resumed has none to be looked at.
    ///
    /// It runs inside [`Engine::handshake`]. A panic in it fails that connection, and no other.
    pub fn check_certificate(mut self, check: impl Fn(&X509Ref) -> bool + Send + Sync + 'static) -> Self {
        self.check = Some(Check::new(check));
        self
    }

    /// Offers protocols (ALPN), the one liked best first. Which one the server took tells
    /// [`selected_alpn_protocol`](openssl::ssl::SslRef::selected_alpn_protocol) of [`Engine::ssl`]; there may be none.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is none, or one has not 1 to 255 bytes.
    pub fn alpn(mut self, protocols: &[&[u8]]) -> Result<Self, Error> {
        self.protocols = Some(Protocols::new(protocols)?);
        Ok(self)
    }

    /// Sets which versions are spoken. Default: from 1.2 on.
    pub fn versions(mut self, least: SslVersion, most: Option<SslVersion>) -> Self {
        (self.least, self.most) = (least, most);
        self
    }

    /// Makes the connector.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if OpenSSL refuses a setting.
    pub fn build(self) -> Result<Connector, Error> {
        Ok(Connector { current: Arc::new(Leaf::new(self.current()?)), port: None })
    }

    fn current(self) -> Result<Current, Error> {
        let mut context = SslConnector::builder(SslMethod::tls_client())?;
        context.set_min_proto_version(Some(self.least))?;
        context.set_max_proto_version(self.most)?;
        context.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
        context.set_verify_depth(VERIFY_DEPTH);
        verify::install(&mut context, SslVerifyMode::PEER, self.check);
        if let Some(roots) = self.roots {
            context.set_cert_store(store(roots)?);
        }
        if let Some(identity) = &self.identity {
            identity.install(&mut context)?;
        }
        if let Some(protocols) = &self.protocols {
            context.set_alpn_protos(protocols.wire())?;
        }
        let sessions = Some(Sessions::install(&mut context)?);
        Ok(Current { context: context.build().into_context(), sessions })
    }
}

impl fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorBuilder").finish_non_exhaustive()
    }
}
