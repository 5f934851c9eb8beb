//! Protocol 1: the strand word. Every thread posts and runs, as every worker does.

#![cfg(loom)]

use bufferevent_runtime::__loom::{Finished, Posted, Reasons};
use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, Strand, assert_mutants_die, model};

const NOTHING_LEFT: fn(Reasons) -> Reasons = |_| Reasons::EMPTY;

#[test]
fn runs_never_overlap() {
    model(Bounds::LARGE, || {
        let strand = Arc::new(Strand::new());
        let threads: Vec<_> = [Reasons::READABLE, Reasons::TIMER]
            .into_iter()
            .map(|reason| {
                let strand = Arc::clone(&strand);
                thread::spawn(move || {
                    let _ = strand.post(reason);
                    strand.run(NOTHING_LEFT);
                })
            })
            .collect();
        let _ = strand.post(Reasons::USER);
        strand.run(NOTHING_LEFT);
        for thread in threads {
            thread.join().expect("no panic");
        }
        strand.drain(NOTHING_LEFT);
        strand.assert_idle();
    });
}

#[test]
fn no_reason_is_lost() {
    model(Bounds::DEEP, || {
        let strand = Arc::new(Strand::new());
        let threads: Vec<_> = [Reasons::READABLE, Reasons::TIMER]
            .into_iter()
            .map(|reason| {
                let strand = Arc::clone(&strand);
                thread::spawn(move || {
                    let _ = strand.post(reason);
                })
            })
            .collect();
        strand.run(NOTHING_LEFT);
        strand.run(NOTHING_LEFT);
        for thread in threads {
            thread.join().expect("no panic");
        }
        strand.drain(NOTHING_LEFT);
        strand.assert_idle();
        assert_eq!(strand.delivered.get(), (Reasons::READABLE | Reasons::TIMER).bits());
        assert!(strand.runs.get() <= 2, "one run per post at most");
    });
}

#[test]
fn coalesced_post_is_seen_by_the_run() {
    model(Bounds::EXHAUSTIVE, || {
        let strand = Arc::new(Strand::new());
        let data = Arc::new(Exclusive::new());
        let poster = {
            let (strand, data) = (Arc::clone(&strand), Arc::clone(&data));
            thread::spawn(move || {
                data.write();
                let _ = strand.post(Reasons::READABLE);
            })
        };
        let look = |reasons: Reasons| {
            if reasons.contains(Reasons::READABLE) {
                data.read();
            }
            Reasons::EMPTY
        };
        let _ = strand.post(Reasons::TIMER);
        strand.run(look);
        strand.run(look);
        poster.join().expect("no panic");
        strand.drain(look);
        strand.assert_idle();
        assert_eq!(strand.delivered.get(), (Reasons::READABLE | Reasons::TIMER).bits());
    });
}

#[test]
fn taken_mail_is_visible_and_complete() {
    model(Bounds::EXHAUSTIVE, || {
        let strand = Arc::new(Strand::new());
        let mail = Arc::new(Exclusive::new());
        let returned = Arc::new(AtomicBool::new(false));
        let _ = strand.post(Reasons::READABLE);
        let poster = {
            let (strand, mail, returned) = (Arc::clone(&strand), Arc::clone(&mail), Arc::clone(&returned));
            thread::spawn(move || {
                mail.write();
                let _ = strand.post(Reasons::MAIL | Reasons::USER);
                returned.store(true, Ordering::Release);
                let _ = strand.post(Reasons::TIMER);
            })
        };
        let read = |reasons: Reasons| {
            if reasons.contains(Reasons::MAIL) {
                mail.read();
            }
            reasons
        };
        let callback = |reasons: Reasons| {
            let mut got = read(reasons);
            let posted = returned.load(Ordering::Acquire);
            got |= read(strand.word.take(Reasons::MAIL));
            strand.delivered.set(got.bits());
            let mail_came = strand.delivered.get() & Reasons::MAIL.bits() != 0;
            assert!(!posted || mail_came, "a post of whose return the runner knows is taken");
            Reasons::EMPTY
        };
        strand.run(callback);
        poster.join().expect("no panic");
        strand.run(callback);
        strand.drain(read_nothing);
        strand.assert_idle();
        let all = Reasons::READABLE | Reasons::MAIL | Reasons::USER | Reasons::TIMER;
        assert_eq!(strand.delivered.get(), all.bits());
    });
}

fn read_nothing(reasons: Reasons) -> Reasons {
    assert!(reasons.is_empty(), "two runs were enough, but {reasons:?} came");
    Reasons::EMPTY
}

#[test]
fn death_in_a_run_is_final() {
    model(Bounds::LARGE, || {
        let strand = Arc::new(Strand::new());
        let will = Arc::new(Exclusive::new());
        let _ = strand.post(Reasons::READABLE);
        let posters: Vec<_> = (0..2)
            .map(|_| {
                let (strand, will) = (Arc::clone(&strand), Arc::clone(&will));
                thread::spawn(move || {
                    if strand.post(Reasons::USER) == Posted::Dead {
                        will.read();
                    }
                })
            })
            .collect();
        strand.queue.pop().expect("our token");
        strand.word.begin().expect("alive");
        will.write();
        strand.word.kill();
        assert_eq!(strand.word.finish(Reasons::DEFERRED), Finished::Dead);
        assert_eq!(strand.post(Reasons::USER), Posted::Dead);
        assert!(!strand.word.release(Reasons::GUARD));
        for poster in posters {
            poster.join().expect("no panic");
        }
        assert!(strand.queue.pop().is_none(), "no token outlives the strand");
        assert!(strand.word.is_dead());
    });
}

#[test]
fn death_in_the_queue_is_final() {
    model(Bounds::EXHAUSTIVE, || {
        let strand = Arc::new(Strand::new());
        let will = Arc::new(Exclusive::new());
        let _ = strand.post(Reasons::READABLE);
        let poster = {
            let strand = Arc::clone(&strand);
            thread::spawn(move || {
                let _ = strand.post(Reasons::USER);
            })
        };
        let runner = {
            let (strand, will) = (Arc::clone(&strand), Arc::clone(&will));
            thread::spawn(move || {
                strand.queue.pop().expect("the only popper");
                match strand.word.begin() {
                    None => will.read(),
                    Some(_) if strand.word.finish(Reasons::EMPTY) == Finished::Requeue => {
                        strand.queue.push(())
                    }
                    Some(_) => {}
                }
            })
        };
        will.write();
        strand.word.kill();
        poster.join().expect("no panic");
        runner.join().expect("no panic");
        assert_eq!(strand.post(Reasons::USER), Posted::Dead);
        if strand.queue.pop().is_some() {
            assert_eq!(strand.word.begin(), None, "a token that is left is dropped");
        }
        assert_eq!(strand.post(Reasons::USER), Posted::Dead);
        assert!(!strand.word.snapshot().is_running());
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("strand_post:torn", "no_reason_is_lost"),
        ("strand_post:torn", "runs_never_overlap"),
        ("strand_post:acquire", "coalesced_post_is_seen_by_the_run"),
        ("strand_post:release", "death_in_a_run_is_final"),
        ("strand_begin:torn", "no_reason_is_lost"),
        ("strand_begin:release", "coalesced_post_is_seen_by_the_run"),
        ("strand_begin_forgets_dead", "death_in_the_queue_is_final"),
        ("strand_take:torn", "taken_mail_is_visible_and_complete"),
        ("strand_take:release", "taken_mail_is_visible_and_complete"),
        ("strand_take_unqueues", "taken_mail_is_visible_and_complete"),
        ("strand_take_sees_nothing", "taken_mail_is_visible_and_complete"),
        ("strand_finish:torn", "no_reason_is_lost"),
        ("strand_finish_forgets_dead", "death_in_a_run_is_final"),
        ("strand_finish:acquire", "runs_never_overlap"),
        ("strand_kill:torn", "death_in_the_queue_is_final"),
        ("strand_kill:acquire", "death_in_a_run_is_final"),
        ("strand_kill:acquire", "death_in_the_queue_is_final"),
    ]);
}
