//! The demo's lines, as text.

use std::{fmt, time::Duration};

use super::{
    sample::{Row, Sample},
    traffic::Traffic,
};
use crate::units;

/// The table of the bases.
#[derive(Debug)]
pub(super) struct Bases<'a> {
    pub(super) sample: &'a Sample,
    /// The time the sample spans.
    pub(super) elapsed: Duration,
}

impl fmt::Display for Bases<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:>5}  {:>11}  {:>11}  {:>13}  {:>15}  {:>8}  {:>8}  {:>5}",
            "base", "connections", "events", "confined runs", "THREADSAFE runs", "steals", "helped", "busy"
        )?;
        for (index, row) in self.sample.rows.iter().enumerate() {
            self.row(f, &index.to_string(), row, 1)?;
        }
        self.row(f, "all", &self.sample.total(), self.sample.rows.len())
    }
}

impl Bases<'_> {
    fn row(&self, f: &mut fmt::Formatter<'_>, name: &str, row: &Row, workers: usize) -> fmt::Result {
        writeln!(
            f,
            "  {:>5}  {:>11}  {:>11}  {:>13}  {:>15}  {:>8}  {:>8}  {:>5}",
            name,
            units::count(row.connections),
            units::count(row.events),
            units::count(row.confined),
            units::count(row.strands),
            units::count(row.steals),
            units::count(row.helped),
            self.share(row.busy_nanos, workers)
        )
    }

    fn share(&self, busy_nanos: u64, workers: usize) -> String {
        if busy_nanos == 0 {
            return "-".to_owned();
        }
        let all = self.elapsed.as_nanos() as f64 * workers as f64;
        format!("{:.0} %", (100.0 * busy_nanos as f64 / all.max(1.0)).min(100.0))
    }
}

/// The heading above [`Line`]s.
pub(super) fn heading() -> String {
    format!(
        "  {:>7}  {:>11}  {:>9}  {:>8}  {:>8}  {:>9}",
        "time", "requests/s", "MB/s", "p50", "p99", "steals"
    )
}

/// One interval of traffic on one line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) traffic: &'a Traffic,
    /// Steals so far.
    pub(super) steals: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { at, requests_per_second, bytes_per_second, latencies } = self.traffic;
        write!(
            f,
            "  {:>5.1} s  {:>11}  {:>9.1}  {:>8}  {:>8}  {:>9}",
            at.as_secs_f64(),
            units::count(*requests_per_second as u64),
            bytes_per_second / 1e6,
            units::time(latencies.percentile(50.0)),
            units::time(latencies.percentile(99.0)),
            units::count(self.steals)
        )
    }
}
