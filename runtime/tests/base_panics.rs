//! Panics in callbacks: posts, timers, tasks and drops are isolated; what gets out of a source or a strand ends that one,
//! goes on up when the turn is over, and leaves the base whole.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use bufferevent_runtime::{
    After, Base, Census, Clock, Error, Left, Movable, Pinned, Placement, Reasons, Runtime, Turned,
};
use common::{Log, Running, Script, Signal, eventually, start, strand};

const NOW: Option<Duration> = Some(Duration::ZERO);

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn a_post_or_timer_that_panics_is_counted_and_ends_alone() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    base.handle().post(|_| panic!("post")).unwrap();
    base.after(Duration::ZERO, |_| panic!("timer"));
    base.every(Duration::from_millis(1), |_| panic!("every"));
    assert_eq!(base.run().unwrap(), Turned::Empty, "the repeated timer is gone too");
    assert_eq!(base.counters().panics.get(), 3);
}

#[test]
fn a_source_that_panics_is_dropped_and_the_panic_comes_out_of_the_turn() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let log = Log::default();
    let mine = log.clone();
    let key = start(&mut base, |_, _| panic!("source"));
    start(&mut base, move |_, _| {
        mine.add("the next one");
        After::Remove
    });
    let panic = catch_unwind(AssertUnwindSafe(|| base.turn(NOW))).unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "source");
    assert!(log.take().is_empty(), "the turn ended with the panic");
    assert_eq!((base.len(), base.counters().panics.get()), (1, 1));
    assert!(!base.remove(key));
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["the next one"]);
}

#[test]
fn a_strand_that_panics_is_abandoned_and_its_word_is_free() {
    let _census = Census::begin();
    for placement in [Placement::Any, Placement::Base] {
        let mut base = Base::<Movable>::with_clock(bufferevent_runtime::Clock::monotonic()).unwrap();
        let strand = base.strand(placement, (), |_| Script::new(|_, _, _| panic!("strand")));
        catch_unwind(AssertUnwindSafe(|| base.turn(NOW))).unwrap_err();
        assert_eq!(strand.lock().unwrap().abandoned.count(), 1);
        strand.post(Reasons::USER);
        assert_eq!(base.run().unwrap(), Turned::Empty, "its slot is empty, and its key is free");
    }
}

#[test]
fn a_strand_that_panics_outside_its_lock_while_a_guard_holds_it_is_asked_to_close() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(1).build().unwrap());
    let (inside, locked, closed) = (Signal::new(), Signal::new(), Signal::new());
    let (in_run, lock_taken, close) = (Arc::clone(&inside), Arc::clone(&locked), Arc::clone(&closed));
    let strand = strand(&running.base(0), Placement::Any, move |held, reasons, _| {
        if reasons.contains(Reasons::CLOSE) {
            close.raise();
            return Left::Dead;
        }
        held.unlocked(|| {
            in_run.raise();
            lock_taken.wait();
            panic!("outside the lock");
        });
        unreachable!()
    });
    inside.wait();
    let guard = strand.lock().unwrap();
    locked.raise();
    eventually("the panic is counted", || running.base(0).counters().panics.get() == 1);
    drop(guard);
    assert!(matches!(running.join().unwrap(), Err(Error::WorkerPanicked { worker: 0, .. })));
    assert_eq!(closed.count(), 1, "by the panic, or by the end of the runtime");
    drop(strand);
}

#[test]
fn a_panic_ends_the_runtime_and_run_names_the_worker() {
    // F59
    let _census = Census::begin();
    for (workers, bases) in [(1, 1), (2, 2), (2, 4), (3, 1)] {
        for on_strand in [false, true] {
            let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
            let base = running.base(bases - 1);
            if on_strand {
                strand(&base, Placement::Any, |_, _, _| panic!("out"));
            } else {
                base.post(|base| {
                    start(base, |_, _| panic!("out"));
                })
                .unwrap();
            }
            let Err(Error::WorkerPanicked { worker, message }) = running.join().unwrap() else {
                panic!("{workers} workers, {bases} bases: it says nothing");
            };
            assert_eq!(message, "out");
            // A source runs with its base, a base with its worker, where each has one.
            let at_home = !on_strand && bases <= workers;
            assert!(if at_home { worker == bases - 1 } else { worker < workers });
        }
    }
}

#[test]
fn a_panic_leaves_the_others_time_to_end_and_is_told_to_all_who_run_a_worker() {
    // F59: what lives on its base, and on the others, is asked to close and has its say
    let _census = Census::begin();
    for (workers, bases) in [(1, 1), (2, 2), (2, 4), (3, 1)] {
        let runtime = Runtime::builder().workers(workers).bases(bases).build().unwrap();
        let threads: Vec<_> = (0..workers)
            .map(|_| runtime.worker().unwrap())
            .map(|worker| thread::spawn(move || worker.run()))
            .collect();
        let (closing, ended) = (Signal::new(), Signal::new());
        for base in runtime.bases() {
            for placement in [Placement::Any, Placement::Base] {
                let (closing, ended) = (Arc::clone(&closing), Arc::clone(&ended));
                strand(&base, placement, move |_, reasons, _| {
                    if reasons.contains(Reasons::CLOSE) {
                        closing.raise();
                        // It has something to do still, and a panic more.
                        return Left::Again(Reasons::USER);
                    }
                    if reasons.contains(Reasons::USER) {
                        ended.raise();
                        panic!("another one");
                    }
                    Left::Idle
                });
            }
        }
        strand(&runtime.bases()[0], Placement::Any, |_, _, _| panic!("the {}", "first"));
        let told: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!((closing.count(), ended.count()), (2 * bases as u64, 2 * bases as u64));
        for answer in &told {
            let Err(Error::WorkerPanicked { worker, message }) = answer else { panic!("{answer:?}") };
            assert!(*worker < workers && message == "the first", "{answer:?}");
        }
    }
}

#[test]
fn a_stop_cuts_the_grace_after_a_panic_short_and_so_does_a_shutdown_under_way() {
    // F59: neither begins anew
    let _census = Census::begin();
    for shuts_down in [false, true] {
        let (clock, hand) = Clock::manual();
        let runtime = Runtime::builder().workers(2).clock(clock).build().unwrap();
        let running = Running::start(runtime);
        let (asked, base) = (Signal::new(), running.base(1));
        let theirs = Arc::clone(&asked);
        // It does not close.
        let stays = strand(&base, Placement::Any, move |_, reasons, _| {
            if reasons.contains(Reasons::CLOSE) {
                theirs.raise();
            }
            Left::Idle
        });
        if shuts_down {
            running.runtime.shutdown(Duration::from_secs(1)).unwrap();
        }
        strand(&running.base(0), Placement::Any, |_, _, _| panic!("out"));
        asked.wait();
        let panics = || running.runtime.bases().iter().map(|base| base.counters().panics.get()).sum::<u64>();
        eventually("the panic", || panics() == 1);
        match shuts_down {
            true => drop(hand.advance(Duration::from_secs(1))),
            false => running.runtime.stop(),
        }
        // Of a clock that is turned by hand nobody tells a worker that sleeps.
        running.base(0).post(|_| {}).ok();
        assert!(matches!(running.join().unwrap(), Err(Error::WorkerPanicked { .. })));
        assert_eq!(stays.lock().unwrap().abandoned.count(), 1);
    }
}

#[test]
fn a_spawned_task_that_panics_ends_alone() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).build().unwrap());
    let done = Signal::new();
    for _ in 0..20 {
        running.runtime.spawn(|| panic!("task")).unwrap();
        let mine = Arc::clone(&done);
        running.runtime.spawn(move || mine.raise()).unwrap();
    }
    done.wait_for(20);
}

#[test]
fn a_panic_in_a_drop_is_counted_and_goes_no_further() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let handle = base.handle();
    for _ in 0..2 {
        let bomb = PanicsOnDrop;
        let key = base.insert(common::FnSource(move |_: &mut Base<Pinned>, _| {
            let _keep = &bomb;
            After::Remove
        }));
        base.post_to(key, Reasons::USER);
    }
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(handle.counters().panics.get(), 2);
    // What still lives on a base that is dropped.
    for _ in 0..2 {
        let bomb = PanicsOnDrop;
        base.after(Duration::from_secs(9), move |_| drop(bomb));
        let bomb = PanicsOnDrop;
        base.strand(Placement::Any, (), |_| {
            Script::new(move |_, _, _| {
                let _keep = &bomb;
                Left::Idle
            })
        });
    }
    let handle_of_strands = base.handle().as_movable();
    drop(base);
    assert_eq!(handle_of_strands.objects(), 0);
}

#[test]
fn a_panic_in_a_turn_inside_a_callback_is_not_mistaken_for_one_outside() {
    let _census = Census::begin();
    let mut outer = Base::<Pinned>::new().unwrap();
    let log = Log::default();
    let mine = log.clone();
    start(&mut outer, move |_, _| {
        let mut inner = Base::<Pinned>::new().unwrap();
        start(&mut inner, |_, _| panic!("inner"));
        let panic = catch_unwind(AssertUnwindSafe(|| inner.turn(NOW))).unwrap_err();
        mine.add(*panic.downcast_ref::<&str>().unwrap());
        After::Remove
    });
    outer.turn(NOW).unwrap();
    assert_eq!(log.take(), ["inner"]);
}

#[test]
fn a_turn_inside_a_callback_leaves_the_panic_of_the_turn_outside_alone() {
    let _census = Census::begin();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gone_on = Signal::new();
    let mine = Arc::clone(&gone_on);
    runtime.bases()[0]
        .post(move |base: &mut Base<Movable>| {
            start(base, |_, _| panic!("meant"));
            start(base, move |_, _| {
                let mut inner = Base::<Pinned>::new().unwrap();
                inner.turn(NOW).unwrap();
                mine.raise();
                After::Remove
            });
        })
        .unwrap();
    let told = runtime.run();
    assert!(matches!(told, Err(Error::WorkerPanicked { worker: 0, message }) if message == "meant"));
    assert_eq!(gone_on.count(), 1, "what was ready goes on in the next round");
}
