//! Who runs what when one worker has too much, or is stuck: the mechanism, by its counters, and not its speed.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    sync::Arc,
    thread::{self, ThreadId},
    time::Duration,
};

use bufferevent_runtime::{Builder, Census, Left, Placement, Reasons, Runtime, Strand};
use bufferevent_sync::Mutex;
use common::{Running, Script, Signal, eventually, strand};

fn running(workers: usize, bases: usize) -> Running {
    Running::start(builder(workers, bases).build().unwrap())
}

fn builder(workers: usize, bases: usize) -> Builder {
    Runtime::builder().workers(workers).bases(bases)
}

fn total(running: &Running, which: impl Fn(&bufferevent_runtime::WorkerCounters) -> u64) -> u64 {
    running.runtime.worker_counters().map(which).sum()
}

/// A strand that holds its worker until `leave` is raised.
fn blocker(running: &Running, base: usize) -> (Arc<Strand<Script>>, Arc<Signal>, Arc<Signal>) {
    let (inside, leave) = (Signal::new(), Signal::new());
    let (mine, end) = (Arc::clone(&inside), Arc::clone(&leave));
    let strand = strand(&running.base(base), Placement::Any, move |_, reasons, _| {
        if reasons.contains(Reasons::USER) {
            mine.raise();
            end.wait();
        }
        Left::Idle
    });
    (strand, inside, leave)
}

#[test]
fn a_base_whose_worker_is_stuck_is_served_by_an_idle_one() {
    // DESIGN 3; also the very first long callback, in a runtime where all have slept for long.
    let _census = Census::begin();
    for (workers, bases) in [(2, 2), (3, 3), (2, 1), (2, 4)] {
        let running = running(workers, bases);
        let (stuck, inside, leave) = blocker(&running, 0);
        let served = Signal::new();
        let mine = Arc::clone(&served);
        let other = strand(&running.base(0), Placement::Any, move |_, _, _| {
            mine.raise();
            Left::Idle
        });
        served.wait();
        eventually("all sleep", || {
            running.runtime.worker_counters().all(|worker| worker.parks.get() > 0)
                && running.runtime.dump().matches("idle true").count() == workers
                || bases > workers && running.runtime.dump().contains(&format!("sleepers {workers}"))
        });
        thread::sleep(Duration::from_millis(50));
        stuck.post(Reasons::USER);
        inside.wait();
        let before = total(&running, |worker| worker.rescues.get());
        for round in 0..20 {
            // What comes after: strands, timers, posts, confined sources.
            other.post(Reasons::USER);
            let mine = Arc::clone(&served);
            running
                .base(0)
                .post(move |base| {
                    mine.raise();
                    base.after(Duration::ZERO, move |_| mine.raise());
                })
                .unwrap();
            served.wait_for(1 + (round + 1) * 3);
        }
        assert!(
            bases > workers || total(&running, |worker| worker.rescues.get()) > before,
            "{workers} workers, {bases} bases\n{}",
            running.runtime.dump()
        );
        leave.raise();
    }
}

#[test]
fn a_worker_that_gets_stuck_in_the_midst_of_work_is_noticed() {
    let _census = Census::begin();
    let running = running(2, 2);
    let (stuck, inside, leave) = blocker(&running, 0);
    let served = Signal::new();
    let strands: Vec<_> = (0..8)
        .map(|_| {
            let mine = Arc::clone(&served);
            strand(&running.base(0), Placement::Any, move |_, _, _| {
                mine.raise();
                Left::Idle
            })
        })
        .collect();
    served.wait_for(8);
    for round in 0..100 {
        strands.iter().for_each(|strand| strand.post(Reasons::USER));
        served.wait_for(8 + (round + 1) * 4);
        eventually("all ran", || strands.iter().all(|strand| strand.try_lock().is_some()));
    }
    stuck.post(Reasons::USER);
    let before = served.count();
    strands.iter().for_each(|strand| strand.post(Reasons::USER));
    inside.wait();
    served.wait_for(before + 1);
    for _ in 0..10 {
        let before = served.count();
        strands[0].post(Reasons::USER);
        served.wait_for(before + 1);
    }
    leave.raise();
}

#[test]
fn two_stuck_workers_are_served_by_the_third() {
    let _census = Census::begin();
    let running = running(3, 3);
    let stuck: Vec<_> = (0..2).map(|base| blocker(&running, base)).collect();
    for (strand, inside, _) in &stuck {
        strand.post(Reasons::USER);
        inside.wait();
    }
    for base in running.runtime.bases() {
        for _ in 0..10 {
            let served = Signal::new();
            let mine = Arc::clone(&served);
            strand(&base, Placement::Any, move |_, _, _| {
                mine.raise();
                Left::Dead
            });
            served.wait();
        }
    }
    stuck.iter().for_each(|(_, _, leave)| leave.raise());
}

#[test]
fn a_skewed_load_is_shared() {
    let _census = Census::begin();
    let running = running(2, 2);
    let threads = Arc::new(Mutex::new(Vec::<ThreadId>::new()));
    let ran = Signal::new();
    let strands: Vec<_> = (0..16)
        .map(|_| {
            let (ran, threads) = (Arc::clone(&ran), Arc::clone(&threads));
            strand(&running.base(0), Placement::Any, move |_, _, _| {
                thread::sleep(Duration::from_micros(500));
                threads.lock().push(thread::current().id());
                ran.raise();
                Left::Idle
            })
        })
        .collect();
    ran.wait_for(16);
    eventually("both workers have run some", || {
        strands.iter().for_each(|strand| strand.post(Reasons::USER));
        let mut seen = threads.lock().clone();
        seen.sort_by_key(|id| format!("{id:?}"));
        seen.dedup();
        seen.len() == 2
    });
    assert!(total(&running, |worker| worker.steals.get() + worker.rescues.get()) > 0);
}

#[test]
fn a_pinned_runtime_never_steals() {
    let _census = Census::begin();
    let running = Running::start(builder(2, 2).pinned(true).build().unwrap());
    let threads = Arc::new(Mutex::new(Vec::<ThreadId>::new()));
    let ran = Signal::new();
    let strands: Vec<_> = (0..16)
        .map(|_| {
            let (ran, threads) = (Arc::clone(&ran), Arc::clone(&threads));
            strand(&running.base(0), Placement::Any, move |_, _, _| {
                thread::sleep(Duration::from_micros(500));
                threads.lock().push(thread::current().id());
                ran.raise();
                Left::Idle
            })
        })
        .collect();
    for round in 1..5 {
        strands.iter().for_each(|strand| strand.post(Reasons::USER));
        ran.wait_for(16 * round);
    }
    let mut seen = std::mem::take(&mut *threads.lock());
    seen.dedup();
    assert_eq!(seen.len(), 1, "all on the worker of their base");
    assert_eq!(total(&running, |worker| worker.steals.get() + worker.rescues.get()), 0);
    assert_eq!(running.base(0).counters().helped.get(), 0);
}

#[test]
fn a_call_for_help_wakes_a_sleeper_once_the_costs_are_known() {
    let _census = Census::begin();
    let running = running(2, 2);
    let ran = Signal::new();
    let strands: Vec<_> = (0..8)
        .map(|_| {
            let ran = Arc::clone(&ran);
            strand(&running.base(0), Placement::Any, move |_, _, _| {
                thread::sleep(Duration::from_micros(300));
                ran.raise();
                Left::Idle
            })
        })
        .collect();
    let strands = Arc::new(strands);
    eventually("a worker calls for help", || {
        let before = ran.count();
        eventually("both sleep", || running.runtime.dump().matches("idle true").count() == 2);
        // All at once, on the worker itself.
        let all = Arc::clone(&strands);
        running.base(0).post(move |_| all.iter().for_each(|strand| strand.post(Reasons::USER))).unwrap();
        ran.wait_for(before + 8);
        total(&running, |worker| worker.calls.get()) > 0
    });
}

#[test]
fn a_quiet_runtime_goes_to_sleep_for_good() {
    let _census = Census::begin();
    let running = running(2, 2);
    for base in running.runtime.bases() {
        let ran = Signal::new();
        let mine = Arc::clone(&ran);
        strand(&base, Placement::Any, move |_, _, _| {
            mine.raise();
            Left::Dead
        });
        ran.wait();
    }
    // The watch that the strands asked for ends; then nobody wakes.
    eventually("nobody has woken for a while", || {
        let parks = total(&running, |worker| worker.parks.get());
        thread::sleep(Duration::from_millis(40));
        total(&running, |worker| worker.parks.get()) == parks
    });
}
