//! What a server is: who it is, and what it asks of its clients.

use std::{fmt, mem};

use bufferevent_sync::{Arc, Leaf};
use openssl::{
    error::ErrorStack,
    ssl::{AlpnError, Ssl, SslAcceptor, SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVersion},
};

use crate::{
    Answer, ClientCertificates, Engine, Error, Identity, TICKETS, Tls, alpn::Protocols, caught::catch,
    origin::Origin, sni::Identities,
};

/// Makes the server's side of TLS connections. Cheap to clone; the clones are one.
///
/// TLS 1.2 and 1.3 with the ciphers of Mozilla's intermediate profile; no renegotiation, no compression, no early data. Sessions
/// are resumed by tickets, of which the server keeps nothing.
///
/// ```
/// use bufferevent_ssl::{Acceptor, Identity};
///
/// # let identity = Identity::self_signed(&["example.org"])?;
/// let acceptor = Acceptor::builder().identity(identity).build()?;
/// let engine = acceptor.engine();
/// assert!(engine.is_server());
/// # Ok::<(), bufferevent_ssl::Error>(())
/// ```
/// # Libevent
/// The `SSL_CTX` of a server, and `BUFFEREVENT_SSL_ACCEPTING`.
#[doc(alias = "BUFFEREVENT_SSL_ACCEPTING")]
#[derive(Clone)]
pub struct Acceptor {
    current: Arc<Leaf<SslContext>>,
}

impl Acceptor {
    /// Begins a new one.
    pub fn builder() -> AcceptorBuilder {
        AcceptorBuilder {
            identity: None,
            identities: Identities::default(),
            clients: None,
            protocols: None,
            least: SslVersion::TLS1_2,
            most: None,
            tickets: TICKETS,
        }
    }

    /// Makes one with a throw-away certificate for `localhost`, for tests and for trying things out.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if OpenSSL cannot.
    pub fn self_signed() -> Result<Self, Error> {
        Self::builder().identity(Identity::self_signed(&["localhost", "127.0.0.1", "::1"])?).build()
    }

    /// Makes one of a context of the user's own, as it is: none of the defaults above hold. Callbacks that were set on it must not
    /// panic: that would end the process.
    #[must_use]
    pub fn from_context(context: SslContext) -> Self {
        Self { current: Arc::new(Leaf::new(context)) }
    }

    /// Has connections that begin from here on use other settings: a new certificate, for one. Those that stand keep theirs;
    /// sessions from before are not resumed.
    ///
    /// # Errors
    /// As [`AcceptorBuilder::build`]; then nothing has changed.
    pub fn reload(&self, builder: AcceptorBuilder) -> Result<(), Error> {
        let new = builder.context()?;
        let old = mem::replace(&mut *self.current.lock(), new);
        drop(old);
        Ok(())
    }

    /// The server's side of a new connection.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::new(Origin::Server(self.clone()))
    }

    /// TLS over a connection that was accepted, for [`Builder::filter`](bufferevent::Builder::filter).
    #[must_use]
    pub fn accept(&self) -> Tls {
        Tls::new(self.engine())
    }

    pub(crate) fn ssl(&self) -> Result<Ssl, ErrorStack> {
        let context = self.current.lock().clone();
        let mut ssl = Ssl::new(&context)?;
        ssl.set_accept_state();
        Ok(ssl)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// The settings of an [`Acceptor`].
#[must_use = "`build` makes the acceptor"]
#[derive(Clone)]
pub struct AcceptorBuilder {
    identity: Option<Identity>,
    identities: Identities,
    clients: Option<ClientCertificates>,
    protocols: Option<Protocols>,
    least: SslVersion,
    most: Option<SslVersion>,
    tickets: usize,
}

impl AcceptorBuilder {
    /// Sets who the server is, to clients that ask for no name or for one that is not known. There must be one, unless there is a
    /// [`lookup`](Self::lookup).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets who the server is to clients that ask for `name` (SNI), the first part of which may be `*`. A dot at its end is none
    /// of the name.
    pub fn identity_for(mut self, name: &str, identity: Identity) -> Self {
        self.identities.insert(name, identity);
        self
    }

    /// Asks `choose` who the server is, with the name in lower case, where no [`identity_for`](Self::identity_for) is set. In place
    /// of a [`lookup`](Self::lookup).
    ///
    /// It runs inside [`Engine::handshake`], and must not wait. A panic in it fails that connection, and no other.
    pub fn choose_identity(
        mut self,
        choose: impl Fn(&str) -> Option<Identity> + Send + Sync + 'static,
    ) -> Self {
        self.identities.or_else(choose);
        self
    }

    /// Asks `lookup` who the server is, with the name that the client asks for, in lower case, or `None` if it asks for none,
    /// where no [`identity_for`](Self::identity_for) is set. In place of [`choose_identity`](Self::choose_identity).
    ///
    /// The [`Answer`] may be given at any time and from any thread. Up to then the handshake waits, within its deadline; nothing
    /// else does. Who gives up waiting, or is closed, has the answer dropped when it comes. A session that is resumed needs no
    /// certificate, and nobody is asked.
    ///
    /// It runs inside [`Engine::handshake`], and must not wait. A panic in it fails that connection, and no other.
    pub fn lookup(mut self, lookup: impl Fn(Option<&str>, Answer) + Send + Sync + 'static) -> Self {
        self.identities.or_ask(lookup);
        self
    }

    /// Asks clients for a certificate. Default: no.
    pub fn client_certificates(mut self, clients: ClientCertificates) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Sets which protocols there are (ALPN), the one liked best first. A client that offers none of them is refused; one that
    /// offers nothing is not.
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

    /// Sets how many tickets are given after a handshake, by which a client resumes its session. Default: [`TICKETS`]. With 0 no
    /// session is resumed: good for clients that only send, and never read them.
    pub fn tickets(mut self, count: usize) -> Self {
        self.tickets = count;
        self
    }

    /// Makes the acceptor.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is no identity, or if OpenSSL refuses a setting.
    pub fn build(self) -> Result<Acceptor, Error> {
        Ok(Acceptor::from_context(self.context()?))
    }

    fn context(self) -> Result<SslContext, Error> {
        let mut context = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        context.set_min_proto_version(Some(self.least))?;
        context.set_max_proto_version(self.most)?;
        context.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_session_id_context(b"bufferevent")?;
        context.set_num_tickets(self.tickets)?;
        if self.tickets == 0 {
            context.set_options(SslOptions::NO_TICKET);
        }
        match &self.identity {
            Some(identity) => identity.install(&mut context)?,
            None if self.identities.asks() => {}
            None => return Err(Error::configuration("a server needs an identity")),
        }
        self.identities.install(&mut context, self.identity.is_some())?;
        if let Some(clients) = self.clients {
            clients.install(&mut context)?;
        }
        if let Some(protocols) = self.protocols {
            context.set_alpn_select_callback(move |_, theirs| {
                catch(None, || protocols.select(theirs)).ok_or(AlpnError::ALERT_FATAL)
            });
        }
        Ok(context.build().into_context())
    }
}

impl fmt::Debug for AcceptorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptorBuilder").finish_non_exhaustive()
    }
}
