//! A callback that blocks is reported, with its kind and whose it is, and holds up nobody else (F24).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::{
    BLOCKED_AFTER, Base, Blocked, Bufferevent, CallbackKind, Callbacks, Context, Id, Listener, PanicPolicy,
    Pinned, Runtime, Verdict, What,
    runtime::{Clock, holds_strand},
    testing::Census,
};
use bufferevent_sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, Ordering},
};

type Reports = Arc<Mutex<Vec<Blocked>>>;

/// Keeps what it is told of, and that nothing was held.
fn keeping(reports: &Reports) -> impl Fn(&Blocked) + Send + Sync + 'static {
    let reports = Arc::clone(reports);
    move |blocked| {
        assert!(!holds_strand());
        reports.lock().push(blocked.clone());
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "never happened: {what}");
        thread::yield_now();
    }
}

/// A door that callbacks wait at until the test opens it.
#[derive(Default)]
struct Door {
    open: Mutex<bool>,
    opened: Condvar,
    reached: AtomicBool,
}

impl Door {
    fn wait(&self) {
        self.reached.store(true, Ordering::Release);
        let mut open = self.open.lock();
        while !*open {
            self.opened.wait(&mut open);
        }
    }

    fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

fn echo(cx: &mut Context<'_>) {
    let (input, output) = cx.buffers();
    let _ = output.append(input);
}

#[test]
fn a_callback_that_blocks_is_reported_while_it_runs_and_others_go_on() {
    // F24
    let _census = Census::begin();
    for shared in [false, true] {
        let reports = Reports::default();
        let runtime =
            Runtime::builder().workers(2).on_blocked(BLOCKED_AFTER, keeping(&reports)).build().unwrap();
        let (door, id) = (Arc::new(Door::default()), Arc::new(Mutex::new(None)));
        let (blocking, mut its_peer) = UnixStream::pair().unwrap();
        let (other, mut peer) = UnixStream::pair().unwrap();
        its_peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (theirs, noted) = (Arc::clone(&door), Arc::clone(&id));
        let block = move |cx: &mut Context<'_>| {
            *noted.lock() = cx.id();
            theirs.wait();
            cx.close();
        };
        let bases = runtime.bases();
        let start = move |base: &mut Base| {
            let builder = Bufferevent::socket(blocking).handler(Callbacks::new().on_read(block));
            if shared {
                builder.threadsafe().start(base).unwrap();
            } else {
                builder.start(base).unwrap();
            }
        };
        bases[0].post(start).unwrap();
        // On the same base if that can be looked after, and else on the other.
        let start = move |base: &mut Base| {
            let builder = Bufferevent::socket(other).handler(Callbacks::new().on_read(echo));
            builder.threadsafe().start(base).unwrap();
        };
        bases[usize::from(!shared)].post(start).unwrap();
        let running = {
            let runtime = runtime.clone();
            thread::spawn(move || runtime.run())
        };
        its_peer.write_all(b"x").unwrap();
        eventually("the callback runs", || door.reached.load(Ordering::Acquire));
        eventually("it is reported", || !reports.lock().is_empty());
        let report = reports.lock()[0].clone();
        assert!(report.running && report.elapsed >= BLOCKED_AFTER, "{report:?}");
        assert_eq!((report.base, report.kind), (bases[0].id(), CallbackKind::Read));
        if !shared {
            assert_eq!(Some(Id::from(&report)), *id.lock());
        }
        for _ in 0..100 {
            peer.write_all(b"ping").unwrap();
            peer.read_exact(&mut [0; 4]).unwrap();
        }
        door.open();
        assert_eq!(its_peer.read(&mut [0]).unwrap(), 0, "it has ended");
        runtime.stop();
        running.join().unwrap().unwrap();
        // Once, and by nobody else.
        assert_eq!((reports.lock().len(), bases[0].counters().blocked.get()), (1, 1));
    }
}

#[test]
fn what_is_no_bufferevents_is_told_by_its_kind_too() {
    // F24: timers, accepts, posts, plain events and signals
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let hand = Arc::new(hand);
    let take = |millis: u64| {
        let hand = Arc::clone(&hand);
        move || {
            let _now = hand.advance(Duration::from_millis(millis));
        }
    };
    let reports = Reports::default();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    base.on_blocked(Duration::from_millis(100), keeping(&reports)).unwrap();
    let told = |base: &mut Base<Pinned>| {
        while base.turn(Some(Duration::ZERO)).unwrap() == bufferevent::Turned::Ran {}
        let told: Vec<_> =
            reports.lock().iter().map(|report| (report.kind, report.elapsed.as_millis())).collect();
        reports.lock().clear();
        told
    };
    let (once, every) = (take(110), take(120));
    base.after(Duration::ZERO, move |_| once());
    let every = base.every(Duration::from_secs(1), move |_| every());
    assert_eq!(told(&mut base), [(CallbackKind::Timer, 110)]);
    let _now = hand.advance(Duration::from_secs(1));
    assert_eq!(told(&mut base), [(CallbackKind::Timer, 120)]);
    base.cancel(every);

    let post = take(130);
    base.handle().post(move |_| post()).unwrap();
    assert_eq!(told(&mut base), [(CallbackKind::Post, 130)]);

    let (plain, signal) = (take(140), take(150));
    let event = base.user_event(What::NONE, move |_, _| plain());
    base.activate(event, What::NONE);
    assert_eq!(told(&mut base), [(CallbackKind::Plain, 140)]);
    base.signal(signal_hook::consts::SIGWINCH, move |_, _| signal()).unwrap();
    signal_hook::low_level::raise(signal_hook::consts::SIGWINCH).unwrap();
    assert_eq!(told(&mut base), [(CallbackKind::Signal, 150)]);

    let (filter, accept, report) = (take(60), take(70), take(170));
    let listener = Listener::bind("127.0.0.1:0").unwrap().filter(move |_| {
        filter();
        Verdict::Admit
    });
    let on_accept = move |_, _: &mut Base<Pinned>| {
        accept();
        Err("refused".into())
    };
    let handle = listener.start_with(&mut base, on_accept, move |_, _| report()).unwrap();
    let _peer = TcpStream::connect(handle.local_addr().unwrap()).unwrap();
    let mut of_accept = Vec::new();
    while of_accept.is_empty() {
        of_accept = told(&mut base);
    }
    assert_eq!(of_accept, [(CallbackKind::Accept, 130), (CallbackKind::Accept, 170)]);
    assert_eq!(base.counters().blocked.get(), 7);
}

#[test]
fn an_accept_that_blocks_on_the_base_it_was_sent_to_is_told_while_it_runs() {
    // F24: placed on the other base by a post, and a callback of the listener's all the same
    let _census = Census::begin();
    let reports = Reports::default();
    let runtime =
        Runtime::builder().workers(3).bases(2).on_blocked(BLOCKED_AFTER, keeping(&reports)).build().unwrap();
    let door = Arc::new(Door::default());
    let theirs = Arc::clone(&door);
    let on_accept = move |_, base: &mut Base| {
        if base.index() == 1 {
            theirs.wait();
        }
        Ok(())
    };
    let handle = runtime.listen("127.0.0.1:0", on_accept).unwrap();
    let running = {
        let runtime = runtime.clone();
        thread::spawn(move || runtime.run())
    };
    eventually("one comes to the other base", || {
        drop(TcpStream::connect(handle.local_addr().unwrap()).unwrap());
        door.reached.load(Ordering::Acquire)
    });
    // Where all is slow, those that came to the first base may be told as well.
    let other = runtime.bases()[1].id();
    let told = || reports.lock().iter().find(|report| report.base == other).cloned();
    eventually("it is reported", || told().is_some());
    let report = told().unwrap();
    assert_eq!((report.kind, report.running), (CallbackKind::Accept, true));
    door.open();
    runtime.stop();
    running.join().unwrap().unwrap();
}

#[test]
fn on_a_base_driven_by_hand_each_kind_is_reported_after_it_has_returned() {
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let hand = Arc::new(hand);
    let reports = Reports::default();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    base.on_blocked(Duration::from_millis(100), keeping(&reports)).unwrap();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let take = |millis: u64| {
        let hand = Arc::clone(&hand);
        move || {
            let _now = hand.advance(Duration::from_millis(millis));
        }
    };
    let (read, write, event, observe) = (take(100), take(200), take(300), take(150));
    let handler = Callbacks::new()
        .on_read(move |cx: &mut Context<'_, Pinned>| {
            read();
            cx.write(b"answer").unwrap();
        })
        .on_write(move |_: &mut Context<'_, Pinned>| write())
        .on_event(move |_: &mut Context<'_, Pinned>, _| {
            event();
            panic!("an end of a callback too");
        });
    let id = Bufferevent::socket(ours)
        .handler(handler)
        .on_panic(PanicPolicy::Isolate)
        .configure(move |bufferevent| {
            bufferevent.input().observe(move |_, _| observe());
        })
        .start(&mut base)
        .unwrap();
    peer.write_all(b"question").unwrap();
    let turn = |base: &mut Base<Pinned>| {
        while base.turn(Some(Duration::ZERO)).unwrap() == bufferevent::Turned::Ran {}
    };
    turn(&mut base);
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    turn(&mut base);
    let told: Vec<_> =
        reports.lock().iter().map(|report| (report.kind, report.elapsed.as_millis())).collect();
    use CallbackKind::{Event, Observer, Read, Write};
    assert_eq!(told, [(Observer, 150), (Read, 100), (Write, 200), (Event, 300)]);
    assert!(reports.lock().iter().all(|report| Id::from(report) == id && !report.running));
    assert_eq!(base.counters().blocked.get(), 4);
}
