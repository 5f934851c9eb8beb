//! What is refused unless somebody asks for it (1.4, 1.8), and the settings of one engine.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use bufferevent_ssl::{
    Acceptor, Connector, DangerousConnector, Engine, ErrorKind, Evbuffer, Identity, Progress,
    openssl::{
        asn1::Asn1Time,
        bn::BigNum,
        hash::MessageDigest,
        ssl::{
            SslAcceptor, SslAlert, SslConnector, SslContext, SslContextBuilder, SslMethod, SslOptions,
            SslVersion,
        },
        x509::{X509, X509NameBuilder, extension::SubjectAlternativeName},
    },
};
use common::{Census, NAME, Pair, VERSIONS, receive, send};

/// X509_V_ERR_CERT_NOT_YET_VALID
const TOO_EARLY: i32 = 9;
/// X509_V_ERR_CERT_HAS_EXPIRED
const TOO_LATE: i32 = 10;
const DAY: i64 = 24 * 60 * 60;

/// Both sides of a server and a client, whichever of them is as it comes.
fn pair(server: &Acceptor, client: Engine) -> Pair {
    Pair { client, server: server.engine() }
}

/// Speaks what there was before TLS 1.2, and whatever ciphers.
fn of_old(context: &mut SslContextBuilder) {
    context.set_cipher_list("DEFAULT@SECLEVEL=0").unwrap();
    context.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
    context.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
    context.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
}

fn old_server() -> SslContext {
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let mut context = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    context.set_certificate(identity.certificate()).unwrap();
    context.set_private_key(identity.key()).unwrap();
    of_old(&mut context);
    context.build().into_context()
}

fn old_client() -> Engine {
    let mut context = SslConnector::builder(SslMethod::tls_client()).unwrap();
    of_old(&mut context);
    let connector = Connector::from_context(context.build().into_context());
    DangerousConnector::new(connector).engine(None).unwrap()
}

#[test]
fn versions_before_tls_1_2_are_refused_by_either_side() {
    let _census = Census::begin();
    let ours = Acceptor::builder().identity(Identity::self_signed(&[NAME]).unwrap()).build().unwrap();
    let mut both = pair(&ours, old_client());
    assert_eq!(both.shake().unwrap_err().kind(), ErrorKind::Handshake);
    both.reach_client();
    assert_eq!(both.client.handshake().unwrap_err().alert(), Some(SslAlert::PROTOCOL_VERSION));

    let client = DangerousConnector::new(Connector::builder().build().unwrap());
    let mut both = pair(&Acceptor::from_context(old_server()), client.engine(None).unwrap());
    let error = both.shake().unwrap_err();
    assert!([ErrorKind::Handshake, ErrorKind::Alert].contains(&error.kind()), "{error:?}");
    // They speak it with each other.
    let mut both = pair(&Acceptor::from_context(old_server()), old_client());
    both.shake().unwrap();
}

/// A certificate for [`NAME`] that vouches for itself, from one day to another, counted from today.
fn valid(from: i64, until: i64) -> Identity {
    let key = Identity::self_signed(&[NAME]).unwrap().key().clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let at = |days: i64| Asn1Time::from_unix(now + days * DAY).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", &format!("{from} to {until}")).unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&at(from)).unwrap();
    builder.set_not_after(&at(until)).unwrap();
    let names = SubjectAlternativeName::new().dns(NAME).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build().to_pem().unwrap();
    Identity::from_pem(&certificate, &key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

#[test]
fn a_certificate_is_good_between_its_dates_alone() {
    let _census = Census::begin();
    for (from, until, verdict) in [(-2, 2, None), (-4, -2, Some(TOO_LATE)), (2, 4, Some(TOO_EARLY))] {
        let identity = valid(from, until);
        let roots = identity.certificate_pem().unwrap();
        let connector = Connector::builder().roots_pem(&roots).unwrap().build().unwrap();
        let server = Acceptor::builder().identity(identity).build().unwrap();
        let shaken = pair(&server, connector.engine(NAME).unwrap()).shake();
        let refused = shaken.err().map(|error| error.certificate().unwrap().as_raw());
        assert_eq!(refused, verdict, "{from} to {until}");
    }
}

#[test]
fn a_server_at_an_address_is_who_its_certificate_says() {
    let _census = Census::begin();
    let identity = Identity::self_signed(&["127.0.0.1", "::1"]).unwrap();
    let roots = identity.certificate_pem().unwrap();
    let connector = Connector::builder().roots_pem(&roots).unwrap().build().unwrap();
    let server = Acceptor::builder().identity(identity).build().unwrap();
    for (name, accepted) in [("127.0.0.1", true), ("::1", true), ("127.0.0.2", false), ("localhost", false)] {
        let shaken = pair(&server, connector.engine(name).unwrap()).shake();
        assert_eq!(shaken.is_ok(), accepted, "{name}");
    }
}

#[test]
fn records_are_no_larger_than_they_are_set() {
    // 1.9
    let _census = Census::begin();
    for version in VERSIONS {
        let Pair { mut client, mut server } = Pair::open(version);
        let _ = receive(&mut client, &mut Evbuffer::new()).unwrap();
        client.set_record_size(600);
        send(&mut client, &[7; 10_000]);
        let (wire, mut at, mut records) = (client.to_send().to_vec(), 0, 0);
        while at < wire.len() {
            let len = usize::from(u16::from_be_bytes([wire[at + 3], wire[at + 4]]));
            assert!(len <= 600 + 29, "{len}");
            (at, records) = (at + 5 + len, records + 1);
        }
        assert_eq!(records, 10_000_usize.div_ceil(600));
        server.arrived().append(client.to_send()).unwrap();
        let mut got = Evbuffer::new();
        let _ = receive(&mut server, &mut got).unwrap();
        assert_eq!(got.len(), 10_000);
    }
}

#[test]
fn a_handshake_takes_no_more_bytes_than_it_is_set_to() {
    let _census = Census::begin();
    let mut pair = Pair::new(SslVersion::TLS1_3);
    pair.server.set_handshake_bytes(100);
    assert_eq!(pair.client.handshake().unwrap(), Progress::Pending);
    assert!(pair.client.to_send().len() > 100);
    pair.reach_server();
    assert_eq!(pair.server.handshake().unwrap_err().kind(), ErrorKind::Flood);
}

#[test]
fn buffers_that_are_kept_carry_the_same() {
    // 1.11
    let _census = Census::begin();
    for kept in [false, true] {
        let mut pair = Pair::new(SslVersion::TLS1_3);
        pair.client.set_keep_buffers(kept);
        pair.server.set_keep_buffers(kept);
        pair.shake().unwrap();
        for round in 0..3 {
            send(&mut pair.client, &[round; 40_000]);
            pair.reach_server();
            let mut got = Evbuffer::new();
            let _ = receive(&mut pair.server, &mut got).unwrap();
            assert_eq!(got.to_vec(), [round; 40_000]);
        }
    }
}
