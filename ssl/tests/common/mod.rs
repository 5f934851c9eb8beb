//! Two engines in memory, and what carries bytes between them.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::{cell::RefCell, collections::HashMap};

use bufferevent_ssl::{
    Acceptor, AcceptorBuilder, Connector, ConnectorBuilder, Engine, Error, Evbuffer, Identity, Progress,
    Received, openssl::ssl::SslVersion, runtime::Time,
};

pub(crate) use bufferevent_ssl::runtime::Census;

pub(crate) const VERSIONS: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

/// The name that the tests' server has.
pub(crate) const NAME: &str = "example.org";

/// Settings of both sides, which trust each other and speak one version.
pub(crate) fn settings(version: SslVersion) -> (AcceptorBuilder, ConnectorBuilder) {
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let roots = identity.certificate_pem().unwrap();
    let client = Connector::builder().roots_pem(&roots).unwrap();
    let server = Acceptor::builder().identity(identity);
    (server.versions(version, Some(version)), client.versions(version, Some(version)))
}

thread_local! {
    /// Making them is dear: the system's roots are read.
    static BOTH: RefCell<HashMap<bool, (Acceptor, Connector)>> = RefCell::default();
}

/// A client and a server that have exchanged nothing.
pub(crate) struct Pair {
    pub(crate) client: Engine,
    pub(crate) server: Engine,
}

impl Pair {
    pub(crate) fn new(version: SslVersion) -> Self {
        BOTH.with_borrow_mut(|both| {
            let (acceptor, connector) = both.entry(version == SslVersion::TLS1_3).or_insert_with(|| {
                let (server, client) = settings(version);
                (server.build().unwrap(), client.build().unwrap())
            });
            Self::of(acceptor, connector)
        })
    }

    pub(crate) fn of(acceptor: &Acceptor, connector: &Connector) -> Self {
        Self { client: connector.engine(NAME).unwrap(), server: acceptor.engine() }
    }

    /// One whose handshake is over; what the server sent after it has arrived, and was not received.
    pub(crate) fn open(version: SslVersion) -> Self {
        let mut pair = Self::new(version);
        pair.shake().unwrap();
        pair
    }

    /// Makes the handshake.
    pub(crate) fn shake(&mut self) -> Result<(), Error> {
        for _ in 0..10 {
            let client = self.client.handshake()?;
            self.reach_server();
            let server = self.server.handshake();
            self.reach_client();
            if (client, server?) == (Progress::Done, Progress::Done) {
                return Ok(());
            }
        }
        panic!("the handshake does not end");
    }

    pub(crate) fn reach_server(&mut self) {
        self.server.arrived().append(self.client.to_send()).unwrap();
    }

    pub(crate) fn reach_client(&mut self) {
        self.client.arrived().append(self.server.to_send()).unwrap();
    }
}

/// Moves at most `n` bytes of the wire.
pub(crate) fn carry(from: &mut Engine, to: &mut Engine, n: usize) -> usize {
    from.to_send().move_to(to.arrived(), n).unwrap()
}

/// Sends `data` whole.
pub(crate) fn send(engine: &mut Engine, data: &[u8]) {
    let mut data = Evbuffer::from(data);
    while !data.is_empty() {
        engine.send(&mut data, usize::MAX).unwrap();
    }
}

/// Receives all there is, at time 0.
pub(crate) fn receive(engine: &mut Engine, into: &mut Evbuffer) -> Result<Received, Error> {
    loop {
        let received = engine.receive(into, usize::MAX, Time::ZERO)?;
        if !received.leftover {
            return Ok(received);
        }
    }
}

/// Bytes that are all different, as far as that goes.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}
