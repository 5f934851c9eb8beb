//! Bases and workers in any numbers: everything progresses, nothing runs twice at once, control works.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use bufferevent_runtime::{
    After, Builder, Census, Error, Left, MOST, Placement, Reasons, Registered, Runtime, SelectorKind,
};
use bufferevent_sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use common::{Log, Running, Signal, eventually, start, strand};

fn builder(workers: usize, bases: usize) -> Builder {
    Runtime::builder().workers(workers).bases(bases).trace(true)
}

fn running(workers: usize, bases: usize) -> Running {
    Running::start(builder(workers, bases).build().unwrap())
}

/// Home, own seats and top; with stealing and without.
fn shapes() -> impl Iterator<Item = Running> {
    let shared = [(1, 1), (2, 2), (4, 2), (2, 4), (1, 3)].map(|(workers, bases)| builder(workers, bases));
    let pinned = [(1, 1), (2, 2), (3, 2)].map(|(workers, bases)| builder(workers, bases).pinned(true));
    let portable =
        [SelectorKind::Portable, SelectorKind::PortableWithoutEdges].map(|kind| builder(2, 2).selector(kind));
    shared.into_iter().chain(pinned).chain(portable).map(|builder| Running::start(builder.build().unwrap()))
}

#[test]
fn impossible_numbers_are_error_values() {
    let _census = Census::begin();
    assert!(matches!(builder(0, 1).build(), Err(Error::InvalidWorkers { workers: 0, limit: MOST })));
    assert!(matches!(builder(MOST + 1, 1).build(), Err(Error::InvalidWorkers { .. })));
    assert!(matches!(builder(1, 0).build(), Err(Error::InvalidBases { bases: 0, limit: MOST })));
    assert!(matches!(builder(1, MOST + 1).build(), Err(Error::InvalidBases { .. })));
    assert!(matches!(builder(1, 2).pinned(true).build(), Err(Error::Unsupported(_))));
    assert!(matches!(builder(1, 1).thread_name("a\0b").build(), Err(Error::Unsupported(_))));
    let runtime = builder(1, 1).build().unwrap();
    let worker = runtime.worker().unwrap();
    assert!(matches!(runtime.worker(), Err(Error::NoWorkerLeft { workers: 1 })));
    assert!(matches!(runtime.run(), Err(Error::NoWorkerLeft { workers: 1 })));
    assert_eq!(worker.index(), 0);
}

#[test]
fn a_runtime_is_run_once() {
    let _census = Census::begin();
    for running in shapes() {
        let fence = Signal::new();
        let raised = Arc::clone(&fence);
        running.runtime.spawn(move || raised.raise()).unwrap();
        fence.wait();
        let runtime = running.runtime.clone();
        assert!(matches!(runtime.run(), Err(Error::AlreadyRun)), "it is run");
        runtime.stop();
        running.join().unwrap().unwrap();
        assert!(matches!(runtime.run(), Err(Error::AlreadyRun)), "it was run");
    }
}

#[test]
fn posts_timers_strands_and_tasks_run_in_every_shape() {
    let _census = Census::begin();
    for running in shapes() {
        let done = Signal::new();
        let mut expected = 0;
        for round in 0..20 {
            for base in running.runtime.bases() {
                let signal = Arc::clone(&done);
                base.post(move |_| signal.raise()).unwrap();
                let signal = Arc::clone(&done);
                base.post(move |base| {
                    base.after(Duration::from_millis(round % 3), move |_| signal.raise());
                })
                .unwrap();
                for placement in [Placement::Any, Placement::Base] {
                    let signal = Arc::clone(&done);
                    let made = strand(&base, placement, move |_, reasons, _| {
                        if reasons.contains(Reasons::START) {
                            signal.raise();
                        }
                        if reasons.contains(Reasons::TIMER) {
                            signal.raise();
                            return Left::Dead;
                        }
                        Left::Idle
                    });
                    made.arm(Some(base.deadline(Duration::from_millis(1))));
                }
                let signal = Arc::clone(&done);
                running.runtime.spawn(move || signal.raise()).unwrap();
                expected += 7;
            }
            done.wait_for(expected);
        }
        for base in running.runtime.bases() {
            eventually("all strands are forgotten", || base.objects() == 0);
        }
    }
}

#[test]
fn sockets_are_served_in_every_shape() {
    let _census = Census::begin();
    for running in shapes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for base in running.runtime.bases() {
            let mut peer = TcpStream::connect(address).unwrap();
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let key = base.reserve();
            let registered =
                Registered::new(base.selector(), stream, key.token()).map_err(|(_, error)| error).unwrap();
            base.post(move |base| {
                let source = common::FnSource(move |_: &mut bufferevent_runtime::Base, reasons: Reasons| {
                    if !reasons.contains(Reasons::READABLE) {
                        return After::Idle;
                    }
                    let mut byte = [0];
                    let mut stream = registered.source();
                    while let Ok(1) = stream.read(&mut byte) {
                        stream.write_all(&byte).unwrap();
                    }
                    registered.rearm(key.token(), bufferevent_runtime::Ready::READABLE).unwrap();
                    After::Idle
                });
                base.insert_boxed(
                    key,
                    bufferevent_runtime::IntoSource::<bufferevent_runtime::Movable>::into_source(source),
                );
                base.post_to(key, Reasons::READABLE);
            })
            .unwrap();
            peer.set_read_timeout(Some(common::PATIENCE)).unwrap();
            for value in 0..50 {
                peer.write_all(&[value]).unwrap();
                let mut answer = [0];
                peer.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [value]);
            }
        }
    }
}

#[test]
fn a_busy_base_does_not_keep_the_others_from_their_worker() {
    // Four bases on two workers, two of them never at rest: a source that always asks to run again.
    let _census = Census::begin();
    let running = running(2, 4);
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), Signal::new());
    for index in [0, 1] {
        let (stop, ended) = (Arc::clone(&stop), Arc::clone(&ended));
        running
            .base(index)
            .post(move |base| {
                start(base, move |_, _| {
                    // ORDER: Acquire, pairs with the Release below.
                    if !stop.load(Ordering::Acquire) {
                        return After::Again(Reasons::USER);
                    }
                    ended.raise();
                    After::Remove
                });
            })
            .unwrap();
    }
    for round in 0..50 {
        let done = Signal::new();
        for base in running.runtime.bases() {
            let signal = Arc::clone(&done);
            base.post(move |base| {
                base.after(Duration::from_millis(round % 2), move |_| signal.raise());
            })
            .unwrap();
        }
        done.wait_for(4);
    }
    // ORDER: Release, pairs with the Acquire above.
    stop.store(true, Ordering::Release);
    ended.wait_for(2);
}

#[test]
fn a_busy_strand_does_not_keep_the_others_from_their_worker() {
    let _census = Census::begin();
    for (workers, bases) in [(1, 1), (1, 3), (2, 2)] {
        let running = running(workers, bases);
        let _busy: Vec<_> = (0..workers)
            .map(|_| strand(&running.base(0), Placement::Any, |_, _, _| Left::Again(Reasons::USER)))
            .collect();
        let done = Signal::new();
        for round in 1..=20 {
            for base in running.runtime.bases() {
                let signal = Arc::clone(&done);
                base.post(move |base| {
                    base.after(Duration::ZERO, move |_| signal.raise());
                })
                .unwrap();
            }
            done.wait_for(round * bases as u64);
        }
    }
}

#[test]
fn a_storm_of_tasks_is_done_and_spawned_ones_may_spawn() {
    let _census = Census::begin();
    for running in [running(2, 2), running(2, 4), running(3, 1)] {
        let done = Signal::new();
        for _ in 0..200 {
            let (signal, runtime) = (Arc::clone(&done), running.runtime.clone());
            let task = move || {
                for _ in 0..20 {
                    let signal = Arc::clone(&signal);
                    runtime.spawn(move || signal.raise()).unwrap();
                }
            };
            running.runtime.spawn(task).unwrap();
        }
        done.wait_for(4_000);
    }
}

#[test]
fn strands_of_placement_base_never_run_beside_their_base() {
    // D18
    let _census = Census::begin();
    for running in [running(2, 2), running(3, 1), running(2, 4)] {
        let inside = Arc::new(AtomicUsize::new(0));
        let alone = move |inside: &AtomicUsize| {
            // ORDER: AcqRel; counts who is inside.
            assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0, "two at once");
            thread::yield_now();
            inside.fetch_sub(1, Ordering::AcqRel);
        };
        let done = Signal::new();
        let strands: Vec<_> = (0..4)
            .map(|_| {
                let (inside, done) = (Arc::clone(&inside), Arc::clone(&done));
                strand(&running.base(0), Placement::Base, move |_, _, _| {
                    alone(&inside);
                    done.raise();
                    Left::Idle
                })
            })
            .collect();
        // Strands that may run anywhere leave the base's core in its slot, where others may take it.
        let _anywhere: Vec<_> = (0..2)
            .map(|_| {
                strand(&running.base(0), Placement::Any, |_, _, _| {
                    thread::sleep(Duration::from_micros(300));
                    Left::Again(Reasons::USER)
                })
            })
            .collect();
        for _ in 0..300 {
            let before = done.count();
            strands.iter().for_each(|strand| strand.post(Reasons::USER));
            let (inside, signal) = (Arc::clone(&inside), Arc::clone(&done));
            running
                .base(0)
                .post(move |_| {
                    alone(&inside);
                    signal.raise();
                })
                .unwrap();
            eventually("one runs", || done.count() > before);
        }
        assert_eq!(running.base(0).counters().panics.get(), 0, "nobody found another inside");
    }
}

#[test]
fn strands_of_one_base_may_run_at_the_same_time() {
    // D18: each waits for the other.
    let _census = Census::begin();
    for running in [running(2, 2), running(2, 1), running(2, 3)] {
        let (here, there) = (Signal::new(), Signal::new());
        let met = Signal::new();
        for (mine, other) in [(&here, &there), (&there, &here)] {
            let (mine, other, met) = (Arc::clone(mine), Arc::clone(other), Arc::clone(&met));
            strand(&running.base(0), Placement::Any, move |_, _, _| {
                mine.raise();
                other.wait();
                met.raise();
                Left::Dead
            });
        }
        met.wait_for(2);
    }
}

#[test]
fn a_base_of_a_runtime_rests_after_a_break_until_it_is_resumed() {
    let _census = Census::begin();
    for running in shapes() {
        let base = running.base(0);
        let log = Log::default();
        let mine = log.clone();
        let made = strand(&base, Placement::Any, move |_, reasons, _| {
            mine.add(format!("{reasons:?}"));
            Left::Idle
        });
        eventually("it started", || log.take() == ["START"]);
        for by_exit in [false, true] {
            if by_exit {
                base.exit();
                eventually("it rests", || running.runtime.dump().contains("broken: true"));
            } else {
                base.break_now();
            }
            assert!(base.is_ending());
            made.post(Reasons::USER);
            let (mine, done) = (log.clone(), Signal::new());
            let signal = Arc::clone(&done);
            base.post(move |base| {
                mine.add("post");
                base.after(Duration::ZERO, move |_| signal.raise());
            })
            .unwrap();
            for other in running.runtime.bases().iter().skip(1) {
                let other_done = Signal::new();
                let signal = Arc::clone(&other_done);
                other.post(move |_| signal.raise()).unwrap();
                other_done.wait();
            }
            let parks = || running.runtime.worker_counters().map(|worker| worker.parks.get()).sum::<u64>();
            let (before, polls) = (parks(), base.counters().polls.get());
            thread::sleep(Duration::from_millis(30));
            assert!(log.take().is_empty(), "nothing of it runs");
            assert!(parks() - before < 200 && base.counters().polls.get() - polls < 200, "and nobody spins");
            base.resume();
            done.wait();
            eventually("what was held runs", || {
                let seen = log.take();
                let both = seen.len() == 2;
                seen.into_iter().for_each(|what| log.add(what));
                both
            });
            let mut seen = log.take();
            seen.sort();
            assert_eq!(seen, ["USER", "post"]);
            assert!(!base.is_ending());
        }
    }
}

#[test]
fn a_break_that_races_with_its_resume_loses_no_token() {
    let _census = Census::begin();
    let running = running(2, 2);
    let base = running.base(0);
    let ran = Signal::new();
    let mine = Arc::clone(&ran);
    let made = strand(&base, Placement::Any, move |_, _, _| {
        mine.raise();
        Left::Idle
    });
    ran.wait();
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // ORDER: Acquire, pairs with the Release below.
            while !stop.load(Ordering::Acquire) {
                base.break_now();
                base.resume();
            }
        });
        for _ in 0..2_000 {
            let before = ran.count();
            made.post(Reasons::USER);
            ran.wait_for(before + 1);
        }
        // ORDER: Release, pairs with the Acquire above.
        stop.store(true, Ordering::Release);
    });
}

#[test]
fn turning_a_base_of_a_runtime_is_refused() {
    let _census = Census::begin();
    let running = running(1, 1);
    let answered = Signal::new();
    let mine = Arc::clone(&answered);
    running
        .base(0)
        .post(move |base| {
            assert!(matches!(base.turn(Some(Duration::ZERO)), Err(Error::Reentrant)));
            assert!(matches!(base.nest(), Err(Error::Reentrant)));
            mine.raise();
        })
        .unwrap();
    answered.wait();
}

#[test]
fn a_dump_names_what_waits() {
    let _census = Census::begin();
    let running = running(1, 1);
    let (inside, leave) = (Signal::new(), Signal::new());
    let (mine, end) = (Arc::clone(&inside), Arc::clone(&leave));
    let first = strand(&running.base(0), Placement::Any, move |_, _, _| {
        mine.raise();
        end.wait();
        Left::Idle
    });
    inside.wait();
    assert!(first.waiting_since().is_none(), "it runs");
    let second = strand(&running.base(0), Placement::Any, |_, _, _| Left::Idle);
    first.post(Reasons::USER);
    let dump = running.runtime.dump();
    for part in ["worker 0", "base 0", "parks", "len: 1", "broken: false"] {
        assert!(dump.contains(part), "{part} is not in\n{dump}");
    }
    leave.raise();
    eventually("it ran", || second.waiting_since().is_none());
}
