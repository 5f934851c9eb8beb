//! What a peer, a network or a stranger on the same thread can do to a connection, and how it is told.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    error::Error as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bufferevent::evbuffer::End;
use bufferevent_ssl::{
    Acceptor, Connector, DangerousConnector, ErrorKind, Evbuffer, FLOOD_BURST, FLOOD_IN_A_ROW,
    HANDSHAKE_BYTES, Identity, Progress, RECORDS_PER_CALL,
    openssl::{
        error::ErrorStack,
        ssl::{SslAlert, SslVersion},
        x509::X509,
    },
    runtime::Time,
};
use common::{Census, NAME, Pair, VERSIONS, pattern, receive, send, settings};

/// X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
const SELF_SIGNED: i32 = 18;

/// Leaves an error in the queue of this thread, as code that calls OpenSSL beside us may.
fn poison() {
    X509::from_pem(b"no certificate").unwrap_err().errors().iter().for_each(|error| error.put());
}

#[test]
fn errors_of_others_are_no_errors_of_ours() {
    let _census = Census::begin();
    // T3, 1.5, F42: the queue is poisoned before every call.
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        let mut done = Progress::Pending;
        for _ in 0..5 {
            poison();
            let _ = pair.client.handshake().unwrap();
            pair.reach_server();
            poison();
            done = pair.server.handshake().unwrap();
            pair.reach_client();
        }
        assert_eq!(done, Progress::Done);
        let mut into = Evbuffer::new();
        for _ in 0..3 {
            poison();
            assert_eq!(pair.client.send(&mut Evbuffer::from(b"healthy"), 1_000).unwrap(), 7);
            pair.reach_server();
            poison();
            let received = pair.server.receive(&mut into, 1_000, Time::ZERO).unwrap();
            assert_eq!(received.bytes, 7);
            poison();
            let nothing = pair.server.receive(&mut into, 1_000, Time::ZERO).unwrap();
            assert_eq!(nothing.bytes, 0);
            poison();
            // The head of a record, and not the rest.
            pair.server.send(&mut Evbuffer::from(b"in two pieces"), 1_000).unwrap();
            for bytes in [7, usize::MAX] {
                poison();
                pair.server.to_send().move_to(pair.client.arrived(), bytes).unwrap();
                let piece = pair.client.receive(&mut into, 1_000, Time::ZERO).unwrap();
                assert_eq!(piece.bytes, if bytes == 7 { 0 } else { 13 });
            }
        }
        poison();
        pair.client.notify().unwrap();
        pair.reach_server();
        poison();
        assert!(receive(&mut pair.server, &mut into).unwrap().ended);
        assert!(pair.client.stale_errors() > 0 && pair.server.stale_errors() > 0, "counted");
        ErrorStack::get();
    }
}

#[test]
fn data_leaves_nothing_in_the_queue_of_the_thread() {
    let _census = Census::begin();
    // 1.5: a call that went well does not look there.
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let mut into = Evbuffer::new();
        for _ in 0..3 {
            pair.client.send(&mut Evbuffer::from(vec![7; 50_000]), usize::MAX).unwrap();
            pair.reach_server();
            assert_eq!(receive(&mut pair.server, &mut into).unwrap().bytes, 50_000);
            assert!(ErrorStack::get().errors().is_empty());
        }
    }
}

#[test]
fn an_error_leaves_nothing_in_the_queue_of_the_thread() {
    let _census = Census::begin();
    // 1.5: who comes next on this thread is a stranger.
    let mut pair = Pair::open(SslVersion::TLS1_3);
    pair.server.arrived().add(b"no record at all").unwrap();
    pair.server.receive(&mut Evbuffer::new(), 100, Time::ZERO).unwrap_err();
    assert!(ErrorStack::get().errors().is_empty());
}

#[test]
fn a_buffer_that_is_frozen_is_told_as_such_whatever_stands_in_the_queue_of_the_thread() {
    let _census = Census::begin();
    for poisoned in [false, true] {
        let mut pairs = [Pair::open(SslVersion::TLS1_3), Pair::open(SslVersion::TLS1_3)];
        let [sends, receives] = &mut pairs;
        sends.client.to_send().freeze(End::Back);
        receives.client.send(&mut Evbuffer::from(b"data"), usize::MAX).unwrap();
        receives.reach_server();
        if poisoned {
            poison();
        }
        receives.server.arrived().freeze(End::Front);
        let sent = sends.client.send(&mut Evbuffer::from(b"data"), usize::MAX);
        let received = receives.server.receive(&mut Evbuffer::new(), 100, Time::ZERO);
        for (error, end) in [(sent.unwrap_err(), "back"), (received.unwrap_err(), "front")] {
            assert_eq!(error.kind(), ErrorKind::Io);
            let why = error.io_error().map(ToString::to_string).unwrap_or_default();
            assert!(why.contains(end) && why.contains("frozen"), "{why}");
        }
        ErrorStack::get();
    }
}

#[test]
fn what_a_panic_of_an_observer_breaks_off_is_not_sent_twice() {
    let _census = Census::begin();
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.to_send().observe(|_, _| panic!("meant"));
        let unwound = catch_unwind(AssertUnwindSafe(|| pair.client.send(&mut Evbuffer::from(b"data"), 100)));
        assert!(unwound.is_err());
        let again = pair.client.send(&mut Evbuffer::from(b"data"), 100);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Broken);
        pair.reach_server();
        let mut into = Evbuffer::new();
        assert_eq!(receive(&mut pair.server, &mut into).unwrap().bytes, 4);
        assert_eq!(into, b"data");
    }
}

#[test]
fn a_certificate_that_nobody_looks_at_is_not_why_a_handshake_fails() {
    let _census = Census::begin();
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let (_, client) = settings(SslVersion::TLS1_2);
    let client = DangerousConnector::new(client.build().unwrap());
    let server = Acceptor::builder().identity(identity).build().unwrap();
    let mut pair = Pair { client: client.engine(None).unwrap(), server: server.engine() };
    let _ = pair.client.handshake().unwrap();
    pair.reach_server();
    let _ = pair.server.handshake().unwrap();
    pair.reach_client();
    assert_eq!(pair.client.handshake().unwrap(), Progress::Pending);
    pair.client.arrived().add(b"this is no record").unwrap();
    assert_eq!(pair.client.handshake().unwrap_err().kind(), ErrorKind::Handshake);
}

#[test]
fn the_whole_stack_comes_with_the_error() {
    let _census = Census::begin();
    // T-20: all codes, the oldest first, and as the source.
    let (server, client) = settings(SslVersion::TLS1_3);
    let other = Connector::builder().build().unwrap();
    drop(client);
    let mut pair = Pair::of(&server.build().unwrap(), &other);
    let error = pair.shake().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Certificate);
    let reasons: Vec<_> = error.stack().iter().filter_map(|error| error.reason()).collect();
    assert_eq!(reasons, ["certificate verify failed"]);
    assert!(error.source().unwrap().to_string().contains("certificate verify failed"));
    assert!(error.to_string().contains("self-signed"), "{error}");
    // Nothing of others, though, and all there is: here OpenSSL says something at each of its layers.
    poison();
    let mut engine = settings(SslVersion::TLS1_3).0.build().unwrap().engine();
    let early = engine.send(&mut Evbuffer::from(b"early"), 100).unwrap_err();
    assert!(early.stack().is_empty() && early.source().is_none());
    ErrorStack::get();
    let pem = Identity::self_signed(&[NAME]).unwrap().certificate_pem().unwrap();
    let damaged = String::from_utf8(pem).unwrap().replace("MI", "AA");
    let error = Identity::from_pem(damaged.as_bytes(), b"").err().unwrap();
    assert!(error.stack().len() > 1, "{error:?}");
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused_and_told_so() {
    let _census = Census::begin();
    for version in VERSIONS {
        let (server, _) = settings(version);
        let mut pair = Pair::of(&server.build().unwrap(), &Connector::builder().build().unwrap());
        let error = pair.shake().unwrap_err();
        assert_eq!(error.certificate().map(|verdict| verdict.as_raw()), Some(SELF_SIGNED));
        // The alert is left to be sent.
        pair.reach_server();
        let error = pair.server.handshake().unwrap_err();
        assert_eq!((error.kind(), error.alert()), (ErrorKind::Alert, Some(SslAlert::UNKNOWN_CA)));
        assert_eq!(pair.server.handshake().unwrap_err().kind(), ErrorKind::Broken);
    }
}

#[test]
fn a_server_with_another_name_is_refused() {
    let _census = Census::begin();
    let (server, client) = settings(SslVersion::TLS1_3);
    let (acceptor, connector) = (server.build().unwrap(), client.build().unwrap());
    for (name, accepted) in [
        (NAME, true),
        ("EXAMPLE.org", true),
        ("example.com", false),
        ("www.example.org", false),
        ("::1", false),
    ] {
        let mut pair = Pair::of(&acceptor, &connector);
        pair.client = connector.engine(name).unwrap();
        let verdict = pair.shake().err().map(|error| error.certificate().unwrap());
        assert_eq!(verdict.is_none(), accepted, "{name}");
    }
    // The way out has a name that says what it is.
    let mut pair = Pair::of(&acceptor, &connector);
    pair.client = DangerousConnector::new(Connector::builder().build().unwrap()).engine(None).unwrap();
    pair.shake().unwrap();
}

#[test]
fn an_end_without_notice_is_truncation() {
    let _census = Census::begin();
    // T7, F41, T-17: the data before it stands, and we may still write.
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        send(&mut pair.client, b"all of it?");
        pair.reach_server();
        let mut into = Evbuffer::new();
        let received = receive(&mut pair.server, &mut into).unwrap();
        assert_eq!((into.to_vec(), received.ended), (b"all of it?".to_vec(), false));
        assert_eq!(pair.server.end_of_arrivals().unwrap_err().kind(), ErrorKind::Truncated);
        send(&mut pair.server, b"an answer");
        assert!(!pair.server.to_send().is_empty());
    }
}

#[test]
fn a_cut_at_any_byte_is_truncation() {
    let _census = Census::begin();
    // T7: also within the notify itself.
    for version in VERSIONS {
        let mut whole = Pair::open(version);
        send(&mut whole.client, b"the last words");
        whole.client.notify().unwrap();
        let len = whole.client.to_send().len();
        for cut in 0..=len {
            let mut pair = Pair::open(version);
            send(&mut pair.client, b"the last words");
            pair.client.notify().unwrap();
            common::carry(&mut pair.client, &mut pair.server, cut);
            let received = receive(&mut pair.server, &mut Evbuffer::new()).unwrap();
            assert_eq!(received.ended, cut == len, "{cut} of {len}");
            assert_eq!(pair.server.end_of_arrivals().is_ok(), cut == len);
        }
    }
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_told() {
    let _census = Census::begin();
    // T-08
    let mut pair = Pair::new(SslVersion::TLS1_3);
    assert_eq!(pair.client.handshake().unwrap(), Progress::Pending);
    let error = pair.client.end_of_arrivals().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handshake);
    assert!(error.to_string().contains("left"), "{error}");
}

#[test]
fn damage_is_found_and_told_to_the_peer() {
    let _census = Census::begin();
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        send(&mut pair.client, b"precious");
        let mut wire = pair.client.to_send().to_vec();
        *wire.last_mut().unwrap() ^= 1;
        pair.server.arrived().add(&wire).unwrap();
        let mut into = Evbuffer::new();
        let error = pair.server.receive(&mut into, 100, Time::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(into.is_empty());
        assert_eq!(pair.server.receive(&mut into, 100, Time::ZERO).unwrap_err().kind(), ErrorKind::Broken);
        pair.client.to_send().drain(usize::MAX).unwrap();
        pair.reach_client();
        let error = receive(&mut pair.client, &mut Evbuffer::new()).unwrap_err();
        assert_eq!(error.alert(), Some(SslAlert::BAD_RECORD_MAC));
    }
}

#[test]
fn an_alert_that_another_connection_was_told_is_none_of_ours() {
    let _census = Census::begin();
    // F42: whoever read it has left it in the queue of the thread.
    let (server, _) = settings(SslVersion::TLS1_3);
    let mut other = Pair::of(&server.build().unwrap(), &Connector::builder().build().unwrap());
    other.shake().unwrap_err();
    other.reach_server();
    let told = other.server.handshake().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Alert);
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        send(&mut pair.client, b"precious");
        let mut wire = pair.client.to_send().to_vec();
        *wire.last_mut().unwrap() ^= 1;
        pair.server.arrived().add(&wire).unwrap();
        told.stack().iter().for_each(|error| error.put());
        let error = pair.server.receive(&mut Evbuffer::new(), 100, Time::ZERO).unwrap_err();
        assert_eq!((error.kind(), error.alert()), (ErrorKind::Protocol, None));
    }
}

#[test]
fn what_does_not_speak_tls_is_named() {
    let _census = Census::begin();
    // F39
    for (bytes, says) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "http request"),
        (b"\x00\x01garbage\xff\xfe", "wrong version number"),
    ] {
        let mut server = settings(SslVersion::TLS1_3).0.build().unwrap().engine();
        server.arrived().add(bytes).unwrap();
        let error = server.handshake().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Handshake);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let _census = Census::begin();
    // 1.2: a hello that claims 60 KiB, in records of one byte each.
    let mut server = settings(SslVersion::TLS1_3).0.build().unwrap().engine();
    let hello = [1, 0, 0xff, 0];
    let mut sent = 0;
    let error = loop {
        for i in 0..100 {
            server.arrived().add(&[22, 3, 1, 0, 1, hello.get(sent + i).copied().unwrap_or(3)]).unwrap();
        }
        sent += 100;
        match server.handshake() {
            Ok(progress) => assert_eq!(progress, Progress::Pending),
            Err(error) => break error,
        }
        assert!(sent <= HANDSHAKE_BYTES);
    };
    assert_eq!(error.kind(), ErrorKind::Flood);
    assert!(sent * 6 <= HANDSHAKE_BYTES + 600);
}

#[test]
fn a_flood_of_key_updates_is_ended_within_64() {
    let _census = Census::begin();
    // T6, F36: 10,000 of them, with an answer wanted.
    let mut pair = Pair::open(SslVersion::TLS1_3);
    for _ in 0..10_000 {
        pair.client.update_key(true).unwrap();
    }
    pair.reach_server();
    let before = pair.server.arrived().len();
    let one = before / 10_000;
    let error = receive(&mut pair.server, &mut Evbuffer::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Flood);
    let taken = (before - pair.server.arrived().len()) / one;
    assert!(taken <= 64 && taken <= FLOOD_IN_A_ROW as usize, "{taken} of them");
    assert!(pair.server.to_send().len() < 64 * 64, "and answered little");
}

#[test]
fn key_updates_between_data_are_held_to_a_rate() {
    let _census = Census::begin();
    let mut pair = Pair::open(SslVersion::TLS1_3);
    let mut into = Evbuffer::new();
    let mut updates = 0;
    let mut exchange = |pair: &mut Pair, now: Time| {
        pair.client.update_key(false).unwrap();
        send(&mut pair.client, b"x");
        pair.reach_server();
        updates += 1;
        pair.server.receive(&mut into, 100, now).map(drop)
    };
    // One in a while is nobody's flood.
    for i in 0..200 {
        exchange(&mut pair, Time::ZERO.saturating_add(Duration::from_millis(200) * i)).unwrap();
    }
    let now = Time::ZERO.saturating_add(Duration::from_secs(1_000));
    let error = loop {
        if let Err(error) = exchange(&mut pair, now) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Flood);
    assert!(updates - 200 <= FLOOD_BURST + 1);
}

#[test]
fn one_call_takes_so_many_records_at_most() {
    let _census = Census::begin();
    // F40
    let mut pair = Pair::open(SslVersion::TLS1_3);
    (0..200).for_each(|_| send(&mut pair.client, b"x"));
    pair.reach_server();
    let received = pair.server.receive(&mut Evbuffer::new(), 1_000, Time::ZERO).unwrap();
    assert_eq!((received.bytes, received.leftover), (RECORDS_PER_CALL, true));
}

#[test]
fn what_is_to_be_sent_holds_up_nothing_that_arrives() {
    let _census = Census::begin();
    // Else two who both write would wait for each other.
    let mut pair = Pair::open(SslVersion::TLS1_3);
    send(&mut pair.server, &pattern(bufferevent_ssl::REPLIES * 2));
    send(&mut pair.client, b"x");
    pair.reach_server();
    assert_eq!(receive(&mut pair.server, &mut Evbuffer::new()).unwrap().bytes, 1);
}

#[test]
fn a_check_of_the_users_can_refuse_and_its_panic_ends_one_connection() {
    let _census = Census::begin();
    // T8
    let (server, client) = settings(SslVersion::TLS1_3);
    let acceptor = server.build().unwrap();
    let mut verdicts = Vec::new();
    for check in [|| true, || false, || panic!("a fault in the check")] {
        let connector = client.clone().check_certificate(move |_| check()).build().unwrap();
        let mut pair = Pair::of(&acceptor, &connector);
        let error = pair.shake().err();
        if error.is_some() {
            pair.reach_server();
            assert_eq!(pair.server.handshake().unwrap_err().kind(), ErrorKind::Alert, "the peer is told");
        }
        verdicts.push(error);
    }
    assert!(verdicts[0].is_none());
    assert_eq!(verdicts[1].as_ref().unwrap().kind(), ErrorKind::Certificate);
    let panicked = verdicts[2].as_ref().unwrap();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert!(panicked.to_string().contains("a fault in the check"));
}

#[test]
fn a_record_over_the_legal_size_is_refused_by_its_head() {
    let _census = Census::begin();
    // F37: nothing of it is waited for.
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.server.arrived().add(&[23, 3, 3, 0x48, 1]).unwrap();
        let error = pair.server.receive(&mut Evbuffer::new(), 100, Time::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        pair.reach_client();
        let told = receive(&mut pair.client, &mut Evbuffer::new()).unwrap_err();
        assert_eq!(told.alert(), Some(SslAlert::RECORD_OVERFLOW));
    }
}
