//! TLS bufferevents with real traffic: no byte is lost at a close, limits count what the wire carries, and the session goes on
//! elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Callbacks, Context, Direction, Event, FilterFn, Pinned,
    RateLimitGroup, Runtime, TokenBucketConfig,
    testing::{Census, ManualBase},
};
use bufferevent_ssl::{Acceptor, CloseMode, Connector, Identity, Tls};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

const NAME: &str = "example.org";
const LIMIT: Duration = Duration::from_secs(20);

fn sides() -> (Acceptor, Connector) {
    let identity = Identity::self_signed(&[NAME]).unwrap();
    let connector =
        Connector::builder().roots_pem(&identity.certificate_pem().unwrap()).unwrap().build().unwrap();
    (Acceptor::builder().identity(identity).build().unwrap(), connector)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn senders_that_close_at_once_lose_no_byte() {
    // T5, F7, F43, F44: over TCP, where unread tickets of the server turn a plain close into a reset
    let _census = Census::begin();
    for (mode, shared) in [(CloseMode::Notify, false), (CloseMode::Full, false), (CloseMode::Full, true)] {
        send_and_close(mode, shared);
    }
}

/// Many send, and close at once: each learns that the server has ended its side too.
fn send_and_close(mode: CloseMode, shared: bool) {
    const SENDERS: usize = 100;
    const BYTES: usize = 100_000;
    let (acceptor, connector) = sides();
    let runtime = Runtime::builder().workers(2).bases(2).build().unwrap();
    let (received, ends, closed) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::default());
    let (sum, ended) = (Arc::clone(&received), Arc::clone(&ends));
    let listener = runtime
        .listen("127.0.0.1:0", move |connection, base| {
            let (sum, ended) = (Arc::clone(&sum), Arc::clone(&ended));
            let takes = move |cx: &mut Context<'_>| {
                let len = cx.input().len();
                cx.input().drain(len).unwrap();
                sum.fetch_add(len, Relaxed);
            };
            let ends = move |cx: &mut Context<'_>, event: Event| match event {
                Event::Connected => {}
                Event::Eof => {
                    ended.fetch_add(1, Relaxed);
                    cx.close();
                }
                other => panic!("{other:?}"),
            };
            let handler = Callbacks::new().on_read(takes).on_event(ends);
            Bufferevent::socket(connection).filter(acceptor.accept()).handler(handler).start(base)?;
            Ok(())
        })
        .unwrap();
    let address = listener.local_addr().unwrap();
    for sender in 0..SENDERS {
        let closed: Arc<Mutex<Vec<(bool, usize)>>> = Arc::clone(&closed);
        let told = move |_: &mut Context<'_>, event: Event| {
            if let Event::Closed(how) = event {
                closed.lock().push((how.clean, how.unsent));
            }
        };
        let tls = connector.connect(NAME).unwrap().close_mode(mode);
        let builder = Bufferevent::detached().filter(tls);
        let builder = builder.handler(Callbacks::new().on_event(told)).report_close().configure(|sender| {
            sender.connect_to(address).unwrap();
            sender.write(&[7; BYTES]).unwrap();
            sender.close();
        });
        let base = &mut runtime.bases()[sender % 2].clone();
        match shared {
            true => drop(builder.threadsafe().start(base).unwrap()),
            false => drop(builder.start(base).unwrap()),
        }
    }
    let mine = runtime.clone();
    let running = thread::spawn(move || mine.run().unwrap());
    until("all to end", || ends.load(Relaxed) == SENDERS && closed.lock().len() == SENDERS);
    assert_eq!(received.load(Relaxed), SENDERS * BYTES);
    assert!(closed.lock().iter().all(|closed| *closed == (true, 0)));
    runtime.stop();
    running.join().unwrap();
}

#[test]
fn limits_count_what_the_wire_carries_and_are_never_passed() {
    // T10, D14, R-19 to R-21: own limit and group, set above; handshake and records included
    const RATE: u64 = 10_000;
    let _census = Census::begin();
    let tick = Duration::from_millis(100);
    let config = TokenBucketConfig::new(RATE, RATE, RATE, RATE, Some(tick)).unwrap();
    for grouped in [false, true] {
        let (acceptor, connector) = sides();
        let mut base = ManualBase::new().unwrap();
        let wire = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wire);
        let count = FilterFn::new().on_input(move |call| {
            counted.fetch_add(call.source.len(), Relaxed);
            call.pass()
        });
        let group = RateLimitGroup::with_clock(&config, base.handle().clock().clone());
        let (one, other) = UnixStream::pair().unwrap();
        let server = Bufferevent::socket(one).filter(count).filter(acceptor.accept());
        let server = server.configure(|server| server.set_input_cap(None)).start(&mut base).unwrap();
        let client = Bufferevent::socket(other).filter(connector.connect(NAME).unwrap());
        let client = match grouped {
            false => client.rate_limit(&config),
            true => client.rate_limit_group(&group),
        };
        let client = client.start(&mut base).unwrap();
        base.bufferevent(client).unwrap().write(&[7; 200_000]).unwrap();
        base.settle().unwrap();
        let sent = || wire.load(Relaxed) as u64;
        for ticks in 1..=10 {
            assert_eq!(sent(), RATE * ticks, "{grouped}");
            base.advance(tick).unwrap();
        }
        let data = base.bufferevent(server).unwrap().input().len() as u64;
        assert!(data < sent() && data + 20_000 > sent(), "{data} of {}", sent());
        let above = base.bufferevent(client).unwrap();
        assert_eq!(above.rate_limit().is_some(), !grouped);
        assert_eq!(above.underlying().unwrap().rate_limit().is_some(), !grouped);
        assert!(!grouped || group.total(Direction::Write) == sent());
    }
}

#[test]
fn a_session_that_is_taken_out_goes_on_over_the_same_connection() {
    // T-03, D19: without CLOSE_ON_FREE what is below comes back alive
    let _census = Census::begin();
    let (acceptor, connector) = sides();
    let mut base = ManualBase::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let below: Arc<Mutex<Option<Box<Builder>>>> = Arc::default();
    let back = Arc::clone(&below);
    let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
        if let Event::Closed(closed) = event {
            *back.lock() = closed.underlying;
        }
    });
    let server = Bufferevent::socket(one).filter(acceptor.accept()).start(&mut base).unwrap();
    let first = Bufferevent::socket(other).filter(connector.connect(NAME).unwrap());
    let first = first.close_on_free(false).report_close().handler(handler).start(&mut base).unwrap();
    base.settle().unwrap();
    let engine = base.bufferevent(first).unwrap().filter_mut::<Tls>().unwrap().take().unwrap();
    base.bufferevent(first).unwrap().abort();
    base.settle().unwrap();
    let below = below.lock().take().expect("it is handed back");
    let second = below.filter(Tls::new(engine)).start(&mut base).unwrap();
    base.bufferevent(second).unwrap().write(b"still here").unwrap();
    base.settle().unwrap();
    assert_eq!(*base.bufferevent(server).unwrap().input(), b"still here");
    base.bufferevent(server).unwrap().write(b"so am I").unwrap();
    base.settle().unwrap();
    assert_eq!(*base.bufferevent(second).unwrap().input(), b"so am I");
}

#[test]
fn a_quiet_close_tells_the_peer_nothing() {
    // 1.6, T4
    for mode in [CloseMode::Notify, CloseMode::Quiet] {
        let _census = Census::begin();
        let (acceptor, connector) = sides();
        let mut base = ManualBase::new().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let tells = Arc::clone(&told);
        let handler = Callbacks::<Pinned>::new().on_event(move |_: &mut Context<'_, Pinned>, event| {
            tells.lock().push(format!("{event:?}"));
        });
        Bufferevent::socket(one).filter(acceptor.accept()).handler(handler).start(&mut base).unwrap();
        let client = connector.connect(NAME).unwrap().close_mode(mode);
        let client = Bufferevent::socket(other).filter(client).start(&mut base).unwrap();
        base.settle().unwrap();
        base.bufferevent(client).unwrap().close();
        base.settle().unwrap();
        let told = told.lock();
        assert_eq!((told.len(), told[0].as_str()), (2, "Connected"), "{told:?}");
        let truncated = told[1].contains("Truncated");
        assert_eq!(
            (truncated, told[1] == "Eof"),
            (mode == CloseMode::Quiet, mode == CloseMode::Notify),
            "{told:?}"
        );
    }
}

#[test]
fn one_direction_is_ended_and_the_other_goes_on() {
    // 1.7, T-16: the notice follows all that was written before it
    let _census = Census::begin();
    let (acceptor, connector) = sides();
    let mut base = ManualBase::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let server = Bufferevent::socket(one).filter(acceptor.accept()).start(&mut base).unwrap();
    let client =
        Bufferevent::socket(other).filter(connector.connect(NAME).unwrap()).start(&mut base).unwrap();
    base.bufferevent(client).unwrap().write(&[7; 300_000]).unwrap();
    base.bufferevent(client).unwrap().shutdown(Direction::Write).unwrap();
    base.settle().unwrap();
    assert_eq!(base.bufferevent(server).unwrap().input().len(), 300_000);
    base.bufferevent(server).unwrap().write(&[8; 300_000]).unwrap();
    base.bufferevent(server).unwrap().close();
    base.settle().unwrap();
    assert_eq!(base.bufferevent(client).unwrap().input().len(), 300_000);
    assert!(base.bufferevent(server).is_err());
}
