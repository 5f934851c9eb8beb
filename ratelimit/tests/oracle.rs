//! Random sequences on a byte clock and on a bucket, against one that is filled tick by tick.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bufferevent_ratelimit::{
    ByteClock, Direction, Limit, Nanos, Plan, Taken, TokenBucket, TokenBucketConfig,
};
use common::{MS, SECOND, START, config, limit};
use proptest::prelude::*;

/// What is done, and how long after the last.
#[derive(Clone, Copy, Debug)]
enum Op {
    Take(u64),
    Serve(u64),
    /// Of what was taken before.
    Give(u64),
    Debt(u64),
    Credit(u64),
    /// To the same rate and tick with another burst.
    Burst(u64),
    Wait,
    WaitNoMore,
}

const RATE: u64 = 100;
const TICK: u64 = 10;

fn op() -> impl Strategy<Value = (u64, Op)> {
    let op = prop_oneof![
        6 => (0..400_u64).prop_map(Op::Take),
        2 => (0..400_u64).prop_map(Op::Serve),
        3 => (0..200_u64).prop_map(Op::Give),
        1 => (0..500_u64).prop_map(Op::Debt),
        1 => (0..300_u64).prop_map(Op::Credit),
        1 => (RATE..4 * RATE).prop_map(Op::Burst),
        1 => Just(Op::Wait),
        1 => Just(Op::WaitNoMore),
    ];
    (prop_oneof![Just(0), 0..TICK * MS, 0..20 * TICK * MS], op)
}

/// A bucket that somebody fills at each boundary.
struct Filled {
    level: i128,
    burst: i128,
    next: u64,
    ticks: i128,
    waited_for: bool,
}

impl Filled {
    fn new(burst: u64) -> Self {
        Self {
            level: i128::from(RATE),
            burst: i128::from(burst),
            next: TICK * MS,
            ticks: 0,
            waited_for: false,
        }
    }

    fn turn_to(&mut self, now: Nanos) {
        while self.next <= now.0 {
            self.next += TICK * MS;
            self.ticks += 1;
            self.level = self.burst.min(self.level + i128::from(RATE));
        }
    }

    fn take(&mut self, want: u64) -> u64 {
        let got = i128::from(want).min(self.level).max(0);
        self.level -= got;
        u64::try_from(got).unwrap()
    }
}

/// Bytes granted, less those that came back, so far; and the boundaries so far.
struct Sum {
    moved: i128,
    ticks: i128,
}

proptest! {
    /// B1, B2, B3 and R1, R2: levels and grants are those of the one that is filled, and no interval passes more than its
    /// ticks and the burst.
    #[test]
    fn clock_is_as_one_that_is_filled_at_each_boundary(ops in prop::collection::vec(op(), 1..60)) {
        let burst = 2 * RATE;
        let (clock, mut plan) = (ByteClock::new(), Plan::new(limit(RATE, burst, TICK), START));
        let (mut filled, mut now, mut out) = (Filled::new(burst), START, 0);
        let mut sums = vec![Sum { moved: 0, ticks: 0 }];
        let mut moved: i128 = 0;
        let mut highest = burst;
        for (pause, op) in ops {
            now = Nanos(now.0 + pause);
            filled.turn_to(now);
            match op {
                Op::Take(want) => {
                    let expected = match filled {
                        Filled { waited_for: true, .. } => Taken::Waiting,
                        Filled { level: ..=0, .. } => Taken::Empty,
                        _ => Taken::Granted(filled.take(want)),
                    };
                    let taken = clock.take(&plan, want, now);
                    prop_assert_eq!(taken, expected);
                    if let Taken::Granted(bytes) = taken {
                        out += bytes;
                        moved += i128::from(bytes);
                    }
                }
                Op::Serve(want) => {
                    let bytes = clock.take_served(&plan, want, now);
                    prop_assert_eq!(bytes, filled.take(want));
                    out += bytes;
                    moved += i128::from(bytes);
                }
                Op::Give(bytes) => {
                    let bytes = bytes.min(out);
                    out -= bytes;
                    moved -= i128::from(bytes);
                    prop_assert_eq!(clock.give(bytes), filled.waited_for);
                    filled.level = filled.burst.min(filled.level + i128::from(bytes));
                }
                Op::Debt(bytes) => {
                    clock.debt(&plan, bytes, now);
                    filled.level -= i128::from(bytes);
                }
                Op::Credit(bytes) => {
                    prop_assert_eq!(clock.credit(&plan, bytes, now), filled.waited_for);
                    filled.level = filled.burst.min(filled.level + i128::from(bytes));
                    moved -= i128::from(bytes);
                }
                Op::Burst(burst) => {
                    plan = clock.replan(&plan, limit(RATE, burst, TICK), now);
                    filled.burst = i128::from(burst);
                    filled.level = filled.level.min(filled.burst);
                    highest = highest.max(burst);
                }
                Op::Wait => {
                    prop_assert_eq!(i128::from(clock.wait(&plan, now)), filled.level);
                    filled.waited_for = true;
                }
                Op::WaitNoMore => {
                    clock.wait_no_more();
                    filled.waited_for = false;
                }
            }
            prop_assert_eq!(i128::from(clock.level(&plan, now)), filled.level);
            prop_assert_eq!(clock.is_waited_for(), filled.waited_for);
            prop_assert_eq!(plan.next_boundary(now), Nanos(filled.next));
            for sum in &sums {
                let bound = i128::from(highest) + i128::from(RATE) * (filled.ticks - sum.ticks);
                prop_assert!(moved - sum.moved <= bound, "{} in {} ticks", moved - sum.moved, filled.ticks - sum.ticks);
            }
            sums.push(Sum { moved, ticks: filled.ticks });
        }
    }

    /// The same for a bucket; and `next` is the first boundary at which there is something (R3).
    #[test]
    fn bucket_is_as_one_that_is_filled_at_each_boundary(ops in prop::collection::vec(op(), 1..60)) {
        let burst = 2 * RATE;
        let mut bucket = TokenBucket::new(&config(RATE, burst, TICK), Direction::Read, START);
        let (mut filled, mut now) = (Filled::new(burst), START);
        for (pause, op) in ops {
            now = Nanos(now.0 + pause);
            filled.turn_to(now);
            match op {
                Op::Take(bytes) | Op::Serve(bytes) => {
                    let bytes = bytes.min(bucket.available(now));
                    bucket.charge(bytes, now);
                    prop_assert_eq!(bytes, filled.take(bytes));
                }
                Op::Debt(bytes) => {
                    bucket.decrement(bytes as i64, now);
                    filled.level -= i128::from(bytes);
                }
                Op::Give(bytes) | Op::Credit(bytes) => {
                    bucket.credit(bytes, now);
                    filled.level = filled.burst.min(filled.level + i128::from(bytes));
                }
                Op::Burst(burst) => {
                    bucket.replace(&config(RATE, burst, TICK), Direction::Read, now);
                    filled.burst = i128::from(burst);
                    filled.level = filled.level.min(filled.burst);
                }
                Op::Wait | Op::WaitNoMore => {}
            }
            prop_assert_eq!(i128::from(bucket.level(now)), filled.level);
            let next = bucket.next(now);
            if filled.level > 0 {
                prop_assert_eq!(next, now);
            } else {
                let mut later = bucket.clone();
                prop_assert!(later.level(Nanos(next.0 - 1)) <= 0 && later.level(next) > 0);
            }
        }
    }

    /// F53: what is paid is what was earned, at any time less than a tick's worth behind, and a nanosecond's worth for
    /// each change; whatever changes and how often. A bucket and a clock pay the same.
    #[test]
    fn what_is_paid_is_what_was_earned_whatever_changes(
        changes in prop::collection::vec((1..100_000_u64, 0..4_usize, 0..200 * MS), 1..40),
    ) {
        const TICKS: [u64; 4] = [1, 10, 100, 1_000];
        let limits = |rate, tick: usize| config(rate, 1 << 50, TICKS[tick]);
        let mut old = limits(1_000, 2);
        let (clock, mut plan) = (ByteClock::new(), Plan::new(old.limit(Direction::Read), START));
        let mut bucket = TokenBucket::new(&old, Direction::Read, START);
        let initial = i128::from(clock.level(&plan, START));
        // In bytes times nanoseconds.
        let (mut earned, mut lost, mut now) = (0, 0, START);
        for (rate, tick, pause) in changes {
            let of = old.limit(Direction::Read);
            let per_second = per_second(of);
            now = Nanos(now.0 + pause);
            earned += i128::from(pause) * per_second;
            let new = limits(rate, tick);
            plan = clock.replan(&plan, new.limit(Direction::Read), now);
            bucket.replace(&new, Direction::Read, now);
            old = new;
            lost += per_second.max(self::per_second(old.limit(Direction::Read)));
            let level = clock.level(&plan, now);
            prop_assert_eq!(level, bucket.level(now));
            let paid = (i128::from(level) - initial) * i128::from(SECOND);
            prop_assert!(paid <= earned, "{} of {}", paid, earned);
        }
        let of = old.limit(Direction::Read);
        let settled = plan.next_boundary(now);
        earned += i128::from(settled.0 - now.0) * per_second(of);
        let paid = (i128::from(clock.level(&plan, settled)) - initial) * i128::from(SECOND);
        prop_assert!(paid <= earned && earned - paid <= lost, "{} of {}", paid, earned);
    }

    /// X-39, F50, F51: no numbers are too large to be counted, and none lifts a level above its burst.
    #[test]
    fn no_operation_wraps(
        rate in 1..i64::MAX as u64,
        more in 0..i64::MAX as u64,
        tick in 1..10_000_u64,
        ops in prop::collection::vec((any::<u64>(), any::<i64>(), 0..5), 1..20),
    ) {
        let burst = rate.saturating_add(more).min(i64::MAX as u64);
        let config = config(rate, burst, tick);
        let mut bucket = TokenBucket::new(&config, Direction::Read, START);
        let (clock, mut plan) = (ByteClock::new(), Plan::new(config.limit(Direction::Read), START));
        let (mut now, mut out) = (0_u64, 0_u64);
        for (number, signed, kind) in ops {
            now = now.saturating_add(number >> 12);
            let at = Nanos(now);
            match kind {
                0 => bucket.decrement(signed, at),
                1 => clock.debt(&plan, number, at),
                2 => _ = clock.credit(&plan, number, at),
                3 => if let Taken::Granted(bytes) = clock.take(&plan, number, at) { out += bytes / 2; },
                _ => { let _nobody_waits = clock.give(std::mem::take(&mut out)); }
            }
            if plan.is_worn(at) {
                plan = clock.replan(&plan, config.limit(Direction::Read), at);
            }
            prop_assert!(bucket.level(at) <= burst as i64);
            let level = clock.level(&plan, at);
            prop_assert!(level <= plan.burst() as i64 && level >= -(1 << 60), "{}", level);
            prop_assert!(bucket.next(at) >= at && clock.next(&plan, at) >= at);
        }
    }
}

/// Exact for the rates and ticks above: all of them divide a second.
fn per_second(limit: Limit) -> i128 {
    i128::from(limit.rate()) * i128::from(SECOND) / limit.tick().as_nanos() as i128
}

// R3
#[test]
fn a_debt_delays_the_next_grant_by_its_time_at_the_rate() {
    for debt in [1, 99, 100, 101, 12_345] {
        let (clock, plan) = (ByteClock::new(), Plan::new(limit(100, 400, 10), START));
        clock.debt(&plan, 100 + debt, START);
        let next = clock.next(&plan, START);
        assert!(next.0 >= debt * 10 * MS / 100, "{debt} bytes, {next:?}");
        assert_eq!(clock.take(&plan, 1, Nanos(next.0 - 1)), Taken::Empty);
        assert!(matches!(clock.take(&plan, 1_000, next), Taken::Granted(1..=100)));
    }
}

/// D13: also if the smaller burst is full, and nobody takes for a while.
#[test]
fn a_larger_burst_brings_back_nothing_that_was_forfeited() {
    let (clock, plan) = (ByteClock::new(), Plan::new(limit(10, 20, 10), START));
    let late = Nanos(SECOND);
    assert_eq!(clock.level(&plan, late), 20);
    let larger = clock.replan(&plan, limit(10, 1_000, 10), late);
    assert_eq!(clock.level(&larger, late), 20);
    let smaller = clock.replan(&larger, limit(5, 5, 10), late);
    assert_eq!(clock.level(&smaller, late), 5);
}

/// B4: the count goes round several times, at 2^59 bytes a millisecond, with decades in between in which nobody looks.
#[test]
fn a_clock_is_exact_after_any_number_of_bytes_and_years() {
    let most = limit(u64::MAX / 4, u64::MAX / 4, 1);
    let (clock, mut plan) = (ByteClock::new(), Plan::new(most, START));
    assert_eq!((plan.rate(), plan.burst()), (1 << 59, 1 << 59), "more counts as that");
    let mut now = START;
    for pause in [0, 1, 1, 1, 2, 3, 500, 1, 1_000_000_000_000, 1, 1, 86_400_000, 1, 1, 7, 1] {
        now = Nanos(now.0 + pause * MS);
        if plan.is_worn(now) {
            plan = clock.replan(&plan, most, now);
        }
        assert_eq!(clock.level(&plan, now), 1 << 59, "at {now:?}");
        assert_eq!(clock.take(&plan, u64::MAX, now), Taken::Granted(1 << 59));
        clock.debt(&plan, u64::MAX, now);
        assert_eq!(clock.level(&plan, now), -(1 << 59), "a debt is counted to that");
        now = Nanos(now.0 + 2 * MS);
        if plan.is_worn(now) {
            plan = clock.replan(&plan, most, now);
        }
        assert_eq!(clock.level(&plan, now), 1 << 59);
    }
}

/// A plan that nobody renewed grants too little, and is as good as new once somebody does.
#[test]
fn a_worn_plan_grants_no_more_than_is_due() {
    let most = limit(1 << 59, 1 << 59, 1);
    let (clock, plan) = (ByteClock::new(), Plan::new(most, START));
    let granted: u64 = (0..100)
        .map(|millis| match clock.take(&plan, u64::MAX / 64, Nanos(millis * MS)) {
            Taken::Granted(bytes) => bytes >> 50,
            _ => 0,
        })
        .sum();
    assert!(granted <= 5 << 9, "a plan pays 2^61 bytes at most: {granted}");
    let late = Nanos(100 * MS);
    let plan = clock.replan(&plan, most, late);
    assert!(!plan.is_worn(late));
    assert_eq!(clock.level(&plan, Nanos(late.0 + MS)), 1 << 59);
}

// a shared limit of no limit
#[test]
fn the_largest_configuration_never_says_empty() {
    let most = TokenBucketConfig::per_second(None, None, None).unwrap();
    let (clock, plan) = (ByteClock::new(), Plan::new(most.limit(Direction::Read), START));
    for step in 0..1_000 {
        assert_eq!(clock.take(&plan, 1 << 30, Nanos(step)), Taken::Granted(1 << 30));
    }
}
