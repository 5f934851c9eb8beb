//! Protocol 10: a strand moves to another base, against posts, timers, the end of a base and its own end.

#![cfg(loom)]

use bufferevent_runtime::__loom::{Lifecycle, Reasons};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Journey, assert_mutants_die, model};

/// Migration against wake: a guard moves the strand while it is posted to and the base that it leaves runs tokens.
#[test]
fn token_finds_its_strand() {
    model(Bounds::LARGE, || {
        let journey = Arc::new(Journey::default());
        assert!(journey.try_hold());
        let mover = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                assert!(journey.depart(|| true));
                journey.release();
            })
        };
        let poster = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || journey.post(Reasons::READABLE))
        };
        journey.run_one(0);
        journey.drain_one(0, &mut true, &mut false);
        journey.run_one(0);
        mover.join().expect("no panic");
        poster.join().expect("no panic");
        journey.settle_down();
        journey.assert_idle();
        assert_eq!(journey.delivered.get(), (Reasons::READABLE | Reasons::MOVED).bits());
        assert_eq!((journey.seat.place(), journey.ended.get()), (1, 0));
    });
}

/// A token in the queue of the base that the strand leaves, with the mover between runs of both bases.
#[test]
fn queued_token_goes_after_its_strand() {
    model(Bounds::LARGE, || {
        let journey = Arc::new(Journey::default());
        let _ = journey.word.post(Reasons::READABLE);
        journey.enqueue_near();
        let mover = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                if !journey.try_hold() {
                    return false;
                }
                assert!(journey.depart(|| true));
                journey.release();
                true
            })
        };
        let target = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                journey.drain_one(1, &mut false, &mut false);
                journey.run_one(1);
            })
        };
        journey.run_one(0);
        let moved = mover.join().expect("no panic");
        target.join().expect("no panic");
        journey.settle_down();
        journey.assert_idle();
        let moved = if moved { Reasons::MOVED } else { Reasons::EMPTY };
        assert_eq!(journey.delivered.get(), (Reasons::READABLE | moved).bits());
    });
}

/// Migration from a base that rests, with the token: the strand runs where it has moved to, and the token that is left
/// behind is spent when the base goes on.
#[test]
fn token_of_a_base_that_rests_is_replaced() {
    model(Bounds::LARGE, || {
        let journey = Arc::new(Journey::default());
        let _ = journey.word.post(Reasons::READABLE);
        journey.enqueue_near();
        let target = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                journey.drain_one(1, &mut false, &mut false);
                journey.drain_one(1, &mut false, &mut false);
                journey.run_one(1);
            })
        };
        let poster = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || journey.post(Reasons::MAIL))
        };
        assert!(journey.try_hold());
        assert!(journey.depart(|| true));
        journey.release();
        target.join().expect("no panic");
        poster.join().expect("no panic");
        journey.go_on(&[1]);
        let all = (Reasons::READABLE | Reasons::MAIL | Reasons::MOVED).bits();
        assert_eq!(journey.delivered.get(), all, "without the base that rests");
        journey.settle_down();
        journey.assert_idle();
    });
}

/// Two tokens of one strand are popped, while a guard holds it.
#[test]
fn spare_token_loses_no_run() {
    model(Bounds::LARGE, || {
        let journey = Arc::new(Journey::default());
        let _ = journey.word.post(Reasons::READABLE);
        journey.bases[0].ready.push(());
        assert!(journey.word.replace());
        journey.bases[1].ready.push(());
        assert!(journey.try_hold());
        let runners = [0, 1].map(|base| {
            let journey = Arc::clone(&journey);
            thread::spawn(move || assert!(journey.run_one(base)))
        });
        journey.release();
        runners.into_iter().for_each(|runner| runner.join().expect("no panic"));
        journey.settle_down();
        journey.assert_idle();
        assert_eq!(journey.delivered.get(), Reasons::READABLE.bits());
    });
}

/// Migration against the end of the base that is left: it ends what lives there, not what has moved away.
#[test]
fn dropped_base_ends_nothing_that_has_left() {
    model(Bounds::LARGE, || {
        let journey = Arc::new(Journey::default());
        assert!(journey.try_hold());
        let mover = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                assert!(journey.depart(|| true));
                journey.release();
            })
        };
        let poster = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || journey.post(Reasons::READABLE))
        };
        journey.drop_base(0, true);
        mover.join().expect("no panic");
        poster.join().expect("no panic");
        journey.settle_down();
        journey.assert_idle();
        assert!(journey.ended.get() == 0 && !journey.word.is_dead());
        assert!(journey.delivered.get() & Reasons::READABLE.bits() != 0);
    });
}

/// Migration against the end of the base that is moved to: refused, or moved and ended there, once.
#[test]
fn dropped_base_ends_what_has_come() {
    model(Bounds::LARGE, || {
        let journey = Arc::new(Journey::default());
        assert!(journey.try_hold());
        let mover = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                let moved = journey.depart(|| true);
                journey.release();
                moved
            })
        };
        journey.drop_base(1, false);
        let moved = mover.join().expect("no panic");
        journey.settle_down();
        journey.assert_idle();
        assert_eq!((journey.ended.get() == 1, journey.word.is_dead()), (moved, moved));
        assert_eq!(journey.seat.place(), u64::from(moved));
    });
}

/// Migration against close: who asks for the end and then looks where it will come looks at the last home.
#[test]
fn who_waits_for_the_end_knows_where() {
    model(Bounds::EXHAUSTIVE, || {
        let (journey, life) = (Arc::new(Journey::default()), Arc::new(Lifecycle::new()));
        assert!(journey.try_hold());
        let mover = {
            let (journey, life) = (Arc::clone(&journey), Arc::clone(&life));
            thread::spawn(move || {
                let moved = journey.depart(|| !life.is_closing());
                journey.release();
                moved
            })
        };
        let _first = life.request_close();
        let looked = journey.seat.look(|berth| berth.base);
        let moved = mover.join().expect("no panic");
        assert_eq!(looked, journey.seat.look(|berth| berth.base), "it moved after that");
        assert_eq!(moved, looked == 1);
        journey.settle_down();
        journey.assert_idle();
    });
}

/// The timer of the base that is left fires while the strand moves, and that of the new one as soon as it is set.
#[test]
fn deadline_is_met_once() {
    model(Bounds::LARGE, || {
        let journey = Arc::new(Journey::default());
        assert!(journey.try_hold());
        let mover = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                assert!(journey.depart(|| true));
                journey.release();
            })
        };
        let target = {
            let journey = Arc::clone(&journey);
            thread::spawn(move || {
                let (mut known, mut timer) = (false, false);
                for _ in 0..2 {
                    journey.drain_one(1, &mut known, &mut timer);
                }
                if timer {
                    journey.fire(1);
                }
                (known, timer)
            })
        };
        journey.fire(0);
        mover.join().expect("no panic");
        let (mut known, mut timer) = target.join().expect("no panic");
        if !timer {
            while journey.drain_one(1, &mut known, &mut timer) {}
            if timer {
                journey.fire(1);
            }
        }
        assert_eq!(journey.met.get(), 1);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("seat_asks_early", "who_waits_for_the_end_knows_where"),
        ("moving_runs_anywhere", "token_finds_its_strand"),
        ("moving_runs_anywhere", "queued_token_goes_after_its_strand"),
        ("moving_drops_the_token", "token_finds_its_strand"),
        ("moving_replaces_nothing", "token_of_a_base_that_rests_is_replaced"),
        ("strand_replace:torn", "token_of_a_base_that_rests_is_replaced"),
        ("strand_begin_knows_no_spare", "token_of_a_base_that_rests_is_replaced"),
        ("strand_begin_knows_no_spare", "spare_token_loses_no_run"),
        ("moving_forgets_who_contended", "spare_token_loses_no_run"),
        ("moving_drops_the_token", "queued_token_goes_after_its_strand"),
        ("moving_ends_what_has_left", "dropped_base_ends_nothing_that_has_left"),
        ("moving_tells_last", "deadline_is_met_once"),
        ("moving_tells_last", "dropped_base_ends_what_has_come"),
        ("moving_fires_anywhere", "deadline_is_met_once"),
        ("strand_contend:torn", "token_finds_its_strand"),
        ("strand_finish_drops_left", "queued_token_goes_after_its_strand"),
        ("inbox_push_ignores_close", "dropped_base_ends_what_has_come"),
    ]);
}
