use std::{error, fmt, num::NonZeroU64, str::FromStr};

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
    /// So many bytes per second; none for 0.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Option<Self> {
        match NonZeroU64::new(bytes_per_second) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// How many bytes per second.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (digits, scale) = decimal(number)?;
        let (factor, parts) = unit_of(unit.trim_start())?;
        let too_large = ParseRateError::TooLarge;
        let bytes = digits.checked_mul(factor).ok_or(too_large)? / (scale * parts);
        let bytes = u64::try_from(bytes).map_err(|_| too_large)?;
        Self::new(bytes).ok_or(ParseRateError::Zero)
    }
}

/// In bytes and in bits, each rounded to three digits after the point.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.bytes_per_second());
        write!(f, "{}B/s ({}bit/s)", Scaled(bytes), Scaled(bytes * 8))
    }
}

/// Why a text is no rate.
///
/// ```
/// use bufferevent_ratelimit::{ParseRateError, Rate};
///
/// assert_eq!("10Mb/s".parse::<Rate>(), Err(ParseRateError::BitOrByte));
/// assert_eq!("0".parse::<Rate>(), Err(ParseRateError::Zero));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseRateError {
    /// It does not begin with a number such as `10` or `2.5`, of 20 digits at most.
    Number,
    /// What follows the number is no unit.
    Unit,
    /// The unit is a lower-case `b`, which is bits to some and bytes to others.
    BitOrByte,
    /// It is less than one byte per second.
    Zero,
    /// It is more than 2^64 - 1 bytes per second.
    TooLarge,
}

impl fmt::Display for ParseRateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "no number such as 10 or 2.5",
            Self::Unit => "no unit such as MB/s, MiB/s or Mbit/s",
            Self::BitOrByte => "b may be bits or bytes: say bit or B",
            Self::Zero => "less than one byte per second",
            Self::TooLarge => "more bytes per second than can be counted",
        })
    }
}

impl error::Error for ParseRateError {}

/// A number as an integer, and what to divide it by.
fn decimal(number: &str) -> Result<(u128, u128), ParseRateError> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(ParseRateError::Number),
        Some(parts) => parts,
        None => (number, ""),
    };
    if whole.is_empty() || whole.len() + fraction.len() > DIGITS {
        return Err(ParseRateError::Number);
    }
    let integer = format!("{whole}{fraction}").parse().map_err(|_| ParseRateError::Number)?;
    Ok((integer, 10_u128.pow(fraction.len() as u32)))
}

/// What a unit multiplies by, and divides by, to give bytes.
fn unit_of(unit: &str) -> Result<(u128, u128), ParseRateError> {
    if unit.is_empty() {
        return Ok((1, 1));
    }
    let unit = unit.strip_suffix("/s").ok_or(ParseRateError::Unit)?;
    let (prefix, parts) = match (unit.strip_suffix('B'), unit.strip_suffix("bit"), unit.strip_suffix('b')) {
        (Some(prefix), ..) => (prefix, 1),
        (_, Some(prefix), _) => (prefix, 8),
        (.., Some(_)) => return Err(ParseRateError::BitOrByte),
        _ => return Err(ParseRateError::Unit),
    };
    let (letter, base) = match prefix.strip_suffix(['i', 'I']) {
        Some(letter) => (letter, 1_024_u128),
        None => (prefix, 1_000),
    };
    if letter.is_empty() && base == 1_000 {
        return Ok((1, parts));
    }
    let power = PREFIXES.iter().position(|prefix| prefix.eq_ignore_ascii_case(letter));
    Ok((base.pow(power.ok_or(ParseRateError::Unit)? as u32 + 1), parts))
}

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

const PREFIXES: [&str; 4] = ["k", "M", "G", "T"];
/// Of a number, so that no product overflows.
const DIGITS: usize = 20;
