//! Timers of users and of strands.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{cell::Cell, rc::Rc, sync::Arc, thread, time::Duration};

use bufferevent_runtime::{
    After, Base, Census, Clock, Left, ManualClock, Pinned, Placement, Reasons, Runtime, Time, Turned,
};
use common::{Log, Running, Script, Signal, eventually, strand};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn manual() -> (Base<Pinned>, ManualClock) {
    let (clock, hand) = Clock::manual();
    (Base::with_clock(clock).unwrap(), hand)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn persistent_timeout_jump() {
    // E-09: a stall of three intervals makes one callback, not three.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let count = Rc::new(Cell::new(0));
    let mine = Rc::clone(&count);
    base.every(millis(100), move |_| mine.set(mine.get() + 1));
    hand.advance(millis(350));
    for _ in 0..5 {
        base.turn(NOW).unwrap();
    }
    assert_eq!(count.get(), 1);
    hand.advance(millis(49));
    base.turn(NOW).unwrap();
    assert_eq!(count.get(), 1);
    hand.advance(millis(1));
    base.turn(NOW).unwrap();
    assert_eq!(count.get(), 2, "on the schedule, at 400 ms");
}

#[test]
fn repeated_timers_do_not_drift() {
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let times = Rc::new(std::cell::RefCell::new(Vec::new()));
    let mine = Rc::clone(&times);
    base.every(millis(10), move |base| mine.borrow_mut().push(base.now().as_nanos() / 1_000_000));
    for _ in 0..20 {
        hand.advance(millis(7));
        base.turn(NOW).unwrap();
    }
    assert_eq!(*times.borrow(), [14, 21, 35, 42, 56, 63, 70, 84, 91, 105, 112, 126, 133, 140]);
}

#[test]
fn a_repeated_timer_may_cancel_itself_and_a_cancelled_one_drops_its_closure() {
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let kept = Rc::new(());
    let id = Rc::new(Cell::new(None));
    let (own, mine) = (Rc::clone(&id), Rc::clone(&kept));
    id.set(Some(base.every(millis(1), move |base| {
        let _keep = &mine;
        assert!(base.cancel(own.get().unwrap()));
    })));
    hand.advance(millis(1));
    assert_eq!(base.turn(NOW).unwrap(), Turned::Empty);
    assert_eq!(Rc::strong_count(&kept), 1);
    let mine = Rc::clone(&kept);
    let timer = base.after(millis(1), move |_| drop(mine));
    assert!(base.cancel(timer) && !base.cancel(timer));
    assert_eq!(Rc::strong_count(&kept), 1);
}

#[test]
fn timers_run_in_the_order_of_their_deadlines_and_never_early() {
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let log = Log::default();
    for delay in [30, 10, 20, 10] {
        let mine = log.clone();
        base.after(millis(delay), move |base| {
            assert!(base.now() >= Time::ZERO + millis(delay));
            mine.add(format!("{delay}"));
        });
    }
    hand.advance(millis(9));
    base.turn(NOW).unwrap();
    assert!(log.take().is_empty());
    hand.advance(millis(30));
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["10", "10", "20", "30"]);
}

#[test]
fn a_timer_set_between_turns_counts_from_then() {
    // The time of the last turn may be long ago.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    base.turn(NOW).unwrap();
    hand.advance(millis(1_000));
    base.after(millis(10), |_| {});
    assert_eq!(base.next_deadline(), Some(Time::ZERO + millis(1_010)));
    assert_eq!(base.turn(NOW).unwrap(), Turned::Idle);
    hand.advance(millis(10));
    assert_eq!(base.turn(NOW).unwrap(), Turned::Empty);
}

#[test]
fn a_callback_that_sets_a_timer_for_now_does_not_hold_the_turn() {
    let _census = Census::begin();
    let (mut base, _hand) = manual();
    fn again(base: &mut Base<Pinned>, count: Rc<Cell<u32>>) {
        count.set(count.get() + 1);
        base.after(Duration::ZERO, move |base| again(base, count));
    }
    let count = Rc::new(Cell::new(0));
    let mine = Rc::clone(&count);
    base.after(Duration::ZERO, move |base| again(base, mine));
    for turns in 1..5 {
        base.turn(NOW).unwrap();
        assert_eq!(count.get(), turns);
    }
}

#[test]
fn a_source_has_one_timer_which_setting_again_moves() {
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let log = Log::default();
    let mine = log.clone();
    let key = base.insert(common::FnSource(move |base: &mut Base<Pinned>, reasons| {
        mine.add(format!("{reasons:?} {}", base.now().as_nanos() / 1_000_000));
        After::Idle
    }));
    base.arm(key, Time::ZERO + millis(10));
    base.arm(key, Time::ZERO + millis(30));
    hand.advance(millis(20));
    base.turn(NOW).unwrap();
    base.arm(key, Time::ZERO + millis(25));
    hand.advance(millis(5));
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["TIMER 25"]);
    base.arm(key, Time::ZERO + millis(26));
    base.disarm(key);
    base.arm(key, Time::MAX);
    hand.advance(Duration::from_secs(1 << 40));
    base.turn(NOW).unwrap();
    assert!(log.take().is_empty());
}

#[test]
fn strands_set_their_timers_from_any_thread() {
    let _census = Census::begin();
    for (workers, bases) in [(2, 2), (2, 4), (3, 1)] {
        let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
        let fired = Signal::new();
        let mine = Arc::clone(&fired);
        let made = strand(&running.base(bases - 1), Placement::Any, move |_, reasons, lent| {
            if reasons.contains(Reasons::TIMER) {
                assert!(lent.now > Time::ZERO);
                mine.raise();
            }
            Left::Idle
        });
        for round in 1..=50 {
            // Far, near, cancelled, near again: the last word counts.
            made.arm(Some(made.base().deadline(Duration::from_secs(1_000))));
            made.arm(Some(made.base().deadline(millis(round % 2))));
            if round % 5 == 0 {
                made.arm(None);
                made.arm(Some(Time::ZERO));
            }
            fired.wait_for(round);
        }
        made.arm(Some(made.base().deadline(millis(5))));
        made.arm(None);
        let passed = Signal::new();
        let mine = Arc::clone(&passed);
        let post = move |base: &mut Base| {
            base.after(millis(20), move |_| mine.raise());
        };
        made.base().post(post).unwrap();
        passed.wait();
        assert!(fired.count() <= 51, "the timer was cancelled unless it was faster than the two calls");
    }
}

#[test]
fn strand_timers_of_dead_strands_and_gone_bases_fire_nothing() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(1).build().unwrap());
    let over = Signal::new();
    let mine = Arc::clone(&over);
    let dead = strand(&running.base(0), Placement::Any, move |_, reasons, _| {
        assert!(!reasons.contains(Reasons::TIMER));
        mine.raise();
        Left::Dead
    });
    over.wait();
    dead.arm(Some(Time::ZERO));
    eventually("it is forgotten", || running.base(0).objects() == 0);
    drop(running);
    dead.arm(Some(Time::ZERO));
    dead.post(Reasons::TIMER);
    assert_eq!(over.count(), 1);
}

#[test]
fn an_earlier_timer_set_by_another_thread_wakes_the_sleeper() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    base.after(Duration::from_secs(1_000), |_| {});
    let handle = base.handle();
    let other = thread::spawn(move || {
        let post = |base: &mut Base<Pinned>| {
            base.after(millis(1), |base| base.exit());
        };
        handle.post(post).unwrap();
    });
    assert_eq!(base.run().unwrap(), Turned::Exited);
    other.join().unwrap();
    let stranded = base.strand(Placement::Any, (), |_| {
        Script::new(|held, reasons, _| {
            if reasons.contains(Reasons::TIMER) {
                held.strand().base().exit();
            }
            Left::Idle
        })
    });
    let armed = Arc::clone(&stranded);
    let other = thread::spawn(move || armed.arm(Some(armed.base().deadline(millis(1)))));
    assert_eq!(base.run().unwrap(), Turned::Exited);
    other.join().unwrap();
}
