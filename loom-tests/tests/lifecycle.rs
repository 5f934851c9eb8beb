//! Protocol 6: closing, finishing, and waiting for it.

#![cfg(loom)]

use bufferevent_runtime::__loom::{Lifecycle, Waiter};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, assert_mutants_die, model};

#[derive(Default)]
struct Object {
    life: Lifecycle,
    waiter: Waiter,
    outcome: Exclusive,
}

impl Object {
    /// The runner brings about the end.
    fn finish(&self) {
        self.outcome.write();
        if self.life.finish() {
            self.waiter.wake();
        }
    }

    /// `close_and_wait`, after the request.
    fn wait(&self) {
        if self.life.wait_begin() {
            self.waiter.wait();
        }
        self.outcome.read();
    }
}

#[test]
fn waiter_sees_the_end() {
    model(Bounds::EXHAUSTIVE, || {
        let object = Arc::new(Object::default());
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let object = Arc::clone(&object);
                thread::spawn(move || object.wait())
            })
            .collect();
        object.finish();
        for waiter in waiters {
            waiter.join().expect("no panic");
        }
    });
}

/// Two close.
#[test]
fn one_close_is_the_first() {
    model(Bounds::EXHAUSTIVE, || {
        let life = Arc::new(Lifecycle::new());
        let closer = {
            let life = Arc::clone(&life);
            thread::spawn(move || life.request_close())
        };
        let one = life.request_close();
        let other = closer.join().expect("no panic");
        assert!(one != other, "one of the two is the first");
        assert!(life.is_closing());
    });
}

/// Two close, one of them waits, a runner finishes as soon as it knows.
#[test]
fn close_forgets_no_waiter() {
    model(Bounds::DEEP, || {
        let object = Arc::new(Object::default());
        let closer = {
            let object = Arc::clone(&object);
            thread::spawn(move || object.life.request_close())
        };
        let waiter = {
            let object = Arc::clone(&object);
            thread::spawn(move || {
                let first = object.life.request_close();
                object.wait();
                first
            })
        };
        let early = object.life.is_closing();
        if early {
            object.finish();
        }
        let one = closer.join().expect("no panic");
        assert!(object.life.is_closing());
        if !early {
            object.finish();
        }
        let other = waiter.join().expect("no panic");
        assert!(one != other, "one of the two is the first");
        assert!(object.life.is_finished() && !object.life.wait_begin());
        object.outcome.read();
    });
}

#[test]
fn close_is_seen_with_its_reason() {
    model(Bounds::EXHAUSTIVE, || {
        let object = Arc::new(Object::default());
        let reason = Arc::new(Exclusive::new());
        let runner = {
            let (object, reason) = (Arc::clone(&object), Arc::clone(&reason));
            thread::spawn(move || {
                if object.life.is_closing() {
                    reason.read();
                }
            })
        };
        let second = {
            let (object, reason) = (Arc::clone(&object), Arc::clone(&reason));
            thread::spawn(move || {
                if object.life.is_closing() && !object.life.request_close() {
                    reason.read();
                }
            })
        };
        reason.write();
        assert!(object.life.request_close());
        runner.join().expect("no panic");
        second.join().expect("no panic");
    });
}

/// Who finds the end by looking sees its outcome.
#[test]
fn end_is_seen_with_its_outcome() {
    model(Bounds::EXHAUSTIVE, || {
        let object = Arc::new(Object::default());
        let looker = {
            let object = Arc::clone(&object);
            thread::spawn(move || {
                if object.life.is_finished() {
                    object.outcome.read();
                }
            })
        };
        object.finish();
        looker.join().expect("no panic");
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("life_close:torn", "one_close_is_the_first"),
        ("life_close:torn", "close_forgets_no_waiter"),
        ("life_close:acquire", "close_is_seen_with_its_reason"),
        ("life_is_closing:relaxed", "close_is_seen_with_its_reason"),
        ("life_finish:torn", "waiter_sees_the_end"),
        ("life_finish:acquire", "waiter_sees_the_end"),
        ("life_finish:acquire", "end_is_seen_with_its_outcome"),
        ("life_wait:torn", "waiter_sees_the_end"),
        ("life_wait:release", "waiter_sees_the_end"),
        ("life_is_finished:relaxed", "end_is_seen_with_its_outcome"),
        ("waiter_wakes_without_a_trace", "waiter_sees_the_end"),
        ("waiter_wakes_one", "waiter_sees_the_end"),
    ]);
}
