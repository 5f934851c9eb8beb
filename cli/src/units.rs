//! Durations, sizes and counts as people write and read them.

use std::{ops::RangeInclusive, time::Duration};

use bufferevent::{ParseRateError, Rate, RateFault, TokenBucketConfig};

/// The largest size: what one request may have.
const MOST_BYTES: u64 = 1 << 30;

/// The longest duration: a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads whole numbers from `least` to `most`.
pub(crate) fn whole(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// Reads `500ms`, `5s`, `1.5s`, `2m` or `1h`: more than nothing, at most a day.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    match any_duration(text)? {
        Duration::ZERO => Err("must be more than nothing, such as 500ms, 5s or 2m".to_owned()),
        duration if duration <= LONGEST => Ok(duration),
        _ => Err("must be at most a day".to_owned()),
    }
}

/// Reads a rate.
pub(crate) fn parse_rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|why: ParseRateError| match why.fault() {
        fault @ (RateFault::Number | RateFault::Zero) => {
            format!("{fault}; for no limit leave the option out")
        }
        fault => fault.to_string(),
    })
}

/// Reads a duration that may be the tick of a rate limit.
pub(crate) fn parse_tick(text: &str) -> Result<Duration, String> {
    let config = TokenBucketConfig::new(1, 1, 1, 1, Some(any_duration(text)?));
    config.map(|config| config.tick()).map_err(|why| why.to_string())
}

/// Any duration; the longest there is for what is longer.
fn any_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or("must be a number and a unit, such as 500ms, 5s or 2m")?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        "" => return Err("needs a unit, such as 500ms, 5s or 2m".to_owned()),
        _ => return Err(format!("unknown unit '{unit}'; use us, ms, s, m or h")),
    };
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// A duration, or none. By this name clap does not take it for an argument that may be left out.
pub(crate) type Limit = Option<Duration>;

/// Reads a duration, or `none`.
pub(crate) fn parse_limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(None),
        text => parse_duration(text).map(Some).map_err(|why| format!("{why}, or none")),
    }
}

/// How much memory may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Unlimited,
    /// Per cent of what there is.
    Part(u8),
    Bytes(u64),
}

/// The least memory that can be worked with.
const LEAST_MEMORY: u64 = 1 << 20;

/// Reads `25%`, a size of at least 1 MiB, or `none`.
pub(crate) fn parse_memory(text: &str) -> Result<Memory, String> {
    if text == "none" {
        return Ok(Memory::Unlimited);
    }
    match text.strip_suffix('%').map(str::parse) {
        Some(Ok(part @ 1..=100)) => Ok(Memory::Part(part)),
        Some(_) => Err("must be 1% to 100%".to_owned()),
        None => parse_bytes(text, LEAST_MEMORY..=1 << 50, "1% to 100%, 1 MiB to 1 PiB, or none")
            .map(Memory::Bytes),
    }
}

impl Memory {
    /// Bytes, if `there_is` as many; `None` without limit.
    pub(crate) fn of(self, there_is: Option<u64>) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Part(part) => there_is.map(|all| (all / 100 * u64::from(part)).max(LEAST_MEMORY)),
        }
    }
}

/// Reads `64`, `64B`, `64KiB`, `1.5MiB` or `64kB`: at least one byte, at most 1 GiB.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    parse_bytes(text, 1..=MOST_BYTES, "1 byte to 1 GiB").map(|bytes| bytes as usize)
}

fn parse_bytes(text: &str, range: RangeInclusive<u64>, expected: &str) -> Result<u64, String> {
    let (number, unit) =
        split(text).ok_or_else(|| format!("must be {expected}, such as 64, 64KiB or 1MiB"))?;
    let scale = match unit {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" | "K" | "k" => 1024.0,
        "MiB" | "M" => 1024.0 * 1024.0,
        "GiB" | "G" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("unknown unit '{unit}'; use B, KiB, MiB, GiB, kB, MB or GB")),
    };
    let bytes = number * scale;
    if bytes.fract() != 0.0 {
        return Err("must be a whole number of bytes".to_owned());
    }
    if !(*range.start() as f64..=*range.end() as f64).contains(&bytes) {
        return Err(format!("must be {expected}"));
    }
    Ok(bytes as u64)
}

/// Reads a size, or 0.
pub(crate) fn parse_share(text: &str) -> Result<u64, String> {
    match text {
        "0" => Ok(0),
        text => parse_size(text).map(|bytes| bytes as u64).map_err(|why| format!("{why}, or 0")),
    }
}

/// The number that `text` begins with, and the unit behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Writes `n` in groups of three digits.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Writes how many of a thing there are.
pub(crate) fn counted(n: u64, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        _ => format!("{} {thing}s", count(n)),
    }
}

/// Writes a number of bytes with three digits and a decimal unit.
pub(crate) fn bytes(n: u64) -> String {
    let scaled = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match scaled.into_iter().find(|&(scale, _)| n >= scale) {
        Some((scale, unit)) => format!("{} {unit}", three_digits(n as f64 / scale as f64)),
        None => format!("{n} B"),
    }
}

/// Writes a time with three digits and its unit, or a dash if there is none.
pub(crate) fn time(time: impl Into<Option<Duration>>) -> String {
    let Some(time) = time.into() else { return "-".to_owned() };
    let micros = time.as_nanos() as f64 / 1e3;
    match micros {
        _ if micros >= 1e6 => format!("{} s", three_digits(micros / 1e6)),
        _ if micros >= 1e3 => format!("{} ms", three_digits(micros / 1e3)),
        _ => format!("{} us", three_digits(micros)),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        _ if value >= 99.95 => format!("{value:.0}"),
        _ if value >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_must_be_positive() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "0s", "-1s", "5x", "25h", "1..2s", "99999999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tick_is_what_the_library_takes_for_one() {
        assert_eq!(parse_tick("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_tick("1.5ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_tick("500h"), Ok(Duration::from_secs(500 * 3_600)));
        let cases = [
            ("0s", "tick is zero"),
            ("999us", "shorter than 1ms"),
            ("600h", "longer than 2147483s"),
            ("99999999999999999999h", "longer than 2147483s"),
            ("5", "needs a unit"),
            ("", "must be a number and a unit"),
        ];
        for (bad, why) in cases {
            assert!(parse_tick(bad).is_err_and(|told| told.contains(why)), "{bad}");
        }
    }

    #[test]
    fn a_share_is_a_size_or_0() {
        assert_eq!(parse_share("0"), Ok(0));
        assert_eq!(parse_share("4KiB"), Ok(4_096));
        for bad in ["", "0.5", "-1", "none"] {
            assert!(parse_share(bad).is_err_and(|told| told.ends_with(", or 0")), "{bad}");
        }
    }

    #[test]
    fn a_limit_is_a_duration_or_none() {
        assert_eq!(parse_limit("none"), Ok(None));
        assert_eq!(parse_limit("5m"), Ok(Some(Duration::from_secs(300))));
        for bad in ["", "0s", "5", "None", "none5s"] {
            assert!(parse_limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_whole_bytes_up_to_a_gibibyte() {
        assert_eq!(parse_size("64"), Ok(64));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("1.5KiB"), Ok(1_536));
        assert_eq!(parse_size("2MB"), Ok(2_000_000));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        for bad in ["", "0", "0.5", "KiB", "-1", "1TiB", "2GiB", "1.0001KiB", "1e3"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_is_a_part_of_what_there_is_or_bytes_or_unlimited() {
        assert_eq!(parse_memory("none"), Ok(Memory::Unlimited));
        assert_eq!(
            parse_memory("25%").map(|memory| memory.of(Some(8 << 30))),
            Ok(Some((8 << 30) / 100 * 25))
        );
        assert_eq!(parse_memory("100%").map(|memory| memory.of(None)), Ok(None));
        assert_eq!(parse_memory("2GiB").map(|memory| memory.of(Some(1))), Ok(Some(2 << 30)));
        for bad in ["", "0%", "101%", "%", "-1%", "1.5%", "1023KiB", "2000000GiB", "some"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whole_numbers_are_within_their_range() {
        assert_eq!(whole(1, 1_024)("1"), Ok(1));
        assert_eq!(whole(1, 1_024)("1024"), Ok(1_024));
        for bad in ["", "0", "1025", "-1", "1.5", "1e3", "many", "99999999999999999999"] {
            assert_eq!(
                whole(1, 1_024)(bad),
                Err("must be a whole number from 1 to 1024".to_owned()),
                "{bad}"
            );
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(counted(0, "request"), "0 requests");
        assert_eq!(counted(2_000, "request"), "2,000 requests");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_620_000_000), "1.62 GB");
        assert_eq!(bytes(162_000_000), "162 MB");
        assert_eq!(time(None), "-");
        assert_eq!(time(Duration::from_nanos(81_250)), "81.2 us");
        assert_eq!(time(Duration::from_micros(12_340)), "12.3 ms");
        assert_eq!(time(Duration::from_millis(1_500)), "1.50 s");
    }
}
