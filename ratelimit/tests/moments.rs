//! Moments that are late, early, or of another clock.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::num::NonZeroU32;

use bufferevent_ratelimit::{Bell, Direction, Grant, Group, Member, Nanos, Waiter, Want};
use bufferevent_sync::{Arc, Mutex};
use common::{START, config, ms};

const WRITE: Direction = Direction::Write;
const RATE: u64 = 1_000;

/// Who waits, and what rings for it.
struct Waits(Arc<Mutex<Option<Bell<Waits>>>>);

impl Waiter for Waits {
    type Base = Shelf;

    fn base(&self) -> Shelf {
        Shelf(Arc::clone(&self.0))
    }

    fn wake(self) {}

    fn alarm(base: &Shelf, bell: &Bell<Self>, _: Nanos) {
        *base.0.lock() = Some(bell.clone());
    }
}

/// A base.
#[derive(Clone)]
struct Shelf(Arc<Mutex<Option<Bell<Waits>>>>);

impl PartialEq for Shelf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shelf {}

struct Bench {
    group: Group<Waits>,
    shelf: Shelf,
}

impl Bench {
    /// With ticks of 10 ms, all is taken in the first.
    fn new(burst: u64) -> Self {
        let group = Group::new(&config(RATE, burst, 10), START);
        group.decrement(WRITE, RATE as i64, START);
        Self { group, shelf: Shelf(Arc::default()) }
    }

    fn join(&self) -> Member<Waits> {
        self.group.join(NonZeroU32::MIN)
    }

    fn take(&self, member: &mut Member<Waits>, once: u64, now: Nanos) -> u64 {
        match member.take(WRITE, Want { once, in_all: RATE }, now, || Waits(Arc::clone(&self.shelf.0))) {
            Grant::Granted(bytes) => bytes,
            Grant::Wait => 0,
            Grant::Left => panic!("the group is there"),
        }
    }

    fn ring(&self, now: Nanos) {
        let bell = self.shelf.0.lock().clone().expect("somebody waits");
        let _next = bell.ring(&self.shelf, now);
    }
}

/// R1, R8: its base did not run for long, and others have had what the ticks paid meanwhile. Nobody waited.
#[test]
fn turn_that_nobody_collects_in_time_is_no_second_burst_for_others() {
    let bench = Bench::new(RATE);
    let (mut stuck, mut other) = (bench.join(), bench.join());
    assert_eq!(bench.take(&mut stuck, RATE, ms(1)), 0);
    bench.ring(ms(10));
    assert_eq!(bench.take(&mut other, RATE, ms(100)), RATE);
    other.settle(WRITE, RATE, RATE, ms(100));
    assert_eq!(bench.take(&mut other, RATE, ms(100)), 0, "a burst at once, and no more");
    assert_eq!(bench.take(&mut stuck, RATE, ms(100)), 0, "too late");
}

/// The same of what it has collected and does not use.
#[test]
fn turn_that_is_given_back_late_is_no_second_burst_for_others() {
    let bench = Bench::new(RATE);
    let (mut stuck, mut other) = (bench.join(), bench.join());
    assert_eq!(bench.take(&mut stuck, 1, ms(1)), 0);
    bench.ring(ms(10));
    assert_eq!((bench.take(&mut stuck, 1, ms(11)), stuck.held(WRITE)), (1, RATE));
    assert_eq!(bench.take(&mut other, RATE, ms(100)), RATE);
    other.settle(WRITE, RATE, RATE, ms(100));
    stuck.withdraw(WRITE, ms(100));
    assert_eq!(bench.take(&mut other, RATE, ms(100)), 0, "a burst at once, and no more");
}

/// F49: where there is always somebody who waits, a base that does not run costs the others nothing.
#[test]
fn turn_that_nobody_collects_goes_to_those_who_have_waited_ever_since() {
    let bench = Bench::new(2 * RATE);
    bench.group.set_min_share(Some(RATE), START);
    let mut members = Vec::from_iter((0..7).map(|_| bench.join()));
    for member in &mut members {
        assert_eq!(bench.take(member, RATE, ms(1)), 0);
    }
    let waiting = |now| {
        bench.ring(now);
        bench.group.snapshot(WRITE, now).waiting
    };
    // The first has what the second tick pays up to 40 ms.
    assert_eq!([10, 20, 30, 40].map(|at| waiting(ms(at))), [6, 5, 4, 2]);
}

/// A group that is made on a base begins with the next tick of its timers.
#[test]
fn equal_configuration_brings_no_first_tick_forward() {
    for tick in [10, 3] {
        let group: Group<Waits> = Group::new(&config(RATE, RATE, 10), ms(5));
        group.set_config(&config(RATE, RATE, tick), ms(1));
        group.decrement(WRITE, RATE as i64, ms(2));
        let boundary = ms(5 + tick);
        assert_eq!([Nanos(boundary.0 - 1), boundary].map(|now| group.level(WRITE, now)), [0, RATE as i64]);
    }
}

/// Who only asks may go by another clock, or by none yet.
#[test]
fn question_brings_a_group_no_time() {
    let bench = Bench::new(RATE);
    let member = bench.join();
    bench.group.set_config(&config(RATE, 2 * RATE, 10), START);
    assert_eq!(member.most(WRITE, Nanos(u64::MAX / 2)), 2 * RATE);
    assert_eq!(bench.group.level(WRITE, ms(2)), 0);
}
