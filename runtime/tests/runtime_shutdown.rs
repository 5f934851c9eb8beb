//! How a runtime ends: stop from anywhere, shutdown with grace, lent threads, what is left behind.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{sync::Arc, thread, time::Duration};

use bufferevent_runtime::{After, Census, Error, Left, Listener, Placement, Reasons, Runtime, Strand};
use bufferevent_sync::atomic::{AtomicBool, Ordering};
use common::{Running, Script, Signal, eventually, start, strand};

const SHAPES: [(usize, usize); 6] = [(1, 1), (2, 2), (4, 2), (2, 4), (1, 3), (3, 1)];

fn runtime((workers, bases): (usize, usize)) -> Runtime {
    Runtime::builder().workers(workers).bases(bases).build().unwrap()
}

fn running(shape: (usize, usize)) -> Running {
    Running::start(runtime(shape))
}

#[test]
fn stop_wakes_all_sleepers_wherever_they_sleep() {
    let _census = Census::begin();
    for shape in SHAPES {
        for _ in 0..20 {
            let running = running(shape);
            let asleep = || running.runtime.worker_counters().filter(|worker| worker.parks.get() > 0).count();
            eventually("all have slept", || asleep() == shape.0);
            running.runtime.stop();
            running.join().unwrap().unwrap();
        }
    }
}

#[test]
fn stop_before_the_start_and_in_callbacks() {
    let _census = Census::begin();
    for shape in SHAPES {
        let early = runtime(shape);
        early.stop();
        early.run().unwrap();
        for how in 0..3 {
            let running = running(shape);
            let stopper = running.runtime.clone();
            match how {
                0 => running.base(0).post(move |_| stopper.stop()).unwrap(),
                1 => running.runtime.spawn(move || stopper.stop()).unwrap(),
                _ => drop(strand(&running.base(0), Placement::Any, move |_, _, _| {
                    stopper.stop();
                    Left::Again(Reasons::USER)
                })),
            }
            running.join().unwrap().unwrap();
        }
    }
}

#[test]
fn shutdown_ends_when_everything_has_closed() {
    let _census = Census::begin();
    for shape in SHAPES {
        let running = running(shape);
        let listener = running.runtime.listen("127.0.0.1:0", |_, _| Ok(())).unwrap();
        let closed = Signal::new();
        for base in running.runtime.bases() {
            base.post(|base| {
                base.every(Duration::from_secs(1_000), |_| {});
            })
            .unwrap();
            for placement in [Placement::Any, Placement::Base] {
                let mine = Arc::clone(&closed);
                strand(&base, placement, move |_, reasons, _| {
                    if !reasons.contains(Reasons::CLOSE) {
                        return Left::Idle;
                    }
                    mine.raise();
                    Left::Dead
                });
            }
        }
        // A base that rests is woken for it.
        running.base(0).break_now();
        running.runtime.shutdown(Duration::from_secs(3_600)).unwrap();
        let bases = running.runtime.bases();
        running.join().unwrap().unwrap();
        assert_eq!(closed.count(), 2 * shape.1 as u64);
        assert!(bases.iter().all(|base| base.objects() == 0));
        assert!(matches!(listener.close(), Err(Error::Closed) | Ok(())));
    }
}

#[test]
fn shutdown_does_not_forget_what_a_post_or_a_task_under_way_makes() {
    let _census = Census::begin();
    for shape in SHAPES {
        let running = running(shape);
        let (inside, leave, closed) = (Signal::new(), Signal::new(), Signal::new());
        let (mine, go, end) = (Arc::clone(&inside), Arc::clone(&leave), Arc::clone(&closed));
        let base = running.base(0);
        let task = move || {
            mine.raise();
            go.wait();
            strand(&base, Placement::Any, move |_, reasons, _| {
                if !reasons.contains(Reasons::CLOSE) {
                    return Left::Idle;
                }
                end.raise();
                Left::Dead
            });
        };
        running.runtime.spawn(task).unwrap();
        inside.wait();
        running.runtime.shutdown(Duration::from_secs(3_600)).unwrap();
        // Time for a shutdown that is too eager.
        thread::sleep(Duration::from_millis(30));
        leave.raise();
        running.join().unwrap().unwrap();
        assert_eq!(closed.count(), 1, "{shape:?}");
    }
}

#[test]
fn grace_ends_what_does_not_close_however_busy_it_is() {
    let _census = Census::begin();
    for shape in SHAPES {
        let running = running(shape);
        let abandoned: Vec<_> = running
            .runtime
            .bases()
            .iter()
            .map(|base| {
                base.post(|base| {
                    start(base, |_, _| After::Again(Reasons::USER));
                })
                .unwrap();
                strand(base, Placement::Any, |_, _, _| Left::Again(Reasons::USER))
            })
            .collect();
        running.runtime.shutdown(Duration::from_millis(50)).unwrap();
        running.join().unwrap().unwrap();
        for strand in abandoned {
            assert_eq!(strand.lock().unwrap().abandoned.count(), 1);
        }
    }
}

#[test]
fn lent_threads_work_until_the_stop() {
    let _census = Census::begin();
    let runtime = runtime((3, 2));
    let done = Signal::new();
    thread::scope(|scope| {
        for index in 0..3 {
            let worker = runtime.worker().unwrap();
            assert_eq!(worker.index(), index);
            scope.spawn(move || worker.run().unwrap());
        }
        for base in runtime.bases() {
            let mine = Arc::clone(&done);
            base.post(move |_| mine.raise()).unwrap();
        }
        done.wait_for(2);
        runtime.shutdown(Duration::from_secs(3_600)).unwrap();
    });
}

#[test]
fn some_workers_may_be_lent_and_the_rest_run() {
    let _census = Census::begin();
    let runtime = runtime((2, 2));
    let lent = runtime.worker().unwrap();
    let thread = thread::spawn(move || lent.run());
    let running = Running::start(runtime);
    let done = Signal::new();
    for base in running.runtime.bases() {
        let mine = Arc::clone(&done);
        base.post(move |_| mine.raise()).unwrap();
    }
    done.wait_for(2);
    running.runtime.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn what_lives_on_the_bases_is_dropped_with_the_last_worker() {
    let _census = Census::begin();
    struct Dropped(Arc<Signal>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.raise();
        }
    }
    for shape in SHAPES {
        let running = running(shape);
        let (dropped, started) = (Signal::new(), Signal::new());
        let mut strands = Vec::new();
        for base in running.runtime.bases() {
            let (in_timer, in_post) = (Dropped(Arc::clone(&dropped)), Dropped(Arc::clone(&dropped)));
            // It keeps the runtime, and the runtime it.
            let runtime = running.runtime.clone();
            let mine = Arc::clone(&started);
            base.post(move |base| {
                base.after(Duration::from_secs(1_000), move |_| drop((in_timer, runtime)));
                mine.raise();
            })
            .unwrap();
            strands.push(strand(&base, Placement::Any, |_, _, _| Left::Idle));
            started.wait_for(strands.len() as u64);
            // Nobody resumes it: the post stays in the inbox.
            base.break_now();
            base.post(move |_| drop(in_post)).unwrap();
            strands.last().unwrap().post(Reasons::USER);
        }
        running.runtime.stop();
        let (handles, _kept) = (running.runtime.bases(), running.runtime.clone());
        running.join().unwrap().unwrap();
        assert_eq!(dropped.count(), 2 * shape.1 as u64);
        for strand in strands {
            assert_eq!(strand.lock().unwrap().abandoned.count(), 1);
        }
        assert!(handles.iter().all(|base| matches!(base.post(|_| {}), Err(Error::Closed))));
        assert!(handles.iter().all(|base| base.objects() == 0));
    }
}

#[test]
fn a_stop_ends_what_lives_on_a_runtime_that_nobody_runs() {
    let _census = Census::begin();
    for shape in SHAPES {
        let runtime = runtime(shape);
        let worker = runtime.worker().unwrap();
        let strands: Vec<_> =
            runtime.bases().iter().map(|base| strand(base, Placement::Any, |_, _, _| Left::Idle)).collect();
        // One is held meanwhile: nobody waits for that, and it ends with the guard.
        let held = strands[0].lock().unwrap();
        runtime.stop();
        assert_eq!(held.abandoned.count(), 0);
        drop(held);
        for strand in strands {
            assert_eq!(strand.lock().unwrap().abandoned.count(), 1);
        }
        assert!(runtime.bases().iter().all(|base| matches!(base.post(|_| {}), Err(Error::Closed))));
        assert!(runtime.bases().iter().all(|base| base.objects() == 0));
        // It is too late for this one, and nothing goes wrong.
        worker.run().unwrap();
    }
}

#[test]
fn a_stop_that_meets_the_first_worker_leaves_nothing_behind() {
    let _census = Census::begin();
    for shape in SHAPES {
        for _ in 0..20 {
            let runtime = runtime(shape);
            let strand = strand(&runtime.bases()[0], Placement::Any, |_, _, _| Left::Idle);
            thread::scope(|scope| {
                let running = scope.spawn(|| runtime.run());
                runtime.stop();
                running.join().unwrap().unwrap();
            });
            assert_eq!(strand.lock().unwrap().abandoned.count(), 1);
            assert_eq!(runtime.bases()[0].objects(), 0);
        }
    }
}

#[test]
fn what_is_dropped_with_the_last_worker_knows_that_it_is_on_a_worker() {
    // Who waits there for a strand of another base waits for itself.
    let _census = Census::begin();
    struct Asks(Arc<Strand<Script>>, Arc<Signal>);
    impl Drop for Asks {
        fn drop(&mut self) {
            if self.0.is_on_worker() {
                self.1.raise();
            }
        }
    }
    for shape in SHAPES {
        let runtime = runtime(shape);
        let bases = runtime.bases();
        let last = strand(bases.last().unwrap(), Placement::Any, |_, _, _| Left::Idle);
        let known = Signal::new();
        let asks = Asks(Arc::clone(&last), Arc::clone(&known));
        let stopper = runtime.clone();
        bases[0]
            .post(move |base| {
                base.after(Duration::from_secs(1_000), move |_| drop(asks));
                stopper.stop();
            })
            .unwrap();
        runtime.run().unwrap();
        assert_eq!(known.count(), 1);
    }
}

#[test]
fn a_worker_that_is_dropped_goes_back_to_its_runtime() {
    let _census = Census::begin();
    let runtime = runtime((2, 2));
    let (first, second) = (runtime.worker().unwrap(), runtime.worker().unwrap());
    let indices = [first.index(), second.index()];
    assert!(matches!(runtime.worker(), Err(Error::NoWorkerLeft { workers: 2 })));
    drop((first, second));
    assert_eq!(indices, [0, 1]);
    let served = Signal::new();
    for base in runtime.bases() {
        let (served, runtime) = (Arc::clone(&served), runtime.clone());
        base.post(move |_| {
            served.raise();
            if served.count() == 2 {
                runtime.stop();
            }
        })
        .unwrap();
    }
    runtime.run().unwrap();
    assert_eq!(served.count(), 2);
}

#[test]
fn a_listener_on_a_runtime_that_is_gone_is_refused() {
    let _census = Census::begin();
    let gone = runtime((1, 1));
    let base = gone.bases().swap_remove(0);
    drop(gone);
    assert!(matches!(base.post(|_| {}), Err(Error::Closed)));
    let alive = runtime((1, 1));
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    alive.listen_on(listener, |_, _| Ok(())).unwrap();
    let stopped = Arc::new(AtomicBool::new(false));
    let mine = Arc::clone(&stopped);
    // ORDER: Release and Acquire; the task ran before `run` returned.
    let stopper = alive.clone();
    alive
        .spawn(move || {
            mine.store(true, Ordering::Release);
            stopper.stop();
        })
        .unwrap();
    alive.run().unwrap();
    assert!(stopped.load(Ordering::Acquire));
}
