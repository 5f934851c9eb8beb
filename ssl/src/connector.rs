//! What a client is: whom it trusts, and who it is.

use std::{fmt, path::Path};

use bufferevent_sync::{Arc, Leaf};
use openssl::{
    error::ErrorStack,
    ssl::{Ssl, SslConnector, SslContext, SslMethod, SslOptions, SslVerifyMode, SslVersion},
    x509::{X509, X509Ref, store::X509StoreBuilder, verify::X509CheckFlags},
};

use crate::{
    Engine, Error, VERIFY_DEPTH,
    identity::read,
    name::ServerName,
    origin::Origin,
    verify::{self, Check},
};

/// Makes the client's side of TLS connections. Cheap to clone; the clones are one.
///
/// TLS 1.2 and 1.3. The server's certificate must be vouched for by one that is trusted, and be for the name that was asked
/// for; who cannot have that uses a [`DangerousConnector`].
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
    current: Arc<Leaf<SslContext>>,
}

impl Connector {
    /// Begins a new one.
    pub fn builder() -> ConnectorBuilder {
        ConnectorBuilder { roots: None, check: None, least: SslVersion::TLS1_2, most: None }
    }

    /// Makes one of a context of the user's own, as it is, but that the certificate of the server is always verified, and its
    /// name checked. Callbacks that were set on it must not panic: that would end the process.
    #[must_use]
    pub fn from_context(context: SslContext) -> Self {
        Self { current: Arc::new(Leaf::new(context)) }
    }

    /// The client's side of a new connection to the server `name`: a name or an address, which its certificate must be for.
    ///
    /// # Errors
    /// [`ErrorKind::Name`](crate::ErrorKind::Name) if it is neither.
    pub fn engine(&self, name: &str) -> Result<Engine, Error> {
        let peer = Peer { connector: self.clone(), name: Some(name.parse()?), verified: true };
        Ok(Engine::new(Origin::Client(Box::new(peer))))
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
        let context = self.connector.current.lock().clone();
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
        Ok(ssl)
    }
}

/// The settings of a [`Connector`].
#[must_use = "`build` makes the connector"]
#[derive(Clone)]
pub struct ConnectorBuilder {
    roots: Option<Vec<X509>>,
    check: Option<Check>,
    least: SslVersion,
    most: Option<SslVersion>,
}

impl ConnectorBuilder {
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
        Ok(Connector::from_context(self.context()?))
    }

    fn context(self) -> Result<SslContext, Error> {
        let mut context = SslConnector::builder(SslMethod::tls_client())?;
        context.set_min_proto_version(Some(self.least))?;
        context.set_max_proto_version(self.most)?;
        context.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
        context.set_verify_depth(VERIFY_DEPTH);
        verify::install(&mut context, SslVerifyMode::PEER, self.check);
        if let Some(roots) = self.roots {
            let mut store = X509StoreBuilder::new()?;
            roots.into_iter().try_for_each(|root| store.add_cert(root))?;
            context.set_cert_store(store.build());
        }
        Ok(context.build().into_context())
    }
}

impl fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorBuilder").finish_non_exhaustive()
    }
}

/// Those in a PEM, of which there must be one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<X509>, Error> {
    let found = X509::stack_from_pem(pem)?;
    if found.is_empty() { Err(Error::configuration("there is no certificate in the PEM")) } else { Ok(found) }
}
