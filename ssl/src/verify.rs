//! How a peer's certificate is verified: by OpenSSL, and then by a check of the user's.

use std::fmt;

use bufferevent_sync::Arc;
use openssl::{
    ssl::{SslContextBuilder, SslVerifyMode},
    x509::{X509Ref, X509VerifyResult},
};

use crate::caught::catch;

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
