//! Guards: one strand at a time, work that they held up runs when they are dropped, nothing waits for them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{sync::Arc, thread};

use bufferevent_runtime::{
    Census, Error, Left, Movable, Placement, Reasons, Runtime, Strand, StrandGuard, holds_strand, lock_both,
};
use common::{Log, Running, Script, Signal, eventually, strand};

fn running(workers: usize) -> Running {
    Running::start(Runtime::builder().workers(workers).build().unwrap())
}

/// A strand that tells of its runs.
fn counting(running: &Running, placement: Placement) -> (Arc<Strand<Script>>, Arc<Signal>, Log) {
    let (runs, log) = (Signal::new(), Log::default());
    let (signal, mine) = (Arc::clone(&runs), log.clone());
    let strand = strand(&running.base(0), placement, move |held, reasons, _| {
        assert!(holds_strand());
        held.body().value += 1;
        mine.add(format!("{reasons:?}"));
        signal.raise();
        Left::Idle
    });
    runs.wait();
    eventually("the first run is over", || strand.try_lock().is_some());
    log.take();
    (strand, runs, log)
}

#[test]
fn what_a_guard_held_up_runs_once_when_it_drops() {
    // H hazard 3: no further event comes.
    let _census = Census::begin();
    let running = running(2);
    for placement in [Placement::Any, Placement::Base] {
        let (strand, _, log) = counting(&running, placement);
        for round in 1..200 {
            let guard = strand.lock().unwrap();
            let value = guard.value;
            strand.post(Reasons::USER);
            strand.post(Reasons::MAIL);
            // A run of another strand on the same queue shows that the token was tried, at times.
            if round % 7 == 0 {
                let (other, ran, _) = counting(&running, placement);
                drop((other, ran));
            }
            assert_eq!(guard.value, value, "nobody runs under a guard");
            drop(guard);
            let mut seen = String::new();
            eventually("both reasons arrive", || {
                seen += &log.take().join(" ");
                seen.contains("USER") && seen.contains("MAIL")
            });
            assert_eq!(seen.matches("USER").count() + seen.matches("MAIL").count(), 2, "once: {seen}");
            eventually("the strand rests", || !format!("{strand:?}").contains("RUNNING"));
        }
    }
}

#[test]
fn reasons_posted_on_drop_arrive() {
    let _census = Census::begin();
    let running = running(1);
    let (strand, runs, log) = counting(&running, Placement::Any);
    let mut guard = strand.lock().unwrap();
    guard.post_on_drop(Reasons::GUARD);
    guard.post_on_drop(Reasons::USER);
    guard.value = 100;
    drop(guard);
    runs.wait_for(2);
    assert_eq!(log.take(), ["GUARD | USER"]);
    assert_eq!(strand.lock().unwrap().value, 101);
}

#[test]
fn a_thread_that_holds_a_strand_is_refused_another() {
    let _census = Census::begin();
    let running = running(1);
    let (one, ..) = counting(&running, Placement::Any);
    let (other, ..) = counting(&running, Placement::Any);
    let guard = one.lock().unwrap();
    assert!(holds_strand());
    assert!(matches!(one.lock(), Err(Error::WouldDeadlock)));
    assert!(matches!(other.lock(), Err(Error::WouldDeadlock)));
    assert!(matches!(lock_both(&one, &other), Err(Error::WouldDeadlock)));
    assert!(one.try_lock().is_none());
    assert!(other.try_lock().is_some(), "trying never waits, so it is allowed");
    drop(guard);
    assert!(!holds_strand());
    assert!(matches!(lock_both(&one, &one), Err(Error::WouldDeadlock)));
    let (mut first, mut second) = lock_both(&one, &other).unwrap();
    (first.value, second.value) = (1, 2);
    assert!(Arc::ptr_eq(first.strand(), &one) && Arc::ptr_eq(second.strand(), &other));
}

#[test]
fn a_callback_is_refused_a_lock_and_may_try_one() {
    let _census = Census::begin();
    let running = running(2);
    let (other, ..) = counting(&running, Placement::Any);
    let answer = Signal::new();
    let mine = Arc::clone(&answer);
    let _asking = strand(&running.base(0), Placement::Any, move |held, _, _| {
        assert!(matches!(held.strand().lock(), Err(Error::WouldDeadlock)));
        assert!(matches!(other.lock(), Err(Error::WouldDeadlock)));
        assert!(held.strand().try_lock().is_none());
        assert!(other.try_lock().is_some());
        let ((), locked) = held.unlocked(|| {
            assert!(!holds_strand());
            assert!(other.lock().is_ok(), "nothing is held here");
        });
        assert!(locked);
        mine.raise();
        Left::Idle
    });
    answer.wait();
}

#[test]
fn locking_both_in_either_order_from_many_threads_ends() {
    let _census = Census::begin();
    let running = running(2);
    let (one, ..) = counting(&running, Placement::Any);
    let (other, ..) = counting(&running, Placement::Any);
    thread::scope(|scope| {
        for turn in 0..4 {
            let (a, b) = if turn % 2 == 0 { (&one, &other) } else { (&other, &one) };
            scope.spawn(move || {
                for _ in 0..500 {
                    let (mut a, mut b) = lock_both(a, b).unwrap();
                    a.value += 1;
                    b.value += 1;
                    b.post_on_drop(Reasons::USER);
                }
            });
        }
    });
    assert!(one.lock().unwrap().value > 2_000);
}

#[test]
fn a_run_whose_lock_is_taken_while_it_is_unlocked_goes_on_when_the_guard_drops() {
    let _census = Census::begin();
    let running = running(1);
    let (inside, locked, contended, again) = (Signal::new(), Signal::new(), Signal::new(), Signal::new());
    let signals = [&inside, &locked, &contended, &again].map(Arc::clone);
    let strand = strand(&running.base(0), Placement::Any, move |held, reasons, _| {
        let [inside, locked, contended, again] = &signals;
        if reasons.contains(Reasons::DEFERRED) {
            again.raise();
            return Left::Idle;
        }
        let ((), kept) = held.unlocked(|| {
            inside.raise();
            locked.wait();
        });
        assert!(!kept);
        contended.raise();
        Left::Contended(Reasons::DEFERRED)
    });
    inside.wait();
    let guard: StrandGuard<'_, Script> = strand.lock().unwrap();
    locked.raise();
    contended.wait();
    // The worker is free while the guard is held.
    let alive = Signal::new();
    let mine = Arc::clone(&alive);
    running.runtime.spawn(move || mine.raise()).unwrap();
    alive.wait();
    assert_eq!(again.count(), 0);
    drop(guard);
    again.wait();
}

#[test]
fn a_guard_outlives_the_runtime() {
    let _census = Census::begin();
    let running = running(2);
    let (strand, ..) = counting(&running, Placement::Any);
    let mut guard = strand.lock().unwrap();
    guard.post_on_drop(Reasons::USER);
    strand.post(Reasons::USER);
    let handle = running.base(0);
    drop(running);
    assert!(matches!(handle.post(|_| {}), Err(Error::Closed)));
    assert_eq!(guard.abandoned.count(), 0);
    drop(guard);
    assert_eq!(strand.lock().unwrap().abandoned.count(), 1, "the guard's drop found the base gone");
    strand.arm(None);
    strand.post(Reasons::USER);
}

#[test]
fn auto_traits() {
    let _census = Census::begin();
    trait Sends {
        const SEND: bool = false;
    }
    impl<T> Sends for T {}
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Arc<Strand<Script>>>();
    sync::<Strand<Script>>();
    send::<bufferevent_runtime::Base<Movable>>();
    send::<bufferevent_runtime::BaseHandle>();
    sync::<bufferevent_runtime::BaseHandle>();
    send::<bufferevent_runtime::BaseHandle<bufferevent_runtime::Pinned>>();
    send::<bufferevent_runtime::ListenerHandle>();
    sync::<bufferevent_runtime::ListenerHandle>();
    send::<bufferevent_runtime::Worker>();
    send::<Runtime>();
    sync::<Runtime>();
    send::<Error>();
    sync::<Error>();

    /// The inherent constant is chosen only if `T` is `Send`.
    struct Is<T>(std::marker::PhantomData<T>);
    impl<T: Send> Is<T> {
        const SEND: bool = true;
    }
    const { assert!(Is::<Runtime>::SEND) };
    const { assert!(!Is::<std::rc::Rc<()>>::SEND) };
    const { assert!(!Is::<StrandGuard<'static, Script>>::SEND) };
    const { assert!(!Is::<bufferevent_runtime::Base<bufferevent_runtime::Pinned>>::SEND) };
}
