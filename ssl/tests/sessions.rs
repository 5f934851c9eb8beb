//! Sessions: which are resumed, after which end of the connection before (T4).

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bufferevent_ssl::{
    Acceptor, ClientCertificates, Connector, DangerousConnector, Evbuffer, Identity,
    openssl::ssl::{SslAcceptor, SslMethod, SslOptions, SslSessionCacheMode, SslVersion},
    runtime::Time,
};
use common::{Census, NAME, Pair, VERSIONS, receive, send, settings};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Both sides tell theirs, and hear of the other's.
    Both,
    /// One tells, the other is dropped.
    Client,
    Server,
    /// Both are dropped.
    Neither,
    /// The client finds damage.
    Damage,
}

impl End {
    const ALL: [Self; 5] = [Self::Both, Self::Client, Self::Server, Self::Neither, Self::Damage];

    /// A connection of a few words that ends so; whether its session was resumed.
    fn run(self, acceptor: &Acceptor, connector: &Connector) -> bool {
        let mut pair = Pair::of(acceptor, connector);
        pair.shake().unwrap();
        let resumed = is_resumed(&pair);
        hello(&mut pair);
        if matches!(self, Self::Both | Self::Client) {
            pair.client.notify().unwrap();
            pair.reach_server();
            assert!(receive(&mut pair.server, &mut Evbuffer::new()).unwrap().ended);
        }
        if matches!(self, Self::Both | Self::Server) {
            pair.server.notify().unwrap();
            pair.reach_client();
            assert!(receive(&mut pair.client, &mut Evbuffer::new()).unwrap().ended);
        }
        if self == Self::Damage {
            pair.client.arrived().add(&[23, 3, 3, 0, 32]).unwrap();
            pair.client.arrived().add(&[0; 32]).unwrap();
            pair.client.receive(&mut Evbuffer::new(), 100, Time::ZERO).unwrap_err();
        }
        resumed
    }
}

fn is_resumed(pair: &Pair) -> bool {
    let [client, server] = [&pair.client, &pair.server].map(|engine| engine.ssl().unwrap().session_reused());
    assert_eq!(client, server);
    client
}

/// The server says something: tickets of TLS 1.3 come with what is received.
fn hello(pair: &mut Pair) {
    send(&mut pair.server, b"hello");
    pair.reach_client();
    assert_eq!(receive(&mut pair.client, &mut Evbuffer::new()).unwrap().bytes, 5);
}

#[test]
fn a_session_is_resumed_however_the_one_before_ended() {
    let _census = Census::begin();
    // T4, 1.6: freed without the flags, OpenSSL takes a session for spoilt.
    for version in VERSIONS {
        for end in End::ALL {
            let (server, client) = settings(version);
            let (acceptor, connector) = (server.build().unwrap(), client.build().unwrap());
            assert!(!end.run(&acceptor, &connector));
            let resumed = end.run(&acceptor, &connector);
            if end != End::Damage {
                assert!(resumed, "{version:?} {end:?}");
            }
            // After damage it is for OpenSSL to say; a handshake there is.
        }
    }
}

#[test]
fn a_session_in_the_servers_cache_survives_too() {
    let _census = Census::begin();
    // 1.6: without tickets the server's own free would spoil it.
    for end in [End::Both, End::Client, End::Server, End::Neither] {
        let identity = Identity::self_signed(&[NAME]).unwrap();
        let connector =
            settings(SslVersion::TLS1_2).1.roots_pem(&identity.certificate_pem().unwrap()).unwrap();
        let mut context = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        context.set_certificate(identity.certificate()).unwrap();
        context.set_private_key(identity.key()).unwrap();
        context.set_options(SslOptions::NO_TICKET);
        context.set_session_cache_mode(SslSessionCacheMode::SERVER);
        context.set_session_id_context(b"test").unwrap();
        let acceptor = Acceptor::from_context(context.build().into_context());
        let connector = connector.build().unwrap();
        assert!(!end.run(&acceptor, &connector));
        assert!(end.run(&acceptor, &connector), "{end:?}");
    }
}

#[test]
fn a_ticket_of_tls_1_3_is_used_once() {
    let _census = Census::begin();
    // 1.8
    let (server, client) = settings(SslVersion::TLS1_3);
    let (acceptor, connector) = (server.tickets(1).build().unwrap(), client.build().unwrap());
    assert!(!End::Both.run(&acceptor, &connector));
    let [mut first, mut second] = [(); 2].map(|()| Pair::of(&acceptor, &connector));
    first.shake().unwrap();
    second.shake().unwrap();
    assert!(is_resumed(&first));
    assert!(!is_resumed(&second), "the first has not received another yet");
}

#[test]
fn a_server_without_tickets_resumes_nothing() {
    let _census = Census::begin();
    for version in VERSIONS {
        let (server, client) = settings(version);
        let (acceptor, connector) = (server.tickets(0).build().unwrap(), client.build().unwrap());
        assert!(!End::Both.run(&acceptor, &connector));
        assert!(!End::Both.run(&acceptor, &connector));
    }
}

#[test]
fn who_the_client_is_is_known_in_a_session_that_is_resumed_too() {
    let _census = Census::begin();
    for version in VERSIONS {
        let (server, client) = settings(version);
        let identity = Identity::self_signed(&["known"]).unwrap();
        let clients = ClientCertificates::required(&identity.certificate_pem().unwrap()).unwrap();
        let acceptor = server.client_certificates(clients).build().unwrap();
        let connector = client.identity(identity.clone()).build().unwrap();
        for resumed in [false, true] {
            let mut pair = Pair::of(&acceptor, &connector);
            pair.shake().unwrap();
            assert_eq!(is_resumed(&pair), resumed, "{version:?}");
            let certificate = pair.server.ssl().unwrap().peer_certificate().unwrap();
            assert_eq!(
                certificate.to_der().unwrap(),
                identity.certificate().to_der().unwrap(),
                "{version:?}"
            );
            hello(&mut pair);
        }
    }
}

#[test]
fn other_settings_resume_no_session_of_the_ones_before() {
    let _census = Census::begin();
    for version in VERSIONS {
        let (server, client) = settings(version);
        let (acceptor, connector) = (server.clone().build().unwrap(), client.clone().build().unwrap());
        assert!(!End::Both.run(&acceptor, &connector));
        acceptor.reload(server.clone()).unwrap();
        assert!(!End::Both.run(&acceptor, &connector), "the keys of the tickets are new");
        assert!(End::Both.run(&acceptor, &connector));
        connector.reload(client).unwrap();
        assert!(!End::Both.run(&acceptor, &connector));
    }
}

#[test]
fn a_server_that_was_not_verified_leaves_no_session_to_who_verifies() {
    let _census = Census::begin();
    for version in VERSIONS {
        let acceptor = settings(version).0.build().unwrap();
        let connector = Connector::builder().versions(version, Some(version)).build().unwrap();
        let mut pair = Pair::of(&acceptor, &connector);
        pair.client = DangerousConnector::new(connector.clone()).engine(Some(NAME)).unwrap();
        pair.shake().unwrap();
        hello(&mut pair);
        Pair::of(&acceptor, &connector).shake().unwrap_err();
    }
}

#[test]
fn sessions_are_of_one_name() {
    let _census = Census::begin();
    let identity = Identity::self_signed(&[NAME, "other.example"]).unwrap();
    let roots = identity.certificate_pem().unwrap();
    let connector = Connector::builder().roots_pem(&roots).unwrap().build().unwrap();
    let acceptor = Acceptor::builder().identity(identity).build().unwrap();
    assert!(!End::Both.run(&acceptor, &connector));
    let mut pair = Pair::of(&acceptor, &connector);
    pair.client = connector.engine("other.example").unwrap();
    pair.shake().unwrap();
    assert!(!is_resumed(&pair));
}

#[test]
fn servers_at_several_ports_are_not_taken_for_each_other() {
    let _census = Census::begin();
    // 1.8
    for version in VERSIONS {
        let (server, client) = settings(version);
        let (acceptor, connector) = (server.build().unwrap(), client.build().unwrap());
        let [https, other] = [443, 8443].map(|port| connector.to_port(port));
        assert!(!End::Both.run(&acceptor, &https));
        assert!(!End::Both.run(&acceptor, &other), "another server");
        assert!(!End::Both.run(&acceptor, &connector));
        assert!([https, other, connector].iter().all(|connector| End::Both.run(&acceptor, connector)));
    }
}
