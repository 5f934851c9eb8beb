use std::{error, fmt, time::Duration};

use bufferevent_sync::Arc;

use crate::{Direction, Rate};

/// Bytes per tick, or of a burst, at most: so much is no limit.
#[doc(alias = "EV_RATE_LIMIT_MAX")]
pub const RATE_LIMIT_MAX: u64 = i64::MAX as u64;
/// How long a tick is unless it is set.
pub const TICK: Duration = Duration::from_secs(1);
/// How long a tick is at least.
pub const TICK_MIN: Duration = Duration::from_millis(1);
/// How long a tick is at most, in whole seconds.
pub const TICK_MAX: Duration = Duration::from_secs(i32::MAX as u64 / 1000);
/// The burst of a configuration from rates per second, in ticks: who asks three ticks late loses nothing.
pub const BURST_TICKS: u64 = 4;

/// Says how many bytes may pass in each direction: immutable, cheap to clone, shared by whom you like.
///
/// ```
/// use std::time::Duration;
/// use bufferevent_ratelimit::{Direction, TokenBucketConfig};
///
/// let config = TokenBucketConfig::new(1_000, 4_000, 500, 500, Some(Duration::from_millis(100)))?;
/// let read = config.limit(Direction::Read);
/// assert_eq!((read.rate(), read.burst(), read.tick()), (1_000, 4_000, Duration::from_millis(100)));
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
#[doc(alias = "ev_token_bucket_cfg")]
#[derive(Clone)]
pub struct TokenBucketConfig {
    shared: Arc<Shared>,
}

#[derive(PartialEq, Eq)]
struct Shared {
    limits: [Limit; 2],
    unclipped: bool,
}

impl TokenBucketConfig {
    /// Makes a configuration.
    ///
    /// * `read_rate`, `write_rate`: bytes per tick, 1 to [`RATE_LIMIT_MAX`].
    /// * `read_burst`, `write_burst`: bytes that may be there at once, from the rate to [`RATE_LIMIT_MAX`]. The rate is
    ///   enough: no tick is lost by it as long as somebody asks once a tick.
    /// * `tick`: `None` is [`TICK`], one second. A fraction of a millisecond is ignored.
    ///
    /// # Errors
    /// Those of [`ConfigError`], the first that is found: nothing is rounded but the tick.
    /// # Libevent
    /// `ev_token_bucket_cfg_new`. Differs: each error is a value of its own; there is nothing to free.
    #[doc(alias = "ev_token_bucket_cfg_new")]
    #[doc(alias = "ev_token_bucket_cfg_free")]
    pub fn new(
        read_rate: u64,
        read_burst: u64,
        write_rate: u64,
        write_burst: u64,
        tick: Option<Duration>,
    ) -> Result<Self, ConfigError> {
        let tick = whole_millis(tick.unwrap_or(TICK))?;
        let read = checked(Direction::Read, read_rate, read_burst, tick)?;
        let write = checked(Direction::Write, write_rate, write_burst, tick)?;
        Ok(Self::of([read, write]))
    }

    /// Makes a configuration from rates in bytes per second, `None` for no limit, with bursts of [`BURST_TICKS`] ticks' worth.
    ///
    /// * `tick`: `None` is [`TICK`]. What passes is in steps of a tick; 10 to 100 ms are smooth.
    ///
    /// A rate that is not a whole number of bytes per tick is rounded down to one, where that takes a hundredth of it or
    /// less. For other bursts there is [`new`](Self::new).
    ///
    /// # Errors
    /// [`ConfigError`]; of these, [`RateInexact`](ConfigError::RateInexact) where rounding would take more: 1,500 bytes per
    /// second are 15 in 10 ms, but neither 1 nor 2 in 1 ms.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bufferevent_ratelimit::{Direction, Rate, TokenBucketConfig};
    ///
    /// let rate: Rate = "80Mbit/s".parse()?;
    /// let config = TokenBucketConfig::per_second(None, Some(rate), Some(Duration::from_millis(10)))?;
    /// let write = config.limit(Direction::Write);
    /// assert_eq!((write.rate(), write.burst()), (100_000, 400_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn per_second(
        read: Option<Rate>,
        write: Option<Rate>,
        tick: Option<Duration>,
    ) -> Result<Self, ConfigError> {
        let length = whole_millis(tick.unwrap_or(TICK))?;
        let per_tick = |direction, rate: Option<Rate>| {
            let Some(rate) = rate else { return Ok((RATE_LIMIT_MAX, RATE_LIMIT_MAX)) };
            let exact = u128::from(rate.bytes_per_second()) * u128::from(length);
            let (bytes, rest) = (exact / NANOS_PER_SECOND, exact % NANOS_PER_SECOND);
            if rest > exact / 100 {
                return Err(ConfigError::RateInexact { direction, rate, tick: Duration::from_nanos(length) });
            }
            let bytes = u64::try_from(bytes).map_err(|_| ConfigError::Overflow { direction, rate })?;
            let burst = bytes.saturating_mul(BURST_TICKS).min(bytes.max(RATE_LIMIT_MAX));
            Ok((bytes, burst))
        };
        let (read_rate, read_burst) = per_tick(Direction::Read, read)?;
        let (write_rate, write_burst) = per_tick(Direction::Write, write)?;
        Self::new(read_rate, read_burst, write_rate, write_burst, tick)
    }

    /// Makes a configuration of the same rate both ways: see [`per_second`](Self::per_second).
    ///
    /// # Errors
    /// As that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bufferevent_ratelimit::TokenBucketConfig;
    ///
    /// let config = TokenBucketConfig::symmetric("10MB/s".parse()?, Some(Duration::from_millis(10)))?;
    /// # assert_eq!(config.limit(bufferevent_ratelimit::Direction::Read).rate(), 100_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn symmetric(rate: Rate, tick: Option<Duration>) -> Result<Self, ConfigError> {
        Self::per_second(Some(rate), Some(rate), tick)
    }

    /// Of limits that are sound.
    pub(crate) fn of(limits: [Limit; 2]) -> Self {
        Self { shared: Arc::new(Shared { limits, unclipped: false }) }
    }

    /// The same, for a [`TokenBucket`](crate::TokenBucket) that lets credit given by hand lift it above the burst, as
    /// libevent does. What ticks pay never does; for a [`ByteClock`](crate::ByteClock) nothing does.
    #[must_use]
    pub fn unclipped(&self) -> Self {
        Self { shared: Arc::new(Shared { limits: self.shared.limits, unclipped: true }) }
    }

    /// Whether credit given by hand may lift a bucket above the burst. Default no.
    #[must_use]
    pub fn is_unclipped(&self) -> bool {
        self.shared.unclipped
    }

    /// What it says for one direction.
    #[must_use]
    pub fn limit(&self, direction: Direction) -> Limit {
        self.shared.limits[direction.index()]
    }

    /// How long a tick is: whole milliseconds.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.shared.limits[0].tick()
    }
}

/// By what they say.
impl PartialEq for TokenBucketConfig {
    fn eq(&self, other: &Self) -> bool {
        *self.shared == *other.shared
    }
}

impl Eq for TokenBucketConfig {}

impl fmt::Debug for TokenBucketConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, write] = self.shared.limits;
        let unclipped = if self.shared.unclipped { ", unclipped" } else { "" };
        write!(
            f,
            "read {} of {}, write {} of {} bytes per {:?}{unclipped}",
            read.rate,
            read.burst,
            write.rate,
            write.burst,
            self.tick()
        )
    }
}

/// One direction of a [`TokenBucketConfig`].
///
/// ```
/// use bufferevent_ratelimit::{Direction, TokenBucketConfig};
///
/// let config = TokenBucketConfig::new(10, 40, 5, 5, None)?;
/// assert_eq!(config.limit(Direction::Write).rate(), 5);
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// 1 ..= burst.
    pub(crate) rate: u64,
    /// Up to `RATE_LIMIT_MAX`.
    pub(crate) burst: u64,
    /// Nanoseconds, `TICK_MIN` or more.
    pub(crate) tick: u64,
}

impl Limit {
    /// Bytes per tick.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Bytes that may be there at once.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// How long a tick is.
    #[must_use]
    pub const fn tick(&self) -> Duration {
        Duration::from_nanos(self.tick)
    }

    /// Bytes per second, rounded down; 0 is less than one.
    #[must_use]
    pub const fn per_second(&self) -> u64 {
        let bytes = self.rate as u128 * NANOS_PER_SECOND / self.tick as u128;
        if bytes > u64::MAX as u128 { u64::MAX } else { bytes as u64 }
    }
}

/// What is wrong with a configuration.
///
/// ```
/// use bufferevent_ratelimit::{ConfigError, Direction, TokenBucketConfig};
///
/// let error = TokenBucketConfig::new(10, 40, 10, 9, None).unwrap_err();
/// assert_eq!(error, ConfigError::RateAboveBurst { direction: Direction::Write, rate: 10, burst: 9 });
/// assert_eq!(error.to_string(), "write rate of 10 bytes per tick is above the burst of 9 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A rate is less than one byte per tick.
    RateZero {
        /// Whose.
        direction: Direction,
    },
    /// A rate is above its burst.
    RateAboveBurst {
        /// Whose.
        direction: Direction,
        /// Bytes per tick.
        rate: u64,
        /// Bytes.
        burst: u64,
    },
    /// A rate is above [`RATE_LIMIT_MAX`].
    RateTooLarge {
        /// Whose.
        direction: Direction,
        /// Bytes per tick.
        rate: u64,
    },
    /// A burst is above [`RATE_LIMIT_MAX`].
    BurstTooLarge {
        /// Whose.
        direction: Direction,
        /// Bytes.
        burst: u64,
    },
    /// A rate per second is so few bytes per tick that a whole number of them is off by more than a hundredth.
    RateInexact {
        /// Whose.
        direction: Direction,
        /// Which.
        rate: Rate,
        /// In which: a longer one will do.
        tick: Duration,
    },
    /// A rate per second is too many bytes per tick to be told in a number.
    Overflow {
        /// Whose.
        direction: Direction,
        /// Which.
        rate: Rate,
    },
    /// The tick has no length.
    TickZero,
    /// The tick is shorter than [`TICK_MIN`].
    TickTooShort {
        /// Which.
        tick: Duration,
    },
    /// The tick has more seconds than [`TICK_MAX`].
    TickTooLong {
        /// Which.
        tick: Duration,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateZero { direction } => write!(f, "{direction} rate is below one byte per tick"),
            Self::RateAboveBurst { direction, rate, burst } => {
                write!(f, "{direction} rate of {rate} bytes per tick is above the burst of {burst} bytes")
            }
            Self::RateTooLarge { direction, rate } => {
                write!(f, "{direction} rate of {rate} bytes per tick is above {RATE_LIMIT_MAX}")
            }
            Self::BurstTooLarge { direction, burst } => {
                write!(f, "{direction} burst of {burst} bytes is above {RATE_LIMIT_MAX}")
            }
            Self::RateInexact { direction, rate, tick } => {
                write!(f, "{direction} rate of {rate} is no whole number of bytes in a tick of {tick:?}: ")?;
                f.write_str("a longer tick will do")
            }
            Self::Overflow { direction, rate } => {
                write!(f, "{direction} rate of {rate} is too much for one tick: a shorter one will do")
            }
            Self::TickZero => write!(f, "tick is zero: the least is {TICK_MIN:?}"),
            Self::TickTooShort { tick } => {
                write!(f, "tick of {tick:?} is shorter than {TICK_MIN:?}, which is the least")
            }
            Self::TickTooLong { tick } => {
                write!(f, "tick of {tick:?} is longer than {TICK_MAX:?}, which is the most")
            }
        }
    }
}

impl error::Error for ConfigError {}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// The length of a tick in nanoseconds, without its fraction of a millisecond.
fn whole_millis(tick: Duration) -> Result<u64, ConfigError> {
    if tick.is_zero() {
        Err(ConfigError::TickZero)
    } else if tick < TICK_MIN {
        Err(ConfigError::TickTooShort { tick })
    } else if tick.as_secs() > TICK_MAX.as_secs() {
        Err(ConfigError::TickTooLong { tick })
    } else {
        Ok(tick.as_millis() as u64 * 1_000_000)
    }
}

fn checked(direction: Direction, rate: u64, burst: u64, tick: u64) -> Result<Limit, ConfigError> {
    if rate < 1 {
        Err(ConfigError::RateZero { direction })
    } else if rate > RATE_LIMIT_MAX {
        Err(ConfigError::RateTooLarge { direction, rate })
    } else if burst > RATE_LIMIT_MAX {
        Err(ConfigError::BurstTooLarge { direction, burst })
    } else if rate > burst {
        Err(ConfigError::RateAboveBurst { direction, rate, burst })
    } else {
        Ok(Limit { rate, burst, tick })
    }
}
