//! Protocol 14: a bell that any thread rings while its owner moves, or goes.

#![cfg(loom)]

use bufferevent_runtime::__loom::Bell;
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, EventFd, Exclusive, Tally, assert_mutants_die, model};

/// Each place wakes who lives there.
type Place = Arc<EventFd>;

fn place() -> Place {
    Arc::new(EventFd::new())
}

/// Rings, as a waker does. True: somebody was to be woken.
fn ring(bell: &Bell<Place>) -> bool {
    bell.ring().inspect(|place| place.write()).is_some()
}

/// Rung while its owner moves: what was rung at the old place is seen by the first look at the new one.
#[test]
fn ring_is_not_lost_in_a_move() {
    model(Bounds::EXHAUSTIVE, || {
        let (bell, news) = (Arc::new(Bell::new()), Arc::new(Exclusive::new()));
        let (old, new) = (place(), place());
        bell.hang_at(Some(old));
        let ringer = {
            let (bell, news) = (Arc::clone(&bell), Arc::clone(&news));
            thread::spawn(move || {
                news.write();
                ring(&bell);
            })
        };
        bell.hang_at(Some(Arc::clone(&new)));
        while !bell.was_rung() {
            new.wait();
        }
        news.read();
        ringer.join().expect("no panic");
    });
}

/// Two ring: each ring is seen, and no more are called than looks are due.
#[test]
fn rings_until_the_look_are_one() {
    model(Bounds::DEEP, || {
        let (bell, here, calls) = (Arc::new(Bell::new()), place(), Arc::new(Tally::new()));
        bell.hang_at(Some(Arc::clone(&here)));
        let ringers = [(); 2].map(|()| {
            let (bell, calls) = (Arc::clone(&bell), Arc::clone(&calls));
            thread::spawn(move || {
                calls.add(ring(&bell).into());
            })
        });
        here.wait();
        assert!(bell.was_rung(), "nobody is woken for nothing");
        ringers.into_iter().for_each(|ringer| ringer.join().expect("no panic"));
        assert_eq!(calls.get(), 1 + u32::from(bell.was_rung()));
    });
}

/// Rung while its owner goes: the place is kept by nobody after that.
#[test]
fn bell_that_was_taken_down_keeps_no_place() {
    model(Bounds::EXHAUSTIVE, || {
        let (bell, here) = (Arc::new(Bell::new()), place());
        bell.hang_at(Some(Arc::clone(&here)));
        let ringer = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || ring(&bell))
        };
        bell.hang_at(None);
        let _was_there = ringer.join().expect("no panic");
        assert!(!ring(&bell));
        assert_eq!(Arc::strong_count(&here), 1);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("bell_looks_before_it_rings", "ring_is_not_lost_in_a_move"),
        ("bell_forgets_in_a_move", "ring_is_not_lost_in_a_move"),
        ("bell_rings_each_time", "rings_until_the_look_are_one"),
        ("bell_keeps_its_place", "bell_that_was_taken_down_keeps_no_place"),
    ]);
}
