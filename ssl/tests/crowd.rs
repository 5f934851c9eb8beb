//! Many clients at once: a server makes so many handshakes at a time, and loses none of the others (1.2).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{num::NonZeroUsize, os::unix::net::UnixStream};

use bufferevent::{BaseExt as _, Bufferevent, Id, Interest, testing::ManualBase};
use bufferevent_ssl::{Tls, openssl::ssl::SslVersion};
use common::{Census, NAME, settings};

const LIMIT: usize = 3;
const CLIENTS: usize = 20;

#[test]
fn openssl_has_an_object_for_so_many_handshakes_and_no_more() {
    let _census = Census::begin();
    let (server, client) = settings(SslVersion::TLS1_3);
    let (acceptor, connector) = (server.build().unwrap(), client.build().unwrap());
    let (mut here, mut there) = (ManualBase::new().unwrap(), ManualBase::new().unwrap());
    here.handle().handshakes().set_limit(NonZeroUsize::new(LIMIT).unwrap());
    let both: Vec<(Id, Id)> = (0..CLIENTS)
        .map(|_| {
            let (one, other) = UnixStream::pair().unwrap();
            let server = Bufferevent::socket(one).filter(acceptor.accept());
            let client = Bufferevent::socket(other).filter(connector.connect(NAME).unwrap());
            let hello = |one: &mut Bufferevent| {
                one.enable(Interest::BOTH);
                one.write(b"hello").unwrap();
            };
            let server = server.configure(hello).start(&mut here).unwrap();
            (server, client.configure(hello).start(&mut there).unwrap())
        })
        .collect();
    here.settle().unwrap();
    there.settle().unwrap();
    assert_eq!(there.handle().handshakes().inside(), 0, "a client counts its connections itself");
    let shaking = |base: &mut ManualBase| {
        let mut begun = |id: &Id| {
            let tls = base.bufferevent(*id).unwrap().filter_mut::<Tls>().unwrap();
            tls.ssl().is_some() && !tls.engine().unwrap().is_open()
        };
        both.iter().filter(|(server, _)| begun(server)).count()
    };
    here.settle().unwrap();
    let mut rounds = 0;
    while here.handle().handshakes().inside() > 0 {
        let inside = here.handle().handshakes().inside();
        assert!(inside <= LIMIT && shaking(&mut here) == inside, "{inside}");
        there.settle().unwrap();
        here.settle().unwrap();
        rounds += 1;
    }
    assert!(rounds >= CLIENTS / LIMIT, "{rounds}");
    there.settle().unwrap();
    for (server, client) in &both {
        assert_eq!(*here.bufferevent(*server).unwrap().input(), b"hello");
        assert_eq!(*there.bufferevent(*client).unwrap().input(), b"hello");
    }
    assert_eq!(here.counters().handshakes_waited.get(), (CLIENTS - LIMIT) as u64);
}
