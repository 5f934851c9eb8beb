//! Sessions that a client may resume: a handshake then costs half, and no certificate is sent.

use std::{collections::VecDeque, fmt, sync::OnceLock};

use bufferevent_sync::{Arc, Leaf};
use openssl::{
    error::ErrorStack,
    ex_data::Index,
    ssl::{Ssl, SslContextBuilder, SslRef, SslSessionCacheMode, SslVersion},
};

use crate::{SESSIONS, SESSIONS_PER_SERVER, caught::catch, ffi::Session, name::ServerName};

/// Whose sessions are taken for each other's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: ServerName,
    /// `None`: whatever it is.
    pub(crate) port: Option<u16>,
}

/// Those of one context, the one used last at the back: [`SESSIONS`] at most, [`SESSIONS_PER_SERVER`] of one server.
///
/// They are of servers that were verified: to resume is to believe that without a look.
#[derive(Default)]
pub(crate) struct Sessions {
    kept: Leaf<VecDeque<(Server, Session)>>,
}

impl Sessions {
    /// Has the sessions of a context kept.
    pub(crate) fn install(context: &mut SslContextBuilder) -> Result<Arc<Self>, ErrorStack> {
        let server = server()?;
        let sessions = Arc::new(Self::default());
        let kept = sessions.clone();
        context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        context.set_new_session_callback(move |ssl, session| {
            catch((), || {
                if let Some(whom) = ssl.ex_data(server).cloned() {
                    kept.put(whom, Session::of(ssl, session));
                }
            });
        });
        Ok(sessions)
    }

    /// Has `ssl` resume a session with `whom`, if there is one, and those that it makes be kept.
    pub(crate) fn resume(&self, ssl: &mut SslRef, whom: Server) -> Result<(), ErrorStack> {
        let session = self.take(&whom);
        ssl.set_ex_data(server()?, whom);
        session.map_or(Ok(()), |session| session.resume(ssl))
    }

    /// The newest one. In TLS 1.3 each is used once: who watches the wire could tell otherwise that it is the same client.
    fn take(&self, whom: &Server) -> Option<Session> {
        let mut kept = self.kept.lock();
        let at = kept.iter().rposition(|(server, _)| server == whom)?;
        let (server, session) = kept.remove(at)?;
        if session.session().protocol_version() != SslVersion::TLS1_3 {
            kept.push_back((server, session.clone()));
        }
        Some(session)
    }

    fn put(&self, whom: Server, session: Session) {
        let mut kept = self.kept.lock();
        let mut of_server = kept.iter().enumerate().filter(|(_, (server, _))| *server == whom);
        let oldest = of_server.next().map(|(at, _)| at);
        let too_many = match oldest {
            Some(oldest) if of_server.count() + 1 >= SESSIONS_PER_SERVER => kept.remove(oldest),
            _ if kept.len() >= SESSIONS => kept.pop_front(),
            _ => None,
        };
        kept.push_back((whom, session));
        // OpenSSL frees it after the lock.
        drop(kept);
        drop(too_many);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.kept.lock().len()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// Where a connection has its server.
fn server() -> Result<Index<Ssl, Server>, ErrorStack> {
    static SERVER: OnceLock<Index<Ssl, Server>> = OnceLock::new();
    match SERVER.get() {
        Some(index) => Ok(*index),
        None => {
            let index = Ssl::new_ex_index()?;
            Ok(*SERVER.get_or_init(|| index))
        }
    }
}

#[cfg(test)]
mod tests {
    use openssl::ssl::{SslContext, SslMethod, SslSession};

    use super::*;

    /// One of TLS 1.2 without an id, its master key all zeros.
    fn session(ssl: &SslRef) -> Session {
        let mut der = vec![0x30, 63, 2, 1, 1, 2, 2, 3, 3, 4, 2, 0xc0, 0x2f, 4, 0, 4, 48];
        der.resize(der.len() + 48, 0);
        Session::of(ssl, SslSession::from_der(&der).unwrap())
    }

    #[test]
    fn so_many_are_kept_of_all_and_of_each() {
        let context = SslContext::builder(SslMethod::tls_client()).unwrap().build();
        let ssl = Ssl::new(&context).unwrap();
        let sessions = Sessions::default();
        let name = |i: usize| Server { name: format!("server{i}.example").parse().unwrap(), port: None };
        for _ in 0..10 {
            sessions.put(name(0), session(&ssl));
        }
        assert_eq!(sessions.len(), SESSIONS_PER_SERVER);
        for i in 1..2 * SESSIONS {
            sessions.put(name(i), session(&ssl));
        }
        assert_eq!(sessions.len(), SESSIONS);
        assert!(sessions.take(&name(0)).is_none(), "the oldest went first");
        let last = name(2 * SESSIONS - 1);
        assert!(sessions.take(&Server { port: Some(443), ..last.clone() }).is_none(), "another server");
        assert!(sessions.take(&last).is_some());
    }
}
