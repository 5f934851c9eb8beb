//! Who is let in: filters, the limit for each address, and what holds for the listeners of all bases together.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    num::NonZeroUsize,
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::{
    Accepted, AddressLimit, Base, Census, ConnectionLimit, Error, Listener, Pinned, Runtime, Verdict,
};
use bufferevent_sync::Mutex;
use common::{Log, PATIENCE, Running, eventually};
use socket2::{Domain, Socket, Type};

fn most(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

/// Connects to `to` from an address of the loopback network.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::from(from), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn is_closed(peer: &mut TcpStream) -> bool {
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(peer.read(&mut [0]), Ok(0) | Err(_))
}

fn settle(base: &mut Base<Pinned>) {
    for _ in 0..10 {
        base.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn a_filter_is_asked_before_the_callback_and_what_it_refuses_is_closed() {
    // F32
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let log = Log::default();
    let (asked, told) = (log.clone(), log.clone());
    let filter = move |accepted: &Accepted| {
        let peer = accepted.peer_addr().unwrap().as_socket().unwrap();
        asked.add(format!("asked of {}", peer.ip()));
        match peer.ip().to_string().as_str() {
            "127.0.0.1" => Verdict::Admit,
            "127.0.0.2" => Verdict::Refuse,
            _ => panic!("in the filter"),
        }
    };
    let listener = Listener::bind("127.0.0.1:0").unwrap().filter(filter).max_connections(most(1));
    let handle = listener
        .start(&mut base, move |_, _| {
            told.add("accepted");
            Ok(())
        })
        .unwrap();
    let address = handle.local_addr().unwrap();
    // The limit is of one: a refusal gives its place back.
    for (last, closed) in [(2, true), (3, true), (1, true)] {
        let mut peer = connect_from([127, 0, 0, last], address);
        settle(&mut base);
        assert_eq!(is_closed(&mut peer), closed, "the callback drops what it gets, too");
    }
    assert_eq!(log.take(), ["asked of 127.0.0.2", "asked of 127.0.0.3", "asked of 127.0.0.1", "accepted"]);
    let counters = base.counters();
    assert_eq!((counters.accepted.get(), counters.refused.get(), counters.panics.get()), (1, 2, 1));
}

#[test]
fn each_address_has_a_limit_of_its_own() {
    // F32: a cap for each address
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let limit = AddressLimit::new(most(2));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mine = Arc::clone(&kept);
    let handle = Listener::bind("127.0.0.1:0")
        .unwrap()
        .filter(move |accepted| limit.verdict(accepted))
        .start(&mut base, move |accepted, _| {
            mine.lock().push(accepted);
            Ok(())
        })
        .unwrap();
    let address = handle.local_addr().unwrap();
    let mut of_one: Vec<_> = (0..3).map(|_| connect_from([127, 0, 0, 1], address)).collect();
    let _of_other: Vec<_> = (0..2).map(|_| connect_from([127, 0, 0, 2], address)).collect();
    settle(&mut base);
    assert_eq!((kept.lock().len(), base.counters().refused.get()), (4, 1), "nobody waits for a place");
    assert!(is_closed(&mut of_one[2]));
    // One of them is over.
    drop(kept.lock().remove(0));
    let _next = connect_from([127, 0, 0, 1], address);
    let mut refused = connect_from([127, 0, 0, 1], address);
    settle(&mut base);
    assert_eq!(kept.lock().len(), 4);
    assert!(is_closed(&mut refused));
}

#[test]
fn who_has_no_address_is_admitted() {
    let _census = Census::begin();
    let path = std::env::temp_dir().join(format!("bufferevent-filter-{}", std::process::id()));
    let mut base = Base::<Pinned>::new().unwrap();
    let limit = AddressLimit::new(most(1));
    let listener = Listener::bind_unix(&path).unwrap().filter(move |accepted| limit.verdict(accepted));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mine = Arc::clone(&kept);
    listener
        .start(&mut base, move |accepted, _| {
            mine.lock().push(accepted);
            Ok(())
        })
        .unwrap();
    let _peers: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
    std::fs::remove_file(&path).unwrap();
    settle(&mut base);
    assert_eq!(kept.lock().len(), 3);
}

#[test]
fn the_listeners_of_all_bases_share_their_limits_and_their_filter() {
    // F32
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).bases(4).build().unwrap());
    let limit = ConnectionLimit::new(most(5));
    let listener =
        Listener::bind_reuse_port("127.0.0.1:0").unwrap().limited_by(&limit).filter(
            |accepted| match accepted.peer_addr().unwrap().as_socket().unwrap().ip().to_string().as_str() {
                "127.0.0.1" => Verdict::Admit,
                _ => Verdict::Refuse,
            },
        );
    let (kept, told) = (Arc::new(Mutex::new(Vec::new())), Log::default());
    let (mine, log) = (Arc::clone(&kept), told.clone());
    let on_accept = move |accepted, _: &mut Base| {
        mine.lock().push(accepted);
        Ok(())
    };
    let on_error = move |error: bufferevent_runtime::BoxError, _: &mut Base| log.add(error.to_string());
    let handles = running.runtime.listen_per_base_with(listener, on_accept, on_error).unwrap();
    assert_eq!(handles.len(), 4);
    let address = handles[0].local_addr().unwrap();
    let mut refused: Vec<_> = (0..20).map(|_| connect_from([127, 0, 0, 9], address)).collect();
    assert!(refused.iter_mut().all(is_closed));
    let peers: Vec<_> = (0..30).map(|_| connect_from([127, 0, 0, 1], address)).collect();
    let mut over = 0;
    while over < peers.len() {
        eventually("more come", || !kept.lock().is_empty());
        assert!(limit.open() <= 5);
        over += std::mem::take(&mut *kept.lock()).len();
    }
    eventually("none is counted any more", || limit.open() == 0);
    assert!(told.count() > 0, "listeners paused, and said so");
    let refusals = |running: &Running| -> u64 {
        running.runtime.bases().iter().map(|base| base.counters().refused.get()).sum()
    };
    assert_eq!(refusals(&running), 20);
}

#[test]
fn an_address_that_is_not_shared_is_not_listened_on_by_each_base() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).build().unwrap());
    let alone = Listener::bind("127.0.0.1:0").unwrap();
    let answer = running.runtime.listen_per_base_with(alone, |_, _| Ok(()), |_, _| {});
    assert!(matches!(answer, Err(Error::Unsupported(_))), "{answer:?}");
}
