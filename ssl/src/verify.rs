//! How a peer's certificate is verified: by OpenSSL, and then by a check of the user's.

use std::fmt;

use bufferevent_sync::Arc;
use openssl::{
    error::ErrorStack,
    ssl::{SslContextBuilder, SslVerifyMode},
    stack::Stack,
    x509::{
        X509, X509Ref, X509VerifyResult,
        store::{X509Store, X509StoreBuilder},
    },
};

use crate::{Error, VERIFY_DEPTH, caught::catch, pem::certificates};

/// What a server asks of its clients: a certificate that one of these vouches for.
///
/// In TLS 1.3 a client whose certificate is refused has finished its handshake by then: it is told when it receives.
#[derive(Clone)]
pub struct ClientCertificates {
    roots: Vec<X509>,
    mode: SslVerifyMode,
    depth: u32,
    check: Option<Check>,
}

impl ClientCertificates {
    /// Each client must have one, vouched for by one in this PEM.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is none in it.
    pub fn required(roots: &[u8]) -> Result<Self, Error> {
        let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        Ok(Self { roots: certificates(roots)?, mode, depth: VERIFY_DEPTH, check: None })
    }

    /// A client may come without; one that has a certificate has a good one. Whether it has tells
    /// [`Engine::ssl`](crate::Engine::ssl).
    ///
    /// # Errors
    /// As [`required`](Self::required).
    pub fn optional(roots: &[u8]) -> Result<Self, Error> {
        Ok(Self { mode: SslVerifyMode::PEER, ..Self::required(roots)? })
    }

    /// Sets how many certificates may stand between a client's and one of these. Default: [`VERIFY_DEPTH`].
    #[must_use]
    pub fn depth(mut self, most: u32) -> Self {
        self.depth = most;
        self
    }

    /// Has a certificate looked at after it was verified, which `check` can refuse. A session that is resumed has none to be
    /// looked at.
    ///
    /// It runs inside [`Engine::handshake`](crate::Engine::handshake). A panic in it fails that connection, and no other.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&X509Ref) -> bool + Send + Sync + 'static) -> Self {
        self.check = Some(Check::new(check));
        self
    }

    /// Has the clients of a context asked.
    pub(crate) fn install(self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        let mut names = Stack::new()?;
        for root in &self.roots {
            names.push(root.subject_name().to_owned()?)?;
        }
        context.set_client_ca_list(names);
        context.set_cert_store(store(self.roots)?);
        context.set_verify_depth(self.depth);
        install(context, self.mode, self.check);
        Ok(())
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates").field("depth", &self.depth).finish_non_exhaustive()
    }
}

/// A check of the user's. It can only refuse.
#[derive(Clone)]
pub(crate) struct Check(Arc<dyn Fn(&X509Ref) -> bool + Send + Sync>);

impl Check {
    pub(crate) fn new(check: impl Fn(&X509Ref) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::from(Box::new(check) as Box<dyn Fn(&X509Ref) -> bool + Send + Sync>))
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").finish_non_exhaustive()
    }
}

/// Has the peer's certificate verified, and then checked.
pub(crate) fn install(context: &mut SslContextBuilder, mode: SslVerifyMode, check: Option<Check>) {
    let Some(Check(check)) = check else { return context.set_verify(mode) };
    context.set_verify_callback(mode, move |accepted, chain| {
        if !accepted || chain.error_depth() != 0 {
            return accepted;
        }
        let accepted = catch(false, || chain.current_cert().is_some_and(|certificate| check(certificate)));
        if !accepted {
            chain.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
        }
        accepted
    });
}

pub(crate) fn store(roots: Vec<X509>) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    roots.into_iter().try_for_each(|root| store.add_cert(root))?;
    Ok(store.build())
}
