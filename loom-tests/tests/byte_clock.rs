//! Protocol 8: taking from a limit that many share, refunds, debts, changes, and waiting for what comes back.

#![cfg(loom)]

use bufferevent_ratelimit::__loom::{ByteClock, Plan, Taken};
use bufferevent_ratelimit::{Direction, Limit, Nanos, TokenBucketConfig};
use bufferevent_sync::{Arc, Mutex, thread};
use loom_tests::{Bounds, assert_mutants_die, model};

const START: Nanos = Nanos(0);
/// The first boundary.
const TICK: Nanos = Nanos(1_000_000_000);

fn limit(rate: u64, burst: u64) -> Limit {
    TokenBucketConfig::new(rate, burst, rate, burst, None).expect("valid").limit(Direction::Read)
}

/// A clock with one tick's worth, and its plan.
fn clock(rate: u64, burst: u64) -> (Arc<ByteClock>, Plan) {
    (Arc::new(ByteClock::new()), Plan::new(limit(rate, burst), START))
}

fn taken(clock: &ByteClock, plan: &Plan, want: u64, now: Nanos) -> i64 {
    match clock.take(plan, want, now) {
        Taken::Granted(bytes) => bytes as i64,
        Taken::Empty | Taken::Waiting => 0,
    }
}

/// Takes and gives a part of it back; what it kept.
fn moves(clock: &ByteClock, plan: &Plan, want: u64, back: i64, now: Nanos) -> i64 {
    let got = taken(clock, plan, want, now);
    let back = back.min(got);
    let _nobody_waits = clock.give(back.unsigned_abs());
    got - back
}

fn joined(threads: impl IntoIterator<Item = thread::JoinHandle<i64>>) -> i64 {
    threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
}

/// R1, R2: one takes before the tick, one after it, each with a refund, while those who wait are served.
#[test]
fn no_byte_is_granted_twice() {
    model(Bounds::DEEP, || {
        let (clock, plan) = clock(10, 100);
        let takers = [START, TICK].map(|now| {
            let (clock, plan) = (Arc::clone(&clock), plan.clone());
            thread::spawn(move || moves(&clock, &plan, 8, 3, now))
        });
        let served = clock.take_served(&plan, 6, TICK) as i64;
        let kept = served + joined(takers);
        assert_eq!(kept + clock.level(&plan, TICK), 20, "what the start and the tick paid");
    });
}

/// R1: what accrued above the burst is not there, whoever takes first.
#[test]
fn no_more_than_the_burst_is_granted() {
    model(Bounds::EXHAUSTIVE, || {
        let (clock, plan) = clock(10, 15);
        let takers = [9, 9].map(|want| {
            let (clock, plan) = (Arc::clone(&clock), plan.clone());
            thread::spawn(move || taken(&clock, &plan, want, TICK))
        });
        let kept = joined(takers);
        assert_eq!(kept + clock.level(&plan, TICK), 15);
    });
}

/// The queue of those who wait, here by the bytes they got, and the lock it is under.
struct Waiters {
    clock: ByteClock,
    plan: Plan,
    queue: Mutex<Vec<u64>>,
}

impl Waiters {
    /// Nothing is there.
    fn new() -> Arc<Self> {
        let (clock, plan) = (ByteClock::new(), Plan::new(limit(10, 100), START));
        clock.debt(&plan, 10, START);
        Arc::new(Self { clock, plan, queue: Mutex::new(Vec::new()) })
    }

    /// What a member does that got nothing.
    fn enlist(&self) {
        let mut queue = self.queue.lock();
        queue.push(0);
        if self.clock.wait(&self.plan, START) > 0 {
            self.serve(&mut queue);
        }
    }

    /// What is owed after a refund that saw somebody wait.
    fn owed(&self, seen: bool) {
        if seen {
            self.serve(&mut self.queue.lock());
        }
    }

    fn serve(&self, queue: &mut Vec<u64>) {
        if !queue.is_empty() && self.clock.take_served(&self.plan, 100, START) > 0 {
            queue.clear();
            self.clock.wait_no_more();
        }
    }

    fn nobody_waits_for_what_is_there(&self) {
        let waits = !self.queue.lock().is_empty();
        assert_eq!(waits, self.clock.is_waited_for());
        assert!(!(waits && self.clock.level(&self.plan, START) > 0), "waits beside bytes");
    }
}

/// libevent lost refills once, and connections stood still for ever.
#[test]
fn nobody_waits_beside_a_refund() {
    model(Bounds::EXHAUSTIVE, || {
        let waiters = Waiters::new();
        let giver = {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || {
                let seen = waiters.clock.give(5);
                waiters.owed(seen);
            })
        };
        waiters.enlist();
        giver.join().expect("no panic");
        waiters.nobody_waits_for_what_is_there();
        assert!(waiters.queue.lock().is_empty(), "served: the refund was not lost");
    });
}

/// The same for credit given by hand, beside a refund that pays the debt but for one byte.
#[test]
fn nobody_waits_beside_credit() {
    model(Bounds::DEEP, || {
        let waiters = Waiters::new();
        waiters.clock.debt(&waiters.plan, 6, START);
        let others = [true, false].map(|gives| {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || {
                let seen = match gives {
                    true => waiters.clock.give(5),
                    false => waiters.clock.credit(&waiters.plan, 5, START),
                };
                waiters.owed(seen);
            })
        });
        waiters.enlist();
        others.into_iter().for_each(|other| other.join().expect("no panic"));
        waiters.nobody_waits_for_what_is_there();
        assert!(waiters.queue.lock().is_empty(), "served: neither was lost");
    });
}

#[test]
fn those_who_wait_come_first() {
    model(Bounds::EXHAUSTIVE, || {
        let waiters = Waiters::new();
        waiters.enlist();
        let passer = {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || taken(&waiters.clock, &waiters.plan, 5, START))
        };
        let seen = waiters.clock.give(5);
        waiters.owed(seen);
        assert_eq!(joined([passer]), 0, "the one in the queue got them");
        assert!(waiters.queue.lock().is_empty());
    });
}

/// The queue becomes empty, since the last one left it, while others give back.
#[test]
fn end_of_waiting_keeps_every_byte() {
    model(Bounds::EXHAUSTIVE, || {
        let waiters = Waiters::new();
        waiters.enlist();
        let giver = {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || {
                let seen = waiters.clock.give(5);
                waiters.owed(seen);
            })
        };
        {
            let mut queue = waiters.queue.lock();
            if queue.pop().is_some() {
                waiters.clock.wait_no_more();
            } else {
                let _nobody_waits = waiters.clock.give(5);
            }
        }
        giver.join().expect("no panic");
        assert_eq!(waiters.clock.level(&waiters.plan, START), 5);
        assert!(!waiters.clock.is_waited_for());
    });
}

/// Two flush while one takes and gives a part of it back.
#[test]
fn debt_is_never_lost() {
    model(Bounds::DEEP, || {
        let (clock, plan) = clock(10, 100);
        let flushers = [7, 4].map(|bytes| {
            let (clock, plan) = (Arc::clone(&clock), plan.clone());
            thread::spawn(move || {
                clock.debt(&plan, bytes, START);
                bytes as i64
            })
        });
        let kept = moves(&clock, &plan, 8, 3, START);
        let gone = kept + joined(flushers);
        assert_eq!(clock.level(&plan, START), 10 - gone);
    });
}

/// D13: a larger burst does not bring back what the smaller one forfeited, whoever takes meanwhile.
#[test]
fn change_feeds_nobody() {
    model(Bounds::EXHAUSTIVE, || {
        let (clock, plan) = clock(10, 10);
        let late = Nanos(5 * TICK.0);
        let taker = {
            let (clock, plan) = (Arc::clone(&clock), plan.clone());
            thread::spawn(move || moves(&clock, &plan, 4, 1, late))
        };
        let new = clock.replan(&plan, limit(10, 1_000), late);
        let kept = joined([taker]);
        assert_eq!(kept + clock.level(&new, late), 10);
    });
}

/// R4: what the parent refuses goes back below.
#[test]
fn grant_is_charged_to_the_whole_path_or_not_at_all() {
    model(Bounds::DEEP, || {
        let (parent, above) = clock(6, 100);
        let members: Vec<_> = (0..2)
            .map(|_| {
                let (child, below) = clock(5, 100);
                let (parent, above) = (Arc::clone(&parent), above.clone());
                thread::spawn(move || {
                    let below_granted = taken(&child, &below, 4, START);
                    let granted = taken(&parent, &above, below_granted.unsigned_abs(), START);
                    let _nobody_waits = child.give((below_granted - granted).unsigned_abs());
                    assert_eq!(child.level(&below, START), 5 - granted);
                    granted
                })
            })
            .collect();
        let granted = joined(members);
        assert_eq!((granted, parent.level(&above, START)), (6, 0));
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("clock_take:torn", "no_byte_is_granted_twice"),
        ("clock_take:torn", "no_more_than_the_burst_is_granted"),
        ("clock_take:torn", "grant_is_charged_to_the_whole_path_or_not_at_all"),
        ("clock_take_passes_the_queue", "those_who_wait_come_first"),
        ("clock_serve:torn", "no_byte_is_granted_twice"),
        ("clock_give:torn", "no_byte_is_granted_twice"),
        ("clock_give:torn", "nobody_waits_beside_a_refund"),
        ("clock_credit:torn", "nobody_waits_beside_credit"),
        ("clock_debt:torn", "debt_is_never_lost"),
        ("clock_wait:torn", "nobody_waits_beside_a_refund"),
        ("clock_wait_looks_first", "nobody_waits_beside_a_refund"),
        ("clock_wait_looks_first", "nobody_waits_beside_credit"),
        ("clock_wait_no_more:torn", "end_of_waiting_keeps_every_byte"),
        ("clock_forfeit:torn", "change_feeds_nobody"),
    ]);
}
