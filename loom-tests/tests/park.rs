//! Protocol 2: a worker goes to sleep while others give it work. A lost wake-up is a deadlock, which loom reports.

#![cfg(loom)]

use bufferevent_runtime::__loom::{Inbox, Park, ParkWord};
use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, EventFd, Exclusive, assert_mutants_die, model};

/// Work published by a flag, the weakest queue there is: what is seen of it, the park word must have shown.
#[derive(Default)]
struct Work {
    published: AtomicBool,
    data: Exclusive,
}

impl Work {
    fn publish(&self) {
        self.data.write();
        self.published.store(true, Ordering::Release);
    }

    fn is_there(&self) -> bool {
        let there = self.published.load(Ordering::Acquire);
        if there {
            self.data.read();
        }
        there
    }
}

struct Worker<const PIECES: usize> {
    work: [Work; PIECES],
    word: ParkWord,
    fd: EventFd,
}

impl<const PIECES: usize> Worker<PIECES> {
    fn new() -> Self {
        Self { work: std::array::from_fn(|_| Work::default()), word: ParkWord::new(), fd: EventFd::new() }
    }

    /// Looks for work, and sleeps whenever something new may come, until all pieces are there.
    fn work_until_done(&self) {
        let seen = || self.work.iter().filter(|work| work.is_there()).count();
        loop {
            let known = seen();
            if known == PIECES {
                return;
            }
            match self.word.park(|| seen() > known) {
                Park::Sleep => {
                    self.fd.wait();
                    self.word.woken();
                }
                Park::Stay => {}
            }
        }
    }

    fn notify(&self, piece: usize) {
        self.work[piece].publish();
        if self.word.notify() {
            self.fd.write();
        }
    }

    fn call(&self, piece: usize) {
        self.work[piece].publish();
        if self.word.call() {
            self.fd.write();
        }
    }
}

#[test]
fn wakeup_is_never_lost() {
    model(Bounds::EXHAUSTIVE, || {
        let worker = Arc::new(Worker::<1>::new());
        let pusher = {
            let worker = Arc::clone(&worker);
            thread::spawn(move || worker.notify(0))
        };
        worker.work_until_done();
        pusher.join().expect("no panic");
    });
}

#[test]
fn wakeup_of_two_is_never_lost() {
    model(Bounds::LARGE, || {
        let worker = Arc::new(Worker::<2>::new());
        let pushers: Vec<_> = (0..2)
            .map(|piece| {
                let worker = Arc::clone(&worker);
                thread::spawn(move || worker.notify(piece))
            })
            .collect();
        worker.work_until_done();
        for pusher in pushers {
            pusher.join().expect("no panic");
        }
    });
}

#[test]
fn call_for_help_is_never_lost() {
    model(Bounds::LARGE, || {
        let worker = Arc::new(Worker::<2>::new());
        let pusher = {
            let worker = Arc::clone(&worker);
            thread::spawn(move || worker.notify(0))
        };
        let caller = {
            let worker = Arc::clone(&worker);
            thread::spawn(move || worker.call(1))
        };
        worker.work_until_done();
        pusher.join().expect("no panic");
        caller.join().expect("no panic");
    });
}

/// The same with the inbox as queue: push, then notify; the recheck is `!is_empty()`.
#[test]
fn inbox_wakes_its_worker() {
    model(Bounds::LARGE, || {
        let worker = Arc::new((Inbox::with_capacity(2), Worker::<0>::new()));
        let pushers: Vec<_> = (0..2)
            .map(|message| {
                let worker = Arc::clone(&worker);
                thread::spawn(move || {
                    let (inbox, shell) = &*worker;
                    inbox.push(message).expect("there is room");
                    if shell.word.notify() {
                        shell.fd.write();
                    }
                })
            })
            .collect();
        let (inbox, shell) = &*worker;
        let mut sum = 0;
        let mut count = 0;
        while count < 2 {
            if let Some(message) = inbox.pop() {
                sum += message;
                count += 1;
                continue;
            }
            match shell.word.park(|| !inbox.is_empty()) {
                Park::Sleep => {
                    shell.fd.wait();
                    shell.word.woken();
                }
                Park::Stay => thread::yield_now(),
            }
        }
        assert_eq!(sum, 1);
        assert!(inbox.is_empty());
        for pusher in pushers {
            pusher.join().expect("no panic");
        }
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("park_notify:torn", "wakeup_is_never_lost"),
        ("park_notify:acquire", "wakeup_is_never_lost"),
        ("park_announce:torn", "wakeup_is_never_lost"),
        ("park_announce:release", "wakeup_is_never_lost"),
        ("park_skips_recheck", "wakeup_is_never_lost"),
        ("park_woken:stored", "wakeup_of_two_is_never_lost"),
        ("park_call:torn", "call_for_help_is_never_lost"),
        ("park_call:acquire", "call_for_help_is_never_lost"),
        ("park_call_only_looks", "call_for_help_is_never_lost"),
        ("park_skips_recheck", "inbox_wakes_its_worker"),
    ]);
}
