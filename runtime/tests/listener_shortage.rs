//! A listener in a process that has run out of descriptors. A test program of its own, since it lowers the limit.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{io::Read as _, net::TcpStream, sync::Arc, time::Duration};

use bufferevent_runtime::{ACCEPT_BACK_OFF, Base, BoxError, Listener, Pinned};
use common::{PATIENCE, Signal, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_shortage_of_descriptors_is_told_waited_out_and_recovered_from() {
    // L-06, TL-05, X-84: libevent spins.
    let mut base = Base::<Pinned>::new().unwrap();
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
    base.turn(Some(Duration::ZERO)).unwrap();

    // All connections first, since they need descriptors too; then the process may open no more.
    let mut peers: Vec<_> =
        (0..4).map(|_| TcpStream::connect(handle.local_addr().unwrap()).unwrap()).collect();
    let limit = getrlimit(Resource::Nofile);
    let mut hoard = Vec::new();
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: limit.maximum }).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }

    let started = base.now();
    eventually("two shortages are told", || {
        base.turn(Some(Duration::from_millis(20))).unwrap();
        errors.count() >= 2
    });
    assert!(base.now() - started >= ACCEPT_BACK_OFF, "it paused");
    let runs = base.counters().runs.get();
    assert!(runs <= 8, "{runs} runs are a spin");
    assert_eq!(accepted.count(), 0);
    // Each time one peer was turned away, so that it need not wait for nothing.
    let mut turned_away = peers.remove(0);
    turned_away.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(turned_away.read(&mut [0]).unwrap_or(0), 0);

    drop(hoard);
    setrlimit(Resource::Nofile, limit).unwrap();
    eventually("the rest is accepted", || {
        base.turn(Some(Duration::from_millis(20))).unwrap();
        accepted.count() >= 1
    });
    assert_eq!(accepted.count() + errors.count(), 4, "nobody is forgotten");
}
