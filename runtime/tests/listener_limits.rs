//! Limits of connections, and listeners on Unix-domain sockets.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::TcpStream,
    num::NonZeroUsize,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::{
    Accepted, Base, BoxError, Census, ConnectionLimit, Error, Listener, ListenerHandle, Pinned, Runtime,
};
use bufferevent_sync::Mutex;
use common::{Log, Running, eventually};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn most(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

/// A listener that keeps what it accepts, and logs what it is told.
fn start(base: &mut Base<Pinned>, listener: Listener) -> (ListenerHandle<Pinned>, Kept, Log) {
    let (kept, log) = (Kept::default(), Log::default());
    let (mine, told) = (Rc::clone(&kept), log.clone());
    let on_accept = move |accepted: Accepted, _: &mut Base<Pinned>| {
        mine.borrow_mut().push_back(accepted);
        Ok(())
    };
    let on_error = move |error: BoxError, _: &mut Base<Pinned>| {
        match *error.downcast::<Error>().unwrap() {
            Error::ConnectionLimit { limit } => told.add(format!("limit {limit}")),
            other => panic!("{other}"),
        };
    };
    (listener.start_with(base, on_accept, on_error).unwrap(), kept, log)
}

type Kept = Rc<RefCell<VecDeque<Accepted>>>;

fn settle(base: &mut Base<Pinned>) {
    for _ in 0..10 {
        base.turn(NOW).unwrap();
    }
}

fn connect(handle: &ListenerHandle<Pinned>) -> TcpStream {
    TcpStream::connect(handle.local_addr().unwrap()).unwrap()
}

#[test]
fn a_listener_pauses_at_its_limit_and_goes_on_when_a_connection_is_over() {
    // F32
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let listener = Listener::bind("127.0.0.1:0").unwrap().max_connections(most(2));
    let (handle, kept, log) = start(&mut base, listener);
    let _peers: Vec<_> = (0..5).map(|_| connect(&handle)).collect();
    settle(&mut base);
    assert_eq!((kept.borrow().len(), log.take()), (2, vec!["limit 2".to_owned()]));
    assert_eq!(base.counters().accept_pauses.get(), 1);
    let runs = base.counters().runs.get();
    settle(&mut base);
    assert_eq!(base.counters().runs.get(), runs, "it does not spin");

    // One is over: one more is accepted, and it pauses again.
    kept.borrow_mut().pop_front();
    settle(&mut base);
    assert_eq!((kept.borrow().len(), log.take()), (2, vec!["limit 2".to_owned()]));
    // What is taken out by conversion is no longer counted; in parts it is.
    let taken = OwnedFd::from(kept.borrow_mut().pop_front().unwrap());
    let (fd, permit) = kept.borrow_mut().pop_front().unwrap().into_parts();
    settle(&mut base);
    assert_eq!(kept.borrow().len(), 1);
    drop((taken, fd));
    settle(&mut base);
    assert_eq!(kept.borrow().len(), 1);
    drop(permit);
    settle(&mut base);
    assert_eq!(kept.borrow().len(), 2, "the last one");
    handle.close().unwrap();
    settle(&mut base);
    kept.borrow_mut().clear();
    assert!(base.is_empty());
    settle(&mut base);
}

#[test]
fn one_limit_holds_for_all_listeners_that_share_it() {
    // F32: for the process
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let limit = ConnectionLimit::new(most(3));
    let listeners: Vec<_> = (0..2)
        .map(|_| {
            let listener = Listener::bind("127.0.0.1:0").unwrap().limited_by(&limit).max_connections(most(2));
            start(&mut base, listener)
        })
        .collect();
    let _peers: Vec<_> = (0..3)
        .flat_map(|_| listeners.iter().map(|(handle, ..)| connect(handle)).collect::<Vec<_>>())
        .collect();
    settle(&mut base);
    let open = |listeners: &[(ListenerHandle<Pinned>, Kept, Log)]| {
        listeners.iter().map(|(_, kept, _)| kept.borrow().len()).collect::<Vec<_>>()
    };
    assert_eq!(open(&listeners), [2, 1], "the first has its own limit, the second found the common one");
    assert_eq!(limit.open(), 3);
    let told: Vec<_> = listeners.iter().map(|(.., log)| log.take()).collect();
    assert_eq!(told, [["limit 2"], ["limit 3"]]);
    listeners[0].1.borrow_mut().clear();
    settle(&mut base);
    assert_eq!(limit.open(), 3);
    assert_eq!(open(&listeners).iter().sum::<usize>(), 3);
    for (_, kept, _) in &listeners {
        kept.borrow_mut().clear();
    }
    settle(&mut base);
    settle(&mut base);
    for (_, kept, _) in &listeners {
        kept.borrow_mut().clear();
    }
    settle(&mut base);
    assert_eq!(limit.open(), 0, "all six came");
    assert!(ConnectionLimit::of_descriptors().limit() >= 1);
}

#[test]
fn a_paused_listener_goes_on_wherever_the_connection_ends() {
    // F32: on a runtime connections are spread, and end on any thread.
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).bases(3).build().unwrap());
    let limit = ConnectionLimit::new(most(4));
    let open = Arc::new(Mutex::new(Vec::new()));
    let mine = Arc::clone(&open);
    let listener = Listener::bind("127.0.0.1:0").unwrap().limited_by(&limit);
    let on_accept = move |accepted: Accepted, _: &mut Base| {
        mine.lock().push(accepted);
        Ok(())
    };
    let handle = running.runtime.listen_on(listener, on_accept).unwrap();
    let peers: Vec<_> = (0..40).map(|_| TcpStream::connect(handle.local_addr().unwrap()).unwrap()).collect();
    let mut over = 0;
    while over < peers.len() {
        eventually("more come", || !open.lock().is_empty());
        assert!(limit.open() <= 4);
        let ended = std::mem::take(&mut *open.lock());
        over += ended.len();
    }
    assert_eq!(over, 40);
    eventually("none is counted any more", || limit.open() == 0);
}

#[test]
fn connections_are_spread_evenly_by_load() {
    // F4: the fullest base has at most half as much again as the emptiest.
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).bases(4).build().unwrap());
    let counts = Arc::new(Mutex::new([0usize; 4]));
    let mine = Arc::clone(&counts);
    let on_accept = move |accepted: Accepted, base: &mut Base| {
        mine.lock()[base.index()] += 1;
        // What lives on a base is its load.
        base.after(Duration::from_secs(1_000), move |_| drop(accepted));
        Ok(())
    };
    let handle = running.runtime.listen("127.0.0.1:0", on_accept).unwrap();
    let _peers: Vec<_> =
        (0..1_000).map(|_| TcpStream::connect(handle.local_addr().unwrap()).unwrap()).collect();
    eventually("all are accepted", || counts.lock().iter().sum::<usize>() == 1_000);
    let counts = *counts.lock();
    let (max, min) = (*counts.iter().max().unwrap(), *counts.iter().min().unwrap());
    println!("spread: {counts:?}");
    assert!(2 * max <= 3 * min, "{counts:?}");
}

/// A path that nobody else uses, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("bufferevent-{}-{name}", std::process::id())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn reuseport_on_unix_socket() {
    // TL-11: what cannot be asked of a Unix socket is not on offer; a plain one works, a path too long is refused.
    let _census = Census::begin();
    let place = Place::new("unix");
    let mut base = Base::<Pinned>::new().unwrap();
    let (handle, kept, _) = start(&mut base, Listener::bind_unix(&place.0).unwrap());
    assert_eq!(handle.local_addr(), None);
    let mut peer = UnixStream::connect(&place.0).unwrap();
    peer.write_all(b"x").unwrap();
    settle(&mut base);
    let accepted = kept.borrow_mut().pop_front().unwrap();
    assert_eq!(UnixStream::from(accepted).read(&mut [0; 2]).unwrap(), 1);
    let too_long = "/".to_owned() + &"x".repeat(200);
    assert!(matches!(Listener::bind_unix(too_long), Err(Error::Io(_))));
}

#[test]
fn a_stale_unix_path_is_removed_only_if_nobody_listens() {
    // F64
    let _census = Census::begin();
    let place = Place::new("stale");
    let first = Listener::bind_unix(&place.0).unwrap();
    let in_use = |answer: Result<Listener, Error>| matches!(answer, Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::AddrInUse);
    assert!(in_use(Listener::bind_unix(&place.0)), "somebody listens");
    drop(first);
    assert!(place.0.exists(), "the file stays");
    let second = Listener::options().backlog(1).bind_unix(&place.0).unwrap();
    // Its queue is full: it listens all the same.
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _queued_or_not = socket.connect(&socket2::SockAddr::unix(&place.0).unwrap());
            socket
        })
        .collect();
    assert!(in_use(Listener::bind_unix(&place.0)));
    drop((second, crowd));
    std::fs::remove_file(&place.0).unwrap();
    std::fs::write(&place.0, "something of somebody's").unwrap();
    assert!(in_use(Listener::bind_unix(&place.0)), "what is no socket is not removed");
    assert_eq!(std::fs::read_to_string(&place.0).unwrap(), "something of somebody's");
}

#[test]
fn an_ipv6_listener_takes_one_family_or_both() {
    // L-03
    let _census = Census::begin();
    for only in [true, false] {
        let listener = match Listener::options().only_v6(only).bind("[::]:0") {
            Ok(listener) => listener,
            // A machine without IPv6.
            Err(Error::Io(_)) => return,
            Err(other) => panic!("{other}"),
        };
        let port = listener.local_addr().unwrap().port();
        let answer = TcpStream::connect(("127.0.0.1", port));
        assert_eq!(answer.is_ok(), !only, "{answer:?}");
    }
}
