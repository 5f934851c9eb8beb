//! A listener in a process that has run out of descriptors. A test program of its own, since it lowers the limit.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::{ACCEPT_BACK_OFF, Base, BoxError, Census, Clock, Listener, Pinned, SelectorKind};
use common::{Signal, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Peers that wait, more than the pauses of a second turn away.
const PEERS: u64 = 200;

#[test]
fn a_shortage_of_descriptors_is_told_waited_out_and_recovered_from() {
    // F1, L-06, TL-05, X-84: libevent spins. The sockets are real, the time is turned by hand.
    let _census = Census::begin();
    let (clock, time) = Clock::manual();
    let mut base = Base::<Pinned>::with_selector(SelectorKind::Best.make().unwrap(), clock).unwrap();
    let (accepted, errors) = (Signal::new(), Signal::new());
    let (taken, told) = (Arc::clone(&accepted), Arc::clone(&errors));
    let on_error = move |error: BoxError, _: &mut Base<Pinned>| {
        let error = error.downcast::<std::io::Error>().unwrap();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
        told.raise();
    };
    let on_accept = move |_, _: &mut Base<Pinned>| {
        taken.raise();
        Ok(())
    };
    let handle = Listener::bind("127.0.0.1:0").unwrap().start_with(&mut base, on_accept, on_error).unwrap();
    let mut turns = |count: usize| {
        for _ in 0..count {
            base.turn(Some(Duration::ZERO)).unwrap();
        }
        base.counters().runs.get()
    };
    turns(1);

    // All connections first, since they need descriptors too; then the process may open no more.
    let mut peers: Vec<_> =
        (0..PEERS).map(|_| TcpStream::connect(handle.local_addr().unwrap()).unwrap()).collect();
    let limit = getrlimit(Resource::Nofile);
    let mut hoard = Vec::new();
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: limit.maximum }).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }

    let before = turns(0);
    for pause in 1..=10 {
        eventually("the shortage is told", || {
            turns(1);
            errors.count() == pause
        });
        assert_eq!(turns(5) - before, pause, "between two pauses it does not run");
        time.advance(ACCEPT_BACK_OFF);
    }
    // A run calls accept twice at most: with its spare descriptor it turns one peer away, that need not wait for nothing.
    assert!(10 * ACCEPT_BACK_OFF >= Duration::from_secs(1) && 2 * (turns(0) - before) < 50, "calls a second");
    assert_eq!(accepted.count(), 0);
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.set_nonblocking(true).unwrap();
        let turned_away = !matches!(peer.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        assert_eq!(turned_away, number < 10, "peer {number}: those that came first");
    }

    drop(hoard);
    setrlimit(Resource::Nofile, limit).unwrap();
    // The pause that is under way has passed; the rest comes in portions.
    eventually("the rest is accepted", || {
        turns(1);
        accepted.count() == PEERS - 10
    });
    assert_eq!(errors.count(), 10, "nobody is forgotten, and nobody waits for another pause");
}
