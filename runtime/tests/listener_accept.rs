//! Listeners: rows L-01 to L-07 and libevent's listener tests under their names.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io::Read as _,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixListener},
    sync::Arc,
    thread,
    time::Duration,
};

use bufferevent_runtime::{
    ACCEPTS_PER_RUN, Accepted, Base, BoxError, Census, Clock, Error, Listener, ListenerHandle, Pinned,
    Runtime, SelectorKind, Turned,
};
use bufferevent_sync::Mutex;
use common::{Log, PATIENCE, Running, Signal, eventually};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn base() -> Base<Pinned> {
    Base::new().unwrap()
}

fn connect(handle: &ListenerHandle<impl bufferevent_runtime::Affinity>) -> TcpStream {
    TcpStream::connect(handle.local_addr().unwrap()).unwrap()
}

#[test]
fn randport() {
    // TL-01
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let start = |base: &mut Base<Pinned>, name: &'static str, count: usize| {
        let (log, mut left) = (log.clone(), count);
        let handle = Arc::new(Mutex::new(None::<ListenerHandle<Pinned>>));
        let own = Arc::clone(&handle);
        let on_accept = move |accepted: Accepted, _: &mut Base<Pinned>| {
            assert!(accepted.peer_addr().unwrap().as_socket().is_some());
            log.add(name);
            left -= 1;
            if left == 0 {
                own.lock().as_ref().unwrap().close().unwrap();
            }
            Ok(())
        };
        let started = Listener::bind("127.0.0.1:0").unwrap().start(base, on_accept).unwrap();
        *handle.lock() = Some(started.clone());
        started
    };
    let (first, second) = (start(&mut base, "first", 2), start(&mut base, "second", 1));
    assert_ne!(first.local_addr(), second.local_addr());
    assert_eq!(first.base().id(), base.id());
    let _peers = [connect(&first), connect(&first), connect(&second)];
    assert_eq!(base.run().unwrap(), Turned::Empty);
    let mut seen = log.take();
    seen.sort();
    assert_eq!(seen, ["first", "first", "second"]);
}

#[test]
fn close_accepted_fd() {
    // TL-06: the listener is closed within its own callback; the others in the queue are refused.
    let _census = Census::begin();
    let mut base = base();
    let handle = Arc::new(Mutex::new(None::<ListenerHandle<Pinned>>));
    let (own, log) = (Arc::clone(&handle), Log::default());
    let mine = log.clone();
    let started = Listener::bind("127.0.0.1:0")
        .unwrap()
        .start(&mut base, move |_, _| {
            own.lock().as_ref().unwrap().close()?;
            mine.add("accepted");
            Ok(())
        })
        .unwrap();
    *handle.lock() = Some(started.clone());
    let _peers = [connect(&started), connect(&started)];
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["accepted"]);
    assert!(TcpStream::connect(started.local_addr().unwrap()).is_err());
}

#[test]
fn immediate_close() {
    // TL-07, L-04: disabled after the first, the second waits in the queue until it is enabled, on every selector.
    let _census = Census::begin();
    for kind in [SelectorKind::Best, SelectorKind::Portable, SelectorKind::PortableWithoutEdges] {
        let mut base = Base::<Pinned>::with_selector(kind.make().unwrap(), Clock::monotonic()).unwrap();
        let handle = Arc::new(Mutex::new(None::<ListenerHandle<Pinned>>));
        let (own, accepted) = (Arc::clone(&handle), Signal::new());
        let mine = Arc::clone(&accepted);
        let started = Listener::bind("127.0.0.1:0")
            .unwrap()
            .start(&mut base, move |_, _| {
                own.lock().as_ref().unwrap().disable();
                mine.raise();
                Ok(())
            })
            .unwrap();
        *handle.lock() = Some(started.clone());
        let _peers = [connect(&started), connect(&started)];
        for round in 1..3 {
            eventually("one is accepted", || {
                base.turn(NOW).unwrap();
                accepted.count() >= round
            });
            for _ in 0..10 {
                base.turn(NOW).unwrap();
            }
            assert_eq!(accepted.count(), round, "{kind:?}");
            started.enable().unwrap();
        }
    }
}

#[test]
fn disable_in_thread() {
    // TL-09, TL-10, L-05: nobody waits for the callback that runs.
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).build().unwrap());
    let (inside, leave, accepted) = (Signal::new(), Signal::new(), Signal::new());
    let signals = [&inside, &leave, &accepted].map(Arc::clone);
    let handle = running
        .runtime
        .listen("127.0.0.1:0", move |_, _| {
            let [inside, leave, accepted] = &signals;
            inside.raise();
            leave.wait();
            accepted.raise();
            Ok(())
        })
        .unwrap();
    let _first = connect(&handle);
    inside.wait();
    let other = handle.clone();
    thread::spawn(move || other.disable()).join().unwrap();
    assert_eq!(accepted.count(), 0, "the callback runs still");
    leave.raise();
    accepted.wait();
    let _second = connect(&handle);
    handle.close().unwrap();
    eventually("it is closed", || running.runtime.bases().iter().all(|base| base.objects() == 0));
    assert!(accepted.count() <= 2);
}

#[test]
fn callbacks_are_replaced_at_any_time_by_themselves_too() {
    // L-05
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let handle = Arc::new(Mutex::new(None::<ListenerHandle<Pinned>>));
    let (own, first, second) = (Arc::clone(&handle), log.clone(), log.clone());
    let replaced = move |_: Accepted, _: &mut Base<Pinned>| {
        second.add("second");
        Err(BoxError::from("refused"))
    };
    let on_accept = move |_: Accepted, _: &mut Base<Pinned>| {
        first.add("first");
        if let Some(handle) = own.lock().take() {
            handle.set_callback(replaced.clone()).unwrap();
        }
        Ok(())
    };
    let mine = log.clone();
    let on_error = move |error: BoxError, _: &mut Base<Pinned>| mine.add(format!("first told: {error}"));
    let started = Listener::bind("127.0.0.1:0").unwrap().start_with(&mut base, on_accept, on_error).unwrap();
    *handle.lock() = Some(started.clone());
    // All wait in the queue: it is replaced between two of them.
    let _peers = [connect(&started), connect(&started)];
    eventually("both are accepted", || {
        base.turn(NOW).unwrap();
        log.count() == 3
    });
    assert_eq!(log.take(), ["first", "second", "first told: refused"]);
    let mine = log.clone();
    started.set_error_callback(move |error, _| mine.add(format!("second told: {error}"))).unwrap();
    let _peer = connect(&started);
    eventually("the third is accepted", || {
        base.turn(NOW).unwrap();
        log.count() == 2
    });
    assert_eq!(log.take(), ["second", "second told: refused"]);
    started.close().unwrap();
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert!(matches!(started.set_callback(|_, _| Ok(())), Err(Error::Closed)));
}

#[test]
fn a_callback_that_is_replaced_gets_connections_on_all_bases() {
    // L-05, L-07: by the thread that has the handle
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).bases(3).build().unwrap());
    let (never, seen, told) = (Signal::new(), Arc::new(Mutex::new(Vec::new())), Signal::new());
    let (mine, bases, errors) = (Arc::clone(&never), Arc::clone(&seen), Arc::clone(&told));
    let on_accept = move |_, _: &mut Base| {
        mine.raise();
        Ok(())
    };
    let handle = running.runtime.listen("127.0.0.1:0", on_accept).unwrap();
    handle.set_error_callback(move |_, _| errors.raise()).unwrap();
    let replaced = handle.set_callback(move |_, base| {
        bases.lock().push(base.index());
        // Load, so that the next goes elsewhere.
        base.after(Duration::from_secs(1_000), |_| {});
        Err("refused".into())
    });
    replaced.unwrap();
    assert_eq!(spread(&running, handle.local_addr().unwrap(), &seen), (3, 200));
    eventually("all errors are told", || told.count() == 200);
    assert_eq!(never.count(), 0);
}

#[test]
fn a_listener_starts_disabled_if_asked() {
    // LEV_OPT_DISABLED
    let _census = Census::begin();
    let mut base = base();
    let accepted = Signal::new();
    let mine = Arc::clone(&accepted);
    let handle = Listener::bind("127.0.0.1:0")
        .unwrap()
        .disabled()
        .start(&mut base, move |_, _| {
            mine.raise();
            Ok(())
        })
        .unwrap();
    let _peer = connect(&handle);
    for _ in 0..10 {
        base.turn(NOW).unwrap();
    }
    assert_eq!(accepted.count(), 0);
    handle.enable().unwrap();
    eventually("it is accepted", || {
        base.turn(NOW).unwrap();
        accepted.count() == 1
    });
}

#[test]
fn a_crowd_is_accepted_in_portions() {
    // L-04: libevent has no cap.
    let _census = Census::begin();
    let mut base = base();
    let accepted = Signal::new();
    let mine = Arc::clone(&accepted);
    let handle = Listener::bind("127.0.0.1:0")
        .unwrap()
        .start(&mut base, move |_, base| {
            mine.raise();
            // Each run ends its turn.
            base.break_now();
            Ok(())
        })
        .unwrap();
    let peers: Vec<_> = (0..ACCEPTS_PER_RUN + 10).map(|_| connect(&handle)).collect();
    let mut turns = 0;
    while accepted.count() < peers.len() as u64 {
        let before = accepted.count();
        base.turn(Some(PATIENCE)).unwrap();
        assert!(accepted.count() - before <= ACCEPTS_PER_RUN as u64);
        turns += usize::from(accepted.count() > before);
    }
    assert!(turns >= 2);
    assert_eq!(base.counters().accepted.get(), peers.len() as u64);
}

#[test]
fn errors_and_panics_of_callbacks_close_the_connection_and_are_told() {
    // L-06
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let (mine, mut count) = (log.clone(), 0);
    let on_accept = move |_: Accepted, _: &mut Base<Pinned>| {
        count += 1;
        match count {
            1 => Err(BoxError::from("not now")),
            2 => panic!("in the callback"),
            _ => Ok(()),
        }
    };
    let on_error = move |error: BoxError, _: &mut Base<Pinned>| {
        mine.add(error.to_string());
        panic!("in the error callback");
    };
    let handle = Listener::bind("127.0.0.1:0").unwrap().start_with(&mut base, on_accept, on_error).unwrap();
    let peers = [connect(&handle), connect(&handle), connect(&handle)];
    eventually("all are accepted", || {
        base.turn(NOW).unwrap();
        base.counters().accepted.get() == 3
    });
    assert_eq!((log.take(), base.counters().panics.get()), (vec!["not now".to_owned()], 2));
    for mut peer in peers {
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0, "closed");
    }
}

#[test]
fn error() {
    // TL-03, L-06: accepting fails for good; it is told, at intervals, until somebody closes the listener.
    let _census = Census::begin();
    let mut base = base();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = socket2::Socket::from(OwnedFd::from(socket.try_clone().unwrap()));
    let errors = Signal::new();
    let mine = Arc::clone(&errors);
    let handle = Listener::from_fd(socket)
        .unwrap()
        .start_with(&mut base, |_, _| Ok(()), move |_, _| mine.raise())
        .unwrap();
    other.shutdown(Shutdown::Both).unwrap();
    for round in 1..3 {
        eventually("an error is told", || {
            base.turn(Some(Duration::from_millis(10))).unwrap();
            errors.count() >= round
        });
    }
    let runs = base.counters().runs.get();
    assert!(runs < 50, "{runs} runs are a spin");
    handle.close().unwrap();
    assert_eq!(base.run().unwrap(), Turned::Empty);
}

#[test]
fn only_listening_sockets_are_taken_and_unusable_addresses_refused() {
    // L-01, L-02
    let _census = Census::begin();
    let invalid = |result: Result<Listener, Error>| match result {
        Err(Error::Io(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(invalid(Listener::from_fd(datagram)), std::io::ErrorKind::InvalidInput);
    let stream = TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).unwrap();
    assert_eq!(invalid(Listener::from_fd(stream)), std::io::ErrorKind::InvalidInput);
    assert_eq!(invalid(Listener::bind(&[] as &[SocketAddr])), std::io::ErrorKind::InvalidInput);
    let taken = Listener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(invalid(Listener::bind(address)), std::io::ErrorKind::AddrInUse);
    let next = Listener::bind(&[address, SocketAddr::from(([127, 0, 0, 1], 0))][..]).unwrap();
    assert_ne!(next.local_addr().unwrap(), address, "the first that can be had");
}

#[test]
fn unix_listeners_are_taken_too() {
    // TL-11
    let _census = Census::begin();
    let path = std::env::temp_dir().join(format!("bufferevent-listener-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let mut base = base();
    let handle = Listener::from_fd(listener)
        .unwrap()
        .start(&mut base, |accepted, base| {
            drop(std::os::unix::net::UnixStream::from(accepted));
            base.exit();
            Ok(())
        })
        .unwrap();
    assert_eq!(handle.local_addr(), None);
    let _peer = std::os::unix::net::UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(base.run().unwrap(), Turned::Exited);
}

/// Connects many times; answers on how many bases they were accepted, and how many there were.
fn spread(running: &Running, address: SocketAddr, seen: &Mutex<Vec<usize>>) -> (usize, usize) {
    let peers: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    eventually("all are accepted", || seen.lock().len() == peers.len());
    let mut bases = std::mem::take(&mut *seen.lock());
    let count = bases.len();
    bases.sort();
    bases.dedup();
    assert!(bases.iter().all(|&base| base < running.runtime.bases().len()));
    (bases.len(), count)
}

#[test]
fn connections_are_spread_over_the_bases() {
    // L-07: by load here, by the kernel there; in every shape.
    let _census = Census::begin();
    for (workers, bases) in [(2, 2), (2, 4), (4, 2)] {
        let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mine = Arc::clone(&seen);
        let on_accept = move |_, base: &mut Base| {
            mine.lock().push(base.index());
            // Load, so that the next goes elsewhere.
            base.after(Duration::from_secs(1_000), |_| {});
            Ok(())
        };
        let by_load = running.runtime.listen("127.0.0.1:0", on_accept.clone()).unwrap();
        assert_eq!(spread(&running, by_load.local_addr().unwrap(), &seen), (bases, 200));
        let per_base = running.runtime.listen_per_base("127.0.0.1:0", on_accept).unwrap();
        assert_eq!(per_base.len(), bases);
        let address = per_base[0].local_addr();
        for (index, handle) in per_base.iter().enumerate() {
            assert_eq!((handle.base().index(), handle.local_addr()), (index, address));
        }
        assert_eq!(spread(&running, address.unwrap(), &seen), (bases, 200));
    }
}

#[test]
fn an_address_without_reuse_is_not_shared() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).build().unwrap());
    let alone = running.runtime.listen("127.0.0.1:0", |_, _| Ok(())).unwrap();
    let answer = running.runtime.listen_per_base(alone.local_addr().unwrap(), |_, _| Ok(()));
    assert!(matches!(answer, Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::AddrInUse));
    eventually("nothing is left of it", || {
        running.runtime.bases().iter().map(bufferevent_runtime::BaseHandle::objects).sum::<usize>() == 1
    });
}
