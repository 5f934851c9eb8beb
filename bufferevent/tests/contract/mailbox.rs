//! Handles that are used while a callback runs: nothing waits, nothing is lost, nothing overtakes.

use std::{num::NonZeroU32, sync::Arc, thread, time::Duration};

use bufferevent::{
    Direction, Error, Evbuffer, Interest, MAILBOX, RateLimitGroup, Room, TokenBucketConfig, Trigger,
    lock_both, runtime::Clock, testing::Census,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::harness::{Call, Config, Conn, Peer, SETS, Set, Shape, World, each, each_of, pattern};

/// Two workers, so that a callback can run while the test goes on.
fn each_busy(sets: impl Fn(Set) -> bool, body: impl Fn(Config)) {
    each_of(
        |set| set.is_shared() && sets(set),
        |config| {
            if config.shape == (Shape::Threads { workers: 2, bases: 2 }) {
                body(config);
            }
        },
    );
}

/// A bufferevent that is inside of its callback for `User(1)`, until `gate` is opened. A locked callback holds the
/// strand meanwhile, and so does the script of an unlocked one.
fn busy(config: Config, world: &mut World, cap: Option<usize>) -> (Conn, Peer, Arc<Mutex<()>>) {
    let gate = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&gate);
    let (conn, peer) = config.start_with(
        world,
        |b| b.caps(None, cap).write_watermark(0, None),
        move |_, call| {
            if *call == Call::User(1) {
                drop(theirs.lock());
            }
        },
    );
    world.settle();
    (conn, peer, gate)
}

fn enter(world: &mut World, conn: &Conn) {
    world.with(conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
    let log = conn.log.clone();
    world.until("the callback to begin", || log.has(Call::User(1)) && log.is_inside());
}

#[test]
fn operations_on_a_busy_bufferevent_are_applied_in_order_before_its_next_callback() {
    // X-02, section 4, D3; C-04: libevent waits for the lock
    each_busy(
        |_| true,
        |config| {
            let mut world = config.world();
            let (conn, mut peer, gate) = busy(config, &mut world, Some(1_000));
            let shut = gate.lock();
            enter(&mut world, &conn);
            let handle = conn.handle();
            assert!(matches!(handle.try_lock(), Ok(None)), "it is busy");
            handle.trigger_event(2, Trigger::PLAIN).unwrap();
            handle.write(b"one,").unwrap();
            handle.disable(Interest::WRITE).unwrap();
            handle.write_buffer(Evbuffer::from(b"two,".to_vec())).unwrap();
            handle.trigger(Interest::WRITE, Trigger::IGNORE_WATERMARKS).unwrap();
            handle.trigger_event(3, Trigger::PLAIN).unwrap();
            assert_eq!(conn.log.calls(), [Call::User(1)], "none of it waited, none of it ran");
            drop(shut);
            world.until_called(&conn, Call::User(3), 1);
            assert_eq!(conn.log.calls(), [Call::User(1), Call::Write, Call::User(2), Call::User(3)]);
            assert_eq!(conn.log.entries()[1].output, 8, "the writes were there, and WRITE was off");
            handle.enable(Interest::WRITE).unwrap();
            assert_eq!(world.receive(&mut peer, 8), b"one,two,");
        },
    );
}

#[test]
fn limits_of_a_busy_bufferevent_are_set_in_order() {
    // C-40, G-02, section 4: while a callback runs and so from another thread, and by who gets the lock after it
    each_busy(
        |_| true,
        |config| {
            if config.kind.is_tls() {
                // Of a record, which limits count, no part is read.
                return;
            }
            let hour = Some(Duration::from_secs(3_600));
            let limit = |rate| TokenBucketConfig::new(rate, rate, rate, rate, hour).unwrap();
            let groups = [200, 300].map(|rate| RateLimitGroup::new(&limit(rate)));
            let mut world = config.world();
            let (conn, mut peer, gate) = busy(config, &mut world, None);
            let shut = gate.lock();
            enter(&mut world, &conn);
            let handle = conn.handle();
            handle.set_rate_limit(None).unwrap();
            handle.set_rate_limit(Some(&limit(100))).unwrap();
            handle.join_rate_limit_group(&groups[0]).unwrap();
            handle.join_rate_limit_group_weighted(&groups[1], NonZeroU32::new(3).unwrap()).unwrap();
            handle.write(&pattern(1_000)).unwrap();
            assert_eq!(groups[1].snapshot(Direction::Write).members, 0, "it is busy");
            let (_clock, hand) = Clock::manual();
            let other = RateLimitGroup::with_clock(&limit(1), hand.clock());
            assert!(matches!(handle.join_rate_limit_group(&other), Err(Error::WrongClock)));
            drop(shut);
            assert_eq!(world.receive(&mut peer, 100), pattern(1_000)[..100]);
            let set = world.with(&conn, |b| (b.rate_limit().cloned(), b.rate_limit_group())).unwrap();
            assert_eq!(set, (Some(limit(100)), Some((groups[1].clone(), NonZeroU32::new(3).unwrap()))));
            assert_eq!(groups.each_ref().map(|group| group.total(Direction::Write)), [0, 100]);
            let shut = gate.lock();
            enter(&mut world, &conn);
            handle.leave_rate_limit_group().unwrap();
            handle.set_rate_limit(None).unwrap();
            drop(shut);
            assert_eq!(world.receive(&mut peer, 900), pattern(1_000)[100..]);
            assert_eq!(groups[1].snapshot(Direction::Write).members, 0);
            handle.close();
            assert!(matches!(handle.set_rate_limit(None), Err(Error::Closed)));
            assert!(matches!(handle.join_rate_limit_group(&groups[0]), Err(Error::Closed)));
            assert!(matches!(handle.leave_rate_limit_group(), Err(Error::Closed)));
        },
    );
}

#[test]
fn a_callback_that_is_due_is_dropped_by_a_disable_that_came_while_another_ran() {
    // F22, D3, C-10: when `disable` has returned, none starts
    each_busy(
        |_| true,
        |config| {
            let mut world = config.world();
            let (conn, _peer, gate) = busy(config, &mut world, None);
            let shut = gate.lock();
            world
                .with(&conn, |b| {
                    b.trigger_event(1, Trigger::PLAIN);
                    b.trigger_event(2, Trigger::PLAIN);
                })
                .unwrap();
            let log = conn.log.clone();
            world.until("the callback to begin", || log.has(Call::User(1)));
            conn.handle().trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS).unwrap();
            conn.handle().disable(Interest::BOTH).unwrap();
            drop(shut);
            world.until_called(&conn, Call::User(2), 1);
            world.fence(&conn);
            assert_eq!(conn.log.calls(), [Call::User(1), Call::User(2)]);
        },
    );
}

#[test]
fn a_close_that_comes_while_a_callback_runs_is_the_last_of_it() {
    // F22, D3, D15: what was written before it is still sent
    let _census = Census::begin();
    for abort in [false, true] {
        each_busy(
            |_| true,
            |config| {
                let mut world = config.world();
                let (conn, mut peer, gate) = busy(config, &mut world, None);
                let shut = gate.lock();
                world
                    .with(&conn, |b| {
                        b.trigger_event(1, Trigger::PLAIN);
                        b.trigger_event(2, Trigger::PLAIN);
                    })
                    .unwrap();
                let log = conn.log.clone();
                world.until("the callback to begin", || log.has(Call::User(1)));
                let handle = conn.handle();
                handle.write(b"farewell").unwrap();
                if abort {
                    handle.abort()
                } else {
                    handle.close()
                }
                assert!(handle.is_closing());
                assert!(matches!(handle.write(b"x"), Err(Error::Closed)));
                assert!(matches!(handle.enable(Interest::READ), Err(Error::Closed)));
                assert!(matches!(handle.trigger(Interest::READ, Trigger::PLAIN), Err(Error::Closed)));
                let data = Evbuffer::from(b"back".to_vec());
                let refused = handle.write_buffer(data);
                assert!(matches!(refused, Err((Error::Closed, data)) if data.to_vec() == b"back"));
                drop(shut);
                let mut got = Vec::new();
                world.until("the end", || peer.read_some(100, &mut got).unwrap_or(true));
                assert!(abort || got == b"farewell");
                drop(peer);
                world.until_gone(&conn);
                assert_eq!(conn.log.calls(), [Call::User(1)]);
            },
        );
    }
}

#[test]
fn what_was_accepted_while_a_callback_closes_is_sent_or_told_as_unsent() {
    // section 4, D15: an accepted byte is never lost in silence
    let _census = Census::begin();
    for abort in [false, true] {
        each_busy(
            |_| true,
            |config| {
                let mut world = config.world();
                let gate = Arc::new(Mutex::new(()));
                let theirs = Arc::clone(&gate);
                let (conn, mut peer) = config.start_with(
                    &mut world,
                    |b| b.report_close(),
                    move |cx, call| {
                        if *call == Call::User(1) {
                            drop(theirs.lock());
                            if abort { cx.abort() } else { cx.close() }
                        }
                    },
                );
                let shut = gate.lock();
                enter(&mut world, &conn);
                let handle = conn.handle();
                handle.write(b"fare").unwrap();
                handle.write_buffer(Evbuffer::from(b"well".to_vec())).unwrap();
                handle.trigger_event(2, Trigger::PLAIN).unwrap();
                drop(shut);
                let expected: &[u8] = if abort { b"" } else { b"farewell" };
                let mut got = Vec::new();
                // Over a pair an abort has no end.
                world.until("the end", || peer.read_some(100, &mut got).unwrap_or(true));
                assert_eq!(got, expected);
                drop(peer);
                world.until_called(&conn, Call::Closed, 1);
                assert_eq!(conn.log.closed().unwrap().unsent, 8 - expected.len());
                assert_eq!(conn.log.calls(), [Call::User(1), Call::Closed]);
            },
        );
    }
}

#[test]
fn an_end_is_counted_with_what_its_mailbox_had_accepted() {
    // F55, D15: what a drain reports as unsent has in it what was mailed to one whose callback ends it
    each_busy(
        |_| true,
        |config| {
            let mut world = config.world();
            let gate = Arc::new(Mutex::new(()));
            let theirs = Arc::clone(&gate);
            let (conn, _peer) = config.start_with(
                &mut world,
                |b| b,
                move |cx, call| {
                    if *call == Call::User(1) {
                        drop(theirs.lock());
                        cx.abort();
                    }
                },
            );
            let shut = gate.lock();
            enter(&mut world, &conn);
            let base = conn.handle().base();
            conn.handle().write(b"unsent").unwrap();
            drop(shut);
            world.until_gone(&conn);
            let counters = base.counters();
            let counted = (counters.ended.get(), counters.ended_clean.get(), counters.unsent.get());
            assert_eq!(counted, (1, 0, 6));
        },
    );
}

#[test]
fn a_write_that_races_with_the_end_is_counted_or_refused() {
    // X-11, section 4, D15, D16: nothing is sent, so all that was accepted must be told as unsent
    let _census = Census::begin();
    for report in [false, true] {
        each_busy(
            |_| true,
            |config| {
                let mut world = config.world();
                let (conn, _peer) = config.start_with(
                    &mut world,
                    |b| {
                        let b = b.enable(Interest::READ).caps(None, None);
                        if report { b.report_close() } else { b }
                    },
                    |cx, call| {
                        if *call == Call::User(1) {
                            cx.abort();
                        }
                    },
                );
                let accepted = Arc::new(AtomicUsize::new(0));
                let writers: Vec<_> = (0..2)
                    .map(|_| {
                        let (handle, accepted) = (conn.handle().clone(), Arc::clone(&accepted));
                        thread::spawn(move || {
                            loop {
                                match handle.write(b"x") {
                                    Ok(_) => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                                    Err(Error::MailboxFull { .. }) => thread::yield_now(),
                                    Err(Error::Closed) => break,
                                    Err(error) => panic!("{error}"),
                                }
                            }
                        })
                    })
                    .collect();
                world.until("some writes", || accepted.load(Ordering::Relaxed) > 100);
                let handle = conn.handle().clone();
                while matches!(handle.trigger_event(1, Trigger::PLAIN), Err(Error::MailboxFull { .. })) {
                    thread::yield_now();
                }
                writers.into_iter().for_each(|writer| writer.join().unwrap());
                let closed = if report {
                    world.until_called(&conn, Call::Closed, 1);
                    conn.log.closed().unwrap()
                } else {
                    handle.close_and_wait().unwrap()
                };
                assert_eq!(closed.unsent, accepted.load(Ordering::Relaxed));
            },
        );
    }
}

#[test]
fn a_mailbox_that_is_full_refuses_and_gives_back() {
    // D8, D16: bounded in bytes by the output's cap, and in operations
    each_busy(
        |_| true,
        |config| {
            let mut world = config.world();
            let (conn, mut peer, gate) = busy(config, &mut world, Some(1_000));
            let shut = gate.lock();
            enter(&mut world, &conn);
            let handle = conn.handle();
            handle.write(&[1; 600]).unwrap();
            assert!(matches!(
                handle.write(&[2; 401]),
                Err(Error::OutputFull { more: 401, queued: 600, cap: 1_000 })
            ));
            let refused = handle.write_buffer(Evbuffer::from(vec![2; 401]));
            assert!(matches!(refused, Err((Error::OutputFull { .. }, data)) if data.len() == 401));
            handle.write(&[3; 400]).unwrap();
            let taken = (0..2 * MAILBOX).take_while(|_| handle.enable(Interest::READ).is_ok()).count();
            assert_eq!(taken + 1, MAILBOX, "the two writes take one place");
            assert!(matches!(handle.enable(Interest::READ), Err(Error::MailboxFull { limit: MAILBOX })));
            assert!(matches!(handle.write(b""), Err(Error::MailboxFull { .. })));
            drop(shut);
            assert_eq!(world.receive(&mut peer, 1_000), [[1; 600].as_slice(), &[3; 400]].concat());
            // A close always fits.
            let shut = gate.lock();
            conn.log.clear();
            enter(&mut world, &conn);
            assert!((0..2 * MAILBOX).any(|_| handle.enable(Interest::READ).is_err()));
            handle.close();
            drop(shut);
            assert_eq!(world.receive_all(&mut peer), b"");
        },
    );
}

#[test]
fn a_write_to_a_busy_bufferevent_is_told_full_at_the_high_mark() {
    // D8: the answer is accepted, full or refused
    each_busy(
        |_| true,
        |config| {
            let mut world = config.world();
            let gate = Arc::new(Mutex::new(()));
            let theirs = Arc::clone(&gate);
            let (conn, mut peer) = config.start_with(
                &mut world,
                |b| b.write_watermark(0, Some(1_000)),
                move |_, call| {
                    if *call == Call::User(1) {
                        drop(theirs.lock());
                    }
                },
            );
            let shut = gate.lock();
            enter(&mut world, &conn);
            assert_eq!(conn.handle().write(&[1; 999]).unwrap(), Room::Some);
            assert_eq!(conn.handle().write_buffer(Evbuffer::from(vec![1])).unwrap(), Room::Full);
            drop(shut);
            world.receive(&mut peer, 1_000);
            world.until_called(&conn, Call::Drained, 1);
            world.fence(&conn);
            assert_eq!(conn.log.count(Call::Drained), 1);
        },
    );
}

#[test]
fn what_a_callback_does_through_its_own_handle_comes_right_after_it() {
    // section 4: its own strand is busy, so it goes to the mailbox
    each_of(
        |set| matches!(set, Set::Shared | Set::SharedDefer),
        |config| {
            let mut world = config.world();
            let (conn, mut peer) = config.start_with(
                &mut world,
                |b| b,
                |cx, call| {
                    let Some(handle) = cx.handle() else { return };
                    if *call == Call::User(1) {
                        handle.write(b"by handle, ").unwrap();
                        cx.write(b"at once, ").unwrap();
                        handle.trigger_event(2, Trigger::PLAIN).unwrap();
                        cx.trigger_event(3, Trigger::PLAIN);
                        handle.disable(Interest::READ).unwrap();
                        handle.trigger(Interest::READ, Trigger::PLAIN).unwrap();
                    }
                },
            );
            world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
            world.until_called(&conn, Call::User(2), 1);
            if !matches!(config.shape, Shape::Pinned) {
                assert_eq!(world.receive(&mut peer, 20), b"at once, by handle, ");
            }
            let calls: Vec<_> = conn.log.calls().into_iter().filter(|call| *call != Call::Write).collect();
            assert_eq!(calls, [Call::User(1), Call::Read, Call::User(3), Call::User(2)]);
        },
    );
}

#[test]
fn two_that_write_to_each_other_from_two_threads_always_finish() {
    // X-01, section 4, section 3.1: libevent's callbacks deadlock here (its issues 1361 and 1750)
    const ROUNDS: usize = 150;
    each(|config| {
        if config.shape != (Shape::Threads { workers: 2, bases: 2 }) || !config.set.is_shared() {
            return;
        }
        for (one, other) in SETS.into_iter().filter(|set| set.is_shared()).map(|set| (config.set, set)) {
            let mut world = config.world();
            let handles: Arc<[Mutex<Option<Conn>>; 2]> = Arc::default();
            let mut ends = Vec::new();
            for (me, set) in [one, other].into_iter().enumerate() {
                let (partners, (builder, peer)) = (Arc::clone(&handles), (config.kind.open)());
                let actor = crate::harness::Actor::new(&world, move |cx, call| {
                    if matches!(call, Call::Read) {
                        let mut data = Evbuffer::new();
                        cx.read_buffer(&mut data).unwrap();
                        let partner = partners[1 - me].lock().clone().unwrap();
                        partner.handle().write_buffer(data).unwrap();
                    }
                });
                let conn = world.start(set, builder.caps(None, None), actor).unwrap();
                *handles[me].lock() = Some(conn.clone());
                ends.push((conn, peer));
            }
            let (mut first, mut second) = (ends.remove(0).1, ends.remove(0).1);
            for round in 0..ROUNDS {
                // Both write at the same time; each gets what the other sent.
                let data = pattern(1 + round * 7);
                world.send(&mut first, &data);
                world.send(&mut second, &data);
                if round % 20 == 0 || round + 1 == ROUNDS {
                    world.settle();
                }
            }
            let all: Vec<u8> = (0..ROUNDS).flat_map(|round| pattern(1 + round * 7)).collect();
            assert!(world.receive(&mut first, all.len()) == all);
            assert!(world.receive(&mut second, all.len()) == all);
            // The handlers name each other.
            handles.iter().for_each(|slot| drop(slot.lock().take()));
        }
    });
}

#[test]
fn many_threads_use_one_handle_and_no_operation_is_lost() {
    // section 4, D1
    const EACH: usize = 200;
    each_busy(
        |_| true,
        |config| {
            let mut world = config.world();
            let (conn, mut peer) = config.start_with(&mut world, |b| b.caps(None, None), |_, _| {});
            let users = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..3u8)
                .map(|number| {
                    let (handle, users) = (conn.handle().clone(), Arc::clone(&users));
                    thread::spawn(move || {
                        for i in 0..EACH {
                            while matches!(handle.write(&[number]), Err(Error::MailboxFull { .. })) {
                                thread::yield_now();
                            }
                            if i % 10 == 0 {
                                handle.lock().unwrap().write(&[number]).unwrap();
                                users.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    })
                })
                .collect();
            let mut counts = [0; 3];
            let all = 3 * (EACH + EACH / 10);
            world.receive(&mut peer, all).into_iter().for_each(|number| counts[usize::from(number)] += 1);
            assert_eq!(counts, [EACH + EACH / 10; 3]);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(users.load(Ordering::Relaxed), 3 * EACH / 10);
        },
    );
}

#[test]
fn a_guard_keeps_callbacks_out_and_its_operations_are_one() {
    // C-34: bufferevent_lock
    each_of(Set::is_shared, |config| {
        if !matches!(config.shape, Shape::Threads { .. }) {
            return;
        }
        let mut world = config.world();
        let (conn, mut peer) = config.start_with(&mut world, |b| b, |cx, _| cx.take());
        let handle = conn.handle().clone();
        {
            let mut guard = handle.lock().unwrap();
            world.send(&mut peer, b"from outside");
            guard.trigger(Interest::WRITE, Trigger::IGNORE_WATERMARKS);
            world.settle();
            assert_eq!(conn.log.calls(), [], "it is locked");
            guard.write(b"first ").unwrap();
            guard.write(b"second").unwrap();
        }
        world.until_called(&conn, Call::Read, 1);
        assert_eq!(world.receive(&mut peer, 12), b"first second");
        assert_eq!(conn.log.data(), b"from outside");
    });
}

#[test]
fn both_are_locked_as_one_in_any_order() {
    // section 4: lock_both
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (one, mut one_peer) = config.start(&mut world);
        let (other, mut other_peer) = config.start(&mut world);
        world.send(&mut one_peer, b"moved over");
        world.until_input(&one, 10);
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = [(one.clone(), other.clone()), (other.clone(), one.clone())]
            .into_iter()
            .map(|(first, second)| {
                let done = Arc::clone(&done);
                thread::spawn(move || {
                    for _ in 0..100 {
                        drop(lock_both(first.handle(), second.handle()).unwrap());
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        world.until("both threads", || done.load(Ordering::Relaxed) == 2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        {
            let (mut from, mut to) = lock_both(one.handle(), other.handle()).unwrap();
            to.write_buffer(from.input()).unwrap();
        }
        assert_eq!(world.receive(&mut other_peer, 10), b"moved over");
    });
}
