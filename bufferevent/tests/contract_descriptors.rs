//! Descriptors are the process's: these tests count them, and run out of them, in a process of their own and one by one, so
//! that the census of each compares before it with after it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "contract/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves the contract suite too")]
mod harness;
#[path = "contract/kinds.rs"]
mod kinds;

use std::{
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    sync::Arc,
};

use bufferevent::{Bufferevent, Listener, testing::Census};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use harness::{Actor, Call, Drive, Peer, Shape, World, each};

static ONE_BY_ONE: Mutex<()> = Mutex::new(());

#[test]
fn nothing_leaks() {
    // F56, C-03, C-33, D15, D19: however a bufferevent, a connect, a listener or a base ends. Each configuration has a census.
    let _alone = ONE_BY_ONE.lock();
    each(|config| {
        let mut world = config.world();
        let mut kept = Vec::new();
        for (end, close_on_free) in [(0, true), (1, true), (2, true), (0, false), (1, false)] {
            let (conn, mut peer) =
                config.start_with(&mut world, |b| b.close_on_free(close_on_free).report_close(), |_, _| {});
            world.send(&mut peer, b"unread");
            world.until_called(&conn, Call::Read, 1);
            match end {
                0 => world.close(&conn),
                1 => world.abort(&conn),
                // The base ends it.
                _ => continue,
            }
            drop(peer);
            world.until_called(&conn, Call::Closed, 1);
            let closed = conn.log.closed().unwrap();
            // CLOSE_ON_FREE has no effect on pairs.
            assert_eq!(closed.fd.is_some(), !close_on_free && config.kind.is_socket());
            kept.push(closed);
        }
        // Never started, refused, and failed.
        let (builder, _peer) = (config.kind.open)();
        drop(builder);
        let file = std::fs::File::open("/dev/null").unwrap();
        let actor = Actor::new(&world, |_, _| {});
        let refused = world.start(config.set, Bufferevent::socket(std::os::fd::OwnedFd::from(file)), actor);
        assert!(refused.is_err());
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = refusing.local_addr().unwrap();
        drop(refusing);
        for close_on_free in [true, false] {
            let actor = Actor::new(&world, |_, _| {});
            let builder = Bufferevent::connect(address).close_on_free(close_on_free).report_close();
            let conn = world.start(config.set, builder, actor).unwrap();
            world.until_called(&conn, Call::Failed(None), 1);
            world.abort(&conn);
            world.until_called(&conn, Call::Closed, 1);
            drop(conn.log.closed());
        }
    });
}

/// No descriptor is to be had as long as this lives.
struct Shortage(Rlimit);

impl Shortage {
    fn begin() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let lowest_free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        let none_left = Rlimit { current: Some(lowest_free as u64), maximum: limit.maximum };
        setrlimit(Resource::Nofile, none_left).unwrap();
        Self(limit)
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

#[test]
fn regress_listener_error_unlock() {
    // TL-05, L-06: out of descriptors. libevent calls the error callback at every pass; here the listener pauses, turns
    // the waiting peer away, and goes on when there are descriptors again.
    let _alone = ONE_BY_ONE.lock();
    let _census = Census::begin();
    let mut world = World::new(Shape::Movable, Default::default(), Default::default());
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let (accepted, errors) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (theirs, failed) = (Arc::clone(&accepted), Arc::clone(&errors));
    let Drive::Movable(base) = &mut world.drive else { unreachable!() };
    listener
        .start_with(
            base,
            move |_, _| {
                theirs.fetch_add(1, Ordering::SeqCst);
                Ok(())
            },
            move |error, _| {
                let error = error.downcast::<std::io::Error>().unwrap();
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
                failed.fetch_add(1, Ordering::SeqCst);
            },
        )
        .unwrap();
    let waiting = Peer::tcp(TcpStream::connect(address).unwrap());
    let shortage = Shortage::begin();
    world.until("the shortage", || errors.load(Ordering::SeqCst) == 1);
    world.until("the peer to be turned away", || waiting.is_ended());
    world.settle();
    assert_eq!((accepted.load(Ordering::SeqCst), errors.load(Ordering::SeqCst)), (0, 1));
    drop(shortage);
    let next = Peer::tcp(TcpStream::connect(address).unwrap());
    world.until("the pause to end", || accepted.load(Ordering::SeqCst) == 1);
    drop(next);
}
