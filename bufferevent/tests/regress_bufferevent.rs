//! libevent's own tests of bufferevents and listeners (`test/regress_bufferevent.c`, `test/regress_listener.c`), under
//! their C names. TB- and TL- are their rows in the project's inventory. What runs over pairs and filters too is in
//! `regress_layers.rs`.
//!
//! "Dispatch" in C runs until no events are left. Here a bufferevent lives until it is closed, so a test runs until what
//! it waits for has happened, and then until nothing happens any more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "contract/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves the contract suite too")]
mod harness;
#[path = "contract/kinds.rs"]
mod kinds;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
};

use bufferevent::{
    Accepted, Base, Bufferevent, Error, Interest, Listener, ListenerHandle, Movable, Pinned, Trigger,
    evbuffer,
    evbuffer::End,
    runtime::{Clock, SelectorKind},
    testing::Census,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use socket2::{Domain, Socket, Type};

use harness::{Actor, Call, Drive, Peer, SETS, Set, Shape, World};

fn world() -> World {
    World::new(Shape::Pinned, SelectorKind::Best, Clock::monotonic())
}

fn counter() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let counter = Arc::new(AtomicUsize::new(0));
    (Arc::clone(&counter), counter)
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

// ---- bufferevents ----

/// A server that writes a sentence to whoever connects, and closes.
fn serve_sentence(world: &mut World, set: Set) -> SocketAddr {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let actor = Actor::new(world, |cx, call| {
        if *call == Call::Write && cx.output().is_empty() {
            cx.disable(Interest::BOTH);
            cx.close();
        }
    });
    match &mut world.drive {
        Drive::Pinned(base) => {
            let accept = move |connection: Accepted, base: &mut Base<Pinned>| {
                let builder =
                    Bufferevent::socket(connection).configure(|b| assert!(b.write(SENTENCE).is_ok()));
                harness::launch(set, builder, actor.clone(), base, None)?;
                Ok(())
            };
            listener.start(base, accept).unwrap();
        }
        _ => unreachable!("these tests drive one base"),
    }
    address
}

const SENTENCE: &[u8] = b"Now is the time for all good events to signal for the good of their protocol\0";

#[test]
fn bufferevent_connect_and_its_variants() {
    // TB-18: bufferevent_connect, _defer, _lock, _lock_defer, _unlocked_cbs
    let _census = Census::begin();
    for set in SETS {
        let mut world = world();
        let address = serve_sentence(&mut world, set);
        let (strings, theirs) = counter();
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let strings = Arc::clone(&theirs);
                let actor = Actor::new(&world, move |cx, call| match call {
                    Call::Connected => cx.enable(Interest::READ),
                    Call::Eof => {
                        let mut text = [0; 512];
                        let n = cx.read(&mut text[..511]).unwrap();
                        assert_eq!(&text[..n], SENTENCE);
                        strings.fetch_add(1, Ordering::SeqCst);
                        cx.close();
                    }
                    Call::Read | Call::Write => {}
                    other => panic!("{other:?}"),
                });
                world.start(set, Bufferevent::detached(), actor).unwrap()
            })
            .collect();
        for client in &clients {
            let connect = move |b: &mut Bufferevent| {
                b.enable(Interest::READ);
                b.connect_to(address)
            };
            world.with(client, connect).unwrap().unwrap();
        }
        world.until("both sentences", || count(&strings) == 2);
        for client in &clients {
            assert_eq!((client.log.count(Call::Connected), client.log.count(Call::Eof)), (1, 1));
            assert!(client.log.has(Call::Read));
            world.until_gone(client);
        }
        assert_eq!(world.panics(), 0);
    }
}

/// An address of 127.0.0.1 that is bound and not listened on.
fn fake_listener() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn bufferevent_connect_fail() {
    // TB-19
    let _census = Census::begin();
    let mut world = world();
    let (fake, address) = fake_listener();
    let actor = Actor::new(&world, |_, _| {});
    let builder = Bufferevent::detached().enable(Interest::WRITE);
    let conn = world.start(Set::ConfinedDefer, builder, actor).unwrap();
    world.with(&conn, move |b| b.connect_to(address).unwrap()).unwrap();
    world.with(&conn, |b| b.enable(Interest::READ)).unwrap();
    world.until_called(&conn, Call::Failed(None), 1);
    assert_eq!(conn.log.calls(), [Call::Failed(None)]);
    drop(fake);
}

#[test]
fn bufferevent_connect_fail_eventcb_and_defer() {
    // TB-20, TB-21
    let _census = Census::begin();
    for set in [Set::Confined, Set::ConfinedDefer] {
        let mut world = world();
        let (_fake, address) = fake_listener();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(set, Bufferevent::detached(), actor).unwrap();
        let log = conn.log.clone();
        let inside = world.with(&conn, move |b| {
            b.enable(Interest::BOTH);
            let before = log.calls();
            b.connect_to(address).unwrap();
            (before, log.calls())
        });
        assert_eq!(inside.unwrap(), (vec![], vec![]));
        world.until_called(&conn, Call::Failed(None), 1);
        world.settle();
        assert_eq!(conn.log.calls(), [Call::Failed(None)]);
    }
}

#[test]
fn bufferevent_trigger_and_defer_and_postpone() {
    // TB-26: bufferevent_trigger, _defer, _postpone, _defer_postpone
    let _census = Census::begin();
    for (set, postpone) in [
        (Set::Confined, false),
        (Set::ConfinedDefer, false),
        (Set::Confined, true),
        (Set::ConfinedDefer, true),
    ] {
        let mut world = world();
        let address = serve_sentence(&mut world, Set::Confined);
        let how = move |trigger: Trigger| if postpone { trigger.deferred() } else { trigger };
        let second = move |cx: &mut harness::Cx<'_, '_>, call: &Call| {
            if *call == Call::Read {
                cx.trigger_event(u16::MAX, how(Trigger::PLAIN));
            }
        };
        let first = move |cx: &mut harness::Cx<'_, '_>, call: &Call| {
            if *call == Call::Read {
                let heir = Actor::heir(cx.log(), 1, second);
                cx.replace(heir);
                let len = cx.input().len();
                cx.set_read_watermark(len + 1, None).unwrap();
                cx.trigger(Interest::READ, how(Trigger::PLAIN));
                cx.trigger_event(1, how(Trigger::PLAIN));
                cx.trigger(Interest::READ, how(Trigger::IGNORE_WATERMARKS));
                cx.trigger_event(2, how(Trigger::PLAIN));
            }
        };
        let actor = Actor::new(&world, first);
        let conn = world.start(set, Bufferevent::connect(address), actor).unwrap();
        world.until_called(&conn, Call::User(u16::MAX), 1);
        let told: Vec<_> = conn.log.entries().iter().map(|entry| (entry.call, entry.actor)).collect();
        let reads = told.iter().filter(|(call, _)| *call == Call::Read).copied().collect::<Vec<_>>();
        assert_eq!(reads, [(Call::Read, 0), (Call::Read, 1)], "exactly two, the second by the new callbacks");
        let at = |call| told.iter().position(|(other, _)| *other == call).unwrap();
        assert!(at(Call::User(1)) < at(Call::User(2)) && at(Call::User(2)) < at(Call::User(u16::MAX)));
    }
}

#[test]
fn bufferevent_read_failed() {
    // TB-31: a frozen front is an error here, where libevent answers 0 as for an empty input
    let _census = Census::begin();
    let mut world = world();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut peer = Peer::unix(theirs);
    let actor = Actor::new(&world, |cx, call| {
        if *call == Call::Read {
            assert_eq!(cx.input().len(), 9);
            assert_eq!(cx.read(&mut [0; 8]).unwrap(), 8);
            assert_eq!(cx.input().len(), 1);
            cx.input().freeze(End::Front);
            let refused = cx.read(&mut [0; 1]);
            assert!(matches!(refused, Err(Error::Buffer(evbuffer::Error::Frozen { end: End::Front }))));
        }
    });
    let conn = world.start(Set::Confined, Bufferevent::socket(ours), actor).unwrap();
    world.send(&mut peer, b"some data");
    world.until_called(&conn, Call::Read, 1);
    assert_eq!(world.panics(), 0);
}

// ---- listeners ----

/// TL-01, TL-02.
fn randport(mut world: World) {
    let counts = [counter(), counter()];
    let handles: Arc<Mutex<Vec<AnyHandle>>> = Arc::default();
    for (index, (_, seen)) in counts.iter().enumerate() {
        let (seen, handles) = (Arc::clone(seen), Arc::clone(&handles));
        let most = 2 - index;
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let accept = {
            let handles = Arc::clone(&handles);
            move || {
                if seen.fetch_add(1, Ordering::SeqCst) + 1 == most {
                    handles.lock()[index].disable();
                }
            }
        };
        handles.lock().push(AnyHandle::start(&mut world, listener, accept));
    }
    let addresses: Vec<_> = handles.lock().iter().map(AnyHandle::address).collect();
    assert_ne!(addresses[0].port(), addresses[1].port());
    let _clients =
        [addresses[0], addresses[0], addresses[1]].map(|address| TcpStream::connect(address).unwrap());
    world.until("all three", || count(&counts[0].0) == 2 && count(&counts[1].0) == 1);
    world.settle();
    assert_eq!((count(&counts[0].0), count(&counts[1].0)), (2, 1));
}

enum AnyHandle {
    Pinned(ListenerHandle<Pinned>),
    Movable(ListenerHandle<Movable>),
}

impl AnyHandle {
    fn start(world: &mut World, listener: Listener, accept: impl Fn() + Send + Sync + 'static) -> Self {
        match &mut world.drive {
            Drive::Pinned(base) => {
                let accept = move |_: Accepted, _: &mut Base<Pinned>| {
                    accept();
                    Ok(())
                };
                Self::Pinned(listener.start(base, accept).unwrap())
            }
            Drive::Threads { runtime, .. } => {
                let accept = move |_: Accepted, _: &mut Base| {
                    accept();
                    Ok(())
                };
                Self::Movable(runtime.listen_on(listener, accept).unwrap())
            }
            Drive::Movable(_) => unreachable!("these tests drive a pinned base, or none"),
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Pinned(handle) => handle.local_addr().unwrap(),
            Self::Movable(handle) => handle.local_addr().unwrap(),
        }
    }

    fn disable(&self) {
        match self {
            Self::Pinned(handle) => handle.disable(),
            Self::Movable(handle) => handle.disable(),
        }
    }
}

fn threads() -> World {
    World::new(Shape::Threads { workers: 1, bases: 1 }, SelectorKind::Best, Clock::monotonic())
}

#[test]
fn regress_listener_randport() {
    let _census = Census::begin();
    randport(world());
}

#[test]
fn regress_listener_randport_ts() {
    let _census = Census::begin();
    randport(threads());
}

/// A listening socket on which each accept fails: it is shut down by the test, through a duplicate.
fn failing_listener() -> (Listener, TcpListener) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = socket.try_clone().unwrap();
    (Listener::from_fd(socket).unwrap(), other)
}

fn fail(socket: &TcpListener) {
    rustix::net::shutdown(socket, rustix::net::Shutdown::Both).unwrap();
}

#[test]
fn regress_listener_error() {
    // TL-03. libevent's test listens on one end of a socket pair, which `from_fd` refuses.
    let _census = Census::begin();
    let refused = Listener::from_fd(UnixStream::pair().unwrap().0);
    assert!(refused.is_err());
    let mut world = world();
    let (listener, socket) = failing_listener();
    let (errors, theirs) = counter();
    let handle: Arc<Mutex<Option<ListenerHandle<Pinned>>>> = Arc::default();
    let own = Arc::clone(&handle);
    let Drive::Pinned(base) = &mut world.drive else { unreachable!() };
    let started = listener.start_with(
        base,
        |_, _| panic!("nothing can be accepted"),
        move |_, _| {
            theirs.fetch_add(1, Ordering::SeqCst);
            own.lock().as_ref().unwrap().disable();
        },
    );
    *handle.lock() = Some(started.unwrap());
    fail(&socket);
    world.until("the error", || count(&errors) == 1);
    world.settle();
    assert_eq!(count(&errors), 1);
}

#[test]
fn regress_listener_error_ts() {
    // TL-04: on a base of a runtime; TL-10 (`disable_in_thread_error`): disabled by another thread meanwhile
    let _census = Census::begin();
    for in_thread in [false, true] {
        let mut world = threads();
        let (listener, socket) = failing_listener();
        let (errors, theirs) = counter();
        let handle: Arc<Mutex<Option<ListenerHandle>>> = Arc::default();
        let own = Arc::clone(&handle);
        let Drive::Threads { runtime, .. } = &world.drive else { unreachable!() };
        let base = runtime.bases()[0].clone();
        let (started, there) = counter();
        let kept = Arc::clone(&handle);
        base.post(move |base| {
            let started = listener.start_with(
                base,
                |_, _| panic!("nothing can be accepted"),
                move |_, _| {
                    let handle = own.lock().clone().unwrap();
                    if in_thread {
                        thread::spawn(move || handle.disable()).join().unwrap();
                    } else {
                        handle.disable();
                    }
                    theirs.fetch_add(1, Ordering::SeqCst);
                },
            );
            *kept.lock() = Some(started.unwrap());
            there.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        world.until("the start", || count(&started) == 1);
        fail(&socket);
        world.until("the error", || count(&errors) == 1);
        world.settle();
        assert_eq!(count(&errors), 1);
        handle.lock().take();
    }
}

#[test]
fn regress_listener_close_accepted_fd() {
    // TL-06: the listener is freed in its own callback
    let _census = Census::begin();
    let mut world = world();
    let (accepted, theirs) = counter();
    let handle: Arc<Mutex<Option<ListenerHandle<Pinned>>>> = Arc::default();
    let own = Arc::clone(&handle);
    let Drive::Pinned(base) = &mut world.drive else { unreachable!() };
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let started = listener.start(base, move |connection, _| {
        drop(connection);
        own.lock().take().unwrap().close()?;
        theirs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    *handle.lock() = Some(started.unwrap());
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    world.until_empty();
    assert_eq!(count(&accepted), 1);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn regress_listener_immediate_close() {
    // TL-07: two clients wait; the callback disables after the first
    let _census = Census::begin();
    let mut world = world();
    let (accepted, theirs) = counter();
    let handle: Arc<Mutex<Option<ListenerHandle<Pinned>>>> = Arc::default();
    let own = Arc::clone(&handle);
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    let Drive::Pinned(base) = &mut world.drive else { unreachable!() };
    let started = listener.start(base, move |_, _| {
        theirs.fetch_add(1, Ordering::SeqCst);
        own.lock().as_ref().unwrap().disable();
        Ok(())
    });
    *handle.lock() = Some(started.unwrap());
    world.until("the first", || count(&accepted) == 1);
    world.settle();
    assert_eq!(count(&accepted), 1);
}

#[test]
fn regress_listener_disable_in_thread() {
    // TL-09, X-05: libevent waits for the callback there, and used to deadlock
    let _census = Census::begin();
    let mut world = threads();
    let (accepted, theirs) = counter();
    let handle: Arc<Mutex<Option<ListenerHandle>>> = Arc::default();
    let own = Arc::clone(&handle);
    let Drive::Threads { runtime, .. } = &world.drive else { unreachable!() };
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let started = runtime.listen_on(listener, move |_, _| {
        let handle = own.lock().clone().unwrap();
        thread::spawn(move || handle.disable()).join().unwrap();
        theirs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    *handle.lock() = Some(started.unwrap());
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    world.until("the first", || count(&accepted) == 1);
    world.settle();
    assert_eq!(count(&accepted), 1, "it was off when the callback returned");
    handle.lock().take();
}
