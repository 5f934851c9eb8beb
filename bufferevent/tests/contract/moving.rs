//! C-37, K-17, C-35, X-80, X-81: a live bufferevent moves to another base while data flows, whole or not at all.

use std::{
    io,
    net::TcpListener,
    os::fd::AsFd as _,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bufferevent::{
    Base, BaseExt as _, BaseHandle, Bufferevent, Closed, Direction, Error, Interest, Movable, Moving, Pinned,
    Placement, Query, Reply, Resolve, Result, Runtime, Target, Trigger,
    runtime::{Clock, ManualClock, SelectorKind},
    testing::Census,
};
use bufferevent_sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use rustix::event::epoll;

use crate::{
    harness::{Actor, Call, Conn, Cx, Kind, LIMIT, Peer, SETS, Set, Who, launch, pattern, turn_peers},
    kinds::KINDS,
};

const NOW: Option<Duration> = Some(Duration::ZERO);

// ---- the ground that bufferevents move on ----

/// Several bases that turn by themselves.
struct Ground {
    bases: Vec<BaseHandle>,
    running: Option<Running>,
}

enum Running {
    Runtime(Runtime, JoinHandle<()>),
    Threads(Arc<AtomicBool>, Vec<JoinHandle<()>>),
}

/// Who turns the bases.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Runtime {
        workers: usize,
        bases: usize,
    },
    /// Each is driven by hand, on a thread of its own: two pools.
    Threads,
}

const LIES: [(Lie, SelectorKind); 6] = [
    (Lie::Runtime { workers: 2, bases: 2 }, SelectorKind::Best),
    (Lie::Runtime { workers: 2, bases: 2 }, SelectorKind::PortableWithoutEdges),
    (Lie::Runtime { workers: 3, bases: 3 }, SelectorKind::Portable),
    (Lie::Runtime { workers: 1, bases: 2 }, SelectorKind::Best),
    (Lie::Threads, SelectorKind::Best),
    (Lie::Threads, SelectorKind::Portable),
];

impl Ground {
    fn new(lie: Lie, selector: SelectorKind) -> Self {
        match lie {
            Lie::Runtime { workers, bases } => {
                let runtime =
                    Runtime::builder().workers(workers).bases(bases).selector(selector).build().unwrap();
                let mine = runtime.clone();
                let thread = thread::spawn(move || mine.run().unwrap());
                Self { bases: runtime.bases(), running: Some(Running::Runtime(runtime, thread)) }
            }
            Lie::Threads => {
                let stop = Arc::new(AtomicBool::new(false));
                let (mut bases, mut threads) = (Vec::new(), Vec::new());
                for _ in 0..2 {
                    let mut base =
                        Base::<Movable>::with_selector(selector.make().unwrap(), Clock::monotonic()).unwrap();
                    bases.push(base.handle());
                    let stop = Arc::clone(&stop);
                    threads.push(thread::spawn(move || {
                        while !stop.load(Ordering::Acquire) {
                            base.turn(Some(Duration::from_millis(20))).unwrap();
                        }
                    }));
                }
                Self { bases, running: Some(Running::Threads(stop, threads)) }
            }
        }
    }

    fn start(
        &self,
        config: Moved,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> (Conn, Peer) {
        let (builder, peer) = (config.kind.open)();
        let builder = builder.report_close();
        let conn =
            launch(config.set, builder, Actor::alone(script), &mut self.bases[0].clone(), None).unwrap();
        (conn, peer)
    }

    /// Runs `f` on a base and waits for what it answers.
    fn ask<R: Send + 'static>(&self, base: u64, f: impl FnOnce(&mut Base) -> R + Send + 'static) -> R {
        let answer = Arc::new((Mutex::new(None), Condvar::new()));
        let theirs = Arc::clone(&answer);
        let base = self.bases.iter().find(|handle| handle.id() == base).unwrap();
        base.post(move |base| {
            *theirs.0.lock() = Some(f(base));
            theirs.1.notify_all();
        })
        .unwrap();
        let mut locked = answer.0.lock();
        while locked.is_none() {
            assert!(!answer.1.wait_for(&mut locked, LIMIT).timed_out(), "no answer");
        }
        locked.take().unwrap()
    }

    /// Moves it from outside of its callbacks; `Closed` also while it is on its way.
    fn set_base(&self, conn: &mut Conn, to: &BaseHandle) -> Result<()> {
        match &mut conn.who {
            Who::Shared(handle) => handle.lock()?.set_base(to),
            Who::Confined(id) => {
                let (old, target) = (*id, to.clone());
                *id = self.ask(base_of(old), move |base| base.set_base(old, &target))?;
                Ok(())
            }
        }
    }

    fn with<R: Send + 'static>(
        &self,
        conn: &Conn,
        f: impl FnOnce(&mut Bufferevent) -> R + Send + 'static,
    ) -> Result<R> {
        match &conn.who {
            Who::Shared(handle) => Ok(f(&mut handle.lock()?)),
            Who::Confined(id) => {
                let id = *id;
                self.ask(base_of(id), move |base| base.bufferevent(id).map(f))
            }
        }
    }

    fn objects(&self) -> Vec<usize> {
        self.bases.iter().map(BaseHandle::objects).collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        match self.running.take() {
            Some(Running::Runtime(runtime, thread)) => {
                runtime.stop();
                let ended = thread.join();
                assert!(thread::panicking() || ended.is_ok(), "a worker panicked");
            }
            Some(Running::Threads(stop, threads)) => {
                stop.swap(true, Ordering::AcqRel);
                for thread in threads {
                    let ended = thread.join();
                    assert!(thread::panicking() || ended.is_ok(), "a base panicked");
                }
            }
            None => {}
        }
    }
}

/// One way to run a body.
#[derive(Clone, Copy, Debug)]
struct Moved {
    kind: Kind,
    set: Set,
}

fn each(body: impl Fn(Moved, Ground)) {
    for kind in KINDS {
        for set in SETS {
            for (lie, selector) in LIES {
                let config = Moved { kind, set };
                let _census = Census::begin();
                let _named = Named((config, lie, selector));
                body(config, Ground::new(lie, selector));
            }
        }
    }
}

/// Names what a failing test ran with.
struct Named<T: std::fmt::Debug>(T);

impl<T: std::fmt::Debug> Drop for Named<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with {:?}", self.0);
        }
    }
}

fn base_of(id: bufferevent::Id) -> u64 {
    id.base()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        turn_peers();
        thread::sleep(Duration::from_micros(200));
    }
}

/// Writes what the socket takes; answers how much.
fn give(peer: &mut Peer, data: &[u8]) -> usize {
    match peer.write(data) {
        Ok(n) => n,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("the peer cannot send: {error}"),
    }
}

fn taking(cx: &mut Cx<'_, '_>, call: &Call) {
    if *call == Call::Read {
        cx.take();
    }
}

// ---- while data flows ----

#[test]
fn what_arrives_while_it_moves_is_read_once_and_in_order() {
    // C-37, X-80
    each(|config, ground| {
        let (mut conn, mut peer) = ground.start(config, taking);
        let data = pattern(150_000);
        let (mut sent, mut hops) = (0, 0);
        while sent < data.len() {
            let most = (sent + 1 + hops * 997 % 9_000).min(data.len());
            sent += give(&mut peer, &data[sent..most]);
            hops += 1;
            ground.set_base(&mut conn, &ground.bases[hops % ground.bases.len()]).unwrap();
        }
        until("the input", || conn.log.data_len() == data.len());
        assert_eq!(conn.log.data(), data);
        peer.shutdown_write();
        until("the end", || conn.log.has(Call::Eof));
        assert_eq!(conn.log.count(Call::Eof), 1);
        until("one object", || ground.objects().iter().sum::<usize>() == 1);
        assert_eq!(ground.objects()[hops % ground.bases.len()], 1, "it counts where it lives");
    });
}

#[test]
fn one_whose_base_is_not_turned_goes_on_where_it_moves_to() {
    // C-37, protocol 10: its first run, or the news of its descriptor, lies with a base that nobody turns
    let _census = Census::begin();
    for (kind, set) in KINDS.into_iter().flat_map(|kind| SETS.map(|set| (kind, set))) {
        for turned in [false, true] {
            let [mut one, mut other] =
                [(), ()].map(|()| Base::<Movable>::with_clock(Clock::monotonic()).unwrap());
            if !set.is_shared() {
                continue;
            }
            let (builder, mut peer) = (kind.open)();
            let conn = launch(set, builder, Actor::alone(taking), &mut one.handle(), None).unwrap();
            if turned {
                one.turn(NOW).unwrap();
                assert_eq!(give(&mut peer, b"for the one, "), 13);
                one.repoll().unwrap();
            }
            conn.handle().lock().unwrap().set_base(&other.handle()).unwrap();
            assert_eq!(give(&mut peer, b"for the other"), 13);
            let expected: &[u8] = if turned { b"for the one, for the other" } else { b"for the other" };
            until("the input", || {
                other.turn(NOW).unwrap();
                conn.log.data_len() == expected.len()
            });
            assert_eq!(conn.log.data(), expected);
            conn.handle().close();
            drop(peer);
            until("the end", || {
                other.turn(NOW).unwrap();
                other.is_empty()
            });
        }
    }
}

#[test]
fn what_is_written_while_it_moves_is_sent_once_and_in_order() {
    each(|config, ground| {
        let (mut conn, mut peer) = ground.start(config, taking);
        let data = pattern(600_000);
        let (mut got, mut hops) = (Vec::new(), 0);
        for piece in data.chunks(20_000) {
            let piece = piece.to_vec();
            ground.with(&conn, move |bufferevent| bufferevent.write(&piece).unwrap()).unwrap();
            hops += 1;
            ground.set_base(&mut conn, &ground.bases[hops % ground.bases.len()]).unwrap();
            assert!(!peer.read_some(15_000, &mut got).unwrap());
        }
        until("the output", || {
            assert!(!peer.read_some(usize::MAX, &mut got).unwrap());
            got.len() >= data.len()
        });
        assert_eq!(got, data);
    });
}

#[test]
fn one_that_moves_in_each_of_its_callbacks_echoes_all() {
    each(|config, ground| {
        let bases = ground.bases.clone();
        let (elsewhere, hops) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let wrong = Arc::clone(&elsewhere);
        let here = Mutex::new(bases[0].id());
        let script = move |cx: &mut Cx<'_, '_>, call: &Call| {
            if cx.base_id() != *here.lock() {
                wrong.fetch_add(1, Ordering::AcqRel);
            }
            if *call == Call::Read {
                let (input, output) = cx.buffers();
                output.append(input).unwrap();
                let hop = hops.fetch_add(1, Ordering::AcqRel) + 1;
                let target = &bases[hop % bases.len()];
                cx.set_base(target).unwrap();
                *here.lock() = target.id();
                if let Some(id) = cx.id() {
                    assert_eq!(id.base(), target.id());
                }
            }
        };
        let (conn, mut peer) = ground.start(config, script);
        let data = pattern(60_000);
        let (mut sent, mut got) = (0, Vec::new());
        until("the echo", || {
            sent += give(&mut peer, &data[sent..(sent + 700).min(data.len())]);
            assert!(!peer.read_some(usize::MAX, &mut got).unwrap());
            got.len() >= data.len()
        });
        assert_eq!(got, data);
        assert_eq!(elsewhere.load(Ordering::Acquire), 0, "a callback on a base that it had left");
        drop(conn);
    });
}

#[test]
fn callbacks_that_are_due_come_on_the_new_base_once_and_in_order() {
    // D1, D17
    each(|config, ground| {
        let (mut conn, peer) = ground.start(config, |_, _| {});
        let last = ground.bases.last().unwrap().clone();
        for round in 0..20 {
            let target = if round % 2 == 0 { &last } else { &ground.bases[0] };
            ground
                .with(&conn, move |bufferevent| {
                    bufferevent.trigger_event(2 * round, Trigger::PLAIN);
                    bufferevent.trigger_event(2 * round + 1, Trigger::DEFER);
                })
                .unwrap();
            ground.set_base(&mut conn, target).unwrap();
            ground
                .with(&conn, move |bufferevent| bufferevent.trigger_event(1_000 + round, Trigger::PLAIN))
                .unwrap();
            until("the callbacks", || {
                conn.log.has(Call::User(1_000 + round)) && conn.log.has(Call::User(2 * round + 1))
            });
        }
        let told: Vec<_> = conn.log.calls();
        let of = |wanted: fn(u16) -> bool| -> Vec<u16> {
            let bits =
                told.iter().filter_map(|call| if let Call::User(bits) = call { Some(*bits) } else { None });
            bits.filter(|bits| wanted(*bits)).collect()
        };
        assert_eq!(of(|bits| bits < 1_000), (0..40).collect::<Vec<_>>(), "{told:?}");
        assert_eq!(of(|bits| bits >= 1_000), (1_000..1_020).collect::<Vec<_>>());
        drop(peer);
    });
}

#[test]
fn a_close_and_a_move_come_one_after_the_other_whoever_is_first() {
    each(|config, ground| {
        for rounds in 0..4 {
            let (mut conn, mut peer) = ground.start(config, taking);
            let target = ground.bases.last().unwrap();
            let written = ground.with(&conn, |bufferevent| bufferevent.write(b"last words").map(drop));
            written.unwrap().unwrap();
            if rounds % 2 == 0 {
                ground.set_base(&mut conn, target).unwrap();
                ground.with(&conn, |bufferevent| bufferevent.close()).unwrap();
            } else {
                match &conn.who {
                    Who::Shared(handle) => handle.close(),
                    Who::Confined(_) => ground.with(&conn, |bufferevent| bufferevent.close()).unwrap(),
                }
                assert!(matches!(ground.set_base(&mut conn, target), Err(Error::Closed)));
            }
            let mut got = Vec::new();
            until("the end", || peer.read_some(usize::MAX, &mut got).unwrap());
            assert_eq!(got, b"last words");
            drop(peer);
            until("the last callback", || conn.log.has(Call::Closed));
            assert_eq!(conn.log.count(Call::Closed), 1);
        }
        until("nothing is left", || ground.objects().iter().all(|&objects| objects == 0));
    });
}

#[test]
fn one_that_connects_moves_and_is_connected_once() {
    // K-10, D5
    each(|config, ground| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = ground.bases.last().unwrap();
        let builder = Bufferevent::connect(listener.local_addr().unwrap());
        let actor = Actor::alone(|_, _| {});
        let mut conn = launch(config.set, builder, actor, &mut ground.bases[0].clone(), None).unwrap();
        ground.set_base(&mut conn, target).unwrap();
        until("the connection", || conn.log.has(Call::Connected));
        let _accepted = listener.accept().unwrap();
        ground.with(&conn, |bufferevent| assert!(bufferevent.is_connected())).unwrap();
        assert_eq!(conn.log.count(Call::Connected), 1);
    });
}

#[test]
fn one_that_is_busy_moves_before_its_next_callback_and_its_caller_does_not_wait() {
    let _census = Census::begin();
    for (lie, selector) in LIES {
        for set in SETS.into_iter().filter(|set| set.is_shared()) {
            let ground = Ground::new(lie, selector);
            let config = Moved { kind: KINDS[0], set };
            let _named = Named((config, lie, selector));
            let (entered, leave) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let (theirs, go_on) = (Arc::clone(&entered), Arc::clone(&leave));
            let ids = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&ids);
            let (conn, _peer) = ground.start(config, move |cx, call| {
                seen.lock().push(cx.base_id());
                if *call == Call::User(1) {
                    theirs.swap(true, Ordering::AcqRel);
                    until("the word to go on", || go_on.load(Ordering::Acquire));
                }
            });
            let target = ground.bases.last().unwrap();
            conn.handle().trigger_event(1, Trigger::PLAIN).unwrap();
            until("the callback", || entered.load(Ordering::Acquire));
            assert_eq!(conn.handle().set_base(target).unwrap(), Moving::Later);
            conn.handle().trigger_event(2, Trigger::PLAIN).unwrap();
            leave.swap(true, Ordering::AcqRel);
            until("the next callback", || ids.lock().len() == 2);
            assert_eq!(ids.lock()[..], [ground.bases[0].id(), target.id()]);
            assert_eq!(conn.handle().base().id(), target.id());
            // One that is idle moves at once.
            until("it is idle", || matches!(conn.handle().try_lock(), Ok(Some(_))));
            until("it moves", || conn.handle().set_base(&ground.bases[0]).unwrap() == Moving::Done);
            assert_eq!(conn.handle().base().id(), ground.bases[0].id());
        }
    }
}

// ---- two bases, turned by hand ----

struct Hands {
    one: Base<Movable>,
    other: Base<Movable>,
    hand: ManualClock,
}

impl Hands {
    fn new(selector: SelectorKind) -> Self {
        let (clock, hand) = Clock::manual();
        let make = || Base::with_selector(selector.make().unwrap(), clock.clone()).unwrap();
        Self { one: make(), other: make(), hand }
    }

    fn start(
        &mut self,
        kind: Kind,
        set: Set,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> (Conn, Peer) {
        let (builder, peer) = (kind.open)();
        let conn = launch(set, builder.report_close(), Actor::alone(script), &mut self.one, None).unwrap();
        turn(&mut self.one);
        (conn, peer)
    }

    /// Moves it from the first base to the second.
    fn move_over(&mut self, conn: &mut Conn) -> Result<()> {
        let target = self.other.handle();
        self.move_to(conn, &target)
    }

    fn move_to(&mut self, conn: &mut Conn, target: &BaseHandle) -> Result<()> {
        match &mut conn.who {
            Who::Shared(handle) => handle.lock()?.set_base(target),
            Who::Confined(id) => {
                *id = self.one.set_base(*id, target)?;
                Ok(())
            }
        }
    }
}

fn turn(base: &mut Base<Movable>) {
    for _ in 0..6 {
        base.turn(NOW).unwrap();
    }
}

fn each_by_hand(body: impl Fn(Kind, Set, Hands)) {
    for kind in KINDS {
        for set in SETS {
            for selector in [SelectorKind::Best, SelectorKind::Portable, SelectorKind::PortableWithoutEdges] {
                let _census = Census::begin();
                let _named = Named((kind, set, selector));
                body(kind, set, Hands::new(selector));
            }
        }
    }
}

#[test]
fn what_the_new_selector_reports_before_it_has_arrived_is_not_lost() {
    each_by_hand(|kind, set, mut hands| {
        let (mut conn, mut peer) = hands.start(kind, set, taking);
        hands.move_over(&mut conn).unwrap();
        assert_eq!(give(&mut peer, b"data and the end"), 16);
        peer.shutdown_write();
        // The turn polls before it looks at what was posted: the base knows nobody by that token.
        let before = hands.other.counters().stale.get();
        hands.other.turn(NOW).unwrap();
        assert!(hands.other.counters().stale.get() > before || !kind.is_over_socket());
        turn(&mut hands.other);
        assert_eq!(conn.log.data(), b"data and the end");
        assert_eq!(conn.log.count(Call::Eof), 1);
        turn(&mut hands.one);
        assert_eq!((hands.one.len(), hands.other.len()), (0, 1));
    });
}

#[test]
fn nothing_of_it_runs_on_the_base_that_it_has_left() {
    // D18: also one that is placed on its base.
    let _census = Census::begin();
    for placed in [false, true] {
        each_by_hand(|kind, set, mut hands| {
            let (builder, mut peer) = (kind.open)();
            let (mut conn, log) = match (placed, set) {
                (true, Set::Shared) => {
                    let actor = Actor::alone(taking);
                    let log = actor.log.clone();
                    let builder = builder.handler(actor).threadsafe().placement(Placement::Base);
                    let handle = builder.start(&mut hands.one).unwrap();
                    (Conn::of(Who::Shared(handle), &log), log)
                }
                _ => {
                    let conn = launch(set, builder, Actor::alone(taking), &mut hands.one, None).unwrap();
                    let log = conn.log.clone();
                    (conn, log)
                }
            };
            turn(&mut hands.one);
            // An edge of the old base that nobody has looked at yet.
            assert_eq!(give(&mut peer, b"early"), 5);
            hands.move_over(&mut conn).unwrap();
            assert_eq!(give(&mut peer, b" and late"), 9);
            turn(&mut hands.one);
            assert_eq!(log.calls(), []);
            turn(&mut hands.other);
            assert_eq!(log.data(), b"early and late");
            drop(hands.one);
            assert_eq!(give(&mut peer, b"!"), 1);
            turn(&mut hands.other);
            assert_eq!(log.data(), b"early and late!");
        });
    }
}

#[test]
fn an_old_id_is_closed_and_the_new_one_is_good() {
    let _census = Census::begin();
    let mut hands = Hands::new(SelectorKind::Best);
    let (mut conn, _peer) = hands.start(KINDS[0], Set::Confined, taking);
    let Who::Confined(old) = conn.who else { unreachable!() };
    hands.move_over(&mut conn).unwrap();
    let Who::Confined(new) = conn.who else { unreachable!() };
    assert!(matches!(hands.one.bufferevent(old), Err(Error::Closed)));
    assert!(matches!(hands.one.set_base(old, &hands.other.handle()), Err(Error::Closed)));
    // On its way it answers nothing.
    assert!(matches!(hands.other.bufferevent(new), Err(Error::Closed)));
    turn(&mut hands.other);
    assert!(hands.other.bufferevent(new).unwrap().is_connected());
    // To where it is: nothing changes.
    let here = hands.other.handle();
    assert_eq!(hands.other.set_base(new, &here).unwrap(), new);
}

#[test]
fn one_may_think_better_of_it_in_the_same_callback() {
    let _census = Census::begin();
    for set in SETS {
        let mut hands = Hands::new(SelectorKind::Best);
        let (there, here) = (hands.other.handle(), hands.one.handle());
        let (mut conn, mut peer) = hands.start(KINDS[0], set, move |cx, call| {
            if *call == Call::User(1) {
                cx.set_base(&there).unwrap();
                cx.set_base(&here).unwrap();
                assert_eq!(cx.base_id(), here.id());
            }
            taking(cx, call);
        });
        match &mut conn.who {
            Who::Shared(handle) => handle.trigger_event(1, Trigger::PLAIN).unwrap(),
            Who::Confined(id) => hands.one.bufferevent(*id).unwrap().trigger_event(1, Trigger::PLAIN),
        }
        for _ in 0..3 {
            turn(&mut hands.one);
            turn(&mut hands.other);
        }
        assert!(conn.log.has(Call::User(1)));
        assert_eq!((hands.one.len(), hands.other.len(), hands.other.handle().objects()), (1, 0, 0));
        assert_eq!(give(&mut peer, b"still here"), 10);
        turn(&mut hands.one);
        assert_eq!(conn.log.data(), b"still here");
    }
}

// ---- refused ----

#[test]
fn a_move_that_fails_changes_nothing() {
    // libevent stores the new base first, and fails then.
    let _census = Census::begin();
    for kind in KINDS.into_iter().filter(Kind::is_socket) {
        for set in SETS {
            let _named = Named((kind, set));
            let mut hands = Hands::new(SelectorKind::Best);
            let (mut conn, mut peer) = hands.start(kind, set, taking);
            // The selector of the other base has the descriptor already, as far as it knows.
            let who = conn.who.clone();
            let add = |hands: &mut Hands, add: bool| {
                let selector = hands.other.handle();
                let selector = selector.selector().as_fd();
                let fd = |fd: std::os::fd::BorrowedFd<'_>| match add {
                    true => epoll::add(selector, fd, epoll::EventData::new_u64(7), epoll::EventFlags::ET),
                    false => epoll::delete(selector, fd),
                };
                match &who {
                    Who::Shared(handle) => fd(handle.lock().unwrap().fd().unwrap()),
                    Who::Confined(id) => fd(hands.one.bufferevent(*id).unwrap().fd().unwrap()),
                }
                .unwrap();
            };
            add(&mut hands, true);
            let before = format!("{:?}", conn.who);
            let refused = hands.move_over(&mut conn.clone());
            assert!(
                matches!(&refused, Err(Error::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists)
            );
            let elsewhere = Base::<Movable>::with_clock(Clock::manual().0).unwrap().handle();
            let refused = hands.move_to(&mut conn, &elsewhere);
            assert!(matches!(refused, Err(Error::Closed)), "that base is gone: {refused:?}");
            let elsewhere = Base::<Movable>::with_clock(Clock::manual().0).unwrap();
            assert!(matches!(hands.move_to(&mut conn, &elsewhere.handle()), Err(Error::Runtime(_))));
            turn(&mut hands.other);
            assert_eq!((hands.other.len(), hands.other.handle().objects(), elsewhere.len()), (0, 0, 0));
            assert_eq!((hands.one.len(), hands.one.handle().objects()), (1, 1));
            assert_eq!(before, format!("{:?}", conn.who));
            assert_eq!(give(&mut peer, b"as before"), 9);
            turn(&mut hands.one);
            assert_eq!(conn.log.data(), b"as before");
            // And it can still move.
            add(&mut hands, false);
            hands.move_over(&mut conn).unwrap();
            assert_eq!(give(&mut peer, b", and after"), 11);
            turn(&mut hands.other);
            assert_eq!(conn.log.data(), b"as before, and after");
        }
    }
}

#[test]
fn what_is_pinned_stays_unless_it_has_a_strand_of_its_own() {
    let _census = Census::begin();
    let mut pinned = Base::<Pinned>::new().unwrap();
    let mut movable = Base::<Movable>::with_clock(Clock::monotonic()).unwrap();
    let (builder, _peer) = (KINDS[0].open)();
    let id = builder.start(&mut pinned).unwrap();
    let refused = pinned.set_base(id, &movable.handle());
    assert!(
        matches!(refused, Err(Error::Runtime(bufferevent::runtime::Error::WrongAffinity))),
        "{refused:?}"
    );
    assert!(pinned.bufferevent(id).is_ok());
    let (builder, _peer) = (KINDS[0].open)();
    let id = builder.start(&mut movable).unwrap();
    let refused = movable.set_base(id, &pinned.handle().as_movable());
    assert!(
        matches!(refused, Err(Error::Runtime(bufferevent::runtime::Error::WrongAffinity))),
        "{refused:?}"
    );
    assert!(movable.bufferevent(id).is_ok());
    let actor = Actor::alone(taking);
    let (builder, mut peer) = (KINDS[0].open)();
    let log = actor.log.clone();
    let handle = builder.handler(actor).threadsafe().start(&mut movable).unwrap();
    turn(&mut movable);
    handle.lock().unwrap().set_base(&pinned.handle().as_movable()).unwrap();
    assert_eq!(give(&mut peer, b"on the pinned one"), 17);
    for _ in 0..4 {
        pinned.turn(NOW).unwrap();
    }
    assert_eq!(log.data(), b"on the pinned one");
    assert_eq!(handle.base().id(), pinned.id());
}

// ---- the end ----

#[test]
fn a_base_that_closes_closes_what_moves_to_it() {
    each_by_hand(|kind, set, mut hands| {
        let (mut conn, mut peer) = hands.start(kind, set, |_, _| {});
        hands.other.close_all();
        hands.move_over(&mut conn).unwrap();
        turn(&mut hands.other);
        let mut got = Vec::new();
        assert!(peer.read_some(usize::MAX, &mut got).unwrap(), "our side is ended");
        drop(peer);
        turn(&mut hands.other);
        turn(&mut hands.one);
        assert_eq!(conn.log.calls(), [Call::Closed]);
        assert_eq!((hands.one.len(), hands.other.len()), (0, 0));
    });
}

#[test]
fn one_that_goes_on_in_a_drain_moves_and_is_told_by_the_first_base_that_drains_alone() {
    for first in [true, false] {
        each_by_hand(|kind, set, mut hands| {
            let (builder, _peer) = (kind.open)();
            let actor = Actor::alone(|_, _| {}).going_on();
            let mut conn = launch(set, builder, actor, &mut hands.one, None).unwrap();
            turn(&mut hands.one);
            if first {
                hands.one.close_all();
                turn(&mut hands.one);
                assert_eq!(conn.log.calls(), [Call::Drain]);
            }
            hands.move_over(&mut conn).unwrap();
            turn(&mut hands.one);
            turn(&mut hands.other);
            assert_eq!(conn.log.count(Call::Drain), usize::from(first));
            hands.other.close_all();
            turn(&mut hands.other);
            assert_eq!(conn.log.calls(), [Call::Drain]);
        });
    }
}

#[test]
fn one_that_has_moved_ends_with_its_new_base_and_not_with_its_old_one() {
    let _census = Census::begin();
    for turns in [0, 1] {
        each_by_hand(|kind, set, mut hands| {
            let (mut conn, mut peer) = hands.start(kind, set, taking);
            hands.move_over(&mut conn).unwrap();
            for _ in 0..turns {
                hands.other.turn(NOW).unwrap();
            }
            drop(hands.one);
            assert!(!peer.is_ended());
            assert_eq!(give(&mut peer, b"alive"), 5);
            turn(&mut hands.other);
            assert_eq!(conn.log.data(), b"alive");
            drop(hands.other);
            until("the end", || peer.is_ended());
        });
    }
    // On its way.
    each_by_hand(|kind, set, mut hands| {
        let (mut conn, peer) = hands.start(kind, set, taking);
        hands.move_over(&mut conn).unwrap();
        drop(hands.other);
        until("the end", || peer.is_ended());
        if let Who::Shared(handle) = &conn.who {
            assert!(matches!(handle.close_and_wait(), Ok(Closed { .. })));
        }
        turn(&mut hands.one);
        assert_eq!(hands.one.len(), 0);
    });
}

#[test]
fn a_timeout_that_runs_goes_along_and_fires_once() {
    // C-29, D6
    const T: Duration = Duration::from_secs(1);
    each_by_hand(|kind, set, mut hands| {
        let (builder, mut peer) = (kind.open)();
        let builder = builder.timeouts(Some(T), None);
        let mut conn = launch(set, builder, Actor::alone(taking), &mut hands.one, None).unwrap();
        turn(&mut hands.one);
        hands.hand.advance(T / 2);
        hands.move_over(&mut conn).unwrap();
        turn(&mut hands.other);
        hands.hand.advance(T / 2);
        turn(&mut hands.one);
        turn(&mut hands.other);
        assert_eq!(conn.log.calls(), [Call::Timeout(Direction::Read)]);
        hands.hand.advance(T * 3);
        turn(&mut hands.one);
        turn(&mut hands.other);
        assert_eq!(conn.log.calls(), [Call::Timeout(Direction::Read)]);
        assert_eq!(give(&mut peer, b"unread"), 6);
        assert_eq!(hands.one.next_deadline(), None);
    });
}

#[test]
fn a_priority_that_was_set_goes_along() {
    // C-36, C-37
    let _census = Census::begin();
    let by_hand = |priorities: usize| {
        let mut base = Base::<Movable>::with_clock(Clock::monotonic()).unwrap();
        base.set_priorities(priorities).unwrap();
        base
    };
    for set in SETS {
        let (mut one, mut three, mut two) = (by_hand(5), by_hand(5), by_hand(2));
        for told in [None, Some(4)] {
            let (builder, _peer) = (KINDS[0].open)();
            let builder = if let Some(priority) = told { builder.priority(priority) } else { builder };
            let mut conn = launch(set, builder, Actor::alone(|_, _| {}), &mut one, None).unwrap();
            turn(&mut one);
            let hop = |from: &mut Base, to: &mut Base, conn: &mut Conn| {
                match &mut conn.who {
                    Who::Shared(handle) => handle.lock()?.set_base(&to.handle())?,
                    Who::Confined(id) => *id = from.set_base(*id, &to.handle())?,
                }
                turn(to);
                turn(from);
                Ok(match &conn.who {
                    Who::Shared(handle) => handle.lock().unwrap().priority(),
                    Who::Confined(id) => to.bufferevent(*id).unwrap().priority(),
                })
            };
            assert_eq!(hop(&mut one, &mut three, &mut conn).unwrap(), told.or(Some(2)));
            let there: Result<Option<u8>> = hop(&mut three, &mut two, &mut conn);
            match told {
                None => assert_eq!(there.unwrap(), Some(1)),
                Some(_) => {
                    assert!(matches!(there, Err(Error::Runtime(_))), "{there:?}");
                    assert_eq!((two.len(), three.len()), (0, 1));
                }
            }
            if let Who::Shared(handle) = &conn.who {
                handle.abort();
            }
            (two, three) = (by_hand(2), by_hand(5));
        }
    }
}

/// A resolver whose answer the test gives.
struct Later(Arc<Mutex<Option<Reply>>>);

impl Resolve for Later {
    fn resolve(&self, _: Query, reply: Reply) {
        *self.0.lock() = Some(reply);
    }
}

#[test]
fn a_lookup_that_is_under_way_and_the_race_after_it_go_along() {
    // K-12, K-13
    let _census = Census::begin();
    for (set, early) in SETS.into_iter().flat_map(|set| [(set, false), (set, true)]) {
        let _named = Named((set, early));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut hands = Hands::new(SelectorKind::Best);
        let asked = Arc::default();
        let target =
            Target::host("somewhere.test", address.port()).unwrap().resolver(Later(Arc::clone(&asked)));
        let builder = Bufferevent::connect_target(target);
        let mut conn = launch(set, builder, Actor::alone(|_, _| {}), &mut hands.one, None).unwrap();
        turn(&mut hands.one);
        let reply = asked.lock().take().unwrap();
        if early {
            // The answer wakes it where it was when it asked, and it has gone before that base looks.
            reply.send(Ok(vec![address]));
            hands.move_over(&mut conn).unwrap();
        } else {
            hands.move_over(&mut conn).unwrap();
            turn(&mut hands.other);
            reply.send(Ok(vec![address]));
        }
        // One that has a strand needs that base no more.
        if !set.is_shared() {
            turn(&mut hands.one);
        }
        until("the connection", || {
            turn(&mut hands.other);
            conn.log.has(Call::Connected)
        });
        turn(&mut hands.one);
        assert_eq!(conn.log.calls(), [Call::Connected]);
        assert_eq!((hands.one.len(), hands.other.len()), (0, 1));
    }
}

#[test]
fn sockets_that_race_move_all_or_none() {
    let _census = Census::begin();
    for set in SETS {
        let _named = Named(set);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut hands = Hands::new(SelectorKind::Best);
        let builder = Bufferevent::connect_any(&[address, address]);
        let mut conn = launch(set, builder, Actor::alone(|_, _| {}), &mut hands.one, None).unwrap();
        // The first attempt has begun, and nobody has looked at how it went.
        hands.one.turn(NOW).unwrap();
        hands.move_over(&mut conn).unwrap();
        until("the connection", || {
            turn(&mut hands.one);
            turn(&mut hands.other);
            conn.log.has(Call::Connected)
        });
        assert_eq!(conn.log.calls(), [Call::Connected]);
        assert_eq!((hands.one.len(), hands.other.len()), (0, 1));
    }
}

#[test]
fn what_is_off_stays_off_and_its_settings_go_along() {
    each_by_hand(|kind, set, mut hands| {
        let (mut conn, mut peer) = hands.start(kind, set, taking);
        let set_up = |bufferevent: &mut Bufferevent| {
            bufferevent.disable(Interest::READ);
            bufferevent.set_read_watermark(3, Some(10)).unwrap();
        };
        match &conn.who {
            Who::Shared(handle) => set_up(&mut handle.lock().unwrap()),
            Who::Confined(id) => set_up(hands.one.bufferevent(*id).unwrap()),
        }
        hands.move_over(&mut conn).unwrap();
        assert_eq!(give(&mut peer, b"ab"), 2);
        turn(&mut hands.other);
        let mut look = |f: &dyn Fn(&mut Bufferevent)| match &conn.who {
            Who::Shared(handle) => f(&mut handle.lock().unwrap()),
            Who::Confined(id) => f(hands.other.bufferevent(*id).unwrap()),
        };
        look(&|bufferevent| {
            assert_eq!(bufferevent.input().len(), 0);
            assert_eq!(bufferevent.watermark(bufferevent::Direction::Read), (3, Some(10)));
            bufferevent.enable(Interest::READ);
        });
        turn(&mut hands.other);
        assert_eq!(conn.log.calls(), []);
        assert_eq!(give(&mut peer, b"c"), 1);
        turn(&mut hands.other);
        assert_eq!(conn.log.data(), b"abc");
    });
}
