//! A strand moves from one base to another: its token finds it, its timer fires once, and a base that is dropped ends
//! what lives there and nothing else.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{sync::Arc, thread, time::Duration};

use bufferevent_runtime::{
    After, Base, BaseHandle, Census, Clock, Error, Left, ManualClock, Movable, Placement, Reasons, Runtime,
    Strand,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use common::{FnSource, Log, Running, Script, Signal, eventually, start, strand};

const NOW: Option<Duration> = Some(Duration::ZERO);
const PLACEMENTS: [Placement; 2] = [Placement::Any, Placement::Base];

fn two_by_hand() -> (Base<Movable>, Base<Movable>, ManualClock) {
    let (clock, hand) = Clock::manual();
    (Base::with_clock(clock.clone()).unwrap(), Base::with_clock(clock).unwrap(), hand)
}

/// A body that logs its reasons.
fn logging(log: &Log) -> Script {
    let log = log.clone();
    Script::new(move |_, reasons, _| {
        log.add(format!("{reasons:?}"));
        Left::Idle
    })
}

/// Moves without a descriptor.
fn move_to(strand: &Arc<Strand<Script>>, target: &BaseHandle) -> Result<(), Error> {
    let mut guard = strand.lock().unwrap();
    let (_, seating) = guard.seating();
    seating.move_to(target, || true, |_, agree| agree())
}

fn turn_both(one: &mut Base<Movable>, other: &mut Base<Movable>) {
    for _ in 0..4 {
        one.turn(NOW).unwrap();
        other.turn(NOW).unwrap();
    }
}

#[test]
fn it_runs_on_the_new_base_and_counts_there() {
    let _census = Census::begin();
    for placement in PLACEMENTS {
        let (mut one, mut other, _) = two_by_hand();
        let log = Log::default();
        let moving = one.strand(placement, (), |_| logging(&log));
        one.turn(NOW).unwrap();
        assert_eq!(log.take(), ["START"]);
        move_to(&moving, &other.handle()).unwrap();
        assert_eq!(moving.base().id(), other.id());
        moving.post(Reasons::USER);
        one.turn(NOW).unwrap();
        assert_eq!(log.take(), [""; 0], "nothing of it runs on the base it has left");
        other.turn(NOW).unwrap();
        assert_eq!(log.take(), ["USER | MOVED"]);
        assert_eq!((one.len(), other.len()), (0, 1));
        assert_eq!((one.handle().objects(), other.handle().objects()), (0, 1));
    }
}

#[test]
fn a_token_that_was_queued_before_the_move_goes_after_the_strand() {
    let _census = Census::begin();
    for placement in PLACEMENTS {
        let (mut one, mut other, _) = two_by_hand();
        let log = Log::default();
        let moving = one.strand(placement, (), |_| logging(&log));
        // Its first token lies in the queue of the base it leaves.
        move_to(&moving, &other.handle()).unwrap();
        turn_both(&mut one, &mut other);
        assert_eq!(log.take(), ["START | MOVED"]);
        // Now one lies in the inbox, where it goes from any thread, and one in the guard's hands.
        moving.post(Reasons::USER);
        let mut guard = moving.lock().unwrap();
        let (_, seating) = guard.seating();
        seating.move_to(&one.handle(), || true, |_, agree| agree()).unwrap();
        turn_both(&mut one, &mut other);
        drop(guard);
        turn_both(&mut one, &mut other);
        assert_eq!(log.take(), ["USER | MOVED"]);
        assert_eq!((one.len(), other.len()), (1, 0));
    }
}

#[test]
fn one_that_moves_in_its_run_goes_on_at_the_new_base() {
    let _census = Census::begin();
    for placement in PLACEMENTS {
        let (mut one, mut other, _) = two_by_hand();
        let (log, target) = (Log::default(), other.handle());
        let theirs = log.clone();
        let _moving = one.strand(placement, (), |_| {
            Script::new(move |held, reasons, _| {
                theirs.add(format!("{reasons:?}"));
                if !reasons.contains(Reasons::START) {
                    return Left::Idle;
                }
                assert!(!held.is_interrupted());
                held.seating().1.move_to(&target, || true, |_, agree| agree()).unwrap();
                assert!(held.is_interrupted());
                Left::Again(Reasons::USER)
            })
        });
        one.turn(NOW).unwrap();
        one.turn(NOW).unwrap();
        assert_eq!(log.take(), ["START"]);
        other.turn(NOW).unwrap();
        assert_eq!(log.take().concat(), "USER | MOVED");
    }
}

#[test]
fn of_what_its_timer_is_asked_for_by_several_the_earliest_counts() {
    let _census = Census::begin();
    let second = Duration::from_secs(1);
    let (mut one, mut other, hand) = two_by_hand();
    let log = Log::default();
    let strand = one.strand(Placement::Any, (), |_| logging(&log));
    one.turn(NOW).unwrap();
    log.take();
    // In one message, and in two.
    strand.arm_by(one.deadline(second * 2));
    strand.arm_by(one.deadline(second));
    one.turn(NOW).unwrap();
    strand.arm_by(one.deadline(second * 3));
    turn_both(&mut one, &mut other);
    hand.advance(second);
    turn_both(&mut one, &mut other);
    assert_eq!(log.take(), ["TIMER"]);
    assert_eq!(one.next_deadline(), None);
}

#[test]
fn its_timer_goes_along_and_fires_once() {
    // C-37: libevent leaves the timers behind.
    let _census = Census::begin();
    let second = Duration::from_secs(1);
    let (mut one, mut other, hand) = two_by_hand();
    let log = Log::default();
    let moving = one.strand(Placement::Any, (), |_| logging(&log));
    one.turn(NOW).unwrap();
    moving.arm(Some(one.deadline(second)));
    one.turn(NOW).unwrap();
    move_to(&moving, &other.handle()).unwrap();
    other.turn(NOW).unwrap();
    log.take();
    // The old base has a timer for it still, since it has not looked at its inbox.
    hand.advance(second);
    one.turn(NOW).unwrap();
    other.turn(NOW).unwrap();
    turn_both(&mut one, &mut other);
    assert_eq!(log.take(), ["TIMER"]);
    // One that was asked for and not yet entered goes along too, and so does a later change of mind.
    moving.arm(Some(other.deadline(second)));
    move_to(&moving, &one.handle()).unwrap();
    moving.arm(Some(other.deadline(second * 2)));
    turn_both(&mut one, &mut other);
    log.take();
    hand.advance(second);
    turn_both(&mut one, &mut other);
    assert_eq!(log.take(), [""; 0]);
    hand.advance(second);
    turn_both(&mut one, &mut other);
    assert_eq!(log.take(), ["TIMER"]);
    // And one that was cancelled stays so.
    moving.arm(Some(other.deadline(second)));
    turn_both(&mut one, &mut other);
    moving.arm(None);
    move_to(&moving, &other.handle()).unwrap();
    turn_both(&mut one, &mut other);
    log.take();
    hand.advance(second * 2);
    turn_both(&mut one, &mut other);
    assert_eq!(log.take(), [""; 0]);
    assert_eq!((one.next_deadline(), other.next_deadline()), (None, None));
}

#[test]
fn a_move_that_fails_changes_nothing() {
    //
    let _census = Census::begin();
    let (mut one, other, _) = two_by_hand();
    let log = Log::default();
    let moving = one.strand(Placement::Any, (), |_| logging(&log));
    one.turn(NOW).unwrap();
    log.take();
    let target = other.handle();
    let refused = |target: &BaseHandle, may: bool, taken: bool| {
        let mut guard = moving.lock().unwrap();
        let (_, seating) = guard.seating();
        let registered = move |_, agree: &mut dyn FnMut() -> Result<(), Error>| match taken {
            true => agree(),
            false => Err(Error::Io(std::io::ErrorKind::AlreadyExists.into())),
        };
        seating.move_to(target, || may, registered).unwrap_err()
    };
    assert!(matches!(refused(&target, false, true), Error::Closed));
    assert!(matches!(refused(&target, true, false), Error::Io(_)));
    let elsewhere = Base::<Movable>::with_clock(Clock::manual().0).unwrap();
    assert!(matches!(refused(&elsewhere.handle(), true, true), Error::Unsupported(_)));
    let mut other = other;
    other.turn(NOW).unwrap();
    assert_eq!((other.len(), target.objects()), (0, 0));
    drop(other);
    assert!(matches!(refused(&target, true, true), Error::Closed));
    assert_eq!(moving.base().id(), one.id());
    assert_eq!((one.len(), one.handle().objects()), (1, 1));
    moving.post(Reasons::USER);
    one.turn(NOW).unwrap();
    // The base that was told first may have posted to it.
    assert!(log.take().concat().contains("USER"));
    // To where it is: nothing to do.
    move_to(&moving, &one.handle()).unwrap();
    one.turn(NOW).unwrap();
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn one_that_is_dead_does_not_move() {
    let _census = Census::begin();
    let (mut one, other, _) = two_by_hand();
    let dead = one.strand(Placement::Any, (), |_| Script::new(|_, _, _| Left::Dead));
    one.turn(NOW).unwrap();
    assert!(matches!(move_to(&dead, &other.handle()), Err(Error::Closed)));
    one.turn(NOW).unwrap();
    assert_eq!((one.len(), other.handle().objects()), (0, 0));
}

#[test]
fn a_base_that_is_dropped_ends_what_lives_there_and_not_what_has_moved_away() {
    let _census = Census::begin();
    for placement in PLACEMENTS {
        for turns in [0, 1] {
            let (mut one, mut other, _) = two_by_hand();
            let log = Log::default();
            let moving = one.strand(placement, (), |_| logging(&log));
            one.turn(NOW).unwrap();
            move_to(&moving, &other.handle()).unwrap();
            for _ in 0..turns {
                other.turn(NOW).unwrap();
            }
            moving.post(Reasons::MAIL);
            drop(one);
            let abandoned = Arc::clone(&moving.lock().unwrap().abandoned);
            other.turn(NOW).unwrap();
            assert_eq!((abandoned.count(), other.len()), (0, 1));
            assert!(log.take().concat().contains("MAIL"));
            drop(other);
            assert_eq!(abandoned.count(), 1);
            assert!(matches!(move_to(&moving, &moving.base()), Err(Error::Closed)));
        }
    }
}

#[test]
fn one_that_a_guard_holds_while_its_base_is_dropped_lives_on_if_it_moves_in_time() {
    let _census = Census::begin();
    let (mut one, mut other, _) = two_by_hand();
    let log = Log::default();
    let (stays, moves) = (
        one.strand(Placement::Any, (), |_| logging(&log)),
        one.strand(Placement::Any, (), |_| logging(&log)),
    );
    one.turn(NOW).unwrap();
    let abandoned = [&stays, &moves].map(|strand| Arc::clone(&strand.lock().unwrap().abandoned));
    let (dropped, target) = (Arc::new(AtomicBool::new(false)), other.handle());
    let mut guard = moves.lock().unwrap();
    let theirs = Arc::clone(&dropped);
    let dropper = thread::spawn(move || {
        drop(one);
        theirs.swap(true, Ordering::AcqRel);
    });
    // Nobody waits for the guard.
    eventually("the base is dropped", || dropped.load(Ordering::Acquire));
    guard.seating().1.move_to(&target, || true, |_, agree| agree()).unwrap();
    drop(guard);
    dropper.join().unwrap();
    turn_both(&mut Base::with_clock(Clock::manual().0).unwrap(), &mut other);
    assert_eq!(abandoned.map(|signal| signal.count()), [1, 0]);
    assert_eq!(other.len(), 1);
}

#[test]
fn it_waits_where_a_base_rests_and_goes_on_where_it_has_moved_to() {
    let _census = Census::begin();
    let (mut one, mut other, _) = two_by_hand();
    let log = Log::default();
    let moving = one.strand(Placement::Any, (), |_| logging(&log));
    one.turn(NOW).unwrap();
    log.take();
    one.break_now();
    moving.post(Reasons::USER);
    move_to(&moving, &other.handle()).unwrap();
    // One token is in the inbox of the base that rests, and is spent when that goes on.
    other.turn(NOW).unwrap();
    assert_eq!(log.take(), ["USER | MOVED"]);
    turn_both(&mut one, &mut other);
    assert_eq!(log.take(), [""; 0]);
    let running = Running::start(Runtime::builder().workers(2).bases(2).build().unwrap());
    let (log, fence) = (Log::default(), Signal::new());
    let theirs = log.clone();
    let [moving, other] = [0, 0].map(|base| {
        let theirs = theirs.clone();
        strand(&running.base(base), Placement::Any, move |_, reasons, _| {
            theirs.add(format!("{reasons:?}"));
            Left::Idle
        })
    });
    eventually("the first runs", || log.count() == 2);
    log.take();
    running.base(1).break_now();
    move_to(&moving, &running.base(1)).unwrap();
    moving.post(Reasons::USER);
    // Both workers have looked around since.
    for reasons in [Reasons::MAIL, Reasons::GUARD] {
        other.post(reasons);
        eventually("the run of one that lives elsewhere", || log.count() > 0);
        assert_eq!(log.take(), [format!("{reasons:?}")]);
    }
    let raised = Arc::clone(&fence);
    running.base(0).post(move |_| raised.raise()).unwrap();
    fence.wait();
    assert_eq!(log.count(), 0, "its base rests");
    running.base(1).resume();
    eventually("the run on the base that goes on", || log.count() > 0);
    assert!(log.take().concat().contains("USER"));
}

#[test]
fn it_runs_on_without_the_base_it_has_left_wherever_its_token_lies() {
    let _census = Census::begin();
    for placement in PLACEMENTS {
        for turned in [false, true] {
            let (mut one, mut other, _) = two_by_hand();
            let log = Log::default();
            let moving = match turned {
                true => one.strand(placement, (), |_| logging(&log)),
                // It comes as a message, with its first token.
                false => one.handle().strand(placement, (), |_| logging(&log)).unwrap(),
            };
            move_to(&moving, &other.handle()).unwrap();
            other.turn(NOW).unwrap();
            assert_eq!(log.take(), ["START | MOVED"], "the other base is never turned");
            // There and back, and never run there: no more spare tokens than may be.
            for _ in 0..40 {
                move_to(&moving, &one.handle()).unwrap();
                moving.post(Reasons::MAIL);
                move_to(&moving, &other.handle()).unwrap();
                other.turn(NOW).unwrap();
            }
            let seen = log.take().len();
            assert!((14..40).contains(&seen), "{seen}: bounded by the spare tokens that lie about");
            turn_both(&mut one, &mut other);
            assert!(log.take().concat().contains("MAIL"), "the next one that is popped runs it");
            moving.post(Reasons::USER);
            turn_both(&mut one, &mut other);
            assert_eq!(log.take(), ["USER"], "all spare ones are spent");
            assert_eq!((one.len(), other.len()), (0, 1));
        }
    }
}

#[test]
fn it_leaves_a_base_of_a_runtime_that_rests_or_is_in_a_long_callback() {
    let _census = Census::begin();
    for pinned in [false, true] {
        for placement in PLACEMENTS {
            for rests in [true, false] {
                let builder = Runtime::builder().workers(2).bases(2).pinned(pinned);
                let running = Running::start(builder.build().unwrap());
                let [one, other] = [0, 1].map(|index| running.base(index));
                let log = Log::default();
                let theirs = log.clone();
                let moving = strand(&one, placement, move |_, reasons, _| {
                    theirs.add(format!("{reasons:?}"));
                    Left::Idle
                });
                eventually("the first run", || log.count() == 1);
                let (inside, leave) = (Signal::new(), Signal::new());
                if rests {
                    one.break_now();
                } else {
                    let (inside, leave) = (Arc::clone(&inside), Arc::clone(&leave));
                    one.post(move |_| {
                        inside.raise();
                        leave.wait();
                    })
                    .unwrap();
                }
                if !rests {
                    inside.wait();
                }
                moving.post(Reasons::USER);
                move_to(&moving, &other).unwrap();
                eventually("the run where it lives now", || log.take().concat().contains("USER"));
                assert_eq!(one.objects(), 1, "the base it has left has not looked");
                leave.raise();
                one.resume();
                eventually("the base it has left knows", || one.objects() == 0);
                moving.post(Reasons::MAIL);
                eventually("another run", || log.take().concat().contains("MAIL"));
            }
        }
    }
}

#[test]
fn a_base_that_closes_closes_what_comes_and_not_what_has_left() {
    let _census = Census::begin();
    let (mut one, mut other, _) = two_by_hand();
    let log = Log::default();
    let leaves = one.strand(Placement::Any, (), |_| logging(&log));
    turn_both(&mut one, &mut other);
    log.take();
    move_to(&leaves, &other.handle()).unwrap();
    one.close_all();
    turn_both(&mut one, &mut other);
    assert_eq!(log.take(), ["MOVED"]);
    move_to(&leaves, &one.handle()).unwrap();
    turn_both(&mut one, &mut other);
    assert_eq!(log.take().len(), 1);
    let mut guard = leaves.lock().unwrap();
    guard.seating().1.move_to(&other.handle(), || true, |_, agree| agree()).unwrap();
    drop(guard);
    other.close_all();
    turn_both(&mut one, &mut other);
    assert!(log.take().concat().contains("MOVED"));
}

#[test]
fn a_source_moves_with_its_timer_and_what_is_due() {
    let _census = Census::begin();
    let second = Duration::from_secs(1);
    for deferred in [false, true] {
        let (mut one, mut other, hand) = two_by_hand();
        let log = Log::default();
        let theirs = log.clone();
        let key = one.insert(FnSource(move |base: &mut Base<Movable>, reasons: Reasons| {
            theirs.add(format!("{} {reasons:?}", base.id()));
            After::Idle
        }));
        one.arm(key, one.deadline(second));
        match deferred {
            true => one.defer(key, Reasons::USER),
            false => one.post_to(key, Reasons::USER),
        }
        let new = other.reserve();
        one.depart(key, &other.handle(), new).unwrap();
        assert!(one.source(key).is_none() && one.is_empty());
        turn_both(&mut one, &mut other);
        assert!(other.source(new).is_some());
        let id = other.id();
        let mut told = vec![format!("{id} USER | MOVED")];
        if deferred {
            told.push(format!("{id} DEFERRED"));
        }
        assert_eq!(log.take(), told);
        hand.advance(second);
        turn_both(&mut one, &mut other);
        assert_eq!(log.take(), [format!("{id} TIMER")]);
        assert_eq!((one.next_deadline(), other.next_deadline()), (None, None));
    }
}

#[test]
fn a_source_that_is_running_leaves_at_the_end_of_its_run_or_stays() {
    let _census = Census::begin();
    let (mut one, mut other, _) = two_by_hand();
    let (log, target) = (Log::default(), other.handle());
    let (here, key) = (one.handle(), Arc::new(Mutex::new(None)));
    let (theirs, named) = (log.clone(), Arc::clone(&key));
    let made = start(&mut one, move |base: &mut Base<Movable>, reasons| {
        theirs.add(format!("{} {reasons:?}", base.id()));
        let (Some(key), true) = (*named.lock(), base.id() == here.id()) else { return After::Idle };
        let new = target.reserve();
        base.depart(key, &target, new).unwrap();
        assert!(base.departing().is_some_and(|(from, to)| from == key && to.id() == target.id()));
        if reasons.contains(Reasons::MAIL) {
            base.stay();
            return After::Idle;
        }
        base.post_to(key, Reasons::GUARD);
        After::Again(Reasons::USER)
    });
    *key.lock() = Some(made);
    one.post_to(made, Reasons::MAIL);
    one.turn(NOW).unwrap();
    assert_eq!((one.len(), log.take().len()), (1, 1));
    one.post_to(made, Reasons::READABLE);
    one.turn(NOW).unwrap();
    assert_eq!((one.len(), one.handle().objects(), other.handle().objects()), (0, 0, 1));
    other.turn(NOW).unwrap();
    assert_eq!(log.take()[1..], [format!("{} GUARD | USER | MOVED", other.id())]);
    // One that ends in the same run goes nowhere.
    let target = other.handle();
    let ends = one.insert_with(|key| {
        let target = target.clone();
        FnSource(move |base: &mut Base<Movable>, _| {
            base.depart(key, &target, target.reserve()).unwrap();
            After::Remove
        })
    });
    one.post_to(ends, Reasons::USER);
    turn_both(&mut one, &mut other);
    assert_eq!((one.len(), other.len()), (0, 1));
}

#[test]
fn what_is_on_its_way_to_a_base_that_is_dropped_ends_with_it() {
    let _census = Census::begin();
    let (mut one, other, _) = two_by_hand();
    let alive = Arc::new(());
    let send = |one: &mut Base<Movable>, target: &BaseHandle| {
        let owned = Arc::clone(&alive);
        let key = one.insert(FnSource(move |_: &mut Base<Movable>, _| {
            let _ = &owned;
            After::Idle
        }));
        one.depart(key, target, target.reserve()).unwrap();
    };
    let target = other.handle();
    send(&mut one, &target);
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(other);
    assert_eq!(Arc::strong_count(&alive), 1);
    send(&mut one, &target);
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(matches!(one.may_depart(&target), Err(Error::Closed)));
    assert_eq!((one.len(), target.objects()), (0, 0));
}

#[test]
fn many_move_while_they_are_posted_to_and_no_post_is_lost() {
    let _census = Census::begin();
    const STRANDS: usize = 16;
    const ROUNDS: usize = 2_000;
    for (workers, bases) in [(2, 2), (1, 3), (3, 2)] {
        for placement in PLACEMENTS {
            let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
            let all = running.runtime.bases();
            let strands: Vec<_> = (0..STRANDS)
                .map(|n| {
                    let (seen, inside) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
                    let theirs = Arc::clone(&seen);
                    let made = strand(&all[n % bases], placement, move |_, reasons, _| {
                        assert!(!inside.swap(true, Ordering::AcqRel), "two run it at once");
                        if reasons.contains(Reasons::USER) {
                            theirs.fetch_add(1, Ordering::AcqRel);
                        }
                        inside.swap(false, Ordering::AcqRel);
                        Left::Idle
                    });
                    (made, seen)
                })
                .collect();
            thread::scope(|scope| {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let (moving, _) = &strands[round % STRANDS];
                        move_to(moving, &all[(round / STRANDS + round) % bases]).unwrap();
                    }
                });
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let (posted, seen) = &strands[round * 7 % STRANDS];
                        let before = seen.load(Ordering::Acquire);
                        posted.post(Reasons::USER);
                        if round % 16 == 0 {
                            eventually("the run", || seen.load(Ordering::Acquire) > before);
                        }
                    }
                });
            });
            for (strand, seen) in &strands {
                let before = seen.load(Ordering::Acquire);
                strand.post(Reasons::USER);
                eventually("the last run", || seen.load(Ordering::Acquire) > before);
            }
            let counted = || all.iter().map(BaseHandle::objects).sum::<usize>();
            eventually("each is counted once", || counted() == STRANDS);
        }
    }
}
