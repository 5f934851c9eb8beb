//! Whose side an engine is, and so how it begins.

use openssl::{error::ErrorStack, ssl::Ssl};

use crate::{Acceptor, connector::Peer};

#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Server(Acceptor),
    Client(Box<Peer>),
    /// The connection was established elsewhere: there is nothing to begin another by.
    Given {
        server: bool,
    },
}

impl Origin {
    pub(crate) fn is_server(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Given { server: true })
    }

    /// OpenSSL's object for one connection.
    pub(crate) fn ssl(&self) -> Result<Ssl, ErrorStack> {
        match self {
            Self::Server(acceptor) => acceptor.ssl(),
            Self::Client(peer) => peer.ssl(),
            Self::Given { .. } => Err(ErrorStack::get()),
        }
    }
}
