//! What the tenants get, as text.

use std::{fmt, time::Duration};

use super::promise::Reached;

/// Cells of a bar: as long as the limit.
const CELLS: usize = 32;

/// What each group gets in a second, beside what it was promised.
#[derive(Debug)]
pub(super) struct Bars<'a> {
    reached: &'a [Reached],
    /// Bytes per second, of each.
    rates: Vec<f64>,
}

impl<'a> Bars<'a> {
    /// Of all the time.
    pub(super) fn whole(reached: &'a [Reached]) -> Self {
        let rate = |reached: &Reached| reached.bytes as f64 / reached.elapsed.as_secs_f64().max(1e-9);
        Self { reached, rates: reached.iter().map(rate).collect() }
    }

    /// Of the time between two moments.
    pub(super) fn between(earlier: &[Reached], now: &'a [Reached]) -> Self {
        let rate = |(then, now): (&Reached, &Reached)| {
            let seconds = now.elapsed.saturating_sub(then.elapsed).as_secs_f64();
            now.bytes.saturating_sub(then.bytes) as f64 / seconds.max(1e-9)
        };
        Self { reached: now, rates: earlier.iter().zip(now).map(rate).collect() }
    }
}

impl fmt::Display for Bars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<6}  {:<CELLS$}", "", "| is what was promised")?;
        writeln!(f, "  {:>11}  {:>11}  {:>11}  {:>8}", "got", "promised", "at most", "fairness")?;
        for (reached, rate) in self.reached.iter().zip(&self.rates) {
            let (promise, megabytes) = (&reached.promise, |bytes: f64| format!("{:.1} MB/s", bytes / 1e6));
            write!(f, "  {:<6}  {}", promise.to, bar(*rate, promise.least as f64, promise.most as f64))?;
            let [least, most] = [promise.least, promise.most].map(|bytes| megabytes(bytes as f64));
            let fairness = reached.fairness().map_or("-".to_owned(), |index| format!("{index:.3}"));
            writeln!(f, "  {:>11}  {least:>11}  {most:>11}  {fairness:>8}", megabytes(*rate))?;
        }
        Ok(())
    }
}

/// A bar for `rate`, with a mark at what was promised.
fn bar(rate: f64, promised: f64, most: f64) -> String {
    let cell = |part: f64| (part / most * CELLS as f64).round() as usize;
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
    format!("  {:>7}{}   MB/s", "time", names.collect::<String>())
}

/// One interval on one line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) at: Duration,
    pub(super) bars: &'a Bars<'a>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:>5.1} s", self.at.as_secs_f64())?;
        self.bars.rates.iter().try_for_each(|rate| write!(f, "  {:>11.1}", rate / 1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_rate_and_marks_what_was_promised() {
        assert_eq!(bar(0.0, 12.0, 16.0), ".......................|........");
        assert_eq!(bar(8.0, 12.0, 16.0), "################.......|........");
        assert_eq!(bar(16.0, 16.0, 16.0), "###############################|");
        assert_eq!(bar(99.0, 0.0, 16.0), "|###############################");
    }
}
