//! Rates as text: what is one, and what is wrong with what is none.

use std::{error, fmt, str::FromStr};

use crate::Rate;
use crate::rate::PREFIXES;

/// A text that is no [`Rate`], and why.
///
/// ```
/// use bufferevent_ratelimit::{Rate, RateFault};
///
/// let error = "10MB".parse::<Rate>().unwrap_err();
/// assert_eq!((error.given(), error.fault()), ("10MB", RateFault::PerSecond));
/// assert_eq!(error.to_string(), r#""10MB" is no rate: /s is missing, as in 10MB/s"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseRateError {
    given: Box<str>,
    fault: RateFault,
}

/// What is wrong with a text that is no [`Rate`].
///
/// ```
/// use bufferevent_ratelimit::{Rate, RateFault};
///
/// let fault = |text: &str| text.parse::<Rate>().map_err(|error| error.fault());
/// assert_eq!(fault("10Mb/s"), Err(RateFault::BitOrByte));
/// assert_eq!(fault("0"), Err(RateFault::Zero));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateFault {
    /// It does not begin with a number such as `10` or `2.5`.
    Number,
    /// It is below zero.
    Negative,
    /// What follows the number is no unit.
    Unit,
    /// It is an amount, not so much per second.
    PerSecond,
    /// The unit is a lower-case `b`, which is bits to some and bytes to others.
    BitOrByte,
    /// It is less than one byte per second.
    Zero,
    /// It is more than 2^64 - 1 bytes per second.
    TooLarge,
}

impl ParseRateError {
    /// What was given: so much of it as a message should have.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn fault(&self) -> RateFault {
        self.fault
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let given = || text.chars().take(GIVEN).collect::<String>().into();
        parse(text.trim()).map_err(|fault| ParseRateError { given: given(), fault })
    }
}

impl fmt::Display for ParseRateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no rate: {}", self.given, self.fault)
    }
}

impl error::Error for ParseRateError {}

/// What is wrong, and what would be right.
impl fmt::Display for RateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number => {
                f.write_str("no number at the beginning, as in 10MB/s, 2.5MiB/s, 80Mbit/s or 5000")
            }
            Self::Negative => f.write_str("below zero; the least is 1, for one byte per second"),
            Self::Unit => f.write_str("no unit such as B/s, kB/s, MB/s, MiB/s or Mbit/s behind the number"),
            Self::PerSecond => f.write_str("/s is missing, as in 10MB/s"),
            Self::BitOrByte => f.write_str("b may be bits or bytes; say bit or B, as in 80Mbit/s or 10MB/s"),
            Self::Zero => f.write_str("less than one byte per second, which is the least"),
            Self::TooLarge => write!(f, "more than {} bytes per second, which is the most", u64::MAX),
        }
    }
}

fn parse(text: &str) -> Result<Rate, RateFault> {
    if text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(RateFault::Negative);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (digits, scale) = decimal(number)?;
    let (factor, parts) = unit_of(unit.trim_start())?;
    let bytes = digits.checked_mul(factor).ok_or(RateFault::TooLarge)? / (scale * parts);
    let bytes = u64::try_from(bytes).map_err(|_| RateFault::TooLarge)?;
    Rate::new(bytes).map_err(|_| RateFault::Zero)
}

/// A number as an integer, and what to divide it by.
fn decimal(number: &str) -> Result<(u128, u128), RateFault> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(RateFault::Number),
        Some(parts) => parts,
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') {
        return Err(RateFault::Number);
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > DIGITS {
        return Err(RateFault::TooLarge);
    }
    let fraction = &fraction[..fraction.len().min(FRACTION)];
    let integer = format!("0{whole}{fraction}").parse().map_err(|_| RateFault::Number)?;
    Ok((integer, 10_u128.pow(fraction.len() as u32)))
}

/// What a unit multiplies by, and divides by, to give bytes.
fn unit_of(unit: &str) -> Result<(u128, u128), RateFault> {
    if unit.is_empty() {
        return Ok((1, 1));
    }
    let Some(amount) = unit.strip_suffix("/s") else {
        return amount_of(unit).and(Err(RateFault::PerSecond));
    };
    amount_of(amount)
}

/// The same for a unit without its `/s`.
fn amount_of(unit: &str) -> Result<(u128, u128), RateFault> {
    let (prefix, parts) = match (unit.strip_suffix('B'), unit.strip_suffix("bit"), unit.strip_suffix('b')) {
        (Some(prefix), ..) => (prefix, 1),
        (_, Some(prefix), _) => (prefix, 8),
        (.., Some(_)) => return Err(RateFault::BitOrByte),
        _ => return Err(RateFault::Unit),
    };
    let (letter, base) = match prefix.strip_suffix(['i', 'I']) {
        Some(letter) => (letter, 1_024_u128),
        None => (prefix, 1_000),
    };
    if letter.is_empty() && base == 1_000 {
        return Ok((1, parts));
    }
    let power = PREFIXES.iter().position(|prefix| prefix.eq_ignore_ascii_case(letter));
    Ok((base.pow(power.ok_or(RateFault::Unit)? as u32 + 1), parts))
}

/// Of a number before the point: 2^64 has as many. More are too many.
const DIGITS: usize = 20;
/// Of a number behind the point: so that no product overflows. More are dropped.
const FRACTION: usize = 18;
/// Characters of what was given that are told.
const GIVEN: usize = 40;
