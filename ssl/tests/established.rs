//! Connections that were established elsewhere, and what may be begun again on one that stands.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    fmt::Debug,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Callbacks, Context, Direction, Interest, Pinned, testing::ManualBase,
};
use bufferevent_ssl::{
    Acceptor, Connector, DangerousConnector, Engine, ErrorKind, Evbuffer, Identity, RECORDS_PER_CALL, Tls,
    openssl::ssl::{Ssl, SslAcceptor, SslConnector, SslContext, SslMethod, SslStream, SslVersion},
};
use bufferevent_sync::Mutex;
use common::{Census, NAME, Pair, VERSIONS, receive, send, settings};

/// A context of the user's own, without the protections of ours.
fn raw_server(version: SslVersion) -> SslContext {
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let mut context = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    context.set_certificate(identity.certificate()).unwrap();
    context.set_private_key(identity.key()).unwrap();
    context.set_min_proto_version(Some(version)).unwrap();
    context.set_max_proto_version(Some(version)).unwrap();
    context.set_read_ahead(true);
    context.build().into_context()
}

fn raw_pair(version: SslVersion) -> Pair {
    let client = SslConnector::builder(SslMethod::tls_client()).unwrap().build().into_context();
    let client = DangerousConnector::new(Connector::from_context(client));
    let server = Acceptor::from_context(raw_server(version));
    let mut pair = Pair { client: client.engine(None).unwrap(), server: server.engine() };
    pair.shake().unwrap();
    pair
}

/// Two ends of a socket, shaken hands over by OpenSSL alone.
fn over_a_socket(version: SslVersion) -> [SslStream<UnixStream>; 2] {
    let (one, other) = UnixStream::pair().unwrap();
    shake(version, one, other)
}

fn shake<S: Read + Write + Debug + Send + 'static>(
    version: SslVersion,
    other: S,
    one: S,
) -> [SslStream<S>; 2] {
    let server = raw_server(version);
    let server = thread::spawn(move || Ssl::new(&server).unwrap().accept(one).unwrap());
    let client = SslConnector::builder(SslMethod::tls_client()).unwrap().build();
    let mut client = client.configure().unwrap().verify_hostname(false);
    client.set_verify(bufferevent_ssl::openssl::ssl::SslVerifyMode::NONE);
    let client = client.into_ssl(NAME).unwrap().connect(other).unwrap();
    [client, server.join().unwrap()]
}

#[test]
fn a_connection_that_was_established_elsewhere_goes_on() {
    let _census = Census::begin();
    // T-03, `Open`
    for version in VERSIONS {
        let [mut client, mut server] = over_a_socket(version);
        client.write_all(b"from before").unwrap();
        let mut into = [0; 5];
        server.read_exact(&mut into).unwrap();
        // The rest of that record is inside OpenSSL: no new byte will tell of it.
        let socket = server.get_ref().try_clone().unwrap();
        let mut engine = Engine::open(server).unwrap();
        assert!(engine.is_server() && engine.is_open());
        let mut rest = Evbuffer::new();
        assert_eq!(receive(&mut engine, &mut rest).unwrap().bytes, 6);
        assert_eq!((&into[..], &rest.to_vec()[..]), (&b"from "[..], &b"before"[..]));
        send(&mut engine, b"an answer");
        (&socket).write_all(&engine.to_send().to_vec()).unwrap();
        let mut into = [0; 9];
        client.read_exact(&mut into).unwrap();
        assert_eq!(&into, b"an answer");
    }
}

#[test]
fn a_socket_with_its_session_goes_on_as_a_bufferevent() {
    let _census = Census::begin();
    // T-03, `Open`: one call takes both.
    for version in VERSIONS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let [mut client, mut server] = shake(version, client, listener.accept().unwrap().0);
        client.write_all(b"from before").unwrap();
        let mut into = [0; 5];
        server.read_exact(&mut into).unwrap();
        let mut base = Base::<Pinned>::new().unwrap();
        let echo = Callbacks::<Pinned>::new().on_read(|cx| {
            let (input, output) = cx.buffers();
            output.append(input).unwrap();
        });
        let builder = Tls::established(server).unwrap().handler(echo);
        let id = builder.configure(|one| one.enable(Interest::READ)).start(&mut base).unwrap();
        let hears = thread::spawn(move || {
            let mut into = [0; 6];
            client.read_exact(&mut into).unwrap();
            client.shutdown().unwrap();
            into
        });
        while base.bufferevent(id).is_ok_and(|one| one.enabled().contains(Interest::READ)) {
            base.turn(None).unwrap();
        }
        assert_eq!(&hears.join().unwrap(), b"before");
    }
}

#[test]
fn all_that_openssl_has_read_ahead_comes_without_another_byte() {
    let _census = Census::begin();
    // T-03, `Open`: more records than one call takes
    const RECORDS: usize = 3 * RECORDS_PER_CALL;
    for version in VERSIONS {
        let [mut client, mut server] = over_a_socket(version);
        (0..RECORDS).for_each(|_| client.write_all(b"x").unwrap());
        server.read_exact(&mut [0]).unwrap();
        let mut base = ManualBase::new().unwrap();
        let builder = Tls::established(server).unwrap().configure(|one| one.enable(Interest::READ));
        let id = builder.start(&mut base).unwrap();
        base.settle().unwrap();
        assert_eq!(base.bufferevent(id).unwrap().input().len(), RECORDS - 1);
    }
}

#[test]
fn one_that_is_not_established_is_refused_and_one_that_was_begins_no_other() {
    let _census = Census::begin();
    let ssl = Ssl::new(&raw_server(SslVersion::TLS1_3)).unwrap();
    let stream = SslStream::new(ssl, UnixStream::pair().unwrap().0).unwrap();
    assert_eq!(Engine::open(stream).unwrap_err().kind(), ErrorKind::NotOpen);
    let [_client, server] = over_a_socket(SslVersion::TLS1_3);
    let mut engine = Engine::open(server).unwrap();
    engine.restart();
    engine.arrived().add(b"x").unwrap();
    assert_eq!(engine.handshake().unwrap_err().kind(), ErrorKind::Library);
}

#[test]
fn another_handshake_is_refused_by_default_and_breaks_nothing() {
    let _census = Census::begin();
    // 1.3, T-21
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        assert_eq!(pair.client.renegotiate().unwrap_err().kind(), ErrorKind::Library);
        send(&mut pair.client, b"still here");
        pair.reach_server();
        assert_eq!(receive(&mut pair.server, &mut Evbuffer::new()).unwrap().bytes, 10);
    }
}

#[test]
fn a_peer_that_wants_another_handshake_is_told_no() {
    let _census = Census::begin();
    // F35: a server without our protection asks a client that has it.
    let (_, client) = settings(SslVersion::TLS1_2);
    let mut pair =
        Pair::of(&Acceptor::from_context(raw_server(SslVersion::TLS1_2)), &client.build().unwrap());
    pair.client = DangerousConnector::new(
        Connector::builder().versions(SslVersion::TLS1_2, Some(SslVersion::TLS1_2)).build().unwrap(),
    )
    .engine(None)
    .unwrap();
    pair.shake().unwrap();
    pair.server.renegotiate().unwrap();
    pair.reach_client();
    assert_eq!(receive(&mut pair.client, &mut Evbuffer::new()).unwrap().bytes, 0);
    assert!(!pair.client.to_send().is_empty(), "a warning");
    assert!(pair.client.is_open());
}

#[test]
fn who_has_switched_the_protection_off_may_shake_hands_again_and_data_comes_whole() {
    let _census = Census::begin();
    // 1.3, T-21
    let mut pair = raw_pair(SslVersion::TLS1_2);
    send(&mut pair.client, b"before, ");
    pair.server.renegotiate().unwrap();
    let (mut say, mut heard) = (Evbuffer::from(b"during and after"), Evbuffer::new());
    for _ in 0..5 {
        pair.reach_client();
        let _ = receive(&mut pair.client, &mut Evbuffer::new()).unwrap();
        pair.client.send(&mut say, usize::MAX).unwrap();
        pair.reach_server();
        let _ = receive(&mut pair.server, &mut heard).unwrap();
    }
    assert_eq!(heard, b"before, during and after");
    assert!(pair.client.ssl().unwrap().is_init_finished() && pair.server.ssl().unwrap().is_init_finished());
}

#[test]
fn who_ends_its_side_in_the_middle_of_another_handshake_is_told_what_that_keeps_back() {
    let _census = Census::begin();
    // T-21: it ends before the peer can answer
    let client = SslConnector::builder(SslMethod::tls_client()).unwrap().build().into_context();
    let client = DangerousConnector::new(Connector::from_context(client)).connect(None).unwrap();
    let server = Acceptor::from_context(raw_server(SslVersion::TLS1_2)).accept();
    let (one, other) = Bufferevent::pair();
    let mut base = ManualBase::new().unwrap();
    let told = Arc::<Mutex<Vec<String>>>::default();
    let tell = Arc::clone(&told);
    let handler = Callbacks::<Pinned>::new()
        .on_event(move |_: &mut Context<'_, Pinned>, event| tell.lock().push(format!("{event:?}")));
    let id = one.filter(client).handler(handler).start(&mut base).unwrap();
    other.filter(server).configure(|one| one.enable(Interest::BOTH)).start(&mut base).unwrap();
    base.settle().unwrap();
    let one = base.bufferevent(id).unwrap();
    one.filter_mut::<Tls>().unwrap().engine().unwrap().renegotiate().unwrap();
    one.write(b"data").unwrap();
    one.shutdown(Direction::Write).unwrap();
    base.settle().unwrap();
    let told = told.lock();
    assert!(told.iter().any(|told| told.contains("another handshake")), "{told:?}");
}

#[test]
fn keys_are_changed_in_the_middle_of_data() {
    let _census = Census::begin();
    let mut pair = Pair::open(SslVersion::TLS1_3);
    let mut heard = Evbuffer::new();
    for _ in 0..3 {
        pair.client.update_key(true).unwrap();
        send(&mut pair.client, b"data ");
        pair.reach_server();
        let _ = receive(&mut pair.server, &mut heard).unwrap();
        pair.reach_client();
        let _ = receive(&mut pair.client, &mut Evbuffer::new()).unwrap();
    }
    assert_eq!(heard, b"data data data ");
    assert_eq!(
        Pair::open(SslVersion::TLS1_2).client.update_key(true).unwrap_err().kind(),
        ErrorKind::Library
    );
}
