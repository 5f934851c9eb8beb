//! What a load came to.

use std::io;
use std::time::Duration;

use super::Plan;
use super::tally::Tally;
use crate::json::{Object, find_number};

/// What a load came to. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Completed requests, or whole blocks of a stream.
    pub requests: f64,
    /// Payload bytes in one direction.
    pub bytes: f64,
    /// Connections lost, requests unanswered, replies that differ from the request.
    pub errors: f64,
    /// Median latency: request to reply, connect to reply, or block to block of one connection.
    pub p50: f64,
    /// 99th percentile of it.
    pub p99: f64,
    /// 99.9th percentile of it.
    pub p999: f64,
    /// Longest.
    pub max: f64,
    /// Time from the first request to the last reply.
    pub elapsed: f64,
    /// The client's own CPU time over that.
    pub cpu: f64,
    /// The line itself.
    pub line: String,
}

impl Report {
    pub(super) fn new(plan: &Plan, tally: &Tally, elapsed: Duration, cpu: u64) -> Self {
        let requests =
            if plan.mode.is_request() { tally.requests } else { tally.bytes / plan.size.max(1) as u64 };
        let line = Object::new()
            .text("mode", plan.mode.name())
            .count("connections", plan.connections as u64)
            .count("size", plan.size as u64)
            .count("requests", requests)
            .count("bytes", tally.bytes)
            .count("errors", tally.errors)
            .count("p50_ns", tally.percentile(50.0))
            .count("p99_ns", tally.percentile(99.0))
            .count("p999_ns", tally.percentile(99.9))
            .count("max_ns", tally.percentile(100.0))
            .count("elapsed_ns", u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
            .count("cpu_ns", cpu)
            .finish();
        Self {
            requests: requests as f64,
            bytes: tally.bytes as f64,
            errors: tally.errors as f64,
            p50: tally.percentile(50.0) as f64,
            p99: tally.percentile(99.0) as f64,
            p999: tally.percentile(99.9) as f64,
            max: tally.percentile(100.0) as f64,
            elapsed: elapsed.as_nanos() as f64,
            cpu: cpu as f64,
            line,
        }
    }

    /// Reads the line that `drive` prints.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if a number is missing.
    pub fn parse(line: &str) -> io::Result<Self> {
        let number = |key| {
            find_number(line, key).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("no {key} in the client's report {line:?}"),
                )
            })
        };
        Ok(Self {
            requests: number("requests")?,
            bytes: number("bytes")?,
            errors: number("errors")?,
            p50: number("p50_ns")?,
            p99: number("p99_ns")?,
            p999: number("p999_ns")?,
            max: number("max_ns")?,
            elapsed: number("elapsed_ns")?,
            cpu: number("cpu_ns")?,
            line: line.trim().to_owned(),
        })
    }
}
