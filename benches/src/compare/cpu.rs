//! CPU time per operation and latency, in interleaved rounds.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::process::CpuTime;
use super::program::{Listening, Ready};
use super::stats::Spread;
use super::{Bench, Load, Server};
use crate::json::Object;

/// One server under one load, once. Times are in nanoseconds.
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

/// Runs every server once a round, every other round in reverse order.
///
/// * `progress` is told what is being run.
pub fn measure(
    bench: &Bench,
    servers: &[Server],
    load: &Load,
    rounds: usize,
    mut progress: impl FnMut(&str),
) -> io::Result<Vec<Series>> {
    let mut all: Vec<Series> =
        servers.iter().map(|server| Series { name: server.name.clone(), runs: Vec::new() }).collect();
    for round in 0..rounds {
        for place in 0..servers.len() {
            let index = if round % 2 == 0 { place } else { servers.len() - 1 - place };
            progress(&format!("round {} of {rounds}: {}", round + 1, servers[index].name));
            all[index].runs.push(run(bench, &servers[index], load)?);
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

fn run(bench: &Bench, server: &Server, load: &Load) -> io::Result<Run> {
    let listening = Listening::start(bench, server, load.mode, &[])?;
    let mut client = Ready::start(bench, &listening, load)?;
    // A source has filled the kernel's buffers by now and fills them again below, a sink has emptied them: what the
    // client counted is what the server moved.
    sleep(SETTLE);
    let before = CpuTime::of(listening.pid())?;
    let report = client.load()?;
    sleep(SETTLE);
    let cpu = CpuTime::of(listening.pid())?.since(before);
    client.close()?;
    listening.stop()?;
    Ok(Run {
        server_cpu: cpu / report.requests,
        total_cpu: (cpu + report.cpu) / report.requests,
        rate: report.requests / report.elapsed * 1e9,
        p50: report.p50,
        p99: report.p99,
        p999: report.p999,
        errors: report.errors,
    })
}

const SETTLE: Duration = Duration::from_millis(50);
