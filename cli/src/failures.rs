//! Clients whose connections fail: counted, and told on stderr now and then.

use std::{fmt, net::SocketAddr};

use bufferevent::{Accepted, Bufferevent};
use bufferevent_sync::SharedCounter;

use crate::warnings::Warnings;

/// What fails on one side of a server, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: SharedCounter,
    warnings: Warnings,
}

impl Failures {
    /// Counts a failure of `whom`, and tells it, if none was told just now.
    pub(crate) fn tell(&self, whom: impl fmt::Display, why: impl fmt::Display) {
        self.count_one();
        self.warnings.tell(whom, why);
    }

    /// Counts one that is told elsewhere.
    pub(crate) fn count_one(&self) {
        self.count.add(1);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }
}

/// A client, by its address if that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(Option<SocketAddr>);

impl Client {
    /// That of a connection whose handshake failed, if it is still there.
    pub(crate) fn of(connection: &Bufferevent) -> Self {
        let peer = connection.underlying().unwrap_or(connection).peer_addr();
        Self(peer.ok().and_then(|address| address.as_socket()))
    }

    pub(crate) fn accepted(connection: &Accepted) -> Self {
        Self(connection.peer_addr().ok().and_then(|address| address.as_socket()))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "client {address}"),
            None => f.write_str("a client"),
        }
    }
}
