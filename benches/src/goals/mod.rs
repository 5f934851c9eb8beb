//! The speed goals, one row each: goal, measured, verdict.
//!
//! The list is what `README.md` explains; each goal's experiments are one function. Here are those that are measured
//! from outside: their subject is `bev`, or the yardstick in its place to see what the machine's scatter alone makes of
//! every goal. `inside` has those that run in this process, `criterion` those that `cargo bench` measures.

mod criterion;
mod inside;

use std::io;
use std::time::Duration;

use crate::Mode;
use crate::compare::cpu::{self, Run, Series};
use crate::compare::stats::Spread;
use crate::compare::{Bench, Load, Server, instructions, instructions::Within, memory, syscalls};
use crate::drive::Limit;
use crate::json::Object;

/// How much to measure, and on whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is measured against the yardstick.
    pub subject: Subject,
    /// Rounds of every experiment that takes time.
    pub rounds: usize,
    /// Turns of each side in a round.
    pub slices: usize,
    /// R of those that count.
    pub requests: u64,
}

/// Who is measured against the yardstick.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The program `bev` at this path.
    Bev(String),
    /// The yardstick itself: every ratio should be 1.
    Yard,
}

/// One row of the result.
#[derive(Clone, Debug)]
pub struct Row {
    /// The goal's number.
    pub goal: u8,
    /// What was measured.
    pub what: String,
    /// What it came to.
    pub measured: Spread,
    /// What it has to be.
    pub bound: Bound,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// A row's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The median is within the limit, and so are three quarters of the rounds.
    Pass,
    /// The median is within the limit, but more than a quarter of the rounds is not.
    LikelyPass,
    /// The median is beyond the limit, but at least a quarter of the rounds is not.
    LikelyFail,
    /// Three quarters of the rounds are beyond the limit.
    Fail,
}

/// The goals this module knows.
pub const KNOWN: [u8; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16, 17, 18, 19, 20];

/// Reports whether `goal` is measured on a server of its own process.
pub fn needs_server(goal: u8) -> bool {
    goal <= 10
}

/// Measures `goal` and returns its rows; none for a goal this module does not know, or whose tool is missing.
///
/// Goals 4 and 5 are two views of the same runs: either returns the rows of both.
pub fn measure(bench: &Bench, settings: &Settings, goal: u8) -> io::Result<Vec<Row>> {
    let lab = Lab { bench, settings, goal };
    match goal {
        1 => lab.echo_cpu(&[64], Threads::ONE, 1.05),
        2 => lab.system_calls(),
        3 => lab.user_instructions(),
        4 | 5 => lab.many_connections(),
        6 => lab.echo_cpu(&[64, 1_000], Threads::TWO, 1.10),
        7 => lab.bulk(),
        8 => lab.churn(),
        9 => lab.idle_memory(),
        10 => lab.tls_cost(),
        _ if matches!(settings.subject, Subject::Yard) => Ok(Vec::new()),
        13 => lab.unbinding_group(),
        16 => Ok([inside::wake(settings)?, criterion::rows(bench, goal)?].concat()),
        20 => inside::skew(settings),
        _ => criterion::rows(bench, goal),
    }
}

impl Row {
    /// Judges the row.
    pub fn verdict(&self) -> Verdict {
        let Spread { low, median, high, .. } = self.measured;
        let (best, worst) = match self.bound {
            Bound::AtMost(_) => (low, high),
            Bound::AtLeast(_) => (high, low),
        };
        match (self.bound.holds(median), self.bound.holds(worst), self.bound.holds(best)) {
            (true, true, _) => Verdict::Pass,
            (true, false, _) => Verdict::LikelyPass,
            (false, _, true) => Verdict::LikelyFail,
            (false, _, false) => Verdict::Fail,
        }
    }

    /// Returns the row as a JSON object.
    pub fn to_json(&self) -> String {
        Object::new()
            .count("goal", u64::from(self.goal))
            .text("what", &self.what)
            .number("measured", self.measured.median)
            .numbers("quartiles", &[self.measured.low, self.measured.high])
            .text("bound", self.bound.sign())
            .number("limit", self.bound.limit())
            .text("verdict", self.verdict().name())
            .finish()
    }
}

impl Bound {
    /// Returns the number.
    pub fn limit(self) -> f64 {
        match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => limit,
        }
    }

    /// Returns the sign that tables show before the number.
    pub fn sign(self) -> &'static str {
        match self {
            Self::AtMost(_) => "<=",
            Self::AtLeast(_) => ">=",
        }
    }

    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }
}

impl Verdict {
    /// Returns the word that tables show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::LikelyPass => "pass?",
            Self::LikelyFail => "fail?",
            Self::Fail => "FAIL",
        }
    }
}

/// One goal's experiments.
struct Lab<'a> {
    bench: &'a Bench,
    settings: &'a Settings,
    goal: u8,
}

/// How wide yardstick and subject run.
#[derive(Clone, Copy)]
struct Threads {
    yard: usize,
    /// Flags of `bev`.
    bev: &'static str,
}

impl Threads {
    const ONE: Self = Self { yard: 1, bev: "--workers 1 --bases 1" };
    const ONE_SHARED: Self = Self { yard: 1, bev: "--workers 1 --bases 1 --threadsafe" };
    const TWO: Self = Self { yard: 2, bev: "--workers 2 --bases 2 --threadsafe" };
}

impl Lab<'_> {
    fn echo_cpu(&self, connections: &[usize], threads: Threads, limit: f64) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for &count in connections {
            let ratio = self.compare(threads, &self.echo(count))?.ratio(|run| run.server_cpu);
            rows.push(self.row(format!("CPU per echo, {count} connections, / yard"), ratio, limit));
        }
        Ok(rows)
    }

    fn many_connections(&self) -> io::Result<Vec<Row>> {
        let (mut latency, mut cpu) = (Vec::new(), Vec::new());
        for count in [1_000, 10_000] {
            let pair = self.compare(Threads::ONE, &self.echo(count))?;
            let of = |goal, what: &str, measured, limit| {
                let what = what.replace('#', &count.to_string());
                Row { goal, what, measured, bound: Bound::AtMost(limit) }
            };
            let tail = pair.subject.spread(|run| run.p99 / run.p50);
            let yards = pair.yard.spread(|run| run.p99 / run.p50).median;
            latency.push(of(4, &format!("p99 / p50, # connections (yard: {yards:.2})"), tail, 2.0));
            latency.push(of(4, "p99, # connections, / yard", pair.ratio(|run| run.p99), 1.10));
            cpu.push(of(5, "CPU per echo, # connections, / yard", pair.ratio(|run| run.server_cpu), 1.05));
        }
        latency.append(&mut cpu);
        Ok(latency)
    }

    fn bulk(&self) -> io::Result<Vec<Row>> {
        let load = |mode| Load { mode, connections: 8, size: 64 * 1024, ..self.echo(0) };
        let sink = self.compare(Threads::ONE, &load(Mode::Sink))?.ratio(|run| run.server_cpu);
        let source = self.compare(Threads::ONE, &load(Mode::Source))?.ratio(|run| run.total_cpu);
        Ok(vec![
            self.row("sink: CPU per byte, / yard".to_owned(), sink, 1.05),
            self.row("source: server's and client's CPU per byte, / yard".to_owned(), source, 1.10),
        ])
    }

    fn churn(&self) -> io::Result<Vec<Row>> {
        // A fixed number: every closed connection keeps a port of ours for a minute.
        let load = Load { mode: Mode::Churn, limit: Limit::Requests(CHURNED), ..self.echo(64) };
        let ratio = self.compare(Threads::ONE, &load)?.ratio(|run| run.server_cpu);
        Ok(vec![self.row("CPU per connection with one echo, / yard".to_owned(), ratio, 1.08)])
    }

    fn system_calls(&self) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (connections, tls) in [(64, false), (1, false), (64, true)] {
            let load = Load { tls, ..self.echo(connections) };
            let count =
                |server: &Server| syscalls::measure(self.bench, server, &load, self.settings.requests);
            let Some(yard) = count(&self.yard(Threads::ONE, &load)?)? else { return Ok(rows) };
            let Some(subject) = count(&self.subject(Threads::ONE, &load)?)? else { return Ok(rows) };
            let over = if tls { ", TLS" } else { "" };
            let mut add = |what: &str, measured: f64, limit: f64| {
                rows.push(self.row(
                    format!("{what}, {connections} connections{over}"),
                    once(measured),
                    limit,
                ));
            };
            let limit = match (connections, tls) {
                (_, true) => 2.3,
                (1, _) => 3.0,
                _ => yard.total() + 0.1,
            };
            add("system calls per echo", subject.total(), limit + ROUNDING);
            add("receiving calls", subject.of(&["recvfrom", "recvmsg", "read", "readv"]), 1.0 + ROUNDING);
            add("sending calls", subject.of(&["sendto", "sendmsg", "write", "writev"]), 1.0 + ROUNDING);
            add("waiting calls", subject.waits(), yard.waits() + WAITING);
            add("epoll_ctl and ioctl", subject.of(&["epoll_ctl", "ioctl"]), ROUNDING);
        }
        Ok(rows)
    }

    fn user_instructions(&self) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (what, threads, tls, limit) in [
            ("confined", Threads::ONE, false, 600.0),
            ("THREADSAFE", Threads::ONE_SHARED, false, 900.0),
            ("TLS", Threads::ONE, true, 15_000.0),
        ] {
            let load = Load { tls, ..self.echo(64) };
            let Some(each) = self.instructions(&self.subject(threads, &load)?, &load)? else {
                return Ok(rows);
            };
            rows.push(self.row(format!("user instructions per echo, {what}"), once(each), limit));
        }
        Ok(rows)
    }

    fn instructions(&self, server: &Server, load: &Load) -> io::Result<Option<f64>> {
        // A handshake is a hundred echoes.
        let requests = match load.mode {
            Mode::Churn => self.settings.requests.div_ceil(20),
            _ => self.settings.requests,
        };
        self.instructions_within(server, load, requests, Within::All)
    }

    fn instructions_within(
        &self,
        server: &Server,
        load: &Load,
        requests: u64,
        within: Within,
    ) -> io::Result<Option<f64>> {
        let counted = instructions::measure(self.bench, server, load, requests, within)?;
        Ok(counted.map(|count| count.each))
    }

    fn tls_cost(&self) -> io::Result<Vec<Row>> {
        let echo = Load { tls: true, ..self.echo(64) };
        let cpu = self.compare(Threads::ONE, &echo)?.ratio(|run| run.server_cpu);
        let mut rows = vec![self.row("TLS: CPU per echo, 64 connections, / yard".to_owned(), cpu, 1.05)];
        let churn = Load { mode: Mode::Churn, ..echo };
        for (what, load) in [("echo", &echo), ("connection, full handshake", &churn)] {
            let Some(yard) = self.instructions(&self.yard(Threads::ONE, load)?, load)? else { break };
            let Some(subject) = self.instructions(&self.subject(Threads::ONE, load)?, load)? else { break };
            let what = format!("TLS: user instructions per {what}, / yard ({yard:.0})");
            let limit = if load.mode == Mode::Churn { 1.02 } else { 1.05 };
            rows.push(self.row(what, once(subject / yard), limit));
        }
        Ok(rows)
    }

    /// A program of ours serves: `bev` is not needed. What a run takes more in a group, over what an echo takes in all without:
    /// batches, wakes, watches and steals differ between runs by more than that, and are none of the group's doing.
    fn unbinding_group(&self) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (bases, runs) in [(1, "*Confined<*>::run"), (2, "*Stack*Body>::run")] {
            let count = |group: &str, within| {
                let words = format!(
                    "limits={{bin}}/limits echo --listen {{addr}} --bases {bases} --tick {SLOW_TICK} {group}"
                );
                let (server, load) = (Server::parse(&words)?, self.echo(64));
                self.instructions_within(&server, &load, self.settings.requests, within)
            };
            let Some(echo) = count("", Within::All)? else { return Ok(rows) };
            let mut ratios = Vec::new();
            for _ in 0..GROUP_ROUNDS {
                let run = |group| count(group, Within::Functions(runs));
                if let (Some(group), Some(free)) = (run("--group")?, run("")?) {
                    ratios.push(1.0 + (group - free) / echo);
                }
            }
            let what = format!("user instructions per echo in a group, / without ({echo:.0}), {bases} bases");
            rows.push(self.row(what, Spread::of(ratios), 1.02));
        }
        Ok(rows)
    }

    fn idle_memory(&self) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (what, tls, connections, limit) in [("", false, 10_000, 0.6), (", TLS", true, 5_000, 15.5)] {
            let server = self.subject(Threads::ONE, &Load { tls, ..self.echo(connections) })?;
            let usage = memory::measure(self.bench, &server, tls, connections, ECHO_SIZE)?;
            rows.push(self.row(format!("KiB resident per idle connection{what}"), once(usage.rss), limit));
        }
        Ok(rows)
    }

    fn compare(&self, threads: Threads, load: &Load) -> io::Result<Pair> {
        let servers = [self.yard(threads, load)?, self.subject(threads, load)?];
        let Settings { rounds, slices, .. } = *self.settings;
        // Long slices need not be as many.
        let slices = if load.connections > 500 { slices.div_ceil(4) } else { slices };
        let mut both = cpu::measure(self.bench, &servers, load, rounds, slices, |_| {})?.into_iter();
        let (Some(yard), Some(subject)) = (both.next(), both.next()) else {
            return Err(io::Error::other("a server was not measured"));
        };
        let errors = yard.errors() + subject.errors();
        if errors > 0.0 {
            return Err(io::Error::other(format!("{errors} errors under load")));
        }
        Ok(Pair { yard, subject })
    }

    fn echo(&self, connections: usize) -> Load {
        Load {
            mode: Mode::Echo,
            tls: false,
            connections,
            size: ECHO_SIZE,
            limit: Limit::Time(slice(connections)),
            warmup: WARMUP,
        }
    }

    fn yard(&self, threads: Threads, load: &Load) -> io::Result<Server> {
        let tls = if load.tls { "--tls" } else { "" };
        let words = format!("yard={{bin}}/yard {{mode}} --listen {{addr}} --threads {} {tls}", threads.yard);
        Server::parse(&words)
    }

    fn subject(&self, threads: Threads, load: &Load) -> io::Result<Server> {
        match &self.settings.subject {
            Subject::Yard => self.yard(threads, load),
            Subject::Bev(path) => {
                let tls = if load.tls { "--self-signed" } else { "" };
                let mut server = Server::parse(&format!(
                    "bev=bev {{mode}} --listen {{addr}} --idle none --memory none {} {tls}",
                    threads.bev
                ))?;
                server.command[0].clone_from(path);
                Ok(server)
            }
        }
    }

    fn row(&self, what: String, measured: Spread, limit: f64) -> Row {
        Row { goal: self.goal, what, measured, bound: Bound::AtMost(limit) }
    }
}

/// Both sides of an experiment.
struct Pair {
    yard: Series,
    subject: Series,
}

impl Pair {
    fn ratio(&self, figure: impl Fn(&Run) -> f64) -> Spread {
        self.subject.ratio(&self.yard, figure)
    }
}

/// Returns the length of a slice: ten latencies at least must fit in.
fn slice(connections: usize) -> Duration {
    Duration::from_millis(match connections {
        0..=500 => 100,
        501..=5_000 => 400,
        _ => 2_000,
    })
}

fn once(value: f64) -> Spread {
    Spread::of([value])
}

const ECHO_SIZE: usize = 64;
const CHURNED: u64 = 1_000;
const WARMUP: Duration = Duration::from_millis(200);
const GROUP_ROUNDS: usize = 5;
/// Seconds: one, in a program that callgrind makes some fifty times slower. In these there go as many echoes to a tick as else.
const SLOW_TICK: u64 = 50;
/// A count per operation that differs by less is the same.
const ROUNDING: f64 = 0.005;
/// How much the waits per operation differ from run to run.
const WAITING: f64 = 0.010;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_when_the_rounds_disagree() {
        let verdict = |values: [f64; 5], bound| {
            Row { goal: 1, what: String::new(), measured: Spread::of(values), bound }.verdict()
        };
        for (values, expected) in [
            ([1.0, 1.01, 1.02, 1.03, 1.2], Verdict::Pass),
            ([1.0, 1.01, 1.02, 1.1, 1.2], Verdict::LikelyPass),
            ([1.0, 1.01, 1.06, 1.1, 1.2], Verdict::LikelyFail),
            ([1.0, 1.06, 1.07, 1.1, 1.2], Verdict::Fail),
        ] {
            assert_eq!(verdict(values, Bound::AtMost(1.05)), expected);
            assert_eq!(verdict(values.map(|value| -value), Bound::AtLeast(-1.05)), expected);
        }
    }
}
