//! What can be set on an acceptor and a connector: several names, protocols, certificates of clients, and other settings while
//! connections stand.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bufferevent_ssl::{
    Acceptor, ClientCertificates, Connector, DangerousConnector, Engine, Error, ErrorKind, Evbuffer,
    Identity,
    openssl::ssl::{SslAlert, SslVersion},
};
use common::{Census, NAME, Pair, VERSIONS, receive, send, settings};

/// The certificate that a client was shown.
fn shown(client: &Engine) -> Vec<u8> {
    client.ssl().unwrap().peer_certificate().unwrap().to_der().unwrap()
}

fn der(identity: &Identity) -> Vec<u8> {
    identity.certificate().to_der().unwrap()
}

/// Who answers to these names, and a connector that trusts all of them.
fn names<const N: usize>(names: [&str; N]) -> ([Identity; N], Connector) {
    let identities = names.map(|name| Identity::self_signed(&[name]).unwrap());
    let roots: Vec<u8> = identities.iter().flat_map(|identity| identity.certificate_pem().unwrap()).collect();
    (identities, Connector::builder().roots_pem(&roots).unwrap().build().unwrap())
}

#[test]
fn a_server_has_a_certificate_for_each_name() {
    let _census = Census::begin();
    let ([default, com, net, chosen], connector) =
        names(["example.org", "www.example.com", "*.example.net", "chosen.example"]);
    let asked = chosen.clone();
    let acceptor = Acceptor::builder()
        .identity(default.clone())
        .identity_for("WWW.example.com.", com.clone())
        .identity_for("*.example.net", net.clone())
        .choose_identity(move |name| (name == "chosen.example").then(|| asked.clone()))
        .build()
        .unwrap();
    for (name, identity) in [
        ("example.org", &default),
        ("www.example.com", &com),
        ("a.example.net", &net),
        ("Chosen.example", &chosen),
    ] {
        let mut pair = Pair { client: connector.engine(name).unwrap(), server: acceptor.engine() };
        pair.shake().unwrap();
        assert_eq!(shown(&pair.client), der(identity), "{name}");
    }
    // Who is not known gets the default, and the client refuses it.
    for name in ["unknown.example", "127.0.0.1"] {
        let mut pair = Pair { client: connector.engine(name).unwrap(), server: acceptor.engine() };
        assert_eq!(pair.shake().unwrap_err().kind(), ErrorKind::Certificate);
    }
}

#[test]
fn a_panic_in_the_choice_ends_one_connection() {
    let _census = Census::begin();
    // T8
    for version in VERSIONS {
        let (server, client) = settings(version);
        let choose = |name: &str| if name == NAME { panic!("a fault in the choice") } else { None };
        let acceptor = server.choose_identity(choose).build().unwrap();
        let mut pair = Pair::of(&acceptor, &client.build().unwrap());
        let error = pair.shake().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert!(error.to_string().contains("a fault in the choice"), "{error}");
        assert_eq!(pair.client.handshake().unwrap_err().alert(), Some(SslAlert::INTERNAL_ERROR));
        // The next one is served.
        let any = DangerousConnector::new(Connector::builder().build().unwrap());
        Pair { client: any.engine(None).unwrap(), server: acceptor.engine() }.shake().unwrap();
    }
}

#[test]
fn a_panic_in_a_check_of_clients_ends_one_connection() {
    let _census = Census::begin();
    // T8
    for version in VERSIONS {
        let (server, client) = settings(version);
        let who = Identity::self_signed(&["client"]).unwrap();
        let clients = ClientCertificates::required(&who.certificate_pem().unwrap()).unwrap();
        let acceptor = server.client_certificates(clients.check(|_| panic!("a fault"))).build().unwrap();
        let mut pair = Pair::of(&acceptor, &client.identity(who).build().unwrap());
        assert_eq!(pair.shake().unwrap_err().kind(), ErrorKind::Panicked);
    }
}

#[test]
fn the_protocol_is_the_first_of_the_servers_that_the_client_offers() {
    let _census = Census::begin();
    for version in VERSIONS {
        let (server, client) = settings(version);
        let acceptor = server.alpn(&[b"h2", b"http/1.1"]).unwrap().build().unwrap();
        let both: &[&[u8]] = &[b"http/1.1", b"h2"];
        for (offered, taken) in [(both, Some(&b"h2"[..])), (&both[..1], Some(both[0])), (&[], None)] {
            let client = client.clone();
            let client = if offered.is_empty() { client } else { client.alpn(offered).unwrap() };
            let mut pair = Pair::of(&acceptor, &client.build().unwrap());
            pair.shake().unwrap();
            for engine in [&pair.client, &pair.server] {
                assert_eq!(engine.ssl().unwrap().selected_alpn_protocol(), taken);
            }
        }
        // Nothing in common is fatal, and named.
        let mut pair = Pair::of(&acceptor, &client.alpn(&[b"h3"]).unwrap().build().unwrap());
        assert_eq!(pair.shake().unwrap_err().kind(), ErrorKind::Handshake);
        assert_eq!(pair.client.handshake().unwrap_err().alert(), Some(SslAlert::NO_APPLICATION_PROTOCOL));
    }
}

#[test]
fn a_client_shows_who_it_is_where_it_must() {
    let _census = Census::begin();
    for version in VERSIONS {
        let (server, client) = settings(version);
        let [known, unknown] = ["known", "unknown"].map(|name| Identity::self_signed(&[name]).unwrap());
        let roots = known.certificate_pem().unwrap();
        let required = ClientCertificates::required(&roots).unwrap();
        let optional = ClientCertificates::optional(&roots).unwrap();
        for (asked, who, accepted) in [
            (&required, Some(&known), true),
            (&required, Some(&unknown), false),
            (&required, None, false),
            (&optional, Some(&known), true),
            (&optional, Some(&unknown), false),
            (&optional, None, true),
        ] {
            let acceptor = server.clone().client_certificates(asked.clone()).build().unwrap();
            let client = who.iter().fold(client.clone(), |client, who| client.identity((*who).clone()));
            let mut pair = Pair::of(&acceptor, &client.build().unwrap());
            assert_eq!(pair.shake().is_ok(), accepted);
            if accepted {
                let certificate = pair.server.ssl().unwrap().peer_certificate();
                assert_eq!(certificate.map(|certificate| certificate.to_der().unwrap()), who.map(der));
                continue;
            }
            // 1.2: in TLS 1.3 the client has finished by then, and is told when it receives.
            let error = match version {
                SslVersion::TLS1_3 => receive(&mut pair.client, &mut Evbuffer::new()).unwrap_err(),
                _ => pair.client.handshake().unwrap_err(),
            };
            assert_eq!(error.kind(), ErrorKind::Alert, "{error}");
        }
    }
}

#[test]
fn other_settings_are_for_those_who_come_after() {
    let _census = Census::begin();
    let ([old, new], connector) = names([NAME, NAME]);
    let acceptor = Acceptor::builder().identity(old.clone()).build().unwrap();
    let clone = acceptor.clone();
    let begin = || Pair::of(&clone, &connector);
    let mut before = begin();
    before.shake().unwrap();
    acceptor.reload(Acceptor::builder().identity(new.clone())).unwrap();
    let mut after = begin();
    after.shake().unwrap();
    assert_eq!((shown(&before.client), shown(&after.client)), (der(&old), der(&new)));
    send(&mut before.client, b"I stand");
    before.reach_server();
    assert_eq!(receive(&mut before.server, &mut Evbuffer::new()).unwrap().bytes, 7);
    // What cannot be built changes nothing.
    assert_eq!(acceptor.reload(Acceptor::builder()).unwrap_err().kind(), ErrorKind::Configuration);
    begin().shake().unwrap();
    // The client's side likewise.
    connector.reload(Connector::builder().roots_pem(&old.certificate_pem().unwrap()).unwrap()).unwrap();
    assert_eq!(begin().shake().unwrap_err().kind(), ErrorKind::Certificate);
}

#[test]
fn an_identity_is_checked_when_it_is_read() {
    let _census = Census::begin();
    let [one, other] = ["one", "other"].map(|name| Identity::self_signed(&[name]).unwrap());
    let kind = |result: Result<Identity, Error>| result.err().map(|error| error.kind());
    let [key, wrong] = [&one, &other].map(|identity| identity.key_pem().unwrap());
    let certificate = one.certificate_pem().unwrap();
    assert_eq!(kind(Identity::from_pem(&certificate, &key)), None);
    assert_eq!(kind(Identity::from_pem(&certificate, &wrong)), Some(ErrorKind::Configuration));
    assert_eq!(kind(Identity::from_pem(b"", &key)), Some(ErrorKind::Configuration));
    assert_eq!(kind(Identity::from_pem(&certificate, b"garbage")), Some(ErrorKind::Configuration));
    let error = Identity::from_pem_files("/nowhere/chain.pem", "/nowhere/key.pem").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("/nowhere/chain.pem"), "{error}");
    assert!(error.io_error().is_some());
    assert_eq!(Connector::builder().roots_pem(b"nothing").err().unwrap().kind(), ErrorKind::Configuration);
}
