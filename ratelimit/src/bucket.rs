use crate::accrual::Accrual;
use crate::{Direction, Nanos, RATE_LIMIT_MAX, TokenBucketConfig};

/// Limits one direction of what one owner does: a level of bytes that may go, negative for a debt.
///
/// * L1 Ticks never lift the level above the burst, nor does credit unless the configuration is
///   [`unclipped`](TokenBucketConfig::unclipped).
/// * L2 A new bucket holds one tick's worth; a new configuration only clips the level down.
/// * L3 Levels saturate; a debt of any size is paid at the boundary that the whole of it takes.
///
/// ```
/// use bufferevent_ratelimit::{Direction, Nanos, TokenBucket, TokenBucketConfig};
///
/// let config = TokenBucketConfig::new(100, 200, 100, 200, None)?;
/// let mut bucket = TokenBucket::new(&config, Direction::Read, Nanos(0));
/// assert_eq!(bucket.level(Nanos(0)), 100);
/// bucket.charge(350, Nanos(0));
/// assert_eq!(bucket.available(Nanos(0)), 0);
/// assert_eq!(bucket.next(Nanos(0)), Nanos(3_000_000_000)); // -250, and the third tick pays the last of it
/// assert_eq!(bucket.level(Nanos(3_500_000_000)), 50);
/// # Ok::<(), bufferevent_ratelimit::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenBucket {
    level: i64,
    accrual: Accrual,
    unclipped: bool,
}

impl TokenBucket {
    /// A bucket with one tick's worth; its first tick begins now.
    #[must_use]
    pub fn new(config: &TokenBucketConfig, direction: Direction, now: Nanos) -> Self {
        let limit = config.limit(direction);
        Self {
            level: signed(limit.rate),
            accrual: Accrual::new(limit, now),
            unclipped: config.is_unclipped(),
        }
    }

    /// Limits by another configuration from now on. The level stays, or is clipped to the new burst; what the running
    /// tick has earned so far is paid at the next boundary. An equal configuration changes nothing.
    pub fn replace(&mut self, config: &TokenBucketConfig, direction: Direction, now: Nanos) {
        self.refill(now);
        let limit = config.limit(direction);
        self.accrual = self.accrual.changed(limit, now);
        self.level = self.level.min(signed(limit.burst));
        self.unclipped = config.is_unclipped();
    }

    /// Bytes that may go now; negative for a debt.
    pub fn level(&mut self, now: Nanos) -> i64 {
        self.refill(now);
        self.level
    }

    /// Bytes that may go now; 0 for a debt.
    pub fn available(&mut self, now: Nanos) -> u64 {
        self.level(now).max(0).unsigned_abs()
    }

    /// Counts bytes that have gone, whether or not they were there.
    pub fn charge(&mut self, bytes: u64, now: Nanos) {
        self.refill(now);
        self.level = self.level.saturating_sub_unsigned(bytes);
    }

    /// Gives back bytes, charged before or not: up to the burst.
    pub fn credit(&mut self, bytes: u64, now: Nanos) {
        self.refill(now);
        let burst = if self.unclipped { i64::MAX } else { self.burst() };
        self.level = self.level.saturating_add_unsigned(bytes).min(burst);
    }

    /// Takes bytes away, or gives some if `bytes` is negative.
    ///
    /// # Libevent
    /// `bufferevent_decrement_read_limit`, `bufferevent_decrement_write_limit`. Differs: what is given is clipped to the
    /// burst, unless the configuration is [`unclipped`](TokenBucketConfig::unclipped).
    pub fn decrement(&mut self, bytes: i64, now: Nanos) {
        match bytes {
            0.. => self.charge(bytes.unsigned_abs(), now),
            _ => self.credit(bytes.unsigned_abs(), now),
        }
    }

    /// When there will be some: `now` if there is, or the tick boundary that pays the last of the debt, or
    /// [`Nanos::NEVER`].
    pub fn next(&mut self, now: Nanos) -> Nanos {
        let level = self.level(now);
        if level > 0 { now } else { self.accrual.reaches(level.unsigned_abs() + 1) }
    }

    /// Puts in what was paid since.
    fn refill(&mut self, now: Nanos) {
        let paid = self.accrual.paid(now);
        if paid > 0 {
            self.accrual = self.accrual.after(now);
            // What credit lifted above the burst stays.
            let full = self.level.max(self.burst());
            self.level = self.level.saturating_add_unsigned(paid).min(full);
        }
    }

    fn burst(&self) -> i64 {
        signed(self.accrual.limit().burst)
    }
}

/// Limits hold `RATE_LIMIT_MAX` at most.
fn signed(bytes: u64) -> i64 {
    debug_assert!(bytes <= RATE_LIMIT_MAX, "a checked configuration");
    bytes as i64
}
