//! What a load came to, for people and for machines.

use std::{fmt, time::Duration};

use super::{Handshakes, Totals, engine::Finished};
use crate::{
    args::{Load, Mode},
    json::Object,
    units,
};

/// What a load came to.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) load: &'a Load,
    /// How long it was measured.
    pub(super) elapsed: Duration,
    /// What was counted in that time.
    pub(super) measured: &'a Totals,
    pub(super) ended: &'a Finished,
}

impl Report<'_> {
    fn per_second(&self, n: u64) -> f64 {
        n as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Rates are per second.
    pub(super) fn json(&self) -> String {
        let Self { load, measured, ended, .. } = self;
        let latencies = &ended.latencies;
        Object::default()
            .text("mode", load.mode.name())
            .count("connections", load.connections)
            .count("connected", ended.connected as u64)
            .count("tls_handshakes", ended.handshakes.all as u64)
            .count("tls_resumed", ended.handshakes.resumed as u64)
            .count("size_bytes", load.size as u64)
            .seconds("seconds", self.elapsed)
            .count("requests", measured.requests)
            .count("bytes", measured.bytes)
            .rate("requests_per_second", self.per_second(measured.requests))
            .rate("bytes_per_second", self.per_second(measured.bytes))
            .micros("p50_us", latencies.percentile(50.0))
            .micros("p99_us", latencies.percentile(99.0))
            .micros("p999_us", latencies.percentile(99.9))
            .micros("max_us", latencies.max())
            .count("unanswered", ended.unanswered.count)
            .micros("oldest_unanswered_us", ended.unanswered.oldest)
            .count("cut_off", ended.cut_off)
            .count("errors", ended.errors)
            .count("wrong_bytes", ended.wrong_bytes)
            .finish()
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, measured, ended, .. } = self;
        let latencies = &ended.latencies;
        writeln!(
            f,
            "{} at {}: {}, {} a request, {}{}",
            load.mode.name(),
            load.connect,
            units::counted(ended.connected as u64, "connection"),
            units::bytes(load.size as u64),
            units::time(self.elapsed),
            if ended.interrupted { ", interrupted" } else { "" }
        )?;
        if load.tls {
            let Handshakes { all, resumed } = ended.handshakes;
            let (all, resumed) = (units::count(all as u64), units::count(resumed as u64));
            writeln!(f, "  handshakes  {all}, {resumed} of them resumed")?;
        }
        writeln!(
            f,
            "  requests    {}  ({}/s)",
            units::count(measured.requests),
            units::count(self.per_second(measured.requests) as u64)
        )?;
        let bytes = self.per_second(measured.bytes) as u64;
        writeln!(f, "  bytes       {}  ({}/s)", units::bytes(measured.bytes), units::bytes(bytes))?;
        writeln!(
            f,
            "  latency     p50 {}   p99 {}   p99.9 {}   max {}",
            units::time(latencies.percentile(50.0)),
            units::time(latencies.percentile(99.0)),
            units::time(latencies.percentile(99.9)),
            units::time(latencies.max())
        )?;
        write!(f, "  unanswered  {}", units::count(ended.unanswered.count))?;
        if let Some(oldest) = ended.unanswered.oldest {
            write!(f, " at the end, the oldest for {}", units::time(oldest))?;
        }
        match ended.cut_off {
            0 => writeln!(f)?,
            cut_off => writeln!(f, "; {} cut off while being answered", units::count(cut_off))?,
        }
        writeln!(f, "  errors      {}", units::count(ended.errors))?;
        let came = match load.mode {
            Mode::Echo => "came back",
            Mode::Source => "came",
            Mode::Sink => return Ok(()),
        };
        match ended.wrong_bytes {
            0 => writeln!(f, "  checked     {} {came} in place", units::bytes(ended.totals.received)),
            wrong => writeln!(f, "  checked     {}", units::counted(wrong, "wrong byte")),
        }
    }
}
