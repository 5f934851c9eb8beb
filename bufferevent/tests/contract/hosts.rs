//! Connecting by name and to several addresses: a lookup that may fail, hang or be given up, then a race; exactly one
//! `Connected` or one failure, never from inside the call.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    os::unix::net::UnixListener,
    sync::Arc,
    time::Duration,
};

use bufferevent::{
    Bufferevent, Error, Family, HostError, Interest, LookupError, Query, Reply, Resolve, Resolver,
    ResolverExt, Target, TimeLimit, Trigger,
    runtime::{Clock, ManualClock},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use rustix::net::sockopt::tcp_nodelay;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    connecting::{refusing, stalling},
    harness::{Actor, Call, Config, Conn, Drive, Peer, World, each_by_hand_once, each_once, unix_pair},
};

/// A resolver that knows a few names and counts who asks; replies for `hangs` are kept.
#[derive(Clone, Default)]
struct Names {
    synced: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    known: Vec<(&'static str, Vec<SocketAddr>)>,
    asked: usize,
    hanging: Vec<Reply>,
}

impl Names {
    fn knowing(known: &[(&'static str, &[SocketAddr])]) -> Self {
        let names = Self::default();
        names.synced.lock().known = known.iter().map(|(name, found)| (*name, found.to_vec())).collect();
        names
    }

    fn asked(&self) -> usize {
        self.synced.lock().asked
    }

    fn take_hanging(&self) -> Option<Reply> {
        self.synced.lock().hanging.pop()
    }
}

impl Resolve for Names {
    fn resolve(&self, query: Query, reply: Reply) {
        let mut kept = self.synced.lock();
        kept.asked += 1;
        match query.name() {
            "hangs" => return kept.hanging.push(reply),
            "panics" => {
                drop(kept);
                // Without a word: several threads print into one buffer, under a lock that no sanitizer sees.
                std::panic::resume_unwind(Box::new("on purpose"));
            }
            "forgets" => return,
            _ => {}
        }
        let found = kept.known.iter().find(|(name, _)| *name == query.name());
        let answer = found.map(|(_, found)| found.clone()).ok_or(LookupError::NotFound);
        drop(kept);
        // From another thread, as a resolver would.
        std::thread::spawn(move || reply.send(answer));
    }
}

fn set_resolver(world: &World, resolver: impl Resolve + 'static) {
    match &world.drive {
        Drive::Pinned(base) => base.set_resolver(resolver),
        Drive::Movable(base) => base.set_resolver(resolver),
        Drive::Threads { runtime, .. } => runtime.set_resolver(resolver),
    }
}

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> Peer {
    Peer::tcp(listener.accept().unwrap().0)
}

fn tcp(address: &SockAddr) -> SocketAddr {
    address.as_socket().unwrap()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A detached bufferevent in a world of its own.
fn detached(config: Config) -> (World, Conn) {
    let mut world = config.world();
    let actor = Actor::new(&world, |_, _| {});
    let conn = world.start(config.set, Bufferevent::detached(), actor).unwrap();
    (world, conn)
}

/// The number of the lookup error that is kept, if there is one.
fn kept_error(world: &mut World, conn: &Conn) -> Option<String> {
    world.with(conn, |b| b.lookup_error().map(|error| format!("{error:?}"))).unwrap()
}

#[test]
fn a_name_is_looked_up_and_its_address_connected_to() {
    // K-12, K-13, K-19, D-01, D5
    each_once(|config| {
        let (listener, address) = listening();
        let names = Names::knowing(&[("good", &[loopback(1)])]);
        let (mut world, conn) = detached(config);
        set_resolver(&world, names.clone());
        let log = conn.log.clone();
        let told = world.with(&conn, move |b| {
            b.write(b"early").unwrap();
            b.connect_to_host("good", address.port()).unwrap();
            assert!(b.is_looking_up() && b.fd().is_none());
            assert!(matches!(b.peer_addr(), Err(Error::NotConnected)));
            log.calls()
        });
        assert_eq!(told.unwrap(), [], "not from inside the call");
        world.until_called(&conn, Call::Connected, 1);
        let mut peer = accept(&listener);
        assert_eq!(world.receive(&mut peer, 5), b"early");
        world.until_called(&conn, Call::Write, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Connected, Call::Write]);
        let (to, looks, error) = world
            .with(&conn, |b| (b.peer_addr().unwrap(), b.is_looking_up(), b.lookup_error().is_some()))
            .unwrap();
        assert_eq!((tcp(&to), looks, error, names.asked()), (address, false, false, 1));
        world.send(&mut peer, b"hello");
        world.until_called(&conn, Call::Read, 1);
    });
}

#[test]
fn a_literal_address_needs_no_resolver() {
    // K-12, D-02
    each_once(|config| {
        for (host, ip) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1")] {
            let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let names = Names::default();
            let mut world = config.world();
            set_resolver(&world, names.clone());
            let actor = Actor::new(&world, |_, _| {});
            let builder = Bufferevent::connect_host(host, address.port());
            let conn = world.start(config.set, builder, actor).unwrap();
            world.until_called(&conn, Call::Connected, 1);
            world.settle();
            assert_eq!((conn.log.calls(), names.asked()), (vec![Call::Connected], 0));
            let to = world.with(&conn, |b| b.peer_addr().unwrap()).unwrap();
            assert_eq!(tcp(&to), address);
        }
    });
}

#[test]
fn a_name_that_is_not_found_is_one_error_that_stays_readable_and_another_connect_may_follow() {
    // K-13, D-04, D5, X-22
    each_once(|config| {
        let (listener, address) = listening();
        let (mut world, conn) = detached(config);
        set_resolver(&world, Names::knowing(&[("good", &[loopback(1)])]));
        world.with(&conn, |b| b.connect_to_host("bad", 80).unwrap()).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
        assert!(matches!(conn.log.lookup(), Some(LookupError::NotFound)));
        assert_eq!(kept_error(&mut world, &conn).as_deref(), Some("NotFound"));
        let left = world.with(&conn, |b| (b.enabled(), b.is_looking_up(), b.raw_fd())).unwrap();
        assert_eq!(left, (Interest::BOTH, false, None));
        world.with(&conn, move |b| b.connect_to_host("good", address.port()).unwrap()).unwrap();
        assert_eq!(kept_error(&mut world, &conn), None);
        world.until_called(&conn, Call::Connected, 1);
        drop(accept(&listener));
    });
}

#[test]
fn a_connect_that_fails_after_a_lookup_is_no_lookup_error() {
    // D-04, K-13
    each_once(|config| {
        let (_bound, address) = refusing();
        let port = tcp(&address).port();
        let (mut world, conn) = detached(config);
        set_resolver(&world, Names::knowing(&[("good", &[loopback(1)])]));
        world.with(&conn, move |b| b.connect_to_host("good", port).unwrap()).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(kept_error(&mut world, &conn), None);
    });
}

#[test]
fn a_resolver_that_forgets_or_panics_is_an_answer_too() {
    // D16, F63: nothing hangs
    each_once(|config| {
        for name in ["forgets", "panics"] {
            let (mut world, conn) = detached(config);
            set_resolver(&world, Names::default());
            world.with(&conn, |b| b.connect_to_host(name, 80).unwrap()).unwrap();
            world.until_called(&conn, Call::Failed(None), 1);
            assert!(matches!(conn.log.lookup(), Some(LookupError::NoAnswer)));
            assert_eq!(world.panics(), u64::from(name == "panics"));
        }
    });
}

#[test]
fn addresses_that_are_not_wanted_are_none() {
    // K-12, K-14: the family, and that of our own address
    each_once(|config| {
        let names = Names::knowing(&[("four", &[loopback(1)]), ("none", &[])]);
        let four = |f: fn(Target) -> Target| f(Target::host("four", 80).unwrap());
        let targets = [
            four(|target| target.family(Family::V6)),
            four(|target| target.from("[::1]:0".parse().unwrap())),
            Target::host("::1", 80).unwrap().family(Family::V4),
            Target::host("none", 80).unwrap(),
        ];
        for target in targets {
            let (mut world, conn) = detached(config);
            set_resolver(&world, names.clone());
            world.with(&conn, move |b| b.connect_to_target(target).unwrap()).unwrap();
            world.until_called(&conn, Call::Failed(None), 1);
            assert!(matches!(conn.log.lookup(), Some(LookupError::NoAddress)));
        }
        let (mut world, conn) = detached(config);
        set_resolver(&world, names);
        world
            .with(&conn, |b| b.connect_to_target(Target::host("four", 80).unwrap().numeric_only()).unwrap())
            .unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        assert!(matches!(conn.log.lookup(), Some(LookupError::NotFound)));
    });
}

#[test]
fn what_is_no_host_or_no_port_is_refused_at_once() {
    // K-12, D16
    each_once(|config| {
        let (mut world, conn) = detached(config);
        let refused = |result, wanted| matches!(result, Err(Error::InvalidHost(error)) if error == wanted);
        for (host, port, wanted) in [
            ("", 80, HostError::Empty),
            ("[::1", 80, HostError::InvalidLiteral),
            ("host", 0, HostError::InvalidPort),
        ] {
            let result = world.with(&conn, move |b| b.connect_to_host(host, port)).unwrap();
            assert!(refused(result, wanted));
            let actor = Actor::new(&world, |_, _| {});
            let result = world.start(config.set, Bufferevent::connect_host(host, port), actor);
            assert!(refused(result.map(drop), wanted));
        }
        let result = world.with(&conn, |b| b.connect_to_any(&[])).unwrap();
        assert!(refused(result, HostError::NoAddress));
        world.fence(&conn);
        assert_eq!(conn.log.calls(), []);
    });
}

#[test]
fn while_looking_up_switches_set_flags_and_a_second_connect_is_refused() {
    // K-11, K-13, D5, D16
    each_once(|config| {
        let (_listener, address) = listening();
        let names = Names::default();
        let (mut world, conn) = detached(config);
        set_resolver(&world, names.clone());
        world.with(&conn, |b| b.connect_to_host("hangs", 80).unwrap()).unwrap();
        world.until("the question", || names.asked() == 1);
        let (stream, _peer) = unix_pair();
        world
            .with(&conn, move |b| {
                b.disable(Interest::BOTH);
                b.enable(Interest::READ);
                b.write(b"waits").unwrap();
                assert_eq!((b.enabled(), b.is_connected()), (Interest::READ, false));
                let again =
                    [b.connect_to_host("hangs", 80), b.connect_to(address), b.connect_to_any(&[address])];
                assert!(again.into_iter().all(|result| matches!(result, Err(Error::AlreadyConnected))));
                let taken_over = b.connect_pending_on(stream);
                assert!(matches!(taken_over, Err(Error::AlreadyConnected)));
            })
            .unwrap();
        world.settle();
        world.fence(&conn);
        assert_eq!((conn.log.calls(), names.asked()), (vec![], 1));
    });
}

#[test]
fn close_abort_and_another_descriptor_give_a_lookup_up() {
    // K-13, K-15, D-05, X-59, F63
    each_once(|config| {
        for how in ["close", "abort", "set_fd", "take_fd"] {
            let names = Names::default();
            let mut world = config.world();
            let actor = Actor::new(&world, |_, _| {});
            let builder = Bufferevent::detached().report_close();
            let conn = world.start(config.set, builder, actor).unwrap();
            set_resolver(&world, names.clone());
            world.with(&conn, |b| b.connect_to_host("hangs", 80).unwrap()).unwrap();
            world.until("the question", || names.asked() == 1);
            let reply = names.take_hanging().unwrap();
            assert!(!reply.is_cancelled());
            let (stream, mut peer) = unix_pair();
            match how {
                "close" => world.close(&conn),
                "abort" => world.abort(&conn),
                "set_fd" => {
                    let old = world.with(&conn, move |b| b.set_fd(stream).unwrap()).unwrap();
                    assert!(old.is_none());
                }
                _ => assert!(world.with(&conn, |b| b.take_fd()).unwrap().is_none()),
            }
            world.until("the question to be cancelled", || reply.is_cancelled());
            reply.send(Ok(vec![loopback(1)]));
            match how {
                "set_fd" => {
                    world.send(&mut peer, b"goes on");
                    world.until_called(&conn, Call::Read, 1);
                    assert_eq!(conn.log.calls(), [Call::Read]);
                }
                "take_fd" => {
                    world.fence(&conn);
                    assert_eq!(conn.log.calls(), []);
                    assert!(world.with(&conn, |b| b.connect_to_host("bad", 80)).unwrap().is_ok());
                    world.until_called(&conn, Call::Failed(None), 1);
                }
                _ => {
                    world.until_called(&conn, Call::Closed, 1);
                    world.until_gone(&conn);
                    assert_eq!(conn.log.calls(), [Call::Closed]);
                }
            }
        }
    });
}

#[test]
fn what_was_written_before_a_close_is_sent_when_the_name_is_found() {
    // D15, K-18
    each_once(|config| {
        let (listener, address) = listening();
        let names = Names::default();
        let mut world = config.world();
        set_resolver(&world, names.clone());
        let actor = Actor::new(&world, |_, _| {});
        let builder = Bufferevent::connect_host("hangs", address.port()).report_close();
        let conn = world.start(config.set, builder, actor).unwrap();
        world.with(&conn, |b| b.write(b"farewell").unwrap()).unwrap();
        world.close(&conn);
        world.until("the question", || names.asked() == 1);
        let reply = names.take_hanging().unwrap();
        assert!(!reply.is_cancelled());
        reply.send(Ok(vec![loopback(1)]));
        let mut peer = accept_in(&mut world, &listener);
        assert_eq!(world.receive_all(&mut peer), b"farewell");
        drop(peer);
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!((conn.log.calls(), conn.log.closed().unwrap().unsent), (vec![Call::Closed], 0));
    });
}

/// Accepts while the world goes on.
fn accept_in(world: &mut World, listener: &TcpListener) -> Peer {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    world.until("a connection", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    Peer::tcp(accepted.unwrap().0)
}

#[test]
fn a_base_that_is_dropped_gives_a_lookup_up() {
    // D-05, F61
    each_once(|config| {
        let names = Names::default();
        {
            let mut world = config.world();
            set_resolver(&world, names.clone());
            let actor = Actor::new(&world, |_, _| {});
            let builder = Bufferevent::connect_host("hangs", 80).configure(|b| drop(b.write(b"unsent")));
            let _conn = world.start(config.set, builder, actor).unwrap();
            world.until("the question", || names.asked() == 1);
        }
        let reply = names.take_hanging().unwrap();
        assert!(reply.is_cancelled());
        reply.send(Err(LookupError::NotFound));
    });
}

// ---- several addresses ----

/// Connects to `target` and waits for the outcome.
fn outcome(config: Config, target: Target) -> (World, Conn) {
    let mut world = config.world();
    let actor = Actor::new(&world, |_, _| {});
    let conn = world.start(config.set, Bufferevent::connect_target(target), actor).unwrap();
    let log = conn.log.clone();
    world.until("an outcome", || log.has(Call::Connected) || log.has(Call::Failed(None)));
    world.settle();
    world.fence(&conn);
    assert_eq!(conn.log.calls().len(), 1, "D5: exactly one outcome");
    (world, conn)
}

/// A listener on `here`, and the address of the same port on `other`, bound so that nobody listens there meanwhile.
fn listener_on_one(here: &str, other: &str) -> (TcpListener, Socket, SocketAddr) {
    loop {
        let listener = TcpListener::bind((here.parse::<IpAddr>().unwrap(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = SocketAddr::new(other.parse().unwrap(), port);
        let socket = Socket::new(Domain::for_address(silent), Type::STREAM, None).unwrap();
        if socket.bind(&silent.into()).is_ok() {
            return (listener, socket, silent);
        }
    }
}

#[test]
fn the_next_address_is_tried_when_one_is_refused() {
    // K-13, X-83: a listener on one family alone
    each_once(|config| {
        for (here, other) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
            let (listener, _refuses, silent) = listener_on_one(here, other);
            let address = listener.local_addr().unwrap();
            let target = Target::any(&[silent, address]).unwrap().delay(Duration::from_secs(60));
            let (mut world, conn) = outcome(config, target);
            assert_eq!(conn.log.calls(), [Call::Connected]);
            let to = world.with(&conn, |b| b.peer_addr().unwrap()).unwrap();
            assert_eq!(tcp(&to), address);
            let mut peer = accept(&listener);
            world.with(&conn, |b| b.write(b"ping").unwrap()).unwrap();
            assert_eq!(world.receive(&mut peer, 4), b"ping");
            world.send(&mut peer, b"pong");
            world.until_called(&conn, Call::Read, 1);
            peer.shutdown_write();
            world.until_called(&conn, Call::Eof, 1);
        }
    });
}

#[test]
fn an_address_that_does_not_answer_is_overtaken() {
    // X-83, F63: the queue of the first is full
    each_once(|config| {
        let (_full, address, _fillers) = stalling();
        let (listener, good) = listening();
        let target = Target::any(&[tcp(&address), good]).unwrap().delay(Duration::from_millis(1));
        let (mut world, conn) = outcome(config, target);
        assert_eq!(conn.log.calls(), [Call::Connected]);
        let to = world.with(&conn, |b| b.peer_addr().unwrap()).unwrap();
        assert_eq!(tcp(&to), good);
        let mut peer = accept(&listener);
        world.send(&mut peer, b"only here");
        world.until_input(&conn, 9);
    });
}

#[test]
fn a_connection_sends_small_writes_at_once_if_it_is_to() {
    each_once(|config| {
        for on in [false, true] {
            let (_listener, good) = listening();
            let target = Target::any(&[good]).unwrap();
            let (mut world, conn) = outcome(config, if on { target.nodelay() } else { target });
            assert_eq!(conn.log.calls(), [Call::Connected]);
            let at_once = |b: &mut Bufferevent| tcp_nodelay(b.fd().unwrap()).unwrap();
            assert_eq!(world.with(&conn, at_once).unwrap(), on);
        }
    });
}

#[test]
fn what_the_peer_says_and_ends_at_once_is_not_lost() {
    // The events that brought the decision may have been the last there are.
    each_once(|config| {
        let (_bound, refused) = refusing();
        let (listener, good) = listening();
        let greeter = std::thread::spawn(move || {
            use std::io::Write as _;
            listener.accept().unwrap().0.write_all(b"hello and farewell").unwrap();
        });
        let mut world = config.world();
        let actor = Actor::new(&world, |cx, call| {
            if *call == Call::Read {
                cx.take();
            }
        });
        let builder = Bufferevent::connect_any(&[tcp(&refused), good]);
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until_called(&conn, Call::Eof, 1);
        greeter.join().unwrap();
        assert_eq!(conn.log.data(), b"hello and farewell");
        assert_eq!(conn.log.calls()[0], Call::Connected);
    });
}

#[test]
fn the_oldest_attempt_gives_way_when_there_may_be_no_more() {
    // F63
    each_once(|config| {
        let (_full, address, _fillers) = stalling();
        let (_full2, address2, _fillers2) = stalling();
        let (_listener, good) = listening();
        let target = Target::any(&[tcp(&address), tcp(&address2), good]).unwrap();
        let target = target.at_once(NonZeroUsize::MIN).delay(Duration::from_millis(1));
        let (mut world, conn) = outcome(config, target);
        assert_eq!(conn.log.calls(), [Call::Connected]);
        let to = world.with(&conn, |b| b.peer_addr().unwrap()).unwrap();
        assert_eq!(tcp(&to), good);
    });
}

#[test]
fn fifty_addresses_that_are_refused_are_one_error() {
    // F63, F16
    each_once(|config| {
        let (_bound, address) = refusing();
        let port = tcp(&address).port();
        let addresses: Vec<_> = (1..=50).map(|host| SocketAddr::from(([127, 0, 0, host], port))).collect();
        let names = Names::knowing(&[("many", &addresses)]);
        let target = Target::host("many", port).unwrap().resolver(names).delay(Duration::from_secs(60));
        let (_world, conn) = outcome(config, target);
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn of_several_failures_the_one_that_says_most_is_told() {
    // F16: a network that cannot be reached says less than a refusal, whichever comes last
    each_once(|config| {
        let (_bound, address) = refusing();
        let (refused, unreachable) = (tcp(&address), SocketAddr::from(([127, 255, 255, 255], 9)));
        for order in [[refused, unreachable], [unreachable, refused]] {
            let (_world, conn) = outcome(config, Target::any(&order).unwrap());
            assert_eq!(conn.log.cause(), Some(io::ErrorKind::ConnectionRefused));
        }
        let (_world, conn) = outcome(config, Target::any(&[unreachable]).unwrap());
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::NetworkUnreachable));
    });
}

#[test]
fn every_outcome_of_a_connect_is_told_once_and_never_inside_the_call() {
    // F16: refused, told by SO_ERROR alone; unreachable and not there, at once; success, over a Unix socket at once
    each_once(|config| {
        let (_bound, refused) = refusing();
        let (listener, good) = listening();
        let path = std::env::temp_dir().join(format!("bufferevent-outcome-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _unix = UnixListener::bind(&path).unwrap();
        let unreachable = SocketAddr::from(([127, 255, 255, 255], 9));
        let addresses: [(SockAddr, Option<io::ErrorKind>); 5] = [
            (refused, Some(io::ErrorKind::ConnectionRefused)),
            (unreachable.into(), Some(io::ErrorKind::NetworkUnreachable)),
            (SockAddr::unix("/nonexistent/socket").unwrap(), Some(io::ErrorKind::NotFound)),
            (good.into(), None),
            (SockAddr::unix(&path).unwrap(), None),
        ];
        for (address, failure) in addresses {
            // Unix sockets are connected to by their address alone.
            for target in [None, address.as_socket()].into_iter().take(1 + usize::from(!address.is_unix())) {
                let (mut world, conn) = detached(config);
                let (address, log) = (address.clone(), conn.log.clone());
                let told = world.with(&conn, move |b| {
                    match target {
                        Some(address) => b.connect_to_any(&[address]).unwrap(),
                        None => b.connect_to(address).unwrap(),
                    }
                    log.calls()
                });
                assert_eq!(told.unwrap(), [], "not from inside the call");
                let outcome = if failure.is_some() { Call::Failed(None) } else { Call::Connected };
                world.until_called(&conn, outcome, 1);
                world.settle();
                world.fence(&conn);
                assert_eq!((conn.log.calls(), conn.log.cause()), (vec![outcome], failure));
            }
        }
        drop(listener);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_connect_after_a_failed_one_has_all_its_time() {
    // D5
    each_by_hand_once(|config| {
        let (_full, address, _fillers) = stalling();
        let names = Names::default();
        let (mut world, clock) = manual(config);
        set_resolver(&world, names.clone());
        let address = tcp(&address);
        let actor = Actor::new(&world, move |cx, call| {
            if *call == Call::Failed(None) && cx.log().count(*call) == 1 {
                cx.connect_to_any(&[address]).unwrap();
            }
        });
        let builder = Bufferevent::connect_host("hangs", 80)
            .configure(|b| b.set_timeouts(None, Some(Duration::from_secs(3))));
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until("the question", || names.asked() == 1);
        clock.advance(Duration::from_secs(2));
        names.take_hanging().unwrap().send(Err(LookupError::NotFound));
        world.until_called(&conn, Call::Failed(None), 1);
        world.settle();
        clock.advance(Duration::from_millis(2_900));
        world.settle();
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
        clock.advance(Duration::from_millis(200));
        world.until_called(&conn, Call::Failed(None), 2);
        assert_eq!(conn.log.time_limit(), Some(TimeLimit::Connect));
    });
}

#[test]
fn a_close_ends_the_race_unless_something_is_to_be_sent() {
    // D15, D3
    each_once(|config| {
        let (_full, address, _fillers) = stalling();
        let (_full2, address2, _fillers2) = stalling();
        for written in [0, 10] {
            let mut world = config.world();
            let actor = Actor::new(&world, |_, _| {});
            let builder = Bufferevent::connect_any(&[tcp(&address), tcp(&address2)]).report_close();
            let conn = world.start(config.set, builder, actor).unwrap();
            world.with(&conn, move |b| b.write(&vec![b'.'; written]).unwrap()).unwrap();
            world.fence(&conn);
            world.close(&conn);
            if written > 0 {
                world.settle();
                assert_eq!(conn.log.calls(), []);
                world.abort(&conn);
            }
            world.until_called(&conn, Call::Closed, 1);
            world.until_gone(&conn);
            assert_eq!((conn.log.calls(), conn.log.closed().unwrap().unsent), (vec![Call::Closed], written));
        }
    });
}

#[test]
fn it_connects_from_the_address_that_is_given() {
    each_once(|config| {
        let (listener, address) = listening();
        let from = SocketAddr::from(([127, 0, 0, 2], 0));
        let (mut world, conn) = outcome(config, Target::any(&[address]).unwrap().from(from));
        assert_eq!(conn.log.calls(), [Call::Connected]);
        assert_eq!(listener.accept().unwrap().1.ip(), from.ip());
        let ours = world.with(&conn, |b| b.local_addr().unwrap()).unwrap();
        assert_eq!(tcp(&ours).ip(), from.ip());
    });
}

#[test]
fn a_unix_listener_whose_queue_is_full_is_an_error() {
    // F16: the system has no connect under way then, and tells nobody when there is room
    each_once(|config| {
        let path = std::env::temp_dir().join(format!("bufferevent-full-{}", std::process::id()));
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let address = SockAddr::unix(&path).unwrap();
        let _ = std::fs::remove_file(&path);
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let mut fillers = Vec::new();
        loop {
            let filler = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let Ok(()) = filler.connect(&address) else { break };
            fillers.push(filler);
        }
        let mut world = config.world();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::connect(address.clone()), actor).unwrap();
        world.until_called(&conn, Call::Failed(None), 1);
        assert_eq!(conn.log.cause(), Some(io::ErrorKind::WouldBlock));
        // Room again: the same bufferevent connects, at once.
        fillers.clear();
        let listener = UnixListener::from(listener);
        while listener.set_nonblocking(true).is_ok() && listener.accept().is_ok() {}
        world.with(&conn, move |b| b.connect_to(address).unwrap()).unwrap();
        world.until_called(&conn, Call::Connected, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Failed(None), Call::Connected]);
        std::fs::remove_file(&path).unwrap();
    });
}

// ---- time ----

fn manual(config: Config) -> (World, ManualClock) {
    let (clock, manual) = Clock::manual();
    (config.world_with(clock), manual)
}

#[test]
fn a_lookup_that_hangs_is_given_up_at_its_deadline_and_a_late_answer_is_dropped() {
    // F63, D-04
    each_by_hand_once(|config| {
        let names = Names::default();
        let (mut world, clock) = manual(config);
        set_resolver(&world, names.clone());
        let actor = Actor::new(&world, |_, _| {});
        let target = Target::host("hangs", 80).unwrap().lookup_deadline(Duration::from_secs(5));
        let conn = world.start(config.set, Bufferevent::connect_target(target), actor).unwrap();
        world.until("the question", || names.asked() == 1);
        clock.advance(Duration::from_millis(4_900));
        world.settle();
        assert_eq!(conn.log.calls(), []);
        clock.advance(Duration::from_millis(200));
        world.until_called(&conn, Call::Failed(None), 1);
        assert!(matches!(conn.log.lookup(), Some(LookupError::TimedOut)));
        let reply = names.take_hanging().unwrap();
        assert!(reply.is_cancelled());
        reply.send(Ok(vec![loopback(1)]));
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
    });
}

#[test]
fn a_connect_that_takes_too_long_as_a_whole_is_one_error() {
    // K-11, D5, F16: ended, with the attempts, and not told again
    each_by_hand_once(|config| {
        let (_full, address, _fillers) = stalling();
        let (_full2, address2, _fillers2) = stalling();
        let (mut world, clock) = manual(config);
        let actor = Actor::new(&world, |_, _| {});
        let builder = Bufferevent::connect_any(&[tcp(&address), tcp(&address2)])
            .configure(|b| b.set_connect_timeout(Some(Duration::from_secs(3))));
        let conn = world.start(config.set, builder, actor).unwrap();
        world.settle();
        clock.advance(Duration::from_millis(2_900));
        world.settle();
        assert_eq!(conn.log.calls(), []);
        clock.advance(Duration::from_millis(200));
        world.until_called(&conn, Call::Failed(None), 1);
        assert_eq!(conn.log.time_limit(), Some(TimeLimit::Connect));
        clock.advance(Duration::from_secs(3_600));
        world.settle();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
    });
}

#[test]
fn each_address_has_its_head_start() {
    // RFC 8305
    each_by_hand_once(|config| {
        let (_full, address, _fillers) = stalling();
        let (listener, good) = listening();
        let (mut world, clock) = manual(config);
        let actor = Actor::new(&world, |_, _| {});
        let target = Target::any(&[tcp(&address), good]).unwrap().delay(Duration::from_millis(250));
        let conn = world.start(config.set, Bufferevent::connect_target(target), actor).unwrap();
        world.settle();
        listener.set_nonblocking(true).unwrap();
        clock.advance(Duration::from_millis(240));
        world.settle();
        assert!(listener.accept().is_err(), "not before its time");
        clock.advance(Duration::from_millis(20));
        world.until_called(&conn, Call::Connected, 1);
        assert!(listener.accept().is_ok());
    });
}

#[test]
fn a_close_with_output_waits_for_a_lookup_no_longer_than_a_connect_may_take() {
    // D15: no longer than a connect may take
    each_by_hand_once(|config| {
        let names = Names::default();
        let (mut world, clock) = manual(config);
        set_resolver(&world, names.clone());
        let actor = Actor::new(&world, |_, _| {});
        let target = Target::host("hangs", 80).unwrap().lookup_deadline(Duration::MAX);
        let builder = Bufferevent::connect_target(target).report_close();
        let conn = world.start(config.set, builder, actor).unwrap();
        world.with(&conn, |b| b.write(b"never sent").unwrap()).unwrap();
        world.until("the question", || names.asked() == 1);
        world.close(&conn);
        world.settle();
        assert_eq!(conn.log.calls(), []);
        clock.advance(Duration::from_secs(31));
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!(conn.log.closed().unwrap().unsent, 10);
        assert!(names.take_hanging().unwrap().is_cancelled());
    });
}

// ---- the pool ----

#[test]
fn a_pool_answers_many_and_its_threads_end_with_it() {
    each_once(|config| {
        let (listener, address) = listening();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let resolver = Resolver::builder()
            .threads(3)
            .function(move |query| {
                // ORDER: Relaxed; a count that is read when all is over.
                counted.fetch_add(1, Ordering::Relaxed);
                match query.name() {
                    "panics" => std::panic::resume_unwind(Box::new("on purpose")),
                    "good" => Ok(vec![loopback(1)]),
                    _ => Err(LookupError::NotFound),
                }
            })
            .build();
        let mut world = config.world();
        set_resolver(&world, resolver.clone());
        let mut conns = Vec::new();
        for name in ["good", "bad", "panics"].into_iter().cycle().take(12) {
            let actor = Actor::new(&world, |_, _| {});
            let builder = Bufferevent::connect_host(name, address.port());
            conns.push((name, world.start(config.set, builder, actor).unwrap()));
        }
        for (name, conn) in &conns {
            let outcome = if *name == "good" { Call::Connected } else { Call::Failed(None) };
            world.until_called(conn, outcome, 1);
            assert_eq!(conn.log.calls().len(), 1);
            match (name, conn.log.lookup()) {
                (&"bad", Some(LookupError::NotFound)) | (&"panics", Some(LookupError::NoAnswer)) => {}
                (name, error) => assert!(*name == "good" && error.is_none(), "{name} {error:?}"),
            }
        }
        assert_eq!(asked.load(Ordering::Relaxed), 12);
        assert!((1..=3).contains(&resolver.threads()));
        drop(listener);
    });
}

#[test]
fn a_pool_whose_lookups_all_hang_refuses_past_its_limit_and_forgets_who_has_gone() {
    // F63, D16
    each_by_hand_once(|config| {
        let gate = Arc::new(Mutex::new(()));
        let shut = gate.lock();
        let theirs = Arc::clone(&gate);
        let resolver = Resolver::builder()
            .threads(1)
            .queue(2)
            .function(move |_| {
                drop(theirs.lock());
                Err(LookupError::NotFound)
            })
            .build();
        let mut world = config.world();
        set_resolver(&world, resolver.clone());
        let begin = |world: &mut World| {
            let actor = Actor::new(world, |_, _| {});
            world.start(config.set, Bufferevent::connect_host("hangs", 80), actor).unwrap()
        };
        let first = begin(&mut world);
        // One hangs in the only thread; two wait.
        world.until("the thread", || resolver.threads() == 1 && resolver.waiting() == 0);
        let waiting = [begin(&mut world), begin(&mut world)];
        world.settle();
        let refused = begin(&mut world);
        world.until_called(&refused, Call::Failed(None), 1);
        assert!(matches!(refused.log.lookup(), Some(LookupError::Busy { limit: 2 })));
        world.abort(&waiting[0]);
        world.until_gone(&waiting[0]);
        let next = begin(&mut world);
        world.settle();
        assert_eq!(next.log.calls(), [], "it waits in the place of the one that has gone");
        drop(shut);
        for conn in [&first, &waiting[1], &next] {
            world.until_called(conn, Call::Failed(None), 1);
            assert!(matches!(conn.log.lookup(), Some(LookupError::NotFound)));
        }
    });
}

#[test]
fn a_trigger_while_looking_up_is_delivered() {
    // C-24: suspended directions too
    each_once(|config| {
        let (mut world, conn) = detached(config);
        set_resolver(&world, Names::default());
        world
            .with(&conn, |b| {
                b.connect_to_host("hangs", 80).unwrap();
                b.trigger(Interest::READ, Trigger::PLAIN);
            })
            .unwrap();
        world.until_called(&conn, Call::Read, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read]);
    });
}
