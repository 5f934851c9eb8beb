//! The rows of the inventory on buckets of one owner, with their numbers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bufferevent_ratelimit::{Direction, Nanos, RATE_LIMIT_MAX, TokenBucket};
use common::{MS, SECOND, START, bucket, config, ms};

const READ: Direction = Direction::Read;

//
#[test]
fn what_goes_is_charged_and_the_level_may_be_negative() {
    let mut bucket = bucket(100, 200, 1_000);
    bucket.charge(60, START);
    assert_eq!((bucket.level(START), bucket.next(START)), (40, START));
    bucket.charge(40, START);
    assert_eq!((bucket.level(START), bucket.next(START)), (0, ms(1_000)));
    bucket.charge(1, START);
    assert_eq!((bucket.level(START), bucket.available(START)), (-1, 0));
    assert_eq!(bucket.level(ms(999)), -1);
    assert_eq!(bucket.level(ms(1_000)), 99);
}

// R-04, D13
#[test]
fn a_new_bucket_holds_one_ticks_worth_and_not_the_burst() {
    let mut bucket = bucket(100, 400, 1_000);
    assert_eq!(bucket.level(START), 100);
    assert_eq!(bucket.level(ms(2_000)), 300);
    assert_eq!(bucket.level(ms(60_000)), 400);
}

// R-04, D13
#[test]
fn a_new_configuration_only_clips_down() {
    let mut bucket = bucket(100, 400, 1_000);
    let full = ms(60_000);
    assert_eq!(bucket.level(full), 400);
    bucket.replace(&config(100, 250, 1_000), READ, full);
    assert_eq!(bucket.level(full), 250);
    bucket.replace(&config(1_000, 9_000, 1_000), READ, full);
    assert_eq!(bucket.level(full), 250);
    bucket.charge(1_000, full);
    bucket.replace(&config(5, 5, 1_000), READ, full);
    assert_eq!(bucket.level(full), -750, "a debt is kept");
}

// the same pointer is no change; here what says the same is none
#[test]
fn an_equal_configuration_changes_nothing() {
    let [mut changed, mut same] = [bucket(7, 1_000_000, 3), bucket(7, 1_000_000, 3)];
    for now in (0..3_000).map(|step| Nanos(step * 111_111)) {
        changed.replace(&config(7, 1_000_000, 3), READ, now);
        assert_eq!(changed.level(now), same.level(now), "at {now:?}");
        assert_eq!(changed.next(now), same.next(now));
    }
}

// ticks count from the start, not from an epoch, and their boundaries do not drift
#[test]
fn ticks_are_exact_whenever_they_begin() {
    for start in [0, 1, 999_999, 123_456_789_012_345] {
        let mut bucket = TokenBucket::new(&config(10, 1_000_000, 7), READ, Nanos(start));
        let boundary = |tick: u64| start + tick * 7 * MS;
        for tick in [1, 2, 3, 1_000, 90_000] {
            assert_eq!(bucket.level(Nanos(boundary(tick) - 1)), 10 * tick as i64);
            assert_eq!(bucket.level(Nanos(boundary(tick))), 10 * (tick as i64 + 1));
        }
    }
}

// libevent freezes until a clock that was set back has caught up
#[test]
fn an_older_now_grants_less_and_loses_nothing() {
    let mut bucket = bucket(100, 1_000, 1_000);
    assert_eq!(bucket.level(ms(3_000)), 400);
    assert_eq!(bucket.level(ms(500)), 400);
    bucket.charge(400, ms(2_000));
    assert_eq!((bucket.level(ms(3_999)), bucket.level(ms(4_000))), (0, 100));
}

// a clock that jumps fills one burst
#[test]
fn a_jump_forward_fills_the_bucket_once() {
    let mut bucket = bucket(100, 400, 1);
    let century = ms(100 * 365 * 86_400_000);
    assert_eq!(bucket.level(century), 400);
    bucket.charge(400, century);
    assert_eq!(bucket.level(Nanos(century.0 + MS - 1)), 0);
    assert_eq!(bucket.level(Nanos(century.0 + MS)), 100);
}

// from 1 s to 1 ms and back, at the same bytes per second, on any day
#[test]
fn another_tick_length_keeps_level_and_pace() {
    for day in [0, 25, 49, 50, 10_000] {
        let start = day * 86_400 * SECOND;
        let at = |millis: u64| Nanos(start + millis * MS);
        let mut bucket = TokenBucket::new(&config(1_000, 1_000_000, 1_000), READ, at(0));
        bucket.charge(1_000, at(0));
        bucket.replace(&config(1, 1_000_000, 1), READ, at(250));
        assert_eq!(bucket.level(at(250)), 0, "what was earned comes at the next boundary");
        assert_eq!(bucket.level(at(251)), 251);
        assert_eq!(bucket.level(at(600)), 600);
        bucket.replace(&config(1_000, 1_000_000, 1_000), READ, at(600));
        assert_eq!(bucket.level(at(1_599)), 600);
        assert_eq!(bucket.level(at(1_600)), 1_600);
    }
}

// F53: libevent's clock of ticks begins anew at each change
#[test]
fn a_change_every_few_milliseconds_neither_starves_nor_feeds() {
    let rates = [config(1_000, 1_000_000, 1_000), config(20, 1_000_000, 10), config(150, 1_000_000, 50)];
    let per_ms = [1.0, 2.0, 3.0];
    let mut bucket = TokenBucket::new(&rates[2], READ, START);
    let mut earned = 150.0;
    for step in 0..3_000 {
        let limit = step as usize % 3;
        bucket.replace(&rates[limit], READ, ms(7 * step));
        earned += 7.0 * per_ms[limit];
    }
    let missing = earned - bucket.level(ms(7 * 3_000)) as f64;
    assert!((0.0..=1_001.0).contains(&missing), "{missing} of {earned} were not paid yet");
}

// burst 200, level 1100: libevent has 2100 after ten ticks
#[test]
fn ticks_never_lift_a_bucket_above_its_burst() {
    let mut clipped = bucket(100, 200, 1_000);
    clipped.decrement(-1_000, START);
    assert_eq!((clipped.level(START), clipped.level(ms(10_000))), (200, 200));

    let mut open = TokenBucket::new(&config(100, 200, 1_000).unclipped(), READ, START);
    open.decrement(-1_000, START);
    assert_eq!((open.level(START), open.level(ms(10_000))), (1_100, 1_100));
    open.charge(1_000, ms(10_000));
    assert_eq!((open.level(ms(10_000)), open.level(ms(20_000))), (100, 200));
}

// libevent wakes every tick until a debt is paid
#[test]
fn the_time_of_the_next_byte_is_known_through_the_whole_debt() {
    let mut bucket = bucket(100, 200, 1_000);
    bucket.charge(100 + 123_456, START);
    let next = bucket.next(START);
    assert_eq!(next, ms(1_235_000));
    assert!(bucket.level(Nanos(next.0 - 1)) <= 0 && bucket.level(next) > 0);

    let mut exact = common::bucket(100, 200, 1_000);
    exact.charge(300, START);
    assert_eq!((exact.level(ms(2_000)), exact.next(ms(2_000))), (0, ms(3_000)));
}

#[test]
fn a_debt_is_paid_from_what_was_earned_before_a_change() {
    let mut bucket = bucket(1_000, 10_000, 1_000);
    bucket.charge(1_300, START);
    bucket.replace(&config(100, 10_000, 100), READ, ms(500));
    assert_eq!((bucket.level(ms(500)), bucket.next(ms(500))), (-300, ms(600)));
    assert_eq!(bucket.level(ms(600)), 300);
    bucket.charge(400, ms(600));
    assert_eq!(bucket.next(ms(600)), ms(800), "it is paid once");
}

// N.1 ticks may pass N + 1 ticks' worth, and no more
#[test]
fn no_window_passes_more_than_its_ticks_and_the_burst() {
    let mut bucket = bucket(100, 100, 10);
    let mut passed = 0;
    for now in (0..=1_001).map(|tenth| Nanos(tenth * MS)) {
        let there = bucket.available(now);
        bucket.charge(there, now);
        passed += there;
    }
    assert_eq!(passed, 100 * (100 + 1));
}

//
#[test]
fn levels_are_brought_up_to_date_and_decremented_by_either_sign() {
    let mut bucket = bucket(100, 500, 1_000);
    bucket.decrement(150, START);
    assert_eq!((bucket.level(START), bucket.available(START)), (-50, 0));
    assert_eq!((bucket.level(ms(1_000)), bucket.available(ms(1_000))), (50, 50));
    bucket.decrement(-20, ms(1_000));
    assert_eq!(bucket.level(ms(1_000)), 70);
    bucket.decrement(0, ms(1_000));
    assert_eq!(bucket.level(ms(1_000)), 70);
}

// burst = rate, where libevent moves 99.5, 83 and 24 % at 100, 10 and 1 ms. Asked once a tick, as late in it
// as you like, nothing is lost.
#[test]
fn a_burst_of_one_tick_loses_nothing() {
    for (tick, late) in [100, 10, 1].into_iter().flat_map(|tick| [0, MS / 2, MS - 1].map(|late| (tick, late)))
    {
        let mut bucket = bucket(1_000 * tick, 1_000 * tick, tick);
        let moved: u64 = (0..10_000 / tick)
            .map(|number| {
                let now = Nanos(number * tick * MS + late * tick);
                let there = bucket.available(now);
                bucket.charge(there, now);
                there
            })
            .sum();
        assert_eq!(moved, 10_000_000, "tick {tick} ms, {late} ns late");
    }
}

// F50, F54: a byte in 24 days, and all there are in a millisecond
#[test]
fn the_smallest_and_the_largest_limits_are_defined() {
    let longest = bufferevent_ratelimit::TICK_MAX;
    let config = bufferevent_ratelimit::TokenBucketConfig::new(1, 1, 1, 1, Some(longest)).unwrap();
    let mut least = TokenBucket::new(&config, READ, START);
    assert_eq!(least.available(START), 1);
    least.charge(1, START);
    assert_eq!(least.next(START), START.after(longest));
    assert_eq!((least.level(ms(1_000_000)), least.level(START.after(longest))), (0, 1));

    let mut most = bucket(RATE_LIMIT_MAX, RATE_LIMIT_MAX, 1);
    assert_eq!(most.level(START), i64::MAX);
    most.charge(u64::MAX, START);
    assert_eq!(most.level(START), i64::MAX.saturating_sub_unsigned(u64::MAX));
    assert_eq!(most.next(START), ms(2));
    assert_eq!(most.level(ms(1_000)), i64::MAX);
}

// F51, X-39
#[test]
fn a_debt_beyond_counting_waits_and_does_not_wrap() {
    let mut bucket = bucket(1, 10, 1_000);
    for _ in 0..3 {
        bucket.decrement(i64::MAX, START);
    }
    assert_eq!((bucket.level(START), bucket.available(START)), (i64::MIN, 0));
    assert_eq!(bucket.next(START), Nanos::NEVER);
    bucket.decrement(i64::MIN, START);
    assert_eq!(bucket.level(START), 0, "i64::MIN of them given");
    bucket.decrement(i64::MIN, START);
    assert_eq!(bucket.level(START), 10);

    let mut open = TokenBucket::new(&config(1, 10, 1_000).unclipped(), READ, START);
    open.credit(u64::MAX, START);
    assert_eq!(open.level(Nanos::NEVER), i64::MAX);
}
