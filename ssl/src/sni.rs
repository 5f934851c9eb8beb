//! Several servers behind one address: which of them a client means.

use std::{collections::HashMap, fmt};

use bufferevent_sync::Arc;
use openssl::ssl::{NameType, SniError, SslAlert, SslContextBuilder, SslRef};

use crate::{Identity, caught::catch};

/// Who answers to which name. Names are in lower case; the first label of one may be `*`.
#[derive(Clone, Default)]
pub(crate) struct Identities {
    by_name: HashMap<Box<str>, Identity>,
    choose: Option<Choose>,
}

type Choose = Arc<dyn Fn(&str) -> Option<Identity> + Send + Sync>;

impl Identities {
    pub(crate) fn insert(&mut self, name: &str, identity: Identity) {
        self.by_name.insert(name.to_ascii_lowercase().into(), identity);
    }

    /// Asks `choose` for the names that are not here.
    pub(crate) fn or_else(&mut self, choose: impl Fn(&str) -> Option<Identity> + Send + Sync + 'static) {
        self.choose = Some(Arc::from(Box::new(choose) as Box<dyn Fn(&str) -> _ + Send + Sync>));
    }

    /// Has each connection of a context use the identity for the name that its client asks for. Who asks for none, or for one
    /// that is not known, gets that of the context.
    pub(crate) fn install(self, context: &mut SslContextBuilder) {
        if self.by_name.is_empty() && self.choose.is_none() {
            return;
        }
        context.set_servername_callback(move |ssl, alert| {
            *alert = SslAlert::INTERNAL_ERROR;
            catch(Err(SniError::ALERT_FATAL), || self.answer(ssl))
        });
    }

    fn answer(&self, ssl: &mut SslRef) -> Result<(), SniError> {
        let name = ssl.servername(NameType::HOST_NAME).map(str::to_ascii_lowercase);
        let Some(identity) = name.and_then(|name| self.find(&name)) else { return Err(SniError::NOACK) };
        identity.install_on(ssl).map_err(|stack| {
            // Where the failure of the handshake is told, it is told too.
            stack.errors().iter().for_each(openssl::error::Error::put);
            SniError::ALERT_FATAL
        })
    }

    fn find(&self, name: &str) -> Option<Identity> {
        let of_all = || Some(format!("*.{}", name.split_once('.')?.1));
        let known = self.by_name.get(name).or_else(|| self.by_name.get(of_all()?.as_str())).cloned();
        known.or_else(|| self.choose.as_ref()?(name))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_for_one_label_and_a_name_before_it() {
        let mut identities = Identities::default();
        let [all, one] = ["all", "one"].map(|name| Identity::self_signed(&[name]).unwrap());
        identities.insert("*.Example.org", all.clone());
        identities.insert("one.example.org", one.clone());
        let found = |name: &str| identities.find(name).map(|found| found.certificate().to_der().unwrap());
        assert_eq!(found("one.example.org"), Some(one.certificate().to_der().unwrap()));
        assert_eq!(found("two.example.org"), Some(all.certificate().to_der().unwrap()));
        assert_eq!(found("example.org"), None);
        assert_eq!(found("a.two.example.org"), None);
        assert_eq!(found("org"), None);
    }
}
