//! What each of them does.

use std::{collections::VecDeque, io::ErrorKind::WouldBlock};

use openssl::ssl::{Ssl, SslContext, SslMethod, SslVersion};

use super::*;

const SSL_CTRL_GET_READ_AHEAD: c_int = 40;

fn ssl() -> Ssl {
    let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
    builder.set_mode(openssl::ssl::SslMode::AUTO_RETRY);
    builder.set_read_ahead(true);
    builder.set_options(openssl::ssl::SslOptions::NO_RENEGOTIATION);
    Ssl::new(&builder.build()).unwrap()
}

#[test]
fn the_modes_are_those_the_engine_relies_on() {
    let mut ssl = ssl();
    assert_ne!(control(&mut ssl, SSL_CTRL_MODE, 0) & sys::SSL_MODE_AUTO_RETRY, 0);
    assert_eq!(control(&mut ssl, SSL_CTRL_GET_READ_AHEAD, 0), 1);
    set_modes(&mut ssl);
    let modes = control(&mut ssl, SSL_CTRL_MODE, 0);
    assert_eq!(modes & sys::SSL_MODE_AUTO_RETRY, 0);
    assert_ne!(modes & sys::SSL_MODE_ENABLE_PARTIAL_WRITE, 0);
    assert_ne!(modes & sys::SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, 0);
    assert_eq!(control(&mut ssl, SSL_CTRL_GET_READ_AHEAD, 0), 0);
}

#[test]
fn buffers_are_released_or_kept() {
    let mut ssl = ssl();
    for released in [true, false, true] {
        release_buffers(&mut ssl, released);
        assert_eq!(control(&mut ssl, SSL_CTRL_MODE, 0) & sys::SSL_MODE_RELEASE_BUFFERS != 0, released);
    }
}

#[test]
fn buffers_are_freed_between_records_and_never_within_one() {
    let [mut from, mut to] = open_pair();
    for _ in 0..2 {
        assert_eq!(from.ssl_write(b"data").unwrap(), 4);
        assert!(free_buffers(&mut from));
        let mut into = [0; 4];
        while carry(&mut from, &mut to, 1) && to.ssl_read(&mut into[..1]).is_err() {
            assert!(!free_buffers(&mut to));
        }
        assert!(!free_buffers(&mut to));
        assert_eq!(to.ssl_read(&mut into[1..]).unwrap(), 3);
        assert_eq!(&into, b"data");
        assert!(free_buffers(&mut to));
    }
}

#[test]
fn what_is_refused_before_the_handshake_says_why() {
    let mut stream = SslStream::new(ssl(), std::io::empty()).unwrap();
    for error in [key_update(&mut stream, true).unwrap_err(), renegotiate(&mut stream).unwrap_err()] {
        assert!(!error.errors().is_empty());
    }
    assert!(ErrorStack::get().errors().is_empty());
}

#[test]
fn a_transport_that_is_replaced_is_dropped_at_once() {
    let (one, other) = std::io::pipe().unwrap();
    let (end, mut far_end) = (Duplex(one), other);
    let old = SslStream::new(ssl(), end).unwrap();
    let new = replace_transport(old, std::io::empty()).unwrap();
    assert!(far_end.write_all(b"nobody reads").is_err());
    drop(new);
}

#[test]
fn a_session_of_another_context_is_not_resumed() {
    let (mut one, other) = (ssl(), ssl());
    let mut der = vec![0x30, 63, 2, 1, 1, 2, 2, 3, 3, 4, 2, 0xc0, 0x2f, 4, 0, 4, 48];
    der.resize(der.len() + 48, 0);
    let made = SslSession::from_der(&der).unwrap();
    Session::of(&other, made.clone()).resume(&mut one).unwrap();
    assert!(one.session().is_none());
    Session::of(&one, made).resume(&mut one).unwrap();
    assert!(one.session().is_some());
}

#[test]
fn a_context_with_the_callback_asks_in_the_middle_of_a_handshake() {
    use crate::{Acceptor, Connector, Progress};
    let asked = std::sync::Arc::new(bufferevent_sync::Leaf::new(None));
    let keep = asked.clone();
    let acceptor = Acceptor::builder().lookup(move |_, answer| *keep.lock() = Some(answer)).build().unwrap();
    let (mut server, mut client) =
        (acceptor.engine(), Connector::builder().build().unwrap().engine("example.org").unwrap());
    assert_eq!(client.handshake().unwrap(), Progress::Pending);
    server.arrived().append(client.to_send()).unwrap();
    assert_eq!(server.handshake().unwrap(), Progress::Waiting);
    // Without anybody to ask it goes on with what the context has.
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    set_certificate_callback(&mut context);
    assert_eq!(lookup::verdict(&mut Ssl::new(&context.build()).unwrap()), Verdict::GoesOn);
}

/// A client and a server after their handshake, without certificates.
fn open_pair() -> [SslStream<Memory>; 2] {
    let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
    builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    builder.set_cipher_list("AECDH-AES128-SHA:@SECLEVEL=0").unwrap();
    let context = builder.build();
    let stream = || SslStream::new(Ssl::new(&context).unwrap(), Memory::default()).unwrap();
    let [mut client, mut server] = [stream(), stream()];
    while client.connect().is_err() | server.accept().is_err() {
        let moved = carry(&mut client, &mut server, usize::MAX) | carry(&mut server, &mut client, usize::MAX);
        assert!(moved, "they wait for each other");
    }
    [client, server]
}

/// Moves at most `n` bytes; tells whether there were any.
fn carry(from: &mut SslStream<Memory>, to: &mut SslStream<Memory>, n: usize) -> bool {
    let (from, to) = (&mut from.get_mut().to_send, &mut to.get_mut().arrived);
    let n = n.min(from.len());
    to.extend(from.drain(..n));
    n > 0
}

#[derive(Default)]
struct Memory {
    arrived: VecDeque<u8>,
    to_send: VecDeque<u8>,
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.arrived.is_empty() { Err(WouldBlock.into()) } else { self.arrived.read(into) }
    }
}

impl Write for Memory {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        self.to_send.write(from)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Duplex(std::io::PipeReader);

impl Read for Duplex {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Duplex {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Ok(0)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
