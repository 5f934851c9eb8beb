//! The load generator: closed-loop clients on bufferevents of their own.
//!
//! An [`Engine`] connects, lets each connection make one request after the other, and ends them; what it counts is in
//! [`Totals`]. [`run`] is the program `bev load` around it.

mod board;
mod client;
mod engine;
mod report;
mod tally;

use std::{
    io::{self, Write as _},
    time::Duration,
};

use bufferevent::Runtime;
use indicatif::{ProgressBar, ProgressStyle};

use self::report::Report;
pub(crate) use self::{
    board::Handshakes,
    engine::{Engine, Finished, Plan},
    tally::{Latencies, Totals},
};
use crate::{args, failure::Failure, limits, units};

/// Descriptors that are not connections: selectors, the standard streams, and some to spare.
const OTHER_FILES: u64 = 64;

/// How long an answer may take after the end: twice what the slowest did, but within these.
const LAST_ANSWERS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// Puts load on a server, and prints what came of it.
pub(crate) fn run(load: &args::Load) -> Result<(), Failure> {
    check_files(load.connections)?;
    let mut builder = Runtime::builder();
    if let Some(workers) = load.workers {
        builder = builder.workers(workers as usize);
    }
    let plan = Plan {
        // A name is looked up once, for all connections.
        servers: vec![load.connect.resolve()?],
        mode: load.mode,
        connections: load.connections as usize,
        sizes: vec![load.size],
        connect_timeout: load.connect_timeout,
        tls: load.tls.then(|| load.trust.secured(&load.connect)).transpose()?.map(|(secured, _)| secured),
    };
    let engine = Engine::start(builder.build().map_err(Failure::runtime)?, plan)?;
    let line = progress(load);
    if engine.connect()? == 0 && !engine.is_interrupted() {
        let why = engine.finish(Duration::ZERO)?.first_error.unwrap_or_default();
        return Err(Failure::of(format_args!("cannot connect to {}", load.connect), why));
    }
    engine.begin()?;
    let elapsed = engine.wait(load.duration, |elapsed| {
        let totals = engine.totals();
        let rate = totals.bytes as f64 / elapsed.as_secs_f64();
        line.set_position(elapsed.as_millis() as u64);
        line.set_message(format!(
            "{} requests, {}/s",
            units::count(totals.requests),
            units::bytes(rate as u64)
        ));
    });
    let measured = engine.totals();
    line.finish_and_clear();
    let slowest = measured.latencies.max().unwrap_or_default();
    let ended = engine.finish((2 * slowest).clamp(LAST_ANSWERS.0, LAST_ANSWERS.1))?;
    let report = Report { load, elapsed, measured: &measured, ended: &ended };
    let text = if load.json { report.json() + "\n" } else { report.to_string() };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::output)?;
    ended.result()
}

fn check_files(connections: u64) -> Result<(), Failure> {
    match limits::raise_open_files() {
        Some(limit) if connections + OTHER_FILES > limit => Err(Failure::Failed(format!(
            "{} need {} open files and the limit is {limit}",
            units::counted(connections, "connection"),
            connections + OTHER_FILES
        ))),
        _ => Ok(()),
    }
}

/// A line on a terminal's stderr; hidden where there is none, and when JSON was asked for.
fn progress(load: &args::Load) -> ProgressBar {
    if load.json {
        return ProgressBar::hidden();
    }
    let line = ProgressBar::new(load.duration.as_millis() as u64);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{bar:24}] {msg}") {
        line.set_style(style);
    }
    line
}
