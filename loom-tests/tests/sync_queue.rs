//! The models of crossbeam's queues: what they promise, and that they promise no more.

#![cfg(loom)]

use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::deque::{Injector, Steal, Worker};
use bufferevent_sync::{Arc, Queue, thread};
use loom_tests::{Bounds, Exclusive, Tally, assert_mutants_die, model};

#[test]
fn push_happens_before_its_pop() {
    model(Bounds::EXHAUSTIVE, || {
        let queue = Arc::new(Queue::new());
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let data = Arc::new(Exclusive::new());
                data.write();
                queue.push(data);
            })
        };
        if let Some(data) = queue.pop() {
            data.read();
        }
        pusher.join().expect("no panic");
    });
}

#[test]
fn each_value_is_popped_once_and_in_order() {
    model(Bounds::DEEP, || {
        let queue = Arc::new(Queue::new());
        let popper = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || [queue.pop(), queue.pop()])
        };
        queue.push(1);
        queue.push(2);
        let mine = queue.pop();
        let theirs = popper.join().expect("no panic");
        assert!(!matches!(theirs, [Some(2), Some(_)]), "out of order: {theirs:?}");
        let mut all: Vec<_> = theirs.into_iter().chain([mine, queue.pop(), queue.pop()]).flatten().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

/// A pop that finds nothing tells its caller nothing: other data of the pusher is not ordered. A queue made from a mutex
/// would never show the stale value.
#[test]
fn empty_pop_adds_no_edge() {
    let seen = std::sync::Arc::new(Tally::new());
    let witness = std::sync::Arc::clone(&seen);
    model(Bounds::EXHAUSTIVE, move || {
        let queue = Arc::new(Queue::<()>::new());
        let flag = Arc::new(AtomicBool::new(false));
        let announced = Arc::new(AtomicBool::new(false));
        let other = {
            let (queue, flag, announced) = (Arc::clone(&queue), Arc::clone(&flag), Arc::clone(&announced));
            thread::spawn(move || {
                flag.store(true, Ordering::Relaxed);
                let _ = queue.pop();
                announced.store(true, Ordering::Relaxed);
            })
        };
        if announced.load(Ordering::Relaxed) {
            let _ = queue.pop();
            if !flag.load(Ordering::Relaxed) {
                witness.add(1);
            }
        }
        other.join().expect("no panic");
    });
    assert!(seen.get() > 0, "two pops of an empty queue synchronize");
}

#[test]
fn stolen_value_is_had_once() {
    model(Bounds::DEEP, || {
        let worker = Worker::new_fifo();
        let had = Arc::new(Tally::new());
        let data = Arc::new(Exclusive::new());
        data.write();
        worker.push(Arc::clone(&data));
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let (stealer, had) = (worker.stealer(), Arc::clone(&had));
                thread::spawn(move || {
                    if let Steal::Success(data) = stealer.steal() {
                        data.write();
                        had.add(1);
                    }
                })
            })
            .collect();
        if let Some(data) = worker.pop() {
            data.write();
            had.add(1);
        }
        for thief in thieves {
            thief.join().expect("no panic");
        }
        assert_eq!(had.get(), 1);
        assert!(worker.is_empty());
    });
}

#[test]
fn injected_value_is_had_once() {
    model(Bounds::EXHAUSTIVE, || {
        let injector = Arc::new(Injector::new());
        let pusher = {
            let injector = Arc::clone(&injector);
            thread::spawn(move || {
                let data = Arc::new(Exclusive::new());
                data.write();
                injector.push(data);
            })
        };
        let thief = {
            let injector = Arc::clone(&injector);
            thread::spawn(move || injector.steal().success().inspect(|data| data.write()).is_some())
        };
        let mine = injector.steal().success().inspect(|data| data.write()).is_some();
        pusher.join().expect("no panic");
        let theirs = thief.join().expect("no panic");
        assert!(!(mine && theirs));
        assert_eq!(injector.is_empty(), mine || theirs);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("queue_push_relaxed", "push_happens_before_its_pop"),
        ("queue_pop_relaxed", "push_happens_before_its_pop"),
        ("queue_push_relaxed", "injected_value_is_had_once"),
        ("queue_pop_relaxed", "injected_value_is_had_once"),
    ]);
}
