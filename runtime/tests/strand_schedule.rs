//! When strands run: first with START, once at a time, at the tail when they ask for more, never after their end.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{sync::Arc, thread, time::Duration};

use bufferevent_runtime::{
    Base, Body, Census, Clock, Held, Left, Lent, Movable, Placement, Reasons, Runtime, Turned,
};
use bufferevent_sync::atomic::{AtomicUsize, Ordering};
use common::{Log, Running, Script, Signal, eventually, strand};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn by_hand() -> Base<Movable> {
    // The time stands still, so that no turn is ended by it.
    Base::with_clock(Clock::manual().0).unwrap()
}

/// A body that logs its reasons.
fn logging(log: &Log, left: Left) -> Script {
    let log = log.clone();
    Script::new(move |_, reasons, _| {
        log.add(format!("{reasons:?}"));
        left
    })
}

#[test]
fn posts_before_the_first_run_join_it() {
    let _census = Census::begin();
    for placement in [Placement::Any, Placement::Base] {
        let mut base = by_hand();
        let log = Log::default();
        let here = base.strand(placement, (), |_| logging(&log, Left::Idle));
        here.post(Reasons::USER);
        base.turn(NOW).unwrap();
        assert_eq!(log.take(), ["START | USER"]);
        let sent = base.handle().strand(placement, (), |_| logging(&log, Left::Idle)).unwrap();
        sent.post(Reasons::MAIL);
        drop(sent.lock().unwrap());
        base.turn(NOW).unwrap();
        assert_eq!(log.take(), ["MAIL | START"]);
    }
}

#[test]
fn a_strand_made_on_another_base_starts_there_with_start() {
    // Its maker posts at once, from a worker whose queue would be faster than the inbox of the strand's base.
    let _census = Census::begin();
    for (workers, bases) in [(2, 2), (1, 2), (2, 4)] {
        let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
        let (first, wrong) = (Signal::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..200 {
            let (home, first, wrong) = (running.base(1), Arc::clone(&first), Arc::clone(&wrong));
            running
                .base(0)
                .post(move |_| {
                    let started = AtomicUsize::new(0);
                    let made = strand(&home, Placement::Any, move |_, reasons, _| {
                        // ORDER: AcqRel; runs of one strand follow each other.
                        if (started.fetch_add(1, Ordering::AcqRel) == 0) != reasons.contains(Reasons::START) {
                            wrong.fetch_add(1, Ordering::AcqRel);
                        }
                        first.raise();
                        Left::Dead
                    });
                    made.post(Reasons::USER);
                })
                .unwrap();
        }
        first.wait_for(200);
        assert_eq!(wrong.load(Ordering::Acquire), 0);
        eventually("all are forgotten", || running.base(1).objects() == 0);
    }
}

#[test]
fn a_strand_that_asks_for_more_goes_to_the_tail() {
    let _census = Census::begin();
    for placement in [Placement::Any, Placement::Base] {
        let mut base = by_hand();
        let log = Log::default();
        for name in ["a", "b", "c"] {
            let (log, runs) = (log.clone(), AtomicUsize::new(0));
            base.strand(placement, (), move |_| {
                Script::new(move |_, reasons, _| {
                    log.add(format!("{name} {reasons:?}"));
                    match runs.fetch_add(1, Ordering::AcqRel) {
                        0 => Left::Again(Reasons::USER),
                        _ => Left::Dead,
                    }
                })
            });
        }
        assert_eq!(base.run().unwrap(), Turned::Empty);
        assert_eq!(log.take(), ["a START", "b START", "c START", "a USER", "b USER", "c USER"]);
    }
}

#[test]
fn posts_coalesce_and_what_is_taken_does_not_come_again() {
    let _census = Census::begin();
    let mut base = by_hand();
    let log = Log::default();
    let mine = log.clone();
    let made = base.strand(Placement::Any, (), move |_| {
        Script::new(move |held, reasons, _| {
            held.strand().post(Reasons::MAIL);
            held.strand().post(Reasons::MAIL);
            if reasons.contains(Reasons::START) {
                let taken = held.strand().take(Reasons::MAIL | Reasons::USER);
                mine.add(format!("took {taken:?}"));
            } else if !reasons.contains(Reasons::MAIL) {
                mine.add(format!("{reasons:?}"));
            } else {
                mine.add(format!("{reasons:?}"));
                return Left::Dead;
            }
            Left::Idle
        })
    });
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["took MAIL"]);
    for _ in 0..3 {
        made.post(Reasons::USER);
        made.post(Reasons::READABLE);
    }
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["READABLE | USER", "MAIL"]);
}

#[test]
fn the_end_is_the_end_and_frees_the_key() {
    let _census = Census::begin();
    let mut base = by_hand();
    let log = Log::default();
    let mut keys = Vec::new();
    for _ in 0..1_000 {
        let made = base.strand(Placement::Any, (), |_| logging(&log, Left::Dead));
        keys.push(made.key());
        made.arm(Some(base.deadline(Duration::from_secs(1))));
        assert_eq!(base.run().unwrap(), Turned::Empty);
        made.post(Reasons::USER);
        assert!(made.lock().is_ok(), "the body is there as long as somebody holds the strand");
        assert_eq!(base.run().unwrap(), Turned::Empty);
    }
    assert!(log.take().iter().all(|reasons| reasons == "START"));
    assert_eq!((base.len(), base.handle().objects()), (0, 0));
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "a key names one object for ever");
    assert!(keys.iter().all(|key| key.token().index() < 4), "but its slot is used again");
}

#[test]
fn runs_of_one_strand_never_overlap_whoever_posts() {
    let _census = Census::begin();
    for (workers, bases) in [(2, 2), (3, 1), (2, 4)] {
        let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
        let (inside, runs) = (Arc::new(AtomicUsize::new(0)), Signal::new());
        let (mine, ran) = (Arc::clone(&inside), Arc::clone(&runs));
        let made = strand(&running.base(0), Placement::Any, move |held, _, _| {
            // ORDER: AcqRel; counts who is inside.
            assert_eq!(mine.fetch_add(1, Ordering::AcqRel), 0);
            held.body().value += 1;
            thread::yield_now();
            mine.fetch_sub(1, Ordering::AcqRel);
            ran.raise();
            Left::Idle
        });
        let posters: Vec<_> = (0..3)
            .map(|_| {
                let made = Arc::clone(&made);
                thread::spawn(move || (0..2_000).for_each(|_| made.post(Reasons::USER)))
            })
            .collect();
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        eventually("it rests", || {
            let held = made.lock().unwrap();
            held.value == runs.count() && !format!("{made:?}").contains("QUEUED")
        });
    }
}

#[test]
fn a_strand_knows_where_it_is() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).build().unwrap());
    let (there, other) = (Signal::new(), by_hand());
    let mine = Arc::clone(&there);
    let home = running.base(1);
    let id = home.id();
    let made = strand(&home, Placement::Any, move |held, _, _| {
        assert!(held.strand().is_on_worker());
        assert_eq!(held.strand().base().id(), id);
        mine.raise();
        Left::Idle
    });
    there.wait();
    assert!(!made.is_on_worker(), "this thread is no worker");
    assert_ne!(other.id(), id);
    assert_eq!((made.base().index(), made.waiting_since()), (1, None), "nobody traces");
}

/// An internal one, that goes on while it lives.
struct Serving(Arc<Signal>);

impl Body for Serving {
    type Outer = ();

    const INTERNAL: bool = true;

    fn run(held: &mut Held<'_, Self>, reasons: Reasons, lent: &mut Lent<'_>) -> Left {
        if reasons.contains(Reasons::USER) {
            held.body().0.raise();
        }
        let later = lent.now.saturating_add(Duration::from_secs(3_600));
        held.strand().arm(Some(later));
        Left::Idle
    }

    fn abandon(&mut self, _: &()) {}
}

#[test]
fn no_loop_and_no_drain_waits_for_an_internal_strand() {
    let _census = Census::begin();
    for is_sent in [false, true] {
        let mut base = by_hand();
        let ran = Signal::new();
        let body = |_| Serving(Arc::clone(&ran));
        let strand = match is_sent {
            false => base.strand(Placement::Any, (), body),
            true => base.handle().strand(Placement::Any, (), body).unwrap(),
        };
        assert_eq!(base.run().unwrap(), Turned::Empty);
        assert_eq!((base.handle().objects(), base.len(), base.objects()[0].kind), (0, 0, "internal"));
        strand.post(Reasons::USER);
        assert_eq!((base.run().unwrap(), ran.count()), (Turned::Empty, 1), "it runs all the same");
        base.close_all_over(Duration::from_secs(3_600));
        assert_eq!(base.run().unwrap(), Turned::Empty, "it is no connection");
    }
    for (workers, bases) in [(1, 1), (2, 2), (1, 2), (2, 4)] {
        let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
        let ran = Signal::new();
        let strands = running.runtime.bases().into_iter().map(|base| {
            let strand = base.strand(Placement::Any, (), |_| Serving(Arc::clone(&ran))).unwrap();
            strand.post(Reasons::USER);
            strand
        });
        let _strands = Vec::from_iter(strands);
        ran.wait();
        running.runtime.shutdown_over(Duration::from_secs(3_600), Duration::from_secs(3_600)).unwrap();
        running.join().unwrap().unwrap();
    }
}
