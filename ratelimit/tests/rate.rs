//! Rates as text.

#![allow(clippy::unwrap_used, reason = "tests")]

use bufferevent_ratelimit::{ParseRateError, Rate, RateFault, ZeroRate};
use proptest::prelude::*;

fn parsed(text: &str) -> Result<u64, ParseRateError> {
    text.parse::<Rate>().map(Rate::bytes_per_second)
}

fn shown(bytes: u64) -> String {
    Rate::new(bytes).unwrap().to_string()
}

#[test]
fn rates_are_read_in_bytes_and_bits_of_either_base() {
    let rates = [
        ("5000", 5_000),
        ("5000B/s", 5_000),
        ("10MB/s", 10_000_000),
        ("10MiB/s", 10 << 20),
        ("10 MiB/s", 10 << 20),
        (" 80Mbit/s ", 10_000_000),
        ("80Mibit/s", 10 << 20),
        ("8bit/s", 1),
        ("1kB/s", 1_000),
        ("1KB/s", 1_000),
        ("1KiB/s", 1_024),
        ("2gB/s", 2_000_000_000),
        ("1TB/s", 1_000_000_000_000),
        ("1TiB/s", 1 << 40),
        ("2.5MB/s", 2_500_000),
        ("0.5Gbit/s", 62_500_000),
        ("1.9B/s", 1),
        ("15bit/s", 1),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551615.999999999999999999999999", u64::MAX),
        ("0000000000000000000000000000000000000000000001", 1),
        ("1.00000000000000000000000000000000000000000000001kB/s", 1_000),
    ];
    for (text, bytes) in rates {
        assert_eq!(parsed(text), Ok(bytes), "{text}");
    }
}

#[test]
fn what_is_no_rate_is_an_error_that_says_why() {
    use RateFault::{BitOrByte, Negative, Number, PerSecond, TooLarge, Unit, Zero};
    let faults = [
        ("", Number),
        ("none", Number),
        ("MB/s", Number),
        ("-", Number),
        ("+1", Number),
        (".5MB/s", Number),
        ("5.", Number),
        ("1.2.3", Number),
        ("-1", Negative),
        ("-0.5MB/s", Negative),
        ("10MB", PerSecond),
        ("10 Mibit", PerSecond),
        ("10B", PerSecond),
        ("10M", Unit),
        ("10M/s", Unit),
        ("10/s", Unit),
        ("10XB/s", Unit),
        ("10iB/s", Unit),
        ("10MBit/s", Unit),
        ("10MBps", Unit),
        ("1e6", Unit),
        ("1,000", Unit),
        ("10 M B/s", Unit),
        ("10Mb/s", BitOrByte),
        ("10Mb", BitOrByte),
        ("10b/s", BitOrByte),
        ("0", Zero),
        ("0MB/s", Zero),
        ("7bit/s", Zero),
        ("0.9", Zero),
        ("18446744073709551616", TooLarge),
        ("123456789012345678901", TooLarge),
        ("99999999TB/s", TooLarge),
        ("99999999999999999999TiB/s", TooLarge),
    ];
    for (text, fault) in faults {
        let error = parsed(text).unwrap_err();
        assert_eq!((error.given(), error.fault()), (text, fault));
        assert_eq!(error.to_string(), format!("{text:?} is no rate: {fault}"));
    }
}

/// What is wrong, what was given, what would be right.
#[test]
fn what_is_told_of_a_text_that_is_no_rate_helps_to_mend_it() {
    let told = |text: &str| parsed(text).unwrap_err().to_string();
    let missing = "/s is missing, as in 10MB/s";
    assert_eq!(told("10MB"), format!(r#""10MB" is no rate: {missing}"#));
    let messages = [
        ("none", "no number at the beginning, as in 10MB/s, 2.5MiB/s, 80Mbit/s or 5000"),
        ("-1", "below zero; the least is 1, for one byte per second"),
        ("10M", "no unit such as B/s, kB/s, MB/s, MiB/s or Mbit/s behind the number"),
        ("10Mb/s", "b may be bits or bytes; say bit or B, as in 80Mbit/s or 10MB/s"),
        ("0", "less than one byte per second, which is the least"),
        ("20000000TB/s", "more than 18446744073709551615 bytes per second, which is the most"),
    ];
    for (text, why) in messages {
        assert_eq!(told(text), format!("{text:?} is no rate: {why}"));
    }
    assert_eq!(told(&"x".repeat(1_000)).len(), told(&"x".repeat(40)).len(), "no more of it than that");
    assert!(ZeroRate.to_string().contains("the least is 1"));
}

#[test]
fn zero_is_no_rate_and_not_the_absence_of_a_limit() {
    assert_eq!(Rate::new(0), Err(ZeroRate));
    assert_eq!(Rate::new(1).map(Rate::bytes_per_second), Ok(1));
}

#[test]
fn rates_are_shown_in_bytes_and_in_bits() {
    assert_eq!(shown(1), "1 B/s (8 bit/s)");
    assert_eq!(shown(999), "999 B/s (7.992 kbit/s)");
    assert_eq!(shown(10_000_000), "10 MB/s (80 Mbit/s)");
    assert_eq!(shown(1_234_567), "1.235 MB/s (9.877 Mbit/s)");
    assert_eq!(shown(999_999_900), "1 GB/s (8 Gbit/s)");
    assert_eq!(shown(10 << 20), "10.486 MB/s (83.886 Mbit/s)");
    assert_eq!(shown(u64::MAX), "18446744.074 TB/s (147573952.59 Tbit/s)");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,24}") {
        let _rate_or_error = parsed(&text);
    }

    #[test]
    fn a_number_is_itself(bytes in 1..=u64::MAX) {
        prop_assert_eq!(parsed(&bytes.to_string()), Ok(bytes));
        prop_assert_eq!(parsed(&format!("{bytes}B/s")), Ok(bytes));
    }

    /// What is shown can be read again, to the digits shown.
    #[test]
    fn what_is_shown_is_read_again(bytes in 1..u64::MAX / 1_000) {
        let text = shown(bytes);
        let (in_bytes, _) = text.split_once(" (").unwrap();
        let again = parsed(in_bytes).unwrap();
        prop_assert!(again.abs_diff(bytes) <= bytes / 2_000 + 1, "{} is {}", text, again);
    }
}
