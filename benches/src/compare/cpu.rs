//! CPU time per operation and latency, in interleaved rounds.
//!
//! A round starts every server and a client of each afresh. The clients then load their servers one after the other in
//! short slices, there and back again (A B B A A B B A), while the others idle. Shared machines change their speed
//! within a second, and slices of a tenth of that see to it that every server gets its part of fast and slow.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::process::CpuTime;
use super::program::{Listening, Ready};
use super::stats::Spread;
use super::{Bench, Load, Server};
use crate::Mode;
use crate::drive::Report;
use crate::json::Object;

/// One server in one round. Times are in nanoseconds; latencies are medians over the slices.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The server's CPU time per operation.
    pub server_cpu: f64,
    /// Server's and client's CPU time per operation.
    pub total_cpu: f64,
    /// Operations a second.
    pub rate: f64,
    /// Median latency.
    pub p50: f64,
    /// 99th percentile of it.
    pub p99: f64,
    /// 99.9th percentile of it.
    pub p999: f64,
    /// What the client counted as wrong.
    pub errors: f64,
}

/// One server over all rounds.
#[derive(Clone, Debug)]
pub struct Series {
    /// The server's name.
    pub name: String,
    /// One a round.
    pub runs: Vec<Run>,
}

/// Runs `rounds` rounds.
///
/// * `load.limit`: of one slice.
/// * `slices`: of each server in each round.
/// * `progress` is told which round is being run.
pub fn measure(
    bench: &Bench,
    servers: &[Server],
    load: &Load,
    rounds: usize,
    slices: usize,
    mut progress: impl FnMut(&str),
) -> io::Result<Vec<Series>> {
    let mut all: Vec<Series> =
        servers.iter().map(|server| Series { name: server.name.clone(), runs: Vec::new() }).collect();
    for round in 1..=rounds {
        progress(&format!("round {round} of {rounds}"));
        let mut pairs = Vec::with_capacity(servers.len());
        for server in servers {
            pairs.push(Pair::start(bench, server, load)?);
        }
        for slice in 0..slices {
            let reverse = slice % 2 == (round % 2);
            for place in 0..pairs.len() {
                let index = if reverse { pairs.len() - 1 - place } else { place };
                pairs[index].slice(load.mode)?;
            }
        }
        for (series, pair) in all.iter_mut().zip(pairs) {
            series.runs.push(pair.stop()?);
        }
    }
    Ok(all)
}

impl Series {
    /// Returns the spread of `figure` over the rounds.
    pub fn spread(&self, figure: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(figure))
    }

    /// Returns the spread of the ratio of `figure` to that of `base` in the same round.
    pub fn ratio(&self, base: &Self, figure: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().zip(&base.runs).map(|(run, other)| figure(run) / figure(other)))
    }

    /// Returns the errors of all rounds.
    pub fn errors(&self) -> f64 {
        self.runs.iter().map(|run| run.errors).sum()
    }

    /// Returns the series as a JSON object.
    pub fn to_json(&self, base: &Self) -> String {
        let list = |figure: fn(&Run) -> f64| self.runs.iter().map(figure).collect::<Vec<f64>>();
        Object::new()
            .text("name", &self.name)
            .number("cpu_ratio", self.ratio(base, |run| run.server_cpu).median)
            .number("total_cpu_ratio", self.ratio(base, |run| run.total_cpu).median)
            .number("p99_ratio", self.ratio(base, |run| run.p99).median)
            .number("p99_over_p50", self.spread(|run| run.p99 / run.p50).median)
            .number("errors", self.errors())
            .numbers("server_cpu_ns", &list(|run| run.server_cpu))
            .numbers("total_cpu_ns", &list(|run| run.total_cpu))
            .numbers("rate", &list(|run| run.rate))
            .numbers("p50_ns", &list(|run| run.p50))
            .numbers("p99_ns", &list(|run| run.p99))
            .numbers("p999_ns", &list(|run| run.p999))
            .finish()
    }
}

/// A server and its client.
struct Pair {
    server: Listening,
    client: Ready,
    slices: Vec<Report>,
    server_cpu: f64,
}

impl Pair {
    fn start(bench: &Bench, server: &Server, load: &Load) -> io::Result<Self> {
        let server = Listening::start(bench, server, load.mode, &[])?;
        let client = Ready::start(bench, &server, load)?;
        sleep(settling(load.mode));
        Ok(Self { server, client, slices: Vec::new(), server_cpu: 0.0 })
    }

    fn slice(&mut self, mode: Mode) -> io::Result<()> {
        let before = CpuTime::of(self.server.pid())?;
        self.slices.push(self.client.load()?);
        sleep(settling(mode));
        self.server_cpu += CpuTime::of(self.server.pid())?.since(before);
        Ok(())
    }

    fn stop(self) -> io::Result<Run> {
        self.client.close()?;
        self.server.stop()?;
        let sum = |figure: fn(&Report) -> f64| self.slices.iter().map(figure).sum::<f64>();
        let median = |figure: fn(&Report) -> f64| Spread::of(self.slices.iter().map(figure)).median;
        let requests = sum(|slice| slice.requests);
        Ok(Run {
            server_cpu: self.server_cpu / requests,
            total_cpu: (self.server_cpu + sum(|slice| slice.cpu)) / requests,
            rate: requests / sum(|slice| slice.elapsed) * 1e9,
            p50: median(|slice| slice.p50),
            p99: median(|slice| slice.p99),
            p999: median(|slice| slice.p999),
            errors: sum(|slice| slice.errors),
        })
    }
}

/// How long a server may still have work after its client was served.
///
/// Echoes are complete when the client is. A source has filled the kernel's buffers before a slice and fills them again
/// after it, a sink has emptied them, and after churn the last connections are closed: then what the client counted is
/// what the server moved.
fn settling(mode: Mode) -> Duration {
    Duration::from_millis(if mode == Mode::Echo { 2 } else { 30 })
}
