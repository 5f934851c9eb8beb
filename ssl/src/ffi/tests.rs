//! What each of them does.

use openssl::ssl::{Ssl, SslContext, SslMethod};

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
