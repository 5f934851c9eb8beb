//! A bufferevent is one connection under the limits of its listener, until it gives up its descriptor.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    net::TcpStream,
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::{
    Bufferevent, Callbacks, Context, Event, Handle, Runtime,
    runtime::{ConnectionLimit, Listener},
    testing::Census,
};
use bufferevent_sync::Mutex;

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "never happened: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_bufferevent_that_ends_lets_the_next_connection_in() {
    // F32
    let _census = Census::begin();
    for shared in [false, true] {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let limit = ConnectionLimit::new(NonZeroUsize::new(3).unwrap());
        let handles = Arc::new(Mutex::new(Vec::<Handle>::new()));
        let mine = Arc::clone(&handles);
        let listener = Listener::bind("127.0.0.1:0").unwrap().limited_by(&limit);
        let on_accept = move |connection, base: &mut bufferevent::Base| {
            let end = |cx: &mut Context<'_>, event: Event| {
                if event.is_terminal() {
                    cx.close();
                }
            };
            let builder = Bufferevent::socket(connection).handler(Callbacks::new().on_event(end));
            if shared {
                mine.lock().push(builder.threadsafe().start(base)?);
            } else {
                builder.start(base)?;
            }
            Ok(())
        };
        let listening = runtime.listen_on(listener, on_accept).unwrap();
        let address = listening.local_addr().unwrap();
        let running = {
            let runtime = runtime.clone();
            thread::spawn(move || runtime.run())
        };
        let accepted = || runtime.bases().iter().map(|base| base.counters().accepted.get()).sum::<u64>();
        let mut peers: Vec<_> = (0..12).map(|_| TcpStream::connect(address).unwrap()).collect();
        for round in 0..3 {
            eventually("as many as may be are in", || accepted() == 3 * (round + 1));
            assert_eq!(limit.open(), 3);
            // The ends of three peers; the kernel's queue is in order.
            drop(peers.drain(..3));
        }
        eventually("all have come", || accepted() == 12);
        if shared {
            // One hands its descriptor back, which is not counted any more.
            let handle = handles.lock().last().unwrap().clone();
            let taken = handle.lock().unwrap().take_fd();
            assert!(taken.is_some());
            eventually("it is not counted", || limit.open() == 2);
        }
        drop(peers);
        eventually("none is counted", || limit.open() == 0);
        runtime.stop();
        running.join().unwrap().unwrap();
    }
}
