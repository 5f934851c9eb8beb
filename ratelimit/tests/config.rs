//! Which configurations there are, and what is said of the others.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use bufferevent_ratelimit::{
    ConfigError, Direction, Nanos, RATE_LIMIT_MAX, Rate, TICK_MAX, TokenBucket, TokenBucketConfig,
};
use common::{START, config};
use proptest::prelude::*;

const MOST: u64 = RATE_LIMIT_MAX;

fn of(read_rate: u64, read_burst: u64, write_rate: u64, write_burst: u64) -> Result<(), ConfigError> {
    TokenBucketConfig::new(read_rate, read_burst, write_rate, write_burst, None).map(drop)
}

fn ticking(tick: Duration) -> Result<Duration, ConfigError> {
    TokenBucketConfig::new(1, 1, 1, 1, Some(tick)).map(|config| config.tick())
}

// R-02, F50
#[test]
fn each_wrong_number_is_an_error_of_its_own() {
    use ConfigError::{BurstTooLarge, RateAboveBurst, RateTooLarge, RateZero};
    use Direction::{Read, Write};

    assert_eq!(of(1, 1, 1, 1), Ok(()));
    assert_eq!(of(MOST, MOST, MOST, MOST), Ok(()));
    assert_eq!(of(0, 1, 1, 1), Err(RateZero { direction: Read }));
    assert_eq!(of(1, 1, 0, 0), Err(RateZero { direction: Write }));
    assert_eq!(of(10, 9, 1, 1), Err(RateAboveBurst { direction: Read, rate: 10, burst: 9 }));
    assert_eq!(of(1, 1, 10, 9), Err(RateAboveBurst { direction: Write, rate: 10, burst: 9 }));
    assert_eq!(of(MOST + 1, MOST + 1, 1, 1), Err(RateTooLarge { direction: Read, rate: MOST + 1 }));
    assert_eq!(of(1, MOST + 1, 1, 1), Err(BurstTooLarge { direction: Read, burst: MOST + 1 }));
    assert_eq!(of(1, 1, u64::MAX, u64::MAX), Err(RateTooLarge { direction: Write, rate: u64::MAX }));
    assert_eq!(of(1, 1, 1, u64::MAX), Err(BurstTooLarge { direction: Write, burst: u64::MAX }));
}

// R-02, TB-09, TB-10: 999 us is too short, 1000 us is not, {0 s, 1000000 us} is 1000 ms, INT_MAX / 1000 seconds are the most
#[test]
fn a_tick_is_whole_milliseconds_within_bounds() {
    assert_eq!(TokenBucketConfig::new(1, 1, 1, 1, None).unwrap().tick(), Duration::from_secs(1));
    assert_eq!(ticking(Duration::ZERO), Err(ConfigError::TickZero));
    let short = Duration::from_micros(999);
    assert_eq!(ticking(short), Err(ConfigError::TickTooShort { tick: short }));
    assert_eq!(ticking(Duration::from_micros(1_000)), Ok(Duration::from_millis(1)));
    assert_eq!(ticking(Duration::from_nanos(2_999_999)), Ok(Duration::from_millis(2)));
    assert_eq!(ticking(Duration::from_micros(1_000_000)), Ok(Duration::from_millis(1_000)));
    assert_eq!(TICK_MAX.as_secs(), 2_147_483);
    assert_eq!(ticking(TICK_MAX), Ok(TICK_MAX));
    for tick in [TICK_MAX + Duration::from_secs(1), Duration::MAX] {
        assert_eq!(ticking(tick), Err(ConfigError::TickTooLong { tick }));
    }
}

//
#[test]
fn a_configuration_outlives_whoever_made_it() {
    let mut bucket = {
        let config = config(10, 10, 1_000);
        let clone = config.clone();
        drop(config);
        TokenBucket::new(&clone, Direction::Write, START)
    };
    assert_eq!(bucket.level(START), 10);
    assert_eq!(config(10, 20, 5), config(10, 20, 5));
    assert_ne!(config(10, 20, 5), config(10, 20, 5).unclipped());
}

#[test]
fn rates_per_second_become_bytes_per_tick() {
    let per = |rate: u64, millis: u64| {
        let rate = Rate::new(rate).unwrap();
        let config =
            TokenBucketConfig::per_second(Some(rate), None, Some(Duration::from_millis(millis))).unwrap();
        let limit = config.limit(Direction::Read);
        (limit.rate(), limit.burst(), limit.per_second())
    };
    assert_eq!(per(10_000_000, 10), (100_000, 400_000, 10_000_000));
    assert_eq!(per(150_900, 1), (150, 600, 150_000), "rounded down by less than a hundredth");
    assert_eq!(per(1_500, 10), (15, 60, 1_500));
    assert_eq!(per(MOST, 1_000), (MOST, MOST, MOST));
    let none = TokenBucketConfig::per_second(None, None, None).unwrap();
    assert_eq!(none.limit(Direction::Write).rate(), MOST);
    let (rate, tick) = (Rate::new(10_000).unwrap(), Some(Duration::from_millis(10)));
    assert_eq!(
        TokenBucketConfig::symmetric(rate, tick),
        TokenBucketConfig::per_second(Some(rate), Some(rate), tick)
    );
}

#[test]
fn rates_per_second_may_be_too_small_or_too_large_for_a_tick() {
    let per = |rate: u64, tick: Duration| {
        TokenBucketConfig::per_second(None, Some(Rate::new(rate).unwrap()), Some(tick)).map(drop)
    };
    let direction = Direction::Write;
    let tick = Duration::from_millis(1);
    for bytes in [1, 999, 1_500, 50_900] {
        let rate = Rate::new(bytes).unwrap();
        assert_eq!(per(bytes, tick), Err(ConfigError::RateInexact { direction, rate, tick }));
    }
    assert_eq!(per(1_000, tick), Ok(()));
    assert_eq!(per(100_900, tick), Ok(()));
    let rate = Rate::new(u64::MAX).unwrap();
    assert_eq!(per(u64::MAX, Duration::from_secs(2)), Err(ConfigError::Overflow { direction, rate }));
    let large = ConfigError::RateTooLarge { direction, rate: u64::MAX };
    assert_eq!(per(u64::MAX, Duration::from_secs(1)), Err(large));
    assert_eq!(per(1, Duration::ZERO), Err(ConfigError::TickZero));
}

proptest! {
    // whatever the numbers, a configuration or an error; and what is accepted can be used.
    #[test]
    fn any_numbers_are_answered(
        numbers in prop::array::uniform4(prop_oneof![0..4_u64, any::<u64>(), MOST - 2..MOST + 2]),
        tick in prop_oneof![0..4_000_000_u64, any::<u64>()],
        now in any::<u64>(),
    ) {
        let [rate, burst, write_rate, write_burst] = numbers;
        let tick = Duration::from_nanos(tick);
        if let Ok(config) = TokenBucketConfig::new(rate, burst, write_rate, write_burst, Some(tick)) {
            let limit = config.limit(Direction::Read);
            prop_assert!(1 <= limit.rate() && limit.rate() <= limit.burst() && limit.burst() <= MOST);
            let mut bucket = TokenBucket::new(&config, Direction::Read, Nanos(now));
            prop_assert_eq!(bucket.level(Nanos(now)), rate as i64);
            prop_assert!(bucket.level(Nanos::NEVER) <= burst as i64);
        }
    }
}
