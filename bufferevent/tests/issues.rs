//! Bugs that libevent's users have met, each with the number of its issue there and the row (X and a number) of the
//! project's inventory. A row that an older test shows already is quoted in that test. Races that the thread sanitizer has
//! found there are looked for by running all suites under it: `make tsan`.
//!
//! Of those about rate limits X-36 waits for TLS, X-44 is asked of other libraries, and the rest are quoted
//! here, in `contract/limits.rs`, `contract/groups.rs`, `limits_shared.rs` and `ratelimit/tests/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "contract/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves the contract suite too")]
mod harness;
#[path = "contract/kinds.rs"]
mod kinds;
#[path = "faults/sim.rs"]
#[allow(dead_code, reason = "it serves the suite of faults too")]
mod sim;

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Callbacks, Cause, Direction, Evbuffer, Event, FilterFn,
    RateLimitGroup, TokenBucketConfig,
    testing::{Census, ManualBase, ReadStep, Ready, Wire, WriteStep},
};
use bufferevent_sync::Mutex;

use harness::{Actor, Call, Conn, SETS, Shape, each, pattern};
use sim::Sim;

#[test]
fn issue_1361_two_whose_callbacks_write_to_each_other_never_wait_for_each_other() {
    // X-01, and 1750: the relay of two connections on two threads, whatever the options of each; both peers send at once
    const ROUNDS: usize = 40;
    each(|config| {
        if config.shape != (Shape::Threads { workers: 2, bases: 2 }) {
            return;
        }
        for other in SETS {
            let mut world = config.world();
            let conns: Arc<[Mutex<Option<Conn>>; 2]> = Arc::default();
            let mut peers = Vec::new();
            for (me, set) in [config.set, other].into_iter().enumerate() {
                let (partners, (builder, peer)) = (Arc::clone(&conns), (config.kind.open)());
                let actor = Actor::new(&world, move |cx, call| {
                    if *call == Call::Read {
                        let mut data = Evbuffer::new();
                        cx.read_buffer(&mut data).unwrap();
                        let partner = partners[1 - me].lock().clone().unwrap();
                        partner.write(data);
                    }
                });
                *conns[me].lock() = Some(world.start(set, builder.caps(None, None), actor).unwrap());
                peers.push(peer);
            }
            let all: Vec<u8> = (0..ROUNDS).flat_map(|round| pattern(1 + round * 7)).collect();
            for round in 0..ROUNDS {
                let data = pattern(1 + round * 7);
                peers.iter_mut().for_each(|peer| world.send(peer, &data));
            }
            for peer in &mut peers {
                assert!(world.receive(peer, all.len()) == all, "{:?} and {other:?}", config.set);
            }
            // The handlers name each other.
            conns.iter().for_each(|conn| drop(conn.lock().take()));
        }
    });
}

#[test]
fn issue_1842_what_a_buffer_took_from_a_bufferevent_outlives_it() {
    // there, a reference to its data used the lock that had gone with it
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        let kept = Arc::new(Mutex::new(Evbuffer::new()));
        let keeps = Arc::clone(&kept);
        let conn = sim.start(set, &wire, move |cx, call| {
            if *call == Call::Read {
                keeps.lock().add_buffer_reference(cx.input()).unwrap();
                cx.abort();
            }
        });
        wire.deliver(&pattern(50_000));
        sim.settle();
        assert!(sim.is_gone(&conn));
        drop(sim);
        let mut kept = std::mem::take(&mut *kept.lock());
        assert!(!kept.is_empty() && pattern(50_000).starts_with(&kept.to_vec()), "{set:?}");
        kept.add(b"and goes on").unwrap();
    }
}

#[test]
fn issue_1295_the_end_never_comes_before_the_connection() {
    // X-22, and sslsplit's 124: the peer has sent, and ended, by the time that the connect is noticed
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::connecting());
        let conn = sim.start(set, &wire, |_, _| {});
        wire.deliver(b"hello");
        wire.end();
        wire.ready(Ready::READABLE | Ready::HANGUP);
        sim.settle();
        assert_eq!(conn.log.calls(), []);
        wire.connect();
        sim.settle();
        assert_eq!(conn.log.calls(), [Call::Connected, Call::Read, Call::Eof], "{set:?}");
    }
}

#[test]
fn issue_229_each_error_comes_with_its_own_cause_and_direction() {
    // there, flags of one callback, and errno of the last
    let _census = Census::begin();
    for deferred in [false, true] {
        let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
        let told = Rc::new(RefCell::new(Vec::new()));
        let tells = Rc::clone(&told);
        let handler = Callbacks::new().on_event(move |_, event| match event {
            Event::Error { direction, cause: Cause::Io(error) } => {
                tells.borrow_mut().push((direction.unwrap(), error.kind()));
            }
            other => panic!("{other:?}"),
        });
        wire.read_next(ReadStep::Failed(io::ErrorKind::ConnectionReset.into()));
        wire.write_next(WriteStep::Failed(io::ErrorKind::BrokenPipe.into()));
        let builder = Bufferevent::scripted(&wire).handler(handler);
        let builder = builder.configure(|bufferevent| {
            bufferevent.write(b"lost").unwrap();
        });
        if deferred { builder.deferred().start(&mut base) } else { builder.start(&mut base) }.unwrap();
        base.settle().unwrap();
        let both = [
            (Direction::Read, io::ErrorKind::ConnectionReset),
            (Direction::Write, io::ErrorKind::BrokenPipe),
        ];
        assert_eq!(*told.borrow(), both);
    }
}

#[test]
fn issue_891_data_left_at_the_high_mark_calls_nobody_again() {
    // since 2.1.9 there, the read callback of a proxy whose other side is slow runs again and again
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        let builder = Bufferevent::scripted(&wire).read_watermark(0, Some(100));
        let conn = sim.start_with(set, builder, |_, _| {});
        wire.deliver(&pattern(1_000));
        sim.settle();
        let (told, reads) = (conn.log.count(Call::Read), wire.reads());
        for _ in 0..50 {
            wire.ready(Ready::READABLE);
            sim.settle();
        }
        assert_eq!((told, conn.log.count(Call::Read), wire.reads()), (1, 1, reads), "{set:?}");
        let mut got = Vec::<u8>::new();
        while got.len() < 1_000 {
            let mut some = [0; 100];
            let n = sim.with(&conn, |bufferevent| bufferevent.read(&mut some).unwrap()).unwrap();
            assert!(n > 0, "it reads on below the mark");
            got.extend(&some[..n]);
            sim.settle();
        }
        assert!(got == pattern(1_000));
    }
}

#[test]
fn limits_hold_on_pairs_and_filters() {
    // X-35, P-07, F-12: there the call succeeds and nothing is limited. Own and of a group, either way
    let _census = Census::begin();
    let tick = Duration::from_millis(100);
    let limit = TokenBucketConfig::new(70, 70, 70, 70, Some(tick)).unwrap();
    let none = |half: Builder| half;
    let filter = |half: Builder| half.filter(FilterFn::new()).filter(FilterFn::new());
    for (layers, grouped, reads) in [none as fn(Builder) -> Builder, filter].into_iter().flat_map(|layers| {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(grouped, reads)| (layers, grouped, reads))
    }) {
        let mut base = ManualBase::new().unwrap();
        let group = RateLimitGroup::with_clock(&limit, base.handle().clock().clone());
        let limited =
            |half: Builder| if grouped { half.rate_limit_group(&group) } else { half.rate_limit(&limit) };
        let (one, other) = Bufferevent::pair();
        let (one, other) = (layers(one), layers(other));
        let (one, other) = if reads { (one, limited(other)) } else { (limited(one), other) };
        let one = one.configure(|one| drop(one.write(&[1; 1_000]))).start(&mut base).unwrap();
        let other = other.start(&mut base).unwrap();
        for ticks in 1..=15 {
            base.settle().unwrap();
            let arrived = base.bufferevent(other).unwrap().input().len();
            assert_eq!(arrived, 1_000.min(ticks * 70), "grouped: {grouped}, reads: {reads}");
            base.advance(tick).unwrap();
        }
        assert!(base.bufferevent(one).unwrap().output().is_empty());
    }
}

#[test]
fn issue_1440_a_limited_read_of_nothing_is_neither_tried_nor_the_end() {
    // X-30, and 1439: since 2.1.12 there, a read of no bytes into a buffer without room; here at the high mark, without
    // tokens, and with both, by its own limit and its group's
    let _census = Census::begin();
    for (set, grouped) in SETS.into_iter().flat_map(|set| [(set, false), (set, true)]) {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        let tick = Duration::from_millis(100);
        let limit = TokenBucketConfig::new(70, 70, 70, 70, Some(tick)).unwrap();
        let group = RateLimitGroup::with_clock(&limit, sim.base.handle().clock().clone());
        let builder = Bufferevent::scripted(&wire).read_watermark(0, Some(100));
        let builder = if grouped { builder.rate_limit_group(&group) } else { builder.rate_limit(&limit) };
        let conn = sim.start_with(set, builder, |_, _| {});
        wire.deliver(&pattern(1_000));
        let mut got = Vec::<u8>::new();
        for _ in 0..100 {
            sim.settle();
            let (reads, more) = (wire.reads(), got.len() < 800);
            for _ in 0..3 {
                wire.ready(Ready::BOTH);
                sim.settle();
            }
            assert!(!more || wire.reads() == reads, "{set:?}: nothing is read without room and tokens");
            sim.advance(tick);
            let mut some = [0; 60];
            let n = sim.with(&conn, |bufferevent| bufferevent.read(&mut some).unwrap()).unwrap();
            got.extend(&some[..n]);
        }
        assert!(got == pattern(1_000), "{set:?}: {}", got.len());
        assert_eq!(conn.log.count(Call::Read), conn.log.calls().len(), "neither an end nor an error");
    }
}
