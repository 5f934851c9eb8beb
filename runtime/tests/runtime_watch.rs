//! A worker that is stuck in a callback: what else it owes is done by others. Each callback here is stuck until that has
//! happened, so nothing is measured; if nobody looks after it, `Signal::wait` fails the test.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{sync::Arc, thread, time::Duration};

use bufferevent_runtime::{After, BaseHandle, Census, Left, Placement, Reasons, Runtime, Strand};
use bufferevent_sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use common::{Running, Script, Signal, eventually, start, strand};

/// Longer than a watch lasts that nobody wishes for: all workers sleep then.
const ALL_SLEEP: Duration = Duration::from_millis(60);

fn running(workers: usize, bases: usize) -> Running {
    let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
    thread::sleep(ALL_SLEEP);
    running
}

/// A strand that calls `run` when USER is posted to it.
fn on_post(base: &BaseHandle, run: impl Fn() + Send + Sync + 'static) -> Arc<Strand<Script>> {
    strand(base, Placement::Any, move |_, reasons, _| {
        if reasons.contains(Reasons::USER) {
            run();
        }
        Left::Idle
    })
}

/// A strand that is stuck, once it is posted to, until `done` was raised `times` times; `inside` tells that it is.
fn stuck(base: &BaseHandle, done: &Arc<Signal>, times: u64) -> (Arc<Strand<Script>>, Arc<Signal>) {
    let (done, inside) = (Arc::clone(done), Signal::new());
    let told = Arc::clone(&inside);
    let strand = on_post(base, move || {
        told.raise();
        done.wait_for(times);
    });
    (strand, inside)
}

#[test]
fn a_base_that_was_taken_and_not_turned_yet_is_looked_after() {
    let _census = Census::begin();
    for _ in 0..10 {
        let running = running(2, 3);
        let done = Signal::new();
        let held_up = Arc::new(AtomicBool::new(false));
        let other = Arc::clone(&held_up);
        let second = on_post(&running.base(2), move || {
            other.store(true, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(30));
        });
        let (long, _) = stuck(&running.base(0), &done, 1);
        let next = running.base(1);
        let theirs = Arc::clone(&done);
        let post = move |base: &mut bufferevent_runtime::Base| {
            let (mut phase, mut turns) = (0, 0);
            start(base, move |base, _| {
                match phase {
                    // The other worker is busy, so it is this one that takes the edge of the next base ...
                    0 if held_up.load(Ordering::SeqCst) => {
                        phase = 1;
                        turns = base.counters().turns.get();
                        let theirs = Arc::clone(&theirs);
                        next.post(move |_| theirs.raise()).unwrap();
                    }
                    // ... after this turn, and is stuck in the one that follows.
                    1 if base.counters().turns.get() == turns + 1 => {
                        phase = 2;
                        long.post(Reasons::USER);
                    }
                    2 => return After::Idle,
                    _ => {}
                }
                After::Again(Reasons::USER)
            });
        };
        running.base(0).post(post).unwrap();
        thread::sleep(Duration::from_millis(2));
        second.post(Reasons::USER);
        done.wait();
    }
}

#[test]
fn a_worker_whose_base_is_in_other_hands_helps_meanwhile() {
    let _census = Census::begin();
    for bases in [2, 3] {
        let running = running(2, bases);
        let done = Signal::new();
        let rescued = Signal::new();
        let (long, inside) = stuck(&running.base(0), &rescued, 1);
        let theirs = Arc::clone(&done);
        let quick = on_post(&running.base(0), move || theirs.raise());
        long.post(Reasons::USER);
        inside.wait();
        // The watcher takes both messages: the token goes to its deque, then it is stuck in the closure.
        let post = Arc::clone(&done);
        running
            .base(0)
            .post(move |_| {
                quick.post(Reasons::USER);
                rescued.raise();
                post.wait();
            })
            .unwrap();
        done.wait();
    }
}

#[test]
fn a_call_reaches_a_sleeper_whoever_looks_into_the_top_epoll() {
    let _census = Census::begin();
    for _ in 0..30 {
        let running = running(3, 4);
        let done = Signal::new();
        let (long, _) = stuck(&running.base(0), &done, 1);
        let theirs = Arc::clone(&done);
        let quick = on_post(&running.base(0), move || theirs.raise());
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let busy = move |base: &mut bufferevent_runtime::Base| {
            start(base, move |_, _| match ends.load(Ordering::Relaxed) {
                true => After::Idle,
                false => After::Again(Reasons::USER),
            });
        };
        running.base(1).post(busy).unwrap();
        thread::sleep(Duration::from_millis(3));
        running
            .base(0)
            .post(move |_| {
                long.post(Reasons::USER);
                quick.post(Reasons::USER);
            })
            .unwrap();
        done.wait();
        stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_watcher_that_gets_stuck_is_watched() {
    let _census = Census::begin();
    for bases in [3, 4] {
        let running = running(3, bases);
        let done = Signal::new();
        let (long, inside) = stuck(&running.base(0), &done, 2);
        long.post(Reasons::USER);
        inside.wait();
        let (watcher, theirs) = (Signal::new(), Arc::clone(&done));
        let told = Arc::clone(&watcher);
        running
            .base(0)
            .post(move |_| {
                told.raise();
                theirs.wait_for(2);
            })
            .unwrap();
        watcher.wait();
        for base in 1..3 {
            let theirs = Arc::clone(&done);
            running.base(base).post(move |_| theirs.raise()).unwrap();
        }
        done.wait_for(2);
    }
}

#[test]
fn a_watcher_heeds_the_exit_of_a_base() {
    let _census = Census::begin();
    for bases in [2, 3] {
        let running = running(2, bases);
        let done = Signal::new();
        let (long, inside) = stuck(&running.base(0), &done, 1);
        long.post(Reasons::USER);
        inside.wait();
        let base = running.base(0);
        base.exit();
        eventually("the base rests", || base.is_ending() && running.runtime.dump().contains("broken: true"));
        let ran = Arc::new(AtomicUsize::new(0));
        let (counted, told) = (Arc::clone(&ran), Arc::clone(&done));
        base.post(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            told.raise();
        })
        .unwrap();
        let rescues = || running.runtime.worker_counters().map(|worker| worker.rescues.get()).sum::<u64>();
        let before = rescues();
        eventually("the watcher looks again", || rescues() > before + 3);
        assert_eq!(ran.load(Ordering::SeqCst), 0, "a base at rest ran");
        base.resume();
        done.wait();
    }
}

/// Those that keep watch wake at the same moments: none of them is anything to keep watch for.
#[test]
fn watchers_do_not_keep_each_other_awake() {
    let _census = Census::begin();
    for (workers, bases) in [(2, 2), (4, 4), (3, 1), (2, 3)] {
        let running = running(workers, bases);
        let parks = || running.runtime.worker_counters().map(|worker| worker.parks.get()).sum::<u64>();
        let told = Signal::new();
        let raises = Arc::clone(&told);
        let strand = on_post(&running.base(0), move || raises.raise());
        for round in 1..=50 {
            strand.post(Reasons::USER);
            told.wait_for(round);
        }
        eventually("all sleep", || {
            let before = parks();
            thread::sleep(ALL_SLEEP);
            parks() == before
        });
    }
}
