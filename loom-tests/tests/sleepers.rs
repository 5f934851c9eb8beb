//! Protocol 2: a call to one of the workers that sleep in one selector, while another looks there without sleeping. A
//! lost call is a deadlock, which loom reports.

#![cfg(loom)]

use bufferevent_runtime::__loom::Sleepers;
use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, EventFd, Exclusive, assert_mutants_die, model};

/// The selector's wake fd, its sleepers, and work published by a flag, the weakest queue there is.
#[derive(Default)]
struct Top {
    sleepers: Sleepers,
    fd: EventFd,
    published: AtomicBool,
    data: Exclusive,
}

impl Top {
    fn sees_work(&self) -> bool {
        let there = self.published.load(Ordering::Acquire);
        if there {
            self.data.read();
        }
        there
    }

    fn sleep_until_work(&self) {
        while !self.sees_work() {
            self.sleepers.announce();
            if !self.sees_work() {
                self.fd.wait();
            }
            self.sleepers.returned();
        }
    }

    fn call(&self) {
        self.data.write();
        self.published.store(true, Ordering::Release);
        if self.sleepers.call() {
            self.fd.write();
        }
    }

    /// A busy worker's look: it takes the edge if it is there.
    fn look(&self) {
        self.fd.look();
        if self.sleepers.must_pass_on() {
            self.fd.write();
        }
    }
}

#[test]
fn call_reaches_a_sleeper() {
    model(Bounds::EXHAUSTIVE, || {
        let top = Arc::new(Top::default());
        let caller = {
            let top = Arc::clone(&top);
            thread::spawn(move || top.call())
        };
        top.sleep_until_work();
        caller.join().expect("no panic");
        assert_eq!(top.sleepers.count(), 0);
    });
}

#[test]
fn edge_taken_by_a_look_is_passed_on() {
    model(Bounds::LARGE, || {
        let top = Arc::new(Top::default());
        let caller = {
            let top = Arc::clone(&top);
            thread::spawn(move || top.call())
        };
        let looker = {
            let top = Arc::clone(&top);
            thread::spawn(move || {
                top.look();
                top.look();
            })
        };
        top.sleep_until_work();
        caller.join().expect("no panic");
        looker.join().expect("no panic");
        assert!(!top.sleepers.must_pass_on(), "the mark went with the sleeper");
    });
}

/// Two workers go to sleep while a call comes, one of them for the second time.
#[test]
fn who_counts_all_asleep_sees_what_they_did() {
    model(Bounds::DEEP, || {
        let top = Arc::new(Top::default());
        let done = Arc::new([Exclusive::new(), Exclusive::new()]);
        let sleepers: Vec<_> = (0..2)
            .map(|index| {
                let (top, done) = (Arc::clone(&top), Arc::clone(&done));
                thread::spawn(move || {
                    if index == 1 {
                        let _nobody_waits_for_the_edge = top.sleepers.call();
                    }
                    done[index].write();
                    top.sleepers.announce();
                })
            })
            .collect();
        if top.sleepers.count() == 2 {
            done.iter().for_each(Exclusive::read);
        }
        sleepers.into_iter().for_each(|sleeper| sleeper.join().expect("no panic"));
        top.sleepers.returned();
        assert_eq!(top.sleepers.count(), 1);
    });
}

/// A sleeper returns while another announces itself and a third is called.
#[test]
fn count_is_exact() {
    model(Bounds::EXHAUSTIVE, || {
        let top = Arc::new(Top::default());
        top.sleepers.announce();
        let other = {
            let top = Arc::clone(&top);
            thread::spawn(move || top.sleepers.announce())
        };
        top.sleepers.returned();
        other.join().expect("no panic");
        assert_eq!(top.sleepers.count(), 1);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("sleepers_announce:torn", "count_is_exact"),
        ("sleepers_announce:release", "call_reaches_a_sleeper"),
        ("sleepers_returned:torn", "count_is_exact"),
        ("sleepers_call:torn", "who_counts_all_asleep_sees_what_they_did"),
        ("sleepers_call:acquire", "call_reaches_a_sleeper"),
        ("sleepers_count:relaxed", "who_counts_all_asleep_sees_what_they_did"),
        ("sleepers_look_keeps_the_edge", "edge_taken_by_a_look_is_passed_on"),
    ]);
}
