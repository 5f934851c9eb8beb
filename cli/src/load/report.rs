//! What a load came to, for people and for machines.

use std::{fmt, time::Duration};

use super::{Handshakes, Totals, engine::Finished};
use crate::{
    args::{Load, Mode},
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

    /// One flat object on one line. Rates are per second, latencies in microseconds.
    pub(super) fn json(&self) -> String {
        let latencies = &self.ended.latencies;
        let micros = |latency: Option<Duration>| match latency {
            Some(latency) => format!("{:.1}", latency.as_nanos() as f64 / 1e3),
            None => "null".to_owned(),
        };
        let fields = [
            ("mode", format!("\"{}\"", self.load.mode.name())),
            ("connections", self.load.connections.to_string()),
            ("connected", self.ended.connected.to_string()),
            ("tls_handshakes", self.ended.handshakes.all.to_string()),
            ("tls_resumed", self.ended.handshakes.resumed.to_string()),
            ("size", self.load.size.to_string()),
            ("seconds", format!("{:.3}", self.elapsed.as_secs_f64())),
            ("requests", self.measured.requests.to_string()),
            ("bytes", self.measured.bytes.to_string()),
            ("requests_per_second", format!("{:.1}", self.per_second(self.measured.requests))),
            ("bytes_per_second", format!("{:.1}", self.per_second(self.measured.bytes))),
            ("p50_us", micros(latencies.percentile(50.0))),
            ("p99_us", micros(latencies.percentile(99.0))),
            ("p999_us", micros(latencies.percentile(99.9))),
            ("max_us", micros(latencies.max())),
            ("unanswered", self.ended.unanswered.count.to_string()),
            ("oldest_unanswered_us", micros(self.ended.unanswered.oldest)),
            ("cut_off", self.ended.cut_off.to_string()),
            ("errors", self.ended.errors.to_string()),
            ("wrong_bytes", self.ended.wrong_bytes.to_string()),
        ];
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
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
