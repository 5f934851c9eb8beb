//! What the tenants get, as text.

use std::{fmt, time::Duration};

use super::promise::Reached;

/// Cells of a bar: as long as the greatest limit.
const CELLS: usize = 32;

/// What each group has got in a second so far, beside what it was promised; all bars have one scale.
#[derive(Debug)]
pub(super) struct Bars<'a>(pub(super) &'a [Reached]);

impl fmt::Display for Bars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.0.iter().map(|reached| reached.promise.most).max().unwrap_or(0) as f64;
        write!(f, "  {:<6}  {:<CELLS$}", "", format!("| promised, of {}", megabytes(scale)))?;
        writeln!(f, "  {:>11}  {:>11}  {:>11}  {:>8}", "got", "promised", "at most", "fairness")?;
        for reached in self.0 {
            let (promise, rate) = (&reached.promise, reached.rate());
            write!(f, "  {:<6}  {}", promise.to, bar(rate, promise.least as f64, scale))?;
            let [least, most] = [promise.least, promise.most].map(|bytes| megabytes(bytes as f64));
            let fairness = reached.fairness().map_or("-".to_owned(), |index| format!("{index:.3}"));
            writeln!(f, "  {:>11}  {least:>11}  {most:>11}  {fairness:>8}", megabytes(rate))?;
        }
        let each = self.0.first().map_or(0, |reached| reached.shares.len());
        writeln!(
            f,
            "  fairness: Jain's index; 1 if all connections of a tenant got the same, 1/{each} if one got all"
        )
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB/s", bytes / 1e6)
}

/// A bar for `rate`, with a mark at what was promised.
fn bar(rate: f64, promised: f64, scale: f64) -> String {
    let cell = |part: f64| (part / scale * CELLS as f64).round() as usize;
    let (full, mark) = (cell(rate), cell(promised).clamp(1, CELLS) - 1);
    let cells = (0..CELLS).map(|at| match at {
        _ if at == mark => '|',
        _ if at < full => '#',
        _ => '.',
    });
    cells.collect()
}

/// The heading above [`Line`]s.
pub(super) fn heading(reached: &[Reached]) -> String {
    let names = reached.iter().map(|reached| format!("  {:>11}", reached.promise.to));
    format!("  {:>7}{}   MB/s of that time", "time", names.collect::<String>())
}

/// What each group got in one interval, on one line.
#[derive(Debug)]
pub(super) struct Line {
    at: Duration,
    /// Bytes per second, of each.
    rates: Vec<f64>,
}

impl Line {
    /// Of the time between two moments; the second was `at` this one.
    pub(super) fn between(earlier: &[Reached], now: &[Reached], at: Duration) -> Self {
        let rate = |(then, now): (&Reached, &Reached)| {
            let seconds = now.elapsed.saturating_sub(then.elapsed).as_secs_f64();
            now.bytes.saturating_sub(then.bytes) as f64 / seconds.max(1e-9)
        };
        Self { at, rates: earlier.iter().zip(now).map(rate).collect() }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:>5.1} s", self.at.as_secs_f64())?;
        self.rates.iter().try_for_each(|rate| write!(f, "  {:>11.1}", rate / 1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::promise::Promise, *};

    #[test]
    fn all_bars_have_the_scale_of_the_greatest_limit() {
        let elapsed = Duration::from_millis(980);
        let reached = |to, most: u64, shares| Reached {
            promise: Promise { to, least: most, most },
            elapsed,
            wanted: elapsed,
            // With the first tick, all that there may be.
            bytes: most,
            shares,
        };
        let all = [reached("bronze", 5_000_000, vec![3, 3]), reached("site", 20_000_000, vec![])];
        assert_eq!(
            Bars(&all).to_string(),
            "          | promised, of 20.0 MB/s                  got     promised      at most  fairness\n\
             \u{20} bronze  #######|........................     5.0 MB/s     5.0 MB/s     5.0 MB/s     1.000\n\
             \u{20} site    ###############################|    20.0 MB/s    20.0 MB/s    20.0 MB/s         -\n\
             \u{20} fairness: Jain's index; 1 if all connections of a tenant got the same, 1/2 if one got all\n"
        );
    }

    #[test]
    fn a_bar_is_as_full_as_the_rate_and_marks_what_was_promised() {
        assert_eq!(bar(0.0, 12.0, 16.0), ".......................|........");
        assert_eq!(bar(8.0, 12.0, 16.0), "################.......|........");
        assert_eq!(bar(16.0, 16.0, 16.0), "###############################|");
        assert_eq!(bar(99.0, 0.0, 16.0), "|###############################");
    }
}
