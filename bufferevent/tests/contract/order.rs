//! Which callback comes when.

use std::{sync::Arc, time::Instant};

use bufferevent::{
    Bufferevent, Interest, Placement, Runtime, Trigger, Turned, runtime::DEFERRED_PER_PASS, testing::Census,
};
use bufferevent_sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Call, Drive, Set, Shape, World, each, each_by_hand, each_of};

#[test]
fn callbacks_of_one_run_come_in_order_and_equal_events_as_one() {
    // X-24, C-20, D1: read, write, then the events one by one as they happened; C-24, C-25
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        world
            .with(&conn, |bufferevent| {
                bufferevent.trigger_event(4, Trigger::PLAIN);
                bufferevent.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                bufferevent.trigger_event(2, Trigger::PLAIN);
                bufferevent.trigger_event(4, Trigger::PLAIN);
                bufferevent.trigger(Interest::READ, Trigger::PLAIN);
            })
            .unwrap();
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read, Call::Write, Call::User(4), Call::User(2)]);
    });
}

#[test]
fn what_a_callback_raises_comes_after_it_in_the_same_order() {
    // C-20, D1
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start_with(
            &mut world,
            |builder| builder,
            |cx, call| {
                if *call == Call::User(1) {
                    cx.trigger_event(2, Trigger::PLAIN);
                    cx.trigger(Interest::WRITE, Trigger::IGNORE_WATERMARKS);
                    cx.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS);
                }
            },
        );
        world.with(&conn, |bufferevent| bufferevent.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until_called(&conn, Call::User(2), 1);
        assert_eq!(conn.log.calls(), [Call::User(1), Call::Read, Call::Write, Call::User(2)]);
    });
}

#[test]
fn a_trigger_that_is_deferred_comes_behind_one_that_is_not() {
    // C-24, D17
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start_with(
            &mut world,
            |builder| builder,
            |cx, call| {
                if *call == Call::User(1) {
                    cx.trigger_event(2, Trigger::DEFER);
                    cx.trigger_event(3, Trigger::PLAIN);
                }
            },
        );
        world.with(&conn, |bufferevent| bufferevent.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until_called(&conn, Call::User(2), 1);
        assert_eq!(conn.log.calls(), [Call::User(1), Call::User(3), Call::User(2)]);
    });
}

#[test]
fn data_comes_before_the_end_that_came_with_it() {
    // X-22, D1, D4
    each(|config| {
        let mut world = config.world();
        let (builder, mut peer) = (config.kind.open)();
        world.send(&mut peer, b"last words");
        peer.shutdown_write();
        let actor = crate::harness::Actor::new(&world, |cx, _| cx.take());
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until_called(&conn, Call::Eof, 1);
        world.fence(&conn);
        assert_eq!(conn.log.calls(), [Call::Read, Call::Eof]);
        assert_eq!(conn.log.data(), b"last words");
    });
}

#[test]
fn nothing_of_a_run_starts_after_a_break_and_all_of_it_comes_later_in_order() {
    // C-20, E-04: libevent's loopbreak ends the loop after the current callback
    let _census = Census::begin();
    const ALL: [Call; 6] =
        [Call::Read, Call::Write, Call::User(1), Call::User(2), Call::User(3), Call::User(4)];
    for breaker in [0, 1, 3] {
        each(|config| {
            let mut world = config.world();
            let (conn, _peer) = config.start_with(
                &mut world,
                |builder| builder,
                move |cx, call| {
                    if *call == ALL[breaker] {
                        cx.stop_base(true);
                        cx.trigger_event(3, Trigger::PLAIN);
                        cx.trigger_event(4, Trigger::DEFER);
                    }
                },
            );
            world.settle();
            world
                .with(&conn, |bufferevent| {
                    bufferevent.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                    bufferevent.trigger_event(1, Trigger::PLAIN);
                    bufferevent.trigger_event(2, Trigger::PLAIN);
                })
                .unwrap();
            match &mut world.drive {
                Drive::Pinned(base) => assert_eq!(base.run().unwrap(), Turned::Broken),
                Drive::Movable(base) => assert_eq!(base.run().unwrap(), Turned::Broken),
                Drive::Threads { .. } => {
                    world.until_called(&conn, ALL[breaker], 1);
                    world.settle();
                }
            }
            assert_eq!(conn.log.calls(), ALL[..=breaker], "nothing else has started");
            world.resume(&conn);
            world.until_called(&conn, Call::User(4), 1);
            assert_eq!(conn.log.calls(), ALL);
        });
    }
}

#[test]
fn a_close_in_a_callback_that_breaks_the_base_goes_on_when_that_does() {
    // E-04, D15: no event of the socket's comes that could remind it
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |builder| builder,
            |cx, _| {
                cx.close();
                cx.stop_base(true);
            },
        );
        world.settle();
        world.with(&conn, |bufferevent| bufferevent.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until_called(&conn, Call::User(1), 1);
        world.settle();
        world.resume(&conn);
        assert_eq!(world.receive_all(&mut peer), b"");
    });
}

#[test]
fn an_immediate_callback_and_a_deferred_one_can_be_told_apart() {
    // D17, C-05, C-19: data and the end of the stream are there before the first run. At once means between the two system
    // calls, while reading is still enabled; deferred means after both, when the end has switched it off.
    each(|config| {
        let mut world = config.world();
        let (builder, mut peer) = (config.kind.open)();
        world.send(&mut peer, b"both");
        peer.shutdown_write();
        let actor = crate::harness::Actor::new(&world, |cx, _| cx.take());
        let conn = world.start(config.set, builder, actor).unwrap();
        world.until_called(&conn, Call::Eof, 1);
        let read = conn.log.entries()[0];
        assert_eq!(read.call, Call::Read);
        let still_on = read.enabled.contains(Interest::READ);
        // A pair learns of both at once; a filter over it is called for each. Of TLS both are records that came together.
        let in_steps = (config.kind.is_over_socket() || config.kind.is_filter()) && !config.kind.is_tls();
        assert_eq!(still_on, !config.set.is_deferred() && in_steps);
    });
}

#[test]
fn no_callback_runs_inside_a_call() {
    // D17, K-10: not in a guard, not in a handle's call, not in one by id
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        let log = conn.log.clone();
        let inside = world.with(&conn, move |bufferevent| {
            bufferevent.write(b"x").unwrap();
            bufferevent.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
            bufferevent.trigger_event(1, Trigger::PLAIN);
            bufferevent.enable(Interest::BOTH);
            log.calls()
        });
        assert_eq!(inside.unwrap(), []);
        world.until_called(&conn, Call::User(1), 1);
        assert_eq!(conn.log.calls()[..2], [Call::Read, Call::Write]);
    });
}

#[test]
fn no_callback_runs_on_the_thread_that_holds_a_handle() {
    // D17
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let here = std::thread::current().id();
        let calling = std::sync::Arc::new(bufferevent_sync::atomic::AtomicBool::new(false));
        let (seen, flag) = (calling.clone(), calling.clone());
        let (conn, _peer) = config.start_with(
            &mut world,
            |builder| builder,
            move |_, _| {
                let inside = seen.load(bufferevent_sync::atomic::Ordering::SeqCst);
                assert!(!inside || std::thread::current().id() != here, "inside the call");
            },
        );
        flag.store(true, bufferevent_sync::atomic::Ordering::SeqCst);
        let handle = conn.handle().clone();
        handle.write(b"x").unwrap();
        handle.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS).unwrap();
        handle.trigger_event(1, Trigger::PLAIN).unwrap();
        flag.store(false, bufferevent_sync::atomic::Ordering::SeqCst);
        world.until_called(&conn, Call::User(1), 1);
        assert_eq!(world.panics(), 0);
    });
}

#[test]
fn deferred_callbacks_are_budgeted_per_pass() {
    // C-21, D17: so that input and output go on between
    each_by_hand(|config| {
        if config.set != Set::ConfinedDefer {
            return;
        }
        let mut world = config.world();
        let conns: Vec<_> = (0..DEFERRED_PER_PASS + 7).map(|_| config.start(&mut world)).collect();
        world.settle();
        for (conn, _peer) in &conns {
            world.with(conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        }
        let told = || conns.iter().filter(|(conn, _)| conn.log.has(Call::User(1))).count();
        let mut before = 0;
        while before < conns.len() {
            world.pump();
            assert!(told() - before <= DEFERRED_PER_PASS, "{before} and then {}", told());
            before = told();
        }
    });
}

/// Starts two on one base of two workers; each callback is inside until the other is too, or `wait` has passed.
fn inside_together(placement: Placement, wait: std::time::Duration) -> bool {
    let runtime = Runtime::builder().workers(2).bases(2).build().unwrap();
    let mine = runtime.clone();
    let running = std::thread::spawn(move || mine.run().unwrap());
    let (inside, most, done) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let mut idle = World::new(Shape::Pinned, Default::default(), Default::default());
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (ours, mut peer) = crate::harness::unix_pair();
        let (inside, most, done) = (Arc::clone(&inside), Arc::clone(&most), Arc::clone(&done));
        let handler = bufferevent::Callbacks::new().on_read(move |cx: &mut bufferevent::Context<'_>| {
            let begun = Instant::now();
            inside.fetch_add(1, Ordering::SeqCst);
            while most.fetch_max(inside.load(Ordering::SeqCst), Ordering::SeqCst) < 2
                && begun.elapsed() < wait
            {
                std::thread::yield_now();
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            cx.disable(Interest::READ);
        });
        let builder = Bufferevent::socket(ours).handler(handler).threadsafe().placement(placement);
        builder.start(&mut runtime.bases()[0].clone()).unwrap();
        idle.send(&mut peer, b"go");
        peers.push(peer);
    }
    idle.until("both callbacks", || done.load(Ordering::SeqCst) == 2);
    runtime.stop();
    running.join().unwrap();
    most.load(Ordering::SeqCst) == 2
}

#[test]
fn callbacks_of_two_strands_of_one_base_run_at_the_same_time_unless_placed_on_it() {
    // X-06, D18, H-04: libevent's base is serial
    let _census = Census::begin();
    assert!(inside_together(Placement::Any, crate::harness::LIMIT));
    assert!(!inside_together(Placement::Base, std::time::Duration::from_millis(20)));
}
