//! Handlers that are replaced, that start others, that stop their base.

use std::sync::Arc;

use bufferevent::{
    Bufferevent, Event, Handle, Interest, NoHandler, Trigger, Turned, UnlockedHandler, testing::Census,
};
use bufferevent_sync::Mutex;

use crate::harness::{Actor, Call, Conn, Drive, Set, each, each_by_hand, each_of, unix_pair};

#[test]
fn a_handler_replaced_in_a_callback_gets_no_more_calls() {
    // C-07, C-22, D3: whichever callback replaces it, the next one of the same run is the new handler's
    let _census = Census::begin();
    for first in [Call::Read, Call::Write, Call::User(1)] {
        each(|config| {
            let mut world = config.world();
            let (conn, _peer) = config.start_with(
                &mut world,
                |builder| builder,
                move |cx, call| {
                    if *call == first {
                        let heir = Actor::heir(cx.log(), 1, |_, _| {});
                        cx.replace(heir);
                    }
                },
            );
            world
                .with(&conn, |b| {
                    b.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                    b.trigger_event(1, Trigger::PLAIN);
                    b.trigger_event(2, Trigger::PLAIN);
                })
                .unwrap();
            world.until_called(&conn, Call::User(2), 1);
            let told: Vec<_> = conn.log.entries().iter().map(|entry| (entry.call, entry.actor)).collect();
            let order = [Call::Read, Call::Write, Call::User(1), Call::User(2)];
            let at = order.iter().position(|call| *call == first).unwrap();
            let expected = order.iter().enumerate().map(|(i, call)| (*call, u32::from(i > at)));
            assert_eq!(told, expected.collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_handler_replaced_by_a_guard_gets_no_more_calls() {
    // C-07, D3: no ghosts of what was due before
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        let heir = Actor::heir(&conn.log, 1, |_, _| {});
        {
            let mut guard = conn.handle().lock().unwrap();
            guard.trigger_event(1, Trigger::PLAIN);
            match config.set {
                Set::SharedUnlock => guard.set_unlocked_handler(heir).unwrap(),
                _ => guard.set_handler(heir).unwrap(),
            }
        }
        world.until_called(&conn, Call::User(1), 1);
        assert_eq!(conn.log.entries()[0].actor, 1);
    });
}

#[test]
fn a_handler_that_does_not_hear_of_writes_is_told_only_what_is_asked_for_until_another_does() {
    // C-07: `writecb` is NULL
    each(|config| {
        let mut world = config.world();
        let (builder, mut peer) = (config.kind.open)();
        let actor = Actor::new(&world, |cx, call| match call {
            Call::Read => {
                let (input, output) = cx.buffers();
                output.append(input).unwrap();
            }
            Call::User(1) => {
                let heir = Actor::heir(cx.log(), 1, |_, _| {});
                cx.replace(heir);
            }
            _ => {}
        });
        let conn = world.start(config.set, builder, actor.deaf_to_write()).unwrap();
        world.with(&conn, |b| b.enable(Interest::READ)).unwrap();
        let mut back = Vec::new();
        world.send(&mut peer, b"echo");
        world.until("the echo", || {
            peer.read_some(4, &mut back).unwrap();
            back == b"echo"
        });
        world.settle();
        let writes =
            |conn: &Conn| conn.log.entries().iter().filter(|entry| entry.call == Call::Write).count();
        assert_eq!(writes(&conn), 0);
        world.with(&conn, |b| b.trigger(Interest::WRITE, Trigger::PLAIN)).unwrap();
        world.until_called(&conn, Call::Write, 1);
        world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until_called(&conn, Call::User(1), 1);
        world.with(&conn, |b| b.write(b"more").map(drop)).unwrap().unwrap();
        world.until_called(&conn, Call::Write, 2);
        assert_eq!(conn.log.entries().last().map(|entry| entry.actor), Some(1));
    });
}

#[test]
fn a_replaced_handler_is_dropped() {
    // C-08: nobody else has it to ask for; C-07
    each(|config| {
        let mut world = config.world();
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let (conn, _peer) = config.start_with(
            &mut world,
            |builder| builder,
            move |cx, _| {
                let _held = &held;
                let heir = Actor::heir(cx.log(), 1, |_, _| {});
                cx.replace(heir);
            },
        );
        world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until("the old handler to be dropped", || Arc::strong_count(&alive) == 1);
    });
}

/// An unlocked handler that is inside until the gate is opened.
struct Lingering {
    alive: Arc<()>,
    gate: Arc<Mutex<()>>,
}

impl UnlockedHandler for Lingering {
    fn on_event(&mut self, _: &Handle, _: Event) {
        let _inside = Arc::clone(&self.alive);
        drop(self.gate.lock());
    }
}

#[test]
fn a_handler_that_a_guard_replaced_while_it_ran_unlocked_is_dropped_when_it_comes_back() {
    // X-09, F22, C-07, D3, protocol 4: its callback comes back while the guard is still there
    each_of(
        |set| set == Set::SharedUnlock,
        |config| {
            let mut world = config.world();
            let Drive::Threads { runtime, .. } = &world.drive else { return };
            let (alive, gate) = <(Arc<()>, Arc<Mutex<()>>)>::default();
            let handler = Lingering { alive: Arc::clone(&alive), gate: Arc::clone(&gate) };
            let (builder, _peer) = (config.kind.open)();
            let handle =
                builder.threadsafe().unlocked(handler).start(&mut runtime.bases()[0].clone()).unwrap();
            let shut = gate.lock();
            handle.trigger_event(1, Trigger::PLAIN).unwrap();
            world.until("the callback", || Arc::strong_count(&alive) == 3);
            let heir = Actor::new(&world, |_, _| {});
            let log = heir.log.clone();
            let mut guard = handle.lock().unwrap();
            drop(shut);
            world.until("it to come back", || Arc::strong_count(&alive) == 2);
            world.settle();
            guard.set_unlocked_handler(heir).unwrap();
            drop(guard);
            world.until("the old handler to be dropped", || Arc::strong_count(&alive) == 1);
            handle.trigger_event(2, Trigger::PLAIN).unwrap();
            world.until("the other handler", || log.has(Call::User(2)));
        },
    );
}

#[test]
fn a_handler_is_dropped_when_its_bufferevent_has_ended() {
    // F58, C-33: also one that keeps a handle to its own bufferevent, and whoever else keeps one
    each(|config| {
        let mut world = config.world();
        let alive = Arc::new(());
        let (held, own) = (Arc::clone(&alive), Arc::new(Mutex::new(None::<Conn>)));
        let mine = Arc::clone(&own);
        let (conn, _peer) = config.start_with(
            &mut world,
            |builder| builder,
            move |_, _| {
                let _held = (&held, &mine);
            },
        );
        *own.lock() = Some(conn.clone());
        drop(own);
        world.abort(&conn);
        world.until_gone(&conn);
        world.until("the handler to be dropped", || Arc::strong_count(&alive) == 1);
        world.until_empty();
    });
}

#[test]
fn a_callback_starts_another_bufferevent_on_its_base() {
    // C-01, D16: confined and with a strand, from confined and from strands
    each_of(
        |set| set != Set::SharedUnlock,
        |config| {
            for set in [Set::Confined, Set::SharedDefer] {
                let mut world = config.world();
                let (ours, mut other_peer) = unix_pair();
                let made =
                    Arc::new(Mutex::new(Some((Bufferevent::socket(ours), Actor::new(&world, |_, _| {})))));
                let started = Arc::new(Mutex::new(None));
                let theirs = Arc::clone(&started);
                let (conn, _peer) = config.start_with(
                    &mut world,
                    |builder| builder,
                    move |cx, _| {
                        let (builder, actor) = made.lock().take().unwrap();
                        *theirs.lock() = Some(cx.start(set, builder, actor).unwrap());
                    },
                );
                world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
                world.until_called(&conn, Call::User(1), 1);
                let pinned_strand = matches!(world.drive, Drive::Pinned(_)) && config.set.is_shared();
                let result = started.lock().take().unwrap();
                if pinned_strand && set == Set::Confined {
                    // A strand's context is that of a movable base.
                    assert!(result.is_err());
                    continue;
                }
                let other = result.unwrap();
                world.send(&mut other_peer, b"hello");
                world.until_called(&other, Call::Read, 1);
                world.with(&other, |b| b.write(b"back").unwrap()).unwrap();
                assert_eq!(world.receive(&mut other_peer, 4), b"back");
            }
        },
    );
}

#[test]
fn a_callback_closes_another_bufferevent() {
    // C-33, D3
    each(|config| {
        let mut world = config.world();
        let (first, mut first_peer) = config.start(&mut world);
        let victim = first.clone();
        let (second, _peer) =
            config.start_with(&mut world, |builder| builder, move |cx, _| cx.close_other(&victim));
        world.with(&second, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        assert_eq!(world.receive_all(&mut first_peer), b"");
        world.until_called(&second, Call::User(1), 1);
        assert_eq!(first.log.calls(), []);
        drop(first_peer);
        world.until_gone(&first);
    });
}

#[test]
fn without_a_handler_data_is_still_received() {
    // C-07: callbacks may be none at all
    each_by_hand(|config| {
        let mut world = config.world();
        let (ours, mut peer) = unix_pair();
        let builder = Bufferevent::socket(ours).handler(NoHandler);
        match &mut world.drive {
            Drive::Pinned(base) => {
                builder.start(base).unwrap();
            }
            Drive::Movable(base) => {
                builder.start(base).unwrap();
            }
            Drive::Threads { .. } => unreachable!(),
        }
        world.send(&mut peer, b"into the void");
        drop(peer);
        world.settle();
        assert_eq!(world.objects(), 1, "it lives until it is closed");
    });
}

#[test]
fn a_callback_ends_the_loop_and_the_rest_runs_when_it_goes_on() {
    // C-35 and event_base_loopbreak: no callback starts after it
    let _census = Census::begin();
    for breaking in [false, true] {
        each_by_hand(|config| {
            let mut world = config.world();
            let (conn, _peer) = config.start_with(
                &mut world,
                |builder| builder,
                move |cx, call| {
                    if *call == Call::User(1) {
                        cx.stop_base(breaking);
                    }
                },
            );
            world
                .with(&conn, |b| {
                    b.trigger_event(1, Trigger::PLAIN);
                    b.trigger_event(2, Trigger::PLAIN);
                })
                .unwrap();
            let ended = match &mut world.drive {
                Drive::Pinned(base) => base.run().unwrap(),
                Drive::Movable(base) => base.run().unwrap(),
                Drive::Threads { .. } => unreachable!(),
            };
            let expected = if breaking { Turned::Broken } else { Turned::Exited };
            assert_eq!(ended, expected);
            let told = if breaking { &[Call::User(1)][..] } else { &[Call::User(1), Call::User(2)] };
            assert_eq!(conn.log.calls(), told);
            world.until_called(&conn, Call::User(2), 1);
        });
    }
}

#[test]
fn the_base_of_a_bufferevent_is_the_one_it_was_started_on() {
    // C-35
    each(|config| {
        let mut world = config.world();
        for _ in 0..2 {
            let seen = Arc::new(Mutex::new(None));
            let theirs = Arc::clone(&seen);
            let (conn, _peer) =
                config.start_with(&mut world, |b| b, move |cx, _| *theirs.lock() = Some(cx.base_id()));
            world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
            world.until_called(&conn, Call::User(1), 1);
            let expected = world.base_id(&conn);
            assert_eq!(*seen.lock(), Some(expected));
            if config.set.is_shared() {
                assert_eq!(conn.handle().base().id(), expected);
            }
        }
    });
}
