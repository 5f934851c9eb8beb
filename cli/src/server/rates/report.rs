//! What moved within the limits of a server, for people and for machines.

use std::{fmt, time::Duration};

use bufferevent::Rate;

use super::meter::Moved;
use crate::{json::Object, units};

/// What moved within the limits of a server.
#[derive(Debug)]
pub(crate) struct Report {
    /// In, out.
    pub(super) flows: [Flow; 2],
}

#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) bytes: u64,
    /// Those of them that moved when their connection was closing already.
    pub(super) closing: u64,
    pub(super) all: Option<Kept>,
    pub(super) each: Option<Kept>,
    /// How long a connection waited for the others.
    pub(super) held_back: Duration,
}

/// A limit, and what moved within it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) rate: Rate,
    pub(super) moved: Moved,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, write] = &self.flows;
        line(f, "in", read, "dropped")?;
        line(f, "out", write, "sent")
    }
}

/// `closing` is what was done with what came when the connection was closing.
fn line(f: &mut fmt::Formatter<'_>, name: &str, flow: &Flow, closing: &str) -> fmt::Result {
    write!(f, "\n  {name:<3}  {}", units::bytes(flow.bytes))?;
    if flow.closing > 0 {
        write!(f, ", {} of it {closing} in closing", units::bytes(flow.closing))?;
    }
    if flow.bytes == 0 {
        return Ok(());
    }
    if let Some(all) = &flow.all {
        write!(f, "\n    all together  {all}")?;
        if !flow.held_back.is_zero() {
            write!(f, ", held back for {}", units::time(flow.held_back))?;
        }
    }
    flow.each.iter().try_for_each(|each| write!(f, "\n    each          {each}"))
}

/// The same for machines; null without a limit.
pub(super) fn json(object: Object, name: &str, flow: Option<&Flow>) -> Object {
    let [all, each] = [flow.and_then(|flow| flow.all.as_ref()), flow.and_then(|flow| flow.each.as_ref())];
    let within = |object: Object, whose: &str, kept: Option<&Kept>| {
        object
            .rate(&format!("{whose}_{name}_bytes_per_second"), kept.and_then(|kept| kept.moved.rate()))
            .count(&format!("{whose}_{name}_burst_bytes"), kept.map(|kept| kept.moved.burst.round() as u64))
    };
    let object = object
        .count(&format!("{name}_bytes"), flow.map(|flow| flow.bytes))
        .count(&format!("{name}_closing_bytes"), flow.map(|flow| flow.closing));
    let object = within(object, "all", all)
        .micros(&format!("all_{name}_held_back_us"), all.and(flow).map(|flow| flow.held_back));
    within(object, "each", each)
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, moved } = self;
        match moved.rate() {
            Some(reached) => write!(f, "{}/s of {rate}", units::bytes(reached.round() as u64))?,
            None => write!(f, "no more than bursts of {rate}")?,
        }
        match moved.burst.round() as u64 {
            0 => Ok(()),
            burst => write!(f, ", {} in bursts", units::bytes(burst)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn kept(rate: u64, steady: f64, burst: f64) -> Option<Kept> {
        let time = Duration::from_secs(if steady > 0.0 { 4 } else { 0 });
        Some(Kept { rate: Rate::new(rate).unwrap(), moved: Moved { burst, steady, time } })
    }

    #[test]
    fn what_was_reached_is_told_beside_what_was_promised() {
        let read = Flow {
            bytes: 40_100_000,
            closing: 100_000,
            all: kept(10_000_000, 39_200_000.0, 800_000.0),
            each: kept(2_000_000, 7_900_000.0, 400.4),
            held_back: Duration::from_millis(3_950),
        };
        let write = Flow {
            bytes: 5_000,
            closing: 0,
            all: kept(10_000_000, 0.0, 5_000.0),
            each: None,
            held_back: Duration::ZERO,
        };
        assert_eq!(
            json(Object::default(), "in", Some(&read)).finish(),
            "{\"in_bytes\":40100000,\"in_closing_bytes\":100000,\
             \"all_in_bytes_per_second\":9800000.0,\"all_in_burst_bytes\":800000,\"all_in_held_back_us\":3950000.0,\
             \"each_in_bytes_per_second\":1975000.0,\"each_in_burst_bytes\":400}"
        );
        assert_eq!(
            json(Object::default(), "out", Some(&write)).finish(),
            "{\"out_bytes\":5000,\"out_closing_bytes\":0,\
             \"all_out_bytes_per_second\":null,\"all_out_burst_bytes\":5000,\"all_out_held_back_us\":0.0,\
             \"each_out_bytes_per_second\":null,\"each_out_burst_bytes\":null}"
        );
        let report = Report { flows: [read, write] };
        assert_eq!(
            report.to_string(),
            "\n  in   40.1 MB, 100 kB of it dropped in closing\
             \n    all together  9.80 MB/s of 10 MB/s (80 Mbit/s), 800 kB in bursts, held back for 3.95 s\
             \n    each          1.98 MB/s of 2 MB/s (16 Mbit/s), 400 B in bursts\
             \n  out  5.00 kB\
             \n    all together  no more than bursts of 10 MB/s (80 Mbit/s), 5.00 kB in bursts"
        );
    }

    #[test]
    fn a_direction_in_which_nothing_moved_has_no_more_than_its_line() {
        let nothing = Flow {
            bytes: 0,
            closing: 0,
            all: kept(1_000, 0.0, 0.0),
            each: kept(1_000, 0.0, 0.0),
            held_back: Duration::ZERO,
        };
        let report = Report { flows: [nothing.clone(), nothing] };
        assert_eq!(report.to_string(), "\n  in   0 B\n  out  0 B");
    }
}
