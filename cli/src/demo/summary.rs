//! What the demo came to.

use std::{fmt, time::Duration};

use crate::{
    load::{Finished, Handshakes, Totals},
    units,
};

/// The last lines of the demo.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    /// How long the traffic was measured.
    pub(super) elapsed: Duration,
    /// What was counted in that time.
    pub(super) measured: &'a Totals,
    pub(super) ended: &'a Finished,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elapsed, measured, ended } = self;
        let per_second = |n: u64| n as f64 / elapsed.as_secs_f64().max(1e-9);
        let latencies = &ended.latencies;
        writeln!(
            f,
            "  requests   {} in {} ({}/s)",
            units::count(measured.requests),
            units::time(*elapsed),
            units::count(per_second(measured.requests) as u64)
        )?;
        writeln!(f, "  echoed     {}/s each way", units::bytes(per_second(measured.bytes) as u64))?;
        writeln!(
            f,
            "  latency    p50 {}, p99 {}, p99.9 {}, with {} under way",
            units::time(latencies.percentile(50.0)),
            units::time(latencies.percentile(99.0)),
            units::time(latencies.percentile(99.9)),
            units::counted(ended.connected as u64, "request")
        )?;
        let Handshakes { all, resumed } = ended.handshakes;
        let all = units::counted(all as u64, "TLS handshake");
        writeln!(f, "  secured    {all}, {} of them resumed", units::count(resumed as u64))?;
        writeln!(f, "  checked    {}", units::bytes(ended.totals.received))?;
        write!(f, "  {}", self.verdict())
    }
}

impl Summary<'_> {
    fn verdict(&self) -> String {
        let Finished { totals, wrong_bytes, errors, .. } = self.ended;
        let lost = totals.sent.saturating_sub(totals.received);
        match (*wrong_bytes, lost, *errors) {
            (0, 0, 0) => "every byte came back in place".to_owned(),
            (0, 0, errors) => {
                format!("no byte was lost, and {} failed", units::counted(errors, "connection"))
            }
            (wrong, lost, _) => {
                let (wrong, lost) = (units::counted(wrong, "byte"), units::count(lost));
                format!("{wrong} came back wrong, {lost} did not come back")
            }
        }
    }
}
