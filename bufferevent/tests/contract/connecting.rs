//! connect: exactly one `Connected` or one failure, never from inside the call.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
};

use bufferevent::{Bufferevent, Error, Interest, testing::Census};
use bufferevent_sync::atomic::{AtomicU64, Ordering};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::harness::{Actor, Call, Peer, each, unix_pair};

/// A listener of the standard library, over TCP or over a Unix socket with an abstract name.
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, SockAddr),
}

impl Listening {
    fn both() -> [Self; 2] {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // ORDER: Relaxed; only uniqueness matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bufferevent-{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        [
            Self::Tcp(TcpListener::bind("127.0.0.1:0").unwrap()),
            Self::Unix(listener, SockAddr::unix(path).unwrap()),
        ]
    }

    fn address(&self) -> SockAddr {
        match self {
            Self::Tcp(listener) => listener.local_addr().unwrap().into(),
            Self::Unix(_, address) => address.clone(),
        }
    }

    fn accept(&self) -> Peer {
        match self {
            Self::Tcp(listener) => Peer::tcp(listener.accept().unwrap().0),
            Self::Unix(listener, _) => Peer::unix(listener.accept().unwrap().0),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(path) = self.address().as_pathname() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// An address where nobody listens: bound, so that nobody else can.
pub(crate) fn refusing() -> (Socket, SockAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn connected_comes_once_and_data_flows() {
    // X-22, K-10, D5; K-06: with nothing to write there is no write callback
    each(|config| {
        for listening in Listening::both() {
            let mut world = config.world();
            let actor = Actor::new(&world, |cx, _| cx.take());
            let conn = world.start(config.set, Bufferevent::connect(listening.address()), actor).unwrap();
            let mut peer = listening.accept();
            world.until_called(&conn, Call::Connected, 1);
            world.settle();
            assert_eq!(conn.log.calls(), [Call::Connected]);
            assert!(world.with(&conn, |b| b.is_connected()).unwrap());
            world.send(&mut peer, b"hello");
            world.until_called(&conn, Call::Read, 1);
            world.with(&conn, |b| b.write(b"world").unwrap()).unwrap();
            assert_eq!(world.receive(&mut peer, 5), b"world");
            assert_eq!(conn.log.data(), b"hello");
        }
    });
}

#[test]
fn what_was_queued_before_goes_out_after_connected() {
    // K-06, D1: connected, then the write callback
    each(|config| {
        for listening in Listening::both() {
            let mut world = config.world();
            let actor = Actor::new(&world, |_, _| {});
            let builder =
                Bufferevent::connect(listening.address()).configure(|b| assert!(b.write(b"early").is_ok()));
            let conn = world.start(config.set, builder, actor).unwrap();
            let mut peer = listening.accept();
            assert_eq!(world.receive(&mut peer, 5), b"early");
            world.until_called(&conn, Call::Write, 1);
            world.fence(&conn);
            assert_eq!(conn.log.calls(), [Call::Connected, Call::Write]);
        }
    });
}

#[test]
fn one_that_connects_when_a_drain_begins_goes_on_if_its_handler_does() {
    // D15
    each(|config| {
        for listening in Listening::both() {
            let mut world = config.world();
            let actor = Actor::new(&world, |cx, call| {
                if *call == Call::Connected {
                    cx.write(b"question").unwrap();
                    cx.close();
                }
            });
            let builder = Bufferevent::connect(listening.address()).report_close();
            let conn = world.start(config.set, builder, actor.going_on()).unwrap();
            world.drain();
            let mut peer = listening.accept();
            assert_eq!(world.receive_all(&mut peer), b"question");
            drop(peer);
            world.until_called(&conn, Call::Closed, 1);
            assert!(conn.log.count(Call::Drain) <= 1 && conn.log.has(Call::Connected));
        }
    });
}

#[test]
fn a_refused_connect_is_one_error_without_direction_and_another_may_follow() {
    // K-10, K-05, D5: the switches and the output stay
    each(|config| {
        let (_bound, address) = refusing();
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let builder = Bufferevent::connect(address).configure(|b| assert!(b.write(b"kept").is_ok()));
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::ConnectionRefused));
        let left = world.with(&conn, |b| (b.enabled(), b.output().len(), b.raw_fd(), b.is_connected()));
        assert_eq!(left.unwrap(), (Interest::BOTH, 4, None, false));
        let [listening, _] = Listening::both();
        let address = listening.address();
        world.with(&conn, move |b| b.connect_to(address).unwrap()).unwrap();
        let mut peer = listening.accept();
        assert_eq!(world.receive(&mut peer, 4), b"kept");
        world.until_called(&conn, Call::Write, 1);
        assert_eq!(conn.log.calls(), [Call::Failed(None), Call::Connected, Call::Write]);
    });
}

#[test]
fn a_connect_that_fails_at_once_is_told_by_an_event_too() {
    // K-10, D5: a Unix address where nothing is
    each(|config| {
        let mut world = config.world();
        let address = SockAddr::unix("/nonexistent/socket").unwrap();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::connect(address.clone()), actor).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::NotFound));
        let log = conn.log.clone();
        let told = world.with(&conn, move |b| {
            b.connect_to(address).unwrap();
            log.count(Call::Failed(None))
        });
        assert_eq!(told.unwrap(), 1, "not from inside the call");
        world.until_called(&conn, Call::Failed(None), 2);
        world.fence(&conn);
        assert_eq!(conn.log.calls().len(), 2);
    });
}

#[test]
fn an_address_without_a_route_is_one_error_and_another_connect_may_follow() {
    // F16: the broadcast address of the loopback interface, which no stream goes to and no packet is sent for
    each(|config| {
        let mut world = config.world();
        let nowhere = SocketAddr::from(([127, 255, 255, 255], 9));
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::connect(nowhere), actor).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        world.settle();
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::NetworkUnreachable));
        let [listening, _] = Listening::both();
        let address = listening.address();
        world.with(&conn, move |b| b.connect_to(address).unwrap()).unwrap();
        world.until_called(&conn, Call::Connected, 1);
        drop(listening.accept());
    });
}

#[test]
fn a_detached_one_connects_when_told_and_not_twice() {
    // K-01, K-10, C-38, D16
    each(|config| {
        let [listening, _unix] = Listening::both();
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::detached(), actor).unwrap();
        world.settle();
        assert_eq!(conn.log.calls(), []);
        let (address, log) = (listening.address(), conn.log.clone());
        let (again, told) = world
            .with(&conn, move |b| {
                assert!(b.fd().is_none());
                b.connect_to(address.clone()).unwrap();
                (b.connect_to(address), log.calls())
            })
            .unwrap();
        assert!(matches!(again, Err(Error::AlreadyConnected)));
        assert_eq!(told, [], "not from inside the call");
        world.until_called(&conn, Call::Connected, 1);
        let _peer = listening.accept();
        let (address, stream) =
            (listening.address(), TcpStream::connect(listening.address().as_socket().unwrap()));
        let again =
            world.with(&conn, move |b| (b.connect_to(address), b.connect_pending_on(stream.unwrap())));
        let refused = |result| matches!(result, Err(Error::AlreadyConnected));
        let again = again.unwrap();
        assert!(refused(again.0) && refused(again.1));
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Connected]);
    });
}

#[test]
fn a_connect_that_is_under_way_is_taken_over() {
    // K-10 with no address: pending, connected already, and refused
    each(|config| {
        let [listening, _unix] = Listening::both();
        let begin = |address: &SockAddr| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _in_progress = socket.connect(address);
            socket
        };
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let pending = begin(&listening.address());
        let conn = world.start(config.set, Bufferevent::connect_pending(pending), actor).unwrap();
        world.until_called(&conn, Call::Connected, 1);

        let (ours, _peer) = unix_pair();
        let actor = Actor::new(&world, |_, _| {});
        let ready = world.start(config.set, Bufferevent::detached(), actor).unwrap();
        world.with(&ready, move |b| b.connect_pending_on(ours).unwrap()).unwrap();
        world.until_called(&ready, Call::Connected, 1);

        let (_bound, address) = refusing();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let begun = socket.connect(&address);
        let actor = Actor::new(&world, |_, _| {});
        let failed = world.start(config.set, Bufferevent::connect_pending(socket), actor).unwrap();
        if begun
            .is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()))
        {
            world.until_called(&failed, Call::Failed(None), 1);
            world.settle();
            assert_eq!(failed.log.calls(), [Call::Failed(None)]);
        }
        world.settle();
        assert_eq!((conn.log.calls(), ready.log.calls()), (vec![Call::Connected], vec![Call::Connected]));
    });
}

/// A listener whose queue is full: a connect to it stays under way.
pub(crate) fn stalling() -> (Socket, SockAddr, Vec<Socket>) {
    let (socket, address) = refusing();
    socket.listen(0).unwrap();
    let fillers = (0..4).map(|_| {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _in_progress = filler.connect(&address);
        filler
    });
    let fillers = fillers.collect();
    (socket, address, fillers)
}

#[test]
fn switches_while_connecting_only_set_flags_and_an_end_ends_the_attempt() {
    // K-11, D5, D3: with something to send, close waits for the connection; abort does not
    let _census = Census::begin();
    for written in [false, true] {
        each(|config| {
            let (_listener, address, _fillers) = stalling();
            let mut world = config.world();
            let actor = Actor::new(&world, |_, _| {});
            let builder = Bufferevent::connect(address).report_close();
            let conn = world.start(config.set, builder, actor).unwrap();
            world.settle();
            world
                .with(&conn, move |b| {
                    b.disable(Interest::BOTH);
                    b.enable(Interest::WRITE);
                    b.write(if written { b"never sent" } else { b"" }).unwrap();
                    assert_eq!((b.enabled(), b.is_connected()), (Interest::WRITE, false));
                })
                .unwrap();
            world.settle();
            world.fence(&conn);
            assert_eq!(conn.log.calls(), []);
            world.close(&conn);
            if written {
                world.settle();
                assert_eq!(conn.log.calls(), [], "D15");
                world.abort(&conn);
            }
            world.until_called(&conn, Call::Closed, 1);
            world.until_gone(&conn);
            assert_eq!(conn.log.calls(), [Call::Closed]);
            assert_eq!(conn.log.closed().unwrap().unsent, if written { 10 } else { 0 });
        });
    }
}

#[test]
fn a_connect_with_both_directions_off_is_still_told() {
    // K-11
    each(|config| {
        let [listening, _unix] = Listening::both();
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let builder = Bufferevent::connect(listening.address()).enable(Interest::NONE);
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until_called(&conn, Call::Connected, 1);
        let mut peer = listening.accept();
        world.send(&mut peer, b"waits");
        world.settle();
        assert_eq!(conn.log.calls(), [Call::Connected]);
        world.with(&conn, |b| b.enable(Interest::READ)).unwrap();
        world.until_called(&conn, Call::Read, 1);
    });
}

#[test]
fn a_descriptor_whose_connect_failed_is_not_lost() {
    // C-03, D19: without CLOSE_ON_FREE it comes back in the end
    each(|config| {
        let (_bound, address) = refusing();
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let builder = Bufferevent::connect(address).close_on_free(false).report_close();
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        let refused_inside = world.with(&conn, |b| b.fd().is_none()).unwrap();
        world.close(&conn);
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!(conn.log.closed().unwrap().fd.is_none(), refused_inside);
    });
}

#[test]
fn connecting_takes_no_descriptor_that_is_not_a_stream() {
    // K-01, D16
    each(|config| {
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::detached(), actor).unwrap();
        let (pair, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let refused = world.with(&conn, move |b| b.connect_pending_on(OwnedFd::from(pair))).unwrap();
        assert!(matches!(refused, Err(Error::NotStream)));
        let (stream, _peer) = UnixStream::pair().unwrap();
        world.with(&conn, move |b| b.connect_pending_on(stream).unwrap()).unwrap();
        world.until_called(&conn, Call::Connected, 1);
    });
}
