//! Listeners, over every shape of runtime: L rows. The ported tests of libevent are in `regress_bufferevent.rs`.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Context, Event, Handler, Interest, Listener, ListenerHandle, Movable,
    Pinned, runtime::ACCEPTS_PER_RUN, testing::Census,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::harness::{Drive, Peer, World, each_driven};

/// Starts `listener` in any world; `accept` answers whether to refuse by an error.
fn listen(
    world: &mut World,
    listener: Listener,
    accept: impl Fn(&TcpStream) -> bool + Send + Sync + 'static,
) -> AnyListener {
    match &mut world.drive {
        Drive::Pinned(base) => AnyListener::Pinned(
            listener.start(base, move |accepted, _| answer(accept(&accepted.into()))).unwrap(),
        ),
        Drive::Movable(base) => AnyListener::Movable(
            listener.start(base, move |accepted, _| answer(accept(&accepted.into()))).unwrap(),
        ),
        Drive::Threads { runtime, .. } => AnyListener::Movable(
            runtime.listen_on(listener, move |accepted, _| answer(accept(&accepted.into()))).unwrap(),
        ),
    }
}

fn answer(refuse: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if refuse { Err("refused by the user".into()) } else { Ok(()) }
}

enum AnyListener {
    Pinned(ListenerHandle<Pinned>),
    Movable(ListenerHandle<Movable>),
}

impl AnyListener {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Pinned(handle) => handle.local_addr().unwrap(),
            Self::Movable(handle) => handle.local_addr().unwrap(),
        }
    }

    fn enable(&self) {
        match self {
            Self::Pinned(handle) => handle.enable().unwrap(),
            Self::Movable(handle) => handle.enable().unwrap(),
        }
    }

    fn disable(&self) {
        match self {
            Self::Pinned(handle) => handle.disable(),
            Self::Movable(handle) => handle.disable(),
        }
    }

    fn close(&self) {
        match self {
            Self::Pinned(handle) => handle.close().unwrap(),
            Self::Movable(handle) => handle.close().unwrap(),
        }
    }
}

#[test]
fn every_connection_is_accepted_also_more_than_one_run_takes() {
    // L-01, L-02, L-04: no run takes all, and none is forgotten
    each_driven(|mut world| {
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let listener = listen(&mut world, Listener::bind("127.0.0.1:0").unwrap(), move |_| {
            theirs.fetch_add(1, Ordering::Relaxed);
            false
        });
        let many = ACCEPTS_PER_RUN + 10;
        let clients: Vec<_> = (0..many).map(|_| TcpStream::connect(listener.address()).unwrap()).collect();
        world.until("all to be accepted", || count.load(Ordering::Relaxed) == many);
        drop(clients);
        world.settle();
        assert_eq!(count.load(Ordering::Relaxed), many);
    });
}

#[test]
fn a_listener_that_is_off_lets_connections_wait() {
    // L-01, L-05: from the start, and in between
    each_driven(|mut world| {
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let listener = listen(&mut world, Listener::bind("127.0.0.1:0").unwrap().disabled(), move |_| {
            theirs.fetch_add(1, Ordering::Relaxed);
            false
        });
        let _one = TcpStream::connect(listener.address()).unwrap();
        world.settle();
        assert_eq!(count.load(Ordering::Relaxed), 0);
        listener.enable();
        world.until("the one that waited", || count.load(Ordering::Relaxed) == 1);
        listener.disable();
        let _two = TcpStream::connect(listener.address()).unwrap();
        world.settle();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        listener.enable();
        world.until("the other that waited", || count.load(Ordering::Relaxed) == 2);
        let _three = TcpStream::connect(listener.address()).unwrap();
        world.until("the next", || count.load(Ordering::Relaxed) == 3);
    });
}

#[test]
fn a_listener_that_is_closed_frees_its_port() {
    // L-05
    each_driven(|mut world| {
        let listener = listen(&mut world, Listener::bind("127.0.0.1:0").unwrap(), |_| false);
        let address = listener.address();
        listener.close();
        world.until_empty();
        world.until("the port", || TcpListener::bind(address).is_ok());
    });
}

#[test]
fn an_accept_callback_that_fails_or_panics_closes_that_connection_only() {
    // L-04, F3, L-06, D16
    crate::panics::hush();
    each_driven(|mut world| {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (count, theirs) = (AtomicUsize::new(0), Arc::clone(&kept));
        let listener = listen(&mut world, Listener::bind("127.0.0.1:0").unwrap(), move |stream| {
            match count.fetch_add(1, Ordering::Relaxed) {
                0 => return true,
                1 => std::panic::panic_any(crate::panics::Meant),
                _ => theirs.lock().push(stream.try_clone().unwrap()),
            }
            false
        });
        for _ in 0..2 {
            let refused = Peer::tcp(TcpStream::connect(listener.address()).unwrap());
            world.until("it to be closed", || refused.is_ended());
        }
        world.until_panics(1);
        let taken = Peer::tcp(TcpStream::connect(listener.address()).unwrap());
        world.until("the third", || kept.lock().len() == 1);
        assert!(!taken.is_ended());
    });
}

/// Writes down on which base it was called.
struct OnBase(Arc<Mutex<Vec<usize>>>);

impl Handler for OnBase {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        self.0.lock().push(cx.base_handle().index());
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

#[test]
fn connections_are_spread_over_the_bases_and_stay_there() {
    // L-07, C-35
    let _census = Census::begin();
    let runtime = bufferevent::Runtime::builder().workers(2).bases(2).build().unwrap();
    let bases = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&bases);
    let listener = runtime
        .listen("127.0.0.1:0", move |accepted, base: &mut Base| {
            let id = Bufferevent::socket(accepted).handler(OnBase(Arc::clone(&theirs))).start(base)?;
            assert_eq!(base.bufferevent(id)?.enabled(), Interest::BOTH);
            Ok(())
        })
        .unwrap();
    let mine = runtime.clone();
    let running = std::thread::spawn(move || mine.run().unwrap());
    let mut clients: Vec<_> =
        (0..20).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    for client in &mut clients {
        std::io::Write::write_all(client, b"x").unwrap();
    }
    let mut idle = World::new(crate::harness::Shape::Pinned, Default::default(), Default::default());
    idle.until("all to be read", || bases.lock().len() >= 20);
    for index in 0..2 {
        let count = bases.lock().iter().filter(|&&base| base == index).count();
        assert!((4..=16).contains(&count), "{count} of 20 on base {index}");
    }
    drop(clients);
    runtime.shutdown(crate::harness::LIMIT).unwrap();
    running.join().unwrap();
    assert_eq!(runtime.bases().iter().map(|base| base.objects()).sum::<usize>(), 0);
}
