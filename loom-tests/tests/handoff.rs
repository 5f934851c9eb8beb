//! Protocol 4: a runner finds the strand's lock held and leaves its token with the holder.

#![cfg(loom)]

use bufferevent_runtime::__loom::Reasons;
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, Strand, assert_mutants_die, model};

const NOTHING_LEFT: fn(Reasons) -> Reasons = |_| Reasons::EMPTY;

/// A guard that was taken before the model starts is dropped while `runners` threads try to run the strand.
fn guard_against_runners(runners: usize, at_drop: Reasons) {
    let strand = Arc::new(Strand::new());
    assert!(strand.lock.try_lock());
    let _ = strand.post(Reasons::READABLE);
    let guard = {
        let strand = Arc::clone(&strand);
        thread::spawn(move || strand.drop_guard(at_drop))
    };
    let others: Vec<_> = (1..runners)
        .map(|_| {
            let strand = Arc::clone(&strand);
            thread::spawn(move || {
                let _ = strand.post(Reasons::USER);
                strand.run_locked(NOTHING_LEFT);
            })
        })
        .collect();
    strand.run_locked(NOTHING_LEFT);
    for thread in others.into_iter().chain([guard]) {
        thread.join().expect("no panic");
    }
    strand.drain(NOTHING_LEFT);
    strand.assert_idle();
    assert!(strand.delivered.get() & Reasons::READABLE.bits() != 0);
    assert!(at_drop.is_empty() || strand.delivered.get() & at_drop.bits() != 0);
}

#[test]
fn no_run_is_lost() {
    model(Bounds::EXHAUSTIVE, || guard_against_runners(1, Reasons::EMPTY));
}

#[test]
fn guard_posts_and_hands_over() {
    model(Bounds::EXHAUSTIVE, || guard_against_runners(1, Reasons::GUARD));
}

#[test]
fn token_is_never_spent_twice() {
    model(Bounds::LARGE, || guard_against_runners(2, Reasons::GUARD));
}

/// Between the guard's unlock and the runner's second try a third thread takes the lock, and also posts.
#[test]
fn third_holder_does_not_lose_the_run() {
    model(Bounds::LARGE, || {
        let strand = Arc::new(Strand::new());
        assert!(strand.lock.try_lock());
        let _ = strand.post(Reasons::READABLE);
        let guard = {
            let strand = Arc::clone(&strand);
            thread::spawn(move || strand.drop_guard(Reasons::EMPTY))
        };
        let third = {
            let strand = Arc::clone(&strand);
            thread::spawn(move || {
                if strand.lock.try_lock() {
                    strand.drop_guard(Reasons::EMPTY);
                } else {
                    let _ = strand.post(Reasons::MAIL);
                }
            })
        };
        strand.run_locked(NOTHING_LEFT);
        guard.join().expect("no panic");
        third.join().expect("no panic");
        strand.drain(NOTHING_LEFT);
        strand.assert_idle();
        assert!(strand.delivered.get() & Reasons::READABLE.bits() != 0);
    });
}

/// A run that was parked still brings what its poster published, and so does what came while it was parked.
#[test]
fn posted_data_survives_the_hand_over() {
    model(Bounds::LARGE, || {
        let strand = Arc::new(Strand::new());
        let (mail, parting) = (Arc::new(Exclusive::new()), Arc::new(Exclusive::new()));
        assert!(strand.lock.try_lock());
        let _ = strand.post(Reasons::READABLE);
        let poster = {
            let (strand, mail) = (Arc::clone(&strand), Arc::clone(&mail));
            thread::spawn(move || {
                mail.write();
                let _ = strand.post(Reasons::MAIL);
            })
        };
        let guard = {
            let (strand, parting) = (Arc::clone(&strand), Arc::clone(&parting));
            thread::spawn(move || {
                strand.body.write();
                strand.lock.unlock();
                parting.write();
                if strand.word.release(Reasons::GUARD) {
                    strand.queue.push(());
                }
            })
        };
        let read = |reasons: Reasons| {
            if reasons.contains(Reasons::MAIL) {
                mail.read();
            }
            if reasons.contains(Reasons::GUARD) {
                parting.read();
            }
            Reasons::EMPTY
        };
        strand.run_locked(read);
        strand.run_locked(read);
        poster.join().expect("no panic");
        guard.join().expect("no panic");
        strand.drain(read);
        strand.assert_idle();
        assert_eq!(strand.delivered.get(), (Reasons::READABLE | Reasons::MAIL | Reasons::GUARD).bits());
    });
}

/// The holder kills the strand: a parked token is dropped, by the holder or by the runner, and no run follows.
#[test]
fn killed_strand_drops_the_parked_token() {
    model(Bounds::LARGE, || {
        let strand = Arc::new(Strand::new());
        assert!(strand.lock.try_lock());
        let _ = strand.post(Reasons::READABLE);
        let guard = {
            let strand = Arc::clone(&strand);
            thread::spawn(move || {
                strand.word.kill();
                strand.drop_guard(Reasons::EMPTY);
            })
        };
        let poster = {
            let strand = Arc::clone(&strand);
            thread::spawn(move || {
                let _ = strand.post(Reasons::USER);
            })
        };
        strand.run_locked(|_| {
            assert!(strand.word.is_dead(), "the lock orders us after the death");
            Reasons::EMPTY
        });
        guard.join().expect("no panic");
        poster.join().expect("no panic");
        strand.drain(|_| panic!("a run after the death"));
        assert!(strand.queue.pop().is_none());
        assert!(strand.word.is_dead() && !strand.word.snapshot().is_running());
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("strand_contend:torn", "no_run_is_lost"),
        ("strand_contend:torn", "posted_data_survives_the_hand_over"),
        ("strand_contend:release", "no_run_is_lost"),
        ("strand_contend_drops_reasons", "no_run_is_lost"),
        ("strand_release:torn", "no_run_is_lost"),
        ("strand_release:torn", "token_is_never_spent_twice"),
        ("strand_release:acquire", "no_run_is_lost"),
        ("strand_release:acquire", "posted_data_survives_the_hand_over"),
        ("strand_reclaim:torn", "no_run_is_lost"),
        ("strand_reclaim:torn", "token_is_never_spent_twice"),
        ("strand_begin:release", "posted_data_survives_the_hand_over"),
        ("handoff_tries_once", "no_run_is_lost"),
        ("handoff_releases_before_unlock", "no_run_is_lost"),
        ("handoff_finishes_before_unlock", "token_is_never_spent_twice"),
        ("handoff_forgets_after_reclaim", "token_is_never_spent_twice"),
    ]);
}
