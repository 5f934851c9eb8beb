use std::{error, fmt, num::NonZeroU64};

/// So many bytes per second, at least one. Read from text, and told in bytes and bits.
///
/// A text is a number, with a fraction if you like, and a unit: `B/s` for bytes or `bit/s` for bits, with one of the
/// prefixes `k`, `M`, `G`, `T` (powers of 1,000) or `Ki`, `Mi`, `Gi`, `Ti` (powers of 1,024) before it. Without a unit it
/// is bytes per second. Prefixes are read in either case, the rest is not: `b/s` could be either, and is refused. What is
/// less than a byte is dropped.
///
/// ```
/// use bufferevent_ratelimit::Rate;
///
/// let rate = |text: &str| text.parse::<Rate>().map(Rate::bytes_per_second);
/// assert_eq!(rate("10MB/s"), Ok(10_000_000));
/// assert_eq!(rate("10 MiB/s"), Ok(10_485_760));
/// assert_eq!(rate("80Mbit/s"), Ok(10_000_000));
/// assert_eq!(rate("1.5kB/s"), Ok(1_500));
/// assert_eq!(rate("5000"), Ok(5_000));
/// assert_eq!("2.5MB/s".parse::<Rate>()?.to_string(), "2.5 MB/s (20 Mbit/s)");
/// # Ok::<(), bufferevent_ratelimit::ParseRateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// So many bytes per second.
    ///
    /// # Errors
    /// [`ZeroRate`] for 0, which is a mistake and not the `None` that stands for no limit elsewhere.
    pub const fn new(bytes_per_second: u64) -> Result<Self, ZeroRate> {
        match NonZeroU64::new(bytes_per_second) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(ZeroRate),
        }
    }

    /// How many bytes per second.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0.get()
    }
}

/// In bytes and in bits, each rounded to three digits after the point.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.bytes_per_second());
        write!(f, "{}B/s ({}bit/s)", Scaled(bytes), Scaled(bytes * 8))
    }
}

/// A rate of no bytes per second.
///
/// ```
/// use bufferevent_ratelimit::{Rate, ZeroRate};
///
/// assert_eq!(Rate::new(0), Err(ZeroRate));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroRate;

impl fmt::Display for ZeroRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rate of 0 bytes per second: the least is 1, and no limit is None")
    }
}

impl error::Error for ZeroRate {}

/// A number with its prefix.
struct Scaled(u128);

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = |power: u32| {
            let unit = 1_000_u128.pow(power);
            (self.0 * 1_000 + unit / 2) / unit
        };
        // By what is printed, which may be rounded up to the next prefix.
        let power = (0..PREFIXES.len() as u32).find(|power| thousandths(*power) < 1_000_000);
        let power = power.unwrap_or(PREFIXES.len() as u32);
        let prefix = if power > 0 { PREFIXES[power as usize - 1] } else { "" };
        let thousandths = thousandths(power);
        let fraction = format!("{:03}", thousandths % 1_000);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{}{point}{fraction} {prefix}", thousandths / 1_000)
    }
}

/// For powers of 1,000; with an `i` behind them, of 1,024.
pub(crate) const PREFIXES: [&str; 4] = ["k", "M", "G", "T"];
