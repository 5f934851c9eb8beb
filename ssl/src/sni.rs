//! Several servers behind one address: which of them a client means.

use std::{collections::HashMap, fmt};

use bufferevent_sync::Arc;
use openssl::{
    error::ErrorStack,
    ssl::{NameType, SniError, SslAlert, SslContextBuilder, SslRef},
};

use crate::{
    Answer, Identity,
    caught::catch,
    lookup::{self, Ask},
};

/// Who answers to which name. Names are [plain]; the first label of one may be `*`.
#[derive(Clone, Default)]
pub(crate) struct Identities {
    by_name: HashMap<Box<str>, Identity>,
    others: Others,
}

/// Who answers to names that are not known.
#[derive(Clone, Default)]
enum Others {
    /// Whoever answers to all.
    #[default]
    All,
    Choose(Choose),
    Lookup(Ask),
}

type Choose = Arc<dyn Fn(&str) -> Option<Identity> + Send + Sync>;

impl Identities {
    pub(crate) fn insert(&mut self, name: &str, identity: Identity) {
        self.by_name.insert(plain(name).into(), identity);
    }

    /// Asks `choose` for the names that are not here.
    pub(crate) fn or_else(&mut self, choose: impl Fn(&str) -> Option<Identity> + Send + Sync + 'static) {
        self.others = Others::Choose(Arc::from(Box::new(choose) as Box<dyn Fn(&str) -> _ + Send + Sync>));
    }

    /// Asks `ask` for the names that are not here, and where a client asks for none.
    pub(crate) fn or_ask(&mut self, ask: impl Fn(Option<&str>, Answer) + Send + Sync + 'static) {
        self.others = Others::Lookup(Arc::from(Box::new(ask) as Box<dyn Fn(Option<&str>, _) + Send + Sync>));
    }

    /// Whether there is an answer for whoever asks, though it may be none.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.others, Others::Lookup(_))
    }

    /// Has each connection of a context use the identity for the name that its client asks for. Who asks for none, or for one
    /// that is not known, gets that of the context, if it has one.
    pub(crate) fn install(
        self,
        context: &mut SslContextBuilder,
        has_default: bool,
    ) -> Result<(), ErrorStack> {
        let identities = Arc::new(self);
        if let Others::Lookup(ask) = &identities.others {
            let known = identities.clone();
            lookup::install(context, ask.clone(), move |name| known.known(name).is_some(), has_default)?;
        } else if identities.by_name.is_empty() && matches!(identities.others, Others::All) {
            return Ok(());
        }
        context.set_servername_callback(move |ssl, alert| {
            *alert = SslAlert::INTERNAL_ERROR;
            catch(Err(SniError::ALERT_FATAL), || identities.answer(ssl))
        });
        Ok(())
    }

    fn answer(&self, ssl: &mut SslRef) -> Result<(), SniError> {
        let name = ssl.servername(NameType::HOST_NAME).map(plain);
        let Some(identity) = name.and_then(|name| self.find(&name)) else {
            // Who is asked later answers to the name.
            return if self.asks() { Ok(()) } else { Err(SniError::NOACK) };
        };
        identity.install_on(ssl).map_err(|stack| {
            // Where the failure of the handshake is told, it is told too.
            stack.errors().iter().for_each(openssl::error::Error::put);
            SniError::ALERT_FATAL
        })
    }

    fn known(&self, name: &str) -> Option<&Identity> {
        let of_all = || Some(format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(|| self.by_name.get(of_all()?.as_str()))
    }

    fn find(&self, name: &str) -> Option<Identity> {
        let chosen = || match &self.others {
            Others::Choose(choose) => choose(name),
            Others::All | Others::Lookup(_) => None,
        };
        self.known(name).cloned().or_else(chosen)
    }
}

/// A name as names are compared: in lower case, without the dot at its end.
pub(crate) fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
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
        identities.insert("one.example.org.", one.clone());
        let found =
            |name: &str| identities.find(&plain(name)).map(|found| found.certificate().to_der().unwrap());
        assert_eq!(found("one.example.org"), Some(one.certificate().to_der().unwrap()));
        assert_eq!(found("ONE.Example.org."), Some(one.certificate().to_der().unwrap()), "the same name");
        assert_eq!(found("two.example.org"), Some(all.certificate().to_der().unwrap()));
        assert_eq!(found("example.org"), None);
        assert_eq!(found("a.two.example.org"), None);
        assert_eq!(found("org"), None);
    }
}
