//! The semaphore, by which a base bounds its handshakes: acquire against release, against who gives up, and against another limit.

#![cfg(loom)]
#![allow(clippy::disallowed_types, reason = "wakers are of std")]

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Wake, Waker},
};

use bufferevent_runtime::__loom::{Semaphore, SemaphorePermit};
use bufferevent_sync::thread;
use loom_tests::{Bounds, EventFd, Exclusive, assert_mutants_die, model};

/// Wakes one who sleeps.
struct Alarm(EventFd);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.write();
    }
}

fn semaphore(limit: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(NonZeroUsize::new(limit).expect("not 0")))
}

/// Asks to be let in, and how to sleep until then.
fn ask(semaphore: &Arc<Semaphore>) -> (SemaphorePermit, Arc<Alarm>) {
    let alarm = Arc::new(Alarm(EventFd::new()));
    (semaphore.acquire(&Waker::from(Arc::clone(&alarm))), alarm)
}

/// Sleeps until it is in: it is woken once, and not for nothing.
fn enter((mut permit, alarm): (SemaphorePermit, Arc<Alarm>)) -> SemaphorePermit {
    if !permit.is_granted() {
        alarm.0.wait();
        assert!(permit.is_granted(), "who is woken is in");
    }
    permit
}

/// One at a time, by three: each has its turn, and nobody else is in meanwhile.
#[test]
fn each_has_its_turn_alone() {
    model(Bounds::LARGE, || {
        let (semaphore, inside) = (semaphore(1), bufferevent_sync::Arc::new(Exclusive::new()));
        let both = [(); 2].map(|()| {
            let (semaphore, inside) = (Arc::clone(&semaphore), bufferevent_sync::Arc::clone(&inside));
            thread::spawn(move || {
                let permit = enter(ask(&semaphore));
                inside.write();
                drop(permit);
            })
        });
        let permit = enter(ask(&semaphore));
        inside.write();
        drop(permit);
        both.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!((semaphore.inside(), semaphore.waiting()), (0, 0));
    });
}

/// One who waits goes, whether it was let in meanwhile or not: the next one does not miss its place.
#[test]
fn who_gives_up_passes_its_place_on() {
    model(Bounds::DEEP, || {
        let semaphore = semaphore(1);
        let first = enter(ask(&semaphore));
        let ((second, _), third) = (ask(&semaphore), ask(&semaphore));
        let threads = [thread::spawn(move || drop(first)), thread::spawn(move || drop(second))];
        let third = enter(third);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!((semaphore.inside(), semaphore.waiting()), (1, 0));
        drop(third);
        assert_eq!(semaphore.inside(), 0);
    });
}

/// The limit is raised while one leaves: both who wait come in, by one or the other.
#[test]
fn raised_limit_and_a_leave_let_two_in() {
    model(Bounds::DEEP, || {
        let semaphore = semaphore(1);
        let first = enter(ask(&semaphore));
        let [second, third] = [(); 2].map(|()| ask(&semaphore));
        let leaves = thread::spawn(move || drop(first));
        let raises = {
            let semaphore = Arc::clone(&semaphore);
            thread::spawn(move || semaphore.set_limit(NonZeroUsize::new(2).expect("not 0")))
        };
        let permits = [enter(second), enter(third)];
        leaves.join().expect("no panic");
        raises.join().expect("no panic");
        assert_eq!((semaphore.inside(), semaphore.waiting()), (2, 0));
        drop(permits);
        assert_eq!(semaphore.inside(), 0);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("semaphore_leaves_in_silence", "each_has_its_turn_alone"),
        ("semaphore_lets_in_uncounted", "each_has_its_turn_alone"),
        ("semaphore_loses_an_unseen_place", "who_gives_up_passes_its_place_on"),
        ("semaphore_leaves_in_silence", "raised_limit_and_a_leave_let_two_in"),
    ]);
}
